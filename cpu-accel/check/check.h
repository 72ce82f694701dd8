/* Engine check's parts, as they see one another.
 *
 * The machine runs in the translator. A second processor with memory of its own, the shadow,
 * follows it span by span in the interpreter. What the first does beyond its memory (ports,
 * devices, pins, the time) is done for real, once, and recorded with all that comes of it for
 * memory, map and pins; the shadow gets the recording. A third memory, the base, is what both were
 * when they last agreed: from there a span that ended in a difference is run again, unit by unit,
 * with the recording in the devices' place for both.
 */
#ifndef CPU_ACCEL_CHECK_CHECK_H
#define CPU_ACCEL_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu-accel/translator/translator.h"

/* Pins that the board drives, and what they have latched. */
typedef struct Pins {
    bool intr, a20, ignne;
    bool nmi_pending, smi_pending, init_pending;
    bool nmi_pin, smi_pin, init_pin;
} Pins;

typedef enum RecordKind {
    /* what a processor does */
    RECORD_PORT_READ,
    RECORD_PORT_WRITE,
    RECORD_MEMORY_READ,
    RECORD_MEMORY_WRITE,
    RECORD_TIME,
    RECORD_ACKNOWLEDGE,
    RECORD_FERR,
    RECORD_SMIACT,
    RECORD_SHUTDOWN,
    RECORD_APIC_BASE,
    /* what came of it */
    RECORD_WRITTEN, /* a device wrote to memory: `value` bytes at Ram offset `at` */
    RECORD_MAP,     /* the memory map has changed */
    RECORD_PINS,
} RecordKind;

typedef struct Record {
    uint8_t kind, bytes;
    uint64_t at, value;
    size_t data; /* offset of its bytes in Recording.data */
} Record;

/* Of one span. */
typedef struct Recording {
    Record *record;
    size_t count, room;
    uint8_t *data;
    size_t data_count, data_room;
    bool on;     /* the first processor runs */
    bool busy;   /* it is at a device */
    bool maps;   /* the map changed */
    bool looked; /* flags of memory were set while it was at a device: by a display, maybe */
    Pins pins;   /* as last recorded */
} Recording;

/* Who gets it: the shadow, or in a second run the first processor too. */
typedef struct Replay {
    struct Check *check;
    Cpu *cpu;
    bool shadow;
    bool on;
    bool left;   /* it wanted something else than what is recorded */
    size_t next; /* to be replayed */
} Replay;

/* A page of the shadow that is not as the base has it. */
typedef struct Dirty {
    uint32_t page;
    bool mark; /* written for accessed and dirty bits first */
} Dirty;

enum { TRAIL = 32, REPORT_TEXT = 1 << 16 };

/* What ran, for the report. */
typedef struct Step {
    uint32_t cs_base, eip;
    uint16_t selector;
    bool unit; /* in translated code; else in the interpreter */
    bool code32;
    uint64_t count; /* instructions */
} Step;

/* The state at the beginning of a piece. */
typedef struct Before {
    uint32_t reg[8], eip, eflags;
    SegReg code;
} Before;

/* And of a span, to come back to. */
typedef struct Start {
    _Alignas(8) uint8_t state[offsetof(Cpu, model)];
    Pins pins;
} Start;

typedef struct CheckCounts {
    uint64_t spans, pieces, instructions, devices, memory_compares, marks, again, vanished;
} CheckCounts;

typedef struct Check {
    Accel *accel; /* this engine */
    Accel inner;  /* the translator */
    Translator *translator;
    Cpu *cpu; /* the machine's */
    Board *board;
    /* the shadow */
    Board *shadow_board;
    Cpu *shadow;
    Interpreter *shadow_interpreter;
    CpuTap tap, shadow_tap;
    const CpuPins *pins; /* the machine's own */
    CpuPins tapped, shadow_pins;
    Recording recording;
    Replay first, second; /* second: the shadow */
    uint8_t *base;        /* memory when they last agreed */
    uint32_t pages;       /* of memory */
    Dirty *dirty;         /* room for all pages */
    size_t dirty_count;
    bool protecting; /* flags are being set on the shadow's pages for that list */
    uint64_t *mark;  /* Ram offsets of page table entries that walks have marked */
    size_t mark_count, mark_room;
    bool stale;                       /* the shadow must be made anew */
    char difference[200];             /* the first: empty while there is none */
    bool means[offsetof(Cpu, model)]; /* this byte of Cpu belongs to a field */
    Start start;
    Before before;
    Step trail[TRAIL];
    unsigned trail_at;
    char text[REPORT_TEXT]; /* of a report: lines, each with its zero */
    size_t text_count;
    uint64_t runs;
    uint64_t next_memory; /* instructions at which all memory is to be compared */
    uint64_t time_at;     /* and at which a host clock is to be looked at */
    CheckCounts count;
} Check;

/* check.c: what the report tells of the way. */
void check_remember(Check *c);
void check_leave_trail(Check *c, const Piece *piece);

/* shadow.c */
bool shadow_open(Check *c, Err *err);
void shadow_close(Check *c);
/* Makes the shadow what the machine is, memory included. */
void shadow_copy(Check *c);
/* The processor alone, at the beginning of a run. */
void shadow_follow(Check *c);
/* A device wrote to memory between two spans. */
void shadow_written(Check *c, uint32_t at, uint32_t length);
void shadow_map(Check *c);
/* The shadow's memory is going to be written, or has been. */
void shadow_touch(Check *c, uint32_t at, uint32_t length, bool mark);
/* Both agree: what the shadow has written goes to the base. */
void shadow_agreed(Check *c);
/* Runs the shadow as far as the first went. */
void shadow_run(Check *c, const Piece *piece);

/* record.c: the taps */
void record_open(Check *c);
void record_close(Check *c);
/* The first processor is going to run; the shadow is; it has. */
void record_begin(Check *c);
void record_replay(Check *c);
void record_done(Check *c);
/* Both are going to run with what has been recorded. */
void record_again(Check *c);
void record_written(Check *c, uint32_t at, uint32_t length);
void record_map(Check *c);
void record_flags(Check *c);
Pins record_pins(const Cpu *cpu);
void record_set_pins(Cpu *cpu, const Pins *pins);

/* compare.c */
void compare_open(Check *c);
/* Both after a span or piece. False: c->difference says what differs first. */
bool compare_span(Check *c);
bool compare_memory(Check *c);

/* again.c */
/* The state at the beginning of a span. */
void again_start(Check *c);
/* A span of so much has ended in a difference: runs it again in pieces, from where it began. False:
 * there is a difference, and it has been reported. */
bool again_run(Check *c, const Piece *span);

/* report.c: all of it, in two columns. */
void report_make(Check *c);
/* ... and that it was none in pieces. */
void report_only_linked(Check *c);
/* To the log. */
void report_send(Check *c);

#endif
