/* DP8390: the memory behind it, its remote DMA, and the ports of an NE2000.
 *
 * Data sheet: National Semiconductor DP8390D/NS32490D, "Remote DMA"; Novell's NE2000 for the ports:
 * registers first, then the data port of the remote DMA and the reset port.
 */
#include <string.h>

#include "chipset/cards/dp8390_internal.h"

/* --- memory behind the chip --- */

uint8_t dp8390_memory_read(const Dp8390 *d, uint16_t address)
{
    if (address < DP8390_RAM_BASE) {
        return d->prom[address % DP8390_PROM];
    }
    uint32_t at = (uint32_t)address - DP8390_RAM_BASE;
    return at < DP8390_RAM_SIZE ? d->g.ram[at] : 0xff;
}

void dp8390_memory_write(Dp8390 *d, uint16_t address, uint8_t value)
{
    uint32_t at = (uint32_t)address - DP8390_RAM_BASE;
    if (address >= DP8390_RAM_BASE && at < DP8390_RAM_SIZE) {
        d->g.ram[at] = value;
    }
}

/* --- remote DMA --- */

void dp8390_remote_done(Dp8390 *d)
{
    if (d->g.sending) {
        d->g.sending = false;
        d->g.bnry = d->g.send_next;
        dp8390_may_receive(d);
    }
    dp8390_raise(d, ISR_RDC);
}

static void remote_step(Dp8390 *d, unsigned bytes)
{
    d->g.rsar = (uint16_t)(d->g.rsar + bytes);
    if (d->g.rsar == d->g.pstop << 8) {
        d->g.rsar = (uint16_t)(d->g.pstart << 8);
    }
    if (d->g.rbcr <= bytes) {
        d->g.rbcr = 0;
        dp8390_remote_done(d);
    } else {
        d->g.rbcr = (uint16_t)(d->g.rbcr - bytes);
    }
}

/* Send Packet: the frame at BNRY, with address and length from its header. */
void dp8390_remote_send(Dp8390 *d)
{
    d->g.rsar = (uint16_t)(d->g.bnry << 8);
    d->g.send_next = dp8390_memory_read(d, (uint16_t)(d->g.rsar + 1));
    d->g.rbcr = (uint16_t)(dp8390_memory_read(d, (uint16_t)(d->g.rsar + 2)) |
                           dp8390_memory_read(d, (uint16_t)(d->g.rsar + 3)) << 8);
    d->g.sending = true;
}

/* Bytes that a transfer of the data port moves on. On a 16-bit bus the chip moves whole words; of a
 * byte access the other half is lost. */
static unsigned transfer_width(const Dp8390 *d, unsigned bytes)
{
    if (bytes == 4) {
        return 4;
    }
    return d->g.dcr & DCR_WTS ? 2 : 1;
}

/* Whether a remote DMA is under way in that direction (data sheet, "Remote DMA Commands"): bytes of
 * others go nowhere and come from nowhere. */
static bool remote_reads(const Dp8390 *d)
{
    unsigned command = d->g.cr & CR_RD;
    return d->g.rbcr && (command == CR_RD_READ || command == CR_RD_SEND);
}

static bool remote_writes(const Dp8390 *d)
{
    return d->g.rbcr && (d->g.cr & CR_RD) == CR_RD_WRITE;
}

static uint32_t data_read(Dp8390 *d, unsigned bytes)
{
    uint32_t value = 0;
    unsigned width = transfer_width(d, bytes);
    if (!remote_reads(d)) {
        return UINT32_MAX;
    }
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)dp8390_memory_read(d, (uint16_t)(d->g.rsar + i)) << 8 * i;
    }
    remote_step(d, width);
    return value;
}

static void data_write(Dp8390 *d, uint32_t value, unsigned bytes)
{
    unsigned width = transfer_width(d, bytes);
    if (!remote_writes(d)) {
        return;
    }
    for (unsigned i = 0; i < width; i++) {
        dp8390_memory_write(d, (uint16_t)(d->g.rsar + i), (uint8_t)(value >> 8 * i));
    }
    remote_step(d, width);
}

/* Of `count` transfers, those that only move data in the card's memory: none of them is the last of
 * the remote DMA, nor comes to the end of the ring. */
static uint32_t plain_transfers(const Dp8390 *d, unsigned bytes, uint32_t count)
{
    uint32_t at = d->g.rsar, ring_end = (uint32_t)d->g.pstop << 8;
    if (transfer_width(d, bytes) != bytes || at < DP8390_RAM_BASE ||
        at >= DP8390_RAM_BASE + DP8390_RAM_SIZE) {
        return 0;
    }
    uint32_t room = DP8390_RAM_BASE + DP8390_RAM_SIZE - at, left = d->g.rbcr - 1u;
    if (at < ring_end && room > ring_end - at - 1) {
        room = ring_end - at - 1;
    }
    uint32_t most = (left < room ? left : room) / bytes;
    return most < count ? most : count;
}

static void pass(Dp8390 *d, uint32_t bytes)
{
    d->g.rsar = (uint16_t)(d->g.rsar + bytes);
    d->g.rbcr = (uint16_t)(d->g.rbcr - bytes);
}

static uint32_t data_read_run(Dp8390 *d, unsigned bytes, void *data, uint32_t count)
{
    uint32_t n = remote_reads(d) ? plain_transfers(d, bytes, count) : 0;
    if (n) {
        memcpy(data, d->g.ram + (d->g.rsar - DP8390_RAM_BASE), (size_t)n * bytes);
        pass(d, n * bytes);
    }
    return n;
}

static uint32_t data_write_run(Dp8390 *d, unsigned bytes, const void *data, uint32_t count)
{
    uint32_t n = remote_writes(d) ? plain_transfers(d, bytes, count) : 0;
    if (n) {
        memcpy(d->g.ram + (d->g.rsar - DP8390_RAM_BASE), data, (size_t)n * bytes);
        pass(d, n * bytes);
    }
    return n;
}

/* --- an NE2000's ports --- */

uint32_t ne2000_read(Dp8390 *d, unsigned offset, unsigned bytes)
{
    if (offset >= 0x18) {
        dp8390_reset(d);
        return 0xff;
    }
    if (offset >= 0x10) {
        return data_read(d, bytes);
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)dp8390_read(d, offset + i) << 8 * i;
    }
    return value;
}

void ne2000_write(Dp8390 *d, unsigned offset, uint32_t value, unsigned bytes)
{
    if (offset >= 0x18) {
        return; /* the end of the reset pulse */
    }
    if (offset >= 0x10) {
        data_write(d, value, bytes);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        dp8390_write(d, offset + i, (uint8_t)(value >> 8 * i));
    }
}

static bool is_data_port(unsigned offset)
{
    return offset >= 0x10 && offset < 0x18;
}

uint32_t ne2000_read_run(Dp8390 *d, unsigned offset, unsigned bytes, void *data, uint32_t count)
{
    return is_data_port(offset) ? data_read_run(d, bytes, data, count) : 0;
}

uint32_t ne2000_write_run(Dp8390 *d, unsigned offset, unsigned bytes, const void *data,
                          uint32_t count)
{
    return is_data_port(offset) ? data_write_run(d, bytes, data, count) : 0;
}
