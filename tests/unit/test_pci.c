/* PCI bus: mechanism 1, BAR sizing and decoding, interrupt swizzle, bus mastering, reset, state. */
#include "chipset/pci.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

typedef struct Card {
    Device dev; /* only so that the board frees it */
    PciFunction *f;
    uint8_t port[16];
    uint32_t memory[4];
    unsigned written_offset, written_bytes, writes;
} Card;

typedef struct Fixture {
    Board *b;
    PciBus *bus;
    Card *card;
    RamBlock *rom, *vram, *ram;
    Probe pirq[4];
} Fixture;

static uint64_t port_read(void *self, uint32_t offset, unsigned bytes)
{
    Card *card = self;
    (void)bytes;
    return card->port[offset];
}

static void port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Card *card = self;
    (void)bytes;
    card->port[offset] = (uint8_t)value;
}

static uint64_t memory_read(void *self, uint32_t offset, unsigned bytes)
{
    Card *card = self;
    (void)bytes;
    return card->memory[offset / 4];
}

static void memory_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Card *card = self;
    (void)bytes;
    card->memory[offset / 4] = (uint32_t)value;
}

static const IoOps port_ops = {port_read, port_write, 1, 1};
static const IoOps memory_ops = {memory_read, memory_write, 4, 4};

static void written(void *self, unsigned offset, unsigned bytes)
{
    Card *card = self;
    card->written_offset = offset;
    card->written_bytes = bytes;
    card->writes++;
}

static void card_reset(Device *d, ResetKind kind)
{
    (void)d;
    (void)kind;
}

static void card_state(Device *d, StateIo *io)
{
    Card *card = (Card *)d;
    state_bytes(io, "port", card->port, sizeof(card->port));
}

static const DeviceType card_type = {
    .name = "card", .version = 1, .reset = card_reset, .state = card_state};

static const PciIds ids = {0x1234, 0x5678, 0x020001, 3, 0xaaaa, 0xbbbb, 1};

static Fixture fixture_at(unsigned device)
{
    Fixture f = {.b = chip_board()};
    Err err = {""};
    f.bus = pci_new(f.b, "pci");
    f.ram = ram_add(&f.b->ram, "ram", 0x10000, &err);
    f.rom = ram_add(&f.b->ram, "rom", 0x9c00, &err);
    f.vram = ram_add(&f.b->ram, "vram", 0x100000, &err);
    bus_claim_ram(f.b->memory, 0, 0x10000, &(RamView){true, true, f.ram->at, f.ram->at}, "ram");
    f.card = calloc(1, sizeof(*f.card));
    device_add(f.b, &f.card->dev, &card_type, "card");
    f.card->f = pci_add(f.bus, device, 0, &ids, f.card);
    pci_bar_io(f.card->f, 0, 16, &port_ops, "card ports");
    pci_bar_memory(f.card->f, 1, 16, false, &memory_ops, "card registers");
    pci_bar_ram(f.card->f, 2, f.vram, "card memory");
    pci_rom(f.card->f, f.rom, "card rom");
    pci_config(f.card->f)[0x40] = 0x5a;
    pci_writable(f.card->f)[0x40] = 0x0f;
    pci_on_write(f.card->f, written);
    return f;
}

/* The probes must not move any more. */
static void watch(Fixture *f)
{
    for (unsigned i = 0; i < 4; i++) {
        pci_connect(f->bus, i, chip_probe(f->b, &f->pirq[i]));
    }
}

static Fixture fixture(void)
{
    Fixture f = fixture_at(3);
    board_reset(f.b, RESET_POWER);
    return f;
}

static void address(Fixture *f, unsigned device, unsigned offset)
{
    bus_write(f->b->ports, 0xcf8, 0x80000000u | device << 11 | (offset & 0xfc), 4);
}

static uint32_t get(Fixture *f, unsigned offset, unsigned bytes)
{
    address(f, 3, offset);
    return (uint32_t)bus_read(f->b->ports, 0xcfc + (offset & 3), bytes);
}

static void put(Fixture *f, unsigned offset, uint32_t value, unsigned bytes)
{
    address(f, 3, offset);
    bus_write(f->b->ports, 0xcfc + (offset & 3), value, bytes);
}

static void ids_are_where_the_header_has_them(void **state)
{
    (void)state;
    Fixture f = fixture();
    assert_int_equal(get(&f, 0, 4), 0x56781234);
    assert_int_equal(get(&f, 8, 4), 0x02000103);
    assert_int_equal(get(&f, 0xb, 1), 0x02);
    assert_int_equal(get(&f, 0x2c, 4), 0xbbbbaaaa);
    assert_int_equal(get(&f, 0x3d, 1), 1);
    assert_int_equal(get(&f, 0xe, 1), 0);
    put(&f, 0, 0, 4);
    assert_int_equal(get(&f, 0, 4), 0x56781234);
    board_free(f.b);
}

static void address_register_takes_only_doublewords(void **state)
{
    (void)state;
    Fixture f = fixture();
    address(&f, 3, 0);
    bus_write(f.b->ports, 0xcf8, 0, 1);
    bus_write(f.b->ports, 0xcfa, 0, 2);
    assert_int_equal(bus_read(f.b->ports, 0xcf8, 4), 0x80001800);
    assert_int_equal(bus_read(f.b->ports, 0xcf8, 1), 0xff);
    assert_int_equal(bus_read(f.b->ports, 0xcfb, 1), 0xff);
    bus_write(f.b->ports, 0xcf8, 0xffffffff, 4);
    assert_int_equal(bus_read(f.b->ports, 0xcf8, 4), 0x80fffffc);
    board_free(f.b);
}

static void nobody_there_reads_ones(void **state)
{
    (void)state;
    Fixture f = fixture();
    address(&f, 4, 0);
    assert_int_equal(bus_read(f.b->ports, 0xcfc, 4), 0xffffffff);
    bus_write(f.b->ports, 0xcf8, 0x80001900, 4); /* function 1 of device 3 */
    assert_int_equal(bus_read(f.b->ports, 0xcfc, 2), 0xffff);
    bus_write(f.b->ports, 0xcf8, 0x80011800, 4); /* bus 1 */
    assert_int_equal(bus_read(f.b->ports, 0xcfc, 4), 0xffffffff);
    bus_write(f.b->ports, 0xcf8, 0x00001800, 4); /* not enabled */
    assert_int_equal(bus_read(f.b->ports, 0xcfc, 4), 0xffffffff);
    bus_write(f.b->ports, 0xcfc, 0, 4);
    board_free(f.b);
}

static void bars_tell_their_size(void **state)
{
    (void)state;
    Fixture f = fixture();
    put(&f, 0x10, 0xffffffff, 4);
    assert_int_equal(get(&f, 0x10, 4), 0xfffffff1);
    put(&f, 0x14, 0xffffffff, 4);
    assert_int_equal(get(&f, 0x14, 4), 0xfffffff0);
    put(&f, 0x18, 0xffffffff, 4);
    assert_int_equal(get(&f, 0x18, 4), 0xfff00008);
    put(&f, 0x1c, 0xffffffff, 4);
    assert_int_equal(get(&f, 0x1c, 4), 0);
    put(&f, 0x30, 0xfffffffe, 4);
    assert_int_equal(get(&f, 0x30, 4), 0xffff0000);
    board_free(f.b);
}

static void bars_decode_as_the_command_register_says(void **state)
{
    (void)state;
    Fixture f = fixture();
    f.card->port[5] = 0x77;
    f.card->memory[1] = 0x12345678;
    put(&f, 0x10, 0xc000, 4);
    put(&f, 0x14, 0xe0000000, 4);
    assert_int_equal(bus_read(f.b->ports, 0xc005, 1), 0xff);
    assert_true(pci_bar_base(f.card->f, 0) == UINT64_MAX);
    put(&f, 4, PCI_COMMAND_IO, 2);
    assert_int_equal(bus_read(f.b->ports, 0xc005, 1), 0x77);
    assert_int_equal(pci_bar_base(f.card->f, 0), 0xc000);
    assert_int_equal(bus_read(f.b->memory, 0xe0000004, 4), 0xffffffff);
    put(&f, 4, PCI_COMMAND_MEMORY, 2);
    assert_int_equal(bus_read(f.b->ports, 0xc005, 1), 0xff);
    assert_int_equal(bus_read(f.b->memory, 0xe0000004, 4), 0x12345678);
    put(&f, 0x16, 0xe100, 2); /* the upper half alone moves it */
    assert_int_equal(bus_read(f.b->memory, 0xe0000004, 4), 0xffffffff);
    assert_int_equal(bus_read(f.b->memory, 0xe1000004, 4), 0x12345678);
    board_free(f.b);
}

static void memory_blocks_appear_and_rom_ignores_writes(void **state)
{
    (void)state;
    Fixture f = fixture();
    ram_at(&f.b->ram, f.rom->at)[0] = 0x55;
    put(&f, 0x18, 0xf0000000, 4);
    put(&f, 0x30, 0xf8000000, 4);
    put(&f, 4, PCI_COMMAND_MEMORY, 2);
    bus_write(f.b->memory, 0xf00ffffc, 0xcafe, 4);
    assert_int_equal(bus_read(f.b->memory, 0xf00ffffc, 4), 0xcafe);
    assert_int_equal(bus_read(f.b->memory, 0xf8000000, 1), 0xff);
    put(&f, 0x30, 0xf8000001, 4);
    assert_int_equal(bus_read(f.b->memory, 0xf8000000, 1), 0x55);
    bus_write(f.b->memory, 0xf8000000, 0, 1);
    assert_int_equal(bus_read(f.b->memory, 0xf8000000, 1), 0x55);
    assert_int_equal(bus_read(f.b->memory, 0xf800f000, 1), 0xff); /* behind the ROM's end */
    board_free(f.b);
}

static void sizing_with_decoding_on_hides_nothing(void **state)
{
    (void)state;
    Fixture f = fixture();
    bus_claim_ram(f.b->memory, 0xffff0000, 0x10000, &(RamView){true, false, f.ram->at, f.ram->at},
                  "bios");
    put(&f, 4, PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 2);
    put(&f, 0x18, 0xffffffff, 4);
    put(&f, 0x10, 0xffffffff, 4);
    assert_int_equal(bus_read(f.b->memory, 0xfffffff0, 1), 0);
    assert_int_equal(bus_read(f.b->memory, 0xfff00000, 1), 0xff);
    /* system memory is in front of a BAR placed over it */
    put(&f, 0x14, 0x1000, 4);
    f.card->memory[0] = 0x99;
    assert_int_equal(bus_read(f.b->memory, 0x1000, 4), 0);
    board_free(f.b);
}

static void masks_limit_writes_and_the_chip_hears_of_them(void **state)
{
    (void)state;
    Fixture f = fixture();
    put(&f, 0x40, 0xa5, 1);
    assert_int_equal(get(&f, 0x40, 1), 0x55);
    assert_int_equal(f.card->written_offset, 0x40);
    assert_int_equal(f.card->written_bytes, 1);
    put(&f, 4, 0xffff, 2);
    assert_int_equal(get(&f, 4, 2), 0x0147);
    pci_config(f.card->f)[7] |= 0x30; /* target and master abort */
    assert_int_equal(get(&f, 6, 2), 0x3200);
    put(&f, 6, 0x2000, 2);
    assert_int_equal(get(&f, 6, 2), 0x1200);
    put(&f, 0x3c, 0xff0b, 2); /* line is writable, pin is not */
    assert_int_equal(get(&f, 0x3c, 2), 0x010b);
    board_free(f.b);
}

static void interrupt_pins_are_swizzled_and_shared(void **state)
{
    (void)state;
    for (unsigned device = 1; device < 6; device++) {
        Fixture f = fixture_at(device);
        PciIds other_ids = ids;
        other_ids.interrupt_pin = 2;
        PciFunction *other = pci_add(f.bus, device - 1, 1, &other_ids, f.card);
        watch(&f);
        board_reset(f.b, RESET_POWER);
        unsigned pirq = (device - 1) % 4;
        pci_interrupt(f.card->f, true);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(f.pirq[i].level, i == pirq);
        }
        pci_interrupt(other, true);
        pci_interrupt(f.card->f, false);
        assert_true(f.pirq[pirq].level);
        pci_interrupt(other, false);
        assert_false(f.pirq[pirq].level);
        board_free(f.b);
    }
}

static void second_function_marks_the_first_as_multifunction(void **state)
{
    (void)state;
    Fixture f = fixture_at(3);
    PciFunction *second = pci_add(f.bus, 3, 1, &ids, f.card);
    board_reset(f.b, RESET_POWER);
    assert_int_equal(pci_config(f.card->f)[PCI_HEADER_TYPE], 0x80);
    assert_int_equal(pci_config(second)[PCI_HEADER_TYPE], 0);
    board_free(f.b);
}

static void dma_needs_bus_master_enable(void **state)
{
    (void)state;
    Fixture f = fixture();
    uint8_t data[4] = {1, 2, 3, 4};
    assert_false(pci_dma(f.card->f, 0x100, data, 4, true));
    assert_int_equal(bus_read(f.b->memory, 0x100, 4), 0);
    assert_false(pci_dma(f.card->f, 0x100, data, 4, false));
    assert_int_equal(data[0], 0xff);
    put(&f, 4, PCI_COMMAND_MASTER, 2);
    data[0] = 0x11;
    assert_true(pci_dma(f.card->f, 0x100, data, 1, true));
    assert_int_equal(bus_read(f.b->memory, 0x100, 4), 0x11);
    assert_false(pci_dma(f.card->f, 0x20000, data, 4, false)); /* nobody there */
    board_free(f.b);
}

static void reset_brings_back_the_defaults(void **state)
{
    (void)state;
    Fixture f = fixture();
    watch(&f);
    put(&f, 0x10, 0xc000, 4);
    put(&f, 4, 3, 2);
    put(&f, 0x40, 0, 1);
    pci_interrupt(f.card->f, true);
    board_reset(f.b, RESET_HARD);
    assert_int_equal(bus_read(f.b->ports, 0xcf8, 4), 0);
    assert_int_equal(get(&f, 0x10, 4), 1);
    assert_int_equal(get(&f, 4, 2), 0);
    assert_int_equal(get(&f, 0x40, 1), 0x5a);
    assert_int_equal(bus_read(f.b->ports, 0xc000, 1), 0xff);
    assert_false(f.pirq[2].level);
    board_free(f.b);
}

static void state_moves_bars_and_interrupts(void **state)
{
    (void)state;
    Fixture f = fixture(), other = fixture();
    watch(&f);
    watch(&other);
    f.card->port[0] = 0x42;
    put(&f, 0x10, 0xc100, 4);
    put(&f, 4, 3, 2);
    pci_interrupt(f.card->f, true);
    chip_state_round_trip(f.b, other.b);
    assert_int_equal(bus_read(other.b->ports, 0xc100, 1), 0x42);
    assert_true(other.pirq[2].level);
    board_free(f.b);
    board_free(other.b);
}

static void state_of_another_board_is_refused(void **state)
{
    (void)state;
    Fixture f = fixture(), other = fixture_at(4);
    board_reset(other.b, RESET_POWER);
    size_t size;
    Err err = {""};
    StateIo *saver = state_saver_new();
    board_state(f.b, saver);
    const uint8_t *bytes = state_finish(saver, &size);
    StateIo *loader = state_loader_new(bytes, size, &err);
    board_state(other.b, loader);
    assert_false(state_ok(loader));
    assert_non_null(strstr(state_error(loader), "other PCI functions"));
    state_free(loader);
    state_free(saver);
    board_free(f.b);
    board_free(other.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_where_the_header_has_them),
        cmocka_unit_test(address_register_takes_only_doublewords),
        cmocka_unit_test(nobody_there_reads_ones),
        cmocka_unit_test(bars_tell_their_size),
        cmocka_unit_test(bars_decode_as_the_command_register_says),
        cmocka_unit_test(memory_blocks_appear_and_rom_ignores_writes),
        cmocka_unit_test(sizing_with_decoding_on_hides_nothing),
        cmocka_unit_test(masks_limit_writes_and_the_chip_hears_of_them),
        cmocka_unit_test(interrupt_pins_are_swizzled_and_shared),
        cmocka_unit_test(second_function_marks_the_first_as_multifunction),
        cmocka_unit_test(dma_needs_bus_master_enable),
        cmocka_unit_test(reset_brings_back_the_defaults),
        cmocka_unit_test(state_moves_bars_and_interrupts),
        cmocka_unit_test(state_of_another_board_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
