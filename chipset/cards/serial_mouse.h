/* Serial mice of the kinds Microsoft, Logitech, IntelliMouse and Mouse Systems, plugged into a UART
 * as a CharPort. */
#ifndef CHIPSET_CARDS_SERIAL_MOUSE_H
#define CHIPSET_CARDS_SERIAL_MOUSE_H

#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/event.h"

typedef struct SerialMouse SerialMouse;

typedef enum SerialMouseKind {
    SERIAL_MOUSE_MICROSOFT, /* two buttons, identifies as "M" */
    SERIAL_MOUSE_LOGITECH,  /* three buttons, "M3" */
    SERIAL_MOUSE_WHEEL,     /* three buttons and wheel, "MZ" */
    SERIAL_MOUSE_SYSTEMS,   /* Mouse Systems: three buttons, five-byte reports, says nothing */
} SerialMouseKind;

typedef struct SerialMouseConfig {
    SerialMouseKind kind;
} SerialMouseConfig;

SerialMouse *serial_mouse_new(Board *b, const SerialMouseConfig *config, const char *id);
/* Its plug, for one UART; make the mouse before the UART. */
CharPort serial_mouse_plug(SerialMouse *mouse);
/* Where front ends post InputEvent. */
EventPort *serial_mouse_events(SerialMouse *mouse);

#endif
