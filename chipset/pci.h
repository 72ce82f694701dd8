/* The PCI bus: configuration space, base addresses, interrupt pins, bus masters (PCI Local Bus
 * Specification 2.1).
 *
 * One bus, devices 0..31. A chip on it calls pci_add in its x_new, then declares its BARs and sets
 * defaults and writable bits of its own registers (offsets 40h..FFh); what configuration space
 * holds when the board is first reset is what every later reset brings back. The bus saves and
 * loads the whole of configuration space and the interrupt pins: chips do not.
 */
#ifndef CHIPSET_PCI_H
#define CHIPSET_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

/* Offsets in configuration space (specification, 6.1). */
enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09,
    PCI_CACHE_LINE = 0x0c,
    PCI_LATENCY = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_ROM_BASE = 0x30,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_CONFIG_SIZE = 0x100,
};

enum {
    PCI_COMMAND_IO = 0x0001,
    PCI_COMMAND_MEMORY = 0x0002,
    PCI_COMMAND_MASTER = 0x0004,
    PCI_COMMAND_SPECIAL = 0x0008,
    PCI_COMMAND_INVALIDATE = 0x0010,
    PCI_COMMAND_SNOOP = 0x0020,
    PCI_COMMAND_PARITY = 0x0040,
    PCI_COMMAND_SERR = 0x0100,
    PCI_STATUS_FAST_BACK = 0x0080,
    PCI_STATUS_MEDIUM = 0x0200, /* DEVSEL timing */
    PCI_STATUS_RECEIVED_MASTER_ABORT = 0x2000,
};

typedef struct PciBus PciBus;
typedef struct PciFunction PciFunction;

typedef struct PciIds {
    uint16_t vendor, device;
    uint32_t class_code; /* 24 bits: class, subclass, interface */
    uint8_t revision;
    uint16_t subsystem_vendor, subsystem;
    uint8_t interrupt_pin; /* 0 none, 1..4 INTA#..INTD# */
} PciIds;

/* Claims ports CF8h..CFFh (configuration mechanism 1). */
PciBus *pci_new(Board *b, const char *id);
/* The interrupt router's input for PIRQ 0..3 (A..D). Driven with the OR of all pins that share it.
 */
void pci_connect(PciBus *bus, unsigned pirq, Line line);
/* Port CF9h lies inside the configuration address register; byte accesses to it go to the reset
 * control register of the south bridge. */
void pci_reset_control(PciBus *bus, const IoOps *ops, void *self);

/* A function in a free place (device 0..31, function 0..7). `self` is passed to BAR handlers and to
 * the written callback. Function 0 becomes "multifunction" by itself when another is added. Command
 * bits 0, 1, 2, 6 and 8 are writable at first; status reads medium DEVSEL. */
PciFunction *pci_add(PciBus *bus, unsigned device, unsigned function, const PciIds *ids,
                     void *self);
/* The 256 bytes of configuration space; which bits the guest can write, and which it clears by
 * writing ones. */
uint8_t *pci_config(PciFunction *f);
uint8_t *pci_writable(PciFunction *f);
uint8_t *pci_write_1_clears(PciFunction *f);
uint16_t pci_word(const PciFunction *f, unsigned offset);
uint32_t pci_dword(const PciFunction *f, unsigned offset);
/* Called after the guest wrote offset..offset + bytes - 1 (masks applied, BARs moved). */
void pci_on_write(PciFunction *f, void (*written)(void *self, unsigned offset, unsigned bytes));

/* BAR n (0..5); size is a power of two: 4..64 KiB ports, 16 bytes..2 GiB of memory. The command
 * register and the BAR open, close and move the range by themselves. The ports' range is returned
 * for what else there is to say about it (bus_set_runs). */
IoRange *pci_bar_io(PciFunction *f, unsigned n, uint32_t size, const IoOps *ops, const char *what);
void pci_bar_memory(PciFunction *f, unsigned n, uint32_t size, bool prefetchable, const IoOps *ops,
                    const char *what);
/* The whole block, whose size is a power of two; prefetchable. */
void pci_bar_ram(PciFunction *f, unsigned n, const RamBlock *block, const char *what);
/* Expansion ROM; the BAR is as large as the next power of two. */
void pci_rom(PciFunction *f, const RamBlock *block, const char *what);
/* Where BAR n is decoded now, or UINT64_MAX while it is not. */
uint64_t pci_bar_base(const PciFunction *f, unsigned n);

/* The function's INTx# pin. */
void pci_interrupt(PciFunction *f, bool level);
/* A transfer as bus master. False (and ones read) when the command register forbids it or some of
 * it met no memory. */
bool pci_dma(PciFunction *f, uint64_t addr, void *buf, size_t len, bool to_guest);
/* Calls line(self, text) for each function: place, ids, and its ranges. */
void pci_describe(PciBus *bus, void (*line)(void *self, const char *text), void *self);

#endif
