/* What the tests of disk controllers need: images in memory, a job queue, and waiting for its
 * threads. */
#ifndef TESTS_UNIT_DISK_BOARD_H
#define TESTS_UNIT_DISK_BOARD_H

#include "storage/block_queue.h"
#include "tests/unit/chip.h"

/* An image in memory. Every sector's bytes tell its number: see memory_fill. */
typedef struct MemoryDisk {
    uint8_t *bytes;
    uint64_t size;
    int error;                  /* errno for every call from now on; 0: none */
    uint64_t bad_at, bad_bytes; /* what touches these bytes fails with EIO */
    unsigned flushes;
    bool read_only;
} MemoryDisk;

/* A Block on `disk`, which must outlive it (the Block does not own it). */
Block *memory_block(MemoryDisk *disk);
void memory_disk_init(MemoryDisk *disk, uint64_t size);
void memory_disk_free(MemoryDisk *disk);
/* The byte that a fresh image has at this offset. */
uint8_t memory_byte(uint64_t offset);

/* A board with a queue in deterministic mode, so that ends come at guest times that tests can step
 * to. */
Board *disk_board(BlockQueue **queue);

#endif
