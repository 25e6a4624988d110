/* matrix_loss.c: operands, reductions and the two passes. See matrix_loss.h; the losses
 * themselves are in matrix_loss_rows.c and matrix_loss_triplets.c. */
#include "ops/matrix_loss.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "ops/matrix_loss_rows.h"

/* What there is to know of a kind. `pairs`: its items are pairs, not rows; `other`: it
 * may read the distances of columns. */
static const struct kind {
    const char *name, *label;
    sm_loss_row row, other, prepare;
    bool pairs;
} kinds[SM_MATRIX_LOSS_COUNT] = {
    [SM_CONTRASTIVE] = {"contrastive", "contrastive_loss", sm_contrastive_row, NULL, NULL,
                        true},
    [SM_MARGIN] = {"margin", "margin_loss", sm_margin_row, NULL, NULL, false},
    [SM_TRIPLET] = {"triplet", "triplet_loss", sm_triplet_row_loss, sm_triplet_other,
                    NULL, false},
    [SM_LIFTED] = {"lifted_structure", "lifted_structure_loss", sm_lifted_row, NULL,
                   sm_lifted_prepare, true},
    [SM_NTXENT] = {"ntxent", "ntxent_loss", sm_ntxent_row, NULL, NULL, true},
    [SM_SUPCON] = {"supcon", "supcon_loss", sm_supcon_row, NULL, NULL, false},
    [SM_MULTI_SIMILARITY] = {"multi_similarity", "multi_similarity_loss",
                             sm_multi_similarity_row, NULL, NULL, false},
    [SM_CIRCLE] = {"circle", "circle_loss", sm_circle_row, NULL, NULL, false},
    [SM_ANGULAR] = {"angular", "angular_loss", sm_angular_row, sm_angular_other, NULL,
                    true},
};

int sm_matrix_loss_by_name(const char *name) {
    for (int k = 0; k < SM_MATRIX_LOSS_COUNT; k++)
        if (strcmp(kinds[k].name, name) == 0)
            return k;
    return -1;
}

static const char *matrix_loss_label(const void *params) {
    return kinds[((const sm_matrix_loss_params *)params)->kind].label;
}

/* ---- checks ---- */

static sm_pair_source source_of(sm_tensor *const *in, const sm_matrix_loss_params *p) {
    sm_pair_source s = {.name = kinds[p->kind].label,
                        .n = in[SM_LOSS_MATRIX]->shape[0],
                        .m = in[SM_LOSS_MATRIX]->shape[1],
                        .own = p->own,
                        .labels = in[SM_LOSS_LABELS],
                        .ref_labels = in[SM_LOSS_REF_LABELS],
                        .first_operand = SM_LOSS_LABELS + 1};
    memcpy(s.lists, in + SM_LOSS_LISTS, sizeof s.lists);
    return s;
}

/* An operand that must be float32 with that number of dimensions, each of that size (-1:
 * any from 1 on). */
static sm_status check_operand(const sm_call *call, int i, const char *what, int ndim,
                               int64_t size, sm_error *err) {
    char text[SM_SHAPE_TEXT], wanted[SM_SHAPE_TEXT] = "[K]";
    const int64_t shape[2] = {size, size};
    const sm_tensor *t = call->in[i];
    bool fits = t && t->dtype == SM_F32 && t->ndim == ndim;
    for (int d = 0; fits && d < ndim; d++)
        fits = size < 0 ? t->shape[d] > 0 : t->shape[d] == size;
    if (fits)
        return SM_OK;
    if (size >= 0)
        sm_shape_text(wanted, ndim, shape);
    return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must be float32 %s, got %s %s",
                   matrix_loss_label(call->params), what, wanted,
                   t ? sm_dtype_name(t->dtype) : "nothing",
                   t ? sm_tensor_shape_text(text, t) : "");
}

/* Whether the distances of columns among themselves are read. */
static bool reads_other(const sm_matrix_loss_params *p) {
    return p->kind == SM_ANGULAR || (p->kind == SM_TRIPLET && p->swap);
}

static sm_status check_extras(const sm_call *call, const sm_pair_source *s,
                              sm_error *err) {
    const sm_matrix_loss_params *p = call->params;
    sm_status status = SM_OK;
    bool classes = p->kind == SM_ANGULAR;
    if (reads_other(p))
        status =
            check_operand(call, SM_LOSS_OTHER, "the matrix of the columns", 2, s->m, err);
    if (status == SM_OK && p->kind == SM_MARGIN) {
        status = check_operand(call, SM_LOSS_BETA, "beta", 1, -1, err);
        classes = status == SM_OK && call->in[SM_LOSS_BETA]->shape[0] > 1;
    }
    if (status == SM_OK && call->in[SM_LOSS_WEIGHTS])
        status =
            check_operand(call, SM_LOSS_WEIGHTS, "the columns' weights", 1, s->m, err);
    if (status != SM_OK)
        return status;
    if (classes && (!s->labels || (!s->ref_labels && s->n != s->m)))
        return sm_fail(err, SM_EINVAL, SM_LOSS_LABELS + 1, "%s: needs labels", s->name);
    return SM_OK;
}

static sm_status matrix_loss_check(sm_call *call, sm_error *err) {
    const sm_matrix_loss_params *p = call->params;
    const sm_tensor *matrix = call->in[SM_LOSS_MATRIX];
    char text[SM_SHAPE_TEXT];
    if (matrix->dtype != SM_F32 || matrix->ndim != 2)
        return sm_fail(err, SM_EINVAL, 1,
                       "%s: the matrix must be float32 [N,M], got %s %s",
                       kinds[p->kind].label, sm_dtype_name(matrix->dtype),
                       sm_tensor_shape_text(text, matrix));
    sm_pair_source s = source_of(call->in, p);
    sm_status status = sm_pair_source_check(&s, err);
    if (status == SM_OK)
        status = check_extras(call, &s, err);
    call->meta[0] = (sm_meta){.dtype = SM_F32};
    if (p->reduction == SM_PAIRS_NONE) {
        call->meta[0] = sm_tensor_meta(matrix);
        call->meta[0].ndim = kinds[p->kind].pairs ? 2 : 1;
    }
    return status;
}

/* ---- opening the operands ---- */

typedef struct opened {
    sm_loss_task task;
    sm_tensor *x, *other, *weights, *beta;
    size_t space; /* bytes of a thread's memory */
    char *spaces;
} opened;

static void close_task(opened *o) {
    sm_pairs_close(&o->task.pairs);
    sm_tensor_unref(o->x);
    sm_tensor_unref(o->other);
    sm_tensor_unref(o->weights);
    sm_tensor_unref(o->beta);
    sm_free(o->task.sums);
    sm_free(o->task.lse);
    sm_free(o->spaces);
}

static sm_status dense(sm_tensor *t, bool wanted, sm_tensor **held, const float **data,
                       sm_error *err) {
    if (!t || !wanted)
        return SM_OK;
    sm_status status = sm_tensor_contiguous(t, held, err);
    if (status == SM_OK)
        *data = sm_f32(*held);
    return status;
}

/* A label chooses its beta. */
static sm_status check_betas(const sm_loss_task *t, sm_error *err) {
    for (int64_t i = 0; i < t->n && t->betas > 1; i++)
        if (t->pairs.labels[i] < 1 || t->pairs.labels[i] > t->betas)
            return sm_fail(err, SM_EINVAL, SM_LOSS_LABELS + 1,
                           "margin_loss: label %lld of row %lld is out of range 1..%lld",
                           (long long)t->pairs.labels[i], (long long)i + 1,
                           (long long)t->betas);
    return SM_OK;
}

/* Memory for the sums and for every thread: three rows and a list of numbers. */
static sm_status make_space(opened *o, sm_error *err) {
    sm_loss_task *t = &o->task;
    size_t n = (size_t)t->n, m = (size_t)t->m, longest = n > m ? n : m, all, sums;
    if (n == 0 || m == 0)
        longest = m = 0;
    bool fits = sm_mul_size(longest + 8, sizeof(int64_t) + 3 * sizeof(float), &o->space);
    o->space = (o->space + 63) / 64 * 64;
    fits = fits && sm_mul_size(o->space, (size_t)sm_threads(), &all) &&
           sm_mul_size(n + 1, sizeof(sm_row_sums), &sums);
    o->spaces = fits ? sm_alloc(all) : NULL;
    t->sums = fits ? sm_calloc(sums) : NULL;
    if (kinds[t->p->kind].prepare)
        t->lse = fits ? sm_alloc((n + 1) * sizeof *t->lse) : NULL;
    if (!o->spaces || !t->sums || (kinds[t->p->kind].prepare && !t->lse))
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", kinds[t->p->kind].label);
    return SM_OK;
}

static sm_status open_task(sm_tensor *const *in, const sm_matrix_loss_params *p,
                           opened *o, sm_error *err) {
    sm_loss_task *t = &o->task;
    sm_pair_source s = source_of(in, p);
    memset(o, 0, sizeof *o);
    t->p = p;
    t->k = sm_pair_kernels_table();
    t->n = s.n;
    t->m = s.m;
    t->self = !s.ref_labels && s.n == s.m && p->own == 0;
    t->scale[0] = t->scale[1] = 1;
    sm_status status = sm_pairs_open(&s, &t->pairs, err);
    if (status == SM_OK)
        status = dense(in[SM_LOSS_MATRIX], true, &o->x, &t->x, err);
    if (status == SM_OK)
        status = dense(in[SM_LOSS_OTHER], reads_other(p), &o->other, &t->other, err);
    if (status == SM_OK)
        status = dense(in[SM_LOSS_WEIGHTS], true, &o->weights, &t->weights, err);
    if (status == SM_OK)
        status = dense(in[SM_LOSS_BETA], p->kind == SM_MARGIN, &o->beta, &t->beta, err);
    if (status == SM_OK && o->beta) {
        t->betas = o->beta->shape[0];
        status = check_betas(t, err);
    }
    if (status == SM_OK)
        status = make_space(o, err);
    if (status != SM_OK)
        close_task(o);
    return status;
}

/* ---- running ---- */

typedef struct run {
    const opened *o;
    sm_loss_row row;
} run;

static void run_rows(void *context, int64_t begin, int64_t end, int thread) {
    const run *r = context;
    const sm_loss_task *t = &r->o->task;
    size_t m = (size_t)t->m, longest = m > (size_t)t->n ? m : (size_t)t->n;
    sm_loss_space s;
    s.list = (int64_t *)(r->o->spaces + r->o->space * (size_t)thread);
    s.w = (float *)(s.list + longest);
    s.u = s.w + m;
    s.z = s.u + m;
    for (int64_t i = begin; i < end; i++)
        r->row(t, i, &s);
}

static void run_all(const opened *o, sm_loss_row row, int64_t rows) {
    run r = {o, row};
    if (o->task.n > 0 && o->task.m > 0)
        sm_parallel_for(rows, 1 + 16384 / (o->task.m + 1), run_rows, &r);
}

/* ---- forward ---- */

static double inverse(double count) {
    return count > 0 ? 1 / count : 0;
}

/* The sums of all rows, in their order; returns the value, and what the slopes of the two
 * parts are divided by. */
static double reduce(const sm_loss_task *t, float scale[2], double *triplets) {
    double loss[2] = {0, 0}, count[2] = {0, 0}, active[2] = {0, 0};
    for (int64_t i = 0; i < t->n; i++)
        for (int k = 0; k < 2; k++) {
            loss[k] += t->sums[i].loss[k];
            count[k] += t->sums[i].count[k];
            active[k] += t->sums[i].active[k];
        }
    double value = 0;
    for (int k = 0; k < 2; k++) {
        double by = t->p->reduction == SM_PAIRS_MEAN           ? inverse(count[k])
                    : t->p->reduction == SM_PAIRS_MEAN_NONZERO ? inverse(active[k])
                                                               : 1;
        scale[k] = (float)by;
        value += by != 0 ? loss[k] * by : 0;
    }
    *triplets = count[0];
    return value;
}

/* One beta for all is regularised once, however many triplets there are. */
static double common_beta(const sm_loss_task *t, double triplets) {
    bool one = t->p->kind == SM_MARGIN && t->betas == 1 && triplets > 0;
    return one && t->p->reduction != SM_PAIRS_NONE ? (double)t->p->nu : 0;
}

static sm_status matrix_loss_forward(sm_call *call, sm_error *err) {
    const sm_matrix_loss_params *p = call->params;
    sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {3}};
    double triplets;
    opened o;
    sm_status status = open_task(call->in, p, &o, err);
    if (status != SM_OK)
        return status;
    if (p->reduction == SM_PAIRS_NONE) {
        sm_tensor_fill(call->out[0], 0);
        o.task.items = sm_f32(call->out[0]);
    }
    if (kinds[p->kind].prepare)
        run_all(&o, kinds[p->kind].prepare, o.task.n);
    run_all(&o, kinds[p->kind].row, o.task.n);
    status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK) {
        float *keep = sm_f32(call->keep[0]);
        double value = reduce(&o.task, keep, &triplets);
        keep[2] = (float)common_beta(&o.task, triplets);
        if (o.task.betas == 1)
            value += keep[2] * o.task.beta[0];
        if (p->reduction != SM_PAIRS_NONE)
            *sm_f32(call->out[0]) = (float)value;
    }
    close_task(&o);
    return status;
}

/* ---- backward ---- */

/* The gradients that are wanted, zeros, as the task's. */
static sm_status wanted_gradients(sm_back *back, sm_loss_task *t, sm_tensor **dbeta,
                                  sm_error *err) {
    sm_tensor *d;
    sm_status status = SM_OK;
    if (back->want[SM_LOSS_MATRIX]) {
        status = sm_din_zeros(back, SM_LOSS_MATRIX, &d, err);
        t->dx = status == SM_OK ? sm_f32(d) : NULL;
    }
    if (status == SM_OK && t->other && back->want[SM_LOSS_OTHER]) {
        status = sm_din_zeros(back, SM_LOSS_OTHER, &d, err);
        t->dother = status == SM_OK ? sm_f32(d) : NULL;
    }
    if (status == SM_OK && t->beta && back->want[SM_LOSS_BETA])
        status = sm_din_zeros(back, SM_LOSS_BETA, dbeta, err);
    return status;
}

static void add_betas(const sm_loss_task *t, float common, sm_tensor *dbeta) {
    float *d = sm_f32(dbeta);
    if (t->betas == 1) {
        double sum = common;
        for (int64_t i = 0; i < t->n; i++)
            sum += t->sums[i].beta;
        d[0] = (float)sum;
        return;
    }
    for (int64_t i = 0; i < t->n; i++)
        d[t->pairs.labels[i] - 1] += (float)t->sums[i].beta;
}

static void run_backward(const opened *o, const struct kind *kind) {
    if (kind->prepare)
        run_all(o, kind->prepare, o->task.n);
    if (o->task.dx || o->task.beta)
        run_all(o, kind->row, o->task.n);
    if (o->task.dother)
        run_all(o, kind->other, o->task.m);
}

static sm_status matrix_loss_backward(sm_back *back, sm_error *err) {
    const sm_matrix_loss_params *p = back->params;
    const float *keep = sm_f32(back->keep[0]);
    sm_tensor *dy, *dbeta = NULL;
    opened o;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = open_task(back->in, p, &o, err);
    if (status != SM_OK) {
        sm_tensor_unref(dy);
        return status;
    }
    if (p->reduction == SM_PAIRS_NONE)
        o.task.dy = sm_f32(dy);
    else
        for (int k = 0; k < 2; k++)
            o.task.scale[k] = keep[k] * *sm_f32(dy);
    status = wanted_gradients(back, &o.task, &dbeta, err);
    if (status == SM_OK)
        run_backward(&o, &kinds[p->kind]);
    if (status == SM_OK && dbeta)
        add_betas(&o.task, o.task.dy ? 0 : keep[2] * *sm_f32(dy), dbeta);
    close_task(&o);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_matrix_loss = {.name = "matrix_loss",
                                 .label = matrix_loss_label,
                                 .min_in = 1,
                                 .max_in = SM_LOSS_OPERANDS,
                                 .n_out = 1,
                                 .save_in = (1u << SM_LOSS_OPERANDS) - 1,
                                 .params_size = sizeof(sm_matrix_loss_params),
                                 .check = matrix_loss_check,
                                 .forward = matrix_loss_forward,
                                 .backward = matrix_loss_backward};
