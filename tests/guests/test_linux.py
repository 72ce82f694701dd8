#!/usr/bin/env python3
"""Debian's i386 kernel to a shell on the serial port: from -kernel, from a CD and from a hard disk; reads and writes both."""
import atexit
import os
import shutil
import tempfile

import debian
import guest
from linux import Linux

folder = tempfile.mkdtemp(prefix='vitrine-guests-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
APPEND = 'console=ttyS0,115200 panic=-1 quiet'
NOISE = 3 << 20
made = {}


def material(name):
    return os.path.join(folder, name)


def ramdisk():
    if 'initrd' not in made:
        made['initrd'] = debian.initrd(material('initrd.gz'))
    return made['initrd']


def disc():
    """A data CD; its file's MD5 is in made['sum']."""
    if 'disc' not in made:
        made['sum'] = debian.noise(material('noise'), NOISE)
        made['disc'] = debian.iso(material('data.iso'), folder, {'noise': material('noise')})
    return made['disc']


def direct(engine, append, *more, **settings):
    return Linux(engine, '-kernel', debian.linux(), '-initrd', ramdisk(), '-append', append, *more, **settings)


def reads_the_disc(shell):
    shell.run('mount -t iso9660 -o ro /dev/sr0 /mnt')
    assert made['sum'] in shell.run('md5sum /mnt/noise', 120)
    shell.run('umount /mnt')


def writes_and_reads_the_disk(shell, path):
    """Random bytes go to the disk, come back after the cache is dropped, and are in the image; a file system works."""
    written = shell.run('dd if=/dev/urandom of=/tmp/r bs=64k count=48 2>/dev/null; md5sum </tmp/r').split()[-2]
    shell.run('dd if=/tmp/r of=/dev/sda bs=64k seek=16 conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches')
    assert written in shell.run('dd if=/dev/sda bs=64k skip=16 count=48 2>/dev/null | md5sum')
    with open(path, 'rb') as file:
        file.seek(16 << 16)
        data = file.read(48 << 16)
    assert debian.hashlib.md5(data).hexdigest() == written, 'the image does not hold what the guest wrote'
    shell.run('mke2fs -q /dev/sda 2>/dev/null >/dev/null || mke2fs /dev/sda >/dev/null')
    shell.run('mount -t ext2 /dev/sda /mnt && cp /tmp/r /mnt/file && umount /mnt && echo 3 >/proc/sys/vm/drop_caches', 120)
    assert written in shell.run('mount -t ext2 /dev/sda /mnt && md5sum /mnt/file && umount /mnt')
    errors = shell.run("dmesg | grep -E 'ata[0-9].*(exception|failed|timeout|lost)|I/O error|lost interrupt' || true").strip()
    assert not errors, errors


def disk_and_disc(engine, append, mode):
    cd = disc()
    hd = material(f'disk-{engine}.img')
    with open(hd, 'wb') as file:
        file.truncate(16 << 20)
    with direct(engine, append, '-hda', hd, '-cdrom', cd, snapshot=False) as vm:
        shell = vm.shell()
        assert 'GenuineIntel' in shell.run('cat /proc/cpuinfo')
        modes = shell.run('cat /sys/class/ata_device/dev*.0/xfer_mode').split()  # both masters
        assert len(modes) == 2 and all(mode in one for one in modes), modes
        reads_the_disc(shell)
        writes_and_reads_the_disk(shell, hd)
        vm.console.socket.sendall(b'poweroff -f\n')
        assert vm.wait(60 * guest.PATIENCE) == 0


def kernel_with_dma(engine):
    disk_and_disc(engine, APPEND, 'DMA')


def kernel_without_dma(engine):
    disk_and_disc(engine, APPEND + ' libata.dma=0', 'PIO_4')


def isolinux_cd(engine):
    if 'bootable' not in made:
        made['sum'] = debian.noise(material('noise'), NOISE)
        made['bootable'] = debian.iso(material('boot.iso'), folder, {
            'linux': debian.linux(), 'initrd.gz': ramdisk(), 'noise': material('noise')}, APPEND)
    with Linux(engine, '-cdrom', made['bootable'], '-boot', 'd') as vm:
        reads_the_disc(vm.shell())


def grub_hard_disk(engine):
    if 'grub' not in made:
        made['grub'] = debian.grub_disk(material('grub.img'), folder, debian.linux(), ramdisk(), APPEND)
    with Linux(engine, '-hda', made['grub']) as vm:
        shell = vm.shell()
        assert 'console=ttyS0' in shell.run('cat /proc/cmdline')
        assert shell.run('grep sda1 /proc/partitions').split()[2] == str(32 * 1024)


guest.cases(kernel_with_dma, kernel_without_dma, isolinux_cd, grub_hard_disk)
