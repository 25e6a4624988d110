/* resize.c: an axis is a table that says which inputs an output mixes and with what
 * weights; rows are mixed along the width, then columns along the height. See resize.h.
 */
#include "image/resize.h"

#include <math.h>

#include "base/mem.h"
#include "base/pool.h"

typedef struct axis {
    int64_t in, out, most; /* most: inputs an output may mix */
    int64_t *first, *count;
    float *weight; /* [out, most] */
} axis;

/* The weight of input pixel k for output pixel i. */
static double area_weight(const axis *a, int64_t i, int64_t k) {
    double scale = (double)a->in / (double)a->out;
    double low = fmax((double)i * scale, (double)k),
           high = fmin((double)(i + 1) * scale, (double)k + 1);
    return high > low ? high - low : 0;
}

static double triangle_weight(const axis *a, int64_t i, int64_t k, double support) {
    double scale = (double)a->in / (double)a->out, centre = ((double)i + 0.5) * scale;
    double distance = fabs((double)k + 0.5 - centre) / support;
    return distance < 1 ? 1 - distance : 0;
}

/* Bilinear without antialiasing clamps at the edges instead of renormalising. */
static void set_bilinear(axis *a, int64_t i) {
    double at = fmax(((double)i + 0.5) * (double)a->in / (double)a->out - 0.5, 0);
    int64_t k = (int64_t)at < a->in - 1 ? (int64_t)at : a->in - 1;
    a->first[i] = k;
    a->count[i] = k + 1 < a->in ? 2 : 1;
    a->weight[i * a->most] = a->count[i] == 2 ? (float)(1 - (at - (double)k)) : 1;
    if (a->count[i] == 2)
        a->weight[i * a->most + 1] = (float)(at - (double)k);
}

static void set_filter(axis *a, int64_t i, sm_resize_mode mode) {
    double scale = (double)a->in / (double)a->out, support = fmax(scale, 1), sum = 0;
    double reach = mode == SM_RESIZE_AREA ? scale / 2 : support;
    double centre = ((double)i + 0.5) * scale;
    int64_t low = (int64_t)fmax(floor(centre - reach), 0), n = 0;
    a->first[i] = low;
    for (int64_t k = low; k < a->in && n < a->most; k++) {
        double w = mode == SM_RESIZE_AREA ? area_weight(a, i, k)
                                          : triangle_weight(a, i, k, support);
        if (w <= 0 && n > 0)
            break;
        if (w <= 0) {
            a->first[i] = k + 1;
            continue;
        }
        a->weight[i * a->most + n++] = (float)w;
        sum += w;
    }
    a->count[i] = n;
    for (int64_t k = 0; k < n; k++)
        a->weight[i * a->most + k] /= (float)sum;
}

static void axis_free(axis *a) {
    sm_free(a->first);
    sm_free(a->count);
    sm_free(a->weight);
}

static bool axis_make(axis *a, sm_resize_mode mode, int64_t in, int64_t out) {
    *a = (axis){.in = in, .out = out, .most = 2 * (in / out + 2)};
    a->first = sm_alloc((size_t)out * sizeof *a->first);
    a->count = sm_alloc((size_t)out * sizeof *a->count);
    a->weight = sm_alloc((size_t)(out * a->most) * sizeof *a->weight);
    if (!a->first || !a->count || !a->weight) {
        axis_free(a);
        return false;
    }
    for (int64_t i = 0; i < out; i++) {
        if (mode == SM_RESIZE_BILINEAR)
            set_bilinear(a, i);
        else
            set_filter(a, i, mode);
    }
    return true;
}

typedef struct job {
    const axis *rows, *cols;
    const float *x;
    float *y, *between; /* between: [planes, h, ow] */
} job;

static void resize_planes(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const axis *r = j->rows, *c = j->cols;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        float *mid = j->between + p * r->in * c->out;
        for (int64_t i = 0; i < r->in; i++) {
            const float *x = j->x + (p * r->in + i) * c->in;
            for (int64_t o = 0; o < c->out; o++) {
                float sum = 0;
                for (int64_t k = 0; k < c->count[o]; k++)
                    sum += c->weight[o * c->most + k] * x[c->first[o] + k];
                mid[i * c->out + o] = sum;
            }
        }
        for (int64_t i = 0; i < r->out; i++) {
            float *y = j->y + (p * r->out + i) * c->out;
            for (int64_t o = 0; o < c->out; o++)
                y[o] = 0;
            for (int64_t k = 0; k < r->count[i]; k++) {
                float w = r->weight[i * r->most + k];
                const float *from = mid + (r->first[i] + k) * c->out;
                for (int64_t o = 0; o < c->out; o++)
                    y[o] += w * from[o];
            }
        }
    }
}

sm_status sm_resize(sm_resize_mode mode, const float *x, int64_t planes, int64_t h,
                    int64_t w, float *y, int64_t oh, int64_t ow, sm_error *err) {
    axis rows, cols;
    sm_status status = SM_ENOMEM;
    if (axis_make(&rows, mode, h, oh)) {
        if (axis_make(&cols, mode, w, ow)) {
            float *between = sm_alloc((size_t)(planes * h * ow) * sizeof *between);
            if (between) {
                job j = {&rows, &cols, x, y, between};
                sm_parallel_for(planes, 1, resize_planes, &j);
                status = SM_OK;
            }
            sm_free(between);
            axis_free(&cols);
        }
        axis_free(&rows);
    }
    return status == SM_OK ? SM_OK : sm_fail(err, status, 0, "resize: out of memory");
}
