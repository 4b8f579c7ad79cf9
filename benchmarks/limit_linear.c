/* What this machine can do with many linear models: configurations innermost, one SIMD lane each (see sweep.py).
 *
 * A block of configurations that share a seed sees the same batches, so every number of a row is loaded once and
 * broadcast, and weights and gradients stay in registers for a whole batch.
 */
#include <math.h>

enum { INPUTS = 3, PARAMETERS = INPUTS + 1, VECTOR = 16, VECTORS = 2, LANES = VECTOR * VECTORS }; /* the last is the bias */

typedef float vector __attribute__((vector_size(4 * VECTOR)));

static void train_block(const float *inputs, const float *targets, const int *order, int steps, int batch,
                        const float *lrs, float *weights)
{
    union {
        vector vectors[PARAMETERS][VECTORS];
        float lanes[PARAMETERS][LANES];
    } w, g, m = {{{{0}}}}, v = {{{{0}}}};
    float decay1 = 1, decay2 = 1;
    for (int c = 0; c < LANES; c++)
        for (int p = 0; p < PARAMETERS; p++)
            w.lanes[p][c] = weights[c * PARAMETERS + p];
    for (int step = 0; step < steps; step++, order += batch) {
        vector weight[PARAMETERS][VECTORS], sum[PARAMETERS][VECTORS] = {{{0}}};
        __builtin_memcpy(weight, w.vectors, sizeof weight);
        for (int row = 0; row < batch; row++) {
            const float *x = inputs + INPUTS * order[row], y = targets[order[row]];
#pragma GCC unroll 2
            for (int c = 0; c < VECTORS; c++) {
                vector error = weight[0][c] * x[0] + (weight[1][c] * x[1] + (weight[2][c] * x[2] + (weight[3][c] - y)));
                sum[0][c] += error * x[0];
                sum[1][c] += error * x[1];
                sum[2][c] += error * x[2];
                sum[3][c] += error;
            }
        }
        __builtin_memcpy(g.vectors, sum, sizeof sum);
        decay1 *= 0.9f, decay2 *= 0.999f;
        const float mean = 2.0f / batch, correct1 = 1 / (1 - decay1), correct2 = 1 / (1 - decay2);
        for (int p = 0; p < PARAMETERS; p++)
            for (int c = 0; c < LANES; c++) {
                const float gradient = g.lanes[p][c] * mean;
                m.lanes[p][c] += 0.1f * (gradient - m.lanes[p][c]);
                v.lanes[p][c] += 0.001f * (gradient * gradient - v.lanes[p][c]);
                w.lanes[p][c] -= lrs[c] * correct1 * m.lanes[p][c] / (sqrtf(v.lanes[p][c] * correct2) + 1e-8f);
            }
    }
    for (int c = 0; c < LANES; c++)
        for (int p = 0; p < PARAMETERS; p++)
            weights[c * PARAMETERS + p] = w.lanes[p][c];
}

/* inputs [rows][3], targets [rows], orders [seeds][steps][batch]; lrs [blocks][LANES], weights [blocks][LANES][4] and
 * seed_of [blocks], which of the orders a block follows. */
void train(const float *inputs, const float *targets, const int *orders, int steps, int batch, int blocks,
           const int *seed_of, const float *lrs, float *weights)
{
    for (int block = 0; block < blocks; block++)
        train_block(inputs, targets, orders + (long)seed_of[block] * steps * batch, steps, batch, lrs + block * LANES,
                    weights + (long)block * LANES * PARAMETERS);
}
