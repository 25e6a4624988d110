/* conv.c: the convolution op over kernels/conv2d.h. See conv.h. */
#include "ops/conv.h"

#include <math.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d.h"
#include "kernels/norm.h"

static sm_status check_operands(const sm_call *call, sm_error *err) {
    static const char *const names[] = {"input", "weight", "bias"};
    static const char *const layouts[] = {"[N,C,H,W]", "[O,C/groups,KH,KW]", "[O]"};
    for (int i = 0; i < call->n_in && i < 3; i++) {
        if (!call->in[i])
            continue;
        sm_status status = sm_want_dtype(call, i, names[i], SM_F32, err);
        if (status == SM_OK)
            status = sm_want_ndim(call, i, names[i], i < 2 ? 4 : 1, layouts[i], err);
        if (status != SM_OK)
            return status;
    }
    return SM_OK;
}

static sm_status check_params(const sm_conv2d_params *p, sm_error *err) {
    static const char *const axes[] = {"height", "width"};
    for (int a = 0; a < 2; a++) {
        if (p->stride[a] < 1 || p->dilation[a] < 1)
            return sm_fail(
                err, SM_EINVAL, 0, "conv2d: %s must be at least 1, got %lld (%s)",
                p->stride[a] < 1 ? "stride" : "dilation",
                (long long)(p->stride[a] < 1 ? p->stride[a] : p->dilation[a]), axes[a]);
        if (p->padding[a] < 0)
            return sm_fail(err, SM_EINVAL, 0,
                           "conv2d: padding must not be negative, got %lld (%s)",
                           (long long)p->padding[a], axes[a]);
        if (p->stride[a] > INT32_MAX || p->dilation[a] > INT32_MAX ||
            p->padding[a] > INT32_MAX)
            return sm_fail(err, SM_EINVAL, 0,
                           "conv2d: stride, dilation and padding must be below "
                           "2^31 (%s)",
                           axes[a]);
    }
    if (p->groups < 1)
        return sm_fail(err, SM_EINVAL, 0, "conv2d: groups must be at least 1, got %lld",
                       (long long)p->groups);
    return SM_OK;
}

static sm_status check_channels(const sm_call *call, sm_error *err) {
    char xs[SM_SHAPE_TEXT], ws[SM_SHAPE_TEXT];
    const sm_conv2d_params *p = call->params;
    const sm_tensor *x = call->in[0], *w = call->in[1],
                    *b = call->n_in > 2 ? call->in[2] : NULL;
    int64_t wants;
    if (!__builtin_mul_overflow(w->shape[1], p->groups, &wants) && x->shape[1] != wants)
        return sm_fail(
            err, SM_EINVAL, 1,
            "conv2d: input has %lld channels, weight %s wants %lld (groups = %lld)",
            (long long)x->shape[1], sm_tensor_shape_text(ws, w), (long long)wants,
            (long long)p->groups);
    if (w->shape[0] % p->groups != 0)
        return sm_fail(err, SM_EINVAL, 2,
                       "conv2d: %lld groups do not divide the %lld output "
                       "channels of weight %s",
                       (long long)p->groups, (long long)w->shape[0],
                       sm_tensor_shape_text(ws, w));
    if (w->shape[2] < 1 || w->shape[3] < 1)
        return sm_fail(err, SM_EINVAL, 2, "conv2d: the kernel is empty: weight %s",
                       sm_tensor_shape_text(ws, w));
    if (b && b->shape[0] != w->shape[0])
        return sm_fail(err, SM_EINVAL, 3, "conv2d: bias must be [%lld], got %s",
                       (long long)w->shape[0], sm_tensor_shape_text(xs, b));
    return SM_OK;
}

/* The kernel's description of the call. */
static sm_conv2d geometry(const int64_t *x, const int64_t *w, const sm_conv2d_params *p) {
    sm_conv2d g = {.n = x[0],
                   .c = x[1],
                   .h = x[2],
                   .w = x[3],
                   .o = w[0],
                   .kh = w[2],
                   .kw = w[3],
                   .stride_h = p->stride[0],
                   .stride_w = p->stride[1],
                   .pad_h = p->padding[0],
                   .pad_w = p->padding[1],
                   .dilation_h = p->dilation[0],
                   .dilation_w = p->dilation[1],
                   .groups = p->groups};
    g.oh = sm_conv2d_out(g.h, g.kh, g.stride_h, g.pad_h, g.dilation_h);
    g.ow = sm_conv2d_out(g.w, g.kw, g.stride_w, g.pad_w, g.dilation_w);
    return g;
}

/* Both ops' params begin with those of the convolution. */
static sm_status conv2d_check(sm_call *call, sm_error *err) {
    char xs[SM_SHAPE_TEXT];
    const sm_conv2d_params *p = call->params;
    sm_status status = check_operands(call, err);
    if (status == SM_OK)
        status = check_params(p, err);
    if (status == SM_OK)
        status = check_channels(call, err);
    if (status != SM_OK)
        return status;
    sm_conv2d g = geometry(call->in[0]->shape, call->in[1]->shape, p);
    if (g.oh < 1 || g.ow < 1)
        return sm_fail(
            err, SM_EINVAL, 1,
            "conv2d: kernel %lldx%lld (dilation %lldx%lld) is larger than input %s with "
            "padding %lldx%lld",
            (long long)g.kh, (long long)g.kw, (long long)g.dilation_h,
            (long long)g.dilation_w, sm_tensor_shape_text(xs, call->in[0]),
            (long long)g.pad_h, (long long)g.pad_w);
    call->meta[0] = (sm_meta){.dtype = SM_F32,
                              .ndim = 4,
                              .shape = {g.n, g.o, g.oh, g.ow},
                              .channels_last = true};
    return SM_OK;
}

/* Runs the kernel with the operands as it wants them. */
static sm_status run_forward(sm_call *call, sm_conv2d_finish finish, sm_error *err) {
    sm_tensor *x = NULL, *w = NULL;
    sm_conv2d g = geometry(call->in[0]->shape, call->in[1]->shape, call->params);
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(call->in[1], &w, err);
    if (status == SM_OK)
        status = sm_conv2d_forward(&g, sm_f32(x), sm_f32(w), &finish,
                                   sm_f32(call->out[0]), err);
    sm_tensor_unref(x);
    sm_tensor_unref(w);
    return status;
}

static uint64_t conv2d_multiply_adds(const sm_call *call) {
    const int64_t *w = call->in[1]->shape;
    return sm_work(call, w[1] * w[2] * w[3]);
}

static sm_status conv2d_forward(sm_call *call, sm_error *err) {
    const sm_conv2d_params *p = call->params;
    sm_tensor *bias = NULL;
    sm_status status = SM_OK;
    if (call->n_in > 2 && call->in[2])
        status = sm_tensor_contiguous(call->in[2], &bias, err);
    const sm_conv2d_finish finish = {.bias = bias ? sm_f32(bias) : NULL,
                                     .limits = p->limits};
    if (status == SM_OK)
        status = run_forward(call, finish, err);
    if (status == SM_OK && sm_is_limited(p->limits) && call->record)
        status = sm_tensor_alias(call->out[0], &call->keep[0], err);
    sm_tensor_unref(bias);
    return status;
}

typedef struct mask_job {
    const float *dy, *y;
    float *dz;
    sm_limits limits;
} mask_job;

static void mask_range(void *context, int64_t begin, int64_t end, int thread) {
    const mask_job *j = context;
    (void)thread;
    sm_norm_table()->mask(j->dz + begin, j->dy + begin, j->y + begin, end - begin,
                          j->limits);
}

/* dy in the order of pixels, and only where y is within the limits. It is changed where
 * it lies if nobody else sees it. */
static sm_status masked_gradient(const sm_back *back, sm_tensor **out, sm_error *err) {
    const sm_conv2d_params *p = back->params;
    sm_tensor *dy;
    sm_status status = sm_tensor_pixels(back->dout[0], &dy, err);
    *out = dy;
    if (status != SM_OK || !sm_is_limited(p->limits))
        return status;
    const bool ours = dy != back->dout[0] || dy->refs == 2;
    if (!ours || dy->storage->refs > 1) {
        sm_meta meta = sm_tensor_meta(dy);
        meta.channels_last = true;
        status = sm_tensor_new(&meta, out, err);
    }
    if (status == SM_OK) {
        mask_job j = {sm_f32(dy), sm_f32(back->keep[0]), sm_f32(*out), p->limits};
        sm_parallel_for(sm_tensor_numel(dy), 16384, mask_range, &j);
    }
    if (status != SM_OK || *out != dy)
        sm_tensor_unref(dy);
    return status;
}

static sm_status conv2d_backward_weight(sm_back *back, const sm_conv2d *g,
                                        const sm_tensor *x, const sm_tensor *dy,
                                        sm_error *err) {
    sm_tensor *dw, *db = NULL;
    bool wants_bias = back->n_in > 2 && back->want[2];
    sm_status status;
    if (!back->want[1] && !wants_bias)
        return SM_OK;
    sm_meta meta = back->in_meta[1];
    status = back->want[1] ? sm_din(back, 1, &dw, err) : sm_tensor_new(&meta, &dw, err);
    if (status == SM_OK && wants_bias)
        status = sm_din(back, 2, &db, err);
    if (status == SM_OK)
        status = sm_conv2d_backward_weight(g, sm_f32(x), sm_f32(dy), sm_f32(dw),
                                           db ? sm_f32(db) : NULL, err);
    if (status == SM_OK && !back->want[1])
        sm_tensor_unref(dw);
    return status;
}

static sm_status conv2d_backward(sm_back *back, sm_error *err) {
    sm_conv2d g = geometry(back->in_meta[0].shape, back->in_meta[1].shape, back->params);
    sm_tensor *x = NULL, *w = NULL, *dy, *dx;
    sm_status status = masked_gradient(back, &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_pixels(back->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[1], &w, err);
    if (status == SM_OK)
        status = conv2d_backward_weight(back, &g, x, dy, err);
    if (status == SM_OK && back->want[0]) {
        status = sm_din_pixels(back, 0, &dx, err);
        if (status == SM_OK)
            status = sm_conv2d_backward_data(&g, sm_f32(dy), sm_f32(w), sm_f32(dx), err);
    }
    sm_tensor_unref(x);
    sm_tensor_unref(w);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_conv2d = {.name = "conv2d",
                            .min_in = 2,
                            .max_in = 3,
                            .n_out = 1,
                            .save_in = 3,
                            .params_size = sizeof(sm_conv2d_params),
                            .check = conv2d_check,
                            .forward = conv2d_forward,
                            .multiply_adds = conv2d_multiply_adds,
                            .backward = conv2d_backward};

/* ---- with batch norm ---- */

enum { MEAN = 3, VAR, GAMMA, BETA, RESIDUAL };

static sm_tensor *optional(const sm_call *call, int i) {
    return i < call->n_in ? call->in[i] : NULL;
}

static sm_status conv2d_norm_check(sm_call *call, sm_error *err) {
    static const char *const names[] = {"running_mean", "running_var", "norm's weight",
                                        "norm's bias"};
    char text[SM_SHAPE_TEXT], wanted[SM_SHAPE_TEXT];
    sm_status status = conv2d_check(call, err);
    if (status != SM_OK)
        return status;
    const sm_meta *out = &call->meta[0];
    for (int i = MEAN; i <= BETA; i++) {
        const sm_tensor *t = optional(call, i);
        if (t && (t->dtype != SM_F32 || t->ndim != 1 || t->shape[0] != out->shape[1]))
            return sm_fail(err, SM_EINVAL, i + 1,
                           "conv2d: %s must be float32 [%lld], got %s %s",
                           names[i - MEAN], (long long)out->shape[1],
                           sm_dtype_name(t->dtype), sm_tensor_shape_text(text, t));
    }
    const sm_tensor *r = optional(call, RESIDUAL);
    bool fits = !r || (r->dtype == SM_F32 && r->ndim == 4);
    for (int d = 0; r && fits && d < 4; d++)
        fits = r->shape[d] == out->shape[d];
    if (!fits)
        return sm_fail(err, SM_EINVAL, RESIDUAL + 1,
                       "conv2d: residual must be float32 %s as the result, got %s %s",
                       sm_shape_text(wanted, 4, out->shape), sm_dtype_name(r->dtype),
                       sm_tensor_shape_text(text, r));
    return SM_OK;
}

static float channel(const sm_tensor *t, int64_t c, float otherwise) {
    return t ? sm_f32(t)[c * t->stride[0]] : otherwise;
}

static sm_status conv2d_norm_forward(sm_call *call, sm_error *err) {
    const sm_conv2d_norm_params *p = call->params;
    sm_tensor *residual = NULL, *r = optional(call, RESIDUAL);
    const int64_t channels = call->meta[0].shape[1];
    sm_status status = r ? sm_tensor_pixels(r, &residual, err) : SM_OK;
    if (status != SM_OK)
        return status;
    float *scale = sm_alloc((size_t)(2 * channels) * sizeof *scale);
    if (!scale) {
        sm_tensor_unref(residual);
        return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    }
    float *shift = scale + channels;
    for (int64_t c = 0; c < channels; c++) {
        scale[c] = channel(optional(call, GAMMA), c, 1) /
                   sqrtf(channel(call->in[VAR], c, 1) + p->eps);
        shift[c] =
            channel(optional(call, BETA), c, 0) +
            (channel(optional(call, 2), c, 0) - channel(call->in[MEAN], c, 0)) * scale[c];
    }
    const sm_conv2d_finish finish = {.scale = scale,
                                     .bias = shift,
                                     .residual = residual ? sm_f32(residual) : NULL,
                                     .limits = p->conv.limits};
    status = run_forward(call, finish, err);
    sm_free(scale);
    sm_tensor_unref(residual);
    return status;
}

const sm_op sm_op_conv2d_norm = {.name = "conv2d",
                                 .min_in = 2,
                                 .max_in = 8,
                                 .n_out = 1,
                                 .params_size = sizeof(sm_conv2d_norm_params),
                                 .check = conv2d_norm_check,
                                 .forward = conv2d_norm_forward,
                                 .multiply_adds = conv2d_multiply_adds};
