/* lua_gather.c: picking by index, joining, matrix products. Indices count from 1; where
 * an int64 tensor is wanted, a table of integers does. */
#include "base/mem.h"
#include "lua/state.h"
#include "ops/gather.h"
#include "ops/matmul.h"
#include "ops/view.h"

static int dim_of(lua_State *L, int arg) {
    return lsm_check_dim(L, arg, lsm_check_tensor(L, 1)->ndim);
}

/* t:index_select(dim, index): index [K] */
static int l_index_select(lua_State *L) {
    static const int args[] = {1, 3};
    sm_dim_params p = {dim_of(L, 2)};
    lua_settop(L, 3);
    lsm_cast_arg(L, 3, SM_I64);
    return lsm_apply(L, &sm_op_index_select, 2, args, &p);
}

/* t:gather(dim, index): out[i][j] = t[index[i][j]][j] for dim 1. */
static int l_gather(lua_State *L) {
    static const int args[] = {1, 3};
    sm_dim_params p = {dim_of(L, 2)};
    lua_settop(L, 3);
    lsm_cast_arg(L, 3, SM_I64);
    return lsm_apply(L, &sm_op_gather, 2, args, &p);
}

/* t:scatter_add(dim, index, source): a copy of t with source added at index. */
static int l_scatter_add(lua_State *L) {
    static const int args[] = {1, 3, 4};
    sm_dim_params p = {dim_of(L, 2)};
    lua_settop(L, 4);
    lsm_cast_arg(L, 3, SM_I64);
    return lsm_apply(L, &sm_op_scatter_add, 3, args, &p);
}

/* Pushes a block that holds the tensors of the list at 1 (which keeps them alive). */
static sm_tensor **check_list(lua_State *L, const char *name, int *count) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n == 0 || n > 1 << 20)
        lsm_argerror(
            L, 1,
            lua_pushfstring(L, "%s: needs a list of 1 to %d tensors", name, 1 << 20));
    sm_tensor **list = lua_newuserdatauv(L, (size_t)n * sizeof *list, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        list[i] = lsm_to_tensor(L, -1);
        if (!list[i])
            lsm_argerror(L, 1,
                         lua_pushfstring(L, "%s: element %d is a %s, expected a tensor",
                                         name, (int)i + 1, luaL_typename(L, -1)));
        lua_pop(L, 1);
    }
    *count = (int)n;
    return list;
}

/* cat(tensors, [dim = 1]) */
static int l_cat(lua_State *L) {
    static const int args[] = {1};
    int n;
    lua_settop(L, 2);
    sm_tensor **list = check_list(L, "cat", &n);
    sm_dim_params p = {lua_isnoneornil(L, 2) ? 0 : lsm_check_dim(L, 2, list[0]->ndim)};
    return lsm_apply_array(L, &sm_op_cat, n, list, args, &p);
}

/* stack(tensors, [dim = 1]): along a new dimension. */
static int l_stack(lua_State *L) {
    int n;
    lua_settop(L, 2);
    sm_tensor **list = check_list(L, "stack", &n);
    lsm_argcheck(L, list[0]->ndim < SM_MAX_DIMS, 1,
                 "stack: the tensors have the most dimensions");
    int dim = lua_isnil(L, 2) ? 0 : lsm_check_dim(L, 2, list[0]->ndim + 1);
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        lua_getfield(L, -1, "unsqueeze");
        lua_insert(L, -2);
        lua_pushinteger(L, dim + 1);
        lua_call(L, 2, 1);
        lua_rawseti(L, 4, i + 1);
    }
    lua_settop(L, 4);
    lua_replace(L, 1);
    lua_pushinteger(L, dim + 1);
    lua_replace(L, 2);
    lua_settop(L, 2);
    return l_cat(L);
}

/* one_hot(labels, classes): float32 [.., classes] */
static int l_one_hot(lua_State *L) {
    sm_one_hot_params p = {luaL_checkinteger(L, 2)};
    lsm_argcheck(L, p.classes > 0, 2, "one_hot: classes must be positive");
    lsm_cast_arg(L, 1, SM_I64);
    return lsm_apply1(L, &sm_op_one_hot, &p);
}

/* a:matmul(b): as PyTorch's: vectors, matrices, broadcast batches. */
static int l_matmul(lua_State *L) {
    static const int args[] = {1, 2};
    return lsm_apply(L, &sm_op_matmul, 2, args, NULL);
}

static int matmul_of(lua_State *L, int ndim, const char *name) {
    char text[SM_SHAPE_TEXT];
    for (int arg = 1; arg <= 2; arg++) {
        sm_tensor *t = lsm_check_tensor(L, arg);
        if (t->ndim != ndim)
            return lsm_argerror(
                L, arg,
                lua_pushfstring(L, "%s: needs %d-D operands, got shape %s", name, ndim,
                                sm_tensor_shape_text(text, t)));
    }
    return l_matmul(L);
}

/* a:mm(b): two matrices. */
static int l_mm(lua_State *L) {
    return matmul_of(L, 2, "mm");
}
/* a:bmm(b): two batches of matrices. */
static int l_bmm(lua_State *L) {
    return matmul_of(L, 3, "bmm");
}
/* a:dot(b): two vectors. */
static int l_dot(lua_State *L) {
    return matmul_of(L, 1, "dot");
}

/* F.linear(x, weight, [bias]): x [..., in], weight [out,in], bias [out]. */
static int l_linear(lua_State *L) {
    static const int args[] = {1, 2, 3};
    return lsm_apply(L, &sm_op_linear, 3, args, NULL);
}

static const luaL_Reg methods[] = {{"index_select", l_index_select},
                                   {"gather", l_gather},
                                   {"scatter_add", l_scatter_add},
                                   {"matmul", l_matmul},
                                   {"mm", l_mm},
                                   {"bmm", l_bmm},
                                   {"dot", l_dot},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"cat", l_cat}, {"stack", l_stack}, {"one_hot", l_one_hot}, {NULL, NULL}};

void lsm_open_gather(lua_State *L) {
    lsm_methods(L, methods);
    lsm_functions(L, functions);
    lua_getfield(L, -1, "F");
    lua_pushcfunction(L, l_linear);
    lua_setfield(L, -2, "linear");
    lua_pop(L, 1);
}
