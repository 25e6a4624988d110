/* lua_optim.c: the fused steps behind siamese.optim, in the table core.optim.
 *
 * A step takes a list of parameters and lists of state tensors that it fills as
 * parameters first get a gradient; parameters without one are skipped.
 */
#include <math.h>

#include "lua/state.h"
#include "ops/optim.h"

/* Parameter i of the list at 1, NULL if it has no gradient now. */
static sm_tensor *check_param(lua_State *L, lua_Integer i) {
    lua_rawgeti(L, 1, i);
    sm_tensor *t = lsm_to_tensor(L, -1);
    if (!t)
        lsm_error(L, "optim: parameter %I is no tensor, or has been freed",
                  (LUAI_UACINT)i);
    lua_pop(L, 1);
    if (!t->grad)
        return NULL;
    if (t->dtype != SM_F32 || t->node || !sm_tensor_is_contiguous(t))
        lsm_error(L, "optim: parameter %I must be a contiguous float32 leaf",
                  (LUAI_UACINT)i);
    if (!sm_tensor_is_contiguous(t->grad)) {
        sm_error err;
        sm_tensor *dense;
        if (sm_tensor_contiguous(t->grad, &dense, &err) != SM_OK)
            lsm_error(L, "%s", err.message);
        sm_tensor_unref(t->grad);
        t->grad = dense;
    }
    return t;
}

/* State tensor i of the list at `list`; a zero one is made if there is none. */
static sm_tensor *state_of(lua_State *L, int list, lua_Integer i,
                           const sm_tensor *param) {
    char have[SM_SHAPE_TEXT], want[SM_SHAPE_TEXT];
    if (lua_rawgeti(L, list, i) == LUA_TNIL) {
        sm_meta meta = sm_tensor_meta(param);
        lua_pop(L, 1);
        lsm_push_tensor(L, &meta, true);
        lua_pushvalue(L, -1);
        lua_rawseti(L, list, i);
    }
    sm_tensor *t = lsm_check_tensor(L, -1);
    lua_pop(L, 1);
    if (t->dtype != SM_F32 || !sm_tensor_same_shape(t, param) ||
        !sm_tensor_is_contiguous(t))
        lsm_error(L, "optim: the state of parameter %I is %s, the parameter %s",
                  (LUAI_UACINT)i, sm_tensor_shape_text(have, t),
                  sm_tensor_shape_text(want, param));
    return t;
}

/* Fills slots for the parameters that have a gradient: the list of parameters is argument
 * 1, of steps 2, of first and second states 3 and 4 (`states` of them are used). */
static sm_optim_slot *push_slots(lua_State *L, int states, int64_t *count) {
    for (int arg = 1; arg <= 4; arg++)
        luaL_checktype(L, arg, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    sm_optim_slot *slots = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *slots, 0);
    *count = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        sm_optim_slot slot = {.param = check_param(L, i)};
        if (!slot.param)
            continue;
        slot.grad = slot.param->grad;
        slot.m = states > 0 ? state_of(L, 3, i, slot.param) : NULL;
        slot.v = states > 1 ? state_of(L, 4, i, slot.param) : NULL;
        lua_rawgeti(L, 2, i);
        slot.step = lua_tointeger(L, -1) + 1;
        lua_pop(L, 1);
        lua_pushinteger(L, slot.step);
        lua_rawseti(L, 2, i);
        slots[(*count)++] = slot;
    }
    return slots;
}

/* optim.sgd(params, steps, momenta, {}, {lr =, momentum =, dampening =, weight_decay =,
 * nesterov =}) */
static int l_sgd(lua_State *L) {
    int64_t count;
    lua_settop(L, 5);
    sm_sgd o = {.lr = (float)lsm_opt_number_field(L, 5, "lr", 0),
                .momentum = (float)lsm_opt_number_field(L, 5, "momentum", 0),
                .dampening = (float)lsm_opt_number_field(L, 5, "dampening", 0),
                .weight_decay = (float)lsm_opt_number_field(L, 5, "weight_decay", 0),
                .nesterov = lsm_opt_boolean_field(L, 5, "nesterov", false)};
    sm_optim_slot *slots = push_slots(L, o.momentum != 0, &count);
    sm_sgd_step(&o, slots, count);
    return 0;
}

/* optim.adam(params, steps, means, squares,
 * {lr =, beta1 =, beta2 =, eps =, weight_decay =, decoupled =}) */
static int l_adam(lua_State *L) {
    int64_t count;
    lua_settop(L, 5);
    sm_adam o = {.lr = lsm_opt_number_field(L, 5, "lr", 0),
                 .beta1 = lsm_opt_number_field(L, 5, "beta1", 0.9),
                 .beta2 = lsm_opt_number_field(L, 5, "beta2", 0.999),
                 .eps = lsm_opt_number_field(L, 5, "eps", 1e-8),
                 .weight_decay = lsm_opt_number_field(L, 5, "weight_decay", 0),
                 .decoupled = lsm_opt_boolean_field(L, 5, "decoupled", false)};
    sm_optim_slot *slots = push_slots(L, 2, &count);
    sm_adam_step(&o, slots, count);
    return 0;
}

/* optim.grad_norm(params): the Euclidean norm of all their gradients together. */
static int l_grad_norm(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    sm_optim_slot *slots = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *slots, 0);
    int64_t count = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        sm_tensor *param = check_param(L, i);
        if (param)
            slots[count++] = (sm_optim_slot){.param = param, .grad = param->grad};
    }
    lua_pushnumber(L, sm_grad_norm(slots, count));
    return 1;
}

/* Tensor i of the list at `list`, dense float32. */
static sm_tensor *check_dense(lua_State *L, int list, lua_Integer i) {
    lua_rawgeti(L, list, i);
    sm_tensor *t = lsm_to_tensor(L, -1);
    if (!t || t->dtype != SM_F32 || !sm_tensor_is_contiguous(t))
        lsm_error(L, "lerp: item %I of list %d is no contiguous float32 tensor",
                  (LUAI_UACINT)i, list);
    lua_pop(L, 1);
    return t;
}

/* optim.lerp(averages, tensors, weight): averages += weight (tensors - averages) */
static int l_lerp(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    double weight = luaL_checknumber(L, 3);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    sm_optim_slot *slots = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *slots, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        sm_optim_slot slot = {.param = check_dense(L, 1, i),
                              .grad = check_dense(L, 2, i)};
        if (!sm_tensor_same_shape(slot.param, slot.grad))
            lsm_error(L, "lerp: the tensors %I differ in shape", (LUAI_UACINT)i);
        slots[i - 1] = slot;
    }
    sm_lerp_step(weight, slots, n);
    return 0;
}

static const luaL_Reg functions[] = {{"sgd", l_sgd},
                                     {"adam", l_adam},
                                     {"grad_norm", l_grad_norm},
                                     {"lerp", l_lerp},
                                     {NULL, NULL}};

void lsm_open_optim(lua_State *L) {
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "optim");
}
