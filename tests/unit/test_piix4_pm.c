/* PIIX4 power management: button, soft-off, timer and its overflow, SMI port, SMBus, state. */
#include "chipset/piix4_pm.h"

#include <stdlib.h>

#include "tests/unit/chip.h"

enum { BASE = 0x600, SMB = 0x700 };

typedef struct Fixture {
    Board *b;
    PciBus *bus;
    Piix4Pm *pm;
    Probe sci, smi, off;
} Fixture;

static void config(Fixture *f, unsigned offset, uint32_t value, unsigned bytes)
{
    chip_set_config(f->b, CHIP_PCI(1, 3), offset, value, bytes);
}

/* As SeaBIOS sets it up. */
static void set_up(Fixture *f)
{
    config(f, 0x04, 1, 2);
    config(f, 0x40, BASE | 1, 4);
    config(f, 0x80, 1, 1);
    config(f, 0x90, SMB | 1, 4);
    config(f, 0xd2, 9, 1);
}

static Fixture *fixture(void)
{
    Fixture *f = calloc(1, sizeof(*f));
    f->b = chip_board();
    f->bus = pci_new(f->b, "pci");
    f->pm = piix4_pm_new(f->b,
                         &(Piix4PmConfig){.bus = f->bus,
                                          .device = 1,
                                          .function = 3,
                                          .sci = chip_probe(f->b, &f->sci),
                                          .smi = chip_probe(f->b, &f->smi),
                                          .power_off = chip_probe(f->b, &f->off)},
                         "pm");
    board_reset(f->b, RESET_POWER);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    free(f);
}

static uint32_t in(Fixture *f, unsigned port, unsigned bytes)
{
    return (uint32_t)bus_read(f->b->ports, port, bytes);
}

static void out(Fixture *f, unsigned port, uint32_t value, unsigned bytes)
{
    bus_write(f->b->ports, port, value, bytes);
}

static void registers_appear_where_firmware_puts_them(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(in(f, BASE + 4, 2), 0xffff);
    set_up(f);
    assert_int_equal(in(f, BASE + 4, 2), 0);
    config(f, 0x40, 0xb001, 4);
    assert_int_equal(in(f, BASE + 4, 2), 0xffff);
    assert_int_equal(in(f, 0xb004, 2), 0);
    config(f, 0x80, 0, 1);
    assert_int_equal(in(f, 0xb004, 2), 0xffff);
    done(f);
}

static void timer_counts_at_3_58_mhz_in_24_bits(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    clock_step(&f->b->clock, CLOCK_NS_PER_S);
    assert_int_equal(in(f, BASE + 8, 4), PIIX4_PM_HZ);
    assert_int_equal(in(f, BASE + 8, 2), PIIX4_PM_HZ & 0xffff);
    assert_int_equal(in(f, BASE + 10, 1), PIIX4_PM_HZ >> 16);
    clock_step(&f->b->clock, 4 * CLOCK_NS_PER_S);
    assert_int_equal(in(f, BASE + 8, 4), 5 * PIIX4_PM_HZ - 0x1000000);
    done(f);
}

static void overflow_interrupts_each_time_bit_23_changes(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    out(f, BASE + 2, 1, 2);
    out(f, BASE + 4, 1, 2);
    int64_t half = clock_ticks_to_ns(0x800000, PIIX4_PM_HZ);
    clock_step(&f->b->clock, half - 1);
    assert_false(f->sci.level);
    assert_int_equal(in(f, BASE, 2), 0);
    clock_step(&f->b->clock, 1);
    assert_true(f->sci.level);
    assert_int_equal(in(f, BASE, 2), 1);
    out(f, BASE, 1, 2);
    assert_false(f->sci.level);
    clock_step(&f->b->clock, half);
    assert_true(f->sci.level);
    done(f);
}

static void overflow_shows_without_its_interrupt(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    clock_step(&f->b->clock, 3 * CLOCK_NS_PER_S);
    assert_int_equal(in(f, BASE, 2), 1);
    out(f, BASE, 1, 1);
    assert_int_equal(in(f, BASE, 2), 0);
    done(f);
}

static void button_raises_the_sci_when_the_system_wants_it(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    assert_false(piix4_pm_acpi_enabled(f->pm));
    out(f, BASE + 2, 0x100, 2);
    piix4_pm_power_button(f->pm);
    assert_false(f->sci.level);
    out(f, 0xb2, 0xf1, 1); /* to ACPI mode */
    assert_int_equal(in(f, BASE + 4, 2), 1);
    assert_true(piix4_pm_acpi_enabled(f->pm));
    assert_true(f->sci.level);
    assert_int_equal(in(f, BASE, 2), 0x100);
    out(f, BASE + 1, 0x01, 1); /* the upper byte alone */
    assert_false(f->sci.level);
    out(f, 0xb2, 0xf0, 1);
    assert_int_equal(in(f, BASE + 4, 2), 0);
    done(f);
}

static void soft_off_needs_its_enable_bit(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    out(f, BASE + 4, 0x0001, 2);
    assert_int_equal(f->off.rises, 0);
    out(f, BASE + 4, 0x2401, 2); /* S3: not offered */
    assert_int_equal(f->off.rises, 0);
    out(f, BASE + 4, 0x2001, 2);
    assert_int_equal(f->off.rises, 1);
    assert_int_equal(in(f, BASE + 4, 2), 1); /* the enable bit reads 0 */
    out(f, BASE + 5, 0x20, 1);
    assert_int_equal(f->off.rises, 2);
    done(f);
}

static void smi_port_needs_both_enables(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    out(f, 0xb3, 0x5a, 1);
    out(f, 0xb2, 0x12, 1);
    assert_int_equal(f->smi.rises, 0);
    config(f, 0x58, 1 << 25, 4);
    out(f, 0xb2, 0x12, 1);
    assert_int_equal(f->smi.rises, 0);
    out(f, BASE + 0x28, 1, 4);
    out(f, 0xb2, 0x12, 1);
    assert_int_equal(f->smi.rises, 1);
    assert_int_equal(in(f, 0xb2, 1), 0x12);
    assert_int_equal(in(f, 0xb3, 1), 0x5a);
    assert_int_equal(in(f, BASE + 0x18, 2) & 0x20, 0x20);
    out(f, BASE + 0x18, 0x20, 2);
    assert_int_equal(in(f, BASE + 0x18, 2), 0);
    done(f);
}

static void gpe_block_of_the_tables_is_quiet(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    assert_int_equal(in(f, 0xafe0, 4), 0);
    out(f, 0xafe2, 0xffff, 2);
    out(f, BASE + 4, 1, 2);
    assert_int_equal(in(f, 0xafe2, 2), 0xffff);
    assert_false(f->sci.level);
    done(f);
}

static void smbus_answers_no_device(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    out(f, SMB + 4, 0xa1, 1);
    out(f, SMB + 2, 0x49, 1); /* start a byte read, with interrupt */
    assert_int_equal(in(f, SMB, 1), 0x04);
    assert_true(f->sci.level);
    out(f, SMB, 0x1e, 1);
    assert_int_equal(in(f, SMB, 1), 0);
    assert_false(f->sci.level);
    for (unsigned i = 0; i < 40; i++) {
        out(f, SMB + 7, i, 1);
    }
    (void)in(f, SMB + 2, 1);
    assert_int_equal(in(f, SMB + 7, 1), 32);
    done(f);
}

static void every_register_takes_every_size(void **state)
{
    (void)state;
    Fixture *f = fixture();
    set_up(f);
    for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
        for (unsigned at = 0; at < 0x40; at++) {
            (void)in(f, BASE + at, bytes);
            out(f, BASE + at, 0xffffffff, bytes);
        }
    }
    assert_int_equal(in(f, BASE + 2, 2), 0x0521);
    done(f);
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture(), *other = fixture();
    set_up(f);
    out(f, BASE + 2, 0x101, 2);
    out(f, BASE + 4, 1, 2);
    out(f, 0xb3, 0x77, 1);
    clock_step(&f->b->clock, CLOCK_NS_PER_S);
    piix4_pm_power_button(f->pm);
    chip_state_round_trip(f->b, other->b);
    assert_true(other->sci.level);
    assert_int_equal(in(other, BASE + 8, 4), PIIX4_PM_HZ);
    assert_int_equal(in(other, 0xb3, 1), 0x77);
    out(other, BASE, 0x100, 2);
    assert_false(other->sci.level);
    clock_step(&other->b->clock, 2 * CLOCK_NS_PER_S);
    assert_true(other->sci.level);
    done(f);
    done(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_appear_where_firmware_puts_them),
        cmocka_unit_test(timer_counts_at_3_58_mhz_in_24_bits),
        cmocka_unit_test(overflow_interrupts_each_time_bit_23_changes),
        cmocka_unit_test(overflow_shows_without_its_interrupt),
        cmocka_unit_test(button_raises_the_sci_when_the_system_wants_it),
        cmocka_unit_test(soft_off_needs_its_enable_bit),
        cmocka_unit_test(smi_port_needs_both_enables),
        cmocka_unit_test(gpe_block_of_the_tables_is_quiet),
        cmocka_unit_test(smbus_answers_no_device),
        cmocka_unit_test(every_register_takes_every_size),
        cmocka_unit_test(state_goes_on_in_another_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
