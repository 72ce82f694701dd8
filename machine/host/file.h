/* Whole files of the host, for firmware, kernels and ROMs. Disk images go through storage/block.h.
 */
#ifndef MACHINE_HOST_FILE_H
#define MACHINE_HOST_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

/* Reads a regular file of at most `limit` bytes; the caller frees it. NULL with err set, which
 * names the file, and the option it was given by (may be NULL). */
uint8_t *file_read(const char *path, size_t limit, size_t *size, const char *option, Err *err);

#endif
