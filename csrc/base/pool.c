/* pool.c: parked workers, woken by a generation number. See pool.h.
 *
 * A worker spins on the generation for some microseconds before it sleeps on a condition
 * variable: the loops of one training step follow each other closely, and a wake-up from
 * sleep costs as much as a small layer. The caller spins on the number of parts left in
 * the same way.
 */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

enum { SPINS = 4000 }; /* some 50 microseconds */

typedef struct job {
    sm_range_fn fn;
    void *context;
    int64_t n;
    int parts;
} job;

static pthread_mutex_t owner =
    PTHREAD_MUTEX_INITIALIZER; /* held by the thread whose loop runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards sleeping and waking */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static pthread_t workers[SM_MAX_THREADS];
static int started; /* workers that exist, under `owner` */
static atomic_int wanted;
static atomic_uint generation;
static atomic_int remaining;
static atomic_bool stopping;
static job current;
static _Thread_local int inside;

static void run_part(const job *j, int part) {
    int64_t size = j->n / j->parts, extra = j->n % j->parts;
    int64_t begin = part * size + (part < extra ? part : extra);
    int64_t end = begin + size + (part < extra);
    if (begin < end)
        j->fn(j->context, begin, end, part);
}

/* Waits until the generation is not `seen`; returns the new one. */
static unsigned await_generation(unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        unsigned g = atomic_load_explicit(&generation, memory_order_acquire);
        if (g != seen)
            return g;
        RELAX();
    }
    pthread_mutex_lock(&lock);
    unsigned g;
    while ((g = atomic_load_explicit(&generation, memory_order_acquire)) == seen)
        pthread_cond_wait(&wake, &lock);
    pthread_mutex_unlock(&lock);
    return g;
}

typedef struct birth {
    int index;
    unsigned generation;
} birth;
static birth births[SM_MAX_THREADS];

static void *worker(void *argument) {
    const birth *b = argument;
    unsigned seen = b->generation;
    inside = 1;
    for (;;) {
        seen = await_generation(seen);
        if (atomic_load(&stopping))
            return NULL;
        if (b->index < current.parts)
            run_part(&current, b->index);
        if (atomic_fetch_sub_explicit(&remaining, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&lock);
            pthread_cond_signal(&finished);
            pthread_mutex_unlock(&lock);
        }
    }
}

static void next_generation(void) {
    pthread_mutex_lock(&lock);
    atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
}

/* In a forked child the workers do not exist: forget them. */
static void after_fork(void) {
    started = 0;
    pthread_mutex_init(&owner, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    pthread_cond_init(&finished, NULL);
}

/* Under `owner`: brings the number of workers to n, as far as the system allows. */
static void start_workers(int n) {
    static bool registered;
    if (!registered) {
        pthread_atfork(NULL, NULL, after_fork);
        registered = true;
    }
    while (started < n) {
        births[started + 1] = (birth){started + 1, atomic_load(&generation)};
        if (pthread_create(&workers[started], NULL, worker, &births[started + 1]) != 0)
            break;
        started++;
    }
}

static void stop_workers(void) {
    if (!started)
        return;
    atomic_store(&stopping, true);
    next_generation();
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
    started = 0;
    atomic_store(&stopping, false);
}

void sm_parallel_for(int64_t n, int64_t grain, sm_range_fn fn, void *context) {
    if (n <= 0)
        return;
    int64_t most = grain > 0 ? (n + grain - 1) / grain : n;
    int parts = sm_threads();
    if (most < parts)
        parts = (int)most;
    if (parts <= 1 || inside || pthread_mutex_trylock(&owner) != 0) {
        int outer = inside;
        inside = 1;
        fn(context, 0, n, 0);
        inside = outer;
        return;
    }
    if (started < parts - 1)
        start_workers(sm_threads() - 1);
    if (started < parts - 1)
        parts = started + 1;
    job j = {fn, context, n, parts};
    current = j;
    atomic_store_explicit(&remaining, started, memory_order_release);
    if (started)
        next_generation();
    inside = 1;
    run_part(&j, 0);
    inside = 0;
    for (int i = 0; i < SPINS && atomic_load_explicit(&remaining, memory_order_acquire);
         i++)
        RELAX();
    if (atomic_load_explicit(&remaining, memory_order_acquire)) {
        pthread_mutex_lock(&lock);
        while (atomic_load_explicit(&remaining, memory_order_acquire))
            pthread_cond_wait(&finished, &lock);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_unlock(&owner);
}

static int default_threads(void) {
    const char *text = getenv("SIAMESE_NUM_THREADS");
    int n = text ? atoi(text) : 0;
    if (n >= 1)
        return n;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int sm_threads(void) {
    int n = atomic_load_explicit(&wanted, memory_order_relaxed);
    return n ? n : sm_set_threads(default_threads());
}

int sm_set_threads(int n) {
    n = n < 1 ? 1 : n > SM_MAX_THREADS ? SM_MAX_THREADS : n;
    if (!inside && pthread_mutex_trylock(&owner) == 0) {
        if (started > n - 1)
            stop_workers();
        pthread_mutex_unlock(&owner);
    }
    atomic_store_explicit(&wanted, n, memory_order_relaxed);
    return n;
}

int sm_in_parallel(void) {
    return inside;
}

void sm_pool_keep_out(void) {
    inside = 1;
}

void sm_pool_stop(void) {
    pthread_mutex_lock(&owner);
    stop_workers();
    pthread_mutex_unlock(&owner);
}
