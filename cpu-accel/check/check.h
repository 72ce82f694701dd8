/* Engine check's parts, as they see one another.
 *
 * The machine runs in the translator. A second processor with memory of its own, the shadow,
 * follows it piece by piece in the interpreter. What the first does beyond its memory (ports,
 * devices, pins, the time) is done for real, once, and recorded with all that comes of it for
 * memory, map and pins; the shadow gets the recording.
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

/* Of one piece. */
typedef struct Recording {
    Record *record;
    size_t count, room, next; /* next: to be replayed */
    uint8_t *data;
    size_t data_count, data_room;
    bool on;      /* the first processor runs */
    bool busy;    /* it is at a device */
    bool replay;  /* the shadow runs */
    bool marking; /* accessed or dirty bits are being written */
    Pins pins;    /* as last recorded */
} Recording;

/* A stretch of memory that a processor wrote. */
typedef struct Written {
    uint32_t at, length;
    bool mark; /* accessed and dirty bits, by a page walk */
} Written;

typedef struct WrittenList {
    Written *item;
    size_t count, room;
} WrittenList;

enum { TRAIL = 32 };

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

typedef struct CheckCounts {
    uint64_t pieces, units, instructions, devices, memory_compares, marks;
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
    WrittenList written, marked;      /* by the shadow; page walks of the first */
    bool stale;                       /* the shadow must be made anew */
    char difference[200];             /* the first: empty while there is none */
    bool means[offsetof(Cpu, model)]; /* this byte of Cpu belongs to a field */
    Before before;
    Step trail[TRAIL];
    unsigned trail_at;
    uint64_t next_memory; /* instructions at which all memory is to be compared */
    uint64_t time_at;     /* and at which a host clock is to be looked at */
    CheckCounts count;
} Check;

/* shadow.c */
bool shadow_open(Check *c, Err *err);
void shadow_close(Check *c);
/* Makes the shadow what the machine is, memory included. */
void shadow_copy(Check *c);
/* The processor alone, at the beginning of a run. */
void shadow_follow(Check *c);
/* A device wrote to memory between two pieces. */
void shadow_written(Check *c, uint32_t at, uint32_t length);
void shadow_map(Check *c);
/* Runs the shadow as far as the first went. */
void shadow_run(Check *c, const Piece *piece);

/* record.c: the taps */
void record_open(Check *c);
void record_close(Check *c);
/* The first processor is going to run; the shadow is; it has. */
void record_begin(Check *c);
void record_replay(Check *c);
void record_done(Check *c);
void record_written(Check *c, uint32_t at, uint32_t length);
void record_map(Check *c);

void written_add(WrittenList *l, uint32_t at, uint32_t length, bool mark);

/* compare.c */
void compare_open(Check *c);
/* Both after a piece. False: c->difference says what differs first. */
bool compare_piece(Check *c);
bool compare_memory(Check *c);
/* report.c: all of it, in two columns, to the log. */
void report(Check *c);

#endif
