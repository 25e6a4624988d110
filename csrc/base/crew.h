/* crew.h: threads that work ahead of their owner, in order.
 *
 * The owner hands over jobs of some items each; the threads work on the items of the
 * oldest job first; the owner takes the jobs back in the order in which it gave them. No
 * more than `depth` jobs are on their way at a time. While the owner waits for a job it
 * works on its items, too, so a crew of no threads is right, only not ahead: it works
 * when a job is taken, on the threads of parallel loops (pool.h).
 *
 *     sm_crew *crew = sm_crew_new(2, 4, 1, work, context);
 *     while (sm_crew_count(crew) < 4 && more) sm_crew_push(crew, job, items);
 *     job = sm_crew_pop(crew);     // all items of it are done
 *     sm_crew_free(crew);          // at any moment: items not begun are left out
 *
 * A crew has one owner: its functions are called by one thread at a time. Its threads
 * have a lower priority than their owner's, so that they fill what the step leaves free;
 * they take no signals, and a parallel loop inside of an item runs on its thread alone.
 *
 * Fork is allowed at any moment: it waits until the threads are between two items. In the
 * child the crew has no threads, but all its jobs.
 */
#ifndef SM_BASE_CREW_H
#define SM_BASE_CREW_H

#include <stdint.h>

typedef struct sm_crew sm_crew;

enum { SM_CREW_MAX_THREADS = 256, SM_CREW_MAX_DEPTH = 4096 };

/* Works on one item of a job, in [0, items). Called by any thread, for different items at
 * once; `thread` is in [0, SM_CREW_MAX_THREADS] and differs between calls that run at
 * once. Must not fail, raise or jump: what goes wrong is recorded in the job. */
typedef void (*sm_crew_fn)(void *context, void *job, int64_t item, int thread);

/* A crew of `threads` (0 to SM_CREW_MAX_THREADS; fewer where the system refuses) for at
 * most `depth` jobs (1 to SM_CREW_MAX_DEPTH). A thread takes up to `grain` items at a
 * time: 1, more where an item takes microseconds. NULL when there is no memory. */
sm_crew *sm_crew_new(int threads, int depth, int64_t grain, sm_crew_fn fn, void *context);
/* The threads there are. */
int sm_crew_threads(const sm_crew *crew);
/* Jobs handed over and not taken back. */
int sm_crew_count(const sm_crew *crew);
/* Hands over a job of `items` (0 or more). The crew must have room for it. */
void sm_crew_push(sm_crew *crew, void *job, int64_t items);
/* Takes the oldest job back when all its items are done; NULL when there is none. */
void *sm_crew_pop(sm_crew *crew);
/* Takes the oldest job back as it is: items that nobody has begun are left out, those
 * that somebody has are waited for. NULL when there is none. */
void *sm_crew_drop(sm_crew *crew);
/* Stops the threads, after the item that each is at, and joins them; the jobs stay. */
void sm_crew_stop(sm_crew *crew);
/* The same, and frees the crew. Jobs that were not taken back are the owner's to free,
 * which may do so afterwards. NULL is allowed. */
void sm_crew_free(sm_crew *crew);

#endif
