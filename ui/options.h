/* The command line of `vitrine run`: QEMU's names and syntax where it has an option of the same
 * meaning.
 *
 * One table (ui/options_table.c) drives the parser, --help and the check of the man page. Options
 * take one or two dashes; their values are parted by commas, a comma within one is written twice.
 */
#ifndef UI_OPTIONS_H
#define UI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "machine/machine.h"

enum { OPTIONS_MAX_SOCKETS = 4, OPTIONS_MAX_NOTES = 16 };

typedef enum DisplayKind { DISPLAY_WINDOW, DISPLAY_NONE } DisplayKind;
typedef enum ScalingMode {
    SCALING_INTEGER, /* whole multiples of the guest's pixels */
    SCALING_ASPECT,  /* fills the window in the tube's shape, with sharp edges */
    SCALING_SMOOTH,  /* the same, smoothed */
    SCALINGS
} ScalingMode;

typedef struct UiConfig {
    DisplayKind display;
    ScalingMode scaling;
    bool scanlines; /* with the look of a tube's lines */
    bool full_screen;
    bool window_close;              /* closing the window ends the program */
    bool window_suspend;            /* but saves the machine first, as "suspended" */
    bool show_cursor;               /* keep the host's pointer visible over the picture */
    char *host_key;                 /* SDL's name of a key, "none", or NULL: right Ctrl */
    char *screenshot_dir;           /* NULL: where the program was started */
    char *qmp[OPTIONS_MAX_SOCKETS]; /* QEMU's -qmp argument */
    char *layout;                   /* -k: the guest's keyboard; NULL: en-us */
    char *record;                   /* -record FILE[,...]; NULL: nothing from the start */
    char *log;                      /* --log */
    char *log_file;                 /* -D */
    char *pid_file;
    char *resume; /* a snapshot to start from */
} UiConfig;

/* What `-drive if=none` and `-chardev` name for later options. */
typedef struct NamedDrive {
    char *id; /* NULL: free */
    DriveConfig drive;
} NamedDrive;
typedef struct NamedChar {
    char *id; /* NULL: free */
    char *spec;
} NamedChar;

typedef struct Options {
    MachineConfig machine;
    UiConfig ui;
    char *image;        /* IMAGE */
    bool help, version; /* asked for; nothing else is to be done */
    const char *topic;  /* `-cpu help` and the like: the text to print instead of the whole help */
    void (*list)(FILE *to);        /* `-device help` and the like: what prints it */
    char *note[OPTIONS_MAX_NOTES]; /* options that were taken but do nothing here, one line each */
    unsigned notes;

    /* While parsing. */
    unsigned serials, parallels, qmps, nics, netdevs, devices, objects, smbioses, roms;
    bool nographic;
    char *net_nic, *net_backend; /* -net nic,... and -net user,... make one card */
    NamedDrive named_drive[MACHINE_MAX_DRIVES];
    NamedChar named_char[MACHINE_MAX_DEVICES];
} Options;

void options_init(Options *o);
void options_free(Options *o);
/* argv[0] is skipped. False with err set to one line that names the option and says what to do. */
bool options_parse(Options *o, int argc, char *const *argv, Err *err);
void options_help(FILE *to);

/* For tests and for the man page check: the name of option i, or NULL behind the last. */
const char *options_name(unsigned i);

#endif
