/* lua_image.c: pictures and glyphs, in the table core.imaging. lua/siamese/image.lua and
 * data/glyphs.lua check options and say what these functions mean. */
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "image/decode.h"
#include "image/draw.h"
#include "image/glyphs.h"
#include "image/resize.h"
#include "lua/form.h"
#include "lua/state.h"
#include "ops/view.h"

/* ---- reading ---- */

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

static int push_result(lua_State *L, const sm_form *form, sm_image *image,
                       sm_status status, sm_error *err) {
    if (status == SM_OK) {
        int64_t height = form->height ? form->height : image->height,
                width = form->width ? form->width : image->width;
        sm_meta meta = {.dtype = form->fill == SM_FILL_FLOATS ? SM_F32 : SM_U8,
                        .ndim = 3,
                        .shape = {image->channels, height, width}};
        status = sm_form_fill(form, image, NULL,
                              sm_tensor_data(lsm_push_tensor(L, &meta, false)), err);
    }
    sm_image_free(image);
    if (status == SM_EIO)
        return lsm_push_failure(L, err);
    return status == SM_OK ? 1 : lsm_raise(L, status, err, 0, NULL);
}

/* imaging.load(path, options) */
static int l_load(lua_State *L) {
    sm_error err;
    const char *path = lsm_check_path(L, 1);
    sm_form form = lsm_check_form(L, 2);
    sm_image *image = push_picture(L);
    return push_result(L, &form, image,
                       sm_image_read(path, form.channels, &form.limits, image, &err),
                       &err);
}

/* imaging.decode(bytes, options) */
static int l_decode(lua_State *L) {
    sm_error err;
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    sm_form form = lsm_check_form(L, 2);
    sm_image *image = push_picture(L);
    sm_status status =
        sm_image_decode(bytes, size, "image", form.channels, &form.limits, image, &err);
    return push_result(L, &form, image, status, &err);
}

/* ---- resizing and writing ---- */

enum { LARGEST = 1 << 20 }; /* rows or columns that are resized */

static sm_resize_mode check_mode(lua_State *L, int arg, bool antialias) {
    static const char *const names[] = {"area",    "bilinear",      "bicubic",
                                        "nearest", "nearest-exact", NULL};
    static const sm_resize_mode modes[2][5] = {
        {SM_RESIZE_AREA, SM_RESIZE_BILINEAR, SM_RESIZE_BICUBIC, SM_RESIZE_NEAREST,
         SM_RESIZE_NEAREST_EXACT},
        {SM_RESIZE_AREA, SM_RESIZE_BILINEAR_ANTIALIAS, SM_RESIZE_BICUBIC_ANTIALIAS,
         SM_RESIZE_NEAREST, SM_RESIZE_NEAREST_EXACT}};
    return modes[antialias][luaL_checkoption(L, arg, NULL, names)];
}

/* imaging.resize(t [..,H,W], height, width, mode, antialias) */
static int l_resize(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_error err;
    sm_tensor *t = lsm_check_tensor(L, 1);
    int64_t height = luaL_checkinteger(L, 2), width = luaL_checkinteger(L, 3);
    const sm_resize_mode mode = check_mode(L, 4, lua_toboolean(L, 5));
    if (t->dtype == SM_I64 || t->ndim < 2 || t->shape[t->ndim - 1] < 1 ||
        t->shape[t->ndim - 2] < 1)
        return lsm_argerror(L, 1,
                            lua_pushfstring(L,
                                            "resize: needs a float32 or uint8 image "
                                            "[..,H,W], got %s %s",
                                            sm_dtype_name(t->dtype),
                                            sm_tensor_shape_text(text, t)));
    lsm_argcheck(L, height >= 1 && width >= 1, 2, "resize: sizes must be positive");
    lsm_argcheck(L, height <= LARGEST && width <= LARGEST, 2,
                 "resize: sizes must be at most 2^20");
    lsm_argcheck(L, t->shape[t->ndim - 2] <= LARGEST && t->shape[t->ndim - 1] <= LARGEST,
                 1, "resize: the image has more than 2^20 rows or columns");
    sm_meta meta = sm_tensor_meta(t);
    t = lsm_dense_arg(L, 1);
    const int64_t h = t->shape[t->ndim - 2], w = t->shape[t->ndim - 1];
    meta.shape[meta.ndim - 2] = height;
    meta.shape[meta.ndim - 1] = width;
    sm_tensor *y = lsm_push_tensor(L, &meta, false);
    sm_status status =
        sm_resize(mode, t->dtype, sm_tensor_data(t), sm_tensor_numel(t) / (h * w), h, w,
                  sm_tensor_data(y), height, width, &err);
    return status == SM_OK ? 1 : lsm_raise(L, status, &err, 0, NULL);
}

/* imaging.save_png(path, t): [1,H,W], [3,H,W] or [H,W] */
static int l_save_png(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_error err;
    const char *path = lsm_check_path(L, 1);
    sm_tensor *t = lsm_check_tensor(L, 2);
    int64_t channels = t->ndim == 3 ? t->shape[0] : 1;
    if ((t->ndim != 2 && t->ndim != 3) || (channels != 1 && channels != 3) ||
        t->dtype == SM_I64)
        return lsm_argerror(
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
        sm_tensor *x = lsm_dense_arg(L, 2);
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
    lsm_argcheck(L,
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
        lsm_argcheck(L, lua_isnumber(L, -1) && value >= 0 && value <= 255, arg,
                     "a colour is {red, green, blue} of 0..255");
        color[k] = (uint8_t)value;
        lua_pop(L, 1);
    }
}

/* A coordinate, from 1, within what can be computed with. */
static int64_t check_pixel(lua_State *L, int arg) {
    lua_Number x = luaL_checknumber(L, arg);
    lsm_argcheck(L, x > -1e9 && x < 1e9, arg, "too far from the canvas");
    return (int64_t)x;
}

static int64_t check_scale(lua_State *L, int arg) {
    lua_Integer scale = luaL_checkinteger(L, arg);
    lsm_argcheck(L, scale >= 1 && scale <= 1000, arg, "scale must be from 1 to 1000");
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

/* ---- glyphs ---- */

/* imaging.glyphs(classes int64 [N], samples int64 [N], size, seed, jitter):
 * [N,1,size,size] */
static int l_glyphs(lua_State *L) {
    lua_settop(L, 5);
    sm_tensor *classes = lsm_cast_arg(L, 1, SM_I64),
              *samples = lsm_cast_arg(L, 2, SM_I64);
    sm_glyphs g = {.size = luaL_checkinteger(L, 3),
                   .seed = (uint64_t)luaL_checkinteger(L, 4),
                   .jitter = luaL_checknumber(L, 5)};
    lsm_argcheck(L,
                 classes->ndim == 1 && sm_tensor_same_shape(classes, samples) &&
                     sm_tensor_is_contiguous(classes) && sm_tensor_is_contiguous(samples),
                 2, "glyphs: classes and samples must be [N]");
    lsm_argcheck(L, g.size >= 8 && g.size <= 4096, 3,
                 "glyphs: size must be from 8 to 4096");
    lsm_argcheck(L, g.jitter >= 0 && g.jitter <= 3, 5,
                 "glyphs: jitter must be from 0 to 3");
    sm_meta meta = {
        .dtype = SM_F32, .ndim = 4, .shape = {classes->shape[0], 1, g.size, g.size}};
    sm_tensor *images = lsm_push_tensor(L, &meta, false);
    sm_glyphs_draw(&g, classes->shape[0], sm_i64(classes), sm_i64(samples),
                   sm_f32(images));
    return 1;
}

static const luaL_Reg functions[] = {
    {"load", l_load},           {"decode", l_decode},
    {"resize", l_resize},       {"save_png", l_save_png},
    {"rectangle", l_rectangle}, {"line", l_line},
    {"text", l_text},           {"text_size", l_text_size},
    {"glyphs", l_glyphs},       {NULL, NULL}};

void lsm_open_image(lua_State *L) {
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "imaging");
}
