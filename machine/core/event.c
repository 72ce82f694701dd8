/* The event queue: posts from any thread, delivery on the machine's own. */
#include "machine/core/event.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct Event {
    struct Event *next;
    EventPort *port;
    size_t size;
    uint8_t data[];
} Event;

struct EventPort {
    EventQueue *queue;
    EventPort *next;
    const char *name;
    void (*deliver)(void *self, const void *data, size_t size);
    void *self;
    unsigned waiting;
    bool open;
};

struct EventQueue {
    pthread_mutex_t lock;
    Event *first, **last;
    EventPort *ports;
    atomic_bool waiting;
    void (*wake)(void *self);
    void *wake_self;
};

EventQueue *event_queue_new(void (*wake)(void *self), void *self)
{
    EventQueue *q = calloc(1, sizeof(*q));
    if (q) {
        pthread_mutex_init(&q->lock, NULL);
        q->last = &q->first;
        q->wake = wake;
        q->wake_self = self;
    }
    return q;
}

void event_queue_free(EventQueue *q)
{
    if (!q) {
        return;
    }
    while (q->first) {
        Event *e = q->first;
        q->first = e->next;
        free(e);
    }
    while (q->ports) {
        EventPort *port = q->ports;
        q->ports = port->next;
        free(port);
    }
    pthread_mutex_destroy(&q->lock);
    free(q);
}

void event_queue_wake(EventQueue *q, void (*wake)(void *self), void *self)
{
    q->wake = wake;
    q->wake_self = self;
}

EventPort *event_port_open(EventQueue *q, const char *name,
                           void (*deliver)(void *self, const void *data, size_t size), void *self)
{
    EventPort *port = calloc(1, sizeof(*port));
    if (port) {
        port->queue = q;
        port->name = name;
        port->deliver = deliver;
        port->self = self;
        port->open = true;
        pthread_mutex_lock(&q->lock);
        port->next = q->ports;
        q->ports = port;
        pthread_mutex_unlock(&q->lock);
    }
    return port;
}

void event_port_close(EventPort *port)
{
    if (port) {
        pthread_mutex_lock(&port->queue->lock);
        port->open = false;
        pthread_mutex_unlock(&port->queue->lock);
    }
}

bool event_post(EventPort *port, const void *data, size_t size)
{
    if (!port || size > EVENT_MAX_BYTES) {
        return false;
    }
    EventQueue *q = port->queue;
    Event *e = malloc(sizeof(*e) + size);
    if (!e) {
        return false;
    }
    e->next = NULL;
    e->port = port;
    e->size = size;
    if (size) {
        memcpy(e->data, data, size);
    }
    pthread_mutex_lock(&q->lock);
    bool taken = port->open && port->waiting < EVENT_QUEUE_LIMIT;
    bool was_empty = q->first == NULL;
    if (taken) {
        port->waiting++;
        *q->last = e;
        q->last = &e->next;
        atomic_store(&q->waiting, true);
    }
    pthread_mutex_unlock(&q->lock);
    if (!taken) {
        free(e);
    } else if (was_empty && q->wake) {
        q->wake(q->wake_self);
    }
    return taken;
}

unsigned event_deliver(EventQueue *q)
{
    unsigned delivered = 0;
    if (!atomic_load(&q->waiting)) {
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    Event *e = q->first;
    q->first = NULL;
    q->last = &q->first;
    atomic_store(&q->waiting, false);
    pthread_mutex_unlock(&q->lock);
    while (e) {
        Event *next = e->next;
        pthread_mutex_lock(&q->lock);
        e->port->waiting--;
        bool open = e->port->open;
        pthread_mutex_unlock(&q->lock);
        if (open) {
            e->port->deliver(e->port->self, e->data, e->size);
            delivered++;
        }
        free(e);
        e = next;
    }
    return delivered;
}

bool event_waiting(const EventQueue *q)
{
    return atomic_load_explicit(&q->waiting, memory_order_relaxed);
}
