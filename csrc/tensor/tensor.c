/* tensor.c: storage, tensors and elementwise copies between them. See tensor.h. */
#include "tensor/tensor.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/strided.h"
#include "kernels/transpose.h"

void (*sm_tensor_node_unref)(struct sm_node *node);

static sm_status out_of_memory(size_t bytes, sm_error *err) {
    return sm_fail(err, SM_ENOMEM, 0, "out of memory: could not allocate %zu bytes",
                   bytes);
}

static _Thread_local bool shapes_only;

bool sm_shapes_only(void) {
    return shapes_only;
}

bool sm_set_shapes_only(bool on) {
    bool was = shapes_only;
    shapes_only = on;
    return was;
}

static sm_storage *storage_new(size_t bytes) {
    sm_storage *s = sm_alloc(sizeof *s);
    void *data = !s ? NULL : shapes_only ? sm_alloc_unwritten(bytes) : sm_alloc(bytes);
    if (!data) {
        sm_free(s);
        return NULL;
    }
    *s = (sm_storage){.refs = 1, .bytes = bytes, .data = data};
    return s;
}

static void storage_unref(sm_storage *s) {
    if (--s->refs > 0)
        return;
    sm_free(s->data);
    sm_free(s);
}

static void pixel_strides(int ndim, const int64_t *shape, int64_t *stride) {
    int64_t step = shape[1];
    stride[1] = 1;
    for (int d = ndim - 1; d > 1; d--) {
        stride[d] = step;
        step *= shape[d];
    }
    stride[0] = step;
}

sm_status sm_tensor_new(const sm_meta *meta, sm_tensor **out, sm_error *err) {
    int64_t numel = 0;
    sm_status status = sm_meta_numel(meta, "tensor", &numel, err);
    if (status != SM_OK)
        return status;
    size_t bytes = (size_t)numel * sm_dtype_size(meta->dtype);
    sm_tensor *t = sm_calloc(sizeof *t);
    if (t)
        t->storage = storage_new(bytes);
    if (!t || !t->storage) {
        sm_free(t);
        return out_of_memory(bytes, err);
    }
    t->refs = 1;
    t->dtype = meta->dtype;
    t->ndim = meta->ndim;
    memcpy(t->shape, meta->shape, sizeof t->shape);
    if (meta->channels_last && meta->ndim >= 3 && numel > 0)
        pixel_strides(t->ndim, t->shape, t->stride);
    else
        sm_contiguous_strides(t->ndim, t->shape, t->stride);
    *out = t;
    return SM_OK;
}

sm_status sm_tensor_zeros(const sm_meta *meta, sm_tensor **out, sm_error *err) {
    sm_status status = sm_tensor_new(meta, out, err);
    if (status == SM_OK && !shapes_only)
        memset((*out)->storage->data, 0, (*out)->storage->bytes);
    return status;
}

sm_status sm_tensor_alias(const sm_tensor *t, sm_tensor **out, sm_error *err) {
    sm_tensor *a = sm_alloc(sizeof *a);
    if (!a)
        return out_of_memory(sizeof *a, err);
    *a = *t;
    a->refs = 1;
    a->storage->refs++;
    a->requires_grad = false;
    a->output_index = 0;
    a->node = NULL;
    a->grad = NULL;
    *out = a;
    return SM_OK;
}

sm_tensor *sm_tensor_ref(sm_tensor *t) {
    t->refs++;
    return t;
}

void sm_tensor_unref(sm_tensor *t) {
    if (!t || --t->refs > 0)
        return;
    sm_tensor_unref(t->grad); /* a gradient has none of its own: one level deep */
    if (t->node)
        sm_tensor_node_unref(t->node);
    storage_unref(t->storage);
    sm_free(t);
}

/* The walk that reads src as dst's shape. */
static sm_strided pair_walk(sm_tensor *dst, const sm_tensor *src) {
    sm_strided w = {.operands = src ? 2 : 1, .ndim = dst->ndim};
    memcpy(w.shape, dst->shape, sizeof w.shape);
    memcpy(w.stride[0], dst->stride, sizeof w.stride[0]);
    w.data[0] = sm_tensor_data(dst);
    w.item[0] = sm_dtype_size(dst->dtype);
    if (src) {
        sm_broadcast_strides(src, dst->ndim, dst->shape, w.stride[1]);
        w.data[1] = sm_tensor_data(src);
        w.item[1] = sm_dtype_size(src->dtype);
    }
    return w;
}

/* Conversions: float to integer truncates toward zero and saturates, NaN gives 0; int64
 * to uint8 saturates. */
static int64_t to_i64(double x) {
    if (x != x)
        return 0;
    return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}
static uint8_t to_u8(double x) {
    return (uint8_t)(x >= 255 ? 255 : x > 0 ? x : 0);
}

/* clang-format off */
#define COPY_LOOP(NAME, D, S, VALUE)                                                              \
    static void NAME(const void *context, int64_t n, char *const *data, const int64_t *stride) { \
        D *d = (D *)data[0];                                                                      \
        const S *s = (const S *)data[1];                                                          \
        const int64_t ds = stride[0], ss = stride[1];                                             \
        (void)context;                                                                            \
        if (ds == 1 && ss == 1)                                                                   \
            for (int64_t i = 0; i < n; i++) { const S x = s[i]; d[i] = VALUE; }                   \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++) { const S x = s[i * ss]; d[i * ds] = VALUE; }         \
    }
COPY_LOOP(f32_from_f32, float, float, x)
COPY_LOOP(f32_from_i64, float, int64_t, (float)x)
COPY_LOOP(f32_from_u8, float, uint8_t, (float)x)
COPY_LOOP(i64_from_f32, int64_t, float, to_i64((double)x))
COPY_LOOP(i64_from_i64, int64_t, int64_t, x)
COPY_LOOP(i64_from_u8, int64_t, uint8_t, x)
COPY_LOOP(u8_from_f32, uint8_t, float, to_u8((double)x))
COPY_LOOP(u8_from_i64, uint8_t, int64_t, (uint8_t)(x > 255 ? 255 : x > 0 ? x : 0))
COPY_LOOP(u8_from_u8, uint8_t, uint8_t, x)
/* clang-format on */

static const sm_strided_fn copy_loops[SM_DTYPE_COUNT][SM_DTYPE_COUNT] = {
    {f32_from_f32, f32_from_i64, f32_from_u8},
    {i64_from_f32, i64_from_i64, i64_from_u8},
    {u8_from_f32, u8_from_i64, u8_from_u8}};

/* From one dense order of images to the other. */
static bool copy_turned(sm_tensor *dst, const sm_tensor *src) {
    bool turns = dst->dtype == SM_F32 && src->dtype == SM_F32 && dst->ndim >= 3 &&
                 sm_tensor_same_shape(dst, src) && sm_tensor_numel(dst) > 0;
    int64_t c = dst->shape[1], l = 1;
    for (int d = 2; d < dst->ndim; d++)
        l *= dst->shape[d];
    if (turns && sm_tensor_is_channels_last(dst) && sm_tensor_is_contiguous(src))
        sm_transpose_f32(dst->shape[0], c, l, sm_f32(src), sm_f32(dst));
    else if (turns && sm_tensor_is_contiguous(dst) && sm_tensor_is_channels_last(src))
        sm_transpose_f32(dst->shape[0], l, c, sm_f32(src), sm_f32(dst));
    else
        return false;
    return true;
}

void sm_tensor_copy(sm_tensor *dst, const sm_tensor *src) {
    dst->storage->version++;
    if ((shapes_only && dst->dtype == SM_F32) || copy_turned(dst, src))
        return;
    sm_strided w = pair_walk(dst, src);
    sm_strided_run(&w, copy_loops[dst->dtype][src->dtype], NULL);
}

static void fill_f32(const void *context, int64_t n, char *const *data,
                     const int64_t *stride) {
    float *d = (float *)data[0], value = (float)*(const double *)context;
    for (int64_t i = 0; i < n; i++)
        d[i * stride[0]] = value;
}

static void fill_i64(const void *context, int64_t n, char *const *data,
                     const int64_t *stride) {
    int64_t *d = (int64_t *)data[0], value = to_i64(*(const double *)context);
    for (int64_t i = 0; i < n; i++)
        d[i * stride[0]] = value;
}

static void fill_u8(const void *context, int64_t n, char *const *data,
                    const int64_t *stride) {
    uint8_t *d = (uint8_t *)data[0], value = to_u8(*(const double *)context);
    for (int64_t i = 0; i < n; i++)
        d[i * stride[0]] = value;
}

void sm_tensor_fill(sm_tensor *t, double value) {
    static const sm_strided_fn loops[SM_DTYPE_COUNT] = {fill_f32, fill_i64, fill_u8};
    if (shapes_only && t->dtype == SM_F32)
        return;
    sm_strided w = pair_walk(t, NULL);
    sm_strided_run(&w, loops[t->dtype], &value);
    t->storage->version++;
}

static void add_f32(const void *context, int64_t n, char *const *data,
                    const int64_t *stride) {
    float *d = (float *)data[0];
    const float *s = (const float *)data[1];
    (void)context;
    if (stride[0] == 1 && stride[1] == 1) {
        for (int64_t i = 0; i < n; i++)
            d[i] += s[i];
    } else if (stride[0] == 0) {
        double sum = *d;
        for (int64_t i = 0; i < n; i++)
            sum += s[i * stride[1]];
        *d = (float)sum;
    } else {
        for (int64_t i = 0; i < n; i++)
            d[i * stride[0]] += s[i * stride[1]];
    }
}

void sm_tensor_add(sm_tensor *dst, const sm_tensor *src) {
    sm_strided w = pair_walk(dst, src);
    for (int d = 0; d < dst->ndim; d++)
        w.serial = w.serial || (dst->stride[d] == 0 && dst->shape[d] > 1);
    sm_strided_run(&w, add_f32, NULL);
    dst->storage->version++;
}

sm_status sm_tensor_contiguous(sm_tensor *t, sm_tensor **out, sm_error *err) {
    if (sm_tensor_is_contiguous(t)) {
        *out = sm_tensor_ref(t);
        return SM_OK;
    }
    sm_meta meta = sm_tensor_meta(t);
    sm_status status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        sm_tensor_copy(*out, t);
    return status;
}

/* Whether both orders are the same one. */
static bool has_one_order(const sm_tensor *t) {
    int64_t l = 1;
    for (int d = 2; d < t->ndim; d++)
        l *= t->shape[d];
    return t->ndim < 3 || t->shape[1] == 1 || l == 1 || sm_tensor_numel(t) == 0;
}

sm_status sm_tensor_pixels(sm_tensor *t, sm_tensor **out, sm_error *err) {
    /* [N,C] has one pixel; so has whatever has one channel, or sizes of 1 behind it. */
    if (sm_tensor_is_channels_last(t) ||
        (sm_tensor_is_contiguous(t) && has_one_order(t))) {
        *out = sm_tensor_ref(t);
        return SM_OK;
    }
    sm_meta meta = sm_tensor_meta(t);
    meta.channels_last = true;
    sm_status status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        sm_tensor_copy(*out, t);
    return status;
}
