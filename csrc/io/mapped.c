/* mapped.c: see mapped.h. AddressSanitizer does not see a read past the end of a mapping,
 * so under it files are copied to where it does. */
#include "io/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define COPIED 1
#elif defined(__has_feature)
#define COPIED __has_feature(address_sanitizer)
#else
#define COPIED 0
#endif

static sm_status copy(const char *path, sm_mapped *file, sm_error *err) {
    void *block = sm_alloc(file->size);
    if (block)
        memcpy(block, file->data, file->size);
    munmap((void *)file->data, file->size);
    file->data = block;
    return block ? SM_OK : sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
}

static sm_status map(const char *path, int fd, sm_mapped *file, sm_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return sm_fail(err, SM_EIO, 0, "%s: not a file", path);
    if (info.st_size <= 0)
        return sm_fail(err, SM_EIO, 0, "%s: too short: the file is empty", path);
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    madvise(data, (size_t)info.st_size, MADV_SEQUENTIAL); /* read ahead */
    *file = (sm_mapped){data, (size_t)info.st_size};
    return COPIED ? copy(path, file, err) : SM_OK;
}

sm_status sm_mapped_open(const char *path, sm_mapped *file, sm_error *err) {
    *file = (sm_mapped){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block */
    if (fd < 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    sm_status status = map(path, fd, file, err);
    close(fd);
    return status;
}

void sm_mapped_close(sm_mapped *file) {
    if (COPIED)
        sm_free((void *)file->data);
    else if (file->data)
        munmap((void *)file->data, file->size);
    *file = (sm_mapped){0};
}

void sm_mapped_release(const sm_mapped *file, const void *from, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (size_t)((const uint8_t *)from - file->data), end = begin + bytes;
    begin -= begin % page; /* what is before it on its page has been read already */
    end -= end % page;
    if (end > begin && !COPIED)
        madvise((void *)(file->data + begin), end - begin, MADV_DONTNEED);
}
