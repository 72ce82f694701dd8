/* The interpreter's cache of decoded code.
 *
 * Blocks live in one arena, which is emptied as a whole when it is full. For each page that has
 * blocks there is a bit per byte that some block covers: a write to a byte without a mark costs a
 * look at these bits and nothing else.
 */
#include "cpu-accel/interpreter/block.h"

#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/ops.h"

enum {
    HASH_BITS = 16,
    ARENA_BYTES = 48 << 20,
    PAGE_WORDS = RAM_PAGE / 64,
};

typedef struct CodePage {
    Block *blocks;
    uint64_t covered[PAGE_WORDS];
} CodePage;

struct BlockCache {
    Ram *ram;
    uint8_t *arena;
    size_t used;
    uint64_t generation;
    CodePage **pages; /* by Ram page; NULL: no blocks */
    Block *bucket[1 << HASH_BITS];
};

BlockCache *block_cache_new(Ram *ram)
{
    BlockCache *c = calloc(1, sizeof(*c));

    if (!c) {
        return NULL;
    }
    c->ram = ram;
    c->arena = malloc(ARENA_BYTES);
    c->pages = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, sizeof(*c->pages));
    if (!c->arena || !c->pages) {
        block_cache_free(c);
        return NULL;
    }
    return c;
}

static void page_release(BlockCache *c, uint32_t page)
{
    free(c->pages[page]);
    c->pages[page] = NULL;
    ram_flag_clear(c->ram, page, 1, RAM_CODE);
}

void block_drop_all(BlockCache *c)
{
    for (uint32_t page = 0; page < c->ram->used >> RAM_PAGE_SHIFT; page++) {
        if (c->pages[page]) {
            page_release(c, page);
        }
    }
    memset(c->bucket, 0, sizeof(c->bucket));
    c->used = 0;
    c->generation++;
}

void block_cache_free(BlockCache *c)
{
    if (!c) {
        return;
    }
    if (c->pages) {
        block_drop_all(c);
    }
    free(c->pages);
    free(c->arena);
    free(c);
}

const uint64_t *block_generation(const BlockCache *c)
{
    return &c->generation;
}

static Block **bucket_of(BlockCache *c, uint64_t key)
{
    return &c->bucket[(key ^ key >> 16) & ((1 << HASH_BITS) - 1)];
}

Block *block_find(BlockCache *c, uint64_t key)
{
    Block *b = *bucket_of(c, key);

    while (b && b->key != key) {
        b = b->next_in_hash;
    }
    return b;
}

static void cover(CodePage *page, const Block *b)
{
    uint32_t first = (uint32_t)b->key & (RAM_PAGE - 1);

    for (uint32_t i = first; i < first + b->bytes; i++) {
        page->covered[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static bool covered(const CodePage *page, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (page->covered[i / 64] == 0) {
            i |= 63;
        } else if (page->covered[i / 64] >> (i % 64) & 1) {
            return true;
        }
    }
    return false;
}

static CodePage *page_of(BlockCache *c, uint32_t page)
{
    if (!c->pages[page]) {
        c->pages[page] = calloc(1, sizeof(CodePage));
        if (c->pages[page]) {
            ram_flag_set(c->ram, page, 1, RAM_CODE);
        }
    }
    return c->pages[page];
}

/* Decodes from the page's bytes into the arena; the block ends where control may leave it, where
 * the outside world is looked at, or before an instruction that is not whole on this page. */
static void decode_run(BlockCache *c, Block *b, CpuModel model)
{
    uint32_t at = (uint32_t)b->key;
    const CpuMode mode = {
        .code32 = b->key >> 32 & BLOCK_CODE32, .v86 = b->key >> 32 & BLOCK_REAL, .model = model};
    uint32_t room = RAM_PAGE - (at & (RAM_PAGE - 1));

    b->bytes = b->count = 0;
    while (b->count < BLOCK_MAX_INSNS && b->bytes < room) {
        Insn *in = &b->insn[b->count];
        CodeView view = {ram_at(c->ram, at) + b->bytes, room - b->bytes};
        DecodeResult result = x86_decode(&view, &mode, in);
        if (result == DECODE_SHORT || result == DECODE_TOO_LONG) {
            break;
        }
        b->bytes += in->length;
        b->count++;
        b->io = op_rows[in->op].traits & T_IO;
        if (op_rows[in->op].traits & (T_END | T_STOP | T_IO)) {
            break;
        }
    }
}

Block *block_build(BlockCache *c, uint64_t key, CpuModel model)
{
    const size_t most = sizeof(Block) + BLOCK_MAX_INSNS * sizeof(Insn);

    if (c->used + most > ARENA_BYTES) {
        block_drop_all(c);
    }
    CodePage *page = page_of(c, (uint32_t)key >> RAM_PAGE_SHIFT);
    if (!page) {
        return NULL;
    }
    Block *b = (Block *)(c->arena + c->used);
    b->key = key;
    b->link[0] = b->link[1] = b;
    decode_run(c, b, model);
    if (b->count == 0) {
        if (!page->blocks) {
            page_release(c, (uint32_t)key >> RAM_PAGE_SHIFT);
        }
        return NULL;
    }
    c->used += (sizeof(Block) + b->count * sizeof(Insn) + 15) & ~(size_t)15;
    b->next_in_hash = *bucket_of(c, key);
    *bucket_of(c, key) = b;
    b->next_in_page = page->blocks;
    page->blocks = b;
    cover(page, b);
    return b;
}

Outcome block_stale(Cpu *cpu, const Insn *in)
{
    (void)cpu;
    (void)in;
    return X_REPEAT;
}

static void unhash(BlockCache *c, Block *b)
{
    Block **p = bucket_of(c, b->key);

    while (*p != b) {
        p = &(*p)->next_in_hash;
    }
    *p = b->next_in_hash;
}

static void page_changed(BlockCache *c, uint32_t number, uint32_t first, uint32_t end)
{
    CodePage *page = c->pages[number];

    if (!page || !covered(page, first, end)) {
        return;
    }
    memset(page->covered, 0, sizeof(page->covered));
    for (Block **p = &page->blocks; *p;) {
        Block *b = *p;
        uint32_t start = (uint32_t)b->key & (RAM_PAGE - 1);
        if (start < end && first < start + b->bytes) {
            *p = b->next_in_page;
            unhash(c, b);
            b->key = BLOCK_DROPPED;
            for (uint32_t i = 0; i < b->count; i++) {
                b->insn[i].handler = block_stale;
            }
        } else {
            cover(page, b);
            p = &b->next_in_page;
        }
    }
    if (!page->blocks) {
        page_release(c, number);
    }
}

void block_changed(BlockCache *c, uint32_t at, uint32_t length)
{
    uint64_t end = (uint64_t)at + length;

    for (uint64_t from = at; from < end;) {
        uint64_t page_end = (from | (RAM_PAGE - 1)) + 1;
        uint64_t to = page_end < end ? page_end : end;
        uint32_t first = from & (RAM_PAGE - 1);
        page_changed(c, (uint32_t)(from >> RAM_PAGE_SHIFT), first, first + (uint32_t)(to - from));
        from = to;
    }
}
