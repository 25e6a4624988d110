/* lua_load.c: reading files of weights, as core.load_tensors; lua/siamese/io.lua says
 * what users see.
 *
 * A file is opened and checked whole, then its values become Lua's. Tensors are read then
 * and there, or, where that is wanted, stand in the tables as "stored tensors", which
 * know their shape and are read one at a time: so weights go into a network that is in
 * memory already with one tensor on the way, not all of them twice. */
#include <string.h>

#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "lua/state.h"

#define WEIGHTS "siamese.WeightsFile"
#define STORED "siamese.StoredTensor"

typedef struct weights_file {
    sm_mapped mapped;
    sm_st_file tensors;       /* of a safetensors file */
    sm_checkpoint checkpoint; /* of a PyTorch one; its value is NULL for the other */
} weights_file;

typedef struct stored {
    const weights_file *file; /* the user value keeps it */
    const sm_blob *blob;
    int ndim;
    int64_t shape[SM_MAX_DIMS], stride[SM_MAX_DIMS];
    int64_t offset;
} stored;

/* What the conversion of one file needs everywhere: stack indices, mostly. */
typedef struct reading {
    weights_file *file;
    int file_at, ordered_at; /* the file's box; the function that makes ordered tables */
    int values_at;           /* values that were made, by id + 1 */
    int storages_at;         /* storages that were read, by number + 1 */
    bool lazily;
} reading;

/* ---- the file ---- */

static void close_file(weights_file *file) {
    sm_checkpoint_close(&file->checkpoint);
    sm_st_close(&file->tensors);
    sm_mapped_close(&file->mapped);
}

static int file_close(lua_State *L) {
    close_file(luaL_checkudata(L, 1, WEIGHTS));
    return 0;
}

static sm_status open_file(const char *path, weights_file *file, sm_error *err) {
    sm_status status = sm_mapped_open(path, &file->mapped, err);
    if (status != SM_OK)
        return status;
    if (!sm_st_looks_so(&file->mapped) && sm_checkpoint_looks_so(&file->mapped))
        return sm_checkpoint_open(path, &file->mapped, &file->checkpoint, err);
    return sm_st_open(path, &file->mapped, &file->tensors, err);
}

/* ---- tensors ---- */

/* The numbers as a tensor of that shape, which has as many elements. Making it may run
 * finalizers, and a script's may close the file. */
static sm_tensor *push_numbers(lua_State *L, const weights_file *file,
                               const sm_blob *blob, int ndim, const int64_t *shape) {
    const sm_blob numbers = *blob;
    sm_meta meta = {.dtype = sm_element_target(blob->type), .ndim = ndim};
    for (int d = 0; d < ndim; d++)
        meta.shape[d] = shape[d];
    sm_tensor *t = lsm_push_tensor(L, &meta, false);
    if (!file->mapped.data)
        lsm_error(L, "the file was closed while it was read");
    sm_blob_read(&numbers, &file->mapped, sm_tensor_data(t));
    return t;
}

/* A view of `flat`, all of a storage. */
static void push_view(lua_State *L, const sm_tensor *flat, const stored *s) {
    sm_error err;
    sm_tensor **box = lsm_push_box(L);
    sm_status status = sm_tensor_alias(flat, box, &err);
    if (status != SM_OK)
        lsm_raise(L, status, &err, 0, NULL);
    sm_tensor *t = *box;
    t->ndim = s->ndim;
    t->offset = s->offset;
    for (int d = 0; d < s->ndim; d++) {
        t->shape[d] = s->shape[d];
        t->stride[d] = s->stride[d];
    }
}

static void push_stored(lua_State *L, const reading *r, const stored *s) {
    stored *box = lua_newuserdatauv(L, sizeof *box, 1);
    *box = *s;
    luaL_setmetatable(L, STORED);
    lua_pushvalue(L, r->file_at);
    lua_setiuservalue(L, -2, 1);
}

static const stored *check_stored(lua_State *L) {
    const stored *s = luaL_checkudata(L, 1, STORED);
    if (!s->file->mapped.data)
        lsm_argerror(L, 1, "the file of the stored tensor has been closed");
    return s;
}

/* stored:read(): the tensor. Its storage is its own: freeing the tensor frees that, too.
 */
static int stored_read(lua_State *L) {
    const stored *s = check_stored(L);
    const sm_tensor *flat = push_numbers(L, s->file, s->blob, 1, &s->blob->numel);
    push_view(L, flat, s);
    sm_tensor **box = lua_touserdata(L, -2);
    sm_tensor_unref(*box);
    *box = NULL;
    return 1;
}

/* stored.shape, stored.dtype, as a tensor's; methods */
static int stored_index(lua_State *L) {
    const stored *s = check_stored(L);
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "shape") == 0)
        lsm_push_shape(L, s->ndim, s->shape);
    else if (strcmp(key, "dtype") == 0)
        lua_pushstring(L, sm_dtype_name(sm_element_target(s->blob->type)));
    else if (strcmp(key, "read") == 0)
        lua_pushcfunction(L, stored_read);
    else
        lua_pushnil(L);
    return 1;
}

/* is_stored(value) */
static int l_is_stored(lua_State *L) {
    lua_pushboolean(L, luaL_testudata(L, 1, STORED) != NULL);
    return 1;
}

/* ---- a checkpoint's values ---- */

/* A tensor as a view of its storage, which all tensors of it share. */
static void push_tensor(lua_State *L, const reading *r, const sm_pickle_tensor *t) {
    const sm_pickle_storage *storage = t->storage->same;
    stored s = {
        .file = r->file, .blob = &storage->blob, .ndim = t->ndim, .offset = t->offset};
    for (int d = 0; d < t->ndim; d++) {
        s.shape[d] = t->shape[d];
        s.stride[d] = t->stride[d];
    }
    if (r->lazily) {
        push_stored(L, r, &s);
        return;
    }
    lua_Integer number = (lua_Integer)storage->number + 1;
    if (lua_rawgeti(L, r->storages_at, number) == LUA_TNIL) {
        lua_pop(L, 1);
        push_numbers(L, r->file, s.blob, 1, &s.blob->numel);
        lua_pushvalue(L, -1);
        lua_rawseti(L, r->storages_at, number);
    }
    push_view(L, lsm_check_tensor(L, -1), &s);
    lua_remove(L, -2);
}

static void push_value(lua_State *L, const reading *r, const sm_value *v);

/* None has no place in a list: it is false there. */
static void push_list(lua_State *L, const reading *r, const sm_value *v) {
    lua_createtable(L, (int)v->list.count, 0);
    for (uint32_t i = 0; i < v->list.count; i++) {
        if (v->list.items[i]->kind == SM_VALUE_NONE)
            lua_pushboolean(L, 0);
        else
            push_value(L, r, v->list.items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ordered(names, values): later values of one key count, at the first one's place. */
static void push_dict(lua_State *L, const reading *r, const sm_value *v) {
    lua_pushvalue(L, r->ordered_at);
    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
    int names = lua_gettop(L) - 2, values = names + 1, seen = names + 2;
    lua_Integer count = 0;
    for (uint32_t i = 0; i + 1 < v->list.count; i += 2) {
        push_value(L, r, v->list.items[i]);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, seen) == LUA_TNIL) {
            lua_pushvalue(L, -2);
            lua_rawseti(L, names, ++count);
            lua_pushvalue(L, -2);
            lua_pushboolean(L, 1);
            lua_rawset(L, seen);
        }
        lua_pop(L, 1);
        push_value(L, r, v->list.items[i + 1]);
        lua_rawset(L, values);
    }
    lua_settop(L, values);
    lua_call(L, 2, 1);
}

/* Lists, dictionaries, tensors and long text are made once, however often they are
 * referred to: so they are the same in Lua, too, and cost no more than in the file. */
static bool is_shared(const sm_value *v) {
    return v->kind >= SM_VALUE_LIST || (v->kind == SM_VALUE_TEXT && v->text.size > 32);
}

static void push_new(lua_State *L, const reading *r, const sm_value *v) {
    switch (v->kind) {
    case SM_VALUE_TRUE:
    case SM_VALUE_FALSE:
        lua_pushboolean(L, v->kind == SM_VALUE_TRUE);
        break;
    case SM_VALUE_INTEGER:
        lua_pushinteger(L, v->integer);
        break;
    case SM_VALUE_NUMBER:
        lua_pushnumber(L, v->number);
        break;
    case SM_VALUE_TEXT:
        lua_pushlstring(L, v->text.bytes, v->text.size);
        break;
    case SM_VALUE_LIST:
    case SM_VALUE_TUPLE:
        push_list(L, r, v);
        break;
    case SM_VALUE_DICT:
        push_dict(L, r, v);
        break;
    case SM_VALUE_TENSOR:
        push_tensor(L, r, v->tensor);
        break;
    default: /* None; there is nothing else in a value that was checked */
        lua_pushnil(L);
    }
}

/* By recursion: sm_value_check has seen to it that this ends, and not too deep. */
static void push_value(lua_State *L, const reading *r, const sm_value *v) {
    luaL_checkstack(L, 16, "too many values");
    lua_Integer id = (lua_Integer)v->id + 1;
    if (is_shared(v)) {
        if (lua_rawgeti(L, r->values_at, id) != LUA_TNIL)
            return;
        lua_pop(L, 1);
    }
    push_new(L, r, v);
    if (is_shared(v)) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, r->values_at, id);
    }
}

/* ---- a safetensors file ---- */

static void push_entry(lua_State *L, const reading *r, const sm_st_entry *e) {
    if (!r->lazily) {
        push_numbers(L, r->file, &e->blob, e->ndim, e->shape);
        return;
    }
    stored s = {.file = r->file, .blob = &e->blob, .ndim = e->ndim};
    for (int d = 0; d < e->ndim; d++)
        s.shape[d] = e->shape[d];
    sm_contiguous_strides(e->ndim, s.shape, s.stride);
    push_stored(L, r, &s);
}

static void push_entries(lua_State *L, const reading *r) {
    const sm_st_file *file = &r->file->tensors;
    lua_pushvalue(L, r->ordered_at);
    lua_newtable(L);
    lua_newtable(L);
    for (int64_t i = 0; i < file->count; i++) {
        const sm_st_entry *e = &file->entries[i];
        lua_pushstring(L, e->name);
        lua_rawseti(L, -3, i + 1);
        push_entry(L, r, e);
        lua_setfield(L, -2, e->name);
    }
    lua_call(L, 2, 1);
}

static void push_metadata(lua_State *L, const sm_st_file *file) {
    lua_newtable(L);
    for (int64_t i = 0; i < file->metadata_count; i++) {
        lua_pushstring(L, file->metadata[i].value);
        lua_setfield(L, -2, file->metadata[i].key);
    }
}

/* load_tensors(path, ordered[, lazily]): what is in the file (for safetensors, tensors by
 * name), metadata, and when lazily the file, to be closed; or nil, message.
 * ordered(names, values) makes a table whose pairs come in the order of names. */
static int l_load_tensors(lua_State *L) {
    sm_error err;
    const char *path = lsm_check_path(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    reading r = {.ordered_at = 2, .lazily = lua_toboolean(L, 3)};
    lua_settop(L, 3);
    r.file = lua_newuserdatauv(L, sizeof *r.file, 0);
    *r.file = (weights_file){0};
    luaL_setmetatable(L, WEIGHTS);
    r.file_at = lua_gettop(L);
    sm_status status = open_file(path, r.file, &err);
    if (status != SM_OK)
        close_file(r.file);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_newtable(L);
    lua_newtable(L);
    r.values_at = r.file_at + 1;
    r.storages_at = r.file_at + 2;
    if (r.file->checkpoint.value)
        push_value(L, &r, r.file->checkpoint.value);
    else
        push_entries(L, &r);
    push_metadata(L, &r.file->tensors);
    if (!r.lazily) {
        close_file(r.file);
        return 2;
    }
    lua_pushvalue(L, r.file_at);
    return 3;
}

static const luaL_Reg functions[] = {
    {"load_tensors", l_load_tensors}, {"is_stored", l_is_stored}, {NULL, NULL}};

static const luaL_Reg file_methods[] = {
    {"close", file_close}, {"__gc", file_close}, {"__close", file_close}, {NULL, NULL}};

void lsm_open_load(lua_State *L) {
    luaL_newmetatable(L, WEIGHTS);
    luaL_setfuncs(L, file_methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, STORED);
    lua_pushcfunction(L, stored_index);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lsm_functions(L, functions);
}
