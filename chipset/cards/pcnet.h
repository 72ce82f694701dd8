/* Am79C970A (PCnet-PCI II) Ethernet controller, vendor 1022h device 2000h (AMD data sheet 19436).
 */
#ifndef CHIPSET_CARDS_PCNET_H
#define CHIPSET_CARDS_PCNET_H

#include "chipset/pci.h"
#include "machine/core/device.h"
#include "machine/core/net_port.h"

typedef struct Pcnet Pcnet;

typedef struct PcnetConfig {
    PciBus *bus;
    unsigned device;
    const RamBlock *rom; /* NULL: none */
    NetPort port;
    uint8_t mac[6];
    int64_t patience; /* guest ns that a frame waits for a descriptor; 0: it is lost at once */
} PcnetConfig;

Pcnet *pcnet_new(Board *b, const PcnetConfig *config, const char *id);

#endif
