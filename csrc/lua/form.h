/* form.h: a picture's form (image/reader.h) out of a table of options, for the bindings
 * that read pictures. */
#ifndef SM_LUA_FORM_H
#define SM_LUA_FORM_H

#include <lua.h>

#include "image/reader.h"

/* channels, dtype, invert, mode, height, width, max_width, max_height, max_bytes of the
 * table at arg; raises for what cannot be. */
sm_form lsm_check_form(lua_State *L, int arg);

#endif
