/* MC146818 real-time clock and CMOS memory.
 *
 * Data sheets: Motorola MC146818A; 82371SB (PIIX3), 290550, for the second bank. The time registers
 * hold what the chip holds, bytes in the format that register B names; they are brought up to date
 * when somebody looks, and a timer is armed only for interrupts that are enabled. Wired by
 * pc_build: IRQ8, and the NMI mask to the system control ports. Not modelled: daylight saving (no
 * PC BIOS sets DSE), the square wave pin, and undefined reads while an update is in progress (they
 * give the old time).
 */
#include "chipset/rtc.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("rtc");

enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32, /* where PC BIOSes keep it */
    A_UIP = 0x80,
    A_DV = 0x70,
    A_DV_32768 = 0x20,
    A_DV_RESET = 0x60,
    A_RS = 0x0f,
    B_SET = 0x80,
    B_PIE = 0x40,
    B_AIE = 0x20,
    B_UIE = 0x10,
    B_SQWE = 0x08,
    B_BINARY = 0x04,
    B_24 = 0x02,
    C_IRQF = 0x80,
    C_PF = 0x40,
    C_AF = 0x20,
    C_UF = 0x10,
    D_VRT = 0x80,
    HOUR_PM = 0x80,
    ALARM_ANY = 0xc0, /* an alarm byte of C0h..FFh matches everything */
    CRYSTAL_HZ = 32768,
    DAY_SECONDS = 86400,
};

#define SECOND CLOCK_NS_PER_S
/* The update cycle takes 1984 us, and UIP is up 244 us before it (data sheet, "Update Cycle"). */
#define UIP_NS INT64_C(2228000)

struct Rtc {
    Device dev;
    RtcConfig config;
    struct {
        uint8_t index[2]; /* ports 70h and 72h; bit 7 of the first is the NMI mask */
        uint8_t cmos[256];
        int64_t updated;  /* guest ns of the last second that was counted; the divider's phase */
        uint64_t periods; /* periodic periods since `divider` that were seen */
        int64_t divider;  /* guest ns at which the divider chain began */
    } g;
    Timer update, periodic;
};

/* --- calendar --- */

typedef struct Date {
    unsigned year, month, day; /* 1970.., 1..12, 1..31 */
} Date;

static bool leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && leap(year));
}

/* Days from 1 March of year 0, in the proleptic Gregorian calendar. */
static int64_t day_number(Date d)
{
    int64_t y = d.month > 2 ? d.year : (int64_t)d.year - 1;
    int64_t m = d.month > 2 ? d.month - 3 : d.month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d.day - 1;
}

static Date date_of(int64_t days_since_1970)
{
    int64_t days = days_since_1970 + day_number((Date){1970, 1, 1});
    Date d = {.year = (unsigned)(days * 400 / 146097), .month = 1, .day = 1};
    while (day_number((Date){d.year + 1, 1, 1}) <= days) {
        d.year++;
    }
    while (d.year > 0 && day_number(d) > days) {
        d.year--;
    }
    unsigned left = (unsigned)(days - day_number(d));
    while (left >= month_days(d.year, d.month)) {
        left -= month_days(d.year, d.month);
        d.month++;
    }
    d.day = left + 1;
    return d;
}

/* --- registers --- */

static uint8_t encode(const Rtc *rtc, unsigned value)
{
    return (uint8_t)(rtc->g.cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const Rtc *rtc, uint8_t value)
{
    return rtc->g.cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static uint8_t encode_hour(const Rtc *rtc, unsigned hour)
{
    if (rtc->g.cmos[REG_B] & B_24) {
        return encode(rtc, hour);
    }
    return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(const Rtc *rtc, uint8_t value)
{
    if (rtc->g.cmos[REG_B] & B_24) {
        return decode(rtc, value);
    }
    return decode(rtc, value & 0x7f) % 12 + (value & HOUR_PM ? 12 : 0);
}

static unsigned second_of_day(const Rtc *rtc)
{
    unsigned s = decode(rtc, rtc->g.cmos[SECONDS]);
    unsigned m = decode(rtc, rtc->g.cmos[MINUTES]);
    unsigned h = decode_hour(rtc, rtc->g.cmos[HOURS]);
    return (h * 3600 + m * 60 + s) % DAY_SECONDS;
}

static unsigned full_year(const Rtc *rtc)
{
    uint8_t century = rtc->g.cmos[CENTURY]; /* always BCD: a BIOS convention, not the chip's */
    unsigned hundreds = (century >> 4) * 10u + (century & 15);
    return hundreds % 100 * 100 + decode(rtc, rtc->g.cmos[YEAR]) % 100;
}

static void store_date(Rtc *rtc, Date d)
{
    rtc->g.cmos[DAY] = encode(rtc, d.day);
    rtc->g.cmos[MONTH] = encode(rtc, d.month);
    rtc->g.cmos[YEAR] = encode(rtc, d.year % 100);
    rtc->g.cmos[CENTURY] = (uint8_t)(d.year / 1000 % 10 << 4 | d.year / 100 % 10);
}

static void store_second_of_day(Rtc *rtc, unsigned s)
{
    rtc->g.cmos[SECONDS] = encode(rtc, s % 60);
    rtc->g.cmos[MINUTES] = encode(rtc, s / 60 % 60);
    rtc->g.cmos[HOURS] = encode_hour(rtc, s / 3600);
}

/* Counts the calendar on by whole days. Registers out of range count from the nearest date. */
static void add_days(Rtc *rtc, int64_t days)
{
    unsigned month = decode(rtc, rtc->g.cmos[MONTH]);
    unsigned day = decode(rtc, rtc->g.cmos[DAY]);
    unsigned year = full_year(rtc);
    month = month < 1 ? 1 : month > 12 ? 12 : month;
    unsigned last = month_days(year, month);
    day = day < 1 ? 1 : day > last ? last : day;
    int64_t since_1970 =
        day_number((Date){year, month, day}) - day_number((Date){1970, 1, 1}) + days;
    store_date(rtc, date_of(since_1970));
    unsigned weekday = decode(rtc, rtc->g.cmos[WEEKDAY]);
    rtc->g.cmos[WEEKDAY] = encode(rtc, (unsigned)((weekday + 6 + days) % 7) + 1);
}

/* --- divider, updates and alarms --- */

static bool divider_runs(const Rtc *rtc)
{
    return (rtc->g.cmos[REG_A] & A_DV_RESET) != A_DV_RESET;
}

static bool updates_run(const Rtc *rtc)
{
    return divider_runs(rtc) && !(rtc->g.cmos[REG_B] & B_SET);
}

/* Ticks of the 32.768 kHz crystal in a period, or 0 (data sheet, table 5). */
static uint32_t period_ticks(const Rtc *rtc)
{
    unsigned rate = rtc->g.cmos[REG_A] & A_RS;
    if (rate == 0 || !divider_runs(rtc)) {
        return 0;
    }
    return 1u << (rate < 3 ? rate + 6 : rate - 1);
}

static bool alarm_matches(uint8_t alarm, uint8_t time)
{
    return alarm >= ALARM_ANY || alarm == time;
}

/* Seconds until the next alarm, 1..86400, counted from a second of the day; 0: it never comes. */
static unsigned seconds_to_alarm(const Rtc *rtc, unsigned from)
{
    const uint8_t *cmos = rtc->g.cmos;
    for (unsigned at = from + 1; at <= from + DAY_SECONDS;) {
        if (!alarm_matches(cmos[HOURS_ALARM], encode_hour(rtc, at / 3600 % 24))) {
            at = (at / 3600 + 1) * 3600;
        } else if (!alarm_matches(cmos[MINUTES_ALARM], encode(rtc, at / 60 % 60))) {
            at = (at / 60 + 1) * 60;
        } else if (!alarm_matches(cmos[SECONDS_ALARM], encode(rtc, at % 60))) {
            at++;
        } else {
            return at - from;
        }
    }
    return 0;
}

static void refresh_irq(Rtc *rtc)
{
    uint8_t *c = &rtc->g.cmos[REG_C];
    /* PF, AF and UF stand at the same bits as their enables */
    bool irq = *c & rtc->g.cmos[REG_B] & (C_PF | C_AF | C_UF);
    *c = (uint8_t)((*c & ~C_IRQF) | (irq ? C_IRQF : 0));
    line_set(&rtc->config.irq, irq);
}

static uint64_t periods_at(const Rtc *rtc, int64_t now)
{
    uint32_t ticks = period_ticks(rtc);
    return ticks ? clock_ticks(now - rtc->g.divider, CRYSTAL_HZ) / ticks : 0;
}

/* Counts the seconds and periods that have passed, and sets their flags. */
static void settle(Rtc *rtc, int64_t now)
{
    if (divider_runs(rtc) && now - rtc->g.updated >= SECOND) {
        int64_t gone = (now - rtc->g.updated) / SECOND;
        rtc->g.updated += gone * SECOND;
        if (updates_run(rtc)) {
            unsigned from = second_of_day(rtc);
            unsigned alarm = seconds_to_alarm(rtc, from);
            int64_t to = from + gone;
            rtc->g.cmos[REG_C] |= C_UF | (alarm && gone >= alarm ? C_AF : 0);
            store_second_of_day(rtc, (unsigned)(to % DAY_SECONDS));
            if (to >= DAY_SECONDS) {
                add_days(rtc, to / DAY_SECONDS);
            }
        }
    }
    uint64_t periods = periods_at(rtc, now);
    if (periods > rtc->g.periods) {
        rtc->g.cmos[REG_C] |= C_PF;
    }
    rtc->g.periods = periods;
    refresh_irq(rtc);
}

/* Arms the timers for the next interrupts; settle first. */
static void arm(Rtc *rtc)
{
    uint8_t b = rtc->g.cmos[REG_B];
    uint8_t c = rtc->g.cmos[REG_C];
    unsigned wait = 0;
    if (updates_run(rtc)) {
        if (b & B_UIE && !(c & C_UF)) {
            wait = 1;
        } else if (b & B_AIE && !(c & C_AF)) {
            wait = seconds_to_alarm(rtc, second_of_day(rtc));
        }
    }
    if (wait) {
        timer_arm(&rtc->update, rtc->g.updated + wait * SECOND);
    } else {
        timer_disarm(&rtc->update);
    }
    uint32_t ticks = period_ticks(rtc);
    if (ticks && b & B_PIE && !(c & C_PF)) {
        timer_arm(&rtc->periodic,
                  rtc->g.divider + clock_ticks_to_ns((rtc->g.periods + 1) * ticks, CRYSTAL_HZ));
    } else {
        timer_disarm(&rtc->periodic);
    }
}

static int64_t now_of(const Rtc *rtc)
{
    return clock_now(&rtc->dev.board->clock);
}

static void timer_fire(void *self, int64_t due)
{
    Rtc *rtc = self;
    settle(rtc, due);
    arm(rtc);
}

static bool update_in_progress(const Rtc *rtc, int64_t now)
{
    return updates_run(rtc) && now - rtc->g.updated >= SECOND - UIP_NS;
}

/* --- ports --- */

static void write_a(Rtc *rtc, uint8_t value, int64_t now)
{
    bool ran = divider_runs(rtc);
    rtc->g.cmos[REG_A] = value & ~A_UIP;
    if (!ran && divider_runs(rtc)) {
        /* the first update comes half a second after the divider is let go */
        rtc->g.updated = now - SECOND / 2;
        rtc->g.divider = now;
    }
    if ((value & A_DV) != A_DV_32768 && (value & A_DV_RESET) != A_DV_RESET) {
        log_guest("divider 0x%02x is not for a 32.768 kHz crystal", value & A_DV);
    }
    rtc->g.periods = periods_at(rtc, now);
}

static void write_register(Rtc *rtc, uint8_t index, uint8_t value)
{
    int64_t now = now_of(rtc);
    settle(rtc, now);
    switch (index) {
    case REG_A:
        write_a(rtc, value, now);
        break;
    case REG_B:
        if (value & B_SET) {
            value &= (uint8_t)~B_UIE; /* data sheet, "SET" */
        }
        rtc->g.cmos[REG_B] = value;
        break;
    case REG_C:
    case REG_D:
        return; /* read only */
    default:
        rtc->g.cmos[index] = value;
    }
    refresh_irq(rtc);
    arm(rtc);
}

static uint8_t read_register(Rtc *rtc, uint8_t index)
{
    int64_t now = now_of(rtc);
    settle(rtc, now);
    uint8_t value = rtc->g.cmos[index];
    if (index == REG_A) {
        value |= update_in_progress(rtc, now) ? A_UIP : 0;
    } else if (index == REG_C) {
        rtc->g.cmos[REG_C] = 0;
        refresh_irq(rtc);
        arm(rtc);
    } else if (index == REG_D) {
        value = D_VRT;
    }
    return value;
}

static uint64_t rtc_read(void *self, uint32_t offset, unsigned bytes)
{
    Rtc *rtc = self;
    (void)bytes;
    switch (offset) {
    case 1: {
        uint8_t index = rtc->g.index[0] & 0x7f;
        return index <= REG_D || index == CENTURY ? read_register(rtc, index) : rtc->g.cmos[index];
    }
    case 3:
        return rtc->g.cmos[0x80 | rtc->g.index[1]];
    default:
        return 0xff; /* the index ports are write only */
    }
}

static void rtc_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Rtc *rtc = self;
    (void)bytes;
    switch (offset) {
    case 0:
        rtc->g.index[0] = (uint8_t)value;
        line_set(&rtc->config.nmi_mask, value & 0x80);
        break;
    case 1:
        write_register(rtc, rtc->g.index[0] & 0x7f, (uint8_t)value);
        break;
    case 2:
        rtc->g.index[1] = value & 0x7f;
        break;
    default:
        rtc->g.cmos[0x80 | rtc->g.index[1]] = (uint8_t)value;
    }
}

/* --- for the board --- */

void rtc_cmos_set(Rtc *rtc, uint8_t index, uint8_t value)
{
    if (index > REG_D) {
        rtc->g.cmos[index] = value;
    }
}

uint8_t rtc_cmos(const Rtc *rtc, uint8_t index)
{
    return rtc->g.cmos[index];
}

void rtc_set_time(Rtc *rtc, int64_t seconds)
{
    settle(rtc, now_of(rtc));
    int64_t days = seconds / DAY_SECONDS;
    int64_t second = seconds % DAY_SECONDS;
    if (second < 0) {
        second += DAY_SECONDS;
        days--;
    }
    /* the chip knows years 0000..9999; a base outside is cut */
    const int64_t first = -719468, last = 2932896;
    days = days < first + 60 ? first + 60 : days > last ? last : days;
    store_second_of_day(rtc, (unsigned)second);
    store_date(rtc, date_of(days));
    rtc->g.cmos[WEEKDAY] = encode(rtc, (unsigned)((days % 7 + 11) % 7) + 1); /* 1 is Sunday */
    arm(rtc);
}

static void setup_memory(Rtc *rtc, const RtcSetup *setup)
{
    uint64_t kib = setup->ram_below_4g >> 10;
    uint64_t extended = kib > 1024 ? kib - 1024 : 0;
    extended = extended > 0xffff ? 0xffff : extended;
    uint64_t above_16m = kib > 16384 ? (kib - 16384) / 64 : 0;
    above_16m = above_16m > 0xffff ? 0xffff : above_16m;
    uint64_t above_4g = setup->ram_above_4g >> 16;
    uint64_t base = kib < 640 ? kib : 640;
    rtc_cmos_set(rtc, 0x15, (uint8_t)base);
    rtc_cmos_set(rtc, 0x16, (uint8_t)(base >> 8));
    rtc_cmos_set(rtc, 0x17, (uint8_t)extended);
    rtc_cmos_set(rtc, 0x18, (uint8_t)(extended >> 8));
    rtc_cmos_set(rtc, 0x30, (uint8_t)extended);
    rtc_cmos_set(rtc, 0x31, (uint8_t)(extended >> 8));
    rtc_cmos_set(rtc, 0x34, (uint8_t)above_16m);
    rtc_cmos_set(rtc, 0x35, (uint8_t)(above_16m >> 8));
    rtc_cmos_set(rtc, 0x5b, (uint8_t)above_4g);
    rtc_cmos_set(rtc, 0x5c, (uint8_t)(above_4g >> 8));
    rtc_cmos_set(rtc, 0x5d, (uint8_t)(above_4g >> 16));
}

static void setup_disks(Rtc *rtc, const RtcSetup *setup)
{
    uint8_t types = 0, translation = 0;
    for (unsigned i = 0; i < 4; i++) {
        const RtcDisk *disk = &setup->disk[i];
        translation |= (uint8_t)((disk->present ? disk->translation & 3 : 0) << (2 * i));
        if (i >= 2) {
            continue;
        }
        uint8_t base = i == 0 ? 0x1b : 0x24; /* user type 47's table */
        uint16_t cylinders = disk->present ? disk->cylinders : 0;
        types |= disk->present ? (i == 0 ? 0xf0 : 0x0f) : 0;
        rtc_cmos_set(rtc, (uint8_t)(0x19 + i), disk->present ? 47 : 0);
        rtc_cmos_set(rtc, base, (uint8_t)cylinders);
        rtc_cmos_set(rtc, base + 1, (uint8_t)(cylinders >> 8));
        rtc_cmos_set(rtc, base + 2, disk->present ? disk->heads : 0);
        rtc_cmos_set(rtc, base + 3, disk->present ? 0xff : 0); /* no write precompensation */
        rtc_cmos_set(rtc, base + 4, disk->present ? 0xff : 0);
        rtc_cmos_set(rtc, base + 5, disk->present ? (disk->heads > 8 ? 0xc8 : 0xc0) : 0);
        rtc_cmos_set(rtc, base + 6, (uint8_t)cylinders); /* landing zone */
        rtc_cmos_set(rtc, base + 7, (uint8_t)(cylinders >> 8));
        rtc_cmos_set(rtc, base + 8, disk->present ? disk->sectors : 0);
    }
    rtc_cmos_set(rtc, 0x12, types);
    rtc_cmos_set(rtc, 0x39, translation);
}

void rtc_setup(Rtc *rtc, const RtcSetup *setup)
{
    setup_memory(rtc, setup);
    setup_disks(rtc, setup);
    unsigned floppies = (setup->floppy[0] != RTC_FLOPPY_NONE) + (setup->floppy[1] != 0);
    uint8_t equipment = 0x02; /* a coprocessor */
    equipment |= setup->mouse ? 0x04 : 0;
    equipment |= floppies == 2 ? 0x41 : floppies ? 0x01 : 0;
    rtc_cmos_set(rtc, 0x10, (uint8_t)((setup->floppy[0] & 15) << 4 | (setup->floppy[1] & 15)));
    rtc_cmos_set(rtc, 0x14, equipment);
    rtc_cmos_set(rtc, 0x38, (uint8_t)((setup->boot[2] & 15) << 4 | !setup->floppy_check));
    rtc_cmos_set(rtc, 0x3d, (uint8_t)((setup->boot[1] & 15) << 4 | (setup->boot[0] & 15)));
    rtc_cmos_set(rtc, 0x5f, (uint8_t)(setup->cpus ? setup->cpus - 1 : 0));
    unsigned sum = 0; /* the AT's checksum, which old systems check */
    for (unsigned i = 0x10; i <= 0x2d; i++) {
        sum += rtc->g.cmos[i];
    }
    rtc_cmos_set(rtc, 0x2e, (uint8_t)(sum >> 8));
    rtc_cmos_set(rtc, 0x2f, (uint8_t)sum);
}

static void rtc_reset(Device *d, ResetKind kind)
{
    Rtc *rtc = (Rtc *)d;
    (void)kind;
    settle(rtc, now_of(rtc));
    /* data sheet, "RESET"; the battery keeps time and memory */
    rtc->g.cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->g.cmos[REG_C] = 0;
    rtc->g.index[0] = rtc->g.index[1] = 0;
    line_set(&rtc->config.nmi_mask, false);
    refresh_irq(rtc);
    arm(rtc);
}

static void rtc_state(Device *d, StateIo *io)
{
    Rtc *rtc = (Rtc *)d;
    state_bytes(io, "index", rtc->g.index, sizeof(rtc->g.index));
    state_bytes(io, "cmos", rtc->g.cmos, sizeof(rtc->g.cmos));
    state_i64(io, "updated", &rtc->g.updated);
    state_u64(io, "periods", &rtc->g.periods);
    state_i64(io, "divider", &rtc->g.divider);
    state_timer(io, "update", &rtc->update);
    state_timer(io, "periodic", &rtc->periodic);
    int64_t now = now_of(rtc);
    state_check(io, rtc->g.index[1] < 0x80, "index is out of range");
    state_check(io, rtc->g.updated <= now && rtc->g.updated > -2 * SECOND,
                "last update is not in the past");
    state_check(io, rtc->g.divider <= now && rtc->g.divider >= 0, "divider is not in the past");
    state_check(io, rtc->g.periods <= (uint64_t)INT64_MAX / DAY_SECONDS, "periods are impossible");
}

static void rtc_restored(Device *d)
{
    Rtc *rtc = (Rtc *)d;
    refresh_irq(rtc);
    line_set(&rtc->config.nmi_mask, rtc->g.index[0] & 0x80);
}

static const DeviceType rtc_type = {
    .name = "rtc",
    .version = 1,
    .reset = rtc_reset,
    .state = rtc_state,
    .restored = rtc_restored,
};

static const IoOps rtc_ops = {rtc_read, rtc_write, 1, 1};

Rtc *rtc_new(Board *b, const RtcConfig *config, const char *id)
{
    Rtc *rtc = calloc(1, sizeof(*rtc));
    rtc->config = *config;
    timer_init(&rtc->update, &b->clock, "rtc.update", timer_fire, rtc);
    timer_init(&rtc->periodic, &b->clock, "rtc.periodic", timer_fire, rtc);
    rtc->update.inward = rtc->periodic.inward = true;
    bus_claim(b->ports, 0x70, 4, &rtc_ops, rtc, "rtc");
    device_add(b, &rtc->dev, &rtc_type, id);
    rtc->g.cmos[REG_A] = A_DV_32768 | 6; /* 1024 Hz, as BIOSes leave it */
    rtc->g.cmos[REG_B] = B_24;
    rtc->g.updated = rtc->g.divider = clock_now(&b->clock);
    rtc_set_time(rtc, config->base);
    return rtc;
}
