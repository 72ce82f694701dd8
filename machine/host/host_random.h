/* Random bytes of the host, for what the guest must not be able to guess. */
#ifndef MACHINE_HOST_HOST_RANDOM_H
#define MACHINE_HOST_HOST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* Fills all `size` bytes (at most 256). False: the host gave none. */
bool host_random(void *data, size_t size);

#endif
