/* MC146818 real-time clock with 256 bytes of CMOS memory (Motorola MC146818 data sheet; 82371SB for
 * ports 72h/73h).
 *
 * Registers and 114 bytes of memory at 70h/71h, 128 more at 72h/73h.
 */
#ifndef CHIPSET_RTC_H
#define CHIPSET_RTC_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Rtc Rtc;

typedef struct RtcConfig {
    int64_t base; /* what the clock shows at guest time 0, in seconds since 1970 of its time zone */
    Line irq;     /* IRQ8 */
    Line nmi_mask; /* port 70h bit 7: true while NMI is masked */
} RtcConfig;

Rtc *rtc_new(Board *b, const RtcConfig *config, const char *id);

/* CMOS memory, index 0x0e..0xff. It survives every reset. */
void rtc_cmos_set(Rtc *rtc, uint8_t index, uint8_t value);
uint8_t rtc_cmos(const Rtc *rtc, uint8_t index);
/* Sets the clock: seconds since 1970, as in `base`. */
void rtc_set_time(Rtc *rtc, int64_t seconds);

typedef enum RtcFloppy {
    RTC_FLOPPY_NONE,
    RTC_FLOPPY_360K,
    RTC_FLOPPY_1200K,
    RTC_FLOPPY_720K,
    RTC_FLOPPY_1440K,
    RTC_FLOPPY_2880K
} RtcFloppy;

typedef enum RtcBoot {
    RTC_BOOT_NONE,
    RTC_BOOT_FLOPPY,
    RTC_BOOT_DISK,
    RTC_BOOT_CD,
    RTC_BOOT_NETWORK
} RtcBoot;

typedef struct RtcDisk {
    bool present;
    uint16_t cylinders; /* physical geometry */
    uint8_t heads, sectors;
    uint8_t translation; /* 0 none, 1 LBA, 2 large, 3 revised ECHS */
} RtcDisk;

/* What set-up would have written for this board, in the layout that SeaBIOS reads on an i440FX. */
typedef struct RtcSetup {
    uint64_t ram_below_4g, ram_above_4g; /* bytes; the first counts from address 0 */
    RtcFloppy floppy[2];
    RtcDisk disk[4]; /* IDE 0..3; CD drives are not present here */
    RtcBoot boot[3];
    bool floppy_check; /* the BIOS checks a boot floppy's signature */
    bool mouse;        /* PS/2 mouse port */
    unsigned cpus;     /* 1.. */
} RtcSetup;

void rtc_setup(Rtc *rtc, const RtcSetup *setup);

#endif
