/* MC146818: formats against each other, the calendar day by day, alarms with each wildcard, the
 * three interrupts together, SET and the divider while time runs. test_rtc.c has the rest. */
#include "chipset/rtc.h"

#include "tests/unit/chip.h"

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)
#define BASE 981173106 /* Saturday 2001-02-03 04:05:06 */

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
    YEAR
};

typedef struct Fixture {
    Board *b;
    Rtc *rtc;
    Probe irq, mask;
} Fixture;

static void fixture(Fixture *f)
{
    f->b = chip_board();
    f->rtc = rtc_new(f->b,
                     &(RtcConfig){.base = BASE,
                                  .irq = chip_probe(f->b, &f->irq),
                                  .nmi_mask = chip_probe(f->b, &f->mask)},
                     "rtc");
    board_reset(f->b, RESET_POWER);
}

static uint8_t get(const Fixture *f, uint8_t index)
{
    chip_out(f->b, 0x70, index);
    return chip_in(f->b, 0x71);
}

static void set(const Fixture *f, uint8_t index, uint8_t value)
{
    chip_out(f->b, 0x70, index);
    chip_out(f->b, 0x71, value);
}

static uint8_t bcd(unsigned v)
{
    return (uint8_t)(v / 10 << 4 | v % 10);
}

static uint8_t hour_as(unsigned hour, bool binary, bool h24)
{
    unsigned shown = h24 ? hour : hour % 12 ? hour % 12 : 12;
    uint8_t byte = binary ? (uint8_t)shown : bcd(shown);
    return !h24 && hour >= 12 ? byte | 0x80 : byte;
}

/* Every second of a day's turn in the four formats, and each hour. */
static void the_four_formats(void **state)
{
    (void)state;
    for (unsigned format = 0; format < 4; format++) {
        bool binary = format & 1, h24 = format & 2;
        uint8_t b = (uint8_t)((binary ? 4 : 0) | (h24 ? 2 : 0));
        Fixture f;
        fixture(&f);
        set(&f, 0x0b, 0x80 | b);
        set(&f, HOURS, hour_as(0, binary, h24));
        set(&f, MINUTES, 0);
        set(&f, SECONDS, 0);
        set(&f, 0x0b, b);
        for (unsigned hour = 0; hour < 24; hour++) {
            assert_int_equal(get(&f, HOURS), hour_as(hour, binary, h24));
            clock_step(&f.b->clock, 59 * 60 * S + 59 * S);
            assert_int_equal(get(&f, HOURS), hour_as(hour, binary, h24));
            assert_int_equal(get(&f, MINUTES), binary ? 59 : 0x59);
            assert_int_equal(get(&f, SECONDS), binary ? 59 : 0x59);
            clock_step(&f.b->clock, S);
        }
        assert_int_equal(get(&f, HOURS), hour_as(0, binary, h24));
        assert_int_equal(get(&f, DAY), 4);
        board_free(f.b);
    }
}

/* 1999 to 2101: leap years, 2100 which is none, the week, the century. */
static void every_day_of_a_century(void **state)
{
    static const unsigned days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    (void)state;
    Fixture f;
    fixture(&f);
    set(&f, 0x0b, 0x82);
    set(&f, YEAR, 0x99);
    set(&f, 0x32, 0x19);
    set(&f, MONTH, 1);
    set(&f, DAY, 1);
    set(&f, WEEKDAY, 6); /* a Friday */
    set(&f, 0x0b, 0x02);
    unsigned weekday = 6;
    for (unsigned year = 1999; year < 2102; year++) {
        bool leap = year % 4 == 0 && year % 100 != 0;
        leap |= year % 400 == 0;
        for (unsigned month = 1; month <= 12; month++) {
            unsigned last = days[month - 1] + (month == 2 && leap);
            for (unsigned day = 1; day <= last; day++) {
                if (get(&f, DAY) != bcd(day) || get(&f, MONTH) != bcd(month) ||
                    get(&f, YEAR) != bcd(year % 100) || get(&f, 0x32) != bcd(year / 100) ||
                    get(&f, WEEKDAY) != weekday) {
                    fail_msg("%u-%u-%u: %02x-%02x-%02x, weekday %u", year, month, day,
                             get(&f, YEAR), get(&f, MONTH), get(&f, DAY), get(&f, WEEKDAY));
                }
                clock_step(&f.b->clock, 86400 * S);
                weekday = weekday % 7 + 1;
            }
        }
    }
    board_free(f.b);
}

/* Each combination of "don't care": how often it comes in two days. */
static void alarm_wildcards(void **state)
{
    static const unsigned wanted[8] = {2,      2 * 24,      2 * 60,   2 * 24 * 60,
                                       2 * 60, 2 * 24 * 60, 2 * 3600, 2 * 86400};
    (void)state;
    for (unsigned wild = 0; wild < 8; wild++) { /* bit 0: hours, 1: minutes, 2: seconds */
        Fixture f;
        fixture(&f);
        set(&f, HOURS_ALARM, wild & 1 ? 0xc0 : 0x13);
        set(&f, MINUTES_ALARM, wild & 2 ? 0xff : 0x37);
        set(&f, SECONDS_ALARM, wild & 4 ? 0xe1 : 0x59);
        set(&f, 0x0b, 0x22);
        f.irq.rises = 0;
        unsigned seen = 0, left = 2 * 86400;
        while (left) { /* from one interrupt to the next, each read */
            int64_t due = clock_next_due(&f.b->clock), now = clock_now(&f.b->clock);
            assert_true(due > now && (due - now) % S == 0);
            unsigned wait = (unsigned)((due - now) / S);
            if (wait > left) {
                break;
            }
            left -= wait;
            clock_step(&f.b->clock, due - now);
            if (f.irq.level) {
                seen++;
                assert_int_equal(get(&f, 0x0c) & 0xa0, 0xa0);
            }
        }
        assert_int_equal(seen, wanted[wild]);
        board_free(f.b);
    }
}

static void alarm_in_12_hours(void **state)
{
    (void)state;
    for (unsigned binary = 0; binary < 2; binary++) {
        Fixture f;
        fixture(&f);
        set(&f, 0x0b, binary ? 0x84 : 0x80);
        set(&f, HOURS, binary ? 11 : 0x11); /* 11 am */
        set(&f, MINUTES, binary ? 59 : 0x59);
        set(&f, SECONDS, binary ? 59 : 0x59);
        set(&f, HOURS_ALARM, binary ? 0x8c : 0x92); /* 12 pm */
        set(&f, MINUTES_ALARM, 0);
        set(&f, SECONDS_ALARM, 0);
        set(&f, 0x0b, binary ? 0x24 : 0x20);
        clock_step(&f.b->clock, S);
        assert_true(f.irq.level);
        get(&f, 0x0c);
        clock_step(&f.b->clock, 12 * 3600 * S); /* 12 am */
        assert_false(f.irq.level);
        clock_step(&f.b->clock, 12 * 3600 * S);
        assert_true(f.irq.level);
        board_free(f.b);
    }
}

/* All three flags stand in one read of register C, and one read clears them. */
static void three_interrupts_share_a_line(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    get(&f, 0x0c);
    set(&f, SECONDS_ALARM, 0x07);
    set(&f, MINUTES_ALARM, 0xff);
    set(&f, HOURS_ALARM, 0xff);
    set(&f, 0x0a, 0x2f); /* 2 Hz */
    set(&f, 0x0b, 0x72);
    clock_step(&f.b->clock, S / 2);
    assert_int_equal(get(&f, 0x0c), 0xc0);
    clock_step(&f.b->clock, S / 2);
    assert_true(f.irq.level);
    assert_int_equal(get(&f, 0x0c), 0xf0);
    assert_false(f.irq.level);
    assert_int_equal(get(&f, 0x0c), 0x00);
    clock_step(&f.b->clock, S);
    assert_int_equal(get(&f, 0x0c), 0xd0); /* no alarm in this second */
    board_free(f.b);
}

static void enables_gate_flags_that_stand(void **state)
{
    static const uint8_t flags[] = {0x40, 0x20, 0x10};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        Fixture f;
        fixture(&f);
        set(&f, SECONDS_ALARM, 0xff);
        set(&f, MINUTES_ALARM, 0xff);
        set(&f, HOURS_ALARM, 0xff);
        clock_step(&f.b->clock, S); /* all three flags, and no interrupt */
        assert_false(f.irq.level);
        set(&f, 0x0b, 0x02 | flags[i]);
        assert_true(f.irq.level);
        set(&f, 0x0b, 0x02); /* the line falls with the enable, the flags stay */
        assert_false(f.irq.level);
        assert_int_equal(get(&f, 0x0c), 0x70);
        board_free(f.b);
    }
}

static void registers_c_and_d_are_read_only(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, S);
    set(&f, 0x0c, 0xff);
    assert_int_equal(get(&f, 0x0c), 0x50);
    set(&f, 0x0c, 0xff);
    assert_int_equal(get(&f, 0x0c), 0x00);
    set(&f, 0x0d, 0x00);
    assert_int_equal(get(&f, 0x0d), 0x80);
    set(&f, 0x0a, 0xa6); /* UIP too */
    assert_int_equal(get(&f, 0x0a), 0x26);
    board_free(f.b);
}

/* SET while an update is announced: UIP falls, the time stays; the divider goes on, so that the
 * next update comes at the same phase. */
static void set_during_an_update(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, S - MS);
    assert_int_equal(get(&f, 0x0a) & 0x80, 0x80);
    set(&f, 0x0b, 0x82);
    assert_int_equal(get(&f, 0x0a) & 0x80, 0);
    clock_step(&f.b->clock, 2 * MS);
    set(&f, SECONDS, 0x30);
    assert_int_equal(get(&f, SECONDS), 0x30);
    set(&f, 0x0b, 0x02);
    clock_step(&f.b->clock, S - MS - 1);
    assert_int_equal(get(&f, SECONDS), 0x30);
    assert_int_equal(get(&f, 0x0a) & 0x80, 0x80);
    clock_step(&f.b->clock, 1);
    assert_int_equal(get(&f, SECONDS), 0x31);
    board_free(f.b);
}

/* Periods go on while SET holds the time, and stop with the divider. */
static void periods_need_the_divider_only(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(&f, 0x0b, 0xc2);
    get(&f, 0x0c);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq.level);
    get(&f, 0x0c);
    set(&f, 0x0a, 0x76);
    clock_step(&f.b->clock, 5 * S);
    assert_false(f.irq.level);
    assert_int_equal(get(&f, 0x0c), 0);
    set(&f, 0x0a, 0x26);
    clock_step(&f.b->clock, 976562); /* one period of 1/1024 s, less half a nanosecond */
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq.level);
    board_free(f.b);
}

static void a_missed_period_is_one_flag(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(&f, 0x0b, 0x42);
    clock_step(&f.b->clock, 10 * S); /* 10240 periods that nobody read */
    assert_int_equal(f.irq.rises, 1);
    assert_int_equal(get(&f, 0x0c) & 0xc0, 0xc0);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, S / 1024);
    clock_step(&f.b->clock, 1);
    assert_int_equal(f.irq.rises, 2);
    board_free(f.b);
}

/* A program that reads twice sees the same second twice, if UIP was down before. */
static void uip_down_leaves_244_us(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    unsigned safe = 0;
    for (unsigned i = 0; i < 5000; i++) {
        clock_step(&f.b->clock, 997 * 1000);
        if (!(get(&f, 0x0a) & 0x80)) {
            uint8_t first = get(&f, SECONDS);
            clock_step(&f.b->clock, 244000);
            assert_int_equal(get(&f, SECONDS), first);
            safe++;
        }
    }
    assert_in_range(safe, 4900, 4999); /* 2.2 ms of each second are not */
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_formats),
        cmocka_unit_test(every_day_of_a_century),
        cmocka_unit_test(alarm_wildcards),
        cmocka_unit_test(alarm_in_12_hours),
        cmocka_unit_test(three_interrupts_share_a_line),
        cmocka_unit_test(enables_gate_flags_that_stand),
        cmocka_unit_test(registers_c_and_d_are_read_only),
        cmocka_unit_test(set_during_an_update),
        cmocka_unit_test(periods_need_the_divider_only),
        cmocka_unit_test(a_missed_period_is_one_flag),
        cmocka_unit_test(uip_down_leaves_244_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
