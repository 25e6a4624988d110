/* gem.c: generalised-mean pooling. See heads.h. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/columns.h"
#include "ops/heads.h"
#include "ops/images.h"

static sm_status gem_check(sm_call *call, sm_error *err) {
    const sm_gem_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    if (x->dtype != SM_F32 || x->ndim < 3)
        return sm_fail(err, SM_EINVAL, 1,
                       "gem: input must be float32 [N,C,L,...], got %s %s",
                       sm_dtype_name(x->dtype), sm_tensor_shape_text(text, x));
    sm_status status = sm_want_dtype(call, 1, "p", SM_F32, err);
    if (status != SM_OK)
        return status;
    if (sm_tensor_numel(call->in[1]) != 1)
        return sm_fail(err, SM_EINVAL, 2, "gem: p must be one number, got shape %s",
                       sm_tensor_shape_text(text, call->in[1]));
    if (!(p->eps >= 0))
        return sm_fail(err, SM_EINVAL, 3, "gem: eps must be at least 0, got %g",
                       (double)p->eps);
    sm_out_like(call, 0);
    for (int d = 2; d < x->ndim; d++) {
        if (x->shape[d] == 0)
            return sm_fail(err, SM_EINVAL, 1, "gem: nothing to average in input %s",
                           sm_tensor_shape_text(text, x));
        call->meta[0].shape[d] = 1;
    }
    return SM_OK;
}

typedef void (*sum_fn)(const float *x, int64_t rows, int64_t c, float p, float eps,
                       float *sum);

typedef struct gem {
    sm_images im;
    float p, eps;
    const float *x;
    sum_fn fn;
    double *sums; /* [pieces, c] */
    float *work;  /* [pieces, c] */
    float *slope; /* [n, c] */
    float *dx;
} gem;

static void sum_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const gem *g = context;
    const int64_t c = g->im.c;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *sums = g->sums + i * c;
        float *work = g->work + i * c;
        memset(sums, 0, (size_t)c * sizeof *sums);
        for (int64_t m = sm_images_first(&g->im, i); m < sm_images_past(&g->im, i);) {
            const int64_t rest = sm_images_past(&g->im, i) - m;
            const int64_t rows = rest < g->im.chunk ? rest : g->im.chunk;
            g->fn(g->x + m * c, rows, c, g->p, g->eps, work);
            for (int64_t j = 0; j < c; j++)
                sums[j] += work[j];
            m += rows;
        }
    }
}

/* The sums of the images, in sums [n, c]. */
static void run_sums(gem *g, sum_fn fn) {
    const int64_t c = g->im.c;
    g->fn = fn;
    sm_parallel_for(sm_images_pieces(&g->im), sm_images_grain(&g->im), sum_pieces, g);
    for (int64_t i = 0; i < g->im.n && g->im.parts > 1; i++)
        for (int64_t j = 0; j < c; j++) {
            double sum = 0;
            for (int64_t part = 0; part < g->im.parts; part++)
                sum += g->sums[(i * g->im.parts + part) * c + j];
            g->sums[i * c + j] = sum;
        }
}

static sm_status get_room(gem *g, sm_error *err) {
    const size_t count = (size_t)(sm_images_pieces(&g->im) * g->im.c);
    g->sums = sm_alloc(count * (sizeof(double) + sizeof(float)));
    if (!g->sums)
        return sm_fail(err, SM_ENOMEM, 0, "gem: no memory for its sums");
    g->work = (float *)(g->sums + count);
    return SM_OK;
}

/* keep[0]: the means of the powers. */
static sm_status gem_forward(sm_call *call, sm_error *err) {
    const sm_gem_params *params = call->params;
    sm_tensor *x;
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    gem g = {.im = sm_images_of(x->shape, x->ndim),
             .p = *sm_f32(call->in[1]),
             .eps = params->eps,
             .x = sm_f32(x)};
    const sm_meta meta = {.dtype = SM_F32, .ndim = 2, .shape = {g.im.n, g.im.c}};
    status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK && sm_tensor_numel(x) > 0)
        status = get_room(&g, err);
    if (status == SM_OK && g.sums) {
        run_sums(&g, sm_columns_table()->power_sum);
        for (int64_t i = 0; i < g.im.n * g.im.c; i++) {
            const double mean = g.sums[i] / (double)g.im.m;
            sm_f32(call->keep[0])[i] = (float)mean;
            sm_f32(call->out[0])[i] = (float)pow(mean, 1 / (double)g.p);
        }
    }
    sm_free(g.sums);
    sm_tensor_unref(x);
    return status;
}

static void back_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const gem *g = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = sm_images_first(&g->im, i), c = g->im.c;
        sm_columns_table()->power_back(g->x + first * c,
                                       sm_images_past(&g->im, i) - first, c, g->p, g->eps,
                                       g->slope + i / g->im.parts * c, g->dx + first * c);
    }
}

/* With m the mean of u^p: dy/dp = y (mean(u^p log u) / (p m) - log(m) / p^2). */
static double exponent_gradient(gem *g, const float *dy, const float *y,
                                const float *mean) {
    double sum = 0;
    const double p = g->p, pixels = (double)g->im.m;
    run_sums(g, sm_columns_table()->power_log_sum);
    for (int64_t i = 0; i < g->im.n * g->im.c; i++) {
        const double m = mean[i];
        sum += (double)dy[i] * y[i] * (g->sums[i] / pixels / (p * m) - log(m) / (p * p));
    }
    return sum;
}

/* dx = dy y / (m pixels) u^(p-1). */
static sm_status input_gradient(sm_back *back, gem *g, const float *dy, const float *y,
                                sm_error *err) {
    const int64_t count = g->im.n * g->im.c;
    const float *mean = sm_f32(back->keep[0]);
    sm_tensor *dx;
    sm_status status = sm_din_pixels(back, 0, &dx, err);
    if (status != SM_OK || !g->sums)
        return status;
    g->dx = sm_f32(dx);
    g->slope = sm_alloc((size_t)count * sizeof *g->slope);
    if (!g->slope)
        return sm_fail(err, SM_ENOMEM, 0, "gem: no memory for its gradient");
    for (int64_t i = 0; i < count; i++)
        g->slope[i] = (float)((double)dy[i] * y[i] / ((double)mean[i] * (double)g->im.m));
    sm_parallel_for(sm_images_pieces(&g->im), sm_images_grain(&g->im), back_pieces, g);
    sm_free(g->slope);
    return SM_OK;
}

static sm_status gem_backward(sm_back *back, sm_error *err) {
    const sm_gem_params *params = back->params;
    sm_tensor *x, *dy = NULL, *dp;
    sm_status status = sm_tensor_pixels(back->in[0], &x, err);
    if (status != SM_OK)
        return status;
    gem g = {.im = sm_images_of(x->shape, x->ndim),
             .p = *sm_f32(back->in[1]),
             .eps = params->eps,
             .x = sm_f32(x)};
    status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK && sm_tensor_numel(x) > 0)
        status = get_room(&g, err);
    if (status == SM_OK && back->want[0])
        status = input_gradient(back, &g, sm_f32(dy), sm_f32(back->out[0]), err);
    if (status == SM_OK && back->want[1])
        status = sm_din_zeros(back, 1, &dp, err);
    if (status == SM_OK && back->want[1] && g.sums)
        *sm_f32(dp) = (float)exponent_gradient(&g, sm_f32(dy), sm_f32(back->out[0]),
                                               sm_f32(back->keep[0]));
    sm_free(g.sums);
    sm_tensor_unref(dy);
    sm_tensor_unref(x);
    return status;
}

const sm_op sm_op_gem = {.name = "gem",
                         .min_in = 2,
                         .max_in = 2,
                         .n_out = 1,
                         .save_in = 3,
                         .save_out = 1,
                         .params_size = sizeof(sm_gem_params),
                         .check = gem_check,
                         .forward = gem_forward,
                         .backward = gem_backward};
