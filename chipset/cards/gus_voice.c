/* Gravis UltraSound: the GF1's voices, their volume ramps and interrupts, and the sound they make.
 *
 * Source: Advanced Gravis, UltraSound Software Development Kit, "GF1 register description" and
 * "volume control". A frame takes 1.619 us for each active voice, so that 14 give 44100 Hz and 32
 * give 19294. In each frame a voice's sample (between two of memory by the position's fraction) is
 * weighed by its logarithmic volume, then position and volume move on. Voices that stand still go
 * on sounding the sample under them, which the output capacitors take away. The frame rate is
 * rounded to whole hertz, 26 parts in a million at most, which is within the crystal's tolerance.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/gus_internal.h"
#include "machine/core/log.h"

LOG_TAG("gus");

enum {
    FRAMES_TIMES_VOICES = 617400,
    PIECES_HZ = 1000,
    MAX_BEHIND_NS = 1000000000, /* the clock was set: no use in catching up */
    VOLUME_MAX = (1 << 21) - 1,
    RATE_SHIFT_STEP = 3,  /* each step of the ramp's rate is eight times slower */
    CAPACITOR_SHIFT = 10, /* 6.9 Hz at 44100 frames a second */
};

/* Registers of a voice; reads have bit 7 set. */
enum {
    REG_CONTROL,
    REG_FREQUENCY,
    REG_START_HIGH,
    REG_START_LOW,
    REG_END_HIGH,
    REG_END_LOW,
    REG_RAMP_RATE,
    REG_RAMP_START,
    REG_RAMP_END,
    REG_VOLUME,
    REG_AT_HIGH,
    REG_AT_LOW,
    REG_PAN,
    REG_RAMP_CONTROL,
};

static uint32_t voices(const Gus *u)
{
    uint32_t count = (u->g.active & 0x1f) + 1u;
    return count < GUS_LEAST_VOICES ? GUS_LEAST_VOICES : count;
}

static uint32_t rate(const Gus *u)
{
    return (FRAMES_TIMES_VOICES + voices(u) / 2) / voices(u);
}

static bool moves(const GusVoice *v)
{
    return !(v->control & VOICE_HALTED) || !(v->ramp_control & VOICE_HALTED);
}

static bool any_moves(const Gus *u)
{
    for (uint32_t i = 0; i < voices(u); i++) {
        if (moves(&u->g.voice[i])) {
            return true;
        }
    }
    return false;
}

/* --- one voice, one frame --- */

static int32_t memory_at(const Gus *u, uint32_t at, bool wide)
{
    at &= GUS_MEMORY_MASK;
    if (wide) { /* words within the same quarter */
        at = (at & 0xc0000) | (at & 0x1ffff) << 1;
        return at + 1 < u->memory_bytes ? (int16_t)(u->memory[at] | u->memory[at + 1] << 8) : 0;
    }
    return at < u->memory_bytes ? (int8_t)u->memory[at] * 256 : 0;
}

static int32_t sample(const Gus *u, const GusVoice *v)
{
    bool wide = v->control & VOICE_WIDE;
    uint32_t at = v->at >> GUS_FRACTION;
    int32_t part = (int32_t)(v->at & ((1u << GUS_FRACTION) - 1));
    int32_t here = memory_at(u, at, wide), next = memory_at(u, at + 1, wide);
    return here + (next - here) * part / (1 << GUS_FRACTION);
}

/* A quantity that moves between two bounds: position or volume. Returns whether it met one. */
static bool move(uint32_t *at, uint32_t step, uint32_t low, uint32_t high, uint8_t *control,
                 bool inclusive)
{
    bool down = *control & VOICE_DOWN;
    int64_t to = (int64_t)*at + (down ? -(int64_t)step : (int64_t)step);
    int64_t beyond = (down ? (int64_t)low - to : to - (int64_t)high) + inclusive;
    if (beyond <= 0) {
        *at = (uint32_t)to & GUS_AT_MASK;
        return false;
    }
    beyond -= inclusive;
    if (!(*control & VOICE_LOOP)) {
        return true;
    }
    if (*control & VOICE_BOTH_WAYS) {
        *control ^= VOICE_DOWN;
        to = down ? (int64_t)low + beyond : (int64_t)high - beyond;
    } else {
        to = down ? (int64_t)high - beyond : (int64_t)low + beyond;
    }
    *at = (uint32_t)to & GUS_AT_MASK;
    return true;
}

static void move_position(GusVoice *v)
{
    uint32_t step = v->frequency >> 1, from = v->at;
    if (v->control & VOICE_HALTED) {
        return;
    }
    bool down = v->control & VOICE_DOWN;
    if (!move(&v->at, step, v->start, v->end, &v->control, false)) {
        return;
    }
    if (!(v->control & VOICE_LOOP)) {
        if (v->ramp_control & RAMP_ROLLOVER) { /* told, but not stopped */
            v->at = (down ? from - step : from + step) & GUS_AT_MASK;
        } else {
            v->control |= VOICE_STOPPED;
        }
    }
    v->control |= v->control & VOICE_IRQ ? VOICE_PENDING : 0;
}

static uint32_t ramp_step(const GusVoice *v)
{
    return (uint32_t)(v->ramp_rate & 0x3f) << GUS_FRACTION >> RATE_SHIFT_STEP * (v->ramp_rate >> 6);
}

static uint32_t ramp_bound(uint8_t value)
{
    return (uint32_t)value << (4 + GUS_FRACTION);
}

static void move_volume(GusVoice *v)
{
    uint32_t low = ramp_bound(v->ramp_start), high = ramp_bound(v->ramp_end);
    if (v->ramp_control & VOICE_HALTED) {
        return;
    }
    bool down = v->ramp_control & VOICE_DOWN;
    if (!move(&v->volume, ramp_step(v), low, high, &v->ramp_control, true)) {
        return;
    }
    if (!(v->ramp_control & VOICE_LOOP)) {
        v->volume = down ? low : high;
        v->ramp_control |= VOICE_STOPPED;
    }
    v->volume = v->volume > VOLUME_MAX ? VOLUME_MAX : v->volume;
    v->ramp_control |= v->ramp_control & VOICE_IRQ ? VOICE_PENDING : 0;
}

/* 16 bits: 0 to not quite 1. */
static int32_t gain(uint32_t volume)
{
    uint32_t v = volume >> GUS_FRACTION;
    return (int32_t)((256 + (v & 0xff)) << (v >> 8) >> 8);
}

/* Left of each place, with equal power; right is left of the opposite place. 15 bits. */
static const uint16_t pan_left[16] = {32768, 31657, 30505, 29309, 28061, 26755, 25382, 23930,
                                      22385, 20724, 18919, 16921, 14654, 11965, 8461,  0};

static void sum(const Gus *u, int64_t *left, int64_t *right)
{
    *left = *right = 0;
    for (uint32_t i = 0; i < voices(u); i++) {
        const GusVoice *v = &u->g.voice[i];
        int32_t gained = gain(v->volume);
        if (gained <= 1 && (v->control & VOICE_HALTED)) {
            continue;
        }
        int64_t value = ((int64_t)sample(u, v) * gained) >> 8; /* 8 bits behind the point */
        *left += value * pan_left[v->pan & 15] >> 15;
        *right += value * pan_left[15 - (v->pan & 15)] >> 15;
    }
}

/* --- frames --- */

static void push(Gus *u)
{
    const AudioPort *audio = &u->config.audio;
    uint64_t first = u->g.frames - u->pending_frames;
    if (u->pending_frames && audio->ops) {
        audio->ops->push(audio->mixer, u->voice, u->g.origin_ns + clock_ticks_to_ns(first, rate(u)),
                         rate(u), u->pending, u->pending_frames);
    }
    u->pending_frames = 0;
}

static void frame(Gus *u)
{
    int64_t mixed[2];
    bool heard = u->g.reset & GUS_DAC && !(u->g.mix & 2);
    sum(u, &mixed[0], &mixed[1]);
    for (unsigned side = 0; side < 2; side++) {
        int64_t in = heard ? mixed[side] * 256 : 0; /* 16 bits behind the point */
        u->g.offset[side] += (in - u->g.offset[side]) / (1 << CAPACITOR_SHIFT);
        u->pending[u->pending_frames * 2 + side] = audio_clip((in - u->g.offset[side]) / 65536);
    }
    for (uint32_t i = 0; i < voices(u); i++) {
        move_position(&u->g.voice[i]);
        move_volume(&u->g.voice[i]);
    }
    u->g.frames++;
    if (++u->pending_frames == GUS_PENDING) {
        push(u);
    }
}

static void rest(Gus *u)
{
    push(u);
    u->g.playing = false;
    timer_disarm(&u->play);
}

static void wake_up(Gus *u)
{
    int64_t mixed[2];
    bool heard = u->g.reset & GUS_DAC && !(u->g.mix & 2);
    u->g.playing = true;
    u->g.origin_ns = clock_now(&u->dev.board->clock);
    u->g.frames = 0;
    sum(u, &mixed[0], &mixed[1]);
    for (unsigned side = 0; side < 2; side++) {
        u->g.offset[side] = heard ? mixed[side] * 256 : 0;
    }
    log_trace("plays at %u Hz", rate(u));
}

void gus_catch_up(Gus *u)
{
    int64_t now = clock_now(&u->dev.board->clock);
    if (!u->g.playing) {
        return;
    }
    if (now - u->g.origin_ns - clock_ticks_to_ns(u->g.frames, rate(u)) > MAX_BEHIND_NS) {
        push(u);
        u->g.origin_ns = now - MAX_BEHIND_NS;
        u->g.frames = 0;
    }
    uint64_t due = now > u->g.origin_ns ? clock_ticks(now - u->g.origin_ns, rate(u)) : 0;
    while (u->g.frames < due && u->g.playing) {
        frame(u);
        if (any_moves(u)) {
            u->g.tail = rate(u);
        } else if (--u->g.tail == 0) {
            rest(u);
        }
    }
    gus_drive(u);
}

/* Frames until a bound is met, at least 1. */
static uint64_t frames_to(uint32_t at, uint32_t step, uint32_t low, uint32_t high, bool down)
{
    int64_t way = down ? (int64_t)at - low : (int64_t)high - at;
    if (way < 0) {
        return 1;
    }
    return step ? (uint64_t)way / step + 1 : UINT64_MAX;
}

/* Until the next interrupt, or a millisecond. */
static uint64_t next_piece(const Gus *u)
{
    uint64_t least = rate(u) / PIECES_HZ;
    for (uint32_t i = 0; i < voices(u); i++) {
        const GusVoice *v = &u->g.voice[i];
        uint64_t n = UINT64_MAX;
        if (v->control & VOICE_IRQ && !(v->control & (VOICE_HALTED | VOICE_PENDING))) {
            n = frames_to(v->at, v->frequency >> 1, v->start, v->end, v->control & VOICE_DOWN);
        }
        least = n < least ? n : least;
        n = UINT64_MAX;
        if (v->ramp_control & VOICE_IRQ && !(v->ramp_control & (VOICE_HALTED | VOICE_PENDING))) {
            n = frames_to(v->volume, ramp_step(v), ramp_bound(v->ramp_start),
                          ramp_bound(v->ramp_end), v->ramp_control & VOICE_DOWN);
        }
        least = n < least ? n : least;
    }
    return least;
}

void gus_plan(Gus *u)
{
    if (!(u->g.reset & GUS_RUN)) {
        rest(u);
        return;
    }
    if (!u->g.playing && any_moves(u)) {
        wake_up(u);
        u->g.tail = rate(u);
    }
    if (u->g.playing) {
        timer_arm(&u->play,
                  u->g.origin_ns + clock_ticks_to_ns(u->g.frames + next_piece(u), rate(u)));
    }
}

void gus_play_fired(void *self, int64_t due)
{
    Gus *u = self;
    (void)due;
    gus_catch_up(u);
    push(u);
    gus_plan(u);
}

/* --- registers --- */

void gus_set_active(Gus *u, uint8_t value)
{
    gus_catch_up(u);
    push(u);
    u->g.active = value & 0x1f;
    u->g.origin_ns = clock_now(&u->dev.board->clock);
    u->g.frames = 0;
    gus_plan(u);
}

void gus_voices_reset(Gus *u)
{
    rest(u);
    memset(u->g.voice, 0, sizeof(u->g.voice));
    for (unsigned i = 0; i < GUS_VOICES; i++) {
        u->g.voice[i].control = u->g.voice[i].ramp_control = VOICE_HALTED;
        u->g.voice[i].pan = 7;
    }
    u->g.active = GUS_LEAST_VOICES - 1;
    u->g.tail = 0;
}

uint8_t gus_voice_irqs(const Gus *u)
{
    uint8_t bits = 0;
    for (unsigned i = 0; i < GUS_VOICES; i++) {
        bits |= u->g.voice[i].control & VOICE_PENDING ? GUS_IRQ_WAVE : 0;
        bits |= u->g.voice[i].ramp_control & VOICE_PENDING ? GUS_IRQ_RAMP : 0;
    }
    return bits;
}

uint8_t gus_irq_source(Gus *u)
{
    for (unsigned i = 0; i < GUS_VOICES; i++) {
        GusVoice *v = &u->g.voice[i];
        uint8_t wave = v->control & VOICE_PENDING, ramp = v->ramp_control & VOICE_PENDING;
        if (wave || ramp) {
            v->control &= (uint8_t)~VOICE_PENDING;
            v->ramp_control &= (uint8_t)~VOICE_PENDING;
            gus_plan(u);
            /* a 0 says that it is so */
            return (uint8_t)(0x20 | i | (wave ? 0 : 0x80) | (ramp ? 0 : 0x40));
        }
    }
    return 0xe0;
}

static uint16_t high_of(uint32_t at)
{
    return (uint16_t)(at >> 16 & 0x1fff);
}

/* Registers of 8 bits stand in the upper half. */
uint16_t gus_voice_read(Gus *u, unsigned reg)
{
    const GusVoice *v = &u->g.voice[u->g.page & 31];
    switch (reg) {
    case REG_CONTROL:
        return (uint16_t)(v->control << 8);
    case REG_FREQUENCY:
        return v->frequency;
    case REG_START_HIGH:
        return high_of(v->start);
    case REG_START_LOW:
        return (uint16_t)v->start;
    case REG_END_HIGH:
        return high_of(v->end);
    case REG_END_LOW:
        return (uint16_t)v->end;
    case REG_RAMP_RATE:
        return (uint16_t)(v->ramp_rate << 8);
    case REG_RAMP_START:
        return (uint16_t)(v->ramp_start << 8);
    case REG_RAMP_END:
        return (uint16_t)(v->ramp_end << 8);
    case REG_VOLUME:
        return (uint16_t)(v->volume >> GUS_FRACTION << 4);
    case REG_AT_HIGH:
        return high_of(v->at);
    case REG_AT_LOW:
        return (uint16_t)v->at;
    case REG_PAN:
        return (uint16_t)(v->pan << 8);
    case REG_RAMP_CONTROL:
        return (uint16_t)(v->ramp_control << 8);
    default:
        return 0;
    }
}

static void set_high(uint32_t *at, uint16_t value)
{
    *at = (*at & 0xffff) | (uint32_t)(value & 0x1fff) << 16;
}

static void set_low(uint32_t *at, uint16_t value)
{
    *at = (*at & ~UINT32_C(0xffff)) | value;
}

/* Bit 7 asks for an interrupt at once; it can be set by hand only together with its enable. */
static uint8_t control_bits(uint8_t value)
{
    bool pending = (value & (VOICE_PENDING | VOICE_IRQ)) == (VOICE_PENDING | VOICE_IRQ);
    value = pending ? value : value & (uint8_t)~VOICE_PENDING;
    return value & VOICE_STOP ? value | VOICE_STOPPED : value;
}

void gus_voice_write(Gus *u, unsigned reg, uint16_t value)
{
    GusVoice *v = &u->g.voice[u->g.page & 31];
    uint8_t byte = (uint8_t)(value >> 8);
    gus_catch_up(u);
    switch (reg) {
    case REG_CONTROL:
        v->control = control_bits(byte);
        break;
    case REG_FREQUENCY:
        v->frequency = value;
        break;
    case REG_START_HIGH:
        set_high(&v->start, value);
        break;
    case REG_START_LOW:
        set_low(&v->start, value & 0xffe0);
        break;
    case REG_END_HIGH:
        set_high(&v->end, value);
        break;
    case REG_END_LOW:
        set_low(&v->end, value & 0xffe0);
        break;
    case REG_RAMP_RATE:
        v->ramp_rate = byte;
        break;
    case REG_RAMP_START:
        v->ramp_start = byte;
        break;
    case REG_RAMP_END:
        v->ramp_end = byte;
        break;
    case REG_VOLUME:
        v->volume = (uint32_t)(value >> 4) << GUS_FRACTION;
        break;
    case REG_AT_HIGH:
        set_high(&v->at, value);
        break;
    case REG_AT_LOW:
        set_low(&v->at, value);
        break;
    case REG_PAN:
        v->pan = byte & 15;
        break;
    case REG_RAMP_CONTROL:
        v->ramp_control = control_bits(byte);
        break;
    default:
        return;
    }
    gus_drive(u);
    gus_plan(u);
}
