/* manhattan.c: see manhattan.h. No product of matrices computes this: every pair of rows
 * is walked, by all threads. */
#include "ops/manhattan.h"

#include <string.h>

#include "base/pool.h"
#include "kernels/pairs.h"

static sm_status manhattan_check(sm_call *call, sm_error *err) {
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

/* y [n,m] of a [n,d] and b [m,d]; backward: dy in its place, dx [n,d] of a. With
 * `swapped` a stands for the second operand, and dy is [m,n]. */
typedef struct job {
    const sm_pair_kernels *k;
    int64_t n, m, d;
    const float *a, *b, *dy;
    float *y, *dx;
    bool swapped;
} job;

static void distance_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < j->m; k++)
            j->y[i * j->m + k] = j->k->manhattan(j->a + i * j->d, j->b + k * j->d, j->d);
}

static void gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float *dx = j->dx + i * j->d;
        memset(dx, 0, (size_t)j->d * sizeof *dx);
        for (int64_t k = 0; k < j->m; k++) {
            float g = j->swapped ? j->dy[k * j->n + i] : j->dy[i * j->m + k];
            if (g != 0)
                j->k->manhattan_add(dx, j->a + i * j->d, j->b + k * j->d, j->d, g);
        }
    }
}

static int64_t grain(const job *j) {
    double work = (double)j->m * (double)j->d;
    return work > 32768 ? 1 : 1 + (int64_t)(32768 / (work + 1));
}

static sm_status manhattan_forward(sm_call *call, sm_error *err) {
    sm_tensor *a, *b;
    sm_status status = sm_tensor_contiguous(call->in[0], &a, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &b, err);
    if (status == SM_OK) {
        job j = {.k = sm_pair_kernels_table(),
                 .n = a->shape[0],
                 .m = b->shape[0],
                 .d = a->shape[1],
                 .a = sm_f32(a),
                 .b = sm_f32(b),
                 .y = sm_f32(call->out[0])};
        sm_parallel_for(j.n, grain(&j), distance_rows, &j);
        sm_tensor_unref(b);
    }
    sm_tensor_unref(a);
    return status;
}

static sm_status operand_gradient(sm_back *back, int i, const sm_tensor *x,
                                  const sm_tensor *z, const sm_tensor *dy,
                                  sm_error *err) {
    sm_tensor *dx;
    if (!back->want[i])
        return SM_OK;
    sm_status status = sm_din(back, i, &dx, err);
    if (status != SM_OK)
        return status;
    job j = {.k = sm_pair_kernels_table(),
             .n = x->shape[0],
             .m = z->shape[0],
             .d = x->shape[1],
             .a = sm_f32(x),
             .b = sm_f32(z),
             .dy = sm_f32(dy),
             .dx = sm_f32(dx),
             .swapped = i == 1};
    sm_parallel_for(j.n, grain(&j), gradient_rows, &j);
    return SM_OK;
}

static sm_status manhattan_backward(sm_back *back, sm_error *err) {
    sm_tensor *a = NULL, *b = NULL, *dy = NULL;
    sm_status status = sm_tensor_contiguous(back->in[0], &a, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[1], &b, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = operand_gradient(back, 0, a, b, dy, err);
    if (status == SM_OK)
        status = operand_gradient(back, 1, b, a, dy, err);
    sm_tensor_unref(a);
    sm_tensor_unref(b);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_manhattan = {.name = "cdist",
                               .min_in = 2,
                               .max_in = 2,
                               .n_out = 1,
                               .save_in = 3,
                               .check = manhattan_check,
                               .forward = manhattan_forward,
                               .backward = manhattan_backward};
