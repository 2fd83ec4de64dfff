/* The programs that the benchmarks run: child STAMPS NAME MODE [WORD…]
 *
 * A child writes "NAME WORD PID NANOSECONDS" (CLOCK_MONOTONIC) into the file STAMPS, first of all when it was born.
 * It is linked statically, so that its first instruction comes as soon as the kernel can bring it. Modes:
 *
 *   sit                            do nothing, for ever
 *   chat MICROSECONDS              a line of 200 bytes to stdout, again and again
 *   flood                          the same without a pause
 *   write LINE CHUNK BYTES GO      when the file GO exists: numbered lines of LINE bytes, CHUNK bytes at a time
 *   lag FILE COUNT                 write a line, and look how long it takes to be in FILE
 *   check LINE BYTES FILE…         whether the files together are exactly what `write` wrote
 *   keep FILE                      the least a supervisor can be: run every line of FILE, again whenever one ends
 *
 * child.py does the same where there is no compiler, `keep` apart.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIGITS 10
static int stamps;
static const char *name;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void stamp(const char *word, long long value)
{
    char line[200];
    int length = snprintf(line, sizeof line, "%s %s %d %lld\n", name, word, getpid(), value);
    if (write(stamps, line, length) != length)
        _exit(3);
}

static void rest(void)
{
    for (;;)
        pause();
}

static void put(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t done = write(1, data, length);
        if (done <= 0)
            _exit(4);
        data += done, length -= done;
    }
}

static off_t size(const char *path)
{
    struct stat facts;
    return stat(path, &facts) ? 0 : facts.st_size;
}

/* A line is "NAME NUMBER xxx…\n". */
static void draw(char *line, int length)
{
    memset(line, 'x', length);
    int start = sprintf(line, "%s %0*d", name, DIGITS, 0);
    line[start] = ' ';
    line[length - 1] = '\n';
}

static void number(char *line, long value)
{
    char *digit = line + strlen(name) + DIGITS;
    for (int place = 0; place < DIGITS && (value || *digit != '0'); place++, digit--, value /= 10)
        *digit = '0' + value % 10;
}

static void produce(int line, int chunk, long bytes, const char *go)
{
    char *buffer = malloc(chunk);
    for (int at = 0; at < chunk; at += line)
        draw(buffer + at, line);
    while (access(go, F_OK))
        usleep(2000);
    stamp("begin", now());
    long count = 0;
    for (long done = 0; done < bytes; done += chunk) {
        for (int at = 0; at < chunk; at += line)
            number(buffer + at, count++);
        put(buffer, chunk);
    }
    stamp("done", now());
}

static int compare(int line, long bytes, char **paths)
{
    char *want = malloc(line), *have = malloc(line);
    long count = 0;
    int filled = 0;
    draw(want, line);
    for (; *paths; paths++) {
        FILE *file = fopen(*paths, "r");
        size_t got;
        while (file && (got = fread(have + filled, 1, line - filled, file)) > 0) {
            if ((filled += got) < line)
                continue;
            number(want, count);
            if (memcmp(want, have, line))
                return printf("%s: line %ld is not what was written\n", *paths, count), 1;
            count++, filled = 0;
        }
        if (!file || fclose(file))
            return printf("%s: cannot be read\n", *paths), 1;
    }
    if (count * line + filled == bytes)
        return 0;
    return printf("%ld bytes of %ld\n", count * line + filled, bytes), 1;
}

static void lag(const char *file, int count)
{
    char line[200];
    draw(line, sizeof line);
    for (int turn = 0; turn < count; turn++) {
        usleep(2000 + turn * 37 % 1000);
        number(line, turn);
        off_t before = size(file);
        long long begin = now();
        put(line, sizeof line);
        while (size(file) == before)
            ;
        stamp("lag", now() - begin);
    }
}

static pid_t spawn(char **argv, const sigset_t *mask)
{
    pid_t pid = vfork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, mask, NULL);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static int keep(const char *path)
{
    enum { MOST = 10000, WORDS = 15 };
    static char *argv[MOST][WORDS + 1];
    static pid_t pids[MOST];
    static char line[4096];
    int programs = 0, left, number, ending = 0;
    sigset_t before, wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, &before);
    FILE *file = fopen(path, "r");
    while (file && programs < MOST && fgets(line, sizeof line, file)) {
        char *word = strtok(strdup(line), " \n");
        for (int at = 0; at < WORDS && word; at++, word = strtok(NULL, " \n"))
            argv[programs][at] = word;
        pids[programs] = spawn(argv[programs], &before);
        programs++;
    }
    for (left = programs; left && !sigwait(&wanted, &number);) {
        ending |= number == SIGTERM;
        if (number == SIGTERM)
            for (int at = 0; at < programs; at++)
                kill(pids[at], SIGTERM);
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;) {
            int at = 0;
            while (pids[at] != pid)
                at++;
            if (ending)
                left--;
            else
                pids[at] = spawn(argv[at], &before);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    long long born = now();
    if (argc < 4)
        return 2;
    const char *mode = argv[3];
    name = argv[2];
    if (!strcmp(mode, "check"))
        return compare(atoi(argv[4]), atol(argv[5]), argv + 6);
    if (!strcmp(mode, "keep"))
        return keep(argv[4]);
    stamps = open(argv[1], O_WRONLY | O_APPEND | O_CLOEXEC);
    stamp("born", born);
    if (!strcmp(mode, "write"))
        produce(atoi(argv[4]), atoi(argv[5]), atol(argv[6]), argv[7]);
    else if (!strcmp(mode, "lag"))
        lag(argv[4], atoi(argv[5]));
    else if (!strcmp(mode, "chat") || !strcmp(mode, "flood")) {
        char line[200];
        draw(line, sizeof line);
        for (long count = 0;; count++) {
            number(line, count);
            put(line, sizeof line);
            if (*mode == 'c')
                usleep(atoi(argv[4]));
        }
    }
    rest();
}
