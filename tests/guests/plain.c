/* A program that knows nothing of Longboat: it reads, says what it read, and leaves a file. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "null";
}

int main(void)
{
    static char buffer[4096];
    size_t read, bytes = 0, lines = 0;
    FILE *copy;

    if (mkdir("/result/copies", 0777) != 0 || !(copy = fopen("/result/copies/input.txt", "wb"))) {
        perror("/result/copies");
        return 1;
    }
    while ((read = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        for (size_t i = 0; i < read; i++)
            lines += buffer[i] == '\n';
        bytes += read;
        if (fwrite(buffer, 1, read, copy) != read)
            return 1;
    }
    if (fclose(copy) != 0)
        return 1;
    fprintf(stderr, "read %zu bytes\n", bytes);
    printf("{\"bytes\": %zu, \"lines\": %zu, \"id\": \"%s\", \"attempt\": %s, \"params\": %s, \"seed\": %s, \"secret\": %s}\n",
           bytes, lines, variable("LONGBOAT_JOB_ID"), variable("LONGBOAT_ATTEMPT"), variable("LONGBOAT_PARAMS"),
           variable("LONGBOAT_SEED"), variable("SECRET"));
    return 0;
}
