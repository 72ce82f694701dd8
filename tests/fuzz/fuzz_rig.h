/* The board of a harness: its memory, configuration space and DMA by the ports, ears, and the
 * loading of its state into another built alike, for harnesses that let both go on and compare. */
#ifndef TESTS_FUZZ_FUZZ_RIG_H
#define TESTS_FUZZ_FUZZ_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/audio_port.h"
#include "machine/core/device.h"
#include "machine/core/state.h"
#include "tests/fuzz/fuzz_input.h"

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

/* The second DMA controller's first channel hands the first one on. */
static inline void fuzz_cascade(Board *b)
{
    bus_write(b->ports, 0xd6, 0xc0, 1);
    bus_write(b->ports, 0xd4, 0, 1);
}

/* A channel as a driver sets it up: address, count, page, mode, mask. */
static inline void fuzz_program_dma(Board *b, Input *in)
{
    static const uint8_t pages[8] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
    unsigned channel = take(in) & 7, n = channel & 3, scale = channel > 3 ? 2 : 1;
    unsigned base = channel > 3 ? 0xc0 : 0;
    uint32_t address = take_value(in, 2), count = take_value(in, 2);
    const uint32_t writes[][2] = {{0xc, 0},
                                  {2 * n, address},
                                  {2 * n, address >> 8},
                                  {2 * n + 1, count},
                                  {2 * n + 1, count >> 8}};
    for (unsigned i = 0; i < 5; i++) {
        bus_write(b->ports, base + writes[i][0] * scale, writes[i][1] & 0xff, 1);
    }
    bus_write(b->ports, pages[channel], take(in) & 1, 1);
    bus_write(b->ports, base + 0xb * scale, (take(in) & 0x3c) | 0x40 | n, 1);
    if (channel != 4) {
        bus_write(b->ports, base + 0xa * scale, (take(in) & 4) | n, 1);
    }
}

/* Up to 512 accesses as INS and OUTS with REP make them; a sum over what was read. */
static inline uint32_t fuzz_burst(Board *b, uint16_t port, unsigned bytes, uint32_t count,
                                  bool write)
{
    uint8_t data[4 * 512];
    uint32_t sum = 0, done;
    memset(data, (int)count, sizeof(data));
    while (count) {
        done = write ? bus_write_run(b->ports, port, bytes, data, count)
                     : bus_read_run(b->ports, port, bytes, data, count);
        for (uint32_t i = 0; i < done * bytes && !write; i++) {
            sum = sum * 31 + data[i];
        }
        if (done == 0 && write) {
            bus_write(b->ports, port, count, bytes);
        } else if (done == 0) {
            sum = sum * 31 + (uint32_t)bus_read(b->ports, port, bytes);
        }
        count -= done ? done : 1;
    }
    return sum;
}

static inline void *fuzz_voice_open(void *mixer, const char *name)
{
    (void)name;
    return mixer;
}

static inline void fuzz_voice_close(void *mixer, void *voice)
{
    (void)mixer, (void)voice;
}

static inline void fuzz_voice_push(void *mixer, void *voice, int64_t start_ns, uint32_t hz,
                                   const int16_t *pairs, size_t frames)
{
    int64_t now = clock_peek(&((Board *)mixer)->clock);
    volatile int16_t last = pairs[frames * 2 - 1];
    (void)voice, (void)last;
    if (frames == 0 || frames > 1 << 16 || hz == 0 || hz > 10000000 ||
        start_ns > now + CLOCK_NS_PER_S || start_ns < now - 3 * CLOCK_NS_PER_S) {
        fprintf(stderr, "%zu frames of %u Hz for %lld at %lld\n", frames, hz, (long long)start_ns,
                (long long)now);
        abort();
    }
}

/* Ears that want sound in sane pieces. */
static inline AudioPort fuzz_audio(Board *b)
{
    static const AudioOps ops = {fuzz_voice_open, fuzz_voice_close, fuzz_voice_push};
    return (AudioPort){&ops, b};
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

/* Of a board that was loaded and the one that was saved. */
static inline void fuzz_must_be(bool same, const char *what)
{
    if (!same) {
        fprintf(stderr, "a loaded board goes another way: %s\n", what);
        abort();
    }
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
