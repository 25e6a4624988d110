/* margin_softmax.h: cross-entropy over classes whose logits are cosines, with a margin
 * for the right class. */
#ifndef SM_OPS_MARGIN_SOFTMAX_H
#define SM_OPS_MARGIN_SOFTMAX_H

#include "ops/op.h"

/* What the right class' cosine c = cos(t) becomes. */
typedef enum sm_angle_margin {
    SM_NO_MARGIN,
    /* cos(t + margin); beyond pi - margin, where that rises again, c - margin sin(margin)
     * (Deng et al. 2019, eq. 3) */
    SM_ARC_MARGIN,
    /* c - margin (Wang et al. 2018, eq. 4) */
    SM_COSINE_MARGIN,
    /* (-1)^k cos(margin t) - 2 k for t from k pi / margin to (k + 1) pi / margin (Liu et
     * al. 2017, section 3.2); margin is a whole number */
    SM_SPHERE_MARGIN
} sm_angle_margin;

/* -log softmax(scale * length * logits)[label]. Operands: logits [N,C], labels int64 [N]
 * from 1, lengths [N] or absent (1), weights [N] or absent (1): what a row's loss counts
 * for; no gradient. The mean is over all rows, whatever they weigh. */
typedef struct sm_margin_softmax_params {
    sm_angle_margin kind;
    float margin, scale;
    bool mean, none; /* else the sum */
} sm_margin_softmax_params;

extern const sm_op sm_op_margin_softmax;

#endif
