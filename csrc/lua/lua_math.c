/* lua_math.c: elementwise functions, operators and comparisons. Every function takes
 * numbers in place of tensors; siamese.exp(t) is t:exp(). */
#include <math.h>
#include <string.h>

#include "lua/state.h"
#include "ops/elementwise.h"
#include "ops/view.h"

#undef l_floor /* a macro of luaconf.h */

/* A number becomes a 0-d tensor: int64 if it is an integer beside an integer tensor, else
 * float32. */
static void number_to_tensor(lua_State *L, int arg, const sm_tensor *beside) {
    if (lua_type(L, arg) != LUA_TNUMBER)
        return;
    bool integer = beside && beside->dtype != SM_F32 && lua_isinteger(L, arg);
    lsm_push_nested(L, arg, integer ? SM_I64 : SM_F32);
    lua_replace(L, arg);
}

static void both_tensors(lua_State *L) {
    number_to_tensor(L, 1, lsm_to_tensor(L, 2));
    number_to_tensor(L, 2, lsm_to_tensor(L, 1));
}

static int apply_binary(lua_State *L, sm_binary kind) {
    static const int args[] = {1, 2};
    sm_binary_params p = {kind};
    lua_settop(L, 2);
    both_tensors(L);
    return lsm_apply(L, &sm_op_binary, 2, args, &p);
}

static int apply_compare(lua_State *L, sm_comparison kind) {
    static const int args[] = {1, 2};
    sm_compare_params p = {kind};
    lua_settop(L, 2);
    both_tensors(L);
    return lsm_apply(L, &sm_op_compare, 2, args, &p);
}

/* t = t op x, in place: the result has t's shape and dtype. */
static int apply_inplace(lua_State *L, sm_binary kind, const char *name) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lsm_check_change(L, t, name);
    sm_tensor *x = lsm_to_tensor(L, 2);
    if (x && x->requires_grad && sm_grad_enabled())
        return lsm_argerror(L, 2,
                            "requires a gradient, which a change in place would lose");
    apply_binary(L, kind);
    char from[SM_SHAPE_TEXT], to[SM_SHAPE_TEXT];
    sm_tensor *result = lsm_check_tensor(L, -1);
    if (!sm_tensor_same_shape(t, result))
        return lsm_argerror(L, 2,
                            lua_pushfstring(L, "%s: the result %s does not fit into %s",
                                            name, sm_tensor_shape_text(from, result),
                                            sm_tensor_shape_text(to, t)));
    if (t->dtype != SM_F32 && result->dtype == SM_F32)
        return lsm_argerror(L, 2,
                            lua_pushfstring(L,
                                            "%s: a float32 result does not fit into %s",
                                            name, sm_dtype_name(t->dtype)));
    sm_tensor_copy(t, result);
    lua_settop(L, 1);
    return 1;
}

#define BINARY(NAME, KIND)                                                               \
    static int l_##NAME(lua_State *L) {                                                  \
        return apply_binary(L, KIND);                                                    \
    }
#define INPLACE(NAME, KIND)                                                              \
    static int l_##NAME##_(lua_State *L) {                                               \
        return apply_inplace(L, KIND, #NAME "_");                                        \
    }
#define COMPARE(NAME, KIND)                                                              \
    static int l_##NAME(lua_State *L) {                                                  \
        return apply_compare(L, KIND);                                                   \
    }
BINARY(add, SM_ADD)
BINARY(sub, SM_SUB)
BINARY(mul, SM_MUL)
BINARY(div, SM_DIV)
BINARY(maximum, SM_MAXIMUM)
BINARY(minimum, SM_MINIMUM)
BINARY(remainder, SM_REMAINDER)
BINARY(floor_divide, SM_FLOOR_DIVIDE)
INPLACE(add, SM_ADD)
INPLACE(sub, SM_SUB)
INPLACE(mul, SM_MUL)
INPLACE(div, SM_DIV)
COMPARE(eq, SM_EQ)
COMPARE(ne, SM_NE)
COMPARE(lt, SM_LT)
COMPARE(le, SM_LE)
COMPARE(gt, SM_GT)
COMPARE(ge, SM_GE)

static int apply_unary(lua_State *L, sm_unary kind, float a, float b) {
    sm_unary_params p = {kind, {a, b}};
    number_to_tensor(L, 1, NULL);
    return lsm_apply1(L, &sm_op_unary, &p);
}

#define UNARY(NAME, KIND)                                                                \
    static int l_##NAME(lua_State *L) {                                                  \
        return apply_unary(L, KIND, 0, 0);                                               \
    }
UNARY(exp, SM_EXP)
UNARY(log, SM_LOG)
UNARY(sqrt, SM_SQRT)
UNARY(reciprocal, SM_RECIPROCAL)
UNARY(floor, SM_FLOOR)
UNARY(ceil, SM_CEIL)
UNARY(round, SM_ROUND)
UNARY(sin, SM_SIN)
UNARY(cos, SM_COS)
UNARY(tanh, SM_TANH)
UNARY(sigmoid, SM_SIGMOID)
UNARY(relu, SM_RELU)
UNARY(erf, SM_ERF)
UNARY(log1p, SM_LOG1P)
UNARY(expm1, SM_EXPM1)
UNARY(relu6, SM_RELU6)
UNARY(hardsigmoid, SM_HARDSIGMOID)
UNARY(hardswish, SM_HARDSWISH)
UNARY(silu, SM_SILU)

/* Functions that keep integers integers, by way of binary ops. */
static int integer_or_unary(lua_State *L, sm_unary kind, sm_binary binary, int64_t left) {
    sm_tensor *t = lsm_to_tensor(L, 1);
    if (!t || t->dtype == SM_F32)
        return apply_unary(L, kind, 0, 0);
    lua_settop(L, 1);
    lua_pushinteger(L, left);
    lua_insert(L, 1);
    return apply_binary(L, binary);
}

static int l_neg(lua_State *L) {
    return integer_or_unary(L, SM_NEG, SM_SUB, 0);
}

static int l_abs(lua_State *L) {
    sm_tensor *t = lsm_to_tensor(L, 1);
    if (!t || t->dtype == SM_F32)
        return apply_unary(L, SM_ABS, 0, 0);
    lua_settop(L, 1);
    l_neg(L); /* the stack is now: 0, t, -t */
    lua_remove(L, 1);
    return apply_binary(L, SM_MAXIMUM);
}

static int l_square(lua_State *L) {
    sm_tensor *t = lsm_to_tensor(L, 1);
    if (!t || t->dtype == SM_F32)
        return apply_unary(L, SM_SQUARE, 0, 0);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    return apply_binary(L, SM_MUL);
}

static int l_sign(lua_State *L) {
    sm_tensor *t = lsm_to_tensor(L, 1);
    apply_unary(L, SM_SIGN, 0, 0);
    if (!t || t->dtype == SM_F32)
        return 1;
    lsm_cast_arg(L, lua_gettop(L), SM_I64);
    return 1;
}

/* leaky_relu(t, [negative_slope = 0.01]) */
static int l_leaky_relu(lua_State *L) {
    return apply_unary(L, SM_LEAKY_RELU, (float)luaL_optnumber(L, 2, 0.01), 0);
}

/* softplus(t, [beta = 1], [threshold = 20]): log(1 + exp(beta t)) / beta, or t itself
 * where beta t passes the threshold. */
static int l_softplus(lua_State *L) {
    const double beta = luaL_optnumber(L, 2, 1), threshold = luaL_optnumber(L, 3, 20);
    lsm_argcheck(L, beta > 0, 2, "softplus: beta must be above 0");
    return apply_unary(L, SM_SOFTPLUS, (float)beta, (float)threshold);
}

/* elu(t, [alpha = 1]): t where it is above 0, else alpha (exp(t) - 1). */
static int l_elu(lua_State *L) {
    return apply_unary(L, SM_ELU, (float)luaL_optnumber(L, 2, 1), 0);
}

/* prelu(t, weight): t where it is above 0, else t times the weight: [1], or [C] for the
 * channels of [N,C,...]. */
static int l_prelu(lua_State *L) {
    static const int args[] = {1, 2};
    char xs[SM_SHAPE_TEXT], ws[SM_SHAPE_TEXT];
    sm_binary_params p = {SM_PRELU};
    lua_settop(L, 2);
    number_to_tensor(L, 1, NULL);
    const sm_tensor *x = lsm_check_tensor(L, 1), *w = lsm_check_tensor(L, 2);
    const bool one = w->ndim == 1 && w->shape[0] == 1;
    if (!one && (w->ndim != 1 || x->ndim < 2 || w->shape[0] != x->shape[1]))
        return lsm_argerror(
            L, 2,
            lua_pushfstring(L, "prelu: weight must be [1] or [C] for input %s, got %s",
                            sm_tensor_shape_text(xs, x), sm_tensor_shape_text(ws, w)));
    sm_reshape_params shape = {.ndim = x->ndim};
    for (int d = 0; d < x->ndim; d++)
        shape.shape[d] = d == 1 && !one ? w->shape[0] : 1;
    lsm_apply(L, &sm_op_reshape, 1, args + 1, &shape);
    lua_replace(L, 2);
    return lsm_apply(L, &sm_op_binary, 2, args, &p);
}

/* gelu(t, [{approximate = "none" | "tanh"}]) */
static int l_gelu(lua_State *L) {
    static const char *const keys[] = {"approximate", NULL};
    sm_unary kind = SM_GELU;
    lsm_check_keys(L, 2, keys);
    if (lua_istable(L, 2) && lua_getfield(L, 2, "approximate") != LUA_TNIL) {
        const char *name = lua_tostring(L, -1);
        if (!name || (strcmp(name, "tanh") != 0 && strcmp(name, "none") != 0))
            return lsm_argerror(L, 2, "gelu: approximate must be 'none' or 'tanh'");
        kind = strcmp(name, "tanh") == 0 ? SM_GELU_TANH : SM_GELU;
    }
    return apply_unary(L, kind, 0, 0);
}

/* clamp(t, [min], [max]): at least one of them. */
static int l_clamp(lua_State *L) {
    lsm_argcheck(L, !lua_isnoneornil(L, 2) || !lua_isnoneornil(L, 3), 2,
                 "clamp: needs a minimum, a maximum or both");
    float low = (float)luaL_optnumber(L, 2, -INFINITY),
          high = (float)luaL_optnumber(L, 3, INFINITY);
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (t->dtype == SM_F32)
        return apply_unary(L, SM_CLAMP, low, high);
    lua_settop(L, 3);
    for (int side = 2; side <= 3; side++) { /* integers: max(min(t, high), low) */
        if (lua_isnil(L, side))
            continue;
        lua_pushcfunction(L, side == 2 ? l_maximum : l_minimum);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, side);
        lua_call(L, 2, 1);
        lua_replace(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}

/* t:pow(exponent) or t ^ exponent; a number as the exponent of a float32 tensor has a
 * loop of its own. */
static int l_pow(lua_State *L) {
    sm_tensor *t = lsm_to_tensor(L, 1);
    if (t && t->dtype == SM_F32 && lua_type(L, 2) == LUA_TNUMBER) {
        double exponent = lua_tonumber(L, 2);
        lua_settop(L, 2);
        return exponent == 2     ? apply_unary(L, SM_SQUARE, 0, 0)
               : exponent == 0.5 ? apply_unary(L, SM_SQRT, 0, 0)
                                 : apply_unary(L, SM_POW, (float)exponent, 0);
    }
    return apply_binary(L, SM_POWER);
}

/* where(mask, a, b): a where the mask is not 0, else b. */
static int l_where(lua_State *L) {
    static const int args[] = {1, 2, 3};
    lua_settop(L, 3);
    number_to_tensor(L, 2, lsm_to_tensor(L, 3));
    number_to_tensor(L, 3, lsm_to_tensor(L, 2));
    return lsm_apply(L, &sm_op_where, 3, args, NULL);
}

/* t:masked_fill(mask, value) */
static int l_masked_fill(lua_State *L) {
    lsm_check_tensor(L, 1);
    lsm_check_tensor(L, 2);
    luaL_checknumber(L, 3);
    lua_settop(L, 3);
    lua_rotate(L, 1, -1); /* mask, value, t */
    return l_where(L);
}

static int l_isnan(lua_State *L) {
    sm_classify_params p = {false};
    return lsm_apply1(L, &sm_op_classify, &p);
}

static int l_isfinite(lua_State *L) {
    sm_classify_params p = {true};
    return lsm_apply1(L, &sm_op_classify, &p);
}

/* a == b: same shape, same dtype, same elements. */
static int l_equal(lua_State *L) {
    sm_tensor *a = lsm_to_tensor(L, 1), *b = lsm_to_tensor(L, 2);
    bool same = a && b && a->dtype == b->dtype && sm_tensor_same_shape(a, b);
    if (same && sm_tensor_numel(a) > 0) {
        lua_settop(L, 2);
        apply_compare(L, SM_NE);
        sm_tensor *different = lsm_check_tensor(L, -1);
        lsm_note_read(L, different, "==");
        same = !memchr(sm_u8(different), 1, (size_t)sm_tensor_numel(different));
    }
    lua_pushboolean(L, same);
    return 1;
}

/* a < b and a <= b in Lua give a boolean: only tensors of one element (and numbers)
 * compare so. */
static double one_element(lua_State *L, int arg) {
    sm_tensor *t = lsm_to_tensor(L, arg);
    if (!t)
        return luaL_checknumber(L, arg);
    if (sm_tensor_numel(t) != 1)
        lsm_argerror(L, arg,
                     "< and <= compare tensors of one element; use lt, le, gt, ge");
    lsm_note_read(L, t, "< and <=");
    lsm_push_element(L, t, 0);
    return lua_tonumber(L, -1);
}

static int l_less(lua_State *L) {
    lua_pushboolean(L, one_element(L, 1) < one_element(L, 2));
    return 1;
}

static int l_less_equal(lua_State *L) {
    lua_pushboolean(L, one_element(L, 1) <= one_element(L, 2));
    return 1;
}

static const luaL_Reg methods[] = {{"add", l_add},
                                   {"sub", l_sub},
                                   {"mul", l_mul},
                                   {"div", l_div},
                                   {"pow", l_pow},
                                   {"maximum", l_maximum},
                                   {"minimum", l_minimum},
                                   {"remainder", l_remainder},
                                   {"floor_divide", l_floor_divide},
                                   {"add_", l_add_},
                                   {"sub_", l_sub_},
                                   {"mul_", l_mul_},
                                   {"div_", l_div_},
                                   {"eq", l_eq},
                                   {"ne", l_ne},
                                   {"lt", l_lt},
                                   {"le", l_le},
                                   {"gt", l_gt},
                                   {"ge", l_ge},
                                   {"equal", l_equal},
                                   {"exp", l_exp},
                                   {"log", l_log},
                                   {"sqrt", l_sqrt},
                                   {"abs", l_abs},
                                   {"neg", l_neg},
                                   {"reciprocal", l_reciprocal},
                                   {"square", l_square},
                                   {"sign", l_sign},
                                   {"floor", l_floor},
                                   {"ceil", l_ceil},
                                   {"round", l_round},
                                   {"sin", l_sin},
                                   {"cos", l_cos},
                                   {"erf", l_erf},
                                   {"log1p", l_log1p},
                                   {"expm1", l_expm1},
                                   {"clamp", l_clamp},
                                   {"where", l_where},
                                   {"masked_fill", l_masked_fill},
                                   {"isnan", l_isnan},
                                   {"isfinite", l_isfinite},
                                   {NULL, NULL}};

/* Methods that are also in F. */
static const luaL_Reg activations[] = {{"relu", l_relu},
                                       {"relu6", l_relu6},
                                       {"leaky_relu", l_leaky_relu},
                                       {"prelu", l_prelu},
                                       {"elu", l_elu},
                                       {"gelu", l_gelu},
                                       {"silu", l_silu},
                                       {"hardswish", l_hardswish},
                                       {"hardsigmoid", l_hardsigmoid},
                                       {"sigmoid", l_sigmoid},
                                       {"tanh", l_tanh},
                                       {"softplus", l_softplus},
                                       {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__add", l_add}, {"__sub", l_sub},           {"__mul", l_mul},
    {"__div", l_div}, {"__pow", l_pow},           {"__mod", l_remainder},
    {"__unm", l_neg}, {"__idiv", l_floor_divide}, {"__eq", l_equal},
    {"__lt", l_less}, {"__le", l_less_equal},     {NULL, NULL}};

void lsm_open_math(lua_State *L) {
    lsm_methods(L, methods);
    lsm_methods(L, activations);
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, activations, 0);
    lua_pop(L, 1);
    luaL_getmetatable(L, LSM_TENSOR);
    luaL_setfuncs(L, metamethods, 0);
    lua_pop(L, 1);
}
