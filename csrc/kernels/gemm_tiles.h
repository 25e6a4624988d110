/* gemm_tiles.h: one matrix product through the register tiles of the convolutions.
 * Internal to gemm.c.
 *
 * What BLAS library a machine has, and whether that knows its processor, is not ours to
 * choose: Debian 12's OpenBLAS takes an Emerald Rapids for a Prescott, and gives a
 * seventh of what it could. These tiles follow our own choice of the instruction set.
 */
#ifndef SM_KERNELS_GEMM_TILES_H
#define SM_KERNELS_GEMM_TILES_H

#include "kernels/gemm.h"

/* C = op(A) op(B) (+ C), of one product of the batch g with m rows and n columns; g's own
 * m, n and strides are not looked at. On the calling thread alone. False, with C as it
 * was, where BLAS should do it: on the portable path, for other alpha and beta than 1
 * and 0 or 1, for leading dimensions in the millions, and without memory. */
bool sm_gemm_tiles(const sm_gemm_batch *g, int64_t m, int64_t n, const float *a,
                   const float *b, float *c);

#endif
