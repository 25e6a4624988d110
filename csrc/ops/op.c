/* op.c: what ops share: gradients of inputs, common checks. See op.h. */
#include "ops/op.h"

#include <string.h>

static sm_meta gradient_meta(const sm_back *back, int i) {
    sm_meta meta = back->in_meta[i];
    meta.dtype = SM_F32;
    return meta;
}

sm_status sm_din(sm_back *back, int i, sm_tensor **out, sm_error *err) {
    sm_meta meta = gradient_meta(back, i);
    sm_status status = sm_tensor_new(&meta, &back->din[i], err);
    *out = back->din[i];
    return status;
}

sm_status sm_din_pixels(sm_back *back, int i, sm_tensor **out, sm_error *err) {
    sm_meta meta = gradient_meta(back, i);
    meta.channels_last = true;
    sm_status status = sm_tensor_new(&meta, &back->din[i], err);
    *out = back->din[i];
    return status;
}

sm_status sm_din_zeros(sm_back *back, int i, sm_tensor **out, sm_error *err) {
    sm_meta meta = gradient_meta(back, i);
    sm_status status = sm_tensor_zeros(&meta, &back->din[i], err);
    *out = back->din[i];
    return status;
}

sm_status sm_din_add(sm_back *back, int i, sm_tensor **out, sm_error *err) {
    sm_tensor *sum = *back->sum[i];
    if (!sum || sum->refs > 1 || sum->storage->refs > 1 || !sm_tensor_is_contiguous(sum))
        return sm_din_zeros(back, i, out, err);
    *out = sum;
    return SM_OK;
}

sm_status sm_din_give(sm_back *back, int i, sm_tensor *t, sm_error *err) {
    (void)err;
    back->din[i] = t;
    return SM_OK;
}

sm_status sm_view_backward(sm_back *back, sm_error *err) {
    sm_tensor *whole, *part;
    sm_status status = sm_din_add(back, 0, &whole, err);
    if (status != SM_OK)
        return status;
    sm_call call = {
        .op = back->op, .n_in = 1, .in = &whole, .params = back->params, .n_out = 1};
    status = back->op->check(&call, err);
    if (status == SM_OK)
        status = sm_tensor_alias(whole, &part, err);
    if (status != SM_OK)
        return status;
    back->op->view(&call, part);
    sm_tensor_add(part, back->dout[0]);
    sm_tensor_unref(part);
    return SM_OK;
}

sm_status sm_want_dtype(const sm_call *call, int i, const char *name, sm_dtype dtype,
                        sm_error *err) {
    sm_dtype came = call->in[i]->dtype;
    if (came == dtype)
        return SM_OK;
    return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must be %s, got %s", call->op->name,
                   name, sm_dtype_name(dtype), sm_dtype_name(came));
}

sm_status sm_want_ndim(const sm_call *call, int i, const char *name, int ndim,
                       const char *layout, sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (call->in[i]->ndim == ndim)
        return SM_OK;
    return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must be %d-D %s, got shape %s",
                   call->op->name, name, ndim, layout,
                   sm_tensor_shape_text(text, call->in[i]));
}

uint64_t sm_work(const sm_call *call, int64_t each) {
    uint64_t work = (uint64_t)each;
    for (int d = 0; d < call->meta[0].ndim; d++)
        work *= (uint64_t)call->meta[0].shape[d];
    return work;
}

void sm_out_like(sm_call *call, int i) {
    call->meta[0] = sm_tensor_meta(call->in[i]);
}

void sm_out_order(sm_call *call) {
    sm_meta *meta = &call->meta[0];
    for (int i = 0; i < call->n_in; i++) {
        const sm_tensor *t = call->in[i];
        if (t && t->ndim == meta->ndim && sm_tensor_is_channels_last(t) &&
            memcmp(t->shape, meta->shape, (size_t)t->ndim * sizeof *t->shape) == 0)
            meta->channels_last = true;
    }
}

const char *sm_op_label(const sm_op *op, const void *params) {
    return op->label ? op->label(params) : op->name;
}
