/* resize.h: separable resizing of planes. A plan holds the weights for both axes; strips
 * of output rows are independent of each other. */
#ifndef SM_IMAGE_RESIZE_H
#define SM_IMAGE_RESIZE_H

#include "base/status.h"
#include "kernels/resample.h"
#include "tensor/tensor.h"

typedef enum sm_resize_mode {
    SM_RESIZE_AREA,     /* each pixel is the mean of the area it covers, parts of pixels
                           counted as parts */
    SM_RESIZE_BILINEAR, /* pixel centres at (i + 0.5) / scale - 0.5, as PyTorch's
                           align_corners = false */
    SM_RESIZE_BILINEAR_ANTIALIAS, /* the triangle as wide as a new pixel when shrinking */
    SM_RESIZE_BICUBIC,            /* Keys 1981 with a = -0.75, as PyTorch's */
    SM_RESIZE_BICUBIC_ANTIALIAS,  /* with a = -0.5, as wide as a new pixel when shrinking,
                                     as Pillow's */
    SM_RESIZE_NEAREST,            /* pixel floor(i / scale), as PyTorch's */
    SM_RESIZE_NEAREST_EXACT       /* pixel floor((i + 0.5) / scale) */
} sm_resize_mode;

typedef struct sm_resize_plan {
    sm_axis rows, cols;
    int64_t in_row, out_row; /* floats of a row under way */
} sm_resize_plan;

/* Sizes from 1 to 2^20. Bytes of the block that sm_resize_prepare fills and the plan then
 * points into. */
size_t sm_resize_plan_bytes(sm_resize_mode mode, int64_t h, int64_t w, int64_t oh,
                            int64_t ow);
void sm_resize_prepare(sm_resize_plan *plan, void *block, sm_resize_mode mode, int64_t h,
                       int64_t w, int64_t oh, int64_t ow);
/* Floats of room that a strip needs. */
size_t sm_resize_work(const sm_resize_plan *plan);
/* Rows y .. y + n - 1 of a plane [oh, ow], dense, of a plane of the same dtype (SM_U8:
 * rounded; SM_F32) whose rows are `row` elements apart; n is at most what
 * sm_resample_table()->lanes says. */
void sm_resize_strip(const sm_resize_plan *plan, sm_dtype dtype, const void *from,
                     int64_t row, void *to, int64_t y, int64_t n, float *work);

/* Planes [planes, h, w] -> [planes, oh, ow], contiguous, on all threads. SM_ENOMEM is the
 * only failure. */
sm_status sm_resize(sm_resize_mode mode, sm_dtype dtype, const void *x, int64_t planes,
                    int64_t h, int64_t w, void *y, int64_t oh, int64_t ow, sm_error *err);

#endif
