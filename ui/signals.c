/* A thread that waits for the signals that ask the program to end.
 *
 * It sleeps in sigwait: a signalfd would wake it for each signal of any thread, and an engine may
 * get thousands a second.
 */
#include "ui/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct Signals {
    pthread_t thread;
    sigset_t set;
    atomic_bool over; /* the next signal ends the thread */
    pthread_mutex_t lock;
    Machine *machine; /* under lock */
};

static void *signals_thread(void *self)
{
    Signals *s = self;
    bool asked = false;
    for (;;) {
        int number;
        if (sigwait(&s->set, &number) != 0) {
            continue;
        }
        if (atomic_load(&s->over)) {
            return NULL;
        }
        pthread_mutex_lock(&s->lock);
        Machine *m = s->machine;
        pthread_mutex_unlock(&s->lock);
        if (!m || asked) {
            signal(number, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
            raise(number);
            return NULL;
        }
        asked = true;
        machine_quit(m, 0);
    }
}

Signals *signals_new(void)
{
    Signals *s = calloc(1, sizeof(*s));
    sigset_t all, after;
    if (!s) {
        return NULL;
    }
    sigemptyset(&s->set);
    sigaddset(&s->set, SIGINT);
    sigaddset(&s->set, SIGTERM);
    sigaddset(&s->set, SIGHUP);
    pthread_mutex_init(&s->lock, NULL);
    pthread_sigmask(SIG_BLOCK, &s->set, &after);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    int failed = pthread_create(&s->thread, NULL, signals_thread, s);
    pthread_sigmask(SIG_SETMASK, &after, NULL);
    if (failed) {
        free(s);
        return NULL;
    }
    pthread_sigmask(SIG_BLOCK, &s->set, NULL);
    return s;
}

void signals_attach(Signals *s, Machine *m)
{
    if (s) {
        pthread_mutex_lock(&s->lock);
        s->machine = m;
        pthread_mutex_unlock(&s->lock);
    }
}

void signals_free(Signals *s)
{
    if (!s) {
        return;
    }
    atomic_store(&s->over, true);
    pthread_kill(s->thread, SIGHUP);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
