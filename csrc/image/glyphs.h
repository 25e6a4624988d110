/* glyphs.h: characters of alphabets that nobody has, drawn by many hands.
 *
 * A class is a handful of smooth strokes. Each sample of it is a new hand: control points
 * shake, strokes shift, the whole is rotated, sheared, scaled and moved, the pen is thin
 * or thick. Every drawing is a pure function of (seed, class, sample), so there are as
 * many classes and samples as anyone asks for.
 */
#ifndef SM_IMAGE_GLYPHS_H
#define SM_IMAGE_GLYPHS_H

#include <stdint.h>

typedef struct sm_glyphs {
    uint64_t seed;
    int64_t size;  /* pixels, height and width */
    double jitter; /* how unlike the hands are: 1 is as people are, 0 none */
} sm_glyphs;

/* out [n, 1, size, size]: ink 1 on paper 0, antialiased. On all threads. */
void sm_glyphs_draw(const sm_glyphs *g, int64_t n, const int64_t *classes,
                    const int64_t *samples, float *out);

#endif
