/* optim.c: see optim.h. Parameters are cut into blocks of a fixed size; a list of blocks
 * is what the threads share, so that one large layer and many small ones both spread
 * well. */
#include "ops/optim.h"

#include <math.h>

#include "base/pool.h"

enum { BLOCK = 16384 };

/* Visits elements [first, first + n) of slot number `slot`. */
typedef void (*block_fn)(const void *rule, const sm_optim_slot *slot, int64_t first,
                         int64_t n);

typedef struct sweep {
    block_fn fn;
    const void *rule;
    const sm_optim_slot *slots;
    int64_t count;
} sweep;

static int64_t blocks_of(const sm_optim_slot *slot) {
    return (sm_tensor_numel(slot->param) + BLOCK - 1) / BLOCK;
}

static void run_blocks(void *context, int64_t begin, int64_t end, int thread) {
    const sweep *s = context;
    int64_t at = 0; /* number of the slot's first block */
    (void)thread;
    for (int64_t i = 0; i < s->count && at < end; i++) {
        int64_t blocks = blocks_of(&s->slots[i]),
                numel = sm_tensor_numel(s->slots[i].param);
        for (int64_t b = begin > at ? begin - at : 0; b < blocks && at + b < end; b++) {
            int64_t first = b * BLOCK, left = numel - first;
            s->fn(s->rule, &s->slots[i], first, left < BLOCK ? left : BLOCK);
        }
        at += blocks;
    }
}

static void run(block_fn fn, const void *rule, const sm_optim_slot *slots,
                int64_t count) {
    sweep s = {fn, rule, slots, count};
    int64_t blocks = 0;
    for (int64_t i = 0; i < count; i++)
        blocks += blocks_of(&slots[i]);
    sm_parallel_for(blocks, 1, run_blocks, &s);
    for (int64_t i = 0; i < count; i++)
        slots[i].param->storage->version++;
}

static void sgd_block(const void *rule, const sm_optim_slot *slot, int64_t first,
                      int64_t n) {
    const sm_sgd o = *(const sm_sgd *)rule;
    float *restrict w = sm_f32(slot->param) + first;
    const float *restrict g = sm_f32(slot->grad) + first;
    if (!slot->m) {
        for (int64_t i = 0; i < n; i++)
            w[i] -= o.lr * (g[i] + o.weight_decay * w[i]);
        return;
    }
    float *restrict m = sm_f32(slot->m) + first;
    const float keep = slot->step == 1 ? 0 : o.momentum,
                take = slot->step == 1 ? 1 : 1 - o.dampening;
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] + o.weight_decay * w[i];
        m[i] = keep * m[i] + take * d;
        w[i] -= o.lr * (o.nesterov ? d + o.momentum * m[i] : m[i]);
    }
}

void sm_sgd_step(const sm_sgd *o, const sm_optim_slot *slots, int64_t count) {
    run(sgd_block, o, slots, count);
}

/* The constants of one step, worked out once. */
typedef struct adam_rule {
    float beta1, beta2, one_minus1, one_minus2, decay, shrink, eps;
} adam_rule;

static void adam_block(const void *rule, const sm_optim_slot *slot, int64_t first,
                       int64_t n) {
    const adam_rule r = *(const adam_rule *)rule;
    float *restrict w = sm_f32(slot->param) + first;
    const float *restrict g = sm_f32(slot->grad) + first;
    float *restrict m = sm_f32(slot->m) + first, *restrict v = sm_f32(slot->v) + first;
    const float step_size = slot->step_size, root_scale = slot->root_scale;
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] + r.decay * w[i];
        m[i] = r.beta1 * m[i] + r.one_minus1 * d;
        v[i] = r.beta2 * v[i] + r.one_minus2 * d * d;
        w[i] = w[i] * r.shrink - step_size * m[i] / (sqrtf(v[i]) * root_scale + r.eps);
    }
}

void sm_adam_step(const sm_adam *o, sm_optim_slot *slots, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double step = (double)slots[i].step;
        slots[i].step_size = (float)(o->lr / (1 - pow(o->beta1, step)));
        slots[i].root_scale = (float)(1 / sqrt(1 - pow(o->beta2, step)));
    }
    adam_rule r = {.beta1 = (float)o->beta1,
                   .beta2 = (float)o->beta2,
                   .one_minus1 = (float)(1 - o->beta1),
                   .one_minus2 = (float)(1 - o->beta2),
                   .decay = o->decoupled ? 0 : (float)o->weight_decay,
                   .shrink = o->decoupled ? (float)(1 - o->lr * o->weight_decay) : 1,
                   .eps = (float)o->eps};
    run(adam_block, &r, slots, count);
}

static void lerp_block(const void *rule, const sm_optim_slot *slot, int64_t first,
                       int64_t n) {
    const float weight = *(const float *)rule;
    float *restrict w = sm_f32(slot->param) + first;
    const float *restrict to = sm_f32(slot->grad) + first;
    for (int64_t i = 0; i < n; i++)
        w[i] += weight * (to[i] - w[i]);
}

void sm_lerp_step(double weight, const sm_optim_slot *slots, int64_t count) {
    const float w = (float)weight;
    run(lerp_block, &w, slots, count);
}

double sm_grad_norm(const sm_optim_slot *slots, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const float *g = sm_f32(slots[i].grad);
        for (int64_t k = 0, n = sm_tensor_numel(slots[i].grad); k < n; k++)
            sum += (double)g[k] * g[k];
    }
    return sqrt(sum);
}
