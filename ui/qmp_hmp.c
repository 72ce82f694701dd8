/* human-monitor-command: the lines that people type into QEMU's monitor, as far as they have a
 * meaning here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ui/keymap.h"
#include "ui/qmp_internal.h"
#include "ui/version.h"

enum { MAX_WORDS = 8, MAX_ANSWER = 4 << 20, HOLD_MS = 100, MAX_HOLD_MS = 10000 };

typedef struct Hmp {
    Qmp *q;
    char *word[MAX_WORDS];
    unsigned words;
    char *text; /* the answer */
    size_t count, room;
} Hmp;

static void say(Hmp *h, const char *text)
{
    size_t n = strlen(text);
    if (h->count + n + 3 > h->room) {
        size_t room = (h->count + n + 3) * 2;
        char *bigger = room > MAX_ANSWER ? NULL : realloc(h->text, room);
        if (!bigger) {
            return;
        }
        h->text = bigger;
        h->room = room;
    }
    memcpy(h->text + h->count, text, n);
    memcpy(h->text + h->count + n, "\r\n", 3);
    h->count += n + 2;
}

static void say_line(void *self, const char *text)
{
    say(self, text);
}

static void say_error(Hmp *h, const QmpError *e)
{
    char line[sizeof(e->text) + 16];
    snprintf(line, sizeof(line), "Error: %s", e->text);
    say(h, line);
}

static void say_failure(Hmp *h, const Err *err)
{
    char line[sizeof(err->text) + 16];
    snprintf(line, sizeof(line), "Error: %s", err->text);
    say(h, line);
}

static void info_block(Hmp *h)
{
    BlockInfo blocks[QMP_MAX_BLOCKS];
    unsigned count = machine_block_query(h->q->machine, blocks, QMP_MAX_BLOCKS);
    for (unsigned i = 0; i < count && i < QMP_MAX_BLOCKS; i++) {
        const BlockInfo *b = &blocks[i];
        char line[1200];
        snprintf(line, sizeof(line), "%s: %s%s%s%s%s%s", b->id,
                 b->file[0] ? b->file : "[not inserted]", b->file[0] ? " (" : "",
                 b->file[0] ? b->format : "",
                 b->file[0] ? (b->read_only ? ", read-only)" : ")") : "",
                 b->removable ? ", removable" : "", b->tray_open ? ", tray open" : "");
        say(h, line);
    }
}

static void command_info(Hmp *h)
{
    Machine *m = h->q->machine;
    const char *what = h->words > 1 ? h->word[1] : "";
    char line[256];
    if (strcmp(what, "status") == 0) {
        bool running = machine_state(m) == RUN_STATE_RUNNING;
        snprintf(line, sizeof(line), "VM status: %s%s%s%s", running ? "running" : "paused",
                 running ? "" : " (", running ? "" : qmp_status(m), running ? "" : ")");
        say(h, line);
    } else if (strcmp(what, "version") == 0) {
        say(h, VERSION_TEXT);
    } else if (strcmp(what, "name") == 0) {
        say(h, machine_name(m));
    } else if (strcmp(what, "block") == 0) {
        info_block(h);
    } else if (strcmp(what, "snapshots") == 0) {
        qmp_list_snapshots(h->q, say_line, h);
    } else if (strcmp(what, "kvm") == 0) {
        say(h, strcmp(machine_accel(m), "kvm") == 0 ? "kvm support: enabled"
                                                    : "kvm support: disabled");
    } else if (!what[0] || !machine_info(m, what, say_line, h)) {
        snprintf(line, sizeof(line),
                 "info: %s%.60s%s; try status, version, name, block, snapshots,",
                 what[0] ? "there is no '" : "of what", what, what[0] ? "'" : "?");
        say(h, line);
        say(h, "kvm, registers, pic, mem, mtree, timers, devices, engine");
    }
}

static void command_sendkey(Hmp *h)
{
    uint8_t hids[16];
    unsigned count = 0;
    unsigned long hold = h->words > 2 ? strtoul(h->word[2], NULL, 10) : HOLD_MS;
    char line[128];
    for (char *rest = h->words > 1 ? h->word[1] : NULL, *key; (key = strsep(&rest, "-")) != NULL;) {
        uint8_t hid = strncmp(key, "0x", 2) == 0
                          ? keymap_by_scan_code((unsigned)strtoul(key, NULL, 16))
                          : keymap_by_name(key, strlen(key));
        if (!hid || count == sizeof(hids)) {
            snprintf(line, sizeof(line), "invalid parameter: %.60s", key);
            say(h, line);
            return;
        }
        hids[count++] = hid;
    }
    if (hold > MAX_HOLD_MS || !qmp_press(h->q, hids, count, (unsigned)hold)) {
        say(h, "too much input waits, or keys are held for too long");
    }
}

static void command_screendump(Hmp *h)
{
    QmpError e = {0};
    bool png = h->words > 3 && strcmp(h->word[2], "-f") == 0;
    if (h->words < 2) {
        say(h, "screendump: name a file");
    } else if (!qmp_dump(h->q, h->word[1], png ? h->word[3] : NULL, &e)) {
        say_error(h, &e);
    }
}

static void command_change(Hmp *h)
{
    QmpError e = {0};
    if (h->words < 3) {
        say(h, "change: name a device and a file");
    } else if (!qmp_change(h->q, h->word[1], h->word[2], h->words > 3 ? h->word[3] : NULL, false,
                           &e)) {
        say_error(h, &e);
    }
}

static void command_eject(Hmp *h)
{
    QmpError e = {0};
    bool force = h->words > 1 && strcmp(h->word[1], "-f") == 0;
    if (h->words < 2u + force) {
        say(h, "eject: name a device");
    } else if (!qmp_eject_id(h->q, h->word[1 + force], force, &e)) {
        say_error(h, &e);
    }
}

static void command_commit(Hmp *h)
{
    Err err = {""};
    if (h->words < 2) {
        say(h, "commit: name a device, or all");
    } else if (!machine_commit(h->q->machine, h->word[1], &err)) {
        say_failure(h, &err);
    }
}

static int16_t small(const char *text)
{
    long value = strtol(text, NULL, 10);
    return (int16_t)(value < -32767 ? -32767 : value > 32767 ? 32767 : value);
}

static void command_mouse_move(Hmp *h)
{
    if (h->words < 3) {
        say(h, "mouse_move: DX DY [WHEEL]");
        return;
    }
    machine_input(h->q->machine,
                  &(InputEvent){.kind = INPUT_MOUSE_MOVE,
                                .dx = small(h->word[1]),
                                .dy = small(h->word[2]),
                                .wheel = h->words > 3 ? small(h->word[3]) : (int16_t)0});
}

/* QEMU's bits: 1 left, 2 middle, 4 right. */
static void command_mouse_button(Hmp *h)
{
    unsigned long bits = h->words > 1 ? strtoul(h->word[1], NULL, 10) : 0;
    h->q->buttons = (uint8_t)((bits & 1 ? MOUSE_LEFT : 0) | (bits & 2 ? MOUSE_MIDDLE : 0) |
                              (bits & 4 ? MOUSE_RIGHT : 0));
    machine_input(h->q->machine,
                  &(InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = h->q->buttons});
}

static void command_savevm(Hmp *h)
{
    Err err = {""};
    char name[64];
    const char *tag = h->words > 1 ? h->word[1] : name;
    time_t now = time(NULL);
    struct tm when;
    if (h->words < 2 &&
        (!localtime_r(&now, &when) || !strftime(name, sizeof(name), "vm-%Y%m%d%H%M%S", &when))) {
        say(h, "savevm: name the snapshot");
    } else if (!machine_snapshot_save(h->q->machine, tag, NULL, &err)) {
        say_failure(h, &err);
    }
}

static void command_loadvm(Hmp *h)
{
    Err err = {""};
    if (h->words < 2) {
        say(h, "loadvm: name a snapshot");
    } else if (!machine_snapshot_load(h->q->machine, h->word[1], &err)) {
        say_failure(h, &err);
    }
}

static void command_delvm(Hmp *h)
{
    Err err = {""};
    if (h->words < 2) {
        say(h, "delvm: name a snapshot");
    } else if (!machine_snapshot_delete(h->q->machine, h->word[1], &err)) {
        say_failure(h, &err);
    }
}

static void command_stop(Hmp *h)
{
    machine_pause(h->q->machine);
}

static void command_cont(Hmp *h)
{
    machine_resume(h->q->machine);
}

static void command_speed(Hmp *h)
{
    Err err = {""};
    char name[MACHINE_SPEED];
    if (h->words > 1 && !machine_set_speed(h->q->machine, h->word[1], &err)) {
        say(h, err.text);
        return;
    }
    machine_speed(h->q->machine, name);
    say(h, name);
}

static void command_quit(Hmp *h)
{
    qmp_quit(h->q);
}

static void command_reset(Hmp *h)
{
    machine_reset(h->q->machine);
}

static void command_powerdown(Hmp *h)
{
    machine_powerdown(h->q->machine);
}

static void command_help(Hmp *h);

static const struct {
    const char *name, *help;
    void (*run)(Hmp *h);
} commands[] = {
    {"savevm", "[NAME]: keep the machine as it now is", command_savevm},
    {"loadvm", "NAME: go back to how it was", command_loadvm},
    {"delvm", "NAME: forget a snapshot", command_delvm},
    {"info",
     "status|version|name|block|snapshots|kvm|registers|pic|mem|mtree|timers|devices|engine",
     command_info},
    {"stop", "pause the machine", command_stop},
    {"cont", "go on", command_cont},
    {"c", NULL, command_cont},
    {"speed", "[SPEED]: as fast as a 386-33, 486-66, p100 ..., so many MIPS, or max",
     command_speed},
    {"quit", "end the program", command_quit},
    {"q", NULL, command_quit},
    {"system_reset", "press the reset button", command_reset},
    {"system_powerdown", "press the power button", command_powerdown},
    {"sendkey", "KEY[-KEY]... [MS]", command_sendkey},
    {"mouse_move", "DX DY [WHEEL]", command_mouse_move},
    {"mouse_button", "BITS: 1 left, 2 middle, 4 right", command_mouse_button},
    {"screendump", "FILE [-f png|ppm]", command_screendump},
    {"change", "DEVICE FILE [FORMAT]", command_change},
    {"eject", "[-f] DEVICE", command_eject},
    {"commit", "DEVICE|all: keep what was written with -snapshot or snapshot=on", command_commit},
    {"help", "this list", command_help},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void command_help(Hmp *h)
{
    for (unsigned i = 0; i < COMMANDS; i++) {
        char line[160];
        if (commands[i].help) {
            snprintf(line, sizeof(line), "%s -- %s", commands[i].name, commands[i].help);
            say(h, line);
        }
    }
}

static void run_line(Hmp *h)
{
    char line[200];
    for (unsigned i = 0; h->words && i < COMMANDS; i++) {
        if (strcmp(commands[i].name, h->word[0]) == 0) {
            commands[i].run(h);
            return;
        }
    }
    snprintf(line, sizeof(line), "unknown command: '%.100s'", h->words ? h->word[0] : "");
    say(h, line);
}

json_t *qmp_human_monitor(Qmp *q, json_t *arguments, QmpError *e)
{
    Hmp h = {.q = q};
    char *line = strdup(json_string_value(json_object_get(arguments, "command-line")));
    char *rest = line;
    for (char *word; h.words < MAX_WORDS && (word = strsep(&rest, " \t\r\n")) != NULL;) {
        if (word[0]) {
            h.word[h.words++] = word;
        }
    }
    (void)e;
    run_line(&h);
    json_t *answer = qmp_text(h.text ? h.text : "");
    free(h.text);
    free(line);
    return answer;
}
