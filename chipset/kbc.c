/* 8042 keyboard controller.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference (1988), and the AT Technical Reference
 * for the translation of scan codes. A device's byte takes 1 ms on the wire and is let in only
 * while the output buffer is empty, so that programs which read port 60h twice per interrupt get
 * the same byte twice. Wired by pc_build: devices, IRQ1 and IRQ12, A20, processor reset. Not
 * modelled: the time the controller takes to execute a command (the input buffer is never seen
 * full), and the diagnostic dump.
 */
#include "chipset/kbc.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("kbc");

enum {
    STATUS_OBF = 0x01,
    STATUS_SYSTEM = 0x04,
    STATUS_COMMAND = 0x08,
    STATUS_UNLOCKED = 0x10, /* the key lock; it has nothing to do with disabled interfaces */
    STATUS_AUX_OBF = 0x20,
    STATUS_TIMEOUT = 0x40,
    MODE_IRQ1 = 0x01,
    MODE_IRQ12 = 0x02,
    MODE_SYSTEM = 0x04,
    MODE_NO_KEYBOARD = 0x10,
    MODE_NO_MOUSE = 0x20,
    MODE_TRANSLATE = 0x40,
    OUT_RESET = 0x01, /* active low */
    OUT_A20 = 0x02,
    OUT_IRQ1 = 0x10,
    OUT_IRQ12 = 0x20,
    OUT_AT_RESET = 0xcf,
    INPUT_PORT = 0xa0, /* not locked, no manufacturing jumper */
    WIRE_NS = 1000000, /* 11 bits of about 90 us */
    REPLIES = 4,
    RAM_BYTES = 32,
    RESEND = 0xfe,
};

/* What the next byte written to port 60h is for. */
typedef enum Awaiting {
    FOR_KEYBOARD,
    FOR_RAM, /* and `ram_index` */
    FOR_OUTPUT_PORT,
    FOR_KEYBOARD_BUFFER,
    FOR_MOUSE_BUFFER,
    FOR_MOUSE,
    FOR_PASSWORD,
    AWAITING_COUNT
} Awaiting;

typedef enum Source { FROM_KEYBOARD, FROM_MOUSE, FROM_CONTROLLER } Source;

struct Kbc {
    Device dev;
    KbcConfig config;
    struct {
        uint8_t ram[RAM_BYTES]; /* [0] is the command byte */
        uint8_t status;
        uint8_t data;        /* output buffer; keeps its byte after it was read */
        uint8_t output_port; /* bits 4 and 5 follow the buffer */
        unsigned awaiting;   /* Awaiting */
        uint8_t ram_index;
        bool break_prefix; /* translation: F0h was swallowed */
        uint8_t reply[REPLIES];
        bool reply_aux[REPLIES];
        uint8_t replies;
        int64_t quiet_until; /* a byte to a device occupies the wire */
    } g;
    Timer wire;
};

/* Scan code set 2 to set 1; codes from 80h on stay as they are, but for two (AT Technical
 * Reference). */
/* clang-format off */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
/* clang-format on */

static bool port_waiting(const Ps2Port *port)
{
    return port->ops && port->ops->waiting(port->device);
}

static bool keyboard_waiting(const Kbc *k)
{
    return !(k->g.ram[0] & MODE_NO_KEYBOARD) && port_waiting(&k->config.keyboard);
}

static bool mouse_waiting(const Kbc *k)
{
    return !(k->g.ram[0] & MODE_NO_MOUSE) && port_waiting(&k->config.mouse);
}

/* The interrupts are levels: buffer full, and enabled. A keyboard that is held off raises none, so
 * that a driver which does so can read a command's answer by itself. */
static void drive_irqs(Kbc *k)
{
    bool full = k->g.status & STATUS_OBF;
    bool aux = k->g.status & STATUS_AUX_OBF;
    uint8_t mode = k->g.ram[0];
    line_set(&k->config.irq1, full && !aux && mode & MODE_IRQ1 && !(mode & MODE_NO_KEYBOARD));
    line_set(&k->config.irq12, full && aux && mode & MODE_IRQ12);
}

static void fill_buffer(Kbc *k, uint8_t byte, Source source)
{
    timer_disarm(&k->wire); /* the wire is held until the byte is read */
    k->g.data = byte;
    k->g.status &= (uint8_t)~STATUS_AUX_OBF;
    k->g.status |= STATUS_OBF | (source == FROM_MOUSE ? STATUS_AUX_OBF : 0);
    drive_irqs(k);
}

static int64_t now_of(const Kbc *k)
{
    return clock_now(&k->dev.board->clock);
}

/* While the buffer is empty: the controller's own answers at once, then a device's next byte. */
static void pump(Kbc *k)
{
    if (k->g.status & STATUS_OBF) {
        return;
    }
    if (k->g.replies) {
        uint8_t byte = k->g.reply[0];
        bool aux = k->g.reply_aux[0];
        k->g.replies--;
        memmove(k->g.reply, k->g.reply + 1, REPLIES - 1);
        memmove(k->g.reply_aux, k->g.reply_aux + 1, (REPLIES - 1) * sizeof(k->g.reply_aux[0]));
        fill_buffer(k, byte, aux ? FROM_MOUSE : FROM_CONTROLLER);
    } else if (!k->wire.armed && (keyboard_waiting(k) || mouse_waiting(k))) {
        int64_t now = now_of(k);
        timer_arm(&k->wire, (now > k->g.quiet_until ? now : k->g.quiet_until) + WIRE_NS);
    }
}

static void reply(Kbc *k, uint8_t byte, bool aux)
{
    if (k->g.replies < REPLIES) {
        k->g.reply[k->g.replies] = byte;
        k->g.reply_aux[k->g.replies++] = aux;
    } else {
        log_guest("nobody reads the answers");
    }
    pump(k);
}

/* A scan code byte from the keyboard. False: it was only a prefix. */
static bool translate(Kbc *k, uint8_t *byte)
{
    if (!(k->g.ram[0] & MODE_TRANSLATE)) {
        k->g.break_prefix = false;
        return true;
    }
    if (*byte == 0xf0) {
        k->g.break_prefix = true;
        return false;
    }
    uint8_t code = *byte < 0x80 ? translation[*byte] : *byte == 0x83 ? 0x41 : *byte;
    code = *byte == 0x84 ? 0x54 : code;
    *byte = (uint8_t)(code | (k->g.break_prefix ? 0x80 : 0));
    k->g.break_prefix = false;
    return true;
}

static void wire_fire(void *self, int64_t due)
{
    Kbc *k = self;
    (void)due;
    if (k->g.status & STATUS_OBF) {
        return;
    }
    if (keyboard_waiting(k)) {
        uint8_t byte = k->config.keyboard.ops->next(k->config.keyboard.device);
        if (translate(k, &byte)) {
            fill_buffer(k, byte, FROM_KEYBOARD);
        }
    } else if (mouse_waiting(k)) {
        fill_buffer(k, k->config.mouse.ops->next(k->config.mouse.device), FROM_MOUSE);
    }
    pump(k);
}

static void device_ready(void *self)
{
    pump(self);
}

static void send(Kbc *k, const Ps2Port *port, uint8_t byte, bool aux)
{
    if (!port->ops) { /* nobody clocks the byte out */
        k->g.status |= STATUS_TIMEOUT;
        reply(k, RESEND, aux);
        return;
    }
    timer_disarm(&k->wire); /* a byte under way is broken off and sent again */
    k->g.quiet_until = now_of(k) + WIRE_NS;
    port->ops->command(port->device, byte);
    pump(k);
}

static void set_output_port(Kbc *k, uint8_t value)
{
    bool reset = !(value & OUT_RESET);
    k->g.output_port = value | OUT_RESET;
    line_set(&k->config.a20, value & OUT_A20);
    if (reset) {
        log_trace("processor reset");
        line_pulse(&k->config.reset);
    }
}

static uint8_t read_output_port(const Kbc *k)
{
    uint8_t value = k->g.output_port & (uint8_t) ~(OUT_IRQ1 | OUT_IRQ12);
    if (k->g.status & STATUS_OBF) {
        value |= k->g.status & STATUS_AUX_OBF ? OUT_IRQ12 : OUT_IRQ1;
    }
    return value;
}

static void set_mode(Kbc *k, uint8_t mode)
{
    k->g.ram[0] = mode;
    k->g.status &= (uint8_t)~STATUS_SYSTEM;
    k->g.status |= mode & MODE_SYSTEM ? STATUS_SYSTEM : 0;
    drive_irqs(k);
    pump(k);
}

static void self_test(Kbc *k)
{
    k->g.status |= STATUS_SYSTEM;
    k->g.ram[0] |= MODE_SYSTEM;
    reply(k, 0x55, false);
}

static void await(Kbc *k, Awaiting what)
{
    k->g.awaiting = what;
}

/* Commands C0h..FFh: ports and buffers. */
static void write_port_command(Kbc *k, uint8_t command)
{
    switch (command) {
    case 0xc0:
        reply(k, INPUT_PORT, false);
        break;
    case 0xd0:
        reply(k, read_output_port(k), false);
        break;
    case 0xd1:
        await(k, FOR_OUTPUT_PORT);
        break;
    case 0xd2:
        await(k, FOR_KEYBOARD_BUFFER);
        break;
    case 0xd3:
        await(k, FOR_MOUSE_BUFFER);
        break;
    case 0xd4:
        await(k, FOR_MOUSE);
        break;
    case 0xdd: /* many clones: A20 off and on in one command */
        set_output_port(k, k->g.output_port & (uint8_t)~OUT_A20);
        break;
    case 0xdf:
        set_output_port(k, k->g.output_port | OUT_A20);
        break;
    case 0xe0: /* test inputs: clock and data of the keyboard */
        reply(k, k->g.ram[0] & MODE_NO_KEYBOARD ? 0x02 : 0x03, false);
        break;
    default:
        if (command >= 0xf0) {
            if (!(command & OUT_RESET)) { /* pulses the bits that are 0 */
                log_trace("processor reset");
                line_pulse(&k->config.reset);
            }
        } else {
            log_unimp("command 0x%02x", command);
        }
    }
}

static void write_command(Kbc *k, uint8_t command)
{
    k->g.status |= STATUS_COMMAND;
    await(k, FOR_KEYBOARD);
    if (command >= 0x20 && command < 0x40) {
        reply(k, k->g.ram[command & 0x1f], false);
        return;
    }
    if (command >= 0x60 && command < 0x80) {
        k->g.ram_index = command & 0x1f;
        await(k, FOR_RAM);
        return;
    }
    switch (command) {
    case 0xa4: /* is a password installed? */
        reply(k, 0xf1, false);
        break;
    case 0xa5:
        await(k, FOR_PASSWORD);
        break;
    case 0xa6: /* enable the password: none is ever installed */
        break;
    case 0xa7:
        set_mode(k, k->g.ram[0] | MODE_NO_MOUSE);
        break;
    case 0xa8:
        set_mode(k, k->g.ram[0] & (uint8_t)~MODE_NO_MOUSE);
        break;
    case 0xa9: /* 2: the clock line is stuck high */
        reply(k, k->config.mouse.ops ? 0x00 : 0x02, false);
        break;
    case 0xaa:
        self_test(k);
        break;
    case 0xab:
        reply(k, k->config.keyboard.ops ? 0x00 : 0x02, false);
        break;
    case 0xad:
        set_mode(k, k->g.ram[0] | MODE_NO_KEYBOARD);
        break;
    case 0xae:
        set_mode(k, k->g.ram[0] & (uint8_t)~MODE_NO_KEYBOARD);
        break;
    default:
        write_port_command(k, command);
    }
}

static void write_data(Kbc *k, uint8_t value)
{
    Awaiting what = (Awaiting)k->g.awaiting;
    k->g.status &= (uint8_t) ~(STATUS_COMMAND | STATUS_TIMEOUT);
    await(k, FOR_KEYBOARD);
    switch (what) {
    case FOR_RAM:
        if (k->g.ram_index == 0) {
            set_mode(k, value);
        } else {
            k->g.ram[k->g.ram_index] = value;
        }
        break;
    case FOR_OUTPUT_PORT: /* bits 4 and 5 follow the buffer: no interrupt comes of this */
        set_output_port(k, value);
        break;
    case FOR_KEYBOARD_BUFFER:
        reply(k, value, false);
        break;
    case FOR_MOUSE_BUFFER:
        reply(k, value, true);
        break;
    case FOR_MOUSE:
        send(k, &k->config.mouse, value, true);
        break;
    case FOR_PASSWORD: /* taken and forgotten, up to its final 0 */
        if (value != 0) {
            await(k, FOR_PASSWORD);
        }
        break;
    default:
        /* talking to the keyboard enables it */
        k->g.ram[0] &= (uint8_t)~MODE_NO_KEYBOARD;
        drive_irqs(k);
        send(k, &k->config.keyboard, value, false);
    }
}

static uint64_t data_read(void *self, uint32_t offset, unsigned bytes)
{
    Kbc *k = self;
    (void)offset;
    (void)bytes;
    uint8_t value = k->g.data;
    if (k->g.status & STATUS_OBF) {
        k->g.status &= (uint8_t) ~(STATUS_OBF | STATUS_AUX_OBF);
        drive_irqs(k);
        pump(k);
    }
    return value;
}

static void data_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    write_data(self, (uint8_t)value);
}

static uint64_t status_read(void *self, uint32_t offset, unsigned bytes)
{
    Kbc *k = self;
    (void)offset;
    (void)bytes;
    return k->g.status;
}

static void command_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    write_command(self, (uint8_t)value);
}

static void kbc_reset(Device *d, ResetKind kind)
{
    Kbc *k = (Kbc *)d;
    (void)kind;
    timer_disarm(&k->wire);
    memset(&k->g, 0, sizeof(k->g));
    k->g.ram[0] = MODE_NO_KEYBOARD | MODE_NO_MOUSE;
    k->g.status = STATUS_UNLOCKED | STATUS_COMMAND;
    k->g.output_port = OUT_AT_RESET;
    line_set(&k->config.a20, true);
    drive_irqs(k);
}

static void kbc_state(Device *d, StateIo *io)
{
    Kbc *k = (Kbc *)d;
    state_bytes(io, "ram", k->g.ram, sizeof(k->g.ram));
    state_u8(io, "status", &k->g.status);
    state_u8(io, "data", &k->g.data);
    state_u8(io, "output_port", &k->g.output_port);
    state_enum(io, "awaiting", &k->g.awaiting, AWAITING_COUNT);
    state_u8(io, "ram_index", &k->g.ram_index);
    state_bool(io, "break_prefix", &k->g.break_prefix);
    state_bytes(io, "reply", k->g.reply, sizeof(k->g.reply));
    for (unsigned i = 0; i < REPLIES; i++) {
        state_bool(io, "reply_aux", &k->g.reply_aux[i]);
    }
    state_u8(io, "replies", &k->g.replies);
    state_i64(io, "quiet_until", &k->g.quiet_until);
    state_timer(io, "wire", &k->wire);
    state_check(io, k->g.ram_index < RAM_BYTES && k->g.replies <= REPLIES,
                "an index is out of range");
    state_check(io, k->g.quiet_until >= 0 && k->g.quiet_until <= now_of(k) + WIRE_NS,
                "the wire is busy for too long");
}

static void kbc_restored(Device *d)
{
    Kbc *k = (Kbc *)d;
    drive_irqs(k); /* A20 is not driven: the board's latch is saved with what wrote it last */
}

static const DeviceType kbc_type = {
    .name = "kbc",
    .version = 1,
    .reset = kbc_reset,
    .state = kbc_state,
    .restored = kbc_restored,
};

static const IoOps data_ops = {data_read, data_write, 1, 1};
static const IoOps command_ops = {status_read, command_write, 1, 1};

Kbc *kbc_new(Board *b, const KbcConfig *config, const char *id)
{
    Kbc *k = calloc(1, sizeof(*k));
    k->config = *config;
    timer_init(&k->wire, &b->clock, "kbc.wire", wire_fire, k);
    bus_claim(b->ports, 0x60, 1, &data_ops, k, "kbc data");
    bus_claim(b->ports, 0x64, 1, &command_ops, k, "kbc command");
    device_add(b, &k->dev, &kbc_type, id);
    if (config->keyboard.ops) {
        config->keyboard.ops->attach(config->keyboard.device, device_ready, k);
    }
    if (config->mouse.ops) {
        config->mouse.ops->attach(config->mouse.device, device_ready, k);
    }
    return k;
}
