/* Floppy disk controller 82077AA: registers, drives, media (Intel data sheet 290166).
 *
 * PC/AT mode: SRA and SRB do not answer. Commands are in fdc_cmd.c, transfers in fdc_transfer.c.
 * Mechanics take the time of a real drive divided by `hurry`. Not modelled: FM recording, the PS/2
 * and Model 30 modes, tape drives, power down. Wired by pc_build: IRQ6, DMA channel 2.
 */
#include "storage/fdc.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/fdc_internal.h"

LOG_TAG("fdc");

/* Ports. */
enum { REG_SRA, REG_SRB, REG_DOR, REG_TDR, REG_MSR, REG_FIFO, REG_UNUSED, REG_DIR };

enum { DSR_RESET = 0x80, DIR_CHANGED = 0x80, DEFAULT_HURRY = 16, CONFIGURE_NO_POLL = 0x10 };

#define RESET_NS 250000

int64_t fdc_now(const Fdc *f)
{
    return clock_now(&f->dev.board->clock);
}

FdcDrive *fdc_drive(Fdc *f, unsigned unit)
{
    return unit < FDC_DRIVES && f->drive[unit].type != FDC_NONE ? &f->drive[unit] : NULL;
}

int64_t fdc_mechanics(const Fdc *f, int64_t ns)
{
    return ns / (f->config.hurry ? f->config.hurry : DEFAULT_HURRY);
}

void fdc_set_interrupt(Fdc *f, bool level)
{
    f->g.interrupt = level;
    line_set(&f->config.irq, level && f->g.dor & DOR_DMA_GATE);
}

void fdc_later(Fdc *f, FdcStep step, int64_t ns)
{
    f->g.step = step;
    timer_arm(&f->timer, fdc_now(f) + ns);
}

void fdc_result(Fdc *f, const uint8_t *bytes, unsigned count, bool interrupt)
{
    if (count) {
        memcpy(f->g.result, bytes, count);
    }
    f->g.result_size = (uint8_t)count;
    f->g.result_at = 0;
    f->g.command_size = 0;
    f->g.phase = count ? FDC_RESULT : FDC_COMMAND;
    f->g.result_interrupts = interrupt;
    if (interrupt) {
        fdc_set_interrupt(f, true);
    }
}

void fdc_stop(Fdc *f)
{
    timer_disarm(&f->timer);
    block_job_cancel(f->job);
    f->job = NULL;
    f->g.step = FDC_STEP_NONE;
    f->g.waits = false;
    dma_request(&f->config.dma, false);
}

/* RESET: by the pin, DOR or DSR. LOCK keeps the parameters of CONFIGURE over the latter two. */
static void reset_controller(Fdc *f, bool by_pin)
{
    fdc_stop(f);
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        timer_disarm(&f->drive[i].timer);
    }
    f->g.phase = FDC_COMMAND;
    f->g.command_size = f->g.result_size = f->g.result_at = 0;
    f->g.seeking = f->g.sought = f->g.polled = 0;
    memset(f->g.pcn, 0, sizeof(f->g.pcn));
    f->g.perpendicular &= 0x3c; /* a software reset clears GAP and WGATE */
    if (by_pin || !f->g.locked) {
        f->g.configure = 0x20; /* FIFO off, polling on, no implied seek */
        f->g.precompensation = 0;
    }
    if (by_pin) {
        f->g.locked = false;
        f->g.perpendicular = 0;
        f->g.specify[0] = f->g.specify[1] = 0;
    }
    fdc_set_interrupt(f, false);
}

static void write_dor(Fdc *f, uint8_t value)
{
    uint8_t before = f->g.dor;
    f->g.dor = value;
    if (before & DOR_NOT_RESET && !(value & DOR_NOT_RESET)) {
        reset_controller(f, false);
    } else if (!(before & DOR_NOT_RESET) && value & DOR_NOT_RESET) {
        fdc_later(f, FDC_STEP_RESET, RESET_NS);
    }
    fdc_set_interrupt(f, f->g.interrupt); /* the gate may have opened or closed */
}

static void write_dsr(Fdc *f, uint8_t value)
{
    f->g.dsr = value & 0x7f;
    f->g.rate = value & 3;
    if (value & DSR_RESET && f->g.dor & DOR_NOT_RESET) { /* clears itself */
        reset_controller(f, false);
        fdc_later(f, FDC_STEP_RESET, RESET_NS);
    }
}

static uint8_t read_msr(const Fdc *f)
{
    uint8_t msr = f->g.seeking | f->g.sought;
    if (!(f->g.dor & DOR_NOT_RESET) || f->g.step == FDC_STEP_RESET) {
        return 0;
    }
    switch (f->g.phase) {
    case FDC_COMMAND:
        return msr | MSR_REQUEST | (f->g.command_size ? MSR_BUSY : 0);
    case FDC_RESULT:
        return msr | MSR_REQUEST | MSR_TO_HOST | MSR_BUSY;
    default:
        msr |= MSR_BUSY;
        if (f->g.specify[1] & 1) {
            msr |= MSR_NON_DMA;
            msr |= f->g.waits ? MSR_REQUEST : 0;
            msr |= f->g.waits && f->g.transfer == FDC_READ ? MSR_TO_HOST : 0;
        }
        return msr;
    }
}

static bool program_moves(const Fdc *f, bool to_host)
{
    return f->g.phase == FDC_EXECUTION && f->g.waits && f->g.specify[1] & 1 &&
           (f->g.transfer == FDC_READ) == to_host;
}

static uint8_t read_fifo(Fdc *f)
{
    if (program_moves(f, true)) {
        uint8_t byte = f->buffer[f->g.at++];
        if (f->g.at >= f->g.end) {
            fdc_sector_moved(f);
        }
        return byte;
    }
    if (f->g.phase != FDC_RESULT) {
        log_guest("data register read without a result");
        return 0xff;
    }
    if (f->g.result_interrupts) { /* the first result byte takes the interrupt back */
        f->g.result_interrupts = false;
        fdc_set_interrupt(f, false);
        if (f->g.sought) { /* a seek on another drive ended meanwhile */
            fdc_set_interrupt(f, true);
        }
    }
    uint8_t byte = f->g.result[f->g.result_at++];
    if (f->g.result_at >= f->g.result_size) {
        f->g.phase = FDC_COMMAND;
    }
    return byte;
}

static void write_fifo(Fdc *f, uint8_t value)
{
    if (program_moves(f, false)) {
        f->buffer[f->g.at++] = value;
        if (f->g.at >= f->g.end) {
            fdc_sector_moved(f);
        }
        return;
    }
    if (f->g.phase != FDC_COMMAND || !(read_msr(f) & MSR_REQUEST)) {
        log_guest("data register written (0x%x) while it takes nothing", value);
        return;
    }
    if (f->g.command_size == 0) {
        f->g.command_wanted = (uint8_t)fdc_command_length(value);
    }
    f->g.command[f->g.command_size++] = value;
    if (f->g.command_size >= f->g.command_wanted) {
        fdc_execute(f);
    }
}

static uint8_t read_dir(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.dor & DOR_SELECT);
    return d && d->g.changed && d->type != FDC_360K ? DIR_CHANGED : 0;
}

static uint64_t fdc_read(void *self, uint32_t offset, unsigned bytes)
{
    Fdc *f = self;
    (void)bytes;
    switch (offset) {
    case REG_DOR:
        return f->g.dor;
    case REG_TDR:
        return f->g.tdr;
    case REG_MSR:
        return read_msr(f);
    case REG_FIFO:
        return read_fifo(f);
    default:
        return 0xff;
    }
}

static void fdc_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Fdc *f = self;
    (void)bytes;
    switch (offset) {
    case REG_DOR:
        write_dor(f, (uint8_t)value);
        break;
    case REG_TDR:
        f->g.tdr = value & 3;
        break;
    case REG_MSR:
        write_dsr(f, (uint8_t)value);
        break;
    case REG_FIFO:
        write_fifo(f, (uint8_t)value);
        break;
    default:
        break;
    }
}

static uint64_t dir_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    return read_dir(self);
}

static void ccr_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Fdc *f = self;
    (void)offset;
    (void)bytes;
    f->g.rate = value & 3;
}

static const IoOps fdc_ops = {fdc_read, fdc_write, 1, 1};
static const IoOps dir_ops = {dir_read, ccr_write, 1, 1};

static void fire_seek0(void *self, int64_t due)
{
    (void)due;
    fdc_seek_ended(self, 0);
}

static void fire_seek1(void *self, int64_t due)
{
    (void)due;
    fdc_seek_ended(self, 1);
}

static void fdc_reset(Device *d, ResetKind kind)
{
    Fdc *f = (Fdc *)d;
    reset_controller(f, true);
    f->g.dor = f->g.tdr = f->g.dsr = 0;
    f->g.rate = 2;
    if (kind == RESET_POWER) {
        for (unsigned i = 0; i < FDC_DRIVES; i++) {
            f->drive[i].g.track = 0;
            f->drive[i].g.changed = true;
        }
    }
    fdc_set_interrupt(f, false);
}

static void drives_state(Fdc *f, StateIo *io)
{
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        FdcDrive *d = &f->drive[i];
        uint64_t size = d->medium ? block_size(d->medium) : 0, now_size = size;
        unsigned type = (unsigned)d->type;
        state_enum(io, "type", &type, FDC_AUTO);
        state_check(io, type == (unsigned)d->type, "another kind of drive is here");
        state_u64(io, "medium", &size);
        state_check(io, size == now_size, "another disk is in the drive");
        state_u8(io, "track", &d->g.track);
        state_bool(io, "changed", &d->g.changed);
        state_bool(io, "end_missed", &d->g.end_missed);
        state_timer(io, "timer", &d->timer);
    }
}

static void transfer_state(Fdc *f, StateIo *io)
{
    state_enum(io, "transfer", &f->g.transfer, FDC_TRANSFERS);
    state_u8(io, "unit", &f->g.unit);
    state_u8(io, "head", &f->g.head);
    state_u8(io, "c", &f->g.c);
    state_u8(io, "h", &f->g.h);
    state_u8(io, "r", &f->g.r);
    state_u8(io, "n", &f->g.n);
    state_u8(io, "eot", &f->g.eot);
    state_u8(io, "st1", &f->g.st1);
    state_u8(io, "st2", &f->g.st2);
    state_u8(io, "verify_left", &f->g.verify_left);
    state_bool(io, "track_read", &f->g.track_read);
    state_bool(io, "ended", &f->g.ended);
    state_bool(io, "waits", &f->g.waits);
    state_u8(io, "first_r", &f->g.first_r);
    state_u32(io, "at", &f->g.at);
    state_u32(io, "end", &f->g.end);
    state_u32(io, "size", &f->g.size);
    state_check(io, f->g.unit < FDC_UNITS && f->g.head < 2, "no such drive or head");
    state_check(io, f->g.size <= FDC_BUFFER && f->g.end <= FDC_BUFFER && f->g.at <= f->g.end,
                "buffer place is wrong");
    state_check(io, !f->g.waits || f->g.at < f->g.end, "nothing to wait for");
    state_check(io, f->g.n <= 7 && f->g.first_r >= 1, "no such sector");
    state_bytes(io, "buffer", f->buffer, sizeof(f->buffer));
}

const char *fdc_unit_name(unsigned unit)
{
    return unit & 1 ? "floppy1" : "floppy0";
}

uint64_t fdc_job_block(const FdcDrive *d)
{
    return d->disk ? 0 : 128u << d->format.size_code;
}

static void fdc_state(Device *d, StateIo *io)
{
    Fdc *f = (Fdc *)d;
    state_u8(io, "dor", &f->g.dor);
    state_u8(io, "tdr", &f->g.tdr);
    state_u8(io, "dsr", &f->g.dsr);
    state_u8(io, "rate", &f->g.rate);
    state_enum(io, "phase", &f->g.phase, FDC_PHASES);
    state_enum(io, "step", &f->g.step, FDC_STEPS);
    state_bytes(io, "command", f->g.command, sizeof(f->g.command));
    state_u8(io, "command_size", &f->g.command_size);
    state_u8(io, "command_wanted", &f->g.command_wanted);
    state_bytes(io, "result", f->g.result, sizeof(f->g.result));
    state_u8(io, "result_size", &f->g.result_size);
    state_u8(io, "result_at", &f->g.result_at);
    state_bool(io, "interrupt", &f->g.interrupt);
    state_bool(io, "result_interrupts", &f->g.result_interrupts);
    state_u8(io, "polled", &f->g.polled);
    state_u8(io, "sought", &f->g.sought);
    state_bytes(io, "seek_st0", f->g.seek_st0, sizeof(f->g.seek_st0));
    state_u8(io, "seeking", &f->g.seeking);
    state_bytes(io, "pcn", f->g.pcn, sizeof(f->g.pcn));
    state_bytes(io, "target", f->g.target, sizeof(f->g.target));
    state_bytes(io, "specify", f->g.specify, sizeof(f->g.specify));
    state_u8(io, "configure", &f->g.configure);
    state_u8(io, "precompensation", &f->g.precompensation);
    state_u8(io, "perpendicular", &f->g.perpendicular);
    state_bool(io, "locked", &f->g.locked);
    state_check(io, f->g.rate < 4, "rate is wrong");
    state_check(io, f->g.command_size <= FDC_MAX_COMMAND && f->g.command_wanted <= FDC_MAX_COMMAND,
                "command is too long");
    state_check(io, f->g.phase != FDC_COMMAND || f->g.command_size < FDC_MAX_COMMAND,
                "command is complete");
    state_check(io,
                f->g.phase != FDC_RESULT ||
                    (f->g.result_size <= FDC_MAX_RESULT && f->g.result_at < f->g.result_size),
                "result is too long");
    transfer_state(f, io);
    drives_state(f, io);
    state_timer(io, "timer", &f->timer);
    block_job_state(f->config.queue, io, fdc_unit_name(f->g.unit), &f->job, FDC_BUFFER,
                    fdc_job_done, f);
    const FdcDrive *drive = f->g.unit < FDC_UNITS ? fdc_drive(f, f->g.unit) : NULL;
    state_check(io, !f->job || (drive && drive->medium), "a job without a disk");
}

static void fdc_restored(Device *d)
{
    Fdc *f = (Fdc *)d;
    const FdcDrive *drive = fdc_drive(f, f->g.unit);
    if (f->job && drive && drive->medium) {
        f->job->block = fdc_job_block(drive);
        block_job_resubmit(f->job, drive->medium);
    }
}

static void fdc_destroy(Device *d)
{
    Fdc *f = (Fdc *)d;
    fdc_stop(f);
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        block_queue_retire(f->config.queue, f->drive[i].medium);
    }
    free(f);
}

static const DeviceType fdc_type = {
    .name = "fdc",
    .version = 1,
    .reset = fdc_reset,
    .state = fdc_state,
    .restored = fdc_restored,
    .destroy = fdc_destroy,
};

static FdcDriveType type_for(const FdcFormat *format)
{
    uint32_t side = (uint32_t)format->sectors << format->size_code >> 2; /* in 512 bytes */
    if (format->tracks <= 43) {
        return FDC_360K;
    }
    return side > 24 ? FDC_2880K : side == 15 || format->tracks == 77 ? FDC_1200K : FDC_1440K;
}

static bool put_in(Fdc *f, unsigned drive, Block *medium)
{
    FdcDrive *d = &f->drive[drive];
    if (medium && !fdc_medium_format(medium, &d->format)) {
        log_warn("'%s': no floppy disk has %llu bytes; it is not put in", block_path(medium),
                 (unsigned long long)block_size(medium));
        block_queue_retire(f->config.queue, medium);
        return false;
    }
    d->medium = medium;
    d->disk = medium ? block_floppy(medium) : NULL;
    d->g.changed = true;
    return true;
}

Fdc *fdc_new(Board *b, const FdcConfig *config, const char *id)
{
    Fdc *f = calloc(1, sizeof(*f));
    if (!f) {
        return NULL;
    }
    f->config = *config;
    f->g.first_r = 1;
    device_add(b, &f->dev, &fdc_type, id);
    timer_init(&f->timer, &b->clock, "fdc", fdc_timer_fired, f);
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        FdcDrive *d = &f->drive[i];
        d->type = config->drive[i];
        timer_init(&d->timer, &b->clock, i ? "fdc.seek1" : "fdc.seek0", i ? fire_seek1 : fire_seek0,
                   f);
        put_in(f, i, config->medium[i]);
        if (d->type == FDC_AUTO) {
            d->type = d->medium ? type_for(&d->format) : FDC_1440K;
        }
    }
    bus_claim(b->ports, config->base, 6, &fdc_ops, f, "fdc");
    bus_claim(b->ports, config->base + 7u, 1, &dir_ops, f, "fdc");
    dma_listen(&f->config.dma, fdc_dma_ready, f);
    return f;
}

FdcDriveType fdc_drive_type(const Fdc *fdc, unsigned drive)
{
    return drive < FDC_DRIVES ? fdc->drive[drive].type : FDC_NONE;
}

bool fdc_change_medium(Fdc *f, unsigned drive, Block *medium)
{
    FdcDrive *d = fdc_drive(f, drive);
    if (!d) {
        block_queue_retire(f->config.queue, medium);
        return false;
    }
    if (f->g.phase == FDC_EXECUTION && f->g.unit == drive) {
        /* pulled out under the head: no more address marks come by */
        fdc_stop(f);
        fdc_later(f, FDC_STEP_NO_MARK, fdc_mechanics(f, 400000000));
    }
    block_queue_retire(f->config.queue, d->medium);
    d->medium = NULL;
    d->disk = NULL;
    return put_in(f, drive, medium);
}

Block *fdc_medium(const Fdc *fdc, unsigned drive)
{
    return drive < FDC_DRIVES ? fdc->drive[drive].medium : NULL;
}

bool fdc_motor(const Fdc *fdc, unsigned drive)
{
    return drive < FDC_DRIVES && fdc->g.dor & DOR_MOTOR0 << drive;
}
