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
