/* warp.c: see warp.h. */
#include "kernels/warp.h"

#include "base/cpu.h"

const sm_warp_kernels *sm_warp_kernels_table(void) {
#if defined(__x86_64__)
    static const sm_warp_kernels *const tables[SM_ISA_COUNT] = {
        &sm_warp_kernels__ref, &sm_warp_kernels__avx2, &sm_warp_kernels__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_warp_kernels__ref;
#endif
}
