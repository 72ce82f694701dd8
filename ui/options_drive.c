/* Options that put drives into the machine: -fda .. -hdd, -cdrom, -drive, and IMAGE alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/image_kind.h"
#include "ui/options_internal.h"
#include "ui/value.h"

enum { FLOPPIES = 2, IDE_DRIVES = 4, ANY_INDEX = 99 };

static void drive_clear(DriveConfig *d)
{
    free(d->file);
    free(d->format);
    free(d->id);
    memset(d, 0, sizeof(*d));
}

static const char *place_name(DriveBus bus, unsigned index)
{
    static const char *const ide[] = {"hda", "hdb", "hdc", "hdd"};
    if (bus == DRIVE_FLOPPY) {
        return index ? "fdb" : "fda";
    }
    return ide[index % IDE_DRIVES];
}

static DriveConfig *find_place(Options *o, DriveBus bus, unsigned index)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        DriveConfig *d = &o->machine.drive[i];
        if (d->present && d->bus == bus && d->index == index) {
            return d;
        }
    }
    return NULL;
}

static bool place_free(Options *o, DriveBus bus, unsigned *index)
{
    unsigned limit = bus == DRIVE_FLOPPY ? FLOPPIES : IDE_DRIVES;
    for (unsigned i = 0; i < limit; i++) {
        if (!find_place(o, bus, i)) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* Moves *d into the machine; frees it on failure. */
static bool drive_plug(Options *o, const char *option, DriveConfig *d, Err *err)
{
    bool placed = d->index != ANY_INDEX || place_free(o, d->bus, &d->index);
    unsigned limit = d->bus == DRIVE_FLOPPY ? FLOPPIES : IDE_DRIVES;
    if (!placed || d->index >= limit) {
        err_set(err, "-%s: the machine has %u %s drives only; use %s", option, limit,
                d->bus == DRIVE_FLOPPY ? "floppy" : "IDE",
                d->bus == DRIVE_FLOPPY ? "index=0 or 1" : "index=0 to 3");
        drive_clear(d);
        return false;
    }
    DriveConfig *taken = find_place(o, d->bus, d->index);
    if (taken) {
        err_set(err, "-%s: the place of -%s is taken by '%s'; give one of them another index",
                option, place_name(d->bus, d->index), taken->file ? taken->file : "an empty drive");
        drive_clear(d);
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (!o->machine.drive[i].present) {
            d->present = true;
            o->machine.drive[i] = *d;
            return true;
        }
    }
    drive_clear(d);
    return err_set(err, "-%s: no more than %d drives", option, MACHINE_MAX_DRIVES);
}

OPTION_TAKE(drive_letter)
{
    DriveConfig d = {.bus = DRIVE_IDE};
    if (strncmp(def->name, "fd", 2) == 0) {
        d.bus = DRIVE_FLOPPY;
        d.index = (unsigned)(def->name[2] - 'a');
    } else if (strcmp(def->name, "cdrom") == 0) {
        d.index = 2;
        d.media = MEDIA_CDROM;
    } else {
        d.index = (unsigned)(def->name[2] - 'a');
    }
    if (value[0]) {
        d.file = strdup(strncmp(value, "file:", 5) == 0 ? value + 5 : value);
    } else if (d.bus == DRIVE_IDE && d.media == MEDIA_DISK) {
        return err_set(err, "-%s: a hard disk needs an image file", def->name);
    }
    return drive_plug(o, def->name, &d, err);
}

static bool drive_interface(KeyValues *kv, DriveConfig *d, bool *unplugged, Err *err)
{
    const char *interface = value_find(kv, "if");
    if (!interface || strcmp(interface, "ide") == 0) {
        d->bus = DRIVE_IDE;
    } else if (strcmp(interface, "floppy") == 0) {
        d->bus = DRIVE_FLOPPY;
    } else if (strcmp(interface, "none") == 0) {
        *unplugged = true;
    } else {
        return err_set(err, "-drive: if=%s: this machine has no such bus; use if=ide or if=floppy",
                       interface);
    }
    const char *media = value_find(kv, "media");
    if (media && strcmp(media, "cdrom") == 0) {
        d->media = MEDIA_CDROM;
    } else if (media && strcmp(media, "disk") != 0) {
        return err_set(err, "-drive: media=%s: use media=disk or media=cdrom", media);
    }
    return true;
}

/* index=, or bus= and unit=. */
static bool drive_index(KeyValues *kv, DriveConfig *d, Err *err)
{
    uint32_t index = ANY_INDEX, bus = 0, unit = ANY_INDEX;
    if (!value_number(kv, "index", 0, 31, &index, err) ||
        !value_number(kv, "bus", 0, 1, &bus, err) || !value_number(kv, "unit", 0, 1, &unit, err)) {
        return false;
    }
    if (index == ANY_INDEX && unit != ANY_INDEX) {
        index = d->bus == DRIVE_FLOPPY ? unit : bus * 2 + unit;
    }
    d->index = index;
    return true;
}

static bool drive_geometry(KeyValues *kv, DriveConfig *d, Err *err)
{
    if (!value_number(kv, "cyls", 1, 65535, &d->cylinders, err) ||
        !value_number(kv, "heads", 1, 255, &d->heads, err) ||
        !value_number(kv, "secs", 1, 255, &d->sectors, err)) {
        return false;
    }
    bool any = d->cylinders || d->heads || d->sectors;
    bool all = d->cylinders && d->heads && d->sectors;
    return any == all || err_set(err, "-drive: cyls=, heads= and secs= belong together; give all "
                                      "three or none");
}

/* backing=any: files that the image builds on may lie outside its folder. */
static bool drive_backing(KeyValues *kv, DriveConfig *d, Err *err)
{
    const char *backing = value_find(kv, "backing");
    if (!backing || strcmp(backing, "beside") == 0) {
        return true;
    }
    d->any_backing = strcmp(backing, "any") == 0;
    return d->any_backing ||
           err_set(err, "-drive: backing=%s: use backing=any or backing=beside", backing);
}

/* KEY=stop|report|ignore, and for writes enospc. */
static bool drive_error(KeyValues *kv, const char *option, const char *key, bool write,
                        DriveError *action, Err *err)
{
    static const char *const names[] = {[DRIVE_ERROR_STOP] = "stop",
                                        [DRIVE_ERROR_REPORT] = "report",
                                        [DRIVE_ERROR_IGNORE] = "ignore",
                                        [DRIVE_ERROR_ENOSPC] = "enospc"};
    const char *value = value_find(kv, key);
    unsigned count = write ? DRIVE_ERROR_ENOSPC + 1 : DRIVE_ERROR_ENOSPC;
    for (unsigned i = 0; value && i < count; i++) {
        if (strcmp(value, names[i]) == 0) {
            *action = (DriveError)i;
            return true;
        }
    }
    return !value || err_set(err, "-%s: %s=%s: use stop, report%s", option, key, value,
                             write ? ", ignore or enospc" : " or ignore");
}

static bool drive_errors(KeyValues *kv, const char *option, DriveConfig *d, Err *err)
{
    return drive_error(kv, option, "werror", true, &d->write_error, err) &&
           drive_error(kv, option, "rerror", false, &d->read_error, err);
}

static bool drive_settings(KeyValues *kv, DriveConfig *d, Err *err)
{
    static const char *const host_only[] = {"cache",          "aio",
                                            "discard",        "detect-zeroes",
                                            "copy-on-read",   "cache.direct",
                                            "cache.no-flush", "cache.writeback",
                                            "trans",          "serial",
                                            "l2-cache-size",  "file.locking",
                                            "auto-read-only", NULL};
    if (value_string(kv, "file", &d->file) && strncmp(d->file, "file:", 5) == 0) {
        memmove(d->file, d->file + 5, strlen(d->file + 5) + 1);
    }
    value_string(kv, "format", &d->format);
    value_string(kv, "id", &d->id);
    if (!drive_backing(kv, d, err) || !drive_errors(kv, "drive", d, err)) {
        return false;
    }
    value_ignore(kv, host_only);
    if (d->file && !d->file[0]) {
        free(d->file);
        d->file = NULL;
    }
    return value_switch(kv, "snapshot", &d->snapshot, err) &&
           value_switch(kv, "readonly", &d->read_only, err) &&
           value_switch(kv, "read-only", &d->read_only, err) && drive_geometry(kv, d, err) &&
           value_all_used(kv,
                          "file, if, index, bus, unit, media, format, snapshot, readonly, cyls, "
                          "heads, secs, id, backing, werror, rerror",
                          err);
}

/* Keeps a drive without a place for a later -device. */
static bool drive_keep(Options *o, DriveConfig *d, Err *err)
{
    if (!d->id) {
        drive_clear(d);
        return err_set(err, "-drive: if=none needs id=, so that -device can name the drive");
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        NamedDrive *named = &o->named_drive[i];
        if (!named->id) {
            named->id = strdup(d->id);
            named->drive = *d;
            return true;
        }
    }
    drive_clear(d);
    return err_set(err, "-drive: no more than %d drives", MACHINE_MAX_DRIVES);
}

OPTION_TAKE(drive)
{
    KeyValues kv;
    DriveConfig d = {0};
    bool unplugged = false;
    (void)def;
    bool ok = value_split(&kv, "drive", value, "file", err) &&
              drive_interface(&kv, &d, &unplugged, err) && drive_index(&kv, &d, err) &&
              drive_settings(&kv, &d, err);
    value_free(&kv);
    if (ok && !d.file && !unplugged && d.bus == DRIVE_IDE && d.media == MEDIA_DISK) {
        ok = err_set(err, "-drive: a hard disk needs file=");
    }
    if (!ok) {
        drive_clear(&d);
        return false;
    }
    return unplugged ? drive_keep(o, &d, err) : drive_plug(o, "drive", &d, err);
}

/* Old spelling of the geometry of hda. */
OPTION_TAKE(hdachs)
{
    unsigned c, h, s;
    DriveConfig *d = find_place(o, DRIVE_IDE, 0);
    if (sscanf(value, "%u,%u,%u", &c, &h, &s) != 3 || c < 1 || c > 65535 || h < 1 || h > 255 ||
        s < 1 || s > 255) {
        return err_set(err, "-%s: '%s' is no geometry; write C,H,S", def->name, value);
    }
    if (!d) {
        return err_set(err, "-%s: put -hda before it", def->name);
    }
    d->cylinders = c;
    d->heads = h;
    d->sectors = s;
    return true;
}

/* "ide.0" and unit=1 to an index. */
static bool device_place(KeyValues *kv, DriveConfig *d, Err *err)
{
    uint32_t unit = ANY_INDEX, bus_number = 0;
    const char *bus = value_find(kv, "bus");
    if (bus && sscanf(bus, "%*[a-z].%u", &bus_number) != 1) {
        return err_set(err, "-device: bus=%s: use bus=ide.0 or bus=ide.1", bus);
    }
    if (!value_number(kv, "unit", 0, 1, &unit, err)) {
        return false;
    }
    if (d->bus == DRIVE_FLOPPY) {
        d->index = unit;
    } else if (unit != ANY_INDEX) {
        d->index = bus_number * 2 + unit;
    } else {
        d->index = bus ? bus_number * 2 : ANY_INDEX;
    }
    return true;
}

bool option_drive_device(Options *o, const char *value, bool *taken, Err *err)
{
    static const char *const host_only[] = {"id",
                                            "bootindex",
                                            "serial",
                                            "model",
                                            "ver",
                                            "physical_block_size",
                                            "logical_block_size",
                                            "drive-type",
                                            NULL};
    KeyValues kv;
    if (!value_split(&kv, "device", value, "driver", err)) {
        value_free(&kv);
        return false;
    }
    const char *driver = value_find(&kv, "driver");
    bool floppy = driver && strcmp(driver, "floppy") == 0;
    bool cd = driver && strcmp(driver, "ide-cd") == 0;
    *taken = floppy || cd ||
             (driver && (strcmp(driver, "ide-hd") == 0 || strcmp(driver, "ide-drive") == 0));
    if (!*taken) {
        value_free(&kv);
        return true;
    }
    DriveConfig d = {0};
    const char *name = value_find(&kv, "drive");
    NamedDrive *named = NULL;
    for (unsigned i = 0; name && i < MACHINE_MAX_DRIVES; i++) {
        if (o->named_drive[i].id && strcmp(o->named_drive[i].id, name) == 0) {
            named = &o->named_drive[i];
        }
    }
    bool ok = true;
    if (name && !named) {
        ok = err_set(err, "-device: there is no drive '%s'; put -drive if=none,id=%s before it",
                     name, name);
    } else if (named) {
        d = named->drive;
        free(named->id);
        memset(named, 0, sizeof(*named));
    } else if (!cd && !floppy) {
        ok = err_set(err, "-device: %s needs drive=", driver);
    }
    d.bus = floppy ? DRIVE_FLOPPY : DRIVE_IDE;
    d.media = cd ? MEDIA_CDROM : d.media;
    value_ignore(&kv, host_only);
    ok = ok && device_place(&kv, &d, err) && drive_errors(&kv, "device", &d, err) &&
         value_all_used(&kv, "drive, bus, unit, id, werror, rerror", err);
    value_free(&kv);
    if (!ok) {
        drive_clear(&d);
        return false;
    }
    return drive_plug(o, "device", &d, err);
}

OPTION_TAKE(image)
{
    (void)def;
    if (o->image) {
        return err_set(err,
                       "'%s' and '%s' are both images without an option; say what the second "
                       "is with -fdb, -hdb or -cdrom",
                       o->image, value);
    }
    option_store(&o->image, value);
    return true;
}

static bool image_plug(Options *o, Err *err)
{
    ImageKind kind;
    if (!image_kind(o->image, &kind, err)) {
        return false;
    }
    if (kind == IMAGE_KERNEL) {
        if (o->machine.kernel) {
            return err_set(err, "'%s' is a kernel, and -kernel '%s' is another; leave one out",
                           o->image, o->machine.kernel);
        }
        o->machine.kernel = strdup(o->image);
        return true;
    }
    static const char *const letters[] = {"a", "c", "d"}; /* by ImageKind */
    DriveConfig d = {.bus = kind == IMAGE_FLOPPY ? DRIVE_FLOPPY : DRIVE_IDE,
                     .index = kind == IMAGE_CDROM ? 2 : 0,
                     .media = kind == IMAGE_CDROM ? MEDIA_CDROM : MEDIA_DISK,
                     .file = strdup(o->image)};
    if (!drive_plug(o, "run", &d, err)) {
        return false;
    }
    if (!o->machine.boot_order && !o->machine.boot_once) {
        o->machine.boot_order = strdup(letters[kind]);
    }
    return true;
}

bool options_finish_drives(Options *o, Err *err)
{
    if (o->image && !image_plug(o, err)) {
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (o->named_drive[i].id) {
            option_note(o, "-drive id=%s is not plugged in: no -device names it",
                        o->named_drive[i].id);
        }
    }
    return true;
}
