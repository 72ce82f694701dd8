/* The drives of the board: images opened, controllers made, media exchanged. */
#ifndef MACHINE_PC_DRIVES_H
#define MACHINE_PC_DRIVES_H

#include "chipset/pci.h"
#include "chipset/rtc.h"
#include "machine/core/dma.h"
#include "machine/machine.h"
#include "storage/block_queue.h"
#include "storage/fdc.h"
#include "storage/ide.h"

typedef struct DrivesWiring {
    PciBus *pci;
    Line fdc_irq, ide_irq[2];
    DmaLine fdc_dma;
    AudioPort audio; /* where CDs play */
    void (*io_error)(void *self, const char *device, const MachineIoError *what);
    void (*tray_moved)(void *self, const char *device, bool open);
    void *self;
} DrivesWiring;

/* One drive bay. */
typedef struct Bay {
    bool present;
    DriveBus bus;
    unsigned index;
    bool removable;
    DriveError read_error, write_error;
    bool warned; /* of an error that does not stop the machine */
    char id[32];
    char place[24]; /* the controller's name for the drive */
} Bay;

typedef struct Drives {
    BlockQueue *queue;
    Fdc *fdc;
    Ide *ide;
    DrivesWiring wiring;
    bool snapshot; /* of media put in later */
    Bay bay[MACHINE_MAX_DRIVES];
} Drives;

bool drives_build(Drives *d, Board *b, const MachineConfig *config, const DrivesWiring *wiring,
                  Err *err);
/* Drive types and geometries for the CMOS. */
void drives_describe(const Drives *d, RtcSetup *setup);
/* The medium in bay `index` (below MACHINE_MAX_DRIVES), lent, with what there is to know of it.
 * NULL: none. */
Block *drives_medium(const Drives *d, unsigned index, BlockInfo *info);
unsigned drives_query(const Drives *d, BlockInfo *info, unsigned room);
bool drives_change(Drives *d, const char *id, const char *file, const char *format, bool read_only,
                   Err *err);
bool drives_eject(Drives *d, const char *id, bool force, Err *err);
/* Writes what throw-away overlays hold into their images; id: of one drive, or "all". */
bool drives_commit(Drives *d, const char *id, Err *err);

#endif
