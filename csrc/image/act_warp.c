/* act_warp.c: pixels from elsewhere: affine maps, perspective, elastic fields. See run.h.
 *
 * Places are found for SM_WARP_RUN pixels of a row at a time, relative to a pixel near
 * the first of them, so that single precision is enough for any picture.
 */
#include <math.h>
#include <string.h>

#include "image/run.h"
#include "kernels/pixels.h"
#include "kernels/warp.h"

/* ---- elastic fields ---- */

/* Fields first .. first + n - 1 of an elastic warp, [n, h, w], smoothed out of noise. */
static sm_status smooth(const sm_run *r, const sm_warp *w, int first, int n, float *noise,
                        float *field) {
    const int64_t plane = r->h * r->w, taps = (int64_t)(8 * w->sigma[first] + 1) | 1;
    const sm_blur blur = {{taps, taps}, {w->sigma[0], w->sigma[1]}};
    const sm_view v = {SM_F32, n, r->h, r->w, plane, r->w, false, noise};
    if (w->sigma[first] > 0)
        return sm_blur_view(&v, &blur, field, r->scratch, r->err);
    memcpy(field, noise, (size_t)(n * plane) * sizeof *field);
    return SM_OK;
}

/* The two fields [2, h, w] of an elastic warp: uniform from -1 to 1, times `alpha` / 2,
 * smoothed (Simard, Steinkraus, Platt 2003, section 4). */
static sm_status make_field(const sm_run *r, const sm_warp *w, float *noise,
                            float *field) {
    const sm_pixels *k = sm_pixels_table();
    const int64_t plane = r->h * r->w;
    for (int axis = 0; axis < 2; axis++) { /* what overruns the first is the second */
        const float scale = (float)(w->alpha[axis] / 2);
        const sm_rng rng = sm_rng_stream(&w->rng, (uint64_t)axis);
        float *one = noise + axis * plane;
        k->uniform(one, plane, rng.key, rng.counter);
        k->line_f32(one, one, plane, (sm_line){2 * scale, -scale, -INFINITY, INFINITY});
    }
    if (w->sigma[0] == w->sigma[1])
        return smooth(r, w, 0, 2, noise, field);
    sm_status status = smooth(r, w, 0, 1, noise, field);
    return status == SM_OK ? smooth(r, w, 1, 1, noise + plane, field + plane) : status;
}

static sm_status find_field(const sm_run *r, const sm_warp *w, const float **field) {
    size_t bytes;
    float *block;
    *field = w->field;
    if (!w->displaced || w->field)
        return SM_OK;
    sm_status status = sm_run_bytes(r, SM_F32, 4, r->h, r->w, &bytes);
    if (status == SM_OK) /* draws overrun by up to three floats */
        status = sm_scratch_take(r->scratch, SM_BLOCK_FIELD, bytes + 64, &block, r->err);
    if (status == SM_OK)
        status = make_field(r, w, block + 2 * r->h * r->w, block);
    *field = status == SM_OK ? block : NULL;
    return status;
}

/* ---- rows ---- */

/* The view as floats: itself, or a copy. */
static sm_status float_source(sm_run *r, sm_warp_source *s) {
    const sm_pixels *k = sm_pixels_table();
    const sm_view *v = &r->view;
    size_t bytes;
    float *copy;
    *s = (sm_warp_source){v->data,       v->plane,      (int32_t)v->row,
                          (int32_t)v->c, (int32_t)v->h, (int32_t)v->w,
                          NULL};
    if (v->dtype == SM_F32)
        return SM_OK;
    sm_status status = sm_run_bytes(r, SM_F32, v->c, v->h, v->w, &bytes);
    if (status == SM_OK)
        status = sm_scratch_take(r->scratch, SM_BLOCK_FLOATS, bytes, &copy, r->err);
    if (status != SM_OK)
        return status;
    for (int64_t c = 0; c < v->c; c++)
        for (int64_t y = 0; y < v->h; y++)
            k->from_u8(copy + (c * v->h + y) * v->w,
                       (const uint8_t *)v->data + c * v->plane + y * v->row, v->w);
    s->data = copy;
    s->plane = v->h * v->w;
    s->row = (int32_t)v->w;
    return SM_OK;
}

/* An even whole number near the place, within what the kernels take. */
static int32_t origin(double at, int32_t size) {
    if (!(at > -2))
        return -2;
    return at < size ? (int32_t)at & ~1 : size & ~1;
}

typedef struct row_maker {
    const sm_warp *w;
    double map[9];
    sm_warp_source source;
    const float *field;
    const sm_warp_kernels *k;
} row_maker;

/* n pixels from (x, y) on, of all channels, to out[c * plane]. */
static void make_run(const row_maker *m, int64_t height, int64_t width, int64_t x,
                     int64_t y, int n, float *out, int64_t plane) {
    sm_warp_places places = {.n = n};
    double from[3], step[3], across[3];
    for (int i = 0; i < 3; i++) {
        from[i] =
            m->map[3 * i] * (double)x + m->map[3 * i + 1] * (double)y + m->map[3 * i + 2];
        step[i] = m->map[3 * i];
        across[i] = m->map[3 * i + 1];
    }
    places.ox = origin(from[0] / from[2], m->source.w);
    places.oy = origin(from[1] / from[2], m->source.h);
    for (int i = 0; i < 2; i++) {
        double o = i == 0 ? places.ox : places.oy;
        from[i] -= o * from[2];
        step[i] -= o * step[2];
        across[i] -= o * across[2];
    }
    if (m->field)
        m->k->moved_line(&places, from, step, across, m->field + y * width + x,
                         m->field + (height + y) * width + x);
    else
        m->k->line(&places, from, step);
    (m->w->mode == SM_NEAREST ? m->k->nearest : m->k->bilinear)(&m->source, &places, out,
                                                                plane);
}

static void store_run(const float *from, void *to, int64_t c, int64_t plane, int64_t at,
                      int n) {
    const sm_pixels *k = sm_pixels_table();
    for (int64_t i = 0; i < c; i++)
        k->to_u8((uint8_t *)to + i * plane + at, from + i * SM_WARP_RUN, n);
}

sm_status sm_act_warp(sm_run *r, void *to) {
    const sm_warp *w = &r->act.u.warp;
    row_maker m = {.w = w, .k = sm_warp_kernels_table()};
    float *work; /* what is outside of each channel, then a run of each */
    sm_status status = find_field(r, w, &m.field);
    if (status == SM_OK)
        status = float_source(r, &m.source);
    if (status == SM_OK)
        status = sm_scratch_take(r->scratch, SM_BLOCK_ROWS,
                                 (size_t)r->c * (1 + SM_WARP_RUN) * sizeof *work, &work,
                                 r->err);
    if (status != SM_OK)
        return status;
    for (int64_t c = 0; c < r->c; c++)
        work[c] = w->fill.v[w->fill.n == 1 ? 0 : c];
    m.source.fill = work;
    memcpy(m.map, w->map, sizeof m.map);
    for (int i = 0; i < 3 && r->view.mirror; i++)
        m.map[i] = (double)(r->view.w - 1) * m.map[6 + i] - m.map[i];
    const int64_t plane = r->h * r->w;
    for (int64_t y = 0; y < r->h; y++)
        for (int64_t x = 0; x < r->w; x += SM_WARP_RUN) {
            int n = (int)(r->w - x < SM_WARP_RUN ? r->w - x : SM_WARP_RUN);
            if (r->dtype == SM_F32) {
                make_run(&m, r->h, r->w, x, y, n, (float *)to + y * r->w + x, plane);
            } else {
                make_run(&m, r->h, r->w, x, y, n, work + r->c, SM_WARP_RUN);
                store_run(work + r->c, to, r->c, plane, y * r->w + x, n);
            }
        }
    return SM_OK;
}
