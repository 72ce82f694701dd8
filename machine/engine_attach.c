/* Attaching an engine to the board: it hears of changes of guest memory and of its map. */
#include "machine/engine.h"

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

void engine_attach(Accel *a)
{
    a->board->ram.listener =
        (RamListener){code_changed, flags_set, a, a->ops->written ? written : NULL};
    bus_listen(a->board->memory, map_changed, a);
}

void engine_detach(Accel *a)
{
    a->board->ram.listener = (RamListener){0};
    bus_listen(a->board->memory, NULL, NULL);
}
