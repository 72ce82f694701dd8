/* What the tests of disk controllers need: images in memory, a job queue. */
#include "tests/unit/disk_board.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block_format.h"

uint8_t memory_byte(uint64_t offset)
{
    return (uint8_t)(offset / 512 * 7 + offset % 512 + (offset >> 17));
}

void memory_disk_init(MemoryDisk *disk, uint64_t size)
{
    *disk = (MemoryDisk){.size = size, .bytes = malloc(size)};
    assert_non_null(disk->bytes);
    for (uint64_t i = 0; i < size; i++) {
        disk->bytes[i] = memory_byte(i);
    }
}

void memory_disk_free(MemoryDisk *disk)
{
    free(disk->bytes);
}

static bool is_bad(const MemoryDisk *disk, uint64_t offset, size_t length)
{
    return offset < disk->bad_at + disk->bad_bytes && disk->bad_at < offset + length;
}

static int memory_read(Block *b, uint64_t offset, void *data, size_t length)
{
    const MemoryDisk *disk = b->data;
    if (is_bad(disk, offset, length)) {
        memset(data, 0xdb, length);
        return EIO;
    }
    memcpy(data, disk->bytes + offset, length);
    return disk->error;
}

static int memory_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    MemoryDisk *disk = b->data;
    if (is_bad(disk, offset, length)) {
        return EIO;
    }
    if (!disk->error) {
        memcpy(disk->bytes + offset, data, length);
    }
    return disk->error;
}

static int memory_flush(Block *b)
{
    MemoryDisk *disk = b->data;
    disk->flushes++;
    return disk->error;
}

static int memory_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    *extent = (BlockExtent){.length = b->size - offset, .data = true};
    return 0;
}

static const BlockFormat memory_format = {
    .name = "memory",
    .read = memory_read,
    .write = memory_write,
    .flush = memory_flush,
    .map = memory_map,
};

Block *memory_block(MemoryDisk *disk)
{
    Block *b = block_wrap(&memory_format, "memory", disk->size, disk->read_only, disk, NULL);
    assert_non_null(b);
    return b;
}

Board *disk_board(BlockQueue **queue)
{
    Err err = {""};
    Board *b = chip_board();
    *queue = block_queue_new(b, &(BlockQueueConfig){.deterministic = true}, "block", &err);
    if (!*queue) {
        fail_msg("%s", err.text);
    }
    return b;
}
