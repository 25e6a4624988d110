/* peak.c: the processor's FMA peak, measured: multiply-adds on registers alone.
 *
 *     peak THREADS      prints GFLOP/s (2 flops a multiply-add) of that many threads
 * together
 *
 * The best of several runs. Vector width follows the machine (AVX-512, AVX2, else what
 * the compiler makes of plain C). Twelve independent sums keep two FMA units of four or
 * five cycles' latency busy.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SUMS = 12, ROUNDS = 4000000, REPEATS = 5 };

static volatile float sink;

/* One function for each vector width: SUMS sums, ROUNDS times; returns the flops done. */
#define DEFINE_LOOP(NAME, TARGET, BYTES)                                                 \
    typedef float vec_##NAME __attribute__((vector_size(BYTES)));                        \
    TARGET static double NAME(void) {                                                    \
        vec_##NAME sum[SUMS], x = {0}, y = {0};                                          \
        for (int i = 0; i < SUMS; i++)                                                   \
            sum[i] = (vec_##NAME){0} + (float)i;                                         \
        x += 0.999f;                                                                     \
        y += 0.001f;                                                                     \
        for (int r = 0; r < ROUNDS; r++) {                                               \
            _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) sum[i] =             \
                sum[i] * x + y;                                                          \
        }                                                                                \
        for (int i = 0; i < SUMS; i++)                                                   \
            sink += sum[i][0];                                                           \
        return 2.0 * SUMS * ROUNDS * (BYTES / 4);                                        \
    }

#if defined(__x86_64__)
DEFINE_LOOP(wide, __attribute__((target("avx512f,fma"), optimize("O3"))), 64)
DEFINE_LOOP(middle, __attribute__((target("avx2,fma"), optimize("O3"))), 32)
#endif
DEFINE_LOOP(narrow, __attribute__((optimize("O3"))), 16)

typedef double (*loop_fn)(void);

static loop_fn choose(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return wide;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return middle;
#endif
    return narrow;
}

static void *run(void *flops) {
    *(double *)flops = choose()();
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t ids[256];
    double flops[256], best = 0;
    if (threads < 1 || threads > 256)
        return 2;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now(), sum = 0;
        for (int i = 0; i < threads; i++)
            if (pthread_create(&ids[i], NULL, run, &flops[i]) != 0)
                return 1;
        for (int i = 0; i < threads; i++) {
            pthread_join(ids[i], NULL);
            sum += flops[i];
        }
        double rate = sum / (now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    printf("%.1f\n", best);
    return 0;
}
