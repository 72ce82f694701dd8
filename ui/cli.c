/* `vitrine run`: from arguments to a running machine with its window and control sockets, and back.
 */
#include "ui/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "ui/audio_sdl.h"
#include "ui/keylayout.h"
#include "ui/options.h"
#include "ui/qmp.h"
#include "ui/record.h"
#include "ui/signals.h"
#include "ui/version.h"
#include "ui/window.h"

typedef struct Session {
    Options options;
    Signals *signals;
    Window *window;
    Machine *machine;
    AudioSdl *audio;
    Recorder *recorder;
    RecordConfig record;
    Qmp *qmp[OPTIONS_MAX_SOCKETS];
} Session;

int cli_version(void)
{
    puts("vitrine " VERSION_TEXT "\n"
         "Licence GPL-2.0-or-later: free software, without any warranty.");
    return 0;
}

static bool write_pid(const char *path, Err *err)
{
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%ld\n", (long)getpid()) < 0 || fclose(file)) {
        return err_set(err, "-pidfile: '%s' cannot be written: %s", path, strerror(errno));
    }
    return true;
}

/* Found out now, not when the moment to be kept has gone. */
static bool check_folder(const char *path, Err *err)
{
    struct stat st;
    if (path && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) {
        return err_set(err, "-screenshots: there is no folder '%s'; make it, or name another",
                       path);
    }
    return true;
}

static bool session_open(Session *s, Err *err)
{
    const UiConfig *ui = &s->options.ui;
    if (!check_folder(ui->screenshot_dir, err)) {
        return false;
    }
    if (ui->log_file && !log_to_file(ui->log_file, err)) {
        return false;
    }
    if (ui->log && !log_configure(ui->log, err)) {
        return false;
    }
    if (ui->record && !record_parse(ui->record, &s->record, err)) {
        return false;
    }
    s->signals = signals_new();
    if (ui->display == DISPLAY_WINDOW) {
        s->window = window_new(&s->options, err);
        if (!s->window) {
            return false;
        }
    }
    s->machine = machine_new(&s->options.machine, err);
    if (!s->machine) {
        return false;
    }
    if (ui->resume && !machine_snapshot_load(s->machine, ui->resume, err)) {
        return false;
    }
    s->recorder = recorder_new(s->machine);
    if (!s->recorder) {
        return err_set(err, "out of memory");
    }
    QmpFrontEnd front = {s->recorder, key_layout_find(ui->layout)};
    for (unsigned i = 0; i < OPTIONS_MAX_SOCKETS && ui->qmp[i]; i++) {
        s->qmp[i] = qmp_open(s->machine, &front, ui->qmp[i], err);
        if (!s->qmp[i]) {
            return false;
        }
    }
    if (mixer_wants_device(machine_mixer(s->machine))) {
        s->audio = audio_sdl_open(machine_mixer(s->machine));
    }
    if (s->window && !window_attach(s->window, s->machine, s->recorder, s->audio, err)) {
        return false;
    }
    return !ui->pid_file || write_pid(ui->pid_file, err);
}

static void session_close(Session *s)
{
    for (unsigned i = 0; i < OPTIONS_MAX_SOCKETS; i++) {
        qmp_close(s->qmp[i]);
    }
    signals_free(s->signals);
    window_free(s->window);
    recorder_free(s->recorder);
    audio_sdl_close(s->audio);
    machine_free(s->machine);
    if (s->options.ui.pid_file) {
        unlink(s->options.ui.pid_file);
    }
    options_free(&s->options);
}

static int session_run(Session *s, Err *err)
{
    if (!session_open(s, err) || !machine_start(s->machine, err)) {
        return 1;
    }
    signals_attach(s->signals, s->machine);
    bool shown = !s->options.ui.record || recorder_start(s->recorder, &s->record, err);
    shown = shown && (!s->window || window_run(s->window, err));
    if (s->window && window_suspended(s->window)) {
        fputs("vitrine: suspended; -resume " WINDOW_SUSPENDED " goes on from here\n", stderr);
    }
    if (!shown) {
        machine_quit(s->machine, 1);
    }
    return machine_wait(s->machine);
}

int cli_run(int argc, char **argv)
{
    Session s = {0};
    Err err = {{0}};
    int status = 1;
    options_init(&s.options);
    bool parsed = options_parse(&s.options, argc, argv, &err);
    for (unsigned i = 0; i < s.options.notes; i++) {
        fprintf(stderr, "vitrine: note: %s\n", s.options.note[i]);
    }
    if (parsed && s.options.version) {
        status = cli_version();
    } else if (parsed && s.options.list) {
        s.options.list(stdout);
        status = 0;
    } else if (parsed && s.options.topic) {
        status = fputs(s.options.topic, stdout) < 0;
    } else if (parsed && s.options.help) {
        options_help(stdout);
        status = 0;
    } else if (parsed) {
        status = session_run(&s, &err);
    }
    session_close(&s);
    if (err.text[0]) {
        fprintf(stderr, "vitrine: %s\n", err.text);
        status = 1;
    }
    return status;
}
