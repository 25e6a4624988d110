/* conv2d_blocked_avx2.c: the inner loops of the implicit-GEMM convolution in 256-bit
 * vectors. Of the 16 registers, 12 hold sums (6 pixels by 16 channels), 2 weights and 1
 * the broadcast value. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/conv2d_blocked.h"

typedef __m256 vec;
enum { VL = 8 };
#define VECTORS 2
enum { PIXELS_1 = 12, PIXELS_2 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_avx2
#define KERNELS_LABEL "avx2"

/* mask_of + 8 - n: n times -1, then zeros */
static const int32_t mask_of[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                    0,  0,  0,  0,  0,  0,  0,  0};

#define MASK(n) _mm256_loadu_si256((const __m256i *)(mask_of + 8 - (n)))
#define v_zero() _mm256_setzero_ps()
#define v_set(f) _mm256_set1_ps(f)
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_load_n(p, n) _mm256_maskload_ps(p, MASK(n))
#define v_store_n(p, v, n) _mm256_maskstore_ps(p, MASK(n), v)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
/* The second operand wins on NaN. */
#define v_clamp(v, low, high) _mm256_min_ps(high, _mm256_max_ps(low, v))

static inline __attribute__((always_inline)) void transpose_quad(vec *r) {
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
}

static inline __attribute__((always_inline)) void v_transpose(vec r[VL]) {
    transpose_quad(r);
    transpose_quad(r + 4);
    UNROLL for (int k = 0; k < 4; k++) {
        const vec low = r[k], high = r[4 + k];
        r[k] = _mm256_permute2f128_ps(low, high, 0x20);
        r[4 + k] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

#include "kernels/conv2d_blocked_impl.h"
#endif
