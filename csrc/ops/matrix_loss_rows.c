/* matrix_loss_rows.c: losses that see one row of the matrix at a time. See
 * matrix_loss.h. */
#include "ops/matrix_loss_rows.h"

#include <math.h>

double sm_row_lse(const sm_loss_task *t, const float *x, const float *w, float sign,
                  float scale, float offset, bool one) {
    double top = (double)t->k->top(x, w, t->m, sign, scale) + offset;
    if (one && !(top > 0))
        top = 0;
    if (top == -INFINITY) /* no entry, or no number among them */
        return log(t->k->exp_sum(x, w, t->m, sign, scale, 0));
    double sum = t->k->exp_sum(x, w, t->m, sign, scale, (float)(offset - top));
    return top + log(sum + (one ? exp(-top) : 0));
}

/* A row with one item: its loss, whether it counts, and the item itself. */
static void put_row(const sm_loss_task *t, int64_t i, double loss, double count) {
    sm_row_sums *sums = &t->sums[i];
    sums->loss[0] += loss;
    sums->count[0] += count;
    sums->active[0] += (float)loss > 0;
    if (t->items)
        t->items[i] = (float)loss;
}

/* ---- hinges ---- */

static void contrastive_items(const sm_loss_task *t, int64_t i, const float *w) {
    const sm_matrix_loss_params *p = t->p;
    const float *x = t->x + i * t->m;
    for (int64_t j = 0; j < t->m; j++) {
        float v = w[j] > 0 ? x[j] - p->positive : p->negative - x[j];
        v = v <= 0 || w[j] == 0 ? 0 : v;
        t->items[i * t->m + j] = fabsf(w[j]) * (p->squared ? 0.5f * v * v : v);
    }
}

void sm_contrastive_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const sm_matrix_loss_params *p = t->p;
    sm_row_sums *sums = &t->sums[i];
    float loss[2], active[2], *d = t->dx ? t->dx + i * t->m : NULL;
    sm_hinges h = {p->positive, p->negative, {t->scale[0], t->scale[1]}, p->squared};
    if (t->dy)
        h.scale[0] = h.scale[1] = 1;
    sm_pairs_row(&t->pairs, i, false, s->w);
    t->k->hinges(&h, t->x + i * t->m, s->w, t->m, d, d ? NULL : loss, d ? NULL : active);
    for (int k = 0; k < 2 && !d; k++) {
        sums->loss[k] = loss[k];
        sums->active[k] = active[k];
        sums->count[k] = t->k->count(s->w, t->m, k ? -1 : 1);
    }
    if (t->items)
        contrastive_items(t, i, s->w);
    for (int64_t j = 0; j < t->m && d && t->dy; j++)
        d[j] *= t->dy[i * t->m + j];
}

/* A pair counts once for every triplet that it is in. Returns the row's triplets. */
static double triplet_times(const sm_loss_task *t, float *w) {
    float positive = t->k->count(w, t->m, 1), negative = t->k->count(w, t->m, -1);
    if (t->pairs.listed && t->pairs.triplets)
        return positive;
    for (int64_t j = 0; j < t->m; j++)
        w[j] *= w[j] > 0 ? negative : positive;
    return (double)positive * negative;
}

void sm_margin_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const sm_matrix_loss_params *p = t->p;
    sm_row_sums *sums = &t->sums[i];
    float loss[2], active[2], *d = t->dx ? t->dx + i * t->m : NULL;
    float beta = t->beta[t->betas == 1 ? 0 : t->pairs.labels[i] - 1];
    float factor = (float)sm_row_factor(t, i, 0);
    sm_hinges h = {beta - p->margin, beta + p->margin, {factor, factor}, false};
    sm_pairs_row(&t->pairs, i, false, s->w);
    sums->count[0] = triplet_times(t, s->w);
    t->k->hinges(&h, t->x + i * t->m, s->w, t->m, d, loss, active);
    double own = t->betas > 1 ? (double)p->nu * sums->count[0] : 0;
    sums->loss[0] = (double)loss[0] + loss[1] + own * beta;
    sums->active[0] = (double)active[0] + active[1];
    sums->beta = factor * ((double)active[1] - active[0] + own);
    if (t->items)
        t->items[i] = (float)sums->loss[0];
}

/* ---- sums of exponentials ---- */

void sm_ntxent_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const float *x = t->x + i * t->m, scale = 1 / t->p->temperature;
    float *d = t->dx ? t->dx + i * t->m : NULL;
    const int64_t *list;
    int64_t count = sm_pairs_positives(&t->pairs, i, s->list, &list);
    if (count == 0)
        return;
    sm_pairs_row(&t->pairs, i, false, s->w);
    double lse = sm_row_lse(t, x, s->w, -1, scale, 0, false), pull = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t j = list[k];
        double gap = lse - (double)x[j] * scale, loss = sm_softplus(gap);
        t->sums[i].loss[0] += loss;
        t->sums[i].active[0] += (float)loss > 0;
        if (t->items)
            t->items[i * t->m + j] += (float)loss;
        if (!d)
            continue;
        double g = sm_pair_factor(t, i, j) * sm_sigmoid(gap) * scale;
        d[j] -= (float)g;
        pull += g;
    }
    t->sums[i].count[0] = (double)count;
    if (d && lse > -INFINITY)
        t->k->exp_add(d, x, s->w, t->m, -1, scale, (float)-lse, (float)pull);
}

void sm_supcon_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const float *x = t->x + i * t->m, scale = 1 / t->p->temperature;
    if (!t->pairs.any_positive || !t->pairs.any_negative)
        return;
    sm_pairs_row(&t->pairs, i, true, s->w);
    double positives = t->k->count(s->w, t->m, 1);
    if (positives == 0) {
        put_row(t, i, 0, 1);
        return;
    }
    for (int64_t j = 0; j < t->m; j++)
        s->u[j] = fabsf(s->w[j]);
    double lse = sm_row_lse(t, x, s->u, 1, scale, 0, false);
    double loss = lse - t->k->total(x, s->w, t->m, 1) * (double)scale / positives;
    put_row(t, i, loss, 1);
    if (!t->dx || (t->p->reduction == SM_PAIRS_MEAN_NONZERO && !((float)loss > 0)))
        return;
    float *d = t->dx + i * t->m, g = (float)(sm_row_factor(t, i, 0) * scale);
    t->k->exp_add(d, x, s->u, t->m, 1, scale, (float)-lse, g);
    for (int64_t j = 0; j < t->m; j++)
        d[j] -= s->w[j] > 0 ? g / (float)positives : 0;
}

/* One of the two sums: part 0 over the positive entries, 1 over the negative ones. */
static double similarity_part(const sm_loss_task *t, int64_t i, int part,
                              sm_loss_space *s) {
    const sm_matrix_loss_params *p = t->p;
    const float *x = t->x + i * t->m, sign = part ? -1 : 1;
    float alpha = part ? p->scale_negative : p->scale_positive, scale = -sign * alpha;
    float offset = -scale * (part ? p->negative : p->positive);
    double lse = sm_row_lse(t, x, s->w, sign, scale, offset, true);
    double divisor = p->apart ? 1 : alpha;
    if (t->dx) {
        double g = sm_row_factor(t, i, p->apart ? part : 0) * scale / divisor;
        t->k->exp_add(t->dx + i * t->m, x, s->w, t->m, sign, scale, (float)(offset - lse),
                      (float)g);
    }
    return lse / divisor;
}

void sm_multi_similarity_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    sm_row_sums *sums = &t->sums[i];
    sm_pairs_row(&t->pairs, i, true, s->w);
    for (int64_t j = 0; j < t->m && t->weights; j++)
        s->w[j] *= t->weights[j];
    double positive = similarity_part(t, i, 0, s), negative = similarity_part(t, i, 1, s);
    if (!t->p->apart) {
        put_row(t, i, positive + negative, 1);
        return;
    }
    sums->loss[0] = positive;
    sums->loss[1] = negative;
    sums->count[0] = t->k->count(s->w, t->m, 1) > 0;
    sums->count[1] = 1;
    sums->active[0] = (float)positive > 0;
    sums->active[1] = (float)negative > 0;
    if (t->items)
        t->items[i] = (float)(positive + negative);
}

void sm_circle_row(const sm_loss_task *t, int64_t i, sm_loss_space *s) {
    const sm_matrix_loss_params *p = t->p;
    sm_pairs_row(&t->pairs, i, true, s->w);
    t->k->circle(s->z, s->u, t->x + i * t->m, s->w, t->m, p->margin, p->gamma);
    if (t->k->count(s->w, t->m, 1) == 0 || t->k->count(s->w, t->m, -1) == 0) {
        put_row(t, i, 0, 1);
        return;
    }
    double positive = sm_row_lse(t, s->z, s->w, 1, 1, 0, false);
    double negative = sm_row_lse(t, s->z, s->w, -1, 1, 0, false);
    double loss = sm_softplus(positive + negative);
    put_row(t, i, loss, 1);
    if (!t->dx || (p->reduction == SM_PAIRS_MEAN_NONZERO && !((float)loss > 0)))
        return;
    float *d = t->dx + i * t->m;
    float g = (float)(sm_row_factor(t, i, 0) * sm_sigmoid(positive + negative));
    t->k->exp_add(d, s->z, s->w, t->m, 1, 1, (float)-positive, g);
    t->k->exp_add(d, s->z, s->w, t->m, -1, 1, (float)-negative, g);
    for (int64_t j = 0; j < t->m; j++)
        d[j] *= s->u[j];
}
