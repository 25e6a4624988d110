/* resize.c: an axis is a table that says which inputs an output mixes and with what
 * weights; rows are mixed along the height, then columns along the width. See resize.h.
 */
#include "image/resize.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/pixels.h"

/* ---- axes ---- */

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys' cubic convolution (1981, equation 15 with a free a). */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double filter_of(sm_resize_mode mode, double x) {
    return mode == SM_RESIZE_BICUBIC_ANTIALIAS ? cubic(x, -0.5) : triangle(x);
}

/* Outputs that mix all inputs within a filter's support, their weights made to sum to 1.
 */
static void set_filter(sm_axis *a, int64_t i, sm_resize_mode mode) {
    const double scale = (double)a->in / (double)a->out, wide = fmax(scale, 1);
    const double support = wide * (mode == SM_RESIZE_BICUBIC_ANTIALIAS ? 2 : 1);
    const double centre = ((double)i + 0.5) * scale;
    int64_t low = (int64_t)fmax(centre - support + 0.5, 0);
    int64_t high = (int64_t)fmin(centre + support + 0.5, (double)a->in), n = high - low;
    double sum = 0;
    float *w = a->weight + i * a->most;
    n = n < 1 ? 1 : n > a->most ? a->most : n;
    for (int64_t k = 0; k < n; k++) {
        double one = filter_of(mode, ((double)(low + k) - centre + 0.5) / wide);
        w[k] = (float)one;
        sum += one;
    }
    for (int64_t k = 0; k < n; k++)
        w[k] = (float)((double)w[k] / sum);
    a->first[i] = (int32_t)low;
    a->count[i] = (int32_t)n;
}

static void set_area(sm_axis *a, int64_t i) {
    const double scale = (double)a->in / (double)a->out;
    const double low = (double)i * scale, high = (double)(i + 1) * scale;
    int64_t first = (int64_t)low, n = 0;
    float *w = a->weight + i * a->most;
    first = first < a->in ? first : a->in - 1;
    for (int64_t k = first; k < a->in && n < a->most; k++) {
        double part = fmin(high, (double)k + 1) - fmax(low, (double)k);
        if (part <= 1e-9 * scale && n > 0)
            break;
        w[n++] = (float)fmax(part / scale, 0);
    }
    a->first[i] = (int32_t)first;
    a->count[i] = (int32_t)n;
}

/* Without antialiasing, neighbours beyond an edge are the edge. `reach` neighbours below
 * and above. */
static void set_neighbours(sm_axis *a, int64_t i, int64_t reach, bool clamp) {
    const double scale = (double)a->in / (double)a->out;
    double at = ((double)i + 0.5) * scale - 0.5;
    at = clamp ? fmax(at, 0) : at;
    const double whole = floor(at), part = at - whole;
    const int64_t from = (int64_t)whole - reach + 1;
    int64_t low = from < 0 ? 0 : from, high = from + 2 * reach - 1;
    low = low < a->in ? low : a->in - 1;
    high = high < a->in ? high : a->in - 1;
    float *w = a->weight + i * a->most;
    memset(w, 0, (size_t)a->most * sizeof *w);
    for (int64_t k = 0; k < 2 * reach; k++) {
        double distance = part - (double)(k - reach + 1);
        int64_t to = from + k < low ? low : from + k > high ? high : from + k;
        w[to - low] += (float)(reach == 1 ? triangle(distance) : cubic(distance, -0.75));
    }
    a->first[i] = (int32_t)low;
    a->count[i] = (int32_t)(high - low + 1);
}

/* In single precision, as PyTorch counts. */
static void set_nearest(sm_axis *a, int64_t i, float offset) {
    const float scale = (float)a->in / (float)a->out;
    int64_t from = (int64_t)(((float)i + offset) * scale);
    a->first[i] = (int32_t)(from < a->in ? from : a->in - 1);
    a->count[i] = 1;
    a->weight[i * a->most] = 1;
}

static int64_t most_inputs(sm_resize_mode mode, int64_t in, int64_t out) {
    int64_t whole = in / out + 2;
    return mode == SM_RESIZE_BICUBIC_ANTIALIAS ? 4 * whole : 2 * whole;
}

static size_t axis_bytes(sm_resize_mode mode, int64_t in, int64_t out) {
    return (size_t)out * (8 + 4 * (size_t)most_inputs(mode, in, out));
}

static char *set_axis(sm_axis *a, char *block, sm_resize_mode mode, int64_t in,
                      int64_t out) {
    *a = (sm_axis){.in = in, .out = out, .most = most_inputs(mode, in, out)};
    a->first = (int32_t *)(void *)block;
    a->count = a->first + out;
    a->weight = (float *)(void *)(a->count + out);
    for (int64_t i = 0; i < out; i++)
        switch (mode) {
        case SM_RESIZE_AREA:
            set_area(a, i);
            break;
        case SM_RESIZE_BILINEAR:
            set_neighbours(a, i, 1, true);
            break;
        case SM_RESIZE_BICUBIC:
            set_neighbours(a, i, 2, false);
            break;
        case SM_RESIZE_NEAREST:
            set_nearest(a, i, 0);
            break;
        case SM_RESIZE_NEAREST_EXACT:
            set_nearest(a, i, 0.5f);
            break;
        default:
            set_filter(a, i, mode);
        }
    return block + axis_bytes(mode, in, out);
}

/* ---- plans and strips ---- */

size_t sm_resize_plan_bytes(sm_resize_mode mode, int64_t h, int64_t w, int64_t oh,
                            int64_t ow) {
    return axis_bytes(mode, h, oh) + axis_bytes(mode, w, ow);
}

static int64_t padded(int64_t n) {
    return (n + SM_STRIP_LANES - 1) / SM_STRIP_LANES * SM_STRIP_LANES;
}

void sm_resize_prepare(sm_resize_plan *plan, void *block, sm_resize_mode mode, int64_t h,
                       int64_t w, int64_t oh, int64_t ow) {
    set_axis(&plan->cols, set_axis(&plan->rows, block, mode, h, oh), mode, w, ow);
    plan->in_row = padded(w);
    plan->out_row = padded(ow);
}

size_t sm_resize_work(const sm_resize_plan *plan) {
    return (size_t)(2 * SM_STRIP_LANES * (plan->in_row + plan->out_row));
}

/* Row y of the output, its columns as those of the input. */
static void mix_rows(const sm_resize_plan *plan, sm_dtype dtype, const char *from,
                     int64_t row, int64_t y, float *out) {
    enum { ROWS = 64 };
    const sm_pixels *k = sm_pixels_table();
    const sm_axis *a = &plan->rows;
    const int64_t size = (int64_t)sm_dtype_size(dtype), n = plan->cols.in;
    const float *w = a->weight + y * a->most;
    float *sum = out, *more = out + plan->in_row * SM_STRIP_LANES;
    for (int64_t done = 0; done < a->count[y]; done += ROWS) {
        const void *rows[ROWS];
        int64_t taps = a->count[y] - done < ROWS ? a->count[y] - done : ROWS;
        for (int64_t i = 0; i < taps; i++)
            rows[i] = from + (a->first[y] + done + i) * row * size;
        if (dtype == SM_U8)
            k->mix_u8(sum, (const uint8_t *const *)rows, w + done, taps, n);
        else
            k->mix_f32(sum, (const float *const *)rows, w + done, taps, n);
        for (int64_t i = 0; i < n && done > 0; i++)
            out[i] += more[i];
        sum = more;
    }
}

void sm_resize_strip(const sm_resize_plan *plan, sm_dtype dtype, const void *from,
                     int64_t row, void *to, int64_t y, int64_t n, float *work) {
    const int64_t in = plan->in_row, out = plan->out_row, ow = plan->cols.out;
    /* Also where mix_rows sums up, in rows that are turned only afterwards. */
    float *rows = work, *turned = rows + in * SM_STRIP_LANES;
    float *mixed = turned + in * SM_STRIP_LANES, *made = mixed + out * SM_STRIP_LANES;
    for (int64_t i = 0; i < n; i++)
        mix_rows(plan, dtype, from, row, y + i, rows + i * in);
    sm_resample_table()->columns(&plan->cols, rows, in, made, out, turned, mixed);
    for (int64_t i = 0; i < n; i++) {
        if (dtype == SM_U8)
            sm_pixels_table()->to_u8((uint8_t *)to + (y + i) * ow, made + i * out, ow);
        else
            memcpy((float *)to + (y + i) * ow, made + i * out,
                   (size_t)ow * sizeof(float));
    }
}

/* ---- whole planes ---- */

typedef struct job {
    const sm_resize_plan *plan;
    sm_dtype dtype;
    const char *x;
    char *y;
    float *work; /* of each thread */
    int64_t strips;
} job;

static void resize_strips(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_axis *r = &j->plan->rows, *c = &j->plan->cols;
    const int64_t size = (int64_t)sm_dtype_size(j->dtype),
                  lanes = sm_resample_table()->lanes;
    for (int64_t s = begin; s < end; s++) {
        int64_t plane = s / j->strips, y = s % j->strips * lanes;
        sm_resize_strip(j->plan, j->dtype, j->x + plane * r->in * c->in * size, c->in,
                        j->y + plane * r->out * c->out * size, y,
                        r->out - y < lanes ? r->out - y : lanes,
                        j->work + (size_t)thread * sm_resize_work(j->plan));
    }
}

sm_status sm_resize(sm_resize_mode mode, sm_dtype dtype, const void *x, int64_t planes,
                    int64_t h, int64_t w, void *y, int64_t oh, int64_t ow,
                    sm_error *err) {
    sm_resize_plan plan;
    const int64_t lanes = sm_resample_table()->lanes;
    job j = {.plan = &plan,
             .dtype = dtype,
             .x = x,
             .y = y,
             .strips = (oh + lanes - 1) / lanes};
    void *block = sm_alloc(sm_resize_plan_bytes(mode, h, w, oh, ow));
    if (block) {
        sm_resize_prepare(&plan, block, mode, h, w, oh, ow);
        j.work = sm_alloc((size_t)sm_threads() * sm_resize_work(&plan) * sizeof *j.work);
    }
    sm_status status = block && j.work ? SM_OK : SM_ENOMEM;
    if (status == SM_OK)
        sm_parallel_for(planes * j.strips, 1, resize_strips, &j);
    sm_free(j.work);
    sm_free(block);
    return status == SM_OK ? SM_OK : sm_fail(err, status, 0, "resize: out of memory");
}
