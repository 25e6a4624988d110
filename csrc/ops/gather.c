/* gather.c: index_select, gather, scatter_add, cat, one_hot. See gather.h. */
#include "ops/gather.h"

#include <string.h>

#include "base/pool.h"

static sm_status check_dim(const sm_call *call, int dim, sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (dim >= 0 && dim < call->in[0]->ndim)
        return SM_OK;
    return sm_fail(err, SM_EINVAL, 2, "%s: dimension %d is out of range for shape %s",
                   call->op->name, dim + 1, sm_tensor_shape_text(text, call->in[0]));
}

/* All of index (dense) must lie in 1..size. */
static sm_status check_range(const char *name, int operand, const sm_tensor *index,
                             int64_t size, sm_error *err) {
    const int64_t *at = sm_i64(index);
    for (int64_t i = 0, n = sm_tensor_numel(index); i < n; i++)
        if (at[i] < 1 || at[i] > size)
            return sm_fail(err, SM_EINVAL, operand,
                           "%s: index %lld at position %lld is out of range 1..%lld",
                           name, (long long)at[i], (long long)i + 1, (long long)size);
    return SM_OK;
}

/* Elements before, along and behind a dimension. */
typedef struct extent {
    int64_t before, size, behind;
} extent;

static extent extent_of(const sm_meta *meta, int dim) {
    extent e = {1, meta->shape[dim], 1};
    for (int d = 0; d < dim; d++)
        e.before *= meta->shape[d];
    for (int d = dim + 1; d < meta->ndim; d++)
        e.behind *= meta->shape[d];
    return e;
}

/* ---- index_select ---- */

static sm_status index_select_check(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    sm_status status = check_dim(call, p->dim, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 1, "index", SM_I64, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 1, "index", 1, "[K]", err);
    if (status != SM_OK)
        return status;
    sm_out_like(call, 0);
    call->meta[0].shape[p->dim] = call->in[1]->shape[0];
    return SM_OK;
}

typedef struct slices {
    char *y;
    const char *x;
    const int64_t *index;
    int64_t count; /* indices */
    extent e;
    size_t item;
} slices;

static void copy_slices(void *context, int64_t begin, int64_t end, int thread) {
    const slices *s = context;
    size_t bytes = (size_t)s->e.behind * s->item;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t before = i / s->count,
                from = before * s->e.size + s->index[i % s->count] - 1;
        memcpy(s->y + (size_t)i * bytes, s->x + (size_t)from * bytes, bytes);
    }
}

static sm_status index_select_forward(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    sm_tensor *x, *index;
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &index, err);
    if (status == SM_OK) {
        sm_meta meta = sm_tensor_meta(x);
        slices s = {sm_tensor_data(call->out[0]),
                    sm_tensor_data(x),
                    sm_i64(index),
                    index->shape[0],
                    extent_of(&meta, p->dim),
                    sm_dtype_size(x->dtype)};
        status = check_range("index_select", 2, index, s.e.size, err);
        if (status == SM_OK)
            sm_parallel_for(s.e.before * s.count, 1 + 65536 / (s.e.behind + 1),
                            copy_slices, &s);
        sm_tensor_unref(index);
    }
    sm_tensor_unref(x);
    return status;
}

static void add_slices(float *dx, const float *dy, const int64_t *index, int64_t count,
                       extent e) {
    for (int64_t i = 0; i < e.before * count; i++) {
        float *to = dx + (i / count * e.size + index[i % count] - 1) * e.behind;
        for (int64_t j = 0; j < e.behind; j++)
            to[j] += dy[i * e.behind + j];
    }
}

static sm_status index_select_backward(sm_back *back, sm_error *err) {
    const sm_dim_params *p = back->params;
    sm_tensor *dy, *index, *din;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(back->in[1], &index, err);
    if (status == SM_OK) {
        status = sm_din_add(back, 0, &din, err);
        if (status == SM_OK)
            add_slices(sm_f32(din), sm_f32(dy), sm_i64(index), index->shape[0],
                       extent_of(&back->in_meta[0], p->dim));
        sm_tensor_unref(index);
    }
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_index_select = {.name = "index_select",
                                  .min_in = 2,
                                  .max_in = 2,
                                  .n_out = 1,
                                  .save_in = 2,
                                  .params_size = sizeof(sm_dim_params),
                                  .check = index_select_check,
                                  .forward = index_select_forward,
                                  .backward = index_select_backward};

/* ---- gather and scatter_add ---- */

/* index (operand `i`) must have x's dimensions, and no size beyond x's except along dim.
 */
static sm_status check_index_shape(const sm_call *call, int i, int dim, sm_error *err) {
    char xs[SM_SHAPE_TEXT], is[SM_SHAPE_TEXT];
    const sm_tensor *x = call->in[0], *index = call->in[i];
    bool fits = x->ndim == index->ndim;
    for (int d = 0; d < x->ndim && fits; d++)
        fits = d == dim || index->shape[d] <= x->shape[d];
    if (fits)
        return SM_OK;
    return sm_fail(err, SM_EINVAL, i + 1,
                   "%s: index %s does not fit input %s along dimension %d",
                   call->op->name, sm_tensor_shape_text(is, index),
                   sm_tensor_shape_text(xs, x), dim + 1);
}

static sm_status gather_check(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    sm_status status = check_dim(call, p->dim, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 1, "index", SM_I64, err);
    if (status == SM_OK)
        status = check_index_shape(call, 1, p->dim, err);
    if (status != SM_OK)
        return status;
    sm_out_like(call, 1);
    call->meta[0].dtype = call->in[0]->dtype;
    return SM_OK;
}

/* For each element of `index` (dense), where it points in a tensor with those strides:
 * calls visit(context, element number, offset). */
static void each_target(const sm_tensor *index, int dim, const int64_t *stride,
                        void (*visit)(void *context, int64_t i, int64_t at),
                        void *context) {
    int64_t place[SM_MAX_DIMS] = {0};
    for (int64_t i = 0, n = sm_tensor_numel(index); i < n; i++) {
        int64_t at = 0;
        for (int d = 0; d < index->ndim; d++)
            at += (d == dim ? sm_i64(index)[i] - 1 : place[d]) * stride[d];
        visit(context, i, at);
        for (int d = index->ndim - 1; d >= 0 && ++place[d] == index->shape[d]; d--)
            place[d] = 0;
    }
}

typedef struct transfer {
    char *to;
    const char *from;
    size_t item;
} transfer;

static void fetch(void *context, int64_t i, int64_t at) {
    const transfer *t = context;
    memcpy(t->to + (size_t)i * t->item, t->from + at * (int64_t)t->item, t->item);
}

static void add_at(void *context, int64_t i, int64_t at) {
    const transfer *t = context;
    ((float *)t->to)[at] += ((const float *)t->from)[i];
}

static sm_status gather_forward(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    const sm_tensor *x = call->in[0];
    sm_tensor *index;
    sm_status status = sm_tensor_contiguous(call->in[1], &index, err);
    if (status != SM_OK)
        return status;
    status = check_range("gather", 2, index, x->shape[p->dim], err);
    transfer t = {sm_tensor_data(call->out[0]), sm_tensor_data(x),
                  sm_dtype_size(x->dtype)};
    if (status == SM_OK)
        each_target(index, p->dim, x->stride, fetch, &t);
    sm_tensor_unref(index);
    return status;
}

/* to (dense) += source at index. */
static sm_status add_gathered(sm_tensor *to, sm_tensor *source, sm_tensor *index, int dim,
                              sm_error *err) {
    sm_tensor *dense, *at;
    sm_status status = sm_tensor_contiguous(source, &dense, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(index, &at, err);
    if (status == SM_OK) {
        transfer t = {(char *)sm_f32(to), (const char *)sm_f32(dense), 0};
        each_target(at, dim, to->stride, add_at, &t);
        sm_tensor_unref(at);
    }
    sm_tensor_unref(dense);
    return status;
}

static sm_status gather_backward(sm_back *back, sm_error *err) {
    const sm_dim_params *p = back->params;
    sm_tensor *din;
    sm_status status = sm_din_add(back, 0, &din, err);
    return status == SM_OK ? add_gathered(din, back->dout[0], back->in[1], p->dim, err)
                           : status;
}

const sm_op sm_op_gather = {.name = "gather",
                            .min_in = 2,
                            .max_in = 2,
                            .n_out = 1,
                            .save_in = 2,
                            .params_size = sizeof(sm_dim_params),
                            .check = gather_check,
                            .forward = gather_forward,
                            .backward = gather_backward};

static sm_status scatter_add_check(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    char is[SM_SHAPE_TEXT], ss[SM_SHAPE_TEXT];
    sm_status status = check_dim(call, p->dim, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 1, "index", SM_I64, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 2, "source", SM_F32, err);
    if (status == SM_OK)
        status = check_index_shape(call, 1, p->dim, err);
    if (status != SM_OK)
        return status;
    if (!sm_tensor_same_shape(call->in[1], call->in[2]))
        return sm_fail(
            err, SM_EINVAL, 3, "scatter_add: source %s must have index's shape %s",
            sm_tensor_shape_text(ss, call->in[2]), sm_tensor_shape_text(is, call->in[1]));
    sm_out_like(call, 0);
    return SM_OK;
}

static sm_status scatter_add_forward(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    sm_tensor *index;
    sm_status status = sm_tensor_contiguous(call->in[1], &index, err);
    if (status != SM_OK)
        return status;
    status = check_range("scatter_add", 2, index, call->in[0]->shape[p->dim], err);
    if (status == SM_OK) {
        sm_tensor_copy(call->out[0], call->in[0]);
        status = add_gathered(call->out[0], call->in[2], index, p->dim, err);
    }
    sm_tensor_unref(index);
    return status;
}

static sm_status scatter_add_backward(sm_back *back, sm_error *err) {
    const sm_dim_params *p = back->params;
    sm_tensor *index, *din;
    sm_status status = SM_OK;
    if (back->want[0])
        status = sm_din_give(back, 0, sm_tensor_ref(back->dout[0]), err);
    if (status != SM_OK || !back->want[2])
        return status;
    status = sm_tensor_contiguous(back->in[1], &index, err);
    if (status != SM_OK)
        return status;
    status = sm_din(back, 2, &din, err);
    transfer t = {NULL, sm_tensor_data(back->dout[0]), sizeof(float)};
    if (status == SM_OK) {
        t.to = (char *)sm_f32(din);
        each_target(index, p->dim, back->dout[0]->stride, fetch, &t);
    }
    sm_tensor_unref(index);
    return status;
}

const sm_op sm_op_scatter_add = {.name = "scatter_add",
                                 .min_in = 3,
                                 .max_in = 3,
                                 .n_out = 1,
                                 .save_in = 2,
                                 .params_size = sizeof(sm_dim_params),
                                 .check = scatter_add_check,
                                 .forward = scatter_add_forward,
                                 .backward = scatter_add_backward};

/* ---- cat ---- */

static sm_status cat_check(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    const sm_tensor *first = call->in[0];
    sm_status status = check_dim(call, p->dim, err);
    if (status != SM_OK)
        return status;
    sm_out_like(call, 0);
    for (int i = 1; i < call->n_in; i++) {
        const sm_tensor *t = call->in[i];
        bool fits = t->ndim == first->ndim && t->dtype == first->dtype;
        for (int d = 0; d < t->ndim && fits; d++)
            fits = d == p->dim || t->shape[d] == first->shape[d];
        if (!fits)
            return sm_fail(err, SM_EINVAL, 1,
                           "cat: tensor %d is %s %s, which does not go with %s %s "
                           "along dimension %d",
                           i + 1, sm_dtype_name(t->dtype), sm_tensor_shape_text(b, t),
                           sm_dtype_name(first->dtype), sm_tensor_shape_text(a, first),
                           p->dim + 1);
        if (__builtin_add_overflow(call->meta[0].shape[p->dim], t->shape[p->dim],
                                   &call->meta[0].shape[p->dim]))
            return sm_fail(err, SM_EINVAL, 1, "cat: the sizes overflow");
    }
    call->meta[0].channels_last = true;
    for (int i = 0; i < call->n_in; i++)
        if (!sm_tensor_is_channels_last(call->in[i]))
            call->meta[0].channels_last = false;
    return SM_OK;
}

/* A view of `size` elements of `whole` along dim, from `start` on. */
static sm_status part_of(sm_tensor *whole, int dim, int64_t start, int64_t size,
                         sm_tensor **part, sm_error *err) {
    sm_status status = sm_tensor_alias(whole, part, err);
    if (status == SM_OK) {
        (*part)->offset += size ? start * whole->stride[dim] : 0;
        (*part)->shape[dim] = size;
    }
    return status;
}

static sm_status cat_forward(sm_call *call, sm_error *err) {
    const sm_dim_params *p = call->params;
    int64_t start = 0;
    for (int i = 0; i < call->n_in; i++) {
        sm_tensor *part;
        int64_t size = call->in[i]->shape[p->dim];
        sm_status status = part_of(call->out[0], p->dim, start, size, &part, err);
        if (status != SM_OK)
            return status;
        sm_tensor_copy(part, call->in[i]);
        sm_tensor_unref(part);
        start += size;
    }
    return SM_OK;
}

static sm_status cat_backward(sm_back *back, sm_error *err) {
    const sm_dim_params *p = back->params;
    int64_t start = 0;
    for (int i = 0; i < back->n_in; i++) {
        int64_t size = back->in_meta[i].shape[p->dim];
        sm_tensor *part;
        if (back->want[i]) {
            sm_status status = part_of(back->dout[0], p->dim, start, size, &part, err);
            if (status == SM_OK)
                status = sm_din_give(back, i, part, err);
            if (status != SM_OK)
                return status;
        }
        start += size;
    }
    return SM_OK;
}

const sm_op sm_op_cat = {.name = "cat",
                         .min_in = 1,
                         .max_in = -1,
                         .n_out = 1,
                         .params_size = sizeof(sm_dim_params),
                         .check = cat_check,
                         .forward = cat_forward,
                         .backward = cat_backward};

/* ---- one_hot ---- */

static sm_status one_hot_check(sm_call *call, sm_error *err) {
    const sm_one_hot_params *p = call->params;
    sm_status status = sm_want_dtype(call, 0, "labels", SM_I64, err);
    if (status != SM_OK)
        return status;
    if (call->in[0]->ndim == SM_MAX_DIMS)
        return sm_fail(err, SM_EINVAL, 1,
                       "one_hot: labels have the most dimensions already");
    sm_out_like(call, 0);
    call->meta[0].dtype = SM_F32;
    call->meta[0].shape[call->meta[0].ndim++] = p->classes;
    return SM_OK;
}

static sm_status one_hot_forward(sm_call *call, sm_error *err) {
    const sm_one_hot_params *p = call->params;
    sm_tensor *labels;
    sm_status status = sm_tensor_contiguous(call->in[0], &labels, err);
    if (status != SM_OK)
        return status;
    status = check_range("one_hot", 1, labels, p->classes, err);
    if (status == SM_OK) {
        sm_tensor_fill(call->out[0], 0);
        for (int64_t i = 0, n = sm_tensor_numel(labels); i < n; i++)
            sm_f32(call->out[0])[i * p->classes + sm_i64(labels)[i] - 1] = 1;
    }
    sm_tensor_unref(labels);
    return status;
}

const sm_op sm_op_one_hot = {.name = "one_hot",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .params_size = sizeof(sm_one_hot_params),
                             .check = one_hot_check,
                             .forward = one_hot_forward};
