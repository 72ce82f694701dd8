/* AC'97 audio: bus masters of the ICH and a STAC9700 codec.
 *
 * Sources: Intel 82801AA (ICH), 290655, "AC'97 Audio Controller Registers"; AC'97 Component
 * Specification 2.1. PCM out plays lists of buffers in guest memory, in pieces of at most a
 * millisecond; a buffer's interrupt comes at the time of its last sample. PCM in and the microphone
 * move silence. Not modelled: the modem, surround outputs, S/PDIF. Wired by the cards' table.
 */
#include "chipset/cards/ac97.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("ac97");

enum { PCM_IN, PCM_OUT, MICROPHONE, CHANNELS };

/* Bus master registers; a channel has 16 bytes. */
enum {
    BM_ADDRESS = 0x0, /* of the list */
    BM_CURRENT = 0x4,
    BM_LAST = 0x5,
    BM_STATUS = 0x6,
    BM_LEFT = 0x8,
    BM_NEXT = 0xa,
    BM_CONTROL = 0xb,
    BM_CHANNELS_END = 0x30 - 4,
    BM_GLOBAL_CONTROL = 0x2c,
    BM_GLOBAL_STATUS = 0x30,
    BM_SEMAPHORE = 0x34,
    BM_PORTS = 0x40,
    STATUS_HALTED = 0x01,
    STATUS_AT_LAST = 0x02,
    STATUS_LAST_DONE = 0x04,
    STATUS_BUFFER_DONE = 0x08,
    STATUS_CLEARED = 0x1c, /* by writing ones */
    CONTROL_RUN = 0x01,
    CONTROL_RESET = 0x02,
    CONTROL_LAST_INTERRUPT = 0x04,
    CONTROL_KEPT = 0x1d,
    CONTROL_BUFFER_INTERRUPT = 0x10,
    GLOBAL_NO_COLD_RESET = 0x02,
    GLOBAL_CODEC_READY = 0x100,
    LIST_ENTRIES = 32,
    PIECES_HZ = 1000,
    PIECE_BYTES = 1024,
    EMPTY_LIMIT = 32, /* buffers of no length in a row: then the list waits for the next piece */
    MAX_BEHIND_NS = 1000000000, /* the clock was set: no use in catching up */
};

/* Codec registers. */
enum {
    MIX_RESET = 0x00,
    MIX_MASTER = 0x02,
    MIX_PCM = 0x18,
    MIX_POWER = 0x26,
    MIX_EXTENDED_ID = 0x28,
    MIX_EXTENDED_CONTROL = 0x2a,
    MIX_RATE_OUT = 0x2c,
    MIX_RATE_IN = 0x32,
    MIX_RATE_MICROPHONE = 0x34,
    MIX_VENDOR = 0x7c,
    MIX_PORTS = 0x100,
    MIX_REGISTERS = 0x80,
    VARIABLE_RATE = 0x01,
    VARIABLE_MICROPHONE = 0x08,
    ALL_READY = 0x0f,
    FIXED_HZ = 48000,
};

typedef struct Channel {
    struct {
        uint32_t list;               /* guest address */
        uint8_t current, next, last; /* entries of the list */
        uint16_t status;
        uint8_t control;
        uint32_t address; /* in the present buffer */
        uint16_t left;    /* its samples of 16 bits */
        bool interrupt_on_end;
        int64_t origin_ns; /* guest time of frame 0 */
        uint64_t done;     /* frames since */
    } g;
    Timer timer;
    struct Ac97 *card;
    unsigned index;
} Channel;

struct Ac97 {
    Device dev;
    Ac97Config config;
    PciFunction *pci;
    void *voice;
    Channel channel[CHANNELS];
    struct {
        uint16_t mixer[MIX_REGISTERS / 2];
        uint32_t global_control;
        uint8_t semaphore;
    } g;
};

static const char *const timer_names[CHANNELS] = {"ac97.in", "ac97.out", "ac97.microphone"};

static int64_t now_of(const Ac97 *a)
{
    return clock_now(&a->dev.board->clock);
}

static uint16_t mixer(const Ac97 *a, unsigned reg)
{
    return a->g.mixer[reg / 2];
}

static uint32_t rate(const Channel *c)
{
    static const uint8_t reg[CHANNELS] = {MIX_RATE_IN, MIX_RATE_OUT, MIX_RATE_MICROPHONE};
    return mixer(c->card, reg[c->index]);
}

/* Samples in a frame: the microphone has one side. */
static unsigned sides(const Channel *c)
{
    return c->index == MICROPHONE ? 1 : 2;
}

static bool running(const Channel *c)
{
    return (c->g.control & CONTROL_RUN) && !(c->g.status & STATUS_HALTED);
}

static bool interrupting(const Channel *c)
{
    return ((c->g.status & STATUS_LAST_DONE) && (c->g.control & CONTROL_LAST_INTERRUPT)) ||
           ((c->g.status & STATUS_BUFFER_DONE) && (c->g.control & CONTROL_BUFFER_INTERRUPT));
}

static void drive(Ac97 *a)
{
    bool level = false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        level |= interrupting(&a->channel[i]);
    }
    pci_interrupt(a->pci, level);
}

/* --- volume --- */

/* A side of a volume register, in steps of 1.5 dB below `unity`; bit 15 mutes. */
static double level(uint16_t value, unsigned side, int unity)
{
    int steps = (side ? value : value >> 8) & 0x1f;
    return value & 0x8000 ? 0 : pow(10, (unity - steps) * 1.5 / 20);
}

static uint32_t volume(const Ac97 *a, unsigned side)
{
    return (uint32_t)(level(mixer(a, MIX_MASTER), side, 0) * level(mixer(a, MIX_PCM), side, 8) *
                      AUDIO_FULL_VOLUME);
}

/* --- buffers --- */

static void fetch(Channel *c)
{
    uint8_t entry[8] = {0};
    pci_dma(c->card->pci, (uint64_t)c->g.list + c->g.current * 8u, entry, sizeof(entry), false);
    c->g.address = (entry[0] & ~1u) | (uint32_t)entry[1] << 8 | (uint32_t)entry[2] << 16 |
                   (uint32_t)entry[3] << 24;
    c->g.left = (uint16_t)(entry[4] | entry[5] << 8);
    c->g.interrupt_on_end = entry[7] & 0x80;
}

static void next_buffer(Channel *c)
{
    c->g.current = c->g.next;
    c->g.next = (uint8_t)((c->g.next + 1) % LIST_ENTRIES);
    fetch(c);
}

static void buffer_done(Channel *c)
{
    c->g.status |= c->g.interrupt_on_end ? STATUS_BUFFER_DONE : 0;
    if (c->g.current == c->g.last) {
        c->g.status |= STATUS_LAST_DONE | STATUS_AT_LAST | STATUS_HALTED;
    } else {
        next_buffer(c);
    }
    drive(c->card);
}

/* Frames to be moved at once: a millisecond, or the rest of the buffer. */
static uint32_t piece(const Channel *c)
{
    uint32_t frames = rate(c) / PIECES_HZ, there = (c->g.left + sides(c) - 1) / sides(c);
    frames = frames < there ? frames : there;
    return frames ? frames : 1;
}

static int64_t piece_due(const Channel *c)
{
    return c->g.origin_ns + clock_ticks_to_ns(c->g.done + piece(c), rate(c));
}

static void push(Channel *c, const uint8_t *data, uint32_t frames)
{
    int16_t pairs[PIECE_BYTES / 2];
    Ac97 *a = c->card;
    uint32_t by[2] = {volume(a, 0), volume(a, 1)};
    for (uint32_t i = 0; i < frames * 2; i++) {
        pairs[i] = audio_scaled((int16_t)(data[i * 2] | data[i * 2 + 1] << 8), by[i & 1]);
    }
    if (a->config.audio.ops) {
        a->config.audio.ops->push(a->config.audio.mixer, a->voice,
                                  c->g.origin_ns + clock_ticks_to_ns(c->g.done, rate(c)), rate(c),
                                  pairs, frames);
    }
}

static void move(Channel *c)
{
    uint8_t data[PIECE_BYTES] = {0};
    uint32_t frames = piece(c), samples = frames * sides(c);
    uint32_t there = samples < c->g.left ? samples : c->g.left;
    if (!pci_dma(c->card->pci, c->g.address, data, there * 2, c->index != PCM_OUT)) {
        memset(data, 0, sizeof(data));
    }
    if (c->index == PCM_OUT) {
        push(c, data, frames);
    }
    c->g.done += frames;
    c->g.address += there * 2;
    c->g.left = (uint16_t)(c->g.left - there);
    for (unsigned i = 0; i < EMPTY_LIMIT && c->g.left == 0 && running(c); i++) {
        buffer_done(c);
    }
}

static void catch_up(Channel *c)
{
    int64_t now = now_of(c->card);
    if (running(c) && now - piece_due(c) > MAX_BEHIND_NS) {
        c->g.origin_ns = now - MAX_BEHIND_NS;
        c->g.done = 0;
    }
    while (running(c) && piece_due(c) <= now) {
        move(c);
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

static void start(Channel *c)
{
    c->g.status &= (uint16_t) ~(STATUS_HALTED | STATUS_AT_LAST);
    c->g.origin_ns = now_of(c->card);
    c->g.done = 0;
    arm(c);
}

/* Rates were changed: transfers under way go on from here. */
static void restart_clocks(Ac97 *a)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &a->channel[i];
        if (running(c)) {
            c->g.origin_ns = now_of(a);
            c->g.done = 0;
            arm(c);
        }
    }
}

static void reset_channel(Channel *c)
{
    memset(&c->g, 0, sizeof(c->g));
    c->g.status = STATUS_HALTED;
    timer_disarm(&c->timer);
}

static void write_control(Channel *c, uint8_t value)
{
    if (value & CONTROL_RESET) {
        reset_channel(c);
        return;
    }
    bool ran = c->g.control & CONTROL_RUN, run = value & CONTROL_RUN;
    c->g.control = value & CONTROL_KEPT;
    if (run && !ran) {
        if (c->g.left == 0) {
            next_buffer(c);
        }
        log_trace("%s: %u Hz", timer_names[c->index], rate(c));
        start(c);
    } else if (!run) {
        c->g.status |= STATUS_HALTED; /* a pause: the buffer goes on where it was */
        arm(c);
    }
}

/* --- bus master registers --- */

static uint8_t read_channel(const Channel *c, unsigned reg)
{
    switch (reg) {
    case BM_CURRENT:
        return c->g.current;
    case BM_LAST:
        return c->g.last;
    case BM_STATUS:
        return (uint8_t)c->g.status;
    case BM_LEFT:
        return (uint8_t)c->g.left;
    case BM_LEFT + 1:
        return (uint8_t)(c->g.left >> 8);
    case BM_NEXT:
        return c->g.next;
    case BM_CONTROL:
        return c->g.control;
    default:
        return reg < 4 ? (uint8_t)(c->g.list >> reg * 8) : 0;
    }
}

static void write_channel(Channel *c, unsigned reg, uint8_t value)
{
    switch (reg) {
    case BM_LAST:
        c->g.last = value % LIST_ENTRIES;
        if ((c->g.control & CONTROL_RUN) && (c->g.status & STATUS_AT_LAST)) {
            next_buffer(c);
            start(c);
        }
        break;
    case BM_STATUS:
        c->g.status &= (uint16_t) ~(value & STATUS_CLEARED);
        break;
    case BM_CONTROL:
        write_control(c, value);
        break;
    default:
        if (reg < 4) {
            c->g.list &= ~(0xffu << reg * 8);
            c->g.list |= (uint32_t)(reg ? value : value & ~7u) << reg * 8;
        }
    }
}

static uint32_t global_status(const Ac97 *a)
{
    static const uint8_t bit[CHANNELS] = {0x20, 0x40, 0x80};
    uint32_t value = a->g.global_control & GLOBAL_NO_COLD_RESET ? GLOBAL_CODEC_READY : 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        value |= interrupting(&a->channel[i]) ? bit[i] : 0;
    }
    return value;
}

static uint8_t read_byte(Ac97 *a, unsigned reg)
{
    uint8_t old;
    if (reg < BM_CHANNELS_END) {
        return read_channel(&a->channel[reg >> 4], reg & 15);
    }
    if (reg < BM_GLOBAL_STATUS) {
        return (uint8_t)(a->g.global_control >> (reg & 3) * 8);
    }
    if (reg < BM_SEMAPHORE) {
        return (uint8_t)(global_status(a) >> (reg & 3) * 8);
    }
    if (reg == BM_SEMAPHORE) { /* who reads 0 has it, until the codec was accessed */
        old = a->g.semaphore;
        a->g.semaphore = 1;
        return old;
    }
    return 0;
}

static void reset_codec(Ac97 *a);

static void write_byte(Ac97 *a, unsigned reg, uint8_t value)
{
    if (reg < BM_CHANNELS_END) {
        write_channel(&a->channel[reg >> 4], reg & 15, value);
    } else if (reg == BM_GLOBAL_CONTROL) {
        if (!(value & GLOBAL_NO_COLD_RESET)) {
            reset_codec(a);
            restart_clocks(a);
        }
        a->g.global_control = (a->g.global_control & ~0xffu) | (value & 0x3bu);
    } else if (reg < BM_GLOBAL_STATUS) {
        unsigned shift = (reg & 3) * 8;
        a->g.global_control &= ~(0xffu << shift);
        a->g.global_control |= (uint32_t)value << shift;
    }
}

static void catch_up_all(Ac97 *a)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        catch_up(&a->channel[i]);
    }
}

static uint64_t master_read(void *self, uint32_t offset, unsigned bytes)
{
    Ac97 *a = self;
    uint32_t value = 0;
    catch_up_all(a);
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)read_byte(a, offset + i) << i * 8;
    }
    return value;
}

static void master_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ac97 *a = self;
    catch_up_all(a);
    for (unsigned i = 0; i < bytes; i++) {
        write_byte(a, offset + i, (uint8_t)(value >> i * 8));
    }
    drive(a);
}

/* --- codec --- */

static void reset_codec(Ac97 *a)
{
    static const struct {
        uint8_t reg;
        uint16_t value;
    } defaults[] = {
        {MIX_MASTER, 0x8000},    {0x04, 0x8000},           {0x06, 0x8000},
        {0x0c, 0x8008},          {0x0e, 0x8008},           {0x10, 0x8808},
        {0x12, 0x8808},          {0x14, 0x8808},           {0x16, 0x8808},
        {MIX_PCM, 0x8808},       {0x1c, 0x8000},           {MIX_POWER, ALL_READY},
        {MIX_EXTENDED_ID, 0x09}, {MIX_RATE_OUT, FIXED_HZ}, {MIX_RATE_IN, FIXED_HZ},
        {MIX_VENDOR, 0x8384},    {MIX_VENDOR + 2, 0x7600}, {MIX_RATE_MICROPHONE, FIXED_HZ},
    };
    memset(a->g.mixer, 0, sizeof(a->g.mixer));
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        a->g.mixer[defaults[i].reg / 2] = defaults[i].value;
    }
}

static uint64_t codec_read(void *self, uint32_t offset, unsigned bytes)
{
    Ac97 *a = self;
    (void)bytes;
    a->g.semaphore = 0;
    return offset < MIX_REGISTERS ? mixer(a, offset) : 0xffff;
}

static void write_rate(Ac97 *a, unsigned reg, uint16_t value)
{
    unsigned enable = reg == MIX_RATE_MICROPHONE ? VARIABLE_MICROPHONE : VARIABLE_RATE;
    if (!(mixer(a, MIX_EXTENDED_CONTROL) & enable)) {
        return;
    }
    a->g.mixer[reg / 2] = value < 8000 ? 8000 : value > FIXED_HZ ? FIXED_HZ : value;
    restart_clocks(a);
}

static void write_extended_control(Ac97 *a, uint16_t value)
{
    a->g.mixer[MIX_EXTENDED_CONTROL / 2] = value & (VARIABLE_RATE | VARIABLE_MICROPHONE);
    if (!(value & VARIABLE_RATE)) {
        a->g.mixer[MIX_RATE_OUT / 2] = a->g.mixer[MIX_RATE_IN / 2] = FIXED_HZ;
    }
    if (!(value & VARIABLE_MICROPHONE)) {
        a->g.mixer[MIX_RATE_MICROPHONE / 2] = FIXED_HZ;
    }
    restart_clocks(a);
}

/* Volumes have five bits a side; drivers find that out by setting the sixth. The outputs' are then
 * at their least (AC'97 2.1, "Play Master Volume Registers"), the others' have no such bit. What is
 * not listed is not there. */
static void write_volume(Ac97 *a, unsigned reg, uint16_t value)
{
    static const uint16_t bits[MIX_REGISTERS / 2] = {
        [MIX_MASTER / 2] = 0x9f1f, [0x04 / 2] = 0x9f1f, [0x06 / 2] = 0x801f,    [0x0a / 2] = 0x801e,
        [0x0c / 2] = 0x801f,       [0x0e / 2] = 0x805f, [0x10 / 2] = 0x9f1f,    [0x12 / 2] = 0x9f1f,
        [0x14 / 2] = 0x9f1f,       [0x16 / 2] = 0x9f1f, [MIX_PCM / 2] = 0x9f1f, [0x1a / 2] = 0x0707,
        [0x1c / 2] = 0x8f0f,       [0x20 / 2] = 0x0380};
    if (reg <= 0x06) {
        value |= value & 0x2000 ? 0x1f00 : 0;
        value |= value & 0x0020 ? 0x001f : 0;
    }
    if (bits[reg / 2]) {
        a->g.mixer[reg / 2] = value & bits[reg / 2];
    }
}

static void codec_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ac97 *a = self;
    (void)bytes;
    a->g.semaphore = 0;
    catch_up_all(a);
    switch (offset) {
    case MIX_RESET:
        reset_codec(a);
        restart_clocks(a);
        break;
    case MIX_POWER:
        a->g.mixer[offset / 2] = (uint16_t)((value & 0xff00) | ALL_READY);
        break;
    case MIX_EXTENDED_CONTROL:
        write_extended_control(a, (uint16_t)value);
        break;
    case MIX_RATE_OUT:
    case MIX_RATE_IN:
    case MIX_RATE_MICROPHONE:
        write_rate(a, offset, (uint16_t)value);
        break;
    default:
        if (offset < MIX_REGISTERS) {
            write_volume(a, offset, (uint16_t)value);
        }
    }
}

/* --- life --- */

static void ac97_reset(Device *d, ResetKind kind)
{
    Ac97 *a = (Ac97 *)d;
    (void)kind;
    memset(&a->g, 0, sizeof(a->g));
    reset_codec(a);
    for (unsigned i = 0; i < CHANNELS; i++) {
        reset_channel(&a->channel[i]);
    }
    drive(a);
}

static void ac97_state(Device *d, StateIo *io)
{
    Ac97 *a = (Ac97 *)d;
    for (unsigned i = 0; i < MIX_REGISTERS / 2; i++) {
        state_u16(io, "mixer", &a->g.mixer[i]);
    }
    state_u32(io, "global_control", &a->g.global_control);
    state_u8(io, "semaphore", &a->g.semaphore);
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &a->channel[i];
        state_u32(io, "list", &c->g.list);
        state_u8(io, "current", &c->g.current);
        state_u8(io, "next", &c->g.next);
        state_u8(io, "last", &c->g.last);
        state_u16(io, "status", &c->g.status);
        state_u8(io, "control", &c->g.control);
        state_u32(io, "address", &c->g.address);
        state_u16(io, "left", &c->g.left);
        state_bool(io, "interrupt_on_end", &c->g.interrupt_on_end);
        state_i64(io, "origin_ns", &c->g.origin_ns);
        state_u64(io, "done", &c->g.done);
        state_timer(io, "timer", &c->timer);
        state_check(
            io, c->g.current < LIST_ENTRIES && c->g.next < LIST_ENTRIES && c->g.last < LIST_ENTRIES,
            "list entry is out of range");
        state_check(io, rate(c) >= 8000 && rate(c) <= FIXED_HZ, "rate is out of range");
        state_check(io,
                    c->g.done < UINT64_C(1) << 48 && c->g.origin_ns >= 0 &&
                        c->g.origin_ns <= now_of(a) + CLOCK_NS_PER_S,
                    "a transfer of the future");
    }
}

static void ac97_destroy(Device *d)
{
    Ac97 *a = (Ac97 *)d;
    if (a->config.audio.ops) {
        a->config.audio.ops->close(a->config.audio.mixer, a->voice);
    }
    free(a);
}

static const DeviceType ac97_type = {
    .name = "ac97",
    .version = 1,
    .reset = ac97_reset,
    .state = ac97_state,
    .destroy = ac97_destroy,
};

static const IoOps codec_ops = {codec_read, codec_write, 2, 2};
static const IoOps master_ops = {master_read, master_write, 1, 4};

Ac97 *ac97_new(Board *b, const Ac97Config *config, const char *id)
{
    static const PciIds ids = {.vendor = 0x8086,
                               .device = 0x2415,
                               .class_code = 0x040100,
                               .revision = 1,
                               .subsystem_vendor = 0x8086,
                               .interrupt_pin = 1};
    Ac97 *a = calloc(1, sizeof(*a));
    a->config = *config;
    reset_codec(a);
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &a->channel[i];
        c->card = a;
        c->index = i;
        c->g.status = STATUS_HALTED;
        timer_init(&c->timer, &b->clock, timer_names[i], fire, c);
    }
    if (config->audio.ops) {
        a->voice = config->audio.ops->open(config->audio.mixer, id);
    }
    a->pci = pci_add(config->bus, config->device, 0, &ids, a);
    pci_bar_io(a->pci, 0, MIX_PORTS, &codec_ops, "AC'97 codec");
    pci_bar_io(a->pci, 1, BM_PORTS, &master_ops, "AC'97 bus master");
    device_add(b, &a->dev, &ac97_type, id);
    return a;
}
