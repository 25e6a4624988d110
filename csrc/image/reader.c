/* reader.c: see reader.h. Bytes stay bytes up to the last pass, which writes where the
 * picture is wanted. */
#include "image/reader.h"

#include <string.h>

#include "base/mem.h"

/* A plan and, behind it, the block that it points into. */
typedef struct sm_kept_plan {
    sm_resize_plan plan;
    _Alignas(16) char block[];
} kept_plan;

void sm_plan_cache_free(sm_plan_cache *cache) {
    sm_free(atomic_load(&cache->kept));
    atomic_store(&cache->kept, NULL);
}

static kept_plan *make_plan(const sm_form *form, const sm_image *image) {
    kept_plan *made = sm_alloc(
        sizeof *made + sm_resize_plan_bytes(form->mode, image->height, image->width,
                                            form->height, form->width));
    if (made)
        sm_resize_prepare(&made->plan, made->block, form->mode, image->height,
                          image->width, form->height, form->width);
    return made;
}

/* A plan for the picture: the cache's, or one that is *own. The first that is made stays
 * in the cache, so that nobody has to ask whether another thread still uses it. */
static const sm_resize_plan *find_plan(const sm_form *form, const sm_image *image,
                                       sm_plan_cache *cache, kept_plan **own) {
    kept_plan *kept = cache ? atomic_load(&cache->kept) : NULL;
    if (kept && kept->plan.rows.in == image->height && kept->plan.cols.in == image->width)
        return &kept->plan;
    kept_plan *none = NULL, *made = *own = make_plan(form, image);
    if (cache && !kept && made &&
        atomic_compare_exchange_strong(&cache->kept, &none, made))
        *own = NULL;
    return made ? &made->plan : NULL;
}

/* x[h * w, channels] -> y[channels, h * w] */
static void store_bytes(const sm_image *image, bool invert, uint8_t *y) {
    const int64_t n = image->height * image->width;
    const uint8_t flip = invert ? 255 : 0; /* 255 - x is x ^ 255 */
    for (int64_t c = 0; c < image->channels; c++) {
        const uint8_t *x = image->data + c;
        uint8_t *plane = y + c * n;
        if (image->channels == 1)
            for (int64_t i = 0; i < n; i++)
                plane[i] = x[i] ^ flip;
        else
            for (int64_t i = 0; i < n; i++)
                plane[i] = x[3 * i] ^ flip;
    }
}

static void store_floats(const sm_image *image, bool invert, float *y) {
    const int64_t n = image->height * image->width, step = image->channels;
    const uint8_t flip = invert ? 255 : 0;
    for (int64_t c = 0; c < step; c++)
        for (int64_t i = 0; i < n; i++)
            y[c * n + i] = (float)(image->data[i * step + c] ^ flip) / 255;
}

static void store_rounded(const sm_image *image, bool invert, float *y) {
    const int64_t n = image->height * image->width, step = image->channels;
    const uint8_t flip = invert ? 255 : 0;
    for (int64_t c = 0; c < step; c++)
        for (int64_t i = 0; i < n; i++)
            y[c * n + i] = (float)(image->data[i * step + c] ^ flip) * (1.0f / 255);
}

/* x[planes, h, w] -> y[planes, oh, ow], both of `dtype`. */
static void resize_planes(const sm_resize_plan *plan, sm_dtype dtype, const void *x,
                          int64_t planes, void *y, float *work) {
    const int64_t lanes = sm_resample_table()->lanes, rows = plan->rows.out;
    const int64_t from = plan->rows.in * plan->cols.in, to = rows * plan->cols.out,
                  element = (int64_t)sm_dtype_size(dtype);
    for (int64_t p = 0; p < planes; p++)
        for (int64_t row = 0; row < rows; row += lanes)
            sm_resize_strip(plan, dtype, (const char *)x + p * from * element,
                            plan->cols.in, (char *)y + p * to * element, row,
                            rows - row < lanes ? rows - row : lanes, work);
}

/* What resizing needs beside the plan, in one block. */
typedef struct room {
    float *work, *floats;   /* floats: the picture's planes, for SM_FILL_FLOATS */
    uint8_t *bytes, *small; /* bytes: its planes; small: what comes out, before it is
                               turned to floats */
} room;

static size_t rounded(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static void *make_room(const sm_form *form, const sm_image *image,
                       const sm_resize_plan *plan, room *r) {
    const size_t in = (size_t)(image->channels * image->height * image->width),
                 out = (size_t)(image->channels * form->height * form->width);
    const size_t work = rounded(sm_resize_work(plan) * sizeof(float)),
                 planes = rounded(form->fill == SM_FILL_FLOATS ? in * sizeof(float) : in);
    char *block = sm_alloc(work + planes + out);
    *r = (room){(float *)(void *)block, (float *)(void *)(block + work),
                (uint8_t *)block + work, (uint8_t *)block + work + planes};
    return block;
}

static void resize_bytes(const sm_form *form, const sm_image *image,
                         const sm_resize_plan *plan, const room *r, void *out) {
    const int64_t n = image->channels * form->height * form->width;
    const uint8_t *x = image->data;
    uint8_t *y = form->fill == SM_FILL_BYTES ? out : r->small;
    if (image->channels > 1 || form->invert) {
        store_bytes(image, form->invert, r->bytes);
        x = r->bytes;
    }
    resize_planes(plan, SM_U8, x, image->channels, y, r->work);
    for (int64_t i = 0; i < n && form->fill == SM_FILL_ROUNDED; i++)
        ((float *)out)[i] = (float)y[i] * (1.0f / 255);
}

static sm_status resize(const sm_form *form, const sm_image *image, sm_plan_cache *cache,
                        void *out, sm_error *err) {
    kept_plan *own = NULL;
    room r;
    const sm_resize_plan *plan = find_plan(form, image, cache, &own);
    void *block = plan ? make_room(form, image, plan, &r) : NULL;
    if (block && form->fill == SM_FILL_FLOATS) {
        store_floats(image, form->invert, r.floats);
        resize_planes(plan, SM_F32, r.floats, image->channels, out, r.work);
    } else if (block) {
        resize_bytes(form, image, plan, &r, out);
    }
    sm_free(block);
    sm_free(own);
    return block ? SM_OK : sm_fail(err, SM_ENOMEM, 0, "image: out of memory");
}

sm_status sm_form_fill(const sm_form *form, const sm_image *image, sm_plan_cache *cache,
                       void *out, sm_error *err) {
    if (form->height && (form->height != image->height || form->width != image->width))
        return resize(form, image, cache, out, err);
    if (form->fill == SM_FILL_FLOATS)
        store_floats(image, form->invert, out);
    else if (form->fill == SM_FILL_ROUNDED)
        store_rounded(image, form->invert, out);
    else
        store_bytes(image, form->invert, out);
    return SM_OK;
}
