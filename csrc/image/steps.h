/* steps.h: what a pipeline (image/pipeline.h) is made of.
 *
 * A program is a list of steps. Each draws its numbers from a stream of its own (the
 * sample's, by the step's place in the list), so that what one step draws does not depend
 * on what another does. A step whose `p` is below 1 is left out as often as that says.
 *
 * Steps that steer name the places where they go on:
 *
 *     0  SOMETIMES to 2         left out: go on at 2
 *     1  FLIP
 *     2  CHOICE of 3, 5         one of the branches, by their weights; `to` is the end, 7
 *     3  BLUR
 *     4  JUMP to 7
 *     5  INVERT
 *     6  JUMP to 7
 *     7  ORDER of 8, 10         all branches in random order; `to` is the end, 12
 *     8  ERASE
 *     9  NEXT to 7, branch 0    ends a branch of the ORDER at 7
 *    10  NOISE
 *    11  NEXT to 7, branch 1
 *
 * Numbers are drawn uniformly from intervals; one of width zero makes a step exact.
 * Names, meanings and defaults follow torchvision.transforms.v2 where it has the step.
 */
#ifndef SM_IMAGE_STEPS_H
#define SM_IMAGE_STEPS_H

#include "image/augment.h"
#include "image/pipeline.h"

enum {
    SM_STEP_NAME = 40,
    SM_STEP_CHANNELS = 16, /* of lists with a value for each channel */
    SM_STEP_BRANCHES = 32,
    SM_PIPELINE_STEPS = 1024,
    SM_BLUR_TAPS = 1023, /* of a Gaussian kernel, odd */
    SM_STROKE_RADIUS = 64
};

typedef enum sm_step_kind {
    SM_STEP_SOMETIMES,
    SM_STEP_CHOICE,
    SM_STEP_ORDER,
    SM_STEP_NEXT,
    SM_STEP_JUMP,
    SM_STEP_CALL,
    SM_STEP_PARTS, /* siamese.augment.Affine */
    SM_STEP_AFFINE,
    SM_STEP_PERSPECTIVE,
    SM_STEP_ELASTIC,
    SM_STEP_FLIP,
    SM_STEP_CROP,
    SM_STEP_RESIZED_CROP,
    SM_STEP_RESIZE,
    SM_STEP_PAD,
    SM_STEP_JITTER,
    SM_STEP_GAMMA,
    SM_STEP_GREY,
    SM_STEP_INVERT,
    SM_STEP_NOISE,
    SM_STEP_BLUR,
    SM_STEP_STROKE,
    SM_STEP_ERASE,
    SM_STEP_CUTOUT,
    SM_STEP_NORMALIZE,
    SM_STEP_TO_DTYPE,
    SM_STEP_COUNT
} sm_step_kind;

typedef struct sm_interval {
    double low, high;
} sm_interval;

/* One value for all channels (n is 1), or one for each. */
typedef struct sm_values {
    int n;
    float v[SM_STEP_CHANNELS];
} sm_values;

typedef enum sm_interpolation {
    SM_NEAREST,
    SM_NEAREST_EXACT,
    SM_BILINEAR,
    SM_BICUBIC,
    SM_AREA
} sm_interpolation;

typedef enum sm_padding {
    SM_PAD_CONSTANT,
    SM_PAD_EDGE,
    SM_PAD_REFLECT,
    SM_PAD_SYMMETRIC
} sm_padding;

/* Where a step that steers goes on. */
typedef struct sm_branches {
    int to;     /* SOMETIMES, JUMP: the target; CHOICE, ORDER: the end; NEXT: its ORDER */
    int branch; /* NEXT */
    int count;  /* CHOICE, ORDER */
    int start[SM_STEP_BRANCHES];
    double weight[SM_STEP_BRANCHES]; /* CHOICE */
} sm_branches;

/* torchvision's affine: about the centre, shear, scale, rotation, then translation. */
typedef struct sm_affine_step {
    sm_interval degrees;          /* clockwise, as torchvision's affine */
    double translate[2];          /* largest, as parts of width and height */
    double shift[2];              /* pixels, always */
    sm_interval scale;            /* above 0 */
    sm_interval shear_x, shear_y; /* degrees */
    bool has_center, expand;      /* expand: the output holds the whole turned picture */
    double center[2];             /* pixels from the upper left corner, x and y */
} sm_affine_step;

typedef struct sm_perspective_step {
    double distortion_scale;
    bool fixed;             /* `points` instead of drawn ones */
    double points[2][4][2]; /* from, to: pixels from 0, x and y, round the picture */
} sm_perspective_step;

typedef struct sm_elastic_step {
    double alpha[2], sigma[2]; /* x, y */
} sm_elastic_step;

typedef enum sm_crop_place {
    SM_CROP_RANDOM,
    SM_CROP_CENTER,
    SM_CROP_FIXED
} sm_crop_place;

typedef struct sm_crop_step {
    sm_crop_place place;
    int64_t height, width;
    int64_t top, left;  /* SM_CROP_FIXED; from 0, may lie outside, which becomes 0 */
    int64_t padding[4]; /* before it; left, top, right, bottom */
    bool pad_if_needed;
    sm_padding mode;
} sm_crop_step;

typedef struct sm_resize_step {
    int64_t height, width; /* width 0: height is that of the shorter side */
    int64_t longest; /* of the longer side, 0 for any; height 0: this alone counts */
    sm_interpolation mode;
    bool antialias;
    sm_interval scale, ratio; /* RESIZED_CROP */
} sm_resize_step;

typedef struct sm_pad_step {
    int64_t padding[4]; /* left, top, right, bottom */
    sm_padding mode;
} sm_pad_step;

typedef struct sm_jitter_step {
    bool has[4]; /* brightness, contrast, saturation, hue */
    sm_interval factor[4];
} sm_jitter_step;

typedef struct sm_stroke_step {
    sm_interval width; /* pixels a side: above 0 thickens, below 0 thins; parts count */
    bool dark;         /* the ink is dark on a bright ground */
} sm_stroke_step;

typedef struct sm_erase_step {
    sm_interval scale, ratio;
    bool random; /* each pixel gets a random value */
    bool fixed;
    int64_t top, left, height, width; /* fixed; CUTOUT: height and width */
    int holes;                        /* CUTOUT */
} sm_erase_step;

typedef struct sm_step {
    sm_step_kind kind;
    char name[SM_STEP_NAME]; /* opens its messages */
    double p;
    sm_values fill;        /* PARTS .. PERSPECTIVE, ELASTIC, PAD, CROP, ERASE, CUTOUT */
    sm_interpolation mode; /* AFFINE, PERSPECTIVE, ELASTIC */
    union {
        sm_branches branches;
        int call; /* its number */
        sm_affine_ranges parts;
        sm_affine_step affine;
        sm_perspective_step perspective;
        sm_elastic_step elastic;
        bool vertical; /* FLIP */
        sm_crop_step crop;
        sm_resize_step resize;
        sm_pad_step pad;
        sm_jitter_step jitter;
        struct {
            sm_interval gamma;
            double gain;
        } gamma;
        struct {
            int channels; /* 1 or 3; 0: as many as there are */
            bool keep;    /* three stay as they are */
        } grey;
        struct {
            double mean;
            sm_interval sigma;
            bool clip;
        } noise;
        struct {
            int64_t taps[2];
            sm_interval sigma[2]; /* x, y; one draw places both */
        } blur;
        sm_stroke_step stroke;
        sm_erase_step erase;
        struct {
            sm_values mean, std;
        } normalize;
        struct {
            sm_dtype dtype;
            bool scale;
        } to_dtype;
    } u;
} sm_step;

/* A pipeline of copies of n steps, with one reference. Checks what the steps say:
 * SM_EINVAL with the step's name, or SM_ENOMEM. */
sm_status sm_pipeline_new(const sm_step *steps, int n, sm_pipeline **out, sm_error *err);

/* ---- single warps by given numbers; out->data is set, out->h and out->w are wanted ----
 */

/* map as that of sm_affine_draw. */
sm_status sm_picture_map(const sm_picture *in, const double map[6], const sm_values *fill,
                         sm_picture *out, sm_scratch *scratch, sm_error *err);
/* Pixel (x, y) comes from (x + field[0][y][x], y + field[1][y][x]); field [2, h, w]. */
sm_status sm_picture_displace(const sm_picture *in, const float *field,
                              sm_interpolation mode, const sm_values *fill,
                              sm_picture *out, sm_scratch *scratch, sm_error *err);

#endif
