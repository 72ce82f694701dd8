/* ATA disks: addressing, PIO and DMA transfers, and the commands without data (ATA/ATAPI-6, section
 * 8).
 *
 * Also what packet devices share with disks (SET FEATURES, power on). A transfer goes through the
 * unit's buffer in pieces of at most 256 KiB. The write cache is the host's: with it turned off by
 * SET FEATURES every write command ends with a flush. Not modelled: security, removable media and
 * streaming sets, SET MAX, the long (ECC) commands.
 */
#include <errno.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/ide_internal.h"

LOG_TAG("ide");

enum { PIECE = IDE_BUFFER / BLOCK_SECTOR }; /* sectors in one job */

static uint64_t total_sectors(const IdeUnit *u)
{
    return block_size(u->medium) / BLOCK_SECTOR;
}

/* The address and count in the command block. False: no such sector by the present translation. */
static bool take_address(IdeUnit *u)
{
    const IdeRegisters *r = &u->g.r;
    uint32_t low = r->low | (uint32_t)r->mid << 8 | (uint32_t)r->high << 16;
    if (u->g.lba48) {
        u->g.lba = low | (uint64_t)r->old_low << 24 | (uint64_t)r->old_mid << 32 |
                   (uint64_t)r->old_high << 40;
        u->g.left = (uint32_t)r->old_count << 8 | r->count;
        u->g.left = u->g.left ? u->g.left : 0x10000;
    } else {
        u->g.left = r->count ? r->count : 0x100;
        if (r->device & DEV_LBA) {
            u->g.lba = low | (uint32_t)(r->device & 15) << 24;
        } else {
            uint32_t cylinder = r->mid | (uint32_t)r->high << 8, head = r->device & 15;
            if (r->low == 0 || r->low > u->g.sectors || head >= u->g.heads ||
                cylinder >= u->g.cylinders) {
                return false;
            }
            u->g.lba = ((uint64_t)cylinder * u->g.heads + head) * u->g.sectors + r->low - 1;
        }
    }
    return true;
}

static void show_address(IdeUnit *u, uint64_t lba)
{
    IdeRegisters *r = &u->g.r;
    if (!u->g.lba48 && !(r->device & DEV_LBA)) {
        uint32_t track = (uint32_t)(lba / u->g.sectors);
        r->low = (uint8_t)(lba % u->g.sectors + 1);
        r->device = (uint8_t)((r->device & 0xf0) | track % u->g.heads);
        r->mid = (uint8_t)(track / u->g.heads);
        r->high = (uint8_t)(track / u->g.heads >> 8);
        return;
    }
    r->low = (uint8_t)lba;
    r->mid = (uint8_t)(lba >> 8);
    r->high = (uint8_t)(lba >> 16);
    if (u->g.lba48) {
        r->old_low = (uint8_t)(lba >> 24);
        r->old_mid = (uint8_t)(lba >> 32);
        r->old_high = (uint8_t)(lba >> 40);
    } else {
        r->device = (uint8_t)((r->device & 0xf0) | (lba >> 24 & 15));
    }
}

/* The medium failed at this sector. A read says so by UNC; for a write there is only the device's
 * own fault, as ATA-4 has it (8.43, 7.15.6.2). */
static void fail_at(IdeUnit *u, uint8_t error, uint64_t lba, bool fault)
{
    log_guest("%s: command 0x%x: error 0x%x at sector %llu", u->name, u->g.command, error,
              (unsigned long long)lba);
    show_address(u, lba);
    ide_finish(u, error, false);
    u->g.r.status |= fault ? ST_DF : 0;
    ide_set_intrq(u, true);
}

static bool in_range(const IdeUnit *u)
{
    uint64_t total = total_sectors(u);
    return u->g.lba <= total && u->g.left <= total - u->g.lba;
}

uint32_t ata_block_sectors(const IdeUnit *u)
{
    switch (u->g.command) {
    case 0xc4: /* READ MULTIPLE, READ MULTIPLE EXT, WRITE MULTIPLE, ... EXT, ... FUA EXT */
    case 0x29:
    case 0xc5:
    case 0x39:
    case 0xce:
        return u->g.multiple;
    default:
        return 1;
    }
}

static void read_piece(IdeUnit *u)
{
    uint32_t count = u->g.left < PIECE ? u->g.left : PIECE;
    ide_job_submit(
        u, ide_job_new(u, BLOCK_READ, u->g.lba * BLOCK_SECTOR, (uint64_t)count * BLOCK_SECTOR));
}

static void flush_then_finish(IdeUnit *u)
{
    u->g.flow = FLOW_FLUSH;
    ide_job_submit(u, ide_job_new(u, BLOCK_FLUSH, 0, 0));
}

static void transfer_ended(IdeUnit *u, bool wrote, bool interrupt)
{
    if (wrote && (u->g.fua || !u->g.write_cache)) {
        flush_then_finish(u);
    } else {
        ide_finish(u, 0, interrupt);
    }
}

/* PIO writes: makes room for the next block, which the host fills. */
static void open_write_block(IdeUnit *u, bool interrupt)
{
    uint32_t buffered = u->g.at / BLOCK_SECTOR, block = ata_block_sectors(u);
    uint32_t count = u->g.left - buffered < block ? u->g.left - buffered : block;
    u->g.size = u->g.at + count * BLOCK_SECTOR;
    ide_open_block(u, count * BLOCK_SECTOR, interrupt);
}

static void write_piece(IdeUnit *u, uint32_t bytes)
{
    BlockJob *job = ide_job_new(u, BLOCK_WRITE, u->g.lba * BLOCK_SECTOR, bytes);
    if (job->data) {
        memcpy(job->data, u->buffer, bytes);
    }
    ide_job_submit(u, job);
}

/* DMA writes: fetches the next piece when the bus master is there. */
static void fetch_piece(IdeUnit *u)
{
    uint32_t count = u->g.left < PIECE ? u->g.left : PIECE;
    u->g.r.status = ST_DRDY | ST_DSC | ST_DRQ;
    if (ide_master_move(u->channel, u->buffer, count * BLOCK_SECTOR, false) == DMA_DONE) {
        write_piece(u, count * BLOCK_SECTOR);
    }
}

/* DMA reads: hands over what the buffer holds when the bus master is there. */
static void deliver_piece(IdeUnit *u)
{
    u->g.r.status = ST_DRDY | ST_DSC | ST_DRQ;
    if (ide_master_move(u->channel, u->buffer, u->g.size, true) != DMA_DONE) {
        return; /* waits for the start bit; a table that was too short hangs until a reset */
    }
    u->g.size = 0;
    if (u->g.left) {
        read_piece(u);
    } else {
        ide_finish(u, 0, true);
    }
}

void ata_master_started(IdeUnit *u)
{
    if (u->g.flow == FLOW_DMA_READ && u->g.size && ide_master_ready(u->channel, true)) {
        deliver_piece(u);
    } else if (u->g.flow == FLOW_DMA_WRITE && !u->job && ide_master_ready(u->channel, false)) {
        fetch_piece(u);
    }
}

/* The registers follow the transfer: the last sector that was handled, and how many remain. */
static void advance(IdeUnit *u, uint32_t sectors)
{
    u->g.lba += sectors;
    u->g.left -= sectors;
    show_address(u, u->g.lba - 1);
    u->g.r.count = (uint8_t)u->g.left;
    if (u->g.lba48) {
        u->g.r.old_count = (uint8_t)(u->g.left >> 8);
    }
}

static void read_done(IdeUnit *u, const BlockJob *job)
{
    uint32_t bytes = (uint32_t)job->length;
    advance(u, bytes / BLOCK_SECTOR);
    u->g.at = 0;
    if (u->g.flow == FLOW_VERIFY) {
        if (u->g.left) {
            read_piece(u);
        } else {
            ide_finish(u, 0, true);
        }
        return;
    }
    memcpy(u->buffer, job->data, bytes);
    u->g.size = bytes;
    if (u->g.flow == FLOW_DMA_READ) {
        deliver_piece(u);
    } else {
        ata_next_block(u);
    }
}

static void write_done(IdeUnit *u, const BlockJob *job)
{
    advance(u, (uint32_t)(job->length / BLOCK_SECTOR));
    u->g.at = u->g.size = u->g.block_end = 0;
    if (u->g.left == 0) {
        transfer_ended(u, true, true);
    } else if (u->g.flow == FLOW_DMA_WRITE) {
        fetch_piece(u);
    } else {
        open_write_block(u, true);
    }
}

void ata_job_done(IdeUnit *u, BlockJob *job)
{
    if (job->error) {
        bool read = job->op == BLOCK_READ, protect = job->error == EROFS;
        fail_at(u,
                read      ? ER_UNC
                : protect ? ER_ABRT | ER_UNC
                          : ER_ABRT,
                u->g.lba + job->moved / BLOCK_SECTOR, !read && !protect);
    } else if (job->op == BLOCK_FLUSH) {
        ide_finish(u, 0, true);
    } else if (job->op == BLOCK_READ) {
        read_done(u, job);
    } else {
        write_done(u, job);
    }
}

/* After the pause between two blocks. */
void ata_next_block(IdeUnit *u)
{
    if (u->g.flow == FLOW_WRITE) {
        open_write_block(u, true);
        return;
    }
    uint32_t block = ata_block_sectors(u) * BLOCK_SECTOR, rest = u->g.size - u->g.at;
    ide_open_block(u, rest < block ? rest : block, true);
}

/* The host has moved the last word of a block. */
void ata_block_ended(IdeUnit *u)
{
    switch (u->g.flow) {
    case FLOW_READ:
        if (u->g.at < u->g.size) {
            ide_later(u, ACT_BLOCK, IDE_BLOCK_NS);
        } else if (u->g.left) {
            u->g.at = u->g.size = u->g.block_end = 0;
            read_piece(u);
        } else {
            ide_finish(u, 0, false);
        }
        break;
    case FLOW_WRITE: {
        uint32_t buffered = u->g.at / BLOCK_SECTOR, block = ata_block_sectors(u);
        if (buffered == u->g.left || buffered + block > PIECE) {
            write_piece(u, u->g.at);
        } else {
            ide_later(u, ACT_BLOCK, IDE_BLOCK_NS);
        }
        break;
    }
    case FLOW_STORE:
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
        break;
    default:
        ide_finish(u, 0, false);
    }
}

static void start_transfer(IdeUnit *u, IdeFlow flow, bool ext, bool fua)
{
    u->g.lba48 = ext;
    u->g.fua = fua;
    u->g.standby = false;
    if (ata_block_sectors(u) == 0) { /* READ or WRITE MULTIPLE before SET MULTIPLE MODE */
        ide_finish(u, ER_ABRT, true);
        return;
    }
    if (!take_address(u) || !in_range(u)) {
        log_guest("%s: command 0x%x: sector %llu count %u is not on the disk", u->name,
                  u->g.command, (unsigned long long)u->g.lba, u->g.left);
        ide_finish(u, ER_IDNF, true);
        return;
    }
    if ((flow == FLOW_WRITE || flow == FLOW_DMA_WRITE) && block_read_only(u->medium)) {
        ide_finish(u, ER_ABRT, true);
        return;
    }
    u->g.flow = flow;
    if (flow == FLOW_WRITE) {
        open_write_block(u, false); /* the first block is asked for without an interrupt */
    } else if (flow == FLOW_DMA_WRITE) {
        fetch_piece(u);
    } else {
        read_piece(u);
    }
}

static void reply_page(IdeUnit *u)
{
    u->g.flow = FLOW_REPLY;
    u->g.at = 0;
    u->g.size = BLOCK_SECTOR;
    ide_later(u, ACT_BLOCK, IDE_COMMAND_NS);
}

/* SET FEATURES (8.46); false: not supported. Packet devices know subcommand 03h only. */
bool ata_set_features(IdeUnit *u)
{
    uint8_t mode = u->g.r.count;
    bool disk = u->kind == IDE_DISK;
    switch (u->g.r.feature) {
    case 0x03: /* transfer mode: PIO 0..4, multiword DMA 0..2, Ultra DMA 0..5 */
        if (mode > 0x0c && !(mode >= 0x20 && mode <= 0x22) && !(mode >= 0x40 && mode <= 0x45)) {
            return false;
        }
        if (mode >= 0x20) {
            u->g.transfer_mode = mode;
        }
        return true;
    case 0x02:
        u->g.write_cache = true;
        return disk;
    case 0x82:
        u->g.write_cache = false;
        return disk;
    case 0xaa:
        u->g.look_ahead = true;
        return disk;
    case 0x55:
        u->g.look_ahead = false;
        return disk;
    case 0x05: /* APM, acoustic level: accepted, nothing spins */
    case 0x85:
    case 0x42:
    case 0xc2:
    case 0x66: /* keep settings over software reset, or not: they are kept */
    case 0xcc:
        return disk;
    default:
        log_guest("%s: SET FEATURES 0x%x", u->name, u->g.r.feature);
        return false;
    }
}

static bool set_multiple(IdeUnit *u)
{
    uint8_t count = u->g.r.count;
    if (count > 128 || (count & (count - 1)) != 0) {
        u->g.multiple = 0;
        return false;
    }
    u->g.multiple = count;
    return true;
}

/* INITIALIZE DEVICE PARAMETERS: the host's own division into tracks. */
static bool set_parameters(IdeUnit *u)
{
    uint32_t heads = (u->g.r.device & 15) + 1u, sectors = u->g.r.count;
    if (sectors == 0 || sectors > 63) {
        u->g.cylinders = 0; /* CHS addresses fail until it is done right */
        return false;
    }
    uint64_t cylinders = total_sectors(u) / (heads * sectors);
    u->g.heads = (uint8_t)heads;
    u->g.sectors = (uint8_t)sectors;
    u->g.cylinders = (uint16_t)(cylinders > 65535 ? 65535 : cylinders);
    return true;
}

/* SMART (8.55). False: aborted. */
static bool smart(IdeUnit *u)
{
    if (u->g.r.mid != 0x4f || u->g.r.high != 0xc2) {
        return false;
    }
    uint8_t feature = u->g.r.feature;
    if (feature == 0xd8) {
        u->g.smart = true;
    } else if (!u->g.smart) {
        return false;
    }
    switch (feature) {
    case 0xd0: /* READ DATA, READ THRESHOLDS, READ LOG */
    case 0xd1:
    case 0xd5:
        ide_smart_page(u, feature, u->buffer);
        reply_page(u);
        return true;
    case 0xd9:
        u->g.smart = false;
        break;
    case 0xd2: /* autosave, save, self test: nothing to do; RETURN STATUS: C24Fh stays, all is well
                */
    case 0xd3:
    case 0xd4:
    case 0xd8:
    case 0xda:
        break;
    default:
        return false;
    }
    ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
    return true;
}

static void end_unless(IdeUnit *u, bool good)
{
    if (good) {
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
    } else {
        ide_finish(u, ER_ABRT, true);
    }
}

static void seek(IdeUnit *u)
{
    u->g.lba48 = false;
    bool good = take_address(u);
    u->g.left = 1; /* SEEK has no count */
    good = good && in_range(u);
    u->g.left = 0;
    if (good) {
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
    } else {
        ide_finish(u, ER_IDNF, true);
    }
}

static void native_max(IdeUnit *u, bool ext)
{
    uint64_t last = total_sectors(u) - 1;
    u->g.lba48 = ext;
    u->g.r.device |= DEV_LBA;
    if (!ext && last > 0x0ffffffe) {
        last = 0x0ffffffe;
    }
    show_address(u, last);
    ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
}

/* Power management: nothing spins, so it is a matter of what CHECK POWER MODE says. */
static void power_command(IdeUnit *u, uint8_t command)
{
    switch (command) {
    case 0x94: /* STANDBY IMMEDIATE, STANDBY, SLEEP */
    case 0x96:
    case 0x99:
    case 0xe0:
    case 0xe2:
    case 0xe6:
        u->g.standby = true;
        break;
    case 0x98: /* CHECK POWER MODE */
    case 0xe5:
        u->g.r.count = u->g.standby ? 0x00 : 0xff;
        break;
    default:
        u->g.standby = false;
    }
    ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
}

/* Commands that move sectors; false: not one of these. */
static bool transfer_command(IdeUnit *u, uint8_t command)
{
    static const struct {
        uint8_t command, flow;
        bool ext, fua;
    } table[] = {
        {0x20, FLOW_READ, false, false},      {0x21, FLOW_READ, false, false},
        {0x24, FLOW_READ, true, false},       {0xc4, FLOW_READ, false, false},
        {0x29, FLOW_READ, true, false},       {0x30, FLOW_WRITE, false, false},
        {0x31, FLOW_WRITE, false, false},     {0x34, FLOW_WRITE, true, false},
        {0x3c, FLOW_WRITE, false, true},      {0xc5, FLOW_WRITE, false, false},
        {0x39, FLOW_WRITE, true, false},      {0xce, FLOW_WRITE, true, true},
        {0xc8, FLOW_DMA_READ, false, false},  {0xc9, FLOW_DMA_READ, false, false},
        {0x25, FLOW_DMA_READ, true, false},   {0xca, FLOW_DMA_WRITE, false, false},
        {0xcb, FLOW_DMA_WRITE, false, false}, {0x35, FLOW_DMA_WRITE, true, false},
        {0x3d, FLOW_DMA_WRITE, true, true},   {0x40, FLOW_VERIFY, false, false},
        {0x41, FLOW_VERIFY, false, false},    {0x42, FLOW_VERIFY, true, false},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].command == command) {
            start_transfer(u, (IdeFlow)table[i].flow, table[i].ext, table[i].fua);
            return true;
        }
    }
    return false;
}

void ata_command(IdeUnit *u, uint8_t command)
{
    if (transfer_command(u, command)) {
        return;
    }
    switch (command) {
    case 0x70 ... 0x7f:
        seek(u);
        break;
    case 0x10 ... 0x1f: /* RECALIBRATE */
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
        break;
    case 0x91:
        end_unless(u, set_parameters(u));
        break;
    case 0xc6:
        end_unless(u, set_multiple(u));
        break;
    case 0xef:
        end_unless(u, ata_set_features(u));
        break;
    case 0xec:
        ide_identify_disk(u, u->buffer);
        reply_page(u);
        break;
    case 0xe4: /* READ BUFFER: what the sector buffer holds */
        reply_page(u);
        break;
    case 0xe8: /* WRITE BUFFER */
        u->g.flow = FLOW_STORE;
        u->g.size = BLOCK_SECTOR;
        ide_open_block(u, BLOCK_SECTOR, false);
        break;
    case 0xe7: /* FLUSH CACHE (EXT) */
    case 0xea:
        flush_then_finish(u);
        break;
    case 0x94 ... 0x99:
    case 0xe0 ... 0xe3:
    case 0xe5:
    case 0xe6:
        power_command(u, command);
        break;
    case 0xf8:
        native_max(u, false);
        break;
    case 0x27:
        native_max(u, true);
        break;
    case 0xb0:
        if (!smart(u)) {
            ide_finish(u, ER_ABRT, true);
        }
        break;
    default: /* NOP is among these: it always aborts */
        log_guest("%s: command 0x%x is aborted", u->name, command);
        ide_finish(u, ER_ABRT, true);
    }
}

void ata_power_on(IdeUnit *u)
{
    u->g.multiple = 0;
    u->g.cylinders = (uint16_t)u->geometry.cylinders;
    u->g.heads = (uint8_t)u->geometry.heads;
    u->g.sectors = (uint8_t)u->geometry.sectors;
    u->g.transfer_mode = 0x22;
    u->g.write_cache = u->g.look_ahead = u->g.smart = true;
    u->g.standby = false;
}
