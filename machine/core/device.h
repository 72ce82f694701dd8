/* Devices and the board that carries them.
 *
 * A device is a struct whose first member is a Device. Its file offers x_new(), which allocates,
 * claims its ranges and calls device_add; from then on the board owns it: resets it, walks its
 * state, and destroys it, in the order in which devices were added (destruction in reverse).
 * docs/ADD_A_DEVICE.md shows a whole one.
 */
#ifndef MACHINE_CORE_DEVICE_H
#define MACHINE_CORE_DEVICE_H

#include "machine/core/bus.h"
#include "machine/core/clock.h"
#include "machine/core/err.h"
#include "machine/core/event.h"
#include "machine/core/ram.h"
#include "machine/core/state.h"

#define BOARD_PORTS 0x10000u
#define BOARD_MEMORY (UINT64_C(1) << 36)

typedef struct Device Device;
typedef struct Board Board;

typedef enum ResetKind {
    RESET_POWER, /* power has just come up: everything, CMOS contents excepted */
    RESET_HARD,  /* RESET# or PCI RST#: what the chip's reset pin does */
} ResetKind;

typedef struct DeviceType {
    const char *name; /* never changes: log tag and kind in the state file */
    unsigned version; /* of the state; bump it when state() changes */
    void (*reset)(Device *d, ResetKind kind);
    void (*state)(Device *d, StateIo *io); /* the same walk saves and loads */
    void (*restored)(
        Device *d);             /* after all are loaded: re-drive lines, drop caches; may be NULL */
    void (*destroy)(Device *d); /* frees d; NULL: free() is enough */
} DeviceType;

struct Device {
    const DeviceType *type;
    const char *id; /* unique on the board, never changes: section in the state file ("pic0") */
    Board *board;
    Device *next, *before;
};

struct Board {
    Clock clock;
    Ram ram;
    Bus *ports;
    Bus *memory;
    EventQueue *events;
    Device *first, *last;
};

Board *board_new(Err *err);
void board_free(Board *b);

void device_add(Board *b, Device *d, const DeviceType *type, const char *id);
/* The device with this id, or NULL. For front ends and tests; chips are wired in pc_build. */
Device *device_find(Board *b, const char *id);

void board_reset(Board *b, ResetKind kind);
/* Saves or loads every device and guest time, but no memory. After a failed load the board must be
 * reset. */
void board_state(Board *b, StateIo *io);
/* Calls restored on all devices. */
void board_restored(Board *b);

#endif
