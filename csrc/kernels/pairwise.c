/* pairwise.c: see pairwise.h. |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, which loses as many
 * digits as the distance is shorter than the rows. Below a hundredth of |a|^2 + |b|^2 it
 * is summed from the differences. */
#include "kernels/pairwise.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/gemm.h"

enum { BLOCK = 1 << 22, STRIP = 1024 };

static const float CLOSE = 1e-2f;

int64_t sm_pairwise_block(int64_t m) {
    int64_t rows = BLOCK / (m > 0 ? m : 1);
    return rows < 1 ? 1 : rows > 512 ? 512 : rows;
}

/* ---- making ready ---- */

static double length2(const float *x, int64_t d) {
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += (double)x[j] * x[j];
    return sum;
}

static sm_status check_rows(const float *x, int64_t n, int64_t d, int operand,
                            sm_error *err) {
    for (int64_t i = 0; i < n; i++) {
        double sum = length2(x + i * d, d);
        if (isnan(sum) || isinf(sum))
            return sm_fail(err, SM_EINVAL, operand,
                           "embedding %lld has a number that is not finite",
                           (long long)i + 1);
        if (sum > FLT_MAX / 4)
            return sm_fail(err, SM_EINVAL, operand,
                           "embedding %lld is too long for float32: its squared length "
                           "is %g",
                           (long long)i + 1, sum);
    }
    return SM_OK;
}

static void fill_lengths(const float *x, int64_t n, int64_t d, float *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)length2(x + i * d, d);
}

/* Rows of length 1, and of length "1" where they are zero: at right angles to all. */
static void fill_unit(const float *x, int64_t n, int64_t d, float *unit, float *out) {
    for (int64_t i = 0; i < n; i++) {
        double length = sqrt(length2(x + i * d, d));
        for (int64_t j = 0; j < d; j++)
            unit[i * d + j] = length > 0 ? (float)(x[i * d + j] / length) : 0;
        out[i] = length > 0 ? (float)length2(unit + i * d, d) : 1;
    }
}

static void turn(const float *x, int64_t n, int64_t d, float *out) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            out[j * n + i] = x[i * d + j];
}

/* The floats that `measure` needs besides a and b. */
static bool count_floats(const sm_pairwise *p, size_t *bytes) {
    int64_t rows, extra, total;
    if (__builtin_add_overflow(p->n, p->m, &rows))
        return false;
    if (!sm_mul_i64(p->measure == SM_MEASURE_L1       ? p->m
                    : p->measure == SM_MEASURE_COSINE ? rows
                                                      : 0,
                    p->d, &extra) ||
        __builtin_add_overflow(rows, extra, &total))
        return false;
    return sm_mul_size((size_t)total, sizeof(float), bytes);
}

sm_status sm_pairwise_open(sm_pairwise *p, sm_measure measure, const float *a, int64_t n,
                           const float *b, int64_t m, int64_t d, sm_error *err) {
    size_t bytes;
    *p = (sm_pairwise){.measure = measure, .n = n, .m = m, .d = d, .a = a, .b = b};
    sm_status status = check_rows(a, n, d, 1, err);
    if (status == SM_OK && b != a)
        status = check_rows(b, m, d, 2, err);
    if (status != SM_OK)
        return status;
    if (!count_floats(p, &bytes) || !(p->memory = sm_alloc(bytes)))
        return sm_fail(err, SM_ENOMEM, 0, "out of memory");
    p->a2 = p->memory;
    p->b2 = p->a2 + n;
    float *more = p->b2 + m;
    if (measure == SM_MEASURE_L1) {
        p->turned = more;
        turn(b, m, d, p->turned);
    } else if (measure == SM_MEASURE_COSINE) {
        fill_unit(a, n, d, more, p->a2);
        fill_unit(b, m, d, more + n * d, p->b2);
        p->a = more;
        p->b = more + n * d;
    } else {
        fill_lengths(a, n, d, p->a2);
        fill_lengths(b, m, d, p->b2);
    }
    return SM_OK;
}

void sm_pairwise_close(sm_pairwise *p) {
    sm_free(p->memory);
    p->memory = NULL;
}

/* ---- rows ---- */

/* A block of distances on its way. */
typedef struct block {
    const sm_pairwise *p;
    int64_t begin, first, width; /* first row of a, first of b, how many of b */
    float *y;
} block;

/* Four sums, so that the additions do not wait for each other. */
static float difference2(const float *a, const float *b, int64_t d) {
    double sum[4] = {0, 0, 0, 0};
    int64_t j = 0;
    for (; j + 4 <= d; j += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += ((double)a[j + k] - b[j + k]) * ((double)a[j + k] - b[j + k]);
    for (; j < d; j++)
        sum[0] += ((double)a[j] - b[j]) * ((double)a[j] - b[j]);
    return (float)(sum[0] + sum[1] + sum[2] + sum[3]);
}

/* y [width] holds a.b. */
static void finish_row(const block *k, int64_t row, float *y) {
    const sm_pairwise *p = k->p;
    const float a2 = p->a2[row];
    const float *restrict b2 = p->b2 + k->first, *a = p->a + row * p->d;
    const bool cosine = p->measure == SM_MEASURE_COSINE;
    for (int64_t i = 0; i < k->width; i++)
        y[i] = a2 + b2[i] - 2 * y[i];
    for (int64_t i = 0; i < k->width; i++)
        if (y[i] < CLOSE * (a2 + b2[i]))
            y[i] = difference2(a, p->b + (k->first + i) * p->d, p->d);
    if (p->measure == SM_MEASURE_L2)
        for (int64_t i = 0; i < k->width; i++)
            y[i] = sqrtf(y[i]);
    if (cosine)
        for (int64_t i = 0; i < k->width; i++)
            y[i] *= 0.5f;
}

static void finish_rows(void *context, int64_t begin, int64_t end, int thread) {
    const block *k = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        finish_row(k, k->begin + i, k->y + i * k->width);
}

/* Strips of b that stay in the cache; column by column, so that vectors run along b. */
static void l1_rows(void *context, int64_t begin, int64_t end, int thread) {
    const block *k = context;
    const sm_pairwise *p = k->p;
    (void)thread;
    for (int64_t at = 0; at < k->width; at += STRIP) {
        int64_t width = k->width - at < STRIP ? k->width - at : STRIP;
        for (int64_t i = begin; i < end; i++) {
            const float *a = p->a + (k->begin + i) * p->d;
            float *restrict y = k->y + i * k->width + at;
            memset(y, 0, (size_t)width * sizeof *y);
            for (int64_t j = 0; j < p->d; j++) {
                const float *restrict b = p->turned + j * p->m + k->first + at;
                for (int64_t c = 0; c < width; c++)
                    y[c] += fabsf(a[j] - b[c]);
            }
        }
    }
}

sm_status sm_pairwise_rows(const sm_pairwise *p, int64_t begin, int64_t end,
                           int64_t first, float *y, sm_error *err) {
    block k = {p, begin, first, p->m - first, y};
    int64_t rows = end - begin, ld = p->d > 0 ? p->d : 1;
    if (rows <= 0 || k.width <= 0)
        return SM_OK;
    if (p->measure == SM_MEASURE_L1) {
        sm_parallel_for(rows, 1, l1_rows, &k);
        return SM_OK;
    }
    sm_status status = sm_gemm(false, true, rows, k.width, p->d, 1, p->a + begin * p->d,
                               ld, p->b + first * p->d, ld, 0, y, k.width, err);
    if (status == SM_OK)
        sm_parallel_for(rows, 1, finish_rows, &k);
    return status;
}
