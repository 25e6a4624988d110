/* cpu.c: instruction set detection. See cpu.h. */
#include "base/cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[SM_ISA_COUNT] = {"ref", "avx2", "avx512"};
static int in_use = -1; /* not chosen yet */

sm_isa sm_cpu_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 =
        avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? SM_ISA_AVX512 : avx2 ? SM_ISA_AVX2 : SM_ISA_REF;
#else
    return SM_ISA_REF;
#endif
}

sm_status sm_cpu_init(sm_error *err) {
    const char *want = getenv("SIAMESE_ISA");
    if (!want || !*want) {
        sm_cpu_force(sm_cpu_best());
        return SM_OK;
    }
    int isa = sm_isa_by_name(want);
    if (isa < 0)
        return sm_fail(err, SM_EINVAL, 0,
                       "SIAMESE_ISA must be ref, avx2 or avx512, got '%.40s'", want);
    sm_cpu_force((sm_isa)isa);
    return SM_OK;
}

sm_isa sm_cpu_isa(void) {
    if (in_use < 0)
        in_use = (int)sm_cpu_best();
    return (sm_isa)in_use;
}

sm_isa sm_cpu_force(sm_isa isa) {
    sm_isa best = sm_cpu_best();
    in_use = (int)(isa < best ? isa : best);
    return (sm_isa)in_use;
}

const char *sm_isa_name(sm_isa isa) {
    return names[isa];
}

int sm_isa_by_name(const char *name) {
    for (int i = 0; i < SM_ISA_COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}
