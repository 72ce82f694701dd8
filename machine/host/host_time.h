/* The host's monotonic clock: the only one that guest time is made from. */
#ifndef MACHINE_HOST_HOST_TIME_H
#define MACHINE_HOST_HOST_TIME_H

#include <stdint.h>

/* Nanoseconds since some moment before the program began; never runs backwards. */
int64_t host_time_ns(void);
/* Seconds since 1970, UTC; for the RTC's first setting. */
int64_t host_time_of_day(void);

#endif
