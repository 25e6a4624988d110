/* reduce.c: reductions over any dimensions. See reduce.h. */
#include "ops/reduce.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

static const char *const names[SM_REDUCTION_COUNT] = {
    "sum", "mean", "amax", "amin", "var", "std", "norm", "prod", "logsumexp"};

/* The shape without the reduced dimensions, or with size 1 there. */
static sm_meta reduced_meta(const sm_tensor *x, unsigned dims, bool keepdim) {
    sm_meta meta = {.dtype = SM_F32, .ndim = 0};
    for (int d = 0; d < x->ndim; d++)
        if (!(dims >> d & 1))
            meta.shape[meta.ndim++] = x->shape[d];
        else if (keepdim)
            meta.shape[meta.ndim++] = 1;
    return meta;
}

static sm_status reduce_check(sm_call *call, sm_error *err) {
    const sm_reduce_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    call->meta[0] = reduced_meta(x, p->dims, p->keepdim);
    if (p->kind == SM_SUM && x->dtype != SM_F32)
        call->meta[0].dtype = SM_I64;
    int64_t k = 1;
    for (int d = 0; d < x->ndim; d++)
        k *= p->dims >> d & 1 && x->shape[d] == 0 ? 0 : 1;
    if (k == 0 && (p->kind == SM_AMAX || p->kind == SM_AMIN) && sm_tensor_numel(x) == 0)
        return sm_fail(err, SM_EINVAL, 1, "%s: nothing to choose from in shape %s",
                       names[p->kind], sm_tensor_shape_text(text, x));
    return SM_OK;
}

/* Sums in double: sixteen partial sums so that the compiler can use wide registers. */
static double row_sum(const float *x, int64_t k) {
    double part[16] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
        for (int j = 0; j < 16; j++)
            part[j] += x[i + j];
    for (; i < k; i++)
        part[0] += x[i];
    for (int j = 0; j < 16; j++)
        sum += part[j];
    return sum;
}

static double row_squares(const float *x, int64_t k, double mean) {
    double part[16] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
        for (int j = 0; j < 16; j++)
            part[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (; i < k; i++)
        part[0] += (x[i] - mean) * (x[i] - mean);
    for (int j = 0; j < 16; j++)
        sum += part[j];
    return sum;
}

static float row_extreme(const float *x, int64_t k, float sign) {
    float best = x[0] * sign;
    for (int64_t i = 0; i < k; i++)
        best = x[i] * sign > best || isnan(x[i]) ? x[i] * sign : best;
    return best * sign;
}

static double row_norm(const float *x, int64_t k, double p) {
    double sum = 0;
    if (p == 2)
        return sqrt(row_squares(x, k, 0));
    for (int64_t i = 0; i < k; i++) {
        double a = fabs((double)x[i]);
        if (isinf(p))
            sum = a > sum || isnan(a) ? a : sum;
        else
            sum += p == 1 ? a : p == 0 ? a != 0 : pow(a, p);
    }
    return isinf(p) || p == 1 || p == 0 ? sum : pow(sum, 1 / p);
}

static double row_logsumexp(const float *x, int64_t k) {
    if (k == 0)
        return -INFINITY;
    double most = row_extreme(x, k, 1), sum = 0;
    if (isinf(most))
        return most;
    for (int64_t i = 0; i < k; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

static double reduce_row(const sm_reduce_params *p, const float *x, int64_t k) {
    double n = (double)k, product = 1;
    switch (p->kind) {
    case SM_SUM:
        return row_sum(x, k);
    case SM_MEAN:
        return row_sum(x, k) / n;
    case SM_AMAX:
        return row_extreme(x, k, 1);
    case SM_AMIN:
        return row_extreme(x, k, -1);
    case SM_VAR:
        return row_squares(x, k, row_sum(x, k) / n) / (n - p->a);
    case SM_STD:
        return sqrt(row_squares(x, k, row_sum(x, k) / n) / (n - p->a));
    case SM_NORM:
        return row_norm(x, k, p->a);
    case SM_LOGSUMEXP:
        return row_logsumexp(x, k);
    default:
        for (int64_t i = 0; i < k; i++)
            product *= x[i];
        return product;
    }
}

typedef struct reduction {
    const sm_reduce_params *p;
    sm_rows rows;
    float *y;
    const float *dy;
    float *dx;
} reduction;

static void reduce_rows(void *context, int64_t begin, int64_t end, int thread) {
    const reduction *r = context;
    const float *x = sm_f32(r->rows.t);
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        r->y[i] = (float)reduce_row(r->p, x + i * r->rows.k, r->rows.k);
}

/* One long row: cut into a fixed number of blocks, whose sums are added in order. */
enum { BLOCK = 1 << 16 };

static void sum_blocks(void *context, int64_t begin, int64_t end, int thread) {
    const reduction *r = context;
    double *partial = (double *)r->y;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * BLOCK, left = r->rows.k - first;
        partial[b] = row_sum(sm_f32(r->rows.t) + first, left < BLOCK ? left : BLOCK);
    }
}

static sm_status sum_long_row(reduction *r, float *y, sm_error *err) {
    int64_t blocks = (r->rows.k + BLOCK - 1) / BLOCK;
    sm_meta meta = {.dtype = SM_I64, .ndim = 1, .shape = {blocks}};
    sm_tensor *partial;
    sm_status status = sm_tensor_new(&meta, &partial, err);
    if (status != SM_OK)
        return status;
    r->y = (float *)sm_tensor_data(partial);
    sm_parallel_for(blocks, 1, sum_blocks, r);
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++)
        sum += ((double *)sm_tensor_data(partial))[b];
    *y = (float)(r->p->kind == SM_MEAN ? sum / (double)r->rows.k : sum);
    sm_tensor_unref(partial);
    return SM_OK;
}

static sm_status sum_integers(sm_call *call, sm_error *err) {
    const sm_reduce_params *p = call->params;
    sm_tensor *x;
    sm_rows rows;
    sm_status status = sm_cast(call->in[0], SM_I64, &x, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_open(x, p->dims, &rows, err);
    sm_tensor_unref(x);
    if (status != SM_OK)
        return status;
    for (int64_t i = 0; i < rows.m; i++) {
        uint64_t sum = 0;
        for (int64_t j = 0; j < rows.k; j++)
            sum += (uint64_t)sm_i64(rows.t)[i * rows.k + j];
        sm_i64(call->out[0])[i] = (int64_t)sum;
    }
    sm_rows_close(&rows);
    return SM_OK;
}

static sm_status reduce_forward(sm_call *call, sm_error *err) {
    reduction r = {.p = call->params, .y = sm_f32(call->out[0])};
    sm_tensor *x;
    if (call->meta[0].dtype == SM_I64)
        return sum_integers(call, err);
    sm_status status = sm_cast(call->in[0], SM_F32, &x, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_open(x, r.p->dims, &r.rows, err);
    sm_tensor_unref(x);
    if (status != SM_OK)
        return status;
    bool sums = r.p->kind == SM_SUM || r.p->kind == SM_MEAN;
    if (sums && r.rows.m == 1 && r.rows.k > BLOCK)
        status = sum_long_row(&r, sm_f32(call->out[0]), err);
    else
        sm_rows_run(&r.rows, reduce_rows, &r);
    sm_rows_close(&r.rows);
    return status;
}

static double sign_of(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : x;
}

static void spread_extreme(const float *x, float y, float dy, float *dx, int64_t k) {
    int64_t ties = 0;
    for (int64_t j = 0; j < k; j++)
        ties += x[j] == y || (isnan(x[j]) && isnan(y));
    for (int64_t j = 0; j < k; j++)
        dx[j] = x[j] == y || (isnan(x[j]) && isnan(y)) ? dy / (float)ties : 0;
}

/* d norm / dx = sign(x) |x|^(p-1) / norm^(p-1), 0 where the norm is 0. */
static double norm_slope(double x, double y, double p) {
    if (y == 0 || p == 0)
        return 0;
    if (p == 2)
        return x / y;
    return p == 1 ? sign_of(x) : x == 0 ? 0 : sign_of(x) * pow(fabs(x) / y, p - 1);
}

static void product_row(const float *x, float dy, float *dx, int64_t k) {
    double before =
        1; /* products of what lies before and behind, so that zeros are no trouble */
    for (int64_t j = 0; j < k; j++) {
        dx[j] = (float)before;
        before *= x[j];
    }
    double behind = dy;
    for (int64_t j = k - 1; j >= 0; j--) {
        dx[j] = (float)(dx[j] * behind);
        behind *= x[j];
    }
}

static void gradient_row(const sm_reduce_params *p, const float *x, float y, float dy,
                         float *dx, int64_t k) {
    double n = (double)k, mean, scale;
    switch (p->kind) {
    case SM_SUM:
    case SM_MEAN:
        scale = p->kind == SM_SUM ? dy : dy / n;
        for (int64_t j = 0; j < k; j++)
            dx[j] = (float)scale;
        return;
    case SM_AMAX:
    case SM_AMIN:
        spread_extreme(x, y, dy, dx, k);
        return;
    case SM_VAR:
    case SM_STD:
        mean = row_sum(x, k) / n;
        scale = p->kind == SM_VAR ? 2 * dy / (n - p->a)
                : y == 0          ? 0
                                  : dy / (y * (n - p->a));
        for (int64_t j = 0; j < k; j++)
            dx[j] = (float)(scale * (x[j] - mean));
        return;
    case SM_NORM:
        if (isinf(p->a)) {
            int64_t ties = 0;
            for (int64_t j = 0; j < k; j++)
                ties += fabsf(x[j]) == y;
            for (int64_t j = 0; j < k; j++)
                dx[j] = fabsf(x[j]) == y ? (float)(dy * sign_of(x[j]) / (double)ties) : 0;
            return;
        }
        for (int64_t j = 0; j < k; j++)
            dx[j] = (float)(dy * norm_slope(x[j], y, p->a));
        return;
    case SM_LOGSUMEXP:
        for (int64_t j = 0; j < k; j++)
            dx[j] = dy * expf(x[j] - y);
        return;
    default:
        product_row(x, dy, dx, k);
    }
}

static void gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const reduction *r = context;
    int64_t k = r->rows.k;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        gradient_row(r->p, sm_f32(r->rows.t) + i * k, r->y[i], r->dy[i], r->dx + i * k,
                     k);
}

/* The gradient of a sum is dy, repeated: a view with strides of 0. */
static sm_status spread_gradient(sm_back *back, sm_tensor *dy, sm_error *err) {
    const sm_reduce_params *p = back->params;
    const sm_meta *meta = &back->in_meta[0];
    sm_tensor *spread;
    sm_status status = sm_tensor_alias(dy, &spread, err);
    if (status != SM_OK)
        return status;
    int at = 0;
    spread->ndim = meta->ndim;
    for (int d = 0; d < meta->ndim; d++) {
        bool reduced = p->dims >> d & 1;
        spread->shape[d] = meta->shape[d];
        spread->stride[d] = reduced ? 0 : dy->stride[at];
        at += !reduced || p->keepdim;
    }
    return sm_din_give(back, 0, spread, err);
}

static sm_status reduce_backward(sm_back *back, sm_error *err) {
    const sm_meta *meta = &back->in_meta[0];
    reduction r = {.p = back->params, .y = sm_f32(back->out[0])};
    if (r.p->kind == SM_SUM)
        return spread_gradient(back, back->dout[0], err);
    sm_rows dx;
    sm_tensor *dy, *view;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    r.dy = sm_f32(dy);
    status = sm_rows_open(back->in[0], r.p->dims, &r.rows, err);
    if (status == SM_OK) {
        status = sm_rows_new(meta, r.p->dims, &dx, err);
        if (status == SM_OK) {
            r.dx = sm_f32(dx.t);
            sm_rows_run(&r.rows, gradient_rows, &r);
            status = sm_rows_restore(&dx, meta, r.p->dims, &view, err);
            if (status == SM_OK)
                status = sm_din_give(back, 0, view, err);
            sm_rows_close(&dx);
        }
        sm_rows_close(&r.rows);
    }
    sm_tensor_unref(dy);
    return status;
}

static const char *reduce_label(const void *params) {
    return names[((const sm_reduce_params *)params)->kind];
}

const sm_op sm_op_reduce = {.name = "reduce",
                            .label = reduce_label,
                            .min_in = 1,
                            .max_in = 1,
                            .n_out = 1,
                            .save_in = 1,
                            .save_out = 1,
                            .params_size = sizeof(sm_reduce_params),
                            .check = reduce_check,
                            .forward = reduce_forward,
                            .backward = reduce_backward};

/* ---- extremes with positions ---- */

static unsigned extreme_dims(const sm_tensor *x, int dim) {
    return dim < 0 ? (1u << x->ndim) - 1 : 1u << dim;
}

static sm_status extreme_check(sm_call *call, sm_error *err) {
    const sm_extreme_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    bool empty = p->dim < 0 ? sm_tensor_numel(x) == 0 : x->shape[p->dim] == 0;
    if (empty)
        return sm_fail(err, SM_EINVAL, 1, "%s: nothing to choose from in shape %s",
                       p->smallest ? "min" : "max", sm_tensor_shape_text(text, x));
    call->meta[0] = reduced_meta(x, extreme_dims(x, p->dim), p->keepdim);
    call->meta[1] = call->meta[0];
    call->meta[0].dtype = x->dtype;
    call->meta[1].dtype = SM_I64;
    return SM_OK;
}

#define EXTREME_ROW(NAME, T, IS_NAN)                                                     \
    static int64_t NAME(const T *x, int64_t k, bool smallest) {                          \
        int64_t best = 0;                                                                \
        for (int64_t j = 1; j < k; j++) {                                                \
            if (IS_NAN(x[best]))                                                         \
                break;                                                                   \
            if ((smallest ? x[j] < x[best] : x[j] > x[best]) || IS_NAN(x[j]))            \
                best = j;                                                                \
        }                                                                                \
        return best;                                                                     \
    }
#define NEVER(x) false
EXTREME_ROW(extreme_f32, float, isnan)
EXTREME_ROW(extreme_i64, int64_t, NEVER)
EXTREME_ROW(extreme_u8, uint8_t, NEVER)

typedef struct extremes {
    const sm_extreme_params *p;
    sm_rows rows;
    sm_tensor *values, *positions;
} extremes;

static void extreme_rows(void *context, int64_t begin, int64_t end, int thread) {
    const extremes *e = context;
    const sm_tensor *t = e->rows.t;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i * e->rows.k, k = e->rows.k, at;
        if (t->dtype == SM_F32) {
            at = extreme_f32(sm_f32(t) + first, k, e->p->smallest);
            sm_f32(e->values)[i] = sm_f32(t)[first + at];
        } else if (t->dtype == SM_I64) {
            at = extreme_i64(sm_i64(t) + first, k, e->p->smallest);
            sm_i64(e->values)[i] = sm_i64(t)[first + at];
        } else {
            at = extreme_u8(sm_u8(t) + first, k, e->p->smallest);
            sm_u8(e->values)[i] = sm_u8(t)[first + at];
        }
        sm_i64(e->positions)[i] = at + 1;
    }
}

static sm_status extreme_forward(sm_call *call, sm_error *err) {
    extremes e = {.p = call->params, .values = call->out[0], .positions = call->out[1]};
    sm_status status =
        sm_rows_open(call->in[0], extreme_dims(call->in[0], e.p->dim), &e.rows, err);
    if (status != SM_OK)
        return status;
    sm_rows_run(&e.rows, extreme_rows, &e);
    sm_rows_close(&e.rows);
    return SM_OK;
}

/* dy to the chosen positions of rows of dx (k wide); `chosen` positions a row. */
static void scatter_rows(const sm_tensor *dy, const sm_tensor *positions, int64_t chosen,
                         const sm_rows *dx) {
    float *to = sm_f32(dx->t);
    memset(to, 0, (size_t)(dx->m * dx->k) * sizeof *to);
    for (int64_t i = 0; i < dx->m; i++)
        for (int64_t j = 0; j < chosen; j++)
            to[i * dx->k + sm_i64(positions)[i * chosen + j] - 1] +=
                sm_f32(dy)[i * chosen + j];
}

/* dy and positions as rows [m, chosen]; the gradient as a view. */
static sm_status scatter_backward(sm_back *back, unsigned dims, const sm_tensor *dy,
                                  const sm_tensor *positions, int64_t chosen,
                                  sm_error *err) {
    sm_rows dx;
    sm_tensor *view;
    sm_status status = sm_rows_new(&back->in_meta[0], dims, &dx, err);
    if (status != SM_OK)
        return status;
    scatter_rows(dy, positions, chosen, &dx);
    status = sm_rows_restore(&dx, &back->in_meta[0], dims, &view, err);
    sm_rows_close(&dx);
    return status == SM_OK ? sm_din_give(back, 0, view, err) : status;
}

static sm_status extreme_backward(sm_back *back, sm_error *err) {
    const sm_extreme_params *p = back->params;
    unsigned dims = p->dim < 0 ? (1u << back->in_meta[0].ndim) - 1 : 1u << p->dim;
    sm_tensor *dy;
    if (!back->dout[0])
        return SM_OK;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = scatter_backward(back, dims, dy, back->out[1], 1, err);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_extreme = {.name = "max",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 2,
                             .save_out = 2,
                             .params_size = sizeof(sm_extreme_params),
                             .check = extreme_check,
                             .forward = extreme_forward,
                             .backward = extreme_backward};

/* ---- softmax ---- */

static sm_status same_shape_check(sm_call *call, sm_error *err) {
    sm_out_like(call, 0);
    return sm_want_dtype(call, 0, "input", SM_F32, err);
}

typedef struct softmax {
    bool log;
    sm_rows x, y, dy;
} softmax;

static void softmax_rows(void *context, int64_t begin, int64_t end, int thread) {
    const softmax *s = context;
    int64_t k = s->x.k;
    sm_unary_loop exponential = sm_elementwise_table()->unary[SM_EXP];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = sm_f32(s->x.t) + i * k;
        float *y = sm_f32(s->y.t) + i * k;
        float most = k ? row_extreme(x, k, 1) : 0;
        for (int64_t j = 0; j < k; j++)
            y[j] = x[j] - most;
        if (s->log) {
            double sum = 0;
            for (int64_t j = 0; j < k; j++)
                sum += exp((double)y[j]);
            float shift = (float)log(sum);
            for (int64_t j = 0; j < k; j++)
                y[j] -= shift;
            continue;
        }
        for (int64_t j = 0; j < k; j += 256) { /* in place, by way of a buffer */
            float buffer[256];
            int64_t n = k - j < 256 ? k - j : 256;
            memcpy(buffer, y + j, (size_t)n * sizeof *y);
            exponential(y + j, buffer, n, (sm_scalars){0, 0});
        }
        float scale = (float)(1 / row_sum(y, k));
        for (int64_t j = 0; j < k; j++)
            y[j] *= scale;
    }
}

static sm_status softmax_forward(sm_call *call, sm_error *err) {
    const sm_softmax_params *p = call->params;
    softmax s = {.log = p->log};
    sm_meta meta = sm_tensor_meta(call->in[0]);
    sm_status status = sm_rows_open(call->in[0], 1u << p->dim, &s.x, err);
    if (status != SM_OK)
        return status;
    if (p->dim == meta.ndim - 1) {
        s.y = (sm_rows){s.x.m, s.x.k, sm_tensor_ref(call->out[0])};
    } else {
        status = sm_rows_new(&meta, 1u << p->dim, &s.y, err);
    }
    if (status == SM_OK) {
        sm_rows_run(&s.x, softmax_rows, &s);
        if (s.y.t != call->out[0])
            status = sm_rows_copy(&s.y, 1u << p->dim, call->out[0], err);
        sm_rows_close(&s.y);
    }
    sm_rows_close(&s.x);
    return status;
}

/* softmax: dx = y (dy - sum(dy y)); log_softmax: dx = dy - exp(y) sum(dy). Here x holds
 * dx. */
static void softmax_gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const softmax *s = context;
    int64_t k = s->x.k;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float *dx = sm_f32(s->x.t) + i * k;
        const float *y = sm_f32(s->y.t) + i * k, *dy = sm_f32(s->dy.t) + i * k;
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += s->log ? (double)dy[j] : (double)dy[j] * y[j];
        for (int64_t j = 0; j < k; j++)
            dx[j] =
                s->log ? dy[j] - expf(y[j]) * (float)sum : y[j] * (dy[j] - (float)sum);
    }
}

static sm_status softmax_backward(sm_back *back, sm_error *err) {
    const sm_softmax_params *p = back->params;
    unsigned dims = 1u << p->dim;
    softmax s = {.log = p->log};
    sm_tensor *view;
    sm_status status = sm_rows_open(back->out[0], dims, &s.y, err);
    if (status == SM_OK)
        status = sm_rows_open(back->dout[0], dims, &s.dy, err);
    if (status == SM_OK)
        status = sm_rows_new(&back->in_meta[0], dims, &s.x, err);
    if (status == SM_OK) {
        sm_rows_run(&s.x, softmax_gradient_rows, &s);
        status = sm_rows_restore(&s.x, &back->in_meta[0], dims, &view, err);
        if (status == SM_OK)
            status = sm_din_give(back, 0, view, err);
    }
    sm_rows_close(&s.x);
    sm_rows_close(&s.y);
    sm_rows_close(&s.dy);
    return status;
}

const sm_op sm_op_softmax = {.name = "softmax",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .save_out = 1,
                             .params_size = sizeof(sm_softmax_params),
                             .check = same_shape_check,
                             .forward = softmax_forward,
                             .backward = softmax_backward};

/* ---- cumsum ---- */

static void run_sums(const sm_rows *from, const sm_rows *to, bool backwards) {
    int64_t rows = from->k > 0 ? from->m : 0; /* of nothing there may be 2^60 */
    for (int64_t i = 0; i < rows; i++) {
        const float *x = sm_f32(from->t) + i * from->k;
        float *y = sm_f32(to->t) + i * from->k;
        double sum = 0;
        for (int64_t j = 0; j < from->k; j++) {
            int64_t at = backwards ? from->k - 1 - j : j;
            sum += x[at];
            y[at] = (float)sum;
        }
    }
}

static sm_status cumsum(sm_tensor *x, int dim, bool backwards, const sm_meta *meta,
                        sm_tensor **out, sm_error *err) {
    sm_rows from, to;
    sm_status status = sm_rows_open(x, 1u << dim, &from, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_new(meta, 1u << dim, &to, err);
    if (status == SM_OK) {
        run_sums(&from, &to, backwards);
        status = sm_rows_restore(&to, meta, 1u << dim, out, err);
        sm_rows_close(&to);
    }
    sm_rows_close(&from);
    return status;
}

static sm_status cumsum_forward(sm_call *call, sm_error *err) {
    const sm_cumsum_params *p = call->params;
    sm_tensor *view;
    sm_status status = cumsum(call->in[0], p->dim, false, &call->meta[0], &view, err);
    if (status != SM_OK)
        return status;
    sm_tensor_copy(call->out[0], view);
    sm_tensor_unref(view);
    return SM_OK;
}

static sm_status cumsum_backward(sm_back *back, sm_error *err) {
    const sm_cumsum_params *p = back->params;
    sm_tensor *view;
    sm_status status = cumsum(back->dout[0], p->dim, true, &back->in_meta[0], &view, err);
    return status == SM_OK ? sm_din_give(back, 0, view, err) : status;
}

const sm_op sm_op_cumsum = {.name = "cumsum",
                            .min_in = 1,
                            .max_in = 1,
                            .n_out = 1,
                            .params_size = sizeof(sm_cumsum_params),
                            .check = same_shape_check,
                            .forward = cumsum_forward,
                            .backward = cumsum_backward};

/* ---- sorting ---- */

static sm_status topk_check(sm_call *call, sm_error *err) {
    const sm_topk_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status != SM_OK)
        return status;
    if (p->k > x->shape[p->dim])
        return sm_fail(err, SM_EINVAL, 2,
                       "topk: k = %lld is more than dimension %d of shape %s has",
                       (long long)p->k, p->dim + 1, sm_tensor_shape_text(text, x));
    sm_out_like(call, 0);
    if (p->k >= 0)
        call->meta[0].shape[p->dim] = p->k;
    call->meta[1] = call->meta[0];
    call->meta[1].dtype = SM_I64;
    return SM_OK;
}

/* a comes before b. NaN counts as the largest. */
static bool precedes(float a, float b, bool descending) {
    if (isnan(a) || isnan(b))
        return descending ? isnan(a) && !isnan(b) : !isnan(a) && isnan(b);
    return descending ? a > b : a < b;
}

/* Merge sort of positions, stable. */
static void sort_positions(const float *x, int64_t *p, int64_t *spare, int64_t n,
                           bool descending) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t low = 0; low < n; low += 2 * width) {
            int64_t mid = low + width < n ? low + width : n;
            int64_t high = low + 2 * width < n ? low + 2 * width : n, i = low, j = mid;
            for (int64_t k = low; k < high; k++)
                spare[k] =
                    j >= high || (i < mid && !precedes(x[p[j]], x[p[i]], descending))
                        ? p[i++]
                        : p[j++];
        }
        memcpy(p, spare, (size_t)n * sizeof *p);
    }
}

/* The positions p [k] of the first k of n, as a stable sort of all would have them: each
 * is put in its place among the best so far, which few of many reach. */
static void select_positions(const float *x, int64_t *p, int64_t n, int64_t k,
                             bool descending) {
    for (int64_t j = 0; j < n; j++) {
        int64_t at = j < k ? j : k;
        if (at == k && !precedes(x[j], x[p[k - 1]], descending))
            continue;
        at = at == k ? k - 1 : at;
        for (; at > 0 && precedes(x[j], x[p[at - 1]], descending); at--)
            p[at] = p[at - 1];
        p[at] = j;
    }
}

typedef struct selection {
    const float *x;
    float *values;
    int64_t *positions;
    int64_t n, k;
    bool descending;
} selection;

static void select_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const selection *s = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *row = s->x + i * s->n;
        int64_t *p = s->positions + i * s->k;
        select_positions(row, p, s->n, s->k, s->descending);
        for (int64_t j = 0; j < s->k; j++) {
            s->values[i * s->k + j] = row[p[j]];
            p[j]++;
        }
    }
}

enum { MOST_SELECTED = 64 }; /* beyond that sorting all is not slower at its worst */

static sm_status topk_rows(const sm_topk_params *p, const sm_rows *x,
                           const sm_rows *values, sm_tensor *positions, sm_error *err) {
    if (values->k <= MOST_SELECTED && values->k > 0) {
        selection s = {sm_f32(x->t), sm_f32(values->t), sm_i64(positions),
                       x->k,         values->k,         p->descending};
        sm_rows_run(x, select_rows, &s);
        return SM_OK;
    }
    sm_meta meta = {.dtype = SM_I64, .ndim = 1, .shape = {2 * x->k}};
    sm_tensor *scratch;
    sm_status status = sm_tensor_new(&meta, &scratch, err);
    if (status != SM_OK)
        return status;
    int64_t *order = sm_i64(scratch), k = values->k;
    for (int64_t i = 0; i < x->m; i++) {
        const float *row = sm_f32(x->t) + i * x->k;
        for (int64_t j = 0; j < x->k; j++)
            order[j] = j;
        sort_positions(row, order, order + x->k, x->k, p->descending);
        for (int64_t j = 0; j < k; j++) {
            sm_f32(values->t)[i * k + j] = row[order[j]];
            sm_i64(positions)[i * k + j] = order[j] + 1;
        }
    }
    sm_tensor_unref(scratch);
    return SM_OK;
}

static sm_status topk_forward(sm_call *call, sm_error *err) {
    const sm_topk_params *p = call->params;
    unsigned dims = 1u << p->dim;
    sm_rows x, values, positions;
    sm_status status = sm_rows_open(call->in[0], dims, &x, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_new(&call->meta[0], dims, &values, err);
    if (status == SM_OK) {
        sm_meta meta = sm_tensor_meta(values.t);
        meta.dtype = SM_I64;
        positions = (sm_rows){values.m, values.k, NULL};
        status = sm_tensor_new(&meta, &positions.t, err);
        if (status == SM_OK)
            status = topk_rows(p, &x, &values, positions.t, err);
        if (status == SM_OK)
            status = sm_rows_copy(&values, dims, call->out[0], err);
        if (status == SM_OK)
            status = sm_rows_copy(&positions, dims, call->out[1], err);
        sm_rows_close(&positions);
        sm_rows_close(&values);
    }
    sm_rows_close(&x);
    return status;
}

static sm_status topk_backward(sm_back *back, sm_error *err) {
    const sm_topk_params *p = back->params;
    sm_rows dy, positions;
    if (!back->dout[0])
        return SM_OK;
    sm_status status = sm_rows_open(back->dout[0], 1u << p->dim, &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_open(back->out[1], 1u << p->dim, &positions, err);
    if (status == SM_OK) {
        status = scatter_backward(back, 1u << p->dim, dy.t, positions.t, dy.k, err);
        sm_rows_close(&positions);
    }
    sm_rows_close(&dy);
    return status;
}

const sm_op sm_op_topk = {.name = "topk",
                          .min_in = 1,
                          .max_in = 1,
                          .n_out = 2,
                          .save_out = 2,
                          .params_size = sizeof(sm_topk_params),
                          .check = topk_check,
                          .forward = topk_forward,
                          .backward = topk_backward};
