/* columns.h: sweeps over [rows, c], the pixels of an image with their channels together.
 * Written once (columns_impl.h), compiled for each instruction set.
 */
#ifndef SM_KERNELS_COLUMNS_H
#define SM_KERNELS_COLUMNS_H

#include <stdint.h>

typedef struct sm_columns {
    /* sum [c] of x y, in single precision: for some hundred rows at a time */
    void (*dot)(const float *x, const float *y, int64_t rows, int64_t c, float *sum);
} sm_columns;

extern const sm_columns sm_columns__ref, sm_columns__avx2, sm_columns__avx512;
const sm_columns *sm_columns_table(void);

#endif
