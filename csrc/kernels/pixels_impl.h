/* pixels_impl.h: the loops of pixels.h. The compiler vectorises the plainer of those over
 * one row; those that mix rows, convert or draw are over the vectors of vec.h. The
 * including file defines SUFFIX(name). */
#include <math.h>
#include <string.h>

#include "kernels/pixels.h"
#include "kernels/vmath.h"

/* In front of a loop whose y[i] may be its x[i], but no other. */
#if defined(__clang__)
#define SAME_PLACE _Pragma("clang loop vectorize(assume_safety)")
#else
#define SAME_PLACE _Pragma("GCC ivdep")
#endif

/* ---- rows as they are ---- */

/* One vector of n <= VL bytes through a line of code; whole vectors without a copy. */
INLINE vec bytes_at(const uint8_t *x, int n) {
    return n == VL ? v_load_bytes(x) : v_load_bytes_n(x, n);
}

INLINE void put_bytes(uint8_t *y, vec v, int n) {
    uint8_t bytes[VL];
    if (n == VL) {
        v_store_bytes(y, v);
        return;
    }
    v_store_bytes(bytes, v);
    memcpy(y, bytes, (size_t)n);
}

#define LANES(n, i) ((n) - (i) < VL ? (int)((n) - (i)) : VL)

static void from_u8_(float *restrict y, const uint8_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)x[i];
}

static void to_u8_(uint8_t *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL)
        put_bytes(y + i, v_load_n(x + i, LANES(n, i)), LANES(n, i));
}

static void reverse_u8_(uint8_t *restrict y, const uint8_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[n - 1 - i];
}

static void reverse_f32_(float *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[n - 1 - i];
}

static double sum_u8_(const uint8_t *x, int64_t n) {
    uint64_t total = 0;
    for (int64_t first = 0; first < n; first += 1 << 16) {
        const int64_t end = first + (1 << 16) < n ? first + (1 << 16) : n;
        uint32_t part = 0;
        for (int64_t i = first; i < end; i++)
            part += x[i];
        total += part;
    }
    return (double)total;
}

static double sum_f32_(const float *x, int64_t n) {
    double total = 0;
    for (int64_t first = 0; first < n; first += 1024) {
        const int64_t end = first + 1024 < n ? first + 1024 : n;
        vec sum[2] = {v_zero(), v_zero()};
        float part[2 * VL], rest = 0;
        int64_t i = first;
        for (; i + 2 * VL <= end; i += 2 * VL) {
            sum[0] = v_add(sum[0], v_load(x + i));
            sum[1] = v_add(sum[1], v_load(x + i + VL));
        }
        for (; i < end; i++)
            rest += x[i];
        v_store(part, sum[0]);
        v_store(part + VL, sum[1]);
        total += (double)rest;
        for (int k = 0; k < 2 * VL; k++)
            total += (double)part[k];
    }
    return total;
}

/* ---- colours ---- */

static inline float clamp(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

static void line_f32_(float *y, const float *x, int64_t n, sm_line l) {
    SAME_PLACE for (int64_t i = 0; i < n; i++) y[i] =
        clamp(l.a * x[i] + l.b, l.low, l.high);
}

INLINE vec on_line(vec x, sm_line l) {
    return v_clamp(v_fma(x, v_set(l.a), v_set(l.b)), v_set(l.low), v_set(l.high));
}

static void line_u8_(uint8_t *y, const uint8_t *x, int64_t n, sm_line l) {
    for (int64_t i = 0; i < n; i += VL)
        put_bytes(y + i, on_line(bytes_at(x + i, LANES(n, i)), l), LANES(n, i));
}

static void invert_u8_(uint8_t *y, const uint8_t *x, int64_t n) {
    SAME_PLACE for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)(255 - x[i]);
}

static void line_from_u8_(float *y, const uint8_t *x, int64_t n, sm_line l) {
    for (int64_t i = 0; i < n; i += VL)
        v_store_n(y + i, on_line(bytes_at(x + i, LANES(n, i)), l), LANES(n, i));
}

static inline float luma(float r, float g, float b) {
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

static void grey_(float *y, const float *const x[3], int64_t n) {
    const float *r = x[0], *g = x[1], *b = x[2];
    SAME_PLACE for (int64_t i = 0; i < n; i++) y[i] = luma(r[i], g[i], b[i]);
}

static void saturate_(float *const y[3], const float *const x[3], int64_t n, float a,
                      float high) {
    const float *r = x[0], *g = x[1], *b = x[2];
    float *p = y[0], *q = y[1], *s = y[2];
    SAME_PLACE for (int64_t i = 0; i < n; i++) {
        const float u = r[i], v = g[i], w = b[i], rest = (1.0f - a) * luma(u, v, w);
        p[i] = clamp(a * u + rest, 0.0f, high);
        q[i] = clamp(a * v + rest, 0.0f, high);
        s[i] = clamp(a * w + rest, 0.0f, high);
    }
}

/* The channel of HSV's hexagon: value - chroma max(0, min(k, 4 - k, 1)) with k the way to
 * it round the hexagon, from 0 to 6 (the alternative form of HSV to RGB). */
static inline float hexagon(float value, float chroma, float sixths, float offset) {
    float k = sixths + offset;
    k = k >= 6.0f ? k - 6.0f : k;
    float t = 4.0f - k < k ? 4.0f - k : k;
    t = clamp(t, 0.0f, 1.0f);
    return value - chroma * t;
}

static void hue_(float *const y[3], const float *const x[3], int64_t n, float shift) {
    const float turn = 6.0f * (shift - floorf(shift));
    const float *r = x[0], *g = x[1], *b = x[2];
    float *p = y[0], *q = y[1], *s = y[2];
    SAME_PLACE for (int64_t i = 0; i < n; i++) {
        const float u = r[i], v = g[i], w = b[i];
        float value = u > v ? u : v, least = u < v ? u : v;
        value = w > value ? w : value;
        least = w < least ? w : least;
        const float chroma = value - least,
                    scale = 1.0f / (chroma > 0.0f ? chroma : 1.0f);
        float sixths = (u - v) * scale + 4.0f;
        sixths = value == v ? (w - u) * scale + 2.0f : sixths;
        sixths = value == u ? (v - w) * scale : sixths;
        sixths += turn; /* -1 .. 11 */
        sixths = sixths < 0.0f ? sixths + 6.0f : sixths;
        sixths = sixths >= 6.0f ? sixths - 6.0f : sixths;
        p[i] = hexagon(value, chroma, sixths, 5.0f);
        q[i] = hexagon(value, chroma, sixths, 3.0f);
        s[i] = hexagon(value, chroma, sixths, 1.0f);
    }
}

static void gamma_(float *y, const float *x, int64_t n, float gamma, float gain,
                   float high) {
    const float scale = 1.0f / high, most = gain == 1.0f ? INFINITY : high;
    const float least = gain == 1.0f ? -INFINITY : 0.0f, factor = high * gain;
    if (gamma == 0.0f) { /* 0^0 is 1, too */
        for (int64_t i = 0; i < n; i++)
            y[i] = clamp(factor, least, most);
        return;
    }
    /* By itself: in one loop with the rest it would keep GCC from vectorising that. */
    SAME_PLACE for (int64_t i = 0; i < n; i++) {
        const float v = x[i] * scale;
        y[i] = v > 0.0f ? v : 0.0f;
    }
    for (int64_t i = 0; i < n; i++)
        y[i] = clamp(factor * vm_exp(gamma * vm_log(y[i])), least, most);
}

/* ---- noise ---- */

static void add_noise_(float *y, const float *x, const float *z, int64_t n, float sigma,
                       sm_line l) {
    SAME_PLACE for (int64_t i = 0; i < n; i++) {
        y[i] = clamp(l.a * x[i] + l.b + sigma * z[i], l.low, l.high);
    }
}

enum { BLOCKS = 32 }; /* of a generator, drawn together */

/* The four words of blocks counter .. counter + BLOCKS - 1 (Philox4x32-10, as
 * base/rng.c).
 */
static void philox(uint64_t key, uint64_t counter, uint32_t word[4][BLOCKS]) {
    enum { N = BLOCKS / VL };
    const ivec m0 = i_set((int32_t)0xD2511F53u), m1 = i_set((int32_t)0xCD9E8D57u);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    ivec c0[N], c1[N], c2[N], c3[N];
    for (int i = 0; i < BLOCKS; i++) {
        word[0][i] = (uint32_t)(counter + (uint64_t)i);
        word[1][i] = (uint32_t)((counter + (uint64_t)i) >> 32);
    }
    UNROLL for (int j = 0; j < N; j++) {
        c0[j] = i_load(word[0] + j * VL);
        c1[j] = i_load(word[1] + j * VL);
        c2[j] = c3[j] = i_set(0);
    }
    for (int round = 0; round < 10; round++) {
        const ivec r0 = i_set((int32_t)k0), r1 = i_set((int32_t)k1);
        UNROLL for (int j = 0; j < N; j++) {
            ivec h0, h1;
            const ivec l0 = i_wide(c0[j], m0, &h0), l1 = i_wide(c2[j], m1, &h1);
            c0[j] = i_xor(i_xor(h1, c1[j]), r0);
            c2[j] = i_xor(i_xor(h0, c3[j]), r1);
            c1[j] = l1;
            c3[j] = l0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    UNROLL for (int j = 0; j < N; j++) {
        i_store(word[0] + j * VL, c0[j]);
        i_store(word[1] + j * VL, c1[j]);
        i_store(word[2] + j * VL, c2[j]);
        i_store(word[3] + j * VL, c3[j]);
    }
}

static inline float unit(uint32_t word) {
    return (float)(int32_t)(word >> 8) * 0x1p-24f;
}

/* sin(2 pi t), t from 0 to below 1.25: folded to a quarter turn each way, then Taylor's
 * polynomial of degree 11 (its remainder is below 6e-8). */
static inline float sine_of_turn(float t) {
    t = t >= 0.75f ? t - 1.0f : t;
    t = t > 0.25f ? 0.5f - t : t;
    const float x = 6.283185307179586f * t, z = x * x;
    float p = -1.0f / 39916800.0f;
    p = p * z + 1.0f / 362880.0f;
    p = p * z - 1.0f / 5040.0f;
    p = p * z + 1.0f / 120.0f;
    p = p * z - 1.0f / 6.0f;
    return x + x * z * p;
}

static void normal_pair(const uint32_t *restrict a, const uint32_t *restrict b,
                        float *restrict y, float *restrict z) {
    for (int i = 0; i < BLOCKS; i++) {
        const float radius = sqrtf(-2.0f * vm_log(unit(a[i]) + 0x1p-24f)),
                    turn = unit(b[i]);
        y[i] = radius * sine_of_turn(turn + 0.25f);
        z[i] = radius * sine_of_turn(turn);
    }
}

static void draw(float *y, int64_t n, uint64_t key, uint64_t counter, const int normal) {
    const int64_t blocks = (n + 3) / 4;
    uint32_t word[4][BLOCKS];
    float part[4][BLOCKS];
    for (int64_t first = 0; first < blocks; first += BLOCKS) {
        const size_t count = (size_t)(blocks - first < BLOCKS ? blocks - first : BLOCKS);
        philox(key, counter + (uint64_t)first, word);
        if (normal) {
            normal_pair(word[0], word[1], part[0], part[1]);
            normal_pair(word[2], word[3], part[2], part[3]);
        } else {
            for (int j = 0; j < 4; j++)
                for (int i = 0; i < BLOCKS; i++)
                    part[j][i] = unit(word[j][i]);
        }
        for (int j = 0; j < 4; j++)
            memcpy(y + j * blocks + first, part[j], count * sizeof *y);
    }
}

static void uniform_(float *y, int64_t n, uint64_t key, uint64_t counter) {
    draw(y, n, key, counter, 0);
}

static void normal_(float *y, int64_t n, uint64_t key, uint64_t counter) {
    draw(y, n, key, counter, 1);
}

/* ---- rows mixed ---- */

enum { MIX, MOST, LEAST };       /* what is made of the taps */
enum { FLOATS, BYTES, SHIFTED }; /* where they are: rows; rows of bytes; one row */
enum { WIDEST = sizeof(vec) > 16 ? 8 : 4 }; /* vectors that fit the registers */

INLINE vec tap(const int where, const void *from, int64_t k, int64_t i) {
    if (where == BYTES)
        return v_load_bytes(((const uint8_t *const *)from)[k] + i);
    return v_load(
        (where == FLOATS ? ((const float *const *)from)[k] : (const float *)from + k) +
        i);
}

INLINE vec tap_n(const int where, const void *from, int64_t k, int n) {
    if (where == BYTES)
        return v_load_bytes_n(((const uint8_t *const *)from)[k], n);
    return v_load_n(
        where == FLOATS ? ((const float *const *)from)[k] : (const float *)from + k, n);
}

INLINE vec add_tap(const int what, vec sum, vec x, const float *w, int64_t k) {
    return what == MIX    ? v_fma(v_set(w[k]), x, sum)
           : what == MOST ? v_max(sum, x)
                          : v_min(sum, x);
}

/* s vectors from column i on; those that would end beyond the row lie at its end instead,
 * over what others do. */
INLINE void mix_strip(const int what, const int where, const int s, float *y,
                      const void *from, const float *w, int64_t taps, int64_t i,
                      int64_t n) {
    vec sum[WIDEST];
    int64_t at[WIDEST];
    UNROLL for (int j = 0; j < s; j++) {
        at[j] = i + (j + 1) * VL <= n ? i + j * VL : n - VL;
        const vec x = tap(where, from, 0, at[j]);
        sum[j] = what == MIX ? v_mul(v_set(w[0]), x) : x;
    }
    for (int64_t k = 1; k < taps; k++)
        UNROLL for (int j = 0; j < s; j++) sum[j] =
            add_tap(what, sum[j], tap(where, from, k, at[j]), w, k);
    UNROLL for (int j = 0; j < s; j++) v_store(y + at[j], sum[j]);
}

INLINE void mix_row(const int what, const int where, float *y, const void *from,
                    const float *w, int64_t taps, int64_t n) {
    if (n < VL) {
        const vec x = tap_n(where, from, 0, (int)n);
        vec sum = what == MIX ? v_mul(v_set(w[0]), x) : x;
        for (int64_t k = 1; k < taps; k++)
            sum = add_tap(what, sum, tap_n(where, from, k, (int)n), w, k);
        v_store_n(y, sum, (int)n);
        return;
    }
    int64_t i = 0;
    for (; WIDEST == 8 && n - i >= 8 * VL; i += 8 * VL)
        mix_strip(what, where, WIDEST, y, from, w, taps, i, n);
    for (; n - i > 2 * VL; i += 4 * VL)
        mix_strip(what, where, 4, y, from, w, taps, i, n);
    if (n - i > VL)
        mix_strip(what, where, 2, y, from, w, taps, i, n);
    else if (n > i)
        mix_strip(what, where, 1, y, from, w, taps, i, n);
}

static void mix_u8_(float *y, const uint8_t *const *rows, const float *w, int64_t taps,
                    int64_t n) {
    mix_row(MIX, BYTES, y, (const void *)rows, w, taps, n);
}

static void mix_f32_(float *y, const float *const *rows, const float *w, int64_t taps,
                     int64_t n) {
    mix_row(MIX, FLOATS, y, (const void *)rows, w, taps, n);
}

static void filter_(float *y, const float *x, const float *w, int64_t taps, int64_t n) {
    mix_row(MIX, SHIFTED, y, x, w, taps, n);
}

static void most_(float *y, const float *const *rows, int64_t taps, int64_t n) {
    mix_row(MOST, FLOATS, y, (const void *)rows, NULL, taps, n);
}

static void least_(float *y, const float *const *rows, int64_t taps, int64_t n) {
    mix_row(LEAST, FLOATS, y, (const void *)rows, NULL, taps, n);
}

static void most_of_(float *y, const float *x, int64_t taps, int64_t n) {
    mix_row(MOST, SHIFTED, y, x, NULL, taps, n);
}

static void least_of_(float *y, const float *x, int64_t taps, int64_t n) {
    mix_row(LEAST, SHIFTED, y, x, NULL, taps, n);
}

static void blend_(float *restrict y, const float *restrict x, int64_t n, float t) {
    for (int64_t i = 0; i < n; i++)
        y[i] += t * (x[i] - y[i]);
}

const sm_pixels SUFFIX(sm_pixels) = {.from_u8 = from_u8_,
                                     .to_u8 = to_u8_,
                                     .reverse_u8 = reverse_u8_,
                                     .reverse_f32 = reverse_f32_,
                                     .sum_u8 = sum_u8_,
                                     .sum_f32 = sum_f32_,
                                     .line_f32 = line_f32_,
                                     .line_u8 = line_u8_,
                                     .invert_u8 = invert_u8_,
                                     .line_from_u8 = line_from_u8_,
                                     .grey = grey_,
                                     .saturate = saturate_,
                                     .hue = hue_,
                                     .gamma = gamma_,
                                     .add_noise = add_noise_,
                                     .uniform = uniform_,
                                     .normal = normal_,
                                     .mix_u8 = mix_u8_,
                                     .mix_f32 = mix_f32_,
                                     .filter = filter_,
                                     .most = most_,
                                     .least = least_,
                                     .most_of = most_of_,
                                     .least_of = least_of_,
                                     .blend = blend_};
