/* The opcode list as C: numbers (OP_*), the row table, and the handlers' prototypes, all made from
 * x86_ops.def. */
#ifndef CPU_ACCEL_X86_OPS_H
#define CPU_ACCEL_X86_OPS_H

#include "cpu-accel/x86/insn.h"

/* clang-format off */
typedef enum OpId {
#define OP(id, ...) OP_##id,
#include "cpu-accel/x86/x86_ops.def"
#undef OP
    OP_COUNT
} OpId;
/* clang-format on */

/* OpRow.flags_*: EFLAGS bits. */
enum {
    F_C = FL_CF,
    F_P = FL_PF,
    F_A = FL_AF,
    F_Z = FL_ZF,
    F_S = FL_SF,
    F_O = FL_OF,
    F_ALL = FL_ARITH,
    F_ALL_BUT_C = FL_ARITH & ~FL_CF,
    F_ALL_BUT_Z = FL_ARITH & ~FL_ZF,
    F_ALL_BUT_O = FL_ARITH & ~FL_OF,
};

/* OpRow.traits */
enum {
    T_LOCK = 1 << 0,       /* LOCK is allowed when the first operand is memory */
    T_END = 1 << 1,        /* the next instruction is not always the one behind: ends a block */
    T_RD = 1 << 2,         /* reads its memory operand, if it has one */
    T_WR = 1 << 3,         /* writes its memory operand, if it has one */
    T_STACK = 1 << 4,      /* pushes or pops */
    T_STR = 1 << 5,        /* string instruction: REP counts, memory by ESI and EDI */
    T_IO = 1 << 6,         /* a device, or the time, is looked at: the clock must be exact */
    T_PRIV = 1 << 7,       /* #GP(0) unless CPL is 0 (checked by the handler) */
    T_STOP = 1 << 8,       /* may return X_STOP */
    T_NO_REAL = 1 << 9,    /* #UD in real and virtual-8086 mode */
    T_UNTIL_486 = 1 << 10, /* gone with the Pentium */
    T_X87 = 1 << 11,
    T_MMX = 1 << 12,
    T_SSE = 1 << 13,
};

typedef enum OpMap { MAP_NONE, MAP_1, MAP_0F } OpMap;
typedef enum OpPrefix {
    MANDATORY_ANY,
    MANDATORY_NONE,
    MANDATORY_66,
    MANDATORY_F3,
    MANDATORY_F2
} OpPrefix;
typedef enum OpForm { FORM_NONE, FORM_RM, FORM_MEM, FORM_REG } OpForm;
enum { SLASH_R = -1 };

typedef struct OpRow {
    const char *id;
    const char *mnemonic;
    const char *operands;
    uint8_t map;    /* OpMap */
    uint8_t opcode; /* the first */
    uint8_t count;
    uint8_t prefix; /* OpPrefix */
    uint8_t form;   /* OpForm */
    int16_t digit;
    uint16_t flags_read, flags_written, flags_undefined;
    uint32_t traits;
    uint8_t since;          /* CpuModel */
    InsnHandler handler[4]; /* 16-bit register, 16-bit memory, 32-bit register, 32-bit memory */
} OpRow;

extern const OpRow op_rows[OP_COUNT];

/* The handlers, as the list names them. */
#define ONE(f) Outcome f(Cpu *cpu, const Insn *in);
#define BY_SIZE(f) ONE(f##_16) ONE(f##_32)
#define BY_FORM(f) ONE(f##_r) ONE(f##_m)
#define BY_BOTH(f) ONE(f##_16r) ONE(f##_16m) ONE(f##_32r) ONE(f##_32m)
#define OP(id, mnemonic, operands, map, opcode, count, prefix, form, digit, read, written, undef,  \
           traits, since, ex, tr)                                                                  \
    ex
#include "cpu-accel/x86/x86_ops.def"
#undef OP
#undef ONE
#undef BY_SIZE
#undef BY_FORM
#undef BY_BOTH

#endif
