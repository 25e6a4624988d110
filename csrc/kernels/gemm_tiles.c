/* gemm_tiles.c: see gemm_tiles.h.
 *
 * As in Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM
 * TOMS 2008), a panel of B is packed so that it stays in the second-level cache, and the
 * rows of A pass by. The tiles read A where it lies if its rows do; a transposed A is
 * turned first.
 *
 * A few rows times a transposed B, a linear layer on a small batch, is done the other way
 * round, C^T = B A^T: then the few rows are what is packed, and the large B is read once,
 * from end to end.
 */
#include "kernels/gemm_tiles.h"

#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"

enum {
    ROWS = 24,             /* of A, that pass by a panel together */
    SLAB = 256,            /* products of a pass over a panel */
    SHORT_SLAB = 64,       /* of few rows over B's rows, to read long pieces of these */
    PANEL = 32 << 10,      /* floats of a panel, about */
    TURNED = 4 << 20,      /* floats of a turned A, at most, about */
    FEW = 64,              /* rows of A up to which the time goes into reading B */
    FEWEST = 4,            /* up to which nothing is packed */
    MOST_STRIDE = 64 << 20 /* floats; ROWS of them are addressed in 32 bits */
};

typedef struct product {
    const conv2d_kernels *k;
    bool trans_a, trans_b, add;
    int64_t m, n, depth;
    int64_t lda, ldb, ldc;
    const float *a, *b;
    float *c;
    float *panel, *turned;
    int64_t slab, width; /* of a panel */
} product;

/* Columns [j, j + width) of B, products [r, r + depth), as [block][depth][lanes]. */
static void pack_panel(const product *p, int64_t j, int64_t width, int64_t r,
                       int64_t depth) {
    const int64_t vector = p->k->lanes_per_vector, block = vector * p->k->vectors;
    for (int64_t lane = 0; lane < width; lane += vector) {
        const int64_t first = lane / block * block, lanes = at_most(vector, width - lane);
        const int64_t wide = at_most(block, ceil_div(width - first, vector) * vector);
        float *out = p->panel + first * depth + lane - first;
        if (lanes < vector)
            for (int64_t i = 0; i < depth; i++)
                memset(out + i * wide, 0, (size_t)vector * sizeof *out);
        if (p->trans_b)
            p->k->transpose(p->b + (j + lane) * p->ldb + r, p->ldb, lanes, depth, out,
                            wide);
        else
            for (int64_t i = 0; i < depth; i++)
                memcpy(out + i * wide, p->b + (r + i) * p->ldb + j + lane,
                       (size_t)lanes * sizeof *out);
    }
}

/* Rows [begin, end) of C, over one panel. a is the first row's first product. */
static void pass_rows(const product *p, const float *a, int64_t lda, int64_t begin,
                      int64_t end, int64_t j, int64_t width, int64_t depth, bool start) {
    const int64_t vector = p->k->lanes_per_vector, block = vector * p->k->vectors;
    const int32_t none = 0;
    conv2d_pixel rows[ROWS];
    for (int64_t i = 0; i < ROWS; i++)
        rows[i] = (conv2d_pixel){(int32_t)(i * lda), (int32_t)(i * p->ldc)};
    for (int64_t i = begin; i < end; i += ROWS)
        for (int64_t lane = 0; lane < width; lane += block) {
            const int64_t lanes = at_most(block, width - lane),
                          vectors = ceil_div(lanes, vector);
            const conv2d_tile_args args = {
                .src = a + (i - begin) * lda,
                .pixels = rows,
                .count = at_most(ROWS, end - i),
                .tap = &none,
                .taps = 1,
                .run = depth,
                .w = p->panel + lane * depth,
                .sums = p->c + i * p->ldc + j + lane,
                .start = start,
                .last = (int)(lanes - (vectors - 1) * vector),
            };
            p->k->tile[vectors - 1](&args);
        }
}

/* Rows [begin, end) of C. */
static void do_rows(const product *p, int64_t begin, int64_t end) {
    if (p->trans_a)
        p->k->transpose(p->a + begin, p->lda, p->depth, end - begin, p->turned, p->depth);
    const float *a = p->trans_a ? p->turned : p->a + begin * p->lda;
    const int64_t lda = p->trans_a ? p->depth : p->lda;
    for (int64_t j = 0; j < p->n; j += p->width)
        for (int64_t r = 0; r < p->depth; r += p->slab) {
            const int64_t width = at_most(p->width, p->n - j),
                          depth = at_most(p->slab, p->depth - r);
            pack_panel(p, j, width, r, depth);
            pass_rows(p, a + r, lda, begin, end, j, width, depth, r == 0 && !p->add);
        }
}

/* The scratch is carved off `a`; without memory this only counts. */
static void carve_scratch(product *p, arena *a, int64_t rows) {
    const int64_t vector = p->k->lanes_per_vector, block = vector * p->k->vectors;
    p->slab = at_most(p->depth, p->trans_b || p->m > FEW ? SLAB : SHORT_SLAB);
    p->width = at_least(PANEL / p->slab / block, 1) * block;
    p->width = at_most(p->width, ceil_div(p->n, vector) * vector);
    p->panel = carve(a, p->slab * p->width, sizeof *p->panel);
    p->turned = carve(a, p->trans_a ? rows * p->depth : 0, sizeof *p->turned);
}

static bool do_product(product *p) {
    const int64_t rows = p->trans_a ? at_least(TURNED / p->depth, ROWS) : p->m;
    arena scratch = {NULL, 0};
    carve_scratch(p, &scratch, at_most(rows, p->m));
    scratch = (arena){sm_alloc(scratch.used), 0};
    if (!scratch.base)
        return false;
    carve_scratch(p, &scratch, at_most(rows, p->m));
    for (int64_t i = 0; i < p->m; i += rows)
        do_rows(p, i, at_most(i + rows, p->m));
    sm_free(scratch.base);
    return true;
}

/* C^T = B A^T, some rows of it at a time; all of A is packed, a slab behind the other. */
static bool do_transposed(const product *p) {
    const int64_t vector = p->k->lanes_per_vector,
                  lanes = ceil_div(p->m, vector) * vector,
                  rows = at_most(p->n, 16 * ROWS);
    product t = *p;
    t.n = t.ldc = p->m;
    t.b = p->a;
    t.ldb = p->lda;
    float *memory = sm_alloc((size_t)(p->depth * lanes + rows * p->m) * sizeof *memory);
    if (!memory)
        return false;
    t.c = memory + p->depth * lanes;
    for (int64_t j = 0; j < p->n; j += rows) {
        const int64_t count = at_most(rows, p->n - j);
        for (int64_t r = 0; r < p->depth; r += SLAB) {
            const int64_t depth = at_most(SLAB, p->depth - r);
            t.panel = memory + r * lanes;
            if (j == 0)
                pack_panel(&t, 0, t.n, r, depth);
            pass_rows(&t, p->b + j * p->ldb + r, p->ldb, 0, count, 0, t.n, depth, r == 0);
        }
        p->k->transpose(t.c, t.ldc, count, p->m, p->c + j, p->ldc);
    }
    sm_free(memory);
    return true;
}

/* Each row of C by itself, as dot products. */
static bool do_dots(const product *p) {
    const int64_t vector = p->k->lanes_per_vector;
    for (int64_t j = 0; j < p->n; j += vector)
        for (int64_t i = 0; i < p->m; i++)
            p->k->dots(p->a + i * p->lda, p->b + j * p->ldb, p->ldb,
                       at_most(vector, p->n - j), p->depth, p->c + i * p->ldc + j);
    return true;
}

bool sm_gemm_tiles(const sm_gemm_batch *g, int64_t m, int64_t n, const float *a,
                   const float *b, float *c) {
    const int64_t stride = at_least(at_least(g->lda, g->ldb), g->ldc);
    if (sm_cpu_isa() == SM_ISA_REF || g->alpha != 1.0f ||
        (g->beta != 0.0f && g->beta != 1.0f) || stride > MOST_STRIDE)
        return false;
    product p = {.k = sm_conv2d_kernels_in_use(),
                 .trans_a = g->trans_a,
                 .trans_b = g->trans_b,
                 .add = g->beta == 1.0f,
                 .m = m,
                 .n = n,
                 .depth = g->k,
                 .lda = g->lda,
                 .ldb = g->ldb,
                 .ldc = g->ldc,
                 .a = a,
                 .b = b,
                 .c = c};
    const bool few_rows = !p.trans_a && p.trans_b && !p.add && m <= FEW && n > m;
    if (few_rows && m <= FEWEST)
        return do_dots(&p);
    return few_rows && m * p.depth <= TURNED ? do_transposed(&p) : do_product(&p);
}
