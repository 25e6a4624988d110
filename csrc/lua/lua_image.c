/* lua_image.c: pictures, affine maps and glyphs, in the table core.imaging.
 * lua/siamese/image.lua, augment.lua and data/glyphs.lua check options and say what these
 * functions mean. */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "image/augment.h"
#include "image/decode.h"
#include "image/draw.h"
#include "image/glyphs.h"
#include "image/resize.h"
#include "lua/generator.h"
#include "lua/state.h"
#include "ops/view.h"

/* ---- reading ---- */

typedef struct reading {
    int channels;
    bool as_float, invert;
    sm_image_limits limits;
    int64_t height, width; /* 0: as it is */
    sm_resize_mode mode;
} reading;

static bool string_is(lua_State *L, int arg, const char *key, const char *value) {
    lua_getfield(L, arg, key);
    const char *text = lua_tostring(L, -1);
    bool same = text && strcmp(text, value) == 0;
    lua_pop(L, 1);
    return same;
}

static reading check_reading(lua_State *L, int arg) {
    luaL_checktype(L, arg, LUA_TTABLE);
    reading r = {.channels = (int)lsm_opt_integer_field(L, arg, "channels", 1),
                 .as_float = string_is(L, arg, "dtype", "float32"),
                 .invert = lsm_opt_boolean_field(L, arg, "invert", false),
                 .limits = {lsm_opt_integer_field(L, arg, "max_width", 16384),
                            lsm_opt_integer_field(L, arg, "max_height", 16384),
                            lsm_opt_integer_field(L, arg, "max_bytes", 256 << 20)},
                 .height = lsm_opt_integer_field(L, arg, "height", 0),
                 .width = lsm_opt_integer_field(L, arg, "width", 0),
                 .mode = string_is(L, arg, "mode", "bilinear")
                             ? SM_RESIZE_BILINEAR_ANTIALIAS
                             : SM_RESIZE_AREA};
    luaL_argcheck(L, r.channels == 1 || r.channels == 3, arg, "channels must be 1 or 3");
    return r;
}

/* The picture's bytes, resized if wanted, to where they belong in the tensor. */
static sm_status store(const reading *r, const sm_image *image, sm_tensor *t, int64_t at,
                       sm_error *err) {
    int64_t h = r->height ? r->height : image->height,
            w = r->width ? r->width : image->width;
    int64_t from = image->channels * image->height * image->width,
            to = image->channels * h * w;
    if (!r->as_float && h == image->height && w == image->width) {
        for (int64_t i = 0; i < to; i++)
            sm_u8(t)[at + i] =
                r->invert ? (uint8_t)(255 - image->data[i]) : image->data[i];
        return SM_OK;
    }
    float *x = sm_alloc((size_t)from * sizeof *x), *y = sm_alloc((size_t)to * sizeof *y);
    sm_status status =
        x && y ? SM_OK : sm_fail(err, SM_ENOMEM, 0, "image: out of memory");
    if (status == SM_OK) {
        for (int64_t i = 0; i < from; i++)
            x[i] = (float)(r->invert ? 255 - image->data[i] : image->data[i]) / 255;
        status = sm_resize(r->mode, x, image->channels, image->height, image->width, y, h,
                           w, err);
    }
    for (int64_t i = 0; i < to && status == SM_OK; i++)
        if (r->as_float)
            sm_f32(t)[at + i] = y[i];
        else
            sm_u8(t)[at + i] = (uint8_t)(y[i] * 255 + 0.5f);
    sm_free(x);
    sm_free(y);
    return status;
}

/* A picture in a userdata, so that it is freed whatever happens. */
static int picture_gc(lua_State *L) {
    sm_image_free(lua_touserdata(L, 1));
    return 0;
}

static sm_image *push_picture(lua_State *L) {
    sm_image *image = lua_newuserdatauv(L, sizeof *image, 0);
    *image = (sm_image){0};
    if (luaL_newmetatable(L, "siamese.picture")) {
        lua_pushcfunction(L, picture_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return image;
}

static int push_result(lua_State *L, const reading *r, sm_image *image, sm_status status,
                       sm_error *err) {
    if (status == SM_OK) {
        sm_meta meta = {.dtype = r->as_float ? SM_F32 : SM_U8,
                        .ndim = 3,
                        .shape = {image->channels, image->height, image->width}};
        status = store(r, image, lsm_push_tensor(L, &meta, false), 0, err);
    }
    sm_image_free(image);
    if (status == SM_EIO)
        return lsm_push_failure(L, err);
    return status == SM_OK ? 1 : lsm_raise(L, status, err, 0, NULL);
}

/* imaging.load(path, options) */
static int l_load(lua_State *L) {
    sm_error err;
    const char *path = luaL_checkstring(L, 1);
    reading r = check_reading(L, 2);
    sm_image *image = push_picture(L);
    return push_result(L, &r, image,
                       sm_image_read(path, r.channels, &r.limits, image, &err), &err);
}

/* imaging.decode(bytes, options) */
static int l_decode(lua_State *L) {
    sm_error err;
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    reading r = check_reading(L, 2);
    sm_image *image = push_picture(L);
    sm_status status =
        sm_image_decode(bytes, size, "image", r.channels, &r.limits, image, &err);
    return push_result(L, &r, image, status, &err);
}

typedef struct batch_reading {
    reading r;
    const char *const *paths;
    sm_tensor *images;
    sm_error *errors;
    bool *failed;
} batch_reading;

static void read_some(void *context, int64_t begin, int64_t end, int thread) {
    const batch_reading *b = context;
    int64_t size = b->r.channels * b->r.height * b->r.width;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        sm_image image = {0};
        b->failed[i] = sm_image_read(b->paths[i], b->r.channels, &b->r.limits, &image,
                                     &b->errors[i]) != SM_OK ||
                       store(&b->r, &image, b->images, i * size, &b->errors[i]) != SM_OK;
        sm_image_free(&image);
    }
}

/* Without a size: that of the first picture that can be read; others must have it too. */
static void first_size(batch_reading *b, int64_t n) {
    sm_image image = {0};
    sm_error err;
    for (int64_t i = 0; i < n && b->r.height == 0; i++) {
        if (sm_image_read(b->paths[i], b->r.channels, &b->r.limits, &image, &err) ==
            SM_OK) {
            b->r.height = image.height;
            b->r.width = image.width;
        }
        sm_image_free(&image);
    }
    if (b->r.height == 0)
        b->r.height = b->r.width = 1;
}

/* A picture of another size than the first is a failure. Runs after reading, on what was
 * not resized. */
static void read_same_size(void *context, int64_t begin, int64_t end, int thread) {
    const batch_reading *b = context;
    int64_t size = b->r.channels * b->r.height * b->r.width;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        sm_image image = {0};
        sm_status status = sm_image_read(b->paths[i], b->r.channels, &b->r.limits, &image,
                                         &b->errors[i]);
        if (status == SM_OK && (image.height != b->r.height || image.width != b->r.width))
            status = sm_fail(
                &b->errors[i], SM_EIO, 0,
                "%s: %lld x %lld pixels, expected %lld x %lld as the first picture has",
                b->paths[i], (long long)image.height, (long long)image.width,
                (long long)b->r.height, (long long)b->r.width);
        if (status == SM_OK)
            status = store(&b->r, &image, b->images, i * size, &b->errors[i]);
        b->failed[i] = status != SM_OK;
        sm_image_free(&image);
    }
}

/* Pushes a block with the strings of the list at 1; the list keeps them alive. */
static const char **push_paths(lua_State *L, int64_t *n) {
    luaL_checktype(L, 1, LUA_TTABLE);
    *n = (int64_t)lua_rawlen(L, 1);
    const char **paths = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *paths, 0);
    for (int64_t i = 0; i < *n; i++) {
        if (lua_rawgeti(L, 1, i + 1) != LUA_TSTRING)
            luaL_argerror(
                L, 1,
                lua_pushfstring(L, "path %d is a %s", (int)i + 1, luaL_typename(L, -1)));
        paths[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return paths;
}

/* imaging.load_batch(paths, options): images and the failures by index */
static int l_load_batch(lua_State *L) {
    int64_t n;
    batch_reading b = {.r = check_reading(L, 2)};
    b.paths = push_paths(L, &n);
    b.errors = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *b.errors, 0);
    b.failed = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *b.failed, 0);
    bool given = b.r.height > 0;
    if (!given)
        first_size(&b, n);
    sm_meta meta = {.dtype = b.r.as_float ? SM_F32 : SM_U8,
                    .ndim = 4,
                    .shape = {n, b.r.channels, b.r.height, b.r.width}};
    b.images = lsm_push_tensor(L, &meta, true);
    sm_parallel_for(n, 1, given ? read_some : read_same_size, &b);
    lua_newtable(L);
    for (int64_t i = 0; i < n; i++)
        if (b.failed[i]) {
            lua_pushstring(L, b.errors[i].message);
            lua_rawseti(L, -2, i + 1);
        }
    return 2;
}

/* ---- resizing and writing ---- */

/* A dense float32 version of the tensor at arg (in its place); bytes stay 0..255. */
static sm_tensor *dense_float(lua_State *L, int arg) {
    sm_tensor *t = lsm_check_tensor(L, arg);
    const sm_copy_params params = {SM_F32};
    if (t->dtype == SM_F32 && sm_tensor_is_contiguous(t))
        return t;
    lsm_apply(L, &sm_op_copy, 1, &arg, &params);
    lua_replace(L, arg);
    return lsm_check_tensor(L, arg);
}

/* imaging.resize(t [..,H,W], height, width, mode, antialias) */
static int l_resize(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_error err;
    sm_tensor *t = lsm_check_tensor(L, 1);
    int64_t height = luaL_checkinteger(L, 2), width = luaL_checkinteger(L, 3);
    bool area = strcmp(luaL_checkstring(L, 4), "area") == 0,
         antialias = lua_toboolean(L, 5);
    bool bytes = t->dtype == SM_U8;
    if (t->dtype == SM_I64 || t->ndim < 2 || t->shape[t->ndim - 1] < 1 ||
        t->shape[t->ndim - 2] < 1)
        return luaL_argerror(L, 1,
                             lua_pushfstring(L,
                                             "resize: needs a float32 or uint8 image "
                                             "[..,H,W], got %s %s",
                                             sm_dtype_name(t->dtype),
                                             sm_tensor_shape_text(text, t)));
    luaL_argcheck(L, height >= 1 && width >= 1, 2, "resize: sizes must be positive");
    sm_meta meta = sm_tensor_meta(t);
    meta.dtype = SM_F32;
    t = dense_float(L, 1);
    int64_t h = t->shape[t->ndim - 2], w = t->shape[t->ndim - 1];
    int64_t planes = sm_tensor_numel(t) / (h * w);
    meta.shape[meta.ndim - 2] = height;
    meta.shape[meta.ndim - 1] = width;
    sm_tensor *y = lsm_push_tensor(L, &meta, false);
    sm_resize_mode mode = area        ? SM_RESIZE_AREA
                          : antialias ? SM_RESIZE_BILINEAR_ANTIALIAS
                                      : SM_RESIZE_BILINEAR;
    sm_status status =
        sm_resize(mode, sm_f32(t), planes, h, w, sm_f32(y), height, width, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    if (!bytes)
        return 1;
    for (int64_t i = 0, n = sm_tensor_numel(y); i < n; i++)
        sm_f32(y)[i] += 0.5f; /* the conversion truncates */
    lsm_cast_arg(L, lua_gettop(L), SM_U8);
    return 1;
}

/* imaging.save_png(path, t): [1,H,W], [3,H,W] or [H,W] */
static int l_save_png(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_error err;
    const char *path = luaL_checkstring(L, 1);
    sm_tensor *t = lsm_check_tensor(L, 2);
    int64_t channels = t->ndim == 3 ? t->shape[0] : 1;
    if ((t->ndim != 2 && t->ndim != 3) || (channels != 1 && channels != 3) ||
        t->dtype == SM_I64)
        return luaL_argerror(
            L, 2,
            lua_pushfstring(L,
                            "save: needs uint8 or float32 [1,H,W], [3,H,W] "
                            "or [H,W], got %s %s",
                            sm_dtype_name(t->dtype), sm_tensor_shape_text(text, t)));
    int64_t h = t->shape[t->ndim - 2], w = t->shape[t->ndim - 1];
    sm_meta meta = sm_tensor_meta(t);
    meta.dtype = SM_U8;
    sm_tensor *bytes = lsm_push_tensor(L, &meta, false);
    if (t->dtype == SM_U8) {
        sm_tensor_copy(bytes, t);
    } else {
        sm_tensor *x = dense_float(L, 2);
        for (int64_t i = 0, n = sm_tensor_numel(x); i < n; i++) {
            float v = sm_f32(x)[i] * 255 + 0.5f;
            sm_u8(bytes)[i] = (uint8_t)(v >= 255 ? 255 : v > 0 ? v : 0);
        }
    }
    sm_status status = sm_image_write_png(path, sm_u8(bytes), (int)channels, h, w, &err);
    if (status == SM_EIO)
        return lsm_push_failure(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- drawing ---- */

static sm_canvas check_canvas(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    luaL_argcheck(L,
                  t->dtype == SM_U8 && t->ndim == 3 && t->shape[0] == 3 &&
                      sm_tensor_is_contiguous(t),
                  1, "a canvas is a contiguous uint8 tensor [3,H,W]");
    sm_touch(t);
    return (sm_canvas){sm_u8(t), t->shape[1], t->shape[2]};
}

static void check_color(lua_State *L, int arg, uint8_t color[3]) {
    luaL_checktype(L, arg, LUA_TTABLE);
    for (int k = 0; k < 3; k++) {
        lua_rawgeti(L, arg, k + 1);
        lua_Integer value = lua_tointeger(L, -1);
        luaL_argcheck(L, lua_isnumber(L, -1) && value >= 0 && value <= 255, arg,
                      "a colour is {red, green, blue} of 0..255");
        color[k] = (uint8_t)value;
        lua_pop(L, 1);
    }
}

/* A coordinate, from 1, within what can be computed with. */
static int64_t check_pixel(lua_State *L, int arg) {
    lua_Number x = luaL_checknumber(L, arg);
    luaL_argcheck(L, x > -1e9 && x < 1e9, arg, "too far from the canvas");
    return (int64_t)x;
}

static int64_t check_scale(lua_State *L, int arg) {
    lua_Integer scale = luaL_checkinteger(L, arg);
    luaL_argcheck(L, scale >= 1 && scale <= 1000, arg, "scale must be from 1 to 1000");
    return scale;
}

/* imaging.rectangle(canvas, x, y, width, height, color, thickness) */
static int l_rectangle(lua_State *L) {
    uint8_t color[3];
    sm_canvas c = check_canvas(L);
    check_color(L, 6, color);
    sm_draw_rectangle(&c, check_pixel(L, 2) - 1, check_pixel(L, 3) - 1, check_pixel(L, 4),
                      check_pixel(L, 5), color, check_pixel(L, 7));
    return 0;
}

/* imaging.line(canvas, x0, y0, x1, y1, color, thickness) */
static int l_line(lua_State *L) {
    uint8_t color[3];
    sm_canvas c = check_canvas(L);
    check_color(L, 6, color);
    sm_draw_line(&c, check_pixel(L, 2) - 1, check_pixel(L, 3) - 1, check_pixel(L, 4) - 1,
                 check_pixel(L, 5) - 1, color, check_scale(L, 7));
    return 0;
}

/* imaging.text(canvas, x, y, text, color, scale) */
static int l_text(lua_State *L) {
    uint8_t color[3];
    sm_canvas c = check_canvas(L);
    check_color(L, 5, color);
    int64_t scale = check_scale(L, 6);
    sm_draw_text(&c, check_pixel(L, 2) - 1, check_pixel(L, 3) - 1, luaL_checkstring(L, 4),
                 color, scale);
    return 0;
}

/* imaging.text_size(text, scale): width, height */
static int l_text_size(lua_State *L) {
    size_t length;
    luaL_checklstring(L, 1, &length);
    int64_t scale = check_scale(L, 2);
    lua_pushinteger(L, (lua_Integer)length * SM_TEXT_WIDTH * scale);
    lua_pushinteger(L, SM_TEXT_HEIGHT * scale);
    return 2;
}

/* ---- affine maps and glyphs ---- */

static sm_range check_range(lua_State *L, int arg) {
    double v[3];
    luaL_checktype(L, arg, LUA_TTABLE);
    for (int k = 0; k < 3; k++) {
        lua_rawgeti(L, arg, k + 1);
        v[k] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    return (sm_range){v[0], v[1], v[2]};
}

static sm_tensor *check_images(lua_State *L, int arg, const char *name) {
    char text[SM_SHAPE_TEXT];
    sm_tensor *t = lsm_check_tensor(L, arg);
    if (t->dtype != SM_F32 || t->ndim != 4)
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "%s: needs float32 images [N,C,H,W], got %s %s",
                                      name, sm_dtype_name(t->dtype),
                                      sm_tensor_shape_text(text, t)));
    return dense_float(L, arg);
}

/* imaging.affine(images, generator, fill, rotation, shear, scale, translation) */
static int l_affine(lua_State *L) {
    sm_tensor *x = check_images(L, 1, "affine");
    sm_rng *rng = lsm_check_generator(L, 2);
    float fill = (float)luaL_checknumber(L, 3);
    sm_affine_ranges r = {check_range(L, 4), check_range(L, 5), check_range(L, 6),
                          check_range(L, 7)};
    sm_batch b = {x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
    double(*maps)[6] = lua_newuserdatauv(L, (size_t)(b.n + 1) * sizeof *maps, 0);
    for (int64_t i = 0; i < b.n; i++)
        sm_affine_draw(&r, rng, i, b.h, b.w, maps[i]);
    rng->counter++;
    sm_meta meta = sm_tensor_meta(x);
    sm_tensor *y = lsm_push_tensor(L, &meta, false);
    sm_warp_affine(&b, sm_f32(x), sm_f32(y), (const double(*)[6])maps, fill);
    return 1;
}

/* imaging.warp(images, matrices [N,2,3] float32, fill): see image.warp */
static int l_warp(lua_State *L) {
    sm_tensor *x = check_images(L, 1, "warp");
    sm_tensor *m = lsm_cast_arg(L, 2, SM_F32);
    float fill = (float)luaL_optnumber(L, 3, 0);
    luaL_argcheck(L,
                  m->ndim == 3 && m->shape[0] == x->shape[0] && m->shape[1] == 2 &&
                      m->shape[2] == 3,
                  2, "warp: needs one matrix [2,3] an image");
    m = dense_float(L, 2);
    sm_batch b = {x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
    double(*maps)[6] = lua_newuserdatauv(L, (size_t)(b.n + 1) * sizeof *maps, 0);
    for (int64_t i = 0; i < b.n * 6; i++)
        maps[i / 6][i % 6] = (double)sm_f32(m)[i];
    sm_meta meta = sm_tensor_meta(x);
    sm_tensor *y = lsm_push_tensor(L, &meta, false);
    sm_warp_affine(&b, sm_f32(x), sm_f32(y), (const double(*)[6])maps, fill);
    return 1;
}

/* imaging.glyphs(classes int64 [N], samples int64 [N], size, seed, jitter):
 * [N,1,size,size] */
static int l_glyphs(lua_State *L) {
    lua_settop(L, 5);
    sm_tensor *classes = lsm_cast_arg(L, 1, SM_I64),
              *samples = lsm_cast_arg(L, 2, SM_I64);
    sm_glyphs g = {.size = luaL_checkinteger(L, 3),
                   .seed = (uint64_t)luaL_checkinteger(L, 4),
                   .jitter = luaL_checknumber(L, 5)};
    luaL_argcheck(L,
                  classes->ndim == 1 && sm_tensor_same_shape(classes, samples) &&
                      sm_tensor_is_contiguous(classes) &&
                      sm_tensor_is_contiguous(samples),
                  2, "glyphs: classes and samples must be [N]");
    luaL_argcheck(L, g.size >= 8 && g.size <= 4096, 3,
                  "glyphs: size must be from 8 to 4096");
    luaL_argcheck(L, g.jitter >= 0 && g.jitter <= 3, 5,
                  "glyphs: jitter must be from 0 to 3");
    sm_meta meta = {
        .dtype = SM_F32, .ndim = 4, .shape = {classes->shape[0], 1, g.size, g.size}};
    sm_tensor *images = lsm_push_tensor(L, &meta, false);
    sm_glyphs_draw(&g, classes->shape[0], sm_i64(classes), sm_i64(samples),
                   sm_f32(images));
    return 1;
}

static const luaL_Reg functions[] = {
    {"load", l_load},     {"decode", l_decode},     {"load_batch", l_load_batch},
    {"resize", l_resize}, {"save_png", l_save_png}, {"rectangle", l_rectangle},
    {"line", l_line},     {"text", l_text},         {"text_size", l_text_size},
    {"affine", l_affine}, {"warp", l_warp},         {"glyphs", l_glyphs},
    {NULL, NULL}};

void lsm_open_image(lua_State *L) {
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "imaging");
}
