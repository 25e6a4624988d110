/* group_norm.c: see group_norm.h. Each image's channels get a mean and a sum of squares,
 * piece by piece; those of a group are joined, and give every channel of the image its
 * own scale and shift. The sweeps are kernels/norm.h's. */
#include "ops/group_norm.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/norm.h"
#include "ops/images.h"

enum { INPUT, RUNNING_MEAN, RUNNING_VAR, WEIGHT, BIAS, OPERANDS };

static sm_tensor *operand(sm_tensor *const *in, int n_in, int i) {
    return i < n_in ? in[i] : NULL;
}

static const char *label(const void *params) {
    const sm_group_norm_params *p = params;
    return p->groups ? "group_norm" : "instance_norm";
}

static sm_status check_channels(const sm_call *call, sm_error *err) {
    static const char *const names[] = {"input", "running_mean", "running_var", "weight",
                                        "bias"};
    const sm_tensor *x = call->in[INPUT];
    char text[SM_SHAPE_TEXT], xs[SM_SHAPE_TEXT];
    for (int i = 1; i < OPERANDS; i++) {
        const sm_tensor *t = operand(call->in, call->n_in, i);
        if (t && (t->dtype != SM_F32 || t->ndim != 1 || t->shape[0] != x->shape[1]))
            return sm_fail(err, SM_EINVAL, i + 1,
                           "%s: %s must be float32 [%lld] for input %s, got %s %s",
                           label(call->params), names[i], (long long)x->shape[1],
                           sm_tensor_shape_text(xs, x), sm_dtype_name(t->dtype),
                           sm_tensor_shape_text(text, t));
        if (t && i <= RUNNING_VAR && t->requires_grad)
            return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must not require a gradient",
                           label(call->params), names[i]);
    }
    return SM_OK;
}

/* PyTorch's rule: one value has no variance. */
static sm_status check_count(const sm_call *call, sm_error *err) {
    const sm_group_norm_params *p = call->params;
    const sm_tensor *x = call->in[INPUT];
    char text[SM_SHAPE_TEXT];
    int64_t pixels = 1;
    for (int d = 2; d < x->ndim; d++)
        pixels = x->shape[d] == 1 ? pixels : 2;
    if (!p->groups && pixels == 1)
        return sm_fail(err, SM_EINVAL, 1,
                       "instance_norm: more than one value per channel and image is "
                       "needed, got input %s",
                       sm_tensor_shape_text(text, x));
    if (p->groups && pixels == 1 && x->shape[0] == 1 && x->shape[1] == p->groups)
        return sm_fail(err, SM_EINVAL, 1,
                       "group_norm: more than one value per group is needed, got input "
                       "%s with %lld groups",
                       sm_tensor_shape_text(text, x), (long long)p->groups);
    return SM_OK;
}

static sm_status group_norm_check(sm_call *call, sm_error *err) {
    const sm_group_norm_params *p = call->params;
    const sm_tensor *x = call->in[INPUT];
    char text[SM_SHAPE_TEXT];
    if (x->dtype != SM_F32 || x->ndim < 2)
        return sm_fail(err, SM_EINVAL, 1,
                       "%s: input must be float32 [N,C,...], got %s %s", label(p),
                       sm_dtype_name(x->dtype), sm_tensor_shape_text(text, x));
    if (p->groups < 0 || (p->groups && x->shape[1] % p->groups != 0))
        return sm_fail(err, SM_EINVAL, 2,
                       "group_norm: num_groups (%lld) must divide the %lld channels of "
                       "input %s",
                       (long long)p->groups, (long long)x->shape[1],
                       sm_tensor_shape_text(text, x));
    sm_status status = check_channels(call, err);
    if (status == SM_OK)
        status = check_count(call, err);
    sm_out_like(call, 0);
    call->meta[0].channels_last = true;
    return status;
}

/* Everything that the loops need. */
typedef struct group_norm {
    const sm_norm *kernels;
    sm_images im;
    int64_t groups;
    float eps;
    const float *x, *dy;
    float *y, *dx;
    float *mean, *inverse; /* [n, groups]: the mean, 1 / sqrt(var + eps) */
    float *channels;       /* [n, 4, c]: scale, shift (or a, b), mean, spare */
    double *sums;          /* [pieces, 2, c] */
    float *work;           /* [pieces, 3, c] */
} group_norm;

static group_norm open_norm(const int64_t *shape, int ndim,
                            const sm_group_norm_params *p) {
    group_norm g = {.kernels = sm_norm_table(),
                    .im = sm_images_of(shape, ndim),
                    .groups = p->groups ? p->groups : shape[1],
                    .eps = p->eps};
    return g;
}

static sm_status get_room(group_norm *g, const sm_group_norm_params *p, sm_error *err) {
    const size_t c = (size_t)g->im.c, pieces = (size_t)sm_images_pieces(&g->im);
    const size_t bytes = pieces * c * (2 * sizeof(double) + 3 * sizeof(float)) +
                         (size_t)g->im.n * c * 4 * sizeof(float);
    g->sums = sm_alloc(bytes);
    if (!g->sums)
        return sm_fail(err, SM_ENOMEM, 0, "%s: no memory for its sums", label(p));
    g->work = (float *)(g->sums + pieces * 2 * c);
    g->channels = g->work + pieces * 3 * c;
    return SM_OK;
}

static float *channels_of(const group_norm *g, int64_t image, int which) {
    return g->channels + (image * 4 + which) * g->im.c;
}

/* Joins `added` values with mean and squares (sums of squares around it) to the `before`
 * values of [mean, squares] (Chan, Golub and LeVeque 1979, eq. 2.1). */
static void join(double before, double *mean, double *squares, double added,
                 double its_mean, double its_squares) {
    const double d = its_mean - *mean, whole = before + added;
    *squares += its_squares + d * d * before * added / whole;
    *mean += d * added / whole;
}

static void moment_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const group_norm *g = context;
    const int64_t c = g->im.c;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *mean = g->sums + i * 2 * c, *squares = mean + c, before = 0;
        float *sum = g->work + i * 3 * c, *around = sum + c, *square = around + c;
        memset(mean, 0, (size_t)(2 * c) * sizeof *mean);
        for (int64_t m = sm_images_first(&g->im, i); m < sm_images_past(&g->im, i);) {
            const int64_t rest = sm_images_past(&g->im, i) - m;
            const sm_norm_columns k = {
                .rows = rest < g->im.chunk ? rest : g->im.chunk, .c = c, .mean = around};
            const double rows = (double)k.rows;
            g->kernels->column_sums(&k, g->x + m * c, sum);
            for (int64_t j = 0; j < c; j++)
                around[j] = sum[j] / (float)k.rows;
            g->kernels->column_squares(&k, g->x + m * c, square);
            for (int64_t j = 0; j < c; j++) {
                /* `around` was rounded: what that adds to the squares is known exactly.
                 */
                const double exact = sum[j] / rows, off = exact - around[j];
                join(before, &mean[j], &squares[j], rows, exact,
                     square[j] - rows * off * off);
            }
            before += rows;
            m += k.rows;
        }
    }
}

/* Mean and squares of each channel of an image, in the sums of its first piece. */
static void join_pieces(group_norm *g, int64_t image) {
    const int64_t c = g->im.c, first = image * g->im.parts;
    double *to = g->sums + first * 2 * c;
    double before =
        (double)(sm_images_past(&g->im, first) - sm_images_first(&g->im, first));
    for (int64_t i = first + 1; i < first + g->im.parts; i++) {
        const double *from = g->sums + i * 2 * c;
        const double added =
            (double)(sm_images_past(&g->im, i) - sm_images_first(&g->im, i));
        for (int64_t j = 0; j < c; j++)
            join(before, &to[j], &to[c + j], added, from[j], from[c + j]);
        before += added;
    }
}

/* The statistics of the groups of an image. */
static void join_channels(group_norm *g, int64_t image) {
    const int64_t c = g->im.c, each = c / g->groups;
    const double *sums = g->sums + image * g->im.parts * 2 * c, m = (double)g->im.m;
    for (int64_t k = 0; k < g->groups; k++) {
        double mean = 0, squares = 0;
        for (int64_t j = 0; j < each; j++)
            join(m * (double)j, &mean, &squares, m, sums[k * each + j],
                 sums[c + k * each + j]);
        squares = squares > 0 ? squares : 0;
        g->mean[image * g->groups + k] = (float)mean;
        g->inverse[image * g->groups + k] =
            (float)(1 / sqrt(squares / (m * (double)each) + g->eps));
    }
}

static float at(const sm_tensor *t, int64_t c, float otherwise) {
    return t ? sm_f32(t)[c * t->stride[0]] : otherwise;
}

/* y = x scale + shift. */
static void set_affine(const group_norm *g, int64_t image, const sm_tensor *weight,
                       const sm_tensor *bias) {
    float *scale = channels_of(g, image, 0), *shift = channels_of(g, image, 1);
    const int64_t each = g->im.c / g->groups;
    for (int64_t j = 0; j < g->im.c; j++) {
        const int64_t k = image * g->groups + j / each;
        scale[j] = g->inverse[k] * at(weight, j, 1);
        shift[j] = at(bias, j, 0) - g->mean[k] * scale[j];
    }
}

static void map_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const group_norm *g = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / g->im.parts, first = sm_images_first(&g->im, i);
        const sm_norm_columns k = {.rows = sm_images_past(&g->im, i) - first,
                                   .c = g->im.c,
                                   .scale = channels_of(g, image, 0),
                                   .shift = channels_of(g, image, 1),
                                   .limits = sm_no_limits};
        g->kernels->column_map(&k, g->x + first * k.c, NULL, g->y + first * k.c);
    }
}

/* running += momentum (mean over the images - running). */
static void move_statistics(const group_norm *g, const sm_group_norm_params *p,
                            sm_tensor *mean, sm_tensor *var) {
    const double n = (double)g->im.n, m = (double)g->im.m;
    for (int64_t j = 0; j < g->im.c; j++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < g->im.n; i++) {
            const double *sums = g->sums + i * g->im.parts * 2 * g->im.c;
            sum += sums[j];
            squares += sums[g->im.c + j];
        }
        const double value[] = {sum / n, squares / (n * (m - 1))};
        for (int k = 0; k < 2; k++) {
            sm_tensor *t = k == 0 ? mean : var;
            float *r = t ? sm_f32(t) + j * t->stride[0] : NULL;
            if (r)
                *r = (1 - p->momentum) * *r + p->momentum * (float)value[k];
        }
    }
    if (mean)
        mean->storage->version++;
    if (var)
        var->storage->version++;
}

static sm_status keep_statistics(sm_call *call, group_norm *g, sm_error *err) {
    const sm_meta meta = {.dtype = SM_F32, .ndim = 2, .shape = {g->im.n, g->groups}};
    sm_status status = sm_tensor_new(&meta, &call->keep[0], err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, &call->keep[1], err);
    if (status == SM_OK) {
        g->mean = sm_f32(call->keep[0]);
        g->inverse = sm_f32(call->keep[1]);
    }
    return status;
}

static sm_status group_norm_forward(sm_call *call, sm_error *err) {
    const sm_group_norm_params *p = call->params;
    sm_tensor *x;
    sm_status status = sm_tensor_pixels(call->in[INPUT], &x, err);
    if (status != SM_OK)
        return status;
    group_norm g = open_norm(x->shape, x->ndim, p);
    g.x = sm_f32(x);
    g.y = sm_f32(call->out[0]);
    if (sm_tensor_numel(x) > 0)
        status = keep_statistics(call, &g, err);
    if (status == SM_OK && g.mean)
        status = get_room(&g, p, err);
    if (status == SM_OK && g.sums) {
        const int64_t pieces = sm_images_pieces(&g.im), grain = sm_images_grain(&g.im);
        sm_parallel_for(pieces, grain, moment_pieces, &g);
        for (int64_t i = 0; i < g.im.n; i++) {
            join_pieces(&g, i);
            join_channels(&g, i);
            set_affine(&g, i, operand(call->in, call->n_in, WEIGHT),
                       operand(call->in, call->n_in, BIAS));
        }
        if (!p->groups)
            move_statistics(&g, p, operand(call->in, call->n_in, RUNNING_MEAN),
                            operand(call->in, call->n_in, RUNNING_VAR));
        sm_parallel_for(pieces, grain, map_pieces, &g);
    }
    sm_free(g.sums);
    sm_tensor_unref(x);
    return status;
}

/* ---- backward ---- */

/* The mean of each channel's group. */
static void spread_means(const group_norm *g) {
    const int64_t each = g->im.c / g->groups;
    for (int64_t i = 0; i < g->im.n; i++)
        for (int64_t j = 0; j < g->im.c; j++)
            channels_of(g, i, 2)[j] = g->mean[i * g->groups + j / each];
}

/* sums: of dy, and of dy (x - mean). */
static void dot_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const group_norm *g = context;
    const int64_t c = g->im.c;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *mean = channels_of(g, i / g->im.parts, 2);
        double *sums = g->sums + i * 2 * c;
        float *sum = g->work + i * 3 * c, *sum_x = sum + c;
        memset(sums, 0, (size_t)(2 * c) * sizeof *sums);
        for (int64_t m = sm_images_first(&g->im, i); m < sm_images_past(&g->im, i);) {
            const int64_t rest = sm_images_past(&g->im, i) - m;
            const sm_norm_columns k = {.rows = rest < g->im.chunk ? rest : g->im.chunk,
                                       .c = c,
                                       .mean = mean,
                                       .scale = mean,
                                       .shift = mean,
                                       .limits = sm_no_limits};
            g->kernels->column_dots(&k, g->dy + m * c, g->x + m * c, NULL, sum, sum_x);
            for (int64_t j = 0; j < c; j++) {
                sums[j] += sum[j];
                sums[c + j] += sum_x[j];
            }
            m += k.rows;
        }
    }
}

/* Adds the pieces of an image into its first. */
static double *add_pieces(const group_norm *g, int64_t image) {
    const int64_t first = image * g->im.parts, width = 2 * g->im.c;
    double *to = g->sums + first * width;
    for (int64_t i = first + 1; i < first + g->im.parts; i++)
        for (int64_t j = 0; j < width; j++)
            to[j] += g->sums[i * width + j];
    return to;
}

/* With v values in a group, g = dy weight and xhat = (x - mean) inverse:
 * dx = inverse (g - sum(g) / v - xhat sum(g xhat) / v), as scale dy + a x + b. */
static void set_gradient(const group_norm *g, int64_t image, const double *sums,
                         const sm_tensor *weight) {
    const int64_t c = g->im.c, each = c / g->groups;
    float *scale = channels_of(g, image, 0), *a = channels_of(g, image, 1);
    float *b = channels_of(g, image, 3);
    const double count = (double)(g->im.m * each);
    for (int64_t k = 0; k < g->groups; k++) {
        const double inverse = g->inverse[image * g->groups + k];
        double sum = 0, sum_x = 0;
        for (int64_t j = k * each; j < (k + 1) * each; j++) {
            sum += sums[j] * at(weight, j, 1);
            sum_x += sums[c + j] * at(weight, j, 1);
        }
        const double slope = -inverse * inverse * inverse * sum_x / count;
        const double term =
            -inverse * sum / count - slope * g->mean[image * g->groups + k];
        for (int64_t j = k * each; j < (k + 1) * each; j++) {
            scale[j] = (float)(inverse * at(weight, j, 1));
            a[j] = (float)slope;
            b[j] = (float)term;
        }
    }
}

static void back_pieces(void *context, int64_t begin, int64_t end, int thread) {
    const group_norm *g = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / g->im.parts, first = sm_images_first(&g->im, i);
        const sm_norm_columns k = {.rows = sm_images_past(&g->im, i) - first,
                                   .c = g->im.c,
                                   .scale = channels_of(g, image, 0),
                                   .shift = channels_of(g, image, 1),
                                   .limits = sm_no_limits,
                                   .a = channels_of(g, image, 1),
                                   .b = channels_of(g, image, 3)};
        g->kernels->column_back(&k, g->dy + first * k.c, g->x + first * k.c, NULL,
                                g->dx + first * k.c, NULL);
    }
}

static sm_status small_gradient(sm_back *back, int i, float **out, sm_error *err) {
    sm_tensor *t;
    *out = NULL;
    if (i >= back->n_in || !back->want[i])
        return SM_OK;
    sm_status status = sm_din_zeros(back, i, &t, err);
    *out = status == SM_OK ? sm_f32(t) : NULL;
    return status;
}

/* In order over the images. */
static void add_affine(const group_norm *g, int64_t image, const double *sums,
                       float *dweight, float *dbias) {
    const int64_t each = g->im.c / g->groups;
    for (int64_t j = 0; j < g->im.c; j++) {
        if (dbias)
            dbias[j] += (float)sums[j];
        if (dweight)
            dweight[j] += (float)(sums[g->im.c + j] *
                                  (double)g->inverse[image * g->groups + j / each]);
    }
}

static void run_backward(group_norm *g, const sm_tensor *weight, float *dweight,
                         float *dbias) {
    const int64_t pieces = sm_images_pieces(&g->im), grain = sm_images_grain(&g->im);
    spread_means(g);
    sm_parallel_for(pieces, grain, dot_pieces, g);
    for (int64_t i = 0; i < g->im.n; i++) {
        const double *sums = add_pieces(g, i);
        add_affine(g, i, sums, dweight, dbias);
        set_gradient(g, i, sums, weight);
    }
    if (g->dx)
        sm_parallel_for(pieces, grain, back_pieces, g);
}

static sm_status group_norm_backward(sm_back *back, sm_error *err) {
    sm_tensor *x = NULL, *dy = NULL, *dx = NULL;
    float *dweight = NULL, *dbias = NULL;
    group_norm g = open_norm(back->in_meta[0].shape, back->in_meta[0].ndim, back->params);
    sm_status status = sm_tensor_pixels(back->in[INPUT], &x, err);
    if (status == SM_OK)
        status = sm_tensor_pixels(back->dout[0], &dy, err);
    if (status == SM_OK && back->want[INPUT])
        status = sm_din_pixels(back, INPUT, &dx, err);
    if (status == SM_OK)
        status = small_gradient(back, WEIGHT, &dweight, err);
    if (status == SM_OK)
        status = small_gradient(back, BIAS, &dbias, err);
    if (status == SM_OK && sm_tensor_numel(x) > 0)
        status = get_room(&g, back->params, err);
    if (status == SM_OK && g.sums) {
        g.x = sm_f32(x);
        g.dy = sm_f32(dy);
        g.dx = dx ? sm_f32(dx) : NULL;
        g.mean = sm_f32(back->keep[0]);
        g.inverse = sm_f32(back->keep[1]);
        run_backward(&g, operand(back->in, back->n_in, WEIGHT), dweight, dbias);
    }
    sm_free(g.sums);
    sm_tensor_unref(x);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_group_norm = {.name = "group_norm",
                                .label = label,
                                .min_in = 1,
                                .max_in = OPERANDS,
                                .n_out = 1,
                                .save_in = 1u << INPUT | 1u << WEIGHT,
                                .params_size = sizeof(sm_group_norm_params),
                                .check = group_norm_check,
                                .forward = group_norm_forward,
                                .backward = group_norm_backward};
