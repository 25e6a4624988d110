/* lua_sequence.c: the layers' functions of sequences, in the table F: those of [N,C,L]
 * are of images of height 1, without a copy; embedding, recurrent layers. */
#include <string.h>

#include "lua/state.h"
#include "ops/conv.h"
#include "ops/embedding.h"
#include "ops/heads.h"
#include "ops/pool.h"
#include "ops/recurrent.h"
#include "ops/view.h"

/* Puts a view of the tensor at `arg` with a size of 1 before (or without the size of 1
 * before) its last dimension in its place. */
static void reshape_arg(lua_State *L, int arg, bool add) {
    const sm_tensor *t = lsm_check_tensor(L, arg);
    sm_reshape_params p = {.ndim = t->ndim + (add ? 1 : -1)};
    memcpy(p.shape, t->shape, sizeof p.shape);
    if (add)
        p.shape[t->ndim - 1] = 1;
    p.shape[p.ndim - 1] = t->shape[t->ndim - 1];
    lsm_apply(L, &sm_op_reshape, 1, &arg, &p);
    lua_replace(L, arg);
}

/* Lets a tensor of ours go at once: a box that waits for the collector would keep memory
 * that a script has freed. */
static void release(lua_State *L, int arg) {
    sm_tensor **box = luaL_checkudata(L, arg, LSM_TENSOR);
    sm_tensor_unref(*box);
    *box = NULL;
}

/* The result, on top of the stack, as [N,C,L]. The first `views` arguments are ours. */
static int finish(lua_State *L, int views) {
    const int top = lua_gettop(L);
    lua_pushvalue(L, top);
    reshape_arg(L, top + 1, false);
    release(L, top);
    for (int arg = 1; arg <= views; arg++)
        release(L, arg);
    return 1;
}

/* The float32 tensor at arg with `ndim` dimensions. */
static const sm_tensor *check_layout(lua_State *L, int arg, const char *name,
                                     const char *operand, int ndim, const char *layout) {
    char text[SM_SHAPE_TEXT];
    const sm_tensor *t = lsm_check_tensor(L, arg);
    if (t->dtype != SM_F32 || t->ndim != ndim)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "%s: %s must be float32 %s, got %s %s", name,
                                     operand, layout, sm_dtype_name(t->dtype),
                                     sm_tensor_shape_text(text, t)));
    return t;
}

/* An option of at least `least`. */
static int64_t check_option(lua_State *L, int arg, const char *name, const char *key,
                            int64_t least, int64_t otherwise) {
    const int64_t value = lsm_opt_integer_field(L, arg, key, otherwise);
    if (value < least || value > INT32_MAX)
        lsm_argerror(L, arg,
                     lua_pushfstring(L,
                                     "%s: %s must be an integer from %I to 2^31 - 1, "
                                     "got %I",
                                     name, key, (LUAI_UACINT)least, (LUAI_UACINT)value));
    return value;
}

/* ---- convolution ---- */

/* padding = "same" (with stride 1): as much as keeps the size; "valid": none. */
static int64_t check_conv_padding(lua_State *L, int arg, int64_t span, int64_t stride) {
    if (!lua_istable(L, arg) || lua_getfield(L, arg, "padding") != LUA_TSTRING) {
        lua_settop(L, arg);
        return check_option(L, arg, "conv1d", "padding", 0, 0);
    }
    const char *text = lua_tostring(L, -1);
    const bool same = strcmp(text, "same") == 0;
    if (!same && strcmp(text, "valid") != 0)
        lsm_argerror(L, arg, "conv1d: padding must be a number, 'same' or 'valid'");
    if (same && (stride != 1 || span % 2 != 0))
        lsm_argerror(L, arg, "conv1d: padding 'same' needs stride 1 and an odd kernel");
    lua_settop(L, arg);
    return same ? span / 2 : 0;
}

static void check_fit(lua_State *L, const sm_tensor *x, const sm_tensor *w,
                      const sm_conv2d_params *p) {
    char xs[SM_SHAPE_TEXT], ws[SM_SHAPE_TEXT];
    int64_t channels;
    sm_tensor_shape_text(xs, x);
    sm_tensor_shape_text(ws, w);
    if (__builtin_mul_overflow(w->shape[1], p->groups, &channels) ||
        channels != x->shape[1])
        lsm_argerror(L, 1,
                     lua_pushfstring(L,
                                     "conv1d: input %s has %I channels, weight %s with "
                                     "groups = %I wants %I",
                                     xs, (LUAI_UACINT)x->shape[1], ws,
                                     (LUAI_UACINT)p->groups, (LUAI_UACINT)channels));
    if (w->shape[0] % p->groups != 0)
        lsm_argerror(L, 2,
                     lua_pushfstring(L,
                                     "conv1d: %I groups do not divide the %I output "
                                     "channels of weight %s",
                                     (LUAI_UACINT)p->groups, (LUAI_UACINT)w->shape[0],
                                     ws));
    if (w->shape[2] < 1 || w->shape[2] > INT32_MAX ||
        p->dilation[1] * (w->shape[2] - 1) + 1 > x->shape[2] + 2 * p->padding[1])
        lsm_argerror(L, 1,
                     lua_pushfstring(L,
                                     "conv1d: weight %s (dilation %I) does not fit into "
                                     "input %s with padding %I",
                                     ws, (LUAI_UACINT)p->dilation[1], xs,
                                     (LUAI_UACINT)p->padding[1]));
}

/* F.conv1d(input, weight, [bias], [{stride =, padding =, dilation =, groups =}]): input
 * [N,C,L], weight [O,C/groups,K], bias [O]; gives [N,O,OL]. */
static int l_conv1d(lua_State *L) {
    static const int args[] = {1, 2, 3};
    static const char *const keys[] = {"stride", "padding", "dilation", "groups", NULL};
    sm_conv2d_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 4);
    lsm_check_keys(L, 4, keys);
    const sm_tensor *x = check_layout(L, 1, "conv1d", "input", 3, "[N,C,L]");
    const sm_tensor *w = check_layout(L, 2, "conv1d", "weight", 3, "[O,C/groups,K]");
    const sm_tensor *b = lsm_opt_tensor(L, 3);
    if (b && (b->dtype != SM_F32 || b->ndim != 1 || b->shape[0] != w->shape[0]))
        return lsm_argerror(L, 3,
                            lua_pushfstring(L, "conv1d: bias must be float32 [%I]",
                                            (LUAI_UACINT)w->shape[0]));
    p.stride[0] = p.dilation[0] = 1;
    p.stride[1] = check_option(L, 4, "conv1d", "stride", 1, 1);
    p.dilation[1] = check_option(L, 4, "conv1d", "dilation", 1, 1);
    p.groups = check_option(L, 4, "conv1d", "groups", 1, 1);
    const int64_t kernel = w->shape[2] <= INT32_MAX ? w->shape[2] : 1;
    p.padding[1] = check_conv_padding(L, 4, p.dilation[1] * (kernel - 1), p.stride[1]);
    p.limits = sm_no_limits;
    check_fit(L, x, w, &p);
    reshape_arg(L, 1, true);
    reshape_arg(L, 2, true);
    lsm_apply(L, &sm_op_conv2d, 3, args, &p);
    return finish(L, 2);
}

/* ---- pooling ---- */

/* The number of windows, as for images. */
static void check_windows(lua_State *L, const char *name, const sm_tensor *x,
                          const sm_pool_params *p) {
    char xs[SM_SHAPE_TEXT];
    if (p->padding[1] > p->kernel[1] / 2)
        lsm_argerror(L, 2,
                     lua_pushfstring(L,
                                     "%s: padding must be from 0 to half the "
                                     "kernel_size (%I), got %I",
                                     name, (LUAI_UACINT)p->kernel[1],
                                     (LUAI_UACINT)p->padding[1]));
    if (p->dilation[1] * (p->kernel[1] - 1) + 1 > x->shape[2] + 2 * p->padding[1])
        lsm_argerror(L, 1,
                     lua_pushfstring(L,
                                     "%s: a window of %I is larger than input %s with "
                                     "its padding",
                                     name, (LUAI_UACINT)p->kernel[1],
                                     sm_tensor_shape_text(xs, x)));
}

static int pool1d(lua_State *L, const sm_op *op, const char *name,
                  const char *const *keys) {
    sm_pool_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    lsm_check_keys(L, 2, keys);
    const sm_tensor *x = check_layout(L, 1, name, "input", 3, "[N,C,L]");
    p.kernel[0] = p.stride[0] = p.dilation[0] = 1;
    p.kernel[1] = check_option(L, 2, name, "kernel_size", 1, 0);
    p.stride[1] = check_option(L, 2, name, "stride", 1, p.kernel[1]);
    p.padding[1] = check_option(L, 2, name, "padding", 0, 0);
    p.dilation[1] = check_option(L, 2, name, "dilation", 1, 1);
    p.ceil_mode = lsm_opt_boolean_field(L, 2, "ceil_mode", false);
    p.count_include_pad = lsm_opt_boolean_field(L, 2, "count_include_pad", true);
    check_windows(L, name, x, &p);
    reshape_arg(L, 1, true);
    lua_settop(L, 1);
    lsm_apply1(L, op, &p);
    return finish(L, 1);
}

/* F.max_pool1d(input [N,C,L], {kernel_size =, stride = kernel_size, padding = 0,
 * dilation = 1, ceil_mode =}) */
static int l_max_pool1d(lua_State *L) {
    static const char *const keys[] = {"kernel_size", "stride",    "padding",
                                       "dilation",    "ceil_mode", NULL};
    return pool1d(L, &sm_op_max_pool2d, "max_pool1d", keys);
}

/* F.avg_pool1d(input [N,C,L], {kernel_size =, stride =, padding =, ceil_mode =,
 * count_include_pad = true}) */
static int l_avg_pool1d(lua_State *L) {
    static const char *const keys[] = {
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", NULL};
    return pool1d(L, &sm_op_avg_pool2d, "avg_pool1d", keys);
}

static int adaptive_pool1d(lua_State *L, const char *name, const sm_op *op,
                           const void *params) {
    char xs[SM_SHAPE_TEXT];
    const sm_tensor *x = check_layout(L, 1, name, "input", 3, "[N,C,L]");
    if (x->shape[2] < 1)
        return lsm_argerror(L, 1,
                            lua_pushfstring(L, "%s: nothing to pool in input %s", name,
                                            sm_tensor_shape_text(xs, x)));
    reshape_arg(L, 1, true);
    lua_settop(L, 1);
    lsm_apply1(L, op, params);
    return finish(L, 1);
}

static int64_t check_bins(lua_State *L, const char *name) {
    const lua_Integer size = luaL_checkinteger(L, 2);
    if (size < 1 || size > INT32_MAX)
        lsm_argerror(L, 2,
                     lua_pushfstring(L,
                                     "%s: output_size must be from 1 to 2^31 - 1, got %I",
                                     name, (LUAI_UACINT)size));
    return size;
}

/* F.adaptive_avg_pool1d(input [N,C,L], size) */
static int l_adaptive_avg_pool1d(lua_State *L) {
    const sm_adaptive_params p = {{1, check_bins(L, "adaptive_avg_pool1d")}};
    return adaptive_pool1d(L, "adaptive_avg_pool1d", &sm_op_adaptive_avg_pool2d, &p);
}

/* F.adaptive_max_pool1d(input [N,C,L], size) */
static int l_adaptive_max_pool1d(lua_State *L) {
    const sm_adaptive_max_params p = {{1, check_bins(L, "adaptive_max_pool1d")}};
    return adaptive_pool1d(L, "adaptive_max_pool1d", &sm_op_adaptive_max_pool2d, &p);
}

/* ---- embedding ---- */

/* F.embedding(input, weight, [padding_idx]): rows of weight [V,D] by their numbers, from
 * 1; input [...] of int64, or a number or table of such; gives [...,D]. The row
 * padding_idx (negative: from the end) gets no gradient. */
static int l_embedding(lua_State *L) {
    static const int args[] = {1, 2};
    sm_embedding_params p = {0};
    lua_settop(L, 3);
    const sm_tensor *w = lsm_check_tensor(L, 2);
    if (!lua_isnil(L, 3)) {
        const int64_t row = luaL_checkinteger(L, 3), rows = w->ndim > 0 ? w->shape[0] : 0;
        p.padding = row < 0 && row >= -rows ? rows + 1 + row : row;
        if (p.padding < 1 || p.padding > rows)
            return lsm_argerror(
                L, 3,
                lua_pushfstring(L, "embedding: padding_idx %I is out of range 1..%I",
                                (LUAI_UACINT)row, (LUAI_UACINT)rows));
    }
    lsm_cast_arg(L, 1, SM_I64);
    return lsm_apply(L, &sm_op_embedding, 2, args, &p);
}

/* ---- recurrent layers ---- */

static sm_recurrent_kind check_kind(lua_State *L, int arg) {
    static const char *const names[] = {"rnn_tanh", "rnn_relu", "lstm", "gru", NULL};
    return (sm_recurrent_kind)luaL_checkoption(L, arg, NULL, names);
}

/* Pushes the tensor in a field of the options at arg, or nil. */
static void push_tensor_field(lua_State *L, int arg, const char *key) {
    if (!lua_istable(L, arg))
        lua_pushnil(L);
    else if (lua_getfield(L, arg, key) != LUA_TNIL && !lsm_to_tensor(L, -1))
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "recurrent: %s must be a tensor, got %s", key,
                                     luaL_tolstring(L, -1, NULL)));
}

/* F.recurrent(kind, input, weight_ih, weight_hh, [bias_ih], [bias_hh], [{h0 =, c0 =,
 * lengths =, reverse = false, batch_first = false}]): one layer in one direction. kind:
 * "rnn_tanh", "rnn_relu", "lstm" or "gru"; input [T,N,I] ([N,T,I] where batch_first);
 * lengths, a table or a tensor of int64, of the sequences. Gives the states, the last
 * state and, of an LSTM, the last cell. */
static int l_recurrent(lua_State *L) {
    static const int args[] = {2, 3, 4, 8, 9, 5, 6, 10};
    static const char *const keys[] = {"h0",      "c0",          "lengths",
                                       "reverse", "batch_first", NULL};
    sm_recurrent_params p;
    memset(&p, 0, sizeof p);
    p.kind = check_kind(L, 1);
    lua_settop(L, 7);
    lsm_check_keys(L, 7, keys);
    p.reverse = lsm_opt_boolean_field(L, 7, "reverse", false);
    p.batch_first = lsm_opt_boolean_field(L, 7, "batch_first", false);
    push_tensor_field(L, 7, "h0");
    push_tensor_field(L, 7, "c0");
    if (!lua_istable(L, 7))
        lua_pushnil(L);
    else if (lua_getfield(L, 7, "lengths") != LUA_TNIL)
        lsm_cast_arg(L, 10, SM_I64);
    return lsm_apply(L, &sm_op_recurrent, 8, args, &p);
}

static const luaL_Reg functions[] = {{"conv1d", l_conv1d},
                                     {"embedding", l_embedding},
                                     {"recurrent", l_recurrent},
                                     {"max_pool1d", l_max_pool1d},
                                     {"avg_pool1d", l_avg_pool1d},
                                     {"adaptive_avg_pool1d", l_adaptive_avg_pool1d},
                                     {"adaptive_max_pool1d", l_adaptive_max_pool1d},
                                     {NULL, NULL}};

void lsm_open_sequence(lua_State *L) {
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
