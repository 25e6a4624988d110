/* lua_mining.c: what siamese.miners stands on, in the table core.mining. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lua/generator.h"
#include "lua/state.h"
#include "ops/mining.h"

#define LSM_MINING "siamese.Mining"

static const char *const kind_names[] = {"easy_hard", "triplets", "similar",   "margins",
                                         "angles",    "weighted", "histogram", NULL};
static const char *const choice_names[] = {"hard", "semihard", "easy", "all", NULL};

static int find_name(const char *name, const char *const *names) {
    for (int k = 0; names[k]; k++)
        if (strcmp(names[k], name) == 0)
            return k;
    return -1;
}

static int l_close(lua_State *L) {
    sm_mining_close(luaL_checkudata(L, 1, LSM_MINING));
    return 0;
}

/* ---- options ---- */

static sm_mine_choice check_choice(lua_State *L, const char *key) {
    lua_getfield(L, 3, key);
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "hard";
    int found = find_name(name, choice_names);
    lsm_argcheck(L, found >= 0, 3,
                 "a choice must be 'hard', 'semihard', 'easy' or 'all'");
    lua_pop(L, 1);
    return (sm_mine_choice)found;
}

/* The option {low, high}; without it everything. */
static void check_range(lua_State *L, const char *key, float range[2]) {
    range[0] = -INFINITY;
    range[1] = INFINITY;
    if (lua_getfield(L, 3, key) != LUA_TNIL) {
        lsm_argcheck(L, lua_istable(L, -1), 3, "a range must be a table {low, high}");
        for (int k = 0; k < 2; k++) {
            int isnum;
            lua_rawgeti(L, -1, k + 1);
            range[k] = (float)lua_tonumberx(L, -1, &isnum);
            lsm_argcheck(L, isnum, 3, "a range must be a table {low, high} of numbers");
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static int64_t check_count(lua_State *L, const char *key, int64_t otherwise) {
    int64_t count = lsm_opt_integer_field(L, 3, key, otherwise);
    lsm_argcheck(L, count >= 1 && count <= 1 << 24, 3, "a count must be from 1 to 2^24");
    return count;
}

/* The generator that random kinds draw from, left on the stack; NULL for the others. */
static sm_rng *push_generator(lua_State *L, sm_mine_kind kind) {
    if (kind != SM_MINE_WEIGHTED && kind != SM_MINE_HISTOGRAM)
        return NULL;
    sm_rng *rng = NULL;
    if (lua_getfield(L, 3, "generator") != LUA_TNIL)
        rng = luaL_testudata(L, -1, LSM_GENERATOR);
    lsm_argcheck(L, rng, 3, "option 'generator' must be a Generator");
    return rng;
}

/* clang-format off */
static const char *const select_keys[] = {
    "labels", "ref_labels", "own", "other", "choose_positive", "choose_negative",
    "positive_range", "negative_range", "low", "high", "positive", "negative", "epsilon",
    "tangent", "cutoff", "zero_cutoff", "size", "bins", "positive_each", "negative_each",
    "generator", NULL};
/* clang-format on */

static void check_numbers_of(lua_State *L, sm_mine_params *p) {
    p->low = (float)lsm_opt_number_field(L, 3, "low", -INFINITY);
    p->high = (float)lsm_opt_number_field(L, 3, "high", INFINITY);
    p->positive = (float)lsm_opt_number_field(L, 3, "positive", 0);
    p->negative = (float)lsm_opt_number_field(L, 3, "negative", 0);
    p->epsilon = (float)lsm_opt_number_field(L, 3, "epsilon", 0);
    p->tangent = (float)lsm_opt_number_field(L, 3, "tangent", 0);
    p->cutoff = (float)lsm_opt_number_field(L, 3, "cutoff", 0.5);
    p->zero_cutoff = (float)lsm_opt_number_field(L, 3, "zero_cutoff", 1.4);
    lsm_argcheck(L, p->cutoff > 0, 3, "option 'cutoff' must be above 0");
    p->size = check_count(L, "size", 1);
    p->bins = check_count(L, "bins", 1);
    p->each[0] = check_count(L, "positive_each", 1);
    p->each[1] = check_count(L, "negative_each", 1);
}

static sm_mine_params check_params(lua_State *L) {
    sm_mine_params p;
    memset(&p, 0, sizeof p);
    int kind = find_name(luaL_checkstring(L, 1), kind_names);
    lsm_argcheck(L, kind >= 0, 1, "there is no such miner");
    lsm_check_keys(L, 3, select_keys);
    p.kind = (sm_mine_kind)kind;
    p.choice[0] = check_choice(L, "choose_positive");
    p.choice[1] = check_choice(L, "choose_negative");
    check_range(L, "positive_range", p.range[0]);
    check_range(L, "negative_range", p.range[1]);
    check_numbers_of(L, &p);
    return p;
}

/* ---- select ---- */

static sm_tensor *push_field_tensor(lua_State *L, const char *key, sm_dtype dtype) {
    if (lua_getfield(L, 3, key) == LUA_TNIL)
        return NULL;
    int at = lua_gettop(L);
    lsm_cast_arg(L, at, dtype);
    return lsm_push_held(L, at);
}

/* Pushes the lists of a mining and fills them; returns their number. */
static int push_mined(lua_State *L, const sm_mining *mining) {
    int64_t *lists[4];
    int count = sm_mines_triplets(mining->p.kind) ? 3 : 4;
    for (int k = 0; k < count; k++) {
        const sm_meta meta = {
            .dtype = SM_I64, .ndim = 1, .shape = {mining->total[count == 4 ? k / 2 : 0]}};
        lists[k] = sm_i64(lsm_push_tensor(L, &meta, false));
    }
    sm_mining_fill(mining, lists);
    return count;
}

/* The labels and sizes of the options; what is cast stays on the stack. */
static sm_pair_source push_source(lua_State *L, const sm_tensor *matrix) {
    sm_pair_source source = {.name = "mining", .first_operand = 2};
    lsm_argcheck(L, matrix->ndim == 2, 2, "mining: the matrix must be 2-D [N,M]");
    source.n = matrix->shape[0];
    source.m = matrix->shape[1];
    source.labels = push_field_tensor(L, "labels", SM_I64);
    source.ref_labels = push_field_tensor(L, "ref_labels", SM_I64);
    source.own = lsm_opt_integer_field(L, 3, "own", 0) - 1;
    lsm_argcheck(L, source.own >= -1 && source.own < (int64_t)1 << 40, 3,
                 "option 'own' must be a column");
    lsm_argcheck(L, source.labels, 3, "mining: needs labels");
    return source;
}

/* A mining in a box that closes it; counts, once more where memory lacked. */
static sm_mining *push_mining(lua_State *L, const sm_pair_source *source,
                              sm_tensor *matrix, sm_tensor *other,
                              const sm_mine_params *p) {
    static const int args[] = {2, 3, 3};
    sm_error err;
    sm_mining *mining = lua_newuserdatauv(L, sizeof *mining, 0);
    memset(mining, 0, sizeof *mining);
    luaL_setmetatable(L, LSM_MINING);
    sm_status status = sm_mining_open(source, matrix, other, p, mining, &err);
    if (status == SM_ENOMEM) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        sm_mem_trim();
        status = sm_mining_open(source, matrix, other, p, mining, &err);
    }
    if (status != SM_OK)
        lsm_raise(L, status, &err, 3, args);
    return mining;
}

/* mining.select(kind, matrix [N,M], options): a, p, n of triplets or a1, p, a2, n of
 * pairs, int64. */
static int l_select(lua_State *L) {
    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TTABLE);
    sm_mine_params p = check_params(L);
    luaL_checkstack(L, 16, "too many values");
    sm_rng *rng = push_generator(L, p.kind);
    if (rng)
        p.rng = *rng;
    sm_tensor *matrix = lsm_push_held(L, 2);
    sm_pair_source source = push_source(L, matrix);
    sm_tensor *other = push_field_tensor(L, "other", SM_F32);
    sm_mining *mining = push_mining(L, &source, matrix, other, &p);
    int count = push_mined(L, mining);
    if (rng)
        rng->counter += sm_mining_draws(mining);
    sm_mining_close(mining);
    return count;
}

/* ---- labels ---- */

static sm_tensor *check_numbers(lua_State *L, int arg, sm_tensor **held) {
    sm_error err;
    sm_tensor *t = lsm_cast_arg(L, arg, SM_I64);
    lsm_argcheck(L, t->ndim == 1, arg, "expected a list, int64 [N]");
    sm_status status = sm_tensor_contiguous(t, held, &err);
    if (status != SM_OK)
        lsm_raise(L, status, &err, 0, NULL);
    return *held;
}

/* The same, its dense form in a box on the stack. */
static sm_tensor *push_numbers(lua_State *L, int arg) {
    lua_pushvalue(L, arg);
    int at = lua_gettop(L);
    sm_tensor **box = lsm_push_box(L);
    return check_numbers(L, at, box);
}

static sm_tensor *push_list(lua_State *L, sm_dtype dtype, int64_t n) {
    const sm_meta meta = {.dtype = dtype, .ndim = 1, .shape = {n}};
    return lsm_push_tensor(L, &meta, dtype == SM_F32);
}

/* mining.group(labels [N]): ids [N] from 1 in order of appearance, ranks [N] within the
 * class, number of classes. */
static int l_group(lua_State *L) {
    sm_error err;
    int64_t classes = 0;
    lua_settop(L, 1);
    sm_tensor *labels = push_numbers(L, 1);
    int64_t n = labels->shape[0];
    int64_t *ids = sm_i64(push_list(L, SM_I64, n)),
            *ranks = sm_i64(push_list(L, SM_I64, n));
    sm_status status = sm_group_labels(sm_i64(labels), n, ids, ranks, &classes, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    lua_pushinteger(L, classes);
    return 3;
}

/* Counts the numbers of the list at the top in weights [n]; returns the list's length. */
static int64_t count_numbers(lua_State *L, float *weights, int64_t n) {
    const sm_tensor *list = push_numbers(L, lua_gettop(L));
    for (int64_t k = 0; k < list->shape[0]; k++) {
        int64_t i = sm_i64(list)[k];
        if (i < 1 || i > n)
            lsm_argerror(L, 1,
                         lua_pushfstring(L, "index %I is out of range 1..%I",
                                         (LUAI_UACINT)i, (LUAI_UACINT)n));
        weights[i - 1] += 1;
    }
    return list->shape[0];
}

/* mining.weights(lists, n): float32 [n], how often each of 1..n is in the lists, over the
 * most; ones where they are empty. */
static int l_weights(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t n = luaL_checkinteger(L, 2), total = 0;
    lsm_argcheck(L, n >= 0, 2, "expected a number of rows");
    sm_tensor *out = push_list(L, SM_F32, n);
    float *weights = sm_f32(out), most = 0;
    for (lua_Integer k = 1; k <= (lua_Integer)lua_rawlen(L, 1); k++) {
        lua_rawgeti(L, 1, k);
        total += count_numbers(L, weights, n);
        lua_settop(L, 3);
    }
    for (int64_t i = 0; i < n; i++)
        most = weights[i] > most ? weights[i] : most;
    for (int64_t i = 0; i < n; i++)
        weights[i] = total > 0 ? weights[i] / most : 1;
    return 1;
}

/* The list at arg, with every number in 1..n. */
static const sm_tensor *push_rows(lua_State *L, int arg, int64_t n) {
    const sm_tensor *list = push_numbers(L, arg);
    for (int64_t k = 0; k < list->shape[0]; k++)
        if (sm_i64(list)[k] < 1 || sm_i64(list)[k] > n)
            lsm_argerror(L, arg,
                         lua_pushfstring(L, "index %I is out of range 1..%I",
                                         (LUAI_UACINT)sm_i64(list)[k], (LUAI_UACINT)n));
    return list;
}

/* Pushes the pairs that there are, as two lists. */
static int push_pairs(lua_State *L, const int64_t *first, const int64_t *second,
                      int64_t classes) {
    int64_t found = 0, at = 0;
    for (int64_t c = 0; c < classes; c++)
        found += second[c] > 0;
    int64_t *a = sm_i64(push_list(L, SM_I64, found));
    int64_t *p = sm_i64(push_list(L, SM_I64, found));
    for (int64_t c = 0; c < classes; c++)
        if (second[c]) {
            a[at] = first[c];
            p[at++] = second[c];
        }
    return 2;
}

/* mining.first_pairs(labels [N], [a, p]): of each class one pair, int64 [C] twice: the
 * first of the lists, or its first two rows. */
static int l_first_pairs(lua_State *L) {
    sm_error err;
    int64_t classes = 0;
    lua_settop(L, 3);
    const sm_tensor *labels = push_numbers(L, 1), *a = NULL, *p = NULL;
    int64_t n = labels->shape[0];
    if (!lua_isnil(L, 2)) {
        a = push_rows(L, 2, n);
        p = push_rows(L, 3, n);
        lsm_argcheck(L, a->shape[0] == p->shape[0], 3, "expected as many as anchors");
    }
    int64_t *ids = sm_i64(push_list(L, SM_I64, n));
    int64_t *ranks = sm_i64(push_list(L, SM_I64, n));
    sm_status status = sm_group_labels(sm_i64(labels), n, ids, ranks, &classes, &err);
    if (status != SM_OK)
        return lsm_raise(L, status, &err, 0, NULL);
    int64_t *first = sm_i64(push_list(L, SM_I64, classes));
    int64_t *second = sm_i64(push_list(L, SM_I64, classes));
    sm_first_pairs(ids, classes, a ? sm_i64(a) : NULL, p ? sm_i64(p) : NULL,
                   a ? a->shape[0] : n, first, second);
    return push_pairs(L, first, second, classes);
}

static const luaL_Reg functions[] = {{"select", l_select},
                                     {"group", l_group},
                                     {"weights", l_weights},
                                     {"first_pairs", l_first_pairs},
                                     {NULL, NULL}};

void lsm_open_mining(lua_State *L) {
    luaL_newmetatable(L, LSM_MINING);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "mining");
}
