/* Choosing, attaching and exchanging the engine that runs the processor. */
#include "machine/engine.h"

#include <string.h>

#include "cpu-accel/accel_probe.h"
#include "cpu-accel/x86/pvclock.h"
#include "machine/core/log.h"

LOG_TAG("engine");

static const AccelOps *named(const char *name)
{
    for (unsigned i = 0; accel_engines[i]; i++) {
        if (strcmp(accel_engines[i]->name, name) == 0) {
            return accel_engines[i];
        }
    }
    return NULL;
}

bool engine_has_translator(void)
{
    return named("translator") != NULL;
}

/* The engine that runs every guest on this host. */
static const AccelOps *safest(void)
{
    return engine_has_translator() ? named("translator") : &accel_interpreter;
}

/* What -accel auto means here, and the one line that says why. */
static const AccelOps *choose(const Board *b)
{
    if (b->clock.source == CLOCK_COUNTED) {
        log_info("%s: -icount needs an engine that counts instructions", safest()->name);
        return safest();
    }
    AccelTable table;
    accel_choose(engine_has_translator(), &table);
    log_info("%s: %s", table.choice, table.why);
    return named(table.choice);
}

#define KVM_FIRST "kvm-first"

static bool forced(const char *name)
{
    return strcmp(name, KVM_FIRST) == 0;
}

static bool left_open(const char *name)
{
    return strcmp(name, "auto") == 0 || forced(name);
}

static const AccelOps *find(const char *name, const Board *b, Err *err)
{
    if (strcmp(name, "auto") == 0) {
        return choose(b);
    }
    if (forced(name)) {
        return &accel_kvm;
    }
    const AccelOps *ops = named(strcmp(name, "tcg") == 0 ? "translator" : name);
    if (!ops) {
        err_set(
            err,
            "-accel %s: there is no such engine; use auto, kvm, translator, interpreter or check",
            name);
    }
    return ops;
}

bool engine_open(Accel *a, const char *name, Cpu *cpu, Board *b, Err *err)
{
    const AccelOps *ops = find(name, b, err);
    if (!ops) {
        return false;
    }
    *a = (Accel){.ops = ops,
                 .cpu = cpu,
                 .board = b,
                 .counted = b->clock.source == CLOCK_COUNTED,
                 .replaceable = left_open(name),
                 .as_it_is = forced(name)};
    if (!ops->open(a, err)) {
        if (!a->replaceable || ops == safest()) {
            a->ops = NULL;
            return false;
        }
        log_warn("%s; using %s", err->text, safest()->name);
        err->text[0] = '\0';
        a->ops = ops = safest();
        if (!ops->open(a, err)) {
            a->ops = NULL;
            return false;
        }
    }
    engine_attach(a);
    log_info("%s", ops->name);
    return true;
}

void engine_close(Accel *a)
{
    if (a->ops) {
        engine_detach(a);
        a->ops->close(a);
        a->ops = NULL;
    }
}

static bool change(Accel *a, const AccelOps *ops, const char *name, Err *err)
{
    Accel old = *a;
    old.ops->pull(&old);
    *a = (Accel){.ops = ops,
                 .cpu = old.cpu,
                 .board = old.board,
                 .counted = old.counted,
                 .replaceable = left_open(name),
                 .as_it_is = forced(name)};
    if (!ops->open(a, err)) { /* in its place: engines keep the address */
        *a = old;
        return false;
    }
    old.ops->close(&old);
    engine_attach(a);
    pvclock_update(a->cpu);
    a->ops->push(a);
    return true;
}

bool engine_change(Accel *a, const char *name, Err *err)
{
    const AccelOps *ops = find(name, a->board, err), *old = a->ops;
    if (!ops || (ops != old && !change(a, ops, name, err))) {
        return false;
    }
    if (ops != old) {
        log_info("changed from %s to %s", old->name, ops->name);
    }
    return true;
}

/* The way back. Devices are looked at every LOOK_NS; where they have had fewer than CALM_RATE
 * accesses a second for FIRST_WAIT_NS, the storm is over. A storm that comes within STAY_NS of
 * going back doubles the wait, so that a guest of many short storms stays where it is at home. */
#define LOOK_NS CLOCK_NS_PER_S
#define CALM_RATE 10000u
#define FIRST_WAIT_NS (5 * CLOCK_NS_PER_S)
#define LONGEST_WAIT_NS (640 * CLOCK_NS_PER_S)
#define STAY_NS (60 * CLOCK_NS_PER_S)

static uint64_t device_accesses(const Board *b)
{
    return bus_accesses(b->memory) + bus_accesses(b->ports);
}

static void plan_return(EngineBack *back, const Accel *left)
{
    int64_t now = clock_peek(&left->board->clock);
    bool soon = back->open && now - back->since < STAY_NS;
    int64_t wait = soon ? 2 * back->wait : FIRST_WAIT_NS;
    *back = (EngineBack){.to = left->ops,
                         .as_it_is = left->as_it_is,
                         .since = now,
                         .look = now + LOOK_NS,
                         .wait = wait < LONGEST_WAIT_NS ? wait : LONGEST_WAIT_NS,
                         .calm_since = CLOCK_NEVER,
                         .accesses = device_accesses(left->board)};
}

bool engine_replace(Accel *a, EngineBack *back)
{
    Err err = {""};
    Accel failed = *a;
    if (!a->replaceable || a->ops == safest() || !change(a, safest(), safest()->name, &err)) {
        return false;
    }
    log_warn("%s: %s; the machine goes on under %s", failed.ops->name, failed.failure,
             a->ops->name);
    if (failed.may_return) {
        plan_return(back, &failed);
    } else {
        *back = (EngineBack){.to = NULL};
    }
    return true;
}

bool engine_back_due(EngineBack *back, const Board *b)
{
    int64_t now = back->to && !back->open ? clock_peek(&b->clock) : 0;
    if (!back->to || back->open || now < back->look) {
        return false;
    }
    uint64_t count = device_accesses(b), some = count - back->accesses;
    int64_t elapsed = now - back->look + LOOK_NS;
    bool calm = some * CLOCK_NS_PER_S < CALM_RATE * (uint64_t)elapsed;
    if (!calm) {
        back->calm_since = CLOCK_NEVER;
    } else if (back->calm_since == CLOCK_NEVER) {
        back->calm_since = now - elapsed;
    }
    back->accesses = count;
    back->look = now + LOOK_NS;
    return calm && now - back->calm_since >= back->wait;
}

void engine_back(Accel *a, EngineBack *back)
{
    Err err = {""};
    const char *from = a->ops->name;
    if (!change(a, back->to, back->as_it_is ? KVM_FIRST : "auto", &err)) {
        log_warn("no way back (%s): the machine stays under %s", err.text, from);
        *back = (EngineBack){.to = NULL};
        return;
    }
    back->open = true;
    back->since = clock_peek(&a->board->clock);
    log_info("the devices are calm: back from %s to %s", from, a->ops->name);
}
