/* shape.c: arithmetic on shapes and strides, and their text. See tensor.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/tensor.h"

static const char *const names[SM_DTYPE_COUNT] = {"float32", "int64", "uint8"};
static const size_t sizes[SM_DTYPE_COUNT] = {4, 8, 1};

const char *sm_dtype_name(sm_dtype dtype) {
    return names[dtype];
}

int sm_dtype_by_name(const char *name) {
    for (int i = 0; i < SM_DTYPE_COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

size_t sm_dtype_size(sm_dtype dtype) {
    return sizes[dtype];
}

const char *sm_shape_text(char *text, int ndim, const int64_t *shape) {
    size_t at = 0;
    text[at++] = '[';
    for (int d = 0; d < ndim; d++)
        at += (size_t)snprintf(text + at, SM_SHAPE_TEXT - at, d ? ",%lld" : "%lld",
                               (long long)shape[d]);
    text[at++] = ']';
    text[at] = '\0';
    return text;
}

sm_status sm_meta_numel(const sm_meta *meta, const char *what, int64_t *numel,
                        sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (meta->ndim < 0 || meta->ndim > SM_MAX_DIMS)
        return sm_fail(err, SM_EINVAL, 0,
                       "%s: a tensor has at most %d dimensions, got %d", what,
                       SM_MAX_DIMS, meta->ndim);
    int64_t n = 1, bytes;
    bool empty = false, fits = true;
    for (int d = 0; d < meta->ndim; d++) {
        if (meta->shape[d] < 0)
            return sm_fail(err, SM_EINVAL, 0, "%s: negative size in shape %s", what,
                           sm_shape_text(text, meta->ndim, meta->shape));
        empty = empty || meta->shape[d] == 0;
    }
    for (int d = 0; d < meta->ndim && !empty; d++)
        fits = fits && sm_mul_i64(n, meta->shape[d], &n);
    if (!fits || !sm_mul_i64(n, (int64_t)sizes[meta->dtype], &bytes) ||
        bytes > INT64_MAX / 8)
        return sm_fail(err, SM_EINVAL, 0, "%s: shape %s is too large to address", what,
                       sm_shape_text(text, meta->ndim, meta->shape));
    *numel = empty ? 0 : n;
    return SM_OK;
}

void sm_contiguous_strides(int ndim, const int64_t *shape, int64_t *stride) {
    uint64_t step = 1; /* an empty tensor may have sizes whose product overflows */
    for (int d = ndim - 1; d >= 0; d--) {
        stride[d] = (int64_t)step;
        step *= shape[d] > 0 ? (uint64_t)shape[d] : 1;
    }
}

int64_t sm_tensor_numel(const sm_tensor *t) {
    int64_t n = 1;
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] == 0)
            return 0;
    for (int d = 0; d < t->ndim; d++)
        n *= t->shape[d];
    return n;
}

bool sm_tensor_is_contiguous(const sm_tensor *t) {
    int64_t step = 1;
    if (sm_tensor_numel(t) == 0)
        return true;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] != 1 && t->stride[d] != step)
            return false;
        step *= t->shape[d];
    }
    return true;
}

/* The dimensions in the order N, ..., C. */
static bool has_pixel_strides(const sm_tensor *t) {
    int64_t step = 1;
    for (int k = 0; k < t->ndim; k++) {
        int d = k == 0 ? 1 : k == t->ndim - 1 ? 0 : t->ndim - k;
        if (t->shape[d] != 1 && t->stride[d] != step)
            return false;
        step *= t->shape[d];
    }
    return true;
}

bool sm_tensor_is_channels_last(const sm_tensor *t) {
    return t->ndim >= 3 && !sm_tensor_is_contiguous(t) && has_pixel_strides(t);
}

sm_meta sm_tensor_meta(const sm_tensor *t) {
    sm_meta meta = {.dtype = t->dtype, .ndim = t->ndim};
    memcpy(meta.shape, t->shape, sizeof meta.shape);
    return meta;
}

bool sm_tensor_same_shape(const sm_tensor *a, const sm_tensor *b) {
    return a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]) == 0;
}

bool sm_broadcast_shape(int na, const int64_t *a, int nb, const int64_t *b, int *n,
                        int64_t *out) {
    *n = na > nb ? na : nb;
    for (int i = 1; i <= *n; i++) { /* from the last dimension */
        int64_t x = i <= na ? a[na - i] : 1, y = i <= nb ? b[nb - i] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        out[*n - i] = x == 1 ? y : x;
    }
    return true;
}

void sm_broadcast_strides(const sm_tensor *t, int ndim, const int64_t *shape,
                          int64_t *stride) {
    int lead = ndim - t->ndim;
    for (int d = 0; d < ndim; d++) {
        bool repeats = d < lead || (t->shape[d - lead] == 1 && shape[d] != 1);
        stride[d] = repeats ? 0 : t->stride[d - lead];
    }
}
