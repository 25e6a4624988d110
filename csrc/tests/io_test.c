/* io_test.c: what reading files stands on: arenas, UTF-8, numbers of other widths and
 * orders. The formats themselves are tested from Lua, with files of their own writers. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "io/elements.h"
#include "tests/test.h"

TEST(arena_pieces_are_aligned_and_apart) {
    sm_arena arena = {.limit = 1 << 20};
    char *pieces[400];
    for (int i = 0; i < 400; i++) {
        size_t bytes = (size_t)(i * 37 % 700 + 1);
        pieces[i] = sm_arena_alloc(&arena, bytes);
        CHECK(pieces[i] && (uintptr_t)pieces[i] % 16 == 0);
        memset(pieces[i], i & 127, bytes);
    }
    for (int i = 0; i < 400; i++)
        CHECK(pieces[i][0] == (i & 127) && pieces[i][i * 37 % 700] == (i & 127));
    sm_arena_free(&arena);
    CHECK(arena.used == 0 && sm_arena_alloc(&arena, 1) != NULL);
    sm_arena_free(&arena);
}

TEST(arena_keeps_to_its_limit) {
    sm_arena arena = {.limit = 1000};
    CHECK(sm_arena_alloc(&arena, 1001) == NULL);
    CHECK(sm_arena_alloc(&arena, SIZE_MAX) == NULL);
    CHECK(sm_arena_alloc(&arena, 900) != NULL);
    CHECK(sm_arena_alloc(&arena, 100) == NULL);
    CHECK(sm_arena_alloc(&arena, 80) != NULL);
    sm_arena_free(&arena);
}

TEST(arena_grows_what_it_has) {
    sm_arena arena = {.limit = 1 << 20};
    size_t room = 0;
    char *text = sm_arena_grow(&arena, NULL, 0, 4, &room);
    CHECK(text && room == 4);
    memcpy(text, "abcd", 4);
    text = sm_arena_grow(&arena, text, room, 5, &room);
    CHECK(text && room == 8 && memcmp(text, "abcd", 4) == 0);
    text = sm_arena_grow(&arena, text, room, 5000, &room);
    CHECK(text && room == 5000 && memcmp(text, "abcd", 4) == 0);
    CHECK(sm_arena_grow(&arena, text, room, 2 << 20, &room) == NULL && room == 5000);
    sm_arena_free(&arena);
}

TEST(utf8_is_told_from_other_bytes) {
    static const char *const right[] = {"",
                                        "abc",
                                        "\xC2\x80",
                                        "\xDF\xBF",
                                        "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",
                                        "\xEE\x80\x80",
                                        "\xEF\xBF\xBF",
                                        "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF"};
    static const char *const wrong[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xC2",
        "\xC2\x41",     "\xE0\x9F\xBF",     "\xED\xA0\x80",     "\xE2\x82",
        "\xF0\x8F\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF",         "a\xE2\x82"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        CHECK(sm_utf8_valid(right[i], strlen(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!sm_utf8_valid(wrong[i], strlen(wrong[i])));
    CHECK(sm_utf8_valid("a\0b", 3));
}

/* Reads n elements of a type from bytes that lie at an odd address. */
static void read_numbers(sm_element type, bool big_endian, const void *bytes, int64_t n,
                         void *out) {
    uint8_t block[65];
    sm_mapped file = {block, sizeof block};
    memcpy(block + 1, bytes, (size_t)n * sm_element_size(type));
    const sm_blob blob = {type, n, big_endian, block + 1};
    sm_blob_read(&blob, &file, out);
}

TEST(numbers_are_read_in_both_orders) {
    static const uint8_t little[] = {0x00, 0x00, 0xC0, 0x3F, 0x00, 0x00, 0x20, 0xC0};
    static const uint8_t big[] = {0x3F, 0xC0, 0x00, 0x00, 0xC0, 0x20, 0x00, 0x00};
    static const uint8_t shorts[] = {0xFF, 0xFE, 0x7F, 0xFF};
    float f[2], g[2];
    int64_t whole[2];
    read_numbers(SM_ELEMENT_F32, false, little, 2, f);
    read_numbers(SM_ELEMENT_F32, true, big, 2, g);
    CHECK(f[0] == 1.5F && f[1] == -2.5F && g[0] == 1.5F && g[1] == -2.5F);
    read_numbers(SM_ELEMENT_I16, true, shorts, 2, whole);
    CHECK(whole[0] == -2 && whole[1] == 32767);
    read_numbers(SM_ELEMENT_U16, true, shorts, 2, whole);
    CHECK(whole[0] == 65534 && whole[1] == 32767);
}

TEST(unsigned_numbers_stay_what_they_are_as_far_as_int64_goes) {
    static const uint8_t words[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F,
                                    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    int64_t whole[4];
    read_numbers(SM_ELEMENT_U64, false, words, 2, whole);
    CHECK(whole[0] == INT64_MAX && whole[1] == INT64_MAX);
    read_numbers(SM_ELEMENT_U32, false, words, 4, whole);
    CHECK(whole[0] == UINT32_MAX && whole[1] == INT32_MAX && whole[3] == UINT32_MAX);
}

TEST(halves_are_all_read_right) {
    int wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h;
        float x;
        read_numbers(SM_ELEMENT_F16, false, &half, 1, &x);
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        double want = exponent == 31 ? (mantissa ? NAN : INFINITY)
                      : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                     : ldexp(mantissa, -24);
        want = h >> 15 ? -want : want;
        if (isnan(want))
            wrong += !isnan(x);
        else
            wrong += x != want || !signbit(x) != !signbit(want);
    }
    CHECK(wrong == 0);
    CHECK(sm_element_by_name("F16") == SM_ELEMENT_F16);
    CHECK(sm_element_by_name("F8_E4M3") == -1);
}

int main(void) {
    RUN(arena_pieces_are_aligned_and_apart);
    RUN(arena_keeps_to_its_limit);
    RUN(arena_grows_what_it_has);
    RUN(utf8_is_told_from_other_bytes);
    RUN(numbers_are_read_in_both_orders);
    RUN(unsigned_numbers_stay_what_they_are_as_far_as_int64_goes);
    RUN(halves_are_all_read_right);
    return test_report();
}
