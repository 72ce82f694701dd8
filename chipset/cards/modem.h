/* A Hayes modem behind a serial port (Hayes Smartmodem 2400 user's guide; ITU-T V.250).
 */
#ifndef CHIPSET_CARDS_MODEM_H
#define CHIPSET_CARDS_MODEM_H

#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/phone_port.h"

typedef struct Modem Modem;

typedef struct ModemConfig {
    PhonePort line;
} ModemConfig;

Modem *modem_new(Board *b, const ModemConfig *config, const char *id);
/* What the serial port is plugged into. */
CharPort modem_plug(Modem *m);

#endif
