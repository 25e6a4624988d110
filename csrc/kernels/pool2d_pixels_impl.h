/* pool2d_pixels_impl.h: the loops of pool2d_pixels.h, over the vectors of vec.h. The
 * including file defines SUFFIX(name). */
#include <stddef.h>

#include "kernels/pool2d_pixels.h"

/* `lanes` channels of one window. */
INLINE void max_lanes(const sm_pool2d_run *r, const float *x, float *y, uint8_t *where,
                      const int lanes) {
    vec best = v_load_n(x + r->tap[0], lanes);
    ivec from = i_set(r->place[0]);
    for (int64_t t = 1; t < r->taps; t++)
        v_keep_more(&best, &from, v_load_n(x + r->tap[t], lanes), i_set(r->place[t]));
    v_store_n(y, best, lanes);
    if (where)
        i_store_bytes(where, from, lanes);
}

static void max_(const sm_pool2d_run *r, const float *x, float *y, uint8_t *where) {
    const int64_t whole = r->c / VL * VL;
    const int rest = (int)(r->c - whole);
    for (int64_t p = 0; p < r->pixels; p++, x += r->step, y += r->c) {
        for (int64_t c = 0; c < whole; c += VL)
            max_lanes(r, x + c, y + c, where ? where + c : NULL, VL);
        if (rest)
            max_lanes(r, x + whole, y + whole, where ? where + whole : NULL, rest);
        where = where ? where + r->c : NULL;
    }
}

INLINE void max_back_lanes(const sm_pool2d_run *r, const float *dy, const uint8_t *where,
                           float *dx, const int lanes) {
    vec sum = v_zero();
    for (int64_t t = 0; t < r->taps; t++)
        sum = v_add_where(sum, v_load_n(dy + r->tap[t], lanes), where + r->tap[t],
                          i_set(r->place[t]), lanes);
    v_store_n(dx, sum, lanes);
}

static void max_back_(const sm_pool2d_run *r, const float *dy, const uint8_t *where,
                      float *dx) {
    const int64_t whole = r->c / VL * VL;
    const int rest = (int)(r->c - whole);
    for (int64_t p = 0; p < r->pixels; p++, dx += r->step) {
        for (int64_t c = 0; c < whole; c += VL)
            max_back_lanes(r, dy + c, where + c, dx + c, VL);
        if (rest)
            max_back_lanes(r, dy + whole, where + whole, dx + whole, rest);
        dy += r->c;
        where += r->c;
    }
}

static void add_(float *restrict y, const float *restrict x, int64_t n, float a) {
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void divide_(float *y, int64_t n, float a) {
    for (int64_t i = 0; i < n; i++)
        y[i] /= a;
}

const sm_pool2d_pixels SUFFIX(sm_pool2d_pixels) = {max_, max_back_, add_, divide_};
