/* Selection: PUSH, POP, LEAVE, PUSHA, POPA, ENTER and what else works on the stack, 16 or 32 bits
 * wide, in segments of every kind.
 *
 * A stack of 16 bits moves SP and leaves the upper half of ESP alone, so that offsets go by r8.
 */
#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

static bool flat(int mode)
{
    return mode_segment(mode, SS) == MODE_SEG_FLAT && !(mode & MODE_STACK16);
}

static const Insn stack_top = {.seg = SS, .adsize = 4, .base = ESP, .index = NO_REG};

static const Opcode store_16 = {.byte = 0x89, .operand_16 = true};
static const Opcode store_32 = {.byte = 0x89};
static const Opcode load_16 = {.byte = 0x8b, .operand_16 = true};
static const Opcode load_32 = {.byte = 0x8b};

static const Opcode *store(unsigned size)
{
    return size == 2 ? &store_16 : &store_32;
}

static const Opcode *load(unsigned size)
{
    return size == 2 ? &load_16 : &load_32;
}

void select_top(Code *c, int32_t at, int mode)
{
    if (mode & MODE_STACK16 && at == 0) {
        emit_zero_extend(c, R8, ESP);
        return;
    }
    emit_lea(c, R8, ESP, at, 4);
    if (mode & MODE_STACK16) {
        emit_zero_extend(c, R8, R8);
    }
}

Access select_top_access(unsigned size, bool write, int mode)
{
    return (Access){SS, size, write, mode & MODE_STACK16};
}

/* The stack pointer becomes r8 (+ by). */
static void set_top(Code *c, int32_t by, int mode)
{
    if (mode & MODE_STACK16) {
        if (by) {
            emit_lea(c, R8, R8, by, 4);
        }
        emit_mov(c, ESP, R8, 2);
    } else if (by) {
        emit_lea(c, ESP, R8, by, 4);
    } else {
        emit_mov(c, ESP, R8, 4);
    }
}

void select_stack_move(Code *c, int32_t by, int mode)
{
    if (mode & MODE_STACK16) {
        emit_lea(c, R8, ESP, by, 4);
        emit_mov(c, ESP, R8, 2);
    } else {
        emit_lea(c, ESP, ESP, by, 4);
    }
}

/* Emits what writes `size` bytes below the top of the stack; an immediate may follow. */
static void below_top(Code *c, const Opcode *op, unsigned reg, unsigned size, int mode)
{
    Access a = select_top_access(size, true, mode);
    if (flat(mode) && !(mode & MODE_ARRAY)) {
        select_part(c, op, reg, &stack_top, mode, -(int32_t)size, size);
        return;
    }
    select_top(c, -(int32_t)size, mode);
    select_at(c, op, reg, &a, mode);
}

static void pushed(Code *c, unsigned size, int mode)
{
    if (flat(mode)) {
        select_stack_move(c, -(int32_t)size, mode);
    } else {
        set_top(c, 0, mode);
    }
}

void select_push(Code *c, unsigned reg, unsigned size, int mode)
{
    below_top(c, store(size), reg, size, mode);
    pushed(c, size, mode);
}

void select_push_imm(Code *c, uint32_t value, unsigned size, int mode)
{
    static const Opcode imm_16 = {.byte = 0xc7, .operand_16 = true}, imm_32 = {.byte = 0xc7};
    below_top(c, size == 2 ? &imm_16 : &imm_32, 0, size, mode);
    for (unsigned i = 0; i < size; i++) {
        emit8(c, value >> (8 * i));
    }
    pushed(c, size, mode);
}

/* reg (16 or 32 bits of it) = the top of the stack, which stays. */
static void peek(Code *c, unsigned reg, unsigned size, int mode)
{
    if (flat(mode)) {
        select_part(c, load(size), reg, &stack_top, mode, 0, size);
        return;
    }
    Access a = select_top_access(size, false, mode);
    select_top(c, 0, mode);
    select_at(c, load(size), reg, &a, mode);
}

void select_peek(Code *c, unsigned reg, int32_t at, unsigned size, int mode)
{
    const Opcode op = {.byte = size == 2 ? 0xb7 : 0x8b, .map_0f = size == 2};
    if (flat(mode)) {
        select_part(c, &op, reg, &stack_top, mode, at, size);
        return;
    }
    Access a = select_top_access(size, false, mode);
    select_top(c, at, mode);
    select_at(c, &op, reg, &a, mode);
}

static bool pop_reg(Code *c, unsigned reg, unsigned size, int mode)
{
    if (reg == ESP) {
        peek(c, R10, size, mode);
        select_stack_move(c, (int32_t)size, mode);
        emit_mov(c, ESP, R10, size);
        return true;
    }
    peek(c, reg, size, mode);
    if (flat(mode)) {
        select_stack_move(c, (int32_t)size, mode);
    } else {
        set_top(c, (int32_t)size, mode);
    }
    return true;
}

static bool push_e(Code *c, const Insn *in, int mode)
{
    if (in->memory) {
        select_memory(c, load(in->opsize), R10, in, mode, 0);
        select_push(c, R10, in->opsize, mode);
    } else {
        select_push(c, in->rm, in->opsize, mode);
    }
    return true;
}

/* An ESP in the address counts as already moved (SDM, POP). */
static bool pop_e(Code *c, const Insn *in, int mode)
{
    if (!in->memory) {
        return pop_reg(c, in->rm, in->opsize, mode);
    }
    if (in->base == ESP && mode & MODE_STACK16) {
        return false;
    }
    peek(c, R10, in->opsize, mode);
    select_memory(c, store(in->opsize), R10, in, mode, in->base == ESP ? in->opsize : 0);
    select_stack_move(c, in->opsize, mode);
    return true;
}

/* r8d = EBP or BP, as the stack is wide. */
static void frame_offset(Code *c, int mode)
{
    if (mode & MODE_STACK16) {
        emit_zero_extend(c, R8, EBP);
    } else {
        emit_mov(c, R8, EBP, 4);
    }
}

static bool leave(Code *c, const Insn *in, int mode)
{
    static const Insn frame = {.seg = SS, .adsize = 4, .base = EBP, .index = NO_REG};
    if (flat(mode) && in->opsize == 4) {
        select_part(c, &load_32, R10, &frame, mode, 0, 4);
        emit_lea(c, ESP, EBP, 4, 4);
        emit_mov(c, EBP, R10, 4);
        return true;
    }
    Access a = select_top_access(in->opsize, false, mode);
    frame_offset(c, mode);
    select_at(c, load(in->opsize), R10, &a, mode);
    frame_offset(c, mode); /* again: the access may have used r8 up */
    set_top(c, in->opsize, mode);
    emit_mov(c, EBP, R10, in->opsize);
    return true;
}

/* Level 0 alone: the frame pointer, then a look whether the new top of the stack can be written. */
static bool enter(Code *c, const Insn *in, int mode)
{
    unsigned size = in->opsize;
    if (in->imm2 & 31 || mode & MODE_ARRAY) {
        return false;
    }
    Access a = select_top_access(size, true, mode);
    select_top(c, -(int32_t)size, mode);
    select_at(c, store(size), EBP, &a, mode);
    emit_mov(c, R11, R8, 4);
    select_top(c, -(int32_t)size - (int32_t)in->imm, mode);
    select_at(c, load(size), R10, &a, mode);
    select_at(c, store(size), R10, &a, mode);
    if (mode & MODE_STACK16 && size == 4) { /* the upper half of ESP is in the frame pointer too */
        emit_mov(c, R10, ESP, 4);
        emit_mov(c, R10, R11, 2);
        emit_mov(c, EBP, R10, 4);
    } else {
        emit_mov(c, EBP, R11, size);
    }
    set_top(c, 0, mode);
    return true;
}

static bool pusha(Code *c, unsigned size, int mode)
{
    Access a = select_top_access(size, true, mode);
    if (mode & MODE_ARRAY) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        select_top(c, -(int32_t)((i + 1) * size), mode);
        select_at(c, store(size), i, &a, mode);
    }
    set_top(c, 0, mode);
    return true;
}

/* Registers change one by one, so that nothing may fault then: the whole frame must lie within the
 * limit, and on pages that its first and last element have touched. */
static bool popa(Code *c, unsigned size, int mode)
{
    static const uint8_t order[] = {EDI, ESI, EBP, ESP, EBX, EDX, ECX, EAX};
    unsigned kind = mode_segment(mode, SS);
    if (kind == MODE_SEG_FLAT || (kind == MODE_SEG_BASED && mode & MODE_STACK16)) {
        return false;
    }
    Access frame = select_top_access(8 * size, false, mode), a = frame;
    a.size = size;
    select_top(c, 0, mode);
    select_check(c, &frame, mode);
    for (unsigned i = 0; i < 8; i += 7) {
        select_top(c, (int32_t)(i * size), mode);
        select_at(c, load(size), R10, &a, mode);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (order[i] != ESP) {
            select_top(c, (int32_t)(i * size), mode);
            select_at(c, load(size), order[i], &a, mode);
        }
    }
    select_stack_move(c, (int32_t)(8 * size), mode);
    return true;
}

static void push_segment(Code *c, const Insn *in, int mode)
{
    select_selector(c, R10, in->reg);
    select_push(c, R10, in->opsize, mode);
}

bool select_stack(Code *c, const Insn *in, int mode)
{
    switch (in->op) {
    case OP_PUSH_Zv:
        select_push(c, in->reg, in->opsize, mode);
        return true;
    case OP_PUSH_Iv:
    case OP_PUSH_sIb:
        select_push_imm(c, in->imm, in->opsize, mode);
        return true;
    case OP_PUSH_Ev:
        return push_e(c, in, mode);
    case OP_POP_Zv:
        return pop_reg(c, in->reg, in->opsize, mode);
    case OP_POP_Ev:
        return pop_e(c, in, mode);
    case OP_LEAVE:
        return leave(c, in, mode);
    case OP_ENTER:
        return enter(c, in, mode);
    case OP_PUSHA:
        return pusha(c, in->opsize, mode);
    case OP_POPA:
        return popa(c, in->opsize, mode);
    default:
        push_segment(c, in, mode);
        return true;
    }
}
