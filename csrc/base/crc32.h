/* crc32.h: the checksum of gzip, zip and PNG. */
#ifndef SM_BASE_CRC32_H
#define SM_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 (ISO 3309) of a block. */
uint32_t sm_crc32(const uint8_t *data, size_t size);

#endif
