/* calibrate.c: see calibrate.h. */
#include "kernels/calibrate.h"

#include <math.h>

/* ---- Platt ---- */

enum { MOST_STEPS = 100 };

/* Distances are shifted and scaled to mean 0 and deviation 1, so that units don't matter
 * to the search. */
typedef struct platt {
    const sm_scored *pairs;
    int64_t n;
    double shift, scale;
    double target[2]; /* of different and of same pairs */
} platt;

static platt standardise(const sm_scored *pairs, int64_t n) {
    platt p = {pairs, n, 0, 1, {0, 0}};
    double sum = 0, squares = 0;
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += pairs[i].distance;
        same += pairs[i].same;
    }
    p.shift = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (pairs[i].distance - p.shift) * (pairs[i].distance - p.shift);
    double deviation = sqrt(squares / (double)n);
    p.scale = deviation > 0 ? deviation : 1;
    p.target[1] = ((double)same + 1) / ((double)same + 2);
    p.target[0] = 1 / ((double)(n - same) + 2);
    return p;
}

static double place_of(const platt *p, int64_t i) {
    return (p->pairs[i].distance - p->shift) / p->scale;
}

/* The negative log likelihood, in the forms that cannot overflow (ibid., equation 9). */
static double loss(const platt *p, double a, double b) {
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        double t = p->target[p->pairs[i].same], f = a * place_of(p, i) + b;
        sum += f >= 0 ? t * f + log1p(exp(-f)) : (t - 1) * f + log1p(exp(f));
    }
    return sum;
}

/* Gradient and Hessian of the loss. */
typedef struct slope {
    double ga, gb, aa, ab, bb;
} slope;

static slope slope_at(const platt *p, double a, double b) {
    slope s = {0, 0, 1e-12, 0, 1e-12}; /* sigma: the Hessian stays invertible */
    for (int64_t i = 0; i < p->n; i++) {
        double x = place_of(p, i), f = a * x + b, e = exp(-fabs(f));
        double same = f >= 0 ? e / (1 + e) : 1 / (1 + e),
               weight = e / ((1 + e) * (1 + e));
        double gap = p->target[p->pairs[i].same] - same;
        s.ga += x * gap;
        s.gb += gap;
        s.aa += x * x * weight;
        s.ab += x * weight;
        s.bb += weight;
    }
    return s;
}

void sm_platt_fit(const sm_scored *pairs, int64_t n, double *a, double *b) {
    const platt p = standardise(pairs, n);
    double slope_a = 0, at_b = 0, value;
    for (int64_t i = 0; i < n; i++) /* log((different + 1) / (same + 1)) to begin with */
        at_b += pairs[i].same;
    at_b = log(((double)n - at_b + 1) / (at_b + 1));
    value = loss(&p, 0, at_b);
    for (int step = 0; step < MOST_STEPS; step++) {
        slope s = slope_at(&p, slope_a, at_b);
        if (fabs(s.ga) < 1e-9 * (double)n && fabs(s.gb) < 1e-9 * (double)n)
            break;
        double det = s.aa * s.bb - s.ab * s.ab;
        double da = -(s.bb * s.ga - s.ab * s.gb) / det,
               db = -(s.aa * s.gb - s.ab * s.ga) / det;
        double descent = s.ga * da + s.gb * db, length = 1, next = value;
        for (; length >= 1e-10; length /= 2) {
            next = loss(&p, slope_a + length * da, at_b + length * db);
            if (next < value + 1e-4 * length * descent)
                break;
        }
        if (length < 1e-10)
            break; /* as good as doubles can say */
        slope_a += length * da;
        at_b += length * db;
        value = next;
    }
    *a = slope_a / p.scale;
    *b = at_b - slope_a * p.shift / p.scale;
}

/* ---- isotonic ---- */

/* While fitting, a step is two knots: its first distance with the sum of `same`, its last
 * with the number of pairs. */
static void pool(sm_knot *steps, int64_t *count) {
    while (*count >= 2) {
        sm_knot *before = steps + 2 * (*count - 2), *last = before + 2;
        if (before[0].y * last[1].y > last[0].y * before[1].y)
            return; /* the mean falls */
        before[0].y += last[0].y;
        before[1] = (sm_knot){last[1].x, before[1].y + last[1].y};
        --*count;
    }
}

int64_t sm_isotonic_fit(const sm_scored *pairs, int64_t n, sm_knot *knots) {
    int64_t count = 0, at = 0, used = 0;
    sm_roc_point p = SM_ROC_START, q = p;
    for (int64_t before = 0; sm_roc_next(pairs, n, &at, &q); p = q, before = at) {
        knots[2 * count] = (sm_knot){q.threshold, (double)(q.true_same - p.true_same)};
        knots[2 * count + 1] = (sm_knot){q.threshold, (double)(at - before)};
        count++;
        pool(knots, &count);
    }
    for (int64_t i = 0; i < count; i++) {
        sm_knot first = knots[2 * i], last = knots[2 * i + 1];
        double mean = first.y / last.y;
        knots[used++] = (sm_knot){first.x, mean};
        if (last.x > first.x)
            knots[used++] = (sm_knot){last.x, mean};
    }
    return used;
}

double sm_knots_at(const sm_knot *knots, int64_t count, double x) {
    int64_t low = 0, high = count - 1;
    if (x <= knots[0].x)
        return knots[0].y;
    if (x >= knots[high].x)
        return knots[high].y;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (knots[middle].x <= x)
            low = middle;
        else
            high = middle;
    }
    const sm_knot *k = knots + low;
    return k[0].y + (k[1].y - k[0].y) * (x - k[0].x) / (k[1].x - k[0].x);
}
