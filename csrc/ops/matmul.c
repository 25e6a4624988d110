/* matmul.c: products over kernels/gemm.h. See matmul.h.
 *
 * Backward of C = A B (per batch): dA = dC B^T, dB = A^T dC; summed over the batches
 * along which an operand was broadcast.
 */
#include "ops/matmul.h"

#include <string.h>

#include "kernels/gemm.h"
#include "ops/elementwise.h"

/* An operand as a batch of matrices. */
typedef struct matrices {
    int64_t rows, cols;
    int batch_dims;
    int64_t batch[SM_MAX_DIMS], batch_stride[SM_MAX_DIMS];
    const float *data;
    bool trans; /* stored as [cols, rows] */
    int64_t ld;
    sm_tensor *owned; /* the reference that keeps data alive */
} matrices;

/* Can rows with stride r and columns with stride c be given to BLAS? */
static bool row_major(int64_t rows, int64_t cols, int64_t r, int64_t c) {
    return (c == 1 || cols <= 1) && (r >= cols || rows <= 1);
}

/* Sets the layout of the last two dimensions; false if they need a copy. */
static bool set_layout(matrices *m, int64_t r, int64_t c) {
    int64_t rows = m->rows, cols = m->cols;
    if (row_major(rows, cols, r, c)) {
        m->trans = false;
        m->ld = rows <= 1 ? (cols > 1 ? cols : 1) : r;
        return true;
    }
    m->trans = true;
    m->ld = cols <= 1 ? (rows > 1 ? rows : 1) : c;
    return row_major(cols, rows, c, r);
}

/* t as matrices: `vector` says how a 1-D tensor stands (0: as a row, 1: as a column). */
static sm_status open_matrices(sm_tensor *t, int vector, matrices *m, sm_error *err) {
    *m = (matrices){.owned = sm_tensor_ref(t)};
    for (int attempt = 0; attempt < 2; attempt++) {
        const sm_tensor *x = m->owned;
        int n = x->ndim;
        bool one = n == 1;
        m->rows = one ? (vector == 0 ? 1 : x->shape[0]) : x->shape[n - 2];
        m->cols = one ? (vector == 0 ? x->shape[0] : 1) : x->shape[n - 1];
        int64_t r = one ? (vector == 0 ? 0 : x->stride[0]) : x->stride[n - 2];
        int64_t c = one ? (vector == 0 ? x->stride[0] : 0) : x->stride[n - 1];
        m->batch_dims = one ? 0 : n - 2;
        memcpy(m->batch, x->shape, sizeof m->batch);
        memcpy(m->batch_stride, x->stride, sizeof m->batch_stride);
        m->data = sm_f32(x);
        if (set_layout(m, r, c))
            return SM_OK;
        sm_tensor *dense, *strided = m->owned;
        sm_meta meta = sm_tensor_meta(strided);
        sm_status status = sm_tensor_new(&meta, &dense, err);
        if (status != SM_OK) {
            sm_tensor_unref(strided);
            return status;
        }
        sm_tensor_copy(dense, strided);
        sm_tensor_unref(strided);
        m->owned = dense;
    }
    return SM_OK;
}

static void close_matrices(matrices *m) {
    sm_tensor_unref(m->owned);
    m->owned = NULL;
}

/* Where batch number `b` of the broadcast batch shape begins in m. */
static const float *batch_at(const matrices *m, int ndim, const int64_t *shape,
                             int64_t b) {
    int64_t at = 0;
    for (int d = ndim - 1; d >= 0; d--) {
        int64_t index = b % shape[d];
        int own = d - (ndim - m->batch_dims);
        b /= shape[d];
        if (own >= 0 && m->batch[own] != 1)
            at += index * m->batch_stride[own];
    }
    return m->data + at;
}

/* The distance between batches if it is the same for all (so that one batched call does),
 * else -1. */
static int64_t batch_step(const matrices *m, int ndim, const int64_t *shape,
                          int64_t count) {
    if (count <= 1)
        return 0;
    int64_t step = batch_at(m, ndim, shape, 1) - m->data;
    for (int64_t b = 2; b < count; b++)
        if (batch_at(m, ndim, shape, b) - m->data != b * step)
            return -1;
    return step >= 0 ? step : -1;
}

/* c[count][m,n] = (or +=) op(A) op(B), dense in c with `step_c` between batches. */
static sm_status multiply(const matrices *a, bool ta, const matrices *b, bool tb,
                          int ndim, const int64_t *shape, int64_t count, float *c,
                          int64_t step_c, bool add, sm_error *err) {
    sm_gemm_batch g = {.batch = count, .alpha = 1, .beta = add ? 1 : 0};
    g.trans_a = a->trans != ta;
    g.trans_b = b->trans != tb;
    g.m = ta ? a->cols : a->rows;
    g.k = ta ? a->rows : a->cols;
    g.n = tb ? b->rows : b->cols;
    g.lda = a->ld;
    g.ldb = b->ld;
    g.ldc = g.n > 0 ? g.n : 1;
    g.stride_a = batch_step(a, ndim, shape, count);
    g.stride_b = batch_step(b, ndim, shape, count);
    g.stride_c = step_c;
    if (step_c > 0 && g.stride_a >= 0 && g.stride_b >= 0)
        return sm_gemm_batched(&g, a->data, b->data, c, err);
    for (int64_t i = 0; i < count; i++) {
        sm_status status =
            sm_gemm(g.trans_a, g.trans_b, g.m, g.n, g.k, 1, batch_at(a, ndim, shape, i),
                    g.lda, batch_at(b, ndim, shape, i), g.ldb,
                    add || (step_c == 0 && i > 0) ? 1 : 0, c + i * step_c, g.ldc, err);
        if (status != SM_OK)
            return status;
    }
    return SM_OK;
}

static int64_t product(int ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int d = 0; d < ndim; d++)
        n *= shape[d];
    return n;
}

/* ---- matmul ---- */

static sm_status matmul_mismatch(const sm_call *call, sm_error *err) {
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    return sm_fail(err, SM_EINVAL, 2, "matmul: shapes %s and %s do not go together",
                   sm_tensor_shape_text(a, call->in[0]),
                   sm_tensor_shape_text(b, call->in[1]));
}

static sm_status matmul_check(sm_call *call, sm_error *err) {
    const sm_tensor *a = call->in[0], *b = call->in[1];
    sm_meta *meta = &call->meta[0];
    sm_status status = sm_want_dtype(call, 0, "left operand", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_dtype(call, 1, "right operand", SM_F32, err);
    if (status != SM_OK)
        return status;
    if (a->ndim == 0 || b->ndim == 0)
        return sm_fail(err, SM_EINVAL, a->ndim == 0 ? 1 : 2,
                       "matmul: operands need at least one dimension; use * for numbers");
    int64_t inner = b->ndim == 1 ? b->shape[0] : b->shape[b->ndim - 2];
    int an = a->ndim > 2 ? a->ndim - 2 : 0, bn = b->ndim > 2 ? b->ndim - 2 : 0;
    if (a->shape[a->ndim - 1] != inner ||
        !sm_broadcast_shape(an, a->shape, bn, b->shape, &meta->ndim, meta->shape))
        return matmul_mismatch(call, err);
    meta->dtype = SM_F32;
    if (a->ndim > 1)
        meta->shape[meta->ndim++] = a->shape[a->ndim - 2];
    if (b->ndim > 1)
        meta->shape[meta->ndim++] = b->shape[b->ndim - 1];
    return SM_OK;
}

/* The broadcast batch shape of two operands; returns the number of batches. */
static int64_t batch_shape(const matrices *a, const matrices *b, int *ndim,
                           int64_t *shape) {
    sm_broadcast_shape(a->batch_dims, a->batch, b->batch_dims, b->batch, ndim, shape);
    return product(*ndim, shape);
}

static uint64_t matmul_multiply_adds(const sm_call *call) {
    const sm_tensor *a = call->in[0];
    return sm_work(call, a->shape[a->ndim - 1]);
}

static sm_status matmul_forward(sm_call *call, sm_error *err) {
    matrices a, b;
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    sm_status status = open_matrices(call->in[0], 0, &a, err);
    if (status != SM_OK)
        return status;
    status = open_matrices(call->in[1], 1, &b, err);
    if (status == SM_OK) {
        int64_t count = batch_shape(&a, &b, &ndim, shape);
        status = multiply(&a, false, &b, false, ndim, shape, count, sm_f32(call->out[0]),
                          a.rows * b.cols, false, err);
        close_matrices(&b);
    }
    close_matrices(&a);
    return status;
}

/* The gradient of operand i: a product for every batch, then summed where i was
 * broadcast. */
static sm_status matmul_operand(sm_back *back, int i, matrices *a, matrices *b,
                                matrices *dy, int ndim, const int64_t *shape,
                                sm_error *err) {
    const matrices *own = i == 0 ? a : b;
    int64_t count = product(ndim, shape), size = own->rows * own->cols;
    sm_tensor *full;
    sm_meta meta = {.dtype = SM_F32, .ndim = ndim};
    memcpy(meta.shape, shape, sizeof meta.shape);
    if (product(own->batch_dims, own->batch) ==
        1) { /* shared by all batches: summed on the way */
        sm_tensor *din;
        sm_status status = sm_din_zeros(back, i, &din, err);
        if (status != SM_OK)
            return status;
        return i == 0 ? multiply(dy, false, b, true, ndim, shape, count, sm_f32(din), 0,
                                 true, err)
                      : multiply(a, true, dy, false, ndim, shape, count, sm_f32(din), 0,
                                 true, err);
    }
    if (back->in_meta[i].ndim > 1) {
        meta.shape[meta.ndim++] = own->rows;
        meta.shape[meta.ndim++] = own->cols;
    } else {
        meta.shape[meta.ndim++] = size;
    }
    sm_status status = sm_tensor_new(&meta, &full, err);
    if (status != SM_OK)
        return status;
    status = i == 0 ? multiply(dy, false, b, true, ndim, shape, count, sm_f32(full), size,
                               false, err)
                    : multiply(a, true, dy, false, ndim, shape, count, sm_f32(full), size,
                               false, err);
    if (status == SM_OK)
        return sm_din_unbroadcast(back, i, full, err);
    sm_tensor_unref(full);
    return status;
}

/* dy with the dimensions that 1-D operands lost put back. */
static sm_status full_dy(const sm_back *back, sm_tensor **out, sm_error *err) {
    sm_tensor *dense;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dense, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_alias(dense, out, err);
    sm_tensor_unref(dense);
    if (status != SM_OK)
        return status;
    sm_tensor *t = *out;
    if (back->in_meta[1].ndim == 1)
        t->shape[t->ndim++] = 1;
    if (back->in_meta[0].ndim == 1) {
        t->shape[t->ndim] = t->shape[t->ndim - 1];
        t->shape[t->ndim - 1] = 1;
        t->ndim++;
    }
    sm_contiguous_strides(t->ndim, t->shape, t->stride);
    return SM_OK;
}

static sm_status matmul_backward(sm_back *back, sm_error *err) {
    matrices a, b, dy;
    sm_tensor *dy_tensor;
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    sm_status status = full_dy(back, &dy_tensor, err);
    if (status != SM_OK)
        return status;
    status = open_matrices(dy_tensor, 0, &dy, err);
    sm_tensor_unref(dy_tensor);
    if (status != SM_OK)
        return status;
    status = open_matrices(back->in[0], 0, &a, err);
    if (status == SM_OK) {
        status = open_matrices(back->in[1], 1, &b, err);
        if (status == SM_OK) {
            batch_shape(&a, &b, &ndim, shape);
            for (int i = 0; i < 2 && status == SM_OK; i++)
                if (back->want[i])
                    status = matmul_operand(back, i, &a, &b, &dy, ndim, shape, err);
            close_matrices(&b);
        }
        close_matrices(&a);
    }
    close_matrices(&dy);
    return status;
}

const sm_op sm_op_matmul = {.name = "matmul",
                            .min_in = 2,
                            .max_in = 2,
                            .n_out = 1,
                            .save_in = 3,
                            .check = matmul_check,
                            .forward = matmul_forward,
                            .multiply_adds = matmul_multiply_adds,
                            .backward = matmul_backward};

/* ---- linear ---- */

static sm_status linear_check(sm_call *call, sm_error *err) {
    const sm_tensor *x = call->in[0], *w = call->in[1],
                    *b = call->n_in > 2 ? call->in[2] : NULL;
    char xs[SM_SHAPE_TEXT], ws[SM_SHAPE_TEXT];
    static const char *const names[] = {"input", "weight", "bias"};
    for (int i = 0; i < call->n_in; i++) {
        sm_status status =
            call->in[i] ? sm_want_dtype(call, i, names[i], SM_F32, err) : SM_OK;
        if (status != SM_OK)
            return status;
    }
    sm_status status = sm_want_ndim(call, 1, "weight", 2, "[out,in]", err);
    if (status != SM_OK)
        return status;
    if (x->ndim < 1 || x->shape[x->ndim - 1] != w->shape[1])
        return sm_fail(err, SM_EINVAL, 1,
                       "linear: input %s does not end in the %lld features that "
                       "weight %s wants",
                       sm_tensor_shape_text(xs, x), (long long)w->shape[1],
                       sm_tensor_shape_text(ws, w));
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[0]))
        return sm_fail(err, SM_EINVAL, 3, "linear: bias must be [%lld], got %s",
                       (long long)w->shape[0], sm_tensor_shape_text(xs, b));
    sm_out_like(call, 0);
    call->meta[0].shape[x->ndim - 1] = w->shape[0];
    return SM_OK;
}

static void fill_rows(float *y, int64_t rows, int64_t cols, const sm_tensor *bias) {
    const float *b = sm_f32(bias);
    int64_t step = bias->stride[0];
    for (int64_t j = 0; j < cols && rows > 0; j++)
        y[j] = b[j * step];
    for (int64_t i = 1; i < rows; i++)
        memcpy(y + i * cols, y, (size_t)cols * sizeof *y);
}

static sm_status linear_forward(sm_call *call, sm_error *err) {
    sm_tensor *x, *w, *b = call->n_in > 2 ? call->in[2] : NULL, *y = call->out[0];
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &w, err);
    if (status == SM_OK) {
        int64_t out = w->shape[0], in = w->shape[1];
        int64_t rows = product(x->ndim - 1, x->shape);
        if (b)
            fill_rows(sm_f32(y), rows, out, b);
        status =
            sm_gemm(false, true, rows, out, in, 1, sm_f32(x), in > 0 ? in : 1, sm_f32(w),
                    in > 0 ? in : 1, b ? 1 : 0, sm_f32(y), out > 0 ? out : 1, err);
        sm_tensor_unref(w);
    }
    sm_tensor_unref(x);
    return status;
}

static sm_status linear_bias(sm_back *back, const float *dy, int64_t rows, int64_t out,
                             sm_error *err) {
    sm_tensor *db;
    sm_status status = sm_din_zeros(back, 2, &db, err);
    for (int64_t i = 0; i < rows && status == SM_OK; i++)
        for (int64_t j = 0; j < out; j++)
            sm_f32(db)[j] += dy[i * out + j];
    return status;
}

/* dx = dy W, dW = dy^T x, db = the column sums of dy. All dense here. */
static sm_status linear_gradients(sm_back *back, const sm_tensor *x, const sm_tensor *w,
                                  const sm_tensor *dy, sm_error *err) {
    int64_t out = w->shape[0], in = w->shape[1], rows = product(x->ndim - 1, x->shape);
    int64_t ld_out = out > 0 ? out : 1, ld_in = in > 0 ? in : 1;
    sm_status status = SM_OK;
    sm_tensor *d;
    if (back->want[0] && (status = sm_din(back, 0, &d, err)) == SM_OK)
        status = sm_gemm(false, false, rows, in, out, 1, sm_f32(dy), ld_out, sm_f32(w),
                         ld_in, 0, sm_f32(d), ld_in, err);
    if (status == SM_OK && back->want[1] && (status = sm_din(back, 1, &d, err)) == SM_OK)
        status = sm_gemm(true, false, out, in, rows, 1, sm_f32(dy), ld_out, sm_f32(x),
                         ld_in, 0, sm_f32(d), ld_in, err);
    if (status == SM_OK && back->n_in > 2 && back->want[2])
        status = linear_bias(back, sm_f32(dy), rows, out, err);
    return status;
}

static sm_status linear_backward(sm_back *back, sm_error *err) {
    sm_tensor *x = NULL, *w = NULL, *dy = NULL;
    sm_status status = sm_tensor_contiguous(back->in[0], &x, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->in[1], &w, err);
    if (status == SM_OK)
        status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = linear_gradients(back, x, w, dy, err);
    sm_tensor_unref(x);
    sm_tensor_unref(w);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_linear = {.name = "linear",
                            .min_in = 2,
                            .max_in = 3,
                            .n_out = 1,
                            .save_in = 3,
                            .check = linear_check,
                            .forward = linear_forward,
                            .multiply_adds = matmul_multiply_adds,
                            .backward = linear_backward};
