/* 16550A serial port, or the 16450 before it (National Semiconductor PC16550D data sheet). */
#ifndef CHIPSET_UART_H
#define CHIPSET_UART_H

#include <stdbool.h>

#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Uart Uart;

typedef enum UartModel { UART_16550A, UART_16450 } UartModel;

typedef struct UartConfig {
    uint16_t base; /* first of eight ports: 0x3f8, 0x2f8, 0x3e8, 0x2e8 */
    UartModel model;
    Line irq;
    CharPort port; /* what is plugged in */
    bool eager;    /* it takes characters far faster than the line, so that a guest which switches
                      itself off at once does not lose its last words */
} UartConfig;

Uart *uart_new(Board *b, const UartConfig *config, const char *id);

#endif
