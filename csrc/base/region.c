/* region.c: see region.h. Free blocks hang in lists by size, eight to each power of two;
 * the first that fits of the first list that must have one is within an eighth of the
 * best fit. What lies behind the last block of a region has never been used and costs
 * nothing yet. */
#include "base/region.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEPS = 8, LISTS = 64 * STEPS, GRAIN = 4096, TRIES = 8 };

static const size_t FIRST_REGION = (size_t)64 << 20, LARGEST_REGION = (size_t)1 << 30;
static const size_t SMALLEST = (size_t)32 << 10; /* a rest smaller than this stays */

typedef struct sm_region {
    struct sm_region *next;
    size_t size, used; /* bytes, this struct's page included */
    sm_block *last;    /* NULL: no block */
} sm_region;

static sm_region *regions;
static sm_block *lists[LISTS];
static size_t reserved, free_bytes;

/* The list of free blocks with at least 2^p (1 + s/8) bytes and less than the next. */
static int list_of(size_t bytes) {
    int p = 63 - __builtin_clzll((unsigned long long)bytes);
    return p * STEPS + (int)(bytes >> (p - 3) & (STEPS - 1));
}

static void list_add(sm_block *b) {
    int l = list_of(b->bytes);
    b->free = true;
    b->given = false;
    b->previous = NULL;
    b->next = lists[l];
    if (b->next)
        b->next->previous = b;
    lists[l] = b;
    free_bytes += b->bytes;
}

static void list_remove(sm_block *b) {
    if (b->previous)
        b->previous->next = b->next;
    else
        lists[list_of(b->bytes)] = b->next;
    if (b->next)
        b->next->previous = b->previous;
    b->free = false;
    free_bytes -= b->given ? 0 : b->bytes;
}

static sm_block *behind(const sm_block *b) {
    return b->last ? NULL : (sm_block *)((char *)b + SM_BLOCK_HEADER + b->bytes);
}

static void set_last(sm_block *b) {
    b->last = true;
    b->region->last = b;
}

/* Cuts what a used block has beyond `bytes` off as a free one. */
static void split(sm_block *b, size_t bytes) {
    if (b->bytes - bytes < SM_BLOCK_HEADER + SMALLEST)
        return;
    sm_block *rest = (sm_block *)((char *)b + SM_BLOCK_HEADER + bytes);
    *rest = (sm_block){.bytes = b->bytes - bytes - SM_BLOCK_HEADER,
                       .class_index = SM_LARGE,
                       .before = b,
                       .region = b->region};
    if (b->last) {
        b->last = false;
        set_last(rest);
    } else {
        behind(b)->before = rest;
    }
    b->bytes = bytes;
    list_add(rest);
}

static sm_block *find_fit(size_t bytes) {
    int l = list_of(bytes), tries = 0;
    for (sm_block *b = lists[l]; b && tries < TRIES; b = b->next, tries++)
        if (b->bytes >= bytes)
            return b;
    for (l++; l < LISTS; l++)
        if (lists[l])
            return lists[l];
    return NULL;
}

/* A block from the unused end of a region, joined with a free last block. */
static sm_block *extend(sm_region *r, size_t bytes) {
    sm_block *last = r->last && r->last->free ? r->last : NULL;
    size_t more = last ? bytes - last->bytes : bytes + SM_BLOCK_HEADER;
    if (r->size - r->used < more)
        return NULL;
    if (last) {
        list_remove(last);
        last->bytes = bytes;
        r->used += more;
        return last;
    }
    sm_block *b = (sm_block *)((char *)r + r->used);
    *b = (sm_block){
        .bytes = bytes, .class_index = SM_LARGE, .before = r->last, .region = r};
    if (r->last)
        r->last->last = false;
    set_last(b);
    r->used += more;
    return b;
}

static sm_region *map_region(size_t size) {
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#if defined(MADV_HUGEPAGE)
    madvise(p, size, MADV_HUGEPAGE); /* fewer faults and fewer misses; a wish only */
#endif
    sm_region *r = p;
    *r = (sm_region){.next = regions, .size = size, .used = GRAIN - SM_BLOCK_HEADER};
    regions = r;
    reserved += size;
    return r;
}

static sm_region *new_region(size_t bytes) {
    size_t need = (bytes + 2 * GRAIN + GRAIN - 1) / GRAIN * GRAIN, size = reserved;
    size = size < FIRST_REGION ? FIRST_REGION : size;
    size = size > LARGEST_REGION ? LARGEST_REGION : size;
    sm_region *r = size > need ? map_region(size) : NULL;
    return r ? r : map_region(need);
}

sm_block *sm_region_alloc(size_t bytes, bool *grew) {
    *grew = false;
    if (bytes > SIZE_MAX / 4)
        return NULL;
    /* With its header a block is whole pages, so that data never straddles one more. */
    bytes = (bytes + SM_BLOCK_HEADER + GRAIN - 1) / GRAIN * GRAIN - SM_BLOCK_HEADER;
    sm_block *b = find_fit(bytes);
    if (b) {
        list_remove(b);
        split(b, bytes);
        return b;
    }
    *grew = true;
    for (sm_region *r = regions; r && !b; r = r->next)
        b = extend(r, bytes);
    if (!b) {
        sm_region *r = new_region(bytes);
        b = r ? extend(r, bytes) : NULL;
    }
    return b;
}

void sm_region_free(sm_block *b) {
    sm_block *next = behind(b), *before = b->before;
    if (next && next->free) {
        list_remove(next);
        b->bytes += SM_BLOCK_HEADER + next->bytes;
        b->last = false;
        if (next->last)
            set_last(b);
        else
            behind(b)->before = b;
    }
    if (before && before->free) {
        list_remove(before);
        before->bytes += SM_BLOCK_HEADER + b->bytes;
        if (b->last)
            set_last(before);
        else
            behind(b)->before = before;
        b = before;
    }
    list_add(b);
}

size_t sm_region_free_bytes(void) {
    return free_bytes;
}

/* The whole pages of a free block. Their contents are gone; the header stays. */
static void give_pages(const sm_block *b) {
#if defined(MADV_DONTNEED)
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)b + SM_BLOCK_HEADER + page - 1) / page * page;
    uintptr_t past = ((uintptr_t)b + SM_BLOCK_HEADER + b->bytes) / page * page;
    if (past > first)
        madvise((void *)first, past - first, MADV_DONTNEED);
#else
    (void)b;
#endif
}

/* Makes a free last block part of the unused end again. */
static void drop_last(sm_region *r) {
    sm_block *b = r->last;
    list_remove(b);
    give_pages(b);
    r->used -= SM_BLOCK_HEADER + b->bytes;
    r->last = b->before;
    if (r->last)
        r->last->last = true;
}

static void drop_region(sm_region **link) {
    sm_region *r = *link;
    *link = r->next;
    reserved -= r->size;
    munmap(r, r->size);
}

void sm_region_trim(void) {
    for (sm_region **link = &regions; *link;) {
        sm_region *r = *link;
        if (r->last && r->last->free)
            drop_last(r);
        if (!r->last)
            drop_region(link);
        else
            link = &r->next;
    }
    for (int l = 0; l < LISTS; l++)
        for (sm_block *b = lists[l]; b; b = b->next) {
            give_pages(b);
            free_bytes -= b->given ? 0 : b->bytes;
            b->given = true;
        }
}

sm_block *sm_pages_alloc(size_t bytes) {
    if (bytes > SIZE_MAX / 4)
        return NULL;
    size_t size = (bytes + SM_BLOCK_HEADER + GRAIN - 1) / GRAIN * GRAIN;
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    sm_block *b = p;
    *b = (sm_block){.bytes = size - SM_BLOCK_HEADER, .class_index = SM_PAGES};
    return b;
}

void sm_pages_free(sm_block *b) {
    munmap(b, b->bytes + SM_BLOCK_HEADER);
}
