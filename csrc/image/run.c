/* run.c: joining and doing acts. See run.h. */
#include "image/run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static bool is_idle(const sm_run *r) {
    return r->act.kind == SM_ACT_NONE && r->act.holes == 0;
}

/* Acts that take columns as they lie: what they write is mirrored if the view is. */
static bool keeps_mirror(sm_act_kind kind) {
    return kind == SM_ACT_PLACE || kind == SM_ACT_RESIZE || kind == SM_ACT_BLUR ||
           kind == SM_ACT_STROKE;
}

sm_status sm_run_bytes(const sm_run *r, sm_dtype dtype, int64_t c, int64_t h, int64_t w,
                       size_t *bytes) {
    int64_t plane, all;
    /* Warps count a plane's pixels in 32 bits. */
    if (h <= SM_PICTURE_SIDE && w <= SM_PICTURE_SIDE && sm_mul_i64(h, w, &plane) &&
        plane <= INT32_MAX && sm_mul_i64(plane, c, &all) && all <= INT64_MAX / 8) {
        *bytes = (size_t)all * sm_dtype_size(dtype);
        return SM_OK;
    }
    return sm_fail(r->err, SM_EINVAL, 0, "%s: a picture of [%lld,%lld,%lld] is too large",
                   r->step ? r->step : "augment", (long long)c, (long long)h,
                   (long long)w);
}

static sm_status act(sm_run *r, void *to) {
    switch (r->act.kind) {
    case SM_ACT_WARP:
        return sm_act_warp(r, to);
    case SM_ACT_PLACE:
        return sm_act_place(r, to);
    case SM_ACT_RESIZE:
        return sm_act_resize(r, to);
    case SM_ACT_POINTS:
        return sm_act_points(r, to);
    case SM_ACT_BLUR:
        return sm_act_blur(r, to);
    case SM_ACT_STROKE:
        return sm_act_stroke(r, to);
    default:
        sm_act_copy(&r->view, to);
        return SM_OK;
    }
}

sm_status sm_run_flush(sm_run *r, void *target) {
    bool mirror = keeps_mirror(r->act.kind) && r->view.mirror;
    size_t bytes;
    sm_status status = target && mirror ? sm_run_flush(r, NULL) : SM_OK;
    if (status == SM_OK)
        status = sm_run_bytes(r, r->dtype, r->c, r->h, r->w, &bytes);
    if (status != SM_OK)
        return status;
    mirror = keeps_mirror(r->act.kind) && r->view.mirror;
    int buffer = target ? -1 : r->buffer == 0;
    void *to = target;
    if (!target && !r->dry)
        status = sm_scratch_take(r->scratch, buffer ? SM_BLOCK_ONE : SM_BLOCK_ZERO, bytes,
                                 &to, r->err);
    if (status == SM_OK && !r->dry)
        status = act(r, to);
    if (status == SM_OK && !r->dry && r->act.holes)
        sm_act_holes(r, to);
    r->view = (sm_view){r->dtype, r->c, r->h, r->w, r->h * r->w, r->w, mirror, to};
    r->buffer = buffer;
    r->act.kind = SM_ACT_NONE;
    r->act.holes = 0;
    return status;
}

static sm_status settle(sm_run *r) {
    return is_idle(r) ? SM_OK : sm_run_flush(r, NULL);
}

/* Settles, then leaves an act waiting that gives [r->c, height, width]. */
static sm_status await(sm_run *r, sm_act_kind kind, int64_t height, int64_t width) {
    size_t bytes;
    sm_status status = settle(r);
    if (status == SM_OK)
        status = sm_run_bytes(r, r->dtype, r->c, height, width, &bytes);
    r->act.kind = kind;
    r->h = height;
    r->w = width;
    return status;
}

float sm_run_white(const sm_run *r) {
    return r->dtype == SM_U8 ? 255 : 1;
}

/* ---- warps and flips ---- */

static void multiply(const double a[9], const double b[9], double ab[9]) {
    double out[9];
    for (int i = 0; i < 9; i++)
        out[i] = a[i / 3 * 3] * b[i % 3] + a[i / 3 * 3 + 1] * b[3 + i % 3] +
                 a[i / 3 * 3 + 2] * b[6 + i % 3];
    memcpy(ab, out, sizeof out);
}

static bool is_identity(const double m[9]) {
    for (int i = 0; i < 9; i++)
        if (m[i] != (i % 4 == 0))
            return false;
    return true;
}

static bool same_values(const sm_values *a, const sm_values *b) {
    return a->n == b->n && memcmp(a->v, b->v, (size_t)a->n * sizeof *a->v) == 0;
}

/* Whether a warp waits that a map of what it gives can be joined with. */
static bool can_map(const sm_run *r) {
    return r->act.kind == SM_ACT_WARP && !r->act.u.warp.displaced && r->act.holes == 0;
}

sm_status sm_run_warp(sm_run *r, const sm_warp *w, int64_t height, int64_t width) {
    sm_warp *waits = &r->act.u.warp;
    if (!w->displaced && is_identity(w->map) && height == r->h && width == r->w)
        return SM_OK;
    if (can_map(r) && waits->mode == w->mode && same_values(&waits->fill, &w->fill)) {
        sm_warp joined = *w;
        multiply(waits->map, w->map, joined.map);
        *waits = joined;
        r->h = height;
        r->w = width;
        return SM_OK;
    }
    sm_status status = await(r, SM_ACT_WARP, height, width);
    *waits = *w;
    return status;
}

static void map_flip(sm_run *r, bool vertical) {
    double flip[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    flip[vertical ? 4 : 0] = -1;
    flip[vertical ? 5 : 2] = (double)((vertical ? r->h : r->w) - 1);
    multiply(r->act.u.warp.map, flip, r->act.u.warp.map);
}

sm_status sm_run_flip(sm_run *r, bool vertical) {
    sm_status status = SM_OK;
    if (can_map(r)) {
        map_flip(r, vertical);
        return SM_OK;
    }
    if (vertical || r->act.holes > 0 || r->act.kind == SM_ACT_WARP)
        status = settle(r);
    if (!vertical) {
        r->view.mirror = !r->view.mirror;
    } else if (status == SM_OK) {
        sm_view *v = &r->view;
        if (!r->dry)
            v->data =
                (char *)v->data + (v->h - 1) * v->row * (int64_t)sm_dtype_size(v->dtype);
        v->row = -v->row;
    }
    return status;
}

/* ---- windows ---- */

static void move_window(sm_view *v, int64_t top, int64_t left, int64_t height,
                        int64_t width) {
    if (v->data)
        v->data =
            (char *)v->data + (top * v->row + left) * (int64_t)sm_dtype_size(v->dtype);
    v->h = height;
    v->w = width;
}

sm_status sm_run_place(sm_run *r, const sm_place *p, int64_t height, int64_t width) {
    bool inside =
        p->left <= 0 && p->top <= 0 && width - p->left <= r->w && height - p->top <= r->h;
    sm_status status = SM_OK;
    if (inside && height == r->h && width == r->w)
        return SM_OK;
    if (inside && can_map(r)) {
        const double move[9] = {1, 0, (double)-p->left, 0, 1, (double)-p->top, 0, 0, 1};
        multiply(r->act.u.warp.map, move, r->act.u.warp.map);
        r->h = height;
        r->w = width;
        return SM_OK;
    }
    if (r->act.kind != SM_ACT_PLACE || r->act.holes > 0 || !inside)
        status = settle(r);
    if (status != SM_OK)
        return status;
    int64_t left = r->view.mirror ? width - p->left - r->w : p->left;
    if (r->act.kind == SM_ACT_PLACE) {
        r->act.u.place.left += left;
        r->act.u.place.top += p->top;
    } else if (inside) {
        move_window(&r->view, -p->top, -left, height, width);
    } else {
        status = await(r, SM_ACT_PLACE, height, width);
        r->act.u.place = *p;
        r->act.u.place.left = left;
    }
    r->h = height;
    r->w = width;
    return status;
}

/* ---- the others ---- */

sm_status sm_run_resize(sm_run *r, int64_t height, int64_t width, sm_interpolation mode,
                        bool antialias) {
    if (height == r->h && width == r->w)
        return SM_OK;
    sm_status status = await(r, SM_ACT_RESIZE, height, width);
    r->act.u.resize.mode = mode;
    r->act.u.resize.antialias = antialias;
    return status;
}

/* Two lines, the first of which cuts nothing off, are one. */
static bool join_lines(sm_points *waits, const sm_point *p) {
    sm_point *last = waits->n ? &waits->point[waits->n - 1] : NULL;
    if (!last || last->kind != SM_POINT_LINEAR || p->kind != SM_POINT_LINEAR ||
        last->low > -INFINITY || last->high < INFINITY)
        return false;
    sm_point joined = *p;
    joined.a.n = joined.b.n = last->a.n > p->a.n ? last->a.n : p->a.n;
    for (int i = 0; i < joined.a.n; i++) {
        const int first = last->a.n == 1 ? 0 : i, second = p->a.n == 1 ? 0 : i;
        joined.a.v[i] = p->a.v[second] * last->a.v[first];
        joined.b.v[i] = p->a.v[second] * last->b.v[first] + p->b.v[second];
    }
    *last = joined;
    return true;
}

sm_status sm_run_point(sm_run *r, const sm_point *p) {
    sm_points *waits = &r->act.u.points;
    sm_status status = SM_OK;
    if (r->act.kind != SM_ACT_POINTS || r->act.holes > 0 || waits->n == SM_RUN_POINTS ||
        p->kind == SM_POINT_CONTRAST) {
        status = await(r, SM_ACT_POINTS, r->h, r->w);
        waits->n = 0;
    }
    if (!join_lines(waits, p))
        waits->point[waits->n++] = *p;
    if (p->kind == SM_POINT_GREY)
        r->c = p->channels;
    else if (p->kind == SM_POINT_SPREAD)
        r->c = 3;
    return status;
}

sm_status sm_run_convert(sm_run *r, sm_dtype dtype, bool scale) {
    if (dtype == r->dtype)
        return SM_OK;
    float factor = !scale ? 1 : dtype == SM_U8 ? 255 : 1 / 255.0f;
    sm_point p = {.kind = SM_POINT_LINEAR,
                  .low = dtype == SM_U8 ? 0 : -INFINITY,
                  .high = dtype == SM_U8 ? 255 : INFINITY,
                  .a = {1, {factor}},
                  .b = {1, {0}}};
    sm_status status = sm_run_point(r, &p);
    r->dtype = dtype;
    return status;
}

sm_status sm_run_blur(sm_run *r, const sm_blur *b) {
    sm_status status = await(r, SM_ACT_BLUR, r->h, r->w);
    r->act.u.blur = *b;
    return status;
}

sm_status sm_run_stroke(sm_run *r, const sm_stroke *s) {
    sm_status status = await(r, SM_ACT_STROKE, r->h, r->w);
    r->act.u.stroke = *s;
    return status;
}

sm_status sm_run_hole(sm_run *r, const sm_hole *hole) {
    sm_status status = r->act.holes == SM_RUN_HOLES ? settle(r) : SM_OK;
    sm_hole *h = &r->act.hole[r->act.holes++];
    *h = *hole;
    if (keeps_mirror(r->act.kind) && r->view.mirror)
        h->left = r->w - h->left - h->width;
    return status;
}
