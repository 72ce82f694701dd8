/* The board: carries devices, clock, memory and buses. */
#include "machine/core/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_NAME(ports_tag, "ports"); /* the buses trace their accesses */
LOG_NAME(memory_tag, "memory");

Board *board_new(Err *err)
{
    Board *b = calloc(1, sizeof(*b));
    if (!b) {
        err_set(err, "out of memory");
        return NULL;
    }
    clock_init(&b->clock);
    if (!ram_open(&b->ram, err)) {
        free(b);
        return NULL;
    }
    b->ports = bus_new(ports_tag, BOARD_PORTS, NULL);
    b->memory = bus_new(memory_tag, BOARD_MEMORY, &b->ram);
    b->events = event_queue_new(NULL, NULL);
    if (!b->ports || !b->memory || !b->events) {
        err_set(err, "out of memory");
        board_free(b);
        return NULL;
    }
    return b;
}

void board_free(Board *b)
{
    if (!b) {
        return;
    }
    while (b->last) {
        Device *d = b->last;
        b->last = d->before;
        if (d->type->destroy) {
            d->type->destroy(d);
        } else {
            free(d);
        }
    }
    event_queue_free(b->events);
    bus_free(b->memory);
    bus_free(b->ports);
    ram_close(&b->ram);
    free(b);
}

void device_add(Board *b, Device *d, const DeviceType *type, const char *id)
{
    d->type = type;
    d->id = id;
    d->board = b;
    d->next = NULL;
    d->before = b->last;
    if (b->last) {
        b->last->next = d;
    } else {
        b->first = d;
    }
    b->last = d;
}

Device *device_find(Board *b, const char *id)
{
    for (Device *d = b->first; d; d = d->next) {
        if (strcmp(d->id, id) == 0) {
            return d;
        }
    }
    return NULL;
}

void board_reset(Board *b, ResetKind kind)
{
    for (Device *d = b->first; d; d = d->next) {
        d->type->reset(d, kind);
    }
}

void board_state(Board *b, StateIo *io)
{
    /* One instant for all: guest time stands still while it is walked. */
    bool passing = b->clock.running;
    if (passing) {
        clock_run(&b->clock, false);
    }
    int64_t now = clock_now(&b->clock);
    if (state_begin(io, "clock", 1)) {
        state_i64(io, "now", &now);
        state_check(io, now >= 0 && now < INT64_MAX / 2, "is out of range");
        state_end(io);
    }
    if (state_loading(io) && state_ok(io)) {
        clock_set(&b->clock, now);
    }
    for (Device *d = b->first; d; d = d->next) {
        if (state_begin(io, d->id, d->type->version)) {
            d->type->state(d, io);
            state_end(io);
        }
    }
    if (passing) {
        clock_run(&b->clock, true);
    }
}

void board_restored(Board *b)
{
    for (Device *d = b->first; d; d = d->next) {
        if (d->type->restored) {
            d->type->restored(d);
        }
    }
}
