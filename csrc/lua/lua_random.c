/* lua_random.c: the state's generator: manual_seed, rand, randn, randint, randperm. */
#include <math.h>

#include "lua/state.h"

/* manual_seed(n) */
static int l_manual_seed(lua_State *L) {
    sm_rng_seed(lsm_rng(L), (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

/* get_rng_state(): {key, counter}, two integers to be stored. */
static int l_get_rng_state(lua_State *L) {
    const int64_t words[] = {(int64_t)lsm_rng(L)->key, (int64_t)lsm_rng(L)->counter};
    lsm_push_shape(L, 2, words);
    return 1;
}

/* set_rng_state(state) */
static int l_set_rng_state(lua_State *L) {
    uint64_t words[2];
    luaL_checktype(L, 1, LUA_TTABLE);
    for (int k = 0; k < 2; k++) {
        int isnum;
        lua_rawgeti(L, 1, k + 1);
        words[k] = (uint64_t)lua_tointegerx(L, -1, &isnum);
        lsm_argcheck(L, isnum, 1, "expected a state of get_rng_state: two integers");
        lua_pop(L, 1);
    }
    *lsm_rng(L) = (sm_rng){words[0], words[1]};
    return 0;
}

/* Sizes from arg on, then {requires_grad = }; pushes an undefined float32 tensor. */
static sm_tensor *push_sized(lua_State *L, int arg) {
    static const char *const keys[] = {"requires_grad", NULL};
    sm_meta meta = {.dtype = SM_F32};
    int options = lsm_check_shape(L, arg, &meta.ndim, meta.shape);
    if (options == arg && !lua_isnoneornil(L, arg))
        lsm_typeerror(L, arg, "sizes");
    lsm_check_keys(L, options, keys);
    bool requires_grad = lsm_opt_boolean_field(L, options, "requires_grad", false);
    sm_tensor *t = lsm_push_tensor(L, &meta, false);
    t->requires_grad = requires_grad;
    return t;
}

static void fill_uniform(lua_State *L, sm_tensor *t, float low, float high) {
    if (!sm_shapes_only())
        sm_rng_fill_uniform(lsm_rng(L), sm_f32(t), sm_tensor_numel(t), low, high);
}

static void fill_normal(lua_State *L, sm_tensor *t, float mean, float std) {
    if (!sm_shapes_only())
        sm_rng_fill_normal(lsm_rng(L), sm_f32(t), sm_tensor_numel(t), mean, std);
}

/* rand(sizes...): uniform in [0, 1). */
static int l_rand(lua_State *L) {
    fill_uniform(L, push_sized(L, 1), 0, 1);
    return 1;
}

/* randn(sizes...): standard normal. */
static int l_randn(lua_State *L) {
    fill_normal(L, push_sized(L, 1), 0, 1);
    return 1;
}

static sm_tensor *check_fillable(lua_State *L, const char *what) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (t->dtype != SM_F32 || !sm_tensor_is_contiguous(t))
        lsm_error(L, "%s: needs a contiguous float32 tensor", what);
    lsm_check_change(L, t, what);
    sm_touch(t);
    return t;
}

/* t:uniform_([low = 0], [high = 1]) */
static int l_uniform_(lua_State *L) {
    float low = (float)luaL_optnumber(L, 2, 0), high = (float)luaL_optnumber(L, 3, 1);
    fill_uniform(L, check_fillable(L, "uniform_"), low, high);
    lua_settop(L, 1);
    return 1;
}

/* t:normal_([mean = 0], [std = 1]) */
static int l_normal_(lua_State *L) {
    float mean = (float)luaL_optnumber(L, 2, 0), std = (float)luaL_optnumber(L, 3, 1);
    lsm_argcheck(L, !(std < 0), 3,
                 "normal_: the standard deviation must not be negative");
    fill_normal(L, check_fillable(L, "normal_"), mean, std);
    lua_settop(L, 1);
    return 1;
}

/* randint(low, high, sizes...): int64, uniform over low..high, both included (as
 * math.random). */
static int l_randint(lua_State *L) {
    lua_Integer low = luaL_checkinteger(L, 1), high = luaL_checkinteger(L, 2);
    lsm_argcheck(L, low <= high, 2, "randint: high is below low");
    sm_meta meta = {.dtype = SM_I64};
    if (lsm_check_shape(L, 3, &meta.ndim, meta.shape) <= lua_gettop(L))
        lsm_typeerror(L, 3 + meta.ndim, "sizes");
    sm_tensor *t = lsm_push_tensor(L, &meta, false);
    uint64_t range = (uint64_t)high - (uint64_t)low + 1; /* 0: all of them */
    for (int64_t i = 0, n = sm_tensor_numel(t); i < n; i++) {
        uint64_t draw = range ? sm_rng_below(lsm_rng(L), range) : sm_rng_u64(lsm_rng(L));
        sm_i64(t)[i] = (int64_t)((uint64_t)low + draw);
    }
    return 1;
}

/* randperm(n): int64, a random order of 1..n (Fisher and Yates). */
static int l_randperm(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    lsm_argcheck(L, n >= 0, 1, "randperm: expected a number of elements");
    sm_meta meta = {.dtype = SM_I64, .ndim = 1, .shape = {n}};
    int64_t *p = sm_i64(lsm_push_tensor(L, &meta, false));
    for (int64_t i = 0; i < n; i++) {
        int64_t j = (int64_t)sm_rng_below(lsm_rng(L), (uint64_t)i + 1);
        p[i] = p[j];
        p[j] = i + 1;
    }
    return 1;
}

static const luaL_Reg functions[] = {{"manual_seed", l_manual_seed},
                                     {"get_rng_state", l_get_rng_state},
                                     {"set_rng_state", l_set_rng_state},
                                     {"rand", l_rand},
                                     {"randn", l_randn},
                                     {"randint", l_randint},
                                     {"randperm", l_randperm},
                                     {NULL, NULL}};

static const luaL_Reg methods[] = {
    {"uniform_", l_uniform_}, {"normal_", l_normal_}, {NULL, NULL}};

void lsm_open_random(lua_State *L) {
    lsm_functions(L, functions);
    lsm_methods(L, methods);
}
