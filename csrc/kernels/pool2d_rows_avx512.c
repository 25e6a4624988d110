/* pool2d_rows_avx512.c: sixteen windows at a time; the tail is masked. See pool2d_rows.h.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/pool2d_rows.h"

/* Lanes of a pair of registers that holds 2n floats. */
static inline __m512 load(const float *x, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, x);
}

static inline __mmask16 lanes(int64_t n) {
    return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

static inline __mmask16 replaces(__m512 later, __m512 earlier) {
    return _mm512_cmp_ps_mask(later, earlier, _CMP_NLE_UQ) &
           _mm512_cmp_ps_mask(earlier, earlier, _CMP_ORD_Q);
}

static void max_(const float *top, const float *low, int64_t n, float *y,
                 uint8_t *where) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    for (int64_t j = 0; j < n; j += 16) {
        __mmask16 first = lanes(2 * (n - j)), second = lanes(2 * (n - j) - 16),
                  out = lanes(n - j);
        __m512 t0 = load(top + 2 * j, first), t1 = load(top + 2 * j + 16, second);
        __m512 l0 = load(low + 2 * j, first), l1 = load(low + 2 * j + 16, second);
        __m512 a = _mm512_permutex2var_ps(t0, even, t1),
               b = _mm512_permutex2var_ps(t0, odd, t1);
        __m512 c = _mm512_permutex2var_ps(l0, even, l1),
               d = _mm512_permutex2var_ps(l0, odd, l1);
        __mmask16 right = replaces(b, a), low_right = replaces(d, c);
        __m512 u = _mm512_mask_blend_ps(right, a, b),
               v = _mm512_mask_blend_ps(low_right, c, d);
        __mmask16 below = replaces(v, u);
        _mm512_mask_storeu_ps(y + j, out, _mm512_mask_blend_ps(below, u, v));
        if (!where)
            continue;
        __mmask16 one = (__mmask16)((below & low_right) | (~below & right));
        __m512i place = _mm512_maskz_set1_epi32(one, 1);
        place = _mm512_mask_add_epi32(place, below, place, _mm512_set1_epi32(2));
        _mm_mask_storeu_epi8(where + j, out, _mm512_cvtepi32_epi8(place));
    }
}

static void spread_(const float *dy, const uint8_t *where, int64_t n, float *top,
                    float *low) {
    const __m512i first_half =
        _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second_half =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    for (int64_t j = 0; j < n; j += 16) {
        __mmask16 in = lanes(n - j), first = lanes(2 * (n - j)),
                  second = lanes(2 * (n - j) - 16);
        __m512 d = load(dy + j, in), part[4];
        __m512i place = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(in, where + j));
        for (int k = 0; k < 4; k++)
            part[k] = _mm512_maskz_mov_ps(
                _mm512_cmpeq_epi32_mask(place, _mm512_set1_epi32(k)), d);
        _mm512_mask_storeu_ps(top + 2 * j, first,
                              _mm512_permutex2var_ps(part[0], first_half, part[1]));
        _mm512_mask_storeu_ps(top + 2 * j + 16, second,
                              _mm512_permutex2var_ps(part[0], second_half, part[1]));
        _mm512_mask_storeu_ps(low + 2 * j, first,
                              _mm512_permutex2var_ps(part[2], first_half, part[3]));
        _mm512_mask_storeu_ps(low + 2 * j + 16, second,
                              _mm512_permutex2var_ps(part[2], second_half, part[3]));
    }
}

const sm_pool2d_rows sm_pool2d_rows__avx512 = {max_, spread_};
#else
typedef int sm_pool2d_rows_avx512_unused;
#endif
