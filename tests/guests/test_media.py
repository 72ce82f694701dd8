#!/usr/bin/env python3
"""Media of running guests: floppies and CDs are swapped under Linux and FreeDOS; disks, CD and floppies carry patterns with DMA and without."""
import atexit
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time

import debian
import guest
import linux
from tests.lib.vm import QmpError

folder = tempfile.mkdtemp(prefix='vitrine-media-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
HERE = os.path.dirname(os.path.abspath(__file__))
CD, FLOPPY = 'ide1-cd0', 'floppy0'
MODULES = [*debian.MODULES, 'vfat', 'nls_cp437', 'nls_ascii']
NOISE = 2 << 20
TROUBLE = "dmesg | grep -E 'ata[0-9].*(exception|failed|timeout)|sr0.*FAILED|lost interrupt|I/O error|floppy.*(error|unexpected|absent)' || true"
made = {}


def material(name):
    return os.path.join(folder, name)


def ramdisk():
    if 'initrd' not in made:
        made['initrd'] = debian.initrd(material('initrd.gz'), modules=MODULES, there=['floppy'], files={
            'bin/media_io': debian.bare_program(os.path.join(HERE, 'media_io.c'), material('media_io'))})
    return made['initrd']


def disc(name):
    """A data CD with a label and noise of its own; the noise's MD5."""
    if name not in made:
        with open(material('label'), 'w') as file:
            file.write(f'this is disc {name}\n')
        total = debian.noise(material('noise'), NOISE + ord(name[0]) * 2048, seed=ord(name[0]))
        made[name] = (debian.iso(material(name + '.iso'), folder, {'label.txt': material('label'), 'noise': material('noise')}), total)
    return made[name]


def floppy(name, kilobytes=1440):
    """A fresh FAT floppy with a label."""
    debian.need('mformat', 'mcopy')
    path = material(name + '.img')
    with open(path, 'wb') as file:
        file.truncate(kilobytes * 1024)
    with open(material('label'), 'w') as file:
        file.write(f'this is floppy {name}\n')
    subprocess.run(['mformat', '-i', path, '-f', str(kilobytes), '-v', name, '::'], check=True)
    subprocess.run(['mcopy', '-i', path, material('label'), '::LABEL.TXT'], check=True)
    return path


def names_on(path):
    done = subprocess.run(['mdir', '-b', '-i', path, '::'], check=True, stdout=subprocess.PIPE, text=True)
    return sorted(line.split('/')[-1] for line in done.stdout.split())


def md5(path):
    with open(path, 'rb') as file:
        return hashlib.md5(file.read()).hexdigest()


def change(vm, device, path, **more):
    """As fast as fingers may be: a CD takes a second to be loaded."""
    vm.qmp('blockdev-change-medium', device=device, filename=path, **more)
    if not hasattr(vm, 'console'):
        time.sleep(4)
    elif device == CD:
        vm.console.run('sleep 2')
    else:  # for 5 minutes after it was booted, Linux notices the change line when it reads only, and fails that read
        vm.console.run('dd if=/dev/fd0 bs=512 count=1 2>/dev/null | wc -c')


def block(vm, device):
    return next(one for one in vm.qmp('query-block') if one['device'] == device)


def until(wanted, what):
    end = time.monotonic() + 30 * guest.PATIENCE
    while not wanted():
        assert time.monotonic() < end, f'{what} did not come'
        time.sleep(0.1)


def refused(vm, command, **arguments):
    try:
        vm.qmp(command, **arguments)
    except QmpError as error:
        return str(error)
    raise AssertionError(f'{command} was not refused')


def shows_disc(shell, name):
    assert f'this is disc {name}' in shell.run('mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/label.txt')
    assert disc(name)[1] in shell.run('md5sum /mnt/noise', 120)
    assert int(shell.run('blockdev --getsize64 /dev/sr0')) == os.path.getsize(disc(name)[0])


def linux_swaps_discs(engine):
    """By the host unasked, under a mount with force, and with the tray opened by the guest."""
    with linux.direct(engine, ramdisk(), '-cdrom', disc('A')[0]) as vm:
        shell = vm.shell()
        shows_disc(shell, 'A')
        assert 'locked' in refused(vm, 'eject', device=CD)  # a mount locks the door
        shell.run('umount /mnt')
        shell.run('media_io changed /dev/sr0 || true')
        assert int(shell.run('media_io changed /dev/sr0')) == 0
        change(vm, CD, disc('B')[0])
        assert int(shell.run('media_io changed /dev/sr0')) == 1  # UNIT ATTENTION, once
        assert int(shell.run('media_io changed /dev/sr0')) == 0
        shows_disc(shell, 'B')
        no_trouble(shell)
        vm.qmp('eject', device=CD, force=True)  # like a pin in the hole: what is cached stays readable, no more
        shell.run('echo 3 > /proc/sys/vm/drop_caches; ! md5sum /mnt/noise', 180)
        shell.run('umount /mnt')
        change(vm, CD, disc('A')[0])
        shows_disc(shell, 'A')
        shell.run('umount /mnt; media_io eject /dev/sr0')
        assert block(vm, CD)['tray_open'] and int(shell.run('media_io status /dev/sr0')) == 2
        assert vm.event('DEVICE_TRAY_MOVED')
        shell.run('media_io close /dev/sr0')
        assert not block(vm, CD)['tray_open']
        shows_disc(shell, 'A')
        shell.run('umount /mnt; media_io eject /dev/sr0')
        change(vm, CD, disc('B')[0])
        assert int(shell.run('media_io status /dev/sr0')) == 4
        shows_disc(shell, 'B')
        shell.run('umount /mnt')
        vm.qmp('eject', device=CD)
        assert int(shell.run('media_io status /dev/sr0')) in (1, 2)
        shell.run('! mount -t iso9660 -o ro /dev/sr0 /mnt 2>/dev/null')


def no_trouble(shell):
    said = shell.run(TROUBLE).strip()
    assert not said, said


def with_floppies(engine, *arguments, option=''):
    vm = linux.direct(engine, ramdisk(), *arguments, snapshot=False)
    try:
        vm.floppies = vm.shell()
        vm.floppies.run(f'insmod /modules/floppy.ko {option}')
        return vm
    except BaseException:
        vm.close()
        raise


def shows_floppy(shell, name, options='rw'):
    assert f'this is floppy {name}' in shell.run(f'mount -t vfat -o {options} /dev/fd0 /mnt && cat /mnt/label.txt')


def linux_swaps_floppies(engine):
    """The disk change line: nothing old is read, nothing is written to the wrong floppy."""
    a, b = floppy('A'), floppy('B', 720)
    with with_floppies(engine, '-fda', a) as vm:
        shell = vm.floppies
        for round_number in range(2):
            for name, path, other in (('A', a, b), ('B', b, a)):
                shows_floppy(shell, name)
                shell.run(f'echo {round_number} > /mnt/on-{name.lower()}{round_number} && umount /mnt')
                change(vm, FLOPPY, other)
                assert f'on-{name.lower()}{round_number}' in ' '.join(names_on(path)).lower()
        shows_floppy(shell, 'A', 'ro')
        change(vm, FLOPPY, b)  # under a mount: an error, never the other's sectors as these
        shell.run('echo 3 > /proc/sys/vm/drop_caches; cat /mnt/label.txt 2>/dev/null | grep "floppy B" && exit 1; umount /mnt')
        shows_floppy(shell, 'B', 'ro')
        shell.run('umount /mnt')
        vm.qmp('eject', device=FLOPPY)
        shell.run('! mount -t vfat /dev/fd0 /mnt 2>/dev/null')
        change(vm, FLOPPY, a, read_only_mode='read-only')
        shell.run('! dd if=/dev/zero of=/dev/fd0 bs=512 count=1 conv=notrunc 2>/dev/null')
        shows_floppy(shell, 'A', 'ro')
        shell.run('umount /mnt')
    assert names_on(a) == ['LABEL.TXT', 'on-a0', 'on-a1'] and names_on(b) == ['LABEL.TXT', 'on-b0', 'on-b1'], (names_on(a), names_on(b))


def freedos_swaps_floppies(engine):
    """In both drives; the resident part of DOS must see each new directory and FAT."""
    a, b, one, two = (floppy(*which) for which in (('A',), ('B', 720), ('ONE',), ('TWO', 720)))
    dos = material('dos.img')
    shutil.copyfile(guest.image('freedos722.img'), dos)
    with guest.Guest(engine, '-fda', dos, '-fdb', one, snapshot=False) as vm:
        vm.wait_text('A:\\>')
        for name, path, other in (('ONE', one, two), ('TWO', two, one)):
            vm.command('cls', 'A:\\>')
            vm.command('type b:\\label.txt', f'this is floppy {name}')
            vm.command('copy a:\\readme b:\\from-a', '=> b:')
            vm.command('dir b:', 'bytes free')  # all is written
            change(vm, 'floppy1', other)
        for name, path in (('A', a), ('B', b)):
            change(vm, FLOPPY, path)
            vm.command('cls', 'A:\\>')
            vm.command('type a:\\label.txt', f'this is floppy {name}')
        change(vm, FLOPPY, dos)
        vm.command('cls', 'A:\\>')
        vm.command('dir a:\\fdos', 'XCOPY')
    for path in (one, two):
        assert names_on(path) == ['FROM-A', 'LABEL.TXT'], names_on(path)
        subprocess.run(['mcopy', '-n', '-o', '-i', path, '::FROM-A', material('back')], check=True)
        subprocess.run(['mcopy', '-n', '-o', '-i', dos, '::README', material('readme')], check=True)
        assert md5(material('back')) == md5(material('readme'))


def freedos_swaps_discs(engine):
    """A DOS driver (Atapicdd) and SHSUCDX."""
    hd = material('dosapps.img')
    if not os.path.exists(hd):
        guest.unpacked('dosapps.img', folder)
    with guest.Guest(engine, '-hda', hd, '-cdrom', disc('A')[0]) as vm:
        vm.wait_text('Select from Menu')
        vm.type('4')
        vm.wait_text('READY')
        vm.wait_text('C:\\>')
        vm.type('shsucdx /d:?fdcd0001,d\n' if 'SHSUCDX' not in vm.screen() else '\n')
        vm.command('type d:\\label.txt', 'this is disc A')
        for name in 'BAB':
            change(vm, CD, disc(name)[0])
            vm.command('cls', 'C:\\>')
            vm.command('dir d:', 'NOISE')
            vm.command('type d:\\label.txt', f'this is disc {name}')


def partitioned(screen):
    """Megabytes of the primary and the extended partition, as FDISK lists them."""
    return sum(int(number) for number in re.findall(r'^ *(?:[A-Z]: 1 +A|2) +(\d+)', screen, re.MULTILINE))


def disks_of_every_size(engine):
    """Around the BIOS limits of 504 MB, 8.4, 33.8 and 137 GB: Linux reaches both ends of each, FreeDOS counts their megabytes."""
    sizes = (503 << 20, 8500 * 10**6 // 512 * 512, 34000 * 10**6 // 512 * 512, 200 * 10**9 // 512 * 512)
    drives = []
    for number, size in enumerate(sizes):
        path = material(f'size{number}.img')
        with open(path, 'wb') as file:
            file.truncate(size)
        drives += [f'-hd{"abcd"[number]}', path]
    with linux.direct(engine, ramdisk(), *drives, snapshot=False) as vm:
        shell = vm.shell()
        names = letters(shell, sizes)
        for letter, size in zip(names, sizes):
            for sector in (0, size // 512 - 1):
                shell.run(f'echo at {letter} {sector} | dd of=/dev/sd{letter} bs=512 seek={sector} conv=sync,notrunc 2>/dev/null')
        shell.run('sync; echo 3 > /proc/sys/vm/drop_caches')
        for letter, size in zip(names, sizes):
            for sector in (0, size // 512 - 1):
                assert f'at {letter} {sector}\n' in shell.run(f'dd if=/dev/sd{letter} bs=512 skip={sector} count=1 2>/dev/null')
        no_trouble(shell)
    for letter, path, size in zip(names, drives[1::2], sizes):
        with open(path, 'r+b') as file:
            file.seek(size - 512)
            assert file.read(32).startswith(f'at {letter} {size // 512 - 1}\n'.encode())
            file.seek(0)
            file.write(bytes(512))
    with guest.Guest(engine, *drives, '-fda', guest.image('freedos13.img'), '-boot', 'a') as vm:
        vm.wait_text('English')
        vm.key('ret')
        vm.wait_text('Do you want to proceed')
        vm.type('n\n')
        vm.wait_text('A:\\>')
        for number, megabytes in enumerate(size >> 20 for size in sizes):
            vm.dos(f'fdisk /auto {number + 1}', timeout=120)
            text = vm.dos(f'fdisk /info {number + 1}').split(f'Current fixed disk drive: {number + 1}')[-1]
            assert abs(partitioned(text) - megabytes) <= megabytes // 100, (megabytes, text)


def at_once(first, second):
    """A shell command of the two."""
    return f"sh -c '({first}) & other=$!; ({second}) && wait $other'"


def letters(shell, sizes):
    """What Linux calls the disks of these sizes: it looks for them on both channels at once."""
    found = {int(shell.run(f'blockdev --getsize64 /dev/sd{letter}')): letter for letter in 'abcd'[:len(sizes)]}
    return ''.join(found[size] for size in sizes)


def disks_and_disc(engine, option, mode):
    """Master and slave of one channel, in turn and at once, and the CD on the other."""
    disks = [material(f'disk{number}-{engine}.img') for number in range(2)]
    sizes = (32 << 20, 33 << 20)
    for path, size in zip(disks, sizes):
        with open(path, 'wb') as file:
            file.truncate(size)
    with linux.direct(engine, ramdisk(), '-hda', disks[0], '-hdb', disks[1], '-cdrom', disc('A')[0],
                      append=f'{linux.APPEND} {option}', snapshot=False) as vm:
        shell = vm.shell()
        modes = shell.run('cat /sys/class/ata_device/dev?.?/xfer_mode').split()
        assert len(modes) == 4 and modes[:3] == [mode] * 3, modes  # the fourth is not there
        names = letters(shell, sizes)
        for seed, (bytes_, count) in enumerate(((512, 512), (4096, 512), (65536, 128), (131072, 64), (1048576, 16))):
            shell.run(at_once(*[f'media_io W /dev/sd{letter} {seed}{number} {bytes_} {count}' for number, letter in enumerate(names)]), 300)
            for number, letter in enumerate(names):
                shell.run(f'media_io R /dev/sd{letter} {seed}{number} {bytes_} {count}', 300)
        shell.run(f'! media_io r /dev/sd{names[0]} 40 1048576 17')  # the pattern ends here: it can fail
        first = f'/dev/sd{names[0]}'
        shell.run(at_once(f'media_io r {first} 40 1048576 16 && media_io w {first} 77 65536 256', 'cat /dev/sr0 >/dev/null'), 300)
        sums = [shell.run(f'md5sum /dev/sd{letter}', 300).split()[0] for letter in names]
        assert sums == [md5(path) for path in disks]
        shows_disc(shell, 'A')
        no_trouble(shell)
        vm.console.socket.sendall(b'poweroff -f\n')
        assert vm.wait(60 * guest.PATIENCE) == 0


def ide_with_multiword_dma(engine):
    disks_and_disc(engine, '', 'XFER_MW_DMA_2')


def ide_with_pio_4(engine):
    disks_and_disc(engine, 'libata.dma=0', 'XFER_PIO_4')


def ide_with_pio_0(engine):
    disks_and_disc(engine, 'libata.force=pio0', 'XFER_PIO_0')


def floppies(engine, option):
    """Whole floppies of two kinds: formatted, written in order and scattered, read back; and the image holds the same."""
    paths = [material(f'fd{number}-{engine}.img') for number in range(2)]
    for path, kilobytes in zip(paths, (1440, 720)):
        with open(path, 'wb') as file:
            file.write(b'\x55' * kilobytes * 1024)
    with with_floppies(engine, '-fda', paths[0], '-fdb', paths[1], option=option) as vm:
        shell = vm.floppies
        shell.run('mknod /dev/fd0u1440 b 2 28; mknod /dev/fd1u720 b 2 17')
        for device, path, kilobytes in (('fd0u1440', paths[0], 1440), ('fd1u720', paths[1], 720)):
            shell.run(f'media_io format /dev/{device} 80 2', 300)
            with open(path, 'rb') as file:
                assert file.read() == b'\xf6' * kilobytes * 1024, f'{device} is not formatted'
            pieces = kilobytes * 1024 // 9216
            shell.run(f'media_io w /dev/{device} 1 9216 {pieces} && media_io r /dev/{device} 1 9216 {pieces}', 300)
            shell.run(f'media_io W /dev/{device} 2 512 128 && media_io R /dev/{device} 2 512 128', 300)
            shell.run(f'! media_io r /dev/{device} 1 9216 1')
            assert shell.run(f'md5sum /dev/{device}', 300).split()[0] == md5(path)
        shell.run(at_once(*[f'media_io w /dev/{device} 3 4096 16 && media_io r /dev/{device} 3 4096 16'
                            for device in ('fd0u1440', 'fd1u720')]), 300)
        no_trouble(shell)


def floppies_with_dma(engine):
    floppies(engine, '')


def floppies_without_dma(engine):
    floppies(engine, 'floppy=nodma')


guest.cases(linux_swaps_discs, linux_swaps_floppies, freedos_swaps_floppies, freedos_swaps_discs, ide_with_multiword_dma,
            ide_with_pio_4, ide_with_pio_0, disks_of_every_size, floppies_with_dma, floppies_without_dma)
