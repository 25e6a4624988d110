/* lua_print.c: tensors as people read them.
 *
 *     > siamese.tensor{{1, 2.5}, {-3, 4}}
 *     tensor([[ 1.0000,  2.5000],
 *             [-3.0000,  4.0000]]) float32 [2,2]
 *
 * Numbers share one format, chosen from the ones shown: whole numbers without decimals,
 * else four decimals, else (very large or small) an exponent. More than 1,000 elements:
 * the first and last three of each dimension.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua/state.h"

enum { WHOLE_LIMIT = 1000, EDGE = 3, NUMBER_TEXT = 64 };

typedef struct printer {
    lua_State *L;
    luaL_Buffer buffer;
    const sm_tensor *t;
    bool summary;
    const char *format; /* of a finite float */
    int width;
} printer;

static double element(const sm_tensor *t, int64_t at) {
    at += t->offset;
    return t->dtype == SM_F32   ? (double)((const float *)t->storage->data)[at]
           : t->dtype == SM_I64 ? (double)((const int64_t *)t->storage->data)[at]
                                : (double)((const uint8_t *)t->storage->data)[at];
}

static void number_text(const printer *p, int64_t at, char *text) {
    double x = element(p->t, at);
    if (p->t->dtype == SM_I64)
        snprintf(text, NUMBER_TEXT, "%lld",
                 (long long)((const int64_t *)p->t->storage->data)[at + p->t->offset]);
    else if (p->t->dtype == SM_U8)
        snprintf(text, NUMBER_TEXT, "%d", (int)x);
    else if (isnan(x))
        snprintf(text, NUMBER_TEXT, "nan");
    else if (isinf(x))
        snprintf(text, NUMBER_TEXT, x > 0 ? "inf" : "-inf");
    else
        snprintf(text, NUMBER_TEXT, p->format, x);
}

/* Index of the k-th shown element of a dimension; -1 stands for the ellipsis. */
static int64_t shown(const printer *p, int64_t size, int64_t k) {
    if (!p->summary || size <= 2 * EDGE)
        return k;
    return k < EDGE ? k : k == EDGE ? -1 : size - (2 * EDGE + 1) + k;
}

static int64_t shown_count(const printer *p, int64_t size) {
    return p->summary && size > 2 * EDGE ? 2 * EDGE + 1 : size;
}

typedef void (*visit)(printer *p, int64_t at, void *context);

static void each_shown(printer *p, int d, int64_t at, visit fn, void *context) {
    if (d == p->t->ndim) {
        fn(p, at, context);
        return;
    }
    for (int64_t k = 0; k < shown_count(p, p->t->shape[d]); k++) {
        int64_t i = shown(p, p->t->shape[d], k);
        if (i >= 0)
            each_shown(p, d + 1, at + i * p->t->stride[d], fn, context);
    }
}

typedef struct range {
    bool whole;
    double most, least; /* of the finite magnitudes above 0 */
} range;

static void visit_range(printer *p, int64_t at, void *context) {
    range *r = context;
    double x = fabs(element(p->t, at));
    if (!isfinite(x))
        return;
    r->whole = r->whole && x == floor(x);
    if (x > r->most)
        r->most = x;
    if (x > 0 && x < r->least)
        r->least = x;
}

static void visit_width(printer *p, int64_t at, void *context) {
    char text[NUMBER_TEXT];
    (void)context;
    number_text(p, at, text);
    if ((int)strlen(text) > p->width)
        p->width = (int)strlen(text);
}

static void choose_format(printer *p) {
    range r = {true, 0, INFINITY};
    if (p->t->dtype == SM_F32) {
        each_shown(p, 0, 0, visit_range, &r);
        bool exponent = r.most >= 1e8 || (r.most > 0 && r.least < 1e-4 && !r.whole) ||
                        (r.most > 0 && r.most / r.least > 1e6 && !r.whole);
        p->format = exponent ? "%.4e" : r.whole ? "%.0f." : "%.4f";
    }
    each_shown(p, 0, 0, visit_width, NULL);
}

static void add(printer *p, const char *text) {
    luaL_addstring(&p->buffer, text);
}

static void add_spaces(printer *p, int n) {
    while (n-- > 0)
        luaL_addchar(&p->buffer, ' ');
}

static void add_number(printer *p, int64_t at) {
    char text[NUMBER_TEXT];
    number_text(p, at, text);
    add_spaces(p, p->width - (int)strlen(text));
    add(p, text);
}

/* A row: numbers, broken into lines that fit 80 columns. */
static void add_row(printer *p, int indent, int64_t at) {
    int last = p->t->ndim - 1;
    int column = indent, size = p->width + 2;
    for (int64_t k = 0, n = shown_count(p, p->t->shape[last]); k < n; k++) {
        int64_t i = shown(p, p->t->shape[last], k);
        if (k)
            add(p, ", ");
        if (k && column + size > 80) {
            add(p, "\n");
            add_spaces(p, indent);
            column = indent;
        }
        if (i < 0)
            add(p, "...");
        else
            add_number(p, at + i * p->t->stride[last]);
        column += size;
    }
}

static void add_block(printer *p, int d, int64_t at, int indent) {
    const sm_tensor *t = p->t;
    add(p, "[");
    if (d == t->ndim - 1) {
        add_row(p, indent + 1, at);
    } else {
        for (int64_t k = 0, n = shown_count(p, t->shape[d]); k < n; k++) {
            int64_t i = shown(p, t->shape[d], k);
            if (k) {
                add(p, d == t->ndim - 2 ? ",\n" : ",\n\n");
                add_spaces(p, indent + 1);
            }
            if (i < 0)
                add(p, "...");
            else
                add_block(p, d + 1, at + i * t->stride[d], indent + 1);
        }
    }
    add(p, "]");
}

static int l_tostring(lua_State *L) {
    char text[SM_SHAPE_TEXT];
    sm_tensor **box = luaL_checkudata(L, 1, LSM_TENSOR);
    if (!*box) {
        lua_pushliteral(L, "tensor (freed)");
        return 1;
    }
    const sm_tensor *t = *box;
    int64_t numel = sm_tensor_numel(t);
    printer p = {.L = L, .t = t, .summary = numel > WHOLE_LIMIT};
    if (numel > 0)
        choose_format(&p);
    luaL_buffinit(L, &p.buffer);
    add(&p, "tensor(");
    if (t->ndim == 0)
        add_number(&p, 0);
    else if (numel == 0)
        add(&p, "[]");
    else
        add_block(&p, 0, 0, 7);
    add(&p, ") ");
    add(&p, sm_dtype_name(t->dtype));
    add(&p, " ");
    add(&p, sm_tensor_shape_text(text, t));
    if (t->requires_grad)
        add(&p, " requires_grad");
    luaL_pushresult(&p.buffer);
    return 1;
}

void lsm_open_print(lua_State *L) {
    luaL_getmetatable(L, LSM_TENSOR);
    lua_pushcfunction(L, l_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}
