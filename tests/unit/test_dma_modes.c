/* 8237A: random programs against a model of the data sheet that moves one transfer at a time, each
 * channel's own bits, and the registers' places. test_dma.c has the rest. */
#include "chipset/dma.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

enum { RAM_SIZE = 0x1000000, ROUNDS = 3000 };

typedef struct Fixture {
    Board *b;
    Dma *dma;
    uint8_t *ram;
} Fixture;

static void fixture(Fixture *f)
{
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    f->dma = dma_new(f->b, "dma");
    board_reset(f->b, RESET_POWER);
    chip_out(f->b, 0xd6, 0xc0);
    chip_out(f->b, 0xd4, 0x00);
}

static const uint16_t page_port[8] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};

static uint16_t port(unsigned n, unsigned reg)
{
    return (uint16_t)(n < 4 ? reg : 0xc0 + 2 * reg);
}

static uint16_t own(unsigned n, bool count)
{
    return port(n, (n & 3) * 2 + count);
}

static void write_word(Board *b, unsigned n, bool count, uint16_t value)
{
    chip_out(b, port(n, 12), 0);
    chip_out(b, own(n, count), (uint8_t)value);
    chip_out(b, own(n, count), (uint8_t)(value >> 8));
}

static unsigned read_word(Board *b, unsigned n, bool count)
{
    chip_out(b, port(n, 12), 0);
    unsigned low = chip_in(b, own(n, count));
    return low | (unsigned)chip_in(b, own(n, count)) << 8;
}

/* --- the model: one transfer is what the data sheet says of one --- */

typedef struct Model {
    uint16_t base_address, address, base_count, count;
    uint8_t page, mode;
    bool masked, terminal;
} Model;

/* Moves one byte or word; true: the terminal count. */
static bool model_step(Model *m, bool wide, uint8_t *ram, uint8_t *data, bool device_writes)
{
    unsigned size = wide ? 2 : 1, kind = m->mode & 0x0c;
    uint32_t at = wide ? (uint32_t)(m->page & 0xfe) << 16 | (uint32_t)m->address << 1
                       : (uint32_t)m->page << 16 | m->address;
    for (unsigned i = 0; i < size; i++) {
        if (kind == 0x04) { /* to memory, from whoever drives the bus */
            ram[at + i] = device_writes ? data[i] : 0xff;
        }
        if (!device_writes) { /* the device takes what is on the bus */
            data[i] = kind == 0x08 ? ram[at + i] : 0xff;
        }
    }
    m->address = (uint16_t)(m->address + (m->mode & 0x20 ? -1 : 1));
    if (m->count-- != 0) {
        return false;
    }
    m->terminal = true;
    if (m->mode & 0x10) {
        m->address = m->base_address;
        m->count = m->base_count;
    } else {
        m->masked = true;
    }
    return true;
}

static size_t model_transfer(Model *m, bool wide, uint8_t *ram, uint8_t *data, size_t length,
                             bool device_writes, bool *terminal)
{
    size_t size = wide ? 2 : 1, done = 0;
    *terminal = false;
    while (!m->masked && !*terminal && done + size <= length) {
        *terminal = model_step(m, wide, ram, data + done, device_writes);
        done += size;
    }
    return done;
}

static void model_program(Model *m, Board *b, unsigned n)
{
    /* near the ends of pages, and short counts, more often than not */
    uint16_t address = (uint16_t)(rand() % 2 ? rand() : rand() % 64 - 32);
    uint16_t count = (uint16_t)(rand() % 4 ? rand() % 300 : rand());
    uint8_t mode = (uint8_t)(rand() % 3 << 2 | rand() % 4 << 4 | rand() % 3 << 6);
    *m = (Model){address, address, count, count, (uint8_t)rand(), mode, false, m->terminal};
    write_word(b, n, false, address);
    write_word(b, n, true, count);
    chip_out(b, page_port[n], m->page);
    chip_out(b, port(n, 11), mode | (n & 3));
    chip_out(b, port(n, 10), n & 3);
}

static void random_programs(void **state)
{
    (void)state;
    Fixture f;
    Model model[8] = {{0}};
    uint8_t *ram = calloc(1, RAM_SIZE);
    fixture(&f);
    srand(1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned n = (unsigned)rand() % 8;
        if (n == 4) {
            continue;
        }
        Model *m = &model[n];
        if (round < 16 || rand() % 4 == 0 || m->base_count == 0) {
            model_program(m, f.b, n);
        }
        uint8_t data[600], wanted[600];
        size_t length = (size_t)rand() % (sizeof(data) + 1);
        bool device_writes = rand() % 2, ended = false, wanted_end;
        for (size_t i = 0; i < sizeof(data); i++) {
            data[i] = wanted[i] = (uint8_t)rand();
        }
        DmaLine line = dma_line(f.dma, n);
        size_t moved = dma_transfer(&line, data, length, device_writes, &ended);
        size_t expected =
            model_transfer(m, n >= 4, ram, wanted, length, device_writes, &wanted_end);
        assert_int_equal(moved, expected);
        assert_true(expected == 0 || ended == wanted_end);
        assert_memory_equal(data, wanted, sizeof(data));
        assert_int_equal(read_word(f.b, n, false), m->address);
        assert_int_equal(read_word(f.b, n, true), m->count);
        if (rand() % 8 == 0) {
            unsigned first = n & 4;
            uint8_t status = chip_in(f.b, port(n, 8)), mask = chip_in(f.b, port(n, 15));
            for (unsigned i = 0; i < 4; i++) {
                if (first + i != 4) {
                    assert_int_equal(status >> i & 1, model[first + i].terminal);
                    model[first + i].terminal = false;
                    if (model[first + i].base_count) { /* programmed before */
                        assert_int_equal(mask >> i & 1, model[first + i].masked);
                    }
                }
            }
        }
    }
    assert_memory_equal(f.ram, ram, RAM_SIZE);
    free(ram);
    board_free(f.b);
}

/* --- registers --- */

static void each_channel_has_its_own(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (unsigned n = 0; n < 8; n++) {
        write_word(f.b, n, false, (uint16_t)(0x1111 * (n + 1)));
        write_word(f.b, n, true, (uint16_t)(0x0123 * (n + 1)));
    }
    for (unsigned n = 0; n < 8; n++) {
        assert_int_equal(read_word(f.b, n, false), 0x1111 * (n + 1));
        assert_int_equal(read_word(f.b, n, true), 0x0123 * (n + 1));
    }
    board_free(f.b);
}

static void masks_one_by_one_and_together(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (unsigned first = 0; first < 8; first += 4) {
        chip_out(f.b, port(first, 15), 0x0f);
        for (unsigned i = 0; i < 4; i++) {
            chip_out(f.b, port(first, 10), (uint8_t)i);
            assert_int_equal(chip_in(f.b, port(first, 15)) & 15, 15 & (0xf << (i + 1)));
        }
        for (unsigned i = 0; i < 4; i++) {
            chip_out(f.b, port(first, 10), (uint8_t)(4 | i));
            assert_int_equal(chip_in(f.b, port(first, 15)) & 15, 15 >> (3 - i));
        }
        for (uint8_t all = 0; all < 16; all++) {
            chip_out(f.b, port(first, 15), all);
            assert_int_equal(chip_in(f.b, port(first, 15)) & 15, all);
        }
        chip_out(f.b, port(first, 14), 0xff);
        assert_int_equal(chip_in(f.b, port(first, 15)) & 15, 0);
        chip_out(f.b, port(first, 13), 0xff);
        assert_int_equal(chip_in(f.b, port(first, 15)) & 15, 15);
    }
    board_free(f.b);
}

static void the_flip_flops_are_two(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    write_word(f.b, 1, false, 0x1234);
    write_word(f.b, 5, false, 0x5678);
    chip_out(f.b, 0x0c, 0);
    chip_out(f.b, 0xd8, 0);
    assert_int_equal(chip_in(f.b, 0x02), 0x34);
    assert_int_equal(chip_in(f.b, 0xc4), 0x78); /* at its low byte yet */
    assert_int_equal(chip_in(f.b, 0x02), 0x12);
    assert_int_equal(chip_in(f.b, 0xc4), 0x56);
    assert_int_equal(chip_in(f.b, 0x02), 0x34);
    chip_out(f.b, 0x0b, 0x45); /* a mode does not turn it */
    chip_out(f.b, 0x0a, 0x01);
    assert_int_equal(chip_in(f.b, 0x02), 0x12);
    board_free(f.b);
}

static void the_second_shows_at_even_and_odd_ports(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0xd9, 0);
    chip_out(f.b, 0xc5, 0x21);
    chip_out(f.b, 0xc4, 0x43);
    assert_int_equal(read_word(f.b, 5, false), 0x4321);
    chip_out(f.b, 0xdf, 0x0a);
    assert_int_equal(chip_in(f.b, 0xde) & 15, 0x0a);
    board_free(f.b);
}

/* Base registers keep what was written, whatever the current ones do. */
static void auto_init_takes_what_was_written(void **state)
{
    (void)state;
    Fixture f;
    bool tc;
    uint8_t data[16] = {0};
    fixture(&f);
    for (unsigned n = 0; n < 8; n++) {
        if (n == 4) {
            continue;
        }
        bool wide = n > 4;
        DmaLine line = dma_line(f.dma, n);
        chip_out(f.b, page_port[n], 0x02);
        write_word(f.b, n, false, 0x0004);
        write_word(f.b, n, true, 7);
        chip_out(f.b, port(n, 11), 0x74 | (n & 3)); /* downwards, over the end of the page */
        chip_out(f.b, port(n, 10), n & 3);
        for (unsigned turn = 0; turn < 3; turn++) {
            assert_int_equal(dma_transfer(&line, data, wide ? 10 : 5, true, &tc), wide ? 10 : 5);
            assert_false(tc);
            assert_int_equal(read_word(f.b, n, false), 0xffff);
            assert_int_equal(read_word(f.b, n, true), 2);
            assert_int_equal(dma_transfer(&line, data, 16, true, &tc), wide ? 6 : 3);
            assert_true(tc);
            assert_int_equal(read_word(f.b, n, false), 0x0004);
            assert_int_equal(read_word(f.b, n, true), 7);
        }
        assert_int_equal(chip_in(f.b, port(n, 8)) & 15, 1 << (n & 3));
    }
    board_free(f.b);
}

/* A half written address counts at once in both registers, as the chip has no more. */
static void one_byte_at_a_time(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    write_word(f.b, 2, false, 0x1234);
    chip_out(f.b, 0x0c, 0);
    chip_out(f.b, 0x04, 0xff);
    assert_int_equal(read_word(f.b, 2, false), 0x12ff);
    chip_out(f.b, 0x0c, 0);
    chip_in(f.b, 0x04); /* a read turns it as well */
    chip_out(f.b, 0x04, 0xee);
    assert_int_equal(read_word(f.b, 2, false), 0xeeff);
    board_free(f.b);
}

/* The page is read when a byte moves, and no transfer carries into it. */
static void pages_may_change_between_bytes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 3);
    write_word(f.b, 3, false, 0xffff);
    write_word(f.b, 3, true, 9);
    chip_out(f.b, 0x82, 0x05);
    chip_out(f.b, 0x0b, 0x47);
    chip_out(f.b, 0x0a, 0x03);
    dma_transfer(&line, "ab", 2, true, NULL);
    assert_int_equal(chip_in(f.b, 0x82), 0x05);
    chip_out(f.b, 0x82, 0x06);
    dma_transfer(&line, "c", 1, true, NULL);
    assert_int_equal(f.ram[0x5ffff], 'a');
    assert_int_equal(f.ram[0x50000], 'b');
    assert_int_equal(f.ram[0x60001], 'c');
    board_free(f.b);
}

/* Single, block and demand mode differ in who asks: each moves what the device offers. */
static void the_three_kinds_of_transfer(void **state)
{
    (void)state;
    for (unsigned select = 0; select < 3; select++) {
        Fixture f;
        bool tc;
        fixture(&f);
        DmaLine line = dma_line(f.dma, 1);
        chip_out(f.b, 0x83, 0x03);
        write_word(f.b, 1, false, 0x8000);
        write_word(f.b, 1, true, 5);
        chip_out(f.b, 0x0b, (uint8_t)(select << 6 | 0x05));
        chip_out(f.b, 0x0a, 0x01);
        assert_int_equal(dma_transfer(&line, "a", 1, true, &tc), 1);
        assert_int_equal(dma_transfer(&line, "bcdefgh", 7, true, &tc), 5);
        assert_true(tc);
        assert_memory_equal(f.ram + 0x38000, "abcdef\0", 7);
        board_free(f.b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
        cmocka_unit_test(each_channel_has_its_own),
        cmocka_unit_test(masks_one_by_one_and_together),
        cmocka_unit_test(the_flip_flops_are_two),
        cmocka_unit_test(the_second_shows_at_even_and_odd_ports),
        cmocka_unit_test(auto_init_takes_what_was_written),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(pages_may_change_between_bytes),
        cmocka_unit_test(the_three_kinds_of_transfer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
