/* lua_io.c: writing safetensors files, as core.save_tensors; lua_load.c reads them.
 * lua/siamese/io.lua says what users see. */
#include "base/crc32.h"
#include "io/safetensors.h"
#include "io/stale.h"
#include "lua/state.h"
#include "ops/view.h"

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
    const char *path = lsm_check_path(L, 1);
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

/* remove_stale(path): how many parts of killed writers of this file were removed */
static int l_remove_stale(lua_State *L) {
    lua_pushinteger(L, sm_stale_remove(lsm_check_path(L, 1)));
    return 1;
}

/* checksum(string or contiguous tensor): CRC-32 of its bytes */
static int l_checksum(lua_State *L) {
    size_t size;
    const uint8_t *data;
    if (lua_type(L, 1) == LUA_TSTRING) {
        data = (const uint8_t *)lua_tolstring(L, 1, &size);
    } else {
        const sm_tensor *t = lsm_check_tensor(L, 1);
        luaL_argcheck(L, sm_tensor_is_contiguous(t), 1,
                      "checksum: the tensor must be contiguous");
        data = sm_tensor_data(t);
        size = (size_t)sm_tensor_numel(t) * sm_dtype_size(t->dtype);
    }
    lua_pushinteger(L, sm_crc32(data, size));
    return 1;
}

static const luaL_Reg functions[] = {{"save_tensors", l_save_tensors},
                                     {"remove_stale", l_remove_stale},
                                     {"checksum", l_checksum},
                                     {NULL, NULL}};

void lsm_open_io(lua_State *L) {
    lsm_functions(L, functions);
}
