/* rows.c: brings dimensions to the back and joins them. See rows.h. */
#include "ops/rows.h"

#include "base/pool.h"

/* Kept dimensions first, reduced ones last, each in order. */
static void order_dims(int ndim, unsigned dims, int *order) {
    int n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int d = 0; d < ndim; d++)
            if ((int)(dims >> d & 1) == pass)
                order[n++] = d;
}

static sm_meta permuted_meta(const sm_meta *meta, unsigned dims) {
    sm_meta out = *meta;
    int order[SM_MAX_DIMS];
    order_dims(meta->ndim, dims, order);
    for (int d = 0; d < meta->ndim; d++)
        out.shape[d] = meta->shape[order[d]];
    return out;
}

static void count_rows(const sm_meta *meta, unsigned dims, sm_rows *rows) {
    rows->m = rows->k = 1;
    for (int d = 0; d < meta->ndim; d++)
        if (dims >> d & 1)
            rows->k *= meta->shape[d];
        else
            rows->m *= meta->shape[d];
}

sm_status sm_rows_open(sm_tensor *x, unsigned dims, sm_rows *rows, sm_error *err) {
    int order[SM_MAX_DIMS];
    sm_meta meta = sm_tensor_meta(x);
    sm_tensor *view;
    count_rows(&meta, dims, rows);
    sm_status status = sm_tensor_alias(x, &view, err);
    if (status != SM_OK)
        return status;
    order_dims(x->ndim, dims, order);
    for (int d = 0; d < x->ndim; d++) {
        view->shape[d] = x->shape[order[d]];
        view->stride[d] = x->stride[order[d]];
    }
    status = sm_tensor_contiguous(view, &rows->t, err);
    sm_tensor_unref(view);
    return status;
}

sm_status sm_rows_new(const sm_meta *meta, unsigned dims, sm_rows *rows, sm_error *err) {
    sm_meta permuted = permuted_meta(meta, dims);
    permuted.dtype = SM_F32;
    count_rows(meta, dims, rows);
    return sm_tensor_new(&permuted, &rows->t, err);
}

sm_status sm_rows_restore(const sm_rows *rows, const sm_meta *meta, unsigned dims,
                          sm_tensor **out, sm_error *err) {
    int order[SM_MAX_DIMS];
    sm_status status = sm_tensor_alias(rows->t, out, err);
    if (status != SM_OK)
        return status;
    order_dims(meta->ndim, dims, order);
    for (int d = 0; d < meta->ndim; d++) {
        (*out)->shape[order[d]] = rows->t->shape[d];
        (*out)->stride[order[d]] = rows->t->stride[d];
    }
    return SM_OK;
}

sm_status sm_rows_copy(const sm_rows *rows, unsigned dims, sm_tensor *out,
                       sm_error *err) {
    sm_tensor *view;
    sm_meta meta = sm_tensor_meta(out);
    sm_status status = sm_rows_restore(rows, &meta, dims, &view, err);
    if (status != SM_OK)
        return status;
    sm_tensor_copy(out, view);
    sm_tensor_unref(view);
    return SM_OK;
}

void sm_rows_close(sm_rows *rows) {
    sm_tensor_unref(rows->t);
    rows->t = NULL;
}

void sm_rows_run(const sm_rows *rows,
                 void (*fn)(void *context, int64_t begin, int64_t end, int thread),
                 void *context) {
    int64_t k = rows->k > 0 ? rows->k : 1;
    sm_parallel_for(rows->m, 1 + 8192 / k, fn, context);
}
