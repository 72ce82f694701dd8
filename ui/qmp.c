/* The control socket's thread: clients, messages, answers and events. */
#include "ui/qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "machine/host/host_bell.h"
#include "machine/host/host_thread.h"
#include "machine/host/host_time.h"
#include "ui/qmp_internal.h"
#include "ui/version.h"

enum { TEXT_LOOK_MS = 20, UNFINISHED_MS = 300, LAST_WORDS_MS = 1000 };
#define MS INT64_C(1000000)

json_t *qmp_fail(QmpError *e, const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    e->kind = kind;
    return NULL;
}

json_t *qmp_text(const char *text)
{
    json_t *string = json_string(text);
    if (!string) { /* no UTF-8: keep what is ASCII */
        char *plain = strdup(text);
        for (char *p = plain; p && *p; p++) {
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        }
        string = json_string(plain ? plain : "");
        free(plain);
    }
    return string;
}

/* ---- what goes out ---- */

static void drop_client(Qmp *q)
{
    if (q->client >= 0) {
        close(q->client);
    }
    q->client = -1;
    q->negotiated = false;
    q->out_count = 0;
    q->pending = QMP_NOTHING;
    json_decref(q->pending_id);
    q->pending_id = NULL;
    qmp_reader_next(&q->reader);
}

static void flush_out(Qmp *q)
{
    while (q->client >= 0 && q->out_count) {
        ssize_t n = send(q->client, q->out, q->out_count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0) {
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                return;
            }
            drop_client(q);
            return;
        }
        memmove(q->out, q->out + n, q->out_count - (size_t)n);
        q->out_count -= (size_t)n;
    }
}

/* Takes over the reference. */
void qmp_send(Qmp *q, json_t *message)
{
    char *text = message ? json_dumps(message, 0) : NULL;
    json_decref(message);
    if (!text || q->client < 0) {
        free(text);
        return;
    }
    size_t n = strlen(text);
    if (q->out_count + n + 2 > q->out_room) {
        size_t room = (q->out_count + n + 2) * 2;
        char *bigger = q->out_count + n > QMP_MAX_BACKLOG ? NULL : realloc(q->out, room);
        if (!bigger) { /* it does not read what it asked for */
            free(text);
            drop_client(q);
            return;
        }
        q->out = bigger;
        q->out_room = room;
    }
    memcpy(q->out + q->out_count, text, n);
    memcpy(q->out + q->out_count + n, "\r\n", 2);
    q->out_count += n + 2;
    free(text);
    flush_out(q);
}

static json_t *error_message(const char *kind, const char *text)
{
    return json_pack("{s:{s:s, s:o}}", "error", "class", kind, "desc", qmp_text(text));
}

void qmp_answer(Qmp *q, json_t *id, json_t *result, const QmpError *e)
{
    json_t *message = result ? json_pack("{s:o}", "return", result)
                             : error_message(e->kind ? e->kind : "GenericError", e->text);
    if (message && id) {
        json_object_set(message, "id", id);
    }
    qmp_send(q, message);
}

static json_t *version(void)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", VERSION_MAJOR, "minor",
                     VERSION_MINOR, "micro", VERSION_MICRO, "package", "vitrine-" VERSION_TEXT);
}

static void greet(Qmp *q)
{
    qmp_send(q, json_pack("{s:{s:o, s:[]}}", "QMP", "version", version(), "capabilities"));
}

/* ---- events ---- */

/* Machine's thread. */
static void heard(void *self, const MachineEvent *event)
{
    Qmp *q = self;
    struct timeval now;
    if (event->kind == MACHINE_ENGINE_FAILED) {
        return; /* QMP has no such event; STOP came before */
    }
    gettimeofday(&now, NULL);
    pthread_mutex_lock(&q->lock);
    if (q->heard_count < QMP_MAX_EVENTS) {
        QmpHeard *h = &q->heard[q->heard_count++];
        h->event = *event;
        h->when_us = (int64_t)now.tv_sec * 1000000 + now.tv_usec;
        snprintf(h->device, sizeof(h->device), "%s", event->device ? event->device : "");
    }
    pthread_mutex_unlock(&q->lock);
    bell_ring(q->wake_fd);
}

static json_t *event_data(Qmp *q, const QmpHeard *h)
{
    bool guest = h->event.by_guest;
    const MachineIoError *io = &h->event.io;
    switch (h->event.kind) {
    case MACHINE_WAS_RESET:
        return json_pack("{s:b, s:s}", "guest", guest, "reason",
                         guest ? "guest-reset" : "host-qmp-system-reset");
    case MACHINE_SHUTDOWN:
        return json_pack("{s:b, s:s}", "guest", guest, "reason",
                         guest           ? "guest-shutdown"
                         : q->asked_quit ? "host-qmp-quit"
                                         : "host-signal");
    case MACHINE_TRAY_MOVED:
        return json_pack("{s:o, s:s, s:b}", "device", qmp_text(h->device), "id", "", "tray-open",
                         h->event.open);
    case MACHINE_IO_ERROR:
        return json_pack("{s:o, s:s, s:s, s:b, s:o}", "device", qmp_text(h->device), "operation",
                         io->write ? "write" : "read", "action",
                         io->action == DRIVE_ERROR_REPORT   ? "report"
                         : io->action == DRIVE_ERROR_IGNORE ? "ignore"
                                                            : "stop",
                         "nospace", io->error == ENOSPC, "reason",
                         qmp_text(io->error ? strerror(io->error) : "it cannot be read"));
    case MACHINE_ENGINE_FAILED:
    case MACHINE_STOPPED:
    case MACHINE_RESUMED:
    case MACHINE_POWERDOWN:
        break;
    }
    return NULL;
}

static void send_event(Qmp *q, const char *name, int64_t when_us, json_t *data)
{
    json_t *message =
        json_pack("{s:{s:I, s:I}, s:s}", "timestamp", "seconds", (json_int_t)(when_us / 1000000),
                  "microseconds", (json_int_t)(when_us % 1000000), "event", name);
    if (message && data) {
        json_object_set_new(message, "data", data);
    }
    qmp_send(q, message);
}

void qmp_event(Qmp *q, const char *name, json_t *data)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (q->negotiated) {
        send_event(q, name, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, data);
    } else {
        json_decref(data);
    }
}

static void tell_events(Qmp *q)
{
    static const char *const names[] = {
        [MACHINE_STOPPED] = "STOP",           [MACHINE_RESUMED] = "RESUME",
        [MACHINE_WAS_RESET] = "RESET",        [MACHINE_POWERDOWN] = "POWERDOWN",
        [MACHINE_SHUTDOWN] = "SHUTDOWN",      [MACHINE_TRAY_MOVED] = "DEVICE_TRAY_MOVED",
        [MACHINE_IO_ERROR] = "BLOCK_IO_ERROR"};
    QmpHeard *waiting = malloc(sizeof(q->heard));
    if (!waiting) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    unsigned count = q->heard_count;
    memcpy(waiting, q->heard, count * sizeof(waiting[0]));
    q->heard_count = 0;
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < count && q->negotiated; i++) {
        const QmpHeard *h = &waiting[i];
        send_event(q, names[h->event.kind], h->when_us, event_data(q, h));
    }
    free(waiting);
}

/* ---- requests ---- */

static const char *type_name(char letter)
{
    switch (letter) {
    case 's':
        return "string";
    case 'i':
        return "integer";
    case 'n':
        return "number";
    case 'b':
        return "boolean";
    default:
        return "array";
    }
}

static bool has_type(const json_t *value, char letter)
{
    switch (letter) {
    case 's':
        return json_is_string(value) &&
               strlen(json_string_value(value)) == json_string_length(value);
    case 'i':
        return json_is_integer(value);
    case 'n':
        return json_is_number(value);
    case 'b':
        return json_is_boolean(value);
    default:
        return json_is_array(value);
    }
}

/* Are the arguments those that the command names, in the right types? */
static bool check_arguments(const char *spec, json_t *arguments, QmpError *e)
{
    size_t known = 0;
    for (const char *p = spec; *p;) {
        char name[32];
        size_t n = strcspn(p, ":");
        snprintf(name, sizeof(name), "%.*s", (int)n, p);
        char letter = p[n + 1];
        bool optional = p[n + 2] == '?';
        const json_t *value = json_object_get(arguments, name);
        if (!value && !optional) {
            qmp_fail(e, "GenericError", "Parameter '%s' is missing", name);
            return false;
        }
        if (value && !has_type(value, letter)) {
            qmp_fail(e, "GenericError", "Invalid parameter type for '%s', expected: %s", name,
                     type_name(letter));
            return false;
        }
        known += value != NULL;
        p += n + 2 + optional;
        p += *p == ' ';
    }
    if (json_object_size(arguments) == known) {
        return true;
    }
    const char *key;
    json_t *value;
    json_object_foreach(arguments, key, value)
    {
        size_t n = strlen(key);
        bool found = false;
        for (const char *p = spec; !found && (p = strstr(p, key)) != NULL; p += n) {
            found = (p == spec || p[-1] == ' ') && p[n] == ':';
        }
        if (!found) {
            qmp_fail(e, "GenericError", "Parameter '%s' is unexpected", key);
            return false;
        }
    }
    return true;
}

static json_t *run_command(Qmp *q, const char *name, json_t *arguments, QmpError *e)
{
    if (!q->negotiated && strcmp(name, "qmp_capabilities") != 0) {
        return qmp_fail(e, "CommandNotFound",
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    for (const QmpCommand *c = qmp_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0) {
            return check_arguments(c->arguments, arguments, e) ? c->run(q, arguments, e) : NULL;
        }
    }
    return qmp_fail(e, "CommandNotFound", "The command %.200s has not been found", name);
}

/* The request's shape: an object with execute, arguments and id, and nothing else. */
static const char *check_request(json_t *request, QmpError *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(request, key, value)
    {
        if (strcmp(key, "execute") != 0 && strcmp(key, "arguments") != 0 &&
            strcmp(key, "id") != 0) {
            qmp_fail(e, "GenericError", "QMP input member '%.100s' is unexpected", key);
            return NULL;
        }
    }
    json_t *execute = json_object_get(request, "execute");
    json_t *arguments = json_object_get(request, "arguments");
    if (!execute) {
        qmp_fail(e, "GenericError", "QMP input lacks member 'execute'");
    } else if (!json_is_string(execute)) {
        qmp_fail(e, "GenericError", "QMP input member 'execute' must be a string");
    } else if (arguments && !json_is_object(arguments)) {
        qmp_fail(e, "GenericError", "QMP input member 'arguments' must be an object");
    } else {
        return json_string_value(execute);
    }
    return NULL;
}

/* False: it is no JSON. */
static bool take_message(Qmp *q)
{
    json_error_t error;
    QmpError e = {0};
    json_t *request = json_loadb(q->reader.text, q->reader.count, JSON_REJECT_DUPLICATES, &error);
    if (!request) {
        qmp_fail(&e, "GenericError", "JSON parse error, %s", error.text);
        qmp_answer(q, NULL, NULL, &e);
        return false;
    }
    json_t *id = json_object_get(request, "id");
    json_t *none = json_object();
    json_t *arguments = json_object_get(request, "arguments");
    const char *name = check_request(request, &e);
    json_t *result = name ? run_command(q, name, arguments ? arguments : none, &e) : NULL;
    if (!result && !e.kind) {
        q->pending_id = json_incref(id); /* the answer comes later */
    } else {
        qmp_answer(q, id, result, &e);
    }
    json_decref(none);
    json_decref(request);
    return true;
}

static void answer_broken(Qmp *q)
{
    QmpError e = {0};
    if (q->reader.count == QMP_MAX_REQUEST) {
        qmp_fail(&e, "GenericError", "JSON parse error, a message has %d bytes at most",
                 QMP_MAX_REQUEST);
    } else {
        qmp_fail(&e, "GenericError", "JSON parse error, this is no JSON object");
    }
    qmp_answer(q, NULL, NULL, &e);
    qmp_reader_next(&q->reader);
}

/* Takes what was read, up to a command whose answer is still to come. */
static void take_bytes(Qmp *q)
{
    while (q->in_at < q->in_count && !q->pending && !q->closing && q->client >= 0) {
        switch (qmp_reader_feed(&q->reader, q->in[q->in_at++])) {
        case QMP_MESSAGE: {
            bool good = take_message(q);
            qmp_reader_next(&q->reader);
            q->reader.skip = !good;
            break;
        }
        case QMP_BROKEN:
            answer_broken(q);
            break;
        case QMP_MORE:
            break;
        }
    }
    q->unfinished_at = q->reader.unfinished ? host_time_ns() : 0;
}

static void read_client(Qmp *q)
{
    ssize_t n = recv(q->client, q->in, sizeof(q->in), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        drop_client(q);
    } else if (n > 0) {
        q->in_at = 0;
        q->in_count = (size_t)n;
        take_bytes(q);
    }
}

static void take_client(Qmp *q)
{
    int fd = socket_accept(q->listen_fd);
    if (fd < 0) {
        return;
    }
    if (q->client < 0) {
        q->client = fd;
        q->in_at = q->in_count = 0;
        greet(q);
        return;
    }
    static const char busy[] = "{\"error\": {\"class\": \"GenericError\", \"desc\": "
                               "\"another client is connected; try again when it has gone\"}}\r\n";
    ssize_t n = send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
    close(fd);
}

/* ---- the thread ---- */

/* Milliseconds until something is to be done without being asked; -1: never. */
static int patience(Qmp *q, int64_t next_step)
{
    int64_t next = next_step;
    int64_t now = host_time_ns();
    if (q->pending == QMP_WAITING_TEXT && next > now + TEXT_LOOK_MS * MS) {
        next = now + TEXT_LOOK_MS * MS;
    }
    if (q->unfinished_at && next > q->unfinished_at + UNFINISHED_MS * MS) {
        next = q->unfinished_at + UNFINISHED_MS * MS;
    }
    if (next == INT64_MAX) {
        return -1;
    }
    return next <= now ? 0 : (int)((next - now + MS - 1) / MS);
}

/* What time brings: input, texts on the screen, a message that never ends. */
static int64_t serve_time(Qmp *q)
{
    int64_t next_step = qmp_play_steps(q);
    int64_t next_key = typist_play(q->typist);
    if (q->pending == QMP_PASTING && next_key == INT64_MAX) {
        q->pending = QMP_NOTHING;
        qmp_answer(q, q->pending_id, json_pack("{s:i}", "lost", (int)q->lost), NULL);
    } else if (q->pending == QMP_TYPING && next_step == INT64_MAX) {
        q->pending = QMP_NOTHING;
        qmp_answer(q, q->pending_id, json_object(), NULL);
    } else if (q->pending == QMP_WAITING_TEXT) {
        qmp_look_for_text(q);
    }
    if (!q->pending && q->pending_id) {
        json_decref(q->pending_id);
        q->pending_id = NULL;
    }
    if (q->unfinished_at && host_time_ns() >= q->unfinished_at + UNFINISHED_MS * MS) {
        q->unfinished_at = 0;
        answer_broken(q);
    }
    if (!q->pending && q->in_at < q->in_count) {
        take_bytes(q);
    }
    return next_step < next_key ? next_step : next_key;
}

static void last_words(Qmp *q)
{
    QmpError e = {0};
    tell_events(q);
    if (q->pending) {
        qmp_fail(&e, "GenericError", "the machine has shut down");
        qmp_answer(q, q->pending_id, NULL, &e);
    }
    int64_t end = host_time_ns() + LAST_WORDS_MS * MS;
    while (q->client >= 0 && q->out_count && host_time_ns() < end) {
        struct pollfd p = {.fd = q->client, .events = POLLOUT};
        poll(&p, 1, LAST_WORDS_MS / 10);
        flush_out(q);
    }
    drop_client(q);
}

static void *qmp_thread(void *self)
{
    Qmp *q = self;
    for (;;) {
        int64_t next_step = serve_time(q);
        bool reading = !q->pending && !q->closing && q->in_at == q->in_count;
        struct pollfd polls[3] = {
            {.fd = q->wake_fd, .events = POLLIN},
            {.fd = q->listen_fd, .events = POLLIN},
            {.fd = q->client,
             .events = (short)((reading ? POLLIN : 0) | (q->out_count ? POLLOUT : 0))}};
        if (poll(polls, 3, patience(q, next_step)) < 0) {
            continue;
        }
        if (polls[0].revents) {
            bell_hush(q->wake_fd);
        }
        pthread_mutex_lock(&q->lock);
        bool quit = q->quit;
        pthread_mutex_unlock(&q->lock);
        if (quit) {
            last_words(q);
            return NULL;
        }
        tell_events(q);
        qmp_jobs_look(q);
        if (q->client >= 0 && q->client == polls[2].fd) {
            if (polls[2].revents & POLLOUT) {
                flush_out(q);
            }
            if (q->client >= 0 && (polls[2].revents & POLLIN)) {
                read_client(q);
            } else if (polls[2].revents & (POLLHUP | POLLERR)) {
                drop_client(q);
            }
        }
        if (polls[1].revents) {
            take_client(q);
        }
    }
}

static void qmp_free(Qmp *q)
{
    qmp_jobs_free(q);
    if (q->listen_fd >= 0) {
        close(q->listen_fd);
        socket_remove(&q->socket);
    }
    if (q->wake_fd >= 0) {
        close(q->wake_fd);
    }
    picture_free(&q->picture);
    pthread_mutex_destroy(&q->lock);
    free(q->wanted);
    free(q->reader.text);
    free(q->steps);
    typist_free(q->typist);
    free(q->out);
    free(q);
}

static bool start(Qmp *q, Err *err)
{
    int failed = host_thread_start(&q->thread, qmp_thread, q);
    return !failed || err_set(err, "-qmp: no thread for it: %s", strerror(failed));
}

Qmp *qmp_open(Machine *m, const QmpFrontEnd *front, const char *spec, Err *err)
{
    Qmp *q = calloc(1, sizeof(*q));
    if (!q) {
        err_set(err, "out of memory");
        return NULL;
    }
    q->machine = m;
    q->front = *front;
    q->typist = typist_new(m);
    q->client = q->listen_fd = -1;
    pthread_mutex_init(&q->lock, NULL);
    q->wake_fd = bell_open();
    q->reader.text = malloc(QMP_MAX_REQUEST);
    q->steps = malloc(QMP_MAX_STEPS * sizeof(q->steps[0]));
    if (q->wake_fd < 0 || !q->reader.text || !q->steps || !q->typist) {
        err_set(err, "out of memory");
    } else if (socket_parse("qmp", spec, &q->socket, err) && !q->socket.server) {
        err_set(err, "-qmp: '%s' lacks 'server': programs connect to it; write %s,server,nowait",
                spec, spec);
    } else if (err->text[0] == '\0') {
        q->listen_fd = socket_open("qmp", &q->socket, err);
    }
    if (q->listen_fd >= 0 && q->socket.wait) {
        fprintf(stderr, "vitrine: -qmp: waiting for a connection to %s\n", spec);
        socket_wait(q->listen_fd);
    }
    if (q->listen_fd < 0 || !start(q, err)) {
        qmp_free(q);
        return NULL;
    }
    machine_listen(m, heard, q);
    return q;
}

void qmp_close(Qmp *q)
{
    if (!q) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    q->quit = true;
    pthread_mutex_unlock(&q->lock);
    bell_ring(q->wake_fd);
    pthread_join(q->thread, NULL);
    qmp_free(q);
}
