/* lua_trace.c: core.trace, which tells a callback of every op that a function runs.
 *
 * Values are numbered: each output of an op, and each other tensor when it is first seen.
 * The number lies in the tensor and goes with its detached aliases, so nothing has to be
 * kept alive for it; numbers only go up, and those of earlier traces count for nothing.
 * lua/siamese/onnx/trace.lua makes a graph of it. */
#include <stddef.h>

#include "lua/state.h"
#include "ops/conv.h"
#include "ops/conv_transpose.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/gather.h"
#include "ops/group_norm.h"
#include "ops/heads.h"
#include "ops/local_norm.h"
#include "ops/norm.h"
#include "ops/pad.h"
#include "ops/pool.h"
#include "ops/recurrent.h"
#include "ops/reduce.h"
#include "ops/view.h"

static const char callback_key = 0;

/* ---- the params of ops as tables ---- */

typedef enum kind { SMALL, WHOLE, SINGLE, DOUBLE, FLAG, PAIR, SMALLS, WHOLES } kind;

typedef struct field {
    const char *key;
    kind kind;
    size_t at;
} field;

enum { MAX_FIELDS = 8 };

typedef struct layout {
    const sm_op *op;
    field fields[MAX_FIELDS]; /* up to one without a key */
} layout;

#define IN(S, KEY, KIND)                                                                 \
    { #KEY, KIND, offsetof(struct S, KEY) }
#define LIMITS(S, PATH)                                                                  \
    {"low", SINGLE, offsetof(struct S, PATH.low)}, {                                     \
        "high", SINGLE, offsetof(struct S, PATH.high)                                    \
    }
#define POOL                                                                             \
    {                                                                                    \
        IN(sm_pool_params, kernel, PAIR), IN(sm_pool_params, stride, PAIR),              \
            IN(sm_pool_params, padding, PAIR), IN(sm_pool_params, dilation, PAIR),       \
            IN(sm_pool_params, count_include_pad, FLAG)                                  \
    }

static const layout layouts[] = {
    {&sm_op_conv2d,
     {IN(sm_conv2d_params, stride, PAIR), IN(sm_conv2d_params, padding, PAIR),
      IN(sm_conv2d_params, dilation, PAIR), IN(sm_conv2d_params, groups, WHOLE),
      LIMITS(sm_conv2d_params, limits)}},
    {&sm_op_conv_transpose2d,
     {IN(sm_conv_transpose2d_params, stride, PAIR),
      IN(sm_conv_transpose2d_params, padding, PAIR),
      IN(sm_conv_transpose2d_params, output_padding, PAIR),
      IN(sm_conv_transpose2d_params, dilation, PAIR),
      IN(sm_conv_transpose2d_params, groups, WHOLE)}},
    {&sm_op_max_pool2d, POOL},
    {&sm_op_avg_pool2d, POOL},
    {&sm_op_batch_norm,
     {IN(sm_batch_norm_params, training, FLAG), IN(sm_batch_norm_params, eps, SINGLE),
      LIMITS(sm_batch_norm_params, limits)}},
    {&sm_op_layer_norm,
     {IN(sm_layer_norm_params, dims, SMALL), IN(sm_layer_norm_params, eps, SINGLE)}},
    {&sm_op_group_norm,
     {IN(sm_group_norm_params, groups, WHOLE), IN(sm_group_norm_params, eps, SINGLE)}},
    {&sm_op_local_norm,
     {IN(sm_local_norm_params, size, WHOLE), IN(sm_local_norm_params, alpha, SINGLE),
      IN(sm_local_norm_params, beta, SINGLE), IN(sm_local_norm_params, k, SINGLE)}},
    {&sm_op_normalize,
     {IN(sm_normalize_params, dim, SMALL), IN(sm_normalize_params, eps, SINGLE)}},
    {&sm_op_gem, {IN(sm_gem_params, eps, SINGLE)}},
    {&sm_op_pad,
     {IN(sm_pad_params, mode, SMALL), IN(sm_pad_params, dims, SMALL),
      IN(sm_pad_params, before, WHOLES), IN(sm_pad_params, after, WHOLES),
      IN(sm_pad_params, value, DOUBLE)}},
    {&sm_op_recurrent,
     {IN(sm_recurrent_params, kind, SMALL), IN(sm_recurrent_params, reverse, FLAG),
      IN(sm_recurrent_params, batch_first, FLAG)}},
    {&sm_op_unary,
     {{"a", SINGLE, offsetof(sm_unary_params, s.a)},
      {"b", SINGLE, offsetof(sm_unary_params, s.b)}}},
    {&sm_op_reduce,
     {IN(sm_reduce_params, dims, SMALL), IN(sm_reduce_params, keepdim, FLAG),
      IN(sm_reduce_params, a, SINGLE)}},
    {&sm_op_extreme,
     {IN(sm_extreme_params, dim, SMALL), IN(sm_extreme_params, keepdim, FLAG),
      IN(sm_extreme_params, smallest, FLAG)}},
    {&sm_op_softmax,
     {IN(sm_softmax_params, dim, SMALL), IN(sm_softmax_params, log, FLAG)}},
    {&sm_op_cumsum, {IN(sm_cumsum_params, dim, SMALL)}},
    {&sm_op_topk,
     {IN(sm_topk_params, dim, SMALL), IN(sm_topk_params, k, WHOLE),
      IN(sm_topk_params, descending, FLAG)}},
    {&sm_op_index_select, {IN(sm_dim_params, dim, SMALL)}},
    {&sm_op_gather, {IN(sm_dim_params, dim, SMALL)}},
    {&sm_op_scatter_add, {IN(sm_dim_params, dim, SMALL)}},
    {&sm_op_cat, {IN(sm_dim_params, dim, SMALL)}},
    {&sm_op_one_hot, {IN(sm_one_hot_params, classes, WHOLE)}},
    {&sm_op_permute, {IN(sm_permute_params, dims, SMALLS)}},
    {&sm_op_slice,
     {IN(sm_slice_params, dim, SMALL), IN(sm_slice_params, start, WHOLE),
      IN(sm_slice_params, length, WHOLE), IN(sm_slice_params, step, WHOLE)}},
    {&sm_op_select,
     {IN(sm_select_params, dim, SMALL), IN(sm_select_params, index, WHOLE)}},
    {&sm_op_pairwise_distance,
     {IN(sm_pairwise_params, p, SINGLE), IN(sm_pairwise_params, eps, SINGLE)}},
    {&sm_op_cosine_similarity, {IN(sm_cosine_params, eps, SINGLE)}},
};

static void push_list(lua_State *L, kind of, const void *at, int n) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushinteger(L,
                        of == SMALLS ? ((const int *)at)[i] : ((const int64_t *)at)[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_field(lua_State *L, const field *f, const void *params) {
    const void *at = (const char *)params + f->at;
    switch (f->kind) {
    case SMALL:
        lua_pushinteger(L, *(const int *)at);
        break;
    case WHOLE:
        lua_pushinteger(L, *(const int64_t *)at);
        break;
    case SINGLE:
        lua_pushnumber(L, (double)*(const float *)at);
        break;
    case DOUBLE:
        lua_pushnumber(L, *(const double *)at);
        break;
    case FLAG:
        lua_pushboolean(L, *(const bool *)at);
        break;
    case PAIR:
        push_list(L, WHOLES, at, 2);
        break;
    default:
        push_list(L, f->kind, at, SM_MAX_DIMS);
        break;
    }
}

static void push_params(lua_State *L, const sm_op *op, const void *params) {
    lua_newtable(L);
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].op == op)
            for (const field *f = layouts[i].fields;
                 f < layouts[i].fields + MAX_FIELDS && f->key; f++) {
                push_field(L, f, params);
                lua_setfield(L, -2, f->key);
            }
}

static const char *name_of(const sm_op *op, const void *params) {
    if (op == &sm_op_unary && ((const sm_unary_params *)params)->kind == SM_GELU_TANH)
        return "gelu_tanh";
    return op == &sm_op_conv2d_norm ? "conv2d_norm" : sm_op_label(op, params);
}

/* ---- telling ---- */

static bool is_seen(const lsm_state *state, const sm_tensor *t) {
    return t->traced >= state->trace_first;
}

static lua_Integer number_of(lsm_state *state, sm_tensor *t) {
    if (!is_seen(state, t))
        t->traced = state->trace_next++;
    return (lua_Integer)t->traced;
}

/* Calls the callback with the table on top of the stack; what it does is no part of the
 * trace. */
static void tell(lua_State *L, lsm_state *state) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &callback_key);
    lua_insert(L, -2);
    state->tracing = false;
    const int status = lua_pcall(L, 1, 0, 0);
    state->tracing = true;
    if (status != LUA_OK)
        lua_error(L);
}

/* {[key] = what, value = the tensor's number} */
static void tell_of(lua_State *L, const char *key, const sm_tensor *t, const char *what) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, what);
    lua_setfield(L, -2, key);
    lua_pushinteger(L, (lua_Integer)t->traced);
    lua_setfield(L, -2, "value");
    tell(L, lsm_get_state(L));
}

void lsm_check_change(lua_State *L, const sm_tensor *t, const char *what) {
    sm_error err;
    const lsm_state *state = lsm_get_state(L);
    if (sm_check_inplace(t, what, &err) != SM_OK)
        lsm_error(L, "%s", err.message);
    if (state->tracing && is_seen(state, t))
        tell_of(L, "changed", t, what);
}

void lsm_note_read(lua_State *L, const sm_tensor *t, const char *what) {
    const lsm_state *state = lsm_get_state(L);
    if (state->tracing && is_seen(state, t))
        tell_of(L, "read", t, what);
}

/* A list of boxes that hold the tensors, false for none. */
static void push_held(lua_State *L, int n, sm_tensor *const *list) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        if (list[i])
            *lsm_push_box(L) = sm_tensor_ref(list[i]);
        else
            lua_pushboolean(L, 0);
        lua_rawseti(L, -2, i + 1);
    }
}

void lsm_trace_hold(lua_State *L, int n, sm_tensor *const *in) {
    luaL_checkstack(L, 8, "too many values");
    push_held(L, n, in);
}

static void push_numbers(lua_State *L, lsm_state *state, int n, sm_tensor *const *list) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        if (list[i])
            lua_pushinteger(L, number_of(state, list[i]));
        else
            lua_pushboolean(L, 0);
        lua_rawseti(L, -2, i + 1);
    }
}

void lsm_trace_op(lua_State *L, const sm_op *op, int n, sm_tensor *const *in,
                  const void *params, sm_tensor ***boxes) {
    lsm_state *state = lsm_get_state(L);
    sm_tensor *out[SM_MAX_OUT];
    for (int k = 0; k < op->n_out; k++) {
        out[k] = *boxes[k];
        if (out[k])
            out[k]->traced = state->trace_next++;
    }
    lua_createtable(L, 0, 6);
    lua_insert(L, -2);
    lua_setfield(L, -2, "operands");
    lua_pushstring(L, name_of(op, params));
    lua_setfield(L, -2, "op");
    push_params(L, op, params);
    lua_setfield(L, -2, "params");
    push_numbers(L, state, n, in);
    lua_setfield(L, -2, "inputs");
    push_numbers(L, state, op->n_out, out);
    lua_setfield(L, -2, "outputs");
    push_held(L, op->n_out, out);
    lua_setfield(L, -2, "results");
    tell(L, state);
}

/* ---- the functions ---- */

/* trace(callback, f, ...): f(...), whose results it gives; callback(event) is called
 * behind each op with {op = its name, params, inputs and outputs = lists of numbers
 * (false where one is absent), operands and results = the tensors}; with {changed =
 * function, value = number} where one of them is changed in place and with {read =
 * function, value
 * =} where Lua looks at its elements. What the callback raises ends f. */
static int l_trace(lua_State *L) {
    lsm_state *state = lsm_get_state(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checkany(L, 2);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &callback_key) != LUA_TNIL)
        return lsm_error(L, "trace: a trace is running");
    lua_pop(L, 1);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &callback_key);
    state->trace_first = state->trace_next;
    state->tracing = true;
    const int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    state->tracing = false;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &callback_key);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L) - 1;
}

/* trace_number(t): the number of a tensor in the trace that is running. */
static int l_trace_number(lua_State *L) {
    lua_pushinteger(L, number_of(lsm_get_state(L), lsm_check_tensor(L, 1)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"trace", l_trace}, {"trace_number", l_trace_number}, {NULL, NULL}};

void lsm_open_trace(lua_State *L) {
    lsm_functions(L, functions);
}
