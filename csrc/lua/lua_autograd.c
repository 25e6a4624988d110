/* lua_autograd.c: backward, detach, requires_grad, no_grad; shapes_only, work. */
#include "lua/state.h"

void lsm_require_grad(lua_State *L, sm_tensor *t, bool on) {
    if (on && t->dtype != SM_F32)
        lsm_error(L, "only float32 tensors can require a gradient, this one is %s",
                  sm_dtype_name(t->dtype));
    if (t->node && !on)
        lsm_error(
            L,
            "requires_grad of a tensor that is part of a graph cannot be switched off; "
            "use detach()");
    t->requires_grad = on;
}

/* t:requires_grad_([on = true]): returns t. */
static int l_requires_grad_(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lsm_require_grad(L, t, lua_isnoneornil(L, 2) || lua_toboolean(L, 2));
    lua_settop(L, 1);
    return 1;
}

/* t:detach(): the same memory, outside the graph. */
static int l_detach(lua_State *L) {
    sm_error err;
    sm_tensor **box = lsm_push_box(L);
    if (sm_tensor_alias(lsm_check_tensor(L, 1), box, &err) != SM_OK)
        return lsm_error(L, "%s", err.message);
    return 1;
}

/* t:backward([gradient], [{retain_graph = false}]): adds d(t)/d(leaf) into every leaf's
 * grad. */
static int l_backward(lua_State *L) {
    static const char *const keys[] = {"retain_graph", NULL};
    static const int args[] = {1, 2};
    sm_error err;
    lsm_tidy(L);
    sm_tensor *root = lsm_check_tensor(L, 1), *gradient = NULL;
    int options = lua_type(L, 2) == LUA_TTABLE ? 2 : 3;
    if (options == 3)
        gradient = lsm_opt_tensor(L, 2);
    lsm_check_keys(L, options, keys);
    bool retain = lsm_opt_boolean_field(L, options, "retain_graph", false);
    sm_status status = sm_backward(root, gradient, retain, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 2, args);
    return 0;
}

static int call_with(lua_State *L, bool (*set)(bool), bool on) {
    luaL_checkany(L, 1);
    bool was = set(on);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    set(was);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L);
}

/* no_grad(f, ...): f(...) without recording; returns its results. */
static int l_no_grad(lua_State *L) {
    return call_with(L, sm_set_grad_enabled, false);
}

/* enable_grad(f, ...): f(...) with recording, inside a no_grad. */
static int l_enable_grad(lua_State *L) {
    return call_with(L, sm_set_grad_enabled, true);
}

/* shapes_only(f, ...): f(...) without arithmetic, for the shapes that come out: float32
 * tensors made in it are zeros that occupy next to no memory. A network made in it has
 * its parameters' shapes, and takes neither time nor memory. */
static int l_shapes_only(lua_State *L) {
    return call_with(L, sm_set_shapes_only, true);
}

/* work(): what forwards have taken so far, two integers that go up: multiply-adds of
 * convolutions and products of matrices, and bytes that came out. */
static int l_work(lua_State *L) {
    sm_work_done done = sm_get_work();
    lua_pushinteger(L, (lua_Integer)done.multiply_adds);
    lua_pushinteger(L, (lua_Integer)done.bytes);
    return 2;
}

static int l_is_grad_enabled(lua_State *L) {
    lua_pushboolean(L, sm_grad_enabled());
    return 1;
}

/* set_grad_enabled(on): for a REPL; returns what was. */
static int l_set_grad_enabled(lua_State *L) {
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    lua_pushboolean(L, sm_set_grad_enabled(lua_toboolean(L, 1)));
    return 1;
}

static const luaL_Reg functions[] = {{"no_grad", l_no_grad},
                                     {"enable_grad", l_enable_grad},
                                     {"shapes_only", l_shapes_only},
                                     {"work", l_work},
                                     {"is_grad_enabled", l_is_grad_enabled},
                                     {"set_grad_enabled", l_set_grad_enabled},
                                     {NULL, NULL}};

static const luaL_Reg methods[] = {{"requires_grad_", l_requires_grad_},
                                   {"detach", l_detach},
                                   {"backward", l_backward},
                                   {NULL, NULL}};

void lsm_open_autograd(lua_State *L) {
    lsm_functions(L, functions);
    lsm_methods(L, methods);
}
