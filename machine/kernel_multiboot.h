/* Multiboot 1 images, for kernel.c alone. */
#ifndef MACHINE_KERNEL_MULTIBOOT_H
#define MACHINE_KERNEL_MULTIBOOT_H

#include "machine/kernel.h"

/* Offset of the Multiboot header in the file, or -1. */
long multiboot_find(const uint8_t *data, size_t size);
bool multiboot_load(Kernel *k, const char *path, const uint8_t *data, size_t size,
                    const char *modules, const char *append, uint32_t ram_mib, Err *err);

#endif
