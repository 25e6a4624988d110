/* resample.h: the columns of a strip of rows mixed into other columns. Written once
 * (resample_impl.h), compiled for each instruction set. */
#ifndef SM_KERNELS_RESAMPLE_H
#define SM_KERNELS_RESAMPLE_H

#include <stdint.h>

enum { SM_STRIP_LANES = 16 }; /* the most rows that a strip has */

/* Output i is the sum over k < count[i] of weight[i * most + k] times input first[i] + k.
 */
typedef struct sm_axis {
    int64_t in, out, most;
    int32_t *first, *count;
    float *weight;
} sm_axis;

typedef struct sm_resample {
    int64_t lanes; /* rows of a strip */
    /* y [lanes, y_row] = the columns of x [lanes, x_row] mixed. Rows are multiples of
     * SM_STRIP_LANES floats that hold `in` (`out`) columns; what lies behind those is
     * read and written, too. turned and mixed have room for lanes times x_row (y_row). A
     * strip turns so that its rows lie side by side in a vector: each weight then serves
     * all. */
    void (*columns)(const sm_axis *a, const float *x, int64_t x_row, float *y,
                    int64_t y_row, float *turned, float *mixed);
} sm_resample;

extern const sm_resample sm_resample__ref, sm_resample__avx2, sm_resample__avx512;
/* Those of the path in use. */
const sm_resample *sm_resample_table(void);

#endif
