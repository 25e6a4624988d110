/* conv2d_test.c: every convolution path against the plain loops, on odd shapes. */
#include "kernels/conv2d.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tests/test.h"

static sm_rng rng;

static sm_conv2d shape(int64_t n, int64_t c, int64_t h, int64_t w, int64_t o, int64_t kh,
                       int64_t kw, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t groups) {
    sm_conv2d g = {n,      c,   h,   w,        o,        kh,     kw, stride,
                   stride, pad, pad, dilation, dilation, groups, 0,  0};
    g.oh = sm_conv2d_out(h, kh, stride, pad, dilation);
    g.ow = sm_conv2d_out(w, kw, stride, pad, dilation);
    return g;
}

static float *noise(int64_t count) {
    float *p = sm_alloc((size_t)(count + 1) * sizeof *p);
    sm_rng_fill_normal(&rng, p, count, 0.0f, 1.0f);
    return p;
}

/* An output with a guard behind it, full of NaN so that an element left out shows. */
static float *poison(int64_t count) {
    float *p = sm_alloc((size_t)(count + 1) * sizeof *p);
    for (int64_t i = 0; i <= count; i++)
        p[i] = NAN;
    p[count] = 12345.0f;
    return p;
}

/* Largest difference over the root of the number of terms of a sum: both are rounded sums
 * of products of standard normals. */
static double difference(const float *got, const float *want, int64_t count,
                         int64_t terms) {
    double worst = got[count] == 12345.0f ? 0.0 : INFINITY;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        worst = d >= worst || isnan(d) ? d : worst;
    }
    return worst / sqrt((double)(terms > 0 ? terms : 1));
}

static void report(const sm_conv2d *g, const char *pass, double error) {
    if (!(error < 2e-5))
        fprintf(stderr,
                "%s [%s, %d threads]: n%lld c%lld %lldx%lld o%lld k%lldx%lld s%lld,%lld "
                "p%lld,%lld "
                "d%lld g%lld: error %g\n",
                pass, sm_isa_name(sm_cpu_isa()), sm_threads(), (long long)g->n,
                (long long)g->c, (long long)g->h, (long long)g->w, (long long)g->o,
                (long long)g->kh, (long long)g->kw, (long long)g->stride_h,
                (long long)g->stride_w, (long long)g->pad_h, (long long)g->pad_w,
                (long long)g->dilation_h, (long long)g->groups, error);
    CHECK(error < 2e-5);
}

static void forward(const sm_conv2d *g, const float *x, const float *w,
                    sm_conv2d_finish finish) {
    int64_t count = g->n * g->o * g->oh * g->ow, terms = g->c / g->groups * g->kh * g->kw;
    float *got = poison(count), *want = poison(count);
    sm_conv2d_forward_ref(g, x, w, &finish, want);
    CHECK(sm_conv2d_forward(g, x, w, &finish, got, NULL) == SM_OK);
    report(g, "forward", difference(got, want, count, terms));
    sm_free(got);
    sm_free(want);
}

static void backward_data(const sm_conv2d *g, const float *dy, const float *w) {
    int64_t count = g->n * g->c * g->h * g->w, terms = g->o / g->groups * g->kh * g->kw;
    float *got = poison(count), *want = poison(count);
    sm_conv2d_backward_data_ref(g, dy, w, want);
    CHECK(sm_conv2d_backward_data(g, dy, w, got, NULL) == SM_OK);
    report(g, "backward data", difference(got, want, count, terms));
    sm_free(got);
    sm_free(want);
}

static void backward_weight(const sm_conv2d *g, const float *x, const float *dy,
                            bool bias) {
    int64_t count = g->o * (g->c / g->groups) * g->kh * g->kw,
            terms = g->n * g->oh * g->ow;
    float *got = poison(count), *want = poison(count), *again = poison(count);
    float *dbias = poison(g->o), *dbias_want = poison(g->o);
    sm_conv2d_backward_weight_ref(g, x, dy, want, bias ? dbias_want : NULL);
    CHECK(sm_conv2d_backward_weight(g, x, dy, got, bias ? dbias : NULL, NULL) == SM_OK);
    report(g, "backward weight", difference(got, want, count, terms));
    if (bias)
        report(g, "backward bias", difference(dbias, dbias_want, g->o, terms));
    CHECK(sm_conv2d_backward_weight(g, x, dy, again, NULL, NULL) == SM_OK);
    CHECK(memcmp(got, again, (size_t)count * sizeof *got) == 0);
    sm_free(got);
    sm_free(want);
    sm_free(again);
    sm_free(dbias);
    sm_free(dbias_want);
}

static void check_shape(sm_conv2d g) {
    float *x = noise(g.n * g.c * g.h * g.w),
          *w = noise(g.o * (g.c / g.groups) * g.kh * g.kw);
    float *dy = noise(g.n * g.o * g.oh * g.ow), *bias = noise(g.o), *scale = noise(g.o);
    for (int64_t i = 0; i < g.o; i++)
        scale[i] *= 0.25f; /* the bound is one on sums that are not scaled up */
    const sm_limits relu = {0, INFINITY}, relu6 = {0, 6};
    forward(&g, x, w, (sm_conv2d_finish){.bias = bias, .limits = sm_no_limits});
    forward(&g, x, w, (sm_conv2d_finish){.limits = relu});
    forward(&g, x, w,
            (sm_conv2d_finish){
                .scale = scale, .bias = bias, .residual = dy, .limits = relu6});
    backward_data(&g, dy, w);
    backward_weight(&g, x, dy, true);
    backward_weight(&g, x, dy, false);
    sm_free(x);
    sm_free(w);
    sm_free(dy);
    sm_free(bias);
    sm_free(scale);
}

static void odd_shapes(void) {
    static const int64_t shapes[][11] = {
        /* n  c   h   w   o  kh kw s  p  d  g */
        {2, 1, 28, 28, 64, 3, 3, 1, 1, 1, 1},     {3, 3, 17, 19, 17, 3, 3, 1, 1, 1, 1},
        {2, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1},    {9, 64, 7, 7, 64, 3, 3, 1, 1, 1, 1},
        {13, 17, 7, 5, 33, 3, 3, 1, 1, 1, 1},     {1, 17, 13, 11, 1, 3, 3, 3, 0, 1, 1},
        {1, 1, 105, 105, 64, 10, 10, 1, 0, 1, 1}, {1, 64, 21, 21, 128, 7, 7, 1, 0, 1, 1},
        {2, 128, 9, 9, 128, 4, 4, 1, 0, 1, 1},    {2, 3, 33, 31, 40, 7, 7, 2, 3, 1, 1},
        {2, 96, 12, 13, 80, 1, 1, 1, 0, 1, 1},    {2, 48, 13, 12, 24, 1, 1, 2, 0, 1, 1},
        {2, 16, 12, 12, 16, 1, 1, 3, 2, 1, 1},    {3, 6, 15, 14, 9, 3, 3, 1, 2, 2, 3},
        {2, 8, 16, 17, 12, 3, 3, 2, 1, 1, 4},     {2, 24, 15, 15, 24, 3, 3, 1, 1, 1, 24},
        {2, 24, 15, 16, 24, 3, 3, 2, 1, 1, 24},   {2, 5, 9, 9, 10, 5, 5, 1, 2, 1, 5},
        {2, 20, 9, 33, 20, 3, 3, 1, 1, 2, 20},    {2, 20, 9, 33, 20, 7, 7, 3, 3, 1, 20},
        {5, 2, 3, 3, 3, 3, 3, 1, 0, 1, 1},        {1, 7, 4, 4, 5, 4, 4, 1, 0, 1, 1},
        {2, 4, 6, 6, 7, 2, 2, 1, 5, 1, 1},        {1, 3, 8, 9, 5, 3, 3, 5, 7, 3, 1},
        {1, 2, 3, 3, 2, 1, 1, 9, 0, 1, 1},        {4, 6, 10, 10, 16, 5, 5, 1, 0, 1, 1},
        {1, 300, 6, 6, 70, 3, 3, 1, 1, 1, 1},     {2, 256, 7, 7, 130, 3, 3, 2, 1, 1, 1},
        {1, 5, 60, 61, 6, 3, 3, 2, 1, 1, 1},      {2, 12, 11, 10, 18, 3, 3, 2, 2, 2, 2},
        {70, 3, 2, 2, 4, 2, 2, 1, 1, 1, 1},       {1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1},
        {1, 32, 56, 56, 32, 3, 3, 1, 1, 1, 1},    {1, 1, 40, 300, 3, 3, 3, 1, 1, 1, 1},
        {2, 20, 17, 18, 24, 5, 5, 1, 2, 1, 1},    {2, 16, 20, 20, 16, 4, 4, 1, 1, 1, 1},
        {3, 18, 19, 12, 20, 6, 6, 1, 3, 1, 1},    {2, 16, 21, 21, 17, 8, 8, 1, 4, 1, 1},
        {1, 16, 30, 30, 16, 9, 9, 1, 4, 1, 1},    {1, 17, 55, 56, 70, 5, 5, 1, 0, 1, 1},
        {90, 17, 4, 3, 33, 3, 3, 1, 1, 1, 1},     {40, 40, 9, 9, 20, 4, 4, 1, 3, 1, 1},
        {3, 70, 12, 13, 17, 1, 1, 1, 0, 1, 1},    {3, 9, 20, 13, 150, 1, 1, 1, 0, 1, 1},
        {2, 4, 1, 30, 8, 1, 1, 1, 0, 1, 1},       {3, 10, 20, 20, 10, 3, 3, 4, 0, 2, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *s = shapes[i];
        check_shape(
            shape(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10]));
    }
}

static void uneven_axes(void) {
    sm_conv2d g = shape(2, 5, 19, 23, 6, 3, 5, 1, 0, 1, 1);
    g.stride_h = 2, g.pad_w = 3, g.dilation_h = 3;
    g.oh = sm_conv2d_out(g.h, g.kh, g.stride_h, g.pad_h, g.dilation_h);
    g.ow = sm_conv2d_out(g.w, g.kw, g.stride_w, g.pad_w, g.dilation_w);
    check_shape(g);
    g = shape(3, 16, 1, 50, 16, 1, 7, 1, 0, 1, 1);
    g.pad_w = 3, g.stride_w = 2;
    g.ow = sm_conv2d_out(g.w, g.kw, g.stride_w, g.pad_w, g.dilation_w);
    check_shape(g);
}

/* Seeded shapes of every kind. */
static void random_shapes(int count) {
    for (int i = 0; i < count; i++) {
        int64_t groups =
            sm_rng_below(&rng, 4) == 0 ? 1 + (int64_t)sm_rng_below(&rng, 4) : 1;
        int64_t k = 1 + (int64_t)sm_rng_below(&rng, 5),
                d = 1 + (int64_t)sm_rng_below(&rng, 2);
        sm_conv2d g = shape(
            1 + (int64_t)sm_rng_below(&rng, 6),
            groups * (1 + (int64_t)sm_rng_below(&rng, 40)),
            1 + (int64_t)sm_rng_below(&rng, 24), 1 + (int64_t)sm_rng_below(&rng, 24),
            groups * (1 + (int64_t)sm_rng_below(&rng, 80)), k,
            1 + (int64_t)sm_rng_below(&rng, 5), 1 + (int64_t)sm_rng_below(&rng, 3),
            (int64_t)sm_rng_below(&rng, 5), d, groups);
        check_shape(g);
    }
}

static void empty_shapes(void) {
    check_shape(shape(0, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1));
    check_shape(shape(2, 0, 8, 8, 4, 3, 3, 1, 1, 1, 1));
    check_shape(shape(2, 3, 8, 8, 0, 3, 3, 1, 1, 1, 1));
    check_shape(shape(2, 3, 2, 2, 4, 3, 3, 1, 0, 1, 1));
    check_shape(shape(2, 3, 0, 0, 4, 3, 3, 1, 2, 1, 1));
}

/* A NaN in the input reaches the output, clamped or not. */
static void keeps_nan(void) {
    sm_conv2d g = shape(1, 4, 6, 6, 8, 3, 3, 1, 1, 1, 1);
    float *x = noise(g.c * 36), *w = noise(g.o * g.c * 9), *y = poison(g.o * 36);
    x[0] = NAN;
    for (int relu = 0; relu < 2; relu++) {
        const sm_conv2d_finish finish = {.limits =
                                             relu ? (sm_limits){0, 6} : sm_no_limits};
        CHECK(sm_conv2d_forward(&g, x, w, &finish, y, NULL) == SM_OK);
        CHECK(isnan(y[0]) && isnan(y[7 * g.o]) && !isnan(y[2 * g.o]) &&
              !isnan(y[35 * g.o]));
    }
    sm_free(x);
    sm_free(w);
    sm_free(y);
}

static void out_of_memory(void) {
    sm_conv2d g = shape(1, 64, 28, 28, 64, 3, 3, 1, 1, 1, 1);
    float *x = noise(64 * 784), *w = noise(64 * 64 * 9), *y = poison(64 * 784);
    sm_mem_stats stats;
    sm_mem_get_stats(&stats);
    sm_mem_set_limit(stats.live + 4096);
    sm_error err = {0};
    const sm_conv2d_finish finish = {.limits = sm_no_limits};
    CHECK(sm_conv2d_forward(&g, x, w, &finish, y, &err) == SM_ENOMEM && err.message[0]);
    CHECK(sm_conv2d_backward_data(&g, y, w, x, &err) == SM_ENOMEM);
    CHECK(sm_conv2d_backward_weight(&g, x, y, w, NULL, &err) == SM_ENOMEM);
    sm_mem_set_limit(0);
    sm_mem_stats after;
    sm_mem_get_stats(&after);
    CHECK(after.live == stats.live);
    sm_free(x);
    sm_free(w);
    sm_free(y);
}

int main(void) {
    sm_rng_seed(&rng, 7);
    CHECK(sm_cpu_init(NULL) == SM_OK);
    for (int isa = SM_ISA_REF; isa <= (int)sm_cpu_best(); isa++) {
        sm_cpu_force((sm_isa)isa);
        for (int threads = 1; threads <= 3; threads++) {
            sm_set_threads(threads);
            odd_shapes();
            uneven_axes();
            random_shapes(60);
            empty_shapes();
        }
        keeps_nan();
        out_of_memory();
    }
    return test_report();
}
