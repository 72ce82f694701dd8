/* The one queue through which the outside world enters the machine: keys, packets, disk
 * completions, media changes.
 *
 * Any thread posts; the machine's thread delivers, in order, between two instructions. A device
 * opens a port once and hands it to whoever may post. Payloads are copied, so they can be recorded
 * and replayed.
 */
#ifndef MACHINE_CORE_EVENT_H
#define MACHINE_CORE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_MAX_BYTES 65536  /* one payload */
#define EVENT_QUEUE_LIMIT 4096 /* waiting events of one port; more are refused */

typedef struct EventQueue EventQueue;
typedef struct EventPort EventPort;

/* wake is called, from the posting thread, when the queue stops being empty. */
EventQueue *event_queue_new(void (*wake)(void *self), void *self);
void event_queue_free(EventQueue *q);
/* Changes whom to wake; call it before other threads know the queue. */
void event_queue_wake(EventQueue *q, void (*wake)(void *self), void *self);

/* name never changes ("ps2kbd", "ide0"). The port lives until the queue is freed. */
EventPort *event_port_open(EventQueue *q, const char *name,
                           void (*deliver)(void *self, const void *data, size_t size), void *self);
/* The device is going away: events still waiting are dropped, later posts are refused. */
void event_port_close(EventPort *port);

/* From any thread. False when the payload is too large, the port closed or too many of its events
 * wait. */
bool event_post(EventPort *port, const void *data, size_t size);

/* Machine's thread: delivers all that waits. Returns how many. */
unsigned event_deliver(EventQueue *q);
/* Cheap, from any thread. */
bool event_waiting(const EventQueue *q);

#endif
