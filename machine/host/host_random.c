/* The host's random numbers. */
#include "machine/host/host_random.h"

#include <sys/random.h>

bool host_random(void *data, size_t size)
{
    return getrandom(data, size, 0) == (ssize_t)size;
}
