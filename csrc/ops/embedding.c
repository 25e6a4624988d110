/* embedding.c: see embedding.h. */
#include "ops/embedding.h"

#include <string.h>

#include "base/pool.h"

static sm_status embedding_check(sm_call *call, sm_error *err) {
    const sm_embedding_params *p = call->params;
    const sm_tensor *index = call->in[0], *w = call->in[1];
    char text[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_I64, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 1, "weight", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 1, "weight", 2, "[V,D]", err);
    if (status != SM_OK)
        return status;
    if (index->ndim == SM_MAX_DIMS)
        return sm_fail(err, SM_EINVAL, 1,
                       "embedding: input has at most %d dimensions, got shape %s",
                       SM_MAX_DIMS - 1, sm_tensor_shape_text(text, index));
    if (p->padding < 0 || p->padding > w->shape[0])
        return sm_fail(err, SM_EINVAL, 3,
                       "embedding: padding_idx %lld is out of range for weight %s",
                       (long long)p->padding, sm_tensor_shape_text(text, w));
    call->meta[0] = sm_tensor_meta(index);
    call->meta[0].dtype = SM_F32;
    call->meta[0].shape[call->meta[0].ndim++] = w->shape[1];
    return SM_OK;
}

static sm_status check_range(const int64_t *index, int64_t n, int64_t rows,
                             sm_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 1 || index[i] > rows)
            return sm_fail(err, SM_EINVAL, 1,
                           "embedding: index %lld at position %lld is out of range "
                           "1..%lld",
                           (long long)index[i], (long long)i + 1, (long long)rows);
    return SM_OK;
}

typedef struct job {
    const int64_t *index;
    int64_t n, d, padding;
    const float *from;
    float *to;
} job;

static void copy_rows(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        memcpy(j->to + i * j->d, j->from + (j->index[i] - 1) * j->d,
               (size_t)j->d * sizeof *j->to);
}

static sm_status embedding_forward(sm_call *call, sm_error *err) {
    sm_tensor *index = NULL, *w = NULL;
    sm_status status = sm_tensor_contiguous(call->in[0], &index, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(call->in[1], &w, err);
    if (status == SM_OK)
        status = check_range(sm_i64(index), sm_tensor_numel(index), w->shape[0], err);
    if (status == SM_OK) {
        job j = {.index = sm_i64(index),
                 .n = sm_tensor_numel(index),
                 .d = w->shape[1],
                 .from = sm_f32(w),
                 .to = sm_f32(call->out[0])};
        sm_parallel_for(j.n, 1 + 16384 / (j.d + 1), copy_rows, &j);
    }
    sm_tensor_unref(index);
    sm_tensor_unref(w);
    return status;
}

enum { BLOCK = 16 }; /* columns: a cache line, which belongs to one thread */

/* Blocks of columns [begin, end) of all rows. */
static void add_columns(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const int64_t low = begin * BLOCK, high = end * BLOCK < j->d ? end * BLOCK : j->d;
    (void)thread;
    for (int64_t i = 0; i < j->n; i++) {
        const float *from = j->from + i * j->d;
        float *to = j->to + (j->index[i] - 1) * j->d;
        if (j->index[i] == j->padding)
            continue;
        for (int64_t k = low; k < high; k++)
            to[k] += from[k];
    }
}

static sm_status embedding_backward(sm_back *back, sm_error *err) {
    const sm_embedding_params *p = back->params;
    sm_tensor *index = NULL, *dy = NULL, *dw;
    if (!back->want[1])
        return SM_OK;
    sm_status status = sm_tensor_contiguous(back->in[0], &index, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = sm_din_add(back, 1, &dw, err);
    if (status == SM_OK) {
        job j = {.index = sm_i64(index),
                 .n = sm_tensor_numel(index),
                 .d = back->in_meta[1].shape[1],
                 .padding = p->padding,
                 .from = sm_f32(dy),
                 .to = sm_f32(dw)};
        sm_parallel_for((j.d + BLOCK - 1) / BLOCK, 1 + 16384 / (BLOCK * (j.n + 1)),
                        add_columns, &j);
    }
    sm_tensor_unref(index);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_embedding = {.name = "embedding",
                               .min_in = 2,
                               .max_in = 2,
                               .n_out = 1,
                               .save_in = 1,
                               .params_size = sizeof(sm_embedding_params),
                               .check = embedding_check,
                               .forward = embedding_forward,
                               .backward = embedding_backward};
