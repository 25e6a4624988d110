/* kmeans.c: see kmeans.h. */
#include "kernels/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/pairwise.h"

typedef struct work {
    sm_kmeans *k;
    float *nearest;     /* [n] squared distance to the nearest centre */
    int64_t *chosen;    /* [n] which that is */
    int64_t *count;     /* [k] rows of each cluster */
    double *sum;        /* [k,d] */
    float *distance;    /* [rows,k] of a block of rows */
    int64_t rows, at;   /* rows of a block; where it begins */
    const float *fresh; /* the centre that k-means++ chose last */
} work;

/* ---- the start ---- */

/* GRAIN: numbers that a thread must have to do with a new centre. There are k steps, one
 * after the other: threads that wait for each other at each cost more than they bring on
 * a machine that is busy with other things. */
enum { LANES = 16, GRAIN = 1 << 20 };

/* Squared distance, in lanes that the compiler turns into vectors. */
static float distance2(const float *restrict a, const float *restrict b, int64_t d) {
    float lane[LANES] = {0}, sum = 0;
    int64_t j = 0;
    for (; j + LANES <= d; j += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (a[j + l] - b[j + l]) * (a[j + l] - b[j + l]);
    for (; j < d; j++)
        sum += (a[j] - b[j]) * (a[j] - b[j]);
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static void approach(void *context, int64_t begin, int64_t end, int thread) {
    const work *w = context;
    const int64_t d = w->k->d;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float near = distance2(w->k->x + i * d, w->fresh, d);
        w->nearest[i] = near < w->nearest[i] ? near : w->nearest[i];
    }
}

/* A row drawn with chances as `nearest`; any where all are 0. */
static int64_t draw(const work *w) {
    double total = 0, sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < w->k->n; i++)
        total += w->nearest[i];
    if (!(total > 0))
        return (int64_t)sm_rng_below(w->k->rng, (uint64_t)w->k->n);
    double at = sm_rng_uniform(w->k->rng) * total;
    for (int64_t i = 0; i < w->k->n; i++) {
        sum += w->nearest[i];
        last = w->nearest[i] > 0 ? i : last;
        if (sum > at)
            return last;
    }
    return last; /* rounding */
}

static void start(work *w) {
    sm_kmeans *k = w->k;
    for (int64_t i = 0; i < k->n; i++)
        w->nearest[i] = INFINITY;
    for (int64_t c = 0; c < k->k; c++) {
        int64_t row = c ? draw(w) : (int64_t)sm_rng_below(k->rng, (uint64_t)k->n);
        float *centre = k->centre + c * k->d;
        memcpy(centre, k->x + row * k->d, (size_t)k->d * sizeof *centre);
        w->fresh = centre;
        sm_parallel_for(k->n, 1 + GRAIN / k->d, approach, w);
    }
}

/* ---- each row to its nearest centre ---- */

static void choose(void *context, int64_t begin, int64_t end, int thread) {
    const work *w = context;
    const int64_t clusters = w->k->k;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *distance = w->distance + i * clusters;
        int64_t best = 0;
        for (int64_t c = 1; c < clusters; c++)
            best = distance[c] < distance[best] ? c : best;
        w->nearest[w->at + i] = distance[best];
        w->chosen[w->at + i] = best;
    }
}

static sm_status assign(work *w, sm_error *err) {
    const sm_kmeans *k = w->k;
    sm_pairwise p;
    sm_status status = sm_pairwise_open(&p, SM_MEASURE_L2_SQUARED, k->x, k->n, k->centre,
                                        k->k, k->d, err);
    for (w->at = 0; w->at < k->n && status == SM_OK; w->at += w->rows) {
        int64_t end = w->at + w->rows < k->n ? w->at + w->rows : k->n;
        status = sm_pairwise_rows(&p, w->at, end, 0, w->distance, err);
        if (status == SM_OK)
            sm_parallel_for(end - w->at, 1, choose, w);
    }
    sm_pairwise_close(&p);
    return status;
}

/* Takes the choices over; whether one changed. */
static bool settle(work *w) {
    sm_kmeans *k = w->k;
    bool moved = false;
    k->inertia = 0;
    for (int64_t i = 0; i < k->n; i++) {
        moved |= k->member[i] != w->chosen[i];
        k->member[i] = w->chosen[i];
        k->inertia += w->nearest[i];
    }
    return moved;
}

/* ---- each centre to the mean of its rows ---- */

static void add_row(work *w, int64_t cluster, int64_t row, double sign) {
    const int64_t d = w->k->d;
    for (int64_t j = 0; j < d; j++)
        w->sum[cluster * d + j] += sign * w->k->x[row * d + j];
    w->count[cluster] += sign > 0 ? 1 : -1;
}

/* Gives empty clusters the rows farthest from their centres, each once. */
static void fill_empty(work *w) {
    sm_kmeans *k = w->k;
    for (int64_t c = 0; c < k->k; c++) {
        int64_t far = 0;
        if (w->count[c])
            continue;
        for (int64_t i = 1; i < k->n; i++)
            far = w->nearest[i] > w->nearest[far] ? i : far;
        if (!(w->nearest[far] > 0))
            return; /* fewer different rows than clusters */
        add_row(w, k->member[far], far, -1);
        add_row(w, c, far, 1);
        w->nearest[far] = 0;
    }
}

/* Returns how far the centres moved: squares, summed. */
static double centre_all(work *w) {
    sm_kmeans *k = w->k;
    const int64_t d = k->d;
    double shift = 0;
    memset(w->sum, 0, (size_t)(k->k * d) * sizeof *w->sum);
    memset(w->count, 0, (size_t)k->k * sizeof *w->count);
    for (int64_t i = 0; i < k->n; i++)
        add_row(w, k->member[i], i, 1);
    fill_empty(w);
    for (int64_t c = 0; c < k->k; c++)
        for (int64_t j = 0; j < d && w->count[c]; j++) {
            float mean = (float)(w->sum[c * d + j] / (double)w->count[c]);
            double step = (double)mean - k->centre[c * d + j];
            shift += step * step;
            k->centre[c * d + j] = mean;
        }
    return shift;
}

/* ---- all of it ---- */

/* The mean over columns of their variance. */
static double mean_variance(const sm_kmeans *k) {
    double total = 0;
    for (int64_t j = 0; j < k->d; j++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < k->n; i++)
            sum += k->x[i * k->d + j];
        double mean = sum / (double)k->n;
        for (int64_t i = 0; i < k->n; i++)
            squares += (k->x[i * k->d + j] - mean) * (k->x[i * k->d + j] - mean);
        total += squares / (double)k->n;
    }
    return total / (double)k->d;
}

static sm_status iterate(work *w, sm_error *err) {
    sm_kmeans *k = w->k;
    const double least = k->tolerance * mean_variance(k);
    sm_status status = assign(w, err);
    for (int64_t i = 0; i < k->n && status == SM_OK; i++)
        k->member[i] = -1;
    for (k->done = 0; status == SM_OK && settle(w) && k->done < k->iterations;) {
        double shift = centre_all(w);
        k->done++;
        status = assign(w, err);
        if (status == SM_OK && shift <= least) {
            settle(w);
            break;
        }
    }
    return status;
}

/* The bytes of n items; false on overflow of the sum in *total. */
static bool add_bytes(size_t *total, int64_t n, int64_t m, size_t size) {
    int64_t items;
    size_t bytes;
    return sm_mul_i64(n, m, &items) && sm_mul_size((size_t)items, size, &bytes) &&
           !__builtin_add_overflow(*total, bytes, total);
}

sm_status sm_kmeans_run(sm_kmeans *k, sm_error *err) {
    work w = {.k = k, .rows = sm_pairwise_block(k->k)};
    size_t total = 0;
    if (!add_bytes(&total, k->k, k->d, sizeof *w.sum) ||
        !add_bytes(&total, k->k, 1, sizeof *w.count) ||
        !add_bytes(&total, k->n, 1, sizeof *w.chosen + sizeof *w.nearest) ||
        !add_bytes(&total, w.rows, k->k, sizeof *w.distance) ||
        !(w.sum = sm_alloc(total)))
        return sm_fail(err, SM_ENOMEM, 0, "kmeans: out of memory");
    w.count = (int64_t *)(w.sum + k->k * k->d);
    w.chosen = w.count + k->k;
    w.nearest = (float *)(w.chosen + k->n);
    w.distance = w.nearest + k->n;
    if (!k->started)
        start(&w);
    sm_status status = iterate(&w, err);
    sm_free(w.sum);
    return status;
}
