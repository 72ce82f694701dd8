/* Local APIC: priorities, local vector table, timer, interrupt command register.
 *
 * SDM vol. 3, chapter 11 (xAPIC). Not modelled: other processors, x2APIC, the TSC-deadline timer,
 * performance and thermal interrupts (their entries are storage), MSI. Delivery is immediate, so
 * delivery status always reads idle. Wired by pc_build: LINT0 is the 8259s' INTR, LINT1 the board's
 * NMI.
 */
#include "chipset/lapic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("lapic");

/* Register offsets (SDM vol. 3, table 11-1). */
enum {
    REG_ID = 0x020,
    REG_VERSION = 0x030,
    REG_TPR = 0x080,
    REG_APR = 0x090,
    REG_PPR = 0x0a0,
    REG_EOI = 0x0b0,
    REG_LDR = 0x0d0,
    REG_DFR = 0x0e0,
    REG_SVR = 0x0f0,
    REG_ISR = 0x100,
    REG_TMR = 0x180,
    REG_IRR = 0x200,
    REG_ESR = 0x280,
    REG_ICR_LOW = 0x300,
    REG_ICR_HIGH = 0x310,
    REG_LVT = 0x320, /* timer, thermal, performance, LINT0, LINT1, error */
    REG_INITIAL = 0x380,
    REG_CURRENT = 0x390,
    REG_DIVIDE = 0x3e0,
    SPACE = 0x1000,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_COUNTER, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };

enum {
    LVT_VECTOR = 0x000ff,
    LVT_MODE = 0x00700,
    LVT_MODE_SHIFT = 8,
    LVT_REMOTE_IRR = 0x04000,
    LVT_LEVEL = 0x08000,
    LVT_MASKED = 0x10000,
    LVT_PERIODIC = 0x20000,
    SVR_ENABLE = 0x100,
    SVR_BITS = 0x3ff,
    ICR_LOGICAL = 0x800,
    ICR_ASSERT = 0x4000,
    ICR_TRIGGER_LEVEL = 0x8000,
    ICR_SHORTHAND_SHIFT = 18,
    ICR_LOW_BITS = 0xccfff,
    TO_DESTINATION = 0,
    TO_SELF = 1,
    TO_ALL = 2,
    ESR_SEND_ILLEGAL = 0x20,
    ESR_RECEIVE_ILLEGAL = 0x40,
    ESR_REGISTER = 0x80,
    BROADCAST = 0xff,
    VERSION = 0x14 | (LVTS - 1) << 16,
    BASE_ENABLE = 0x800,
};
#define BASE_DEFAULT UINT64_C(0xfee00000)
#define BASE_ADDRESS UINT64_C(0xffffff000)
/* A timer set to less than this many ns does not get the processor's whole time. */
#define SHORTEST_PERIOD 10000

static const uint32_t lvt_bits[LVTS] = {
    LVT_VECTOR | LVT_MASKED | LVT_PERIODIC,
    LVT_VECTOR | LVT_MODE | LVT_MASKED,
    LVT_VECTOR | LVT_MODE | LVT_MASKED,
    LVT_VECTOR | LVT_MODE | LVT_LEVEL | LVT_MASKED | 0x2000,
    LVT_VECTOR | LVT_MODE | LVT_LEVEL | LVT_MASKED | 0x2000,
    LVT_VECTOR | LVT_MASKED,
};

typedef struct Bits {
    uint32_t word[8]; /* one bit a vector */
} Bits;

struct Lapic {
    Device dev;
    LapicConfig config;
    void (*ended)(void *ioapic, uint8_t vector);
    void *ioapic;
    IoRange *range;
    Timer timer;
    struct {
        uint64_t base; /* IA32_APIC_BASE */
        uint32_t id, ldr, dfr, svr, icr_low, icr_high;
        uint8_t tpr;
        Bits isr, tmr, irr;
        uint32_t esr, errors; /* what reads; what has come since the last write */
        uint32_t lvt[LVTS];
        bool lint[2];     /* levels of the pins */
        bool ext_pending; /* an ExtINT message waits for its INTA */
        uint32_t initial, divide;
        bool counting;       /* initial is not 0, and a one-shot has not ended */
        uint64_t start_tick; /* bus tick at which the count was `initial` */
    } g;
};

static bool get_bit(const Bits *bits, uint8_t n)
{
    return bits->word[n / 32] >> n % 32 & 1;
}

static void put_bit(Bits *bits, uint8_t n, bool on)
{
    uint32_t bit = 1u << n % 32;
    bits->word[n / 32] = on ? bits->word[n / 32] | bit : bits->word[n / 32] & ~bit;
}

/* The highest vector that is set, or -1. */
static int highest(const Bits *bits)
{
    for (int i = 7; i >= 0; i--) {
        if (bits->word[i]) {
            return 32 * i + 31 - __builtin_clz(bits->word[i]);
        }
    }
    return -1;
}

static bool enabled(const Lapic *a)
{
    return a->g.base & BASE_ENABLE;
}

/* SDM vol. 3, 11.8.3.1. */
static uint8_t priority(const Lapic *a)
{
    int in_service = highest(&a->g.isr);
    if (in_service < 0 || in_service >> 4 <= a->g.tpr >> 4) {
        return a->g.tpr;
    }
    return (uint8_t)(in_service & 0xf0);
}

/* The vector to deliver now, or -1. */
static int deliverable(const Lapic *a)
{
    int vector = highest(&a->g.irr);
    return vector >= 0 && vector >> 4 > priority(a) >> 4 ? vector : -1;
}

static bool is_extint(const Lapic *a, unsigned lint)
{
    uint32_t lvt = a->g.lvt[LVT_LINT0 + lint];
    return !(lvt & LVT_MASKED) && (lvt & LVT_MODE) >> LVT_MODE_SHIFT == APIC_EXTINT;
}

/* Do the 8259s ask for an INTA cycle, and are they let through? */
static bool external(const Lapic *a)
{
    if (!enabled(a)) {
        return a->g.lint[0];
    }
    return (a->g.lint[0] && is_extint(a, 0)) || (a->g.lint[1] && is_extint(a, 1)) ||
           a->g.ext_pending;
}

static void update(Lapic *a)
{
    line_set(&a->config.intr, external(a) || (enabled(a) && deliverable(a) >= 0));
}

static void error(Lapic *a, uint32_t bit);

static void accept(Lapic *a, uint8_t vector, bool level)
{
    if (vector < 16) {
        error(a, ESR_RECEIVE_ILLEGAL);
        return;
    }
    put_bit(&a->g.irr, vector, true);
    put_bit(&a->g.tmr, vector, level);
    update(a);
}

static void error(Lapic *a, uint32_t bit)
{
    uint32_t lvt = a->g.lvt[LVT_ERROR];
    log_guest("error 0x%02x", bit);
    a->g.errors |= bit;
    /* an illegal vector here would be an error again, without end */
    if (!(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= 16) {
        accept(a, (uint8_t)lvt, false);
    }
}

static void take(Lapic *a, unsigned mode, uint8_t vector, bool level)
{
    switch (mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        accept(a, vector, level);
        break;
    case APIC_SMI:
        line_pulse(&a->config.smi);
        break;
    case APIC_NMI:
        line_pulse(&a->config.nmi);
        break;
    case APIC_INIT:
        line_pulse(&a->config.init);
        break;
    case APIC_EXTINT:
        a->g.ext_pending = true;
        update(a);
        break;
    default: /* STARTUP: only an application processor waits for it */
        break;
    }
}

/* SDM vol. 3, 11.6.2. */
static bool is_destination(const Lapic *a, uint8_t destination, bool logical)
{
    if (!logical) {
        return destination == BROADCAST || destination == a->g.id >> 24;
    }
    uint8_t mine = (uint8_t)(a->g.ldr >> 24);
    if (a->g.dfr >> 28 == 0xf) {
        return destination & mine;
    }
    bool same_cluster = destination >> 4 == mine >> 4 || destination >> 4 == 0xf;
    return same_cluster && destination & mine & 0xf;
}

bool lapic_deliver(void *lapic, uint8_t destination, bool logical, unsigned mode, uint8_t vector,
                   bool level_triggered)
{
    Lapic *a = lapic;
    if (!enabled(a) || !is_destination(a, destination, logical)) {
        return false;
    }
    if (!(a->g.svr & SVR_ENABLE) && (mode == APIC_FIXED || mode == APIC_LOWEST)) {
        return false; /* software-disabled: only INIT, NMI, SMI and SIPI (SDM vol. 3, 11.4.7.2) */
    }
    take(a, mode, vector, level_triggered);
    return true;
}

static void send(Lapic *a)
{
    uint32_t icr = a->g.icr_low;
    unsigned mode = (icr & LVT_MODE) >> LVT_MODE_SHIFT;
    unsigned shorthand = icr >> ICR_SHORTHAND_SHIFT & 3;
    uint8_t vector = (uint8_t)icr;
    bool level = icr & ICR_TRIGGER_LEVEL;
    if ((mode == APIC_FIXED || mode == APIC_LOWEST) && vector < 16) {
        error(a, ESR_SEND_ILLEGAL);
        return;
    }
    if (mode == APIC_INIT && level && !(icr & ICR_ASSERT)) {
        return; /* INIT level de-assert only synchronises arbitration ids */
    }
    bool self = shorthand == TO_SELF || shorthand == TO_ALL;
    if (shorthand == TO_DESTINATION) {
        self = is_destination(a, (uint8_t)(a->g.icr_high >> 24), icr & ICR_LOGICAL);
    }
    if (self && mode != APIC_STARTUP && (mode != APIC_INIT || shorthand == TO_DESTINATION)) {
        take(a, mode, vector, false); /* IPIs count as edges (SDM vol. 3, 11.6.1) */
    }
}

/* The level of a LINT pin, or its LVT entry, has changed. */
static void check_lint(Lapic *a, unsigned pin, bool rising)
{
    uint32_t *lvt = &a->g.lvt[LVT_LINT0 + pin];
    unsigned mode = (*lvt & LVT_MODE) >> LVT_MODE_SHIFT;
    if (*lvt & LVT_MASKED || mode == APIC_EXTINT) {
        return;
    }
    if (mode == APIC_FIXED && *lvt & LVT_LEVEL) {
        if (a->g.lint[pin] && !(*lvt & LVT_REMOTE_IRR)) {
            *lvt |= LVT_REMOTE_IRR;
            accept(a, (uint8_t)*lvt, true);
        }
    } else if (rising) {
        take(a, mode, (uint8_t)*lvt, false);
    }
}

void lapic_connect_ioapic(Lapic *a, void (*ended)(void *ioapic, uint8_t vector), void *ioapic)
{
    a->ended = ended;
    a->ioapic = ioapic;
}

void lapic_lint(void *lapic, unsigned pin, bool level)
{
    Lapic *a = lapic;
    pin &= 1;
    bool rising = level && !a->g.lint[pin];
    if (a->g.lint[pin] == level) {
        return;
    }
    a->g.lint[pin] = level;
    if (enabled(a)) {
        check_lint(a, pin, rising);
    } else if (pin == 1) {
        line_set(&a->config.nmi, level);
    }
    update(a);
}

uint8_t lapic_acknowledge(void *lapic)
{
    Lapic *a = lapic;
    uint8_t vector = (uint8_t)a->g.svr; /* spurious: what was pending has gone */
    int best = enabled(a) ? deliverable(a) : -1;
    if (best >= 0) {
        vector = (uint8_t)best;
        put_bit(&a->g.irr, vector, false);
        put_bit(&a->g.isr, vector, true);
    } else if (external(a) || !enabled(a)) {
        a->g.ext_pending = false;
        vector = a->config.acknowledge_pic(a->config.pic);
    }
    update(a);
    return vector;
}

static void end_of_interrupt(Lapic *a)
{
    int vector = highest(&a->g.isr);
    if (vector < 0) {
        return;
    }
    put_bit(&a->g.isr, (uint8_t)vector, false);
    if (get_bit(&a->g.tmr, (uint8_t)vector)) {
        for (unsigned pin = 0; pin < 2; pin++) {
            uint32_t *lvt = &a->g.lvt[LVT_LINT0 + pin];
            if (*lvt & LVT_REMOTE_IRR && (*lvt & LVT_VECTOR) == (uint32_t)vector) {
                *lvt &= ~(uint32_t)LVT_REMOTE_IRR;
                check_lint(a, pin, false);
            }
        }
        if (a->ended) {
            a->ended(a->ioapic, (uint8_t)vector);
        }
    }
    update(a);
}

/* Timer (SDM vol. 3, 11.5.4). */

static uint64_t now_ticks(const Lapic *a)
{
    return clock_ticks(clock_now(&a->dev.board->clock), a->config.bus_hz);
}

static unsigned divider_shift(const Lapic *a)
{
    unsigned code = (a->g.divide & 3) | (a->g.divide >> 1 & 4);
    return code == 7 ? 0 : code + 1;
}

static bool periodic(const Lapic *a)
{
    return a->g.lvt[LVT_TIMER] & LVT_PERIODIC;
}

static uint32_t current_count(const Lapic *a)
{
    if (!a->g.counting) {
        return 0;
    }
    uint64_t gone = (now_ticks(a) - a->g.start_tick) >> divider_shift(a);
    if (periodic(a)) {
        return a->g.initial - (uint32_t)(gone % a->g.initial);
    }
    return gone < a->g.initial ? a->g.initial - (uint32_t)gone : 0;
}

/* Arms the timer for the next end of the count that is at least `gap` ns away. */
static void arm(Lapic *a, int64_t gap)
{
    if (!a->g.counting) {
        timer_disarm(&a->timer);
        return;
    }
    uint64_t period = (uint64_t)a->g.initial << divider_shift(a);
    uint64_t end = a->g.start_tick + period;
    uint64_t earliest =
        clock_ticks(clock_now(&a->dev.board->clock) + gap, a->config.bus_hz) + (gap != 0);
    if (periodic(a) && end < earliest) {
        end += (earliest - end + period - 1) / period * period;
    }
    timer_arm(&a->timer, clock_ticks_to_ns(end, a->config.bus_hz));
}

static void timer_fire(void *self, int64_t due)
{
    Lapic *a = self;
    (void)due;
    if (periodic(a)) {
        uint64_t period = (uint64_t)a->g.initial << divider_shift(a);
        bool rapid = clock_ticks_to_ns(period, a->config.bus_hz) < SHORTEST_PERIOD;
        arm(a, rapid ? SHORTEST_PERIOD : 1);
    } else {
        a->g.counting = false;
    }
    if (!(a->g.lvt[LVT_TIMER] & LVT_MASKED)) {
        accept(a, (uint8_t)a->g.lvt[LVT_TIMER], false);
    }
}

static void start_timer(Lapic *a, uint32_t count)
{
    a->g.initial = count;
    a->g.counting = count != 0;
    a->g.start_tick = now_ticks(a);
    arm(a, 0);
}

/* A new divider or mode: the count goes on from where it is. */
static void change_timer(Lapic *a, uint32_t *reg, uint32_t value)
{
    uint32_t left = current_count(a);
    *reg = value;
    if (!a->g.counting) {
        return;
    }
    if (left == 0 || left > a->g.initial) {
        left = a->g.initial;
    }
    uint64_t gone = (uint64_t)(a->g.initial - left) << divider_shift(a);
    uint64_t now = now_ticks(a);
    a->g.start_tick = now > gone ? now - gone : 0;
    arm(a, 0);
}

static void write_lvt(Lapic *a, unsigned n, uint32_t value)
{
    value &= lvt_bits[n];
    if (!(a->g.svr & SVR_ENABLE)) {
        value |= LVT_MASKED; /* SDM vol. 3, 11.4.7.2 */
    }
    if (n == LVT_TIMER) {
        change_timer(a, &a->g.lvt[n], value);
        return;
    }
    a->g.lvt[n] = value | (value & LVT_LEVEL ? a->g.lvt[n] & LVT_REMOTE_IRR : 0);
    if (n == LVT_LINT0 || n == LVT_LINT1) {
        check_lint(a, n - LVT_LINT0, false);
    }
}

static void write_spurious(Lapic *a, uint32_t value)
{
    a->g.svr = value & SVR_BITS;
    for (unsigned i = 0; !(value & SVR_ENABLE) && i < LVTS; i++) {
        a->g.lvt[i] |= LVT_MASKED;
    }
}

static const Bits *bits_at(const Lapic *a, uint32_t offset)
{
    return offset < REG_TMR ? &a->g.isr : (offset < REG_IRR ? &a->g.tmr : &a->g.irr);
}

static uint32_t read_register(Lapic *a, uint32_t offset)
{
    if (offset >= REG_ISR && offset < REG_ESR) {
        return bits_at(a, offset)->word[offset >> 4 & 7];
    }
    if (offset >= REG_LVT && offset < REG_LVT + 0x10 * LVTS) {
        return a->g.lvt[(offset - REG_LVT) >> 4];
    }
    switch (offset) {
    case REG_ID:
        return a->g.id;
    case REG_VERSION:
        return VERSION;
    case REG_TPR:
        return a->g.tpr;
    case REG_APR:
    case REG_EOI:
        return 0;
    case REG_PPR:
        return priority(a);
    case REG_LDR:
        return a->g.ldr;
    case REG_DFR:
        return a->g.dfr;
    case REG_SVR:
        return a->g.svr;
    case REG_ESR:
        return a->g.esr;
    case REG_ICR_LOW:
        return a->g.icr_low;
    case REG_ICR_HIGH:
        return a->g.icr_high;
    case REG_INITIAL:
        return a->g.initial;
    case REG_CURRENT:
        return current_count(a);
    case REG_DIVIDE:
        return a->g.divide;
    default:
        error(a, ESR_REGISTER);
        return 0;
    }
}

static void write_register(Lapic *a, uint32_t offset, uint32_t value)
{
    if (offset >= REG_LVT && offset < REG_LVT + 0x10 * LVTS) {
        write_lvt(a, (offset - REG_LVT) >> 4, value);
        return;
    }
    switch (offset) {
    case REG_ID:
        a->g.id = value & 0xff000000;
        break;
    case REG_TPR:
        a->g.tpr = (uint8_t)value;
        break;
    case REG_EOI:
        end_of_interrupt(a);
        break;
    case REG_LDR:
        a->g.ldr = value & 0xff000000;
        break;
    case REG_DFR:
        a->g.dfr = value | 0x0fffffff;
        break;
    case REG_SVR:
        write_spurious(a, value);
        break;
    case REG_ESR:
        a->g.esr = a->g.errors;
        a->g.errors = 0;
        break;
    case REG_ICR_LOW:
        a->g.icr_low = value & ICR_LOW_BITS;
        send(a);
        break;
    case REG_ICR_HIGH:
        a->g.icr_high = value & 0xff000000;
        break;
    case REG_INITIAL:
        start_timer(a, value);
        break;
    case REG_DIVIDE:
        change_timer(a, &a->g.divide, value & 0xb);
        break;
    case REG_VERSION:
    case REG_APR:
    case REG_PPR:
    case REG_CURRENT:
        break; /* read only */
    default:
        if (offset < REG_ISR || offset >= REG_ESR) {
            error(a, ESR_REGISTER);
        }
    }
}

static uint64_t lapic_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)bytes;
    return offset & 0xf ? 0 : read_register(self, offset);
}

static void lapic_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Lapic *a = self;
    (void)bytes;
    if (!(offset & 0xf)) {
        write_register(a, offset, (uint32_t)value);
        update(a);
    }
}

static void apply_base(Lapic *a)
{
    bus_move(a->range, a->g.base & BASE_ADDRESS, enabled(a));
}

static void clear(Lapic *a)
{
    uint64_t base = a->g.base;
    bool lint0 = a->g.lint[0], lint1 = a->g.lint[1];
    memset(&a->g, 0, sizeof(a->g));
    a->g.base = base;
    a->g.lint[0] = lint0;
    a->g.lint[1] = lint1;
    a->g.dfr = 0xffffffff;
    a->g.svr = 0xff;
    for (unsigned i = 0; i < LVTS; i++) {
        a->g.lvt[i] = LVT_MASKED;
    }
    /* QUIRK: the processor's LINT entries start masked, which cuts off the 8259s until firmware
     * sets virtual wire mode. Firmware for boards without an APIC never does, so we start in that
     * mode. */
    a->g.lvt[LVT_LINT0] = APIC_EXTINT << LVT_MODE_SHIFT;
    a->g.lvt[LVT_LINT1] = APIC_NMI << LVT_MODE_SHIFT;
    timer_disarm(&a->timer);
}

void lapic_set_base(void *lapic, uint64_t apic_base)
{
    Lapic *a = lapic;
    if (!a->config.present || a->g.base == apic_base) {
        return;
    }
    bool was_enabled = enabled(a);
    a->g.base = apic_base;
    if (was_enabled && !enabled(a)) {
        clear(a); /* it comes back as after power-up (SDM vol. 3, 11.4.3) */
    }
    apply_base(a);
    update(a);
}

static void lapic_reset(Device *d, ResetKind kind)
{
    Lapic *a = (Lapic *)d;
    (void)kind;
    a->g.base = a->config.present ? BASE_DEFAULT | BASE_ENABLE | 0x100 : 0;
    clear(a);
    apply_base(a);
    update(a);
}

static void state_bits(StateIo *io, const char *field, Bits *bits)
{
    for (unsigned i = 0; i < 8; i++) {
        state_u32(io, field, &bits->word[i]);
    }
}

static void lapic_state(Device *d, StateIo *io)
{
    Lapic *a = (Lapic *)d;
    state_u64(io, "base", &a->g.base);
    state_u32(io, "id", &a->g.id);
    state_u32(io, "ldr", &a->g.ldr);
    state_u32(io, "dfr", &a->g.dfr);
    state_u32(io, "svr", &a->g.svr);
    state_u32(io, "icr_low", &a->g.icr_low);
    state_u32(io, "icr_high", &a->g.icr_high);
    state_u8(io, "tpr", &a->g.tpr);
    state_bits(io, "isr", &a->g.isr);
    state_bits(io, "tmr", &a->g.tmr);
    state_bits(io, "irr", &a->g.irr);
    state_u32(io, "esr", &a->g.esr);
    state_u32(io, "errors", &a->g.errors);
    for (unsigned i = 0; i < LVTS; i++) {
        state_u32(io, "lvt", &a->g.lvt[i]);
    }
    state_bool(io, "lint0", &a->g.lint[0]);
    state_bool(io, "lint1", &a->g.lint[1]);
    state_bool(io, "ext_pending", &a->g.ext_pending);
    state_u32(io, "initial", &a->g.initial);
    state_u32(io, "divide", &a->g.divide);
    state_bool(io, "counting", &a->g.counting);
    state_u64(io, "start_tick", &a->g.start_tick);
    state_timer(io, "timer", &a->timer);
    state_check(io, a->config.present || !enabled(a), "this processor has no APIC");
    state_check(io, !a->g.counting || a->g.initial, "a running timer without a count");
    state_check(io, a->g.counting || !a->timer.armed, "a stopped timer is armed");
    state_check(io, a->g.start_tick <= now_ticks(a), "the timer starts in the future");
}

static void lapic_restored(Device *d)
{
    Lapic *a = (Lapic *)d;
    apply_base(a);
    update(a);
}

static const DeviceType lapic_type = {
    .name = "lapic",
    .version = 1,
    .reset = lapic_reset,
    .state = lapic_state,
    .restored = lapic_restored,
};

static const IoOps lapic_ops = {lapic_read, lapic_write, 4, 4};

Lapic *lapic_new(Board *b, const LapicConfig *config, const char *id)
{
    Lapic *a = calloc(1, sizeof(*a));
    assert(a && config->bus_hz);
    a->config = *config;
    timer_init(&a->timer, &b->clock, "lapic.timer", timer_fire, a);
    a->timer.inward = true;
    a->range = bus_claim_off(b->memory, SPACE, &lapic_ops, a, "lapic");
    bus_set_level(a->range, 4); /* the processor answers before anything on the board */
    device_add(b, &a->dev, &lapic_type, id);
    return a;
}
