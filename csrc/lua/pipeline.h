/* pipeline.h: pipelines of augmentation for the bindings that run them. */
#ifndef SM_LUA_PIPELINE_H
#define SM_LUA_PIPELINE_H

#include "image/steps.h"
#include "lua/lsm.h"

#define LSM_PIPELINE "siamese.Pipeline"

/* The pipeline at arg, owned by its userdata (take a reference to keep it longer); an
 * argument error if it is something else. */
sm_pipeline *lsm_check_pipeline(lua_State *L, int arg);
/* Fills a step from the table at the top of the stack, raising where it has fields of the
 * wrong type; sm_pipeline_new checks their values. */
void lsm_read_step(lua_State *L, sm_step *step);

#endif
