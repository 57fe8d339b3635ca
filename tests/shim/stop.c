// Stops the process that it is preloaded into (LD_PRELOAD) at a chosen call of the C library, once.
//
// LONGBOAT_SHIM_STEPS is a list of steps, such as
//
//     after mkdir */results/*/1; before sync */queue.db-wal
//
// of which each waits for the one before; at the last one the process stops. A step names a call and the path that it is
// about, as a pattern for fnmatch: the directory of `mkdir`, the file of `sync` (fsync, fdatasync) and of `write`
// (pwrite), and the file beside a SQLite database of which `begin` locks the byte that stands for the right to write, and
// `end` unlocks it: https://sqlite.org/walformat.html#locks. LONGBOAT_SHIM_MARK is a file that is made just before.
//
// Calls that Rust's rustix makes of the kernel itself are not seen here.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 8, LENGTH = 256, WAL_WRITE_LOCK = 120 };

struct step {
    char when[LENGTH], call[LENGTH], pattern[LENGTH];
};

static struct step steps[STEPS];
static int count, done;
static pthread_once_t read_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

// Whether the process has the right to write to a database. Nobody gets it while the gate is held.
static int writes;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void read_steps(void) {
    const char *text = getenv("LONGBOAT_SHIM_STEPS");
    while (text && count < STEPS) {
        struct step *step = &steps[count];
        if (sscanf(text, " %255s %255s %255[^;]", step->when, step->call, step->pattern) != 3) {
            fprintf(stderr, "the shim cannot read its steps: %s\n", text);
            _exit(70);
        }
        count++;
        text = strchr(text, ';');
        text = text ? text + 1 : NULL;
    }
}

// A process that is stopped while another of its threads writes would keep everybody from the database. So it stops
// there only if it was asked to: at a write.
static void stop(int may_write) {
    const char *mark = getenv("LONGBOAT_SHIM_MARK");
    int file = mark ? open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;
    if (file < 0) {
        perror("the shim cannot make its mark");
        _exit(70);
    }
    close(file);
    pthread_mutex_lock(&gate);
    while (writes && !may_write) {
        pthread_mutex_unlock(&gate);
        usleep(1000);
        pthread_mutex_lock(&gate);
    }
    // Not `kill`, which may hand the signal to another thread and let this one go on until that one is scheduled.
    raise(SIGSTOP);
    pthread_mutex_unlock(&gate);
}

static void look(const char *when, const char *call, const char *path) {
    int before = errno, is_last = 0;
    pthread_once(&read_once, read_steps);
    pthread_mutex_lock(&mutex);
    if (done < count) {
        struct step *step = &steps[done];
        if (!strcmp(step->when, when) && !strcmp(step->call, call) && !fnmatch(step->pattern, path, 0)) {
            done++;
            is_last = done == count;
        }
    }
    pthread_mutex_unlock(&mutex);
    if (is_last) {
        stop(!strcmp(call, "write"));
    }
    errno = before;
}

static void look_at_file(const char *when, const char *call, int file) {
    char name[64], path[4096];
    int before = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        look(when, call, path);
    }
    errno = before;
}

/* The next definition of a function, which is the C library's own. */
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) { \
        *(void **)&real = dlsym(RTLD_NEXT, name); \
    }

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t)
    look("before", "mkdir", path);
    int result = real(path, mode);
    look("after", "mkdir", path);
    return result;
}

int fsync(int file) {
    REAL(int, "fsync", int)
    look_at_file("before", "sync", file);
    int result = real(file);
    look_at_file("after", "sync", file);
    return result;
}

int fdatasync(int file) {
    REAL(int, "fdatasync", int)
    look_at_file("before", "sync", file);
    int result = real(file);
    look_at_file("after", "sync", file);
    return result;
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t place) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)
    look_at_file("before", "write", file);
    ssize_t result = real(file, data, length, place);
    look_at_file("after", "write", file);
    return result;
}

/* Of all that fcntl does, locks take a pointer and the rest an int or nothing; either passes through as a pointer. */
static int lock(int (*real)(int, int, ...), int file, int command, void *argument) {
    struct flock *range = argument;
    int is_write = command == F_SETLK && range->l_start <= WAL_WRITE_LOCK && range->l_start + range->l_len > WAL_WRITE_LOCK;
    if (!is_write || range->l_type == F_RDLCK) {
        return real(file, command, argument);
    }
    if (range->l_type == F_WRLCK) {
        look_at_file("before", "begin", file);
    }
    pthread_mutex_lock(&gate);
    int result = real(file, command, argument);
    if (result == 0) {
        writes = range->l_type == F_WRLCK;
    }
    pthread_mutex_unlock(&gate);
    if (range->l_type == F_UNLCK) {
        look_at_file("after", "end", file);
    }
    return result;
}

#define ARGUMENT(command) \
    va_list list; \
    va_start(list, command); \
    void *argument = va_arg(list, void *); \
    va_end(list);

int fcntl(int file, int command, ...) {
    REAL(int, "fcntl", int, int, ...)
    ARGUMENT(command)
    return lock(real, file, command, argument);
}

int fcntl64(int file, int command, ...) {
    REAL(int, "fcntl64", int, int, ...)
    ARGUMENT(command)
    return lock(real, file, command, argument);
}
