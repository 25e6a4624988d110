/* augment.c: see augment.h. */
#include "image/augment.h"

#include <math.h>

#include "base/pool.h"

typedef struct job {
    const sm_batch *b;
    const float *x;
    float *y;
    const double (*maps)[6];
    float fill;
} job;

static float at(const float *plane, const sm_batch *b, int64_t row, int64_t col,
                float fill) {
    return row >= 0 && row < b->h && col >= 0 && col < b->w ? plane[row * b->w + col]
                                                            : fill;
}

static float sample(const float *plane, const sm_batch *b, double x, double y,
                    float fill) {
    /* Also false for NaN and for what does not fit an integer. */
    if (!(x > -1 && y > -1 && x < (double)b->w && y < (double)b->h))
        return fill;
    double fx = floor(x), fy = floor(y);
    int64_t col = (int64_t)fx, row = (int64_t)fy;
    float u = (float)(x - fx), v = (float)(y - fy);
    float a, c, d, e;
    if (col >= 0 && row >= 0 && col + 1 < b->w && row + 1 < b->h) {
        const float *p = plane + row * b->w + col;
        a = p[0], c = p[1], d = p[b->w], e = p[b->w + 1];
    } else {
        a = at(plane, b, row, col, fill), c = at(plane, b, row, col + 1, fill);
        d = at(plane, b, row + 1, col, fill), e = at(plane, b, row + 1, col + 1, fill);
    }
    float top = a + u * (c - a), low = d + u * (e - d);
    return top + v * (low - top);
}

static void warp_images(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_batch *b = j->b;
    (void)thread;
    for (int64_t n = begin; n < end; n++)
        for (int64_t c = 0; c < b->c; c++) {
            const double *m = j->maps[n];
            const float *plane = j->x + (n * b->c + c) * b->h * b->w;
            float *out = j->y + (n * b->c + c) * b->h * b->w;
            for (int64_t row = 0; row < b->h; row++)
                for (int64_t col = 0; col < b->w; col++)
                    *out++ =
                        sample(plane, b, m[0] * (double)col + m[1] * (double)row + m[2],
                               m[3] * (double)col + m[4] * (double)row + m[5], j->fill);
        }
}

void sm_warp_affine(const sm_batch *b, const float *x, float *y, const double (*maps)[6],
                    float fill) {
    job j = {b, x, y, maps, fill};
    sm_parallel_for(b->n, 1 + 4096 / (b->c * b->h * b->w + 1), warp_images, &j);
}

static double draw(const sm_range *r, sm_rng *rng, double nothing) {
    double chance = sm_rng_uniform(rng), where = sm_rng_uniform(rng);
    return chance < r->p ? r->low + (r->high - r->low) * where : nothing;
}

void sm_affine_draw(const sm_affine_ranges *r, const sm_rng *rng, int64_t number,
                    int64_t h, int64_t w, double map[6]) {
    sm_rng own = sm_rng_stream(rng, (uint64_t)number);
    double angle = draw(&r->rotation, &own, 0) * M_PI / 180;
    double hx = draw(&r->shear, &own, 0), hy = draw(&r->shear, &own, 0);
    double sx = draw(&r->scale, &own, 1), sy = draw(&r->scale, &own, 1);
    double tx = draw(&r->translation, &own, 0), ty = draw(&r->translation, &own, 0);
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
