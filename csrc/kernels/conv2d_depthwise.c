/* conv2d_depthwise.c: convolution where every channel has one kernel of its own.
 *
 * There is no sum over channels, so vectors hold neighbouring pixels of a plane. A plane
 * is copied with its zero border, split by stride into phase planes of one pitch: then a
 * tap is a constant offset for all pixels of a plane, and the plane is one long row. The
 * few sums that fall between the rows are thrown away. The weight gradient keeps one
 * vector of sums a tap over all images.
 */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"

enum { LONG_ROW = 24 }; /* pixels */

typedef struct plan {
    const conv2d_kernels *k;
    axis v, h;
    int64_t planes, channels;
    int64_t rows, pitch; /* of a phase plane of the source */
    int64_t src_size; /* floats of all phase planes, with what vectors may read beyond */
    int64_t dst_size; /* floats of one phase of the destination, likewise */
    int32_t *tap;     /* [taps], by destination phase as `start` says */
    int32_t *weight;  /* [taps]: its place in the kernel */
    int64_t *start;   /* [phases + 1] */
    void *axes, *memory;
} plan;

static void free_plan(plan *p) {
    sm_free(p->axes);
    sm_free(p->memory);
}

static void fill_taps(plan *p, int64_t kernel_width) {
    const int64_t plane = p->rows * p->pitch;
    int64_t count = 0;
    for (int64_t i = 0; i < p->v.phases * p->h.phases; i++) {
        const int64_t row = i / p->h.phases, column = i % p->h.phases;
        p->start[i] = count;
        for (int64_t a = p->v.start[row]; a < p->v.start[row + 1]; a++)
            for (int64_t b = p->h.start[column]; b < p->h.start[column + 1];
                 b++, count++) {
                int64_t y = p->v.offset[a] - p->v.low, x = p->h.offset[b] - p->h.low;
                int64_t phase = y % p->v.src_step * p->h.src_step + x % p->h.src_step;
                p->tap[count] = (int32_t)(phase * plane + y / p->v.src_step * p->pitch +
                                          x / p->h.src_step);
                p->weight[count] =
                    (int32_t)(p->v.index[a] * kernel_width + p->h.index[b]);
            }
    }
    p->start[p->v.phases * p->h.phases] = count;
}

/* p->v and p->h are set; the rest follows. free_plan() in any case. */
static sm_status make_plan(plan *p, const sm_conv2d *g, sm_error *err) {
    arena axes = {NULL, 0}, tables = {NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        axes.used = 0;
        sm_axis_carve(&p->v, &axes, g->kh);
        sm_axis_carve(&p->h, &axes, g->kw);
        if (!axes.base && !(p->axes = axes.base = sm_alloc(axes.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    }
    sm_axis_fill(&p->v, g->kh, g->pad_h, g->dilation_h);
    sm_axis_fill(&p->h, g->kw, g->pad_w, g->dilation_w);
    p->k = sm_conv2d_kernels_in_use();
    p->planes = g->n * g->c;
    p->channels = g->c;
    p->rows = axis_pixels(&p->v, 0) + (p->v.high - p->v.low) / p->v.src_step;
    p->pitch = axis_pixels(&p->h, 0) + (p->h.high - p->h.low) / p->h.src_step;
    p->src_size =
        p->v.src_step * p->h.src_step * p->rows * p->pitch + p->pitch + CONV2D_LANES;
    p->dst_size = axis_pixels(&p->v, 0) * p->pitch + CONV2D_LANES;
    for (int pass = 0; pass < 2; pass++) {
        tables.used = 0;
        p->tap = carve(&tables, g->kh * g->kw, sizeof *p->tap);
        p->weight = carve(&tables, g->kh * g->kw, sizeof *p->weight);
        p->start = carve(&tables, p->v.phases * p->h.phases + 1, sizeof *p->start);
        if (!tables.base && !(p->memory = tables.base = sm_alloc(tables.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    }
    fill_taps(p, g->kw);
    return SM_OK;
}

/* One source row to the rows of its column phases, `plane` floats apart. The first column
 * (counted with the border) goes to phase `first`. */
static void load_row(const plan *p, const float *src, int64_t count, int64_t first,
                     float *out) {
    const int64_t step = p->h.src_step, plane = p->rows * p->pitch;
    if (step == 2) {
        float *even = out + first % 2 * plane + first / 2;
        float *odd = out + (first + 1) % 2 * plane + (first + 1) / 2;
        p->k->split_row(src, count, even, odd);
        return;
    }
    for (int64_t c = 0; c < count; c++)
        out[(first + c) % step * plane + (first + c) / step] = src[c];
}

/* Copies one plane [v.src, h.src] to its phase planes; what lies outside is zero in `out`
 * already. */
static void load_plane(const plan *p, const float *src, float *out) {
    const int64_t plane = p->rows * p->pitch;
    const int64_t top = at_least(p->v.low, 0), left = at_least(p->h.low, 0);
    const int64_t rows = at_most(p->v.src, p->v.low + p->rows * p->v.src_step) - top;
    const int64_t columns = at_most(p->h.src, p->h.low + p->pitch * p->h.src_step) - left;
    const int64_t y = top - p->v.low, x = left - p->h.low;
    src += top * p->h.src + left;
    if (columns <= 0)
        return;
    if (p->v.src_step == 1 && p->h.src_step == 1) {
        p->k->copy_rows(src, p->h.src, out + y * p->pitch + x, p->pitch, rows, columns);
        return;
    }
    for (int64_t r = y; r < y + rows; r++, src += p->h.src)
        load_row(p, src, columns, x,
                 out + r % p->v.src_step * p->h.src_step * plane +
                     r / p->v.src_step * p->pitch);
}

typedef struct gather_job {
    const plan *p;
    const float *src, *w, *bias;
    float *dst;
    bool relu;
    int64_t taps;
    float *scratch; /* of all threads: phase planes, one phase's sums, weights */
    int64_t part;
} gather_job;

/* Spreads the sums of one phase into a plane of the destination. */
static void store_phase(const plan *p, int64_t row, int64_t column, const float *sums,
                        float *dst) {
    const int64_t rows = axis_pixels(&p->v, row), columns = axis_pixels(&p->h, column);
    const int64_t step = p->h.dst_step, pitch = p->v.dst_step * p->h.dst;
    dst += row * p->h.dst + column;
    if (step == 1) {
        p->k->copy_rows(sums, p->pitch, dst, pitch, rows, columns);
        return;
    }
    for (int64_t i = 0; i < rows; i++, sums += p->pitch, dst += pitch)
        for (int64_t j = 0; j < columns; j++)
            dst[j * step] = sums[j];
}

/* One phase of one plane: long rows straight to the destination, short ones as one row.
 */
static void gather_phase(const gather_job *j, int64_t i, const float *src, const float *w,
                         int64_t c, float *sums, float *dst) {
    const plan *p = j->p;
    const int64_t row = i / p->h.phases, column = i % p->h.phases;
    const int64_t rows = axis_pixels(&p->v, row), taps = p->start[i + 1] - p->start[i];
    const int32_t *tap = p->tap + p->start[i];
    const float bias = j->bias ? j->bias[c] : 0.0f;
    if (p->h.dst_step > 1 || p->h.dst < LONG_ROW) {
        p->k->depthwise(src, tap, w, taps, rows * p->pitch, bias, j->relu, sums);
        store_phase(p, row, column, sums, dst);
        return;
    }
    dst += row * p->h.dst;
    for (int64_t r = 0; r < rows; r++)
        p->k->depthwise(src + r * p->pitch, tap, w, taps, p->h.dst, bias, j->relu,
                        dst + r * p->v.dst_step * p->h.dst);
}

static void gather_planes(void *context, int64_t begin, int64_t end, int thread) {
    const gather_job *j = context;
    const plan *p = j->p;
    float *src = j->scratch + thread * j->part, *sums = src + p->src_size,
          *w = sums + p->dst_size;
    memset(src, 0, (size_t)p->src_size * sizeof *src);
    for (int64_t item = begin; item < end; item++) {
        const int64_t c = item % p->channels;
        for (int64_t t = 0; t < p->start[p->v.phases * p->h.phases]; t++)
            w[t] = j->w[c * j->taps + p->weight[t]];
        load_plane(p, j->src + item * p->v.src * p->h.src, src);
        for (int64_t i = 0; i < p->v.phases * p->h.phases; i++) {
            const int64_t first = p->start[i];
            gather_phase(j, i, src, w + first, c, sums,
                         j->dst + item * p->v.dst * p->h.dst);
        }
    }
}

static sm_status gather(plan *p, const sm_conv2d *g, gather_job *j, sm_error *err) {
    sm_status status = make_plan(p, g, err);
    if (status == SM_OK) {
        const int64_t threads = at_most(sm_threads(), p->planes);
        j->p = p;
        j->taps = g->kh * g->kw;
        j->part = (int64_t)(floats(p->src_size + p->dst_size + j->taps) / sizeof(float));
        j->scratch = sm_alloc((size_t)(threads * j->part) * sizeof(float));
        if (j->scratch)
            sm_parallel_for(p->planes, 1, gather_planes, j);
        else
            status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
        sm_free(j->scratch);
    }
    free_plan(p);
    return status;
}

sm_status sm_conv2d_depthwise_forward(const sm_conv2d *g, const float *x, const float *w,
                                      const float *bias, float *y, bool relu,
                                      sm_error *err) {
    plan p = {.v = sm_axis_forward(g->h, g->oh, g->stride_h),
              .h = sm_axis_forward(g->w, g->ow, g->stride_w)};
    gather_job j = {.src = x, .w = w, .bias = bias, .dst = y, .relu = relu};
    return gather(&p, g, &j, err);
}

sm_status sm_conv2d_depthwise_backward_data(const sm_conv2d *g, const float *dy,
                                            const float *w, float *dx, sm_error *err) {
    plan p = {.v = sm_axis_backward(g->h, g->oh, g->stride_h),
              .h = sm_axis_backward(g->w, g->ow, g->stride_w)};
    gather_job j = {.src = dy, .w = w, .dst = dx};
    return gather(&p, g, &j, err);
}

typedef struct grad_job {
    const plan *p;
    const float *x, *dy;
    float *dw, *dbias;
    int64_t taps;
    float *scratch; /* of all threads: phase planes, dy at their pitch, vectors of sums */
    int64_t part;
} grad_job;

/* dw and dbias of channels [begin, end): whole sums, whoever does them. */
static void grad_channels(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    const plan *p = j->p;
    const int lanes = p->k->lanes_per_vector;
    float *x = j->scratch + thread * j->part, *dy = x + p->src_size,
          *sums = dy + p->dst_size;
    memset(x, 0, (size_t)j->part * sizeof *x);
    for (int64_t c = begin; c < end; c++) {
        double bias = 0.0;
        memset(sums, 0, (size_t)(j->taps * lanes) * sizeof *sums);
        for (int64_t item = c; item < p->planes; item += p->channels) {
            load_plane(p, j->x + item * p->v.src * p->h.src, x);
            /* Between the rows dy stays zero. */
            p->k->copy_rows(j->dy + item * p->v.dst * p->h.dst, p->h.dst, dy, p->pitch,
                            p->v.dst, p->h.dst);
            if (j->dbias)
                bias += p->k->sum(dy, p->v.dst * p->pitch);
            p->k->depthwise_grad(x, p->tap, j->taps, p->v.dst * p->pitch, dy, sums);
        }
        for (int64_t t = 0; t < j->taps; t++) {
            float sum = 0.0f;
            for (int i = 0; i < lanes; i++)
                sum += sums[t * lanes + i];
            j->dw[c * j->taps + p->weight[t]] = sum;
        }
        if (j->dbias)
            j->dbias[c] = (float)bias;
    }
}

sm_status sm_conv2d_depthwise_backward_weight(const sm_conv2d *g, const float *x,
                                              const float *dy, float *dw, float *dbias,
                                              sm_error *err) {
    plan p = {.v = sm_axis_forward(g->h, g->oh, g->stride_h),
              .h = sm_axis_forward(g->w, g->ow, g->stride_w)};
    sm_status status = make_plan(&p, g, err);
    if (status == SM_OK) {
        grad_job j = {
            .p = &p, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .taps = g->kh * g->kw};
        const int64_t sums = j.taps * p.k->lanes_per_vector;
        j.part = (int64_t)(floats(p.src_size + p.dst_size + sums) / sizeof(float));
        j.scratch =
            sm_alloc((size_t)(at_most(sm_threads(), g->c) * j.part) * sizeof(float));
        if (j.scratch)
            sm_parallel_for(g->c, 1, grad_channels, &j);
        else
            status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
        sm_free(j.scratch);
    }
    free_plan(&p);
    return status;
}
