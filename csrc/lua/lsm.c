/* lsm.c: tensor boxes, running ops, errors, options, the collector's share. See lsm.h. */
#include "lua/lsm.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "lua/state.h"
#include "ops/view.h"

/* ---- the collector's share ----
 *
 * One step of the collector for every 8 MB allocated frees what dies young. But the lua
 * program runs the collector in generational mode, whose steps never look again at what
 * has survived two of them, as the tensors between a network's layers do. So a full
 * collection runs, too, when the live bytes have grown since the last one: by a little if
 * collections are so quick that they take no more than a fiftieth of the time (those of a
 * small Lua heap are), else when they have doubled (amortised, like a heap's growth). */
enum {
    STEP_BYTES = 8 << 20,
    TIDY_BYTES = 16 << 20,
    GROWN_BYTES = 24 << 20,
    FULL_BYTES = 256 << 20
};

static void collect(lua_State *L, lsm_state *state) {
    const double start = lsm_clock();
    sm_mem_stats stats;
    lua_gc(L, LUA_GCCOLLECT, 0);
    sm_mem_get_stats(&stats);
    state->after_full = stats.live;
    state->collected_at = lsm_clock();
    state->collect_cost = state->collected_at - start;
}

static bool is_cheap(const lsm_state *state) {
    return lsm_clock() - state->collected_at >= 50 * state->collect_cost;
}

void lsm_account(lua_State *L, size_t bytes) {
    lsm_state *state = lsm_get_state(L);
    state->pending += bytes + 640; /* the structs and the box */
    if (state->pending < STEP_BYTES || state->collecting)
        return;
    state->pending = 0;
    state->collecting = true;
    lua_gc(L, LUA_GCSTEP, 0);
    sm_mem_stats stats;
    sm_mem_get_stats(&stats);
    if (stats.live > 2 * state->after_full + FULL_BYTES ||
        (stats.live > state->after_full + GROWN_BYTES && is_cheap(state)))
        collect(L, state);
    state->collecting = false;
}

static void collect_all(lua_State *L) {
    lsm_state *state = lsm_get_state(L);
    bool outer = state->collecting;
    state->collecting = true;
    collect(L, state);
    state->collecting = outer;
    sm_mem_trim();
}

double lsm_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void lsm_tidy(lua_State *L) {
    lsm_state *state = lsm_get_state(L);
    sm_mem_stats stats;
    sm_mem_get_stats(&stats);
    if (state->collecting || stats.live <= state->after_full + TIDY_BYTES ||
        !is_cheap(state))
        return;
    state->collecting = true;
    collect(L, state);
    state->collecting = false;
}

/* ---- boxes ---- */

sm_tensor **lsm_push_box(lua_State *L) {
    sm_tensor **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, LSM_TENSOR);
    return box;
}

sm_tensor *lsm_to_tensor(lua_State *L, int arg) {
    sm_tensor **box = luaL_testudata(L, arg, LSM_TENSOR);
    return box ? *box : NULL;
}

sm_tensor *lsm_check_tensor(lua_State *L, int arg) {
    sm_tensor **box = luaL_testudata(L, arg, LSM_TENSOR);
    if (!box)
        lsm_typeerror(L, arg, "tensor");
    else if (!*box)
        lsm_argerror(L, arg, "the tensor has been freed");
    return *box;
}

sm_tensor *lsm_push_held(lua_State *L, int at) {
    sm_tensor **box = lsm_push_box(L);
    *box = sm_tensor_ref(lsm_check_tensor(L, at));
    return *box;
}

sm_tensor *lsm_opt_tensor(lua_State *L, int arg) {
    return lua_isnoneornil(L, arg) ? NULL : lsm_check_tensor(L, arg);
}

sm_tensor *lsm_push_tensor(lua_State *L, const sm_meta *meta, bool zeros) {
    sm_tensor **box = lsm_push_box(L);
    sm_error err;
    sm_status (*make)(const sm_meta *, sm_tensor **, sm_error *) =
        zeros ? sm_tensor_zeros : sm_tensor_new;
    sm_status status = make(meta, box, &err);
    if (status == SM_ENOMEM) {
        collect_all(L);
        status = make(meta, box, &err);
    }
    if (status != SM_OK)
        lsm_raise(L, status, &err, 0, NULL);
    lsm_account(L, (*box)->storage->bytes);
    return *box;
}

/* float32 values as int64, all of which must be whole. */
static void check_whole(lua_State *L, int arg, const sm_tensor *from,
                        const sm_tensor *to) {
    for (int64_t i = 0, n = sm_tensor_numel(from); i < n; i++)
        if ((float)sm_i64(to)[i] != sm_f32(from)[i])
            lsm_argerror(
                L, arg,
                lua_pushfstring(L, "expected whole numbers (int64), got %f at element %I",
                                (double)sm_f32(from)[i], (LUAI_UACINT)(i + 1)));
}

sm_tensor *lsm_cast_arg(lua_State *L, int arg, sm_dtype dtype) {
    if (lua_type(L, arg) == LUA_TNUMBER || lua_type(L, arg) == LUA_TTABLE) {
        lsm_push_nested(L, arg, dtype);
        lua_replace(L, arg);
        return lsm_check_tensor(L, arg);
    }
    sm_tensor *t = lsm_check_tensor(L, arg);
    if (t->dtype == dtype)
        return t;
    const sm_copy_params as = {dtype};
    if (dtype == SM_I64 && t->dtype == SM_F32 && !sm_tensor_is_contiguous(t)) {
        const sm_copy_params same = {SM_F32};
        lsm_apply(L, &sm_op_copy, 1, &arg, &same);
        lua_replace(L, arg);
        t = lsm_check_tensor(L, arg);
    }
    lsm_apply(L, &sm_op_copy, 1, &arg, &as);
    sm_tensor *cast = lsm_check_tensor(L, -1);
    if (dtype == SM_I64 && t->dtype == SM_F32)
        check_whole(L, arg, t, cast);
    lua_replace(L, arg);
    return cast;
}

sm_tensor *lsm_dense_arg(lua_State *L, int arg) {
    sm_tensor *t = lsm_check_tensor(L, arg);
    const sm_copy_params same = {t->dtype};
    if (sm_tensor_is_contiguous(t))
        return t;
    lsm_apply(L, &sm_op_copy, 1, &arg, &same);
    lua_replace(L, arg);
    return lsm_check_tensor(L, arg);
}

/* ---- errors ---- */

int lsm_raise(lua_State *L, sm_status status, const sm_error *err, int n,
              const int *args) {
    if (status == SM_EINVAL && args && err->operand >= 1 && err->operand <= n &&
        args[err->operand - 1] > 0)
        return lsm_argerror(L, args[err->operand - 1], err->message);
    return lsm_error(L, "%s", err->message);
}

int lsm_push_failure(lua_State *L, const sm_error *err) {
    luaL_pushfail(L);
    lua_pushstring(L, err->message);
    return 2;
}

/* ---- running ops ---- */

/* With the output boxes on the stack. References on the inputs keep them alive should a
 * finalizer of the script's free one while the collector runs. */
static int run(lua_State *L, const sm_op *op, int n, sm_tensor *const *in,
               const int *args, const void *params, sm_tensor ***boxes) {
    sm_tensor *out[SM_MAX_OUT] = {NULL};
    sm_error err;
    const bool traced = lsm_get_state(L)->tracing;
    if (traced)
        lsm_trace_hold(L, n, in);
    for (int i = 0; i < n; i++)
        if (in[i])
            sm_tensor_ref(in[i]);
    sm_status status = sm_apply(op, n, in, params, out, &err);
    if (status == SM_ENOMEM) {
        collect_all(L);
        status = sm_apply(op, n, in, params, out, &err);
    }
    for (int i = 0; i < n; i++)
        sm_tensor_unref(in[i]);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, n, args);
    size_t bytes = 0;
    int made = 0;
    for (int k = 0; k < op->n_out; k++) {
        *boxes[k] = out[k];
        if (out[k])
            made = k + 1;
        if (out[k] && !op->view)
            bytes += out[k]->storage->bytes;
    }
    if (traced)
        lsm_trace_op(L, op, n, in, params, boxes);
    lua_pop(L, op->n_out - made);
    lsm_account(L, bytes);
    return made;
}

static void push_boxes(lua_State *L, const sm_op *op, sm_tensor ***boxes) {
    luaL_checkstack(L, SM_MAX_OUT + 4, "too many values");
    for (int k = 0; k < op->n_out; k++)
        boxes[k] = lsm_push_box(L);
}

int lsm_apply(lua_State *L, const sm_op *op, int n, const int *args, const void *params) {
    sm_tensor *in[16], **boxes[SM_MAX_OUT];
    int top =
        lua_gettop(L); /* arguments beyond it are absent; the boxes will lie there */
    push_boxes(L, op, boxes);
    for (int i = 0; i < n; i++)
        in[i] = args[i] && args[i] <= top ? lsm_opt_tensor(L, args[i]) : NULL;
    for (int i = 0; i < op->min_in; i++)
        if (!in[i])
            lsm_typeerror(L, args[i], "tensor");
    return run(L, op, n, in, args, params, boxes);
}

int lsm_apply1(lua_State *L, const sm_op *op, const void *params) {
    static const int args[] = {1};
    return lsm_apply(L, op, 1, args, params);
}

int lsm_apply_array(lua_State *L, const sm_op *op, int n, sm_tensor *const *in,
                    const int *args, const void *params) {
    sm_tensor **boxes[SM_MAX_OUT];
    push_boxes(L, op, boxes);
    return run(L, op, n, in, args, params, boxes);
}

/* ---- arguments ---- */

int lsm_check_dim(lua_State *L, int arg, int ndim) {
    lua_Integer d = luaL_checkinteger(L, arg);
    if (d == 0 || d > ndim || d < -ndim)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "dimension %I is out of range for a %d-D tensor",
                                     (LUAI_UACINT)d, ndim));
    return (int)(d > 0 ? d - 1 : ndim + d);
}

static int64_t check_size(lua_State *L, int index, int arg, int d) {
    int isnum;
    lua_Integer size = lua_tointegerx(L, index, &isnum);
    if (!isnum)
        lsm_argerror(L, arg,
                     lua_pushfstring(L, "size %d must be an integer, got %s", d + 1,
                                     luaL_tolstring(L, index, NULL)));
    return size;
}

int lsm_check_shape(lua_State *L, int arg, int *ndim, int64_t *shape) {
    int end = arg;
    *ndim = 0;
    if (lua_type(L, arg) == LUA_TTABLE) {
        lua_Unsigned n = lua_rawlen(L, arg);
        if (n > SM_MAX_DIMS)
            lsm_argerror(L, arg,
                         lua_pushfstring(L, "a tensor has at most %d dimensions, got %I",
                                         SM_MAX_DIMS, (LUAI_UACINT)n));
        for (int d = 0; d < (int)n; d++) {
            lua_rawgeti(L, arg, d + 1);
            shape[d] = check_size(L, -1, arg, d);
            lua_pop(L, 1);
        }
        *ndim = (int)n;
        return arg + 1;
    }
    for (; lua_type(L, end) == LUA_TNUMBER; end++) {
        if (*ndim == SM_MAX_DIMS)
            lsm_argerror(
                L, end,
                lua_pushfstring(L, "a tensor has at most %d dimensions", SM_MAX_DIMS));
        shape[*ndim] = check_size(L, end, end, *ndim);
        ++*ndim;
    }
    return end;
}

const char *lsm_check_path(lua_State *L, int arg) {
    size_t size;
    const char *path = luaL_checklstring(L, arg, &size);
    lsm_argcheck(L, strlen(path) == size, arg, "the path has a zero byte");
    return path;
}

sm_dtype lsm_check_dtype(lua_State *L, int arg) {
    const char *name = luaL_checkstring(L, arg);
    int dtype = sm_dtype_by_name(name);
    if (dtype < 0)
        lsm_argerror(
            L, arg,
            lua_pushfstring(L, "dtype must be float32, int64 or uint8, got '%s'", name));
    return (sm_dtype)dtype;
}

void lsm_push_shape(lua_State *L, int ndim, const int64_t *shape) {
    lua_createtable(L, ndim, 0);
    for (int d = 0; d < ndim; d++) {
        lua_pushinteger(L, shape[d]);
        lua_rawseti(L, -2, d + 1);
    }
}

/* ---- options ---- */

/* Pushes field `key` of the options; false (and nothing pushed) when there is none. */
static bool push_option(lua_State *L, int arg, const char *key) {
    if (lua_isnoneornil(L, arg))
        return false;
    luaL_checktype(L, arg, LUA_TTABLE);
    if (lua_getfield(L, arg, key) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

static int option_error(lua_State *L, int arg, const char *key, const char *wanted) {
    return lsm_argerror(L, arg,
                        lua_pushfstring(L, "option '%s' must be %s, got %s", key, wanted,
                                        luaL_tolstring(L, -1, NULL)));
}

double lsm_opt_number_field(lua_State *L, int arg, const char *key,
                            double default_value) {
    if (!push_option(L, arg, key))
        return default_value;
    if (lua_type(L, -1) != LUA_TNUMBER)
        option_error(L, arg, key, "a number");
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

int64_t lsm_opt_integer_field(lua_State *L, int arg, const char *key,
                              int64_t default_value) {
    int isnum = 0;
    if (!push_option(L, arg, key))
        return default_value;
    int64_t value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &isnum) : 0;
    if (!isnum)
        option_error(L, arg, key, "an integer");
    lua_pop(L, 1);
    return value;
}

bool lsm_opt_boolean_field(lua_State *L, int arg, const char *key, bool default_value) {
    if (!push_option(L, arg, key))
        return default_value;
    if (lua_type(L, -1) != LUA_TBOOLEAN)
        option_error(L, arg, key, "true or false");
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

void lsm_opt_pair_field(lua_State *L, int arg, const char *key, int64_t default_value,
                        int64_t pair[2]) {
    pair[0] = pair[1] = default_value;
    if (!push_option(L, arg, key))
        return;
    int ok = 0;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        pair[0] = pair[1] = lua_tointegerx(L, -1, &ok);
    } else if (lua_type(L, -1) == LUA_TTABLE && lua_rawlen(L, -1) == 2) {
        ok = 1;
        for (int k = 0; k < 2; k++) {
            int isnum;
            lua_rawgeti(L, -1, k + 1);
            pair[k] = lua_tointegerx(L, -1, &isnum);
            ok = ok && isnum;
            lua_pop(L, 1);
        }
    }
    if (!ok)
        option_error(L, arg, key, "an integer or a table {height, width} of two");
    lua_pop(L, 1);
}

void lsm_check_keys(lua_State *L, int arg, const char *const *allowed) {
    if (lua_isnoneornil(L, arg))
        return;
    luaL_checktype(L, arg, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        bool known = false;
        for (int i = 0; key && allowed[i]; i++)
            known = known || strcmp(key, allowed[i]) == 0;
        if (!known) {
            lua_pushvalue(L, -2);
            lsm_argerror(
                L, arg,
                lua_pushfstring(L, "unknown option '%s'", luaL_tolstring(L, -1, NULL)));
        }
    }
}

/* ---- registration ---- */

void lsm_functions(lua_State *L, const luaL_Reg *functions) {
    luaL_setfuncs(L, functions, 0);
}

void lsm_methods(lua_State *L, const luaL_Reg *methods) {
    luaL_setfuncs(L, methods, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lsm_methods_key);
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
}
