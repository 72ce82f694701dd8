/* A guest for tests of the processor: 4 MiB of RAM, one engine, a counted clock of 1 ns an
 * instruction, and interrupt tables in which every vector ends in a loop of its own. */
#ifndef TESTS_CPU_GUEST_H
#define TESTS_CPU_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu-accel/accel.h"
#include "machine/core/device.h"

enum {
    GUEST_RAM = 4 << 20,
    GUEST_CODE = 0x10000, /* where code is loaded and starts */
    GUEST_STACK = 0x9000,
    GUEST_DATA = 0x20000,
    GUEST_GDT =
        0x1000, /* 08 flat code, 10 flat data, 18 16-bit code, 20 16-bit data; room for 64 */
    GUEST_IDT = 0x1800,
    GUEST_HANDLERS = 0x4000, /* two bytes a vector */
};

typedef struct Guest {
    Board *board;
    Cpu *cpu;
    Accel accel;
    uint8_t *ram;
    uint8_t vector; /* what the next interrupt acknowledge answers */
} Guest;

Guest *guest_new(CpuModel model, const AccelOps *ops);
/* With the host's clock, for an engine that cannot count instructions. */
Guest *guest_new_in_host_time(CpuModel model, const AccelOps *ops);
void guest_free(Guest *g);

/* Registers, segments and tables for flat 32-bit code at CPL 0, or for real mode with all bases 0
 * but CS = GUEST_CODE >> 4; EIP at the start of the code. */
void guest_flat(Guest *g);
void guest_real(Guest *g);
/* Copies code to GUEST_CODE, or anything to anywhere. */
void guest_code(Guest *g, const void *bytes, size_t size);
void guest_put(Guest *g, uint32_t at, const void *bytes, size_t size);
/* Runs this many instructions. */
void guest_run(Guest *g, unsigned instructions);
/* The vector in whose handler the guest loops, or -1. */
int guest_vector(const Guest *g);
/* A doubleword of guest memory. */
uint32_t guest_read32(const Guest *g, uint32_t at);
void guest_write32(Guest *g, uint32_t at, uint32_t value);

/* Code as a string literal without its final NUL. */
#define CODE(g, bytes) guest_code(g, bytes, sizeof(bytes) - 1)

#endif
