/* Interrupts and exceptions: delivery through IVT and IDT, double and triple faults, and what is
 * taken between two instructions in which order.
 *
 * SDM vol. 3, chapter 6 and 20.3 (virtual-8086 mode); vol. 2, INT n. Delivery checks and pushes
 * everything before a register changes. Not modelled: machine checks, FLUSH#, STOPCLK#.
 */
#include "cpu-accel/x86/idle.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"
#include "machine/core/log.h"

LOG_TAG("cpu");

enum {
    TSS_IO_MAP = 0x66,
    DELIVERY_TRIES = 8, /* more than any chain of faults can be long */
};

typedef struct Interrupt {
    uint8_t vector;
    IntSource source;
    bool has_error_code;
    uint32_t error_code, return_eip;
    uint32_t ext;   /* of error codes that delivery itself causes */
    uint32_t flags; /* the image to push */
} Interrupt;

/* The frame's EFLAGS: RF is set for faults, so that the restarted instruction does not hit its
 * breakpoint again (SDM vol. 3, 17.3.1.1). */
static uint32_t flags_image(const Cpu *cpu, uint8_t vector, IntSource source)
{
    uint32_t flags = cpu_eflags(cpu);
    return source == INT_FAULT && vector != VEC_DB ? flags | FL_RF : flags;
}

static void entered(Cpu *cpu, uint32_t clear)
{
    flags_load(cpu, 0, clear);
    cpu->step_trap = false;
    cpu->shadow = 0;
}

static Outcome deliver_real(Cpu *cpu, const Interrupt *in)
{
    uint32_t at = in->vector * 4u;
    uint16_t offset, selector;
    Stack stack = stack_current(cpu);
    if (at + 3 > cpu->idtr.limit) {
        return cpu_fault_code(cpu, VEC_GP, at * 2 + ERROR_IDT + in->ext);
    }
    if (!mem_system_read16(cpu, cpu->idtr.base + at, &offset) ||
        !mem_system_read16(cpu, cpu->idtr.base + at + 2, &selector) ||
        !stack_room(cpu, &stack, 6) || !stack_push(cpu, &stack, in->flags & 0xffff, 2) ||
        !stack_push(cpu, &stack, cpu->seg[CS].selector, 2) ||
        !stack_push(cpu, &stack, in->return_eip, 2)) {
        return X_FAULT;
    }
    if (offset > cpu->seg[CS].limit) {
        return cpu_fault_code(cpu, VEC_GP, in->ext);
    }
    stack_commit(cpu, &stack);
    seg_load_real(cpu, CS, selector);
    cpu->eip = offset;
    entered(cpu, FL_IF | FL_TF | FL_RF | FL_AC);
    return X_STOP;
}

/* Reads and checks the gate of a vector. */
static bool gate_open(Cpu *cpu, const Interrupt *in, Desc *gate)
{
    uint32_t error = in->vector * 8u + ERROR_IDT + in->ext;
    bool software = in->source == INT_SOFT || in->source == INT_SOFT_BP_OF;
    if (in->vector * 8u + 7 > cpu->idtr.limit) {
        cpu_fault_code(cpu, VEC_GP, error);
        return false;
    }
    gate->at = cpu->idtr.base + in->vector * 8u;
    if (!mem_system_read32(cpu, gate->at, &gate->low) ||
        !mem_system_read32(cpu, gate->at + 4, &gate->high)) {
        return false;
    }
    unsigned type = desc_type(gate);
    bool known = type == DESC_TASK_GATE || type == DESC_INT16 || type == DESC_TRAP16 ||
                 type == DESC_INT32 || type == DESC_TRAP32;
    if (!known || (software && desc_dpl(gate) < cpu->cpl)) {
        cpu_fault_code(cpu, VEC_GP, error);
        return false;
    }
    if (!desc_present(gate)) {
        cpu_fault_code(cpu, VEC_NP, error);
        return false;
    }
    return true;
}

/* The handler's code segment: fetched and checked; *cpl is the level it runs at. */
static bool handler_open(Cpu *cpu, const Interrupt *in, uint16_t selector, Desc *d, unsigned *cpl)
{
    if (selector_null(selector)) {
        cpu_fault_code(cpu, VEC_GP, in->ext);
        return false;
    }
    if (!desc_fetch(cpu, selector, VEC_GP, in->ext, d)) {
        return false;
    }
    *cpl = desc_conforming(d) ? cpu->cpl : desc_dpl(d);
    if (!desc_code(d) || desc_dpl(d) > cpu->cpl || (cpu_v86(cpu) && *cpl != 0)) {
        cpu_fault_code(cpu, VEC_GP, selector_error(selector, in->ext));
        return false;
    }
    if (!desc_present(d)) {
        cpu_fault_code(cpu, VEC_NP, selector_error(selector, in->ext));
        return false;
    }
    return true;
}

/* The stack that the frame goes to. */
static bool handler_stack(Cpu *cpu, const Interrupt *in, unsigned cpl, Stack *stack)
{
    uint16_t ss;
    *stack = stack_current(cpu);
    stack->error_code = in->ext;
    if (cpl == cpu->cpl) {
        return true;
    }
    stack->user = false;
    if (!tss_stack(cpu, cpl, in->ext, &ss, &stack->esp) ||
        !seg_stack_check(cpu, ss, cpl, VEC_TS, in->ext, &stack->ss)) {
        return false;
    }
    stack->error_code = selector_error(ss, in->ext);
    return true;
}

static bool push_frame(Cpu *cpu, const Interrupt *in, unsigned cpl, unsigned size, Stack *stack)
{
    static const SegIndex order[] = {GS, FS, DS, ES};
    bool inner = cpl != cpu->cpl;
    unsigned words = 3 + (inner ? 2 : 0) + (cpu_v86(cpu) ? 4 : 0) + in->has_error_code;
    if (!stack_room(cpu, stack, words * size)) {
        return false;
    }
    for (unsigned i = 0; cpu_v86(cpu) && i < 4; i++) {
        if (!stack_push(cpu, stack, cpu->seg[order[i]].selector, size)) {
            return false;
        }
    }
    if (inner && (!stack_push(cpu, stack, cpu->seg[SS].selector, size) ||
                  !stack_push(cpu, stack, cpu->reg[ESP], size))) {
        return false;
    }
    return stack_push(cpu, stack, in->flags, size) &&
           stack_push(cpu, stack, cpu->seg[CS].selector, size) &&
           stack_push(cpu, stack, in->return_eip, size) &&
           (!in->has_error_code || stack_push(cpu, stack, in->error_code, size));
}

static void leave_v86(Cpu *cpu)
{
    static const SegIndex data[] = {ES, DS, FS, GS};
    for (unsigned i = 0; i < 4; i++) {
        cpu->seg[data[i]].selector = 0;
        cpu->seg[data[i]].access |= SEG_UNUSABLE;
    }
}

static Outcome deliver_protected(Cpu *cpu, const Interrupt *in)
{
    Desc gate, d;
    Stack stack;
    SegReg code;
    unsigned cpl;
    if (!gate_open(cpu, in, &gate)) {
        return X_FAULT;
    }
    uint16_t selector = (uint16_t)(gate.low >> 16);
    unsigned type = desc_type(&gate);
    if (type == DESC_TASK_GATE) {
        return task_switch(cpu, selector, TASK_INT, in->has_error_code, in->error_code,
                           in->return_eip, in->ext);
    }
    unsigned size = type & DESC_IS_32 ? 4 : 2;
    uint32_t offset = (gate.low & 0xffff) | (size == 4 ? gate.high & 0xffff0000u : 0);
    if (!handler_open(cpu, in, selector, &d, &cpl) || !handler_stack(cpu, in, cpl, &stack)) {
        return X_FAULT;
    }
    desc_unpack(&d, (uint16_t)((selector & ~SELECTOR_RPL) | cpl), &code);
    if (offset > code.limit) {
        return cpu_fault_code(cpu, VEC_GP, in->ext);
    }
    if (!push_frame(cpu, in, cpl, size, &stack) || !desc_mark_accessed(cpu, &d)) {
        return X_FAULT;
    }
    code.access |= SEG_ACCESSED;
    if (cpu_v86(cpu)) {
        leave_v86(cpu);
    }
    stack_switch(cpu, &stack);
    seg_set_code(cpu, &code, (uint8_t)cpl);
    cpu->eip = offset;
    bool disable = type == DESC_INT16 || type == DESC_INT32;
    entered(cpu, FL_TF | FL_NT | FL_RF | FL_VM | (disable ? FL_IF : 0));
    return X_STOP;
}

Outcome int_deliver(Cpu *cpu, uint8_t vector, IntSource source, bool has_error_code,
                    uint32_t error_code, uint32_t return_eip)
{
    Interrupt in = {
        .vector = vector,
        .source = source,
        .has_error_code = has_error_code,
        .error_code = error_code,
        .return_eip = return_eip,
        .ext = source == INT_SOFT || source == INT_SOFT_BP_OF ? 0 : ERROR_EXT,
        .flags = flags_image(cpu, vector, source),
    };
    return cpu_real_mode(cpu) ? deliver_real(cpu, &in) : deliver_protected(cpu, &in);
}

/* Classes of SDM vol. 3, table 6-4. */
typedef enum FaultClass { BENIGN, CONTRIBUTORY, PAGE, DOUBLE } FaultClass;

static FaultClass class_of(uint8_t vector)
{
    switch (vector) {
    case VEC_DE:
    case VEC_TS:
    case VEC_NP:
    case VEC_SS:
    case VEC_GP:
        return CONTRIBUTORY;
    case VEC_PF:
        return PAGE;
    case VEC_DF:
        return DOUBLE;
    default:
        return BENIGN;
    }
}

void int_shutdown(Cpu *cpu)
{
    log_guest("shutdown at %04x:%08x, cr2 0x%x", cpu->seg[CS].selector, cpu->eip, cpu->cr2);
    cpu->activity = CPU_SHUTDOWN;
    cpu->shadow = 0;
    line_pulse(&cpu->pins->shutdown);
}

/* What a fault leaves behind in registers, whether or not its handler is reached. */
static void fault_registers(Cpu *cpu, const Fault *fault)
{
    if (fault->vector == VEC_PF) {
        cpu->cr2 = fault->cr2;
    } else if (fault->vector == VEC_DB) {
        cpu->dr6 |= fault->dr6;
        cpu->dr7 &= ~(uint32_t)DR7_GD;
    }
}

/* Goes on delivering after a first event of class `first` has left cpu->fault behind. */
static void deliver_chain(Cpu *cpu, FaultClass first)
{
    for (unsigned tries = 0; tries < DELIVERY_TRIES; tries++) {
        Fault fault = cpu->fault;
        FaultClass second = class_of(fault.vector);
        fault_registers(cpu, &fault);
        if (first == DOUBLE) {
            int_shutdown(cpu);
            return;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE && (second == CONTRIBUTORY || second == PAGE))) {
            fault = (Fault){.vector = VEC_DF, .has_error_code = true};
            second = DOUBLE;
        }
        if (int_deliver(cpu, fault.vector, INT_FAULT, fault.has_error_code, fault.error_code,
                        cpu->eip) != X_FAULT) {
            return;
        }
        first = second;
    }
    int_shutdown(cpu);
}

void int_deliver_fault(Cpu *cpu)
{
    /* Data breakpoints of an instruction that did not complete are met again when it restarts. */
    cpu->pending_dr6 &= ~0xfu;
    deliver_chain(cpu, BENIGN);
}

/* VME: is this vector left to the virtual-8086 program's own IVT? Bit clear in the redirection map
 * below the I/O map (SDM vol. 3, 20.3.3). */
static bool redirected(Cpu *cpu, uint8_t vector, bool *redirect)
{
    const SegReg *tr = &cpu->seg[TR];
    uint16_t map;
    uint8_t bits;
    if (tr->limit < TSS_IO_MAP + 1) {
        cpu_fault_code(cpu, VEC_GP, 0);
        return false;
    }
    if (!mem_system_read16(cpu, tr->base + TSS_IO_MAP, &map)) {
        return false;
    }
    uint32_t at = map - 32u + vector / 8;
    if (map < 32 || at > tr->limit) {
        cpu_fault_code(cpu, VEC_GP, 0);
        return false;
    }
    if (!mem_system_read8(cpu, tr->base + at, &bits)) {
        return false;
    }
    *redirect = !(bits >> (vector & 7) & 1);
    return true;
}

/* A redirected INT n: as real mode does it, on the program's own stack. */
static Outcome deliver_v86(Cpu *cpu, uint8_t vector, uint32_t return_eip)
{
    uint16_t offset, selector;
    Stack stack = stack_current(cpu);
    uint32_t image = cpu_eflags(cpu) & 0xffff;
    bool virtual_if = cpu_iopl(cpu) < 3;
    if (virtual_if) {
        image = (image & ~(uint32_t)FL_IF) | FL_IOPL | (cpu->eflags & FL_VIF ? FL_IF : 0);
    }
    if (!mem_linear_read(cpu, vector * 4u, &offset, 2, true) ||
        !mem_linear_read(cpu, vector * 4u + 2, &selector, 2, true) || !stack_room(cpu, &stack, 6) ||
        !stack_push(cpu, &stack, image, 2) || !stack_push(cpu, &stack, cpu->seg[CS].selector, 2) ||
        !stack_push(cpu, &stack, return_eip, 2)) {
        return X_FAULT;
    }
    stack_commit(cpu, &stack);
    seg_load_real(cpu, CS, selector);
    cpu->eip = offset;
    entered(cpu, FL_TF | FL_NT | FL_RF | (virtual_if ? FL_VIF : FL_IF));
    return X_STOP;
}

Outcome int_software(Cpu *cpu, uint8_t vector, uint32_t return_eip)
{
    if (cpu_v86_or_real(cpu)) {
        idle_software_int(cpu, vector);
    }
    if (cpu_v86(cpu)) {
        bool redirect = false;
        if (cpu->cr4 & CR4_VME && !redirected(cpu, vector, &redirect)) {
            return X_FAULT;
        }
        if (redirect) {
            return deliver_v86(cpu, vector, return_eip);
        }
        if (cpu_iopl(cpu) < 3) {
            return cpu_fault_code(cpu, VEC_GP, 0);
        }
    }
    return int_deliver(cpu, vector, INT_SOFT, false, 0, return_eip);
}

static void deliver_external(Cpu *cpu, uint8_t vector)
{
    cpu->activity = CPU_RUNNING;
    if (int_deliver(cpu, vector, INT_HARDWARE, false, 0, cpu->eip) == X_FAULT) {
        deliver_chain(cpu, BENIGN);
    }
}

static bool nmi_ready(const Cpu *cpu)
{
    return cpu->nmi_pending && !cpu->nmi_blocked;
}

static bool intr_ready(const Cpu *cpu)
{
    return cpu->intr && cpu->eflags & FL_IF && cpu->activity != CPU_SHUTDOWN;
}

bool int_waiting(const Cpu *cpu)
{
    return (cpu->init_pending && !cpu->smm) || (cpu->smi_pending && !cpu->smm) ||
           (cpu->pending_dr6 && cpu->activity != CPU_SHUTDOWN) || nmi_ready(cpu) || intr_ready(cpu);
}

/* SDM vol. 3, table 6-2. MOV SS holds back all but INIT, STI only INTR. */
bool int_poll(Cpu *cpu)
{
    if (cpu->init_pending && !cpu->smm) {
        cpu_init_reset(cpu);
        return true;
    }
    if (cpu->shadow & SHADOW_MOV_SS) {
        return false;
    }
    if (cpu->smi_pending && !cpu->smm) {
        cpu->smi_pending = false;
        smm_enter(cpu);
        return true;
    }
    if (cpu->pending_dr6 && cpu->activity != CPU_SHUTDOWN) {
        cpu->fault = (Fault){.vector = VEC_DB, .dr6 = cpu->pending_dr6};
        cpu->pending_dr6 = 0;
        cpu->activity = CPU_RUNNING;
        int_deliver_fault(cpu);
        return true;
    }
    if (nmi_ready(cpu)) {
        cpu->nmi_pending = false;
        cpu->nmi_blocked = true;
        deliver_external(cpu, VEC_NMI);
        return true;
    }
    if (intr_ready(cpu) && !(cpu->shadow & SHADOW_STI)) {
        uint8_t vector = cpu->pins->acknowledge ? cpu->pins->acknowledge(cpu->pins->self) : 0xff;
        deliver_external(cpu, vector);
        return true;
    }
    return false;
}
