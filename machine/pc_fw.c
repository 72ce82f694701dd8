/* What the board tells the firmware through fw_cfg. */
#include "machine/pc_fw.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "machine/firmware.h"
#include "machine/host/file.h"
#include "machine/host/host_random.h"
#include "machine/kernel.h"
#include "ui/value.h"

enum { OPTION_ROM_LIMIT = 256 << 10, IRQ0_OVERRIDE = FW_CFG_ARCH + 2, BOOT_ORDER_ROOM = 1024 };

extern const uint8_t rom_linuxboot_start[], rom_linuxboot_end[];
extern const uint8_t rom_multiboot_start[], rom_multiboot_end[];
extern const uint8_t rom_vbepal_start[], rom_vbepal_end[];

static bool add_rom(FwCfg *f, const char *name, const char *what, const uint8_t *data, size_t size,
                    Err *err)
{
    size_t rom_size;
    uint8_t *rom = firmware_option_rom(what, data, size, &rom_size, err);
    bool ok = rom && fw_cfg_add_file(f, name, rom, rom_size, err);
    free(rom);
    return ok;
}

static bool add_part(FwCfg *f, const KernelPart *part, uint16_t address, uint16_t size,
                     uint16_t data, Err *err)
{
    return fw_cfg_add_u32(f, address, part->address, err) &&
           fw_cfg_add_u32(f, size, (uint32_t)part->size, err) &&
           (part->size == 0 || fw_cfg_add(f, data, part->data, part->size, err));
}

static void read_seeded(void *self, uint32_t offset, void *data, size_t length)
{
    const PcSeed *seed = self;
    if (offset == 0 && !seed->fixed && !host_random(seed->data + seed->at, KERNEL_SEED)) {
        bytes_put_le32(seed->data + seed->at - 4, 0); /* its length */
    }
    memcpy(data, seed->data + offset, length);
}

static bool add_cmdline(FwCfg *f, const MachineConfig *c, Kernel *k, PcSeed *seed, Err *err)
{
    if (!k->seed_at) {
        return add_part(f, &k->cmdline, FW_CFG_CMDLINE_ADDR, FW_CFG_CMDLINE_SIZE,
                        FW_CFG_CMDLINE_DATA, err);
    }
    *seed = (PcSeed){k->cmdline.data, k->seed_at, c->icount_shift >= 0};
    k->cmdline.data = NULL;
    for (unsigned i = 0; i < KERNEL_SEED; i++) {
        seed->data[seed->at + i] = (uint8_t)(i * 0x9d + 0x35);
    }
    return fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, k->cmdline.address, err) &&
           fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)k->cmdline.size, err) &&
           fw_cfg_add_source(f, FW_CFG_CMDLINE_DATA, k->cmdline.size, read_seeded, seed, err);
}

static bool add_kernel(FwCfg *f, const MachineConfig *c, PcSeed *seed, const char **rom, Err *err)
{
    Kernel k;
    if (!kernel_load(&k, c->kernel, c->initrd, c->append, c->ram_mib, err)) {
        return false;
    }
    bool ok =
        add_part(f, &k.image, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, err) &&
        add_part(f, &k.initrd, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, err) &&
        add_cmdline(f, c, &k, seed, err) &&
        add_part(f, &k.setup, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, err) &&
        fw_cfg_add_u32(f, FW_CFG_KERNEL_ENTRY, k.entry, err);
    if (ok && k.multiboot) {
        *rom = "genroms/multiboot.bin";
        ok = add_rom(f, *rom, *rom, rom_multiboot_start,
                     (size_t)(rom_multiboot_end - rom_multiboot_start), err);
    } else if (ok) {
        *rom = "genroms/linuxboot.bin";
        ok = add_rom(f, *rom, *rom, rom_linuxboot_start,
                     (size_t)(rom_linuxboot_end - rom_linuxboot_start), err);
    }
    kernel_free(&k);
    return ok;
}

/* What SeaVGABIOS lacks; a VGA BIOS of the user's is left alone. */
static bool add_vbe_rom(FwCfg *f, const MachineConfig *c, Err *err)
{
    bool ours = !c->vgabios && c->vga && strcmp(c->vga, "none") != 0;
    return !ours || add_rom(f, "genroms/vbepal.bin", "vbepal", rom_vbepal_start,
                            (size_t)(rom_vbepal_end - rom_vbepal_start), err);
}

static bool add_user_roms(FwCfg *f, const MachineConfig *c, Err *err)
{
    for (unsigned i = 0; i < MACHINE_MAX_ROMS; i++) {
        if (!c->option_rom[i]) {
            continue;
        }
        size_t size;
        uint8_t *data = file_read(c->option_rom[i], OPTION_ROM_LIMIT, &size, "-option-rom", err);
        const char *slash = strrchr(c->option_rom[i], '/');
        char name[FW_CFG_NAME_MAX + 1];
        snprintf(name, sizeof(name), "genroms/%.40s", slash ? slash + 1 : c->option_rom[i]);
        char what[PATH_MAX + 16];
        snprintf(what, sizeof(what), "-option-rom %s", c->option_rom[i]);
        bool ok = data && add_rom(f, name, what, data, size, err);
        free(data);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* A string of an SMBIOS structure, in a file that SeaBIOS looks for. */
typedef struct SmbiosField {
    unsigned type;
    const char *key;
    unsigned offset; /* in the structure (SMBIOS reference specification 2.4) */
} SmbiosField;

static const SmbiosField smbios_fields[] = {
    {0, "vendor", 0x04},       {0, "version", 0x05}, {0, "date", 0x08},
    {1, "manufacturer", 0x04}, {1, "product", 0x05}, {1, "version", 0x06},
    {1, "serial", 0x07},       {1, "sku", 0x19},     {1, "family", 0x1a},
    {3, "manufacturer", 0x04}, {3, "version", 0x06}, {3, "serial", 0x07},
    {3, "asset", 0x08},
};

static bool add_smbios(FwCfg *f, const char *text, Err *err)
{
    KeyValues kv;
    uint32_t type = UINT32_MAX;
    bool ok =
        value_split(&kv, "smbios", text, NULL, err) && value_number(&kv, "type", 0, 3, &type, err);
    if (ok && type == UINT32_MAX) {
        ok = err_set(err, "-smbios %.200s: it needs a type=", text);
    }
    for (size_t i = 0; ok && i < sizeof(smbios_fields) / sizeof(smbios_fields[0]); i++) {
        const SmbiosField *field = &smbios_fields[i];
        const char *value = field->type == type ? value_find(&kv, field->key) : NULL;
        if (value) {
            char name[FW_CFG_NAME_MAX + 1];
            snprintf(name, sizeof(name), "smbios/field%u-%u", field->type, field->offset);
            ok = fw_cfg_add_file(f, name, value, strlen(value) + 1, err);
        }
    }
    ok = ok && value_all_used(&kv,
                              "type=0 with vendor, version, date; type=1 with manufacturer, "
                              "product, version, serial, sku, family; type=3 with manufacturer, "
                              "version, serial, asset",
                              err);
    value_free(&kv);
    return ok;
}

static bool add_smbioses(FwCfg *f, const MachineConfig *c, Err *err)
{
    for (unsigned i = 0; i < MACHINE_MAX_SMBIOS; i++) {
        if (c->smbios[i] && !add_smbios(f, c->smbios[i], err)) {
            return false;
        }
    }
    return true;
}

/* Sleep states for SeaBIOS's ACPI tables, S0 to S5: bit 7 offers one, the rest is its SLP_TYP. Only
 * soft-off is offered: nothing here keeps memory through S3. */
static const uint8_t system_states[6] = {0x80, 0, 0, 0x01, 0x02, 0x80};

bool pc_fw_items(FwCfg *f, const MachineConfig *c, PcSeed *seed, Err *err)
{
    const char *kernel_rom = NULL;
    bool ok = fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, (uint64_t)c->ram_mib << 20, err) &&
              fw_cfg_add_u16(f, FW_CFG_NB_CPUS, 1, err) &&
              fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, 1, err) &&
              fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 0, err) &&
              fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, c->boot_menu, err) &&
              fw_cfg_add(f, IRQ0_OVERRIDE, "\1", 1, err) &&
              fw_cfg_add_file(f, "etc/system-states", system_states, sizeof(system_states), err) &&
              add_vbe_rom(f, c, err) && add_user_roms(f, c, err) && add_smbioses(f, c, err);
    if (ok && c->kernel) {
        ok = add_kernel(f, c, seed, &kernel_rom, err);
    }
    if (ok && kernel_rom) {
        char order[BOOT_ORDER_ROOM];
        int length = snprintf(order, sizeof(order), "/rom@%s\n", kernel_rom);
        ok = fw_cfg_add_file(f, "bootorder", order, (size_t)length + 1, err);
    }
    if (ok && c->boot_menu) {
        uint32_t wait_ms = 5000;
        ok = fw_cfg_add_file(f, "etc/boot-menu-wait", &wait_ms, sizeof(wait_ms), err);
    }
    return ok;
}
