/* roc.c: see roc.h; Fawcett, "An introduction to ROC analysis", 2006, algorithms 1 and 2.
 */
#include "kernels/roc.h"

#include <math.h>
#include <stdlib.h>

static int by_distance(const void *a, const void *b) {
    float x = ((const sm_scored *)a)->distance, y = ((const sm_scored *)b)->distance;
    return (x > y) - (x < y);
}

int64_t sm_roc_points(sm_scored *pairs, int64_t n, sm_roc_point *points) {
    qsort(pairs, (size_t)n, sizeof *pairs, by_distance);
    int64_t count = 1;
    points[0] = (sm_roc_point){-INFINITY, 0, 0};
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || pairs[i].distance != pairs[i - 1].distance) {
            points[count] = points[count - 1];
            points[count++].threshold = pairs[i].distance;
        }
        points[count - 1].true_same += pairs[i].same;
        points[count - 1].false_same += 1 - pairs[i].same;
    }
    return count;
}

double sm_roc_area(const sm_roc_point *points, int64_t n) {
    const double same = (double)points[n - 1].true_same,
                 other = (double)points[n - 1].false_same;
    double area = 0;
    for (int64_t i = 1; i < n; i++)
        area += (double)(points[i].false_same - points[i - 1].false_same) *
                (double)(points[i].true_same + points[i - 1].true_same) * 0.5;
    return same > 0 && other > 0 ? area / (same * other) : NAN;
}

double sm_roc_equal_error(const sm_roc_point *points, int64_t n) {
    const double same = (double)points[n - 1].true_same,
                 other = (double)points[n - 1].false_same;
    if (same == 0 || other == 0)
        return NAN;
    /* The gap, rejections minus acceptances, falls from 1 at the first point to -1 at the
     * last. */
    double gap_before = 1, reject_before = 1, gap, reject;
    for (const sm_roc_point *point = points + 1;; point++) {
        reject = 1 - (double)point->true_same / same;
        gap = reject - (double)point->false_same / other;
        if (gap <= 0)
            break;
        gap_before = gap;
        reject_before = reject;
    }
    return reject_before + (reject - reject_before) * gap_before / (gap_before - gap);
}

int64_t sm_roc_best(const sm_roc_point *points, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (points[i].true_same - points[i].false_same >
            points[best].true_same - points[best].false_same)
            best = i;
    return best;
}
