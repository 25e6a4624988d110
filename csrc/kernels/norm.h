/* norm.h: the sweeps of normalisation. Written once (norm_impl.h), compiled for each
 * instruction set.
 *
 * Batch norm sees [rows, c]: the pixels of all images, with their channels together. Its
 * sums run over some thousand floats at a time, which lie in the cache, so that the
 * caller can add in double.
 */
#ifndef SM_KERNELS_NORM_H
#define SM_KERNELS_NORM_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/limits.h"

/* Batch norm's map of a channel, and its gradient. All arrays but the first are [c]. */
typedef struct sm_norm_columns {
    int64_t rows, c;
    const float *mean;
    const float *scale, *shift; /* y = limits(x scale + shift + residual) */
    sm_limits limits;
    const float *a,
        *b; /* dx = scale dz + a x + b, with dz = dy where y is within limits */
} sm_norm_columns;

typedef struct sm_norm {
    /* sum of x; of (x - mean)^2 */
    float (*sum)(const float *x, int64_t n);
    float (*squares)(const float *x, int64_t n, float mean);
    /* y = x scale + shift */
    void (*affine)(float *restrict y, const float *restrict x, int64_t n, float scale,
                   float shift);
    float (*dot)(const float *x, const float *y, int64_t n);
    /* y = a x + b z */
    void (*combine)(float *restrict y, const float *restrict x, const float *restrict z,
                    int64_t n, float a, float b);
    /* dz = dy where low < y < high, else 0 (a limit that is infinite is none) */
    void (*mask)(float *dz, const float *dy, const float *y, int64_t n, sm_limits limits);
    /* Sums [c] of x; of (x - mean)^2. */
    void (*column_sums)(const sm_norm_columns *k, const float *x, float *sum);
    void (*column_squares)(const sm_norm_columns *k, const float *x, float *sum);
    /* y; residual may be NULL */
    void (*column_map)(const sm_norm_columns *k, const float *x, const float *residual,
                       float *y);
    /* Sums [c] of dz and dz (x - mean). y tells what is within limits; NULL where there
     * was no residual: then x does. */
    void (*column_dots)(const sm_norm_columns *k, const float *dy, const float *x,
                        const float *y, float *sum, float *sum_x);
    /* dx and dz; either may be NULL */
    void (*column_back)(const sm_norm_columns *k, const float *dy, const float *x,
                        const float *y, float *dx, float *dz);
} sm_norm;

extern const sm_norm sm_norm__ref, sm_norm__avx2, sm_norm__avx512;
const sm_norm *sm_norm_table(void);

#endif
