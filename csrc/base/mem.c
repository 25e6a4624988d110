/* mem.c: a caching allocator. See mem.h.
 *
 * Small blocks have size classes: a power of two and an eighth-step above it (64, 128,
 * ..., 512, 576, 640, ...), so a block wastes at most an eighth; free blocks of one class
 * are a singly linked list. Large ones are cut from regions (region.h). Under
 * AddressSanitizer nothing is rounded up or kept, so that it sees every overrun and every
 * use after free.
 */
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/region.h"

#if defined(__SANITIZE_ADDRESS__)
#define CACHING 0
#elif defined(__has_feature)
#define CACHING !__has_feature(address_sanitizer)
#else
#define CACHING 1
#endif

enum { ALIGNMENT = SM_BLOCK_HEADER, STEPS = 8, CLASSES = 8 * STEPS };

static const size_t LARGE = (size_t)64 << 10; /* from here on out of regions */

/* The cache may always hold this much; above it, no more than is in use. */
static const size_t CACHE_FLOOR = (size_t)256 << 20;

typedef sm_block header;

_Static_assert(sizeof(header) <= ALIGNMENT, "the header keeps blocks aligned");

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

/* Rounds `bytes` up to its class; returns the class, SM_LARGE for a large block. */
static int size_class(size_t bytes, size_t *rounded) {
    if (bytes <= 512) {
        size_t units = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT : 1;
        *rounded = units * ALIGNMENT;
        return (int)units - 1; /* 0..7 */
    }
    if (bytes >= LARGE) {
        *rounded = bytes;
        return SM_LARGE;
    }
    int log2 = 63 - __builtin_clzll((unsigned long long)(bytes - 1)); /* >= 9 */
    size_t step = (size_t)1 << (log2 - 3);
    size_t above = (bytes - ((size_t)1 << log2) + step - 1) / step; /* 1..8 */
    *rounded = ((size_t)1 << log2) + above * step;
    return (log2 - 8) * STEPS + (int)above - 1;
}

static size_t small_cached;

static size_t cached(void) {
    return small_cached + sm_region_free_bytes();
}

/* Under the lock: gives all cached memory back to the system. */
static void trim(void) {
    for (int c = 0; c < CLASSES; c++)
        while (free_lists[c]) {
            header *h = free_lists[c];
            free_lists[c] = h->next;
            free(h);
        }
    small_cached = 0;
    sm_region_trim();
}

static header *header_of(void *block) {
    return (header *)((char *)block - ALIGNMENT);
}

static header *system_block(size_t rounded, int class_index) {
    void *p = NULL;
    if (rounded > SIZE_MAX - ALIGNMENT ||
        posix_memalign(&p, ALIGNMENT, rounded + ALIGNMENT) != 0)
        return NULL;
    header *h = p;
    *h = (header){.bytes = rounded, .class_index = class_index};
    return h;
}

/* A block from the cache or, setting *grew, from the system. */
static header *take(size_t rounded, int class_index, bool *grew) {
    *grew = true;
    if (class_index == SM_PAGES)
        return sm_pages_alloc(rounded);
    if (CACHING && class_index == SM_LARGE)
        return sm_region_alloc(rounded, grew);
    header *h = CACHING ? free_lists[class_index] : NULL;
    *grew = !h;
    if (!h)
        return system_block(rounded, class_index);
    free_lists[class_index] = h->next;
    small_cached -= h->bytes;
    return h;
}

/* The block's header, or NULL where the limit or the system refuses. */
static header *allocate(size_t rounded, int c) {
    pthread_mutex_lock(&lock);
    header *h = NULL;
    bool grew = false;
    if (!limit)
        limit = machine_memory();
    if (rounded <= limit && stats.live <= limit - rounded) {
        /* What waits counts, too, towards what the machine has. */
        if (stats.live + cached() > limit - rounded)
            trim();
        h = take(rounded, c, &grew);
        if (!h) {
            trim();
            h = take(rounded, c, &grew);
        }
    }
    if (h) {
        stats.allocs++;
        stats.system_calls += grew;
        stats.live += h->bytes;
        if (stats.live > stats.peak)
            stats.peak = stats.live;
    }
    pthread_mutex_unlock(&lock);
    return h;
}

void *sm_alloc(size_t bytes) {
    size_t rounded;
    int c = size_class(bytes, &rounded);
    header *h = allocate(CACHING ? rounded : bytes, c);
    return h ? (char *)h + ALIGNMENT : NULL;
}

void *sm_calloc(size_t bytes) {
    void *p = sm_alloc(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *sm_alloc_unwritten(size_t bytes) {
    if (bytes < LARGE)
        return sm_calloc(bytes);
    header *h = allocate(bytes, SM_PAGES);
    return h ? (char *)h + ALIGNMENT : NULL;
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
    header *h = header_of(block);
    pthread_mutex_lock(&lock);
    stats.live -= h->bytes;
    if (h->class_index == SM_PAGES) {
        sm_pages_free(h);
    } else if (!CACHING) {
        free(h);
    } else {
        if (h->class_index == SM_LARGE) {
            sm_region_free(h);
        } else {
            small_cached += h->bytes;
            h->next = free_lists[h->class_index];
            free_lists[h->class_index] = h;
        }
        /* As much as was ever in use may wait to be in use again. */
        size_t keep = stats.peak > CACHE_FLOOR ? stats.peak : CACHE_FLOOR;
        if (cached() > keep + keep / 4)
            trim();
    }
    pthread_mutex_unlock(&lock);
}

size_t sm_block_size(const void *block) {
    return header_of((void *)block)->bytes;
}

void sm_mem_trim(void) {
    pthread_mutex_lock(&lock);
    trim();
    pthread_mutex_unlock(&lock);
}

void sm_mem_get_stats(sm_mem_stats *out) {
    pthread_mutex_lock(&lock);
    if (!limit)
        limit = machine_memory();
    *out = stats;
    out->cached = cached();
    out->limit = limit;
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
