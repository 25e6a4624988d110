/* pairset.h: which pairs or triplets of a batch a loss or a miner looks at.
 *
 * They are entries of a matrix of n rows (the batch) by m columns (the batch again, or a
 * set of references). Either the labels decide: entry (i, j) is positive where row i and
 * column j have one label, else negative, and a row's own column is none. Or lists do:
 * pairs (a1, p), (a2, n), or triplets (a, p, n), which stand for the pairs (a, p) and
 * (a, n). What is listed twice counts twice.
 *
 *     sm_pairs pairs;
 *     status = sm_pairs_open(&source, &pairs, err);
 *     sm_pairs_row(&pairs, i, false, w);           // marks, as kernels/pairs.h has them
 *     sm_pairs_close(&pairs);
 */
#ifndef SM_OPS_PAIRSET_H
#define SM_OPS_PAIRSET_H

#include "tensor/tensor.h"

/* What the pairs come from. */
typedef struct sm_pair_source {
    const char *name; /* of the op, as messages begin */
    int64_t n, m;
    int64_t own; /* the column that is row 0 itself; row i's is (own + i) % m; -1: none */
    sm_tensor *labels,
        *ref_labels;     /* int64 [n] and [m]; ref_labels NULL: the same labels */
    sm_tensor *lists[4]; /* int64 [K] from 1; all NULL, three, or four */
    int first_operand;   /* numbers of labels, ref_labels and the lists in errors */
} sm_pair_source;

typedef struct sm_pairs {
    const char *name;
    int64_t n, m, own;
    const int64_t *labels, *ref_labels; /* NULL where there are none */
    bool listed, triplets;
    bool any_positive, any_negative;
    /* Lists by row: columns at positive[positive_begin[i]] up to positive_begin[i + 1].
     * Entries of triplets go together. `back` are the rows by positive column, and
     * `back_negative` (triplets only) the negatives that go with them. */
    int64_t *positive_begin, *positive, *negative_begin, *negative;
    int64_t *back_begin, *back, *back_negative;
    int64_t *block;
    sm_tensor *held[6];
} sm_pairs;

/* Checks the shapes (for an op's check), */
sm_status sm_pair_source_check(const sm_pair_source *s, sm_error *err);
/* and opens them: checks the values, sorts lists by their rows. sm_pairs_close gives the
 * memory back (after a failure there is none). */
sm_status sm_pairs_open(const sm_pair_source *s, sm_pairs *p, sm_error *err);
void sm_pairs_close(sm_pairs *p);

/* Marks w [m] of row i; with `once`, what is listed often is 1 or -1 as well. */
void sm_pairs_row(const sm_pairs *p, int64_t i, bool once, float *w);
/* The positive columns of row i; *list points to them, in `space` [m] or in the lists. */
int64_t sm_pairs_positives(const sm_pairs *p, int64_t i, int64_t *space,
                           const int64_t **list);
/* The rows to which column j is positive; `space` is [n]. */
int64_t sm_pairs_anchors(const sm_pairs *p, int64_t j, int64_t *space,
                         const int64_t **list);
/* Is column j row i itself? */
static inline bool sm_pairs_is_own(const sm_pairs *p, int64_t i, int64_t j) {
    return p->own >= 0 && p->m > 0 && (p->own + i) % p->m == j;
}

#endif
