/* Selection: the host code of one guest instruction.
 *
 * Most rows are PASS: the same instruction, the same registers, memory operands through gs. What
 * differs between 32-bit and 64-bit encodings is re-encoded here. Every emitted instruction that
 * can fault does so before it or its neighbours have changed anything the guest can see.
 */
#include <string.h>

#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

typedef enum Transfer {
    TR_CALL,
    TR_PASS,
    TR_INC_Z,
    TR_DEC_Z,
    TR_BT,
    TR_CLD,
    TR_STD,
    TR_STACK,
    TR_JCC,
    TR_JMP_J,
    TR_JMP_E,
    TR_CALL_J,
    TR_CALL_E,
    TR_RET,
    TR_LOOP,
    TR_FLDCW,
    TR_STRING,
    TR_XLAT,
    TR_TO_SEG,
    TR_FROM_SEG,
    TR_JMP_FAR,
    TR_CALL_FAR,
    TR_RET_FAR,
    TR_FLAGS,
} Transfer;

/* clang-format off */
static const uint8_t transfer[OP_COUNT] = {
#define OP(id, mnemonic, operands, map, opcode, count, prefix, form, digit, read, written, undef, traits, since, ex, tr) TR_##tr,
#include "cpu-accel/x86/x86_ops.def"
#undef OP
};
/* clang-format on */

static void emit_immediates(Code *c, const char *operands, const Insn *in)
{
    for (const char *p = operands; *p;) {
        const char *letters = *p == 's' ? p + 1 : p;
        if (letters[0] == 'I') {
            unsigned size = letters[1] == 'b' || *p == 's' ? 1 : letters[1] == 'w' ? 2 : in->opsize;
            for (unsigned i = 0; i < size; i++) {
                emit8(c, in->imm >> (8 * i));
            }
        }
        p += strcspn(p, ",");
        p += *p == ',';
    }
}

bool select_has_operand_size(const char *operands)
{
    return strchr(operands, 'v') != NULL || strstr(operands, "eAX") != NULL;
}

/* A byte register operand AH..BH cannot stand beside a REX prefix. */
static bool has_high_byte(const OpRow *row, const Insn *in)
{
    return strstr(row->operands, "Gb") && in->reg >= 4;
}

/* Where the operand cannot stand as it is: AH..BH by way of r11, with the register turned so that
 * they are its low byte while nothing can fault. */
static bool select_high_byte(Code *c, const Opcode *op, const Insn *in, int mode)
{
    static const Opcode load = {.byte = 0xb6, .map_0f = true}, mov = {.byte = 0x8a};
    unsigned reg = in->reg & 3;
    bool to_memory = op_rows[in->op].operands[0] == 'E';
    bool exchange = in->op == OP_XCHG_Eb_Gb || in->op == OP_XADD_Eb_Gb;
    if (to_memory) {
        emit_rorx(c, R11, reg, 8);
        select_memory(c, op, R11, in, mode, 0);
        if (!exchange) {
            return true;
        }
        op = &mov;
    } else {
        select_memory(c, &load, R11, in, mode, 0);
    }
    emit_rorx(c, reg, reg, 8);
    emit8(c, REX_B);
    if (op->map_0f) {
        emit8(c, 0x0f);
    }
    emit8(c, op->byte);
    emit8(c, 0xc0 | reg << 3 | (R11 & 7));
    emit_rorx(c, reg, reg, 24);
    return true;
}

/* AL or eAX from and to an address in the code: as a plain MOV with that memory operand. */
static bool select_moffs(Code *c, const Insn *in, int mode)
{
    static const uint8_t as_mov[4] = {0x8a, 0x8b, 0x88, 0x89};
    Opcode op = {.byte = as_mov[in->opcode & 3], .operand_16 = in->opcode & 1 && in->opsize == 2};
    select_memory(c, &op, EAX, in, mode, 0);
    return true;
}

static bool select_lea(Code *c, const Insn *in)
{
    if (in->adsize == 2) {
        select_offset(c, in, 0);
        emit_mov(c, in->reg, R8, in->opsize);
        return true;
    }
    emit8(c, ADDRESS_32);
    if (in->opsize == 2) {
        emit8(c, OPERAND_16);
    }
    emit8(c, in->opcode);
    select_operand(c, in->reg, in, 0);
    return true;
}

/* AL = byte at eBX + AL */
static bool select_xlat(Code *c, const Insn *in, int mode)
{
    static const uint8_t movzx_r8d_al[] = {0x44, 0x0f, 0xb6, 0xc0};
    static const Opcode load = {.byte = 0x8a};
    Access a = {in->seg, 1, false, in->adsize == 2};
    emit_bytes(c, movzx_r8d_al, sizeof(movzx_r8d_al));
    emit_lea_index(c, R8, EBX, R8, 0, 0, 4);
    if (in->adsize == 2) {
        emit_zero_extend(c, R8, R8);
    }
    select_at(c, &load, EAX, &a, mode);
    return true;
}

static bool serves_array(unsigned size)
{
    return size == 1 || size == 2 || size == 4;
}

static bool select_pass(Code *c, const Insn *in, int mode)
{
    static const uint8_t mandatory[] = {
        [MANDATORY_66] = 0x66, [MANDATORY_F3] = 0xf3, [MANDATORY_F2] = 0xf2};
    const OpRow *row = &op_rows[in->op];
    if (in->op == OP_BSWAP && in->opsize == 2) {
        return false; /* it clears the register; "Zd" leaves the prefix away */
    }
    Opcode op = {
        .byte = in->opcode, .map_0f = row->map == MAP_0F, .lock = in->prefix & PREFIX_LOCK};
    op.operand_16 = in->opsize == 2 && !(row->traits & (T_X87 | T_MMX | T_SSE)) &&
                    (select_has_operand_size(row->operands) ||
                     (row->operands[0] == '\0' && row->map == MAP_1)); /* CBW, CWD */
    op.mandatory = row->prefix < sizeof(mandatory) ? mandatory[row->prefix] : 0;
    if (row->operands[0] == 'O' || strstr(row->operands, ",O")) {
        return select_moffs(c, in, mode);
    }
    if (row->map == MAP_1 && op.byte == 0x82) {
        op.byte = 0x80; /* its alias, which 64-bit mode has not */
    }
    if (row->form != FORM_NONE && in->memory) {
        if (in->op == OP_LEA) { /* no segment, no access */
            return select_lea(c, in);
        }
        if (mode & MODE_ARRAY && (has_high_byte(row, in) || !serves_array(select_size(in)))) {
            return false;
        }
        if (!select_direct(in, mode) && has_high_byte(row, in)) {
            return select_high_byte(c, &op, in, mode);
        }
        select_memory(c, &op, in->modrm >> 3 & 7, in, mode, 0);
    } else {
        if (op.operand_16) {
            emit8(c, OPERAND_16);
        }
        if (op.mandatory) {
            emit8(c, op.mandatory);
        }
        if (op.map_0f) {
            emit8(c, 0x0f);
        }
        emit8(c, op.byte);
        if (row->form != FORM_NONE) {
            emit8(c, in->modrm);
        }
    }
    emit_immediates(c, row->operands, in);
    return true;
}

/* FF /0 and /1: the one-byte forms are REX prefixes in 64-bit mode. */
static void select_inc(Code *c, const Insn *in, unsigned digit)
{
    if (in->opsize == 2) {
        emit8(c, OPERAND_16);
    }
    emit8(c, 0xff);
    emit8(c, 0xc0 | digit << 3 | in->reg);
}

static bool is_control(const Insn *in)
{
    switch (in->op) {
    case OP_FNSTCW:
    case OP_FNSTSW_Mw:
    case OP_FNSTSW_AX:
    case OP_FNCLEX:
    case OP_FWAIT:
        return true;
    default:
        return false;
    }
}

bool select_loads_segment(const Insn *in)
{
    return transfer[in->op] == TR_TO_SEG;
}

bool select_on_fpu(const Insn *in, int mode)
{
    uint32_t traits = op_rows[in->op].traits;
    if (!(traits & (T_X87 | T_MMX | T_SSE)) ||
        (transfer[in->op] != TR_PASS && transfer[in->op] != TR_FLDCW)) {
        return false;
    }
    return mode & (traits & T_SSE ? MODE_SSE : MODE_X87);
}

bool select_notes(const Insn *in)
{
    return op_rows[in->op].traits & T_X87 && transfer[in->op] == TR_PASS && !is_control(in);
}

bool select_insn(Code *c, const Insn *in, int mode)
{
    if (op_rows[in->op].traits & (T_X87 | T_MMX | T_SSE) && !select_on_fpu(in, mode)) {
        return false;
    }
    switch ((Transfer)transfer[in->op]) {
    case TR_PASS:
    case TR_FLDCW: /* the caller has checked what it loads */
        return select_pass(c, in, mode);
    case TR_STRING:
        return select_string(c, in, mode);
    case TR_BT: /* in memory, the bit offset reaches beyond the operand */
        return !in->memory && select_pass(c, in, mode);
    case TR_INC_Z:
    case TR_DEC_Z:
        select_inc(c, in, transfer[in->op] == TR_DEC_Z);
        return true;
    case TR_CLD:
    case TR_STD:
        select_direction(c, in);
        return true;
    case TR_STACK:
        return select_stack(c, in, mode);
    case TR_XLAT:
        return select_xlat(c, in, mode);
    case TR_FLAGS:
        return select_flags(c, in, mode);
    case TR_TO_SEG:
        return select_load_segment(c, in, mode);
    case TR_FROM_SEG:
        return select_store_segment(c, in, mode);
    default:
        return false;
    }
}

/* Far transfers of 16 bits where CS is nothing but a base, and the frame cannot meet a limit. */
static bool plain_far(const Insn *in, int mode)
{
    return in->opsize == 2 && select_plain_segment(mode, CS) && select_plain_segment(mode, SS);
}

SelectEnd select_end(const Insn *in, int mode)
{
    switch ((Transfer)transfer[in->op]) {
    case TR_JCC:
        return END_IF;
    case TR_JMP_J:
        return END_JUMP;
    case TR_JMP_E:
        return END_JUMP_INDIRECT;
    case TR_CALL_J:
        return END_CALL;
    case TR_CALL_E:
        return END_CALL_INDIRECT;
    case TR_RET:
        return END_RETURN;
    case TR_LOOP:
        return END_LOOP;
    case TR_JMP_FAR:
    case TR_CALL_FAR:
        return !plain_far(in, mode) ? END_CALLED : in->memory ? END_FAR_INDIRECT : END_FAR_DIRECT;
    case TR_RET_FAR:
        return plain_far(in, mode) ? END_FAR_RETURN : END_CALLED;
    case TR_FLAGS:
        if (select_owns_flags(in, mode)) {
            return END_NONE;
        }
        break;
    default:
        break;
    }
    return op_rows[in->op].traits & T_END ? END_CALLED : END_NONE;
}
