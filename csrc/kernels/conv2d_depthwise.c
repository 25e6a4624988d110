/* conv2d_depthwise.c: convolution where every channel has one kernel of its own.
 *
 * There is no sum over channels, so vectors hold the channels of a pixel. An image is cut
 * into rectangles whose pixels all have the same taps inside the source: the inner one
 * has all of them, those at the border fewer. No border is ever copied, and the weights
 * of a rectangle stay in registers. Work is cut into slices, some rows of an image each,
 * of all channels, so that memory is read from end to end.
 */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"

enum {
    SLICES = 16 /* of all images, at least; sums of the weight gradient, at most */
};

/* Pixels [begin, end) of a phase of an axis, which have taps [first, past) inside. */
typedef struct segment {
    int64_t phase, begin, end, first, past;
} segment;

typedef struct plan {
    const conv2d_kernels *k;
    axis v, h;
    int64_t n, channels, taps, kernel_width;
    int64_t slices; /* of an image, whatever the number of threads */
    segment *rows, *columns;
    int64_t row_count, column_count;
    void *axes, *memory;
} plan;

static void free_plan(plan *p) {
    sm_free(p->axes);
    sm_free(p->memory);
}

/* Cuts an axis; returns the number of segments, and fills `out` unless NULL. */
static int64_t cut_axis(const axis *x, segment *out) {
    int64_t count = 0;
    segment last = {.phase = -1};
    for (int64_t p = 0; p < x->phases; p++)
        for (int64_t i = 0; i < axis_pixels(x, p); i++) {
            int64_t first = x->start[p], past = x->start[p + 1];
            while (first < past && i * x->src_step + x->offset[first] < 0)
                first++;
            while (past > first && i * x->src_step + x->offset[past - 1] >= x->src)
                past--;
            if (last.phase != p || last.first != first || last.past != past) {
                last = (segment){p, i, i, first, past};
                count++;
            }
            last.end = i + 1;
            if (out)
                out[count - 1] = last;
        }
    return count;
}

/* p->v and p->h are set; the rest follows. free_plan() in any case. */
static sm_status make_plan(plan *p, const sm_conv2d *g, sm_error *err) {
    arena axes = {NULL, 0}, cuts = {NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        axes.used = 0;
        sm_axis_carve(&p->v, &axes, g->kh);
        sm_axis_carve(&p->h, &axes, g->kw);
        if (!axes.base && !(p->axes = axes.base = sm_alloc(axes.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    }
    sm_axis_fill(&p->v, g->kh, g->pad_h, g->dilation_h);
    sm_axis_fill(&p->h, g->kw, g->pad_w, g->dilation_w);
    p->k = sm_conv2d_kernels_for(g->c);
    p->n = g->n;
    p->channels = g->c;
    p->taps = g->kh * g->kw;
    p->kernel_width = g->kw;
    p->slices = at_most(ceil_div(SLICES, at_least(g->n, 1)), p->v.dst);
    p->row_count = cut_axis(&p->v, NULL);
    p->column_count = cut_axis(&p->h, NULL);
    for (int pass = 0; pass < 2; pass++) {
        cuts.used = 0;
        p->rows = carve(&cuts, p->row_count, sizeof *p->rows);
        p->columns = carve(&cuts, p->column_count, sizeof *p->columns);
        if (!cuts.base && !(p->memory = cuts.base = sm_alloc(cuts.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    }
    cut_axis(&p->v, p->rows);
    cut_axis(&p->h, p->columns);
    return SM_OK;
}

/* The taps of a rectangle, into tables of p->taps. Returns how many. */
static int64_t list_taps(const plan *p, const segment *r, const segment *c, int32_t *tap,
                         int32_t *weight) {
    int64_t count = 0;
    for (int64_t a = r->first; a < r->past; a++)
        for (int64_t b = c->first; b < c->past; b++, count++) {
            tap[count] =
                (int32_t)((p->v.offset[a] * p->h.src + p->h.offset[b]) * p->channels);
            weight[count] = (int32_t)((p->v.index[a] * p->kernel_width + p->h.index[b]) *
                                      p->channels);
        }
    return count;
}

typedef struct job {
    const plan *p;
    const float *src, *w; /* w [taps][channels] */
    sm_conv2d_finish finish;
    float *dst;
    const float *dy;
    bool has_bias;
    float *sums; /* of the gradient: [parts][taps + 1][channels], the last for dbias */
    int64_t parts;
    int32_t *tables; /* [threads][2 * taps] */
} job;

/* The part of a segment of rows that belongs to slice i of an image. */
static segment cut_slice(const plan *p, segment row, int64_t i) {
    const int64_t begin = row.begin, count = row.end - row.begin;
    row.begin = begin + count * i / p->slices;
    row.end = begin + count * (i + 1) / p->slices;
    return row;
}

/* Runs the kernel over all rectangles of one slice. */
static void do_slice(const job *j, int64_t slice, float *sums, int32_t *tables) {
    const plan *p = j->p;
    const int64_t n = slice / p->slices, channels = p->channels;
    for (int64_t i = 0; i < p->row_count; i++)
        for (int64_t k = 0; k < p->column_count; k++) {
            const segment row = cut_slice(p, p->rows[i], slice % p->slices);
            const segment *column = p->columns + k;
            int32_t *tap = tables, *weight = tables + p->taps;
            const int64_t src = (n * p->v.src + row.begin * p->v.src_step) * p->h.src +
                                column->begin * p->h.src_step;
            const int64_t dst =
                (n * p->v.dst + row.begin * p->v.dst_step + row.phase) * p->h.dst +
                column->begin * p->h.dst_step + column->phase;
            const conv2d_depthwise_args a = {
                .rows = row.end - row.begin,
                .columns = column->end - column->begin,
                .channels = channels,
                .src = j->src + src * channels,
                .src_row = p->v.src_step * p->h.src * channels,
                .src_pixel = p->h.src_step * channels,
                .taps = list_taps(p, &row, column, tap, weight),
                .tap = tap,
                .weight = weight,
                .w = j->w,
                .scale = j->finish.scale,
                .bias = j->finish.bias,
                .residual =
                    j->finish.residual ? j->finish.residual + dst * channels : NULL,
                .dst = j->dst ? j->dst + dst * channels : NULL,
                .dst_row = p->v.dst_step * p->h.dst * channels,
                .dst_pixel = p->h.dst_step * channels,
                .limits = j->finish.limits,
                .dy = j->dy ? j->dy + dst * channels : NULL,
                .sums = sums};
            (sums ? p->k->depthwise_grad : p->k->depthwise)(&a);
        }
}

static void gather_items(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    int32_t *tables = j->tables + thread * 2 * j->p->taps;
    for (int64_t item = begin; item < end; item++)
        do_slice(j, item, NULL, tables);
}

static void turn_weights(const plan *p, const float *w, float *out) {
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t t = 0; t < p->taps; t++)
            out[t * p->channels + c] = w[c * p->taps + t];
}

static sm_status gather(plan *p, const sm_conv2d *g, job *j, sm_error *err) {
    sm_status status = make_plan(p, g, err);
    if (status == SM_OK) {
        const size_t c = floats(p->channels), weights = floats(p->taps * p->channels);
        char *memory = sm_alloc(weights + 2 * c +
                                (size_t)(sm_threads() * 2 * p->taps) * sizeof *j->tables);
        if (memory) {
            float *scale = (float *)(memory + weights), *bias = scale + c / sizeof *bias;
            turn_weights(p, j->w, (float *)memory);
            for (int64_t i = 0; i < p->channels; i++) {
                scale[i] = j->finish.scale ? j->finish.scale[i] : 1.0f;
                bias[i] = j->finish.bias ? j->finish.bias[i] : 0.0f;
            }
            j->p = p;
            j->w = (float *)memory;
            j->finish.scale = scale;
            j->finish.bias = bias;
            j->tables = (int32_t *)(memory + weights + 2 * c);
            sm_parallel_for(p->n * p->slices, 1, gather_items, j);
        } else {
            status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
        }
        sm_free(memory);
    }
    free_plan(p);
    return status;
}

sm_status sm_conv2d_depthwise_forward(const sm_conv2d *g, const float *x, const float *w,
                                      const sm_conv2d_finish *finish, float *y,
                                      sm_error *err) {
    plan p = {.v = sm_axis_forward(g->h, g->oh, g->stride_h),
              .h = sm_axis_forward(g->w, g->ow, g->stride_w)};
    job j = {.src = x, .w = w, .finish = *finish, .dst = y};
    return gather(&p, g, &j, err);
}

sm_status sm_conv2d_depthwise_backward_data(const sm_conv2d *g, const float *dy,
                                            const float *w, float *dx, sm_error *err) {
    plan p = {.v = sm_axis_backward(g->h, g->oh, g->stride_h),
              .h = sm_axis_backward(g->w, g->ow, g->stride_w)};
    job j = {.src = dy, .w = w, .dst = dx, .finish = sm_conv2d_plain};
    return gather(&p, g, &j, err);
}

/* Adds the gradients of a slice's rows to sums [channels]. */
static void sum_bias(const job *j, int64_t slice, float *sums) {
    const plan *p = j->p;
    const int64_t i = slice % p->slices, row = p->v.dst * i / p->slices,
                  past = p->v.dst * (i + 1) / p->slices;
    const float *dy =
        j->dy + (slice / p->slices * p->v.dst + row) * p->h.dst * p->channels;
    for (int64_t n = (past - row) * p->h.dst; n > 0; n--, dy += p->channels)
        for (int64_t c = 0; c < p->channels; c++)
            sums[c] += dy[c];
}

/* Item: a part of the slices. */
static void grad_items(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const plan *p = j->p;
    const int64_t slices = p->n * p->slices, size = (p->taps + 1) * p->channels;
    int32_t *tables = j->tables + thread * 2 * p->taps;
    for (int64_t part = begin; part < end; part++) {
        float *sums = j->sums + part * size;
        memset(sums, 0, (size_t)size * sizeof *sums);
        for (int64_t i = part * slices / j->parts; i < (part + 1) * slices / j->parts;
             i++) {
            do_slice(j, i, sums, tables);
            if (j->has_bias)
                sum_bias(j, i, sums + p->taps * p->channels);
        }
    }
}

/* The parts' sums in their order. */
static void finish(const job *j, float *dw, float *dbias) {
    const plan *p = j->p;
    const int64_t size = (p->taps + 1) * p->channels;
    for (int64_t part = 1; part < j->parts; part++)
        for (int64_t i = 0; i < size; i++)
            j->sums[i] += j->sums[part * size + i];
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t t = 0; t < p->taps; t++)
            dw[c * p->taps + t] = j->sums[t * p->channels + c];
    if (dbias)
        memcpy(dbias, j->sums + p->taps * p->channels,
               (size_t)p->channels * sizeof *dbias);
}

sm_status sm_conv2d_depthwise_backward_weight(const sm_conv2d *g, const float *x,
                                              const float *dy, float *dw, float *dbias,
                                              sm_error *err) {
    plan p = {.v = sm_axis_forward(g->h, g->oh, g->stride_h),
              .h = sm_axis_forward(g->w, g->ow, g->stride_w)};
    sm_status status = make_plan(&p, g, err);
    if (status == SM_OK) {
        job j = {.p = &p, .src = x, .dy = dy, .has_bias = dbias};
        j.parts = at_most(SLICES, p.n * p.slices);
        const size_t sums = floats(j.parts * (p.taps + 1) * p.channels);
        char *memory =
            sm_alloc(sums + (size_t)(sm_threads() * 2 * p.taps) * sizeof *j.tables);
        if (memory) {
            j.sums = (float *)memory;
            j.tables = (int32_t *)(memory + sums);
            sm_parallel_for(j.parts, 1, grad_items, &j);
            finish(&j, dw, dbias);
        } else {
            status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
        }
        sm_free(memory);
    }
    free_plan(&p);
    return status;
}
