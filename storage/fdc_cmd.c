/* Floppy disk controller 82077AA: the command set without data transfer; seeks and interrupts.
 *
 * Data sheet 290166, section 5. PART ID and the other 82078 commands are invalid here, as on this
 * chip.
 */
#include <string.h>

#include "machine/core/log.h"
#include "storage/fdc_internal.h"

LOG_TAG("fdc");

enum {
    RECALIBRATE_STEPS = 80, /* step pulses that RECALIBRATE gives at most */
    ST3_PROTECTED = 0x40,
    ST3_READY = 0x20,
    ST3_TRACK0 = 0x10,
    ST3_TWO_SIDES = 0x08,
};

typedef enum Command {
    CMD_INVALID,
    CMD_TRANSFER,
    CMD_FORMAT,
    CMD_READ_ID,
    CMD_SPECIFY,
    CMD_SENSE_DRIVE,
    CMD_RECALIBRATE,
    CMD_SENSE_INTERRUPT,
    CMD_DUMPREG,
    CMD_SEEK,
    CMD_VERSION,
    CMD_PERPENDICULAR,
    CMD_CONFIGURE,
    CMD_LOCK,
    CMD_RELATIVE_SEEK,
} Command;

/* Opcode, the bits of the first byte that are parameters, length with the first byte. */
static const struct {
    uint8_t opcode, free_bits, length, command;
} commands[] = {
    {0x02, 0x60, 9, CMD_TRANSFER},        /* READ TRACK: MFM (bit 5 is ignored) */
    {0x05, 0xc0, 9, CMD_TRANSFER},        /* WRITE DATA: MT MFM */
    {0x06, 0xe0, 9, CMD_TRANSFER},        /* READ DATA: MT MFM SK */
    {0x09, 0xc0, 9, CMD_TRANSFER},        /* WRITE DELETED DATA */
    {0x0c, 0xe0, 9, CMD_TRANSFER},        /* READ DELETED DATA */
    {0x16, 0xe0, 9, CMD_TRANSFER},        /* VERIFY */
    {0x11, 0xe0, 9, CMD_TRANSFER},        /* SCAN EQUAL */
    {0x19, 0xe0, 9, CMD_TRANSFER},        /* SCAN LOW OR EQUAL */
    {0x1d, 0xe0, 9, CMD_TRANSFER},        /* SCAN HIGH OR EQUAL */
    {0x0d, 0x40, 6, CMD_FORMAT},          /* FORMAT TRACK */
    {0x0a, 0x40, 2, CMD_READ_ID},         /* READ ID */
    {0x03, 0x00, 3, CMD_SPECIFY},         /* SPECIFY */
    {0x04, 0x00, 2, CMD_SENSE_DRIVE},     /* SENSE DRIVE STATUS */
    {0x07, 0x00, 2, CMD_RECALIBRATE},     /* RECALIBRATE */
    {0x08, 0x00, 1, CMD_SENSE_INTERRUPT}, /* SENSE INTERRUPT STATUS */
    {0x0e, 0x00, 1, CMD_DUMPREG},         /* DUMPREG */
    {0x0f, 0x00, 3, CMD_SEEK},            /* SEEK */
    {0x10, 0x00, 1, CMD_VERSION},         /* VERSION */
    {0x12, 0x00, 2, CMD_PERPENDICULAR},   /* PERPENDICULAR MODE */
    {0x13, 0x00, 4, CMD_CONFIGURE},       /* CONFIGURE */
    {0x14, 0x80, 1, CMD_LOCK},            /* LOCK, UNLOCK */
    {0x8f, 0x40, 3, CMD_RELATIVE_SEEK},   /* RELATIVE SEEK: DIR */
};

static unsigned find(uint8_t first)
{
    unsigned i = 0;
    while (i < sizeof(commands) / sizeof(commands[0]) &&
           (first & ~commands[i].free_bits) != commands[i].opcode) {
        i++;
    }
    return i;
}

unsigned fdc_command_length(uint8_t first)
{
    unsigned i = find(first);
    return i < sizeof(commands) / sizeof(commands[0]) ? commands[i].length : 1;
}

static void sense_drive(Fdc *f)
{
    unsigned unit = f->g.command[1] & 3;
    const FdcDrive *d = fdc_drive(f, unit);
    uint8_t st3 = (uint8_t)((f->g.command[1] & 7) | ST3_READY | ST3_TWO_SIDES);
    if (d && d->g.track == 0) {
        st3 |= ST3_TRACK0;
    }
    if (d && d->medium && block_read_only(d->medium)) {
        st3 |= ST3_PROTECTED;
    }
    fdc_result(f, &st3, 1, false);
}

static void sense_interrupt(Fdc *f)
{
    uint8_t result[2] = {ST0_INVALID, 0};
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        uint8_t bit = (uint8_t)(1u << i);
        if (f->g.polled & bit) { /* after a reset each unit reports a change of its ready line */
            f->g.polled &= (uint8_t)~bit;
            result[0] = (uint8_t)(ST0_POLLED | i);
        } else if (f->g.sought & bit) {
            f->g.sought &= (uint8_t)~bit;
            result[0] = f->g.seek_st0[i];
        } else {
            continue;
        }
        result[1] = f->g.pcn[i];
        fdc_set_interrupt(f, false);
        if (f->g.sought) { /* another drive has arrived too */
            fdc_set_interrupt(f, true);
        }
        fdc_result(f, result, 2, false);
        return;
    }
    fdc_set_interrupt(f, false);
    fdc_result(f, result, 1, false);
}

/* SPECIFY's step rate: (16 - SRT) ms at 500 kbit/s, in proportion at other rates. */
static int64_t step_ns(const Fdc *f)
{
    static const unsigned per_step_us[4] = {1000, 1667, 2000, 500};
    unsigned srt = f->g.specify[0] >> 4;
    return (int64_t)(16 - srt) * per_step_us[f->g.rate] * 1000;
}

/* Moves the head by `steps` (negative: outwards). */
static void start_seek(Fdc *f, unsigned unit, int steps, uint8_t target, bool to_track0)
{
    FdcDrive *d = fdc_drive(f, unit);
    unsigned pulses = (unsigned)(steps < 0 ? -steps : steps);
    f->g.seeking |= (uint8_t)(1u << unit);
    f->g.target[unit] = target;
    f->g.seek_st0[unit] = (uint8_t)(ST0_SEEK_END | (f->g.command[1] & 7));
    if (d) {
        int limit = d->type == FDC_360K ? 42 : 84, track = d->g.track + steps;
        d->g.track = (uint8_t)(track < 0 ? 0 : track > limit ? limit : track);
        if (pulses && d->medium) {
            d->g.changed = false; /* a step pulse with a disk in the drive */
        }
    }
    if (to_track0 && (!d || d->g.track != 0)) {
        f->g.seek_st0[unit] |= ST0_ABNORMAL | ST0_CHECK; /* the drive's TRK0 never came */
    }
    fdc_result(f, NULL, 0, false);
    int64_t duration = 20000 + fdc_mechanics(f, step_ns(f) * pulses);
    if (unit < FDC_DRIVES) {
        timer_arm(&f->drive[unit].timer, fdc_now(f) + duration);
    } else {
        fdc_seek_ended(f, unit); /* no such drive on this board */
    }
}

void fdc_seek_ended(Fdc *f, unsigned unit)
{
    f->g.seeking &= (uint8_t) ~(1u << unit);
    f->g.sought |= (uint8_t)(1u << unit);
    f->g.polled = 0; /* drivers that never asked after the reset get what they wait for */
    f->g.pcn[unit] = f->g.target[unit];
    log_trace("unit %u is at cylinder %u", unit, f->g.pcn[unit]);
    fdc_set_interrupt(f, true);
}

static void recalibrate(Fdc *f)
{
    unsigned unit = f->g.command[1] & 3;
    const FdcDrive *d = fdc_drive(f, unit);
    int steps = d && d->g.track < RECALIBRATE_STEPS ? d->g.track : RECALIBRATE_STEPS;
    start_seek(f, unit, -steps, 0, true);
}

static void seek(Fdc *f)
{
    unsigned unit = f->g.command[1] & 3;
    uint8_t target = f->g.command[2];
    start_seek(f, unit, (int)target - f->g.pcn[unit], target, false);
}

static void relative_seek(Fdc *f)
{
    unsigned unit = f->g.command[1] & 3;
    int steps = f->g.command[2];
    bool inwards = f->g.command[0] & 0x40;
    start_seek(f, unit, inwards ? steps : -steps,
               (uint8_t)(f->g.pcn[unit] + (inwards ? steps : -steps)), false);
}

static void dumpreg(Fdc *f)
{
    uint8_t result[10];
    memcpy(result, f->g.pcn, 4);
    result[4] = f->g.specify[0];
    result[5] = f->g.specify[1];
    result[6] = f->g.eot;
    result[7] = (uint8_t)((f->g.locked ? 0x80 : 0) | f->g.perpendicular);
    result[8] = f->g.configure;
    result[9] = f->g.precompensation;
    fdc_result(f, result, 10, false);
}

static void perpendicular(Fdc *f)
{
    uint8_t value = f->g.command[1];
    if (value & 0x80) { /* OW: the drives' own bits may be written too */
        f->g.perpendicular = value & 0x3f;
    } else {
        f->g.perpendicular = (uint8_t)((f->g.perpendicular & 0x3c) | (value & 0x03));
    }
    fdc_result(f, NULL, 0, false);
}

static void short_command(Fdc *f, unsigned command)
{
    uint8_t byte;
    switch (command) {
    case CMD_SPECIFY:
        f->g.specify[0] = f->g.command[1];
        f->g.specify[1] = f->g.command[2];
        fdc_result(f, NULL, 0, false);
        break;
    case CMD_CONFIGURE:
        f->g.configure = f->g.command[2] & 0x7f;
        f->g.precompensation = f->g.command[3];
        fdc_result(f, NULL, 0, false);
        break;
    case CMD_LOCK:
        f->g.locked = f->g.command[0] & 0x80;
        byte = f->g.locked ? 0x10 : 0;
        fdc_result(f, &byte, 1, false);
        break;
    case CMD_VERSION:
        byte = 0x90; /* an enhanced controller */
        fdc_result(f, &byte, 1, false);
        break;
    default:
        log_guest("command 0x%x is invalid", f->g.command[0]);
        byte = ST0_INVALID;
        fdc_result(f, &byte, 1, false);
    }
}

/* The command register is full. */
void fdc_execute(Fdc *f)
{
    unsigned i = find(f->g.command[0]);
    unsigned command =
        i < sizeof(commands) / sizeof(commands[0]) ? commands[i].command : CMD_INVALID;
    log_trace("command %02x %02x %02x %02x %02x %02x %02x %02x %02x (%u bytes)", f->g.command[0],
              f->g.command[1], f->g.command[2], f->g.command[3], f->g.command[4], f->g.command[5],
              f->g.command[6], f->g.command[7], f->g.command[8], f->g.command_size);
    switch (command) {
    case CMD_TRANSFER:
        fdc_begin_transfer(f);
        break;
    case CMD_FORMAT:
        fdc_begin_format(f);
        break;
    case CMD_READ_ID:
        fdc_begin_read_id(f);
        break;
    case CMD_SENSE_DRIVE:
        sense_drive(f);
        break;
    case CMD_RECALIBRATE:
        recalibrate(f);
        break;
    case CMD_SENSE_INTERRUPT:
        sense_interrupt(f);
        break;
    case CMD_DUMPREG:
        dumpreg(f);
        break;
    case CMD_SEEK:
        seek(f);
        break;
    case CMD_PERPENDICULAR:
        perpendicular(f);
        break;
    case CMD_RELATIVE_SEEK:
        relative_seek(f);
        break;
    default:
        short_command(f, command);
    }
}
