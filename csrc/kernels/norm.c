/* norm.c: the table of the path in use. See norm.h. */
#include "kernels/norm.h"

#include "base/cpu.h"

const sm_norm *sm_norm_table(void) {
#if defined(__x86_64__)
    static const sm_norm *const tables[SM_ISA_COUNT] = {&sm_norm__ref, &sm_norm__avx2,
                                                        &sm_norm__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_norm__ref;
#endif
}
