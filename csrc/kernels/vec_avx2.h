/* vec_avx2.h: the vectors of vec.h, 256 bits of them. */
#ifndef SM_KERNELS_VEC_AVX2_H
#define SM_KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/vec.h"

typedef __m256 vec;
typedef __m256i ivec;
enum { VL = 8 };

/* mask_of + 8 - n: n times -1, then zeros */
static const int32_t mask_of[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                    0,  0,  0,  0,  0,  0,  0,  0};

#define MASK(n) _mm256_loadu_si256((const __m256i *)(mask_of + 8 - (n)))
#define v_zero() _mm256_setzero_ps()
#define v_set(f) _mm256_set1_ps(f)
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_load_n(p, n) _mm256_maskload_ps(p, MASK(n))
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
/* The second operand wins on NaN. */
#define v_clamp(v, low, high) _mm256_min_ps(high, _mm256_max_ps(low, v))

/* A masked store takes some 20 cycles on AMD's processors. */
INLINE void v_store_n(float *p, vec v, int n) {
    __m128 low = _mm256_castps256_ps128(v);
    if (n == VL) {
        v_store(p, v);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(p, low);
        low = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, low);
        low = _mm_movehl_ps(low, low);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, low);
}

INLINE void transpose_quad(vec *r) {
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
}

INLINE void v_transpose(vec r[VL]) {
    transpose_quad(r);
    transpose_quad(r + 4);
    UNROLL for (int k = 0; k < 4; k++) {
        const vec low = r[k], high = r[4 + k];
        r[k] = _mm256_permute2f128_ps(low, high, 0x20);
        r[4 + k] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

#define i_set(i) _mm256_set1_epi32(i)
/* Where x is greater than *best, or NaN and *best is not: *best = x, *from = here. */
INLINE void v_keep_more(vec *best, ivec *from, vec x, ivec here) {
    const vec more = _mm256_and_ps(_mm256_cmp_ps(*best, *best, _CMP_ORD_Q),
                                   _mm256_cmp_ps(x, *best, _CMP_NLE_UQ));
    *best = _mm256_blendv_ps(*best, x, more);
    *from = _mm256_blendv_epi8(*from, here, _mm256_castps_si256(more));
}
/* The first n lanes, as bytes. */
INLINE void i_store_bytes(uint8_t *p, ivec v, int n) {
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    uint8_t bytes[16];
    _mm_storeu_si128((__m128i *)bytes, _mm_packus_epi16(words, words));
    for (int i = 0; i < n; i++)
        p[i] = bytes[i];
}
/* sum + x where the bytes at p are `here`. */
INLINE vec v_add_where(vec sum, vec x, const uint8_t *p, ivec here, int n) {
    uint8_t bytes[8] = {0};
    for (int i = 0; i < n; i++)
        bytes[i] = p[i];
    const ivec from = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    const vec same = _mm256_castsi256_ps(_mm256_cmpeq_epi32(from, here));
    return _mm256_add_ps(sum, _mm256_and_ps(same, x));
}

#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_floor(v) _mm256_floor_ps(v)
#define v_nearest(v) _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_whole(v) _mm256_cvttps_epi32(v)
#define v_load_bytes(p)                                                                  \
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
INLINE vec v_load_bytes_n(const uint8_t *p, int n) {
    uint8_t bytes[8] = {0};
    for (int i = 0; i < n; i++)
        bytes[i] = p[i];
    return v_load_bytes(bytes);
}
#define i_add(a, b) _mm256_add_epi32(a, b)
#define i_mul(a, b) _mm256_mullo_epi32(a, b)

/* The first operand of a maximum gives way to the second when it is NaN. */
INLINE void v_store_bytes(uint8_t *p, vec v) {
    const __m256i i =
        _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, v_zero()), v_set(255.0f)));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}
#define i_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define i_store(p, i) _mm256_storeu_si256((__m256i *)(p), i)
#define i_xor(a, b) _mm256_xor_si256(a, b)
INLINE ivec i_wide(ivec a, ivec k, ivec *high) {
    const ivec even = _mm256_mul_epu32(a, k);
    const ivec odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), k);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

typedef __m256 vmask;
#define v_inside(v, low, high)                                                           \
    _mm256_and_ps(_mm256_cmp_ps(v, low, _CMP_GT_OQ), _mm256_cmp_ps(v, high, _CMP_LT_OQ))
#define i_below(i, n)                                                                    \
    _mm256_castsi256_ps(                                                                 \
        _mm256_andnot_si256(_mm256_srai_epi32(i, 31), _mm256_cmpgt_epi32(n, i)))
#define m_and(a, b) _mm256_and_ps(a, b)
#define m_any(m) (_mm256_movemask_ps(m) != 0)
#define m_all(m) (_mm256_movemask_ps(m) == 0xff)
#define v_where(v, m) _mm256_and_ps(v, m)
#define v_gather(p, i, m, other) _mm256_mask_i32gather_ps(other, p, i, m, 4)

#endif
