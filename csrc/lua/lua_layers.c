/* lua_layers.c: more of the layers' functions, in the table F: transposed convolution,
 * normalisation of single images and pixels, pooling heads, padding. */
#include <string.h>

#include "lua/state.h"
#include "ops/conv_transpose.h"
#include "ops/group_norm.h"
#include "ops/heads.h"
#include "ops/local_norm.h"
#include "ops/norm.h"
#include "ops/pad.h"

/* F.group_norm(input, num_groups, [weight], [bias], [eps = 1e-5]): input [N,C,...]. */
static int l_group_norm(lua_State *L) {
    static const int args[] = {1, 0, 0, 3, 4};
    const sm_group_norm_params p = {.groups = luaL_checkinteger(L, 2),
                                    .eps = (float)luaL_optnumber(L, 5, 1e-5)};
    lsm_argcheck(L, p.groups >= 1, 2, "group_norm: num_groups must be at least 1");
    lua_settop(L, 4);
    return lsm_apply(L, &sm_op_group_norm, 5, args, &p);
}

/* F.instance_norm(input, [running_mean], [running_var], [weight], [bias],
 * [{use_input_stats = true, momentum = 0.1, eps = 1e-5}]): input [N,C,L,...], the others
 * [C]. Without use_input_stats the running statistics take the images' place. */
static int l_instance_norm(lua_State *L) {
    static const int args[] = {1, 2, 3, 4, 5};
    static const char *const keys[] = {"use_input_stats", "momentum", "eps", NULL};
    lua_settop(L, 6);
    lsm_check_keys(L, 6, keys);
    const sm_group_norm_params p = {
        .momentum = (float)lsm_opt_number_field(L, 6, "momentum", 0.1),
        .eps = (float)lsm_opt_number_field(L, 6, "eps", 1e-5)};
    if (lsm_opt_boolean_field(L, 6, "use_input_stats", true))
        return lsm_apply(L, &sm_op_group_norm, 5, args, &p);
    lsm_argcheck(L, lsm_opt_tensor(L, 2) && lsm_opt_tensor(L, 3), 2,
                 "instance_norm: needs running_mean and running_var where the input's "
                 "statistics are not used");
    const sm_batch_norm_params as_batch = {.eps = p.eps, .limits = sm_no_limits};
    return lsm_apply(L, &sm_op_batch_norm, 5, args, &as_batch);
}

/* F.local_response_norm(input, size, [alpha = 1e-4], [beta = 0.75], [k = 1]) */
static int l_local_response_norm(lua_State *L) {
    const sm_local_norm_params p = {.size = luaL_checkinteger(L, 2),
                                    .alpha = (float)luaL_optnumber(L, 3, 1e-4),
                                    .beta = (float)luaL_optnumber(L, 4, 0.75),
                                    .k = (float)luaL_optnumber(L, 5, 1)};
    return lsm_apply1(L, &sm_op_local_norm, &p);
}

/* F.gem(input, [p = 3, a number or a tensor of one element], [eps = 1e-6]): the
 * generalised mean of each channel of [N,C,L,...]. */
static int l_gem(lua_State *L) {
    static const int args[] = {1, 2};
    const sm_gem_params p = {(float)luaL_optnumber(L, 3, 1e-6)};
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushnumber(L, 3);
        lua_replace(L, 2);
    }
    lsm_cast_arg(L, 2, SM_F32);
    return lsm_apply(L, &sm_op_gem, 2, args, &p);
}

/* F.adaptive_max_pool2d(input, size or {height, width}) */
static int l_adaptive_max_pool2d(lua_State *L) {
    sm_adaptive_max_params p;
    lua_settop(L, 2);
    lua_createtable(L, 0, 1);
    lua_insert(L, 2);
    lua_setfield(L, 2, "output_size");
    lsm_opt_pair_field(L, 2, "output_size", 0, p.size);
    return lsm_apply1(L, &sm_op_adaptive_max_pool2d, &p);
}

static sm_pad_mode check_pad_mode(lua_State *L, int arg) {
    static const char *const names[] = {"constant", "reflect", "replicate", "circular",
                                        NULL};
    const char *name = luaL_optstring(L, arg, "constant");
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return (sm_pad_mode)i;
    lsm_argerror(L, arg,
                 lua_pushfstring(L,
                                 "pad: mode must be 'constant', 'reflect', 'replicate' "
                                 "or 'circular', got '%s'",
                                 name));
    return SM_PAD_CONSTANT;
}

/* F.pad(input, {left, right, top, bottom, ...}, [mode = "constant"], [value = 0]): pairs
 * for the last dimension, the one before it and so on; negative ones cut off. Modes:
 * "constant", "reflect", "replicate", "circular". */
static int l_pad(lua_State *L) {
    sm_pad_params p;
    memset(&p, 0, sizeof p);
    luaL_checktype(L, 2, LUA_TTABLE);
    const lua_Unsigned n = lua_rawlen(L, 2);
    lsm_argcheck(L, n % 2 == 0 && n <= 2 * SM_MAX_DIMS, 2,
                 "pad: expected two sizes for each dimension from the last on");
    p.dims = (int)n / 2;
    for (int i = 0; i < (int)n; i++) {
        int isnum;
        lua_rawgeti(L, 2, i + 1);
        const int64_t size = lua_tointegerx(L, -1, &isnum);
        if (!isnum)
            return lsm_argerror(L, 2,
                                lua_pushfstring(L,
                                                "pad: size %d must be an integer, got %s",
                                                i + 1, luaL_tolstring(L, -1, NULL)));
        (i % 2 ? p.after : p.before)[p.dims - 1 - i / 2] = size;
        lua_pop(L, 1);
    }
    p.mode = check_pad_mode(L, 3);
    p.value = luaL_optnumber(L, 4, 0);
    lua_settop(L, 2);
    return lsm_apply1(L, &sm_op_pad, &p);
}

/* Puts rows and columns of zeros behind the image at `arg`. */
static void extend_image(lua_State *L, int arg, const int64_t *behind) {
    sm_pad_params p;
    memset(&p, 0, sizeof p);
    const sm_tensor *x = lsm_check_tensor(L, arg);
    if (x->ndim != 4 || (behind[0] == 0 && behind[1] == 0))
        return;
    p.dims = 2;
    memcpy(p.after, behind, 2 * sizeof *behind);
    lsm_apply(L, &sm_op_pad, 1, &arg, &p);
    lua_replace(L, arg);
}

/* F.conv_transpose2d(input, weight, [bias], [{stride = 1, padding = 0, output_padding =
 * 0, groups = 1, dilation = 1}]): input [N,I,H,W], weight [I,O/groups,KH,KW], bias [O].
 * An output_padding of at least the stride, but below the dilation, is what zeros behind
 * the input give. */
static int l_conv_transpose2d(lua_State *L) {
    static const int args[] = {1, 2, 3};
    static const char *const keys[] = {"stride", "padding",  "output_padding",
                                       "groups", "dilation", NULL};
    sm_conv_transpose2d_params p;
    int64_t behind[2] = {0, 0};
    memset(&p, 0, sizeof p);
    lua_settop(L, 4);
    lsm_check_keys(L, 4, keys);
    lsm_opt_pair_field(L, 4, "stride", 1, p.stride);
    lsm_opt_pair_field(L, 4, "padding", 0, p.padding);
    lsm_opt_pair_field(L, 4, "output_padding", 0, p.output_padding);
    lsm_opt_pair_field(L, 4, "dilation", 1, p.dilation);
    p.groups = lsm_opt_integer_field(L, 4, "groups", 1);
    for (int a = 0; a < 2; a++)
        if (p.stride[a] >= 1 && p.output_padding[a] >= p.stride[a] &&
            p.output_padding[a] < p.dilation[a]) {
            behind[a] = p.output_padding[a] / p.stride[a];
            p.output_padding[a] %= p.stride[a];
        }
    extend_image(L, 1, behind);
    return lsm_apply(L, &sm_op_conv_transpose2d, 3, args, &p);
}

static const luaL_Reg functions[] = {{"conv_transpose2d", l_conv_transpose2d},
                                     {"group_norm", l_group_norm},
                                     {"instance_norm", l_instance_norm},
                                     {"local_response_norm", l_local_response_norm},
                                     {"gem", l_gem},
                                     {"pad", l_pad},
                                     {"adaptive_max_pool2d", l_adaptive_max_pool2d},
                                     {NULL, NULL}};

void lsm_open_layers(lua_State *L) {
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
