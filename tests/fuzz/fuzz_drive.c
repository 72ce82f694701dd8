/* Fuzzing of the disk controllers: bytes of input are port accesses, whole commands, DMA
 * programming, guest memory, hands that change media, and time.
 *
 * FUZZ_DEVICE names the controller: ide (two disks and a CD-ROM drive on the PIIX3's interface),
 * atapi (the same, its commands mostly packets) or fdc. With clang's -fsanitize=fuzzer it is a
 * libFuzzer target; with -DFUZZ_STANDALONE it makes its inputs itself: fuzz_drive [seconds [seed]],
 * or runs the files named. FUZZ_LAST=FILE keeps the input that runs. What must hold: no crash, no
 * hang, no access outside an image, and a board loaded from the state at any moment has the same
 * state and does the same from there on, to guest and images.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/dma.h"
#include "chipset/pci.h"
#include "machine/core/bytes.h"
#include "storage/block_format.h"
#include "storage/cd.h"
#include "storage/fdc.h"
#include "storage/ide.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_rig.h"

#ifndef FUZZ_DEVICE
#define FUZZ_DEVICE "ide"
#endif

enum {
    RAM_SIZE = 0x20000,
    INPUT_MAX = 1 << 14,
    MASTER = 0xc000, /* ports of the bus master */
    PRD_AT = 0x1000,
    SECTORS = 320,   /* of each disk; as a floppy: 40 tracks of 8 sectors on one side */
    CD_DATA = 40,    /* sectors before the disc's audio track */
    CD_SECTORS = 80, /* of the disc */
    CD_BYTES = CD_SECTORS * CD_SECTOR,
    MEDIA = 3,
    STEP_LIMIT = 30, /* 1 << so many ns at most pass in a step */
};

typedef struct Rig {
    Board *b;
    uint8_t *ram;
    BlockQueue *queue;
    Ide *ide;
    Fdc *fdc;
    uint8_t *media[MEDIA]; /* two disks, a disc; bytes of images */
    bool inside[MEDIA];
    uint32_t lines; /* a sum over the changes of interrupt lines */
} Rig;

/* --- images in memory --- */

static void check_range(const Block *b, uint64_t offset, uint64_t length)
{
    if (length == 0 || offset > b->size || length > b->size - offset || offset % BLOCK_SECTOR ||
        length % BLOCK_SECTOR) {
        fprintf(stderr, "%llu bytes at %llu of an image\n", (unsigned long long)length,
                (unsigned long long)offset);
        abort();
    }
}

static int image_read(Block *b, uint64_t offset, void *data, size_t length)
{
    uint8_t *bytes = b->data; /* the rig's */
    check_range(b, offset, length);
    memcpy(data, bytes + offset, length);
    return offset / BLOCK_SECTOR == 13 ? EIO : 0; /* a bad sector, for who begins there */
}

static int image_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    uint8_t *bytes = b->data; /* the rig's */
    check_range(b, offset, length);
    memcpy(bytes + offset, data, length);
    return 0;
}

static int image_flush(Block *b)
{
    (void)b;
    return 0;
}

static int image_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    extent->length = b->size - offset;
    extent->data = true;
    return 0;
}

/* A data track and one of audio. */
static void image_toc(const Block *b, CdToc *toc)
{
    (void)b;
    *toc = (CdToc){.tracks = 2,
                   .track = {{.control = 4, .mode = 1}, {.start = CD_DATA}},
                   .lead_out = CD_SECTORS};
}

static int image_read_raw(Block *b, uint32_t lba, uint8_t *data, uint32_t count)
{
    uint8_t *bytes = b->data; /* the rig's */
    if (count == 0 || lba >= CD_SECTORS || count > CD_SECTORS - lba) {
        abort();
    }
    for (uint32_t i = 0; i < count; i++, data += CD_RAW_SECTOR) {
        memset(data, (int)(lba + i), CD_RAW_SECTOR);
        if (lba + i < CD_DATA) {
            memcpy(data + 16, bytes + (lba + i) * CD_SECTOR, CD_SECTOR);
            cd_make_raw(data, lba + i);
        }
    }
    return 0;
}

static const BlockFormat disk_format = {.name = "memory",
                                        .read = image_read,
                                        .write = image_write,
                                        .flush = image_flush,
                                        .map = image_map};
static const BlockFormat disc_format = {.name = "memory",
                                        .read = image_read,
                                        .write = image_write,
                                        .flush = image_flush,
                                        .map = image_map,
                                        .toc = image_toc,
                                        .read_raw = image_read_raw};

static Block *medium(Rig *r, unsigned n)
{
    bool disc = n == 2;
    r->inside[n] = true;
    return block_wrap(disc ? &disc_format : &disk_format, "memory",
                      disc ? CD_BYTES : SECTORS * BLOCK_SECTOR, disc, r->media[n], NULL);
}

/* --- the boards --- */

static void line_driven(void *sink, unsigned pin, bool level)
{
    Rig *r = sink;
    r->lines = r->lines * 31 + pin * 2 + level;
}

static void tray_moved(void *self, unsigned drive, bool open)
{
    Rig *r = self;
    r->lines = r->lines * 31 + drive * 2 + open;
}

static bool is_fdc(void)
{
    return strcmp(FUZZ_DEVICE, "fdc") == 0;
}

static void set_bar(Rig *r, unsigned offset, uint32_t value)
{
    bus_write(r->b->ports, 0xcf8, 0x80000000u | 1 << 11 | 1 << 8 | offset, 4);
    bus_write(r->b->ports, 0xcfc, value, 4);
}

static void build_ide(Rig *r)
{
    IdeConfig c = {.pci = pci_new(r->b, "pci"),
                   .pci_device = 1,
                   .pci_function = 1,
                   .irq = {{line_driven, r, 14}, {line_driven, r, 15}},
                   .queue = r->queue,
                   .drive = {{.kind = IDE_DISK, .medium = medium(r, 0)},
                             {.kind = IDE_DISK, .medium = medium(r, 1)},
                             {.kind = IDE_CDROM, .medium = medium(r, 2)}},
                   .audio = fuzz_audio(r->b),
                   .tray_moved = tray_moved,
                   .self = r};
    r->ide = ide_new(r->b, &c, "ide");
}

static void build_fdc(Rig *r)
{
    Dma *dma = dma_new(r->b, "dma");
    FdcConfig c = {.base = 0x3f0,
                   .irq = {line_driven, r, 6},
                   .dma = dma_line(dma, 2),
                   .queue = r->queue,
                   .drive = {FDC_1440K, FDC_360K},
                   .medium = {medium(r, 0), medium(r, 1)}};
    r->fdc = fdc_new(r->b, &c, "fdc");
}

static void build(Rig *r)
{
    Err err = {""};
    const RamBlock *ram;
    memset(r, 0, sizeof(*r));
    r->b = fuzz_board(RAM_SIZE, &ram);
    r->ram = ram_at(&r->b->ram, ram->at);
    r->queue = block_queue_new(r->b, &(BlockQueueConfig){.deterministic = true, .workers = 1},
                               "block", &err);
    if (!r->queue) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    for (unsigned i = 0; i < MEDIA; i++) {
        size_t size = i == 2 ? CD_BYTES : SECTORS * BLOCK_SECTOR;
        r->media[i] = malloc(size);
        memset(r->media[i], 0x11 * (int)(i + 1), size);
    }
    if (is_fdc()) {
        build_fdc(r);
    } else {
        build_ide(r);
    }
    board_reset(r->b, RESET_POWER);
    if (is_fdc()) {
        fuzz_cascade(r->b);
    } else {
        set_bar(r, 0x20, MASTER);
        set_bar(r, 0x04, 5);
    }
}

static void destroy(Rig *r)
{
    board_free(r->b);
    for (unsigned i = 0; i < MEDIA; i++) {
        free(r->media[i]);
    }
}

/* --- whole commands --- */

static uint8_t pick(Input *in, const uint8_t *among, size_t count)
{
    uint8_t n = take(in);
    return n < 0xe0 ? among[n % count] : take(in);
}

static void out(Rig *r, uint16_t port, uint32_t value)
{
    bus_write(r->b->ports, port, value & 0xff, 1);
}

/* What a driver has in memory for the bus master: its table, one or two pieces. */
static void start_master(Rig *r, uint16_t master, uint8_t how)
{
    uint32_t at = PRD_AT + (master & 8) * 0x10;
    bytes_put_le32(r->ram + at, 0x4000);
    bytes_put_le32(r->ram + at + 4, how & 0x10 ? 0x200 : 0x80001000u);
    bytes_put_le32(r->ram + at + 8, 0x8001);
    bytes_put_le32(r->ram + at + 12, how & 0x20 ? 0x80000000u : 0x800003feu);
    bus_write(r->b->ports, master + 4, at, 4);
    out(r, master + 2, 6);
    out(r, master, how & 8 ? 9 : 1);
}

static void send_packet(Rig *r, Input *in, uint16_t base)
{
    static const uint8_t commands[] = {0x00, 0x03, 0x08, 0x0b, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28,
                                       0x2b, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x4a, 0x4b,
                                       0x4e, 0x51, 0x52, 0x55, 0x5a, 0xa5, 0xa8, 0xb9, 0xba, 0xbb,
                                       0xbd, 0xbe, 0xad, 0x15, 0x35, 0x01, 0xa7};
    uint8_t packet[12] = {pick(in, commands, sizeof(commands))};
    uint8_t present = take(in);
    for (unsigned i = 1; i < 12; i++) {
        if (i > 8 || present >> (i - 1) & 1) { /* most bytes of most packets are zero */
            packet[i] = take(in);
        }
    }
    clock_step(&r->b->clock, 300000);
    for (unsigned i = 0; i < 12; i += 2) {
        bus_write(r->b->ports, base, bytes_le16(packet + i), 2);
    }
}

/* Two commands, and the disc's arrival is known. */
static void start_cdrom(Rig *r)
{
    static const uint8_t packets[2][2] = {{0x00, 0}, {0x03, 18}};
    for (unsigned i = 0; i < 2; i++) {
        out(r, 0x176, 0xa0);
        out(r, 0x174, 0xfe);
        out(r, 0x175, 0xff);
        out(r, 0x177, 0xa0);
        clock_step(&r->b->clock, 300000);
        for (unsigned j = 0; j < 6; j++) {
            bus_write(r->b->ports, 0x170, j ? (j == 2 ? packets[i][1] : 0) : packets[i][0], 2);
        }
        clock_step(&r->b->clock, 300000);
        fuzz_burst(r->b, 0x170, 2, packets[i][1] / 2, false);
        clock_step(&r->b->clock, 300000);
        bus_read(r->b->ports, 0x177, 1);
    }
}

static void ide_command(Rig *r, Input *in)
{
    static const uint8_t commands[] = {0x20, 0x30, 0xc8, 0xca, 0xc4, 0xc5, 0xc6, 0xec, 0xef,
                                       0x24, 0x34, 0x25, 0x35, 0x29, 0x39, 0x40, 0x42, 0x10,
                                       0x91, 0xe4, 0xe8, 0xe7, 0xb0, 0xf8, 0x27, 0x94, 0xe5,
                                       0x08, 0x90, 0xa1, 0x50, 0x70, 0xf5, 0x3d, 0xce};
    uint8_t how = take(in);
    bool packet = how & (strcmp(FUZZ_DEVICE, "atapi") == 0 ? 0x07 : 0x80);
    uint16_t base = packet ? 0x170 : how & 0x40 ? 0x170 : 0x1f0;
    uint8_t count = take(in), low = take(in), middle = take(in), high = take(in);
    clock_step(&r->b->clock, high & 1 ? 300000 : 0); /* the last one's end */
    out(r, base + 6, packet ? 0xa0 : 0xe0 | (take(in) & 0x5f));
    if (how & 0x20) { /* LBA48's first halves */
        for (unsigned i = 2; i < 6; i++) {
            out(r, base + i, i == 2 ? count & 1 : 0);
        }
    }
    if (how & 8) {
        start_master(r, base == 0x1f0 ? MASTER : MASTER + 8, how ^ count);
    }
    out(r, base + 1, packet ? how >> 3 & 1 : take(in));
    out(r, base + 2, count);
    out(r, base + 3, low);
    out(r, base + 4, packet ? low & 0xfe : middle & 1);
    out(r, base + 5, packet ? 1 + (low & 7) : how & 0x10 ? high : 0);
    out(r, base + 7, packet ? 0xa0 : pick(in, commands, sizeof(commands)));
    if (packet) {
        send_packet(r, in, base);
    }
}

static void fdc_command(Rig *r, Input *in)
{
    static const uint8_t commands[] = {0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c,
                                       0x0d, 0x0f, 0x0e, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x18,
                                       0x19, 0x1d, 0x34, 0x8f, 0xcf, 0xe6, 0xc5, 0x4d};
    static const uint8_t reading[] = {0, 0, 0, 1, 2, 8, 0x1b, 0xff}; /* unit, CHRN, EOT, GPL, DTL */
    uint8_t code = pick(in, commands, sizeof(commands)), present = take(in);
    out(r, 0x3f5, code);
    for (unsigned i = 0; i < 8 && (bus_read(r->b->ports, 0x3f4, 1) & 0xd0) == 0x90; i++) {
        out(r, 0x3f5, present >> i & 1 ? take(in) : reading[i]);
    }
}

/* Motors run, the heads stand on track 0. */
static void start_fdc(Rig *r)
{
    static const uint8_t bytes[] = {0x03, 0xdf, 0x02, 0x07, 0x00};
    out(r, 0x3f2, 0x3c);
    out(r, 0x3f7, 2);
    clock_step(&r->b->clock, CLOCK_NS_PER_S);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        out(r, 0x3f5, bytes[i]);
    }
    clock_step(&r->b->clock, CLOCK_NS_PER_S);
    out(r, 0x3f5, 0x08);
    fuzz_burst(r->b, 0x3f5, 1, 2, false);
}

/* --- the input --- */

/* Hands at the drives. */
static void change_media(Rig *r, uint8_t how)
{
    unsigned n = is_fdc() ? how & 1 : 2;
    bool inside = how & 2;
    Block *b = inside ? medium(r, n) : NULL;
    if (is_fdc()) {
        fdc_change_medium(r->fdc, n, b);
    } else if (inside) {
        ide_change_medium(r->ide, n, b);
    } else if (!ide_eject(r->ide, n, how & 4)) {
        return; /* the guest has locked it */
    }
    r->inside[n] = inside;
}

static uint16_t some_port(uint8_t where)
{
    static const uint16_t ide[4] = {0x1f0, 0x170, MASTER, 0x376};
    if (is_fdc()) {
        return 0x3f0 + (where & 7);
    }
    uint16_t base = ide[where >> 6];
    return base == 0x376 ? (where & 1 ? 0x3f6 : 0x376)
                         : (uint16_t)(base + where % (base == MASTER ? 16 : 8));
}

static uint32_t one_step(Rig *r, Input *in)
{
    uint8_t op = take(in), where = take(in);
    uint16_t port = some_port(where);
    clock_step(&r->b->clock, 1000); /* two things at one instant may end in either order */
    unsigned bytes = port >= MASTER ? 1u << (op >> 3) % 3 : 1;
    switch (op & 7) {
    case 0:
        bus_write(r->b->ports, port, take_value(in, bytes), bytes);
        return 0;
    case 1:
        return (uint32_t)bus_read(r->b->ports, port, bytes);
    case 2:
    case 3:
        if (is_fdc()) {
            fdc_command(r, in);
        } else {
            ide_command(r, in);
        }
        return 0;
    case 4:
        clock_step(&r->b->clock, (int64_t)1 << where % STEP_LIMIT);
        return 0;
    case 5:
        if (is_fdc()) {
            return fuzz_burst(r->b, 0x3f5, 1, where, op & 8);
        }
        return fuzz_burst(r->b, op & 0x40 ? 0x170 : 0x1f0, op & 0x10 ? 4 : 2, (where + 1u) * 2,
                          op & 8);
    case 6:
        if (is_fdc() && where & 1) {
            fuzz_program_dma(r->b, in);
        } else {
            bytes_put_le32(r->ram + take_value(in, 2) % (RAM_SIZE - 4), take_value(in, 4));
        }
        return 0;
    default:
        change_media(r, where);
        return 0;
    }
}

/* --- the state --- */

static void copy_board(Rig *from, Rig *to)
{
    block_queue_quiesce(from->queue);
    for (unsigned i = 0; i < MEDIA; i++) {
        memcpy(to->media[i], from->media[i], i == 2 ? CD_BYTES : SECTORS * BLOCK_SECTOR);
        if (from->inside[i] != to->inside[i]) {
            change_media(to, is_fdc() ? (uint8_t)i : 4);
        }
    }
    memcpy(to->ram, from->ram, RAM_SIZE);
    fuzz_copy_board(from->b, to->b, true);
    to->lines = from->lines;
}

/* Inputs to begin with, as one_step takes them: a command, time, what it gives or wants. */
static const struct {
    const char *device;
    uint8_t size, bytes[40];
} seeds[] = {
    {"ide", 26, {99, 1, 2, 0, 0, 2, 5, 0, 1, 0, 0, 0, 4, 22, 0x45, 255, 5, 255, 4, 22, 5, 255}},
    {"ide", 22, {99, 1, 2, 0, 0, 2, 5, 0, 1, 0, 0, 1, 4, 20, 0x0d, 255, 4, 22, 0x0d, 255, 4, 22}},
    {"ide", 20, {60, 1, 2, 0, 8, 4, 5, 0, 1, 0, 0, 2, 4, 22, 4, 22}},
    {"ide", 22, {60, 1, 2, 0, 0x10, 1, 5, 0x4f, 0xc3, 0, 0xd0, 22, 4, 22, 5, 255}},
    {"ide", 26, {60, 1, 2, 0, 0, 2, 5, 0, 1, 0, 0, 6, 4, 22, 2, 0, 0, 4, 5, 0, 1, 0, 0, 4, 4, 22}},
    {"atapi", 30, {255, 1, 2, 0, 1, 0, 0x7e, 0, 1, 9, 0x80, 1, 0, 0, 0, 4, 28, 4, 28, 0x45, 255}},
    {"atapi", 26, {99, 1, 2, 0, 9, 0, 0x7e, 0, 1, 9, 0x80, 2, 0, 0, 0, 4, 28, 4, 28}},
    {"atapi", 34, {99, 1, 2,  0, 1,  0, 0x7e, 0, 1, 14,   0x90, 40, 30, 0,    0,    0, 4,
                   28, 4, 29, 4, 29, 2, 0,    1, 0, 0x7e, 0,    1,  11, 0x82, 0x40, 1, 16}},
    {"atapi", 30, {99, 1,  2, 0, 1, 0, 0x7e, 0,    1,  23, 0xc0,
                   0,  24, 0, 0, 0, 4, 20,   0x4d, 11, 4,  22}},
    {"fdc", 30, {99, 1, 6, 1, 2, 0, 0x40, 0xff, 0x0f, 0, 4, 0, 2, 0, 25, 0, 4, 28, 4, 28, 5, 7}},
    {"fdc", 30, {99, 1, 6, 1, 2, 0, 0x40, 0xff, 0x0f, 0, 8, 0, 2, 0, 26, 0, 4, 28, 4, 28, 5, 7}},
    {"fdc", 30, {99, 1, 6, 1, 2, 0, 0x40, 0x1f, 0x00, 0, 8, 0, 2, 0, 27, 2, 2, 4, 28, 4, 28}},
};

static void write_seeds(const char *folder)
{
    for (unsigned i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/seed-%u", folder, i);
        FILE *file = strcmp(seeds[i].device, FUZZ_DEVICE) == 0 ? fopen(path, "wb") : NULL;
        if (file) {
            fwrite(seeds[i].bytes, 1, seeds[i].size, file);
            fclose(file);
        }
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *folder = getenv("FUZZ_SEEDS");
    (void)argc, (void)argv;
    fuzz_silence();
    if (folder) {
        write_seeds(folder);
        exit(0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > INPUT_MAX) {
        return 0;
    }
    Rig one, two;
    Input in = {data + 2, data + size};
    const uint8_t *middle = data + 2 + data[0] * (size - 2) / 256;
    build(&one);
    if (data[1] & 1) {
        (one.ide ? start_cdrom : start_fdc)(&one);
    }
    while (in.at < middle) {
        one_step(&one, &in);
    }
    build(&two);
    copy_board(&one, &two);
    Input in_two = in;
    while (in.at < in.end) {
        uint32_t a = one_step(&one, &in), b = one_step(&two, &in_two);
        fuzz_must_be(a == b, "what is read");
        fuzz_must_be(one.lines == two.lines, "its lines");
    }
    block_queue_quiesce(one.queue);
    block_queue_quiesce(two.queue);
    fuzz_must_be(memcmp(one.ram, two.ram, RAM_SIZE) == 0, "memory");
    for (unsigned i = 0; i < 2; i++) {
        fuzz_must_be(memcmp(one.media[i], two.media[i], SECTORS * BLOCK_SECTOR) == 0, "an image");
    }
    destroy(&one);
    destroy(&two);
    return 0;
}

#include "tests/fuzz/fuzz_noise.h"
