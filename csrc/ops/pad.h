/* pad.h: tensors with more, or less, around them. */
#ifndef SM_OPS_PAD_H
#define SM_OPS_PAD_H

#include "ops/op.h"

typedef enum sm_pad_mode {
    SM_PAD_CONSTANT,
    SM_PAD_REFLECT,   /* mirrored, without the edge */
    SM_PAD_REPLICATE, /* the edge again */
    SM_PAD_CIRCULAR   /* the other end */
} sm_pad_mode;

/* Elements before and after each of the last `dims` dimensions, in their order; negative
 * ones cut off. Any dtype; the order of channels is kept. */
typedef struct sm_pad_params {
    sm_pad_mode mode;
    int dims;
    int64_t before[SM_MAX_DIMS], after[SM_MAX_DIMS];
    double value; /* of SM_PAD_CONSTANT */
} sm_pad_params;
extern const sm_op sm_op_pad;

#endif
