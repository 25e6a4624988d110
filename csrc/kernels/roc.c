/* roc.c: see roc.h; Fawcett, "An introduction to ROC analysis", 2006, algorithms 1 and 2.
 */
#include "kernels/roc.h"

#include <stdlib.h>
#include <string.h>

enum { DIGIT = 11, PASSES = 3, BUCKETS = 1 << DIGIT };

/* A number that sorts as the float does; -0 and 0 are one. */
static uint32_t key_of(float distance) {
    uint32_t bits;
    distance += 0.0f;
    memcpy(&bits, &distance, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static void count_digits(const sm_scored *pairs, int64_t n,
                         int64_t counts[PASSES][BUCKETS]) {
    memset(counts, 0, PASSES * sizeof *counts);
    for (int64_t i = 0; i < n; i++) {
        uint32_t key = key_of(pairs[i].distance);
        for (int pass = 0; pass < PASSES; pass++)
            counts[pass][key >> (DIGIT * pass) & (BUCKETS - 1)]++;
    }
}

static int by_distance(const void *a, const void *b) {
    float x = ((const sm_scored *)a)->distance, y = ((const sm_scored *)b)->distance;
    return (x > y) - (x < y);
}

sm_scored *sm_scored_sort(sm_scored *pairs, sm_scored *scratch, int64_t n) {
    int64_t counts[PASSES][BUCKETS];
    if (n < BUCKETS / 2) {
        qsort(pairs, (size_t)n, sizeof *pairs, by_distance);
        return pairs;
    }
    count_digits(pairs, n, counts);
    for (int pass = 0; pass < PASSES; pass++) {
        int64_t *place = counts[pass], at = 0;
        for (int b = 0; b < BUCKETS; b++) {
            int64_t count = place[b];
            place[b] = at;
            at += count;
        }
        for (int64_t i = 0; i < n; i++) {
            uint32_t key = key_of(pairs[i].distance);
            scratch[place[key >> (DIGIT * pass) & (BUCKETS - 1)]++] = pairs[i];
        }
        sm_scored *sorted = scratch;
        scratch = pairs;
        pairs = sorted;
    }
    return pairs;
}

/* Between a point and the next larger distance, pairs[next] if there is one, so that
 * rounding cannot flip a pair. */
static double middle(const sm_scored *pairs, int64_t n, double low, int64_t next) {
    if (next == n)
        return low;
    double high = pairs[next].distance;
    double half = isinf(low)    ? nextafterf((float)high, -INFINITY)
                  : isinf(high) ? low
                                : low + (high - low) / 2;
    return (float)half < (float)high ? half : low;
}

/* Where rejections, falling, cross acceptances, rising: between the points p and q. */
static double crossing(sm_roc_point p, sm_roc_point q, double same, double different) {
    double reject = 1 - (double)p.true_same / same,
           reject_next = 1 - (double)q.true_same / same;
    double gap = reject - (double)p.false_same / different,
           gap_next = reject_next - (double)q.false_same / different;
    return gap_next > 0 ? NAN : reject + (reject_next - reject) * gap / (gap - gap_next);
}

static void count_kinds(const sm_scored *pairs, int64_t n, sm_roc_summary *s) {
    for (int64_t i = 0; i < n; i++)
        s->same += pairs[i].same;
    s->different = n - s->same;
}

sm_roc_summary sm_roc_summarise(const sm_scored *pairs, int64_t n) {
    sm_roc_summary s = {.points = 1, .equal_error = NAN, .best = SM_ROC_START};
    sm_roc_point p = SM_ROC_START, q = p;
    int64_t after_best = 0;
    double area = 0, precision = 0;
    count_kinds(pairs, n, &s);
    const double same = (double)s.same, different = (double)s.different;
    for (int64_t at = 0; sm_roc_next(pairs, n, &at, &q); p = q, s.points++) {
        double step = (double)(q.true_same - p.true_same);
        area += (double)(q.false_same - p.false_same) *
                (double)(q.true_same + p.true_same) * 0.5;
        precision += step * (double)q.true_same / (double)(q.true_same + q.false_same);
        if (isnan(s.equal_error) && s.same && s.different)
            s.equal_error = crossing(p, q, same, different);
        if (q.true_same - q.false_same > s.best.true_same - s.best.false_same) {
            s.best = q;
            after_best = at;
        }
    }
    s.area = s.same && s.different ? area / (same * different) : NAN;
    s.average_precision = s.same ? precision / same : NAN;
    s.threshold = middle(pairs, n, s.best.threshold, after_best);
    return s;
}

sm_roc_point sm_roc_at_rate(const sm_scored *pairs, int64_t n, double rate,
                            double *threshold) {
    sm_roc_summary s = {0};
    sm_roc_point p = SM_ROC_START, last = p;
    int64_t after = 0;
    count_kinds(pairs, n, &s);
    for (int64_t at = 0; sm_roc_next(pairs, n, &at, &p); last = p, after = at)
        if (!((double)p.false_same / (double)s.different <= rate))
            break;
    *threshold = middle(pairs, n, last.threshold, after);
    return last;
}
