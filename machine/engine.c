/* Choosing, attaching and exchanging the engine that runs the processor. */
#include "machine/engine.h"

#include <string.h>

#include "machine/core/log.h"

LOG_TAG("engine");

/* In the order in which "auto" prefers them. */
static const AccelOps *const engines[] = {&accel_interpreter};

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

static void map_changed(void *self)
{
    Accel *a = self;
    a->ops->map_changed(a);
}

static const AccelOps *find(const char *name, Err *err)
{
    const char *wanted = strcmp(name, "tcg") == 0 ? "translator" : name;
    if (strcmp(name, "auto") == 0) {
        return engines[0];
    }
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(engines[i]->name, wanted) == 0) {
            return engines[i];
        }
    }
    err_set(err, "-accel %s: there is no such engine; use auto or interpreter", name);
    return NULL;
}

bool engine_open(Accel *a, const char *name, Cpu *cpu, Board *b, Err *err)
{
    const AccelOps *ops = find(name, err);
    if (!ops) {
        return false;
    }
    *a = (Accel){.ops = ops, .cpu = cpu, .board = b};
    if (!ops->open(a, err)) {
        return false;
    }
    b->ram.listener = (RamListener){code_changed, flags_set, a};
    bus_listen(b->memory, map_changed, a);
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

bool engine_change(Accel *a, const char *name, Err *err)
{
    Accel old = *a;
    const AccelOps *ops = find(name, err);
    if (!ops || ops == old.ops) {
        return ops != NULL;
    }
    old.ops->pull(&old);
    Accel fresh = {.ops = ops, .cpu = old.cpu, .board = old.board};
    if (!ops->open(&fresh, err)) {
        return false;
    }
    *a = fresh;
    old.ops->close(&old);
    a->ops->push(a);
    log_info("changed from %s to %s", old.ops->name, ops->name);
    return true;
}
