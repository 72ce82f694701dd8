/* Two 8237A DMA controllers with page registers.
 *
 * Data sheet: Intel 8237A, 231466; 82371SB (PIIX3), 290550, for the page registers. The device on a
 * channel says when bytes move, so single, block and demand mode differ only in who asks; the
 * address, count, direction, masks and terminal count are kept here. Wired by pc_build: a DmaLine
 * to each device. Port 80h belongs to the system control ports. Not modelled: memory-to-memory
 * transfers (the PIIX has none either), priorities and bus timing.
 */
#include "chipset/dma.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("dma");

enum {
    CHANNELS = 8,
    CASCADE = 4,
    /* registers of a controller, in units of its step */
    REG_COMMAND = 8, /* read: status */
    REG_REQUEST,
    REG_MASK_ONE,
    REG_MODE,
    REG_FLIP_FLOP,
    REG_MASTER_CLEAR, /* read: temporary register */
    REG_CLEAR_MASK,
    REG_MASK_ALL,
    COMMAND_MEMORY_TO_MEMORY = 0x01,
    COMMAND_DISABLE = 0x04,
    MODE_TRANSFER = 0x0c,
    MODE_VERIFY = 0x00,
    MODE_WRITE = 0x04, /* to memory */
    MODE_READ = 0x08,
    MODE_AUTO_INIT = 0x10,
    MODE_DECREMENT = 0x20,
    MODE_SELECT = 0xc0,
    MODE_CASCADE = 0xc0,
    LISTENERS = 4, /* of a channel */
};

typedef struct Channel {
    struct {
        uint16_t base_address, address; /* 16-bit channels: in words */
        uint16_t base_count, count;     /* transfers less one */
        uint8_t page;                   /* address bits 16..23 */
        uint8_t mode;
        bool masked;
        bool request; /* DREQ */
        bool software_request;
        bool terminal_count;
    } g;
    struct {
        void (*ready)(void *self);
        void *self;
    } listener[LISTENERS]; /* of the cards that can be set to this channel */
} Channel;

struct Dma {
    Device dev;
    Channel channel[CHANNELS];
    struct {
        uint8_t command[2];
        bool high_byte[2]; /* the flip-flop: next is the upper byte */
        uint8_t page[16];  /* the page registers that belong to no channel */
    } g;
};

/* Which channel a page register (80h + index) belongs to, or -1. */
static const int8_t page_channel[16] = {-1, 2, 3, 1, -1, -1, -1, 0, -1, 6, 7, 5, -1, -1, -1, 4};

static bool wide(unsigned channel)
{
    return channel >= 4;
}

static bool controller_on(const Dma *dma, unsigned controller)
{
    return !(dma->g.command[controller] & COMMAND_DISABLE);
}

/* Would a DREQ be answered? */
static bool able(const Dma *dma, unsigned n)
{
    const Channel *c = &dma->channel[n];
    const Channel *cascade = &dma->channel[CASCADE];
    if (!controller_on(dma, n / 4) || c->g.masked || (c->g.mode & MODE_SELECT) == MODE_CASCADE) {
        return false;
    }
    /* the first controller's bus request goes through channel 4 */
    return n >= 4 || (controller_on(dma, 1) && !cascade->g.masked &&
                      (cascade->g.mode & MODE_SELECT) == MODE_CASCADE);
}

static unsigned able_set(const Dma *dma)
{
    unsigned set = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        set |= (unsigned)able(dma, i) << i;
    }
    return set;
}

/* Tells devices with DREQ up whose channel has just opened. */
static void tell_ready(Dma *dma, unsigned before)
{
    unsigned opened = able_set(dma) & ~before;
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &dma->channel[i];
        for (unsigned n = 0; n < LISTENERS; n++) {
            if (opened & 1u << i && c->g.request && c->listener[n].ready) {
                c->listener[n].ready(c->listener[n].self);
            }
        }
    }
}

static uint32_t physical(const Dma *dma, unsigned n)
{
    const Channel *c = &dma->channel[n];
    return wide(n) ? (uint32_t)(c->g.page & 0xfe) << 16 | (uint32_t)c->g.address << 1
                   : (uint32_t)c->g.page << 16 | c->g.address;
}

/* Moves `units` whose addresses do not wrap; data is NULL when nobody drives the data bus. */
static void move_run(Dma *dma, unsigned n, uint8_t *data, uint32_t units, bool to_memory)
{
    uint32_t size = wide(n) ? 2 : 1;
    Bus *memory = dma->dev.board->memory;
    if (data) {
        bus_dma(memory, physical(dma, n), data, units * size, to_memory);
        return;
    }
    uint8_t floating[256];
    memset(floating, 0xff, sizeof(floating));
    for (uint32_t done = 0; to_memory && done < units * size;) {
        uint32_t part = units * size - done;
        part = part > sizeof(floating) ? sizeof(floating) : part;
        bus_dma(memory, physical(dma, n) + done, floating, part, true);
        done += part;
    }
}

/* The count ran out: status, then auto-initialise or mask (data sheet, "Autoinitialize"). */
static void terminal(Channel *c)
{
    c->g.terminal_count = true;
    c->g.software_request = false;
    if (c->g.mode & MODE_AUTO_INIT) {
        c->g.address = c->g.base_address;
        c->g.count = c->g.base_count;
    } else {
        c->g.masked = true;
    }
}

/* Moves up to `units` transfers, at most to the terminal count. Returns how many, and whether the
 * count ran out. */
static uint32_t run(Dma *dma, unsigned n, uint8_t *data, uint32_t units, bool device_writes,
                    bool *ended)
{
    Channel *c = &dma->channel[n];
    uint32_t size = wide(n) ? 2 : 1;
    unsigned kind = c->g.mode & MODE_TRANSFER;
    bool down = c->g.mode & MODE_DECREMENT;
    uint32_t left = (uint32_t)c->g.count + 1;
    uint32_t total = units < left ? units : left;
    for (uint32_t done = 0; done < total;) {
        uint32_t part = total - done;
        uint32_t to_wrap = 0x10000u - c->g.address;
        part = down ? 1 : part < to_wrap ? part : to_wrap;
        uint8_t *at = data ? data + (size_t)done * size : NULL;
        if (kind == MODE_WRITE) { /* IOR# and MEMW#: a device that listens leaves the bus afloat */
            move_run(dma, n, device_writes ? at : NULL, part, true);
        } else if (kind == MODE_READ && at && !device_writes) {
            move_run(dma, n, at, part, false);
        }
        if (at && !device_writes && kind != MODE_READ) {
            memset(at, 0xff, (size_t)part * size);
        }
        c->g.address = (uint16_t)(c->g.address + (down ? UINT32_MAX : part));
        c->g.count = (uint16_t)(c->g.count - part);
        done += part;
    }
    *ended = total == left;
    if (*ended) {
        terminal(c);
    }
    return total;
}

static size_t dma_do_transfer(void *controller, unsigned n, void *data, size_t length,
                              bool to_memory, bool *terminal_count)
{
    Dma *dma = controller;
    uint32_t size = wide(n) ? 2 : 1;
    size_t units = length / size;
    bool ended = false;
    if (!able(dma, n) || units == 0) {
        return 0;
    }
    unsigned kind = dma->channel[n].g.mode & MODE_TRANSFER;
    if (kind != MODE_VERIFY && kind != (to_memory ? MODE_WRITE : MODE_READ)) {
        log_guest("ch%u mode 0x%02x is not for this direction", n, dma->channel[n].g.mode);
    }
    uint32_t moved =
        run(dma, n, data, units > 0x10000 ? 0x10000 : (uint32_t)units, to_memory, &ended);
    if (terminal_count) {
        *terminal_count = ended;
    }
    return (size_t)moved * size;
}

static void dma_do_request(void *controller, unsigned n, bool level)
{
    Dma *dma = controller;
    dma->channel[n].g.request = level;
}

static void dma_do_listen(void *controller, unsigned n, void (*ready)(void *self), void *self)
{
    Channel *c = &((Dma *)controller)->channel[n];
    unsigned place = 0;
    while (place < LISTENERS - 1 && c->listener[place].ready && c->listener[place].self != self) {
        place++;
    }
    c->listener[place].ready = ready;
    c->listener[place].self = self;
}

/* Software requests have no device: the controller runs the channel to its end by itself, masked or
 * not (data sheet, "Request Register"). */
static void serve_software_requests(Dma *dma, unsigned controller)
{
    for (unsigned n = controller * 4; n < controller * 4 + 4; n++) {
        Channel *c = &dma->channel[n];
        bool ended;
        if (c->g.software_request && controller_on(dma, controller) &&
            (c->g.mode & MODE_SELECT) != MODE_CASCADE) {
            run(dma, n, NULL, 0x10000, false, &ended);
        }
    }
}

static uint8_t status(Dma *dma, unsigned controller)
{
    uint8_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        Channel *c = &dma->channel[controller * 4 + i];
        value |= (uint8_t)(c->g.terminal_count << i);
        value |= (uint8_t)((c->g.request || c->g.software_request) << (4 + i));
        c->g.terminal_count = false;
    }
    return value;
}

static uint8_t masks(const Dma *dma, unsigned controller)
{
    uint8_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        value |= (uint8_t)(dma->channel[controller * 4 + i].g.masked << i);
    }
    return value;
}

static void set_masks(Dma *dma, unsigned controller, uint8_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        dma->channel[controller * 4 + i].g.masked = value >> i & 1;
    }
}

static void master_clear(Dma *dma, unsigned controller)
{
    dma->g.command[controller] = 0;
    dma->g.high_byte[controller] = false;
    for (unsigned i = 0; i < 4; i++) {
        Channel *c = &dma->channel[controller * 4 + i];
        c->g.masked = true;
        c->g.terminal_count = c->g.software_request = false;
    }
}

static uint8_t controller_read(Dma *dma, unsigned controller, unsigned reg)
{
    if (reg < 8) {
        const Channel *c = &dma->channel[controller * 4 + reg / 2];
        uint16_t value = reg & 1 ? c->g.count : c->g.address;
        bool high = dma->g.high_byte[controller];
        dma->g.high_byte[controller] = !high;
        return (uint8_t)(high ? value >> 8 : value);
    }
    switch (reg) {
    case REG_COMMAND:
        return status(dma, controller);
    case REG_MASTER_CLEAR:
        return 0; /* temporary register: only memory-to-memory fills it */
    case REG_MASK_ALL:
        return (uint8_t)(0xf0 | masks(dma, controller)); /* as the PIIX reads it */
    default:
        return 0xff;
    }
}

static void write_word_register(Dma *dma, unsigned controller, unsigned reg, uint8_t value)
{
    Channel *c = &dma->channel[controller * 4 + reg / 2];
    uint16_t *base = reg & 1 ? &c->g.base_count : &c->g.base_address;
    uint16_t *current = reg & 1 ? &c->g.count : &c->g.address;
    bool high = dma->g.high_byte[controller];
    dma->g.high_byte[controller] = !high;
    if (high) {
        *base = (uint16_t)(value << 8 | (*base & 0xff));
        *current = (uint16_t)(value << 8 | (*current & 0xff));
    } else {
        *base = (uint16_t)((*base & 0xff00) | value);
        *current = (uint16_t)((*current & 0xff00) | value);
    }
}

static void controller_write(Dma *dma, unsigned controller, unsigned reg, uint8_t value)
{
    unsigned before = able_set(dma);
    Channel *c = &dma->channel[controller * 4 + (value & 3)];
    if (reg < 8) {
        write_word_register(dma, controller, reg, value);
        return;
    }
    switch (reg) {
    case REG_COMMAND:
        if (value & COMMAND_MEMORY_TO_MEMORY) {
            log_unimp("controller %u: memory-to-memory", controller);
        }
        dma->g.command[controller] = value;
        break;
    case REG_REQUEST:
        c->g.software_request = value & 4;
        break;
    case REG_MASK_ONE:
        c->g.masked = value & 4;
        break;
    case REG_MODE:
        c->g.mode = value & 0xfc;
        log_trace("ch%u mode 0x%02x address 0x%05x count 0x%04x", controller * 4 + (value & 3),
                  value, physical(dma, controller * 4 + (value & 3)), c->g.count);
        break;
    case REG_FLIP_FLOP:
        dma->g.high_byte[controller] = false;
        break;
    case REG_MASTER_CLEAR:
        master_clear(dma, controller);
        break;
    case REG_CLEAR_MASK:
        set_masks(dma, controller, 0);
        break;
    default:
        set_masks(dma, controller, value & 15);
    }
    serve_software_requests(dma, controller);
    tell_ready(dma, before);
}

static uint64_t first_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)bytes;
    return controller_read(self, 0, offset);
}

static void first_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)bytes;
    controller_write(self, 0, offset, (uint8_t)value);
}

/* The second controller hangs on A1..A4: each register shows at two ports. */
static uint64_t second_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)bytes;
    return controller_read(self, 1, offset >> 1);
}

static void second_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)bytes;
    controller_write(self, 1, offset >> 1, (uint8_t)value);
}

static uint64_t page_read(void *self, uint32_t offset, unsigned bytes)
{
    Dma *dma = self;
    int n = page_channel[offset + 1];
    (void)bytes;
    return n < 0 ? dma->g.page[offset + 1] : dma->channel[n].g.page;
}

static void page_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Dma *dma = self;
    int n = page_channel[offset + 1];
    (void)bytes;
    if (n < 0) {
        dma->g.page[offset + 1] = (uint8_t)value;
    } else {
        dma->channel[n].g.page = (uint8_t)value;
    }
}

static const DmaOps line_ops = {dma_do_transfer, dma_do_request, dma_do_listen};

DmaLine dma_line(Dma *dma, unsigned channel)
{
    assert(channel < CHANNELS && channel != CASCADE);
    return (DmaLine){&line_ops, dma, channel};
}

static void dma_reset(Device *d, ResetKind kind)
{
    Dma *dma = (Dma *)d;
    (void)kind;
    for (unsigned i = 0; i < CHANNELS; i++) {
        bool request = dma->channel[i].g.request;
        memset(&dma->channel[i].g, 0, sizeof(dma->channel[i].g));
        dma->channel[i].g.request = request; /* the device's pin */
    }
    memset(&dma->g, 0, sizeof(dma->g));
    master_clear(dma, 0);
    master_clear(dma, 1);
}

static void dma_state(Device *d, StateIo *io)
{
    Dma *dma = (Dma *)d;
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &dma->channel[i];
        state_u16(io, "base_address", &c->g.base_address);
        state_u16(io, "address", &c->g.address);
        state_u16(io, "base_count", &c->g.base_count);
        state_u16(io, "count", &c->g.count);
        state_u8(io, "page", &c->g.page);
        state_u8(io, "mode", &c->g.mode);
        state_bool(io, "masked", &c->g.masked);
        state_bool(io, "request", &c->g.request);
        state_bool(io, "software_request", &c->g.software_request);
        state_bool(io, "terminal_count", &c->g.terminal_count);
    }
    for (unsigned i = 0; i < 2; i++) {
        state_u8(io, "command", &dma->g.command[i]);
        state_bool(io, "high_byte", &dma->g.high_byte[i]);
    }
    state_bytes(io, "page_scratch", dma->g.page, sizeof(dma->g.page));
}

static const DeviceType dma_type = {
    .name = "dma",
    .version = 1,
    .reset = dma_reset,
    .state = dma_state,
};

static const IoOps first_ops = {first_read, first_write, 1, 1};
static const IoOps second_ops = {second_read, second_write, 1, 1};
static const IoOps page_ops = {page_read, page_write, 1, 1};

Dma *dma_new(Board *b, const char *id)
{
    Dma *dma = calloc(1, sizeof(*dma));
    bus_claim(b->ports, 0x00, 16, &first_ops, dma, "dma 0-3");
    bus_claim(b->ports, 0xc0, 32, &second_ops, dma, "dma 4-7");
    bus_claim(b->ports, 0x81, 15, &page_ops, dma, "dma pages");
    device_add(b, &dma->dev, &dma_type, id);
    return dma;
}
