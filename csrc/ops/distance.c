/* distance.c: see distance.h. */
#include "ops/distance.h"

#include <math.h>

#include "base/pool.h"

static sm_status check_matrix(const sm_call *call, int i, const char *name,
                              sm_error *err) {
    sm_status status = sm_want_dtype(call, i, name, SM_F32, err);
    return status == SM_OK ? sm_want_ndim(call, i, name, 2, "[N,D]", err) : status;
}

static sm_status check_pair(sm_call *call, sm_error *err) {
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    sm_status status = check_matrix(call, 0, "a", err);
    if (status == SM_OK)
        status = check_matrix(call, 1, "b", err);
    if (status != SM_OK)
        return status;
    if (!sm_tensor_same_shape(call->in[0], call->in[1]))
        return sm_fail(err, SM_EINVAL, 2, "%s: a %s and b %s must have one shape",
                       call->op->name, sm_tensor_shape_text(a, call->in[0]),
                       sm_tensor_shape_text(b, call->in[1]));
    call->meta[0] =
        (sm_meta){.dtype = SM_F32, .ndim = 1, .shape = {call->in[0]->shape[0]}};
    return SM_OK;
}

/* Rows of two matrices, for the loops below. dy, da and db are there only backward. */
typedef struct rows {
    int64_t n, d;
    const float *a, *b, *dy;
    float *y, *da, *db;
    float p, eps;
} rows;

/* Opens both inputs dense, runs fn over the rows, lets them go. */
static sm_status run_rows(sm_tensor *a, sm_tensor *b, rows *r, sm_range_fn fn,
                          sm_error *err) {
    sm_tensor *da, *db;
    sm_status status = sm_tensor_contiguous(a, &da, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(b, &db, err);
    if (status == SM_OK) {
        r->n = da->shape[0];
        r->d = da->shape[1];
        r->a = sm_f32(da);
        r->b = sm_f32(db);
        sm_parallel_for(r->n, 1 + 8192 / (r->d + 1), fn, r);
        sm_tensor_unref(db);
    }
    sm_tensor_unref(da);
    return status;
}

/* The gradients that are wanted (NULL otherwise) and a dense dy, then fn. */
static sm_status run_gradients(sm_back *back, rows *r, sm_range_fn fn, sm_error *err) {
    sm_tensor *dy, *da = NULL, *db = NULL;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    if (back->want[0])
        status = sm_din(back, 0, &da, err);
    if (status == SM_OK && back->want[1])
        status = sm_din(back, 1, &db, err);
    if (status == SM_OK) {
        r->dy = sm_f32(dy);
        r->da = da ? sm_f32(da) : NULL;
        r->db = db ? sm_f32(db) : NULL;
        status = run_rows(back->in[0], back->in[1], r, fn, err);
    }
    sm_tensor_unref(dy);
    return status;
}

/* ---- pairwise distance ---- */

static double row_distance(const rows *r, int64_t i) {
    const float *a = r->a + i * r->d, *b = r->b + i * r->d;
    double sum = 0;
    for (int64_t j = 0; j < r->d; j++) {
        double x = fabs((double)a[j] - b[j] + r->eps);
        if (r->p == 2)
            sum += x * x;
        else if (r->p == 1)
            sum += x;
        else if (isinf(r->p))
            sum = x > sum || isnan(x) ? x : sum;
        else
            sum += pow(x, r->p);
    }
    return r->p == 2 ? sqrt(sum) : r->p == 1 || isinf(r->p) ? sum : pow(sum, 1 / r->p);
}

static void distance_rows(void *context, int64_t begin, int64_t end, int thread) {
    rows *r = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        r->y[i] = (float)row_distance(r, i);
}

static double slope(const rows *r, double x, double y) {
    double sign = x > 0 ? 1 : x < 0 ? -1 : 0;
    if (y == 0)
        return 0;
    if (r->p == 2)
        return x / y;
    if (r->p == 1)
        return sign;
    if (isinf(r->p))
        return fabs(x) == y ? sign : 0;
    return x == 0 ? 0 : sign * pow(fabs(x) / y, r->p - 1);
}

static void distance_gradient_rows(void *context, int64_t begin, int64_t end,
                                   int thread) {
    rows *r = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double y = row_distance(r, i);
        for (int64_t j = i * r->d; j < (i + 1) * r->d; j++) {
            float g = (float)(r->dy[i] * slope(r, (double)r->a[j] - r->b[j] + r->eps, y));
            if (r->da)
                r->da[j] = g;
            if (r->db)
                r->db[j] = -g;
        }
    }
}

static sm_status pairwise_check(sm_call *call, sm_error *err) {
    const sm_pairwise_params *p = call->params;
    if (!(p->p > 0))
        return sm_fail(err, SM_EINVAL, 0, "pairwise_distance: p must be above 0, got %g",
                       (double)p->p);
    return check_pair(call, err);
}

static sm_status pairwise_forward(sm_call *call, sm_error *err) {
    const sm_pairwise_params *p = call->params;
    rows r = {.p = p->p, .eps = p->eps, .y = sm_f32(call->out[0])};
    return run_rows(call->in[0], call->in[1], &r, distance_rows, err);
}

static sm_status pairwise_backward(sm_back *back, sm_error *err) {
    const sm_pairwise_params *p = back->params;
    rows r = {.p = p->p, .eps = p->eps};
    return run_gradients(back, &r, distance_gradient_rows, err);
}

const sm_op sm_op_pairwise_distance = {.name = "pairwise_distance",
                                       .min_in = 2,
                                       .max_in = 2,
                                       .n_out = 1,
                                       .save_in = 3,
                                       .params_size = sizeof(sm_pairwise_params),
                                       .check = pairwise_check,
                                       .forward = pairwise_forward,
                                       .backward = pairwise_backward};

/* ---- cosine similarity ---- */

typedef struct products {
    double aa, bb, ab;
} products;

static products row_products(const rows *r, int64_t i) {
    products s = {0, 0, 0};
    for (int64_t j = i * r->d; j < (i + 1) * r->d; j++) {
        s.aa += (double)r->a[j] * r->a[j];
        s.bb += (double)r->b[j] * r->b[j];
        s.ab += (double)r->a[j] * r->b[j];
    }
    return s;
}

static void cosine_rows(void *context, int64_t begin, int64_t end, int thread) {
    rows *r = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        products s = row_products(r, i);
        double length = sqrt(s.aa * s.bb);
        r->y[i] = (float)(s.ab / (length > r->eps ? length : r->eps));
    }
}

/* d cos / da = b / (|a||b|) - cos a / |a|^2; b / eps where the lengths are below eps. */
static void cosine_gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    rows *r = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        products s = row_products(r, i);
        double length = sqrt(s.aa * s.bb);
        bool tiny = !(length > r->eps);
        double inverse = 1 / (tiny ? r->eps : length);
        double ca = tiny ? 0 : s.ab * inverse / s.aa,
               cb = tiny ? 0 : s.ab * inverse / s.bb;
        for (int64_t j = i * r->d; j < (i + 1) * r->d; j++) {
            if (r->da)
                r->da[j] = (float)(r->dy[i] * (r->b[j] * inverse - ca * r->a[j]));
            if (r->db)
                r->db[j] = (float)(r->dy[i] * (r->a[j] * inverse - cb * r->b[j]));
        }
    }
}

static sm_status cosine_forward(sm_call *call, sm_error *err) {
    const sm_cosine_params *p = call->params;
    rows r = {.eps = p->eps, .y = sm_f32(call->out[0])};
    return run_rows(call->in[0], call->in[1], &r, cosine_rows, err);
}

static sm_status cosine_backward(sm_back *back, sm_error *err) {
    const sm_cosine_params *p = back->params;
    rows r = {.eps = p->eps};
    return run_gradients(back, &r, cosine_gradient_rows, err);
}

const sm_op sm_op_cosine_similarity = {.name = "cosine_similarity",
                                       .min_in = 2,
                                       .max_in = 2,
                                       .n_out = 1,
                                       .save_in = 3,
                                       .params_size = sizeof(sm_cosine_params),
                                       .check = check_pair,
                                       .forward = cosine_forward,
                                       .backward = cosine_backward};
