/* The firmware configuration device through which the board hands items to SeaBIOS (QEMU's
 * docs/specs/fw_cfg).
 *
 * Selector at 510h, data at 511h, DMA address at 514h. Items are found by number, or by name
 * through the file directory. Items are added while the board is built, in the same order each
 * time.
 */
#ifndef CHIPSET_FW_CFG_H
#define CHIPSET_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/device.h"

typedef struct FwCfg FwCfg;

/* Items by number that firmware knows. */
enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_RAM_SIZE = 0x03, /* u64 */
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05, /* u16 */
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e, /* u16 */
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH = 0x8000, /* items of the architecture: 0x8000..0x83ff */
};

#define FW_CFG_NAME_MAX 55u /* bytes of a file name without the NUL */
#define FW_CFG_FILES_MAX 128u

/* Fills all `length` bytes of `data` from the item's byte `offset` on; never beyond its size. */
typedef void (*FwCfgRead)(void *self, uint32_t offset, void *data, size_t length);

FwCfg *fw_cfg_new(Board *b, const char *id);

/* Adding an item that is there already replaces it. The bytes are copied; without a `read` callback
 * none may be given. False (err set): no room, a bad number or name, or out of memory. */
bool fw_cfg_add(FwCfg *f, uint16_t key, const void *data, size_t size, Err *err);
bool fw_cfg_add_u16(FwCfg *f, uint16_t key, uint16_t value, Err *err);
bool fw_cfg_add_u32(FwCfg *f, uint16_t key, uint32_t value, Err *err);
bool fw_cfg_add_u64(FwCfg *f, uint16_t key, uint64_t value, Err *err);
bool fw_cfg_add_source(FwCfg *f, uint16_t key, size_t size, FwCfgRead read, void *self, Err *err);
/* Files: "bootorder", "etc/boot-menu-wait", "genroms/x.bin", "vgaroms/vgabios.bin" ... */
bool fw_cfg_add_file(FwCfg *f, const char *name, const void *data, size_t size, Err *err);
bool fw_cfg_add_file_source(FwCfg *f, const char *name, size_t size, FwCfgRead read, void *self,
                            Err *err);

#endif
