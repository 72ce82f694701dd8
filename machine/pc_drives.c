/* The drives of the board: which image is in which bay, and changing it. */
#include "machine/pc_drives.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/fat_folder.h"

LOG_TAG("drives");

enum { IDE_PCI_DEVICE = 1, IDE_PCI_FUNCTION = 1 };

static Block *open_image(const char *file, const char *format, bool read_only, bool snapshot,
                         bool or_read_only, bool any_backing, Err *err)
{
    BlockOptions options = {.format = format,
                            .any_backing = any_backing,
                            .read_only = read_only,
                            .snapshot = snapshot,
                            .or_read_only = or_read_only};
    return block_open(file, &options, err);
}

/* A cartridge of the user's name, or as QEMU calls them: "floppy0", "ide0-hd0", "ide1-cd0". */
static void name_bay(Bay *bay, const DriveConfig *c)
{
    if (c->bus == DRIVE_FLOPPY) {
        snprintf(bay->place, sizeof(bay->place), "floppy%u", c->index);
    } else {
        snprintf(bay->place, sizeof(bay->place), "ide%u-%s%u", c->index / 2,
                 c->media == MEDIA_CDROM ? "cd" : "hd", c->index % 2);
    }
    snprintf(bay->id, sizeof(bay->id), "%s", c->id ? c->id : bay->place);
}

/* NULL: no drive's, but a controller's own. */
static Bay *failed_bay(Drives *d, const BlockError *error)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (d->bay[i].present && strcmp(d->bay[i].place, error->device) == 0) {
            return &d->bay[i];
        }
    }
    return NULL;
}

static DriveError action_for(const Bay *bay, bool write, int error)
{
    DriveError action = !bay ? DRIVE_ERROR_STOP : write ? bay->write_error : bay->read_error;
    bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    return action != DRIVE_ERROR_ENOSPC ? action : full ? DRIVE_ERROR_STOP : DRIVE_ERROR_REPORT;
}

static BlockErrorAction disk_failed(void *self, const BlockError *error)
{
    Drives *d = self;
    Bay *bay = failed_bay(d, error);
    const char *id = bay ? bay->id : error->device, *why = strerror(error->error);
    bool write = error->op != BLOCK_READ && error->op != BLOCK_READ_RAW;
    MachineIoError what = {action_for(bay, write, error->error), write, error->error};
    if (what.action == DRIVE_ERROR_STOP) {
        log_error("%s: image '%s': %s; the machine is paused: mend it and resume", id, error->path,
                  why);
    } else if (!bay->warned) { /* once: a guest may try it again and again */
        bay->warned = true;
        log_warn("%s: image '%s': %s; the guest %s", id, error->path, why,
                 what.action == DRIVE_ERROR_REPORT ? "is told" : "is not told");
    }
    d->wiring.io_error(d->wiring.self, id, &what);
    return what.action == DRIVE_ERROR_STOP     ? BLOCK_ERROR_STOP
           : what.action == DRIVE_ERROR_IGNORE ? BLOCK_ERROR_IGNORE
                                               : BLOCK_ERROR_REPORT;
}

static void tray_moved(void *self, unsigned drive, bool open)
{
    Drives *d = self;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const Bay *bay = &d->bay[i];
        if (bay->present && bay->bus == DRIVE_IDE && bay->index == drive) {
            d->wiring.tray_moved(d->wiring.self, bay->id, open);
        }
    }
}

static bool add_ide(IdeConfig *ide, const DriveConfig *c, bool snapshot, Err *err)
{
    IdeDriveConfig *drive = &ide->drive[c->index];
    if (drive->kind != IDE_NONE) {
        return err_set(err,
                       "two drives want IDE place %u; give one of them another index=", c->index);
    }
    drive->kind = c->media == MEDIA_CDROM ? IDE_CDROM : IDE_DISK;
    drive->geometry =
        (IdeGeometry){.cylinders = c->cylinders, .heads = c->heads, .sectors = c->sectors};
    if (c->file) {
        bool read_only = c->read_only || drive->kind == IDE_CDROM;
        drive->medium = open_image(c->file, c->format, read_only, snapshot && !read_only, false,
                                   c->any_backing, err);
        return drive->medium != NULL;
    }
    return drive->kind == IDE_CDROM || err_set(err, "-drive: a hard disk needs file=");
}

static bool is_floppy(const Block *medium)
{
    FdcFormat format;
    return fdc_medium_format(medium, &format);
}

static bool add_floppy(FdcConfig *fdc, const DriveConfig *c, bool snapshot, Err *err)
{
    fdc->drive[c->index] = FDC_AUTO;
    if (!c->file) {
        return true;
    }
    Block *medium = fdc->medium[c->index] =
        open_image(c->file, c->format, c->read_only, snapshot, true, c->any_backing, err);
    if (!medium || is_floppy(medium)) {
        return medium;
    }
    if (fat_folder_named(c->file)) {
        return err_set(err, "%s: a hard disk; a folder as a floppy disk is fat:floppy:FOLDER",
                       c->file);
    }
    return err_set(err, "%s: no floppy disk has %llu bytes; use -hda for a hard disk", c->file,
                   (unsigned long long)block_size(medium));
}

bool drives_build(Drives *d, Board *b, const MachineConfig *config, const DrivesWiring *wiring,
                  Err *err)
{
    *d = (Drives){.wiring = *wiring, .snapshot = config->snapshot};
    BlockQueueConfig queue = {
        .deterministic = config->icount_shift >= 0, .on_error = disk_failed, .self = d};
    d->queue = block_queue_new(b, &queue, "disks", err);
    if (!d->queue) {
        return false;
    }
    IdeConfig ide = {.pci = wiring->pci,
                     .pci_device = IDE_PCI_DEVICE,
                     .pci_function = IDE_PCI_FUNCTION,
                     .irq = {wiring->ide_irq[0], wiring->ide_irq[1]},
                     .queue = d->queue,
                     .audio = wiring->audio,
                     .tray_moved = tray_moved,
                     .self = d};
    FdcConfig fdc = {.base = 0x3f0,
                     .irq = wiring->fdc_irq,
                     .dma = wiring->fdc_dma,
                     .queue = d->queue,
                     .drive = {FDC_AUTO}};
    bool ok = true;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && ok; i++) {
        const DriveConfig *c = &config->drive[i];
        if (!c->present) {
            continue;
        }
        Bay *bay = &d->bay[i];
        *bay = (Bay){.present = true,
                     .bus = c->bus,
                     .index = c->index,
                     .read_error = c->read_error,
                     .write_error = c->write_error};
        bay->removable = c->bus == DRIVE_FLOPPY || c->media == MEDIA_CDROM;
        name_bay(bay, c);
        bool snapshot = config->snapshot || c->snapshot;
        ok = c->bus == DRIVE_FLOPPY ? add_floppy(&fdc, c, snapshot, err)
                                    : add_ide(&ide, c, snapshot, err);
    }
    if (!ok) {
        for (unsigned i = 0; i < IDE_DRIVES; i++) {
            block_close(ide.drive[i].medium);
        }
        for (unsigned i = 0; i < FDC_DRIVES; i++) {
            block_close(fdc.medium[i]);
        }
        return false;
    }
    d->fdc = fdc_new(b, &fdc, "fdc");
    d->ide = ide_new(b, &ide, "ide");
    return true;
}

void drives_describe(const Drives *d, RtcSetup *setup)
{
    for (unsigned i = 0; i < 2; i++) {
        setup->floppy[i] = (RtcFloppy)fdc_drive_type(d->fdc, i);
    }
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        IdeGeometry g;
        if (ide_geometry(d->ide, i, &g)) {
            setup->disk[i] = (RtcDisk){.present = true,
                                       .cylinders = (uint16_t)g.cylinders,
                                       .heads = (uint8_t)g.heads,
                                       .sectors = (uint8_t)g.sectors,
                                       .translation = (uint8_t)g.translation};
        }
    }
}

static Block *medium_of(const Drives *d, const Bay *bay, BlockInfo *info)
{
    if (bay->bus == DRIVE_FLOPPY) {
        return fdc_medium(d->fdc, bay->index);
    }
    IdeDriveInfo drive;
    ide_drive_info(d->ide, bay->index, &drive);
    info->locked = drive.locked;
    info->tray_open = drive.tray_open;
    return drive.medium;
}

Block *drives_medium(const Drives *d, unsigned index, BlockInfo *info)
{
    const Bay *bay = &d->bay[index];
    *info = (BlockInfo){.removable = bay->removable};
    snprintf(info->id, sizeof(info->id), "%s", bay->id);
    Block *medium = bay->present ? medium_of(d, bay, info) : NULL;
    if (medium) {
        snprintf(info->file, sizeof(info->file), "%s", block_path(medium));
        snprintf(info->format, sizeof(info->format), "%s", block_format_name(medium));
        info->size = block_size(medium);
        info->read_only = block_read_only(medium);
        info->snapshot = block_is_snapshot(medium);
    }
    return medium;
}

unsigned drives_query(const Drives *d, BlockInfo *info, unsigned room)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && count < room; i++) {
        if (d->bay[i].present) {
            drives_medium(d, i, &info[count++]);
        }
    }
    return count;
}

static const Bay *find_bay(const Drives *d, const char *id, Err *err)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (d->bay[i].present && strcmp(d->bay[i].id, id) == 0) {
            if (d->bay[i].removable) {
                return &d->bay[i];
            }
            err_set(err, "Device '%s' is not removable", id);
            return NULL;
        }
    }
    err_set(err, "Device '%s' not found", id);
    return NULL;
}

bool drives_change(Drives *d, const char *id, const char *file, const char *format, bool read_only,
                   Err *err)
{
    const Bay *bay = find_bay(d, id, err);
    if (!bay) {
        return false;
    }
    bool disc = bay->bus == DRIVE_IDE;
    Block *medium =
        open_image(file, format, read_only || disc, d->snapshot && !disc, true, false, err);
    if (!medium) {
        return false;
    }
    if (disc) {
        ide_change_medium(d->ide, bay->index, medium);
    } else if (!fdc_change_medium(d->fdc, bay->index, medium)) {
        return err_set(err, "%s: no floppy disk has this size", file);
    }
    return true;
}

bool drives_eject(Drives *d, const char *id, bool force, Err *err)
{
    const Bay *bay = find_bay(d, id, err);
    if (!bay) {
        return false;
    }
    if (bay->bus == DRIVE_FLOPPY) {
        fdc_change_medium(d->fdc, bay->index, NULL);
        return true;
    }
    return ide_eject(d->ide, bay->index, force) ||
           err_set(err,
                   "Device '%s' is locked and force was not specified, wait for tray to open and "
                   "try again",
                   id);
}

bool drives_commit(Drives *d, const char *id, Err *err)
{
    bool all = strcmp(id, "all") == 0, found = false, good = true;
    block_queue_quiesce(d->queue);
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && good; i++) {
        BlockInfo info;
        if (!d->bay[i].present || (!all && strcmp(d->bay[i].id, id) != 0)) {
            continue;
        }
        Block *medium = drives_medium(d, i, &info);
        found = true;
        if (!all && (!medium || !info.snapshot)) {
            return err_set(err, "Device '%s' has no throw-away overlay; it is written at once", id);
        }
        good = !medium || !info.snapshot || block_commit(medium, err);
    }
    return good && (all || found || err_set(err, "Device '%s' not found", id));
}
