/* RTL8029AS: an NE2000 for the PCI bus, vendor 10ECh device 8029h (Realtek data sheet, 1997). */
#ifndef CHIPSET_CARDS_RTL8029_H
#define CHIPSET_CARDS_RTL8029_H

#include "chipset/pci.h"
#include "machine/core/device.h"
#include "machine/core/net_port.h"

typedef struct Rtl8029 Rtl8029;

typedef struct Rtl8029Config {
    PciBus *bus;
    unsigned device;
    const RamBlock *rom; /* NULL: none */
    NetPort port;
    uint8_t mac[6];
    int64_t patience; /* guest ns that a frame waits for room in the ring; 0: it is lost at once */
} Rtl8029Config;

Rtl8029 *rtl8029_new(Board *b, const Rtl8029Config *config, const char *id);

#endif
