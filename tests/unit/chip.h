/* What every chip test needs: a board with a stepped clock, port access, a probe for lines, the
 * state round trip. */
#ifndef TESTS_UNIT_CHIP_H
#define TESTS_UNIT_CHIP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

/* A line's far end. */
typedef struct Probe {
    bool level;
    unsigned rises, falls;
    int64_t last_change; /* guest ns */
    Clock *clock;
} Probe;

Board *chip_board(void);
Line chip_probe(Board *b, Probe *probe);

/* RAM from address 0 on; returns its bytes. */
uint8_t *chip_ram(Board *b, uint32_t size);

uint8_t chip_in(Board *b, uint16_t port);
void chip_out(Board *b, uint16_t port, uint8_t value);

/* A register of 1, 2 or 4 bytes in the configuration space of a device on bus 0, by way of the
 * ports CF8h and CFCh. place: the device's number << 3 | the function's. */
#define CHIP_PCI(device, function) ((device) << 3 | (function))
uint32_t chip_config(Board *b, unsigned place, unsigned offset, unsigned bytes);
void chip_set_config(Board *b, unsigned place, unsigned offset, uint32_t value, unsigned bytes);

/* `count` equal accesses to one port as a repeated string instruction makes them: in runs where the
 * device takes them, else each by itself. Returns how many went in runs. */
uint32_t chip_in_string(Board *b, uint16_t port, unsigned bytes, uint8_t *data, uint32_t count);
uint32_t chip_out_string(Board *b, uint16_t port, unsigned bytes, const uint8_t *data,
                         uint32_t count);
/* The same, each by itself. */
void chip_in_singly(Board *b, uint16_t port, unsigned bytes, uint8_t *data, uint32_t count);
void chip_out_singly(Board *b, uint16_t port, unsigned bytes, const uint8_t *data, uint32_t count);

/* Saves the board, loads the bytes into `other` (a board built alike), saves that again and fails
 * the test unless both streams are equal. Afterwards `other` goes on where `b` stood. */
void chip_state_round_trip(Board *b, Board *other);
/* Fails the test unless both boards' states are equal. */
void chip_state_same(Board *one, Board *two);

#endif
