/* What the board tells the firmware: CMOS set-up and fw_cfg items. */
#ifndef MACHINE_PC_FW_H
#define MACHINE_PC_FW_H

#include "chipset/fw_cfg.h"
#include "machine/machine.h"

/* A kernel's command line, and behind it a seed that is new at each reading (at each start of the
 * guest, that is) or, in deterministic mode, always the same. */
typedef struct PcSeed {
    uint8_t *data; /* owned; NULL: none */
    size_t at;     /* of the seed */
    bool fixed;
} PcSeed;

/* Memory, boot order and menu, option ROMs, and the kernel of -kernel. */
/* `seed` lives as long as the device. */
bool pc_fw_items(FwCfg *f, const MachineConfig *config, PcSeed *seed, Err *err);

#endif
