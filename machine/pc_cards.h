/* Plug-in cards: -device, -nic, -netdev and -object turned into chips on the board. */
#ifndef MACHINE_PC_CARDS_H
#define MACHINE_PC_CARDS_H

#include <stdio.h>

#include "chipset/dma.h"
#include "chipset/pci.h"
#include "machine/host/char_host.h"
#include "machine/host/mixer.h"
#include "machine/host/net_host.h"
#include "machine/pc.h"
#include "ui/value.h"

/* What the board offers to a card, and what a configuration made of it. */
typedef struct PcCards {
    Board *b;
    const MachineConfig *config;
    const PcHost *host;
    PciBus *pci;
    Dma *dma;
    Mixer *mixer;
    CharHost *chars;
    uint32_t pci_used; /* bit n: device n of the bus is taken */
    /* Volume of the CD-ROM drives' audio, 10000h: as it comes. */
    void (*cd_volume)(void *cd, uint32_t left, uint32_t right);
    void *cd;
    NetHost *net;
    unsigned nics;                   /* network cards so far */
    uint16_t blaster_base, gus_base; /* 0: not plugged in */
    bool sound;                      /* one of the devices was a sound card, or "none" */
    /* A new driver of an interrupt request of the board's. */
    Line (*irq)(void *board, unsigned irq);
    void *board;
} PcCards;

/* Plugs all cards of the configuration in, in the order of the options. Refuses names and settings
 * that there are not. */
bool pc_cards_plug(PcCards *cards, Err *err);
/* The names of all kinds, a line each, with their settings. */
void pc_cards_list(FILE *to);
/* A card's place on the PCI bus: addr=N, or the first that is free. */
bool pc_cards_pci_place(PcCards *cards, KeyValues *kv, unsigned *device, Err *err);

#endif
