/* roc.h: the curves of a verifier that says "same" up to a distance: the receiver
 * operating characteristic, and precision against recall.
 *
 * Pairs with equal distances cannot be told apart by any threshold, so they make one
 * point together (the diagonal segment that gives a tie half a point in the area: Mann
 * and Whitney's statistic). Points are walked, never stored, so that the pairs of tens of
 * thousands of pictures, all against all, need no more memory than themselves:
 *
 *     pairs = sm_scored_sort(pairs, scratch, n);
 *     sm_roc_point p = SM_ROC_START;
 *     for (int64_t at = 0; sm_roc_next(pairs, n, &at, &p);)
 *         ...
 */
#ifndef SM_KERNELS_ROC_H
#define SM_KERNELS_ROC_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct sm_scored {
    float distance; /* not NaN */
    uint32_t same;  /* 1 same, 0 different */
} sm_scored;

/* Sorts by distance, n pairs, with room for as many in `scratch`; returns the one of the
 * two that holds the result. Radix sort: no case is slow. */
sm_scored *sm_scored_sort(sm_scored *pairs, sm_scored *scratch, int64_t n);

/* One threshold: pairs with distance <= threshold are called same. */
typedef struct sm_roc_point {
    double threshold;
    int64_t true_same, false_same; /* pairs called same that are, that are not */
} sm_roc_point;

/* The point that calls nothing same. */
#define SM_ROC_START ((sm_roc_point){-INFINITY, 0, 0})

/* Moves p to the next point of sorted pairs, *at being the number of pairs that p calls
 * same; false, with p as it was, behind the last, which calls everything same. */
static inline bool sm_roc_next(const sm_scored *pairs, int64_t n, int64_t *at,
                               sm_roc_point *p) {
    int64_t i = *at;
    if (i >= n)
        return false;
    const float distance = pairs[i].distance;
    for (; i < n && pairs[i].distance == distance; i++) {
        p->true_same += pairs[i].same;
        p->false_same += 1 - pairs[i].same;
    }
    p->threshold = distance;
    *at = i;
    return true;
}

typedef struct sm_roc_summary {
    int64_t same, different; /* pairs that are */
    int64_t points;          /* of the curve, the first included */
    /* The probability that a same pair has the smaller distance, ties counting half; the
     * rate at which wrong rejections and wrong acceptances are equally frequent,
     * interpolated between points. NaN unless both kinds occur. */
    double area, equal_error;
    /* Sum of precision times the step in recall. NaN without same pairs. */
    double average_precision;
    sm_roc_point best; /* the most right answers (the first of equals) */
    double threshold;  /* between it and the next larger distance */
} sm_roc_summary;

/* Of n > 0 sorted pairs. */
sm_roc_summary sm_roc_summarise(const sm_scored *pairs, int64_t n);

/* The last point whose share of wrongly accepted different pairs is at most `rate`, and
 * in *threshold a number between it and the next larger distance. There must be a
 * different pair. */
sm_roc_point sm_roc_at_rate(const sm_scored *pairs, int64_t n, double rate,
                            double *threshold);

#endif
