/* conv2d_pointwise.c: 1x1 kernels with stride 1.
 *
 * For every image y[o, p] = w[o, c] x[c, p], a matrix product whose operands already lie
 * as it wants them: vectors hold neighbouring pixels, and nothing is turned to
 * [pixel][channel] and back. Some pixels of all channels are copied into a panel, so that
 * they lie together, and blocks of output channels are summed in registers from it. The
 * pixels of all images count as one row, so a panel may hold the end of one image and the
 * beginning of the next.
 */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"

typedef struct job {
    const conv2d_kernels *k;
    int64_t src_channels, dst_channels;
    int64_t pixels, total;             /* of an image, of all */
    int64_t width;                     /* pixels of a panel */
    const float *src, *w, *bias;       /* bias [dst_channels in whole blocks] */
    int64_t row_stride, column_stride; /* of w: from output to output, source to source */
    float *dst;
    bool relu;
    float *packed;  /* [block][src_channels][rows of a block] */
    float *scratch; /* [threads] panels */
    int64_t part;
} job;

static void pack_blocks(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const int64_t rows = j->k->pointwise_rows;
    (void)thread;
    for (int64_t block = begin; block < end; block++)
        for (int64_t c = 0; c < j->src_channels; c++)
            for (int64_t i = 0; i < rows; i++) {
                const int64_t row = block * rows + i;
                j->packed[(block * j->src_channels + c) * rows + i] =
                    row < j->dst_channels
                        ? j->w[row * j->row_stride + c * j->column_stride]
                        : 0.0f;
            }
}

/* Copies pixels [first, first + count) of all images, from or to a panel of `pitch`. */
static void copy_pixels(const job *j, int64_t first, int64_t count, float *panel,
                        int64_t row, int64_t rows, bool load) {
    for (int64_t done = 0, part; done < count; done += part) {
        const int64_t n = (first + done) / j->pixels, p = (first + done) % j->pixels;
        part = at_most(j->pixels - p, count - done);
        if (load)
            j->k->copy_rows(j->src + (n * j->src_channels + row) * j->pixels + p,
                            j->pixels, panel + done, j->width, rows, part);
        else
            j->k->copy_rows(panel + done, j->width,
                            j->dst + (n * j->dst_channels + row) * j->pixels + p,
                            j->pixels, rows, part);
    }
}

static void do_panels(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const int64_t rows = j->k->pointwise_rows;
    float *panel = j->scratch + thread * j->part,
          *sums = panel + j->src_channels * j->width;
    memset(panel, 0, (size_t)j->part * sizeof *panel);
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item * j->width,
                      count = at_most(j->width, j->total - first);
        const int64_t n = first / j->pixels, p = first % j->pixels;
        const bool whole = p + count <= j->pixels; /* within one image */
        float *dst = j->dst + n * j->dst_channels * j->pixels + p;
        conv2d_panel a = {.panel = panel,
                          .depth = j->src_channels,
                          .pixels = (int)count,
                          .plane = whole ? j->pixels : j->width,
                          .relu = j->relu};
        copy_pixels(j, first, count, panel, 0, j->src_channels, true);
        for (int64_t row = 0; row < j->dst_channels; row += rows) {
            a.w = j->packed + row * j->src_channels;
            a.bias = j->bias + row;
            a.rows = (int)at_most(rows, j->dst_channels - row);
            a.out = whole ? dst + row * j->pixels : sums;
            j->k->pointwise(&a);
            if (!whole)
                copy_pixels(j, first, count, sums, row, a.rows, false);
        }
    }
}

static sm_status product(job *j, int64_t n, const float *bias, sm_error *err) {
    j->k = sm_conv2d_kernels_in_use();
    j->width = 3 * j->k->lanes_per_vector;
    j->total = n * j->pixels;
    j->part = (j->src_channels + j->k->pointwise_rows) * j->width;
    const int64_t panels = ceil_div(j->total, j->width);
    const int64_t blocks = ceil_div(j->dst_channels, j->k->pointwise_rows);
    const int64_t lanes = blocks * j->k->pointwise_rows;
    const int64_t threads = at_most(sm_threads(), panels);
    const size_t weights = floats(lanes * j->src_channels), biases = floats(lanes);
    char *memory =
        sm_alloc(weights + biases + (size_t)(threads * j->part) * sizeof(float));
    if (!memory)
        return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    float *padded = (float *)(memory + weights);
    memset(padded, 0, biases);
    if (bias)
        memcpy(padded, bias, (size_t)j->dst_channels * sizeof *bias);
    j->bias = padded;
    j->packed = (float *)memory;
    j->scratch = (float *)(memory + weights + biases);
    sm_parallel_for(blocks, 4, pack_blocks, j);
    sm_parallel_for(panels, 1, do_panels, j);
    sm_free(memory);
    return SM_OK;
}

sm_status sm_conv2d_pointwise_forward(const sm_conv2d *g, const float *x, const float *w,
                                      const float *bias, float *y, bool relu,
                                      sm_error *err) {
    job j = {.src_channels = g->c,
             .dst_channels = g->o,
             .pixels = g->h * g->w,
             .src = x,
             .w = w,
             .row_stride = g->c,
             .column_stride = 1,
             .dst = y,
             .relu = relu};
    return product(&j, g->n, bias, err);
}

sm_status sm_conv2d_pointwise_backward_data(const sm_conv2d *g, const float *dy,
                                            const float *w, float *dx, sm_error *err) {
    job j = {.src_channels = g->o,
             .dst_channels = g->c,
             .pixels = g->h * g->w,
             .src = dy,
             .w = w,
             .row_stride = 1,
             .column_stride = g->c,
             .dst = dx};
    return product(&j, g->n, NULL, err);
}

/* ---- the weight gradient
 * -------------------------------------------------------------------- */

enum { GRAD_CHUNK = 128 }; /* pixels whose lanes stay in the first-level cache */

/* sums[row][lane] += sum over pixels of rows[row, p] * lanes[lane, p]. One of x and dy
 * gives the rows and is read from its planes as they lie, the other gives the lanes and
 * is turned to [pixel][lane] on the way: whichever way round costs less. */
typedef struct grad_job {
    const conv2d_kernels *k;
    const float *row_planes, *lane_planes, *dy;
    int64_t rows, lanes, padded, outputs; /* lanes in whole vectors: padded */
    int64_t n, pixels, block;
    float *sums; /* [threads][part]: [block][rows][lanes], then dbias */
    int64_t part;
    int64_t threads;
    bool *used;
    float *scratch;               /* [threads][GRAD_CHUNK * block] */
    const int32_t *wide, *narrow; /* [GRAD_CHUNK]: positions of pixels in a block */
    float *dw, *dbias;
    int64_t row_stride, lane_stride; /* of dw */
} grad_job;

/* `count` pixels from p on of image n. */
static void grad_chunk(const grad_job *j, int64_t n, int64_t p, int64_t count,
                       float *turned, float *sums) {
    for (int64_t lane = 0; lane < j->padded; lane += j->block) {
        const int64_t wide = at_most(j->block, j->padded - lane);
        const int64_t there = at_most(wide, j->lanes - lane);
        if (there < wide) /* lanes without a channel must be finite */
            memset(turned, 0, (size_t)(count * wide) * sizeof *turned);
        j->k->to_pixels(j->lane_planes + (n * j->lanes + lane) * j->pixels + p, j->pixels,
                        there, count, wide == j->block ? j->wide : j->narrow, turned);
        const conv2d_grad_args args = {.src = j->row_planes + n * j->rows * j->pixels + p,
                                       .count = count,
                                       .run = j->rows,
                                       .row = j->pixels,
                                       .dy = turned,
                                       .dy_stride = wide,
                                       .dw = sums + lane * j->rows};
        j->k->grad_planes[wide / j->k->lanes_per_vector - 1](&args);
    }
    for (int64_t o = 0; j->dbias && o < j->outputs; o++)
        sums[j->padded * j->rows + o] +=
            j->k->sum(j->dy + (n * j->outputs + o) * j->pixels + p, count);
}

static void grad_range(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    const int64_t chunks = ceil_div(j->pixels, GRAD_CHUNK);
    float *sums = j->sums + thread * j->part;
    j->used[thread] = true;
    memset(sums, 0, (size_t)j->part * sizeof *sums);
    for (int64_t item = begin; item < end; item++) {
        const int64_t p = item % chunks * GRAD_CHUNK;
        grad_chunk(j, item / chunks, p, at_most(GRAD_CHUNK, j->pixels - p),
                   j->scratch + thread * GRAD_CHUNK * j->block, sums);
    }
}

/* The threads' sums at `at`, in their order. */
static float total(const grad_job *j, int64_t at) {
    float sum = 0.0f;
    for (int64_t i = 0; i < j->threads; i++)
        if (j->used[i])
            sum += j->sums[i * j->part + at];
    return sum;
}

static void finish_rows(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        for (int64_t lane = 0; lane < j->lanes; lane++) {
            const int64_t first = lane / j->block * j->block;
            const int64_t wide = at_most(j->block, j->padded - first);
            j->dw[row * j->row_stride + lane * j->lane_stride] =
                total(j, first * j->rows + row * wide + lane - first);
        }
}

/* Cycles a pixel, about: the sums, and turning the lanes. */
static double cost(int64_t rows, int64_t lanes, int64_t vector) {
    return (double)(rows * ceil_div(lanes, vector)) + 0.45 * (double)lanes;
}

/* Chooses which of x and dy gives the rows, and sizes the scratch memory. */
static void set_sides(grad_job *j, const sm_conv2d *g, const float *x, const float *dy) {
    const int64_t vector = j->k->lanes_per_vector;
    const bool outputs = cost(g->c, g->o, vector) <= cost(g->o, g->c, vector);
    j->row_planes = outputs ? x : dy;
    j->lane_planes = outputs ? dy : x;
    j->rows = outputs ? g->c : g->o;
    j->lanes = outputs ? g->o : g->c;
    j->row_stride = outputs ? 1 : g->c;
    j->lane_stride = outputs ? g->c : 1;
    j->padded = ceil_div(j->lanes, vector) * vector;
    j->block = at_most(vector * j->k->vectors, j->padded);
    j->part = (int64_t)(floats(j->padded * j->rows + g->o) / sizeof(float));
    j->threads = at_most(sm_threads(), g->n * ceil_div(j->pixels, GRAD_CHUNK));
}

sm_status sm_conv2d_pointwise_backward_weight(const sm_conv2d *g, const float *x,
                                              const float *dy, float *dw, float *dbias,
                                              sm_error *err) {
    grad_job j = {.k = sm_conv2d_kernels_in_use(),
                  .dy = dy,
                  .outputs = g->o,
                  .n = g->n,
                  .pixels = g->h * g->w,
                  .dw = dw,
                  .dbias = dbias};
    set_sides(&j, g, x, dy);
    const int64_t sums = j.threads * j.part, turned = j.threads * GRAD_CHUNK * j.block;
    arena a = {NULL, 0};
    int32_t *wide = NULL, *narrow = NULL;
    for (int pass = 0; pass < 2; pass++) {
        a.used = 0;
        j.sums = carve(&a, sums, sizeof *j.sums);
        j.scratch = carve(&a, turned, sizeof *j.scratch);
        j.wide = wide = carve(&a, GRAD_CHUNK, sizeof *wide);
        j.narrow = narrow = carve(&a, GRAD_CHUNK, sizeof *narrow);
        j.used = carve(&a, j.threads, sizeof *j.used);
        if (!a.base && !(a.base = sm_alloc(a.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    }
    for (int32_t q = 0; q < GRAD_CHUNK; q++) {
        wide[q] = q * (int32_t)j.block;
        narrow[q] = q * (int32_t)(j.padded % j.block);
    }
    memset(j.used, 0, (size_t)j.threads * sizeof *j.used);
    sm_parallel_for(g->n * ceil_div(j.pixels, GRAD_CHUNK), 1, grad_range, &j);
    sm_parallel_for(j.rows, 8, finish_rows, &j);
    for (int64_t o = 0; dbias && o < g->o; o++)
        dbias[o] = total(&j, j.padded * j.rows + o);
    sm_free(a.base);
    return SM_OK;
}
