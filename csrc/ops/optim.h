/* optim.h: optimiser steps, fused: one sweep over all parameters of a group, on all
 * threads. In place, outside the graph. The arithmetic is PyTorch's. */
#ifndef SM_OPS_OPTIM_H
#define SM_OPS_OPTIM_H

#include "tensor/tensor.h"

/* One parameter with its gradient and the optimiser's state; all contiguous, of one
 * shape. State tensors that an optimiser does not use are NULL. */
typedef struct sm_optim_slot {
    sm_tensor *param, *grad, *m, *v;
    int64_t step;                /* of this parameter, from 1 */
    float step_size, root_scale; /* worked out by sm_adam_step */
} sm_optim_slot;

typedef struct sm_sgd {
    float lr, momentum, dampening, weight_decay;
    bool nesterov;
} sm_sgd;
/* m: momentum buffer (NULL without momentum); at step 1 it becomes the gradient. */
void sm_sgd_step(const sm_sgd *o, const sm_optim_slot *slots, int64_t count);

/* Kingma and Ba 2015; with decoupled, Loshchilov and Hutter 2019 (AdamW). */
typedef struct sm_adam {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled;
} sm_adam;
/* m, v: running means of the gradient and of its square. */
void sm_adam_step(const sm_adam *o, sm_optim_slot *slots, int64_t count);

/* The Euclidean norm of all gradients together. */
double sm_grad_norm(const sm_optim_slot *slots, int64_t count);

/* param += weight * (grad - param), where `grad` stands for any tensor of the same shape:
 * moving averages. */
void sm_lerp_step(double weight, const sm_optim_slot *slots, int64_t count);

#endif
