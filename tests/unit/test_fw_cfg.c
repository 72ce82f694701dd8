/* Firmware configuration: items, files, port and DMA interfaces, hostile requests, state. */
#include "chipset/fw_cfg.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/chip.h"

#define RAM_SIZE 0x100000u

typedef struct Fixture {
    Board *b;
    FwCfg *f;
    uint8_t *ram;
} Fixture;

static Fixture fixture(void)
{
    Fixture f = {.b = chip_board()};
    f.ram = chip_ram(f.b, RAM_SIZE);
    f.f = fw_cfg_new(f.b, "fw_cfg");
    board_reset(f.b, RESET_POWER);
    return f;
}

static void read_item(Board *b, uint16_t key, void *data, size_t size)
{
    bus_write(b->ports, 0x510, key, 2);
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)data)[i] = chip_in(b, 0x511);
    }
}

static void be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* Makes a request at 0x1000; returns its control word afterwards. */
static uint32_t request(Fixture *f, uint32_t control, uint32_t length, uint64_t address)
{
    be32(f->ram + 0x1000, control);
    be32(f->ram + 0x1004, length);
    be32(f->ram + 0x1008, (uint32_t)(address >> 32));
    be32(f->ram + 0x100c, (uint32_t)address);
    bus_write(f->b->ports, 0x514, 0, 4);
    bus_write(f->b->ports, 0x518, __builtin_bswap32(0x1000), 4);
    return (uint32_t)f->ram[0x1000] << 24 | f->ram[0x1003];
}

static void signature_and_features(void **state)
{
    (void)state;
    Fixture f = fixture();
    char data[6];
    read_item(f.b, 0, data, 6);
    assert_memory_equal(data, "QEMU\0\0", 6); /* zeros beyond the end */
    read_item(f.b, 1, data, 4);
    assert_memory_equal(data, "\3\0\0\0", 4);
    assert_int_equal(bus_read(f.b->ports, 0x514, 4), 0x554d4551);
    assert_int_equal(bus_read(f.b->ports, 0x518, 4), 0x47464320);
    read_item(f.b, 0x3fff, data, 2); /* no such item */
    assert_memory_equal(data, "\0\0", 2);
    board_free(f.b);
}

static void numbers_and_files(void **state)
{
    (void)state;
    Fixture f = fixture();
    Err err = {""};
    uint8_t data[4 + 2 * 64];
    assert_true(fw_cfg_add_u64(f.f, FW_CFG_RAM_SIZE, 0x123456789, &err));
    read_item(f.b, FW_CFG_RAM_SIZE, data, 8);
    assert_memory_equal(data, "\x89\x67\x45\x23\x01\0\0\0", 8);
    assert_true(fw_cfg_add(f.f, FW_CFG_ARCH | 3, "e820", 4, &err));
    read_item(f.b, 0x8003, data, 4);
    assert_memory_equal(data, "e820", 4);
    assert_true(fw_cfg_add_file(f.f, "bootorder", "/pci", 5, &err));
    assert_true(fw_cfg_add_file(f.f, "etc/x", "", 0, &err));
    assert_true(fw_cfg_add_file(f.f, "bootorder", "/pci@i0cf8", 11, &err)); /* replaces */
    read_item(f.b, FW_CFG_FILE_DIR, data, sizeof(data));
    assert_memory_equal(data, "\0\0\0\2\0\0\0\x0b\0\x20\0\0bootorder\0", 22);
    assert_memory_equal(data + 68, "\0\0\0\0\0\x21\0\0etc/x\0", 14);
    read_item(f.b, 0x20, data, 11);
    assert_memory_equal(data, "/pci@i0cf8", 11);
    board_free(f.b);
}

static void bad_items_are_refused(void **state)
{
    (void)state;
    Fixture f = fixture();
    Err err = {""};
    char name[80];
    assert_false(fw_cfg_add(f.f, 0x20, "x", 1, &err));
    assert_false(fw_cfg_add(f.f, FW_CFG_FILE_DIR, "x", 1, NULL));
    assert_false(fw_cfg_add(f.f, 0x83ff, "x", 1, NULL));
    assert_false(fw_cfg_add_file(f.f, "", "x", 1, NULL));
    memset(name, 'n', 56);
    name[56] = '\0';
    assert_false(fw_cfg_add_file(f.f, name, "x", 1, NULL));
    name[55] = '\0';
    assert_true(fw_cfg_add_file(f.f, name, "x", 1, NULL));
    for (unsigned i = 1; i < FW_CFG_FILES_MAX; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        assert_true(fw_cfg_add_file(f.f, name, "x", 1, NULL));
    }
    err.text[0] = '\0';
    assert_false(fw_cfg_add_file(f.f, "one more", "x", 1, &err));
    assert_non_null(strstr(err.text, "one more"));
    board_free(f.b);
}

static void source(void *self, uint32_t offset, void *data, size_t length)
{
    (void)self;
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)data)[i] = (uint8_t)(offset + i);
    }
}

static void dma_reads_skips_and_selects(void **state)
{
    (void)state;
    Fixture f = fixture();
    fw_cfg_add_source(f.f, FW_CFG_KERNEL_DATA, 10000, source, NULL, NULL);
    assert_int_equal(request(&f, FW_CFG_KERNEL_DATA << 16 | 0x0a, 5000, 0x20000), 0);
    assert_int_equal(f.ram[0x20000 + 4999], (uint8_t)4999);
    assert_int_equal(f.ram[0x20000 + 5000], 0);
    assert_int_equal(request(&f, 0x04, 10, 0), 0);
    memset(f.ram + 0x30000, 0x55, 8192);
    assert_int_equal(request(&f, 0x02, 6000, 0x30000), 0);
    assert_int_equal(f.ram[0x30000], (uint8_t)5010);
    assert_int_equal(f.ram[0x30000 + 4989], (uint8_t)9999);
    assert_int_equal(f.ram[0x30000 + 4990], 0);
    assert_int_equal(f.ram[0x30000 + 5999], 0);
    assert_int_equal(f.ram[0x30000 + 6000], 0x55);
    board_free(f.b);
}

static void hostile_dma_is_bounded(void **state)
{
    (void)state;
    Fixture f = fixture();
    assert_int_equal(request(&f, 0x000a, 0xffffffff, 0x20000), 1);
    assert_int_equal(request(&f, 0x0000000a, 4, UINT64_MAX - 1), 1);
    assert_int_equal(request(&f, 0x0000000a, 4, 0xf0000000), 1); /* no memory there */
    assert_int_equal(request(&f, 0x10, 4, 0x20000), 1);          /* write */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(request(&f, 0x04, 0xffffffff, 0), 0);
    }
    assert_int_equal(chip_in(f.b, 0x511), 0);
    bus_write(f.b->ports, 0x514, 0xffffffff, 4);
    bus_write(f.b->ports, 0x518, 0xffffffff, 4);
    bus_write(f.b->ports, 0x514, 0, 4);
    bus_write(f.b->ports, 0x518, __builtin_bswap32(0xe0000000), 4);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f = fixture(), g = fixture();
    char data[2];
    read_item(f.b, 0, data, 2);
    chip_state_round_trip(f.b, g.b);
    assert_int_equal(chip_in(g.b, 0x511), 'M');
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_and_features), cmocka_unit_test(numbers_and_files),
        cmocka_unit_test(bad_items_are_refused),  cmocka_unit_test(dma_reads_skips_and_selects),
        cmocka_unit_test(hostile_dma_is_bounded), cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
