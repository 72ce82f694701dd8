/* IDE channels and ATA disks: registers, PIO, DMA, both drives on one cable, commands, state. */
#include "storage/ide.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/disk_board.h"

enum {
    DATA = 0x1f0,
    ERROR = 0x1f1,
    COUNT = 0x1f2,
    LOW = 0x1f3,
    MID = 0x1f4,
    HIGH = 0x1f5,
    DEVICE = 0x1f6,
    STATUS = 0x1f7,
    CONTROL = 0x3f6,
    BSY = 0x80,
    DRDY = 0x40,
    DSC = 0x10,
    DRQ = 0x08,
    ERR = 0x01,
    BM = 0xc000,
};

#define DISK_SECTORS 40960u
#define SECOND_SECTORS 2016u

typedef struct Fixture {
    Board *b;
    PciBus *pci;
    Ide *ide;
    MemoryDisk disk[2];
    Probe irq[2];
    uint8_t *ram;
} Fixture;

static Fixture *fixture_with(unsigned disks)
{
    Fixture *f = calloc(1, sizeof(*f));
    BlockQueue *queue;
    f->b = disk_board(&queue);
    f->ram = chip_ram(f->b, 1 << 20);
    f->pci = pci_new(f->b, "pci");
    IdeConfig config = {.pci = f->pci, .pci_device = 1, .pci_function = 1, .queue = queue};
    config.irq[0] = chip_probe(f->b, &f->irq[0]);
    config.irq[1] = chip_probe(f->b, &f->irq[1]);
    for (unsigned i = 0; i < disks; i++) {
        memory_disk_init(&f->disk[i], 512ull * (i ? SECOND_SECTORS : DISK_SECTORS));
        config.drive[i] = (IdeDriveConfig){.kind = IDE_DISK, .medium = memory_block(&f->disk[i])};
    }
    f->ide = ide_new(f->b, &config, "ide");
    board_reset(f->b, RESET_POWER);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    memory_disk_free(&f->disk[0]);
    memory_disk_free(&f->disk[1]);
    free(f);
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

static void address28(Fixture *f, unsigned drive, uint32_t lba, unsigned count)
{
    out(f, DEVICE, 0xe0 | drive << 4 | lba >> 24);
    out(f, COUNT, count);
    out(f, LOW, lba);
    out(f, MID, lba >> 8);
    out(f, HIGH, lba >> 16);
}

static void read_block(Fixture *f, uint8_t *data, unsigned bytes)
{
    chip_in_singly(f->b, DATA, 2, data, bytes / 2);
}

static void write_block(Fixture *f, const uint8_t *data, unsigned bytes)
{
    chip_out_singly(f->b, DATA, 2, data, bytes / 2);
}

static void check_bytes(const uint8_t *data, uint64_t sector, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        assert_int_equal(data[i], memory_byte(sector * 512 + i));
    }
}

static void reads_sectors_with_an_interrupt_each(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[512];
    address28(f, 0, 1000, 3);
    out(f, STATUS, 0x20);
    assert_int_equal(in(f, CONTROL) & BSY, BSY);
    assert_false(f->irq[0].level);
    for (unsigned i = 0; i < 3; i++) {
        step(f);
        assert_int_equal(f->irq[0].rises, i + 1);
        assert_int_equal(in(f, CONTROL), DRDY | DSC | DRQ);
        assert_true(f->irq[0].level); /* the alternate status acknowledges nothing */
        assert_int_equal(in(f, STATUS), DRDY | DSC | DRQ);
        assert_false(f->irq[0].level);
        read_block(f, data, 512);
        check_bytes(data, 1000 + i, 512);
    }
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(f->irq[0].rises, 3);
    assert_int_equal(in(f, COUNT), 0);
    assert_int_equal(in(f, LOW) | in(f, MID) << 8, 1002);
    done(f);
}

static void writes_sectors_and_flushes(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[1024];
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 3 + 1);
    }
    address28(f, 0, 77, 2);
    out(f, STATUS, 0x30);
    assert_int_equal(in(f, STATUS) & (BSY | DRQ), DRQ); /* the first block without an interrupt */
    assert_int_equal(f->irq[0].rises, 0);
    write_block(f, data, 512);
    step(f);
    assert_int_equal(f->irq[0].rises, 1);
    assert_int_equal(in(f, STATUS) & (BSY | DRQ), DRQ);
    write_block(f, data + 512, 512);
    step(f);
    assert_int_equal(f->irq[0].rises, 2);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_memory_equal(f->disk[0].bytes + 77 * 512, data, sizeof(data));
    out(f, STATUS, 0xe7);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(f->disk[0].flushes, 1);
    /* with the write cache off every write is followed by a flush */
    out(f, ERROR, 0x82);
    out(f, STATUS, 0xef);
    step(f);
    address28(f, 0, 78, 1);
    out(f, STATUS, 0x30);
    write_block(f, data, 512);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(f->disk[0].flushes, 2);
    done(f);
}

static void chs_addresses_follow_the_set_translation(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[512];
    IdeGeometry g;
    assert_true(ide_geometry(f->ide, 0, &g));
    assert_int_equal(g.cylinders, DISK_SECTORS / (16 * 63));
    out(f, DEVICE, 0xa3);
    out(f, COUNT, 1);
    out(f, LOW, 5);
    out(f, MID, 2);
    out(f, HIGH, 0);
    out(f, STATUS, 0x20);
    step(f);
    read_block(f, data, 512);
    check_bytes(data, (2 * 16 + 3) * 63 + 4, 512);
    out(f, COUNT, 17); /* INITIALIZE DEVICE PARAMETERS: 4 heads, 17 sectors */
    out(f, DEVICE, 0xa3);
    out(f, STATUS, 0x91);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    out(f, COUNT, 1);
    out(f, STATUS, 0x20);
    step(f);
    read_block(f, data, 512);
    check_bytes(data, (2 * 4 + 3) * 17 + 4, 512);
    out(f, COUNT, 1);
    out(f, LOW, 18); /* no such sector now */
    out(f, STATUS, 0x20);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR);
    assert_int_equal(in(f, ERROR), 0x10);
    done(f);
}

static void multiple_needs_its_mode_and_moves_blocks(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[8 * 512];
    address28(f, 0, 10, 5);
    out(f, STATUS, 0xc4);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR);
    assert_int_equal(in(f, ERROR), 0x04);
    out(f, COUNT, 4);
    out(f, STATUS, 0xc6);
    step(f);
    address28(f, 0, 10, 5);
    f->irq[0].rises = 0;
    out(f, STATUS, 0xc4);
    step(f);
    assert_int_equal(in(f, STATUS) & DRQ, DRQ);
    read_block(f, data, 4 * 512);
    assert_int_equal(in(f, CONTROL) & DRQ, 0);
    step(f);
    assert_int_equal(in(f, STATUS) & DRQ, DRQ);
    read_block(f, data + 4 * 512, 512);
    assert_int_equal(f->irq[0].rises, 2);
    check_bytes(data, 10, 5 * 512);
    address28(f, 0, 20, 6);
    out(f, STATUS, 0xc5);
    write_block(f, data, 4 * 512);
    step(f);
    write_block(f, data, 2 * 512);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_memory_equal(f->disk[0].bytes + 20 * 512, data, 4 * 512);
    assert_memory_equal(f->disk[0].bytes + 24 * 512, data, 2 * 512);
    done(f);
}

static void identify_tells_the_disk(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t page[512], sum = 0;
    out(f, DEVICE, 0xa0);
    out(f, STATUS, 0xec);
    step(f);
    assert_int_equal(f->irq[0].rises, 1);
    read_block(f, page, 512);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    const uint16_t *word = (const uint16_t *)(const void *)page;
    assert_int_equal(word[0], 0x40);
    assert_int_equal(word[1], DISK_SECTORS / 1008);
    assert_int_equal(word[3], 16);
    assert_int_equal(word[6], 63);
    assert_int_equal(word[60] | word[61] << 16, DISK_SECTORS);
    assert_int_equal(word[100], DISK_SECTORS);
    assert_int_equal(word[57] | word[58] << 16, DISK_SECTORS / 1008 * 1008);
    for (unsigned i = 0; i < 512; i++) {
        sum = (uint8_t)(sum + page[i]);
    }
    assert_int_equal(sum, 0);
    assert_memory_equal(page + 54, "IVRTNI EAHDRIDKS", 16);
    done(f);
}

/* Both drives share one command block. */
static void writes_reach_both_drives(void **state)
{
    (void)state;
    Fixture *f = fixture_with(2);
    uint8_t data[512];
    out(f, DEVICE, 0xe0);
    out(f, COUNT, 1);
    out(f, LOW, 0x34);
    out(f, MID, 0x02);
    out(f, HIGH, 0);
    out(f, DEVICE, 0xf0); /* only now the slave is selected */
    assert_int_equal(in(f, LOW), 0x34);
    out(f, STATUS, 0x20);
    step(f);
    read_block(f, data, 512);
    check_bytes(data, 0x234, 512);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    out(f, DEVICE, 0xe0);
    assert_int_equal(in(f, COUNT), 1); /* the master kept what was written */
    done(f);
}

static void absent_slave_answers_with_zero_status(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    out(f, DEVICE, 0xb0);
    assert_int_equal(in(f, STATUS), 0);
    assert_int_equal(in(f, CONTROL), 0);
    assert_int_equal(in(f, DEVICE), 0xb0); /* device 0 shows its register */
    out(f, MID, 0x14);
    out(f, HIGH, 0xeb);
    assert_int_equal(in(f, MID) | in(f, HIGH),
                     0); /* no signature that drivers could take for a drive */
    out(f, STATUS, 0xec);
    step(f);
    assert_int_equal(in(f, STATUS), 0);
    assert_int_equal(f->irq[0].rises, 0);
    assert_int_equal(bus_read(f->b->ports, DATA, 2), 0xffff);
    assert_int_equal(in(f, 0x177), 0x7f); /* an empty cable: DD7 is pulled down */
    assert_int_equal(in(f, 0x376), 0x7f);
    out(f, 0x172, 0x55);
    assert_int_not_equal(in(f, 0x172), 0x55);
    done(f);
}

static void reset_and_diagnostics_leave_the_signature(void **state)
{
    (void)state;
    Fixture *f = fixture_with(2);
    address28(f, 1, 5, 3);
    out(f, CONTROL, 0x04);
    assert_int_equal(in(f, CONTROL), BSY);
    out(f, CONTROL, 0x00);
    assert_int_equal(in(f, CONTROL) & BSY, BSY);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(in(f, ERROR), 0x01);
    assert_int_equal(in(f, COUNT), 1);
    assert_int_equal(in(f, LOW), 1);
    assert_int_equal(in(f, MID) | in(f, HIGH) << 8, 0);
    assert_int_equal(in(f, DEVICE), 0);
    assert_int_equal(f->irq[0].rises, 0);
    out(f, DEVICE, 0x10);
    out(f, STATUS, 0x90);
    step(f);
    assert_int_equal(f->irq[0].rises, 1);
    assert_int_equal(in(f, DEVICE) & 0x10, 0);
    assert_int_equal(in(f, ERROR), 0x01);
    done(f);
}

static void hob_shows_the_older_bytes_and_lba48_works(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[512];
    out(f, DEVICE, 0x40);
    static const uint16_t port[] = {COUNT, LOW, MID, HIGH};
    static const uint8_t high[] = {0, 0, 0, 0}, low[] = {2, 0x45, 0x23, 0x00};
    for (unsigned i = 0; i < 4; i++) {
        out(f, port[i], high[i] + 0x10);
        out(f, port[i], high[i]);
        out(f, port[i], low[i]);
    }
    out(f, CONTROL, 0x80);
    assert_int_equal(in(f, LOW), 0);
    out(f, CONTROL, 0x00);
    assert_int_equal(in(f, LOW), 0x45);
    out(f, STATUS, 0x24);
    step(f);
    read_block(f, data, 512);
    check_bytes(data, 0x2345, 512);
    step(f);
    read_block(f, data, 512);
    check_bytes(data, 0x2346, 512);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    done(f);
}

static void nien_hides_the_interrupt(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    out(f, CONTROL, 0x02);
    out(f, DEVICE, 0xa0);
    out(f, STATUS, 0xec);
    step(f);
    assert_false(f->irq[0].level);
    out(f, CONTROL, 0x00);
    assert_true(f->irq[0].level);
    in(f, STATUS);
    assert_false(f->irq[0].level);
    done(f);
}

static void sectors_past_the_end_are_refused(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    address28(f, 0, DISK_SECTORS - 1, 2);
    out(f, STATUS, 0x20);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR);
    assert_int_equal(in(f, ERROR), 0x10);
    address28(f, 0, 0x0fffffff, 0);
    out(f, STATUS, 0xca);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR);
    out(f, STATUS, 0xf8); /* READ NATIVE MAX ADDRESS */
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(in(f, LOW) | in(f, MID) << 8 | in(f, HIGH) << 16, DISK_SECTORS - 1);
    done(f);
}

static void host_errors_become_ata_errors(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    f->disk[0].error = 5;
    address28(f, 0, 9, 1);
    out(f, STATUS, 0x20);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR);
    assert_int_equal(in(f, ERROR), 0x40);
    assert_int_equal(in(f, LOW), 9);
    f->disk[0].error = 0;
    done(f);
}

/* The function's BAR 4 at port C000h, bus master on. */
static void open_master(Fixture *f)
{
    chip_set_config(f->b, CHIP_PCI(1, 1), 0x20, BM, 4);
    chip_set_config(f->b, CHIP_PCI(1, 1), 0x04, 5, 2);
}

static void put_prd(Fixture *f, uint32_t at, uint32_t address, unsigned bytes, bool last)
{
    uint32_t prd[2] = {address, (bytes & 0xffff) | (last ? 0x80000000 : 0)};
    memcpy(f->ram + at, prd, sizeof(prd));
}

static void dma_reads_through_a_prd_table(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    open_master(f);
    put_prd(f, 0x1000, 0x2000, 0x200, false);
    put_prd(f, 0x1008, 0x10000, 0x10000, false); /* 0 means 64 KiB */
    put_prd(f, 0x1010, 0x8000, 0x600, true);
    bus_write(f->b->ports, BM + 4, 0x1000, 4);
    out(f, BM, 0x08); /* to memory, not started */
    address28(f, 0, 300, 132);
    out(f, STATUS, 0xc8);
    step(f);
    assert_int_equal(f->irq[0].rises, 0); /* waits for the start bit */
    out(f, BM, 0x09);
    step(f);
    assert_int_equal(f->irq[0].rises, 1);
    assert_int_equal(in(f, BM + 2) & 7, 4); /* interrupt, not active any more */
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    out(f, BM, 0x00);
    out(f, BM + 2, 0x04);
    assert_int_equal(in(f, BM + 2) & 7, 0);
    check_bytes(f->ram + 0x2000, 300, 0x200);
    check_bytes(f->ram + 0x10000, 301, 0x10000);
    check_bytes(f->ram + 0x8000, 301 + 128, 0x600);
    done(f);
}

static void dma_writes_and_longer_tables_stay_active(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    open_master(f);
    memset(f->ram + 0x4000, 0xa7, 0x1000);
    put_prd(f, 0x1000, 0x4000, 0x1000, true);
    bus_write(f->b->ports, BM + 4, 0x1000, 4);
    address28(f, 0, 600, 4);
    out(f, BM, 0x01);
    out(f, STATUS, 0xca);
    step(f);
    assert_int_equal(f->irq[0].rises, 1);
    assert_int_equal(in(f, BM + 2) & 7, 5); /* the region was longer than the transfer */
    assert_int_equal(f->disk[0].bytes[600 * 512], 0xa7);
    assert_int_equal(f->disk[0].bytes[604 * 512 - 1], 0xa7);
    assert_int_equal(f->disk[0].bytes[604 * 512], memory_byte(604 * 512));
    done(f);
}

static void short_prd_table_ends_without_an_interrupt(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    open_master(f);
    put_prd(f, 0x1000, 0x2000, 0x200, true);
    bus_write(f->b->ports, BM + 4, 0x1000, 4);
    address28(f, 0, 0, 2);
    out(f, STATUS, 0xc8);
    out(f, BM, 0x09);
    step(f);
    assert_int_equal(in(f, BM + 2) & 7, 0);
    assert_int_equal(f->irq[0].rises, 0);
    out(f, CONTROL, 0x04); /* only a reset helps */
    out(f, CONTROL, 0x00);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    done(f);
}

static void spoil(Fixture *f, unsigned sector, unsigned count)
{
    f->disk[0].bad_at = sector * 512ull;
    f->disk[0].bad_bytes = count * 512ull;
}

static void check_failed(Fixture *f, unsigned status, unsigned error, unsigned sector)
{
    step(f);
    assert_true(f->irq[0].level);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR | status);
    assert_int_equal(in(f, ERROR), error);
    assert_int_equal(in(f, LOW) | in(f, MID) << 8 | in(f, HIGH) << 16, sector);
    f->irq[0].rises = 0;
}

static void what_comes_before_a_bad_sector_is_read(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[1024];
    spoil(f, 1002, 1);
    address28(f, 0, 1000, 8);
    out(f, STATUS, 0x20);
    for (unsigned i = 0; i < 2; i++) {
        step(f);
        assert_int_equal(in(f, STATUS), DRDY | DSC | DRQ);
        read_block(f, data, 512);
        check_bytes(data, 1000 + i, 512);
    }
    check_failed(f, 0, 0x40, 1002);
    address28(f, 0, 1000, 8); /* READ VERIFY */
    out(f, STATUS, 0x40);
    check_failed(f, 0, 0x40, 1002);
    address28(f, 0, 1003, 1); /* the next one is there */
    out(f, STATUS, 0x20);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | DRQ);
    done(f);
}

/* A host counts on whole blocks: one that the bad sector is in does not come. */
static void read_multiple_gives_whole_blocks_before_a_bad_sector(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[4 * 512];
    out(f, COUNT, 4);
    out(f, STATUS, 0xc6);
    step(f);
    in(f, STATUS);
    spoil(f, 1006, 1);
    address28(f, 0, 1000, 12);
    out(f, STATUS, 0xc4);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | DRQ);
    read_block(f, data, sizeof(data));
    check_bytes(data, 1000, sizeof(data));
    check_failed(f, 0, 0x40, 1006);
    done(f);
}

static void dma_stops_at_a_bad_sector(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    open_master(f);
    put_prd(f, 0x1000, 0x4000, 0x1000, true);
    bus_write(f->b->ports, BM + 4, 0x1000, 4);
    spoil(f, 303, 1);
    address28(f, 0, 300, 8);
    out(f, STATUS, 0xc8);
    out(f, BM, 0x09);
    check_failed(f, 0, 0x40, 303);
    assert_int_equal(in(f, BM + 2) & 7, 5); /* the region is not used up */
    check_bytes(f->ram + 0x4000, 300, 3 * 512);
    done(f);
}

static void a_write_that_fails_is_the_devices_fault(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[4 * 512];
    memset(data, 0x5a, sizeof(data));
    spoil(f, 502, 1);
    address28(f, 0, 500, 4);
    out(f, STATUS, 0x30);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(in(f, STATUS) & (BSY | DRQ), DRQ);
        write_block(f, data, 512);
        if (i < 3) {
            step(f);
        }
    }
    check_failed(f, 0x20, 0x04, 502);
    assert_int_equal(f->disk[0].bytes[502 * 512 - 1], 0x5a);
    spoil(f, 0, 0);
    address28(f, 0, 502, 1); /* the fault does not stay */
    out(f, STATUS, 0x40);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    f->disk[0].error = 5;
    out(f, STATUS, 0xe7); /* FLUSH CACHE */
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC | ERR | 0x20);
    assert_int_equal(in(f, ERROR), 0x04);
    f->disk[0].error = 0;
    done(f);
}

static void smart_and_power_commands(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    out(f, DEVICE, 0xa0);
    out(f, ERROR, 0xda);
    out(f, MID, 0x4f);
    out(f, HIGH, 0xc2);
    out(f, STATUS, 0xb0);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    assert_int_equal(in(f, MID), 0x4f); /* 2Cf4h would mean a failing disk */
    out(f, MID, 0);
    out(f, STATUS, 0xb0);
    step(f);
    assert_int_equal(in(f, STATUS) & ERR, ERR);
    out(f, STATUS, 0xe0);
    step(f);
    out(f, STATUS, 0xe5);
    step(f);
    assert_int_equal(in(f, COUNT), 0);
    out(f, STATUS, 0xe1);
    step(f);
    out(f, STATUS, 0xe5);
    step(f);
    assert_int_equal(in(f, COUNT), 0xff);
    out(f, STATUS, 0x00); /* NOP aborts */
    step(f);
    assert_int_equal(in(f, ERROR), 0x04);
    done(f);
}

static void geometry_comes_from_the_partition_table(void **state)
{
    (void)state;
    uint8_t boot[512] = {0};
    IdeGeometry g = ide_guess_geometry(1024 * 15 * 17, boot);
    assert_int_equal(g.heads, 16);
    assert_int_equal(g.translation, IDE_TRANSLATION_NONE);
    boot[510] = 0x55;
    boot[511] = 0xaa;
    boot[446 + 5] = 14; /* last head, sector of the first partition */
    boot[446 + 6] = 17;
    boot[446 + 12] = 100;
    g = ide_guess_geometry(1000 * 15 * 17, boot);
    assert_int_equal(g.heads, 15);
    assert_int_equal(g.sectors, 17);
    assert_int_equal(g.cylinders, 1000);
    assert_int_equal(g.translation, IDE_TRANSLATION_NONE);
    boot[446 + 5] = 254;
    boot[446 + 6] = 63;
    g = ide_guess_geometry(8 * 1000 * 1000, boot);
    assert_int_equal(g.heads, 16);
    assert_int_equal(g.sectors, 63);
    assert_int_equal(g.translation, IDE_TRANSLATION_LBA);
    g = ide_guess_geometry(400ull * 1000 * 1000, NULL);
    assert_int_equal(g.cylinders, 16383);
    assert_int_equal(g.translation, IDE_TRANSLATION_LBA);
}

/* State in the middle of a PIO write, of a PIO read and of a DMA transfer in flight. */
static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1), *g = fixture_with(1);
    uint8_t data[512];
    memset(data, 0x3c, sizeof(data));
    address28(f, 0, 50, 2);
    out(f, STATUS, 0x30);
    write_block(f, data, 512);
    step(f);
    write_block(f, data, 100);
    chip_state_round_trip(f->b, g->b);
    write_block(g, data, 412);
    step(g);
    assert_int_equal(in(g, STATUS), DRDY | DSC);
    assert_int_equal(g->disk[0].bytes[50 * 512], 0x3c);
    assert_int_equal(g->disk[0].bytes[52 * 512 - 1], 0x3c);
    write_block(f, data, 412);
    step(f);
    in(f, STATUS);
    address28(f, 0, 1000, 200);
    out(f, STATUS, 0x20); /* in flight */
    chip_state_round_trip(f->b, g->b);
    for (unsigned i = 0; i < 200; i++) {
        step(g);
        assert_int_equal(in(g, STATUS) & DRQ, DRQ);
        read_block(g, data, 512);
        check_bytes(data, 1000 + i, 512);
    }
    done(g);
    done(f);
}

/* What WRITE BUFFER brought, READ BUFFER gives in another machine, too. */
static void the_buffer_is_kept_between_commands(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1), *g = fixture_with(1);
    uint8_t data[512], got[512];
    memset(data, 0x3c, sizeof(data));
    out(f, STATUS, 0xe8);
    step(f);
    write_block(f, data, 512);
    step(f);
    assert_int_equal(in(f, STATUS), DRDY | DSC);
    chip_state_round_trip(f->b, g->b);
    out(g, STATUS, 0xe4);
    step(g);
    read_block(g, got, 512);
    assert_memory_equal(data, got, 512);
    done(g);
    done(f);
}

/* Whatever a guest writes, nothing breaks: seeded noise on all registers. */
static void noise_is_survived(void **state)
{
    (void)state;
    Fixture *f = fixture_with(2);
    uint32_t seed = 12345;
    uint8_t data[4 * 300] = {0};
    open_master(f);
    for (unsigned i = 0; i < 30000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t value = seed >> 8, pick = seed >> 28;
        if (pick < 9) {
            out(f, (uint16_t)(DATA + 1 + value % 7), value >> 8);
        } else if (pick < 11) {
            bus_read(f->b->ports, DATA, 2);
            bus_read_run(f->b->ports, DATA, 2, data, value % 300);
        } else if (pick < 12) {
            bus_write(f->b->ports, DATA, value, 4);
            bus_write_run(f->b->ports, DATA, 4, data, value % 300);
        } else if (pick < 13) {
            out(f, (uint16_t)(BM + value % 16), value >> 8);
        } else if (pick < 14) {
            out(f, CONTROL, value % 64 == 0 ? value >> 8 : 0);
        } else {
            clock_step(&f->b->clock, value % 100000);
        }
    }
    done(f);
}

/* Two machines do the same, one with each access by itself, one in runs: 1..300 at a time, across
 * the ends of blocks and of commands. */
typedef struct Twins {
    Fixture *one, *runs;
    uint32_t seed, in_runs, accesses;
} Twins;

static uint32_t twins_random(Twins *t, uint32_t below)
{
    t->seed = t->seed * 1664525 + 1013904223;
    return (t->seed >> 8) % below;
}

static void twins_same(const Twins *t)
{
    assert_int_equal(t->one->irq[0].rises, t->runs->irq[0].rises);
    assert_int_equal(t->one->irq[0].falls, t->runs->irq[0].falls);
    chip_state_same(t->one->b, t->runs->b);
}

static void twins_command(Twins *t, unsigned drive, uint32_t lba, unsigned count, uint8_t command)
{
    address28(t->one, drive, lba, count);
    address28(t->runs, drive, lba, count);
    out(t->one, STATUS, command);
    out(t->runs, STATUS, command);
}

static void twins_step(Twins *t)
{
    step(t->one);
    step(t->runs);
    assert_int_equal(in(t->one, STATUS), in(t->runs, STATUS));
}

/* Moves data, and goes on a few accesses after the drive has no more. */
static void twins_move(Twins *t, unsigned bytes, bool write)
{
    static uint8_t a[4 * 300], b[4 * 300];
    unsigned over = 0;
    twins_step(t);
    while (over < 3) {
        uint32_t count = 1 + twins_random(t, 300);
        over += !(in(t->one, CONTROL) & in(t->runs, CONTROL) & DRQ);
        for (unsigned i = 0; i < sizeof(a); i++) {
            a[i] = b[i] = (uint8_t)twins_random(t, 256);
        }
        if (write) {
            chip_out_singly(t->one->b, DATA, bytes, a, count);
            t->in_runs += chip_out_string(t->runs->b, DATA, bytes, b, count);
        } else {
            chip_in_singly(t->one->b, DATA, bytes, a, count);
            t->in_runs += chip_in_string(t->runs->b, DATA, bytes, b, count);
        }
        t->accesses += count;
        assert_memory_equal(a, b, count * bytes);
        assert_int_equal(bus_accesses(t->one->b->ports), bus_accesses(t->runs->b->ports));
        twins_same(t);
        twins_step(t);
    }
}

static void runs_are_single_accesses(void **state)
{
    (void)state;
    static const struct {
        unsigned drive, count;
        uint8_t command;
        bool write;
    } work[] = {{0, 5, 0x20, false},  {1, 3, 0x30, true},  {0, 16, 0xc6, false},
                {0, 37, 0xc4, false}, {0, 37, 0xc5, true}, {0, 1, 0xec, false},
                {1, 1, 0xe4, false},  {1, 1, 0xe8, true},  {0, 1, 0x40, false},
                {1, 0, 0x20, false},  {0, 2, 0x30, true}};
    Twins t = {.one = fixture_with(2), .runs = fixture_with(2), .seed = 4711};
    for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
        t.in_runs = t.accesses = 0;
        for (unsigned i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
            twins_command(&t, work[i].drive, 100 + 10 * i, work[i].count, work[i].command);
            twins_move(&t, bytes, work[i].write);
        }
        if (bytes == 1) {
            assert_int_equal(t.in_runs, 0); /* of a byte access half a word is lost */
        } else {
            assert_true(t.in_runs > t.accesses / 2);
        }
    }
    assert_memory_equal(t.one->disk[0].bytes, t.runs->disk[0].bytes, t.one->disk[0].size);
    assert_memory_equal(t.one->disk[1].bytes, t.runs->disk[1].bytes, t.one->disk[1].size);
    done(t.one);
    done(t.runs);
}

/* What ends a block is never part of a run, and only the data port has any. */
static void runs_stop_before_the_end_of_a_block(void **state)
{
    (void)state;
    Fixture *f = fixture_with(1);
    uint8_t data[1024];
    assert_int_equal(bus_read_run(f->b->ports, DATA, 2, data, 256), 0); /* no command */
    address28(f, 0, 1000, 2);
    out(f, STATUS, 0x20);
    assert_int_equal(bus_read_run(f->b->ports, DATA, 2, data, 256), 0); /* busy */
    step(f);
    assert_int_equal(bus_write_run(f->b->ports, DATA, 2, data, 256), 0); /* the wrong way */
    assert_int_equal(bus_read_run(f->b->ports, LOW, 2, data, 256), 0);
    assert_int_equal(bus_read_run(f->b->ports, DATA + 6, 4, data, 256), 0); /* leaves the range */
    assert_int_equal(bus_read_run(f->b->ports, DATA, 2, data, 10), 10);
    assert_int_equal(bus_read_run(f->b->ports, DATA, 4, data + 20, 256), (512 - 20) / 4 - 1);
    assert_int_equal(bus_read_run(f->b->ports, DATA, 4, data + 508, 256), 0);
    assert_int_equal(in(f, CONTROL) & DRQ, DRQ);
    chip_in_singly(f->b, DATA, 4, data + 508, 1);
    check_bytes(data, 1000, 512);
    assert_int_equal(in(f, CONTROL), BSY | DRDY);
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sectors_with_an_interrupt_each),
        cmocka_unit_test(writes_sectors_and_flushes),
        cmocka_unit_test(chs_addresses_follow_the_set_translation),
        cmocka_unit_test(multiple_needs_its_mode_and_moves_blocks),
        cmocka_unit_test(identify_tells_the_disk),
        cmocka_unit_test(writes_reach_both_drives),
        cmocka_unit_test(absent_slave_answers_with_zero_status),
        cmocka_unit_test(reset_and_diagnostics_leave_the_signature),
        cmocka_unit_test(hob_shows_the_older_bytes_and_lba48_works),
        cmocka_unit_test(nien_hides_the_interrupt),
        cmocka_unit_test(sectors_past_the_end_are_refused),
        cmocka_unit_test(host_errors_become_ata_errors),
        cmocka_unit_test(what_comes_before_a_bad_sector_is_read),
        cmocka_unit_test(read_multiple_gives_whole_blocks_before_a_bad_sector),
        cmocka_unit_test(dma_stops_at_a_bad_sector),
        cmocka_unit_test(a_write_that_fails_is_the_devices_fault),
        cmocka_unit_test(dma_reads_through_a_prd_table),
        cmocka_unit_test(dma_writes_and_longer_tables_stay_active),
        cmocka_unit_test(short_prd_table_ends_without_an_interrupt),
        cmocka_unit_test(smart_and_power_commands),
        cmocka_unit_test(geometry_comes_from_the_partition_table),
        cmocka_unit_test(state_goes_on_in_another_machine),
        cmocka_unit_test(the_buffer_is_kept_between_commands),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(runs_are_single_accesses),
        cmocka_unit_test(runs_stop_before_the_end_of_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
