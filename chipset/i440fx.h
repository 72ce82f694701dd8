/* 82441FX host bridge: what memory is where (Intel 440FX PCIset data sheet, order no. 290549).
 *
 * Maps system memory, the firmware at the top of 4 GiB and below 1 MiB, shadow memory (PAM), the
 * fixed hole and SMRAM.
 */
#ifndef CHIPSET_I440FX_H
#define CHIPSET_I440FX_H

#include "chipset/pci.h"

#define I440FX_MAX_RAM UINT64_C(0xc0000000)

typedef struct I440fx I440fx;

typedef struct I440fxConfig {
    PciBus *bus;                   /* it becomes device 0 */
    const RamBlock *ram;           /* 1 MiB..I440FX_MAX_RAM, from address 0 */
    const RamBlock *bios;          /* up to 16 MiB; its last 128 KiB appear below 1 MiB too */
    const RamBlock *expansion_rom; /* what cards' ROMs answer at C0000h..DFFFFh, FFh where there is
                                    * none; at most 128 KiB. NULL: devices may claim that space */
    Line reset;                    /* rises: reset the machine (turbo reset control) */
    Line init;                     /* rises: INIT to the processor */
} I440fxConfig;

I440fx *i440fx_new(Board *b, const I440fxConfig *config, const char *id);
/* Line sink for the processor's SMIACT#. */
void i440fx_smiact(void *i440fx, unsigned pin, bool level);

#endif
