/* Selection: the host code of one guest instruction in flat 32-bit code.
 *
 * Most rows are PASS: the same instruction, the same registers, memory operands through gs. What
 * differs between 32-bit and 64-bit encodings is re-encoded here. Every emitted instruction that
 * can fault does so before it or its neighbours have changed anything the guest can see.
 */
#include <string.h>

#include "cpu-accel/translator/translator.h"
#include "cpu-accel/x86/ops.h"

typedef enum Transfer {
    TR_CALL,
    TR_PASS,
    TR_INC_Z,
    TR_DEC_Z,
    TR_BT,
    TR_CLD,
    TR_STD,
    TR_PUSH_Z,
    TR_POP_Z,
    TR_PUSH_I,
    TR_PUSH_E,
    TR_POP_E,
    TR_LEAVE,
    TR_JCC,
    TR_JMP_J,
    TR_JMP_E,
    TR_CALL_J,
    TR_CALL_E,
    TR_RET,
    TR_LOOP,
    TR_FLDCW,
    TR_STRING,
} Transfer;

/* clang-format off */
static const uint8_t transfer[OP_COUNT] = {
#define OP(id, mnemonic, operands, map, opcode, count, prefix, form, digit, read, written, undef, traits, since, ex, tr) TR_##tr,
#include "cpu-accel/x86/x86_ops.def"
#undef OP
};
/* clang-format on */

enum {
    GS_PREFIX = 0x65,
    ADDRESS_32 = 0x67,
    OPERAND_16 = 0x66,
    LOCK = 0xf0,
    REX_B = 0x41,
    REX_R = 0x44,
    SEG_BASE_SIZE = 4
};

static int32_t segment_base(unsigned seg)
{
    return (int32_t)(offsetof(Cpu, seg) + seg * sizeof(SegReg) + offsetof(SegReg, base));
}

/* Can this memory operand be reached without a check? */
static bool reachable(const Insn *in, int mode)
{
    return mode_segment(mode, in->seg) != MODE_SEG_OTHER;
}

/* Is the operand's address one that the instruction's own addressing form can express? */
static bool direct(const Insn *in, int mode)
{
    return mode_segment(mode, in->seg) == MODE_SEG_FLAT && in->adsize == 4 && !(mode & MODE_ARRAY);
}

/* r8d = offset of the memory operand. */
static void emit_offset(Code *c, const Insn *in, int32_t extra)
{
    int32_t disp = (int32_t)in->disp + extra;
    if (in->base == NO_REG && in->index == NO_REG) {
        emit_mov_imm(c, R8, (uint32_t)disp);
    } else if (in->index == NO_REG) {
        emit_lea(c, R8, in->base, disp, 4);
    } else if (in->base == NO_REG) {
        /* [index * scale + disp32]: SIB without base */
        emit8(c, 0x44);
        emit8(c, 0x8d);
        emit8(c, 0x04);
        emit8(c, (unsigned)in->scale << 6 | (unsigned)in->index << 3 | 5);
        emit32(c, (uint32_t)disp);
    } else {
        emit_lea_index(c, R8, in->base, in->index, in->scale, disp, 4);
    }
    if (in->adsize == 2) {
        static const uint8_t movzx_r8d_r8w[] = {0x45, 0x0f, 0xb7, 0xc0};
        emit_bytes(c, movzx_r8d_r8w, sizeof(movzx_r8d_r8w));
    }
}

/* r8d = linear address of the memory operand. */
static void emit_address(Code *c, const Insn *in, int mode, int32_t extra)
{
    emit_offset(c, in, extra);
    if (mode_segment(mode, in->seg) == MODE_SEG_BASED) {
        emit_load(c, R9, R15, segment_base(in->seg), SEG_BASE_SIZE);
        emit_lea_index(c, R8, R8, R9, 0, 0, 4);
    }
}

/* ModRM, SIB and displacement of the operand as it stands, with `extra` added to the displacement.
 */
static void emit_operand(Code *c, unsigned reg, const Insn *in, int32_t extra)
{
    int32_t disp = (int32_t)in->disp + extra;
    unsigned reg_bits = (reg & 7) << 3;
    if (in->base == NO_REG) {
        emit8(c, 0x04 | reg_bits);
        emit8(c,
              in->index == NO_REG ? 0x25 : (unsigned)in->scale << 6 | (unsigned)in->index << 3 | 5);
        emit32(c, (uint32_t)disp);
        return;
    }
    unsigned mod = disp == 0 && in->base != EBP ? 0 : disp == (int8_t)disp ? 1 : 2;
    if (in->index != NO_REG || in->base == ESP) {
        emit8(c, mod << 6 | reg_bits | 4);
        emit8(c, in->index == NO_REG
                     ? 0x24
                     : (unsigned)in->scale << 6 | (unsigned)in->index << 3 | in->base);
    } else {
        emit8(c, mod << 6 | reg_bits | in->base);
    }
    if (mod == 1) {
        emit8(c, (uint8_t)disp);
    } else if (mod == 2) {
        emit32(c, (uint32_t)disp);
    }
}

/* What of an opcode the encoder needs. */
typedef struct Opcode {
    unsigned byte;
    bool map_0f, operand_16, lock;
    unsigned mandatory; /* 0, 0x66, 0xf2, 0xf3 */
    unsigned size;      /* bytes of the memory operand: 1, 2 or 4 in code for the page array */
    bool write;
} Opcode;

/* r8 = host address of linear address r8, through the page array; the jump for a miss leaves with
 * r8d as it was and rcx in r11. Uses r9. */
static void emit_lookup(Code *c, unsigned size, bool write)
{
    static const uint8_t pext_r9d_r8d_r14[] = {0xc4, 0x42, 0x3a, 0xf5, 0x8e};
    static const uint8_t mov_r9_r14_r9_8[] = {0x4f, 0x8b, 0x8c, 0xce};
    static const uint8_t jrcxz_2_jmp_5[] = {0xe3, 2, 0xeb, 5};
    static const uint8_t add_r8_r9[] = {0x4f, 0x8d, 0x04, 0x08}; /* lea */
    emit_bytes(c, pext_r9d_r8d_r14, sizeof(pext_r9d_r8d_r14));
    emit32(c, (uint32_t)array_mask_at(size));
    emit_bytes(c, mov_r9_r14_r9_8, sizeof(mov_r9_r14_r9_8));
    emit32(c, (uint32_t)array_table_at(size, write));
    emit_mov(c, R11, ECX, 8);
    emit_mov(c, ECX, R9, 8);
    emit_bytes(c, jrcxz_2_jmp_5, sizeof(jrcxz_2_jmp_5));
    c->miss[c->misses++] = emit_jump(c, code_here(c));
    emit_mov(c, ECX, R11, 8);
    emit_bytes(c, add_r8_r9, sizeof(add_r8_r9));
}

/* Bytes of the memory operand that the row names, 0 for what the page array does not serve. */
static unsigned memory_size(const Insn *in)
{
    for (const char *p = op_rows[in->op].operands; *p;) {
        if (*p == 'E' || *p == 'M' || *p == 'O') {
            switch (p[1]) {
            case 'b':
                return 1;
            case 'w':
                return 2;
            case 'd':
                return 4;
            case 'v':
                return in->opsize;
            default:
                return 0;
            }
        }
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return 0;
}

/* prefixes, opcode, ModRM of an instruction with `reg` (0..15) and the memory operand of `in`. */
static void emit_memory(Code *c, const Opcode *op, unsigned reg, const Insn *in, int mode,
                        int32_t extra)
{
    bool as_is = direct(in, mode);
    if (!as_is) {
        emit_address(c, in, mode, extra);
    }
    if (mode & MODE_ARRAY) {
        emit_lookup(c, op->size, op->write);
    } else {
        emit8(c, GS_PREFIX);
    }
    if (as_is) {
        emit8(c, ADDRESS_32);
    }
    if (op->operand_16) {
        emit8(c, OPERAND_16);
    }
    if (op->lock) {
        emit8(c, LOCK);
    }
    if (op->mandatory) {
        emit8(c, op->mandatory);
    }
    unsigned rex = (reg >= R8 ? REX_R : 0u) | (as_is ? 0u : (unsigned)REX_B);
    if (rex) {
        emit8(c, rex);
    }
    if (op->map_0f) {
        emit8(c, 0x0f);
    }
    emit8(c, op->byte);
    if (as_is) {
        emit_operand(c, reg, in, extra);
    } else {
        emit8(c, (reg & 7) << 3); /* [r8] */
    }
}

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

/* Does the row's operand list name something of operand size? */
static bool has_operand_size(const char *operands)
{
    return strchr(operands, 'v') != NULL || strstr(operands, "eAX") != NULL;
}

/* A byte register operand AH..BH cannot stand beside a REX prefix. */
static bool has_high_byte(const OpRow *row, const Insn *in)
{
    return strstr(row->operands, "Gb") && in->reg >= 4;
}

/* AL or eAX from and to an address in the code: as a plain MOV with that memory operand. */
static bool select_moffs(Code *c, const Insn *in, int mode)
{
    static const uint8_t as_mov[4] = {0x8a, 0x8b, 0x88, 0x89};
    Opcode op = {.byte = as_mov[in->opcode & 3],
                 .operand_16 = in->opcode & 1 && in->opsize == 2,
                 .size = memory_size(in),
                 .write = in->opcode & 2};
    if (!reachable(in, mode)) {
        return false;
    }
    emit_memory(c, &op, EAX, in, mode, 0);
    return true;
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
                    (has_operand_size(row->operands) || row->operands[0] == '\0');
    op.mandatory = row->prefix < sizeof(mandatory) ? mandatory[row->prefix] : 0;
    if (row->operands[0] == 'O' || strstr(row->operands, ",O")) {
        return select_moffs(c, in, mode);
    }
    if (row->map == MAP_1 && op.byte == 0x82) {
        op.byte = 0x80; /* its alias, which 64-bit mode has not */
    }
    if (row->form != FORM_NONE && in->memory) {
        bool as_is = direct(in, mode);
        if (in->op == OP_LEA) { /* no segment, no access */
            if (in->adsize == 2) {
                return false;
            }
            emit8(c, ADDRESS_32);
            if (op.operand_16) {
                emit8(c, OPERAND_16);
            }
            emit8(c, op.byte);
            emit_operand(c, in->reg, in, 0);
            return true;
        }
        op.size = memory_size(in);
        op.write = row->traits & T_WR;
        if (!reachable(in, mode) || (!as_is && has_high_byte(row, in)) ||
            (mode & MODE_ARRAY && !op.size)) {
            return false;
        }
        emit_memory(c, &op, in->modrm >> 3 & 7, in, mode, 0);
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

/* --- the stack: SS is flat and 32 bits wide (mode_of sees to it) --- */

static const Insn stack_top = {.seg = SS, .adsize = 4, .base = ESP, .index = NO_REG};

/* mov gs:[esp + disp], reg */
static void emit_stack_store(Code *c, unsigned reg, int32_t disp, unsigned size, int mode)
{
    Opcode op = {.byte = 0x89, .operand_16 = size == 2, .size = size, .write = true};
    emit_memory(c, &op, reg, &stack_top, mode & MODE_ARRAY, disp);
}

static void emit_stack_load(Code *c, unsigned reg, int32_t disp, unsigned size, int mode)
{
    Opcode op = {.byte = 0x8b, .operand_16 = size == 2, .size = size};
    emit_memory(c, &op, reg, &stack_top, mode & MODE_ARRAY, disp);
}

static void emit_stack_move(Code *c, int32_t by)
{
    emit_lea(c, ESP, ESP, by, 4);
}

void select_push_imm(Code *c, uint32_t value, int mode)
{
    Opcode op = {.byte = 0xc7, .size = 4, .write = true};
    emit_memory(c, &op, 0, &stack_top, mode & MODE_ARRAY, -4);
    emit32(c, value);
    emit_stack_move(c, -4);
}

void select_pop_target(Code *c, uint32_t release, int mode)
{
    emit_stack_load(c, R8, 0, 4, mode);
    emit_stack_move(c, 4 + (int32_t)release);
}

static bool select_push_e(Code *c, const Insn *in, int mode)
{
    if (in->memory) {
        if (!reachable(in, mode)) {
            return false;
        }
        Opcode op = {.byte = 0x8b, .operand_16 = in->opsize == 2, .size = in->opsize};
        emit_memory(c, &op, R10, in, mode, 0);
        emit_stack_store(c, R10, -(int32_t)in->opsize, in->opsize, mode);
    } else {
        emit_stack_store(c, in->rm, -(int32_t)in->opsize, in->opsize, mode);
    }
    emit_stack_move(c, -(int32_t)in->opsize);
    return true;
}

static bool select_pop_reg(Code *c, unsigned reg, unsigned size, int mode)
{
    if (reg == ESP && size == 2) {
        return false;
    }
    emit_stack_load(c, reg, 0, size, mode);
    if (reg != ESP) {
        emit_stack_move(c, (int32_t)size);
    }
    return true;
}

/* An ESP in the address counts as already moved (SDM, POP). */
static bool select_pop_e(Code *c, const Insn *in, int mode)
{
    if (!in->memory) {
        return select_pop_reg(c, in->rm, in->opsize, mode);
    }
    if (!reachable(in, mode)) {
        return false;
    }
    Opcode op = {.byte = 0x89, .operand_16 = in->opsize == 2, .size = in->opsize, .write = true};
    emit_stack_load(c, R10, 0, in->opsize, mode);
    emit_memory(c, &op, R10, in, mode, in->base == ESP ? in->opsize : 0);
    emit_stack_move(c, in->opsize);
    return true;
}

static void select_push_i(Code *c, const Insn *in, int mode)
{
    Opcode op = {.byte = 0xc7, .operand_16 = in->opsize == 2, .size = in->opsize, .write = true};
    emit_memory(c, &op, 0, &stack_top, mode & MODE_ARRAY, -(int32_t)in->opsize);
    for (unsigned i = 0; i < in->opsize; i++) {
        emit8(c, in->imm >> (8 * i));
    }
    emit_stack_move(c, -(int32_t)in->opsize);
}

static bool select_leave(Code *c, const Insn *in, int mode)
{
    if (in->opsize == 2) {
        return false;
    }
    static const Insn frame = {.seg = SS, .adsize = 4, .base = EBP, .index = NO_REG};
    Opcode op = {.byte = 0x8b, .size = 4};
    emit_memory(c, &op, R10, &frame, mode & MODE_ARRAY, 0);
    emit_lea(c, ESP, EBP, 4, 4);
    emit_mov(c, EBP, R10, 4);
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

/* DF is kept in both places: C code wants the host's clear. */
static void select_direction(Code *c, const Insn *in)
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
    emit8(c, in->opcode);
}

/* String instructions run on the host's as well, on host addresses: the windows' bases end in 32
 * zero bits, so that the low halves of rsi and rdi are the guest's at every moment. */
static bool select_string(Code *c, const Insn *in, int mode)
{
    const char *operands = op_rows[in->op].operands;
    bool from = strchr(operands, 'X') != NULL, to = strchr(operands, 'Y') != NULL;
    if (in->adsize == 2 || mode & MODE_ARRAY ||
        (from && mode_segment(mode, in->seg) != MODE_SEG_FLAT) ||
        (to && mode_segment(mode, ES) != MODE_SEG_FLAT)) {
        return false;
    }
    emit_load(c, R8, R15, scratch_at(SCRATCH_BASE), 8);
    if (from) {
        emit_lea_index(c, ESI, ESI, R8, 0, 0, 8);
    }
    if (to) {
        emit_lea_index(c, EDI, EDI, R8, 0, 0, 8);
    }
    if (in->opsize == 2 && has_operand_size(operands)) {
        emit8(c, OPERAND_16);
    }
    if (in->prefix & (PREFIX_REP | PREFIX_REPNE)) {
        bool compares = op_rows[in->op].flags_written != 0; /* F2 means F3 to the others */
        emit8(c, in->prefix & PREFIX_REPNE && compares ? 0xf2 : 0xf3);
    }
    emit8(c, in->opcode);
    if (from) {
        emit_mov(c, ESI, ESI, 4);
    }
    if (to) {
        emit_mov(c, EDI, EDI, 4);
    }
    return true;
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

void select_offset(Code *c, const Insn *in)
{
    emit_offset(c, in, 0);
}

bool select_word(Code *c, const Insn *in, int mode)
{
    if (!reachable(in, mode)) {
        return false;
    }
    emit_memory(c, &(Opcode){.byte = 0xb7, .map_0f = true}, R10, in, mode, 0);
    return true;
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
    case TR_PUSH_Z:
        emit_stack_store(c, in->reg, -(int32_t)in->opsize, in->opsize, mode);
        emit_stack_move(c, -(int32_t)in->opsize);
        return true;
    case TR_PUSH_I:
        select_push_i(c, in, mode);
        return true;
    case TR_PUSH_E:
        return select_push_e(c, in, mode);
    case TR_POP_Z:
        return select_pop_reg(c, in->reg, in->opsize, mode);
    case TR_POP_E:
        return select_pop_e(c, in, mode);
    case TR_LEAVE:
        return select_leave(c, in, mode);
    default:
        return false;
    }
}

bool select_target(Code *c, const Insn *in, int mode)
{
    if (in->opsize == 2 || (in->memory && !reachable(in, mode))) {
        return false;
    }
    if (in->memory) {
        emit_memory(c, &(Opcode){.byte = 0x8b, .size = 4}, R10, in, mode, 0);
    } else {
        emit_mov(c, R10, in->rm, 4);
    }
    return true;
}

SelectEnd select_end(const Insn *in)
{
    bool wide = in->opsize == 4;
    switch ((Transfer)transfer[in->op]) {
    case TR_JCC:
        return wide ? END_IF : END_CALLED;
    case TR_JMP_J:
        return wide ? END_JUMP : END_CALLED;
    case TR_JMP_E:
        return wide ? END_JUMP_INDIRECT : END_CALLED;
    case TR_CALL_J:
        return wide ? END_CALL : END_CALLED;
    case TR_CALL_E:
        return wide ? END_CALL_INDIRECT : END_CALLED;
    case TR_RET:
        return wide ? END_RETURN : END_CALLED;
    case TR_LOOP:
        return wide && in->adsize == 4 ? END_LOOP : END_CALLED;
    default:
        break;
    }
    return op_rows[in->op].traits & T_END ? END_CALLED : END_NONE;
}
