/* lua_generator.c: siamese.Generator, a random stream of one's own.
 *
 * Samplers and augmentation draw from one of these, so that they repeat whatever else
 * draws from the generator behind siamese.manual_seed. Without a seed it takes one from
 * there.
 *
 *     local g = siamese.Generator(7)
 *     g:random(6)        an integer in 1..6             g:uniform()       a number in [0,
 * 1) g:normal()         mean 0, deviation 1            g:permutation(5)  1..5 in random
 * order, int64 g:sample(20, 5)    a table of 5 different integers in 1..20, in random
 * order g:shuffle(list)    shuffles a table in place and returns it g:stream(3)        an
 * independent generator, number 3 of this one; g itself does not move g:get_state()
 * {key=, counter=}               g:set_state(state)
 */
#include "base/rng.h"
#include "lua/generator.h"
#include "lua/lsm.h"

sm_rng *lsm_check_generator(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, LSM_GENERATOR);
}

sm_rng *lsm_push_generator(lua_State *L) {
    sm_rng *rng = lua_newuserdatauv(L, sizeof *rng, 0);
    luaL_setmetatable(L, LSM_GENERATOR);
    return rng;
}

static int l_generator(lua_State *L) {
    uint64_t seed = lua_isnoneornil(L, 1) ? sm_rng_u64(lsm_rng(L))
                                          : (uint64_t)luaL_checkinteger(L, 1);
    sm_rng_seed(lsm_push_generator(L), seed);
    return 1;
}

/* A count at arg in [least, most]. */
static lua_Integer check_count(lua_State *L, int arg, lua_Integer least,
                               lua_Integer most) {
    lua_Integer n = luaL_checkinteger(L, arg);
    if (n < least || n > most)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "expected an integer from %I to %I, got %I",
                                     (LUAI_UACINT)least, (LUAI_UACINT)most,
                                     (LUAI_UACINT)n));
    return n;
}

static int l_random(lua_State *L) {
    sm_rng *rng = lsm_check_generator(L, 1);
    lua_Integer n = check_count(L, 2, 1, LUA_MAXINTEGER);
    lua_pushinteger(L, (lua_Integer)sm_rng_below(rng, (uint64_t)n) + 1);
    return 1;
}

static int l_uniform(lua_State *L) {
    lua_pushnumber(L, sm_rng_uniform(lsm_check_generator(L, 1)));
    return 1;
}

static int l_normal(lua_State *L) {
    lua_pushnumber(L, sm_rng_normal(lsm_check_generator(L, 1)));
    return 1;
}

static int l_permutation(lua_State *L) {
    sm_rng *rng = lsm_check_generator(L, 1);
    const sm_meta meta = {.dtype = SM_I64,
                          .ndim = 1,
                          .shape = {check_count(L, 2, 0, (lua_Integer)1 << 40)}};
    sm_tensor *t = lsm_push_tensor(L, &meta, false);
    int64_t *values = sm_i64(t);
    for (int64_t i = 0; i < meta.shape[0]; i++) { /* Durstenfeld's shuffle, inside out */
        int64_t j = (int64_t)sm_rng_below(rng, (uint64_t)i + 1);
        values[i] = values[j];
        values[j] = i + 1;
    }
    return 1;
}

/* Floyd's sampling (Bentley, Floyd 1987) draws k of n without a table of n; inserting
 * each new number at a random place makes the order random too. */
static int l_sample(lua_State *L) {
    sm_rng *rng = lsm_check_generator(L, 1);
    lua_Integer n = check_count(L, 2, 0, (lua_Integer)1 << 52);
    lua_Integer k = check_count(L, 3, 0, n < 1 << 28 ? n : 1 << 28);
    lua_createtable(L, (int)k, 0); /* the answer */
    lua_newtable(L);               /* what has been taken */
    int list = lua_gettop(L) - 1, taken = list + 1;
    for (lua_Integer i = n - k + 1, count = 0; i <= n; i++, count++) {
        lua_Integer value = (lua_Integer)sm_rng_below(rng, (uint64_t)i) + 1;
        if (lua_rawgeti(L, taken, value) != LUA_TNIL)
            value = i;
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        lua_rawseti(L, taken, value);
        lua_Integer place = (lua_Integer)sm_rng_below(rng, (uint64_t)count + 1) + 1;
        lua_rawgeti(L, list, place);
        lua_rawseti(L, list, count + 1);
        lua_pushinteger(L, value);
        lua_rawseti(L, list, place);
    }
    lua_settop(L, list);
    return 1;
}

static int l_shuffle(lua_State *L) {
    sm_rng *rng = lsm_check_generator(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, 2); i > 1; i--) {
        lua_Integer j = (lua_Integer)sm_rng_below(rng, (uint64_t)i) + 1;
        lua_rawgeti(L, 2, i);
        lua_rawgeti(L, 2, j);
        lua_rawseti(L, 2, i);
        lua_rawseti(L, 2, j);
    }
    lua_settop(L, 2);
    return 1;
}

static int l_stream(lua_State *L) {
    const sm_rng *rng = lsm_check_generator(L, 1);
    uint64_t number = (uint64_t)luaL_checkinteger(L, 2);
    *lsm_push_generator(L) = sm_rng_stream(rng, number);
    return 1;
}

static int l_get_state(lua_State *L) {
    const sm_rng *rng = lsm_check_generator(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)rng->key);
    lua_setfield(L, -2, "key");
    lua_pushinteger(L, (lua_Integer)rng->counter);
    lua_setfield(L, -2, "counter");
    return 1;
}

static int l_set_state(lua_State *L) {
    sm_rng *rng = lsm_check_generator(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    int key_ok, counter_ok;
    lua_getfield(L, 2, "key");
    lua_getfield(L, 2, "counter");
    sm_rng state = {(uint64_t)lua_tointegerx(L, -2, &key_ok),
                    (uint64_t)lua_tointegerx(L, -1, &counter_ok)};
    lsm_argcheck(L, key_ok && counter_ok, 2,
                 "expected a state {key=, counter=} of get_state()");
    *rng = state;
    return 0;
}

static int l_tostring(lua_State *L) {
    const sm_rng *rng = lsm_check_generator(L, 1);
    lua_pushfstring(L, "Generator: key %I, counter %I", (LUAI_UACINT)rng->key,
                    (LUAI_UACINT)rng->counter);
    return 1;
}

static const luaL_Reg methods[] = {
    {"random", l_random},
    {"uniform", l_uniform},
    {"normal", l_normal},
    {"sample", l_sample},
    {"shuffle", l_shuffle},
    {"permutation", l_permutation},
    {"stream", l_stream},
    {"get_state", l_get_state},
    {"set_state", l_set_state},
    {"__tostring", l_tostring},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {{"Generator", l_generator}, {NULL, NULL}};

void lsm_open_generator(lua_State *L) {
    luaL_newmetatable(L, LSM_GENERATOR);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
    lsm_functions(L, functions);
}
