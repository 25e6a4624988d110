/* crc32.c: eight bytes a step ("slicing by 8", Kounavis and Berry: "A systematic approach
 * to building high performance software-based CRC generators", ISCC 2005). Table k says
 * what a byte does that is followed by k others. */
#include "base/crc32.h"

#include <pthread.h>

enum { SLICES = 8 };

static uint32_t table[SLICES][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0);
        table[0][i] = c;
    }
    for (int k = 1; k < SLICES; k++)
        for (uint32_t i = 0; i < 256; i++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xFF];
}

static uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t sm_crc32(const uint8_t *data, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    pthread_once(&once, make_table);
    for (; size >= SLICES; data += SLICES, size -= SLICES) {
        const uint32_t a = little32(data) ^ crc, b = little32(data + 4);
        crc = table[7][a & 0xFF] ^ table[6][a >> 8 & 0xFF] ^ table[5][a >> 16 & 0xFF] ^
              table[4][a >> 24] ^ table[3][b & 0xFF] ^ table[2][b >> 8 & 0xFF] ^
              table[1][b >> 16 & 0xFF] ^ table[0][b >> 24];
    }
    for (; size; data++, size--)
        crc = (crc >> 8) ^ table[0][(crc ^ *data) & 0xFF];
    return ~crc;
}
