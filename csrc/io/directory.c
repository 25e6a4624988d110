/* directory.c: see directory.h. Readdir gives names in no order, and the order of classes
 * decides their numbers, so the listing is sorted by bytes: the same on every machine and
 * in every locale. */
#include "io/directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

sm_entry_kind sm_path_kind(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0)
        return SM_ENTRY_NONE;
    if (S_ISREG(info.st_mode))
        return SM_ENTRY_FILE;
    return S_ISDIR(info.st_mode) ? SM_ENTRY_FOLDER : SM_ENTRY_OTHER;
}

void sm_directory_free(sm_directory *dir) {
    if (!dir)
        return;
    for (size_t i = 0; i < dir->count; i++)
        sm_free(dir->entries[i].name);
    sm_free(dir->entries);
    sm_free(dir);
}

static sm_status out_of_memory(const char *path, sm_error *err) {
    return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory while reading the folder", path);
}

/* The kind of an entry through its full path: d_type is not filled in by every file
 * system. */
static sm_status entry_kind(const char *folder, const char *name, sm_entry_kind *kind,
                            sm_error *err) {
    size_t a = strlen(folder), b = strlen(name);
    char *path = sm_alloc(a + b + 2);
    if (!path)
        return out_of_memory(folder, err);
    memcpy(path, folder, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    *kind = sm_path_kind(path);
    if (*kind == SM_ENTRY_NONE)
        *kind = SM_ENTRY_OTHER;
    sm_free(path);
    return SM_OK;
}

static sm_status add_entry(sm_directory *dir, const char *folder, const char *name,
                           sm_error *err) {
    if (dir->count == dir->room) {
        size_t room = dir->room ? 2 * dir->room : 32;
        sm_entry *entries = sm_realloc(dir->entries, room * sizeof *entries);
        if (!entries)
            return out_of_memory(folder, err);
        dir->entries = entries;
        dir->room = room;
    }
    sm_entry *entry = &dir->entries[dir->count];
    size_t bytes = strlen(name) + 1;
    entry->name = sm_alloc(bytes);
    if (!entry->name)
        return out_of_memory(folder, err);
    memcpy(entry->name, name, bytes);
    dir->count++;
    return entry_kind(folder, name, &entry->kind, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const sm_entry *)a)->name, ((const sm_entry *)b)->name);
}

static sm_status read_entries(DIR *stream, const char *path, sm_directory *dir,
                              sm_error *err) {
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(stream);
        if (!found && errno)
            return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
        if (!found)
            return SM_OK;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        sm_status status = add_entry(dir, path, found->d_name, err);
        if (status != SM_OK)
            return status;
    }
}

sm_status sm_directory_list(const char *path, sm_directory **out, sm_error *err) {
    sm_directory *dir = sm_calloc(sizeof *dir);
    if (!dir)
        return out_of_memory(path, err);
    DIR *stream = opendir(path);
    if (!stream) {
        sm_free(dir);
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    }
    sm_status status = read_entries(stream, path, dir, err);
    closedir(stream);
    if (status != SM_OK) {
        sm_directory_free(dir);
        return status;
    }
    if (dir->count > 1)
        qsort(dir->entries, dir->count, sizeof *dir->entries, by_name);
    *out = dir;
    return SM_OK;
}
