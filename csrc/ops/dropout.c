/* dropout.c: see dropout.h. Backward draws the mask again from the same counter: nothing
 * is kept. */
#include "ops/dropout.h"

#include "base/pool.h"

static sm_status dropout_check(sm_call *call, sm_error *err) {
    const sm_dropout_params *p = call->params;
    sm_out_like(call, 0);
    if (!(p->p >= 0 && p->p <= 1))
        return sm_fail(err, SM_EINVAL, 0, "dropout: p must be from 0 to 1, got %g",
                       (double)p->p);
    return sm_want_dtype(call, 0, "input", SM_F32, err);
}

typedef struct job {
    const sm_dropout_params *p;
    const float *from;
    float *to;
    int64_t n;
} job;

static void mask_blocks(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    float scale = j->p->p < 1 ? 1 / (1 - j->p->p) : 0;
    double limit = (double)j->p->p * 0x1p32;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        uint32_t words[4];
        sm_rng_block(j->p->rng.key, j->p->rng.counter + (uint64_t)b, words);
        for (int64_t k = 0, i = 4 * b; k < 4 && i < j->n; k++, i++)
            j->to[i] = (double)words[k] < limit ? 0 : j->from[i] * scale;
    }
}

static sm_status apply_mask(const sm_dropout_params *p, sm_tensor *from, sm_tensor *to,
                            sm_error *err) {
    sm_tensor *dense;
    sm_status status = sm_tensor_contiguous(from, &dense, err);
    if (status != SM_OK)
        return status;
    job j = {p, sm_f32(dense), sm_f32(to), sm_tensor_numel(dense)};
    sm_parallel_for((j.n + 3) / 4, 2048, mask_blocks, &j);
    sm_tensor_unref(dense);
    return SM_OK;
}

static sm_status dropout_forward(sm_call *call, sm_error *err) {
    return apply_mask(call->params, call->in[0], call->out[0], err);
}

static sm_status dropout_backward(sm_back *back, sm_error *err) {
    sm_tensor *dx;
    sm_status status = sm_din(back, 0, &dx, err);
    return status == SM_OK ? apply_mask(back->params, back->dout[0], dx, err) : status;
}

const sm_op sm_op_dropout = {.name = "dropout",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .params_size = sizeof(sm_dropout_params),
                             .check = dropout_check,
                             .forward = dropout_forward,
                             .backward = dropout_backward};
