/* pixels.h: loops over the pixels of rows: conversion, colours, mixing of rows, noise.
 * Written once (pixels_impl.h), compiled for each instruction set.
 *
 * y may be x where both are of one type and nothing else is said. `high` is what white
 * is: 1, or 255 for what comes from bytes. The weights of grey are those of ITU-R BT.601
 * as torchvision has them: 0.2989, 0.587, 0.114.
 */
#ifndef SM_KERNELS_PIXELS_H
#define SM_KERNELS_PIXELS_H

#include <stdint.h>

/* a x + b, from low to high. */
typedef struct sm_line {
    float a, b, low, high;
} sm_line;

typedef struct sm_pixels {
    void (*from_u8)(float *y, const uint8_t *x, int64_t n);
    /* Rounded, halves to even, into 0..255; NaN gives 0. */
    void (*to_u8)(uint8_t *y, const float *x, int64_t n);
    /* y is not x. */
    void (*reverse_u8)(uint8_t *y, const uint8_t *x, int64_t n);
    void (*reverse_f32)(float *y, const float *x, int64_t n);
    double (*sum_u8)(const uint8_t *x, int64_t n);
    double (*sum_f32)(const float *x, int64_t n);

    /* NaN stays NaN. */
    void (*line_f32)(float *y, const float *x, int64_t n, sm_line l);
    void (*line_u8)(uint8_t *y, const uint8_t *x, int64_t n, sm_line l);
    void (*invert_u8)(uint8_t *y, const uint8_t *x, int64_t n); /* 255 - x */
    void (*line_from_u8)(float *y, const uint8_t *x, int64_t n, sm_line l);
    void (*grey)(float *y, const float *const x[3], int64_t n);
    /* a x + (1 - a) grey, from 0 to high */
    void (*saturate)(float *const y[3], const float *const x[3], int64_t n, float a,
                     float high);
    /* Hue (as in HSV, a turn is 1) moved by `shift`. */
    void (*hue)(float *const y[3], const float *const x[3], int64_t n, float shift);
    /* high gain (x / high)^gamma, from 0 to high when gain is not 1; x from 0. */
    void (*gamma)(float *y, const float *x, int64_t n, float gamma, float gain,
                  float high);
    /* a x + b + sigma z, from low to high */
    void (*add_noise)(float *y, const float *x, const float *z, int64_t n, float sigma,
                      sm_line l);
    /* n draws out of blocks counter, counter + 1, ... of a Philox generator (base/rng.h):
     * with m = ceil(n / 4), number j m + i is made of word j of block i. Uniform in
     * [0, 1); standard normal (Box and Muller 1958: words 0 and 1 give numbers of parts 0
     * and 1, words 2 and 3 of parts 2 and 3). y has room for 4 m. */
    void (*uniform)(float *y, int64_t n, uint64_t key, uint64_t counter);
    void (*normal)(float *y, int64_t n, uint64_t key, uint64_t counter);

    /* y = sum of w[k] rows[k]; y is none of them. */
    void (*mix_u8)(float *y, const uint8_t *const *rows, const float *w, int64_t taps,
                   int64_t n);
    void (*mix_f32)(float *y, const float *const *rows, const float *w, int64_t taps,
                    int64_t n);
    /* y[i] = sum of w[k] x[i + k]; y is not x. */
    void (*filter)(float *y, const float *x, const float *w, int64_t taps, int64_t n);
    /* y = the most (least) of rows[0 .. taps - 1]; y[i] = that of x[i .. i + taps - 1] */
    void (*most)(float *y, const float *const *rows, int64_t taps, int64_t n);
    void (*least)(float *y, const float *const *rows, int64_t taps, int64_t n);
    void (*most_of)(float *y, const float *x, int64_t taps, int64_t n);
    void (*least_of)(float *y, const float *x, int64_t taps, int64_t n);
    /* y += t (x - y) */
    void (*blend)(float *y, const float *x, int64_t n, float t);
} sm_pixels;

extern const sm_pixels sm_pixels__ref, sm_pixels__avx2, sm_pixels__avx512;
/* Those of the path in use. */
const sm_pixels *sm_pixels_table(void);

#endif
