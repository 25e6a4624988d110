/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <stdint.h>

/* The length of the character at s (of which `left` bytes are there), 0 if it is none. */
static size_t character(const uint8_t *s, size_t left) {
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xC2 ? 0 /* a continuation, or an overlong form of ASCII */
               : s[0] < 0xE0 ? 2
               : s[0] < 0xF0 ? 3
               : s[0] < 0xF5 ? 4
                             : 0;
    if (!n || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

bool sm_utf8_valid(const char *text, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t n = character((const uint8_t *)text + at, size - at);
        if (!n)
            return false;
        at += n;
    }
    return true;
}
