/* augment.h: affine maps of batches [n, c, h, w] of float32, fixed or random. */
#ifndef SM_IMAGE_AUGMENT_H
#define SM_IMAGE_AUGMENT_H

#include <stdint.h>

#include "base/rng.h"

typedef struct sm_batch {
    int64_t n, c, h, w;
} sm_batch;

/* From an output pixel (x, y) to where it comes from: x' = m[0] x + m[1] y + m[2],
 * y' = m[3] x + m[4] y + m[5]; pixel centres have whole coordinates, from 0. Sampled
 * bilinearly; everything outside has the value `fill`. */
void sm_warp_affine(const sm_batch *b, const float *x, float *y, const double (*maps)[6],
                    float fill);

/* Drawn uniformly from [low, high] with probability p, else the component does nothing.
 */
typedef struct sm_range {
    double low, high, p;
} sm_range;

typedef struct sm_affine_ranges {
    sm_range rotation;    /* degrees */
    sm_range shear;       /* factor; drawn for x and for y */
    sm_range scale;       /* factor, above 0; for x and for y */
    sm_range translation; /* pixels; for x and for y */
} sm_affine_ranges;

/* Draws the map of sample number `sample`: about the centre, scale, then shear, then
 * rotation, then translation; given inverted, as sm_warp_affine wants it. A pure function
 * of rng and sample. */
void sm_affine_draw(const sm_affine_ranges *r, const sm_rng *rng, int64_t sample,
                    int64_t h, int64_t w, double map[6]);

#endif
