/* The option table of `vitrine run`: names, arguments, help, and who takes each. */
#include <stddef.h>

#include "ui/options_internal.h"

#define MACHINE(member) offsetof(Options, machine.member)
#define UI(member) offsetof(Options, ui.member)
#define HEADING(title)                                                                             \
    {                                                                                              \
        .help = (title)                                                                            \
    }
#define OPTION(name, argument, take, help)                                                         \
    {                                                                                              \
        (name), (argument), (help), option_take_##take, 0, NULL                                    \
    }
#define STORE(name, argument, at, help)                                                            \
    {                                                                                              \
        (name), (argument), (help), option_take_string, (at), NULL                                 \
    }
#define FLAG(name, at, help)                                                                       \
    {                                                                                              \
        (name), NULL, (help), option_take_flag, (at), NULL                                         \
    }
/* Another spelling, not shown by --help. */
#define ALSO(name, argument, take, at, text)                                                       \
    {                                                                                              \
        (name), (argument), NULL, option_take_##take, (at), (text)                                 \
    }
/* Taken and without effect; note says why, or is NULL where nothing is lost. */
#define IGNORED(name, argument, note)                                                              \
    {                                                                                              \
        (name), (argument), NULL, option_take_ignored, 0, (note)                                   \
    }

/* clang-format off */
const OptionDef option_table[] = {
    HEADING("Machine"),
    OPTION("m", "SIZE", memory, "memory: MiB, or a number with M or G (64M)"),
    OPTION("cpu", "MODEL", cpu, "386, 486, pentium, pentium-mmx, pentium2, pentium3 (default), pentium4;\n"
           "MODEL,+kvmclock: with the clock that Linux knows as kvm-clock, under every engine"),
    OPTION("accel", "ENGINE", accel, "auto (default), interpreter, translator (also tcg), kvm;\n"
           "kvm-first: KVM as this host has it, and the translator from where it fails;\n"
           "check: translator and interpreter in lock step, up to their first difference"),
    OPTION("speed", "SPEED", speed, "as fast as a 386-33, 486-66, p100 ... (help lists them), or so many million\n"
           "instructions a second; max (default): as fast as it goes; not with kvm, nor -icount"),
    OPTION("machine", "pc[,accel=ENGINE]", machine, "the machine, of which there is one"),
    OPTION("name", "NAME", name, "name of the machine, shown in the window's title"),
    OPTION("vga", "CARD", vga, "std (default), cirrus, none"),
    OPTION("device", "CARD[,KEY=VALUE]...", device, "plugs in a card; 'help' lists them"),
    OPTION("rtc", "base=BASE", rtc, "utc (default), localtime, or a date: 1999-12-31T23:59:00"),
    OPTION("icount", "shift=N[,sleep=off]", icount, "the same run each time: an instruction takes 2^N ns, N from 0 to 10;\n"
        "sleep=off: an idle guest's time flies"),
    STORE("bios", "FILE", MACHINE(bios), "firmware instead of SeaBIOS"),
    STORE("vgabios", "FILE", MACHINE(vgabios), "video firmware instead of SeaBIOS's"),
    OPTION("option-rom", "FILE", option_rom, "one more option ROM"),
    OPTION("smp", "1", smp, "number of processors: one"),
    OPTION("object", "TYPE[,KEY=VALUE]...", object, "a helper object: filter-dump,netdev=,file= ..."),
    OPTION("smbios", "type=N[,KEY=VALUE]...", smbios, "what the firmware says of the machine: type=1,manufacturer=,serial= ..."),

    HEADING("Drives"),
    OPTION("fda", "FILE", drive_letter, "floppy in drive A ('' for an empty drive)"),
    OPTION("fdb", "FILE", drive_letter, "floppy in drive B"),
    OPTION("hda", "FILE", drive_letter, "hard disk, primary master"),
    OPTION("hdb", "FILE", drive_letter, "hard disk, primary slave"),
    OPTION("hdc", "FILE", drive_letter, "hard disk, secondary master"),
    OPTION("hdd", "FILE", drive_letter, "hard disk, secondary slave"),
    OPTION("cdrom", "FILE", drive_letter, "CD, secondary master"),
    OPTION("drive", "file=FILE[,KEY=VALUE]...", drive, "a drive: if=ide|floppy|none, index=, media=disk|cdrom, format=,\n"
        "snapshot=on, readonly=on, cyls=,heads=,secs=, id=, "
        "backing=any,\nwerror=stop|report|ignore|enospc, rerror=stop|report|ignore"),
    FLAG("snapshot", MACHINE(snapshot), "what is written to drives is forgotten at the end"),

    HEADING("Start"),
    OPTION("boot", "[order=]LETTERS[,once=LETTERS][,menu=on]", boot, "a floppy, c disk, d CD, n network; menu: asks"),
    STORE("kernel", "FILE", MACHINE(kernel), "Linux or Multiboot kernel, started directly; Linux is given a seed for its\n"
          "random numbers, with -icount always the same"),
    STORE("initrd", "FILE", MACHINE(initrd), "initial RAM disk; Multiboot modules, parted by commas"),
    STORE("append", "TEXT", MACHINE(append), "the kernel's command line"),
    STORE("resume", "NAME|FILE", UI(resume), "goes on from a snapshot: a name, or a .vsnap file (also -loadvm)"),
    FLAG("S", MACHINE(start_paused), "start paused"),
    FLAG("no-reboot", MACHINE(no_reboot), "end instead of rebooting"),
    FLAG("no-shutdown", MACHINE(no_shutdown), "pause instead of ending when the guest powers off"),

    HEADING("Window"),
    OPTION("display", "sdl|none[,KEY=VALUE]...", display, "scale=integer|aspect|smooth, scanlines=on, full-screen=on,\n"
        "window-close=off|suspend, show-cursor=on, host-key=KEY"),
    FLAG("full-screen", UI(full_screen), "start in full screen"),
    STORE("host-key", "KEY", UI(host_key), "key that commands the window (default: Right Ctrl), or none"),
    STORE("screenshots", "FOLDER", UI(screenshot_dir), "where screenshots go (default: the current folder)"),
    STORE("record", "FILE[,fps=N][,size=WxH]", UI(record), "records a video from the start: .mkv, .mp4, .mov, .avi, .png"),
    OPTION("k", "LAYOUT", layout, "the guest's keyboard, for pasted text: en-us (default), en-gb, de, fr, es, it, sv"),
    OPTION("nographic", NULL, nographic, "no window; the first serial port on the terminal (Ctrl-A x ends)"),

    HEADING("Ports, sound and network"),
    OPTION("serial", "PORT", serial, "stdio, file:PATH, unix:PATH[,server[,nowait]], tcp:HOST:PORT[,server[,nowait]],\n"
        "telnet:HOST:PORT[,server[,nowait]], pty, /dev/PORT, none; again for the second port;\n"
        "modem[:listen=HOST:PORT][,book=FILE][,telnet=on|off|auto]"),
    OPTION("parallel", "PORT", parallel, "the same for LPT1, or pdf:PATH[,pins=9|24][,paper=letter|a4]: a printer (ESC/P)"),
    OPTION("debugcon", "PORT", debugcon, "the same for the firmware's debug port 402h"),
    OPTION("chardev", "KIND,id=ID[,KEY=VALUE]...", chardev, "names such a port for -serial chardev:ID"),
    OPTION("nic", "BACKEND[,model=CARD][,KEY=VALUE]...", nic, "a network card and where its cable goes: user, none ..."),
    OPTION("netdev", "BACKEND,id=ID[,KEY=VALUE]...", netdev, "names a network for -device CARD,netdev=ID"),
    OPTION("net", "nic|BACKEND[,KEY=VALUE]...", net, "older spelling of -nic"),
    STORE("audiodev", "sdl|wav|none[,KEY=VALUE]...", MACHINE(audiodev), "where sound goes; path=, latency=MS"),
    FLAG("nodefaults", MACHINE(no_defaults), "no Sound Blaster unless -device names it"),

    HEADING("Control and log"),
    OPTION("qmp", "unix:PATH,server,nowait", qmp, "a control socket that speaks QMP"),
    OPTION("mon", "chardev=ID,mode=control", mon, "the same on a -chardev"),
    OPTION("log", "SPEC", log, "log levels: trace, or TAG=LEVEL,... of error warn info guest unimp trace"),
    STORE("D", "FILE", UI(log_file), "the log goes to a file"),
    OPTION("d", "ITEMS", log_items, "QEMU's log items: guest_errors, unimp, int, trace:TAG"),
    STORE("pidfile", "FILE", UI(pid_file), "writes the process number to a file"),
    OPTION("help", NULL, help, "this text"),
    OPTION("version", NULL, version, "version and licence"),

    ALSO("h", NULL, help, 0, NULL),
    ALSO("M", "pc", machine, 0, NULL),
    ALSO("enable-kvm", NULL, accel, 0, "kvm"),
    ALSO("no-kvm", NULL, accel, 0, "translator"),
    ALSO("sdl", NULL, fixed, 0, NULL),
    ALSO("std-vga", NULL, fixed, MACHINE(vga), "std"),
    ALSO("cirrusvga", NULL, fixed, MACHINE(vga), "cirrus"),
    ALSO("localtime", NULL, fixed, MACHINE(rtc_base), "localtime"),
    ALSO("startdate", "DATE", startdate, 0, NULL),
    ALSO("hdachs", "C,H,S", hdachs, 0, NULL),
    ALSO("soundhw", "CARDS", soundhw, 0, NULL),
    ALSO("no-quit", NULL, window_close_off, 0, NULL),
    ALSO("loadvm", "NAME", string, UI(resume), NULL),
    ALSO("monitor", "PORT", monitor, 0, NULL),

    IGNORED("usb", NULL, "there is no USB here; keyboard and mouse are PS/2"),
    IGNORED("usbdevice", "DEVICE", "there is no USB here; keyboard and mouse are PS/2"),
    IGNORED("no-acpi", NULL, "power management stays; a guest that does not want it leaves it alone"),
    IGNORED("acpi", NULL, NULL),
    IGNORED("no-hpet", NULL, NULL),
    IGNORED("no-fd-bootchk", NULL, "the firmware's floppy check stays"),
    IGNORED("no-user-config", NULL, NULL),
    IGNORED("nodefconfig", NULL, NULL),
    IGNORED("win2k-hack", NULL, NULL),
    IGNORED("rtc-td-hack", NULL, NULL),
    IGNORED("mem-prealloc", NULL, NULL),
    IGNORED("overcommit", "SETTINGS", NULL),
    IGNORED("sandbox", "SETTINGS", NULL),
    IGNORED("msg", "SETTINGS", NULL),
    IGNORED("uuid", "UUID", NULL),
    IGNORED("boot-strict", NULL, NULL),
    IGNORED("daemonize", NULL, "the program stays in the foreground; start it with &"),
    {0},
};
/* clang-format on */
