/* conv2d_pointwise.c: 1x1 kernels with stride 1, forward and backward-data.
 *
 * For every image y[o, p] = w[o, c] x[c, p], a matrix product whose operands already lie as it wants
 * them: vectors hold neighbouring pixels, and nothing is turned to [pixel][channel] and back. Some
 * pixels of all channels are copied into a panel, so that they lie together, and blocks of output
 * channels are summed in registers from it. The pixels of all images count as one row, so a panel may
 * hold the end of one image and the beginning of the next.
 */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"

typedef struct job {
    const conv2d_kernels *k;
    int64_t src_channels, dst_channels;
    int64_t pixels, total; /* of an image, of all */
    int64_t width;         /* pixels of a panel */
    const float *src, *w, *bias;                /* bias [dst_channels in whole blocks] */
    int64_t row_stride, column_stride;          /* of w: from output to output, source to source */
    float *dst;
    bool relu;
    float *packed;                              /* [block][src_channels][rows of a block] */
    float *scratch;                             /* [threads] panels */
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
                    row < j->dst_channels ? j->w[row * j->row_stride + c * j->column_stride] : 0.0f;
            }
}

/* Copies pixels [first, first + count) of all images, from or to a panel of `pitch`. */
static void copy_pixels(const job *j, int64_t first, int64_t count, float *panel, int64_t row,
                        int64_t rows, bool load) {
    for (int64_t done = 0, part; done < count; done += part) {
        const int64_t n = (first + done) / j->pixels, p = (first + done) % j->pixels;
        part = at_most(j->pixels - p, count - done);
        if (load)
            j->k->copy_rows(j->src + (n * j->src_channels + row) * j->pixels + p, j->pixels,
                            panel + done, j->width, rows, part);
        else
            j->k->copy_rows(panel + done, j->width,
                            j->dst + (n * j->dst_channels + row) * j->pixels + p, j->pixels, rows,
                            part);
    }
}

static void do_panels(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const int64_t rows = j->k->pointwise_rows;
    float *panel = j->scratch + thread * j->part, *sums = panel + j->src_channels * j->width;
    memset(panel, 0, (size_t)j->part * sizeof *panel);
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item * j->width, count = at_most(j->width, j->total - first);
        const int64_t n = first / j->pixels, p = first % j->pixels;
        const bool whole = p + count <= j->pixels; /* within one image */
        float *dst = j->dst + n * j->dst_channels * j->pixels + p;
        conv2d_panel a = {.panel = panel, .depth = j->src_channels, .pixels = (int)count,
                          .plane = whole ? j->pixels : j->width, .relu = j->relu};
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
    char *memory = sm_alloc(weights + biases + (size_t)(threads * j->part) * sizeof(float));
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
                                      const float *bias, float *y, bool relu, sm_error *err) {
    job j = {.src_channels = g->c, .dst_channels = g->o, .pixels = g->h * g->w, .src = x, .w = w,
             .row_stride = g->c, .column_stride = 1, .dst = y, .relu = relu};
    return product(&j, g->n, bias, err);
}

sm_status sm_conv2d_pointwise_backward_data(const sm_conv2d *g, const float *dy, const float *w,
                                            float *dx, sm_error *err) {
    job j = {.src_channels = g->o, .dst_channels = g->c, .pixels = g->h * g->w, .src = dy, .w = w,
             .row_stride = 1, .column_stride = g->c, .dst = dx};
    return product(&j, g->n, NULL, err);
}
