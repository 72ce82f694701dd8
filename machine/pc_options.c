/* Options of a machine's configuration in the chips' terms. */
#include "machine/pc_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu-accel/x86/cpuid.h"
#include "machine/host/host_time.h"

bool pc_cpu_model(const char *text, CpuModel *model, bool *pvclock, Err *err)
{
    char name[16];
    size_t length = strcspn(text, ",");
    snprintf(name, sizeof(name), "%.*s", (int)(length < 15 ? length : 15), text);
    *pvclock = strcmp(text + length, ",+kvmclock") == 0;
    if (text[length] && !*pvclock) {
        return err_set(err, "-cpu %s: the only feature to switch on is ,+kvmclock", text);
    }
    static const struct {
        const char *name;
        CpuModel model;
    } models[] = {
        {"386", CPU_386},           {"486", CPU_486},
        {"pentium", CPU_PENTIUM},   {"pentium-mmx", CPU_PENTIUM_MMX},
        {"pentium2", CPU_PENTIUM2}, {"pentium3", CPU_PENTIUM3},
        {"pentium4", CPU_PENTIUM4}, {"qemu32", CPU_PENTIUM3},
        {"kvm32", CPU_PENTIUM4},    {"max", CPU_PENTIUM4},
        {"host", CPU_PENTIUM4},
    };
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        if (strcmp(models[i].name, name) == 0) {
            *model = models[i].model;
            return !*pvclock || cpu_features(*model) & CPUID_TSC ||
                   err_set(err, "-cpu %s: kvmclock needs a pentium or later", text);
        }
    }
    return err_set(err,
                   "-cpu %s: unknown model; use 386, 486, pentium, pentium-mmx, pentium2, pentium3 "
                   "or pentium4",
                   name);
}

bool pc_check_firmware(CpuModel model, const char *bios, Err *err)
{
    if (model == CPU_386 && !bios) {
        return err_set(err, "-cpu 386: SeaBIOS needs a 486 or later; name a BIOS for the 386 with "
                            "-bios, or use -cpu 486");
    }
    return true;
}

bool pc_check_memory(uint32_t mib, Err *err)
{
    if (mib < 1 || mib > 3072) {
        return err_set(err, "-m %u: a machine has 1 to 3072 MiB of memory", mib);
    }
    return true;
}

bool pc_rtc_base(const char *text, int64_t *seconds, Err *err)
{
    time_t now = (time_t)host_time_of_day();
    struct tm parts;
    if (!text || strcmp(text, "utc") == 0) {
        *seconds = now;
        return true;
    }
    if (strcmp(text, "localtime") == 0) {
        localtime_r(&now, &parts);
        *seconds = now + parts.tm_gmtoff;
        return true;
    }
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"};
    for (size_t i = 0; i < 2; i++) {
        memset(&parts, 0, sizeof(parts));
        const char *end = strptime(text, formats[i], &parts);
        if (end && *end == '\0') {
            *seconds = timegm(&parts);
            return true;
        }
    }
    return err_set(err, "-rtc base=%s: use utc, localtime or a date like 1998-06-25T12:00:00",
                   text);
}

void pc_boot_order(const char *letters, RtcSetup *setup)
{
    unsigned used = 0;
    for (const char *p = letters ? letters : "acd"; *p && used < 3; p++) {
        RtcBoot from = *p == 'a' || *p == 'b' ? RTC_BOOT_FLOPPY
                       : *p == 'c'            ? RTC_BOOT_DISK
                       : *p == 'd'            ? RTC_BOOT_CD
                       : *p == 'n'            ? RTC_BOOT_NETWORK
                                              : RTC_BOOT_NONE;
        if (from != RTC_BOOT_NONE) {
            setup->boot[used++] = from;
        }
    }
}
