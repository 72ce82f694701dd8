/* Gravis UltraSound: timers, transfers between the host's memory and its own, sampling, MIDI port.
 *
 * Source: Advanced Gravis, UltraSound Software Development Kit, "GF1 register description"; the
 * MIDI port is a Motorola MC6850 at 31250 baud. A transfer runs at up to 650000 units a second, in
 * pieces of 128 bytes. Sampling hears silence.
 */
#include <string.h>

#include "chipset/cards/gus_internal.h"
#include "machine/core/log.h"

LOG_TAG("gus");

/* Data of the timers (port 2x9), as on an AdLib card. */
enum { TIMERS_CLEAR = 0x80, TIMER1_MASK = 0x40, TIMER2_MASK = 0x20, TIMERS_INDEX = 4 };

/* Bits of the DMA control register, 41h, and of the sampling control register, 49h. */
enum {
    DMA_ENABLE = 0x01,
    DMA_TO_HOST = 0x02,
    SAMPLE_STEREO = 0x02,
    DMA_WIDE_CHANNEL = 0x04,
    DMA_RATE_SHIFT = 3,
    DMA_IRQ = 0x20,
    DMA_WIDE_DATA = 0x40, /* reads: the transfer's end waits to be seen */
    DMA_INVERT = 0x80,
    DMA_UNITS_HZ = 650000,
    DMA_PIECE = 128,
    SAMPLE_CLOCK = 9878400 / 16,
    SAMPLE_PIECE_NS = 1000000,
};

/* MC6850. */
enum {
    MIDI_TX_MODE = 0x60,
    MIDI_TX_IRQ = 0x20,
    MIDI_RX_IRQ = 0x80,
    MIDI_RX_FULL = 0x01,
    MIDI_TX_EMPTY = 0x02,
    MIDI_OVERRUN = 0x20,
    MIDI_REQUEST = 0x80,
    MIDI_BYTE_NS = 320000,
    MIX_LOOPBACK = 0x20,
};

static int64_t now_of(const Gus *u)
{
    return clock_now(&u->dev.board->clock);
}

/* --- timers --- */

static int64_t timer_period(const Gus *u, unsigned which)
{
    return (int64_t)(256 - u->g.timer_count[which]) * (which ? 320000 : 80000);
}

void gus_timer_fired(void *self, int64_t due, unsigned which)
{
    Gus *u = self;
    u->g.timer_expired |= which ? TIMER2_MASK : TIMER1_MASK;
    if (u->g.timer_control & (GUS_IRQ_TIMER1 << which)) {
        u->g.irq |= (uint8_t)(GUS_IRQ_TIMER1 << which);
        gus_drive(u);
    }
    int64_t next = due + timer_period(u, which);
    timer_arm(&u->timer[which], next > now_of(u) - CLOCK_NS_PER_S ? next : now_of(u));
}

void gus_timers_write(Gus *u, uint8_t value)
{
    if (u->g.timer_index != TIMERS_INDEX) {
        return;
    }
    if (value & TIMERS_CLEAR) {
        u->g.timer_expired = 0;
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!(value >> i & 1)) {
            timer_disarm(&u->timer[i]);
        } else if (!u->timer[i].armed) {
            timer_arm(&u->timer[i], now_of(u) + timer_period(u, i));
        }
    }
    u->g.timer_data = value;
}

/* --- DMA to and from the card's memory --- */

uint32_t gus_dma_address(const Gus *u)
{
    uint32_t at = (uint32_t)u->g.dma_start << 4;
    return u->g.dma_control & DMA_WIDE_CHANNEL ? (at & 0xc0000) | (at & 0x1ffff) << 1 : at;
}

static const DmaLine *dma_channel(const Gus *u, unsigned which)
{
    static const uint8_t channels[8] = {0, 1, 3, 5, 6, 7, 0, 0};
    unsigned latch = u->g.dma_latch;
    unsigned choice = which && !(latch & 0x40) ? latch >> 3 & 7 : latch & 7;
    return channels[choice] ? &u->config.dma[channels[choice]] : NULL;
}

static void request(Gus *u, unsigned which, bool level)
{
    const DmaLine *line = dma_channel(u, which);
    if (line) {
        dma_request(line, level);
    }
}

static int64_t dma_piece_ns(const Gus *u)
{
    const DmaLine *line = dma_channel(u, 0);
    unsigned unit = line && line->channel >= 4 ? 2 : 1;
    unsigned divider = (u->g.dma_control >> DMA_RATE_SHIFT & 3) + 1;
    return (int64_t)DMA_PIECE * CLOCK_NS_PER_S * divider / (DMA_UNITS_HZ * unit);
}

/* The ends of transfers and of sampling share a bit of the status; the control registers tell them
 * apart. */
static void ends_told(Gus *u)
{
    u->g.irq &= (uint8_t)~GUS_IRQ_DMA;
    u->g.irq |= u->g.dma_ended || u->g.sample_ended ? GUS_IRQ_DMA : 0;
    gus_drive(u);
}

static void dma_end(Gus *u)
{
    request(u, 0, false);
    timer_disarm(&u->dma);
    u->g.dma_control &= (uint8_t)~DMA_ENABLE;
    u->g.dma_ended = u->g.dma_control & DMA_IRQ;
    ends_told(u);
}

/* Two's complement from offset binary: the upper bit of each sample changes. */
static void invert(uint8_t *data, size_t size, uint32_t at, bool wide)
{
    for (size_t i = 0; i < size; i++) {
        data[i] ^= !wide || (at + i) & 1 ? 0x80 : 0;
    }
}

static size_t dma_move(Gus *u, const DmaLine *line, bool *end)
{
    uint8_t data[DMA_PIECE];
    uint32_t at = u->g.dma_at & GUS_MEMORY_MASK;
    bool out = u->g.dma_control & DMA_TO_HOST;
    size_t room = at < u->memory_bytes ? u->memory_bytes - at : 0;
    room = room < DMA_PIECE ? room : DMA_PIECE;
    memset(data, 0, sizeof(data));
    if (out) {
        memcpy(data, u->memory + at, room);
    }
    size_t size = dma_transfer(line, data, DMA_PIECE, out, end);
    if (!out && room) {
        size_t kept = size < room ? size : room;
        if (u->g.dma_control & DMA_INVERT) {
            invert(data, kept, at, u->g.dma_control & DMA_WIDE_DATA);
        }
        memcpy(u->memory + at, data, kept);
        gus_memory_written(u, at, (uint32_t)kept);
    }
    u->g.dma_at = (at + (uint32_t)size) & GUS_MEMORY_MASK;
    return size;
}

void gus_dma_fired(void *self, int64_t due)
{
    Gus *u = self;
    const DmaLine *line = dma_channel(u, 0);
    bool end = false;
    (void)due;
    if (!(u->g.dma_control & DMA_ENABLE) || !line) {
        return;
    }
    gus_catch_up(u); /* voices heard the old memory until now */
    size_t size = dma_move(u, line, &end);
    if (end) {
        dma_end(u);
    } else if (size) {
        timer_arm(&u->dma, now_of(u) + dma_piece_ns(u));
    } /* else the channel tells when it is ready */
}

void gus_dma_ready(void *self)
{
    Gus *u = self;
    if (u->g.dma_control & DMA_ENABLE && !u->dma.armed) {
        timer_arm(&u->dma, now_of(u) + dma_piece_ns(u));
    }
}

void gus_dma_write(Gus *u, uint8_t value)
{
    u->g.dma_control = value;
    u->g.dma_ended = false;
    ends_told(u);
    if (!(value & DMA_ENABLE)) {
        request(u, 0, false);
        timer_disarm(&u->dma);
        return;
    }
    u->g.dma_at = gus_dma_address(u);
    log_trace("transfer %s 0x%x", value & DMA_TO_HOST ? "from" : "to", u->g.dma_at);
    request(u, 0, true);
    timer_arm(&u->dma, now_of(u) + dma_piece_ns(u));
}

uint8_t gus_dma_read(Gus *u)
{
    uint8_t value = u->g.dma_control & (uint8_t)~DMA_WIDE_DATA;
    value |= u->g.dma_ended ? DMA_WIDE_DATA : 0;
    u->g.dma_ended = false;
    ends_told(u);
    return value;
}

/* --- sampling --- */

void gus_sample_fired(void *self, int64_t due)
{
    Gus *u = self;
    uint8_t silence[DMA_PIECE];
    const DmaLine *line = dma_channel(u, 1);
    unsigned bytes = u->g.sample_control & SAMPLE_STEREO ? 2 : 1;
    uint32_t hz = SAMPLE_CLOCK / (u->g.sample_rate + 2u) * bytes;
    int64_t now = now_of(u);
    (void)due;
    if (!(u->g.sample_control & DMA_ENABLE) || !line) {
        return;
    }
    int64_t passed = now - u->g.sample_ns;
    passed = passed < 0 || passed > 20 * SAMPLE_PIECE_NS ? SAMPLE_PIECE_NS : passed;
    size_t left = (size_t)clock_ticks(passed, hz) & ~(size_t)1;
    bool end = false;
    u->g.sample_ns = now;
    memset(silence, u->g.sample_control & DMA_INVERT ? 0 : 0x80, sizeof(silence));
    while (left && !end) {
        size_t part = left < DMA_PIECE ? left : DMA_PIECE;
        size_t size = dma_transfer(line, silence, part, true, &end);
        left = size < part ? 0 : left - part;
    }
    if (end) {
        u->g.sample_control &= (uint8_t)~DMA_ENABLE;
        request(u, 1, false);
        u->g.sample_ended = u->g.sample_control & DMA_IRQ;
        ends_told(u);
    } else {
        timer_arm(&u->sampling, now + SAMPLE_PIECE_NS);
    }
}

void gus_sample_write(Gus *u, uint8_t value)
{
    u->g.sample_control = value;
    u->g.sample_ended = false;
    ends_told(u);
    u->g.sample_ns = now_of(u);
    request(u, 1, value & DMA_ENABLE);
    if (value & DMA_ENABLE) {
        timer_arm(&u->sampling, now_of(u) + SAMPLE_PIECE_NS);
    } else {
        timer_disarm(&u->sampling);
    }
}

uint8_t gus_sample_read(Gus *u)
{
    uint8_t value = u->g.sample_control & (uint8_t)~DMA_WIDE_DATA;
    value |= u->g.sample_ended ? DMA_WIDE_DATA : 0;
    u->g.sample_ended = false;
    ends_told(u);
    return value;
}

/* --- MIDI --- */

static void midi_requests(Gus *u)
{
    uint8_t irq = u->g.irq & (uint8_t) ~(GUS_IRQ_MIDI_TX | GUS_IRQ_MIDI_RX);
    bool tx = (u->g.midi_control & MIDI_TX_MODE) == MIDI_TX_IRQ && !u->g.midi_sending;
    bool rx = u->g.midi_control & MIDI_RX_IRQ && (u->g.midi_full || u->g.midi_overrun);
    u->g.irq = irq | (tx ? GUS_IRQ_MIDI_TX : 0) | (rx ? GUS_IRQ_MIDI_RX : 0);
    gus_drive(u);
}

static bool midi_in_reset(const Gus *u)
{
    return (u->g.midi_control & GUS_MIDI_RESET) == GUS_MIDI_RESET;
}

uint8_t gus_midi_status(const Gus *u)
{
    uint8_t value = u->g.midi_full ? MIDI_RX_FULL : 0;
    value |= !u->g.midi_sending && !midi_in_reset(u) ? MIDI_TX_EMPTY : 0;
    value |= u->g.midi_overrun ? MIDI_OVERRUN : 0;
    return value | (u->g.irq & (GUS_IRQ_MIDI_TX | GUS_IRQ_MIDI_RX) ? MIDI_REQUEST : 0);
}

void gus_midi_control(Gus *u, uint8_t value)
{
    u->g.midi_control = value;
    if (midi_in_reset(u)) {
        u->g.midi_full = u->g.midi_overrun = u->g.midi_sending = false;
        u->g.midi_control &= (uint8_t) ~(MIDI_TX_MODE | MIDI_RX_IRQ);
        timer_disarm(&u->midi);
    }
    midi_requests(u);
}

static void midi_take(Gus *u, uint8_t value)
{
    u->g.midi_overrun |= u->g.midi_full;
    u->g.midi_received = value;
    u->g.midi_full = true;
    midi_requests(u);
}

void gus_midi_write(Gus *u, uint8_t value)
{
    if (midi_in_reset(u)) {
        return;
    }
    if (u->g.mix & MIX_LOOPBACK) {
        midi_take(u, value);
    } else if (u->config.midi.ops) {
        clock_be_exact(&u->dev.board->clock);
        u->config.midi.ops->write(u->config.midi.backend, &value, 1);
    }
    u->g.midi_sending = true;
    timer_arm(&u->midi, now_of(u) + MIDI_BYTE_NS);
    midi_requests(u);
}

void gus_midi_fired(void *self, int64_t due)
{
    Gus *u = self;
    (void)due;
    u->g.midi_sending = false;
    midi_requests(u);
}

uint8_t gus_midi_read(Gus *u)
{
    bool was_full = u->g.midi_full;
    u->g.midi_full = u->g.midi_overrun = false;
    midi_requests(u);
    if (was_full && u->config.midi.ops) {
        u->config.midi.ops->ready(u->config.midi.backend);
    }
    return u->g.midi_received;
}

size_t gus_midi_room(void *self)
{
    const Gus *u = self;
    return !u->g.midi_full && !midi_in_reset(u);
}

void gus_midi_receive(void *self, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        midi_take(self, data[i]);
    }
}
