/* rng.c: Philox4x32-10. See rng.h; the constants are those of the paper's section 3.3 and
 * of Random123. */
#include "base/rng.h"

#include <math.h>

#include "base/pool.h"

static uint64_t splitmix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void sm_rng_seed(sm_rng *rng, uint64_t seed) {
    rng->key = splitmix(seed);
    rng->counter = 0;
}

sm_rng sm_rng_stream(const sm_rng *rng, uint64_t stream) {
    sm_rng s = {splitmix(rng->key ^ splitmix(rng->counter) ^ splitmix(~stream)), 0};
    return s;
}

void sm_rng_block(uint64_t key, uint64_t counter, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t sm_rng_u64(sm_rng *rng) {
    uint32_t w[4];
    sm_rng_block(rng->key, rng->counter++, w);
    return (uint64_t)w[1] << 32 | w[0];
}

double sm_rng_uniform(sm_rng *rng) {
    return (double)(sm_rng_u64(rng) >> 11) * 0x1p-53;
}

double sm_rng_normal(sm_rng *rng) {
    uint32_t w[4];
    sm_rng_block(rng->key, rng->counter++, w);
    double u = ((double)w[0] + 1) * 0x1p-32, v = (double)w[1] * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

uint64_t sm_rng_below(sm_rng *rng, uint64_t n) {
    uint64_t low = -n % n; /* 2^64 mod n: draws below it would be over-represented */
    uint64_t x;
    do
        x = sm_rng_u64(rng);
    while (x < low);
    return x % n;
}

typedef struct fill {
    uint64_t key, counter;
    float *out;
    int64_t n;
    float a, b; /* low and range, or mean and standard deviation */
} fill;

static void fill_uniform(void *context, int64_t begin, int64_t end, int thread) {
    const fill *f = context;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        uint32_t w[4];
        sm_rng_block(f->key, f->counter + (uint64_t)block, w);
        for (int64_t j = 0, i = 4 * block; j < 4 && i < f->n; j++, i++)
            f->out[i] = f->a + f->b * ((float)(w[j] >> 8) * 0x1p-24f);
    }
}

static void fill_normal(void *context, int64_t begin, int64_t end, int thread) {
    const fill *f = context;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        uint32_t w[4];
        float z[4];
        sm_rng_block(f->key, f->counter + (uint64_t)block, w);
        for (int j = 0; j < 4; j += 2) {
            float radius = sqrtf(-2 * logf(((float)(w[j] >> 8) + 1) * 0x1p-24f));
            float angle = (float)(2 * M_PI) * ((float)(w[j + 1] >> 8) * 0x1p-24f);
            z[j] = radius * cosf(angle);
            z[j + 1] = radius * sinf(angle);
        }
        for (int64_t j = 0, i = 4 * block; j < 4 && i < f->n; j++, i++)
            f->out[i] = f->a + f->b * z[j];
    }
}

static void run_fill(sm_rng *rng, fill f, sm_range_fn fn) {
    int64_t blocks = f.n / 4 + (f.n % 4 != 0);
    f.key = rng->key;
    f.counter = rng->counter;
    sm_parallel_for(blocks, 2048, fn, &f);
    rng->counter += (uint64_t)blocks;
}

void sm_rng_fill_uniform(sm_rng *rng, float *out, int64_t n, float low, float high) {
    run_fill(rng, (fill){.out = out, .n = n, .a = low, .b = high - low}, fill_uniform);
}

void sm_rng_fill_normal(sm_rng *rng, float *out, int64_t n, float mean, float std) {
    run_fill(rng, (fill){.out = out, .n = n, .a = mean, .b = std}, fill_normal);
}
