/* conv_transpose.c: see conv_transpose.h. The convolution it is the transpose of goes
 * from its output to its input: forward is that one's backward for data, and its
 * gradients are that one's forward and backward for the weight (kernels/conv2d.h). */
#include "ops/conv_transpose.h"

#include "kernels/conv2d.h"
#include "ops/elementwise.h"

static sm_status check_operands(const sm_call *call, sm_error *err) {
    static const char *const names[] = {"input", "weight", "bias"};
    static const char *const layouts[] = {"[N,I,H,W]", "[I,O/groups,KH,KW]", "[O]"};
    for (int i = 0; i < call->n_in; i++) {
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

static sm_status check_params(const sm_conv_transpose2d_params *p, sm_error *err) {
    for (int a = 0; a < 2; a++) {
        if (p->stride[a] < 1 || p->dilation[a] < 1 || p->padding[a] < 0 ||
            p->stride[a] > INT32_MAX || p->dilation[a] > INT32_MAX ||
            p->padding[a] > INT32_MAX)
            return sm_fail(err, SM_EINVAL, 0,
                           "conv_transpose2d: stride and dilation must be at least 1, "
                           "padding at least 0, and all below 2^31");
        if (p->output_padding[a] < 0 || p->output_padding[a] >= p->stride[a])
            return sm_fail(err, SM_EINVAL, 0,
                           "conv_transpose2d: output_padding must be at least 0 and "
                           "below the stride or the dilation, got %lld",
                           (long long)p->output_padding[a]);
    }
    if (p->groups < 1)
        return sm_fail(err, SM_EINVAL, 0,
                       "conv_transpose2d: groups must be at least 1, got %lld",
                       (long long)p->groups);
    return SM_OK;
}

static sm_status check_channels(const sm_call *call, int64_t *out, sm_error *err) {
    char xs[SM_SHAPE_TEXT], ws[SM_SHAPE_TEXT];
    const sm_conv_transpose2d_params *p = call->params;
    const sm_tensor *x = call->in[0], *w = call->in[1],
                    *b = call->n_in > 2 ? call->in[2] : NULL;
    sm_tensor_shape_text(ws, w);
    if (x->shape[1] != w->shape[0])
        return sm_fail(err, SM_EINVAL, 1,
                       "conv_transpose2d: input has %lld channels, weight %s wants %lld",
                       (long long)x->shape[1], ws, (long long)w->shape[0]);
    if (x->shape[1] % p->groups != 0)
        return sm_fail(err, SM_EINVAL, 1,
                       "conv_transpose2d: %lld groups do not divide the %lld channels "
                       "of input %s",
                       (long long)p->groups, (long long)x->shape[1],
                       sm_tensor_shape_text(xs, x));
    if (w->shape[2] < 1 || w->shape[3] < 1 || w->shape[2] > INT32_MAX ||
        w->shape[3] > INT32_MAX)
        return sm_fail(err, SM_EINVAL, 2,
                       "conv_transpose2d: the kernel is empty or too large: weight %s",
                       ws);
    if (__builtin_mul_overflow(w->shape[1], p->groups, out))
        return sm_fail(err, SM_EINVAL, 2,
                       "conv_transpose2d: %lld groups of weight %s are too many",
                       (long long)p->groups, ws);
    if (b && b->shape[0] != *out)
        return sm_fail(err, SM_EINVAL, 3, "conv_transpose2d: bias must be [%lld], got %s",
                       (long long)*out, sm_tensor_shape_text(xs, b));
    return SM_OK;
}

/* The size of the output along an axis, or -1 where it does not fit an integer. */
static int64_t out_size(const sm_conv_transpose2d_params *p, int a, int64_t in,
                        int64_t kernel) {
    int64_t span;
    if (in < 1)
        return 0;
    if (__builtin_mul_overflow(in - 1, p->stride[a], &span) || span > INT64_MAX / 4 ||
        p->dilation[a] * (kernel - 1) > INT64_MAX / 4)
        return -1;
    return span - 2 * p->padding[a] + p->dilation[a] * (kernel - 1) +
           p->output_padding[a] + 1;
}

static sm_status conv_transpose2d_check(sm_call *call, sm_error *err) {
    char xs[SM_SHAPE_TEXT];
    const sm_conv_transpose2d_params *p = call->params;
    int64_t channels = 0, size[2];
    sm_status status = check_operands(call, err);
    if (status == SM_OK)
        status = check_params(p, err);
    if (status == SM_OK)
        status = check_channels(call, &channels, err);
    if (status != SM_OK)
        return status;
    for (int a = 0; a < 2; a++) {
        size[a] = out_size(p, a, call->in[0]->shape[2 + a], call->in[1]->shape[2 + a]);
        if (size[a] < 1)
            return sm_fail(err, SM_EINVAL, 1,
                           "conv_transpose2d: nothing is left of input %s: the output's "
                           "%s would be %lld",
                           sm_tensor_shape_text(xs, call->in[0]),
                           a == 0 ? "height" : "width", (long long)size[a]);
    }
    call->meta[0] =
        (sm_meta){.dtype = SM_F32,
                  .ndim = 4,
                  .shape = {call->in[0]->shape[0], channels, size[0], size[1]},
                  .channels_last = true};
    return SM_OK;
}

/* Each element of the input goes into as many of the output. */
static uint64_t conv_transpose2d_multiply_adds(const sm_call *call) {
    const int64_t *w = call->in[1]->shape;
    return (uint64_t)sm_tensor_numel(call->in[0]) * (uint64_t)(w[1] * w[2] * w[3]);
}

/* The convolution from y to x. */
static sm_conv2d geometry(const int64_t *x, const int64_t *w,
                          const sm_conv_transpose2d_params *p) {
    return (sm_conv2d){.n = x[0],
                       .c = w[1] * p->groups,
                       .h = out_size(p, 0, x[2], w[2]),
                       .w = out_size(p, 1, x[3], w[3]),
                       .o = x[1],
                       .kh = w[2],
                       .kw = w[3],
                       .stride_h = p->stride[0],
                       .stride_w = p->stride[1],
                       .pad_h = p->padding[0],
                       .pad_w = p->padding[1],
                       .dilation_h = p->dilation[0],
                       .dilation_w = p->dilation[1],
                       .groups = p->groups,
                       .oh = x[2],
                       .ow = x[3]};
}

/* y += bias, one number a channel. */
static sm_status add_bias(sm_tensor *y, const sm_tensor *bias, sm_error *err) {
    sm_tensor *b;
    sm_status status = sm_tensor_alias(bias, &b, err);
    if (status != SM_OK)
        return status;
    const int64_t step = bias->stride[0];
    b->ndim = 3;
    for (int d = 0; d < 3; d++) {
        b->shape[d] = d == 0 ? bias->shape[0] : 1;
        b->stride[d] = d == 0 ? step : 1;
    }
    sm_tensor_add(y, b);
    sm_tensor_unref(b);
    return SM_OK;
}

static sm_status conv_transpose2d_forward(sm_call *call, sm_error *err) {
    sm_tensor *x = NULL, *w = NULL, *bias = call->n_in > 2 ? call->in[2] : NULL;
    const sm_conv2d g = geometry(call->in[0]->shape, call->in[1]->shape, call->params);
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(call->in[1], &w, err);
    if (status == SM_OK)
        status =
            sm_conv2d_backward_data(&g, sm_f32(x), sm_f32(w), sm_f32(call->out[0]), err);
    if (status == SM_OK && bias)
        status = add_bias(call->out[0], bias, err);
    sm_tensor_unref(x);
    sm_tensor_unref(w);
    return status;
}

/* The sums of dy's channels: [N,H,W,C] summed to [C]. */
static sm_status bias_gradient(sm_back *back, const sm_tensor *dy, sm_error *err) {
    static const int order[] = {0, 2, 3, 1};
    sm_tensor *turned;
    sm_status status = sm_tensor_alias(dy, &turned, err);
    for (int d = 0; status == SM_OK && d < 4; d++) {
        turned->shape[d] = dy->shape[order[d]];
        turned->stride[d] = dy->stride[order[d]];
    }
    if (status == SM_OK) {
        status = sm_din_sum(back, 2, turned, NULL, err);
        sm_tensor_unref(turned);
    }
    return status;
}

static sm_status conv_transpose2d_backward(sm_back *back, sm_error *err) {
    const sm_conv2d g =
        geometry(back->in_meta[0].shape, back->in_meta[1].shape, back->params);
    const sm_conv2d_finish finish = {.limits = sm_no_limits};
    sm_tensor *x = NULL, *w = NULL, *dy = NULL, *d;
    sm_status status = sm_tensor_pixels(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = sm_tensor_pixels(back->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[1], &w, err);
    if (status == SM_OK && back->want[0])
        status = sm_din_pixels(back, 0, &d, err);
    if (status == SM_OK && back->want[0])
        status = sm_conv2d_forward(&g, sm_f32(dy), sm_f32(w), &finish, sm_f32(d), err);
    if (status == SM_OK && back->want[1])
        status = sm_din(back, 1, &d, err);
    if (status == SM_OK && back->want[1])
        status =
            sm_conv2d_backward_weight(&g, sm_f32(dy), sm_f32(x), sm_f32(d), NULL, err);
    if (status == SM_OK && back->n_in > 2 && back->want[2])
        status = bias_gradient(back, dy, err);
    sm_tensor_unref(x);
    sm_tensor_unref(w);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_conv_transpose2d = {.name = "conv_transpose2d",
                                      .min_in = 2,
                                      .max_in = 3,
                                      .n_out = 1,
                                      .save_in = 3,
                                      .params_size = sizeof(sm_conv_transpose2d_params),
                                      .check = conv_transpose2d_check,
                                      .forward = conv_transpose2d_forward,
                                      .backward = conv_transpose2d_backward,
                                      .multiply_adds = conv_transpose2d_multiply_adds};
