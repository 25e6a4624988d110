/* dropout.h: inverted dropout (Srivastava et al. 2014). */
#ifndef SM_OPS_DROPOUT_H
#define SM_OPS_DROPOUT_H

#include "base/rng.h"
#include "ops/op.h"

/* Each element is 0 with probability p, else divided by 1 - p. Element i draws from the
 * generator's block i/4, so the result does not depend on the number of threads. */
typedef struct sm_dropout_params {
    float p;
    sm_rng rng;
} sm_dropout_params;
extern const sm_op sm_op_dropout;

#endif
