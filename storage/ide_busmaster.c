/* Bus master of the PIIX3's IDE function: PRD tables and the registers in BAR 4.
 *
 * Intel, Programming Interface for Bus Master IDE Controller, revision 1.0. A table is read as far
 * as the transfer needs it, so a guest cannot keep us in one. Not modelled: the rule that a table
 * or region does not cross 64 KiB (we just go on).
 */
#include "machine/core/log.h"
#include "storage/ide_internal.h"

LOG_TAG("ide");

enum {
    BM_START = 0x01,
    BM_TO_MEMORY = 0x08,
    BM_ACTIVE = 0x01,
    BM_ERROR = 0x02,
    BM_INTERRUPT = 0x04,
    BM_CAPABLE = 0x60, /* drive 0 and 1 can do DMA: set by software */
    PRD_LAST = 0x80,   /* in the eighth byte */
};

/* The next region of the table; false when the last one is used up or memory is missing. */
static bool next_region(IdeChannel *c)
{
    BusMaster *m = &c->master;
    uint8_t prd[8];
    if (m->g.last) {
        return false;
    }
    if (!pci_dma(c->ide->pci, m->g.next, prd, sizeof(prd), false)) {
        log_guest("ide%u: no PRD table at 0x%x", c->index, m->g.next);
        m->g.status |= BM_ERROR;
        return false;
    }
    m->g.address = prd[0] | prd[1] << 8 | prd[2] << 16 | (uint32_t)prd[3] << 24;
    m->g.address &= ~1u;
    m->g.left = (prd[4] | (uint32_t)prd[5] << 8) & ~1u;
    m->g.left = m->g.left ? m->g.left : 0x10000;
    m->g.last = prd[7] & PRD_LAST;
    m->g.next += 8;
    return true;
}

bool ide_master_ready(const IdeChannel *c, bool to_memory)
{
    return c->ide->pci && c->master.g.status & BM_ACTIVE &&
           !!(c->master.g.command & BM_TO_MEMORY) == to_memory;
}

IdeDma ide_master_move(IdeChannel *c, uint8_t *data, uint32_t length, bool to_memory)
{
    BusMaster *m = &c->master;
    if (!ide_master_ready(c, to_memory)) {
        return DMA_WAIT;
    }
    while (length) {
        if (m->g.left == 0 && !next_region(c)) {
            m->g.status &= (uint8_t)~BM_ACTIVE;
            return DMA_SHORT;
        }
        uint32_t part = length < m->g.left ? length : m->g.left;
        if (!pci_dma(c->ide->pci, m->g.address, data, part, to_memory)) {
            log_guest("ide%u: DMA to 0x%x meets no memory", c->index, m->g.address);
            m->g.status |= BM_ERROR;
        }
        data += part;
        length -= part;
        m->g.address += part;
        m->g.left -= part;
    }
    if (m->g.left == 0 && m->g.last) {
        m->g.status &= (uint8_t)~BM_ACTIVE;
    }
    return DMA_DONE;
}

void ide_master_interrupt(IdeChannel *c)
{
    c->master.g.status |= BM_INTERRUPT;
}

void ide_master_reset(IdeChannel *c)
{
    c->master.g.command = 0;
    c->master.g.status &= BM_CAPABLE;
    c->master.g.left = 0;
    c->master.g.last = false;
}

static void write_command(IdeChannel *c, uint8_t value)
{
    BusMaster *m = &c->master;
    bool was = m->g.command & BM_START, now = value & BM_START;
    if (was && now) { /* the direction must not change under way */
        value = (uint8_t)((value & ~BM_TO_MEMORY) | (m->g.command & BM_TO_MEMORY));
    }
    m->g.command = value & (BM_START | BM_TO_MEMORY);
    if (now && !was) {
        m->g.status |= BM_ACTIVE;
        m->g.next = m->g.table;
        m->g.left = 0;
        m->g.last = false;
        for (unsigned i = 0; i < 2; i++) {
            IdeUnit *u = &c->unit[i];
            if (u->kind == IDE_CDROM) {
                atapi_master_started(u);
            } else if (u->kind == IDE_DISK) {
                ata_master_started(u);
            }
        }
    } else if (was && !now) {
        m->g.status &= (uint8_t)~BM_ACTIVE;
    }
}

static uint64_t master_read(void *self, uint32_t offset, unsigned bytes)
{
    Ide *ide = self;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++, offset++) {
        const BusMaster *m = &ide->channel[offset >> 3 & 1].master;
        unsigned reg = offset & 7;
        uint8_t byte = reg == 0   ? m->g.command
                       : reg == 2 ? m->g.status
                       : reg >= 4 ? (uint8_t)(m->g.table >> (8 * (reg - 4)))
                                  : 0;
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void master_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ide *ide = self;
    for (unsigned i = 0; i < bytes; i++, offset++) {
        IdeChannel *c = &ide->channel[offset >> 3 & 1];
        BusMaster *m = &c->master;
        unsigned reg = offset & 7;
        uint8_t byte = (uint8_t)(value >> (8 * i));
        if (reg == 0) {
            write_command(c, byte);
        } else if (reg == 2) {
            /* bits 1 and 2 are cleared by writing ones, bits 5 and 6 are the driver's notes */
            m->g.status &= (uint8_t) ~(byte & (BM_ERROR | BM_INTERRUPT));
            m->g.status = (uint8_t)((m->g.status & ~BM_CAPABLE) | (byte & BM_CAPABLE));
        } else if (reg >= 4) {
            unsigned shift = 8 * (reg - 4);
            m->g.table = (m->g.table & ~(0xffu << shift)) | (uint32_t)byte << shift;
            m->g.table &= ~3u;
        }
    }
}

const IoOps ide_master_ops = {master_read, master_write, 1, 4};

void ide_master_state(IdeChannel *c, StateIo *io)
{
    BusMaster *m = &c->master;
    state_u8(io, "bm_command", &m->g.command);
    state_u8(io, "bm_status", &m->g.status);
    state_u32(io, "bm_table", &m->g.table);
    state_u32(io, "bm_next", &m->g.next);
    state_u32(io, "bm_address", &m->g.address);
    state_u32(io, "bm_left", &m->g.left);
    state_bool(io, "bm_last", &m->g.last);
    state_check(io, m->g.left <= 0x10000, "bus master region is too long");
}
