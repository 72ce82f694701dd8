/* Sound Blaster: transfers, the sample clock, ADPCM, direct output, interrupts.
 *
 * Source: Creative, Sound Blaster Series Hardware Programming Guide, chapters 3 and 6. The DSP
 * takes a sample at each tick of its clock; here they are moved in pieces of at most a millisecond,
 * or one by one where the guest's buffer is that short (players of the "Goldplay" kind change the
 * single sample of their buffer at the playback rate). A block's interrupt comes at the time of its
 * last sample. As a DSP 4.05 does, an auto-initialised transfer halts when a block ends and the
 * interrupt of the one before was not acknowledged at its own port.
 */
#include <string.h>

#include "chipset/cards/sb16_internal.h"
#include "machine/core/log.h"

LOG_TAG("sb16");

enum {
    PIECE_BYTES = 1024,
    PIECES_HZ = 1000,
    STARVED_NS = 1000000,       /* a channel that is not open is asked again so much later */
    MAX_BEHIND_NS = 1000000000, /* the clock was set: no use in catching up */
    DIRECT_NS = 5000000,
    DIRECT_END = SB_DIRECT_HZ / 10, /* frames after the last command: it is over */
    DIRECT_FADE = SB_DIRECT_HZ / 20,
    PROBE_UNITS =
        16, /* drivers find DMA channels with transfers this short; nobody should hear them */
    PROBE_PAUSE_NS = 50000000,
    UNITY_SHIFT = 16,
};

static int64_t now_of(const Sb16 *s)
{
    return clock_now(&s->dev.board->clock);
}

/* --- lines --- */

static const Line *irq_line(const Sb16 *s)
{
    if (s->config.model == SB_16) {
        for (unsigned i = 0; i < SB_IRQS; i++) {
            if (s->g.mixer[0x80] >> i & 1) {
                return &s->config.irq[i];
            }
        }
    }
    return &s->config.irq[s->config.irq_choice];
}

void sb16_raise(Sb16 *s, uint8_t bits)
{
    s->g.irq |= bits;
    line_set(irq_line(s), s->g.irq);
}

void sb16_acknowledge(Sb16 *s, uint8_t bits)
{
    s->g.irq &= (uint8_t)~bits;
    line_set(irq_line(s), s->g.irq);
    if (s->g.halted && !(s->g.irq & (s->g.wide ? SB_IRQ_16 : SB_IRQ_8))) {
        s->g.halted = false;
        s->g.origin_ns = now_of(s);
        s->g.frames = 0;
        timer_arm(&s->timer, now_of(s));
    }
}

DmaLine *sb16_channel(Sb16 *s, bool wide)
{
    unsigned low = s->config.dma8, high = s->config.dma16;
    if (s->config.model == SB_16) {
        uint8_t choice = s->g.mixer[0x81];
        low = choice & 1 ? 0 : choice & 2 ? 1 : choice & 8 ? 3 : low;
        high = choice & 0x20 ? 5 : choice & 0x40 ? 6 : choice & 0x80 ? 7 : 0;
    }
    return &s->config.dma[wide && high >= 4 ? high : low];
}

void sb16_choose_channels(Sb16 *s, uint8_t choice)
{
    bool asks = s->g.active && !s->g.paused && !s->g.silence;
    if (asks) {
        dma_request(sb16_channel(s, s->g.wide), false);
    }
    s->g.mixer[0x81] = choice;
    if (asks) {
        dma_request(sb16_channel(s, s->g.wide), true);
    }
}

/* --- codings --- */

static unsigned samples_in_byte(const Sb16 *s)
{
    static const uint8_t samples[SB_CODINGS] = {1, 4, 3, 2};
    return samples[s->g.coding];
}

/* The next sample of Creative's ADPCM: `code` has `bits` bits, the upper one is the sign. Steps
 * double with each level and go up for the largest codes, down for the smallest. */
static uint8_t adpcm(Sb16 *s, unsigned code, unsigned bits)
{
    static const uint8_t last_step[5] = {0, 0, 5, 4, 3};
    static const uint8_t up_from[5] = {0, 0, 1, 3, 5};
    unsigned size = code & ((1u << (bits - 1)) - 1);
    bool down = code >> (bits - 1);
    /* the fifth level of the 2.6-bit coding breaks the rule */
    int change = bits == 3 && s->g.step == 4 ? (int)(5 * (2 * size + 1))
                                             : (int)((2 * size + 1) << s->g.step >> 1);
    int value = s->g.reference + (down ? -change : change);
    s->g.reference = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    if (size >= up_from[bits]) {
        s->g.step += s->g.step < last_step[bits];
    } else if (size == 0) {
        s->g.step -= s->g.step > 0;
    }
    return s->g.reference;
}

static int16_t volume(const Sb16 *s, unsigned side, int32_t value)
{
    bool off = s->g.muted || (s->config.model != SB_16 && !s->g.speaker);
    return off ? 0 : (int16_t)((int64_t)value * s->volume[side] >> UNITY_SHIFT);
}

static void push(Sb16 *s, int64_t start_ns, uint32_t hz, const int16_t *pairs, size_t frames)
{
    if (s->config.audio.ops && frames) {
        s->config.audio.ops->push(s->config.audio.mixer, s->voice, start_ns, hz, pairs, frames);
    }
}

static int32_t pcm(const Sb16 *s, const uint8_t *at)
{
    if (s->g.wide) {
        int32_t value = at[0] | at[1] << 8;
        return s->g.is_signed ? (int16_t)value : value - 0x8000;
    }
    return s->g.is_signed ? (int8_t)at[0] * 256 : (at[0] - 0x80) * 256;
}

/* Bytes of the guest's become frames; returns how many. */
static size_t decode(Sb16 *s, const uint8_t *data, size_t size, int16_t *pairs)
{
    size_t frames = 0;
    if (s->g.coding == SB_PCM) {
        unsigned unit = s->g.wide ? 2 : 1;
        unsigned frame = unit << s->g.stereo;
        for (size_t at = 0; at < size; at += frame, frames++) {
            /* a half frame at the end of a block of odd length sounds on both sides */
            const uint8_t *right = s->g.stereo && at + unit < size ? data + at + unit : data + at;
            pairs[frames * 2] = volume(s, 0, pcm(s, data + at));
            pairs[frames * 2 + 1] = volume(s, 1, pcm(s, right));
        }
        return frames;
    }
    for (size_t at = 0; at < size; at++) {
        uint8_t samples[4];
        unsigned count = samples_in_byte(s), b = data[at];
        if (s->g.want_reference) {
            s->g.want_reference = false;
            s->g.reference = data[at];
            s->g.step = 0;
            memset(samples, data[at], sizeof(samples));
        } else {
            for (unsigned i = 0; i < count; i++) {
                samples[i] = s->g.coding == SB_ADPCM4 ? adpcm(s, i ? b & 15 : b >> 4, 4)
                             : s->g.coding == SB_ADPCM26
                                 ? adpcm(s, i == 2 ? (b & 3) << 1 : b >> (5 - 3 * i) & 7, 3)
                                 : adpcm(s, b >> (6 - 2 * i) & 3, 2);
            }
        }
        for (unsigned i = 0; i < count; i++, frames++) {
            pairs[frames * 2] = volume(s, 0, (samples[i] - 0x80) * 256);
            pairs[frames * 2 + 1] = volume(s, 1, (samples[i] - 0x80) * 256);
        }
    }
    return frames;
}

/* --- transfers --- */

/* Units that the DSP takes in a tick of its clock, times samples_in_byte. */
static unsigned units_a_frame(const Sb16 *s)
{
    return s->g.stereo ? 2 : 1;
}

static uint64_t ticks_of_units(const Sb16 *s, uint64_t units)
{
    return s->g.coding == SB_PCM ? (units + units_a_frame(s) - 1) / units_a_frame(s)
                                 : units * samples_in_byte(s);
}

static void block_ended(Sb16 *s)
{
    uint8_t bit = s->g.wide ? SB_IRQ_16 : SB_IRQ_8;
    bool unanswered = s->g.irq & bit;
    sb16_raise(s, bit);
    if (s->g.auto_init && !s->g.ending) {
        s->g.left = s->g.length;
        s->g.halted = unanswered && s->config.model == SB_16;
    } else {
        sb16_stop(s);
    }
}

/* One piece of at most `units`; false when the channel is not open. */
static bool move(Sb16 *s, uint32_t units)
{
    uint8_t data[PIECE_BYTES];
    int16_t pairs[PIECE_BYTES * 4 * 2];
    unsigned size = s->g.wide ? 2 : 1;
    size_t bytes = (size_t)units * size;
    if (!s->g.silence) {
        bool ended;
        size_t room = bytes < sizeof(data) ? bytes : sizeof(data);
        memset(data, s->g.wide || s->g.is_signed ? 0 : 0x80, room); /* nothing is plugged in */
        bytes = dma_transfer(sb16_channel(s, s->g.wide), data, room, s->g.to_memory, &ended);
        bytes -= bytes % size;
        if (bytes == 0) {
            return false;
        }
        s->g.since_end += (uint32_t)(bytes / size);
        if (ended) {
            s->g.buffer = s->g.since_end;
            s->g.since_end = 0;
        }
    }
    int64_t start = s->g.origin_ns + clock_ticks_to_ns(s->g.frames, s->g.hz);
    if (s->g.silence || s->g.to_memory) {
        s->g.frames += ticks_of_units(s, bytes / size);
    } else {
        size_t frames = decode(s, data, bytes, pairs);
        push(s, start, s->g.hz, pairs, frames);
        s->g.frames += frames;
        s->g.played_ns = s->g.origin_ns + clock_ticks_to_ns(s->g.frames, s->g.hz);
    }
    s->g.left -= (uint32_t)(bytes / size);
    if (s->g.left == 0) {
        block_ended(s);
    }
    return true;
}

/* Units to be moved at once: a millisecond, half the guest's buffer, the rest of the block. */
static uint32_t piece(const Sb16 *s)
{
    uint32_t samples = s->g.hz / PIECES_HZ;
    uint32_t units =
        s->g.coding == SB_PCM ? samples * units_a_frame(s) : samples / samples_in_byte(s);
    units = units < s->g.buffer / 2 || s->g.silence ? units : s->g.buffer / 2;
    units = units > PIECE_BYTES / 2 ? PIECE_BYTES / 2 : units;
    units -= units % units_a_frame(s);
    units = units ? units : units_a_frame(s);
    return units < s->g.left ? units : s->g.left;
}

static bool running(const Sb16 *s)
{
    return s->g.active && !s->g.paused && !s->g.halted;
}

static int64_t piece_due(const Sb16 *s)
{
    return s->g.origin_ns + clock_ticks_to_ns(s->g.frames + ticks_of_units(s, piece(s)), s->g.hz);
}

static void transfer_catch_up(Sb16 *s)
{
    int64_t now = now_of(s);
    if (running(s) && now - piece_due(s) > MAX_BEHIND_NS) {
        s->g.origin_ns = now - MAX_BEHIND_NS;
        s->g.frames = 0;
    }
    while (running(s) && piece_due(s) <= now) {
        if (!move(s, piece(s))) {
            /* the clock waits for the channel */
            s->g.origin_ns = now + STARVED_NS;
            s->g.frames = 0;
        }
    }
}

static void arm(Sb16 *s)
{
    int64_t due = running(s) ? piece_due(s) : CLOCK_NEVER;
    if (s->g.direct) {
        int64_t next = now_of(s) + DIRECT_NS;
        due = next < due ? next : due;
    }
    if (due != CLOCK_NEVER) {
        timer_arm(&s->timer, due);
    } else {
        timer_disarm(&s->timer);
    }
}

void sb16_start(Sb16 *s)
{
    int64_t now = now_of(s);
    DmaLine *line = sb16_channel(s, s->g.wide);
    s->g.active = true;
    s->g.paused = s->g.halted = s->g.ending = false;
    s->g.left = s->g.length;
    s->g.since_end = 0;
    s->g.buffer = UINT16_MAX;
    /* one block after the other joins without a seam */
    s->g.origin_ns = now - s->g.played_ns < 2 * CLOCK_NS_PER_S / s->g.hz && now >= s->g.played_ns
                         ? s->g.played_ns
                         : now;
    s->g.frames = 0;
    s->g.muted = !s->g.auto_init && s->g.length <= PROBE_UNITS &&
                 (now - s->g.played_ns > PROBE_PAUSE_NS || s->g.muted);
    log_trace("%s %s %u Hz, %u units%s%s", s->g.to_memory ? "in" : "out",
              s->g.silence ? "silence"
              : s->g.wide  ? "16 bits"
                           : "8 bits",
              s->g.hz, s->g.length, s->g.stereo ? ", stereo" : "",
              s->g.auto_init ? ", auto-init" : "");
    if (!s->g.silence) {
        dma_request(line, true);
    }
    arm(s);
}

void sb16_stop(Sb16 *s)
{
    s->g.active = s->g.high_speed = s->g.halted = false;
    dma_request(sb16_channel(s, s->g.wide), false);
    arm(s);
}

void sb16_pause(Sb16 *s, bool paused)
{
    if (!s->g.active || paused == s->g.paused) {
        return;
    }
    sb16_catch_up(s);
    s->g.paused = paused;
    s->g.origin_ns = now_of(s);
    s->g.frames = 0;
    if (s->g.active) {
        dma_request(sb16_channel(s, s->g.wide), !paused);
    }
    arm(s);
}

void sb16_dma_ready(void *self)
{
    Sb16 *s = self;
    if (running(s) && s->g.origin_ns > now_of(s)) {
        s->g.origin_ns = now_of(s);
        s->g.frames = 0;
        arm(s);
    }
}

/* --- direct output --- */

/* The last value holds; some time after the last command it fades away. */
static void direct_catch_up(Sb16 *s)
{
    uint64_t to = clock_ticks(now_of(s), SB_DIRECT_HZ);
    if (to - s->g.direct_frame > SB_DIRECT_HZ / 10 || to < s->g.direct_frame) {
        s->g.direct_frame = to;
    }
    while (s->g.direct && s->g.direct_frame < to) {
        int16_t pairs[256 * 2];
        size_t frames = to - s->g.direct_frame < 256 ? (size_t)(to - s->g.direct_frame) : 256;
        for (size_t i = 0; i < frames; i++, s->g.direct_quiet++) {
            int32_t value = (s->g.direct_value - 0x80) * 256;
            if (s->g.direct_quiet > DIRECT_FADE) {
                int32_t left = DIRECT_END - (int32_t)s->g.direct_quiet;
                value = left > 0 ? value * left / (DIRECT_END - DIRECT_FADE) : 0;
            }
            pairs[i * 2] = volume(s, 0, value);
            pairs[i * 2 + 1] = volume(s, 1, value);
        }
        push(s, clock_ticks_to_ns(s->g.direct_frame, SB_DIRECT_HZ), SB_DIRECT_HZ, pairs, frames);
        s->g.direct_frame += frames;
        s->g.direct = s->g.direct_quiet < DIRECT_END;
    }
}

void sb16_direct(Sb16 *s, uint8_t value)
{
    sb16_catch_up(s);
    if (!s->g.direct) {
        s->g.direct = true;
        s->g.muted = false;
        s->g.direct_frame = clock_ticks(now_of(s), SB_DIRECT_HZ);
        arm(s);
    }
    s->g.direct_value = value;
    s->g.direct_quiet = 0;
}

void sb16_catch_up(Sb16 *s)
{
    transfer_catch_up(s);
    if (s->g.direct) {
        direct_catch_up(s);
    }
}

void sb16_fire(void *self, int64_t due)
{
    Sb16 *s = self;
    (void)due;
    sb16_catch_up(s);
    arm(s);
}
