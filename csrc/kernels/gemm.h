/* gemm.h: single-precision matrix products on the project's threads.
 *
 * Matrices are row-major; lda, ldb and ldc are the distances in floats between rows as
 * stored. C is cut statically over our pool, and the cuts are done by gemm_tiles.h where
 * the processor has AVX2 or AVX-512, else by BLAS, held to one thread; so the same
 * shapes, thread count and instruction set give the same bits. Inside a parallel loop a
 * product runs on its caller. Nothing here keeps memory or pointers.
 *
 *     C[m,n] = alpha * op(A)[m,k] * op(B)[k,n] + beta * C
 *
 * where op(X) is X, or X^T where trans is set. For y = x W^T:
 *
 *     sm_gemm(false, true, n, out, in, 1.0f, x, in, weight, in, 0.0f, y, out, err);
 */
#ifndef SM_KERNELS_GEMM_H
#define SM_KERNELS_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Holds BLAS to one thread. The products call it themselves; calling it again costs
 * nothing. */
void sm_gemm_init(void);

/* With beta = 0, C is written without being read (a NaN in it does not survive). m or n =
 * 0 does nothing; k = 0 or alpha = 0 gives C = beta * C without reading A and B.
 * SM_EINVAL when a size or a leading dimension passes what BLAS counts with (2^31 - 1); C
 * is untouched then. */
sm_status sm_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                  float beta, float *c, int64_t ldc, sm_error *err);

/* `batch` products of one shape. Matrix i of A starts at a + i * stride_a, and so on; a
 * stride of 0 uses the same A or B for all (stride_c must keep the results apart). */
typedef struct sm_gemm_batch {
    bool trans_a, trans_b;
    int64_t batch, m, n, k;
    float alpha, beta;
    int64_t lda, ldb, ldc;
    int64_t stride_a, stride_b, stride_c;
} sm_gemm_batch;

/* Same rules and failures as sm_gemm. A batch of at least the number of threads is cut
 * over the batch, a smaller one inside each product. */
sm_status sm_gemm_batched(const sm_gemm_batch *g, const float *a, const float *b,
                          float *c, sm_error *err);

#endif
