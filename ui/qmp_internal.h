/* Between the files of the control socket. Everything here belongs to its thread. */
#ifndef UI_QMP_INTERNAL_H
#define UI_QMP_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "machine/host/socket.h"
#include "ui/qmp.h"
#include "ui/typist.h"

enum {
    QMP_MAX_REQUEST = 1 << 20, /* bytes of one message */
    QMP_MAX_BACKLOG = 8 << 20, /* bytes that a client has not read */
    QMP_MAX_STEPS = 16384,     /* input events that wait for their time */
    QMP_MAX_EVENTS = 256,      /* machine events that wait for this thread */
    QMP_TEXT_ROOM = 32768,     /* bytes of a text screen */
    QMP_MAX_BLOCKS = 16
};

/* Cuts a stream of bytes into messages (qmp_reader.c). */
typedef struct QmpReader {
    char *text; /* QMP_MAX_REQUEST bytes */
    size_t count;
    unsigned depth;
    bool in_string, escaped;
    bool broken;     /* skips to the end of the line, which is then answered */
    bool skip;       /* skips to the end of a line that has been answered */
    bool unfinished; /* a line has ended inside of a message */
} QmpReader;

typedef enum QmpCut { QMP_MORE, QMP_MESSAGE, QMP_BROKEN } QmpCut;

/* After QMP_MESSAGE and QMP_BROKEN take text and count, then call qmp_reader_next. */
QmpCut qmp_reader_feed(QmpReader *r, char c);
void qmp_reader_next(QmpReader *r);

typedef struct QmpError {
    const char *kind; /* "GenericError" ...; NULL: none */
    char text[700];
} QmpError;

/* Returns NULL, for `return qmp_fail(...)`. */
json_t *qmp_fail(QmpError *e, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct QmpStep {
    int64_t at; /* host ns */
    InputEvent event;
} QmpStep;

/* What a job does; takes its time, on a thread of its own. note may be NULL. */
typedef bool (*QmpJobRun)(Machine *m, const char *tag, const char *note, Err *err);
typedef struct QmpJob QmpJob;

typedef enum QmpPending { QMP_NOTHING, QMP_TYPING, QMP_PASTING, QMP_WAITING_TEXT } QmpPending;

typedef struct QmpHeard {
    MachineEvent event;
    char device[32];
    int64_t when_us; /* since 1970 */
} QmpHeard;

struct Qmp {
    Machine *machine;
    QmpFrontEnd front;
    Typist *typist; /* x-paste */
    SocketSpec socket;
    pthread_t thread;
    int listen_fd, wake_fd;

    pthread_mutex_t lock; /* guards what follows up to the blank line */
    bool quit;
    QmpHeard heard[QMP_MAX_EVENTS];
    unsigned heard_count;

    int client; /* -1: none */
    bool negotiated;
    bool closing;  /* a `quit` was answered: take no more commands */
    char in[4096]; /* what was read and not yet taken */
    size_t in_at, in_count;
    QmpReader reader;
    int64_t unfinished_at; /* host ns when a message's line ended too early */
    char *out;
    size_t out_count, out_room;

    /* A command whose answer comes later. */
    QmpPending pending;
    json_t *pending_id;
    int64_t deadline;
    char *wanted; /* text to wait for, UTF-8 */
    bool optional;
    unsigned lost; /* characters of x-paste that cannot be typed */

    QmpStep *steps; /* in order of time */
    unsigned step_at, step_count;
    int64_t
        steps_late; /* ns; what is late moves all that follows: the guest's keyboard holds little */
    uint8_t buttons;
    uint16_t x, y; /* last absolute position */
    Picture picture;
    QmpJob *jobs;
    bool asked_quit, asked_powerdown; /* for the reason of events */
};

typedef struct QmpCommand {
    const char *name;
    const char
        *arguments; /* "filename:s head:i?": s string, i whole number, n number, b switch, a list */
    json_t *(*run)(Qmp *q, json_t *arguments, QmpError *e); /* NULL: failed, or pending is set */
} QmpCommand;

extern const QmpCommand qmp_commands[]; /* ends with an empty name */

void qmp_answer(Qmp *q, json_t *id, json_t *result, const QmpError *e);
void qmp_send(Qmp *q, json_t *message);
/* Tells the client now; takes data, which may be NULL. */
void qmp_event(Qmp *q, const char *name, json_t *data);
/* A JSON string of text that may not be UTF-8. */
json_t *qmp_text(const char *text);

/* qmp_input.c */
json_t *qmp_send_key(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_input_send_event(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_type(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_paste(Qmp *q, json_t *arguments, QmpError *e);
/* Presses keys together and lets them go after hold_ms. */
bool qmp_press(Qmp *q, const uint8_t *hids, unsigned count, unsigned hold_ms);
/* Sends the steps that are due. Returns when the next one is, or INT64_MAX. */
int64_t qmp_play_steps(Qmp *q);

/* qmp_screen.c */
json_t *qmp_screendump(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_screen_text(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_wait_text(Qmp *q, json_t *arguments, QmpError *e);
bool qmp_dump(Qmp *q, const char *path, const char *format, QmpError *e);
/* Looks for the wanted text. Answers when it is there or the time is over. */
void qmp_look_for_text(Qmp *q);

/* qmp_record.c */
json_t *qmp_x_record_start(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_record_stop(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_x_query_record(Qmp *q, json_t *arguments, QmpError *e);

/* qmp_block.c */
json_t *qmp_query_block(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_change_medium(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_eject(Qmp *q, json_t *arguments, QmpError *e);
bool qmp_change(Qmp *q, const char *id, const char *file, const char *format, bool read_only,
                QmpError *e);
bool qmp_eject_id(Qmp *q, const char *id, bool force, QmpError *e);

/* qmp_snapshot.c */
json_t *qmp_snapshot_save(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_snapshot_load(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_snapshot_delete(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_snapshot_thumbnail(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_snapshot_query(Qmp *q, json_t *arguments, QmpError *e);
void qmp_list_snapshots(Qmp *q, void (*line)(void *self, const char *text), void *self);

/* qmp_job.c */
/* Begins the job that arguments' job-id names, and answers. */
json_t *qmp_job(Qmp *q, const char *type, QmpJobRun run, json_t *arguments, QmpError *e);
json_t *qmp_query_jobs(Qmp *q, json_t *arguments, QmpError *e);
json_t *qmp_job_dismiss(Qmp *q, json_t *arguments, QmpError *e);
/* Says which have ended. */
void qmp_jobs_look(Qmp *q);
/* Waits for all of them. */
void qmp_jobs_free(Qmp *q);

/* qmp_hmp.c */
json_t *qmp_human_monitor(Qmp *q, json_t *arguments, QmpError *e);

/* qmp_commands.c */
void qmp_quit(Qmp *q);
const char *qmp_status(const Machine *m);

#endif
