/* Keys and mouse through the control socket: send-key, input-send-event, x-type.
 *
 * What takes time becomes steps with a moment each, which the socket's thread plays.
 */
#include <string.h>

#include "machine/host/host_time.h"
#include "ui/keymap.h"
#include "ui/qmp_internal.h"

enum { HOLD_MS = 100, TYPE_MS = 60, MAX_TOGETHER = 16, MAX_TYPED = 4096, MAX_MS = 10000 };
#define MS INT64_C(1000000)

static void add_step(Qmp *q, int64_t at, InputEvent event)
{
    if (q->step_at == q->step_count) {
        q->step_at = q->step_count = 0;
        q->steps_late = 0;
    }
    if (q->step_count < QMP_MAX_STEPS) {
        q->steps[q->step_count++] = (QmpStep){at, event};
    }
}

static void add_key(Qmp *q, int64_t at, uint8_t hid, bool down)
{
    add_step(q, at, (InputEvent){.kind = INPUT_KEY, .key = hid, .down = down});
}

/* When the last planned step is over, or now; in the time of the plan. */
static int64_t steps_end(const Qmp *q)
{
    int64_t now = host_time_ns();
    if (q->step_at == q->step_count) {
        return now;
    }
    now -= q->steps_late;
    int64_t last = q->steps[q->step_count - 1].at + TYPE_MS / 2 * MS;
    return last > now ? last : now;
}

static bool steps_free(const Qmp *q, unsigned wanted, QmpError *e)
{
    if (QMP_MAX_STEPS - q->step_count >= wanted) {
        return true;
    }
    qmp_fail(e, "GenericError", "too much input waits; try again when it has been played");
    return false;
}

int64_t qmp_play_steps(Qmp *q)
{
    int64_t now = host_time_ns();
    while (q->step_at < q->step_count && q->steps[q->step_at].at + q->steps_late <= now) {
        q->steps_late = now - q->steps[q->step_at].at;
        machine_input(q->machine, &q->steps[q->step_at++].event);
    }
    return q->step_at < q->step_count ? q->steps[q->step_at].at + q->steps_late : INT64_MAX;
}

bool qmp_press(Qmp *q, const uint8_t *hids, unsigned count, unsigned hold_ms)
{
    int64_t at = steps_end(q);
    if (QMP_MAX_STEPS - q->step_count < 2 * count) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        add_key(q, at, hids[i], true);
    }
    for (unsigned i = count; i-- > 0;) {
        add_key(q, at + hold_ms * MS, hids[i], false);
    }
    return true;
}

/* {"type": "qcode", "data": "ret"} or {"type": "number", "data": 28}. 0 with e set: no such key. */
static uint8_t key_value(const json_t *key, QmpError *e)
{
    const char *type = json_string_value(json_object_get(key, "type"));
    const json_t *data = json_object_get(key, "data");
    uint8_t hid = 0;
    if (type && strcmp(type, "qcode") == 0 && json_is_string(data)) {
        hid = keymap_by_name(json_string_value(data), json_string_length(data));
        if (!hid) {
            qmp_fail(e, "GenericError", "Parameter 'data' does not accept value '%.60s'",
                     json_string_value(data));
        }
    } else if (type && strcmp(type, "number") == 0 && json_is_integer(data)) {
        json_int_t code = json_integer_value(data);
        hid = code > 0 && code < 256 ? keymap_by_scan_code((unsigned)code) : 0;
        if (!hid) {
            qmp_fail(e, "GenericError", "there is no key with number %lld", (long long)code);
        }
    } else {
        qmp_fail(e, "GenericError",
                 "a key is {\"type\": \"qcode\", \"data\": NAME} or {\"type\": \"number\", "
                 "\"data\": CODE}");
    }
    return hid;
}

json_t *qmp_send_key(Qmp *q, json_t *arguments, QmpError *e)
{
    const json_t *keys = json_object_get(arguments, "keys");
    const json_t *hold = json_object_get(arguments, "hold-time");
    json_int_t hold_ms = hold ? json_integer_value(hold) : HOLD_MS;
    size_t count = json_array_size(keys);
    uint8_t hids[MAX_TOGETHER];
    if (count > MAX_TOGETHER || hold_ms < 0 || hold_ms > MAX_MS) {
        return qmp_fail(e, "GenericError", "at most %d keys, held for 0 to %d ms", MAX_TOGETHER,
                        MAX_MS);
    }
    for (size_t i = 0; i < count; i++) {
        hids[i] = key_value(json_array_get(keys, i), e);
        if (!hids[i]) {
            return NULL;
        }
    }
    if (!qmp_press(q, hids, (unsigned)count, (unsigned)hold_ms)) {
        return qmp_fail(e, "GenericError", "too much input waits");
    }
    return json_object();
}

static uint8_t button_bit(const char *name)
{
    static const struct {
        const char *name;
        uint8_t bit;
    } buttons[] = {{"left", MOUSE_LEFT},
                   {"right", MOUSE_RIGHT},
                   {"middle", MOUSE_MIDDLE},
                   {"side", MOUSE_SIDE},
                   {"extra", MOUSE_EXTRA}};
    for (unsigned i = 0; name && i < sizeof(buttons) / sizeof(buttons[0]); i++) {
        if (strcmp(buttons[i].name, name) == 0) {
            return buttons[i].bit;
        }
    }
    return 0;
}

/* Events of one input-send-event, gathered: movement in both axes is one movement. */
typedef struct Gathered {
    int dx, dy;
    bool relative, absolute;
} Gathered;

static void gather_flush(Qmp *q, Gathered *g)
{
    if (g->relative) {
        machine_input(
            q->machine,
            &(InputEvent){.kind = INPUT_MOUSE_MOVE, .dx = (int16_t)g->dx, .dy = (int16_t)g->dy});
    }
    if (g->absolute) {
        machine_input(q->machine,
                      &(InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = q->x, .y = q->y});
    }
    memset(g, 0, sizeof(*g));
}

static bool send_button(Qmp *q, const json_t *data, bool send, QmpError *e)
{
    const char *name = json_string_value(json_object_get(data, "button"));
    const json_t *down = json_object_get(data, "down");
    int wheel = name && strcmp(name, "wheel-up") == 0     ? 1
                : name && strcmp(name, "wheel-down") == 0 ? -1
                                                          : 0;
    uint8_t bit = button_bit(name);
    if ((!bit && !wheel) || !json_is_boolean(down)) {
        qmp_fail(e, "GenericError", "a btn event has a 'button' that exists, and 'down'");
        return false;
    }
    if (!send) {
        return true;
    }
    if (wheel) {
        if (json_is_true(down)) {
            machine_input(q->machine,
                          &(InputEvent){.kind = INPUT_MOUSE_MOVE, .wheel = (int16_t)wheel});
        }
        return true;
    }
    q->buttons = (uint8_t)(json_is_true(down) ? q->buttons | bit : q->buttons & ~bit);
    machine_input(q->machine, &(InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = q->buttons});
    return true;
}

static bool send_axis(Qmp *q, const json_t *data, bool relative, Gathered *g, QmpError *e)
{
    const char *axis = json_string_value(json_object_get(data, "axis"));
    const json_t *value = json_object_get(data, "value");
    json_int_t v = json_integer_value(value);
    bool x = axis && strcmp(axis, "x") == 0;
    if (!axis || (!x && strcmp(axis, "y") != 0) || !json_is_integer(value) ||
        (relative ? v < -32767 || v > 32767 : v < 0 || v > 0x7fff)) {
        qmp_fail(e, "GenericError", "an event %s has an 'axis' x or y, and a 'value' in range",
                 relative ? "rel" : "abs");
        return false;
    }
    if (relative) {
        *(x ? &g->dx : &g->dy) = (int)v;
        g->relative = true;
    } else {
        *(x ? &q->x : &q->y) = (uint16_t)(v * 65535 / 0x7fff);
        g->absolute = true;
    }
    return true;
}

/* send false: only checks, so that a bad list sends nothing. */
static bool send_one(Qmp *q, const json_t *event, bool send, Gathered *g, QmpError *e)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *data = json_object_get(event, "data");
    if (type && (strcmp(type, "rel") == 0 || strcmp(type, "abs") == 0)) {
        return send_axis(q, data, type[0] == 'r', g, e);
    }
    if (send) {
        gather_flush(q, g);
    }
    if (type && strcmp(type, "btn") == 0) {
        return send_button(q, data, send, e);
    }
    if (!type || strcmp(type, "key") != 0) {
        qmp_fail(e, "GenericError", "the 'type' of an event is key, btn, rel or abs");
        return false;
    }
    const json_t *down = json_object_get(data, "down");
    uint8_t hid = key_value(json_object_get(data, "key"), e);
    if (hid && !json_is_boolean(down)) {
        qmp_fail(e, "GenericError", "a key event has 'key' and 'down'");
        return false;
    }
    if (hid && send) {
        machine_input(q->machine,
                      &(InputEvent){.kind = INPUT_KEY, .key = hid, .down = json_is_true(down)});
    }
    return hid != 0;
}

json_t *qmp_input_send_event(Qmp *q, json_t *arguments, QmpError *e)
{
    const json_t *events = json_object_get(arguments, "events");
    for (int send = 0; send <= 1; send++) {
        Gathered gathered = {0};
        for (size_t i = 0; i < json_array_size(events); i++) {
            if (!send_one(q, json_array_get(events, i), send, &gathered, e)) {
                return NULL;
            }
        }
        if (send) {
            gather_flush(q, &gathered);
        }
    }
    return json_object();
}

json_t *qmp_x_type(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *text = json_string_value(json_object_get(arguments, "text"));
    const json_t *delay = json_object_get(arguments, "delay");
    json_int_t ms = delay ? json_integer_value(delay) : TYPE_MS;
    size_t n = strlen(text);
    if (n > MAX_TYPED || ms < 1 || ms > MAX_MS) {
        return qmp_fail(e, "GenericError", "at most %d characters, 1 to %d ms apart", MAX_TYPED,
                        MAX_MS);
    }
    if (!steps_free(q, (unsigned)(4 * n), e)) {
        return NULL;
    }
    uint8_t hid;
    bool shift;
    for (size_t i = 0; i < n; i++) {
        if (!keymap_by_char(text[i], &hid, &shift)) {
            return qmp_fail(
                e, "GenericError",
                "a US keyboard has no key for character %zu of the text; x-paste types others",
                i + 1);
        }
    }
    int64_t at = steps_end(q);
    for (size_t i = 0; i < n; i++, at += ms * MS) {
        keymap_by_char(text[i], &hid, &shift);
        if (shift) {
            add_key(q, at, KEY_HID_SHIFT, true);
        }
        add_key(q, at, hid, true);
        add_key(q, at, hid,
                false); /* at once: while the host is busy it must not begin to repeat */
        if (shift) {
            add_key(q, at, KEY_HID_SHIFT, false);
        }
    }
    q->pending = QMP_TYPING;
    return NULL;
}

json_t *qmp_x_paste(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *text = json_string_value(json_object_get(arguments, "text"));
    const char *name = json_string_value(json_object_get(arguments, "layout"));
    const json_t *delay = json_object_get(arguments, "delay");
    json_int_t ms = delay ? json_integer_value(delay) : TYPIST_MS;
    const KeyLayout *layout = name ? key_layout_find(name) : q->front.layout;
    Err err = {{0}};
    if (!layout) {
        return qmp_fail(e, "GenericError", "there is no keyboard '%.40s'; use " KEY_LAYOUT_NAMES,
                        name);
    }
    if (ms < 2 || ms > TYPIST_MAX_MS) {
        return qmp_fail(e, "GenericError", "'delay' is 2 to %d ms", TYPIST_MAX_MS);
    }
    if (!typist_type(q->typist, layout, text, (unsigned)ms, &q->lost, &err)) {
        return qmp_fail(e, "GenericError", "%s", err.text);
    }
    q->pending = QMP_PASTING;
    return NULL;
}
