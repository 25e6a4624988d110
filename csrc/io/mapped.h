/* mapped.h: a whole file as bytes to be read, without reading it first.
 *
 * The system brings pages in as they are looked at. What has been copied out is handed
 * back with sm_mapped_release, so that a file and the tensors made of it never lie in
 * memory together. As with every mapping, a file that another program shortens meanwhile
 * takes the bytes away: nothing keeps a mapping longer than it takes to load.
 */
#ifndef SM_IO_MAPPED_H
#define SM_IO_MAPPED_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sm_mapped {
    const uint8_t *data;
    size_t size;
} sm_mapped;

/* SM_EIO, with the path in the message, when there is no such file, or it is a folder or
 * empty. On failure *file is empty; sm_mapped_close is allowed on it. */
sm_status sm_mapped_open(const char *path, sm_mapped *file, sm_error *err);
void sm_mapped_close(sm_mapped *file);

/* Says that these bytes of the mapping will not be looked at again soon; doing so is
 * allowed. */
void sm_mapped_release(const sm_mapped *file, const void *from, size_t bytes);

#endif
