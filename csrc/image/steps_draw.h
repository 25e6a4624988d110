/* steps_draw.h: what the files that draw steps' numbers share. Internal to image/. */
#ifndef SM_IMAGE_STEPS_DRAW_H
#define SM_IMAGE_STEPS_DRAW_H

#include "image/run.h"

static inline double sm_draw_between(sm_rng *rng, const sm_interval *i) {
    return i->low + (i->high - i->low) * sm_rng_uniform(rng);
}

/* Fails, naming `what`, unless v has one value or one for each channel. */
sm_status sm_step_values(const sm_run *r, const sm_values *v, const char *what);
/* Draws a window's share of the picture from `scale` and its sides' ratio, evenly by its
 * logarithm, from `ratio`; *more is the side that grows with the ratio. */
void sm_draw_sides(const sm_run *r, sm_rng *rng, const sm_interval *scale,
                   const sm_interval *ratio, int64_t *more, int64_t *less);

sm_status sm_draw_geometry(sm_run *r, const sm_step *s, sm_rng *rng);

#endif
