/* VMware's backdoor port 5658h with the absolute pointer (Ken Kato's VMware Backdoor I/O Port;
 * Linux's vmmouse driver for the pointer's commands).
 *
 * Pointer events arrive as InputEvent through its event port while vmware_port_wants_absolute();
 * otherwise they belong to the PS/2 mouse.
 */
#ifndef CHIPSET_CARDS_VMWARE_PORT_H
#define CHIPSET_CARDS_VMWARE_PORT_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/event.h"

typedef struct VmwarePort VmwarePort;

/* The processor's registers at the IN or OUT, in this order. */
typedef struct VmwareRegisters {
    uint32_t eax, ebx, ecx, edx, esi, edi;
} VmwareRegisters;

typedef struct VmwareTime {
    int64_t utc_us;         /* since 1970 */
    int32_t offset_minutes; /* local time is ahead of UTC by this much */
} VmwareTime;

typedef struct VmwarePortConfig {
    void (*load)(void *cpu, VmwareRegisters *registers);
    void (*store)(void *cpu, const VmwareRegisters *registers); /* EAX comes by the IN itself too */
    void *cpu;
    VmwareTime (*time)(void *self); /* the time to show to the guest; NULL: GETTIME is absent */
    void *time_self;
    uint32_t ram_mib;
    void (*nudge)(void *mouse); /* makes the PS/2 mouse interrupt, so that a driver looks here */
    void *mouse;
} VmwarePortConfig;

VmwarePort *vmware_port_new(Board *b, const VmwarePortConfig *config, const char *id);
EventPort *vmware_port_events(VmwarePort *v);
/* Has a driver asked for absolute coordinates? */
bool vmware_port_wants_absolute(const VmwarePort *v);

#endif
