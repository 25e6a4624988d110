/* augment.h: the affine maps of siamese.augment.Affine: rotation, shear, scale and
 * translation, each drawn by itself. */
#ifndef SM_IMAGE_AUGMENT_H
#define SM_IMAGE_AUGMENT_H

#include <stdint.h>

#include "base/rng.h"

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

/* Draws a map: about the centre, scale, then shear, then rotation, then translation. It
 * is given inverted, from an output pixel (x, y) to where it comes from: x' = map[0] x +
 * map[1] y + map[2], y' = map[3] x + map[4] y + map[5]; pixel centres have whole
 * coordinates, from 0. */
void sm_affine_draw(const sm_affine_ranges *r, sm_rng *rng, int64_t h, int64_t w,
                    double map[6]);

#endif
