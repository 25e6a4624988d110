/* local_norm.c: see local_norm.h. Backward works the scale out again from the input. */
#include "ops/local_norm.h"

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/columns.h"

static sm_status local_norm_check(sm_call *call, sm_error *err) {
    const sm_local_norm_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    if (x->dtype != SM_F32 || x->ndim < 3)
        return sm_fail(
            err, SM_EINVAL, 1,
            "local_response_norm: input must be float32 [N,C,L,...], got %s %s",
            sm_dtype_name(x->dtype), sm_tensor_shape_text(text, x));
    if (p->size < 1)
        return sm_fail(err, SM_EINVAL, 2,
                       "local_response_norm: size must be at least 1, got %lld",
                       (long long)p->size);
    sm_out_like(call, 0);
    call->meta[0].channels_last = true;
    return SM_OK;
}

typedef struct job {
    sm_lrn p;
    int64_t room; /* floats a thread */
    const float *x, *dy;
    float *to, *rooms;
} job;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void run_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const int64_t at = begin * j->p.c;
    float *room = j->rooms + thread * j->room;
    if (j->dy)
        sm_columns_table()->lrn_back(&j->p, j->x + at, j->dy + at, end - begin,
                                     j->to + at, room);
    else
        sm_columns_table()->lrn(&j->p, j->x + at, end - begin, j->to + at, room);
}

/* to = y, or dx where dy is given. All in the order of pixels. */
static sm_status run(const sm_local_norm_params *p, const sm_tensor *x,
                     const sm_tensor *dy, sm_tensor *to, sm_error *err) {
    const int64_t c = x->shape[1], numel = sm_tensor_numel(x);
    if (numel == 0)
        return SM_OK;
    job j = {.p = {.c = c,
                   .below = least(p->size / 2, c - 1),
                   .above = least((p->size - 1) / 2, c - 1),
                   .slope = p->alpha / (float)p->size,
                   .beta = p->beta,
                   .k = p->k},
             .x = sm_f32(x),
             .dy = dy ? sm_f32(dy) : NULL,
             .to = sm_f32(to)};
    j.room = 3 * c + j.p.below + j.p.above;
    j.rooms = sm_alloc((size_t)(j.room * sm_threads()) * sizeof(float));
    if (!j.rooms)
        return sm_fail(err, SM_ENOMEM, 0,
                       "local_response_norm: no memory for its work space");
    sm_parallel_for(numel / c, 1 + 4096 / c, run_rows, &j);
    sm_free(j.rooms);
    return SM_OK;
}

static sm_status local_norm_forward(sm_call *call, sm_error *err) {
    sm_tensor *x;
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = run(call->params, x, NULL, call->out[0], err);
    sm_tensor_unref(x);
    return status;
}

static sm_status local_norm_backward(sm_back *back, sm_error *err) {
    sm_tensor *x = NULL, *dy = NULL, *dx;
    sm_status status = sm_tensor_pixels(back->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_pixels(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = sm_din_pixels(back, 0, &dx, err);
    if (status == SM_OK)
        status = run(back->params, x, dy, dx, err);
    sm_tensor_unref(x);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_local_norm = {.name = "local_response_norm",
                                .min_in = 1,
                                .max_in = 1,
                                .n_out = 1,
                                .save_in = 1,
                                .params_size = sizeof(sm_local_norm_params),
                                .check = local_norm_check,
                                .forward = local_norm_forward,
                                .backward = local_norm_backward};
