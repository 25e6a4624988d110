/* draw.c: see draw.h. The font is five by seven dots; a row is five bits, the leftmost
 * the highest. */
#include "image/draw.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const char order[] = " 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,:%-+/()=#'!?_<>";

static const uint8_t font[][7] = {
    {0, 0, 0, 0, 0, 0, 0},        {14, 17, 19, 21, 25, 17, 14},
    {4, 12, 4, 4, 4, 4, 14},      {14, 17, 1, 6, 8, 16, 31},
    {14, 17, 1, 6, 1, 17, 14},    {2, 6, 10, 18, 31, 2, 2},
    {31, 16, 30, 1, 1, 17, 14},   {6, 8, 16, 30, 17, 17, 14},
    {31, 1, 2, 4, 8, 8, 8},       {14, 17, 17, 14, 17, 17, 14},
    {14, 17, 17, 15, 1, 2, 12},   {14, 17, 17, 31, 17, 17, 17},
    {30, 17, 17, 30, 17, 17, 30}, {14, 17, 16, 16, 16, 17, 14},
    {30, 17, 17, 17, 17, 17, 30}, {31, 16, 16, 30, 16, 16, 31},
    {31, 16, 16, 30, 16, 16, 16}, {14, 17, 16, 23, 17, 17, 15},
    {17, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14},
    {7, 2, 2, 2, 2, 18, 12},      {17, 18, 20, 24, 20, 18, 17},
    {16, 16, 16, 16, 16, 16, 31}, {17, 27, 21, 21, 17, 17, 17},
    {17, 25, 21, 19, 17, 17, 17}, {14, 17, 17, 17, 17, 17, 14},
    {30, 17, 17, 30, 16, 16, 16}, {14, 17, 17, 17, 21, 18, 13},
    {30, 17, 17, 30, 20, 18, 17}, {15, 16, 16, 14, 1, 1, 30},
    {31, 4, 4, 4, 4, 4, 4},       {17, 17, 17, 17, 17, 17, 14},
    {17, 17, 17, 17, 17, 10, 4},  {17, 17, 17, 21, 21, 27, 17},
    {17, 17, 10, 4, 10, 17, 17},  {17, 17, 10, 4, 4, 4, 4},
    {31, 1, 2, 4, 8, 16, 31},     {0, 0, 0, 0, 0, 12, 12},
    {0, 0, 0, 0, 12, 4, 8},       {0, 12, 12, 0, 12, 12, 0},
    {24, 25, 2, 4, 8, 19, 3},     {0, 0, 0, 14, 0, 0, 0},
    {0, 4, 4, 31, 4, 4, 0},       {1, 1, 2, 4, 8, 16, 16},
    {2, 4, 8, 8, 8, 4, 2},        {8, 4, 2, 2, 2, 4, 8},
    {0, 0, 31, 0, 31, 0, 0},      {10, 10, 31, 10, 31, 10, 10},
    {4, 4, 8, 0, 0, 0, 0},        {4, 4, 4, 4, 4, 0, 4},
    {14, 17, 1, 2, 4, 0, 4},      {0, 0, 0, 0, 0, 0, 31},
    {2, 4, 8, 16, 8, 4, 2},       {8, 4, 2, 1, 2, 4, 8}};
static const uint8_t box[7] = {31, 17, 17, 17, 17, 17, 31};

_Static_assert(sizeof font / sizeof *font == sizeof order - 1, "one row a character");

static void fill(const sm_canvas *c, int64_t left, int64_t top, int64_t right,
                 int64_t bottom, const uint8_t color[3]) {
    left = left < 0 ? 0 : left;
    top = top < 0 ? 0 : top;
    right = right > c->width ? c->width : right;
    bottom = bottom > c->height ? c->height : bottom;
    for (int plane = 0; plane < 3; plane++)
        for (int64_t y = top; y < bottom; y++)
            for (int64_t x = left; x < right; x++)
                c->data[(plane * c->height + y) * c->width + x] = color[plane];
}

void sm_draw_rectangle(const sm_canvas *c, int64_t x, int64_t y, int64_t width,
                       int64_t height, const uint8_t color[3], int64_t thickness) {
    int64_t right = x + width, bottom = y + height, t = thickness;
    if (t <= 0 || 2 * t >= width || 2 * t >= height) {
        fill(c, x, y, right, bottom, color);
        return;
    }
    fill(c, x, y, right, y + t, color);
    fill(c, x, bottom - t, right, bottom, color);
    fill(c, x, y + t, x + t, bottom - t, color);
    fill(c, right - t, y + t, right, bottom - t, color);
}

/* A square brush around (x, y). */
static void dot(const sm_canvas *c, int64_t x, int64_t y, const uint8_t color[3],
                int64_t thickness) {
    x -= (thickness - 1) / 2;
    y -= (thickness - 1) / 2;
    fill(c, x, y, x + thickness, y + thickness, color);
}

/* One dot a pixel along the longer side (`flat`: along x), only where that lies near the
 * picture. */
void sm_draw_line(const sm_canvas *c, int64_t x0, int64_t y0, int64_t x1, int64_t y1,
                  const uint8_t color[3], int64_t thickness) {
    const bool flat = llabs(x1 - x0) >= llabs(y1 - y0);
    int64_t from = flat ? x0 : y0, to = flat ? x1 : y1, at = flat ? y0 : x0,
            rise = flat ? y1 - y0 : x1 - x0;
    if (from > to) {
        int64_t swap = from;
        from = to;
        to = swap;
        at += rise;
        rise = -rise;
    }
    const int64_t room = (flat ? c->width : c->height) + thickness, run = to - from;
    int64_t first = from < -thickness ? -thickness : from, last = to > room ? room : to;
    for (int64_t i = first; i <= last; i++) {
        double share = run ? (double)(i - from) / (double)run : 0;
        int64_t other = at + (int64_t)llround(share * (double)rise);
        dot(c, flat ? i : other, flat ? other : i, color, thickness);
    }
}

static const uint8_t *glyph_of(char letter) {
    if (letter >= 'a' && letter <= 'z')
        letter = (char)(letter - 'a' + 'A');
    for (int i = 0; order[i]; i++)
        if (order[i] == letter)
            return font[i];
    return box;
}

void sm_draw_text(const sm_canvas *c, int64_t x, int64_t y, const char *text,
                  const uint8_t color[3], int64_t scale) {
    for (; *text; text++, x += SM_TEXT_WIDTH * scale) {
        const uint8_t *rows = glyph_of(*text);
        for (int r = 0; r < 7; r++)
            for (int b = 0; b < 5; b++)
                if (rows[r] >> (4 - b) & 1)
                    fill(c, x + b * scale, y + r * scale, x + (b + 1) * scale,
                         y + (r + 1) * scale, color);
    }
}
