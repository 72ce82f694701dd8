/* Plug-in cards: -device, -nic, -netdev and -object turned into chips on the board.
 *
 * One table names the cards; a card's function takes its settings out of the option and makes the
 * chips. Settings that nobody took are refused, so that a misspelt one does not pass unseen.
 */
#include "machine/pc_cards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chipset/cards/ne2000.h"
#include "chipset/cards/pcnet.h"
#include "chipset/cards/rtl8029.h"
#include "chipset/debug_exit.h"
#include "machine/firmware.h"
#include "machine/pc_net.h"
#include "machine/pc_sound.h"
#include "ui/value.h"

enum { PCI_DEVICES = 32, FIRST_FREE_DEVICE = 3 };

#define NIC_PATIENCE_NS INT64_C(100000000)

static const char *const nic_id[MACHINE_MAX_NICS] = {"net0", "net1", "net2", "net3"};

#define NIC_MODELS "ne2k_pci, ne2k_isa or pcnet"

typedef struct CardKind {
    const char *name;
    bool (*plug)(PcCards *cards, KeyValues *kv, Err *err);
    const char *settings; /* for messages */
    bool sound;           /* without one there is a Sound Blaster 16 */
} CardKind;

/* `-device none`: no card that is there by itself. */
static bool plug_none(PcCards *cards, KeyValues *kv, Err *err)
{
    (void)cards;
    (void)kv;
    (void)err;
    return true;
}

static bool plug_debug_exit(PcCards *cards, KeyValues *kv, Err *err)
{
    uint32_t base = 0x501, size = 2;
    if (!value_number(kv, "iobase", 0, 0xffff, &base, err) ||
        !value_number(kv, "iosize", 1, 4, &size, err)) {
        return false;
    }
    DebugExitConfig config = {.base = (uint16_t)base,
                              .size = (uint8_t)size,
                              .exit = cards->host->debug_exit,
                              .self = cards->host->self};
    return debug_exit_new(cards->b, &config, "debug-exit", err) != NULL;
}

bool pc_cards_pci_place(PcCards *cards, KeyValues *kv, unsigned *device, Err *err)
{
    uint32_t place = UINT32_MAX;
    const char *addr = value_find(kv, "addr");
    if (addr) {
        char *end;
        unsigned long number = strtoul(addr, &end, 16);
        if (end == addr || (*end && strcmp(end, ".0") != 0) || number >= PCI_DEVICES) {
            return err_set(err, "-%s: addr=%s is no place on the PCI bus; use 3 to 1f", kv->option,
                           addr);
        }
        place = (uint32_t)number;
    }
    for (unsigned i = FIRST_FREE_DEVICE; place == UINT32_MAX && i < PCI_DEVICES; i++) {
        if (!(cards->pci_used >> i & 1)) {
            place = i;
        }
    }
    if (place == UINT32_MAX || cards->pci_used >> place & 1) {
        return err_set(err,
                       "-%s: that place on the PCI bus is taken; choose another addr=", kv->option);
    }
    cards->pci_used |= 1u << place;
    *device = place;
    return true;
}

/* What all network cards take: the network, the address; and their name on the board. */
static bool nic_settings(PcCards *cards, KeyValues *kv, NetPort *port, uint8_t *mac,
                         const char **id, Err *err)
{
    static const char *const ignored[] = {"bootindex", "rombar", "bus", "vlan", NULL};
    static const uint8_t first_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    value_ignore(kv, ignored);
    if (cards->nics == MACHINE_MAX_NICS) {
        return err_set(err, "-%s: a machine has at most %d network cards", kv->option,
                       MACHINE_MAX_NICS);
    }
    memcpy(mac, first_mac, 6);
    mac[5] = (uint8_t)(mac[5] + cards->nics);
    *id = nic_id[cards->nics++];
    const char *text = value_find(kv, "mac"), *netdev = value_find(kv, "netdev");
    if (text) {
        char end;
        if (sscanf(text, "%2hhx%*1[:-]%2hhx%*1[:-]%2hhx%*1[:-]%2hhx%*1[:-]%2hhx%*1[:-]%2hhx%c",
                   &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &end) != 6 ||
            mac[0] & 1) {
            return err_set(err, "-%s: mac=%s is no address of a card; write 52:54:00:12:34:56",
                           kv->option, text);
        }
    }
    char option[64];
    snprintf(option, sizeof(option), "-%s netdev=%.32s", kv->option, netdev ? netdev : "");
    return !netdev || net_host_port(cards->net, netdev, option, port, err);
}

static bool plug_ne2k_isa(PcCards *cards, KeyValues *kv, Err *err)
{
    static const uint16_t bases[MACHINE_MAX_NICS] = {0x300, 0x320, 0x340, 0x360};
    static const uint8_t irqs[MACHINE_MAX_NICS] = {10, 11, 5, 9};
    Ne2000Config config = {.patience = NIC_PATIENCE_NS};
    const char *id;
    unsigned n = cards->nics % MACHINE_MAX_NICS;
    uint32_t base = bases[n], irq = irqs[n];
    if (!nic_settings(cards, kv, &config.port, config.mac, &id, err) ||
        !value_number(kv, "iobase", 0x100, 0xffe0, &base, err) ||
        !value_number(kv, "irq", 2, 15, &irq, err)) {
        return false;
    }
    config.base = (uint16_t)base;
    config.irq = cards->irq(cards->board, irq == 2 ? 9 : irq); /* the slot's IRQ2 pin is IRQ9 */
    return ne2000_new(cards->b, &config, id) || err_set(err, "out of memory");
}

static bool nic_rom(PcCards *cards, KeyValues *kv, const char *card, uint16_t vendor,
                    uint16_t device, const char *id, const RamBlock **rom, Err *err)
{
    Err failed = {""};
    *rom = firmware_card_rom(&cards->b->ram, value_find(kv, "romfile"), card, vendor, device, id,
                             &failed);
    return *rom || !failed.text[0] || err_set(err, "-%s: %.400s", kv->option, failed.text);
}

static bool plug_ne2k_pci(PcCards *cards, KeyValues *kv, Err *err)
{
    Rtl8029Config config = {.bus = cards->pci, .patience = NIC_PATIENCE_NS};
    const char *id;
    if (!nic_settings(cards, kv, &config.port, config.mac, &id, err) ||
        !pc_cards_pci_place(cards, kv, &config.device, err) ||
        !nic_rom(cards, kv, "ne2k_pci", 0x10ec, 0x8029, id, &config.rom, err)) {
        return false;
    }
    return rtl8029_new(cards->b, &config, id) || err_set(err, "out of memory");
}

static bool plug_pcnet(PcCards *cards, KeyValues *kv, Err *err)
{
    PcnetConfig config = {.bus = cards->pci, .patience = NIC_PATIENCE_NS};
    const char *id;
    if (!nic_settings(cards, kv, &config.port, config.mac, &id, err) ||
        !pc_cards_pci_place(cards, kv, &config.device, err) ||
        !nic_rom(cards, kv, "pcnet", 0x1022, 0x2000, id, &config.rom, err)) {
        return false;
    }
    return pcnet_new(cards->b, &config, id) || err_set(err, "out of memory");
}

static const CardKind card_kinds[] = {
    {"isa-debug-exit", plug_debug_exit, "iobase, iosize", false},
    {"none", plug_none, "none at all", true},
    {"ne2k_isa", plug_ne2k_isa, "netdev, mac, iobase, irq", false},
    {"ne2k_pci", plug_ne2k_pci, "netdev, mac, addr, romfile", false},
    {"pcnet", plug_pcnet, "netdev, mac, addr, romfile", false},
    {"sb16", sound_plug_sb16, "iobase, irq, dma, dma16, version, soundfont, midi", true},
    {"adlib", sound_plug_adlib, "iobase, opl3", true},
    {"AC97", sound_plug_ac97, "addr", true},
    {"ES1370", sound_plug_es1370, "addr", true},
    {"gus", sound_plug_gus, "iobase, irq, dma, memory, soundfont, midi", true},
    {"mpu401", sound_plug_mpu401, "iobase, irq, soundfont, midi", true},
};

void pc_cards_list(FILE *to)
{
    for (size_t i = 0; i < sizeof(card_kinds) / sizeof(card_kinds[0]); i++) {
        fprintf(to, "%-16s%s\n", card_kinds[i].name, card_kinds[i].settings);
    }
}

static const CardKind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(card_kinds) / sizeof(card_kinds[0]); i++) {
        if (strcasecmp(card_kinds[i].name, name) == 0) {
            return &card_kinds[i];
        }
    }
    return NULL;
}

static bool unknown_card(const char *option, const char *name, Err *err)
{
    char names[256] = "";
    if (strcmp(option, "nic") == 0) {
        return err_set(err, "-nic model=%s: there is no such network card; use " NIC_MODELS, name);
    }
    for (size_t i = 0; i < sizeof(card_kinds) / sizeof(card_kinds[0]); i++) {
        if (i) {
            strncat(names, ", ", sizeof(names) - strlen(names) - 1);
        }
        strncat(names, card_kinds[i].name, sizeof(names) - strlen(names) - 1);
    }
    return err_set(err, "-%s %s: there is no such card; there are %s", option, name, names);
}

/* The card `name` with the settings that are left in kv. */
static bool plug_card(PcCards *cards, const char *name, KeyValues *kv, Err *err)
{
    static const char *const names_only[] = {"id", NULL};
    const CardKind *kind = find_kind(name);
    bool nic = strcmp(kv->option, "nic") == 0;
    if (!kind || (nic && strncmp(kind->settings, "netdev, ", 8) != 0)) {
        return unknown_card(kv->option, name, err);
    }
    value_ignore(kv, names_only);
    cards->sound |= kind->sound;
    const char *known = kind->settings, *net = nic ? pc_net_settings(value_find(kv, "type")) : NULL;
    char both[400];
    if (net) { /* whose netdev= is the network's own name */
        snprintf(both, sizeof(both), "%s; model, id, %s", net, known + strlen("netdev, "));
        known = both;
    }
    return kind->plug(cards, kv, err) && value_all_used(kv, known, err);
}

static bool plug_device(PcCards *cards, const char *text, Err *err)
{
    KeyValues kv;
    bool ok = value_split(&kv, "device", text, "driver", err);
    const char *name = ok ? value_find(&kv, "driver") : NULL;
    ok = ok && plug_card(cards, name ? name : text, &kv, err);
    value_free(&kv);
    return ok;
}

/* -nic BACKEND: a network and a card on it, with the settings of both. */
static bool plug_nic(PcCards *cards, const char *text, unsigned index, Err *err)
{
    char option[200], id[NET_MAX_ID + 8] = "";
    KeyValues kv;
    snprintf(option, sizeof(option), "-nic %.180s", text);
    bool ok = value_split(&kv, "nic", text, "type", err);
    const char *type = ok ? value_find(&kv, "type") : NULL;
    if (ok && type && strcmp(type, "none") != 0) {
        const char *model = value_find(&kv, "model"), *given = value_find(&kv, "id");
        if (given) {
            snprintf(id, sizeof(id), "%s", given);
        } else {
            snprintf(id, sizeof(id), "nic%u", index);
        }
        ok = pc_net_open(cards->net, &kv, id, option, err);
        if (ok && kv.count < VALUE_MAX_KEYS) {
            kv.pair[kv.count++] = (KeyValue){.key = strdup("netdev"), .value = strdup(id)};
        }
        ok = ok && plug_card(cards, model ? model : "ne2k_pci", &kv, err);
    }
    value_free(&kv);
    return ok;
}

static bool plug_networks(PcCards *cards, Err *err)
{
    const MachineConfig *c = cards->config;
    for (unsigned i = 0; i < MACHINE_MAX_NICS; i++) {
        if (c->netdev[i] && !pc_net_netdev(cards->net, c->netdev[i], err)) {
            return false;
        }
    }
    for (unsigned i = 0; i < MACHINE_MAX_NICS; i++) {
        if (c->nic[i] && !plug_nic(cards, c->nic[i], i, err)) {
            return false;
        }
    }
    return true;
}

bool pc_cards_plug(PcCards *cards, Err *err)
{
    const MachineConfig *c = cards->config;
    if (!plug_networks(cards, err)) {
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
        if (c->device[i] && !plug_device(cards, c->device[i], err)) {
            return false;
        }
    }
    if (!cards->sound && !c->no_defaults && !sound_plug_default(cards, err)) {
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
        if (c->object[i] && !pc_net_object(cards->net, c->object[i], err)) {
            return false;
        }
    }
    return net_host_start(cards->net, err);
}
