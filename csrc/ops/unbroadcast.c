/* unbroadcast.c: sums over the dimensions along which an operand was repeated. See
 * elementwise.h.
 *
 * A dense tensor is taken in the order of its memory. The last run of dimensions to be
 * summed makes it [outer, mid, inner]; its sums are [outer, inner], and the next run is
 * summed from there. What is summed at once is cut by the shape alone, so that any number
 * of threads gives the same bits.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/columns.h"
#include "kernels/norm.h"
#include "ops/elementwise.h"

/* PARTS: the least number of pieces to cut a long sum into. CHUNK: floats added in single
 * precision. LONG: columns beyond which they are cut instead of the rows. */
enum { PARTS = 16, CHUNK = 8192, CHUNK_ROWS = 512, LONG = 4096 };

typedef struct sums {
    int64_t outer, mid, inner;
    int64_t chunk, parts; /* rows of a chunk; pieces of mid */
    const float *x, *y;   /* y may be NULL: sums of x, else of x y */
    double *partial;      /* [outer, parts, inner] */
    float *work;          /* [outer, parts, inner] */
} sums;

static void add_chunk(const sums *s, const float *x, const float *y, int64_t rows,
                      float *work) {
    const sm_norm_columns k = {.rows = rows, .c = s->inner};
    if (s->inner == 1)
        *work = y ? sm_norm_table()->dot(x, y, rows) : sm_norm_table()->sum(x, rows);
    else if (y)
        sm_columns_table()->dot(x, y, rows, s->inner, work);
    else
        sm_norm_table()->column_sums(&k, x, work);
}

static void sum_parts(void *context, int64_t begin, int64_t end, int thread) {
    const sums *s = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t part = i % s->parts, row = i / s->parts * s->mid;
        const int64_t past = (part + 1) * s->mid / s->parts;
        double *sum = s->partial + i * s->inner;
        float *work = s->work + i * s->inner;
        memset(sum, 0, (size_t)s->inner * sizeof *sum);
        for (int64_t m = part * s->mid / s->parts; m < past; m += s->chunk) {
            const int64_t at = (row + m) * s->inner;
            const int64_t rows = past - m < s->chunk ? past - m : s->chunk;
            add_chunk(s, s->x + at, s->y ? s->y + at : NULL, rows, work);
            for (int64_t j = 0; j < s->inner; j++)
                sum[j] += work[j];
        }
    }
}

/* to = the sums [outer, inner]; it may lie where x does. */
static sm_status sum_step(sums *s, float *to, sm_error *err) {
    const int64_t rows = CHUNK / s->inner;
    s->chunk = rows < 16 ? 16 : rows > CHUNK_ROWS && s->inner > 1 ? CHUNK_ROWS : rows;
    s->parts = 1 + (PARTS - 1) / s->outer;
    if (s->parts > 1 + s->mid / s->chunk)
        s->parts = 1 + s->mid / s->chunk;
    const int64_t pieces = s->outer * s->parts;
    s->partial = sm_alloc((size_t)(pieces * s->inner) * (sizeof(double) + sizeof(float)));
    if (!s->partial)
        return sm_fail(err, SM_ENOMEM, 0, "backward: no memory for its sums");
    s->work = (float *)(s->partial + pieces * s->inner);
    sm_parallel_for(pieces, 1 + 16384 / (s->mid / s->parts * s->inner + 1), sum_parts, s);
    for (int64_t i = 0; i < s->outer; i++)
        for (int64_t j = 0; j < s->inner; j++) {
            double sum = 0;
            for (int64_t part = 0; part < s->parts; part++)
                sum += s->partial[(i * s->parts + part) * s->inner + j];
            to[i * s->inner + j] = (float)sum;
        }
    sm_free(s->partial);
    return SM_OK;
}

enum { COLUMNS = 64 };

/* Few long rows: by columns. */
static void sum_columns(void *context, int64_t begin, int64_t end, int thread) {
    const sums *s = context;
    (void)thread;
    for (int64_t first = begin; first < end; first += COLUMNS) {
        const int64_t width = end - first < COLUMNS ? end - first : COLUMNS;
        double sum[COLUMNS] = {0};
        for (int64_t m = 0; m < s->mid; m++) {
            const float *x = s->x + m * s->inner + first;
            const float *y = s->y ? s->y + m * s->inner + first : NULL;
            for (int64_t j = 0; j < width; j++)
                sum[j] += y ? x[j] * y[j] : x[j];
        }
        for (int64_t j = 0; j < width; j++)
            s->work[first + j] = (float)sum[j];
    }
}

/* A tensor's dimensions in the order of memory, and which of them are to be summed. */
typedef struct plan {
    int ndim;
    int64_t size[SM_MAX_DIMS];
    bool summed[SM_MAX_DIMS];
} plan;

static plan plan_of(const sm_tensor *x, const sm_meta *to, int *order) {
    plan p = {.ndim = x->ndim};
    const bool last = sm_tensor_is_channels_last(x);
    for (int k = 0; k < x->ndim; k++) {
        const int d = !last || k == 0 ? k : k == x->ndim - 1 ? 1 : k + 1;
        const int own = d - (x->ndim - to->ndim);
        order[k] = d;
        p.size[k] = x->shape[d];
        p.summed[k] = own < 0 || to->shape[own] == 1;
    }
    return p;
}

/* The last run of summed dimensions as [outer, mid, inner], and what remains of the plan;
 * false if there is none. */
static bool next_run(plan *p, sums *s) {
    int k = p->ndim - 1;
    s->outer = s->mid = s->inner = 1;
    for (; k >= 0 && !p->summed[k]; k--)
        s->inner *= p->size[k];
    if (k < 0)
        return false;
    for (; k >= 0 && (p->summed[k] || p->size[k] == 1); k--) {
        s->mid *= p->size[k];
        p->size[k] = 1;
        p->summed[k] = false;
    }
    for (; k >= 0; k--)
        s->outer *= p->size[k];
    return true;
}

static sm_status run_plan(plan *p, const float *x, const float *y, float *to,
                          sm_error *err) {
    sums s;
    sm_status status = SM_OK;
    while (status == SM_OK && next_run(p, &s)) {
        s.x = x;
        s.y = y;
        if (s.outer == 1 && s.inner >= LONG) {
            s.work = to;
            sm_parallel_for(s.inner, 1 + 16384 / s.mid, sum_columns, &s);
        } else {
            status = sum_step(&s, to, err);
        }
        x = to;
        y = NULL;
    }
    return status;
}

/* The shape of `meta` on memory whose dimensions lie in `order`; those in front that meta
 * lacks have size 1. */
static void set_view(sm_tensor *t, const sm_meta *meta, int ndim, const int *order) {
    int64_t step = 1;
    t->ndim = meta->ndim;
    memcpy(t->shape, meta->shape, sizeof t->shape);
    for (int k = ndim - 1; k >= 0; k--) {
        const int own = order[k] - (ndim - meta->ndim);
        if (own < 0)
            continue;
        t->stride[own] = step;
        step *= meta->shape[own];
    }
}

/* Numbers that the first step leaves: the most that is needed to hold any step's. */
static int64_t first_count(plan p) {
    sums s;
    return next_run(&p, &s) ? s.outer * s.inner : 0;
}

static sm_status sum_dense(const sm_tensor *x, const sm_tensor *y, const sm_meta *to,
                           sm_tensor **out, sm_error *err) {
    int order[SM_MAX_DIMS];
    plan p = plan_of(x, to, order);
    sm_tensor *all;
    const sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {first_count(p)}};
    sm_status status = sm_tensor_new(&meta, &all, err);
    if (status != SM_OK)
        return status;
    status = run_plan(&p, sm_f32(x), y ? sm_f32(y) : NULL, sm_f32(all), err);
    if (status == SM_OK)
        set_view(all, to, x->ndim, order);
    else
        sm_tensor_unref(all);
    *out = status == SM_OK ? all : NULL;
    return status;
}

static bool same_shape(const sm_tensor *t, const sm_meta *meta) {
    return t->ndim == meta->ndim &&
           memcmp(t->shape, meta->shape, (size_t)meta->ndim * sizeof *t->shape) == 0;
}

sm_status sm_din_sum(sm_back *back, int i, sm_tensor *x, sm_tensor *y, sm_error *err) {
    const sm_meta *meta = &back->in_meta[i];
    sm_tensor *dense_x = NULL, *dense_y = NULL, *sum;
    if (sm_tensor_numel(x) == 0)
        return sm_din_zeros(back, i, &sum, err);
    sm_status (*dense)(sm_tensor *, sm_tensor **, sm_error *) =
        sm_tensor_is_channels_last(x) ? sm_tensor_pixels : sm_tensor_contiguous;
    sm_status status = dense(x, &dense_x, err);
    if (status == SM_OK && y)
        status = dense(y, &dense_y, err);
    if (status == SM_OK)
        status = sum_dense(dense_x, dense_y, meta, &sum, err);
    if (status == SM_OK)
        status = sm_din_give(back, i, sum, err);
    sm_tensor_unref(dense_x);
    sm_tensor_unref(dense_y);
    return status;
}

sm_status sm_din_unbroadcast(sm_back *back, int i, sm_tensor *full, sm_error *err) {
    if (same_shape(full, &back->in_meta[i]))
        return sm_din_give(back, i, full, err);
    sm_status status = sm_din_sum(back, i, full, NULL, err);
    sm_tensor_unref(full);
    return status;
}
