/* lua_reduce.c: sum, mean, max, ..., softmax, sort. Dimensions: nil (all), an integer or
 * a table. */
#include <math.h>
#include <string.h>

#include "lua/state.h"
#include "ops/reduce.h"

static unsigned all_dims(const sm_tensor *t) {
    return (1u << t->ndim) - 1;
}

/* The dimensions at arg as a mask. */
static unsigned check_dims(lua_State *L, int arg, const sm_tensor *t) {
    unsigned dims = 0;
    if (lua_isnoneornil(L, arg))
        return all_dims(t);
    if (lua_type(L, arg) != LUA_TTABLE)
        return 1u << lsm_check_dim(L, arg, t->ndim);
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, arg); i <= n; i++) {
        int isnum;
        lua_rawgeti(L, arg, i);
        lua_Integer d = lua_tointegerx(L, -1, &isnum);
        lua_pop(L, 1);
        if (!isnum || d == 0 || d > t->ndim || d < -t->ndim)
            lsm_argerror(L, arg,
                         lua_pushfstring(L,
                                         "dimension %d of the list is out of range for "
                                         "a %d-D tensor",
                                         (int)i, t->ndim));
        unsigned bit = 1u << (d > 0 ? d - 1 : t->ndim + d);
        if (dims & bit)
            lsm_argerror(
                L, arg, lua_pushfstring(L, "dimension %I appears twice", (LUAI_UACINT)d));
        dims |= bit;
    }
    return dims;
}

/* keepdim: a boolean, or {keepdim = }. */
static bool check_keepdim(lua_State *L, int arg) {
    static const char *const keys[] = {"keepdim", NULL};
    if (lua_type(L, arg) != LUA_TTABLE) {
        if (!lua_isnoneornil(L, arg))
            luaL_checktype(L, arg, LUA_TBOOLEAN);
        return lua_toboolean(L, arg);
    }
    lsm_check_keys(L, arg, keys);
    return lsm_opt_boolean_field(L, arg, "keepdim", false);
}

static int reduce(lua_State *L, sm_reduction kind, float a, int dims, int keepdim) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_reduce_params p = {kind, check_dims(L, dims, t), check_keepdim(L, keepdim), a};
    return lsm_apply1(L, &sm_op_reduce, &p);
}

#define REDUCTION(NAME, KIND)                                                            \
    static int l_##NAME(lua_State *L) {                                                  \
        return reduce(L, KIND, 0, 2, 3);                                                 \
    }
REDUCTION(sum, SM_SUM)
REDUCTION(mean, SM_MEAN)
REDUCTION(amax, SM_AMAX)
REDUCTION(amin, SM_AMIN)
REDUCTION(prod, SM_PROD)
REDUCTION(logsumexp, SM_LOGSUMEXP)

/* t:var([dims], [{unbiased = true, keepdim = false}]), or keepdim as a boolean. */
static int moment(lua_State *L, sm_reduction kind) {
    static const char *const keys[] = {"unbiased", "keepdim", NULL};
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_reduce_params p = {kind, check_dims(L, 2, t), false, 1};
    if (lua_type(L, 3) == LUA_TTABLE) {
        lsm_check_keys(L, 3, keys);
        p.a = lsm_opt_boolean_field(L, 3, "unbiased", true) ? 1 : 0;
        p.keepdim = lsm_opt_boolean_field(L, 3, "keepdim", false);
    } else {
        p.keepdim = check_keepdim(L, 3);
    }
    return lsm_apply1(L, &sm_op_reduce, &p);
}

static int l_var(lua_State *L) {
    return moment(L, SM_VAR);
}
static int l_std(lua_State *L) {
    return moment(L, SM_STD);
}

/* t:norm([p = 2], [dims], [keepdim]) */
static int l_norm(lua_State *L) {
    float p = (float)luaL_optnumber(L, 2, 2);
    lsm_argcheck(L, p >= 0, 2, "norm: p must not be negative");
    return reduce(L, SM_NORM, p, 3, 4);
}

/* t:max(): the largest element; t:max(dim, [keepdim]): values and int64 positions;
 * t:max({dims}): the values over several dimensions; t:max(other): elementwise (maximum).
 */
static int extreme(lua_State *L, bool smallest) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (lua_type(L, 2) == LUA_TTABLE)
        return reduce(L, smallest ? SM_AMIN : SM_AMAX, 0, 2, 3);
    if (lsm_to_tensor(L, 2)) {
        lua_getfield(L, 1, smallest ? "minimum" : "maximum");
        lua_insert(L, 1);
        lua_call(L, lua_gettop(L) - 1, 1);
        return 1;
    }
    bool all = lua_isnoneornil(L, 2);
    sm_extreme_params p = {all ? -1 : lsm_check_dim(L, 2, t->ndim), check_keepdim(L, 3),
                           smallest};
    lsm_apply1(L, &sm_op_extreme, &p);
    if (!all)
        return 2;
    lua_pop(L, 1);
    return 1;
}

static int l_max(lua_State *L) {
    return extreme(L, false);
}
static int l_min(lua_State *L) {
    return extreme(L, true);
}

/* t:argmax([dim], [keepdim]): int64 positions, from 1 (in the flattened tensor without
 * dim). */
static int position(lua_State *L, bool smallest) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_extreme_params p = {lua_isnoneornil(L, 2) ? -1 : lsm_check_dim(L, 2, t->ndim),
                           check_keepdim(L, 3), smallest};
    lsm_apply1(L, &sm_op_extreme, &p);
    return 1;
}

static int l_argmax(lua_State *L) {
    return position(L, false);
}
static int l_argmin(lua_State *L) {
    return position(L, true);
}

static int all_or_any(lua_State *L, bool any) {
    sm_tensor *t = lsm_check_tensor(L, 1), *dense;
    sm_error err;
    if (t->dtype != SM_U8)
        return lsm_argerror(L, 1, "needs a uint8 mask");
    lsm_note_read(L, t, any ? "any" : "all");
    if (sm_tensor_contiguous(t, &dense, &err) != SM_OK)
        return lsm_error(L, "%s", err.message);
    bool found = false; /* a 1 for any, a 0 for all */
    for (int64_t i = 0, n = sm_tensor_numel(dense); i < n && !found; i++)
        found = (sm_u8(dense)[i] != 0) == any;
    sm_tensor_unref(dense);
    lua_pushboolean(L, found == any);
    return 1;
}

/* mask:all(), mask:any(): whether all (any) elements are not 0; Lua booleans. */
static int l_all(lua_State *L) {
    return all_or_any(L, false);
}
static int l_any(lua_State *L) {
    return all_or_any(L, true);
}

static int softmax(lua_State *L, bool log) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_softmax_params p = {lsm_check_dim(L, 2, t->ndim), log};
    return lsm_apply1(L, &sm_op_softmax, &p);
}

/* t:softmax(dim) */
static int l_softmax(lua_State *L) {
    return softmax(L, false);
}
/* t:log_softmax(dim) */
static int l_log_softmax(lua_State *L) {
    return softmax(L, true);
}

/* t:cumsum(dim) */
static int l_cumsum(lua_State *L) {
    sm_cumsum_params p = {lsm_check_dim(L, 2, lsm_check_tensor(L, 1)->ndim)};
    return lsm_apply1(L, &sm_op_cumsum, &p);
}

/* t:sort([dim = -1], [descending = false]): values and int64 positions. */
static int l_sort(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lsm_argcheck(L, t->ndim > 0, 1, "sort: a 0-d tensor has nothing to sort");
    sm_topk_params p = {.k = -1, .descending = lua_toboolean(L, 3)};
    p.dim = lua_isnoneornil(L, 2) ? t->ndim - 1 : lsm_check_dim(L, 2, t->ndim);
    return lsm_apply1(L, &sm_op_topk, &p);
}

/* t:topk(k, [dim = -1], [largest = true]): sorted values and int64 positions. */
static int l_topk(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lua_Integer k = luaL_checkinteger(L, 2);
    lsm_argcheck(L, t->ndim > 0, 1, "topk: a 0-d tensor has nothing to choose from");
    lsm_argcheck(L, k >= 0, 2, "topk: k must not be negative");
    sm_topk_params p = {.k = k,
                        .descending = lua_isnoneornil(L, 4) || lua_toboolean(L, 4)};
    p.dim = lua_isnoneornil(L, 3) ? t->ndim - 1 : lsm_check_dim(L, 3, t->ndim);
    return lsm_apply1(L, &sm_op_topk, &p);
}

static const luaL_Reg methods[] = {
    {"sum", l_sum},       {"mean", l_mean}, {"amax", l_amax},
    {"amin", l_amin},     {"prod", l_prod}, {"logsumexp", l_logsumexp},
    {"var", l_var},       {"std", l_std},   {"norm", l_norm},
    {"max", l_max},       {"min", l_min},   {"argmax", l_argmax},
    {"argmin", l_argmin}, {"all", l_all},   {"any", l_any},
    {"cumsum", l_cumsum}, {"sort", l_sort}, {"topk", l_topk},
    {NULL, NULL}};

static const luaL_Reg activations[] = {
    {"softmax", l_softmax}, {"log_softmax", l_log_softmax}, {NULL, NULL}};

void lsm_open_reduce(lua_State *L) {
    lsm_methods(L, methods);
    lsm_methods(L, activations);
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, activations, 0);
    lua_pop(L, 1);
}
