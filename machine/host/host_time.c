/* The host's clocks. */
#include "machine/host/host_time.h"

#include <time.h>

int64_t host_time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t host_time_of_day(void)
{
    return (int64_t)time(NULL);
}
