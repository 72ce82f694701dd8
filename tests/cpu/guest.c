/* A guest for tests of the processor. */
#include "tests/cpu/guest.h"

#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/mem.h"
#include "machine/engine.h"
#include "machine/host/host_time.h"

static uint8_t acknowledge(void *self)
{
    Guest *g = self;
    cpu_intr(g->cpu, 0, false);
    return g->vector;
}

static Guest *make(CpuModel model, const AccelOps *ops, bool host_time)
{
    Err err = {""};
    Guest *g = calloc(1, sizeof(*g));
    g->board = board_new(&err);
    if (!g->board) {
        fail_msg("%s", err.text);
    }
    RamBlock *block = ram_add(&g->board->ram, "ram", GUEST_RAM, &err);
    g->ram = ram_at(&g->board->ram, block->at);
    RamView view = {true, true, block->at, block->at};
    bus_claim_ram(g->board->memory, 0, GUEST_RAM, &view, "ram");
    g->cpu = cpu_new(g->board, model, &(CpuPins){.acknowledge = acknowledge, .self = g});
    if (host_time) {
        clock_use_host(&g->board->clock, host_time_ns);
        clock_run(&g->board->clock, true);
    } else {
        clock_use_count(&g->board->clock, &g->cpu->executed, 0);
    }
    g->accel = (Accel){.ops = ops, .cpu = g->cpu, .board = g->board};
    if (!ops->open(&g->accel, &err)) {
        fail_msg("%s", err.text);
    }
    engine_attach(&g->accel);
    return g;
}

Guest *guest_new(CpuModel model, const AccelOps *ops)
{
    return make(model, ops, false);
}

Guest *guest_new_in_host_time(CpuModel model, const AccelOps *ops)
{
    return make(model, ops, true);
}

void guest_free(Guest *g)
{
    g->accel.ops->close(&g->accel);
    engine_detach(&g->accel);
    board_free(g->board);
    free(g);
}

void guest_put(Guest *g, uint32_t at, const void *bytes, size_t size)
{
    memcpy(g->ram + at, bytes, size);
    ram_written(&g->board->ram, at, (uint32_t)size);
}

void guest_code(Guest *g, const void *bytes, size_t size)
{
    guest_put(g, GUEST_CODE, bytes, size);
}

uint32_t guest_read32(const Guest *g, uint32_t at)
{
    uint32_t value;
    memcpy(&value, g->ram + at, sizeof(value));
    return value;
}

void guest_write32(Guest *g, uint32_t at, uint32_t value)
{
    guest_put(g, at, &value, sizeof(value));
}

static void handlers(Guest *g)
{
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xeb\xfe", 2);
    }
}

static void common(Guest *g)
{
    handlers(g);
    mem_flush(g->cpu, true);
    cpu_set_eflags(g->cpu, 0);
    memset(g->cpu->reg, 0, sizeof(g->cpu->reg));
    g->cpu->reg[ESP] = GUEST_STACK;
    g->cpu->activity = CPU_RUNNING;
}

void guest_flat(Guest *g)
{
    static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff,
                                   0x000093000000ffff};
    Cpu *cpu = g->cpu;
    common(g);
    guest_put(g, GUEST_GDT, gdt, sizeof(gdt));
    for (unsigned i = 0; i < 256; i++) {
        uint32_t handler = GUEST_HANDLERS + 2 * i;
        uint64_t gate = (handler & 0xffff) | 0x8u << 16 | UINT64_C(0x8e00) << 32 |
                        (uint64_t)(handler >> 16) << 48;
        guest_put(g, GUEST_IDT + 8 * i, &gate, sizeof(gate));
    }
    cpu->gdtr = (TableReg){GUEST_GDT, 64 * 8 - 1};
    cpu->idtr = (TableReg){GUEST_IDT, 256 * 8 - 1};
    cpu->cr0 = CR0_PE | CR0_ET;
    cpu->cpl = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){0x10, 0xc093, 0, UINT32_MAX};
    }
    cpu->seg[CS] = (SegReg){0x08, 0xc09b, 0, UINT32_MAX};
    cpu->eip = GUEST_CODE;
}

void guest_real(Guest *g)
{
    Cpu *cpu = g->cpu;
    common(g);
    for (uint32_t i = 0; i < 256; i++) {
        guest_write32(g, 4 * i, GUEST_HANDLERS + 2 * i);
    }
    cpu->gdtr = cpu->idtr = (TableReg){0, 0x3ff};
    cpu->cr0 = CR0_ET;
    cpu->cpl = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){0, 0x93, 0, 0xffff};
    }
    cpu->seg[CS].selector = GUEST_CODE >> 4;
    cpu->seg[CS].base = GUEST_CODE;
    cpu->eip = 0;
}

void guest_run(Guest *g, unsigned instructions)
{
    int64_t until = clock_now(&g->board->clock) + instructions;
    while (clock_now(&g->board->clock) < until) {
        atomic_store(&g->cpu->attention, false);
        if (g->accel.ops->run(&g->accel, until) == RUN_HALTED) {
            return;
        }
    }
}

int guest_vector(const Guest *g)
{
    uint32_t at = g->cpu->seg[CS].base + g->cpu->eip - GUEST_HANDLERS;
    return at < 512 && at % 2 == 0 ? (int)(at / 2) : -1;
}
