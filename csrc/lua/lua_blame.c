/* lua_blame.c: errors, with the position that the user can do something about.
 *
 * A layer calls its op from a file of the library; the mistake is in the script that
 * called the layer. So an error that is raised below files of the library has the
 * position of the first caller that is none. */
#include <stdarg.h>
#include <string.h>

#include "lua/lsm.h"

static const char sources_key = 0; /* in the registry: what their sources begin with */

/* Finds the first level, from that of the C function's caller on, whose code is not the
 * library's; false where that is the caller itself, or nobody. */
static bool find_user(lua_State *L, lua_Debug *ar) {
    bool inside = false, found = false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sources_key);
    const char *own = lua_tostring(L, -1);
    for (int level = 1; own && !found && lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->currentline < 0)
            continue; /* C, such as pcall */
        found = strncmp(ar->source, own, strlen(own)) != 0;
        inside = inside || !found;
    }
    lua_pop(L, 1);
    return found && inside;
}

/* Raises the message on top of the stack. */
static int raise_as(lua_State *L, const lua_Debug *user) {
    lua_pushfstring(L, "%s:%d: %s", user->short_src, user->currentline,
                    lua_tostring(L, -1));
    return lua_error(L);
}

/* Pushes the message, led by the name of the running C function unless it has one. */
static void push_named(lua_State *L, const char *message) {
    lua_Debug ar;
    size_t word = strcspn(message, " ");
    bool named = word > 0 && message[word - 1] == ':';
    if (!named && lua_getstack(L, 0, &ar) && lua_getinfo(L, "n", &ar) && ar.name)
        lua_pushfstring(L, "%s: %s", ar.name, message);
    else
        lua_pushstring(L, message);
}

int lsm_argerror(lua_State *L, int arg, const char *message) {
    lua_Debug user;
    if (!find_user(L, &user))
        return luaL_argerror(L, arg, message);
    push_named(L, message);
    return raise_as(L, &user);
}

int lsm_typeerror(lua_State *L, int arg, const char *wanted) {
    lua_Debug user;
    if (!find_user(L, &user))
        return luaL_typeerror(L, arg, wanted);
    return lsm_argerror(
        L, arg, lua_pushfstring(L, "%s expected, got %s", wanted, luaL_typename(L, arg)));
}

int lsm_error(lua_State *L, const char *format, ...) {
    lua_Debug user;
    va_list values;
    va_start(values, format);
    lua_pushvfstring(L, format, values);
    va_end(values);
    if (find_user(L, &user))
        return raise_as(L, &user);
    return luaL_error(L, "%s", lua_tostring(L, -1));
}

/* raise(message): raises it at the first caller that is no file of the library. */
static int l_raise(lua_State *L) {
    return lsm_error(L, "%s", luaL_checkstring(L, 1));
}

/* own_sources(): the caller and the files beside and below it are the library's. */
static int l_own_sources(lua_State *L) {
    lua_Debug ar;
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "S", &ar)) {
        const char *end = strrchr(ar.source, '/');
        if (ar.source[0] == '@' && end) {
            lua_pushlstring(L, ar.source, (size_t)(end - ar.source) + 1);
            lua_rawsetp(L, LUA_REGISTRYINDEX, &sources_key);
        }
    }
    return 0;
}

static const luaL_Reg functions[] = {
    {"raise", l_raise}, {"own_sources", l_own_sources}, {NULL, NULL}};

void lsm_open_blame(lua_State *L) {
    lsm_functions(L, functions);
}
