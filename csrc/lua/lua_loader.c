/* lua_loader.c: loaders (io/loader.h), in the table core.loading. The workers never see
 * the Lua state: lists go in by push and come out by pop, both called by the script's own
 * thread. lua/siamese/data/loader.lua says what users see.
 *
 *     loading.loader(source, {workers =, depth =, dtype =, seed =}, pipeline)
 *                                  source: pictures, or images [N,C,H,W]
 *     loader:has_room()
 *     loader:push(number, list, ...)   asks for a batch; or nil, message
 *     loader:pop()                     number, failures, images, ...; nothing when none
 * was asked for loader:stop()                    ends the threads; nothing can be asked
 * for any more
 *
 * failures is nil, or for each list a table of messages by position; its field `misuse`
 * is the message of a picture that is not to be left out.
 */
#include "base/crew.h"
#include "io/loader.h"
#include "lua/lsm.h"
#include "lua/pictures.h"
#include "lua/pipeline.h"

#define LOADER "siamese.Loader"
#define BATCH "siamese.Batch"

static sm_loader *check_loader(lua_State *L) {
    sm_loader **box = luaL_checkudata(L, 1, LOADER);
    if (!*box)
        lsm_error(L, "the loader has been stopped");
    return *box;
}

static int loader_stop(lua_State *L) {
    sm_loader **box = luaL_checkudata(L, 1, LOADER);
    sm_loader_free(*box);
    *box = NULL;
    return 0;
}

/* A dense tensor of images at 1, in its place. */
static sm_tensor *check_images(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_error err;
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (t->ndim != 4 || t->dtype == SM_I64)
        lsm_argerror(L, 1,
                     lua_pushfstring(L,
                                     "expected images [N,C,H,W] of uint8 or float32, "
                                     "got %s %s",
                                     sm_dtype_name(t->dtype),
                                     sm_tensor_shape_text(text, t)));
    sm_tensor **box = lsm_push_box(L);
    sm_status status = sm_tensor_contiguous(t, box, &err);
    if (status != SM_OK)
        lsm_raise(L, status, &err, 0, NULL);
    lua_replace(L, 1);
    return *box;
}

static int check_option(lua_State *L, const char *key, int least, int most) {
    int64_t value = lsm_opt_integer_field(L, 2, key, least);
    if (value < least || value > most)
        lsm_argerror(L, 2,
                     lua_pushfstring(L, "%s must be from %d to %d, got %I", key, least,
                                     most, (LUAI_UACINT)value));
    return (int)value;
}

static void check_source(lua_State *L, sm_loader_options *o) {
    o->source.pictures = lsm_to_pictures(L, 1);
    if (!o->source.pictures)
        o->source.images = check_images(L);
    else if (!o->pipeline && !sm_pictures_form(o->source.pictures)->height)
        lsm_argerror(L, 1, "the pictures may have any size");
    if (!sm_source_gives(&o->source, o->dtype))
        lsm_argerror(L, 2,
                     "batches of float32 pictures are float32, those of uint8 are uint8 "
                     "or float32");
}

static sm_dtype check_batch_dtype(lua_State *L) {
    lua_getfield(L, 2, "dtype");
    int dtype = sm_dtype_by_name(luaL_optstring(L, -1, "float32"));
    lua_pop(L, 1);
    lsm_argcheck(L, dtype == SM_U8 || dtype == SM_F32, 2,
                 "dtype must be float32 or uint8");
    return (sm_dtype)dtype;
}

/* loading.loader(source, options, pipeline) */
static int l_loader(lua_State *L) {
    static const char *const keys[] = {"workers", "depth", "dtype", "seed", NULL};
    sm_error err;
    lua_settop(L, 3);
    luaL_checktype(L, 2, LUA_TTABLE);
    lsm_check_keys(L, 2, keys);
    sm_loader_options o = {.workers = check_option(L, "workers", 0, SM_CREW_MAX_THREADS),
                           .depth = check_option(L, "depth", 1, SM_CREW_MAX_DEPTH),
                           .dtype = check_batch_dtype(L),
                           .pipeline = lua_isnil(L, 3) ? NULL : lsm_check_pipeline(L, 3),
                           .seed = (uint64_t)lsm_opt_integer_field(L, 2, "seed", 0)};
    if (o.pipeline && sm_pipeline_has_calls(o.pipeline))
        return lsm_argerror(L, 3, "functions of the script are no workers' affair");
    check_source(L, &o);
    sm_loader **box = lua_newuserdatauv(L, sizeof(sm_loader *), 0);
    *box = NULL;
    luaL_setmetatable(L, LOADER);
    sm_status status = sm_loader_new(&o, box, &err);
    return status == SM_OK ? 1 : lsm_raise(L, status, &err, 0, NULL);
}

static int loader_has_room(lua_State *L) {
    lua_pushboolean(L, sm_loader_has_room(check_loader(L)));
    return 1;
}

static int loader_threads(lua_State *L) {
    lua_pushinteger(L, sm_loader_threads(check_loader(L)));
    return 1;
}

/* ---- asking for a batch ---- */

/* A copy of the list at arg that counts from 0, in a userdata. */
static int64_t *push_indices(lua_State *L, int arg, int64_t count, int64_t *n) {
    const sm_tensor *t = lsm_cast_arg(L, arg, SM_I64);
    if (t->ndim != 1)
        lsm_argerror(L, arg, "expected a list of indices [K]");
    *n = t->shape[0];
    int64_t *out = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *out, 0);
    for (int64_t i = 0; i < *n; i++) {
        int64_t value = sm_i64(t)[i * t->stride[0]];
        if (value < 1 || value > count)
            lsm_error(L, "index %I of the list is %I, expected 1 to %I (the pictures)",
                      (LUAI_UACINT)(i + 1), (LUAI_UACINT)value, (LUAI_UACINT)count);
        out[i] = value - 1;
    }
    return out;
}

/* loader:push(number, list, ...). A list's tensor may run a finalizer when it is made,
 * which may stop the loader. */
static int loader_push(lua_State *L) {
    sm_error err;
    sm_meta meta;
    sm_batch_list lists[SM_BATCH_LISTS];
    const int n = lua_gettop(L) - 2;
    check_loader(L);
    const uint64_t number = (uint64_t)luaL_checkinteger(L, 2);
    lsm_argcheck(L, n >= 1 && n <= SM_BATCH_LISTS, 3, "expected 1 to 8 lists");
    luaL_checkstack(L, 3 * n + 8, "too many lists");
    for (int k = 0; k < n; k++) {
        lists[k].indices =
            push_indices(L, 3 + k, sm_loader_count(check_loader(L)), &lists[k].n);
        sm_status status =
            sm_loader_meta(check_loader(L), lists[k].indices, lists[k].n, &meta, &err);
        if (status == SM_EIO || status == SM_EINVAL)
            return lsm_push_failure(L, &err);
        if (status != SM_OK)
            return lsm_raise(L, status, &err, 0, NULL);
        lists[k].images = lsm_push_tensor(L, &meta, false);
    }
    sm_loader *loader = check_loader(L);
    if (!sm_loader_has_room(loader))
        return lsm_error(L, "the loader has no room for another batch");
    sm_status status = sm_loader_push(loader, lists, n, number, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- taking one ---- */

static int batch_gc(lua_State *L) {
    sm_batch **box = lua_touserdata(L, 1);
    sm_batch_free(*box);
    *box = NULL;
    return 0;
}

/* For each list a table of messages by position; nil where all went well. */
static void push_failures(lua_State *L, const sm_batch *b) {
    const sm_failure *const *failure = (const sm_failure *const *)b->failure;
    const sm_failure *misuse = NULL;
    if (!b->failures) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, b->lists, 1);
    for (int k = 0; k < b->lists; k++) {
        lua_newtable(L);
        for (int64_t i = 0; i < b->list[k].n; i++, failure++) {
            if (!*failure)
                continue;
            lua_pushstring(L, (*failure)->err.message);
            lua_rawseti(L, -2, i + 1);
            if (!misuse && (*failure)->status != SM_EIO)
                misuse = *failure;
        }
        lua_rawseti(L, -2, k + 1);
    }
    if (misuse) {
        lua_pushstring(L, misuse->err.message);
        lua_setfield(L, -2, "misuse");
    }
}

/* loader:pop() */
static int loader_pop(lua_State *L) {
    sm_batch **box = lua_newuserdatauv(L, sizeof(sm_batch *), 0);
    *box = NULL;
    luaL_setmetatable(L, BATCH);
    *box = sm_loader_pop(check_loader(L));
    if (!*box)
        return 0;
    const sm_batch *b = *box;
    luaL_checkstack(L, SM_BATCH_LISTS + 8, "too many lists");
    lua_pushinteger(L, (lua_Integer)b->number);
    push_failures(L, b);
    for (int k = 0; k < b->lists; k++) {
        sm_tensor **images = lsm_push_box(L);
        *images = sm_tensor_ref(b->list[k].images);
    }
    int results = 2 + b->lists;
    sm_batch_free(*box);
    *box = NULL;
    return results;
}

static const luaL_Reg methods[] = {
    {"has_room", loader_has_room}, {"threads", loader_threads}, {"push", loader_push},
    {"pop", loader_pop},           {"stop", loader_stop},       {NULL, NULL}};

static const luaL_Reg functions[] = {{"loader", l_loader}, {NULL, NULL}};

void lsm_open_loader(lua_State *L) {
    luaL_newmetatable(L, BATCH);
    lua_pushcfunction(L, batch_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newmetatable(L, LOADER);
    lua_pushcfunction(L, loader_stop);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_getfield(L, -1, "loading");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
