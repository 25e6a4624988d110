/* pixels_impl.h: the loops of pixels.h. The compiler vectorises those over one row; those
 * that mix rows are over the vectors of vec.h, so that sums stay in registers. The
 * including file defines SUFFIX(name). */
#include <math.h>
#include <string.h>

#include "kernels/pixels.h"
#include "kernels/vmath.h"

enum { STRIP = 4 }; /* vectors a mixing loop has under way */

/* ---- rows as they are ---- */

static void from_u8_(float *restrict y, const uint8_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)x[i];
}

static void to_u8_(uint8_t *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] > 0.0f ? x[i] : 0.0f;
        v = v < 255.0f ? v : 255.0f;
        y[i] = (uint8_t)vm_float_bits(v + 12582912.0f); /* 1.5 * 2^23: rounds */
    }
}

static void reverse_u8_(uint8_t *restrict y, const uint8_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[n - 1 - i];
}

static void reverse_f32_(float *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[n - 1 - i];
}

static double sum_(const float *x, int64_t n) {
    double total = 0;
    for (int64_t first = 0; first < n; first += 1024) {
        const int64_t end = first + 1024 < n ? first + 1024 : n;
        float part[16] = {0};
        int64_t i = first;
        for (; i + 16 <= end; i += 16)
            for (int k = 0; k < 16; k++)
                part[k] += x[i + k];
        for (; i < end; i++)
            part[0] += x[i];
        for (int k = 0; k < 16; k++)
            total += (double)part[k];
    }
    return total;
}

/* ---- colours ---- */

static inline float clamp(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

static void linear_(float *x, int64_t n, float a, float b, float low, float high) {
    for (int64_t i = 0; i < n; i++)
        x[i] = clamp(a * x[i] + b, low, high);
}

static inline float luma(float r, float g, float b) {
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

static void grey_(float *y, const float *r, const float *g, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = luma(r[i], g[i], b[i]);
}

static void saturate_(float *restrict r, float *restrict g, float *restrict b, int64_t n,
                      float a, float high) {
    for (int64_t i = 0; i < n; i++) {
        const float rest = (1.0f - a) * luma(r[i], g[i], b[i]);
        r[i] = clamp(a * r[i] + rest, 0.0f, high);
        g[i] = clamp(a * g[i] + rest, 0.0f, high);
        b[i] = clamp(a * b[i] + rest, 0.0f, high);
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

static void hue_(float *restrict r, float *restrict g, float *restrict b, int64_t n,
                 float shift) {
    const float turn = 6.0f * (shift - floorf(shift));
    for (int64_t i = 0; i < n; i++) {
        const float x = r[i], y = g[i], z = b[i];
        float value = x > y ? x : y, least = x < y ? x : y;
        value = z > value ? z : value;
        least = z < least ? z : least;
        const float chroma = value - least,
                    scale = 1.0f / (chroma > 0.0f ? chroma : 1.0f);
        float sixths = (x - y) * scale + 4.0f;
        sixths = value == y ? (z - x) * scale + 2.0f : sixths;
        sixths = value == x ? (y - z) * scale : sixths;
        sixths += turn; /* -1 .. 11 */
        sixths = sixths < 0.0f ? sixths + 6.0f : sixths;
        sixths = sixths >= 6.0f ? sixths - 6.0f : sixths;
        r[i] = hexagon(value, chroma, sixths, 5.0f);
        g[i] = hexagon(value, chroma, sixths, 3.0f);
        b[i] = hexagon(value, chroma, sixths, 1.0f);
    }
}

static void gamma_(float *x, int64_t n, float gamma, float gain, float high) {
    const float scale = 1.0f / high, most = gain == 1.0f ? INFINITY : high;
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] * scale;
        float power = vm_exp(gamma * vm_log(v > 0.0f ? v : 0.0f));
        power = gamma == 0.0f ? 1.0f : power; /* 0^0, too */
        const float y = high * gain * power;
        x[i] = y > most ? most : y;
    }
}

/* ---- noise ---- */

static void add_noise_(float *restrict x, const float *restrict z, int64_t n, float mean,
                       float sigma, float low, float high) {
    for (int64_t i = 0; i < n; i++)
        x[i] = clamp(x[i] + mean + sigma * z[i], low, high);
}

/* The four words of blocks counter .. counter + 15 (Philox4x32-10, as base/rng.c). */
static void philox(uint64_t key, uint64_t counter, uint32_t word[4][16]) {
    uint32_t *restrict c0 = word[0], *restrict c1 = word[1], *restrict c2 = word[2],
                       *restrict c3 = word[3];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int i = 0; i < 16; i++) {
        const uint64_t at = counter + (uint64_t)i;
        c0[i] = (uint32_t)at;
        c1[i] = (uint32_t)(at >> 32);
        c2[i] = c3[i] = 0;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 16; i++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0[i];
            const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2[i];
            const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1;
            c3[i] = (uint32_t)p0;
            c0[i] = n0;
            c2[i] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
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
    for (int i = 0; i < 16; i++) {
        const float radius = sqrtf(-2.0f * vm_log(unit(a[i]) + 0x1p-24f)),
                    turn = unit(b[i]);
        y[i] = radius * sine_of_turn(turn + 0.25f);
        z[i] = radius * sine_of_turn(turn);
    }
}

static void draw(float *y, int64_t n, uint64_t key, uint64_t counter, const int normal) {
    const int64_t blocks = (n + 3) / 4;
    uint32_t word[4][16];
    float part[4][16];
    for (int64_t first = 0; first < blocks; first += 16) {
        const size_t count = (size_t)(blocks - first < 16 ? blocks - first : 16);
        philox(key, counter + (uint64_t)first, word);
        if (normal) {
            normal_pair(word[0], word[1], part[0], part[1]);
            normal_pair(word[2], word[3], part[2], part[3]);
        } else {
            for (int j = 0; j < 4; j++)
                for (int i = 0; i < 16; i++)
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

/* Runs MANY(i) for STRIP vectors, then ONE(i, n) for the vectors that are left. */
#define OVER_ROW(MANY, ONE)                                                              \
    do {                                                                                 \
        int64_t i = 0;                                                                   \
        for (; i + STRIP * VL <= n; i += STRIP * VL)                                     \
            MANY(i);                                                                     \
        for (; i < n; i += VL)                                                           \
            ONE(i, (int)(n - i < VL ? n - i : VL));                                      \
    } while (0)

#define MIX_MANY(i, LOAD)                                                                \
    do {                                                                                 \
        vec sum[STRIP];                                                                  \
        UNROLL for (int j = 0; j < STRIP; j++) sum[j] = v_zero();                        \
        for (int64_t k = 0; k < taps; k++) {                                             \
            const vec weight = v_set(w[k]);                                              \
            UNROLL for (int j = 0; j < STRIP; j++) sum[j] =                              \
                v_fma(weight, LOAD(k, (i) + j * VL), sum[j]);                            \
        }                                                                                \
        UNROLL for (int j = 0; j < STRIP; j++) v_store(y + (i) + j * VL, sum[j]);        \
    } while (0)
#define MIX_ONE(i, m, LOAD_N)                                                            \
    do {                                                                                 \
        vec sum = v_zero();                                                              \
        for (int64_t k = 0; k < taps; k++)                                               \
            sum = v_fma(v_set(w[k]), LOAD_N(k, i, m), sum);                              \
        v_store_n(y + (i), sum, m);                                                      \
    } while (0)

#define ROW_BYTES(k, i) v_load_bytes(rows[k] + (i))
#define ROW_BYTES_N(k, i, m) v_load_bytes_n(rows[k] + (i), m)
#define ROW(k, i) v_load(rows[k] + (i))
#define ROW_N(k, i, m) v_load_n(rows[k] + (i), m)
#define SHIFTED(k, i) v_load(x + (k) + (i))
#define SHIFTED_N(k, i, m) v_load_n(x + (k) + (i), m)

static void mix_u8_(float *y, const uint8_t *const *rows, const float *w, int64_t taps,
                    int64_t n) {
#define MANY(i) MIX_MANY(i, ROW_BYTES)
#define ONE(i, m) MIX_ONE(i, m, ROW_BYTES_N)
    OVER_ROW(MANY, ONE);
#undef MANY
#undef ONE
}

static void mix_f32_(float *y, const float *const *rows, const float *w, int64_t taps,
                     int64_t n) {
#define MANY(i) MIX_MANY(i, ROW)
#define ONE(i, m) MIX_ONE(i, m, ROW_N)
    OVER_ROW(MANY, ONE);
#undef MANY
#undef ONE
}

static void filter_(float *y, const float *x, const float *w, int64_t taps, int64_t n) {
#define MANY(i) MIX_MANY(i, SHIFTED)
#define ONE(i, m) MIX_ONE(i, m, SHIFTED_N)
    OVER_ROW(MANY, ONE);
#undef MANY
#undef ONE
}

#define PICK_ONE(i, m, LOAD_N, PICK)                                                     \
    do {                                                                                 \
        vec best = LOAD_N(0, i, m);                                                      \
        for (int64_t k = 1; k < taps; k++)                                               \
            best = PICK(best, LOAD_N(k, i, m));                                          \
        v_store_n(y + (i), best, m);                                                     \
    } while (0)
#define PICK_LOOP(LOAD_N, PICK)                                                          \
    for (int64_t i = 0; i < n; i += VL)                                                  \
    PICK_ONE(i, (int)(n - i < VL ? n - i : VL), LOAD_N, PICK)

static void most_(float *y, const float *const *rows, int64_t taps, int64_t n) {
    PICK_LOOP(ROW_N, v_max);
}

static void least_(float *y, const float *const *rows, int64_t taps, int64_t n) {
    PICK_LOOP(ROW_N, v_min);
}

static void most_of_(float *y, const float *x, int64_t taps, int64_t n) {
    PICK_LOOP(SHIFTED_N, v_max);
}

static void least_of_(float *y, const float *x, int64_t taps, int64_t n) {
    PICK_LOOP(SHIFTED_N, v_min);
}

static void blend_(float *restrict y, const float *restrict x, int64_t n, float t) {
    for (int64_t i = 0; i < n; i++)
        y[i] += t * (x[i] - y[i]);
}

const sm_pixels SUFFIX(sm_pixels) = {
    from_u8_,  to_u8_,  reverse_u8_, reverse_f32_, sum_,     linear_,   grey_,
    saturate_, hue_,    gamma_,      add_noise_,   uniform_, normal_,   mix_u8_,
    mix_f32_,  filter_, most_,       least_,       most_of_, least_of_, blend_};
