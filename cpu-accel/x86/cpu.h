/* The architectural state of one x86 processor (386 to Pentium 4, 32-bit), and the pins by which
 * the board reaches it.
 *
 * Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volumes 2 and 3, is the
 * source throughout. Part `Cpu` up to the mark is what a saved machine holds and what engines hand
 * to one another (AccelOps pull and push). Below the mark are the surroundings, set once when the
 * machine is built, and caches that may be dropped at any time.
 */
#ifndef CPU_ACCEL_X86_CPU_H
#define CPU_ACCEL_X86_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };

typedef enum SegIndex { ES, CS, SS, DS, FS, GS, SEG_COUNT, LDTR = SEG_COUNT, TR } SegIndex;

/* EFLAGS (SDM vol. 1, 3.4.3). */
enum {
    FL_CF = 1 << 0,
    FL_ONE = 1 << 1, /* always reads 1 */
    FL_PF = 1 << 2,
    FL_AF = 1 << 4,
    FL_ZF = 1 << 6,
    FL_SF = 1 << 7,
    FL_TF = 1 << 8,
    FL_IF = 1 << 9,
    FL_DF = 1 << 10,
    FL_OF = 1 << 11,
    FL_IOPL = 3 << 12,
    FL_NT = 1 << 14,
    FL_RF = 1 << 16,
    FL_VM = 1 << 17,
    FL_AC = 1 << 18,
    FL_VIF = 1 << 19,
    FL_VIP = 1 << 20,
    FL_ID = 1 << 21,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

/* Cpu.arith: the six arithmetic flags as `lahf; seto %al` leaves them in AX, so that host code
 * reads and writes them in two instructions: bits 15 SF, 14 ZF, 12 AF, 10 PF, 8 CF (bit 9 is 1 on
 * the host, ignored here); bits 7..0 are OF, 0 or 1. */
enum {
    ARITH_OF = 1 << 0,
    ARITH_CF = 1 << 8,
    ARITH_PF = 1 << 10,
    ARITH_AF = 1 << 12,
    ARITH_ZF = 1 << 14,
    ARITH_SF = 1 << 15,
};

enum {
    CR0_PE = 1u << 0,
    CR0_MP = 1u << 1,
    CR0_EM = 1u << 2,
    CR0_TS = 1u << 3,
    CR0_ET = 1u << 4,
    CR0_NE = 1u << 5,
    CR0_WP = 1u << 16,
    CR0_AM = 1u << 18,
    CR0_NW = 1u << 29,
    CR0_CD = 1u << 30,
    CR0_PG = 1u << 31,
    CR4_VME = 1u << 0,
    CR4_PVI = 1u << 1,
    CR4_TSD = 1u << 2,
    CR4_DE = 1u << 3,
    CR4_PSE = 1u << 4,
    CR4_PAE = 1u << 5,
    CR4_MCE = 1u << 6,
    CR4_PGE = 1u << 7,
    CR4_PCE = 1u << 8,
    CR4_OSFXSR = 1u << 9,
    CR4_OSXMMEXCPT = 1u << 10,
};

/* SegReg.access: descriptor bits 40..47 in bits 0..7 and 52..55 in bits 12..15, as VMX and KVM lay
 * them out. */
enum {
    SEG_ACCESSED = 1 << 0,
    SEG_WRITABLE = 1 << 1,    /* data; code: readable */
    SEG_EXPAND_DOWN = 1 << 2, /* data; code: conforming */
    SEG_CODE = 1 << 3,
    SEG_S = 1 << 4, /* code or data, not a system segment */
    SEG_DPL = 3 << 5,
    SEG_DPL_SHIFT = 5,
    SEG_PRESENT = 1 << 7,
    SEG_AVL = 1 << 12,
    SEG_BIG = 1 << 14, /* D/B */
    SEG_GRANULARITY = 1 << 15,
    SEG_UNUSABLE = 1 << 16, /* a null selector was loaded: every access faults */
};

typedef struct SegReg {
    uint16_t selector;
    uint32_t access;
    uint32_t base; /* linear address */
    uint32_t
        limit; /* last valid offset in bytes (expand-down: last invalid one), after granularity */
} SegReg;

typedef struct TableReg {
    uint32_t base;
    uint16_t limit;
} TableReg;

/* An x87 register in memory format; MMX registers are the low 64 bits. */
typedef struct Float80 {
    uint64_t mantissa;
    uint16_t sign_exponent;
} Float80;

typedef struct Xmm {
    uint64_t q[2];
} Xmm;

typedef struct Fpu {
    uint16_t control; /* FCW */
    uint16_t status;  /* FSW, TOP included */
    uint8_t valid;    /* abridged tag, by physical register: bit set = not empty (as in FXSAVE) */
    uint16_t opcode;  /* FOP, 11 bits */
    uint16_t ip_selector, data_selector;
    uint32_t ip, data; /* FIP, FDP */
    Float80 st[8];     /* by physical register: ST(i) is st[(TOP + i) & 7] */
    uint32_t mxcsr;
    Xmm xmm[8];
} Fpu;

/* Vectors (SDM vol. 3, table 6-1). */
typedef enum Vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_NMI = 2,
    VEC_BP = 3,
    VEC_OF = 4,
    VEC_BR = 5,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_TS = 10,
    VEC_NP = 11,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_MF = 16,
    VEC_AC = 17,
    VEC_MC = 18,
    VEC_XM = 19,
} Vector;

typedef struct Fault {
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint32_t cr2; /* VEC_PF: the linear address; goes to CR2 on delivery */
    uint32_t dr6; /* VEC_DB: bits to set in DR6 on delivery */
} Fault;

typedef enum CpuModel {
    CPU_386,
    CPU_486,
    CPU_PENTIUM,
    CPU_PENTIUM_MMX,
    CPU_PENTIUM2,
    CPU_PENTIUM3,
    CPU_PENTIUM4,
    CPU_MODEL_COUNT
} CpuModel;

/* What stands between two instructions and the next one (SDM vol. 3, 6.8.3 and 6.9). */
enum {
    SHADOW_STI = 1 << 0,    /* maskable interrupts wait for one instruction */
    SHADOW_MOV_SS = 1 << 1, /* all interrupts and debug traps wait for one instruction */
};

/* Cpu.apic_base (SDM vol. 3, 10.4.4). */
enum {
    APIC_BASE_BSP = 1 << 8,
    APIC_BASE_ENABLE = 1 << 11,
};

/* DR6 and pending_dr6 (SDM vol. 3, 17.2.3). */
enum {
    DR6_B0 = 1 << 0,
    DR6_BD = 1 << 13,
    DR6_BS = 1 << 14,
    DR6_BT = 1 << 15,
    DR7_GE = 1 << 9,
    DR7_GD = 1 << 13,
};

typedef enum CpuActivity { CPU_RUNNING, CPU_HALTED, CPU_SHUTDOWN } CpuActivity;

typedef struct Mtrr {
    uint64_t def_type, fixed[11], base[8], mask[8];
} Mtrr;

/* The I/O instruction during which SMI came, as it was before it: what RSM goes back to when the
 * handler asks for a restart (SDM vol. 3, 31.12). */
typedef struct IoRestart {
    bool valid; /* until the SMI is taken, which is at once */
    uint32_t eip, ecx, esi, edi;
} IoRestart;

struct Tlb;
struct CpuPins;

/* An engine with translations of its own is told what the TLB forgets. */
typedef struct CpuFlushed {
    void (*all)(void *self, bool globals_too);
    void (*page)(void *self, uint32_t linear);
    void *self;
} CpuFlushed;

/* Somebody who stands between the processor and what lies beyond its memory: engine check, which
 * lets two processors see one machine. Every such access goes through the tap instead. */
typedef struct CpuTap {
    uint64_t (*read)(void *self, bool port, uint64_t at, unsigned bytes);
    void (*write)(void *self, bool port, uint64_t at, uint64_t value, unsigned bytes);
    int64_t (*now)(void *self);             /* guest ns */
    void (*marks)(void *self, uint64_t at); /* an accessed or dirty bit is about to be written */
    void *self;
    uint32_t iterations; /* of a repeated instruction at a time, at most; 0: as without a tap */
} CpuTap;

typedef struct Cpu {
    uint32_t reg[9]; /* EAX..EDI; the last is always 0, for addresses without base or index */
    uint32_t eip;
    uint32_t eflags; /* all but the arithmetic flags, which are zero here and live in arith */
    uint16_t arith;  /* ARITH_* */
    uint8_t shadow;  /* SHADOW_* */
    uint8_t cpl;     /* 3 in virtual-8086 mode, 0 in real mode */
    SegReg seg[8];   /* ES..GS, LDTR, TR */
    TableReg gdtr, idtr;
    uint32_t cr0, cr2, cr3, cr4;
    uint32_t dr[4], dr6, dr7;
    uint64_t pdpte[4]; /* PAE: loaded with CR3 (SDM vol. 3, 4.4.1) */
    Fpu fpu;
    CpuActivity activity;
    bool smm;
    bool nmi_blocked;
    bool nmi_pending, smi_pending, init_pending;
    uint32_t pending_dr6; /* traps of the instruction before, not delivered yet (BS, B0..B3 of data
                             breakpoints) */
    uint32_t smbase;
    IoRestart io_restart;
    uint64_t apic_base, sysenter_cs, sysenter_esp, sysenter_eip, pat, misc_enable, debugctl,
        microcode;
    int64_t tsc_offset; /* TSC = guest time in ticks of tsc_hz + this */
    Mtrr mtrr;
    bool ignne;                          /* IGNNE# asserted by port F0h, until FERR# falls */
    uint64_t mcg_status;                 /* machine check; no error is ever reported */
    bool nmi_pin, smi_pin, init_pin;     /* levels last seen: these pins count edges */
    uint64_t pvclock_wall, pvclock_time; /* pvclock.h */
    bool rdrand_shown;                   /* an engine's CPUID had it: foreign.c */

    /* --- not saved from here on --- */

    CpuModel model;
    bool pvclock;             /* the machine has it */
    int64_t pvclock_start_us; /* when guest time was 0, since 1970, UTC */
    uint32_t tsc_hz;          /* saved, but the board's rather than the processor's */
    bool intr;                /* INTR pin */
    bool a20;                 /* A20 gate open; the board's latch is what is saved */
    Fault fault;              /* filled by whoever returns X_FAULT */
    uint64_t executed;        /* instructions retired, for the counted clock and counters */
    atomic_bool attention;    /* from any thread: leave the run loop soon */
    Board *board;
    Ram *ram;
    const struct CpuPins *pins;
    struct Tlb *tlb; /* mmu.h */
    struct {
        uint32_t polls, streak; /* in a row; bursts of them in a row */
        uint32_t rests;         /* idle calls in a row, each soon after the last one's nap */
        int64_t since, nap_ns;  /* guest ns */
        int64_t woken;          /* guest ns at which the last nap ended */
    } idle;                     /* idle.h */
    CpuFlushed flushed;
    const CpuTap *tap;     /* NULL: none */
    uintptr_t scratch[48]; /* the running engine's */
    bool step_trap;        /* debug_begin saw TF: a trap follows the instruction */
} Cpu;

/* What the processor asks of the board. */
typedef struct CpuPins {
    uint8_t (*acknowledge)(void *self); /* INTA cycle: the vector */
    void *self;
    Line ferr;     /* FERR#: x87 exception pending (IRQ13 through the board) */
    Line smiact;   /* SMIACT#: in system management mode */
    Line shutdown; /* rising: shutdown cycle; the PC answers with a reset */
    /* The APIC_BASE register was written, or reset; may be NULL. Bits as in the register. */
    void (*apic_base_changed)(void *self, uint64_t value);
} CpuPins;

/* How an instruction ended. */
typedef enum Outcome {
    X_NEXT,   /* done; go on behind it: the caller adds its length to eip */
    X_BRANCH, /* done; eip is set, in the same segment and mode */
    X_STOP,   /* done, eip is set (behind it or elsewhere); something the run loop must look at has
               * changed: mode, segments of   code or stack, paging, interrupt flag, halt */
    X_REPEAT, /* a repeated string instruction paused between two iterations; eip still points at it
               */
    X_FAULT,  /* not done: cpu->fault says why; eip and all state that must be are as before */
} Outcome;

/* Fills cpu->fault and returns X_FAULT. */
Outcome cpu_fault(Cpu *cpu, Vector vector); /* without an error code */
Outcome cpu_fault_code(Cpu *cpu, Vector vector, uint32_t error_code);

/* The whole of EFLAGS, and setting all of it (FL_ONE forced, reserved bits dropped). */
uint32_t cpu_eflags(const Cpu *cpu);
void cpu_set_eflags(Cpu *cpu, uint32_t eflags);

static inline bool cpu_real_mode(const Cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE);
}

static inline bool cpu_v86(const Cpu *cpu)
{
    return cpu->eflags & FL_VM;
}

/* Segments behave as in real mode: base = selector << 4, no descriptors. */
static inline bool cpu_v86_or_real(const Cpu *cpu)
{
    return cpu_real_mode(cpu) || cpu_v86(cpu);
}

static inline bool cpu_code32(const Cpu *cpu)
{
    return cpu->seg[CS].access & SEG_BIG;
}

static inline bool cpu_stack32(const Cpu *cpu)
{
    return cpu->seg[SS].access & SEG_BIG;
}

static inline uint32_t cpu_iopl(const Cpu *cpu)
{
    return (cpu->eflags & FL_IOPL) >> 12;
}

/* The 8-bit register of encoding n: AL CL DL BL AH CH DH BH. */
static inline uint8_t *cpu_reg8(Cpu *cpu, unsigned n)
{
    return (uint8_t *)&cpu->reg[n & 3] + (n >> 2 & 1);
}

/* Creation: the Cpu is also a device of the board, "cpu", for reset and state. */
Cpu *cpu_new(Board *b, CpuModel model, const CpuPins *pins);
/* Solders the pins to chips that are made later than the processor; before the first reset. */
void cpu_connect(Cpu *cpu, const CpuPins *pins);
/* The INIT pin's effect now; power-on and RESET# come through the device's reset. */
void cpu_init_reset(Cpu *cpu);

/* Pins driven by the board, as line sinks. Machine's thread. */
void cpu_intr(void *cpu, unsigned pin, bool level);
void cpu_nmi(void *cpu, unsigned pin, bool level);      /* edge */
void cpu_smi(void *cpu, unsigned pin, bool level);      /* edge */
void cpu_init_pin(void *cpu, unsigned pin, bool level); /* edge */
void cpu_a20m(void *cpu, unsigned pin, bool open);      /* true: A20 passes */
void cpu_ignne(void *cpu, unsigned pin, bool level);    /* edge: port F0h was written */

#endif
