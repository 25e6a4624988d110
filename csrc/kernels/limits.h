/* limits.h: what a fused activation leaves of a value: ReLU keeps [0, infinity), ReLU6
 * [0, 6]. A NaN stays NaN. */
#ifndef SM_KERNELS_LIMITS_H
#define SM_KERNELS_LIMITS_H

#include <math.h>
#include <stdbool.h>

typedef struct sm_limits {
    float low, high;
} sm_limits;

static const sm_limits sm_no_limits = {-INFINITY, INFINITY};

static inline bool sm_is_limited(sm_limits l) {
    return l.low > -INFINITY || l.high < INFINITY;
}
static inline float sm_limit(float x, sm_limits l) {
    x = x < l.low ? l.low : x;
    return x > l.high ? l.high : x;
}

#endif
