/* conv2d_blocked.h: the interface between the implicit-GEMM convolution
 * (conv2d_blocked.c, which plans, cuts and counts) and its inner loops
 * (conv2d_blocked_impl.h, compiled once per instruction set). Internal to the kernels.
 *
 * Images lie with the channels of a pixel together, so that a vector holds neighbouring
 * output channels and an input value is broadcast. No column matrix is ever built: a tile
 * of a few output pixels keeps its sums in registers while it walks over taps and
 * channels.
 */
#ifndef SM_KERNELS_CONV2D_BLOCKED_H
#define SM_KERNELS_CONV2D_BLOCKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/conv2d.h"

enum {
    CONV2D_LANES = 64
}; /* the widest block of output channels, of any instruction set */

/* Where one output pixel finds its source (floats from the start of the source) and its
 * sums (floats from the start of the sums). */
typedef struct conv2d_pixel {
    int32_t src, dst;
} conv2d_pixel;

/* sums[pixel][lane] (+)= sum over tap t, r < run of src[pixel.src + tap[t] + r] *
 * w[t][r][lane] */
typedef struct conv2d_tile_args {
    const float *src;
    const conv2d_pixel *pixels;
    int64_t count;
    const int32_t *tap;
    int64_t taps, run;
    const float *w;     /* [taps][tap_stride / lanes][lanes] */
    int64_t tap_stride; /* floats between the taps of w */
    float *sums;
    bool start; /* from zero; else the sums continue */
    int last;   /* lanes of the last vector that are there, 1 .. lanes_per_vector */
    /* At the end, unless scale is NULL: limits(sum * scale + bias + residual). */
    const float *scale, *bias; /* [lanes] */
    const float *residual;     /* at the places of the sums; NULL for none */
    sm_limits limits;
} conv2d_tile_args;

/* dw[t][r][lane] += sum over pixels of src[pixel.src + tap[t] + r] * dy[pixel
 * number][lane] */
typedef struct conv2d_grad_args {
    const float *src;
    const conv2d_pixel *pixels;
    int64_t count;
    const int32_t *tap;
    int64_t taps, run;
    const float *dy;
    int64_t dy_stride; /* floats between the pixels of dy */
    int last;          /* as above; the lanes that are not there get zeros */
    float *dw;         /* [taps][run][lanes] */
    float *dbias;      /* [lanes] += sum of dy, or NULL */
} conv2d_grad_args;

/* A rectangle of pixels that gather from the same taps, channel by channel. */
typedef struct conv2d_depthwise_args {
    int64_t rows, columns, channels;
    const float *src; /* what the first pixel's tap 0 would be at an offset of 0 */
    int64_t src_row, src_pixel;
    int64_t taps;
    const int32_t *tap;    /* [taps]: floats from src */
    const int32_t *weight; /* [taps]: floats from w, or from the sums */
    const float *w;
    const float *scale, *bias; /* [channels] */
    const float *residual;     /* in the places of dst; NULL for none */
    float *dst;
    int64_t dst_row, dst_pixel;
    sm_limits limits;
    const float *dy; /* of the gradient: in the place of dst */
    float *sums;
} conv2d_depthwise_args;

/* The n x n pixels that a tile of Winograd's gives; of them the first rows x columns are
 * there, with `lanes` channels. */
typedef struct conv2d_square {
    float *out;      /* forward */
    const float *in; /* back */
    int64_t row, pixel, lanes;
    int rows, columns;
    /* forward */
    const float *scale, *bias; /* [lanes in whole vectors] */
    const float *residual;     /* in the place of out, or NULL */
    sm_limits limits;
} conv2d_square;

typedef struct conv2d_kernels {
    const char *name;
    int lanes_per_vector,
        vectors; /* a block of output channels has up to their product */
    /* The two loops, for blocks of 1 .. vectors vectors (index 0 is one vector). */
    void (*tile[4])(const conv2d_tile_args *);
    void (*grad[4])(const conv2d_grad_args *);
    /* dst[c * dst_pitch + r] = src[r * src_pitch + c] */
    void (*transpose)(const float *src, int64_t src_pitch, int64_t rows, int64_t columns,
                      float *dst, int64_t dst_pitch);
    /* c[i] = sum over k < depth of a[k] * b[i * ldb + k], for up to a vector of rows. */
    void (*dots)(const float *a, const float *b, int64_t ldb, int64_t rows, int64_t depth,
                 float *c);
    /* dst[pixel][c] = limits(scale[c] * sum over t of w[weight[t] + c] * src[pixel +
     * tap[t] + c] + bias[c] + residual) */
    void (*depthwise)(const conv2d_depthwise_args *a);
    /* sums[weight[t] + c] += sum over pixels of dy[pixel][c] * src[pixel + tap[t] + c] */
    void (*depthwise_grad)(const conv2d_depthwise_args *a);
    /* Winograd's transforms, conv2d_winograd_impl.h. An array of the 36 products has
     * `step` floats from one to the next, and whole vectors. */
    /* [n * n][lanes_per_vector] to 36 vectors, and the gradient back; n is 3 .. 5. */
    void (*winograd_weights)(int n, const float *w, float *out, int64_t step);
    void (*winograd_weights_back)(int n, const float *u, int64_t step, float *dw);
    /* 6 x 6 pixels to 36; `row` and `pixel` are the floats between them. */
    void (*winograd_input)(const float *src, int64_t row, int64_t pixel, int64_t channels,
                           float *out, int64_t step);
    /* 36 to n x n pixels, and the gradient back; n is 2 .. 4. */
    void (*winograd_output)(int n, const float *m, int64_t step, const conv2d_square *a);
    void (*winograd_output_back)(int n, const conv2d_square *a, float *out, int64_t step);
} conv2d_kernels;

/* Nothing is done to the sums. */
static const sm_conv2d_finish sm_conv2d_plain = {NULL, NULL, NULL, {-INFINITY, INFINITY}};

extern const conv2d_kernels sm_conv2d_kernels_ref;
#if defined(__x86_64__)
extern const conv2d_kernels sm_conv2d_kernels_avx2, sm_conv2d_kernels_avx512;
#endif

/* The kernels of the path in use, and of these the best for a number of output channels.
 */
const conv2d_kernels *sm_conv2d_kernels_in_use(void);
const conv2d_kernels *sm_conv2d_kernels_for(int64_t channels);

sm_status sm_conv2d_blocked_forward(const sm_conv2d *g, const float *x, const float *w,
                                    const sm_conv2d_finish *finish, float *y,
                                    sm_error *err);
sm_status sm_conv2d_blocked_backward_data(const sm_conv2d *g, const float *dy,
                                          const float *w, float *dx, sm_error *err);
sm_status sm_conv2d_blocked_backward_weight(const sm_conv2d *g, const float *x,
                                            const float *dy, float *dw, float *dbias,
                                            sm_error *err);

/* conv2d_depthwise.c: c = o = groups. */
sm_status sm_conv2d_depthwise_forward(const sm_conv2d *g, const float *x, const float *w,
                                      const sm_conv2d_finish *finish, float *y,
                                      sm_error *err);
sm_status sm_conv2d_depthwise_backward_data(const sm_conv2d *g, const float *dy,
                                            const float *w, float *dx, sm_error *err);
sm_status sm_conv2d_depthwise_backward_weight(const sm_conv2d *g, const float *x,
                                              const float *dy, float *dw, float *dbias,
                                              sm_error *err);

/* conv2d_winograd.c: square kernels of 3 and more, stride, dilation and groups 1, pads
 * less than the kernel. */
/* The products that it does for an output and a source channel, where plain sums do k *
 * k. */
double sm_conv2d_winograd_products(int64_t k);
sm_status sm_conv2d_winograd_forward(const sm_conv2d *g, const float *x, const float *w,
                                     const sm_conv2d_finish *finish, float *y,
                                     sm_error *err);
sm_status sm_conv2d_winograd_backward_data(const sm_conv2d *g, const float *dy,
                                           const float *w, float *dx, sm_error *err);
sm_status sm_conv2d_winograd_backward_weight(const sm_conv2d *g, const float *x,
                                             const float *dy, float *dw, float *dbias,
                                             sm_error *err);

#endif
