/* ATAPI CD-ROM: packet protocol, unit attention, reads by PIO and DMA, tray, information, audio,
 * state. */
#include <stdlib.h>
#include <string.h>

#include "storage/cd.h"
#include "storage/ide.h"
#include "tests/unit/disk_board.h"

enum {
    DATA = 0x170,
    ERROR = 0x171,
    REASON = 0x172,
    LOW = 0x173,
    MID = 0x174,
    HIGH = 0x175,
    DEVICE = 0x176,
    STATUS = 0x177,
    CONTROL = 0x376,
    BSY = 0x80,
    DRDY = 0x40,
    DRQ = 0x08,
    ERR = 0x01,
    BM = 0xc000,
};

#define BLOCKS 700u

typedef struct Fixture {
    Board *b;
    Ide *ide;
    MemoryDisk disc, other, disk;
    Probe irq;
    uint8_t *ram;
    uint8_t data[8 * CD_RAW_SECTOR + 65536];
    unsigned size;       /* bytes that the last packet gave */
    unsigned blocks;     /* DRQ blocks in which they came */
    unsigned block_size; /* of the first of these */
    unsigned moves;      /* of the tray by the guest */
    bool open;
} Fixture;

static void tray_moved(void *self, unsigned drive, bool open)
{
    Fixture *f = self;
    assert_int_equal(drive, 2);
    f->moves++;
    f->open = open;
}

static uint8_t in(Fixture *f, uint16_t port)
{
    return chip_in(f->b, port);
}

static void out(Fixture *f, uint16_t port, unsigned value)
{
    chip_out(f->b, port, (uint8_t)value);
}

static void step(Fixture *f)
{
    clock_step(&f->b->clock, 300000);
}

/* Sends the packet and takes what comes, block by block; leaves the status unread. */
static void packet_with(Fixture *f, const uint8_t *bytes, unsigned limit, unsigned feature)
{
    out(f, ERROR, feature);
    out(f, MID, limit);
    out(f, HIGH, limit >> 8);
    out(f, STATUS, 0xa0);
    unsigned rises = f->irq.rises;
    step(f);
    assert_int_equal(in(f, CONTROL), DRDY | DRQ);
    assert_int_equal(in(f, REASON) & 3, 1);
    /* Ready for the packet is no reason for an interrupt */
    assert_int_equal(f->irq.rises, rises);
    chip_out_singly(f->b, DATA, 2, bytes, 6);
    step(f);
    f->size = f->blocks = 0;
    while (in(f, CONTROL) & DRQ && !(feature & 1)) {
        assert_true(f->irq.level);
        assert_int_equal(in(f, REASON) & 3, 2);
        unsigned count = in(f, MID) | (unsigned)in(f, HIGH) << 8;
        f->block_size = f->blocks ? f->block_size : count;
        f->blocks++;
        assert_int_equal(in(f, STATUS), DRDY | DRQ);
        for (unsigned i = 0; i < count; i += 2) {
            unsigned word = (unsigned)bus_read(f->b->ports, DATA, 2);
            assert_true(f->size + 2 <= sizeof(f->data));
            f->data[f->size++] = (uint8_t)word;
            f->data[f->size++] = (uint8_t)(word >> 8);
        }
        f->size -= count & 1;
        step(f);
    }
}

static void packet(Fixture *f, const uint8_t *bytes)
{
    packet_with(f, bytes, 0xfffe, 0);
}

#define PACKET(f, ...) packet(f, (const uint8_t[12]){__VA_ARGS__})

static void check_good(Fixture *f)
{
    assert_true(f->irq.level);
    assert_int_equal(in(f, REASON) & 7, 3);
    assert_int_equal(in(f, STATUS), DRDY); /* bit 4 is SERVICE here: never set */
    assert_false(f->irq.level);
}

static void check_sense(Fixture *f, unsigned key, unsigned asc, unsigned ascq)
{
    assert_true(f->irq.level);
    assert_int_equal(in(f, REASON) & 7, 3);
    assert_int_equal(in(f, ERROR), key << 4 | 4);
    assert_int_equal(in(f, STATUS), DRDY | ERR);
    PACKET(f, 0x03, 0, 0, 0, 18);
    check_good(f);
    assert_int_equal(f->size, 18);
    assert_int_equal(f->data[0], 0x70);
    assert_int_equal(f->data[2], key);
    assert_int_equal(f->data[12], asc);
    assert_int_equal(f->data[13], ascq);
    PACKET(f, 0x03, 0, 0, 0, 18); /* told once */
    check_good(f);
    assert_int_equal(f->data[2], 0);
}

static Fixture *fixture_raw(void)
{
    Fixture *f = calloc(1, sizeof(*f));
    BlockQueue *queue;
    f->b = disk_board(&queue);
    f->ram = chip_ram(f->b, 1 << 20);
    memory_disk_init(&f->disc, BLOCKS * 2048ull);
    f->disc.read_only = true;
    IdeConfig config = {.pci = pci_new(f->b, "pci"),
                        .pci_device = 1,
                        .pci_function = 1,
                        .queue = queue,
                        .tray_moved = tray_moved,
                        .self = f};
    config.irq[1] = chip_probe(f->b, &f->irq);
    config.drive[2] = (IdeDriveConfig){.kind = IDE_CDROM, .medium = memory_block(&f->disc)};
    f->ide = ide_new(f->b, &config, "ide");
    board_reset(f->b, RESET_POWER);
    return f;
}

/* Past the first unit attention. */
static Fixture *fixture(void)
{
    Fixture *f = fixture_raw();
    PACKET(f, 0x00);
    in(f, STATUS);
    PACKET(f, 0x03, 0, 0, 0, 18);
    in(f, STATUS);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    memory_disk_free(&f->disc);
    memory_disk_free(&f->other);
    memory_disk_free(&f->disk);
    free(f);
}

static void check_bytes(const uint8_t *data, uint32_t block, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(data[i], memory_byte(block * 2048ull + i));
    }
}

static void signature_after_reset_and_foreign_commands(void **state)
{
    (void)state;
    Fixture *f = fixture_raw();
    assert_int_equal(in(f, STATUS), 0); /* not ready until it gets a packet */
    assert_int_equal(in(f, MID) | in(f, HIGH) << 8, 0xeb14);
    out(f, MID, 0);
    out(f, HIGH, 0);
    out(f, STATUS, 0xec);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | ERR);
    assert_int_equal(in(f, ERROR), 4);
    assert_int_equal(in(f, MID) | in(f, HIGH) << 8, 0xeb14);
    /* OAKCDROM.SYS wants exactly this after DEVICE RESET */
    f->irq.rises = 0;
    out(f, MID, 0);
    out(f, STATUS, 0x08);
    step(f);
    assert_int_equal(in(f, STATUS), 0);
    assert_int_equal(in(f, ERROR), 1);
    assert_int_equal(in(f, REASON), 1);
    assert_int_equal(in(f, LOW), 1);
    assert_int_equal(in(f, MID) | in(f, HIGH) << 8, 0xeb14);
    assert_int_equal(f->irq.rises, 0);
    done(f);
}

static void identify_packet_device(void **state)
{
    (void)state;
    Fixture *f = fixture_raw();
    uint16_t page[256];
    out(f, STATUS, 0xa1);
    step(f);
    assert_int_equal(f->irq.rises, 1);
    assert_int_equal(in(f, STATUS), DRDY | DRQ);
    for (unsigned i = 0; i < 256; i++) {
        page[i] = (uint16_t)bus_read(f->b->ports, DATA, 2);
    }
    assert_int_equal(page[0] & 0xff60, 0x8540); /* 12 bytes, CD-ROM, DRQ without an interrupt */
    assert_int_equal(in(f, STATUS), DRDY);
    assert_int_equal(in(f, REASON) & 2, 2); /* TEAC_CDI.SYS looks at I/O */
    done(f);
}

/* INQUIRY succeeds with an attention pending, and leaves it for the next command.
 */
static void unit_attention_does_not_ride_on_inquiry(void **state)
{
    (void)state;
    Fixture *f = fixture_raw();
    PACKET(f, 0x12, 0, 0, 0, 36);
    check_good(f);
    assert_int_equal(f->size, 36);
    assert_int_equal(f->data[0], 5);
    assert_memory_equal(f->data + 8, "VITRINE CD-ROM  ", 16);
    PACKET(f, 0x00);
    check_sense(f, 6, 0x29, 0);
    PACKET(f, 0x00);
    check_good(f);
    done(f);
}

static void reads_in_blocks_of_the_byte_count(void **state)
{
    (void)state;
    Fixture *f = fixture();
    const uint8_t read5[12] = {0x28, 0, 0, 0, 0, 100, 0, 0, 5};
    packet_with(f, read5, 2048, 0);
    assert_int_equal(f->size, 5 * 2048);
    assert_int_equal(f->blocks, 5);
    check_bytes(f->data, 100, f->size);
    check_good(f);
    packet_with(f, read5, 5000, 0); /* whole sectors fit twice */
    assert_int_equal(f->block_size, 4096);
    assert_int_equal(f->blocks, 3);
    check_bytes(f->data, 100, f->size);
    check_good(f);
    packet_with(f, read5, 100, 0);
    assert_int_equal(f->block_size, 100);
    check_bytes(f->data, 100, f->size);
    check_good(f);
    packet_with(f, read5, 0, 0); /* 0 stands for the most */
    assert_int_equal(f->blocks, 1);
    check_good(f);
    PACKET(f, 0xa8, 0, 0, 0, 0x02, 0xbb, 0, 0, 0, 1); /* the last */
    check_bytes(f->data, 699, 2048);
    check_good(f);
    PACKET(f, 0x28, 0, 0, 0, 0x02, 0xbb, 0, 0, 2);
    check_sense(f, 5, 0x21, 0);
    PACKET(f, 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff);
    check_sense(f, 5, 0x21, 0);
    PACKET(f, 0x28);
    check_good(f); /* nothing to transfer is no error */
    PACKET(f, 0x77);
    check_sense(f, 5, 0x20, 0);
    done(f);
}

static void reads_by_dma(void **state)
{
    (void)state;
    Fixture *f = fixture();
    const uint8_t read40[12] = {0x28, 0, 0, 0, 0, 10, 0, 0, 40};
    chip_set_config(f->b, CHIP_PCI(1, 1), 0x20, BM, 4);
    chip_set_config(f->b, CHIP_PCI(1, 1), 0x04, 5, 2);
    const uint32_t prd[4] = {0x10000, 0, 0x20000, 0x80000000 | 0x4000};
    memcpy(f->ram + 0x1000, prd, sizeof(prd));
    bus_write(f->b->ports, BM + 12, 0x1000, 4);
    out(f, BM + 8, 0x09);
    packet_with(f, read40, 0, 1);
    step(f);
    check_good(f);
    check_bytes(f->ram + 0x10000, 10, 40 * 2048);
    assert_int_equal(in(f, BM + 10) & 7, 4);
    done(f);
}

static void read_cd_makes_whole_sectors(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0xbe, 0, 0, 0, 0, 16, 0, 0, 2, 0xf8);
    check_good(f);
    assert_int_equal(f->size, 2 * 2352);
    static const uint8_t head[16] = {0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0,    0x00, 0x02, 0x16, 1};
    assert_memory_equal(f->data, head, 16);
    check_bytes(f->data + 16, 16, 2048);
    assert_int_equal(f->data[2352 + 14], 0x17);
    PACKET(f, 0xb9, 0, 0, 0, 2, 16, 0, 2, 17, 0x10);
    check_good(f);
    assert_int_equal(f->size, 2048);
    check_bytes(f->data, 16, 2048);
    PACKET(f, 0xbe, 0, 0, 0, 0, 16, 0, 0, 1, 0x10, 1); /* sub-channels */
    check_sense(f, 5, 0x24, 0);
    done(f);
}

/* Horner's rule at alpha^power over a code word; 0 for every word of the code. */
static uint8_t syndrome(const uint8_t *symbols, unsigned count, unsigned power)
{
    uint8_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < power; j++) {
            value = (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1d : 0));
        }
        value ^= symbols[i];
    }
    return value;
}

/* Half a block of the image cannot be read: the disc's block cannot, but those before it. */
static void what_comes_before_a_bad_block_is_read(void **state)
{
    (void)state;
    Fixture *f = fixture();
    f->disc.bad_at = 103 * 2048 + 1024;
    f->disc.bad_bytes = 512;
    PACKET(f, 0x28, 0, 0, 0, 0, 100, 0, 0, 8);
    assert_int_equal(f->size, 3 * 2048);
    check_bytes(f->data, 100, f->size);
    check_sense(f, 3, 0x11, 0);
    PACKET(f, 0x28, 0, 0, 0, 0, 103, 0, 0, 1);
    assert_int_equal(f->size, 0);
    check_sense(f, 3, 0x11, 0);
    PACKET(f, 0x28, 0, 0, 0, 0, 104, 0, 0, 1);
    check_good(f);
    check_bytes(f->data, 104, 2048);
    done(f);
}

static void error_codes_are_those_of_ecma_130(void **state)
{
    (void)state;
    uint8_t raw[2352], word[45];
    for (unsigned i = 0; i < sizeof(raw); i++) {
        raw[i] = (uint8_t)(i * 31 + i / 256);
    }
    cd_make_raw(raw, 4711);
    uint32_t crc = 0; /* over data and code it is zero */
    for (unsigned i = 0; i < 2068; i++) {
        crc ^= raw[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xd8018001u : 0);
        }
    }
    assert_int_equal(crc, 0);
    /* annex A: P words go down the columns of a 43 x 26 matrix of byte pairs, Q words along
     * diagonals */
    for (unsigned column = 0; column < 86; column++) {
        for (unsigned i = 0; i < 26; i++) {
            word[i] = raw[12 + 86 * i + column];
        }
        assert_int_equal(syndrome(word, 26, 0), 0);
        assert_int_equal(syndrome(word, 26, 1), 0);
    }
    for (unsigned diagonal = 0; diagonal < 52; diagonal++) {
        for (unsigned i = 0; i < 43; i++) {
            word[i] = raw[12 + (88 * i + 86 * (diagonal / 2) + diagonal % 2) % 2236];
        }
        word[43] = raw[2248 + diagonal];
        word[44] = raw[2300 + diagonal];
        assert_int_equal(syndrome(word, 45, 0), 0);
        assert_int_equal(syndrome(word, 45, 1), 0);
    }
}

static void toc_in_its_formats(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0x43, 0, 0, 0, 0, 0, 0, 0, 100);
    check_good(f);
    static const uint8_t toc[20] = {0, 18, 1, 1,    0,    0x14, 1, 0, 0, 0,
                                    0, 0,  0, 0x14, 0xaa, 0,    0, 0, 2, 0xbc};
    assert_int_equal(f->size, 20);
    assert_memory_equal(f->data, toc, 20);
    PACKET(f, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100); /* MSF, lead-out only */
    check_good(f);
    assert_int_equal(f->size, 12);
    assert_int_equal(f->data[9], 0); /* 700 + 150 frames: 00:11:25 */
    assert_int_equal(f->data[10], 11);
    assert_int_equal(f->data[11], 25);
    PACKET(f, 0x43, 0, 1, 0, 0, 0, 0, 0, 100);
    check_good(f);
    assert_int_equal(f->size, 12);
    PACKET(f, 0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40); /* format 1 where SFF-8020i had it */
    check_good(f);
    assert_int_equal(f->data[1], 10);
    PACKET(f, 0x43, 2, 2, 0, 0, 0, 0, 0, 200);
    check_good(f);
    assert_int_equal(f->size, 4 + 4 * 11);
    assert_int_equal(f->data[4 + 3], 0xa0);
    PACKET(f, 0x43, 0, 0, 0, 0, 0, 7, 0, 100);
    check_sense(f, 5, 0x24, 0);
    PACKET(f, 0x43, 0, 0, 0, 0, 0, 0, 0, 4); /* cut to the allocation length */
    check_good(f);
    assert_int_equal(f->size, 4);
    PACKET(f, 0x25);
    check_good(f);
    static const uint8_t capacity[8] = {0, 0, 2, 0xbb, 0, 0, 8, 0};
    assert_memory_equal(f->data, capacity, 8);
    done(f);
}

static void mode_pages_and_configuration(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 200);
    check_good(f);
    assert_int_equal(f->size, 28);
    assert_int_equal(f->data[1], 26);
    assert_int_equal(f->data[2], 1); /* a data disc is in */
    assert_int_equal(f->data[8], 0x2a);
    PACKET(f, 0x1a, 0, 0x3f, 0, 255);
    check_good(f);
    assert_int_equal(f->data[0], f->size - 1);
    PACKET(f, 0x5a, 0, 0x33, 0, 0, 0, 0, 0, 200);
    check_sense(f, 5, 0x24, 0);
    PACKET(f, 0x46, 0, 0, 0, 0, 0, 0, 1, 0);
    check_good(f);
    assert_int_equal(f->data[3], f->size - 4);
    assert_int_equal(f->data[7], 8); /* profile CD-ROM */
    PACKET(f, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    check_good(f);
    assert_int_equal(f->data[2] & 7, 4);
    assert_int_equal(f->data[5], 2); /* medium present, tray closed */
    PACKET(f, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8);
    check_good(f);
    assert_int_equal(f->size, 8);
    PACKET(f, 0x51, 0, 0, 0, 0, 0, 0, 0, 34);
    check_good(f);
    assert_int_equal(f->data[6], 1);
    PACKET(f, 0xac, 0, 0, 0, 0, 0, 0, 0, 0, 1);
    check_good(f);
    assert_int_equal(f->size, 24);
    done(f);
}

static void mode_select_sets_the_volume(void **state)
{
    (void)state;
    Fixture *f = fixture();
    const uint8_t select[12] = {0x55, 0x10, 0, 0, 0, 0, 0, 0, 24};
    uint8_t list[24] = {0};
    list[8] = 0x0e;
    list[9] = 14;
    list[8 + 9] = 0x40;
    list[8 + 11] = 0x20;
    out(f, ERROR, 0);
    out(f, MID, 0xfe);
    out(f, HIGH, 0xff);
    out(f, STATUS, 0xa0);
    step(f);
    for (unsigned i = 0; i < 12; i += 2) {
        bus_write(f->b->ports, DATA, select[i] | (uint32_t)select[i + 1] << 8, 2);
    }
    step(f);
    assert_int_equal(in(f, REASON) & 3, 0); /* data, to the device */
    assert_int_equal(in(f, MID), 24);
    assert_int_equal(in(f, STATUS), DRDY | DRQ);
    for (unsigned i = 0; i < 24; i += 2) {
        bus_write(f->b->ports, DATA, list[i] | (uint32_t)list[i + 1] << 8, 2);
    }
    step(f);
    check_good(f);
    PACKET(f, 0x5a, 0, 0x0e, 0, 0, 0, 0, 0, 200);
    check_good(f);
    assert_int_equal(f->data[8 + 9], 0x40);
    assert_int_equal(f->data[8 + 11], 0x20);
    done(f);
}

static void tray_and_lock(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0x1e, 0, 0, 0, 1);
    check_good(f);
    PACKET(f, 0x1b, 0, 0, 0, 2); /* locked: the guest cannot eject either */
    check_sense(f, 5, 0x53, 2);
    assert_false(ide_eject(f->ide, 2, false));
    PACKET(f, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    check_good(f);
    assert_int_equal(f->data[4], 1); /* someone pressed the button */
    PACKET(f, 0x1e);
    check_good(f);
    PACKET(f, 0x1b, 0, 0, 0, 2);
    check_good(f);
    assert_true(f->open);
    PACKET(f, 0x00);
    check_sense(f, 2, 0x3a, 2);
    PACKET(f, 0x12, 0, 0, 0, 36); /* INQUIRY works all the same */
    check_good(f);
    PACKET(f, 0x1b, 0, 0, 0, 3);
    check_good(f);
    assert_int_equal(f->moves, 2);
    PACKET(f, 0x00);
    check_sense(f, 6, 0x28, 0);
    PACKET(f, 0x00);
    check_good(f);
    done(f);
}

static void change_takes_a_second_and_is_reported(void **state)
{
    (void)state;
    Fixture *f = fixture();
    memory_disk_init(&f->other, 2048 * 50);
    ide_change_medium(f->ide, 2, memory_block(&f->other));
    PACKET(f, 0x12, 0, 0, 0, 36); /* neither concerns INQUIRY */
    check_good(f);
    for (unsigned i = 0; i < 2; i++) { /* whoever polls sees an empty drive */
        PACKET(f, 0x28, 0, 0, 0, 0, 0, 0, 0, 1);
        assert_int_equal(in(f, ERROR), 0x24);
        assert_int_equal(in(f, STATUS), DRDY | ERR);
    }
    PACKET(f, 0x00);
    check_sense(f, 2, 0x3a, 1);
    PACKET(f, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    check_good(f);
    assert_int_equal(f->data[4], 0); /* the new medium is still to come */
    assert_int_equal(f->data[5], 0);
    clock_step(&f->b->clock, 2 * CLOCK_NS_PER_S);
    PACKET(f, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    check_good(f);
    assert_int_equal(f->data[4], 2);
    assert_int_equal(f->data[5], 2);
    PACKET(f, 0x28, 0, 0, 0, 0, 0, 0, 0, 1);
    assert_int_equal(in(f, ERROR), 0x64);
    in(f, STATUS);
    PACKET(f, 0x25);
    check_good(f);
    assert_int_equal(f->data[3], 49);
    ide_change_medium(f->ide, 2, NULL);
    PACKET(f, 0x00);
    check_sense(f, 2, 0x3a, 1);
    IdeDriveInfo info;
    ide_drive_info(f->ide, 2, &info);
    assert_null(info.medium);
    done(f);
}

/* A swap that nobody polled for: DOS drivers give up on "not ready". */
static void change_while_nobody_looks_is_new_at_once(void **state)
{
    (void)state;
    Fixture *f = fixture();
    memory_disk_init(&f->other, 2048 * 50);
    ide_change_medium(f->ide, 2, memory_block(&f->other));
    clock_step(&f->b->clock, 2 * CLOCK_NS_PER_S);
    out(f, STATUS, 0x08); /* DEVICE RESET does not make it unseen */
    step(f);
    PACKET(f, 0x00);
    check_sense(f, 6, 0x28, 0);
    PACKET(f, 0x00);
    check_good(f);
    done(f);
}

/* What a command has to say is forgotten with the next one. */
static void sense_lasts_until_the_next_command(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0xff);
    in(f, STATUS);
    PACKET(f, 0x03, 0, 0, 0, 18);
    check_good(f);
    assert_int_equal(f->data[2], 5);
    PACKET(f, 0x03, 0, 0, 0, 18);
    check_good(f);
    assert_int_equal(f->data[2] | f->data[12], 0);
    PACKET(f, 0xff);
    in(f, STATUS);
    PACKET(f, 0x00);
    check_good(f);
    PACKET(f, 0x03, 0, 0, 0, 18);
    check_good(f);
    assert_int_equal(f->data[2] | f->data[12], 0);
    done(f);
}

static void audio_commands_keep_state(void **state)
{
    (void)state;
    Fixture *f = fixture();
    PACKET(f, 0x42, 2, 0x40, 1, 0, 0, 0, 0, 16);
    check_good(f);
    assert_int_equal(f->data[1], 0x15);
    PACKET(f, 0x47, 0, 0, 0, 2, 0, 0, 3, 0); /* a data track cannot be played */
    check_sense(f, 5, 0x64, 0);
    PACKET(f, 0x4b, 0, 0, 0, 0, 0, 0, 0, 1);
    check_sense(f, 5, 0x2c, 0);
    PACKET(f, 0x4e);
    check_good(f);
    done(f);
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture(), *g = fixture();
    const uint8_t read[12] = {0x28, 0, 0, 0, 0, 100, 0, 0, 60};
    out(f, MID, 0);
    out(f, HIGH, 8);
    out(f, STATUS, 0xa0);
    step(f);
    for (unsigned i = 0; i < 12; i += 2) {
        bus_write(f->b->ports, DATA, read[i] | (uint32_t)read[i + 1] << 8, 2);
    }
    clock_step(&f->b->clock, 20000); /* the job is in flight */
    chip_state_round_trip(f->b, g->b);
    for (unsigned i = 0; i < 60; i++) {
        step(g);
        assert_int_equal(in(g, STATUS), DRDY | DRQ);
        for (unsigned j = 0; j < 2048; j += 2) {
            unsigned word = (unsigned)bus_read(g->b->ports, DATA, 2);
            g->data[j] = (uint8_t)word;
            g->data[j + 1] = (uint8_t)(word >> 8);
        }
        check_bytes(g->data, 100 + i, 2048);
    }
    step(g);
    check_good(g);
    done(g);
    done(f);
}

static void noise_is_survived(void **state)
{
    (void)state;
    Fixture *f = fixture();
    uint32_t seed = 99;
    for (unsigned i = 0; i < 4000; i++) {
        uint8_t bytes[12];
        for (unsigned j = 0; j < 12; j++) {
            seed = seed * 1664525 + 1013904223;
            bytes[j] = j < 6 || seed & 0x10000 ? (uint8_t)(seed >> 24) : 0;
        }
        out(f, ERROR, seed >> 12 & 1);
        out(f, MID, seed >> 9);
        out(f, HIGH, seed >> 17);
        out(f, STATUS, i % 50 == 0 ? 0x08 : 0xa0);
        step(f);
        for (unsigned j = 0; j < 12; j += 2) {
            bus_write(f->b->ports, DATA, bytes[j] | (uint32_t)bytes[j + 1] << 8, 2);
        }
        step(f);
        for (unsigned j = 0; j < (seed >> 20) % 700; j++) {
            if (seed & 0x100) {
                bus_write(f->b->ports, DATA, seed, 2);
            }
            bus_read(f->b->ports, DATA, 4);
        }
        step(f);
    }
    done(f);
}

/* Two drives do the same, one with each access by itself, one in runs: the packet, and 1..300 at a
 * time of what it gives, across the ends of blocks and of the command. */
typedef struct Twins {
    Fixture *one, *runs;
    uint32_t seed, in_runs, accesses;
} Twins;

static void twins_step(Twins *t)
{
    step(t->one);
    step(t->runs);
    assert_int_equal(in(t->one, STATUS), in(t->runs, STATUS));
    assert_int_equal(t->one->irq.rises, t->runs->irq.rises);
    chip_state_same(t->one->b, t->runs->b);
}

static void twins_packet(Twins *t, const uint8_t *packet, unsigned limit, unsigned bytes)
{
    static uint8_t a[4 * 300], b[4 * 300];
    Fixture *const both[] = {t->one, t->runs};
    for (unsigned i = 0; i < 2; i++) {
        out(both[i], ERROR, 0);
        out(both[i], MID, limit);
        out(both[i], HIGH, limit >> 8);
        out(both[i], STATUS, 0xa0);
    }
    twins_step(t);
    memcpy(a, packet, 12);
    chip_out_singly(t->one->b, DATA, bytes, a, 12 / bytes);
    t->in_runs += chip_out_string(t->runs->b, DATA, bytes, a, 12 / bytes);
    twins_step(t);
    for (unsigned over = 0; over < 3;) {
        t->seed = t->seed * 1664525 + 1013904223;
        uint32_t count = 1 + (t->seed >> 8) % 300;
        over += !(in(t->one, CONTROL) & in(t->runs, CONTROL) & DRQ);
        chip_in_singly(t->one->b, DATA, bytes, a, count);
        t->in_runs += chip_in_string(t->runs->b, DATA, bytes, b, count);
        t->accesses += count;
        assert_memory_equal(a, b, count * bytes);
        twins_step(t);
    }
}

static void runs_are_single_accesses(void **state)
{
    (void)state;
    static const uint8_t work[][12] = {
        {0x28, 0, 0, 0, 0, 16, 0, 0, 5}, /* READ (10) */
        {0xbe, 0, 0, 0, 0, 20, 0, 0, 2, 0x10},
        {0x12, 0, 0, 0, 36}, /* INQUIRY */
        {0x43, 0, 0, 0, 0, 0, 0, 0, 20},
        {0x00},
        {0x28, 0, 0, 0xff, 0, 0, 0, 0, 1}, /* past the end */
        {0x03, 0, 0, 0, 17},
    };
    static const unsigned limits[] = {0xfffe, 2048, 0x1234, 0x301, 6};
    Twins t = {.one = fixture(), .runs = fixture(), .seed = 4712};
    for (unsigned bytes = 2; bytes <= 4; bytes += 2) {
        for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
            t.in_runs = t.accesses = 0;
            for (unsigned k = 0; k < sizeof(work) / sizeof(work[0]); k++) {
                twins_packet(&t, work[k], limits[i], bytes);
            }
            assert_true(t.in_runs > t.accesses / 4 || limits[i] == 6);
        }
    }
    done(t.one);
    done(t.runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_after_reset_and_foreign_commands),
        cmocka_unit_test(identify_packet_device),
        cmocka_unit_test(unit_attention_does_not_ride_on_inquiry),
        cmocka_unit_test(reads_in_blocks_of_the_byte_count),
        cmocka_unit_test(reads_by_dma),
        cmocka_unit_test(read_cd_makes_whole_sectors),
        cmocka_unit_test(what_comes_before_a_bad_block_is_read),
        cmocka_unit_test(error_codes_are_those_of_ecma_130),
        cmocka_unit_test(toc_in_its_formats),
        cmocka_unit_test(mode_pages_and_configuration),
        cmocka_unit_test(mode_select_sets_the_volume),
        cmocka_unit_test(tray_and_lock),
        cmocka_unit_test(change_takes_a_second_and_is_reported),
        cmocka_unit_test(change_while_nobody_looks_is_new_at_once),
        cmocka_unit_test(sense_lasts_until_the_next_command),
        cmocka_unit_test(audio_commands_keep_state),
        cmocka_unit_test(state_goes_on_in_another_machine),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(runs_are_single_accesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
