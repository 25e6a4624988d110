/* pipeline.h: pictures changed at random, step after step, on any thread.
 *
 * A pipeline is a program of steps (image/steps.h makes one). It never changes once it is
 * made, so any number of threads may run it at once, each with a scratch of its own. What
 * comes out for a sample is a pure function of its picture and its key: whichever thread
 * runs it, alone or in a batch of any size, gives the same bits.
 *
 *     sm_scratch scratch = {0};                             // one a thread
 *     sm_key key = {.seed = 7, .epoch = 3, .index = i};
 *     sm_picture in = {SM_U8, 3, 120, 90, bytes}, out = {0};
 *     status = sm_pipeline_run(p, &key, &in, &out, &scratch, &err);
 *     ... out.data lies in the scratch (or is in.data) until the scratch runs again ...
 *     sm_scratch_free(&scratch);
 *
 * Sizes: at most SM_PICTURE_SIDE pixels a side. A uint8 picture holds 0..255, a float32
 * picture 0..1 as a rule; steps keep the kind, but for the one that converts.
 */
#ifndef SM_IMAGE_PIPELINE_H
#define SM_IMAGE_PIPELINE_H

#include "base/rng.h"
#include "tensor/tensor.h"

enum { SM_PICTURE_SIDE = 1 << 20, SM_SCRATCH_BLOCKS = 8 };

typedef struct sm_pipeline sm_pipeline;

/* Dense [c, h, w]. */
typedef struct sm_picture {
    sm_dtype dtype; /* SM_U8 or SM_F32 */
    int64_t c, h, w;
    void *data;
} sm_picture;

/* Names the random numbers of a sample. Two samples that differ in any of these have
 * independent ones. */
typedef struct sm_key {
    uint64_t seed;
    uint64_t epoch; /* 0 where nobody counts them */
    uint64_t index; /* of the sample in its set */
    uint64_t side;  /* of a pair: 0 and 1, for one */
} sm_key;

/* Memory of one thread's runs; starts as zeros and only grows. */
typedef struct sm_scratch {
    void *block[SM_SCRATCH_BLOCKS];
    size_t bytes[SM_SCRATCH_BLOCKS];
} sm_scratch;

void sm_scratch_free(sm_scratch *scratch);

/* Pipelines are counted: each ref wants an unref, from any thread. */
sm_pipeline *sm_pipeline_ref(sm_pipeline *p);
void sm_pipeline_unref(sm_pipeline *p); /* NULL is allowed */
/* Whether steps are functions of the script: sm_pipeline_run refuses such a pipeline. */
bool sm_pipeline_has_calls(const sm_pipeline *p);
/* The numbers of a sample; steps take streams of it. */
sm_rng sm_key_rng(const sm_key *key);

/* Runs all steps on `in`, which is left as it is. With out->data NULL, out tells what
 * came out and where it lies (see above). With out->data set, out says what is wanted,
 * and it is written there: SM_EINVAL when another kind or size comes out. `in` and `out`
 * may not overlap. Failures: SM_EINVAL for pictures that a step cannot take (the message
 * names the step), SM_ENOMEM. */
sm_status sm_pipeline_run(const sm_pipeline *p, const sm_key *key, const sm_picture *in,
                          sm_picture *out, sm_scratch *scratch, sm_error *err);
/* What sm_pipeline_run would give for a picture like `in`, whose data is not read;
 * out->data becomes NULL. */
sm_status sm_pipeline_shape(const sm_pipeline *p, const sm_key *key, const sm_picture *in,
                            sm_picture *out, sm_scratch *scratch, sm_error *err);

/* For pipelines with calls: runs from step *at (first 0) to the end, or to the next call,
 * whose number *call gets (-1 at the end); *at gets where to go on with what the function
 * makes of `out`. out->data must be NULL. */
sm_status sm_pipeline_resume(const sm_pipeline *p, const sm_key *key, int *at, int *call,
                             const sm_picture *in, sm_picture *out, sm_scratch *scratch,
                             sm_error *err);

#endif
