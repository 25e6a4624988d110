/* inflate.c: see inflate.h. */
#include "image/inflate.h"

#include <limits.h>

int stbi_zlib_decode_noheader_buffer(char *out, int out_size, const char *in,
                                     int in_size);

long long sm_inflate(void *out, size_t out_size, const void *in, size_t in_size) {
    if (out_size > INT_MAX || in_size > INT_MAX)
        return -1;
    return stbi_zlib_decode_noheader_buffer(out, (int)out_size, in, (int)in_size);
}
