#!/usr/bin/env python3
"""Debian's i386 kernel to a shell on the serial port: from -kernel, from a CD and from a hard disk; reads and writes both."""
import atexit
import os
import shutil
import socket
import tempfile
import time

import debian
import guest

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


class Console:
    """The guest's serial port."""

    def __init__(self, path):
        self.socket, self.text = socket.socket(socket.AF_UNIX), ''
        self.socket.connect(path)

    def wait(self, wanted, timeout):
        end = time.monotonic() + timeout * guest.PATIENCE
        while wanted not in self.text:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                data = b''
            if not data:
                raise AssertionError(f'{wanted!r} did not come; the serial port said:\n{self.text[-3000:]}')
            self.text += data.decode('utf-8', 'replace')
        before, self.text = self.text.split(wanted, 1)
        return before

    def run(self, command, timeout=60):
        """Runs a shell command; returns what it printed. Fails when it does."""
        self.socket.sendall((command + '; echo "@$((6*111))@$?@"\n').encode())
        printed = self.wait('@666@', timeout)
        status = self.wait('@', timeout)
        assert status == '0', f'{command}: status {status}\n{printed}'
        return printed


class Linux(guest.Guest):
    def __init__(self, engine, *arguments, snapshot=True):
        path = os.path.join(tempfile.mkdtemp(dir=folder), 'serial')
        super().__init__(engine, '-no-reboot', '-serial', f'unix:{path},server,nowait', *arguments, memory=128, snapshot=snapshot)
        self.console = Console(path)

    def shell(self):
        self.console.wait(debian.SHELL_READY, 180)
        self.console.run('echo 1 > /proc/sys/kernel/printk')
        return self.console


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
        modes = shell.run('cat /sys/class/ata_device/*/xfer_mode')
        assert modes.count(mode) == 2, modes
        reads_the_disc(shell)
        writes_and_reads_the_disk(shell, hd)
        vm.console.socket.sendall(b'poweroff -f\n')
        assert vm.wait(60 * guest.PATIENCE) == 0


def kernel_with_dma(engine):
    disk_and_disc(engine, APPEND, 'DMA')


def kernel_without_dma(engine):
    disk_and_disc(engine, APPEND + ' libata.dma=0', 'PIO')


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
