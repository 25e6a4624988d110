/* pool2d_rows_avx2.c: eight windows at a time; the tail is left to the reference. See
 * pool2d_rows.h. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/pool2d_rows.h"

/* Even (odd) elements of sixteen floats in a row. */
static inline void split(const float *x, __m256 *even, __m256 *odd) {
    __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
    __m256d e = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    __m256d o = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD));
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(e, 0xD8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(o, 0xD8));
}

static inline void join(__m256 even, __m256 odd, float *x) {
    __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(x, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(x + 8, _mm256_permute2f128_ps(low, high, 0x31));
}

static inline __m256 replaces(__m256 later, __m256 earlier) {
    return _mm256_and_ps(_mm256_cmp_ps(later, earlier, _CMP_NLE_UQ),
                         _mm256_cmp_ps(earlier, earlier, _CMP_ORD_Q));
}

static void max_(const float *top, const float *low, int64_t n, float *y,
                 uint8_t *where) {
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        __m256 a, b, c, d;
        split(top + 2 * j, &a, &b);
        split(low + 2 * j, &c, &d);
        __m256 right = replaces(b, a), low_right = replaces(d, c);
        __m256 u = _mm256_blendv_ps(a, b, right), v = _mm256_blendv_ps(c, d, low_right);
        __m256 below = replaces(v, u);
        _mm256_storeu_ps(y + j, _mm256_blendv_ps(u, v, below));
        if (!where)
            continue;
        int under = _mm256_movemask_ps(below);
        int one = _mm256_movemask_ps(_mm256_blendv_ps(right, low_right, below));
        for (int k = 0; k < 8; k++)
            where[j + k] = (uint8_t)((under >> k & 1) * 2 + (one >> k & 1));
    }
    sm_pool2d_rows__ref.max(top + 2 * j, low + 2 * j, n - j, y + j,
                            where ? where + j : NULL);
}

static void spread_(const float *dy, const uint8_t *where, int64_t n, float *top,
                    float *low) {
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        __m256 d = _mm256_loadu_ps(dy + j), part[4];
        __m256i place =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(where + j)));
        for (int k = 0; k < 4; k++)
            part[k] = _mm256_and_ps(
                d, _mm256_castsi256_ps(_mm256_cmpeq_epi32(place, _mm256_set1_epi32(k))));
        join(part[0], part[1], top + 2 * j);
        join(part[2], part[3], low + 2 * j);
    }
    sm_pool2d_rows__ref.spread(dy + j, where + j, n - j, top + 2 * j, low + 2 * j);
}

const sm_pool2d_rows sm_pool2d_rows__avx2 = {max_, spread_};
#else
typedef int sm_pool2d_rows_avx2_unused;
#endif
