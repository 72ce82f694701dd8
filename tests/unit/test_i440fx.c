/* 440FX: shadow memory's read and write enables, ROM aliases, holes, SMRAM and its lock, state. */
#include "chipset/i440fx.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

enum { MIB = 1 << 20 };

typedef struct Fixture {
    Board *b;
    PciBus *bus;
    I440fx *fx;
    RamBlock *ram, *bios, *rom;
    Probe reset, init;
} Fixture;

static uint64_t vga_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)offset;
    (void)bytes;
    return 0x56;
}

static void vga_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    *(uint8_t *)self = (uint8_t)value;
}

static const IoOps vga_ops = {vga_read, vga_write, 1, 1};
static uint8_t vga_last[1];

static Fixture *fixture(uint32_t bios_size, uint32_t ram_size, bool expansion)
{
    Fixture *f = calloc(1, sizeof(*f));
    Err err = {""};
    f->b = chip_board();
    f->ram = ram_add(&f->b->ram, "ram", ram_size, &err);
    f->bios = ram_add(&f->b->ram, "bios", bios_size, &err);
    f->rom = expansion ? ram_add(&f->b->ram, "rom", 0x8000, &err) : NULL;
    for (uint32_t i = 0; i < bios_size; i += 0x1000) {
        ram_at(&f->b->ram, f->bios->at)[i] = (uint8_t)(i >> 12 | 0x80);
    }
    if (f->rom) {
        memset(ram_at(&f->b->ram, f->rom->at), 0xaa, 0x8000);
    }
    f->bus = pci_new(f->b, "pci");
    bus_claim(f->b->memory, 0xa0000, 0x20000, &vga_ops, vga_last, "vga");
    f->fx = i440fx_new(f->b,
                       &(I440fxConfig){.bus = f->bus,
                                       .ram = f->ram,
                                       .bios = f->bios,
                                       .expansion_rom = f->rom,
                                       .reset = chip_probe(f->b, &f->reset),
                                       .init = chip_probe(f->b, &f->init)},
                       "i440fx");
    board_reset(f->b, RESET_POWER);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    free(f);
}

static uint8_t get(Fixture *f, unsigned offset)
{
    return (uint8_t)chip_config(f->b, CHIP_PCI(0, 0), offset, 1);
}

static void put(Fixture *f, unsigned offset, uint8_t value)
{
    chip_set_config(f->b, CHIP_PCI(0, 0), offset, value, 1);
}

static uint8_t peek(Fixture *f, uint64_t addr)
{
    return (uint8_t)bus_read(f->b->memory, addr, 1);
}

static void poke(Fixture *f, uint64_t addr, uint8_t value)
{
    bus_write(f->b->memory, addr, value, 1);
}

static uint8_t *ram(Fixture *f, uint32_t addr)
{
    return ram_at(&f->b->ram, f->ram->at + addr);
}

static void identity_is_what_seabios_looks_for(void **state)
{
    (void)state;
    Fixture *f = fixture(0x40000, 64 * MIB, false);
    assert_int_equal(get(f, 0) | get(f, 1) << 8, 0x8086);
    assert_int_equal(get(f, 2) | get(f, 3) << 8, 0x1237);
    assert_int_equal(get(f, 0x2c) | get(f, 0x2d) << 8, 0x1af4);
    assert_int_equal(get(f, 0x2e) | get(f, 0x2f) << 8, 0x1100);
    assert_int_equal(get(f, 4), 6);
    assert_int_equal(get(f, 0x67), 8); /* the last row boundary: 64 MiB */
    done(f);
}

static void firmware_shows_at_the_top_and_its_end_below_1_mib(void **state)
{
    (void)state;
    Fixture *f = fixture(0x40000, 16 * MIB, false);
    assert_int_equal(peek(f, 0xfffc0000), 0x80);
    assert_int_equal(peek(f, 0xfffff000), 0xbf);
    assert_int_equal(peek(f, 0xff000), 0xbf);
    assert_int_equal(peek(f, 0xe0000), 0xa0);
    poke(f, 0xff000, 1);
    poke(f, 0xfffff000, 1);
    assert_int_equal(peek(f, 0xff000), 0xbf);
    assert_int_equal(*ram(f, 0xff000), 0);
    assert_int_equal(peek(f, 0xffffffff) | peek(f, 0xfffbffff), 0xff);
    done(f);
    f = fixture(0x20000, 16 * MIB, false);
    assert_int_equal(peek(f, 0xe0000), 0x80);
    assert_int_equal(peek(f, 0xfffe0000), 0x80);
    done(f);
    f = fixture(0x10000, 16 * MIB, false);
    assert_int_equal(peek(f, 0xf0000), 0x80);
    assert_int_equal(peek(f, 0xe0000), 0xff);
    done(f);
}

/* Each of the 13 segments with each of the four settings, and none of its neighbours moved. */
static void every_segment_obeys_its_own_bits(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false);
    for (unsigned i = 0; i < 13; i++) {
        uint32_t base = i ? 0xc0000 + (i - 1) * 0x4000 : 0xf0000;
        uint32_t last = base + (i ? 0x3fff : 0xffff);
        unsigned offset = 0x59 + (i + 1) / 2, shift = i == 0 || i % 2 == 0 ? 4 : 0;
        uint8_t rom_byte = i ? 0xff : 0x80;
        for (unsigned bits = 0; bits < 4; bits++) {
            put(f, offset, (uint8_t)(bits << shift));
            *ram(f, base) = 0x11;
            *ram(f, last) = 0x12;
            assert_int_equal(peek(f, base), bits & 1 ? 0x11 : rom_byte);
            poke(f, base, 0x33);
            poke(f, last, 0x34);
            assert_int_equal(*ram(f, base), bits & 2 ? 0x33 : 0x11);
            assert_int_equal(*ram(f, last), bits & 2 ? 0x34 : 0x12);
            if (bits & 1) {
                assert_int_equal(peek(f, last), bits & 2 ? 0x34 : 0x12);
            }
            if (i) {
                assert_int_equal(peek(f, last + 1), last + 1 == 0xf0000 ? 0x80 : 0xff);
            }
        }
        put(f, offset, 0);
    }
    done(f);
}

static void write_only_shadow_copies_rom_to_memory(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, true);
    assert_int_equal(peek(f, 0xc0000), 0xaa);
    assert_int_equal(peek(f, 0xc8000), 0xff); /* behind the card's ROM */
    put(f, 0x59, 0x20);
    put(f, 0x5a, 0x02);
    for (uint32_t at = 0; at < 16; at++) {
        poke(f, 0xf0000 + at, peek(f, 0xf0000 + at));
        poke(f, 0xc0000 + at, (uint8_t)(peek(f, 0xc0000 + at) + 1));
    }
    put(f, 0x59, 0x10);
    put(f, 0x5a, 0x01);
    assert_int_equal(peek(f, 0xf0000), 0x80);
    assert_int_equal(peek(f, 0xc0000), 0xab);
    poke(f, 0xc0000, 0);
    assert_int_equal(peek(f, 0xc0000), 0xab);
    done(f);
}

static void pam0_has_no_low_half(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false);
    put(f, 0x59, 0xff);
    assert_int_equal(get(f, 0x59), 0xf0);
    done(f);
}

static void holes_take_memory_away(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 32 * MIB, false);
    *ram(f, 0x80000) = *ram(f, 15 * MIB) = 0x5a;
    assert_int_equal(peek(f, 15 * MIB), 0x5a);
    put(f, 0x68, 0x80);
    assert_int_equal(peek(f, 15 * MIB), 0xff);
    assert_int_equal(peek(f, 16 * MIB), 0);
    put(f, 0x68, 0x40);
    assert_int_equal(peek(f, 15 * MIB), 0x5a);
    assert_int_equal(peek(f, 0x80000), 0xff);
    board_reset(f->b, RESET_HARD);
    assert_int_equal(peek(f, 0x80000), 0x5a);
    assert_int_equal(peek(f, 32 * MIB), 0xff); /* no more memory */
    done(f);
}

static void one_mebibyte_is_enough(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, MIB, false);
    poke(f, 0x9ffff, 7);
    assert_int_equal(peek(f, 0x9ffff), 7);
    assert_int_equal(peek(f, MIB), 0xff);
    put(f, 0x68, 0x80); /* a hole where there is no memory */
    done(f);
}

static void smram_is_seen_in_smm_or_when_open(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false);
    *ram(f, 0xa0000) = 0x99;
    assert_int_equal(get(f, 0x72), 0x02);
    assert_int_equal(peek(f, 0xa0000), 0x56);
    put(f, 0x72, 0x40); /* open without enable */
    assert_int_equal(peek(f, 0xa0000), 0x56);
    put(f, 0x72, 0x4a);
    assert_int_equal(peek(f, 0xa0000), 0x99);
    put(f, 0x72, 0x0a);
    assert_int_equal(peek(f, 0xa0000), 0x56);
    i440fx_smiact(f->fx, 0, true);
    assert_int_equal(peek(f, 0xa0000), 0x99);
    poke(f, 0xbffff, 0x77);
    assert_int_equal(*ram(f, 0xbffff), 0x77);
    i440fx_smiact(f->fx, 0, false);
    assert_int_equal(peek(f, 0xbffff), 0x56);
    done(f);
}

static void lock_keeps_smram_closed_until_reset(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false);
    put(f, 0x72, 0x5a);
    assert_int_equal(get(f, 0x72), 0x1a);
    put(f, 0x72, 0x4a);
    assert_int_equal(get(f, 0x72), 0x1a);
    assert_int_equal(peek(f, 0xa0000), 0x56);
    Fixture *other = fixture(0x10000, 16 * MIB, false);
    chip_state_round_trip(f->b, other->b);
    put(other, 0x72, 0x4a);
    assert_int_equal(get(other, 0x72), 0x1a); /* locked there too */
    done(other);
    board_reset(f->b, RESET_HARD);
    put(f, 0x72, 0x4a);
    assert_int_equal(get(f, 0x72), 0x4a);
    done(f);
}

static void turbo_reset_control_resets(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false);
    put(f, 0x93, 0x02);
    assert_int_equal(f->reset.rises, 0);
    put(f, 0x93, 0x06);
    assert_int_equal(f->reset.rises, 1);
    put(f, 0x93, 0x00);
    put(f, 0x93, 0x04);
    assert_int_equal(f->init.rises, 1);
    assert_int_equal(f->reset.rises, 1);
    done(f);
}

static void state_moves_the_map(void **state)
{
    (void)state;
    Fixture *f = fixture(0x10000, 16 * MIB, false), *other = fixture(0x10000, 16 * MIB, false);
    put(f, 0x5a, 0x33);
    put(f, 0x68, 0x80);
    put(f, 0x72, 0x0a);
    i440fx_smiact(f->fx, 0, true);
    chip_state_round_trip(f->b, other->b);
    *ram(other, 0xc0000) = 0x21;
    *ram(other, 0xa0000) = 0x22;
    assert_int_equal(peek(other, 0xc0000), 0x21);
    assert_int_equal(peek(other, 0xa0000), 0x22);
    assert_int_equal(peek(other, 15 * MIB), 0xff);
    done(f);
    done(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_is_what_seabios_looks_for),
        cmocka_unit_test(firmware_shows_at_the_top_and_its_end_below_1_mib),
        cmocka_unit_test(every_segment_obeys_its_own_bits),
        cmocka_unit_test(write_only_shadow_copies_rom_to_memory),
        cmocka_unit_test(pam0_has_no_low_half),
        cmocka_unit_test(holes_take_memory_away),
        cmocka_unit_test(one_mebibyte_is_enough),
        cmocka_unit_test(smram_is_seen_in_smm_or_when_open),
        cmocka_unit_test(lock_keeps_smram_closed_until_reset),
        cmocka_unit_test(turbo_reset_control_resets),
        cmocka_unit_test(state_moves_the_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
