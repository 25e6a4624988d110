/* gemm_packed.h: products with one matrix B many times over, packed once.
 *
 *     C[m,n] (+)= A[m,k] op(B)[k,n]
 *
 * A recurrent layer multiplies a few rows by the same weights at each step, where packing
 * them (gemm_tiles.h) would cost as much as the product. The calling thread alone does
 * it; a row of C has the same bits whatever other rows are with it.
 */
#ifndef SM_KERNELS_GEMM_PACKED_H
#define SM_KERNELS_GEMM_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sm_gemm_packed sm_gemm_packed;

/* op(B) is B [k,n], or with trans_b B^T of B [n,k]; dense rows. B must outlive *out,
 * which sm_gemm_packed_free gives back (NULL is allowed). SM_ENOMEM, no other failure. */
sm_status sm_gemm_pack(bool trans_b, int64_t n, int64_t k, const float *b,
                       sm_gemm_packed **out, sm_error *err);
void sm_gemm_packed_run(const sm_gemm_packed *p, int64_t m, const float *a, int64_t lda,
                        float *c, int64_t ldc, bool add);
void sm_gemm_packed_free(sm_gemm_packed *p);

#endif
