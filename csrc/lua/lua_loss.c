/* lua_loss.c: losses and distances, in the table F. Targets and labels may be tensors of
 * any dtype that holds the values, or Lua tables. */
#include <math.h>
#include <string.h>

#include "lua/state.h"
#include "ops/distance.h"
#include "ops/loss.h"
#include "ops/manhattan.h"

static sm_loss_reduction check_reduction(lua_State *L, int arg) {
    if (!lua_istable(L, arg) || lua_getfield(L, arg, "reduction") == LUA_TNIL) {
        lua_settop(L, arg);
        return SM_REDUCE_MEAN;
    }
    const char *name = lua_tostring(L, -1);
    sm_loss_reduction r = SM_REDUCE_MEAN;
    if (name && strcmp(name, "sum") == 0)
        r = SM_REDUCE_SUM;
    else if (name && strcmp(name, "none") == 0)
        r = SM_REDUCE_NONE;
    else if (!name || strcmp(name, "mean") != 0)
        lsm_argerror(
            L, arg,
            lua_pushfstring(L, "reduction must be 'mean', 'sum' or 'none', got '%s'",
                            luaL_tolstring(L, -1, NULL)));
    lua_settop(L, arg);
    return r;
}

static int pointwise(lua_State *L, sm_pointwise_kind kind, const char *option,
                     double otherwise) {
    static const int args[] = {1, 2};
    const bool contrastive = kind == SM_LOSS_CONTRASTIVE;
    const char *const keys[] = {"reduction", option ? option : "reduction",
                                contrastive ? "pos_margin" : NULL, "power", NULL};
    sm_pointwise_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.kind = kind;
    p.reduction = check_reduction(L, 3);
    p.a = option ? (float)lsm_opt_number_field(L, 3, option, otherwise) : 0;
    if (contrastive) {
        double power = lsm_opt_number_field(L, 3, "power", 2);
        lsm_argcheck(L, power == 1 || power == 2, 3,
                     "contrastive_loss: power must be 1 or 2");
        p.b = (float)lsm_opt_number_field(L, 3, "pos_margin", 0);
        p.plain = power == 1;
    }
    lsm_cast_arg(L, 2, SM_F32);
    return lsm_apply(L, &sm_op_pointwise_loss, 2, args, &p);
}

/* F.contrastive_loss(distance, same, [{margin = 1, pos_margin = 0, power = 2, reduction =
 * "mean"}]): Hadsell, Chopra, LeCun 2006; same is 1 (or true) for pairs of one class, 0
 * for pairs of two. power 1: the hinges themselves, not half their squares. */
static int l_contrastive_loss(lua_State *L) {
    return pointwise(L, SM_LOSS_CONTRASTIVE, "margin", 1);
}

/* F.binary_cross_entropy_with_logits(logits, targets, [{pos_weight = 1, reduction =
 * "mean"}]) */
static int l_bce_logits(lua_State *L) {
    return pointwise(L, SM_LOSS_BCE_LOGITS, "pos_weight", 1);
}

/* F.mse_loss(input, target, [{reduction = "mean"}]) */
static int l_mse_loss(lua_State *L) {
    return pointwise(L, SM_LOSS_MSE, NULL, 0);
}

/* F.cross_entropy(logits [N,C], labels [N] from 1, [{label_smoothing = 0, reduction =
 * "mean"}]) */
static int l_cross_entropy(lua_State *L) {
    static const int args[] = {1, 2};
    static const char *const keys[] = {"reduction", "label_smoothing", NULL};
    sm_cross_entropy_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.reduction = check_reduction(L, 3);
    p.smoothing = (float)lsm_opt_number_field(L, 3, "label_smoothing", 0);
    lsm_cast_arg(L, 2, SM_I64);
    return lsm_apply(L, &sm_op_cross_entropy, 2, args, &p);
}

/* F.batch_hard_triplet_loss(embeddings [N,D], labels [N],
 * [{margin = 0.2, soft = false, squared = false, reduction = "mean"}]): Hermans, Beyer,
 * Leibe 2017. */
static int l_batch_hard(lua_State *L) {
    static const int args[] = {1, 2};
    static const char *const keys[] = {"reduction", "margin", "soft", "squared", NULL};
    sm_batch_hard_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.reduction = check_reduction(L, 3);
    p.margin = (float)lsm_opt_number_field(L, 3, "margin", 0.2);
    p.soft = lsm_opt_boolean_field(L, 3, "soft", false);
    p.squared = lsm_opt_boolean_field(L, 3, "squared", false);
    lsm_cast_arg(L, 2, SM_I64);
    return lsm_apply(L, &sm_op_batch_hard, 2, args, &p);
}

/* F.pairwise_distance(a [N,D], b [N,D], [{p = 2, eps = 1e-6}]): [N] */
static int l_pairwise_distance(lua_State *L) {
    static const int args[] = {1, 2};
    static const char *const keys[] = {"p", "eps", NULL};
    sm_pairwise_params p;
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.p = (float)lsm_opt_number_field(L, 3, "p", 2);
    p.eps = (float)lsm_opt_number_field(L, 3, "eps", 1e-6);
    return lsm_apply(L, &sm_op_pairwise_distance, 2, args, &p);
}

/* F.cosine_similarity(a [N,D], b [N,D], [{eps = 1e-8}]): [N] */
static int l_cosine_similarity(lua_State *L) {
    static const int args[] = {1, 2};
    static const char *const keys[] = {"eps", NULL};
    sm_cosine_params p;
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.eps = (float)lsm_opt_number_field(L, 3, "eps", 1e-8);
    return lsm_apply(L, &sm_op_cosine_similarity, 2, args, &p);
}

/* F.cdist(a [N,D], b [M,D], [{p = 2, squared = false}]): distances [N,M]; p is 1 or 2,
 * and only Euclidean ones can be squared. */
static int l_cdist(lua_State *L) {
    static const int args[] = {1, 2};
    static const char *const keys[] = {"p", "squared", NULL};
    sm_cdist_params p;
    memset(&p, 0, sizeof p);
    lua_settop(L, 3);
    lsm_check_keys(L, 3, keys);
    p.squared = lsm_opt_boolean_field(L, 3, "squared", false);
    double norm = lsm_opt_number_field(L, 3, "p", 2);
    lsm_argcheck(L, norm == 2 || (norm == 1 && !p.squared), 3,
                 "cdist: p must be 1 or 2, and 2 where squared");
    if (norm == 1)
        return lsm_apply(L, &sm_op_manhattan, 2, args, NULL);
    return lsm_apply(L, &sm_op_cdist, 2, args, &p);
}

static const luaL_Reg functions[] = {{"contrastive_loss", l_contrastive_loss},
                                     {"binary_cross_entropy_with_logits", l_bce_logits},
                                     {"mse_loss", l_mse_loss},
                                     {"cross_entropy", l_cross_entropy},
                                     {"batch_hard_triplet_loss", l_batch_hard},
                                     {"pairwise_distance", l_pairwise_distance},
                                     {"cosine_similarity", l_cosine_similarity},
                                     {"cdist", l_cdist},
                                     {NULL, NULL}};

void lsm_open_loss(lua_State *L) {
    lua_getfield(L, -1, "F");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
