/* What every chip test needs. */
#include "tests/unit/chip.h"

#include <stdlib.h>
#include <string.h>

Board *chip_board(void)
{
    Err err = {""};
    Board *b = board_new(&err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    return b;
}

static void probe_drive(void *sink, unsigned pin, bool level)
{
    Probe *probe = sink;
    (void)pin;
    if (level != probe->level) {
        probe->level = level;
        probe->rises += level;
        probe->falls += !level;
        probe->last_change = clock_now(probe->clock);
    }
}

Line chip_probe(Board *b, Probe *probe)
{
    *probe = (Probe){.clock = &b->clock};
    return (Line){probe_drive, probe, 0};
}

uint8_t *chip_ram(Board *b, uint32_t size)
{
    Err err = {""};
    RamBlock *block = ram_add(&b->ram, "ram", size, &err);
    if (!block) {
        fail_msg("%s", err.text);
    }
    bus_claim_ram(b->memory, 0, size, &(RamView){true, true, block->at, block->at}, "ram");
    return ram_at(&b->ram, block->at);
}

uint8_t chip_in(Board *b, uint16_t port)
{
    return (uint8_t)bus_read(b->ports, port, 1);
}

void chip_out(Board *b, uint16_t port, uint8_t value)
{
    bus_write(b->ports, port, value, 1);
}

static uint16_t config_port(Board *b, unsigned place, unsigned offset)
{
    bus_write(b->ports, 0xcf8, 0x80000000u | place << 8 | (offset & 0xfc), 4);
    return (uint16_t)(0xcfc + (offset & 3));
}

uint32_t chip_config(Board *b, unsigned place, unsigned offset, unsigned bytes)
{
    return (uint32_t)bus_read(b->ports, config_port(b, place, offset), bytes);
}

void chip_set_config(Board *b, unsigned place, unsigned offset, uint32_t value, unsigned bytes)
{
    bus_write(b->ports, config_port(b, place, offset), value, bytes);
}

void chip_in_singly(Board *b, uint16_t port, unsigned bytes, uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = bus_read(b->ports, port, bytes);
        memcpy(data + i * bytes, &value, bytes);
    }
}

void chip_out_singly(Board *b, uint16_t port, unsigned bytes, const uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;
        memcpy(&value, data + i * bytes, bytes);
        bus_write(b->ports, port, value, bytes);
    }
}

uint32_t chip_in_string(Board *b, uint16_t port, unsigned bytes, uint8_t *data, uint32_t count)
{
    uint32_t in_runs = 0;
    for (uint32_t at = 0; at < count;) {
        uint32_t done = bus_read_run(b->ports, port, bytes, data + at * bytes, count - at);
        assert_true(done <= count - at);
        if (done == 0) {
            chip_in_singly(b, port, bytes, data + at * bytes, 1);
        }
        in_runs += done;
        at += done ? done : 1;
    }
    return in_runs;
}

uint32_t chip_out_string(Board *b, uint16_t port, unsigned bytes, const uint8_t *data,
                         uint32_t count)
{
    uint32_t in_runs = 0;
    for (uint32_t at = 0; at < count;) {
        uint32_t done = bus_write_run(b->ports, port, bytes, data + at * bytes, count - at);
        assert_true(done <= count - at);
        if (done == 0) {
            chip_out_singly(b, port, bytes, data + at * bytes, 1);
        }
        in_runs += done;
        at += done ? done : 1;
    }
    return in_runs;
}

static StateIo *saved(Board *b)
{
    StateIo *io = state_saver_new();
    board_state(b, io);
    if (!state_ok(io)) {
        fail_msg("%s", state_error(io));
    }
    return io;
}

void chip_state_same(Board *one, Board *two)
{
    size_t size = 0, other_size = 0;
    StateIo *first = saved(one), *second = saved(two);
    const uint8_t *bytes = state_finish(first, &size);
    const uint8_t *other = state_finish(second, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other, size);
    state_free(second);
    state_free(first);
}

void chip_state_round_trip(Board *b, Board *other)
{
    size_t size = 0;
    StateIo *first = saved(b);
    const uint8_t *bytes = state_finish(first, &size);
    Err err = {""};
    StateIo *loader = state_loader_new(bytes, size, &err);
    if (!loader) {
        fail_msg("%s", err.text);
    }
    board_state(other, loader);
    if (!state_ok(loader)) {
        fail_msg("%s", state_error(loader));
    }
    board_restored(other);
    chip_state_same(b, other);
    state_free(loader);
    state_free(first);
}
