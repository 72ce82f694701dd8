/* TD0 floppy images (Sydex TeleDisk; its format as described by Dave Dunfield, "Notes on TeleDisk's
 * file format", and Will Krantz): read, also with advanced compression of version 2.
 *
 * Head, a comment, tracks of sectors each with flags and data in one of three simple codes.
 * Checksums of the head and of the tracks must be right; a sector whose data's is wrong is shown as
 * bad. Not supported: disks in several files, the packing of versions before 2.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "storage/floppy_internal.h"

enum {
    HEAD = 12,
    COMMENT_HEAD = 10,
    HAS_COMMENT = 0x80, /* in the stepping byte */
    NO_MORE_TRACKS = 0xff,
    IS_FM = 0x80,       /* in the rate byte and in a track's head */
    FIRST_HUFFMAN = 20, /* the version */
    POLYNOMIAL = 0xa097,
    /* a sector's flags */
    FLAG_CRC_ERROR = 0x02,
    FLAG_DELETED = 0x04,
    FLAG_SKIPPED = 0x10, /* not allocated: no data kept */
    FLAG_NO_DATA = 0x20,
    FLAG_NO_ID = 0x40,
};

static int td0_probe(const BlockProbe *p)
{
    if (p->head_size < HEAD || (memcmp(p->head, "TD", 3) != 0 && memcmp(p->head, "td", 3) != 0)) {
        return 0;
    }
    return 100;
}

static uint16_t checksum(const uint8_t *p, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)p[i] << 8;
        for (unsigned j = 0; j < 8; j++) {
            crc = crc << 1 ^ (crc & 0x8000 ? POLYNOMIAL : 0);
        }
        crc &= 0xffff;
    }
    return (uint16_t)crc;
}

static bool bad(const Block *b, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged TD0 image: %s", b->path, what);
}

typedef struct Cursor {
    const uint8_t *at, *end;
} Cursor;

static const uint8_t *take(Cursor *c, size_t bytes)
{
    const uint8_t *p = c->at;
    if ((size_t)(c->end - c->at) < bytes) {
        return NULL;
    }
    c->at += bytes;
    return p;
}

/* Pairs of bytes, repeated. */
static bool unpack_pairs(Cursor c, uint8_t *out, size_t room)
{
    size_t made = 0;
    while (made < room) {
        const uint8_t *p = take(&c, 4);
        if (!p) {
            return false;
        }
        for (unsigned left = bytes_le16(p); left && made + 2 <= room; left--, made += 2) {
            memcpy(out + made, p + 2, 2);
        }
        if (bytes_le16(p) == 0) {
            return false; /* it would go on for ever */
        }
    }
    return true;
}

/* Bytes as they are, and short pieces repeated. */
static bool unpack_runs(Cursor c, uint8_t *out, size_t room)
{
    size_t made = 0;
    while (made < room) {
        const uint8_t *p = take(&c, 2);
        if (!p || p[1] == 0) {
            return false;
        }
        size_t length = p[0] ? 2u * p[0] : p[1], times = p[0] ? p[1] : 1;
        const uint8_t *piece = take(&c, length);
        for (; piece && times && made + length <= room; times--, made += length) {
            memcpy(out + made, piece, length);
        }
        if (!piece || times) {
            return false;
        }
    }
    return true;
}

/* False: the data are not what the sector has room for. */
static bool unpack_sector(Cursor c, unsigned code, uint8_t *out, size_t room)
{
    const uint8_t *plain;
    switch (code) {
    case 0:
        plain = take(&c, room);
        if (plain) {
            memcpy(out, plain, room);
        }
        return plain != NULL;
    case 1:
        return unpack_pairs(c, out, room);
    case 2:
        return unpack_runs(c, out, room);
    default:
        return false;
    }
}

/* One sector's head and data; *s is filled, and its bytes when `data` has room for them. */
static bool read_sector(Cursor *c, FloppySector *s, uint8_t *data)
{
    const uint8_t *head = take(c, 6);
    if (!head || head[3] > FLOPPY_MAX_CODE) {
        return false;
    }
    uint32_t offset = s->offset;
    *s = (FloppySector){head[0], head[1], head[2], head[3], 0, offset};
    s->flags = (head[4] & FLAG_CRC_ERROR ? FLOPPY_BAD_DATA : 0) |
               (head[4] & FLAG_DELETED ? FLOPPY_DELETED : 0) |
               (head[4] & FLAG_NO_DATA ? FLOPPY_NO_DATA : 0) |
               (head[4] & FLAG_NO_ID ? FLOPPY_NO_ID : 0);
    if (head[4] & (FLAG_SKIPPED | FLAG_NO_DATA)) {
        return true;
    }
    const uint8_t *length = take(c, 2);
    const uint8_t *packed = length ? take(c, bytes_le16(length)) : NULL;
    if (!packed || bytes_le16(length) < 1) {
        return false;
    }
    if (data) {
        size_t room = floppy_sector_bytes(s);
        Cursor inner = {packed + 1, packed + bytes_le16(length)};
        if (!unpack_sector(inner, packed[0], data + offset, room) ||
            (checksum(data + offset, room) & 0xff) != head[5]) {
            s->flags |= FLOPPY_BAD_DATA;
        }
    }
    return true;
}

/* The tables of all tracks. */
static bool read_tracks(Block *b, FloppyDisk *d, const uint8_t *image, Cursor c, Err *err)
{
    static const uint8_t rates[4] = {2, 1, 0, 0};
    for (;;) {
        const uint8_t *head = take(&c, 4);
        if (!head) {
            return bad(b, err, "it is cut off");
        }
        if (head[0] == NO_MORE_TRACKS) {
            return true;
        }
        unsigned cylinder = head[1], side = head[2] & 1, count = head[0];
        if ((checksum(head, 3) & 0xff) != head[3]) {
            return bad(b, err, "a track's checksum is wrong");
        }
        if (!floppy_add_track(d, cylinder, side, count)) {
            return bad(b, err, "it has more tracks than a floppy, or one of them twice");
        }
        FloppyTrack *t = &d->track[cylinder][side];
        t->fm = (head[2] | image[5]) & IS_FM;
        t->rate = rates[image[5] & 3];
        for (unsigned i = 0; i < count; i++) {
            if (!read_sector(&c, &t->sector[i], NULL)) {
                return bad(b, err, "a sector is cut off or out of range");
            }
        }
    }
}

/* The data, once every sector has its place. */
static void read_data(FloppyDisk *d, Cursor c)
{
    const uint8_t *head;
    while ((head = take(&c, 4)) != NULL && head[0] != NO_MORE_TRACKS) {
        FloppyTrack *t = &d->track[head[1]][head[2] & 1];
        for (unsigned i = 0; i < head[0]; i++) {
            (void)read_sector(&c, &t->sector[i], d->data); /* its form has been checked */
        }
    }
}

static bool good_head(const Block *b, const uint8_t *h, size_t size, Err *err)
{
    if (size < HEAD || (memcmp(h, "TD", 3) != 0 && memcmp(h, "td", 3) != 0)) {
        return bad(b, err, "it has no head");
    }
    if (bytes_le16(h + 10) != checksum(h, 10)) {
        return bad(b, err, "its head's checksum is wrong");
    }
    if (h[0] == 't' && h[4] < FIRST_HUFFMAN) {
        return err_set(err,
                       "'%s' is packed by TeleDisk %u.%u, which is not supported; unpack it with "
                       "TeleDisk's TDCHECK of version 2",
                       b->path, h[4] / 10, h[4] % 10);
    }
    return true;
}

/* What follows the head, unpacked; the caller frees it. */
static uint8_t *load_body(const uint8_t *image, size_t size, size_t *length)
{
    bool packed = image[0] == 't';
    size_t room = packed ? FLOPPY_MAX_BYTES + (1 << 20) : size - HEAD;
    uint8_t *body = malloc(room ? room : 1);
    *length = 0;
    if (body && packed) {
        *length = td0_unpack(image + HEAD, size - HEAD, body, room);
    } else if (body) {
        memcpy(body, image + HEAD, room);
        *length = room;
    }
    return body;
}

static bool read_body(Block *b, FloppyDisk *d, const uint8_t *image, Cursor c, Err *err)
{
    if (image[7] & HAS_COMMENT) {
        const uint8_t *head = take(&c, COMMENT_HEAD);
        if (!head || !take(&c, bytes_le16(head + 2))) {
            return bad(b, err, "its comment is cut off");
        }
    }
    if (!read_tracks(b, d, image, c, err)) {
        return false;
    }
    if (!floppy_lay_out(d)) {
        return bad(b, err, "it holds no sectors, or too many");
    }
    read_data(d, c);
    return true;
}

static bool td0_open(Block *b, const BlockOptions *options, Err *err)
{
    uint8_t *image;
    size_t size, length;
    (void)options;
    if (!floppy_load(b, &image, &size, err)) {
        return false;
    }
    uint8_t *body = NULL;
    FloppyDisk *d = calloc(1, sizeof(*d));
    bool good = d != NULL || err_set(err, "'%s': out of memory", b->path);
    good = good && good_head(b, image, size, err);
    if (good) {
        body = load_body(image, size, &length);
        good = body != NULL || err_set(err, "'%s': out of memory", b->path);
    }
    good = good && read_body(b, d, image, (Cursor){body, body + length}, err) && floppy_ready(b, d);
    free(image);
    free(body);
    if (!good) {
        floppy_free(d);
    }
    return good;
}

const BlockFormat block_td0 = {
    .name = "td0",
    .probe = td0_probe,
    .open = td0_open,
    .close = floppy_close,
    .read = floppy_read,
    .write = floppy_write,
    .flush = floppy_flush,
    .map = floppy_map,
    .parallel = true,
};
