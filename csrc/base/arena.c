/* arena.c: see arena.h. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { ALIGNMENT = 16, CHUNK = 32 << 10 };

typedef struct sm_arena_chunk {
    struct sm_arena_chunk *next;
    size_t padding; /* so that what follows is aligned as the chunk is */
} chunk;

void *sm_arena_alloc(sm_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > arena->limit || arena->used > arena->limit - bytes)
        return NULL;
    if (bytes > arena->left) {
        size_t size = bytes > CHUNK / 4 ? bytes : CHUNK;
        chunk *c = sm_alloc(sizeof *c + size);
        if (!c)
            return NULL;
        c->next = arena->chunks;
        arena->chunks = c;
        arena->used += bytes;
        if (size == bytes) /* a big one has a chunk to itself: the other goes on */
            return c + 1;
        arena->at = (char *)(c + 1) + bytes;
        arena->left = size - bytes;
        return c + 1;
    }
    void *piece = arena->at;
    arena->at += bytes;
    arena->left -= bytes;
    arena->used += bytes;
    return piece;
}

void *sm_arena_grow(sm_arena *arena, const void *piece, size_t old, size_t least,
                    size_t *room) {
    size_t size = old > least / 2 ? 2 * old : least;
    char *bigger = sm_arena_alloc(arena, size);
    if (!bigger)
        return NULL;
    if (old)
        memcpy(bigger, piece, old);
    *room = size;
    return bigger;
}

void sm_arena_free(sm_arena *arena) {
    for (chunk *c = arena->chunks; c;) {
        chunk *next = c->next;
        sm_free(c);
        c = next;
    }
    *arena = (sm_arena){.limit = arena->limit};
}
