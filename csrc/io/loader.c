/* loader.c: see loader.h. */
#include "io/loader.h"

#include <string.h>

#include "base/crew.h"
#include "base/mem.h"

/* What one thread needs to augment a picture. */
typedef struct bench {
    sm_scratch scratch;
    void *room; /* for the picture before that */
    size_t bytes;
} bench;

struct sm_loader {
    sm_loader_options o;
    sm_crew *crew;
    sm_picture made; /* what the pipeline makes; no channels: not known yet */
    bench *benches;  /* [SM_CREW_MAX_THREADS + 1], with a pipeline */
};

static const sm_failure out_of_memory = {SM_ENOMEM, {0, "loader: out of memory"}};

/* ---- pictures before augmentation ---- */

/* Picture `from` of a tensor, written as `dtype`. */
static void copy_image(const sm_tensor *images, int64_t from, sm_dtype dtype,
                       int64_t size, void *to) {
    if (images->dtype == SM_F32) {
        memcpy(to, sm_f32(images) + from * size, (size_t)size * sizeof(float));
        return;
    }
    const uint8_t *x = sm_u8(images) + from * size;
    float *y = to;
    if (dtype == SM_U8)
        memcpy(to, x, (size_t)size);
    else
        for (int64_t i = 0; i < size; i++)
            y[i] = (float)x[i] * (1.0f / 255);
}

/* Height and width are 0 where pictures may have any size. */
static sm_picture source_picture(const sm_loader *l) {
    const sm_source *s = &l->o.source;
    if (s->images)
        return (sm_picture){l->o.dtype, s->images->shape[1], s->images->shape[2],
                            s->images->shape[3], NULL};
    const sm_form *form = sm_pictures_form(s->pictures);
    return (sm_picture){l->o.dtype, form->channels, form->height, form->width, NULL};
}

static sm_status read_straight(const sm_loader *l, int64_t index, int64_t size, void *to,
                               sm_error *err) {
    if (l->o.source.pictures)
        return sm_pictures_read(l->o.source.pictures, index, l->o.dtype, to, err);
    copy_image(l->o.source.images, index, l->o.dtype, size, to);
    return SM_OK;
}

static sm_status take_room(bench *b, size_t bytes, sm_error *err) {
    if (!b->room || b->bytes < bytes) {
        sm_free(b->room);
        b->room = sm_alloc(bytes);
        b->bytes = b->room ? bytes : 0;
    }
    return b->room ? SM_OK : sm_fail(err, SM_ENOMEM, 0, "%s", out_of_memory.err.message);
}

static size_t picture_bytes(const sm_picture *p) {
    return (size_t)(p->c * p->h * p->w) * sm_dtype_size(p->dtype);
}

/* A picture of any size, into the bench's room. */
static sm_status read_any(const sm_loader *l, int64_t index, bench *b, sm_picture *in,
                          sm_error *err) {
    sm_planes planes;
    const sm_form *form = sm_pictures_form(l->o.source.pictures);
    sm_status status = sm_pictures_get(l->o.source.pictures, index, &planes, err);
    if (status == SM_OK) {
        in->h = planes.height;
        in->w = planes.width;
        status = take_room(b, picture_bytes(in), err);
    }
    if (status == SM_OK) {
        const int64_t n = in->c * in->h * in->w;
        const uint8_t *x = planes.data;
        if (form->fill == SM_FILL_BYTES && in->dtype == SM_F32)
            for (int64_t i = 0; i < n; i++)
                ((float *)b->room)[i] = (float)x[i] * (1.0f / 255);
        else
            memcpy(b->room, planes.data, picture_bytes(in));
    }
    in->data = b->room;
    sm_planes_free(&planes);
    return status;
}

static sm_status read_for_pipeline(const sm_loader *l, int64_t index, bench *b,
                                   sm_picture *in, sm_error *err) {
    *in = source_picture(l);
    if (!in->h && l->o.source.pictures)
        return read_any(l, index, b, in, err);
    sm_status status = take_room(b, picture_bytes(in), err);
    in->data = b->room;
    return status == SM_OK ? read_straight(l, index, in->c * in->h * in->w, in->data, err)
                           : status;
}

/* ---- one picture of a batch ---- */

typedef struct place {
    int64_t index, size; /* size: elements of a picture */
    sm_key key;
    void *to;
    size_t bytes;
} place;

static place find_place(const sm_loader *l, const sm_batch *b, int64_t item) {
    int k = 0;
    int64_t at = item;
    for (; at >= b->list[k].n; k++)
        at -= b->list[k].n;
    const sm_tensor *images = b->list[k].images;
    place p = {.index = b->list[k].indices[at],
               .size = images->shape[1] * images->shape[2] * images->shape[3],
               .key = {l->o.seed, b->number, (uint64_t)at + 1, (uint64_t)k}};
    p.bytes = (size_t)p.size * sm_dtype_size(images->dtype);
    p.to = (char *)sm_tensor_data(images) + (size_t)at * p.bytes;
    return p;
}

static void record_failure(sm_batch *b, int64_t item, sm_status status,
                           const sm_error *err) {
    sm_failure *copy = sm_alloc(sizeof *copy);
    if (copy)
        *copy = (sm_failure){status, *err};
    b->failure[item] = copy ? copy : &out_of_memory;
    atomic_fetch_add(&b->failures, 1);
}

static sm_status augment(const sm_loader *l, const place *p, bench *b, sm_error *err) {
    sm_picture in, out = l->made;
    sm_error own;
    sm_status status = read_for_pipeline(l, p->index, b, &in, err);
    if (status != SM_OK)
        return status;
    out.data = p->to;
    status = sm_pipeline_run(l->o.pipeline, &p->key, &in, &out, &b->scratch, &own);
    if (status == SM_OK)
        return SM_OK;
    if (l->o.source.pictures)
        return sm_fail(err, status, 0, "%s: %.400s",
                       sm_pictures_path(l->o.source.pictures, p->index), own.message);
    return sm_fail(err, status, 0, "picture %lld: %.400s", (long long)p->index + 1,
                   own.message);
}

static void load(void *context, void *job, int64_t item, int thread) {
    const sm_loader *l = context;
    sm_batch *b = job;
    const place p = find_place(l, b, item);
    sm_error err;
    sm_status status = l->o.pipeline ? augment(l, &p, &l->benches[thread], &err)
                                     : read_straight(l, p.index, p.size, p.to, &err);
    if (status == SM_OK)
        return;
    memset(p.to, 0, p.bytes);
    record_failure(b, item, status, &err);
}

/* ---- batches ---- */

void sm_batch_free(sm_batch *b) {
    if (!b)
        return;
    for (int k = 0; k < b->lists; k++) {
        sm_tensor_unref(b->list[k].images);
        sm_free(b->list[k].indices);
    }
    for (int64_t i = 0; b->failure && i < b->items; i++)
        if (b->failure[i] != &out_of_memory)
            sm_free((void *)b->failure[i]);
    sm_free(b->failure);
    sm_free(b);
}

static sm_batch *new_batch(const sm_batch_list *lists, int n, uint64_t number) {
    sm_batch *b = sm_calloc(sizeof *b);
    if (!b)
        return NULL;
    b->number = number;
    bool whole = true;
    for (; b->lists < n; b->lists++) {
        sm_batch_list *to = &b->list[b->lists];
        const sm_batch_list *from = &lists[b->lists];
        const size_t bytes = (size_t)from->n * sizeof *from->indices;
        *to = (sm_batch_list){from->n, sm_alloc(bytes), sm_tensor_ref(from->images)};
        if (to->indices)
            memcpy(to->indices, from->indices, bytes);
        whole = whole && to->indices;
        b->items += from->n;
    }
    b->failure = sm_calloc((size_t)b->items * sizeof *b->failure);
    if (whole && b->failure)
        return b;
    sm_batch_free(b);
    return NULL;
}

/* ---- the loader ---- */

static bool prepare(sm_loader *loader) {
    enum { SOME = 16 }; /* copying a picture takes a microsecond or so */
    const sm_loader_options *o = &loader->o;
    if (o->source.images)
        sm_tensor_ref(o->source.images);
    else
        sm_pictures_ref(o->source.pictures);
    if (o->pipeline) {
        sm_pipeline_ref(o->pipeline);
        loader->benches = sm_calloc((SM_CREW_MAX_THREADS + 1) * sizeof *loader->benches);
        if (!loader->benches)
            return false;
    }
    loader->crew = sm_crew_new(o->workers, o->depth,
                               o->source.images && !o->pipeline ? SOME : 1, load, loader);
    return loader->crew != NULL;
}

sm_status sm_loader_new(const sm_loader_options *options, sm_loader **out,
                        sm_error *err) {
    sm_loader *loader = sm_calloc(sizeof *loader);
    if (!loader)
        return sm_fail(err, SM_ENOMEM, 0, "%s", out_of_memory.err.message);
    loader->o = *options;
    if (prepare(loader)) {
        *out = loader;
        return SM_OK;
    }
    sm_loader_free(loader);
    return sm_fail(err, SM_ENOMEM, 0, "%s", out_of_memory.err.message);
}

int64_t sm_loader_count(const sm_loader *loader) {
    const sm_source *s = &loader->o.source;
    return s->images ? s->images->shape[0] : sm_pictures_count(s->pictures);
}

bool sm_source_gives(const sm_source *s, sm_dtype dtype) {
    const bool bytes = s->images ? s->images->dtype == SM_U8
                                 : sm_pictures_form(s->pictures)->fill == SM_FILL_BYTES;
    return dtype == SM_F32 || (dtype == SM_U8 && bytes);
}

/* What the pipeline makes of the first picture that can be read. */
static sm_status find_made(sm_loader *l, const int64_t *indices, int64_t n,
                           sm_error *err) {
    bench b = {0};
    sm_picture in = source_picture(l);
    sm_error later;
    sm_status status = SM_OK;
    for (int64_t i = 0; i < n && !in.data && !in.h; i++) {
        status = read_for_pipeline(l, indices[i], &b, &in, i ? &later : err);
        if (status != SM_OK)
            in.h = 0;
    }
    if (status == SM_OK) {
        const sm_key key = {l->o.seed, 0, 0, 0};
        status = sm_pipeline_shape(l->o.pipeline, &key, &in, &l->made, &b.scratch, err);
    }
    sm_scratch_free(&b.scratch);
    sm_free(b.room);
    if (status != SM_OK)
        l->made = (sm_picture){0};
    return status;
}

sm_status sm_loader_meta(sm_loader *loader, const int64_t *indices, int64_t n,
                         sm_meta *meta, sm_error *err) {
    if (loader->o.pipeline && !loader->made.c) {
        sm_status status = find_made(loader, indices, n, err);
        if (status != SM_OK)
            return status;
    }
    const sm_picture one = loader->o.pipeline ? loader->made : source_picture(loader);
    *meta = (sm_meta){.dtype = one.dtype, .ndim = 4, .shape = {n, one.c, one.h, one.w}};
    return SM_OK;
}

int sm_loader_threads(const sm_loader *loader) {
    return sm_crew_threads(loader->crew);
}

bool sm_loader_has_room(const sm_loader *loader) {
    return sm_crew_count(loader->crew) < loader->o.depth;
}

sm_status sm_loader_push(sm_loader *loader, const sm_batch_list *lists, int n,
                         uint64_t number, sm_error *err) {
    sm_batch *b = new_batch(lists, n, number);
    if (!b)
        return sm_fail(err, SM_ENOMEM, 0, "%s", out_of_memory.err.message);
    sm_crew_push(loader->crew, b, b->items);
    return SM_OK;
}

sm_batch *sm_loader_pop(sm_loader *loader) {
    return sm_crew_pop(loader->crew);
}

void sm_loader_free(sm_loader *loader) {
    sm_batch *b;
    if (!loader)
        return;
    if (loader->crew)
        sm_crew_stop(loader->crew);
    while (loader->crew && (b = sm_crew_drop(loader->crew)))
        sm_batch_free(b);
    sm_crew_free(loader->crew);
    for (int i = 0; loader->benches && i <= SM_CREW_MAX_THREADS; i++) {
        sm_scratch_free(&loader->benches[i].scratch);
        sm_free(loader->benches[i].room);
    }
    sm_free(loader->benches);
    sm_pipeline_unref(loader->o.pipeline);
    if (loader->o.source.images)
        sm_tensor_unref(loader->o.source.images);
    else
        sm_pictures_unref(loader->o.source.pictures);
    sm_free(loader);
}
