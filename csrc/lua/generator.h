/* generator.h: siamese.Generator for the other bindings that draw random numbers. */
#ifndef SM_LUA_GENERATOR_H
#define SM_LUA_GENERATOR_H

#include <lua.h>

#include "base/rng.h"

#define LSM_GENERATOR "siamese.Generator"

/* The generator at arg, owned by its userdata; an argument error if it is something else.
 */
sm_rng *lsm_check_generator(lua_State *L, int arg);
/* Pushes a new one, to be filled. */
sm_rng *lsm_push_generator(lua_State *L);

#endif
