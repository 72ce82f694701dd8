/* VMware's backdoor port: version, time, absolute pointer.
 *
 * Sources: Ken Kato, "VMware Backdoor I/O Port"; Linux, drivers/input/mouse/vmmouse.c, for the
 * pointer's commands and packets. A command is a 32-bit IN or OUT with the magic number in EAX; the
 * answer comes in the registers. Commands that are not here, the clipboard's among them, answer
 * with all ones as on a VMware that has them switched off. Wired by pc_build: the processor's
 * registers, the PS/2 mouse. Not modelled: relative packets (relative motion is the PS/2 mouse's).
 */
#include "chipset/cards/vmware_port.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/keys.h"
#include "machine/core/log.h"

LOG_TAG("vmware_port");

#define MAGIC 0x564d5868u
#define ABSENT 0xffffffffu
#define POINTER_VERSION 0x3442554au
#define POINTER_ERROR 0xffff0000u
#define POINTER_ENABLE 0x45414552u
#define POINTER_DISABLE 0x000000f5u
#define POINTER_RELATIVE 0x4c455252u
#define POINTER_ABSOLUTE 0x53424152u

enum {
    PORT = 0x5658,
    GET_VERSION = 10,
    GET_MEMORY = 20,
    GET_TIME = 23,
    POINTER_DATA = 39,
    POINTER_STATUS = 40,
    POINTER_COMMAND = 41,
    POINTER_RESTRICT = 86,
    VERSION = 6,
    PRODUCT_WORKSTATION = 4,
    TIME_LAG_US = 1000000,
    BUTTON_LEFT = 0x20,
    BUTTON_RIGHT = 0x10,
    BUTTON_MIDDLE = 0x08,
    QUEUE_WORDS = 256, /* whole packets */
    PACKET_WORDS = 4,
    WORDS_AT_ONCE = 6, /* registers */
};

struct VmwarePort {
    Device dev;
    VmwarePortConfig config;
    EventPort *events;
    struct {
        bool enabled, absolute;
        bool failed; /* status shows an error until the pointer is enabled again */
        uint8_t buttons;
        uint16_t x, y;
        uint32_t queue[QUEUE_WORDS];
        uint32_t count;
        bool last_is_motion; /* the queue's last packet is motion alone: a newer one replaces it */
    } g;
};

bool vmware_port_wants_absolute(const VmwarePort *v)
{
    return v->g.enabled && v->g.absolute;
}

/* --- pointer --- */

static void push_packet(VmwarePort *v, int wheel, bool motion)
{
    uint8_t b = v->g.buttons;
    bool replace = motion && v->g.last_is_motion && v->g.count >= PACKET_WORDS;
    if (replace) {
        v->g.count -= PACKET_WORDS;
    } else if (v->g.count + PACKET_WORDS > QUEUE_WORDS) {
        return;
    }
    uint32_t *p = v->g.queue + v->g.count;
    p[0] = (b & MOUSE_LEFT ? BUTTON_LEFT : 0) | (b & MOUSE_RIGHT ? BUTTON_RIGHT : 0) |
           (b & MOUSE_MIDDLE ? BUTTON_MIDDLE : 0);
    p[1] = v->g.x;
    p[2] = v->g.y;
    p[3] = (uint32_t)-wheel; /* positive is towards the user */
    v->g.count += PACKET_WORDS;
    v->g.last_is_motion = motion;
    if (v->config.nudge) {
        v->config.nudge(v->config.mouse);
    }
}

static void deliver(void *self, const void *data, size_t size)
{
    VmwarePort *v = self;
    InputEvent event;
    if (size != sizeof(event)) {
        return;
    }
    memcpy(&event, data, sizeof(event));
    if (event.kind == INPUT_MOUSE_BUTTONS) {
        v->g.buttons = event.buttons;
    } else if (event.kind == INPUT_MOUSE_ABSOLUTE) {
        v->g.x = event.x;
        v->g.y = event.y;
    } else if (event.kind != INPUT_MOUSE_MOVE || event.wheel == 0) {
        return;
    }
    if (vmware_port_wants_absolute(v)) {
        int wheel = event.kind == INPUT_MOUSE_MOVE ? event.wheel : 0;
        wheel = wheel > 127 ? 127 : wheel < -127 ? -127 : wheel;
        push_packet(v, wheel, event.kind == INPUT_MOUSE_ABSOLUTE);
    }
}

static void fail_pointer(VmwarePort *v)
{
    v->g.failed = true;
    v->g.enabled = v->g.absolute = v->g.last_is_motion = false;
    v->g.count = 0;
}

static void pointer_command(VmwarePort *v, uint32_t command)
{
    switch (command) {
    case POINTER_ENABLE:
        v->g.enabled = true;
        v->g.failed = v->g.absolute = v->g.last_is_motion = false;
        v->g.queue[0] = POINTER_VERSION;
        v->g.count = 1;
        break;
    case POINTER_DISABLE:
        fail_pointer(v);
        break;
    case POINTER_RELATIVE:
        v->g.absolute = false;
        break;
    case POINTER_ABSOLUTE:
        v->g.absolute = true;
        break;
    default:
        log_guest("pointer command 0x%08x", command);
    }
}

/* Hands out `words` of the queue, EAX first. */
static void pointer_data(VmwarePort *v, VmwareRegisters *r)
{
    uint32_t words = r->ebx;
    uint32_t *const to[WORDS_AT_ONCE] = {&r->eax, &r->ebx, &r->ecx, &r->edx, &r->esi, &r->edi};
    if (words == 0 || words > WORDS_AT_ONCE || words > v->g.count) {
        log_guest("%u words asked for, %u wait", words, v->g.count);
        fail_pointer(v);
        r->eax = ABSENT;
        return;
    }
    for (uint32_t i = 0; i < words; i++) {
        *to[i] = v->g.queue[i];
    }
    v->g.count -= words;
    memmove(v->g.queue, v->g.queue + words, v->g.count * sizeof(v->g.queue[0]));
    /* a packet that was begun must not be replaced */
    v->g.last_is_motion &= v->g.count >= PACKET_WORDS;
}

/* --- commands --- */

static void give_time(VmwarePort *v, VmwareRegisters *r)
{
    if (!v->config.time) {
        r->eax = ABSENT;
        return;
    }
    VmwareTime time = v->config.time(v->config.time_self);
    int64_t us = time.utc_us < 0 ? 0 : time.utc_us;
    r->eax = (uint32_t)(us / 1000000);
    r->ebx = (uint32_t)(us % 1000000);
    r->ecx = TIME_LAG_US;
    r->edx = (uint32_t)time.offset_minutes;
}

static void run_command(VmwarePort *v, VmwareRegisters *r)
{
    if (r->eax != MAGIC) {
        r->eax = ABSENT;
        return;
    }
    switch (r->ecx & 0xffff) {
    case GET_VERSION:
        r->eax = VERSION;
        r->ebx = MAGIC;
        r->ecx = PRODUCT_WORKSTATION;
        break;
    case GET_MEMORY:
        r->eax = v->config.ram_mib;
        break;
    case GET_TIME:
        give_time(v, r);
        break;
    case POINTER_DATA:
        pointer_data(v, r);
        break;
    case POINTER_STATUS:
        r->eax = (v->g.failed ? POINTER_ERROR : 0) | v->g.count;
        break;
    case POINTER_COMMAND:
        pointer_command(v, r->ebx);
        break;
    case POINTER_RESTRICT: /* any privilege level may use it */
        break;
    default:
        log_unimp("command %u", r->ecx & 0xffff);
        r->eax = ABSENT;
    }
}

static uint64_t vmware_port_read(void *self, uint32_t offset, unsigned bytes)
{
    VmwarePort *v = self;
    VmwareRegisters r = {0};
    if (offset != 0 || bytes != 4) {
        return ABSENT;
    }
    v->config.load(v->config.cpu, &r);
    run_command(v, &r);
    v->config.store(v->config.cpu, &r);
    return r.eax;
}

static void vmware_port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)value; /* EAX, which is among the registers */
    vmware_port_read(self, offset, bytes);
}

/* --- device --- */

EventPort *vmware_port_events(VmwarePort *v)
{
    return v->events;
}

static void vmware_port_reset(Device *d, ResetKind kind)
{
    VmwarePort *v = (VmwarePort *)d;
    (void)kind;
    memset(&v->g, 0, sizeof(v->g));
    v->g.failed = true; /* until a driver enables it */
}

static void vmware_port_state(Device *d, StateIo *io)
{
    VmwarePort *v = (VmwarePort *)d;
    state_bool(io, "enabled", &v->g.enabled);
    state_bool(io, "absolute", &v->g.absolute);
    state_bool(io, "failed", &v->g.failed);
    state_u8(io, "buttons", &v->g.buttons);
    state_u16(io, "x", &v->g.x);
    state_u16(io, "y", &v->g.y);
    state_u32(io, "count", &v->g.count);
    if (!state_check(io, v->g.count <= QUEUE_WORDS, "queue is too full")) {
        v->g.count = 0;
        return;
    }
    for (uint32_t i = 0; i < v->g.count; i++) {
        state_u32(io, "queue", &v->g.queue[i]);
    }
    state_bool(io, "last_is_motion", &v->g.last_is_motion);
}

static void vmware_port_destroy(Device *d)
{
    VmwarePort *v = (VmwarePort *)d;
    event_port_close(v->events);
    free(v);
}

static const DeviceType vmware_port_type = {
    .name = "vmware_port",
    .version = 1,
    .reset = vmware_port_reset,
    .state = vmware_port_state,
    .destroy = vmware_port_destroy,
};

static const IoOps vmware_port_ops = {vmware_port_read, vmware_port_write, 1, 4};

VmwarePort *vmware_port_new(Board *b, const VmwarePortConfig *config, const char *id)
{
    VmwarePort *v = calloc(1, sizeof(*v));
    v->config = *config;
    v->events = event_port_open(b->events, id, deliver, v);
    bus_claim(b->ports, PORT, 4, &vmware_port_ops, v, "vmware port");
    device_add(b, &v->dev, &vmware_port_type, id);
    return v;
}
