/* loader_test.c: batches made by threads: the same whatever their number, from files and
 * from memory, with a cache and without; failures; an end at any moment. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pool.h"
#include "image/steps.h"
#include "io/loader.h"
#include "tests/test.h"

enum { COUNT = 40, SIDE = 6, BROKEN = 7, MISSING = 23 };

static char folder[64];
static char names[COUNT][96];
static const char *paths[COUNT];

static int pixel(int picture, int at) {
    return (picture * 5 + at * 3) % 256;
}

static void write_picture(int i) {
    FILE *file = fopen(names[i], "wb");
    fprintf(file, "P5\n%d %d\n255\n", SIDE, SIDE);
    for (int at = 0; at < SIDE * SIDE - (i == BROKEN); at++)
        fputc(pixel(i, at), file);
    fclose(file);
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/siamese_loader_%ld", (long)getpid());
    mkdir(folder, 0700);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%s/%02d.pgm", folder, i);
        paths[i] = names[i];
        if (i != MISSING)
            write_picture(i);
    }
}

static void remove_folder(void) {
    for (int i = 0; i < COUNT; i++)
        remove(names[i]);
    rmdir(folder);
}

static sm_pictures *open_pictures(int64_t height, sm_fill fill) {
    sm_error err;
    sm_pictures *p = NULL;
    const sm_form form = {.channels = 1,
                          .fill = fill,
                          .height = height,
                          .width = height,
                          .limits = {100, 100, 1 << 20}};
    CHECK(sm_pictures_new(&form, paths, COUNT, NULL, 0, &p, &err) == SM_OK);
    CHECK(sm_pictures_settle(p, &err) == SM_OK);
    return p;
}

/* Asks for one batch of two lists: `first`, `first` + 1, ... and the same backwards. */
static void push(sm_loader *loader, int first, int n, uint64_t number) {
    sm_error err;
    int64_t there[COUNT], back[COUNT];
    for (int i = 0; i < n; i++) {
        there[i] = (first + i) % COUNT;
        back[n - 1 - i] = there[i];
    }
    sm_meta meta;
    CHECK(sm_loader_meta(loader, there, n, &meta, &err) == SM_OK);
    sm_batch_list lists[2] = {{n, there, NULL}, {n, back, NULL}};
    for (int k = 0; k < 2; k++)
        CHECK(sm_tensor_new(&meta, &lists[k].images, &err) == SM_OK);
    CHECK(sm_loader_push(loader, lists, 2, number, &err) == SM_OK);
    for (int k = 0; k < 2; k++)
        sm_tensor_unref(lists[k].images);
}

static bool names_file(const sm_failure *failure, int64_t picture) {
    return failure && failure->status == SM_EIO &&
           strstr(failure->err.message, names[picture]);
}

/* Whether one picture of a batch is what it should be: that of its index, or zeros and a
 * message that names it. */
static bool is_right(const sm_batch_list *list, int64_t i, const sm_failure *failure) {
    const int64_t picture = list->indices[i];
    const bool bad = picture == BROKEN || picture == MISSING;
    const float *x = sm_f32(list->images) + i * SIDE * SIDE;
    bool right = bad ? names_file(failure, picture) : !failure;
    for (int at = 0; at < SIDE * SIDE; at++) {
        const float want = bad ? 0 : (float)pixel((int)picture, at) * (1.0f / 255);
        right = right && x[at] == want;
    }
    return right;
}

static bool batch_is_right(const sm_batch *b) {
    const sm_failure *const *failure = (const sm_failure *const *)b->failure;
    long long failures = 0;
    bool right = true;
    for (int k = 0; k < b->lists; k++)
        for (int64_t i = 0; i < b->list[k].n; i++, failure++) {
            right = right && is_right(&b->list[k], i, *failure);
            failures += *failure != NULL;
        }
    return right && failures == b->failures;
}

/* An epoch of `batches` batches of `n`; true when all came, in order, and right. */
static bool goes_through(sm_source source, int workers, int depth, int batches, int n) {
    sm_error err;
    sm_loader *loader = NULL;
    const sm_loader_options options = {
        .source = source, .workers = workers, .depth = depth, .dtype = SM_F32};
    if (sm_loader_new(&options, &loader, &err) != SM_OK)
        return false;
    bool right = sm_loader_count(loader) == COUNT && sm_loader_threads(loader) == workers;
    int asked = 0;
    for (int taken = 0; taken < batches; taken++) {
        for (; asked < batches && sm_loader_has_room(loader); asked++)
            push(loader, asked * n, n, (uint64_t)asked);
        sm_batch *b = sm_loader_pop(loader);
        right = right && b && b->number == (uint64_t)taken && batch_is_right(b);
        sm_batch_free(b);
    }
    right = right && sm_loader_pop(loader) == NULL;
    sm_loader_free(loader);
    return right;
}

TEST(files_come_in_order_whatever_the_number_of_threads) {
    sm_pictures *p = open_pictures(0, SM_FILL_BYTES);
    for (int workers = 0; workers <= 4; workers++)
        for (int depth = 1; depth <= 5; depth += 2)
            CHECK(goes_through((sm_source){p, NULL}, workers, depth, 12, 9));
    sm_pictures_unref(p);
}

TEST(a_cache_changes_nothing_and_keeps_to_its_limit) {
    const size_t one = SIDE * SIDE + 16;
    static const size_t limits[] = {1, 400, 1 << 20};
    for (size_t k = 0; k < 3; k++) {
        sm_pictures *p = open_pictures(0, SM_FILL_BYTES);
        sm_pictures_cache(p, limits[k]);
        for (int epoch = 0; epoch < 3; epoch++)
            CHECK(goes_through((sm_source){p, NULL}, 3, 3, 9, 9));
        CHECK(sm_pictures_cached(p) <= limits[k]);
        CHECK(k != 1 || sm_pictures_cached(p) == 400 / one * one);
        CHECK(k != 2 || sm_pictures_cached(p) == (COUNT - 2) * one);
        sm_pictures_unref(p);
    }
}

TEST(two_loaders_share_pictures_and_their_cache) {
    sm_error err;
    sm_pictures *p = open_pictures(0, SM_FILL_BYTES);
    sm_pictures_cache(p, 1 << 20);
    const sm_loader_options options = {
        .source = {p, NULL}, .workers = 2, .depth = 4, .dtype = SM_F32};
    sm_loader *a = NULL, *b = NULL;
    CHECK(sm_loader_new(&options, &a, &err) == SM_OK);
    CHECK(sm_loader_new(&options, &b, &err) == SM_OK);
    for (int i = 0; i < 4; i++) {
        push(a, 10 * i, 10, (uint64_t)i);
        push(b, 10 * i, 10, (uint64_t)i);
    }
    for (int i = 0; i < 4; i++) {
        sm_batch *x = sm_loader_pop(a), *y = sm_loader_pop(b);
        CHECK(batch_is_right(x) && batch_is_right(y));
        sm_batch_free(x);
        sm_batch_free(y);
    }
    sm_loader_free(a);
    sm_loader_free(b);
    sm_pictures_unref(p);
}

TEST(resized_pictures_are_the_same_from_the_cache) {
    sm_error err;
    for (int floats = 0; floats < 2; floats++) {
        const sm_fill kind = floats ? SM_FILL_FLOATS : SM_FILL_BYTES;
        sm_pictures *plain = open_pictures(4, kind), *kept = open_pictures(4, kind);
        sm_pictures_cache(kept, 1 << 20);
        for (int round = 0; round < 2; round++)
            for (int i = 0; i < 5; i++) {
                float x[16], y[16];
                CHECK(sm_pictures_read(plain, i, SM_F32, x, &err) == SM_OK);
                CHECK(sm_pictures_read(kept, i, SM_F32, y, &err) == SM_OK);
                CHECK(memcmp(x, y, sizeof x) == 0);
            }
        sm_pictures_unref(plain);
        sm_pictures_unref(kept);
    }
}

/* Pictures in memory are what the files would be, the broken ones too. */
static sm_tensor *make_images(void) {
    sm_error err;
    sm_tensor *t = NULL;
    const sm_meta meta = {.dtype = SM_U8, .ndim = 4, .shape = {COUNT, 1, SIDE, SIDE}};
    CHECK(sm_tensor_new(&meta, &t, &err) == SM_OK);
    for (int i = 0; i < COUNT; i++)
        for (int at = 0; at < SIDE * SIDE; at++)
            sm_u8(t)[i * SIDE * SIDE + at] = (uint8_t)pixel(i, at);
    return t;
}

TEST(tensors_are_gathered) {
    sm_error err;
    sm_tensor *images = make_images();
    for (int workers = 0; workers <= 2; workers++) {
        const sm_loader_options options = {
            .source = {NULL, images}, .workers = workers, .depth = 2, .dtype = SM_F32};
        sm_loader *loader = NULL;
        CHECK(sm_loader_new(&options, &loader, &err) == SM_OK);
        push(loader, 30, 20, 5);
        sm_batch *b = sm_loader_pop(loader);
        bool right = b && b->failures == 0 && b->number == 5;
        for (int i = 0; i < 20 && right; i++)
            for (int at = 0; at < SIDE * SIDE; at++)
                right = right && sm_f32(b->list[0].images)[i * SIDE * SIDE + at] ==
                                     (float)pixel((30 + i) % COUNT, at) * (1.0f / 255);
        CHECK(right);
        sm_batch_free(b);
        sm_loader_free(loader);
    }
    CHECK(images->refs == 1);
    sm_tensor_unref(images);
}

/* Turned over half of the time, then noisy. */
static sm_pipeline *make_pipeline(void) {
    sm_error err;
    sm_pipeline *p = NULL;
    const sm_values none = {.n = 1};
    sm_step steps[] = {{.kind = SM_STEP_FLIP, .name = "flip", .p = 0.5, .fill = none},
                       {.kind = SM_STEP_NOISE, .name = "noise", .p = 1, .fill = none}};
    steps[1].u.noise.sigma = (sm_interval){0.1, 0.2};
    CHECK(sm_pipeline_new(steps, 2, &p, &err) == SM_OK);
    return p;
}

/* The images of some batches, one beside the other, made by that many threads. */
static void collect(sm_source source, int workers, sm_pipeline *pipeline, float *out) {
    sm_error err;
    sm_loader *loader = NULL;
    const sm_loader_options options = {.source = source,
                                       .workers = workers,
                                       .depth = 3,
                                       .dtype = SM_F32,
                                       .pipeline = pipeline,
                                       .seed = 7};
    CHECK(sm_loader_new(&options, &loader, &err) == SM_OK);
    for (int asked = 0, taken = 0; taken < 6; taken++) {
        for (; asked < 6 && sm_loader_has_room(loader); asked++)
            push(loader, 5 * asked, 5, (uint64_t)asked);
        sm_batch *b = sm_loader_pop(loader);
        for (int k = 0; k < 2; k++, out += 5 * SIDE * SIDE)
            memcpy(out, sm_f32(b->list[k].images), 5 * SIDE * SIDE * sizeof *out);
        sm_batch_free(b);
    }
    sm_loader_free(loader);
}

TEST(augmented_batches_are_the_same_whatever_the_number_of_threads) {
    enum { ALL = 6 * 2 * 5 * SIDE * SIDE };
    sm_pipeline *pipeline = make_pipeline();
    float *want = sm_alloc(ALL * sizeof *want), *got = sm_alloc(ALL * sizeof *got);
    for (int any_size = 0; any_size < 2; any_size++) {
        sm_error err;
        sm_pictures *p = NULL;
        const sm_form form = {.channels = 1, .limits = {100, 100, 1 << 20}};
        CHECK(sm_pictures_new(&form, paths, COUNT, NULL, 0, &p, &err) == SM_OK);
        if (!any_size)
            CHECK(sm_pictures_settle(p, &err) == SM_OK);
        collect((sm_source){p, NULL}, 0, pipeline, want);
        CHECK(want[0] != (float)pixel(0, 0) / 255);
        for (int workers = 1; workers <= 4; workers++) {
            collect((sm_source){p, NULL}, workers, pipeline, got);
            CHECK(memcmp(want, got, ALL * sizeof *want) == 0);
            sm_pictures_cache(p, workers % 2 ? 1 << 20 : 0);
        }
        sm_pictures_unref(p);
    }
    sm_free(want);
    sm_free(got);
    sm_pipeline_unref(pipeline);
}

TEST(a_loader_left_in_the_middle_leaves_nothing_behind) {
    sm_error err;
    sm_mem_stats before, after;
    sm_pictures *p = open_pictures(0, SM_FILL_BYTES);
    sm_mem_get_stats(&before);
    for (int round = 0; round < 300; round++) {
        const sm_loader_options options = {
            .source = {p, NULL}, .workers = round % 4, .depth = 4, .dtype = SM_F32};
        sm_loader *loader = NULL;
        CHECK(sm_loader_new(&options, &loader, &err) == SM_OK);
        for (int i = 0; i < 4; i++)
            push(loader, 10 * i, 10, (uint64_t)i);
        for (int i = 0; i < round % 3; i++)
            sm_batch_free(sm_loader_pop(loader));
        sm_loader_free(loader);
    }
    sm_mem_get_stats(&after);
    sm_pictures_unref(p);
    CHECK(after.live == before.live);
}

TEST(a_list_of_pictures_none_of_which_can_be_read_says_why) {
    sm_error err;
    sm_pictures *p = NULL;
    const char *none[] = {"/nonexistent/a.png", "/nonexistent/b.png"};
    const sm_form form = {.channels = 1, .limits = {100, 100, 1000}};
    CHECK(sm_pictures_new(&form, none, 2, NULL, 0, &p, &err) == SM_OK);
    CHECK(sm_pictures_settle(p, &err) == SM_EIO);
    CHECK(strstr(err.message, "/nonexistent/a.png"));
    sm_pictures_unref(p);
}

TEST(a_forked_child_goes_on_with_the_epoch) {
    sm_error err;
    if (!TEST_MAY_FORK())
        return;
    sm_pictures *p = open_pictures(0, SM_FILL_BYTES);
    sm_pictures_cache(p, 1 << 20);
    for (int round = 0; round < 10; round++) {
        const sm_loader_options options = {
            .source = {p, NULL}, .workers = 3, .depth = 4, .dtype = SM_F32};
        sm_loader *loader = NULL;
        CHECK(sm_loader_new(&options, &loader, &err) == SM_OK);
        for (int i = 0; i < 4; i++)
            push(loader, 10 * i, 10, (uint64_t)i);
        pid_t child = fork();
        bool right = true;
        for (int i = 0; i < 4; i++) {
            sm_batch *b = sm_loader_pop(loader);
            right = right && b && batch_is_right(b);
            sm_batch_free(b);
        }
        sm_loader_free(loader);
        if (child == 0)
            _exit(right ? 0 : 1);
        int status = -1;
        CHECK(right && child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    sm_pictures_unref(p);
}

int main(void) {
    sm_set_threads(3);
    make_folder();
    RUN(files_come_in_order_whatever_the_number_of_threads);
    RUN(a_cache_changes_nothing_and_keeps_to_its_limit);
    RUN(two_loaders_share_pictures_and_their_cache);
    RUN(resized_pictures_are_the_same_from_the_cache);
    RUN(tensors_are_gathered);
    RUN(augmented_batches_are_the_same_whatever_the_number_of_threads);
    RUN(a_loader_left_in_the_middle_leaves_nothing_behind);
    RUN(a_list_of_pictures_none_of_which_can_be_read_says_why);
    RUN(a_forked_child_goes_on_with_the_epoch);
    remove_folder();
    sm_pool_stop();
    return test_report();
}
