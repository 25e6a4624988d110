/* cdist.c: Euclidean distances, all rows against all, by one matrix product and sweeps of
 * kernels/pairs.h. See distance.h. */
#include <math.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "kernels/pairs.h"
#include "ops/distance.h"

static sm_status cdist_check(sm_call *call, sm_error *err) {
    static const char *const names[] = {"a", "b"};
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    for (int i = 0; i < 2; i++) {
        sm_status status = sm_want_dtype(call, i, names[i], SM_F32, err);
        if (status == SM_OK)
            status = sm_want_ndim(call, i, names[i], 2, "[N,D]", err);
        if (status != SM_OK)
            return status;
    }
    if (call->in[0]->shape[1] != call->in[1]->shape[1])
        return sm_fail(
            err, SM_EINVAL, 2, "cdist: a %s and b %s must agree in their columns",
            sm_tensor_shape_text(a, call->in[0]), sm_tensor_shape_text(b, call->in[1]));
    call->meta[0] = (sm_meta){.dtype = SM_F32,
                              .ndim = 2,
                              .shape = {call->in[0]->shape[0], call->in[1]->shape[0]}};
    return SM_OK;
}

/* y [n,m] of the rows of a [n,d] and b [m,d]; b2 [m] their squared lengths. */
typedef struct job {
    const sm_pair_kernels *k;
    int64_t n, m, d;
    const float *a, *b, *b2;
    float *y;
    bool squared;
    /* backward: w = -dy / y (or -2 dy) */
    const float *dy, *out;
    float *w;
} job;

static int64_t grain(const job *j) {
    return 1 + 16384 / (j->m + 1);
}

/* ---- forward ---- */

static double distance2(const float *a, const float *b, int64_t d) {
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += ((double)a[j] - b[j]) * ((double)a[j] - b[j]);
    return sum;
}

/* Below this share of both squared lengths the product has cancelled (rows that are
 * close): the difference is formed anew. */
static const float CANCELLED = 1e-3f;

static void form_anew(const job *j, int64_t i, float a2) {
    float *y = j->y + i * j->m;
    for (int64_t k = 0; k < j->m; k++) {
        float d2 = j->squared ? y[k] : y[k] * y[k];
        if (!(d2 < 1.01f * CANCELLED * (a2 + j->b2[k])))
            continue;
        double exact = distance2(j->a + i * j->d, j->b + k * j->d, j->d);
        y[k] = (float)(j->squared ? exact : sqrt(exact));
    }
}

static void distance_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float a2 = sm_norm_table()->squares(j->a + i * j->d, j->d, 0);
        float *y = j->y + i * j->m;
        if (j->k->euclidean(y, j->b2, j->m, a2, CANCELLED, j->squared))
            form_anew(j, i, a2);
    }
}

static sm_status cdist_dense(const sm_tensor *a, const sm_tensor *b, float *y,
                             bool squared, sm_error *err) {
    job j = {.k = sm_pair_kernels_table(),
             .n = a->shape[0],
             .m = b->shape[0],
             .d = a->shape[1],
             .a = sm_f32(a),
             .b = sm_f32(b),
             .y = y,
             .squared = squared};
    int64_t ld = j.d > 0 ? j.d : 1;
    float *b2 = sm_alloc((size_t)j.m * sizeof *b2);
    if (!b2)
        return sm_fail(err, SM_ENOMEM, 0, "cdist: out of memory");
    for (int64_t k = 0; k < j.m; k++)
        b2[k] = sm_norm_table()->squares(j.b + k * j.d, j.d, 0);
    j.b2 = b2;
    sm_status status = sm_gemm(false, true, j.n, j.m, j.d, 1, j.a, ld, j.b, ld, 0, y,
                               j.m > 0 ? j.m : 1, err);
    if (status == SM_OK)
        sm_parallel_for(j.n, grain(&j), distance_rows, &j);
    sm_free(b2);
    return status;
}

static sm_status cdist_forward(sm_call *call, sm_error *err) {
    const sm_cdist_params *p = call->params;
    sm_tensor *a, *b;
    sm_status status = sm_tensor_contiguous(call->in[0], &a, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &b, err);
    if (status == SM_OK) {
        status = cdist_dense(a, b, sm_f32(call->out[0]), p->squared, err);
        sm_tensor_unref(b);
    }
    sm_tensor_unref(a);
    return status;
}

/* ---- backward ---- */

static void slope_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    j->k->euclidean_slopes(j->w + begin * j->m, j->dy + begin * j->m,
                           j->out + begin * j->m, (end - begin) * j->m, j->squared);
}

/* Sums of w [n,m] along its rows [n], or, `down`, its columns [m]. */
static void sum_weights(const job *j, bool down, double *sums, float *space) {
    const sm_norm *norm = sm_norm_table();
    enum { ROWS = 64 }; /* so many at a time in float */
    for (int64_t i = 0; i < j->n && !down; i++)
        sums[i] = norm->sum(j->w + i * j->m, j->m);
    if (!down)
        return;
    for (int64_t k = 0; k < j->m; k++)
        sums[k] = 0;
    for (int64_t i = 0; i < j->n; i += ROWS) {
        sm_norm_columns part = {.rows = j->n - i < ROWS ? j->n - i : ROWS, .c = j->m};
        norm->column_sums(&part, j->w + i * j->m, space);
        for (int64_t k = 0; k < j->m; k++)
            sums[k] += space[k];
    }
}

/* dx of x: sum over z of w (z - x), with w negative: w z - sum(w) x. `down`: x are the
 * rows of b. */
static sm_status weighted_differences(const job *j, bool down, float *dx, sm_error *err) {
    const float *x = down ? j->b : j->a, *z = down ? j->a : j->b;
    int64_t n = down ? j->m : j->n, m = down ? j->n : j->m, ld = j->d > 0 ? j->d : 1;
    double *sums = sm_alloc((size_t)(n + j->m + 1) * sizeof *sums);
    if (!sums)
        return sm_fail(err, SM_ENOMEM, 0, "cdist: out of memory");
    sum_weights(j, down, sums, (float *)(sums + n));
    for (int64_t i = 0; i < n; i++)
        sm_norm_table()->affine(dx + i * j->d, x + i * j->d, j->d, (float)-sums[i], 0);
    sm_free(sums);
    return sm_gemm(down, false, n, j->d, m, 1, j->w, j->m > 0 ? j->m : 1, z, ld, 1, dx,
                   ld, err);
}

static sm_status cdist_gradients(sm_back *back, job *j, sm_error *err) {
    sm_tensor *dx;
    sm_status status = SM_OK;
    sm_parallel_for(j->n, grain(j), slope_rows, j);
    for (int i = 0; i < 2 && status == SM_OK; i++)
        if (back->want[i] && (status = sm_din(back, i, &dx, err)) == SM_OK)
            status = weighted_differences(j, i == 1, sm_f32(dx), err);
    return status;
}

static sm_status cdist_backward(sm_back *back, sm_error *err) {
    const sm_cdist_params *p = back->params;
    sm_tensor *a = NULL, *b = NULL, *w = NULL, *dy = NULL;
    sm_meta meta = sm_tensor_meta(back->dout[0]);
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &w, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[0], &a, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[1], &b, err);
    if (status == SM_OK) {
        job j = {.k = sm_pair_kernels_table(),
                 .n = a->shape[0],
                 .m = b->shape[0],
                 .d = a->shape[1],
                 .a = sm_f32(a),
                 .b = sm_f32(b),
                 .squared = p->squared,
                 .dy = sm_f32(dy),
                 .out = sm_f32(back->out[0]),
                 .w = sm_f32(w)};
        status = cdist_gradients(back, &j, err);
    }
    sm_tensor_unref(a);
    sm_tensor_unref(b);
    sm_tensor_unref(w);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_cdist = {.name = "cdist",
                           .min_in = 2,
                           .max_in = 2,
                           .n_out = 1,
                           .save_in = 3,
                           .save_out = 1,
                           .params_size = sizeof(sm_cdist_params),
                           .check = cdist_check,
                           .forward = cdist_forward,
                           .backward = cdist_backward};
