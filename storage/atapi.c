/* ATAPI CD-ROM: the packet protocol, sense data and unit attention, reading, tray and lock.
 *
 * ATA/ATAPI-6 section 9.10 and 9.11 for the protocol, SFF-8020i and MMC-3 for the commands. What
 * the drive says about itself and the disc is in atapi_info.c, audio in atapi_audio.c. Data blocks
 * are whole CD sectors where the host's byte count allows. Not modelled: sub-channel data with READ
 * CD, CD-R commands.
 */
#include <errno.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "machine/core/log.h"
#include "storage/cd.h"
#include "storage/ide_internal.h"

LOG_TAG("atapi");

enum {
    PIECE_BLOCKS = CD_JOB_BLOCKS,
    KEY_NOT_READY = 2,
    KEY_MEDIUM = 3,
    KEY_ILLEGAL = 5,
    KEY_ATTENTION = 6,
    ASC_RANGE = 0x21,
    ASC_FIELD = 0x24,
    ASC_NEW_MEDIUM = 0x28,
    ASC_RESET = 0x29,
    ASC_NO_MEDIUM = 0x3a,
    FORM_USER = 0x10, /* READ CD byte 9: parts of a sector */
    FORM_SYNC = 0x80,
    FORM_HEADER = 0x20,
    FORM_EDC = 0x08,
    FORM_SUBHEADER = 0x40,
    FORM_ALL = 0xf8,
    /* A swap takes its time. Whoever polls each second sees the drive empty in between, without
     * which NT and its heirs take no notice; to DOS, whose drivers give up on "not ready", it is
     * over before somebody has reached the keyboard. */
    LOADING_NS = 1200000000,
};

uint32_t atapi_blocks(const IdeUnit *u)
{
    return u->medium ? (uint32_t)((block_size(u->medium) + CD_BLOCK - 1) / CD_BLOCK) : 0;
}

bool atapi_has_disc(const IdeUnit *u)
{
    return u->medium && !u->g.cd.tray_open && ide_now(u) >= u->g.cd.loading_until;
}

void atapi_good(IdeUnit *u)
{
    u->g.r.count = IR_IO | IR_COD;
    ide_finish(u, 0, true);
}

void atapi_check(IdeUnit *u, uint8_t key, uint8_t asc, uint8_t ascq)
{
    log_trace("%s: packet 0x%x ends with sense %x/%02x/%02x", u->name, u->g.cd.packet[0], key, asc,
              ascq);
    u->g.cd.sense_key = key;
    u->g.cd.asc = asc;
    u->g.cd.ascq = ascq;
    u->g.r.count = IR_IO | IR_COD;
    ide_finish(u, (uint8_t)(key << 4 | ER_ABRT), true);
}

/* Bytes that a sector of the disc takes on its way to the host, for cutting blocks where sectors
 * end. */
static uint32_t sector_bytes(uint8_t form)
{
    return form == FORM_USER ? CD_BLOCK : form == FORM_ALL ? CD_RAW : 0;
}

/* Opens the next PIO block of an answer: no more than the host's byte count, and whole sectors when
 * that leaves room for one. */
void atapi_next_block(IdeUnit *u)
{
    uint32_t limit = u->g.cd.byte_limit & ~1u, rest = u->g.size - u->g.at;
    if (u->g.cd.byte_limit == 0 || u->g.cd.byte_limit == 0xffff) {
        limit = 0xfffe;
    } else if (limit == 0) {
        limit = 2; /* 1: no block can be so small */
    }
    uint32_t sector = sector_bytes(u->g.cd.read_form);
    if (u->g.flow == FLOW_PACKET_READ && sector && limit >= sector && rest > limit) {
        limit -= limit % sector;
    }
    uint32_t bytes = rest < limit ? rest : limit;
    u->g.r.count = u->g.flow == FLOW_PACKET_STORE ? 0 : IR_IO;
    u->g.r.mid = (uint8_t)bytes;
    u->g.r.high = (uint8_t)(bytes >> 8);
    ide_open_block(u, bytes, true);
}

static void read_piece(IdeUnit *u)
{
    uint32_t count = u->g.left < PIECE_BLOCKS ? u->g.left : PIECE_BLOCKS;
    uint64_t offset = u->g.lba * CD_BLOCK, length = (uint64_t)count * CD_BLOCK;
    uint64_t size = block_size(u->medium);
    u->g.at = u->g.size = u->g.block_end = 0;
    if (u->g.cd.read_form != FORM_USER) {
        ide_job_submit(u,
                       ide_job_new(u, BLOCK_READ_RAW, u->g.lba * CD_RAW, (uint64_t)count * CD_RAW));
        return;
    }
    /* An image may end inside its last sector. */
    length = length < size - offset ? length : size - offset;
    ide_job_submit(u, ide_job_new(u, BLOCK_READ, offset, length));
}

/* DMA: sends what the buffer holds when the bus master is there. */
static void deliver(IdeUnit *u)
{
    u->g.r.count = IR_IO;
    u->g.r.status = ST_DRDY | ST_DRQ;
    if (ide_master_move(u->channel, u->buffer, u->g.size, true) != DMA_DONE) {
        return;
    }
    u->g.size = 0;
    if (u->g.flow == FLOW_PACKET_READ && u->g.left) {
        read_piece(u);
    } else {
        atapi_good(u);
    }
}

void atapi_master_started(IdeUnit *u)
{
    bool answer = u->g.flow == FLOW_PACKET_REPLY || u->g.flow == FLOW_PACKET_READ;
    if (answer && u->g.cd.dma && u->g.size && ide_master_ready(u->channel, true)) {
        deliver(u);
    }
}

void atapi_reply(IdeUnit *u, uint32_t length, uint32_t allocation)
{
    u->g.flow = FLOW_PACKET_REPLY;
    u->g.at = 0;
    u->g.size = length < allocation ? length : allocation;
    if (u->g.size == 0) {
        atapi_good(u);
    } else if (u->g.cd.dma) {
        deliver(u);
    } else {
        atapi_next_block(u);
    }
}

void atapi_block_ended(IdeUnit *u)
{
    switch (u->g.flow) {
    case FLOW_PACKET:
        memcpy(u->g.cd.packet, u->buffer, PACKET_BYTES);
        u->g.flow = FLOW_NONE;
        ide_later(u, ACT_RUN, IDE_COMMAND_NS);
        break;
    case FLOW_PACKET_STORE:
        if (u->g.at < u->g.size) {
            ide_later(u, ACT_BLOCK, IDE_BLOCK_NS);
        } else {
            atapi_mode_select(u);
        }
        break;
    case FLOW_PACKET_REPLY:
    case FLOW_PACKET_READ:
        if (u->g.at < u->g.size) {
            ide_later(u, ACT_BLOCK, IDE_BLOCK_NS);
        } else if (u->g.flow == FLOW_PACKET_READ && u->g.left) {
            read_piece(u);
        } else {
            u->g.flow = FLOW_NONE;
            ide_later(u, ACT_GOOD, IDE_BLOCK_NS); /* the end of the command has its own interrupt */
        }
        break;
    default: /* IDENTIFY PACKET DEVICE */
        ide_finish(u, 0, false);
    }
}

/* The parts of a whole sector that READ CD asked for (MMC-3, 6.20). */
static uint32_t put_sector(const IdeUnit *u, bool audio, const uint8_t *raw, uint8_t *out)
{
    static const struct {
        uint8_t part;
        uint16_t from, length;
    } mode1[] = {{FORM_SYNC, 0, 12},
                 {FORM_HEADER, 12, 4},
                 {FORM_USER, 16, 2048},
                 {FORM_EDC, 2064, 288},
                 {0, 0, 0}},
      form1[] = {{FORM_SYNC, 0, 12},
                 {FORM_HEADER, 12, 4},
                 {FORM_SUBHEADER, 16, 8},
                 {FORM_USER, 24, 2048},
                 {FORM_EDC, 2072, 280}},
      form2[] = {{FORM_SYNC, 0, 12},
                 {FORM_HEADER, 12, 4},
                 {FORM_SUBHEADER, 16, 8},
                 {FORM_USER, 24, 2324},
                 {FORM_EDC, 2348, 4}};
    if (audio) { /* all of it is user data */
        memcpy(out, raw, CD_RAW);
        return CD_RAW;
    }
    bool second = raw[15] == 2, large = second && raw[18] & 0x20;
    uint32_t size = 0;
    for (unsigned i = 0; i < 5; i++) {
        uint8_t part = large ? form2[i].part : second ? form1[i].part : mode1[i].part;
        uint16_t from = large ? form2[i].from : second ? form1[i].from : mode1[i].from;
        uint16_t length = large ? form2[i].length : second ? form1[i].length : mode1[i].length;
        if (u->g.cd.read_form & part) {
            memcpy(out + size, raw + from, length);
            size += length;
        }
    }
    return size;
}

static uint32_t take_user_data(IdeUnit *u, const BlockJob *job)
{
    uint32_t blocks = (uint32_t)((job->length + CD_BLOCK - 1) / CD_BLOCK);
    blocks = blocks < u->g.left ? blocks : u->g.left;
    memcpy(u->buffer, job->data, (size_t)job->length);
    memset(u->buffer + job->length, 0,
           (size_t)blocks * CD_BLOCK > job->length ? (size_t)blocks * CD_BLOCK - (size_t)job->length
                                                   : 0);
    u->g.lba += blocks;
    u->g.left -= blocks;
    return blocks * CD_BLOCK;
}

static uint32_t take_raw(IdeUnit *u, const BlockJob *job)
{
    CdToc toc;
    uint32_t size = 0;
    cd_toc(u->medium, &toc);
    for (uint64_t at = 0; at + CD_RAW <= job->length && u->g.left; at += CD_RAW) {
        const CdTrack *track = &toc.track[cd_track_at(&toc, (uint32_t)u->g.lba) - 1];
        size += put_sector(u, track->mode == 0, job->data + at, u->buffer + size);
        u->g.lba++;
        u->g.left--;
    }
    return size;
}

void atapi_job_done(IdeUnit *u, BlockJob *job)
{
    if (job->error == EINVAL) { /* user data of an audio track */
        atapi_check(u, KEY_ILLEGAL, 0x64, 0);
        return;
    }
    if (job->error || u->g.flow != FLOW_PACKET_READ || !u->medium ||
        (job->op != BLOCK_READ && job->op != BLOCK_READ_RAW)) {
        atapi_check(u, KEY_MEDIUM, 0x11, 0); /* unrecovered read error */
        return;
    }
    u->g.at = 0;
    u->g.size = job->op == BLOCK_READ ? take_user_data(u, job) : take_raw(u, job);
    if (u->g.size == 0) { /* nothing of these sectors was asked for */
        atapi_good(u);
    } else if (u->g.cd.dma) {
        deliver(u);
    } else {
        atapi_next_block(u);
    }
}

static void start_read(IdeUnit *u, uint32_t lba, uint32_t count, uint8_t form)
{
    uint32_t total = atapi_blocks(u);
    if (lba > total || count > total - lba || (lba == total && count == 0 && total == 0)) {
        atapi_check(u, KEY_ILLEGAL, ASC_RANGE, 0);
        return;
    }
    atapi_audio_stop(u);
    if (count == 0 || form == 0) {
        atapi_good(u);
        return;
    }
    u->g.flow = FLOW_PACKET_READ;
    u->g.lba = lba;
    u->g.left = count;
    u->g.cd.read_form = form;
    read_piece(u);
}

static void read_cd(IdeUnit *u, uint32_t lba, uint32_t count)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t type = p[1] >> 2 & 7, form = p[9] & FORM_ALL;
    CdToc toc;
    cd_toc(u->medium, &toc);
    const CdTrack *track = &toc.track[cd_track_at(&toc, lba) - 1];
    /* sector types: 0 any, 1 audio, 2 mode 1, 3 mode 2, 4 and 5 its forms */
    bool fits = type == 0 || (type < 4 ? type - 1 == track->mode : type < 6 && track->mode == 2);
    if (p[9] & 0x06 || p[10] & 7) { /* C2 error flags, sub-channels */
        atapi_check(u, KEY_ILLEGAL, ASC_FIELD, 0);
    } else if (!fits) {
        atapi_check(u, KEY_ILLEGAL, 0x64, 0); /* illegal mode for this track */
    } else {
        if (track->mode == 0 && form) {
            form = FORM_ALL;
        }
        start_read(u, lba, count, form);
    }
}

/* A disc that is still being loaded has not come yet. */
static bool attention_is_due(const IdeUnit *u)
{
    uint8_t asc = u->g.cd.pending_asc;
    return asc && (asc != ASC_NEW_MEDIUM || !u->medium || atapi_has_disc(u));
}

static void request_sense(IdeUnit *u)
{
    uint8_t *reply = u->buffer;
    memset(reply, 0, 18);
    CdState *cd = &u->g.cd;
    if (cd->sense_key == 0 && attention_is_due(u)) {
        cd->sense_key = KEY_ATTENTION;
        cd->asc = cd->pending_asc;
        cd->ascq = 0;
        cd->pending_asc = 0;
    }
    reply[0] = 0x70;
    reply[2] = cd->sense_key;
    reply[7] = 10;
    reply[12] = cd->asc;
    reply[13] = cd->ascq;
    cd->sense_key = cd->asc = cd->ascq = 0;
    atapi_reply(u, 18, cd->packet[4]);
}

static void tray_moved(IdeUnit *u, bool open)
{
    const IdeConfig *config = &u->channel->ide->config;
    if (config->tray_moved) {
        config->tray_moved(config->self, u->drive, open);
    }
}

static void start_stop(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    bool start = cd->packet[4] & 1, eject = cd->packet[4] & 2;
    if (!eject) {
        if (!start) {
            atapi_audio_stop(u);
        }
        atapi_good(u);
        return;
    }
    if (!start && cd->locked && !cd->tray_open) {
        atapi_check(u, KEY_ILLEGAL, 0x53, 0x02); /* medium removal prevented */
        return;
    }
    if (cd->tray_open == start) {
        cd->tray_open = !start;
        atapi_audio_stop(u);
        if (start && u->medium) {
            cd->pending_asc = ASC_NEW_MEDIUM;
            cd->event = EVENT_NEW;
        } else if (!start && u->medium) {
            cd->event = EVENT_REMOVED;
        }
        tray_moved(u, !start);
    }
    atapi_good(u);
}

static void read_capacity(IdeUnit *u)
{
    bytes_put_be32(u->buffer, atapi_blocks(u) - 1);
    bytes_put_be32(u->buffer + 4, CD_BLOCK);
    atapi_reply(u, 8, 8);
}

/* Commands that are answered without regard to a unit attention (SFF-8020i, 7.9; MMC-3, 4.1.6.1).
 */
static bool ignores_attention(uint8_t command)
{
    return command == 0x03 || command == 0x12 || command == 0x46 || command == 0x4a;
}

static bool needs_medium(uint8_t command)
{
    switch (command) {
    case 0x00: /* TEST UNIT READY, READ (6, 10, 12), SEEK, READ CAPACITY, READ TOC, ... */
    case 0x08:
    case 0x0b:
    case 0x25:
    case 0x28:
    case 0x2b:
    case 0x42:
    case 0x43:
    case 0x44:
    case 0x45:
    case 0x47:
    case 0x48:
    case 0x4b:
    case 0x4e:
    case 0x51:
    case 0x52:
    case 0xa5:
    case 0xa8:
    case 0xb9:
    case 0xba:
    case 0xbe:
        return true;
    default:
        return false;
    }
}

/* False: the command has been ended with the sense data that stand in its way. */
static bool may_run(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    uint8_t command = cd->packet[0];
    if (ignores_attention(command)) {
        return true;
    }
    if (attention_is_due(u)) {
        uint8_t asc = cd->pending_asc;
        cd->pending_asc = 0;
        atapi_check(u, KEY_ATTENTION, asc, 0);
        return false;
    }
    if (needs_medium(command) && !atapi_has_disc(u)) {
        atapi_check(u, KEY_NOT_READY, ASC_NO_MEDIUM, cd->tray_open ? 2 : 1);
        return false;
    }
    return true;
}

static void seek(IdeUnit *u, uint32_t lba)
{
    if (lba >= atapi_blocks(u)) {
        atapi_check(u, KEY_ILLEGAL, ASC_RANGE, 0);
    } else {
        atapi_audio_stop(u);
        atapi_good(u);
    }
}

static bool reading_command(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    switch (p[0]) {
    case 0x08:
        start_read(u, bytes_be32(p) & 0x1fffff, p[4] ? p[4] : 256, FORM_USER);
        return true;
    case 0x28:
        start_read(u, bytes_be32(p + 2), bytes_be16(p + 7), FORM_USER);
        return true;
    case 0xa8:
        start_read(u, bytes_be32(p + 2), bytes_be32(p + 6), FORM_USER);
        return true;
    case 0xbe: /* READ CD */
        read_cd(u, bytes_be32(p + 2), bytes_be32(p + 5) & 0xffffff);
        return true;
    case 0xb9: { /* READ CD MSF */
        uint32_t from = cd_lba(p + 3), to = cd_lba(p + 6);
        if (to < from) {
            atapi_check(u, KEY_ILLEGAL, ASC_FIELD, 0);
        } else {
            read_cd(u, from, to - from);
        }
        return true;
    }
    case 0x0b: /* SEEK (6, 10) */
        seek(u, bytes_be32(p) & 0x1fffff);
        return true;
    case 0x2b:
        seek(u, bytes_be32(p + 2));
        return true;
    case 0x25:
        read_capacity(u);
        return true;
    default:
        return false;
    }
}

static void run_command(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    if (reading_command(u) || atapi_information(u) || atapi_audio(u)) {
        return;
    }
    switch (cd->packet[0]) {
    case 0x00: /* TEST UNIT READY, REZERO UNIT, SET CD SPEED, SET READ AHEAD, SYNCHRONIZE CACHE */
    case 0x01:
    case 0xbb:
    case 0xa7:
    case 0x35:
        atapi_good(u);
        break;
    case 0x03:
        request_sense(u);
        break;
    case 0x1b:
        start_stop(u);
        break;
    case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
        cd->locked = cd->packet[4] & 1;
        atapi_good(u);
        break;
    default:
        log_guest("%s: packet command 0x%x is unknown", u->name, cd->packet[0]);
        atapi_check(u, KEY_ILLEGAL, 0x20, 0);
    }
}

void atapi_run(IdeUnit *u)
{
    u->g.at = u->g.block_end = u->g.size = 0;
    const uint8_t *p = u->g.cd.packet;
    log_trace("%s: packet %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x, limit 0x%x%s", u->name,
              p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], u->g.cd.byte_limit,
              u->g.cd.dma ? ", DMA" : "");
    if (p[0] != 0x03) { /* sense data live until the next command */
        u->g.cd.sense_key = u->g.cd.asc = u->g.cd.ascq = 0;
    }
    if (may_run(u)) {
        run_command(u);
    }
}

/* Ready for the packet: DRQ without INTRQ, as IDENTIFY PACKET DEVICE says. */
void atapi_packet_ready(IdeUnit *u)
{
    u->g.flow = FLOW_PACKET;
    u->g.at = 0;
    u->g.size = PACKET_BYTES;
    u->g.r.count = IR_COD;
    ide_open_block(u, PACKET_BYTES, false);
}

void atapi_command(IdeUnit *u, uint8_t command)
{
    switch (command) {
    case 0xa0:                    /* PACKET */
        if (u->g.r.feature & 2) { /* overlapped: not supported */
            ide_finish(u, ER_ABRT, true);
            break;
        }
        u->g.cd.dma = u->g.r.feature & 1;
        u->g.cd.byte_limit = (uint16_t)(u->g.r.mid | u->g.r.high << 8);
        ide_later(u, ACT_PACKET, IDE_BLOCK_NS);
        break;
    case 0xa1: /* IDENTIFY PACKET DEVICE */
        ide_identify_packet(u, u->buffer);
        u->g.flow = FLOW_REPLY;
        u->g.at = 0;
        u->g.size = BLOCK_SECTOR;
        u->g.r.status |= ST_DRDY;
        ide_later(u, ACT_BLOCK, IDE_COMMAND_NS);
        break;
    case 0x08: /* DEVICE RESET: the signature, and no interrupt */
        atapi_reset(u, false);
        u->g.r.status = 0;
        ide_later(u, ACT_RESET, IDE_COMMAND_NS);
        break;
    case 0xec: /* IDENTIFY DEVICE, READ SECTORS: aborted with the signature, so that hosts know us
                */
    case 0x20:
        ide_put_signature(u);
        ide_finish(u, ER_ABRT, true);
        break;
    case 0xef:
        if (ata_set_features(u)) {
            ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
        } else {
            ide_finish(u, ER_ABRT, true);
        }
        break;
    case 0xe0: /* power management */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
        break;
    case 0xe5:
        u->g.r.count = 0xff;
        ide_later(u, ACT_FINISH, IDE_COMMAND_NS);
        break;
    default:
        log_guest("%s: command 0x%x is aborted", u->name, command);
        ide_finish(u, ER_ABRT, true);
    }
}

void atapi_reset(IdeUnit *u, bool power)
{
    CdState *cd = &u->g.cd;
    CdState before = *cd;
    memset(cd, 0, sizeof(*cd));
    cd->audio = 0x15; /* no audio status to report */
    atapi_audio_sound(u);
    cd->tray_open = before.tray_open && !power;
    if (power) {
        cd->volume[0] = cd->volume[1] = 0xff;
        cd->pending_asc = ASC_RESET;
    } else { /* the lock falls with a hardware or device reset only (MMC-3, 6.13) */
        cd->locked = before.locked && u->g.command != 0x08;
        cd->loading_until = before.loading_until;
        cd->event = before.event; /* another disc is another disc, whatever was reset */
        cd->pending_asc = before.pending_asc;
        memcpy(cd->volume, before.volume, sizeof(cd->volume));
    }
}

void ide_change_medium(Ide *ide, unsigned drive, Block *medium)
{
    IdeUnit *u = &ide->channel[drive / 2].unit[drive % 2];
    if (u->kind != IDE_CDROM) {
        block_queue_retire(ide->config.queue, medium);
        return;
    }
    bool reading = u->g.flow == FLOW_PACKET_READ;
    if (reading) {
        ide_stop(u);
    }
    atapi_audio_stop(u);
    block_queue_retire(ide->config.queue, u->medium);
    if (atapi_has_disc(u) || !medium) {
        u->g.cd.loading_until = ide_now(u) + LOADING_NS;
    }
    u->medium = medium;
    u->g.cd.tray_open = false;
    u->g.cd.pending_asc = medium ? ASC_NEW_MEDIUM : 0;
    u->g.cd.event = medium ? EVENT_NEW : EVENT_REMOVED;
    if (reading) {
        atapi_check(u, KEY_NOT_READY, ASC_NO_MEDIUM, 2);
    }
}

bool ide_eject(Ide *ide, unsigned drive, bool force)
{
    IdeUnit *u = &ide->channel[drive / 2].unit[drive % 2];
    if (u->kind != IDE_CDROM) {
        return false;
    }
    if (u->g.cd.locked && !u->g.cd.tray_open && !force) {
        u->g.cd.event = EVENT_EJECT;
        return false;
    }
    ide_change_medium(ide, drive, NULL);
    u->g.cd.tray_open = true;
    return true;
}

void ide_drive_info(const Ide *ide, unsigned drive, IdeDriveInfo *info)
{
    const IdeUnit *u = &ide->channel[drive / 2].unit[drive % 2];
    *info = (IdeDriveInfo){u->kind, u->medium, u->g.cd.locked, u->g.cd.tray_open};
}

void atapi_state(IdeUnit *u, StateIo *io)
{
    CdState *cd = &u->g.cd;
    state_bytes(io, "packet", cd->packet, sizeof(cd->packet));
    state_u8(io, "sense_key", &cd->sense_key);
    state_u8(io, "asc", &cd->asc);
    state_u8(io, "ascq", &cd->ascq);
    state_u8(io, "pending_asc", &cd->pending_asc);
    if (state_since(io, 2)) {
        state_i64(io, "loading_until", &cd->loading_until);
    } else {
        bool show_absent = false; /* the next command was told that there is no disc */
        state_bool(io, "show_absent", &show_absent);
        cd->loading_until = 0;
    }
    state_u8(io, "event", &cd->event);
    state_bool(io, "tray_open", &cd->tray_open);
    state_bool(io, "locked", &cd->locked);
    state_u16(io, "byte_limit", &cd->byte_limit);
    state_u8(io, "read_form", &cd->read_form);
    state_bool(io, "dma", &cd->dma);
    state_u8(io, "audio", &cd->audio);
    state_u32(io, "audio_at", &cd->audio_at);
    state_u32(io, "audio_end", &cd->audio_end);
    state_i64(io, "audio_since", &cd->audio_since);
    state_bytes(io, "volume", cd->volume, sizeof(cd->volume));
    state_check(io, cd->audio_at <= AUDIO_FARTHEST && cd->audio_end <= AUDIO_FARTHEST,
                "the head is beyond the disc");
    state_check(io, cd->audio_since >= 0 && cd->audio_since <= ide_now(u) + CLOCK_NS_PER_S,
                "audio of the future");
    state_check(io, cd->loading_until >= 0 && cd->loading_until <= ide_now(u) + LOADING_NS,
                "a disc of the future");
}
