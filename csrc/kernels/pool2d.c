/* pool2d.c: max, average and adaptive average pooling, the channels of a pixel at a time.
 * See pool2d.h. */
#include "kernels/pool2d.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/pool.h"
#include "kernels/pool2d_pixels.h"

enum { MOST_TAPS = 255 };

typedef struct job {
    const sm_pool2d *g;
    const sm_pool2d_pixels *k;
    const float *from;
    float *to;
    uint8_t *where;
    bool adaptive;
} job;

static const sm_pool2d_pixels *pixels_table(void) {
#if defined(__x86_64__)
    static const sm_pool2d_pixels *const tables[SM_ISA_COUNT] = {
        &sm_pool2d_pixels__ref, &sm_pool2d_pixels__avx2, &sm_pool2d_pixels__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_pool2d_pixels__ref;
#endif
}

/* Cuts n * `rows` rows of `width` pixels, each of `taps`, among the threads. */
static void run(const sm_pool2d *g, sm_range_fn fn, job j, int64_t rows, int64_t width) {
    if (g->n == 0 || g->c == 0) /* the sizes of nothing may be too large to multiply */
        return;
    j.g = g;
    j.k = pixels_table();
    int64_t cost = width * g->c * g->kh * g->kw;
    sm_parallel_for(g->n * rows, 1 + 65536 / (cost + 1), fn, &j);
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

static void max_pixel(const job *j, const float *image, span r, span c, float *y,
                      uint8_t *where) {
    const sm_pool2d *g = j->g;
    const float *x[MOST_TAPS];
    uint8_t place[MOST_TAPS];
    int64_t taps = 0;
    for (int64_t p = r.first; p < r.last; p++)
        for (int64_t q = c.first; q < c.last; q++, taps++) {
            int64_t row = r.start + p * g->dilation_h, col = c.start + q * g->dilation_w;
            x[taps] = image + (row * g->w + col) * g->c;
            place[taps] = (uint8_t)(p * g->kw + q);
        }
    if (taps) {
        j->k->max(x, place, taps, g->c, y, where);
        return;
    }
    for (int64_t i = 0; i < g->c; i++)
        y[i] = -INFINITY;
    if (where)
        memset(where, SM_POOL_NOWHERE, (size_t)g->c);
}

static void max_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const float *image = j->from + item / g->oh * g->h * g->w * g->c;
        const span r =
            window(item % g->oh, g->stride_h, g->pad_h, g->dilation_h, g->kh, g->h);
        for (int64_t k = 0; k < g->ow; k++) {
            const int64_t at = (item * g->ow + k) * g->c;
            max_pixel(j, image, r,
                      window(k, g->stride_w, g->pad_w, g->dilation_w, g->kw, g->w),
                      j->to + at, j->where ? j->where + at : NULL);
        }
    }
}

void sm_max_pool2d(const sm_pool2d *g, const float *x, float *y, uint8_t *where) {
    run(g, max_rows, (job){.from = x, .to = y, .where = where}, g->oh, g->ow);
}

/* The windows along one axis that hold a position: their outputs and places. */
typedef struct covers {
    int64_t count, out[MOST_TAPS], place[MOST_TAPS];
} covers;

static void cover(covers *k, int64_t at, int64_t stride, int64_t pad, int64_t dilation,
                  int64_t kernel, int64_t outs) {
    k->count = 0;
    for (int64_t p = 0; p < kernel; p++) {
        int64_t start = at + pad - p * dilation;
        if (start < 0 || start % stride != 0 || start / stride >= outs)
            continue;
        k->out[k->count] = start / stride;
        k->place[k->count++] = p;
    }
}

/* dx[row][col] of image n: the windows that hold it give back what they took from it. */
static void max_back_pixel(const job *j, int64_t n, const covers *r, const covers *c,
                           float *dx) {
    const sm_pool2d *g = j->g;
    const float *dy[MOST_TAPS];
    const uint8_t *where[MOST_TAPS];
    uint8_t place[MOST_TAPS];
    int64_t windows = 0;
    for (int64_t a = 0; a < r->count; a++)
        for (int64_t b = 0; b < c->count; b++, windows++) {
            const int64_t at = ((n * g->oh + r->out[a]) * g->ow + c->out[b]) * g->c;
            dy[windows] = j->from + at;
            where[windows] = j->where + at;
            place[windows] = (uint8_t)(r->place[a] * g->kw + c->place[b]);
        }
    j->k->max_back(dy, where, place, windows, g->c, dx);
}

static void max_back_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    covers r, c;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        cover(&r, item % g->h, g->stride_h, g->pad_h, g->dilation_h, g->kh, g->oh);
        for (int64_t k = 0; k < g->w; k++) {
            cover(&c, k, g->stride_w, g->pad_w, g->dilation_w, g->kw, g->ow);
            max_back_pixel(j, item / g->h, &r, &c, j->to + (item * g->w + k) * g->c);
        }
    }
}

void sm_max_pool2d_backward(const sm_pool2d *g, const float *dy, const uint8_t *where,
                            float *dx) {
    run(g, max_back_rows, (job){.from = dy, .to = dx, .where = (uint8_t *)where}, g->h,
        g->w);
}

/* ---- average and adaptive average ---- */

/* What a window's sum is divided by: the elements inside, or also those of the padding
 * (but not beyond it, where ceil_mode may reach). */
static float divisor(const sm_pool2d *g, span r, span c) {
    if (!g->count_include_pad)
        return (float)((r.last - r.first) * (c.last - c.first));
    int64_t rows = g->h + g->pad_h - r.start, cols = g->w + g->pad_w - c.start;
    return (float)((rows < g->kh ? rows : g->kh) * (cols < g->kw ? cols : g->kw));
}

static span bin(int64_t i, int64_t out, int64_t in) {
    return (span){0, i * in / out, ((i + 1) * in + out - 1) / out};
}

static span row_span(const job *j, int64_t i) {
    const sm_pool2d *g = j->g;
    return j->adaptive ? bin(i, g->oh, g->h)
                       : window(i, g->stride_h, g->pad_h, 1, g->kh, g->h);
}

static span column_span(const job *j, int64_t i) {
    const sm_pool2d *g = j->g;
    return j->adaptive ? bin(i, g->ow, g->w)
                       : window(i, g->stride_w, g->pad_w, 1, g->kw, g->w);
}

static float share_of(const job *j, span r, span c) {
    return j->adaptive ? (float)((r.last - r.first) * (c.last - c.first))
                       : divisor(j->g, r, c);
}

static void avg_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const float *x = j->from + item / g->oh * g->h * g->w * g->c;
        const span r = row_span(j, item % g->oh);
        for (int64_t k = 0; k < g->ow; k++) {
            const span c = column_span(j, k);
            float *y = j->to + (item * g->ow + k) * g->c;
            memset(y, 0, (size_t)g->c * sizeof *y);
            for (int64_t a = r.first; a < r.last; a++)
                for (int64_t b = c.first; b < c.last; b++)
                    j->k->add(y, x + ((r.start + a) * g->w + c.start + b) * g->c, g->c,
                              1);
            j->k->divide(y, g->c, share_of(j, r, c));
        }
    }
}

/* Images [begin, end): what an output got goes to all of its window. */
static void avg_back_images(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        float *dx = j->to + n * g->h * g->w * g->c;
        const float *dy = j->from + n * g->oh * g->ow * g->c;
        memset(dx, 0, (size_t)(g->h * g->w * g->c) * sizeof *dx);
        for (int64_t i = 0; i < g->oh * g->ow; i++, dy += g->c) {
            const span r = row_span(j, i / g->ow), c = column_span(j, i % g->ow);
            const float share = 1 / share_of(j, r, c);
            for (int64_t a = r.first; a < r.last; a++)
                for (int64_t b = c.first; b < c.last; b++)
                    j->k->add(dx + ((r.start + a) * g->w + c.start + b) * g->c, dy, g->c,
                              share);
        }
    }
}

void sm_avg_pool2d(const sm_pool2d *g, const float *x, float *y) {
    run(g, avg_rows, (job){.from = x, .to = y}, g->oh, g->ow);
}

void sm_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx) {
    run(g, avg_back_images, (job){.from = dy, .to = dx}, 1, g->oh * g->ow);
}

void sm_adaptive_avg_pool2d(const sm_pool2d *g, const float *x, float *y) {
    run(g, avg_rows, (job){.from = x, .to = y, .adaptive = true}, g->oh, g->ow);
}

void sm_adaptive_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx) {
    run(g, avg_back_images, (job){.from = dy, .to = dx, .adaptive = true}, 1,
        g->oh * g->ow);
}
