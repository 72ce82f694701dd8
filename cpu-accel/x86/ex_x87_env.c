/* x87: control instructions and the environment in memory; FERR#.
 *
 * SDM vol. 1, 8.1 and 8.3.10 to 8.3.12; Appendix D for FERR#. Unlike the rest of the unit all of
 * this is plain C: the host's formats depend on its own mode. FIP, FDP and FOP are those of the
 * last instruction that is no control instruction, as a P6 keeps them. FERR# is driven with CR0.NE
 * clear only, from the moment an unmasked flag is set. The 287's FNSETPM and the 8087's FNENI and
 * FNDISI do nothing. Of the 387 and the 486 nothing else is modelled apart.
 */
#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

void fpu_init(Fpu *f)
{
    f->control = FCW_INIT;
    f->status = 0;
    f->valid = 0;
    f->opcode = 0;
    f->ip = f->data = 0;
    f->ip_selector = f->data_selector = 0;
}

void fpu_drive_ferr(Cpu *cpu)
{
    bool error = (cpu->fpu.status & FSW_ES) && !(cpu->cr0 & CR0_NE);
    line_set(&cpu->pins->ferr, error);
    if (!error) {
        cpu->ignne = false;
    }
}

/* 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7). */
static unsigned tag_of(const Float80 *r)
{
    unsigned exponent = r->sign_exponent & 0x7fff;
    if (exponent == 0) {
        return r->mantissa == 0 ? 1 : 2;
    }
    return exponent == 0x7fff || !(r->mantissa >> 63) ? 2 : 0;
}

uint16_t fpu_tag_word(const Fpu *f)
{
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        tags |= (f->valid >> i & 1 ? tag_of(&f->st[i]) : 3u) << (2 * i);
    }
    return (uint16_t)tags;
}

void fpu_set_tag_word(Fpu *f, uint16_t tags)
{
    f->valid = 0;
    for (unsigned i = 0; i < 8; i++) {
        if ((tags >> (2 * i) & 3) != 3) {
            f->valid |= (uint8_t)(1u << i);
        }
    }
}

/* The four formats (SDM vol. 1, figures 8-9 to 8-12): 14 or 28 bytes by operand size, pointers as
 * selector and offset or, in real and virtual-8086 mode, as a linear address. */
enum { ENV_16 = 14, ENV_32 = 28, ENV_REGISTERS = 80 };

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* A word with its reserved upper half, which reads as ones. */
static void put16_ones(uint8_t *at, uint32_t value)
{
    put16(at, value);
    put16(at + 2, 0xffff);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value);
    put16(at + 2, value >> 16);
}

static uint16_t take16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t take32(const uint8_t *at)
{
    return take16(at) | (uint32_t)take16(at + 2) << 16;
}

static unsigned env_put(const Cpu *cpu, unsigned opsize, uint8_t *to)
{
    const Fpu *f = &cpu->fpu;
    bool real = cpu_v86_or_real(cpu);
    uint32_t ip = f->ip, data = f->data;
    uint32_t ip_high = f->ip_selector | (uint32_t)f->opcode << 16, data_high = f->data_selector;
    if (real) {
        ip += (uint32_t)f->ip_selector << 4;
        data += (uint32_t)f->data_selector << 4;
        ip_high = (ip >> 16) << 12 | f->opcode;
        data_high = (data >> 16) << 12;
    }
    if (opsize == 2) {
        put16(to, f->control);
        put16(to + 2, f->status);
        put16(to + 4, fpu_tag_word(f));
        put16(to + 6, ip);
        put16(to + 8, ip_high);
        put16(to + 10, data);
        put16(to + 12, data_high);
        return ENV_16;
    }
    put16_ones(to, f->control);
    put16_ones(to + 4, f->status);
    put16_ones(to + 8, fpu_tag_word(f));
    put32(to + 16, ip_high);
    if (real) {
        put16_ones(to + 12, ip);
        put16_ones(to + 20, data);
        put32(to + 24, data_high);
    } else {
        put32(to + 12, ip);
        put32(to + 20, data);
        put16_ones(to + 24, data_high);
    }
    return ENV_32;
}

static unsigned env_take(Cpu *cpu, unsigned opsize, const uint8_t *from)
{
    Fpu *f = &cpu->fpu;
    unsigned step = opsize == 2 ? 2 : 4;
    uint32_t ip_high, data_high;
    fpu_set_tag_word(f, take16(from + 2 * step));
    if (opsize == 2) {
        f->ip = take16(from + 6);
        ip_high = take16(from + 8);
        f->data = take16(from + 10);
        data_high = take16(from + 12);
    } else {
        f->ip = take32(from + 12);
        ip_high = take32(from + 16);
        f->data = take32(from + 20);
        data_high = take32(from + 24);
    }
    if (cpu_v86_or_real(cpu)) {
        f->ip = (f->ip & 0xffff) | (ip_high >> 12 & 0xffff) << 16;
        f->data = (f->data & 0xffff) | (data_high >> 12 & 0xffff) << 16;
        f->ip_selector = f->data_selector = 0;
        f->opcode = ip_high & 0x7ff;
    } else {
        f->ip_selector = (uint16_t)ip_high;
        f->data_selector = (uint16_t)data_high;
        f->opcode = ip_high >> 16 & 0x7ff;
    }
    f->control = (take16(from) & FCW_WRITABLE) | FCW_ONE;
    x87_set_status(cpu, take16(from + step));
    return opsize == 2 ? ENV_16 : ENV_32;
}

/* Control instructions that do not wait: only #NM. */
static bool control_allowed(const Cpu *cpu)
{
    return !(cpu->cr0 & (CR0_EM | CR0_TS));
}

Outcome ex_fnstenv(Cpu *cpu, const Insn *in)
{
    uint8_t image[ENV_32];
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    unsigned size = env_put(cpu, in->opsize, image);
    if (!mem_write_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), image, size)) {
        return X_FAULT;
    }
    x87_set_control(cpu, cpu->fpu.control | FCW_MASKS);
    return X_NEXT;
}

Outcome ex_fldenv(Cpu *cpu, const Insn *in)
{
    uint8_t image[ENV_32];
    unsigned size = in->opsize == 2 ? ENV_16 : ENV_32;
    Outcome entered = x87_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!mem_read_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), image, size)) {
        return X_FAULT;
    }
    env_take(cpu, in->opsize, image);
    return X_NEXT;
}

Outcome ex_fnsave(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint8_t image[ENV_32 + ENV_REGISTERS];
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    unsigned size = env_put(cpu, in->opsize, image);
    for (unsigned i = 0; i < 8; i++, size += 10) {
        memcpy(image + size, &x87_st(f, i)->mantissa, 8);
        memcpy(image + size + 8, &x87_st(f, i)->sign_exponent, 2);
    }
    if (!mem_write_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), image, size)) {
        return X_FAULT;
    }
    x87_set_status(cpu, 0);
    fpu_init(f);
    return X_NEXT;
}

Outcome ex_frstor(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint8_t image[ENV_32 + ENV_REGISTERS];
    unsigned size = in->opsize == 2 ? ENV_16 : ENV_32;
    Outcome entered = x87_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!mem_read_bytes(cpu, (SegIndex)in->seg, ex_address(cpu, in), image, size + ENV_REGISTERS)) {
        return X_FAULT;
    }
    env_take(cpu, in->opsize, image);
    for (unsigned i = 0; i < 8; i++, size += 10) {
        memcpy(&x87_st(f, i)->mantissa, image + size, 8);
        memcpy(&x87_st(f, i)->sign_exponent, image + size + 8, 2);
    }
    return X_NEXT;
}

Outcome ex_fldcw(Cpu *cpu, const Insn *in)
{
    uint16_t control;
    Outcome entered = x87_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!mem_read16(cpu, (SegIndex)in->seg, ex_address(cpu, in), &control)) {
        return X_FAULT;
    }
    x87_set_control(cpu, control);
    return X_NEXT;
}

Outcome ex_fnstcw(Cpu *cpu, const Insn *in)
{
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    return mem_write16(cpu, (SegIndex)in->seg, ex_address(cpu, in), cpu->fpu.control) ? X_NEXT
                                                                                      : X_FAULT;
}

Outcome ex_fnstsw_mw(Cpu *cpu, const Insn *in)
{
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    return mem_write16(cpu, (SegIndex)in->seg, ex_address(cpu, in), cpu->fpu.status) ? X_NEXT
                                                                                     : X_FAULT;
}

Outcome ex_fnstsw_ax(Cpu *cpu, const Insn *in)
{
    (void)in;
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    cpu->reg[EAX] = (cpu->reg[EAX] & 0xffff0000) | cpu->fpu.status;
    return X_NEXT;
}

Outcome ex_fnclex(Cpu *cpu, const Insn *in)
{
    (void)in;
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    x87_set_status(cpu, cpu->fpu.status & (FSW_TOP | FSW_CONDITION));
    return X_NEXT;
}

Outcome ex_fninit(Cpu *cpu, const Insn *in)
{
    (void)in;
    if (!control_allowed(cpu)) {
        return cpu_fault(cpu, VEC_NM);
    }
    x87_set_status(cpu, 0);
    fpu_init(&cpu->fpu);
    return X_NEXT;
}

/* FNENI, FNDISI, FNSETPM. */
Outcome ex_x87_nothing(Cpu *cpu, const Insn *in)
{
    (void)in;
    return control_allowed(cpu) ? X_NEXT : cpu_fault(cpu, VEC_NM);
}

/* FWAIT ignores EM, and heeds TS with MP only. */
Outcome ex_fwait(Cpu *cpu, const Insn *in)
{
    (void)in;
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
        return cpu_fault(cpu, VEC_NM);
    }
    return x87_enter_pending(cpu);
}
