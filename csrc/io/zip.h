/* zip.h: what lies in a ZIP archive (PKWARE's APPNOTE.TXT, 6.3), zip64 as well, that is
 * in memory. The bytes of stored entries can be read where they lie: PyTorch compresses
 * nothing, so that tensors can be mapped. io/archive.h reads the others, too.
 *
 *     sm_zip zip;
 *     if (sm_zip_open(path, bytes, size, &zip, &err) != SM_OK) ...
 *     const sm_zip_entry *e = sm_zip_find(&zip, "archive/data.pkl", 16);
 *     ... e->data, e->size ...
 *     sm_zip_close(&zip);
 */
#ifndef SM_IO_ZIP_H
#define SM_IO_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sm_zip_entry {
    const char *name; /* in the archive, without an end */
    size_t name_size;
    const uint8_t *data; /* NULL when it is compressed or encrypted */
    size_t size;
    uint64_t at;     /* of its data in the archive */
    size_t packed;   /* the data's bytes there; lie within the archive */
    unsigned method; /* 0: stored, 8: DEFLATE */
    bool encrypted;
    uint32_t crc; /* of what is in it; 0 may mean that there is none */
} sm_zip_entry;

typedef struct sm_zip {
    sm_zip_entry *entries; /* in the order of their names */
    size_t count;
} sm_zip;

/* Whether the bytes begin as an archive does. */
bool sm_zip_looks_so(const uint8_t *bytes, size_t size);
/* Reads the directory and checks that all entries lie within the archive, that none lies
 * where another does, and that no two have one name. SM_EIO, with the path in the
 * message, otherwise; *zip is empty then. Sums (CRC-32) are not checked: PyTorch lets
 * them be left out. */
sm_status sm_zip_open(const char *path, const uint8_t *bytes, size_t size, sm_zip *zip,
                      sm_error *err);
/* NULL if there is none of that name. */
const sm_zip_entry *sm_zip_find(const sm_zip *zip, const char *name, size_t size);
void sm_zip_close(sm_zip *zip);

#endif
