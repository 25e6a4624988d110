/* columns_impl.h: the loops of columns.h. The including file defines SUFFIX(name). */
#include <string.h>

#include "kernels/columns.h"
#include "kernels/vmath.h"

#define INLINE static inline __attribute__((always_inline))

/* Calls block(..., first column, width) for all columns. A width is a constant, so that
 * the sums of a block stay in registers. */
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

INLINE void dot_block(const float *x, const float *y, int64_t rows, int64_t c, float *sum,
                      int64_t at, const int w) {
    float a[32] = {0};
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < w; j++)
            a[j] += x[i * c + at + j] * y[i * c + at + j];
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
}

static void dot_(const float *x, const float *y, int64_t rows, int64_t c, float *sum) {
    BY_BLOCKS(c, dot_block, x, y, rows, c, sum);
}

/* ---- powers ---- */

/* NaN stays NaN. */
static inline float floored(float x, float eps) {
    return x < eps ? eps : x;
}

INLINE void power_block(const float *x, int64_t rows, int64_t c, float p, float eps,
                        float *sum, const int with_log, int64_t at, const int w) {
    float a[32] = {0};
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < w; j++) {
            const float l = vm_log(floored(x[i * c + at + j], eps));
            a[j] += with_log ? vm_exp(p * l) * l : vm_exp(p * l);
        }
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
}

static void power_sum_(const float *x, int64_t rows, int64_t c, float p, float eps,
                       float *sum) {
    BY_BLOCKS(c, power_block, x, rows, c, p, eps, sum, 0);
}

static void power_log_sum_(const float *x, int64_t rows, int64_t c, float p, float eps,
                           float *sum) {
    BY_BLOCKS(c, power_block, x, rows, c, p, eps, sum, 1);
}

static void power_back_(const float *restrict x, int64_t rows, int64_t c, float p,
                        float eps, const float *restrict slope, float *restrict dx) {
    for (int64_t i = 0; i < rows; i++, x += c, dx += c)
        for (int64_t j = 0; j < c; j++) {
            const float u = vm_exp((p - 1) * vm_log(floored(x[j], eps)));
            dx[j] = x[j] < eps ? 0.0f : slope[j] * u;
        }
}

/* ---- maxima ---- */

static void keep_more_(const float *restrict x, int64_t c, int32_t here,
                       float *restrict best, int32_t *restrict from) {
    for (int64_t j = 0; j < c; j++) {
        const int more = (best[j] == best[j]) & !(x[j] <= best[j]);
        best[j] = more ? x[j] : best[j];
        from[j] = more ? here : from[j];
    }
}

/* ---- local response normalisation ---- */

/* sum [c] of the windows of `width` that begin at each float of x. */
static void window_sums(const float *restrict x, int64_t width, int64_t c,
                        float *restrict sum) {
    memset(sum, 0, (size_t)c * sizeof *sum);
    for (int64_t t = 0; t < width; t++)
        for (int64_t j = 0; j < c; j++)
            sum[j] += x[j + t];
}

/* s of a row; padded has `below` zeros in front of and `above` behind its c floats. */
static void lrn_scale(const sm_lrn *p, const float *restrict x, float *restrict padded,
                      float *restrict s) {
    for (int64_t j = 0; j < p->c; j++)
        padded[p->below + j] = x[j] * x[j];
    window_sums(padded, p->below + 1 + p->above, p->c, s);
    for (int64_t j = 0; j < p->c; j++)
        s[j] = p->k + p->slope * s[j];
}

static void lrn_(const sm_lrn *p, const float *restrict x, int64_t rows,
                 float *restrict y, float *restrict room) {
    float *padded = room, *s = room + p->c + p->below + p->above;
    memset(padded, 0, (size_t)(p->c + p->below + p->above) * sizeof *padded);
    for (int64_t i = 0; i < rows; i++, x += p->c, y += p->c) {
        lrn_scale(p, x, padded, s);
        for (int64_t j = 0; j < p->c; j++)
            y[j] = x[j] * vm_exp(-p->beta * vm_log(s[j]));
    }
}

/* dx = dy s^-beta - 2 beta slope x times the sum of dy x s^(-beta-1) over the channels in
 * whose windows c lies: c - above .. c + below. */
static void lrn_back_(const sm_lrn *p, const float *restrict x, const float *restrict dy,
                      int64_t rows, float *restrict dx, float *restrict room) {
    const int64_t c = p->c, whole = c + p->below + p->above;
    float *padded = room, *s = room + whole, *power = s + c;
    for (int64_t i = 0; i < rows; i++, x += c, dy += c, dx += c) {
        memset(padded, 0, (size_t)whole * sizeof *padded);
        lrn_scale(p, x, padded, s);
        memset(padded, 0, (size_t)whole * sizeof *padded);
        for (int64_t j = 0; j < c; j++) {
            power[j] = vm_exp(-p->beta * vm_log(s[j]));
            padded[p->above + j] = dy[j] * x[j] * power[j] / s[j];
        }
        window_sums(padded, p->below + 1 + p->above, c, s);
        for (int64_t j = 0; j < c; j++)
            dx[j] = dy[j] * power[j] - 2 * p->beta * p->slope * x[j] * s[j];
    }
}

const sm_columns SUFFIX(sm_columns) = {
    dot_, power_sum_, power_log_sum_, power_back_, keep_more_, lrn_, lrn_back_};
