/* Firmware files of the host, brought into blocks of Ram. */
#ifndef MACHINE_FIRMWARE_H
#define MACHINE_FIRMWARE_H

#include "machine/core/ram.h"

/* The BIOS named by -bios, or SeaBIOS: 64 KiB to 4 MiB, a multiple of 64 KiB. NULL with err set. */
RamBlock *firmware_bios(Ram *ram, const char *path, Err *err);
/* A VGA BIOS named by -vgabios, or SeaVGABIOS for the card ("std", "cirrus"); at most 64 KiB. */
RamBlock *firmware_vgabios(Ram *ram, const char *path, const char *card, Err *err);
/* A plug-in card's ROM: the user's file, or iPXE for `card` ("ne2k_pci", "pcnet"). NULL without err
 * set: the user wants none (path is empty), or iPXE is not installed. */
RamBlock *firmware_card_rom(Ram *ram, const char *path, const char *card, uint16_t vendor,
                            uint16_t device, const char *name, Err *err);
/* An option ROM of ours (rom_NAME_start..end) or of the user, with its checksum made right. malloc.
 * `what` names it in err. */
uint8_t *firmware_option_rom(const char *what, const uint8_t *data, size_t size, size_t *rom_size,
                             Err *err);

#endif
