/* vec.h: what the vectors of vec_ref.h, vec_avx2.h and vec_avx512.h have in common. A
 * file compiled for an instruction set includes one of the three.
 *
 *     vec, ivec, VL               floats, int32s, and their number in a vector
 *     v_zero() v_set(f) i_set(i)  constants
 *     v_load(p) v_store(p, v)     unaligned
 *     v_load_n(p, n) v_store_n(p, v, n)   the first n <= VL floats; others load as 0
 *     v_fma(a, b, c)              a * b + c
 *     v_clamp(v, low, high)       NaN stays NaN
 *     v_transpose(vec r[VL])      in place
 *     v_keep_more, i_store_bytes, v_add_where     of max-pooling, see there
 *     v_add v_sub v_mul v_max v_min               of NaN, v_max and v_min give either
 *     v_floor(v) v_nearest(v)     rounded down, rounded to whole numbers, halves to even
 *     v_whole(v)                  as int32s; something for what does not fit
 *     v_load_bytes(p) v_load_bytes_n(p, n)        uint8s as floats
 *     v_store_bytes(p, v)         rounded to even, clamped to 0..255 as bytes; NaN gives
 * 0 i_load(p) i_store(p, i) i_xor(a, b) i_wide(a, k, &high)         the low halves of
 * unsigned a * k, and the high ones vmask, v_inside(v, low, high), i_below(i, n)  lanes
 * where low < v < high (not for NaN), where 0 <= i < n m_and(a, b) m_any(m) m_all(m)
 *     v_where(v, m)               v where m, else 0
 *     v_gather(p, i, m, other)    p[i] where m, else other, whose lanes read nothing
 */
#ifndef SM_KERNELS_VEC_H
#define SM_KERNELS_VEC_H

/* In front of a loop of constant length over vectors: they must stay in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#define INLINE static inline __attribute__((always_inline))

#endif
