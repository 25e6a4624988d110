/* lua_view.c: views in Lua: 1-based dimensions, negative ones from the end. */
#include "base/mem.h"
#include "lua/state.h"
#include "ops/view.h"

/* The contiguous copy of the tensor at 1 takes its place. */
static void make_contiguous(lua_State *L) {
    const sm_copy_params params = {lsm_check_tensor(L, 1)->dtype};
    lsm_apply1(L, &sm_op_copy, &params);
    lua_replace(L, 1);
}

static sm_reshape_params check_sizes(lua_State *L) {
    sm_reshape_params p = {0};
    lsm_check_tensor(L, 1);
    if (lsm_check_shape(L, 2, &p.ndim, p.shape) <= lua_gettop(L))
        lsm_typeerror(L, p.ndim + 2, "sizes");
    return p;
}

/* t:view(sizes...): shares memory; one size may be -1. What image layers give lies
 * channels-last, which is nothing to refuse a user for: it is copied where it must be. */
static int l_view(lua_State *L) {
    sm_reshape_params p = check_sizes(L);
    if (sm_tensor_is_channels_last(lsm_check_tensor(L, 1)) &&
        !sm_can_view(lsm_check_tensor(L, 1), &p))
        make_contiguous(L);
    return lsm_apply1(L, &sm_op_reshape, &p);
}

/* t:reshape(sizes...): shares memory where the strides allow it, else copies. */
static int l_reshape(lua_State *L) {
    sm_reshape_params p = check_sizes(L);
    if (!sm_tensor_is_contiguous(lsm_check_tensor(L, 1)) &&
        !sm_can_view(lsm_check_tensor(L, 1), &p))
        make_contiguous(L);
    return lsm_apply1(L, &sm_op_reshape, &p);
}

static int reshape_to(lua_State *L, const sm_meta *meta) {
    sm_reshape_params p = {.ndim = meta->ndim};
    for (int d = 0; d < meta->ndim; d++)
        p.shape[d] = meta->shape[d];
    if (!sm_can_view(lsm_check_tensor(L, 1), &p))
        make_contiguous(L);
    return lsm_apply1(L, &sm_op_reshape, &p);
}

/* t:flatten([from], [to]): joins dimensions from..to (all of them by default). */
static int l_flatten(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_meta meta = {.ndim = 0};
    int from = lua_isnoneornil(L, 2) || t->ndim == 0 ? 0 : lsm_check_dim(L, 2, t->ndim);
    int to = lua_isnoneornil(L, 3) || t->ndim == 0 ? t->ndim - 1
                                                   : lsm_check_dim(L, 3, t->ndim);
    lsm_argcheck(L, t->ndim == 0 || from <= to, 3, "flatten: ends before it starts");
    for (int d = 0; d < t->ndim; d++) {
        if (d <= from || d > to)
            meta.shape[meta.ndim++] = t->shape[d];
        else if (!sm_mul_i64(meta.shape[meta.ndim - 1], t->shape[d],
                             &meta.shape[meta.ndim - 1]))
            return lsm_argerror(L, 1, "flatten: the product of the sizes overflows");
    }
    if (t->ndim == 0)
        meta.shape[meta.ndim++] = 1;
    return reshape_to(L, &meta);
}

/* t:squeeze([dim]): drops all dimensions of size 1, or that one if its size is 1. */
static int l_squeeze(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_meta meta = {.ndim = 0};
    int only = lua_isnoneornil(L, 2) ? -1 : lsm_check_dim(L, 2, t->ndim);
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] != 1 || (only >= 0 && d != only))
            meta.shape[meta.ndim++] = t->shape[d];
    return reshape_to(L, &meta);
}

/* t:unsqueeze(dim): a new dimension of size 1 at that place. */
static int l_unsqueeze(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_meta meta = {.ndim = 0};
    lsm_argcheck(L, t->ndim < SM_MAX_DIMS, 1,
                 "unsqueeze: the tensor has the most dimensions already");
    int at = lsm_check_dim(L, 2, t->ndim + 1);
    for (int d = 0; d <= t->ndim; d++) {
        if (d == at)
            meta.shape[meta.ndim++] = 1;
        if (d < t->ndim)
            meta.shape[meta.ndim++] = t->shape[d];
    }
    return reshape_to(L, &meta);
}

/* t:permute(dims...): output dimension i is input dimension dims[i]. */
static int l_permute(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_permute_params p = {0};
    int64_t dims[SM_MAX_DIMS];
    lsm_check_shape(L, 2, &p.ndim, dims);
    for (int d = 0; d < p.ndim; d++)
        p.dims[d] = dims[d] > 0 && dims[d] <= t->ndim    ? (int)dims[d] - 1
                    : dims[d] < 0 && dims[d] >= -t->ndim ? (int)(t->ndim + dims[d])
                                                         : -1;
    return lsm_apply1(L, &sm_op_permute, &p);
}

static int swap(lua_State *L, int ndim, int a, int b) {
    sm_permute_params p = {.ndim = ndim};
    for (int d = 0; d < ndim; d++)
        p.dims[d] = d == a ? b : d == b ? a : d;
    return lsm_apply1(L, &sm_op_permute, &p);
}

/* t:transpose(a, b): swaps two dimensions. */
static int l_transpose(lua_State *L) {
    int ndim = lsm_check_tensor(L, 1)->ndim;
    int a = lsm_check_dim(L, 2, ndim), b = lsm_check_dim(L, 3, ndim);
    return swap(L, ndim, a, b);
}

/* t:t(): the transposed matrix. */
static int l_t(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_tensor *t = lsm_check_tensor(L, 1);
    if (t->ndim > 2)
        return lsm_argerror(L, 1,
                            lua_pushfstring(L,
                                            "t: needs at most 2 dimensions, got shape %s",
                                            sm_tensor_shape_text(text, t)));
    return swap(L, t->ndim, 0, t->ndim - 1);
}

/* t:expand(sizes...): repeats dimensions of size 1 without a copy; -1 keeps a size. */
static int l_expand(lua_State *L) {
    sm_expand_params p = check_sizes(L);
    return lsm_apply1(L, &sm_op_expand, &p);
}

/* t:expand_as(other) */
static int l_expand_as(lua_State *L) {
    sm_tensor *other = lsm_check_tensor(L, 2);
    sm_expand_params p = {.ndim = other->ndim};
    for (int d = 0; d < other->ndim; d++)
        p.shape[d] = other->shape[d];
    return lsm_apply1(L, &sm_op_expand, &p);
}

/* t:narrow(dim, start, length) */
static int l_narrow(lua_State *L) {
    sm_slice_params p = {.dim = lsm_check_dim(L, 2, lsm_check_tensor(L, 1)->ndim),
                         .step = 1};
    lua_Integer start = luaL_checkinteger(L, 3), length = luaL_checkinteger(L, 4);
    int64_t size = lsm_check_tensor(L, 1)->shape[p.dim];
    p.start = start < 0 && start >= -size ? start + size : start > 0 ? start - 1 : -1;
    p.length = length;
    return lsm_apply1(L, &sm_op_slice, &p);
}

/* t:select(dim, index): that element; the dimension disappears. */
static int l_select(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    sm_select_params p = {.dim = lsm_check_dim(L, 2, t->ndim)};
    lua_Integer index = luaL_checkinteger(L, 3);
    p.index = index < 0 ? index + t->shape[p.dim] : index - 1;
    return lsm_apply1(L, &sm_op_select, &p);
}

/* t:unbind([dim]): a table of the elements along a dimension (the first by default). */
static int l_unbind(lua_State *L) {
    sm_tensor *t = lsm_check_tensor(L, 1);
    lsm_argcheck(L, t->ndim > 0, 1, "unbind: a 0-d tensor has no dimensions");
    sm_select_params p = {.dim =
                              lua_isnoneornil(L, 2) ? 0 : lsm_check_dim(L, 2, t->ndim)};
    int64_t size = t->shape[p.dim];
    lua_settop(L, 2);
    lua_newtable(L);
    for (p.index = 0; p.index < size; p.index++) {
        lsm_apply1(L, &sm_op_select, &p);
        lua_rawseti(L, 3, p.index + 1);
    }
    return 1;
}

static const luaL_Reg methods[] = {{"view", l_view},           {"reshape", l_reshape},
                                   {"flatten", l_flatten},     {"squeeze", l_squeeze},
                                   {"unsqueeze", l_unsqueeze}, {"permute", l_permute},
                                   {"transpose", l_transpose}, {"t", l_t},
                                   {"expand", l_expand},       {"expand_as", l_expand_as},
                                   {"narrow", l_narrow},       {"select", l_select},
                                   {"unbind", l_unbind},       {NULL, NULL}};

void lsm_open_view(lua_State *L) {
    lsm_methods(L, methods);
}
