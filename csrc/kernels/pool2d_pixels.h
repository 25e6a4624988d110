/* pool2d_pixels.h: what pooling does to the channels of one pixel. Written once
 * (pool2d_pixels_impl.h), compiled for each instruction set. */
#ifndef SM_KERNELS_POOL2D_PIXELS_H
#define SM_KERNELS_POOL2D_PIXELS_H

#include <stdint.h>

typedef struct sm_pool2d_pixels {
    /* The first maximum of x[0..taps-1][j] (NaN wins) for j < c, taps >= 1; where[j] (may
     * be NULL) gets place[t]. */
    void (*max)(const float *const *x, const uint8_t *place, int64_t taps, int64_t c,
                float *y, uint8_t *where);
    /* dx[j] = sum of dy[t][j] over the windows t whose where[t][j] is place[t] */
    void (*max_back)(const float *const *dy, const uint8_t *const *where,
                     const uint8_t *place, int64_t windows, int64_t c, float *dx);
    /* y += a x */
    void (*add)(float *restrict y, const float *restrict x, int64_t n, float a);
    /* y /= a */
    void (*divide)(float *y, int64_t n, float a);
} sm_pool2d_pixels;

extern const sm_pool2d_pixels sm_pool2d_pixels__ref, sm_pool2d_pixels__avx2,
    sm_pool2d_pixels__avx512;

#endif
