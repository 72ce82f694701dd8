/* Text as keystrokes: layout, Shift and AltGr, dead keys, Alt and number, and the pace.
 *
 * Every step waits for its own time after the one before, so that a host that was busy does not
 * send many at once, which the guest's keyboard would drop. Nothing is typed into a paused machine.
 */
#include "ui/typist.h"

#include <stdlib.h>
#include <string.h>

#include "machine/host/host_time.h"
#include "ui/codepage.h"
#include "ui/keymap.h"

enum {
    KEY_ALTGR = 0xe6,
    KEY_SPACE = 0x2c,
    KEY_KEYPAD_1 = 0x59,
    KEY_KEYPAD_0 = 0x62,
    LED_CAPS = 4,
    MAX_STEPS_EACH = 12,
    PAUSED_MS = 100
};
#define MS INT64_C(1000000)

typedef struct TypistStep {
    uint16_t wait_ms; /* after the step before */
    uint8_t key;
    bool down;
} TypistStep;

struct Typist {
    Machine *machine;
    TypistStep *steps;
    size_t at, count, room;
    int64_t due; /* host ns of steps[at] */
    bool held[256];
};

Typist *typist_new(Machine *m)
{
    Typist *t = calloc(1, sizeof(*t));
    if (t) {
        t->machine = m;
    }
    return t;
}

void typist_free(Typist *t)
{
    if (t) {
        free(t->steps);
        free(t);
    }
}

static void add(Typist *t, unsigned wait_ms, uint8_t key, bool down)
{
    t->steps[t->count++] = (TypistStep){(uint16_t)wait_ms, key, down};
}

/* A key with its modifiers. It is let go at once: while the host is busy it must not begin to
 * repeat. */
static void add_stroke(Typist *t, const KeyStroke *s, unsigned ms)
{
    unsigned wait = ms;
    if (s->altgr) {
        add(t, wait, KEY_ALTGR, true);
        wait = 0;
    }
    if (s->shift) {
        add(t, wait, KEY_HID_SHIFT, true);
        wait = 0;
    }
    add(t, wait, s->hid, true);
    add(t, 0, s->hid, false);
    if (s->shift) {
        add(t, 0, KEY_HID_SHIFT, false);
    }
    if (s->altgr) {
        add(t, 0, KEY_ALTGR, false);
    }
    if (s->dead) {
        add(t, ms, KEY_SPACE, true);
        add(t, 0, KEY_SPACE, false);
    }
}

/* Alt, and the number on the keypad. */
static void add_number(Typist *t, unsigned number, unsigned ms)
{
    add(t, ms, KEY_HID_ALT, true);
    for (unsigned unit = number >= 100 ? 100 : number >= 10 ? 10 : 1; unit; unit /= 10) {
        unsigned digit = number / unit % 10;
        uint8_t key = digit ? (uint8_t)(KEY_KEYPAD_1 + digit - 1) : KEY_KEYPAD_0;
        add(t, ms, key, true);
        add(t, 0, key, false);
    }
    add(t, ms, KEY_HID_ALT, false);
}

static bool is_letter(uint32_t point)
{
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z');
}

static bool make_room(Typist *t, size_t characters, Err *err)
{
    if (t->at == t->count) {
        t->at = t->count = 0;
    }
    size_t wanted = t->count + characters * MAX_STEPS_EACH;
    if (wanted > (size_t)TYPIST_MAX_TEXT * MAX_STEPS_EACH) {
        return err_set(err, "the text is too long to be typed: at most %d bytes", TYPIST_MAX_TEXT);
    }
    if (wanted > t->room) {
        TypistStep *more = realloc(t->steps, wanted * sizeof(*more));
        if (!more) {
            return err_set(err, "out of memory");
        }
        t->steps = more;
        t->room = wanted;
    }
    return true;
}

bool typist_type(Typist *t, const KeyLayout *layout, const char *utf8, unsigned ms, unsigned *lost,
                 Err *err)
{
    bool caps = machine_keyboard_leds(t->machine) & LED_CAPS;
    bool idle = t->at == t->count;
    *lost = 0;
    if (!make_room(t, strlen(utf8), err)) {
        return false;
    }
    ms = ms < 2 ? 2 : ms > TYPIST_MAX_MS ? TYPIST_MAX_MS : ms;
    while (*utf8) {
        KeyStroke stroke;
        uint32_t point = codepage_next(&utf8);
        if (point == '\r') {
            utf8 += *utf8 == '\n';
            point = '\n';
        }
        int byte = codepage_byte(point);
        if (key_layout_stroke(layout, point, &stroke)) {
            stroke.shift ^= caps && is_letter(point);
            add_stroke(t, &stroke, ms);
        } else if (byte > 0) {
            add_number(t, (unsigned)byte, ms);
        } else {
            ++*lost;
        }
    }
    if (idle) {
        t->due = host_time_ns();
    }
    return true;
}

static void press(Typist *t, uint8_t key, bool down)
{
    t->held[key] = down;
    machine_input(t->machine, &(InputEvent){.kind = INPUT_KEY, .key = key, .down = down});
}

int64_t typist_play(Typist *t)
{
    int64_t now = host_time_ns();
    if (t->at < t->count && machine_state(t->machine) != RUN_STATE_RUNNING) {
        return now + PAUSED_MS * MS;
    }
    while (t->at < t->count && t->due <= now) {
        press(t, t->steps[t->at].key, t->steps[t->at].down);
        t->at++;
        t->due = t->at < t->count ? now + t->steps[t->at].wait_ms * MS : INT64_MAX;
    }
    return t->at < t->count ? t->due : INT64_MAX;
}

void typist_stop(Typist *t)
{
    t->at = t->count = 0;
    for (unsigned key = 0; key < 256; key++) {
        if (t->held[key]) {
            press(t, (uint8_t)key, false);
        }
    }
}
