/* Programs that do not want to end, or to be counted: argv[1] says how. For tests/sandbox/test_reduced.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void deaf(void) { for (int n = 1; n < 65; n++) signal(n, SIG_IGN); }
static void say(const char *text) { write(1, text, strlen(text)); }

static void *forker(void *nothing) {
    for (int n = 0; n < 6; n++)
        if (fork() == 0) { setsid(); for (;;) pause(); }
    say("forked\n");
    for (;;) pause();
}

int main(int argc, char **argv) {
    const char *mode = argv[1];
    char *block = malloc(1 << 20);
    memset(block, 'x', 1 << 20);
    if (!strcmp(mode, "hello")) { say("hello\n"); return 0; }
    if (!strcmp(mode, "limits")) {
        struct rlimit processes, cpu, file;
        getrlimit(RLIMIT_NPROC, &processes); getrlimit(RLIMIT_CPU, &cpu); getrlimit(RLIMIT_FSIZE, &file);
        printf("%lld %lld %lld\n", (long long)processes.rlim_max, (long long)cpu.rlim_max, (long long)file.rlim_max);
        return 0;
    }
    if (!strcmp(mode, "bomb")) { deaf(); say("boom\n"); for (;;) fork(); }
    if (!strcmp(mode, "bomb_session")) { deaf(); say("boom\n"); for (;;) if (fork() == 0) setsid(); }
    if (!strcmp(mode, "chain")) { deaf(); say("boom\n"); for (;;) if (fork() > 0) _exit(0); }
    if (!strcmp(mode, "daemons")) {
        deaf();
        for (int n = 0; n < 6; n++)
            if (fork() == 0) { setsid(); if (fork()) _exit(0); for (;;) pause(); }
        say("forked\n");
        for (;;) pause();
    }
    if (!strcmp(mode, "thread")) { pthread_t one; pthread_create(&one, NULL, forker, NULL); for (;;) pause(); }
    if (!strcmp(mode, "many")) {
        for (int n = 0; n < 64; n++) if (fork() == 0) for (;;) pause();
        for (;;) pause();
    }
    if (!strcmp(mode, "unlinked") || !strcmp(mode, "mapped")) {
        for (int file = 0; file < 40; file++) {
            char name[32];
            sprintf(name, "f%d", file);
            int fd = open(name, O_RDWR | O_CREAT, 0600);
            unlink(name);
            if (fd < 0) { printf("%s\n", strerror(errno)); return 1; }
            if (mode[0] == 'm') {
                ftruncate(fd, 4 << 20);
                char *at = mmap(NULL, 4 << 20, PROT_WRITE, MAP_SHARED, fd, 0);
                close(fd);
                for (int part = 0; part < 4; part++) { memset(at + (part << 20), 'x', 1 << 20); usleep(2000); }
            } else
                for (int part = 0; part < 4; part++) { write(fd, block, 1 << 20); usleep(2000); }
        }
        for (;;) pause();
    }
    if (!strcmp(mode, "open")) { say(open(argv[2], O_RDONLY) < 0 ? strerror(errno) : "opened"); return 0; }
    if (!strcmp(mode, "execute")) { execv(argv[2], argv + 2); say(strerror(errno)); return 0; }
    if (!strcmp(mode, "copy")) { /* itself into the scratch; then execute what follows */
        int from = open(argv[0], O_RDONLY), to = open("copy", O_WRONLY | O_CREAT, 0755);
        for (ssize_t got; (got = read(from, block, 1 << 20)) > 0;) write(to, block, got);
        close(to);
        execv(argv[2], argv + 2);
        say(strerror(errno));
        return 0;
    }
    return 99;
}
