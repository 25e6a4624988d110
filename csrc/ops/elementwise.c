/* elementwise.c: unary and binary ops, comparisons, where. See elementwise.h. */
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

static const char *const binary_names[SM_BINARY_COUNT] = {
    "add",     "sub",     "mul",       "div",          "pow",
    "maximum", "minimum", "remainder", "floor_divide", "prelu"};
static const char *const unary_names[SM_UNARY_COUNT] = {
    "exp",    "log",   "sqrt",        "abs",       "neg",        "reciprocal",
    "square", "sign",  "floor",       "ceil",      "round",      "sin",
    "cos",    "tanh",  "sigmoid",     "relu",      "leaky_relu", "gelu",
    "gelu",   "erf",   "log1p",       "expm1",     "softplus",   "clamp",
    "pow",    "relu6", "hardsigmoid", "hardswish", "silu",       "elu"};
static const char *const comparison_names[] = {"eq", "ne", "lt", "le", "gt", "ge"};

sm_status sm_cast(sm_tensor *t, sm_dtype dtype, sm_tensor **out, sm_error *err) {
    if (t->dtype == dtype) {
        *out = sm_tensor_ref(t);
        return SM_OK;
    }
    sm_meta meta = sm_tensor_meta(t);
    meta.dtype = dtype;
    meta.channels_last = sm_tensor_is_channels_last(t);
    sm_status status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        sm_tensor_copy(*out, t);
    return status;
}

/* Points operand k of a walk at t, read as the walk's shape. */
static void set_operand(sm_strided *walk, int k, const sm_tensor *t) {
    sm_broadcast_strides(t, walk->ndim, walk->shape, walk->stride[k]);
    walk->data[k] = sm_tensor_data(t);
    walk->item[k] = sm_dtype_size(t->dtype);
}

static sm_strided walk_of(int operands, const sm_tensor *const *tensors) {
    sm_strided walk = {.operands = operands, .ndim = tensors[0]->ndim};
    memcpy(walk.shape, tensors[0]->shape, sizeof walk.shape);
    for (int k = 0; k < operands; k++)
        set_operand(&walk, k, tensors[k]);
    return walk;
}

/* ---- unary ---- */

static sm_status unary_check(sm_call *call, sm_error *err) {
    (void)err;
    sm_out_like(call, 0);
    call->meta[0].dtype = SM_F32;
    sm_out_order(call);
    return SM_OK;
}

static sm_status unary_forward(sm_call *call, sm_error *err) {
    const sm_unary_params *p = call->params;
    sm_tensor *x;
    sm_status status = sm_cast(call->in[0], SM_F32, &x, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {call->out[0], x};
    sm_strided walk = walk_of(2, tensors);
    sm_unary_run(p->kind, p->s, &walk);
    sm_tensor_unref(x);
    return SM_OK;
}

static sm_status unary_backward(sm_back *back, sm_error *err) {
    const sm_unary_params *p = back->params;
    sm_tensor *din;
    sm_status status = sm_tensor_is_channels_last(back->in[0])
                           ? sm_din_pixels(back, 0, &din, err)
                           : sm_din(back, 0, &din, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {din, back->dout[0], back->in[0], back->out[0]};
    sm_strided walk = walk_of(4, tensors);
    sm_unary_grad_run(p->kind, p->s, &walk);
    return SM_OK;
}

static const char *unary_label(const void *params) {
    return unary_names[((const sm_unary_params *)params)->kind];
}

const sm_op sm_op_unary = {.name = "unary",
                           .label = unary_label,
                           .min_in = 1,
                           .max_in = 1,
                           .n_out = 1,
                           .save_in = 1,
                           .save_out = 1,
                           .params_size = sizeof(sm_unary_params),
                           .check = unary_check,
                           .forward = unary_forward,
                           .backward = unary_backward};

/* ---- binary ---- */

/* Shape of the result of inputs i and i + 1. */
static sm_status broadcast(sm_call *call, int i, const char *name, sm_error *err) {
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    const sm_tensor *x = call->in[i], *y = call->in[i + 1];
    sm_meta *meta = &call->meta[0];
    if (sm_broadcast_shape(x->ndim, x->shape, y->ndim, y->shape, &meta->ndim,
                           meta->shape)) {
        sm_out_order(call);
        return SM_OK;
    }
    return sm_fail(err, SM_EINVAL, i + 2, "%s: shapes %s and %s do not broadcast", name,
                   sm_tensor_shape_text(a, x), sm_tensor_shape_text(b, y));
}

static sm_dtype common_dtype(const sm_tensor *a, const sm_tensor *b) {
    return a->dtype == SM_F32 || b->dtype == SM_F32 ? SM_F32 : SM_I64;
}

static sm_status binary_check(sm_call *call, sm_error *err) {
    const sm_binary_params *p = call->params;
    call->meta[0].dtype = p->kind == SM_DIV || p->kind == SM_PRELU
                              ? SM_F32
                              : common_dtype(call->in[0], call->in[1]);
    return broadcast(call, 0, binary_names[p->kind], err);
}

/* Integer arithmetic wraps around; a zero divisor gives 0 where C would trap. */
static int64_t integer_power(int64_t base, int64_t exponent) {
    uint64_t result = 1, square = (uint64_t)base;
    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    for (; exponent; exponent >>= 1, square *= square)
        if (exponent & 1)
            result *= square;
    return (int64_t)result;
}

static int64_t floor_quotient(int64_t a, int64_t b) {
    if (b == 0)
        return 0;
    if (b == -1)
        return (int64_t)(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t integer_binary(sm_binary kind, int64_t a, int64_t b) {
    switch (kind) {
    case SM_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case SM_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case SM_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case SM_POWER:
        return integer_power(a, b);
    case SM_MAXIMUM:
        return a > b ? a : b;
    case SM_MINIMUM:
        return a < b ? a : b;
    case SM_REMAINDER:
        return (int64_t)((uint64_t)a - (uint64_t)floor_quotient(a, b) * (uint64_t)b);
    default:
        return floor_quotient(a, b);
    }
}

static void integer_line(const void *context, int64_t n, char *const *data,
                         const int64_t *stride) {
    sm_binary kind = *(const sm_binary *)context;
    int64_t *y = (int64_t *)data[0];
    const int64_t *a = (const int64_t *)data[1], *b = (const int64_t *)data[2];
    for (int64_t i = 0; i < n; i++)
        y[i * stride[0]] = integer_binary(kind, a[i * stride[1]], b[i * stride[2]]);
}

static bool has_zero(const sm_tensor *t) {
    for (int64_t i = 0, n = sm_tensor_numel(t); i < n; i++)
        if (sm_i64(t)[i] == 0)
            return true;
    return false;
}

static sm_status check_divisor(sm_binary kind, sm_tensor *b, sm_error *err) {
    if (kind != SM_REMAINDER && kind != SM_FLOOR_DIVIDE)
        return SM_OK;
    sm_tensor *dense;
    sm_status status = sm_tensor_contiguous(b, &dense, err);
    if (status != SM_OK)
        return status;
    if (has_zero(dense))
        status = sm_fail(err, SM_EINVAL, 2, "%s: integer division by zero",
                         binary_names[kind]);
    sm_tensor_unref(dense);
    return status;
}

/* Both operands as `dtype`. */
static sm_status cast_pair(sm_call *call, sm_dtype dtype, sm_tensor **a, sm_tensor **b,
                           sm_error *err) {
    sm_status status = sm_cast(call->in[0], dtype, a, err);
    if (status != SM_OK)
        return status;
    status = sm_cast(call->in[1], dtype, b, err);
    if (status != SM_OK)
        sm_tensor_unref(*a);
    return status;
}

static sm_status binary_forward(sm_call *call, sm_error *err) {
    const sm_binary_params *p = call->params;
    sm_tensor *a, *b;
    sm_dtype dtype = call->meta[0].dtype;
    sm_status status = cast_pair(call, dtype, &a, &b, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {call->out[0], a, b};
    sm_strided walk = walk_of(3, tensors);
    if (dtype == SM_F32)
        sm_binary_run(p->kind, &walk);
    else if ((status = check_divisor(p->kind, b, err)) == SM_OK)
        sm_strided_run(&walk, integer_line, &p->kind);
    sm_tensor_unref(a);
    sm_tensor_unref(b);
    return status;
}

/* The gradient of one operand in the result's shape, then summed to its own. */
static sm_status binary_operand(sm_back *back, int i, sm_tensor *a, sm_tensor *b,
                                sm_error *err) {
    const sm_binary_params *p = back->params;
    sm_tensor *full;
    bool same = p->kind == SM_ADD || (p->kind == SM_SUB && i == 0);
    if (same)
        return sm_din_unbroadcast(back, i, sm_tensor_ref(back->dout[0]), err);
    /* The gradient of a factor that was repeated: no product is written down. */
    sm_tensor *own = i == 0 ? a : b, *other = i == 0 ? b : a;
    if (p->kind == SM_MUL && !sm_tensor_same_shape(own, back->dout[0]) &&
        sm_tensor_same_shape(other, back->dout[0]))
        return sm_din_sum(back, i, back->dout[0], other, err);
    sm_meta meta = sm_tensor_meta(back->dout[0]);
    meta.channels_last = sm_tensor_is_channels_last(back->dout[0]);
    sm_status status = sm_tensor_new(&meta, &full, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {full, back->dout[0], a, b};
    sm_strided walk = walk_of(4, tensors);
    sm_binary_grad_run(p->kind, i, &walk);
    return sm_din_unbroadcast(back, i, full, err);
}

static sm_status binary_backward(sm_back *back, sm_error *err) {
    sm_tensor *a, *b;
    sm_status status = sm_cast(back->in[0], SM_F32, &a, err);
    if (status != SM_OK)
        return status;
    status = sm_cast(back->in[1], SM_F32, &b, err);
    if (status == SM_OK) {
        for (int i = 0; i < 2 && status == SM_OK; i++)
            if (back->want[i])
                status = binary_operand(back, i, a, b, err);
        sm_tensor_unref(b);
    }
    sm_tensor_unref(a);
    return status;
}

static const char *binary_label(const void *params) {
    return binary_names[((const sm_binary_params *)params)->kind];
}

const sm_op sm_op_binary = {.name = "binary",
                            .label = binary_label,
                            .min_in = 2,
                            .max_in = 2,
                            .n_out = 1,
                            .save_in = 3,
                            .params_size = sizeof(sm_binary_params),
                            .check = binary_check,
                            .forward = binary_forward,
                            .backward = binary_backward};

/* ---- comparisons ---- */

static sm_status compare_check(sm_call *call, sm_error *err) {
    const sm_compare_params *p = call->params;
    call->meta[0].dtype = SM_U8;
    return broadcast(call, 0, comparison_names[p->kind], err);
}

#define COMPARE_LINE(NAME, T)                                                            \
    static void NAME(const void *context, int64_t n, char *const *data,                  \
                     const int64_t *stride) {                                            \
        sm_comparison kind = *(const sm_comparison *)context;                            \
        uint8_t *y = (uint8_t *)data[0];                                                 \
        const T *a = (const T *)data[1], *b = (const T *)data[2];                        \
        for (int64_t i = 0; i < n; i++) {                                                \
            T u = a[i * stride[1]], v = b[i * stride[2]];                                \
            y[i * stride[0]] = kind == SM_EQ   ? u == v                                  \
                               : kind == SM_NE ? u != v                                  \
                               : kind == SM_LT ? u < v                                   \
                               : kind == SM_LE ? u <= v                                  \
                               : kind == SM_GT ? u > v                                   \
                                               : u >= v;                                 \
        }                                                                                \
    }
COMPARE_LINE(compare_f32, float)
COMPARE_LINE(compare_i64, int64_t)

static sm_status compare_forward(sm_call *call, sm_error *err) {
    const sm_compare_params *p = call->params;
    sm_tensor *a, *b;
    sm_dtype dtype = common_dtype(call->in[0], call->in[1]);
    sm_status status = cast_pair(call, dtype, &a, &b, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {call->out[0], a, b};
    sm_strided walk = walk_of(3, tensors);
    sm_strided_run(&walk, dtype == SM_F32 ? compare_f32 : compare_i64, &p->kind);
    sm_tensor_unref(a);
    sm_tensor_unref(b);
    return SM_OK;
}

static const char *compare_label(const void *params) {
    return comparison_names[((const sm_compare_params *)params)->kind];
}

const sm_op sm_op_compare = {.name = "compare",
                             .label = compare_label,
                             .min_in = 2,
                             .max_in = 2,
                             .n_out = 1,
                             .params_size = sizeof(sm_compare_params),
                             .check = compare_check,
                             .forward = compare_forward};

static sm_status classify_check(sm_call *call, sm_error *err) {
    (void)err;
    sm_out_like(call, 0);
    call->meta[0].dtype = SM_U8;
    return SM_OK;
}

static void classify_line(const void *context, int64_t n, char *const *data,
                          const int64_t *stride) {
    bool finite = *(const bool *)context;
    uint8_t *y = (uint8_t *)data[0];
    const float *x = (const float *)data[1];
    for (int64_t i = 0; i < n; i++)
        y[i * stride[0]] =
            finite ? isfinite(x[i * stride[1]]) != 0 : isnan(x[i * stride[1]]) != 0;
}

static sm_status classify_forward(sm_call *call, sm_error *err) {
    const sm_classify_params *p = call->params;
    sm_tensor *x;
    sm_status status = sm_cast(call->in[0], SM_F32, &x, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {call->out[0], x};
    sm_strided walk = walk_of(2, tensors);
    sm_strided_run(&walk, classify_line, &p->finite);
    sm_tensor_unref(x);
    return SM_OK;
}

static const char *classify_label(const void *params) {
    return ((const sm_classify_params *)params)->finite ? "isfinite" : "isnan";
}

const sm_op sm_op_classify = {.name = "classify",
                              .label = classify_label,
                              .min_in = 1,
                              .max_in = 1,
                              .n_out = 1,
                              .params_size = sizeof(sm_classify_params),
                              .check = classify_check,
                              .forward = classify_forward};

/* ---- where ---- */

static sm_status where_check(sm_call *call, sm_error *err) {
    char mask[SM_SHAPE_TEXT], value[SM_SHAPE_TEXT];
    sm_status status = broadcast(call, 1, "where", err);
    if (status != SM_OK)
        return status;
    sm_meta *meta = &call->meta[0], pair = *meta;
    const sm_tensor *m = call->in[0];
    meta->dtype = common_dtype(call->in[1], call->in[2]);
    if (m->dtype != SM_U8)
        return sm_fail(err, SM_EINVAL, 1, "where: mask must be uint8, got %s",
                       sm_dtype_name(m->dtype));
    if (!sm_broadcast_shape(m->ndim, m->shape, pair.ndim, pair.shape, &meta->ndim,
                            meta->shape))
        return sm_fail(err, SM_EINVAL, 1, "where: mask %s does not broadcast with %s",
                       sm_tensor_shape_text(mask, m),
                       sm_shape_text(value, pair.ndim, pair.shape));
    return SM_OK;
}

#define WHERE_LINE(NAME, T)                                                              \
    static void NAME(const void *context, int64_t n, char *const *data,                  \
                     const int64_t *stride) {                                            \
        T *y = (T *)data[0];                                                             \
        const uint8_t *m = (const uint8_t *)data[1];                                     \
        const T *a = (const T *)data[2], *b = (const T *)data[3];                        \
        (void)context;                                                                   \
        for (int64_t i = 0; i < n; i++)                                                  \
            y[i * stride[0]] = m[i * stride[1]] ? a[i * stride[2]] : b[i * stride[3]];   \
    }
WHERE_LINE(where_f32, float)
WHERE_LINE(where_i64, int64_t)

static sm_status where_forward(sm_call *call, sm_error *err) {
    sm_tensor *a, *b;
    sm_dtype dtype = call->meta[0].dtype;
    sm_call pair = {.in = call->in + 1};
    sm_status status = cast_pair(&pair, dtype, &a, &b, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *tensors[] = {call->out[0], call->in[0], a, b};
    sm_strided walk = walk_of(4, tensors);
    sm_strided_run(&walk, dtype == SM_F32 ? where_f32 : where_i64, NULL);
    sm_tensor_unref(a);
    sm_tensor_unref(b);
    return SM_OK;
}

/* dy where the mask chose this operand, else 0. */
static sm_status where_operand(sm_back *back, int i, sm_tensor *zero, sm_error *err) {
    sm_tensor *full;
    sm_meta meta = sm_tensor_meta(back->dout[0]);
    meta.channels_last = sm_tensor_is_channels_last(back->dout[0]);
    sm_status status = sm_tensor_new(&meta, &full, err);
    if (status != SM_OK)
        return status;
    const sm_tensor *dy = back->dout[0];
    const sm_tensor *tensors[] = {full, back->in[0], i == 1 ? dy : zero,
                                  i == 1 ? zero : dy};
    sm_strided walk = walk_of(4, tensors);
    sm_strided_run(&walk, where_f32, NULL);
    return sm_din_unbroadcast(back, i, full, err);
}

static sm_status where_backward(sm_back *back, sm_error *err) {
    sm_tensor *zero;
    const sm_meta scalar = {.dtype = SM_F32};
    sm_status status = sm_tensor_zeros(&scalar, &zero, err);
    if (status != SM_OK)
        return status;
    for (int i = 1; i < 3 && status == SM_OK; i++)
        if (back->want[i])
            status = where_operand(back, i, zero, err);
    sm_tensor_unref(zero);
    return status;
}

const sm_op sm_op_where = {.name = "where",
                           .min_in = 3,
                           .max_in = 3,
                           .n_out = 1,
                           .save_in = 1,
                           .check = where_check,
                           .forward = where_forward,
                           .backward = where_backward};
