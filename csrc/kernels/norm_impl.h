/* norm_impl.h: the loops of norm.h. The including file defines SUFFIX(name). Sums run in
 * 32 lanes, which the compiler keeps in registers, and which keep the rounding error
 * small. */
#include <string.h>

#include "kernels/norm.h"

enum { LANES = 32 };

static float total(const float *lane) {
    float sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = (lane[j] + lane[j + 8]) + (lane[j + 16] + lane[j + 24]);
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) +
           ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

static float sum_(const float *x, int64_t n) {
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (; i < n; i++)
        lane[i % LANES] += x[i];
    return total(lane);
}

static float squares_(const float *x, int64_t n, float mean) {
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (; i < n; i++)
        lane[i % LANES] += (x[i] - mean) * (x[i] - mean);
    return total(lane);
}

static void affine_(float *restrict y, const float *restrict x, int64_t n, float scale,
                    float shift) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * scale + shift;
}

static float dot_(const float *x, const float *y, int64_t n) {
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j] * y[i + j];
    for (; i < n; i++)
        lane[i % LANES] += x[i] * y[i];
    return total(lane);
}

static void combine_(float *restrict y, const float *restrict x, const float *restrict z,
                     int64_t n, float a, float b) {
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i] + b * z[i];
}

/* The limits of a mask: an infinite one never cuts. */
static inline bool within(float y, float low, float high) {
    return y > low && !(y >= high);
}

static void mask_(float *dz, const float *dy, const float *y, int64_t n,
                  sm_limits limits) {
    const float low = limits.low, high = limits.high;
    if (high < INFINITY)
        for (int64_t i = 0; i < n; i++)
            dz[i] = within(y[i], low, high) ? dy[i] : 0;
    else
        for (int64_t i = 0; i < n; i++)
            dz[i] = y[i] > low ? dy[i] : 0;
}

/* ---- columns: blocks of `w` of them, a constant, so that the sums stay in registers
 * ---- */

#define INLINE static inline __attribute__((always_inline))

/* Calls block(..., first column, width) for all columns. */
#define BY_BLOCKS(c, block, ...)                                                         \
    do {                                                                                 \
        int64_t at_ = 0;                                                                 \
        for (; at_ + 32 <= (c); at_ += 32)                                               \
            block(__VA_ARGS__, at_, 32);                                                 \
        for (; at_ + 8 <= (c); at_ += 8)                                                 \
            block(__VA_ARGS__, at_, 8);                                                  \
        for (; at_ < (c); at_++)                                                         \
            block(__VA_ARGS__, at_, 1);                                                  \
    } while (0)

INLINE void sums_block(const sm_norm_columns *k, const float *x, float *sum, int64_t at,
                       const int w) {
    float a[32] = {0};
    for (int64_t i = 0; i < k->rows; i++)
        for (int j = 0; j < w; j++)
            a[j] += x[i * k->c + at + j];
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
}

static void column_sums_(const sm_norm_columns *k, const float *x, float *sum) {
    BY_BLOCKS(k->c, sums_block, k, x, sum);
}

INLINE void squares_block(const sm_norm_columns *k, const float *x, float *sum,
                          int64_t at, const int w) {
    float a[32] = {0}, m[32];
    memcpy(m, k->mean + at, (size_t)w * sizeof *m);
    for (int64_t i = 0; i < k->rows; i++)
        for (int j = 0; j < w; j++) {
            float d = x[i * k->c + at + j] - m[j];
            a[j] += d * d;
        }
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
}

static void column_squares_(const sm_norm_columns *k, const float *x, float *sum) {
    BY_BLOCKS(k->c, squares_block, k, x, sum);
}

static void column_map_(const sm_norm_columns *k, const float *restrict x,
                        const float *restrict residual, float *restrict y) {
    const float *restrict scale = k->scale, *restrict shift = k->shift;
    const float low = k->limits.low, high = k->limits.high;
    const bool limited = sm_is_limited(k->limits);
    for (int64_t i = 0; i < k->rows; i++, x += k->c, y += k->c) {
        if (residual) {
            for (int64_t j = 0; j < k->c; j++) {
                float z = x[j] * scale[j] + shift[j] + residual[j];
                z = z < low ? low : z;
                y[j] = z > high ? high : z;
            }
            residual += k->c;
        } else if (limited) {
            for (int64_t j = 0; j < k->c; j++) {
                float z = x[j] * scale[j] + shift[j];
                z = z < low ? low : z;
                y[j] = z > high ? high : z;
            }
        } else {
            for (int64_t j = 0; j < k->c; j++)
                y[j] = x[j] * scale[j] + shift[j];
        }
    }
}

/* How a block of the gradient knows what is within limits. */
enum { ALL, BY_X, BY_Y };

INLINE void dots_block(const sm_norm_columns *k, const float *dy, const float *x,
                       const float *y, float *sum, float *sum_x, const int by, int64_t at,
                       const int w) {
    float a[32] = {0}, b[32] = {0}, m[32], scale[32], shift[32];
    const float low = k->limits.low, high = k->limits.high;
    memcpy(m, k->mean + at, (size_t)w * sizeof *m);
    memcpy(scale, k->scale + at, (size_t)w * sizeof *scale);
    memcpy(shift, k->shift + at, (size_t)w * sizeof *shift);
    for (int64_t i = 0; i < k->rows; i++)
        for (int j = 0; j < w; j++) {
            int64_t p = i * k->c + at + j;
            float d = dy[p];
            if (by == BY_X)
                d = within(x[p] * scale[j] + shift[j], low, high) ? d : 0;
            if (by == BY_Y)
                d = within(y[p], low, high) ? d : 0;
            a[j] += d;
            b[j] += d * (x[p] - m[j]);
        }
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
    memcpy(sum_x + at, b, (size_t)w * sizeof *sum_x);
}

static void column_dots_(const sm_norm_columns *k, const float *dy, const float *x,
                         const float *y, float *sum, float *sum_x) {
    if (!sm_is_limited(k->limits))
        BY_BLOCKS(k->c, dots_block, k, dy, x, y, sum, sum_x, ALL);
    else if (y)
        BY_BLOCKS(k->c, dots_block, k, dy, x, y, sum, sum_x, BY_Y);
    else
        BY_BLOCKS(k->c, dots_block, k, dy, x, y, sum, sum_x, BY_X);
}

INLINE void back_rows(const sm_norm_columns *k, const float *restrict dy,
                      const float *restrict x, const float *restrict y,
                      float *restrict dx, float *restrict dz, const int by,
                      const bool through, const bool keep) {
    const float *restrict scale = k->scale, *restrict shift = k->shift;
    const float *restrict a = k->a, *restrict b = k->b;
    const float low = k->limits.low, high = k->limits.high;
    for (int64_t i = 0; i < k->rows; i++) {
        const int64_t row = i * k->c;
        for (int64_t j = 0; j < k->c; j++) {
            float d = dy[row + j];
            if (by == BY_X)
                d = within(x[row + j] * scale[j] + shift[j], low, high) ? d : 0;
            if (by == BY_Y)
                d = within(y[row + j], low, high) ? d : 0;
            if (keep)
                dz[row + j] = d;
            if (through)
                dx[row + j] = scale[j] * d + a[j] * x[row + j] + b[j];
        }
    }
}

static void column_back_(const sm_norm_columns *k, const float *dy, const float *x,
                         const float *y, float *dx, float *dz) {
    if (!sm_is_limited(k->limits))
        back_rows(k, dy, x, y, dx, NULL, ALL, true, false);
    else if (y && dz && dx)
        back_rows(k, dy, x, y, dx, dz, BY_Y, true, true);
    else if (y && dz)
        back_rows(k, dy, x, y, NULL, dz, BY_Y, false, true);
    else if (y)
        back_rows(k, dy, x, y, dx, NULL, BY_Y, true, false);
    else
        back_rows(k, dy, x, y, dx, NULL, BY_X, true, false);
}

const sm_norm SUFFIX(sm_norm) = {sum_,        squares_,     affine_,      dot_,
                                 combine_,    mask_,        column_sums_, column_squares_,
                                 column_map_, column_dots_, column_back_};
