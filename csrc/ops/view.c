/* view.c: view ops and the copy. See view.h. Each check validates, each view sets
 * strides. */
#include "ops/view.h"

#include <string.h>

/* ---- reshape ---- */

static void set_contiguous(sm_tensor *t, const sm_meta *meta) {
    t->ndim = meta->ndim;
    memcpy(t->shape, meta->shape, sizeof t->shape);
    sm_contiguous_strides(t->ndim, t->shape, t->stride);
}

/* Puts the worked-out shape into meta; false if the number of elements differs. */
static bool resolve_shape(const sm_tensor *t, const sm_reshape_params *p, sm_meta *meta) {
    int64_t numel = sm_tensor_numel(t), known = 1;
    int unknown = -1;
    *meta = (sm_meta){.dtype = t->dtype, .ndim = p->ndim};
    for (int d = 0; d < p->ndim; d++) {
        meta->shape[d] = p->shape[d];
        if (p->shape[d] == -1 && unknown < 0)
            unknown = d;
        else if (p->shape[d] < 0 || __builtin_mul_overflow(known, p->shape[d], &known))
            return false;
    }
    if (unknown < 0)
        return known == numel;
    if (known == 0 || numel % known != 0)
        return false;
    meta->shape[unknown] = numel / known;
    return true;
}

/* Strides that give t the new shape without a copy. Walks both shapes from the back; a
 * run of input dimensions that lie behind one another can be cut anew in any way. */
static bool view_strides(const sm_tensor *t, const sm_meta *to, int64_t *stride) {
    if (sm_tensor_is_contiguous(t)) {
        sm_contiguous_strides(to->ndim, to->shape, stride);
        return true;
    }
    int out = to->ndim - 1;
    for (int d = t->ndim - 1; d >= 0;) {
        int64_t run = t->shape[d], step = t->stride[d];
        for (d--; d >= 0 && (t->shape[d] == 1 || t->stride[d] == step * run || run == 1);
             d--) {
            if (run == 1)
                step = t->stride[d];
            run *= t->shape[d];
        }
        int64_t filled = 1;
        while (out >= 0 && (filled < run || to->shape[out] == 1)) {
            stride[out] = step * filled;
            filled *= to->shape[out--];
        }
        if (filled != run)
            return false;
    }
    for (; out >= 0; out--)
        stride[out] = 1; /* only sizes of 1 are left */
    return true;
}

bool sm_can_view(const sm_tensor *t, const sm_reshape_params *params) {
    sm_meta meta = {0};
    int64_t stride[SM_MAX_DIMS];
    return resolve_shape(t, params, &meta) && view_strides(t, &meta, stride);
}

static sm_status reshape_check(sm_call *call, sm_error *err) {
    const sm_tensor *t = call->in[0];
    const sm_reshape_params *p = call->params;
    char from[SM_SHAPE_TEXT], to[SM_SHAPE_TEXT];
    int64_t stride[SM_MAX_DIMS];
    sm_tensor_shape_text(from, t);
    sm_shape_text(to, p->ndim, p->shape);
    if (!resolve_shape(t, p, &call->meta[0]))
        return sm_fail(err, SM_EINVAL, 2, "%s: shape %s (%lld elements) does not fit %s",
                       call->op->name, from, (long long)sm_tensor_numel(t), to);
    if (!view_strides(t, &call->meta[0], stride))
        return sm_fail(
            err, SM_EINVAL, 1,
            "view: a non-contiguous %s cannot be seen as %s without a copy; use reshape",
            from, to);
    return SM_OK;
}

static void reshape_view(const sm_call *call, sm_tensor *out) {
    out->ndim = call->meta[0].ndim;
    memcpy(out->shape, call->meta[0].shape, sizeof out->shape);
    view_strides(call->in[0], &call->meta[0], out->stride);
}

/* The gradient in the input's shape: again a view, of a contiguous dout. */
static sm_status reshape_backward(sm_back *back, sm_error *err) {
    sm_tensor *dense, *din;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dense, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_alias(dense, &din, err);
    sm_tensor_unref(dense);
    if (status != SM_OK)
        return status;
    set_contiguous(din, &back->in_meta[0]);
    return sm_din_give(back, 0, din, err);
}

const sm_op sm_op_reshape = {.name = "reshape",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .params_size = sizeof(sm_reshape_params),
                             .check = reshape_check,
                             .view = reshape_view,
                             .backward = reshape_backward};

/* ---- permute ---- */

static sm_status permute_check(sm_call *call, sm_error *err) {
    const sm_tensor *t = call->in[0];
    const sm_permute_params *p = call->params;
    char text[SM_SHAPE_TEXT];
    unsigned seen = 0;
    bool valid = p->ndim == t->ndim;
    for (int d = 0; d < p->ndim && valid; d++) {
        valid = p->dims[d] >= 0 && p->dims[d] < t->ndim && !(seen >> p->dims[d] & 1);
        if (valid)
            seen |= 1u << p->dims[d];
    }
    if (!valid)
        return sm_fail(err, SM_EINVAL, 2,
                       "permute: needs each dimension of shape %s exactly once",
                       sm_tensor_shape_text(text, t));
    sm_out_like(call, 0);
    for (int d = 0; d < p->ndim; d++)
        call->meta[0].shape[d] = t->shape[p->dims[d]];
    return SM_OK;
}

static void permute_view(const sm_call *call, sm_tensor *out) {
    const sm_permute_params *p = call->params;
    for (int d = 0; d < p->ndim; d++) {
        out->shape[d] = call->in[0]->shape[p->dims[d]];
        out->stride[d] = call->in[0]->stride[p->dims[d]];
    }
}

static sm_status permute_backward(sm_back *back, sm_error *err) {
    const sm_permute_params *p = back->params;
    sm_tensor *din;
    sm_status status = sm_tensor_alias(back->dout[0], &din, err);
    if (status != SM_OK)
        return status;
    for (int d = 0; d < p->ndim; d++) {
        din->shape[p->dims[d]] = back->dout[0]->shape[d];
        din->stride[p->dims[d]] = back->dout[0]->stride[d];
    }
    return sm_din_give(back, 0, din, err);
}

const sm_op sm_op_permute = {.name = "permute",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .params_size = sizeof(sm_permute_params),
                             .check = permute_check,
                             .view = permute_view,
                             .backward = permute_backward};

/* ---- expand ---- */

static sm_status expand_check(sm_call *call, sm_error *err) {
    const sm_tensor *t = call->in[0];
    const sm_expand_params *p = call->params;
    char from[SM_SHAPE_TEXT], to[SM_SHAPE_TEXT];
    int lead = p->ndim - t->ndim;
    int64_t numel;
    bool fits = lead >= 0;
    call->meta[0] = (sm_meta){.dtype = t->dtype, .ndim = p->ndim};
    for (int d = 0; d < p->ndim && fits; d++) {
        int64_t have = d < lead ? 1 : t->shape[d - lead];
        int64_t want = p->shape[d] == -1 && d >= lead ? have : p->shape[d];
        fits = want >= 0 && (have == want || have == 1);
        call->meta[0].shape[d] = want;
    }
    if (!fits)
        return sm_fail(err, SM_EINVAL, 2, "expand: shape %s cannot expand to %s",
                       sm_tensor_shape_text(from, t),
                       sm_shape_text(to, p->ndim, p->shape));
    return sm_meta_numel(&call->meta[0], "expand", &numel, err);
}

static void expand_view(const sm_call *call, sm_tensor *out) {
    int64_t stride[SM_MAX_DIMS] = {0};
    sm_broadcast_strides(call->in[0], call->meta[0].ndim, call->meta[0].shape, stride);
    out->ndim = call->meta[0].ndim;
    memcpy(out->shape, call->meta[0].shape, sizeof out->shape);
    memcpy(out->stride, stride, sizeof stride);
}

const sm_op sm_op_expand = {.name = "expand",
                            .min_in = 1,
                            .max_in = 1,
                            .n_out = 1,
                            .params_size = sizeof(sm_expand_params),
                            .check = expand_check,
                            .view = expand_view,
                            .backward = sm_view_backward};

/* ---- slice and select ---- */

static sm_status check_dim(const sm_call *call, int dim, sm_error *err) {
    char text[SM_SHAPE_TEXT];
    const sm_tensor *t = call->in[0];
    if (dim >= 0 && dim < t->ndim)
        return SM_OK;
    return sm_fail(err, SM_EINVAL, 2, "%s: dimension %d is out of range for shape %s",
                   call->op->name, dim + 1, sm_tensor_shape_text(text, t));
}

static sm_status slice_check(sm_call *call, sm_error *err) {
    const sm_slice_params *p = call->params;
    const sm_tensor *t = call->in[0];
    char text[SM_SHAPE_TEXT];
    sm_status status = check_dim(call, p->dim, err);
    if (status != SM_OK)
        return status;
    int64_t size = t->shape[p->dim], last;
    if (p->step < 1)
        return sm_fail(err, SM_EINVAL, 5, "slice: step must be at least 1, got %lld",
                       (long long)p->step);
    if (p->start < 0 || p->length < 0 || p->start > size ||
        (p->length > 0 &&
         (__builtin_mul_overflow(p->length - 1, p->step, &last) ||
          __builtin_add_overflow(last, p->start, &last) || last >= size)))
        return sm_fail(err, SM_EINVAL, 3,
                       "narrow: start %lld, length %lld is out of range for dimension %d "
                       "of shape %s",
                       (long long)p->start + 1, (long long)p->length, p->dim + 1,
                       sm_tensor_shape_text(text, t));
    sm_out_like(call, 0);
    call->meta[0].shape[p->dim] = p->length;
    return SM_OK;
}

static void slice_view(const sm_call *call, sm_tensor *out) {
    const sm_slice_params *p = call->params;
    out->offset += p->length ? p->start * out->stride[p->dim] : 0;
    out->shape[p->dim] = p->length;
    out->stride[p->dim] *= p->length > 1 ? p->step : 1;
}

const sm_op sm_op_slice = {.name = "narrow",
                           .min_in = 1,
                           .max_in = 1,
                           .n_out = 1,
                           .params_size = sizeof(sm_slice_params),
                           .check = slice_check,
                           .view = slice_view,
                           .backward = sm_view_backward};

static sm_status select_check(sm_call *call, sm_error *err) {
    const sm_select_params *p = call->params;
    const sm_tensor *t = call->in[0];
    char text[SM_SHAPE_TEXT];
    sm_status status = check_dim(call, p->dim, err);
    if (status != SM_OK)
        return status;
    if (p->index < 0 || p->index >= t->shape[p->dim])
        return sm_fail(err, SM_EINVAL, 3,
                       "select: index %lld is out of range for dimension %d of shape %s",
                       (long long)p->index + 1, p->dim + 1,
                       sm_tensor_shape_text(text, t));
    sm_out_like(call, 0);
    call->meta[0].ndim--;
    for (int d = p->dim; d < call->meta[0].ndim; d++)
        call->meta[0].shape[d] = t->shape[d + 1];
    return SM_OK;
}

static void select_view(const sm_call *call, sm_tensor *out) {
    const sm_select_params *p = call->params;
    out->offset += p->index * out->stride[p->dim];
    out->ndim--;
    for (int d = p->dim; d < out->ndim; d++) {
        out->shape[d] = out->shape[d + 1];
        out->stride[d] = out->stride[d + 1];
    }
}

const sm_op sm_op_select = {.name = "select",
                            .min_in = 1,
                            .max_in = 1,
                            .n_out = 1,
                            .params_size = sizeof(sm_select_params),
                            .check = select_check,
                            .view = select_view,
                            .backward = sm_view_backward};

/* ---- copy ---- */

static sm_status copy_check(sm_call *call, sm_error *err) {
    const sm_copy_params *p = call->params;
    (void)err;
    sm_out_like(call, 0);
    call->meta[0].dtype = p->dtype;
    return SM_OK;
}

static sm_status copy_forward(sm_call *call, sm_error *err) {
    (void)err;
    sm_tensor_copy(call->out[0], call->in[0]);
    return SM_OK;
}

static sm_status copy_backward(sm_back *back, sm_error *err) {
    return sm_din_give(back, 0, sm_tensor_ref(back->dout[0]), err);
}

const sm_op sm_op_copy = {.name = "copy",
                          .min_in = 1,
                          .max_in = 1,
                          .n_out = 1,
                          .params_size = sizeof(sm_copy_params),
                          .check = copy_check,
                          .forward = copy_forward,
                          .backward = copy_backward};
