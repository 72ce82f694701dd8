/* Selection: memory operands, in segments of every kind. */
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/ops.h"

static int32_t segment_at(unsigned seg, size_t field)
{
    return (int32_t)(offsetof(Cpu, seg) + seg * sizeof(SegReg) + field);
}

bool select_direct(const Insn *in, int mode)
{
    return mode_segment(mode, in->seg) == MODE_SEG_FLAT && in->adsize == 4 && !(mode & MODE_ARRAY);
}

void select_selector(Code *c, unsigned to, unsigned seg)
{
    emit_load_zero(c, to, R15, segment_at(seg, offsetof(SegReg, selector)), 2);
}

void select_offset(Code *c, const Insn *in, int32_t extra)
{
    int32_t disp = (int32_t)in->disp + extra;
    if (in->base == NO_REG && in->index == NO_REG) {
        emit_mov_imm(c, R8, (uint32_t)disp & in->address_mask);
        return;
    }
    if (in->index == NO_REG) {
        if (in->adsize == 2 && disp == 0) {
            emit_zero_extend(c, R8, in->base);
            return;
        }
        emit_lea(c, R8, in->base, disp, 4);
    } else if (in->base == NO_REG) {
        if (in->adsize == 2 && disp == 0) {
            emit_zero_extend(c, R8, in->index);
            return;
        }
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
        emit_zero_extend(c, R8, R8);
    }
}

void select_operand(Code *c, unsigned reg, const Insn *in, int32_t extra)
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

/* How many bytes the letters behind an operand's first one mean. */
static unsigned width(const char *letters, const Insn *in)
{
    static const struct {
        const char *letters;
        uint8_t bytes;
    } fixed[] = {{"dq", 16}, {"ps", 16}, {"pd", 16}, {"ss", 4}, {"sd", 8}, {"b", 1},
                 {"w", 2},   {"d", 4},   {"q", 8},   {"t", 10}, {"s", 6}};
    switch (letters[0]) {
    case 'v':
        return in->opsize;
    case 'p':
        if (letters[1] != 's' && letters[1] != 'd') {
            return in->opsize + 2u;
        }
        break;
    case 'a':
        return in->opsize * 2u;
    case 'm':
        return (unsigned)strtoul(letters + 1, NULL, 10);
    default:
        break;
    }
    for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (strncmp(letters, fixed[i].letters, strlen(fixed[i].letters)) == 0) {
            return fixed[i].bytes;
        }
    }
    return 1;
}

unsigned select_size(const Insn *in)
{
    const char *p = op_rows[in->op].operands;
    while (*p) {
        if (strchr("EMOQW", *p)) {
            return width(p + 1, in);
        }
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return 1;
}

/* movzx r9d, byte [address register + r8 + disp] */
static void emit_touch(Code *c, unsigned base, int32_t disp)
{
    emit8(c, base >= R8 ? 0x47 : 0x46); /* REX: r9, index r8 */
    emit8(c, 0x0f);
    emit8(c, 0xb6);
    emit8(c, 0x8c);              /* r9, SIB, disp32 */
    emit8(c, 0x00 | (base & 7)); /* index r8 */
    emit32(c, (uint32_t)disp);
}

/* movzx r9d, byte gs:[r8 + disp] */
static void emit_touch_below_window(Code *c, int32_t disp)
{
    static const uint8_t movzx_r9d_gs_r8[] = {GS_PREFIX, 0x45, 0x0f, 0xb6, 0x88};
    emit_bytes(c, movzx_r9d_gs_r8, sizeof(movzx_r9d_gs_r8));
    emit32(c, (uint32_t)disp);
}

void select_check(Code *c, const Access *a, int mode)
{
    unsigned kind = mode_segment(mode, a->seg);
    int32_t last = (int32_t)a->size - 1;
    /* with a limit of 4 GiB, only the end of it can be in the way */
    bool free = kind == MODE_SEG_BASED && (a->size == 1 || a->narrow);
    if (kind == MODE_SEG_FLAT || free) {
        return;
    }
    if (kind == MODE_SEG_64K && a->narrow) {
        if (a->size > 1) {
            emit_touch_below_window(c, last - WINDOW_LIMIT_BELOW);
        }
        return;
    }
    emit_load(c, R9, R15, scratch_at((a->write ? SCRATCH_WRITE : SCRATCH_READ) + a->seg), 8);
    emit_touch(c, R9, last);
    if (kind == MODE_SEG_DOWN) {
        emit_load(c, R9, R15, scratch_at(SCRATCH_LOW + a->seg), 8);
        emit_touch(c, R9, 0);
    }
}

void select_check_run(Code *c, const Access *a, int mode)
{
    if (a->narrow) { /* the offset wraps at 64 KiB, whatever the limit */
        emit_touch_below_window(c, -WINDOW_LIMIT_BELOW);
    }
    if (!a->narrow || mode_segment(mode, a->seg) != MODE_SEG_64K) {
        emit_load(c, R9, R15, scratch_at((a->write ? SCRATCH_WRITE : SCRATCH_READ) + a->seg), 8);
        emit_touch(c, R9, 0);
    }
}

void select_base(Code *c, unsigned to, unsigned seg)
{
    emit_load(c, to, R15, segment_at(seg, offsetof(SegReg, base)), 4);
}

/* r8 = host address of linear address r8, through the page array; the jump for a miss leaves with
 * r8d as it was and rcx in r11. Uses r9. */
static void emit_lookup(Code *c, unsigned size, bool write)
{
    static const uint8_t pext_r9d_r8d_r14[] = {0xc4, 0x42, 0x3a, 0xf5, 0x8e};
    static const uint8_t mov_r9_r14_r9_8[] = {0x4f, 0x8b, 0x8c, 0xce};
    static const uint8_t jrcxz_2_jmp_5[] = {0xe3, 2, 0xeb, 5};
    emit_bytes(c, pext_r9d_r8d_r14, sizeof(pext_r9d_r8d_r14));
    emit32(c, (uint32_t)array_mask_at(size));
    emit_bytes(c, mov_r9_r14_r9_8, sizeof(mov_r9_r14_r9_8));
    emit32(c, (uint32_t)array_table_at(size, write));
    emit_mov(c, R11, ECX, 8);
    emit_mov(c, ECX, R9, 8);
    emit_bytes(c, jrcxz_2_jmp_5, sizeof(jrcxz_2_jmp_5));
    c->miss[c->misses++] = emit_jump(c, code_here(c));
    emit_mov(c, ECX, R11, 8);
    emit_lea_index(c, R8, R8, R9, 0, 0, 8);
}

void select_at(Code *c, const Opcode *op, unsigned reg, const Access *a, int mode)
{
    bool based = mode_segment(mode, a->seg) != MODE_SEG_FLAT;
    select_check(c, a, mode);
    if (based) {
        select_base(c, R9, a->seg);
    }
    if (mode & MODE_ARRAY) {
        if (based) {
            emit_lea_index(c, R8, R8, R9, 0, 0, 4);
        }
        emit_lookup(c, a->size, a->write);
        based = false;
    } else {
        emit8(c, GS_PREFIX);
    }
    if (based) {
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
    emit8(c, (unsigned)REX_B | (based ? (unsigned)REX_X : 0u) | (reg >= R8 ? (unsigned)REX_R : 0u));
    if (op->map_0f) {
        emit8(c, 0x0f);
    }
    emit8(c, op->byte);
    emit8(c, (reg & 7) << 3 | (based ? 4 : 0)); /* [r8] or [r8 + r9] */
    if (based) {
        emit8(c, 0x08);
    }
}

/* Is the offset surely below 64 KiB? */
static bool is_narrow(const Insn *in)
{
    return in->adsize == 2 ||
           (in->base == NO_REG && in->index == NO_REG && in->disp < 0x8000); /* and with `extra` */
}

void select_part(Code *c, const Opcode *op, unsigned reg, const Insn *in, int mode, int32_t extra,
                 unsigned size)
{
    if (!select_direct(in, mode)) {
        Access a = {.seg = in->seg,
                    .size = size,
                    .write = op_rows[in->op].traits & T_WR,
                    .narrow = is_narrow(in)};
        select_offset(c, in, extra);
        select_at(c, op, reg, &a, mode);
        return;
    }
    emit8(c, GS_PREFIX);
    emit8(c, ADDRESS_32);
    if (op->operand_16) {
        emit8(c, OPERAND_16);
    }
    if (op->lock) {
        emit8(c, LOCK);
    }
    if (op->mandatory) {
        emit8(c, op->mandatory);
    }
    if (reg >= R8) {
        emit8(c, REX_R);
    }
    if (op->map_0f) {
        emit8(c, 0x0f);
    }
    emit8(c, op->byte);
    select_operand(c, reg, in, extra);
}

void select_memory(Code *c, const Opcode *op, unsigned reg, const Insn *in, int mode, int32_t extra)
{
    select_part(c, op, reg, in, mode, extra, select_size(in));
}
