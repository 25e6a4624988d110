/* pool_test.c: parallel loops: what they cover, how they nest, and who may start them. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pool.h"
#include "tests/test.h"

typedef struct marks {
    unsigned char *hits; /* [n], how often an item came by */
    int64_t cuts;        /* the loop's n */
    atomic_int parts;    /* calls so far */
    atomic_int wrong;    /* calls with a range or a thread that cannot be */
} marks;

static void mark(void *context, int64_t begin, int64_t end, int thread) {
    marks *m = context;
    m->parts++;
    if (begin < 0 || begin >= end || end > m->cuts || thread < 0 ||
        thread >= SM_MAX_THREADS)
        m->wrong++;
    if (!sm_in_parallel())
        m->wrong++;
    for (int64_t i = begin; i < end; i++)
        m->hits[i]++;
}

/* Runs a loop of n; true when each item came by once, in at most `most` parts. */
static bool covers(int64_t n, int64_t grain, int most) {
    marks m = {.hits = sm_calloc((size_t)n + 1), .cuts = n};
    sm_parallel_for(n, grain, mark, &m);
    bool once = m.wrong == 0 && m.hits[n] == 0 && m.parts <= most;
    for (int64_t i = 0; i < n; i++)
        once = once && m.hits[i] == 1;
    sm_free(m.hits);
    return once;
}

static bool covers_once(int64_t n, int64_t grain) {
    return covers(n, grain, sm_threads());
}

TEST(each_item_is_worked_on_once) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 100, 1001, 65537};
    for (int threads = 1; threads <= 9; threads += 2) {
        sm_set_threads(threads);
        CHECK(sm_threads() == threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int64_t grain = 0; grain <= 64; grain = 4 * grain + 1)
                CHECK(covers_once(sizes[i], grain));
    }
    sm_set_threads(4);
    sm_parallel_for(-5, 1, mark, NULL); /* calls nothing */
}

TEST(a_grain_bounds_the_parts) {
    marks m = {.hits = sm_calloc(101), .cuts = 100};
    sm_set_threads(4);
    sm_parallel_for(100, 60, mark, &m);
    CHECK(m.parts == 2);
    m.parts = 0;
    sm_parallel_for(100, 1000, mark, &m);
    CHECK(m.parts == 1);
    sm_free(m.hits);
}

typedef struct cut {
    int64_t begin[SM_MAX_THREADS], end[SM_MAX_THREADS];
} cut;

static void record_cut(void *context, int64_t begin, int64_t end, int thread) {
    cut *c = context;
    c->begin[thread] = begin;
    c->end[thread] = end;
}

TEST(the_same_range_is_always_cut_the_same_way) {
    sm_set_threads(3);
    cut first;
    memset(&first, 0, sizeof first);
    sm_parallel_for(1000, 1, record_cut, &first);
    for (int i = 0; i < 50; i++) {
        cut again;
        memset(&again, 0, sizeof again);
        sm_parallel_for(1000, 1, record_cut, &again);
        CHECK(memcmp(&first, &again, sizeof first) == 0);
    }
    CHECK(first.begin[0] == 0 && first.end[2] == 1000);
}

typedef struct nest {
    atomic_llong total;
    atomic_int wrong;
} nest;

static void inner(void *context, int64_t begin, int64_t end, int thread) {
    nest *n = context;
    if (thread != 0 || begin != 0)
        n->wrong++;
    n->total += end - begin;
}

static void outer(void *context, int64_t begin, int64_t end, int thread) {
    nest *n = context;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        sm_parallel_for(10, 1, inner, n);
    if (!sm_in_parallel())
        n->wrong++;
}

TEST(a_loop_inside_a_loop_runs_on_its_caller) {
    sm_set_threads(4);
    nest n = {0};
    sm_parallel_for(100, 1, outer, &n);
    CHECK(n.total == 1000);
    CHECK(n.wrong == 0);
    CHECK(!sm_in_parallel());
}

TEST(the_number_of_threads_is_clamped_and_changes_at_any_time) {
    CHECK(sm_set_threads(0) == 1);
    CHECK(sm_set_threads(-3) == 1);
    CHECK(sm_set_threads(100000) == SM_MAX_THREADS);
    for (int i = 0; i < 40; i++) {
        sm_set_threads(1 + i * 5 % 7);
        CHECK(covers_once(1000, 1));
    }
    sm_pool_stop();
    CHECK(covers_once(1000, 1));
    sm_pool_stop();
    sm_pool_stop();
}

static void *many_loops(void *argument) {
    int *bad = argument;
    for (int i = 0; i < 300; i++)
        *bad += !covers_once(1 + i % 97, 1);
    return NULL;
}

TEST(two_threads_of_the_program_may_use_it_at_once) {
    sm_set_threads(3);
    enum { USERS = 4 };
    pthread_t users[USERS];
    int bad[USERS] = {0};
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_create(&users[i], NULL, many_loops, &bad[i]) == 0);
    int mine = 0;
    many_loops(&mine);
    for (int i = 0; i < USERS; i++) {
        pthread_join(users[i], NULL);
        CHECK(bad[i] == 0);
    }
    CHECK(mine == 0);
}

static void *change_threads(void *argument) {
    (void)argument;
    for (int i = 0; i < 200; i++)
        sm_set_threads(1 + i % 4);
    return NULL;
}

TEST(threads_may_be_set_while_another_thread_loops) {
    sm_set_threads(4);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, change_threads, NULL) == 0);
    int bad = 0;
    for (int i = 0; i < 300; i++)
        bad += !covers(50, 1, 4);
    pthread_join(other, NULL);
    CHECK(bad == 0);
    sm_set_threads(4);
    CHECK(covers_once(50, 1));
}

TEST(a_forked_child_has_a_pool_of_its_own) {
    if (!TEST_MAY_FORK())
        return;
    sm_set_threads(4);
    CHECK(covers_once(1000, 1));
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(covers_once(1000, 1) ? 0 : 1);
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(covers_once(1000, 1));
    }
}

int main(void) {
    RUN(each_item_is_worked_on_once);
    RUN(a_grain_bounds_the_parts);
    RUN(the_same_range_is_always_cut_the_same_way);
    RUN(a_loop_inside_a_loop_runs_on_its_caller);
    RUN(the_number_of_threads_is_clamped_and_changes_at_any_time);
    RUN(two_threads_of_the_program_may_use_it_at_once);
    RUN(threads_may_be_set_while_another_thread_loops);
    RUN(a_forked_child_has_a_pool_of_its_own);
    sm_pool_stop();
    return test_report();
}
