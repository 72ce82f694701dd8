/* What the board tells the firmware: CMOS set-up and fw_cfg items. */
#ifndef MACHINE_PC_FW_H
#define MACHINE_PC_FW_H

#include "chipset/fw_cfg.h"
#include "machine/machine.h"

/* Memory, boot order and menu, option ROMs, and the kernel of -kernel. */
bool pc_fw_items(FwCfg *f, const MachineConfig *config, Err *err);

#endif
