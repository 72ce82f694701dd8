/* Telephone lines over TCP: a number is HOST:PORT or an entry of a phone book, and callers come to
 * a listening socket.
 */
#ifndef MACHINE_HOST_PHONE_HOST_H
#define MACHINE_HOST_PHONE_HOST_H

#include "machine/core/err.h"
#include "machine/core/event.h"
#include "machine/core/phone_port.h"

typedef struct PhoneHost PhoneHost;

/* spec: "", or "listen=HOST:PORT", "book=FILE" (lines of a number, HOST:PORT and, if it is not as
 * for others, telnet=MODE) and "telnet=on|off|auto" (auto is the default), parted by commas. name is of its event port ("phone0"). events must outlive it. NULL with err set. */
PhoneHost *phone_host_new(EventQueue *events, const char *name, const char *spec, Err *err);
PhonePort phone_host_port(PhoneHost *p);
/* Before the machine's thread starts or after it has ended. NULL is allowed. */
void phone_host_free(PhoneHost *p);

#endif
