/* Choosing, attaching and exchanging the engine that runs the processor. */
#include "machine/engine.h"

#include <string.h>

#include "cpu-accel/accel_probe.h"
#include "machine/core/log.h"

LOG_TAG("engine");

static const AccelOps *const engines[] = {&accel_interpreter, &accel_translator, &accel_kvm,
                                          &accel_check};

enum { ENGINE_COUNT = sizeof(engines) / sizeof(engines[0]) };

static void code_changed(void *self, uint32_t at, uint32_t length)
{
    Accel *a = self;
    a->ops->code_changed(a, at, length);
}

static void flags_set(void *self, uint32_t first_page, uint32_t pages)
{
    Accel *a = self;
    a->ops->flags_set(a, first_page, pages);
}

static void written(void *self, uint32_t at, uint32_t length)
{
    Accel *a = self;
    a->ops->written(a, at, length);
}

static void map_changed(void *self)
{
    Accel *a = self;
    a->ops->map_changed(a);
}

static void listen(Accel *a)
{
    a->board->ram.listener =
        (RamListener){code_changed, flags_set, a, a->ops->written ? written : NULL};
    bus_listen(a->board->memory, map_changed, a);
}

static const AccelOps *named(const char *name)
{
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(engines[i]->name, name) == 0) {
            return engines[i];
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
    accel_probe(engine_has_translator(), &table);
    log_info("%s: %s", table.choice, table.why);
    return named(table.choice);
}

static bool forced(const char *name)
{
    return strcmp(name, "kvm-first") == 0;
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
    listen(a);
    log_info("%s", ops->name);
    return true;
}

void engine_close(Accel *a)
{
    if (a->ops) {
        a->board->ram.listener = (RamListener){0};
        bus_listen(a->board->memory, NULL, NULL);
        a->ops->close(a);
        a->ops = NULL;
    }
}

static bool change(Accel *a, const AccelOps *ops, const char *name, Err *err)
{
    Accel old = *a;
    Accel fresh = {.ops = ops,
                   .cpu = old.cpu,
                   .board = old.board,
                   .counted = old.counted,
                   .replaceable = left_open(name),
                   .as_it_is = forced(name)};
    old.ops->pull(&old);
    if (!ops->open(&fresh, err)) {
        return false;
    }
    *a = fresh;
    old.ops->close(&old);
    listen(a);
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

bool engine_replace(Accel *a)
{
    Err err = {""};
    const char *failed = a->ops->name;
    char why[sizeof(a->failure)];
    memcpy(why, a->failure, sizeof(why));
    if (!a->replaceable || a->ops == safest() || !change(a, safest(), safest()->name, &err)) {
        return false;
    }
    log_warn("%s: %s; the machine goes on under %s", failed, why, a->ops->name);
    return true;
}
