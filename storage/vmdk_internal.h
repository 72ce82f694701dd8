/* Shared by the files of the VMDK format.
 */
#ifndef STORAGE_VMDK_INTERNAL_H
#define STORAGE_VMDK_INTERNAL_H

#include "machine/core/bytes.h"
#include "storage/block_format.h"

enum {
    VMDK_HEADER = 512,
    VMDK_FLAG_REDUNDANT = 0x2,
    VMDK_FLAG_ZERO_GRAINS = 0x4,
    VMDK_FLAG_COMPRESSED = 0x10000,
    VMDK_FLAG_MARKERS = 0x20000,
    VMDK_MAX_EXTENTS = 256,
    VMDK_MAX_DESCRIPTOR = 65536,
    VMDK_MAX_DIRECTORY = 1 << 22, /* entries */
    VMDK_MAX_TABLE = 4096,        /* entries of a grain table */
    VMDK_MAX_GRAIN = 1 << 21,     /* bytes */
    VMDK_MAX_DEPTH = 32,
};

#define VMDK_GD_AT_END UINT64_MAX

typedef enum VmdkExtentKind {
    VMDK_EXTENT_FLAT,
    VMDK_EXTENT_SPARSE,
    VMDK_EXTENT_ZERO
} VmdkExtentKind;

typedef struct VmdkExtent {
    VmdkExtentKind kind;
    uint64_t start, size; /* bytes of the disk */
    DiskFile file;
    char *path;           /* of a file that was opened here; NULL: it is the Block's */
    uint64_t file_offset; /* flat: where it begins in the file */
    /* sparse */
    uint32_t flags, grain, table_size; /* bytes; entries */
    uint32_t *directory, *second;      /* sectors of the grain tables; the redundant ones or NULL */
    uint64_t directory_at;
    uint32_t directory_size;
    uint64_t end;      /* of the file, where the next grain goes */
    uint32_t *table;   /* the grain table last used, */
    uint32_t table_of; /* and its place in the directory; UINT32_MAX: none */
} VmdkExtent;

typedef struct Vmdk {
    VmdkExtent extent[VMDK_MAX_EXTENTS];
    unsigned extents;
    uint8_t *grain, *packed;     /* scratch: a grain; a compressed one */
    VmdkExtent *unpacked_in;     /* whose grain at */
    uint32_t unpacked;           /* this sector is in `grain`; 0: none */
    char kind[32], parent[1024]; /* createType; the parent's name, empty: none */
    uint64_t content_at;     /* where in the Block's file the digits of its CID stand; 0: nowhere */
    unsigned content_digits; /* 1..8 */
    uint32_t content;        /* CID: another after the first write, so that children notice */
    bool content_changed;
    bool stream;           /* a streamOptimized image that is being written */
    uint64_t table_number; /* then: which grain table extent[0].table is */
} Vmdk;

/* The value of the descriptor's line that begins here, `key=value` or `key="value"`, cut to the
 * room. False: it is another's. */
bool vmdk_value(const char *line, const char *key, char *value, size_t room);

enum { VMDK_MARKER_TABLE = 1, VMDK_MARKER_DIRECTORY = 2, VMDK_MARKER_FOOTER = 3 };
/* A sector that says what follows in a stream. */
void vmdk_marker(uint8_t *sector, uint64_t sectors, uint32_t type);

/* vmdk_stream.c: a streamOptimized image that has no grains yet is made ready to be written. */
bool vmdk_stream_begin(Block *b, const uint8_t *header, Err *err);
int vmdk_stream_write(Block *b, uint64_t offset, const void *data, size_t length);
/* Tables, footer and end mark behind the last grain. */
int vmdk_stream_finish(Block *b);

#endif
