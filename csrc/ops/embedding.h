/* embedding.h: rows of a table by their numbers. */
#ifndef SM_OPS_EMBEDDING_H
#define SM_OPS_EMBEDDING_H

#include "ops/op.h"

/* Operands: index [...] (int64, from 1), weight [V,D]; the output is [...,D]. The row
 * numbered `padding` (0: none) gets no gradient. The others' are summed in the order of
 * the indices, whatever the number of threads. */
typedef struct sm_embedding_params {
    int64_t padding;
} sm_embedding_params;
extern const sm_op sm_op_embedding;

#endif
