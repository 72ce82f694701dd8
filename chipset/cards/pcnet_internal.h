/* The inside of the PCnet-PCI II: what registers (pcnet.c) and descriptor rings (pcnet_ring.c)
 * share. */
#ifndef CHIPSET_CARDS_PCNET_INTERNAL_H
#define CHIPSET_CARDS_PCNET_INTERNAL_H

#include "chipset/cards/pcnet.h"

enum { PCNET_APROM = 16, PCNET_CSRS = 128, PCNET_BCRS = 32 };
enum {
    CSR0_INIT = 0x0001,
    CSR0_STRT = 0x0002,
    CSR0_STOP = 0x0004,
    CSR0_TDMD = 0x0008,
    CSR0_TXON = 0x0010,
    CSR0_RXON = 0x0020,
    CSR0_IENA = 0x0040,
    CSR0_INTR = 0x0080,
    CSR0_IDON = 0x0100,
    CSR0_TINT = 0x0200,
    CSR0_RINT = 0x0400,
    CSR0_MERR = 0x0800,
    CSR0_MISS = 0x1000,
    CSR0_CERR = 0x2000,
    CSR0_BABL = 0x4000,
    CSR0_ERR = 0x8000,
    CSR0_CLEARABLE = 0x7f00,
    CSR3_DXSUFLO = 0x0040, /* an underflow does not stop the transmitter */
    CSR3_MASKS = 0x5f00,
    CSR4_TXSTRTM = 0x0004, /* a mask lies below its event, but for UINT */
    CSR4_TXSTRT = 0x0008,
    CSR4_UINT = 0x0040,
    CSR4_UINTCMD = 0x0080,
    CSR4_MFCOM = 0x0100,
    CSR4_MFCO = 0x0200,
    CSR4_ASTRP_RCV = 0x0400,
    CSR4_APAD_XMT = 0x0800,
    CSR4_DPOLL = 0x1000,
    CSR4_CLEARABLE = 0x026a, /* MFCO, UINT, RCVCCO, TXSTRT, JAB */
    CSR5_SPND = 0x0001,
    CSR5_CLEARABLE = 0x0a90, /* SINT, SLPINT, EXDINT, MPINT */
    CSR5_LTINTEN = 0x4000,
    CSR5_TOKINTD = 0x8000,
    CSR15_DRX = 0x0001,
    CSR15_DTX = 0x0002,
    CSR15_LOOP = 0x0004,
    CSR15_DXMTFCS = 0x0008,
    CSR15_INTL = 0x0040,
    CSR15_DRCVPA = 0x2000,
    CSR15_DRCVBC = 0x4000,
    CSR15_PROM = 0x8000,
    CSR124_RPA = 0x0008, /* takes frames shorter than Ethernet's */
    BCR18_DWIO = 0x0080,
    BCR20_SSIZE32 = 0x0100,
    BCR20_CSRPCNET = 0x0200,
};

struct Pcnet {
    Device dev;
    PciFunction *function;
    PcnetConfig config;
    struct {
        uint16_t csr[PCNET_CSRS], bcr[PCNET_BCRS], rap;
        uint8_t aprom[PCNET_APROM];
        uint32_t receive_base, transmit_base;
        uint16_t receive_at, transmit_at;       /* index in the ring */
        uint16_t receive_count, transmit_count; /* descriptors, 1..65535 */
        bool impatient; /* a frame waited in vain for a descriptor: those without one are lost */
    } g;
    Timer poll, waited;
    bool waiting;   /* a frame of the back end waits */
    bool mastering; /* the chip has the bus: it does not answer its own accesses */
};

/* pcnet.c: */
void pcnet_update_irq(Pcnet *p);

/* pcnet_ring.c: */
bool pcnet_style32(const Pcnet *p);
/* A descriptor's size in bytes. */
unsigned pcnet_descriptor_size(const Pcnet *p);
/* The address that the chip puts on the bus: the 16-bit style has 24 bits in its structures. */
uint32_t pcnet_bus_address(const Pcnet *p, uint32_t address);
/* False when it met no memory; CSR0 says so then. */
bool pcnet_dma(Pcnet *p, uint32_t address, void *data, size_t size, bool to_guest);
/* NetSink's. */
bool pcnet_receive(void *self, const uint8_t *frame, size_t size);
/* Something has changed that may let a waiting frame in. */
void pcnet_may_receive(Pcnet *p);
/* Timer: no descriptor came for the frame that waits. */
void pcnet_waited_in_vain(void *self, int64_t due);
/* Sends the frames that the transmit ring holds. */
void pcnet_send_all(Pcnet *p);

#endif
