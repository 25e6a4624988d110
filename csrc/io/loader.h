/* loader.h: batches of pictures, made by threads ahead of the step that uses them.
 *
 * The owner says which pictures shall be in the next batches; the crew's threads
 * (base/crew.h) decode or gather them, augment them (image/pipeline.h) and write them
 * where they belong in the batch's tensors; the owner takes the batches in the order in
 * which it asked for them.
 *
 *     status = sm_loader_new(&options, &loader, &err);
 *     while (sm_loader_has_room(loader)) sm_loader_push(loader, lists, n, number, &err);
 *     sm_batch *b = sm_loader_pop(loader);       // waits for it
 *     ... b->list[0].images, b->failure[item] ...
 *     sm_batch_free(b);
 *     sm_loader_free(loader);                    // at any moment
 *
 * A loader has one owner, as a crew has. What is in a batch depends on what was asked for
 * and on nothing else: not on the number of threads, nor on which of them did what. The
 * numbers that augmentation draws are those of the key {seed, the batch's number, the
 * place in the list from 1, the list from 0}.
 */
#ifndef SM_IO_LOADER_H
#define SM_IO_LOADER_H

#include "image/pipeline.h"
#include "io/pictures.h"

enum { SM_BATCH_LISTS = 8 };

/* Where pictures come from: files, or a contiguous tensor [N,C,H,W] of uint8 or float32.
 * One of the two; the loader keeps a reference. */
typedef struct sm_source {
    sm_pictures *pictures;
    sm_tensor *images;
} sm_source;

typedef struct sm_loader_options {
    sm_source source;
    int workers;    /* threads, 0 to SM_CREW_MAX_THREADS */
    int depth;      /* batches on their way, 1 to SM_CREW_MAX_DEPTH */
    sm_dtype dtype; /* SM_U8 or SM_F32 (of bytes: times 1 / 255): what batches are, or
                       what the pipeline is given */
    sm_pipeline *pipeline; /* or NULL; the loader keeps a reference */
    uint64_t seed;         /* of what it draws */
} sm_loader_options;

/* One list of pictures of a batch. */
typedef struct sm_batch_list {
    int64_t n;
    int64_t *indices;  /* [n], from 0 */
    sm_tensor *images; /* [n,C,H,W], contiguous */
} sm_batch_list;

/* What was wrong with a picture: SM_EIO when it could not be read, SM_EINVAL when the
 * pipeline does not take it or makes another size of it than of the first. */
typedef struct sm_failure {
    sm_status status;
    sm_error err;
} sm_failure;

/* Items are numbered through all lists. */
typedef struct sm_batch {
    uint64_t number;
    int lists;
    sm_batch_list list[SM_BATCH_LISTS];
    int64_t items;
    atomic_llong failures;
    const sm_failure **failure; /* [items]: of one whose place in the tensor is zero, else
                                   NULL */
} sm_batch;

typedef struct sm_loader sm_loader;

sm_status sm_loader_new(const sm_loader_options *options, sm_loader **out, sm_error *err);
/* Pictures that there are. */
int64_t sm_loader_count(const sm_loader *loader);
/* Whether the source can give the options' dtype: float32 is not made bytes. */
bool sm_source_gives(const sm_source *source, sm_dtype dtype);
/* What a batch of n pictures is. With a pipeline it is what that makes of the first of
 * these pictures (from 0) that can be read; later batches are like it. SM_EIO when none
 * can be, SM_EINVAL when the pipeline does not take it. */
sm_status sm_loader_meta(sm_loader *loader, const int64_t *indices, int64_t n,
                         sm_meta *meta, sm_error *err);
int sm_loader_threads(const sm_loader *loader);
bool sm_loader_has_room(const sm_loader *loader);
/* Asks for a batch; there must be room. Indices are copied; tensors are referenced, are
 * of sm_loader_meta's shape, and are nobody else's until the batch has been taken. */
sm_status sm_loader_push(sm_loader *loader, const sm_batch_list *lists, int n,
                         uint64_t number, sm_error *err);
/* The oldest batch, when all of it is there; NULL when none was asked for. */
sm_batch *sm_loader_pop(sm_loader *loader);
void sm_batch_free(sm_batch *batch); /* NULL is allowed */
/* Stops the threads and frees the batches that were not taken. NULL is allowed. */
void sm_loader_free(sm_loader *loader);

#endif
