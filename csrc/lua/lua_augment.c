/* lua_augment.c: pipelines of augmentation, in the table core.imaging.
 * lua/siamese/augment/ and lua/siamese/image/ check options and say what these functions
 * mean. What a script did wrong comes back as nil and a message, for them to raise where
 * it belongs. */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "lua/generator.h"
#include "lua/pipeline.h"

/* ---- the type ---- */

sm_pipeline *lsm_check_pipeline(lua_State *L, int arg) {
    sm_pipeline **box = luaL_checkudata(L, arg, LSM_PIPELINE);
    lsm_argcheck(L, *box, arg, "the pipeline has been freed");
    return *box;
}

static int pipeline_gc(lua_State *L) {
    sm_pipeline **box = luaL_checkudata(L, 1, LSM_PIPELINE);
    sm_pipeline_unref(*box);
    *box = NULL;
    return 0;
}

/* imaging.pipeline(steps): a pipeline, or nil and a message */
static int l_pipeline(lua_State *L) {
    sm_error err;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const lua_Unsigned n = lua_rawlen(L, 1);
    lsm_argcheck(L, n <= SM_PIPELINE_STEPS, 1, "there are more than 1024 steps");
    sm_pipeline **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, LSM_PIPELINE);
    sm_step *steps = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *steps, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        lsm_read_step(L, &steps[i]);
        lua_pop(L, 1);
    }
    sm_status status = sm_pipeline_new(steps, (int)n, box, &err);
    if (status == SM_EINVAL)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_settop(L, 2);
    return 1;
}

/* ---- running ---- */

typedef struct failure {
    int64_t sample; /* 0: none */
    sm_status status;
    sm_error err;
} failure;

/* Threads' scratches and failures, in a userdata so that they are freed whatever happens.
 */
typedef struct team {
    int n;
    sm_scratch *scratch;
    failure *failed;
} team;

static int team_gc(lua_State *L) {
    team *c = lua_touserdata(L, 1);
    for (int i = 0; i < c->n && c->scratch; i++)
        sm_scratch_free(&c->scratch[i]);
    c->scratch = NULL;
    return 0;
}

static team *push_team(lua_State *L) {
    const int n = sm_threads();
    team *c = lua_newuserdatauv(
        L, sizeof *c + (size_t)n * (sizeof *c->scratch + sizeof *c->failed), 0);
    *c = (team){.n = n, .scratch = (sm_scratch *)(c + 1)};
    c->failed = (failure *)(c->scratch + n);
    memset(c->scratch, 0, (size_t)n * sizeof *c->scratch);
    memset(c->failed, 0, (size_t)n * sizeof *c->failed);
    if (luaL_newmetatable(L, "siamese.augment.team")) {
        lua_pushcfunction(L, team_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return c;
}

/* Of the samples that failed the first: pushes nil and a message, or raises. */
static int push_first_failure(lua_State *L, const team *c) {
    const failure *first = NULL;
    for (int i = 0; i < c->n; i++)
        if (c->failed[i].sample && (!first || c->failed[i].sample < first->sample))
            first = &c->failed[i];
    if (!first)
        return 0;
    if (first->status != SM_EINVAL)
        return lsm_raise(L, first->status, &first->err, 0, NULL);
    luaL_pushfail(L);
    lua_pushfstring(L, "%s (sample %I)", first->err.message, (LUAI_UACINT)first->sample);
    return 2;
}

typedef struct batch {
    const sm_pipeline *p;
    sm_key key; /* without the index */
    const int64_t *index;
    sm_picture in, out; /* of the first sample */
    team *team;
} batch;

static sm_picture picture_at(const sm_picture *first, int64_t i) {
    sm_picture p = *first;
    p.data = (char *)p.data + (size_t)(i * p.c * p.h * p.w) * sm_dtype_size(p.dtype);
    return p;
}

static void run_some(void *context, int64_t begin, int64_t end, int thread) {
    const batch *b = context;
    failure *f = &b->team->failed[thread];
    for (int64_t i = begin; i < end && !f->sample; i++) {
        sm_key key = b->key;
        sm_picture in = picture_at(&b->in, i), out = picture_at(&b->out, i);
        key.index = (uint64_t)b->index[i];
        f->status =
            sm_pipeline_run(b->p, &key, &in, &out, &b->team->scratch[thread], &f->err);
        f->sample = f->status == SM_OK ? 0 : i + 1;
    }
}

/* The pictures at arg: [N,C,H,W] of bytes or floats. */
static sm_tensor *check_pictures(lua_State *L, int arg, sm_picture *first) {
    char text[SM_SHAPE_TEXT];
    sm_tensor *t = lsm_check_tensor(L, arg);
    if (t->ndim != 4 || t->dtype == SM_I64)
        lsm_argerror(
            L, arg,
            lua_pushfstring(L, "needs uint8 or float32 images [N,C,H,W], got %s %s",
                            sm_dtype_name(t->dtype), sm_tensor_shape_text(text, t)));
    t = lsm_dense_arg(L, arg);
    *first =
        (sm_picture){t->dtype, t->shape[1], t->shape[2], t->shape[3], sm_tensor_data(t)};
    return t;
}

/* The numbers of n samples at arg. */
static const int64_t *check_indices(lua_State *L, int arg, int64_t n) {
    sm_tensor *t = lsm_check_tensor(L, arg);
    if (t->dtype != SM_I64 || t->ndim != 1 || t->shape[0] != n)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "expected the int64 indices of %I samples",
                                     (LUAI_UACINT)n));
    return sm_i64(lsm_dense_arg(L, arg));
}

static sm_key check_key(lua_State *L, int arg) {
    return (sm_key){.seed = (uint64_t)luaL_checkinteger(L, arg),
                    .epoch = (uint64_t)luaL_optinteger(L, arg + 1, 0),
                    .side = (uint64_t)luaL_optinteger(L, arg + 2, 0)};
}

/* imaging.augment(pipeline, images [N,C,H,W], indices [N], seed, epoch, side): images, or
 * nil and a message */
static int l_augment(lua_State *L) {
    sm_error err;
    lua_settop(L, 6);
    batch b = {.p = lsm_check_pipeline(L, 1), .key = check_key(L, 4)};
    sm_tensor *x = check_pictures(L, 2, &b.in);
    const int64_t n = x->shape[0];
    b.index = check_indices(L, 3, n);
    b.team = push_team(L);
    b.key.index = n > 0 ? (uint64_t)b.index[0] : 0;
    sm_status status =
        sm_pipeline_shape(b.p, &b.key, &b.in, &b.out, &b.team->scratch[0], &err);
    if (status == SM_EINVAL)
        return lsm_push_failure(L, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    const sm_meta meta = {
        .dtype = b.out.dtype, .ndim = 4, .shape = {n, b.out.c, b.out.h, b.out.w}};
    b.out.data = sm_tensor_data(lsm_push_tensor(L, &meta, false));
    sm_parallel_for(n, 1 + 4096 / (b.in.c * b.in.h * b.in.w), run_some, &b);
    int failed = push_first_failure(L, b.team);
    return failed ? failed : 1;
}

/* ---- running with functions of the script among the steps ---- */

typedef struct sample {
    sm_picture in;
    sm_tensor **made;
    int at, call;
} sample;

typedef struct resumption {
    const sm_pipeline *p;
    sm_key key;
    const int64_t *index;
    sample *samples;
    team *team;
} resumption;

static sm_status resume_one(const resumption *r, sample *s, const sm_key *key, int thread,
                            sm_error *err) {
    sm_picture out = {0};
    sm_status status = sm_pipeline_resume(r->p, key, &s->at, &s->call, &s->in, &out,
                                          &r->team->scratch[thread], err);
    const sm_meta meta = {.dtype = out.dtype, .ndim = 3, .shape = {out.c, out.h, out.w}};
    if (status == SM_OK)
        status = sm_tensor_new(&meta, s->made, err);
    if (status == SM_OK)
        memcpy(sm_tensor_data(*s->made), out.data,
               (size_t)(out.c * out.h * out.w) * sm_dtype_size(out.dtype));
    return status;
}

static void resume_some(void *context, int64_t begin, int64_t end, int thread) {
    const resumption *r = context;
    failure *f = &r->team->failed[thread];
    for (int64_t i = begin; i < end && !f->sample; i++) {
        sm_key key = r->key;
        key.index = (uint64_t)r->index[i];
        f->status = resume_one(r, &r->samples[i], &key, thread, &f->err);
        f->sample = f->status == SM_OK ? 0 : i + 1;
    }
}

/* Sample i of the lists at 2 (pictures [C,H,W]) and 3 (where to go on), its picture made
 * contiguous in the list at `kept`. */
static void read_sample(lua_State *L, lua_Integer i, int kept, sample *s) {
    char text[SM_SHAPE_TEXT];
    lua_rawgeti(L, 2, i);
    sm_tensor *t = lsm_to_tensor(L, -1);
    if (!t || t->ndim != 3 || t->dtype == SM_I64)
        lsm_argerror(
            L, 2,
            lua_pushfstring(L, "picture %I must be uint8 or float32 [C,H,W], got %s %s",
                            (LUAI_UACINT)i,
                            t ? sm_dtype_name(t->dtype) : luaL_typename(L, -1),
                            t ? sm_tensor_shape_text(text, t) : ""));
    t = lsm_dense_arg(L, lua_gettop(L));
    s->in =
        (sm_picture){t->dtype, t->shape[0], t->shape[1], t->shape[2], sm_tensor_data(t)};
    lua_rawseti(L, kept, i);
    lua_rawgeti(L, 3, i);
    const lua_Integer at = lua_tointeger(L, -1);
    lsm_argcheck(L, at >= 0 && at <= SM_PIPELINE_STEPS, 3, "no such step");
    s->at = (int)at;
    lua_pop(L, 1);
}

/* The tables of results: pictures, the calls they wait for (false: done), where to go on
 * then. */
static int push_samples(lua_State *L, int made, const sample *samples, lua_Integer n) {
    size_t bytes = 0;
    lua_pushvalue(L, made);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 0; i < n; i++) {
        if (samples[i].call >= 0)
            lua_pushinteger(L, samples[i].call);
        else
            lua_pushboolean(L, 0);
        lua_rawseti(L, -3, i + 1);
        lua_pushinteger(L, samples[i].at);
        lua_rawseti(L, -2, i + 1);
        bytes += (*samples[i].made)->storage->bytes;
    }
    lsm_account(L, bytes);
    return 3;
}

/* imaging.augment_to_call(pipeline, pictures, starts, indices, seed, epoch, side) */
static int l_augment_to_call(lua_State *L) {
    lua_settop(L, 7);
    resumption r = {.p = lsm_check_pipeline(L, 1), .key = check_key(L, 5)};
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    r.index = check_indices(L, 4, n);
    lua_createtable(L, (int)n, 0); /* 8: the pictures, dense */
    lua_createtable(L, (int)n, 0); /* 9: boxes of what comes out */
    r.samples = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *r.samples, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        read_sample(L, i, 8, &r.samples[i - 1]);
        r.samples[i - 1].made = lsm_push_box(L);
        lua_rawseti(L, 9, i);
    }
    r.team = push_team(L);
    sm_parallel_for(n, 1, resume_some, &r);
    int failed = push_first_failure(L, r.team);
    return failed ? failed : push_samples(L, 9, r.samples, n);
}

/* imaging.sample_generator(step, index, seed, epoch, side): the generator of the function
 * that waits before `step` of a sample */
static int l_sample_generator(lua_State *L) {
    const uint64_t step = (uint64_t)luaL_checkinteger(L, 1);
    sm_key key = check_key(L, 3);
    key.index = (uint64_t)luaL_checkinteger(L, 2);
    const sm_rng whole = sm_key_rng(&key);
    *lsm_push_generator(L) = sm_rng_stream(&whole, step - 1);
    return 1;
}

/* ---- single warps ---- */

typedef struct warps {
    sm_picture in, out;
    const double (*maps)[6];
    const float *field;
    int64_t field_step; /* from one picture's field to the next */
    sm_interpolation mode;
    sm_values fill;
    team *team;
} warps;

static void warp_some(void *context, int64_t begin, int64_t end, int thread) {
    const warps *w = context;
    failure *f = &w->team->failed[thread];
    sm_scratch *scratch = &w->team->scratch[thread];
    for (int64_t i = begin; i < end && !f->sample; i++) {
        sm_picture in = picture_at(&w->in, i), out = picture_at(&w->out, i);
        f->status =
            w->maps ? sm_picture_map(&in, w->maps[i], &w->fill, &out, scratch, &f->err)
                    : sm_picture_displace(&in, w->field + i * w->field_step, w->mode,
                                          &w->fill, &out, scratch, &f->err);
        f->sample = f->status == SM_OK ? 0 : i + 1;
    }
}

/* Warps into a new tensor like x. */
static int run_warps(lua_State *L, const sm_tensor *x, warps *w) {
    const sm_meta meta = sm_tensor_meta(x);
    w->out = w->in;
    w->team = push_team(L);
    w->out.data = sm_tensor_data(lsm_push_tensor(L, &meta, false));
    sm_parallel_for(x->shape[0], 1, warp_some, w);
    int failed = push_first_failure(L, w->team);
    return failed ? failed : 1;
}

/* imaging.warp(images, matrices [N,2,3] float32, fill): pixel (x, y) of each image comes
 * from where its matrix takes (x, y, 1), in pixels from 0 */
static int l_warp(lua_State *L) {
    warps w = {.fill = {1, {(float)luaL_optnumber(L, 3, 0)}}};
    sm_tensor *x = check_pictures(L, 1, &w.in);
    sm_tensor *m = lsm_cast_arg(L, 2, SM_F32);
    lsm_argcheck(L,
                 m->ndim == 3 && m->shape[0] == x->shape[0] && m->shape[1] == 2 &&
                     m->shape[2] == 3,
                 2, "warp: needs one matrix [2,3] an image");
    m = lsm_dense_arg(L, 2);
    double(*maps)[6] = lua_newuserdatauv(L, (size_t)(x->shape[0] + 1) * sizeof *maps, 0);
    for (int64_t i = 0; i < x->shape[0] * 6; i++)
        maps[i / 6][i % 6] = (double)sm_f32(m)[i];
    w.maps = (const double(*)[6])maps;
    return run_warps(L, x, &w);
}

/* imaging.displace(images, field [2,H,W] or [N,2,H,W] float32 in pixels, nearest, fill)
 */
static int l_displace(lua_State *L) {
    warps w = {.mode = lua_toboolean(L, 3) ? SM_NEAREST : SM_BILINEAR,
               .fill = {1, {(float)luaL_optnumber(L, 4, 0)}}};
    sm_tensor *x = check_pictures(L, 1, &w.in);
    sm_tensor *f = lsm_cast_arg(L, 2, SM_F32);
    lsm_argcheck(L, f->ndim == 3 || (f->ndim == 4 && f->shape[0] == x->shape[0]), 2,
                 "displace: needs a field [2,H,W], or one an image");
    const int64_t *size = f->shape + f->ndim - 3;
    lsm_argcheck(L, size[0] == 2 && size[1] == x->shape[2] && size[2] == x->shape[3], 2,
                 "displace: the field must be [2,H,W], as large as the images");
    w.field_step = f->ndim == 4 ? 2 * size[1] * size[2] : 0;
    w.field = sm_f32(lsm_dense_arg(L, 2));
    return run_warps(L, x, &w);
}

static const luaL_Reg functions[] = {{"pipeline", l_pipeline},
                                     {"augment", l_augment},
                                     {"augment_to_call", l_augment_to_call},
                                     {"sample_generator", l_sample_generator},
                                     {"warp", l_warp},
                                     {"displace", l_displace},
                                     {NULL, NULL}};

void lsm_open_augment(lua_State *L) {
    luaL_newmetatable(L, LSM_PIPELINE);
    lua_pushcfunction(L, pipeline_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_getfield(L, -1, "imaging");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
