/* pad.c: see pad.h.
 *
 * Each dimension has a map from places of the output to places of the input. Dimensions
 * are taken in the order of memory. The last that is padded, with all that lies behind
 * it, is a row: it is copied by runs of neighbouring places. Backward goes over the rows
 * of the input and collects, in order, from all places that show them.
 */
#include "ops/pad.h"

#include <string.h>

#include "base/mem.h"
#include "base/pool.h"

static const char *const mode_names[] = {"constant", "reflect", "replicate", "circular"};

static sm_status check_dim(const sm_call *call, int d, int64_t before, int64_t after,
                           sm_error *err) {
    const sm_pad_params *p = call->params;
    const int64_t in = call->in[0]->shape[d], out = call->meta[0].shape[d];
    char text[SM_SHAPE_TEXT];
    const int64_t most = before > after ? before : after;
    const int64_t kept = in + (before < 0 ? before : 0) + (after < 0 ? after : 0);
    const int64_t left = kept > 0 ? kept : 0;
    const int64_t limit = p->mode == SM_PAD_REFLECT    ? in - 1
                          : p->mode == SM_PAD_CIRCULAR ? left
                                                       : INT64_MAX;
    if (out < 0 || (p->mode != SM_PAD_CONSTANT && in == 0 && most > 0))
        return sm_fail(err, SM_EINVAL, 2,
                       "pad: nothing is left of dimension %d of input %s padded by "
                       "%lld and %lld",
                       d + 1, sm_tensor_shape_text(text, call->in[0]), (long long)before,
                       (long long)after);
    if (most > 0 && most > limit)
        return sm_fail(err, SM_EINVAL, 2,
                       "pad: mode '%s' pads dimension %d of input %s by at most %lld, "
                       "got %lld",
                       mode_names[p->mode], d + 1,
                       sm_tensor_shape_text(text, call->in[0]), (long long)limit,
                       (long long)most);
    return SM_OK;
}

static sm_status pad_check(sm_call *call, sm_error *err) {
    const sm_pad_params *p = call->params;
    const sm_tensor *x = call->in[0];
    char text[SM_SHAPE_TEXT];
    if (p->dims > x->ndim)
        return sm_fail(err, SM_EINVAL, 2,
                       "pad: padding for %d dimensions, input has shape %s", p->dims,
                       sm_tensor_shape_text(text, x));
    sm_out_like(call, 0);
    call->meta[0].channels_last = sm_tensor_is_channels_last(x);
    for (int k = 0; k < p->dims; k++) {
        const int d = x->ndim - p->dims + k;
        int64_t *size = &call->meta[0].shape[d];
        const int64_t most = INT32_MAX;
        if (p->before[k] < -most || p->before[k] > most || p->after[k] < -most ||
            p->after[k] > most || *size > INT64_MAX - 2 * most)
            return sm_fail(err, SM_EINVAL, 2,
                           "pad: padding must be below 2^31, got %lld and %lld",
                           (long long)p->before[k], (long long)p->after[k]);
        *size += p->before[k] + p->after[k];
        sm_status status = check_dim(call, d, p->before[k], p->after[k], err);
        if (status != SM_OK)
            return status;
    }
    return SM_OK;
}

/* One dimension, or several that are not padded. map is NULL where it is the identity.
 * For backward: list[start[i]] .. are the places of the output that show place i. */
typedef struct axis {
    int64_t in, out, before;
    bool padded;
    int64_t *map, *start, *list;
} axis;

/* A run of places of the last axis: output o, o + 1, ... shows input i, i + 1, ...; i is
 * -1 for the constant. */
typedef struct run {
    int64_t o, i, count;
} run;

typedef struct pad {
    sm_pad_mode mode;
    float value; /* by dtype */
    int64_t whole;
    uint8_t byte;
    sm_dtype dtype;
    size_t item;
    int axes; /* in the order of memory; the last is that of the rows */
    axis axis[SM_MAX_DIMS];
    int64_t inner; /* elements behind the last axis */
    int64_t runs;
    run *run;
    void *room;
    const char *from;
    char *to;
} pad;

static void add_axis(pad *j, int64_t in, int64_t out, int64_t before) {
    axis *last = j->axes ? &j->axis[j->axes - 1] : NULL;
    const bool padded = before != 0 || in != out;
    if (last && !last->padded && !padded) {
        last->in *= in;
        last->out *= out;
        return;
    }
    j->axis[j->axes++] = (axis){in, out, before, padded, NULL, NULL, NULL};
}

/* The axes of a tensor that is not empty. */
static void set_axes(pad *j, const int64_t *in, const int64_t *out, int ndim,
                     bool channels_last, const sm_pad_params *p) {
    j->inner = 1;
    for (int k = 0; k < ndim; k++) {
        const int d = !channels_last || k == 0 ? k : k == ndim - 1 ? 1 : k + 1;
        const int own = d - (ndim - p->dims);
        add_axis(j, in[d], out[d], own < 0 ? 0 : p->before[own]);
    }
    if (j->axes == 0)
        add_axis(j, 1, 1, 0);
    if (j->axes > 1 && !j->axis[j->axes - 1].padded)
        j->inner = j->axis[--j->axes].in;
}

/* What place o of the output shows, -1 for the constant. What is cut off at one end is
 * not what a circle goes on with at the other. */
static int64_t place(sm_pad_mode mode, const axis *a, int64_t o) {
    const int64_t i = o - a->before, in = a->in, after = a->out - in - a->before;
    const int64_t low = a->before < 0 ? -a->before : 0,
                  high = after < 0 ? in + after : in;
    switch (mode) {
    case SM_PAD_CONSTANT:
        return i >= 0 && i < in ? i : -1;
    case SM_PAD_REFLECT:
        return i < 0 ? -i : i >= in ? 2 * (in - 1) - i : i;
    case SM_PAD_REPLICATE:
        return i < 0 ? 0 : i >= in ? in - 1 : i;
    default:
        return i < low ? i + high - low : i >= high ? i - (high - low) : i;
    }
}

/* Lists, for each place of the input, the places of the output that show it. */
static void invert(axis *a) {
    memset(a->start, 0, (size_t)(a->in + 1) * sizeof *a->start);
    for (int64_t o = 0; o < a->out; o++)
        if (a->map[o] >= 0)
            a->start[a->map[o] + 1]++;
    for (int64_t i = 0; i < a->in; i++)
        a->start[i + 1] += a->start[i];
    for (int64_t o = 0; o < a->out; o++)
        if (a->map[o] >= 0)
            a->list[a->start[a->map[o]]++] = o;
    for (int64_t i = a->in; i > 0; i--)
        a->start[i] = a->start[i - 1];
    a->start[0] = 0;
}

static void set_runs(pad *j) {
    const axis *a = &j->axis[j->axes - 1];
    run *r = j->run;
    for (int64_t o = 0; o < a->out; o++) {
        const int64_t step = r > j->run && r[-1].i < 0 ? 0 : 1;
        if (r > j->run && a->map[o] == r[-1].i + step * r[-1].count &&
            (a->map[o] < 0) == (r[-1].i < 0))
            r[-1].count++;
        else
            *r++ = (run){o, a->map[o], 1};
    }
    j->runs = r - j->run;
}

/* Maps, their inverses and the runs. */
static sm_status set_maps(pad *j, sm_error *err) {
    int64_t count = 0;
    for (int k = 0; k < j->axes; k++)
        count += 2 * j->axis[k].out + j->axis[k].in + 1;
    const int64_t last = j->axis[j->axes - 1].out;
    j->room =
        sm_alloc((size_t)count * sizeof(int64_t) + (size_t)(last + 1) * sizeof(run));
    if (!j->room)
        return sm_fail(err, SM_ENOMEM, 0, "pad: no memory for its work space");
    j->run = j->room;
    int64_t *at = (int64_t *)(j->run + last + 1);
    for (int k = 0; k < j->axes; k++) {
        axis *a = &j->axis[k];
        a->map = at;
        a->list = a->map + a->out;
        a->start = a->list + a->out;
        at = a->start + a->in + 1;
        for (int64_t o = 0; o < a->out; o++)
            a->map[o] = place(a->padded ? j->mode : SM_PAD_CONSTANT, a, o);
        invert(a);
    }
    set_runs(j);
    return SM_OK;
}

static sm_status open_pad(pad *j, const sm_pad_params *p, const int64_t *in,
                          const int64_t *out, int ndim, bool channels_last,
                          sm_error *err) {
    const double v = p->value;
    *j = (pad){.mode = p->mode, .value = (float)v};
    j->whole = v >= 0x1p63    ? INT64_MAX
               : v >= -0x1p63 ? (int64_t)v
               : v < 0        ? INT64_MIN
                              : 0;
    j->byte = (uint8_t)(v >= 255 ? 255 : v > 0 ? v : 0);
    set_axes(j, in, out, ndim, channels_last, p);
    return set_maps(j, err);
}

/* Rows of the output (of the input, where `of_input`). */
static int64_t count_rows(const pad *j, bool of_input) {
    int64_t rows = 1;
    for (int k = 0; k + 1 < j->axes; k++)
        rows *= of_input ? j->axis[k].in : j->axis[k].out;
    return rows;
}

static int64_t row_grain(const pad *j) {
    const axis *a = &j->axis[j->axes - 1];
    return 1 + 16384 / (a->out * j->inner + a->in * j->inner + 1);
}

static void fill(const pad *j, char *to, int64_t n) {
    for (int64_t i = 0; i < n && j->dtype == SM_F32; i++)
        ((float *)to)[i] = j->value;
    for (int64_t i = 0; i < n && j->dtype == SM_I64; i++)
        ((int64_t *)to)[i] = j->whole;
    if (j->dtype == SM_U8)
        memset(to, j->byte, (size_t)n);
}

/* The row of the input that row `o` of the output shows, or -1. */
static int64_t source_row(const pad *j, int64_t o) {
    int64_t row = 0, step = 1;
    for (int k = j->axes - 2; k >= 0; k--) {
        const axis *a = &j->axis[k];
        const int64_t i = a->map[o % a->out];
        if (i < 0)
            return -1;
        row += i * step;
        step *= a->in;
        o /= a->out;
    }
    return row;
}

static void copy_rows(void *context, int64_t begin, int64_t end, int thread) {
    const pad *j = context;
    const axis *a = &j->axis[j->axes - 1];
    const size_t bytes = (size_t)j->inner * j->item;
    (void)thread;
    for (int64_t o = begin; o < end; o++) {
        char *to = j->to + (size_t)(o * a->out) * bytes;
        const int64_t row = source_row(j, o);
        if (row < 0) {
            fill(j, to, a->out * j->inner);
            continue;
        }
        const char *from = j->from + (size_t)(row * a->in) * bytes;
        for (const run *r = j->run; r < j->run + j->runs; r++)
            if (r->i < 0)
                fill(j, to + (size_t)r->o * bytes, r->count * j->inner);
            else
                memcpy(to + (size_t)r->o * bytes, from + (size_t)r->i * bytes,
                       (size_t)r->count * bytes);
    }
}

/* x's elements in one of the two dense orders. */
static sm_status dense(sm_tensor *x, bool channels_last, sm_tensor **out, sm_error *err) {
    return channels_last ? sm_tensor_pixels(x, out, err)
                         : sm_tensor_contiguous(x, out, err);
}

static sm_status pad_forward(sm_call *call, sm_error *err) {
    sm_tensor *x, *y = call->out[0];
    const bool last = call->meta[0].channels_last;
    pad j;
    sm_status status = dense(call->in[0], last, &x, err);
    if (status != SM_OK)
        return status;
    if (sm_tensor_numel(x) == 0) {
        sm_tensor_fill(y, ((const sm_pad_params *)call->params)->value);
    } else if (sm_tensor_numel(y) > 0) {
        status = open_pad(&j, call->params, x->shape, y->shape, x->ndim, last, err);
        if (status == SM_OK) {
            j.dtype = x->dtype;
            j.item = sm_dtype_size(x->dtype);
            j.from = sm_tensor_data(x);
            j.to = sm_tensor_data(y);
            sm_parallel_for(count_rows(&j, false), row_grain(&j), copy_rows, &j);
            sm_free(j.room);
        }
    }
    sm_tensor_unref(x);
    return status;
}

static void add_row(const pad *j, const float *dy, float *dx) {
    for (const run *r = j->run; r < j->run + j->runs; r++) {
        const float *from = dy + r->o * j->inner;
        float *to = dx + r->i * j->inner;
        for (int64_t n = 0; r->i >= 0 && n < r->count * j->inner; n++)
            to[n] += from[n];
    }
}

/* Adds to the row dx the rows of dy that show it: their axes before k are in `row`. */
static void collect(const pad *j, int k, const int64_t *at, int64_t row, float *dx) {
    const axis *a = &j->axis[k];
    if (k == j->axes - 1) {
        add_row(j, (const float *)j->from + row * a->out * j->inner, dx);
        return;
    }
    for (int64_t n = a->start[at[k]]; n < a->start[at[k] + 1]; n++)
        collect(j, k + 1, at, row * a->out + a->list[n], dx);
}

static void collect_rows(void *context, int64_t begin, int64_t end, int thread) {
    const pad *j = context;
    const int64_t width = j->axis[j->axes - 1].in * j->inner;
    int64_t at[SM_MAX_DIMS];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float *dx = (float *)j->to + i * width;
        for (int64_t k = j->axes - 2, rest = i; k >= 0; k--) {
            at[k] = rest % j->axis[k].in;
            rest /= j->axis[k].in;
        }
        memset(dx, 0, (size_t)width * sizeof *dx);
        collect(j, 0, at, 0, dx);
    }
}

static sm_status pad_backward(sm_back *back, sm_error *err) {
    const sm_meta *meta = &back->in_meta[0];
    const bool last = sm_tensor_is_channels_last(back->dout[0]);
    sm_tensor *dy, *dx;
    pad j;
    sm_status status = dense(back->dout[0], last, &dy, err);
    if (status != SM_OK)
        return status;
    status = last ? sm_din_pixels(back, 0, &dx, err) : sm_din(back, 0, &dx, err);
    if (status == SM_OK && sm_tensor_numel(dy) == 0) {
        sm_tensor_fill(dx, 0);
    } else if (status == SM_OK && sm_tensor_numel(dx) > 0) {
        status =
            open_pad(&j, back->params, meta->shape, dy->shape, meta->ndim, last, err);
        if (status == SM_OK) {
            j.from = sm_tensor_data(dy);
            j.to = sm_tensor_data(dx);
            sm_parallel_for(count_rows(&j, true), row_grain(&j), collect_rows, &j);
            sm_free(j.room);
        }
    }
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_pad = {.name = "pad",
                         .min_in = 1,
                         .max_in = 1,
                         .n_out = 1,
                         .params_size = sizeof(sm_pad_params),
                         .check = pad_check,
                         .forward = pad_forward,
                         .backward = pad_backward};
