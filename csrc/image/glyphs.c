/* glyphs.c: strokes are Catmull-Rom curves (Catmull and Rom 1974) through control points
 * that wander over the unit square; a pixel's ink is how much a round pen along the curve
 * covers of it, from the distance of its centre to the curve. See glyphs.h. */
#include "image/glyphs.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/rng.h"

enum { MAX_STROKES = 4, MAX_POINTS = 6, STEPS = 10 };

typedef struct point {
    double x, y;
} point;

typedef struct glyph {
    int strokes;
    int points[MAX_STROKES];
    point at[MAX_STROKES][MAX_POINTS];
} glyph;

static double between(sm_rng *rng, double low, double high) {
    return low + (high - low) * sm_rng_uniform(rng);
}

/* Turns back at the edges. */
static double inside(double x) {
    x = x < 0 ? -x : x > 1 ? 2 - x : x;
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* A pen's walk: each point some way on, in a direction that turns. */
static int draw_stroke(sm_rng *rng, point *at) {
    int points = 3 + (int)sm_rng_below(rng, 4);
    double heading = between(rng, 0, 2 * M_PI), turn = between(rng, -1.2, 1.2);
    double step = between(rng, 0.25, 0.5);
    at[0] = (point){between(rng, 0.05, 0.95), between(rng, 0.05, 0.95)};
    for (int i = 1; i < points; i++) {
        at[i].x = inside(at[i - 1].x + step * cos(heading));
        at[i].y = inside(at[i - 1].y + step * sin(heading));
        heading += turn + between(rng, -0.9, 0.9);
        if (sm_rng_uniform(rng) < 0.2)
            turn = -turn;
    }
    return points;
}

/* Moves and scales the strokes so that they fill the unit square one way, and are centred
 * in it. */
static void fill_square(glyph *made) {
    point low = {1, 1}, high = {0, 0};
    for (int s = 0; s < made->strokes; s++)
        for (int i = 0; i < made->points[s]; i++) {
            const point *p = &made->at[s][i];
            low = (point){fmin(low.x, p->x), fmin(low.y, p->y)};
            high = (point){fmax(high.x, p->x), fmax(high.y, p->y)};
        }
    double extent = fmax(fmax(high.x - low.x, high.y - low.y), 0.3);
    for (int s = 0; s < made->strokes; s++)
        for (int i = 0; i < made->points[s]; i++) {
            point *p = &made->at[s][i];
            p->x = 0.5 + (p->x - (low.x + high.x) / 2) / extent;
            p->y = 0.5 + (p->y - (low.y + high.y) / 2) / extent;
        }
}

static glyph draw_class(const sm_glyphs *g, int64_t class) {
    glyph made;
    sm_rng root, rng;
    sm_rng_seed(&root, g->seed);
    rng = sm_rng_stream(&root, (uint64_t) class);
    made.strokes = 1 + (int)sm_rng_below(&rng, 3) + (sm_rng_uniform(&rng) < 0.3);
    for (int s = 0; s < made.strokes; s++)
        made.points[s] = draw_stroke(&rng, made.at[s]);
    fill_square(&made);
    return made;
}

/* Where a point of the unit square comes to lie in pixels. */
typedef struct hand {
    double a, b, c, d, x, y;
    double pen; /* half its width, in pixels */
} hand;

static hand draw_hand(const sm_glyphs *g, sm_rng *rng) {
    double j = g->jitter, size = (double)g->size;
    double angle = j * between(rng, -0.2, 0.2), slant = j * between(rng, -0.25, 0.25);
    double sx = 1 + j * between(rng, -0.18, 0.18), sy = 1 + j * between(rng, -0.18, 0.18);
    double tx = j * between(rng, -0.07, 0.07), ty = j * between(rng, -0.07, 0.07);
    double extent = 0.68 * size, cosine = cos(angle), sine = sin(angle);
    hand h = {extent * sx * cosine,
              extent * sy * (slant * cosine - sine),
              extent * sx * sine,
              extent * sy * (slant * sine + cosine),
              size * (0.5 + tx) - 0.5,
              size * (0.5 + ty) - 0.5,
              size * between(rng, 0.018, 0.018 + 0.014 * j)};
    return h;
}

static point place(const hand *h, point p) {
    double x = p.x - 0.5, y = p.y - 0.5;
    return (point){h->a * x + h->b * y + h->x, h->c * x + h->d * y + h->y};
}

static double segment_distance(point p, point a, point b) {
    double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    double t = length > 0 ? ((p.x - a.x) * dx + (p.y - a.y) * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

static int64_t clamp_pixel(double x, int64_t size) {
    return x < 0 ? 0 : x > (double)(size - 1) ? size - 1 : (int64_t)x;
}

static void ink_segment(float *image, int64_t size, point a, point b, double pen) {
    double reach = pen + 1;
    int64_t left = clamp_pixel(fmin(a.x, b.x) - reach, size);
    int64_t right = clamp_pixel(fmax(a.x, b.x) + reach + 1, size);
    int64_t top = clamp_pixel(fmin(a.y, b.y) - reach, size);
    int64_t bottom = clamp_pixel(fmax(a.y, b.y) + reach + 1, size);
    for (int64_t y = top; y <= bottom; y++)
        for (int64_t x = left; x <= right; x++) {
            double ink =
                pen + 0.5 - segment_distance((point){(double)x, (double)y}, a, b);
            float covered = ink > 1 ? 1 : (float)ink;
            if (covered > image[y * size + x])
                image[y * size + x] = covered;
        }
}

/* The curve between b and c, at t from 0 to 1. */
static point catmull_rom(point a, point b, point c, point d, double t) {
    double t2 = t * t, t3 = t2 * t;
    double wa = -t3 + 2 * t2 - t, wb = 3 * t3 - 5 * t2 + 2, wc = -3 * t3 + 4 * t2 + t,
           wd = t3 - t2;
    return (point){0.5 * (wa * a.x + wb * b.x + wc * c.x + wd * d.x),
                   0.5 * (wa * a.y + wb * b.y + wc * c.y + wd * d.y)};
}

static void ink_stroke(float *image, int64_t size, const point *at, int points,
                       double pen) {
    for (int i = 0; i + 1 < points; i++) {
        point a = at[i ? i - 1 : 0], b = at[i], c = at[i + 1],
              d = at[i + 2 < points ? i + 2 : i + 1];
        point from = b;
        for (int s = 1; s <= STEPS; s++) {
            point to = catmull_rom(a, b, c, d, (double)s / STEPS);
            ink_segment(image, size, from, to, pen);
            from = to;
        }
    }
}

static void draw_sample(const sm_glyphs *g, int64_t class, int64_t sample, float *image) {
    glyph made = draw_class(g, class);
    sm_rng root, rng;
    sm_rng_seed(&root, ~g->seed);
    rng = sm_rng_stream(&root, (uint64_t) class);
    rng = sm_rng_stream(&rng, (uint64_t)sample);
    hand h = draw_hand(g, &rng);
    memset(image, 0, (size_t)(g->size * g->size) * sizeof *image);
    for (int s = 0; s < made.strokes; s++) {
        point shift = {0.03 * g->jitter * sm_rng_normal(&rng),
                       0.03 * g->jitter * sm_rng_normal(&rng)};
        for (int i = 0; i < made.points[s]; i++) {
            point p = made.at[s][i];
            p.x += shift.x + 0.03 * g->jitter * sm_rng_normal(&rng);
            p.y += shift.y + 0.03 * g->jitter * sm_rng_normal(&rng);
            made.at[s][i] = place(&h, p);
        }
        ink_stroke(image, g->size, made.at[s], made.points[s], h.pen);
    }
}

typedef struct job {
    const sm_glyphs *g;
    const int64_t *classes, *samples;
    float *out;
} job;

static void draw_some(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        draw_sample(j->g, j->classes[i], j->samples[i],
                    j->out + i * j->g->size * j->g->size);
}

void sm_glyphs_draw(const sm_glyphs *g, int64_t n, const int64_t *classes,
                    const int64_t *samples, float *out) {
    job j = {g, classes, samples, out};
    sm_parallel_for(n, 1, draw_some, &j);
}
