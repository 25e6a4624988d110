/* lua_tensor.c: making tensors, looking at them, letting them go. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lua/state.h"
#include "ops/view.h"

/* ---- from nested tables ---- */

typedef struct nested {
    sm_meta meta;
    int arg;
    sm_tensor *tensor;
    int64_t at; /* next element to write */
} nested;

/* "[2,3]" of the element being looked at. */
static const char *place(char *text, int depth, const int64_t *index) {
    return sm_shape_text(text, depth, index);
}

static bool is_leaf(lua_State *L, int type) {
    (void)L;
    return type == LUA_TNUMBER || type == LUA_TBOOLEAN;
}

/* The shape as the first elements show it; the value is on the top of the stack. */
static void find_shape(lua_State *L, nested *n) {
    luaL_checkstack(L, SM_MAX_DIMS + 8, "table nested too deeply");
    int top = lua_gettop(L);
    lua_pushvalue(L, n->arg);
    while (lua_type(L, -1) == LUA_TTABLE) {
        if (n->meta.ndim == SM_MAX_DIMS)
            lsm_argerror(L, n->arg,
                         lua_pushfstring(L, "tensor: tables nest deeper than %d levels",
                                         SM_MAX_DIMS));
        lua_Unsigned size = lua_rawlen(L, -1);
        n->meta.shape[n->meta.ndim++] = (int64_t)size;
        if (size == 0)
            break;
        lua_rawgeti(L, -1, 1);
    }
    lua_settop(L, top);
}

static void store(lua_State *L, nested *n, int depth, const int64_t *index) {
    char text[SM_SHAPE_TEXT];
    bool boolean = lua_type(L, -1) == LUA_TBOOLEAN;
    double value = boolean ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
    if (n->meta.dtype == SM_F32) {
        sm_f32(n->tensor)[n->at++] = (float)value;
        return;
    }
    int isnum = 1;
    int64_t whole = boolean ? (int64_t)value : lua_tointegerx(L, -1, &isnum);
    if (!isnum || (n->meta.dtype == SM_U8 && (whole < 0 || whole > 255)))
        lsm_argerror(L, n->arg,
                     lua_pushfstring(L, "tensor: element %s is %f, which is no %s",
                                     place(text, depth, index), value,
                                     sm_dtype_name(n->meta.dtype)));
    if (n->meta.dtype == SM_I64)
        sm_i64(n->tensor)[n->at++] = whole;
    else
        sm_u8(n->tensor)[n->at++] = (uint8_t)whole;
}

/* The table on the top of the stack must be a sequence of the size found first, without
 * holes. */
static void check_sequence(lua_State *L, const nested *n, int depth,
                           const int64_t *index) {
    char text[SM_SHAPE_TEXT], shape[SM_SHAPE_TEXT];
    int64_t size = (int64_t)lua_rawlen(L, -1), keys = 0;
    if (size != n->meta.shape[depth])
        lsm_argerror(L, n->arg,
                     lua_pushfstring(
                         L, "tensor: ragged table: %s has %I elements, shape %s wants %I",
                         depth ? place(text, depth, index) : "it", (LUAI_UACINT)size,
                         sm_shape_text(shape, n->meta.ndim, n->meta.shape),
                         (LUAI_UACINT)n->meta.shape[depth]));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        keys++;
    if (keys != size)
        lsm_argerror(L, n->arg,
                     lua_pushfstring(L, "tensor: %s has holes or keys other than 1..%I",
                                     depth ? place(text, depth, index) : "the table",
                                     (LUAI_UACINT)size));
}

/* Stores the value on the top of the stack, which lies at `depth`. */
static void fill_nested(lua_State *L, nested *n, int depth, int64_t *index) {
    char text[SM_SHAPE_TEXT];
    int type = lua_type(L, -1);
    if (depth == n->meta.ndim && is_leaf(L, type)) {
        store(L, n, depth, index);
        return;
    }
    if (depth == n->meta.ndim || type != LUA_TTABLE)
        lsm_argerror(L, n->arg,
                     lua_pushfstring(
                         L, "tensor: element %s is a %s, expected a %s%s",
                         place(text, depth, index),
                         lsm_to_tensor(L, -1) ? "tensor" : lua_typename(L, type),
                         depth == n->meta.ndim ? "number" : "table",
                         lsm_to_tensor(L, -1) ? " (siamese.stack joins tensors)" : ""));
    check_sequence(L, n, depth, index);
    for (int64_t i = 1; i <= n->meta.shape[depth]; i++) {
        index[depth] = i;
        lua_rawgeti(L, -1, i);
        fill_nested(L, n, depth + 1, index);
        lua_pop(L, 1);
    }
}

sm_tensor *lsm_push_nested(lua_State *L, int arg, sm_dtype dtype) {
    nested n = {.meta = {.dtype = dtype}, .arg = arg};
    int64_t index[SM_MAX_DIMS + 1] = {0};
    int type = lua_type(L, arg);
    if (type != LUA_TTABLE && !is_leaf(L, type))
        lsm_typeerror(L, arg, "number or table of numbers");
    if (type == LUA_TTABLE)
        find_shape(L, &n);
    n.tensor = lsm_push_tensor(L, &n.meta, true);
    lua_pushvalue(L, arg);
    fill_nested(L, &n, 0, index);
    lua_pop(L, 1);
    return n.tensor;
}

/* ---- constructors ---- */

static const char *const creation_keys[] = {"dtype", "requires_grad", NULL};

typedef struct creation {
    sm_dtype dtype;
    bool requires_grad;
} creation;

/* {dtype = , requires_grad = } at arg. */
static creation check_creation(lua_State *L, int arg, sm_dtype dtype) {
    creation c = {dtype, false};
    lsm_check_keys(L, arg, creation_keys);
    if (lua_isnoneornil(L, arg))
        return c;
    if (lua_getfield(L, arg, "dtype") != LUA_TNIL) {
        const char *name = lua_tostring(L, -1);
        int found = name ? sm_dtype_by_name(name) : -1;
        if (found < 0)
            lsm_argerror(
                L, arg,
                lua_pushfstring(L, "dtype must be float32, int64 or uint8, got '%s'",
                                luaL_tolstring(L, -1, NULL)));
        c.dtype = (sm_dtype)found;
    }
    lua_pop(L, 1);
    c.requires_grad = lsm_opt_boolean_field(L, arg, "requires_grad", false);
    if (c.requires_grad && c.dtype != SM_F32)
        lsm_argerror(L, arg, "only float32 tensors can require a gradient");
    return c;
}

/* Sizes from `arg`, then options. */
static sm_tensor *push_from_shape(lua_State *L, int arg, bool zeros) {
    sm_meta meta = {0};
    int options = lsm_check_shape(L, arg, &meta.ndim, meta.shape);
    if (options == arg && !lua_isnoneornil(L, arg))
        lsm_typeerror(L, arg, "sizes");
    if (options > arg && !lua_isnoneornil(L, options) &&
        lua_type(L, options) != LUA_TTABLE)
        lsm_typeerror(L, options, "table of options");
    creation c = check_creation(L, options, SM_F32);
    meta.dtype = c.dtype;
    sm_tensor *t = lsm_push_tensor(L, &meta, zeros);
    t->requires_grad = c.requires_grad;
    return t;
}

/* tensor(value, [options]): a number, boolean, nested table or tensor (copied) as a new
 * tensor. */
static int l_tensor(lua_State *L) {
    luaL_checkany(L, 1);
    sm_tensor *from = lsm_to_tensor(L, 1);
    creation c = check_creation(L, 2, from ? from->dtype : SM_F32);
    sm_tensor *t;
    if (from) {
        sm_meta meta = sm_tensor_meta(from);
        meta.dtype = c.dtype;
        t = lsm_push_tensor(L, &meta, false);
        sm_tensor_copy(t, from);
    } else {
        t = lsm_push_nested(L, 1, c.dtype);
    }
    t->requires_grad = c.requires_grad;
    return 1;
}

/* zeros(sizes..., [options]) */
static int l_zeros(lua_State *L) {
    push_from_shape(L, 1, true);
    return 1;
}

/* ones(sizes..., [options]) */
static int l_ones(lua_State *L) {
    sm_tensor_fill(push_from_shape(L, 1, false), 1);
    return 1;
}

/* empty(sizes..., [options]): zeros too, so that no script reads what others left in
 * memory. */
static int l_empty(lua_State *L) {
    push_from_shape(L, 1, true);
    return 1;
}

/* full(shape, value, [options]) */
static int l_full(lua_State *L) {
    sm_meta meta = {0};
    lsm_check_shape(L, 1, &meta.ndim, meta.shape);
    luaL_checknumber(L, 2);
    meta.dtype = check_creation(L, 3, SM_F32).dtype;
    bool requires_grad = check_creation(L, 3, SM_F32).requires_grad;
    sm_tensor *t = lsm_push_tensor(L, &meta, false);
    lsm_assign(L, t, 2, "full");
    t->requires_grad = requires_grad;
    return 1;
}

/* arange([start], stop, [step], [options]): start, start + step, ... below stop
 * (PyTorch's). */
static int l_arange(lua_State *L) {
    int numbers = 0;
    while (numbers < 3 && lua_type(L, numbers + 1) == LUA_TNUMBER)
        numbers++;
    if (numbers == 0)
        luaL_checknumber(L, 1);
    double start = numbers > 1 ? lua_tonumber(L, 1) : 0;
    double stop = lua_tonumber(L, numbers > 1 ? 2 : 1);
    double step = numbers > 2 ? lua_tonumber(L, 3) : 1;
    creation c = check_creation(L, numbers + 1, SM_F32);
    lsm_argcheck(L, step != 0 && step == step, 3, "step must not be 0");
    double count = ceil((stop - start) / step);
    lsm_argcheck(L, count < 0x1p53, 1, "the range is too long");
    sm_meta meta = {
        .dtype = c.dtype, .ndim = 1, .shape = {count > 0 ? (int64_t)count : 0}};
    sm_tensor *t = lsm_push_tensor(L, &meta, true);
    for (int64_t i = 0; i < meta.shape[0]; i++) {
        double x = start + (double)i * step;
        if (c.dtype == SM_F32)
            sm_f32(t)[i] = (float)x;
        else if (c.dtype == SM_I64)
            sm_i64(t)[i] = (int64_t)x;
        else
            sm_u8(t)[i] = (uint8_t)(int64_t)x;
    }
    t->requires_grad = c.requires_grad;
    return 1;
}

/* eye(n, [options]): the n by n identity. */
static int l_eye(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    creation c = check_creation(L, 2, SM_F32);
    sm_meta meta = {.dtype = c.dtype, .ndim = 2, .shape = {n, n}};
    sm_tensor *t = lsm_push_tensor(L, &meta, true), *diagonal;
    sm_error err;
    if (sm_tensor_alias(t, &diagonal, &err) != SM_OK)
        return lsm_error(L, "%s", err.message);
    diagonal->ndim = 1;
    diagonal->stride[0] = n + 1;
    sm_tensor_fill(diagonal, 1);
    sm_tensor_unref(diagonal);
    t->requires_grad = c.requires_grad;
    return 1;
}

static sm_tensor *push_like(lua_State *L, bool zeros) {
    sm_tensor *like = lsm_check_tensor(L, 1);
    sm_meta meta = sm_tensor_meta(like);
    creation c = check_creation(L, 2, like->dtype);
    meta.dtype = c.dtype;
    sm_tensor *t = lsm_push_tensor(L, &meta, zeros);
    t->requires_grad = c.requires_grad;
    return t;
}

static int l_zeros_like(lua_State *L) {
    push_like(L, true);
    return 1;
}

static int l_ones_like(lua_State *L) {
    sm_tensor_fill(push_like(L, false), 1);
    return 1;
}

/* full_like(t, value, [options]) */
static int l_full_like(lua_State *L) {
    luaL_checknumber(L, 2);
    lua_settop(L, 3);
    lua_rotate(L, 2, 1); /* the options to 2, the value to 3 */
    sm_tensor *t = push_like(L, false);
    lsm_assign(L, t, 3, "full_like");
    return 1;
}

/* ---- looking ---- */

void lsm_push_element(lua_State *L, const sm_tensor *t, int64_t at) {
    const void *data = t->storage->data;
    at += t->offset;
    if (t->dtype == SM_F32)
        lua_pushnumber(L, (double)((const float *)data)[at]);
    else if (t->dtype == SM_I64)
        lua_pushinteger(L, ((const int64_t *)data)[at]);
    else
        lua_pushinteger(L, ((const uint8_t *)data)[at]);
}

/* t:item(): the one element as a Lua number. */
static int l_item(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (sm_tensor_numel(t) != 1)
        return lsm_argerror(
            L, 1,
            lua_pushfstring(L, "item: needs a tensor of one element, got shape %s",
                            sm_tensor_shape_text(text, t)));
    lsm_note_read(L, t, "item");
    lsm_push_element(L, t, 0);
    return 1;
}

static void push_table(lua_State *L, const sm_tensor *t, int d, int64_t at) {
    if (d == t->ndim) {
        lsm_push_element(L, t, at);
        return;
    }
    int64_t size = t->shape[d];
    lua_createtable(L, size < 1 << 24 ? (int)size : 0, 0);
    for (int64_t i = 0; i < size; i++) {
        push_table(L, t, d + 1, at + i * t->stride[d]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* t:totable(): nested tables of numbers; a number for a 0-d tensor. */
static int l_totable(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    luaL_checkstack(L, SM_MAX_DIMS + 4, "no room");
    lsm_note_read(L, t, "totable");
    push_table(L, t, 0, 0);
    return 1;
}

/* t:size([dim]): one size, or all of them in a table. */
static int l_size(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (lua_isnoneornil(L, 2))
        lsm_push_shape(L, t->ndim, t->shape);
    else
        lua_pushinteger(L, t->shape[lsm_check_dim(L, 2, t->ndim)]);
    return 1;
}

/* t:stride([dim]): in elements. */
static int l_stride(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (lua_isnoneornil(L, 2))
        lsm_push_shape(L, t->ndim, t->stride);
    else
        lua_pushinteger(L, t->stride[lsm_check_dim(L, 2, t->ndim)]);
    return 1;
}

static int l_dim(lua_State *L) {
    lua_pushinteger(L, lsm_check_tensor(L, 1)->ndim);
    return 1;
}

static int l_numel(lua_State *L) {
    lua_pushinteger(L, sm_tensor_numel(lsm_check_tensor(L, 1)));
    return 1;
}

static int l_is_contiguous(lua_State *L) {
    lua_pushboolean(L, sm_tensor_is_contiguous(lsm_check_tensor(L, 1)));
    return 1;
}

static int l_is_tensor(lua_State *L) {
    lua_pushboolean(L, lsm_to_tensor(L, 1) != NULL);
    return 1;
}

/* #t: the size of the first dimension. */
static int l_len(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lsm_argcheck(L, t->ndim > 0, 1, "a 0-d tensor has no length");
    lua_pushinteger(L, t->shape[0]);
    return 1;
}

/* ---- copies and conversions ---- */

static int convert(lua_State *L, sm_dtype dtype) {
    const sm_copy_params params = {dtype};
    if (lsm_check_tensor(L, 1)->dtype == dtype) {
        lua_settop(L, 1);
        return 1;
    }
    return lsm_apply1(L, &sm_op_copy, &params);
}

/* t:to(dtype): t itself if it has that dtype already. */
static int l_to(lua_State *L) {
    return convert(L, lsm_check_dtype(L, 2));
}
static int l_float(lua_State *L) {
    return convert(L, SM_F32);
}
static int l_long(lua_State *L) {
    return convert(L, SM_I64);
}
static int l_byte(lua_State *L) {
    return convert(L, SM_U8);
}

/* t:clone(): a contiguous copy, part of the graph. */
static int l_clone(lua_State *L) {
    const sm_copy_params params = {lsm_check_tensor(L, 1)->dtype};
    return lsm_apply1(L, &sm_op_copy, &params);
}

/* t:contiguous(): t itself if it is contiguous, else a copy. */
static int l_contiguous(lua_State *L) {
    if (!sm_tensor_is_contiguous(lsm_check_tensor(L, 1)))
        return l_clone(L);
    lua_settop(L, 1);
    return 1;
}

/* ---- letting go ---- */

static int l_gc(lua_State *L) {
    sm_tensor **box = luaL_checkudata(L, 1, LSM_TENSOR);
    sm_tensor *t = *box;
    *box = NULL;
    sm_tensor_unref(t);
    return 0;
}

/* t:free(): gives the memory back now (views of it keep it alive). Using t afterwards is
 * an error. A finalizer that runs while the core works may not take a tensor from under
 * it: then the collector does it later. */
static int l_free(lua_State *L) {
    luaL_checkudata(L, 1, LSM_TENSOR);
    return lsm_get_state(L)->collecting ? 0 : l_gc(L);
}

static const luaL_Reg functions[] = {
    {"tensor", l_tensor}, {"zeros", l_zeros},         {"ones", l_ones},
    {"empty", l_empty},   {"full", l_full},           {"arange", l_arange},
    {"eye", l_eye},       {"is_tensor", l_is_tensor}, {NULL, NULL}};

static const luaL_Reg methods[] = {{"zeros_like", l_zeros_like},
                                   {"ones_like", l_ones_like},
                                   {"full_like", l_full_like},
                                   {"item", l_item},
                                   {"totable", l_totable},
                                   {"size", l_size},
                                   {"stride", l_stride},
                                   {"dim", l_dim},
                                   {"numel", l_numel},
                                   {"is_contiguous", l_is_contiguous},
                                   {"to", l_to},
                                   {"float", l_float},
                                   {"long", l_long},
                                   {"byte", l_byte},
                                   {"clone", l_clone},
                                   {"contiguous", l_contiguous},
                                   {"free", l_free},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", l_gc}, {"__close", l_free}, {"__len", l_len}, {NULL, NULL}};

void lsm_open_tensor(lua_State *L) {
    lsm_functions(L, functions);
    lsm_methods(L, methods);
    luaL_getmetatable(L, LSM_TENSOR);
    luaL_setfuncs(L, metamethods, 0);
    lua_pop(L, 1);
}
