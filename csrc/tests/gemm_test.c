/* gemm_test.c: matrix products against plain loops: transposes, leading dimensions,
 * batches, and the corners (sizes of 0, beta 0 over NaN, sizes beyond BLAS). */
#include "kernels/gemm.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tests/test.h"

static sm_rng rng;

static float *noise(int64_t count) {
    float *p = sm_alloc((size_t)(count + 1) * sizeof *p);
    sm_rng_fill_normal(&rng, p, count, 0.0f, 1.0f);
    return p;
}

static double element(const sm_gemm_batch *g, const float *a, const float *b, int64_t i,
                      int64_t j) {
    double sum = 0.0;
    for (int64_t l = 0; l < g->k; l++)
        sum += (double)a[g->trans_a ? l * g->lda + i : i * g->lda + l] *
               (double)b[g->trans_b ? j * g->ldb + l : l * g->ldb + j];
    return sum;
}

/* Compares one result matrix, and that the gap between its rows is as before. */
static void compare(const sm_gemm_batch *g, const float *a, const float *b,
                    const float *before, const float *c) {
    double worst = 0.0;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->ldc; j++) {
            double want = before[i * g->ldc + j];
            if (j < g->n)
                want = (double)g->alpha * element(g, a, b, i, j) +
                       (g->beta != 0.0f ? (double)g->beta * want : 0.0);
            double d = fabs(want - (double)c[i * g->ldc + j]);
            worst = d >= worst || isnan(d) ? d : worst;
        }
    CHECK(worst <= 2e-6 * sqrt((double)(g->k + 1)) * 8.0);
}

static void check_product(bool trans_a, bool trans_b, int64_t batch, int64_t m, int64_t n,
                          int64_t k, float alpha, float beta, int64_t gap) {
    sm_gemm_batch g = {trans_a,
                       trans_b,
                       batch,
                       m,
                       n,
                       k,
                       alpha,
                       beta,
                       (trans_a ? m : k) + gap,
                       (trans_b ? k : n) + gap,
                       n + gap,
                       0,
                       0,
                       0};
    g.stride_a = (trans_a ? k : m) * g.lda;
    g.stride_b = batch == 3 ? 0 : (trans_b ? n : k) * g.ldb;
    g.stride_c = m * g.ldc;
    float *a = noise(batch * g.stride_a), *b = noise(batch * (trans_b ? n : k) * g.ldb);
    float *c = noise(batch * g.stride_c), *before = noise(batch * g.stride_c);
    memcpy(before, c, (size_t)(batch * g.stride_c) * sizeof *c);
    CHECK(sm_gemm_batched(&g, a, b, c, NULL) == SM_OK);
    for (int64_t i = 0; i < batch; i++)
        compare(&g, a + i * g.stride_a, b + i * g.stride_b, before + i * g.stride_c,
                c + i * g.stride_c);
    if (batch == 1) {
        float *d = noise(g.stride_c);
        memcpy(d, before, (size_t)g.stride_c * sizeof *d);
        CHECK(sm_gemm(trans_a, trans_b, m, n, k, alpha, a, g.lda, b, g.ldb, beta, d,
                      g.ldc, NULL) == SM_OK);
        CHECK(memcmp(c, d, (size_t)g.stride_c * sizeof *d) == 0);
        sm_free(d);
    }
    sm_free(a);
    sm_free(b);
    sm_free(c);
    sm_free(before);
}

static void products(void) {
    static const int64_t sizes[][3] = {
        {1, 1, 1},   {3, 5, 7}, {17, 33, 9}, {64, 64, 64},   {1, 200, 50},  {200, 1, 50},
        {50, 60, 0}, {0, 5, 5}, {5, 0, 5},   {300, 70, 129}, {70, 300, 129}};
    static const int64_t batches[] = {1, 2, 3, 7};
    static const float betas[] = {0.0f, 1.0f, 0.5f};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 4; t++)
            for (int b = 0; b < 4; b++)
                check_product(t & 1, t >> 1, batches[b], sizes[s][0], sizes[s][1],
                              sizes[s][2], b == 2 ? 0.75f : 1.0f, betas[(t + b) % 3],
                              b % 2 ? 3 : 0);
}

/* More than a slab of products, a panel of columns, a block of turned rows; and the few
 * rows that are done the other way round. */
static void large_products(void) {
    static const int64_t sizes[][3] = {
        {3, 50, 300}, {33, 410, 530}, {30, 700, 200}, {70, 530, 300}, {300, 3, 20000}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 4; t++)
            for (int add = 0; add < 2; add++)
                check_product(t & 1, t >> 1, 1, sizes[s][0], sizes[s][1], sizes[s][2],
                              1.0f, (float)add, add ? 5 : 0);
}

static void beta_zero_forgets(void) {
    float a[4] = {1, 2, 3, 4}, c[4] = {NAN, INFINITY, NAN, NAN};
    CHECK(sm_gemm(false, false, 2, 2, 2, 1.0f, a, 2, a, 2, 0.0f, c, 2, NULL) == SM_OK);
    CHECK(c[0] == 7.0f && c[1] == 10.0f && c[2] == 15.0f && c[3] == 22.0f);
    c[0] = NAN;
    CHECK(sm_gemm(false, false, 2, 2, 0, 1.0f, NULL, 1, NULL, 2, 0.0f, c, 2, NULL) ==
          SM_OK);
    CHECK(c[0] == 0.0f && c[3] == 0.0f);
    c[0] = 3.0f;
    CHECK(sm_gemm(false, false, 2, 2, 2, 0.0f, a, 2, a, 2, 2.0f, c, 2, NULL) == SM_OK);
    CHECK(c[0] == 6.0f && c[3] == 0.0f);
}

static void too_large(void) {
    float c = 1.0f;
    sm_error err = {0};
    CHECK(sm_gemm(false, false, 1, 1, (int64_t)INT_MAX + 1, 1.0f, &c, 1, &c, 1, 0.0f, &c,
                  1, &err) == SM_EINVAL);
    CHECK(strstr(err.message, "2147483648") != NULL);
}

int main(void) {
    sm_rng_seed(&rng, 3);
    CHECK(sm_cpu_init(NULL) == SM_OK);
    for (int isa = SM_ISA_REF; isa <= (int)sm_cpu_best(); isa++) {
        sm_cpu_force((sm_isa)isa);
        for (int threads = 1; threads <= 3; threads++) {
            sm_set_threads(threads);
            products();
        }
        large_products();
        beta_zero_forgets();
    }
    too_large();
    return test_report();
}
