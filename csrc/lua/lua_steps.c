/* lua_steps.c: a step of a pipeline out of a table of lua/siamese/augment: `kind`,
 * `name`, and fields called as those of image/steps.h. Intervals are {low, high} or one
 * number, values for channels a number or a list. */
#include <string.h>

#include "lua/pipeline.h"

/* ---- fields of the table at the top of the stack ---- */

static int wrong_field(lua_State *L, const char *key, const char *expected) {
    return lsm_error(L, "a step's field '%s' must be %s", key, expected);
}

static double number(lua_State *L, const char *key, double otherwise) {
    int is_number = 1;
    double value = otherwise;
    if (lua_getfield(L, -1, key) != LUA_TNIL)
        value = lua_tonumberx(L, -1, &is_number);
    if (!is_number)
        wrong_field(L, key, "a number");
    lua_pop(L, 1);
    return value;
}

static int64_t integer(lua_State *L, const char *key, int64_t otherwise) {
    int is_integer = 1;
    int64_t value = otherwise;
    if (lua_getfield(L, -1, key) != LUA_TNIL)
        value = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer)
        wrong_field(L, key, "an integer");
    lua_pop(L, 1);
    return value;
}

static int small_integer(lua_State *L, const char *key, int otherwise) {
    int64_t value = integer(L, key, otherwise);
    return value < INT32_MIN || value > INT32_MAX ? wrong_field(L, key, "smaller")
                                                  : (int)value;
}

static bool boolean(lua_State *L, const char *key) {
    lua_getfield(L, -1, key);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* Up to `most` numbers of a list, or one number; returns how many, 0 for nil. */
static int numbers(lua_State *L, const char *key, int most, double *values) {
    int n = 0, type = lua_getfield(L, -1, key), is_number = 1;
    if (type == LUA_TNUMBER) {
        values[n++] = lua_tonumber(L, -1);
    } else if (type == LUA_TTABLE) {
        lua_Unsigned length = lua_rawlen(L, -1);
        if (length > (lua_Unsigned)most)
            wrong_field(L, key, "a shorter list");
        for (; n < (int)length && is_number; n++) {
            lua_rawgeti(L, -1, n + 1);
            values[n] = lua_tonumberx(L, -1, &is_number);
            lua_pop(L, 1);
        }
    } else if (type != LUA_TNIL) {
        is_number = 0;
    }
    if (!is_number)
        wrong_field(L, key, "a number or a list of numbers");
    lua_pop(L, 1);
    return n;
}

static sm_interval interval(lua_State *L, const char *key, double low, double high) {
    double v[2] = {low, high};
    if (numbers(L, key, 2, v) == 1)
        v[1] = v[0];
    return (sm_interval){v[0], v[1]};
}

static void pair(lua_State *L, const char *key, double first, double second,
                 double out[2]) {
    out[0] = first;
    out[1] = second;
    if (numbers(L, key, 2, out) == 1)
        out[1] = out[0];
}

static sm_values values(lua_State *L, const char *key, float otherwise) {
    double v[SM_STEP_CHANNELS];
    sm_values out = {.n = numbers(L, key, SM_STEP_CHANNELS, v)};
    for (int i = 0; i < out.n; i++)
        out.v[i] = (float)v[i];
    if (out.n == 0) {
        out.n = 1;
        out.v[0] = otherwise;
    }
    return out;
}

static void four_integers(lua_State *L, const char *key, int64_t out[4]) {
    double v[4] = {0};
    numbers(L, key, 4, v);
    for (int i = 0; i < 4; i++) {
        if (!(v[i] >= -1e9 && v[i] <= 1e9))
            wrong_field(L, key, "four integers");
        out[i] = (int64_t)v[i];
    }
}

/* The place of a string field among `names` (NULL at their end). */
static int name_of(lua_State *L, const char *key, const char *const *names,
                   int otherwise) {
    lua_getfield(L, -1, key);
    const char *name = lua_tostring(L, -1);
    int found = name ? -1 : otherwise;
    for (int i = 0; name && names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            found = i;
    if (found < 0)
        lsm_error(L, "a step's field '%s' cannot be '%s'", key, name ? name : "nil");
    lua_pop(L, 1);
    return found;
}

/* ---- kinds ---- */

static const char *const interpolations[] = {"nearest", "nearest-exact", "bilinear",
                                             "bicubic", "area",          NULL};
static const char *const paddings[] = {"constant", "edge", "reflect", "symmetric", NULL};

static void read_branches(lua_State *L, sm_branches *b) {
    double v[SM_STEP_BRANCHES], w[SM_STEP_BRANCHES];
    b->to = small_integer(L, "to", 0);
    b->branch = small_integer(L, "branch", 0);
    b->count = numbers(L, "start", SM_STEP_BRANCHES, v);
    int weights = numbers(L, "weight", SM_STEP_BRANCHES, w);
    for (int i = 0; i < b->count; i++) {
        b->start[i] = v[i] >= 0 && v[i] <= SM_PIPELINE_STEPS ? (int)v[i] : -1;
        b->weight[i] = i < weights ? w[i] : 1;
    }
}

static sm_range range(lua_State *L, const char *key) {
    double v[3] = {0, 0, 1};
    numbers(L, key, 3, v);
    return (sm_range){v[0], v[1], v[2]};
}

static void read_affine(lua_State *L, sm_affine_step *a) {
    double shear[4] = {0};
    a->degrees = interval(L, "degrees", 0, 0);
    pair(L, "translate", 0, 0, a->translate);
    pair(L, "shift", 0, 0, a->shift);
    a->scale = interval(L, "scale", 1, 1);
    numbers(L, "shear", 4, shear);
    a->shear_x = (sm_interval){shear[0], shear[1]};
    a->shear_y = (sm_interval){shear[2], shear[3]};
    a->has_center = boolean(L, "has_center");
    pair(L, "center", 0, 0, a->center);
    a->expand = boolean(L, "expand");
}

static void read_perspective(lua_State *L, sm_perspective_step *p) {
    double points[16] = {0};
    p->distortion_scale = number(L, "distortion_scale", 0);
    p->fixed = numbers(L, "points", 16, points) > 0;
    memcpy(p->points, points, sizeof points);
}

static void read_crop(lua_State *L, sm_crop_step *c) {
    static const char *const places[] = {"random", "center", "fixed", NULL};
    c->place = (sm_crop_place)name_of(L, "place", places, SM_CROP_RANDOM);
    c->height = integer(L, "height", 0);
    c->width = integer(L, "width", 0);
    c->top = integer(L, "top", 0);
    c->left = integer(L, "left", 0);
    four_integers(L, "padding", c->padding);
    c->pad_if_needed = boolean(L, "pad_if_needed");
    c->mode = (sm_padding)name_of(L, "padding_mode", paddings, SM_PAD_CONSTANT);
}

static void read_resize(lua_State *L, sm_resize_step *z) {
    z->height = integer(L, "height", 0);
    z->width = integer(L, "width", 0);
    z->longest = integer(L, "longest", 0);
    z->mode = (sm_interpolation)name_of(L, "interpolation", interpolations, SM_BILINEAR);
    z->antialias = boolean(L, "antialias");
    z->scale = interval(L, "scale", 1, 1);
    z->ratio = interval(L, "ratio", 1, 1);
}

static void read_jitter(lua_State *L, sm_jitter_step *j) {
    static const char *const keys[4] = {"brightness", "contrast", "saturation", "hue"};
    for (int i = 0; i < 4; i++) {
        j->has[i] = lua_getfield(L, -1, keys[i]) != LUA_TNIL;
        lua_pop(L, 1);
        j->factor[i] = interval(L, keys[i], i == 3 ? 0 : 1, i == 3 ? 0 : 1);
    }
}

static void read_blur(lua_State *L, sm_step *s) {
    double taps[2], sigma[4] = {1, 1, 1, 1};
    pair(L, "kernel_size", 1, 1, taps);
    numbers(L, "sigma", 4, sigma);
    for (int i = 0; i < 2; i++) {
        s->u.blur.taps[i] = taps[i] >= 0 && taps[i] <= 1e6 ? (int64_t)taps[i] : 0;
        s->u.blur.sigma[i] = (sm_interval){sigma[2 * i], sigma[2 * i + 1]};
    }
}

static void read_erase(lua_State *L, sm_erase_step *e) {
    e->scale = interval(L, "scale", 0, 0);
    e->ratio = interval(L, "ratio", 1, 1);
    e->random = boolean(L, "random");
    e->fixed = boolean(L, "fixed");
    e->top = integer(L, "top", 0);
    e->left = integer(L, "left", 0);
    e->height = integer(L, "height", 0);
    e->width = integer(L, "width", 0);
    e->holes = small_integer(L, "holes", 1);
}

static void read_others(lua_State *L, sm_step *s) {
    static const char *const dtypes[] = {"float32", "uint8", NULL};
    switch (s->kind) {
    case SM_STEP_CALL:
        s->u.call = small_integer(L, "call", 0);
        break;
    case SM_STEP_FLIP:
        s->u.vertical = boolean(L, "vertical");
        break;
    case SM_STEP_GAMMA:
        s->u.gamma.gamma = interval(L, "gamma", 1, 1);
        s->u.gamma.gain = number(L, "gain", 1);
        break;
    case SM_STEP_GREY:
        s->u.grey.channels = small_integer(L, "channels", 0);
        s->u.grey.keep = boolean(L, "keep");
        break;
    case SM_STEP_NOISE:
        s->u.noise.mean = number(L, "mean", 0);
        s->u.noise.sigma = interval(L, "sigma", 0, 0);
        s->u.noise.clip = boolean(L, "clip");
        break;
    case SM_STEP_STROKE:
        s->u.stroke.width = interval(L, "width", 0, 0);
        s->u.stroke.dark = boolean(L, "dark");
        break;
    case SM_STEP_NORMALIZE:
        s->u.normalize.mean = values(L, "mean", 0);
        s->u.normalize.std = values(L, "std", 1);
        break;
    case SM_STEP_TO_DTYPE:
        s->u.to_dtype.dtype = name_of(L, "dtype", dtypes, 0) ? SM_U8 : SM_F32;
        s->u.to_dtype.scale = boolean(L, "scale");
        break;
    default:
        break;
    }
}

static void read_kind(lua_State *L, sm_step *s) {
    switch (s->kind) {
    case SM_STEP_SOMETIMES:
    case SM_STEP_CHOICE:
    case SM_STEP_ORDER:
    case SM_STEP_NEXT:
    case SM_STEP_JUMP:
        read_branches(L, &s->u.branches);
        break;
    case SM_STEP_PARTS:
        s->u.parts = (sm_affine_ranges){range(L, "rotation"), range(L, "shear"),
                                        range(L, "scale"), range(L, "translation")};
        break;
    case SM_STEP_AFFINE:
        read_affine(L, &s->u.affine);
        break;
    case SM_STEP_PERSPECTIVE:
        read_perspective(L, &s->u.perspective);
        break;
    case SM_STEP_ELASTIC:
        pair(L, "alpha", 50, 50, s->u.elastic.alpha);
        pair(L, "sigma", 5, 5, s->u.elastic.sigma);
        break;
    case SM_STEP_CROP:
        read_crop(L, &s->u.crop);
        break;
    case SM_STEP_RESIZED_CROP:
    case SM_STEP_RESIZE:
        read_resize(L, &s->u.resize);
        break;
    case SM_STEP_PAD:
        four_integers(L, "padding", s->u.pad.padding);
        s->u.pad.mode = (sm_padding)name_of(L, "padding_mode", paddings, SM_PAD_CONSTANT);
        break;
    case SM_STEP_JITTER:
        read_jitter(L, &s->u.jitter);
        break;
    case SM_STEP_BLUR:
        read_blur(L, s);
        break;
    case SM_STEP_ERASE:
    case SM_STEP_CUTOUT:
        read_erase(L, &s->u.erase);
        break;
    default:
        read_others(L, s);
    }
}

void lsm_read_step(lua_State *L, sm_step *step) {
    /* In the order of sm_step_kind. */
    static const char *const kinds[] = {
        "sometimes",    "choice",   "order",       "next",    "jump",  "call",
        "parts",        "affine",   "perspective", "elastic", "flip",  "crop",
        "resized_crop", "resize",   "pad",         "jitter",  "gamma", "grey",
        "invert",       "noise",    "blur",        "stroke",  "erase", "cutout",
        "normalize",    "to_dtype", NULL};
    _Static_assert(sizeof kinds / sizeof *kinds == SM_STEP_COUNT + 1,
                   "a name for each kind");
    if (!lua_istable(L, -1))
        lsm_error(L, "a step must be a table, got %s", luaL_typename(L, -1));
    memset(step, 0, sizeof *step);
    step->kind = (sm_step_kind)name_of(L, "kind", kinds, -1);
    lua_getfield(L, -1, "name");
    strncpy(step->name, luaL_optstring(L, -1, "augment"), sizeof step->name - 1);
    lua_pop(L, 1);
    step->p = number(L, "p", 1);
    step->fill = values(L, "fill", 0);
    step->mode = (sm_interpolation)name_of(L, "mode", interpolations, SM_BILINEAR);
    if (step->mode != SM_NEAREST && step->mode != SM_BILINEAR)
        lsm_error(L, "%s: interpolation must be 'nearest' or 'bilinear'", step->name);
    read_kind(L, step);
}
