/* Shared by the files that save and load snapshots.
 */
#ifndef MACHINE_SNAPSHOT_INTERNAL_H
#define MACHINE_SNAPSHOT_INTERNAL_H

#include "machine/snapshot.h"
#include "storage/snapshot.h"
#include "storage/snapshot_place.h"

enum {
    META_LIMIT = 65536, /* bytes of the sections */
    THUMB_LIMIT = 1 << 20,
    DEVICES_LIMIT = 64 << 20,
    MAX_BLOCKS = 16, /* of memory */
    MAX_CHAIN = 16,  /* snapshots below one */
};
/* A larger disk that is no qcow2 image would need too large a table. */
#define DISK_LIMIT (UINT64_C(64) << 30)

typedef enum DiskKind {
    DISK_ABSENT,
    DISK_FIXED, /* read-only: must be there again */
    DISK_PAGES, /* copied into the snapshot */
    DISK_IMAGE, /* keeps an internal snapshot */
} DiskKind;

typedef struct SnapshotDisk {
    unsigned kind; /* DiskKind */
    char id[32];
    char file[256]; /* without its folder */
    uint64_t size;  /* bytes */
    Block *image;   /* lent; not saved */
    BlockTrack *track;
    uint64_t first; /* its first page */
} SnapshotDisk;

/* What a snapshot says of its machine. */
typedef struct SnapshotMeta {
    char name[64], note[256], parent[64];
    uint8_t id[16];      /* random; zeros: of a version that had none */
    char base[256];      /* the file beside it that lends it pages of disks; "": none */
    uint8_t base_id[16]; /* what must lie there */
    uint64_t time_s, guest_ns;
    uint32_t ram_mib;
    char cpu[32];
    struct {
        char name[32];
        uint32_t size; /* bytes */
        uint32_t at;   /* in Ram; not saved */
        uint64_t first;
    } block[MAX_BLOCKS];
    unsigned blocks;
    SnapshotDisk disk[MACHINE_MAX_DRIVES];
    uint64_t pages;   /* of all */
    char folder[900]; /* not saved: where files of this machine's snapshots lie, "" or ends in / */
    char stem[256];   /* and how their names begin */
    int home;         /* the disk whose image keeps the state, -1: none */
} SnapshotMeta;

/* How many threads pack and unpack. */
unsigned snapshot_threads(void);
/* The machine as it now is, disks included; on the machine's thread. */
bool snapshot_describe(const SnapshotHost *host, SnapshotMeta *meta, Err *err);
/* The same, carried there. */
bool snapshot_ask(const SnapshotHost *host, SnapshotMeta *meta, Err *err);
void snapshot_meta_state(SnapshotMeta *meta, StateIo *io);
/* Is `name` a path; else it must be a sound tag. */
bool snapshot_name_check(const char *name, bool *is_path, Err *err);
void snapshot_file_path(const SnapshotMeta *now, const char *name, char *path, size_t room);

/* One that is there. */
typedef struct SnapshotSource {
    SnapshotPlace *place;
    SnapshotReader *reader;
    SnapshotMeta meta;
    char *path;                  /* its file's; NULL: it lies in an image */
    struct SnapshotSource *base; /* owned; after snapshot_source_bases */
} SnapshotSource;
bool snapshot_source_open(SnapshotSource *s, const SnapshotMeta *now, const char *name, Err *err);
void snapshot_source_close(SnapshotSource *s);
/* A file by its path. */
bool snapshot_source_open_file(SnapshotSource *s, const char *path, const char *what, Err *err);
/* Opens all that it builds on, and makes sure that it is what it was. */
bool snapshot_source_bases(SnapshotSource *s, Err *err);
/* That, and reads the tables of all. */
bool snapshot_source_map(SnapshotSource *s, uint64_t pages, Err *err);
/* Are pages of one numbered as those of the other? */
bool snapshot_alike(const SnapshotMeta *a, const SnapshotMeta *b);

/* What the machine's disks differ from: a snapshot that was saved or loaded, and what was written
 * since. */
struct SnapshotLine {
    char base[256]; /* its file, without the folder; "": none */
    uint8_t id[16];
    BlockTrack *since[MACHINE_MAX_DRIVES];
};
/* Tracks of all disks that are kept in pages, from now on; the caller's. False: no memory. */
bool snapshot_line_begin(const SnapshotHost *host, const SnapshotMeta *meta,
                         BlockTrack *since[MACHINE_MAX_DRIVES]);
void snapshot_line_end(const SnapshotHost *host, BlockTrack *since[MACHINE_MAX_DRIVES]);
/* The machine goes on from this one; takes the tracks. */
void snapshot_line_set(const SnapshotHost *host, const SnapshotSource *s,
                       BlockTrack *since[MACHINE_MAX_DRIVES]);
void snapshot_line_drop(const SnapshotHost *host);
/* Snapshots that build on this file are written anew without it, before it goes. */
bool snapshot_free_of(const SnapshotHost *host, const char *path, Err *err);

/* A stretch of memory that pages go to. */
typedef struct SnapshotMemory {
    Ram *ram;
    uint64_t first; /* its first page in the snapshot */
    uint32_t at;    /* in Ram */
} SnapshotMemory;
SnapshotSink snapshot_memory_sink(SnapshotMemory *memory);

/* All that can fail; nothing changes yet. NULL and err set. */
SnapshotLazy *snapshot_lazy_new(const SnapshotHost *host, const SnapshotSource *source,
                                const SnapshotMeta *now, unsigned block, Err *err);
/* Machine's thread: from here on its block of memory comes as it is needed. Takes the source. */
void snapshot_lazy_start(SnapshotLazy *l, SnapshotSource *source, unsigned threads);

/* The machine's picture, at most 160 x 120, as PNG; NULL: there is none. */
uint8_t *snapshot_picture(Screen *screen, size_t *size);

#endif
