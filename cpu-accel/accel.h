/* What every engine offers: interpreter, translator, kvm, check.
 *
 * All calls but kick come on the machine's thread. Between calls of run the architectural state is
 * in the engine; pull brings it into Cpu, push takes it from there, so a machine can change its
 * engine between two instructions.
 */
#ifndef CPU_ACCEL_ACCEL_H
#define CPU_ACCEL_ACCEL_H

#include "cpu-accel/x86/cpu.h"
#include "machine/core/err.h"

typedef enum RunExit {
    RUN_DUE, /* the time `until` came, or attention was called for: timers and events want service
              */
    RUN_HALTED, /* HLT (or shutdown) with nothing pending: sleep until something is */
    RUN_FAILED, /* the engine cannot go on with this guest: hand over to another (accel_failure says
                   why) */
} RunExit;

typedef struct Accel Accel;

typedef struct AccelOps {
    const char *name; /* "kvm", "translator", "interpreter", "check" */
    bool paced;       /* run counts in Cpu.executed and keeps to Accel.budget */
    bool steps;       /* not paced, but a budget makes it do so, slowly */
    bool clocked;     /* the guest knows no time but the board's Clock, which may be held back */
    /* Makes a->self; the Cpu and its board exist. On failure says in err what failed and which
     * engine to use. */
    bool (*open)(Accel *a, Err *err);
    void (*close)(Accel *a);
    /* Runs until guest time `until_ns`, attention, or halt. The engine takes pending interrupts
     * itself. */
    RunExit (*run)(Accel *a, int64_t until_ns);
    /* The machine's thread will sleep until guest time `until_ns`, if nothing wakes it: alarms of
     * the last run up to then are not wanted. NULL: there are none. */
    void (*rest)(Accel *a, int64_t until_ns);
    /* From any thread: makes run return soon. */
    void (*kick)(Accel *a);
    void (*pull)(Accel *a);
    void (*push)(Accel *a);
    /* Guest memory at Ram offset `at` has changed under code that the engine keeps. */
    void (*code_changed)(Accel *a, uint32_t at, uint32_t length);
    /* These pages got flags in Ram: direct write access must go. */
    void (*flags_set)(Accel *a, uint32_t first_page, uint32_t pages);
    /* Every write to memory but those that translated code makes directly; NULL, and they cost
     * less: not wanted. */
    void (*written)(Accel *a, uint32_t at, uint32_t length);
    /* The memory map, the A20 gate or SMRAM changed: drop everything learnt from physical
     * addresses. */
    void (*map_changed)(Accel *a);
    /* Counters, for `info engine`; may be NULL. */
    void (*describe)(Accel *a, void (*line)(void *self, const char *text), void *self);
} AccelOps;

struct Accel {
    const AccelOps *ops;
    Cpu *cpu;
    Board *board;
    void *self;
    uint64_t budget;   /* instructions after which run returns RUN_DUE; 0: it need not */
    char failure[256]; /* after RUN_FAILED */
    bool counted;      /* guest time is a count of instructions: they must be counted exactly */
    bool replaceable;  /* whoever runs it goes on with another engine after RUN_FAILED, so that it
                        * may also give up where another would only be faster */
    bool may_return;   /* with RUN_FAILED: what speaks against this engine passes, like a storm of
                          exits */
    bool as_it_is;     /* open takes what the host offers, also where that is known to be wrong */
};

extern const AccelOps accel_interpreter;
extern const AccelOps accel_translator;
extern const AccelOps accel_kvm;
extern const AccelOps accel_check;
/* All that this program has for this host; the last is NULL. A new engine stands here, and is then
 * known to -accel and to the judge of tests/cpu. */
extern const AccelOps *const accel_engines[];

#endif
