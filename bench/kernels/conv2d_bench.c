/* conv2d_bench.c: GFLOP/s of the three convolution passes on the shapes of the networks
 * that people train, beside the machine's FMA peak.
 *
 *     conv2d_bench [threads [name-part]]
 *
 * A line a shape: best of the repeats that fit into a fifth of a second a pass.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "kernels/conv2d.h"

typedef struct entry {
    const char *name;
    int64_t n, c, size, o, k, stride, pad, groups;
} entry;

static const entry entries[] = {
    {"conv4.1", 128, 1, 28, 64, 3, 1, 1, 1},
    {"conv4.2 28", 128, 64, 28, 64, 3, 1, 1, 1},
    {"conv4.2", 128, 64, 14, 64, 3, 1, 1, 1},
    {"conv4.3", 128, 64, 7, 64, 3, 1, 1, 1},
    {"conv4.4", 128, 64, 3, 64, 3, 1, 1, 1},
    {"lenet.1", 128, 1, 28, 6, 5, 1, 2, 1},
    {"lenet.2", 128, 6, 14, 16, 5, 1, 0, 1},
    {"koch.1", 32, 1, 105, 64, 10, 1, 0, 1},
    {"koch.2", 32, 64, 48, 128, 7, 1, 0, 1},
    {"koch.3", 32, 128, 21, 128, 4, 1, 0, 1},
    {"koch.4", 32, 128, 9, 256, 4, 1, 0, 1},
    {"vgg.1", 16, 3, 112, 64, 3, 1, 1, 1},
    {"vgg.2", 16, 64, 56, 128, 3, 1, 1, 1},
    {"vgg.4", 16, 256, 28, 256, 3, 1, 1, 1},
    {"vgg.8", 16, 512, 7, 512, 3, 1, 1, 1},
    {"resnet.1", 32, 3, 112, 64, 7, 2, 3, 1},
    {"resnet.2", 32, 64, 28, 64, 3, 1, 1, 1},
    {"resnet.3s", 32, 64, 28, 128, 3, 2, 1, 1},
    {"resnet.4", 32, 256, 7, 256, 3, 1, 1, 1},
    {"resnet.5", 32, 512, 4, 512, 3, 1, 1, 1},
    {"few.1", 8, 512, 4, 512, 3, 1, 1, 1},
    {"few.2", 16, 512, 4, 512, 3, 1, 1, 1},
    {"few.3", 8, 256, 7, 256, 3, 1, 1, 1},
    {"few.4", 2, 256, 7, 256, 3, 1, 1, 1},
    {"few.5", 1, 128, 14, 128, 3, 1, 1, 1},
    {"few.6", 1, 64, 28, 64, 3, 1, 1, 1},
    {"few.7", 8, 512, 7, 512, 3, 1, 1, 1},
    {"few.8", 32, 512, 7, 512, 3, 1, 1, 1},
    {"resnet.down", 32, 64, 28, 128, 1, 2, 0, 1},
    {"resnet50.a", 16, 64, 28, 256, 1, 1, 0, 1},
    {"resnet50.b", 16, 256, 28, 64, 1, 1, 0, 1},
    {"resnet50.c", 16, 1024, 7, 256, 1, 1, 0, 1},
    {"resnet50.d", 16, 512, 4, 2048, 1, 1, 0, 1},
    {"resnet50.e", 16, 2048, 4, 512, 1, 1, 0, 1},
    {"resnet50.s", 16, 256, 28, 512, 1, 2, 0, 1},
    {"mobile.pw1", 32, 32, 56, 16, 1, 1, 0, 1},
    {"mobile.pw2", 32, 16, 56, 96, 1, 1, 0, 1},
    {"mobile.pw3", 32, 144, 28, 24, 1, 1, 0, 1},
    {"mobile.pw4", 32, 384, 7, 64, 1, 1, 0, 1},
    {"mobile.dw1", 32, 32, 56, 32, 3, 1, 1, 32},
    {"mobile.dw2", 32, 96, 56, 96, 3, 2, 1, 96},
    {"mobile.dw3", 32, 384, 7, 384, 3, 1, 1, 384},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct arrays {
    sm_conv2d g;
    float *x, *w, *bias, *y, *dx, *dw, *dbias;
} arrays;

static void pass(const arrays *a, int which) {
    if (which == SM_CONV2D_FORWARD)
        sm_conv2d_forward(&a->g, a->x, a->w,
                          &(sm_conv2d_finish){.bias = a->bias, .limits = sm_no_limits},
                          a->y, NULL);
    else if (which == SM_CONV2D_BACKWARD_DATA)
        sm_conv2d_backward_data(&a->g, a->y, a->w, a->dx, NULL);
    else
        sm_conv2d_backward_weight(&a->g, a->x, a->y, a->dw, a->dbias, NULL);
}

static double best_time(const arrays *a, int which) {
    pass(a, which);
    double start = now(), best = 1e9;
    for (int i = 0; i < 200 && (i < 3 || now() - start < 0.2); i++) {
        double t = now();
        pass(a, which);
        t = now() - t;
        best = t < best ? t : best;
    }
    return best;
}

static void measure(const entry *e) {
    arrays a = {.g = {e->n, e->c, e->size, e->size, e->o, e->k, e->k, e->stride,
                      e->stride, e->pad, e->pad, 1, 1, e->groups, 0, 0}};
    a.g.oh = a.g.ow = sm_conv2d_out(e->size, e->k, e->stride, e->pad, 1);
    int64_t sizes[] = {e->n * e->c * e->size * e->size,
                       e->o * (e->c / e->groups) * e->k * e->k, e->o,
                       e->n * e->o * a.g.oh * a.g.ow};
    float **fields[] = {&a.x, &a.w, &a.bias, &a.y, &a.dx, &a.dw, &a.dbias};
    int64_t counts[] = {sizes[0], sizes[1], sizes[2], sizes[3],
                        sizes[0], sizes[1], sizes[2]};
    sm_rng rng;
    sm_rng_seed(&rng, 1);
    for (int i = 0; i < 7; i++) {
        *fields[i] = sm_alloc((size_t)counts[i] * sizeof(float));
        sm_rng_fill_normal(&rng, *fields[i], counts[i], 0.0f, 1.0f);
    }
    double flops = 2.0 * (double)sizes[3] * (double)(e->c / e->groups * e->k * e->k);
    printf("%-12s", e->name);
    for (int which = 0; which < 3; which++) {
        double t = best_time(&a, which);
        printf(" %8.3f ms %7.1f", t * 1e3, flops / t * 1e-9);
    }
    printf("   %s\n", sm_conv2d_algorithm(&a.g, SM_CONV2D_FORWARD));
    fflush(stdout);
    for (int i = 0; i < 7; i++)
        sm_free(*fields[i]);
}

int main(int argc, char **argv) {
    if (sm_cpu_init(NULL) != SM_OK)
        return 1;
    if (argc > 1)
        sm_set_threads(atoi(argv[1]));
    printf("%s, %d threads\n%-12s %20s %20s %20s\n", sm_isa_name(sm_cpu_isa()),
           sm_threads(), "shape", "forward   GFLOP/s", "data   GFLOP/s",
           "weight   GFLOP/s");
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (argc < 3 || strstr(entries[i].name, argv[2]))
            measure(&entries[i]);
    return 0;
}
