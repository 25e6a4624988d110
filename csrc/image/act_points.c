/* act_points.c: changes of colours, pixel by pixel: a chain of them in one pass, over
 * pieces of rows that stay in the cache as floats. See run.h. */
#include <string.h>

#include "image/run.h"
#include "kernels/pixels.h"

enum { PIECE = 1024 }; /* pixels */

typedef struct chain {
    const sm_points *points;
    const sm_view *v;
    const sm_pixels *k;
    float mean; /* of the grey picture, for CONTRAST */
    float x[3][PIECE], noise[PIECE];
} chain;

static const char *pixel_of(const sm_view *v, int64_t c, int64_t y, int64_t x) {
    return (const char *)v->data +
           (c * v->plane + y * v->row + x) * (int64_t)sm_dtype_size(v->dtype);
}

/* Pixels x .. x + n - 1 of a row, as they appear. */
static void load(const sm_view *v, int64_t c, int64_t y, int64_t x, int64_t n,
                 float *to) {
    const sm_pixels *k = sm_pixels_table();
    const char *from = pixel_of(v, c, y, v->mirror ? v->w - x - n : x);
    uint8_t turned[PIECE];
    if (v->dtype == SM_F32) {
        if (v->mirror)
            k->reverse_f32(to, (const float *)from, n);
        else
            memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
    if (v->mirror)
        k->reverse_u8(turned, (const uint8_t *)from, n);
    k->from_u8(to, v->mirror ? turned : (const uint8_t *)from, n);
}

/* ---- the mean of the grey picture ---- */

static double plane_sum(const sm_view *v, int64_t c) {
    const sm_pixels *k = sm_pixels_table();
    float piece[PIECE];
    double sum = 0;
    for (int64_t y = 0; y < v->h; y++)
        for (int64_t x = 0; x < v->w; x += PIECE) {
            int64_t n = v->w - x < PIECE ? v->w - x : PIECE;
            if (v->dtype == SM_U8)
                k->from_u8(piece, (const uint8_t *)pixel_of(v, c, y, x), n);
            sum += k->sum(v->dtype == SM_U8 ? piece : (const float *)pixel_of(v, c, y, x),
                          n);
        }
    return sum;
}

static float grey_mean(const sm_view *v) {
    const double n = (double)(v->h * v->w);
    if (v->c == 1)
        return (float)(plane_sum(v, 0) / n);
    return (float)((0.2989 * plane_sum(v, 0) + 0.587 * plane_sum(v, 1) +
                    0.114 * plane_sum(v, 2)) /
                   n);
}

/* ---- one piece ---- */

static float value(const sm_values *v, int64_t c) {
    return v->v[v->n == 1 ? 0 : c];
}

/* A change of channel c alone, which is in c->x[i]. `line` counts the rows of all
 * channels. */
static void change_one(chain *c, const sm_point *p, int64_t channel, int i, int64_t line,
                       int64_t x, int64_t n) {
    const float a = value(&p->a, channel), b = value(&p->b, channel);
    if (p->kind == SM_POINT_LINEAR) {
        c->k->linear(c->x[i], n, a, b, p->low, p->high);
    } else if (p->kind == SM_POINT_CONTRAST) {
        c->k->linear(c->x[i], n, a, (1 - a) * c->mean, p->low, p->high);
    } else if (p->kind == SM_POINT_GAMMA) {
        c->k->gamma(c->x[i], n, a, b, p->high);
    } else {
        int64_t blocks = (c->v->w + PIECE) / PIECE * (PIECE / 4);
        c->k->normal(c->noise, n, p->rng.key,
                     p->rng.counter + (uint64_t)(line * blocks + x / 4));
        c->k->add_noise(c->x[i], c->noise, n, a, b, p->low, p->high);
    }
}

static bool is_joint(sm_point_kind kind) {
    return kind == SM_POINT_SATURATION || kind == SM_POINT_HUE || kind == SM_POINT_GREY ||
           kind == SM_POINT_SPREAD;
}

static void change_all(chain *c, const sm_point *p, int64_t n) {
    float *r = c->x[0], *g = c->x[1], *b = c->x[2];
    if (p->kind == SM_POINT_SATURATION)
        c->k->saturate(r, g, b, n, p->a.v[0], p->high);
    else if (p->kind == SM_POINT_HUE)
        c->k->hue(r, g, b, n, p->a.v[0]);
    else if (p->kind == SM_POINT_GREY)
        c->k->grey(r, r, g, b, n);
    if (p->kind == SM_POINT_SPREAD || (p->kind == SM_POINT_GREY && p->channels == 3)) {
        memcpy(g, r, (size_t)n * sizeof *g);
        memcpy(b, r, (size_t)n * sizeof *b);
    }
}

/* Channels 0 .. (all of them, at most 3) of a piece, through the whole chain. */
static void run_joint(chain *c, int64_t y, int64_t x, int64_t n) {
    int64_t channels = c->v->c;
    for (int64_t i = 0; i < channels; i++)
        load(c->v, i, y, x, n, c->x[i]);
    for (int j = 0; j < c->points->n; j++) {
        const sm_point *p = &c->points->point[j];
        if (is_joint(p->kind))
            change_all(c, p, n);
        if (p->kind == SM_POINT_GREY)
            channels = p->channels;
        else if (p->kind == SM_POINT_SPREAD)
            channels = 3;
        for (int64_t i = 0; i < channels && !is_joint(p->kind); i++)
            change_one(c, p, i, (int)i, i * c->v->h + y, x, n);
    }
}

static void run_alone(chain *c, int64_t channel, int64_t y, int64_t x, int64_t n) {
    load(c->v, channel, y, x, n, c->x[0]);
    for (int j = 0; j < c->points->n; j++)
        change_one(c, &c->points->point[j], channel, 0, channel * c->v->h + y, x, n);
}

static void store(const sm_run *r, const float *from, void *to, int64_t c, int64_t y,
                  int64_t x, int64_t n) {
    const int64_t at = (c * r->h + y) * r->w + x;
    if (r->dtype == SM_U8)
        sm_pixels_table()->to_u8((uint8_t *)to + at, from, n);
    else
        memcpy((float *)to + at, from, (size_t)n * sizeof *from);
}

/* Rows that follow each other are one long row. */
static void join_rows(sm_view *v, sm_run *r) {
    if (v->mirror || v->row != v->w)
        return;
    v->w = r->w = v->h * v->w;
    v->h = r->h = 1;
}

sm_status sm_act_points(sm_run *r, void *to) {
    sm_view v = r->view;
    sm_run joined = *r;
    chain c = {.points = &r->act.u.points, .v = &v, .k = sm_pixels_table()};
    bool joint = false, noise = false;
    for (int j = 0; j < c.points->n; j++) {
        joint = joint || is_joint(c.points->point[j].kind);
        noise = noise || c.points->point[j].kind == SM_POINT_NOISE;
    }
    if (!noise) /* whose numbers go by the row */
        join_rows(&v, &joined);
    if (c.points->point[0].kind == SM_POINT_CONTRAST)
        c.mean = grey_mean(&v);
    for (int64_t y = 0; y < v.h; y++)
        for (int64_t x = 0; x < v.w; x += PIECE) {
            int64_t n = v.w - x < PIECE ? v.w - x : PIECE;
            if (joint)
                run_joint(&c, y, x, n);
            for (int64_t i = 0; i < r->c; i++) {
                if (!joint)
                    run_alone(&c, i, y, x, n);
                store(&joined, c.x[joint ? i : 0], to, i, y, x, n);
            }
        }
    return SM_OK;
}
