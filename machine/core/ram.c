/* Guest memory: one memory file, page flags, change notices. */
#include "machine/core/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool ram_open(Ram *ram, Err *err)
{
    memset(ram, 0, sizeof(*ram));
    ram->fd = memfd_create("vitrine-ram", MFD_CLOEXEC);
    if (ram->fd < 0 || ftruncate(ram->fd, (off_t)RAM_LIMIT) < 0) {
        err_set(err, "guest memory: %s; a memory file (memfd) is needed", strerror(errno));
        goto fail;
    }
    ram->host =
        mmap(NULL, RAM_LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
    ram->flags = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, 1);
    if (ram->host == MAP_FAILED || !ram->flags) {
        err_set(err, "guest memory: no room in the address space (ulimit -v)");
        goto fail;
    }
    return true;
fail:
    ram_close(ram);
    return false;
}

void ram_close(Ram *ram)
{
    if (ram->host && ram->host != MAP_FAILED) {
        munmap(ram->host, RAM_LIMIT);
    }
    if (ram->fd >= 0) {
        close(ram->fd);
    }
    free(ram->flags);
    while (ram->blocks) {
        RamBlock *block = ram->blocks;
        ram->blocks = block->next;
        free(block);
    }
    memset(ram, 0, sizeof(*ram));
    ram->fd = -1;
}

RamBlock *ram_add(Ram *ram, const char *name, uint64_t size, Err *err)
{
    size = (size + RAM_PAGE - 1) & ~(uint64_t)(RAM_PAGE - 1);
    if (size == 0 || size >= RAM_LIMIT || ram->used + size > RAM_LIMIT) {
        err_set(err, "guest memory: no room for %llu bytes of %s; use a smaller -m",
                (unsigned long long)size, name);
        return NULL;
    }
    RamBlock *block = calloc(1, sizeof(*block));
    if (!block) {
        err_set(err, "out of memory");
        return NULL;
    }
    block->name = name;
    block->at = (uint32_t)ram->used;
    block->size = (uint32_t)size;
    ram->used += size;
    RamBlock **last = &ram->blocks;
    while (*last) {
        last = &(*last)->next;
    }
    *last = block;
    return block;
}

void ram_bring(Ram *ram, uint32_t at, uint64_t length)
{
    if (length) {
        uint32_t first = at >> RAM_PAGE_SHIFT;
        uint64_t last = (at + length - 1) >> RAM_PAGE_SHIFT;
        ram->source.bring(ram->source.self, first, (uint32_t)(last - first + 1));
    }
}

void ram_written(Ram *ram, uint32_t at, uint32_t length)
{
    if (length == 0) {
        return;
    }
    uint32_t first = at >> RAM_PAGE_SHIFT;
    uint32_t last = (uint32_t)(((uint64_t)at + length - 1) >> RAM_PAGE_SHIFT);
    bool code = false;
    for (uint32_t page = first; page <= last; page++) {
        code |= (ram->flags[page] & (RAM_CODE | RAM_TRANSLATED)) != 0;
        ram->flags[page] &= RAM_CODE | RAM_TRANSLATED;
    }
    if (code && ram->listener.code_changed) {
        ram->listener.code_changed(ram->listener.self, at, length);
    }
    if (ram->listener.written) {
        ram->listener.written(ram->listener.self, at, length);
    }
}

void ram_flag_set(Ram *ram, uint32_t first_page, uint32_t pages, uint8_t flag)
{
    for (uint32_t i = 0; i < pages; i++) {
        ram->flags[first_page + i] |= flag;
    }
    if (ram->listener.flags_set) {
        ram->listener.flags_set(ram->listener.self, first_page, pages);
    }
}

void ram_flag_clear(Ram *ram, uint32_t first_page, uint32_t pages, uint8_t flag)
{
    for (uint32_t i = 0; i < pages; i++) {
        ram->flags[first_page + i] &= (uint8_t)~flag;
    }
}
