/* Shared by the two files of the floppy controller: registers (fdc.c) and commands (fdc_cmd.c).
 */
#ifndef STORAGE_FDC_INTERNAL_H
#define STORAGE_FDC_INTERNAL_H

#include "storage/fdc.h"
#include "storage/floppy_image.h"

enum {
    FDC_BUFFER = 32768, /* one side of a track, at most 63 sectors of 512 bytes */
    FDC_UNITS = 4,      /* what the command set can name; the board has two */
    FDC_MAX_COMMAND = 9,
    FDC_MAX_RESULT = 10,
};

/* Digital output register (data sheet, 2.1.3). */
enum { DOR_SELECT = 0x03, DOR_NOT_RESET = 0x04, DOR_DMA_GATE = 0x08, DOR_MOTOR0 = 0x10 };

/* Main status register (2.1.5). */
enum { MSR_BUSY = 0x10, MSR_NON_DMA = 0x20, MSR_TO_HOST = 0x40, MSR_REQUEST = 0x80 };

/* Status registers in results (section 6). */
enum {
    ST0_ABNORMAL = 0x40,
    ST0_INVALID = 0x80,
    ST0_POLLED = 0xc0,
    ST0_SEEK_END = 0x20,
    ST0_CHECK = 0x10,
    ST1_MISSING_MARK = 0x01,
    ST1_PROTECTED = 0x02,
    ST1_NO_DATA = 0x04,
    ST1_OVERRUN = 0x10,
    ST1_DATA_ERROR = 0x20,
    ST1_END = 0x80,
    ST2_MISSING_MARK = 0x01,
    ST2_BAD_CYLINDER = 0x02,
    ST2_SCAN_FAILED = 0x04,
    ST2_SCAN_EQUAL = 0x08,
    ST2_WRONG_CYLINDER = 0x10,
    ST2_DATA_ERROR = 0x20,
    ST2_CONTROL_MARK = 0x40,
};

typedef enum FdcPhase { FDC_COMMAND, FDC_EXECUTION, FDC_RESULT, FDC_PHASES } FdcPhase;

/* What the execution timer will do. */
typedef enum FdcStep {
    FDC_STEP_NONE,
    FDC_STEP_RESET,  /* the reset is over: interrupt */
    FDC_STEP_BEGIN,  /* the head is there: find the first sector */
    FDC_STEP_SECTOR, /* a sector has passed under the head */
    FDC_STEP_READ_ID,
    FDC_STEP_NO_MARK, /* two turns without an address mark */
    FDC_STEP_OVERRUN, /* nobody moved the data */
    FDC_STEP_TAKEN,   /* the program has taken a sector's last byte, and its end has passed */
    FDC_STEP_STORED,  /* the same of one that it has fed, and that is in the image */
    FDC_STEPS
} FdcStep;

typedef enum FdcTransfer {
    FDC_READ,
    FDC_WRITE,
    FDC_SCAN,
    FDC_VERIFY,
    FDC_FORMAT,
    FDC_TRANSFERS
} FdcTransfer;

typedef struct FdcDrive {
    FdcDriveType type;
    Block *medium;
    FdcFormat format;       /* of the medium */
    const FloppyDisk *disk; /* its sectors, where the image knows them; the medium's */
    Timer timer;            /* armed while it seeks */
    struct {
        uint8_t track;   /* where the head is */
        bool changed;    /* DSKCHG: no disk, or not stepped since there is one */
        bool end_missed; /* recalibrate: the head did not reach track 0 */
    } g;
} FdcDrive;

struct Fdc {
    Device dev;
    FdcConfig config;
    FdcDrive drive[FDC_DRIVES];
    Timer timer;
    BlockJob *job;
    struct {
        uint8_t dor, tdr, dsr, rate; /* rate: 0 500, 1 300, 2 250, 3 1000 kbit/s */
        unsigned phase;              /* FdcPhase */
        unsigned step;               /* FdcStep */
        uint8_t command[FDC_MAX_COMMAND], command_size, command_wanted;
        uint8_t result[FDC_MAX_RESULT], result_size, result_at;
        bool interrupt;         /* the INT pin, before the gate in DOR */
        bool result_interrupts; /* it stands for a result that has not been read */
        uint8_t polled;         /* units whose reset status waits for SENSE INTERRUPT */
        uint8_t sought;         /* units whose seek has ended, likewise */
        uint8_t seek_st0[FDC_UNITS];
        uint8_t seeking;        /* units on their way: MSR bits 0..3 */
        uint8_t pcn[FDC_UNITS]; /* cylinder as the controller counts it */
        uint8_t target[FDC_UNITS];
        uint8_t specify[2]; /* SPECIFY's two parameters */
        uint8_t configure, precompensation, perpendicular;
        bool locked;
        /* the transfer in execution */
        unsigned transfer;  /* FdcTransfer */
        uint8_t unit, head; /* as selected by the command */
        uint8_t c, h, r, n; /* of the sector at hand */
        uint8_t eot, st1, st2;
        uint8_t verify_left;    /* VERIFY with EC: sectors to go */
        bool track_read;        /* READ TRACK: sectors in order of place */
        bool ended;             /* terminal count came */
        bool waits;             /* for the DMA channel, or for the program in non-DMA mode */
        uint8_t first_r;        /* sector at the buffer's start */
        uint32_t at, end, size; /* buffer: next byte to move, end of the sector at hand, valid */
    } g;
    uint8_t buffer[FDC_BUFFER]; /* part of the state */
};

/* fdc.c */
int64_t fdc_now(const Fdc *f);
FdcDrive *fdc_drive(Fdc *f, unsigned unit); /* NULL: no such drive */
/* Mechanics: ns on a real drive, made faster. */
int64_t fdc_mechanics(const Fdc *f, int64_t ns);
void fdc_set_interrupt(Fdc *f, bool level);
void fdc_later(Fdc *f, FdcStep step, int64_t ns);
/* Ends the command with these result bytes (may be none). */
void fdc_result(Fdc *f, const uint8_t *bytes, unsigned count, bool interrupt);
void fdc_stop(Fdc *f);
void fdc_job_done(void *self, BlockJob *job);
const char *fdc_unit_name(unsigned unit);  /* the drive's, for errors */
uint64_t fdc_job_block(const FdcDrive *d); /* BlockJob.block of its reads: a sector */

/* fdc_cmd.c */
unsigned fdc_command_length(uint8_t first);
void fdc_execute(Fdc *f);
void fdc_seek_ended(Fdc *f, unsigned unit);

/* fdc_transfer.c */
void fdc_begin_transfer(Fdc *f);
void fdc_begin_format(Fdc *f);
void fdc_begin_read_id(Fdc *f);
void fdc_timer_fired(void *self, int64_t due);
void fdc_dma_ready(void *self);
/* Non-DMA mode: the program moved the last byte of a sector. */
void fdc_sector_moved(Fdc *f);

#endif
