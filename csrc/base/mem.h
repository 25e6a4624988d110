/* mem.h: the one place that asks the system for memory.
 *
 * Blocks are 64-byte aligned. Freed memory is kept and handed out again, so that a
 * training step in its steady state asks the system for nothing. The caches are given
 * back by sm_mem_trim(), by an allocation that would otherwise fail, and when they hold
 * more than the program has in use (and more than a floor). All functions may be called
 * from any thread.
 */
#ifndef SM_BASE_MEM_H
#define SM_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_mem_stats {
    size_t live;           /* bytes handed out and not freed */
    size_t peak;           /* the most that `live` has been since sm_mem_reset_peak() */
    size_t cached;         /* bytes that wait to be handed out again */
    size_t limit;          /* that `live` may not pass: see sm_mem_set_limit */
    uint64_t allocs;       /* calls of sm_alloc so far */
    uint64_t system_calls; /* of these, the ones that had to ask the system */
} sm_mem_stats;

/* A block of at least `bytes` bytes (contents undefined), or NULL. sm_alloc(0) gives a
 * valid block. */
void *sm_alloc(size_t bytes);
/* The same, filled with zeros. */
void *sm_calloc(size_t bytes);
/* Zeros again, but a large block occupies no memory where it isn't written: for what has
 * a size and will hardly be looked at. It counts as live, and is never kept. */
void *sm_alloc_unwritten(size_t bytes);
/* A block with the first min(old, new) bytes of `block`; NULL leaves `block` as it was.
 */
void *sm_realloc(void *block, size_t bytes);
/* Frees a block of sm_alloc; NULL is allowed. */
void sm_free(void *block);
/* The bytes that a block really occupies. */
size_t sm_block_size(const void *block);

/* Gives all cached blocks back to the system. */
void sm_mem_trim(void);
void sm_mem_get_stats(sm_mem_stats *stats);
void sm_mem_reset_peak(void);
/* sm_alloc fails once `live` would pass `bytes`. It starts as the memory that the machine
 * (or the control group) has, since a system that overcommits would kill the process
 * later instead of refusing now. 0 sets it back to that. */
void sm_mem_set_limit(size_t bytes);

/* *product = a * b, false on overflow of size_t / int64_t. */
static inline bool sm_mul_size(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}
static inline bool sm_mul_i64(int64_t a, int64_t b, int64_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

#endif
