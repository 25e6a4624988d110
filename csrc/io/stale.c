/* stale.c: see stale.h. */
#include "io/stale.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST = 4096 };

/* Whether `name` is base.tmpNUMBER. */
static bool is_part(const char *name, const char *base) {
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, ".tmp", 4) != 0)
        return false;
    const char *digit = name + n + 4;
    if (!*digit)
        return false;
    while (isdigit((unsigned char)*digit))
        digit++;
    return !*digit;
}

static bool remove_if_dead(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0)
        return false;
    struct stat info;
    bool dead = fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
                flock(file, LOCK_EX | LOCK_NB) == 0 && unlink(path) == 0;
    close(file);
    return dead;
}

int64_t sm_stale_remove(const char *path) {
    char folder[LONGEST], part[LONGEST];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    int64_t removed = 0;
    if (n >= sizeof folder)
        return 0;
    memcpy(folder, path, n);
    folder[n] = '\0';
    DIR *stream = opendir(n ? folder : ".");
    for (const struct dirent *found; stream && (found = readdir(stream));)
        if (is_part(found->d_name, base) &&
            snprintf(part, sizeof part, "%s%s", folder, found->d_name) < (int)sizeof part)
            removed += remove_if_dead(part);
    if (stream)
        closedir(stream);
    return removed;
}
