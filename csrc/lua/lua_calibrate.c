/* lua_calibrate.c: what siamese.calibration stands on, in core.evaluation. */
#include "kernels/calibrate.h"

#include <math.h>

#include "lua/metrics.h"

/* Pairs of both kinds at finite distances, or an error. */
static void check_both(lua_State *L, const sm_scored *pairs, int64_t n) {
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(pairs[i].distance))
            lsm_argerror(L, 1,
                         lua_pushfstring(L, "the distance of pair %I is not finite",
                                         (LUAI_UACINT)(i + 1)));
        same += pairs[i].same;
    }
    if (!same || same == n)
        lsm_argerror(L, 2,
                     lua_pushfstring(L, "needs pairs of both kinds; all %I are %s",
                                     (LUAI_UACINT)n,
                                     same ? "of one class" : "of two classes"));
}

/* platt(distances [P], same [P]): a, b */
static int l_platt(lua_State *L) {
    int64_t n;
    double a, b;
    lua_settop(L, 2);
    const sm_scored *pairs = lsm_check_scored(L, &n);
    check_both(L, pairs, n);
    sm_platt_fit(pairs, n, &a, &b);
    lua_pushnumber(L, a);
    lua_pushnumber(L, b);
    return 2;
}

/* isotonic(distances [P], same [P]): lists of the corners' distances and values */
static int l_isotonic(lua_State *L) {
    int64_t n;
    lua_settop(L, 2);
    const sm_scored *pairs = lsm_check_sorted(L, &n);
    check_both(L, pairs, n);
    sm_knot *knots = lsm_push_scratch(L, 2 * n, sizeof *knots);
    int64_t count = sm_isotonic_fit(pairs, n, knots);
    lua_createtable(L, (int)count, 0);
    lua_createtable(L, (int)count, 0);
    for (int64_t i = 0; i < count; i++) {
        lua_pushnumber(L, knots[i].x);
        lua_rawseti(L, -3, i + 1);
        lua_pushnumber(L, knots[i].y);
        lua_rawseti(L, -2, i + 1);
    }
    return 2;
}

static double number_at(lua_State *L, int list, lua_Integer i) {
    lua_rawgeti(L, list, i);
    double x = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return x;
}

/* interpolate(distances [P], list x, growing, list y): [P]; NaN stays NaN */
static int l_interpolate(lua_State *L) {
    char shape[SM_SHAPE_TEXT];
    lua_settop(L, 3);
    const sm_tensor *t = lsm_cast_arg(L, 1, SM_F32);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (t->ndim != 1)
        lsm_argerror(L, 1,
                     lua_pushfstring(L, "expected distances [P], got %s",
                                     sm_tensor_shape_text(shape, t)));
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    lsm_argcheck(L, count > 0, 2, "expected at least one corner");
    sm_knot *knots = lsm_push_scratch(L, count, sizeof *knots);
    for (lua_Integer i = 1; i <= count; i++)
        knots[i - 1] = (sm_knot){number_at(L, 2, i), number_at(L, 3, i)};
    sm_meta meta = sm_tensor_meta(t);
    float *out = sm_f32(lsm_push_tensor(L, &meta, false));
    for (int64_t i = 0; i < t->shape[0]; i++) {
        float x = sm_f32(t)[i * t->stride[0]];
        out[i] = isnan(x) ? NAN : (float)sm_knots_at(knots, count, x);
    }
    return 1;
}

/* The bin of p, counted from 1: behind as many of the edges (list 3) as are below p. */
static lua_Integer bin_of(const double *edge, lua_Integer edges, double p) {
    lua_Integer low = 0, high = edges;
    while (low < high) {
        lua_Integer middle = low + (high - low) / 2;
        if (edge[middle] < p)
            low = middle + 1;
        else
            high = middle;
    }
    return low + 1;
}

static double *push_zeros(lua_State *L, lua_Integer count) {
    double *room = lsm_push_scratch(L, count, sizeof *room);
    for (lua_Integer i = 0; i < count; i++)
        room[i] = 0;
    return room;
}

static void push_numbers(lua_State *L, const double *values, lua_Integer count) {
    lua_createtable(L, (int)count, 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_pushnumber(L, values[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* bins(probabilities [P], same [P], list of the edges between bins): lists of each bin's
 * number of pairs, sum of probabilities, number of same pairs; and the mean of (p -
 * same)^2 over all */
static int l_bins(lua_State *L) {
    int64_t n;
    double squares = 0;
    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TTABLE);
    const sm_scored *pairs = lsm_check_scored(L, &n);
    lua_Integer edges = (lua_Integer)lua_rawlen(L, 3), bins = edges + 1;
    double *edge = push_zeros(L, bins), *count = push_zeros(L, bins),
           *sum = push_zeros(L, bins), *same = push_zeros(L, bins);
    for (lua_Integer i = 1; i <= edges; i++)
        edge[i - 1] = number_at(L, 3, i);
    for (int64_t i = 0; i < n; i++) {
        double p = pairs[i].distance;
        if (!(p >= 0 && p <= 1))
            lsm_argerror(
                L, 1,
                lua_pushfstring(L, "pair %I: a probability must be from 0 to 1, got %f",
                                (LUAI_UACINT)(i + 1), (LUAI_UACNUMBER)p));
        lua_Integer bin = bin_of(edge, edges, p) - 1;
        count[bin]++;
        sum[bin] += p;
        same[bin] += pairs[i].same;
        squares += (p - pairs[i].same) * (p - pairs[i].same);
    }
    push_numbers(L, count, bins);
    push_numbers(L, sum, bins);
    push_numbers(L, same, bins);
    lua_pushnumber(L, squares / (double)n);
    return 4;
}

static const luaL_Reg functions[] = {{"platt", l_platt},
                                     {"isotonic", l_isotonic},
                                     {"interpolate", l_interpolate},
                                     {"bins", l_bins},
                                     {NULL, NULL}};

void lsm_open_calibrate(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
