/* reader.h: decoded pictures as planes of the size, kind and colours that are wanted.
 *
 *     sm_form form = {.channels = 1, .height = 28, .width = 28, .limits = ...};
 *     sm_image image;
 *     if (sm_image_read(path, form.channels, &form.limits, &image, &err) == SM_OK)
 *         status = sm_form_fill(&form, &image, NULL, out, &err);
 *     sm_image_free(&image);
 */
#ifndef SM_IMAGE_READER_H
#define SM_IMAGE_READER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "image/decode.h"
#include "image/resize.h"

enum { SM_FORM_SIDE = 1 << 16 }; /* the largest height or width that is made */

typedef enum sm_fill {
    SM_FILL_BYTES,  /* uint8 from 0 to 255 */
    SM_FILL_FLOATS, /* float32 from 0 to 1 */
    SM_FILL_ROUNDED /* float32 of what SM_FILL_BYTES gives, times 1 / 255 */
} sm_fill;

typedef struct sm_form {
    int channels; /* 1 (grey) or 3 (RGB) */
    sm_fill fill;
    bool invert;           /* 255 - x */
    int64_t height, width; /* 0: as the picture is */
    sm_resize_mode mode;
    sm_image_limits limits;
} sm_form;

/* The first plan that was made, for the pictures of one size that come one after the
 * other, on any number of threads. Starts as {NULL}. */
typedef struct sm_plan_cache {
    _Atomic(struct sm_kept_plan *) kept;
} sm_plan_cache;

void sm_plan_cache_free(sm_plan_cache *cache);

/* Writes the picture to `out`, [channels, height, width] bytes or floats, resized where
 * the form has a size. `cache` may be NULL. SM_ENOMEM is the only failure. */
sm_status sm_form_fill(const sm_form *form, const sm_image *image, sm_plan_cache *cache,
                       void *out, sm_error *err);

#endif
