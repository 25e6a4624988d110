/* resample.c: see resample.h. */
#include "kernels/resample.h"

#include "base/cpu.h"

const sm_resample *sm_resample_table(void) {
#if defined(__x86_64__)
    static const sm_resample *const tables[SM_ISA_COUNT] = {
        &sm_resample__ref, &sm_resample__avx2, &sm_resample__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_resample__ref;
#endif
}
