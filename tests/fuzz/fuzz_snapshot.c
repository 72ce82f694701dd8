/* Fuzzing of the snapshot file: bytes of input are a file, whose sections and pages are read.
 *
 * Built, run and seeded as tests/fuzz/fuzz_image.c says. Checksums are made right after each
 * change. What must hold: no crash, no hang, bounded memory, and a text for each refusal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "machine/core/bytes.h"
#include "storage/snapshot_internal.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_mutator.h"
#include "tests/fuzz/fuzz_seeds.h"
#ifdef FUZZ_STANDALONE
#include "tests/fuzz/fuzz_standalone.h"
#endif

enum { INPUT_MAX = 1 << 18, LENDER = 100, PAGES = 200, SECTION_LIMIT = 1 << 20 };

typedef struct Memory {
    uint8_t *data;
    size_t size, room;
} Memory;

static int memory_read(void *self, uint64_t offset, void *data, size_t length)
{
    const Memory *m = self;
    if (offset > m->size || length > m->size - offset) {
        return 5; /* EIO */
    }
    memcpy(data, m->data + offset, length);
    return 0;
}

static int memory_write(void *self, uint64_t offset, const void *data, size_t length)
{
    Memory *m = self;
    if (offset > m->room || length > m->room - offset) {
        return 28; /* ENOSPC */
    }
    memcpy(m->data + offset, data, length);
    m->size = m->size > offset + length ? m->size : (size_t)offset + length;
    return 0;
}

static uint32_t crc(const uint8_t *data, size_t size)
{
    return (uint32_t)crc32_z(0, data, size);
}

/* Header, table of contents, sections. */
static void mend(uint8_t *p, size_t size)
{
    if (size < SNAPSHOT_HEADER) {
        return;
    }
    uint64_t at = snapshot_le64(p + 24);
    uint32_t count = snapshot_le32(p + 32);
    if (count <= SNAPSHOT_MAX_SECTIONS && at <= size && (size_t)count * TOC_ENTRY <= size - at) {
        for (uint32_t i = 0; i < count; i++) {
            uint8_t *entry = p + at + (size_t)i * TOC_ENTRY;
            uint64_t from = snapshot_le64(entry + 8), length = snapshot_le64(entry + 16);
            if (from <= size && length <= size - from) {
                snapshot_put32(entry + 32, crc(p + from, (size_t)length));
            }
        }
        snapshot_put32(p + 36, crc(p + at, (size_t)count * TOC_ENTRY));
    }
    snapshot_put32(p + 12, crc(p + 16, SNAPSHOT_HEADER - 16));
}

static int place(void *self, uint64_t page, const uint8_t *data)
{
    unsigned *sum = self;
    if (page >= PAGES) {
        abort(); /* a page that was not asked for */
    }
    __atomic_fetch_add(sum, data[0] + data[SNAPSHOT_PAGE - 1], __ATOMIC_RELAXED);
    return 0;
}

/* A sound snapshot; its size, 0: it failed. LENDER + n borrows every other page. */
static uint64_t make_sample(uint8_t *data, unsigned number)
{
    static uint8_t page[SNAPSHOT_PAGE];
    Memory m = {data, 0, INPUT_MAX};
    SnapshotIo io = {memory_read, memory_write, &m};
    uint64_t size = 0;
    SnapshotWriter *w = snapshot_writer_new(&io, PAGES, 1);
    bool good = w != NULL, borrows = number >= LENDER;
    for (unsigned i = 0; i < PAGES && good; i += 1 + number % LENDER * 3) {
        memset(page, (int)(i / 3), sizeof(page)); /* some alike */
        page[9] = (uint8_t)(i % 5);
        good = borrows && i % 2 ? snapshot_writer_lend(w, i) == 0
                                : snapshot_writer_page(w, i, page) == 0;
    }
    good = good && snapshot_writer_section(w, SNAPSHOT_META, "meta", 4) == 0 &&
           snapshot_writer_section(w, SNAPSHOT_DEVICES, page, sizeof(page)) == 0 &&
           snapshot_writer_finish(w, &size) == 0;
    if (w) {
        snapshot_writer_free(w);
    }
    return good ? size : 0;
}

/* What inputs of even length may build on. */
static SnapshotReader *lender(void)
{
    static uint8_t data[INPUT_MAX];
    static Memory m;
    Err err = {""};
    if (!m.data) {
        m = (Memory){data, make_sample(data, 0), sizeof(data)};
    }
    SnapshotIo io = {memory_read, memory_write, &m};
    SnapshotReader *r = snapshot_reader_open(&io, m.size, "lender", &err);
    if (!r || !snapshot_reader_map(r, PAGES, &err)) {
        abort();
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static uint8_t data[INPUT_MAX];
    Memory m = {data, size, sizeof(data)};
    SnapshotIo io = {memory_read, memory_write, &m};
    Err err = {""};
    unsigned sum = 0;
    const SnapshotSink sink = {.place = place, .self = &sum};
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    fuzz_silence();
    memcpy(data, input, size);
    mend(data, size);
    SnapshotReader *r = snapshot_reader_open(&io, size, "fuzz", &err);
    if (!r && !err.text[0]) {
        abort();
    }
    for (unsigned kind = 0; r && kind < 7; kind++) {
        size_t length = 0;
        Err why = {""};
        uint8_t *section =
            snapshot_reader_section(r, (SnapshotSection)kind, SECTION_LIMIT, &length, &why);
        if (!section && !why.text[0]) {
            abort();
        }
        free(section);
    }
    SnapshotReader *base = size % 2 == 0 ? lender() : NULL;
    if (r && snapshot_reader_map_on(r, PAGES, base, &err)) {
        for (uint64_t page = 0; page < PAGES; page++) {
            sum += snapshot_reader_is_zero(r, page) + snapshot_reader_is_lent(r, page);
        }
        snapshot_reader_each(r, 0, PAGES, 1, &sink, &err);
        snapshot_reader_each(r, PAGES / 2, PAGES / 4, 2, &sink, &err);
    }
    if (r) {
        snapshot_reader_close(r);
    }
    snapshot_reader_close(base);
    return 0;
}

static bool write_seed(const char *folder, unsigned number)
{
    static uint8_t data[INPUT_MAX];
    char path[512];
    uint64_t size = make_sample(data, number);
    snprintf(path, sizeof(path), "%s/snapshot-%u", folder, number);
    FILE *file = size ? fopen(path, "wb") : NULL;
    bool good = file && fwrite(data, 1, (size_t)size, file) == size;
    return file && fclose(file) == 0 && good;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *seeds = getenv("FUZZ_SEEDS");
    (void)argc, (void)argv;
    if (seeds) {
        exit(write_seed(seeds, 0) && write_seed(seeds, 1) && write_seed(seeds, 20) &&
                     write_seed(seeds, LENDER) && write_seed(seeds, LENDER + 1)
                 ? 0
                 : 1);
    }
    return 0;
}

#ifdef FUZZ_STANDALONE
int main(int argc, char **argv)
{
    static uint8_t data[INPUT_MAX];
    LLVMFuzzerInitialize(&argc, &argv);
    return standalone_main(argc, argv, data, sizeof(data), LLVMFuzzerTestOneInput);
}
#endif
