/* lua_metrics.c: the curve behind siamese.metrics. */
#include <math.h>

#include "kernels/roc.h"
#include "lua/lsm.h"

/* A list of doubles as a float32 tensor in field `name` of the table at the top. */
static float *push_field(lua_State *L, const char *name, int64_t n) {
    const sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {n}};
    float *values = sm_f32(lsm_push_tensor(L, &meta, false));
    lua_setfield(L, -2, name);
    return values;
}

static void set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* Reads the operands into `pairs`; raises on NaN and on anything but 0 and 1. */
static void read_pairs(lua_State *L, const sm_tensor *distance, const sm_tensor *same,
                       sm_scored *pairs, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float d = sm_f32(distance)[i * distance->stride[0]];
        int64_t s = sm_i64(same)[i * same->stride[0]];
        if (isnan(d))
            luaL_argerror(L, 1,
                          lua_pushfstring(L, "the distance of pair %I is not a number",
                                          (LUAI_UACINT)(i + 1)));
        if (s != 0 && s != 1)
            luaL_argerror(L, 2,
                          lua_pushfstring(L, "pair %I: expected 1 (same) or 0, got %I",
                                          (LUAI_UACINT)(i + 1), (LUAI_UACINT)s));
        pairs[i] = (sm_scored){d, (uint32_t)s};
    }
}

static void push_curve(lua_State *L, const sm_roc_point *points, int64_t count) {
    const double same = (double)points[count - 1].true_same;
    const double other = (double)points[count - 1].false_same;
    float *tpr = push_field(L, "true_positive_rate", count);
    float *fpr = push_field(L, "false_positive_rate", count);
    float *thresholds = push_field(L, "thresholds", count);
    for (int64_t i = 0; i < count; i++) {
        tpr[i] = (float)((double)points[i].true_same / same);
        fpr[i] = (float)((double)points[i].false_same / other);
        thresholds[i] = (float)points[i].threshold;
    }
}

/* Between the best threshold and the next larger distance, so that rounding cannot flip a
 * pair. */
static double middle_threshold(const sm_roc_point *points, int64_t count, int64_t best) {
    double low = points[best].threshold;
    if (best + 1 == count)
        return low;
    double high = points[best + 1].threshold;
    double middle =
        isinf(low) ? nextafterf((float)high, -INFINITY) : low + (high - low) / 2;
    return (float)middle < (float)high ? middle : low;
}

/* roc(distances [P] float32, same [P] int64): a table; see metrics.lua. */
static int l_roc(lua_State *L) {
    lua_settop(L, 2);
    const sm_tensor *distance = lsm_cast_arg(L, 1, SM_F32),
                    *same = lsm_cast_arg(L, 2, SM_I64);
    char shape[SM_SHAPE_TEXT];
    if (distance->ndim != 1 || distance->shape[0] == 0)
        luaL_argerror(L, 1,
                      lua_pushfstring(L,
                                      "expected the distances of at least one pair, [P], "
                                      "got %s",
                                      sm_tensor_shape_text(shape, distance)));
    if (!sm_tensor_same_shape(distance, same))
        luaL_argerror(L, 2,
                      lua_pushfstring(L, "expected one 1 or 0 a pair, [%I], got %s",
                                      (LUAI_UACINT)distance->shape[0],
                                      sm_tensor_shape_text(shape, same)));
    int64_t n = distance->shape[0];
    sm_scored *pairs = lua_newuserdatauv(L, (size_t)n * sizeof *pairs, 0);
    sm_roc_point *points = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *points, 0);
    read_pairs(L, distance, same, pairs, n);
    int64_t count = sm_roc_points(pairs, n, points), best = sm_roc_best(points, count);
    int64_t other = points[count - 1].false_same;
    lua_createtable(L, 0, 8);
    push_curve(L, points, count);
    set_number(L, "auc", sm_roc_area(points, count));
    set_number(L, "equal_error_rate", sm_roc_equal_error(points, count));
    set_number(L, "threshold", middle_threshold(points, count, best));
    set_number(L, "accuracy",
               (double)(points[best].true_same + other - points[best].false_same) /
                   (double)n);
    return 1;
}

static const luaL_Reg functions[] = {{"roc", l_roc}, {NULL, NULL}};

void lsm_open_metrics(lua_State *L) {
    lsm_functions(L, functions);
}
