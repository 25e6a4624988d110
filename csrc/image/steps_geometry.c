/* steps_geometry.c: steps that move pixels: their numbers are drawn, then their acts
 * asked for. Parameters and what is drawn how follow torchvision.transforms.v2. */
#include <math.h>
#include <string.h>

#include "image/steps_draw.h"

sm_status sm_step_values(const sm_run *r, const sm_values *v, const char *what) {
    if (v->n == 1 || v->n == r->c)
        return SM_OK;
    return sm_fail(
        r->err, SM_EINVAL, 0,
        "%s: %s has %d values, the picture %lld channels: give one, or one a channel",
        r->step, what, v->n, (long long)r->c);
}

static sm_status warp(sm_run *r, const sm_step *s, const double map[9], int64_t height,
                      int64_t width) {
    sm_warp w = {.fill = s->fill, .mode = s->mode};
    sm_status status = sm_step_values(r, &s->fill, "fill");
    memcpy(w.map, map, sizeof w.map);
    return status == SM_OK ? sm_run_warp(r, &w, height, width) : status;
}

/* ---- affine maps ---- */

static sm_status draw_parts(sm_run *r, const sm_step *s, sm_rng *rng) {
    double map[9] = {[8] = 1};
    sm_affine_draw(&s->u.parts, rng, r->h, r->w, map);
    return warp(r, s, map, r->h, r->w);
}

/* Exact where the turn is a quarter, or several. */
static void turn(double degrees, double *cosine, double *sine) {
    static const double quarters[5] = {0, 1, 0, -1, 0};
    double q = fmod(degrees, 360) / 90;
    q = q < 0 ? q + 4 : q;
    if (q == floor(q)) {
        *sine = quarters[(int)q % 4];
        *cosine = quarters[(int)q % 4 + 1];
        return;
    }
    *cosine = cos(degrees * M_PI / 180);
    *sine = sin(degrees * M_PI / 180);
}

/* The inverse of shear, scale and rotation, torchvision's _get_inverse_affine_matrix:
 * R(angle - sy) / cos(sy) and so on, without its offsets. */
static void inverse_affine(double angle, double scale, double sx, double sy,
                           double m[4]) {
    double cosine, sine, cosine_less, sine_less;
    turn(angle, &cosine, &sine);
    turn(angle - sy, &cosine_less, &sine_less);
    const double cos_sy = cos(sy * M_PI / 180), tan_sx = tan(sx * M_PI / 180);
    const double a = cosine_less / cos_sy, b = -(a * tan_sx + sine);
    const double c = sine_less / cos_sy, d = cosine - c * tan_sx;
    m[0] = d / scale;
    m[1] = -b / scale;
    m[2] = -c / scale;
    m[3] = a / scale;
}

/* The size that holds all of a turned picture; for quarter turns exactly that. */
static void expanded(const double m[4], int64_t *height, int64_t *width) {
    const double w = (double)*width / 2, h = (double)*height / 2;
    const double x = fabs(m[0]) * w + fabs(m[1]) * h, y = fabs(m[2]) * w + fabs(m[3]) * h;
    if (m[0] == 0 || m[1] == 0) {
        *width = (int64_t)(2 * x);
        *height = (int64_t)(2 * y);
        return;
    }
    /* Whole pixels; what is whole but for rounding stays so. */
    *width =
        (int64_t)(ceil(trunc((w + x) * 1e4) * 1e-4) - floor(trunc((w - x) * 1e4) * 1e-4));
    *height =
        (int64_t)(ceil(trunc((h + y) * 1e4) * 1e-4) - floor(trunc((h - y) * 1e4) * 1e-4));
}

static sm_status draw_affine(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_affine_step *a = &s->u.affine;
    const double w = (double)r->w, h = (double)r->h;
    const double angle = sm_draw_between(rng, &a->degrees);
    const double tx =
        nearbyint((2 * sm_rng_uniform(rng) - 1) * a->translate[0] * w) + a->shift[0];
    const double ty =
        nearbyint((2 * sm_rng_uniform(rng) - 1) * a->translate[1] * h) + a->shift[1];
    const double scale = sm_draw_between(rng, &a->scale);
    const double sx = sm_draw_between(rng, &a->shear_x),
                 sy = sm_draw_between(rng, &a->shear_y);
    double m[4];
    inverse_affine(angle, scale, sx, sy, m);
    int64_t height = r->h, width = r->w;
    if (a->expand)
        expanded(m, &height, &width);
    /* Coordinates from the middle of either picture. */
    const double cx = a->has_center ? a->center[0] - w / 2 : 0;
    const double cy = a->has_center ? a->center[1] - h / 2 : 0;
    const double ox = -(double)(width - 1) / 2 - cx - tx,
                 oy = -(double)(height - 1) / 2 - cy - ty;
    const double map[9] = {m[0], m[1], m[0] * ox + m[1] * oy + cx + (w - 1) / 2,
                           m[2], m[3], m[2] * ox + m[3] * oy + cy + (h - 1) / 2,
                           0,    0,    1};
    return warp(r, s, map, height, width);
}

/* ---- perspective ---- */

/* Solves a [8, 8 | 1] by elimination with row pivots; false where it has no answer. */
static bool solve(double a[8][9], double x[8]) {
    for (int k = 0; k < 8; k++) {
        int pivot = k;
        for (int i = k + 1; i < 8; i++)
            pivot = fabs(a[i][k]) > fabs(a[pivot][k]) ? i : pivot;
        if (!(fabs(a[pivot][k]) > 1e-9))
            return false;
        for (int j = k; j < 9; j++) {
            double swap = a[k][j];
            a[k][j] = a[pivot][j];
            a[pivot][j] = swap;
        }
        for (int i = 0; i < 8; i++) {
            double factor = i == k ? 0 : a[i][k] / a[k][k];
            for (int j = k; j < 9 && factor != 0; j++)
                a[i][j] -= factor * a[k][j];
        }
    }
    for (int k = 0; k < 8; k++)
        x[k] = a[k][8] / a[k][k];
    return true;
}

/* The map from the points `to` to the points `from`. torchvision counts the points from
 * pixels' centres and the map's places from their corners; so does this. */
static bool find_perspective(const double from[4][2], const double to[4][2],
                             double map[9]) {
    double a[8][9], x[8];
    for (int i = 0; i < 4; i++)
        for (int axis = 0; axis < 2; axis++) {
            const double p = to[i][0], q = to[i][1], t = from[i][axis];
            const double row[9] = {axis ? 0 : p, axis ? 0 : q, axis ? 0 : 1,
                                   axis ? p : 0, axis ? q : 0, axis ? 1 : 0,
                                   -t * p,       -t * q,       t};
            memcpy(a[2 * i + axis], row, sizeof row);
        }
    if (!solve(a, x))
        return false;
    const double z = x[6] / 2 + x[7] / 2 + 1;
    for (int i = 0; i < 2; i++) {
        const double *c = x + 3 * i, offset = c[0] / 2 + c[1] / 2 + c[2];
        map[3 * i] = c[0] - x[6] / 2;
        map[3 * i + 1] = c[1] - x[7] / 2;
        map[3 * i + 2] = offset - z / 2;
    }
    map[6] = x[6];
    map[7] = x[7];
    map[8] = z;
    return true;
}

static sm_status draw_perspective(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_perspective_step *p = &s->u.perspective;
    const double w = (double)r->w, h = (double)r->h;
    const double corners[4][2] = {{0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1}};
    double to[4][2], map[9];
    const uint64_t bx = (uint64_t)(p->distortion_scale * (double)(r->w / 2)) + 1;
    const uint64_t by = (uint64_t)(p->distortion_scale * (double)(r->h / 2)) + 1;
    for (int i = 0; i < 4; i++) {
        const double dx = (double)sm_rng_below(rng, bx),
                     dy = (double)sm_rng_below(rng, by);
        to[i][0] = i == 1 || i == 2 ? w - (double)bx + dx : dx;
        to[i][1] = i >= 2 ? h - (double)by + dy : dy;
    }
    const bool found = p->fixed ? find_perspective(p->points[0], p->points[1], map)
                                : find_perspective(corners, (const double(*)[2])to, map);
    if (!found && p->fixed)
        return sm_fail(r->err, SM_EINVAL, 0,
                       "%s: no perspective takes these points there: three lie on a line",
                       s->name);
    return found ? warp(r, s, map, r->h, r->w)
                 : SM_OK; /* a picture of one row or column */
}

/* ---- elastic deformation ---- */

static sm_status draw_elastic(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_elastic_step *e = &s->u.elastic;
    sm_warp w = {.map = {1, 0, 0, 0, 1, 0, 0, 0, 1},
                 .fill = s->fill,
                 .mode = s->mode,
                 .displaced = true,
                 .rng = *rng,
                 .alpha = {e->alpha[0], e->alpha[1]},
                 .sigma = {e->sigma[0], e->sigma[1]}};
    sm_status status = sm_step_values(r, &s->fill, "fill");
    return status == SM_OK ? sm_run_warp(r, &w, r->h, r->w) : status;
}

/* ---- crops and sizes ---- */

static int64_t draw_place(sm_rng *rng, int64_t room) {
    return (int64_t)sm_rng_below(rng, (uint64_t)room + 1);
}

/* A crop at random, of the picture with padding around. */
static sm_status draw_random_crop(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_crop_step *c = &s->u.crop;
    int64_t left = c->padding[0], top = c->padding[1];
    int64_t width = r->w + left + c->padding[2], height = r->h + top + c->padding[3];
    if (c->pad_if_needed && height < c->height) {
        top += c->height - height;
        height += 2 * (c->height - height);
    }
    if (c->pad_if_needed && width < c->width) {
        left += c->width - width;
        width += 2 * (c->width - width);
    }
    if (height < c->height || width < c->width)
        return sm_fail(
            r->err, SM_EINVAL, 0,
            "%s: a crop of %lld x %lld does not fit into a picture of %lld x %lld "
            "(height x width, padding included); pad_if_needed = true pads it",
            s->name, (long long)c->height, (long long)c->width, (long long)height,
            (long long)width);
    const int64_t y = draw_place(rng, height - c->height),
                  x = draw_place(rng, width - c->width);
    const sm_place p = {left - x, top - y, c->mode, s->fill};
    return sm_run_place(r, &p, c->height, c->width);
}

/* Where a picture of n pixels lies in the middle of `size`: padding is rounded down, a
 * cut to even, as torchvision does. */
static int64_t middle(int64_t n, int64_t size) {
    return size > n ? (size - n) / 2 : -(int64_t)nearbyint((double)(n - size) / 2);
}

static sm_status draw_crop(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_crop_step *c = &s->u.crop;
    sm_status status = sm_step_values(r, &s->fill, "fill");
    if (status != SM_OK)
        return status;
    if (c->place == SM_CROP_RANDOM)
        return draw_random_crop(r, s, rng);
    sm_place p = {-c->left, -c->top, c->mode, s->fill};
    if (c->place == SM_CROP_CENTER) {
        p.left = middle(r->w, c->width);
        p.top = middle(r->h, c->height);
    }
    return sm_run_place(r, &p, c->height, c->width);
}

static sm_status draw_pad(sm_run *r, const sm_step *s, sm_rng *rng) {
    const int64_t *by = s->u.pad.padding;
    const sm_place p = {by[0], by[1], s->u.pad.mode, s->fill};
    const int64_t height = r->h + by[1] + by[3], width = r->w + by[0] + by[2];
    (void)rng;
    sm_status status = sm_step_values(r, &s->fill, "fill");
    if (status == SM_OK && (height < 1 || width < 1))
        status = sm_fail(r->err, SM_EINVAL, 0,
                         "%s: this padding leaves nothing of a picture of %lld x %lld",
                         s->name, (long long)r->h, (long long)r->w);
    return status == SM_OK ? sm_run_place(r, &p, height, width) : status;
}

static sm_status draw_resize(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_resize_step *z = &s->u.resize;
    int64_t height = z->height, width = z->width;
    (void)rng;
    if (width == 0) { /* by the shorter side, or by the longer alone */
        const int64_t small = r->h < r->w ? r->h : r->w,
                      large = r->h < r->w ? r->w : r->h;
        int64_t shorter = z->height, longer = z->height * large / small;
        if (z->longest && (z->height == 0 || longer > z->longest)) {
            shorter = z->height == 0 ? z->longest * small / large
                                     : z->longest * shorter / longer;
            longer = z->longest;
        }
        shorter = shorter < 1 ? 1 : shorter;
        height = r->h <= r->w ? shorter : longer;
        width = r->h <= r->w ? longer : shorter;
    }
    return sm_run_resize(r, height, width, z->mode, z->antialias);
}

/* The largest window in the middle whose sides' ratio is allowed. */
static void fall_back(const sm_run *r, const sm_interval *ratio, int64_t *h, int64_t *w) {
    const double have = (double)r->w / (double)r->h;
    *h = r->h;
    *w = r->w;
    if (have < ratio->low)
        *h = (int64_t)nearbyint((double)r->w / ratio->low);
    else if (have > ratio->high)
        *w = (int64_t)nearbyint((double)r->h * ratio->high);
    *h = *h < 1 ? 1 : *h > r->h ? r->h : *h;
    *w = *w < 1 ? 1 : *w > r->w ? r->w : *w;
}

void sm_draw_sides(const sm_run *r, sm_rng *rng, const sm_interval *scale,
                   const sm_interval *ratio, int64_t *more, int64_t *less) {
    const sm_interval logs = {log(ratio->low), log(ratio->high)};
    const double area = (double)r->h * (double)r->w * sm_draw_between(rng, scale);
    const double aspect = exp(sm_draw_between(rng, &logs));
    *more = (int64_t)nearbyint(sqrt(area * aspect));
    *less = (int64_t)nearbyint(sqrt(area / aspect));
}

static sm_status draw_resized_crop(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_resize_step *z = &s->u.resize;
    int64_t h = 0, w = 0, top, left;
    bool fits = false;
    for (int i = 0; i < 10 && !fits; i++) {
        sm_draw_sides(r, rng, &z->scale, &z->ratio, &w, &h);
        fits = w > 0 && w <= r->w && h > 0 && h <= r->h;
    }
    if (fits) {
        top = draw_place(rng, r->h - h);
        left = draw_place(rng, r->w - w);
    } else {
        fall_back(r, &z->ratio, &h, &w);
        top = (r->h - h) / 2;
        left = (r->w - w) / 2;
    }
    const sm_place p = {-left, -top, SM_PAD_CONSTANT, {1, {0}}};
    sm_status status = sm_run_place(r, &p, h, w);
    return status == SM_OK ? sm_run_resize(r, z->height, z->width, z->mode, z->antialias)
                           : status;
}

sm_status sm_draw_geometry(sm_run *r, const sm_step *s, sm_rng *rng) {
    switch (s->kind) {
    case SM_STEP_PARTS:
        return draw_parts(r, s, rng);
    case SM_STEP_AFFINE:
        return draw_affine(r, s, rng);
    case SM_STEP_PERSPECTIVE:
        return draw_perspective(r, s, rng);
    case SM_STEP_ELASTIC:
        return draw_elastic(r, s, rng);
    case SM_STEP_FLIP:
        return sm_run_flip(r, s->u.vertical);
    case SM_STEP_CROP:
        return draw_crop(r, s, rng);
    case SM_STEP_RESIZED_CROP:
        return draw_resized_crop(r, s, rng);
    case SM_STEP_RESIZE:
        return draw_resize(r, s, rng);
    default:
        return draw_pad(r, s, rng);
    }
}
