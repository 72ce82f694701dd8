/* The parser of `vitrine run` and its --help. */
#include "ui/options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ui/options_internal.h"

enum { HELP_COLUMN = 28 };

void options_init(Options *o)
{
    memset(o, 0, sizeof(*o));
    machine_config_init(&o->machine);
    o->ui.window_close = true;
}

void options_free(Options *o)
{
    machine_config_free(&o->machine);
    char *const single[] = {o->ui.host_key, o->ui.screenshot_dir, o->ui.log,     o->ui.log_file,
                            o->ui.pid_file, o->ui.resume,         o->ui.layout,  o->ui.record,
                            o->image,       o->net_nic,           o->net_backend};
    for (unsigned i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        free(single[i]);
    }
    for (unsigned i = 0; i < OPTIONS_MAX_SOCKETS; i++) {
        free(o->ui.qmp[i]);
    }
    for (unsigned i = 0; i < o->notes; i++) {
        free(o->note[i]);
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        NamedDrive *named = &o->named_drive[i];
        if (named->id) {
            free(named->id);
            free(named->drive.file);
            free(named->drive.format);
            free(named->drive.id);
        }
    }
    for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
        free(o->named_char[i].id);
        free(o->named_char[i].spec);
    }
    memset(o, 0, sizeof(*o));
}

void option_store(char **slot, const char *value)
{
    char *copy = value ? strdup(value) : NULL;
    free(*slot);
    *slot = copy;
}

void option_note(Options *o, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (o->notes < OPTIONS_MAX_NOTES) {
        o->note[o->notes++] = strdup(text);
    }
}

OPTION_TAKE(string)
{
    if (!value[0] && strcmp(def->name, "append") != 0) {
        return err_set(err, "-%s: an empty value; write %s", def->name, def->argument);
    }
    option_store((char **)((char *)o + def->field), value);
    return true;
}

OPTION_TAKE(fixed)
{
    (void)value, (void)err;
    if (def->text) {
        option_store((char **)((char *)o + def->field), def->text);
    }
    return true;
}

OPTION_TAKE(flag)
{
    (void)value, (void)err;
    *(bool *)((char *)o + def->field) = true;
    return true;
}

OPTION_TAKE(ignored)
{
    (void)value, (void)err;
    if (def->text) {
        option_note(o, "-%s has no effect: %s", def->name, def->text);
    }
    return true;
}

static const OptionDef *find_option(const char *name, size_t length)
{
    for (const OptionDef *def = option_table; def->name || def->help; def++) {
        if (def->name && strlen(def->name) == length && memcmp(def->name, name, length) == 0) {
            return def;
        }
    }
    return NULL;
}

const char *options_name(unsigned i)
{
    for (const OptionDef *def = option_table; def->name || def->help; def++) {
        if (def->name && i-- == 0) {
            return def->name;
        }
    }
    return NULL;
}

/* How many letters must change to make one word the other: for "did you mean". */
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 24 };
    unsigned row[LONGEST + 1];
    size_t n = strlen(b);
    if (n > LONGEST) {
        return LONGEST;
    }
    for (unsigned j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned replaced = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            unsigned shifted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[n];
}

static bool unknown_option(const char *arg, const char *name, size_t length, Err *err)
{
    char word[64];
    snprintf(word, sizeof(word), "%.*s", (int)(length < 63 ? length : 63), name);
    const char *nearest = NULL;
    unsigned best = 3;
    for (unsigned i = 0; options_name(i); i++) {
        unsigned d = distance(word, options_name(i));
        if (d < best && d <= strlen(word) / 3) {
            best = d;
            nearest = options_name(i);
        }
    }
    if (nearest) {
        return err_set(err, "there is no option '%s'; did you mean -%s? See 'vitrine run --help'",
                       arg, nearest);
    }
    return err_set(err, "there is no option '%s'; see 'vitrine run --help'", arg);
}

/* One option at argv[*i], its value in the next word or behind '='. */
static bool parse_option(Options *o, int argc, char *const *argv, int *i, Err *err)
{
    const char *arg = argv[*i];
    const char *name = arg + 1 + (arg[1] == '-');
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    const OptionDef *def = find_option(name, length);
    if (!def) {
        return unknown_option(arg, name, length, err);
    }
    if (!def->argument && value) {
        return err_set(err, "-%s takes no value; leave '=%s' out", def->name, value);
    }
    if (def->argument && !value) {
        if (*i + 1 >= argc) {
            return err_set(err, "-%s needs a value: -%s %s", def->name, def->name, def->argument);
        }
        value = argv[++*i];
    }
    return def->take(o, def, value ? value : "", err);
}

/* What only a kernel takes would be lost without a word. */
static bool kernel_there(const Options *o, Err *err)
{
    if (o->machine.kernel || (!o->machine.initrd && !o->machine.append)) {
        return true;
    }
    return err_set(err, "-%s: only a kernel takes it; name one with -kernel FILE",
                   o->machine.initrd ? "initrd" : "append");
}

bool options_parse(Options *o, int argc, char *const *argv, Err *err)
{
    bool only_images = false;
    for (int i = 1; i < argc; i++) {
        if (!only_images && strcmp(argv[i], "--") == 0) {
            only_images = true;
        } else if (!only_images && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(o, argc, argv, &i, err)) {
                return false;
            }
            if (o->help || o->version) {
                return true;
            }
        } else if (!option_take_image(o, NULL, argv[i], err)) {
            return false;
        }
    }
    if (o->net_nic || o->net_backend) {
        option_note(o,
                    "-net %s alone joins no card to a network; write -nic user, or -net nic "
                    "and -net user",
                    o->net_backend ? o->net_backend : "nic");
    }
    if (!options_finish_drives(o, err) || !options_finish_chars(o, err) || !kernel_there(o, err)) {
        return false;
    }
    if (!o->machine.audiodev) { /* -nographic has taken the window away by now */
        option_store(&o->machine.audiodev, o->ui.display == DISPLAY_WINDOW ? "sdl" : "none");
    }
    o->machine.unattended = o->ui.display == DISPLAY_NONE;
    return true;
}

static void help_option(FILE *to, const OptionDef *def)
{
    int n = fprintf(to, "  -%s%s%s", def->name, def->argument ? " " : "",
                    def->argument ? def->argument : "");
    const char *text = def->help;
    if (n >= HELP_COLUMN) {
        fputc('\n', to);
        n = 0;
    }
    while (*text) {
        size_t length = strcspn(text, "\n");
        fprintf(to, "%*s%.*s\n", HELP_COLUMN - n, "", (int)length, text);
        text += length + (text[length] == '\n');
        n = 0;
    }
}

void options_help(FILE *to)
{
    fprintf(to, "usage: vitrine run [options] [IMAGE]\n"
                "Boots IMAGE: a floppy, hard disk, CD or kernel, known by its content and size.\n"
                "Options take one dash or two; a comma within a value is written twice.\n");
    for (const OptionDef *def = option_table; def->name || def->help; def++) {
        if (!def->name) {
            fprintf(to, "\n%s\n", def->help);
        } else if (def->help) {
            help_option(to, def);
        }
    }
}
