/* roc.h: the receiver operating characteristic of a verifier that says "same" below a
 * distance.
 *
 * Pairs with equal distances cannot be told apart by any threshold, so they make one
 * point together (the diagonal segment that gives a tie half a point in the area: Mann
 * and Whitney's statistic). */
#ifndef SM_KERNELS_ROC_H
#define SM_KERNELS_ROC_H

#include <stdint.h>

typedef struct sm_scored {
    float distance;
    uint32_t same; /* 1 same, 0 different */
} sm_scored;

/* One threshold: pairs with distance <= threshold are called same. */
typedef struct sm_roc_point {
    double threshold;
    int64_t true_same, false_same; /* pairs called same that are, that are not */
} sm_roc_point;

/* Sorts `pairs` (n > 0, none NaN) by distance and fills `points`, room for n + 1: the
 * first has threshold -infinity and calls nothing same, the last calls everything same.
 * Returns how many. */
int64_t sm_roc_points(sm_scored *pairs, int64_t n, sm_roc_point *points);

/* Area under the curve of those points: the probability that a same pair has the smaller
 * distance, ties counting half. NaN unless both kinds occur. */
double sm_roc_area(const sm_roc_point *points, int64_t n);
/* The rate at which wrong rejections and wrong acceptances are equally frequent,
 * interpolated between points. NaN unless both kinds occur. */
double sm_roc_equal_error(const sm_roc_point *points, int64_t n);
/* The point with the most right answers (the first of equals). */
int64_t sm_roc_best(const sm_roc_point *points, int64_t n);

#endif
