/* Ensoniq AudioPCI ES1370 and its codec.
 *
 * Sources: Ensoniq, ES1370 AudioPCI specification; Asahi Kasei, AK4531 data sheet. Two outputs
 * (DAC1 at four rates, DAC2 at any) and one input move frames of guest memory by bus mastering, in
 * pieces of at most a millisecond; a sample counter of each gives the interrupt at the time of its
 * last sample. Not modelled: recording (it hears silence), the MIDI port (it is always ready and
 * drops what it gets), the game port, and the Sound Blaster that drivers imitate on it. Wired by
 * the cards' table.
 */
#include "chipset/cards/es1370.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("es1370");

enum { DAC1, DAC2, ADC, CHANNELS };

/* Registers (specification, "Host interface"). */
enum {
    REG_CONTROL = 0x00,
    REG_STATUS = 0x04,
    REG_UART = 0x08,
    REG_PAGE = 0x0c,
    REG_CODEC = 0x10,
    REG_SERIAL = 0x20,
    REG_COUNT = 0x24,  /* three: DAC1, DAC2, ADC */
    REG_MEMORY = 0x30, /* 16 bytes of the page chosen */
    PORTS = 0x40,
    CONTROL_ADC = 0x10,
    CONTROL_DAC2 = 0x20,
    CONTROL_DAC1 = 0x40,
    CONTROL_RATE1_SHIFT = 12,
    CONTROL_DIVIDER_SHIFT = 16,
    CONTROL_DIVIDER = 0x1fff,
    STATUS_INTERRUPT = (int)0x80000000u,
    PAGE_DAC = 0x0c,
    PAGE_ADC = 0x0d,
    UART_TX_READY = 0x02,
    SERIAL_INTERRUPT_SHIFT = 8,
    SERIAL_PAUSE_SHIFT = 11,
    SERIAL_STOP_SHIFT = 13, /* "loop select": 1 stops when the counter runs out */
    CODEC_REGISTERS = 0x1a,
    CODEC_RESET = 0x16,
    MASTER_CLOCK = 1411200,
    PIECES_HZ = 1000,
    PIECE_BYTES = 1024,
    MAX_BEHIND_NS = 1000000000, /* the clock was set: no use in catching up */
};

typedef struct Channel {
    struct {
        uint32_t address; /* of the frame in memory */
        uint16_t size;    /* double words less one */
        uint16_t at;      /* double word reached */
        uint16_t samples; /* counter's reload: samples less one */
        uint16_t left;    /* its value */
        uint8_t odd;      /* bytes of the present double word that are used up, 0..3 */
        bool stopped;     /* the counter ran out and the channel does not loop */
        bool interrupt;
        int64_t origin_ns; /* guest time of sample 0 */
        uint64_t done;     /* samples since */
    } g;
    void *voice;
    Timer timer;
    struct Es1370 *card;
    unsigned index;
} Channel;

struct Es1370 {
    Device dev;
    Es1370Config config;
    PciFunction *pci;
    Channel channel[CHANNELS];
    struct {
        uint32_t control, serial;
        uint8_t page;
        uint8_t codec[CODEC_REGISTERS];
    } g;
};

static const char *const timer_names[CHANNELS] = {"es1370.dac1", "es1370.dac2", "es1370.adc"};

static int64_t now_of(const Es1370 *e)
{
    return clock_now(&e->dev.board->clock);
}

static uint32_t rate(const Channel *c)
{
    static const uint32_t rates[4] = {5512, 11025, 22050, 44100};
    uint32_t control = c->card->g.control;
    return c->index == DAC1
               ? rates[control >> CONTROL_RATE1_SHIFT & 3]
               : MASTER_CLOCK / ((control >> CONTROL_DIVIDER_SHIFT & CONTROL_DIVIDER) + 2);
}

static bool stereo(const Channel *c)
{
    return c->card->g.serial >> (c->index * 2) & 1;
}

static bool wide(const Channel *c)
{
    return c->card->g.serial >> (c->index * 2) & 2;
}

static unsigned sample_bytes(const Channel *c)
{
    return (stereo(c) ? 2u : 1u) * (wide(c) ? 2u : 1u);
}

static bool enabled(const Es1370 *e, unsigned index)
{
    static const uint8_t bit[CHANNELS] = {CONTROL_DAC1, CONTROL_DAC2, CONTROL_ADC};
    return e->g.control & bit[index];
}

static bool running(const Channel *c)
{
    const Es1370 *e = c->card;
    bool paused = c->index != ADC && e->g.serial >> (SERIAL_PAUSE_SHIFT + c->index) & 1;
    /* above the fastest rate the board's clock has nothing to give */
    return enabled(e, c->index) && !paused && !c->g.stopped && rate(c) <= 96000 && rate(c) >= 100;
}

static void drive(Es1370 *e)
{
    bool level = false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        level |= e->channel[i].g.interrupt;
    }
    pci_interrupt(e->pci, level);
}

/* --- volume: AK4531 --- */

/* 0 dB at `unity`, 2 dB a step, bit 7 mutes. */
static double level(uint8_t value, int unity)
{
    return value & 0x80 ? 0 : pow(10, (unity - (value & 0x1f)) * 2.0 / 20);
}

static uint32_t volume(const Channel *c, unsigned side)
{
    const uint8_t *codec = c->card->g.codec;
    double v = level(codec[side], 0) * level(codec[(c->index == DAC1 ? 4 : 2) + side], 6);
    return (uint32_t)(v * AUDIO_FULL_VOLUME);
}

/* --- transfers --- */

static void count_down(Channel *c, uint32_t samples)
{
    c->g.left = (uint16_t)(c->g.left - samples);
    if (c->g.left != 0xffff) {
        return;
    }
    c->g.left = c->g.samples;
    if (c->card->g.serial >> (SERIAL_INTERRUPT_SHIFT + c->index) & 1) {
        c->g.interrupt = true;
        drive(c->card);
    }
    if (c->card->g.serial >> (SERIAL_STOP_SHIFT + c->index) & 1) {
        c->g.stopped = true;
    }
}

/* The frame's next bytes, round its end. */
static void transfer(Channel *c, uint8_t *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        uint32_t offset = c->g.at * 4u + c->g.odd, end = (c->g.size + 1u) * 4;
        uint32_t part = offset < end ? end - offset : 1;
        part = part < size - done ? part : (uint32_t)(size - done);
        if (!pci_dma(c->card->pci, (uint64_t)c->g.address + offset, data + done, part,
                     c->index == ADC) &&
            c->index != ADC) {
            memset(data + done, 0, part);
        }
        offset += part;
        offset = offset >= end ? 0 : offset;
        c->g.at = (uint16_t)(offset / 4);
        c->g.odd = offset & 3;
        done += part;
    }
}

static void push(Channel *c, const uint8_t *data, uint32_t samples, uint32_t hz)
{
    int16_t pairs[PIECE_BYTES * 2];
    const AudioPort *audio = &c->card->config.audio;
    uint32_t left = volume(c, 0), right = volume(c, 1);
    for (uint32_t i = 0; i < samples; i++) {
        const uint8_t *at = data + i * sample_bytes(c), *other = at + (stereo(c) ? wide(c) + 1 : 0);
        int32_t a = wide(c) ? (int16_t)(at[0] | at[1] << 8) : (at[0] - 0x80) * 256;
        int32_t b = wide(c) ? (int16_t)(other[0] | other[1] << 8) : (other[0] - 0x80) * 256;
        pairs[i * 2] = audio_scaled(a, left);
        pairs[i * 2 + 1] = audio_scaled(b, right);
    }
    if (audio->ops) {
        audio->ops->push(audio->mixer, c->voice, c->g.origin_ns + clock_ticks_to_ns(c->g.done, hz),
                         hz, pairs, samples);
    }
}

/* Samples to be moved at once: a millisecond, or to the interrupt. */
static uint32_t piece(const Channel *c)
{
    uint32_t samples = rate(c) / PIECES_HZ;
    samples = samples ? samples : 1;
    return samples < c->g.left + 1u ? samples : c->g.left + 1u;
}

static int64_t piece_due(const Channel *c)
{
    return c->g.origin_ns + clock_ticks_to_ns(c->g.done + piece(c), rate(c));
}

static void catch_up(Channel *c)
{
    int64_t now = now_of(c->card);
    if (running(c) && now - piece_due(c) > MAX_BEHIND_NS) {
        c->g.origin_ns = now - MAX_BEHIND_NS;
        c->g.done = 0;
    }
    while (running(c) && piece_due(c) <= now) {
        uint8_t data[PIECE_BYTES];
        uint32_t samples = piece(c), hz = rate(c);
        memset(data, wide(c) ? 0 : 0x80, sizeof(data));
        transfer(c, data, (size_t)samples * sample_bytes(c));
        if (c->index != ADC) {
            push(c, data, samples, hz);
        }
        c->g.done += samples;
        count_down(c, samples);
    }
}

static void arm(Channel *c)
{
    if (running(c)) {
        timer_arm(&c->timer, piece_due(c));
    } else {
        timer_disarm(&c->timer);
    }
}

static void fire(void *self, int64_t due)
{
    Channel *c = self;
    (void)due;
    catch_up(c);
    arm(c);
}

static void catch_up_all(Es1370 *e)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        catch_up(&e->channel[i]);
    }
}

/* Control registers were changed: clocks start anew where rate or state did. */
static void write_controls(Es1370 *e, uint32_t control, uint32_t serial)
{
    bool ran[CHANNELS];
    uint32_t hz[CHANNELS];
    catch_up_all(e);
    for (unsigned i = 0; i < CHANNELS; i++) {
        ran[i] = running(&e->channel[i]);
        hz[i] = rate(&e->channel[i]);
    }
    uint32_t started = control & ~e->g.control;
    e->g.control = control;
    e->g.serial = serial;
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &e->channel[i];
        static const uint8_t bit[CHANNELS] = {CONTROL_DAC1, CONTROL_DAC2, CONTROL_ADC};
        if (started & bit[i]) {
            c->g.left = c->g.samples;
            c->g.stopped = false;
        }
        if (!(serial >> (SERIAL_INTERRUPT_SHIFT + i) & 1)) {
            c->g.interrupt = false; /* how it is acknowledged */
        }
        if (!(serial >> (SERIAL_STOP_SHIFT + i) & 1)) {
            c->g.stopped = false;
        }
        if (running(c) && (!ran[i] || rate(c) != hz[i])) {
            c->g.origin_ns = now_of(e);
            c->g.done = 0;
            log_trace("%s: %u Hz%s%s", timer_names[i], rate(c), wide(c) ? ", 16 bits" : "",
                      stereo(c) ? ", stereo" : "");
        }
        arm(c);
    }
    drive(e);
}

/* --- registers --- */

static uint32_t read_status(const Es1370 *e)
{
    uint32_t value = 0x60; /* no voice code is waiting */
    for (unsigned i = 0; i < CHANNELS; i++) {
        static const uint8_t bit[CHANNELS] = {0x04, 0x02, 0x01};
        value |= e->channel[i].g.interrupt ? bit[i] | (uint32_t)STATUS_INTERRUPT : 0;
    }
    return value;
}

/* The frame registers: address at +0, size and count at +4; DAC1, DAC2, then ADC in the next page.
 */
static Channel *frame_at(Es1370 *e, unsigned reg)
{
    unsigned place = (reg - REG_MEMORY) / 8;
    if (e->g.page == PAGE_DAC) {
        return &e->channel[place];
    }
    return e->g.page == PAGE_ADC && place == 0 ? &e->channel[ADC] : NULL;
}

static uint32_t read_register(Es1370 *e, unsigned reg)
{
    if (reg >= REG_MEMORY) {
        Channel *c = frame_at(e, reg);
        return !c ? 0 : reg & 4 ? (uint32_t)c->g.at << 16 | c->g.size : c->g.address;
    }
    switch (reg) {
    case REG_CONTROL:
        return e->g.control;
    case REG_STATUS:
        return read_status(e);
    case REG_UART:
        return UART_TX_READY << 8;
    case REG_PAGE:
        return e->g.page;
    case REG_SERIAL:
        return e->g.serial;
    case REG_COUNT:
    case REG_COUNT + 4:
    case REG_COUNT + 8: {
        const Channel *c = &e->channel[(reg - REG_COUNT) / 4];
        return (uint32_t)c->g.left << 16 | c->g.samples;
    }
    default:
        return 0;
    }
}

static void reset_codec(Es1370 *e)
{
    memset(e->g.codec, 0, sizeof(e->g.codec));
    e->g.codec[0] = e->g.codec[1] = 0x80;
    memset(e->g.codec + 2, 0x86, 13);
}

static void write_codec(Es1370 *e, uint32_t value)
{
    unsigned index = value >> 8 & 0xff;
    catch_up_all(e);
    if (index == CODEC_RESET && !(value & 1)) {
        reset_codec(e);
    }
    if (index < CODEC_REGISTERS) {
        e->g.codec[index] = (uint8_t)value;
    }
}

static void write_register(Es1370 *e, unsigned reg, uint32_t value)
{
    Channel *c;
    if (reg >= REG_MEMORY) {
        catch_up_all(e);
        c = frame_at(e, reg);
        if (c && reg & 4) {
            c->g.size = (uint16_t)value;
            c->g.at = (uint16_t)(value >> 16);
            c->g.odd = 0;
        } else if (c) {
            c->g.address = value & ~3u;
            c->g.at = c->g.odd = 0;
        }
        return;
    }
    switch (reg) {
    case REG_CONTROL:
        write_controls(e, value, e->g.serial);
        break;
    case REG_PAGE:
        e->g.page = value & 15;
        break;
    case REG_CODEC:
        write_codec(e, value);
        break;
    case REG_SERIAL:
        write_controls(e, e->g.control, value);
        break;
    case REG_COUNT:
    case REG_COUNT + 4:
    case REG_COUNT + 8:
        catch_up_all(e);
        c = &e->channel[(reg - REG_COUNT) / 4];
        c->g.samples = c->g.left = (uint16_t)value;
        arm(c);
        break;
    default:
        break;
    }
}

static uint64_t es1370_read(void *self, uint32_t offset, unsigned bytes)
{
    Es1370 *e = self;
    (void)bytes;
    catch_up_all(e);
    return read_register(e, offset & ~3u) >> (offset & 3) * 8;
}

/* Parts of a register leave its other bytes as they are; the codec's takes them as zero. */
static void es1370_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Es1370 *e = self;
    unsigned reg = offset & ~3u, shift = (offset & 3) * 8;
    uint32_t mask = (bytes == 4 ? UINT32_MAX : (1u << bytes * 8) - 1) << shift;
    uint32_t old = reg == REG_STATUS || reg == REG_CODEC ? 0 : read_register(e, reg);
    write_register(e, reg, (old & ~mask) | ((uint32_t)value << shift & mask));
}

/* --- life --- */

static void es1370_reset(Device *d, ResetKind kind)
{
    Es1370 *e = (Es1370 *)d;
    (void)kind;
    memset(&e->g, 0, sizeof(e->g));
    reset_codec(e);
    for (unsigned i = 0; i < CHANNELS; i++) {
        memset(&e->channel[i].g, 0, sizeof(e->channel[i].g));
        timer_disarm(&e->channel[i].timer);
    }
    drive(e);
}

static void es1370_state(Device *d, StateIo *io)
{
    Es1370 *e = (Es1370 *)d;
    state_u32(io, "control", &e->g.control);
    state_u32(io, "serial", &e->g.serial);
    state_u8(io, "page", &e->g.page);
    state_bytes(io, "codec", e->g.codec, sizeof(e->g.codec));
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &e->channel[i];
        state_u32(io, "address", &c->g.address);
        state_u16(io, "size", &c->g.size);
        state_u16(io, "at", &c->g.at);
        state_u16(io, "samples", &c->g.samples);
        state_u16(io, "left", &c->g.left);
        state_u8(io, "odd", &c->g.odd);
        state_bool(io, "stopped", &c->g.stopped);
        state_bool(io, "interrupt", &c->g.interrupt);
        state_i64(io, "origin_ns", &c->g.origin_ns);
        state_u64(io, "done", &c->g.done);
        state_timer(io, "timer", &c->timer);
        state_check(io, c->g.odd < 4 && c->g.done < UINT64_C(1) << 48, "a channel is out of range");
        state_check(io, c->g.origin_ns >= 0 && c->g.origin_ns <= now_of(e) + CLOCK_NS_PER_S,
                    "a transfer of the future");
    }
}

static void es1370_destroy(Device *d)
{
    Es1370 *e = (Es1370 *)d;
    for (unsigned i = 0; i < ADC; i++) {
        if (e->config.audio.ops) {
            e->config.audio.ops->close(e->config.audio.mixer, e->channel[i].voice);
        }
    }
    free(e);
}

static const DeviceType es1370_type = {
    .name = "es1370",
    .version = 1,
    .reset = es1370_reset,
    .state = es1370_state,
    .destroy = es1370_destroy,
};

static const IoOps es1370_ops = {es1370_read, es1370_write, 1, 4};

Es1370 *es1370_new(Board *b, const Es1370Config *config, const char *id)
{
    static const PciIds ids = {.vendor = 0x1274,
                               .device = 0x5000,
                               .class_code = 0x040100,
                               .subsystem_vendor = 0x4942,
                               .subsystem = 0x4c4c,
                               .interrupt_pin = 1};
    Es1370 *e = calloc(1, sizeof(*e));
    e->config = *config;
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &e->channel[i];
        c->card = e;
        c->index = i;
        timer_init(&c->timer, &b->clock, timer_names[i], fire, c);
        if (config->audio.ops && i != ADC) {
            c->voice = config->audio.ops->open(config->audio.mixer, timer_names[i]);
        }
    }
    e->pci = pci_add(config->bus, config->device, 0, &ids, e);
    pci_bar_io(e->pci, 0, PORTS, &es1370_ops, "ES1370");
    device_add(b, &e->dev, &es1370_type, id);
    return e;
}
