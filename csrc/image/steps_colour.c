/* steps_colour.c: steps that change values where they are: their numbers are drawn, then
 * their acts asked for. Parameters and what is drawn how follow
 * torchvision.transforms.v2.
 */
#include <math.h>

#include "image/steps_draw.h"

static sm_status want_grey_or_rgb(const sm_run *r, const char *what) {
    if (r->c == 1 || r->c == 3)
        return SM_OK;
    return sm_fail(r->err, SM_EINVAL, 0,
                   "%s: %s is for pictures of 1 or 3 channels, got %lld", r->step, what,
                   (long long)r->c);
}

static sm_point point(const sm_run *r, sm_point_kind kind, double a) {
    return (sm_point){.kind = kind,
                      .low = 0,
                      .high = sm_run_white(r),
                      .a = {1, {(float)a}},
                      .b = {1, {0}}};
}

/* Brightness, contrast, saturation or hue by a factor. */
static sm_status adjust(sm_run *r, int which, double factor) {
    static const sm_point_kind kinds[4] = {SM_POINT_LINEAR, SM_POINT_CONTRAST,
                                           SM_POINT_SATURATION, SM_POINT_HUE};
    static const char *const names[4] = {"brightness", "contrast", "saturation", "hue"};
    sm_status status = which == 0 ? SM_OK : want_grey_or_rgb(r, names[which]);
    if (status != SM_OK || (which >= 2 && r->c == 1)) /* grey has neither */
        return status;
    sm_point p = point(r, kinds[which], factor);
    return sm_run_point(r, &p);
}

static sm_status draw_jitter(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_jitter_step *j = &s->u.jitter;
    double factor[4];
    int order[4];
    for (int i = 0; i < 4; i++) {
        int k = (int)sm_rng_below(rng, (uint64_t)i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (int i = 0; i < 4; i++)
        factor[i] = sm_draw_between(rng, &j->factor[i]);
    sm_status status = SM_OK;
    for (int i = 0; i < 4 && status == SM_OK; i++)
        if (j->has[order[i]])
            status = adjust(r, order[i], factor[order[i]]);
    return status;
}

static sm_status draw_gamma(sm_run *r, const sm_step *s, sm_rng *rng) {
    sm_point p = point(r, SM_POINT_GAMMA, sm_draw_between(rng, &s->u.gamma.gamma));
    p.b.v[0] = (float)s->u.gamma.gain;
    return sm_run_point(r, &p);
}

static sm_status draw_grey(sm_run *r, const sm_step *s) {
    const int wanted = s->u.grey.channels ? s->u.grey.channels : (int)r->c;
    sm_status status = want_grey_or_rgb(r, "grey");
    if (status != SM_OK || (r->c == 1 && wanted == 1) || (r->c == 3 && s->u.grey.keep))
        return status;
    sm_point p = point(r, r->c == 1 ? SM_POINT_SPREAD : SM_POINT_GREY, 0);
    p.channels = wanted;
    return sm_run_point(r, &p);
}

static sm_status draw_invert(sm_run *r) {
    sm_point p = point(r, SM_POINT_LINEAR, -1);
    p.b.v[0] = sm_run_white(r);
    p.low = -INFINITY;
    p.high = INFINITY;
    return sm_run_point(r, &p);
}

static sm_status draw_noise(sm_run *r, const sm_step *s, sm_rng *rng) {
    const double sigma = sm_draw_between(rng, &s->u.noise.sigma),
                 white = (double)sm_run_white(r);
    sm_point p = point(r, SM_POINT_NOISE, s->u.noise.mean * white);
    p.b.v[0] = (float)(sigma * white);
    p.rng = sm_rng_stream(rng, 0);
    if (!s->u.noise.clip) {
        p.low = -INFINITY;
        p.high = INFINITY;
    }
    return sm_run_point(r, &p);
}

static sm_status draw_blur(sm_run *r, const sm_step *s, sm_rng *rng) {
    const double at = sm_rng_uniform(rng);
    sm_blur b = {{s->u.blur.taps[0], s->u.blur.taps[1]}, {0, 0}};
    for (int i = 0; i < 2; i++) {
        const sm_interval *sigma = &s->u.blur.sigma[i];
        b.sigma[i] = sigma->low + (sigma->high - sigma->low) * at;
    }
    return sm_run_blur(r, &b);
}

static sm_status draw_stroke(sm_run *r, const sm_step *s, sm_rng *rng) {
    const double width = sm_draw_between(rng, &s->u.stroke.width);
    const sm_stroke stroke = {fabs(width), (width > 0) != s->u.stroke.dark};
    return stroke.radius > 0 ? sm_run_stroke(r, &stroke) : SM_OK;
}

static sm_status draw_erase(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_erase_step *e = &s->u.erase;
    sm_hole hole = {
        e->top, e->left, e->height, e->width, e->random, s->fill, sm_rng_stream(rng, 0)};
    sm_status status = sm_step_values(r, &s->fill, "value");
    bool fits =
        e->fixed && hole.top + hole.height <= r->h && hole.left + hole.width <= r->w;
    if (status == SM_OK && e->fixed && !fits)
        status = sm_fail(
            r->err, SM_EINVAL, 0,
            "%s: %lld x %lld pixels from row %lld, column %lld do not lie in a "
            "picture of %lld x %lld",
            s->name, (long long)e->height, (long long)e->width, (long long)e->top + 1,
            (long long)e->left + 1, (long long)r->h, (long long)r->w);
    for (int i = 0; i < 10 && !e->fixed && !fits; i++) {
        sm_draw_sides(r, rng, &e->scale, &e->ratio, &hole.height, &hole.width);
        fits = hole.height < r->h && hole.width < r->w;
        if (fits) {
            hole.top = (int64_t)sm_rng_below(rng, (uint64_t)(r->h - hole.height) + 1);
            hole.left = (int64_t)sm_rng_below(rng, (uint64_t)(r->w - hole.width) + 1);
        }
    }
    return status == SM_OK && fits ? sm_run_hole(r, &hole) : status;
}

/* From `centre` half a side each way, as much of it as lies in the picture. */
static void clip_side(int64_t centre, int64_t side, int64_t n, int64_t *from,
                      int64_t *length) {
    const int64_t low = centre - side / 2, high = low + side;
    *from = low < 0 ? 0 : low;
    *length = (high < n ? high : n) - *from;
}

static sm_status draw_cutout(sm_run *r, const sm_step *s, sm_rng *rng) {
    const sm_erase_step *e = &s->u.erase;
    sm_status status = sm_step_values(r, &s->fill, "fill");
    for (int i = 0; i < e->holes && status == SM_OK; i++) {
        sm_hole hole = {.fill = s->fill};
        clip_side((int64_t)sm_rng_below(rng, (uint64_t)r->h), e->height, r->h, &hole.top,
                  &hole.height);
        clip_side((int64_t)sm_rng_below(rng, (uint64_t)r->w), e->width, r->w, &hole.left,
                  &hole.width);
        if (hole.height > 0 && hole.width > 0)
            status = sm_run_hole(r, &hole);
    }
    return status;
}

static sm_status draw_normalize(sm_run *r, const sm_step *s) {
    const sm_values *mean = &s->u.normalize.mean, *std = &s->u.normalize.std;
    sm_status status = sm_step_values(r, mean, "mean");
    if (status == SM_OK)
        status = sm_step_values(r, std, "std");
    if (status == SM_OK && r->dtype != SM_F32)
        status =
            sm_fail(r->err, SM_EINVAL, 0,
                    "%s: needs float32, got uint8: put ToDtype{ dtype = \"float32\", "
                    "scale = true } before it",
                    s->name);
    if (status != SM_OK)
        return status;
    sm_point p = point(r, SM_POINT_LINEAR, 1);
    p.low = -INFINITY;
    p.high = INFINITY;
    p.a.n = p.b.n = mean->n > std->n ? mean->n : std->n;
    for (int i = 0; i < p.a.n; i++) {
        p.a.v[i] = 1 / std->v[std->n == 1 ? 0 : i];
        p.b.v[i] = -mean->v[mean->n == 1 ? 0 : i] * p.a.v[i];
    }
    return sm_run_point(r, &p);
}

sm_status sm_draw_step(sm_run *r, const sm_step *s, sm_rng *rng) {
    switch (s->kind) {
    case SM_STEP_JITTER:
        return draw_jitter(r, s, rng);
    case SM_STEP_GAMMA:
        return draw_gamma(r, s, rng);
    case SM_STEP_GREY:
        return draw_grey(r, s);
    case SM_STEP_INVERT:
        return draw_invert(r);
    case SM_STEP_NOISE:
        return draw_noise(r, s, rng);
    case SM_STEP_BLUR:
        return draw_blur(r, s, rng);
    case SM_STEP_STROKE:
        return draw_stroke(r, s, rng);
    case SM_STEP_ERASE:
        return draw_erase(r, s, rng);
    case SM_STEP_CUTOUT:
        return draw_cutout(r, s, rng);
    case SM_STEP_NORMALIZE:
        return draw_normalize(r, s);
    case SM_STEP_TO_DTYPE:
        return sm_run_convert(r, s->u.to_dtype.dtype, s->u.to_dtype.scale);
    default:
        return sm_draw_geometry(r, s, rng);
    }
}
