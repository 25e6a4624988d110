/* draw.h: rectangles, lines and text on planar RGB pictures [3, height, width] of bytes.
 * What lies outside of the picture is left out. Coordinates count from 0. */
#ifndef SM_IMAGE_DRAW_H
#define SM_IMAGE_DRAW_H

#include <stdint.h>

typedef struct sm_canvas {
    uint8_t *data;
    int64_t height, width;
} sm_canvas;

enum { SM_TEXT_WIDTH = 6, SM_TEXT_HEIGHT = 8 }; /* of a character, with the gaps */

/* A frame of that thickness inwards; thickness 0 fills. */
void sm_draw_rectangle(const sm_canvas *c, int64_t x, int64_t y, int64_t width,
                       int64_t height, const uint8_t color[3], int64_t thickness);
/* From one point to the other, both included, `thickness` pixels wide. */
void sm_draw_line(const sm_canvas *c, int64_t x0, int64_t y0, int64_t x1, int64_t y1,
                  const uint8_t color[3], int64_t thickness);
/* ASCII; small letters appear as capitals, what the font lacks as a box. */
void sm_draw_text(const sm_canvas *c, int64_t x, int64_t y, const char *text,
                  const uint8_t color[3], int64_t scale);

#endif
