/* pool2d.c: max, average and adaptive average pooling, the channels of a pixel at a time.
 * See pool2d.h. */
#include "kernels/pool2d.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/pool.h"
#include "kernels/pool2d_pixels.h"

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

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}
static int64_t ceil_div(int64_t a, int64_t b) {
    return -floor_div(-a, b);
}
static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* ---- max ---- */

/* `pixels` windows of a row from column k on, all of which have the taps of the first. */
static void max_run(const job *j, int64_t item, span r, int64_t k, int64_t pixels) {
    const sm_pool2d *g = j->g;
    const span c = window(k, g->stride_w, g->pad_w, g->dilation_w, g->kw, g->w);
    const int64_t image = item / g->oh * g->h * g->w, at = (item * g->ow + k) * g->c;
    sm_pool2d_run run = {.pixels = pixels, .c = g->c, .step = g->stride_w * g->c};
    for (int64_t p = r.first; p < r.last; p++)
        for (int64_t q = c.first; q < c.last; q++) {
            const int64_t row = r.start + p * g->dilation_h;
            const int64_t col = c.start + q * g->dilation_w;
            run.tap[run.taps] = (row * g->w + col) * g->c;
            run.place[run.taps++] = (uint8_t)(p * g->kw + q);
        }
    if (run.taps) {
        j->k->max(&run, j->from + image * g->c, j->to + at,
                  j->where ? j->where + at : NULL);
        return;
    }
    for (int64_t i = 0; i < pixels * g->c; i++)
        j->to[at + i] = -INFINITY;
    if (j->where)
        memset(j->where + at, SM_POOL_NOWHERE, (size_t)(pixels * g->c));
}

static void max_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    const int64_t reach = (g->kw - 1) * g->dilation_w;
    const int64_t first = clamp(ceil_div(g->pad_w, g->stride_w), 0, g->ow);
    const int64_t past =
        clamp(floor_div(g->w - 1 - reach + g->pad_w, g->stride_w) + 1, first, g->ow);
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const span r =
            window(item % g->oh, g->stride_h, g->pad_h, g->dilation_h, g->kh, g->h);
        for (int64_t k = 0; k < first; k++)
            max_run(j, item, r, k, 1);
        if (past > first)
            max_run(j, item, r, first, past - first);
        for (int64_t k = past; k < g->ow; k++)
            max_run(j, item, r, k, 1);
    }
}

void sm_max_pool2d(const sm_pool2d *g, const float *x, float *y, uint8_t *where) {
    run(g, max_rows, (job){.from = x, .to = y, .where = where}, g->oh, g->ow);
}

/* The windows along one axis that hold a position: their outputs, falling, and places. */
typedef struct covers {
    int64_t count, out[SM_POOL_TAPS], place[SM_POOL_TAPS];
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

/* `pixels` pixels of a row of dx, every stride_w-th from column k on, that all lie in the
 * same places of as many windows: these give back what they took. */
static void max_back_run(const job *j, int64_t item, const covers *r, int64_t k,
                         int64_t pixels) {
    const sm_pool2d *g = j->g;
    const int64_t image = item / g->h * g->oh * g->ow;
    sm_pool2d_run run = {.pixels = pixels, .c = g->c, .step = g->stride_w * g->c};
    covers c;
    cover(&c, k, g->stride_w, g->pad_w, g->dilation_w, g->kw, g->ow);
    for (int64_t a = 0; a < r->count; a++)
        for (int64_t b = 0; b < c.count; b++) {
            run.tap[run.taps] = (r->out[a] * g->ow + c.out[b]) * g->c;
            run.place[run.taps++] = (uint8_t)(r->place[a] * g->kw + c.place[b]);
        }
    j->k->max_back(&run, j->from + image * g->c, j->where + image * g->c,
                   j->to + (item * g->w + k) * g->c);
}

/* Columns first, first + stride_w, ... of a row. */
static void max_back_phase(const job *j, int64_t item, const covers *r, int64_t first) {
    const sm_pool2d *g = j->g;
    int64_t low = -1, high = -1; /* least and greatest place of such a column */
    for (int64_t p = 0; p < g->kw; p++)
        if ((first + g->pad_w - p * g->dilation_w) % g->stride_w == 0) {
            low = low < 0 ? p : low;
            high = p;
        }
    const int64_t begin = high * g->dilation_w - g->pad_w;
    const int64_t end = (g->ow - 1) * g->stride_w - g->pad_w + low * g->dilation_w;
    for (int64_t k = first, pixels; k < g->w; k += pixels * g->stride_w) {
        const bool whole = low >= 0 && k >= begin && k <= end;
        const int64_t last = end < g->w - 1 ? end : g->w - 1;
        pixels = whole ? (last - k) / g->stride_w + 1 : 1;
        max_back_run(j, item, r, k, pixels);
    }
}

static void max_back_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_pool2d *g = j->g;
    covers r;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        cover(&r, item % g->h, g->stride_h, g->pad_h, g->dilation_h, g->kh, g->oh);
        for (int64_t first = 0; first < g->stride_w && first < g->w; first++)
            max_back_phase(j, item, &r, first);
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
