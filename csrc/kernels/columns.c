/* columns.c: the table of the path in use. See columns.h. */
#include "kernels/columns.h"

#include "base/cpu.h"

const sm_columns *sm_columns_table(void) {
#if defined(__x86_64__)
    static const sm_columns *const tables[SM_ISA_COUNT] = {
        &sm_columns__ref, &sm_columns__avx2, &sm_columns__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_columns__ref;
#endif
}
