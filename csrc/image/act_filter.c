/* act_filter.c: blur and strokes: a window slides over the picture. See run.h. */
#include <math.h>
#include <string.h>

#include "image/run.h"
#include "kernels/pixels.h"

/* ---- Gaussian blur ---- */

/* Fills w with the weights of a Gaussian of `taps` taps, but for those that are nothing
 * beside the middle's in single precision; returns how many are left. */
static int64_t make_weights(float *w, int64_t taps, double sigma) {
    const double farthest = 6.5 * sigma; /* exp(-0.5 * 6.5^2) is 7e-10 */
    int64_t reach = taps / 2;
    double sum = 0;
    if ((double)reach > farthest)
        reach = (int64_t)farthest;
    for (int64_t k = -reach; k <= reach; k++) {
        const double z = reach ? (double)k / sigma : 0;
        w[k + reach] = (float)exp(-0.5 * z * z);
        sum += (double)w[k + reach];
    }
    for (int64_t k = 0; k <= 2 * reach; k++)
        w[k] = (float)((double)w[k] / sum);
    return 2 * reach + 1;
}

typedef struct blur_work {
    int64_t taps[2];
    const char **rows; /* [taps of y] */
    int32_t *above;    /* [h + taps of y - 1]: the row that a row from -reach on shows */
    int32_t *aside;    /* [taps of x - 1]: the column that one beside the row shows */
    float *wx, *wy;    /* [taps] */
    float *buffer;     /* [w + taps of x] */
    float *out;        /* [w] */
} blur_work;

/* Columns from -reach on, then those behind w. */
static void find_sides(int32_t *aside, int64_t w, int64_t reach) {
    for (int64_t i = 0; i < reach; i++) {
        aside[i] = (int32_t)sm_pad_index(i - reach, w, SM_PAD_REFLECT);
        aside[reach + i] = (int32_t)sm_pad_index(w + i, w, SM_PAD_REFLECT);
    }
}

static sm_status take_work(const sm_view *v, const sm_blur *b, blur_work *work,
                           sm_scratch *scratch, sm_error *err) {
    const size_t nx = (size_t)b->taps[0], ny = (size_t)b->taps[1];
    const size_t h = (size_t)v->h, w = (size_t)v->w;
    char *table;
    float *rows;
    sm_status status =
        sm_scratch_take(scratch, SM_BLOCK_TABLE,
                        ny * sizeof *work->rows + (nx + ny) * sizeof *work->wx +
                            (h + ny + nx) * sizeof *work->above,
                        &table, err);
    if (status == SM_OK)
        status = sm_scratch_take(scratch, SM_BLOCK_ROWS, (2 * w + nx) * sizeof *rows,
                                 &rows, err);
    if (status != SM_OK)
        return status;
    work->rows = (const char **)(void *)table;
    work->wx = (float *)(void *)(table + ny * sizeof *work->rows);
    work->wy = work->wx + nx;
    work->above = (int32_t *)(void *)(work->wy + ny);
    work->aside = work->above + h + ny;
    work->buffer = rows;
    work->out = rows + w + nx;
    work->taps[0] = make_weights(work->wx, b->taps[0], b->sigma[0]);
    work->taps[1] = make_weights(work->wy, b->taps[1], b->sigma[1]);
    for (int64_t y = 0; y < v->h + work->taps[1] - 1; y++)
        work->above[y] =
            (int32_t)sm_pad_index(y - work->taps[1] / 2, v->h, SM_PAD_REFLECT);
    find_sides(work->aside, v->w, work->taps[0] / 2);
    return SM_OK;
}

static void blur_row(const sm_view *v, const blur_work *work, int64_t c, int64_t y,
                     float *out) {
    const sm_pixels *k = sm_pixels_table();
    const int64_t reach = work->taps[0] / 2, size = (int64_t)sm_dtype_size(v->dtype);
    float *row = work->buffer + reach;
    for (int64_t i = 0; i < work->taps[1]; i++)
        work->rows[i] =
            (const char *)v->data + (c * v->plane + work->above[y + i] * v->row) * size;
    if (v->dtype == SM_U8)
        k->mix_u8(row, (const uint8_t *const *)(const void *)work->rows, work->wy,
                  work->taps[1], v->w);
    else
        k->mix_f32(row, (const float *const *)(const void *)work->rows, work->wy,
                   work->taps[1], v->w);
    for (int64_t i = 0; i < reach; i++) {
        work->buffer[i] = row[work->aside[i]];
        row[v->w + i] = row[work->aside[reach + i]];
    }
    k->filter(out, work->buffer, work->wx, work->taps[0], v->w);
}

sm_status sm_blur_view(const sm_view *v, const sm_blur *b, void *to, sm_scratch *scratch,
                       sm_error *err) {
    blur_work work;
    sm_status status = take_work(v, b, &work, scratch, err);
    if (status != SM_OK)
        return status;
    for (int64_t c = 0; c < v->c; c++)
        for (int64_t y = 0; y < v->h; y++) {
            int64_t at = (c * v->h + y) * v->w;
            float *out = v->dtype == SM_F32 ? (float *)to + at : work.out;
            blur_row(v, &work, c, y, out);
            if (v->dtype == SM_U8)
                sm_pixels_table()->to_u8((uint8_t *)to + at, out, v->w);
        }
    return SM_OK;
}

sm_status sm_act_blur(sm_run *r, void *to) {
    return sm_blur_view(&r->view, &r->act.u.blur, to, r->scratch, r->err);
}

/* ---- strokes: the brightest or darkest of a square, its side 2 radius + 1 ---- */

typedef struct stroke_work {
    const float **rows;
    float *buffer, *near, *far;
} stroke_work;

static sm_status take_stroke_work(const sm_run *r, stroke_work *work) {
    size_t side = 2 * SM_STROKE_RADIUS + 1, w = (size_t)r->w;
    float *rows;
    sm_status status = sm_scratch_take(r->scratch, SM_BLOCK_TABLE,
                                       side * sizeof *work->rows, &work->rows, r->err);
    if (status == SM_OK)
        status = sm_scratch_take(r->scratch, SM_BLOCK_ROWS, (3 * w + side) * sizeof *rows,
                                 &rows, r->err);
    if (status != SM_OK)
        return status;
    work->near = rows;
    work->far = rows + w;
    work->buffer = rows + 2 * w;
    return SM_OK;
}

/* Row y of a plane of floats after a square of whole radius. */
static void stroke_row(const stroke_work *work, const float *plane, int64_t h, int64_t w,
                       int64_t y, int64_t radius, bool brighten, float *out) {
    const sm_pixels *k = sm_pixels_table();
    int64_t n = 0;
    for (int64_t i = y - radius < 0 ? 0 : y - radius; i <= y + radius && i < h; i++)
        work->rows[n++] = plane + i * w;
    float *row = work->buffer + radius;
    (brighten ? k->most : k->least)(row, work->rows, n, w);
    for (int64_t i = 1; i <= radius; i++) {
        row[-i] = row[0];
        row[w - 1 + i] = row[w - 1];
    }
    (brighten ? k->most_of : k->least_of)(out, work->buffer, 2 * radius + 1, w);
}

/* A radius between two whole ones gives a picture between theirs. */
static const float *stroke_out(const sm_run *r, const stroke_work *work,
                               const float *plane, int64_t y) {
    const sm_stroke *s = &r->act.u.stroke;
    const int64_t least = (int64_t)s->radius;
    const float part = (float)(s->radius - (double)least);
    stroke_row(work, plane, r->h, r->w, y, least, s->brighten, work->near);
    if (part > 0) {
        stroke_row(work, plane, r->h, r->w, y, least + 1, s->brighten, work->far);
        sm_pixels_table()->blend(work->near, work->far, r->w, part);
    }
    return work->near;
}

/* A plane of the view as dense floats. */
static void load_plane(const sm_view *v, int64_t c, float *to) {
    for (int64_t y = 0; y < v->h; y++, to += v->w) {
        int64_t at = c * v->plane + y * v->row;
        if (v->dtype == SM_U8)
            sm_pixels_table()->from_u8(to, (const uint8_t *)v->data + at, v->w);
        else
            memcpy(to, (const float *)v->data + at, (size_t)v->w * sizeof *to);
    }
}

sm_status sm_act_stroke(sm_run *r, void *to) {
    stroke_work work;
    float *plane;
    sm_status status = take_stroke_work(r, &work);
    if (status == SM_OK)
        status = sm_scratch_take(r->scratch, SM_BLOCK_FLOATS,
                                 (size_t)(r->h * r->w) * sizeof *plane, &plane, r->err);
    if (status != SM_OK)
        return status;
    for (int64_t c = 0; c < r->c; c++) {
        load_plane(&r->view, c, plane);
        for (int64_t y = 0; y < r->h; y++) {
            const float *out = stroke_out(r, &work, plane, y);
            int64_t at = (c * r->h + y) * r->w;
            if (r->dtype == SM_U8)
                sm_pixels_table()->to_u8((uint8_t *)to + at, out, r->w);
            else
                memcpy((float *)to + at, out, (size_t)r->w * sizeof *out);
        }
    }
    return SM_OK;
}
