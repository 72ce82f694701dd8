/* The command line of `vitrine run`: what it makes of options, and what it says of bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ui/image_kind.h"
#include "ui/options.h"

enum { MAX_WORDS = 40 };

/* Parses one line, words parted by blanks; "''" is an empty word. */
static bool parse(Options *o, const char *line, Err *err)
{
    char copy[1024];
    char *words[MAX_WORDS] = {(char *)"run"};
    int n = 1;
    char *rest = copy;
    snprintf(copy, sizeof(copy), "%s", line);
    options_init(o);
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        if (word[0]) {
            assert_true(n < MAX_WORDS);
            words[n++] = strcmp(word, "''") == 0 ? word + 2 : word;
        }
    }
    err->text[0] = '\0';
    return options_parse(o, n, words, err);
}

static Options parsed(const char *line)
{
    Options o;
    Err err;
    if (!parse(&o, line, &err)) {
        fail_msg("'%s': %s", line, err.text);
    }
    return o;
}

static const DriveConfig *drive_at(const Options *o, DriveBus bus, unsigned index)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const DriveConfig *d = &o->machine.drive[i];
        if (d->present && d->bus == bus && d->index == index) {
            return d;
        }
    }
    return NULL;
}

static void defaults(void **state)
{
    (void)state;
    Options o = parsed("");
    assert_int_equal(o.machine.ram_mib, 64);
    assert_string_equal(o.machine.cpu, "pentium3");
    assert_int_equal(o.machine.icount_shift, -1);
    assert_int_equal(o.ui.display, DISPLAY_WINDOW);
    assert_true(o.ui.window_close);
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        assert_false(o.machine.drive[i].present);
    }
    options_free(&o);
}

static void memory_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned mib;
    } good[] = {{"64", 64},      {"16M", 16},       {"1G", 1024}, {"1g", 1024},
                {"size=32", 32}, {"size=2G", 2048}, {"1", 1},     {"3072", 3072},
                {"2048K", 2},    {"1.5G", 1536},    {"64MB", 64}, {"128,slots=2", 128}};
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s %s", i % 2 ? "-m" : "--m", good[i].text);
        Options o = parsed(line);
        assert_int_equal(o.machine.ram_mib, good[i].mib);
        options_free(&o);
    }
}

static void one_dash_or_two_and_equals(void **state)
{
    (void)state;
    Options o = parsed("--cpu=486 -vga=cirrus -kernel vmlinuz --append root=/dev/hda1 --snapshot");
    assert_string_equal(o.machine.cpu, "486");
    assert_string_equal(o.machine.vga, "cirrus");
    assert_string_equal(o.machine.append, "root=/dev/hda1");
    assert_true(o.machine.snapshot);
    options_free(&o);
}

static void engines(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"-accel tcg", "translator"},
                                           {"-accel tcg,thread=single", "translator"},
                                           {"-accel kvm", "kvm"},
                                           {"-enable-kvm", "kvm"},
                                           {"-machine pc,accel=kvm", "kvm"},
                                           {"-M accel=kvm:tcg", "auto"},
                                           {"-accel interpreter", "interpreter"},
                                           {"-accel check", "check"},
                                           {"-machine pc-i440fx-7.2", "auto"}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Options o = parsed(cases[i][0]);
        assert_string_equal(o.machine.accel, cases[i][1]);
        options_free(&o);
    }
}

static void speeds(void **state)
{
    (void)state;
    static const char *const good[] = {"386-33", "486-66", "p100", "max", "12.5"};
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char line[32];
        snprintf(line, sizeof(line), "-speed %s", good[i]);
        Options o = parsed(line);
        assert_string_equal(o.machine.speed, good[i]);
        options_free(&o);
    }
    Options o = parsed("-speed help");
    assert_true(o.help);
    assert_non_null(strstr(o.topic, "486-66\n"));
    options_free(&o);
}

static void drives_by_letter(void **state)
{
    (void)state;
    Options o = parsed("-fda a.img -fdb '' -hda c.img -hdd d.img -cdrom cd.iso");
    const DriveConfig *d = drive_at(&o, DRIVE_FLOPPY, 0);
    assert_string_equal(d->file, "a.img");
    assert_null(drive_at(&o, DRIVE_FLOPPY, 1)->file);
    assert_string_equal(drive_at(&o, DRIVE_IDE, 0)->file, "c.img");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 3)->file, "d.img");
    d = drive_at(&o, DRIVE_IDE, 2);
    assert_string_equal(d->file, "cd.iso");
    assert_int_equal(d->media, MEDIA_CDROM);
    options_free(&o);
}

static void drive_settings(void **state)
{
    (void)state;
    Options o = parsed(
        "-drive file=my,,disk.img,format=raw,snapshot=on,cyls=615,heads=6,secs=17,id=d0,cache=none "
        "-drive file=x.iso,media=cdrom,index=3,readonly=on -drive if=floppy,file=file:f.img "
        "-drive if=ide,bus=1,unit=0,file=y.img -drive z.img");
    const DriveConfig *d = drive_at(&o, DRIVE_IDE, 0);
    assert_string_equal(d->file, "my,disk.img");
    assert_string_equal(d->format, "raw");
    assert_true(d->snapshot);
    assert_string_equal(d->id, "d0");
    assert_int_equal(d->cylinders, 615);
    assert_int_equal(d->heads, 6);
    assert_int_equal(d->sectors, 17);
    d = drive_at(&o, DRIVE_IDE, 3);
    assert_int_equal(d->media, MEDIA_CDROM);
    assert_true(d->read_only);
    assert_string_equal(drive_at(&o, DRIVE_FLOPPY, 0)->file, "f.img");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 2)->file, "y.img");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 1)->file, "z.img");
    options_free(&o);
}

static void drives_through_device(void **state)
{
    (void)state;
    Options o = parsed("-drive if=none,id=a,file=a.img -drive if=none,id=b,file=b.iso,media=cdrom "
                       "-device ide-hd,drive=a,bus=ide.1,unit=1 -device ide-cd,drive=b,bus=ide.0 "
                       "-drive if=none,id=f,file=f.img -device floppy,drive=f,unit=1");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 3)->file, "a.img");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 3)->id, "a");
    assert_string_equal(drive_at(&o, DRIVE_IDE, 0)->file, "b.iso");
    assert_string_equal(drive_at(&o, DRIVE_FLOPPY, 1)->file, "f.img");
    assert_null(o.machine.device[0]);
    options_free(&o);
}

static void boot_orders(void **state)
{
    (void)state;
    Options o = parsed("-boot order=cd,once=a,menu=on");
    assert_string_equal(o.machine.boot_order, "cd");
    assert_string_equal(o.machine.boot_once, "a");
    assert_true(o.machine.boot_menu);
    options_free(&o);
    o = parsed("-boot d");
    assert_string_equal(o.machine.boot_order, "d");
    options_free(&o);
}

static void clocks(void **state)
{
    (void)state;
    Options o =
        parsed("-rtc base=1999-12-31T23:59:00,clock=vm -icount shift=3,sleep=off,align=off");
    assert_string_equal(o.machine.rtc_base, "1999-12-31T23:59:00");
    assert_int_equal(o.machine.icount_shift, 3);
    assert_true(o.machine.icount_hurry);
    options_free(&o);
    o = parsed("-localtime -icount 0");
    assert_string_equal(o.machine.rtc_base, "localtime");
    assert_int_equal(o.machine.icount_shift, 0);
    assert_false(o.machine.icount_hurry);
    options_free(&o);
}

static void ports(void **state)
{
    (void)state;
    Options o = parsed("-serial stdio -serial unix:/tmp/s,server,nowait -parallel file:lpt.txt "
                       "-debugcon file:d.txt -qmp unix:/tmp/q,server,nowait");
    assert_string_equal(o.machine.serial[0], "stdio");
    assert_string_equal(o.machine.serial[1], "unix:/tmp/s,server,nowait");
    assert_string_equal(o.machine.parallel, "file:lpt.txt");
    assert_string_equal(o.machine.debugcon, "file:d.txt");
    assert_string_equal(o.ui.qmp[0], "unix:/tmp/q,server,nowait");
    options_free(&o);

    o = parsed("-nographic");
    assert_string_equal(o.machine.audiodev, "none");
    assert_string_equal(o.machine.serial[0], "mon:stdio");
    assert_int_equal(o.ui.display, DISPLAY_NONE);
    options_free(&o);

    o = parsed("-nographic -serial none -monitor none");
    assert_string_equal(o.machine.serial[0], "none");
    assert_int_equal(o.notes, 0);
    options_free(&o);

    o = parsed("-chardev socket,id=q,path=/tmp/q,server=on,wait=off -mon chardev=q,mode=control "
               "-chardev file,id=s,path=log.txt -serial chardev:s "
               "-chardev socket,id=t,port=4321,server=on,wait=off,telnet=on -serial chardev:t "
               "-serial telnet::4444,server,nowait");
    assert_string_equal(o.ui.qmp[0], "unix:/tmp/q,server,nowait");
    assert_string_equal(o.machine.serial[0], "file:log.txt");
    assert_string_equal(o.machine.serial[1], "tcp:localhost:4321,server,nowait,telnet");
    assert_string_equal(o.machine.serial[2], "telnet::4444,server,nowait");
    options_free(&o);
}

static void cards(void **state)
{
    (void)state;
    Options o =
        parsed("-device isa-debug-exit,iobase=0xf4 -soundhw sb16,adlib,pcspk -device usb-tablet "
               "-net nic,model=ne2k_pci -net user,hostfwd=tcp::5555-:80 -nic none "
               "-netdev user,id=n0 -device ne2k_isa,netdev=n0");
    assert_string_equal(o.machine.device[0], "isa-debug-exit,iobase=0xf4");
    assert_string_equal(o.machine.device[1], "sb16");
    assert_string_equal(o.machine.device[2], "adlib");
    assert_string_equal(o.machine.device[3], "ne2k_isa,netdev=n0");
    assert_null(o.machine.device[4]);
    assert_string_equal(o.machine.nic[0], "user,hostfwd=tcp::5555-:80,model=ne2k_pci");
    assert_string_equal(o.machine.nic[1], "none");
    assert_string_equal(o.machine.netdev[0], "user,id=n0");
    assert_int_equal(o.notes, 1); /* usb-tablet */
    options_free(&o);
}

static void displays(void **state)
{
    (void)state;
    Options o = parsed("-display sdl,scaling=smooth,full-screen=on,window-close=off,host-key=F12");
    assert_int_equal(o.ui.display, DISPLAY_WINDOW);
    assert_int_equal(o.ui.scaling, SCALING_SMOOTH);
    assert_false(o.ui.scanlines);
    assert_true(o.ui.full_screen);
    assert_false(o.ui.window_close);
    assert_string_equal(o.ui.host_key, "F12");
    options_free(&o);
    o = parsed("-display sdl,scale=aspect,scanlines=on");
    assert_int_equal(o.ui.scaling, SCALING_ASPECT);
    assert_true(o.ui.scanlines);
    options_free(&o);
    o = parsed("-display none -S -no-reboot -no-shutdown -name my,process=x -usb -k de -no-acpi");
    assert_int_equal(o.ui.display, DISPLAY_NONE);
    assert_true(o.machine.start_paused && o.machine.no_reboot && o.machine.no_shutdown);
    assert_string_equal(o.machine.name, "my");
    assert_string_equal(o.ui.layout, "de");
    assert_int_equal(o.notes, 2);
    options_free(&o);
}

static void logs(void **state)
{
    (void)state;
    Options o = parsed("-d guest_errors,trace:pit_write -D out.log");
    assert_string_equal(o.ui.log, "guest,pit=trace");
    assert_string_equal(o.ui.log_file, "out.log");
    options_free(&o);
}

/* Each is refused with one line that names the option and a way out. */
static void refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"-frobnicate", "'-frobnicate'"},
        {"-cdrm x.iso", "did you mean -cdrom"},
        {"-m", "-m needs a value"},
        {"-m lots", "'lots' is no size"},
        {"-m 0", "1 to 3072"},
        {"-m 4G", "1 to 3072"},
        {"-m -5", "no size"},
        {"-m 64Q", "no size"},
        {"-m 1e300", "no size"},
        {"-m nan", "no size"},
        {"-cpu z80", "no model 'z80'"},
        {"-accel warp", "no engine 'warp'"},
        {"-speed warp", "speed 'warp': say max"},
        {"-speed -1", "speed '-1': say max"},
        {"-machine q35", "no machine 'q35'"},
        {"-vga voodoo", "no card 'voodoo'"},
        {"-smp 4", "one processor"},
        {"-boot x", "letters"},
        {"-boot aa", "at most once"},
        {"-boot menu=maybe", "menu=on"},
        {"-rtc base=yesterday", "1999-12-31"},
        {"-rtc base=1999-02-31T25:00:00", "1999-12-31"},
        {"-icount shift=11", "0 to 10"},
        {"-icount auto", "shift=0"},
        {"-hda ''", "needs an image"},
        {"-hda a -hda b", "taken"},
        {"-cdrom a -hdc b", "taken"},
        {"-drive file=a,if=scsi", "if=ide"},
        {"-drive file=a,index=9", "index=0 to 3"},
        {"-drive file=a,if=floppy,index=2", "index=0 or 1"},
        {"-drive file=a,colour=red", "no setting 'colour'"},
        {"-drive file=a,cyls=10", "belong together"},
        {"-drive file=a,snapshot=perhaps", "snapshot=on"},
        {"-drive if=none,file=a", "needs id="},
        {"-device ide-hd,drive=nobody", "no drive 'nobody'"},
        {"-display hologram", "no display 'hologram'"},
        {"-serial carrier-pigeon", "leads nowhere"},
        {"-serial file:", "leads nowhere"},
        {"-serial none -serial none -serial none -serial none -serial none", "4 serial ports"},
        {"-serial stdio -parallel stdio", "one port only"},
        {"-serial chardev:x", "no -chardev"},
        {"-qmp stdin", "unix:PATH"},
        {"-bios ''", "empty value"},
        {"-snapshot=on", "takes no value"},
        {"-d sorcery", "no item 'sorcery'"},
        {"/nonexistent/image", "cannot be opened"},
        {"/tmp", "is a folder"},
        {"a b", "both images"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Options o;
        Err err;
        if (parse(&o, cases[i][0], &err)) {
            fail_msg("'%s' was taken", cases[i][0]);
        }
        if (!strstr(err.text, cases[i][1])) {
            fail_msg("'%s': '%s' lacks '%s'", cases[i][0], err.text, cases[i][1]);
        }
        assert_null(strchr(err.text, '\n'));
        options_free(&o);
    }
}

static void help_and_version(void **state)
{
    (void)state;
    Options o = parsed("--help -frobnicate");
    assert_true(o.help);
    options_free(&o);
    o = parsed("-cpu help");
    assert_true(o.help);
    assert_non_null(strstr(o.topic, "pentium-mmx"));
    options_free(&o);
    o = parsed("-version");
    assert_true(o.version);
    options_free(&o);
}

static void names_are_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; options_name(i); i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(options_name(i), options_name(j));
        }
    }
}

/* Image files made for the purpose: `bytes` at `at` of a file of `size`. */
static void make_image(const char *path, uint64_t size, uint64_t at, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void image_kinds(void **state)
{
    (void)state;
    static const char multiboot[12] = "\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4";
    static const struct {
        uint64_t size, at;
        const char *bytes;
        size_t n;
        int kind; /* -1: refused */
    } cases[] = {
        {1474560, 0, "", 0, IMAGE_FLOPPY},
        {368640, 510, "\x55\xaa", 2, IMAGE_FLOPPY},
        {512, 510, "\x55\xaa", 2, IMAGE_FLOPPY},
        {10 << 20, 510, "\x55\xaa", 2, IMAGE_DISK},
        {196616, 0, "QFI\xfb", 4, IMAGE_DISK},
        {700 << 10, 0x8001, "CD001", 5, IMAGE_CDROM},
        {1474560, 0x8001, "CD001", 5, IMAGE_CDROM},
        {5000000, 0x40, multiboot, 12, IMAGE_KERNEL},
        {10 << 20, 0, "", 0, -1},
        {777, 0, "hello", 5, -1},
        {0, 0, "", 0, -1},
    };
    char path[] = "/tmp/vitrine-options-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ImageKind kind = IMAGE_FLOPPY;
        Err err = {{0}};
        make_image(path, cases[i].size, cases[i].at, cases[i].bytes, cases[i].n);
        bool known = image_kind(path, &kind, &err);
        assert_int_equal(known, cases[i].kind >= 0);
        assert_int_equal(!known, err.text[0] != '\0');
        if (known) {
            assert_int_equal(kind, cases[i].kind);
        }
    }
    /* A kernel with a boot sector is told from a disk by its header. */
    make_image(path, 4 << 20, 510, "\x55\xaa\xeb\x66HdrS", 8);
    ImageKind kind;
    assert_true(image_kind(path, &kind, NULL));
    assert_int_equal(kind, IMAGE_KERNEL);
    unlink(path);
}

static void image_alone(void **state)
{
    (void)state;
    char path[] = "/tmp/vitrine-options-XXXXXX";
    char line[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    make_image(path, 1474560, 0, "", 0);
    Options o = parsed(path);
    assert_string_equal(drive_at(&o, DRIVE_FLOPPY, 0)->file, path);
    assert_string_equal(o.machine.boot_order, "a");
    options_free(&o);

    make_image(path, 1 << 20, 0x8001, "CD001", 5);
    snprintf(line, sizeof(line), "-hda disk.img %s -boot c", path);
    o = parsed(line);
    assert_string_equal(drive_at(&o, DRIVE_IDE, 2)->file, path);
    assert_string_equal(o.machine.boot_order, "c");
    options_free(&o);

    Err err;
    snprintf(line, sizeof(line), "-cdrom other.iso %s", path);
    assert_false(parse(&o, line, &err));
    assert_non_null(strstr(err.text, "taken"));
    options_free(&o);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(memory_sizes),
        cmocka_unit_test(one_dash_or_two_and_equals),
        cmocka_unit_test(engines),
        cmocka_unit_test(speeds),
        cmocka_unit_test(drives_by_letter),
        cmocka_unit_test(drive_settings),
        cmocka_unit_test(drives_through_device),
        cmocka_unit_test(boot_orders),
        cmocka_unit_test(clocks),
        cmocka_unit_test(ports),
        cmocka_unit_test(cards),
        cmocka_unit_test(displays),
        cmocka_unit_test(logs),
        cmocka_unit_test(refusals),
        cmocka_unit_test(help_and_version),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(image_kinds),
        cmocka_unit_test(image_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
