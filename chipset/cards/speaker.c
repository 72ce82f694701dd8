/* PC speaker.
 *
 * Source: IBM PC AT Technical Reference (1502243), "Speaker": OUT2 of the timer and bit 1 of port
 * 61h meet in a NAND gate that drives the cone. The wave is not sampled but integrated: each frame
 * is the share of its time in which the gate was high, so that programs which modulate the width of
 * pulses far above the audible (RealSound and its like) sound as they should. The weight of a
 * moment falls linearly from its own frame to the next, so that tones which no ear reaches do not
 * fold back as ones that it does. Wired by pc_build to the timer and the system control port. Not
 * modelled: the cone's own resonance.
 *
 * Time is counted in units of 1 / (timer_hz * FRAME_HZ) s, in which both a tick of the timer and a
 * frame are whole: a tick is FRAME_HZ units, a frame timer_hz.
 */
#include "chipset/cards/speaker.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAME_HZ = 96000,
    BATCH = 480, /* frames in one push: 5 ms */
    BATCH_NS = 5000000,
    LOUDNESS = 12000, /* of a full swing */
    INAUDIBLE = 16,
    DC_SHIFT = 11,              /* the coupling capacitor: a high-pass at 7.5 Hz */
    REST_FRAMES = FRAME_HZ,     /* so long without a sound, and the timer is not watched any more */
    MAX_BEHIND_NS = 1000000000, /* far more than a batch: the clock was set */
};

struct Speaker {
    Device dev;
    SpeakerConfig config;
    void *voice;
    Timer timer;
    struct {
        bool gate;          /* port 61h bit 1 */
        bool awake;         /* frames are being made */
        uint64_t unit;      /* made up to here */
        uint64_t high;      /* units in which the cone was driven, as they weigh in this frame */
        uint64_t high_next; /* and in the next */
        int32_t dc;         /* mean level << DC_SHIFT */
        uint32_t rest;      /* frames of silence so far */
    } g;
    int16_t out[BATCH * 2]; /* not yet pushed; empty between calls */
    size_t frames;
};

static int64_t now_of(const Speaker *s)
{
    return clock_now(&s->dev.board->clock);
}

static uint64_t unit_of(const Speaker *s, int64_t ns)
{
    return clock_ticks(ns, s->config.timer_hz) * FRAME_HZ;
}

static void push(Speaker *s)
{
    uint64_t next = s->g.unit / s->config.timer_hz;
    if (s->frames && s->config.audio.ops) {
        s->config.audio.ops->push(s->config.audio.mixer, s->voice,
                                  clock_ticks_to_ns(next - s->frames, FRAME_HZ), FRAME_HZ, s->out,
                                  s->frames);
    }
    s->frames = 0;
}

/* A frame is full. */
static void emit(Speaker *s)
{
    int32_t level = (int32_t)(s->g.high * LOUDNESS / s->config.timer_hz);
    int32_t value = level - (s->g.dc >> DC_SHIFT);
    s->g.dc += value;
    s->g.high = s->g.high_next;
    s->g.high_next = 0;
    s->g.rest = value > -INAUDIBLE && value < INAUDIBLE ? s->g.rest + 1 : 0;
    s->out[s->frames * 2] = s->out[s->frames * 2 + 1] = (int16_t)value;
    if (++s->frames == BATCH) {
        push(s);
    }
}

/* The cone stands still up to unit `to`. */
static void hold(Speaker *s, bool level, uint64_t to)
{
    uint64_t frame = s->config.timer_hz;
    while (s->g.unit < to) {
        uint64_t at = s->g.unit % frame;
        uint64_t end = s->g.unit - at + frame;
        uint64_t stop = end < to ? end : to;
        if (level) {
            uint64_t length = stop - s->g.unit;
            uint64_t later = length * (2 * at + length) / (2 * frame);
            s->g.high += length - later;
            s->g.high_next += later;
        }
        s->g.unit = stop;
        if (stop == end) {
            emit(s);
        }
    }
}

/* Makes all frames up to now. */
static void catch_up(Speaker *s)
{
    int64_t now = now_of(s);
    uint64_t to = unit_of(s, now);
    if (!s->g.awake) {
        return;
    }
    if (unit_of(s, now > MAX_BEHIND_NS ? now - MAX_BEHIND_NS : 0) > s->g.unit) {
        s->g.unit = to;
        s->g.high = s->g.high_next = 0;
    }
    while (s->g.unit < to) {
        uint64_t change = 0;
        bool out = s->g.gate && s->config.wave(s->config.timer, s->g.unit / FRAME_HZ, &change);
        uint64_t stop = s->g.gate && change && change < to / FRAME_HZ ? change * FRAME_HZ : to;
        hold(s, out, stop > s->g.unit ? stop : to);
    }
    push(s);
}

static void wake(Speaker *s)
{
    s->g.rest = 0;
    if (!s->g.awake && s->config.audio.ops) {
        s->g.awake = true;
        s->g.unit = unit_of(s, now_of(s));
        s->g.high = s->g.high_next = 0;
        timer_arm(&s->timer, now_of(s) + BATCH_NS);
    }
}

static void fire(void *self, int64_t due)
{
    Speaker *s = self;
    catch_up(s);
    if (s->g.rest >= REST_FRAMES) {
        s->g.awake = false;
    } else {
        timer_arm(&s->timer, due + BATCH_NS);
    }
}

void speaker_before_change(void *speaker)
{
    Speaker *s = speaker;
    catch_up(s);
    if (s->g.gate) {
        wake(s);
    }
}

static void gate_driven(void *sink, unsigned pin, bool level)
{
    Speaker *s = sink;
    (void)pin;
    if (level != s->g.gate) {
        catch_up(s);
        s->g.gate = level;
        wake(s);
    }
}

Line speaker_gate(Speaker *s)
{
    return (Line){gate_driven, s, 0};
}

static void speaker_reset(Device *d, ResetKind kind)
{
    (void)d; /* a cone on a wire: the port and the timer have their own resets */
    (void)kind;
}

static void speaker_state(Device *d, StateIo *io)
{
    Speaker *s = (Speaker *)d;
    state_bool(io, "gate", &s->g.gate);
    state_bool(io, "awake", &s->g.awake);
    state_u64(io, "unit", &s->g.unit);
    state_u64(io, "high", &s->g.high);
    state_u64(io, "high_next", &s->g.high_next);
    state_u32(io, "dc", (uint32_t *)&s->g.dc);
    state_u32(io, "rest", &s->g.rest);
    state_timer(io, "timer", &s->timer);
    state_check(io, s->g.high <= 2 * s->config.timer_hz && s->g.high_next <= s->config.timer_hz,
                "a frame is more than full");
    state_check(io, s->g.dc >= 0 && s->g.dc <= LOUDNESS << DC_SHIFT, "mean level is impossible");
    state_check(io, s->g.rest <= 2 * REST_FRAMES, "rest is out of range");
    state_check(io, s->g.unit <= unit_of(s, now_of(s)) + s->config.timer_hz,
                "frames of the future");
}

/* The machine that saved it may have had no ears; one that had them and rests goes on resting. */
static void speaker_restored(Device *d)
{
    Speaker *s = (Speaker *)d;
    if (s->g.gate && !s->g.awake && s->g.rest < REST_FRAMES) {
        wake(s);
    }
}

static void speaker_destroy(Device *d)
{
    Speaker *s = (Speaker *)d;
    if (s->config.audio.ops) {
        s->config.audio.ops->close(s->config.audio.mixer, s->voice);
    }
    free(s);
}

static const DeviceType speaker_type = {
    .name = "speaker",
    .version = 1,
    .reset = speaker_reset,
    .state = speaker_state,
    .restored = speaker_restored,
    .destroy = speaker_destroy,
};

Speaker *speaker_new(Board *b, const SpeakerConfig *config, const char *id)
{
    Speaker *s = calloc(1, sizeof(*s));
    s->config = *config;
    timer_init(&s->timer, &b->clock, "speaker.batch", fire, s);
    if (config->audio.ops) {
        s->voice = config->audio.ops->open(config->audio.mixer, id);
    }
    device_add(b, &s->dev, &speaker_type, id);
    return s;
}
