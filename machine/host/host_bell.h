/* A bell that wakes a thread which sleeps in poll(): a descriptor to poll for input, rung by any
 * thread. */
#ifndef MACHINE_HOST_HOST_BELL_H
#define MACHINE_HOST_HOST_BELL_H

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* -1: none (errno). Close it as any descriptor. */
static inline int bell_open(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static inline void bell_ring(int bell)
{
    uint64_t one = 1;
    ssize_t n = write(bell, &one, sizeof(one));
    (void)n; /* full means that it rings already */
}

/* It was heard: it is silent until it is rung again. */
static inline void bell_hush(int bell)
{
    uint64_t ignored;
    ssize_t n = read(bell, &ignored, sizeof(ignored));
    (void)n;
}

#endif
