/* pictures.c: see pictures.h.
 *
 * A picture that is kept is a block of its own; whoever reads it first puts the block
 * into its place by compare-and-swap, and it is never taken out while the list lives: so
 * readers need no lock. */
#include "io/pictures.h"

#include <string.h>

#include "base/mem.h"

typedef struct kept {
    int64_t height, width;
    _Alignas(16) unsigned char data[];
} kept;

struct sm_pictures {
    int refs;
    sm_form form;
    bool any_size; /* the form had no size; what has another than it has now is refused */
    int64_t n;
    char *text;                 /* the paths, each with its end */
    const char **path;          /* [n] */
    const sm_archive **archive; /* [n]: that it is in, or NULL */
    const sm_zip_entry **entry; /* [n]: there; NULL when the archive has none */
    sm_archive **archives;
    int archive_count;
    sm_plan_cache plans;
    _Atomic(kept *) *cache; /* [n] */
    atomic_size_t limit, used;
};

/* ---- the list ---- */

static void free_cache(sm_pictures *p) {
    for (int64_t i = 0; p->cache && i < p->n; i++)
        sm_free(atomic_load(&p->cache[i]));
    sm_free(p->cache);
}

sm_pictures *sm_pictures_ref(sm_pictures *p) {
    p->refs++;
    return p;
}

void sm_pictures_unref(sm_pictures *p) {
    if (!p || --p->refs)
        return;
    free_cache(p);
    for (int k = 0; k < p->archive_count; k++)
        sm_archive_unref(p->archives[k]);
    sm_plan_cache_free(&p->plans);
    sm_free(p->text);
    sm_free(p->path);
    sm_free(p->archive);
    sm_free(p->entry);
    sm_free(p->archives);
    sm_free(p);
}

/* Finds picture i in one of the archives, the one with the longest path first. */
static void find_archive(sm_pictures *p, int64_t i) {
    size_t longest = 0;
    for (int k = 0; k < p->archive_count; k++) {
        const char *root = sm_archive_path(p->archives[k]), *path = p->path[i];
        size_t n = strlen(root);
        if (n < longest || strncmp(path, root, n) != 0 || path[n] != '/')
            continue;
        longest = n;
        p->archive[i] = p->archives[k];
        p->entry[i] = sm_archive_find(p->archives[k], path + n + 1, strlen(path + n + 1));
    }
}

static bool allocate(sm_pictures *p, size_t bytes, int archives) {
    const size_t n = (size_t)p->n;
    p->text = sm_alloc(bytes);
    p->path = sm_alloc(n * sizeof *p->path);
    p->archive = sm_calloc(n * sizeof *p->archive);
    p->entry = sm_calloc(n * sizeof *p->entry);
    p->archives = sm_alloc((size_t)archives * sizeof(sm_archive *));
    p->cache = sm_calloc(n * sizeof *p->cache);
    return p->text && p->path && p->archive && p->entry && p->archives && p->cache;
}

static void fill(sm_pictures *p, const char *const *paths, sm_archive *const *archives,
                 int archive_count) {
    for (; p->archive_count < archive_count; p->archive_count++)
        p->archives[p->archive_count] = sm_archive_ref(archives[p->archive_count]);
    char *at = p->text;
    for (int64_t i = 0; i < p->n; i++) {
        size_t bytes = strlen(paths[i]) + 1;
        memcpy(at, paths[i], bytes);
        p->path[i] = at;
        at += bytes;
        find_archive(p, i);
    }
}

static sm_status check_form(const sm_form *f, sm_error *err) {
    if (f->height < 0 || f->width < 0 || (f->height == 0) != (f->width == 0) ||
        f->height > SM_FORM_SIDE || f->width > SM_FORM_SIDE)
        return sm_fail(err, SM_EINVAL, 0,
                       "pictures: a size must be from 1 to %d, got %lld x %lld",
                       SM_FORM_SIDE, (long long)f->height, (long long)f->width);
    return SM_OK;
}

sm_status sm_pictures_new(const sm_form *form, const char *const *paths, int64_t n,
                          sm_archive *const *archives, int archive_count,
                          sm_pictures **out, sm_error *err) {
    sm_status status = check_form(form, err);
    if (status != SM_OK)
        return status;
    size_t bytes = 0;
    for (int64_t i = 0; i < n; i++)
        bytes += strlen(paths[i]) + 1;
    sm_pictures *p = sm_calloc(sizeof *p);
    if (p)
        *p = (sm_pictures){.refs = 1, .form = *form, .n = n, .any_size = !form->height};
    if (!p || !allocate(p, bytes, archive_count)) {
        sm_pictures_unref(p);
        return sm_fail(err, SM_ENOMEM, 0, "pictures: out of memory for %lld paths",
                       (long long)n);
    }
    fill(p, paths, archives, archive_count);
    *out = p;
    return SM_OK;
}

int64_t sm_pictures_count(const sm_pictures *p) {
    return p->n;
}

const char *sm_pictures_path(const sm_pictures *p, int64_t i) {
    return p->path[i];
}

const sm_form *sm_pictures_form(const sm_pictures *p) {
    return &p->form;
}

/* ---- files ---- */

static sm_status decode_entry(const sm_pictures *p, int64_t i, sm_image *image,
                              sm_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    *image = (sm_image){.channels = p->form.channels};
    if (!p->entry[i])
        return sm_fail(err, SM_EIO, 0, "%s: there is no such entry in the archive",
                       p->path[i]);
    sm_status status = sm_archive_read(p->archive[i], p->entry[i],
                                       (size_t)p->form.limits.bytes, &bytes, &size, err);
    if (status != SM_OK)
        return status;
    status = sm_image_decode(bytes, size, p->path[i], p->form.channels, &p->form.limits,
                             image, err);
    sm_free(bytes);
    return status;
}

static sm_status decode_any(const sm_pictures *p, int64_t i, sm_image *image,
                            sm_error *err) {
    return p->archive[i]
               ? decode_entry(p, i, image, err)
               : sm_image_read(p->path[i], p->form.channels, &p->form.limits, image, err);
}

/* The file's picture, of a size that may be. For sm_image_free, also when it fails. */
static sm_status decode(const sm_pictures *p, int64_t i, sm_image *image, sm_error *err) {
    sm_status status = decode_any(p, i, image, err);
    if (status != SM_OK || !p->any_size || !p->form.height)
        return status;
    if (image->height == p->form.height && image->width == p->form.width)
        return SM_OK;
    return sm_fail(
        err, SM_EIO, 0,
        "%s: %lld x %lld pixels, expected %lld x %lld as the first picture has",
        p->path[i], (long long)image->height, (long long)image->width,
        (long long)p->form.height, (long long)p->form.width);
}

sm_status sm_pictures_settle(sm_pictures *p, sm_error *err) {
    sm_error later;
    sm_status first = SM_OK;
    for (int64_t i = 0; i < p->n && !p->form.height; i++) {
        sm_image image = {0};
        sm_status status = decode_any(p, i, &image, first == SM_OK ? err : &later);
        if (status == SM_OK) {
            p->form.height = image.height;
            p->form.width = image.width;
        } else if (first == SM_OK) {
            first = status;
        }
        sm_image_free(&image);
    }
    if (p->form.height)
        return SM_OK;
    return p->n ? first : sm_fail(err, SM_EIO, 0, "pictures: there are none");
}

/* ---- what is kept ---- */

void sm_pictures_cache(sm_pictures *p, size_t bytes) {
    atomic_store(&p->limit, bytes);
}

size_t sm_pictures_cached(const sm_pictures *p) {
    return atomic_load(&p->used);
}

static const kept *find_kept(const sm_pictures *p, int64_t i) {
    return atomic_load_explicit(&p->cache[i], memory_order_acquire);
}

/* A block to keep a picture of `bytes` in, within the limit; NULL when it is not to be
 * kept. */
static kept *make_kept(sm_pictures *p, size_t bytes) {
    const size_t limit = atomic_load(&p->limit);
    bytes += sizeof(kept);
    if (bytes > limit)
        return NULL;
    if (atomic_fetch_add(&p->used, bytes) > limit - bytes) {
        atomic_fetch_sub(&p->used, bytes);
        return NULL;
    }
    kept *k = sm_alloc(bytes);
    if (!k)
        atomic_fetch_sub(&p->used, bytes);
    return k;
}

static void drop_kept(sm_pictures *p, kept *k, size_t bytes) {
    atomic_fetch_sub(&p->used, bytes + sizeof(kept));
    sm_free(k);
}

static size_t planes_bytes(const sm_pictures *p, int64_t height, int64_t width) {
    const size_t element = p->form.fill == SM_FILL_BYTES ? 1 : sizeof(float);
    return (size_t)(p->form.channels * height * width) * element;
}

/* Fills *k and puts it into its place; gives the one that is there then. */
static sm_status keep(sm_pictures *p, int64_t i, const sm_image *image, kept *k,
                      const kept **there, sm_error *err) {
    const size_t bytes = planes_bytes(p, k->height, k->width);
    sm_status status = sm_form_fill(&p->form, image, &p->plans, k->data, err);
    kept *none = NULL;
    if (status == SM_OK && atomic_compare_exchange_strong(&p->cache[i], &none, k)) {
        *there = k;
        return SM_OK;
    }
    drop_kept(p, k, bytes);
    *there = none;
    return status;
}

/* ---- reading ---- */

static void target_size(const sm_pictures *p, const sm_image *image, int64_t *height,
                        int64_t *width) {
    *height = p->form.height ? p->form.height : image->height;
    *width = p->form.width ? p->form.width : image->width;
}

static sm_status make_planes(sm_pictures *p, int64_t i, const sm_image *image,
                             sm_planes *planes, sm_error *err) {
    target_size(p, image, &planes->height, &planes->width);
    const size_t bytes = planes_bytes(p, planes->height, planes->width);
    kept *k = make_kept(p, bytes);
    if (k) {
        const kept *there = NULL;
        k->height = planes->height;
        k->width = planes->width;
        sm_status status = keep(p, i, image, k, &there, err);
        planes->data = there ? there->data : NULL;
        return status;
    }
    planes->own = sm_alloc(bytes);
    planes->data = planes->own;
    return planes->own ? sm_form_fill(&p->form, image, &p->plans, planes->own, err)
                       : sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", p->path[i]);
}

sm_status sm_pictures_get(sm_pictures *p, int64_t i, sm_planes *planes, sm_error *err) {
    const kept *k = find_kept(p, i);
    *planes = (sm_planes){0};
    if (k) {
        *planes = (sm_planes){k->height, k->width, k->data, NULL};
        return SM_OK;
    }
    sm_image image = {0};
    sm_status status = decode(p, i, &image, err);
    if (status == SM_OK)
        status = make_planes(p, i, &image, planes, err);
    sm_image_free(&image);
    return status;
}

void sm_planes_free(sm_planes *planes) {
    sm_free(planes->own);
    *planes = (sm_planes){0};
}

static void convert(const sm_pictures *p, const void *from, sm_dtype dtype, void *out) {
    const int64_t n = p->form.channels * p->form.height * p->form.width;
    const uint8_t *bytes = from;
    if (p->form.fill != SM_FILL_BYTES)
        memcpy(out, from, (size_t)n * sizeof(float));
    else if (dtype == SM_U8)
        memcpy(out, from, (size_t)n);
    else
        for (int64_t k = 0; k < n; k++)
            ((float *)out)[k] = (float)bytes[k] * (1.0f / 255);
}

sm_status sm_pictures_read(sm_pictures *p, int64_t i, sm_dtype dtype, void *out,
                           sm_error *err) {
    if (find_kept(p, i) || atomic_load(&p->used) < atomic_load(&p->limit)) {
        sm_planes planes;
        sm_status status = sm_pictures_get(p, i, &planes, err);
        if (status == SM_OK)
            convert(p, planes.data, dtype, out);
        sm_planes_free(&planes);
        return status;
    }
    sm_form form = p->form;
    sm_image image = {0};
    if (form.fill == SM_FILL_BYTES && dtype == SM_F32)
        form.fill = SM_FILL_ROUNDED;
    sm_status status = decode(p, i, &image, err);
    if (status == SM_OK)
        status = sm_form_fill(&form, &image, &p->plans, out, err);
    sm_image_free(&image);
    return status;
}
