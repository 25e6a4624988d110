/* gemm_packed.c: see gemm_packed.h. The packed matrix is that of gemm_tiles.c, all panels
 * behind one another; on the portable path BLAS does the products. */
#include "kernels/gemm_packed.h"

#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "kernels/conv2d_axis.h"
#include "kernels/conv2d_blocked.h"
#include "kernels/gemm.h"

enum {
    ROWS = 24,             /* of A, that pass by a block of B together */
    SLAB = 256,            /* products of a pass */
    MOST_STRIDE = 64 << 20 /* floats; ROWS of them are addressed in 32 bits */
};

struct sm_gemm_packed {
    bool trans_b;
    int64_t n, k;
    const float *b;
    const conv2d_kernels *kernels; /* NULL: nothing is packed */
    float *panels; /* [slab][block of columns][products of the slab][lanes] */
};

/* Columns are padded to whole vectors. */
static int64_t padded(const sm_gemm_packed *p) {
    const int64_t vector = p->kernels->lanes_per_vector;
    return ceil_div(p->n, vector) * vector;
}

/* Columns [j, j + lanes) of a slab: products [r, r + depth). */
static void pack_vector(const sm_gemm_packed *p, int64_t j, int64_t lanes, int64_t r,
                        int64_t depth, float *out, int64_t wide) {
    const int64_t vector = p->kernels->lanes_per_vector;
    for (int64_t i = 0; lanes < vector && i < depth; i++)
        memset(out + i * wide, 0, (size_t)vector * sizeof *out);
    if (p->trans_b)
        p->kernels->transpose(p->b + j * p->k + r, p->k, lanes, depth, out, wide);
    else
        for (int64_t i = 0; i < depth; i++)
            memcpy(out + i * wide, p->b + (r + i) * p->n + j,
                   (size_t)lanes * sizeof *out);
}

static void pack(sm_gemm_packed *p) {
    const int64_t vector = p->kernels->lanes_per_vector,
                  block = vector * p->kernels->vectors;
    for (int64_t r = 0; r < p->k; r += SLAB) {
        const int64_t depth = at_most(SLAB, p->k - r);
        float *panel = p->panels + r * padded(p);
        for (int64_t j = 0; j < p->n; j += vector) {
            const int64_t first = j / block * block;
            const int64_t wide = at_most(block, padded(p) - first);
            pack_vector(p, j, at_most(vector, p->n - j), r, depth,
                        panel + first * depth + j - first, wide);
        }
    }
}

sm_status sm_gemm_pack(bool trans_b, int64_t n, int64_t k, const float *b,
                       sm_gemm_packed **out, sm_error *err) {
    sm_gemm_packed *p = sm_calloc(sizeof *p);
    if (p) {
        *p = (sm_gemm_packed){.trans_b = trans_b, .n = n, .k = k, .b = b};
        if (sm_cpu_isa() != SM_ISA_REF) {
            p->kernels = sm_conv2d_kernels_in_use();
            p->panels = sm_alloc((size_t)(padded(p) * k) * sizeof *p->panels);
        }
    }
    if (!p || (p->kernels && !p->panels)) {
        sm_free(p);
        return sm_fail(err, SM_ENOMEM, 0, "no memory for a packed matrix");
    }
    if (p->kernels)
        pack(p);
    *out = p;
    return SM_OK;
}

void sm_gemm_packed_free(sm_gemm_packed *p) {
    if (!p)
        return;
    sm_free(p->panels);
    sm_free(p);
}

/* Up to ROWS rows, through all of B. */
static void run_rows(const sm_gemm_packed *p, const conv2d_pixel *rows, int64_t count,
                     const float *a, float *c, bool add) {
    const int64_t vector = p->kernels->lanes_per_vector,
                  block = vector * p->kernels->vectors;
    const int32_t none = 0;
    for (int64_t r = 0; r < p->k; r += SLAB) {
        const int64_t depth = at_most(SLAB, p->k - r);
        for (int64_t j = 0; j < p->n; j += block) {
            const int64_t lanes = at_most(block, p->n - j);
            const int64_t vectors = ceil_div(lanes, vector);
            const conv2d_tile_args args = {
                .src = a + r,
                .pixels = rows,
                .count = count,
                .tap = &none,
                .taps = 1,
                .run = depth,
                .w = p->panels + r * padded(p) + j * depth,
                .sums = c + j,
                .start = r == 0 && !add,
                .last = (int)(lanes - (vectors - 1) * vector),
            };
            p->kernels->tile[vectors - 1](&args);
        }
    }
}

/* Row by row where BLAS could not count the distance between them. */
static void run_blas(const sm_gemm_packed *p, int64_t m, const float *a, int64_t lda,
                     float *c, int64_t ldc, bool add) {
    const int64_t rows = lda > MOST_STRIDE || ldc > MOST_STRIDE ? 1 : m;
    for (int64_t i = 0; i < m; i += rows)
        sm_gemm(false, p->trans_b, rows, p->n, p->k, 1, a + i * lda,
                rows == 1 ? p->k : lda, p->b, p->trans_b ? p->k : p->n, add ? 1 : 0,
                c + i * ldc, rows == 1 ? p->n : ldc, NULL);
}

void sm_gemm_packed_run(const sm_gemm_packed *p, int64_t m, const float *a, int64_t lda,
                        float *c, int64_t ldc, bool add) {
    const bool far = lda > MOST_STRIDE || ldc > MOST_STRIDE;
    const int64_t most = far ? 1 : ROWS;
    conv2d_pixel rows[ROWS] = {{0, 0}};
    if (!p->kernels) {
        run_blas(p, m, a, lda, c, ldc, add);
        return;
    }
    for (int64_t i = 1; i < most; i++)
        rows[i] = (conv2d_pixel){(int32_t)(i * lda), (int32_t)(i * ldc)};
    for (int64_t i = 0; i < m; i += most)
        run_rows(p, rows, at_most(most, m - i), a + i * lda, c + i * ldc, add);
}
