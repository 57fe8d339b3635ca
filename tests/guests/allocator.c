/* Reads its environment before it allocates anything, and then allocates more than its memory has. The preview 1 adapter
   used to overwrite what the allocator handed out, and the other way round. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES 64
#define SIZE 1024

int main(void)
{
    const char *params = getenv("LONGBOAT_PARAMS");
    unsigned char *pieces[PIECES];
    unsigned long sum = 0;

    if (!params)
        return 1;
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = malloc(SIZE);
        if (!pieces[i])
            return 2;
        memset(pieces[i], i, SIZE);
        fprintf(stderr, "%d\n", i);
    }
    for (int i = 0; i < PIECES; i++) {
        for (int j = 0; j < SIZE; j++) {
            if (pieces[i][j] != i)
                return 3;
            sum += pieces[i][j];
        }
    }
    printf("{\"sum\": %lu, \"params\": %zu}\n", sum, strlen(params));
    return 0;
}
