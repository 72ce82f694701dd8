/* A processor over 4 MiB of memory, with builders for what protected mode needs. */
#include "tests/cpu/sys_rig.h"

#include <stdlib.h>

static uint8_t acknowledge(void *self)
{
    Sys *s = self;
    s->acknowledges++;
    return s->vector;
}

static void shutdown_line(void *sink, unsigned pin, bool level)
{
    Sys *s = sink;
    (void)pin;
    s->shutdowns += level;
}

static void smiact_line(void *sink, unsigned pin, bool level)
{
    Sys *s = sink;
    (void)pin;
    s->smiact = level;
}

static void apic_base(void *self, uint64_t value)
{
    Sys *s = self;
    s->apic_base = value;
}

void sys_open(Sys *s, CpuModel model)
{
    Err err = {""};
    *s = (Sys){.b = board_new(&err), .vector = 0x20};
    RamBlock *block = s->b ? ram_add(&s->b->ram, "ram", SYS_RAM, &err) : NULL;
    if (!block) {
        fail_msg("%s", err.text);
    }
    bus_claim_ram(s->b->memory, 0, SYS_RAM, &(RamView){true, true, block->at, block->at}, "ram");
    CpuPins pins = {
        .acknowledge = acknowledge,
        .self = s,
        .smiact = {smiact_line, s, 0},
        .shutdown = {shutdown_line, s, 0},
        .apic_base_changed = apic_base,
    };
    s->cpu = cpu_new(s->b, model, &pins);
    s->ram = ram_at(&s->b->ram, block->at);
    board_reset(s->b, RESET_POWER);
    seg_load_real(s->cpu, CS, SYS_CODE >> 4);
    s->cpu->eip = 0;
    s->cpu->reg[ESP] = SYS_STACK0;
}

void sys_close(Sys *s)
{
    board_free(s->b);
}

uint16_t sys_word(Sys *s, uint32_t at)
{
    uint16_t value;
    memcpy(&value, s->ram + at, 2);
    return value;
}

uint32_t sys_dword(Sys *s, uint32_t at)
{
    uint32_t value;
    memcpy(&value, s->ram + at, 4);
    return value;
}

void sys_set_word(Sys *s, uint32_t at, uint16_t value)
{
    memcpy(s->ram + at, &value, 2);
}

void sys_set_dword(Sys *s, uint32_t at, uint32_t value)
{
    memcpy(s->ram + at, &value, 4);
}

uint32_t sys_stack(Sys *s, unsigned n)
{
    return sys_dword(s, s->cpu->seg[SS].base + s->cpu->reg[ESP] + 4 * n);
}

void sys_desc(Sys *s, uint16_t selector, uint32_t base, uint32_t limit, uint32_t access)
{
    uint32_t at = (selector & 4 ? SYS_LDT : SYS_GDT) + (selector & 0xfff8u);
    sys_set_dword(s, at, (limit & 0xffff) | base << 16);
    sys_set_dword(s, at + 4,
                  (base >> 16 & 0xff) | (access & 0xf0ff) << 8 | (limit & 0xf0000) |
                      (base & 0xff000000u));
}

static void gate(Sys *s, uint32_t at, unsigned type, uint16_t target, uint32_t offset, unsigned dpl,
                 unsigned count)
{
    sys_set_dword(s, at, (offset & 0xffff) | (uint32_t)target << 16);
    sys_set_dword(s, at + 4, (offset & 0xffff0000u) | 0x8000 | dpl << 13 | type << 8 | count);
}

void sys_call_gate(Sys *s, uint16_t selector, unsigned type, uint16_t target, uint32_t offset,
                   unsigned dpl, unsigned count)
{
    gate(s, SYS_GDT + (selector & 0xfff8u), type, target, offset, dpl, count);
}

void sys_idt_gate(Sys *s, uint8_t vector, unsigned type, uint16_t target, uint32_t offset,
                  unsigned dpl)
{
    gate(s, SYS_IDT + vector * 8u, type, target, offset, dpl, 0);
}

void sys_tss(Sys *s, uint16_t selector, uint32_t at, unsigned type, uint32_t limit)
{
    memset(s->ram + at, 0, 0x68);
    sys_set_dword(s, at + 4, SYS_STACK0);
    sys_set_word(s, at + 8, SYS_DATA0);
    sys_set_word(s, at + 0x66, 0x68);
    sys_desc(s, selector, at, limit, SEG_PRESENT | type);
}

void sys_protected(Sys *s)
{
    Cpu *cpu = s->cpu;
    sys_desc(s, SYS_CODE0, 0, 0xfffff, D_CODE | D_BIG | D_PAGES);
    sys_desc(s, SYS_DATA0, 0, 0xfffff, D_DATA | D_BIG | D_PAGES);
    sys_desc(s, SYS_CODE3, 0, 0xfffff, D_CODE | D_DPL3 | D_BIG | D_PAGES);
    sys_desc(s, SYS_DATA3, 0, 0xfffff, D_DATA | D_DPL3 | D_BIG | D_PAGES);
    sys_desc(s, SYS_CODE0_16, 0, 0xffff, D_CODE);
    sys_desc(s, SYS_DATA0_16, 0, 0xffff, D_DATA);
    sys_tss(s, SYS_TR, SYS_TSS, DESC_TSS32, 0x67);
    cpu->gdtr = (TableReg){SYS_GDT, SYS_GDT_LIMIT};
    cpu->idtr = (TableReg){SYS_IDT, 0x7ff};
    assert_int_equal(cr_write(cpu, 0, cpu->cr0 | CR0_PE), X_STOP);
    assert_int_equal(far_jump(cpu, SYS_CODE0, SYS_CODE, 4, 0), X_STOP);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != CS) {
            assert_int_equal(seg_load(cpu, (SegIndex)i, SYS_DATA0), X_NEXT);
        }
    }
    cpu->reg[ESP] = SYS_STACK0;
    Insn in = sys_insn(4);
    cpu->reg[EAX] = SYS_TR;
    assert_int_equal(ex_ltr(cpu, &in), X_NEXT);
    cpu->reg[EAX] = 0;
}

void sys_user(Sys *s)
{
    Cpu *cpu = s->cpu;
    cpu->reg[ESP] = SYS_STACK0 - 20;
    sys_set_dword(s, SYS_STACK0 - 20, SYS_CODE);
    sys_set_dword(s, SYS_STACK0 - 16, SYS_CODE3);
    sys_set_dword(s, SYS_STACK0 - 12, FL_ONE);
    sys_set_dword(s, SYS_STACK0 - 8, SYS_STACK3);
    sys_set_dword(s, SYS_STACK0 - 4, SYS_DATA3);
    assert_int_equal(far_iret(cpu, 4, 0), X_STOP);
    assert_int_equal(cpu->cpl, 3);
    static const SegIndex data[] = {ES, DS, FS, GS};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(seg_load(cpu, data[i], SYS_DATA3), X_NEXT);
    }
}

void sys_v86(Sys *s, unsigned iopl)
{
    Cpu *cpu = s->cpu;
    const uint32_t frame[] = {0x100,  SYS_CODE >> 4, FL_ONE | FL_VM | iopl << 12,
                              0x1000, 0x300,         0x301,
                              0x302,  0x303,         0x304};
    cpu->reg[ESP] = SYS_STACK0 - sizeof(frame);
    memcpy(s->ram + SYS_STACK0 - sizeof(frame), frame, sizeof(frame));
    assert_int_equal(far_iret(cpu, 4, 0), X_STOP);
    assert_true(cpu_v86(cpu));
}

uint32_t sys_pte(Sys *s, uint32_t linear)
{
    return sys_dword(s, SYS_TABLES + (linear >> 12) * 4);
}

void sys_set_pte(Sys *s, uint32_t linear, uint32_t pte)
{
    sys_set_dword(s, SYS_TABLES + (linear >> 12) * 4, pte);
}

void sys_paging(Sys *s)
{
    sys_set_dword(s, SYS_DIRECTORY, SYS_TABLES | 7);
    for (uint32_t page = 0; page < SYS_RAM; page += 4096) {
        sys_set_pte(s, page, page | 7);
    }
    assert_int_equal(cr_write(s->cpu, 3, SYS_DIRECTORY), X_STOP);
    assert_int_equal(cr_write(s->cpu, 0, s->cpu->cr0 | CR0_PG), X_STOP);
}

Insn sys_insn(unsigned opsize)
{
    return (Insn){
        .length = 2,
        .opsize = (uint8_t)opsize,
        .adsize = 4,
        .seg = DS,
        .base = NO_REG,
        .index = NO_REG,
        .address_mask = 0xffffffffu,
    };
}

static StateIo *saved(Sys *s, const uint8_t **bytes, size_t *size)
{
    StateIo *io = state_saver_new();
    board_state(s->b, io);
    if (!state_ok(io)) {
        fail_msg("%s", state_error(io));
    }
    *bytes = state_finish(io, size);
    return io;
}

void sys_state_copy(Sys *from, Sys *to)
{
    const uint8_t *bytes, *again;
    size_t size = 0, again_size = 0;
    Err err = {""};
    StateIo *first = saved(from, &bytes, &size);
    StateIo *loader = state_loader_new(bytes, size, &err);
    if (!loader) {
        fail_msg("%s", err.text);
    }
    board_state(to->b, loader);
    if (!state_ok(loader)) {
        fail_msg("%s", state_error(loader));
    }
    board_restored(to->b);
    StateIo *second = saved(to, &again, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    state_free(second);
    state_free(loader);
    state_free(first);
}
