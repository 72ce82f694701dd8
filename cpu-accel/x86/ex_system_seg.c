/* Handlers: segment loads, far transfers, software interrupts, flags.
 *
 * SDM vol. 2. The work is in seg.c, far.c and interrupt.c; here operands are read, and virtual-8086
 * and protected-mode virtual interrupts decide who may touch IF (vol. 3, 20.3 and 20.4).
 */
#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/system.h"

static uint32_t next_eip(const Cpu *cpu, const Insn *in)
{
    return cpu->eip + in->length;
}

/* Done; the run loop must look at what has changed. */
static Outcome stop(Cpu *cpu, const Insn *in)
{
    cpu->eip = next_eip(cpu, in);
    return X_STOP;
}

static Outcome loaded(Cpu *cpu, const Insn *in, SegIndex seg, bool shadow)
{
    if (seg != SS) {
        return X_NEXT;
    }
    if (shadow) {
        cpu->shadow = SHADOW_MOV_SS;
    }
    return stop(cpu, in);
}

HANDLER(ex_pop_seg)
{
    uint32_t mask = ex_stack_mask(cpu), esp = cpu->reg[ESP];
    uint16_t selector = 0;
    uint32_t value = 0;
    bool popped = in->opsize == 4 ? mem_read32(cpu, SS, esp & mask, &value)
                                  : mem_read16(cpu, SS, esp & mask, &selector);
    if (in->opsize == 4) {
        selector = (uint16_t)value;
    }
    if (!popped || seg_load(cpu, (SegIndex)in->reg, selector) == X_FAULT) {
        return X_FAULT;
    }
    cpu->reg[ESP] = (esp & ~mask) | ((esp + in->opsize) & mask);
    return loaded(cpu, in, (SegIndex)in->reg, true);
}

HANDLER(ex_mov_sw_ew)
{
    uint16_t selector = REG16(in->rm);
    if (in->reg == CS || in->reg > GS) {
        return cpu_fault(cpu, VEC_UD);
    }
    if ((in->memory && !ex_load16(cpu, in, &selector)) ||
        seg_load(cpu, (SegIndex)in->reg, selector) == X_FAULT) {
        return X_FAULT;
    }
    return loaded(cpu, in, (SegIndex)in->reg, true);
}

/* A far pointer in memory. */
static bool load_pointer(Cpu *cpu, const Insn *in, uint16_t *selector, uint32_t *offset)
{
    uint32_t at = ex_address(cpu, in);
    SegIndex seg = (SegIndex)in->seg;
    uint16_t low;
    if (in->opsize == 4) {
        return mem_read32(cpu, seg, at, offset) && mem_read16(cpu, seg, at + 4, selector);
    }
    bool ok = mem_read16(cpu, seg, at, &low) && mem_read16(cpu, seg, at + 2, selector);
    *offset = ok ? low : 0;
    return ok;
}

static Outcome load_far(Cpu *cpu, const Insn *in, SegIndex seg)
{
    uint16_t selector;
    uint32_t offset;
    if (!load_pointer(cpu, in, &selector, &offset) || seg_load(cpu, seg, selector) == X_FAULT) {
        return X_FAULT;
    }
    if (in->opsize == 4) {
        REG32(in->reg) = offset;
    } else {
        REG16(in->reg) = (uint16_t)offset;
    }
    return loaded(cpu, in, seg, false);
}

HANDLER(ex_les)
{
    return load_far(cpu, in, ES);
}

HANDLER(ex_lds)
{
    return load_far(cpu, in, DS);
}

HANDLER(ex_lss)
{
    return load_far(cpu, in, SS);
}

HANDLER(ex_lfs)
{
    return load_far(cpu, in, FS);
}

HANDLER(ex_lgs)
{
    return load_far(cpu, in, GS);
}

static uint32_t pointer_offset(const Insn *in)
{
    return in->opsize == 4 ? in->imm : in->imm & 0xffff;
}

HANDLER(ex_jmp_ap)
{
    return far_jump(cpu, in->imm2, pointer_offset(in), in->opsize, next_eip(cpu, in));
}

HANDLER(ex_call_ap)
{
    return far_call(cpu, in->imm2, pointer_offset(in), in->opsize, next_eip(cpu, in));
}

HANDLER(ex_jmp_mp)
{
    uint16_t selector;
    uint32_t offset;
    if (!load_pointer(cpu, in, &selector, &offset)) {
        return X_FAULT;
    }
    return far_jump(cpu, selector, offset, in->opsize, next_eip(cpu, in));
}

HANDLER(ex_call_mp)
{
    uint16_t selector;
    uint32_t offset;
    if (!load_pointer(cpu, in, &selector, &offset)) {
        return X_FAULT;
    }
    return far_call(cpu, selector, offset, in->opsize, next_eip(cpu, in));
}

HANDLER(ex_retf)
{
    uint16_t release = in->op == OP_RETF_Iw ? (uint16_t)in->imm : 0;
    return far_return(cpu, in->opsize, release);
}

HANDLER(ex_iret)
{
    return far_iret(cpu, in->opsize, next_eip(cpu, in));
}

HANDLER(ex_int_ib)
{
    return int_software(cpu, (uint8_t)in->imm, next_eip(cpu, in));
}

HANDLER(ex_int3)
{
    return int_deliver(cpu, VEC_BP, INT_SOFT_BP_OF, false, 0, next_eip(cpu, in));
}

HANDLER(ex_into)
{
    if (!(cpu->arith & ARITH_OF)) {
        return X_NEXT;
    }
    return int_deliver(cpu, VEC_OF, INT_SOFT_BP_OF, false, 0, next_eip(cpu, in));
}

HANDLER(ex_icebp)
{
    return int_deliver(cpu, VEC_DB, INT_SOFT_ICEBP, false, 0, next_eip(cpu, in));
}

static SegReg flat_segment(uint16_t selector, bool code, unsigned dpl)
{
    return (SegReg){
        .selector = selector,
        .access = SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_BIG | SEG_GRANULARITY |
                  (code ? SEG_CODE : 0) | dpl << SEG_DPL_SHIFT,
        .limit = 0xffffffffu,
    };
}

HANDLER(ex_sysenter)
{
    (void)in;
    uint16_t selector = (uint16_t)(cpu->sysenter_cs & 0xfffc);
    if (cpu_real_mode(cpu) || !selector) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    flags_load(cpu, 0, FL_VM | FL_IF | FL_RF);
    SegReg code = flat_segment(selector, true, 0);
    seg_set_code(cpu, &code, 0);
    cpu->seg[SS] = flat_segment((uint16_t)(selector + 8), false, 0);
    cpu->reg[ESP] = (uint32_t)cpu->sysenter_esp;
    cpu->eip = (uint32_t)cpu->sysenter_eip;
    return X_STOP;
}

HANDLER(ex_sysexit)
{
    (void)in;
    uint16_t selector = (uint16_t)(cpu->sysenter_cs & 0xfffc);
    if (cpu_real_mode(cpu) || cpu->cpl != 0 || !selector) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    SegReg code = flat_segment((uint16_t)((selector + 16) | 3), true, 3);
    seg_set_code(cpu, &code, 3);
    cpu->seg[SS] = flat_segment((uint16_t)((selector + 24) | 3), false, 3);
    cpu->reg[ESP] = cpu->reg[ECX];
    cpu->eip = cpu->reg[EDX];
    return X_STOP;
}

HANDLER(ex_rsm)
{
    (void)in;
    return smm_leave(cpu);
}

/* Virtual-8086 mode without the right to IF. */
static bool v86_restricted(const Cpu *cpu)
{
    return cpu_v86(cpu) && cpu_iopl(cpu) < 3;
}

/* Is VIF what this program sees as IF? Else, where it has no right, CLI and STI are #GP. */
static bool virtual_if(const Cpu *cpu)
{
    if (cpu_v86(cpu)) {
        return cpu->cr4 & CR4_VME;
    }
    return cpu->cpl == 3 && cpu->cr4 & CR4_PVI;
}

static bool owns_if(const Cpu *cpu)
{
    return cpu->cpl <= cpu_iopl(cpu);
}

HANDLER(ex_pushf)
{
    uint32_t image = cpu_eflags(cpu) & ~(uint32_t)(FL_VM | FL_RF);
    if (v86_restricted(cpu)) {
        if (in->opsize == 4 || !(cpu->cr4 & CR4_VME)) {
            return cpu_fault_code(cpu, VEC_GP, 0);
        }
        image = (image & ~(uint32_t)FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
    }
    bool ok = in->opsize == 4 ? ex_push32(cpu, image) : ex_push16(cpu, (uint16_t)image);
    return ok ? X_NEXT : X_FAULT;
}

/* POPF with VME and IOPL below 3: IF of the image goes to VIF. */
static Outcome popf_virtual(Cpu *cpu, const Insn *in, uint32_t image)
{
    if (in->opsize == 4 || !(cpu->cr4 & CR4_VME) || image & FL_TF ||
        (image & FL_IF && cpu->eflags & FL_VIP)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    flags_load(cpu, image, FL_ARITH | FL_DF | FL_NT);
    flags_load(cpu, image & FL_IF ? FL_VIF : 0, FL_VIF | FL_TF);
    return X_NEXT;
}

HANDLER(ex_popf)
{
    uint32_t at = cpu->reg[ESP] & ex_stack_mask(cpu), image = 0;
    uint16_t low;
    if (v86_restricted(cpu) && (in->opsize == 4 || !(cpu->cr4 & CR4_VME))) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    if (in->opsize == 4) {
        if (!mem_read32(cpu, SS, at, &image)) {
            return X_FAULT;
        }
    } else {
        if (!mem_read16(cpu, SS, at, &low)) {
            return X_FAULT;
        }
        image = low;
    }
    if (v86_restricted(cpu)) {
        if (popf_virtual(cpu, in, image) == X_FAULT) {
            return X_FAULT;
        }
    } else {
        uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | (owns_if(cpu) ? FL_IF : 0) |
                        (cpu->cpl == 0 ? FL_IOPL : 0) | (in->opsize == 4 ? FL_AC | FL_ID : 0);
        flags_load(cpu, image, mask);
    }
    ex_stack_set(cpu, cpu->reg[ESP] + in->opsize);
    return stop(cpu, in);
}

HANDLER(ex_cli)
{
    (void)in;
    if (owns_if(cpu)) {
        cpu->eflags &= ~(uint32_t)FL_IF;
    } else if (virtual_if(cpu)) {
        cpu->eflags &= ~(uint32_t)FL_VIF;
    } else {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    return X_NEXT;
}

HANDLER(ex_sti)
{
    if (owns_if(cpu)) {
        if (!(cpu->eflags & FL_IF)) {
            cpu->eflags |= FL_IF;
            cpu->shadow = SHADOW_STI;
        }
    } else if (virtual_if(cpu) && !(cpu->eflags & FL_VIP)) {
        cpu->eflags |= FL_VIF;
    } else {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    return stop(cpu, in);
}
