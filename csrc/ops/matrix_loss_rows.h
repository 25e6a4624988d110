/* matrix_loss_rows.h: what matrix_loss.c shares with the files that know the losses. Not
 * for others.
 *
 * A loss is a function that works on one row of the matrix: it adds the row's losses to
 * sums[i] and, where dx is there, writes the row's gradient. It may read other rows, and
 * writes nothing else. Gradients are the slopes of the items times `scale`, or times dy
 * where every item has a gradient of its own.
 */
#ifndef SM_OPS_MATRIX_LOSS_ROWS_H
#define SM_OPS_MATRIX_LOSS_ROWS_H

#include <math.h>

#include "kernels/pairs.h"
#include "ops/matrix_loss.h"
#include "ops/pairset.h"

/* Of one row. Two parts where positive and negative pairs are averaged apart. */
typedef struct sm_row_sums {
    double loss[2], count[2], active[2];
    double beta; /* margin: the gradient of the row's beta */
} sm_row_sums;

typedef struct sm_loss_task {
    const sm_matrix_loss_params *p;
    const sm_pair_kernels *k;
    sm_pairs pairs;
    int64_t n, m;
    bool self;          /* the columns are the rows */
    const float *x;     /* [n,m] */
    const float *other; /* [m,m] */
    const float *weights;
    const float *beta;
    int64_t betas;
    float *items;    /* [n,m] or [n], zeros; or NULL */
    const float *dy; /* as items, or NULL */
    float *dx;       /* [n,m] or NULL */
    float *dother;   /* [m,m] or NULL */
    float scale[2];
    double *lse; /* lifted: the log of the sum over N(i), [n] */
    sm_row_sums *sums;
} sm_loss_task;

/* Memory of a thread. */
typedef struct sm_loss_space {
    float *w, *u, *z; /* [m] each */
    int64_t *list;    /* [max(n,m)] */
} sm_loss_space;

typedef void (*sm_loss_row)(const sm_loss_task *t, int64_t i, sm_loss_space *s);

void sm_contrastive_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_margin_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_ntxent_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_supcon_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_multi_similarity_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_circle_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_triplet_row_loss(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_lifted_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
void sm_angular_row(const sm_loss_task *t, int64_t i, sm_loss_space *s);
/* Row j of dother. */
void sm_triplet_other(const sm_loss_task *t, int64_t j, sm_loss_space *s);
void sm_angular_other(const sm_loss_task *t, int64_t j, sm_loss_space *s);
/* lse[i], before lifted's rows. */
void sm_lifted_prepare(const sm_loss_task *t, int64_t i, sm_loss_space *s);

/* log(sum of |w| exp(scale x + offset)) of the picked entries; `one`: plus 1. -infinity
 * for none. */
double sm_row_lse(const sm_loss_task *t, const float *x, const float *w, float sign,
                  float scale, float offset, bool one);
static inline double sm_softplus(double v) {
    return log1p(exp(-fabs(v))) + (v > 0 ? v : v != v ? v : 0);
}
static inline double sm_sigmoid(double v) {
    return 1 / (1 + exp(-v));
}
/* What the slope of pair (i, j), or of row i, is multiplied by. */
static inline double sm_pair_factor(const sm_loss_task *t, int64_t i, int64_t j) {
    return t->dy ? t->dy[i * t->m + j] : t->scale[0];
}
static inline double sm_row_factor(const sm_loss_task *t, int64_t i, int part) {
    return t->dy ? t->dy[i] : t->scale[part];
}

#endif
