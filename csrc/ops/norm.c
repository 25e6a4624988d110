/* norm.c: normalisation ops. See norm.h; the sweeps are kernels/norm.h's. */
#include "ops/norm.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/norm.h"
#include "ops/rows.h"

/* ---- batch norm ---- */

enum { INPUT, RUNNING_MEAN, RUNNING_VAR, WEIGHT, BIAS, RESIDUAL };

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
    for (int i = 1; i < call->n_in && i < RESIDUAL; i++) {
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
    const sm_tensor *r = operand(call, RESIDUAL);
    if (r && (r->dtype != SM_F32 || !sm_tensor_same_shape(r, x)))
        return sm_fail(err, SM_EINVAL, RESIDUAL + 1,
                       "batch_norm: residual must be float32 %s as the input, got %s %s",
                       xs, sm_dtype_name(r->dtype), sm_tensor_shape_text(text, r));
    sm_out_like(call, 0);
    call->meta[0].channels_last = true;
    return SM_OK;
}

/* Sums over pixels are cut into PARTS, whatever the number of threads, so that any number
 * gives the same bits; a part goes by chunks that the cache holds. */
enum { PARTS = 16, CHUNK = 8192, LEAST_ROWS = 64, CHUNK_ROWS = 512 };

/* Everything that the loops over pixels [m, c] need. */
typedef struct batch_norm {
    const sm_batch_norm_params *p;
    const sm_norm *kernels;
    int64_t m, c, chunk, chunks; /* chunk: its rows */
    const float *x, *residual, *dy, *y_kept;
    float *y, *dx, *dz;
    sm_tensor *mean, *inverse; /* [c] that were used: the mean, 1 / sqrt(var + eps) */
    const float *scale, *shift, *a, *b;
    double *sums; /* [PARTS][2][c] */
    float *work;  /* [PARTS][3][c] */
} batch_norm;

static void set_sizes(batch_norm *b, const int64_t *shape, int ndim) {
    b->kernels = sm_norm_table();
    b->m = shape[0];
    b->c = shape[1];
    for (int d = 2; d < ndim; d++)
        b->m *= shape[d];
    int64_t rows = CHUNK / (b->c ? b->c : 1);
    b->chunk = rows < LEAST_ROWS ? LEAST_ROWS : rows > CHUNK_ROWS ? CHUNK_ROWS : rows;
    b->chunks = (b->m + b->chunk - 1) / b->chunk;
}

static sm_norm_columns columns(const batch_norm *b, int64_t chunk) {
    int64_t rest = b->m - chunk * b->chunk;
    return (sm_norm_columns){.rows = rest < b->chunk ? rest : b->chunk,
                             .c = b->c,
                             .scale = b->scale,
                             .shift = b->shift,
                             .limits = b->p->limits,
                             .a = b->a,
                             .b = b->b};
}

/* The chunks of part i: [first, past). */
static int64_t part_start(const batch_norm *b, int64_t i) {
    return i * b->chunks / PARTS;
}

/* Means and sums of squares around them, joined as Chan, Golub and LeVeque (1979) do:
 * sums[0] the mean so far, sums[1] the squares. */
static void join(double *sums, int64_t c, double before, double added, const float *sum,
                 const float *mean, const float *squares) {
    for (int64_t j = 0; j < c; j++) {
        /* The mean that the squares are around was rounded: shift them exactly. */
        double m = (double)sum[j] / added, off = m - mean[j];
        double d = m - sums[j], whole = before + added;
        sums[c + j] += squares[j] - added * off * off + d * d * before * added / whole;
        sums[j] += d * added / whole;
    }
}

static void statistics_parts(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *sums = b->sums + i * 2 * b->c, count = 0;
        float *sum = b->work + i * 3 * b->c, *mean = sum + b->c, *squares = mean + b->c;
        memset(sums, 0, (size_t)(2 * b->c) * sizeof *sums);
        for (int64_t n = part_start(b, i); n < part_start(b, i + 1); n++) {
            sm_norm_columns k = columns(b, n);
            const float *x = b->x + n * b->chunk * b->c;
            k.mean = mean;
            b->kernels->column_sums(&k, x, sum);
            for (int64_t j = 0; j < b->c; j++)
                mean[j] = sum[j] / (float)k.rows;
            b->kernels->column_squares(&k, x, squares);
            join(sums, b->c, count, (double)k.rows, sum, mean, squares);
            count += (double)k.rows;
        }
    }
}

/* Adds part i to part 0, which holds `before` rows. Returns how many it holds then. */
static double join_parts(batch_norm *b, int64_t i, double before) {
    double first = (double)(part_start(b, i) * b->chunk);
    double past = (double)(part_start(b, i + 1) * b->chunk);
    double added = (past < (double)b->m ? past : (double)b->m) - first;
    double *to = b->sums, *from = b->sums + i * 2 * b->c;
    if (added <= 0)
        return before;
    for (int64_t j = 0; j < b->c && before > 0; j++) {
        double d = from[j] - to[j], whole = before + added;
        to[b->c + j] += from[b->c + j] + d * d * before * added / whole;
        to[j] += d * added / whole;
    }
    if (before == 0 && i > 0)
        memcpy(to, from, (size_t)(2 * b->c) * sizeof *to);
    return before + added;
}

static void move(sm_tensor *running, int64_t c, float momentum, double value) {
    if (!running)
        return;
    float *r = sm_f32(running) + c * running->stride[0];
    *r = (1 - momentum) * *r + momentum * (float)value;
}

static void batch_statistics(batch_norm *b, sm_tensor *mean, sm_tensor *var) {
    double count = 0;
    sm_parallel_for(PARTS, 1 + (PARTS << 14) / (b->m * b->c + 1), statistics_parts, b);
    for (int64_t i = 0; i < PARTS; i++)
        count = join_parts(b, i, count);
    for (int64_t c = 0; c < b->c; c++) {
        double squares = b->sums[b->c + c] > 0 ? b->sums[b->c + c] : 0;
        sm_f32(b->mean)[c] = (float)b->sums[c];
        sm_f32(b->inverse)[c] = (float)(1 / sqrt(squares / count + b->p->eps));
        move(mean, c, b->p->momentum, b->sums[c]);
        move(var, c, b->p->momentum, squares / (count - 1));
    }
    if (mean)
        mean->storage->version++;
    if (var)
        var->storage->version++;
}

static void running_statistics(batch_norm *b, const sm_tensor *mean,
                               const sm_tensor *var) {
    for (int64_t c = 0; c < b->c; c++) {
        sm_f32(b->mean)[c] = sm_f32(mean)[c * mean->stride[0]];
        sm_f32(b->inverse)[c] = 1 / sqrtf(sm_f32(var)[c * var->stride[0]] + b->p->eps);
    }
}

/* scale and shift of y = x scale + shift. */
static void set_affine(const batch_norm *b, const sm_tensor *weight,
                       const sm_tensor *bias, float *scale, float *shift) {
    const float *mean = sm_f32(b->mean), *inverse = sm_f32(b->inverse);
    for (int64_t c = 0; c < b->c; c++) {
        scale[c] = inverse[c] * (weight ? sm_f32(weight)[c * weight->stride[0]] : 1);
        shift[c] = (bias ? sm_f32(bias)[c * bias->stride[0]] : 0) - mean[c] * scale[c];
    }
}

static void map_chunks(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const int64_t at = n * b->chunk * b->c;
        const sm_norm_columns k = columns(b, n);
        b->kernels->column_map(&k, b->x + at, b->residual ? b->residual + at : NULL,
                               b->y + at);
    }
}

/* Room for sums, work and `arrays` of c floats; NULL fails. */
static sm_status get_room(batch_norm *b, int arrays, float **first, sm_error *err) {
    const size_t c = (size_t)b->c;
    const size_t bytes =
        c * (PARTS * (2 * sizeof(double) + 3 * sizeof(float)) + (size_t)arrays * 4) + 1;
    b->sums = sm_alloc(bytes);
    if (!b->sums)
        return sm_fail(err, SM_ENOMEM, 0, "batch_norm: no memory for its sums");
    b->work = (float *)(b->sums + PARTS * 2 * c);
    *first = b->work + PARTS * 3 * c;
    return SM_OK;
}

static int64_t chunk_grain(const batch_norm *b) {
    return 1 + 16384 / (b->chunk * b->c + 1);
}

static sm_status keep_statistics(sm_call *call, batch_norm *b, sm_error *err) {
    sm_meta meta = {.dtype = SM_F32, .ndim = 1, .shape = {b->c}};
    sm_status status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &call->keep[1], err);
    /* Without a residual backward finds out from x what the limits cut. */
    if (status == SM_OK && b->residual && sm_is_limited(b->p->limits) && call->record)
        status = sm_tensor_alias(call->out[0], &call->keep[2], err);
    b->mean = call->keep[0];
    b->inverse = call->keep[1];
    return status;
}

static sm_status batch_norm_forward(sm_call *call, sm_error *err) {
    batch_norm b = {.p = call->params, .y = sm_f32(call->out[0])};
    sm_tensor *x = NULL, *residual = NULL;
    sm_tensor *mean = operand(call, RUNNING_MEAN), *var = operand(call, RUNNING_VAR);
    float *arrays = NULL;
    sm_status status = sm_tensor_pixels(call->in[0], &x, err);
    if (status == SM_OK && operand(call, RESIDUAL))
        status = sm_tensor_pixels(operand(call, RESIDUAL), &residual, err);
    if (status != SM_OK)
        goto done;
    set_sizes(&b, x->shape, x->ndim);
    b.x = sm_f32(x);
    b.residual = residual ? sm_f32(residual) : NULL;
    status = keep_statistics(call, &b, err);
    if (status == SM_OK)
        status = get_room(&b, 2, &arrays, err);
    if (status == SM_OK && b.m * b.c > 0) {
        if (b.p->training)
            batch_statistics(&b, mean, var);
        else
            running_statistics(&b, mean, var);
        set_affine(&b, operand(call, WEIGHT), operand(call, BIAS), arrays, arrays + b.c);
        b.scale = arrays;
        b.shift = arrays + b.c;
        sm_parallel_for(b.chunks, chunk_grain(&b), map_chunks, &b);
    }
done:
    sm_free(b.sums);
    sm_tensor_unref(x);
    sm_tensor_unref(residual);
    return status;
}

static void dots_parts(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *sums = b->sums + i * 2 * b->c;
        float *sum = b->work + i * 3 * b->c, *sum_x = sum + b->c;
        memset(sums, 0, (size_t)(2 * b->c) * sizeof *sums);
        for (int64_t n = part_start(b, i); n < part_start(b, i + 1); n++) {
            const int64_t at = n * b->chunk * b->c;
            sm_norm_columns k = columns(b, n);
            k.mean = sm_f32(b->mean);
            b->kernels->column_dots(&k, b->dy + at, b->x + at,
                                    b->y_kept ? b->y_kept + at : NULL, sum, sum_x);
            for (int64_t j = 0; j < b->c; j++) {
                sums[j] += sum[j];
                sums[b->c + j] += sum_x[j];
            }
        }
    }
}

static void back_chunks(void *context, int64_t begin, int64_t end, int thread) {
    const batch_norm *b = context;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const int64_t at = n * b->chunk * b->c;
        const sm_norm_columns k = columns(b, n);
        b->kernels->column_back(&k, b->dy + at, b->x + at,
                                b->y_kept ? b->y_kept + at : NULL,
                                b->dx ? b->dx + at : NULL, b->dz ? b->dz + at : NULL);
    }
}

/* With xhat = (x - mean) inverse and m values a channel (Ioffe and Szegedy, section 3):
 * dbias = sum dz, dweight = sum dz xhat, and dx = weight inverse (dz - dbias/m - xhat
 * dweight/m) in training, weight inverse dz in evaluation. */
static void channel_gradients(batch_norm *b, float *dweight, float *dbias, float *u,
                              float *v) {
    sm_parallel_for(PARTS, 1 + (PARTS << 14) / (b->m * b->c + 1), dots_parts, b);
    for (int64_t c = 0; c < b->c; c++) {
        double sum = 0, sum_x = 0, count = (double)b->m;
        for (int64_t i = 0; i < PARTS; i++) {
            sum += b->sums[i * 2 * b->c + c];
            sum_x += b->sums[i * 2 * b->c + b->c + c];
        }
        const double inverse = sm_f32(b->inverse)[c], weight = sum_x * inverse;
        if (dweight)
            dweight[c] = (float)weight;
        if (dbias)
            dbias[c] = (float)sum;
        double slope = b->p->training ? -b->scale[c] * weight * inverse / count : 0;
        u[c] = (float)slope;
        v[c] = b->p->training
                   ? (float)(-b->scale[c] * sum / count - slope * sm_f32(b->mean)[c])
                   : 0;
    }
}

/* Room for the gradient of input i; NULL where it is not wanted. */
static sm_status din_zeros(sm_back *back, int i, float **out, sm_error *err) {
    sm_tensor *t;
    *out = NULL;
    if (i >= back->n_in || !back->want[i])
        return SM_OK;
    sm_status status = sm_din_zeros(back, i, &t, err);
    *out = status == SM_OK ? sm_f32(t) : NULL;
    return status;
}

static sm_status image_gradient(sm_back *back, int i, float **out, sm_error *err) {
    sm_tensor *t;
    sm_status status = sm_din_pixels(back, i, &t, err);
    *out = status == SM_OK ? sm_f32(t) : NULL;
    return status;
}

/* Room for all gradients. Without limits the residual's is dy itself. */
static sm_status norm_gradients(sm_back *back, batch_norm *b, float **dweight,
                                float **dbias, sm_error *err) {
    sm_status status = din_zeros(back, WEIGHT, dweight, err);
    if (status == SM_OK)
        status = din_zeros(back, BIAS, dbias, err);
    if (status == SM_OK && back->want[INPUT])
        status = image_gradient(back, INPUT, &b->dx, err);
    if (status != SM_OK || RESIDUAL >= back->n_in || !back->want[RESIDUAL])
        return status;
    return sm_is_limited(b->p->limits)
               ? image_gradient(back, RESIDUAL, &b->dz, err)
               : sm_din_give(back, RESIDUAL, sm_tensor_ref(back->dout[0]), err);
}

static sm_status batch_norm_backward(sm_back *back, sm_error *err) {
    batch_norm b = {.p = back->params, .mean = back->keep[0], .inverse = back->keep[1]};
    sm_tensor *x = NULL, *dy = NULL;
    float *dweight, *dbias, *arrays = NULL;
    sm_status status = sm_tensor_pixels(back->in[INPUT], &x, err);
    if (status == SM_OK)
        status = sm_tensor_pixels(back->dout[0], &dy, err);
    if (status == SM_OK)
        status = norm_gradients(back, &b, &dweight, &dbias, err);
    if (status != SM_OK)
        goto done;
    set_sizes(&b, x->shape, x->ndim);
    b.x = sm_f32(x);
    b.dy = sm_f32(dy);
    b.y_kept = back->keep[2] ? sm_f32(back->keep[2]) : NULL;
    status = get_room(&b, 4, &arrays, err);
    if (status != SM_OK || b.m * b.c == 0)
        goto done;
    b.scale = arrays;
    b.shift = arrays + b.c;
    set_affine(&b, back->n_in > WEIGHT ? back->in[WEIGHT] : NULL,
               back->n_in > BIAS ? back->in[BIAS] : NULL, arrays, arrays + b.c);
    channel_gradients(&b, dweight, dbias, arrays + 2 * b.c, arrays + 3 * b.c);
    b.a = arrays + 2 * b.c;
    b.b = arrays + 3 * b.c;
    if (b.dx || b.dz)
        sm_parallel_for(b.chunks, chunk_grain(&b), back_chunks, &b);
done:
    sm_free(b.sums);
    sm_tensor_unref(x);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_batch_norm = {.name = "batch_norm",
                                .min_in = 1,
                                .max_in = 6,
                                .n_out = 1,
                                .save_in = 1u << INPUT | 1u << WEIGHT | 1u << BIAS,
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
        l->kernels->affine(y, x, l->k, l->inverse[i], -mean * l->inverse[i]);
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
        status = din_zeros(back, 0, &l.dx, err);
    if (status == SM_OK)
        status = din_zeros(back, 1, &l.dweight, err);
    if (status == SM_OK)
        status = din_zeros(back, 2, &l.dbias, err);
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
        sm_norm_table()->affine(y, x, k, 1 / (length > u->eps ? length : u->eps), 0);
    }
}

/* dx = (dy - y (y . dy)) / |x|, or dy / eps where |x| is below eps. u->y holds dx. */
static void unit_gradient_rows(void *context, int64_t begin, int64_t end, int thread) {
    const unit *u = context;
    int64_t k = u->x.k;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = sm_f32(u->x.t) + i * k, *dy = sm_f32(u->dy.t) + i * k;
        float *dx = sm_f32(u->y.t) + i * k;
        float length = sqrtf(sm_norm_table()->squares(x, k, 0));
        float dot = sm_norm_table()->dot(dy, x, k);
        bool short_one = !(length > u->eps);
        float inverse = 1 / (short_one ? u->eps : length);
        float b = short_one ? 0 : -dot * inverse * inverse * inverse;
        sm_norm_table()->combine(dx, dy, x, k, inverse, b);
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
