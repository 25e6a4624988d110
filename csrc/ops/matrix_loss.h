/* matrix_loss.h: losses over the pairs or triplets of a batch, from the matrix of all its
 * distances d or similarities s.
 *
 * One op for all: whoever makes the matrix (by one product, mostly) decides what a
 * distance is and gets the gradient of every entry back. Rows are worked on by all
 * threads and their sums added in order, so any number of threads gives the same bits.
 * Nothing of the size of the list of triplets is ever made: they are walked as the
 * labels have them. Without a pair (or triplet) that counts, a loss is 0 and so is its
 * gradient.
 */
#ifndef SM_OPS_MATRIX_LOSS_H
#define SM_OPS_MATRIX_LOSS_H

#include "ops/op.h"

/* P: positive pairs (i, j), N: negative ones; P(i), N(i) those of row i. */
typedef enum sm_matrix_loss_kind {
    /* l(d - positive) over P and l(negative - d) over N, where l(v) is max(0, v), or
     * max(0, v)^2 / 2 with `squared` (Hadsell, Chopra, LeCun 2006, eq. 4); the two means
     * are taken apart and added. Items: pairs. */
    SM_CONTRASTIVE,
    /* max(0, d_ap - beta + margin) + max(0, beta - d_an + margin) over triplets (Wu et
     * al. 2017, section 4), with a beta for all or one a label, and nu beta added
     * (its regularisation). Items: rows. */
    SM_MARGIN,
    /* l(d_ap - d_an + margin) over triplets, where l(v) is max(0, v), or log(1 + exp(v))
     * with `soft`; those with low < d_an - d_ap <= high. `swap`: the smaller of d_an and
     * d_pn. Items: rows, each the sum over its triplets. */
    SM_TRIPLET,
    /* max(0, d_ij + log(sum over N(i) and N(j) of exp(margin - d)))^2 / 2 over P (Song et
     * al. 2016, eq. 4). Items: pairs. */
    SM_LIFTED,
    /* log(1 + sum over N(i) of exp((s_ik - s_ij) / temperature)) over P (Chen et al.
     * 2020, eq. 1). Items: pairs. */
    SM_NTXENT,
    /* log sum over P(i) and N(i) of exp(s_ik / temperature) - mean over P(i) of s_ij /
     * temperature (Khosla et al. 2020, eq. 2). Items: rows. */
    SM_SUPCON,
    /* log(1 + sum over P(i) of exp(-scale (s - positive))) / scale, and the same over
     * N(i) with scale and sign of its own (Wang et al. 2019, eq. 15). With `apart` the
     * two are not divided by their scales, and the first one's mean is over rows that
     * have a positive (Kim et al. 2020, eq. 4). Items: rows. */
    SM_MULTI_SIMILARITY,
    /* log(1 + sum over N(i) of exp(gamma a_n (s - m)) sum over P(i) of exp(-gamma a_p (s
     * - 1 + m))) with a_n = max(0, s + m) and a_p = max(0, 1 + m - s), which get no
     * gradient (Sun et al. 2020, section 3). Items: rows that have both. */
    SM_CIRCLE,
    /* log(1 + sum over n of exp(4 t (s_an + s_pn) - 2 (1 + t) s_ap)) over P, with t =
     * tan^2 of the angle `alpha` and n over columns of another label than a (Wang et al.
     * 2017, section 3). Items: pairs. */
    SM_ANGULAR,
    SM_MATRIX_LOSS_COUNT
} sm_matrix_loss_kind;

typedef enum sm_pair_reduction {
    SM_PAIRS_MEAN,         /* over the items */
    SM_PAIRS_MEAN_NONZERO, /* over the items above 0 */
    SM_PAIRS_SUM,
    SM_PAIRS_NONE /* [n,m] (0 where there is no pair), or [n] */
} sm_pair_reduction;

/* Operands; all but the matrix may be absent where the kind does not need them. */
enum {
    SM_LOSS_MATRIX, /* float32 [n,m] */
    SM_LOSS_LABELS, /* what pairset.h takes */
    SM_LOSS_REF_LABELS,
    SM_LOSS_LISTS,
    SM_LOSS_OTHER =
        SM_LOSS_LISTS + 4, /* [m,m] of columns against columns: angular, swap */
    SM_LOSS_BETA,          /* [1] or [labels]: margin */
    SM_LOSS_WEIGHTS, /* [m], a column's weight in sums of exponentials: multi-similarity
                      */
    SM_LOSS_OPERANDS
};

typedef struct sm_matrix_loss_params {
    sm_matrix_loss_kind kind;
    sm_pair_reduction reduction;
    int64_t own; /* the column that is row 0 itself, or -1; see pairset.h */
    float positive, negative;
    float scale_positive, scale_negative;
    float margin, temperature, gamma, nu, alpha, low, high;
    bool squared, soft, swap, apart;
} sm_matrix_loss_params;

extern const sm_op sm_op_matrix_loss;
/* "contrastive", "ntxent", ...; -1 for a name that is none. */
int sm_matrix_loss_by_name(const char *name);

#endif
