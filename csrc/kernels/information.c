/* information.c: see information.h. Entropies are sums over the runs of sorted labels. */
#include "kernels/information.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static int order(int64_t x, int64_t y) {
    return (x > y) - (x < y);
}

static int by_a(const void *p, const void *q) {
    const sm_labelled *x = p, *y = q;
    return x->a != y->a ? order(x->a, y->a) : order(x->b, y->b);
}

static int by_b(const void *p, const void *q) {
    return order(((const sm_labelled *)p)->b, ((const sm_labelled *)q)->b);
}

typedef bool (*equal_fn)(const sm_labelled *x, const sm_labelled *y);

static bool equal_a(const sm_labelled *x, const sm_labelled *y) {
    return x->a == y->a;
}

static bool equal_b(const sm_labelled *x, const sm_labelled *y) {
    return x->b == y->b;
}

static bool equal_both(const sm_labelled *x, const sm_labelled *y) {
    return x->a == y->a && x->b == y->b;
}

static double entropy(const sm_labelled *things, int64_t n, equal_fn equal) {
    double sum = 0;
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && equal(&things[i], &things[end]);)
            end++;
        double share = (double)(end - i) / (double)n;
        sum -= share * log(share);
    }
    return sum;
}

sm_information sm_information_of(sm_labelled *things, int64_t n) {
    sm_information info;
    qsort(things, (size_t)n, sizeof *things, by_a);
    info.a = entropy(things, n, equal_a);
    double both = entropy(things, n, equal_both);
    qsort(things, (size_t)n, sizeof *things, by_b);
    info.b = entropy(things, n, equal_b);
    info.mutual = info.a + info.b - both;
    if (info.mutual < 16 * DBL_EPSILON * (1 + info.a + info.b))
        info.mutual = 0;
    return info;
}
