/* metrics.h: what the bindings of evaluation and calibration share, in the table
 * core.evaluation. */
#ifndef SM_LUA_METRICS_H
#define SM_LUA_METRICS_H

#include "kernels/roc.h"
#include "lua/lsm.h"

/* Room for count items of size bytes, pushed; contents undefined. The collector takes it
 * back. */
void *lsm_push_scratch(lua_State *L, int64_t count, size_t size);
/* Sets a field of the table at the top. */
void lsm_set_number(lua_State *L, const char *name, double value);
void lsm_set_integer(lua_State *L, const char *name, int64_t value);

/* Argument 1, distances [P] float32, and 2, same [P] of 0 and 1, as pairs in memory that
 * is pushed. Raises for no pairs, other shapes, NaN and -inf (nothing is closer than
 * that). */
sm_scored *lsm_check_scored(lua_State *L, int64_t *count);
/* The same, sorted by distance. */
sm_scored *lsm_check_sorted(lua_State *L, int64_t *count);

/* Openers of the files that add to core.evaluation; called with it at the top. */
void lsm_open_pairwise(lua_State *L);
void lsm_open_calibrate(lua_State *L);

#endif
