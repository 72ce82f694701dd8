/* Options that say what the machine is: memory, processor, engine, boot, clock, cards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ui/options_internal.h"
#include "ui/value.h"

enum { MAX_RAM_MIB = 3072, MAX_ICOUNT_SHIFT = 10 };

OPTION_TAKE(memory)
{
    KeyValues kv;
    uint64_t bytes = 0;
    static const char *const ignored[] = {"slots", "maxmem", NULL};
    bool ok = value_split(&kv, def->name, value, "size", err);
    value_ignore(&kv, ignored);
    const char *size = ok ? value_find(&kv, "size") : NULL;
    ok = ok && value_all_used(&kv, "size", err);
    if (ok && (!size || !value_parse_size(size, 1 << 20, &bytes))) {
        ok = err_set(err, "-%s: '%s' is no size; write MiB, or a number with M or G", def->name,
                     value);
    }
    uint64_t mib = bytes >> 20;
    if (ok && (mib < 1 || mib > MAX_RAM_MIB)) {
        ok = err_set(err, "-%s: %s is out of range; this machine takes 1 to %d MiB", def->name,
                     size, MAX_RAM_MIB);
    }
    value_free(&kv);
    if (ok) {
        o->machine.ram_mib = (uint32_t)mib;
    }
    return ok;
}

static const char *const cpu_models[] = {"386",      "486",      "pentium",  "pentium-mmx",
                                         "pentium2", "pentium3", "pentium4", NULL};
static const char cpu_help[] = "386\n486\npentium\npentium-mmx\npentium2\npentium3\npentium4\n";

/* Models of later or nameless processors, and the closest one here. */
static const char *cpu_stand_in(const char *name)
{
    static const char *const others[] = {"host",   "max",    "base",    "qemu32",   "kvm32",
                                         "qemu64", "kvm64",  "coreduo", "core2duo", "n270",
                                         "athlon", "phenom", NULL};
    for (unsigned i = 0; others[i]; i++) {
        if (strcmp(name, others[i]) == 0) {
            return strcmp(name, "athlon") == 0 ? "pentium3" : "pentium4";
        }
    }
    return NULL;
}

static bool is_one_of(const char *text, const char *const *list)
{
    for (unsigned i = 0; list[i]; i++) {
        if (strcmp(text, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* features: ",+kvmclock,-apic" and so on, or "". kvmclock alone is a choice. */
static bool cpu_store(Options *o, const char *option, const char *model, const char *features)
{
    static const char *const on[] = {"+kvmclock", "kvmclock", "kvmclock=on", NULL};
    static const char *const off[] = {"-kvmclock", "kvmclock=off", NULL};
    char feature[32], text[32];
    bool clock = false;
    while (*features++ == ',') {
        size_t n = strcspn(features, ",");
        snprintf(feature, sizeof(feature), "%.*s", (int)(n < 31 ? n : 31), features);
        if (is_one_of(feature, on) || is_one_of(feature, off)) {
            clock = is_one_of(feature, on);
        } else {
            option_note(o, "-%s: the feature '%s' is the model's business; nothing is changed",
                        option, feature);
        }
        features += n;
    }
    snprintf(text, sizeof(text), "%s%s", model, clock ? ",+kvmclock" : "");
    option_store(&o->machine.cpu, text);
    return true;
}

OPTION_TAKE(cpu)
{
    size_t n = strcspn(value, ",");
    char name[32];
    snprintf(name, sizeof(name), "%.*s", (int)(n < 31 ? n : 31), value);
    if (strcmp(name, "help") == 0 || strcmp(name, "?") == 0) {
        o->help = true;
        o->topic = cpu_help;
        return true;
    }
    for (unsigned i = 0; cpu_models[i]; i++) {
        if (strcmp(name, cpu_models[i]) == 0) {
            return cpu_store(o, def->name, name, value + n);
        }
    }
    const char *stand_in = cpu_stand_in(name);
    if (stand_in) {
        option_note(o, "-%s: %s becomes %s", def->name, name, stand_in);
        return cpu_store(o, def->name, stand_in, value + n);
    }
    return err_set(err,
                   "-%s: there is no model '%s'; use 386, 486, pentium, pentium-mmx, pentium2, "
                   "pentium3 or pentium4",
                   def->name, name);
}

static const char accel_help[] = "auto\ninterpreter\ntranslator\nkvm\nkvm-first\ncheck\n";

static bool accel_choose(Options *o, const char *option, const char *name, Err *err)
{
    static const char *const names[] = {"auto",      "interpreter", "translator", "kvm",
                                        "kvm-first", "check",       NULL};
    if (strchr(name, ':')) {
        name = "auto"; /* a list of engines to try */
    } else if (strcmp(name, "tcg") == 0) {
        name = "translator";
    } else if (strcmp(name, "help") == 0) {
        o->help = true;
        o->topic = accel_help;
        return true;
    }
    for (unsigned i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0) {
            option_store(&o->machine.accel, name);
            return true;
        }
    }
    return err_set(
        err,
        "-%s: there is no engine '%s'; use auto, interpreter, translator, kvm, kvm-first or check",
        option, name);
}

OPTION_TAKE(accel)
{
    if (def->text) { /* -enable-kvm */
        return accel_choose(o, def->name, def->text, err);
    }
    static const char *const host_only[] = {
        "thread",          "tb-size",        "split-wx", "one-insn-per-tb",
        "dirty-ring-size", "kernel-irqchip", NULL};
    KeyValues kv;
    bool ok = value_split(&kv, def->name, value, "accel", err);
    const char *name = ok ? value_find(&kv, "accel") : NULL;
    value_ignore(&kv, host_only);
    ok = ok && value_all_used(&kv, "accel", err) &&
         accel_choose(o, def->name, name ? name : "", err);
    value_free(&kv);
    return ok;
}

OPTION_TAKE(speed)
{
    if (strcmp(value, "help") == 0) {
        o->help = true;
        o->topic = machine_speed_help();
        return true;
    }
    Err why = {""};
    if (!machine_speed_known(value, &why)) {
        return err_set(err, "-%s: %s", def->name, why.text);
    }
    option_store(&o->machine.speed, value);
    return true;
}

OPTION_TAKE(machine)
{
    static const char *const fixed[] = {"usb",
                                        "acpi",
                                        "vmport",
                                        "kernel_irqchip",
                                        "kernel-irqchip",
                                        "mem-merge",
                                        "hpet",
                                        "smm",
                                        "pit",
                                        "sata",
                                        "dump-guest-core",
                                        "pcspk-audiodev",
                                        "suppress-vmdesc",
                                        "hmat",
                                        "i8042",
                                        "max-fw-size",
                                        "smbus",
                                        "nvdimm",
                                        NULL};
    static const char help[] = "pc   i440FX, PIIX3, PIIX4 power management\n";
    KeyValues kv;
    bool graphics = true;
    bool ok = value_split(&kv, def->name, value, "type", err);
    const char *type = ok ? value_find(&kv, "type") : NULL;
    const char *accel = ok ? value_find(&kv, "accel") : NULL;
    value_ignore(&kv, fixed);
    ok = ok && value_switch(&kv, "graphics", &graphics, err) &&
         value_all_used(&kv, "type, accel, graphics", err);
    if (ok && type && strcmp(type, "help") == 0) {
        o->help = true;
        o->topic = help;
    } else if (ok && type && strcmp(type, "pc") != 0 && strncmp(type, "pc-i440fx", 9) != 0 &&
               strncmp(type, "pc-0.", 5) != 0 && strncmp(type, "pc-1.", 5) != 0) {
        ok = err_set(err, "-%s: there is no machine '%s'; this one is 'pc'", def->name, type);
    }
    ok = ok && (!accel || accel_choose(o, def->name, accel, err));
    o->nographic |= !graphics;
    value_free(&kv);
    return ok;
}

static bool boot_letters(const char *letters, Err *err)
{
    if (!letters) {
        return true;
    }
    unsigned seen = 0;
    for (const char *p = letters; *p; p++) {
        const char *known = strchr("abcdn", *p);
        if (!known || (seen >> (*p - 'a') & 1)) {
            return err_set(err,
                           "-boot: '%s': write each of the letters a (floppy), c (disk), d (CD) "
                           "and n (network) at most once",
                           letters);
        }
        seen |= 1u << (*p - 'a');
    }
    return true;
}

OPTION_TAKE(boot)
{
    static const char *const ignored[] = {"splash", "splash-time", "reboot-timeout", "strict",
                                          NULL};
    KeyValues kv;
    (void)def;
    bool ok = value_split(&kv, "boot", value, "order", err);
    value_ignore(&kv, ignored);
    ok = ok && value_switch(&kv, "menu", &o->machine.boot_menu, err) &&
         boot_letters(value_find(&kv, "order"), err) &&
         boot_letters(value_find(&kv, "once"), err) &&
         value_all_used(&kv, "order, once, menu", err);
    if (ok) {
        value_string(&kv, "order", &o->machine.boot_order);
        value_string(&kv, "once", &o->machine.boot_once);
    }
    value_free(&kv);
    return ok;
}

OPTION_TAKE(vga)
{
    if (strcmp(value, "help") == 0) {
        o->help = true;
        o->topic = "std      VGA with Bochs VBE\ncirrus   Cirrus GD5446\nnone\n";
        return true;
    }
    static const char *const known[] = {"std", "cirrus", "none"};
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(value, known[i]) == 0) {
            option_store(&o->machine.vga, value);
            return true;
        }
    }
    return err_set(err, "-%s: there is no card '%s'; use std, cirrus or none", def->name, value);
}

static bool date_valid(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end || *end) {
        end = strptime(text, "%Y-%m-%d", &tm);
    }
    return end && !*end && tm.tm_year >= 70 && tm.tm_year < 200;
}

OPTION_TAKE(rtc)
{
    static const char *const ignored[] = {"clock", "driftfix", NULL};
    KeyValues kv;
    bool ok = value_split(&kv, def->name, value, NULL, err);
    value_ignore(&kv, ignored);
    const char *base = ok ? value_find(&kv, "base") : NULL;
    ok = ok && value_all_used(&kv, "base, clock, driftfix", err);
    if (ok && base && strcmp(base, "utc") != 0 && strcmp(base, "localtime") != 0 &&
        !date_valid(base)) {
        ok = err_set(err,
                     "-%s: base=%s: write utc, localtime, or a date like 1999-12-31 or "
                     "1999-12-31T23:59:00",
                     def->name, base);
    }
    if (ok) {
        value_string(&kv, "base", &o->machine.rtc_base);
    }
    value_free(&kv);
    return ok;
}

/* Old spelling of -rtc base=DATE; "now" is utc. */
OPTION_TAKE(startdate)
{
    if (strcmp(value, "now") != 0 && !date_valid(value)) {
        return err_set(err, "-%s: '%s' is no date; write 1999-12-31T23:59:00", def->name, value);
    }
    option_store(&o->machine.rtc_base, strcmp(value, "now") == 0 ? "utc" : value);
    return true;
}

OPTION_TAKE(icount)
{
    static const char *const ignored[] = {"align", NULL};
    KeyValues kv;
    uint32_t shift = 0;
    bool sleep = true;
    bool ok = value_split(&kv, def->name, value, "shift", err);
    const char *text = ok ? value_find(&kv, "shift") : NULL;
    value_ignore(&kv, ignored);
    ok = ok && value_switch(&kv, "sleep", &sleep, err) && value_all_used(&kv, "shift, sleep", err);
    if (ok && (!text || strcmp(text, "auto") == 0)) {
        ok = err_set(err, "-%s: say how long an instruction is: shift=0 (1 ns) to shift=%d",
                     def->name, MAX_ICOUNT_SHIFT);
    }
    ok = ok && value_number(&kv, "shift", 0, MAX_ICOUNT_SHIFT, &shift, err);
    value_free(&kv);
    if (ok) {
        o->machine.icount_shift = (int)shift;
        o->machine.icount_hurry = !sleep;
    }
    return ok;
}

OPTION_TAKE(name)
{
    static const char *const ignored[] = {"process", "debug-threads", NULL};
    KeyValues kv;
    bool ok = value_split(&kv, def->name, value, "guest", err);
    value_ignore(&kv, ignored);
    if (ok) {
        value_string(&kv, "guest", &o->machine.name);
        ok = value_all_used(&kv, "guest", err);
    }
    value_free(&kv);
    return ok;
}

OPTION_TAKE(smp)
{
    static const char *const ignored[] = {"maxcpus", "sockets", "cores", "threads", "dies", NULL};
    KeyValues kv;
    uint32_t cpus = 1;
    (void)o;
    bool ok = value_split(&kv, def->name, value, "cpus", err);
    value_ignore(&kv, ignored);
    ok = ok && value_number(&kv, "cpus", 1, 255, &cpus, err) && value_all_used(&kv, "cpus", err);
    value_free(&kv);
    return ok && (cpus == 1 ||
                  err_set(err, "-%s: this machine has one processor; use -smp 1", def->name));
}

static bool store_in(char **slots, unsigned room, unsigned *used, const OptionDef *def,
                     const char *value, Err *err)
{
    if (*used == room) {
        return err_set(err, "-%s: no more than %u of them; leave one out", def->name, room);
    }
    if (!value[0]) {
        return err_set(err, "-%s: an empty value; name one", def->name);
    }
    slots[(*used)++] = strdup(value);
    return true;
}

OPTION_TAKE(option_rom)
{
    KeyValues kv;
    static const char *const ignored[] = {"bootindex", NULL};
    bool ok = value_split(&kv, def->name, value, "romfile", err);
    value_ignore(&kv, ignored);
    const char *file = ok ? value_find(&kv, "romfile") : NULL;
    ok = ok && value_all_used(&kv, "romfile", err) &&
         store_in(o->machine.option_rom, MACHINE_MAX_ROMS, &o->roms, def, file ? file : "", err);
    value_free(&kv);
    return ok;
}

/* Buses that a PC of this period does not have, plugged in by habit. */
static bool is_absent_device(const char *value)
{
    static const char *const prefixes[] = {"usb-",      "piix3-usb", "piix4-usb",
                                           "qemu-xhci", "nec-usb",   "ich9-usb"};
    for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(value, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

OPTION_TAKE(device)
{
    bool taken = false;
    const char *card = strncmp(value, "driver=", 7) == 0 ? value + 7 : value;
    if (strcmp(card, "help") == 0) {
        o->help = true;
        o->list = machine_list_cards;
        return true;
    }
    if (is_absent_device(card)) {
        option_note(o, "-%s %s: there is no USB here; keyboard and mouse are PS/2", def->name,
                    value);
        return true;
    }
    if (!option_drive_device(o, card, &taken, err)) {
        return false;
    }
    return taken || store_in(o->machine.device, MACHINE_MAX_DEVICES, &o->devices, def, card, err);
}

/* Old spelling of -device for sound cards: a list, or "all". */
OPTION_TAKE(soundhw)
{
    char *list = strdup(strcmp(value, "all") == 0 ? "sb16,adlib" : value);
    bool ok = true;
    char *rest = list;
    for (char *card; ok && (card = strsep(&rest, ",")) != NULL;) {
        if (strcmp(card, "pcspk") != 0) {
            ok = store_in(o->machine.device, MACHINE_MAX_DEVICES, &o->devices, def, card, err);
        }
    }
    free(list);
    return ok;
}

OPTION_TAKE(nic)
{
    return store_in(o->machine.nic, MACHINE_MAX_NICS, &o->nics, def, value, err);
}

OPTION_TAKE(netdev)
{
    return store_in(o->machine.netdev, MACHINE_MAX_NICS, &o->netdevs, def, value, err);
}

OPTION_TAKE(smbios)
{
    return store_in(o->machine.smbios, MACHINE_MAX_SMBIOS, &o->smbioses, def, value, err);
}

OPTION_TAKE(object)
{
    return store_in(o->machine.object, MACHINE_MAX_DEVICES, &o->objects, def, value, err);
}

/* Old pairs: `-net nic,model=ne2k_pci -net user` become `-nic user,model=ne2k_pci`. */
OPTION_TAKE(net)
{
    bool card = strcmp(value, "nic") == 0 || strncmp(value, "nic,", 4) == 0;
    option_store(card ? &o->net_nic : &o->net_backend, card ? value + 3 : value);
    const char *backend = o->net_backend;
    if (backend && strcmp(backend, "none") == 0) {
        bool ok = store_in(o->machine.nic, MACHINE_MAX_NICS, &o->nics, def, "none", err);
        option_store(&o->net_backend, NULL);
        return ok;
    }
    if (!o->net_nic || !backend) {
        return true;
    }
    char *both = malloc(strlen(backend) + strlen(o->net_nic) + 1);
    sprintf(both, "%s%s", backend, o->net_nic);
    bool ok = store_in(o->machine.nic, MACHINE_MAX_NICS, &o->nics, def, both, err);
    free(both);
    option_store(&o->net_nic, NULL);
    option_store(&o->net_backend, NULL);
    return ok;
}

/* QEMU's -d items in terms of --log. */
OPTION_TAKE(log_items)
{
    char *list = strdup(value);
    char spec[512] = "";
    char *rest = list;
    bool ok = true;
    for (char *item; ok && (item = strsep(&rest, ",")) != NULL;) {
        char one[128] = "";
        if (strcmp(item, "guest_errors") == 0) {
            snprintf(one, sizeof(one), "guest");
        } else if (strcmp(item, "unimp") == 0) {
            snprintf(one, sizeof(one), "unimp");
        } else if (strcmp(item, "int") == 0 || strcmp(item, "cpu_reset") == 0) {
            snprintf(one, sizeof(one), "cpu=trace");
        } else if (strncmp(item, "trace:", 6) == 0) {
            snprintf(one, sizeof(one), "%.*s=trace", (int)strcspn(item + 6, "_*"), item + 6);
        } else {
            ok = err_set(err,
                         "-%s: there is no item '%s'; use guest_errors, unimp, int, trace:TAG, or "
                         "--log TAG=LEVEL",
                         def->name, item);
        }
        size_t n = strlen(spec);
        snprintf(spec + n, sizeof(spec) - n, "%s%s", n ? "," : "", one);
    }
    free(list);
    if (ok) {
        option_store(&o->ui.log, spec);
    }
    return ok;
}
