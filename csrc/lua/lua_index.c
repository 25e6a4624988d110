/* lua_index.c: t[i], t[{ {1, 3}, 2 }], t.shape, and assignment.
 *
 *     t[2]               element 2 of the first dimension (a view; t[-1] is the last)
 *     t[{ 2, {1, 3} }]   row 2, columns 1 to 3; {} keeps a dimension, {1, 9, 2} steps by
 * 2 t[idx]             the rows that an int64 tensor names (a copy, see index_select)
 *     t[2] = 0.5         writes a number or a tensor (broadcast) into such a view
 */
#include <string.h>

#include "lua/state.h"
#include "ops/view.h"

/* ---- reading ---- */

/* Replaces the tensor on the top of the stack by op's result. */
static void apply_top(lua_State *L, const sm_op *op, const void *params) {
    int top = lua_gettop(L);
    lsm_apply(L, op, 1, &top, params);
    lua_replace(L, top);
}

static void select_top(lua_State *L, int dim, lua_Integer index) {
    sm_tensor *t = lsm_check_tensor(L, -1);
    char text[SM_SHAPE_TEXT];
    int64_t size = dim < t->ndim ? t->shape[dim] : 0;
    if (dim >= t->ndim || index == 0 || index > size || index < -size)
        lsm_error(L, "index %I is out of range for dimension %d of shape %s",
                  (LUAI_UACINT)index, dim + 1, sm_tensor_shape_text(text, t));
    sm_select_params p = {dim, index > 0 ? index - 1 : index + size};
    apply_top(L, &sm_op_select, &p);
}

/* Element k of the range table at `range`, or the default when it is absent. */
static lua_Integer range_item(lua_State *L, int range, int k, lua_Integer otherwise) {
    int isnum = 1;
    lua_Integer value = otherwise;
    if (lua_rawgeti(L, range, k) != LUA_TNIL)
        value = lua_tointegerx(L, -1, &isnum);
    if (!isnum)
        lsm_error(L, "a range is {first, last, step} of integers, got %s",
                  luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return value;
}

/* Narrows dimension dim of the tensor on the top by the range at index `range`. */
static void slice_top(lua_State *L, int range, int dim) {
    char text[SM_SHAPE_TEXT];
    sm_tensor *t = lsm_check_tensor(L, -1);
    if (dim >= t->ndim)
        lsm_error(L, "too many indices for shape %s", sm_tensor_shape_text(text, t));
    int64_t size = t->shape[dim];
    lua_Integer first = range_item(L, range, 1, 1);
    lua_Integer last = range_item(L, range, 2, lua_rawlen(L, range) == 1 ? first : size);
    lua_Integer step = range_item(L, range, 3, 1);
    lua_Integer from = first < 0 ? first + size + 1 : first,
                to = last < 0 ? last + size + 1 : last;
    if (step < 1 || from < 1 || to > size || to < from - 1)
        lsm_error(L, "range {%I,%I,%I} is out of range for dimension %d of shape %s",
                  (LUAI_UACINT)first, (LUAI_UACINT)last, (LUAI_UACINT)step, dim + 1,
                  sm_tensor_shape_text(text, t));
    sm_slice_params p = {dim, from - 1, to >= from ? (to - from) / step + 1 : 0, step};
    apply_top(L, &sm_op_slice, &p);
}

/* Pushes the view of the tensor at 1 that the table at 2 describes. */
static void push_slices(lua_State *L) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    int dim = 0;
    lua_pushvalue(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        int type = lua_rawgeti(L, 2, i);
        int isnum = 0;
        lua_Integer index = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &isnum) : 0;
        if (!isnum && type != LUA_TTABLE)
            lsm_error(L, "an index is an integer or a range {first, last}, got %s",
                      luaL_tolstring(L, -1, NULL));
        lua_insert(L, -2); /* the tensor to the top again */
        if (isnum)
            select_top(L, dim, index);
        else
            slice_top(L, lua_gettop(L) - 1, dim++);
        lua_remove(L, -2);
    }
}

/* Pushes the view that key 2 of tensor 1 names; false if it is no such key. */
static bool push_indexed(lua_State *L) {
    int isnum;
    lua_Integer index = lua_tointegerx(L, 2, &isnum);
    if (lua_type(L, 2) == LUA_TNUMBER) {
        if (!isnum)
            lsm_error(L, "index must be an integer, got %f", lua_tonumber(L, 2));
        lua_pushvalue(L, 1);
        select_top(L, 0, index);
        return true;
    }
    if (lua_type(L, 2) != LUA_TTABLE)
        return false;
    push_slices(L);
    return true;
}

static int property(lua_State *L, sm_tensor *t, const char *key) {
    if (strcmp(key, "shape") == 0) {
        lsm_push_shape(L, t->ndim, t->shape);
    } else if (strcmp(key, "dtype") == 0) {
        lua_pushstring(L, sm_dtype_name(t->dtype));
    } else if (strcmp(key, "ndim") == 0) {
        lua_pushinteger(L, t->ndim);
    } else if (strcmp(key, "requires_grad") == 0) {
        lua_pushboolean(L, t->requires_grad);
    } else if (strcmp(key, "is_leaf") == 0) {
        lua_pushboolean(L, t->node == NULL);
    } else if (strcmp(key, "grad") == 0) {
        if (t->grad)
            *lsm_push_box(L) = sm_tensor_ref(t->grad);
        else
            lua_pushnil(L);
    } else {
        return lsm_error(L, "a tensor has no field or method '%s'", key);
    }
    return 1;
}

/* Upvalue 1: the methods. They work on freed tensors only as far as to say so. */
static int l_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
            return 1;
        return property(L, lsm_check_tensor(L, 1), lua_tostring(L, 2));
    }
    lsm_check_tensor(L, 1);
    if (push_indexed(L))
        return 1;
    if (!lsm_to_tensor(L, 2))
        return lsm_error(L, "cannot index a tensor with a %s", luaL_typename(L, 2));
    lua_getfield(L, lua_upvalueindex(1), "index_select");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 3, 1);
    return 1;
}

/* ---- writing ---- */

void lsm_assign(lua_State *L, sm_tensor *dst, int arg, const char *what) {
    char to[SM_SHAPE_TEXT], from[SM_SHAPE_TEXT];
    int64_t shape[SM_MAX_DIMS];
    int ndim;
    if (lua_type(L, arg) == LUA_TNUMBER || lua_type(L, arg) == LUA_TBOOLEAN) {
        lsm_push_nested(L, arg, dst->dtype);
        lua_replace(L, arg);
    }
    sm_tensor *src = lsm_check_tensor(L, arg), *copy;
    lsm_check_change(L, dst, what);
    if (src->requires_grad && sm_grad_enabled())
        lsm_argerror(
            L, arg,
            lua_pushfstring(L,
                            "%s: the value requires a gradient, which a copy in place "
                            "would lose; use cat, stack or where, or detach it",
                            what));
    if (!sm_broadcast_shape(dst->ndim, dst->shape, src->ndim, src->shape, &ndim, shape) ||
        ndim != dst->ndim || memcmp(shape, dst->shape, (size_t)ndim * sizeof *shape) != 0)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "%s: shape %s does not fit into %s", what,
                                     sm_tensor_shape_text(from, src),
                                     sm_tensor_shape_text(to, dst)));
    if (src->storage != dst->storage) {
        sm_tensor_copy(dst, src);
        return;
    }
    sm_meta meta = sm_tensor_meta(src); /* they may overlap: by way of a copy */
    copy = lsm_push_tensor(L, &meta, false);
    sm_tensor_copy(copy, src);
    sm_tensor_copy(dst, copy);
    lua_pop(L, 1);
}

/* t.grad = nil or a tensor like t; t.requires_grad = boolean */
static int set_property(lua_State *L, sm_tensor *t, const char *key) {
    if (strcmp(key, "grad") == 0) {
        sm_tensor *grad = lsm_opt_tensor(L, 3);
        if (grad && (grad->dtype != SM_F32 || !sm_tensor_same_shape(grad, t)))
            return lsm_argerror(L, 3,
                                "a gradient must be float32 and of the tensor's shape");
        if (grad)
            sm_tensor_ref(grad);
        sm_tensor_unref(t->grad);
        t->grad = grad;
        return 0;
    }
    if (strcmp(key, "requires_grad") != 0)
        return lsm_error(L, "cannot set field '%s' of a tensor", key);
    luaL_checktype(L, 3, LUA_TBOOLEAN);
    lsm_require_grad(L, t, lua_toboolean(L, 3));
    return 0;
}

/* Pushes the view to write to, outside the graph: that of a detached alias of t in t's
 * place. */
static void push_target(lua_State *L, sm_tensor *t) {
    sm_error err;
    sm_tensor **box = lsm_push_box(L);
    if (sm_tensor_alias(t, box, &err) != SM_OK)
        lsm_error(L, "%s", err.message);
    lua_replace(L, 1);
    if (!push_indexed(L))
        lsm_error(L, "cannot assign to a tensor at a %s", luaL_typename(L, 2));
}

static int l_newindex(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING)
        return set_property(L, t, lua_tostring(L, 2));
    lsm_check_change(L, t, "assignment");
    push_target(L, t);
    lsm_assign(L, lsm_check_tensor(L, -1), 3, "assignment");
    return 0;
}

/* t:copy_(source): source (a tensor or number, broadcast and converted) into t. */
static int l_copy_(lua_State *L) {
    lsm_assign(L, lsm_check_tensor(L, 1), 2, "copy_");
    lua_settop(L, 1);
    return 1;
}

/* t:fill_(number) */
static int l_fill_(lua_State *L) {
    luaL_checknumber(L, 2);
    lsm_assign(L, lsm_check_tensor(L, 1), 2, "fill_");
    lua_settop(L, 1);
    return 1;
}

static int l_zero_(lua_State *L) {
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lsm_assign(L, lsm_check_tensor(L, 1), 2, "zero_");
    lua_settop(L, 1);
    return 1;
}

static const luaL_Reg methods[] = {
    {"copy_", l_copy_}, {"fill_", l_fill_}, {"zero_", l_zero_}, {NULL, NULL}};

void lsm_open_index(lua_State *L) {
    lsm_methods(L, methods);
    luaL_getmetatable(L, LSM_TENSOR);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lsm_methods_key);
    lua_pushcclosure(L, l_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 1);
}
