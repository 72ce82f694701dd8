/* DP8390 network interface controller, with PROM and 16 KiB of memory as an NE2000 wires them:
 * registers, interrupts, reset, state.
 *
 * Data sheet: National Semiconductor DP8390D/NS32490D. dp8390_wire.c has receiver and transmitter,
 * dp8390_memory.c the remote DMA and an NE2000's ports. Not modelled: time on the wire (a frame is
 * sent at once, so there are no collisions), bad CRCs and odd nibbles on the wire (NetPort carries
 * good frames only; SEP is kept), and that a 16-bit loopback sends every other byte only. Used by
 * ne2000.c and rtl8029.c.
 */
#include <string.h>

#include "chipset/cards/dp8390_internal.h"
#include "machine/core/log.h"

LOG_TAG("dp8390");

enum { TALLY_CNT = 128, TALLY_STOP = 192 };

void dp8390_update_irq(Dp8390 *d)
{
    line_set(&d->irq, (d->g.isr & d->g.imr & ~ISR_RST) != 0);
}

void dp8390_raise(Dp8390 *d, uint8_t bits)
{
    d->g.isr |= bits;
    dp8390_update_irq(d);
}

void dp8390_count(Dp8390 *d, unsigned tally)
{
    if (d->g.tally[tally] < TALLY_STOP) {
        d->g.tally[tally]++;
    }
    if (d->g.tally[tally] >= TALLY_CNT) {
        dp8390_raise(d, ISR_CNT);
    }
}

bool dp8390_running(const Dp8390 *d)
{
    return (d->g.cr & (CR_STP | CR_STA)) == CR_STA;
}

/* --- registers --- */

static void write_command(Dp8390 *d, uint8_t value)
{
    bool was_transmitting = d->g.cr & CR_TXP;
    if (!(value & (CR_STP | CR_STA))) {
        /* Writing neither leaves the chip as it is (data sheet, "Command Register"). */
        value |= d->g.cr & (CR_STP | CR_STA);
    }
    d->g.cr = value;
    if (value & CR_STP) {
        d->g.isr |= ISR_RST;
        d->g.cr &= (uint8_t)~CR_TXP;
    } else if (value & CR_STA) {
        d->g.isr &= (uint8_t)~ISR_RST;
    }
    unsigned remote = value & CR_RD;
    if (remote & CR_RD_ABORT) {
        d->g.sending = false;
    } else if (remote == CR_RD_SEND) {
        dp8390_remote_send(d);
    }
    if ((remote == CR_RD_READ || remote == CR_RD_WRITE || remote == CR_RD_SEND) && d->g.rbcr == 0) {
        dp8390_remote_done(d);
    }
    if (d->g.cr & CR_TXP && dp8390_running(d) && !was_transmitting) {
        dp8390_transmit(d);
    }
    dp8390_update_irq(d);
    dp8390_may_receive(d);
}

static uint8_t read_tally(Dp8390 *d, unsigned tally)
{
    uint8_t value = d->g.tally[tally];
    d->g.tally[tally] = 0;
    return value;
}

static uint8_t read_fifo(Dp8390 *d)
{
    uint8_t value = d->g.fifo[d->g.fifo_at];
    d->g.fifo_at = (d->g.fifo_at + 1) % DP8390_FIFO;
    return value;
}

static uint8_t read_page0(Dp8390 *d, unsigned reg)
{
    switch (reg) {
    case 0x1:
        return (uint8_t)d->g.clda;
    case 0x2:
        return (uint8_t)(d->g.clda >> 8);
    case 0x3:
        return d->g.bnry;
    case 0x4:
        return d->g.tsr;
    case 0x5:
        return d->g.ncr;
    case 0x6:
        return read_fifo(d);
    case 0x7:
        return d->g.isr;
    case 0x8:
        return (uint8_t)d->g.rsar;
    case 0x9:
        return (uint8_t)(d->g.rsar >> 8);
    case 0xc:
        return d->g.rsr;
    case 0xd:
    case 0xe:
    case 0xf:
        return read_tally(d, reg - 0xd);
    default:
        return 0xff;
    }
}

static uint8_t read_page2(const Dp8390 *d, unsigned reg)
{
    switch (reg) {
    case 0x1:
        return d->g.pstart;
    case 0x2:
        return d->g.pstop;
    case 0x3:
        return d->g.remote_next;
    case 0x4:
        return d->g.tpsr;
    case 0x5:
        return d->g.local_next;
    case 0x6:
        return (uint8_t)(d->g.address_counter >> 8);
    case 0x7:
        return (uint8_t)d->g.address_counter;
    case 0xc:
        return d->g.rcr;
    case 0xd:
        return d->g.tcr;
    case 0xe:
        return d->g.dcr;
    case 0xf:
        return d->g.imr;
    default:
        return 0xff;
    }
}

uint8_t dp8390_read(Dp8390 *d, unsigned reg)
{
    if (reg == 0) {
        return d->g.cr;
    }
    switch (d->g.cr >> CR_PAGE_SHIFT) {
    case 0:
        return read_page0(d, reg);
    case 1:
        return reg <= 6 ? d->g.par[reg - 1] : reg == 7 ? d->g.curr : d->g.mar[reg - 8];
    case 2:
        return read_page2(d, reg);
    default:
        return 0xff; /* test registers */
    }
}

static void set_low(uint16_t *to, uint8_t value)
{
    *to = (uint16_t)((*to & 0xff00) | value);
}

static void set_high(uint16_t *to, uint8_t value)
{
    *to = (uint16_t)((*to & 0x00ff) | value << 8);
}

static void write_page0(Dp8390 *d, unsigned reg, uint8_t value)
{
    switch (reg) {
    case 0x1:
        d->g.pstart = value;
        break;
    case 0x2:
        d->g.pstop = value;
        break;
    case 0x3:
        d->g.bnry = value;
        if (dp8390_running(d)) {
            d->g.isr &= (uint8_t)~ISR_RST; /* set by an overflow; the ring has been emptied a bit */
        }
        break;
    case 0x4:
        d->g.tpsr = value;
        break;
    case 0x5:
        set_low(&d->g.tbcr, value);
        break;
    case 0x6:
        set_high(&d->g.tbcr, value);
        break;
    case 0x7:
        d->g.isr &= (uint8_t)(~value | ISR_RST);
        if (value & ISR_PRX) {
            dp8390_acknowledged(d);
        }
        break;
    case 0x8:
        set_low(&d->g.rsar, value);
        break;
    case 0x9:
        set_high(&d->g.rsar, value);
        break;
    case 0xa:
        set_low(&d->g.rbcr, value);
        break;
    case 0xb:
        set_high(&d->g.rbcr, value);
        break;
    case 0xc:
        d->g.rcr = value & RCR_MASK;
        break;
    case 0xd:
        d->g.tcr = value & TCR_MASK;
        break;
    case 0xe:
        d->g.dcr = value & 0x7f;
        break;
    default:
        d->g.imr = value & 0x7f;
    }
}

static void write_page1(Dp8390 *d, unsigned reg, uint8_t value)
{
    if (reg <= 6) {
        d->g.par[reg - 1] = value;
    } else if (reg == 7) {
        d->g.curr = value;
    } else {
        d->g.mar[reg - 8] = value;
    }
}

static void write_page2(Dp8390 *d, unsigned reg, uint8_t value)
{
    switch (reg) {
    case 0x1:
        set_low(&d->g.clda, value);
        break;
    case 0x2:
        set_high(&d->g.clda, value);
        break;
    case 0x3:
        d->g.remote_next = value;
        break;
    case 0x5:
        d->g.local_next = value;
        break;
    case 0x6:
        set_high(&d->g.address_counter, value);
        break;
    case 0x7:
        set_low(&d->g.address_counter, value);
        break;
    default:
        log_guest("page 2 register 0x%x cannot be written", reg);
    }
}

void dp8390_write(Dp8390 *d, unsigned reg, uint8_t value)
{
    unsigned page = d->g.cr >> CR_PAGE_SHIFT;
    if (reg == 0) {
        write_command(d, value);
        return;
    }
    if (page == 0) {
        write_page0(d, reg, value);
    } else if (page == 1) {
        write_page1(d, reg, value);
    } else if (page == 2) {
        write_page2(d, reg, value);
    }
    dp8390_update_irq(d);
    dp8390_may_receive(d);
}

/* --- life --- */

void dp8390_reset(Dp8390 *d)
{
    /* Data sheet, "Reset": all else keeps its value. */
    d->g.cr = CR_STP | CR_RD_ABORT;
    d->g.isr = ISR_RST;
    d->g.imr = 0;
    d->g.dcr &= (uint8_t)~DCR_LAS;
    d->g.tcr &= (uint8_t)~TCR_LB;
    d->g.sending = d->g.impatient = false;
    timer_disarm(&d->waited);
    timer_disarm(&d->again);
    dp8390_update_irq(d);
    dp8390_may_receive(d);
}

void dp8390_state(Dp8390 *d, StateIo *io)
{
    struct {
        const char *name;
        uint8_t *value;
    } bytes[] = {
        {"cr", &d->g.cr},
        {"isr", &d->g.isr},
        {"imr", &d->g.imr},
        {"dcr", &d->g.dcr},
        {"tcr", &d->g.tcr},
        {"rcr", &d->g.rcr},
        {"tsr", &d->g.tsr},
        {"rsr", &d->g.rsr},
        {"ncr", &d->g.ncr},
        {"pstart", &d->g.pstart},
        {"pstop", &d->g.pstop},
        {"bnry", &d->g.bnry},
        {"curr", &d->g.curr},
        {"tpsr", &d->g.tpsr},
        {"remote_next", &d->g.remote_next},
        {"fifo_at", &d->g.fifo_at},
        {"local_next", &d->g.local_next},
        {"send_next", &d->g.send_next},
    };
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        state_u8(io, bytes[i].name, bytes[i].value);
    }
    state_u16(io, "tbcr", &d->g.tbcr);
    state_u16(io, "rsar", &d->g.rsar);
    state_u16(io, "rbcr", &d->g.rbcr);
    state_u16(io, "clda", &d->g.clda);
    state_u16(io, "address_counter", &d->g.address_counter);
    state_bytes(io, "par", d->g.par, sizeof(d->g.par));
    state_bytes(io, "mar", d->g.mar, sizeof(d->g.mar));
    state_bytes(io, "tally", d->g.tally, sizeof(d->g.tally));
    state_bytes(io, "fifo", d->g.fifo, sizeof(d->g.fifo));
    state_bool(io, "sending", &d->g.sending);
    state_bool(io, "impatient", &d->g.impatient);
    state_u8(io, "again_bnry", &d->g.again_bnry);
    state_u8(io, "again_curr", &d->g.again_curr);
    state_timer(io, "waited", &d->waited);
    state_timer(io, "again", &d->again);
    state_bytes(io, "ram", d->g.ram, sizeof(d->g.ram));
    state_check(io, d->g.fifo_at < DP8390_FIFO, "FIFO pointer is out of range");
}

void dp8390_restored(Dp8390 *d)
{
    dp8390_update_irq(d);
    /* What waits at this machine's back end is not what waited when the state was saved. */
    d->waiting = true;
    dp8390_may_receive(d);
}

void dp8390_init(Dp8390 *d, Clock *clock, const Dp8390Config *config)
{
    d->clock = clock;
    d->port = config->port;
    d->irq = config->irq;
    d->patience = config->patience;
    for (unsigned i = 0; i < 6; i++) {
        d->prom[2 * i] = d->prom[2 * i + 1] = config->mac[i];
    }
    memset(d->prom + 28, 'W', 4); /* a 16-bit card */
    timer_init(&d->again, clock, "dp8390.again", dp8390_raise_again, d);
    timer_init(&d->waited, clock, "dp8390.waited", dp8390_waited_in_vain, d);
    if (d->port.ops) {
        d->port.ops->attach(d->port.backend, &(NetSink){dp8390_receive, d});
    }
}

void dp8390_fini(Dp8390 *d)
{
    timer_disarm(&d->waited);
    timer_disarm(&d->again);
}
