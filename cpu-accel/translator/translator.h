/* The binary translator's parts, as they see one another.
 *
 * Guest code becomes host code that is almost the same bytes. While translated code runs:
 *   eax ecx edx ebx esp ebp esi edi   the guest's own (upper halves zero), ESP in rsp included
 *   host arithmetic flags and DF      the guest's, always (DF stands in Cpu.eflags as well)
 *   gs base                           the current window: guest linear address 0
 *   r15 Cpu   r14 guards of the window   r13 jump table of the space   r12 20
 *   r8-r11    scratch; r8d holds the guest EIP wherever control leaves a unit
 * There is no usable stack (rsp is the guest's), so C runs only behind the stubs, which spill and
 * switch stacks. docs/TRANSLATOR.md tells the whole story.
 */
#ifndef CPU_ACCEL_TRANSLATOR_TRANSLATOR_H
#define CPU_ACCEL_TRANSLATOR_TRANSLATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "cpu-accel/accel.h"
#include "cpu-accel/interpreter/interpreter.h"
#include "cpu-accel/translator/encode.h"
#include "cpu-accel/translator/window.h"
#include "cpu-accel/x86/insn.h"

enum {
    JUMP_ENTRIES = 1 << 16, /* a hash of EIP, cut by movzx, is the index */
    COUNT_BITS = 32,        /* of instructions that counted code may have before it; in r12 */
    UNIT_MAX_INSNS = 64,
    UNIT_MAX_CODE = 64 << 10, /* host bytes that one unit surely does not exceed */
    CODE_CACHE_SIZE = 64 << 20,
    HASH_BITS = 18,
    SLOW_BITS = 16,
    MAX_UNITS = 250000, /* and MAX_INSNS of them all bound what a guest can make us keep */
    MAX_INSNS = 2000000,
    MAX_SPACES = 64,
};

/* What the processor's mode means for code: part of a unit's identity. */
enum {
    MODE_USER = 1 << 0,   /* CPL 3 */
    MODE_CODE16 = 1 << 1, /* operand and address size are 16 bits by default */
    MODE_SEG_SHIFT = 2,   /* three bits a segment, ES..GS: */
    MODE_SEG_BITS = 3,
    MODE_SEG_FLAT = 0,       /* base 0, limit 4 GiB, readable and writable */
    MODE_SEG_BASED = 1,      /* any base, limit 4 GiB, readable and writable */
    MODE_SEG_64K = 2,        /* real and V86 mode: any base, limit 64 KiB, readable and writable */
    MODE_SEG_LIMITED = 3,    /* any base, limit and rights, null too, but not expand-down */
    MODE_SEG_DOWN = 4,       /* expand-down */
    MODE_STACK16 = 1 << 20,  /* SP, not ESP */
    MODE_REAL = 1 << 21,     /* real or V86: loads of segments set their bases */
    MODE_CS_BASED = 1 << 22, /* CS has a base or a limit: units are known by both */
    MODE_X87 =
        1 << 23, /* x87 and MMX can run on the host: no trap, no exception unmasked or pending */
    MODE_SSE = 1 << 24,     /* the same of SSE, and MODE_X87 */
    MODE_ARRAY = 1 << 28,   /* memory by the page array, no window; only for flat 32-bit code */
    MODE_COUNTED = 1 << 29, /* instructions are counted */
    MODE_PAUSES = 1 << 30,  /* and repeated ones pause, which counts, where the interpreter's do */
    MODE_NONE = -1,         /* code that is not translated: alignment checks */
};

static inline unsigned mode_segment(int mode, unsigned seg)
{
    return (unsigned)mode >> (MODE_SEG_SHIFT + MODE_SEG_BITS * seg) & ((1 << MODE_SEG_BITS) - 1);
}

typedef struct Unit Unit;

/* Where an instruction's host code is. */
typedef struct HostPlace {
    uint32_t at; /* offset from the unit's code */
    bool called; /* it calls the interpreter's handler */
} HostPlace;

/* Where a unit jumps on to another. While `to` is NULL it asks the run loop for the target. */
typedef struct Link {
    Unit *from, *to;
    uint32_t target; /* guest EIP */
    uint32_t base;   /* of the CS it is in */
    uint8_t *jump;   /* writable: rel32 of the jump to the other unit */
    uint8_t *guard;  /* writable: imm32 that its guard compares with; NULL: same page, no guard */
    const uint8_t *ask; /* executable: where an unlinked jump leads */
    struct Link *next;  /* others that lead to the same unit */
} Link;

/* A straight run of guest code on one page, translated. */
struct Unit {
    uint32_t ram_at; /* Ram offset of its first byte */
    uint32_t eip;
    uint32_t base, limit; /* of CS */
    int mode;
    uint16_t size;      /* guest bytes on that page */
    uint16_t tail;      /* and on another: a single instruction that crosses to it */
    uint32_t tail_page; /* the other's Ram page */
    uint16_t count;     /* instructions */
    bool dead;
    uint8_t *code;  /* entry that checks r8d, and CS where it has a base, first */
    uint8_t *entry; /* behind the check */
    uint8_t *end;
    Insn *insn;
    HostPlace *host; /* per instruction */
    Link link[2];
    Link *incoming;
    Unit *next_hash, *next_page, *next_tail;
};

/* Code of one mode seen through one window. */
typedef struct Space {
    const Window *window;
    int mode;
    uint64_t last_use;
    unsigned filled_count;
    uint16_t filled[JUMP_ENTRIES];
    bool listed[JUMP_ENTRIES];         /* is in `filled` */
    const uint8_t *jump[JUMP_ENTRIES]; /* by EIP: a unit's code, or the stub for a miss */
    Unit *unit[JUMP_ENTRIES];          /* the same for the run loop, or NULL */
} Space;

/* Why translated code came back. */
typedef enum LeaveReason {
    LEAVE_DISPATCH, /* go on at cpu->eip */
    LEAVE_LINK,     /* the same, and the link in scratch wants that unit */
    LEAVE_STEP,     /* the instruction at cpu->eip is the interpreter's */
    LEAVE_POLL,     /* attention */
    LEAVE_FEW,      /* fewer instructions are to run than the unit at cpu->eip has */
    LEAVE_TURN,     /* a called handler wants more than to go on, and got it; the run loop looks */
} LeaveReason;

/* Cpu.scratch while this engine runs. */
enum {
    SCRATCH_STACK,
    SCRATCH_RETURN,
    SCRATCH_LINK,
    SCRATCH_POLL,
    SCRATCH_INSN,
    SCRATCH_OUTCOME,
    SCRATCH_LEAVE,
    SCRATCH_FPU,  /* FPU_* */
    SCRATCH_NOTE, /* resident.c: the last x87 instruction */
    SCRATCH_DATA, /* the address of its last operand in memory */
    SCRATCH_BASE, /* of the window */
    SCRATCH_MISS, /* linear address that the page array did not know */
    SCRATCH_JUMP, /* jump table and guards after a turn */
    SCRATCH_GUARD,
    SCRATCH_STEP, /* 1 or -1, by DF */
    SCRATCH_DOWN, /* 0, or with DF set what no limit check lets pass */
    SCRATCH_READ, /* limits.c: by segment, what an offset is added to for a check */
    SCRATCH_WRITE = SCRATCH_READ + SEG_COUNT,
    SCRATCH_LOW = SCRATCH_WRITE + SEG_COUNT,
    SCRATCH_CODE = SCRATCH_LOW + SEG_COUNT, /* the same for jumps */
    SCRATCH_FCS,                            /* real mode: selectors that belong to NOTE and DATA */
    SCRATCH_FDS,
    SCRATCH_STOP,   /* Cpu.executed at which to stop; the next two where instructions are counted */
    SCRATCH_REMAIN, /* instructions until then, behind the unit that runs */
    SCRATCH_LEFT,   /* the same before the instruction whose handler was called last */
    SCRATCH_END,
};
_Static_assert(SCRATCH_END <= sizeof(((Cpu *)0)->scratch) / sizeof(uintptr_t), "no room");

/* Its offset in Cpu. */
static inline int32_t scratch_at(unsigned i)
{
    return (int32_t)(offsetof(Cpu, scratch) + i * sizeof(uintptr_t));
}

/* Where the guest's x87, MMX and SSE state is. */
enum { FPU_LOADED, FPU_IN_CPU, FPU_IN_IMAGE };

/* What FXSAVE stores in 64-bit mode (SDM vol. 1, table 10-3). */
typedef struct FpuImage {
    uint16_t control, status;
    uint8_t valid, reserved;
    uint16_t opcode;
    uint64_t ip, data;
    uint32_t mxcsr, mxcsr_mask;
    struct {
        uint64_t mantissa;
        uint16_t sign_exponent, reserved[3];
    } st[8];
    Xmm xmm[16];
    uint8_t unused[96];
    uint32_t host_mxcsr; /* behind the image: what C code runs with */
} FpuImage;

typedef struct Stubs {
    const uint8_t *enter, *dispatch, *link, *step, *poll, *few, *turn, *call, *load_fpu;
} Stubs;

typedef struct Counts {
    uint64_t units, invalidated, flushes, enters, links, steps, faults, fills, called, blocks,
        apart, runs, turns, turned, misses, near;
} Counts;

/* Added to an offset, this makes any check fail. */
#define LIMIT_NEVER UINT64_C(0x140000000)

/* Host addresses that a byte may be read from, between such as none may: see limits.c. */
typedef struct Limits {
    uint8_t *claim;
    struct {
        uint32_t limit, access;
    } of[SEG_COUNT]; /* what the scratch words hold, by segment */
} Limits;

enum { COVERED_BYTES = 8 };

/* Of a page, a bit for each COVERED_BYTES: some unit has been made of them. */
typedef struct Covered {
    uint64_t bits[RAM_PAGE / COVERED_BYTES / 64];
} Covered;

/* What one piece of a run was, for engine check. */
typedef struct Piece {
    const Unit *unit; /* that was entered; NULL: none, or several */
    uint64_t count;   /* instructions completed */
    bool paused;      /* and behind them part of a repeated one */
    bool one_step;    /* instead: one step of the interpreter, with all that surrounds it */
} Piece;

typedef struct Translator {
    _Alignas(16) FpuImage image;
    Accel *accel;
    Cpu *cpu;
    Interpreter *interpreter;
    Code code;
    Windows windows;
    Limits limits;
    Stubs stub;
    Unit **hash;      /* 1 << HASH_BITS */
    Unit **page;      /* by Ram page */
    Unit **tail;      /* by Ram page: those that cross to it */
    Covered *covered; /* by Ram page */
    uint8_t *heat;    /* by Ram page: writes beside translated code; hot pages are left to the
                         interpreter */
    Unit **by_code;   /* in order of code address */
    unsigned unit_count, unit_room, insn_count;
    Space *space[MAX_SPACES];
    Space *recent[MAX_SPACES]; /* by a hash of window and mode: where to look first */
    Space *now;                /* the space that runs */
    int mode;                  /* of the processor then */
    uint64_t user_since;       /* account_time() when a user's window was entered, or 0 */
    uint64_t tick;
    uint8_t slow[1 << SLOW_BITS]; /* by hash of Ram offset: exits of one instruction; past a limit
                                     it is called */
    uintptr_t valid_poll;
    const uint8_t *gs_base; /* what gs is known to be set to */
    bool warm;              /* heat or slow has something that may cool */
    int64_t cool_at;        /* guest ns */
    int64_t alarm_at;       /* host ns at which the alarm rings; 0: it does not */
    Counts count;
    void *signal_stack;
    FILE *perf_map;                     /* /tmp/perf-PID.map, for perf report; NULL: not wanted */
    timer_t alarm;                      /* of this thread */
    bool alarm_made, has_wrgsbase, a20; /* a20: the gate as the windows know it */
    bool counting;                      /* the units that run now count their instructions */
    bool pausing;                       /* ... as MODE_PAUSES has it */
    uint64_t budget_end;                /* Cpu.executed at which run returns */
    bool in_pieces;                     /* they are not linked, and come back one by one */
    bool paused;                        /* the last step ended in a repeated instruction */
    bool in_span;                       /* ... after which engine check looks */
    uint64_t most;                      /* instructions that a piece may have */
    Piece piece;
} Translator;

/* units.c */
bool units_open(Translator *t, Err *err);
void units_close(Translator *t);
/* For code at EIP in the processor's CS. */
Unit *unit_find(Translator *t, uint32_t ram_at, int mode);
/* NULL: the first instruction cannot be translated (it crosses a page, or the page is too hot). */
Unit *unit_make(Translator *t, uint32_t ram_at, int mode);
static inline uint32_t unit_linear(const Unit *u)
{
    return u->base + u->eip;
}
/* The unit whose host code holds this address, and its instruction there. */
Unit *unit_at(const Translator *t, const uint8_t *host, unsigned *insn);
void unit_link(Translator *t, Link *link, Unit *to);
void unit_kill(Translator *t, Unit *u);
void units_changed(Translator *t, uint32_t at, uint32_t length);
void units_flush(Translator *t);
/* An instruction had to be stepped. Often: its unit is made anew, with a call in its place. */
void unit_note_slow(Translator *t, Unit *u, unsigned insn);
bool unit_is_slow(const Translator *t, uint32_t ram_at);

/* space.c */
Space *space_find(Translator *t, const Window *w, int mode);
/* Indirect jumps to it go to `code`: it, or the stub that asks the run loop. */
void space_enter(Space *s, Unit *u, const uint8_t *code);
/* The unit entered at the processor's CS:EIP, or NULL. */
Unit *space_unit(const Space *s, const Cpu *cpu);
void spaces_forget(Translator *t, const Unit *u);
void spaces_forget_window(Translator *t, const Window *w);
/* What code of this Ram page was entered at this linear page. */
void spaces_forget_page(Translator *t, const Window *w, uint32_t linear, uint32_t ram);
void spaces_clear(Translator *t);

/* Forgets, from time to time, what counters hold against pages and instructions. */
void units_cool(Translator *t, int64_t now);

/* stubs.c */
void stubs_emit(Translator *t);
LeaveReason stubs_enter(Translator *t, const uint8_t *code);

/* select_string.c: the host's registers in a repeated string instruction. */
typedef struct HostString {
    uint64_t cx, si, di, old_cx, old_si, old_di;
} HostString;
/* Turns them into the guest's. */
void string_settle(const Cpu *cpu, const Insn *in, int mode, HostString *h);

/* resident.c */
int resident_mode(const Cpu *cpu);
/* Brings the state into Cpu, and leaves the host's unit to C. */
void resident_settle(Translator *t);
/* Builds the image that the stub then loads. */
void resident_prepare(Translator *t);
/* What SCRATCH_NOTE is when `in` is the last x87 instruction, and the high half of SCRATCH_DATA
 * when it is the last one with a memory operand. */
uint64_t resident_note(const Insn *in, uint32_t eip, int mode);
uint32_t resident_note_data(const Insn *in, int mode);
/* The notes that a unit has not made yet when it is left before instruction `insn`. */
void resident_note_up_to(Cpu *cpu, const Unit *u, unsigned insn);
/* The handler to call for it in this mode: one that settles, and leaves when the mode changes,
 * where that matters. */
InsnHandler resident_handler(const Insn *in, int mode, bool ends_unit);
/* It ends a unit, but mostly the next instruction follows at once. */
bool resident_goes_on(const Insn *in);

/* translator.c */
int mode_of(const Cpu *cpu);
/* Is this segment still what the mode says of it? */
bool mode_keeps_segment(const Cpu *cpu, int mode, unsigned seg);
/* For engine check: at the beginning of a run, and then piece by piece, which is a unit of code or
 * what the interpreter does in its place, or a span of many, linked and counted. Either ends after
 * `most` instructions, which Cpu.executed counts; a span also where the run loop must look. */
void translator_begin(Translator *t);
void translator_piece(Translator *t, uint64_t most, Piece *piece);
void translator_span(Translator *t, uint64_t most, Piece *piece);
/* After a called handler has ended like this: where to go on in translated code, NULL: leave it. */
const uint8_t *translator_turn(Translator *t, Outcome outcome);

/* limits.c */
bool limits_open(Limits *l, Err *err);
void limits_close(Limits *l);
/* What code of this mode checks offsets with, from the segments as they are now. */
void limits_set(Limits *l, Cpu *cpu, int mode);

/* signal.c */
bool signals_open(Translator *t, Err *err);
void signals_close(Translator *t);
/* This thread runs translated code of t; NULL: of nobody. */
void signals_use(Translator *t);
void signals_alarm(Translator *t, int64_t ns); /* kicks after ns of host time; 0: never */

#endif
