/* pnm.h: binary PGM (P5) and PPM (P6). Read by ourselves, since stb_image neither scales
 * by the largest value nor swaps the bytes of 16-bit pixels. */
#ifndef SM_IMAGE_PNM_H
#define SM_IMAGE_PNM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_pnm {
    int64_t components, width, height, most; /* most: the largest value, below 65536 */
    size_t at;                               /* of the first pixel */
} sm_pnm;

/* Reads the header of a file that begins with P5 or P6; false when it is broken. Sizes
 * are at most 2^24. */
bool sm_pnm_header(const uint8_t *b, size_t size, sm_pnm *p);
/* Whether the file holds all pixels. */
bool sm_pnm_is_whole(const sm_pnm *p, size_t size);
/* Pixels as bytes [height, width, channels]; channels is 1 or 3. */
void sm_pnm_pixels(const uint8_t *b, const sm_pnm *p, int channels, uint8_t *pixels);

#endif
