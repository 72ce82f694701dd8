"""Images that cannot be read or written: the machine pauses, says so, and goes on without loss when that is mended; werror= and rerror= tell the guest, or do not."""
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix='vitrine-ioerror-')


def floppy(form):
    """An empty disk for drive B."""
    for tool in ('qemu-img', 'mformat', 'mtype'):
        if not shutil.which(tool):
            raise tap.Skip(f'no {tool}')
    path, raw = os.path.join(FOLDER, 'b.' + form), os.path.join(FOLDER, 'b.raw')
    subprocess.run(['mformat', '-C', '-f', '1440', '-i', raw], check=True)
    subprocess.run(['qemu-img', 'convert', '-O', form, raw, path], check=True)
    return path


def limit(vm, size):
    """The largest file that the program can make: what lies behind is as if the disk were full."""
    hard = resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def full_disk(form):
    path = floppy(form)
    system = os.path.join(tap.guests(), 'freedos722.img')
    with Vm('-drive', f'file={system},if=floppy,snapshot=on', '-drive', f'file={path},format={form},if=floppy,index=1', '-boot', 'a',
            '-m', 16) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('b:\n')
        vm.type('copy a:command.com one.com\n')
        vm.wait_text('=> one.com\n\nB:\\>', 60)
        vm.type('cls\n')
        limit(vm, os.path.getsize(path))
        vm.type('copy a:command.com two.com\n')
        # each retry fails as long as there is no room
        for _ in range(3):
            event = vm.event('BLOCK_IO_ERROR', 60)['data']
            assert event['device'] == 'floppy1' and event['action'] == 'stop', event
            vm.event('STOP', 10)
            assert vm.qmp('query-status') == {'running': False, 'singlestep': False, 'status': 'io-error'}
            vm.qmp('cont')
        vm.event('BLOCK_IO_ERROR', 60)
        vm.event('STOP', 10)
        limit(vm, resource.RLIM_INFINITY)
        vm.qmp('cont')
        vm.wait_text('=> two.com\n\nB:\\>', 60)
        vm.type('cls\n')
        vm.type('echo goes on\n')
        vm.wait_text('\ngoes on', 30)
        assert 'mend it and resume' in vm.log()
        assert vm.quit() == 0
    raw = path + '.raw'
    subprocess.run(['qemu-img', 'check', '-q', path], check=True) if form == 'qcow2' else None
    subprocess.run(['qemu-img', 'convert', '-f', form, '-O', 'raw', path, raw], check=True)
    wanted = subprocess.run(['mtype', '-i', system, '::COMMAND.COM'], check=True, stdout=subprocess.PIPE).stdout
    for name in ('ONE.COM', 'TWO.COM'):
        copy = subprocess.run(['mtype', '-i', raw, '::' + name], check=True, stdout=subprocess.PIPE).stdout
        assert copy == wanted and len(copy) > 10000, name


def damaged(raw, cluster):
    """The disk as an image that has lost the 64 KiB of this number."""
    path = os.path.join(FOLDER, 'damaged.qcow2')
    subprocess.run(['qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, path], check=True)
    with open(path, 'r+b') as file:
        image = file.read()
        l1 = int.from_bytes(image[40:48], 'big')
        l2 = int.from_bytes(image[l1:l1 + 8], 'big') & 0x00fffffffffffe00
        entry = int.from_bytes(image[l2 + 8 * cluster:l2 + 8 * cluster + 8], 'big')
        assert entry >> 62 == 1, hex(entry)  # compressed
        file.seek(entry & (1 << 54) - 1)
        file.write(b'\xff' * 64)
    return path


def damaged_floppy():
    """256 KiB of letters in BIG.TXT, some of which are lost."""
    floppy('qcow2')
    raw, text = os.path.join(FOLDER, 'b.raw'), os.path.join(FOLDER, 'big.txt')
    with open(text, 'wb') as file:
        file.write(bytes(65 + i // 512 % 26 for i in range(256 * 1024)))
    subprocess.run(['mcopy', '-i', raw, text, '::BIG.TXT'], check=True)
    return damaged(raw, 2)


def boots(*drives):
    system = os.path.join(tap.guests(), 'freedos722.img')
    return Vm('-drive', f'file={system},if=floppy,snapshot=on', *drives, '-boot', 'a', '-m', 16)


@contextlib.contextmanager
def reading_what_is_lost(setting):
    """DOS copies the damaged file; the event has told of it."""
    path = damaged_floppy()
    with boots('-drive', f'file={path},if=floppy,index=1,rerror={setting}') as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('cls\ncopy b:big.txt nul\n')
        event = vm.event('BLOCK_IO_ERROR', 60)['data']
        assert (event['device'], event['action'], event['operation']) == ('floppy1', setting, 'read'), event
        yield vm
        assert vm.qmp('query-status')['status'] == 'running'
        assert vm.quit() == 0


def a_reported_read_error_is_the_guests():
    with reading_what_is_lost('report') as vm:
        vm.wait_text('(A)bort, (I)gnore, (R)etry, (F)ail', 60)
        assert vm.qmp('query-status')['status'] == 'running'
        vm.type('a')
        vm.type('\necho goes on\n')
        vm.wait_text('\ngoes on', 30)
        assert vm.log().count('the guest is told') == 1, vm.log()


def an_ignored_read_error_is_zeros():
    with reading_what_is_lost('ignore') as vm:
        vm.wait_text('=> nul\n\nA:\\>', 60)


def each_ide_drive_has_its_own_setting():
    if not shutil.which('qemu-img'):
        raise tap.Skip('no qemu-img')
    raw = os.path.join(FOLDER, 'disk.raw')
    with open(raw, 'wb') as file:
        file.write(b'vitrine ' * (1 << 17))
    path = damaged(raw, 0)  # the firmware looks there
    other = path + '.cd'
    shutil.copy(path, other)
    with Vm('-drive', f'file={path},format=qcow2,rerror=report', '-drive', 'if=none,id=disc,media=cdrom,rerror=ignore,'
            f'format=qcow2,file={other}', '-device', 'ide-cd,drive=disc,bus=ide.1,rerror=report', '-boot', 'cd', '-m', 16) as vm:
        seen = set()
        while len(seen) < 2:
            event = vm.event('BLOCK_IO_ERROR', 60)['data']
            assert (event['action'], event['operation'], event['nospace']) == ('report', 'read', False), event
            seen.add(event['device'])
        assert seen == {'ide0-hd0', 'disc'}, seen
        vm.wait_text('No bootable device', 60)
        assert vm.quit() == 0


def write_errors():
    for setting, action in (('report', 'report'), ('enospc', 'stop')):
        path = floppy('qcow2')
        with boots('-drive', f'file={path},if=floppy,index=1,werror={setting}') as vm:
            vm.wait_text('A:\\>', 60)
            limit(vm, os.path.getsize(path))
            vm.type('cls\ncopy command.com b:one.com\n')
            event = vm.event('BLOCK_IO_ERROR', 60)['data']
            assert (event['action'], event['operation']) == (action, 'write'), event
            if action == 'report':
                vm.wait_text('(A)bort, (I)gnore, (R)etry, (F)ail', 60)
            else:
                vm.event('STOP', 10)
                limit(vm, resource.RLIM_INFINITY)
                vm.qmp('cont')
                vm.wait_text('=> b:one.com\n\nA:\\>', 60)
            assert vm.quit() == 0


def a_full_host_pauses_qcow2():
    full_disk('qcow2')


def a_full_host_pauses_vmdk():
    full_disk('vmdk')


try:
    tap.run(a_full_host_pauses_qcow2, a_full_host_pauses_vmdk, a_reported_read_error_is_the_guests,
            an_ignored_read_error_is_zeros, each_ide_drive_has_its_own_setting, write_errors)
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
