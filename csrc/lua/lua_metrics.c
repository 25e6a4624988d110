/* lua_metrics.c: the curves behind siamese.metrics and siamese.calibration. */
#include <math.h>

#include "kernels/roc.h"
#include "lua/metrics.h"

void *lsm_push_scratch(lua_State *L, int64_t count, size_t size) {
    const sm_meta meta = {.dtype = SM_U8, .ndim = 2, .shape = {count, (int64_t)size}};
    return sm_u8(lsm_push_tensor(L, &meta, false));
}

void lsm_set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void lsm_set_integer(lua_State *L, const char *name, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/* Whether pair i is one of the same class; raises where it is neither 1 nor 0. */
static uint32_t same_at(lua_State *L, const sm_tensor *same, int64_t i) {
    int64_t s = same->dtype == SM_U8 ? sm_u8(same)[i * same->stride[0]]
                                     : sm_i64(same)[i * same->stride[0]];
    if (s != 0 && s != 1)
        lsm_argerror(L, 2,
                     lua_pushfstring(L, "pair %I: expected 1 (same) or 0, got %I",
                                     (LUAI_UACINT)(i + 1), (LUAI_UACINT)s));
    return (uint32_t)s;
}

sm_scored *lsm_check_scored(lua_State *L, int64_t *count) {
    char shape[SM_SHAPE_TEXT];
    const sm_tensor *distance = lsm_cast_arg(L, 1, SM_F32), *same = lsm_to_tensor(L, 2);
    if (!same || same->dtype != SM_U8)
        same = lsm_cast_arg(L, 2, SM_I64);
    if (distance->ndim != 1 || distance->shape[0] == 0)
        lsm_argerror(L, 1,
                     lua_pushfstring(L,
                                     "expected the distances of at least one pair, [P], "
                                     "got %s",
                                     sm_tensor_shape_text(shape, distance)));
    if (!sm_tensor_same_shape(distance, same))
        lsm_argerror(L, 2,
                     lua_pushfstring(L, "expected one 1 or 0 a pair, [%I], got %s",
                                     (LUAI_UACINT)distance->shape[0],
                                     sm_tensor_shape_text(shape, same)));
    int64_t n = *count = distance->shape[0];
    sm_scored *pairs = lsm_push_scratch(L, n, sizeof *pairs);
    for (int64_t i = 0; i < n; i++) {
        float d = sm_f32(distance)[i * distance->stride[0]];
        if (!(d > -INFINITY))
            lsm_argerror(L, 1,
                         lua_pushfstring(L, "the distance of pair %I is %s",
                                         (LUAI_UACINT)(i + 1),
                                         isnan(d) ? "not a number" : "-inf"));
        pairs[i] = (sm_scored){d, same_at(L, same, i)};
    }
    return pairs;
}

sm_scored *lsm_check_sorted(lua_State *L, int64_t *count) {
    sm_scored *pairs = lsm_check_scored(L, count);
    return sm_scored_sort(pairs, lsm_push_scratch(L, *count, sizeof *pairs), *count);
}

/* A new float32 tensor [n] in field `name` of the table at the top. */
static float *push_field(lua_State *L, const char *name, int64_t n) {
    const sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {n}};
    float *values = sm_f32(lsm_push_tensor(L, &meta, false));
    lua_setfield(L, -2, name);
    return values;
}

static void push_curve(lua_State *L, const sm_scored *pairs, int64_t n,
                       const sm_roc_summary *s) {
    float *tpr = push_field(L, "true_positive_rate", s->points);
    float *fpr = push_field(L, "false_positive_rate", s->points);
    float *precision = push_field(L, "precision", s->points);
    float *thresholds = push_field(L, "thresholds", s->points);
    sm_roc_point p = SM_ROC_START;
    int64_t at = 0, i = 0;
    do {
        tpr[i] = (float)((double)p.true_same / (double)s->same);
        fpr[i] = (float)((double)p.false_same / (double)s->different);
        precision[i] = at ? (float)((double)p.true_same / (double)at) : 1;
        thresholds[i++] = (float)p.threshold;
    } while (sm_roc_next(pairs, n, &at, &p));
}

/* roc(distances [P], same [P], curve): a table; see metrics.lua. */
static int l_roc(lua_State *L) {
    int64_t n;
    lua_settop(L, 3);
    const sm_scored *pairs = lsm_check_sorted(L, &n);
    const sm_roc_summary s = sm_roc_summarise(pairs, n);
    lua_createtable(L, 0, 12);
    if (lua_toboolean(L, 3))
        push_curve(L, pairs, n, &s);
    lsm_set_number(L, "auc", s.area);
    lsm_set_number(L, "equal_error_rate", s.equal_error);
    lsm_set_number(L, "average_precision", s.average_precision);
    lsm_set_number(L, "threshold", s.threshold);
    lsm_set_number(L, "accuracy",
                   (double)(s.best.true_same + s.different - s.best.false_same) /
                       (double)n);
    lsm_set_integer(L, "same", s.same);
    lsm_set_integer(L, "different", s.different);
    return 1;
}

/* rates(distances [P], same [P], list of rates): a list of {far =, reached =, tar =,
 * threshold =} */
static int l_rates(lua_State *L) {
    int64_t n;
    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TTABLE);
    const sm_scored *pairs = lsm_check_sorted(L, &n);
    const sm_roc_summary s = sm_roc_summarise(pairs, n);
    if (!s.different)
        lsm_argerror(L, 2,
                     "there is no pair of two classes, so no rate of false accepts");
    lua_Integer count = (lua_Integer)lua_rawlen(L, 3);
    lua_createtable(L, (int)count, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        double threshold;
        lua_rawgeti(L, 3, i);
        double rate = luaL_checknumber(L, -1);
        lua_pop(L, 1);
        sm_roc_point p = sm_roc_at_rate(pairs, n, rate, &threshold);
        lua_createtable(L, 0, 4);
        lsm_set_number(L, "far", rate);
        lsm_set_number(L, "reached", (double)p.false_same / (double)s.different);
        lsm_set_number(L, "tar", (double)p.true_same / (double)s.same);
        lsm_set_number(L, "threshold", threshold);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* A verifier's decisions on the pairs of one fold. */
typedef struct verdicts {
    int64_t pairs, right, same, true_same, different, false_same;
} verdicts;

static verdicts judge(const sm_scored *pairs, const int64_t *fold, int64_t n,
                      int64_t number, double threshold) {
    verdicts v = {0};
    for (int64_t i = 0; i < n; i++) {
        if (fold[i] != number)
            continue;
        bool accepted = pairs[i].distance <= threshold;
        v.pairs++;
        v.same += pairs[i].same;
        v.right += accepted == (pairs[i].same != 0);
        v.true_same += accepted && pairs[i].same;
        v.false_same += accepted && !pairs[i].same;
    }
    v.different = v.pairs - v.same;
    return v;
}

/* The fold numbers at arg, [n] of 1 to `count`, in memory that is pushed. */
static int64_t *check_folds(lua_State *L, int arg, int64_t n, int64_t count) {
    char shape[SM_SHAPE_TEXT];
    const sm_tensor *t = lsm_cast_arg(L, arg, SM_I64);
    if (t->ndim != 1 || t->shape[0] != n)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "expected a fold for each of %I pairs, got %s",
                                     (LUAI_UACINT)n, sm_tensor_shape_text(shape, t)));
    int64_t *fold = lsm_push_scratch(L, n, sizeof *fold);
    for (int64_t i = 0; i < n; i++) {
        fold[i] = sm_i64(t)[i * t->stride[0]];
        if (fold[i] < 1 || fold[i] > count)
            lsm_argerror(L, arg,
                         lua_pushfstring(L,
                                         "pair %I: expected a fold from 1 to %I, got %I",
                                         (LUAI_UACINT)(i + 1), (LUAI_UACINT)count,
                                         (LUAI_UACINT)fold[i]));
    }
    return fold;
}

/* Judges one fold with thresholds of the others' sorted pairs; a table at the top. */
static void push_fold(lua_State *L, const sm_scored *pairs, const int64_t *fold,
                      int64_t n, int64_t number, const sm_scored *others, int64_t m,
                      double rate) {
    const sm_roc_summary s = sm_roc_summarise(others, m);
    verdicts v = judge(pairs, fold, n, number, s.threshold);
    lua_createtable(L, 0, 8);
    lsm_set_number(L, "accuracy", (double)v.right / (double)v.pairs);
    lsm_set_number(L, "threshold", s.threshold);
    lsm_set_integer(L, "pairs", v.pairs);
    if (isnan(rate))
        return;
    double threshold;
    if (!s.different)
        lsm_argerror(L, 2,
                     lua_pushfstring(L,
                                     "outside of fold %I there is no pair of two "
                                     "classes, so no rate of false accepts",
                                     (LUAI_UACINT)number));
    sm_roc_at_rate(others, m, rate, &threshold);
    v = judge(pairs, fold, n, number, threshold);
    lsm_set_number(L, "tar", (double)v.true_same / (double)v.same);
    lsm_set_number(L, "far", (double)v.false_same / (double)v.different);
    lsm_set_number(L, "far_threshold", threshold);
}

/* folds(distances [P], same [P], fold of each pair [P], number of folds, rate or nil): a
 * list of tables */
static int l_folds(lua_State *L) {
    int64_t n;
    lua_settop(L, 5);
    lua_Integer count = luaL_checkinteger(L, 4);
    double rate = luaL_optnumber(L, 5, NAN);
    const sm_scored *pairs = lsm_check_scored(L, &n);
    const int64_t *fold = check_folds(L, 3, n, count);
    sm_scored *room = lsm_push_scratch(L, n, sizeof *room);
    sm_scored *scratch = lsm_push_scratch(L, n, sizeof *scratch);
    lua_createtable(L, (int)count, 0);
    for (lua_Integer f = 1; f <= count; f++) {
        int64_t m = 0;
        for (int64_t i = 0; i < n; i++)
            if (fold[i] != f)
                room[m++] = pairs[i];
        if (m == 0 || m == n)
            lsm_argerror(L, 3,
                         lua_pushfstring(L, "fold %I has %s pairs", (LUAI_UACINT)f,
                                         m ? "no" : "all"));
        push_fold(L, pairs, fold, n, f, sm_scored_sort(room, scratch, m), m, rate);
        lua_rawseti(L, -2, f);
    }
    return 1;
}

/* accuracy(distances [P], same [P], threshold) */
static int l_accuracy(lua_State *L) {
    int64_t n, right = 0;
    lua_settop(L, 3);
    double threshold = luaL_checknumber(L, 3);
    const sm_scored *pairs = lsm_check_scored(L, &n);
    for (int64_t i = 0; i < n; i++)
        right += (pairs[i].distance <= threshold) == (pairs[i].same != 0);
    lua_pushnumber(L, (double)right / (double)n);
    return 1;
}

static const luaL_Reg functions[] = {{"accuracy", l_accuracy},
                                     {"roc", l_roc},
                                     {"rates", l_rates},
                                     {"folds", l_folds},
                                     {NULL, NULL}};

void lsm_open_metrics(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lsm_open_pairwise(L);
    lsm_open_calibrate(L);
    lua_setfield(L, -2, "evaluation");
}
