/* Selection: jumps, calls and returns, near and far; loads of segment registers where they need no
 * descriptor (real and virtual-8086 mode). */
#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

static int32_t segment_at(unsigned seg, size_t field)
{
    return (int32_t)(offsetof(Cpu, seg) + seg * sizeof(SegReg) + field);
}

bool select_plain_segment(int mode, unsigned seg)
{
    unsigned kind = mode_segment(mode, seg);
    return mode & MODE_REAL && (kind == MODE_SEG_64K || kind == MODE_SEG_BASED);
}

/* #GP when the offset in r10 is beyond the limit of CS. */
static void check_target(Code *c, unsigned size, int mode)
{
    static const uint8_t movzx_r9d_byte_r9_r10[] = {0x47, 0x0f, 0xb6, 0x0c, 0x11};
    bool whole = mode_segment(mode, CS) == MODE_SEG_64K && size == 2;
    if (mode & MODE_CS_BASED && !whole) {
        emit_load(c, R9, R15, scratch_at(SCRATCH_CODE), 8);
        emit_bytes(c, movzx_r9d_byte_r9_r10, sizeof(movzx_r9d_byte_r9_r10));
    }
}

/* r10d = what register or memory operand says, zero-extended. */
static void load_operand(Code *c, const Insn *in, unsigned size, int mode)
{
    const Opcode load = {.byte = size == 2 ? 0xb7 : 0x8b, .map_0f = size == 2};
    if (in->memory) {
        select_part(c, &load, R10, in, mode, 0, size);
    } else if (size == 2) {
        emit_zero_extend(c, R10, in->rm);
    } else {
        emit_mov(c, R10, in->rm, 4);
    }
}

/* A segment register, from the selector in r11, which is zero-extended. Uses r8. */
static void set_segment(Code *c, unsigned seg)
{
    emit_store(c, R11, R15, segment_at(seg, offsetof(SegReg, selector)), 2);
    emit_rorx(c, R8, R11, 32 - 4);
    emit_store(c, R8, R15, segment_at(seg, offsetof(SegReg, base)), 4);
}

/* r10d = offset, r11d = selector of the far pointer in memory. */
static void load_pointer(Code *c, const Insn *in, int mode)
{
    const Opcode load_word = {.byte = 0xb7, .map_0f = true}, load_long = {.byte = 0x8b};
    if (in->opsize == 2) {
        select_part(c, &load_long, R11, in, mode, 0, 4);
        emit_zero_extend(c, R10, R11);
        emit_rorx(c, R11, R11, 16);
        emit_zero_extend(c, R11, R11);
        return;
    }
    Access whole = {in->seg, 6, false, in->adsize == 2};
    select_offset(c, in, 0);
    select_check(c, &whole, mode);
    select_part(c, &load_long, R10, in, mode, 0, 4);
    select_part(c, &load_word, R11, in, mode, 4, 2);
}

static bool mov_segment(Code *c, const Insn *in, int mode)
{
    if (in->reg == CS || in->reg > GS || !select_plain_segment(mode, in->reg)) {
        return false;
    }
    load_operand(c, in, 2, mode);
    emit_mov(c, R11, R10, 4);
    set_segment(c, in->reg);
    return true;
}

static bool pop_segment(Code *c, const Insn *in, int mode)
{
    if (!select_plain_segment(mode, in->reg)) {
        return false;
    }
    select_peek(c, R11, 0, in->opsize, mode);
    if (in->opsize == 4) {
        emit_zero_extend(c, R11, R11);
    }
    select_stack_move(c, in->opsize, mode);
    set_segment(c, in->reg);
    return true;
}

static bool load_far(Code *c, const Insn *in, SegIndex seg, int mode)
{
    if (!select_plain_segment(mode, seg)) {
        return false;
    }
    load_pointer(c, in, mode);
    set_segment(c, seg);
    emit_mov(c, in->reg, R10, in->opsize);
    return true;
}

bool select_load_segment(Code *c, const Insn *in, int mode)
{
    switch (in->op) {
    case OP_MOV_Sw_Ew:
        return mov_segment(c, in, mode);
    case OP_LES:
        return load_far(c, in, ES, mode);
    case OP_LDS:
        return load_far(c, in, DS, mode);
    case OP_LSS:
        return load_far(c, in, SS, mode);
    case OP_LFS:
        return load_far(c, in, FS, mode);
    case OP_LGS:
        return load_far(c, in, GS, mode);
    default:
        return pop_segment(c, in, mode);
    }
}

bool select_store_segment(Code *c, const Insn *in, int mode)
{
    const Opcode store = {.byte = 0x89, .operand_16 = true};
    if (in->reg > GS) {
        return false;
    }
    select_selector(c, R10, in->reg);
    if (in->memory) {
        select_part(c, &store, R10, in, mode, 0, 2);
    } else {
        emit_mov(c, in->rm, R10, in->opsize);
    }
    return true;
}

/* CS and the offset behind, 16 bits each: the stack pointer moves when both are there. */
static void push_far(Code *c, uint32_t next, int mode)
{
    static const Opcode store = {.byte = 0x89, .operand_16 = true};
    Access a = select_top_access(2, true, mode);
    select_selector(c, R10, CS);
    select_top(c, -2, mode);
    select_at(c, &store, R10, &a, mode);
    emit_mov_imm(c, R10, next);
    select_top(c, -4, mode);
    select_at(c, &store, R10, &a, mode);
    select_stack_move(c, -4, mode);
}

bool select_far_direct(Code *c, const Insn *in, int mode, uint32_t next)
{
    if (in->op == OP_CALL_Ap) {
        push_far(c, next, mode);
    }
    emit_mov_imm(c, R11, in->imm2);
    set_segment(c, CS);
    return true;
}

/* Through memory: the pointer waits in r11 while the stack is written. */
static void far_indirect(Code *c, const Insn *in, int mode, uint32_t next)
{
    static const Opcode load = {.byte = 0x8b};
    select_part(c, &load, R11, in, mode, 0, 4);
    if (in->op == OP_CALL_Mp) {
        push_far(c, next, mode);
    }
    emit_zero_extend(c, R10, R11);
    emit_rorx(c, R11, R11, 16);
    emit_zero_extend(c, R11, R11);
    set_segment(c, CS);
}

static void far_return(Code *c, const Insn *in, int mode)
{
    uint32_t release = in->op == OP_RETF_Iw ? in->imm & 0xffff : 0;
    select_peek(c, R10, 0, 2, mode);
    select_peek(c, R11, 2, 2, mode);
    select_stack_move(c, (int32_t)(4 + release), mode);
    set_segment(c, CS);
}

bool select_target(Code *c, const Insn *in, int mode, SelectEnd end, uint32_t next)
{
    switch (end) {
    case END_JUMP_INDIRECT:
    case END_CALL_INDIRECT:
        load_operand(c, in, in->opsize, mode);
        check_target(c, in->opsize, mode);
        if (end == END_CALL_INDIRECT) {
            select_push_imm(c, next, in->opsize, mode);
        }
        break;
    case END_RETURN:
        select_peek(c, R10, 0, in->opsize, mode);
        check_target(c, in->opsize, mode);
        select_stack_move(c, (int32_t)(in->opsize + (in->op == OP_RET_Iw ? in->imm & 0xffff : 0)),
                          mode);
        break;
    case END_FAR_INDIRECT:
        far_indirect(c, in, mode, next);
        break;
    default:
        far_return(c, in, mode);
        break;
    }
    emit_mov(c, R8, R10, 4);
    return true;
}

/* LOOP, LOOPE, LOOPNE, JCXZ with a 16-bit counter. */
static uint8_t *by_cx(Code *c, const Insn *in)
{
    static const uint8_t jrcxz = 0xe3, jmp_short = 0xeb, jz = 0x74, jnz = 0x75;
    enum { MOV_SIZE = 3, JUMP_SIZE = 5 };
    uint8_t *taken;
    if (in->op == OP_JCXZ) {
        emit_mov(c, R9, ECX, 8);
        emit_zero_extend(c, ECX, ECX);
        emit8(c, jrcxz);
        emit8(c, MOV_SIZE + 2);
        emit_mov(c, ECX, R9, 8);
        emit8(c, jmp_short);
        emit8(c, MOV_SIZE + JUMP_SIZE);
        emit_mov(c, ECX, R9, 8);
        return emit_jump(c, code_here(c));
    }
    unsigned condition = in->op == OP_LOOPE ? jnz : in->op == OP_LOOPNE ? jz : 0u;
    emit_lea(c, R8, ECX, -1, 4);
    emit_mov(c, ECX, R8, 2);
    emit_mov(c, R9, ECX, 8);
    emit_zero_extend(c, ECX, ECX);
    emit8(c, jrcxz);
    emit8(c, MOV_SIZE + JUMP_SIZE + (condition ? 2 : 0));
    emit_mov(c, ECX, R9, 8);
    if (condition) {
        emit8(c, condition);
        emit8(c, JUMP_SIZE);
    }
    taken = emit_jump(c, code_here(c));
    emit_mov(c, ECX, R9, 8);
    return taken;
}

uint8_t *select_condition(Code *c, const Insn *in, SelectEnd end)
{
    if (end == END_IF) {
        return emit_jump_if(c, in->opcode & 15, code_here(c));
    }
    if (in->adsize == 2) {
        return by_cx(c, in);
    }
    /* loop or jecxz over a jump over a jump: they have no long form */
    static const uint8_t skip[] = {2, 0xeb, 5};
    emit8(c, ADDRESS_32);
    emit8(c, in->opcode);
    emit_bytes(c, skip, sizeof(skip));
    return emit_jump(c, code_here(c));
}
