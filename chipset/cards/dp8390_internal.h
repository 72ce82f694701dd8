/* DP8390 network interface controller with the memory of an NE2000 behind it, for the cards that
 * carry one: registers, receive ring, transmitter, remote DMA (National Semiconductor DP8390D
 * data sheet).
 *
 * A card embeds a Dp8390, maps its registers, and calls the functions below from its own device
 * functions.
 */
#ifndef CHIPSET_CARDS_DP8390_INTERNAL_H
#define CHIPSET_CARDS_DP8390_INTERNAL_H

#include "machine/core/device.h"
#include "machine/core/line.h"
#include "machine/core/net_port.h"

enum {
    NE2000_PORTS = 32,
    DP8390_REGISTERS = 16,
    DP8390_FIFO = 8,
    DP8390_PROM = 32,
    DP8390_RAM_BASE = 0x4000, /* the chip's addresses */
    DP8390_RAM_SIZE = 0x4000,
};

enum {
    CR_STP = 0x01,
    CR_STA = 0x02,
    CR_TXP = 0x04,
    CR_RD = 0x38,
    CR_RD_READ = 0x08,
    CR_RD_WRITE = 0x10,
    CR_RD_SEND = 0x18,
    CR_RD_ABORT = 0x20,
    CR_PAGE_SHIFT = 6,

    ISR_PRX = 0x01,
    ISR_PTX = 0x02,
    ISR_OVW = 0x10,
    ISR_CNT = 0x20,
    ISR_RDC = 0x40,
    ISR_RST = 0x80,

    DCR_WTS = 0x01,
    DCR_LAS = 0x04,

    TCR_CRC = 0x01, /* the software appends the CRC */
    TCR_LB = 0x06,
    TCR_LB_NIC = 0x02,
    TCR_LB_ENDEC = 0x04,
    TCR_MASK = 0x1f,

    TSR_PTX = 0x01,
    TSR_ND = 0x02, /* not deferred */
    TSR_CRS = 0x10,
    TSR_CDH = 0x40,

    RCR_AR = 0x02,
    RCR_AB = 0x04,
    RCR_AM = 0x08,
    RCR_PRO = 0x10,
    RCR_MON = 0x20,
    RCR_MASK = 0x3f,

    RSR_PRX = 0x01,
    RSR_CRC = 0x02,
    RSR_MPA = 0x10,
    RSR_PHY = 0x20, /* the address was a group's */
    RSR_DIS = 0x40, /* monitor mode */
};
enum { TALLY_ALIGNMENT, TALLY_CRC, TALLY_MISSED };

#define DP8390_PATIENCE_NS INT64_C(100000000)

typedef struct Dp8390 {
    struct {
        uint8_t cr, isr, imr, dcr, tcr, rcr, tsr, rsr, ncr;
        uint8_t pstart, pstop, bnry, curr, tpsr; /* pages of 256 bytes */
        uint16_t tbcr;                           /* bytes to send */
        uint16_t rsar, rbcr;                     /* remote DMA: address and bytes left */
        uint16_t clda;                           /* local DMA address */
        uint8_t remote_next, local_next;
        uint16_t address_counter;
        uint8_t par[6], mar[8];
        uint8_t tally[3];                   /* alignment and CRC errors, missed frames; 0..192 */
        uint8_t fifo[DP8390_FIFO], fifo_at; /* 0..7 */
        bool sending;                       /* remote DMA is a Send Packet command */
        uint8_t send_next;                  /* what it leaves in BNRY */
        bool impatient; /* a frame waited in vain for room: those without room are lost */
        uint8_t again_bnry, again_curr; /* where the ring stood when PRX was raised again */
        uint8_t ram[DP8390_RAM_SIZE];
    } g;
    Clock *clock;
    NetPort port;
    Line irq;
    int64_t patience; /* guest ns that a frame waits for room in the ring */
    Timer waited;
    Timer again;  /* raises PRX again for frames that an acknowledge left in the ring */
    bool waiting; /* a frame of the back end waits */
    uint8_t prom[DP8390_PROM];
} Dp8390;

typedef struct Dp8390Config {
    NetPort port;
    Line irq;
    uint8_t mac[6];
    int64_t patience;
} Dp8390Config;

/* Attaches itself to the port. */
void dp8390_init(Dp8390 *d, Clock *clock, const Dp8390Config *config);
void dp8390_reset(Dp8390 *d);
void dp8390_state(Dp8390 *d, StateIo *io);
void dp8390_restored(Dp8390 *d);
void dp8390_fini(Dp8390 *d);

/* Registers 0..15 of the page that CR selects. */
uint8_t dp8390_read(Dp8390 *d, unsigned reg);
void dp8390_write(Dp8390 *d, unsigned reg, uint8_t value);
/* An NE2000's 32 ports: registers, the remote DMA's data at 10h..17h (1, 2 or 4 bytes), reset at
 * 18h..1Fh. */
uint32_t ne2000_read(Dp8390 *d, unsigned offset, unsigned bytes);
void ne2000_write(Dp8390 *d, unsigned offset, uint32_t value, unsigned bytes);
/* Runs at its data port, as in IoRuns. */
uint32_t ne2000_read_run(Dp8390 *d, unsigned offset, unsigned bytes, void *data, uint32_t count);
uint32_t ne2000_write_run(Dp8390 *d, unsigned offset, unsigned bytes, const void *data,
                          uint32_t count);

/* --- between the chip's files --- */

/* dp8390.c */
void dp8390_update_irq(Dp8390 *d);
void dp8390_raise(Dp8390 *d, uint8_t bits);
void dp8390_count(Dp8390 *d, unsigned tally);
bool dp8390_running(const Dp8390 *d);
/* dp8390_wire.c */
bool dp8390_receive(void *self, const uint8_t *frame, size_t size);
/* Something has changed that may let a waiting frame in. */
void dp8390_may_receive(Dp8390 *d);
/* The guest has acknowledged PRX. */
void dp8390_acknowledged(Dp8390 *d);
/* Timers. */
void dp8390_raise_again(void *self, int64_t due);
void dp8390_waited_in_vain(void *self, int64_t due);
void dp8390_transmit(Dp8390 *d);
/* dp8390_memory.c */
uint8_t dp8390_memory_read(const Dp8390 *d, uint16_t address);
void dp8390_memory_write(Dp8390 *d, uint16_t address, uint8_t value);
/* Send Packet: the frame at BNRY, with address and length from its header. */
void dp8390_remote_send(Dp8390 *d);
void dp8390_remote_done(Dp8390 *d);

#endif
