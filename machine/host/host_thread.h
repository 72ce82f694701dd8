/* Threads that take no signals: those are for the thread that began the program. */
#ifndef MACHINE_HOST_HOST_THREAD_H
#define MACHINE_HOST_HOST_THREAD_H

#include <pthread.h>
#include <signal.h>

/* As pthread_create: 0, or an errno. In such a thread SIGPIPE is an EPIPE. */
static inline int host_thread_start(pthread_t *thread, void *(*run)(void *self), void *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

#endif
