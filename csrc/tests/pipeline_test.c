/* pipeline_test.c: pipelines of augmentation as threads run them without Lua, and the
 * loops over pixels that the specs do not see by themselves. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "image/resize.h"
#include "image/steps.h"
#include "kernels/pixels.h"
#include "kernels/warp.h"
#include "tests/test.h"

enum { H = 19, W = 23, PIXELS = 3 * H * W, THREADS = 4, SAMPLES = 24 };

static sm_step step(sm_step_kind kind) {
    return (sm_step){
        .kind = kind, .name = "step", .p = 1, .fill = {1, {0}}, .mode = SM_BILINEAR};
}

/* Warp, elastic, flip, resized crop, colours, blur, noise and a hole. */
static sm_pipeline *make_busy(void) {
    sm_step s[8];
    s[0] = step(SM_STEP_AFFINE);
    s[0].u.affine = (sm_affine_step){.degrees = {-20, 20}, .scale = {0.8, 1.2}};
    s[1] = step(SM_STEP_ELASTIC);
    s[1].u.elastic = (sm_elastic_step){{10, 10}, {2, 2}};
    s[2] = step(SM_STEP_FLIP);
    s[2].p = 0.5;
    s[3] = step(SM_STEP_RESIZED_CROP);
    s[3].u.resize = (sm_resize_step){.height = 12,
                                     .width = 10,
                                     .mode = SM_BILINEAR,
                                     .antialias = true,
                                     .scale = {0.3, 1},
                                     .ratio = {0.7, 1.4}};
    s[4] = step(SM_STEP_JITTER);
    for (int i = 0; i < 4; i++) {
        s[4].u.jitter.has[i] = true;
        s[4].u.jitter.factor[i] =
            i == 3 ? (sm_interval){-0.2, 0.2} : (sm_interval){0.6, 1.4};
    }
    s[5] = step(SM_STEP_BLUR);
    s[5].u.blur.taps[0] = s[5].u.blur.taps[1] = 5;
    s[5].u.blur.sigma[0] = s[5].u.blur.sigma[1] = (sm_interval){0.5, 2};
    s[6] = step(SM_STEP_NOISE);
    s[6].u.noise.sigma = (sm_interval){0.05, 0.1};
    s[6].u.noise.clip = true;
    s[7] = step(SM_STEP_ERASE);
    s[7].u.erase =
        (sm_erase_step){.scale = {0.05, 0.2}, .ratio = {0.5, 2}, .random = true};
    sm_pipeline *p = NULL;
    CHECK(sm_pipeline_new(s, 8, &p, NULL) == SM_OK);
    return p;
}

static void fill(uint8_t *bytes, int n, uint64_t seed) {
    sm_rng rng;
    sm_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++)
        bytes[i] = (uint8_t)sm_rng_below(&rng, 256);
}

typedef struct worker {
    const sm_pipeline *p;
    const uint8_t *pictures;
    int first;
    uint8_t (*out)[3 * 12 * 10];
    int failures;
} worker;

/* Every THREADS-th sample, through one scratch. */
static void *work(void *context) {
    worker *w = context;
    sm_scratch scratch = {0};
    for (int i = w->first; i < SAMPLES; i += THREADS) {
        sm_key key = {.seed = 3, .epoch = 1, .index = (uint64_t)i};
        sm_picture in = {SM_U8, 3, H, W, (void *)(w->pictures + i * PIXELS)};
        sm_picture out = {SM_U8, 3, 12, 10, w->out[i]};
        w->failures += sm_pipeline_run(w->p, &key, &in, &out, &scratch, NULL) != SM_OK;
    }
    sm_scratch_free(&scratch);
    sm_pipeline_unref((sm_pipeline *)w->p);
    return NULL;
}

TEST(threads_give_what_one_gives) {
    static uint8_t pictures[SAMPLES * PIXELS], out[SAMPLES][3 * 12 * 10];
    pthread_t threads[THREADS];
    worker workers[THREADS];
    sm_pipeline *p = make_busy();
    fill(pictures, SAMPLES * PIXELS, 1);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){sm_pipeline_ref(p), pictures, i, out, 0};
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].failures == 0);
    }
    sm_scratch scratch = {0};
    int differ = 0;
    for (int i = SAMPLES - 1; i >= 0; i--) {
        sm_key key = {.seed = 3, .epoch = 1, .index = (uint64_t)i};
        sm_picture in = {SM_U8, 3, H, W, pictures + i * PIXELS}, alone = {0};
        CHECK(sm_pipeline_run(p, &key, &in, &alone, &scratch, NULL) == SM_OK);
        CHECK(alone.dtype == SM_U8 && alone.c == 3 && alone.h == 12 && alone.w == 10);
        differ += memcmp(alone.data, out[i], sizeof out[i]) != 0;
    }
    CHECK(differ == 0);
    sm_scratch_free(&scratch);
    sm_pipeline_unref(p);
}

TEST(a_dry_run_knows_the_size) {
    sm_pipeline *p = make_busy();
    sm_scratch scratch = {0};
    sm_key key = {.seed = 1};
    sm_picture in = {SM_F32, 3, H, W, NULL}, out = {0};
    CHECK(sm_pipeline_shape(p, &key, &in, &out, &scratch, NULL) == SM_OK);
    CHECK(out.dtype == SM_F32 && out.c == 3 && out.h == 12 && out.w == 10 && !out.data);
    sm_scratch_free(&scratch);
    sm_pipeline_unref(p);
}

TEST(what_is_wanted_must_come_out) {
    static float pixels[PIXELS], room[PIXELS];
    sm_pipeline *p = make_busy();
    sm_scratch scratch = {0};
    sm_error err = {0};
    sm_key key = {.seed = 1};
    sm_picture in = {SM_F32, 3, H, W, pixels}, out = {SM_F32, 3, 12, 11, room};
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, &err) == SM_EINVAL);
    CHECK(strstr(err.message, "give float32 [3,12,10], expected float32 [3,12,11]"));
    out = (sm_picture){SM_U8, 3, 12, 10, room};
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, &err) == SM_EINVAL);
    in.w = SM_PICTURE_SIDE + 1;
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, &err) == SM_EINVAL);
    in.w = in.h = SM_PICTURE_SIDE; /* 2^40 pixels: more than warps count */
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, &err) == SM_EINVAL);
    sm_scratch_free(&scratch);
    sm_pipeline_unref(p);
}

TEST(no_steps_give_the_picture_itself) {
    float pixels[6] = {0}, room[6];
    sm_pipeline *p = NULL;
    sm_scratch scratch = {0};
    sm_key key = {0};
    sm_picture in = {SM_F32, 1, 2, 3, pixels}, out = {0};
    CHECK(sm_pipeline_new(NULL, 0, &p, NULL) == SM_OK);
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, NULL) == SM_OK);
    CHECK(out.data == pixels);
    out.data = room;
    pixels[5] = 7;
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, NULL) == SM_OK);
    CHECK(out.data == room && room[5] == 7);
    sm_scratch_free(&scratch);
    sm_pipeline_unref(p);
}

TEST(calls_are_refused_or_stopped_at) {
    float pixels[6] = {1, 2, 3, 4, 5, 6};
    sm_step s[3] = {step(SM_STEP_INVERT), step(SM_STEP_CALL), step(SM_STEP_FLIP)};
    sm_pipeline *p = NULL;
    sm_scratch scratch = {0};
    sm_error err = {0};
    sm_key key = {0};
    sm_picture in = {SM_F32, 1, 2, 3, pixels}, out = {0};
    int at = 0, call = -1;
    s[1].u.call = 5;
    s[1].u.branches.to = 2;
    CHECK(sm_pipeline_new(s, 3, &p, &err) == SM_OK);
    CHECK(sm_pipeline_has_calls(p));
    CHECK(sm_pipeline_run(p, &key, &in, &out, &scratch, &err) == SM_EINVAL);
    CHECK(strstr(err.message, "function of the script"));
    CHECK(sm_pipeline_resume(p, &key, &at, &call, &in, &out, &scratch, &err) == SM_OK);
    CHECK(at == 2 && call == 2 && ((float *)out.data)[0] == 0);
    float made[6] = {9, 8, 7, 6, 5, 4};
    in.data = made;
    out.data = NULL;
    CHECK(sm_pipeline_resume(p, &key, &at, &call, &in, &out, &scratch, &err) == SM_OK);
    CHECK(at == 3 && call == -1 && ((float *)out.data)[0] == 7);
    sm_scratch_free(&scratch);
    sm_pipeline_unref(p);
}

TEST(without_memory_it_fails_and_lets_go) {
    static float pixels[PIXELS];
    sm_pipeline *p = make_busy();
    sm_mem_stats before, after;
    sm_mem_get_stats(&before);
    int refused = 0;
    for (size_t room = 0; room < 60000; room += 1000) {
        sm_scratch scratch = {0};
        sm_error err = {0};
        sm_key key = {.seed = room};
        sm_picture in = {SM_F32, 3, H, W, pixels}, out = {0};
        sm_mem_set_limit(before.live + room);
        sm_status status = sm_pipeline_run(p, &key, &in, &out, &scratch, &err);
        CHECK(status == SM_OK || status == SM_ENOMEM);
        refused += status == SM_ENOMEM;
        sm_scratch_free(&scratch);
    }
    sm_mem_set_limit(0);
    sm_mem_get_stats(&after);
    CHECK(refused > 5 && refused < 60);
    CHECK(after.live == before.live);
    sm_pipeline_unref(p);
}

/* ---- loops ---- */

static const sm_pixels *const paths[SM_ISA_COUNT] = {&sm_pixels__ref,
#if defined(__x86_64__)
                                                     &sm_pixels__avx2, &sm_pixels__avx512
#endif
};

static int count_paths(void) {
    return (int)sm_cpu_best() + 1;
}

TEST(bytes_are_rounded_to_even_and_clamped) {
    const float x[19] = {-1,     -0.5f,  0.5f,     1.5f,      2.5f,      254.5f, 255,
                         255.4f, 255.6f, 300,      1e30f,     -1e30f,    NAN,    INFINITY,
                         -0.0f,  127.5f, 127.501f, -INFINITY, 254.49999f};
    const uint8_t want[19] = {0,   0, 0, 2,   2, 254, 255, 255, 255, 255,
                              255, 0, 0, 255, 0, 128, 128, 0,   254};
    for (int k = 0; k < count_paths(); k++) {
        uint8_t y[19];
        paths[k]->to_u8(y, x, 19);
        CHECK(memcmp(y, want, sizeof y) == 0);
    }
}

/* Of any length: the last strip goes back over what has been done. */
TEST(rows_are_mixed_whatever_their_length) {
    enum { MOST_N = 300, TAPS = 5 };
    static float rows[TAPS][MOST_N], x[MOST_N + TAPS], y[MOST_N + 1];
    static uint8_t bytes[TAPS][MOST_N];
    static const float w[TAPS] = {0.5f, -1, 2, 0.25f, 3};
    const float *from[TAPS];
    const uint8_t *from_bytes[TAPS];
    for (int k = 0; k < TAPS; k++) {
        from[k] = rows[k];
        from_bytes[k] = bytes[k];
        for (int i = 0; i < MOST_N; i++)
            rows[k][i] = bytes[k][i] = (uint8_t)(i * 31 + k * 57);
    }
    for (int i = 0; i < MOST_N + TAPS; i++)
        x[i] = (float)(i * 17 % 101);
    for (int p = 0; p < count_paths(); p++)
        for (int n = 1; n <= MOST_N; n += n < 140 ? 1 : 23) {
            float worst = 0;
            y[n] = -99;
            for (int what = 0; what < 5; what++) {
                if (what == 0)
                    paths[p]->mix_f32(y, from, w, TAPS, n);
                else if (what == 1)
                    paths[p]->mix_u8(y, from_bytes, w, TAPS, n);
                else if (what == 2)
                    paths[p]->filter(y, x, w, TAPS, n);
                else if (what == 3)
                    paths[p]->most(y, from, TAPS, n);
                else
                    paths[p]->least_of(y, x, TAPS, n);
                for (int i = 0; i < n; i++) {
                    float want = what == 3 ? rows[0][i] : what == 4 ? x[i] : 0;
                    for (int k = 0; k < TAPS; k++)
                        want = what == 3   ? fmaxf(want, rows[k][i])
                               : what == 4 ? fminf(want, x[i + k])
                               : what == 2 ? want + w[k] * x[i + k]
                                           : want + w[k] * rows[k][i];
                    worst = fmaxf(worst, fabsf(y[i] - want));
                }
            }
            CHECK(worst == 0 && y[n] == -99);
        }
}

/* Bytes on a line, at once and by way of floats. */
TEST(bytes_stay_on_their_line) {
    uint8_t x[256], y[256], want[256];
    float z[256], f[256];
    const sm_line l = {1.37f, -20.25f, 0, 255};
    for (int i = 0; i < 256; i++)
        x[i] = (uint8_t)i;
    for (int p = 0; p < count_paths(); p++)
        for (int n = 200; n <= 256; n += 7) {
            paths[p]->line_u8(y, x, n, l);
            paths[p]->line_from_u8(z, x, n, l);
            paths[p]->from_u8(f, x, n);
            paths[p]->line_f32(f, f, n, l);
            paths[p]->to_u8(want, f, n);
            CHECK(memcmp(y, want, (size_t)n) == 0);
            float worst = 0;
            for (int i = 0; i < n; i++)
                worst = fmaxf(worst, fabsf(z[i] - f[i]));
            CHECK(worst < 1e-4f);
            CHECK(paths[p]->sum_u8(x, n) == n * (n - 1) / 2);
        }
}

TEST(draws_are_the_generators_words) {
    enum { N = 103, BLOCKS = 26 };
    sm_rng rng;
    sm_rng_seed(&rng, 77);
    for (int k = 0; k < count_paths(); k++) {
        float y[4 * BLOCKS];
        double worst = 0;
        paths[k]->uniform(y, N, rng.key, 5);
        for (int i = 0; i < N; i++) {
            uint32_t word[4];
            sm_rng_block(rng.key, 5 + (uint64_t)(i % BLOCKS), word);
            worst = fmax(worst, fabs((double)y[i] - (word[i / BLOCKS] >> 8) * 0x1p-24));
        }
        CHECK(worst == 0);
    }
}

TEST(normal_draws_are_box_and_mullers) {
    enum { N = 4000, BLOCKS = N / 4 };
    static float y[N];
    sm_rng rng;
    sm_rng_seed(&rng, 78);
    for (int k = 0; k < count_paths(); k++) {
        double worst = 0;
        paths[k]->normal(y, N, rng.key, 9);
        for (int i = 0; i < N; i++) {
            uint32_t word[4];
            sm_rng_block(rng.key, 9 + (uint64_t)(i % BLOCKS), word);
            const int pair = i / BLOCKS / 2 * 2;
            const double u = ((word[pair] >> 8) + 1) * 0x1p-24;
            const double angle = 2 * M_PI * (word[pair + 1] >> 8) * 0x1p-24;
            const double want =
                sqrt(-2 * log(u)) * (i / BLOCKS % 2 ? sin(angle) : cos(angle));
            worst = fmax(worst, fabs((double)y[i] - want));
        }
        CHECK(worst < 3e-6);
    }
}

TEST(colours_are_alike_on_all_paths) {
    enum { N = 77 };
    for (int k = 1; k < count_paths(); k++) {
        float a[3][N], b[3][N], worst = 0;
        sm_rng rng;
        sm_rng_seed(&rng, 5);
        for (int i = 0; i < 3 * N; i++)
            a[i / N][i % N] = b[i / N][i % N] = (float)sm_rng_uniform(&rng);
        const sm_pixels *const both[2] = {paths[0], paths[k]};
        for (int j = 0; j < 2; j++) {
            float(*x)[N] = j ? b : a;
            float *const y[3] = {x[0], x[1], x[2]};
            const float *const from[3] = {x[0], x[1], x[2]};
            both[j]->hue(y, from, N, -0.3f);
            both[j]->saturate(y, from, N, 1.3f, 1);
            both[j]->gamma(x[0], x[0], N, 1.7f, 1, 1);
            both[j]->line_f32(x[1], x[1], N, (sm_line){0.7f, 0.1f, 0, 1});
            both[j]->blend(x[2], x[0], N, 0.25f);
        }
        for (int i = 0; i < 3 * N; i++)
            worst = fmaxf(worst, fabsf(a[i / N][i % N] - b[i / N][i % N]));
        CHECK(worst < 3e-6f);
    }
}

/* All that a warp may be asked: far, between, NaN; it must read nothing outside. */
TEST(warps_stay_inside) {
    static const float wild[] = {-1e30f, -3, -1.0001f, -1, -0.5f, 0,   0.49f,   1, 2.5f,
                                 3.5f,   4,  4.5f,     5,  1e9f,  NAN, INFINITY};
    static const sm_warp_kernels *const kernels[SM_ISA_COUNT] = {
        &sm_warp_kernels__ref,
#if defined(__x86_64__)
        &sm_warp_kernels__avx2,
        &sm_warp_kernels__avx512
#endif
    };
    float *plane = malloc(20 * sizeof *plane); /* [4, 5], exactly */
    const float outside = -7;
    for (int i = 0; i < 20; i++)
        plane[i] = (float)i;
    const sm_warp_source s = {plane, 20, 5, 1, 4, 5, &outside};
    for (int k = 0; k < count_paths(); k++)
        for (int i = 0; i < 16; i++) {
            sm_warp_places p = {.n = 16, .ox = i % 4 - i % 2, .oy = 2};
            float y[SM_WARP_RUN], z[SM_WARP_RUN];
            for (int j = 0; j < 16; j++) {
                p.x[j] = wild[j] - (float)p.ox;
                p.y[j] = wild[i] - 2;
            }
            kernels[k]->bilinear(&s, &p, y, 16);
            kernels[k]->nearest(&s, &p, z, 16);
            for (int j = 0; j < 16; j++) {
                const float col = wild[j], row = wild[i];
                const bool in = col >= 0 && col <= 4 && row >= 0 && row <= 3;
                const bool out = !(col > -1 && col < 5 && row > -1 && row < 4);
                CHECK(!in || fabsf(y[j] - (5 * row + col)) < 1e-5f);
                CHECK(!out || (y[j] == outside));
                CHECK(z[j] >= outside && z[j] <= 19);
                CHECK(!in || z[j] == 5 * rintf(row) + rintf(col));
            }
        }
    free(plane);
}

TEST(sizes_are_changed_alike_on_all_paths) {
    static const int sizes[][4] = {{5, 7, 3, 4},   {40, 33, 17, 16}, {3, 3, 50, 41},
                                   {1, 1, 5, 5},   {64, 200, 1, 1},  {150, 3, 2, 9},
                                   {31, 31, 31, 5}};
    const sm_isa best = sm_cpu_best();
    static float x[64 * 200], y[2][64 * 64];
    for (int i = 0; i < 64 * 200; i++)
        x[i] = (float)(i * 7919 % 1000) / 1000;
    for (int mode = SM_RESIZE_AREA; mode <= SM_RESIZE_NEAREST_EXACT; mode++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int isa = 1; isa <= (int)best; isa++) {
                const int *z = sizes[s];
                float worst = 0;
                for (int k = 0; k < 2; k++) {
                    sm_cpu_force(k ? (sm_isa)isa : SM_ISA_REF);
                    CHECK(sm_resize((sm_resize_mode)mode, SM_F32, x, 1, z[0], z[1], y[k],
                                    z[2], z[3], NULL) == SM_OK);
                }
                for (int i = 0; i < z[2] * z[3]; i++)
                    worst = fmaxf(worst, fabsf(y[0][i] - y[1][i]));
                CHECK(worst < 2e-6f);
            }
    sm_cpu_force(best);
}

int main(void) {
    RUN(threads_give_what_one_gives);
    RUN(a_dry_run_knows_the_size);
    RUN(what_is_wanted_must_come_out);
    RUN(no_steps_give_the_picture_itself);
    RUN(calls_are_refused_or_stopped_at);
    RUN(without_memory_it_fails_and_lets_go);
    RUN(bytes_are_rounded_to_even_and_clamped);
    RUN(rows_are_mixed_whatever_their_length);
    RUN(bytes_stay_on_their_line);
    RUN(draws_are_the_generators_words);
    RUN(normal_draws_are_box_and_mullers);
    RUN(colours_are_alike_on_all_paths);
    RUN(warps_stay_inside);
    RUN(sizes_are_changed_alike_on_all_paths);
    return test_report();
}
