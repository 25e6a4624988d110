/* pipeline.c: programs of steps and how they are walked. See pipeline.h, steps.h. */
#include "image/pipeline.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "image/run.h"

struct sm_pipeline {
    atomic_int refs;
    int n;
    bool calls;
    sm_step step[];
};

sm_status sm_pipeline_new(const sm_step *steps, int n, sm_pipeline **out, sm_error *err) {
    if (n < 0 || n > SM_PIPELINE_STEPS)
        return sm_fail(err, SM_EINVAL, 0, "augment: %d steps are more than %d", n,
                       SM_PIPELINE_STEPS);
    for (int i = 0; i < n; i++) {
        sm_status status = sm_step_check(&steps[i], i, n, err);
        if (status == SM_OK && steps[i].kind == SM_STEP_NEXT)
            status = sm_step_check_next(steps, i, err);
        if (status != SM_OK)
            return status;
    }
    sm_pipeline *p = sm_alloc(sizeof *p + (size_t)n * sizeof *steps);
    if (!p)
        return sm_fail(err, SM_ENOMEM, 0, "augment: out of memory");
    atomic_init(&p->refs, 1);
    p->n = n;
    p->calls = false;
    for (int i = 0; i < n; i++) {
        p->step[i] = steps[i];
        p->calls = p->calls || steps[i].kind == SM_STEP_CALL;
    }
    *out = p;
    return SM_OK;
}

sm_pipeline *sm_pipeline_ref(sm_pipeline *p) {
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void sm_pipeline_unref(sm_pipeline *p) {
    if (p && atomic_fetch_sub(&p->refs, 1) == 1)
        sm_free(p);
}

bool sm_pipeline_has_calls(const sm_pipeline *p) {
    return p->calls;
}

sm_rng sm_key_rng(const sm_key *key) {
    sm_rng rng;
    sm_rng_seed(&rng, key->seed);
    rng = sm_rng_stream(&rng, key->epoch);
    rng = sm_rng_stream(&rng, key->index);
    return sm_rng_stream(&rng, key->side);
}

/* ---- scratch ---- */

void sm_scratch_free(sm_scratch *scratch) {
    for (int i = 0; i < SM_SCRATCH_BLOCKS; i++)
        sm_free(scratch->block[i]);
    *scratch = (sm_scratch){0};
}

sm_status sm_scratch_take(sm_scratch *scratch, int block, size_t bytes, void *slot,
                          sm_error *err) {
    if (!scratch->block[block] || scratch->bytes[block] < bytes) {
        sm_free(scratch->block[block]);
        scratch->block[block] = sm_alloc(bytes);
        scratch->bytes[block] = scratch->block[block] ? bytes : 0;
        if (!scratch->block[block])
            return sm_fail(err, SM_ENOMEM, 0, "augment: out of memory");
    }
    memcpy(slot, &scratch->block[block], sizeof(void *));
    return SM_OK;
}

/* ---- walking ---- */

static int pick_branch(const sm_branches *b, sm_rng *rng) {
    double total = 0;
    for (int i = 0; i < b->count; i++)
        total += b->weight[i];
    double at = sm_rng_uniform(rng) * total;
    int last = 0; /* with a weight, should rounding leave `at` above all */
    for (int i = 0; i < b->count; i++) {
        if (b->weight[i] > 0)
            last = i;
        if (at < b->weight[i])
            return i;
        at -= b->weight[i];
    }
    return last;
}

/* The order of an ORDER's branches: Durstenfeld's shuffle, inside out. A pure function of
 * the step's stream, so that nothing need be kept between branches. */
static void shuffle_branches(int count, sm_rng rng, int order[SM_STEP_BRANCHES]) {
    for (int i = 0; i < count; i++) {
        int j = (int)sm_rng_below(&rng, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Where to go on after branch `done` of the ORDER at `at` (-1: before the first). */
static int next_branch(const sm_pipeline *p, const sm_rng *sample, int at, int done) {
    const sm_branches *b = &p->step[at].u.branches;
    int order[SM_STEP_BRANCHES] = {0}, place = 0;
    shuffle_branches(b->count, sm_rng_stream(sample, (uint64_t)at), order);
    while (done >= 0 && order[place] != done)
        place++;
    place += done >= 0;
    return place < b->count ? b->start[order[place]] : b->to;
}

/* The step to go on with after one that steers. */
static int steer(const sm_pipeline *p, const sm_rng *sample, int at) {
    const sm_step *s = &p->step[at];
    sm_rng own = sm_rng_stream(sample, (uint64_t)at);
    switch (s->kind) {
    case SM_STEP_SOMETIMES:
        return sm_rng_uniform(&own) < s->p ? at + 1 : s->u.branches.to;
    case SM_STEP_CHOICE:
        return s->u.branches.start[pick_branch(&s->u.branches, &own)];
    case SM_STEP_ORDER:
        return next_branch(p, sample, at, -1);
    case SM_STEP_NEXT:
        return next_branch(p, sample, s->u.branches.to, s->u.branches.branch);
    default:
        return s->u.branches.to;
    }
}

static sm_status check_input(const sm_picture *in, sm_error *err) {
    if ((in->dtype != SM_U8 && in->dtype != SM_F32) || in->c < 1 || in->h < 1 ||
        in->w < 1 || in->h > SM_PICTURE_SIDE || in->w > SM_PICTURE_SIDE ||
        in->h * in->w > INT32_MAX)
        return sm_fail(
            err, SM_EINVAL, 0,
            "augment: a picture is uint8 or float32 [C,H,W] with 1 to 2^20 pixels "
            "a side and fewer than 2^31 a channel, got %s [%lld,%lld,%lld]",
            sm_dtype_name(in->dtype), (long long)in->c, (long long)in->h,
            (long long)in->w);
    return SM_OK;
}

/* Not by an initialiser: the acts' room is large, and need not be cleared. */
static void start(sm_run *r, const sm_picture *in, bool dry, sm_scratch *scratch,
                  sm_error *err) {
    r->dry = dry;
    r->scratch = scratch;
    r->err = err;
    r->step = NULL;
    r->view = (sm_view){in->dtype,     in->c, in->h, in->w,
                        in->h * in->w, in->w, false, dry ? NULL : in->data};
    r->buffer = -1;
    r->act.kind = SM_ACT_NONE;
    r->act.holes = 0;
    r->dtype = in->dtype;
    r->c = in->c;
    r->h = in->h;
    r->w = in->w;
}

/* Runs from step *at to the end or to the next call. */
static sm_status walk(const sm_pipeline *p, const sm_key *key, sm_run *r, int *at,
                      int *call) {
    const sm_rng sample = sm_key_rng(key);
    *call = -1;
    /* A program of Compose, OneOf and so on passes each step once at most. */
    for (int count = 0; *at < p->n; count++) {
        const sm_step *s = &p->step[*at];
        if (count > p->n)
            return sm_fail(r->err, SM_EINVAL, 0, "augment: the steps never end");
        if (s->kind == SM_STEP_CALL) {
            *call = s->u.call;
            (*at)++;
            return SM_OK;
        }
        if (s->kind <= SM_STEP_JUMP) {
            *at = steer(p, &sample, *at);
            continue;
        }
        sm_rng own = sm_rng_stream(&sample, (uint64_t)*at);
        r->step = s->name;
        if (sm_rng_uniform(&own) < s->p) {
            sm_status status = sm_draw_step(r, s, &own);
            if (status != SM_OK)
                return status;
        }
        (*at)++;
    }
    return SM_OK;
}

static bool is_dense(const sm_view *v) {
    return !v->mirror && v->row == v->w && v->plane == v->h * v->w;
}

static sm_status finish(sm_run *r, sm_picture *out) {
    sm_picture made = {r->dtype, r->c, r->h, r->w, out->data};
    if (out->data &&
        (out->dtype != r->dtype || out->c != r->c || out->h != r->h || out->w != r->w))
        return sm_fail(r->err, SM_EINVAL, 0,
                       "augment: the steps give %s [%lld,%lld,%lld], expected %s "
                       "[%lld,%lld,%lld] as the others",
                       sm_dtype_name(r->dtype), (long long)r->c, (long long)r->h,
                       (long long)r->w, sm_dtype_name(out->dtype), (long long)out->c,
                       (long long)out->h, (long long)out->w);
    bool waits = r->act.kind != SM_ACT_NONE || r->act.holes > 0;
    if (waits || made.data || !is_dense(&r->view)) {
        sm_status status = sm_run_flush(r, made.data);
        if (status != SM_OK)
            return status;
    }
    made.data = r->view.data;
    *out = made;
    return SM_OK;
}

sm_status sm_pipeline_resume(const sm_pipeline *p, const sm_key *key, int *at, int *call,
                             const sm_picture *in, sm_picture *out, sm_scratch *scratch,
                             sm_error *err) {
    sm_status status = check_input(in, err);
    if (status != SM_OK)
        return status;
    sm_run r;
    start(&r, in, false, scratch, err);
    status = walk(p, key, &r, at, call);
    return status == SM_OK ? finish(&r, out) : status;
}

static sm_status refuse_calls(const sm_pipeline *p, sm_error *err) {
    if (p->calls)
        return sm_fail(
            err, SM_EINVAL, 0,
            "augment: a function of the script is among the steps; it runs on the "
            "script's own thread only");
    return SM_OK;
}

sm_status sm_pipeline_run(const sm_pipeline *p, const sm_key *key, const sm_picture *in,
                          sm_picture *out, sm_scratch *scratch, sm_error *err) {
    int at = 0, call;
    sm_status status = refuse_calls(p, err);
    return status == SM_OK ? sm_pipeline_resume(p, key, &at, &call, in, out, scratch, err)
                           : status;
}

sm_status sm_pipeline_shape(const sm_pipeline *p, const sm_key *key, const sm_picture *in,
                            sm_picture *out, sm_scratch *scratch, sm_error *err) {
    int at = 0, call;
    sm_status status = refuse_calls(p, err);
    if (status == SM_OK)
        status = check_input(in, err);
    if (status != SM_OK)
        return status;
    sm_run r;
    start(&r, in, true, scratch, err);
    status = walk(p, key, &r, &at, &call);
    *out = (sm_picture){r.dtype, r.c, r.h, r.w, NULL};
    return status;
}

/* ---- single warps ---- */

static sm_status warp_alone(const sm_picture *in, const sm_warp *w, sm_picture *out,
                            sm_scratch *scratch, sm_error *err) {
    sm_status status = check_input(in, err);
    if (status != SM_OK)
        return status;
    sm_run r;
    start(&r, in, false, scratch, err);
    r.step = "warp";
    if (w->fill.n != 1 && w->fill.n != in->c)
        return sm_fail(err, SM_EINVAL, 0,
                       "warp: fill must be one value, or one a channel");
    status = sm_run_warp(&r, w, out->h, out->w);
    return status == SM_OK ? finish(&r, out) : status;
}

sm_status sm_picture_map(const sm_picture *in, const double map[6], const sm_values *fill,
                         sm_picture *out, sm_scratch *scratch, sm_error *err) {
    sm_warp w = {.map = {[8] = 1}, .fill = *fill, .mode = SM_BILINEAR};
    memcpy(w.map, map, 6 * sizeof *map);
    return warp_alone(in, &w, out, scratch, err);
}

sm_status sm_picture_displace(const sm_picture *in, const float *field,
                              sm_interpolation mode, const sm_values *fill,
                              sm_picture *out, sm_scratch *scratch, sm_error *err) {
    const sm_warp w = {.map = {1, 0, 0, 0, 1, 0, 0, 0, 1},
                       .fill = *fill,
                       .mode = mode,
                       .displaced = true,
                       .field = field};
    return warp_alone(in, &w, out, scratch, err);
}
