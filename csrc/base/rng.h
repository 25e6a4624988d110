/* rng.h: a counter-based random number generator, Philox4x32-10 (Salmon, Moraes, Dror,
 * Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * Draw i of a generator is a pure function of its key and of counter + i, so that a batch
 * can be filled by any number of threads with the same result, a sample can have a stream
 * of its own, and the whole state is two integers that can be saved.
 */
#ifndef SM_BASE_RNG_H
#define SM_BASE_RNG_H

#include <stdint.h>

typedef struct sm_rng {
    uint64_t key;
    uint64_t counter;
} sm_rng;

void sm_rng_seed(sm_rng *rng, uint64_t seed);
/* An independent generator for item `stream` of this one (a sample, an epoch); `rng` does
 * not move. */
sm_rng sm_rng_stream(const sm_rng *rng, uint64_t stream);
/* The four words of block `counter`. */
void sm_rng_block(uint64_t key, uint64_t counter, uint32_t out[4]);

/* Scalar draws; each moves the counter by one. */
uint64_t sm_rng_u64(sm_rng *rng);
/* Uniform in [0, 1), 53 bits. */
double sm_rng_uniform(sm_rng *rng);
/* Standard normal (Box and Muller 1958). */
double sm_rng_normal(sm_rng *rng);
/* Uniform integer in [0, n), unbiased (Lemire 2019, rejection); n > 0. */
uint64_t sm_rng_below(sm_rng *rng, uint64_t n);

/* Fills of n floats, on all threads; the counter moves by (n + 3) / 4. */
void sm_rng_fill_uniform(sm_rng *rng, float *out, int64_t n, float low, float high);
void sm_rng_fill_normal(sm_rng *rng, float *out, int64_t n, float mean, float std);

#endif
