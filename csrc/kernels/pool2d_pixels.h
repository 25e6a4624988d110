/* pool2d_pixels.h: pooling of a run of neighbouring output pixels, all channels. Written
 * once (pool2d_pixels_impl.h), compiled for each instruction set. */
#ifndef SM_KERNELS_POOL2D_PIXELS_H
#define SM_KERNELS_POOL2D_PIXELS_H

#include <stdint.h>

enum { SM_POOL_TAPS = 255 };

/* A run of windows that all have the same taps inside the image. */
typedef struct sm_pool2d_run {
    int64_t pixels, c;
    int64_t taps;                /* 1 .. SM_POOL_TAPS */
    int64_t tap[SM_POOL_TAPS];   /* floats from x to the tap of the first window */
    uint8_t place[SM_POOL_TAPS]; /* the tap's place in the window */
    int64_t step;                /* floats from window to window */
} sm_pool2d_run;

typedef struct sm_pool2d_pixels {
    /* y[pixel][c]: the first maximum of the taps (NaN wins); where (may be NULL) gets its
     * place. */
    void (*max)(const sm_pool2d_run *r, const float *x, float *y, uint8_t *where);
    /* The taps are windows here: dx[c] = sum of dy[tap[t] + c] over the t whose
     * where[tap[t] + c] is place[t]. dx moves by `step` from pixel to pixel, dy by c. */
    void (*max_back)(const sm_pool2d_run *r, const float *dy, const uint8_t *where,
                     float *dx);
    /* y += a x */
    void (*add)(float *restrict y, const float *restrict x, int64_t n, float a);
    /* y /= a */
    void (*divide)(float *y, int64_t n, float a);
} sm_pool2d_pixels;

extern const sm_pool2d_pixels sm_pool2d_pixels__ref, sm_pool2d_pixels__avx2,
    sm_pool2d_pixels__avx512;

#endif
