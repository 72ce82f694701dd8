/* PIIX3: interrupt routing and sharing, reset control, state. */
#include "chipset/piix3.h"

#include <stdlib.h>

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    PciBus *bus;
    Piix3 *piix;
    PciFunction *card; /* device 4, INTA#: PIRQ D */
    Line isa10, isa5;
    Probe pic[16], ioapic[16], reset, init;
} Fixture;

static Fixture *fixture(void)
{
    Fixture *f = calloc(1, sizeof(*f));
    f->b = chip_board();
    f->bus = pci_new(f->b, "pci");
    Piix3Config config = {.bus = f->bus,
                          .device = 1,
                          .reset = chip_probe(f->b, &f->reset),
                          .init = chip_probe(f->b, &f->init)};
    for (unsigned i = 0; i < 16; i++) {
        config.pic[i] = chip_probe(f->b, &f->pic[i]);
        config.ioapic[i] = chip_probe(f->b, &f->ioapic[i]);
    }
    f->piix = piix3_new(f->b, &config, "piix3");
    f->isa10 = piix3_irq(f->piix, 10);
    f->isa5 = piix3_irq(f->piix, 5);
    f->card = pci_add(f->bus, 4, 0, &(PciIds){.vendor = 1, .interrupt_pin = 1}, NULL);
    board_reset(f->b, RESET_POWER);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    free(f);
}

static void route(Fixture *f, unsigned pirq, uint8_t value)
{
    chip_set_config(f->b, CHIP_PCI(1, 0), 0x60 + pirq, value, 1);
}

static void pirqs_are_off_at_first(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(chip_config(f->b, CHIP_PCI(1, 0), 0x60, 4), 0x80808080);
    pci_interrupt(f->card, true);
    for (unsigned i = 0; i < 16; i++) {
        assert_false(f->pic[i].level);
    }
    done(f);
}

static void routing_moves_an_asserted_interrupt(void **state)
{
    (void)state;
    Fixture *f = fixture();
    pci_interrupt(f->card, true);
    route(f, 3, 11);
    assert_true(f->pic[11].level && f->ioapic[11].level);
    route(f, 3, 9);
    assert_false(f->pic[11].level);
    assert_true(f->pic[9].level);
    route(f, 3, 0x80);
    assert_false(f->pic[9].level);
    done(f);
}

static void reserved_irqs_cannot_be_routed_to(void **state)
{
    (void)state;
    Fixture *f = fixture();
    pci_interrupt(f->card, true);
    for (unsigned irq = 0; irq < 16; irq++) {
        route(f, 3, (uint8_t)irq);
        bool allowed = irq > 2 && irq != 8 && irq != 13;
        for (unsigned i = 0; i < 16; i++) {
            assert_int_equal(f->pic[i].level, allowed && i == irq);
        }
    }
    done(f);
}

static void shared_lines_are_ored(void **state)
{
    (void)state;
    Fixture *f = fixture();
    route(f, 3, 10);
    line_set(&f->isa10, true);
    pci_interrupt(f->card, true);
    line_set(&f->isa10, false);
    assert_true(f->pic[10].level);
    pci_interrupt(f->card, false);
    assert_false(f->pic[10].level);
    assert_int_equal(f->pic[10].rises, 1);
    line_set(&f->isa5, true);
    assert_true(f->pic[5].level);
    assert_false(f->pic[10].level);
    done(f);
}

static void cf9_resets_on_the_rising_edge(void **state)
{
    (void)state;
    Fixture *f = fixture();
    chip_out(f->b, 0xcf9, 0x02);
    assert_int_equal(f->reset.rises, 0);
    chip_out(f->b, 0xcf9, 0x06);
    assert_int_equal(f->reset.rises, 1);
    chip_out(f->b, 0xcf9, 0x06);
    assert_int_equal(f->reset.rises, 1);
    assert_int_equal(chip_in(f->b, 0xcf9), 0x06);
    chip_out(f->b, 0xcf9, 0x00);
    chip_out(f->b, 0xcf9, 0x04);
    assert_int_equal(f->init.rises, 1);
    assert_int_equal(f->reset.rises, 1);
    board_reset(f->b, RESET_HARD);
    assert_int_equal(chip_in(f->b, 0xcf9), 0);
    done(f);
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture(), *other = fixture();
    route(f, 3, 10);
    pci_interrupt(f->card, true);
    line_set(&f->isa10, true);
    chip_out(f->b, 0xcf9, 0x02);
    chip_state_round_trip(f->b, other->b);
    line_set(&other->isa10, false);
    assert_int_equal(chip_in(other->b, 0xcf9), 0x02);
    pci_interrupt(other->card, false);
    assert_false(other->pic[10].level);
    line_set(&other->isa10, true);
    assert_true(other->pic[10].level);
    done(f);
    done(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pirqs_are_off_at_first),
        cmocka_unit_test(routing_moves_an_asserted_interrupt),
        cmocka_unit_test(reserved_irqs_cannot_be_routed_to),
        cmocka_unit_test(shared_lines_are_ored),
        cmocka_unit_test(cf9_resets_on_the_rising_edge),
        cmocka_unit_test(state_goes_on_in_another_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
