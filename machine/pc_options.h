/* Options of a machine's configuration in the chips' terms. */
#ifndef MACHINE_PC_OPTIONS_H
#define MACHINE_PC_OPTIONS_H

#include "chipset/rtc.h"
#include "cpu-accel/x86/cpu.h"

/* "386" "486" "pentium" "pentium-mmx" "pentium2" "pentium3" "pentium4", and QEMU's names for near
 * ones. */
bool pc_cpu_model(const char *text, CpuModel *model, bool *pvclock, Err *err);
/* Can this processor run the firmware that would be used? bios: of -bios, or NULL. */
bool pc_check_firmware(CpuModel model, const char *bios, Err *err);
bool pc_check_memory(uint32_t mib, Err *err);
/* "utc", "localtime", or a date: what the clock shows at power-on, in seconds since 1970. */
bool pc_rtc_base(const char *text, int64_t *seconds, Err *err);
/* QEMU's letters; NULL: floppy, disk, CD. */
void pc_boot_order(const char *letters, RtcSetup *setup);

#endif
