/* Machine configurations: defaults, and the freeing of what they own. */
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"
#include "machine/pace.h"
#include "machine/pc_cards.h"

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

void machine_config_init(MachineConfig *c)
{
    *c = (MachineConfig){.ram_mib = 64, .icount_shift = -1};
    c->cpu = copy("pentium3");
    c->accel = copy("auto");
    c->vga = copy("std");
    c->rtc_base = copy("utc");
}

/* Calls f on every string slot of a config. */
static void each_string(MachineConfig *c, void (*f)(char **slot))
{
    char **single[] = {&c->name,      &c->cpu,      &c->accel,    &c->boot_order,
                       &c->boot_once, &c->kernel,   &c->initrd,   &c->append,
                       &c->bios,      &c->vgabios,  &c->vga,      &c->parallel,
                       &c->debugcon,  &c->audiodev, &c->rtc_base, &c->speed};
    struct {
        char **slots;
        unsigned count;
    } lists[] = {
        {c->option_rom, MACHINE_MAX_ROMS}, {c->serial, MACHINE_MAX_SERIAL},
        {c->nic, MACHINE_MAX_NICS},        {c->netdev, MACHINE_MAX_NICS},
        {c->device, MACHINE_MAX_DEVICES},  {c->object, MACHINE_MAX_DEVICES},
        {c->smbios, MACHINE_MAX_SMBIOS},
    };
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        f(single[i]);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (unsigned j = 0; j < lists[i].count; j++) {
            f(&lists[i].slots[j]);
        }
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        f(&c->drive[i].file);
        f(&c->drive[i].format);
        f(&c->drive[i].id);
    }
}

bool machine_speed_known(const char *speed, Err *err)
{
    uint32_t kips;
    return pace_parse(speed, &kips, err);
}

void machine_list_cards(FILE *to)
{
    pc_cards_list(to);
}

const char *machine_speed_help(void)
{
    return pace_help();
}

static void own(char **slot)
{
    *slot = copy(*slot);
}

static void drop(char **slot)
{
    free(*slot);
    *slot = NULL;
}

void machine_config_copy(MachineConfig *to, const MachineConfig *from)
{
    *to = *from;
    each_string(to, own);
}

void machine_config_free(MachineConfig *c)
{
    each_string(c, drop);
}
