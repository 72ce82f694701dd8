/* A whole PC without a thread of its own. */
#include "tests/state/pc_rig.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/clock.h"

static void want_reset(void *self)
{
    PcRig *rig = self;
    rig->reset_wanted = true;
    atomic_store(&pc_cpu(rig->pc)->attention, true);
}

static void power_off(void *self)
{
    PcRig *rig = self;
    rig->powered_off = true;
}

static void debug_exit(void *self, int status)
{
    (void)self;
    (void)status;
}

static void io_error(void *self, const char *device, const MachineIoError *what)
{
    (void)self;
    (void)what;
    fail_msg("%s: an image failed", device);
}

static void tray_moved(void *self, const char *device, bool open)
{
    (void)self;
    (void)device;
    (void)open;
}

static void deadline_moved(void *self)
{
    PcRig *rig = self;
    atomic_store(&pc_cpu(rig->pc)->attention, true);
}

void pc_rig_open(PcRig *rig, MachineConfig *config, const char *engine)
{
    Err err = {""};
    *rig = (PcRig){0};
    config->icount_shift = 3;
    PcHost host = {want_reset, power_off, debug_exit, io_error, tray_moved, rig};
    rig->b = board_new(&err);
    rig->pc = pc_new();
    if (!rig->b || !pc_build(rig->pc, rig->b, config, &host, &err)) {
        fail_msg("%s", err.text);
    }
    clock_use_count(&rig->b->clock, &pc_cpu(rig->pc)->executed, (unsigned)config->icount_shift);
    if (!engine_open(&rig->accel, engine, pc_cpu(rig->pc), rig->b, &err)) {
        fail_msg("%s", err.text);
    }
    rig->b->clock.changed = deadline_moved;
    rig->b->clock.changed_self = rig;
    board_reset(rig->b, RESET_POWER);
    rig->accel.ops->push(&rig->accel);
}

void pc_rig_close(PcRig *rig)
{
    engine_close(&rig->accel);
    pc_unplug(rig->pc);
    board_free(rig->b);
    pc_free(rig->pc);
}

void pc_rig_run(PcRig *rig, int64_t ns)
{
    Clock *clock = &rig->b->clock;
    int64_t end = clock_now(clock) + ns;
    while (clock_now(clock) < end) {
        atomic_store(&pc_cpu(rig->pc)->attention, false);
        event_deliver(rig->b->events);
        if (rig->reset_wanted) {
            rig->reset_wanted = false;
            board_reset(rig->b, RESET_HARD);
        }
        clock_fire_due(clock);
        int64_t due = clock_next_due(clock);
        int64_t until = due < end ? due : end;
        if (rig->accel.ops->run(&rig->accel, until) == RUN_HALTED) {
            clock_skip_to(clock, until);
        }
    }
    rig->accel.ops->pull(&rig->accel);
}

uint64_t pc_rig_memory_sum(const PcRig *rig)
{
    const Ram *ram = &rig->b->ram;
    uint64_t sum = 1469598103934665603u;
    for (uint64_t at = 0; at < ram->used; at += 8) {
        uint64_t word;
        memcpy(&word, ram->host + at, 8);
        sum = (sum ^ word) * 1099511628211u;
    }
    return sum;
}

uint8_t *pc_rig_save(PcRig *rig, size_t *size)
{
    StateIo *io = state_saver_new();
    rig->accel.ops->pull(&rig->accel);
    board_state(rig->b, io);
    if (!state_ok(io)) {
        fail_msg("%s", state_error(io));
    }
    const uint8_t *bytes = state_finish(io, size);
    uint8_t *copy = malloc(*size);
    memcpy(copy, bytes, *size);
    state_free(io);
    return copy;
}

void pc_rig_copy(PcRig *from, PcRig *to)
{
    size_t size, again_size;
    Err err = {""};
    pc_drain(from->pc);
    uint8_t *bytes = pc_rig_save(from, &size);
    assert_int_equal(from->b->ram.used, to->b->ram.used);
    for (uint64_t at = 0; at < from->b->ram.used; at += RAM_PAGE) {
        const uint8_t *page = from->b->ram.host + at;
        if (memcmp(to->b->ram.host + at, page, RAM_PAGE) != 0) {
            memcpy(to->b->ram.host + at, page, RAM_PAGE);
            ram_written(&to->b->ram, (uint32_t)at, RAM_PAGE);
        }
    }
    StateIo *loader = state_loader_new(bytes, size, &err);
    assert_non_null(loader);
    board_state(to->b, loader);
    if (!state_ok(loader)) {
        fail_msg("%s", state_error(loader));
    }
    state_free(loader);
    board_restored(to->b);
    to->accel.ops->push(&to->accel);
    uint8_t *again = pc_rig_save(to, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    free(again);
    free(bytes);
}
