/* lua_pictures.c: archives and lists of picture files, in the table core.loading.
 * lua/siamese/data says what users see.
 *
 *     loading.archive(path)                    an archive; or nil, message
 *     archive:names()                          its entries' names, in order
 *     archive:read(name, max_bytes)            an entry as a string; or nil, message
 *     loading.pictures(paths, archives, form)  pictures; or nil, message
 *     #pictures, pictures:shape()              how many, and {C,H,W}
 *     pictures:cache(bytes)                    keeps that much of what is read
 */
#include "lua/pictures.h"

#include <string.h>

#include "base/mem.h"
#include "lua/form.h"
#include "lua/lsm.h"

#define ARCHIVE "siamese.Archive"

/* ---- forms ---- */

static bool field_is(lua_State *L, int arg, const char *key, const char *value) {
    lua_getfield(L, arg, key);
    const char *text = lua_tostring(L, -1);
    bool same = text && strcmp(text, value) == 0;
    lua_pop(L, 1);
    return same;
}

sm_form lsm_check_form(lua_State *L, int arg) {
    luaL_checktype(L, arg, LUA_TTABLE);
    sm_form f = {
        .channels = (int)lsm_opt_integer_field(L, arg, "channels", 1),
        .fill = field_is(L, arg, "dtype", "float32") ? SM_FILL_FLOATS : SM_FILL_BYTES,
        .invert = lsm_opt_boolean_field(L, arg, "invert", false),
        .height = lsm_opt_integer_field(L, arg, "height", 0),
        .width = lsm_opt_integer_field(L, arg, "width", 0),
        .mode = field_is(L, arg, "mode", "bilinear") ? SM_RESIZE_BILINEAR_ANTIALIAS
                                                     : SM_RESIZE_AREA,
        .limits = {lsm_opt_integer_field(L, arg, "max_width", 16384),
                   lsm_opt_integer_field(L, arg, "max_height", 16384),
                   lsm_opt_integer_field(L, arg, "max_bytes", 256 << 20)}};
    lsm_argcheck(L, f.channels == 1 || f.channels == 3, arg, "channels must be 1 or 3");
    lsm_argcheck(L,
                 f.height >= 0 && f.width >= 0 && f.height <= SM_FORM_SIDE &&
                     f.width <= SM_FORM_SIDE && (f.height == 0) == (f.width == 0),
                 arg, "a size must be from 1 to 65536");
    lsm_argcheck(L, f.limits.bytes >= 0, arg, "max_bytes must not be negative");
    return f;
}

/* A string without zero bytes at `index`; `what` opens the message. */
static const char *plain_string(lua_State *L, int index, int arg, const char *what,
                                lua_Integer i) {
    size_t length;
    if (lua_type(L, index) != LUA_TSTRING)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "%s %I is a %s, expected a string", what,
                                     (LUAI_UACINT)i, luaL_typename(L, index)));
    const char *s = lua_tolstring(L, index, &length);
    if (memchr(s, 0, length))
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "%s %I has a zero byte", what, (LUAI_UACINT)i));
    return s;
}

/* ---- archives ---- */

static sm_archive *check_archive(lua_State *L, int arg) {
    sm_archive **box = luaL_checkudata(L, arg, ARCHIVE);
    lsm_argcheck(L, *box, arg, "the archive has been closed");
    return *box;
}

/* loading.archive(path) */
static int l_archive(lua_State *L) {
    sm_error err;
    luaL_checkstring(L, 1);
    const char *path = plain_string(L, 1, 1, "path", 1);
    sm_archive **box = lua_newuserdatauv(L, sizeof(sm_archive *), 0);
    *box = NULL;
    luaL_setmetatable(L, ARCHIVE);
    sm_status status = sm_archive_open(path, box, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    return status == SM_OK ? 1 : lsm_raise(L, status, &err, 0, NULL);
}

static int archive_gc(lua_State *L) {
    sm_archive **box = luaL_checkudata(L, 1, ARCHIVE);
    sm_archive_unref(*box);
    *box = NULL;
    return 0;
}

static int archive_names(lua_State *L) {
    const sm_archive *a = check_archive(L, 1);
    const size_t n = sm_archive_count(a);
    lua_createtable(L, (int)(n < 1 << 24 ? n : 1 << 24), 0);
    for (size_t i = 0; i < n; i++) {
        const sm_zip_entry *e = sm_archive_entry(a, i);
        lua_pushlstring(L, e->name, e->name_size);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* A block of sm_alloc that is freed whatever happens. */
static int block_gc(lua_State *L) {
    void **box = lua_touserdata(L, 1);
    sm_free(*box);
    *box = NULL;
    return 0;
}

static uint8_t **push_block(lua_State *L) {
    uint8_t **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    if (luaL_newmetatable(L, "siamese.block")) {
        lua_pushcfunction(L, block_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return box;
}

/* archive:read(name, max_bytes) */
static int archive_read(lua_State *L) {
    sm_error err;
    size_t length, size = 0;
    const char *name = luaL_checklstring(L, 2, &length);
    lua_Integer max_bytes = luaL_optinteger(L, 3, 256 << 20);
    lsm_argcheck(L, max_bytes >= 0, 3, "max_bytes must not be negative");
    uint8_t **block = push_block(L);
    const sm_archive *a = check_archive(L, 1);
    const sm_zip_entry *e = sm_archive_find(a, name, length);
    if (!e) {
        luaL_pushfail(L);
        lua_pushfstring(L, "%s/%s: there is no such entry in the archive",
                        sm_archive_path(a), name);
        return 2;
    }
    sm_status status = sm_archive_read(a, e, (size_t)max_bytes, block, &size, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_pushlstring(L, (const char *)*block, size);
    sm_free(*block);
    *block = NULL;
    return 1;
}

/* ---- pictures ---- */

sm_pictures *lsm_to_pictures(lua_State *L, int arg) {
    sm_pictures **box = luaL_testudata(L, arg, LSM_PICTURES);
    return box ? *box : NULL;
}

static sm_pictures *check_pictures(lua_State *L, int arg) {
    sm_pictures *p = lsm_to_pictures(L, arg);
    if (!p)
        lsm_typeerror(L, arg, "list of pictures");
    return p;
}

static int pictures_gc(lua_State *L) {
    sm_pictures **box = luaL_checkudata(L, 1, LSM_PICTURES);
    sm_pictures_unref(*box);
    *box = NULL;
    return 0;
}

/* Pushes a block with the strings of the list at 1, which keeps them alive. */
static const char **push_paths(lua_State *L, int64_t *n) {
    luaL_checktype(L, 1, LUA_TTABLE);
    *n = (int64_t)lua_rawlen(L, 1);
    const char **paths = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *paths, 0);
    for (int64_t i = 0; i < *n; i++) {
        lua_rawgeti(L, 1, i + 1);
        if (lua_type(L, -1) == LUA_TNUMBER) /* converting it would not outlive the pop */
            lsm_argerror(L, 1, "a path is a number, expected a string");
        paths[i] = plain_string(L, -1, 1, "path", (lua_Integer)i + 1);
        lua_pop(L, 1);
    }
    return paths;
}

static sm_archive **push_archives(lua_State *L, int *n) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Unsigned count = lua_rawlen(L, 2);
    lsm_argcheck(L, count <= 1000, 2, "at most 1000 archives");
    *n = (int)count;
    sm_archive **list = lua_newuserdatauv(L, (count + 1) * sizeof(sm_archive *), 0);
    for (int i = 0; i < *n; i++) {
        lua_rawgeti(L, 2, i + 1);
        sm_archive **box = luaL_testudata(L, -1, ARCHIVE);
        lsm_argcheck(L, box && *box, 2, "expected a list of open archives");
        list[i] = *box;
        lua_pop(L, 1);
    }
    return list;
}

/* loading.pictures(paths, archives, form): form.any_size leaves the size open */
static int l_pictures(lua_State *L) {
    sm_error err;
    int64_t n;
    int archive_count;
    lua_settop(L, 3);
    sm_form form = lsm_check_form(L, 3);
    bool any_size = lsm_opt_boolean_field(L, 3, "any_size", false);
    const char **paths = push_paths(L, &n);
    sm_pictures **box = lua_newuserdatauv(L, sizeof(sm_pictures *), 0);
    *box = NULL;
    luaL_setmetatable(L, LSM_PICTURES);
    sm_archive **archives = push_archives(L, &archive_count);
    sm_status status =
        sm_pictures_new(&form, paths, n, archives, archive_count, box, &err);
    if (status == SM_OK && !any_size)
        status = sm_pictures_settle(*box, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_pop(L, 1);
    return 1;
}

static int pictures_len(lua_State *L) {
    lua_pushinteger(L, sm_pictures_count(check_pictures(L, 1)));
    return 1;
}

/* pictures:shape(): {C,H,W}; nil where they may have any size */
static int pictures_shape(lua_State *L) {
    const sm_form *form = sm_pictures_form(check_pictures(L, 1));
    const int64_t shape[] = {form->channels, form->height, form->width};
    if (!form->height)
        lua_pushnil(L);
    else
        lsm_push_shape(L, 3, shape);
    return 1;
}

static int pictures_dtype(lua_State *L) {
    const sm_form *form = sm_pictures_form(check_pictures(L, 1));
    lua_pushstring(L, form->fill == SM_FILL_BYTES ? "uint8" : "float32");
    return 1;
}

/* pictures:cache(bytes): the most that is kept of what is read; returns what is now. */
static int pictures_cache(lua_State *L) {
    sm_pictures *p = check_pictures(L, 1);
    lua_Integer bytes = luaL_checkinteger(L, 2);
    lsm_argcheck(L, bytes >= 0, 2, "expected a number of bytes");
    sm_pictures_cache(p, (size_t)bytes);
    lua_pushinteger(L, (lua_Integer)sm_pictures_cached(p));
    return 1;
}

static const luaL_Reg archive_methods[] = {
    {"names", archive_names}, {"read", archive_read}, {NULL, NULL}};

static const luaL_Reg pictures_methods[] = {{"shape", pictures_shape},
                                            {"dtype", pictures_dtype},
                                            {"cache", pictures_cache},
                                            {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"archive", l_archive}, {"pictures", l_pictures}, {NULL, NULL}};

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction gc, lua_CFunction len) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    if (len) {
        lua_pushcfunction(L, len);
        lua_setfield(L, -2, "__len");
    }
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

void lsm_open_pictures(lua_State *L) {
    make_class(L, ARCHIVE, archive_methods, archive_gc, NULL);
    make_class(L, LSM_PICTURES, pictures_methods, pictures_gc, pictures_len);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "loading");
}
