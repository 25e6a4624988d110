/* pool2d_rows.h: one row of 2x2 max-pooling with stride 2, and its gradient; for each
 * instruction set. */
#ifndef SM_KERNELS_POOL2D_ROWS_H
#define SM_KERNELS_POOL2D_ROWS_H

#include <stddef.h>
#include <stdint.h>

typedef struct sm_pool2d_rows {
    /* y[j] is the first maximum of top[2j], top[2j+1], low[2j], low[2j+1] (NaN wins),
     * where[j] which of the four (where may be NULL); n of them. */
    void (*max)(const float *top, const float *low, int64_t n, float *y, uint8_t *where);
    /* dy[j] to the place that where[j] names, 0 to the other three. */
    void (*spread)(const float *dy, const uint8_t *where, int64_t n, float *top,
                   float *low);
} sm_pool2d_rows;

extern const sm_pool2d_rows sm_pool2d_rows__ref, sm_pool2d_rows__avx2,
    sm_pool2d_rows__avx512;

#endif
