/* lua_matrix_loss.c: losses over matrices, in the table F. siamese.losses is what scripts
 * use.
 *
 *     F.matrix_loss("triplet", distances, { labels = labels, own = 1, margin = 0.2 })
 *     F.margin_softmax(cosines, labels, { kind = "arc", margin = 0.5, scale = 64 })
 */
#include <math.h>
#include <string.h>

#include "lua/state.h"
#include "ops/margin_softmax.h"
#include "ops/matrix_loss.h"

/* The place of the string option `key` in `names` (NULL-terminated); the first where
 * there is none. */
static int opt_choice(lua_State *L, int arg, const char *key, const char *const *names) {
    int found = 0;
    if (lua_isnoneornil(L, arg))
        return found;
    luaL_checktype(L, arg, LUA_TTABLE);
    if (lua_getfield(L, arg, key) != LUA_TNIL) {
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        for (found = 0; names[found] && strcmp(names[found], name) != 0;)
            found++;
        if (!names[found])
            lsm_argerror(L, arg,
                         lua_pushfstring(L, "option '%s' cannot be %s", key,
                                         luaL_tolstring(L, -1, NULL)));
    }
    lua_pop(L, 1);
    return found;
}

/* ---- matrix_loss ---- */

static const char *const matrix_keys[] = {"labels",
                                          "ref_labels",
                                          "indices",
                                          "other",
                                          "beta",
                                          "weights",
                                          "own",
                                          "reduction",
                                          "positive",
                                          "negative",
                                          "margin",
                                          "temperature",
                                          "gamma",
                                          "nu",
                                          "alpha",
                                          "low",
                                          "high",
                                          "squared",
                                          "soft",
                                          "swap",
                                          "apart",
                                          "scale_positive",
                                          "scale_negative",
                                          NULL};

static const char *const reductions[] = {"mean", "mean_nonzero", "sum", "none", NULL};

/* The value at the top as a tensor of dtype, held; NULL for nil. */
static sm_tensor *push_operand(lua_State *L, sm_dtype dtype) {
    int at = lua_gettop(L);
    if (lua_isnil(L, at))
        return NULL;
    lsm_cast_arg(L, at, dtype);
    return lsm_push_held(L, at);
}

static sm_tensor *push_field_operand(lua_State *L, const char *key, sm_dtype dtype) {
    lua_getfield(L, 3, key);
    return push_operand(L, dtype);
}

/* The lists of the option `indices`; they stay on the stack. */
static void push_lists(lua_State *L, sm_tensor **lists) {
    if (lua_getfield(L, 3, "indices") == LUA_TNIL)
        return;
    lsm_argcheck(L, lua_istable(L, -1), 3, "option 'indices' must be a list of lists");
    int list = lua_gettop(L);
    lua_Unsigned count = lua_rawlen(L, list);
    lsm_argcheck(L, count == 3 || count == 4, 3,
                 "option 'indices' must hold three lists (triplets) or four (pairs)");
    for (lua_Integer k = 1; k <= (lua_Integer)count; k++) {
        lua_rawgeti(L, list, k);
        lists[k - 1] = push_operand(L, SM_I64);
    }
}

static sm_matrix_loss_params check_matrix_params(lua_State *L) {
    sm_matrix_loss_params p;
    memset(&p, 0, sizeof p);
    int kind = sm_matrix_loss_by_name(luaL_checkstring(L, 1));
    lsm_argcheck(L, kind >= 0, 1, "there is no such loss");
    lsm_check_keys(L, 3, matrix_keys);
    p.kind = (sm_matrix_loss_kind)kind;
    p.reduction = (sm_pair_reduction)opt_choice(L, 3, "reduction", reductions);
    p.own = lsm_opt_integer_field(L, 3, "own", 0) - 1;
    lsm_argcheck(L, p.own >= -1 && p.own < (int64_t)1 << 40, 3,
                 "option 'own' must be a column");
    p.positive = (float)lsm_opt_number_field(L, 3, "positive", 0);
    p.negative = (float)lsm_opt_number_field(L, 3, "negative", 1);
    p.scale_positive = (float)lsm_opt_number_field(L, 3, "scale_positive", 1);
    p.scale_negative = (float)lsm_opt_number_field(L, 3, "scale_negative", 1);
    p.margin = (float)lsm_opt_number_field(L, 3, "margin", 0);
    p.temperature = (float)lsm_opt_number_field(L, 3, "temperature", 1);
    p.gamma = (float)lsm_opt_number_field(L, 3, "gamma", 1);
    p.nu = (float)lsm_opt_number_field(L, 3, "nu", 0);
    p.alpha = (float)lsm_opt_number_field(L, 3, "alpha", 45);
    p.low = (float)lsm_opt_number_field(L, 3, "low", -INFINITY);
    p.high = (float)lsm_opt_number_field(L, 3, "high", INFINITY);
    p.squared = lsm_opt_boolean_field(L, 3, "squared", false);
    p.soft = lsm_opt_boolean_field(L, 3, "soft", false);
    p.swap = lsm_opt_boolean_field(L, 3, "swap", false);
    p.apart = lsm_opt_boolean_field(L, 3, "apart", false);
    return p;
}

/* F.matrix_loss(kind, matrix [N,M], options): see ops/matrix_loss.h for the kinds and
 * their options. `own` is the column (from 1) that is row 1 itself. */
static int l_matrix_loss(lua_State *L) {
    static const int args[SM_LOSS_OPERANDS] = {2, 3, 3, 3, 3, 3, 3, 3, 3, 3};
    sm_tensor *in[SM_LOSS_OPERANDS] = {NULL};
    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TTABLE);
    sm_matrix_loss_params p = check_matrix_params(L);
    luaL_checkstack(L, 2 * SM_LOSS_OPERANDS + 8, "too many values");
    in[SM_LOSS_MATRIX] = lsm_push_held(L, 2);
    in[SM_LOSS_LABELS] = push_field_operand(L, "labels", SM_I64);
    in[SM_LOSS_REF_LABELS] = push_field_operand(L, "ref_labels", SM_I64);
    push_lists(L, in + SM_LOSS_LISTS);
    in[SM_LOSS_OTHER] = push_field_operand(L, "other", SM_F32);
    in[SM_LOSS_BETA] = push_field_operand(L, "beta", SM_F32);
    in[SM_LOSS_WEIGHTS] = push_field_operand(L, "weights", SM_F32);
    return lsm_apply_array(L, &sm_op_matrix_loss, SM_LOSS_OPERANDS, in, args, &p);
}

/* ---- margin_softmax ---- */

/* F.margin_softmax(logits [N,C], labels [N] from 1, [{kind = "none" | "arc" | "cosine" |
 * "sphere", margin = 0, scale = 1, lengths = [N], weights = [N], reduction = "mean"}]) */
static int l_margin_softmax(lua_State *L) {
    static const int args[] = {1, 2, 3, 3};
    static const char *const keys[] = {"kind",    "margin",    "scale", "lengths",
                                       "weights", "reduction", NULL};
    static const char *const kinds[] = {"none", "arc", "cosine", "sphere", NULL};
    static const char *const sums[] = {"mean", "sum", "none", NULL};
    sm_margin_softmax_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.kind = (sm_angle_margin)opt_choice(L, 3, "kind", kinds);
    p.margin = (float)lsm_opt_number_field(L, 3, "margin", 0);
    p.scale = (float)lsm_opt_number_field(L, 3, "scale", 1);
    int reduction = opt_choice(L, 3, "reduction", sums);
    p.mean = reduction == 0;
    p.none = reduction == 2;
    lsm_cast_arg(L, 2, SM_I64);
    sm_tensor *in[4] = {lsm_push_held(L, 1), lsm_push_held(L, 2), NULL, NULL};
    if (lua_istable(L, 3)) {
        in[2] = push_field_operand(L, "lengths", SM_F32);
        in[3] = push_field_operand(L, "weights", SM_F32);
    }
    return lsm_apply_array(L, &sm_op_margin_softmax, 4, in, args, &p);
}

static const luaL_Reg functions[] = {
    {"matrix_loss", l_matrix_loss}, {"margin_softmax", l_margin_softmax}, {NULL, NULL}};

void lsm_open_matrix_loss(lua_State *L) {
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
