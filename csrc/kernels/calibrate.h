/* calibrate.h: from distances to the probability that a pair is of one class. */
#ifndef SM_KERNELS_CALIBRATE_H
#define SM_KERNELS_CALIBRATE_H

#include <stdint.h>

#include "kernels/roc.h"

/* Platt's sigmoid: p = 1 / (1 + exp(a distance + b)), of n > 0 pairs with finite
 * distances, both kinds among them ("Probabilistic outputs for support vector machines",
 * 1999, with the targets of its section 2.2), by the Newton method with backtracking of
 * Lin, Lin, Weng, "A note on Platt's probabilistic outputs for support vector machines",
 * Machine Learning 68, 2007, algorithm 1. */
void sm_platt_fit(const sm_scored *pairs, int64_t n, double *a, double *b);

/* A corner of a broken line. */
typedef struct sm_knot {
    double x, y;
} sm_knot;

/* The falling step function nearest to `same` in squares, by pooling adjacent violators
 * (Ayer et al. 1955), of n > 0 sorted pairs; equal distances have one value. Fills knots
 * (room for 2 n): the first and the last distance of each step with its value. Returns
 * how many. */
int64_t sm_isotonic_fit(const sm_scored *pairs, int64_t n, sm_knot *knots);
/* The broken line through count > 0 knots at x; flat beyond the ends. */
double sm_knots_at(const sm_knot *knots, int64_t count, double x);

#endif
