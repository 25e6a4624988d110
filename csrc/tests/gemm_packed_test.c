/* gemm_packed_test.c: products with a packed matrix against plain loops, rows near and
 * far apart, and that a row's bits do not depend on its neighbours. */
#include "kernels/gemm_packed.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"

static sm_rng rng;

static float *noise(int64_t count) {
    float *p = sm_alloc((size_t)(count + 1) * sizeof *p);
    sm_rng_fill_normal(&rng, p, count, 0.0f, 1.0f);
    return p;
}

static double element(bool trans_b, int64_t n, int64_t k, const float *a, const float *b,
                      int64_t j) {
    double sum = 0.0;
    for (int64_t l = 0; l < k; l++)
        sum += (double)a[l] * (double)b[trans_b ? j * k + l : l * n + j];
    return sum;
}

static void check_product(bool trans_b, int64_t m, int64_t n, int64_t k, int64_t gap,
                          bool add) {
    const int64_t lda = k + gap, ldc = n + gap;
    float *a = noise(m * lda), *b = noise(n * k), *c = noise(m * ldc);
    float *before = noise(m * ldc), *row = noise(n);
    sm_gemm_packed *p = NULL;
    double worst = 0.0;
    memcpy(before, c, (size_t)(m * ldc) * sizeof *c);
    CHECK(sm_gemm_pack(trans_b, n, k, b, &p, NULL) == SM_OK);
    sm_gemm_packed_run(p, m, a, lda, c, ldc, add);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < ldc; j++) {
            const double old = before[i * ldc + j];
            const double want =
                j >= n ? old
                       : element(trans_b, n, k, a + i * lda, b, j) + (add ? old : 0);
            const double d = fabs(want - (double)c[i * ldc + j]);
            worst = d >= worst || isnan(d) ? d : worst;
        }
    CHECK(worst <= 2e-6 * sqrt((double)(k + 1)) * 8.0);
    if (sm_cpu_isa() != SM_ISA_REF) {
        memcpy(row, before + (m - 1) * ldc, (size_t)n * sizeof *row);
        sm_gemm_packed_run(p, 1, a + (m - 1) * lda, k, row, n, add);
        CHECK(memcmp(row, c + (m - 1) * ldc, (size_t)n * sizeof *row) == 0);
    }
    sm_gemm_packed_free(p);
    sm_free(a);
    sm_free(b);
    sm_free(c);
    sm_free(before);
    sm_free(row);
}

TEST(products) {
    static const int64_t sizes[][3] = {{1, 1, 1},    {5, 7, 3},    {24, 64, 16},
                                       {25, 65, 31}, {60, 130, 7}, {3, 200, 300},
                                       {31, 33, 520}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 8; t++)
            check_product(t & 1, sizes[s][0], sizes[s][1], sizes[s][2], t & 2 ? 5 : 0,
                          t & 4);
}

/* Rows further apart than 32 bits count: the same floats, a view of one row repeated. */
TEST(rows_far_apart) {
    float a[3] = {1, 2, 3}, b[6] = {1, 0, 0, 1, 1, 1}, c[2] = {5, 5};
    sm_gemm_packed *p = NULL;
    CHECK(sm_gemm_pack(false, 2, 3, b, &p, NULL) == SM_OK);
    sm_gemm_packed_run(p, 1, a, (int64_t)1 << 40, c, (int64_t)1 << 40, true);
    CHECK(c[0] == 9.0f && c[1] == 10.0f);
    sm_gemm_packed_run(p, 0, a, 3, c, 2, false);
    CHECK(c[0] == 9.0f);
    sm_gemm_packed_free(p);
    sm_gemm_packed_free(NULL);
}

int main(void) {
    sm_rng_seed(&rng, 3);
    CHECK(sm_cpu_init(NULL) == SM_OK);
    for (int isa = SM_ISA_REF; isa <= (int)sm_cpu_best(); isa++) {
        sm_cpu_force((sm_isa)isa);
        RUN(products);
        RUN(rows_far_apart);
    }
    return test_report();
}
