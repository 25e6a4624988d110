/* pool2d.c: max, average and adaptive average pooling, a plane at a time on all threads.
 * See pool2d.h. The commonest case, 2x2 with stride 2 without padding, has a loop of its
 * own. */
#include "kernels/pool2d.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/pool.h"
#include "kernels/pool2d_rows.h"

typedef struct job {
    const sm_pool2d *g;
    const float *from;
    float *to;
    uint8_t *where;
} job;

static void run(const sm_pool2d *g, sm_range_fn fn, job j) {
    if (g->planes == 0) /* the sizes of nothing may be too large to multiply */
        return;
    int64_t cost = g->oh * g->ow * g->kh * g->kw + g->h * g->w;
    sm_parallel_for(g->planes, 1 + 16384 / (cost + 1), fn, &j);
}

/* The part of a window that lies in the image: places first..last (exclusive) along one
 * axis. */
typedef struct span {
    int64_t start, first, last;
} span;

static span window(int64_t out, int64_t stride, int64_t pad, int64_t dilation,
                   int64_t kernel, int64_t size) {
    span s = {out * stride - pad, 0, kernel};
    if (s.start < 0)
        s.first = (-s.start + dilation - 1) / dilation;
    if (s.start + (kernel - 1) * dilation >= size)
        s.last = size > s.start ? (size - s.start + dilation - 1) / dilation : 0;
    return s;
}

/* ---- max ---- */

static void max_at(const sm_pool2d *g, const float *x, span r, span c, float *best,
                   uint8_t *where) {
    *best = -INFINITY;
    bool empty = r.first >= r.last || c.first >= c.last;
    *where = (uint8_t)(empty ? SM_POOL_NOWHERE : r.first * g->kw + c.first);
    for (int64_t p = r.first; p < r.last; p++)
        for (int64_t q = c.first; q < c.last; q++) {
            float v =
                x[(r.start + p * g->dilation_h) * g->w + c.start + q * g->dilation_w];
            if (v > *best || (v != v && *best == *best)) {
                *best = v;
                *where = (uint8_t)(p * g->kw + q);
            }
        }
}

/* Columns [first, last) of row i. */
static void max_row(const sm_pool2d *g, const float *x, int64_t i, int64_t first,
                    int64_t last, float *y, uint8_t *where) {
    uint8_t ignored;
    span r = window(i, g->stride_h, g->pad_h, g->dilation_h, g->kh, g->h);
    for (int64_t j = first; j < last; j++) {
        span c = window(j, g->stride_w, g->pad_w, g->dilation_w, g->kw, g->w);
        int64_t at = i * g->ow + j;
        max_at(g, x, r, c, y + at, where ? where + at : &ignored);
    }
}

static void max_plane(const sm_pool2d *g, const float *x, float *y, uint8_t *where) {
    for (int64_t i = 0; i < g->oh; i++)
        max_row(g, x, i, 0, g->ow, y, where);
}

static const sm_pool2d_rows *rows_table(void) {
#if defined(__x86_64__)
    static const sm_pool2d_rows *const tables[SM_ISA_COUNT] = {
        &sm_pool2d_rows__ref, &sm_pool2d_rows__avx2, &sm_pool2d_rows__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_pool2d_rows__ref;
#endif
}

/* Whole windows by vectors; those that ceil_mode lets hang over the edge one by one. */
static void max_plane_2x2(const sm_pool2d *g, const float *x, float *y, uint8_t *where) {
    int64_t rows = g->h / 2, cols = g->w / 2;
    for (int64_t i = 0; i < g->oh; i++) {
        int64_t whole = i < rows ? (cols < g->ow ? cols : g->ow) : 0;
        if (whole)
            rows_table()->max(x + 2 * i * g->w, x + (2 * i + 1) * g->w, whole,
                              y + i * g->ow, where ? where + i * g->ow : NULL);
        max_row(g, x, i, whole, g->ow, y, where);
    }
}

static bool is_2x2(const sm_pool2d *g) {
    return g->kh == 2 && g->kw == 2 && g->stride_h == 2 && g->stride_w == 2 &&
           g->pad_h == 0 && g->pad_w == 0 && g->dilation_h == 1 && g->dilation_w == 1;
}

static void max_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++)
        (is_2x2(g) ? max_plane_2x2
                   : max_plane)(g, j->from + p * g->h * g->w, j->to + p * g->oh * g->ow,
                                j->where ? j->where + p * g->oh * g->ow : NULL);
}

void sm_max_pool2d(const sm_pool2d *g, const float *x, float *y, uint8_t *where) {
    run(g, max_planes, (job){g, x, y, where});
}

/* Adds what columns [first, ow) of row i got to where it came from. */
static void max_back_row(const sm_pool2d *g, const float *dy, const uint8_t *where,
                         int64_t i, int64_t first, float *dx) {
    for (int64_t j = first; j < g->ow; j++) {
        int64_t at = i * g->ow + j, place = where[at];
        if (place == SM_POOL_NOWHERE)
            continue;
        int64_t row = i * g->stride_h - g->pad_h + place / g->kw * g->dilation_h;
        int64_t col = j * g->stride_w - g->pad_w + place % g->kw * g->dilation_w;
        dx[row * g->w + col] += dy[at];
    }
}

static void max_back_plane_2x2(const sm_pool2d *g, const float *dy, const uint8_t *where,
                               float *dx) {
    int64_t rows = g->h / 2 < g->oh ? g->h / 2 : g->oh,
            cols = g->w / 2 < g->ow ? g->w / 2 : g->ow;
    for (int64_t i = 0; i < rows; i++) {
        float *top = dx + 2 * i * g->w, *low = top + g->w;
        rows_table()->spread(dy + i * g->ow, where + i * g->ow, cols, top, low);
        for (int64_t j = 2 * cols; j < g->w; j++)
            top[j] = low[j] = 0;
        max_back_row(g, dy, where, i, cols, dx);
    }
    memset(dx + 2 * rows * g->w, 0, (size_t)((g->h - 2 * rows) * g->w) * sizeof *dx);
    for (int64_t i = rows; i < g->oh; i++)
        max_back_row(g, dy, where, i, 0, dx);
}

static void max_back_plane(const sm_pool2d *g, const float *dy, const uint8_t *where,
                           float *dx) {
    memset(dx, 0, (size_t)(g->h * g->w) * sizeof *dx);
    for (int64_t i = 0; i < g->oh; i++)
        max_back_row(g, dy, where, i, 0, dx);
}

static void max_back_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++)
        (is_2x2(g) ? max_back_plane_2x2 : max_back_plane)(g, j->from + p * g->oh * g->ow,
                                                          j->where + p * g->oh * g->ow,
                                                          j->to + p * g->h * g->w);
}

void sm_max_pool2d_backward(const sm_pool2d *g, const float *dy, const uint8_t *where,
                            float *dx) {
    run(g, max_back_planes, (job){g, dy, dx, (uint8_t *)where});
}

/* ---- average ---- */

/* What a window's sum is divided by: the elements inside, or also those of the padding
 * (but not beyond it, where ceil_mode may reach). */
static float divisor(const sm_pool2d *g, span r, span c) {
    if (!g->count_include_pad)
        return (float)((r.last - r.first) * (c.last - c.first));
    int64_t rows = g->h + g->pad_h - r.start, cols = g->w + g->pad_w - c.start;
    return (float)((rows < g->kh ? rows : g->kh) * (cols < g->kw ? cols : g->kw));
}

static void avg_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        const float *x = j->from + p * g->h * g->w;
        float *y = j->to + p * g->oh * g->ow;
        for (int64_t i = 0; i < g->oh; i++) {
            span r = window(i, g->stride_h, g->pad_h, 1, g->kh, g->h);
            for (int64_t k = 0; k < g->ow; k++) {
                span c = window(k, g->stride_w, g->pad_w, 1, g->kw, g->w);
                float sum = 0;
                for (int64_t a = r.first; a < r.last; a++)
                    for (int64_t b = c.first; b < c.last; b++)
                        sum += x[(r.start + a) * g->w + c.start + b];
                y[i * g->ow + k] = sum / divisor(g, r, c);
            }
        }
    }
}

void sm_avg_pool2d(const sm_pool2d *g, const float *x, float *y) {
    run(g, avg_planes, (job){g, x, y, NULL});
}

static void avg_back_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        const float *dy = j->from + p * g->oh * g->ow;
        float *dx = j->to + p * g->h * g->w;
        memset(dx, 0, (size_t)(g->h * g->w) * sizeof *dx);
        for (int64_t i = 0; i < g->oh; i++) {
            span r = window(i, g->stride_h, g->pad_h, 1, g->kh, g->h);
            for (int64_t k = 0; k < g->ow; k++) {
                span c = window(k, g->stride_w, g->pad_w, 1, g->kw, g->w);
                float share = dy[i * g->ow + k] / divisor(g, r, c);
                for (int64_t a = r.first; a < r.last; a++)
                    for (int64_t b = c.first; b < c.last; b++)
                        dx[(r.start + a) * g->w + c.start + b] += share;
            }
        }
    }
}

void sm_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx) {
    run(g, avg_back_planes, (job){g, dy, dx, NULL});
}

/* ---- adaptive average ---- */

static span bin(int64_t i, int64_t out, int64_t in) {
    return (span){0, i * in / out, ((i + 1) * in + out - 1) / out};
}

static void adaptive_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++)
        for (int64_t i = 0; i < g->oh; i++)
            for (int64_t k = 0; k < g->ow; k++) {
                span r = bin(i, g->oh, g->h), c = bin(k, g->ow, g->w);
                float sum = 0;
                for (int64_t a = r.first; a < r.last; a++)
                    for (int64_t b = c.first; b < c.last; b++)
                        sum += j->from[(p * g->h + a) * g->w + b];
                j->to[(p * g->oh + i) * g->ow + k] =
                    sum / (float)((r.last - r.first) * (c.last - c.first));
            }
}

void sm_adaptive_avg_pool2d(const sm_pool2d *g, const float *x, float *y) {
    run(g, adaptive_planes, (job){g, x, y, NULL});
}

static void adaptive_back_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        float *dx = j->to + p * g->h * g->w;
        memset(dx, 0, (size_t)(g->h * g->w) * sizeof *dx);
        for (int64_t i = 0; i < g->oh; i++)
            for (int64_t k = 0; k < g->ow; k++) {
                span r = bin(i, g->oh, g->h), c = bin(k, g->ow, g->w);
                float share = j->from[(p * g->oh + i) * g->ow + k] /
                              (float)((r.last - r.first) * (c.last - c.first));
                for (int64_t a = r.first; a < r.last; a++)
                    for (int64_t b = c.first; b < c.last; b++)
                        dx[a * g->w + b] += share;
            }
    }
}

void sm_adaptive_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx) {
    run(g, adaptive_back_planes, (job){g, dy, dx, NULL});
}
