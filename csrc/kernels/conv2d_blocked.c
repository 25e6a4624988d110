/* conv2d_blocked.c: convolution as an implicit GEMM, for any shape.
 *
 * Forward and backward-data are one gathering (conv2d_axis.h), over pixels of all
 * channels.
 *
 * The work is cut into strips: some rows of one image, or several whole small images. A
 * strip's source is copied with its zero border, or, where no tap leaves the image, read
 * where it lies; blocks of output channels are then summed tile by tile against packed
 * weights. The weight gradient has the pixels as the sum: a thread adds its strips into
 * sums of its own, which are added in the order of the threads at the end.
 *
 * A 1x1 kernel with stride 1 sees all images as the rows of one: a plain matrix product.
 */
#include "kernels/conv2d_blocked.h"

#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_weights.h"

enum {
    STRIP_PIXELS = 512,      /* destination pixels of a strip, about */
    STRIP_BYTES = 384 << 10, /* its source, so that it stays in the second-level cache */
    HEAVY_BYTES = 1 << 20,   /* more weights than this go by as seldom as may be: */
    HEAVY_STRIP = 4,         /* strips are this many times as large */
    WEIGHT_BYTES = 64 << 10, /* the weights of one pass over a strip */
    GRAD_PIXELS = 128,       /* pixels of one pass over a gradient block */
    MERGE_CHANNELS = 32      /* fewer channels than this: a kernel row is one run */
};

typedef struct phase {
    int64_t taps, run;          /* K = taps * run products to an output */
    const int32_t *tap;         /* [taps] */
    const conv2d_pixel *pixels; /* [images][rows][columns] of a full strip */
    int64_t columns;
    int64_t weights; /* where its weights start in `packed`: K * lanes * groups floats */
} phase;

/* Where the weights of a place of the kernel go: to a tap of a phase. */
typedef struct place {
    int64_t weights, products; /* of the phase; products < 0: no phase takes it */
    int64_t tap;
} place;

typedef struct plan {
    const conv2d_kernels *k;
    int64_t n, groups;
    int64_t kernel, kernel_width;       /* places of the kernel, and of its row */
    int64_t src_channels, dst_channels; /* of one group */
    axis v, h;
    bool merged;
    bool direct;       /* no tap leaves the image: nothing is copied */
    int64_t lanes;     /* dst_channels rounded up to vectors */
    int64_t block;     /* lanes of a full block */
    int64_t pixel;     /* floats from one source pixel to the next */
    int64_t width;     /* source columns with border */
    int64_t rows;      /* destination row steps of a strip */
    int64_t strips;    /* strips of an image */
    int64_t images;    /* images of a strip */
    int64_t items;     /* strips in all */
    int64_t src_rows;  /* source rows of a strip */
    int64_t src_size;  /* floats from one image of a strip to the next */
    int64_t dst_pixel; /* floats from one destination pixel to the next */
    int64_t weights;   /* floats of the packed weights */
    phase *phases;
    place *places;       /* [kernel] */
    void *axes, *memory; /* where the tables of v and h, and all others, lie */
} plan;

const conv2d_kernels *sm_conv2d_kernels_in_use(void) {
#if defined(__x86_64__)
    if (sm_cpu_isa() == SM_ISA_AVX512)
        return &sm_conv2d_kernels_avx512;
    if (sm_cpu_isa() == SM_ISA_AVX2)
        return &sm_conv2d_kernels_avx2;
#endif
    return &sm_conv2d_kernels_ref;
}

const conv2d_kernels *sm_conv2d_kernels_for(int64_t channels) {
#if defined(__x86_64__)
    if (sm_cpu_isa() == SM_ISA_AVX512 && channels <= 8)
        return &sm_conv2d_kernels_avx2; /* half of a 512-bit vector would be idle */
#endif
    (void)channels;
    return sm_conv2d_kernels_in_use();
}

/* ---- the plan
 * ------------------------------------------------------------------------------- */

/* Rows of a strip, or images where a strip holds several; as even among the threads as it
 * goes. */
static void cut_strips(plan *p) {
    const int64_t threads = sm_threads(), full = axis_pixels(&p->v, 0);
    const int64_t span = p->v.high - p->v.low + 1, row = p->width * p->pixel;
    const double weights = 4.0 * (double)p->kernel * (double)p->src_channels *
                           (double)p->dst_channels * (double)p->groups;
    const int64_t times = weights > HEAVY_BYTES ? HEAVY_STRIP : 1;
    const int64_t room = times * STRIP_BYTES / (int64_t)sizeof(float) / row,
                  pixels = times * STRIP_PIXELS;
    int64_t rows =
        at_most(pixels / (p->v.dst_step * p->h.dst), (room - span) / p->v.src_step);
    rows = at_most(at_least(rows, 1), full);
    p->strips = ceil_div(full, rows);
    while (p->n < threads && p->strips < full && p->n * p->strips % threads != 0)
        p->strips++;
    p->rows = ceil_div(full, p->strips);
    p->strips = ceil_div(full, p->rows);
    p->src_rows = (p->rows - 1) * p->v.src_step + span;
    p->src_size = (p->direct ? p->v.src : p->src_rows) * row;
    p->images = 1;
    if (p->strips == 1) {
        int64_t most = at_most(pixels / (p->v.dst * p->h.dst), room * row / p->src_size);
        most = at_least(at_most(most, p->n / threads), 1);
        int64_t rounds = ceil_div(p->n, most * threads);
        p->images = at_least(at_most(most, ceil_div(p->n, rounds * threads)), 1);
    }
    p->items = ceil_div(p->n, p->images) * p->strips;
}

static void fill_pixels(const plan *p, const phase *f, int64_t row, int64_t column,
                        conv2d_pixel *out) {
    const int64_t rows = at_most(p->rows, axis_pixels(&p->v, row));
    const int64_t left = -at_most(p->h.low, 0), image = p->v.dst * p->h.dst;
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < f->columns; j++, out++) {
                int64_t src =
                    (i * p->v.src_step - p->v.low) * p->width + j * p->h.src_step + left;
                int64_t dst =
                    (i * p->v.dst_step + row) * p->h.dst + j * p->h.dst_step + column;
                out->src = (int32_t)(n * p->src_size + src * p->pixel);
                out->dst = (int32_t)((n * image + dst) * p->dst_pixel);
            }
}

/* Carves (and, with memory, fills) the tables of phase (row, column). */
static void fill_phase(plan *p, arena *a, int64_t row, int64_t column) {
    phase *f = a->base ? &p->phases[row * p->h.phases + column] : &(phase){0};
    const int64_t v0 = p->v.start[row], nv = p->v.start[row + 1] - v0;
    const int64_t h0 = p->h.start[column], nh = p->h.start[column + 1] - h0;
    f->columns = axis_pixels(&p->h, column);
    f->taps = p->merged ? (nh ? nv : 0) : nv * nh;
    f->run = p->merged ? nh * p->src_channels : p->src_channels;
    f->weights = p->weights;
    p->weights += f->taps * f->run * p->lanes * p->groups;
    int32_t *tap = carve(a, f->taps, sizeof *tap);
    conv2d_pixel *pixels = carve(a, p->images * p->rows * f->columns, sizeof *pixels);
    if (!a->base)
        return;
    const int64_t each = p->merged ? 1 : nh;
    for (int64_t t = 0; t < f->taps; t++)
        tap[t] = (int32_t)((p->v.offset[v0 + t / each] * p->width +
                            p->h.offset[h0 + t % each]) *
                           p->pixel);
    fill_pixels(p, f, row, column, pixels);
    f->tap = tap;
    f->pixels = pixels;
    for (int64_t t = 0; t < nv * nh; t++)
        p->places[p->v.index[v0 + t / nh] * p->kernel_width + p->h.index[h0 + t % nh]] =
            (place){f->weights, nv * nh * p->src_channels, t};
}

static void fill_tables(plan *p, arena *a) {
    p->weights = 0;
    p->phases = carve(a, p->v.phases * p->h.phases, sizeof *p->phases);
    p->places = carve(a, p->kernel, sizeof *p->places);
    for (int64_t i = 0; a->base && i < p->kernel; i++)
        p->places[i].products = -1;
    for (int64_t i = 0; i < p->v.phases; i++)
        for (int64_t j = 0; j < p->h.phases; j++)
            fill_phase(p, a, i, j);
}

/* One more than the last source pixel of an axis that a tap takes. */
static int64_t reach(const axis *x) {
    return (axis_pixels(x, 0) - 1) * x->src_step + x->high + 1;
}

static bool stays_inside(const axis *x) {
    return x->low >= 0 && reach(x) <= x->src;
}

static void free_plan(plan *p) {
    sm_free(p->axes);
    sm_free(p->memory);
}

/* p->v, p->h and the channels are set; the rest follows. free_plan() in any case. */
static sm_status make_plan(plan *p, const sm_conv2d *g, sm_error *err) {
    arena axes = {NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        axes.used = 0;
        sm_axis_carve(&p->v, &axes, g->kh);
        sm_axis_carve(&p->h, &axes, g->kw);
        if (!axes.base && !(p->axes = axes.base = sm_alloc(axes.used)))
            return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    }
    sm_axis_fill(&p->v, g->kh, g->pad_h, g->dilation_h);
    sm_axis_fill(&p->h, g->kw, g->pad_w, g->dilation_w);
    p->k = sm_conv2d_kernels_for(p->dst_channels);
    p->n = g->n;
    p->groups = g->groups;
    p->kernel = g->kh * g->kw;
    p->kernel_width = g->kw;
    p->block = p->k->lanes_per_vector * p->k->vectors;
    p->lanes = ceil_div(p->dst_channels, p->k->lanes_per_vector) * p->k->lanes_per_vector;
    p->block = at_most(p->block, p->lanes);
    p->merged = p->h.dense && p->groups == 1 && p->src_channels < MERGE_CHANNELS;
    p->direct = stays_inside(&p->v) && stays_inside(&p->h);
    p->pixel = p->src_channels * p->groups;
    p->dst_pixel = p->dst_channels * p->groups;
    if (!p->merged && !p->direct && p->pixel % 128 == 0)
        p->pixel += 16; /* neighbours would share too few sets of the cache */
    p->width = at_least(reach(&p->h), p->h.src) - at_most(p->h.low, 0);
    cut_strips(p);
    arena tables = {NULL, 0};
    fill_tables(p, &tables);
    tables = (arena){p->memory = sm_alloc(tables.used), 0};
    if (p->memory)
        fill_tables(p, &tables);
    return p->memory ? SM_OK
                     : sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
}

/* ---- weights
 * -------------------------------------------------------------------------------- */

/* w, with strides of its own, to and from the packed order [phase][group][block][tap]
 * [source][lane of the block]. An item of work is a vector of lanes and some columns. */
typedef struct weights_job {
    const plan *p;
    conv2d_weights view;
    int64_t group_stride;
    const float *w;
    float *packed;
    float *dw; /* unpacking: dw = sum of `parts` packed arrays at packed + i * part */
    const bool *used;
    int64_t parts, part;
} weights_job;

static weights_job weights_forward(const plan *p, const sm_conv2d *g) {
    const int64_t kernel = g->kh * g->kw, cg = g->c / g->groups;
    return (weights_job){.p = p,
                         .view = {p->k, kernel, cg * kernel, kernel},
                         .group_stride = g->o / g->groups * cg * kernel};
}

static weights_job weights_backward(const plan *p, const sm_conv2d *g) {
    const int64_t kernel = g->kh * g->kw, cg = g->c / g->groups;
    return (weights_job){.p = p,
                         .view = {p->k, kernel, kernel, cg * kernel},
                         .group_stride = g->o / g->groups * cg * kernel};
}

/* Where the packed weights of a block begin within one phase of K products. */
static int64_t block_start(const plan *p, int64_t products, int64_t group, int64_t lane) {
    return (group * p->lanes + lane) * products;
}

/* A vector of lanes, and of its columns either whole sources or, of large kernels, some
 * places of one. */
typedef struct weights_item {
    int64_t group, lane, lanes; /* the vector's first, and how many of it are there */
    int64_t first, wide;        /* of the vector's block */
    int64_t source, sources, place, places;
} weights_item;

/* Sources, or parts of one, that make a chunk; and chunks. */
static int64_t chunk_sources(const weights_job *j) {
    return at_least(CONV2D_COLUMNS / j->view.size, 1);
}
static int64_t source_chunks(const weights_job *j) {
    return ceil_div(j->view.size, CONV2D_COLUMNS);
}
static int64_t lane_chunks(const weights_job *j) {
    return ceil_div(j->p->src_channels, chunk_sources(j)) * source_chunks(j);
}

static int64_t weights_items(const weights_job *j) {
    return j->p->groups * (j->p->lanes / j->p->k->lanes_per_vector) * lane_chunks(j);
}

static weights_item get_item(const weights_job *j, int64_t item) {
    const plan *p = j->p;
    const int64_t vector = p->k->lanes_per_vector, vectors = p->lanes / vector;
    const int64_t chunk = item % lane_chunks(j), lane = item / lane_chunks(j);
    weights_item i = {.group = lane / vectors,
                      .lane = lane % vectors * vector,
                      .source = chunk / source_chunks(j) * chunk_sources(j),
                      .place = chunk % source_chunks(j) * CONV2D_COLUMNS};
    i.lanes = at_most(vector, p->dst_channels - i.lane);
    i.first = i.lane / p->block * p->block;
    i.wide = at_most(p->block, p->lanes - i.first);
    i.sources = at_most(chunk_sources(j), p->src_channels - i.source);
    i.places = at_most(CONV2D_COLUMNS, j->view.size - i.place);
    return i;
}

/* Where in the packed order the item's first source at a place lies, or -1 if no phase
 * takes it. The next source is i->wide floats on. */
static int64_t packed_place(const plan *p, const weights_item *i, int64_t place_number) {
    const place *at = &p->places[i->place + place_number];
    if (at->products < 0)
        return -1;
    return at->weights + block_start(p, at->products, i->group, i->first) +
           (at->tap * p->src_channels + i->source) * i->wide + i->lane - i->first;
}

/* Turns the item's columns to out[source][place][pitch]. */
static void turn_item(const weights_job *j, const weights_item *i, float *out,
                      int64_t pitch) {
    sm_conv2d_turn(&j->view,
                   j->w + i->group * j->group_stride + i->lane * j->view.lane_stride,
                   i->lanes, i->source * j->view.size + i->place, i->sources * i->places,
                   out, pitch);
}

static void pack_item(const weights_job *j, const weights_item *i) {
    const int64_t vector = j->p->k->lanes_per_vector;
    conv2d_columns columns;
    turn_item(j, i, columns, vector);
    for (int64_t t = 0; t < i->places; t++) {
        const int64_t at = packed_place(j->p, i, t);
        for (int64_t s = 0; at >= 0 && s < i->sources; s++)
            conv2d_copy_vector(j->packed + at + s * i->wide,
                               columns + (s * i->places + t) * vector, vector);
    }
}

static void pack_range(void *context, int64_t begin, int64_t end, int thread) {
    const weights_job *j = context;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const weights_item i = get_item(j, item);
        const int64_t at = packed_place(j->p, &i, 0);
        if (j->view.size > 1)
            pack_item(j, &i);
        else if (at >= 0)
            turn_item(j, &i, j->packed + at, i.wide);
    }
}

/* Adds the threads' sums of a column in the order of the threads. */
static void sum_parts(const weights_job *j, const float *in, float *out) {
    const int64_t vector = j->p->k->lanes_per_vector;
    memset(out, 0, (size_t)vector * sizeof *out);
    for (int64_t part = 0; part < j->parts; part++)
        for (int64_t i = 0; j->used[part] && i < vector; i++)
            out[i] += in[part * j->part + i];
}

/* Forward plans only: their one phase takes all places. */
static void unpack_range(void *context, int64_t begin, int64_t end, int thread) {
    const weights_job *j = context;
    const int64_t vector = j->p->k->lanes_per_vector;
    conv2d_columns columns;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const weights_item i = get_item(j, item);
        for (int64_t t = 0; t < i.places; t++) {
            const float *in = j->packed + packed_place(j->p, &i, t);
            for (int64_t s = 0; s < i.sources; s++)
                sum_parts(j, in + s * i.wide, columns + (s * i.places + t) * vector);
        }
        sm_conv2d_turn_back(&j->view, columns, i.lanes, i.source * j->view.size + i.place,
                            i.sources * i.places,
                            j->dw + i.group * j->group_stride +
                                i.lane * j->view.lane_stride);
    }
}

/* ---- strips
 * --------------------------------------------------------------------------------- */

typedef struct strip {
    int64_t image, images; /* the first, and how many */
    int64_t step;          /* the first destination row step */
    int64_t row, pixels; /* the first destination row; destination pixels of one image */
} strip;

static strip get_strip(const plan *p, int64_t item) {
    strip s = {.image = item / p->strips * p->images, .step = item % p->strips * p->rows};
    s.images = at_most(p->images, p->n - s.image);
    s.row = s.step * p->v.dst_step;
    s.pixels = at_most(p->rows * p->v.dst_step, p->v.dst - s.row) * p->h.dst;
    return s;
}

/* How many entries of the table of a phase (of rows `row`) the strip uses. */
static int64_t phase_count(const plan *p, const strip *s, const phase *f, int64_t row) {
    int64_t rows = at_most(p->rows, axis_pixels(&p->v, row) - s->step);
    return rows > 0 ? s->images * rows * f->columns : 0;
}

/* One row of pixels, to the pitch of the copy. */
static void copy_row(const plan *p, const float *src, float *out) {
    const int64_t channels = p->src_channels * p->groups;
    if (channels == p->pixel) {
        memcpy(out, src, (size_t)(p->h.src * channels) * sizeof *out);
        return;
    }
    for (int64_t j = 0; j < p->h.src; j++)
        memcpy(out + j * p->pixel, src + j * channels, (size_t)channels * sizeof *out);
}

/* The source of a strip, [image][row][column][channel]: where it lies, or its copy in
 * `out`, in which the columns of the border are zero already and stay so. */
static const float *load_strip(const plan *p, const strip *s, const float *src,
                               float *out) {
    const int64_t row = p->h.src * p->src_channels * p->groups;
    const int64_t base = s->step * p->v.src_step + p->v.low, line = p->width * p->pixel;
    const int64_t first = at_most(at_least(-base, 0), p->src_rows);
    const int64_t past = at_least(at_most(p->v.src - base, p->src_rows), first);
    const int64_t left = -at_most(p->h.low, 0);
    src += (s->image * p->v.src + base) * row;
    if (p->direct)
        return src;
    for (int64_t n = 0; n < s->images; n++, src += p->v.src * row) {
        float *copy = out + n * p->src_size;
        memset(copy, 0, (size_t)(first * line) * sizeof *out);
        for (int64_t i = first; i < past; i++)
            copy_row(p, src + i * row, copy + i * line + left * p->pixel);
        memset(copy + past * line, 0,
               (size_t)((p->src_rows - past) * line) * sizeof *out);
    }
    return out;
}

/* Lanes that are there in the last vector of a block. */
static int last_lanes(const plan *p, int64_t lane, int64_t wide) {
    const int64_t vector = p->k->lanes_per_vector;
    return (int)at_most(vector, p->dst_channels - lane - (wide - vector));
}

typedef struct gather_job {
    const plan *p;
    const float *src, *packed;
    sm_conv2d_finish finish; /* scale and bias [groups * lanes] */
    float *dst;
    char *scratch; /* of all threads: a source strip each */
    size_t scratch_size;
} gather_job;

/* Sums of one block over all products of a phase, a slab of weights at a time. */
static void sum_phase(const plan *p, const phase *f, conv2d_tile_args args,
                      int64_t wide) {
    void (*tile)(const conv2d_tile_args *) =
        p->k->tile[wide / p->k->lanes_per_vector - 1];
    const int64_t slab = WEIGHT_BYTES / (int64_t)sizeof(float) / wide;
    const int64_t run = at_most(f->run, slab),
                  taps = f->run > slab ? 1 : slab / at_least(run, 1);
    const float *w = args.w, *scale = args.scale;
    args.start = true;
    if (f->taps == 0) {
        tile(&args); /* the bias alone */
        return;
    }
    for (int64_t t = 0; t < f->taps; t += taps)
        for (int64_t r = 0; r < f->run; r += run) {
            const int32_t shifted = f->tap[t] + (int32_t)r;
            args.taps = at_most(taps, f->taps - t);
            args.run = at_most(run, f->run - r);
            args.tap = r ? &shifted : &f->tap[t];
            args.tap_stride = f->run * wide;
            args.w = w + (t * f->run + r) * wide;
            args.scale = t + taps >= f->taps && r + run >= f->run ? scale : NULL;
            tile(&args);
            args.start = false;
        }
}

/* One block of output channels of one strip. */
static void gather_block(const gather_job *j, const strip *s, const float *src,
                         int64_t group, int64_t lane) {
    const plan *p = j->p;
    const int64_t wide = at_most(p->block, p->lanes - lane);
    const int64_t first = (s->image * p->v.dst + s->row) * p->h.dst * p->dst_pixel +
                          group * p->dst_channels + lane;
    const sm_conv2d_finish *finish = &j->finish;
    for (int64_t i = 0; i < p->v.phases * p->h.phases; i++) {
        const phase *f = &p->phases[i];
        const int64_t count = phase_count(p, s, f, i / p->h.phases);
        conv2d_tile_args args = {
            .src = src + group * p->src_channels,
            .pixels = f->pixels,
            .count = count,
            .w = j->packed + f->weights + block_start(p, f->taps * f->run, group, lane),
            .sums = j->dst + first,
            .scale = finish->scale + group * p->lanes + lane,
            .bias = finish->bias + group * p->lanes + lane,
            .residual = finish->residual ? finish->residual + first : NULL,
            .limits = finish->limits,
            .last = last_lanes(p, lane, wide),
        };
        if (count > 0)
            sum_phase(p, f, args, wide);
    }
}

static void gather_range(void *context, int64_t begin, int64_t end, int thread) {
    const gather_job *j = context;
    const plan *p = j->p;
    float *copy = (float *)(j->scratch + (size_t)thread * j->scratch_size);
    memset(copy, 0, j->scratch_size);
    for (int64_t item = begin; item < end; item++) {
        const strip s = get_strip(p, item);
        const float *src = load_strip(p, &s, j->src, copy);
        for (int64_t group = 0; group < p->groups; group++)
            for (int64_t lane = 0; lane < p->lanes; lane += p->block)
                gather_block(j, &s, src, group, lane);
    }
}

/* Of the copy of a strip. */
static size_t strip_bytes(const plan *p) {
    return p->direct ? 0 : floats(p->images * p->src_size);
}

/* A vector of channels to all lanes; `otherwise` where there is none. */
static void spread_channels(const plan *p, const float *values, float otherwise,
                            float *out) {
    for (int64_t i = 0; i < p->lanes * p->groups; i++) {
        const int64_t lane = i % p->lanes;
        out[i] = values && lane < p->dst_channels
                     ? values[i / p->lanes * p->dst_channels + lane]
                     : otherwise;
    }
}

/* dst = gather of src under the plan; w as `weights` describes it. */
static sm_status gather(const plan *p, weights_job *weights, const float *src,
                        const sm_conv2d_finish *finish, float *dst, sm_error *err) {
    const int64_t threads = at_most(sm_threads(), p->items);
    const size_t lanes = floats(p->lanes * p->groups);
    gather_job j = {.p = p, .src = src, .finish = *finish, .dst = dst};
    j.scratch_size = strip_bytes(p);
    const size_t fixed = floats(p->weights) + 2 * lanes;
    char *memory = sm_alloc(fixed + (size_t)threads * j.scratch_size);
    if (!memory)
        return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    float *scale = (float *)(memory + floats(p->weights));
    float *bias = (float *)((char *)scale + lanes);
    spread_channels(p, finish->scale, 1.0f, scale);
    spread_channels(p, finish->bias, 0.0f, bias);
    j.packed = weights->packed = (float *)memory;
    j.finish.scale = scale;
    j.finish.bias = bias;
    j.scratch = memory + fixed;
    sm_parallel_for(weights_items(weights), 4, pack_range, weights);
    sm_parallel_for(p->items, 1, gather_range, &j);
    sm_free(memory);
    return SM_OK;
}

/* The images of a 1x1 kernel as the rows of one. */
static sm_conv2d flatten(const sm_conv2d *g) {
    sm_conv2d flat = *g;
    if (g->kh == 1 && g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 &&
        g->pad_h == 0 && g->pad_w == 0) {
        flat.n = 1;
        flat.h = flat.oh = g->n * g->h;
    }
    return flat;
}

static void plan_forward(plan *p, const sm_conv2d *g) {
    *p = (plan){.v = sm_axis_forward(g->h, g->oh, g->stride_h),
                .h = sm_axis_forward(g->w, g->ow, g->stride_w),
                .src_channels = g->c / g->groups,
                .dst_channels = g->o / g->groups};
}

sm_status sm_conv2d_blocked_forward(const sm_conv2d *shape, const float *x,
                                    const float *w, const sm_conv2d_finish *finish,
                                    float *y, sm_error *err) {
    plan p;
    const sm_conv2d flat = flatten(shape), *g = &flat;
    plan_forward(&p, g);
    sm_status status = make_plan(&p, g, err);
    if (status == SM_OK) {
        weights_job weights = weights_forward(&p, g);
        weights.w = w;
        status = gather(&p, &weights, x, finish, y, err);
    }
    free_plan(&p);
    return status;
}

sm_status sm_conv2d_blocked_backward_data(const sm_conv2d *shape, const float *dy,
                                          const float *w, float *dx, sm_error *err) {
    const sm_conv2d flat = flatten(shape), *g = &flat;
    plan p = {.v = sm_axis_backward(g->h, g->oh, g->stride_h),
              .h = sm_axis_backward(g->w, g->ow, g->stride_w),
              .src_channels = g->o / g->groups,
              .dst_channels = g->c / g->groups};
    sm_status status = make_plan(&p, g, err);
    if (status == SM_OK) {
        weights_job weights = weights_backward(&p, g);
        weights.w = w;
        status = gather(&p, &weights, dy, &sm_conv2d_plain, dx, err);
    }
    free_plan(&p);
    return status;
}

/* ---- the weight gradient
 * -------------------------------------------------------------------- */

typedef struct grad_job {
    const plan *p;
    const float *x, *dy;
    float *sums;  /* [threads][part]: packed dw, then dbias [groups * lanes] */
    int64_t part; /* floats of one thread's sums */
    bool bias;
    bool *used;    /* [threads] */
    char *scratch; /* of all threads: a source strip each */
    size_t scratch_size;
} grad_job;

/* Adds one block of output channels of one strip. */
static void grad_block(const grad_job *j, const strip *s, const float *src, float *sums,
                       int64_t group, int64_t lane) {
    const plan *p = j->p;
    const phase *f = &p->phases[0];
    const int64_t wide = at_most(p->block, p->lanes - lane);
    const float *dy = j->dy + (s->image * p->v.dst + s->row) * p->h.dst * p->dst_pixel +
                      group * p->dst_channels + lane;
    void (*grad)(const conv2d_grad_args *) =
        p->k->grad[wide / p->k->lanes_per_vector - 1];
    const int64_t count = s->images * s->pixels;
    for (int64_t at = 0; at < count; at += GRAD_PIXELS) {
        conv2d_grad_args args = {
            .src = src + group * p->src_channels,
            .pixels = f->pixels + at,
            .count = at_most(GRAD_PIXELS, count - at),
            .tap = f->tap,
            .taps = f->taps,
            .run = f->run,
            .dy = dy + at * p->dst_pixel,
            .dy_stride = p->dst_pixel,
            .last = last_lanes(p, lane, wide),
            .dw = sums + block_start(p, f->taps * f->run, group, lane),
            .dbias = j->bias ? sums + p->weights + group * p->lanes + lane : NULL,
        };
        grad(&args);
    }
}

static void grad_range(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    const plan *p = j->p;
    float *copy = (float *)(j->scratch + (size_t)thread * j->scratch_size);
    float *sums = j->sums + thread * j->part;
    j->used[thread] = true;
    memset(copy, 0, j->scratch_size);
    memset(sums, 0, (size_t)j->part * sizeof *sums);
    for (int64_t item = begin; item < end; item++) {
        const strip s = get_strip(p, item);
        const float *src = load_strip(p, &s, j->x, copy);
        for (int64_t group = 0; group < p->groups; group++)
            for (int64_t lane = 0; lane < p->lanes; lane += p->block)
                grad_block(j, &s, src, sums, group, lane);
    }
}

static void sum_bias(const grad_job *j, int64_t threads, float *dbias) {
    const plan *p = j->p;
    for (int64_t o = 0; o < p->dst_channels * p->groups; o++) {
        const int64_t at =
            p->weights + o / p->dst_channels * p->lanes + o % p->dst_channels;
        dbias[o] = 0.0f;
        for (int64_t i = 0; i < threads; i++)
            if (j->used[i])
                dbias[o] += j->sums[i * j->part + at];
    }
}

sm_status sm_conv2d_blocked_backward_weight(const sm_conv2d *shape, const float *x,
                                            const float *dy, float *dw, float *dbias,
                                            sm_error *err) {
    const sm_conv2d flat = flatten(shape), *g = &flat;
    plan p;
    float *memory = NULL;
    plan_forward(&p, g);
    sm_status status = make_plan(&p, g, err);
    if (status != SM_OK)
        goto done;
    const int64_t threads = at_most(sm_threads(), p.items);
    grad_job j = {.p = &p, .x = x, .dy = dy, .bias = dbias != NULL};
    j.part = (int64_t)(floats(p.weights + p.lanes * p.groups) / sizeof(float));
    j.scratch_size = strip_bytes(&p);
    const size_t sums = (size_t)(threads * j.part) * sizeof(float);
    memory = sm_alloc(sums + (size_t)threads * (j.scratch_size + sizeof *j.used));
    if (!memory) {
        status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
        goto done;
    }
    j.sums = memory;
    j.scratch = (char *)memory + sums;
    j.used = (bool *)(j.scratch + (size_t)threads * j.scratch_size);
    memset(j.used, 0, (size_t)threads);
    sm_parallel_for(p.items, 1, grad_range, &j);
    weights_job unpack = weights_forward(&p, g);
    unpack.packed = j.sums;
    unpack.dw = dw;
    unpack.used = j.used;
    unpack.parts = threads;
    unpack.part = j.part;
    sm_parallel_for(weights_items(&unpack), 4, unpack_range, &unpack);
    if (dbias)
        sum_bias(&j, threads, dbias);
done:
    sm_free(memory);
    free_plan(&p);
    return status;
}
