/* adaptive_max.c: see heads.h. keep[0]: where each maximum lay, as int32 numbers of
 * pixels of its image. */
#include <string.h>

#include "base/pool.h"
#include "kernels/columns.h"
#include "ops/heads.h"

static sm_status adaptive_max_check(sm_call *call, sm_error *err) {
    const sm_adaptive_max_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    int64_t pixels;
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "input", 4, "[N,C,H,W]", err);
    if (status != SM_OK)
        return status;
    if (p->size[0] < 1 || p->size[1] < 1 || p->size[0] > INT32_MAX ||
        p->size[1] > INT32_MAX)
        return sm_fail(err, SM_EINVAL, 0,
                       "adaptive_max_pool2d: output_size must be from 1 to 2^31 - 1");
    if (x->shape[2] < 1 || x->shape[3] < 1)
        return sm_fail(err, SM_EINVAL, 1,
                       "adaptive_max_pool2d: nothing to choose from in input %s",
                       sm_tensor_shape_text(text, x));
    if (__builtin_mul_overflow(x->shape[2], x->shape[3], &pixels) || pixels > INT32_MAX)
        return sm_fail(
            err, SM_EINVAL, 1,
            "adaptive_max_pool2d: an image has at most 2^31 - 1 pixels, got %s",
            sm_tensor_shape_text(text, x));
    sm_out_like(call, 0);
    call->meta[0].shape[2] = p->size[0];
    call->meta[0].shape[3] = p->size[1];
    call->meta[0].channels_last = true;
    return SM_OK;
}

typedef struct job {
    int64_t c, h, w, oh, ow, blocks;
    const float *x, *dy;
    float *y, *dx;
    int32_t *from;
} job;

static job job_of(const int64_t *shape, const sm_adaptive_max_params *p) {
    return (job){
        .c = shape[1], .h = shape[2], .w = shape[3], .oh = p->size[0], .ow = p->size[1]};
}

static int64_t first(int64_t i, int64_t out, int64_t in) {
    return i * in / out;
}
static int64_t past(int64_t i, int64_t out, int64_t in) {
    return ((i + 1) * in + out - 1) / out;
}

/* Output pixel (i, k) of an image x. */
static void choose(const job *j, const float *x, int64_t i, int64_t k, float *y,
                   int32_t *from) {
    const int64_t row = first(i, j->oh, j->h), column = first(k, j->ow, j->w);
    const int64_t last_row = past(i, j->oh, j->h), last = past(k, j->ow, j->w);
    const int32_t start = (int32_t)(row * j->w + column);
    memcpy(y, x + start * j->c, (size_t)j->c * sizeof *y);
    for (int64_t n = 0; n < j->c; n++)
        from[n] = start;
    for (int64_t a = row; a < last_row; a++)
        for (int64_t b = column; b < last; b++)
            sm_columns_table()->keep_more(x + (a * j->w + b) * j->c, j->c,
                                          (int32_t)(a * j->w + b), y, from);
}

static void choose_pixels(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        const int64_t image = p / (j->oh * j->ow), pixel = p % (j->oh * j->ow);
        choose(j, j->x + image * j->h * j->w * j->c, pixel / j->ow, pixel % j->ow,
               j->y + p * j->c, j->from + p * j->c);
    }
}

static sm_status adaptive_max_forward(sm_call *call, sm_error *err) {
    sm_tensor *x;
    sm_meta meta = call->meta[0];
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK && sm_tensor_numel(call->out[0]) > 0) {
        job j = job_of(x->shape, call->params);
        j.x = sm_f32(x);
        j.y = sm_f32(call->out[0]);
        j.from = sm_tensor_data(call->keep[0]);
        const int64_t bin = (1 + j.h / j.oh) * (1 + j.w / j.ow) * j.c;
        sm_parallel_for(x->shape[0] * j.oh * j.ow, 1 + 32768 / bin, choose_pixels, &j);
    }
    sm_tensor_unref(x);
    return status;
}

enum { BLOCK = 64 }; /* channels that one thread gives back */

static void give_back(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / j->blocks, low = i % j->blocks * BLOCK;
        const int64_t high = low + BLOCK < j->c ? low + BLOCK : j->c;
        const int64_t pixels = j->oh * j->ow;
        float *dx = j->dx + image * j->h * j->w * j->c;
        for (int64_t p = image * pixels; p < (image + 1) * pixels; p++)
            for (int64_t n = low; n < high; n++)
                dx[j->from[p * j->c + n] * j->c + n] += j->dy[p * j->c + n];
    }
}

static sm_status adaptive_max_backward(sm_back *back, sm_error *err) {
    sm_tensor *dy, *dx;
    sm_status status = sm_tensor_pixels(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_din_pixels(back, 0, &dx, err);
    if (status == SM_OK && sm_tensor_numel(dx) > 0) {
        const sm_meta *meta = &back->in_meta[0];
        job j = job_of(meta->shape, back->params);
        j.dy = sm_f32(dy);
        j.dx = sm_f32(dx);
        j.from = sm_tensor_data(back->keep[0]);
        j.blocks = (j.c + BLOCK - 1) / BLOCK;
        memset(j.dx, 0, (size_t)sm_tensor_numel(dx) * sizeof *j.dx);
        sm_parallel_for(meta->shape[0] * j.blocks, 1 + 1024 / (j.oh * j.ow), give_back,
                        &j);
    }
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_adaptive_max_pool2d = {.name = "adaptive_max_pool2d",
                                         .min_in = 1,
                                         .max_in = 1,
                                         .n_out = 1,
                                         .params_size = sizeof(sm_adaptive_max_params),
                                         .check = adaptive_max_check,
                                         .forward = adaptive_max_forward,
                                         .backward = adaptive_max_backward};
