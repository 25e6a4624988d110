/* run.h: one run of a pipeline on one picture. Internal to image/.
 *
 * A run holds the picture as far as it has been computed (`view`, a window into the input
 * or into one of two buffers), and one act that has yet to be done to it. Steps ask for
 * acts by sm_run_warp, sm_run_crop, ...: what can be joined with the act that waits is
 * joined (warps into one warp, a crop into the warp before it, neighbouring colour
 * changes into one pass; a crop or a flip of what has been computed only moves the
 * window), else the waiting act is done first. The last act writes where the result is
 * wanted. A dry run goes the same way and computes sizes alone.
 */
#ifndef SM_IMAGE_RUN_H
#define SM_IMAGE_RUN_H

#include "image/steps.h"

/* A window: element (c, y, x) is data[c * plane + y * row + x], or, mirrored, that of
 * column w - 1 - x. `row` may be negative. */
typedef struct sm_view {
    sm_dtype dtype;
    int64_t c, h, w, plane, row;
    bool mirror;
    void *data;
} sm_view;

typedef enum sm_act_kind {
    SM_ACT_NONE,
    SM_ACT_WARP,
    SM_ACT_PLACE,
    SM_ACT_RESIZE,
    SM_ACT_POINTS,
    SM_ACT_BLUR,
    SM_ACT_STROKE
} sm_act_kind;

/* Where each pixel comes from: (x, y, 1) times map, divided by the third; pixel centres
 * have whole coordinates, from 0. */
typedef struct sm_warp {
    double map[9];
    sm_values fill;
    sm_interpolation mode;
    bool displaced; /* x and y are first moved by a smooth random field */
    sm_rng rng;     /* of the field */
    double alpha[2], sigma[2];
    const float *field; /* or by this one, [2, h, w] in pixels */
} sm_warp;

typedef struct sm_place {
    int64_t left, top; /* of the source in what comes out; may be negative */
    sm_padding mode;
    sm_values fill;
} sm_place;

typedef enum sm_point_kind {
    SM_POINT_LINEAR,   /* low .. high of a x + b, by channel (a.n is b.n) */
    SM_POINT_CONTRAST, /* a x + (1 - a) mean of the grey picture; first of its chain */
    SM_POINT_SATURATION,
    SM_POINT_HUE,
    SM_POINT_GAMMA,
    SM_POINT_GREY,
    SM_POINT_SPREAD, /* one channel becomes three */
    SM_POINT_NOISE
} sm_point_kind;

typedef struct sm_point {
    sm_point_kind kind;
    float low, high;
    sm_values a, b; /* LINEAR; others: a.v[0], b.v[0] */
    sm_rng rng;     /* NOISE */
    int channels;   /* GREY: what comes out */
} sm_point;

enum { SM_RUN_POINTS = 16, SM_RUN_HOLES = 16 };

typedef struct sm_points {
    int n;
    float high; /* what white is, at the end of the chain */
    sm_point point[SM_RUN_POINTS];
} sm_points;

typedef struct sm_blur {
    int64_t taps[2];
    double sigma[2];
} sm_blur;

typedef struct sm_stroke {
    double radius;
    bool brighten;
} sm_stroke;

/* A rectangle of what an act writes, given a value afterwards. */
typedef struct sm_hole {
    int64_t top, left, height, width;
    bool random;
    sm_values fill;
    sm_rng rng;
} sm_hole;

typedef struct sm_act {
    sm_act_kind kind;
    union {
        sm_warp warp;
        sm_place place;
        struct {
            sm_interpolation mode;
            bool antialias;
        } resize;
        sm_points points;
        sm_blur blur;
        sm_stroke stroke;
    } u;
    int holes;
    sm_hole hole[SM_RUN_HOLES];
} sm_act;

typedef struct sm_run {
    bool dry;
    sm_scratch *scratch;
    sm_error *err;
    const char *step; /* the step's name, for messages */
    sm_view view;
    int buffer; /* that the view lies in: 0 or 1; -1: neither */
    sm_act act;
    /* What comes out when the act is done. */
    sm_dtype dtype;
    int64_t c, h, w;
} sm_run;

/* Blocks of a scratch. */
enum {
    SM_BLOCK_ZERO, /* the two buffers */
    SM_BLOCK_ONE,
    SM_BLOCK_FLOATS, /* a float32 copy of a uint8 source */
    SM_BLOCK_ROWS,   /* rows under way */
    SM_BLOCK_TABLE,  /* weights */
    SM_BLOCK_FIELD   /* displacements */
};

/* `bytes` bytes of a block, contents undefined; fails with SM_ENOMEM. */
sm_status sm_scratch_take(sm_scratch *scratch, int block, size_t bytes, void *slot,
                          sm_error *err);
/* c * h * w elements of a dtype in bytes; SM_EINVAL, named by the run's step, where a
 * picture would be too large. */
sm_status sm_run_bytes(const sm_run *r, sm_dtype dtype, int64_t c, int64_t h, int64_t w,
                       size_t *bytes);

/* ---- what steps ask for ---- */

/* map, mode and fill of `w`; out: h, w. */
sm_status sm_run_warp(sm_run *r, const sm_warp *w, int64_t height, int64_t width);
/* The window [top, left, height, width]; what lies outside of the picture is padded. */
sm_status sm_run_place(sm_run *r, const sm_place *p, int64_t height, int64_t width);
sm_status sm_run_flip(sm_run *r, bool vertical);
sm_status sm_run_resize(sm_run *r, int64_t height, int64_t width, sm_interpolation mode,
                        bool antialias);
sm_status sm_run_point(sm_run *r, const sm_point *p);
/* Converts; `scale`: between 0..255 and 0..1. */
sm_status sm_run_convert(sm_run *r, sm_dtype dtype, bool scale);
sm_status sm_run_blur(sm_run *r, const sm_blur *b);
sm_status sm_run_stroke(sm_run *r, const sm_stroke *s);
sm_status sm_run_hole(sm_run *r, const sm_hole *hole);
/* What white is: 255 or 1. */
float sm_run_white(const sm_run *r);
/* Does what waits; with target, there (dense, of the run's dtype and size), and the view
 * is that then. */
sm_status sm_run_flush(sm_run *r, void *target);

/* ---- acts: each reads the run's view and writes `to`, dense [c, h, w] of the run ----
 */

sm_status sm_act_warp(sm_run *r, void *to);
sm_status sm_act_place(sm_run *r, void *to);
sm_status sm_act_resize(sm_run *r, void *to);
sm_status sm_act_points(sm_run *r, void *to);
sm_status sm_act_blur(sm_run *r, void *to);
sm_status sm_act_stroke(sm_run *r, void *to);
/* Copies the view. */
void sm_act_copy(const sm_view *v, void *to);
void sm_act_holes(const sm_run *r, void *to);
/* The place in 0 .. n - 1 that the padded place i shows; for all modes but the constant.
 * Reflections go on for as long as they must, as NumPy's do. */
int64_t sm_pad_index(int64_t i, int64_t n, sm_padding mode);
/* Blurs a view into `to` (dense, of the view's dtype); a mirrored view as it lies. Uses
 * the blocks ROWS and TABLE. */
sm_status sm_blur_view(const sm_view *v, const sm_blur *b, void *to, sm_scratch *scratch,
                       sm_error *err);

/* ---- steps: whether they may be (steps_check.c), their numbers, then their acts
 * (steps_colour.c, steps_geometry.c) ---- */

/* Step `at` of n. */
sm_status sm_step_check(const sm_step *s, int at, int n, sm_error *err);
/* The same for a NEXT, once the others are known to be sound. */
sm_status sm_step_check_next(const sm_step *steps, int at, sm_error *err);
sm_status sm_draw_step(sm_run *r, const sm_step *s, sm_rng *rng);

#endif
