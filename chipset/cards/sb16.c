/* Sound Blaster 1.0, 2.0, Pro and 16: ports, reset, state.
 *
 * Source: Creative, Sound Blaster Series Hardware Programming Guide. sb16_dsp.c has the commands,
 * sb16_dma.c transfers and sound, sb16_midi.c the MIDI port, sb16_mixer.c the mixer. Wired by the
 * cards' table with an FM synthesizer (opl3) and an MPU-401 beside it. Not modelled: recording (it
 * hears silence), the CSP, the CD-ROM interface, the 1.0's second synthesizer (C/MS).
 */
#include "chipset/cards/sb16.h"

#include <stdlib.h>
#include <string.h>

#include "chipset/cards/sb16_internal.h"

/* Ports from the base on. */
enum {
    PORT_MIXER_INDEX = 0x4,
    PORT_MIXER_DATA = 0x5,
    PORT_RESET = 0x6,
    PORT_READ = 0xa,
    PORT_WRITE = 0xc, /* read: bit 7, not ready */
    PORT_TIMER = 0xd,
    PORT_READ_STATUS = 0xe, /* bit 7, a byte is there; acknowledges 8 bits */
    PORT_ACKNOWLEDGE_16 = 0xf,
    NOT_READY = 0x80,
    REST_OF_STATUS = 0x7f,
};

static uint8_t read_data(Sb16 *s)
{
    if (s->g.queue_size) {
        s->g.last_read = s->g.queue[s->g.queue_at];
        s->g.queue_at = (uint8_t)((s->g.queue_at + 1) % SB_QUEUE);
        s->g.queue_size--;
        sb16_midi_taken(s);
    }
    return s->g.last_read;
}

static uint8_t write_status(Sb16 *s)
{
    bool busy = s->g.busy || s->g.high_speed;
    s->g.busy = false;
    return (uint8_t)(REST_OF_STATUS | (busy ? NOT_READY : 0));
}

static uint64_t port_read(Sb16 *s, unsigned port)
{
    sb16_catch_up(s);
    switch (port) {
    case PORT_MIXER_INDEX:
        return s->config.model < SB_PRO ? 0xff : s->g.mixer_index;
    case PORT_MIXER_DATA:
        return sb16_mixer_read(s);
    case PORT_READ:
        return read_data(s);
    case PORT_WRITE:
        return write_status(s);
    case PORT_READ_STATUS: {
        uint8_t status = (uint8_t)(REST_OF_STATUS | (s->g.queue_size ? 0x80 : 0));
        sb16_acknowledge(s, SB_IRQ_8);
        return status;
    }
    case PORT_ACKNOWLEDGE_16:
        if (s->config.model == SB_16) {
            sb16_acknowledge(s, SB_IRQ_16);
        }
        return 0xff;
    default:
        return 0xff;
    }
}

static void port_write(Sb16 *s, unsigned port, uint64_t value)
{
    switch (port) {
    case PORT_MIXER_INDEX:
        s->g.mixer_index = (uint8_t)value;
        break;
    case PORT_MIXER_DATA:
        sb16_mixer_write(s, (uint8_t)value);
        break;
    case PORT_RESET:
        sb16_catch_up(s);
        if (s->g.reset_port & 1 && !(value & 1)) {
            sb16_dsp_reset(s);
        }
        s->g.reset_port = value & 1;
        break;
    case PORT_WRITE:
        sb16_dsp_write(s, (uint8_t)value);
        break;
    default:
        break;
    }
}

/* The FM synthesizer stands between the mixer and the DSP. */
static uint64_t mixer_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)bytes;
    return port_read(self, offset + PORT_MIXER_INDEX);
}

static void mixer_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)bytes;
    port_write(self, offset + PORT_MIXER_INDEX, value);
}

static uint64_t dsp_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)bytes;
    return port_read(self, offset + PORT_READ);
}

static void dsp_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)bytes;
    port_write(self, offset + PORT_READ, value);
}

static void mpu_driven(void *sink, unsigned pin, bool level)
{
    Sb16 *s = sink;
    (void)pin;
    if (level) {
        sb16_raise(s, SB_IRQ_MPU);
    } else {
        sb16_acknowledge(s, SB_IRQ_MPU);
    }
}

Line sb16_mpu_irq(Sb16 *s)
{
    return (Line){mpu_driven, s, 0};
}

/* The choice of lines in the terms of mixer registers 80h and 81h. */
static void choose_lines(Sb16 *s)
{
    s->g.mixer[0x80] = (uint8_t)(1u << s->config.irq_choice);
    s->g.mixer[0x81] = (uint8_t)(1u << s->config.dma8);
    if (s->config.dma16 >= 5) {
        s->g.mixer[0x81] |= (uint8_t)(1u << s->config.dma16);
    }
}

/* What is known of it in a DSP 4.05. */
static void usual_ram(Sb16 *s)
{
    memset(s->g.ram, 0, sizeof(s->g.ram));
    s->g.ram[0x0e] = 0xff;
    s->g.ram[0x0f] = 0x07;
    s->g.ram[0x37] = 0x38;
}

static void sb16_reset(Device *d, ResetKind kind)
{
    Sb16 *s = (Sb16 *)d;
    (void)kind;
    uint8_t mpu = s->g.irq & SB_IRQ_MPU;
    sb16_stop(s);
    sb16_acknowledge(s, SB_IRQ_8 | SB_IRQ_16 | SB_IRQ_MPU);
    memset(&s->g, 0, sizeof(s->g));
    timer_disarm(&s->timer);
    choose_lines(s);
    sb16_mixer_reset(s);
    sb16_dsp_reset(s);
    usual_ram(s);
    s->g.queue_size = 0;
    s->g.played_ns = INT64_MIN / 4;
    if (mpu) {
        sb16_raise(s, mpu); /* its own chip takes it back */
    }
}

static void transfer_state(Sb16 *s, StateIo *io)
{
    state_u32(io, "hz", &s->g.hz);
    state_u32(io, "constant_hz", &s->g.constant_hz);
    state_u32(io, "block", &s->g.block);
    state_bool(io, "active", &s->g.active);
    state_bool(io, "paused", &s->g.paused);
    state_bool(io, "high_speed", &s->g.high_speed);
    state_bool(io, "to_memory", &s->g.to_memory);
    state_bool(io, "wide", &s->g.wide);
    state_bool(io, "is_signed", &s->g.is_signed);
    state_bool(io, "stereo", &s->g.stereo);
    state_bool(io, "auto_init", &s->g.auto_init);
    state_bool(io, "ending", &s->g.ending);
    state_bool(io, "silence", &s->g.silence);
    state_bool(io, "muted", &s->g.muted);
    state_u8(io, "coding", &s->g.coding);
    state_u32(io, "length", &s->g.length);
    state_u32(io, "left", &s->g.left);
    state_i64(io, "origin_ns", &s->g.origin_ns);
    state_u64(io, "frames", &s->g.frames);
    state_u32(io, "since_end", &s->g.since_end);
    state_u32(io, "buffer", &s->g.buffer);
    state_bool(io, "halted", &s->g.halted);
    state_u8(io, "reference", &s->g.reference);
    state_u8(io, "step", &s->g.step);
    state_bool(io, "want_reference", &s->g.want_reference);
    state_i64(io, "played_ns", &s->g.played_ns);
    state_bool(io, "direct", &s->g.direct);
    state_u8(io, "direct_value", &s->g.direct_value);
    state_u64(io, "direct_frame", &s->g.direct_frame);
    state_u32(io, "direct_quiet", &s->g.direct_quiet);
    int64_t now = clock_now(&s->dev.board->clock), second = CLOCK_NS_PER_S;
    state_check(io, s->g.hz >= 4000 && s->g.hz <= 48000 && s->g.constant_hz <= 1000000,
                "rate is out of range");
    state_check(io, s->g.coding < SB_CODINGS && s->g.step <= 5, "coding is unknown");
    state_check(io, !s->g.wide || s->g.coding == SB_PCM, "coding needs 8 bits");
    state_check(io,
                s->g.block <= 0xffff && s->g.length <= 0x10000 && s->g.left <= s->g.length &&
                    (s->g.left || !s->g.active),
                "length is out of range");
    state_check(io, !s->g.active || (s->g.origin_ns <= now + second && s->g.origin_ns >= 0),
                "a transfer of the future");
    state_check(io, s->g.frames < UINT64_C(1) << 48, "too many frames");
    state_check(io, s->g.played_ns >= INT64_MIN / 4 && s->g.played_ns <= now + second,
                "played in the future");
    state_check(io, s->g.direct_quiet <= SB_DIRECT_HZ, "direct output is out of range");
}

static void sb16_state(Device *d, StateIo *io)
{
    Sb16 *s = (Sb16 *)d;
    state_u8(io, "reset_port", &s->g.reset_port);
    state_u8(io, "command", &s->g.command);
    state_u8(io, "wanted", &s->g.wanted);
    state_u8(io, "have", &s->g.have);
    state_bytes(io, "argument", s->g.argument, sizeof(s->g.argument));
    state_bytes(io, "queue", s->g.queue, sizeof(s->g.queue));
    state_u8(io, "queue_at", &s->g.queue_at);
    state_u8(io, "queue_size", &s->g.queue_size);
    state_u8(io, "last_read", &s->g.last_read);
    state_bool(io, "busy", &s->g.busy);
    state_bool(io, "midi_uart", &s->g.midi_uart);
    state_bool(io, "speaker", &s->g.speaker);
    state_u8(io, "test", &s->g.test);
    state_u8(io, "id_value", &s->g.id_value);
    state_u8(io, "id_count", &s->g.id_count);
    state_u8(io, "irq", &s->g.irq);
    state_u8(io, "mixer_index", &s->g.mixer_index);
    state_bytes(io, "mixer", s->g.mixer, sizeof(s->g.mixer));
    transfer_state(s, io);
    state_timer(io, "timer", &s->timer);
    if (state_since(io, 2)) {
        state_u8(io, "midi_mode", &s->g.midi_mode);
        state_i64(io, "midi_start_ns", &s->g.midi_start_ns);
        state_bytes(io, "ram", s->g.ram, sizeof(s->g.ram));
    } else {
        s->g.midi_mode = s->g.midi_uart ? 0x35 : 0;
        s->g.midi_start_ns = 0;
        usual_ram(s);
    }
    state_check(io, s->g.midi_mode == 0 || (s->g.midi_mode & 0xf8) == 0x30, "MIDI mode is unknown");
    state_check(io,
                s->g.midi_start_ns >= 0 &&
                    s->g.midi_start_ns <= clock_now(&s->dev.board->clock) + CLOCK_NS_PER_S,
                "MIDI of the future");
    state_check(io, s->g.have + s->g.wanted <= SB_ARGUMENTS, "too many arguments");
    state_check(io, s->g.queue_at < SB_QUEUE && s->g.queue_size <= SB_QUEUE, "queue is too long");
}

static void sb16_restored(Device *d)
{
    Sb16 *s = (Sb16 *)d;
    sb16_mixer_apply(s);
}

static void sb16_destroy(Device *d)
{
    Sb16 *s = (Sb16 *)d;
    if (s->config.audio.ops) {
        s->config.audio.ops->close(s->config.audio.mixer, s->voice);
    }
    free(s);
}

static const DeviceType sb16_type = {
    .name = "sb16",
    .version = 2,
    .reset = sb16_reset,
    .state = sb16_state,
    .restored = sb16_restored,
    .destroy = sb16_destroy,
};

static const IoOps mixer_ops = {mixer_read, mixer_write, 1, 1};
static const IoOps dsp_ops = {dsp_read, dsp_write, 1, 1};

Sb16 *sb16_new(Board *b, const Sb16Config *config, const char *id)
{
    Sb16 *s = calloc(1, sizeof(*s));
    s->config = *config;
    s->g.hz = 11025;
    choose_lines(s);
    timer_init(&s->timer, &b->clock, "sb16.piece", sb16_fire, s);
    if (config->audio.ops) {
        s->voice = config->audio.ops->open(config->audio.mixer, id);
    }
    for (unsigned i = 0; i < 8; i++) {
        dma_listen(&s->config.dma[i], sb16_dma_ready, s);
    }
    bus_claim(b->ports, config->base + (unsigned)PORT_MIXER_INDEX, 4, &mixer_ops, s,
              "Sound Blaster");
    bus_claim(b->ports, config->base + (unsigned)PORT_READ, 6, &dsp_ops, s, "Sound Blaster");
    device_add(b, &s->dev, &sb16_type, id);
    sb16_midi_attach(s);
    return s;
}
