/* Debug console port.
 *
 * Reads give E9h, by which software finds it (Bochs' port E9h; QEMU's isa-debugcon). Wired by
 * pc_build at 402h for SeaBIOS.
 */
#include "chipset/debugcon.h"

#include <stdlib.h>

#include "machine/core/log.h"

LOG_TAG("debugcon");

enum { LINE_ROOM = 120, PRESENT = 0xe9 };

struct Debugcon {
    Device dev;
    DebugconConfig config;
    char line[LINE_ROOM + 1]; /* of the log: no guest can read it back */
    unsigned used;
};

static void end_line(Debugcon *d)
{
    d->line[d->used] = '\0';
    log_trace("%s", d->line);
    d->used = 0;
}

static uint64_t debugcon_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)offset;
    (void)bytes;
    return PRESENT;
}

static void debugcon_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Debugcon *d = self;
    uint8_t byte = (uint8_t)value;
    (void)offset;
    (void)bytes;
    if (d->config.port.ops) {
        d->config.port.ops->write(d->config.port.backend, &byte, 1);
    }
    if (byte == '\n' || d->used == LINE_ROOM) {
        end_line(d);
    }
    if (byte >= ' ' && byte < 0x7f) {
        d->line[d->used++] = (char)byte;
    }
}

static void debugcon_reset(Device *dev, ResetKind kind)
{
    Debugcon *d = (Debugcon *)dev;
    (void)kind;
    d->used = 0;
}

static void debugcon_state(Device *dev, StateIo *io)
{
    (void)dev; /* write-only: the guest can see no state */
    (void)io;
}

static const DeviceType debugcon_type = {
    .name = "debugcon",
    .version = 1,
    .reset = debugcon_reset,
    .state = debugcon_state,
};

static const IoOps debugcon_ops = {debugcon_read, debugcon_write, 1, 1};

Debugcon *debugcon_new(Board *b, const DebugconConfig *config, const char *id)
{
    Debugcon *d = calloc(1, sizeof(*d));
    d->config = *config;
    bus_claim(b->ports, config->base, 1, &debugcon_ops, d, "debugcon");
    device_add(b, &d->dev, &debugcon_type, id);
    return d;
}
