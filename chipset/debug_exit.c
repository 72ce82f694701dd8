/* Debug exit port, for test programs that run as guests.
 *
 * As QEMU's isa-debug-exit: the status is never 0, so that it cannot be mistaken for a power-off.
 * Wired by pc_build from -device isa-debug-exit.
 */
#include "chipset/debug_exit.h"

#include <stdlib.h>

#include "machine/core/log.h"

LOG_TAG("debug_exit");

struct DebugExit {
    Device dev;
    DebugExitConfig config;
};

static uint64_t debug_exit_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)offset;
    (void)bytes;
    return 0;
}

static void debug_exit_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    DebugExit *d = self;
    (void)offset;
    (void)bytes;
    int status = (int)((uint32_t)value << 1 & 0xff) | 1;
    log_info("the guest exits with status %d", status);
    if (d->config.exit) {
        d->config.exit(d->config.self, status);
    }
}

static void debug_exit_reset(Device *d, ResetKind kind)
{
    (void)d;
    (void)kind;
}

static void debug_exit_state(Device *d, StateIo *io)
{
    (void)d; /* none */
    (void)io;
}

static const DeviceType debug_exit_type = {
    .name = "debug_exit",
    .version = 1,
    .reset = debug_exit_reset,
    .state = debug_exit_state,
};

static const IoOps debug_exit_ops = {debug_exit_read, debug_exit_write, 1, 4};

DebugExit *debug_exit_new(Board *b, const DebugExitConfig *config, const char *id, Err *err)
{
    if ((config->size != 1 && config->size != 2 && config->size != 4) ||
        config->base > BOARD_PORTS - config->size) {
        err_set(err, "isa-debug-exit: iosize must be 1, 2 or 4, and iobase below 0x%x",
                BOARD_PORTS - config->size + 1u);
        return NULL;
    }
    DebugExit *d = calloc(1, sizeof(*d));
    d->config = *config;
    bus_claim(b->ports, config->base, config->size, &debug_exit_ops, d, "debug exit");
    device_add(b, &d->dev, &debug_exit_type, id);
    return d;
}
