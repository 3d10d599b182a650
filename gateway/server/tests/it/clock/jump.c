/*
 * A wall clock that somebody sets, preloaded into the process under test: whatever asks for the time of day gets the
 * machine's and as many nanoseconds more as the first eight bytes of the file CLOCK_JUMP say at that moment. Clocks that
 * only count are left alone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000

static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_JUMP");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        dprintf(2, "clock jump: no file CLOCK_JUMP\n");
        abort();
    }
    close(fd);
    ahead = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t shifted = (int64_t)time->tv_sec * SECOND + time->tv_nsec + *ahead;
        time->tv_sec = shifted / SECOND;
        time->tv_nsec = shifted % SECOND;
    }
    return done;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    if (done == 0) {
        into->tv_sec = now.tv_sec;
        into->tv_usec = now.tv_nsec / 1000;
    }
    return done;
}

time_t time(time_t *into) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}
