/* pool.c: pooling ops over kernels/pool2d.h. See pool.h. */
#include "ops/pool.h"

#include "kernels/pool2d.h"

/* PyTorch's rule: with ceil_mode a window may reach beyond the image, even the only one,
 * by less than a stride; it must begin inside the image or its left padding. */
static int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                        int64_t dilation, bool ceil_mode) {
    int64_t room = in + 2 * pad - (dilation * (kernel - 1) + 1);
    room += ceil_mode ? stride - 1 : 0;
    if (room < 0)
        return 0;
    int64_t out = room / stride + 1;
    return ceil_mode && (out - 1) * stride >= in + pad ? out - 1 : out;
}

static sm_pool2d geometry(const int64_t *shape, const sm_pool_params *p) {
    sm_pool2d g = {.n = shape[0],
                   .c = shape[1],
                   .h = shape[2],
                   .w = shape[3],
                   .kh = p->kernel[0],
                   .kw = p->kernel[1],
                   .stride_h = p->stride[0],
                   .stride_w = p->stride[1],
                   .pad_h = p->padding[0],
                   .pad_w = p->padding[1],
                   .dilation_h = p->dilation[0],
                   .dilation_w = p->dilation[1],
                   .count_include_pad = p->count_include_pad};
    g.oh = out_size(g.h, g.kh, g.stride_h, g.pad_h, g.dilation_h, p->ceil_mode);
    g.ow = out_size(g.w, g.kw, g.stride_w, g.pad_w, g.dilation_w, p->ceil_mode);
    return g;
}

static sm_status pool_check(sm_call *call, sm_error *err) {
    const sm_pool_params *p = call->params;
    const char *name = call->op->name;
    char text[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "input", 4, "[N,C,H,W]", err);
    if (status != SM_OK)
        return status;
    for (int a = 0; a < 2; a++) {
        if (p->kernel[a] < 1 || p->stride[a] < 1 || p->dilation[a] < 1 ||
            p->kernel[a] > 1 << 24 || p->stride[a] > 1 << 24 || p->dilation[a] > 1 << 24)
            return sm_fail(err, SM_EINVAL, 0,
                           "%s: kernel_size, stride and dilation must be from 1 "
                           "to 2^24",
                           name);
        if (p->padding[a] < 0 || p->padding[a] > p->kernel[a] / 2)
            return sm_fail(
                err, SM_EINVAL, 0,
                "%s: padding must be from 0 to half the kernel_size (%lld), got %lld",
                name, (long long)p->kernel[a], (long long)p->padding[a]);
    }
    if (call->op == &sm_op_max_pool2d && p->kernel[0] * p->kernel[1] > 255)
        return sm_fail(err, SM_EINVAL, 0,
                       "%s: windows hold at most 255 elements, got %lldx%lld", name,
                       (long long)p->kernel[0], (long long)p->kernel[1]);
    sm_pool2d g = geometry(call->in[0]->shape, p);
    if (g.oh < 1 || g.ow < 1)
        return sm_fail(err, SM_EINVAL, 1,
                       "%s: window %lldx%lld is larger than input %s with its "
                       "padding",
                       name, (long long)g.kh, (long long)g.kw,
                       sm_tensor_shape_text(text, call->in[0]));
    sm_out_like(call, 0);
    call->meta[0].shape[2] = g.oh;
    call->meta[0].shape[3] = g.ow;
    call->meta[0].channels_last = true;
    return SM_OK;
}

/* ---- max ---- */

static sm_status max_pool2d_forward(sm_call *call, sm_error *err) {
    sm_pool2d g = geometry(call->in[0]->shape, call->params);
    sm_tensor *x;
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    sm_meta meta = call->meta[0];
    meta.dtype = SM_U8;
    if (call->record)
        status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK)
        sm_max_pool2d(&g, sm_f32(x), sm_f32(call->out[0]),
                      call->keep[0] ? sm_u8(call->keep[0]) : NULL);
    sm_tensor_unref(x);
    return status;
}

/* Runs fn with dy and a fresh dx, both in the order of pixels. */
static sm_status with_gradients(sm_back *back, sm_tensor **dy, sm_tensor **dx,
                                sm_error *err) {
    sm_status status = sm_tensor_pixels(back->dout[0], dy, err);
    if (status != SM_OK)
        return status;
    status = sm_din_pixels(back, 0, dx, err);
    if (status != SM_OK)
        sm_tensor_unref(*dy);
    return status;
}

static sm_status max_pool2d_backward(sm_back *back, sm_error *err) {
    sm_pool2d g = geometry(back->in_meta[0].shape, back->params);
    sm_tensor *dy, *dx;
    sm_status status = with_gradients(back, &dy, &dx, err);
    if (status != SM_OK)
        return status;
    sm_max_pool2d_backward(&g, sm_f32(dy), sm_u8(back->keep[0]), sm_f32(dx));
    sm_tensor_unref(dy);
    return SM_OK;
}

const sm_op sm_op_max_pool2d = {.name = "max_pool2d",
                                .min_in = 1,
                                .max_in = 1,
                                .n_out = 1,
                                .params_size = sizeof(sm_pool_params),
                                .check = pool_check,
                                .forward = max_pool2d_forward,
                                .backward = max_pool2d_backward};

/* ---- average ---- */

typedef void (*plane_fn)(const sm_pool2d *g, const float *from, float *to);

static sm_status run_forward(sm_call *call, const sm_pool2d *g, plane_fn fn,
                             sm_error *err) {
    sm_tensor *x;
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    fn(g, sm_f32(x), sm_f32(call->out[0]));
    sm_tensor_unref(x);
    return SM_OK;
}

static sm_status run_backward(sm_back *back, const sm_pool2d *g, plane_fn fn,
                              sm_error *err) {
    sm_tensor *dy, *dx;
    sm_status status = with_gradients(back, &dy, &dx, err);
    if (status != SM_OK)
        return status;
    fn(g, sm_f32(dy), sm_f32(dx));
    sm_tensor_unref(dy);
    return SM_OK;
}

static sm_status avg_pool2d_forward(sm_call *call, sm_error *err) {
    sm_pool2d g = geometry(call->in[0]->shape, call->params);
    return run_forward(call, &g, sm_avg_pool2d, err);
}

static sm_status avg_pool2d_backward(sm_back *back, sm_error *err) {
    sm_pool2d g = geometry(back->in_meta[0].shape, back->params);
    return run_backward(back, &g, sm_avg_pool2d_backward, err);
}

const sm_op sm_op_avg_pool2d = {.name = "avg_pool2d",
                                .min_in = 1,
                                .max_in = 1,
                                .n_out = 1,
                                .params_size = sizeof(sm_pool_params),
                                .check = pool_check,
                                .forward = avg_pool2d_forward,
                                .backward = avg_pool2d_backward};

/* ---- adaptive average ---- */

static sm_pool2d adaptive_geometry(const int64_t *shape, const sm_adaptive_params *p) {
    return (sm_pool2d){.n = shape[0],
                       .c = shape[1],
                       .h = shape[2],
                       .w = shape[3],
                       .oh = p->size[0],
                       .ow = p->size[1],
                       .kh = 1,
                       .kw = 1};
}

static sm_status adaptive_check(sm_call *call, sm_error *err) {
    const sm_adaptive_params *p = call->params;
    char text[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "input", 4, "[N,C,H,W]", err);
    if (status != SM_OK)
        return status;
    if (p->size[0] < 1 || p->size[1] < 1)
        return sm_fail(err, SM_EINVAL, 0,
                       "adaptive_avg_pool2d: output_size must be at least 1");
    if (call->in[0]->shape[2] < 1 || call->in[0]->shape[3] < 1)
        return sm_fail(err, SM_EINVAL, 1,
                       "adaptive_avg_pool2d: nothing to average in input %s",
                       sm_tensor_shape_text(text, call->in[0]));
    sm_out_like(call, 0);
    call->meta[0].shape[2] = p->size[0];
    call->meta[0].shape[3] = p->size[1];
    call->meta[0].channels_last = true;
    return SM_OK;
}

static sm_status adaptive_forward(sm_call *call, sm_error *err) {
    sm_pool2d g = adaptive_geometry(call->in[0]->shape, call->params);
    return run_forward(call, &g, sm_adaptive_avg_pool2d, err);
}

static sm_status adaptive_backward(sm_back *back, sm_error *err) {
    sm_pool2d g = adaptive_geometry(back->in_meta[0].shape, back->params);
    return run_backward(back, &g, sm_adaptive_avg_pool2d_backward, err);
}

const sm_op sm_op_adaptive_avg_pool2d = {.name = "adaptive_avg_pool2d",
                                         .min_in = 1,
                                         .max_in = 1,
                                         .n_out = 1,
                                         .params_size = sizeof(sm_adaptive_params),
                                         .check = adaptive_check,
                                         .forward = adaptive_forward,
                                         .backward = adaptive_backward};
