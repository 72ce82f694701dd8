/* The IDE interface of the PIIX3 with its two channels, and the drives on them: ATA disks and ATAPI
 * CD-ROMs (Intel 82371SB data sheet 290550; ATA/ATAPI-6; SFF-8020i and MMC-3; Programming Interface
 * for Bus Master IDE Controller 1.0).
 *
 * Ports 1F0h..1F7h, 3F6h and 170h..177h, 376h; PCI function 8086:7010 with the bus master in BAR 4.
 * Drives are numbered 0 primary master, 1 primary slave, 2 secondary master, 3 secondary slave.
 */
#ifndef STORAGE_IDE_H
#define STORAGE_IDE_H

#include "chipset/pci.h"
#include "machine/core/audio_port.h"
#include "machine/core/line.h"
#include "storage/block_queue.h"

#define IDE_DRIVES 4u

typedef struct Ide Ide;

typedef enum IdeDriveKind { IDE_NONE, IDE_DISK, IDE_CDROM } IdeDriveKind;

/* How the BIOS shows a disk to INT 13h: SeaBIOS takes it from CMOS byte 39h, two bits a drive. */
typedef enum IdeTranslation {
    IDE_TRANSLATION_NONE,
    IDE_TRANSLATION_LBA,
    IDE_TRANSLATION_LARGE,
    IDE_TRANSLATION_RECHS
} IdeTranslation;

typedef struct IdeGeometry {
    uint32_t cylinders; /* 1..16383 */
    uint32_t heads;     /* 1..16 */
    uint32_t sectors;   /* 1..63 */
    IdeTranslation translation;
} IdeGeometry;

typedef struct IdeDriveConfig {
    IdeDriveKind kind;
    Block *medium;        /* owned by the Ide from then on; NULL only for an empty CD-ROM drive */
    IdeGeometry geometry; /* a cylinder count of 0: chosen from the partition table or the size */
} IdeDriveConfig;

typedef struct IdeConfig {
    PciBus *pci; /* NULL: no PCI function, PIO only */
    unsigned pci_device, pci_function;
    Line irq[2]; /* IRQ14, IRQ15 */
    BlockQueue *queue;
    IdeDriveConfig drive[IDE_DRIVES];
    AudioPort audio; /* where CD-ROM drives play; all zero: nowhere */
    /* The guest opened or closed a tray; may be NULL. */
    void (*tray_moved)(void *self, unsigned drive, bool open);
    void *self;
} IdeConfig;

Ide *ide_new(Board *b, const IdeConfig *config, const char *id);
/* Volume of the drives' audio in the sound card that they are cabled to; 10000h is as it comes. */
void ide_audio_volume(void *ide, uint32_t left, uint32_t right);

/* For the CMOS: false when there is no disk there. */
bool ide_geometry(const Ide *ide, unsigned drive, IdeGeometry *geometry);
/* The geometry that ide_new chooses for a disk of this many sectors with this first sector (NULL:
 * none known). */
IdeGeometry ide_guess_geometry(uint64_t sectors, const uint8_t *first_sector);

/* Front end, on the machine's thread. */
typedef struct IdeDriveInfo {
    IdeDriveKind kind;
    Block *medium; /* lent; NULL: none */
    bool locked;   /* by the guest (PREVENT ALLOW MEDIUM REMOVAL) */
    bool tray_open;
} IdeDriveInfo;
void ide_drive_info(const Ide *ide, unsigned drive, IdeDriveInfo *info);
/* Puts a disc into a CD-ROM drive, as a person would: opens the tray (a lock does not keep people
 * out), exchanges the disc, closes it. NULL takes the disc out and leaves the tray closed. Takes
 * over `medium`. */
void ide_change_medium(Ide *ide, unsigned drive, Block *medium);
/* Opens the tray and takes the disc out. False, and the guest is told that someone pressed the
 * button, when the guest has locked it and force is not given. */
bool ide_eject(Ide *ide, unsigned drive, bool force);

#endif
