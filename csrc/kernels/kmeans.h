/* kmeans.h: k-means by Lloyd's algorithm ("Least squares quantization in PCM", 1982) from
 * the start of k-means++ (Arthur and Vassilvitskii 2007) or from given centres.
 *
 * It stops as scikit-learn's does: when no row changes its cluster, when the centres move
 * by no more than tolerance times the mean variance of the columns (squares, summed), or
 * after `iterations`. A cluster that ran empty gets the row that is farthest from its
 * centre.
 */
#ifndef SM_KERNELS_KMEANS_H
#define SM_KERNELS_KMEANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/status.h"

typedef struct sm_kmeans {
    int64_t n, d, k; /* 1 <= k <= n, d >= 1 */
    const float *x;  /* [n,d] */
    bool started;    /* `centre` holds where to begin; else k-means++ */
    int64_t iterations;
    double tolerance;
    sm_rng *rng; /* moves; not looked at if started */
    /* Results */
    float *centre;   /* [k,d] */
    int64_t *member; /* [n] the cluster of each row, from 0 */
    double inertia;  /* sum of squared distances to the centres */
    int64_t done;    /* iterations made */
} sm_kmeans;

/* SM_EINVAL as sm_pairwise_open (operand 1), SM_ENOMEM. */
sm_status sm_kmeans_run(sm_kmeans *k, sm_error *err);

#endif
