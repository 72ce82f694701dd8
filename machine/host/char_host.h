/* Where the serial and parallel ports of one machine lead on the host: terminal, file, socket, pty,
 * a real port.
 *
 * One thread does all of it. The machine's thread never waits: what it writes goes into a buffer
 * (the oldest is dropped when a reader stalls), what comes in is posted through the event queue and
 * no more is read until the device has taken it.
 */
#ifndef MACHINE_HOST_CHAR_HOST_H
#define MACHINE_HOST_CHAR_HOST_H

#include "machine/core/char_port.h"
#include "machine/core/err.h"
#include "machine/core/event.h"

typedef struct CharHost CharHost;

/* events must outlive it. NULL: no memory or no thread. */
CharHost *char_host_new(EventQueue *events);
/* Before the machine's thread starts or after it has ended, and before the event queue is freed.
 * Writes out what is left (for a second at most) and restores the terminal. NULL is allowed. */
void char_host_free(CharHost *host);

/* spec: NULL or "none" (*port becomes all zero), "stdio", "mon:stdio" (Ctrl-A x ends the program),
 * "file:PATH", "unix:PATH[,server[,nowait]]", "tcp:HOST:PORT[,server[,nowait]]", "telnet:" the
 * same, "pty", "/dev/...",
 * "pdf:PATH[,pins=9|24][,paper=letter|a4]" (a printer), or the whole path of a FIFO (written to) or
 * file. option names the option in messages: "serial". Call it while the board is built. */
bool char_host_open(CharHost *host, const char *option, const char *spec, CharPort *port, Err *err);

#endif
