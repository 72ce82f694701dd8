/* Hardware task switching, and the I/O permission map.
 *
 * SDM vol. 3, chapter 7; vol. 1, 18.5.2. Up to the load of TR everything can still fault in the old
 * task; what the new task's segments do wrong is a fault of the new task, at its first instruction.
 */
#include <string.h>

#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"

/* Offsets in the TSS (SDM vol. 3, figures 7-2 and 7-10). */
enum {
    TSS32_LIMIT = 0x67,
    TSS32_CR3 = 0x1c,
    TSS32_EIP = 0x20,
    TSS32_EFLAGS = 0x24,
    TSS32_REGS = 0x28,
    TSS32_SEGS = 0x48,
    TSS32_LDT = 0x60,
    TSS32_TRAP = 0x64,
    TSS32_IO_MAP = 0x66,
    TSS16_LIMIT = 0x2b,
    TSS16_IP = 0x0e,
    TSS16_FLAGS = 0x10,
    TSS16_REGS = 0x12,
    TSS16_SEGS = 0x22,
    TSS16_LDT = 0x2a,
    DR7_LOCAL = 0x155, /* L0..L3 and LE: cleared by a switch */
};

/* What a TSS holds of a task. */
typedef struct Task {
    uint32_t cr3, eip, eflags, reg[8];
    uint16_t seg[SEG_COUNT], ldt;
    bool trap;
} Task;

static Outcome fault(Cpu *cpu, Vector vector, uint16_t selector, uint32_t ext)
{
    return cpu_fault_code(cpu, vector, selector_error(selector, ext));
}

/* The new TSS's descriptor. */
static bool tss_open(Cpu *cpu, uint16_t selector, TaskSource source, uint32_t ext, Desc *d)
{
    Vector bad = source == TASK_IRET ? VEC_TS : VEC_GP;
    if (selector_null(selector) || selector & SELECTOR_TI) {
        fault(cpu, bad, selector, ext);
        return false;
    }
    if (!desc_fetch(cpu, selector, bad, ext, d)) {
        return false;
    }
    bool busy = desc_type(d) & DESC_TSS_BUSY_BIT;
    if (!desc_tss(d) || busy != (source == TASK_IRET)) {
        fault(cpu, bad, selector, ext);
        return false;
    }
    if (!desc_present(d)) {
        fault(cpu, VEC_NP, selector, ext);
        return false;
    }
    return true;
}

static bool read_task_32(Cpu *cpu, uint32_t base, Task *t)
{
    uint16_t trap = 0;
    bool ok = mem_system_read32(cpu, base + TSS32_CR3, &t->cr3) &&
              mem_system_read32(cpu, base + TSS32_EIP, &t->eip) &&
              mem_system_read32(cpu, base + TSS32_EFLAGS, &t->eflags) &&
              mem_system_read16(cpu, base + TSS32_LDT, &t->ldt) &&
              mem_system_read16(cpu, base + TSS32_TRAP, &trap);
    for (unsigned i = 0; ok && i < 8; i++) {
        ok = mem_system_read32(cpu, base + TSS32_REGS + 4 * i, &t->reg[i]);
    }
    for (unsigned i = 0; ok && i < SEG_COUNT; i++) {
        ok = mem_system_read16(cpu, base + TSS32_SEGS + 4 * i, &t->seg[i]);
    }
    t->trap = trap & 1;
    return ok;
}

static bool read_task_16(Cpu *cpu, uint32_t base, Task *t)
{
    uint16_t ip = 0, flags = 0, value = 0;
    bool ok = mem_system_read16(cpu, base + TSS16_IP, &ip) &&
              mem_system_read16(cpu, base + TSS16_FLAGS, &flags) &&
              mem_system_read16(cpu, base + TSS16_LDT, &t->ldt);
    for (unsigned i = 0; ok && i < 8; i++) {
        ok = mem_system_read16(cpu, base + TSS16_REGS + 2 * i, &value);
        t->reg[i] = 0xffff0000u | value; /* the upper halves are undefined; silicon sets them */
    }
    for (unsigned i = 0; ok && i < FS; i++) {
        ok = mem_system_read16(cpu, base + TSS16_SEGS + 2 * i, &t->seg[i]);
    }
    t->eip = ip;
    t->eflags = flags;
    return ok;
}

/* The old task's dynamic part. All of it was checked to be writable. */
static bool save_task(Cpu *cpu, uint32_t eip, uint32_t eflags)
{
    uint32_t base = cpu->seg[TR].base;
    bool ok = true;
    if (cpu->seg[TR].access & DESC_IS_32) {
        ok = mem_system_write32(cpu, base + TSS32_EIP, eip) &&
             mem_system_write32(cpu, base + TSS32_EFLAGS, eflags);
        for (unsigned i = 0; ok && i < 8; i++) {
            ok = mem_system_write32(cpu, base + TSS32_REGS + 4 * i, cpu->reg[i]);
        }
        for (unsigned i = 0; ok && i < SEG_COUNT; i++) {
            ok = mem_system_write16(cpu, base + TSS32_SEGS + 4 * i, cpu->seg[i].selector);
        }
        return ok;
    }
    ok = mem_system_write16(cpu, base + TSS16_IP, (uint16_t)eip) &&
         mem_system_write16(cpu, base + TSS16_FLAGS, (uint16_t)eflags);
    for (unsigned i = 0; ok && i < 8; i++) {
        ok = mem_system_write16(cpu, base + TSS16_REGS + 2 * i, (uint16_t)cpu->reg[i]);
    }
    for (unsigned i = 0; ok && i < FS; i++) {
        ok = mem_system_write16(cpu, base + TSS16_SEGS + 2 * i, cpu->seg[i].selector);
    }
    return ok;
}

/* Sets or clears the busy bit of a TSS descriptor at a linear address. */
static bool mark_busy(Cpu *cpu, uint32_t at, bool busy)
{
    uint8_t type;
    if (!mem_system_read8(cpu, at + 5, &type)) {
        return false;
    }
    type = busy ? type | DESC_TSS_BUSY_BIT : type & (uint8_t)~DESC_TSS_BUSY_BIT;
    return mem_system_write8(cpu, at + 5, type);
}

/* Every page that the switch will write, before it writes any. */
static bool pages_check(Cpu *cpu, const SegReg *new_tr, const Desc *d, TaskSource source)
{
    const SegReg *old = &cpu->seg[TR];
    bool old_32 = old->access & DESC_IS_32, new_32 = new_tr->access & DESC_IS_32;
    uint32_t old_at = cpu->gdtr.base + (old->selector & 0xfff8u);
    bool links = source == TASK_CALL || source == TASK_INT;
    return mem_system_check(cpu, new_tr->base, (new_32 ? TSS32_LIMIT : TSS16_LIMIT) + 1u, false) &&
           (!links || mem_system_check(cpu, new_tr->base, 2, true)) &&
           mem_system_check(cpu, old->base, (old_32 ? TSS32_LIMIT : TSS16_LIMIT) + 1u, true) &&
           mem_system_check(cpu, d->at, 8, source != TASK_IRET) &&
           ((source != TASK_JUMP && source != TASK_IRET) || mem_system_check(cpu, old_at, 8, true));
}

static Outcome load_ldt(Cpu *cpu, uint16_t selector, uint32_t ext)
{
    SegReg *ldt = &cpu->seg[LDTR];
    Desc d;
    ldt->selector = selector;
    ldt->access |= SEG_UNUSABLE;
    if (selector_null(selector)) {
        return X_NEXT;
    }
    if (selector & SELECTOR_TI) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    if (!desc_fetch(cpu, selector, VEC_TS, ext, &d)) {
        return X_FAULT;
    }
    if (desc_type(&d) != DESC_LDT || !desc_present(&d)) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    desc_unpack(&d, selector, ldt);
    return X_NEXT;
}

static Outcome load_code(Cpu *cpu, uint16_t selector, uint32_t ext)
{
    Desc d;
    unsigned rpl = selector & SELECTOR_RPL;
    if (selector_null(selector)) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    if (!desc_fetch(cpu, selector, VEC_TS, ext, &d)) {
        return X_FAULT;
    }
    bool allowed = desc_conforming(&d) ? desc_dpl(&d) <= rpl : desc_dpl(&d) == rpl;
    if (!desc_code(&d) || !allowed) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    if (!desc_present(&d)) {
        return fault(cpu, VEC_NP, selector, ext);
    }
    if (!desc_mark_accessed(cpu, &d)) {
        return X_FAULT;
    }
    desc_unpack(&d, selector, &cpu->seg[CS]);
    return X_NEXT;
}

static Outcome load_data(Cpu *cpu, SegIndex seg, uint16_t selector, uint32_t ext)
{
    Desc d;
    unsigned rpl = selector & SELECTOR_RPL;
    if (selector_null(selector)) {
        return X_NEXT;
    }
    if (!desc_fetch(cpu, selector, VEC_TS, ext, &d)) {
        return X_FAULT;
    }
    bool any_level = desc_code(&d) && desc_conforming(&d);
    if (!desc_readable(&d) || (!any_level && (rpl > desc_dpl(&d) || cpu->cpl > desc_dpl(&d)))) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    if (!desc_present(&d)) {
        return fault(cpu, VEC_NP, selector, ext);
    }
    if (!desc_mark_accessed(cpu, &d)) {
        return X_FAULT;
    }
    desc_unpack(&d, selector, &cpu->seg[seg]);
    return X_NEXT;
}

/* The new task's segments; a fault is the new task's. */
static Outcome load_segments(Cpu *cpu, const Task *t, uint32_t ext)
{
    static const SegIndex data[] = {ES, DS, FS, GS};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i].selector = t->seg[i];
        cpu->seg[i].access |= SEG_UNUSABLE;
    }
    if (load_ldt(cpu, t->ldt, ext) == X_FAULT) {
        return X_FAULT;
    }
    if (cpu_v86(cpu)) {
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            seg_set_v86(&cpu->seg[i], t->seg[i]);
        }
        return X_NEXT;
    }
    if (load_code(cpu, t->seg[CS], ext) == X_FAULT ||
        !seg_stack_check(cpu, t->seg[SS], cpu->cpl, VEC_TS, ext, &cpu->seg[SS])) {
        return X_FAULT;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (load_data(cpu, data[i], t->seg[data[i]], ext) == X_FAULT) {
            return X_FAULT;
        }
    }
    return X_NEXT;
}

static bool load_cr3(Cpu *cpu, uint32_t cr3)
{
    uint64_t pdpte[4];
    if (cpu->cr4 & CR4_PAE) {
        if (!mmu_load_pdptes(cpu, cr3, pdpte)) {
            cpu_fault_code(cpu, VEC_GP, 0);
            return false;
        }
        memcpy(cpu->pdpte, pdpte, sizeof(pdpte));
    }
    if (cpu->cr3 != cr3) {
        cpu->cr3 = cr3;
        mem_flush(cpu, false);
    }
    return true;
}

/* Registers of the new task; from here on faults are its own. */
static Outcome enter_task(Cpu *cpu, const Task *t, bool is_32, uint32_t ext)
{
    memcpy(cpu->reg, t->reg, sizeof(t->reg));
    cpu->eip = t->eip;
    cpu_set_eflags(cpu, t->eflags);
    cpu->cpl = cpu_v86(cpu) ? 3 : t->seg[CS] & SELECTOR_RPL;
    cpu->cr0 |= CR0_TS;
    cpu->step_trap = false;
    cpu->shadow = 0;
    if (cpu->dr7 & DR7_LOCAL) {
        cpu->dr7 &= ~(uint32_t)DR7_LOCAL;
        mem_flush(cpu, true);
    }
    if (t->trap) {
        cpu->pending_dr6 |= DR6_BT;
    }
    if (is_32 && cpu->cr0 & CR0_PG && !load_cr3(cpu, t->cr3)) {
        return X_FAULT;
    }
    return load_segments(cpu, t, ext);
}

static Outcome push_error_code(Cpu *cpu, uint32_t error_code, bool is_32)
{
    Stack stack = stack_current(cpu);
    if (!stack_push(cpu, &stack, error_code, is_32 ? 4 : 2)) {
        return X_FAULT;
    }
    stack_commit(cpu, &stack);
    return X_STOP;
}

/* Old state out, links and busy bits: all pages are known to be writable. */
static bool leave_task(Cpu *cpu, const Desc *d, const SegReg *tr, TaskSource source,
                       uint32_t return_eip)
{
    bool nested = source == TASK_CALL || source == TASK_INT;
    uint32_t eflags = cpu_eflags(cpu);
    uint32_t old_at = cpu->gdtr.base + (cpu->seg[TR].selector & 0xfff8u);
    if (source == TASK_IRET) {
        eflags &= ~(uint32_t)FL_NT;
    }
    return save_task(cpu, return_eip, eflags) && (nested || mark_busy(cpu, old_at, false)) &&
           (!nested || mem_system_write16(cpu, tr->base, cpu->seg[TR].selector)) &&
           (source == TASK_IRET || mark_busy(cpu, d->at, true));
}

Outcome task_switch(Cpu *cpu, uint16_t selector, TaskSource source, bool has_error_code,
                    uint32_t error_code, uint32_t return_eip, uint32_t ext)
{
    Desc d;
    SegReg tr;
    Task task = {0};
    if (!tss_open(cpu, selector, source, ext, &d)) {
        return X_FAULT;
    }
    desc_unpack(&d, selector, &tr);
    bool is_32 = tr.access & DESC_IS_32;
    if (tr.limit < (is_32 ? TSS32_LIMIT : TSS16_LIMIT)) {
        return fault(cpu, VEC_TS, selector, ext);
    }
    bool read = pages_check(cpu, &tr, &d, source) &&
                (is_32 ? read_task_32(cpu, tr.base, &task) : read_task_16(cpu, tr.base, &task));
    if (!read || !leave_task(cpu, &d, &tr, source, return_eip)) {
        return X_FAULT;
    }
    if (source == TASK_CALL || source == TASK_INT) {
        task.eflags |= FL_NT;
    }
    tr.access |= DESC_TSS_BUSY_BIT;
    cpu->seg[TR] = tr;
    if (enter_task(cpu, &task, is_32, ext) == X_FAULT) {
        return X_FAULT;
    }
    return has_error_code ? push_error_code(cpu, error_code, is_32) : X_STOP;
}

/* All ports are free: nobody asks the bitmap. */
static bool io_free(const Cpu *cpu)
{
    return cpu_real_mode(cpu) || (!cpu_v86(cpu) && cpu->cpl <= cpu_iopl(cpu));
}

Outcome io_check(Cpu *cpu, uint16_t port, unsigned bytes)
{
    const SegReg *tr = &cpu->seg[TR];
    uint16_t map, bits;
    if (io_free(cpu)) {
        return X_NEXT;
    }
    bool is_32 = (tr->access & 0xf) == DESC_TSS32_BUSY || (tr->access & 0xf) == DESC_TSS32;
    if (!is_32 || tr->access & SEG_UNUSABLE || tr->limit < TSS32_LIMIT) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!mem_system_read16(cpu, tr->base + TSS32_IO_MAP, &map)) {
        return X_FAULT;
    }
    uint32_t at = map + port / 8u;
    if (at + 1 > tr->limit) { /* two bytes are read, whatever the width */
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!mem_system_read16(cpu, tr->base + at, &bits)) {
        return X_FAULT;
    }
    uint32_t wanted = (1u << bytes) - 1;
    return bits >> (port & 7) & wanted ? cpu_fault_code(cpu, VEC_GP, 0) : X_NEXT;
}

/* The two bytes at a linear address, on one page that the TLB knows as plain memory. Else NULL. */
static const uint8_t *system_word(const Cpu *cpu, uint32_t linear)
{
    const TlbEntry *entry = &cpu->tlb->hot[0][tlb_index(linear)];
    bool inside = (linear & ~PAGE_MASK) < ~PAGE_MASK;
    return inside && entry->read == (linear & PAGE_MASK) ? mem_host(entry, linear) : NULL;
}

bool io_check_apart(const Cpu *cpu, uint16_t port, const uint8_t *host)
{
    uint32_t tss = cpu->seg[TR].base;
    uint16_t map;
    if (io_free(cpu)) {
        return true;
    }
    const uint8_t *place = system_word(cpu, tss + TSS32_IO_MAP);
    if (!place) {
        return false;
    }
    memcpy(&map, place, sizeof(map));
    const uint8_t *bits = system_word(cpu, tss + map + port / 8u);
    const uint8_t *page = host - ((uintptr_t)host & ~PAGE_MASK);
    return bits && (uintptr_t)(place - page) > ~PAGE_MASK && (uintptr_t)(bits - page) > ~PAGE_MASK;
}
