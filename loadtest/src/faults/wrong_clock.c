/* Preloaded into a node: its wall clock is wrong by WRONG_CLOCK_S seconds, and its monotonic one is right. It asks the
   kernel itself, so that whoever wants the time before anything else is loaded, an allocator, gets it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long wrong(void) {
    const char *said = getenv("WRONG_CLOCK_S");
    return said ? atol(said) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += wrong();
    return failed;
}

time_t time(time_t *into) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (into)
        *into = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec at;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &at);
    into->tv_sec = at.tv_sec;
    into->tv_usec = at.tv_nsec / 1000;
    return failed;
}

/* The kernel waits by its own clock. What is said in seconds since 1970 is of the wall clock, what is less is of the
   monotonic one. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    struct timespec at = *until;
    clockid_t clock = at.tv_sec > 500000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    if (clock == CLOCK_REALTIME)
        at.tv_sec -= wrong();
    return pthread_cond_clockwait(cond, mutex, clock, &at);
}

/* Of the same make in glibc. */
int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}
