/* act_place.c: pixels as they are: copies, padding, holes. See run.h. */
#include <string.h>

#include "image/run.h"
#include "kernels/pixels.h"

static const char *row_of(const sm_view *v, int64_t c, int64_t y) {
    return (const char *)v->data +
           (c * v->plane + y * v->row) * (int64_t)sm_dtype_size(v->dtype);
}

void sm_act_copy(const sm_view *v, void *to) {
    const sm_pixels *k = sm_pixels_table();
    const size_t bytes = (size_t)v->w * sm_dtype_size(v->dtype);
    char *out = to;
    for (int64_t c = 0; c < v->c; c++)
        for (int64_t y = 0; y < v->h; y++, out += bytes) {
            const char *row = row_of(v, c, y);
            if (!v->mirror)
                memcpy(out, row, bytes);
            else if (v->dtype == SM_U8)
                k->reverse_u8((uint8_t *)out, (const uint8_t *)row, v->w);
            else
                k->reverse_f32((float *)out, (const float *)row, v->w);
        }
}

/* ---- padding ---- */

int64_t sm_pad_index(int64_t i, int64_t n, sm_padding mode) {
    if (i >= 0 && i < n)
        return i;
    if (mode == SM_PAD_EDGE || n == 1)
        return i < 0 ? 0 : n - 1;
    const int64_t once = mode == SM_PAD_REFLECT; /* the last pixel is not repeated */
    const int64_t near = i < 0 ? -i - 1 + once : 2 * n - 1 - once - i;
    if (near >= 0 && near < n)
        return near;
    /* A picture and its reflection, over and over. */
    int64_t period = mode == SM_PAD_REFLECT ? 2 * (n - 1) : 2 * n;
    i %= period;
    i = i < 0 ? i + period : i;
    return i < n ? i : mode == SM_PAD_REFLECT ? period - i : period - 1 - i;
}

/* A value as the bytes of a pixel. */
typedef struct pixel {
    size_t size;
    uint8_t byte;
    float value;
} pixel;

static pixel pixel_of(sm_dtype dtype, float value) {
    pixel p = {.size = sm_dtype_size(dtype), .value = value};
    if (dtype == SM_U8)
        sm_pixels_table()->to_u8(&p.byte, &value, 1);
    return p;
}

static void fill_pixels(const pixel *p, void *to, int64_t n) {
    if (p->size == 1)
        memset(to, p->byte, (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            ((float *)to)[i] = p->value;
}

static void copy_pixel(size_t size, char *to, int64_t at, const char *row, int64_t from) {
    memcpy(to + (size_t)at * size, row + (size_t)from * size, size);
}

/* A row of [w] pixels around `row`, NULL for one that is outside. */
static void pad_row(const sm_run *r, const sm_place *p, const char *row, char *to,
                    const pixel *fill) {
    const sm_view *v = &r->view;
    const size_t size = sm_dtype_size(v->dtype);
    int64_t begin = p->left > 0 ? p->left : 0;
    int64_t end = p->left + v->w < r->w ? p->left + v->w : r->w;
    if (!row || end <= begin)
        begin = end = r->w;
    if (p->mode == SM_PAD_CONSTANT) {
        fill_pixels(fill, to, begin);
        fill_pixels(fill, to + (size_t)end * size, r->w - end);
    } else {
        for (int64_t x = 0; x < begin; x++)
            copy_pixel(size, to, x, row, sm_pad_index(x - p->left, v->w, p->mode));
        for (int64_t x = end; x < r->w; x++)
            copy_pixel(size, to, x, row, sm_pad_index(x - p->left, v->w, p->mode));
    }
    if (end > begin)
        memcpy(to + (size_t)begin * size, row + (size_t)(begin - p->left) * size,
               (size_t)(end - begin) * size);
}

sm_status sm_act_place(sm_run *r, void *to) {
    const sm_place *p = &r->act.u.place;
    const sm_view *v = &r->view;
    char *out = to;
    for (int64_t c = 0; c < v->c; c++) {
        const pixel fill = pixel_of(v->dtype, p->fill.v[p->fill.n == 1 ? 0 : c]);
        for (int64_t y = 0; y < r->h; y++, out += (size_t)r->w * fill.size) {
            int64_t from = y - p->top;
            bool inside = from >= 0 && from < v->h;
            if (!inside && p->mode != SM_PAD_CONSTANT)
                from = sm_pad_index(from, v->h, p->mode);
            const char *row =
                inside || p->mode != SM_PAD_CONSTANT ? row_of(v, c, from) : NULL;
            pad_row(r, p, row, out, &fill);
        }
    }
    return SM_OK;
}

/* ---- holes ---- */

/* Normal for floats, as torchvision; bytes get any value. */
static void fill_random(const sm_hole *h, sm_dtype dtype, char *to, int64_t n,
                        uint64_t counter) {
    enum { CHUNK = 256 };
    const sm_pixels *k = sm_pixels_table();
    float z[CHUNK];
    for (int64_t first = 0; first < n; first += CHUNK, counter += CHUNK / 4) {
        int64_t count = n - first < CHUNK ? n - first : CHUNK;
        if (dtype == SM_F32) {
            k->normal(z, count, h->rng.key, h->rng.counter + counter);
            memcpy(to + (size_t)first * sizeof *z, z, (size_t)count * sizeof *z);
        } else {
            k->uniform(z, count, h->rng.key, h->rng.counter + counter);
            k->line_f32(z, z, count, (sm_line){256, -0.5f, 0, 255});
            k->to_u8((uint8_t *)to + first, z, count);
        }
    }
}

static void fill_hole(const sm_run *r, const sm_hole *h, char *to) {
    const size_t size = sm_dtype_size(r->dtype);
    const uint64_t blocks = (uint64_t)h->width / 256 * 64 + 64; /* of a row */
    for (int64_t c = 0; c < r->c; c++) {
        const pixel fill = pixel_of(r->dtype, h->fill.v[h->fill.n == 1 ? 0 : c]);
        for (int64_t y = 0; y < h->height; y++) {
            char *row = to + (size_t)((c * r->h + h->top + y) * r->w + h->left) * size;
            if (h->random)
                fill_random(h, r->dtype, row, h->width,
                            (uint64_t)(c * h->height + y) * blocks);
            else
                fill_pixels(&fill, row, h->width);
        }
    }
}

void sm_act_holes(const sm_run *r, void *to) {
    for (int i = 0; i < r->act.holes; i++)
        fill_hole(r, &r->act.hole[i], to);
}
