/* A whole PC as a front end sees it: made from a configuration, run on its own thread, controlled
 * by calls.
 *
 * Unless said otherwise every call may come from any thread; those that need the machine's thread
 * are carried there and wait for it (it answers between two instructions).
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "display/screen.h"
#include "machine/core/err.h"
#include "machine/core/keys.h"

typedef struct Machine Machine;

enum {
    MACHINE_MAX_DRIVES = 8,
    MACHINE_MAX_SERIAL = 4,
    MACHINE_MAX_ROMS = 8,
    MACHINE_MAX_NICS = 4,
    MACHINE_MAX_DEVICES = 16,
    MACHINE_MAX_SMBIOS = 4
};

typedef enum DriveBus { DRIVE_FLOPPY, DRIVE_IDE } DriveBus;
typedef enum DriveMedia { MEDIA_DISK, MEDIA_CDROM } DriveMedia;

/* What becomes of an error of the host with a drive's image. ENOSPC: stop when the host has no
 * room, else report. */
typedef enum DriveError {
    DRIVE_ERROR_STOP,
    DRIVE_ERROR_REPORT,
    DRIVE_ERROR_IGNORE,
    DRIVE_ERROR_ENOSPC
} DriveError;

typedef struct DriveConfig {
    bool present;
    DriveBus bus;
    unsigned index; /* floppy: 0 A, 1 B; IDE: 0 primary master .. 3 secondary slave */
    DriveMedia media;
    char *file;   /* NULL: drive without a medium */
    char *format; /* "raw", "qcow2" ...; NULL: by content */
    bool read_only;
    bool snapshot;                      /* writes go to a throw-away overlay */
    bool any_backing;                   /* backing files outside the image's folder are allowed */
    char *id;                           /* user's name for QMP; NULL: "floppy0", "ide0-hd0" ... */
    uint32_t cylinders, heads, sectors; /* 0: chosen */
    DriveError read_error, write_error; /* a read's is never ENOSPC */
} DriveConfig;

typedef struct MachineConfig {
    char *name;
    uint32_t ram_mib; /* 1..3072 */
    char *cpu;        /* "pentium3" */
    char *accel;      /* "auto", "interpreter", "translator", "kvm", "check" */
    DriveConfig drive[MACHINE_MAX_DRIVES];
    char *boot_order, *boot_once; /* QEMU letters: a floppy, c disk, d CD, n network */
    bool boot_menu;
    char *kernel, *initrd, *append;
    char *bios, *vgabios; /* NULL: Debian's seabios */
    char *vga;            /* "std", "cirrus", "none" */
    char *option_rom[MACHINE_MAX_ROMS];
    char *serial[MACHINE_MAX_SERIAL]; /* QEMU's -serial argument; NULL: none */
    char *parallel;
    char *debugcon;
    char *nic[MACHINE_MAX_NICS];    /* QEMU's -nic argument */
    char *netdev[MACHINE_MAX_NICS]; /* QEMU's -netdev argument */
    char *audiodev;                 /* QEMU's -audiodev argument */
    char *
        device[MACHINE_MAX_DEVICES]; /* QEMU's -device argument: "isa-debug-exit,iobase=0xf4" ... */
    char *object[MACHINE_MAX_DEVICES]; /* QEMU's -object argument */
    char *smbios[MACHINE_MAX_SMBIOS];  /* QEMU's -smbios argument */
    bool no_defaults;                  /* no card that no option asks for */
    bool snapshot;                     /* all drives */
    bool no_reboot, no_shutdown;
    bool unattended;   /* nobody looks: an engine that cannot go on ends it all with status 1 */
    bool start_paused; /* -S */
    char *rtc_base;    /* "utc", "localtime", "2001-02-03T04:05:06" */
    char *speed;       /* "max", "486-66", "12.5" ...: see machine_speed_known; NULL: max */
    int icount_shift;  /* -1: host time; 0..10: deterministic, an instruction is 1 << shift ns */
    bool icount_hurry; /* counted time does not wait for the host's while the guest is idle */
} MachineConfig;

/* Defaults: 64 MiB, pentium3, auto, std VGA, utc. Strings in a config are owned by it (malloc). */
void machine_config_init(MachineConfig *c);
void machine_config_copy(MachineConfig *to, const MachineConfig *from);
void machine_config_free(MachineConfig *c);

/* Builds the board, opens all files, loads firmware; nothing runs yet. Copies what it needs of the
 * config. */
Machine *machine_new(const MachineConfig *config, Err *err);
/* Stops and frees it; images are flushed. */
void machine_free(Machine *m);
/* Starts the machine's thread; running unless start_paused. */
bool machine_start(Machine *m, Err *err);

typedef enum RunState {
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_SHUTDOWN,
    RUN_STATE_IO_ERROR
} RunState;
typedef enum MachineEventKind {
    MACHINE_STOPPED,
    MACHINE_RESUMED,
    MACHINE_WAS_RESET,
    MACHINE_POWERDOWN,
    MACHINE_SHUTDOWN,
    MACHINE_TRAY_MOVED,
    MACHINE_IO_ERROR,     /* unless reported or ignored, the machine pauses */
    MACHINE_ENGINE_FAILED /* and it has paused: another engine can go on */
} MachineEventKind;
typedef struct MachineIoError {
    DriveError action; /* what is done: never ENOSPC */
    bool write;        /* else a read */
    int error;         /* errno; 0: not known */
} MachineIoError;
typedef struct MachineEvent {
    MachineEventKind kind;
    bool by_guest;      /* reset or shutdown asked for by the guest */
    int exit_status;    /* MACHINE_SHUTDOWN: the program's; isa-debug-exit sets it */
    const char *device; /* tray, I/O error; valid during the call */
    bool open;
    MachineIoError io; /* I/O error */
    const char *why;   /* engine failed; valid during the call */
} MachineEvent;
/* Called on the machine's thread; must not call back into the machine. Several listeners may be
 * added before start. */
void machine_listen(Machine *m, void (*heard)(void *self, const MachineEvent *event), void *self);

RunState machine_state(const Machine *m);
const char *machine_name(const Machine *m);
const char *machine_accel(const Machine *m); /* the engine now running */
/* Moves the running machine to another engine, between two instructions: a name as in the
 * configuration. On failure the old one goes on. */
bool machine_set_accel(Machine *m, const char *name, Err *err);
/* The paused machine executes so many instructions, up to MACHINE_MOST_STEPS, in which no time
 * passes; fewer where the guest halts or resets. *done says how many. */
enum { MACHINE_MOST_STEPS = 1000000 };
bool machine_step(Machine *m, unsigned instructions, unsigned *done, Err *err);
/* As fast as that processor, or so many million instructions a second; "max": as fast as it goes.
 * On failure the old speed stays. */
bool machine_set_speed(Machine *m, const char *speed, Err *err);
enum { MACHINE_SPEED = 24 };
void machine_speed(const Machine *m, char name[MACHINE_SPEED]); /* "max" ... */
/* Is there such a speed? */
bool machine_speed_known(const char *speed, Err *err);
const char *machine_speed_help(void); /* a line a name */
void machine_list_cards(FILE *to);    /* the same, of -device */
void machine_pause(Machine *m);
void machine_resume(Machine *m);
void machine_reset(Machine *m);
void machine_powerdown(Machine *m); /* the power button */
void machine_quit(Machine *m,
                  int exit_status); /* as if the guest had powered off, -no-shutdown or not */
/* Waits until the machine has shut down; returns the exit status. */
int machine_wait(Machine *m);

/* Input. Never waits. */
void machine_input(Machine *m, const InputEvent *event);
/* The sticks on the game port as they stand now, from any thread. */
typedef struct PadState {
    uint8_t connected; /* a bit for each axis: 0 x and 1 y of stick A, 2 and 3 of stick B */
    uint8_t buttons;   /* a bit for each of the four that is held: two of A, two of B */
    uint16_t axis[4];  /* 0 left or up .. 65535 */
} PadState;
void machine_pads(Machine *m, const PadState *pads);
/* Has the guest asked for a relative (PS/2, serial) or an absolute pointer? */
bool machine_wants_absolute(const Machine *m);
uint8_t machine_keyboard_leds(const Machine *m); /* bit 0 scroll, 1 num, 2 caps */

Screen *machine_screen(Machine *m);
/* Where a sound device pulls what the machine plays (machine/host/mixer.h); valid until
 * machine_free. */
struct Mixer *machine_mixer(Machine *m);
/* The text screen: rows of bytes in the guest's code page, separated by newlines, trailing blanks
 * cut, at most `room` with the final NUL. False when a graphics mode is on. */
bool machine_text(Machine *m, char *text, size_t room);
/* Columns and rows of the text screen. False, and both 0, when a graphics mode is on. */
bool machine_text_size(Machine *m, unsigned *columns, unsigned *rows);
/* Guest time in ns, which stands still while the machine is paused. A loaded state may set it back.
 */
int64_t machine_time(Machine *m);

/* Media. `id` is as in machine_block_query. */
typedef struct BlockInfo {
    char id[32];
    char file[1024]; /* empty: no medium */
    char format[16];
    uint64_t size;
    bool removable, locked, tray_open, read_only, snapshot;
} BlockInfo;
unsigned machine_block_query(Machine *m, BlockInfo *info, unsigned room);
bool machine_change_medium(Machine *m, const char *id, const char *file, const char *format,
                           bool read_only, Err *err);
bool machine_eject(Machine *m, const char *id, bool force, Err *err);
/* Keeps what the guest has written over an image opened with snapshot=on: the image gets it. "all":
 * of all drives. The guest waits meanwhile. */
bool machine_commit(Machine *m, const char *id, Err *err);

/* Snapshots: memory, devices and disks at one instant, in a qcow2 disk or in a file beside the
 * first image; machine/snapshot.h tells more. Saving goes on beside the running guest, and the call
 * waits for it; one at a time. `name` is a tag, or a path that holds a slash or ends in ".vsnap".
 */
typedef struct SnapshotInfo {
    char name[64], note[256];
    char parent[64];  /* the snapshot that this one went on from; empty: none */
    char id[32];      /* in a qcow2 image; else empty */
    char place[1024]; /* the image or file */
    int64_t time_s;   /* since 1970 */
    int64_t guest_ns; /* guest time */
    uint64_t size;    /* bytes, without disks in qcow2 images */
    bool machine;     /* can be loaded; false: a disk's alone, or another program's */
} SnapshotInfo;
bool machine_snapshot_save(Machine *m, const char *name, const char *note, Err *err);
/* On failure the machine is as it was, or, where err says so, reset and paused. */
bool machine_snapshot_load(Machine *m, const char *name, Err *err);
bool machine_snapshot_delete(Machine *m, const char *name, Err *err);
/* The picture at that moment, small, as a PNG file. */
bool machine_snapshot_thumbnail(Machine *m, const char *name, const char *path, Err *err);
/* Oldest first; at most `room`. */
unsigned machine_snapshot_query(Machine *m, SnapshotInfo *list, unsigned room);

/* A view for people, as text: "registers", "pic", "mem", "mtree", "timers", "engine". Calls line
 * for each line. False: no such view. */
bool machine_info(Machine *m, const char *what, void (*line)(void *self, const char *text),
                  void *self);

#endif
