/* The board of a harness: its memory, configuration space by the ports, and the loading of its
 * state into another built alike, for harnesses that let both go on and compare. */
#ifndef TESTS_FUZZ_FUZZ_RIG_H
#define TESTS_FUZZ_FUZZ_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/device.h"
#include "machine/core/state.h"

static inline RamBlock *fuzz_block(Board *b, const char *name, uint32_t size)
{
    Err err = {""};
    RamBlock *block = ram_add(&b->ram, name, size, &err);
    if (!block) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return block;
}

/* A board with RAM from address 0 on. */
static inline Board *fuzz_board(uint32_t ram_size, const RamBlock **ram)
{
    Err err = {""};
    Board *b = board_new(&err);
    if (!b) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    *ram = fuzz_block(b, "ram", ram_size);
    bus_claim_ram(b->memory, 0, ram_size, &(RamView){true, true, (*ram)->at, (*ram)->at}, "ram");
    return b;
}

/* A doubleword in the configuration space of function 0 of a device. */
static inline void fuzz_config(Board *b, unsigned device, unsigned offset, uint32_t value)
{
    bus_write(b->ports, 0xcf8, 0x80000000u | device << 11 | (offset & 0xfc), 4);
    bus_write(b->ports, 0xcfc, value, 4);
}

static inline StateIo *fuzz_saved(Board *b, const uint8_t **bytes, size_t *size)
{
    StateIo *io = state_saver_new();
    board_state(b, io);
    if (!state_ok(io)) {
        fprintf(stderr, "%s\n", state_error(io));
        abort();
    }
    *bytes = state_finish(io, size);
    return io;
}

/* Loads the state of one board into the other, which must save the same again. Memory is the
 * caller's to copy, before. exact: nothing that a load ends on purpose is under way. */
static inline void fuzz_copy_board(Board *from, Board *to, bool exact)
{
    const uint8_t *bytes, *again;
    size_t size, again_size;
    Err err = {""};
    StateIo *first = fuzz_saved(from, &bytes, &size);
    StateIo *loader = state_loader_new(bytes, size, &err);
    board_state(to, loader);
    if (!state_ok(loader)) {
        fprintf(stderr, "refused: %s\n", state_error(loader));
        abort();
    }
    board_restored(to);
    StateIo *second = fuzz_saved(to, &again, &again_size);
    if (exact && (size != again_size || memcmp(bytes, again, size) != 0)) {
        fprintf(stderr, "the state is another after loading\n");
        abort();
    }
    state_free(second);
    state_free(loader);
    state_free(first);
}

#endif
