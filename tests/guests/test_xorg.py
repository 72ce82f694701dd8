#!/usr/bin/env python3
"""Debian's X server in the guest with the drivers cirrus, vesa and fbdev, and the kernel's accelerated cirrusfb.

Each case draws the same things, looks at the colours, or compares the picture with that of the driver writing pixels itself.
"""
import atexit
import os
import shutil
import tempfile

import debian
import guest
from linux import Linux

PACKAGES = ['xserver-xorg-core', 'xserver-xorg-video-cirrus', 'xserver-xorg-video-vesa', 'xserver-xorg-video-fbdev',
            'xserver-xorg-input-evdev', 'x11-xserver-utils', 'x11-apps', 'xterm']
LEFT_OUT = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/lintian', 'usr/lib/i386-linux-gnu/dri',
            'usr/share/icons', 'usr/share/perl', 'usr/share/i18n']
MODULES = ['crc32c_generic', 'ata_piix', 'sd_mod', 'ext4', 'evdev', 'psmouse']
folder = tempfile.mkdtemp(prefix='vitrine-xorg-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
made = {}

CONFIG = '''Section "ServerFlags"
    Option "AutoAddDevices" "false"
    Option "AutoAddGPU" "false"
    Option "DontZap" "true"
    Option "BlankTime" "0"
EndSection
Section "Device"
    Identifier "card"
    Driver "{driver}"
{options}EndSection
Section "Monitor"
    Identifier "tube"
    HorizSync 30-70
    VertRefresh 50-90
EndSection
Section "Screen"
    Identifier "screen"
    Device "card"
    Monitor "tube"
    DefaultDepth {depth}
    SubSection "Display"
        Depth {depth}
        Modes "800x600"
    EndSubSection
EndSection
'''
# The pointer has a shape. Colours, fills, copies (a terminal that scrolls), lines, and text; nothing that moves by itself is left at the end.
DRAW = '''#!/bin/sh
export DISPLAY=:0 HOME=/tmp
xsetroot -solid '#204060' -cursor_name X_cursor
x11perf -repeat 1 -time 1 -rect100 -scroll100 -copywinwin100 -seg100 -ftext -putimage100 >/tmp/perf 2>&1 || exit 1
xterm -geometry 60x20+20+20 -fn fixed -bg white -fg black +sb -bc -e /bin/sh -c 'i=0; while [ $i -lt 300 ]; do echo "line $i of a text that scrolls"; i=$((i+1)); done; printf "\\033[?25l"; touch /tmp/scrolled; sleep 1000' &
i=0; while [ ! -e /tmp/scrolled ] && [ $i -lt 600 ]; do sleep 0.2; i=$((i+1)); done
xlogo -geometry 150x150+600+20 -bg '#ffff00' -fg '#ff0000' &
xlogo -geometry 150x150+600+220 -bg '#0000ff' -fg '#00ff00' &
sleep 3
xrefresh
sleep 2
'''


def disk():
    if 'disk' not in made:
        tree = os.path.join(folder, 'tree')
        shutil.copytree(debian.system('xorg', PACKAGES), tree, symlinks=True)
        for name in LEFT_OUT:
            shutil.rmtree(os.path.join(tree, name), ignore_errors=True)
        for name in ('proc', 'sys', 'dev', 'tmp', 'etc/X11', 'var/log', 'root'):
            os.makedirs(os.path.join(tree, name), exist_ok=True)
        with open(os.path.join(tree, 'etc/passwd'), 'w') as file:
            file.write('root:x:0:0:root:/root:/bin/sh\n')
        shutil.copy(os.path.join(debian.package('busybox-static:i386'), 'bin/busybox'), os.path.join(tree, 'bin'))
        for name in ('sh', 'sleep', 'touch'):
            if not os.path.lexists(os.path.join(tree, 'bin', name)):
                os.symlink('busybox', os.path.join(tree, 'bin', name))
        with open(os.path.join(tree, 'draw'), 'w') as file:
            file.write(DRAW)
        os.chmod(os.path.join(tree, 'draw'), 0o755)
        made['disk'] = debian.ext2_disk(os.path.join(folder, 'xorg.img'), tree, 420)
        shutil.rmtree(tree)
        made['initrd'] = debian.initrd(os.path.join(folder, 'initrd.gz'), MODULES)
    return made['disk']


def x_server(engine, card, driver, depth, options='', append='nomodeset'):
    """What the X server shows after DRAW, as a picture."""
    path = disk()
    with Linux(engine, '-kernel', debian.linux(), '-initrd', made['initrd'], '-append', f'console=ttyS0,115200 quiet {append}',
               '-vga', card, '-hda', path, memory=256) as vm:
        shell = vm.shell()
        shell.run('mount -t ext2 -o noatime /dev/sda /mnt; for i in proc sys dev; do mount -o bind /$i /mnt/$i; done')
        shell.run('mkdir -p /mnt/dev/shm /mnt/dev/pts; mount -t devpts none /mnt/dev/pts; mount -t tmpfs none /mnt/tmp; ip link set lo up || true')
        lines = ''.join(f'    Option "{line}"\n'.replace('=', '" "') for line in options.split())
        text = CONFIG.format(driver=driver, depth=depth, options=lines).replace('\n', '\\n').replace('"', '\\"')
        shell.run(f'printf "{text}" >/mnt/tmp/xorg.conf')
        shell.run('(chroot /mnt /usr/lib/xorg/Xorg :0 -config /tmp/xorg.conf -logfile /tmp/log -novtswitch -sharevts vt1 '
                  '-nolisten tcp -ac -noreset >/mnt/tmp/out 2>&1 &)')
        try:
            shell.run('i=0; while [ ! -e /mnt/tmp/.X11-unix/X0 ] && [ $i -lt 200 ]; do sleep 0.2; i=$((i+1)); done; '
                      '[ -e /mnt/tmp/.X11-unix/X0 ]', 120)
            shell.run('chroot /mnt /draw', 300)
        except AssertionError as error:
            log = shell.run('tail -n 60 /mnt/tmp/log; cat /mnt/tmp/out /mnt/tmp/perf || true')
            raise AssertionError(f'{error}\n{log}') from None
        log = shell.run('cat /mnt/tmp/log')
        assert f'{driver.upper()}(0)' in log, f'another driver is at work:\n{log}'
        shot = vm.picture()
        vm.keep(f'xorg-{driver}-{depth}-{options.lower() or "default"}', shot)
        return shot, log


def near(seen, wanted, most):
    return all(abs(a - b) <= most for a, b in zip(seen, wanted))


def colours_are_right(shot, depth):
    """The root window, both logos' backgrounds and foregrounds, and the terminal; less than 24 bits round."""
    most = 0 if depth == 24 else 8
    assert shot.width >= 800 and shot.height >= 600, f'{shot.width}x{shot.height}'
    for (x, y), colour in {(10, 590): (0x20, 0x40, 0x60), (10, 0): (0x20, 0x40, 0x60), (604, 95): (255, 255, 0), (640, 50): (255, 0, 0),
                           (604, 295): (0, 0, 255), (640, 250): (0, 255, 0), (24, 22): (255, 255, 255)}.items():
        assert near(shot.pixel(x, y), colour, most), f'the pixel at {x},{y} is {shot.pixel(x, y)}, not {colour}'


def cirrus(engine):
    """Debian's driver has lost its acceleration with XAA and has no mode of 32 bits; cirrusfb below has both."""
    for depth in (8, 16):
        shot, _ = x_server(engine, 'cirrus', 'cirrus', depth)
        colours_are_right(shot, depth)


def cirrus_with_its_own_cursor(engine):
    """Against the pointer that the server draws itself."""
    pictures = [x_server(engine, 'cirrus', 'cirrus', 16, f'HWCursor={switch}')[0] for switch in ('on', 'off')]
    colours_are_right(pictures[0], 16)
    share = pictures[0].differing(pictures[1])
    assert share == 0, f'{100 * share:.3f} % of the pixels differ'
    there = {pictures[0].pixel(x, y) for x in range(500, 700) for y in range(400, 600)}
    assert len(there) > 1, f'there is no pointer where x11perf leaves it, but {there}'


def vesa(engine):
    for card in ('std', 'cirrus'):
        shot, _ = x_server(engine, card, 'vesa', 16)
        colours_are_right(shot, 16)


def vesa_without_a_shadow(engine):
    shot, _ = x_server(engine, 'std', 'vesa', 24, 'ShadowFB=off')
    colours_are_right(shot, 24)


def fbdev(engine):
    shot, _ = x_server(engine, 'std', 'fbdev', 24, append='nomodeset vga=0x343')
    colours_are_right(shot, 24)


def console_of_cirrusfb(engine):
    """The kernel's driver scrolls, fills and draws glyphs by the chip's blitter, or writes pixels itself."""
    disk()
    shots = {}
    ramdisk = debian.initrd(os.path.join(folder, 'cirrusfb.gz'), [], ['cirrusfb'])
    for depth in (8, 16, 24):
        for off in (0, 1):
            with Linux(engine, '-kernel', debian.linux(), '-initrd', ramdisk, '-append',
                       'console=ttyS0,115200 quiet nomodeset', '-vga', 'cirrus', memory=128) as vm:
                shell = vm.shell()
                shell.run(f'insmod /modules/cirrusfb.ko noaccel={off} mode_option=800x600-{depth}@60')
                vm.wait_size(800, 600)
                shell.run("printf '\\033[2J\\033[?25l\\033[37;44m' >/dev/tty0; i=0; while [ $i -lt 200 ]; do "
                          "echo \"line $i scrolls on the frame buffer's console\"; i=$((i+1)); done >/dev/tty0; "
                          "printf '\\033[5;3H\\033[4M\\033[31;42m colours \\033[2L\\033[10;10H\\033[1J' >/dev/tty0")
                vm.wait_picture(lambda shot: shot.colours() >= 4)
                shots[off] = vm.picture()
                vm.keep(f'cirrusfb-{depth}-{"accelerated" if not off else "plain"}', shots[off])
        share = shots[0].differing(shots[1])
        assert share == 0, f'{depth} bits: {100 * share:.3f} % of the pixels differ'


guest.cases(cirrus, cirrus_with_its_own_cursor, vesa, vesa_without_a_shadow, fbdev, console_of_cirrusfb)
