/* lua_io.c: safetensors files, as core.load_tensors and core.save_tensors;
 * lua/siamese/io.lua says what users see. */
#include "io/safetensors.h"
#include "lua/state.h"
#include "ops/view.h"

static int file_gc(lua_State *L) {
    sm_st_close(lua_touserdata(L, 1));
    return 0;
}

static sm_st_file *push_file(lua_State *L) {
    sm_st_file *file = lua_newuserdatauv(L, sizeof *file, 0);
    *file = (sm_st_file){0};
    if (luaL_newmetatable(L, "siamese.safetensors")) {
        lua_pushcfunction(L, file_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return file;
}

/* load_tensors(path): names in the file's order, tensors by name, metadata; or nil,
 * message */
static int l_load_tensors(lua_State *L) {
    sm_error err;
    const char *path = luaL_checkstring(L, 1);
    sm_st_file *file = push_file(L);
    sm_status status = sm_st_open(path, file, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_newtable(L);
    lua_newtable(L);
    for (int64_t i = 0; i < file->count; i++) {
        const sm_st_entry *e = &file->entries[i];
        sm_meta meta = {.dtype = sm_st_target(e->dtype), .ndim = e->ndim};
        for (int d = 0; d < e->ndim; d++)
            meta.shape[d] = e->shape[d];
        lua_pushstring(L, e->name);
        lua_rawseti(L, -3, i + 1);
        sm_st_convert(e, sm_tensor_data(lsm_push_tensor(L, &meta, false)));
        lua_setfield(L, -2, e->name);
    }
    lua_newtable(L);
    for (int64_t i = 0; i < file->metadata_count; i++) {
        lua_pushstring(L, file->metadata[i].value);
        lua_setfield(L, -2, file->metadata[i].key);
    }
    sm_st_close(file);
    return 3;
}

/* A string without zero bytes at the top of the stack. */
static const char *plain_string(lua_State *L, int arg, const char *what) {
    size_t length;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "%s must be a string, got a %s", what,
                                      luaL_typename(L, -1)));
    const char *s = lua_tolstring(L, -1, &length);
    for (size_t i = 0; i < length; i++)
        if (!s[i])
            luaL_argerror(L, arg, lua_pushfstring(L, "%s has a zero byte", what));
    return s;
}

/* save_tensors(path, names, tensors, metadata keys, metadata values): true; or nil,
 * message */
static int l_save_tensors(lua_State *L) {
    sm_error err;
    const char *path = luaL_checkstring(L, 1);
    for (int arg = 2; arg <= 5; arg++)
        luaL_checktype(L, arg, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2), m = (lua_Integer)lua_rawlen(L, 4);
    const sm_tensor **tensors =
        lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *tensors, 0);
    const char **names = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *names, 0);
    sm_st_text *metadata = lua_newuserdatauv(L, (size_t)(m + 1) * sizeof *metadata, 0);
    lua_createtable(L, (int)n, 0); /* keeps dense copies alive */
    int copies = lua_gettop(L);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        names[i - 1] = plain_string(L, 2, "a name");
        lua_pop(L, 1);
        lua_rawgeti(L, 3, i);
        sm_tensor *t = lsm_check_tensor(L, -1);
        if (!sm_tensor_is_contiguous(t)) {
            int at = lua_gettop(L);
            const sm_copy_params params = {t->dtype};
            lsm_apply(L, &sm_op_copy, 1, &at, &params);
            t = lsm_check_tensor(L, -1);
        }
        tensors[i - 1] = t;
        lua_rawseti(L, copies, i);
        lua_settop(L, copies);
    }
    for (lua_Integer i = 1; i <= m; i++) {
        lua_rawgeti(L, 4, i);
        metadata[i - 1].key = plain_string(L, 4, "a metadata key");
        lua_rawgeti(L, 5, i);
        metadata[i - 1].value = plain_string(L, 5, "a metadata value");
        lua_pop(L, 2);
    }
    sm_status status = sm_st_write(path, tensors, names, n, metadata, m, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"load_tensors", l_load_tensors}, {"save_tensors", l_save_tensors}, {NULL, NULL}};

void lsm_open_io(lua_State *L) {
    lsm_functions(L, functions);
}
