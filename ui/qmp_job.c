/* Jobs of the control socket: snapshots that are saved, loaded or deleted while it answers other
 * commands, as QEMU's clients expect them when they give a job-id.
 *
 * Each job has a thread. It says JOB_STATUS_CHANGE on its way, and stays in query-jobs, with its
 * error if there was one, until job-dismiss.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/host_bell.h"
#include "machine/host/host_thread.h"
#include "ui/qmp_internal.h"

enum { MAX_JOBS = 16 };

struct QmpJob {
    char id[128];
    const char *type;
    QmpJobRun run;
    char *tag, *note;
    Qmp *q;
    pthread_t thread;
    bool ended; /* under q->lock */
    bool told, failed;
    Err err;
    QmpJob *next;
};

static void say(Qmp *q, const QmpJob *job, const char *status)
{
    qmp_event(q, "JOB_STATUS_CHANGE",
              json_pack("{s:o, s:s}", "id", qmp_text(job->id), "status", status));
}

static void *job_thread(void *self)
{
    QmpJob *job = self;
    Qmp *q = job->q;
    job->failed = !job->run(q->machine, job->tag, job->note, &job->err);
    pthread_mutex_lock(&q->lock);
    job->ended = true;
    pthread_mutex_unlock(&q->lock);
    bell_ring(q->wake_fd);
    return NULL;
}

static void job_free(QmpJob *job)
{
    free(job->tag);
    free(job->note);
    free(job);
}

static QmpJob *find(Qmp *q, const char *id)
{
    QmpJob *job = q->jobs;
    while (job && strcmp(job->id, id) != 0) {
        job = job->next;
    }
    return job;
}

static unsigned count(const Qmp *q)
{
    unsigned jobs = 0;
    for (const QmpJob *job = q->jobs; job; job = job->next) {
        jobs++;
    }
    return jobs;
}

static bool start(QmpJob *job)
{
    bool done = host_thread_start(&job->thread, job_thread, job) == 0;
    return done;
}

json_t *qmp_job(Qmp *q, const char *type, QmpJobRun run, json_t *arguments, QmpError *e)
{
    const char *id = json_string_value(json_object_get(arguments, "job-id"));
    const char *tag = json_string_value(json_object_get(arguments, "tag"));
    const char *note = json_string_value(json_object_get(arguments, "note"));
    if (!id[0] || strlen(id) >= sizeof(((QmpJob *)0)->id)) {
        return qmp_fail(e, "GenericError", "Invalid job ID '%.100s'", id);
    }
    if (find(q, id)) {
        return qmp_fail(e, "GenericError", "Job ID '%s' already in use", id);
    }
    if (count(q) >= MAX_JOBS) {
        return qmp_fail(e, "GenericError", "there are %d jobs; dismiss those that have ended",
                        MAX_JOBS);
    }
    QmpJob *job = calloc(1, sizeof(*job));
    if (!job) {
        return qmp_fail(e, "GenericError", "out of memory");
    }
    *job = (QmpJob){.type = type, .run = run, .q = q};
    snprintf(job->id, sizeof(job->id), "%s", id);
    job->tag = strdup(tag);
    job->note = note ? strdup(note) : NULL;
    say(q, job, "created");
    say(q, job, "running");
    if (!job->tag || (note && !job->note) || !start(job)) {
        say(q, job, "null");
        job_free(job);
        return qmp_fail(e, "GenericError", "no thread for the job");
    }
    job->next = q->jobs;
    q->jobs = job;
    return json_object();
}

void qmp_jobs_look(Qmp *q)
{
    for (QmpJob *job = q->jobs; job; job = job->next) {
        pthread_mutex_lock(&q->lock);
        bool ended = job->ended;
        pthread_mutex_unlock(&q->lock);
        if (ended && !job->told) {
            pthread_join(job->thread, NULL);
            job->told = true;
            if (job->failed) {
                say(q, job, "aborting");
            } else {
                say(q, job, "waiting");
                say(q, job, "pending");
            }
            say(q, job, "concluded");
        }
    }
}

json_t *qmp_query_jobs(Qmp *q, json_t *arguments, QmpError *e)
{
    json_t *list = json_array();
    (void)arguments, (void)e;
    for (const QmpJob *job = q->jobs; job; job = job->next) {
        json_t *entry = json_pack("{s:o, s:s, s:s, s:i, s:i}", "id", qmp_text(job->id), "type",
                                  job->type, "status", job->told ? "concluded" : "running",
                                  "current-progress", job->told ? 1 : 0, "total-progress", 1);
        if (job->told && job->failed) {
            json_object_set_new(entry, "error", qmp_text(job->err.text));
        }
        json_array_append_new(list, entry);
    }
    return list;
}

json_t *qmp_job_dismiss(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *id = json_string_value(json_object_get(arguments, "id"));
    QmpJob *job = find(q, id);
    if (!job) {
        return qmp_fail(e, "DeviceNotActive", "Job not found");
    }
    if (!job->told) {
        return qmp_fail(e, "GenericError",
                        "Job '%s' in state 'running' cannot accept command verb 'dismiss'", id);
    }
    for (QmpJob **at = &q->jobs; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            break;
        }
    }
    say(q, job, "null");
    job_free(job);
    return json_object();
}

void qmp_jobs_free(Qmp *q)
{
    while (q->jobs) {
        QmpJob *job = q->jobs;
        q->jobs = job->next;
        if (!job->told) {
            pthread_join(job->thread, NULL);
        }
        job_free(job);
    }
}
