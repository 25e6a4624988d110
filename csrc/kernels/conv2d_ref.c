/* conv2d_ref.c: convolution as its definition, in plain loops.
 *
 * The yardstick of the parity tests and the last candidate of the dispatcher. Sums run in
 * float over (c, p, q) in this order, except that dw sums whole images; each output
 * element belongs to one thread, so any number of threads gives the same bits.
 */
#include "kernels/conv2d.h"

#include <string.h>

#include "base/pool.h"

typedef struct task {
    const sm_conv2d *g;
    const float *in, *w; /* `w` holds dy in the weight pass */
    float *out, *dbias;
    sm_conv2d_finish finish;
} task;

/* The outputs j in [0, out) for which j * stride + shift lies in [0, in): returns the
 * first, and the one past the last through `end`. */
static int64_t inside(int64_t out, int64_t in, int64_t stride, int64_t shift,
                      int64_t *end) {
    int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    int64_t past = in - shift <= 0 ? 0 : (in - shift + stride - 1) / stride;
    *end = past < out ? past : out;
    return first;
}

/* One channel of y += one channel of x with one kernel w [kh, kw]. */
static void plane_forward(const sm_conv2d *g, const float *x, const float *w, float *y) {
    for (int64_t p = 0; p < g->kh; p++) {
        int64_t i1,
            i0 = inside(g->oh, g->h, g->stride_h, p * g->dilation_h - g->pad_h, &i1);
        for (int64_t i = i0; i < i1; i++) {
            const float *row =
                x + (i * g->stride_h + p * g->dilation_h - g->pad_h) * g->w * g->c;
            for (int64_t q = 0; q < g->kw; q++) {
                int64_t shift = q * g->dilation_w - g->pad_w;
                int64_t j1, j0 = inside(g->ow, g->w, g->stride_w, shift, &j1);
                float weight = w[p * g->kw + q];
                for (int64_t j = j0; j < j1; j++)
                    y[(i * g->ow + j) * g->o] +=
                        weight * row[(j * g->stride_w + shift) * g->c];
            }
        }
    }
}

static void finish_pixel(const sm_conv2d_finish *f, int64_t at, int64_t o, float *y) {
    const float scaled = f->scale ? *y * f->scale[o] : *y;
    *y = sm_limit(scaled + (f->bias ? f->bias[o] : 0.0f) +
                      (f->residual ? f->residual[at + o] : 0.0f),
                  f->limits);
}

static void forward_planes(void *context, int64_t begin, int64_t end, int thread) {
    const task *job = context;
    const sm_conv2d *g = job->g;
    int64_t cg = g->c / g->groups, og = g->o / g->groups, plane = g->oh * g->ow;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t n = item / g->o, o = item % g->o;
        const float *x = job->in + n * g->h * g->w * g->c + o / og * cg;
        const float *w = job->w + o * cg * g->kh * g->kw;
        float *y = job->out + n * plane * g->o + o;
        for (int64_t i = 0; i < plane; i++)
            y[i * g->o] = 0.0f;
        for (int64_t c = 0; c < cg; c++)
            plane_forward(g, x + c, w + c * g->kh * g->kw, y);
        for (int64_t i = 0; i < plane; i++)
            finish_pixel(&job->finish, n * plane * g->o + i * g->o, o, y + i * g->o);
    }
}

void sm_conv2d_forward_ref(const sm_conv2d *g, const float *x, const float *w,
                           const sm_conv2d_finish *finish, float *y) {
    task j = {.g = g, .in = x, .w = w, .out = y, .finish = *finish};
    sm_parallel_for(g->n * g->o, 1, forward_planes, &j);
}

/* One channel of dx += one channel of dy with one kernel w [kh, kw]. */
static void plane_data(const sm_conv2d *g, const float *dy, const float *w, float *dx) {
    for (int64_t p = 0; p < g->kh; p++) {
        int64_t i1,
            i0 = inside(g->oh, g->h, g->stride_h, p * g->dilation_h - g->pad_h, &i1);
        for (int64_t i = i0; i < i1; i++) {
            float *row =
                dx + (i * g->stride_h + p * g->dilation_h - g->pad_h) * g->w * g->c;
            for (int64_t q = 0; q < g->kw; q++) {
                int64_t shift = q * g->dilation_w - g->pad_w;
                int64_t j1, j0 = inside(g->ow, g->w, g->stride_w, shift, &j1);
                float weight = w[p * g->kw + q];
                for (int64_t j = j0; j < j1; j++)
                    row[(j * g->stride_w + shift) * g->c] +=
                        weight * dy[(i * g->ow + j) * g->o];
            }
        }
    }
}

static void data_planes(void *context, int64_t begin, int64_t end, int thread) {
    const task *job = context;
    const sm_conv2d *g = job->g;
    int64_t cg = g->c / g->groups, og = g->o / g->groups;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t n = item / g->c, c = item % g->c, first = c / cg * og;
        float *dx = job->out + n * g->h * g->w * g->c + c;
        for (int64_t i = 0; i < g->h * g->w; i++)
            dx[i * g->c] = 0;
        for (int64_t o = first; o < first + og; o++)
            plane_data(g, job->in + n * g->oh * g->ow * g->o + o,
                       job->w + (o * cg + c % cg) * g->kh * g->kw, dx);
    }
}

void sm_conv2d_backward_data_ref(const sm_conv2d *g, const float *dy, const float *w,
                                 float *dx) {
    task j = {.g = g, .in = dy, .w = w, .out = dx};
    sm_parallel_for(g->n * g->c, 1, data_planes, &j);
}

/* sum over i, j of dy[i,j] * x[i*stride + shift_h, j*stride + shift_w] */
static float tap_product(const sm_conv2d *g, const float *x, const float *dy, int64_t p,
                         int64_t q) {
    int64_t shift_h = p * g->dilation_h - g->pad_h,
            shift_w = q * g->dilation_w - g->pad_w;
    int64_t i1, i0 = inside(g->oh, g->h, g->stride_h, shift_h, &i1);
    int64_t j1, j0 = inside(g->ow, g->w, g->stride_w, shift_w, &j1);
    float sum = 0.0f;
    for (int64_t i = i0; i < i1; i++) {
        const float *row = x + (i * g->stride_h + shift_h) * g->w * g->c;
        for (int64_t j = j0; j < j1; j++)
            sum += dy[(i * g->ow + j) * g->o] * row[(j * g->stride_w + shift_w) * g->c];
    }
    return sum;
}

/* dw[o,c,:,:] for item = o * cg + c. */
static void weight_planes(void *context, int64_t begin, int64_t end, int thread) {
    const task *job = context;
    const sm_conv2d *g = job->g;
    int64_t cg = g->c / g->groups, og = g->o / g->groups, taps = g->kh * g->kw;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t o = item / cg, c = o / og * cg + item % cg;
        float *dw = job->out + item * taps;
        memset(dw, 0, (size_t)taps * sizeof *dw);
        for (int64_t n = 0; n < g->n; n++) {
            const float *x = job->in + n * g->h * g->w * g->c + c;
            const float *dy = job->w + n * g->oh * g->ow * g->o + o;
            for (int64_t t = 0; t < taps; t++)
                dw[t] += tap_product(g, x, dy, t / g->kw, t % g->kw);
        }
    }
}

static void bias_sums(void *context, int64_t begin, int64_t end, int thread) {
    const task *job = context;
    const sm_conv2d *g = job->g;
    (void)thread;
    for (int64_t o = begin; o < end; o++) {
        double sum = 0.0;
        for (int64_t n = 0; n < g->n; n++) {
            const float *dy = job->w + n * g->oh * g->ow * g->o + o;
            for (int64_t i = 0; i < g->oh * g->ow; i++)
                sum += dy[i * g->o];
        }
        job->dbias[o] = (float)sum;
    }
}

void sm_conv2d_backward_weight_ref(const sm_conv2d *g, const float *x, const float *dy,
                                   float *dw, float *dbias) {
    task j = {.g = g, .in = x, .w = dy, .out = dw, .dbias = dbias};
    sm_parallel_for(g->o * (g->c / g->groups), 1, weight_planes, &j);
    if (dbias)
        sm_parallel_for(g->o, 1, bias_sums, &j);
}
