/* base_test.c: status, memory, random numbers and the choice of instruction set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/status.h"
#include "tests/test.h"

/* Under AddressSanitizer blocks are not cached. */
static bool caching(void) {
    sm_mem_stats before, after;
    sm_mem_get_stats(&before);
    sm_free(sm_alloc(1));
    sm_mem_get_stats(&after);
    return after.cached > 0;
}

TEST(status_carries_operand_and_message) {
    sm_error err = {0};
    CHECK(sm_fail(&err, SM_EINVAL, 2, "op: %d and %s", 7, "eight") == SM_EINVAL);
    CHECK(err.operand == 2 && strcmp(err.message, "op: 7 and eight") == 0);
    CHECK(sm_fail(NULL, SM_ENOMEM, 0, "nobody listens") == SM_ENOMEM);
}

TEST(status_cuts_a_message_that_is_too_long) {
    sm_error err = {0};
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    sm_fail(&err, SM_EIO, 0, "%s", text);
    CHECK(strlen(err.message) == sizeof err.message - 1);
}

TEST(blocks_are_aligned_and_large_enough) {
    static const size_t sizes[] = {0,   1,   63,   64,   65,     512,
                                   513, 577, 1000, 4096, 100001, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = sm_alloc(sizes[i]);
        CHECK(p && (uintptr_t)p % 64 == 0);
        CHECK(sm_block_size(p) >= sizes[i]);
        CHECK(sizes[i] < 512 || sm_block_size(p) <= sizes[i] + sizes[i] / 8 + 64);
        memset(p, 0xAB, sm_block_size(p));
        sm_free(p);
    }
    sm_free(NULL);
}

TEST(every_size_fits_its_class) {
    int bad = 0;
    for (size_t bytes = 1; bytes < 40000; bytes += 7) {
        void *p = sm_alloc(bytes);
        bad += sm_block_size(p) < bytes;
        sm_free(p);
    }
    CHECK(bad == 0);
}

TEST(calloc_clears_a_block_that_was_used) {
    unsigned char *p = sm_alloc(3000);
    memset(p, 0xFF, 3000);
    sm_free(p);
    p = sm_calloc(3000);
    int sum = 0;
    for (int i = 0; i < 3000; i++)
        sum += p[i];
    CHECK(sum == 0);
    sm_free(p);
}

TEST(unwritten_blocks_are_zeros_and_count_as_live) {
    sm_mem_stats before, now;
    sm_mem_get_stats(&before);
    char *small = sm_alloc_unwritten(100), *large = sm_alloc_unwritten((size_t)256 << 20);
    CHECK(small && large && (uintptr_t)large % 64 == 0);
    CHECK(small[99] == 0 && large[0] == 0 && large[((size_t)256 << 20) - 1] == 0);
    sm_mem_get_stats(&now);
    CHECK(now.live >= before.live + ((size_t)256 << 20));
    large[12345] = 7;
    large = sm_realloc(large, 20000);
    CHECK(large && large[12345] == 7 && large[12346] == 0);
    sm_free(small);
    sm_free(large);
    sm_mem_get_stats(&now);
    CHECK(now.live == before.live);
    sm_mem_set_limit(before.live + (1 << 20));
    CHECK(!sm_alloc_unwritten((size_t)1 << 21));
    sm_mem_set_limit(0);
    CHECK(!sm_alloc_unwritten(SIZE_MAX - 100));
}

TEST(realloc_keeps_what_fits) {
    unsigned char *p = sm_realloc(NULL, 100);
    for (int i = 0; i < 100; i++)
        p[i] = (unsigned char)i;
    p = sm_realloc(p, 100000);
    CHECK(sm_block_size(p) >= 100000);
    p = sm_realloc(p, 50);
    CHECK(sm_block_size(p) < 1000);
    int bad = 0;
    for (int i = 0; i < 50; i++)
        bad += p[i] != i;
    CHECK(bad == 0);
    sm_free(p);
}

TEST(a_steady_state_asks_the_system_for_nothing) {
    if (!caching())
        return;
    sm_mem_stats warm, after;
    for (int step = 0; step < 100; step++) {
        void *blocks[16];
        for (int i = 0; i < 16; i++)
            blocks[i] = sm_alloc((size_t)1000 << i);
        for (int i = 0; i < 16; i++)
            sm_free(blocks[i]);
        if (step == 0)
            sm_mem_get_stats(&warm);
    }
    sm_mem_get_stats(&after);
    CHECK(after.system_calls == warm.system_calls);
    CHECK(after.allocs == warm.allocs + 99 * 16);
    CHECK(after.cached > 0);
    sm_mem_trim();
    sm_mem_get_stats(&after);
    CHECK(after.cached == 0);
}

TEST(what_is_live_and_its_peak_are_counted) {
    sm_mem_stats before, now;
    sm_mem_get_stats(&before);
    sm_mem_reset_peak();
    void *a = sm_alloc(1 << 20), *b = sm_alloc(1 << 20);
    size_t size = sm_block_size(a); /* rounded up */
    CHECK(size >= 1 << 20 && size < (1 << 20) + 65536 && sm_block_size(b) == size);
    sm_free(a);
    sm_mem_get_stats(&now);
    CHECK(now.live == before.live + size);
    CHECK(now.peak == before.live + 2 * size);
    sm_free(b);
    sm_mem_reset_peak();
    sm_mem_get_stats(&now);
    CHECK(now.live == before.live && now.peak == before.live);
}

/* Blocks of many sizes, freed in another order: none overlaps another, none moves. */
TEST(large_blocks_are_cut_and_joined) {
    enum { BLOCKS = 200, ROUNDS = 20000 };
    static unsigned char *block[BLOCKS];
    static size_t size[BLOCKS];
    int bad = 0;
    uint64_t state = 12345;
    for (int round = 0; round < ROUNDS; round++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int i = (int)(state >> 33) % BLOCKS;
        if (block[i]) {
            unsigned char mark = (unsigned char)i;
            bad += block[i][0] != mark || block[i][size[i] / 2] != mark ||
                   block[i][size[i] - 1] != mark;
            sm_free(block[i]);
            block[i] = NULL;
            continue;
        }
        size[i] = 1000 + (size_t)(state >> 40) % 400000;
        block[i] = sm_alloc(size[i]);
        bad += !block[i] || (uintptr_t)block[i] % 64 != 0;
        if (block[i])
            block[i][0] = block[i][size[i] / 2] = block[i][size[i] - 1] =
                (unsigned char)i;
        if (round % 5000 == 4999)
            sm_mem_trim();
    }
    CHECK(bad == 0);
    for (int i = 0; i < BLOCKS; i++)
        sm_free(block[i]);
    sm_mem_trim();
    sm_mem_stats after;
    sm_mem_get_stats(&after);
    CHECK(after.cached == 0);
}

/* What was freed in small pieces serves as one large piece. */
TEST(free_neighbours_serve_a_larger_block) {
    if (!caching())
        return;
    void *pieces[64];
    sm_mem_trim();
    for (int i = 0; i < 64; i++)
        pieces[i] = sm_alloc(1 << 20);
    for (int i = 0; i < 64; i++)
        sm_free(pieces[(i * 37) % 64]);
    sm_mem_stats before, after;
    sm_mem_get_stats(&before);
    void *whole = sm_alloc((size_t)60 << 20);
    sm_mem_get_stats(&after);
    CHECK(whole && after.system_calls == before.system_calls);
    sm_free(whole);
}

TEST(the_limit_refuses_and_leaves_blocks_alone) {
    char *p = sm_alloc(1000);
    strcpy(p, "kept");
    sm_mem_stats stats;
    sm_mem_get_stats(&stats);
    sm_mem_set_limit(stats.live + 4096);
    CHECK(sm_alloc(100000) == NULL);
    CHECK(sm_calloc(100000) == NULL);
    CHECK(sm_realloc(p, 100000) == NULL && strcmp(p, "kept") == 0);
    void *small = sm_alloc(1024);
    CHECK(small != NULL);
    sm_free(small);
    sm_mem_set_limit(0);
    void *large = sm_alloc(100000);
    CHECK(large != NULL);
    sm_free(large);
    sm_free(p);
}

TEST(absurd_sizes_are_refused) {
    CHECK(sm_alloc(SIZE_MAX) == NULL);
    CHECK(sm_alloc(SIZE_MAX / 2) == NULL);
    CHECK(sm_alloc((size_t)1 << 62) == NULL);
    size_t product = 0;
    int64_t signed_product = 0;
    CHECK(!sm_mul_size(SIZE_MAX / 2, 3, &product));
    CHECK(!sm_mul_i64(INT64_MAX / 2, 3, &signed_product));
    CHECK(sm_mul_size(6, 7, &product) && product == 42);
}

/* Zeros: a vector that Random123 publishes for philox4x32-10. The other one, which our
 * counter of 64 bits reaches, was worked out in exact integers by code that gives
 * Random123's other vectors too. */
TEST(philox_gives_the_known_words) {
    uint32_t w[4];
    sm_rng_block(0, 0, w);
    CHECK(w[0] == 0x6627e8d5 && w[1] == 0xe169c58d && w[2] == 0xbc57ac4c &&
          w[3] == 0x9b00dbd8);
    sm_rng_block(0x299f31d0a4093822u, 0x85a308d3243f6a88u, w);
    CHECK(w[0] == 0xe69c9c31 && w[1] == 0xb5a3d762 && w[2] == 0xe733bfc1 &&
          w[3] == 0x341a787c);
}

TEST(a_seed_repeats_and_streams_differ) {
    sm_rng a, b;
    sm_rng_seed(&a, 42);
    sm_rng_seed(&b, 42);
    for (int i = 0; i < 10; i++)
        CHECK(sm_rng_u64(&a) == sm_rng_u64(&b));
    sm_rng saved = a;
    sm_rng s = sm_rng_stream(&a, 1), t = sm_rng_stream(&a, 2),
           again = sm_rng_stream(&a, 1);
    CHECK(a.key == saved.key && a.counter == saved.counter);
    uint64_t first = sm_rng_u64(&s);
    CHECK(first != sm_rng_u64(&t) && first == sm_rng_u64(&again));
    sm_rng_seed(&b, 43);
    b.counter = a.counter;
    CHECK(sm_rng_u64(&a) != sm_rng_u64(&b));
}

TEST(below_is_in_range_and_even) {
    sm_rng rng;
    sm_rng_seed(&rng, 1);
    int counts[7] = {0}, outside = 0;
    for (int i = 0; i < 70000; i++) {
        uint64_t x = sm_rng_below(&rng, 7);
        outside += x >= 7;
        counts[x % 7]++;
    }
    CHECK(outside == 0);
    for (int i = 0; i < 7; i++)
        CHECK_NEAR(counts[i], 10000, 400); /* some 4.3 standard deviations */
    CHECK(sm_rng_below(&rng, 1) == 0);
}

static void moments(const float *x, int64_t n, double *mean, double *deviation) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    *mean = sum / (double)n;
    *deviation = sqrt(squares / (double)n - *mean * *mean);
}

TEST(draws_have_their_moments) {
    enum { N = 200000 };
    float *x = sm_alloc(N * sizeof *x);
    double mean, deviation;
    sm_rng rng;
    sm_rng_seed(&rng, 5);
    sm_rng_fill_normal(&rng, x, N, 3.0f, 2.0f);
    moments(x, N, &mean, &deviation);
    CHECK_NEAR(mean, 3.0, 0.02);
    CHECK_NEAR(deviation, 2.0, 0.02);
    sm_rng_fill_uniform(&rng, x, N, -1.0f, 1.0f);
    moments(x, N, &mean, &deviation);
    CHECK_NEAR(mean, 0.0, 0.01);
    CHECK_NEAR(deviation, 1.0 / sqrt(3.0), 0.01);
    float least = 0, most = 0;
    for (int i = 0; i < N; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    CHECK(least >= -1.0f && most < 1.0f);
    for (int i = 0; i < N; i++)
        x[i] = (float)sm_rng_normal(&rng);
    moments(x, N, &mean, &deviation);
    CHECK_NEAR(mean, 0.0, 0.01);
    CHECK_NEAR(deviation, 1.0, 0.01);
    sm_free(x);
}

TEST(fills_do_not_depend_on_the_number_of_threads) {
    enum { N = 100003 };
    float *one = sm_alloc(N * sizeof *one), *many = sm_alloc(N * sizeof *many);
    int before = sm_threads();
    for (int threads = 2; threads <= 5; threads++) {
        sm_rng a, b;
        sm_rng_seed(&a, 9);
        b = a;
        sm_set_threads(1);
        sm_rng_fill_normal(&a, one, N, 0.0f, 1.0f);
        sm_set_threads(threads);
        sm_rng_fill_normal(&b, many, N, 0.0f, 1.0f);
        CHECK(memcmp(one, many, N * sizeof *one) == 0);
        CHECK(a.counter == b.counter && a.counter == (N + 3) / 4);
    }
    sm_set_threads(before);
    sm_rng rng;
    sm_rng_seed(&rng, 9);
    sm_rng_fill_normal(&rng, one, 0, 0.0f, 1.0f);
    CHECK(rng.counter == 0);
    sm_free(one);
    sm_free(many);
}

TEST(the_environment_lowers_the_instruction_set) {
    sm_error err = {0};
    setenv("SIAMESE_ISA", "ref", 1);
    CHECK(sm_cpu_init(&err) == SM_OK && sm_cpu_isa() == SM_ISA_REF);
    setenv("SIAMESE_ISA", "mmx", 1);
    CHECK(sm_cpu_init(&err) == SM_EINVAL);
    CHECK(strstr(err.message, "mmx") && strstr(err.message, "ref, avx2 or avx512"));
    setenv("SIAMESE_ISA", "avx512", 1);
    CHECK(sm_cpu_init(&err) == SM_OK && sm_cpu_isa() <= sm_cpu_best());
    unsetenv("SIAMESE_ISA");
    CHECK(sm_cpu_init(&err) == SM_OK && sm_cpu_isa() == sm_cpu_best());
}

TEST(instruction_sets_have_names) {
    for (int isa = 0; isa < SM_ISA_COUNT; isa++)
        CHECK(sm_isa_by_name(sm_isa_name((sm_isa)isa)) == isa);
    CHECK(sm_isa_by_name("") == -1);
    CHECK(sm_cpu_force(SM_ISA_REF) == SM_ISA_REF);
    CHECK(sm_cpu_force(SM_ISA_AVX512) == sm_cpu_best());
}

int main(void) {
    RUN(status_carries_operand_and_message);
    RUN(status_cuts_a_message_that_is_too_long);
    RUN(blocks_are_aligned_and_large_enough);
    RUN(every_size_fits_its_class);
    RUN(calloc_clears_a_block_that_was_used);
    RUN(unwritten_blocks_are_zeros_and_count_as_live);
    RUN(realloc_keeps_what_fits);
    RUN(a_steady_state_asks_the_system_for_nothing);
    RUN(what_is_live_and_its_peak_are_counted);
    RUN(large_blocks_are_cut_and_joined);
    RUN(free_neighbours_serve_a_larger_block);
    RUN(the_limit_refuses_and_leaves_blocks_alone);
    RUN(absurd_sizes_are_refused);
    RUN(philox_gives_the_known_words);
    RUN(a_seed_repeats_and_streams_differ);
    RUN(below_is_in_range_and_even);
    RUN(draws_have_their_moments);
    RUN(fills_do_not_depend_on_the_number_of_threads);
    RUN(the_environment_lowers_the_instruction_set);
    RUN(instruction_sets_have_names);
    return test_report();
}
