/* Handlers: descriptor tables and descriptors, control, debug and model-specific registers, HLT,
 * CPUID, time stamp counter.
 *
 * SDM vol. 2. Not modelled: the caches that INVD and WBINVD empty, the test registers of 386 and
 * 486 (reads are 0).
 */
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/system.h"
#include "machine/core/log.h"

LOG_TAG("cpu");

enum {
    TABLE_BYTES = 6,
    LAR_MASK = 0x00ffff00, /* bits 19..16 are undefined in the manual; silicon gives the limit */
    DESC_RPL_BITS = 3,
};

static Outcome stop(Cpu *cpu, const Insn *in)
{
    cpu->eip += in->length;
    return X_STOP;
}

/* CPL 0, which virtual-8086 mode never has. */
static bool privileged(Cpu *cpu)
{
    if (cpu->cpl != 0) {
        cpu_fault_code(cpu, VEC_GP, 0);
        return false;
    }
    return true;
}

/* A word operand in register or memory. */
static bool load_word(Cpu *cpu, const Insn *in, uint16_t *value)
{
    *value = REG16(in->rm);
    return !in->memory || ex_load16(cpu, in, value);
}

/* To memory always as a word; a 32-bit register takes all of it. */
static Outcome store(Cpu *cpu, const Insn *in, uint32_t value)
{
    if (in->memory) {
        return ex_save16(cpu, in, (uint16_t)value) ? X_NEXT : X_FAULT;
    }
    if (in->opsize == 4) {
        REG32(in->rm) = value;
    } else {
        REG16(in->rm) = (uint16_t)value;
    }
    return X_NEXT;
}

HANDLER(ex_arpl)
{
    uint16_t source = REG16(in->reg), value = 0;
    if (!load_word(cpu, in, &value)) {
        return X_FAULT;
    }
    bool raise = (value & DESC_RPL_BITS) < (source & DESC_RPL_BITS);
    if (raise) {
        value = (uint16_t)((value & ~DESC_RPL_BITS) | (source & DESC_RPL_BITS));
        if (!in->memory) {
            REG16(in->rm) = value;
        } else if (!mem_write16(cpu, (SegIndex)in->seg, ex_address(cpu, in), value)) {
            return X_FAULT; /* silicon writes, and checks that it may, only what it changes */
        }
    }
    ex_flag(cpu, ARITH_ZF, raise);
    return X_NEXT;
}

/* For LAR, LSL, VERR, VERW: reads the descriptor if there is one. False only for a page fault. */
static bool probe(Cpu *cpu, const Insn *in, uint16_t *selector, Desc *d, bool *found)
{
    *found = false;
    if (!load_word(cpu, in, selector)) {
        return false;
    }
    if (selector_null(*selector)) {
        return true;
    }
    if (desc_fetch(cpu, *selector, VEC_GP, 0, d)) {
        *found = true;
        return true;
    }
    return cpu->fault.vector == VEC_GP;
}

/* Privilege: conforming code is open to all. */
static bool visible(const Cpu *cpu, uint16_t selector, const Desc *d)
{
    bool any_level = desc_code(d) && desc_conforming(d);
    return any_level || (cpu->cpl <= desc_dpl(d) && (selector & SELECTOR_RPL) <= desc_dpl(d));
}

static bool has_limit(const Desc *d)
{
    unsigned type = desc_type(d);
    return type >= 0x10 || type == DESC_LDT || desc_tss(d);
}

static bool has_rights(const Desc *d)
{
    unsigned type = desc_type(d);
    return has_limit(d) || type == DESC_CALL16 || type == DESC_CALL32 || type == DESC_TASK_GATE;
}

static void set_operand(Cpu *cpu, const Insn *in, uint32_t value)
{
    if (in->opsize == 4) {
        REG32(in->reg) = value;
    } else {
        REG16(in->reg) = (uint16_t)value;
    }
}

HANDLER(ex_lar)
{
    uint16_t selector;
    Desc d;
    bool found;
    if (!probe(cpu, in, &selector, &d, &found)) {
        return X_FAULT;
    }
    bool ok = found && has_rights(&d) && visible(cpu, selector, &d);
    if (ok) {
        set_operand(cpu, in, d.high & LAR_MASK);
    }
    ex_flag(cpu, ARITH_ZF, ok);
    return X_NEXT;
}

HANDLER(ex_lsl)
{
    uint16_t selector;
    Desc d;
    bool found;
    if (!probe(cpu, in, &selector, &d, &found)) {
        return X_FAULT;
    }
    bool ok = found && has_limit(&d) && visible(cpu, selector, &d);
    if (ok) {
        SegReg s;
        desc_unpack(&d, selector, &s);
        set_operand(cpu, in, s.limit);
    }
    ex_flag(cpu, ARITH_ZF, ok);
    return X_NEXT;
}

static Outcome verify(Cpu *cpu, const Insn *in, bool (*fits)(const Desc *d))
{
    uint16_t selector;
    Desc d;
    bool found;
    if (!probe(cpu, in, &selector, &d, &found)) {
        return X_FAULT;
    }
    ex_flag(cpu, ARITH_ZF, found && fits(&d) && visible(cpu, selector, &d));
    return X_NEXT;
}

HANDLER(ex_verr)
{
    return verify(cpu, in, desc_readable);
}

HANDLER(ex_verw)
{
    return verify(cpu, in, desc_writable_data);
}

HANDLER(ex_sldt)
{
    return store(cpu, in, cpu->seg[LDTR].selector);
}

HANDLER(ex_str)
{
    return store(cpu, in, cpu->seg[TR].selector);
}

HANDLER(ex_lldt)
{
    uint16_t selector;
    Desc d;
    if (!privileged(cpu) || !load_word(cpu, in, &selector)) {
        return X_FAULT;
    }
    if (selector_null(selector)) {
        cpu->seg[LDTR].selector = selector;
        cpu->seg[LDTR].access |= SEG_UNUSABLE;
        return X_NEXT;
    }
    if (selector & SELECTOR_TI) {
        return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
    }
    if (!desc_fetch(cpu, selector, VEC_GP, 0, &d)) {
        return X_FAULT;
    }
    if (desc_type(&d) != DESC_LDT) {
        return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
    }
    if (!desc_present(&d)) {
        return cpu_fault_code(cpu, VEC_NP, selector_error(selector, 0));
    }
    desc_unpack(&d, selector, &cpu->seg[LDTR]);
    return X_NEXT;
}

HANDLER(ex_ltr)
{
    uint16_t selector;
    Desc d;
    if (!privileged(cpu) || !load_word(cpu, in, &selector)) {
        return X_FAULT;
    }
    if (selector_null(selector)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (selector & SELECTOR_TI) {
        return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
    }
    if (!desc_fetch(cpu, selector, VEC_GP, 0, &d)) {
        return X_FAULT;
    }
    if (!desc_tss(&d) || desc_type(&d) & DESC_TSS_BUSY_BIT) {
        return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
    }
    if (!desc_present(&d)) {
        return cpu_fault_code(cpu, VEC_NP, selector_error(selector, 0));
    }
    d.high |= DESC_TSS_BUSY_BIT << 8;
    if (!mem_system_write8(cpu, d.at + 5, (uint8_t)(d.high >> 8))) {
        return X_FAULT;
    }
    desc_unpack(&d, selector, &cpu->seg[TR]);
    return X_NEXT;
}

static Outcome store_table(Cpu *cpu, const Insn *in, const TableReg *table)
{
    uint8_t data[TABLE_BYTES];
    memcpy(data, &table->limit, 2);
    memcpy(data + 2, &table->base, 4);
    return mem_write_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), data, sizeof(data))
               ? X_NEXT
               : X_FAULT;
}

static Outcome load_table(Cpu *cpu, const Insn *in, TableReg *table)
{
    uint8_t data[TABLE_BYTES];
    if (!privileged(cpu) ||
        !mem_read_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), data, sizeof(data))) {
        return X_FAULT;
    }
    memcpy(&table->limit, data, 2);
    memcpy(&table->base, data + 2, 4);
    if (in->opsize == 2) {
        table->base &= 0xffffff;
    }
    return X_NEXT;
}

HANDLER(ex_sgdt)
{
    return store_table(cpu, in, &cpu->gdtr);
}

HANDLER(ex_sidt)
{
    return store_table(cpu, in, &cpu->idtr);
}

HANDLER(ex_lgdt)
{
    return load_table(cpu, in, &cpu->gdtr);
}

HANDLER(ex_lidt)
{
    return load_table(cpu, in, &cpu->idtr);
}

HANDLER(ex_smsw)
{
    return store(cpu, in, cpu->cr0);
}

HANDLER(ex_lmsw)
{
    enum { MSW = CR0_PE | CR0_MP | CR0_EM | CR0_TS };
    uint16_t value;
    if (!privileged(cpu) || !load_word(cpu, in, &value)) {
        return X_FAULT;
    }
    uint32_t keep = cpu->cr0 & CR0_PE; /* PE can be set, not cleared */
    if (cr_write(cpu, 0, (cpu->cr0 & ~(uint32_t)MSW) | (value & MSW) | keep) == X_FAULT) {
        return X_FAULT;
    }
    return stop(cpu, in);
}

HANDLER(ex_clts)
{
    if (!privileged(cpu)) {
        return X_FAULT;
    }
    cpu->cr0 &= ~CR0_TS;
    return stop(cpu, in);
}

/* Silicon looks for the register before the privilege. */
static bool control_register(Cpu *cpu, unsigned n)
{
    if (n == 1 || n > 4 || (n == 4 && !cpu_cr4_mask(cpu->model))) {
        cpu_fault(cpu, VEC_UD);
        return false;
    }
    return true;
}

HANDLER(ex_mov_rd_cd)
{
    if (!control_register(cpu, in->reg) || !privileged(cpu)) {
        return X_FAULT;
    }
    switch (in->reg) {
    case 0:
        REG32(in->rm) = cpu->cr0;
        return X_NEXT;
    case 2:
        REG32(in->rm) = cpu->cr2;
        return X_NEXT;
    case 3:
        REG32(in->rm) = cpu->cr3;
        return X_NEXT;
    default:
        REG32(in->rm) = cpu->cr4;
        return X_NEXT;
    }
}

HANDLER(ex_mov_cd_rd)
{
    if (!control_register(cpu, in->reg) || !privileged(cpu) ||
        cr_write(cpu, in->reg, REG32(in->rm)) == X_FAULT) {
        return X_FAULT;
    }
    return stop(cpu, in);
}

HANDLER(ex_mov_rd_dd)
{
    uint32_t value;
    if (!privileged(cpu) || dr_read(cpu, in->reg, &value) == X_FAULT) {
        return X_FAULT;
    }
    REG32(in->rm) = value;
    return X_NEXT;
}

HANDLER(ex_mov_dd_rd)
{
    if (!privileged(cpu) || dr_write(cpu, in->reg, REG32(in->rm)) == X_FAULT) {
        return X_FAULT;
    }
    return stop(cpu, in);
}

HANDLER(ex_mov_rd_td)
{
    if (!privileged(cpu)) {
        return X_FAULT;
    }
    log_unimp("test register %u read", in->reg);
    REG32(in->rm) = 0;
    return X_NEXT;
}

HANDLER(ex_mov_td_rd)
{
    if (!privileged(cpu)) {
        return X_FAULT;
    }
    log_unimp("test register %u written", in->reg);
    return X_NEXT;
}

HANDLER(ex_invd)
{
    (void)in;
    return privileged(cpu) ? X_NEXT : X_FAULT;
}

HANDLER(ex_wbinvd)
{
    (void)in;
    return privileged(cpu) ? X_NEXT : X_FAULT;
}

HANDLER(ex_invlpg)
{
    if (!privileged(cpu)) {
        return X_FAULT;
    }
    mem_flush_page(cpu, cpu->seg[in->seg].base + ex_address(cpu, in));
    return stop(cpu, in);
}

HANDLER(ex_hlt)
{
    if (!privileged(cpu)) {
        return X_FAULT;
    }
    cpu->activity = CPU_HALTED;
    return stop(cpu, in);
}

HANDLER(ex_cpuid)
{
    (void)in;
    uint32_t out[4];
    cpuid(cpu, cpu->reg[EAX], out);
    cpu->reg[EAX] = out[0];
    cpu->reg[EBX] = out[1];
    cpu->reg[ECX] = out[2];
    cpu->reg[EDX] = out[3];
    return X_NEXT;
}

HANDLER(ex_rdtsc)
{
    (void)in;
    if (cpu->cr4 & CR4_TSD && !privileged(cpu)) {
        return X_FAULT;
    }
    uint64_t value = tsc_read(cpu);
    cpu->reg[EAX] = (uint32_t)value;
    cpu->reg[EDX] = (uint32_t)(value >> 32);
    return X_NEXT;
}

HANDLER(ex_rdmsr)
{
    (void)in;
    uint64_t value;
    if (!privileged(cpu) || msr_read(cpu, cpu->reg[ECX], &value) == X_FAULT) {
        return X_FAULT;
    }
    cpu->reg[EAX] = (uint32_t)value;
    cpu->reg[EDX] = (uint32_t)(value >> 32);
    return X_NEXT;
}

HANDLER(ex_wrmsr)
{
    uint64_t value = cpu->reg[EAX] | (uint64_t)cpu->reg[EDX] << 32;
    if (!privileged(cpu) || msr_write(cpu, cpu->reg[ECX], value) == X_FAULT) {
        return X_FAULT;
    }
    return stop(cpu, in);
}

/* Counters exist and stand still. */
HANDLER(ex_rdpmc)
{
    (void)in;
    uint32_t counters = cpu->model == CPU_PENTIUM4 ? 18 : 2;
    if (!(cpu->cr4 & CR4_PCE) && !privileged(cpu)) {
        return X_FAULT;
    }
    if ((cpu->reg[ECX] & 0x7fffffff) >= counters) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    cpu->reg[EAX] = cpu->reg[EDX] = 0;
    return X_NEXT;
}
