/* conv2d.c: which algorithm a convolution takes. See conv2d.h.
 *
 * The candidates are asked in order, special cases first; the first that suits a shape
 * and a pass does it. The plain loops suit everything.
 */
#include "kernels/conv2d.h"

#include <string.h>

#include "base/pool.h"
#include "kernels/conv2d_blocked.h"

typedef struct candidate {
    const char *name;
    bool (*suits)(const sm_conv2d *g, sm_conv2d_pass pass);
    sm_status (*forward)(const sm_conv2d *g, const float *x, const float *w,
                         const sm_conv2d_finish *finish, float *y, sm_error *err);
    sm_status (*backward_data)(const sm_conv2d *g, const float *dy, const float *w,
                               float *dx, sm_error *err);
    sm_status (*backward_weight)(const sm_conv2d *g, const float *x, const float *dy,
                                 float *dw, float *dbias, sm_error *err);
} candidate;

/* ---- the plain loops
 * ------------------------------------------------------------------------ */

static bool anything(const sm_conv2d *g, sm_conv2d_pass pass) {
    (void)g;
    (void)pass;
    return true;
}

static sm_status plain_forward(const sm_conv2d *g, const float *x, const float *w,
                               const sm_conv2d_finish *finish, float *y, sm_error *err) {
    (void)err;
    sm_conv2d_forward_ref(g, x, w, finish, y);
    return SM_OK;
}

static sm_status plain_backward_data(const sm_conv2d *g, const float *dy, const float *w,
                                     float *dx, sm_error *err) {
    (void)err;
    sm_conv2d_backward_data_ref(g, dy, w, dx);
    return SM_OK;
}

static sm_status plain_backward_weight(const sm_conv2d *g, const float *x,
                                       const float *dy, float *dw, float *dbias,
                                       sm_error *err) {
    (void)err;
    sm_conv2d_backward_weight_ref(g, x, dy, dw, dbias);
    return SM_OK;
}

/* ---- implicit GEMM
 * -------------------------------------------------------------------------- */

/* A strip is addressed in 32 bits; shapes without work go to the plain loops, and so do
 * steps and borders so wide that a strip would be mostly nothing. */
static bool blocked(const sm_conv2d *g, sm_conv2d_pass pass) {
    if (!g->n || !g->c || !g->o || !g->h || !g->w || !g->oh || !g->ow || !g->kh || !g->kw)
        return false;
    double rows = (double)g->dilation_h * (double)g->kh + (double)g->stride_h;
    double columns = (double)g->w + 2.0 * (double)g->pad_w +
                     (double)g->dilation_w * (double)g->kw + (double)g->stride_w;
    double channels = (double)(g->c > g->o ? g->c : g->o) + 64.0;
    return pass >= SM_CONV2D_FORWARD && rows * columns * channels < (double)(1 << 28);
}

/* ---- depthwise
 * ------------------------------------------------------------------------------ */

static bool depthwise(const sm_conv2d *g, sm_conv2d_pass pass) {
    return g->c == g->groups && g->o == g->groups && g->c > 1 && blocked(g, pass) &&
           (double)(g->h + 2 * g->pad_h) * (double)(g->w + 2 * g->pad_w) <
               (double)(1 << 26);
}

/* ---- Winograd
 * ------------------------------------------------------------------------------- */

enum {
    WINOGRAD_CHANNELS = 16,       /* fewer: the transforms cost more than they save */
    WINOGRAD_KERNEL = 16,         /* as large as conv2d_columns takes */
    WINOGRAD_TILES = 16,          /* to a thread; fewer do not pay for larger weights */
    WINOGRAD_GRADIENT_TILES = 40, /* the same for dw: its sums are larger as well */
    WINOGRAD_GRADIENT = 9 << 16   /* more weights: the sums of dw outgrow the caches */
};

static bool winograd(const sm_conv2d *g, sm_conv2d_pass pass) {
    bool data = pass == SM_CONV2D_BACKWARD_DATA,
         weight = pass == SM_CONV2D_BACKWARD_WEIGHT;
    double pixels = data ? (double)g->h * (double)g->w : (double)g->oh * (double)g->ow;
    double weights = (double)g->c * (double)g->o * (double)g->kh * (double)g->kw;
    double tiles = (double)g->n * pixels * sm_conv2d_winograd_products(g->kh) / 36.0;
    return g->kh == g->kw && g->kh >= 3 && g->kh <= WINOGRAD_KERNEL && g->stride_h == 1 &&
           g->stride_w == 1 && g->dilation_h == 1 && g->dilation_w == 1 &&
           g->groups == 1 && g->pad_h < g->kh && g->pad_w < g->kh &&
           g->c >= WINOGRAD_CHANNELS && g->o >= WINOGRAD_CHANNELS && blocked(g, pass) &&
           tiles > (weight ? WINOGRAD_GRADIENT_TILES : WINOGRAD_TILES) * sm_threads() &&
           (!weight || weights <= WINOGRAD_GRADIENT);
}

static const candidate candidates[] = {
    {"depthwise", depthwise, sm_conv2d_depthwise_forward,
     sm_conv2d_depthwise_backward_data, sm_conv2d_depthwise_backward_weight},
    {"Winograd", winograd, sm_conv2d_winograd_forward, sm_conv2d_winograd_backward_data,
     sm_conv2d_winograd_backward_weight},
    {"implicit GEMM", blocked, sm_conv2d_blocked_forward, sm_conv2d_blocked_backward_data,
     sm_conv2d_blocked_backward_weight},
    {"plain loops", anything, plain_forward, plain_backward_data, plain_backward_weight},
};

static const candidate *choose(const sm_conv2d *g, sm_conv2d_pass pass) {
    const candidate *c = candidates;
    while (!c->suits(g, pass))
        c++;
    return c;
}

sm_status sm_conv2d_forward(const sm_conv2d *g, const float *x, const float *w,
                            const sm_conv2d_finish *finish, float *y, sm_error *err) {
    return choose(g, SM_CONV2D_FORWARD)->forward(g, x, w, finish, y, err);
}

sm_status sm_conv2d_backward_data(const sm_conv2d *g, const float *dy, const float *w,
                                  float *dx, sm_error *err) {
    return choose(g, SM_CONV2D_BACKWARD_DATA)->backward_data(g, dy, w, dx, err);
}

sm_status sm_conv2d_backward_weight(const sm_conv2d *g, const float *x, const float *dy,
                                    float *dw, float *dbias, sm_error *err) {
    return choose(g, SM_CONV2D_BACKWARD_WEIGHT)
        ->backward_weight(g, x, dy, dw, dbias, err);
}

const char *sm_conv2d_algorithm(const sm_conv2d *g, sm_conv2d_pass pass) {
    return choose(g, pass)->name;
}
