/* loss.c: see loss.h. */
#include "ops/loss.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/gemm.h"

static const char *const pointwise_names[] = {
    "contrastive_loss", "binary_cross_entropy_with_logits", "mse_loss"};

/* A loss of `n` items in float32: [n] items, or one number. */
static sm_meta loss_meta(const sm_meta *items, sm_loss_reduction reduction) {
    sm_meta meta = {.dtype = SM_F32};
    if (reduction == SM_REDUCE_NONE)
        meta = *items;
    meta.dtype = SM_F32;
    return meta;
}

/* What an item's gradient is multiplied by. The mean of nothing is 0. */
static double item_scale(sm_loss_reduction reduction, int64_t n) {
    return reduction == SM_REDUCE_MEAN && n > 0 ? 1 / (double)n : 1;
}

/* ---- pointwise losses ---- */

static const char *pointwise_label(const void *params) {
    return pointwise_names[((const sm_pointwise_params *)params)->kind];
}

static sm_status pointwise_check(sm_call *call, sm_error *err) {
    const sm_pointwise_params *p = call->params;
    const char *name = pointwise_label(p);
    char a[SM_SHAPE_TEXT], b[SM_SHAPE_TEXT];
    for (int i = 0; i < 2; i++)
        if (call->in[i]->dtype != SM_F32)
            return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must be float32, got %s", name,
                           i ? "target" : "input", sm_dtype_name(call->in[i]->dtype));
    if (!sm_tensor_same_shape(call->in[0], call->in[1]))
        return sm_fail(
            err, SM_EINVAL, 2, "%s: input %s and target %s must have one shape", name,
            sm_tensor_shape_text(a, call->in[0]), sm_tensor_shape_text(b, call->in[1]));
    if (call->in[1]->requires_grad)
        return sm_fail(err, SM_EINVAL, 2, "%s: the target must not require a gradient",
                       name);
    sm_meta items = sm_tensor_meta(call->in[0]);
    call->meta[0] = loss_meta(&items, p->reduction);
    return SM_OK;
}

/* l(v) of contrastive loss; NaN stays NaN. */
static double hinge(const sm_pointwise_params *p, double v, double *slope) {
    v = v < 0 ? 0 : v;
    *slope = p->plain ? v > 0 : v;
    return p->plain ? v : 0.5 * v * v;
}

/* The loss of one item; *slope its derivative. */
static double item_loss(const sm_pointwise_params *p, double x, double t, double *slope) {
    double pull, push;
    switch (p->kind) {
    case SM_LOSS_CONTRASTIVE: {
        double same = hinge(p, x - p->b, &pull), different = hinge(p, p->a - x, &push);
        *slope = t * pull - (1 - t) * push;
        return t * same + (1 - t) * different;
    }
    case SM_LOSS_BCE_LOGITS: {
        /* softplus(-x) and softplus(x) without overflow */
        double tail = log1p(exp(-fabs(x))), negative = tail + (x < 0 ? -x : 0);
        double positive = tail + (x > 0 ? x : 0), s = 1 / (1 + exp(-x));
        *slope = -p->a * t * (1 - s) + (1 - t) * s;
        return x != x ? x : p->a * t * negative + (1 - t) * positive;
    }
    default:
        *slope = 2 * (x - t);
        return (x - t) * (x - t);
    }
}

static sm_status pointwise_forward(sm_call *call, sm_error *err) {
    const sm_pointwise_params *p = call->params;
    sm_tensor *x, *t = NULL;
    sm_meta meta = sm_tensor_meta(call->in[0]);
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &t, err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK) {
        int64_t n = sm_tensor_numel(x);
        double sum = 0, slope, scale = item_scale(p->reduction, n);
        for (int64_t i = 0; i < n; i++) {
            double loss = item_loss(p, sm_f32(x)[i], sm_f32(t)[i], &slope);
            sm_f32(call->keep[0])[i] = (float)(slope * scale);
            sum += loss;
            if (p->reduction == SM_REDUCE_NONE)
                sm_f32(call->out[0])[i] = (float)loss;
        }
        if (p->reduction != SM_REDUCE_NONE)
            *sm_f32(call->out[0]) = (float)(sum * scale);
    }
    sm_tensor_unref(t);
    sm_tensor_unref(x);
    return status;
}

/* din = kept slopes * dy, where dy is one number or one an item (row). */
static sm_status slopes_backward(sm_back *back, int64_t items, sm_error *err) {
    sm_tensor *dy, *din;
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_din(back, 0, &din, err);
    if (status == SM_OK) {
        int64_t n = sm_tensor_numel(din), width = items ? n / items : 0;
        bool one = dy->ndim == 0;
        for (int64_t i = 0; i < n; i++)
            sm_f32(din)[i] = sm_f32(back->keep[0])[i] * sm_f32(dy)[one ? 0 : i / width];
    }
    sm_tensor_unref(dy);
    return status;
}

static sm_status pointwise_backward(sm_back *back, sm_error *err) {
    return slopes_backward(back, sm_tensor_numel(back->keep[0]), err);
}

const sm_op sm_op_pointwise_loss = {.name = "loss",
                                    .label = pointwise_label,
                                    .min_in = 2,
                                    .max_in = 2,
                                    .n_out = 1,
                                    .params_size = sizeof(sm_pointwise_params),
                                    .check = pointwise_check,
                                    .forward = pointwise_forward,
                                    .backward = pointwise_backward};

/* ---- cross entropy ---- */

static sm_status check_labels(sm_call *call, int64_t rows, const char *what,
                              sm_error *err) {
    char text[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 1, "labels", SM_I64, err);
    if (status != SM_OK)
        return status;
    if (call->in[1]->ndim != 1 || call->in[1]->shape[0] != rows)
        return sm_fail(err, SM_EINVAL, 2,
                       "%s: labels must be [%lld], one a row of %s, got %s",
                       call->op->name, (long long)rows, what,
                       sm_tensor_shape_text(text, call->in[1]));
    return SM_OK;
}

static sm_status cross_entropy_check(sm_call *call, sm_error *err) {
    const sm_cross_entropy_params *p = call->params;
    sm_status status = sm_want_dtype(call, 0, "logits", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "logits", 2, "[N,C]", err);
    if (status == SM_OK)
        status = check_labels(call, call->in[0]->shape[0], "logits", err);
    if (status != SM_OK)
        return status;
    if (!(p->smoothing >= 0 && p->smoothing <= 1))
        return sm_fail(err, SM_EINVAL, 0,
                       "cross_entropy: label_smoothing must be from 0 to 1");
    sm_meta items = sm_tensor_meta(call->in[1]);
    call->meta[0] = loss_meta(&items, p->reduction);
    return SM_OK;
}

/* The loss of one row; slopes get softmax - target. */
static double row_cross_entropy(const float *x, int64_t classes, int64_t label,
                                double smoothing, double scale, float *slopes) {
    double most = -INFINITY, sum = 0, mean = 0;
    for (int64_t c = 0; c < classes; c++)
        most = x[c] > most || isnan(x[c]) ? x[c] : most;
    for (int64_t c = 0; c < classes; c++)
        sum += exp(x[c] - most);
    double log_sum = most + log(sum);
    for (int64_t c = 0; c < classes; c++) {
        double target = smoothing / (double)classes + (c == label ? 1 - smoothing : 0);
        slopes[c] = (float)((exp(x[c] - log_sum) - target) * scale);
        mean += smoothing > 0 ? (log_sum - x[c]) / (double)classes : 0;
    }
    return (1 - smoothing) * (log_sum - x[label]) + smoothing * mean;
}

static sm_status cross_entropy_rows(sm_call *call, const sm_tensor *x,
                                    const sm_tensor *labels, sm_error *err) {
    const sm_cross_entropy_params *p = call->params;
    int64_t n = x->shape[0], classes = x->shape[1];
    double sum = 0, scale = item_scale(p->reduction, n);
    for (int64_t i = 0; i < n; i++) {
        int64_t label = sm_i64(labels)[i];
        if (label < 1 || label > classes)
            return sm_fail(
                err, SM_EINVAL, 2,
                "cross_entropy: label %lld of row %lld is out of range 1..%lld",
                (long long)label, (long long)i + 1, (long long)classes);
        double loss =
            row_cross_entropy(sm_f32(x) + i * classes, classes, label - 1, p->smoothing,
                              scale, sm_f32(call->keep[0]) + i * classes);
        sum += loss;
        if (p->reduction == SM_REDUCE_NONE)
            sm_f32(call->out[0])[i] = (float)loss;
    }
    if (p->reduction != SM_REDUCE_NONE)
        *sm_f32(call->out[0]) = (float)(sum * scale);
    return SM_OK;
}

static sm_status cross_entropy_forward(sm_call *call, sm_error *err) {
    sm_tensor *x, *labels = NULL;
    sm_meta meta = sm_tensor_meta(call->in[0]);
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(call->in[1], &labels, err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK)
        status = cross_entropy_rows(call, x, labels, err);
    sm_tensor_unref(labels);
    sm_tensor_unref(x);
    return status;
}

static sm_status cross_entropy_backward(sm_back *back, sm_error *err) {
    return slopes_backward(back, back->in_meta[0].shape[0], err);
}

const sm_op sm_op_cross_entropy = {.name = "cross_entropy",
                                   .min_in = 2,
                                   .max_in = 2,
                                   .n_out = 1,
                                   .params_size = sizeof(sm_cross_entropy_params),
                                   .check = cross_entropy_check,
                                   .forward = cross_entropy_forward,
                                   .backward = cross_entropy_backward};

/* ---- batch hard ---- */

static sm_status batch_hard_check(sm_call *call, sm_error *err) {
    const sm_batch_hard_params *p = call->params;
    sm_status status = sm_want_dtype(call, 0, "embeddings", SM_F32, err);
    if (status == SM_OK)
        status = sm_want_ndim(call, 0, "embeddings", 2, "[N,D]", err);
    if (status == SM_OK)
        status = check_labels(call, call->in[0]->shape[0], "embeddings", err);
    if (status != SM_OK)
        return status;
    sm_meta items = sm_tensor_meta(call->in[1]);
    call->meta[0] = loss_meta(&items, p->reduction);
    return SM_OK;
}

typedef struct mining {
    const sm_batch_hard_params *p;
    int64_t n, d;
    const float *x;
    const int64_t *labels;
    const float *gram; /* x x^T */
    float *dx;
} mining;

static double pair_distance(const mining *m, int64_t i, int64_t j) {
    double d2 =
        (double)m->gram[i * m->n + i] + m->gram[j * m->n + j] - 2 * m->gram[i * m->n + j];
    double both = (double)m->gram[i * m->n + i] + m->gram[j * m->n + j];
    if (d2 < 1e-3 * both) { /* the product cancelled: form the difference */
        d2 = 0;
        for (int64_t k = 0; k < m->d; k++) {
            double x = (double)m->x[i * m->d + k] - m->x[j * m->d + k];
            d2 += x * x;
        }
    }
    return m->p->squared ? d2 : sqrt(d2);
}

/* The farthest of the own class and the closest of another; false where one is missing.
 */
static bool hardest(const mining *m, int64_t i, int64_t *positive, int64_t *negative,
                    double *dp, double *dn) {
    *positive = *negative = -1;
    for (int64_t j = 0; j < m->n; j++) {
        if (j == i)
            continue;
        bool same = m->labels[j] == m->labels[i];
        double d = pair_distance(m, i, j);
        if (same && (*positive < 0 || d > *dp || isnan(d))) {
            *positive = j;
            *dp = d;
        } else if (!same && (*negative < 0 || d < *dn || isnan(d))) {
            *negative = j;
            *dn = d;
        }
    }
    return *positive >= 0 && *negative >= 0;
}

/* dx of rows i and j gets weight * d(distance)/dx. */
static void add_pair(const mining *m, int64_t i, int64_t j, double distance,
                     double weight) {
    double scale = m->p->squared ? 2 * weight : distance > 0 ? weight / distance : 0;
    for (int64_t k = 0; k < m->d && scale != 0; k++) {
        float g = (float)(scale * ((double)m->x[i * m->d + k] - m->x[j * m->d + k]));
        m->dx[i * m->d + k] += g;
        m->dx[j * m->d + k] -= g;
    }
}

/* The loss of one anchor and its slope by d_p - d_n. */
static double anchor_loss(const sm_batch_hard_params *p, double gap, double *slope) {
    if (p->soft) {
        *slope = 1 / (1 + exp(-gap));
        return log1p(exp(-fabs(gap))) + (gap > 0 ? gap : 0);
    }
    double loss = p->margin + gap;
    *slope = loss > 0 || isnan(loss);
    return loss < 0 ? 0 : loss;
}

static int64_t count_valid(const mining *m) {
    int64_t valid = 0;
    for (int64_t i = 0; i < m->n; i++) {
        bool positive = false, negative = false;
        for (int64_t j = 0; j < m->n; j++) {
            positive = positive || (j != i && m->labels[j] == m->labels[i]);
            negative = negative || m->labels[j] != m->labels[i];
        }
        valid += positive && negative;
    }
    return valid;
}

/* The losses; each anchor's gradient goes to dx, times `weight` (NULL: all alike). */
static double mine(const mining *m, float *items, const float *weight) {
    double sum = 0, slope;
    int64_t valid = m->p->reduction == SM_REDUCE_MEAN ? count_valid(m) : 0;
    double scale = valid > 0 ? 1 / (double)valid : 1;
    for (int64_t i = 0; i < m->n; i++) {
        int64_t positive, negative;
        double dp = 0, dn = 0;
        if (items)
            items[i] = 0;
        if (!hardest(m, i, &positive, &negative, &dp, &dn))
            continue;
        double loss = anchor_loss(m->p, dp - dn, &slope);
        sum += loss * scale;
        if (items)
            items[i] = (float)loss;
        if (!m->dx)
            continue;
        slope *= scale * (weight ? weight[i] : 1);
        add_pair(m, i, positive, dp, slope);
        add_pair(m, i, negative, dn, -slope);
    }
    return sum;
}

/* Opens the operands, computes the Gram matrix and mines. */
static sm_status run_mining(const sm_batch_hard_params *p, sm_tensor *x,
                            sm_tensor *labels, float *dx, float *items,
                            const float *weight, double *sum, sm_error *err) {
    sm_tensor *xs, *ls = NULL, *gram = NULL;
    int64_t n = x->shape[0], d = x->shape[1], ld = d > 0 ? d : 1;
    sm_meta meta = {.dtype = SM_F32, .ndim = 2, .shape = {n, n}};
    sm_status status = sm_tensor_contiguous(x, &xs, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(labels, &ls, err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &gram, err);
    if (status == SM_OK)
        status = sm_gemm(false, true, n, n, d, 1, sm_f32(xs), ld, sm_f32(xs), ld, 0,
                         sm_f32(gram), n > 0 ? n : 1, err);
    if (status == SM_OK) {
        mining m = {p, n, d, sm_f32(xs), sm_i64(ls), sm_f32(gram), dx};
        *sum = mine(&m, items, weight);
    }
    sm_tensor_unref(gram);
    sm_tensor_unref(ls);
    sm_tensor_unref(xs);
    return status;
}

static sm_status batch_hard_forward(sm_call *call, sm_error *err) {
    const sm_batch_hard_params *p = call->params;
    bool none = p->reduction == SM_REDUCE_NONE;
    double sum = 0;
    float *dx = NULL;
    sm_meta meta = sm_tensor_meta(call->in[0]);
    if (call->record &&
        !none) { /* with one dy for all, the gradient is ready but for a factor */
        sm_status status = sm_tensor_zeros(&meta, &call->keep[0], err);
        if (status != SM_OK)
            return status;
        dx = sm_f32(call->keep[0]);
    }
    sm_status status = run_mining(p, call->in[0], call->in[1], dx,
                                  none ? sm_f32(call->out[0]) : NULL, NULL, &sum, err);
    if (status == SM_OK && !none)
        *sm_f32(call->out[0]) = (float)sum;
    return status;
}

static sm_status batch_hard_backward(sm_back *back, sm_error *err) {
    const sm_batch_hard_params *p = back->params;
    sm_tensor *dy, *din;
    double sum;
    if (p->reduction != SM_REDUCE_NONE)
        return slopes_backward(back, 1, err);
    sm_status status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status != SM_OK)
        return status;
    status = sm_din_zeros(back, 0, &din, err);
    if (status == SM_OK)
        status = run_mining(p, back->in[0], back->in[1], sm_f32(din), NULL, sm_f32(dy),
                            &sum, err);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_batch_hard = {.name = "batch_hard_triplet_loss",
                                .min_in = 2,
                                .max_in = 2,
                                .n_out = 1,
                                .save_in = 3,
                                .params_size = sizeof(sm_batch_hard_params),
                                .check = batch_hard_check,
                                .forward = batch_hard_forward,
                                .backward = batch_hard_backward};
