/* lua_pairwise.c: all against all, for siamese.metrics: distances, pairs, retrieval and
 * k-means, in core.evaluation. */
#include <math.h>

#include "base/mem.h"
#include "kernels/information.h"
#include "kernels/kmeans.h"
#include "kernels/pairwise.h"
#include "kernels/retrieval.h"
#include "lua/generator.h"
#include "lua/metrics.h"

#define PAIRWISE "siamese.Pairwise"

static int pairwise_gc(lua_State *L) {
    sm_pairwise_close(lua_touserdata(L, 1));
    return 0;
}

/* The tensor at arg, dense, boxed in its place. */
static const sm_tensor *check_dense(lua_State *L, int arg, sm_dtype dtype, int ndim,
                                    const char *shape) {
    char got[SM_SHAPE_TEXT];
    sm_error err;
    sm_tensor *t = lsm_cast_arg(L, arg, dtype);
    if (t->ndim != ndim)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "expected %s, got %s", shape,
                                     sm_tensor_shape_text(got, t)));
    if (sm_tensor_is_contiguous(t))
        return t;
    sm_tensor **box = lsm_push_box(L);
    if (sm_tensor_contiguous(t, box, &err) != SM_OK)
        lsm_error(L, "%s", err.message);
    lsm_account(L, (*box)->storage->bytes);
    lua_replace(L, arg);
    return lsm_check_tensor(L, arg);
}

static const sm_tensor *check_points(lua_State *L, int arg) {
    return check_dense(L, arg, SM_F32, 2, "embeddings [N,D]");
}

static const sm_tensor *check_labels(lua_State *L, int arg, int64_t n) {
    const sm_tensor *labels =
        check_dense(L, arg, SM_I64, 1, "a label for each embedding, [N]");
    if (labels->shape[0] != n)
        lsm_argerror(L, arg,
                     lua_pushfstring(L,
                                     "expected %I labels, one for each embedding, got %I",
                                     (LUAI_UACINT)n, (LUAI_UACINT)labels->shape[0]));
    return labels;
}

/* Opens what compares a and b, in a box that closes it; args says where they stand. */
static sm_pairwise *push_pairwise(lua_State *L, const sm_tensor *a, const sm_tensor *b,
                                  sm_measure measure, const int args[2]) {
    sm_error err;
    sm_pairwise *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (sm_pairwise){0};
    luaL_setmetatable(L, PAIRWISE);
    sm_status status = sm_pairwise_open(p, measure, sm_f32(a), a->shape[0], sm_f32(b),
                                        b->shape[0], a->shape[1], &err);
    if (status != SM_OK)
        lsm_raise(L, status, &err, 2, args);
    return p;
}

static sm_measure check_measure(lua_State *L, int arg) {
    static const char *const names[] = {"l2", "squared_l2", "l1", "cosine", NULL};
    return (sm_measure)luaL_checkoption(L, arg, "l2", names);
}

static sm_tensor *push_matrix(lua_State *L, sm_dtype dtype, int64_t n, int64_t m) {
    const sm_meta meta = {.dtype = dtype, .ndim = 2, .shape = {n, m}};
    return lsm_push_tensor(L, &meta, false);
}

static sm_tensor *push_vector(lua_State *L, sm_dtype dtype, int64_t n) {
    const sm_meta meta = {.dtype = dtype, .ndim = 1, .shape = {n}};
    return lsm_push_tensor(L, &meta, false);
}

/* distances(a [N,D], b [M,D], measure): [N,M] */
static int l_distances(lua_State *L) {
    const int args[] = {1, 2};
    sm_error err;
    lua_settop(L, 3);
    const sm_tensor *a = check_points(L, 1), *b = check_points(L, 2);
    sm_measure measure = check_measure(L, 3);
    if (a->shape[1] != b->shape[1])
        lsm_argerror(L, 2,
                     lua_pushfstring(L, "expected %I columns as in the first, got %I",
                                     (LUAI_UACINT)a->shape[1], (LUAI_UACINT)b->shape[1]));
    sm_pairwise *p = push_pairwise(L, a, b, measure, args);
    sm_tensor *out = push_matrix(L, SM_F32, p->n, p->m);
    sm_status status = sm_pairwise_rows(p, 0, p->n, 0, sm_f32(out), &err);
    sm_pairwise_close(p);
    return status == SM_OK ? 1 : lsm_raise(L, status, &err, 0, NULL);
}

/* The distances of rows begin..end to the rows behind each, from a block that begins
 * behind the first of them. */
static float *pack_pairs(const sm_pairwise *p, const int64_t *label, int64_t begin,
                         int64_t end, const float *block, float *out, uint8_t **same) {
    const int64_t width = p->m - begin - 1;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = i + 1; j < p->m; j++) {
            *out++ = block[(i - begin) * width + j - begin - 1];
            *(*same)++ = label[i] == label[j];
        }
    return out;
}

/* all_pairs(x [N,D], labels [N], measure): distances [P] and same [P] uint8 of all pairs
 * i < j */
static int l_all_pairs(lua_State *L) {
    const int args[] = {1, 1};
    sm_error err;
    int64_t count;
    lua_settop(L, 3);
    const sm_tensor *x = check_points(L, 1), *labels = check_labels(L, 2, x->shape[0]);
    sm_pairwise *p = push_pairwise(L, x, x, check_measure(L, 3), args);
    const int64_t n = p->n, rows = sm_pairwise_block(n);
    if (!sm_mul_i64(n, n - 1, &count))
        lsm_argerror(L, 1, "too many pairs");
    float *block = lsm_push_scratch(L, rows * (n > 0 ? n : 1), sizeof *block);
    sm_tensor *distance = push_vector(L, SM_F32, n > 0 ? count / 2 : 0);
    sm_tensor *same = push_vector(L, SM_U8, n > 0 ? count / 2 : 0);
    float *out = sm_f32(distance);
    uint8_t *kind = sm_u8(same);
    sm_status status = SM_OK;
    for (int64_t i = 0; i < n && status == SM_OK; i += rows) {
        int64_t end = i + rows < n ? i + rows : n;
        status = sm_pairwise_rows(p, i, end, i + 1, block, &err);
        if (status == SM_OK)
            out = pack_pairs(p, sm_i64(labels), i, end, block, out, &kind);
    }
    sm_pairwise_close(p);
    return status == SM_OK ? 2 : lsm_raise(L, status, &err, 0, NULL);
}

static void check_no_nan(lua_State *L, const sm_retrieval *r) {
    for (int64_t i = 0; i < r->queries * r->references; i++)
        if (isnan(r->distance[i]))
            lsm_argerror(
                L, 1,
                lua_pushfstring(L,
                                "the distance of query %I to reference %I is not "
                                "a number",
                                (LUAI_UACINT)(i / r->references + 1),
                                (LUAI_UACINT)(i % r->references + 1)));
}

static void check_ranks(lua_State *L, int arg, sm_retrieval *r) {
    const sm_tensor *ranks = check_dense(L, arg, SM_I64, 1, "ranks [K]");
    r->ranks = ranks->shape[0];
    r->rank = sm_i64(ranks);
    for (int64_t k = 0; k < r->ranks; k++)
        if (r->rank[k] < 1)
            lsm_argerror(L, arg,
                         lua_pushfstring(L, "a rank must be at least 1, got %I",
                                         (LUAI_UACINT)r->rank[k]));
}

/* rank(distances [Q,M], labels of queries [Q], labels of references [M], number of the
 * reference that the first query is (0: none), ranks [K]): recall [Q,K], R-precision [Q],
 * average precision at R [Q]; NaN for queries without a reference of their class */
static int l_rank(lua_State *L) {
    sm_error err;
    lua_settop(L, 5);
    const sm_tensor *d = check_dense(L, 1, SM_F32, 2, "distances [Q,M]");
    sm_retrieval r = {.queries = d->shape[0],
                      .references = d->shape[1],
                      .distance = sm_f32(d),
                      .query_label = sm_i64(check_labels(L, 2, d->shape[0])),
                      .label = sm_i64(check_labels(L, 3, d->shape[1])),
                      .self = luaL_checkinteger(L, 4) - 1};
    lsm_argcheck(L, r.self >= -1 && (r.self < 0 || r.self <= r.references - r.queries), 4,
                 "the queries are not among the references");
    check_ranks(L, 5, &r);
    check_no_nan(L, &r);
    r.recall = sm_f32(push_matrix(L, SM_F32, r.queries, r.ranks));
    r.r_precision = sm_f32(push_vector(L, SM_F32, r.queries));
    r.average_precision = sm_f32(push_vector(L, SM_F32, r.queries));
    sm_status status = sm_retrieval_run(&r, &err);
    return status == SM_OK ? 3 : lsm_raise(L, status, &err, 0, NULL);
}

static void check_start(lua_State *L, int arg, sm_kmeans *k) {
    const sm_tensor *start = check_points(L, arg);
    char shape[SM_SHAPE_TEXT];
    if (start->shape[0] != k->k || start->shape[1] != k->d)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "expected centres [%I,%I] to start from, got %s",
                                     (LUAI_UACINT)k->k, (LUAI_UACINT)k->d,
                                     sm_tensor_shape_text(shape, start)));
    for (int64_t i = 0; i < k->k * k->d; i++) {
        if (!isfinite(sm_f32(start)[i]))
            lsm_argerror(L, arg, "a centre to start from is not finite");
        k->centre[i] = sm_f32(start)[i];
    }
    k->started = true;
}

/* kmeans(x [N,D], clusters, iterations, tolerance, generator or centres [K,D]):
 * members [N], centres [K,D], inertia, iterations made */
static int l_kmeans(lua_State *L) {
    const int args[] = {1, 5};
    sm_error err;
    lua_settop(L, 5);
    const sm_tensor *x = check_points(L, 1);
    sm_kmeans k = {.n = x->shape[0],
                   .d = x->shape[1],
                   .x = sm_f32(x),
                   .k = luaL_checkinteger(L, 2),
                   .iterations = luaL_checkinteger(L, 3),
                   .tolerance = luaL_checknumber(L, 4)};
    if (k.k < 1 || k.k > k.n || k.d < 1)
        lsm_argerror(L, 2,
                     lua_pushfstring(L,
                                     "expected 1 to %I clusters for embeddings [%I,%I], "
                                     "got %I",
                                     (LUAI_UACINT)k.n, (LUAI_UACINT)k.n, (LUAI_UACINT)k.d,
                                     (LUAI_UACINT)k.k));
    sm_tensor *member = push_vector(L, SM_I64, k.n);
    k.member = sm_i64(member);
    k.centre = sm_f32(push_matrix(L, SM_F32, k.k, k.d));
    if (lsm_to_tensor(L, 5))
        check_start(L, 5, &k);
    else
        k.rng = lsm_check_generator(L, 5);
    sm_status status = sm_kmeans_run(&k, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 2, args);
    for (int64_t i = 0; i < k.n; i++)
        k.member[i]++; /* Lua counts from 1 */
    lua_pushnumber(L, k.inertia);
    lua_pushinteger(L, k.done);
    return 4;
}

/* information(labels [N], labels [N]): entropies of both, mutual information, in nats */
static int l_information(lua_State *L) {
    lua_settop(L, 2);
    const sm_tensor *a = check_dense(L, 1, SM_I64, 1, "labels [N]");
    const sm_tensor *b = check_labels(L, 2, a->shape[0]);
    int64_t n = a->shape[0];
    lsm_argcheck(L, n > 0, 1, "expected at least one label");
    sm_labelled *things = lsm_push_scratch(L, n, sizeof *things);
    for (int64_t i = 0; i < n; i++)
        things[i] = (sm_labelled){sm_i64(a)[i], sm_i64(b)[i]};
    sm_information info = sm_information_of(things, n);
    lua_pushnumber(L, info.a);
    lua_pushnumber(L, info.b);
    lua_pushnumber(L, info.mutual);
    return 3;
}

static const luaL_Reg functions[] = {
    {"distances", l_distances}, {"all_pairs", l_all_pairs},     {"rank", l_rank},
    {"kmeans", l_kmeans},       {"information", l_information}, {NULL, NULL}};

void lsm_open_pairwise(lua_State *L) {
    luaL_newmetatable(L, PAIRWISE);
    lua_pushcfunction(L, pairwise_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
