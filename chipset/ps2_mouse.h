/* PS/2 mouse with wheel and five buttons (IBM PS/2 Hardware Interface Technical Reference, "Mouse";
 * Microsoft's IntelliMouse and IntelliMouse Explorer extensions).
 *
 * Motion and buttons arrive as InputEvent through its event port.
 */
#ifndef CHIPSET_PS2_MOUSE_H
#define CHIPSET_PS2_MOUSE_H

#include "machine/core/device.h"
#include "machine/core/event.h"
#include "machine/core/ps2.h"

typedef struct Ps2Mouse Ps2Mouse;

typedef struct Ps2MouseConfig {
    unsigned fastest_hz; /* at least this many reports a second, whatever rate the guest sets (it
                            still reads back its own); 0: the guest's rate. At most 200 */
} Ps2MouseConfig;

Ps2Mouse *ps2_mouse_new(Board *b, const Ps2MouseConfig *config, const char *id);
/* Its plug, for the controller's auxiliary port. */
Ps2Port ps2_mouse_plug(Ps2Mouse *mouse);
/* Where front ends post InputEvent. */
EventPort *ps2_mouse_events(Ps2Mouse *mouse);
/* Makes it report once although nothing moved: a VMware pointer's way to call its driver. */
void ps2_mouse_nudge(void *mouse);

#endif
