/* crew.c: a ring of jobs under one lock. See crew.h.
 *
 * Items are claimed by moving a job's `next`, and done when its `left` is zero. An item
 * takes tens of microseconds or more, so one lock for claiming and for finishing is
 * cheap.
 *
 * All crews are in a list, for fork: a thread that is between two items holds no lock of
 * the allocator, has no file open and has lent no memory, so that is where all of them
 * stop while the process is copied.
 */
#define _GNU_SOURCE
#include "base/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/mem.h"
#include "base/pool.h"

typedef struct entry {
    void *job;
    int64_t items, next, left; /* next: not yet claimed; left: not yet done */
} entry;

struct sm_crew {
    pthread_mutex_t lock;   /* of everything below it but `ids` and `following` */
    pthread_cond_t work;    /* there are items to claim, or the threads shall end */
    pthread_cond_t done;    /* a job is done, or nobody is busy */
    entry *ring;            /* [depth] */
    int depth, head, count; /* the oldest job is ring[head] */
    int claim;              /* jobs from head on that have no item to claim */
    int busy;               /* threads inside of items, the owner included */
    bool stopping, paused;
    int64_t grain;
    sm_crew_fn fn;
    void *context;
    int threads;
    pthread_t ids[SM_CREW_MAX_THREADS];
    struct birth *births; /* [threads] that were wanted */
    sm_crew *following;   /* in the list of all crews */
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static sm_crew *all_crews;

/* ---- items ---- */

/* The oldest job that has an item to claim, under the lock; NULL when none has. */
static entry *claimable(sm_crew *crew) {
    for (; crew->claim < crew->count; crew->claim++) {
        entry *e = &crew->ring[(crew->head + crew->claim) % crew->depth];
        if (e->next < e->items)
            return e;
    }
    return NULL;
}

typedef struct claimed {
    const sm_crew *crew;
    void *job;
    int64_t first;
} claimed;

static void work_on_range(void *context, int64_t begin, int64_t end, int thread) {
    const claimed *c = context;
    for (int64_t i = c->first + begin; i < c->first + end; i++)
        c->crew->fn(c->crew->context, c->job, i, thread);
}

/* Works on some items of *e; the lock is held before and after. Where there are no
 * threads, on all of them, on the threads of parallel loops. `thread` is the caller's
 * number: 0 for the owner. */
static void work_on(sm_crew *crew, entry *e, int thread) {
    claimed c = {crew, e->job, e->next};
    int64_t many = e->items - e->next;
    const bool alone = crew->threads > 0;
    if (alone && many > crew->grain)
        many = crew->grain;
    e->next += many;
    crew->busy++;
    pthread_mutex_unlock(&crew->lock);
    if (alone)
        work_on_range(&c, 0, many, thread);
    else
        sm_parallel_for(many, crew->grain, work_on_range, &c);
    pthread_mutex_lock(&crew->lock);
    crew->busy--;
    e->left -= many;
    if (e->left == 0 || crew->busy == 0)
        pthread_cond_broadcast(&crew->done);
}

/* ---- threads ---- */

/* On Linux a thread has a priority of its own. */
static void step_back(void) {
#if defined(__linux__)
    enum { NICER = 19 };
    id_t self = (id_t)syscall(SYS_gettid);
    setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + NICER);
#endif
}

typedef struct birth {
    sm_crew *crew;
    int thread;
} birth;

static void *run(void *argument) {
    const birth *b = argument;
    sm_crew *crew = b->crew;
    const int thread = b->thread;
    entry *e;
    step_back();
    sm_pool_keep_out();
    pthread_mutex_lock(&crew->lock);
    while (!crew->stopping) {
        if (!crew->paused && (e = claimable(crew)))
            work_on(crew, e, thread);
        else
            pthread_cond_wait(&crew->work, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Signals are for the threads that the program knows. */
static void start_threads(sm_crew *crew, int threads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0;
    for (; started < threads; started++) {
        crew->births[started] = (birth){crew, started + 1};
        if (pthread_create(&crew->ids[started], NULL, run, &crew->births[started]) != 0)
            break;
    }
    pthread_mutex_lock(&crew->lock);
    crew->threads = started;
    pthread_mutex_unlock(&crew->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- fork ---- */

static void before_fork(void) {
    pthread_mutex_lock(&list_lock);
    for (sm_crew *crew = all_crews; crew; crew = crew->following) {
        pthread_mutex_lock(&crew->lock);
        crew->paused = true;
        while (crew->busy)
            pthread_cond_wait(&crew->done, &crew->lock);
    }
}

static void in_parent(void) {
    for (sm_crew *crew = all_crews; crew; crew = crew->following) {
        crew->paused = false;
        pthread_cond_broadcast(&crew->work);
        pthread_cond_broadcast(&crew->done);
        pthread_mutex_unlock(&crew->lock);
    }
    pthread_mutex_unlock(&list_lock);
}

/* The threads are not in the child; the conditions still count them as waiting. */
static void in_child(void) {
    for (sm_crew *crew = all_crews; crew; crew = crew->following) {
        crew->paused = false;
        crew->threads = 0;
        pthread_mutex_init(&crew->lock, NULL);
        pthread_cond_init(&crew->work, NULL);
        pthread_cond_init(&crew->done, NULL);
    }
    pthread_mutex_init(&list_lock, NULL);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, in_parent, in_child);
}

static void enlist(sm_crew *crew) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&list_lock);
    crew->following = all_crews;
    all_crews = crew;
    pthread_mutex_unlock(&list_lock);
}

static void delist(const sm_crew *crew) {
    pthread_mutex_lock(&list_lock);
    sm_crew **at = &all_crews;
    while (*at != crew)
        at = &(*at)->following;
    *at = crew->following;
    pthread_mutex_unlock(&list_lock);
}

/* ---- for the owner ---- */

sm_crew *sm_crew_new(int threads, int depth, int64_t grain, sm_crew_fn fn,
                     void *context) {
    sm_crew *crew = sm_calloc(sizeof *crew);
    entry *ring = sm_alloc((size_t)depth * sizeof *ring);
    birth *births = sm_alloc((size_t)threads * sizeof *births);
    if (!crew || !ring || !births) {
        sm_free(crew);
        sm_free(ring);
        sm_free(births);
        return NULL;
    }
    crew->ring = ring;
    crew->births = births;
    crew->depth = depth;
    crew->grain = grain;
    crew->fn = fn;
    crew->context = context;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->work, NULL);
    pthread_cond_init(&crew->done, NULL);
    enlist(crew);
    start_threads(crew, threads);
    return crew;
}

int sm_crew_threads(const sm_crew *crew) {
    return crew->threads;
}

int sm_crew_count(const sm_crew *crew) {
    return crew->count;
}

void sm_crew_push(sm_crew *crew, void *job, int64_t items) {
    pthread_mutex_lock(&crew->lock);
    crew->ring[(crew->head + crew->count) % crew->depth] = (entry){job, items, 0, items};
    crew->count++;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
}

/* Under the lock. */
static void *take_head(sm_crew *crew) {
    void *job = crew->ring[crew->head].job;
    crew->head = (crew->head + 1) % crew->depth;
    crew->count--;
    crew->claim -= crew->claim > 0;
    return job;
}

void *sm_crew_pop(sm_crew *crew) {
    void *job = NULL;
    pthread_mutex_lock(&crew->lock);
    if (crew->count) {
        entry *e = &crew->ring[crew->head];
        while (e->left) {
            if (!crew->paused && e->next < e->items)
                work_on(crew, e, 0);
            else
                pthread_cond_wait(&crew->done, &crew->lock);
        }
        job = take_head(crew);
    }
    pthread_mutex_unlock(&crew->lock);
    return job;
}

void *sm_crew_drop(sm_crew *crew) {
    void *job = NULL;
    pthread_mutex_lock(&crew->lock);
    if (crew->count) {
        entry *e = &crew->ring[crew->head];
        e->left -= e->items - e->next;
        e->next = e->items;
        while (e->left)
            pthread_cond_wait(&crew->done, &crew->lock);
        job = take_head(crew);
    }
    pthread_mutex_unlock(&crew->lock);
    return job;
}

void sm_crew_stop(sm_crew *crew) {
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
    for (int i = 0; i < crew->threads; i++)
        pthread_join(crew->ids[i], NULL);
    crew->threads = 0;
}

void sm_crew_free(sm_crew *crew) {
    if (!crew)
        return;
    sm_crew_stop(crew);
    delist(crew);
    pthread_mutex_destroy(&crew->lock);
    pthread_cond_destroy(&crew->work);
    pthread_cond_destroy(&crew->done);
    sm_free(crew->ring);
    sm_free(crew->births);
    sm_free(crew);
}
