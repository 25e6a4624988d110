/* directory.h: what is in a folder, sorted, on any POSIX system.
 *
 *     sm_directory *dir;
 *     if (sm_directory_list("images_background", &dir, &err) != SM_OK) ...
 *     for (size_t i = 0; i < dir->count; i++)
 *         if (dir->entries[i].kind == SM_ENTRY_FOLDER) use(dir->entries[i].name);
 *     sm_directory_free(dir);
 */
#ifndef SM_IO_DIRECTORY_H
#define SM_IO_DIRECTORY_H

#include <stddef.h>

#include "base/status.h"

typedef enum sm_entry_kind {
    SM_ENTRY_NONE = 0, /* nothing there, or not allowed to look */
    SM_ENTRY_FILE,
    SM_ENTRY_FOLDER,
    SM_ENTRY_OTHER /* a socket, a device, a link that leads nowhere */
} sm_entry_kind;

typedef struct sm_entry {
    char *name;         /* without the folder */
    sm_entry_kind kind; /* of what a symbolic link points at */
} sm_entry;

typedef struct sm_directory {
    size_t count, room;
    sm_entry *entries; /* in the order of their names' bytes; "." and ".." are left out */
} sm_directory;

/* SM_EIO when the folder cannot be read, with the system's reason in the message. */
sm_status sm_directory_list(const char *path, sm_directory **out, sm_error *err);
void sm_directory_free(sm_directory *dir); /* NULL is allowed */

/* What `path` is, links followed. */
sm_entry_kind sm_path_kind(const char *path);

#endif
