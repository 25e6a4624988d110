/* durable.c: see durable.h. */
#include "io/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens the temporary file and holds a lock on it for as long as it is open, which tells
 * sm_stale_remove that its writer lives. NULL with errno set on failure. Should the sweep
 * of another process take the new file between the two calls, it is made again. */
static FILE *open_temporary(const char *path) {
    for (int attempt = 0; attempt < 8; attempt++) {
        struct stat info;
        FILE *file = fopen(path, "wb");
        if (!file || flock(fileno(file), LOCK_EX) != 0 ||
            fstat(fileno(file), &info) != 0 || info.st_nlink > 0)
            return file; /* where there are no locks, there is nothing to hold */
        fclose(file);
    }
    errno = EAGAIN;
    return NULL;
}

/* Makes the rename itself durable. Folders that cannot be synchronised are let be. */
static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof folder)
        return;
    memcpy(folder, path, n);
    folder[n] = '\0';
    int fd = open(slash ? (n ? folder : "/") : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

sm_status sm_write_durably(const char *path,
                           bool (*write)(FILE *file, const void *context),
                           const void *context, sm_error *err) {
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid()) >=
        (int)sizeof temporary)
        return sm_fail(err, SM_EIO, 0, "%.200s...: the path is too long", path);
    FILE *file = open_temporary(temporary);
    bool ok =
        file && write(file, context) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int reason = errno;
    if (file && fclose(file) != 0 && ok) {
        reason = errno;
        ok = false;
    }
    if (ok && rename(temporary, path) == 0) {
        sync_folder(path);
        return SM_OK;
    }
    reason = ok ? errno : reason;
    if (file)
        remove(temporary);
    return sm_fail(err, SM_EIO, 0, "%s: could not be written: %s", path,
                   strerror(reason));
}
