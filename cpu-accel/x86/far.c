/* Far transfers: JMP, CALL, RET and IRET between segments, through call gates and to tasks.
 *
 * SDM vol. 2 (each instruction's pseudo-code) and vol. 3, 5.8. Everything is checked and pushed
 * before the first register changes, so a fault leaves the instruction to be restarted.
 */
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"

/* Where a transfer goes. */
typedef struct Target {
    uint16_t selector;
    uint32_t offset;
    Desc desc;
} Target;

static Outcome gp(Cpu *cpu, uint16_t selector)
{
    return cpu_fault_code(cpu, VEC_GP, selector_error(selector, 0));
}

static Outcome not_present(Cpu *cpu, uint16_t selector)
{
    return cpu_fault_code(cpu, VEC_NP, selector_error(selector, 0));
}

/* Loads CS at level cpl and goes there. Faults: offset beyond the limit, table not writable. */
static bool code_prepare(Cpu *cpu, Target *t, unsigned cpl, SegReg *code)
{
    desc_unpack(&t->desc, (uint16_t)((t->selector & ~SELECTOR_RPL) | cpl), code);
    if (t->offset > code->limit) {
        cpu_fault_code(cpu, VEC_GP, 0);
        return false;
    }
    if (!desc_mark_accessed(cpu, &t->desc)) {
        return false;
    }
    code->access |= SEG_ACCESSED;
    return true;
}

static Outcome arrive(Cpu *cpu, const SegReg *code, unsigned cpl, uint32_t offset)
{
    seg_set_code(cpu, code, (uint8_t)cpl);
    cpu->eip = offset;
    return X_STOP;
}

static Outcome real_jump(Cpu *cpu, uint16_t selector, uint32_t offset)
{
    uint32_t limit = cpu_v86(cpu) ? 0xffff : cpu->seg[CS].limit;
    if (offset > limit) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    seg_load_real(cpu, CS, selector);
    cpu->eip = offset;
    return X_STOP;
}

/* Checks of a code segment named directly by JMP or CALL. */
static Outcome direct_check(Cpu *cpu, const Target *t)
{
    unsigned dpl = desc_dpl(&t->desc), rpl = t->selector & SELECTOR_RPL;
    bool allowed = desc_conforming(&t->desc) ? dpl <= cpu->cpl : rpl <= cpu->cpl && dpl == cpu->cpl;
    if (!allowed) {
        return gp(cpu, t->selector);
    }
    return desc_present(&t->desc) ? X_NEXT : not_present(cpu, t->selector);
}

/* Task gate or TSS named by JMP or CALL. */
static Outcome to_task(Cpu *cpu, const Target *t, TaskSource source, uint32_t return_eip)
{
    unsigned dpl = desc_dpl(&t->desc), rpl = t->selector & SELECTOR_RPL;
    uint16_t tss = t->selector;
    if (dpl < cpu->cpl || dpl < rpl) {
        return gp(cpu, t->selector);
    }
    if (desc_type(&t->desc) == DESC_TASK_GATE) {
        if (!desc_present(&t->desc)) {
            return not_present(cpu, t->selector);
        }
        tss = (uint16_t)(t->desc.low >> 16);
    }
    return task_switch(cpu, tss, source, false, 0, return_eip, 0);
}

/* Reads what a call gate leads to. `gate` keeps the gate; X_NEXT when all is well. */
static Outcome through_gate(Cpu *cpu, Target *t, bool jump, Desc *gate)
{
    unsigned rpl = t->selector & SELECTOR_RPL;
    *gate = t->desc;
    if (desc_dpl(gate) < cpu->cpl || desc_dpl(gate) < rpl) {
        return gp(cpu, t->selector);
    }
    if (!desc_present(gate)) {
        return not_present(cpu, t->selector);
    }
    t->selector = (uint16_t)(gate->low >> 16);
    t->offset = gate->low & 0xffff;
    if (desc_type(gate) == DESC_CALL32) {
        t->offset |= gate->high & 0xffff0000u;
    }
    if (selector_null(t->selector)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!desc_fetch(cpu, t->selector, VEC_GP, 0, &t->desc)) {
        return X_FAULT;
    }
    unsigned dpl = desc_dpl(&t->desc);
    bool same = jump && !desc_conforming(&t->desc);
    if (!desc_code(&t->desc) || (same ? dpl != cpu->cpl : dpl > cpu->cpl)) {
        return gp(cpu, t->selector);
    }
    return desc_present(&t->desc) ? X_NEXT : not_present(cpu, t->selector);
}

/* Fetches the descriptor that a far pointer names. */
static Outcome target_open(Cpu *cpu, Target *t, uint16_t selector, uint32_t offset)
{
    t->selector = selector;
    t->offset = offset;
    if (selector_null(selector)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    return desc_fetch(cpu, selector, VEC_GP, 0, &t->desc) ? X_NEXT : X_FAULT;
}

static bool is_call_gate(const Desc *d)
{
    return desc_type(d) == DESC_CALL16 || desc_type(d) == DESC_CALL32;
}

static bool is_task(const Desc *d)
{
    return desc_type(d) == DESC_TASK_GATE || desc_tss(d);
}

Outcome far_jump(Cpu *cpu, uint16_t selector, uint32_t offset, unsigned opsize, uint32_t return_eip)
{
    (void)opsize;
    if (cpu_v86_or_real(cpu)) {
        return real_jump(cpu, selector, offset);
    }
    Target t;
    Outcome outcome = target_open(cpu, &t, selector, offset);
    if (outcome != X_NEXT) {
        return outcome;
    }
    if (desc_code(&t.desc)) {
        outcome = direct_check(cpu, &t);
    } else if (is_call_gate(&t.desc)) {
        Desc gate;
        outcome = through_gate(cpu, &t, true, &gate);
    } else if (is_task(&t.desc)) {
        return to_task(cpu, &t, TASK_JUMP, return_eip);
    } else {
        return gp(cpu, selector);
    }
    SegReg code;
    if (outcome != X_NEXT || !code_prepare(cpu, &t, cpu->cpl, &code)) {
        return X_FAULT;
    }
    return arrive(cpu, &code, cpu->cpl, t.offset);
}

/* A call that stays at its level: old CS and EIP on the current stack. */
static Outcome call_same(Cpu *cpu, Target *t, unsigned size, uint32_t return_eip)
{
    Stack stack = stack_current(cpu);
    SegReg code;
    if (!stack_room(cpu, &stack, 2 * size) || !code_prepare(cpu, t, cpu->cpl, &code) ||
        !stack_push(cpu, &stack, cpu->seg[CS].selector, size) ||
        !stack_push(cpu, &stack, return_eip, size)) {
        return X_FAULT;
    }
    stack_commit(cpu, &stack);
    return arrive(cpu, &code, cpu->cpl, t->offset);
}

/* A call gate's parameters, from the caller's stack to the new one. */
static bool copy_parameters(Cpu *cpu, Stack *stack, unsigned count, unsigned size)
{
    Stack old = stack_current(cpu);
    uint32_t value[32];
    for (unsigned i = 0; i < count; i++) {
        if (!stack_pop(cpu, &old, &value[i], size)) {
            return false;
        }
    }
    while (count-- > 0) {
        if (!stack_push(cpu, stack, value[count], size)) {
            return false;
        }
    }
    return true;
}

/* A call to an inner level: the stack comes from the TSS. */
static Outcome call_inner(Cpu *cpu, Target *t, const Desc *gate, uint32_t return_eip)
{
    unsigned size = desc_type(gate) == DESC_CALL32 ? 4 : 2;
    unsigned count = gate->high & 31;
    unsigned cpl = desc_dpl(&t->desc);
    uint16_t ss;
    SegReg code;
    Stack stack = {.user = false};
    if (!tss_stack(cpu, cpl, 0, &ss, &stack.esp) ||
        !seg_stack_check(cpu, ss, cpl, VEC_TS, 0, &stack.ss)) {
        return X_FAULT;
    }
    stack.error_code = selector_error(ss, 0);
    if (!stack_room(cpu, &stack, (4 + count) * size) || !code_prepare(cpu, t, cpl, &code) ||
        !stack_push(cpu, &stack, cpu->seg[SS].selector, size) ||
        !stack_push(cpu, &stack, cpu->reg[ESP], size) ||
        !copy_parameters(cpu, &stack, count, size) ||
        !stack_push(cpu, &stack, cpu->seg[CS].selector, size) ||
        !stack_push(cpu, &stack, return_eip, size)) {
        return X_FAULT;
    }
    stack_switch(cpu, &stack);
    return arrive(cpu, &code, cpl, t->offset);
}

static Outcome real_call(Cpu *cpu, uint16_t selector, uint32_t offset, unsigned opsize,
                         uint32_t return_eip)
{
    Stack stack = stack_current(cpu);
    if (!stack_room(cpu, &stack, 2 * opsize)) {
        return X_FAULT;
    }
    if (offset > (cpu_v86(cpu) ? 0xffff : cpu->seg[CS].limit)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!stack_push(cpu, &stack, cpu->seg[CS].selector, opsize) ||
        !stack_push(cpu, &stack, return_eip, opsize)) {
        return X_FAULT;
    }
    stack_commit(cpu, &stack);
    return real_jump(cpu, selector, offset);
}

Outcome far_call(Cpu *cpu, uint16_t selector, uint32_t offset, unsigned opsize, uint32_t return_eip)
{
    if (cpu_v86_or_real(cpu)) {
        return real_call(cpu, selector, offset, opsize, return_eip);
    }
    Target t;
    Outcome outcome = target_open(cpu, &t, selector, offset);
    if (outcome != X_NEXT) {
        return outcome;
    }
    if (desc_code(&t.desc)) {
        outcome = direct_check(cpu, &t);
        return outcome == X_NEXT ? call_same(cpu, &t, opsize, return_eip) : outcome;
    }
    if (is_call_gate(&t.desc)) {
        Desc gate;
        outcome = through_gate(cpu, &t, false, &gate);
        if (outcome != X_NEXT) {
            return outcome;
        }
        if (!desc_conforming(&t.desc) && desc_dpl(&t.desc) < cpu->cpl) {
            return call_inner(cpu, &t, &gate, return_eip);
        }
        return call_same(cpu, &t, desc_type(&gate) == DESC_CALL32 ? 4 : 2, return_eip);
    }
    return is_task(&t.desc) ? to_task(cpu, &t, TASK_CALL, return_eip) : gp(cpu, selector);
}

/* The code segment that RET or IRET goes back to. */
static Outcome return_check(Cpu *cpu, Target *t)
{
    unsigned rpl = t->selector & SELECTOR_RPL;
    if (selector_null(t->selector)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (!desc_fetch(cpu, t->selector, VEC_GP, 0, &t->desc)) {
        return X_FAULT;
    }
    unsigned dpl = desc_dpl(&t->desc);
    bool allowed = desc_conforming(&t->desc) ? dpl <= rpl : dpl == rpl;
    if (!desc_code(&t->desc) || rpl < cpu->cpl || !allowed) {
        return gp(cpu, t->selector);
    }
    return desc_present(&t->desc) ? X_NEXT : not_present(cpu, t->selector);
}

static bool pop_target(Cpu *cpu, Stack *stack, Target *t, unsigned size)
{
    uint32_t selector;
    bool ok = stack_pop(cpu, stack, &t->offset, size) && stack_pop(cpu, stack, &selector, size);
    t->selector = ok ? (uint16_t)selector : 0;
    return ok;
}

/* Pops ESP and SS of an outer level and checks them. */
static bool pop_outer_stack(Cpu *cpu, Stack *stack, unsigned rpl, unsigned size, Stack *outer)
{
    uint32_t esp, ss;
    if (!stack_pop(cpu, stack, &esp, size) || !stack_pop(cpu, stack, &ss, size) ||
        !seg_stack_check(cpu, (uint16_t)ss, rpl, VEC_GP, 0, &outer->ss)) {
        return false;
    }
    outer->esp = esp;
    return true;
}

Outcome far_return(Cpu *cpu, unsigned opsize, uint16_t release_bytes)
{
    Stack stack = stack_current(cpu), outer = {.esp = 0};
    Target t;
    if (!pop_target(cpu, &stack, &t, opsize)) {
        return X_FAULT;
    }
    if (cpu_v86_or_real(cpu)) {
        Outcome outcome = real_jump(cpu, t.selector, t.offset);
        if (outcome != X_FAULT) {
            stack_add(&stack, release_bytes);
            stack_commit(cpu, &stack);
        }
        return outcome;
    }
    Outcome outcome = return_check(cpu, &t);
    if (outcome != X_NEXT) {
        return outcome;
    }
    unsigned rpl = t.selector & SELECTOR_RPL;
    bool leaving = rpl > cpu->cpl;
    stack_add(&stack, release_bytes);
    if (leaving && !pop_outer_stack(cpu, &stack, rpl, opsize, &outer)) {
        return X_FAULT;
    }
    SegReg code;
    if (!code_prepare(cpu, &t, rpl, &code)) {
        return X_FAULT;
    }
    if (!leaving) {
        stack_commit(cpu, &stack);
        return arrive(cpu, &code, rpl, t.offset);
    }
    stack_add(&outer, release_bytes);
    stack_switch(cpu, &outer);
    arrive(cpu, &code, rpl, t.offset);
    seg_drop_inner(cpu);
    return X_STOP;
}

/* What IRET may change in EFLAGS (SDM vol. 2, IRET). */
static uint32_t iret_mask(const Cpu *cpu, unsigned opsize)
{
    uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (opsize == 4) {
        mask |= FL_RF | FL_AC | FL_ID;
    }
    if (cpu->cpl <= cpu_iopl(cpu)) {
        mask |= FL_IF;
    }
    if (cpu->cpl == 0) {
        mask |= FL_IOPL | (opsize == 4 ? FL_VIF | FL_VIP : 0);
    }
    return mask;
}

static Outcome iret_real(Cpu *cpu, unsigned opsize)
{
    Stack stack = stack_current(cpu);
    Target t;
    uint32_t flags;
    if (!pop_target(cpu, &stack, &t, opsize) || !stack_pop(cpu, &stack, &flags, opsize)) {
        return X_FAULT;
    }
    uint32_t mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT;
    if (opsize == 4) {
        mask |= FL_RF | FL_AC | FL_ID;
    }
    bool virtual_if = false;
    if (cpu_v86(cpu)) {
        if (cpu_iopl(cpu) < 3) { /* far_iret saw that CR4.VME is set, and the operand size is 16 */
            if ((flags & FL_IF && cpu->eflags & FL_VIP) || flags & FL_TF) {
                return cpu_fault_code(cpu, VEC_GP, 0);
            }
            mask &= ~(uint32_t)FL_IF;
            virtual_if = true;
        }
    } else {
        mask |= FL_IOPL;
    }
    Outcome outcome = real_jump(cpu, t.selector, t.offset);
    if (outcome == X_FAULT) {
        return outcome;
    }
    stack_commit(cpu, &stack);
    flags_load(cpu, flags, mask);
    if (virtual_if) {
        flags_load(cpu, flags & FL_IF ? FL_VIF : 0, FL_VIF);
    }
    return X_STOP;
}

/* IRETD at level 0 with VM set in the image: six more words, then virtual-8086 mode. */
static Outcome iret_to_v86(Cpu *cpu, Stack *stack, const Target *t, uint32_t flags)
{
    static const SegIndex order[] = {SS, ES, DS, FS, GS};
    uint32_t esp, selector[5];
    if (!stack_pop(cpu, stack, &esp, 4)) {
        return X_FAULT;
    }
    for (unsigned i = 0; i < 5; i++) {
        if (!stack_pop(cpu, stack, &selector[i], 4)) {
            return X_FAULT;
        }
    }
    if (t->offset > 0xffff) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    cpu_set_eflags(cpu, flags);
    cpu->cpl = 3;
    seg_set_v86(&cpu->seg[CS], t->selector);
    for (unsigned i = 0; i < 5; i++) {
        seg_set_v86(&cpu->seg[order[i]], (uint16_t)selector[i]);
    }
    cpu->reg[ESP] = esp;
    cpu->eip = t->offset;
    return X_STOP;
}

static Outcome iret_protected(Cpu *cpu, unsigned opsize)
{
    Stack stack = stack_current(cpu), outer = {.esp = 0};
    Target t;
    uint32_t flags;
    if (!pop_target(cpu, &stack, &t, opsize) || !stack_pop(cpu, &stack, &flags, opsize)) {
        return X_FAULT;
    }
    if (opsize == 4 && flags & FL_VM && cpu->cpl == 0) {
        return iret_to_v86(cpu, &stack, &t, flags);
    }
    Outcome outcome = return_check(cpu, &t);
    if (outcome != X_NEXT) {
        return outcome;
    }
    unsigned rpl = t.selector & SELECTOR_RPL;
    bool leaving = rpl > cpu->cpl;
    SegReg code;
    if ((leaving && !pop_outer_stack(cpu, &stack, rpl, opsize, &outer)) ||
        !code_prepare(cpu, &t, rpl, &code)) {
        return X_FAULT;
    }
    flags_load(cpu, flags, iret_mask(cpu, opsize));
    if (!leaving) {
        stack_commit(cpu, &stack);
        return arrive(cpu, &code, rpl, t.offset);
    }
    stack_switch(cpu, &outer);
    arrive(cpu, &code, rpl, t.offset);
    seg_drop_inner(cpu);
    return X_STOP;
}

/* NT: back to the task that the link in the TSS names. */
static Outcome iret_task(Cpu *cpu, uint32_t return_eip)
{
    uint16_t link;
    if (!mem_system_read16(cpu, cpu->seg[TR].base, &link)) {
        return X_FAULT;
    }
    return task_switch(cpu, link, TASK_IRET, false, 0, return_eip, 0);
}

Outcome far_iret(Cpu *cpu, unsigned opsize, uint32_t return_eip)
{
    if (cpu_v86(cpu) && cpu_iopl(cpu) < 3 && (opsize == 4 || !(cpu->cr4 & CR4_VME))) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    cpu->nmi_blocked = false; /* even when it faults (SDM vol. 3, 6.7.1) */
    if (cpu_v86_or_real(cpu)) {
        return iret_real(cpu, opsize);
    }
    return cpu->eflags & FL_NT ? iret_task(cpu, return_eip) : iret_protected(cpu, opsize);
}
