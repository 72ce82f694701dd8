/* The x87 unit, MMX and SSE: registers' bits, and what the rest of the processor must call.
 *
 * Source: SDM vol. 1, chapters 8 to 11, and Appendix D (error reporting through FERR# and IGNNE#).
 * The handlers of the opcode list (x86_ops_fpu.def) are in ex_x87_*.c, ex_mmx*.c and ex_sse*.c.
 */
#ifndef CPU_ACCEL_X86_FPU_H
#define CPU_ACCEL_X86_FPU_H

#include "cpu-accel/x86/cpu.h"

/* Fpu.status (SDM vol. 1, 8.1.3). The six flags stand in the same places in the mask of
 * Fpu.control, and in Fpu.mxcsr's bits 5..0. */
enum {
    FSW_IE = 1 << 0, /* invalid operation */
    FSW_DE = 1 << 1, /* denormal operand */
    FSW_ZE = 1 << 2, /* zero divide */
    FSW_OE = 1 << 3, /* overflow */
    FSW_UE = 1 << 4, /* underflow */
    FSW_PE = 1 << 5, /* precision */
    FSW_FLAGS = 0x3f,
    FSW_SF = 1 << 6, /* stack fault */
    FSW_ES = 1 << 7, /* an unmasked flag is set */
    FSW_C0 = 1 << 8,
    FSW_C1 = 1 << 9,
    FSW_C2 = 1 << 10,
    FSW_TOP = 7 << 11,
    FSW_TOP_SHIFT = 11,
    FSW_C3 = 1 << 14,
    FSW_B = 1 << 15, /* same as ES since the 387 */
    FSW_CONDITION = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3,
};

/* Fpu.control (SDM vol. 1, 8.1.5). */
enum {
    FCW_MASKS = 0x3f,
    FCW_ONE = 1 << 6, /* always reads 1 */
    FCW_PRECISION = 3 << 8,
    FCW_ROUNDING = 3 << 10,
    FCW_INFINITY = 1 << 12, /* kept, without effect */
    FCW_WRITABLE = FCW_MASKS | FCW_PRECISION | FCW_ROUNDING | FCW_INFINITY,
    FCW_INIT = 0x37f,
};

/* Fpu.mxcsr (SDM vol. 1, 10.2.3). */
enum {
    MXCSR_FLAGS = 0x3f,
    MXCSR_DAZ = 1 << 6, /* Pentium 4 */
    MXCSR_MASKS = 0x3f << 7,
    MXCSR_MASKS_SHIFT = 7,
    MXCSR_ROUNDING = 3 << 13,
    MXCSR_FTZ = 1 << 15,
};

/* What FNINIT does. */
void fpu_init(Fpu *f);

/* Drives FERR# from the status and CR0.NE, and withdraws IGNNE# when it falls. The handlers call it
 * at every change of the status; others after a write of CR0 and after loading a state. */
void fpu_drive_ferr(Cpu *cpu);

/* An engine that uses the handlers calls this whenever it begins to run: the host's x87 unit may hold
 * another machine's flags. */
void fpu_host_release(void);

/* The tag word with two bits for a register, as the environment holds it. */
uint16_t fpu_tag_word(const Fpu *f);
void fpu_set_tag_word(Fpu *f, uint16_t tags);

/* Bits of MXCSR that the model has. */
uint32_t fpu_mxcsr_mask(CpuModel model);

#endif
