/* pairwise.h: distances of all rows of one matrix to all rows of another, some rows at a
 * time: one matrix product a block (for L1, sums over columns).
 *
 *     sm_pairwise p;
 *     if (sm_pairwise_open(&p, SM_MEASURE_L2, a, n, b, m, d, err) == SM_OK)
 *         status = sm_pairwise_rows(&p, 0, 64, 0, y, err);
 *     sm_pairwise_close(&p);
 *
 * Distances that a product's rounding would blur (of rows that are much closer to each
 * other than to the origin) are formed anew from differences; equal rows have distance 0.
 */
#ifndef SM_KERNELS_PAIRWISE_H
#define SM_KERNELS_PAIRWISE_H

#include <stdint.h>

#include "base/status.h"

typedef enum sm_measure {
    SM_MEASURE_L2,
    SM_MEASURE_L2_SQUARED,
    SM_MEASURE_L1,
    SM_MEASURE_COSINE, /* 1 - cosine; rows of zeros are at 1 from all others */
    SM_MEASURE_COUNT
} sm_measure;

/* What was made ready; a and b are the caller's and must stay. */
typedef struct sm_pairwise {
    sm_measure measure;
    int64_t n, m, d;
    const float *a, *b; /* [n,d], [m,d]; for the cosine copies with rows of length 1 */
    float *a2, *b2;     /* squared lengths of the rows; not for L1 */
    float *turned;      /* b as [d,m], for L1 */
    void *memory;
} sm_pairwise;

/* SM_EINVAL, naming the operand (1 or 2) and the row, where a number is not finite or a
 * row's squared length overflows float32; SM_ENOMEM. sm_pairwise_close is allowed after a
 * failure. */
sm_status sm_pairwise_open(sm_pairwise *p, sm_measure measure, const float *a, int64_t n,
                           const float *b, int64_t m, int64_t d, sm_error *err);
void sm_pairwise_close(sm_pairwise *p);

/* y [end - begin, m - first]: the distances of rows begin..end of a to those of b from
 * `first` on. On all threads. Fails only with gemm.h's failures. */
sm_status sm_pairwise_rows(const sm_pairwise *p, int64_t begin, int64_t end,
                           int64_t first, float *y, sm_error *err);

/* As many rows of m distances as make a block that the caches bear; at least 1. */
int64_t sm_pairwise_block(int64_t m);

#endif
