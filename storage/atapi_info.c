/* ATAPI CD-ROM: what the drive says about itself and the disc. INQUIRY, MODE SENSE and SELECT, READ
 * TOC, GET CONFIGURATION, events, disc information, mechanism and performance.
 *
 * SFF-8020i for the older ones, MMC-3 for the rest. Each answer is built in the unit's buffer.
 */
#include <string.h>

#include "machine/core/bytes.h"
#include "storage/cd.h"
#include "storage/ide_internal.h"

enum {
    KEY_ILLEGAL = 5,
    ASC_FIELD = 0x24,
    ASC_PARAMETER = 0x26,
    MAX_PARAMETERS = 256, /* MODE SELECT: longer lists are refused */
    READ_KB = 5632,       /* 32 x */
};

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
    if (msf) {
        p[0] = 0;
        cd_msf(lba, p + 1);
    } else {
        bytes_put_be32(p, lba);
    }
}

static void bad_field(IdeUnit *u)
{
    atapi_check(u, KEY_ILLEGAL, ASC_FIELD, 0);
}

static void inquiry(IdeUnit *u)
{
    uint8_t *r = u->buffer;
    if (u->g.cd.packet[1] & 1) { /* vital product data: none */
        bad_field(u);
        return;
    }
    memset(r, 0, 36);
    r[0] = 0x05; /* CD-ROM */
    r[1] = 0x80; /* removable */
    r[3] = 0x21; /* ATAPI version 2, response format 1 */
    r[4] = 31;
    memcpy(r + 8, "VITRINE ", 8);
    memcpy(r + 16, "CD-ROM          ", 16);
    memcpy(r + 32, "1.0 ", 4);
    atapi_reply(u, 36, u->g.cd.packet[4]);
}

static uint32_t toc_tracks(uint8_t *r, const CdToc *toc, bool msf, unsigned first)
{
    uint32_t size = 4;
    r[2] = 1;
    r[3] = (uint8_t)toc->tracks;
    for (unsigned i = first ? first : 1; i <= toc->tracks + 1; i++) {
        bool lead_out = i == toc->tracks + 1;
        const CdTrack *track = &toc->track[lead_out ? toc->tracks - 1 : i - 1];
        memset(r + size, 0, 8);
        r[size + 1] = 0x10 | track->control;
        r[size + 2] = (uint8_t)(lead_out ? 0xaa : i);
        put_address(r + size + 4, lead_out ? toc->lead_out : track->start, msf);
        size += 8;
    }
    return size;
}

static uint32_t toc_sessions(uint8_t *r, const CdToc *toc, bool msf)
{
    memset(r, 0, 12);
    r[2] = r[3] = 1; /* one session */
    r[5] = 0x10 | toc->track[0].control;
    r[6] = 1;
    put_address(r + 8, toc->track[0].start, msf);
    return 12;
}

/* The lead-in's own entries: points A0h, A1h, A2h and the tracks. */
static uint32_t toc_full(uint8_t *r, const CdToc *toc)
{
    uint32_t size = 4;
    r[2] = r[3] = 1;
    for (unsigned i = 0; i < 3 + toc->tracks; i++) {
        uint8_t *entry = r + size;
        const CdTrack *track = &toc->track[i < 3 ? (i == 1 ? toc->tracks - 1 : 0) : i - 3];
        memset(entry, 0, 11);
        entry[0] = 1;
        entry[1] = 0x10 | track->control;
        entry[3] = (uint8_t)(i < 3 ? 0xa0 + i : i - 2);
        if (i == 0) {
            entry[8] = 1;
        } else if (i == 1) {
            entry[8] = (uint8_t)toc->tracks;
        } else {
            cd_msf(i == 2 ? toc->lead_out : track->start, entry + 8);
        }
        size += 11;
    }
    return size;
}

static void read_toc(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer;
    bool msf = p[1] & 2;
    unsigned format = p[2] & 15, first = p[6];
    CdToc toc;
    uint32_t size;
    format = format ? format : p[9] >> 6; /* where SFF-8020i had it */
    cd_toc(u->medium, &toc);
    if (format == 0) {
        if (first > toc.tracks && first != 0xaa) {
            bad_field(u);
            return;
        }
        size = toc_tracks(r, &toc, msf, first == 0xaa ? toc.tracks + 1 : first);
    } else if (format == 1) {
        size = toc_sessions(r, &toc, msf);
    } else if (format == 2) {
        size = toc_full(r, &toc);
    } else {
        bad_field(u);
        return;
    }
    bytes_put_be16(r, (uint16_t)(size - 2));
    atapi_reply(u, size, be16(p + 7));
}

/* Mode pages. changeable: the mask of what MODE SELECT may set. */
static uint32_t mode_page(const IdeUnit *u, uint8_t *r, uint8_t page, bool changeable)
{
    memset(r, 0, 32);
    r[0] = page;
    switch (page) {
    case 0x01: /* error recovery */
        r[1] = 6;
        r[3] = changeable ? 0 : 3; /* retries */
        return 8;
    case 0x0d: /* CD-ROM parameters: seconds a minute, frames a second */
        r[1] = 6;
        if (!changeable) {
            r[5] = 60;
            r[7] = 75;
        }
        return 8;
    case 0x0e: /* audio control: two ports, left and right */
        r[1] = 14;
        r[2] = changeable ? 0 : 4; /* immediate */
        r[8] = changeable ? 0 : 1;
        r[9] = changeable ? 0xff : u->g.cd.volume[0];
        r[10] = changeable ? 0 : 2;
        r[11] = changeable ? 0xff : u->g.cd.volume[1];
        return 16;
    case 0x1a: /* power */
        r[1] = 10;
        return 12;
    case 0x2a: /* capabilities */
        r[1] = 18;
        if (!changeable) {
            r[4] = 0x71; /* audio play, mode 2 forms 1 and 2, multisession */
            r[5] = 0x03; /* CD-DA reads, accurate */
            r[6] = (uint8_t)(0x29 | (u->g.cd.locked ? 0x02 : 0)); /* tray, eject, lock */
            r[7] = 0x03; /* volume and mute for each channel */
            bytes_put_be16(r + 8, READ_KB);
            bytes_put_be16(r + 10, 256); /* volume levels */
            bytes_put_be16(r + 12, 512); /* KiB of buffer */
            bytes_put_be16(r + 14, READ_KB);
        }
        return 20;
    default:
        return 0;
    }
}

/* Medium type of the mode header (SFF-8020i, table 60). */
static uint8_t medium_type(const IdeUnit *u)
{
    if (u->g.cd.tray_open) {
        return 0x71;
    }
    if (!u->medium) {
        return 0x70;
    }
    CdToc toc;
    cd_toc(u->medium, &toc);
    bool data = false, audio = false;
    for (unsigned i = 0; i < toc.tracks; i++) {
        data |= toc.track[i].control & 4;
        audio |= !(toc.track[i].control & 4);
    }
    return data && audio ? 0x03 : audio ? 0x02 : 0x01;
}

static void mode_sense(IdeUnit *u, bool ten)
{
    static const uint8_t all[] = {0x01, 0x0d, 0x0e, 0x1a, 0x2a};
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer, wanted = p[2] & 0x3f, control = p[2] >> 6;
    uint32_t head = ten ? 8 : 4, size = head;
    if (control == 3) { /* saved values */
        atapi_check(u, KEY_ILLEGAL, 0x39, 0);
        return;
    }
    memset(r, 0, head);
    for (unsigned i = 0; i < sizeof(all); i++) {
        if (wanted == 0x3f || wanted == all[i]) {
            size += mode_page(u, r + size, all[i], control == 1);
        }
    }
    if (size == head) {
        bad_field(u);
        return;
    }
    if (ten) {
        bytes_put_be16(r, (uint16_t)(size - 2));
        r[2] = medium_type(u);
    } else {
        r[0] = (uint8_t)(size - 1);
        r[1] = medium_type(u);
    }
    atapi_reply(u, size, ten ? be16(p + 7) : p[4]);
}

static void begin_mode_select(IdeUnit *u, bool ten)
{
    const uint8_t *p = u->g.cd.packet;
    uint32_t length = ten ? be16(p + 7) : p[4];
    if (length > MAX_PARAMETERS || p[1] & 1) { /* nothing can be saved */
        bad_field(u);
    } else if (length == 0) {
        atapi_good(u);
    } else if (u->g.cd.dma) {
        /* No driver sends parameters by DMA; the direction of the answer path is to memory. */
        bad_field(u);
    } else {
        u->g.flow = FLOW_PACKET_STORE;
        u->g.at = 0;
        u->g.size = length;
        atapi_next_block(u);
    }
}

/* The parameter list has come in: u->buffer, u->g.size bytes. */
void atapi_mode_select(IdeUnit *u)
{
    const uint8_t *list = u->buffer;
    bool ten = u->g.cd.packet[0] == 0x55;
    uint32_t at = ten ? 8 : 4, size = u->g.size;
    if (size < at) {
        atapi_check(u, KEY_ILLEGAL, 0x1a, 0); /* parameter list length error */
        return;
    }
    at += ten ? be16(list + 6) : list[3]; /* block descriptors */
    while (at + 2 <= size) {
        uint32_t length = list[at + 1] + 2u;
        if (at + length > size) {
            atapi_check(u, KEY_ILLEGAL, 0x1a, 0);
            return;
        }
        if ((list[at] & 0x3f) == 0x0e && length >= 16) {
            u->g.cd.volume[0] = list[at + 9];
            u->g.cd.volume[1] = list[at + 11];
        }
        at += length;
    }
    u->g.at = u->g.size = u->g.block_end = 0;
    u->g.flow = FLOW_NONE;
    ide_later(u, ACT_GOOD, IDE_COMMAND_NS);
}

static uint32_t put_feature(uint8_t *r, unsigned code, bool current, uint8_t length)
{
    bytes_put_be16(r, (uint16_t)code);
    r[2] = (uint8_t)((current ? 1 : 0) | (code == 0 || code == 1 || code == 3 ? 2 : 0));
    r[3] = length;
    memset(r + 4, 0, length);
    return 4u + length;
}

static void get_configuration(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer, which = p[1] & 3;
    unsigned from = be16(p + 2);
    bool disc = atapi_has_disc(u);
    static const struct {
        uint16_t code;
        uint8_t length;
    } features[] = {{0x0000, 4}, {0x0001, 8}, {0x0003, 4}, {0x0010, 8},
                    {0x001e, 4}, {0x0100, 0}, {0x0103, 4}, {0x0105, 0}};
    uint32_t size = 8;
    if (which == 3) {
        bad_field(u);
        return;
    }
    memset(r, 0, 8);
    bytes_put_be16(r + 6, disc ? 0x0008 : 0); /* current profile: CD-ROM */
    for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        unsigned code = features[i].code;
        bool on_disc = code == 0x10 || code == 0x1e || code == 0x103;
        bool current = disc || !on_disc;
        if ((which == 2 && code != from) || code < from || (which == 1 && !current)) {
            continue;
        }
        uint8_t *f = r + size;
        size += put_feature(f, code, current, features[i].length);
        switch (code) {
        case 0x0000: /* profile list */
            bytes_put_be16(f + 4, 0x0008);
            f[6] = disc ? 1 : 0;
            break;
        case 0x0001: /* core: ATAPI */
            bytes_put_be32(f + 4, 2);
            break;
        case 0x0003: /* removable: tray, eject, lock */
            f[4] = 0x29;
            break;
        case 0x0010: /* random readable */
            bytes_put_be32(f + 4, CD_BLOCK);
            bytes_put_be16(f + 8, 1);
            break;
        case 0x0103: /* audio: volumes apart */
            f[4] = 0x03;
            bytes_put_be16(f + 6, 256);
            break;
        default:
            break;
        }
    }
    bytes_put_be32(r, size - 4);
    atapi_reply(u, size, be16(p + 7));
}

static void get_event(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer;
    if (!(p[1] & 1)) { /* asynchronous: not supported */
        bad_field(u);
        return;
    }
    memset(r, 0, 8);
    r[3] = 0x10; /* classes we know: media */
    if (!(p[4] & 0x10)) {
        r[1] = 2;
        r[2] = 0x80; /* no event available */
        atapi_reply(u, 4, be16(p + 7));
        return;
    }
    r[1] = 6;
    r[2] = 4;
    bool loading = u->g.cd.event == EVENT_NEW && !atapi_has_disc(u);
    r[4] = loading ? 0 : u->g.cd.event;
    r[5] = (uint8_t)((u->g.cd.tray_open ? 1 : 0) | (atapi_has_disc(u) ? 2 : 0));
    u->g.cd.event = loading ? EVENT_NEW : 0;
    atapi_reply(u, 8, be16(p + 7));
}

static void disc_information(IdeUnit *u)
{
    uint8_t *r = u->buffer;
    CdToc toc;
    cd_toc(u->medium, &toc);
    memset(r, 0, 34);
    bytes_put_be16(r, 32);
    r[2] = 0x0e; /* last session complete, disc complete */
    r[3] = r[4] = r[5] = 1;
    r[6] = (uint8_t)toc.tracks;
    r[7] = 0x20; /* unrestricted use */
    memset(r + 16, 0xff, 8);
    atapi_reply(u, 34, be16(u->g.cd.packet + 7));
}

static void track_information(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer;
    uint32_t wanted = be16(p + 2) << 16 | be16(p + 4);
    CdToc toc;
    cd_toc(u->medium, &toc);
    unsigned n = 0;
    if ((p[1] & 3) == 1) {
        n = wanted;
    } else if ((p[1] & 3) == 0) {
        while (n < toc.tracks && toc.track[n].start <= wanted) {
            n++;
        }
    } else if (wanted == 1) {
        n = 1;
    }
    if (n < 1 || n > toc.tracks) {
        bad_field(u);
        return;
    }
    const CdTrack *track = &toc.track[n - 1];
    uint32_t end = n < toc.tracks ? toc.track[n].start : toc.lead_out;
    memset(r, 0, 36);
    bytes_put_be16(r, 34);
    r[2] = (uint8_t)n;
    r[3] = 1;
    r[5] = track->control;
    r[6] = track->mode ? track->mode : 0x0f; /* data mode */
    bytes_put_be32(r + 8, track->start);
    bytes_put_be32(r + 24, end - track->start);
    atapi_reply(u, 36, be16(p + 7));
}

static void read_header(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer;
    uint32_t lba = be16(p + 2) << 16 | be16(p + 4);
    if (lba >= atapi_blocks(u)) {
        atapi_check(u, KEY_ILLEGAL, 0x21, 0);
        return;
    }
    memset(r, 0, 8);
    CdToc toc;
    cd_toc(u->medium, &toc);
    r[0] = toc.track[cd_track_at(&toc, lba) - 1].mode;
    put_address(r + 4, lba, p[1] & 2);
    atapi_reply(u, 8, be16(p + 7));
}

static void mechanism_status(IdeUnit *u)
{
    uint8_t *r = u->buffer;
    memset(r, 0, 8);
    r[1] = u->g.cd.tray_open ? 0x10 : 0;
    r[5] = 0; /* no changer slots */
    atapi_reply(u, 8, be16(u->g.cd.packet + 8));
}

static void get_performance(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    uint8_t *r = u->buffer;
    if (p[10] != 0 || !atapi_has_disc(u)) {
        bad_field(u);
        return;
    }
    memset(r, 0, 24);
    bytes_put_be32(r, 20);
    bytes_put_be32(r + 12, READ_KB); /* from the first to the last sector, the same speed */
    bytes_put_be32(r + 16, atapi_blocks(u) - 1);
    bytes_put_be32(r + 20, READ_KB);
    uint32_t descriptors = be16(p + 8);
    atapi_reply(u, descriptors ? 24 : 8, 24);
}

bool atapi_information(IdeUnit *u)
{
    switch (u->g.cd.packet[0]) {
    case 0x12:
        inquiry(u);
        return true;
    case 0x43:
        read_toc(u);
        return true;
    case 0x44:
        read_header(u);
        return true;
    case 0x1a:
        mode_sense(u, false);
        return true;
    case 0x5a:
        mode_sense(u, true);
        return true;
    case 0x15:
        begin_mode_select(u, false);
        return true;
    case 0x55:
        begin_mode_select(u, true);
        return true;
    case 0x46:
        get_configuration(u);
        return true;
    case 0x4a:
        get_event(u);
        return true;
    case 0x51:
        disc_information(u);
        return true;
    case 0x52:
        track_information(u);
        return true;
    case 0xbd:
        mechanism_status(u);
        return true;
    case 0xac:
        get_performance(u);
        return true;
    default:
        return false;
    }
}
