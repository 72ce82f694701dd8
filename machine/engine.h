/* The engine that runs a machine's processor: found by name, attached to memory and board,
 * exchanged while running. */
#ifndef MACHINE_ENGINE_H
#define MACHINE_ENGINE_H

#include "cpu-accel/accel.h"

/* Opens the engine of that name on this processor and makes memory tell it of changes. Besides the
 * engines' own names there are "auto" (measures and chooses), "kvm-first" (KVM without a look, and
 * another engine where it fails) and "tcg" (the translator). The clock's source is set before. */
bool engine_open(Accel *a, const char *name, Cpu *cpu, Board *b, Err *err);
void engine_close(Accel *a);
/* Makes memory tell an open engine of changes, as engine_open does; and no more. */
void engine_attach(Accel *a);
void engine_detach(Accel *a);
/* Between two instructions: moves the architectural state to another engine. On failure the old one
 * goes on. */
bool engine_change(Accel *a, const char *name, Err *err);

/* The way back to an engine that was left for a reason that passes (Accel.may_return). */
typedef struct EngineBack {
    const AccelOps *to; /* NULL: there is none */
    bool as_it_is;      /* as Accel's */
    bool open;          /* the engine that runs is `to`, come back to */
    int64_t since;      /* guest ns of the last move either way */
    int64_t look;       /* guest ns at which the devices' accesses are counted next */
    int64_t wait; /* ns of calm before it goes back; grows with every storm that follows soon */
    int64_t calm_since; /* guest ns, or CLOCK_NEVER */
    uint64_t accesses;  /* of devices, at the last look */
} EngineBack;

/* After RUN_FAILED: goes on with an engine that runs everything, when the user left the choice open
 * (a->replaceable). False: he did not, or there is none. */
bool engine_replace(Accel *a, EngineBack *back);
/* Is it time to go back? Cheap; asked whenever the engine has returned. */
bool engine_back_due(EngineBack *back, const Board *b);
/* Goes back. On failure the engine stays as it is, and for good. */
void engine_back(Accel *a, EngineBack *back);
/* Is a translator for this host part of this program? */
bool engine_has_translator(void);

#endif
