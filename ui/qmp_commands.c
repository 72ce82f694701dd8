/* The table of the control socket's commands, and those that need few words. */
#include <string.h>
#include <unistd.h>

#include "ui/qmp_internal.h"
#include "ui/version.h"

#define COMMAND(function) static json_t *function(Qmp *q, json_t *arguments, QmpError *e)

COMMAND(capabilities)
{
    const json_t *enable = json_object_get(arguments, "enable");
    if (q->negotiated) {
        return qmp_fail(e, "CommandNotFound",
                        "Capabilities negotiation is already complete, command ignored");
    }
    if (json_array_size(enable)) {
        return qmp_fail(e, "GenericError", "there are no capabilities to enable");
    }
    q->negotiated = true;
    return json_object();
}

COMMAND(query_version)
{
    (void)q, (void)arguments, (void)e;
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", VERSION_MAJOR, "minor",
                     VERSION_MINOR, "micro", VERSION_MICRO, "package", "vitrine-" VERSION_TEXT);
}

const char *qmp_status(const Machine *m)
{
    switch (machine_state(m)) {
    case RUN_STATE_RUNNING:
        return "running";
    case RUN_STATE_SHUTDOWN:
        return "shutdown";
    case RUN_STATE_IO_ERROR:
        return "io-error";
    case RUN_STATE_PAUSED:
        break;
    }
    return "paused";
}

COMMAND(query_status)
{
    (void)arguments, (void)e;
    return json_pack("{s:s, s:b, s:b}", "status", qmp_status(q->machine), "singlestep", false,
                     "running", machine_state(q->machine) == RUN_STATE_RUNNING);
}

COMMAND(query_commands)
{
    json_t *list = json_array();
    (void)q, (void)arguments, (void)e;
    for (const QmpCommand *c = qmp_commands; c->name; c++) {
        json_array_append_new(list, json_pack("{s:s}", "name", c->name));
    }
    return list;
}

COMMAND(query_name)
{
    (void)arguments, (void)e;
    return json_pack("{s:o}", "name", qmp_text(machine_name(q->machine)));
}

COMMAND(query_kvm)
{
    (void)arguments, (void)e;
    return json_pack("{s:b, s:b}", "enabled", strcmp(machine_accel(q->machine), "kvm") == 0,
                     "present", access("/dev/kvm", R_OK | W_OK) == 0);
}

COMMAND(query_target)
{
    (void)q, (void)arguments, (void)e;
    return json_pack("{s:s}", "arch", "i386");
}

COMMAND(query_accel)
{
    (void)arguments, (void)e;
    return json_pack("{s:s}", "name", machine_accel(q->machine));
}

COMMAND(query_input)
{
    (void)arguments, (void)e;
    uint8_t leds = machine_keyboard_leds(q->machine);
    return json_pack("{s:{s:b, s:b, s:b}, s:b}", "leds", "scroll", leds & 1, "num", leds >> 1 & 1,
                     "caps", leds >> 2 & 1, "absolute", machine_wants_absolute(q->machine));
}

COMMAND(set_accel)
{
    Err err = {""};
    const char *name = json_string_value(json_object_get(arguments, "accel"));
    if (!machine_set_accel(q->machine, name, &err)) {
        return qmp_fail(e, "GenericError", "%s", err.text);
    }
    return json_object();
}

COMMAND(step)
{
    Err err = {""};
    const json_t *given = json_object_get(arguments, "count");
    json_int_t count = given ? json_integer_value(given) : 1;
    unsigned done;
    if (count < 1 || count > MACHINE_MOST_STEPS) {
        return qmp_fail(e, "GenericError", "count: 1 to %d instructions", MACHINE_MOST_STEPS);
    }
    if (!machine_step(q->machine, (unsigned)count, &done, &err)) {
        return qmp_fail(e, "GenericError", "%s", err.text);
    }
    return json_pack("{s:i}", "executed", (int)done);
}

COMMAND(query_speed)
{
    (void)arguments, (void)e;
    char name[MACHINE_SPEED];
    machine_speed(q->machine, name);
    return json_pack("{s:s}", "speed", name);
}

COMMAND(set_speed)
{
    Err err = {""};
    const char *speed = json_string_value(json_object_get(arguments, "speed"));
    if (!machine_set_speed(q->machine, speed, &err)) {
        return qmp_fail(e, "GenericError", "%s", err.text);
    }
    return json_object();
}

COMMAND(stop)
{
    (void)arguments, (void)e;
    machine_pause(q->machine);
    return json_object();
}

COMMAND(cont)
{
    (void)arguments;
    if (machine_state(q->machine) == RUN_STATE_SHUTDOWN) {
        return qmp_fail(e, "GenericError", "Resetting the Virtual Machine is required");
    }
    machine_resume(q->machine);
    return json_object();
}

void qmp_quit(Qmp *q)
{
    q->asked_quit = true;
    machine_quit(q->machine, 0);
}

COMMAND(quit)
{
    (void)arguments, (void)e;
    qmp_quit(q);
    q->closing = true;
    return json_object();
}

COMMAND(reset)
{
    (void)arguments, (void)e;
    machine_reset(q->machine);
    return json_object();
}

COMMAND(powerdown)
{
    (void)arguments, (void)e;
    machine_powerdown(q->machine);
    return json_object();
}

/* clang-format off */
const QmpCommand qmp_commands[] = {
    {"qmp_capabilities", "enable:a?", capabilities},
    {"query-version", "", query_version},
    {"query-status", "", query_status},
    {"query-commands", "", query_commands},
    {"query-block", "", qmp_query_block},
    {"query-name", "", query_name},
    {"query-kvm", "", query_kvm},
    {"query-target", "", query_target},
    {"stop", "", stop},
    {"cont", "", cont},
    {"quit", "", quit},
    {"system_reset", "", reset},
    {"system_powerdown", "", powerdown},
    {"screendump", "filename:s format:s? device:s? head:i?", qmp_screendump},
    {"send-key", "keys:a hold-time:i?", qmp_send_key},
    {"input-send-event", "events:a device:s? head:i?", qmp_input_send_event},
    {"blockdev-change-medium", "device:s? id:s? filename:s format:s? read-only-mode:s? force:b?", qmp_change_medium},
    {"eject", "device:s? id:s? force:b?", qmp_eject},
    {"snapshot-save", "tag:s note:s? job-id:s? vmstate:s? devices:a?", qmp_snapshot_save},
    {"snapshot-load", "tag:s job-id:s? vmstate:s? devices:a?", qmp_snapshot_load},
    {"snapshot-delete", "tag:s job-id:s? devices:a?", qmp_snapshot_delete},
    {"query-jobs", "", qmp_query_jobs},
    {"job-dismiss", "id:s", qmp_job_dismiss},
    {"x-snapshot-query", "", qmp_snapshot_query},
    {"x-snapshot-thumbnail", "tag:s filename:s", qmp_snapshot_thumbnail},
    {"human-monitor-command", "command-line:s cpu-index:i?", qmp_human_monitor},
    {"x-query-accel", "", query_accel},
    {"x-query-input", "", query_input},
    {"x-set-accel", "accel:s", set_accel},
    {"x-step", "count:i?", step},
    {"x-query-speed", "", query_speed},
    {"x-set-speed", "speed:s", set_speed},
    {"x-screen-text", "", qmp_x_screen_text},
    {"x-wait-text", "text:s timeout:n? optional:b?", qmp_x_wait_text},
    {"x-type", "text:s delay:i?", qmp_x_type},
    {"x-paste", "text:s layout:s? delay:i?", qmp_x_paste},
    {"x-record-start", "filename:s fps:i? width:i? height:i?", qmp_x_record_start},
    {"x-record-stop", "", qmp_x_record_stop},
    {"x-query-record", "", qmp_x_query_record},
    {0},
};
/* clang-format on */
