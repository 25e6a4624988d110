/* augment.c: see augment.h. */
#include "image/augment.h"

#include <math.h>

static double draw(const sm_range *r, sm_rng *rng, double nothing) {
    double chance = sm_rng_uniform(rng), where = sm_rng_uniform(rng);
    return chance < r->p ? r->low + (r->high - r->low) * where : nothing;
}

void sm_affine_draw(const sm_affine_ranges *r, sm_rng *rng, int64_t h, int64_t w,
                    double map[6]) {
    double angle = draw(&r->rotation, rng, 0) * M_PI / 180;
    double hx = draw(&r->shear, rng, 0), hy = draw(&r->shear, rng, 0);
    double sx = draw(&r->scale, rng, 1), sy = draw(&r->scale, rng, 1);
    double tx = draw(&r->translation, rng, 0), ty = draw(&r->translation, rng, 0);
    double cosine = cos(angle), sine = sin(angle);
    /* forward = R [[1, hx], [hy, 1]] diag(sx, sy) */
    double a = (cosine - sine * hy) * sx, b = (cosine * hx - sine) * sy;
    double c = (sine + cosine * hy) * sx, d = (sine * hx + cosine) * sy;
    double det = a * d - b * c;
    if (fabs(det) < 1e-6) /* shears that flatten the image: leave it as it is */
        a = d = det = 1, b = c = 0;
    double cx = (double)(w - 1) / 2, cy = (double)(h - 1) / 2;
    map[0] = d / det;
    map[1] = -b / det;
    map[3] = -c / det;
    map[4] = a / det;
    map[2] = cx - map[0] * (cx + tx) - map[1] * (cy + ty);
    map[5] = cy - map[3] * (cx + tx) - map[4] * (cy + ty);
}
