/* pool2d_pixels_impl.h: the loops of pool2d_pixels.h. The including file defines
 * SUFFIX(name). */
#include <stdbool.h>
#include <stddef.h>

#include "kernels/pool2d_pixels.h"

#define INLINE static inline __attribute__((always_inline))

/* Channels [at, at + w), w a constant. */
INLINE void max_block(const float *const *x, const uint8_t *place, int64_t taps, float *y,
                      uint8_t *where, int64_t at, const int w) {
    float best[16];
    int32_t from[16];
    for (int j = 0; j < w; j++) {
        best[j] = x[0][at + j];
        from[j] = place[0];
    }
    for (int64_t t = 1; t < taps; t++) {
        const float *v = x[t] + at;
        const int32_t here = place[t];
        for (int j = 0; j < w; j++) {
            bool more = !(v[j] <= best[j]) && best[j] == best[j];
            best[j] = more ? v[j] : best[j];
            from[j] = more ? here : from[j];
        }
    }
    for (int j = 0; j < w; j++)
        y[at + j] = best[j];
    if (where)
        for (int j = 0; j < w; j++)
            where[at + j] = (uint8_t)from[j];
}

static void max_(const float *const *x, const uint8_t *place, int64_t taps, int64_t c,
                 float *y, uint8_t *where) {
    int64_t at = 0;
    for (; at + 16 <= c; at += 16)
        max_block(x, place, taps, y, where, at, 16);
    for (; at + 4 <= c; at += 4)
        max_block(x, place, taps, y, where, at, 4);
    for (; at < c; at++)
        max_block(x, place, taps, y, where, at, 1);
}

INLINE void max_back_block(const float *const *dy, const uint8_t *const *where,
                           const uint8_t *place, int64_t windows, float *dx, int64_t at,
                           const int w) {
    float sum[16] = {0};
    for (int64_t t = 0; t < windows; t++) {
        const int32_t here = place[t];
        int32_t from[16];
        for (int j = 0; j < w; j++)
            from[j] = where[t][at + j];
        for (int j = 0; j < w; j++)
            sum[j] += from[j] == here ? dy[t][at + j] : 0;
    }
    for (int j = 0; j < w; j++)
        dx[at + j] = sum[j];
}

static void max_back_(const float *const *dy, const uint8_t *const *where,
                      const uint8_t *place, int64_t windows, int64_t c, float *dx) {
    int64_t at = 0;
    for (; at + 16 <= c; at += 16)
        max_back_block(dy, where, place, windows, dx, at, 16);
    for (; at + 4 <= c; at += 4)
        max_back_block(dy, where, place, windows, dx, at, 4);
    for (; at < c; at++)
        max_back_block(dy, where, place, windows, dx, at, 1);
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
