/* States that older versions of this program have saved still load.
 *
 * ps2_keyboard-1.state: a board with a keyboard alone, before it knew multimedia keys; LEDs 5, scan
 * code set 3, left Shift and B held and not yet read. vga-1.state, cirrus-1.state: a card each,
 * before it said whether its memory is plain to the bus; mode 13h in line 100, palette entry 7 at
 * (1, 2, 3); a packed mode in a blit of 8 x 2 bytes to 100h, three of which have come. pit-1.state:
 * counter 0 as a rate generator of 1000, counter 2 in mode 0 with 60 of 100 ticks left when its
 * gate fell, before a pause had a field of its own. cpu-1.state: a Pentium III with an SMI waiting,
 * before I/O instructions could be restarted. sb16-1.state: master volumes F8h and 08h, the
 * version's two bytes unread, UART mode, before MIDI could come in. mpu401-1.state: program 17 and
 * a note held on channel 3, half of another, the version unread, before it had an intelligent mode.
 * gus-1.state: voice 5 in a loop and a transfer's end not seen yet, before that was told from
 * sampling's. ide-2.state: a disk to whose sector 5 a hundred bytes of a WRITE SECTORS have come,
 * before its buffer was kept between commands. Each device that gets a new version leaves a sample
 * of its old one here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "chipset/cards/gus.h"
#include "chipset/cards/mpu401.h"
#include "chipset/cards/sb16.h"
#include "chipset/dma.h"
#include "chipset/pit.h"
#include "chipset/ps2_keyboard.h"
#include "cpu-accel/x86/cpu.h"
#include "display/cirrus.h"
#include "machine/core/bytes.h"
#include "storage/ide.h"
#include "tests/unit/disk_board.h"
#include "tests/unit/input_rig.h"
#include "tests/unit/vga_rig.h"

enum { ROOM = 65536, LSHIFT = 0xe1, MUTE = 0x7f };

static size_t sample(const char *name, uint8_t *bytes)
{
    char path[512];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof(path), "%.*s%s", (int)(slash - __FILE__ + 1), __FILE__, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail_msg("%s is missing", path);
    }
    size_t size = fread(bytes, 1, ROOM, file);
    fclose(file);
    return size;
}

/* The first error; empty: all was well. */
static const char *load(Board *b, const uint8_t *bytes, size_t size)
{
    static char text[256];
    Err err = {""};
    StateIo *io = state_loader_new(bytes, size, &err);
    if (!io) {
        fail_msg("%s", err.text);
    }
    board_state(b, io);
    snprintf(text, sizeof(text), "%s", state_ok(io) ? "" : state_error(io));
    state_free(io);
    board_restored(b);
    return text;
}

static void keyboard_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("ps2_keyboard-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    Ps2Keyboard *kbd = ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    ps2_keyboard_new(other, &(Ps2KeyboardConfig){0}, "ps2kbd");
    Ps2Port plug = ps2_keyboard_plug(kbd);
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    assert_string_equal(load(b, bytes, size), "");
    assert_int_equal(clock_now(&b->clock), 300000000);
    assert_int_equal(ps2_keyboard_leds(kbd), 5);
    PS2_EXPECT(plug, "\x12\x32");
    input_key(b, ps2_keyboard_events(kbd), LSHIFT, false);
    PS2_EXPECT(plug, "\xf0\x12");
    input_key(b, ps2_keyboard_events(kbd), MUTE, true); /* a key that it did not know then */
    input_key(b, ps2_keyboard_events(kbd), MUTE, false);
    while (plug.ops->waiting(plug.device)) {
        plug.ops->next(plug.device);
    }
    chip_state_round_trip(b, other); /* and saves as the newest version */
    board_free(other);
    board_free(b);
}

static void vga_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("vga-1.state", bytes);
    Rig r = rig_new(), other = rig_new();
    assert_string_equal(load(r.b, bytes, size), "");
    chip_out(r.b, 0x3c7, 7);
    for (uint8_t i = 1; i <= 3; i++) {
        assert_int_equal(chip_in(r.b, 0x3c9), i);
    }
    rig_poke(&r, 0xa0000, 9);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 320);
    assert_int_equal(r.picture.height, 400);
    assert_int_equal(rig_pixel(&r, 0, 1), rig_color(9));
    for (unsigned i = 0; i < 40; i++) {
        rig_peek(&r, 0xa0000);
    }
    assert_true(bus_page(r.b->memory, 0xa0000).ram);
    memcpy(other.b->ram.host, r.b->ram.host, r.b->ram.used);
    chip_state_round_trip(r.b, other.b);
    rig_free(&other);
    rig_free(&r);
}

static void cirrus_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("cirrus-1.state", bytes);
    Rig r = {.b = chip_board(), .screen = screen_new()};
    VgaConfig config = {.screen = r.screen, .pci = pci_new(r.b, "pci"), .pci_device = 2};
    Err err = {""};
    r.vga = cirrus_new(r.b, &config, "vga", &err);
    assert_non_null(r.vga);
    board_reset(r.b, RESET_POWER);
    assert_string_equal(load(r.b, bytes, size), "");
    for (uint8_t i = 3; i < 16; i++) { /* the rest of the blit's data */
        rig_poke(&r, 0xa0000, 0x41 + i);
    }
    const uint8_t *vram = ram_at(&r.b->ram, r.b->ram.blocks->at);
    assert_memory_equal(vram + 0x100, "ABCDEFGH", 8);
    assert_memory_equal(vram + 0x100 + 80, "IJKLMNOP", 8);
    rig_poke(&r, 0xa0000, 0x5a); /* no blit takes it any more */
    assert_int_equal(vram[0], 0x5a);
    rig_free(&r);
}

static unsigned counter(Board *b, unsigned n)
{
    chip_out(b, 0x43, (uint8_t)(n << 6));
    unsigned low = chip_in(b, (uint16_t)(0x40 + n));
    return low | (unsigned)chip_in(b, (uint16_t)(0x40 + n)) << 8;
}

static void pit_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("pit-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    Pit *pit = pit_new(b, &(PitConfig){.base = 0x40}, "pit");
    pit_new(other, &(PitConfig){.base = 0x40}, "pit");
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    assert_string_equal(load(b, bytes, size), "");
    assert_int_equal(counter(b, 0), 1000 - 1040 % 1000);
    assert_int_equal(counter(b, 2), 60);
    assert_false(pit_output(pit, 2));
    pit_gate(pit, 2, true);
    clock_step(&b->clock, clock_ticks_to_ns(59, PIT_HZ));
    assert_false(pit_output(pit, 2));
    clock_step(&b->clock, clock_ticks_to_ns(2, PIT_HZ));
    assert_true(pit_output(pit, 2));
    chip_state_round_trip(b, other);
    board_free(other);
    board_free(b);
}

static void cpu_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("cpu-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    static const CpuPins pins;
    Cpu *cpu = cpu_new(b, CPU_PENTIUM3, &pins);
    cpu_new(other, CPU_PENTIUM3, &pins);
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    cpu->io_restart.valid = true;
    assert_string_equal(load(b, bytes, size), "");
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(cpu->reg[i], 0x11111111u * (i + 1));
    }
    assert_int_equal(cpu->eip, 0x12345678);
    assert_int_equal(cpu_eflags(cpu), 0x246);
    assert_int_equal(cpu->smbase, 0xa0000);
    assert_true(cpu->smi_pending);
    assert_false(cpu->io_restart.valid);
    assert_int_equal(cpu->fpu.st[0].sign_exponent, 0x3fff);
    chip_state_round_trip(b, other);
    board_free(other);
    board_free(b);
}

static void cable_write(void *backend, const uint8_t *data, size_t size)
{
    uint8_t *heard = backend; /* a count, then the bytes */
    for (size_t i = 0; i < size && heard[0] < 255; i++) {
        heard[1 + heard[0]++] = data[i];
    }
}

static void cable_attach(void *backend, const CharSink *sink)
{
    (void)backend, (void)sink;
}

static void cable_ready(void *backend)
{
    (void)backend;
}

static const CharOps cable = {.write = cable_write, .attach = cable_attach, .ready = cable_ready};

static void sb16_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM], heard[256] = {0};
    size_t size = sample("sb16-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    Sb16Config c = {.model = SB_16,
                    .base = 0x220,
                    .irq_choice = 1,
                    .dma8 = 1,
                    .dma16 = 5,
                    .midi = {&cable, heard}};
    sb16_new(b, &c, "sb16");
    sb16_new(other, &c, "sb16");
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    assert_string_equal(load(b, bytes, size), "");
    chip_state_round_trip(b, other);
    chip_out(b, 0x224, 0x30);
    assert_int_equal(chip_in(b, 0x225), 0xf8);
    assert_int_equal(chip_in(b, 0x22a), 4);
    assert_int_equal(chip_in(b, 0x22a), 5);
    chip_out(b, 0x22c, 0x90);
    assert_int_equal(heard[0], 1);
    assert_int_equal(heard[1], 0x90);
    chip_out(b, 0x226, 1);
    chip_out(b, 0x226, 0);
    chip_out(b, 0x22c, 0xf9);
    chip_out(b, 0x22c, 0x0e);
    assert_int_equal(chip_in(b, 0x22a), 0xff);
    board_free(other);
    board_free(b);
}

static void mpu401_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM], heard[256] = {0};
    size_t size = sample("mpu401-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    Mpu401Config c = {.base = 0x330, .midi = {&cable, heard}};
    mpu401_new(b, &c, "mpu401");
    mpu401_new(other, &(Mpu401Config){.base = 0x330}, "mpu401");
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    heard[0] = 0;
    assert_string_equal(load(b, bytes, size), "");
    assert_non_null(memmem(heard, 256, "\xc3\x11", 2));
    assert_non_null(memmem(heard, 256, "\x93\x3c\x64", 3));
    chip_state_round_trip(b, other);
    assert_int_equal(chip_in(b, 0x330), 0xfe);
    assert_int_equal(chip_in(b, 0x330), 0x15);
    chip_out(b, 0x331, 0xaf); /* the tempo that it begins with */
    assert_int_equal(chip_in(b, 0x330), 0xfe);
    assert_int_equal(chip_in(b, 0x330), 100);
    board_free(other);
    board_free(b);
}

static void gus_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("gus-1.state", bytes);
    Board *boards[2];
    Err err = {""};
    for (unsigned i = 0; i < 2; i++) {
        boards[i] = chip_board();
        chip_ram(boards[i], 0x40000);
        GusConfig c = {.base = 0x240, .irq_choice = 7, .dma_choice = 1, .memory_kib = 256};
        c.dma[1] = dma_line(dma_new(boards[i], "dma"), 1);
        assert_non_null(gus_new(boards[i], &c, "gus", &err));
        board_reset(boards[i], RESET_POWER);
    }
    Board *b = boards[0];
    assert_string_equal(load(b, bytes, size), "");
    chip_state_round_trip(b, boards[1]);
    assert_int_equal(chip_in(b, 0x246), 0x80);
    chip_out(b, 0x343, 0x49); /* not sampling's */
    assert_int_equal(chip_in(b, 0x345) & 0x40, 0);
    chip_out(b, 0x343, 0x41);
    assert_int_equal(chip_in(b, 0x345) & 0x40, 0x40);
    assert_int_equal(chip_in(b, 0x246), 0);
    chip_out(b, 0x342, 5);
    chip_out(b, 0x343, 0x80);
    assert_int_equal(chip_in(b, 0x345), 0x08); /* the voice runs */
    board_free(boards[1]);
    board_free(b);
}

static void ide_of_version_2(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("ide-2.state", bytes);
    Board *boards[2];
    MemoryDisk disks[2];
    for (unsigned i = 0; i < 2; i++) {
        BlockQueue *queue;
        boards[i] = disk_board(&queue);
        memory_disk_init(&disks[i], 65536);
        IdeConfig c = {.queue = queue};
        c.drive[0] = (IdeDriveConfig){.kind = IDE_DISK, .medium = memory_block(&disks[i])};
        ide_new(boards[i], &c, "ide");
        board_reset(boards[i], RESET_POWER);
    }
    Board *b = boards[0];
    assert_string_equal(load(b, bytes, size), "");
    chip_state_round_trip(b, boards[1]);
    assert_int_equal(chip_in(b, 0x1f7), 0x58);
    for (unsigned i = 50; i < 512; i++) {
        bus_write(b->ports, 0x1f0, 0x4000 + i, 2);
        clock_step(&b->clock, i == 255 ? 10000000 : 0);
    }
    clock_step(&b->clock, 10000000);
    assert_int_equal(chip_in(b, 0x1f7), 0x50);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(bytes_le16(disks[0].bytes + 5 * 512 + 2 * i), 0x4000 + i);
    }
    for (unsigned i = 0; i < 2; i++) {
        board_free(boards[i]);
        memory_disk_free(&disks[i]);
    }
}

/* What this program does not know yet it does not guess. */
static void a_newer_version_is_refused_by_name(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("ps2_keyboard-1.state", bytes);
    uint8_t *tag = memmem(bytes, size, "ps2kbd", 6);
    assert_non_null(tag);
    tag[6] = 200;
    uint32_t crc = (uint32_t)crc32_z(0, bytes, size - 4);
    memcpy(bytes + size - 4, &crc, 4);
    Board *b = chip_board();
    ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    board_reset(b, RESET_POWER);
    const char *why = load(b, bytes, size);
    assert_non_null(strstr(why, "ps2kbd"));
    assert_non_null(strstr(why, "version"));
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keyboard_of_version_1),
        cmocka_unit_test(vga_of_version_1),
        cmocka_unit_test(cirrus_of_version_1),
        cmocka_unit_test(pit_of_version_1),
        cmocka_unit_test(cpu_of_version_1),
        cmocka_unit_test(sb16_of_version_1),
        cmocka_unit_test(mpu401_of_version_1),
        cmocka_unit_test(gus_of_version_1),
        cmocka_unit_test(ide_of_version_2),
        cmocka_unit_test(a_newer_version_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
