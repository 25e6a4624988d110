/* vec_ref.h: the vectors of vec.h as the compiler has them on any machine, 128 bits. */
#ifndef SM_KERNELS_VEC_REF_H
#define SM_KERNELS_VEC_REF_H

#include <stdint.h>
#include <string.h>

#include "kernels/vec.h"

typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
enum { VL = 4 };

INLINE vec v_zero(void) {
    return (vec){0.0f, 0.0f, 0.0f, 0.0f};
}
INLINE vec v_set(float f) {
    return (vec){f, f, f, f};
}
INLINE vec v_load_n(const float *p, int n) {
    vec v = v_zero();
    if (n == VL)
        memcpy(&v, p, sizeof v);
    else
        memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
INLINE vec v_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void v_store_n(float *p, vec v, int n) {
    if (n == VL)
        memcpy(p, &v, sizeof v);
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}
INLINE void v_store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}
INLINE vec v_fma(vec a, vec b, vec c) {
    return a * b + c;
}
INLINE vec v_pick(vec a, vec b, vec less) { /* a where less, else b */
    return (vec)(((ivec)a & (ivec)less) | ((ivec)b & ~(ivec)less));
}
INLINE vec v_clamp(vec v, vec low, vec high) {
    v = v_pick(low, v, (vec)(v < low));
    return v_pick(high, v, (vec)(v > high));
}
INLINE void v_transpose(vec r[VL]) {
    const vec a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    const vec b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    const vec c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    const vec d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

INLINE ivec i_set(int32_t i) {
    return (ivec){i, i, i, i};
}
/* Where x is greater than *best, or NaN and *best is not: *best = x, *from = here. */
INLINE void v_keep_more(vec *best, ivec *from, vec x, ivec here) {
    const ivec more = (ivec)(*best == *best) & ~(ivec)(x <= *best);
    *best = v_pick(x, *best, (vec)more);
    *from = (here & more) | (*from & ~more);
}
/* The first n lanes, as bytes. */
INLINE void i_store_bytes(uint8_t *p, ivec v, int n) {
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)v[i];
}
/* sum + x where the bytes at p are `here`. */
INLINE vec v_add_where(vec sum, vec x, const uint8_t *p, ivec here, int n) {
    ivec from = i_set(-1);
    for (int i = 0; i < n; i++)
        from[i] = p[i];
    return sum + (vec)((ivec)x & (ivec)(from == here));
}

INLINE vec v_add(vec a, vec b) {
    return a + b;
}
INLINE vec v_sub(vec a, vec b) {
    return a - b;
}
INLINE vec v_mul(vec a, vec b) {
    return a * b;
}
INLINE vec v_max(vec a, vec b) {
    return v_pick(a, b, (vec)(a > b));
}
INLINE vec v_min(vec a, vec b) {
    return v_pick(a, b, (vec)(a < b));
}
INLINE vec v_floor(vec v) {
    return (vec){__builtin_floorf(v[0]), __builtin_floorf(v[1]), __builtin_floorf(v[2]),
                 __builtin_floorf(v[3])};
}
INLINE vec v_nearest(vec v) {
    return (vec){__builtin_rintf(v[0]), __builtin_rintf(v[1]), __builtin_rintf(v[2]),
                 __builtin_rintf(v[3])};
}
INLINE ivec v_whole(vec v) {
    ivec whole = i_set(0);
    for (int i = 0; i < VL; i++)
        if (v[i] > -2e9f && v[i] < 2e9f)
            whole[i] = (int32_t)v[i];
    return whole;
}
INLINE vec v_load_bytes_n(const uint8_t *p, int n) {
    vec v = v_zero();
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
INLINE vec v_load_bytes(const uint8_t *p) {
    return (vec){p[0], p[1], p[2], p[3]};
}
/* Unsigned, since sums of what lies far outside may wrap. */
INLINE ivec i_add(ivec a, ivec b) {
    typedef uint32_t uvec __attribute__((vector_size(16)));
    return (ivec)((uvec)a + (uvec)b);
}
INLINE ivec i_mul(ivec a, ivec b) {
    typedef uint32_t uvec __attribute__((vector_size(16)));
    return (ivec)((uvec)a * (uvec)b);
}

INLINE void v_store_bytes(uint8_t *p, vec v) {
    v = v_pick(v, v_zero(), (vec)(v > v_zero()));
    v = v_min(v, v_set(255.0f)) + 12582912.0f; /* 1.5 * 2^23: rounds */
    for (int i = 0; i < VL; i++)
        p[i] = (uint8_t)((ivec)v)[i];
}
INLINE ivec i_load(const void *p) {
    ivec i;
    memcpy(&i, p, sizeof i);
    return i;
}
INLINE void i_store(void *p, ivec i) {
    memcpy(p, &i, sizeof i);
}
INLINE ivec i_xor(ivec a, ivec b) {
    return a ^ b;
}
INLINE ivec i_wide(ivec a, ivec k, ivec *high) {
    typedef uint64_t wide __attribute__((vector_size(16)));
    const wide low = {0xffffffffu, 0xffffffffu}, x = (wide)a, y = (wide)k;
    const wide even = (x & low) * (y & low), odd = (x >> 32) * (y >> 32);
    *high = (ivec)((even >> 32) | (odd & ~low));
    return (ivec)((even & low) | (odd << 32));
}

typedef ivec vmask;
INLINE vmask v_inside(vec v, vec low, vec high) {
    return (ivec)(v > low) & (ivec)(v < high);
}
INLINE vmask i_below(ivec i, ivec n) {
    return (ivec)(i >= i_set(0)) & (ivec)(i < n);
}
INLINE vmask m_and(vmask a, vmask b) {
    return a & b;
}
INLINE int m_any(vmask m) {
    return (m[0] | m[1] | m[2] | m[3]) != 0;
}
INLINE int m_all(vmask m) {
    return (m[0] & m[1] & m[2] & m[3]) != 0;
}
INLINE vec v_where(vec v, vmask m) {
    return (vec)((ivec)v & m);
}
INLINE vec v_gather(const float *p, ivec i, vmask m, vec other) {
    for (int k = 0; k < VL; k++)
        if (m[k])
            other[k] = p[i[k]];
    return other;
}

#endif
