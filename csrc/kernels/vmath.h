/* vmath.h: exp, log, tanh and their kin as straight-line code that a compiler can
 * vectorise.
 *
 * exp: x = n ln2 + r with |r| <= ln2/2 (Cody and Waite's two-part ln2), a Taylor
 * polynomial of degree 7 in r (its remainder is below 6e-9), and 2^n put into the
 * exponent in two halves so that results may be subnormal. log: x = 2^e m with m in
 * [sqrt(1/2), sqrt(2)), log m = 2 atanh((m-1)/(m+1)) as its odd series. tanh: a
 * polynomial near 0 (coefficients of Cephes' tanhf, Moshier 1989), 1 - 2/(e^2x + 1)
 * elsewhere. expm1: its Taylor polynomial of degree 10 within (-1, 1), exp(x) - 1 beyond.
 * log1p: log(u) of the rounded u = 1 + x, and what the rounding lost over u (Goldberg
 * 1991, theorem 4).
 */
#ifndef SM_KERNELS_VMATH_H
#define SM_KERNELS_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float vm_bits_float(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline int32_t vm_float_bits(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 2^n for n from -126 to 127; something for any other (NaN comes by here, and is put
 * right later). */
static inline float vm_power_of_two(int32_t n) {
    return vm_bits_float((int32_t)((uint32_t)(n + 127) << 23));
}

static inline float vm_exp(float x) {
    /* Beyond these the result is 0 or infinity anyway; NaN passes both comparisons. */
    float c = x > 89.0f ? 89.0f : x;
    c = c < -104.0f ? -104.0f : c;
    float t =
        c * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    float n = t - 12582912.0f;
    float r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    int32_t whole = vm_float_bits(t) - 0x4B400000;
    int32_t half = whole >> 1;
    float y = p * vm_power_of_two(half) * vm_power_of_two(whole - half);
    return x != x ? x : y;
}

static inline float vm_log(float x) {
    float tiny = x < 1.17549435e-38f ? 1.0f : 0.0f;
    float scaled = x * (tiny != 0.0f ? 8388608.0f : 1.0f); /* subnormals times 2^23 */
    int32_t bits = vm_float_bits(scaled);
    int32_t e = (int32_t)((uint32_t)bits - 0x3F3504F3u) >> 23; /* m >= sqrt(1/2) */
    float m = vm_bits_float((int32_t)((uint32_t)bits - ((uint32_t)e << 23)));
    float s = (m - 1.0f) / (m + 1.0f), z = s * s;
    float p = 2.0f / 9.0f;
    p = p * z + 2.0f / 7.0f;
    p = p * z + 2.0f / 5.0f;
    p = p * z + 2.0f / 3.0f;
    float n = (float)e - 23.0f * tiny;
    float y = n * -2.12194440e-4f + (p * z * s);
    y = y + 2.0f * s + n * 0.693359375f;
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f || x != x ? NAN : y;
}

static inline float vm_expm1(float x) {
    float p = 1.0f / 3628800.0f;
    p = p * x + 1.0f / 362880.0f;
    p = p * x + 1.0f / 40320.0f;
    p = p * x + 1.0f / 5040.0f;
    p = p * x + 1.0f / 720.0f;
    p = p * x + 1.0f / 120.0f;
    p = p * x + 1.0f / 24.0f;
    p = p * x + 1.0f / 6.0f;
    p = p * x + 0.5f;
    float near = x + x * x * p, far = vm_exp(x) - 1.0f;
    return fabsf(x) < 1.0f ? near : far;
}

static inline float vm_log1p(float x) {
    float u = 1.0f + x, lost = (x - (u - 1.0f)) / u;
    lost = u > 0.0f && u < INFINITY ? lost : 0.0f;
    return vm_log(u) + lost;
}

static inline float vm_sigmoid(float x) {
    /* From the small side, so that large negative x keep their relative accuracy. */
    float e = vm_exp(x < 0.0f ? x : -x);
    float y = (x < 0.0f ? e : 1.0f) / (1.0f + e);
    return x != x ? x : y;
}

static inline float vm_tanh(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = x + x * z * p;
    float magnitude = fabsf(x);
    float far = 1.0f - 2.0f / (vm_exp(2.0f * magnitude) + 1.0f);
    far = x < 0.0f ? -far : far;
    return magnitude < 0.625f ? near : far;
}

#endif
