/* recurrent.c: the table of the path in use. See recurrent.h. */
#include "kernels/recurrent.h"

#include "base/cpu.h"

const sm_recurrent *sm_recurrent_table(void) {
#if defined(__x86_64__)
    static const sm_recurrent *const tables[SM_ISA_COUNT] = {
        &sm_recurrent__ref, &sm_recurrent__avx2, &sm_recurrent__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_recurrent__ref;
#endif
}
