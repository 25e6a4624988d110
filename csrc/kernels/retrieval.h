/* retrieval.h: how well the nearest references of a query are of its class.
 *
 * With R references of the query's class: recall at k is 1 if one is among the k nearest;
 * R-precision is the share of them among the R nearest; average precision at R is
 * (1/R) sum over ranks i <= R of precision(i) where rank i is of the class (Musgrave,
 * Belongie, Lim, "A metric learning reality check", ECCV 2020, section 3.2).
 *
 * References at equal distances have no order: every value is the mean over all orders
 * (McSherry and Najork, "Computing information retrieval performance measures efficiently
 * in the presence of tied scores", ECIR 2008). Embeddings that all collapsed into one
 * point score as drawing lots does, however the references are listed.
 */
#ifndef SM_KERNELS_RETRIEVAL_H
#define SM_KERNELS_RETRIEVAL_H

#include <stdint.h>

#include "base/status.h"

typedef struct sm_retrieval {
    int64_t queries, references;
    const float *distance; /* [queries, references], not NaN */
    const int64_t *query_label, *label;
    int64_t
        self; /* the reference that query 0 is, and so on, which is no answer; or -1 */
    int64_t ranks;
    const int64_t *rank; /* [ranks] the k of recall at k, at least 1 */
    /* Results [queries] and [queries, ranks]; NaN for a query that has no reference of
     * its class. */
    float *r_precision, *average_precision, *recall;
} sm_retrieval;

/* On all threads. Fails only without memory. */
sm_status sm_retrieval_run(const sm_retrieval *r, sm_error *err);

#endif
