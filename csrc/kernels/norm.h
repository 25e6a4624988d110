/* norm.h: the sweeps of normalisation: sums, sums of squares, affine maps and their
 * gradients over runs of contiguous floats. Written once (norm_impl.h), compiled for each
 * instruction set. */
#ifndef SM_KERNELS_NORM_H
#define SM_KERNELS_NORM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sm_norm {
    /* sum of x; of (x - mean)^2 */
    float (*sum)(const float *x, int64_t n);
    float (*squares)(const float *x, int64_t n, float mean);
    /* y = x scale + shift, not below 0 with relu */
    void (*affine)(float *restrict y, const float *restrict x, int64_t n, float scale,
                   float shift, bool relu);
    /* sums of dy and of dy (x - mean); with y, only where y > 0 */
    void (*dots)(const float *dy, const float *x, const float *y, int64_t n, float mean,
                 float *sum_dy, float *sum_dy_x);
    /* dx = a dy + b x + c; with y, dy counts only where y > 0 */
    void (*combine)(float *restrict dx, const float *restrict dy, const float *restrict x,
                    const float *restrict y, int64_t n, float a, float b, float c);
} sm_norm;

extern const sm_norm sm_norm__ref, sm_norm__avx2, sm_norm__avx512;
const sm_norm *sm_norm_table(void);

#endif
