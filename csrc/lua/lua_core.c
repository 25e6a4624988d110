/* lua_core.c: luaopen_siamese_core puts the module together. */
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/gemm.h"
#include "lua/state.h"

const char lsm_state_key = 0, lsm_methods_key = 0;

#pragma weak lsm_open_math
#pragma weak lsm_open_reduce
#pragma weak lsm_open_gather
#pragma weak lsm_open_nn
#pragma weak lsm_open_layers
#pragma weak lsm_open_sequence
#pragma weak lsm_open_loss
#pragma weak lsm_open_optim
#pragma weak lsm_open_image
#pragma weak lsm_open_augment
#pragma weak lsm_open_io
#pragma weak lsm_open_load
#pragma weak lsm_open_generator
#pragma weak lsm_open_system
#pragma weak lsm_open_metrics
#pragma weak lsm_open_matrix_loss
#pragma weak lsm_open_mining
#pragma weak lsm_open_pictures
#pragma weak lsm_open_loader
#pragma weak lsm_open_trace
#pragma weak lsm_open_blame

static void (*const openers[])(lua_State *L) = {
    lsm_open_tensor,   lsm_open_view,     lsm_open_index,     lsm_open_print,
    lsm_open_autograd, lsm_open_random,   lsm_open_math,      lsm_open_reduce,
    lsm_open_gather,   lsm_open_nn,       lsm_open_layers,    lsm_open_sequence,
    lsm_open_loss,     lsm_open_optim,    lsm_open_image,     lsm_open_augment,
    lsm_open_io,       lsm_open_load,     lsm_open_generator, lsm_open_system,
    lsm_open_metrics,  lsm_open_pictures, lsm_open_loader,    lsm_open_matrix_loss,
    lsm_open_mining,   lsm_open_trace,    lsm_open_blame,
};

lsm_state *lsm_get_state(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lsm_state_key);
    lsm_state *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return state;
}

struct sm_rng *lsm_rng(lua_State *L) {
    return &lsm_get_state(L)->rng;
}

/* set_threads(n): threads that the core uses; returns the number in use. */
static int l_set_threads(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    lsm_argcheck(L, n >= 1 && n <= SM_MAX_THREADS, 1, "expected 1 to 256 threads");
    lua_pushinteger(L, sm_set_threads((int)n));
    return 1;
}

static int l_get_threads(lua_State *L) {
    lua_pushinteger(L, sm_threads());
    return 1;
}

static void set_count(lua_State *L, const char *key, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

/* memory(): bytes live, peak and cached, and the limit of the first; allocations so far
 * and how many asked the system. */
static int l_memory(lua_State *L) {
    sm_mem_stats stats;
    sm_mem_get_stats(&stats);
    lua_createtable(L, 0, 6);
    set_count(L, "live", stats.live);
    set_count(L, "peak", stats.peak);
    set_count(L, "cached", stats.cached);
    set_count(L, "limit", stats.limit < INT64_MAX ? stats.limit : INT64_MAX);
    set_count(L, "allocs", stats.allocs);
    set_count(L, "system_calls", stats.system_calls);
    return 1;
}

static int l_reset_peak_memory(lua_State *L) {
    (void)L;
    sm_mem_reset_peak();
    return 0;
}

/* set_memory_limit(bytes): allocations that would pass it raise; 0: what the machine has.
 */
static int l_set_memory_limit(lua_State *L) {
    lua_Integer bytes = luaL_checkinteger(L, 1);
    lsm_argcheck(L, bytes >= 0, 1, "expected a number of bytes, 0 for no limit");
    sm_mem_set_limit((size_t)bytes);
    return 0;
}

/* empty_cache(): gives cached memory back to the system. */
static int l_empty_cache(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    sm_mem_trim();
    return 0;
}

static int l_isa(lua_State *L) {
    lua_pushstring(L, sm_isa_name(sm_cpu_isa()));
    return 1;
}

/* set_isa(name): uses that path or the best below it that the machine has; returns its
 * name. */
static int l_set_isa(lua_State *L) {
    int isa = sm_isa_by_name(luaL_checkstring(L, 1));
    lsm_argcheck(L, isa >= 0, 1, "expected 'ref', 'avx2' or 'avx512'");
    lua_pushstring(L, sm_isa_name(sm_cpu_force((sm_isa)isa)));
    return 1;
}

static const luaL_Reg functions[] = {{"set_threads", l_set_threads},
                                     {"get_threads", l_get_threads},
                                     {"memory", l_memory},
                                     {"reset_peak_memory", l_reset_peak_memory},
                                     {"set_memory_limit", l_set_memory_limit},
                                     {"empty_cache", l_empty_cache},
                                     {"isa", l_isa},
                                     {"set_isa", l_set_isa},
                                     {NULL, NULL}};

static void make_state(lua_State *L) {
    lsm_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    *state = (lsm_state){0};
    state->trace_first = state->trace_next = 1;
    sm_rng_seed(&state->rng, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lsm_state_key);
}

int luaopen_siamese_core(lua_State *L);

__attribute__((visibility("default"))) int luaopen_siamese_core(lua_State *L) {
    sm_error err;
    luaL_checkversion(L);
    if (sm_cpu_init(&err) != SM_OK)
        return lsm_error(L, "%s", err.message);
    sm_gemm_init();
    sm_graph_init();
    make_state(L);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lsm_methods_key);
    luaL_newmetatable(L, LSM_TENSOR);
    lua_pop(L, 1);
    lua_newtable(L);
    lsm_functions(L, functions);
    lua_newtable(L);
    lua_setfield(L, -2, "F");
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++)
        if (openers[i])
            openers[i](L);
    return 1;
}
