/* act_points.c: changes of colours, pixel by pixel: a chain of them in one pass, over
 * pieces of rows that stay in the cache as floats. See run.h. */
#include <math.h>
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

/* Pixels x .. x + n - 1 of a row, as they appear, as floats: where they lie, or in
 * `room`.
 */
static const float *load(const sm_view *v, int64_t c, int64_t y, int64_t x, int64_t n,
                         float *room) {
    const sm_pixels *k = sm_pixels_table();
    const char *from = pixel_of(v, c, y, v->mirror ? v->w - x - n : x);
    uint8_t turned[PIECE];
    if (v->dtype == SM_F32 && !v->mirror)
        return (const float *)from;
    if (v->dtype == SM_F32) {
        k->reverse_f32(room, (const float *)from, n);
        return room;
    }
    if (v->mirror)
        k->reverse_u8(turned, (const uint8_t *)from, n);
    k->from_u8(room, v->mirror ? turned : (const uint8_t *)from, n);
    return room;
}

/* ---- the mean of the grey picture ---- */

static double plane_sum(const sm_view *v, int64_t c) {
    const sm_pixels *k = sm_pixels_table();
    double sum = 0;
    for (int64_t y = 0; y < v->h; y++)
        sum += v->dtype == SM_U8 ? k->sum_u8((const uint8_t *)pixel_of(v, c, y, 0), v->w)
                                 : k->sum_f32((const float *)pixel_of(v, c, y, 0), v->w);
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

static sm_line line_of(const chain *c, const sm_point *p, int64_t channel) {
    const float a = value(&p->a, channel), b = value(&p->b, channel);
    if (p->kind == SM_POINT_CONTRAST)
        return (sm_line){a, (1 - a) * c->mean, p->low, p->high};
    return (sm_line){a, b, p->low, p->high};
}

/* A change of one channel. `line` counts the rows of all channels. */
static void change_one(chain *c, const sm_point *p, int64_t channel, int64_t line,
                       int64_t x, int64_t n, float *out, const float *in) {
    if (p->kind == SM_POINT_LINEAR || p->kind == SM_POINT_CONTRAST) {
        c->k->line_f32(out, in, n, line_of(c, p, channel));
    } else if (p->kind == SM_POINT_GAMMA) {
        c->k->gamma(out, in, n, p->a.v[0], p->b.v[0], p->high);
    } else {
        const int64_t blocks = (c->v->w + PIECE) / PIECE * (PIECE / 4); /* of a row */
        c->k->normal(c->noise, n, p->rng.key,
                     p->rng.counter + (uint64_t)(line * blocks + x / 4));
        c->k->add_noise(out, in, c->noise, n, p->b.v[0],
                        (sm_line){1, p->a.v[0], p->low, p->high});
    }
}

static bool is_joint(sm_point_kind kind) {
    return kind == SM_POINT_SATURATION || kind == SM_POINT_HUE || kind == SM_POINT_GREY ||
           kind == SM_POINT_SPREAD;
}

static void spread(float *const out[3], const float *from, int64_t n) {
    for (int i = 0; i < 3; i++)
        if (out[i] != from)
            memcpy(out[i], from, (size_t)n * sizeof *from);
}

/* A change of three channels together. */
static void change_all(const chain *c, const sm_point *p, int64_t n, float *const out[3],
                       const float *const in[3]) {
    if (p->kind == SM_POINT_SATURATION) {
        c->k->saturate(out, in, n, p->a.v[0], p->high);
    } else if (p->kind == SM_POINT_HUE) {
        c->k->hue(out, in, n, p->a.v[0]);
    } else if (p->kind == SM_POINT_GREY) {
        c->k->grey(out[0], in, n);
        if (p->channels == 3)
            spread(out, out[0], n);
    } else {
        spread(out, in[0], n);
    }
}

static int channels_after(const sm_point *p, int channels) {
    return p->kind == SM_POINT_GREY     ? p->channels
           : p->kind == SM_POINT_SPREAD ? 3
                                        : channels;
}

/* The piece of all channels through the chain, into to[0 .. 2]; those of the view are at
 * most 3. */
static void run_joint(chain *c, int64_t y, int64_t x, int64_t n, float *const to[3]) {
    float *const room[3] = {c->x[0], c->x[1], c->x[2]};
    const float *in[3] = {NULL};
    int channels = (int)c->v->c;
    for (int i = 0; i < channels; i++)
        in[i] = load(c->v, i, y, x, n, room[i]);
    for (int j = 0; j < c->points->n; j++) {
        const sm_point *p = &c->points->point[j];
        float *const *out = j + 1 < c->points->n ? room : to;
        if (is_joint(p->kind))
            change_all(c, p, n, out, in);
        channels = channels_after(p, channels);
        for (int i = 0; i < channels && !is_joint(p->kind); i++)
            change_one(c, p, i, i * c->v->h + y, x, n, out[i], in[i]);
        for (int i = 0; i < channels; i++)
            in[i] = out[i];
    }
}

static void run_alone(chain *c, int64_t channel, int64_t y, int64_t x, int64_t n,
                      float *to) {
    const float *in = load(c->v, channel, y, x, n, c->x[0]);
    for (int j = 0; j < c->points->n; j++) {
        float *out = j + 1 < c->points->n ? c->x[0] : to;
        change_one(c, &c->points->point[j], channel, channel * c->v->h + y, x, n, out,
                   in);
        in = out;
    }
}

/* A piece of every channel, to where it belongs: floats at once, bytes by way of `room`.
 */
static void run_piece(chain *c, const sm_run *r, bool joint, void *to, int64_t y,
                      int64_t x, int64_t n) {
    float room[3][PIECE], *out[3];
    const int64_t at = y * c->v->w + x, plane = r->h * r->w;
    const bool bytes = r->dtype == SM_U8;
    for (int i = 0; i < 3 && joint; i++)
        out[i] = bytes || i >= r->c ? room[i] : (float *)to + i * plane + at;
    if (joint)
        run_joint(c, y, x, n, out);
    for (int64_t i = 0; i < r->c; i++) {
        float *one = joint ? out[i] : bytes ? room[0] : (float *)to + i * plane + at;
        if (!joint)
            run_alone(c, i, y, x, n, one);
        if (bytes)
            c->k->to_u8((uint8_t *)to + i * plane + at, one, n);
    }
}

/* ---- one line of all pixels: no room under way ---- */

static void run_line(const chain *c, const sm_run *r, void *to) {
    const sm_view *v = c->v;
    for (int64_t i = 0; i < v->c; i++)
        for (int64_t y = 0; y < v->h; y++) {
            const sm_line l = line_of(c, &c->points->point[0], i);
            const int64_t at = (i * v->h + y) * v->w;
            const char *from = pixel_of(v, i, y, 0);
            if (v->dtype == SM_F32)
                c->k->line_f32((float *)to + at, (const float *)from, v->w, l);
            else if (r->dtype == SM_U8 && l.a == -1 && l.b == 255)
                c->k->invert_u8((uint8_t *)to + at, (const uint8_t *)from, v->w);
            else if (r->dtype == SM_U8)
                c->k->line_u8((uint8_t *)to + at, (const uint8_t *)from, v->w, l);
            else
                c->k->line_from_u8((float *)to + at, (const uint8_t *)from, v->w, l);
        }
}

static bool is_line(const chain *c, const sm_run *r) {
    const sm_point_kind kind = c->points->point[0].kind;
    return c->points->n == 1 && (kind == SM_POINT_LINEAR || kind == SM_POINT_CONTRAST) &&
           !c->v->mirror && (c->v->dtype == SM_U8 || r->dtype == SM_F32);
}

/* Rows that follow each other are one long row. */
static void join_rows(sm_view *v) {
    if (v->mirror || v->row != v->w)
        return;
    v->w = v->h * v->w;
    v->h = 1;
}

sm_status sm_act_points(sm_run *r, void *to) {
    sm_view v = r->view;
    chain c;
    bool joint = false;
    c.points = &r->act.u.points;
    c.v = &v;
    c.k = sm_pixels_table();
    for (int j = 0; j < c.points->n; j++)
        joint = joint || is_joint(c.points->point[j].kind);
    join_rows(&v);
    if (c.points->point[0].kind == SM_POINT_CONTRAST)
        c.mean = grey_mean(&v);
    if (is_line(&c, r)) {
        run_line(&c, r, to);
        return SM_OK;
    }
    for (int64_t y = 0; y < v.h; y++)
        for (int64_t x = 0; x < v.w; x += PIECE)
            run_piece(&c, r, joint, to, y, x, v.w - x < PIECE ? v.w - x : PIECE);
    return SM_OK;
}
