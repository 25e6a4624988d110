/* pixels.c: see pixels.h. */
#include "kernels/pixels.h"

#include "base/cpu.h"

const sm_pixels *sm_pixels_table(void) {
#if defined(__x86_64__)
    static const sm_pixels *const tables[SM_ISA_COUNT] = {
        &sm_pixels__ref, &sm_pixels__avx2, &sm_pixels__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_pixels__ref;
#endif
}
