/* 82077AA: reset, seeks, disk change, transfers with and without DMA, formats, all short commands,
 * state. */
#include "storage/fdc.h"

#include <stdlib.h>
#include <string.h>

#include <stdio.h>
#include <unistd.h>

#include "tests/unit/disk_board.h"

enum {
    DOR = 0x3f2,
    MSR = 0x3f4,
    FIFO = 0x3f5,
    DIR = 0x3f7,
    MOTOR_A = 0x1c,
    MOTOR_B = 0x2d,
    READ = 0xe6,
    WRITE = 0xc5,
};

/* One DMA channel, of which the test is the memory. */
typedef struct Channel {
    uint8_t data[65536];
    size_t at, count;
    bool masked, to_memory;
    void (*ready)(void *self);
    void *self;
} Channel;

static size_t channel_transfer(void *controller, unsigned channel, void *data, size_t length,
                               bool to_memory, bool *terminal_count)
{
    Channel *c = controller;
    size_t left = c->count - c->at, part = length < left ? length : left;
    assert_int_equal(channel, 2);
    if (c->masked || left == 0) {
        return 0;
    }
    c->to_memory = to_memory;
    if (to_memory) {
        memcpy(c->data + c->at, data, part);
    } else {
        memcpy(data, c->data + c->at, part);
    }
    c->at += part;
    *terminal_count = c->at == c->count;
    return part;
}

static void channel_request(void *controller, unsigned channel, bool level)
{
    (void)controller;
    (void)channel;
    (void)level;
}

static void channel_listen(void *controller, unsigned channel, void (*ready)(void *self),
                           void *self)
{
    Channel *c = controller;
    (void)channel;
    c->ready = ready;
    c->self = self;
}

static const DmaOps channel_ops = {channel_transfer, channel_request, channel_listen};

typedef struct Fixture {
    Board *b;
    Fdc *fdc;
    MemoryDisk disk[2];
    Probe irq;
    Channel dma;
    uint8_t result[16];
} Fixture;

static Fixture *fixture_of(uint64_t size_a, uint64_t size_b, Block *medium)
{
    Fixture *f = calloc(1, sizeof(*f));
    BlockQueue *queue;
    f->b = disk_board(&queue);
    FdcConfig config = {.base = 0x3f0,
                        .irq = chip_probe(f->b, &f->irq),
                        .dma = {&channel_ops, &f->dma, 2},
                        .queue = queue,
                        .drive = {FDC_AUTO, FDC_1440K},
                        .hurry = 100};
    uint64_t sizes[2] = {size_a, size_b};
    for (unsigned i = 0; i < 2; i++) {
        if (sizes[i]) {
            memory_disk_init(&f->disk[i], sizes[i]);
            config.medium[i] = memory_block(&f->disk[i]);
        }
    }
    config.medium[0] = medium ? medium : config.medium[0];
    f->fdc = fdc_new(f->b, &config, "fdc");
    board_reset(f->b, RESET_POWER);
    return f;
}

static Fixture *fixture_with(uint64_t size_a, uint64_t size_b)
{
    return fixture_of(size_a, size_b, NULL);
}

static void done(Fixture *f)
{
    board_free(f->b);
    memory_disk_free(&f->disk[0]);
    memory_disk_free(&f->disk[1]);
    free(f);
}

static void step(Fixture *f)
{
    clock_step(&f->b->clock, 100000000);
}

static void send(Fixture *f, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(chip_in(f->b, MSR) & 0xc0, 0x80);
        chip_out(f->b, FIFO, bytes[i]);
    }
}

#define SEND(f, ...) send(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Reads the result; returns its length. */
static unsigned fetch(Fixture *f)
{
    unsigned count = 0;
    memset(f->result, 0, sizeof(f->result));
    while ((chip_in(f->b, MSR) & 0xd0) == 0xd0 && count < sizeof(f->result)) {
        f->result[count++] = chip_in(f->b, FIFO);
    }
    assert_int_equal(chip_in(f->b, MSR) & 0xd0, 0x80);
    return count;
}

static void sense(Fixture *f, unsigned st0, unsigned pcn)
{
    SEND(f, 0x08);
    assert_int_equal(fetch(f), 2);
    assert_int_equal(f->result[0], st0);
    assert_int_equal(f->result[1], pcn);
}

/* Out of reset, motors on, 500 kbit/s, recalibrated. */
static void start(Fixture *f)
{
    chip_out(f->b, DOR, 0x3c);
    step(f);
    for (unsigned i = 0; i < 4; i++) {
        sense(f, 0xc0 | i, 0);
    }
    chip_out(f->b, DIR, 0);
    SEND(f, 0x03, 0xdf, 0x02);
    SEND(f, 0x07, 0x00);
    step(f);
    sense(f, 0x20, 0);
}

static void transfer(Fixture *f, unsigned command, unsigned head_unit, unsigned c, unsigned h,
                     unsigned r, unsigned eot, size_t bytes)
{
    f->dma.at = 0;
    f->dma.count = bytes;
    SEND(f, (uint8_t)command, (uint8_t)head_unit, (uint8_t)c, (uint8_t)h, (uint8_t)r, 2,
         (uint8_t)eot, 0x1b, 0xff);
    step(f);
}

static void seek_to(Fixture *f, unsigned unit, unsigned cylinder)
{
    SEND(f, 0x0f, (uint8_t)unit, (uint8_t)cylinder);
    step(f);
    sense(f, 0x20 | unit, cylinder);
}

static void check_result(Fixture *f, unsigned st0, unsigned st1, unsigned st2, unsigned c,
                         unsigned h, unsigned r)
{
    assert_true(f->irq.level);
    assert_int_equal(fetch(f), 7);
    assert_false(f->irq.level);
    const uint8_t expected[7] = {
        (uint8_t)st0, (uint8_t)st1, (uint8_t)st2, (uint8_t)c, (uint8_t)h, (uint8_t)r, 2};
    assert_memory_equal(f->result, expected, 7);
}

static void check_bytes(const uint8_t *data, uint64_t sector, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(data[i], memory_byte(sector * 512 + i));
    }
}

static void reset_reports_four_units_after_a_while(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    assert_int_equal(chip_in(f->b, MSR), 0);
    chip_out(f->b, DOR, 0x0c);
    assert_false(f->irq.level); /* a driver that just wrote the port is not ready for it */
    assert_int_equal(chip_in(f->b, MSR), 0);
    step(f);
    assert_true(f->irq.level);
    for (unsigned i = 0; i < 4; i++) {
        sense(f, 0xc0 | i, 0);
        assert_false(f->irq.level);
    }
    SEND(f, 0x08); /* nothing more: an invalid command */
    assert_int_equal(fetch(f), 1);
    assert_int_equal(f->result[0], 0x80);
    SEND(f, 0x13, 0x00, 0x10, 0x00); /* CONFIGURE: no polling; then no unit reports */
    SEND(f, 0x94);                   /* LOCK keeps that */
    assert_int_equal(fetch(f), 1);
    assert_int_equal(f->result[0], 0x10);
    chip_out(f->b, MSR, 0x80);
    step(f);
    assert_true(f->irq.level);
    SEND(f, 0x08);
    assert_int_equal(fetch(f), 1);
    done(f);
}

/* OpenBSD asks for no status after the reset and takes the first one it gets for its
 * recalibration's. */
static void a_seek_ends_the_wait_for_reset_status(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    chip_out(f->b, DOR, 0x00);
    chip_out(f->b, DOR, 0x04);
    step(f);
    SEND(f, 0x03, 0xdf, 0x02);
    chip_out(f->b, DOR, 0x14);
    SEND(f, 0x07, 0x00);
    step(f);
    sense(f, 0x20, 0);
    done(f);
}

static void reads_across_sectors_and_sides(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    seek_to(f, 0, 3);
    transfer(f, READ, 0, 3, 0, 17, 18, 4 * 512);
    check_result(f, 0x04, 0, 0, 3, 1, 3); /* multi-track: on to head 1 */
    assert_true(f->dma.to_memory);
    check_bytes(f->dma.data, 3 * 36 + 16, 4 * 512);
    transfer(f, READ, 0x04, 3, 1, 18, 18, 512); /* the last: the ID goes on to the next cylinder */
    check_result(f, 0x04, 0, 0, 4, 0, 1);
    transfer(f, READ, 0x04, 3, 1, 18, 18, 1024); /* and no terminal count: end of cylinder */
    check_result(f, 0x44, 0x80, 0, 4, 0, 1);
    transfer(f, 0x66, 0, 3, 0, 18, 18, 512); /* one side only */
    check_result(f, 0x00, 0, 0, 4, 0, 1);
    done(f);
}

static void writes_and_fills_up_a_short_sector(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    seek_to(f, 0, 79);
    memset(f->dma.data, 0x5a, 1024);
    transfer(f, WRITE, 0x04, 79, 1, 18, 18, 100);
    check_result(f, 0x04, 0, 0, 80, 0, 1);
    const uint8_t *last = f->disk[0].bytes + 2879 * 512;
    assert_int_equal(last[99], 0x5a);
    assert_int_equal(last[100], 0);
    assert_int_equal(last[511], 0);
    check_bytes(f->disk[0].bytes + 2878 * 512, 2878, 512);
    done(f);
}

static void wrong_ids_and_rates_find_nothing(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    transfer(f, READ, 0, 5, 0, 1, 18, 512); /* the head is on cylinder 0 */
    check_result(f, 0x40, 0x04, 0x10, 5, 0, 1);
    transfer(f, READ, 0, 0, 0, 19, 19, 512);
    check_result(f, 0x40, 0x04, 0, 0, 0, 19);
    transfer(f, READ, 0, 0, 1, 1, 18, 512);
    check_result(f, 0x40, 0x04, 0, 0, 1, 1);
    chip_out(f->b, DIR, 2); /* 250 kbit/s: no address marks on this disk */
    transfer(f, READ, 0, 0, 0, 1, 18, 512);
    check_result(f, 0x40, 0x01, 0, 0, 0, 1);
    chip_out(f->b, DIR, 0);
    SEND(f, 0x4a, 0x00); /* READ ID */
    step(f);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[0], 0);
    assert_int_equal(f->result[3], 0);
    assert_in_range(f->result[5], 1, 18);
    assert_int_equal(f->result[6], 2);
    SEND(f, 0x4a, 0x01); /* no disk in B: */
    step(f);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[0], 0x41);
    assert_int_equal(f->result[1], 0x01);
    done(f);
}

/* A disk swap must be noticed through the disk-change line. */
static void disk_change_line_stays_until_a_step(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0x80); /* recalibrated at track 0: no step pulse */
    seek_to(f, 0, 1);
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0);
    assert_true(fdc_change_medium(f->fdc, 0, NULL));
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0x80);
    seek_to(f, 0, 2);
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0x80); /* an empty drive keeps it */
    memory_disk_free(&f->disk[1]);
    memory_disk_init(&f->disk[1], 737280);
    assert_true(fdc_change_medium(f->fdc, 0, memory_block(&f->disk[1])));
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0x80);
    SEND(f, 0x07, 0x00);
    step(f);
    sense(f, 0x20, 0);
    assert_int_equal(chip_in(f->b, DIR) & 0x80, 0);
    chip_out(f->b, DIR, 2); /* a 720K disk, 250 kbit/s */
    transfer(f, READ, 0, 0, 0, 9, 9, 1024);
    check_result(f, 0x04, 0, 0, 0, 1, 2);
    check_bytes(f->dma.data, 8, 1024);
    done(f);
}

static void program_moves_the_bytes_in_non_dma_mode(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    SEND(f, 0x03, 0xdf, 0x03);
    SEND(f, 0x46, 0, 0, 0, 1, 2, 2, 0x1b, 0xff);
    for (unsigned sector = 0; sector < 2; sector++) {
        step(f);
        assert_true(f->irq.level);
        for (unsigned i = 0; i < 512; i++) {
            assert_int_equal(chip_in(f->b, MSR), 0xf0);
            assert_int_equal(chip_in(f->b, FIFO), memory_byte(sector * 512 + i));
        }
        assert_false(f->irq.level);
        step(f);
    }
    check_result(f, 0x40, 0x80, 0, 1, 0, 1); /* nobody gave terminal count */
    SEND(f, 0x45, 0, 0, 0, 5, 2, 5, 0x1b, 0xff);
    step(f);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(chip_in(f->b, MSR), 0xb0);
        chip_out(f->b, FIFO, 0x77);
    }
    step(f);
    check_result(f, 0x40, 0x80, 0, 1, 0, 1);
    assert_int_equal(f->disk[0].bytes[4 * 512 + 300], 0x77);
    done(f);
}

static void masked_channel_is_waited_for_then_overruns(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    f->dma.masked = true;
    transfer(f, READ, 0, 0, 0, 1, 18, 512);
    assert_false(f->irq.level);
    f->dma.masked = false;
    f->dma.ready(f->dma.self);
    check_result(f, 0x00, 0, 0, 0, 0, 2);
    f->dma.masked = true;
    transfer(f, READ, 0, 0, 0, 1, 18, 512);
    step(f);
    step(f);
    check_result(f, 0x40, 0x10, 0, 0, 0, 1);
    done(f);
}

static void write_protected_disks_refuse(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    memory_disk_init(&f->disk[1], 1474560);
    f->disk[1].read_only = true;
    assert_true(fdc_change_medium(f->fdc, 0, memory_block(&f->disk[1])));
    transfer(f, WRITE, 0, 0, 0, 1, 18, 512);
    check_result(f, 0x40, 0x02, 0, 0, 0, 1);
    SEND(f, 0x4d, 0, 2, 18, 0x54, 0xf6);
    step(f);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[1], 0x02);
    SEND(f, 0x04, 0x00);
    assert_int_equal(fetch(f), 1);
    assert_int_equal(f->result[0], 0x78); /* protected, ready, track 0, two sides */
    done(f);
}

static void format_fills_the_sectors_it_names(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    seek_to(f, 0, 2);
    for (unsigned i = 0; i < 18; i++) {
        const uint8_t id[4] = {2, 1, (uint8_t)(18 - i), 2};
        memcpy(f->dma.data + 4 * i, id, 4);
    }
    f->dma.at = 0;
    f->dma.count = 72;
    SEND(f, 0x4d, 0x04, 2, 18, 0x54, 0xf6);
    step(f);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[0], 0x04);
    assert_int_equal(f->result[1] | f->result[2], 0);
    for (unsigned i = 0; i < 18 * 512; i++) {
        assert_int_equal(f->disk[0].bytes[(2 * 36 + 18) * 512 + i], 0xf6);
    }
    check_bytes(f->disk[0].bytes + (2 * 36 + 17) * 512, 2 * 36 + 17, 512);
    check_bytes(f->disk[0].bytes + 3 * 36 * 512, 3 * 36, 512);
    done(f);
}

/* Linux's floppy=nodma reads the status register once more in the handler that moved the last byte.
 */
static void result_does_not_follow_the_last_byte_at_once(void **state)
{
    (void)state;
    enum { FORMAT, FEED, TAKE, WAYS };
    for (unsigned way = FORMAT; way < WAYS; way++) {
        Fixture *f = fixture_with(1474560, 0);
        start(f);
        SEND(f, 0x03, 0xdf, 0x03);
        const uint8_t id[4] = {0, 0, 1, 2};
        if (way == FORMAT) {
            SEND(f, 0x4d, 0, 2, 1, 0x54, 0xf6);
        } else {
            SEND(f, way == FEED ? 0x45 : 0x46, 0, 0, 0, 1, 2, 1, 0x1b, 0xff);
        }
        step(f);
        for (unsigned i = 0; i < (way == FORMAT ? 4u : 512u); i++) {
            assert_int_equal(chip_in(f->b, MSR), way == TAKE ? 0xf0 : 0xb0);
            if (way == TAKE) {
                assert_int_equal(chip_in(f->b, FIFO), memory_byte(i));
            } else {
                chip_out(f->b, FIFO, id[i & 3]);
            }
        }
        for (unsigned i = 0; i < 9; i++) {
            assert_int_equal(chip_in(f->b, MSR), 0x30);
            assert_false(f->irq.level);
            clock_step(&f->b->clock, 10000);
        }
        step(f);
        assert_true(f->irq.level);
        assert_int_equal(fetch(f), 7);
        done(f);
    }
}

static void read_track_verify_and_deleted_data(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    transfer(f, 0x42, 0, 0, 0, 9, 3, 3 * 512); /* READ TRACK begins at the index */
    check_result(f, 0x00, 0, 0, 1, 0, 1);
    check_bytes(f->dma.data, 0, 3 * 512);
    transfer(f, 0x56, 0, 0, 0, 1, 18, 0); /* VERIFY to the end of the track */
    check_result(f, 0x00, 0, 0, 1, 0, 1);
    SEND(f, 0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 4); /* four sectors */
    step(f);
    check_result(f, 0x00, 0, 0, 0, 0, 5);
    transfer(f, 0x4c, 0, 0, 0, 1, 18, 1024); /* READ DELETED DATA meets a normal mark */
    check_result(f, 0x00, 0, 0x40, 0, 0, 2);
    check_bytes(f->dma.data, 0, 512);
    done(f);
}

static void scan_compares_with_memory(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    memcpy(f->dma.data, f->disk[0].bytes + 512, 512);
    memcpy(f->dma.data + 512, f->disk[0].bytes + 512, 512);
    f->dma.data[512] = 0xff; /* matches anything */
    f->dma.at = 0;
    f->dma.count = 4096;
    SEND(f, 0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1);
    step(f);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[2], 0x08); /* equal, in the second sector */
    assert_int_equal(f->result[5], 2);
    done(f);
}

static void short_commands_answer(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    SEND(f, 0x10);
    assert_int_equal(fetch(f), 1);
    assert_int_equal(f->result[0], 0x90);
    SEND(f, 0x18); /* PART ID: a command of the 82078 */
    assert_int_equal(fetch(f), 1);
    assert_int_equal(f->result[0], 0x80);
    SEND(f, 0x12, 0x84);
    SEND(f, 0x13, 0x00, 0x57, 0x12);
    SEND(f, 0x94);
    fetch(f);
    SEND(f, 0x0e);
    assert_int_equal(fetch(f), 10);
    const uint8_t registers[10] = {0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x57, 0x12};
    assert_memory_equal(f->result, registers, 10);
    SEND(f, 0xcf, 0x00, 0x05); /* RELATIVE SEEK inwards */
    step(f);
    sense(f, 0x20, 5);
    SEND(f, 0x8f, 0x00, 0x02);
    step(f);
    sense(f, 0x20, 3);
    transfer(f, READ, 0, 7, 0, 1, 18, 512); /* implied seek, from CONFIGURE */
    check_result(f, 0x00, 0, 0, 7, 0, 2);
    check_bytes(f->dma.data, 7 * 36, 512);
    SEND(f, 0x07, 0x03); /* no drive there: its track 0 never comes */
    step(f);
    sense(f, 0x73, 0);
    done(f);
}

static void both_drives_seek_at_once(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 737280);
    start(f);
    SEND(f, 0x0f, 0x00, 10);
    SEND(f, 0x0f, 0x01, 20);
    assert_int_equal(chip_in(f->b, MSR) & 0x0f, 3);
    step(f);
    sense(f, 0x20, 10);
    assert_true(f->irq.level);
    sense(f, 0x21, 20);
    assert_false(f->irq.level);
    chip_out(f->b, DIR, 2);
    transfer(f, READ, 0x05, 20, 1, 3, 9, 512);
    check_result(f, 0x05, 0, 0, 20, 1, 4);
    check_bytes(f->dma.data, 20 * 18 + 9 + 2, 512);
    done(f);
}

static void every_size_is_recognised(void **state)
{
    (void)state;
    static const struct {
        uint32_t kib_times_2;
        uint8_t tracks, heads, sectors;
        FdcDriveType type;
    } sizes[] = {
        {320, 40, 1, 8, FDC_360K},    {360, 40, 1, 9, FDC_360K},    {640, 40, 2, 8, FDC_360K},
        {720, 40, 2, 9, FDC_360K},    {1440, 80, 2, 9, FDC_1440K},  {2400, 80, 2, 15, FDC_1200K},
        {2880, 80, 2, 18, FDC_1440K}, {3360, 80, 2, 21, FDC_1440K}, {5760, 80, 2, 36, FDC_2880K},
        {3444, 82, 2, 21, FDC_1440K}, {3200, 80, 2, 20, FDC_1440K}, {1600, 80, 2, 10, FDC_1440K},
    };
    FdcFormat format;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(fdc_guess_format(512ull * sizes[i].kib_times_2, &format));
        assert_int_equal(format.tracks, sizes[i].tracks);
        assert_int_equal(format.heads, sizes[i].heads);
        assert_int_equal(format.sectors, sizes[i].sectors);
        Fixture *f = fixture_with(512ull * sizes[i].kib_times_2, 0);
        assert_int_equal(fdc_drive_type(f->fdc, 0), sizes[i].type);
        done(f);
    }
    assert_false(fdc_guess_format(512, &format));
    assert_false(fdc_guess_format(1474560 + 512, &format));
    assert_false(fdc_guess_format(1ull << 40, &format));
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0), *g = fixture_with(1474560, 0);
    start(f);
    g->dma.count = f->dma.count = 3 * 512;
    g->dma.at = f->dma.at = 0;
    SEND(f, READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    clock_step(&f->b->clock, 250000); /* the job is in flight */
    chip_state_round_trip(f->b, g->b);
    step(g);
    check_result(g, 0x00, 0, 0, 0, 0, 4);
    check_bytes(g->dma.data, 0, 3 * 512);
    done(g);
    done(f);
}

static void noise_is_survived(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 737280);
    uint32_t seed = 4711;
    start(f);
    for (unsigned i = 0; i < 60000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t value = seed >> 8, pick = seed >> 28;
        if (pick < 8) {
            chip_out(f->b, FIFO, (uint8_t)value);
        } else if (pick < 10) {
            chip_in(f->b, FIFO);
        } else if (pick == 10) {
            chip_out(f->b, (uint16_t)(0x3f0 + value % 6), (uint8_t)(value >> 8 | 0x34));
        } else if (pick == 11) {
            f->dma.at = 0;
            f->dma.count = value % 65536;
            f->dma.masked = value & 0x10000;
        } else if (pick == 12) {
            f->dma.ready(f->dma.self);
        } else {
            clock_step(&f->b->clock, value % 3000000);
        }
    }
    done(f);
}

/* ---- images that know their sectors ---- */

static size_t put_record(uint8_t *p, uint8_t kind, uint8_t fill, size_t bytes)
{
    p[0] = kind;
    memset(p + 1, fill, bytes);
    return bytes + 1;
}

/* An IMD image: track 0 with a plain, a deleted and a bad sector, one without data, one of 256
 * bytes that says cylinder 9, and an even smaller one; track 1 in FM. */
static Block *odd_disk(char *path, size_t room, bool overlay)
{
    static const uint8_t head[] = {3, 0, 0x80, 6, 0xff, 1, 2, 3, 4, 0x41, 6, 0, 0,   0, 0,
                                   9, 0, 0,    2, 0,    2, 0, 2, 0, 2,    0, 1, 128, 0};
    static const uint8_t fm[] = {0, 1, 0, 1, 0, 1};
    uint8_t image[4096];
    size_t size = 0;
    Err err = {""};
    snprintf(path, room, "/tmp/vitrine-fdc-%ld.imd", (long)getpid());
    memcpy(image, "IMD 1.18: x\x1a", 12);
    size = 12;
    memcpy(image + size, head, sizeof(head));
    size += sizeof(head);
    size += put_record(image + size, 1, 0x11, 512);
    size += put_record(image + size, 3, 0x22, 512);
    size += put_record(image + size, 5, 0x33, 512);
    size += put_record(image + size, 0, 0, 0);
    size += put_record(image + size, 1, 0x55, 256);
    size += put_record(image + size, 1, 0x66, 128);
    memcpy(image + size, fm, sizeof(fm));
    size += sizeof(fm);
    size += put_record(image + size, 1, 0x77, 128);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(image, 1, size, file), size);
    fclose(file);
    Block *b = block_open(path, &(BlockOptions){.read_only = !overlay, .snapshot = overlay}, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    unlink(path);
    return b;
}

static void expect(Fixture *f, unsigned st0, unsigned st1, unsigned st2)
{
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[0], st0);
    assert_int_equal(f->result[1], st1);
    assert_int_equal(f->result[2], st2);
}

static void expect_data(Fixture *f, size_t at, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(f->dma.data[at + i], value);
    }
}

/* READ of one sector of any size: code, head and unit, its ID, bytes wanted. */
static void read_id_of(Fixture *f, unsigned command, unsigned c, unsigned r, unsigned n,
                       size_t bytes)
{
    f->dma.at = 0;
    f->dma.count = bytes;
    SEND(f, (uint8_t)command, 0, (uint8_t)c, 0, (uint8_t)r, (uint8_t)n, (uint8_t)r, 0x1b, 0xff);
    step(f);
}

static void what_comes_before_a_bad_sector_is_read(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1474560, 0);
    start(f);
    f->disk[0].bad_at = 2 * 512; /* sector 3 */
    f->disk[0].bad_bytes = 512;
    transfer(f, READ, 0, 0, 0, 1, 18, 18 * 512);
    check_result(f, 0x40, 0x20, 0x20, 0, 0, 3);
    assert_int_equal(f->dma.at, 2 * 512);
    check_bytes(f->dma.data, 0, 2 * 512);
    transfer(f, READ, 0, 0, 0, 4, 18, 512);
    assert_int_equal(f->dma.at, 512);
    check_bytes(f->dma.data, 3, 512);
    fetch(f);
    memset(f->dma.data, 0x77, sizeof(f->dma.data));
    transfer(f, WRITE, 0, 0, 0, 1, 18, 18 * 512);
    assert_int_equal(fetch(f), 7);
    assert_int_equal(f->result[0] & 0xc0, 0x40); /* abnormal termination, at sector 3 */
    assert_int_equal(f->result[5], 3);
    assert_int_equal(f->disk[0].bytes[1023], 0x77);
    done(f);
}

static void odd_images_show_their_marks_and_errors(void **state)
{
    char path[64];
    (void)state;
    Fixture *f = fixture_of(0, 0, odd_disk(path, sizeof(path), false));
    start(f);
    read_id_of(f, 0x46, 0, 1, 2, 512);
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 512, 0x11);
    read_id_of(f, 0x46, 0, 2, 2, 512); /* a deleted mark: the data come, the result says so */
    expect(f, 0x00, 0, 0x40);
    expect_data(f, 0, 512, 0x22);
    read_id_of(f, 0x4c, 0, 2, 2, 512); /* as it was wanted */
    expect(f, 0x00, 0, 0);
    read_id_of(f, 0x4c, 0, 1, 2, 512);
    expect(f, 0x00, 0, 0x40);
    read_id_of(f, 0x46, 0, 3, 2, 512); /* data that do not fit their checksum */
    expect(f, 0x40, 0x20, 0x20);
    expect_data(f, 0, 512, 0x33);
    read_id_of(f, 0x46, 0, 4, 2, 512); /* an ID with nothing behind it */
    expect(f, 0x40, 0x01, 0x01);
    read_id_of(f, 0x46, 9, 0x41, 1, 256);
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 256, 0x55);
    read_id_of(f, 0x46, 0, 6, 0, 128); /* behind 256 bytes: not on a unit of the image */
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 128, 0x66);
    read_id_of(f, 0x46, 0, 1, 1, 256); /* the size is part of the ID */
    expect(f, 0x40, 0x04, 0);
    read_id_of(f, 0x46, 5, 1, 2, 512);
    expect(f, 0x40, 0x04, 0x10);
    f->dma.at = 0; /* sectors 1 to 3, the deleted one passed over */
    f->dma.count = 512;
    SEND(f, 0x66, 0, 0, 0, 2, 2, 3, 0x1b, 0xff);
    step(f);
    expect(f, 0x40, 0x20, 0x20);
    expect_data(f, 0, 512, 0x33);
    read_id_of(f, 0x45, 0, 1, 2, 512); /* WRITE: such images are read only */
    expect(f, 0x40, 0x02, 0);
    SEND(f, 0x4d, 0, 2, 6, 0x1b, 0xf6); /* FORMAT TRACK, too */
    step(f);
    expect(f, 0x40, 0x02, 0);
    seek_to(f, 0, 1);
    read_id_of(f, 0x46, 1, 1, 0, 128); /* this track is FM: no mark in MFM */
    expect(f, 0x40, 0x01, 0);
    read_id_of(f, 0x06, 1, 1, 0, 128);
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 128, 0x77);
    SEND(f, 0x0a, 0x00); /* READ ID in FM */
    step(f);
    expect(f, 0x00, 0, 0);
    assert_int_equal(f->result[3], 1);
    assert_int_equal(f->result[6], 0);
    seek_to(f, 0, 7); /* no such track */
    SEND(f, 0x4a, 0x00);
    step(f);
    expect(f, 0x40, 0x01, 0);
    done(f);
}

static void odd_images_are_written_above_an_overlay(void **state)
{
    char path[64];
    (void)state;
    Fixture *f = fixture_of(0, 0, odd_disk(path, sizeof(path), true));
    start(f);
    memset(f->dma.data, 0xaa, 512);
    read_id_of(f, 0x45, 0, 1, 2, 512);
    expect(f, 0x00, 0, 0);
    read_id_of(f, 0x46, 0, 1, 2, 512);
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 512, 0xaa);
    read_id_of(f, 0x45, 0, 6, 0, 128); /* a small one would take its neighbours along */
    expect(f, 0x40, 0x02, 0);
    read_id_of(f, 0x46, 9, 0x41, 1, 256);
    expect(f, 0x00, 0, 0);
    expect_data(f, 0, 256, 0x55);
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_reports_four_units_after_a_while),
        cmocka_unit_test(a_seek_ends_the_wait_for_reset_status),
        cmocka_unit_test(reads_across_sectors_and_sides),
        cmocka_unit_test(writes_and_fills_up_a_short_sector),
        cmocka_unit_test(wrong_ids_and_rates_find_nothing),
        cmocka_unit_test(disk_change_line_stays_until_a_step),
        cmocka_unit_test(program_moves_the_bytes_in_non_dma_mode),
        cmocka_unit_test(masked_channel_is_waited_for_then_overruns),
        cmocka_unit_test(write_protected_disks_refuse),
        cmocka_unit_test(format_fills_the_sectors_it_names),
        cmocka_unit_test(result_does_not_follow_the_last_byte_at_once),
        cmocka_unit_test(read_track_verify_and_deleted_data),
        cmocka_unit_test(scan_compares_with_memory),
        cmocka_unit_test(short_commands_answer),
        cmocka_unit_test(both_drives_seek_at_once),
        cmocka_unit_test(every_size_is_recognised),
        cmocka_unit_test(state_goes_on_in_another_machine),
        cmocka_unit_test(what_comes_before_a_bad_sector_is_read),
        cmocka_unit_test(odd_images_show_their_marks_and_errors),
        cmocka_unit_test(odd_images_are_written_above_an_overlay),
        cmocka_unit_test(noise_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
