/* lua_io.c: writing safetensors files, as core.save_tensors, and others, as
 * core.write_file; lua_load.c reads the former. lua/siamese/io.lua says what users see.
 */
#include "base/crc32.h"
#include "io/durable.h"
#include "io/safetensors.h"
#include "io/stale.h"
#include "lua/state.h"
#include "ops/view.h"

/* A string without zero bytes at the top of the stack. */
static const char *plain_string(lua_State *L, int arg, const char *what) {
    size_t length;
    if (lua_type(L, -1) != LUA_TSTRING)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "%s must be a string, got a %s", what,
                                     luaL_typename(L, -1)));
    const char *s = lua_tolstring(L, -1, &length);
    for (size_t i = 0; i < length; i++)
        if (!s[i])
            lsm_argerror(L, arg, lua_pushfstring(L, "%s has a zero byte", what));
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

typedef struct piece {
    const void *data;
    size_t size;
} piece;

typedef struct pieces {
    const piece *list;
    lua_Integer count;
} pieces;

static bool write_pieces(FILE *file, const void *context) {
    const pieces *p = context;
    for (lua_Integer i = 0; i < p->count; i++)
        if (fwrite(p->list[i].data, 1, p->list[i].size, file) != p->list[i].size)
            return false;
    return true;
}

/* The bytes of a string or a contiguous tensor; false for anything else. */
static bool bytes_of(lua_State *L, int index, piece *p) {
    const sm_tensor *t = lsm_to_tensor(L, index);
    if (t && sm_tensor_is_contiguous(t)) {
        *p = (piece){sm_tensor_data(t),
                     (size_t)sm_tensor_numel(t) * sm_dtype_size(t->dtype)};
        return true;
    }
    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    p->data = lua_tolstring(L, index, &p->size);
    return true;
}

/* write_file(path, pieces): the bytes of strings and contiguous tensors one behind
 * another, a tensor's as they lie in memory, as a file that is there whole or not at all:
 * true; or nil, message */
static int l_write_file(lua_State *L) {
    sm_error err;
    const char *path = lsm_check_path(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    lua_settop(L, 2);
    piece *list = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *list, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        if (!bytes_of(L, -1, &list[i - 1]))
            lsm_argerror(L, 2,
                         lua_pushfstring(L,
                                         "write_file: piece %I is neither a string nor "
                                         "a contiguous tensor",
                                         (LUAI_UACINT)i));
        lua_pop(L, 1);
    }
    const pieces all = {list, n};
    if (sm_write_durably(path, write_pieces, &all, &err) != SM_OK)
        return lsm_push_failure(L, &err);
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
    piece p;
    lsm_argcheck(L, bytes_of(L, 1, &p), 1,
                 "checksum: neither a string nor a contiguous tensor");
    lua_pushinteger(L, sm_crc32(p.data, p.size));
    return 1;
}

static const luaL_Reg functions[] = {{"save_tensors", l_save_tensors},
                                     {"write_file", l_write_file},
                                     {"remove_stale", l_remove_stale},
                                     {"checksum", l_checksum},
                                     {NULL, NULL}};

void lsm_open_io(lua_State *L) {
    lsm_functions(L, functions);
}
