/* For tests of x87, MMX and SSE: a processor over flat memory, the rows of x86_ops_fpu.def, and the
 * host as judge. */
#ifndef TESTS_CPU_FPU_RIG_H
#define TESTS_CPU_FPU_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/ops.h"

enum { RIG_RAM = 0x20000, RIG_DATA = 0x8000, RIG_EIP = 0x1234 };

typedef struct Rig {
    Board *board;
    Cpu *cpu;
    uint8_t *ram; /* RIG_RAM bytes at linear 0 */
    bool ferr;    /* level of FERR# */
    unsigned ferr_rises;
} Rig;

/* Flat 32-bit protected mode with every segment writable, CR0 and CR4 as an OS leaves them. */
void rig_open(Rig *rig, CpuModel model);
void rig_close(Rig *rig);

/* The list's rows of this unit. */
extern const OpRow *const rig_rows;
extern const unsigned rig_row_count;
const OpRow *rig_row(const char *id);

/* Runs one row with this ModRM; memory operands are at RIG_DATA. imm is the immediate byte. */
Outcome rig_run(Rig *rig, const OpRow *row, uint8_t modrm, uint8_t imm);

uint64_t rig_random(uint64_t *seed);
/* Registers and operands that are often at an edge. */
uint64_t rig_random_double(uint64_t *seed);
uint32_t rig_random_single(uint64_t *seed);
Float80 rig_random_real(uint64_t *seed);

/* The host's registers around one judged instruction. */
typedef struct Judge {
    /* FXSAVE's image: x87 or MMX registers, XMM and MXCSR */
    struct JudgeImage {
        uint16_t control, status;
        uint8_t valid, reserved;
        uint16_t opcode;
        uint32_t ip, ip_selector, data, data_selector;
        uint32_t mxcsr, mxcsr_mask;
        Float80 st[8]; /* by ST(i) */
        Xmm xmm[8], upper[8], rest[6];
    } fx __attribute__((aligned(16)));
    uint8_t memory[512] __attribute__((aligned(16))); /* the operand, from byte 16 on */
    uint64_t eax, ecx, edx, rflags;                   /* eax: as well as what the ModRM names */
    bool trapped;                                     /* the host raised an exception */
} Judge;

enum { JUDGE_OPERAND = 16 };

/* Runs `code` on the host: with a ModRM of memory form it must name [rdi], which is the operand. An
 * unmasked exception is caught: x87 through FWAIT behind the instruction, SSE at once. */
void judge_run(Judge *judge, const uint8_t *code, unsigned length);
void judge_load(Judge *judge, const Cpu *cpu);

#endif
