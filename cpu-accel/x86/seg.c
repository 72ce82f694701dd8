/* Segment registers: descriptors and the checks of loading them; the stacks of far transfers.
 *
 * SDM vol. 3, 3.4 and 5.4 to 5.8. In real mode a load changes base and type but keeps limit and
 * size, so that a segment enlarged in protected mode stays so (unreal mode).
 */
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"

enum { DESC_ACCESSED = 0x100, REAL_DATA = SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED };

bool desc_fetch(Cpu *cpu, uint16_t selector, Vector vector, uint32_t ext, Desc *d)
{
    uint32_t base = cpu->gdtr.base, limit = cpu->gdtr.limit;
    bool usable = true;
    if (selector & SELECTOR_TI) {
        base = cpu->seg[LDTR].base;
        limit = cpu->seg[LDTR].limit;
        usable = !(cpu->seg[LDTR].access & SEG_UNUSABLE);
    }
    if (!usable || (selector | 7u) > limit) {
        cpu_fault_code(cpu, vector, selector_error(selector, ext));
        return false;
    }
    d->at = base + (selector & 0xfff8u);
    return mem_system_read32(cpu, d->at, &d->low) && mem_system_read32(cpu, d->at + 4, &d->high);
}

bool desc_mark_accessed(Cpu *cpu, Desc *d)
{
    if (d->high & DESC_ACCESSED) {
        return true;
    }
    d->high |= DESC_ACCESSED;
    return mem_system_write8(cpu, d->at + 5, (uint8_t)(d->high >> 8));
}

void desc_unpack(const Desc *d, uint16_t selector, SegReg *s)
{
    uint32_t limit = (d->low & 0xffff) | (d->high & 0xf0000);
    s->selector = selector;
    s->base = d->low >> 16 | (d->high & 0xff) << 16 | (d->high & 0xff000000u);
    s->access = d->high >> 8 & 0xf0ff;
    s->limit = s->access & SEG_GRANULARITY ? limit << 12 | 0xfff : limit;
}

bool seg_within(const SegReg *s, uint32_t offset, unsigned size)
{
    uint64_t last = (uint64_t)offset + size - 1;
    if (s->access & SEG_UNUSABLE) {
        return false;
    }
    if ((s->access & (SEG_CODE | SEG_EXPAND_DOWN)) == SEG_EXPAND_DOWN) {
        return offset > s->limit && last <= (s->access & SEG_BIG ? 0xffffffffu : 0xffffu);
    }
    return last <= s->limit;
}

void seg_set_v86(SegReg *s, uint16_t selector)
{
    *s = (SegReg){selector, REAL_DATA | SEG_DPL, (uint32_t)selector << 4, 0xffff};
}

void seg_load_real(Cpu *cpu, SegIndex seg, uint16_t selector)
{
    SegReg *s = &cpu->seg[seg];
    if (cpu_v86(cpu)) {
        seg_set_v86(s, selector);
        return;
    }
    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    s->access = (s->access & (SEG_BIG | SEG_GRANULARITY | SEG_AVL)) | REAL_DATA;
}

void seg_set_code(Cpu *cpu, const SegReg *code, uint8_t cpl)
{
    cpu->seg[CS] = *code;
    cpu->cpl = cpl;
}

static Outcome load_stack_segment(Cpu *cpu, uint16_t selector)
{
    SegReg s;
    if (selector_null(selector)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!seg_stack_check(cpu, selector, cpu->cpl, VEC_GP, 0, &s)) {
        return X_FAULT;
    }
    cpu->seg[SS] = s;
    return X_NEXT;
}

Outcome seg_load(Cpu *cpu, SegIndex seg, uint16_t selector)
{
    if (cpu_v86_or_real(cpu)) {
        seg_load_real(cpu, seg, selector);
        return X_NEXT;
    }
    if (seg == SS) {
        return load_stack_segment(cpu, selector);
    }
    SegReg *s = &cpu->seg[seg];
    if (selector_null(selector)) {
        s->selector = selector;
        s->access |= SEG_UNUSABLE;
        return X_NEXT;
    }
    Desc d;
    if (!desc_fetch(cpu, selector, VEC_GP, 0, &d)) {
        return X_FAULT;
    }
    unsigned rpl = selector & SELECTOR_RPL;
    bool any_level = desc_code(&d) && desc_conforming(&d);
    if (!desc_readable(&d) || (!any_level && (rpl > desc_dpl(&d) || cpu->cpl > desc_dpl(&d)))) {
        return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
    }
    if (!desc_present(&d)) {
        return cpu_fault_code(cpu, VEC_NP, selector_error(selector, 0));
    }
    if (!desc_mark_accessed(cpu, &d)) {
        return X_FAULT;
    }
    desc_unpack(&d, selector, s);
    return X_NEXT;
}

bool seg_stack_check(Cpu *cpu, uint16_t selector, unsigned dpl, Vector vector, uint32_t ext,
                     SegReg *s)
{
    Desc d;
    if (selector_null(selector)) {
        cpu_fault_code(cpu, vector, ext);
        return false;
    }
    if (!desc_fetch(cpu, selector, vector, ext, &d)) {
        return false;
    }
    if ((selector & SELECTOR_RPL) != dpl || desc_dpl(&d) != dpl || !desc_writable_data(&d)) {
        cpu_fault_code(cpu, vector, selector_error(selector, ext));
        return false;
    }
    if (!desc_present(&d)) {
        cpu_fault_code(cpu, VEC_SS, selector_error(selector, ext));
        return false;
    }
    if (!desc_mark_accessed(cpu, &d)) {
        return false;
    }
    desc_unpack(&d, selector, s);
    return true;
}

void seg_drop_inner(Cpu *cpu)
{
    static const SegIndex data[] = {ES, DS, FS, GS};
    for (unsigned i = 0; i < 4; i++) {
        SegReg *s = &cpu->seg[data[i]];
        bool conforming =
            (s->access & (SEG_CODE | SEG_EXPAND_DOWN)) == (SEG_CODE | SEG_EXPAND_DOWN);
        if (!(s->access & SEG_UNUSABLE) && !conforming &&
            (s->access & SEG_DPL) >> SEG_DPL_SHIFT < cpu->cpl) {
            s->selector = 0;
            s->access |= SEG_UNUSABLE;
        }
    }
}

bool tss_stack(Cpu *cpu, unsigned dpl, uint32_t ext, uint16_t *ss, uint32_t *esp)
{
    const SegReg *tr = &cpu->seg[TR];
    bool is_32 = tr->access & DESC_IS_32;
    uint32_t at = is_32 ? dpl * 8 + 4 : dpl * 4 + 2;
    if (at + (is_32 ? 5 : 3) > tr->limit) {
        cpu_fault_code(cpu, VEC_TS, selector_error(tr->selector, ext));
        return false;
    }
    if (is_32) {
        return mem_system_read32(cpu, tr->base + at, esp) &&
               mem_system_read16(cpu, tr->base + at + 4, ss);
    }
    uint16_t sp = 0;
    bool ok =
        mem_system_read16(cpu, tr->base + at, &sp) && mem_system_read16(cpu, tr->base + at + 2, ss);
    *esp = sp;
    return ok;
}

static uint32_t stack_mask(const Stack *stack)
{
    return stack->ss.access & SEG_BIG ? 0xffffffffu : 0xffffu;
}

Stack stack_current(const Cpu *cpu)
{
    return (Stack){cpu->seg[SS], cpu->reg[ESP], cpu->cpl == 3, 0};
}

bool stack_push(Cpu *cpu, Stack *stack, uint32_t value, unsigned size)
{
    uint32_t at = (stack->esp - size) & stack_mask(stack);
    if (!seg_within(&stack->ss, at, size)) {
        cpu_fault_code(cpu, VEC_SS, stack->error_code);
        return false;
    }
    if (!mem_linear_write(cpu, stack->ss.base + at, &value, size, stack->user)) {
        return false;
    }
    stack->esp = (stack->esp & ~stack_mask(stack)) | at;
    return true;
}

bool stack_pop(Cpu *cpu, Stack *stack, uint32_t *value, unsigned size)
{
    uint32_t at = stack->esp & stack_mask(stack);
    *value = 0;
    if (!seg_within(&stack->ss, at, size)) {
        cpu_fault_code(cpu, VEC_SS, stack->error_code);
        return false;
    }
    if (!mem_linear_read(cpu, stack->ss.base + at, value, size, stack->user)) {
        return false;
    }
    stack_add(stack, size);
    return true;
}

bool stack_room(Cpu *cpu, const Stack *stack, unsigned bytes)
{
    uint32_t at = (stack->esp - bytes) & stack_mask(stack);
    uint32_t top = (stack->esp - 1) & stack_mask(stack);
    /* a frame that wraps around the end of the segment is checked push by push */
    if (at <= top && !seg_within(&stack->ss, at, bytes)) {
        cpu_fault_code(cpu, VEC_SS, stack->error_code);
        return false;
    }
    return true;
}

void stack_add(Stack *stack, uint32_t bytes)
{
    uint32_t mask = stack_mask(stack);
    stack->esp = (stack->esp & ~mask) | ((stack->esp + bytes) & mask);
}

void stack_commit(Cpu *cpu, const Stack *stack)
{
    uint32_t mask = stack_mask(stack);
    cpu->reg[ESP] = (cpu->reg[ESP] & ~mask) | (stack->esp & mask);
}

void stack_switch(Cpu *cpu, const Stack *stack)
{
    cpu->seg[SS] = stack->ss;
    stack_commit(cpu, stack);
}

void flags_load(Cpu *cpu, uint32_t value, uint32_t mask)
{
    cpu_set_eflags(cpu, (cpu_eflags(cpu) & ~mask) | (value & mask));
}
