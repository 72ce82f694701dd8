/* The board of a period PC, wired: what machine.c needs to hold of it. */
#ifndef MACHINE_PC_H
#define MACHINE_PC_H

#include "cpu-accel/x86/cpu.h"
#include "machine/core/device.h"
#include "machine/core/err.h"
#include "machine/machine.h"
#include "storage/block_queue.h"

/* What the board asks of whoever runs it. Calls come on the machine's thread. */
typedef struct PcHost {
    void (*reset)(void *self);     /* a chip pulled RESET#: reset all before the next instruction */
    void (*power_off)(void *self); /* ACPI soft-off */
    void (*debug_exit)(void *self, int exit_status); /* isa-debug-exit was written */
    /* an image failed; action STOP: pause, and try again on resume */
    void (*io_error)(void *self, const char *device, const MachineIoError *what);
    void (*tray_moved)(void *self, const char *device, bool open); /* by the guest */
    void *self;
} PcHost;

typedef struct Pc Pc;

/* An empty board's fittings. They are freed in two steps: pc_unplug before the board (what posts
 * events to it), pc_free after it (what its devices draw on). */
Pc *pc_new(void);
void pc_unplug(Pc *pc);
void pc_free(Pc *pc);
/* Builds and wires everything on `b` in one function. After a failure only free it. */
bool pc_build(Pc *pc, Board *b, const MachineConfig *config, const PcHost *host, Err *err);

Cpu *pc_cpu(Pc *pc);
Screen *pc_screen(Pc *pc);
struct Mixer *pc_mixer(Pc *pc);
/* Front panel and plugs; machine's thread. */
void pc_power_button(Pc *pc);
/* A line for each 8259. */
void pc_view_pic(const Pc *pc, void (*line)(void *self, const char *text), void *self);
bool pc_text(Pc *pc, char *text, size_t room);
void pc_text_size(Pc *pc, unsigned *columns, unsigned *rows);
unsigned pc_block_query(Pc *pc, BlockInfo *info, unsigned room);
bool pc_change_medium(Pc *pc, const char *id, const char *file, const char *format, bool read_only,
                      Err *err);
bool pc_eject(Pc *pc, const char *id, bool force, Err *err);
bool pc_commit(Pc *pc, const char *id, Err *err);
/* For snapshots: the disks' queue, and the medium in a bay (NULL: none). */
BlockQueue *pc_disks(Pc *pc);
Block *pc_medium(Pc *pc, unsigned bay, BlockInfo *info);
/* All disks: waits until nothing is in flight, and flushes. */
void pc_drain(Pc *pc);
/* After an I/O error: failed requests are tried again. */
void pc_retry(Pc *pc);
/* From any thread. */
void pc_input(Pc *pc, const InputEvent *event);
void pc_pads(Pc *pc, const PadState *pads);
uint8_t pc_keyboard_leds(const Pc *pc);
bool pc_wants_absolute(const Pc *pc);

#endif
