/* columns.h: sweeps over [rows, c], the pixels of images with their channels together.
 * Written once (columns_impl.h), compiled for each instruction set.
 */
#ifndef SM_KERNELS_COLUMNS_H
#define SM_KERNELS_COLUMNS_H

#include <stdint.h>

/* Local response normalisation: y = x s^-beta with s = k + alpha / size times the sum of
 * x^2 over the channels c - below .. c + above. */
typedef struct sm_lrn {
    int64_t c, below, above; /* at most c - 1 below and above */
    float slope, beta, k;    /* slope: alpha / size */
} sm_lrn;

typedef struct sm_columns {
    /* sum [c] of x y, in single precision: for some hundred rows at a time */
    void (*dot)(const float *x, const float *y, int64_t rows, int64_t c, float *sum);
    /* With u = max(x, eps): sum [c] of u^p, and of u^p log u; and dx = slope u^(p-1), 0
     * where x is below eps */
    void (*power_sum)(const float *x, int64_t rows, int64_t c, float p, float eps,
                      float *sum);
    void (*power_log_sum)(const float *x, int64_t rows, int64_t c, float p, float eps,
                          float *sum);
    void (*power_back)(const float *x, int64_t rows, int64_t c, float p, float eps,
                       const float *slope, float *dx);
    /* Where x [c] is greater than best, or NaN and best is not: best = x, from = here */
    void (*keep_more)(const float *x, int64_t c, int32_t here, float *best,
                      int32_t *from);
    /* room: 3 c + below + above floats */
    void (*lrn)(const sm_lrn *p, const float *x, int64_t rows, float *y, float *room);
    void (*lrn_back)(const sm_lrn *p, const float *x, const float *dy, int64_t rows,
                     float *dx, float *room);
} sm_columns;

extern const sm_columns sm_columns__ref, sm_columns__avx2, sm_columns__avx512;
const sm_columns *sm_columns_table(void);

#endif
