/* pool.h: the project's own threads.
 *
 * A pool of parked workers that share static partitions of a range. The caller works too,
 * as thread 0. With the same number of threads the same range is always cut the same way,
 * so results that depend on the cut (sums) repeat bit by bit. A parallel loop inside a
 * parallel loop, or one started while another thread of the program is using the pool,
 * runs on its caller alone.
 */
#ifndef SM_BASE_POOL_H
#define SM_BASE_POOL_H

#include <stdint.h>

enum { SM_MAX_THREADS = 256 };

/* Works on [begin, end); `thread` is in [0, sm_threads()) and differs between concurrent
 * calls. Must not fail, raise or jump: a loop that can fail records it in its context. */
typedef void (*sm_range_fn)(void *context, int64_t begin, int64_t end, int thread);

/* Cuts [0, n) into at most sm_threads() contiguous parts of at least `grain` items (the
 * last may be shorter) and runs them; returns when all are done. */
void sm_parallel_for(int64_t n, int64_t grain, sm_range_fn fn, void *context);

/* Threads that parallel loops use, the caller included. Starts as the processors that
 * this process may run on, or SIAMESE_NUM_THREADS. */
int sm_threads(void);
/* Sets it; clamped to [1, SM_MAX_THREADS]. If the system refuses threads, fewer are used;
 * returns the number in use. */
int sm_set_threads(int n);
/* 1 while the calling code runs inside a parallel loop. */
int sm_in_parallel(void);
/* Loops that the calling thread starts run on it alone from now on: for threads that work
 * beside those of the loops. */
void sm_pool_keep_out(void);
/* Joins the workers; the next loop starts them again. */
void sm_pool_stop(void);

#endif
