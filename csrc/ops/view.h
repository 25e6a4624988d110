/* view.h: ops whose output shares the input's storage, and the copy that ends sharing.
 * Dimensions count from 0 here. */
#ifndef SM_OPS_VIEW_H
#define SM_OPS_VIEW_H

#include "ops/op.h"

/* Another shape for the same elements. One size may be -1 and is worked out. Fails where
 * the strides do not allow it (copy first, see sm_op_copy). */
typedef struct sm_reshape_params {
    int ndim;
    int64_t shape[SM_MAX_DIMS];
} sm_reshape_params;
extern const sm_op sm_op_reshape;
/* Whether sm_op_reshape would share t's storage; false too when the shape does not fit at
 * all. */
bool sm_can_view(const sm_tensor *t, const sm_reshape_params *params);

/* Output dimension d is input dimension dims[d]. */
typedef struct sm_permute_params {
    int ndim;
    int dims[SM_MAX_DIMS];
} sm_permute_params;
extern const sm_op sm_op_permute;

/* Repeats dimensions of size 1 without copying; -1 keeps a size; new dimensions come
 * first. */
typedef sm_reshape_params sm_expand_params;
extern const sm_op sm_op_expand;

/* Elements start, start + step, ... (length of them) of dimension dim. */
typedef struct sm_slice_params {
    int dim;
    int64_t start, length, step;
} sm_slice_params;
extern const sm_op sm_op_slice;

/* Element `index` of dimension dim, which disappears. */
typedef struct sm_select_params {
    int dim;
    int64_t index;
} sm_select_params;
extern const sm_op sm_op_select;

/* A contiguous copy, converted to dtype. Differentiable from float32 to float32. */
typedef struct sm_copy_params {
    sm_dtype dtype;
} sm_copy_params;
extern const sm_op sm_op_copy;

#endif
