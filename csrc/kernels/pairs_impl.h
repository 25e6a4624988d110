/* pairs_impl.h: the loops of pairs.h. The including file defines SUFFIX(name). Sums run
 * in 32 lanes, which the compiler keeps in registers, and which keep the rounding error
 * small. */
#include <math.h>

#include "kernels/pairs.h"
#include "kernels/vmath.h"

enum { LANES = 32 };

/* Runs the statements, which use the element's number i and its lane j, over n elements.
 */
#define SWEEP(n, ...)                                                                    \
    do {                                                                                 \
        int64_t at_ = 0;                                                                 \
        for (; at_ + LANES <= (n); at_ += LANES)                                         \
            for (int j = 0; j < LANES; j++) {                                            \
                const int64_t i = at_ + j;                                               \
                __VA_ARGS__;                                                             \
            }                                                                            \
        for (int j = 0; at_ < (n); at_++, j++) {                                         \
            const int64_t i = at_;                                                       \
            __VA_ARGS__;                                                                 \
        }                                                                                \
    } while (0)

static float sum_lanes(const float *lane) {
    float sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = (lane[j] + lane[j + 8]) + (lane[j + 16] + lane[j + 24]);
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) +
           ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

static void mark_(float *w, const int64_t *labels, int64_t n, int64_t label) {
    for (int64_t i = 0; i < n; i++)
        w[i] = labels[i] == label ? 1.0f : -1.0f;
}

static float top_(const float *x, const float *w, int64_t n, float sign, float scale) {
    float lane[LANES], most = -INFINITY;
    for (int j = 0; j < LANES; j++)
        lane[j] = -INFINITY;
    SWEEP(n, {
        const float v = sign * w[i] > 0 ? scale * x[i] : -INFINITY;
        lane[j] = v > lane[j] ? v : lane[j];
    });
    for (int j = 0; j < LANES; j++)
        most = lane[j] > most ? lane[j] : most;
    return most;
}

static float exp_sum_(const float *x, const float *w, int64_t n, float sign, float scale,
                      float offset) {
    float lane[LANES] = {0};
    SWEEP(n, {
        const float e = fabsf(w[i]) * vm_exp(scale * x[i] + offset);
        lane[j] += sign * w[i] > 0 ? e : 0.0f;
    });
    return sum_lanes(lane);
}

static void exp_add_(float *restrict d, const float *restrict x, const float *restrict w,
                     int64_t n, float sign, float scale, float offset, float factor) {
    for (int64_t i = 0; i < n; i++) {
        const float e = factor * fabsf(w[i]) * vm_exp(scale * x[i] + offset);
        d[i] += sign * w[i] > 0 ? e : 0.0f;
    }
}

static float count_(const float *w, int64_t n, float sign) {
    float lane[LANES] = {0};
    SWEEP(n, lane[j] += sign * w[i] > 0 ? fabsf(w[i]) : 0.0f);
    return sum_lanes(lane);
}

static float total_(const float *x, const float *w, int64_t n, float sign) {
    float lane[LANES] = {0};
    SWEEP(n, lane[j] += sign * w[i] > 0 ? fabsf(w[i]) * x[i] : 0.0f);
    return sum_lanes(lane);
}

/* ---- hinges ---- */

/* v where the condition (0 or 1) holds, else 0: by its bits, since the compiler joins
 * choices that follow from each other to branches, and leaves the loop scalar. */
static inline float where(int32_t condition, float v) {
    return vm_bits_float(vm_float_bits(v) & -condition);
}

/* max(0, v), and a NaN as it is. */
static inline float above(float v) {
    return where(!(v <= 0), v);
}

static void hinge_sums(const sm_hinges *h, const float *x, const float *w, int64_t n,
                       float loss[2], float active[2]) {
    float sum[2][LANES] = {{0}}, number[2][LANES] = {{0}};
    const float positive = h->positive, negative = h->negative;
    const float square = h->squared ? 1 : 0;
    SWEEP(n, {
        const float p = above(x[i] - positive), q = above(negative - x[i]);
        const float lp = p * (square * (0.5f * p) + (1 - square));
        const float lq = q * (square * (0.5f * q) + (1 - square));
        sum[0][j] += where(w[i] > 0, w[i] * lp);
        sum[1][j] += where(w[i] < 0, -w[i] * lq);
        number[0][j] += where((w[i] > 0) & !(p <= 0), w[i]);
        number[1][j] += where((w[i] < 0) & !(q <= 0), -w[i]);
    });
    for (int k = 0; k < 2; k++) {
        loss[k] = sum_lanes(sum[k]);
        active[k] = sum_lanes(number[k]);
    }
}

static void hinge_slopes(const sm_hinges *h, const float *restrict x,
                         const float *restrict w, int64_t n, float *restrict d) {
    const float positive = h->positive, negative = h->negative;
    const float square = h->squared ? 1 : 0, first = h->scale[0], second = -h->scale[1];
    for (int64_t i = 0; i < n; i++) {
        const float p = x[i] - positive, q = negative - x[i];
        const float v = w[i] > 0 ? p : q;
        const float slope = fabsf(w[i]) * (square * v + (1 - square));
        const float g = (w[i] > 0 ? first : second) * slope;
        d[i] += v <= 0 ? 0.0f : g;
    }
}

static void hinges_(const sm_hinges *h, const float *x, const float *w, int64_t n,
                    float *d, float loss[2], float active[2]) {
    if (loss)
        hinge_sums(h, x, w, n, loss, active);
    if (d)
        hinge_slopes(h, x, w, n, d);
}

/* ---- triplets ---- */

/* log(1 + e) for e from 0 to 1, as 2 atanh(e / (2 + e)), accurate for small e too. */
static inline float log_one_plus(float e) {
    const float s = e / (2 + e), z = s * s;
    float p = 2.0f / 15.0f;
    p = p * z + 2.0f / 13.0f;
    p = p * z + 2.0f / 11.0f;
    p = p * z + 2.0f / 9.0f;
    p = p * z + 2.0f / 7.0f;
    p = p * z + 2.0f / 5.0f;
    p = p * z + 2.0f / 3.0f;
    return s * (p * z + 2.0f);
}

static inline float softplus(float v) {
    return above(v) + log_one_plus(vm_exp(-fabsf(v)));
}

/* How often entry i counts as the negative of a triplet, whose distance is `far`. */
static inline float triplet_times(const sm_triplet_row *t, float w, float far) {
    const float gap = far - t->near;
    return where((w < 0) & !(gap <= t->low) & !(gap > t->high), -w * t->times);
}

/* The smaller of two distances; a NaN wins. */
static inline float nearer(float x, float y) {
    const int32_t other = (y < x) | (y != y);
    return vm_bits_float((vm_float_bits(y) & -other) | (vm_float_bits(x) & (other - 1)));
}

#define TRIPLET_LOSS(NAME, LOSS)                                                         \
    static inline __attribute__((always_inline)) void NAME(                              \
        const sm_triplet_row *t, const float *x, const float *y, const float *w,         \
        int64_t n, const bool two, sm_triplet_sums *out) {                               \
        float loss[LANES] = {0}, count[LANES] = {0}, active[LANES] = {0};                \
        const sm_triplet_row row = *t;                                                   \
        SWEEP(n, {                                                                       \
            const float far = two ? nearer(x[i], y[i]) : x[i];                           \
            const float times = triplet_times(&row, w[i], x[i]);                         \
            const float v = row.near - far + row.margin;                                 \
            const float l = LOSS;                                                        \
            loss[j] += where(times > 0, times * l);                                      \
            count[j] += times;                                                           \
            active[j] += where(!(l <= 0), times);                                        \
        });                                                                              \
        out->loss = sum_lanes(loss);                                                     \
        out->count = sum_lanes(count);                                                   \
        out->active = sum_lanes(active);                                                 \
    }
TRIPLET_LOSS(hard_losses, above(v))
TRIPLET_LOSS(soft_losses, softplus(v))

/* d of the distances, and the slope of `near`. */
#define TRIPLET_SLOPE(NAME, SLOPE)                                                       \
    static inline __attribute__((always_inline)) float NAME(                             \
        const sm_triplet_row *t, const float *x, const float *y, const float *w,         \
        int64_t n, const bool two, float *restrict d) {                                  \
        float lane[LANES] = {0};                                                         \
        const sm_triplet_row row = *t;                                                   \
        SWEEP(n, {                                                                       \
            const float other = two ? y[i] : x[i];                                       \
            const float far = two ? nearer(x[i], other) : x[i];                          \
            const float times = triplet_times(&row, w[i], x[i]);                         \
            const float v = row.near - far + row.margin;                                 \
            const float g = where(times > 0, row.scale * times * (SLOPE));               \
            const int32_t even = two & (x[i] == other);                                  \
            const int32_t own = !two | ((other < x[i]) == row.of_y);                     \
            d[i] -= where(even, 0.5f * g) + where(own & !even, g);                       \
            lane[j] += g;                                                                \
        });                                                                              \
        return sum_lanes(lane);                                                          \
    }
TRIPLET_SLOPE(hard_slopes, where(!(v <= 0), 1.0f))
TRIPLET_SLOPE(soft_slopes, vm_sigmoid(v))

static sm_triplet_sums triplets_(const sm_triplet_row *t, const float *x, const float *y,
                                 const float *w, int64_t n, float *d) {
    sm_triplet_sums out = {0, 0, 0, 0};
    if (!t->soft && !y)
        hard_losses(t, x, y, w, n, false, &out);
    else if (!t->soft)
        hard_losses(t, x, y, w, n, true, &out);
    else if (!y)
        soft_losses(t, x, y, w, n, false, &out);
    else
        soft_losses(t, x, y, w, n, true, &out);
    if (!d)
        return out;
    if (!t->soft && !y)
        out.slope = hard_slopes(t, x, y, w, n, false, d);
    else if (!t->soft)
        out.slope = hard_slopes(t, x, y, w, n, true, d);
    else if (!y)
        out.slope = soft_slopes(t, x, y, w, n, false, d);
    else
        out.slope = soft_slopes(t, x, y, w, n, true, d);
    return out;
}

/* ---- others ---- */

static void circle_(float *restrict z, float *restrict slope, const float *restrict x,
                    const float *restrict w, int64_t n, float m, float gamma) {
    for (int64_t i = 0; i < n; i++) {
        const float p = -gamma * above(1 + m - x[i]), q = gamma * above(x[i] + m);
        const float s = w[i] > 0 ? p : w[i] < 0 ? q : 0.0f;
        const float centre = w[i] > 0 ? 1 - m : m;
        slope[i] = s;
        z[i] = s * (x[i] - centre);
    }
}

static bool euclidean_(float *y, const float *b2, int64_t n, float a2, float share,
                       bool squared) {
    float lane[LANES] = {0};
    SWEEP(n, {
        const float both = a2 + b2[i], d2 = both - 2 * y[i];
        lane[j] += d2 < share * both ? 1.0f : 0.0f;
        y[i] = d2 < 0 ? 0.0f : d2;
    });
    for (int64_t i = 0; i < n && !squared; i++)
        y[i] = sqrtf(y[i]);
    return sum_lanes(lane) > 0;
}

static void euclidean_slopes_(float *restrict w, const float *restrict dy,
                              const float *restrict y, int64_t n, bool squared) {
    for (int64_t i = 0; i < n && squared; i++)
        w[i] = -2 * dy[i];
    for (int64_t i = 0; i < n && !squared; i++) {
        const float slope = -dy[i] / y[i];
        w[i] = y[i] == 0 ? 0.0f : slope;
    }
}

static float manhattan_(const float *a, const float *b, int64_t n) {
    float lane[LANES] = {0};
    SWEEP(n, lane[j] += fabsf(a[i] - b[i]));
    return sum_lanes(lane);
}

static void manhattan_add_(float *restrict d, const float *restrict a,
                           const float *restrict b, int64_t n, float g) {
    for (int64_t i = 0; i < n; i++)
        d[i] += a[i] > b[i] ? g : a[i] < b[i] ? -g : 0.0f;
}

const sm_pair_kernels SUFFIX(sm_pair_kernels) = {
    mark_,     top_,    exp_sum_,   exp_add_,          count_,     total_,        hinges_,
    triplets_, circle_, euclidean_, euclidean_slopes_, manhattan_, manhattan_add_};
