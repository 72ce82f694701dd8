"""Debian packages for tests: fetched with the user's apt into the build folder, unpacked there, never installed.

linux() gives a kernel of linux-image-686; initrd() packs busybox and the modules for the IDE disk and CD into a root whose
init starts a shell on the serial port (and heeds MODULE.PARAMETER=VALUE of the command line, as modprobe would); iso() and grub_disk() make bootable media of the two.
"""
import gzip
import hashlib
import io
import os
import random
import re
import shutil
import struct
import subprocess
import fcntl

from guest import ROOT, tap

CACHE = os.path.join(os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release')), 'tests', 'guests', 'debian')
MODULES = ['crc32c_generic', 'crc32c-intel', 'ata_piix', 'sd_mod', 'sr_mod', 'isofs', 'nls_iso8859-1', 'ne2k-pci', 'ext2', 'ext4']
SHELL_READY = 'VITRINE-SHELL'


def apt(arguments, **settings):
    """Runs an apt command; first with the system's own lists, then with lists of our own that know i386 too."""
    lists = os.path.join(CACHE, 'apt')
    own = ['-o', f'Dir::State={lists}', '-o', f'Dir::State::lists={lists}/lists', '-o', f'Dir::Cache={lists}/cache',
           '-o', 'Dir::State::status=/dev/null', '-o', 'APT::Architectures::=amd64', '-o', 'APT::Architectures::=i386',
           '-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User=root']
    plain = ['-o', 'APT::Sandbox::User=root']

    def once(options):
        return subprocess.run([arguments[0], *options, *arguments[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=900, **settings)
    done = once(plain)
    if done.returncode == 0 and (arguments[0] != 'apt-cache' or 'Depends:' in done.stdout):
        return done.stdout
    if not os.path.isdir(os.path.join(lists, 'lists', 'partial')):
        for folder in ('lists/partial', 'cache/archives/partial'):
            os.makedirs(os.path.join(lists, folder), exist_ok=True)
        subprocess.run(['apt-get', *own, 'update', '-qq'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=900)
    done = once(own)
    if done.returncode:
        raise tap.Skip(f'apt cannot fetch {arguments[-1]}: {(done.stderr.strip().splitlines() or ["no reason given"])[-1]}')
    return done.stdout


def package(name):
    """The folder with the unpacked package."""
    for tool in ('apt-get', 'apt-cache', 'dpkg-deb'):
        if not shutil.which(tool):
            raise tap.Skip(f'{tool} is not there: these tests fetch Debian packages')
    os.makedirs(CACHE, exist_ok=True)
    folder = os.path.join(CACHE, name.replace(':', '_'))
    with open(os.path.join(CACHE, 'lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test scripts run side by side
        if os.path.isdir(folder):
            return folder
        load = folder + '.part'
        shutil.rmtree(load, ignore_errors=True)
        os.makedirs(load)
        apt(['apt-get', 'download', '-qq', name], cwd=load)
        for deb in [deb for deb in os.listdir(load) if deb.endswith('.deb')]:
            subprocess.run(['dpkg-deb', '-x', os.path.join(load, deb), os.path.join(load, 'root')], check=True)
        os.rename(os.path.join(load, 'root'), folder)
        shutil.rmtree(load)
    return folder


def system(key, names):
    """A folder with these i386 packages and all that they depend on, unpacked and not configured."""
    for tool in ('apt-get', 'dpkg-deb'):
        if not shutil.which(tool):
            raise tap.Skip(f'{tool} is not there: these tests fetch Debian packages')
    folder, work = os.path.join(CACHE, key), os.path.join(CACHE, key + '.part')
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, key + '.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(folder):
            return folder
        shutil.rmtree(work, ignore_errors=True)
        for name in ('lists/partial', 'cache/archives/partial', 'root'):
            os.makedirs(os.path.join(work, name))
        own = ['-o', f'Dir::State={work}', '-o', f'Dir::State::lists={work}/lists', '-o', f'Dir::Cache={work}/cache',
               '-o', 'Dir::State::status=/dev/null', '-o', 'APT::Architecture=i386', '-o', 'APT::Architectures::=i386',
               '-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User=root']
        quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=1800)
        subprocess.run(['apt-get', *own, 'update', '-qq'], **quiet)
        done = subprocess.run(['apt-get', *own, 'install', '-y', '-qq', '--no-install-recommends', '--download-only', *names], **quiet)
        if done.returncode:
            raise tap.Skip(f'apt cannot fetch {names[0]}: {(done.stderr.strip().splitlines() or ["no reason given"])[-1]}')
        archives = os.path.join(work, 'cache', 'archives')
        for deb in sorted(deb for deb in os.listdir(archives) if deb.endswith('.deb')):
            subprocess.run(['dpkg-deb', '-x', os.path.join(archives, deb), os.path.join(work, 'root')], check=True)
        os.rename(os.path.join(work, 'root'), folder)
        shutil.rmtree(work)
    return folder


def ext2_disk(path, tree, megabytes):
    """A disk image without partitions whose ext2 file system holds the folder's files."""
    make = shutil.which('mke2fs', path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
    if not make:
        raise tap.Skip('mke2fs is not installed')
    subprocess.run([make, '-q', '-F', '-t', 'ext2', '-E', 'root_owner=0:0', '-d', tree, path, f'{megabytes}m'], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def kernel_package():
    if not shutil.which('apt-cache'):
        raise tap.Skip('apt-cache is not there: these tests fetch Debian packages')
    os.makedirs(CACHE, exist_ok=True)
    match = re.search(r'Depends: (linux-image-\S+-686\S*)', apt(['apt-cache', 'depends', 'linux-image-686:i386']))
    if not match:
        raise tap.Skip('apt does not know linux-image-686 (i386)')
    name = match.group(1)
    return package(name if name.endswith(':i386') else name + ':i386')


def linux():
    boot = os.path.join(kernel_package(), 'boot')
    return next(os.path.join(boot, name) for name in os.listdir(boot) if name.startswith('vmlinuz'))


def module_files(root, wanted):
    """The module files in the order in which they must be loaded."""
    files = {}
    for folder, _, names in os.walk(os.path.join(root, 'lib', 'modules')):
        for name in names:
            if name.endswith('.ko'):
                files[name[:-3].replace('-', '_')] = os.path.join(folder, name)
    order = []

    def add(name):
        path = files.get(name.replace('-', '_'))
        if not path or path in order:
            return
        with open(path, 'rb') as file:
            depends = re.search(rb'\0depends=([^\0]*)\0', file.read())
        for other in (depends.group(1).decode().split(',') if depends else []):
            if other:
                add(other)
        order.append(path)
    for name in wanted:
        add(name)
    return order


def cpio(entries):
    """An archive in the newc format: (name, mode, data, rdev)."""
    out = io.BytesIO()
    for number, (name, mode, data, rdev) in enumerate(entries + [('TRAILER!!!', 0, b'', (0, 0))], 1):
        path = name.encode() + b'\0'
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(path), 0]
        out.write(b'070701' + b''.join(b'%08X' % field for field in fields) + path)
        out.write(b'\0' * (-out.tell() % 4) + data)
        out.write(b'\0' * (-out.tell() % 4))
    return out.getvalue()


INIT = f'''#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do
    insmod /modules/$module $(tr ' ' '\\n' </proc/cmdline | sed -n "s/^${{module%.ko}}\\.//p")
done
[ -e /modules/ata_piix.ko ] && for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/sda ] && [ -e /dev/sr0 ] && break; sleep 0.3; done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
echo {SHELL_READY}
export PS1=''
exec setsid -c sh -i
'''


def parents(name):
    """a/b/c: a, a/b."""
    parts = name.split('/')[:-1]
    return ['/'.join(parts[:n + 1]) for n in range(len(parts))]


def content(package_name, *names):
    """Files of a package by path (links followed within it), or all files below a path: {path: bytes}."""
    root, found = package(package_name), {}
    for name in names:
        path = os.path.join(root, name)
        paths = [os.path.join(at, file) for at, _, files in os.walk(path) for file in files] if os.path.isdir(path) else [path]
        for one in filter(os.path.isfile, paths):
            with open(one, 'rb') as file:
                found[os.path.relpath(one, root)] = file.read()
    return found


def initrd(path, modules=MODULES, there=(), files=None):
    """Writes an initial RAM disk with a shell; returns its path.

    It loads `modules`; those of `there` lie in /modules for the test to load, what they need is loaded. files: {name: bytes}.
    """
    kernel, tools = kernel_package(), package('busybox-static:i386')
    with open(os.path.join(tools, 'bin', 'busybox'), 'rb') as file:
        busybox = file.read()
    none, directory, program = (0, 0), 0o040755, 0o100755
    entries = [(name, directory, b'', none) for name in ('bin', 'dev', 'etc', 'modules')]
    entries += [('dev/console', 0o020600, b'', (5, 1)), ('bin/busybox', program, busybox, none),
                ('init', program, INIT.encode(), none)]
    folders = {parent for name in files or {} for parent in parents(name)} - {name for name, *_ in entries}
    entries += [(name, directory, b'', none) for name in sorted(folders)]
    entries += [(name, 0o100755, data, none) for name, data in (files or {}).items()]
    order = module_files(kernel, [*modules, *there])
    for module in order:
        with open(module, 'rb') as file:
            entries.append(('modules/' + os.path.basename(module), 0o100644, file.read(), none))
    waiting = [name.replace('-', '_') for name in there]
    order = [module for module in order if os.path.basename(module)[:-3].replace('-', '_') not in waiting]
    entries.append(('modules/order', 0o100644, ' '.join(map(os.path.basename, order)).encode(), none))
    with open(path, 'wb') as file:
        file.write(gzip.compress(cpio(entries), 6, mtime=0))
    return path


def find_file(names):
    for name in names:
        if os.path.exists(name):
            return name
    raise tap.Skip(f'{names[0]} is not there')


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise tap.Skip(f'{tool} is not installed')


def bare_program(source, path):
    """Builds a program of bare_linux.h's kind for i386; returns its bytes."""
    need('gcc')
    done = subprocess.run(['gcc', '-m32', '-O2', '-nostdlib', '-static', '-ffreestanding', '-fno-stack-protector', '-fno-pic',
                           '-no-pie', '-I', ROOT, '-o', path, source], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise tap.Skip(f'gcc -m32 does not run here: {done.stderr.strip().splitlines()[-1]}')
    with open(path, 'rb') as file:
        return file.read()


def noise(path, size, seed=1):
    """A file that no compression and no luck reproduces; returns its MD5, which busybox can compute too."""
    data = random.Random(seed).randbytes(size)
    with open(path, 'wb') as file:
        file.write(data)
    return hashlib.md5(data).hexdigest()


def iso(path, folder, files, append=None):
    """A CD with these files ({name: source}); with append it boots /linux and /initrd.gz through isolinux."""
    need('xorriso')
    tree = os.path.join(folder, 'tree-' + os.path.basename(path))
    os.makedirs(tree)
    for name, source in files.items():
        shutil.copyfile(source, os.path.join(tree, name))
    command = ['xorriso', '-as', 'mkisofs', '-quiet', '-R', '-o', path]
    if append is not None:
        loader = find_file(['/usr/lib/ISOLINUX/isolinux.bin'])
        shutil.copyfile(loader, os.path.join(tree, 'isolinux.bin'))
        shutil.copyfile(find_file(['/usr/lib/syslinux/modules/bios/ldlinux.c32']), os.path.join(tree, 'ldlinux.c32'))
        with open(os.path.join(tree, 'isolinux.cfg'), 'w') as file:
            file.write(f'DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n KERNEL /linux\n APPEND initrd=/initrd.gz {append}\n')
        command += ['-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table']
    subprocess.run([*command, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return path


def grub_disk(path, folder, kernel, ramdisk, append, megabytes=64):
    """A hard disk with GRUB in the gap behind its MBR, and a FAT partition with kernel and initial RAM disk."""
    need('mformat', 'mcopy', 'mmd')
    grub = os.path.join(package('grub-pc-bin'), 'usr', 'lib', 'grub', 'i386-pc')
    make = shutil.which('grub-mkimage') or os.path.join(package('grub-common'), 'usr', 'bin', 'grub-mkimage')
    config, core = os.path.join(folder, 'grub.cfg'), os.path.join(folder, 'core.img')
    with open(config, 'w') as file:
        file.write('serial --unit=0 --speed=115200\nset root=(hd0,msdos1)\necho GRUB starts Linux\n'
                   f'linux /linux {append}\ninitrd /initrd.gz\nboot\n')
    done = subprocess.run([make, '-O', 'i386-pc', '-d', grub, '-p', '(hd0,msdos1)/', '-c', config, '-o', core, 'biosdisk',
                           'part_msdos', 'fat', 'linux', 'normal', 'serial', 'terminal', 'echo', 'boot'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise tap.Skip(f'grub-mkimage does not run here: {done.stderr.strip()}')
    with open(os.path.join(grub, 'boot.img'), 'rb') as file:
        mbr = bytearray(file.read(512))
    with open(core, 'rb') as file:
        body = bytearray(file.read())
    body += bytes(-len(body) % 512)
    # The first sector of the core loads the rest: its list of blocks ends the sector (LBA, count, segment).
    struct.pack_into('<QHH', body, 0x1F4, 2, len(body) // 512 - 1, 0x820)
    sectors, first = megabytes * 2048, 2048
    mbr[0x1B8:0x1BE] = b'\x11\x22\x33\x44\0\0'
    mbr[0x1BE:0x1FE] = struct.pack('<BBBBBBBBII', 0x80, 32, 33, 0, 0x0E, 0xFE, 0xFF, 0xFF, first, sectors // 2) + bytes(48)
    mbr[0x1FE:0x200] = b'\x55\xAA'
    assert len(body) < (first - 1) * 512
    with open(path, 'wb') as file:
        file.write(mbr + body)
        file.truncate(sectors * 512)
    part = f'{path}@@{first * 512}'
    quiet = dict(check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, MTOOLS_SKIP_CHECK='1'))
    subprocess.run(['mformat', '-i', part, '-h', '16', '-s', '63', '-T', str(sectors // 2), '-H', str(first), '::'], **quiet)
    for source, name in ((kernel, 'linux'), (ramdisk, 'initrd.gz')):
        subprocess.run(['mcopy', '-i', part, source, '::' + name], **quiet)
    return path
