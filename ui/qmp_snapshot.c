/* Snapshots through the control socket: snapshot-save, -load, -delete, x-snapshot-query, and the
 * monitor's savevm, loadvm, delvm, info snapshots.
 *
 * QEMU runs the first three as jobs; here they end before they are answered, and take its arguments
 * without need for them. The guest runs on meanwhile.
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

json_t *qmp_snapshot_save(Qmp *q, json_t *arguments, QmpError *e)
{
    Err err = {""};
    const char *note = json_string_value(json_object_get(arguments, "note"));
    return answer(machine_snapshot_save(q->machine, tag_of(arguments), note, &err), &err, e);
}

json_t *qmp_snapshot_load(Qmp *q, json_t *arguments, QmpError *e)
{
    Err err = {""};
    return answer(machine_snapshot_load(q->machine, tag_of(arguments), &err), &err, e);
}

json_t *qmp_snapshot_delete(Qmp *q, json_t *arguments, QmpError *e)
{
    Err err = {""};
    return answer(machine_snapshot_delete(q->machine, tag_of(arguments), &err), &err, e);
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
