/* 8237A pair: addresses, pages, wraps, decrement, auto-init, masks, cascade, verify, state. */
#include "chipset/dma.h"

#include <string.h>

#include "tests/unit/chip.h"

#define RAM_SIZE 0x100000u

typedef struct Fixture {
    Board *b;
    Dma *dma;
    uint8_t *ram;
    unsigned readies;
} Fixture;

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    f->dma = dma_new(f->b, "dma");
    board_reset(f->b, RESET_POWER);
    chip_out(f->b, 0xd6, 0xc0); /* channel 4: cascade */
    chip_out(f->b, 0xd4, 0x00); /* unmask it */
}

/* Programs a channel of the first controller and unmasks it. */
static void program(Board *b, unsigned n, uint8_t mode, uint32_t address, uint16_t count)
{
    static const uint16_t page[8] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
    unsigned step = n < 4 ? 1 : 2;
    uint16_t base = n < 4 ? 0 : 0xc0;
    uint16_t offset = (uint16_t)(n < 4 ? address : address >> 1);
    chip_out(b, (uint16_t)(base + 12 * step), 0);
    chip_out(b, (uint16_t)(base + (n & 3) * 2 * step), (uint8_t)offset);
    chip_out(b, (uint16_t)(base + (n & 3) * 2 * step), (uint8_t)(offset >> 8));
    chip_out(b, (uint16_t)(base + ((n & 3) * 2 + 1) * step), (uint8_t)count);
    chip_out(b, (uint16_t)(base + ((n & 3) * 2 + 1) * step), (uint8_t)(count >> 8));
    chip_out(b, page[n], (uint8_t)(address >> 16));
    chip_out(b, (uint16_t)(base + 11 * step), (uint8_t)(mode | (n & 3)));
    chip_out(b, (uint16_t)(base + 10 * step), (uint8_t)(n & 3));
}

static unsigned read_word(Board *b, uint16_t port)
{
    chip_out(b, 0x0c, 0);
    unsigned low = chip_in(b, port);
    return low | (unsigned)chip_in(b, port) << 8;
}

static void moves_to_memory_and_counts_to_the_end(void **state)
{
    (void)state;
    Fixture f;
    bool tc;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 2);
    program(f.b, 2, 0x44, 0x12345, 9);
    assert_int_equal(dma_transfer(&line, "abcd", 4, true, &tc), 4);
    assert_false(tc);
    assert_memory_equal(f.ram + 0x12345, "abcd", 4);
    assert_int_equal(read_word(f.b, 4), 0x2349);
    assert_int_equal(read_word(f.b, 5), 5);
    assert_int_equal(dma_transfer(&line, "efghijkl", 8, true, &tc), 6);
    assert_true(tc);
    assert_memory_equal(f.ram + 0x12345, "abcdefghij\0\0", 12);
    assert_int_equal(read_word(f.b, 5), 0xffff);
    assert_int_equal(chip_in(f.b, 0x08), 0x04);
    assert_int_equal(chip_in(f.b, 0x08), 0); /* reading clears it */
    assert_int_equal(chip_in(f.b, 0x0f), 0xff);
    assert_int_equal(dma_transfer(&line, "x", 1, true, &tc), 0); /* masked by the end */
    board_free(f.b);
}

static void reads_memory(void **state)
{
    (void)state;
    Fixture f;
    uint8_t data[8];
    fixture(&f);
    DmaLine line = dma_line(f.dma, 1);
    memcpy(f.ram + 0x2000, "12345678", 8);
    program(f.b, 1, 0x48, 0x2000, 7);
    assert_int_equal(dma_transfer(&line, data, 8, false, NULL), 8);
    assert_memory_equal(data, "12345678", 8);
    board_free(f.b);
}

static void words_on_the_second_controller(void **state)
{
    (void)state;
    Fixture f;
    bool tc;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 5);
    program(f.b, 5, 0x44, 0x3f000, 3);
    assert_int_equal(dma_transfer(&line, "abcdefghij", 5, true, &tc), 4);
    assert_int_equal(dma_transfer(&line, "efghij", 6, true, &tc), 4);
    assert_true(tc);
    assert_memory_equal(f.ram + 0x3f000, "abcdefgh\0", 9);
    assert_int_equal(chip_in(f.b, 0xd0), 0x02);
    board_free(f.b);
}

static void addresses_wrap_within_the_page(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 3);
    program(f.b, 3, 0x44, 0x4fffe, 3);
    dma_transfer(&line, "abcd", 4, true, NULL);
    assert_memory_equal(f.ram + 0x4fffe, "ab", 2);
    assert_memory_equal(f.ram + 0x40000, "cd", 2);
    DmaLine wide = dma_line(f.dma, 7);
    program(f.b, 7, 0x44, 0x7fffe, 1); /* page bit 0 is not used: 128 KiB from 60000h */
    dma_transfer(&wide, "efgh", 4, true, NULL);
    assert_memory_equal(f.ram + 0x7fffe, "ef", 2);
    assert_memory_equal(f.ram + 0x60000, "gh", 2);
    board_free(f.b);
}

static void addresses_can_count_down(void **state)
{
    (void)state;
    Fixture f;
    uint8_t data[4];
    fixture(&f);
    DmaLine line = dma_line(f.dma, 2);
    program(f.b, 2, 0x64, 0x50001, 3);
    dma_transfer(&line, "abcd", 4, true, NULL);
    assert_memory_equal(f.ram + 0x50000, "ba", 2);
    assert_memory_equal(f.ram + 0x5fffe, "dc", 2);
    assert_int_equal(read_word(f.b, 4), 0xfffd);
    program(f.b, 2, 0x68, 0x50001, 1);
    dma_transfer(&line, data, 2, false, NULL);
    assert_memory_equal(data, "ab", 2);
    DmaLine wide = dma_line(f.dma, 5);
    program(f.b, 5, 0x64, 0x30004, 1);
    dma_transfer(&wide, "abcd", 4, true, NULL);
    assert_memory_equal(f.ram + 0x30002, "cdab", 4);
    board_free(f.b);
}

static void auto_init_starts_over(void **state)
{
    (void)state;
    Fixture f;
    bool tc;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 1);
    program(f.b, 1, 0x54, 0x1000, 3);
    assert_int_equal(dma_transfer(&line, "abcdef", 6, true, &tc), 4); /* stops at the end */
    assert_true(tc);
    assert_int_equal(read_word(f.b, 2), 0x1000);
    assert_int_equal(read_word(f.b, 3), 3);
    assert_int_equal(chip_in(f.b, 0x0f) & 2, 0);
    assert_int_equal(dma_transfer(&line, "ef", 2, true, &tc), 2);
    assert_memory_equal(f.ram + 0x1000, "efcd", 4);
    board_free(f.b);
}

static void verify_counts_but_moves_nothing(void **state)
{
    (void)state;
    Fixture f;
    bool tc;
    uint8_t data[4] = {0};
    fixture(&f);
    DmaLine line = dma_line(f.dma, 2);
    program(f.b, 2, 0x40, 0x1000, 7);
    assert_int_equal(dma_transfer(&line, "abcd", 4, true, &tc), 4);
    assert_memory_equal(f.ram + 0x1000, "\0\0\0\0", 4);
    assert_int_equal(dma_transfer(&line, data, 4, false, &tc), 4);
    assert_memory_equal(data, "\xff\xff\xff\xff", 4);
    assert_true(tc);
    board_free(f.b);
}

static void wrong_direction_leaves_the_bus_afloat(void **state)
{
    (void)state;
    Fixture f;
    uint8_t data[4] = {0};
    fixture(&f);
    DmaLine line = dma_line(f.dma, 2);
    memcpy(f.ram + 0x1000, "wxyz", 4);
    program(f.b, 2, 0x48, 0x1000, 3);
    assert_int_equal(dma_transfer(&line, "abcd", 4, true, NULL), 4);
    assert_memory_equal(f.ram + 0x1000, "wxyz", 4);
    program(f.b, 2, 0x44, 0x1000, 1);
    assert_int_equal(dma_transfer(&line, data, 4, false, NULL), 2);
    assert_memory_equal(data, "\xff\xff\0\0", 4);
    assert_memory_equal(f.ram + 0x1000, "\xff\xffyz", 4);
    board_free(f.b);
}

static void masks_command_and_cascade_hold_the_channel(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 1);
    program(f.b, 1, 0x44, 0x1000, 0xffff);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 1);
    chip_out(f.b, 0x0a, 0x05);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    chip_out(f.b, 0x0e, 0);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 1);
    chip_out(f.b, 0x0f, 0x02);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    chip_out(f.b, 0x0f, 0x00);
    chip_out(f.b, 0x08, 0x04);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    chip_out(f.b, 0x08, 0x00);
    chip_out(f.b, 0xd4, 0x04); /* the cascade masked */
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    chip_out(f.b, 0xd4, 0x00);
    chip_out(f.b, 0xd0, 0x04);
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    chip_out(f.b, 0xd0, 0x00);
    chip_out(f.b, 0x0b, 0xc1); /* a channel in cascade mode gives the bus away */
    assert_int_equal(dma_transfer(&line, "a", 1, true, NULL), 0);
    board_free(f.b);
}

static void ready(void *self)
{
    Fixture *f = self;
    f->readies++;
}

static void listener_hears_of_an_opening_channel_while_dreq_is_up(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    DmaLine line = dma_line(f.dma, 3);
    dma_listen(&line, ready, &f);
    program(f.b, 3, 0x44, 0x1000, 7);
    assert_int_equal(f.readies, 0);
    chip_out(f.b, 0x0a, 0x07);
    dma_request(&line, true);
    assert_int_equal(chip_in(f.b, 0x08), 0x80);
    chip_out(f.b, 0x0a, 0x03);
    assert_int_equal(f.readies, 1);
    chip_out(f.b, 0x0a, 0x03);
    assert_int_equal(f.readies, 1);
    chip_out(f.b, 0xd4, 0x04);
    chip_out(f.b, 0xd4, 0x00);
    assert_int_equal(f.readies, 2);
    dma_request(&line, false);
    assert_int_equal(chip_in(f.b, 0x08), 0);
    board_free(f.b);
}

static void software_request_runs_to_the_end(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0, 0x80, 0x1000, 99);
    chip_out(f.b, 0x08, 0x04);
    chip_out(f.b, 0x09, 0x04);
    assert_int_equal(chip_in(f.b, 0x08), 0x10); /* waits for the controller */
    chip_out(f.b, 0x08, 0x00);
    assert_int_equal(chip_in(f.b, 0x08), 0x01);
    assert_int_equal(read_word(f.b, 0), 0x1064);
    assert_int_equal(read_word(f.b, 1), 0xffff);
    board_free(f.b);
}

static void flip_flop_and_master_clear(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x0c, 0);
    chip_out(f.b, 0x02, 0x34);
    chip_out(f.b, 0x0c, 0);
    chip_out(f.b, 0x02, 0x56); /* low again */
    chip_out(f.b, 0x02, 0x12);
    assert_int_equal(read_word(f.b, 2), 0x1256);
    chip_out(f.b, 0x02, 0x78);
    chip_out(f.b, 0x0e, 0);
    chip_out(f.b, 0x0d, 0);
    assert_int_equal(chip_in(f.b, 0x0f), 0xff);
    assert_int_equal(chip_in(f.b, 0x02), 0x78); /* the flip-flop is at the low byte */
    board_free(f.b);
}

static void page_registers_read_back(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (uint16_t port = 0x81; port <= 0x8f; port++) {
        chip_out(f.b, port, (uint8_t)(port ^ 0x5a));
    }
    for (uint16_t port = 0x81; port <= 0x8f; port++) {
        assert_int_equal(chip_in(f.b, port), (uint8_t)(port ^ 0x5a));
    }
    board_free(f.b);
}

static void transfers_beyond_memory_are_harmless(void **state)
{
    (void)state;
    Fixture f;
    uint8_t data[4];
    fixture(&f);
    DmaLine line = dma_line(f.dma, 2);
    program(f.b, 2, 0x48, 0xfffffe, 3);
    assert_int_equal(dma_transfer(&line, data, 4, false, NULL), 4);
    assert_memory_equal(data, "\xff\xff\xff\xff", 4);
    program(f.b, 2, 0x84, 0xfff000, 0xffff);
    chip_out(f.b, 0x09, 0x06);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    DmaLine line = dma_line(f.dma, 1), other = dma_line(g.dma, 1);
    program(f.b, 1, 0x54, 0x1000, 7);
    dma_transfer(&line, "abc", 3, true, NULL);
    chip_out(f.b, 0x02, 0x12); /* leaves the flip-flop high */
    chip_state_round_trip(f.b, g.b);
    assert_int_equal(chip_in(g.b, 0x02), chip_in(f.b, 0x02));
    bool tc;
    assert_int_equal(dma_transfer(&other, "abcdefgh", 8, true, &tc), 5);
    assert_true(tc);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_to_memory_and_counts_to_the_end),
        cmocka_unit_test(reads_memory),
        cmocka_unit_test(words_on_the_second_controller),
        cmocka_unit_test(addresses_wrap_within_the_page),
        cmocka_unit_test(addresses_can_count_down),
        cmocka_unit_test(auto_init_starts_over),
        cmocka_unit_test(verify_counts_but_moves_nothing),
        cmocka_unit_test(wrong_direction_leaves_the_bus_afloat),
        cmocka_unit_test(masks_command_and_cascade_hold_the_channel),
        cmocka_unit_test(listener_hears_of_an_opening_channel_while_dreq_is_up),
        cmocka_unit_test(software_request_runs_to_the_end),
        cmocka_unit_test(flip_flop_and_master_clear),
        cmocka_unit_test(page_registers_read_back),
        cmocka_unit_test(transfers_beyond_memory_are_harmless),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
