/* The guest's screen through the control socket: pictures and text. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "machine/host/host_time.h"
#include "ui/codepage.h"
#include "ui/qmp_internal.h"

enum { DEFAULT_WAIT_S = 10, MAX_WAIT_S = 86400 };

bool qmp_dump(Qmp *q, const char *path, const char *format, QmpError *e)
{
    Err err = {{0}};
    size_t n = strlen(path);
    bool png = format ? strcmp(format, "png") == 0 : n > 4 && strcasecmp(path + n - 4, ".png") == 0;
    if (format && !png && strcmp(format, "ppm") != 0) {
        qmp_fail(e, "GenericError", "Parameter 'format' does not accept value '%.40s'", format);
        return false;
    }
    screen_read(machine_screen(q->machine), &q->picture);
    if (q->picture.serial == 0) {
        qmp_fail(e, "GenericError", "no picture has been shown yet; try again later");
        return false;
    }
    if (!(png ? screenshot_png(&q->picture, path, &err)
              : screenshot_ppm(&q->picture, path, &err))) {
        qmp_fail(e, "GenericError", "%s", err.text);
        return false;
    }
    return true;
}

json_t *qmp_screendump(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *path = json_string_value(json_object_get(arguments, "filename"));
    const char *format = json_string_value(json_object_get(arguments, "format"));
    return qmp_dump(q, path, format, e) ? json_object() : NULL;
}

/* The text screen in UTF-8, for the caller to free; NULL while a graphics mode is on. */
static char *screen_utf8(Qmp *q)
{
    char *text = malloc(QMP_TEXT_ROOM);
    char *utf8 = malloc(QMP_TEXT_ROOM * 3 + 1);
    if (!text || !utf8 || !machine_text(q->machine, text, QMP_TEXT_ROOM)) {
        free(text);
        free(utf8);
        return NULL;
    }
    char *to = utf8;
    for (char *line = text; line;) {
        char *rest = line;
        strsep(&rest, "\n");
        codepage_utf8(line, strlen(line), to);
        to += strlen(to);
        if (rest) {
            *to++ = '\n';
            *to = '\0';
        }
        line = rest;
    }
    free(text);
    return utf8;
}

static json_t *lines_of(char *utf8)
{
    json_t *lines = json_array();
    for (char *line; (line = strsep(&utf8, "\n")) != NULL;) {
        json_array_append_new(lines, json_string(line));
    }
    size_t n = json_array_size(lines);
    if (n && json_string_length(json_array_get(lines, n - 1)) == 0) {
        json_array_remove(lines, n - 1); /* the last newline ends a line, it begins none */
    }
    return lines;
}

json_t *qmp_x_screen_text(Qmp *q, json_t *arguments, QmpError *e)
{
    (void)arguments, (void)e;
    char *utf8 = screen_utf8(q);
    if (utf8) {
        json_t *result = json_pack("{s:s, s:o}", "mode", "text", "lines", lines_of(utf8));
        free(utf8);
        return result;
    }
    screen_read(machine_screen(q->machine), &q->picture);
    return json_pack("{s:s, s:i, s:i, s:[]}", "mode", "graphics", "width", (int)q->picture.width,
                     "height", (int)q->picture.height, "lines");
}

json_t *qmp_x_wait_text(Qmp *q, json_t *arguments, QmpError *e)
{
    const json_t *timeout = json_object_get(arguments, "timeout");
    double seconds = timeout ? json_number_value(timeout) : DEFAULT_WAIT_S;
    if (!(seconds >= 0 && seconds <= MAX_WAIT_S)) {
        return qmp_fail(e, "GenericError", "'timeout' is 0 to %d seconds", MAX_WAIT_S);
    }
    free(q->wanted);
    q->wanted = strdup(json_string_value(json_object_get(arguments, "text")));
    q->optional = json_is_true(json_object_get(arguments, "optional"));
    q->deadline = host_time_ns() + (int64_t)(seconds * 1e9);
    q->pending = QMP_WAITING_TEXT;
    return NULL;
}

void qmp_look_for_text(Qmp *q)
{
    QmpError e = {0};
    char *utf8 = screen_utf8(q);
    bool found = utf8 && strstr(utf8, q->wanted);
    if (!found && host_time_ns() < q->deadline) {
        free(utf8);
        return;
    }
    q->pending = QMP_NOTHING;
    if (found || q->optional) {
        json_t *lines = utf8 ? lines_of(utf8) : json_array();
        qmp_answer(q, q->pending_id, json_pack("{s:b, s:o}", "found", found, "lines", lines), NULL);
    } else {
        qmp_fail(&e, "GenericError", "'%.200s' did not appear%s", q->wanted,
                 utf8 ? "" : "; the screen shows graphics");
        qmp_answer(q, q->pending_id, NULL, &e);
    }
    free(utf8);
}
