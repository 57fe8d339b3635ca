/* Compute kernels, one of them a program: -DKERNEL=nbody, sieve, matrix, hash or fib. Each prints a number. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Planets around a sun, in steps of a hundredth. */
static double nbody(void)
{
    enum { BODIES = 5, STEPS = 400000 };
    static double x[BODIES][3], v[BODIES][3], m[BODIES];

    for (int i = 0; i < BODIES; i++) {
        m[i] = i ? 0.001 * i : 39.0;
        for (int k = 0; k < 3; k++) {
            x[i][k] = i * (5.0 + k);
            v[i][k] = i ? 1.0 / (i + k) : 0.0;
        }
    }
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++) {
                double d[3], square = 0.0, pull;
                for (int k = 0; k < 3; k++) {
                    d[k] = x[i][k] - x[j][k];
                    square += d[k] * d[k];
                }
                pull = 0.01 / (square * sqrt(square));
                for (int k = 0; k < 3; k++) {
                    v[i][k] -= d[k] * m[j] * pull;
                    v[j][k] += d[k] * m[i] * pull;
                }
            }
        }
        for (int i = 0; i < BODIES; i++)
            for (int k = 0; k < 3; k++)
                x[i][k] += 0.01 * v[i][k];
    }
    return x[0][0];
}

/* Primes below four million, by crossing out. */
static double sieve(void)
{
    enum { MOST = 4000000, ROUNDS = 3 };
    char *crossed = malloc(MOST);
    int primes = 0;

    for (int round = 0; crossed && round < ROUNDS; round++) {
        memset(crossed, 0, MOST);
        primes = 0;
        for (int i = 2; i < MOST; i++) {
            if (crossed[i])
                continue;
            primes++;
            for (int64_t j = (int64_t)i * i; j < MOST; j += i)
                crossed[j] = 1;
        }
    }
    return primes;
}

/* The product of two matrices, row by row. */
static double matrix(void)
{
    enum { SIDE = 384 };
    static float a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            a[i][j] = i + j;
            b[i][j] = i - j;
        }
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < SIDE; i++)
            for (int k = 0; k < SIDE; k++)
                for (int j = 0; j < SIDE; j++)
                    c[i][j] += a[i][k] * b[k][j];
    return c[1][2];
}

/* FNV-1a over a megabyte, again and again. */
static double hash(void)
{
    enum { SIZE = 1 << 20, ROUNDS = 60 };
    static unsigned char bytes[SIZE];
    uint64_t sum = 0xcbf29ce484222325;

    for (int i = 0; i < SIZE; i++)
        bytes[i] = i * 7;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SIZE; i++)
            sum = (sum ^ bytes[i]) * 0x100000001b3;
    return sum % 1000003;
}

static __attribute__((noinline)) int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Calls. */
static double fib(void)
{
    return fibonacci(33);
}

int main(void)
{
    double (*const all[])(void) = { nbody, sieve, matrix, hash, fib };
    (void)all;
    printf("%.9g\n", KERNEL());
    return 0;
}
