/* information.h: what two labellings of the same things know of each other. */
#ifndef SM_KERNELS_INFORMATION_H
#define SM_KERNELS_INFORMATION_H

#include <stdint.h>

typedef struct sm_labelled {
    int64_t a, b; /* any numbers */
} sm_labelled;

/* In nats. mutual is H(a) + H(b) - H(a, b), 0 where that is rounding. */
typedef struct sm_information {
    double a, b, mutual;
} sm_information;

/* Of n > 0 things; sorts them. */
sm_information sm_information_of(sm_labelled *things, int64_t n);

#endif
