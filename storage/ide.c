/* IDE interface of the PIIX3 (Intel 82371SB, 290550): channels, command and control blocks,
 * interrupts.
 *
 * ATA/ATAPI-6 for the registers. Each drive has a command block of its own; a write goes to both
 * drives of the channel, a read comes from the selected one, as on the cable. Disk commands are in
 * ide_ata.c, packet devices in atapi*.c, the bus master in ide_busmaster.c. Not modelled: transfer
 * timings (the IDETIM registers keep what is written), the drive address register at 3F7h. Wired by
 * pc_build.
 */
#include "storage/ide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/ide_internal.h"

LOG_TAG("ide");

/* Command block offsets. */
enum { REG_DATA, REG_ERROR, REG_COUNT, REG_LOW, REG_MID, REG_HIGH, REG_DEVICE, REG_STATUS };

/* PIIX3 configuration registers (data sheet, 2.3). */
enum { IDETIM_PRIMARY = 0x40, IDETIM_SECONDARY = 0x42, SIDETIM = 0x44 };

/* No drive on the cable: the board pulls DD7 down (ATA/ATAPI-6, annex on host pull-downs). */
#define FLOATING 0x7f

int64_t ide_now(const IdeUnit *u)
{
    return clock_now(&u->channel->ide->dev.board->clock);
}

static IdeUnit *selected(IdeChannel *c)
{
    return &c->unit[c->g.selected];
}

static bool any_drive(const IdeChannel *c)
{
    return c->unit[0].kind != IDE_NONE || c->unit[1].kind != IDE_NONE;
}

/* The pin shows the selected drive's INTRQ, unless nIEN. */
static void drive_line(IdeChannel *c)
{
    const IdeUnit *u = selected(c);
    bool level = u->kind != IDE_NONE && u->g.intrq && !(c->g.control & CTL_NIEN);
    if (level && !c->g.line) {
        ide_master_interrupt(c);
    }
    c->g.line = level;
    line_set(&c->ide->config.irq[c->index], level);
}

void ide_set_intrq(IdeUnit *u, bool level)
{
    u->g.intrq = level;
    drive_line(u->channel);
}

void ide_later(IdeUnit *u, IdeAction action, int64_t ns)
{
    u->g.r.status = (uint8_t)((u->g.r.status & ST_DRDY) | ST_BSY);
    u->g.action = action;
    timer_arm(&u->timer, ide_now(u) + ns);
}

static uint8_t idle_status(const IdeUnit *u)
{
    return u->kind == IDE_CDROM ? ST_DRDY : ST_DRDY | ST_DSC;
}

void ide_open_block(IdeUnit *u, uint32_t bytes, bool interrupt)
{
    u->g.block_end = u->g.at + bytes;
    u->g.r.status = idle_status(u) | ST_DRQ;
    if (interrupt) {
        ide_set_intrq(u, true);
    }
}

void ide_finish(IdeUnit *u, uint8_t error, bool interrupt)
{
    u->g.flow = FLOW_NONE;
    u->g.action = ACT_NONE;
    u->g.at = u->g.block_end = u->g.size = 0;
    u->g.r.error = error;
    u->g.r.status = (uint8_t)(idle_status(u) | (error ? ST_ERR : 0));
    if (interrupt) {
        ide_set_intrq(u, true);
    }
}

/* What a drive shows after reset, diagnostics, or a command for the other kind (9.12). */
void ide_put_signature(IdeUnit *u)
{
    u->g.r.count = u->g.r.low = 1;
    u->g.r.mid = u->kind == IDE_CDROM ? 0x14 : 0;
    u->g.r.high = u->kind == IDE_CDROM ? 0xeb : 0;
    u->g.r.device &= DEV_DEV;
}

void ide_stop(IdeUnit *u)
{
    timer_disarm(&u->timer);
    block_job_cancel(u->job);
    u->job = NULL;
    u->g.flow = FLOW_NONE;
    u->g.action = ACT_NONE;
    u->g.at = u->g.block_end = u->g.size = 0;
    u->g.left = 0;
}

static void job_done(void *self, BlockJob *job)
{
    IdeUnit *u = self;
    u->job = NULL;
    if (u->kind == IDE_CDROM) {
        atapi_job_done(u, job);
    } else {
        ata_job_done(u, job);
    }
}

BlockJob *ide_job_new(IdeUnit *u, BlockOp op, uint64_t offset, uint64_t length)
{
    return block_job_new(u->channel->ide->config.queue, u->name, op, offset, length, job_done, u);
}

/* What the host takes at once: a read that meets an error must not end inside it. */
static uint64_t job_block(const IdeUnit *u, BlockOp op)
{
    return op == BLOCK_READ_RAW     ? CD_RAW
           : u->kind == IDE_CDROM   ? CD_BLOCK
           : u->g.flow == FLOW_READ ? (uint64_t)ata_block_sectors(u) * BLOCK_SECTOR
                                    : BLOCK_SECTOR;
}

void ide_job_submit(IdeUnit *u, BlockJob *job)
{
    job->block = job_block(u, job->op);
    u->g.r.status = (uint8_t)((u->g.r.status & ST_DRDY) | ST_BSY);
    u->job = job;
    block_job_submit(job, u->medium, ide_now(u) + IDE_COMMAND_NS);
}

static void timer_fired(void *self, int64_t due)
{
    IdeUnit *u = self;
    unsigned action = u->g.action;
    (void)due;
    u->g.action = ACT_NONE;
    switch (action) {
    case ACT_FINISH:
        ide_finish(u, 0, true);
        break;
    case ACT_BLOCK:
        if (u->kind == IDE_CDROM) {
            atapi_next_block(u);
        } else {
            ata_next_block(u);
        }
        break;
    case ACT_PACKET:
        atapi_packet_ready(u);
        break;
    case ACT_RUN:
        atapi_run(u);
        break;
    case ACT_GOOD:
        atapi_good(u);
        break;
    case ACT_RESET:
    case ACT_DIAGNOSTIC:
        ide_put_signature(u);
        ide_finish(u, 0, false);
        u->g.r.error = 0x01; /* diagnostic code: this drive passed, and the other one too */
        /* A packet device is not ready until it gets a packet or IDENTIFY PACKET DEVICE. */
        u->g.r.status = u->kind == IDE_CDROM ? 0 : idle_status(u);
        if (action == ACT_DIAGNOSTIC) {
            ide_set_intrq(u, true);
        }
        break;
    default:
        break;
    }
}

static void block_ended(IdeUnit *u)
{
    if (u->kind == IDE_CDROM) {
        atapi_block_ended(u);
    } else {
        ata_block_ended(u);
    }
}

/* The drive waits for its data to be read. */
static bool gives_data(const IdeUnit *u)
{
    return u->kind != IDE_NONE && u->g.r.status & ST_DRQ &&
           (u->g.flow == FLOW_READ || u->g.flow == FLOW_REPLY || u->g.flow == FLOW_PACKET_REPLY ||
            u->g.flow == FLOW_PACKET_READ);
}

static bool takes_data(const IdeUnit *u)
{
    return u->kind != IDE_NONE && u->g.r.status & ST_DRQ &&
           (u->g.flow == FLOW_WRITE || u->g.flow == FLOW_STORE || u->g.flow == FLOW_PACKET ||
            u->g.flow == FLOW_PACKET_STORE);
}

static uint32_t read_data(IdeUnit *u, unsigned bytes)
{
    uint32_t value = 0;
    if (!gives_data(u)) {
        return 0xffffffff;
    }
    /* The bus is 16 bits wide: an odd count ends in a pad byte. */
    unsigned step = bytes < 2 ? 2 : bytes;
    for (unsigned i = 0; i < step && u->g.at + i < u->g.block_end; i++) {
        value |= (uint32_t)u->buffer[u->g.at + i] << (8 * i);
    }
    u->g.at += step;
    if (u->g.at >= u->g.block_end) {
        u->g.at = u->g.block_end;
        block_ended(u);
    }
    return value;
}

static void write_data(IdeUnit *u, uint32_t value, unsigned bytes)
{
    if (!takes_data(u)) {
        return;
    }
    unsigned step = bytes < 2 ? 2 : bytes;
    for (unsigned i = 0; i < step && u->g.at + i < u->g.block_end; i++) {
        u->buffer[u->g.at + i] = (uint8_t)(value >> (8 * i));
    }
    u->g.at += step;
    if (u->g.at >= u->g.block_end) {
        u->g.at = u->g.block_end;
        block_ended(u);
    }
}

static uint8_t read_status(IdeChannel *c)
{
    const IdeUnit *u = selected(c);
    if (u->kind != IDE_NONE) {
        return u->g.r.status;
    }
    /* Device 0 answers for an absent device 1 with 00h (9.16.1); nobody answers on an empty cable.
     */
    return any_drive(c) ? 0 : FLOATING;
}

static uint8_t read_register(IdeChannel *c, unsigned reg)
{
    IdeUnit *u = selected(c);
    bool hob = c->g.control & CTL_HOB;
    if (!any_drive(c)) {
        return FLOATING;
    }
    if (reg == REG_STATUS) {
        uint8_t status = read_status(c);
        if (u->kind != IDE_NONE) {
            ide_set_intrq(u, false);
        }
        return status;
    }
    /* Device 0 answers for an absent device 1: its own device register, else zeros. QUIRK: real
     * ones may show more of their own, and ATAPICDD.SYS takes a signature there for a second CD-ROM
     * drive. */
    static const IdeRegisters zeros = {0};
    const IdeRegisters *other = &c->unit[1 - c->g.selected].g.r;
    const IdeRegisters *r = u->kind != IDE_NONE ? &u->g.r : reg == REG_DEVICE ? other : &zeros;
    switch (reg) {
    case REG_ERROR:
        return hob ? r->old_feature : r->error;
    case REG_COUNT:
        return hob ? r->old_count : r->count;
    case REG_LOW:
        return hob ? r->old_low : r->low;
    case REG_MID:
        return hob ? r->old_mid : r->mid;
    case REG_HIGH:
        return hob ? r->old_high : r->high;
    default:
        return r->device;
    }
}

static void write_both(IdeRegisters *r, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_ERROR:
        r->old_feature = r->feature;
        r->feature = value;
        break;
    case REG_COUNT:
        r->old_count = r->count;
        r->count = value;
        break;
    case REG_LOW:
        r->old_low = r->low;
        r->low = value;
        break;
    case REG_MID:
        r->old_mid = r->mid;
        r->mid = value;
        break;
    case REG_HIGH:
        r->old_high = r->high;
        r->high = value;
        break;
    default:
        r->device = value;
    }
}

static void diagnose(IdeChannel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        IdeUnit *u = &c->unit[i];
        if (u->kind != IDE_NONE) {
            ide_stop(u);
            u->g.r.device &= (uint8_t)~DEV_DEV;
            /* device 0 interrupts when both are done; alone, whichever is there does */
            bool speaks = i == 0 || c->unit[0].kind == IDE_NONE;
            ide_later(u, speaks ? ACT_DIAGNOSTIC : ACT_RESET, IDE_RESET_NS);
        }
    }
    c->g.selected = 0;
    drive_line(c);
}

static void write_command(IdeChannel *c, uint8_t command)
{
    IdeUnit *u = selected(c);
    if (command == 0x90) { /* EXECUTE DEVICE DIAGNOSTIC: every drive obeys */
        diagnose(c);
        return;
    }
    if (u->kind == IDE_NONE) {
        return;
    }
    bool device_reset = command == 0x08 && u->kind == IDE_CDROM;
    if (u->g.r.status & ST_BSY && !device_reset) {
        log_guest("%s: command 0x%x while busy", u->name, command);
        return;
    }
    log_trace("%s: command 0x%x feature 0x%x count 0x%x address 0x%x 0x%x 0x%x device 0x%x",
              u->name, command, u->g.r.feature, u->g.r.count, u->g.r.low, u->g.r.mid, u->g.r.high,
              u->g.r.device);
    ide_stop(u);
    ide_set_intrq(u, false);
    u->g.command = command;
    u->g.r.error = 0;
    if (u->kind == IDE_CDROM) {
        atapi_command(u, command);
    } else {
        ata_command(u, command);
    }
}

static void write_register(IdeChannel *c, unsigned reg, uint8_t value)
{
    if (reg == REG_STATUS) {
        write_command(c, value);
        return;
    }
    c->g.control &= (uint8_t)~CTL_HOB; /* any write to the command block (6.21) */
    for (unsigned i = 0; i < 2; i++) {
        IdeUnit *u = &c->unit[i];
        /* A busy drive does not take writes, DEV apart (7.10). */
        if (u->kind != IDE_NONE && (!(u->g.r.status & ST_BSY) || reg == REG_DEVICE)) {
            write_both(&u->g.r, reg, value);
        }
    }
    if (reg == REG_DEVICE) {
        c->g.selected = value & DEV_DEV ? 1 : 0;
        drive_line(c);
    }
}

static uint64_t command_read(void *self, uint32_t offset, unsigned bytes)
{
    IdeChannel *c = self;
    if (offset == REG_DATA) {
        return read_data(selected(c), bytes);
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)read_register(c, offset + i) << (8 * i);
    }
    return value;
}

static void command_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    IdeChannel *c = self;
    if (offset == REG_DATA) {
        write_data(selected(c), (uint32_t)value, bytes);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        write_register(c, offset + i, (uint8_t)(value >> (8 * i)));
    }
}

/* Of `count` transfers at the data port, those that cannot end the block. A byte transfer takes a
 * whole word of it. */
static uint32_t inside_block(const IdeUnit *u, uint32_t offset, unsigned bytes, uint32_t count)
{
    uint32_t left = u->g.block_end - u->g.at;
    if (offset != REG_DATA || bytes < 2 || left == 0) {
        return 0;
    }
    uint32_t most = (left - 1) / bytes;
    return most < count ? most : count;
}

static uint32_t command_read_run(void *self, uint32_t offset, unsigned bytes, void *data,
                                 uint32_t count)
{
    IdeUnit *u = selected(self);
    uint32_t n = gives_data(u) ? inside_block(u, offset, bytes, count) : 0;
    if (n) {
        memcpy(data, u->buffer + u->g.at, (size_t)n * bytes);
        u->g.at += n * bytes;
    }
    return n;
}

static uint32_t command_write_run(void *self, uint32_t offset, unsigned bytes, const void *data,
                                  uint32_t count)
{
    IdeUnit *u = selected(self);
    uint32_t n = takes_data(u) ? inside_block(u, offset, bytes, count) : 0;
    if (n) {
        memcpy(u->buffer + u->g.at, data, (size_t)n * bytes);
        u->g.at += n * bytes;
    }
    return n;
}

static uint64_t control_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    return read_status(self); /* the alternate status acknowledges nothing */
}

static void soft_reset(IdeChannel *c, bool begins)
{
    for (unsigned i = 0; i < 2; i++) {
        IdeUnit *u = &c->unit[i];
        if (u->kind == IDE_NONE) {
            continue;
        }
        ide_stop(u);
        u->g.intrq = false;
        u->g.r.device = 0;
        if (begins) {
            u->g.r.status = ST_BSY;
            u->g.multiple = 0;
            if (u->kind == IDE_CDROM) {
                atapi_reset(u, false);
            }
        } else {
            ide_later(u, ACT_RESET, IDE_RESET_NS);
        }
    }
    c->g.selected = 0;
    ide_master_reset(c);
}

static void control_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    IdeChannel *c = self;
    uint8_t before = c->g.control;
    (void)offset;
    (void)bytes;
    c->g.control = (uint8_t)value;
    if ((before ^ c->g.control) & CTL_SRST) {
        soft_reset(c, c->g.control & CTL_SRST);
    }
    drive_line(c);
}

static const IoOps command_ops = {command_read, command_write, 1, 4};
static const IoRuns command_runs = {command_read_run, command_write_run};
static const IoOps control_ops = {control_read, control_write, 1, 1};

static void unit_reset(IdeUnit *u, ResetKind kind)
{
    if (u->kind == IDE_NONE) {
        return;
    }
    ide_stop(u);
    memset(&u->g.r, 0, sizeof(u->g.r));
    u->g.intrq = false;
    ata_power_on(u);
    if (u->kind == IDE_CDROM) {
        atapi_reset(u, kind == RESET_POWER);
    }
    ide_put_signature(u);
    u->g.r.error = 0x01;
    u->g.r.status = u->kind == IDE_CDROM ? 0 : idle_status(u);
}

static void ide_reset(Device *d, ResetKind kind)
{
    Ide *ide = (Ide *)d;
    for (unsigned i = 0; i < 2; i++) {
        IdeChannel *c = &ide->channel[i];
        c->g.selected = 0;
        c->g.control = 0;
        unit_reset(&c->unit[0], kind);
        unit_reset(&c->unit[1], kind);
        ide_master_reset(c);
        drive_line(c);
    }
}

static void registers_state(IdeRegisters *r, StateIo *io)
{
    state_u8(io, "feature", &r->feature);
    state_u8(io, "count", &r->count);
    state_u8(io, "low", &r->low);
    state_u8(io, "mid", &r->mid);
    state_u8(io, "high", &r->high);
    state_u8(io, "old_feature", &r->old_feature);
    state_u8(io, "old_count", &r->old_count);
    state_u8(io, "old_low", &r->old_low);
    state_u8(io, "old_mid", &r->old_mid);
    state_u8(io, "old_high", &r->old_high);
    state_u8(io, "device", &r->device);
    state_u8(io, "status", &r->status);
    state_u8(io, "error", &r->error);
}

static void check_unit(const IdeUnit *u, StateIo *io)
{
    bool disk = u->kind == IDE_DISK;
    uint64_t end = u->medium ? block_size(u->medium) / (disk ? BLOCK_SECTOR : CD_BLOCK) + 1 : 0;
    bool busy = u->g.flow != FLOW_NONE && u->g.left > 0;
    state_check(io, u->g.size <= IDE_BUFFER && u->g.block_end <= u->g.size, "buffer end is wrong");
    state_check(io, u->g.at <= u->g.block_end, "buffer place is wrong");
    state_check(io, u->g.multiple <= 128, "block size is wrong");
    state_check(io, u->g.left <= 0x10000 || !disk, "sector count is wrong");
    state_check(io, !disk || (u->g.heads >= 1 && u->g.sectors >= 1), "track division is wrong");
    state_check(io, !busy || (u->g.lba <= end && u->g.left <= end), "address is past the end");
}

static void unit_state(IdeUnit *u, StateIo *io)
{
    uint64_t size = u->medium ? block_size(u->medium) : 0, now_size = size;
    unsigned kind = (unsigned)u->kind;
    state_enum(io, "kind", &kind, IDE_CDROM + 1);
    state_u64(io, "medium", &size);
    state_check(io, kind == (unsigned)u->kind, "another kind of drive is here");
    state_check(io, size == now_size, "another medium is in the drive");
    registers_state(&u->g.r, io);
    state_bool(io, "intrq", &u->g.intrq);
    state_enum(io, "action", &u->g.action, ACT_LAST);
    state_enum(io, "flow", &u->g.flow, FLOW_LAST);
    state_u8(io, "command", &u->g.command);
    state_bool(io, "lba48", &u->g.lba48);
    state_bool(io, "fua", &u->g.fua);
    state_u64(io, "lba", &u->g.lba);
    state_u32(io, "left", &u->g.left);
    state_u32(io, "at", &u->g.at);
    state_u32(io, "block_end", &u->g.block_end);
    state_u32(io, "size", &u->g.size);
    state_u8(io, "multiple", &u->g.multiple);
    state_u16(io, "cylinders", &u->g.cylinders);
    state_u8(io, "heads", &u->g.heads);
    state_u8(io, "sectors", &u->g.sectors);
    state_u8(io, "transfer_mode", &u->g.transfer_mode);
    state_bool(io, "write_cache", &u->g.write_cache);
    state_bool(io, "look_ahead", &u->g.look_ahead);
    state_bool(io, "smart", &u->g.smart);
    state_bool(io, "standby", &u->g.standby);
    atapi_state(u, io);
    check_unit(u, io);
    if (state_ok(io) && u->kind != IDE_NONE) { /* READ BUFFER gives a disk's first sector of it */
        bool sector = u->kind == IDE_DISK && u->g.size < BLOCK_SECTOR && state_since(io, 3);
        state_bytes(io, "buffer", u->buffer, sector ? BLOCK_SECTOR : u->g.size);
    }
    state_timer(io, "timer", &u->timer);
    uint64_t longest = u->kind == IDE_CDROM ? CD_JOB_MAX : (uint64_t)u->g.left * BLOCK_SECTOR;
    block_job_state(u->channel->ide->config.queue, io, u->name, &u->job,
                    longest < BLOCK_JOB_MAX ? longest : BLOCK_JOB_MAX, job_done, u);
    state_check(io, u->job == NULL || u->medium != NULL, "a job without a medium");
}

static void ide_state(Device *d, StateIo *io)
{
    Ide *ide = (Ide *)d;
    for (unsigned i = 0; i < 2; i++) {
        IdeChannel *c = &ide->channel[i];
        state_u8(io, "selected", &c->g.selected);
        state_u8(io, "control", &c->g.control);
        state_bool(io, "line", &c->g.line);
        state_check(io, c->g.selected < 2, "no such drive");
        ide_master_state(c, io);
        unit_state(&c->unit[0], io);
        unit_state(&c->unit[1], io);
    }
}

static void ide_restored(Device *d)
{
    Ide *ide = (Ide *)d;
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        IdeUnit *u = &ide->channel[i / 2].unit[i % 2];
        if (u->job) {
            u->job->block = job_block(u, u->job->op);
            block_job_resubmit(u->job, u->medium);
        }
        if (u->kind == IDE_CDROM) {
            atapi_audio_sound(u);
        }
    }
}

static void ide_destroy(Device *d)
{
    Ide *ide = (Ide *)d;
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        IdeUnit *u = &ide->channel[i / 2].unit[i % 2];
        ide_stop(u);
        if (u->kind == IDE_CDROM) {
            atapi_audio_fini(u);
        }
        block_queue_retire(ide->config.queue, u->medium);
        free(u->buffer);
    }
    free(ide);
}

static const DeviceType ide_type = {
    .name = "ide",
    .version = 3,
    .reset = ide_reset,
    .state = ide_state,
    .restored = ide_restored,
    .destroy = ide_destroy,
};

/* Cylinders, heads and sectors that a partition table was made for: its entries end at the end of a
 * cylinder, so the first one's last sector tells heads and sectors. */
static bool partition_geometry(uint64_t total, const uint8_t *boot, IdeGeometry *g)
{
    if (!boot || boot[510] != 0x55 || boot[511] != 0xaa) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = boot + 446 + 16 * i;
        uint32_t heads = entry[5] + 1u, sectors = entry[6] & 63;
        uint32_t length = entry[12] | entry[13] << 8 | entry[14] << 16 | (uint32_t)entry[15] << 24;
        if (length == 0 || sectors == 0 || heads < 2) {
            continue;
        }
        uint64_t cylinders = total / ((uint64_t)heads * sectors);
        if (heads > 16) { /* a translated geometry: the disk's own is the standard one */
            g->translation = IDE_TRANSLATION_LBA;
            return false;
        }
        if (cylinders >= 1 && cylinders <= 16383) {
            *g = (IdeGeometry){(uint32_t)cylinders, heads, sectors, IDE_TRANSLATION_NONE};
            return true;
        }
    }
    return false;
}

IdeGeometry ide_guess_geometry(uint64_t total, const uint8_t *first_sector)
{
    IdeGeometry g = {0};
    if (!partition_geometry(total, first_sector, &g)) {
        uint64_t cylinders = total / (16 * 63);
        g.cylinders = cylinders > 16383 ? 16383 : cylinders < 1 ? 1 : (uint32_t)cylinders;
        g.heads = 16;
        g.sectors = 63;
        if (g.translation == IDE_TRANSLATION_NONE && g.cylinders > 1024) {
            g.translation = IDE_TRANSLATION_LBA;
        }
    } else if (g.cylinders > 1024) {
        /* INT 13h has room for 1024 cylinders; the table was made through some translation that
         * keeps these heads and sectors, which only "large" and "none" do in part. */
        g.translation = IDE_TRANSLATION_LARGE;
    }
    return g;
}

static void choose_geometry(IdeUnit *u, const IdeGeometry *wanted)
{
    uint64_t total = block_size(u->medium) / BLOCK_SECTOR;
    uint8_t first[BLOCK_SECTOR];
    u->geometry = *wanted;
    if (wanted->cylinders == 0 || wanted->heads == 0 || wanted->sectors == 0) {
        bool read = block_read(u->medium, 0, first, sizeof(first)) == 0;
        u->geometry = ide_guess_geometry(total, read ? first : NULL);
    }
    log_info("%s: %llu sectors, geometry %u/%u/%u, translation %d", u->name,
             (unsigned long long)total, u->geometry.cylinders, u->geometry.heads,
             u->geometry.sectors, (int)u->geometry.translation);
}

void ide_audio_volume(void *ide, uint32_t left, uint32_t right)
{
    Ide *i = ide;
    i->audio_volume[0] = left;
    i->audio_volume[1] = right;
}

static void plug_in(Ide *ide, unsigned drive)
{
    static const char *const timer_names[IDE_DRIVES] = {"ide.0", "ide.1", "ide.2", "ide.3"};
    const IdeDriveConfig *config = &ide->config.drive[drive];
    IdeUnit *u = &ide->channel[drive / 2].unit[drive % 2];
    u->channel = &ide->channel[drive / 2];
    u->drive = drive;
    u->kind = config->kind == IDE_DISK && !config->medium ? IDE_NONE : config->kind;
    u->medium = config->medium;
    snprintf(u->name, sizeof(u->name), "ide%u-%s%u", drive / 2, u->kind == IDE_CDROM ? "cd" : "hd",
             drive % 2);
    timer_init(&u->timer, &ide->dev.board->clock, timer_names[drive], timer_fired, u);
    if (u->kind != IDE_NONE) {
        u->buffer = calloc(1, IDE_BUFFER);
        if (!u->buffer) {
            u->kind = IDE_NONE;
            log_error("%s: out of memory; the drive is left out", u->name);
        }
    }
    if (u->kind == IDE_DISK) {
        choose_geometry(u, &config->geometry);
    } else if (u->kind == IDE_CDROM) {
        atapi_audio_init(u);
    }
}

static void add_to_pci(Ide *ide)
{
    static const PciIds ids = {.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180};
    ide->pci =
        pci_add(ide->config.pci, ide->config.pci_device, ide->config.pci_function, &ids, ide);
    uint8_t *config = pci_config(ide->pci), *writable = pci_writable(ide->pci);
    /* Both channels decode from power-on: SeaBIOS and old kernels expect the legacy ports. */
    config[IDETIM_PRIMARY + 1] = config[IDETIM_SECONDARY + 1] = 0x80;
    memset(writable + IDETIM_PRIMARY, 0xff, 4);
    writable[IDETIM_PRIMARY + 1] = writable[IDETIM_SECONDARY + 1] = 0xf3;
    writable[SIDETIM] = 0xff;
    writable[PCI_LATENCY] = 0xf0;
    pci_bar_io(ide->pci, 4, 16, &ide_master_ops, "ide bus master");
}

Ide *ide_new(Board *b, const IdeConfig *config, const char *id)
{
    static const uint16_t command[2] = {0x1f0, 0x170}, control[2] = {0x3f6, 0x376};
    static const char *const names[2] = {"ide0", "ide1"};
    Ide *ide = calloc(1, sizeof(*ide));
    if (!ide) {
        return NULL;
    }
    ide->config = *config;
    ide_audio_volume(ide, AUDIO_UNITY, AUDIO_UNITY);
    device_add(b, &ide->dev, &ide_type, id);
    for (unsigned i = 0; i < 2; i++) {
        IdeChannel *c = &ide->channel[i];
        c->ide = ide;
        c->index = i;
        plug_in(ide, 2 * i);
        plug_in(ide, 2 * i + 1);
        bus_set_runs(bus_claim(b->ports, command[i], 8, &command_ops, c, names[i]), &command_runs);
        bus_claim(b->ports, control[i], 1, &control_ops, c, names[i]);
    }
    if (config->pci) {
        add_to_pci(ide);
    }
    return ide;
}

bool ide_geometry(const Ide *ide, unsigned drive, IdeGeometry *geometry)
{
    const IdeUnit *u = &ide->channel[drive / 2].unit[drive % 2];
    *geometry = u->geometry;
    return u->kind == IDE_DISK;
}
