/* images.h: [N,C,...] in the order of pixels, [n, m, c], cut into pieces for the threads.
 *
 * Sums over the pixels of an image are taken piece by piece and added in order. The cut
 * depends on the shape alone, so any number of threads gives the same bits.
 */
#ifndef SM_OPS_IMAGES_H
#define SM_OPS_IMAGES_H

#include <stdint.h>

typedef struct sm_images {
    int64_t n, m, c;
    int64_t parts; /* pieces of an image */
    int64_t chunk; /* pixels that the cache holds */
} sm_images;

enum { SM_IMAGES_PIECES = 16, SM_IMAGES_CHUNK = 8192, SM_IMAGES_ROWS = 512 };

static inline sm_images sm_images_of(const int64_t *shape, int ndim) {
    sm_images s = {.n = shape[0], .m = 1, .c = shape[1]};
    for (int d = 2; d < ndim; d++)
        if (__builtin_mul_overflow(s.m, shape[d], &s.m))
            s.m = 0; /* of an empty batch */
    const int64_t rows = SM_IMAGES_CHUNK / (s.c > 0 ? s.c : 1);
    s.chunk = rows < 16 ? 16 : rows > SM_IMAGES_ROWS ? SM_IMAGES_ROWS : rows;
    s.parts = 1 + (SM_IMAGES_PIECES - 1) / (s.n > 0 ? s.n : 1);
    const int64_t chunks = 1 + (s.m - 1) / s.chunk;
    s.parts = s.parts < chunks ? s.parts : chunks > 0 ? chunks : 1;
    return s;
}

static inline int64_t sm_images_pieces(const sm_images *s) {
    return s->n * s->parts;
}

/* Pieces that are worth a thread. */
static inline int64_t sm_images_grain(const sm_images *s) {
    return 1 + 16384 / (s->m / s->parts * s->c + 1);
}

/* Pixels of the batch [first, past) that piece i holds; they are of image i / parts. */
static inline int64_t sm_images_first(const sm_images *s, int64_t i) {
    return i / s->parts * s->m + i % s->parts * s->m / s->parts;
}
static inline int64_t sm_images_past(const sm_images *s, int64_t i) {
    return i / s->parts * s->m + (i % s->parts + 1) * s->m / s->parts;
}

#endif
