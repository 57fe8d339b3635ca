/* What a C program can do to its host with the functions of wasi-libc, in the way that its params name. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Every block is used, so that nothing is left out by a compiler that sees it is not. */
static void *volatile used;

static int memory(void)
{
    for (;;) {
        void *block = malloc(1 << 20);
        if (!block)
            abort();
        used = memset(block, 1, 1 << 20);
    }
}

static int write_flood(void)
{
    static char block[1 << 16];
    FILE *file = fopen("/result/flood", "wb");
    while (file && fwrite(block, 1, sizeof block, file) == sizeof block)
        ;
    perror("/result/flood");
    return 3;
}

static int print_flood(void)
{
    for (;;)
        if (printf("[\"what shall we do with a drunken sailor?\"],\n") < 0 || fflush(stdout) != 0)
            return 4;
}

static int sparse(void)
{
    int file = open("/result/sparse", O_CREAT | O_RDWR, 0666);
    if (ftruncate(file, 1LL << 50) == 0 || pwrite(file, "x", 1, 1LL << 50) == 1)
        return 0;
    perror("/result/sparse");
    return 5;
}

/* Says how many of its attempts to leave the directory were permitted. */
static int escape(void)
{
    static const char *const outside[] = {"/etc/passwd", "../outside", "/", "..", "/result/../outside"};
    int permitted = 0;
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        permitted += symlink(outside[i], "/result/symbolic") == 0;
        permitted += link(outside[i], "/result/hard") == 0;
        permitted += open(outside[i], O_RDONLY) >= 0;
        permitted += open(outside[i], O_CREAT | O_WRONLY, 0666) >= 0;
        permitted += opendir(outside[i]) != NULL;
        permitted += mkdir(outside[i], 0777) == 0;
    }
    printf("{\"permitted\": %d}\n", permitted);
    return 0;
}

static int list(void)
{
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "/result/%d", i);
        FILE *file = fopen(name, "w");
        if (!file || fclose(file) != 0)
            return 6;
    }
    for (;;) {
        DIR *directory = opendir("/result");
        while (directory && readdir(directory))
            ;
        closedir(directory);
    }
}

static int doze(void)
{
    for (;;) {
        struct timespec time = {.tv_sec = 1000000000, .tv_nsec = 0};
        nanosleep(&time, NULL);
    }
}

static int entropy(void)
{
    char block[256];
    for (;;)
        if (getentropy(block, sizeof block) != 0)
            return 7;
}

static int recurse(int depth)
{
    volatile char frame[4096];
    frame[depth % 4096] = 1;
    /* Never so, but the compiler must not see that. */
    if (!used && depth < 0)
        return 0;
    return recurse(depth + 1) + frame[0];
}

/* Writes past the end of a block until the allocator's own notes are gone, and goes on allocating. */
static int corrupt(void)
{
    char *block = malloc(16);
    for (volatile size_t i = 0; i < 1 << 16; i++)
        block[i] = (char)0xff;
    for (;;)
        used = malloc(64);
}

int main(void)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } ways[] = {{"memory", memory}, {"write-flood", write_flood}, {"print-flood", print_flood}, {"sparse", sparse},
                {"escape", escape}, {"list", list}, {"doze", doze}, {"entropy", entropy}, {"corrupt", corrupt}};
    const char *params = getenv("LONGBOAT_PARAMS");
    for (size_t i = 0; params && i < sizeof ways / sizeof *ways; i++)
        if (strstr(params, ways[i].name))
            return ways[i].run();
    if (params && strstr(params, "recurse"))
        return recurse(0);
    fprintf(stderr, "no such way\n");
    return 2;
}
