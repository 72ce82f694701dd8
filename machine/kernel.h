/* Kernels given by -kernel: taken apart into pieces that an option ROM brings to their places.
 *
 * Linux: Documentation/arch/x86/boot.rst (protocols 2.00 to 2.15, and kernels older than that).
 * Multiboot: Multiboot Specification 0.6.96 (ELF images and the address fields of the header).
 */
#ifndef MACHINE_KERNEL_H
#define MACHINE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

enum { KERNEL_SEED = 32 }; /* bytes */

typedef struct KernelPart {
    uint8_t *data; /* owned */
    size_t size;
    uint32_t address; /* physical */
} KernelPart;

typedef struct Kernel {
    bool multiboot;
    uint32_t entry;     /* Multiboot */
    KernelPart setup;   /* Linux: the real-mode part, header filled */
    KernelPart image;   /* the protected-mode part, or the ELF segments in one piece */
    KernelPart cmdline; /* Linux; behind it, from protocol 2.09 on, what setup_data points at */
    size_t seed_at;    /* offset in cmdline of KERNEL_SEED bytes for the guest's random numbers, all
                          zero here; 0: this kernel takes none */
    KernelPart initrd; /* Linux; Multiboot: information structure, strings, modules */
} Kernel;

/* Reads files and lays them out for `ram_mib` of memory. initrd and append may be NULL; for
 * Multiboot, initrd is a comma-separated list of "file arguments". On failure *k is empty. */
bool kernel_load(Kernel *k, const char *path, const char *initrd, const char *append,
                 uint32_t ram_mib, Err *err);
void kernel_free(Kernel *k);
/* Do these first bytes of a file look like a kernel that can be started this way? */
bool kernel_recognise(const uint8_t *data, size_t size);

#endif
