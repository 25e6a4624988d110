/* region.h: large blocks, cut from regions of address space. Internal to mem.c.
 *
 * A training step asks for hundreds of megabytes in many sizes and gives them back in
 * another order. Free neighbours are joined and the best fit is cut, so the pages that
 * one size left serve the next, and what a process occupies stays near what it has in
 * use. Not locked: mem.c does that.
 */
#ifndef SM_BASE_REGION_H
#define SM_BASE_REGION_H

#include <stdbool.h>
#include <stddef.h>

/* In front of every block, in 64 bytes, so that blocks stay aligned. */
typedef struct sm_block {
    size_t bytes;    /* usable, without this header */
    int class_index; /* of the small blocks' lists; SM_LARGE for a block of a region,
                        SM_PAGES for one of sm_pages_alloc */
    bool free, last; /* large: free; the last block of its region */
    bool given;      /* large: free, and the system has its pages */
    struct sm_block *next, *previous; /* in a list of free blocks */
    struct sm_block *before;          /* large: the block in front of it, or NULL */
    struct sm_region *region;
} sm_block;

enum { SM_LARGE = -1, SM_PAGES = -2, SM_BLOCK_HEADER = 64 };

/* A block of at least `bytes`, or NULL. *grew tells whether it is new memory. */
sm_block *sm_region_alloc(size_t bytes, bool *grew);
void sm_region_free(sm_block *block);
/* Bytes that lie in free blocks and occupy memory. */
size_t sm_region_free_bytes(void);
/* Gives the pages of all free blocks back to the system. */
void sm_region_trim(void);

/* A block of zeros in pages of its own, which occupy nothing until they are written. NULL
 * if the system refuses. */
sm_block *sm_pages_alloc(size_t bytes);
void sm_pages_free(sm_block *block);

#endif
