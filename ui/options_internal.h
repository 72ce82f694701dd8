/* Between the option table, the parser and the files that take single options. */
#ifndef UI_OPTIONS_INTERNAL_H
#define UI_OPTIONS_INTERNAL_H

#include "ui/options.h"

typedef struct OptionDef OptionDef;
struct OptionDef {
    const char *name;
    const char *argument; /* as --help shows it; NULL: the option takes none */
    const char *help;     /* NULL: not shown (another spelling) */
    bool (*take)(Options *o, const OptionDef *def, const char *value, Err *err);
    size_t field;     /* for take functions that store one value: offset in Options */
    const char *text; /* for take functions: a fixed value, or a note */
};

/* Options in the order of --help; a def with only `help` set is a heading. Ends with all NULL. */
extern const OptionDef option_table[];

#define OPTION_TAKE(name)                                                                          \
    bool option_take_##name(Options *o, const OptionDef *def, const char *value, Err *err)

/* options_table.c's simple ones. */
OPTION_TAKE(string);  /* *field = value */
OPTION_TAKE(fixed);   /* *field = def->text, a string */
OPTION_TAKE(flag);    /* *field = true */
OPTION_TAKE(ignored); /* nothing, with a note when def->text is set */
/* options_drive.c */
OPTION_TAKE(drive_letter); /* def->text: "fda" ... */
OPTION_TAKE(drive);
OPTION_TAKE(hdachs);
OPTION_TAKE(image); /* IMAGE itself */
/* options_machine.c */
OPTION_TAKE(log);
OPTION_TAKE(memory);
OPTION_TAKE(cpu);
OPTION_TAKE(accel);
OPTION_TAKE(machine);
OPTION_TAKE(speed);
OPTION_TAKE(boot);
OPTION_TAKE(vga);
OPTION_TAKE(rtc);
OPTION_TAKE(startdate);
OPTION_TAKE(icount);
OPTION_TAKE(name);
OPTION_TAKE(smp);
OPTION_TAKE(option_rom);
OPTION_TAKE(device);
OPTION_TAKE(soundhw);
OPTION_TAKE(nic);
OPTION_TAKE(net);
OPTION_TAKE(netdev);
OPTION_TAKE(object);
OPTION_TAKE(smbios);
OPTION_TAKE(log_items);
/* options_ui.c */
OPTION_TAKE(display);
OPTION_TAKE(layout);
OPTION_TAKE(nographic);
OPTION_TAKE(window_close_off);
OPTION_TAKE(serial);
OPTION_TAKE(parallel);
OPTION_TAKE(debugcon);
OPTION_TAKE(chardev);
OPTION_TAKE(qmp);
OPTION_TAKE(mon);
OPTION_TAKE(monitor);
OPTION_TAKE(help);
OPTION_TAKE(version);

/* After the last option: what IMAGE is, drives of -device, defaults that depend on others. */
bool options_finish_drives(Options *o, Err *err);
bool options_finish_chars(Options *o, Err *err);

/* `-device ide-hd,drive=ID` and its kin plug in a named drive. *taken: the value was one. */
bool option_drive_device(Options *o, const char *value, bool *taken, Err *err);
/* Checks the syntax of a -serial, -parallel or -debugcon value. */
bool option_char_check(const char *option, const char *spec, Err *err);

/* Stores a copy in *slot, freeing what was there. */
void option_store(char **slot, const char *value);
/* Adds a line to what is said before the start. */
void option_note(Options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
