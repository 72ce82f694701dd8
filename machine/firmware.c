/* Firmware: SeaBIOS and its VGA BIOS from Debian's package, the user's own files, option ROMs. */
#include "machine/firmware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/file.h"

/* Debian package ipxe-qemu. */
#define IPXE_DIR "/usr/lib/ipxe/qemu"

enum {
    BIOS_UNIT = 64 << 10,
    BIOS_LIMIT = 4 << 20,
    VGABIOS_LIMIT = 64 << 10,
    CARD_ROM_LIMIT = 1 << 20,
    OPTION_ROM_UNIT = 512
};

static RamBlock *into_ram(Ram *ram, const char *name, const uint8_t *data, size_t size, Err *err)
{
    RamBlock *block = ram_add(ram, name, size, err);
    if (block) {
        memcpy(ram_at(ram, block->at), data, size);
    }
    return block;
}

RamBlock *firmware_bios(Ram *ram, const char *path, Err *err)
{
    size_t size;
    const char *file = path ? path : SEABIOS_DIR "/bios-256k.bin";
    uint8_t *data = file_read(file, BIOS_LIMIT, &size,
                              path ? "-bios" : "SeaBIOS (Debian package seabios)", err);
    if (!data) {
        return NULL;
    }
    RamBlock *block = NULL;
    if (size == 0 || size % BIOS_UNIT != 0) {
        err_set(err, "-bios %s: a BIOS has a multiple of 64 KiB, not %zu bytes", file, size);
    } else {
        block = into_ram(ram, "bios", data, size, err);
    }
    free(data);
    return block;
}

RamBlock *firmware_vgabios(Ram *ram, const char *path, const char *card, Err *err)
{
    size_t size;
    const char *file = path;
    if (!file) {
        file = strcmp(card, "cirrus") == 0 ? SEABIOS_DIR "/vgabios-cirrus.bin"
                                           : SEABIOS_DIR "/vgabios-stdvga.bin";
    }
    uint8_t *data = file_read(file, VGABIOS_LIMIT, &size,
                              path ? "-vgabios" : "SeaVGABIOS (Debian package seabios)", err);
    RamBlock *block = NULL;
    if (data && (size < OPTION_ROM_UNIT || data[0] != 0x55 || data[1] != 0xaa)) {
        err_set(err, "-vgabios %s: this is no option ROM (it does not begin with 55 AA)", file);
    } else if (data) {
        block = into_ram(ram, "vgabios", data, size, err);
    }
    free(data);
    return block;
}

/* iPXE's images fit several cards, and Debian's bear no card's ids: the firmware runs only what
 * bears those of the card it hangs on (PCI Firmware Specification, "PCI data structure"). */
static void bear_ids(uint8_t *rom, size_t size, uint16_t vendor, uint16_t device)
{
    enum { PCIR_POINTER = 0x18, PCIR_IDS = 4, CHECK_BYTE = 6 };
    const uint8_t ids[4] = {(uint8_t)vendor, (uint8_t)(vendor >> 8), (uint8_t)device,
                            (uint8_t)(device >> 8)};
    size_t at = (size_t)(rom[PCIR_POINTER] | rom[PCIR_POINTER + 1] << 8);
    if (at + PCIR_IDS + sizeof(ids) > size || memcmp(rom + at, "PCIR", 4) != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(ids); i++) {
        uint8_t *byte = rom + at + PCIR_IDS + i;
        rom[CHECK_BYTE] = (uint8_t)(rom[CHECK_BYTE] + *byte - ids[i]);
        *byte = ids[i];
    }
}

RamBlock *firmware_card_rom(Ram *ram, const char *path, const char *card, uint16_t vendor,
                            uint16_t device, const char *name, Err *err)
{
    char ipxe[64];
    snprintf(ipxe, sizeof(ipxe), IPXE_DIR "/pxe-%.16s.rom", card);
    const char *file = path ? path : ipxe;
    if (!file[0] || (!path && access(ipxe, R_OK) != 0)) {
        return NULL;
    }
    size_t size;
    uint8_t *data = file_read(file, CARD_ROM_LIMIT, &size, path ? "romfile" : "iPXE", err);
    RamBlock *block = NULL;
    if (data && (size < OPTION_ROM_UNIT || data[0] != 0x55 || data[1] != 0xaa)) {
        err_set(err, "romfile=%s: this is no option ROM (it does not begin with 55 AA)", file);
    } else if (data) {
        if (!path) {
            bear_ids(data, size, vendor, device);
        }
        block = into_ram(ram, name, data, size, err);
    }
    free(data);
    return block;
}

uint8_t *firmware_option_rom(const char *what, const uint8_t *data, size_t size, size_t *rom_size,
                             Err *err)
{
    if (size < OPTION_ROM_UNIT || data[0] != 0x55 || data[1] != 0xaa) {
        err_set(err, "%s: this is no option ROM (it does not begin with 55 AA)", what);
        return NULL;
    }
    *rom_size = (size + OPTION_ROM_UNIT - 1) & ~(size_t)(OPTION_ROM_UNIT - 1);
    uint8_t *rom = calloc(1, *rom_size);
    if (!rom) {
        err_set(err, "out of memory");
        return NULL;
    }
    memcpy(rom, data, size);
    size_t summed =
        (size_t)rom[2] * OPTION_ROM_UNIT < *rom_size ? (size_t)rom[2] * OPTION_ROM_UNIT : *rom_size;
    uint8_t sum = 0;
    for (size_t i = 0; i < summed; i++) {
        sum = (uint8_t)(sum + rom[i]);
    }
    if (summed) {
        rom[summed - 1] = (uint8_t)(rom[summed - 1] - sum);
    }
    return rom;
}
