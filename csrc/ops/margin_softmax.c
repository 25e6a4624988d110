/* margin_softmax.c: see margin_softmax.h. Rows are worked on by all threads; forward
 * keeps the slopes of the logits, and of the lengths. */
#include "ops/margin_softmax.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/pairs.h"

static const double PI = 3.14159265358979323846;

/* ---- the margins ---- */

/* How far a cosine is kept from -1 and 1, where its angle has no slope. */
static const double EDGE = 1e-7;

/* The right class' logit for its cosine c; *slope its derivative. */
static double with_margin(const sm_margin_softmax_params *p, double c, double *slope) {
    double m = p->margin, edge = 1 - EDGE;
    double inside = c > edge ? edge : c < -edge ? -edge : c;
    double angle = acos(inside), sine = sqrt(1 - inside * inside);
    *slope = 1;
    if (p->kind == SM_NO_MARGIN)
        return c;
    if (p->kind == SM_COSINE_MARGIN)
        return c - m;
    if (p->kind == SM_ARC_MARGIN) {
        if (!(angle <= PI - m))
            return c - m * sin(m);
        *slope = sin(angle + m) / sine;
        return cos(angle + m);
    }
    double k = floor(angle * m / PI), sign = fmod(k, 2) != 0 ? -1 : 1;
    *slope = sign * m * sin(m * angle) / sine;
    return sign * cos(m * angle) - 2 * k;
}

/* ---- forward ---- */

typedef struct job {
    const sm_margin_softmax_params *p;
    const sm_pair_kernels *k;
    int64_t n, c;
    const float *x, *lengths, *weights;
    const int64_t *labels;
    float *dx, *dlengths; /* or NULL */
    double *losses;       /* [n] */
    float *marks;         /* [threads, c], ones */
} job;

/* Slopes of row i by its logits and its length, from those by its scaled logits. */
static void row_slopes(const job *j, int64_t i, float *w, double scale, double lse,
                       double target, double slope) {
    const float *x = j->x + i * j->c;
    float *d = j->dx + i * j->c;
    int64_t label = j->labels[i] - 1;
    double pull = expm1(scale * target - lse), by_scale = pull * target;
    memset(d, 0, (size_t)j->c * sizeof *d);
    j->k->exp_add(d, x, w, j->c, 1, (float)scale, (float)-lse, 1);
    for (int64_t k = 0; k < j->c && j->dlengths; k++)
        by_scale += (double)d[k] * x[k];
    d[label] = (float)(pull * slope);
    for (int64_t k = 0; k < j->c; k++)
        d[k] *= (float)scale;
    if (j->dlengths)
        j->dlengths[i] = (float)(by_scale * j->p->scale);
}

static void softmax_row(const job *j, int64_t i, float *w) {
    const float *x = j->x + i * j->c;
    int64_t label = j->labels[i] - 1;
    double slope, scale = j->p->scale * (j->lengths ? (double)j->lengths[i] : 1);
    double target = with_margin(j->p, x[label], &slope), own = scale * target;
    w[label] = 0;
    double top = j->k->top(x, w, j->c, 1, (float)scale);
    top = own > top ? own : top;
    double sum = j->k->exp_sum(x, w, j->c, 1, (float)scale, (float)-top);
    double lse = top + log(sum + exp(own - top));
    j->losses[i] = lse - own;
    if (j->dx)
        row_slopes(j, i, w, scale, lse, target, slope);
    w[label] = 1;
}

static void softmax_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    for (int64_t i = begin; i < end; i++)
        softmax_row(j, i, j->marks + (int64_t)thread * j->c);
}

static sm_status check_labels(const job *j, sm_error *err) {
    for (int64_t i = 0; i < j->n; i++)
        if (j->labels[i] < 1 || j->labels[i] > j->c)
            return sm_fail(
                err, SM_EINVAL, 2,
                "margin_softmax: label %lld of row %lld is out of range 1..%lld",
                (long long)j->labels[i], (long long)i + 1, (long long)j->c);
    return SM_OK;
}

static sm_status run_job(job *j, sm_error *err) {
    size_t marks;
    sm_status status = check_labels(j, err);
    if (status != SM_OK || j->n == 0)
        return status;
    if (!sm_mul_size((size_t)sm_threads() * sizeof(float), (size_t)j->c, &marks) ||
        !(j->marks = sm_alloc(marks)))
        return sm_fail(err, SM_ENOMEM, 0, "margin_softmax: out of memory");
    for (size_t k = 0; k < marks / sizeof(float); k++)
        j->marks[k] = 1;
    sm_parallel_for(j->n, 1 + 16384 / (j->c + 1), softmax_rows, j);
    sm_free(j->marks);
    return SM_OK;
}

static double row_weight(const job *j, int64_t i) {
    double mean = j->p->mean && !j->p->none ? 1 / (double)j->n : 1;
    return (j->weights ? (double)j->weights[i] : 1) * mean;
}

static void write_losses(const job *j, float *out) {
    double sum = 0;
    for (int64_t i = 0; i < j->n; i++) {
        double loss = j->losses[i] * row_weight(j, i);
        sum += loss;
        if (j->p->none)
            out[i] = (float)loss;
    }
    if (!j->p->none)
        *out = (float)sum;
}

static void weigh_slopes(const job *j) {
    for (int64_t i = 0; i < j->n; i++) {
        float weight = (float)row_weight(j, i);
        for (int64_t k = 0; k < j->c; k++)
            j->dx[i * j->c + k] *= weight;
        if (j->dlengths)
            j->dlengths[i] *= weight;
    }
}

static sm_status keep_slopes(sm_call *call, job *j, sm_error *err) {
    sm_meta meta = sm_tensor_meta(call->in[0]);
    sm_status status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status != SM_OK)
        return status;
    j->dx = sm_f32(call->keep[0]);
    if (!j->lengths)
        return SM_OK;
    meta = sm_tensor_meta(call->in[2]);
    status = sm_tensor_new(&meta, &call->keep[1], err);
    if (status == SM_OK)
        j->dlengths = sm_f32(call->keep[1]);
    return status;
}

/* The dense form of operand i, NULL where it is absent. */
static sm_status open(const sm_call *call, int i, sm_tensor **out, sm_error *err) {
    bool there = i < call->n_in && call->in[i];
    return there ? sm_tensor_contiguous(call->in[i], out, err) : SM_OK;
}

static sm_status margin_softmax_forward(sm_call *call, sm_error *err) {
    sm_tensor *in[4] = {NULL};
    sm_status status = SM_OK;
    job j = {.p = call->params, .k = sm_pair_kernels_table()};
    for (int i = 0; i < 4 && status == SM_OK; i++)
        status = open(call, i, &in[i], err);
    if (status == SM_OK) {
        j.n = in[0]->shape[0];
        j.c = in[0]->shape[1];
        j.x = sm_f32(in[0]);
        j.labels = sm_i64(in[1]);
        j.lengths = in[2] ? sm_f32(in[2]) : NULL;
        j.weights = in[3] ? sm_f32(in[3]) : NULL;
        j.losses = sm_alloc((size_t)j.n * sizeof *j.losses);
        if (!j.losses)
            status = sm_fail(err, SM_ENOMEM, 0, "margin_softmax: out of memory");
    }
    if (status == SM_OK && call->record)
        status = keep_slopes(call, &j, err);
    if (status == SM_OK)
        status = run_job(&j, err);
    if (status == SM_OK) {
        write_losses(&j, sm_f32(call->out[0]));
        if (j.dx)
            weigh_slopes(&j);
    }
    sm_free(j.losses);
    for (int i = 0; i < 4; i++)
        sm_tensor_unref(in[i]);
    return status;
}

/* ---- backward ---- */

/* din = kept slopes * dy, one number or one a row. */
static sm_status give_slopes(sm_back *back, int i, const sm_tensor *dy, sm_error *err) {
    sm_tensor *din;
    if (!back->want[i])
        return SM_OK;
    sm_status status = sm_din(back, i, &din, err);
    if (status != SM_OK)
        return status;
    int64_t n = din->shape[0], width = i == 0 ? din->shape[1] : 1;
    const float *kept = sm_f32(back->keep[i / 2]);
    for (int64_t r = 0; r < n; r++) {
        float g = sm_f32(dy)[dy->ndim == 0 ? 0 : r];
        for (int64_t k = r * width; k < (r + 1) * width; k++)
            sm_f32(din)[k] = kept[k] * g;
    }
    return SM_OK;
}

static sm_status margin_softmax_backward(sm_back *back, sm_error *err) {
    sm_tensor *dy;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = give_slopes(back, 0, dy, err);
    if (status == SM_OK && back->n_in > 2)
        status = give_slopes(back, 2, dy, err);
    sm_tensor_unref(dy);
    return status;
}

/* ---- check ---- */

static sm_status check_rows(const sm_call *call, int i, const char *what, sm_dtype dtype,
                            sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (i >= call->n_in || !call->in[i])
        return SM_OK;
    sm_status status = sm_want_dtype(call, i, what, dtype, err);
    if (status != SM_OK)
        return status;
    if (call->in[i]->ndim != 1 || call->in[i]->shape[0] != call->in[0]->shape[0])
        return sm_fail(err, SM_EINVAL, i + 1,
                       "margin_softmax: %s must be [%lld], one a row of logits, got %s",
                       what, (long long)call->in[0]->shape[0],
                       sm_tensor_shape_text(text, call->in[i]));
    return SM_OK;
}

static sm_status margin_softmax_check(sm_call *call, sm_error *err) {
    const sm_margin_softmax_params *p = call->params;
    sm_status status = sm_want_dtype(call, 0, "logits", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "logits", 2, "[N,C]", err);
    if (status == SM_OK)
        status = check_rows(call, 1, "labels", SM_I64, err);
    if (status == SM_OK)
        status = check_rows(call, 2, "lengths", SM_F32, err);
    if (status == SM_OK)
        status = check_rows(call, 3, "weights", SM_F32, err);
    if (status != SM_OK)
        return status;
    if (p->kind == SM_SPHERE_MARGIN &&
        !(p->margin >= 1 && p->margin == floorf(p->margin)))
        return sm_fail(err, SM_EINVAL, 0,
                       "margin_softmax: the margin must be a whole number from 1 on, got "
                       "%g",
                       (double)p->margin);
    call->meta[0] = (sm_meta){.dtype = SM_F32};
    if (p->none) {
        call->meta[0].ndim = 1;
        call->meta[0].shape[0] = call->in[0]->shape[0];
    }
    return SM_OK;
}

const sm_op sm_op_margin_softmax = {.name = "margin_softmax",
                                    .min_in = 2,
                                    .max_in = 4,
                                    .n_out = 1,
                                    .params_size = sizeof(sm_margin_softmax_params),
                                    .check = margin_softmax_check,
                                    .forward = margin_softmax_forward,
                                    .backward = margin_softmax_backward};
