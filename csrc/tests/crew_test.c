/* crew_test.c: jobs handed to threads: each item once, in order, and an end at any time.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/mem.h"
#include "base/pool.h"
#include "tests/test.h"

enum { MOST = 300 };

typedef struct job {
    int number;
    int64_t items;
    atomic_int hits[MOST];
} job;

typedef struct record {
    atomic_llong done;  /* items */
    atomic_int wrong;   /* what cannot be */
    atomic_int newest;  /* the highest number of a job that was begun */
    atomic_bool closed; /* nothing may be worked on any more */
    atomic_int inside[SM_CREW_MAX_THREADS + 1];
    unsigned slow; /* spins an item takes, at most */
    pthread_t owner;
} record;

static void work(void *context, void *argument, int64_t item, int thread) {
    record *r = context;
    job *j = argument;
    if (item < 0 || item >= j->items || r->closed)
        r->wrong++;
    if (thread < 0 || thread > SM_CREW_MAX_THREADS ||
        atomic_fetch_add(&r->inside[thread], 1))
        r->wrong++;
    if (!sm_in_parallel() && !pthread_equal(pthread_self(), r->owner))
        r->wrong++;
    j->hits[item]++;
    if (j->number > r->newest)
        r->newest = j->number;
    for (volatile unsigned i = 0; i < r->slow * (unsigned)(item % 3); i++) {
    }
    r->inside[thread]--;
    r->done++;
}

static bool done_once(const job *j) {
    bool once = true;
    for (int64_t i = 0; i < j->items; i++)
        once = once && j->hits[i] == 1;
    return once;
}

/* Runs `jobs` jobs through a crew; true when all came back whole and in order. */
static bool runs_through(int threads, int depth, int64_t grain, int jobs, unsigned slow) {
    record r = {.slow = slow, .owner = pthread_self()};
    job *list = sm_calloc((size_t)jobs * sizeof *list);
    sm_crew *crew = sm_crew_new(threads, depth, grain, work, &r);
    int given = 0;
    bool right = sm_crew_threads(crew) == threads;
    long long items = 0;
    for (int taken = 0; taken < jobs; taken++) {
        for (; given < jobs && sm_crew_count(crew) < depth; given++) {
            list[given].number = given;
            list[given].items = given * 37 % MOST;
            items += list[given].items;
            sm_crew_push(crew, &list[given], list[given].items);
        }
        right = right && sm_crew_count(crew) == given - taken;
        const job *j = sm_crew_pop(crew);
        right = right && j == &list[taken] && done_once(j) && r.newest < taken + depth;
    }
    right = right && sm_crew_pop(crew) == NULL && sm_crew_drop(crew) == NULL;
    sm_crew_free(crew);
    sm_free(list);
    return right && r.done == items && r.wrong == 0;
}

TEST(all_items_are_done_once_and_jobs_come_back_in_order) {
    sm_set_threads(3);
    for (int threads = 0; threads <= 5; threads++)
        for (int depth = 1; depth <= 9; depth += 4)
            for (int64_t grain = 1; grain <= 64; grain *= 8)
                CHECK(runs_through(threads, depth, grain, 20, 50));
}

TEST(a_slow_item_holds_up_nothing_but_its_job) {
    CHECK(runs_through(4, 8, 1, 60, 3000));
}

TEST(a_job_may_have_no_items) {
    record r = {.owner = pthread_self()};
    job none = {0}, one = {.items = 1};
    for (int threads = 0; threads <= 2; threads++) {
        sm_crew *crew = sm_crew_new(threads, 2, 1, work, &r);
        sm_crew_push(crew, &none, 0);
        sm_crew_push(crew, &one, 1);
        CHECK(sm_crew_pop(crew) == &none);
        CHECK(sm_crew_pop(crew) == &one && one.hits[0] == threads + 1);
        CHECK(sm_crew_pop(crew) == NULL);
        sm_crew_free(crew);
    }
}

/* Nobody works on a job that was dropped, nor on any after the crew's end. */
TEST(a_crew_can_be_left_at_any_moment) {
    for (int round = 0; round < 200; round++) {
        record r = {.slow = 200, .owner = pthread_self()};
        job jobs[4];
        memset(jobs, 0, sizeof jobs);
        sm_crew *crew = sm_crew_new(round % 4, 4, 1, work, &r);
        for (int k = 0; k < 4; k++) {
            jobs[k].items = MOST;
            sm_crew_push(crew, &jobs[k], MOST);
        }
        if (round % 3 == 0)
            CHECK(sm_crew_pop(crew) == &jobs[0] && done_once(&jobs[0]));
        for (int k = round % 3 == 0; k < 4 && round % 2; k++) {
            CHECK(sm_crew_drop(crew) == &jobs[k]);
            memset(&jobs[k], 0xFF, sizeof jobs[k]); /* a late item would be seen */
        }
        if (round % 5 == 0) {
            sm_crew_stop(crew);
            CHECK(sm_crew_threads(crew) == 0);
            while (sm_crew_drop(crew)) {
            }
        }
        sm_crew_free(crew);
        r.closed = true;
        CHECK(r.wrong == 0);
    }
}

static void look_at_signals(void *context, void *argument, int64_t item, int thread) {
    sigset_t now;
    atomic_int *open = context;
    const pthread_t *owner = argument;
    (void)item;
    (void)thread;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    if (!pthread_equal(pthread_self(), *owner) &&
        (!sigismember(&now, SIGINT) || !sigismember(&now, SIGTERM)))
        (*open)++;
}

TEST(signals_are_left_to_the_program_s_own_threads) {
    atomic_int open = 0;
    pthread_t self = pthread_self();
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    sm_crew *crew = sm_crew_new(3, 1, 1, look_at_signals, &open);
    sm_crew_push(crew, &self, 1000);
    CHECK(sm_crew_pop(crew) == &self && open == 0);
    sm_crew_free(crew);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK(sigismember(&before, SIGINT) == sigismember(&after, SIGINT));
}

static void *use_a_crew(void *argument) {
    int *bad = argument;
    for (int i = 0; i < 10; i++)
        *bad += !runs_through(2, 3, 1, 10, 50);
    return NULL;
}

TEST(several_crews_work_side_by_side) {
    enum { OWNERS = 3 };
    pthread_t owners[OWNERS];
    int bad[OWNERS] = {0};
    for (int i = 0; i < OWNERS; i++)
        CHECK(pthread_create(&owners[i], NULL, use_a_crew, &bad[i]) == 0);
    for (int i = 0; i < OWNERS; i++) {
        pthread_join(owners[i], NULL);
        CHECK(bad[i] == 0);
    }
}

/* The rest of the jobs, in the child and in the parent. */
static bool finishes(sm_crew *crew, const job *jobs, int from, int count) {
    bool right = true;
    for (int k = from; k < count; k++) {
        const job *j = sm_crew_pop(crew);
        right = right && j == &jobs[k] && done_once(j);
    }
    return right && sm_crew_pop(crew) == NULL;
}

TEST(a_forked_child_has_the_jobs_and_no_threads) {
    if (!TEST_MAY_FORK())
        return;
    for (int round = 0; round < 20; round++) {
        record r = {.slow = 500, .owner = pthread_self()};
        job jobs[4];
        memset(jobs, 0, sizeof jobs);
        sm_crew *crew = sm_crew_new(round % 4, 4, 1, work, &r);
        for (int k = 0; k < 4; k++) {
            jobs[k].items = MOST;
            sm_crew_push(crew, &jobs[k], MOST);
        }
        if (round % 2)
            CHECK(sm_crew_pop(crew) == &jobs[0]);
        pid_t child = fork();
        if (child == 0) {
            bool right = sm_crew_threads(crew) == 0 &&
                         finishes(crew, jobs, round % 2, 4) && r.wrong == 0;
            sm_crew_free(crew);
            _exit(right && runs_through(2, 2, 1, 5, 50) ? 0 : 1);
        }
        CHECK(finishes(crew, jobs, round % 2, 4) && r.wrong == 0);
        sm_crew_free(crew);
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

int main(void) {
    RUN(all_items_are_done_once_and_jobs_come_back_in_order);
    RUN(a_slow_item_holds_up_nothing_but_its_job);
    RUN(a_job_may_have_no_items);
    RUN(a_crew_can_be_left_at_any_moment);
    RUN(signals_are_left_to_the_program_s_own_threads);
    RUN(several_crews_work_side_by_side);
    RUN(a_forked_child_has_the_jobs_and_no_threads);
    sm_pool_stop();
    return test_report();
}
