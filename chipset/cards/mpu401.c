/* MPU-401 MIDI interface: ports, UART mode, and what its cable carried.
 *
 * Source: Roland, MPU-401 Technical Reference Manual; MIDI 1.0 Detailed Specification.
 * mpu401_sequencer.c has the intelligent mode. What went over the cable is remembered as far as it
 * still matters (programs, controllers, held notes), so that a synthesizer can be set up again when
 * a state is loaded. Wired by the cards' table: its cable to a synthesizer of the host, its
 * interrupt to the Sound Blaster's.
 *
 * QUIRK: the Sound Blaster 16's own interface has UART mode only; games made for the intelligent
 * one (Sierra's and Origin's with their MT-32 drivers) play on this one all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/mpu401_internal.h"
#include "machine/core/log.h"

LOG_TAG("mpu401");

enum {
    UNKNOWN = 0xff,
    STATUS_NO_DATA = 0x80,
    STATUS_REST = 0x3f,
    COMMAND_RESET = 0xff,
    COMMAND_UART = 0x3f,
    ACKNOWLEDGE = 0xfe,
    ALL_SOUND_OFF = 120,
    RESET_CONTROLLERS = 121,
    ALL_NOTES_OFF = 123,
};

static void drive(Mpu401 *m)
{
    line_set(&m->config.irq, m->g.size > 0);
}

void mpu401_give(Mpu401 *m, uint8_t value)
{
    if (m->g.size < MPU_QUEUE) {
        m->g.queue[(m->g.at + m->g.size++) % MPU_QUEUE] = value;
    }
    drive(m);
}

void mpu401_forget_asking(Mpu401 *m)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; i < m->g.size; i++) {
        uint8_t value = m->g.queue[(m->g.at + i) % MPU_QUEUE];
        if (!(value >= 0xf0 && value <= 0xf7) && value != 0xf9) {
            m->g.queue[(m->g.at + kept++) % MPU_QUEUE] = value;
        }
    }
    m->g.size = kept;
    drive(m);
}

/* --- the cable --- */

static void send(Mpu401 *m, const uint8_t *data, size_t size)
{
    if (m->config.midi.ops) {
        clock_be_exact(&m->dev.board->clock);
        m->config.midi.ops->write(m->config.midi.backend, data, size);
    }
}

static void forget(Mpu401 *m)
{
    memset(m->g.note, 0, sizeof(m->g.note));
    memset(m->g.control, UNKNOWN, sizeof(m->g.control));
    memset(m->g.program, UNKNOWN, sizeof(m->g.program));
    for (unsigned i = 0; i < MPU_CHANNELS; i++) {
        m->g.bend[i] = 0x2000;
    }
    m->g.status = m->g.have = 0;
}

static void remember_control(Mpu401 *m, unsigned channel, unsigned which, uint8_t value)
{
    if (which == ALL_SOUND_OFF || which >= ALL_NOTES_OFF) {
        memset(m->g.note[channel], 0, MPU_KEYS);
    } else if (which == RESET_CONTROLLERS) {
        memset(m->g.control[channel], UNKNOWN, MPU_KEYS);
        m->g.bend[channel] = 0x2000;
    } else {
        m->g.control[channel][which] = value;
    }
}

static void remember(Mpu401 *m)
{
    unsigned channel = m->g.status & 15;
    uint8_t a = m->g.data[0], b = m->g.data[1];
    switch (m->g.status >> 4) {
    case 0x8:
        m->g.note[channel][a] = 0;
        break;
    case 0x9:
        m->g.note[channel][a] = b;
        break;
    case 0xb:
        remember_control(m, channel, a, b);
        break;
    case 0xc:
        m->g.program[channel] = a;
        break;
    case 0xe:
        m->g.bend[channel] = (uint16_t)(a | b << 7);
        break;
    default:
        break;
    }
}

static void watch(Mpu401 *m, uint8_t byte)
{
    if (byte == 0xff) {
        forget(m);
    } else if (byte >= 0x80) {
        if (byte < 0xf8) {
            m->g.status = byte < 0xf0 ? byte : 0;
            m->g.have = 0;
        }
    } else if (m->g.status) {
        m->g.data[m->g.have++] = byte;
        if (m->g.have == ((m->g.status & 0xe0) == 0xc0 ? 1 : 2)) {
            remember(m);
            m->g.have = 0;
        }
    }
}

void mpu401_send(Mpu401 *m, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        watch(m, data[i]);
    }
    send(m, data, size);
}

void mpu401_notes_off(Mpu401 *m)
{
    for (unsigned i = 0; i < MPU_CHANNELS; i++) {
        for (unsigned key = 0; key < MPU_KEYS; key++) {
            if (m->g.note[i][key]) {
                const uint8_t off[3] = {(uint8_t)(0x80 | i), (uint8_t)key, 64};
                mpu401_send(m, off, 3);
            }
        }
    }
}

static void send3(Mpu401 *m, unsigned a, unsigned b, unsigned c)
{
    uint8_t bytes[3] = {(uint8_t)a, (uint8_t)b, (uint8_t)c};
    send(m, bytes, 3);
}

/* The synthesizer at the far end knows nothing of a loaded state. */
static void set_up_again(Mpu401 *m)
{
    for (unsigned i = 0; i < MPU_CHANNELS; i++) {
        send3(m, 0xb0 | i, ALL_SOUND_OFF, 0);
        send3(m, 0xb0 | i, RESET_CONTROLLERS, 0);
        for (unsigned c = 0; c < ALL_SOUND_OFF; c++) {
            if (m->g.control[i][c] != UNKNOWN) {
                send3(m, 0xb0 | i, c, m->g.control[i][c]);
            }
        }
        if (m->g.program[i] != UNKNOWN) {
            uint8_t bytes[2] = {(uint8_t)(0xc0 | i), m->g.program[i]};
            send(m, bytes, 2);
        }
        send3(m, 0xe0 | i, m->g.bend[i] & 0x7f, m->g.bend[i] >> 7);
        for (unsigned key = 0; key < MPU_KEYS; key++) {
            if (m->g.note[i][key]) {
                send3(m, 0x90 | i, key, m->g.note[i][key]);
            }
        }
    }
    if (m->g.status) { /* the message under way */
        send(m, &m->g.status, 1);
        send(m, m->g.data, m->g.have);
    }
}

void mpu401_connect(Mpu401 *m, Line irq)
{
    m->config.irq = irq;
}

/* There may be room for what comes in. */
static void tell_ready(Mpu401 *m)
{
    if (m->config.midi.ops) {
        m->config.midi.ops->ready(m->config.midi.backend);
    }
}

static void cable_write(void *backend, const uint8_t *data, size_t size)
{
    mpu401_send(backend, data, size);
}

static void cable_attach(void *backend, const CharSink *sink)
{
    Mpu401 *m = backend;
    m->second = *sink;
}

static void cable_ready(void *backend)
{
    tell_ready(backend);
}

static const CharOps cable_ops = {
    .write = cable_write, .attach = cable_attach, .ready = cable_ready};

CharPort mpu401_cable(Mpu401 *m)
{
    return (CharPort){&cable_ops, m};
}

/* A keyboard of the host plays. What UART mode does not take is heard at the cable's other end. */
static void midi_receive(void *self, const uint8_t *data, size_t size)
{
    Mpu401 *m = self;
    if (m->g.uart) {
        for (size_t i = 0; i < size; i++) {
            mpu401_give(m, data[i]);
        }
        return;
    }
    mpu401_sequencer_receive(m, data, size);
    if (m->second.receive) {
        m->second.receive(m->second.self, data, size);
    }
}

static size_t midi_room(void *self)
{
    Mpu401 *m = self;
    if (m->g.uart) {
        return (size_t)(MPU_QUEUE - m->g.size);
    }
    size_t room = mpu401_sequencer_room(m);
    size_t other = m->second.room ? m->second.room(m->second.self) : room;
    return other < room ? other : room;
}

/* --- ports --- */

static void command(Mpu401 *m, uint8_t value)
{
    log_trace("command 0x%02x", value);
    if (m->g.uart) {
        /* only a reset is heard, and it is not acknowledged */
        if (value == COMMAND_RESET) {
            m->g.uart = false;
            m->g.size = 0;
            drive(m);
            tell_ready(m);
        }
        return;
    }
    if (value == COMMAND_RESET || value == COMMAND_UART) {
        m->g.size = value == COMMAND_RESET ? 0 : m->g.size;
        mpu401_sequencer_reset(m);
        m->g.uart = value == COMMAND_UART;
        mpu401_give(m, ACKNOWLEDGE);
        tell_ready(m);
    } else {
        mpu401_give(m, ACKNOWLEDGE);
        mpu401_sequencer_command(m, value);
    }
}

static uint64_t mpu401_read(void *self, uint32_t offset, unsigned bytes)
{
    Mpu401 *m = self;
    (void)bytes;
    if (offset) {
        return (m->g.size ? 0 : STATUS_NO_DATA) | STATUS_REST;
    }
    uint8_t value = m->g.queue[m->g.at];
    if (m->g.size) {
        m->g.at = (uint8_t)((m->g.at + 1) % MPU_QUEUE);
        m->g.size--;
        drive(m);
        if (!m->g.uart) {
            mpu401_sequencer_told(m, value);
        }
        tell_ready(m);
    }
    return value;
}

static void mpu401_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Mpu401 *m = self;
    uint8_t byte = (uint8_t)value;
    (void)bytes;
    if (offset) {
        command(m, byte);
    } else if (m->g.uart) {
        mpu401_send(m, &byte, 1);
    } else {
        mpu401_sequencer_write(m, byte);
    }
}

static void mpu401_reset(Device *d, ResetKind kind)
{
    Mpu401 *m = (Mpu401 *)d;
    m->g.uart = false;
    m->g.size = m->g.at = 0;
    mpu401_sequencer_reset(m);
    if (kind == RESET_POWER) {
        forget(m);
    } else {
        /* notes of the program that was cut off would sound for ever */
        for (unsigned i = 0; i < MPU_CHANNELS; i++) {
            const uint8_t off[3] = {(uint8_t)(0xb0 | i), ALL_SOUND_OFF, 0};
            mpu401_send(m, off, 3);
        }
    }
    drive(m);
}

static void mpu401_state(Device *d, StateIo *io)
{
    Mpu401 *m = (Mpu401 *)d;
    state_bool(io, "uart", &m->g.uart);
    state_bytes(io, "queue", m->g.queue, sizeof(m->g.queue));
    state_u8(io, "at", &m->g.at);
    state_u8(io, "size", &m->g.size);
    state_u8(io, "status", &m->g.status);
    state_bytes(io, "data", m->g.data, sizeof(m->g.data));
    state_u8(io, "have", &m->g.have);
    state_bytes(io, "note", m->g.note, sizeof(m->g.note));
    state_bytes(io, "control", m->g.control, sizeof(m->g.control));
    state_bytes(io, "program", m->g.program, sizeof(m->g.program));
    for (unsigned i = 0; i < MPU_CHANNELS; i++) {
        state_u16(io, "bend", &m->g.bend[i]);
        state_check(io, m->g.bend[i] < 0x4000, "pitch bend is out of range");
    }
    if (state_since(io, 2)) {
        mpu401_sequencer_state(m, io);
    } else {
        mpu401_sequencer_reset(m);
    }
    state_check(io, m->g.at < MPU_QUEUE && m->g.size <= MPU_QUEUE, "queue is too long");
    state_check(io, m->g.have < 2 && m->g.data[0] < 0x80 && m->g.data[1] < 0x80,
                "a message is impossible");
    state_check(io, m->g.status == 0 || (m->g.status >= 0x80 && m->g.status < 0xf0),
                "running status is impossible");
}

static void mpu401_restored(Device *d)
{
    Mpu401 *m = (Mpu401 *)d;
    drive(m);
    set_up_again(m);
}

static const DeviceType mpu401_type = {
    .name = "mpu401",
    .version = 2,
    .reset = mpu401_reset,
    .state = mpu401_state,
    .restored = mpu401_restored,
};

static const IoOps mpu401_ops = {mpu401_read, mpu401_write, 1, 1};

Mpu401 *mpu401_new(Board *b, const Mpu401Config *config, const char *id)
{
    Mpu401 *m = calloc(1, sizeof(*m));
    m->config = *config;
    forget(m);
    if (config->midi.ops) {
        config->midi.ops->attach(
            config->midi.backend,
            &(CharSink){.receive = midi_receive, .room = midi_room, .self = m});
    }
    bus_claim(b->ports, config->base, 2, &mpu401_ops, m, "MPU-401");
    device_add(b, &m->dev, &mpu401_type, id);
    mpu401_sequencer_init(m);
    mpu401_sequencer_reset(m);
    return m;
}
