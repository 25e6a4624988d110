/* test.h: what the C tests share. One program a file, linked with the core and without
 * Lua.
 *
 *     TEST(addition_commutes) {
 *         CHECK(add(1, 2) == add(2, 1));
 *         CHECK_NEAR(mean(x, 3), 2.0, 1e-6);
 *     }
 *
 *     int main(void) {
 *         RUN(addition_commutes);
 *         return test_report();
 *     }
 *
 * RUN prints a line per test. test_report() prints "N passed, N failed" and gives main's
 * result: 0 when all passed. A failed check is reported on standard error with its place,
 * and the test goes on. Checks made outside of any RUN count as one more test, named
 * after the file. Checks may be made on any thread.
 */
#ifndef SM_TESTS_TEST_H
#define SM_TESTS_TEST_H

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_int test_checks, test_bad; /* of the test that runs, or of main itself */
static int test_passed, test_failed;

static inline void test_close(const char *name) {
    if (test_bad)
        test_failed++;
    else
        test_passed++;
    printf("%s %s (%d checks)\n", test_bad ? "FAILED" : "ok    ", name, test_checks);
    fflush(stdout);
    test_checks = test_bad = 0;
}

static inline void test_loose(const char *file) {
    if (test_checks)
        test_close(file);
}

static inline int test_result(const char *file) {
    test_loose(file);
    if (!test_passed && !test_failed)
        fprintf(stderr, "%s: no check was made\n", file);
    printf("%d passed, %d failed\n", test_passed, test_failed);
    return test_failed || !test_passed;
}

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        test_checks++;                                                                   \
        if (!(condition)) {                                                              \
            test_bad++;                                                                  \
            fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition);       \
        }                                                                                \
    } while (0)

/* |a - b| <= tolerance; NaN is near nothing. */
#define CHECK_NEAR(a, b, tolerance)                                                      \
    do {                                                                                 \
        double test_a = (double)(a), test_b = (double)(b);                               \
        test_checks++;                                                                   \
        if (!(fabs(test_a - test_b) <= (double)(tolerance))) {                           \
            test_bad++;                                                                  \
            fprintf(stderr, "%s:%d: CHECK_NEAR(%s, %s): %.9g and %.9g\n", __FILE__,      \
                    __LINE__, #a, #b, test_a, test_b);                                   \
        }                                                                                \
    } while (0)

#define TEST(name) static void name(void)
#define RUN(name) (test_loose(__FILE__), name(), test_close(#name))
#define test_report() test_result(__FILE__)

/* Not under a sanitizer: ThreadSanitizer does not support threads that start in a child
 * of a process of threads, and AddressSanitizer's allocator leaves the child whatever
 * locks other threads held at the fork. */
#define TEST_MAY_FORK() (getenv("SIAMESE_SANITIZED") == NULL)

#endif
