/* gemm.c: matrix products, on vectors of ours or over BLAS. See gemm.h.
 *
 * OpenBLAS's own threads would fight with the pool's for the processors, so it is held to
 * one, and C is cut here: along the longer of its sides, which never touches the order of
 * a sum.
 */
#include "kernels/gemm.h"

#include <cblas.h>
#include <limits.h>

#include "base/pool.h"
#include "kernels/gemm_tiles.h"

/* Absent from other BLAS libraries, which run one thread or have a switch of their own.
 */
extern void openblas_set_num_threads(int n) __attribute__((weak));

/* Multiply-adds below which a second thread costs more than it brings. */
enum { PART_MACS = 1 << 17 };

void sm_gemm_init(void) {
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

typedef struct job {
    sm_gemm_batch g;
    const float *a, *b;
    float *c;
} job;

static void scale(const sm_gemm_batch *g, float *c) {
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++)
            c[i * g->ldc + j] = g->beta == 0.0f ? 0.0f : g->beta * c[i * g->ldc + j];
}

/* Rows [m0, m1) and columns [n0, n1) of one product. */
static void block(const sm_gemm_batch *g, const float *a, const float *b, float *c,
                  int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
    a += g->trans_a ? m0 : m0 * g->lda;
    b += g->trans_b ? n0 * g->ldb : n0;
    c += m0 * g->ldc + n0;
    if (sm_gemm_tiles(g, m1 - m0, n1 - n0, a, b, c))
        return;
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
                g->trans_b ? CblasTrans : CblasNoTrans, (int)(m1 - m0), (int)(n1 - n0),
                (int)g->k, g->alpha, a, (int)g->lda, b, (int)g->ldb, g->beta, c,
                (int)g->ldc);
}

static void rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    block(&j->g, j->a, j->b, j->c, begin, end, 0, j->g.n);
}

static void columns(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    block(&j->g, j->a, j->b, j->c, 0, j->g.m, begin, end);
}

static void matrices(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_gemm_batch *g = &j->g;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        block(g, j->a + i * g->stride_a, j->b + i * g->stride_b, j->c + i * g->stride_c,
              0, g->m, 0, g->n);
}

static int64_t grain(double macs_per_item) {
    double items = PART_MACS / macs_per_item;
    return items < 1 ? 1 : (int64_t)items;
}

static void product(const job *j) {
    const sm_gemm_batch *g = &j->g;
    if (g->m >= g->n)
        sm_parallel_for(g->m, grain((double)g->n * (double)g->k), rows, (void *)j);
    else
        sm_parallel_for(g->n, grain((double)g->m * (double)g->k), columns, (void *)j);
}

static sm_status check(const sm_gemm_batch *g, sm_error *err) {
    int64_t sizes[] = {g->m, g->n, g->k, g->lda, g->ldb, g->ldc};
    for (int i = 0; i < 6; i++)
        if (sizes[i] > INT_MAX)
            return sm_fail(err, SM_EINVAL, 0,
                           "matmul: a size of %lld is beyond what BLAS counts with (%d)",
                           (long long)sizes[i], INT_MAX);
    return SM_OK;
}

/* BLAS wants leading dimensions that cover a row even where there is at most one. */
static int64_t leading(int64_t ld, int64_t width) {
    return ld > width ? ld : width > 1 ? width : 1;
}

sm_status sm_gemm_batched(const sm_gemm_batch *batch, const float *a, const float *b,
                          float *c, sm_error *err) {
    sm_status status = check(batch, err);
    if (status != SM_OK || batch->m == 0 || batch->n == 0 || batch->batch == 0)
        return status;
    job j = {*batch, a, b, c};
    sm_gemm_batch *g = &j.g;
    if (g->k == 0 || g->alpha == 0.0f) {
        for (int64_t i = 0; i < g->batch; i++)
            scale(g, c + i * g->stride_c);
        return SM_OK;
    }
    g->lda = leading(g->lda, g->trans_a ? g->m : g->k);
    g->ldb = leading(g->ldb, g->trans_b ? g->k : g->n);
    g->ldc = leading(g->ldc, g->n);
    sm_gemm_init();
    if (g->batch >= sm_threads()) {
        double macs = (double)g->m * (double)g->n * (double)g->k;
        sm_parallel_for(g->batch, grain(macs), matrices, &j);
        return SM_OK;
    }
    for (int64_t i = 0; i < g->batch; i++) {
        product(&j);
        j.a += g->stride_a;
        j.b += g->stride_b;
        j.c += g->stride_c;
    }
    return SM_OK;
}

sm_status sm_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                  float beta, float *c, int64_t ldc, sm_error *err) {
    sm_gemm_batch g = {trans_a, trans_b, 1, m, n, k, alpha, beta, lda, ldb, ldc, 0, 0, 0};
    return sm_gemm_batched(&g, a, b, c, err);
}
