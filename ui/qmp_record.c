/* Recording through the control socket. */
#include <string.h>

#include "ui/qmp_internal.h"

static bool number(const json_t *arguments, const char *name, unsigned least, unsigned most,
                   unsigned *to, QmpError *e)
{
    const json_t *value = json_object_get(arguments, name);
    json_int_t n = json_integer_value(value);
    if (value && (n < (json_int_t)least || n > (json_int_t)most)) {
        qmp_fail(e, "GenericError", "'%s' is %u to %u", name, least, most);
        return false;
    }
    *to = value ? (unsigned)n : 0;
    return true;
}

json_t *qmp_x_record_start(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *file = json_string_value(json_object_get(arguments, "filename"));
    RecordConfig c = {0};
    Err err = {{0}};
    if (!number(arguments, "fps", 1, RECORD_MAX_FPS, &c.fps, e) ||
        !number(arguments, "width", 16, SCREEN_MAX_WIDTH, &c.width, e) ||
        !number(arguments, "height", 16, SCREEN_MAX_HEIGHT, &c.height, e)) {
        return NULL;
    }
    if (!q->front.recorder || strlen(file) >= sizeof(c.file) || !c.width != !c.height) {
        return qmp_fail(e, "GenericError", "%s",
                        !q->front.recorder    ? "nothing can be recorded here"
                        : c.width || c.height ? "give both 'width' and 'height'"
                                              : "'filename' is too long");
    }
    memcpy(c.file, file, strlen(file) + 1);
    return recorder_start(q->front.recorder, &c, &err)
               ? json_object()
               : qmp_fail(e, "GenericError", "%s", err.text);
}

static json_t *status(Qmp *q)
{
    RecordStatus s = {0};
    if (q->front.recorder) {
        s = recorder_status(q->front.recorder);
    }
    return json_pack("{s:b, s:o, s:I, s:f}", "running", s.running, "filename", qmp_text(s.file),
                     "frames", (json_int_t)s.frames, "seconds", s.seconds);
}

json_t *qmp_x_record_stop(Qmp *q, json_t *arguments, QmpError *e)
{
    Err err = {{0}};
    (void)arguments;
    if (!q->front.recorder || !recorder_stop(q->front.recorder, &err)) {
        return qmp_fail(e, "GenericError", "%s", err.text[0] ? err.text : "no recording runs");
    }
    return status(q);
}

json_t *qmp_x_query_record(Qmp *q, json_t *arguments, QmpError *e)
{
    (void)arguments, (void)e;
    return status(q);
}
