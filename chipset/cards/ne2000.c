/* NE2000 network card for the ISA bus.
 *
 * Novell's design around the DP8390 (dp8390.c has the data sheet): 32 ports, the chip's registers
 * first, then the data port of its remote DMA and the reset port. 16-bit slot: a PROM byte shows in
 * both halves of a word. Not modelled: boot ROM socket, jumpers. Wired by pc_cards.
 */
#include "chipset/cards/ne2000.h"

#include <stdlib.h>

#include "chipset/cards/dp8390_internal.h"

struct Ne2000 {
    Device dev;
    Dp8390 nic;
};

static uint64_t read_port(void *self, uint32_t offset, unsigned bytes)
{
    Ne2000 *n = self;
    return ne2000_read(&n->nic, offset, bytes);
}

static void write_port(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ne2000 *n = self;
    ne2000_write(&n->nic, offset, (uint32_t)value, bytes);
}

static uint32_t read_run(void *self, uint32_t offset, unsigned bytes, void *data, uint32_t count)
{
    Ne2000 *n = self;
    return ne2000_read_run(&n->nic, offset, bytes, data, count);
}

static uint32_t write_run(void *self, uint32_t offset, unsigned bytes, const void *data,
                          uint32_t count)
{
    Ne2000 *n = self;
    return ne2000_write_run(&n->nic, offset, bytes, data, count);
}

static const IoOps port_ops = {read_port, write_port, 1, 2};
static const IoRuns port_runs = {read_run, write_run};

static void reset(Device *d, ResetKind kind)
{
    (void)kind;
    dp8390_reset(&((Ne2000 *)d)->nic);
}

static void state(Device *d, StateIo *io)
{
    dp8390_state(&((Ne2000 *)d)->nic, io);
}

static void restored(Device *d)
{
    dp8390_restored(&((Ne2000 *)d)->nic);
}

static void destroy(Device *d)
{
    dp8390_fini(&((Ne2000 *)d)->nic);
    free(d);
}

static const DeviceType type = {
    .name = "ne2000",
    .version = 1,
    .reset = reset,
    .state = state,
    .restored = restored,
    .destroy = destroy,
};

Ne2000 *ne2000_new(Board *b, const Ne2000Config *config, const char *id)
{
    Ne2000 *n = calloc(1, sizeof(*n));
    if (!n) {
        return NULL;
    }
    Dp8390Config nic = {.port = config->port, .irq = config->irq, .patience = config->patience};
    for (unsigned i = 0; i < 6; i++) {
        nic.mac[i] = config->mac[i];
    }
    bus_set_runs(bus_claim(b->ports, config->base, NE2000_PORTS, &port_ops, n, "ne2000"),
                 &port_runs);
    device_add(b, &n->dev, &type, id);
    dp8390_init(&n->nic, &b->clock, &nic);
    return n;
}
