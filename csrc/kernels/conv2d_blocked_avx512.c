/* conv2d_blocked_avx512.c: the inner loops of the implicit-GEMM convolution in 512-bit
 * vectors. Of the 32 registers, 24 hold sums (6 pixels by 64 channels), 4 weights and 1
 * the broadcast value. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/conv2d_blocked.h"

typedef __m512 vec;
enum { VL = 16 };
#define VECTORS 4
enum { PIXELS_1 = 12, PIXELS_2 = 12, PIXELS_3 = 8, PIXELS_4 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_avx512
#define KERNELS_LABEL "avx512"

#define v_zero() _mm512_setzero_ps()
#define v_set(f) _mm512_set1_ps(f)
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_load_n(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define v_store_n(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), v)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
/* The second operand wins on NaN. */
#define v_clamp(v, low, high) _mm512_min_ps(high, _mm512_max_ps(low, v))

/* Rows 4i .. 4i+3: 128-bit lane l of r[4i+k] becomes column 4l+k of these rows. */
static inline __attribute__((always_inline)) void transpose_quad(vec *r) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
}

static inline __attribute__((always_inline)) void v_transpose(vec r[VL]) {
    UNROLL for (int i = 0; i < 4; i++) transpose_quad(r + 4 * i);
    UNROLL for (int k = 0; k < 4; k++) {
        const vec a = _mm512_shuffle_f32x4(r[k], r[4 + k], 0x44);
        const vec b = _mm512_shuffle_f32x4(r[k], r[4 + k], 0xee);
        const vec c = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0x44);
        const vec d = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0xee);
        r[k] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[4 + k] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[8 + k] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[12 + k] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#include "kernels/conv2d_blocked_impl.h"
#endif
