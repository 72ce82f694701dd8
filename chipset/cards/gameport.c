/* Game port.
 *
 * Source: IBM Game Control Adapter: a write starts four one-shots whose length is 24.2 us + 0.011
 * us for each ohm of the stick's 0..100 kOhm potentiometers. An axis that is not connected never
 * ends. Wired by pc_build; its event port to the front end's pads.
 */
#include "chipset/cards/gameport.h"

#include <stdlib.h>
#include <string.h>

enum {
    AXES = 4,
    BASE_NS = 24200,
    SPAN_NS = 1100000, /* 100 kOhm */
    ALL_CONNECTED = 0x0f,
};

struct Gameport {
    Device dev;
    GameportConfig config;
    EventPort *events;
    struct {
        uint8_t connected, buttons;
        uint16_t axis[AXES];
        bool fired;         /* ever: before, the one-shots are at rest */
        int64_t ends[AXES]; /* guest ns at which each one-shot ends; CLOCK_NEVER without a stick */
    } g;
};

static int64_t now_of(const Gameport *p)
{
    return clock_now(&p->dev.board->clock);
}

static uint64_t gameport_read(void *self, uint32_t offset, unsigned bytes)
{
    Gameport *p = self;
    (void)offset;
    (void)bytes;
    int64_t now = now_of(p);
    uint8_t value = (uint8_t)((~p->g.buttons & 0x0f) << 4); /* a held button reads 0 */
    for (unsigned i = 0; i < AXES; i++) {
        value |= (uint8_t)((p->g.fired && now < p->g.ends[i]) << i);
    }
    return value;
}

static void gameport_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Gameport *p = self;
    (void)offset;
    (void)value;
    (void)bytes;
    int64_t now = now_of(p);
    p->g.fired = true;
    for (unsigned i = 0; i < AXES; i++) {
        p->g.ends[i] = p->g.connected & 1u << i
                           ? now + BASE_NS + (int64_t)p->g.axis[i] * SPAN_NS / 65535
                           : CLOCK_NEVER;
    }
}

static void deliver(void *self, const void *data, size_t size)
{
    Gameport *p = self;
    GameportEvent event;
    if (size != sizeof(event)) {
        return;
    }
    memcpy(&event, data, sizeof(event));
    p->g.connected = event.connected & ALL_CONNECTED;
    p->g.buttons = event.buttons & 0x0f;
    memcpy(p->g.axis, event.axis, sizeof(p->g.axis));
}

EventPort *gameport_events(Gameport *p)
{
    return p->events;
}

static void gameport_reset(Device *d, ResetKind kind)
{
    (void)d; /* the adapter has nothing to reset; sticks stay where they are */
    (void)kind;
}

static void gameport_state(Device *d, StateIo *io)
{
    Gameport *p = (Gameport *)d;
    state_u8(io, "connected", &p->g.connected);
    state_u8(io, "buttons", &p->g.buttons);
    state_bool(io, "fired", &p->g.fired);
    for (unsigned i = 0; i < AXES; i++) {
        state_u16(io, "axis", &p->g.axis[i]);
        state_i64(io, "ends", &p->g.ends[i]);
    }
}

static void gameport_destroy(Device *d)
{
    Gameport *p = (Gameport *)d;
    event_port_close(p->events);
    free(p);
}

static const DeviceType gameport_type = {
    .name = "gameport",
    .version = 1,
    .reset = gameport_reset,
    .state = gameport_state,
    .destroy = gameport_destroy,
};

static const IoOps gameport_ops = {gameport_read, gameport_write, 1, 1};

Gameport *gameport_new(Board *b, const GameportConfig *config, const char *id)
{
    Gameport *p = calloc(1, sizeof(*p));
    p->config = *config;
    p->events = event_port_open(b->events, id, deliver, p);
    bus_claim(b->ports, config->base, config->ports, &gameport_ops, p, "game port");
    device_add(b, &p->dev, &gameport_type, id);
    return p;
}
