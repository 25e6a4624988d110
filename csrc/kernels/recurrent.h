/* recurrent.h: the arithmetic of recurrent cells behind their matrix products, a row (one
 * sequence at one step) at a time. Written once (recurrent_impl.h), compiled for each
 * instruction set. Functions and gates are PyTorch's, in its order.
 */
#ifndef SM_KERNELS_RECURRENT_H
#define SM_KERNELS_RECURRENT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sm_recurrent {
    /* Elman's cell: gates [h] = state = tanh (or relu) of gates + bias. */
    void (*rnn)(int64_t h, bool relu, const float *bias, float *gates, float *state);
    /* LSTM (Hochreiter and Schmidhuber 1997, with forget gates of Gers et al. 2000):
     * gates [4][h] i, f, g, o; cell = f cell + i g, state = o tanh(cell). */
    void (*lstm)(int64_t h, const float *bias, float *gates, float *cell, float *state);
    /* GRU (Cho et al. 2014): gates [3][h] r, z, n of the input, hidden [3][h] of the
     * state; bias [4][h]: r, z, n of the input, n of the state. state = (1 - z) n + z
     * state with n = tanh(gates n + r (hidden n)); the last goes into hidden's n. */
    void (*gru)(int64_t h, const float *bias, float *gates, float *hidden, float *state);

    /* Backward. dstate is the gradient of the state after the step without dy, what the
     * output at this step got (NULL: nothing); it is replaced by the part of the gradient
     * of the state before that does not go through the gates. dgates: before their
     * functions. dcell: of the cell after, then before. */
    void (*rnn_back)(int64_t h, bool relu, const float *gates, const float *dy,
                     float *dgates, float *dstate);
    /* before: the cell. */
    void (*lstm_back)(int64_t h, const float *gates, const float *before, const float *dy,
                      float *dgates, float *dcell, float *dstate);
    /* before: the state; hidden_n [h]; dhidden: dgates as the state's products see them.
     */
    void (*gru_back)(int64_t h, const float *gates, const float *hidden_n,
                     const float *before, const float *dy, float *dgates, float *dhidden,
                     float *dstate);
} sm_recurrent;

extern const sm_recurrent sm_recurrent__ref, sm_recurrent__avx2, sm_recurrent__avx512;
const sm_recurrent *sm_recurrent_table(void);

#endif
