/* matrix_loss_triplets.c: losses that need more than a row: triplets, angular, lifted
 * structure. See matrix_loss.h.
 *
 * A triplet (a, p, n) that reads the distance of p and n writes its gradient to row p of
 * `other`, and the function of that row finds all its anchors; so no two threads write to
 * one place.
 */
#include <math.h>

#include "ops/matrix_loss_rows.h"

/* ---- triplets ---- */

static sm_triplet_row triplet_row(const sm_loss_task *t, int64_t a, int64_t p) {
    return (sm_triplet_row){.near = t->x[a * t->m + p],
                            .margin = t->p->margin,
                            .low = t->p->low,
                            .high = t->p->high,
                            .times = 1,
                            .scale = (float)sm_row_factor(t, a, 0),
                            .soft = t->p->soft};
}

/* Triplets k of row a in the list, one by one: the negative's distance goes through the
 * kernel as a row of one. */
static void listed_triplet(const sm_loss_task *t, int64_t a, int64_t k,
                           sm_triplet_sums *out) {
    const sm_pairs *q = &t->pairs;
    int64_t p = q->positive[k], n = q->negative[k];
    const float mark = -1, *x = t->x + a * t->m;
    const float *y = t->other ? t->other + p * t->m + n : NULL;
    sm_triplet_row row = triplet_row(t, a, p);
    float *d = t->dx ? t->dx + a * t->m : NULL;
    *out = t->k->triplets(&row, x + n, y, &mark, 1, d ? d + n : NULL);
    if (d)
        d[p] += out->slope;
}

static void add_triplets(const sm_loss_task *t, int64_t a, const sm_triplet_sums *sums) {
    t->sums[a].loss[0] += sums->loss;
    t->sums[a].count[0] += sums->count;
    t->sums[a].active[0] += sums->active;
}

void sm_triplet_row_loss(const sm_loss_task *t, int64_t a, sm_loss_space *s) {
    const int64_t *list;
    sm_triplet_sums sums;
    float *d = t->dx ? t->dx + a * t->m : NULL;
    int64_t count = sm_pairs_positives(&t->pairs, a, s->list, &list);
    if (t->pairs.listed && t->pairs.triplets) {
        int64_t first = t->pairs.positive_begin[a];
        for (int64_t k = 0; k < count; k++) {
            listed_triplet(t, a, first + k, &sums);
            add_triplets(t, a, &sums);
        }
    } else {
        sm_pairs_row(&t->pairs, a, false, s->w);
        for (int64_t k = 0; k < count; k++) {
            sm_triplet_row row = triplet_row(t, a, list[k]);
            const float *y = t->other ? t->other + list[k] * t->m : NULL;
            sums = t->k->triplets(&row, t->x + a * t->m, y, s->w, t->m, d);
            if (d)
                d[list[k]] += sums.slope;
            add_triplets(t, a, &sums);
        }
    }
    if (t->items)
        t->items[a] = (float)t->sums[a].loss[0];
}

/* Adds the gradient of `other` of triplets of anchor a and positive p: those with
 * n_count negatives from column n on, marked by w. */
static void add_other(const sm_loss_task *t, int64_t a, int64_t p, int64_t n,
                      const float *w, int64_t count) {
    sm_triplet_row row = triplet_row(t, a, p);
    row.of_y = true;
    t->k->triplets(&row, t->x + a * t->m + n, t->other + p * t->m + n, w, count,
                   t->dother + p * t->m + n);
}

void sm_triplet_other(const sm_loss_task *t, int64_t p, sm_loss_space *s) {
    const float mark = -1;
    const int64_t *list;
    int64_t count = sm_pairs_anchors(&t->pairs, p, s->list, &list);
    for (int64_t k = 0; k < count; k++)
        if (t->pairs.listed && t->pairs.triplets) {
            int64_t at = t->pairs.back_begin[p] + k;
            add_other(t, list[k], p, t->pairs.back_negative[at], &mark, 1);
        } else {
            sm_pairs_row(&t->pairs, list[k], false, s->w);
            add_other(t, list[k], p, 0, s->w, t->m);
        }
}

/* ---- angular ---- */

/* tan^2 of the angle. */
static double tangent2(const sm_loss_task *t) {
    double tangent = tan((double)t->p->alpha * (3.14159265358979323846 / 180));
    return tangent * tangent;
}

/* For the pair (a, p): z = s_an + s_pn; returns log(1 + sum of exp(f)), *offset what f
 * adds to 4 t z. Marks in w: columns of another label, -1. */
static double angular_pair(const sm_loss_task *t, int64_t a, int64_t p, double t2,
                           sm_loss_space *s, float *offset) {
    const float *x = t->x + a * t->m, *y = t->other + p * t->m;
    for (int64_t j = 0; j < t->m; j++)
        s->z[j] = x[j] + y[j];
    *offset = (float)(-2 * (1 + t2) * x[p]);
    return sm_row_lse(t, s->z, s->w, -1, (float)(4 * t2), *offset, true);
}

/* d += the slopes by s_an (or s_pn, which are the same), times factor. Returns the slope
 * by s_ap. */
static double angular_slopes(const sm_loss_task *t, double t2, double lse, float offset,
                             double factor, sm_loss_space *s, float *d) {
    t->k->exp_add(d, s->z, s->w, t->m, -1, (float)(4 * t2), (float)(offset - lse),
                  (float)(4 * t2 * factor));
    /* the sum of the shares of all n: 1 - exp(-lse), the rest being that of the 1 */
    return 2 * (1 + t2) * factor * expm1(-lse);
}

void sm_angular_row(const sm_loss_task *t, int64_t a, sm_loss_space *s) {
    const int64_t *list;
    double t2 = tangent2(t);
    float *d = t->dx ? t->dx + a * t->m : NULL, offset;
    if (!t->pairs.any_negative)
        return;
    int64_t count = sm_pairs_positives(&t->pairs, a, s->list, &list);
    t->k->mark(s->w, t->pairs.ref_labels, t->m, t->pairs.labels[a]);
    for (int64_t k = 0; k < count; k++) {
        int64_t p = list[k];
        double loss = angular_pair(t, a, p, t2, s, &offset);
        t->sums[a].loss[0] += loss;
        t->sums[a].active[0] += (float)loss > 0;
        if (t->items)
            t->items[a * t->m + p] += (float)loss;
        if (d)
            d[p] +=
                (float)angular_slopes(t, t2, loss, offset, sm_pair_factor(t, a, p), s, d);
    }
    t->sums[a].count[0] = (double)count;
}

void sm_angular_other(const sm_loss_task *t, int64_t p, sm_loss_space *s) {
    const int64_t *list;
    double t2 = tangent2(t);
    float offset;
    if (!t->pairs.any_negative)
        return;
    int64_t count = sm_pairs_anchors(&t->pairs, p, s->list, &list);
    for (int64_t k = 0; k < count; k++) {
        int64_t a = list[k];
        t->k->mark(s->w, t->pairs.ref_labels, t->m, t->pairs.labels[a]);
        double lse = angular_pair(t, a, p, t2, s, &offset);
        angular_slopes(t, t2, lse, offset, sm_pair_factor(t, a, p), s,
                       t->dother + p * t->m);
    }
}

/* ---- lifted structure ---- */

void sm_lifted_prepare(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    sm_pairs_row(&t->pairs, i, false, s->w);
    t->lse[i] = sm_row_lse(t, t->x + i * t->m, s->w, -1, -1, t->p->negative, false);
}

/* The log of the sum over N(i) and N(j); 0 where both are empty. */
static double joint_lse(const sm_loss_task *t, int64_t i, int64_t j) {
    double a = t->lse[i], b = t->self && j != i ? t->lse[j] : -INFINITY;
    if (a == -INFINITY && b == -INFINITY)
        return 0;
    return a > b || a != a ? a + log1p(exp(b - a)) : b + log1p(exp(a - b));
}

/* The slope of the pair (i, j) by its distance, times its factor; *share: exp(lse of row
 * `of` - joint lse) of it. */
static double lifted_slope(const sm_loss_task *t, int64_t i, int64_t j, int64_t of,
                           double *share) {
    double lse = joint_lse(t, i, j);
    double v = lse + t->x[i * t->m + j] - t->p->positive;
    double g = v <= 0 ? 0 : v * sm_pair_factor(t, i, j);
    *share = t->lse[of] == -INFINITY ? 0 : g * exp(t->lse[of] - lse);
    return g;
}

/* How strongly the pairs that row i is in push its negatives away. */
static double lifted_push(const sm_loss_task *t, int64_t i, sm_loss_space *s, float *d) {
    const int64_t *list;
    double push = 0, share;
    int64_t count = sm_pairs_positives(&t->pairs, i, s->list, &list);
    for (int64_t k = 0; k < count; k++) {
        d[list[k]] += (float)lifted_slope(t, i, list[k], i, &share);
        push += share;
    }
    if (!t->self)
        return push;
    count = sm_pairs_anchors(&t->pairs, i, s->list, &list);
    for (int64_t k = 0; k < count; k++)
        if (list[k] != i) {
            lifted_slope(t, list[k], i, i, &share);
            push += share;
        }
    return push;
}

void sm_lifted_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const int64_t *list;
    const float *x = t->x + i * t->m;
    if (!t->pairs.any_positive || !t->pairs.any_negative)
        return;
    int64_t count = sm_pairs_positives(&t->pairs, i, s->list, &list);
    for (int64_t k = 0; k < count; k++) {
        double v = joint_lse(t, i, list[k]) + x[list[k]] - t->p->positive;
        double loss = v <= 0 ? 0 : v * v / 2;
        t->sums[i].loss[0] += loss;
        t->sums[i].active[0] += (float)loss > 0;
        if (t->items)
            t->items[i * t->m + list[k]] += (float)loss;
    }
    t->sums[i].count[0] = (double)count;
    if (!t->dx)
        return;
    float *d = t->dx + i * t->m;
    double push = lifted_push(t, i, s, d);
    sm_pairs_row(&t->pairs, i, false, s->w);
    if (push != 0)
        t->k->exp_add(d, x, s->w, t->m, -1, -1, (float)(t->p->negative - t->lse[i]),
                      (float)-push);
}
