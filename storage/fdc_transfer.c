/* Floppy disk controller 82077AA: commands that read, write, verify, scan and format sectors.
 *
 * Data sheet 290166, sections 5.1 and 6. A sector goes between buffer and DMA channel in one piece
 * when it has passed under the head. Images of a plain layout keep no deleted-data marks: WRITE
 * DELETED DATA writes plain sectors, and every sector that READ DELETED DATA meets bears a normal
 * mark; FORMAT TRACK fills sectors and cannot change the layout. Images that know their sectors
 * (floppy_image.h) give IDs, marks, errors and FM recording as they are; they are read only, and
 * under a throw-away overlay their sectors of 512 bytes and more can be written.
 */
#include <errno.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/fdc_internal.h"

LOG_TAG("fdc");

enum {
    CMD_MT = 0x80,
    CMD_MFM = 0x40,
    CMD_SKIP = 0x20,
    CMD_CODE = 0x1f,
    CODE_READ_TRACK = 0x02,
    CODE_READ_DELETED = 0x0c,
    CODE_SCAN_LOW = 0x19,
    CODE_SCAN_HIGH = 0x1d,
    VERIFY_COUNTS = 0x80, /* VERIFY's EC bit, in the second byte */
    IMPLIED_SEEK = 0x40,  /* CONFIGURE */
    FORMAT_ID_BYTES = 4,
};

#define TURN_NS 200000000 /* 300 turns a minute */
#define SETTLE_NS 20000000
/* From a sector's last byte to its checksum's end and the gap: no result comes sooner. A driver
 * that moves bytes in its interrupt handler would take a result within it for one interrupt too
 * many. */
#define END_NS 100000

static unsigned code(const Fdc *f)
{
    return f->g.command[0] & CMD_CODE;
}

/* The track under the head in the medium's own count: an 80-track drive finds a 40-track disk's
 * tracks at every other place. */
static unsigned medium_track(const FdcDrive *d)
{
    bool every_other = d->format.tracks <= 43 && d->type == FDC_1200K;
    return every_other ? d->g.track / 2u : d->g.track;
}

/* The data rate at which this disk was written, as the rate register has it. */
static unsigned medium_rate(const FdcDrive *d)
{
    unsigned side = (unsigned)d->format.sectors << d->format.size_code >> 2;
    if (side <= 10) {
        return d->type == FDC_1200K ? 1 : 2; /* 250 kbit/s on a disk that turns faster: 300 */
    }
    return side <= 24 ? 0 : 3;
}

static int64_t sector_ns(const Fdc *f, const FdcDrive *d)
{
    return fdc_mechanics(f, TURN_NS / d->format.sectors);
}

/* The track under the selected head, of an image that knows its sectors; else NULL. */
static const FloppyTrack *known_track(const Fdc *f, const FdcDrive *d)
{
    unsigned track = medium_track(d);
    return d->disk && track < d->disk->cylinders && f->g.head < d->disk->heads
               ? &d->disk->track[track][f->g.head]
               : NULL;
}

/* The sector whose ID comes as number `index` after the turn's begin. */
static const FloppySector *known_id(const FloppyTrack *t, unsigned index)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (!(t->sector[i].flags & FLOPPY_NO_ID) && index-- == 0) {
            return &t->sector[i];
        }
    }
    return NULL;
}

/* Where the sector at hand lies in the image. */
typedef struct Spot {
    uint64_t offset;
    uint32_t size; /* bytes */
    uint8_t flags; /* FLOPPY_... */
} Spot;

/* False: no such sector is on the track. */
static bool look_up(const Fdc *f, const FdcDrive *d, Spot *spot)
{
    const FloppyTrack *t = known_track(f, d);
    if (!d->disk) {
        uint32_t size = 128u << d->format.size_code;
        uint64_t track = (uint64_t)medium_track(d) * d->format.heads + f->g.head;
        *spot = (Spot){(track * d->format.sectors + f->g.r - 1) * size, size, 0};
        return f->g.r >= 1 && f->g.r <= d->format.sectors;
    }
    const FloppySector *found = NULL;
    if (t && f->g.track_read) {
        found = f->g.r ? known_id(t, f->g.r - 1u) : NULL;
    }
    for (unsigned i = 0; t && !f->g.track_read && i < t->count && !found; i++) {
        const FloppySector *s = &t->sector[i];
        bool same = s->c == f->g.c && s->h == f->g.h && s->r == f->g.r && s->n == f->g.n;
        found = same && !(s->flags & FLOPPY_NO_ID) ? s : NULL;
    }
    if (found) {
        *spot = (Spot){found->offset, floppy_sector_bytes(found), found->flags};
    }
    return found != NULL;
}

/* The data mark is not the one that the command wants. */
static bool mark_unlike(const Fdc *f, const Spot *spot)
{
    bool wants_deleted = code(f) == CODE_READ_DELETED;
    return f->g.transfer != FDC_WRITE && f->g.transfer != FDC_FORMAT && !f->g.track_read &&
           !!(spot->flags & FLOPPY_DELETED) != wants_deleted;
}

static void finish(Fdc *f, uint8_t st0)
{
    uint8_t result[7] = {(uint8_t)(st0 | f->g.head << 2 | f->g.unit),
                         f->g.st1,
                         f->g.st2,
                         f->g.c,
                         f->g.h,
                         f->g.r,
                         f->g.n};
    fdc_stop(f);
    log_trace("result %02x %02x %02x, %u/%u/%u/%u", result[0], result[1], result[2], result[3],
              result[4], result[5], result[6]);
    fdc_result(f, result, sizeof(result), true);
}

static void fail(Fdc *f, uint8_t st1, uint8_t st2)
{
    f->g.st1 |= st1;
    f->g.st2 |= st2;
    finish(f, ST0_ABNORMAL);
}

static unsigned known_rate(const FdcDrive *d, const FloppyTrack *t)
{
    bool low = t->rate != 0;
    return low ? (d->type == FDC_1200K ? 1 : 2) : 0; /* by how fast this drive turns */
}

/* Is there a readable track under the selected head? */
static bool marks_come(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    if (!d || !d->medium || !(f->g.dor & DOR_MOTOR0 << f->g.unit) ||
        medium_track(d) >= d->format.tracks || f->g.head >= d->format.heads) {
        return false;
    }
    const FloppyTrack *t = known_track(f, d);
    bool mfm = f->g.command[0] & CMD_MFM;
    return t ? known_id(t, 0) && t->fm != mfm && known_rate(d, t) == f->g.rate
             : mfm && !d->disk && medium_rate(d) == f->g.rate;
}

/* Why a sector of an image that knows them was not found. */
static void not_found(Fdc *f, const FdcDrive *d)
{
    const FloppyTrack *t = known_track(f, d);
    bool here = false, marked_bad = false;
    for (unsigned i = 0; t && i < t->count; i++) {
        here |= t->sector[i].c == f->g.c;
        marked_bad |= t->sector[i].c == 0xff;
    }
    fail(f, f->g.track_read ? ST1_MISSING_MARK : ST1_NO_DATA,
         here || f->g.track_read ? 0 : ST2_WRONG_CYLINDER | (marked_bad ? ST2_BAD_CYLINDER : 0));
}

/* The same for an image that knows its sectors. */
static bool find_known(Fdc *f, const FdcDrive *d, Spot *spot)
{
    if (!look_up(f, d, spot)) {
        not_found(f, d);
        return false;
    }
    if (spot->flags & FLOPPY_NO_DATA && f->g.transfer != FDC_WRITE) {
        fail(f, ST1_MISSING_MARK, ST2_MISSING_MARK);
        return false;
    }
    return true;
}

/* Looks for the sector by its address mark. False: the command has ended. */
static bool find_sector(Fdc *f, const FdcDrive *d, Spot *spot)
{
    if (d->disk) {
        return find_known(f, d, spot);
    }
    bool there = look_up(f, d, spot);
    if (f->g.track_read) { /* READ TRACK takes what comes, and notes what does not fit */
        if (f->g.c != medium_track(d) || f->g.h != f->g.head || f->g.n != d->format.size_code) {
            f->g.st1 |= ST1_NO_DATA;
        }
        if (!there) {
            fail(f, ST1_MISSING_MARK, 0);
        }
        return there;
    }
    if (f->g.c != medium_track(d)) {
        fail(f, ST1_NO_DATA, ST2_WRONG_CYLINDER);
        return false;
    }
    if (!there || f->g.h != f->g.head || f->g.n != d->format.size_code) {
        fail(f, ST1_NO_DATA, 0);
        return false;
    }
    return true;
}

static bool wants_data(const Fdc *f)
{
    return f->g.transfer == FDC_READ || f->g.transfer == FDC_SCAN || f->g.transfer == FDC_VERIFY;
}

static void submit(Fdc *f, const FdcDrive *d, BlockJob *job, int64_t ns)
{
    f->job = job;
    job->block = fdc_job_block(d);
    block_job_submit(job, d->medium, fdc_now(f) + ns);
}

/* From the sector at hand to the end of the track; of an image that knows its sectors that one
 * alone, with what lies around it in whole units of 512 bytes. */
static void fetch(Fdc *f, const FdcDrive *d, const Spot *spot)
{
    uint32_t count = d->format.sectors - f->g.r + 1u, bytes = count * spot->size;
    uint64_t offset = spot->offset;
    bytes = bytes < FDC_BUFFER ? bytes : FDC_BUFFER;
    if (d->disk) {
        offset = spot->offset / BLOCK_SECTOR * BLOCK_SECTOR;
        bytes = (uint32_t)((spot->offset + spot->size + BLOCK_SECTOR - 1 - offset) / BLOCK_SECTOR *
                           BLOCK_SECTOR);
    }
    f->g.first_r = f->g.r;
    f->g.size = 0;
    submit(f, d,
           block_job_new(f->config.queue, fdc_unit_name(f->g.unit), BLOCK_READ, offset, bytes,
                         fdc_job_done, f),
           sector_ns(f, d));
}

static void sector_passed(Fdc *f);

/* What fetch has brought. */
static void fetched(Fdc *f, const BlockJob *job)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    uint64_t shift = 0, length = job->length;
    Spot spot;
    if (d && d->disk && look_up(f, d, &spot)) {
        shift = spot.offset - job->offset;
        length = spot.size;
    }
    if (shift > job->length || length > job->length - shift || length > FDC_BUFFER) {
        fail(f, ST1_NO_DATA, 0); /* the job is of a saved machine, and does not fit this disk */
        return;
    }
    memcpy(f->buffer, job->data + shift, (size_t)length);
    f->g.size = (uint32_t)length;
    sector_passed(f);
}

static void begin_sector(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    if (!marks_come(f)) {
        fdc_later(f, FDC_STEP_NO_MARK, fdc_mechanics(f, 2 * TURN_NS));
        return;
    }
    Spot spot;
    if (!find_sector(f, d, &spot)) {
        return;
    }
    bool writes = f->g.transfer == FDC_WRITE;
    if (writes && (block_read_only(d->medium) || (spot.offset | spot.size) % BLOCK_SECTOR)) {
        fail(f, ST1_PROTECTED, 0);
        return;
    }
    uint32_t size = spot.size;
    bool here = f->g.r >= f->g.first_r && (f->g.r - f->g.first_r + 1u) * size <= f->g.size;
    if (wants_data(f) && (!here || d->disk)) {
        fetch(f, d, &spot);
    } else {
        if (writes) {
            f->g.first_r = f->g.r;
            f->g.size = 0;
        }
        fdc_later(f, FDC_STEP_SECTOR, sector_ns(f, d));
    }
}

/* The ID that the result shows after the sector at hand (data sheet, table of 6.?): one further,
 * over the end of the track to the next side or cylinder. Returns whether the command may go on
 * there. */
static bool next_id(Fdc *f)
{
    bool both_sides = f->g.command[0] & CMD_MT && !f->g.track_read;
    if (f->g.r < f->g.eot) {
        f->g.r++;
        return true;
    }
    f->g.r = 1;
    if (both_sides && f->g.head == 0) {
        f->g.h ^= 1;
        f->g.head = 1;
        f->g.size = 0;
        return true;
    }
    f->g.c++;
    if (both_sides) {
        f->g.h ^= 1;
    }
    return false;
}

static void sector_done(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    Spot spot = {0};
    bool unlike = d && look_up(f, d, &spot) && mark_unlike(f, &spot);
    uint8_t head = f->g.head;
    if (spot.flags & FLOPPY_BAD_DATA && f->g.transfer != FDC_WRITE) {
        f->g.st1 |= ST1_DATA_ERROR;
        f->g.st2 |= ST2_DATA_ERROR;
        if (!f->g.track_read) {
            finish(f, ST0_ABNORMAL);
            return;
        }
    }
    if (f->g.transfer == FDC_VERIFY && f->g.command[1] & VERIFY_COUNTS) {
        f->g.ended = --f->g.verify_left == 0;
    }
    if (unlike) {
        f->g.st2 |= ST2_CONTROL_MARK;
    }
    bool more = next_id(f);
    if (f->g.ended || unlike) {
        f->g.head = head; /* ST0 names the head that was used */
        finish(f, 0);
    } else if (more) {
        begin_sector(f);
    } else if (f->g.transfer == FDC_VERIFY && !(f->g.command[1] & VERIFY_COUNTS)) {
        finish(f, 0);
    } else {
        fail(f, ST1_END, 0); /* the last sector, and no terminal count */
    }
}

/* SCAN: the sector, against what came from memory behind it in the buffer. FFh matches anything. */
static void compare(Fdc *f, const uint8_t *disk, const uint8_t *memory, uint32_t length)
{
    bool equal = true, low = true, high = true;
    for (uint32_t i = 0; i < length; i++) {
        if (disk[i] != memory[i] && disk[i] != 0xff && memory[i] != 0xff) {
            equal = false;
            low &= disk[i] < memory[i];
            high &= disk[i] > memory[i];
        }
    }
    bool met = equal || (code(f) == CODE_SCAN_LOW && low) || (code(f) == CODE_SCAN_HIGH && high);
    uint8_t step = f->g.command[8] ? f->g.command[8] : 1;
    if (met) {
        f->g.st2 |= equal ? ST2_SCAN_EQUAL : 0;
        finish(f, 0);
    } else if (f->g.ended || f->g.r + step > f->g.eot) {
        f->g.st2 |= ST2_SCAN_FAILED;
        finish(f, 0);
    } else {
        f->g.r = (uint8_t)(f->g.r + step);
        begin_sector(f);
    }
}

/* Without DMA. The end of what it feeds passes when the image has it: until then the host may have
 * had no time for the program to see that its byte was the last. */
static bool program_feeds(const Fdc *f)
{
    return f->g.specify[1] & 1;
}

/* The sector at hand, from the front of the buffer. */
static void store(Fdc *f, const Spot *spot)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    BlockJob *job = block_job_new(f->config.queue, fdc_unit_name(f->g.unit), BLOCK_WRITE,
                                  spot->offset, spot->size, fdc_job_done, f);
    if (job->data) {
        memcpy(job->data, f->buffer, spot->size);
    }
    submit(f, d, job, program_feeds(f) ? 0 : END_NS);
}

/* FORMAT TRACK: an ID has come; the sector it names is filled. */
static void format_sector(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    const uint8_t *id = f->buffer;
    f->g.c = id[0];
    f->g.h = id[1];
    f->g.r = id[2];
    f->g.n = id[3] & 7;
    Spot spot;
    if (!marks_come(f) || f->g.c != medium_track(d) || f->g.h != f->g.head ||
        id[3] != d->format.size_code || !look_up(f, d, &spot)) {
        log_guest("format of %u/%u/%u size %u: not a sector of this image", id[0], id[1], id[2],
                  id[3]);
        fail(f, ST1_NO_DATA, 0);
        return;
    }
    memset(f->buffer, f->g.command[5], spot.size);
    store(f, &spot);
}

/* The data of the sector at hand are complete. */
static void moved(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    f->g.waits = false;
    f->g.step = FDC_STEP_NONE;
    timer_disarm(&f->timer);
    Spot spot;
    if (!d || !d->medium || (f->g.transfer != FDC_FORMAT && !look_up(f, d, &spot))) {
        fail(f, ST1_MISSING_MARK, 0);
        return;
    }
    switch (f->g.transfer) {
    case FDC_WRITE:
        memset(f->buffer + f->g.at, 0, f->g.end - f->g.at); /* cut short by terminal count */
        store(f, &spot);
        break;
    case FDC_SCAN:
        compare(f, f->buffer, f->buffer + spot.size, spot.size);
        break;
    case FDC_FORMAT:
        format_sector(f);
        break;
    default:
        sector_done(f);
    }
}

void fdc_sector_moved(Fdc *f)
{
    fdc_set_interrupt(f, false);
    if (f->g.transfer == FDC_READ) {
        f->g.waits = false;
        fdc_later(f, FDC_STEP_TAKEN, END_NS);
    } else {
        moved(f);
    }
}

/* Moves the sector between buffer and memory, or waits for who does. */
static void move(Fdc *f)
{
    if (f->g.specify[1] & 1) {
        f->g.waits = true;
        fdc_set_interrupt(f, true);
        return;
    }
    bool ended = false;
    dma_request(&f->config.dma, true);
    if (f->g.dor & DOR_DMA_GATE) {
        f->g.at += (uint32_t)dma_transfer(&f->config.dma, f->buffer + f->g.at, f->g.end - f->g.at,
                                          f->g.transfer == FDC_READ, &ended);
    }
    f->g.ended |= ended;
    if (f->g.at >= f->g.end || ended) {
        dma_request(&f->config.dma, false);
        moved(f);
    } else if (!f->g.waits) {
        /* The channel is masked. The chip would lose data after some bytes; a driver that opens it
         * late gets a turn's time. */
        f->g.waits = true;
        fdc_later(f, FDC_STEP_OVERRUN, TURN_NS);
    }
}

void fdc_dma_ready(void *self)
{
    Fdc *f = self;
    if (f->g.phase == FDC_EXECUTION && f->g.waits && !(f->g.specify[1] & 1)) {
        move(f);
    }
}

/* The sector at hand has passed under the head. */
static void sector_passed(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    Spot spot = {.size = FORMAT_ID_BYTES};
    bool formats = f->g.transfer == FDC_FORMAT;
    if (!d || !d->medium || f->g.r < f->g.first_r || (!formats && !look_up(f, d, &spot))) {
        fail(f, ST1_MISSING_MARK, 0);
        return;
    }
    uint32_t size = spot.size, place = formats ? 0 : (f->g.r - f->g.first_r) * size;
    uint32_t needed = f->g.transfer == FDC_SCAN ? 2 * size : place + size;
    if (needed > FDC_BUFFER || place + size > FDC_BUFFER) {
        fail(f, ST1_NO_DATA, 0);
        return;
    }
    if (f->g.transfer == FDC_SCAN) { /* the sector first, its opponent behind it */
        memmove(f->buffer, f->buffer + place, size);
        f->g.size = 0;
        place = size;
    }
    f->g.at = place;
    f->g.end = place + size;
    if (f->g.transfer == FDC_VERIFY || (mark_unlike(f, &spot) && f->g.command[0] & CMD_SKIP)) {
        f->g.at = f->g.end;
        if (f->g.transfer == FDC_VERIFY && !(mark_unlike(f, &spot) && f->g.command[0] & CMD_SKIP)) {
            sector_done(f);
        } else if (next_id(f)) { /* skipped */
            begin_sector(f);
        } else {
            fail(f, ST1_END, ST2_CONTROL_MARK);
        }
        return;
    }
    move(f);
}

static void read_id(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.unit);
    if (!marks_come(f)) {
        fdc_later(f, FDC_STEP_NO_MARK, fdc_mechanics(f, 2 * TURN_NS));
        return;
    }
    uint64_t turn = (uint64_t)(fdc_now(f) / sector_ns(f, d));
    const FloppyTrack *t = known_track(f, d);
    unsigned ids = 0;
    while (t && known_id(t, ids)) {
        ids++;
    }
    const FloppySector *s = ids ? known_id(t, (unsigned)(turn % ids)) : NULL;
    f->g.c = s ? s->c : (uint8_t)medium_track(d);
    f->g.h = s ? s->h : f->g.head;
    f->g.r = s ? s->r : (uint8_t)(turn % d->format.sectors + 1);
    f->g.n = s ? s->n : d->format.size_code;
    finish(f, 0);
}

static void stored(Fdc *f)
{
    if (f->g.transfer != FDC_FORMAT) {
        sector_done(f);
    } else if (--f->g.verify_left == 0) {
        finish(f, 0);
    } else {
        const FdcDrive *d = fdc_drive(f, f->g.unit);
        fdc_later(f, FDC_STEP_SECTOR, d ? sector_ns(f, d) : 0);
    }
}

void fdc_timer_fired(void *self, int64_t due)
{
    Fdc *f = self;
    unsigned step = f->g.step;
    (void)due;
    f->g.step = FDC_STEP_NONE;
    switch (step) {
    case FDC_STEP_RESET:
        if (!(f->g.configure & 0x10)) { /* polling on: all four units report */
            f->g.polled = 0x0f;
        }
        fdc_set_interrupt(f, true);
        break;
    case FDC_STEP_BEGIN:
        begin_sector(f);
        break;
    case FDC_STEP_SECTOR:
        sector_passed(f);
        break;
    case FDC_STEP_READ_ID:
        read_id(f);
        break;
    case FDC_STEP_NO_MARK:
        fail(f, ST1_MISSING_MARK, 0);
        break;
    case FDC_STEP_OVERRUN:
        fail(f, ST1_OVERRUN, 0);
        break;
    case FDC_STEP_TAKEN:
        moved(f);
        break;
    case FDC_STEP_STORED:
        stored(f);
        break;
    default:
        break;
    }
}

void fdc_job_done(void *self, BlockJob *job)
{
    Fdc *f = self;
    f->job = NULL;
    if (f->g.phase != FDC_EXECUTION) {
        return;
    }
    if (job->error) {
        if (job->op == BLOCK_READ) {
            fail(f, ST1_DATA_ERROR, ST2_DATA_ERROR);
        } else {
            f->g.st1 |= job->error == EROFS ? ST1_PROTECTED : 0;
            finish(f, ST0_ABNORMAL | ST0_CHECK);
        }
    } else if (job->op == BLOCK_READ && wants_data(f)) {
        fetched(f, job);
    } else if (job->op == BLOCK_WRITE && program_feeds(f)) {
        fdc_later(f, FDC_STEP_STORED, END_NS);
    } else {
        stored(f);
    }
}

/* What all of these commands begin with. */
static void begin(Fdc *f, FdcTransfer transfer)
{
    f->g.phase = FDC_EXECUTION;
    f->g.transfer = transfer;
    f->g.unit = f->g.command[1] & 3;
    f->g.head = f->g.command[1] >> 2 & 1;
    f->g.st1 = f->g.st2 = 0;
    f->g.ended = f->g.waits = f->g.track_read = false;
    f->g.at = f->g.end = f->g.size = 0;
    f->g.first_r = 1;
}

static FdcTransfer transfer_of(unsigned command)
{
    switch (command) {
    case 0x05:
    case 0x09:
        return FDC_WRITE;
    case 0x16:
        return FDC_VERIFY;
    case 0x11:
    case 0x19:
    case 0x1d:
        return FDC_SCAN;
    default:
        return FDC_READ;
    }
}

void fdc_begin_transfer(Fdc *f)
{
    begin(f, transfer_of(code(f)));
    f->g.c = f->g.command[2];
    f->g.h = f->g.command[3];
    f->g.r = f->g.command[4];
    f->g.n = f->g.command[5] & 7;
    f->g.eot = f->g.command[6];
    f->g.verify_left = f->g.command[8]; /* 0: 256 sectors */
    if (code(f) == CODE_READ_TRACK) {
        f->g.track_read = true;
        f->g.r = 1;
    }
    FdcDrive *d = fdc_drive(f, f->g.unit);
    if (f->g.configure & IMPLIED_SEEK && d) {
        if (d->g.track != f->g.c && d->medium) {
            d->g.changed = false;
        }
        d->g.track = f->g.c < 84 ? f->g.c : 84;
        f->g.pcn[f->g.unit] = f->g.c;
    }
    fdc_later(f, FDC_STEP_BEGIN, fdc_mechanics(f, SETTLE_NS));
}

void fdc_begin_format(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.command[1] & 3);
    begin(f, FDC_FORMAT);
    f->g.c = f->g.h = 0;
    f->g.r = 1;
    f->g.n = f->g.command[2] & 7;
    f->g.verify_left = f->g.command[3];
    if (!marks_come(f)) {
        fdc_later(f, FDC_STEP_NO_MARK, fdc_mechanics(f, 2 * TURN_NS));
    } else if (block_read_only(d->medium) || d->disk) {
        fail(f, ST1_PROTECTED, 0);
    } else if (f->g.verify_left == 0) {
        finish(f, 0);
    } else {
        fdc_later(f, FDC_STEP_SECTOR, fdc_mechanics(f, SETTLE_NS));
    }
}

void fdc_begin_read_id(Fdc *f)
{
    const FdcDrive *d = fdc_drive(f, f->g.command[1] & 3);
    begin(f, FDC_READ);
    int64_t ns = d && d->medium ? sector_ns(f, d) : fdc_mechanics(f, SETTLE_NS);
    fdc_later(f, FDC_STEP_READ_ID, ns);
}
