/* Options of the front end: display, control sockets, and where ports lead on the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "ui/keylayout.h"
#include "ui/options_internal.h"
#include "ui/value.h"

static bool display_scale(KeyValues *kv, const char *key, UiConfig *ui, Err *err)
{
    static const struct {
        const char *name;
        ScalingMode mode;
    } modes[] = {{"integer", SCALING_INTEGER},
                 {"crisp", SCALING_INTEGER},
                 {"aspect", SCALING_ASPECT},
                 {"smooth", SCALING_SMOOTH}};
    const char *value = value_find(kv, key);
    for (unsigned i = 0; value && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(value, modes[i].name) == 0) {
            ui->scaling = modes[i].mode;
            return true;
        }
    }
    return !value || err_set(err, "-display: %s=%s: use integer, aspect or smooth", key, value);
}

OPTION_TAKE(display)
{
    static const char *const ignored[] = {"gl",           "zoom-to-fit",  "show-tabs",
                                          "show-menubar", "swap-opt-cmd", NULL};
    KeyValues kv;
    UiConfig *ui = &o->ui;
    (void)def;
    bool ok = value_split(&kv, "display", value, "type", err);
    const char *type = ok ? value_find(&kv, "type") : NULL;
    value_ignore(&kv, ignored);
    if (type && strcmp(type, "none") == 0) {
        ui->display = DISPLAY_NONE;
    } else if (type && (strcmp(type, "sdl") == 0 || strcmp(type, "gtk") == 0 ||
                        strcmp(type, "cocoa") == 0 || strcmp(type, "default") == 0)) {
        ui->display = DISPLAY_WINDOW;
    } else if (ok) {
        ok = err_set(err, "-display: there is no display '%s'; use sdl or none", type ? type : "");
    }
    value_string(&kv, "host-key", &ui->host_key);
    const char *grab = value_find(&kv, "grab-mod");
    if (grab) {
        option_store(&ui->host_key, strcmp(grab, "rctrl") == 0 ? "Right Ctrl" : ui->host_key);
    }
    const char *close = value_find(&kv, "window-close");
    ui->window_suspend = close && strcmp(close, "suspend") == 0;
    ok = ok && (ui->window_suspend || value_switch(&kv, "window-close", &ui->window_close, err)) &&
         value_switch(&kv, "window_close", &ui->window_close, err) &&
         value_switch(&kv, "full-screen", &ui->full_screen, err) &&
         value_switch(&kv, "show-cursor", &ui->show_cursor, err) &&
         value_switch(&kv, "scanlines", &ui->scanlines, err) &&
         display_scale(&kv, "scale", ui, err) && display_scale(&kv, "scaling", ui, err) &&
         value_all_used(&kv, "scale, scanlines, full-screen, window-close, show-cursor, host-key",
                        err);
    value_free(&kv);
    return ok;
}

OPTION_TAKE(layout)
{
    if (!key_layout_find(value)) {
        return err_set(err, "-%s: there is no keyboard '%s'; use one of " KEY_LAYOUT_NAMES,
                       def->name, value);
    }
    option_store(&o->ui.layout, value);
    return true;
}

OPTION_TAKE(nographic)
{
    (void)def, (void)value, (void)err;
    o->nographic = true;
    return true;
}

OPTION_TAKE(window_close_off)
{
    (void)def, (void)value, (void)err;
    o->ui.window_close = false;
    return true;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool option_char_check(const char *option, const char *spec, Err *err)
{
    static const char *const whole[] = {"stdio", "none", "null", "pty", "vc", "mon:stdio"};
    static const char *const prefixes[] = {"file:", "unix:", "tcp:", "telnet:", "chardev:", "/"};
    /* Other kinds belong to the machine: a mouse, a modem, a printer. */
    static const char *const devices[] = {"msmouse", "mousesystems", "modem",
                                          "printer", "pdf",          "null-modem"};
    for (unsigned i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        if (strcmp(spec, whole[i]) == 0) {
            return true;
        }
    }
    if (has_prefix(spec, "vc:")) {
        return true;
    }
    for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (has_prefix(spec, prefixes[i]) && spec[strlen(prefixes[i])]) {
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        size_t n = strlen(devices[i]);
        if (has_prefix(spec, devices[i]) && (!spec[n] || spec[n] == ',' || spec[n] == ':')) {
            return true;
        }
    }
    return err_set(
        err,
        "-%s: '%s' leads nowhere; use stdio, file:PATH, unix:PATH[,server,nowait], "
        "tcp:HOST:PORT[,server,nowait], pty, pdf:PATH (a printer), modem, /dev/PORT or none",
        option, spec);
}

/* "none" and the text console of other programs become no port. */
static char *char_spec(const char *value)
{
    bool nothing = strcmp(value, "none") == 0 || strcmp(value, "null") == 0 ||
                   strcmp(value, "vc") == 0 || has_prefix(value, "vc:");
    return strdup(nothing ? "none" : value);
}

OPTION_TAKE(serial)
{
    if (o->serials == MACHINE_MAX_SERIAL) {
        return err_set(err, "-%s: the machine has %d serial ports", def->name, MACHINE_MAX_SERIAL);
    }
    if (!option_char_check(def->name, value, err)) {
        return false;
    }
    o->machine.serial[o->serials++] = char_spec(value);
    return true;
}

OPTION_TAKE(parallel)
{
    if (o->parallels++ > 0) {
        return err_set(err, "-%s: the machine has one parallel port", def->name);
    }
    if (!option_char_check(def->name, value, err)) {
        return false;
    }
    o->machine.parallel = char_spec(value);
    return true;
}

OPTION_TAKE(debugcon)
{
    if (!option_char_check(def->name, value, err)) {
        return false;
    }
    free(o->machine.debugcon);
    o->machine.debugcon = char_spec(value);
    return true;
}

static bool append(char *text, size_t room, const char *format, const char *value)
{
    size_t n = strlen(text);
    return (size_t)snprintf(text + n, room - n, format, value) < room - n;
}

/* A -chardev's settings as a -serial argument. */
static bool chardev_spec(KeyValues *kv, char *spec, size_t room, Err *err)
{
    static const char *const ignored[] = {"mux",  "signal",  "append",    "nodelay", "ipv4",
                                          "ipv6", "logfile", "logappend", NULL};
    const char *kind = value_find(kv, "backend");
    const char *path = value_find(kv, "path");
    const char *host = value_find(kv, "host");
    const char *port = value_find(kv, "port");
    const char *reconnect = value_find(kv, "reconnect");
    bool server = false, wait = true, telnet = false, ok = true;
    value_ignore(kv, ignored);
    if (!value_switch(kv, "server", &server, err) || !value_switch(kv, "wait", &wait, err) ||
        !value_switch(kv, "telnet", &telnet, err)) {
        return false;
    }
    spec[0] = '\0';
    if (!kind) {
        return err_set(err, "-chardev: name a back end: socket, file, stdio, pty or null");
    }
    if (strcmp(kind, "socket") == 0 && (path || port)) {
        ok = path ? append(spec, room, "unix:%s", path)
                  : append(spec, room, "tcp:%s", host ? host : "localhost") &&
                        append(spec, room, ":%s", port);
        ok = ok && (!server || append(spec, room, "%s", ",server"));
        ok = ok && (!server || wait || append(spec, room, "%s", ",nowait"));
        ok = ok && (!telnet || append(spec, room, "%s", ",telnet"));
        ok = ok && (!reconnect || append(spec, room, ",reconnect=%s", reconnect));
    } else if (strcmp(kind, "file") == 0 && path) {
        ok = append(spec, room, "file:%s", path);
    } else if (strcmp(kind, "stdio") == 0 || strcmp(kind, "pty") == 0) {
        ok = append(spec, room, "%s", kind);
    } else if (strcmp(kind, "null") == 0 || strcmp(kind, "vc") == 0) {
        ok = append(spec, room, "%s", "none");
    } else if ((strcmp(kind, "serial") == 0 || strcmp(kind, "tty") == 0) && path) {
        ok = append(spec, room, "%s", path);
    } else {
        return err_set(err,
                       "-chardev: '%s' is no complete back end; use socket with path= or port=, "
                       "file with path=, stdio, pty or null",
                       kind);
    }
    return ok || err_set(err, "-chardev: the path is too long");
}

OPTION_TAKE(chardev)
{
    KeyValues kv;
    char spec[512];
    (void)def;
    bool ok = value_split(&kv, "chardev", value, "backend", err) &&
              chardev_spec(&kv, spec, sizeof(spec), err);
    const char *id = ok ? value_find(&kv, "id") : NULL;
    if (ok && !id) {
        ok = err_set(err, "-chardev: id= is missing; give the back end a name");
    }
    ok = ok && value_all_used(&kv, "id, path, host, port, server, wait, telnet", err);
    for (unsigned i = 0; ok && i < MACHINE_MAX_DEVICES; i++) {
        if (!o->named_char[i].id) {
            o->named_char[i] = (NamedChar){strdup(id), strdup(spec)};
            value_free(&kv);
            return true;
        }
    }
    value_free(&kv);
    return ok && err_set(err, "-chardev: no more than %d of them", MACHINE_MAX_DEVICES);
}

OPTION_TAKE(qmp)
{
    if (strcmp(value, "none") == 0) {
        return true;
    }
    if (!has_prefix(value, "unix:") && !has_prefix(value, "tcp:") &&
        !has_prefix(value, "chardev:")) {
        return err_set(err, "-%s: '%s' is no socket; use unix:PATH,server,nowait", def->name,
                       value);
    }
    if (o->qmps == OPTIONS_MAX_SOCKETS) {
        return err_set(err, "-%s: no more than %d control sockets", def->name, OPTIONS_MAX_SOCKETS);
    }
    o->ui.qmp[o->qmps++] = strdup(value);
    return true;
}

OPTION_TAKE(mon)
{
    KeyValues kv;
    static const char *const ignored[] = {"pretty", NULL};
    bool ok = value_split(&kv, def->name, value, "chardev", err);
    const char *mode = ok ? value_find(&kv, "mode") : NULL;
    const char *id = ok ? value_find(&kv, "chardev") : NULL;
    value_ignore(&kv, ignored);
    ok = ok && value_all_used(&kv, "chardev, mode", err);
    if (ok && (!mode || strcmp(mode, "control") != 0)) {
        option_note(o,
                    "-%s: only mode=control is here; the monitor for people is QMP's "
                    "human-monitor-command",
                    def->name);
    } else if (ok) {
        char spec[128];
        snprintf(spec, sizeof(spec), "chardev:%s", id ? id : "");
        ok = option_take_qmp(o, def, spec, err);
    }
    value_free(&kv);
    return ok;
}

OPTION_TAKE(monitor)
{
    (void)err;
    if (strcmp(value, "none") != 0 && strcmp(value, "null") != 0) {
        option_note(o, "-%s %s: there is no monitor line; use -qmp and human-monitor-command",
                    def->name, value);
    }
    return true;
}

OPTION_TAKE(help)
{
    (void)def, (void)value, (void)err;
    o->help = true;
    return true;
}

OPTION_TAKE(version)
{
    (void)def, (void)value, (void)err;
    o->version = true;
    return true;
}

/* "chardev:ID" becomes what the -chardev said. */
static bool resolve(Options *o, const char *option, char **slot, Err *err)
{
    if (!*slot || !has_prefix(*slot, "chardev:")) {
        return true;
    }
    const char *id = *slot + strlen("chardev:");
    for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
        if (o->named_char[i].id && strcmp(o->named_char[i].id, id) == 0) {
            option_store(slot, o->named_char[i].spec);
            return true;
        }
    }
    return err_set(err, "-%s: there is no -chardev with id=%s", option, id);
}

bool options_finish_chars(Options *o, Err *err)
{
    MachineConfig *m = &o->machine;
    if (o->nographic) {
        o->ui.display = DISPLAY_NONE;
        if (o->serials == 0) {
            m->serial[o->serials++] = strdup("mon:stdio");
        }
    }
    unsigned on_stdio = 0;
    char **ports[MACHINE_MAX_SERIAL + 2] = {&m->parallel, &m->debugcon};
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++) {
        ports[2 + i] = &m->serial[i];
    }
    static const char *const options[] = {"parallel", "debugcon"};
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL + 2; i++) {
        if (!resolve(o, i < 2 ? options[i] : "serial", ports[i], err)) {
            return false;
        }
        on_stdio += *ports[i] && strstr(*ports[i], "stdio") != NULL && !strchr(*ports[i], '/');
    }
    for (unsigned i = 0; i < o->qmps; i++) {
        if (!resolve(o, "qmp", &o->ui.qmp[i], err)) {
            return false;
        }
    }
    return on_stdio <= 1 ||
           err_set(err, "stdio can lead to one port only; send the others to file: or pty");
}

OPTION_TAKE(log)
{
    if (strcmp(value, "help") == 0) {
        o->help = true;
        o->list = log_list_tags;
        return true;
    }
    (void)def;
    (void)err;
    option_store(&o->ui.log, value);
    return true;
}
