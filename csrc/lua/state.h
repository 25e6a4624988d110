/* state.h: what the bindings keep for one Lua state, and what only the tensor bindings
 * share. */
#ifndef SM_LUA_STATE_H
#define SM_LUA_STATE_H

#include "base/rng.h"
#include "lua/lsm.h"

typedef struct lsm_state {
    size_t pending;      /* bytes counted since the collector's last step */
    size_t after_full;   /* live bytes after the last full collection of ours */
    double collected_at; /* when that was, in seconds, */
    double collect_cost; /* and how long it took */
    bool collecting;     /* inside a step of ours: finalizers run */
    bool tracing;        /* inside core.trace, and not in its callback */
    uint64_t trace_first, trace_next; /* numbers of the trace's values */
    sm_rng rng;
} lsm_state;

/* Registry keys: their addresses count. */
extern const char lsm_state_key, lsm_methods_key;

lsm_state *lsm_get_state(lua_State *L);

/* Pushes a tensor made from a number, a boolean or a nested table at arg. */
sm_tensor *lsm_push_nested(lua_State *L, int arg, sm_dtype dtype);
/* Pushes one element as a number. */
void lsm_push_element(lua_State *L, const sm_tensor *t, int64_t at);
/* Copies the number or tensor at `arg` into dst (broadcast, converted), checking that it
 * may. */
void lsm_assign(lua_State *L, sm_tensor *dst, int arg, const char *what);

/* For a trace (lua_trace.c), which is no trace of what leaves the tensors: raises where
 * one that is part of it is changed in place, */
void lsm_check_change(lua_State *L, const sm_tensor *t, const char *what);
/* tells it of values that `what` reads into Lua, */
void lsm_note_read(lua_State *L, const sm_tensor *t, const char *what);
/* and of an op: the first pushes a table that holds the operands, the second takes it. */
void lsm_trace_hold(lua_State *L, int n, sm_tensor *const *in);
void lsm_trace_op(lua_State *L, const sm_op *op, int n, sm_tensor *const *in,
                  const void *params, sm_tensor ***out);

/* Switches requires_grad of a leaf; raises for other tensors. */
void lsm_require_grad(lua_State *L, sm_tensor *t, bool on);

#endif
