/* FM synthesizer: ports, timers, and the sound as the board hears it.
 *
 * Source: YMF262 application manual (Yamaha), YM3812 data sheet. opl3_synth.c has the operators;
 * here samples are made as guest time goes by, always up to the moment before a register changes.
 * Nothing runs while all is silent. The timers are computed, not ticked. Wired by the cards' table:
 * alone as an AdLib card, or on a Sound Blaster.
 */
#include "chipset/cards/opl3.h"

#include <stdlib.h>
#include <string.h>

#include "chipset/cards/opl3_internal.h"
#include "machine/core/log.h"

LOG_TAG("opl3");

enum {
    BATCH = 512,
    BATCH_NS = 5000000,
    MAX_BEHIND = OPL3_HZ, /* samples; the clock was set, or the machine stood still */
    TICK_SAMPLES = 4,     /* timer 1 counts in 80.5 us, timer 2 in four times that */
    STATUS_IRQ = 0x80,
    STATUS_TIMER1 = 0x40,
    STATUS_TIMER2 = 0x20,
    STATUS_OPL2 = 0x06,
    REG_TIMER1 = 0x02,
    REG_TIMER2 = 0x03,
    REG_CONTROL = 0x04,
    CONTROL_RESET = 0x80,
    /* QUIRK: programs wait for the timers by reading the status some hundred times, as an ISA read
     * takes most of a microsecond. Engines do not slow ports down, so each read counts as that
     * much time for the timers (AdLib detection in nearly every DOS game). */
    ISA_READ_NS = 700,
};

struct Opl3 {
    Device dev;
    Opl3Config config;
    void *voice;
    Timer timer;
    Opl3Synth synth; /* its part of the state is in synth.g */
    struct {
        uint16_t index;  /* 9 bits: the register chosen */
        uint64_t sample; /* made up to here, since guest time 0 */
        bool sounding;
        uint8_t control; /* register 04h */
        uint8_t flags;   /* STATUS_TIMER bits */
        int64_t due[2];  /* guest ns of the next overflow of a running timer */
        int64_t read_ns; /* what status reads have added since a timer was started */
        uint32_t volume[2];
    } g;
};

static int64_t now_of(const Opl3 *o)
{
    return clock_now(&o->dev.board->clock);
}

/* --- sound --- */

/* Makes all samples up to now. */
static void catch_up(Opl3 *o)
{
    uint64_t to = clock_ticks(now_of(o), OPL3_HZ);
    uint64_t behind = to - o->g.sample;
    if (to <= o->g.sample) {
        return;
    }
    if (!o->g.sounding || behind > MAX_BEHIND) {
        opl3_synth_skip(&o->synth, behind);
        o->g.sample = to;
        return;
    }
    while (o->g.sample < to) {
        int16_t out[BATCH * 2];
        size_t part = to - o->g.sample < BATCH ? (size_t)(to - o->g.sample) : BATCH;
        for (size_t i = 0; i < part; i++) {
            int32_t left, right;
            opl3_synth_sample(&o->synth, &left, &right);
            out[i * 2] = audio_scaled(left, o->g.volume[0]);
            out[i * 2 + 1] = audio_scaled(right, o->g.volume[1]);
        }
        if (o->config.audio.ops) {
            o->config.audio.ops->push(o->config.audio.mixer, o->voice,
                                      clock_ticks_to_ns(o->g.sample, OPL3_HZ), OPL3_HZ, out, part);
        }
        o->g.sample += part;
    }
}

static void fire(void *self, int64_t due)
{
    Opl3 *o = self;
    catch_up(o);
    o->g.sounding = !opl3_synth_resting(&o->synth);
    if (o->g.sounding) {
        timer_arm(&o->timer, due + BATCH_NS);
    }
}

static void sound(Opl3 *o)
{
    if (!o->g.sounding && o->config.audio.ops && !opl3_synth_resting(&o->synth)) {
        o->g.sounding = true;
        timer_arm(&o->timer, now_of(o) + BATCH_NS);
    }
}

void opl3_volume(void *opl3, uint32_t left, uint32_t right)
{
    Opl3 *o = opl3;
    catch_up(o);
    o->g.volume[0] = left;
    o->g.volume[1] = right;
}

/* --- timers --- */

static int64_t timer_period(const Opl3 *o, unsigned n)
{
    unsigned ticks = (256u - o->synth.g.reg[0][REG_TIMER1 + n]) * TICK_SAMPLES * (n ? 4 : 1);
    return clock_ticks_to_ns(ticks, OPL3_HZ);
}

static uint8_t timer_flag(unsigned n)
{
    return n ? STATUS_TIMER2 : STATUS_TIMER1;
}

static void timers_settle(Opl3 *o)
{
    int64_t now = now_of(o) + o->g.read_ns;
    for (unsigned n = 0; n < 2; n++) {
        if (o->g.control & 1u << n && now >= o->g.due[n]) {
            int64_t period = timer_period(o, n);
            o->g.due[n] += ((now - o->g.due[n]) / period + 1) * period;
            /* a masked timer runs, but raises no flag */
            o->g.flags |= o->g.control & timer_flag(n) ? 0 : timer_flag(n);
        }
    }
    line_set(&o->config.irq, o->g.flags);
}

static void write_control(Opl3 *o, uint8_t value)
{
    timers_settle(o);
    if (value & CONTROL_RESET) {
        o->g.flags = 0;
    } else {
        for (unsigned n = 0; n < 2; n++) {
            if (value & ~o->g.control & 1u << n) {
                o->g.read_ns = 0;
                o->g.due[n] = now_of(o) + timer_period(o, n);
            }
        }
        o->g.control = value;
        o->g.flags &= (uint8_t)~value; /* masks also take flags down */
    }
    line_set(&o->config.irq, o->g.flags);
}

/* --- ports --- */

static uint8_t read_status(Opl3 *o)
{
    if (o->g.control & 3) {
        o->g.read_ns += ISA_READ_NS;
    }
    timers_settle(o);
    return (uint8_t)(o->g.flags | (o->g.flags ? STATUS_IRQ : 0) |
                     (o->config.opl2 ? STATUS_OPL2 : 0));
}

static void write_data(Opl3 *o, uint8_t value)
{
    unsigned bank = o->g.index >> 8;
    uint8_t index = (uint8_t)o->g.index;
    catch_up(o);
    if (bank == 0 && index == REG_CONTROL) {
        write_control(o, value);
    }
    if (bank == 0 && (index == REG_TIMER1 || index == REG_TIMER2)) {
        timers_settle(o);
    }
    opl3_synth_write(&o->synth, bank, index, value);
    sound(o);
}

static uint64_t opl3_read(void *self, uint32_t offset, unsigned bytes)
{
    Opl3 *o = self;
    (void)bytes;
    return (offset & 3) == 0 ? read_status(o) : 0xff;
}

static void opl3_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Opl3 *o = self;
    (void)bytes;
    if (offset & 1) {
        write_data(o, (uint8_t)value);
        return;
    }
    /* without NEW the second bank shows its register 05h alone */
    bool second = offset & 2 && !o->config.opl2 && ((o->synth.g.reg[1][5] & 1) || value == 5);
    o->g.index = (uint16_t)((second ? 0x100 : 0) | (value & 0xff));
}

/* --- life --- */

static void opl3_reset(Device *d, ResetKind kind)
{
    Opl3 *o = (Opl3 *)d;
    (void)kind;
    uint32_t volume[2] = {o->g.volume[0], o->g.volume[1]}; /* the mixer chip's */
    timer_disarm(&o->timer);
    opl3_synth_reset(&o->synth);
    memset(&o->g, 0, sizeof(o->g));
    memcpy(o->g.volume, volume, sizeof(volume));
    o->g.sample = clock_ticks(now_of(o), OPL3_HZ);
    line_set(&o->config.irq, false);
}

static void opl3_state(Device *d, StateIo *io)
{
    Opl3 *o = (Opl3 *)d;
    if (!state_loading(io)) {
        catch_up(
            o); /* what is saved stands at this moment, so restoring finds nothing to make up for */
    }
    opl3_synth_state(&o->synth, io);
    state_u16(io, "index", &o->g.index);
    state_u64(io, "sample", &o->g.sample);
    state_bool(io, "sounding", &o->g.sounding);
    state_u8(io, "control", &o->g.control);
    state_u8(io, "flags", &o->g.flags);
    for (unsigned n = 0; n < 2; n++) {
        state_i64(io, "due", &o->g.due[n]);
        state_u32(io, "volume", &o->g.volume[n]);
    }
    state_i64(io, "read_ns", &o->g.read_ns);
    state_timer(io, "timer", &o->timer);
    int64_t far = INT64_MAX / 4;
    state_check(io, o->g.index < 0x200 && !(o->g.flags & ~(STATUS_TIMER1 | STATUS_TIMER2)),
                "index or flags are impossible");
    state_check(io,
                o->g.due[0] >= 0 && o->g.due[0] < far && o->g.due[1] >= 0 && o->g.due[1] < far &&
                    o->g.read_ns >= 0 && o->g.read_ns < far,
                "a timer is out of range");
    state_check(io, o->g.volume[0] <= 16 * OPL3_UNITY && o->g.volume[1] <= 16 * OPL3_UNITY,
                "volume is out of range");
    state_check(io, o->g.sample <= clock_ticks(now_of(o), OPL3_HZ) + 1, "samples of the future");
}

static void opl3_restored(Device *d)
{
    Opl3 *o = (Opl3 *)d;
    opl3_synth_refresh(&o->synth);
    line_set(&o->config.irq, o->g.flags);
    sound(o); /* the machine that saved it may have had no ears */
}

static void opl3_destroy(Device *d)
{
    Opl3 *o = (Opl3 *)d;
    if (o->config.audio.ops) {
        o->config.audio.ops->close(o->config.audio.mixer, o->voice);
    }
    opl3_synth_fini(&o->synth);
    free(o);
}

static const DeviceType opl3_type = {
    .name = "opl3",
    .version = 1,
    .reset = opl3_reset,
    .state = opl3_state,
    .restored = opl3_restored,
    .destroy = opl3_destroy,
};

static const IoOps opl3_ops = {opl3_read, opl3_write, 1, 1};

Opl3 *opl3_new(Board *b, const Opl3Config *config, const char *id)
{
    Opl3 *o = calloc(1, sizeof(*o));
    o->config = *config;
    o->g.volume[0] = o->g.volume[1] = OPL3_UNITY;
    opl3_synth_init(&o->synth, config->opl2);
    timer_init(&o->timer, &b->clock, "opl3.batch", fire, o);
    if (config->audio.ops) {
        o->voice = config->audio.ops->open(config->audio.mixer, id);
    }
    if (config->base) {
        bus_claim(b->ports, config->base, config->opl2 ? 2 : 4, &opl3_ops, o, "FM synthesizer");
    }
    if (config->blaster_base) {
        if (!config->opl2) { /* by which programs tell the Pro; before it the C/MS stood here */
            bus_claim(b->ports, config->blaster_base, 4, &opl3_ops, o, "FM synthesizer");
        }
        bus_claim(b->ports, config->blaster_base + 8u, 2, &opl3_ops, o, "FM synthesizer");
    }
    device_add(b, &o->dev, &opl3_type, id);
    log_trace("%s", config->opl2 ? "YM3812" : "YMF262");
    return o;
}
