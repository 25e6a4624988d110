/* steps_check.c: what a step may say. Messages open with the step's name. */
#include <math.h>
#include <stdlib.h>

#include "image/run.h"

static sm_status wrong(const sm_step *s, sm_error *err, const char *what) {
    return sm_fail(err, SM_EINVAL, 0, "%.*s: %s", SM_STEP_NAME, s->name, what);
}

static bool is_interval(const sm_interval *i, double low, double high) {
    return i->low >= low && i->low <= i->high && i->high <= high;
}

static bool is_values(const sm_values *v) {
    if (v->n < 1 || v->n > SM_STEP_CHANNELS)
        return false;
    for (int i = 0; i < v->n; i++)
        if (!isfinite(v->v[i]))
            return false;
    return true;
}

static bool is_probability(double p) {
    return p >= 0 && p <= 1;
}

static bool is_side(int64_t n) {
    return n >= 1 && n <= SM_PICTURE_SIDE;
}

static const double far = 1e6; /* pixels, degrees, factors: beyond all sense */

/* ---- steps that steer ---- */

static sm_status check_branches(const sm_step *s, int at, int n, sm_error *err) {
    const sm_branches *b = &s->u.branches;
    double total = 0;
    if (s->kind == SM_STEP_NEXT)
        return b->to >= 0 && b->to < at ? SM_OK : wrong(s, err, "ends no branch");
    if (b->to <= at || b->to > n)
        return wrong(s, err, "leads nowhere");
    if (s->kind != SM_STEP_CHOICE && s->kind != SM_STEP_ORDER)
        return SM_OK;
    if (b->count < 1 || b->count > SM_STEP_BRANCHES)
        return wrong(s, err, "takes 1 to 32 alternatives");
    for (int i = 0; i < b->count; i++) {
        if (b->start[i] <= at || b->start[i] > b->to)
            return wrong(s, err, "a branch leads nowhere");
        if (s->kind == SM_STEP_CHOICE && !(b->weight[i] >= 0 && b->weight[i] < far))
            return wrong(s, err, "weights must be numbers from 0");
        total += s->kind == SM_STEP_CHOICE ? b->weight[i] : 1;
    }
    return total > 0 ? SM_OK : wrong(s, err, "one of the weights must be above 0");
}

/* The branch that a NEXT ends must exist; known only once all steps are. */
sm_status sm_step_check_next(const sm_step *steps, int at, sm_error *err) {
    const sm_step *s = &steps[at], *order = &steps[s->u.branches.to];
    if (order->kind == SM_STEP_ORDER && s->u.branches.branch >= 0 &&
        s->u.branches.branch < order->u.branches.count)
        return SM_OK;
    return wrong(s, err, "ends no branch");
}

/* ---- geometry ---- */

static bool is_range(const sm_range *r) {
    return r->low <= r->high && r->low >= -far && r->high <= far && is_probability(r->p);
}

static sm_status check_parts(const sm_step *s, sm_error *err) {
    const sm_affine_ranges *a = &s->u.parts;
    if (!is_range(&a->rotation) || !is_range(&a->shear) || !is_range(&a->scale) ||
        !is_range(&a->translation))
        return wrong(s, err, "a range is {low, high} with a probability from 0 to 1");
    return a->scale.low > 0 ? SM_OK : wrong(s, err, "scale must be above 0");
}

static sm_status check_affine(const sm_step *s, sm_error *err) {
    const sm_affine_step *a = &s->u.affine;
    if (!is_interval(&a->degrees, -far, far))
        return wrong(s, err, "degrees must be a range {low, high}");
    for (int i = 0; i < 2; i++) {
        if (!(a->translate[i] >= 0 && a->translate[i] <= 1))
            return wrong(s, err, "translate must be from 0 to 1");
        if (!(fabs(a->shift[i]) <= far) || !(fabs(a->center[i]) <= far))
            return wrong(s, err, "translate and center must be numbers up to a million");
    }
    if (!is_interval(&a->scale, 1e-6, far))
        return wrong(s, err, "scale must be a range {low, high} above 0");
    if (!is_interval(&a->shear_x, -89.9, 89.9) || !is_interval(&a->shear_y, -89.9, 89.9))
        return wrong(s, err,
                     "shear must be ranges {low, high} between -90 and 90 degrees");
    return SM_OK;
}

static sm_status check_perspective(const sm_step *s, sm_error *err) {
    const sm_perspective_step *p = &s->u.perspective;
    if (!(p->distortion_scale >= 0 && p->distortion_scale <= 1))
        return wrong(s, err, "distortion_scale must be from 0 to 1");
    for (int i = 0; i < 16; i++)
        if (!(fabs(p->points[i / 8][i / 2 % 4][i % 2]) <= far))
            return wrong(s, err, "points must be numbers up to a million");
    return SM_OK;
}

static sm_status check_elastic(const sm_step *s, sm_error *err) {
    const sm_elastic_step *e = &s->u.elastic;
    for (int i = 0; i < 2; i++)
        if (!(fabs(e->alpha[i]) <= far) ||
            !(e->sigma[i] >= 0 && 8 * e->sigma[i] < SM_BLUR_TAPS))
            return wrong(s, err, "alpha must be a number, sigma one from 0 to 127");
    return SM_OK;
}

static sm_status check_crop(const sm_step *s, sm_error *err) {
    const sm_crop_step *c = &s->u.crop;
    if (!is_side(c->height) || !is_side(c->width))
        return wrong(s, err, "size must be positive");
    if (llabs(c->top) > SM_PICTURE_SIDE || llabs(c->left) > SM_PICTURE_SIDE)
        return wrong(s, err, "too far from the picture");
    for (int i = 0; i < 4; i++)
        if (c->padding[i] < 0 || c->padding[i] > SM_PICTURE_SIDE)
            return wrong(s, err, "padding must be from 0");
    return SM_OK;
}

static sm_status check_resize(const sm_step *s, sm_error *err) {
    const sm_resize_step *z = &s->u.resize;
    const bool crop = s->kind == SM_STEP_RESIZED_CROP;
    if (z->longest ? !is_side(z->longest) : z->height == 0)
        return wrong(s, err, "size and max_size must be positive");
    if ((z->height != 0 && !is_side(z->height)) ||
        (z->width != 0 && !is_side(z->width)) ||
        (crop && (z->height == 0 || z->width == 0)))
        return wrong(s, err, "size must be positive");
    if (z->longest && z->height && z->longest <= z->height)
        return wrong(s, err, "max_size must be above size");
    if (crop && (!is_interval(&z->scale, 0, 1) || !is_interval(&z->ratio, 1e-6, far)))
        return wrong(s, err, "scale must be a range within 0 to 1, ratio one above 0");
    return SM_OK;
}

static sm_status check_pad(const sm_step *s, sm_error *err) {
    for (int i = 0; i < 4; i++)
        if (llabs(s->u.pad.padding[i]) > SM_PICTURE_SIDE)
            return wrong(s, err, "padding is too large");
    return SM_OK;
}

/* ---- colours and the rest ---- */

static sm_status check_jitter(const sm_step *s, sm_error *err) {
    static const char *const messages[4] = {
        "brightness must be a range from 0", "contrast must be a range from 0",
        "saturation must be a range from 0", "hue must be a range within -0.5 to 0.5"};
    for (int i = 0; i < 4; i++)
        if (!is_interval(&s->u.jitter.factor[i], i == 3 ? -0.5 : 0, i == 3 ? 0.5 : far))
            return wrong(s, err, messages[i]);
    return SM_OK;
}

static sm_status check_blur(const sm_step *s, sm_error *err) {
    for (int i = 0; i < 2; i++) {
        const int64_t taps = s->u.blur.taps[i];
        if (taps < 1 || taps > SM_BLUR_TAPS || taps % 2 == 0)
            return wrong(s, err, "kernel_size must be odd, from 1 to 1023");
        if (!is_interval(&s->u.blur.sigma[i], 1e-6, far))
            return wrong(s, err, "sigma must be a number or a range above 0");
    }
    return SM_OK;
}

static sm_status check_erase(const sm_step *s, sm_error *err) {
    const sm_erase_step *e = &s->u.erase;
    if (s->kind == SM_STEP_CUTOUT) {
        if (!is_side(e->height) || !is_side(e->width) || e->holes < 1 || e->holes > 1000)
            return wrong(s, err, "size must be positive, holes from 1 to 1000");
        return SM_OK;
    }
    if (e->fixed &&
        (e->top < 0 || e->left < 0 || !is_side(e->height) || !is_side(e->width) ||
         e->top > SM_PICTURE_SIDE || e->left > SM_PICTURE_SIDE))
        return wrong(s, err, "a rectangle begins in the picture and has positive sides");
    if (!e->fixed &&
        (!is_interval(&e->scale, 0, 1) || !is_interval(&e->ratio, 1e-6, far)))
        return wrong(s, err, "scale must be a range within 0 to 1, ratio one above 0");
    return SM_OK;
}

static sm_status check_normalize(const sm_step *s, sm_error *err) {
    const sm_values *mean = &s->u.normalize.mean, *std = &s->u.normalize.std;
    if (!is_values(mean) || !is_values(std))
        return wrong(s, err, "mean and std must be numbers, or lists of up to 16");
    for (int i = 0; i < std->n; i++)
        if (!(fabsf(std->v[i]) > 0))
            return wrong(s, err, "std must not be 0");
    if (mean->n > 1 && std->n > 1 && mean->n != std->n)
        return wrong(s, err, "mean and std must have as many values as each other");
    return SM_OK;
}

static sm_status check_others(const sm_step *s, sm_error *err) {
    switch (s->kind) {
    case SM_STEP_GAMMA:
        if (!is_interval(&s->u.gamma.gamma, 0, far) || !(fabs(s->u.gamma.gain) <= far))
            return wrong(s, err,
                         "gamma must be a number or a range from 0, gain a number");
        return SM_OK;
    case SM_STEP_GREY:
        if (s->u.grey.channels != 0 && s->u.grey.channels != 1 && s->u.grey.channels != 3)
            return wrong(s, err, "num_output_channels must be 1 or 3");
        return SM_OK;
    case SM_STEP_NOISE:
        if (!is_interval(&s->u.noise.sigma, 0, far) || !(fabs(s->u.noise.mean) <= far))
            return wrong(s, err,
                         "sigma must be a number or a range from 0, mean a number");
        return SM_OK;
    case SM_STEP_STROKE:
        if (!is_interval(&s->u.stroke.width, -SM_STROKE_RADIUS, SM_STROKE_RADIUS))
            return wrong(s, err, "width must be a number or a range within -64 to 64");
        return SM_OK;
    case SM_STEP_TO_DTYPE:
        if (s->u.to_dtype.dtype != SM_U8 && s->u.to_dtype.dtype != SM_F32)
            return wrong(s, err, "dtype must be uint8 or float32");
        return SM_OK;
    default:
        return SM_OK;
    }
}

sm_status sm_step_check(const sm_step *s, int at, int n, sm_error *err) {
    if ((int)s->kind < 0 || s->kind >= SM_STEP_COUNT)
        return wrong(s, err, "is no step");
    if (!is_probability(s->p))
        return wrong(s, err, "p must be from 0 to 1");
    if (s->kind <= SM_STEP_JUMP)
        return check_branches(s, at, n, err);
    if (!is_values(&s->fill))
        return wrong(s, err, "fill must be a number, or a list of up to 16");
    switch (s->kind) {
    case SM_STEP_PARTS:
        return check_parts(s, err);
    case SM_STEP_AFFINE:
        return check_affine(s, err);
    case SM_STEP_PERSPECTIVE:
        return check_perspective(s, err);
    case SM_STEP_ELASTIC:
        return check_elastic(s, err);
    case SM_STEP_CROP:
        return check_crop(s, err);
    case SM_STEP_RESIZED_CROP:
    case SM_STEP_RESIZE:
        return check_resize(s, err);
    case SM_STEP_PAD:
        return check_pad(s, err);
    case SM_STEP_JITTER:
        return check_jitter(s, err);
    case SM_STEP_BLUR:
        return check_blur(s, err);
    case SM_STEP_ERASE:
    case SM_STEP_CUTOUT:
        return check_erase(s, err);
    case SM_STEP_NORMALIZE:
        return check_normalize(s, err);
    default:
        return check_others(s, err);
    }
}
