/* vec_avx512.h: the vectors of vec.h, 512 bits of them. */
#ifndef SM_KERNELS_VEC_AVX512_H
#define SM_KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/vec.h"

typedef __m512 vec;
typedef __m512i ivec;
enum { VL = 16 };

#define LANES_MASK(n) (__mmask16)((1u << (n)) - 1)
#define v_zero() _mm512_setzero_ps()
#define v_set(f) _mm512_set1_ps(f)
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_load_n(p, n) _mm512_maskz_loadu_ps(LANES_MASK(n), p)
#define v_store_n(p, v, n) _mm512_mask_storeu_ps(p, LANES_MASK(n), v)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
/* The second operand wins on NaN. */
#define v_clamp(v, low, high) _mm512_min_ps(high, _mm512_max_ps(low, v))

/* Rows 4i .. 4i+3: 128-bit lane l of r[4i+k] becomes column 4l+k of these rows. */
INLINE void transpose_quad(vec *r) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
}

INLINE void v_transpose(vec r[VL]) {
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

#define i_set(i) _mm512_set1_epi32(i)
/* Where x is greater than *best, or NaN and *best is not: *best = x, *from = here. */
INLINE void v_keep_more(vec *best, ivec *from, vec x, ivec here) {
    const __mmask16 more = _mm512_mask_cmp_ps_mask(
        _mm512_cmp_ps_mask(*best, *best, _CMP_ORD_Q), x, *best, _CMP_NLE_UQ);
    *best = _mm512_mask_mov_ps(*best, more, x);
    *from = _mm512_mask_mov_epi32(*from, more, here);
}
/* The first n lanes, as bytes. */
INLINE void i_store_bytes(uint8_t *p, ivec v, int n) {
    _mm_mask_storeu_epi8(p, LANES_MASK(n), _mm512_cvtepi32_epi8(v));
}
/* sum + x where the bytes at p are `here`. */
INLINE vec v_add_where(vec sum, vec x, const uint8_t *p, ivec here, int n) {
    const ivec from = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(LANES_MASK(n), p));
    return _mm512_mask_add_ps(sum, _mm512_cmpeq_epi32_mask(from, here), sum, x);
}

#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_floor(v) _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)
#define v_nearest(v)                                                                     \
    _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_whole(v) _mm512_cvttps_epi32(v)
#define v_load_bytes(p)                                                                  \
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define v_load_bytes_n(p, n)                                                             \
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(LANES_MASK(n), p)))
#define i_add(a, b) _mm512_add_epi32(a, b)
#define i_mul(a, b) _mm512_mullo_epi32(a, b)

/* The first operand of a maximum gives way to the second when it is NaN. */
#define v_store_bytes(p, v)                                                              \
    _mm_storeu_si128((__m128i *)(p),                                                     \
                     _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(                          \
                         _mm512_min_ps(_mm512_max_ps(v, v_zero()), v_set(255.0f)))))
#define i_load(p) _mm512_loadu_si512(p)
#define i_store(p, i) _mm512_storeu_si512(p, i)
#define i_xor(a, b) _mm512_xor_si512(a, b)
INLINE ivec i_wide(ivec a, ivec k, ivec *high) {
    const ivec even = _mm512_mul_epu32(a, k);
    const ivec odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), k);
    *high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

typedef __mmask16 vmask;
#define v_inside(v, low, high)                                                           \
    _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, low, _CMP_GT_OQ), v, high, _CMP_LT_OQ)
#define i_below(i, n) _mm512_cmplt_epu32_mask(i, n)
#define m_and(a, b) (vmask)((a) & (b))
#define m_any(m) ((m) != 0)
#define m_all(m) ((m) == 0xffff)
#define v_where(v, m) _mm512_maskz_mov_ps(m, v)
#define v_gather(p, i, m, other) _mm512_mask_i32gather_ps(other, m, i, p, 4)

#endif
