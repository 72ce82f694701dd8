/* A decoded instruction: what the decoder makes, and the interpreter, the translator, the
 * disassembler and tests take. */
#ifndef CPU_ACCEL_X86_INSN_H
#define CPU_ACCEL_X86_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu-accel/x86/cpu.h"

enum { INSN_MAX_BYTES = 15 };

/* Insn.prefix */
enum {
    PREFIX_LOCK = 1 << 0,
    PREFIX_REPNE = 1 << 1, /* F2, the last of F2 and F3 counts */
    PREFIX_REP = 1 << 2,   /* F3 */
    PREFIX_OPSIZE = 1 << 3,
    PREFIX_ADSIZE = 1 << 4,
    PREFIX_SEG = 1 << 5, /* an override; Insn.seg is the result */
};

enum { NO_REG = 8 }; /* base or index: none; Cpu.reg[NO_REG] is 0, so that sums need not ask */

typedef struct Insn Insn;
typedef Outcome (*InsnHandler)(Cpu *cpu, const Insn *in);

struct Insn {
    InsnHandler
        handler;    /* the interpreter's, chosen by row, operand size and register or memory form */
    uint16_t op;    /* row of x86_ops.def: OP_ADD_Ev_Gv ... */
    uint8_t length; /* bytes, prefixes included: 1..15 */
    uint8_t opsize; /* effective operand size in bytes, 2 or 4; what the row's "v" means */
    uint8_t adsize; /* effective address size in bytes, 2 or 4 */
    uint8_t prefix;
    uint8_t seg;           /* SegIndex of the memory operand, default or override */
    bool memory;           /* ModRM (or moffs, or string) names memory; else rm is a register */
    uint8_t reg;           /* ModRM.reg, or the register in the opcode's low bits */
    uint8_t rm;            /* ModRM.rm as a register, where !memory */
    uint8_t base, index;   /* register numbers or NO_REG; 16-bit forms too (BX+SI ...) */
    uint8_t scale;         /* 0..3 */
    uint8_t opcode;        /* last opcode byte, for condition codes and x87 */
    uint8_t modrm;         /* the ModRM byte itself, 0 without one; x87 keeps it in FOP */
    uint32_t disp;         /* displacement or moffs, sign-extended */
    uint32_t address_mask; /* 0xffff or 0xffffffff, as adsize */
    uint32_t imm;          /* immediate, sign-extended where the row says so; relative targets: the
                              displacement */
    uint16_t imm2;         /* far pointer's selector; ENTER's level */
};

/* The bytes to decode: as many as can be fetched, up to INSN_MAX_BYTES. */
typedef struct CodeView {
    const uint8_t *bytes;
    unsigned count;
} CodeView;

typedef struct CpuMode {
    bool code32; /* CS.D */
    bool v86;    /* or real: some rows are undefined there */
    CpuModel model;
} CpuMode;

typedef enum DecodeResult {
    DECODE_OK,
    DECODE_SHORT, /* the instruction goes on beyond the bytes given: fetch more, or the fetch faults
                     there */
    DECODE_INVALID,  /* #UD (Insn.op is OP_INVALID, length is what was consumed) */
    DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
} DecodeResult;

/* Pure: no state, no memory but the bytes. Fills all of *out. */
DecodeResult x86_decode(const CodeView *code, const CpuMode *mode, Insn *out);

/* AT&T or Intel? Intel syntax, as the manual: "add eax, [ebx+4]". Returns the length of the text.
 */
int x86_disassemble(const Insn *in, uint32_t eip, char *text, unsigned room);

#endif
