/* The native judge: one random instruction with a random state, on the host's own processor and
 * under an engine, with every visible effect compared.
 *
 * judge_case.c makes cases from the opcode list, judge_native.c runs them in a process of its own
 * through LDT segments, judge_engine.c on a board with the same memory, segments and tables, and
 * judge_compare.c tells differences. A case is known by seed and number. x86-64 Linux only. */
#ifndef TESTS_CPU_JUDGE_H
#define TESTS_CPU_JUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu-accel/accel.h"
#include "cpu-accel/x86/ops.h"

/* What is mapped, at the same linear addresses on both sides; all else is #PF. */
enum {
    JUDGE_PAGE = 0x1000,
    JUDGE_CODE = 0x200000,      /* two pages: INT3 but for the instruction */
    JUDGE_DATA = 0x210000,      /* two pages, and a third that is read-only */
    JUDGE_STACK = 0x220000,     /* one page */
    JUDGE_SYSTEM_SIZE = 0x5000, /* at JUDGE_SYSTEM: the engine's tables, for level 0 alone */
    JUDGE_PAGES = 6,
    JUDGE_CODE_PAGES = 2, /* the first in JudgeMemory */
    JUDGE_BATCH = 64,
    JUDGE_PATCHES = 8,
    JUDGE_PATCH_ROOM = 768,
    JUDGE_CODE_ROOM = 24, /* of one instruction, with what stands behind it */
    JUDGE_PARTS = 8,      /* instructions of a sequence */
    JUDGE_BYTES = JUDGE_PARTS * 16,
};

#define JUDGE_SYSTEM 0xd5400000u

typedef struct JudgeMemory {
    uint8_t page[JUDGE_PAGES][JUDGE_PAGE]; /* judge_page_at's order */
} JudgeMemory;

/* The linear address of page i. */
uint32_t judge_page_at(unsigned i);
/* Where a linear address lies in the memory, or NULL; `room` bytes follow in the same page. */
uint8_t *judge_at(JudgeMemory *m, uint32_t linear, unsigned *room);

/* FXSAVE's image (SDM vol. 1, table 10-2). */
typedef struct JudgeFx {
    uint16_t control, status;
    uint8_t valid, reserved;
    uint16_t opcode;
    uint32_t ip, ip_selector, data, data_selector;
    uint32_t mxcsr, mxcsr_mask;
    Float80 st[8]; /* by ST(i) */
    Xmm xmm[8], rest[14];
} JudgeFx;

typedef struct JudgeState {
    uint32_t reg[8], eip, eflags;
    uint16_t seg[SEG_COUNT];
    JudgeFx fx;
    int vector; /* after: how it ended; 3 for the INT3 behind the instruction */
    uint32_t error, cr2;
} JudgeState;

typedef struct JudgePatch {
    uint32_t at;
    uint16_t size, from; /* from: offset in JudgeCase.patch_bytes */
} JudgePatch;

/* One instruction of a sequence. */
typedef struct JudgePart {
    uint16_t op;
    uint8_t length;
    uint8_t relative; /* bytes of a branch displacement at its end; 0: it is no branch */
    uint8_t to; /* which instruction the branch goes to; the number of parts: behind the last */
    uint8_t bytes[16];
} JudgePart;

typedef struct JudgeCase {
    uint64_t seed, number;
    uint16_t op;    /* OP_INVALID for a sequence */
    uint8_t length; /* of bytes */
    uint8_t bytes[JUDGE_BYTES];
    Insn in;        /* of a single instruction */
    unsigned parts; /* of a sequence, else 0 */
    JudgePart part[JUDGE_PARTS];
    uint32_t code_at; /* linear */
    JudgeState before;
    unsigned patches, patch_used;
    JudgePatch patch[JUDGE_PATCHES];
    uint8_t patch_bytes[JUDGE_PATCH_ROOM];
} JudgeCase;

typedef struct JudgeResult {
    JudgeState after;
    JudgeMemory memory;
} JudgeResult;

/* What both processes see. */
typedef struct JudgeShared {
    JudgeMemory base; /* before patches */
    JudgeCase c[JUDGE_BATCH];
    JudgeResult result[JUDGE_BATCH];
    unsigned count; /* cases of the batch */
    unsigned at;    /* the one that runs */
} JudgeShared;

/* Memory as a case finds it. */
void judge_memory_make(JudgeMemory *m, const JudgeMemory *base, const JudgeCase *c);

/* LDT segments, the same on both sides: selector number * 8 + 7. */
typedef struct JudgeSegment {
    uint32_t base, limit;                       /* limit in bytes, or in pages with `pages` */
    bool pages, big, code, down, fixed, absent; /* fixed: not writable, code not readable */
} JudgeSegment;
enum {
    SEGMENT_CODE32,
    SEGMENT_CODE32_SMALL,
    SEGMENT_CODE16,
    SEGMENT_CODE16_HIGH,
    SEGMENT_FLAT,
    SEGMENT_SMALL,
    SEGMENT_DATA16,
    SEGMENT_DOWN32,
    SEGMENT_DOWN16,
    SEGMENT_READ_ONLY,
    SEGMENT_EXECUTE_ONLY,
    SEGMENT_ABSENT,
    SEGMENT_STACK32,
    SEGMENT_STACK16,
    SEGMENT_STACK16_HIGH,
    SEGMENT_STACK_DOWN,
    SEGMENT_COUNT,
};
extern const JudgeSegment judge_segments[SEGMENT_COUNT];
/* The processor's form of one, and its descriptor. */
SegReg judge_segment_reg(unsigned number);
uint64_t judge_segment_descriptor(unsigned number);
static inline uint16_t judge_selector(unsigned number)
{
    return (uint16_t)(number << 3 | 7);
}

/* judge_case.c */
/* NULL: this row is judged; else why it is not. */
const char *judge_exempt(const OpRow *row);
void judge_base_make(JudgeMemory *base, uint64_t seed, uint64_t number);
/* Makes case `number`: the row is chosen by the number. False: the row is exempt, or no fitting
 * encoding came up. */
bool judge_case_make(JudgeCase *c, uint64_t seed, uint64_t number);
void judge_fx_init(JudgeFx *fx);
/* Does the host, being of a newer generation, read this encoding otherwise by design? */
bool judge_refused(const Insn *in);

/* judge_sequence.c */
/* May the row stand in a sequence? */
bool judge_sequence_row(const OpRow *row);
/* Makes sequence `number`: 2 to JUDGE_PARTS instructions that run one into the other. */
bool judge_sequence_make(JudgeCase *c, uint64_t seed, uint64_t number);
/* The same without one of its instructions; at least one must stay. */
void judge_sequence_drop(JudgeCase *c, unsigned part);

/* judge_native.c */
typedef struct JudgeNative JudgeNative;
/* Forks the process that runs cases. NULL, with the reason, where this host cannot. Before threads
 * and engines. */
JudgeNative *judge_native_new(const char **why);
JudgeShared *judge_native_shared(JudgeNative *n);
/* Runs shared->c[0..count). False: the process died or hung in shared->c[shared->at]; it is
 * started anew. */
bool judge_native_run(JudgeNative *n);
void judge_native_free(JudgeNative *n);
/* The host's x87 data pointer moves only at exceptions (CPUID.7.EBX bit 6). */
bool judge_native_data_on_exception(void);

/* judge_engine.c */
typedef struct JudgeEngine JudgeEngine;
/* NULL, with the reason: this host cannot run it. The engine that counts instructions can also
 * trace. */
JudgeEngine *judge_engine_new(const AccelOps *ops, const char **why);
void judge_engine_free(JudgeEngine *e);
const char *judge_engine_name(const JudgeEngine *e);
/* False: it did not come to an end. */
bool judge_engine_run(JudgeEngine *e, const JudgeMemory *base, const JudgeCase *c,
                      JudgeState *after);
/* Did the case, on its way, come to an instruction that is not judged (a jump to random bytes may)?
 * `tracer` is an engine that counts. */
bool judge_engine_strays(JudgeEngine *tracer, const JudgeMemory *base, const JudgeCase *c);
const uint8_t *judge_engine_page(const JudgeEngine *e, unsigned page);

/* judge_compare.c */
/* True when it does not count: the native run executed data, or another reason that the two
 * machines differ in by design. */
bool judge_void(const JudgeResult *native);
/* Text of the differences, "" when there is none. */
void judge_compare(const JudgeCase *c, const JudgeResult *native, const JudgeState *have,
                   const JudgeEngine *e, char *text, size_t room);
void judge_print_case(FILE *out, const JudgeCase *c);

#endif
