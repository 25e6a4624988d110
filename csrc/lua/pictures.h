/* pictures.h: lists of picture files for the bindings that read them. */
#ifndef SM_LUA_PICTURES_H
#define SM_LUA_PICTURES_H

#include <lua.h>

#include "io/pictures.h"

#define LSM_PICTURES "siamese.Pictures"

/* The pictures at arg, owned by their userdata; NULL if it is something else. */
sm_pictures *lsm_to_pictures(lua_State *L, int arg);

#endif
