/* lua_nn.c: the layers' functions, in the table F (siamese.nn.functional). Options in
 * PyTorch's terms; an option for two axes is one integer or {height, width}. */
#include <string.h>

#include "lua/state.h"
#include "ops/conv.h"
#include "ops/dropout.h"
#include "ops/norm.h"
#include "ops/pool.h"

/* padding = "same" (with stride 1): as much as keeps the size; "valid": none. */
static void check_padding(lua_State *L, int arg, const int64_t *kernel,
                          sm_conv2d_params *p) {
    if (!lua_istable(L, arg) || lua_getfield(L, arg, "padding") != LUA_TSTRING) {
        lua_settop(L, arg);
        lsm_opt_pair_field(L, arg, "padding", 0, p->padding);
        return;
    }
    const char *name = lua_tostring(L, -1);
    bool same = strcmp(name, "same") == 0;
    if (!same && strcmp(name, "valid") != 0)
        lsm_argerror(
            L, arg,
            "conv2d: padding must be a number, {height, width}, 'same' or 'valid'");
    for (int a = 0; a < 2; a++) {
        int64_t whole = p->dilation[a] * (kernel[a] - 1);
        if (same && (p->stride[a] != 1 || whole % 2 != 0))
            lsm_argerror(L, arg, "conv2d: padding 'same' needs stride 1 and odd kernels");
        p->padding[a] = same ? whole / 2 : 0;
    }
    lua_settop(L, arg);
}

/* The field "activation": nil, "relu" or "relu6", as what it leaves of a value. */
static sm_limits check_activation(lua_State *L, int arg, const char *name) {
    sm_limits limits = sm_no_limits;
    if (!lua_istable(L, arg))
        return limits;
    if (lua_getfield(L, arg, "activation") != LUA_TNIL) {
        const char *text = lua_tostring(L, -1);
        bool six = text && strcmp(text, "relu6") == 0;
        if (!six && (!text || strcmp(text, "relu") != 0))
            lsm_argerror(L, arg,
                         lua_pushfstring(L,
                                         "%s: activation must be 'relu' or 'relu6', "
                                         "got %s",
                                         name, luaL_tolstring(L, -1, NULL)));
        limits = (sm_limits){0, six ? 6 : INFINITY};
    }
    lua_pop(L, 1);
    return limits;
}

static const char *const conv_keys[] = {"stride", "padding",    "dilation",
                                        "groups", "activation", NULL};

/* The options at `arg` of a convolution with the weight at 2. */
static sm_conv2d_params check_conv(lua_State *L, int arg) {
    sm_conv2d_params p;
    memset(&p, 0, sizeof p);
    sm_tensor *w = lsm_check_tensor(L, 2);
    lsm_check_keys(L, arg, conv_keys);
    lsm_opt_pair_field(L, arg, "stride", 1, p.stride);
    lsm_opt_pair_field(L, arg, "dilation", 1, p.dilation);
    check_padding(L, arg, w->ndim == 4 ? w->shape + 2 : (const int64_t[]){1, 1}, &p);
    p.groups = lsm_opt_integer_field(L, arg, "groups", 1);
    p.limits = check_activation(L, arg, "conv2d");
    return p;
}

/* F.conv2d(input, weight, [bias], [{stride =, padding =, dilation =, groups =, activation
 * =}]): input [N,C,H,W], weight [O,C/groups,KH,KW], bias [O]; gives [N,O,OH,OW]. */
static int l_conv2d(lua_State *L) {
    static const int args[] = {1, 2, 3};
    lua_settop(L, 4);
    sm_conv2d_params p = check_conv(L, 4);
    return lsm_apply(L, &sm_op_conv2d, 3, args, &p);
}

/* F.conv2d_norm(input, weight, bias, running_mean, running_var, norm_weight, norm_bias,
 * residual, eps, [options of conv2d]): activation(batch_norm(conv2d(input)) + residual)
 * in evaluation, in one pass. Not differentiable. bias, norm_weight, norm_bias and
 * residual may be nil. */
static int l_conv2d_norm(lua_State *L) {
    static const int args[] = {1, 2, 3, 4, 5, 6, 7, 8};
    lua_settop(L, 10);
    lsm_check_tensor(L, 4);
    lsm_check_tensor(L, 5);
    sm_conv2d_norm_params p = {.conv = check_conv(L, 10),
                               .eps = (float)luaL_checknumber(L, 9)};
    return lsm_apply(L, &sm_op_conv2d_norm, 8, args, &p);
}

static sm_pool_params check_pool(lua_State *L) {
    static const char *const keys[] = {"kernel_size", "stride",    "padding",
                                       "dilation",    "ceil_mode", "count_include_pad",
                                       NULL};
    sm_pool_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    lsm_check_keys(L, 2, keys);
    lsm_opt_pair_field(L, 2, "kernel_size", 0, p.kernel);
    lsm_opt_pair_field(L, 2, "stride", 0, p.stride);
    for (int a = 0; a < 2; a++)
        if (p.stride[a] == 0)
            p.stride[a] = p.kernel[a];
    lsm_opt_pair_field(L, 2, "padding", 0, p.padding);
    lsm_opt_pair_field(L, 2, "dilation", 1, p.dilation);
    p.ceil_mode = lsm_opt_boolean_field(L, 2, "ceil_mode", false);
    p.count_include_pad = lsm_opt_boolean_field(L, 2, "count_include_pad", true);
    return p;
}

/* F.max_pool2d(input, {kernel_size =, stride = kernel_size, padding = 0, dilation = 1,
 * ceil_mode =}) */
static int l_max_pool2d(lua_State *L) {
    sm_pool_params p = check_pool(L);
    return lsm_apply1(L, &sm_op_max_pool2d, &p);
}

/* F.avg_pool2d(input, {kernel_size =, stride =, padding =, ceil_mode =, count_include_pad
 * = true}) */
static int l_avg_pool2d(lua_State *L) {
    sm_pool_params p = check_pool(L);
    lsm_argcheck(L, p.dilation[0] == 1 && p.dilation[1] == 1, 2,
                 "avg_pool2d: has no dilation");
    return lsm_apply1(L, &sm_op_avg_pool2d, &p);
}

/* F.adaptive_avg_pool2d(input, size or {height, width}) */
static int l_adaptive_avg_pool2d(lua_State *L) {
    sm_adaptive_params p;
    lua_settop(L, 2);
    lua_createtable(L, 0, 1);
    lua_insert(L, 2);
    lua_setfield(L, 2, "output_size");
    lsm_opt_pair_field(L, 2, "output_size", 0, p.size);
    return lsm_apply1(L, &sm_op_adaptive_avg_pool2d, &p);
}

/* F.batch_norm(input, [running_mean], [running_var], [weight], [bias],
 * [{training = false, momentum = 0.1, eps = 1e-5, activation =, residual =}]): input and
 * residual [N,C,...], the others [C]; activation(norm(input) + residual). */
static int l_batch_norm(lua_State *L) {
    static const int args[] = {1, 2, 3, 4, 5, 7};
    static const char *const keys[] = {"training",   "momentum", "eps",
                                       "activation", "residual", NULL};
    sm_batch_norm_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 6);
    lsm_check_keys(L, 6, keys);
    p.training = lsm_opt_boolean_field(L, 6, "training", false);
    p.limits = check_activation(L, 6, "batch_norm");
    p.momentum = (float)lsm_opt_number_field(L, 6, "momentum", 0.1);
    p.eps = (float)lsm_opt_number_field(L, 6, "eps", 1e-5);
    if (!lua_istable(L, 6))
        lua_pushnil(L);
    else if (lua_getfield(L, 6, "residual") != LUA_TNIL && !lsm_to_tensor(L, 7))
        lsm_argerror(L, 6,
                     lua_pushfstring(L, "batch_norm: residual is a %s, expected a tensor",
                                     luaL_typename(L, 7)));
    return lsm_apply(L, &sm_op_batch_norm, 6, args, &p);
}

/* F.layer_norm(input, normalized_shape (integer or table), [weight], [bias], [eps =
 * 1e-5]) */
static int l_layer_norm(lua_State *L) {
    static const int args[] = {1, 3, 4};
    char want[SM_SHAPE_TEXT], have[SM_SHAPE_TEXT];
    sm_layer_norm_params p;
    int64_t shape[SM_MAX_DIMS];
    lua_settop(L, 5);
    if (lua_type(L, 2) == LUA_TNUMBER) {
        shape[0] = luaL_checkinteger(L, 2);
        p.dims = 1;
    } else {
        luaL_checktype(L, 2, LUA_TTABLE);
        lsm_check_shape(L, 2, &p.dims, shape);
    }
    p.eps = (float)luaL_optnumber(L, 5, 1e-5);
    sm_tensor *x = lsm_check_tensor(L, 1);
    bool fits = p.dims >= 1 && p.dims <= x->ndim;
    for (int d = 0; d < p.dims && fits; d++)
        fits = x->shape[x->ndim - p.dims + d] == shape[d];
    if (!fits)
        return lsm_argerror(L, 1,
                            lua_pushfstring(L, "layer_norm: input %s does not end in %s",
                                            sm_tensor_shape_text(have, x),
                                            sm_shape_text(want, p.dims, shape)));
    return lsm_apply(L, &sm_op_layer_norm, 3, args, &p);
}

/* F.normalize(input, [dim = 2], [eps = 1e-12]): unit Euclidean length along dim. */
static int l_normalize(lua_State *L) {
    sm_tensor *x = lsm_check_tensor(L, 1);
    sm_normalize_params p = {.eps = (float)luaL_optnumber(L, 3, 1e-12)};
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushinteger(L, 2);
    }
    p.dim = lsm_check_dim(L, 2, x->ndim);
    return lsm_apply1(L, &sm_op_normalize, &p);
}

/* F.dropout(input, [p = 0.5], [training = true]) */
static int l_dropout(lua_State *L) {
    sm_dropout_params params;
    memset(&params, 0, sizeof params);
    sm_tensor *x = lsm_check_tensor(L, 1);
    double p = luaL_optnumber(L, 2, 0.5);
    bool training = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
    lsm_argcheck(L, p >= 0 && p <= 1, 2, "dropout: p must be from 0 to 1");
    if (!training || p == 0) {
        lua_settop(L, 1);
        return 1;
    }
    params.p = (float)p;
    params.rng = *lsm_rng(L);
    lsm_rng(L)->counter += (uint64_t)((sm_tensor_numel(x) + 3) / 4);
    return lsm_apply1(L, &sm_op_dropout, &params);
}

static const luaL_Reg functions[] = {{"conv2d", l_conv2d},
                                     {"conv2d_norm", l_conv2d_norm},
                                     {"max_pool2d", l_max_pool2d},
                                     {"avg_pool2d", l_avg_pool2d},
                                     {"adaptive_avg_pool2d", l_adaptive_avg_pool2d},
                                     {"batch_norm", l_batch_norm},
                                     {"layer_norm", l_layer_norm},
                                     {"normalize", l_normalize},
                                     {"dropout", l_dropout},
                                     {NULL, NULL}};

void lsm_open_nn(lua_State *L) {
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
