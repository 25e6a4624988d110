/* mem.c: a caching allocator with size classes. See mem.h.
 *
 * A size class is a power of two and an eighth-step above it (64, 128, ..., 512, 576,
 * 640, ...), so a block wastes at most an eighth. Each block has a 64-byte header in
 * front that holds its class; free blocks of one class are a singly linked list through
 * their own first bytes. Under AddressSanitizer nothing is rounded up or kept, so that it
 * sees every overrun and every use after free.
 */
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define CACHING 0
#elif defined(__has_feature)
#define CACHING !__has_feature(address_sanitizer)
#else
#define CACHING 1
#endif

enum { ALIGNMENT = 64, STEPS = 8, CLASSES = 60 * STEPS };

/* The cache may always hold this much; above it, no more than is in use. */
static const size_t CACHE_FLOOR = (size_t)256 << 20;

typedef struct header {
    size_t bytes; /* usable bytes of the block, without this header */
    int class_index;
    struct header *next; /* while free */
    char padding[ALIGNMENT - sizeof(size_t) - 2 * sizeof(void *)];
} header;

_Static_assert(sizeof(header) == ALIGNMENT, "the header keeps blocks aligned");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static header *free_lists[CLASSES];
static sm_mem_stats stats;
static size_t limit; /* 0: not worked out yet */

/* The number in a control group's file, SIZE_MAX where there is none ("max", no such
 * file). */
static size_t read_limit(const char *path) {
    unsigned long long bytes;
    FILE *f = fopen(path, "r");
    if (!f)
        return SIZE_MAX;
    size_t result = fscanf(f, "%llu", &bytes) == 1 ? (size_t)bytes : SIZE_MAX;
    fclose(f);
    return result;
}

static size_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t least = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
    static const char *const files[] = {"/sys/fs/cgroup/memory.max",
                                        "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (int i = 0; i < 2; i++) {
        size_t bytes = read_limit(files[i]);
        least = bytes < least ? bytes : least;
    }
    return least;
}

/* Rounds `bytes` up to its class; returns the class, or -1 when it is absurdly large. */
static int size_class(size_t bytes, size_t *rounded) {
    if (bytes <= 512) {
        size_t units = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT : 1;
        *rounded = units * ALIGNMENT;
        return (int)units - 1; /* 0..7 */
    }
    if (bytes > SIZE_MAX / 4)
        return -1;
    int log2 = 63 - __builtin_clzll((unsigned long long)(bytes - 1)); /* >= 9 */
    size_t step = (size_t)1 << (log2 - 3);
    size_t above = (bytes - ((size_t)1 << log2) + step - 1) / step; /* 1..8 */
    *rounded = ((size_t)1 << log2) + above * step;
    return (log2 - 8) * STEPS + (int)above - 1;
}

/* Under the lock: gives cached blocks back to the system until at most `keep` bytes
 * remain. */
static void shrink_cache(size_t keep) {
    for (int c = CLASSES - 1; c >= 0 && stats.cached > keep; c--) {
        while (free_lists[c] && stats.cached > keep) {
            header *h = free_lists[c];
            free_lists[c] = h->next;
            stats.cached -= h->bytes;
            free(h);
        }
    }
}

static header *system_block(size_t rounded, int class_index) {
    void *p = NULL;
    if (posix_memalign(&p, ALIGNMENT, rounded + sizeof(header)) != 0)
        return NULL;
    header *h = p;
    h->bytes = rounded;
    h->class_index = class_index;
    return h;
}

void *sm_alloc(size_t bytes) {
    size_t rounded;
    int c = size_class(bytes, &rounded);
    if (c < 0 || c >= CLASSES)
        return NULL;
    if (!CACHING)
        rounded = bytes;
    pthread_mutex_lock(&lock);
    header *h = NULL;
    if (!limit)
        limit = machine_memory();
    if (rounded <= limit && stats.live <= limit - rounded) {
        h = free_lists[c];
        if (h) {
            free_lists[c] = h->next;
            stats.cached -= h->bytes;
        } else {
            stats.system_calls++;
            if (stats.live + stats.cached > limit - rounded)
                shrink_cache(
                    0); /* what waits counts, too, towards what the machine has */
            h = system_block(rounded, c);
            if (!h && stats.cached) {
                shrink_cache(0);
                h = system_block(rounded, c);
            }
        }
    }
    if (h) {
        h->next = NULL;
        stats.allocs++;
        stats.live += h->bytes;
        if (stats.live > stats.peak)
            stats.peak = stats.live;
    }
    pthread_mutex_unlock(&lock);
    return h ? h + 1 : NULL;
}

void *sm_calloc(size_t bytes) {
    void *p = sm_alloc(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *sm_realloc(void *block, size_t bytes) {
    if (!block)
        return sm_alloc(bytes);
    size_t have = sm_block_size(block);
    if (bytes <= have && bytes >= have / 2)
        return block;
    void *p = sm_alloc(bytes);
    if (!p)
        return NULL;
    memcpy(p, block, bytes < have ? bytes : have);
    sm_free(block);
    return p;
}

void sm_free(void *block) {
    if (!block)
        return;
    header *h = (header *)block - 1;
    pthread_mutex_lock(&lock);
    stats.live -= h->bytes;
    if (CACHING) {
        stats.cached += h->bytes;
        h->next = free_lists[h->class_index];
        free_lists[h->class_index] = h;
        /* As much as was ever in use may wait to be in use again; rounding may leave a
         * little more. */
        size_t keep = stats.peak > CACHE_FLOOR ? stats.peak : CACHE_FLOOR;
        if (stats.cached > keep + keep / 4)
            shrink_cache(keep);
    } else {
        free(h);
    }
    pthread_mutex_unlock(&lock);
}

size_t sm_block_size(const void *block) {
    return ((const header *)block - 1)->bytes;
}

void sm_mem_trim(void) {
    pthread_mutex_lock(&lock);
    shrink_cache(0);
    pthread_mutex_unlock(&lock);
}

void sm_mem_get_stats(sm_mem_stats *out) {
    pthread_mutex_lock(&lock);
    *out = stats;
    pthread_mutex_unlock(&lock);
}

void sm_mem_reset_peak(void) {
    pthread_mutex_lock(&lock);
    stats.peak = stats.live;
    pthread_mutex_unlock(&lock);
}

void sm_mem_set_limit(size_t bytes) {
    pthread_mutex_lock(&lock);
    limit = bytes;
    pthread_mutex_unlock(&lock);
}
