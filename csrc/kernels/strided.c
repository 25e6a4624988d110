/* strided.c: merge dimensions, cut the outer ones among the threads. See strided.h.
 *
 * Where an operand repeats along short rows (the channels of an image's pixels times one
 * factor a channel), a call for each row would cost more than the row. There a few
 * repetitions are written into a buffer, and several rows are handed over as one.
 */
#include "kernels/strided.h"

#include <string.h>

#include "base/pool.h"

enum { GRAIN = 16384 }; /* elements that are worth a thread */
/* Elements of a buffer, and of a row that is too long to need one. */
enum { TILE = 1024, LONG_ROW = 512 };

typedef struct plan {
    sm_strided walk; /* merged; dimension ndim-1 is the inner one */
    sm_strided_fn fn;
    const void *context;
    int64_t outer; /* product of all but the inner dimension */
} plan;

static bool merges(const sm_strided *w, int d) {
    for (int k = 0; k < w->operands; k++)
        if (w->stride[k][d] != w->stride[k][d + 1] * w->shape[d + 1])
            return false;
    return true;
}

static void remove_dim(sm_strided *w, int d) {
    for (int e = d; e + 1 < w->ndim; e++) {
        w->shape[e] = w->shape[e + 1];
        for (int k = 0; k < w->operands; k++)
            w->stride[k][e] = w->stride[k][e + 1];
    }
    w->ndim--;
}

/* Puts the dimensions in the order in which the first operand lies in memory. */
static void sort_dims(sm_strided *w) {
    for (int i = 1; i < w->ndim; i++)
        for (int d = i; d > 0 && w->stride[0][d - 1] < w->stride[0][d]; d--) {
            int64_t size = w->shape[d];
            w->shape[d] = w->shape[d - 1];
            w->shape[d - 1] = size;
            for (int k = 0; k < w->operands; k++) {
                int64_t stride = w->stride[k][d];
                w->stride[k][d] = w->stride[k][d - 1];
                w->stride[k][d - 1] = stride;
            }
        }
}

/* Drops dimensions of size 1 and joins neighbours that lie behind one another in all
 * operands. */
static void merge_dims(sm_strided *w) {
    for (int d = w->ndim - 1; d >= 0; d--)
        if (w->shape[d] == 1)
            remove_dim(w, d);
    for (int d = w->ndim - 2; d >= 0; d--) {
        if (!merges(w, d))
            continue;
        w->shape[d + 1] *= w->shape[d];
        remove_dim(w, d);
    }
    if (w->ndim == 0) {
        w->ndim = 1;
        w->shape[0] = 1;
        for (int k = 0; k < w->operands; k++)
            w->stride[k][0] = 0;
    }
}

/* One long inner dimension: cut it directly. */
static void run_flat(void *context, int64_t begin, int64_t end, int thread) {
    const plan *p = context;
    const sm_strided *w = &p->walk;
    char *data[SM_STRIDED_MAX_OPERANDS];
    int64_t stride[SM_STRIDED_MAX_OPERANDS];
    (void)thread;
    for (int k = 0; k < w->operands; k++) {
        stride[k] = w->stride[k][0];
        data[k] = w->data[k] + begin * stride[k] * (int64_t)w->item[k];
    }
    p->fn(p->context, end - begin, data, stride);
}

static void run_outer(void *context, int64_t begin, int64_t end, int thread) {
    const plan *p = context;
    const sm_strided *w = &p->walk;
    int last = w->ndim - 1;
    int64_t index[SM_STRIDED_MAX_DIMS] = {0};
    char *data[SM_STRIDED_MAX_OPERANDS];
    int64_t stride[SM_STRIDED_MAX_OPERANDS];
    (void)thread;
    for (int64_t rest = begin, d = last - 1; d >= 0; d--) {
        index[d] = rest % w->shape[d];
        rest /= w->shape[d];
    }
    for (int64_t i = begin; i < end; i++) {
        for (int k = 0; k < w->operands; k++) {
            int64_t at = 0;
            for (int d = 0; d < last; d++)
                at += index[d] * w->stride[k][d];
            data[k] = w->data[k] + at * (int64_t)w->item[k];
            stride[k] = w->stride[k][last];
        }
        p->fn(p->context, w->shape[last], data, stride);
        for (int d = last - 1; d >= 0 && ++index[d] == w->shape[d]; d--)
            index[d] = 0;
    }
}

static bool is_flat(const sm_strided *w, int k, int64_t row, int64_t step) {
    return w->stride[k][w->ndim - 2] == row && w->stride[k][w->ndim - 1] == step;
}

/* Whether the operand is the same for every row. */
static bool repeats(const sm_strided *w, int k) {
    return is_flat(w, k, 0, 1);
}

/* Whether several rows can be handed over as one. */
static bool has_tiles(const sm_strided *w) {
    const int last = w->ndim - 1;
    if (last < 1 || w->shape[last] >= LONG_ROW || w->shape[last - 1] < 4)
        return false;
    bool any = false;
    for (int k = 0; k < w->operands; k++) {
        const bool repeated = k > 0 && repeats(w, k);
        if (!repeated && !is_flat(w, k, w->shape[last], 1) &&
            (k == 0 || !is_flat(w, k, 0, 0)))
            return false;
        any = any || repeated;
    }
    return any;
}

/* Where each operand begins at number `outer` of the dimensions before the last two. */
static void outer_data(const sm_strided *w, int64_t outer, char **data) {
    int64_t at[SM_STRIDED_MAX_OPERANDS] = {0};
    for (int d = w->ndim - 3; d >= 0; d--) {
        for (int k = 0; k < w->operands; k++)
            at[k] += outer % w->shape[d] * w->stride[k][d];
        outer /= w->shape[d];
    }
    for (int k = 0; k < w->operands; k++)
        data[k] = w->data[k] + at[k] * (int64_t)w->item[k];
}

static int64_t tile_rows(const sm_strided *w) {
    return TILE / w->shape[w->ndim - 1];
}

static int64_t tiles(const sm_strided *w) {
    const int64_t rows = tile_rows(w);
    return (w->shape[w->ndim - 2] + rows - 1) / rows;
}

static void run_tiles(void *context, int64_t begin, int64_t end, int thread) {
    const plan *p = context;
    const sm_strided *w = &p->walk;
    const int64_t row = w->shape[w->ndim - 1], rows = w->shape[w->ndim - 2];
    const int64_t most = tile_rows(w), each = tiles(w);
    _Alignas(64) char buffer[SM_STRIDED_MAX_OPERANDS - 1][TILE * 8];
    char *start[SM_STRIDED_MAX_OPERANDS], *data[SM_STRIDED_MAX_OPERANDS];
    int64_t stride[SM_STRIDED_MAX_OPERANDS];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i % each * most;
        const int64_t count = rows - first < most ? rows - first : most;
        if (i == begin || first == 0) {
            outer_data(w, i / each, start);
            for (int k = 1; k < w->operands; k++)
                for (int64_t r = 0; repeats(w, k) && r < most && r < rows; r++)
                    memcpy(buffer[k - 1] + r * row * (int64_t)w->item[k], start[k],
                           (size_t)row * w->item[k]);
        }
        for (int k = 0; k < w->operands; k++) {
            const int64_t step = first * w->stride[k][w->ndim - 2];
            data[k] = k > 0 && repeats(w, k) ? buffer[k - 1]
                                             : start[k] + step * (int64_t)w->item[k];
            stride[k] = w->stride[k][w->ndim - 1];
        }
        p->fn(p->context, count * row, data, stride);
    }
}

void sm_strided_run(const sm_strided *walk, sm_strided_fn fn, const void *context) {
    plan p = {.walk = *walk, .fn = fn, .context = context, .outer = 1};
    for (int d = 0; d < walk->ndim; d++)
        if (walk->shape[d] == 0)
            return;
    if (!walk->serial)
        sort_dims(&p.walk);
    merge_dims(&p.walk);
    int last = p.walk.ndim - 1;
    int64_t inner = p.walk.shape[last];
    for (int d = 0; d < last; d++)
        p.outer *= p.walk.shape[d];
    if (walk->serial) {
        if (p.walk.ndim == 1)
            run_flat(&p, 0, inner, 0);
        else
            run_outer(&p, 0, p.outer, 0);
    } else if (p.walk.ndim == 1) {
        sm_parallel_for(inner, GRAIN, run_flat, &p);
    } else if (has_tiles(&p.walk)) {
        sm_parallel_for(p.outer / p.walk.shape[last - 1] * tiles(&p.walk),
                        1 + GRAIN / TILE, run_tiles, &p);
    } else {
        sm_parallel_for(p.outer, 1 + GRAIN / inner, run_outer, &p);
    }
}
