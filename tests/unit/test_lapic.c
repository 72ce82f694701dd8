/* Local APIC and I/O APIC: virtual wire, priorities, EOI of levels, timer, IPIs, errors, state. */
#include "chipset/lapic.h"

#include <stdlib.h>

#include "chipset/ioapic.h"
#include "tests/unit/chip.h"

#define APIC UINT64_C(0xfee00000)
#define IOAPIC UINT64_C(0xfec00000)

typedef struct Fixture {
    Board *b;
    Lapic *apic;
    Ioapic *io;
    Probe intr, nmi, smi, init;
    unsigned pic_acknowledged;
} Fixture;

static uint8_t pic_vector(void *pic)
{
    Fixture *f = pic;
    f->pic_acknowledged++;
    return 0x08;
}

static Fixture *fixture_with(bool present)
{
    Fixture *f = calloc(1, sizeof(*f));
    f->b = chip_board();
    LapicConfig config = {.present = present,
                          .bus_hz = 100000000,
                          .intr = chip_probe(f->b, &f->intr),
                          .nmi = chip_probe(f->b, &f->nmi),
                          .smi = chip_probe(f->b, &f->smi),
                          .init = chip_probe(f->b, &f->init),
                          .acknowledge_pic = pic_vector,
                          .pic = f};
    IoapicConfig io = {.base = IOAPIC, .deliver = lapic_deliver};
    f->apic = lapic_new(f->b, &config, "lapic");
    io.lapic = f->apic;
    f->io = ioapic_new(f->b, &io, "ioapic");
    lapic_connect_ioapic(f->apic, ioapic_end_of_interrupt, f->io);
    board_reset(f->b, RESET_POWER);
    return f;
}

static Fixture *fixture(void)
{
    return fixture_with(true);
}

static void done(Fixture *f)
{
    board_free(f->b);
    free(f);
}

static uint32_t get(Fixture *f, uint32_t reg)
{
    return (uint32_t)bus_read(f->b->memory, APIC + reg, 4);
}

static void put(Fixture *f, uint32_t reg, uint32_t value)
{
    bus_write(f->b->memory, APIC + reg, value, 4);
}

static uint32_t io_get(Fixture *f, uint32_t reg)
{
    bus_write(f->b->memory, IOAPIC, reg, 4);
    return (uint32_t)bus_read(f->b->memory, IOAPIC + 0x10, 4);
}

static void io_put(Fixture *f, uint32_t reg, uint32_t value)
{
    bus_write(f->b->memory, IOAPIC, reg, 4);
    bus_write(f->b->memory, IOAPIC + 0x10, value, 4);
}

static void enable(Fixture *f)
{
    put(f, 0xf0, 0x1ff);
    put(f, 0x350, 0x10000); /* LINT0 masked: no 8259 */
    put(f, 0xd0, 0x01000000);
}

static void self_ipi(Fixture *f, uint8_t vector)
{
    put(f, 0x300, 0x44000 | vector);
}

static void powers_up_as_a_wire(void **state)
{
    (void)state;
    for (unsigned present = 0; present < 2; present++) {
        Fixture *f = fixture_with(present);
        lapic_lint(f->apic, 0, true);
        assert_true(f->intr.level);
        assert_int_equal(lapic_acknowledge(f->apic), 0x08);
        assert_int_equal(f->pic_acknowledged, 1);
        lapic_lint(f->apic, 0, false);
        assert_false(f->intr.level);
        lapic_lint(f->apic, 1, true);
        assert_int_equal(f->nmi.rises, 1);
        assert_int_equal(get(f, 0x30) == 0xffffffff, !present);
        done(f);
    }
}

static void registers_read_as_at_reset(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(get(f, 0x20), 0);
    assert_int_equal(get(f, 0x30), 0x00050014);
    assert_int_equal(get(f, 0xe0), 0xffffffff);
    assert_int_equal(get(f, 0xf0), 0xff);
    assert_int_equal(get(f, 0x320), 0x10000);
    put(f, 0x320, 0x30);
    assert_int_equal(get(f, 0x320), 0x10030); /* stays masked while disabled by software */
    done(f);
}

static void masked_lint0_cuts_the_8259s_off(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    lapic_lint(f->apic, 0, true);
    assert_false(f->intr.level);
    put(f, 0x350, 0x8700);
    assert_true(f->intr.level);
    put(f, 0xf0, 0xff); /* software disable masks every entry */
    assert_false(f->intr.level);
    assert_int_equal(get(f, 0x350), 0x18700);
    done(f);
}

static void higher_class_goes_first_and_equal_class_waits(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    self_ipi(f, 0x41);
    assert_true(f->intr.level);
    assert_int_equal(lapic_acknowledge(f->apic), 0x41);
    assert_int_equal(get(f, 0x100 + 0x20), 2);
    assert_int_equal(get(f, 0xa0), 0x40);
    self_ipi(f, 0x45);
    assert_false(f->intr.level);
    self_ipi(f, 0x51);
    assert_true(f->intr.level);
    assert_int_equal(lapic_acknowledge(f->apic), 0x51);
    put(f, 0xb0, 0);
    assert_false(f->intr.level);
    put(f, 0xb0, 0);
    assert_true(f->intr.level);
    assert_int_equal(lapic_acknowledge(f->apic), 0x45);
    put(f, 0xb0, 0);
    put(f, 0xb0, 0); /* one too many */
    assert_int_equal(get(f, 0xa0), 0);
    done(f);
}

static void task_priority_holds_back(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x80, 0x40);
    self_ipi(f, 0x4f);
    assert_false(f->intr.level);
    assert_int_equal(get(f, 0xa0), 0x40);
    put(f, 0x80, 0x3f);
    assert_true(f->intr.level);
    put(f, 0x80, 0x50);
    assert_int_equal(lapic_acknowledge(f->apic), 0xff); /* gone meanwhile: spurious */
    assert_int_equal(get(f, 0x140), 0);
    done(f);
}

static void illegal_vectors_are_errors(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x370, 0x33);
    self_ipi(f, 0x05);
    put(f, 0x280, 0);
    assert_int_equal(get(f, 0x280), 0x20);
    assert_int_equal(lapic_acknowledge(f->apic), 0x33);
    (void)get(f, 0x3f0);
    put(f, 0x280, 0);
    assert_int_equal(get(f, 0x280), 0x80);
    put(f, 0x370, 0x02); /* an error whose own vector is illegal */
    lapic_deliver(f->apic, 0, false, APIC_FIXED, 3, false);
    put(f, 0x280, 0);
    assert_int_equal(get(f, 0x280), 0x40);
    done(f);
}

static void ipis_reach_pins_and_only_this_processor(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x310, 0);
    put(f, 0x300, 0x400); /* NMI to physical 0 */
    assert_int_equal(f->nmi.rises, 1);
    put(f, 0x310, 0x05000000);
    put(f, 0x300, 0x400);
    assert_int_equal(f->nmi.rises, 1);
    put(f, 0x310, 0);
    put(f, 0x300, 0x200);
    assert_int_equal(f->smi.rises, 1);
    put(f, 0x300, 0xc4500); /* INIT to all but self, as firmware looks for processors */
    put(f, 0x300, 0xc4610);
    assert_int_equal(f->init.rises, 0);
    put(f, 0x310, 0x01000000);
    put(f, 0x300, 0x00004861); /* logical, flat */
    assert_int_equal(lapic_acknowledge(f->apic), 0x61);
    put(f, 0xb0, 0);
    put(f, 0xe0, 0x0fffffff); /* cluster */
    put(f, 0xd0, 0x21000000);
    put(f, 0x310, 0x21000000);
    put(f, 0x300, 0x00004862);
    assert_int_equal(lapic_acknowledge(f->apic), 0x62);
    put(f, 0xb0, 0);
    put(f, 0x310, 0x31000000);
    put(f, 0x300, 0x00004863);
    assert_false(f->intr.level);
    done(f);
}

static void timer_counts_once_or_for_ever(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x3e0, 0x3); /* by 16: 160 ns */
    put(f, 0x320, 0x40);
    put(f, 0x380, 1000);
    clock_step(&f->b->clock, 160 * 400);
    assert_int_equal(get(f, 0x390), 600);
    clock_step(&f->b->clock, 160 * 600 - 1);
    assert_false(f->intr.level);
    clock_step(&f->b->clock, 1);
    assert_true(f->intr.level);
    assert_int_equal(get(f, 0x390), 0);
    assert_int_equal(lapic_acknowledge(f->apic), 0x40);
    put(f, 0xb0, 0);
    clock_step(&f->b->clock, CLOCK_NS_PER_S);
    assert_false(f->intr.level);

    put(f, 0x320, 0x20041);
    put(f, 0x380, 1000);
    unsigned ticks = 0;
    for (unsigned i = 0; i < 10000; i++) {
        clock_step(&f->b->clock, 160 * 100);
        if (f->intr.level) {
            assert_int_equal(lapic_acknowledge(f->apic), 0x41);
            put(f, 0xb0, 0);
            ticks++;
        }
    }
    assert_int_equal(ticks, 1000);
    put(f, 0x380, 0);
    assert_int_equal(get(f, 0x390), 0);
    clock_step(&f->b->clock, CLOCK_NS_PER_S);
    assert_false(f->intr.level);
    done(f);
}

static void divider_codes_divide(void **state)
{
    (void)state;
    static const uint8_t codes[8] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};
    Fixture *f = fixture();
    for (unsigned i = 0; i < 8; i++) {
        put(f, 0x3e0, codes[i]);
        put(f, 0x380, 100000);
        clock_step(&f->b->clock, 1280 << i);
        assert_int_equal(get(f, 0x390), 100000 - 128);
    }
    done(f);
}

static void shortest_timer_leaves_time_for_the_processor(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x3e0, 0xb);
    put(f, 0x320, 0x20041);
    put(f, 0x380, 1);
    unsigned fired = 0;
    for (int64_t end = clock_now(&f->b->clock) + 1000000; clock_next_due(&f->b->clock) < end;
         fired++) {
        clock_step(&f->b->clock, clock_next_due(&f->b->clock) - clock_now(&f->b->clock));
    }
    assert_in_range(fired, 90, 101);
    done(f);
}

static void base_moves_and_disables(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    lapic_set_base(f->apic, 0xd0000900);
    assert_int_equal(get(f, 0x30), 0xffffffff);
    assert_int_equal(bus_read(f->b->memory, 0xd0000030, 4), 0x00050014);
    lapic_set_base(f->apic, 0xfee00100);
    assert_int_equal(get(f, 0x30), 0xffffffff);
    lapic_lint(f->apic, 0, true);
    assert_true(f->intr.level);
    lapic_set_base(f->apic, 0xfee00900);
    assert_int_equal(get(f, 0xf0), 0xff);
    done(f);
}

static void ioapic_edges_and_masks(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    assert_int_equal(io_get(f, 1), 0x00170011);
    io_put(f, 0, 0xffffffff);
    assert_int_equal(io_get(f, 0), 0x0f000000);
    ioapic_pin(f->io, 2, true);
    assert_false(f->intr.level);
    io_put(f, 0x14, 0x30); /* pin 2, edge; the edge came while masked and is lost */
    assert_false(f->intr.level);
    ioapic_pin(f->io, 2, false);
    ioapic_pin(f->io, 2, true);
    assert_int_equal(lapic_acknowledge(f->apic), 0x30);
    put(f, 0xb0, 0);
    assert_false(f->intr.level);
    io_put(f, 0x15, 0xff000000);
    assert_int_equal(io_get(f, 0x15), 0xff000000);
    ioapic_pin(f->io, 24, true); /* no such pin */
    io_put(f, 0x40, 1);          /* no such register */
    assert_int_equal(io_get(f, 0x40), 0);
    done(f);
}

static void ioapic_levels_repeat_until_released(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    io_put(f, 0x24, 0x1a931); /* pin 10: logical, lowest priority, level, low polarity, masked */
    io_put(f, 0x25, 0x01000000);
    ioapic_pin(f->io, 10, true);
    assert_false(f->intr.level);
    io_put(f, 0x24, 0xa931);
    assert_true(f->intr.level);
    assert_int_equal(io_get(f, 0x24), 0xe931); /* remote IRR */
    assert_int_equal(lapic_acknowledge(f->apic), 0x31);
    assert_int_equal(get(f, 0x180 + 0x10), 1u << 17);
    put(f, 0xb0, 0);
    assert_true(f->intr.level); /* still asserted */
    assert_int_equal(lapic_acknowledge(f->apic), 0x31);
    ioapic_pin(f->io, 10, false);
    put(f, 0xb0, 0);
    assert_false(f->intr.level);
    assert_int_equal(io_get(f, 0x24), 0xa931);
    done(f);
}

static void ioapic_sends_nmi_smi_and_extint(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    io_put(f, 0x12, 0x400);
    ioapic_pin(f->io, 1, true);
    assert_int_equal(f->nmi.rises, 1);
    io_put(f, 0x16, 0x8200); /* always an edge, whatever the trigger bit says */
    ioapic_pin(f->io, 3, true);
    assert_int_equal(f->smi.rises, 1);
    io_put(f, 0x10, 0x700);
    ioapic_pin(f->io, 0, true);
    assert_true(f->intr.level);
    assert_int_equal(lapic_acknowledge(f->apic), 0x08);
    assert_int_equal(f->pic_acknowledged, 1);
    assert_false(f->intr.level);
    done(f);
}

static void lint0_can_carry_a_fixed_level_vector(void **state)
{
    (void)state;
    Fixture *f = fixture();
    enable(f);
    put(f, 0x350, 0x8035);
    lapic_lint(f->apic, 0, true);
    assert_int_equal(lapic_acknowledge(f->apic), 0x35);
    assert_int_equal(get(f, 0x350), 0xc035);
    put(f, 0xb0, 0);
    assert_int_equal(lapic_acknowledge(f->apic), 0x35);
    lapic_lint(f->apic, 0, false);
    put(f, 0xb0, 0);
    assert_false(f->intr.level);
    assert_int_equal(f->pic_acknowledged, 0);
    done(f);
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture(), *other = fixture();
    enable(f);
    put(f, 0x320, 0x20041);
    put(f, 0x380, 1000000);
    io_put(f, 0x24, 0xa031);
    ioapic_pin(f->io, 10, true);
    assert_int_equal(lapic_acknowledge(f->apic), 0x31);
    self_ipi(f, 0x71);
    lapic_set_base(f->apic, 0xfee01900);
    chip_state_round_trip(f->b, other->b);
    assert_true(other->intr.level);
    assert_int_equal(lapic_acknowledge(other->apic), 0x71);
    assert_int_equal(bus_read(other->b->memory, 0xfee010a0, 4), 0x70);
    bus_write(other->b->memory, 0xfee010b0, 0, 4);
    bus_write(other->b->memory, 0xfee010b0, 0, 4);
    assert_int_equal(lapic_acknowledge(other->apic), 0x31);
    clock_step(&other->b->clock, 20000000);
    assert_int_equal(lapic_acknowledge(other->apic), 0x41);
    done(f);
    done(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_up_as_a_wire),
        cmocka_unit_test(registers_read_as_at_reset),
        cmocka_unit_test(masked_lint0_cuts_the_8259s_off),
        cmocka_unit_test(higher_class_goes_first_and_equal_class_waits),
        cmocka_unit_test(task_priority_holds_back),
        cmocka_unit_test(illegal_vectors_are_errors),
        cmocka_unit_test(ipis_reach_pins_and_only_this_processor),
        cmocka_unit_test(timer_counts_once_or_for_ever),
        cmocka_unit_test(divider_codes_divide),
        cmocka_unit_test(shortest_timer_leaves_time_for_the_processor),
        cmocka_unit_test(base_moves_and_disables),
        cmocka_unit_test(ioapic_edges_and_masks),
        cmocka_unit_test(ioapic_levels_repeat_until_released),
        cmocka_unit_test(ioapic_sends_nmi_smi_and_extint),
        cmocka_unit_test(lint0_can_carry_a_fixed_level_vector),
        cmocka_unit_test(state_goes_on_in_another_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
