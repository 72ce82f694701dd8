/* A thread that waits for the signals that ask the program to end. */
#include "ui/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct Signals {
    pthread_t thread;
    int signal_fd, end_fd;
    sigset_t set;
    pthread_mutex_t lock;
    Machine *machine; /* under lock */
};

static void *signals_thread(void *self)
{
    Signals *s = self;
    bool asked = false;
    for (;;) {
        struct pollfd polls[2] = {{.fd = s->signal_fd, .events = POLLIN},
                                  {.fd = s->end_fd, .events = POLLIN}};
        if (poll(polls, 2, -1) < 0) {
            continue;
        }
        if (polls[1].revents) {
            return NULL;
        }
        struct signalfd_siginfo info;
        if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info)) {
            continue;
        }
        pthread_mutex_lock(&s->lock);
        Machine *m = s->machine;
        pthread_mutex_unlock(&s->lock);
        if (!m || asked) {
            signal((int)info.ssi_signo, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
            raise((int)info.ssi_signo);
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
    s->signal_fd = signalfd(-1, &s->set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->end_fd = eventfd(0, EFD_CLOEXEC);
    pthread_sigmask(SIG_BLOCK, &s->set, &after);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    int failed = pthread_create(&s->thread, NULL, signals_thread, s);
    pthread_sigmask(SIG_SETMASK, &after, NULL);
    if (s->signal_fd < 0 || s->end_fd < 0 || failed) {
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
    uint64_t one = 1;
    ssize_t n = write(s->end_fd, &one, sizeof(one));
    (void)n;
    pthread_join(s->thread, NULL);
    close(s->signal_fd);
    close(s->end_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
