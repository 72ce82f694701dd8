/* Shared by the files that make up the IDE interface: channels, drives, and what they call in each
 * other.
 */
#ifndef STORAGE_IDE_INTERNAL_H
#define STORAGE_IDE_INTERNAL_H

#include "storage/ide.h"

/* Status register (ATA/ATAPI-6, 7.15). */
enum {
    ST_ERR = 0x01,
    ST_DRQ = 0x08,
    ST_DSC = 0x10, /* disks: seek complete; packet devices: SERVICE, never set */
    ST_DF = 0x20,
    ST_DRDY = 0x40,
    ST_BSY = 0x80,
};

/* Error register (7.9). */
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40 };

/* Device register (7.10) and device control register (7.11). */
enum { DEV_LBA = 0x40, DEV_DEV = 0x10, CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };

/* Interrupt reason: the count register of a packet device. */
enum { IR_COD = 0x01, IR_IO = 0x02 };

enum {
    IDE_BUFFER = BLOCK_JOB_MAX,
    IDE_COMMAND_NS = 5000, /* what a command without data takes */
    IDE_BLOCK_NS = 1500,   /* BSY between two blocks of a PIO transfer */
    IDE_RESET_NS = 200000, /* software reset and diagnostics */
    CD_BLOCK = 2048,
    CD_RAW = 2352,
    CD_JOB_BLOCKS = 32,
    CD_JOB_MAX = CD_JOB_BLOCKS * CD_RAW,
    PACKET_BYTES = 12,
};

/* What the unit's timer will do. */
typedef enum IdeAction {
    ACT_NONE,
    ACT_FINISH,     /* end the command, with INTRQ */
    ACT_BLOCK,      /* the next block of a PIO transfer, with INTRQ */
    ACT_PACKET,     /* ready for the packet: no INTRQ */
    ACT_RUN,        /* run the packet command */
    ACT_GOOD,       /* end the packet command */
    ACT_RESET,      /* software reset or DEVICE RESET ends */
    ACT_DIAGNOSTIC, /* EXECUTE DEVICE DIAGNOSTIC ends, with INTRQ */
    ACT_LAST
} IdeAction;

/* What the command in progress does with its data. */
typedef enum IdeFlow {
    FLOW_NONE,
    FLOW_READ,   /* disk to host, by PIO */
    FLOW_WRITE,  /* host to disk, by PIO */
    FLOW_VERIFY, /* disk to nowhere */
    FLOW_FLUSH,
    FLOW_DMA_READ,
    FLOW_DMA_WRITE,
    FLOW_REPLY,        /* one block from the buffer: IDENTIFY, SMART, READ BUFFER */
    FLOW_STORE,        /* one block to the buffer that is then forgotten: WRITE BUFFER */
    FLOW_PACKET,       /* the packet itself comes in */
    FLOW_PACKET_REPLY, /* the answer to a packet lies in the buffer */
    FLOW_PACKET_STORE, /* parameters of a packet command come in */
    FLOW_PACKET_READ,  /* disc to host */
    FLOW_LAST
} IdeFlow;

typedef struct IdeChannel IdeChannel;

typedef struct IdeRegisters {
    uint8_t feature, count, low, mid, high;
    uint8_t old_feature, old_count, old_low, old_mid, old_high; /* what HOB shows */
    uint8_t device, status, error;
} IdeRegisters;

enum { /* media events */
       EVENT_EJECT = 1,
       EVENT_NEW = 2,
       EVENT_REMOVED = 3,
};

/* An ATAPI drive's own part. */
typedef struct CdState {
    uint8_t packet[PACKET_BYTES];
    uint8_t sense_key, asc, ascq;
    uint8_t pending_asc;   /* unit attention to be reported: 0 none, 28h new medium, 29h reset */
    int64_t loading_until; /* guest ns: the disc that was put in cannot be seen before */
    uint8_t event;         /* media event not fetched yet: 0 none */
    bool tray_open, locked;
    uint16_t byte_limit; /* of a PIO data block, as the host wrote it */
    uint8_t read_form;   /* READ CD: which parts of a sector go out; 10h: user data only */
    bool dma;            /* this packet's data go by DMA */
    uint8_t audio;       /* audio status of MMC, 6.? "READ SUB-CHANNEL": 11h playing ... 15h none */
    uint32_t audio_at, audio_end; /* LBA */
    int64_t audio_since;          /* guest ns at which audio_at was under the head, while playing */
    uint8_t volume[2];
} CdState;

typedef struct IdeUnit {
    IdeChannel *channel;
    unsigned drive; /* 0..3 */
    char name[24];  /* for errors */
    IdeDriveKind kind;
    Block *medium;
    IdeGeometry geometry; /* the disk's own */
    BlockJob *job;        /* in flight */
    Timer timer;
    uint8_t *buffer; /* IDE_BUFFER bytes; part of the state */
    /* CD audio on its way to the mixer; no guest can see these */
    void *voice;
    BlockJob *audio_job;
    Timer audio_timer;
    uint8_t *audio_data;                /* a ring of raw sectors */
    uint32_t audio_next, audio_fetched; /* LBA of the next sector to push, and to fetch */
    struct {
        IdeRegisters r;
        bool intrq;
        unsigned action; /* IdeAction */
        unsigned flow;   /* IdeFlow */
        uint8_t command;
        bool lba48;         /* the command takes 48-bit addresses */
        bool fua;           /* flush before the end is reported */
        uint64_t lba;       /* of the next sector to go to or come from the host */
        uint32_t left;      /* sectors (CD: blocks) not yet asked of the image */
        uint32_t at;        /* buffer: next byte for the host */
        uint32_t block_end; /* buffer: where the present block ends */
        uint32_t size;      /* buffer: bytes in it */
        uint8_t multiple;   /* sectors a block of READ and WRITE MULTIPLE, 0: not set */
        uint16_t cylinders; /* the translation set by INITIALIZE DEVICE PARAMETERS */
        uint8_t heads, sectors;
        uint8_t transfer_mode; /* as SET FEATURES 03h wrote it */
        bool write_cache, look_ahead, smart, standby;
        CdState cd;
    } g;
} IdeUnit;

typedef struct BusMaster {
    struct {
        uint8_t command, status;
        uint32_t table;   /* physical address of the PRD table */
        uint32_t next;    /* of the next PRD */
        uint32_t address; /* the present region: */
        uint32_t left;    /* bytes left in it */
        bool last;        /* it is the table's last */
    } g;
} BusMaster;

struct IdeChannel {
    Ide *ide;
    unsigned index;
    IdeUnit unit[2];
    BusMaster master;
    struct {
        uint8_t selected; /* 0 or 1 */
        uint8_t control;  /* device control register */
        bool line;        /* level of the interrupt pin */
    } g;
};

enum { AUDIO_UNITY = 0x10000, AUDIO_FARTHEST = 1 << 24 /* LBA */ };

struct Ide {
    Device dev;
    IdeConfig config;
    PciFunction *pci;
    IdeChannel channel[2];
    uint32_t audio_volume[2]; /* AUDIO_UNITY: as it comes; the sound card's mixer keeps it */
};

/* ide.c */
int64_t ide_now(const IdeUnit *u);
void ide_set_intrq(IdeUnit *u, bool level);
/* BSY now, and the action later. */
void ide_later(IdeUnit *u, IdeAction action, int64_t ns);
/* Opens a PIO block of `bytes` from g.at on. */
void ide_open_block(IdeUnit *u, uint32_t bytes, bool interrupt);
/* Ends the command. error: the error register's value, 0 for success. */
void ide_finish(IdeUnit *u, uint8_t error, bool interrupt);
void ide_put_signature(IdeUnit *u);
/* Stops whatever the drive does. */
void ide_stop(IdeUnit *u);
/* Starts a job on the unit's medium; its end comes to ata_job_done or atapi_job_done. */
BlockJob *ide_job_new(IdeUnit *u, BlockOp op, uint64_t offset, uint64_t length);
void ide_job_submit(IdeUnit *u, BlockJob *job);

/* ide_busmaster.c */
extern const IoOps ide_master_ops;
/* Moves the whole length between `data` and the regions of the PRD table. DMA_WAIT: the bus master
 * is not started, or works in the other direction. DMA_SHORT: the table ended before. */
typedef enum IdeDma { DMA_WAIT, DMA_DONE, DMA_SHORT } IdeDma;
IdeDma ide_master_move(IdeChannel *c, uint8_t *data, uint32_t length, bool to_memory);
bool ide_master_ready(const IdeChannel *c, bool to_memory);
void ide_master_interrupt(IdeChannel *c);
void ide_master_reset(IdeChannel *c);
void ide_master_state(IdeChannel *c, StateIo *io);

/* ide_ata.c: disks, and the commands that both kinds know */
void ata_command(IdeUnit *u, uint8_t command);
void ata_block_ended(IdeUnit *u);
void ata_next_block(IdeUnit *u);
void ata_job_done(IdeUnit *u, BlockJob *job);
void ata_master_started(IdeUnit *u);
bool ata_set_features(IdeUnit *u);
void ata_power_on(IdeUnit *u);
/* The sectors of a DRQ block: one, or what SET MULTIPLE MODE said. */
uint32_t ata_block_sectors(const IdeUnit *u);

/* ide_identify.c */
void ide_identify_disk(const IdeUnit *u, uint8_t *page);
void ide_identify_packet(const IdeUnit *u, uint8_t *page);
void ide_smart_page(const IdeUnit *u, uint8_t feature, uint8_t *page);

/* atapi.c */
void atapi_command(IdeUnit *u, uint8_t command);
void atapi_packet_ready(IdeUnit *u);
void atapi_run(IdeUnit *u);
void atapi_block_ended(IdeUnit *u);
void atapi_next_block(IdeUnit *u);
void atapi_job_done(IdeUnit *u, BlockJob *job);
void atapi_master_started(IdeUnit *u);
void atapi_reset(IdeUnit *u, bool power);
void atapi_state(IdeUnit *u, StateIo *io);
/* The end of a packet command, good or bad. */
void atapi_good(IdeUnit *u);
void atapi_check(IdeUnit *u, uint8_t key, uint8_t asc, uint8_t ascq);
/* Sends `length` bytes of the buffer, cut to the host's allocation length. */
void atapi_reply(IdeUnit *u, uint32_t length, uint32_t allocation);
uint32_t atapi_blocks(const IdeUnit *u);
bool atapi_has_disc(const IdeUnit *u); /* it can be seen */

/* atapi_info.c: what the drive says about itself and its disc; false: not one of these */
bool atapi_information(IdeUnit *u);
void atapi_mode_select(IdeUnit *u);
/* atapi_audio.c */
bool atapi_audio(IdeUnit *u);
void atapi_audio_settle(IdeUnit *u);
void atapi_audio_stop(IdeUnit *u);
/* Plays on from where the state says, or falls silent. */
void atapi_audio_sound(IdeUnit *u);
void atapi_audio_init(IdeUnit *u);
void atapi_audio_fini(IdeUnit *u);

#endif
