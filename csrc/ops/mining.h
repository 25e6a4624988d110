/* mining.h: which pairs or triplets of a batch are worth a loss, from the matrix of its
 * distances (or similarities, where it says so). No gradients come through here.
 *
 * Mining is two passes over the rows, on all threads: the first counts, so that the
 * caller can make the lists, the second writes them. Entries come in the order of rows.
 * Random ones are draws of a counter, so that any number of threads gives the same.
 *
 *     sm_mining mining = {0};
 *     status = sm_mining_open(&source, matrix, other, &params, &mining, err);
 *     ... lists of mining.total[0] (and total[1]) numbers ...
 *     sm_mining_fill(&mining, lists);
 *     sm_mining_close(&mining);
 */
#ifndef SM_OPS_MINING_H
#define SM_OPS_MINING_H

#include "base/rng.h"
#include "kernels/pairs.h"
#include "ops/pairset.h"

typedef enum sm_mine_kind {
    /* Pairs: of each row one positive and one negative, or all of a kind. Rows that lack
     * what is asked for are left out (Hermans, Beyer, Leibe 2017; Xuan et al. 2020). */
    SM_MINE_EASY_HARD,
    /* Triplets with low < d_an - d_ap <= high (Schroff, Kalenichenko, Philbin 2015). */
    SM_MINE_TRIPLETS,
    /* Pairs; the matrix holds similarities: positives below the row's best negative plus
     * epsilon, negatives above its worst positive minus epsilon (Wang et al. 2019). */
    SM_MINE_SIMILAR,
    /* Pairs: positives with d > positive, negatives with d < negative. */
    SM_MINE_MARGINS,
    /* Triplets; matrix and other hold cosines: those whose angle at n, as Wang et al.
     * 2017 define it (section 3), is above that with tangent `tangent`. */
    SM_MINE_ANGLES,
    /* Triplets; the matrix holds distances of unit vectors in `size` dimensions: for each
     * positive pair a negative, drawn with a weight inverse to how often random points
     * have that distance (Wu et al. 2017, section 4). */
    SM_MINE_WEIGHTED,
    /* Pairs: `each` draws from each of `bins` equal intervals between the smallest and
     * the largest distance, positive and negative pairs by themselves. */
    SM_MINE_HISTOGRAM,
    SM_MINE_COUNT
} sm_mine_kind;

typedef enum sm_mine_choice {
    SM_CHOOSE_HARD,
    SM_CHOOSE_SEMIHARD, /* the hardest that the other choice allows */
    SM_CHOOSE_EASY,
    SM_CHOOSE_ALL
} sm_mine_choice;

typedef struct sm_mine_params {
    sm_mine_kind kind;
    sm_mine_choice choice[2]; /* of positives, of negatives */
    float range[2][2];        /* distances that may be chosen */
    float low, high;          /* triplets */
    float positive, negative; /* margins */
    float epsilon, tangent;
    float cutoff,
        zero_cutoff;       /* weighted: distances below count as cutoff; weigh nothing */
    int64_t size;          /* weighted: the dimension of the space */
    int64_t bins, each[2]; /* histogram */
    sm_rng rng;
} sm_mine_params;

typedef struct sm_mining {
    sm_mine_params p;
    const sm_pair_kernels *k;
    sm_pairs pairs;
    sm_tensor *held[2];
    const float *x, *other; /* [n,m], [m,m] */
    int64_t *counts;        /* [n,2]: entries of a row; then where they begin */
    int64_t total[2];
    char *spaces;
    size_t space;
    /* histogram: the bounds, and [2][n + 1][bins] of pairs in the rows before */
    float bound[2][2];
    int64_t *before;
} sm_mining;

/* Whether the kind gives triplets (three lists), not pairs (four). */
bool sm_mines_triplets(sm_mine_kind kind);
/* Checks and counts. `other` may be NULL where the kind does not read it. */
sm_status sm_mining_open(const sm_pair_source *source, sm_tensor *matrix,
                         sm_tensor *other, const sm_mine_params *p, sm_mining *mining,
                         sm_error *err);
/* Writes numbers from 1: a, p, n of total[0] triplets, or a1, p of total[0] and a2, n of
 * total[1] pairs. */
void sm_mining_fill(const sm_mining *mining, int64_t *const lists[4]);
/* Draws that filling took from the counter. */
uint64_t sm_mining_draws(const sm_mining *mining);
/* May be called twice, and on zeros. */
void sm_mining_close(sm_mining *mining);

/* Numbers the labels [n] that occur from 1, in the order of their first rows: ids [n],
 * ranks [n] (how many-th of its class a row is, from 1); *classes their number. */
sm_status sm_group_labels(const int64_t *labels, int64_t n, int64_t *ids, int64_t *ranks,
                          int64_t *classes, sm_error *err);
/* Of each class one pair (first[c], second[c]), numbers from 1, or 0 where it has none:
 * the first of the `count` listed pairs (a, p) whose anchor is of the class, or, with a
 * NULL, the class' first two of n rows. */
void sm_first_pairs(const int64_t *ids, int64_t classes, const int64_t *a,
                    const int64_t *p, int64_t count, int64_t *first, int64_t *second);

#endif
