/* arena.h: many small pieces of memory that live and die together, up to a limit.
 *
 *     sm_arena arena = {.limit = 64 << 20};
 *     node *n = sm_arena_alloc(&arena, sizeof *n);   // NULL: no memory, or the limit
 *     sm_arena_free(&arena);
 */
#ifndef SM_BASE_ARENA_H
#define SM_BASE_ARENA_H

#include <stddef.h>

typedef struct sm_arena {
    size_t limit; /* bytes that may be handed out */
    size_t used;
    char *at; /* where the next piece comes from */
    size_t left;
    struct sm_arena_chunk *chunks;
} sm_arena;

/* A piece that is aligned for any type, contents undefined. NULL when there is no memory
 * or the limit would be passed. */
void *sm_arena_alloc(sm_arena *arena, size_t bytes);
/* A bigger copy of a piece of `old` bytes, at least `least` bytes and at least twice as
 * big; *room gets its size. The old piece is left where it is. */
void *sm_arena_grow(sm_arena *arena, const void *piece, size_t old, size_t least,
                    size_t *room);
/* Frees all pieces; the arena is empty, and may be used again. */
void sm_arena_free(sm_arena *arena);

#endif
