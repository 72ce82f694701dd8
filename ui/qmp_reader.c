/* Cuts the bytes of a control socket into JSON objects, and finds its feet again after rubbish.
 *
 * An object ends with its last brace, wherever lines end. Whatever is no object, or becomes no JSON
 * at the end of a line, is broken up to that line's end.
 */
#include <string.h>

#include "ui/qmp_internal.h"

void qmp_reader_next(QmpReader *r)
{
    char *text = r->text;
    memset(r, 0, sizeof(*r));
    r->text = text;
}

/* A line has ended within an object: is what stands there wrong, or just not complete? */
static QmpCut line_end(QmpReader *r)
{
    json_error_t error;
    if (r->count == 0) {
        return QMP_MORE;
    }
    json_t *value = json_loadb(r->text, r->count, 0, &error);
    if (!value && json_error_code(&error) == json_error_premature_end_of_input && !r->in_string) {
        r->unfinished = true;
        return QMP_MORE;
    }
    json_decref(value);
    return QMP_BROKEN;
}

static void follow(QmpReader *r, char c)
{
    if (r->in_string) {
        if (r->escaped) {
            r->escaped = false;
        } else if (c == '\\') {
            r->escaped = true;
        } else if (c == '"') {
            r->in_string = false;
        }
    } else if (c == '"') {
        r->in_string = true;
    } else if (c == '{' || c == '[') {
        r->depth++;
    } else if (c == '}' || c == ']') {
        r->depth--;
    }
}

QmpCut qmp_reader_feed(QmpReader *r, char c)
{
    if (r->skip) {
        r->skip = c != '\n';
        return QMP_MORE;
    }
    if (c == '\n' && (r->broken || r->depth || r->in_string)) {
        return r->broken ? QMP_BROKEN : line_end(r);
    }
    if (r->broken) {
        return QMP_MORE;
    }
    if (r->count == 0 && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
        return QMP_MORE;
    }
    r->unfinished = false;
    if ((r->count == 0 && c != '{') || r->count == QMP_MAX_REQUEST) {
        r->broken = true;
        return QMP_MORE;
    }
    r->text[r->count++] = c;
    follow(r, c);
    return r->depth == 0 ? QMP_MESSAGE : QMP_MORE;
}
