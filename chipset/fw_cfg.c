/* Firmware configuration device.
 *
 * Specification: QEMU's docs/specs/fw_cfg. Wired by pc_build, which adds the items. Not modelled:
 * items that the guest may write (none of ours are).
 */
#include "chipset/fw_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "machine/core/log.h"

LOG_TAG("fw_cfg");

enum {
    OFFSET_SELECTOR = 0,
    OFFSET_DATA = 1,
    ID_TRADITIONAL = 1,
    ID_DMA = 2,
    KEY_WRITE_CHANNEL = 0x4000, /* old interface; selects the same item */
    GENERIC_KEYS = FW_CFG_FILE_FIRST + FW_CFG_FILES_MAX,
    ARCH_KEYS = 32,
    DIR_ENTRY = 64, /* bytes of a file in the directory */
    DMA_ERROR = 0x01,
    DMA_READ = 0x02,
    DMA_SKIP = 0x04,
    DMA_SELECT = 0x08,
    DMA_WRITE = 0x10,
    /* zeros that one request may ask for beyond an item's end: a guest must not keep us busy */
    DMA_PAD_LIMIT = 0x10000,
};

typedef struct Item {
    bool present;
    uint8_t *data; /* NULL where `read` gives the bytes */
    size_t size;
    FwCfgRead read;
    void *self;
    char name[FW_CFG_NAME_MAX + 1]; /* files only */
} Item;

struct FwCfg {
    Device dev;
    Item generic[GENERIC_KEYS];
    Item arch[ARCH_KEYS];
    unsigned files;
    struct {
        uint16_t key;
        uint32_t offset;
        uint32_t dma_high; /* upper half of the request's address */
    } g;
};

static Item *find(FwCfg *f, uint16_t key)
{
    uint16_t number = (uint16_t)(key & ~(FW_CFG_ARCH | KEY_WRITE_CHANNEL));
    if (key & FW_CFG_ARCH) {
        return number < ARCH_KEYS ? &f->arch[number] : NULL;
    }
    return number < GENERIC_KEYS ? &f->generic[number] : NULL;
}

/* Bytes of the selected item from the offset on; zeros beyond its end. Moves the offset. */
static void fetch(FwCfg *f, uint8_t *data, size_t length)
{
    const Item *item = find(f, f->g.key);
    size_t left = item && item->present && f->g.offset < item->size ? item->size - f->g.offset : 0;
    size_t part = left < length ? left : length;
    if (part && item->read) {
        item->read(item->self, f->g.offset, data, part);
    } else if (part) {
        memcpy(data, item->data + f->g.offset, part);
    }
    memset(data + part, 0, length - part);
    uint64_t next = (uint64_t)f->g.offset + length;
    f->g.offset = next > UINT32_MAX ? UINT32_MAX : (uint32_t)next;
}

static void select_key(FwCfg *f, uint16_t key)
{
    f->g.key = key;
    f->g.offset = 0;
    log_trace("item 0x%04x", key);
}

/* --- DMA interface --- */

/* Copies `length` bytes of the item to the guest. False when there is no memory, or too many zeros
 * are asked for. */
static bool dma_read(FwCfg *f, uint64_t address, uint32_t length)
{
    const Item *item = find(f, f->g.key);
    size_t left = item && item->present && f->g.offset < item->size ? item->size - f->g.offset : 0;
    if (length > left && length - left > DMA_PAD_LIMIT) {
        log_guest("item 0x%04x: 0x%x bytes asked for, 0x%zx left", f->g.key, length, left);
        return false;
    }
    uint8_t buffer[4096];
    for (uint32_t done = 0; done < length;) {
        uint32_t part = length - done;
        part = part > sizeof(buffer) ? sizeof(buffer) : part;
        fetch(f, buffer, part);
        if (!bus_dma(f->dev.board->memory, address + done, buffer, part, true)) {
            return false;
        }
        done += part;
    }
    return true;
}

static void dma_request_at(FwCfg *f, uint64_t request)
{
    Bus *memory = f->dev.board->memory;
    uint8_t raw[16];
    if (!bus_dma(memory, request, raw, sizeof(raw), false)) {
        log_guest("request at 0x%llx is not in memory", (unsigned long long)request);
        return;
    }
    uint32_t control = bytes_be32(raw);
    uint32_t length = bytes_be32(raw + 4);
    uint64_t address = (uint64_t)bytes_be32(raw + 8) << 32 | bytes_be32(raw + 12);
    if (control & DMA_SELECT) {
        select_key(f, (uint16_t)(control >> 16));
    }
    bool ok = true;
    if (control & DMA_READ) {
        ok = address < BOARD_MEMORY && dma_read(f, address, length);
    } else if (control & DMA_WRITE) {
        ok = false; /* our items are read-only */
    } else if (control & DMA_SKIP) {
        uint64_t next = (uint64_t)f->g.offset + length;
        f->g.offset = next > UINT32_MAX ? UINT32_MAX : (uint32_t)next;
    }
    bytes_put_be32(raw, ok ? 0 : DMA_ERROR);
    bus_dma(memory, request, raw, 4, true);
}

static uint64_t dma_port_read(void *self, uint32_t offset, unsigned bytes)
{
    static const uint8_t signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};
    uint64_t value = 0;
    (void)self;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)signature[(offset + i) & 7] << (8 * i);
    }
    return value;
}

/* The address is big-endian; writing its lower half starts the request. */
static void dma_port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    FwCfg *f = self;
    (void)bytes;
    uint32_t half = __builtin_bswap32((uint32_t)value);
    if (offset == 0) {
        f->g.dma_high = half;
    } else {
        uint64_t request = (uint64_t)f->g.dma_high << 32 | half;
        f->g.dma_high = 0;
        if (request < BOARD_MEMORY - 16) {
            dma_request_at(f, request);
        }
    }
}

/* --- selector and data --- */

static uint64_t fw_cfg_read(void *self, uint32_t offset, unsigned bytes)
{
    FwCfg *f = self;
    uint8_t value = 0;
    if (bytes == 1 && offset == OFFSET_DATA) {
        fetch(f, &value, 1);
    }
    return value;
}

static void fw_cfg_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    FwCfg *f = self;
    if (bytes == 2 && offset == OFFSET_SELECTOR) {
        select_key(f, (uint16_t)value);
    }
}

/* --- items --- */

static bool set_item(Item *item, const void *data, size_t size, FwCfgRead read, void *self,
                     Err *err)
{
    uint8_t *copy = NULL;
    if (!read) {
        copy = malloc(size ? size : 1);
        if (!copy) {
            return err_set(err, "out of memory for a firmware item of %zu bytes", size);
        }
        if (size) {
            memcpy(copy, data, size);
        }
    }
    free(item->data);
    item->data = copy;
    item->size = size;
    item->read = read;
    item->self = self;
    item->present = true;
    return true;
}

static bool add_numbered(FwCfg *f, uint16_t key, const void *data, size_t size, FwCfgRead read,
                         void *self, Err *err)
{
    Item *item = key & KEY_WRITE_CHANNEL ? NULL : find(f, key);
    bool file = !(key & FW_CFG_ARCH) && key >= FW_CFG_FILE_FIRST;
    if (!item || file || key == FW_CFG_FILE_DIR) {
        return err_set(err, "firmware item 0x%04x cannot be set by number", key);
    }
    return set_item(item, data, size, read, self, err);
}

/* Writes the directory: a big-endian count, then size, key, reserved word and name of each file. */
static bool write_directory(FwCfg *f, Err *err)
{
    size_t size = 4 + (size_t)f->files * DIR_ENTRY;
    uint8_t *dir = calloc(1, size);
    if (!dir) {
        return err_set(err, "out of memory for the firmware directory");
    }
    bytes_put_be32(dir, f->files);
    for (unsigned i = 0; i < f->files; i++) {
        const Item *item = &f->generic[FW_CFG_FILE_FIRST + i];
        uint8_t *entry = dir + 4 + (size_t)i * DIR_ENTRY;
        bytes_put_be32(entry, (uint32_t)item->size);
        entry[4] = (uint8_t)((FW_CFG_FILE_FIRST + i) >> 8);
        entry[5] = (uint8_t)(FW_CFG_FILE_FIRST + i);
        memcpy(entry + 8, item->name, strlen(item->name));
    }
    bool ok = set_item(&f->generic[FW_CFG_FILE_DIR], dir, size, NULL, NULL, err);
    free(dir);
    return ok;
}

static bool add_named(FwCfg *f, const char *name, const void *data, size_t size, FwCfgRead read,
                      void *self, Err *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > FW_CFG_NAME_MAX) {
        return err_set(err, "firmware file name \"%s\" is not 1 to %u bytes long", name,
                       FW_CFG_NAME_MAX);
    }
    if (size > UINT32_MAX) {
        return err_set(err, "firmware file %s is too large", name);
    }
    unsigned i = 0;
    while (i < f->files && strcmp(f->generic[FW_CFG_FILE_FIRST + i].name, name) != 0) {
        i++;
    }
    if (i == FW_CFG_FILES_MAX) {
        return err_set(err, "no room for firmware file %s: there are %u already", name, i);
    }
    Item *item = &f->generic[FW_CFG_FILE_FIRST + i];
    if (!set_item(item, data, size, read, self, err)) {
        return false;
    }
    memcpy(item->name, name, length + 1);
    f->files += i == f->files;
    return write_directory(f, err);
}

bool fw_cfg_add(FwCfg *f, uint16_t key, const void *data, size_t size, Err *err)
{
    return add_numbered(f, key, data, size, NULL, NULL, err);
}

static bool add_integer(FwCfg *f, uint16_t key, uint64_t value, unsigned bytes, Err *err)
{
    uint8_t data[8];
    for (unsigned i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(value >> (8 * i));
    }
    return fw_cfg_add(f, key, data, bytes, err);
}

bool fw_cfg_add_u16(FwCfg *f, uint16_t key, uint16_t value, Err *err)
{
    return add_integer(f, key, value, 2, err);
}

bool fw_cfg_add_u32(FwCfg *f, uint16_t key, uint32_t value, Err *err)
{
    return add_integer(f, key, value, 4, err);
}

bool fw_cfg_add_u64(FwCfg *f, uint16_t key, uint64_t value, Err *err)
{
    return add_integer(f, key, value, 8, err);
}

bool fw_cfg_add_source(FwCfg *f, uint16_t key, size_t size, FwCfgRead read, void *self, Err *err)
{
    return add_numbered(f, key, NULL, size, read, self, err);
}

bool fw_cfg_add_file(FwCfg *f, const char *name, const void *data, size_t size, Err *err)
{
    return add_named(f, name, data, size, NULL, NULL, err);
}

bool fw_cfg_add_file_source(FwCfg *f, const char *name, size_t size, FwCfgRead read, void *self,
                            Err *err)
{
    return add_named(f, name, NULL, size, read, self, err);
}

/* --- device --- */

static void fw_cfg_reset(Device *d, ResetKind kind)
{
    FwCfg *f = (FwCfg *)d;
    (void)kind;
    memset(&f->g, 0, sizeof(f->g));
}

static void fw_cfg_state(Device *d, StateIo *io)
{
    FwCfg *f = (FwCfg *)d;
    state_u16(io, "key", &f->g.key);
    state_u32(io, "offset", &f->g.offset);
    state_u32(io, "dma_high", &f->g.dma_high);
}

static void fw_cfg_destroy(Device *d)
{
    FwCfg *f = (FwCfg *)d;
    for (unsigned i = 0; i < GENERIC_KEYS; i++) {
        free(f->generic[i].data);
    }
    for (unsigned i = 0; i < ARCH_KEYS; i++) {
        free(f->arch[i].data);
    }
    free(f);
}

static const DeviceType fw_cfg_type = {
    .name = "fw_cfg",
    .version = 1,
    .reset = fw_cfg_reset,
    .state = fw_cfg_state,
    .destroy = fw_cfg_destroy,
};

static const IoOps fw_cfg_ops = {fw_cfg_read, fw_cfg_write, 1, 2};
static const IoOps dma_ops = {dma_port_read, dma_port_write, 4, 4};

FwCfg *fw_cfg_new(Board *b, const char *id)
{
    FwCfg *f = calloc(1, sizeof(*f));
    bus_claim(b->ports, 0x510, 2, &fw_cfg_ops, f, "fw_cfg");
    bus_claim(b->ports, 0x514, 8, &dma_ops, f, "fw_cfg dma");
    device_add(b, &f->dev, &fw_cfg_type, id);
    fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4, NULL);
    fw_cfg_add_u32(f, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, NULL);
    write_directory(f, NULL);
    return f;
}
