/* What this machine can do with many 64-64-64-10 networks: one after the other, each at home in the cache (see sweep.py).
 *
 * One kernel makes every product of the forward and the backward pass: a tile of the result stays in registers while
 * the inner dimension passes by. The ten outputs are padded to sixteen, a whole vector.
 */
#include <math.h>
#include <string.h>

enum { BATCH = 32, WIDTH = 64, CLASSES = 10, PADDED = 16, VECTOR = 16, TILE = 4 };

typedef float vector __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));

typedef struct {
    float hidden0[WIDTH][WIDTH], hidden1[WIDTH][WIDTH], head[WIDTH][PADDED]; /* [inputs][outputs] */
    float bias0[WIDTH], bias1[WIDTH], bias2[PADDED];
} network; /* all floats, so that the optimizer sees one array */

enum { PARAMETERS = sizeof(network) / sizeof(float) };

/* c[i][j] = sum over k of a(i, k) b[k][j]; a(i, k) = a[i * row + k * inner], so that a transpose costs nothing. */
static inline __attribute__((always_inline)) void product(float *restrict c, const float *restrict a, int row, int inner,
                                                          const float *restrict b, int rows, int terms, int columns)
{
    const int vectors = columns / VECTOR, tile = vectors == 1 ? 4 * TILE : TILE; /* 16 accumulators either way */
    for (int i0 = 0; i0 < rows; i0 += tile) {
        vector sum[16] = {{0}};
        for (int k = 0; k < terms; k++)
#pragma GCC unroll 16
            for (int i = 0; i < tile; i++)
#pragma GCC unroll 4
                for (int j = 0; j < vectors; j++)
                    sum[i * vectors + j] += a[(i0 + i) * row + k * inner] * *(vector *)(b + k * columns + j * VECTOR);
#pragma GCC unroll 16
        for (int i = 0; i < tile; i++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                *(vector *)(c + (i0 + i) * columns + j * VECTOR) = sum[i * vectors + j];
    }
}

static inline void transpose(float *restrict out, const float *restrict in, int rows, int columns)
{
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < rows; i++)
            out[j * rows + i] = in[i * columns + j];
}

static inline void add_bias(float (*restrict outputs)[WIDTH], const float *restrict bias)
{
    for (int i = 0; i < BATCH; i++)
        for (int j = 0; j < WIDTH; j++)
            outputs[i][j] = fmaxf(outputs[i][j] + bias[j], 0); /* and ReLU */
}

static inline void pass_relu(float (*restrict errors)[WIDTH], float (*restrict outputs)[WIDTH], float *restrict bias)
{
    memset(bias, 0, WIDTH * sizeof(float));
    for (int i = 0; i < BATCH; i++)
        for (int j = 0; j < WIDTH; j++) {
            errors[i][j] = outputs[i][j] > 0 ? errors[i][j] : 0;
            bias[j] += errors[i][j];
        }
}

/* The gradient of the mean cross-entropy by the logits, in their place. */
static inline void softmax_error(float (*restrict logits)[PADDED], const float *restrict bias, const int *labels)
{
    for (int i = 0; i < BATCH; i++) {
        float top = -INFINITY, total = 0;
        for (int j = 0; j < CLASSES; j++)
            top = fmaxf(top, logits[i][j] += bias[j]);
        for (int j = 0; j < CLASSES; j++)
            total += logits[i][j] = expf(logits[i][j] - top);
        for (int j = 0; j < CLASSES; j++)
            logits[i][j] /= total * BATCH;
        for (int j = CLASSES; j < PADDED; j++)
            logits[i][j] = 0;
        logits[i][labels[i]] -= 1.0f / BATCH;
    }
}

static void gradient(const network *restrict n, network *restrict g, float (*x)[WIDTH], const int *labels)
{
    static float h0[BATCH][WIDTH], h1[BATCH][WIDTH], e0[BATCH][WIDTH], e1[BATCH][WIDTH], e2[BATCH][PADDED];
    static float turned[WIDTH * WIDTH];

    product(*h0, *x, WIDTH, 1, *n->hidden0, BATCH, WIDTH, WIDTH);
    add_bias(h0, n->bias0);
    product(*h1, *h0, WIDTH, 1, *n->hidden1, BATCH, WIDTH, WIDTH);
    add_bias(h1, n->bias1);
    product(*e2, *h1, WIDTH, 1, *n->head, BATCH, WIDTH, PADDED);
    softmax_error(e2, n->bias2, labels);

    product(*g->head, *h1, 1, WIDTH, *e2, WIDTH, BATCH, PADDED);
    memset(g->bias2, 0, sizeof g->bias2);
    for (int i = 0; i < BATCH; i++)
        for (int j = 0; j < PADDED; j++)
            g->bias2[j] += e2[i][j];
    transpose(turned, *n->head, WIDTH, PADDED);
    product(*e1, *e2, PADDED, 1, turned, BATCH, PADDED, WIDTH);
    pass_relu(e1, h1, g->bias1);
    product(*g->hidden1, *h0, 1, WIDTH, *e1, WIDTH, BATCH, WIDTH);
    transpose(turned, *n->hidden1, WIDTH, WIDTH);
    product(*e0, *e1, WIDTH, 1, turned, BATCH, WIDTH, WIDTH);
    pass_relu(e0, h0, g->bias0);
    product(*g->hidden0, *x, 1, WIDTH, *e0, WIDTH, BATCH, WIDTH);
}

static void train_one(const float *inputs, const int *labels, const int *order, int steps, float lr, float *weights)
{
    static network g;
    static float m[PARAMETERS], v[PARAMETERS], x[BATCH][WIDTH];
    int answers[BATCH];
    float decay1 = 1, decay2 = 1, *restrict gradients = (float *)&g;
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < BATCH; i++) {
            const int row = order[step * BATCH + i];
            memcpy(x[i], inputs + row * WIDTH, sizeof x[i]);
            answers[i] = labels[row];
        }
        gradient((const network *)weights, &g, x, answers);
        decay1 *= 0.9f, decay2 *= 0.999f;
        const float rate = lr / (1 - decay1), correct = 1 / (1 - decay2);
        for (int p = 0; p < PARAMETERS; p++) {
            m[p] += 0.1f * (gradients[p] - m[p]);
            v[p] += 0.001f * (gradients[p] * gradients[p] - v[p]);
            weights[p] -= rate * m[p] / (sqrtf(v[p] * correct) + 1e-8f);
        }
    }
}

/* inputs [rows][64], labels [rows], orders [seeds][steps][32], seed_of and lrs [runs]; weights [runs][PARAMETERS]: the
 * three matrices [inputs][outputs], then the biases, everything of the last layer padded with zeros. */
void train(const float *inputs, const int *labels, const int *orders, int steps, int runs, const int *seed_of,
           const float *lrs, float *weights)
{
    for (int run = 0; run < runs; run++)
        train_one(inputs, labels, orders + (long)seed_of[run] * steps * BATCH, steps, lrs[run],
                  weights + (long)run * PARAMETERS);
}
