/* pairs.c: the table of the path in use. See pairs.h. */
#include "kernels/pairs.h"

#include "base/cpu.h"

const sm_pair_kernels *sm_pair_kernels_table(void) {
#if defined(__x86_64__)
    static const sm_pair_kernels *const tables[SM_ISA_COUNT] = {
        &sm_pair_kernels__ref, &sm_pair_kernels__avx2, &sm_pair_kernels__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_pair_kernels__ref;
#endif
}
