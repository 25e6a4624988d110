/* stb.c: the implementation of stb_image and stb_image_write, on the project's memory.
 * Only the formats that the project reads. */
#include "base/mem.h"

#define STBI_MALLOC(size) sm_alloc(size)
#define STBI_REALLOC(block, size) sm_realloc(block, size)
#define STBI_FREE(block) sm_free(block)
#define STBI_ASSERT(x) ((void)0)
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_SUPPORT_ZLIB
#define STBI_MAX_DIMENSIONS (1 << 20)
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "stb_image.h"

#define STBIW_MALLOC(size) sm_alloc(size)
#define STBIW_REALLOC(block, size) sm_realloc(block, size)
#define STBIW_FREE(block) sm_free(block)
#define STBIW_ASSERT(x) ((void)0)
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include "stb_image_write.h"
#pragma GCC diagnostic pop
