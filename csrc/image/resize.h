/* resize.h: separable resizing of planes [planes, h, w] -> [planes, oh, ow], contiguous
 * float32. */
#ifndef SM_IMAGE_RESIZE_H
#define SM_IMAGE_RESIZE_H

#include <stdint.h>

#include "base/status.h"

typedef enum sm_resize_mode {
    SM_RESIZE_AREA,     /* each pixel is the mean of the area it covers, parts of pixels
                           counted as parts */
    SM_RESIZE_BILINEAR, /* pixel centres at (i + 0.5) / scale - 0.5, as PyTorch's
                           align_corners = false */
    SM_RESIZE_BILINEAR_ANTIALIAS /* the triangle as wide as a new pixel when shrinking */
} sm_resize_mode;

/* SM_ENOMEM is the only failure. h, w, oh, ow are at least 1. */
sm_status sm_resize(sm_resize_mode mode, const float *x, int64_t planes, int64_t h,
                    int64_t w, float *y, int64_t oh, int64_t ow, sm_error *err);

#endif
