/* pairs.h: sweeps over one row of a matrix of distances or similarities, as losses over
 * pairs and triplets need them. Written once (pairs_impl.h), compiled for each
 * instruction set.
 *
 * A row x [n] comes with marks w [n]: above 0 where the entry is a positive pair, below 0
 * where it is a negative one, and its size says how often; 0 where it is none. `sign` (1
 * or -1) picks the entries with sign * w > 0. A NaN among the picked ones reaches every
 * sum (but not `top`).
 */
#ifndef SM_KERNELS_PAIRS_H
#define SM_KERNELS_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

/* l(x - positive) for positive pairs and l(negative - x) for negative ones, where l(v) is
 * max(0, v), or max(0, v)^2 / 2 with `squared`. `scale`: what the slopes of the two are
 * multiplied by. */
typedef struct sm_hinges {
    float positive, negative, scale[2];
    bool squared;
} sm_hinges;

/* Triplets of one anchor and one positive at distance `near`, with all negatives of the
 * row: l(near - x + margin), where l(v) is max(0, v), or log(1 + exp(v)) with `soft`.
 * Only those with low < x - near <= high count. With a second row y the distance is the
 * smaller of x and y, and d is the gradient of y where `of_y` is set, else of x (of equal
 * ones each gets half). `times`: how often the positive counts. */
typedef struct sm_triplet_row {
    float near, margin, low, high, times, scale;
    bool soft, of_y;
} sm_triplet_row;

typedef struct sm_triplet_sums {
    float loss, count, active; /* active: how many of the losses are above 0 */
    float slope;               /* of `near`, with `scale` */
} sm_triplet_sums;

typedef struct sm_pair_kernels {
    /* w = 1 where the labels are `label`, else -1 */
    void (*mark)(float *w, const int64_t *labels, int64_t n, int64_t label);
    /* the largest scale * x of the picked entries; -infinity where there are none */
    float (*top)(const float *x, const float *w, int64_t n, float sign, float scale);
    /* sum of |w| exp(scale x + offset) over the picked entries */
    float (*exp_sum)(const float *x, const float *w, int64_t n, float sign, float scale,
                     float offset);
    /* d += factor |w| exp(scale x + offset) for the picked entries */
    void (*exp_add)(float *restrict d, const float *restrict x, const float *restrict w,
                    int64_t n, float sign, float scale, float offset, float factor);
    /* sum of |w|, and of |w| x, over the picked entries */
    float (*count)(const float *w, int64_t n, float sign);
    float (*total)(const float *x, const float *w, int64_t n, float sign);
    /* Losses and numbers of losses above 0, of positive and of negative pairs; d (or
     * NULL) gets the slopes added. */
    void (*hinges)(const sm_hinges *h, const float *x, const float *w, int64_t n,
                   float *d, float loss[2], float active[2]);
    /* d may be NULL; y too */
    sm_triplet_sums (*triplets)(const sm_triplet_row *t, const float *x, const float *y,
                                const float *w, int64_t n, float *d);
    /* Circle loss (Sun et al. 2020): z = slope (x - centre), with slope =
     * -gamma max(0, 1 + m - x) and centre 1 - m for positive pairs, gamma max(0, x + m)
     * and m for negative ones; 0 for others */
    void (*circle)(float *restrict z, float *restrict slope, const float *restrict x,
                   const float *restrict w, int64_t n, float m, float gamma);
    /* y [n] holds products a . b and gets the distances sqrt(a2 + b2 - 2 y), or their
     * squares, not below 0. Returns whether some are below `share` of a2 + b2. */
    bool (*euclidean)(float *y, const float *b2, int64_t n, float a2, float share,
                      bool squared);
    /* w = -dy / y (0 where y is), or -2 dy */
    void (*euclidean_slopes)(float *restrict w, const float *restrict dy,
                             const float *restrict y, int64_t n, bool squared);
    /* sum of |a - b|; d += g sign(a - b) */
    float (*manhattan)(const float *a, const float *b, int64_t n);
    void (*manhattan_add)(float *restrict d, const float *restrict a,
                          const float *restrict b, int64_t n, float g);
} sm_pair_kernels;

extern const sm_pair_kernels sm_pair_kernels__ref, sm_pair_kernels__avx2,
    sm_pair_kernels__avx512;
/* The table of the path in use. */
const sm_pair_kernels *sm_pair_kernels_table(void);

#endif
