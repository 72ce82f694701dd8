#!/usr/bin/env python3
"""A real system in each image format: installed by its own means, booted, written to, started anew; then qemu-img has a look.

FreeDOS partitions, formats and fills an empty disk of each format. Debian boots through GRUB from a disk that was converted, half
of them by qemu-img; what it writes must be there the next time, and in a raw copy made outside.
"""
import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile

import debian
import guest
import linux
from tests.lib.vm import program

folder = tempfile.mkdtemp(prefix='vitrine-images-', dir='/var/tmp')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
FORMATS = {  # name: (our format, qemu-img's, options, made by qemu-img, how to convert)
    'raw': ('raw', 'raw', '', False, []),
    'qcow2-v2': ('qcow2', 'qcow2', 'compat=0.10', True, []),
    'qcow2-v3': ('qcow2', 'qcow2', 'compat=1.1', False, []),
    'qcow2-lazy': ('qcow2', 'qcow2', 'compat=1.1,lazy_refcounts=on,cluster_size=4096', True, []),
    'qcow2-zlib': ('qcow2', 'qcow2', 'compat=0.10', False, ['-c']),
    'qcow2-zstd': ('qcow2', 'qcow2', 'compression_type=zstd', True, ['-c']),
    'vmdk-sparse': ('vmdk', 'vmdk', '', True, []),
    'vmdk-flat': ('vmdk', 'vmdk', 'subformat=monolithicFlat', False, []),
    'vmdk-split': ('vmdk', 'vmdk', 'subformat=twoGbMaxExtentSparse', False, []),
    'vdi': ('vdi', 'vdi', '', True, []),
    'vdi-fixed': ('vdi', 'vdi', 'static=on', False, []),
    'vhd': ('vhd', 'vpc', '', True, []),
    'vhd-fixed': ('vhd', 'vpc', 'subformat=fixed', False, []),
}
CHECKED = ('qcow2', 'vmdk', 'vdi')  # qemu-img can
made = {}


def run(*command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert done.returncode == 0, f'{" ".join(map(str, command))}: status {done.returncode}\n{done.stdout}'
    return done.stdout


def ours(*words):
    return run(program(), 'image', *words)


def place(name):
    """A new file in a folder of its own: some formats take several."""
    return os.path.join(tempfile.mkdtemp(prefix=name + '-', dir=folder), 'disk.' + name.split('-')[0])


def judged(image, name):
    """qemu-img finds no damage and sees the same disk as we do; returns the raw copy."""
    _, theirs, _, _, _ = FORMATS[name]
    raw = os.path.join(os.path.dirname(image), 'copy')
    ours('convert', '-q', '-O', 'raw', image, raw)
    if shutil.which('qemu-img'):
        if theirs in CHECKED:
            run('qemu-img', 'check', '-f', theirs, image)
        assert 'identical' in run('qemu-img', 'compare', '-f', theirs, '-F', 'raw', image, raw)
    if name not in ('raw', 'vmdk-flat', 'vdi-fixed', 'vhd-fixed'):  # which have nothing to check
        ours('check', image)
    return raw


def part_file(raw, name, sector):
    """A file's MD5 out of the FAT partition of a raw disk."""
    out = os.path.join(os.path.dirname(raw), 'file')
    run('mcopy', '-n', '-o', '-i', f'{raw}@@{sector * 512}', '::' + name, out)
    with open(out, 'rb') as file:
        return hashlib.md5(file.read()).hexdigest()


def debian_disk():
    """Kernel and initial RAM disk behind GRUB, in a raw image."""
    if 'grub' not in made:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'), modules=[*debian.MODULES, 'vfat', 'nls_cp437', 'nls_ascii'])
        made['grub'] = debian.grub_disk(os.path.join(folder, 'grub.img'), folder, debian.linux(), ramdisk, linux.APPEND, 96)
    return made['grub']


def converted(name):
    form, theirs, options, by_qemu, how = FORMATS[name]
    image = place(name)
    wanted = ['-o', options] if options else []
    if by_qemu and shutil.which('qemu-img'):
        run('qemu-img', 'convert', '-f', 'raw', '-O', theirs, *how, *wanted, debian_disk(), image)
    else:
        ours('convert', '-q', '-O', form, *how, *wanted, debian_disk(), image)
    return image


def debian_from(name, engine):
    image = converted(name)
    sums = []
    try:
        for number in range(2):
            with linux.Linux(engine, '-drive', f'file={image},format={FORMATS[name][0]}', snapshot=False) as vm:
                shell = vm.shell()
                shell.run('mount -t vfat /dev/sda1 /mnt')
                for before, wanted in enumerate(sums):
                    assert wanted in shell.run(f'md5sum /mnt/new{before}')
                shell.run(f'dd if=/dev/urandom of=/mnt/new{number} bs=64k count=37 2>/dev/null && sync', 120)
                shell.run(f'dd if=/dev/urandom of=/dev/sda bs=512 seek={150001 + 4999 * number} count=333 conv=notrunc 2>/dev/null')
                shell.run('echo 3 > /proc/sys/vm/drop_caches')
                sums.append(shell.run(f'md5sum /mnt/new{number}').split()[0])
                end = shell.run('dd if=/dev/sda bs=512 skip=150001 count=9000 2>/dev/null | md5sum', 120).split()[0]
                shell.run('umount /mnt')
                vm.console.socket.sendall(b'poweroff -f\n')
                assert vm.wait(60 * guest.PATIENCE) == 0
        raw = judged(image, name)
        assert [part_file(raw, f'new{number}', 2048) for number in range(2)] == sums
        with open(raw, 'rb') as file:
            file.seek(150001 * 512)
            assert hashlib.md5(file.read(9000 * 512)).hexdigest() == end
    finally:
        shutil.rmtree(os.path.dirname(image))


def boot_floppy(vm):
    vm.wait_text('English')
    vm.key('ret')
    vm.wait_text('Do you want to proceed')
    vm.type('n\n')
    vm.wait_text('A:\\>')


def freedos_on(name, engine):
    """FDISK, FORMAT /S, a file; then from C: alone, which writes one more; and once again."""
    form, _, options, _, _ = FORMATS[name]
    image = place(name)
    ours('create', '-q', '-f', form, *(['-o', options] if options else []), image, '40M')
    drive = ['-drive', f'file={image},format={form}']
    floppy = shutil.copyfile(guest.image('freedos13.img'), os.path.join(os.path.dirname(image), 'floppy'))
    try:
        with guest.Guest(engine, *drive, '-fda', floppy, '-boot', 'a', snapshot=False) as vm:
            boot_floppy(vm)
            vm.dos('fdisk /auto 1')
            vm.dos('fdisk /mbr 1')
            assert 'FAT16' in vm.dos('fdisk /info')
            vm.qmp('system_reset')
            boot_floppy(vm)
            vm.command('format c: /s /q', 'Proceed with format')
            vm.command('YES', 'olume label', 90)
            vm.command('', 'A:\\>', 90)
            assert 'KERNEL' in vm.dos('dir c:')
            vm.dos('echo installed >c:\\first.txt')
            vm.dos('copy a:\\freedos\\bin\\xcopy.exe c:\\')
            assert '1 file(s)' in vm.dos('dir c:\\xcopy.exe')
            vm.qmp('eject', device='floppy0')
            vm.qmp('system_reset')
            boot_disk(vm)
            assert '\ninstalled' in vm.dos('type c:\\first.txt', 'C:\\>')
            vm.dos('copy c:\\command.com c:\\second.com', 'C:\\>')
            assert '1 file(s)' in vm.dos('dir c:\\second.com', 'C:\\>')
            vm.quit()
        with guest.Guest(engine, *drive, snapshot=False) as vm:
            boot_disk(vm)
            assert '1 file(s)' in vm.dos('dir c:\\second.com', 'C:\\>')
            assert '\ninstalled' in vm.dos('type c:\\first.txt', 'C:\\>')
            vm.quit()
        raw = judged(image, name)
        with open(raw, 'rb') as file:
            first = int.from_bytes(file.read(512)[0x1c6:0x1ca], 'little')
        assert part_file(raw, 'SECOND.COM', first) == part_file(raw, 'COMMAND.COM', first)
    finally:
        shutil.rmtree(os.path.dirname(image))


def boot_disk(vm):
    """Without a CONFIG.SYS the kernel asks for the date."""
    if vm.wait_any(['Enter new date', 'C:\\>']) == 'Enter new date':
        vm.key('ret')
        vm.wait_text('Enter new time')
        vm.key('ret')
    vm.wait_text('C:\\>')


def case(work, name):
    def test(engine):
        work(name, engine)
    test.__name__ = f'{work.__name__}_{name}'
    return test


# what is compressed is never empty
guest.cases(*[case(work, name) for name in FORMATS for work in (debian_from, freedos_on)
              if work is debian_from or not FORMATS[name][4]])
