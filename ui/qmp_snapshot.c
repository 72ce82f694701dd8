/* Snapshots through the control socket: snapshot-save, -load, -delete, x-snapshot-query, and the
 * monitor's savevm, loadvm, delvm, info snapshots.
 *
 * The first three are jobs, as in QEMU, when they are given a job-id; else they end before they are
 * answered. QEMU's other arguments are taken without need for them. The guest runs on meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ui/qmp_internal.h"

enum { MAX_LISTED = 1024 };

static const char *tag_of(const json_t *arguments)
{
    return json_string_value(json_object_get(arguments, "tag"));
}

static json_t *answer(bool done, const Err *err, QmpError *e)
{
    return done ? json_object() : qmp_fail(e, "GenericError", "%s", err->text);
}

static bool load(Machine *m, const char *tag, const char *note, Err *err)
{
    (void)note;
    return machine_snapshot_load(m, tag, err);
}

static bool delete (Machine *m, const char *tag, const char *note, Err *err)
{
    (void)note;
    return machine_snapshot_delete(m, tag, err);
}

/* With a job-id a job, as in QEMU; without, answered when it is done. */
static json_t *run(Qmp *q, const char *type, QmpJobRun what, json_t *arguments, QmpError *e)
{
    Err err = {""};
    if (json_object_get(arguments, "job-id")) {
        return qmp_job(q, type, what, arguments, e);
    }
    const char *note = json_string_value(json_object_get(arguments, "note"));
    return answer(what(q->machine, tag_of(arguments), note, &err), &err, e);
}

json_t *qmp_snapshot_save(Qmp *q, json_t *arguments, QmpError *e)
{
    return run(q, "snapshot-save", machine_snapshot_save, arguments, e);
}

json_t *qmp_snapshot_load(Qmp *q, json_t *arguments, QmpError *e)
{
    return run(q, "snapshot-load", load, arguments, e);
}

json_t *qmp_snapshot_delete(Qmp *q, json_t *arguments, QmpError *e)
{
    return run(q, "snapshot-delete", delete, arguments, e);
}

json_t *qmp_snapshot_thumbnail(Qmp *q, json_t *arguments, QmpError *e)
{
    Err err = {""};
    const char *path = json_string_value(json_object_get(arguments, "filename"));
    return answer(machine_snapshot_thumbnail(q->machine, tag_of(arguments), path, &err), &err, e);
}

json_t *qmp_snapshot_query(Qmp *q, json_t *arguments, QmpError *e)
{
    SnapshotInfo *list = calloc(MAX_LISTED, sizeof(*list));
    (void)arguments;
    if (!list) {
        return qmp_fail(e, "GenericError", "out of memory");
    }
    unsigned count = machine_snapshot_query(q->machine, list, MAX_LISTED);
    json_t *answers = json_array();
    for (unsigned i = 0; i < count; i++) {
        const SnapshotInfo *s = &list[i];
        json_array_append_new(answers,
                              json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:b}", "name",
                                        qmp_text(s->name), "id", qmp_text(s->id), "note",
                                        qmp_text(s->note), "parent", qmp_text(s->parent), "file",
                                        qmp_text(s->place), "date-sec", (json_int_t)s->time_s,
                                        "vm-clock-nsec", (json_int_t)s->guest_ns, "vm-state-size",
                                        (json_int_t)s->size, "loadable", s->machine));
    }
    free(list);
    return answers;
}

void qmp_list_snapshots(Qmp *q, void (*line)(void *self, const char *text), void *self)
{
    SnapshotInfo *list = calloc(MAX_LISTED, sizeof(*list));
    unsigned count = list ? machine_snapshot_query(q->machine, list, MAX_LISTED) : 0;
    char text[256];
    line(self, count ? "ID   TAG               VM SIZE                DATE     VM CLOCK"
                     : "There is no snapshot available.");
    for (unsigned i = 0; i < count; i++) {
        const SnapshotInfo *s = &list[i];
        char date[32] = "", size[32];
        struct tm when;
        time_t seconds = (time_t)s->time_s;
        if (localtime_r(&seconds, &when)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &when);
        }
        snprintf(size, sizeof(size), "%.3g MiB", (double)s->size / (1 << 20));
        int64_t ms = s->guest_ns / 1000000;
        snprintf(text, sizeof(text), "%-4.8s %-16.63s %9s %19s %02u:%02u:%02u.%03u",
                 s->id[0] ? s->id : "--", s->name, size, date, (unsigned)(ms / 3600000),
                 (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000));
        line(self, text);
    }
    free(list);
}
