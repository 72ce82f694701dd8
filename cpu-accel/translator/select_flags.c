/* Selection: PUSHF, POPF, CLI and STI, where the program owns the interrupt flag.
 *
 * The host's flags are the guest's arithmetic ones, the others stand in Cpu.eflags. Code here never
 * runs with an interrupt waiting that it would let in, nor changes what a mode or the direction of
 * strings hangs on: then it jumps out (Code.miss), and the handler is called with all as it was.
 * STI's shadow needs nothing while the next instruction is in the same unit.
 */
#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

enum {
    HELD = FL_TF | FL_DF | FL_NT | FL_IOPL, /* POPF leaves these as they are, or is called */
    HELD_32 = HELD | FL_AC | FL_ID,
    LOW_FLAGS = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF,
    OF_OF_SETO = 1 << 24, /* where rorx 8 takes AL's bit 0 */
};

bool select_owns_flags(const Insn *in, int mode)
{
    if (in->op == OP_PUSHF) {
        return (mode & (MODE_REAL | MODE_USER)) != (MODE_REAL | MODE_USER);
    }
    return !(mode & MODE_USER);
}

bool select_may_call(const Insn *in)
{
    return in->op == OP_POPF || in->op == OP_STI;
}

/* pext to, from, mask and pdep to, from, mask: 32 bits of any registers. */
static void bits(Code *c, bool deposit, unsigned to, unsigned from, unsigned mask)
{
    emit8(c, 0xc4);
    emit8(c, (to >= R8 ? 0u : 0x80u) | 0x40u | (mask >= R8 ? 0u : 0x20u) | 2u);
    emit8(c, (~from & 15) << 3 | (deposit ? 3u : 2u));
    emit8(c, 0xf5);
    emit8(c, 0xc0 | (to & 7) << 3 | (mask & 7));
}

static void extract(Code *c, unsigned to, unsigned from, unsigned mask)
{
    bits(c, false, to, from, mask);
}

static void deposit(Code *c, unsigned to, unsigned from, unsigned mask)
{
    bits(c, true, to, from, mask);
}

/* reg &= mask. Uses r9. */
static void keep(Code *c, unsigned reg, uint32_t mask)
{
    emit_mov_imm(c, R9, mask);
    extract(c, reg, reg, R9);
    deposit(c, reg, reg, R9);
}

/* Calls the handler unless ecx is 0; rcx is in r9 then, and stays there. */
static void call_unless_zero(Code *c)
{
    emit8(c, 0xe3); /* jrcxz over the next two */
    emit8(c, 8);
    emit_mov(c, ECX, R9, 8);
    c->miss[c->misses++] = emit_jump(c, code_here(c));
}

static void pushf(Code *c, const Insn *in, int mode)
{
    static const uint8_t lahf_seto_al[] = {0x9f, 0x0f, 0x90, 0xc0};
    emit_mov(c, R9, EAX, 8);
    emit_bytes(c, lahf_seto_al, sizeof(lahf_seto_al));
    emit_rorx(c, R8, EAX, 8);
    emit_mov(c, EAX, R9, 8);
    emit_mov_imm(c, R9, LOW_FLAGS | FL_ONE | OF_OF_SETO);
    extract(c, R8, R8, R9);
    emit_mov_imm(c, R9, LOW_FLAGS | FL_ONE | FL_OF);
    deposit(c, R8, R8, R9);
    emit_load(c, R10, R15, offsetof(Cpu, eflags), 4);
    keep(c, R10, ~(uint32_t)(FL_ARITH | FL_ONE | FL_VM | FL_RF));
    emit_lea_index(c, R10, R10, R8, 0, 0, 4);
    select_push(c, R10, in->opsize, mode);
}

/* The arithmetic flags, from r10d. */
static void load_arithmetic(Code *c)
{
    static const uint8_t add_al_7f_sahf[] = {0x04, 0x7f, 0x9e};
    emit_mov(c, R9, EAX, 8);
    emit_mov_imm(c, R11, 0xff);
    extract(c, EAX, R10, R11);
    emit_rorx(c, EAX, EAX, 24);
    emit_mov_imm(c, R11, FL_OF);
    extract(c, R10, R10, R11);
    emit_lea_index(c, EAX, EAX, R10, 0, 0, 4);
    emit_bytes(c, add_al_7f_sahf, sizeof(add_al_7f_sahf));
    emit_mov(c, EAX, R9, 8);
}

static void popf(Code *c, const Insn *in, int mode)
{
    select_peek(c, R10, 0, in->opsize, mode);
    emit_load(c, R8, R15, offsetof(Cpu, eflags), 4);
    emit_mov(c, R9, ECX, 8);
    emit_mov_imm(c, R11, in->opsize == 4 ? HELD_32 : HELD);
    extract(c, ECX, R10, R11);
    extract(c, R11, R8, R11);
    emit_not(c, R11);
    emit_lea_index(c, ECX, ECX, R11, 0, 1, 4); /* their difference */
    call_unless_zero(c);
    emit_mov_imm(c, R11, FL_IF);
    extract(c, R11, R10, R11);
    emit_load_zero(c, ECX, R15, offsetof(Cpu, intr), 1);
    extract(c, ECX, ECX, R11); /* both */
    call_unless_zero(c);
    emit_mov(c, ECX, R9, 8);
    keep(c, R8, ~(uint32_t)FL_IF);
    emit_mov_imm(c, R9, FL_IF);
    deposit(c, R11, R11, R9);
    emit_lea_index(c, R8, R8, R11, 0, 0, 4);
    emit_store(c, R8, R15, offsetof(Cpu, eflags), 4);
    select_stack_move(c, in->opsize, mode);
    load_arithmetic(c);
}

static void cli(Code *c)
{
    emit_load(c, R8, R15, offsetof(Cpu, eflags), 4);
    keep(c, R8, ~(uint32_t)FL_IF);
    emit_store(c, R8, R15, offsetof(Cpu, eflags), 4);
}

static void sti(Code *c)
{
    emit_mov(c, R9, ECX, 8);
    emit_load_zero(c, ECX, R15, offsetof(Cpu, intr), 1);
    call_unless_zero(c);
    emit_mov(c, ECX, R9, 8);
    emit_load(c, R8, R15, offsetof(Cpu, eflags), 4);
    keep(c, R8, ~(uint32_t)FL_IF);
    emit_lea(c, R8, R8, FL_IF, 4);
    emit_store(c, R8, R15, offsetof(Cpu, eflags), 4);
}

bool select_flags(Code *c, const Insn *in, int mode)
{
    if (!select_owns_flags(in, mode)) {
        return false;
    }
    switch (in->op) {
    case OP_PUSHF:
        pushf(c, in, mode);
        return true;
    case OP_POPF:
        popf(c, in, mode);
        return true;
    case OP_CLI:
        cli(c);
        return true;
    default:
        sti(c);
        return true;
    }
}
