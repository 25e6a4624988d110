/* conv2d_winograd.c: convolution by Winograd's minimal filtering (Lavin and Gray: "Fast
 * algorithms for convolutional neural networks", CVPR 2016). 36 products give 4x4 outputs
 * of a 3x3 kernel (144 products as plain sums), 3x3 of a 4x4 kernel (144) or 2x2 of a 5x5
 * kernel (100). Larger kernels are cut into pieces of such a size; a piece is to the sums
 * but more source channels, shifted.
 *
 * Of a strip (rows of tiles of one image, or several small images) each 6x6 neighbourhood
 * is transformed, and each of the 36 places is a
 * matrix product [tiles, depth] x [depth, outputs] through the loops of the implicit
 * GEMM. Backward-data is the same with the kernel turned round; the weight gradient is
 * the adjoint of the forward pass, so it uses the same transform of x, sums 36 products
 * over all tiles, and transforms back once.
 *
 * The transforms cost some accuracy: sums of n products of standard normals come out
 * within some 6e-6 * sqrt(n); the tests hold every path to 2e-5 * sqrt(n).
 */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"
#include "kernels/conv2d_weights.h"

enum { SIDE = 6, PLACES = SIDE * SIDE, STRIP_TILES = 48, MOST_PIECE = 25 };

typedef struct plan {
    const conv2d_kernels *k;
    int64_t n;
    int64_t kernel;        /* its side */
    int64_t piece, pieces; /* side of a piece; pieces of a side */
    int64_t tile;          /* side of a tile of outputs: piece + tile = 7 */
    int64_t depth;         /* pieces * pieces * src_channels */
    int64_t src_channels, dst_channels;
    int64_t src_h, src_w, dst_h, dst_w, pad_h, pad_w;
    int64_t tile_columns, tile_rows; /* of an image */
    int64_t rows;                    /* tile rows of a strip */
    int64_t strips, images, items;   /* of an image; images of a strip; in all */
    int64_t tiles;                   /* of a full strip */
    int64_t place;                   /* depth in whole vectors */
    int64_t lanes, block;       /* dst_channels in whole vectors; lanes of a full block */
    int64_t src_step, dst_step; /* floats from place to place: transformed source, sums */
    conv2d_pixel *pixels;       /* [tiles] */
    void *memory;
} plan;

/* The size of pieces with the fewest products to an output. */
static double choose_piece(int64_t kernel, int64_t *piece, int64_t *pieces) {
    double least = 0.0;
    for (int64_t side = 3; side <= 5; side++) {
        const int64_t count = ceil_div(kernel, side), tile = 7 - side;
        const double products = (double)(PLACES * count * count) / (double)(tile * tile);
        if (least > 0.0 && products >= least)
            continue;
        least = products;
        *piece = side;
        *pieces = count;
    }
    return least;
}

double sm_conv2d_winograd_products(int64_t k) {
    int64_t piece, pieces;
    return choose_piece(k, &piece, &pieces);
}

static void cut_strips(plan *p) {
    const int64_t threads = sm_threads();
    p->tile_rows = ceil_div(p->dst_h, p->tile);
    p->tile_columns = ceil_div(p->dst_w, p->tile);
    p->rows = at_most(at_least(STRIP_TILES / p->tile_columns, 1), p->tile_rows);
    p->strips = ceil_div(p->tile_rows, p->rows);
    while (p->n < threads && p->strips < p->tile_rows && p->n * p->strips % threads != 0)
        p->strips++;
    p->rows = ceil_div(p->tile_rows, p->strips);
    p->strips = ceil_div(p->tile_rows, p->rows);
    p->images = 1;
    if (p->strips == 1) {
        int64_t most = at_most(STRIP_TILES / (p->rows * p->tile_columns), p->n / threads);
        most = at_least(most, 1);
        p->images = ceil_div(p->n, ceil_div(p->n, most * threads) * threads);
    }
    p->items = ceil_div(p->n, p->images) * p->strips;
    p->tiles = p->images * p->rows * p->tile_columns;
}

static void fill_tables(plan *p, arena *a) {
    p->pixels = carve(a, p->tiles, sizeof *p->pixels);
    if (!a->base)
        return;
    for (int64_t t = 0; t < p->tiles; t++)
        p->pixels[t] = (conv2d_pixel){(int32_t)(t * p->place), (int32_t)(t * p->block)};
}

/* The sizes are set; the rest follows. */
static sm_status make_plan(plan *p, sm_error *err) {
    p->k = sm_conv2d_kernels_in_use();
    const int64_t vector = p->k->lanes_per_vector;
    choose_piece(p->kernel, &p->piece, &p->pieces);
    p->tile = 7 - p->piece;
    cut_strips(p);
    p->depth = p->pieces * p->pieces * p->src_channels;
    const int64_t piece = ceil_div(p->src_channels, vector) * vector;
    p->place = ceil_div(p->depth - p->src_channels + piece, vector) * vector;
    p->lanes = ceil_div(p->dst_channels, vector) * vector;
    p->block = at_most(vector * p->k->vectors, p->lanes);
    /* One line more than a multiple of the page would be: places must not share cache
     * sets. */
    p->src_step = p->tiles * p->place + 16;
    p->dst_step = p->tiles * p->block + 16;
    arena tables = {NULL, 0};
    fill_tables(p, &tables);
    tables = (arena){p->memory = sm_alloc(tables.used), 0};
    if (!p->memory)
        return sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its tables");
    fill_tables(p, &tables);
    return SM_OK;
}

static plan plan_forward(const sm_conv2d *g) {
    return (plan){.n = g->n,
                  .kernel = g->kh,
                  .src_channels = g->c,
                  .dst_channels = g->o,
                  .src_h = g->h,
                  .src_w = g->w,
                  .dst_h = g->oh,
                  .dst_w = g->ow,
                  .pad_h = g->pad_h,
                  .pad_w = g->pad_w};
}

typedef struct strip {
    int64_t image, images;    /* the first, and how many */
    int64_t row, rows;        /* destination rows */
    int64_t tile_rows, tiles; /* of one image; of all */
} strip;

static strip get_strip(const plan *p, int64_t item) {
    strip s = {.image = item / p->strips * p->images,
               .row = item % p->strips * p->rows * p->tile};
    s.images = at_most(p->images, p->n - s.image);
    s.rows = at_most(p->tile * p->rows, p->dst_h - s.row);
    s.tile_rows = ceil_div(s.rows, p->tile);
    s.tiles = s.images * s.tile_rows * p->tile_columns;
    return s;
}

/* Copies what of 6 x 6 pixels from (row, column) on lies in the image; the rest is zero.
 */
static void copy_patch(const plan *p, const float *image, int64_t row, int64_t column,
                       float *patch) {
    const int64_t c = p->src_channels;
    memset(patch, 0, (size_t)(PLACES * c) * sizeof *patch);
    const int64_t left = at_least(-column, 0), right = at_most(p->src_w - column, SIDE);
    for (int64_t i = at_least(-row, 0); i < at_most(p->src_h - row, SIDE); i++)
        if (right > left)
            memcpy(patch + (i * SIDE + left) * c,
                   image + ((row + i) * p->src_w + column + left) * c,
                   (size_t)((right - left) * c) * sizeof *patch);
}

/* All pieces of the tile whose source begins at (row, column), one after the other: what
 * a vector writes beyond the channels of a piece, the next overwrites. */
static void load_tile(const plan *p, const float *image, int64_t row, int64_t column,
                      float *patch, float *out) {
    const int64_t c = p->src_channels;
    for (int64_t i = 0; i < p->pieces; i++)
        for (int64_t j = 0; j < p->pieces; j++, out += c) {
            const int64_t y = row + i * p->piece, x = column + j * p->piece;
            if (y >= 0 && x >= 0 && y + SIDE <= p->src_h && x + SIDE <= p->src_w) {
                p->k->winograd_input(image + (y * p->src_w + x) * c, p->src_w * c, c, c,
                                     out, p->src_step);
                continue;
            }
            copy_patch(p, image, y, x, patch);
            p->k->winograd_input(patch, SIDE * c, c, c, out, p->src_step);
        }
}

/* Transforms the source of a strip. */
static void load_strip(const plan *p, const strip *s, const float *src, float *patch,
                       float *out) {
    for (int64_t n = 0; n < s->images; n++) {
        const float *image = src + (s->image + n) * p->src_h * p->src_w * p->src_channels;
        for (int64_t t = 0; t < s->tile_rows * p->tile_columns; t++, out += p->place)
            load_tile(p, image, s->row - p->pad_h + t / p->tile_columns * p->tile,
                      t % p->tile_columns * p->tile - p->pad_w, patch, out);
    }
}

/* ---- forward and backward-data
 * -------------------------------------------------------------- */

typedef struct gather_job {
    const plan *p;
    const float *src, *w;
    sm_conv2d_finish finish; /* scale and bias [lanes] */
    float *dst;
    bool turned;    /* backward-data: w rotated by half a turn */
    float *weights; /* [block][36][depth][lanes of the block] */
    char *scratch;
    size_t scratch_size, places_at, products_at;
} gather_job;

/* Vectors of lanes times chunks of whole sources: the items of work on the weights. */
typedef struct weights_item {
    int64_t lane, lanes;   /* the vector's first, and how many of it are there */
    int64_t first, wide;   /* of the vector's block */
    int64_t source, count; /* source channels */
} weights_item;

static int64_t chunk_sources(const plan *p) {
    return CONV2D_COLUMNS / (p->kernel * p->kernel);
}

static int64_t weights_items(const plan *p) {
    return p->lanes / p->k->lanes_per_vector *
           ceil_div(p->src_channels, chunk_sources(p));
}

static weights_item get_item(const plan *p, int64_t item) {
    const int64_t vector = p->k->lanes_per_vector, vectors = p->lanes / vector;
    weights_item i = {.lane = item % vectors * vector,
                      .source = item / vectors * chunk_sources(p)};
    i.lanes = at_most(vector, p->dst_channels - i.lane);
    i.first = i.lane / p->block * p->block;
    i.wide = at_most(p->block, p->lanes - i.first);
    i.count = at_most(chunk_sources(p), p->src_channels - i.source);
    return i;
}

/* Where the transformed weights from a source of a piece to the item's lanes begin. */
static int64_t weights_place(const plan *p, const weights_item *i, int64_t part,
                             int64_t source) {
    return i->first * PLACES * p->depth + (part * p->src_channels + source) * i->wide +
           i->lane - i->first;
}

static conv2d_weights weights_view(const plan *p, bool turned) {
    const int64_t size = p->kernel * p->kernel;
    return turned ? (conv2d_weights){p->k, size, size, p->dst_channels * size}
                  : (conv2d_weights){p->k, size, p->src_channels * size, size};
}

/* A piece of a kernel, of which lanes lie in vectors, as piece * piece vectors. */
static void get_piece(const gather_job *j, const float *kernel, int64_t part,
                      float *out) {
    const plan *p = j->p;
    const int64_t k = p->kernel, vector = p->k->lanes_per_vector;
    const int64_t row = part / p->pieces * p->piece, column = part % p->pieces * p->piece;
    for (int64_t i = 0; i < p->piece * p->piece; i++, out += vector) {
        const int64_t y = row + i / p->piece, x = column + i % p->piece;
        const int64_t at = j->turned ? k * k - 1 - y * k - x : y * k + x;
        if (y < k && x < k)
            conv2d_copy_vector(out, kernel + at * vector, vector);
        else
            memset(out, 0, (size_t)vector * sizeof *out);
    }
}

static void transform_weights(void *context, int64_t begin, int64_t end, int thread) {
    const gather_job *j = context;
    const plan *p = j->p;
    const conv2d_weights view = weights_view(p, j->turned);
    conv2d_columns columns;
    float square[MOST_PIECE * CONV2D_MOST_VECTOR];
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const weights_item i = get_item(p, item);
        sm_conv2d_turn(&view, j->w + i.lane * view.lane_stride, i.lanes,
                       i.source * view.size, i.count * view.size, columns,
                       p->k->lanes_per_vector);
        for (int64_t s = 0; s < i.count; s++)
            for (int64_t part = 0; part < p->pieces * p->pieces; part++) {
                get_piece(j, columns + s * view.size * p->k->lanes_per_vector, part,
                          square);
                p->k->winograd_weights((int)p->piece, square,
                                       j->weights +
                                           weights_place(p, &i, part, i.source + s),
                                       p->depth * i.wide);
            }
    }
}

/* Tile t of a strip: its first pixel of all destination pixels, and how much of it there
 * is. */
static int64_t get_square(const plan *p, const strip *s, int64_t t, conv2d_square *a) {
    const int64_t row = t / p->tile_columns % s->tile_rows * p->tile;
    const int64_t column = t % p->tile_columns * p->tile;
    const int64_t n = t / p->tile_columns / s->tile_rows;
    a->rows = (int)at_most(p->tile, s->rows - row);
    a->columns = (int)at_most(p->tile, p->dst_w - column);
    return ((s->image + n) * p->dst_h + s->row + row) * p->dst_w + column;
}

static void gather_block(const gather_job *j, const strip *s, const float *places,
                         float *products, int64_t lane) {
    const plan *p = j->p;
    const int64_t wide = at_most(p->block, p->lanes - lane);
    const int32_t none = 0;
    conv2d_tile_args args = {.pixels = p->pixels,
                             .count = s->tiles,
                             .tap = &none,
                             .taps = 1,
                             .run = p->depth,
                             .start = true,
                             .last = p->k->lanes_per_vector};
    for (int64_t i = 0; i < PLACES; i++) {
        args.src = places + i * p->src_step;
        args.sums = products + i * p->dst_step;
        args.w = j->weights + (lane * PLACES + i * wide) * p->depth;
        p->k->tile[wide / p->k->lanes_per_vector - 1](&args);
    }
    conv2d_square square = {.row = p->dst_w * p->dst_channels,
                            .pixel = p->dst_channels,
                            .lanes = at_most(wide, p->dst_channels - lane),
                            .scale = j->finish.scale + lane,
                            .bias = j->finish.bias + lane,
                            .limits = j->finish.limits};
    for (int64_t t = 0; t < s->tiles; t++) {
        const int64_t at = get_square(p, s, t, &square) * p->dst_channels + lane;
        square.out = j->dst + at;
        square.residual = j->finish.residual ? j->finish.residual + at : NULL;
        p->k->winograd_output((int)p->tile, products + t * p->block, p->dst_step,
                              &square);
    }
}

static void gather_range(void *context, int64_t begin, int64_t end, int thread) {
    const gather_job *j = context;
    const plan *p = j->p;
    char *scratch = j->scratch + (size_t)thread * j->scratch_size;
    float *patch = (float *)scratch, *places = (float *)(scratch + j->places_at);
    for (int64_t item = begin; item < end; item++) {
        const strip s = get_strip(p, item);
        load_strip(p, &s, j->src, patch, places);
        for (int64_t lane = 0; lane < p->lanes; lane += p->block)
            gather_block(j, &s, places, (float *)(scratch + j->products_at), lane);
    }
}

static sm_status gather(plan *p, gather_job *j, const sm_conv2d_finish *finish,
                        sm_error *err) {
    sm_status status = make_plan(p, err);
    if (status != SM_OK)
        return status;
    const size_t weights = floats(PLACES * p->depth * p->lanes),
                 padded = floats(p->lanes);
    j->p = p;
    j->places_at = floats(PLACES * p->src_channels);
    j->products_at = j->places_at + floats(PLACES * p->src_step);
    j->scratch_size = j->products_at + floats(PLACES * p->dst_step);
    const int64_t threads = at_most(sm_threads(), p->items);
    char *memory = sm_alloc(weights + 2 * padded + (size_t)threads * j->scratch_size);
    if (memory) {
        float *scale = (float *)(memory + weights);
        float *bias = (float *)(memory + weights + padded);
        for (int64_t i = 0; i < p->lanes; i++) {
            const bool there = i < p->dst_channels;
            scale[i] = finish->scale && there ? finish->scale[i] : 1.0f;
            bias[i] = finish->bias && there ? finish->bias[i] : 0.0f;
        }
        j->finish = *finish;
        j->finish.scale = scale;
        j->finish.bias = bias;
        j->weights = (float *)memory;
        j->scratch = memory + weights + 2 * padded;
        sm_parallel_for(weights_items(p), 1, transform_weights, j);
        sm_parallel_for(p->items, 1, gather_range, j);
    } else {
        status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    }
    sm_free(memory);
    sm_free(p->memory);
    return status;
}

sm_status sm_conv2d_winograd_forward(const sm_conv2d *g, const float *x, const float *w,
                                     const sm_conv2d_finish *finish, float *y,
                                     sm_error *err) {
    plan p = plan_forward(g);
    gather_job j = {.src = x, .w = w, .dst = y};
    return gather(&p, &j, finish, err);
}

sm_status sm_conv2d_winograd_backward_data(const sm_conv2d *g, const float *dy,
                                           const float *w, float *dx, sm_error *err) {
    plan p = {.n = g->n,
              .kernel = g->kh,
              .src_channels = g->o,
              .dst_channels = g->c,
              .src_h = g->oh,
              .src_w = g->ow,
              .dst_h = g->h,
              .dst_w = g->w,
              .pad_h = g->kh - 1 - g->pad_h,
              .pad_w = g->kh - 1 - g->pad_w};
    gather_job j = {.src = dy, .w = w, .dst = dx, .turned = true};
    return gather(&p, &j, &sm_conv2d_plain, err);
}

/* ---- the weight gradient
 * -------------------------------------------------------------------- */

typedef struct grad_job {
    const plan *p;
    const float *x, *dy;
    float *dw;
    bool bias;
    float *sums; /* [threads][part]: [block][36][depth][lanes of it], dbias [lanes] */
    int64_t part, bias_at;
    bool *used;
    int64_t threads;
    char *scratch;
    size_t scratch_size, places_at, back_at;
} grad_job;

static void grad_block(const grad_job *j, const strip *s, const float *places,
                       float *back, float *sums, int64_t lane) {
    const plan *p = j->p;
    const int64_t wide = at_most(p->block, p->lanes - lane),
                  vector = p->k->lanes_per_vector;
    const int64_t lanes = at_most(wide, p->dst_channels - lane);
    const int32_t none = 0;
    void (*grad)(const conv2d_grad_args *) =
        p->k->grad[wide / p->k->lanes_per_vector - 1];
    conv2d_square square = {
        .row = p->dst_w * p->dst_channels, .pixel = p->dst_channels, .lanes = lanes};
    for (int64_t t = 0; t < s->tiles; t++) {
        square.in = j->dy + get_square(p, s, t, &square) * p->dst_channels + lane;
        p->k->winograd_output_back((int)p->tile, &square, back + t * p->block,
                                   p->dst_step);
    }
    conv2d_grad_args args = {.pixels = p->pixels,
                             .count = s->tiles,
                             .tap = &none,
                             .taps = 1,
                             .run = p->depth,
                             .dy_stride = p->block,
                             .last = (int)vector};
    for (int64_t i = 0; i < PLACES; i++) {
        args.src = places + i * p->src_step;
        args.dy = back + i * p->dst_step;
        args.dw = sums + (lane * PLACES + i * wide) * p->depth;
        grad(&args);
    }
    if (j->bias)
        grad(&(conv2d_grad_args){
            .count = s->images * s->rows * p->dst_w,
            .dy = j->dy + (s->image * p->dst_h + s->row) * p->dst_w * p->dst_channels +
                  lane,
            .dy_stride = p->dst_channels,
            .last = (int)(lanes - (wide - vector)),
            .dbias = sums + j->bias_at + lane});
}

static void grad_range(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    const plan *p = j->p;
    char *scratch = j->scratch + (size_t)thread * j->scratch_size;
    float *patch = (float *)scratch, *places = (float *)(scratch + j->places_at);
    float *sums = j->sums + thread * j->part;
    j->used[thread] = true;
    memset(sums, 0, (size_t)j->part * sizeof *sums);
    for (int64_t item = begin; item < end; item++) {
        const strip s = get_strip(p, item);
        load_strip(p, &s, j->x, patch, places);
        for (int64_t lane = 0; lane < p->lanes; lane += p->block)
            grad_block(j, &s, places, (float *)(scratch + j->back_at), sums, lane);
    }
}

/* Writes what of a transformed-back piece lies inside the kernel. */
static void put_piece(const plan *p, const float *square, int64_t part, float *kernel) {
    const int64_t k = p->kernel, vector = p->k->lanes_per_vector;
    const int64_t row = part / p->pieces * p->piece, column = part % p->pieces * p->piece;
    for (int64_t i = 0; i < p->piece * p->piece; i++, square += vector) {
        const int64_t y = row + i / p->piece, x = column + i % p->piece;
        if (y < k && x < k)
            conv2d_copy_vector(kernel + (y * k + x) * vector, square, vector);
    }
}

/* The threads' sums of one piece in their order, transformed back. */
static void finish_piece(const grad_job *j, const weights_item *i, int64_t part,
                         int64_t source, float *kernel) {
    const plan *p = j->p;
    const int64_t vector = p->k->lanes_per_vector, step = p->depth * i->wide;
    const float *in = j->sums + weights_place(p, i, part, source);
    float places[PLACES * CONV2D_MOST_VECTOR], square[MOST_PIECE * CONV2D_MOST_VECTOR];
    memset(places, 0, sizeof places);
    for (int64_t t = 0; t < j->threads; t++)
        for (int64_t e = 0; j->used[t] && e < PLACES; e++)
            for (int64_t l = 0; l < vector; l++)
                places[e * vector + l] += in[t * j->part + e * step + l];
    p->k->winograd_weights_back((int)p->piece, places, vector, square);
    put_piece(p, square, part, kernel);
}

static void finish_weights(void *context, int64_t begin, int64_t end, int thread) {
    const grad_job *j = context;
    const plan *p = j->p;
    const conv2d_weights view = weights_view(p, false);
    conv2d_columns columns;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const weights_item i = get_item(p, item);
        for (int64_t s = 0; s < i.count; s++)
            for (int64_t part = 0; part < p->pieces * p->pieces; part++)
                finish_piece(j, &i, part, i.source + s,
                             columns + s * view.size * p->k->lanes_per_vector);
        sm_conv2d_turn_back(&view, columns, i.lanes, i.source * view.size,
                            i.count * view.size, j->dw + i.lane * view.lane_stride);
    }
}

static void finish_bias(const grad_job *j, float *dbias) {
    for (int64_t o = 0; o < j->p->dst_channels; o++) {
        dbias[o] = 0.0f;
        for (int64_t i = 0; i < j->threads; i++)
            if (j->used[i])
                dbias[o] += j->sums[i * j->part + j->bias_at + o];
    }
}

sm_status sm_conv2d_winograd_backward_weight(const sm_conv2d *g, const float *x,
                                             const float *dy, float *dw, float *dbias,
                                             sm_error *err) {
    plan p = plan_forward(g);
    sm_status status = make_plan(&p, err);
    if (status != SM_OK)
        return status;
    grad_job j = {.p = &p,
                  .x = x,
                  .dy = dy,
                  .dw = dw,
                  .bias = dbias != NULL,
                  .threads = at_most(sm_threads(), p.items)};
    j.bias_at = PLACES * p.depth * p.lanes;
    j.part = (int64_t)(floats(j.bias_at + p.lanes) / sizeof(float));
    j.places_at = floats(PLACES * p.src_channels);
    j.back_at = j.places_at + floats(PLACES * p.src_step);
    j.scratch_size = j.back_at + floats(PLACES * p.dst_step);
    const size_t sums = (size_t)(j.threads * j.part) * sizeof(float);
    char *memory = sm_alloc(sums + (size_t)j.threads * (j.scratch_size + sizeof *j.used));
    if (memory) {
        j.sums = (float *)memory;
        j.scratch = memory + sums;
        j.used = (bool *)(j.scratch + (size_t)j.threads * j.scratch_size);
        memset(j.used, 0, (size_t)j.threads * sizeof *j.used);
        sm_parallel_for(p.items, 1, grad_range, &j);
        sm_parallel_for(weights_items(&p), 1, finish_weights, &j);
        if (dbias)
            finish_bias(&j, dbias);
    } else {
        status = sm_fail(err, SM_ENOMEM, 0, "conv2d: no memory for its work space");
    }
    sm_free(memory);
    sm_free(p.memory);
    return status;
}
