/* Gravis UltraSound: ports, latches, interrupts, reset, state.
 *
 * Source: Advanced Gravis, UltraSound Software Development Kit, "GF1 register description". It is
 * the classic card of revision 3.4: gus_voice.c has the voices, gus_io.c timers, transfers and
 * MIDI. The card's memory is a block of the machine's, so that snapshots treat it alike. Not
 * modelled: recording (it hears silence), the ICS mixer of revision 3.7 (port 7x6 answers nothing,
 * as before), the joystick's trim, and the NMI with which Gravis's SBOS and Mega-Em made a Sound
 * Blaster of it: a Sound Blaster can stand beside it. Wired by the cards' table.
 */
#include "chipset/cards/gus.h"

#include <stdlib.h>
#include <string.h>

#include "chipset/cards/gus_internal.h"
#include "machine/core/log.h"

LOG_TAG("gus");

/* Ports from the base on. */
enum {
    PORT_MIX = 0x0,
    PORT_IRQ_STATUS = 0x6,
    PORT_TIMER_INDEX = 0x8,
    PORT_TIMER_DATA = 0x9,
    PORT_LATCH = 0xb,
    PORT_SELECT = 0xf, /* which register 2xB is */
    LOW_PORTS = 16,
    HIGH_OFFSET = 0x100,
    HIGH_MIDI_CONTROL = 0x0,
    HIGH_MIDI_DATA = 0x1,
    HIGH_PAGE = 0x2,
    HIGH_INDEX = 0x3,
    HIGH_DATA = 0x4,
    HIGH_DATA8 = 0x5,
    HIGH_POKE = 0x7,
    HIGH_PORTS = 8,
    MIX_LATCHES = 0x08,
    MIX_ONE_IRQ = 0x10,
    MIX_SELECT_IRQ = 0x40,
    LATCH_ONE = 0x40,
    SELECT_LATCHES = 0,
    SELECT_CLEAR = 5,
};

/* Registers of the whole chip. */
enum {
    REG_ACTIVE = 0x0e,
    REG_DMA_CONTROL = 0x41,
    REG_DMA_START = 0x42,
    REG_POKE_LOW = 0x43,
    REG_POKE_HIGH = 0x44,
    REG_TIMER_CONTROL = 0x45,
    REG_TIMER1 = 0x46,
    REG_TIMER2 = 0x47,
    REG_SAMPLE_RATE = 0x48,
    REG_SAMPLE_CONTROL = 0x49,
    REG_TRIM = 0x4b,
    REG_RESET = 0x4c,
    REG_VOICE_READ = 0x80,
    REG_IRQ_SOURCE = 0x8f,
};

static const uint8_t irq_numbers[8] = {0, 9, 5, 3, 7, 11, 12, 15};
static const uint8_t dma_numbers[8] = {0, 1, 3, 5, 6, 7, 0, 0};

static unsigned place_of(const uint8_t *numbers, unsigned number)
{
    for (unsigned i = 1; i < 8; i++) {
        if (numbers[i] == number && number) {
            return i;
        }
    }
    return 0;
}

bool gus_has_irq(unsigned irq)
{
    return place_of(irq_numbers, irq == 2 ? 9 : irq) != 0;
}

bool gus_has_dma(unsigned channel)
{
    return place_of(dma_numbers, channel) != 0;
}

/* --- interrupts --- */

static uint8_t irq_status(const Gus *u)
{
    return u->g.irq | gus_voice_irqs(u);
}

void gus_drive(Gus *u)
{
    const uint8_t midi_bits = GUS_IRQ_MIDI_TX | GUS_IRQ_MIDI_RX;
    uint8_t status = irq_status(u);
    bool open = u->g.mix & MIX_LATCHES;
    bool gf1 = open && u->g.reset & GUS_MASTER_IRQ && status & ~midi_bits;
    bool midi = open && status & midi_bits;
    bool one = u->g.irq_latch & LATCH_ONE || u->g.mix & MIX_ONE_IRQ;
    unsigned gf1_at = u->g.irq_latch & 7, midi_at = one ? gf1_at : u->g.irq_latch >> 3 & 7;
    for (unsigned i = 1; i < 8; i++) {
        line_set(&u->config.irq[irq_numbers[i]], (gf1 && i == gf1_at) || (midi && i == midi_at));
    }
}

/* --- the card's memory --- */

void gus_memory_written(Gus *u, uint32_t at, uint32_t length)
{
    Ram *ram = &u->dev.board->ram;
    uint32_t first = u->block->at + at;
    if (!length) {
        return;
    }
    for (uint32_t page = first >> RAM_PAGE_SHIFT; page <= (first + length - 1) >> RAM_PAGE_SHIFT;
         page++) {
        if (ram->flags[page]) {
            ram_written(ram, first, length);
            return;
        }
    }
}

static uint8_t peek(const Gus *u)
{
    return u->g.poke_at < u->memory_bytes ? u->memory[u->g.poke_at] : 0;
}

static void poke(Gus *u, uint8_t value)
{
    gus_catch_up(u);
    if (u->g.poke_at < u->memory_bytes) {
        u->memory[u->g.poke_at] = value;
        gus_memory_written(u, u->g.poke_at, 1);
    }
}

/* --- registers behind 3x3 --- */

static void chip_reset(Gus *u)
{
    gus_voices_reset(u);
    gus_dma_write(u, 0);
    gus_sample_write(u, 0);
    timer_disarm(&u->timer[0]);
    timer_disarm(&u->timer[1]);
    u->g.timer_control = u->g.timer_data = u->g.timer_expired = 0;
    u->g.irq &= GUS_IRQ_MIDI_TX | GUS_IRQ_MIDI_RX;
    gus_drive(u);
}

static bool is_wide(unsigned index)
{
    static const uint16_t voice_registers = 0x0e3e; /* frequency, start, end, volume, position */
    unsigned reg = index & 0x7f;
    return index == REG_DMA_START || index == REG_POKE_LOW ||
           (reg < 16 && voice_registers >> reg & 1);
}

static uint16_t register_read(Gus *u)
{
    uint8_t index = u->g.index;
    if (index == REG_IRQ_SOURCE) {
        uint8_t source = gus_irq_source(u);
        gus_drive(u);
        return (uint16_t)(source << 8);
    }
    if (index == (REG_VOICE_READ | REG_ACTIVE)) {
        return (uint16_t)((0xc0 | u->g.active) << 8);
    }
    if (index >= REG_VOICE_READ) {
        return gus_voice_read(u, index & 0x7f);
    }
    switch (index) {
    case REG_DMA_CONTROL:
        return (uint16_t)(gus_dma_read(u) << 8);
    case REG_DMA_START:
        return u->g.dma_start;
    case REG_POKE_LOW:
        return (uint16_t)u->g.poke_at;
    case REG_POKE_HIGH:
        return (uint16_t)(u->g.poke_at >> 16 << 8);
    case REG_TIMER_CONTROL:
        return (uint16_t)(u->g.timer_control << 8);
    case REG_SAMPLE_CONTROL:
        return (uint16_t)(gus_sample_read(u) << 8);
    case REG_RESET:
        return (uint16_t)(u->g.reset << 8);
    default:
        return 0;
    }
}

static void write_timer_control(Gus *u, uint8_t value)
{
    u->g.timer_control = value;
    /* a request goes when its enable does */
    u->g.irq &= (uint8_t) ~((GUS_IRQ_TIMER1 | GUS_IRQ_TIMER2) & ~value);
    gus_drive(u);
}

static void write_reset(Gus *u, uint8_t value)
{
    gus_catch_up(u);
    if (!(value & GUS_RUN)) {
        chip_reset(u);
    }
    u->g.reset = value & (GUS_RUN | GUS_DAC | GUS_MASTER_IRQ);
    gus_drive(u);
    gus_plan(u);
}

static void register_write(Gus *u, uint16_t value)
{
    uint8_t byte = (uint8_t)(value >> 8);
    switch (u->g.index) {
    case REG_ACTIVE:
        gus_set_active(u, byte);
        break;
    case REG_DMA_CONTROL:
        gus_dma_write(u, byte);
        break;
    case REG_DMA_START:
        u->g.dma_start = value;
        break;
    case REG_POKE_LOW:
        u->g.poke_at = (u->g.poke_at & 0xf0000) | value;
        break;
    case REG_POKE_HIGH:
        u->g.poke_at = (u->g.poke_at & 0xffff) | (uint32_t)(byte & 15) << 16;
        break;
    case REG_TIMER_CONTROL:
        write_timer_control(u, byte);
        break;
    case REG_TIMER1:
    case REG_TIMER2:
        u->g.timer_count[u->g.index - REG_TIMER1] = byte;
        break;
    case REG_SAMPLE_RATE:
        u->g.sample_rate = byte;
        break;
    case REG_SAMPLE_CONTROL:
        gus_sample_write(u, byte);
        break;
    case REG_TRIM:
        u->g.trim = byte;
        break;
    case REG_RESET:
        write_reset(u, byte);
        break;
    default:
        if (u->g.index < REG_ACTIVE) {
            gus_voice_write(u, u->g.index, value);
        } else {
            log_guest("register 0x%x is not there (0x%x)", u->g.index, value);
        }
        break;
    }
}

/* A byte alone: 3x5 is the upper half and whole registers of 8 bits, 3x4 the lower half. */
static void register_write_byte(Gus *u, bool upper, uint8_t value)
{
    if (!is_wide(u->g.index)) {
        if (upper) {
            register_write(u, (uint16_t)(value << 8));
        }
        return;
    }
    uint8_t index = u->g.index;
    u->g.index = index < REG_ACTIVE ? index | REG_VOICE_READ : index;
    uint16_t old = register_read(u);
    u->g.index = index;
    register_write(u, upper ? (uint16_t)((old & 0xff) | value << 8)
                            : (uint16_t)((old & 0xff00) | value));
}

/* --- ports --- */

static uint64_t low_read(void *self, uint32_t offset, unsigned bytes)
{
    Gus *u = self;
    (void)bytes;
    gus_catch_up(u);
    switch (offset) {
    case PORT_IRQ_STATUS:
        return irq_status(u);
    case PORT_TIMER_INDEX: {
        uint8_t expired = u->g.timer_expired & (uint8_t)~u->g.timer_data & 0x60;
        return expired | (expired ? 0x80 : 0);
    }
    default:
        return 0xff;
    }
}

static void write_latch(Gus *u, uint8_t value)
{
    if (u->g.select == SELECT_CLEAR) { /* revision 3.4: takes the requests of MIDI away */
        u->g.irq &= (uint8_t) ~(GUS_IRQ_MIDI_TX | GUS_IRQ_MIDI_RX);
    } else if (u->g.select != SELECT_LATCHES) {
        log_unimp("register %u of 2xF", u->g.select);
    } else if (u->g.mix & MIX_SELECT_IRQ) {
        uint8_t mix = u->g.mix;
        u->g.mix &= (uint8_t)~MIX_LATCHES; /* off the old lines */
        gus_drive(u);
        u->g.mix = mix;
        u->g.irq_latch = value & 0x7f;
    } else {
        gus_dma_write(u, 0); /* requests off the old channels */
        gus_sample_write(u, 0);
        u->g.dma_latch = value & 0x7f;
    }
    gus_drive(u);
}

static void low_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Gus *u = self;
    (void)bytes;
    gus_catch_up(u);
    switch (offset) {
    case PORT_MIX:
        u->g.mix = (uint8_t)value;
        gus_drive(u);
        break;
    case PORT_TIMER_INDEX:
        u->g.timer_index = (uint8_t)value;
        break;
    case PORT_TIMER_DATA:
        gus_timers_write(u, (uint8_t)value);
        break;
    case PORT_LATCH:
        write_latch(u, (uint8_t)value);
        break;
    case PORT_SELECT:
        u->g.select = (uint8_t)value & 7;
        break;
    default:
        break;
    }
}

static uint64_t high_read(void *self, uint32_t offset, unsigned bytes)
{
    Gus *u = self;
    gus_catch_up(u);
    switch (offset) {
    case HIGH_MIDI_CONTROL:
        return gus_midi_status(u);
    case HIGH_MIDI_DATA:
        return gus_midi_read(u);
    case HIGH_PAGE:
        return u->g.page;
    case HIGH_INDEX:
        return u->g.index;
    case HIGH_DATA:
        return bytes == 2 ? register_read(u) : register_read(u) & 0xff;
    case HIGH_DATA8:
        return register_read(u) >> 8;
    case HIGH_POKE:
        return peek(u);
    default:
        return 0xff;
    }
}

static void high_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Gus *u = self;
    switch (offset) {
    case HIGH_MIDI_CONTROL:
        gus_midi_control(u, (uint8_t)value);
        break;
    case HIGH_MIDI_DATA:
        gus_midi_write(u, (uint8_t)value);
        break;
    case HIGH_PAGE:
        u->g.page = (uint8_t)value & (GUS_VOICES - 1);
        if (bytes == 2) {
            u->g.index = (uint8_t)(value >> 8);
        }
        break;
    case HIGH_INDEX:
        u->g.index = (uint8_t)value;
        break;
    case HIGH_DATA:
        if (bytes == 2) {
            register_write(u, (uint16_t)value);
        } else {
            register_write_byte(u, false, (uint8_t)value);
        }
        break;
    case HIGH_DATA8:
        register_write_byte(u, true, (uint8_t)value);
        break;
    case HIGH_POKE:
        poke(u, (uint8_t)value);
        break;
    default:
        break;
    }
}

/* --- life --- */

static void gus_reset(Device *d, ResetKind kind)
{
    Gus *u = (Gus *)d;
    gus_catch_up(u);
    chip_reset(u);
    gus_midi_control(u, GUS_MIDI_RESET);
    u->pending_frames = 0;
    memset(&u->g, 0, sizeof(u->g));
    if (kind == RESET_POWER) {
        memset(u->memory, 0, u->memory_bytes);
        gus_memory_written(u, 0, u->memory_bytes);
    }
    gus_voices_reset(u);
    u->g.mix = 0x03;
    unsigned irq = place_of(irq_numbers, u->config.irq_choice == 2 ? 9 : u->config.irq_choice);
    unsigned dma = place_of(dma_numbers, u->config.dma_choice);
    u->g.irq_latch = (uint8_t)(irq | LATCH_ONE);
    u->g.dma_latch = (uint8_t)(dma | LATCH_ONE);
    gus_drive(u);
}

static void voice_state(GusVoice *v, StateIo *io)
{
    state_u8(io, "control", &v->control);
    state_u8(io, "ramp_control", &v->ramp_control);
    state_u16(io, "frequency", &v->frequency);
    state_u32(io, "start", &v->start);
    state_u32(io, "end", &v->end);
    state_u32(io, "at", &v->at);
    state_u8(io, "ramp_rate", &v->ramp_rate);
    state_u8(io, "ramp_start", &v->ramp_start);
    state_u8(io, "ramp_end", &v->ramp_end);
    state_u32(io, "volume", &v->volume);
    state_u8(io, "pan", &v->pan);
    state_check(io, v->start <= GUS_AT_MASK && v->end <= GUS_AT_MASK && v->at <= GUS_AT_MASK,
                "a position is out of range");
    state_check(io, v->volume < 1u << 21 && v->pan < 16, "a volume is out of range");
}

static void play_state(Gus *u, StateIo *io)
{
    int64_t now = clock_now(&u->dev.board->clock);
    state_bool(io, "playing", &u->g.playing);
    state_i64(io, "origin_ns", &u->g.origin_ns);
    state_u64(io, "frames", &u->g.frames);
    state_u32(io, "tail", &u->g.tail);
    state_i64(io, "offset_left", &u->g.offset[0]);
    state_i64(io, "offset_right", &u->g.offset[1]);
    state_i64(io, "sample_ns", &u->g.sample_ns);
    state_timer(io, "play", &u->play);
    state_check(io, u->g.origin_ns >= 0 && u->g.origin_ns <= now + CLOCK_NS_PER_S,
                "frames of the future");
    state_check(io, u->g.frames < UINT64_C(1) << 40, "too many frames");
    state_check(io, u->g.tail <= 50000 && (u->g.tail || !u->g.playing), "the tail is too long");
    state_check(
        io, llabs(u->g.offset[0]) < INT64_C(1) << 40 && llabs(u->g.offset[1]) < INT64_C(1) << 40,
        "a capacitor is out of range");
    state_check(io, u->g.sample_ns >= 0 && u->g.sample_ns <= now + CLOCK_NS_PER_S,
                "samples of the future");
}

static void gus_state(Device *d, StateIo *io)
{
    Gus *u = (Gus *)d;
    state_u8(io, "mix", &u->g.mix);
    state_u8(io, "irq_latch", &u->g.irq_latch);
    state_u8(io, "dma_latch", &u->g.dma_latch);
    state_u8(io, "select", &u->g.select);
    state_u8(io, "timer_index", &u->g.timer_index);
    state_u8(io, "timer_data", &u->g.timer_data);
    state_u8(io, "timer_expired", &u->g.timer_expired);
    state_u8(io, "timer_control", &u->g.timer_control);
    state_bytes(io, "timer_count", u->g.timer_count, sizeof(u->g.timer_count));
    state_u8(io, "page", &u->g.page);
    state_u8(io, "index", &u->g.index);
    state_u8(io, "dma_control", &u->g.dma_control);
    state_u8(io, "sample_control", &u->g.sample_control);
    state_u8(io, "sample_rate", &u->g.sample_rate);
    state_u16(io, "dma_start", &u->g.dma_start);
    state_u32(io, "dma_at", &u->g.dma_at);
    state_u32(io, "poke_at", &u->g.poke_at);
    state_u8(io, "trim", &u->g.trim);
    state_u8(io, "reset", &u->g.reset);
    state_u8(io, "active", &u->g.active);
    state_u8(io, "irq", &u->g.irq);
    state_u8(io, "midi_control", &u->g.midi_control);
    state_u8(io, "midi_received", &u->g.midi_received);
    state_bool(io, "midi_full", &u->g.midi_full);
    state_bool(io, "midi_overrun", &u->g.midi_overrun);
    state_bool(io, "midi_sending", &u->g.midi_sending);
    for (unsigned i = 0; i < GUS_VOICES; i++) {
        voice_state(&u->g.voice[i], io);
    }
    play_state(u, io);
    state_timer(io, "timer1", &u->timer[0]);
    state_timer(io, "timer2", &u->timer[1]);
    state_timer(io, "dma", &u->dma);
    state_timer(io, "sampling", &u->sampling);
    state_timer(io, "midi", &u->midi);
    if (state_since(io, 2)) {
        state_bool(io, "dma_ended", &u->g.dma_ended);
        state_bool(io, "sample_ended", &u->g.sample_ended);
    } else {
        u->g.dma_ended = u->g.irq & GUS_IRQ_DMA;
        u->g.sample_ended = false;
    }
    state_check(io, u->g.page < GUS_VOICES && u->g.select < 8 && u->g.active < GUS_VOICES,
                "a selector is out of range");
    state_check(io, u->g.dma_at <= GUS_MEMORY_MASK && u->g.poke_at <= GUS_MEMORY_MASK,
                "an address is out of range");
}

static void gus_restored(Device *d)
{
    Gus *u = (Gus *)d;
    u->pending_frames = 0;
    gus_drive(u);
}

static void gus_destroy(Device *d)
{
    Gus *u = (Gus *)d;
    if (u->config.audio.ops) {
        u->config.audio.ops->close(u->config.audio.mixer, u->voice);
    }
    free(u);
}

static const DeviceType gus_type = {
    .name = "gus",
    .version = 2,
    .reset = gus_reset,
    .state = gus_state,
    .restored = gus_restored,
    .destroy = gus_destroy,
};

static const IoOps low_ops = {low_read, low_write, 1, 1};
static const IoOps high_ops = {high_read, high_write, 1, 2};

static void timer1_fired(void *self, int64_t due)
{
    gus_timer_fired(self, due, 0);
}

static void timer2_fired(void *self, int64_t due)
{
    gus_timer_fired(self, due, 1);
}

Gus *gus_new(Board *b, const GusConfig *config, const char *id, Err *err)
{
    Gus *u = calloc(1, sizeof(*u));
    u->config = *config;
    u->memory_bytes = (config->memory_kib ? config->memory_kib : 1024) << 10;
    u->block = ram_add(&b->ram, "gus", u->memory_bytes, err);
    if (!u->block) {
        free(u);
        return NULL;
    }
    u->memory = ram_at(&b->ram, u->block->at);
    timer_init(&u->play, &b->clock, "gus.play", gus_play_fired, u);
    timer_init(&u->timer[0], &b->clock, "gus.timer1", timer1_fired, u);
    timer_init(&u->timer[1], &b->clock, "gus.timer2", timer2_fired, u);
    timer_init(&u->dma, &b->clock, "gus.dma", gus_dma_fired, u);
    timer_init(&u->sampling, &b->clock, "gus.sampling", gus_sample_fired, u);
    timer_init(&u->midi, &b->clock, "gus.midi", gus_midi_fired, u);
    if (config->audio.ops) {
        u->voice = config->audio.ops->open(config->audio.mixer, id);
    }
    for (unsigned i = 1; i < 6; i++) {
        dma_listen(&u->config.dma[dma_numbers[i]], gus_dma_ready, u);
    }
    if (config->midi.ops) {
        config->midi.ops->attach(
            config->midi.backend,
            &(CharSink){.receive = gus_midi_receive, .room = gus_midi_room, .self = u});
    }
    gus_voices_reset(u);
    bus_claim(b->ports, config->base, LOW_PORTS, &low_ops, u, "UltraSound");
    bus_claim(b->ports, config->base + (unsigned)HIGH_OFFSET, HIGH_PORTS, &high_ops, u,
              "UltraSound");
    device_add(b, &u->dev, &gus_type, id);
    return u;
}
