/* norm.c: normalisation ops. See norm.h; the sweeps are kernels/norm.h's. */
#include "ops/norm.h"

#include <math.h>

#include "base/pool.h"
#include "kernels/norm.h"
#include "ops/rows.h"

/* ---- batch norm ---- */

enum { INPUT, RUNNING_MEAN, RUNNING_VAR, WEIGHT, BIAS };

static sm_tensor *operand(const sm_call *call, int i) {
    return i < call->n_in ? call->in[i] : NULL;
}

static sm_status batch_norm_check(sm_call *call, sm_error *err) {
    static const char *const names[] = {"input", "running_mean", "running_var", "weight",
                                        "bias"};
    const sm_batch_norm_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT], xs[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status != SM_OK)
        return status;
    sm_tensor_shape_text(xs, x);
    if (x->ndim < 2)
        return sm_fail(err, SM_EINVAL, 1,
                       "batch_norm: input must be [N,C,...], got shape %s", xs);
    for (int i = 1; i < call->n_in; i++) {
        const sm_tensor *t = call->in[i];
        if (!t)
            continue;
        if (t->dtype != SM_F32 || t->ndim != 1 || t->shape[0] != x->shape[1])
            return sm_fail(
                err, SM_EINVAL, i + 1,
                "batch_norm: %s must be float32 [%lld] for input %s, got %s %s", names[i],
                (long long)x->shape[1], xs, sm_dtype_name(t->dtype),
                sm_tensor_shape_text(text, t));
        if (i <= RUNNING_VAR && t->requires_grad)
            return sm_fail(err, SM_EINVAL, i + 1,
                           "batch_norm: %s must not require a gradient", names[i]);
    }
    if (!p->training && (!operand(call, RUNNING_MEAN) || !operand(call, RUNNING_VAR)))
        return sm_fail(err, SM_EINVAL, 2,
                       "batch_norm: evaluation needs running_mean and running_var");
    int64_t count = sm_tensor_numel(x) / (x->shape[1] ? x->shape[1] : 1);
    if (p->training && count == 1)
        return sm_fail(
            err, SM_EINVAL, 1,
            "batch_norm: more than one value per channel is needed in training, got "
            "input %s",
            xs);
    sm_out_like(call, 0);
    return SM_OK;
}

/* Everything that the loops over channels need. Channel c of sample n begins at (n C + c)
 * L. */
typedef struct batch_norm {
    const sm_batch_norm_params *p;
    const sm_norm *kernels;
    int64_t n, c, l;
    const float *x, *weight, *bias, *dy, *y_relu;
    float *y, *mean,
        *inverse; /* of each channel: the mean and 1 / sqrt(var + eps) used */
    float *running_mean, *running_var;
    int64_t stride_mean, stride_var, stride_weight, stride_bias;
    float *dx, *dweight, *dbias;
} batch_norm;

static void set_sizes(batch_norm *b, const int64_t *shape, int ndim) {
    b->kernels = sm_norm_table();
    b->n = shape[0];
    b->c = shape[1];
    b->l = 1;
    for (int d = 2; d < ndim; d++)
        b->l *= shape[d];
}

/* The batch's statistics of one channel, two sweeps over memory that the second finds in
 * cache. */
static void channel_statistics(const batch_norm *b, int64_t c) {
    double sum = 0, squares = 0, count = (double)(b->n * b->l);
    for (int64_t n = 0; n < b->n; n++)
        sum += b->kernels->sum(b->x + (n * b->c + c) * b->l, b->l);
    float mean = (float)(sum / count);
    for (int64_t n = 0; n < b->n; n++)
        squares += b->kernels->squares(b->x + (n * b->c + c) * b->l, b->l, mean);
    double correction =
        sum / count - mean; /* mean was rounded: shift the squares exactly */
    double var = squares / count - correction * correction;
    var = var < 0 ? 0 : var;
    b->mean[c] = mean;
    b->inverse[c] = (float)(1 / sqrt(var + b->p->eps));
    float m = b->p->momentum;
    if (b->running_mean)
        b->running_mean[c * b->stride_mean] =
            (1 - m) * b->running_mean[c * b->stride_mean] + m * mean;
    if (b->running_var)
        b->running_var[c * b->stride_var] = (1 - m) * b->running_var[c * b->stride_var] +
                                            m * (float)(var * count / (count - 1));
}

static void forward_channels(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        if (b->p->training) {
            channel_statistics(b, c);
        } else {
            b->mean[c] = b->running_mean[c * b->stride_mean];
            b->inverse[c] = 1 / sqrtf(b->running_var[c * b->stride_var] + b->p->eps);
        }
        float scale = b->inverse[c] * (b->weight ? b->weight[c * b->stride_weight] : 1);
        float shift = (b->bias ? b->bias[c * b->stride_bias] : 0) - b->mean[c] * scale;
        for (int64_t n = 0; n < b->n; n++) {
            int64_t at = (n * b->c + c) * b->l;
            b->kernels->affine(b->y + at, b->x + at, b->l, scale, shift, b->p->relu);
        }
    }
}

static int64_t channel_grain(const batch_norm *b) {
    return 1 + 16384 / (b->n * b->l + 1);
}

static sm_status batch_norm_forward(sm_call *call, sm_error *err) {
    batch_norm b = {.p = call->params, .y = sm_f32(call->out[0])};
    sm_tensor *x, *mean = operand(call, RUNNING_MEAN), *var = operand(call, RUNNING_VAR);
    sm_tensor *weight = operand(call, WEIGHT), *bias = operand(call, BIAS);
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    set_sizes(&b, x->shape, x->ndim);
    b.x = sm_f32(x);
    b.weight = weight ? sm_f32(weight) : NULL;
    b.stride_weight = weight ? weight->stride[0] : 0;
    b.bias = bias ? sm_f32(bias) : NULL;
    b.stride_bias = bias ? bias->stride[0] : 0;
    b.running_mean = mean ? sm_f32(mean) : NULL;
    b.stride_mean = mean ? mean->stride[0] : 0;
    b.running_var = var ? sm_f32(var) : NULL;
    b.stride_var = var ? var->stride[0] : 0;
    sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {b.c}};
    status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &call->keep[1], err);
    if (status == SM_OK && b.p->relu && call->record)
        status = sm_tensor_alias(call->out[0], &call->keep[2], err);
    if (status == SM_OK && b.n * b.l > 0) {
        b.mean = sm_f32(call->keep[0]);
        b.inverse = sm_f32(call->keep[1]);
        sm_parallel_for(b.c, channel_grain(&b), forward_channels, &b);
        if (b.p->training && mean)
            mean->storage->version++;
        if (b.p->training && var)
            var->storage->version++;
    }
    sm_tensor_unref(x);
    return status;
}

/* With xhat = (x - mean) inverse and M values a channel (Ioffe and Szegedy, section 3):
 * dbias = sum dy, dweight = sum dy xhat,
 * dx = weight inverse (dy - dbias/M - xhat dweight/M) in training, weight inverse dy in
 * evaluation. */
static void backward_channels(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        double sum_dy = 0, sum_dy_x = 0, count = (double)(b->n * b->l);
        for (int64_t n = 0; n < b->n; n++) {
            int64_t at = (n * b->c + c) * b->l;
            float s, sx;
            b->kernels->dots(b->dy + at, b->x + at, b->y_relu ? b->y_relu + at : NULL,
                             b->l, b->mean[c], &s, &sx);
            sum_dy += s;
            sum_dy_x += sx;
        }
        double inverse = b->inverse[c], dweight = sum_dy_x * inverse;
        if (b->dweight)
            b->dweight[c] = (float)dweight;
        if (b->dbias)
            b->dbias[c] = (float)sum_dy;
        if (!b->dx)
            continue;
        double scale = inverse * (b->weight ? b->weight[c * b->stride_weight] : 1), u = 0,
               v = 0;
        if (b->p->training) {
            u = -scale * dweight * inverse / count;
            v = -scale * sum_dy / count - u * b->mean[c];
        }
        for (int64_t n = 0; n < b->n; n++) {
            int64_t at = (n * b->c + c) * b->l;
            b->kernels->combine(b->dx + at, b->dy + at, b->x + at,
                                b->y_relu ? b->y_relu + at : NULL, b->l, (float)scale,
                                (float)u, (float)v);
        }
    }
}

static sm_status norm_gradients(sm_back *back, int weight, int bias, float **dx,
                                float **dweight, float **dbias, sm_error *err) {
    sm_tensor *t;
    sm_status status = SM_OK;
    const int which[] = {0, weight, bias};
    float **to[] = {dx, dweight, dbias};
    for (int k = 0; k < 3 && status == SM_OK; k++) {
        *to[k] = NULL;
        if (which[k] >= back->n_in || !back->want[which[k]])
            continue;
        status = sm_din_zeros(back, which[k], &t, err);
        if (status == SM_OK)
            *to[k] = sm_f32(t);
    }
    return status;
}

static sm_status batch_norm_backward(sm_back *back, sm_error *err) {
    batch_norm b = {.p = back->params,
                    .mean = sm_f32(back->keep[0]),
                    .inverse = sm_f32(back->keep[1])};
    sm_tensor *x, *dy, *weight = WEIGHT < back->n_in ? back->in[WEIGHT] : NULL;
    sm_status status = sm_tensor_contiguous(back->in[0], &x, err);
    if (status != SM_OK)
        return status;
    status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK) {
        set_sizes(&b, x->shape, x->ndim);
        b.x = sm_f32(x);
        b.dy = sm_f32(dy);
        b.y_relu = back->keep[2] ? sm_f32(back->keep[2]) : NULL;
        b.weight = weight ? sm_f32(weight) : NULL;
        b.stride_weight = weight ? weight->stride[0] : 0;
        status = norm_gradients(back, WEIGHT, BIAS, &b.dx, &b.dweight, &b.dbias, err);
        if (status == SM_OK && b.n * b.l > 0)
            sm_parallel_for(b.c, channel_grain(&b), backward_channels, &b);
        sm_tensor_unref(dy);
    }
    sm_tensor_unref(x);
    return status;
}

const sm_op sm_op_batch_norm = {.name = "batch_norm",
                                .min_in = 1,
                                .max_in = 5,
                                .n_out = 1,
                                .save_in = 1u << INPUT | 1u << WEIGHT,
                                .params_size = sizeof(sm_batch_norm_params),
                                .check = batch_norm_check,
                                .forward = batch_norm_forward,
                                .backward = batch_norm_backward};

/* ---- layer norm ---- */

static sm_status layer_norm_check(sm_call *call, sm_error *err) {
    const sm_layer_norm_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT], wanted[SM_SHAPE_TEXT];
    sm_status status = sm_want_dtype(call, 0, "input", SM_F32, err);
    if (status != SM_OK)
        return status;
    if (p->dims < 1 || p->dims > x->ndim)
        return sm_fail(err, SM_EINVAL, 1,
                       "layer_norm: %d normalised dimensions, input has shape %s",
                       p->dims, sm_tensor_shape_text(text, x));
    const int64_t *tail = x->shape + x->ndim - p->dims;
    for (int i = 1; i < call->n_in; i++) {
        const sm_tensor *t = call->in[i];
        bool fits = !t || (t->dtype == SM_F32 && t->ndim == p->dims);
        for (int d = 0; t && d < p->dims && fits; d++)
            fits = t->shape[d] == tail[d];
        if (!fits)
            return sm_fail(
                err, SM_EINVAL, i + 1, "layer_norm: %s must be float32 %s, got %s %s",
                i == 1 ? "weight" : "bias", sm_shape_text(wanted, p->dims, tail),
                sm_dtype_name(t->dtype), sm_tensor_shape_text(text, t));
    }
    sm_out_like(call, 0);
    return SM_OK;
}

typedef struct layer_norm {
    const sm_norm *kernels;
    int64_t m, k;
    float eps;
    const float *x, *weight, *bias, *dy;
    float *y, *mean, *inverse, *dx, *dweight, *dbias;
} layer_norm;

static void layer_rows(void *context, int64_t begin, int64_t end, int thread) {
    const layer_norm *l = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = l->x + i * l->k;
        float *y = l->y + i * l->k;
        float mean = l->kernels->sum(x, l->k) / (float)l->k;
        float var = l->kernels->squares(x, l->k, mean) / (float)l->k;
        l->mean[i] = mean;
        l->inverse[i] = 1 / sqrtf(var + l->eps);
        l->kernels->affine(y, x, l->k, l->inverse[i], -mean * l->inverse[i], false);
        if (l->weight)
            for (int64_t j = 0; j < l->k; j++)
                y[j] *= l->weight[j];
        if (l->bias)
            for (int64_t j = 0; j < l->k; j++)
                y[j] += l->bias[j];
    }
}

/* Dense copies of weight and bias (or NULL); both are to be unreferenced. */
static sm_status dense_affine(sm_tensor *const *in, int n_in, sm_tensor **weight,
                              sm_tensor **bias, sm_error *err) {
    *weight = *bias = NULL;
    sm_status status = SM_OK;
    if (n_in > 1 && in[1])
        status = sm_tensor_contiguous(in[1], weight, err);
    if (status == SM_OK && n_in > 2 && in[2])
        status = sm_tensor_contiguous(in[2], bias, err);
    return status;
}

static void set_rows(layer_norm *l, const int64_t *shape, int ndim, int dims) {
    l->kernels = sm_norm_table();
    l->m = l->k = 1;
    for (int d = 0; d < ndim; d++)
        *(d < ndim - dims ? &l->m : &l->k) *= shape[d];
}

static sm_status layer_norm_forward(sm_call *call, sm_error *err) {
    const sm_layer_norm_params *p = call->params;
    layer_norm l = {.eps = p->eps, .y = sm_f32(call->out[0])};
    sm_tensor *x, *weight, *bias;
    sm_status status = sm_tensor_contiguous(call->in[0], &x, err);
    if (status != SM_OK)
        return status;
    set_rows(&l, x->shape, x->ndim, p->dims);
    sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {l.m}};
    status = dense_affine(call->in, call->n_in, &weight, &bias, err);
    for (int k = 0; k < 2 && status == SM_OK; k++)
        status = sm_tensor_new(&meta, &call->keep[k], err);
    if (status == SM_OK && l.k > 0) {
        l.x = sm_f32(x);
        l.weight = weight ? sm_f32(weight) : NULL;
        l.bias = bias ? sm_f32(bias) : NULL;
        l.mean = sm_f32(call->keep[0]);
        l.inverse = sm_f32(call->keep[1]);
        sm_parallel_for(l.m, 1 + 16384 / l.k, layer_rows, &l);
    }
    sm_tensor_unref(weight);
    sm_tensor_unref(bias);
    sm_tensor_unref(x);
    return status;
}

/* With g = dy weight: dx = inverse (g - mean(g) - xhat mean(g xhat)). */
static void layer_gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const layer_norm *l = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = l->x + i * l->k, *dy = l->dy + i * l->k;
        float *dx = l->dx + i * l->k, mean = l->mean[i], inverse = l->inverse[i];
        double sum = 0, sum_x = 0;
        for (int64_t j = 0; j < l->k; j++) {
            double g = l->weight ? (double)dy[j] * l->weight[j] : dy[j];
            sum += g;
            sum_x += g * (x[j] - mean);
        }
        float a = (float)(sum / (double)l->k),
              b = (float)(sum_x * inverse * inverse / (double)l->k);
        for (int64_t j = 0; j < l->k; j++) {
            float g = l->weight ? dy[j] * l->weight[j] : dy[j];
            dx[j] = inverse * (g - a - b * (x[j] - mean));
        }
    }
}

/* Summed over the rows in order: the same bits whatever the number of threads. */
static void layer_affine_gradients(const layer_norm *l) {
    for (int64_t i = 0; i < l->m; i++) {
        const float *x = l->x + i * l->k, *dy = l->dy + i * l->k;
        float mean = l->mean[i], inverse = l->inverse[i];
        for (int64_t j = 0; j < l->k && l->dweight; j++)
            l->dweight[j] += dy[j] * (x[j] - mean) * inverse;
        for (int64_t j = 0; j < l->k && l->dbias; j++)
            l->dbias[j] += dy[j];
    }
}

static sm_status layer_norm_backward(sm_back *back, sm_error *err) {
    const sm_layer_norm_params *p = back->params;
    layer_norm l = {.mean = sm_f32(back->keep[0]), .inverse = sm_f32(back->keep[1])};
    sm_tensor *x, *dy = NULL, *weight = NULL, *bias = NULL;
    sm_status status = sm_tensor_contiguous(back->in[0], &x, err);
    if (status != SM_OK)
        return status;
    set_rows(&l, x->shape, x->ndim, p->dims);
    status = sm_tensor_contiguous(back->dout[0], &dy, err);
    if (status == SM_OK)
        status =
            dense_affine(back->in, back->n_in < 2 ? back->n_in : 2, &weight, &bias, err);
    if (status == SM_OK)
        status = norm_gradients(back, 1, 2, &l.dx, &l.dweight, &l.dbias, err);
    if (status == SM_OK && l.k > 0) {
        l.x = sm_f32(x);
        l.dy = sm_f32(dy);
        l.weight = weight ? sm_f32(weight) : NULL;
        if (l.dx)
            sm_parallel_for(l.m, 1 + 8192 / l.k, layer_gradient_rows, &l);
        layer_affine_gradients(&l);
    }
    sm_tensor_unref(weight);
    sm_tensor_unref(dy);
    sm_tensor_unref(x);
    return status;
}

const sm_op sm_op_layer_norm = {.name = "layer_norm",
                                .min_in = 1,
                                .max_in = 3,
                                .n_out = 1,
                                .save_in = 3,
                                .params_size = sizeof(sm_layer_norm_params),
                                .check = layer_norm_check,
                                .forward = layer_norm_forward,
                                .backward = layer_norm_backward};

/* ---- unit length ---- */

static sm_status normalize_check(sm_call *call, sm_error *err) {
    sm_out_like(call, 0);
    return sm_want_dtype(call, 0, "input", SM_F32, err);
}

typedef struct unit {
    float eps;
    sm_rows x, y, dy;
} unit;

static void unit_rows(void *context, int64_t begin, int64_t end, int thread) {
    const unit *u = context;
    int64_t k = u->x.k;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = sm_f32(u->x.t) + i * k;
        float *y = sm_f32(u->y.t) + i * k;
        float length = sqrtf(sm_norm_table()->squares(x, k, 0));
        sm_norm_table()->affine(y, x, k, 1 / (length > u->eps ? length : u->eps), 0,
                                false);
    }
}

/* dx = (dy - y (y . dy)) / |x|, or dy / eps where |x| is below eps. u->y holds dx. */
static void unit_gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const unit *u = context;
    int64_t k = u->x.k;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = sm_f32(u->x.t) + i * k, *dy = sm_f32(u->dy.t) + i * k;
        float *dx = sm_f32(u->y.t) + i * k, sum, dot;
        float length = sqrtf(sm_norm_table()->squares(x, k, 0));
        sm_norm_table()->dots(dy, x, NULL, k, 0, &sum, &dot);
        bool short_one = !(length > u->eps);
        float inverse = 1 / (short_one ? u->eps : length);
        float b = short_one ? 0 : -dot * inverse * inverse * inverse;
        sm_norm_table()->combine(dx, dy, x, NULL, k, inverse, b, 0);
    }
}

static sm_status normalize_forward(sm_call *call, sm_error *err) {
    const sm_normalize_params *p = call->params;
    unit u = {.eps = p->eps};
    sm_status status = sm_rows_open(call->in[0], 1u << p->dim, &u.x, err);
    if (status != SM_OK)
        return status;
    status = sm_rows_new(&call->meta[0], 1u << p->dim, &u.y, err);
    if (status == SM_OK) {
        sm_rows_run(&u.x, unit_rows, &u);
        status = sm_rows_copy(&u.y, 1u << p->dim, call->out[0], err);
        sm_rows_close(&u.y);
    }
    sm_rows_close(&u.x);
    return status;
}

static sm_status normalize_backward(sm_back *back, sm_error *err) {
    const sm_normalize_params *p = back->params;
    unsigned dims = 1u << p->dim;
    unit u = {.eps = p->eps};
    sm_tensor *view;
    sm_status status = sm_rows_open(back->in[0], dims, &u.x, err);
    if (status == SM_OK)
        status = sm_rows_open(back->dout[0], dims, &u.dy, err);
    if (status == SM_OK)
        status = sm_rows_new(&back->in_meta[0], dims, &u.y, err);
    if (status == SM_OK) {
        sm_rows_run(&u.x, unit_gradient_rows, &u);
        status = sm_rows_restore(&u.y, &back->in_meta[0], dims, &view, err);
        if (status == SM_OK)
            status = sm_din_give(back, 0, view, err);
    }
    sm_rows_close(&u.x);
    sm_rows_close(&u.dy);
    sm_rows_close(&u.y);
    return status;
}

const sm_op sm_op_normalize = {.name = "normalize",
                               .min_in = 1,
                               .max_in = 1,
                               .n_out = 1,
                               .save_in = 1,
                               .params_size = sizeof(sm_normalize_params),
                               .check = normalize_check,
                               .forward = normalize_forward,
                               .backward = normalize_backward};
