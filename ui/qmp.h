/* The control socket: QEMU's machine protocol (QMP), one JSON object a message.
 *
 * Commands and events bear QEMU's names, arguments and error classes; docs/QMP.md lists them and
 * our own, which begin with x-. One client at a time; its input and its backlog are bounded.
 */
#ifndef UI_QMP_H
#define UI_QMP_H

#include "machine/machine.h"
#include "ui/keylayout.h"
#include "ui/record.h"

typedef struct Qmp Qmp;

/* What the front end shares; it must outlive the socket. */
typedef struct QmpFrontEnd {
    Recorder *recorder;
    const KeyLayout *layout; /* the guest's keyboard */
} QmpFrontEnd;

/* front is copied. spec: QEMU's -qmp argument: "unix:PATH,server[,nowait]" or tcp. Call it before
 * machine_start; without nowait it waits for the first client. */
Qmp *qmp_open(Machine *m, const QmpFrontEnd *front, const char *spec, Err *err);
/* Sends what is left (for a second at most), then closes. Call it before machine_free. */
void qmp_close(Qmp *q);

#endif
