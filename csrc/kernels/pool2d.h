/* pool2d.h: pooling of images [n, h, w, c] -> [n, oh, ow, c]; dense float32. */
#ifndef SM_KERNELS_POOL2D_H
#define SM_KERNELS_POOL2D_H

#include <stdbool.h>
#include <stdint.h>

enum { SM_POOL_NOWHERE = 255 };

typedef struct sm_pool2d {
    int64_t n, c, h, w, oh, ow;
    int64_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    bool count_include_pad;
} sm_pool2d;

/* The first maximum of each window; NaN wins. `where` (may be NULL) gets its place in the
 * window, row by row, or SM_POOL_NOWHERE where dilation steps over the whole image; kh *
 * kw <= 255. */
void sm_max_pool2d(const sm_pool2d *g, const float *x, float *y, uint8_t *where);
/* dx is overwritten. */
void sm_max_pool2d_backward(const sm_pool2d *g, const float *dy, const uint8_t *where,
                            float *dx);
void sm_avg_pool2d(const sm_pool2d *g, const float *x, float *y);
void sm_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx);
void sm_adaptive_avg_pool2d(const sm_pool2d *g, const float *x, float *y);
void sm_adaptive_avg_pool2d_backward(const sm_pool2d *g, const float *dy, float *dx);

#endif
