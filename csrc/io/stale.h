/* stale.h: what writers that were killed left beside their files.
 *
 * Files are written as PATH.tmpNUMBER and renamed when they are whole (durable.h). A
 * writer that is killed before that leaves its part there. Living writers hold a lock on
 * theirs (flock), which the system lets go of with them, however they end. */
#ifndef SM_IO_STALE_H
#define SM_IO_STALE_H

#include <stdint.h>

/* Removes the parts of `path` whose writers are dead; returns how many. Whatever cannot
 * be looked at or removed is left alone. */
int64_t sm_stale_remove(const char *path);

#endif
