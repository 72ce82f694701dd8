/* Selection: string instructions and the direction flag.
 *
 * A single MOVS, STOS, LODS, CMPS or SCAS is a load, a store or a comparison and a step of the
 * index registers, which Cpu.scratch keeps beside DF. A repeated one is the host's own, on host
 * addresses. The windows' bases end in 32 zero bits, so that in flat segments the low halves of rsi
 * and rdi are the guest's at every moment; else signal.c calls string_settle when it stops one.
 */
#include <string.h>

#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

/* Which sides a string instruction has, and how wide they are. */
typedef struct Shape {
    bool from, to, compares;
    unsigned size, scale;
} Shape;

static Shape shape_of(const Insn *in)
{
    const char *operands = op_rows[in->op].operands;
    bool wide = select_has_operand_size(operands);
    unsigned size = wide ? in->opsize : 1;
    return (Shape){
        .from = operands[0] == 'X' || strstr(operands, ",X"),
        .to = operands[0] == 'Y' || strstr(operands, ",Y"),
        .compares = op_rows[in->op].flags_written != 0,
        .size = size,
        .scale = size == 4 ? 2 : size - 1,
    };
}

/* DF is kept in both places: C code wants the host's clear. */
void select_direction(Code *c, const Insn *in)
{
    static const uint8_t pext_pdep_r9d_by_r8d[] = {0xc4, 0x42, 0x32, 0xf5, 0xc8,
                                                   0xc4, 0x42, 0x33, 0xf5, 0xc8};
    emit_load(c, R9, R15, offsetof(Cpu, eflags), 4);
    emit_mov_imm(c, R8, ~(uint32_t)FL_DF);
    emit_bytes(c, pext_pdep_r9d_by_r8d, sizeof(pext_pdep_r9d_by_r8d));
    if (in->op == OP_STD) {
        emit_lea(c, R9, R9, FL_DF, 4);
    }
    emit_store(c, R9, R15, offsetof(Cpu, eflags), 4);
    emit_store_imm(c, R15, scratch_at(SCRATCH_STEP), in->op == OP_STD ? UINT32_MAX : 1);
    emit_store_imm(c, R15, scratch_at(SCRATCH_DOWN), in->op == OP_STD ? (uint32_t)LIMIT_NEVER : 0);
    emit_store_imm(c, R15, scratch_at(SCRATCH_DOWN) + 4, in->op == OP_STD ? LIMIT_NEVER >> 32 : 0);
    emit8(c, in->opcode);
}

/* r8d = ESI or EDI, as wide as addresses are. */
static void index_offset(Code *c, const Insn *in, unsigned reg)
{
    if (in->adsize == 2) {
        emit_zero_extend(c, R8, reg);
    } else {
        emit_mov(c, R8, reg, 4);
    }
}

static void step_index(Code *c, const Insn *in, unsigned reg, const Shape *s)
{
    emit_load(c, R9, R15, scratch_at(SCRATCH_STEP), 4);
    if (in->adsize == 2) {
        emit_lea_index(c, R8, reg, R9, s->scale, 0, 4);
        emit_mov(c, reg, R8, 2);
    } else {
        emit_lea_index(c, reg, reg, R9, s->scale, 0, 4);
    }
}

static void access_side(Code *c, const Insn *in, int mode, const Opcode *op, unsigned reg,
                        bool source, bool write, const Shape *s)
{
    Access a = {source ? in->seg : (unsigned)ES, s->size, write, in->adsize == 2};
    index_offset(c, in, source ? ESI : EDI);
    select_at(c, op, reg, &a, mode);
}

static bool once(Code *c, const Insn *in, int mode, const Shape *s)
{
    bool narrow = s->size == 2;
    const Opcode load = {.byte = s->size == 1 ? 0x8a : 0x8b, .operand_16 = narrow},
                 store = {.byte = s->size == 1 ? 0x88 : 0x89, .operand_16 = narrow},
                 compare = {.byte = s->size == 1 ? 0x3a : 0x3b, .operand_16 = narrow};
    unsigned value = s->from && s->to ? (unsigned)R10 : (unsigned)EAX;
    if (s->from) {
        access_side(c, in, mode, &load, value, true, false, s);
    }
    if (s->to) {
        access_side(c, in, mode, s->compares ? &compare : &store, value, false, !s->compares, s);
    }
    if (s->from) {
        step_index(c, in, ESI, s);
    }
    if (s->to) {
        step_index(c, in, EDI, s);
    }
    return true;
}

static void emit_host(Code *c, const Insn *in, const Shape *s)
{
    if (s->size == 2) {
        emit8(c, OPERAND_16);
    }
    if (in->prefix & (PREFIX_REP | PREFIX_REPNE)) { /* F2 means F3 to those that do not compare */
        emit8(c, in->prefix & PREFIX_REPNE && s->compares ? 0xf2 : 0xf3);
    }
    emit8(c, in->opcode);
}

static bool flat(Code *c, const Insn *in, const Shape *s)
{
    emit_load(c, R8, R15, scratch_at(SCRATCH_BASE), 8);
    if (s->from) {
        emit_lea_index(c, ESI, ESI, R8, 0, 0, 8);
    }
    if (s->to) {
        emit_lea_index(c, EDI, EDI, R8, 0, 0, 8);
    }
    emit_host(c, in, s);
    if (s->from) {
        emit_mov(c, ESI, ESI, 4);
    }
    if (s->to) {
        emit_mov(c, EDI, EDI, 4);
    }
    return true;
}

/* All of what a side will touch, going up, lies within the segment's limit and below the end of the
 * address size; r9 = the count. */
static void check_run(Code *c, const Insn *in, int mode, bool source, const Shape *s)
{
    Access a = {source ? in->seg : (unsigned)ES, 1, !source && !s->compares, in->adsize == 2};
    index_offset(c, in, source ? ESI : EDI);
    if (in->adsize == 2) {
        emit_zero_extend(c, R9, ECX);
    } else {
        emit_mov(c, R9, ECX, 4);
    }
    emit_lea_index(c, R8, R8, R9, s->scale, -1, 8);
    emit_load(c, R9, R15, scratch_at(SCRATCH_DOWN), 8);
    emit_lea_index(c, R8, R8, R9, 0, 0, 8);
    select_check_run(c, &a, mode);
}

/* rsi or rdi = its host address; r8 = the window's base. */
static void to_host(Code *c, const Insn *in, bool source)
{
    unsigned reg = source ? ESI : EDI;
    select_base(c, R8, source ? in->seg : (unsigned)ES);
    if (in->adsize == 2) {
        emit_zero_extend(c, reg, reg);
    }
    emit_lea_index(c, reg, reg, R8, 0, 0, 8);
    emit_load(c, R8, R15, scratch_at(SCRATCH_BASE), 8);
    emit_lea_index(c, reg, reg, R8, 0, 0, 8);
}

/* And back: what rsi or rdi has become in the guest; `old` is what it was. */
static void to_guest(Code *c, const Insn *in, bool source, unsigned old)
{
    unsigned reg = source ? ESI : EDI;
    select_base(c, R8, source ? in->seg : (unsigned)ES);
    emit_not(c, R8);
    emit_lea_index(c, R8, reg, R8, 0, 1, 4);
    emit_mov(c, reg, old, 4);
    emit_mov(c, reg, R8, in->adsize);
}

static bool repeated(Code *c, const Insn *in, int mode, const Shape *s)
{
    if (s->from) {
        check_run(c, in, mode, true, s);
    }
    if (s->to) {
        check_run(c, in, mode, false, s);
    }
    emit_mov(c, R9, ECX, 8);
    emit_mov(c, R10, ESI, 8);
    emit_mov(c, R11, EDI, 8);
    if (s->from) {
        to_host(c, in, true);
    }
    if (s->to) {
        to_host(c, in, false);
    }
    if (in->adsize == 2) {
        emit_zero_extend(c, ECX, ECX);
    }
    emit_host(c, in, s);
    if (in->adsize == 2) {
        emit_mov(c, R8, ECX, 4);
        emit_mov(c, ECX, R9, 4);
        emit_mov(c, ECX, R8, 2);
    }
    if (s->from) {
        to_guest(c, in, true, R10);
    }
    if (s->to) {
        to_guest(c, in, false, R11);
    }
    return true;
}

static bool flat_sides(const Insn *in, int mode, const Shape *s)
{
    return in->adsize == 4 && (!s->from || mode_segment(mode, in->seg) == MODE_SEG_FLAT) &&
           (!s->to || mode_segment(mode, ES) == MODE_SEG_FLAT);
}

static bool down(const Insn *in, int mode, const Shape *s)
{
    return (s->from && mode_segment(mode, in->seg) == MODE_SEG_DOWN) ||
           (s->to && mode_segment(mode, ES) == MODE_SEG_DOWN);
}

bool select_string(Code *c, const Insn *in, int mode)
{
    const Shape s = shape_of(in);
    bool once_only = !(in->prefix & (PREFIX_REP | PREFIX_REPNE));
    if (once_only && (mode & (MODE_ARRAY | MODE_PAUSES) || !flat_sides(in, mode, &s))) {
        return once(c, in, mode, &s);
    }
    if (mode & (MODE_ARRAY | MODE_PAUSES)) {
        return false;
    }
    if (flat_sides(in, mode, &s)) {
        return flat(c, in, &s);
    }
    return !down(in, mode, &s) && repeated(c, in, mode, &s);
}

void string_settle(const Cpu *cpu, const Insn *in, int mode, HostString *h)
{
    const Shape s = shape_of(in);
    if (flat_sides(in, mode, &s)) {
        return;
    }
    uint32_t mask = in->address_mask;
    uint32_t window = (uint32_t)cpu->scratch[SCRATCH_BASE];
    if (s.from) {
        uint32_t at = (uint32_t)h->si - window - cpu->seg[in->seg].base;
        h->si = ((uint32_t)h->old_si & ~mask) | (at & mask);
    }
    if (s.to) {
        uint32_t at = (uint32_t)h->di - window - cpu->seg[ES].base;
        h->di = ((uint32_t)h->old_di & ~mask) | (at & mask);
    }
    h->cx = ((uint32_t)h->old_cx & ~mask) | ((uint32_t)h->cx & mask);
}
