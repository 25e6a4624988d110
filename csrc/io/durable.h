/* durable.h: files that are there whole or not at all.
 *
 * The bytes go into PATH.tmpNUMBER beside the file, are made durable, and the file is
 * renamed. The writer holds a lock on its part, by which sm_stale_remove (stale.h) tells
 * the parts of those that were killed. */
#ifndef SM_IO_DURABLE_H
#define SM_IO_DURABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

/* Calls write(file, context), which returns false (with errno set) on failure. Failures
 * are SM_EIO with a message that names the file and the reason. */
sm_status sm_write_durably(const char *path,
                           bool (*write)(FILE *file, const void *context),
                           const void *context, sm_error *err);

#endif
