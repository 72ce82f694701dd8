/* What an image format offers to the block layer, and what it gets from it. For storage/ only.
 */
#ifndef STORAGE_BLOCK_FORMAT_H
#define STORAGE_BLOCK_FORMAT_H

#include <pthread.h>

#include "storage/block.h"

typedef struct BlockProbe {
    const uint8_t *head; /* the file's first bytes */
    size_t head_size;
    const uint8_t *tail; /* its last 512 bytes */
    uint64_t size;       /* of the file, bytes */
    const char *path;
} BlockProbe;

struct CdToc;

typedef struct BlockFormat {
    const char *name;
    /* 0: not this format; 1: anything can be (raw); 100: sure. */
    int (*probe)(const BlockProbe *probe);
    /* b->file is open; sets b->size and b->data. False with err naming the file. */
    bool (*open)(Block *b, const BlockOptions *options, Err *err);
    void (*close)(Block *b); /* b->file is closed by the block layer; may be NULL */
    int (*read)(Block *b, uint64_t offset, void *data, size_t length);
    int (*write)(Block *b, uint64_t offset, const void *data, size_t length);
    int (*flush)(Block *b);
    /* may be NULL: the bytes that write_packed takes, 0 for not this image; and it */
    uint32_t (*pack_bytes)(const Block *b);
    int (*write_packed)(Block *b, uint64_t offset, const void *data, size_t length);
    int (*discard)(Block *b, uint64_t offset, uint64_t length); /* may be NULL */
    int (*map)(Block *b, uint64_t offset, BlockExtent *extent); /* sets what is not zero */
    int (*resize)(Block *b, uint64_t size);                     /* may be NULL; sets b->size */
    void (*about)(const Block *b, BlockAbout *about);           /* may be NULL */
    int (*check)(Block *b, BlockCheck *check);                  /* may be NULL */
    /* CD images only: what is on the disc, and whole sectors of 2352 bytes. */
    void (*toc)(const Block *b, struct CdToc *toc);
    int (*read_raw)(Block *b, uint32_t lba, uint8_t *data, uint32_t count);
    bool parallel; /* these may be called from several threads at once */
} BlockFormat;

struct Block {
    const BlockFormat *format;
    char *path;
    DiskFile file;
    uint64_t size; /* bytes */
    bool read_only;
    bool for_repair; /* opened to be checked: damage is no reason to refuse */
    Block *base;     /* what an overlay or image lies above; owned */
    void *data;      /* the format's own */
    pthread_mutex_t lock;
};

extern const BlockFormat block_raw, block_qcow2, block_vhd, block_vdi, block_vmdk, block_cue,
    block_imd, block_td0, block_overlay;

/* For map, where the image itself says nothing of the first bytes of `extent`: what the one under
 * it says. */
int block_map_below(Block *b, uint64_t offset, BlockExtent *extent);
/* A Block without a file, for overlays and tests; takes over `data` and `base`. NULL: no memory. */
Block *block_wrap(const BlockFormat *format, const char *path, uint64_t size, bool read_only,
                  void *data, Block *base);
/* A throw-away overlay; owns base afterwards, also when it fails. */
Block *block_overlay_new(Block *base, const BlockOptions *options, Err *err);

#endif
