/* conv2d.h: 2-D convolution (cross-correlation, as networks use it) and its two
 * gradients.
 *
 * Arrays are dense float32, images channels-last:
 *     x, dx       [n, h, w, c]
 *     w, dw       [o, c / groups, kh, kw]
 *     dbias       [o], or NULL
 *     y, dy       [n, oh, ow, o]
 *
 *     y[n,i,j,o] = sum over c,p,q of w[o,c,p,q] *
 *                  x[n, i*stride_h + p*dilation_h - pad_h, j*stride_w + q*dilation_w -
 *                  pad_w, c]
 *
 * where x is zero outside of the image and c runs over the channels of o's group.
 *
 * The caller validates: groups divides c and o, strides, dilations and groups are at
 * least 1, pads at least 0, and oh, ow are what sm_conv2d_out() gives (so n, o, c, h and
 * w may be 0, oh and ow too). Outputs must not overlap inputs. Every function overwrites
 * its outputs, works on all of the pool's threads, and gives the same bits for the same
 * shapes, thread count and instruction set. Scratch memory is taken from sm_alloc and
 * given back before the return; SM_ENOMEM when that fails (outputs are undefined then),
 * no other failure.
 */
#ifndef SM_KERNELS_CONV2D_H
#define SM_KERNELS_CONV2D_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels/limits.h"

typedef struct sm_conv2d {
    int64_t n, c, h, w;
    int64_t o, kh, kw;
    int64_t stride_h, stride_w;
    int64_t pad_h, pad_w;
    int64_t dilation_h, dilation_w;
    int64_t groups;
    int64_t oh, ow;
} sm_conv2d;

/* Output size along one axis, 0 where the kernel does not fit into the padded input. */
static inline int64_t sm_conv2d_out(int64_t in, int64_t kernel, int64_t stride,
                                    int64_t pad, int64_t dilation) {
    int64_t room = in + 2 * pad - (dilation * (kernel - 1) + 1);
    return room < 0 ? 0 : room / stride + 1;
}

/* What is done to the sums before they are stored: y = limits(conv(x, w) * scale + bias +
 * residual). scale and bias are [o], residual is as y; NULL for none. */
typedef struct sm_conv2d_finish {
    const float *scale, *bias, *residual;
    sm_limits limits;
} sm_conv2d_finish;

sm_status sm_conv2d_forward(const sm_conv2d *g, const float *x, const float *w,
                            const sm_conv2d_finish *finish, float *y, sm_error *err);
/* dx from dy. */
sm_status sm_conv2d_backward_data(const sm_conv2d *g, const float *dy, const float *w,
                                  float *dx, sm_error *err);
/* dw and, unless NULL, dbias from x and dy, summed over the batch. */
sm_status sm_conv2d_backward_weight(const sm_conv2d *g, const float *x, const float *dy,
                                    float *dw, float *dbias, sm_error *err);

/* The plain loops of conv2d_ref.c, always: what the parity tests compare with. */
void sm_conv2d_forward_ref(const sm_conv2d *g, const float *x, const float *w,
                           const sm_conv2d_finish *finish, float *y);
void sm_conv2d_backward_data_ref(const sm_conv2d *g, const float *dy, const float *w,
                                 float *dx);
void sm_conv2d_backward_weight_ref(const sm_conv2d *g, const float *x, const float *dy,
                                   float *dw, float *dbias);

typedef enum sm_conv2d_pass {
    SM_CONV2D_FORWARD = 0,
    SM_CONV2D_BACKWARD_DATA,
    SM_CONV2D_BACKWARD_WEIGHT
} sm_conv2d_pass;

/* Name of the algorithm that a pass of this shape takes on the path in use, for
 * benchmarks. */
const char *sm_conv2d_algorithm(const sm_conv2d *g, sm_conv2d_pass pass);

#endif
