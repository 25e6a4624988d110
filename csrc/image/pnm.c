/* pnm.c: see pnm.h. The formats are netpbm's. */
#include "image/pnm.h"

#include <string.h>

static size_t skip_space(const uint8_t *b, size_t size, size_t at) {
    while (at < size && (b[at] == '#' || (b[at] && strchr(" \t\r\n\v\f", b[at])))) {
        if (b[at++] != '#')
            continue;
        while (at < size && b[at] != '\n' && b[at] != '\r')
            at++;
    }
    return at;
}

bool sm_pnm_header(const uint8_t *b, size_t size, sm_pnm *p) {
    int64_t *const numbers[] = {&p->width, &p->height, &p->most};
    p->components = b[1] == '6' ? 3 : 1;
    p->at = 2;
    for (int k = 0; k < 3; k++) {
        p->at = skip_space(b, size, p->at);
        *numbers[k] = 0;
        for (; p->at < size && b[p->at] >= '0' && b[p->at] <= '9'; p->at++)
            if ((*numbers[k] = *numbers[k] * 10 + (b[p->at] - '0')) > 1 << 24)
                return false;
    }
    p->at++; /* one character of white space */
    return p->width > 0 && p->height > 0 && p->most > 0 && p->most < 65536;
}

/* Component c of pixel i as a byte. */
static uint8_t pnm_value(const uint8_t *b, const sm_pnm *p, int64_t i, int64_t c) {
    int64_t k = i * p->components + c, value;
    if (p->most < 256)
        value = b[p->at + (size_t)k];
    else
        value = b[p->at + (size_t)(2 * k)] << 8 | b[p->at + (size_t)(2 * k) + 1];
    value = value > p->most ? p->most : value;
    return (uint8_t)((value * 255 + p->most / 2) / p->most);
}

void sm_pnm_pixels(const uint8_t *b, const sm_pnm *p, int channels, uint8_t *pixels) {
    int64_t area = p->width * p->height;
    if (p->most == 255 && p->components == channels) {
        memcpy(pixels, b + p->at, (size_t)(area * channels));
        return;
    }
    for (int64_t i = 0; i < area; i++) {
        uint8_t rgb[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = pnm_value(b, p, i, p->components == 3 ? c : 0);
        if (channels == 1)
            pixels[i] = p->components == 1
                            ? rgb[0]
                            : (uint8_t)((rgb[0] * 77 + rgb[1] * 150 + rgb[2] * 29) >> 8);
        for (int c = 0; c < 3 && channels == 3; c++)
            pixels[i * 3 + c] = rgb[c];
    }
}

bool sm_pnm_is_whole(const sm_pnm *p, size_t size) {
    int64_t bytes = p->width * p->height * p->components * (p->most > 255 ? 2 : 1);
    return p->at <= size && (uint64_t)bytes <= size - p->at;
}
