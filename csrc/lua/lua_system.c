/* lua_system.c: what Lua lacks and data sets need: a folder's listing, what a path is, a
 * clock that only goes forward, whether someone is watching; and idx files. */
#include <unistd.h>

#include "io/directory.h"
#include "io/idx.h"
#include "lua/lsm.h"

static const char *const kind_names[] = {"none", "file", "folder", "other"};

#define DIRECTORY "siamese.Directory"

static int directory_gc(lua_State *L) {
    sm_directory **box = lua_touserdata(L, 1);
    sm_directory_free(*box);
    *box = NULL;
    return 0;
}

/* list_folder(path): two tables, names (sorted) and kinds ("file", "folder", "other"); or
 * nil and a message. */
static int l_list_folder(lua_State *L) {
    const char *path = lsm_check_path(L, 1);
    sm_directory **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, DIRECTORY);
    sm_error err;
    sm_status status = sm_directory_list(path, box, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    const sm_directory *dir = *box;
    lua_createtable(L, (int)dir->count, 0);
    lua_createtable(L, (int)dir->count, 0);
    for (size_t i = 0; i < dir->count; i++) {
        lua_pushstring(L, dir->entries[i].name);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushstring(L, kind_names[dir->entries[i].kind]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* path_kind(path): "file", "folder", "other" or "none". */
static int l_path_kind(lua_State *L) {
    lua_pushstring(L, kind_names[sm_path_kind(lsm_check_path(L, 1))]);
    return 1;
}

/* load_idx(path, max_bytes): a uint8 tensor, or nil and a message. */
static int l_load_idx(lua_State *L) {
    const char *path = lsm_check_path(L, 1);
    lua_Integer max_bytes = luaL_optinteger(L, 2, (lua_Integer)1 << 30);
    lsm_argcheck(L, max_bytes > 0, 2, "max_bytes must be positive");
    sm_tensor **box = lsm_push_box(L);
    sm_error err;
    sm_status status = sm_idx_load(path, (size_t)max_bytes, box, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lsm_account(L, (*box)->storage->bytes);
    return 1;
}

/* isatty(stream): whether "stdout" (the default), "stderr" or "stdin" is a terminal. */
static int l_isatty(lua_State *L) {
    static const char *const names[] = {"stdin", "stdout", "stderr", NULL};
    lua_pushboolean(L, isatty(luaL_checkoption(L, 1, "stdout", names)));
    return 1;
}

/* clock(): seconds since some moment in the past, whatever happens to the time of day. */
static int l_clock(lua_State *L) {
    lua_pushnumber(L, lsm_clock());
    return 1;
}

static const luaL_Reg functions[] = {
    {"list_folder", l_list_folder}, {"path_kind", l_path_kind}, {"load_idx", l_load_idx},
    {"isatty", l_isatty},           {"clock", l_clock},         {NULL, NULL},
};

void lsm_open_system(lua_State *L) {
    luaL_newmetatable(L, DIRECTORY);
    lua_pushcfunction(L, directory_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lsm_functions(L, functions);
}
