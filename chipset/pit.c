/* 8254 programmable interval timer.
 *
 * Data sheet: Intel 8254, 231164. A counter is not ticked: it remembers the
 * tick at which it last began counting and from what, and computes count and
 * output for any moment. A timer is armed only for the next change of an OUT
 * pin that is connected. Wired by pc_build: OUT0 to IRQ0, OUT2 and GATE2 to
 * port 61h and the speaker. Not modelled: what happens within a clock: writes
 * and edges of GATE take effect at the next whole tick.
 */
#include "chipset/pit.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("pit");

/* Control word (data sheet, "Control Word Format"). */
enum {
    CW_BCD = 0x01,
    CW_MODE_SHIFT = 1,
    CW_RW_SHIFT = 4,
    CW_SC_SHIFT = 6,
    RW_LATCH = 0,
    RW_LSB = 1,
    RW_MSB = 2,
    RW_WORD = 3,
    SC_READ_BACK = 3,
    RB_NO_COUNT = 0x20, /* read-back: bits are active low */
    RB_NO_STATUS = 0x10,
    STATUS_OUT = 0x80,
    STATUS_NULL_COUNT = 0x40,
};

typedef struct Counter {
    struct {
        uint8_t mode; /* 0..5 */
        uint8_t rw;   /* RW_LSB, RW_MSB, RW_WORD */
        bool bcd;
        bool gate;
        bool loaded;    /* a count was written since the control word; else OUT stays
                           at its initial   level */
        bool counting;  /* the counting element runs (or stands by GATE) from `start`
                         */
        bool triggered; /* modes 1 and 5: GATE rose since the control word */
        bool write_msb_next, read_msb_next;
        bool count_latched, status_latched;
        uint8_t write_lsb;       /* first byte of a word being written */
        uint16_t count_register; /* CR as written */
        uint16_t latched_count;
        uint8_t latched_status;
        uint32_t reload;   /* value counted from, 2..65536, binary */
        uint64_t start;    /* tick at which the counting element held `from` */
        uint32_t from;     /* its value then */
        bool next_pending; /* modes 2 and 3: a new count waits for the end of the
                              period */
        uint32_t next_reload;
        uint64_t next_at;      /* tick at which it is loaded */
        bool paused;           /* GATE low in a mode where that stops counting */
        uint64_t paused_after; /* ticks counted from `start` before it fell */
        bool was_low;          /* mode 1: OUT is low until the trigger's clock, too */
        bool out;              /* last level driven on the pin */
    } g;
    Timer timer;
    void (*before)(void *self); /* see pit_watch */
    void *before_self;
    bool telling; /* `before` runs: it is not called again */
} Counter;

struct Pit {
    Device dev;
    PitConfig config;
    Counter counter[3];
};

static const char *const timer_names[3] = {"pit.out0", "pit.out1", "pit.out2"};

static uint64_t now_ticks(const Pit *pit)
{
    return clock_ticks(clock_now(&pit->dev.board->clock), PIT_HZ);
}

static uint32_t from_bcd(uint16_t v)
{
    return (v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15);
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

static uint32_t modulus(const Counter *c)
{
    return c->g.bcd ? 10000 : 65536;
}

/* The count written as a number of ticks; 0 stands for the whole range (data
 * sheet, "Counter Programming"). */
static uint32_t reload_of(const Counter *c)
{
    uint32_t value = c->g.bcd ? from_bcd(c->g.count_register) : c->g.count_register;
    return value ? value : modulus(c);
}

static bool periodic(const Counter *c)
{
    return c->g.mode == 2 || c->g.mode == 3;
}

/* Modes in which a low GATE freezes the count (0, 4) or stops it with OUT high
 * (2, 3). */
static bool gate_enables(const Counter *c)
{
    return c->g.mode != 1 && c->g.mode != 5;
}

/* The counter is about to change its course. */
static void tell(Counter *c)
{
    if (c->before && !c->telling) {
        c->telling = true;
        c->before(c->before_self);
        c->telling = false;
    }
}

/* Ticks of the period's first (high) part in mode 3: odd counts are high one
 * tick longer. */
static uint32_t high_ticks(const Counter *c)
{
    return (c->g.reload + 1) / 2;
}

static bool reload_is_due(const Counter *c, uint64_t now)
{
    return c->g.next_pending && c->g.counting && !c->g.paused && now >= c->g.next_at;
}

/* Brings a waiting reload of modes 2 and 3 into force once its moment has
 * passed. */
static void settle(Counter *c, uint64_t now)
{
    if (reload_is_due(c, now)) {
        tell(c);
    }
    if (reload_is_due(c, now)) {
        bool low = c->g.mode == 3 && (c->g.next_at - c->g.start) % c->g.reload == high_ticks(c);
        c->g.reload = c->g.from = c->g.next_reload;
        c->g.start = c->g.next_at;
        if (low && c->g.start >= high_ticks(c)) {
            c->g.start -= high_ticks(c); /* OUT falls, and the low half is the new count's */
        }
        c->g.next_pending = false;
    }
}

static uint64_t elapsed(const Counter *c, uint64_t now)
{
    if (c->g.paused) {
        return c->g.paused_after;
    }
    return now < c->g.start ? 0 : now - c->g.start;
}

/* OUT at tick `now`; settle first. */
static bool output_at(const Counter *c, uint64_t now)
{
    uint64_t gone = elapsed(c, now);
    switch (c->g.mode) {
    case 0:
        return c->g.loaded && c->g.counting && gone >= c->g.from;
    case 1:
        return !c->g.triggered || gone >= c->g.from || (now < c->g.start && !c->g.was_low);
    case 2:
        return !c->g.counting || c->g.paused || gone % c->g.reload != c->g.reload - 1;
    case 3:
        return !c->g.counting || c->g.paused || gone % c->g.reload < high_ticks(c);
    default: /* 4, 5: low for the one tick at which the count reaches 0 */
        return !c->g.counting || gone != c->g.from;
    }
}

/* The counting element at tick `now`; settle first. */
static uint16_t count_at(const Counter *c, uint64_t now)
{
    uint64_t gone = elapsed(c, now);
    uint32_t value;
    if (!c->g.counting) {
        value = c->g.from;
    } else if (c->g.mode == 2) {
        value = c->g.reload - (uint32_t)(gone % c->g.reload);
    } else if (c->g.mode == 3) {
        /* counts down by two, twice a period (data sheet, Mode 3); odd counts start
         * one lower */
        uint32_t at = (uint32_t)(gone % c->g.reload);
        uint32_t even = c->g.reload & ~1u;
        uint32_t high = high_ticks(c);
        value = at < high ? even - 2 * at : even - 2 * (at - high);
        value = value ? value : (c->g.reload & 1 && at == high - 1 ? 0 : modulus(c));
    } else {
        value = (uint32_t)((c->g.from + (uint64_t)modulus(c) - gone % modulus(c)) % modulus(c));
    }
    value %= modulus(c);
    return c->g.bcd ? to_bcd(value) : (uint16_t)value;
}

static uint32_t binary_count_at(const Counter *c, uint64_t now)
{
    uint16_t value = count_at(c, now);
    return c->g.bcd ? from_bcd(value) : value;
}

/* The tick after `now` at which OUT next changes by itself; 0 when it will not.
 */
static uint64_t next_change(const Counter *c, uint64_t now)
{
    uint64_t gone = elapsed(c, now);
    if (!c->g.counting || c->g.paused) {
        return 0;
    }
    switch (c->g.mode) {
    case 0:
        return gone < c->g.from ? c->g.start + c->g.from : 0;
    case 1:
        if (!c->g.triggered || gone >= c->g.from) {
            return 0;
        }
        return now < c->g.start && !c->g.was_low ? c->g.start : c->g.start + c->g.from;
    case 2: {
        uint64_t at = gone % c->g.reload;
        uint64_t period = (now > c->g.start ? now : c->g.start) - at;
        uint64_t edge = at < c->g.reload - 1 ? period + c->g.reload - 1 : period + c->g.reload;
        return c->g.next_pending && edge > c->g.next_at ? c->g.next_at : edge;
    }
    case 3: {
        uint64_t at = gone % c->g.reload;
        uint64_t period = (now > c->g.start ? now : c->g.start) - at;
        uint64_t edge = at < high_ticks(c) ? period + high_ticks(c) : period + c->g.reload;
        return c->g.next_pending && edge > c->g.next_at ? c->g.next_at : edge;
    }
    default:
        if (gone < c->g.from) {
            return c->g.start + c->g.from;
        }
        return gone == c->g.from ? c->g.start + c->g.from + 1 : 0;
    }
}

/* Drives OUT as it is at tick `now`, and arms the timer for its next change. */
static void refresh(Pit *pit, Counter *c, uint64_t now)
{
    unsigned index = (unsigned)(c - pit->counter);
    settle(c, now);
    bool level = output_at(c, now);
    if (level != c->g.out) {
        c->g.out = level;
        line_set(&pit->config.out[index], level);
    }
    uint64_t change = pit->config.out[index].drive ? next_change(c, now) : 0;
    if (change) {
        timer_arm(&c->timer, clock_ticks_to_ns(change, PIT_HZ));
    } else {
        timer_disarm(&c->timer);
    }
}

static void timer_fire(Pit *pit, Counter *c, int64_t due)
{
    refresh(pit, c, clock_ticks(due, PIT_HZ));
}

static void fire0(void *self, int64_t due)
{
    Pit *pit = self;
    timer_fire(pit, &pit->counter[0], due);
}

static void fire1(void *self, int64_t due)
{
    Pit *pit = self;
    timer_fire(pit, &pit->counter[1], due);
}

static void fire2(void *self, int64_t due)
{
    Pit *pit = self;
    timer_fire(pit, &pit->counter[2], due);
}

/* OUT0 is an interrupt request, and its fall alone wakes no processor: it may wait for the rise. */
static int64_t late0(void *self)
{
    const Counter *c = &((const Pit *)self)->counter[0];
    uint64_t fall = clock_ticks(c->timer.due, PIT_HZ);
    if (!c->g.out || !periodic(c) || c->g.next_pending) {
        return 0;
    }
    uint32_t low = c->g.mode == 2 ? 1 : c->g.reload - high_ticks(c);
    return clock_ticks_to_ns(fall + low, PIT_HZ) - c->timer.due;
}

static void begin_counting(Counter *c, uint64_t now)
{
    c->g.reload = c->g.from = reload_of(c);
    c->g.start = now + 1;
    c->g.counting = true;
    c->g.next_pending = false;
    c->g.paused = gate_enables(c) && !c->g.gate;
    c->g.paused_after = 0;
}

/* A whole count was written (data sheet, each mode's "new count" rule). */
static void load_count(Pit *pit, Counter *c, uint64_t now)
{
    settle(c, now);
    c->g.loaded = true;
    if (periodic(c)) {
        /* Data sheet: 1 is illegal in modes 2 and 3. The chip's behaviour is
         * undefined; 2 is the nearest that works. */
        if (reload_of(c) == 1) {
            log_guest("counter %d: count 1 is illegal in mode %u", (int)(c - pit->counter),
                      c->g.mode);
            c->g.count_register = 2;
        }
        if (!c->g.counting) {
            begin_counting(c, now);
        } else {
            uint64_t gone = elapsed(c, now);
            uint64_t part = c->g.reload;
            if (c->g.mode == 3 && gone % c->g.reload < high_ticks(c)) {
                part = high_ticks(c); /* taken at the end of the half period */
            }
            c->g.next_pending = true;
            c->g.next_reload = reload_of(c);
            c->g.next_at = c->g.start + gone - gone % c->g.reload + part;
        }
    } else if (c->g.mode == 0 || c->g.mode == 4) {
        begin_counting(c, now);
    } else {
        c->g.reload = reload_of(c); /* modes 1 and 5: used from the next trigger */
        c->g.next_pending = true;   /* which ends the null count */
        c->g.next_reload = 65536;
        c->g.next_at = UINT64_MAX;
    }
    log_trace("ch%d mode %u reload 0x%x", (int)(c - pit->counter), c->g.mode, reload_of(c));
    refresh(pit, c, now);
}

static void write_count(Pit *pit, Counter *c, uint8_t value)
{
    uint64_t now = now_ticks(pit);
    tell(c);
    switch (c->g.rw) {
    case RW_LSB:
        c->g.count_register = value;
        break;
    case RW_MSB:
        c->g.count_register = (uint16_t)(value << 8);
        break;
    default:
        if (!c->g.write_msb_next) {
            c->g.write_lsb = value;
            c->g.write_msb_next = true;
            if (c->g.mode == 0) {
                /* the first byte stops the count and drives OUT low (data sheet, Mode
                 * 0) */
                settle(c, now);
                c->g.from = binary_count_at(c, now);
                c->g.counting = false;
                refresh(pit, c, now);
            }
            return;
        }
        c->g.write_msb_next = false;
        c->g.count_register = (uint16_t)(value << 8 | c->g.write_lsb);
    }
    load_count(pit, c, now);
}

static void write_mode(Pit *pit, Counter *c, uint8_t value)
{
    uint64_t now = now_ticks(pit);
    tell(c);
    settle(c, now);
    c->g.from = binary_count_at(c, now);
    c->g.rw = value >> CW_RW_SHIFT & 3;
    c->g.mode = value >> CW_MODE_SHIFT & 7;
    if (c->g.mode > 5) {
        c->g.mode -= 4; /* 6 and 7 are 2 and 3: the top bit is "don't care" there */
    }
    c->g.bcd = value & CW_BCD;
    c->g.loaded = c->g.counting = c->g.triggered = c->g.next_pending = c->g.paused = false;
    c->g.write_msb_next = c->g.read_msb_next = false;
    c->g.count_latched = c->g.status_latched = false;
    refresh(pit, c, now);
}

static void latch_count(Counter *c, uint64_t now)
{
    if (!c->g.count_latched) {
        settle(c, now);
        c->g.latched_count = count_at(c, now);
        c->g.count_latched = true;
    }
}

static void latch_status(Counter *c, uint64_t now)
{
    if (c->g.status_latched) {
        return;
    }
    settle(c, now);
    bool null_count = !c->g.loaded || c->g.next_pending || (c->g.counting && now < c->g.start);
    c->g.latched_status =
        (uint8_t)((output_at(c, now) ? STATUS_OUT : 0) | (null_count ? STATUS_NULL_COUNT : 0) |
                  c->g.rw << CW_RW_SHIFT | c->g.mode << CW_MODE_SHIFT | (c->g.bcd ? CW_BCD : 0));
    c->g.status_latched = true;
}

static void write_control(Pit *pit, uint8_t value)
{
    unsigned select = value >> CW_SC_SHIFT;
    if (select == SC_READ_BACK) {
        uint64_t now = now_ticks(pit);
        for (unsigned i = 0; i < 3; i++) {
            if (value & 2u << i) {
                if (!(value & RB_NO_COUNT)) {
                    latch_count(&pit->counter[i], now);
                }
                if (!(value & RB_NO_STATUS)) {
                    latch_status(&pit->counter[i], now);
                }
            }
        }
    } else if ((value >> CW_RW_SHIFT & 3) == RW_LATCH) {
        latch_count(&pit->counter[select], now_ticks(pit));
    } else {
        write_mode(pit, &pit->counter[select], value);
    }
}

static uint8_t read_count(Pit *pit, Counter *c)
{
    if (c->g.status_latched) {
        c->g.status_latched = false;
        return c->g.latched_status;
    }
    uint16_t value = c->g.latched_count;
    if (!c->g.count_latched) {
        uint64_t now = now_ticks(pit);
        settle(c, now);
        value = count_at(c, now);
    }
    bool msb = c->g.rw == RW_MSB || (c->g.rw == RW_WORD && c->g.read_msb_next);
    if (c->g.rw == RW_WORD) {
        c->g.read_msb_next = !c->g.read_msb_next;
    }
    if (c->g.rw != RW_WORD || msb) {
        c->g.count_latched = false;
    }
    return msb ? (uint8_t)(value >> 8) : (uint8_t)value;
}

static uint64_t pit_read(void *self, uint32_t offset, unsigned bytes)
{
    Pit *pit = self;
    (void)bytes;
    return offset < 3 ? read_count(pit, &pit->counter[offset])
                      : 0xff; /* the control word cannot be read */
}

static void pit_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pit *pit = self;
    (void)bytes;
    if (offset < 3) {
        write_count(pit, &pit->counter[offset], (uint8_t)value);
    } else {
        write_control(pit, (uint8_t)value);
    }
}

/* Modes 1 and 5. */
static void trigger(Counter *c, uint64_t now)
{
    c->g.was_low = !output_at(c, now);
    c->g.from = c->g.reload;
    c->g.start = now + 1;
    c->g.next_pending = false;
    c->g.counting = c->g.triggered = true;
}

/* GATE falls, in the modes where that stops the count. */
static void pause_counting(Counter *c, uint64_t now)
{
    if (c->g.counting && !c->g.paused) {
        c->g.paused_after = elapsed(c, now);
        c->g.paused = true;
    }
}

/* It rises again. A count that was loaded meanwhile needs no clock for that (data sheet, Mode 0).
 */
static void go_on(Counter *c, uint64_t now)
{
    if (!c->g.paused) {
        return;
    }
    c->g.paused = false;
    if (periodic(c)) {
        begin_counting(c, now); /* a rising gate starts the period anew */
    } else if (now >= c->g.start) {
        c->g.start = now - c->g.paused_after;
    }
}

void pit_gate(Pit *pit, unsigned counter, bool level)
{
    Counter *c = &pit->counter[counter];
    if (c->g.gate == level) {
        return;
    }
    uint64_t now = now_ticks(pit);
    tell(c);
    settle(c, now);
    c->g.gate = level;
    if (gate_enables(c)) {
        if (level) {
            go_on(c, now);
        } else {
            pause_counting(c, now);
        }
    } else if (level && c->g.loaded) {
        trigger(c, now);
    }
    refresh(pit, c, now);
}

bool pit_output(Pit *pit, unsigned counter)
{
    Counter *c = &pit->counter[counter];
    uint64_t now = now_ticks(pit);
    settle(c, now);
    return output_at(c, now);
}

void pit_watch(Pit *pit, unsigned counter, void (*before)(void *self), void *self)
{
    pit->counter[counter].before = before;
    pit->counter[counter].before_self = self;
}

bool pit_wave(Pit *pit, unsigned counter, uint64_t tick, uint64_t *change)
{
    Counter *c = &pit->counter[counter];
    settle(c, tick);
    *change = next_change(c, tick);
    return output_at(c, tick);
}

static void pit_reset(Device *d, ResetKind kind)
{
    Pit *pit = (Pit *)d;
    (void)kind;
    /* The 8254 has no reset pin and powers up undefined; this is a stopped
     * counter with OUT high, as in mode 3. */
    for (unsigned i = 0; i < 3; i++) {
        Counter *c = &pit->counter[i];
        tell(c);
        timer_disarm(&c->timer);
        bool out = c->g.out;
        memset(&c->g, 0, sizeof(c->g));
        c->g.mode = 3;
        c->g.rw = RW_WORD;
        c->g.reload = c->g.from = 65536;
        c->g.gate = i < 2;
        c->g.out = out;
        refresh(pit, c, now_ticks(pit));
    }
}

static void pit_state(Device *d, StateIo *io)
{
    Pit *pit = (Pit *)d;
    for (unsigned i = 0; i < 3; i++) {
        Counter *c = &pit->counter[i];
        state_u8(io, "mode", &c->g.mode);
        state_u8(io, "rw", &c->g.rw);
        state_bool(io, "bcd", &c->g.bcd);
        state_bool(io, "gate", &c->g.gate);
        state_bool(io, "loaded", &c->g.loaded);
        state_bool(io, "counting", &c->g.counting);
        state_bool(io, "triggered", &c->g.triggered);
        state_bool(io, "write_msb_next", &c->g.write_msb_next);
        state_bool(io, "read_msb_next", &c->g.read_msb_next);
        state_bool(io, "count_latched", &c->g.count_latched);
        state_bool(io, "status_latched", &c->g.status_latched);
        state_u8(io, "write_lsb", &c->g.write_lsb);
        state_u16(io, "count_register", &c->g.count_register);
        state_u16(io, "latched_count", &c->g.latched_count);
        state_u8(io, "latched_status", &c->g.latched_status);
        state_u32(io, "reload", &c->g.reload);
        state_u64(io, "start", &c->g.start);
        state_u32(io, "from", &c->g.from);
        state_bool(io, "next_pending", &c->g.next_pending);
        state_u32(io, "next_reload", &c->g.next_reload);
        state_u64(io, "next_at", &c->g.next_at);
        state_bool(io, "paused", &c->g.paused);
        if (state_since(io, 2)) {
            state_u64(io, "paused_after", &c->g.paused_after);
            state_bool(io, "was_low", &c->g.was_low);
        } else { /* it took the ticks off `from` instead */
            c->g.paused_after = 0;
            c->g.was_low = true;
        }
        state_bool(io, "out", &c->g.out);
        state_timer(io, "timer", &c->timer);
        state_check(io, c->g.mode <= 5 && c->g.rw >= RW_LSB && c->g.rw <= RW_WORD,
                    "mode or access is impossible");
        state_check(io, c->g.reload >= 1 && c->g.reload <= 65536 && c->g.from <= 65536,
                    "count is out of range");
        state_check(io, c->g.paused_after <= now_ticks(pit), "a pause is out of range");
        state_check(io, !c->g.next_pending || (c->g.next_reload >= 2 && c->g.next_reload <= 65536),
                    "next count is out of range");
    }
}

static const DeviceType pit_type = {
    .name = "pit",
    .version = 2,
    .reset = pit_reset,
    .state = pit_state,
};

static const IoOps pit_ops = {pit_read, pit_write, 1, 1};

Pit *pit_new(Board *b, const PitConfig *config, const char *id)
{
    static void (*const fire[3])(void *self, int64_t due) = {fire0, fire1, fire2};
    Pit *pit = calloc(1, sizeof(*pit));
    pit->config = *config;
    for (unsigned i = 0; i < 3; i++) {
        timer_init(&pit->counter[i].timer, &b->clock, timer_names[i], fire[i], pit);
    }
    pit->counter[0].timer.late = late0;
    pit->counter[0].timer.inward = true;
    bus_claim(b->ports, config->base, 4, &pit_ops, pit, "pit");
    device_add(b, &pit->dev, &pit_type, id);
    return pit;
}
