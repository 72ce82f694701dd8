/* The control socket against a fake machine: protocol, commands, events, and bad clients. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/ui/fake_machine.h"
#include "ui/qmp.h"

enum { PATIENCE_MS = 10000 };

typedef struct Fixture {
    Machine *machine;
    Qmp *qmp;
    Recorder *recorder;
    char path[64];
    int fd;
    char buffer[1 << 20];
    size_t count;
} Fixture;

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void put(Fixture *f, const char *text)
{
    size_t n = strlen(text);
    while (n) {
        ssize_t sent = send(f->fd, text, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        text += sent;
        n -= (size_t)sent;
    }
}

/* The next message; NULL when the other side closes. */
static json_t *next(Fixture *f)
{
    char *end;
    while (!(end = memchr(f->buffer, '\n', f->count))) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(f->fd, f->buffer + f->count, sizeof(f->buffer) - f->count, 0);
        if (n <= 0) {
            return NULL;
        }
        f->count += (size_t)n;
    }
    json_t *message = json_loadb(f->buffer, (size_t)(end - f->buffer), 0, NULL);
    assert_non_null(message);
    size_t used = (size_t)(end + 1 - f->buffer);
    memmove(f->buffer, end + 1, f->count - used);
    f->count -= used;
    return message;
}

/* The next message that is an event of this name; answers before it are dropped. */
static json_t *next_event(Fixture *f, const char *name)
{
    for (;;) {
        json_t *message = next(f);
        assert_non_null(message);
        json_t *event = json_object_get(message, "event");
        if (event && strcmp(json_string_value(event), name) == 0) {
            json_t *when = json_object_get(message, "timestamp");
            assert_true(json_integer_value(json_object_get(when, "seconds")) > 1000000000);
            assert_true(json_is_integer(json_object_get(when, "microseconds")));
            return message;
        }
        json_decref(message);
    }
}

static json_t *next_answer(Fixture *f)
{
    for (;;) {
        json_t *message = next(f);
        assert_non_null(message);
        if (!json_object_get(message, "event")) {
            return message;
        }
        json_decref(message);
    }
}

/* Sends, and returns what "return" held. */
static json_t *ask(Fixture *f, const char *request)
{
    put(f, request);
    put(f, "\n");
    json_t *message = next_answer(f);
    json_t *result = json_object_get(message, "return");
    if (!result) {
        fail_msg("%s: %s", request, json_dumps(message, 0));
    }
    json_incref(result);
    json_decref(message);
    return result;
}

static void expect_error(Fixture *f, const char *request, const char *kind, const char *part)
{
    put(f, request);
    put(f, "\n");
    json_t *message = next_answer(f);
    json_t *error = json_object_get(message, "error");
    if (!error) {
        fail_msg("%s was taken", request);
    }
    assert_string_equal(json_string_value(json_object_get(error, "class")), kind);
    const char *text = json_string_value(json_object_get(error, "desc"));
    if (!strstr(text, part)) {
        fail_msg("%.100s: '%s' lacks '%s'", request, text, part);
    }
    json_decref(message);
}

static void ask_ok(Fixture *f, const char *request)
{
    json_decref(ask(f, request));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(none)";
}

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof(*f));
    MachineConfig config;
    Err err = {{0}};
    char spec[128];
    machine_config_init(&config);
    config.name = strdup("fake");
    config.drive[0] = (DriveConfig){.present = true, .file = strdup("a.img")};
    config.drive[1] = (DriveConfig){
        .present = true, .bus = DRIVE_IDE, .index = 2, .media = MEDIA_CDROM, .id = strdup("cd")};
    config.drive[2] = (DriveConfig){.present = true, .bus = DRIVE_IDE, .file = strdup("c.img")};
    f->machine = machine_new(&config, &err);
    machine_config_free(&config);
    snprintf(f->path, sizeof(f->path), "/tmp/vitrine-qmp-%ld", (long)getpid());
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", f->path);
    f->recorder = recorder_new(f->machine);
    QmpFrontEnd front = {f->recorder, key_layout_find(NULL)};
    f->qmp = qmp_open(f->machine, &front, spec, &err);
    if (!f->qmp) {
        fail_msg("%s", err.text);
    }
    machine_start(f->machine, &err);
    f->fd = dial(f->path);
    json_t *greeting = next(f);
    assert_non_null(json_object_get(json_object_get(greeting, "QMP"), "version"));
    assert_true(json_is_array(json_object_get(json_object_get(greeting, "QMP"), "capabilities")));
    json_decref(greeting);
    *state = f;
    return 0;
}

static int set_up_ready(void **state)
{
    set_up(state);
    ask_ok(*state, "{\"execute\": \"qmp_capabilities\"}");
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    close(f->fd);
    qmp_close(f->qmp);
    recorder_free(f->recorder);
    machine_free(f->machine);
    free(f);
    return 0;
}

static void capabilities_come_first(void **state)
{
    Fixture *f = *state;
    expect_error(f, "{\"execute\": \"query-status\"}", "CommandNotFound", "qmp_capabilities");
    ask_ok(f, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}}");
    expect_error(f, "{\"execute\": \"qmp_capabilities\"}", "CommandNotFound", "already complete");
    ask_ok(f, "{\"execute\": \"query-status\"}");
}

static void ids_come_back(void **state)
{
    Fixture *f = *state;
    static const char *const ids[] = {"7", "\"x\"", "{\"a\": [1, 2]}", "null"};
    for (unsigned i = 0; i < 4; i++) {
        char request[128];
        snprintf(request, sizeof(request), "{\"execute\": \"%s\", \"id\": %s}\n",
                 i == 1 ? "nonsense" : "query-name", ids[i]);
        put(f, request);
        json_t *message = next_answer(f);
        json_t *wanted = json_loads(ids[i], JSON_DECODE_ANY, NULL);
        assert_true(json_equal(json_object_get(message, "id"), wanted));
        json_decref(wanted);
        json_decref(message);
    }
}

static void queries(void **state)
{
    Fixture *f = *state;
    json_t *r = ask(f, "{\"execute\": \"query-status\"}");
    assert_string_equal(text_of(r, "status"), "running");
    assert_true(json_is_true(json_object_get(r, "running")));
    json_decref(r);
    r = ask(f, "{\"execute\": \"query-name\"}");
    assert_string_equal(text_of(r, "name"), "fake");
    json_decref(r);
    r = ask(f, "{\"execute\": \"query-commands\"}");
    assert_true(json_array_size(r) > 15);
    json_decref(r);
    r = ask(f, "{\"execute\": \"query-version\"}");
    assert_true(json_is_integer(json_object_get(json_object_get(r, "qemu"), "major")));
    json_decref(r);
    r = ask(f, "{\"execute\": \"query-kvm\"}");
    assert_true(json_is_false(json_object_get(r, "enabled")));
    json_decref(r);
}

static void pause_and_events(void **state)
{
    Fixture *f = *state;
    ask_ok(f, "{\"execute\": \"stop\"}");
    put(f, "{\"execute\": \"cont\"}{\"execute\": \"stop\"}"); /* no line ends needed */
    json_decref(next_event(f, "RESUME"));
    json_decref(next_event(f, "STOP"));
    json_t *r = ask(f, "{\"execute\": \"query-status\"}");
    assert_string_equal(text_of(r, "status"), "paused");
    json_decref(r);
    put(f, "{\"execute\": \"system_reset\"}");
    json_t *event = next_event(f, "RESET");
    assert_true(json_is_false(json_object_get(json_object_get(event, "data"), "guest")));
    json_decref(event);
    put(f, "{\"execute\": \"system_powerdown\"}");
    json_decref(next_event(f, "POWERDOWN"));
    fake_guest_event(f->machine, &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = "ide0-hd0"});
    event = next_event(f, "BLOCK_IO_ERROR");
    assert_string_equal(text_of(json_object_get(event, "data"), "device"), "ide0-hd0");
    assert_string_equal(text_of(json_object_get(event, "data"), "action"), "stop");
    json_decref(event);
    MachineIoError full = {DRIVE_ERROR_IGNORE, true, ENOSPC};
    fake_guest_event(f->machine,
                     &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = "ide0-hd0", .io = full});
    event = next_event(f, "BLOCK_IO_ERROR");
    assert_string_equal(text_of(json_object_get(event, "data"), "action"), "ignore");
    assert_string_equal(text_of(json_object_get(event, "data"), "operation"), "write");
    assert_true(json_is_true(json_object_get(json_object_get(event, "data"), "nospace")));
    json_decref(event);
    fake_guest_event(f->machine, &(MachineEvent){.kind = MACHINE_SHUTDOWN, .by_guest = true});
    event = next_event(f, "SHUTDOWN");
    assert_string_equal(text_of(json_object_get(event, "data"), "reason"), "guest-shutdown");
    json_decref(event);
}

static void quit_answers_then_ends(void **state)
{
    Fixture *f = *state;
    ask_ok(f, "{\"execute\": \"quit\"}");
    assert_int_equal(machine_wait(f->machine), 0);
    json_t *event = next_event(f, "SHUTDOWN");
    assert_string_equal(text_of(json_object_get(event, "data"), "reason"), "host-qmp-quit");
    json_decref(event);
}

static void bad_requests(void **state)
{
    Fixture *f = *state;
    static const char *const cases[][3] = {
        {"{\"execute\": \"make-tea\"}", "CommandNotFound", "make-tea"},
        {"{\"execute\": 5}", "GenericError", "must be a string"},
        {"{\"run\": \"stop\"}", "GenericError", "'run' is unexpected"},
        {"{}", "GenericError", "lacks member 'execute'"},
        {"{\"execute\": \"stop\", \"arguments\": []}", "GenericError", "must be an object"},
        {"{\"execute\": \"stop\", \"arguments\": {\"now\": true}}", "GenericError",
         "'now' is unexpected"},
        {"{\"execute\": \"screendump\"}", "GenericError", "'filename' is missing"},
        {"{\"execute\": \"screendump\", \"arguments\": {\"filename\": 1}}", "GenericError",
         "expected: string"},
        {"{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"/x\\u0000y\"}}",
         "GenericError", ""},
        {"{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"/nonexistent/a.png\"}}",
         "GenericError", "/nonexistent/a.png"},
        {"{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"/x\", \"format\": "
         "\"gif\"}}",
         "GenericError", "'gif'"},
        {"{\"execute\": \"send-key\", \"arguments\": {\"keys\": [5]}}", "GenericError", "qcode"},
        {"{\"execute\": \"send-key\", \"arguments\": {\"keys\": "
         "[{\"type\": \"qcode\", \"data\": \"anykey\"}]}}",
         "GenericError", "'anykey'"},
        {"{\"execute\": \"send-key\", \"arguments\": {\"keys\": "
         "[{\"type\": \"number\", \"data\": -4}]}}",
         "GenericError", "-4"},
        {"{\"execute\": \"input-send-event\", \"arguments\": {\"events\": "
         "[{\"type\": \"rel\", \"data\": {\"axis\": \"z\", \"value\": 1}}]}}",
         "GenericError", "axis"},
        {"{\"execute\": \"eject\", \"arguments\": {\"device\": \"floppy7\"}}", "DeviceNotFound",
         "floppy7"},
        {"{\"execute\": \"eject\", \"arguments\": {}}", "GenericError", "exactly one"},
        {"{\"execute\": \"eject\", \"arguments\": {\"device\": \"ide0-hd0\"}}", "GenericError",
         "not removable"},
        {"{\"execute\": \"blockdev-change-medium\", \"arguments\": "
         "{\"id\": \"cd\", \"filename\": \"missing.iso\"}}",
         "GenericError", "missing.iso"},
        {"{\"execute\": \"x-type\", \"arguments\": {\"text\": \"\\u00e9\"}}", "GenericError",
         "no key"},
        {"{\"execute\": \"x-wait-text\", \"arguments\": {\"text\": \"a\", \"timeout\": -1}}",
         "GenericError", "timeout"},
        {"[1, 2]", "GenericError", "JSON"},
        {"hello", "GenericError", "JSON"},
        {"{\"execute\": \"stop\"", "GenericError", "JSON"},
        {"{\"execute\": \"sto", "GenericError", "JSON"},
        {"{]}", "GenericError", "JSON"},
        {"{\"execute\": \"\xff\xfe\"}", "GenericError", "JSON"},
        {"{\"id\": 1, \"id\": 2, \"execute\": \"stop\"}", "GenericError", "JSON"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_error(f, cases[i][0], cases[i][1], cases[i][2]);
        ask_ok(f, "{\"execute\": \"query-status\"}"); /* nothing is out of step */
    }
}

static void huge_input_is_bounded(void **state)
{
    Fixture *f = *state;
    enum { SIZE = 3 << 20 };
    char *huge = malloc(SIZE + 1);
    memset(huge, 'x', SIZE);
    huge[SIZE] = '\0';
    memcpy(huge, "{\"execute\": \"", 13);
    expect_error(f, huge, "GenericError", "JSON");
    memset(huge, '[', SIZE);
    expect_error(f, huge, "GenericError", "JSON");
    memcpy(huge, "{\"a\":", 5);
    huge[100000] = '\0'; /* too deep for any good purpose */
    expect_error(f, huge, "GenericError", "JSON");
    ask_ok(f, "{\"execute\": \"query-status\"}");
    free(huge);
}

static void message_over_many_lines(void **state)
{
    Fixture *f = *state;
    ask_ok(f, "{\n  \"execute\":\n \"query-status\",\r\n \"arguments\": {\n}\n}");
}

static void second_client_is_refused(void **state)
{
    Fixture *f = *state;
    Fixture *second = calloc(1, sizeof(*second));
    second->fd = dial(f->path);
    json_t *message = next(second);
    assert_non_null(json_object_get(message, "error"));
    json_decref(message);
    assert_null(next(second));
    close(second->fd);
    free(second);
    ask_ok(f, "{\"execute\": \"query-status\"}");

    close(f->fd); /* when the first has gone the next is welcome, and begins anew */
    for (int i = 0; i < 100; i++) {
        f->fd = dial(f->path);
        f->count = 0;
        message = next(f);
        bool welcome = message && json_object_get(message, "QMP");
        json_decref(message);
        if (welcome) {
            expect_error(f, "{\"execute\": \"stop\"}", "CommandNotFound", "qmp_capabilities");
            return;
        }
        close(f->fd);
        usleep(10000);
    }
    fail_msg("no second client was ever taken");
}

static void wait_inputs(Fixture *f, InputEvent *events, unsigned count)
{
    for (int i = 0; i < 1000 && fake_input(f->machine, events, FAKE_MAX_INPUT) < count; i++) {
        usleep(5000);
    }
    assert_int_equal(fake_input(f->machine, events, FAKE_MAX_INPUT), count);
}

static void keys_in_order(void **state)
{
    Fixture *f = *state;
    static InputEvent got[FAKE_MAX_INPUT];
    ask_ok(f, "{\"execute\": \"send-key\", \"arguments\": {\"hold-time\": 5, \"keys\": ["
              "{\"type\": \"qcode\", \"data\": \"ctrl\"}, {\"type\": \"qcode\", \"data\": \"alt\"},"
              "{\"type\": \"number\", \"data\": 211}]}}");
    wait_inputs(f, got, 6);
    static const uint8_t order[] = {0xe0, 0xe2, 0x4c, 0x4c, 0xe2, 0xe0};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(got[i].kind, INPUT_KEY);
        assert_int_equal(got[i].key, order[i]);
        assert_int_equal(got[i].down, i < 3);
    }
}

static void typing_waits_until_typed(void **state)
{
    Fixture *f = *state;
    static InputEvent got[FAKE_MAX_INPUT];
    ask_ok(f, "{\"execute\": \"x-type\", \"arguments\": {\"text\": \"aB\\n\", \"delay\": 2}}");
    static const struct {
        uint8_t key;
        bool down;
    } wanted[] = {{4, true},  {4, false},    {0xe1, true}, {5, true},
                  {5, false}, {0xe1, false}, {0x28, true}, {0x28, false}};
    assert_int_equal(fake_input(f->machine, got, FAKE_MAX_INPUT), 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(got[i].key, wanted[i].key);
        assert_int_equal(got[i].down, wanted[i].down);
    }
}

static void mouse_events(void **state)
{
    Fixture *f = *state;
    static InputEvent got[FAKE_MAX_INPUT];
    ask_ok(f, "{\"execute\": \"input-send-event\", \"arguments\": {\"events\": ["
              "{\"type\": \"rel\", \"data\": {\"axis\": \"x\", \"value\": 3}},"
              "{\"type\": \"rel\", \"data\": {\"axis\": \"y\", \"value\": -4}},"
              "{\"type\": \"btn\", \"data\": {\"button\": \"left\", \"down\": true}},"
              "{\"type\": \"btn\", \"data\": {\"button\": \"wheel-up\", \"down\": true}},"
              "{\"type\": \"abs\", \"data\": {\"axis\": \"x\", \"value\": 32767}},"
              "{\"type\": \"key\", \"data\": {\"down\": true, \"key\": "
              "{\"type\": \"qcode\", \"data\": \"a\"}}}]}}");
    wait_inputs(f, got, 5);
    assert_int_equal(got[0].dx, 3);
    assert_int_equal(got[0].dy, -4);
    assert_int_equal(got[1].buttons, MOUSE_LEFT);
    assert_int_equal(got[2].wheel, 1);
    assert_int_equal(got[3].kind, INPUT_MOUSE_ABSOLUTE);
    assert_int_equal(got[3].x, 65535);
    assert_int_equal(got[4].key, 4);
}

static void drives(void **state)
{
    Fixture *f = *state;
    json_t *list = ask(f, "{\"execute\": \"query-block\"}");
    assert_int_equal(json_array_size(list), 3);
    json_t *floppy = json_array_get(list, 0);
    assert_string_equal(text_of(floppy, "device"), "floppy0");
    assert_string_equal(text_of(json_object_get(floppy, "inserted"), "file"), "a.img");
    assert_null(json_object_get(json_array_get(list, 1), "inserted"));
    json_decref(list);
    put(f, "{\"execute\": \"blockdev-change-medium\", \"arguments\": {\"id\": \"cd\", "
           "\"filename\": \"new.iso\", \"read-only-mode\": \"read-only\"}}");
    json_t *event = next_event(f, "DEVICE_TRAY_MOVED");
    assert_string_equal(text_of(json_object_get(event, "data"), "device"), "cd");
    json_decref(event);
    list = ask(f, "{\"execute\": \"query-block\"}");
    assert_string_equal(text_of(json_object_get(json_array_get(list, 1), "inserted"), "file"),
                        "new.iso");
    json_decref(list);
    ask_ok(f,
           "{\"execute\": \"eject\", \"arguments\": {\"device\": \"floppy0\", \"force\": true}}");
    list = ask(f, "{\"execute\": \"query-block\"}");
    assert_null(json_object_get(json_array_get(list, 0), "inserted"));
    json_decref(list);
}

static void pictures(void **state)
{
    Fixture *f = *state;
    static const struct {
        const char *name, *format, *begins;
    } cases[] = {{"a.ppm", NULL, "P6"}, {"a.png", NULL, "\x89PNG"}, {"b", "png", "\x89PNG"}};
    for (unsigned i = 0; i < 3; i++) {
        char request[256], path[96], head[4];
        snprintf(path, sizeof(path), "%s-%s", f->path, cases[i].name);
        snprintf(request, sizeof(request),
                 "{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"%s\"%s%s%s}}", path,
                 cases[i].format ? ", \"format\": \"" : "", cases[i].format ? cases[i].format : "",
                 cases[i].format ? "\"" : "");
        ask_ok(f, request);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        assert_int_equal(fread(head, 1, 4, file), 4);
        assert_memory_equal(head, cases[i].begins, strlen(cases[i].begins));
        fclose(file);
        unlink(path);
    }
}

static void *show_later(void *self)
{
    usleep(100000);
    fake_show(self, "C:\\>\nA \xda\xc4 B\n\nend");
    return NULL;
}

static void screen_text(void **state)
{
    Fixture *f = *state;
    pthread_t thread;
    fake_show(f->machine, "nothing yet");
    pthread_create(&thread, NULL, show_later, f->machine);
    json_t *r = ask(f, "{\"execute\": \"x-wait-text\", \"arguments\": {\"text\": \"C:\\\\>\"}}");
    assert_true(json_is_true(json_object_get(r, "found")));
    json_decref(r);
    pthread_join(thread, NULL);
    r = ask(f, "{\"execute\": \"x-screen-text\"}");
    assert_string_equal(text_of(r, "mode"), "text");
    json_t *lines = json_object_get(r, "lines");
    assert_int_equal(json_array_size(lines), 4);
    assert_string_equal(json_string_value(json_array_get(lines, 1)), "A \u250c\u2500 B");
    assert_string_equal(json_string_value(json_array_get(lines, 2)), "");
    json_decref(r);
    expect_error(f,
                 "{\"execute\": \"x-wait-text\", \"arguments\": {\"text\": \"D:\", \"timeout\": "
                 "0.05}}",
                 "GenericError", "'D:' did not appear");
    r = ask(f, "{\"execute\": \"x-wait-text\", \"arguments\": {\"text\": \"D:\", \"timeout\": 0, "
               "\"optional\": true}}");
    assert_true(json_is_false(json_object_get(r, "found")));
    json_decref(r);
    fake_show(f->machine, NULL);
    r = ask(f, "{\"execute\": \"x-screen-text\"}");
    assert_string_equal(text_of(r, "mode"), "graphics");
    assert_int_equal(json_integer_value(json_object_get(r, "width")), 640);
    json_decref(r);
}

static void expect_hmp(Fixture *f, const char *line, const char *part)
{
    char request[256];
    snprintf(request, sizeof(request),
             "{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"%s\"}}",
             line);
    json_t *r = ask(f, request);
    if (!strstr(json_string_value(r), part)) {
        fail_msg("%s: '%s' lacks '%s'", line, json_string_value(r), part);
    }
    json_decref(r);
}

static void monitor_lines(void **state)
{
    Fixture *f = *state;
    static InputEvent got[FAKE_MAX_INPUT];
    expect_hmp(f, "info registers", "EIP=0000fff0\r\n");
    expect_hmp(f, "info status", "VM status: running\r\n");
    expect_hmp(f, "info block", "floppy0: a.img (raw), removable");
    expect_hmp(f, "info weather", "there is no 'weather'");
    expect_hmp(f, "frob", "unknown command: 'frob'");
    expect_hmp(f, "", "unknown command");
    expect_hmp(f, "speed", "max\r\n");
    expect_hmp(f, "speed 486-33", "486-33\r\n");
    expect_hmp(f, "speed warp", "speed 'warp': say max");
    ask_ok(f, "{\"execute\": \"x-set-speed\", \"arguments\": {\"speed\": \"7\"}}");
    json_t *speed = ask(f, "{\"execute\": \"x-query-speed\"}");
    assert_string_equal(text_of(speed, "speed"), "7");
    json_decref(speed);
    expect_error(f, "{\"execute\": \"x-set-speed\", \"arguments\": {\"speed\": \"0\"}}",
                 "GenericError", "say max");
    expect_hmp(f, "stop", "");
    expect_hmp(f, "info status", "VM status: paused (paused)");
    expect_hmp(f, "eject floppy9", "'floppy9' not found");
    expect_hmp(f, "sendkey ctrl-nokey", "invalid parameter: nokey");
    expect_hmp(f, "help", "sendkey");
    expect_hmp(f, "sendkey ctrl-c 1", "");
    wait_inputs(f, got, 4);
    assert_int_equal(got[1].key, 6);
}

static void single_steps(void **state)
{
    Fixture *f = *state;
    expect_error(f, "{\"execute\": \"x-step\"}", "GenericError", "stop it first");
    ask_ok(f, "{\"execute\": \"stop\"}");
    static const struct {
        const char *arguments;
        int executed;
    } cases[] = {{"{}", 1}, {"{\"count\": 7}", 7}, {"{\"count\": 1000000}", 10}};
    for (unsigned i = 0; i < 3; i++) {
        char line[100];
        snprintf(line, sizeof(line), "{\"execute\": \"x-step\", \"arguments\": %s}",
                 cases[i].arguments);
        json_t *answer = ask(f, line);
        assert_int_equal(json_integer_value(json_object_get(answer, "executed")),
                         cases[i].executed);
        json_decref(answer);
    }
    expect_error(f, "{\"execute\": \"x-step\", \"arguments\": {\"count\": 0}}", "GenericError",
                 "1 to 1000000");
    expect_error(f, "{\"execute\": \"x-step\", \"arguments\": {\"count\": 1000001}}",
                 "GenericError", "1 to 1000000");
}

#define READY(test) cmocka_unit_test_setup_teardown(test, set_up_ready, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(capabilities_come_first, set_up, tear_down),
        READY(ids_come_back),
        READY(queries),
        READY(pause_and_events),
        READY(single_steps),
        READY(quit_answers_then_ends),
        READY(bad_requests),
        READY(huge_input_is_bounded),
        READY(message_over_many_lines),
        READY(second_client_is_refused),
        READY(keys_in_order),
        READY(typing_waits_until_typed),
        READY(mouse_events),
        READY(drives),
        READY(pictures),
        READY(screen_text),
        READY(monitor_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
