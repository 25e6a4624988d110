/* cpu.h: which instruction set the kernels may use.
 *
 * The choice is made once, from the processor, the operating system's support and the
 * environment variable SIAMESE_ISA (ref, avx2 or avx512), which can lower it but not
 * raise it above what the machine has.
 */
#ifndef SM_BASE_CPU_H
#define SM_BASE_CPU_H

#include "base/status.h"

typedef enum sm_isa {
    SM_ISA_REF = 0, /* portable C */
    SM_ISA_AVX2,    /* AVX2 and FMA */
    SM_ISA_AVX512,  /* AVX-512 F, BW, DQ and VL */
    SM_ISA_COUNT
} sm_isa;

/* Reads SIAMESE_ISA; SM_EINVAL with the three names when it holds anything else. */
sm_status sm_cpu_init(sm_error *err);
/* The best path of this machine. */
sm_isa sm_cpu_best(void);
/* The path in use. */
sm_isa sm_cpu_isa(void);
/* Uses `isa`, or the best below it that the machine has; returns what is in use now. For
 * tests; not to be called while kernels run. */
sm_isa sm_cpu_force(sm_isa isa);
const char *sm_isa_name(sm_isa isa);
/* The path of that name, or -1. */
int sm_isa_by_name(const char *name);

#endif
