"""A host that has no room left: the machine pauses, says so, and goes on without loss when there is room again."""
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


def a_full_host_pauses_qcow2():
    full_disk('qcow2')


def a_full_host_pauses_vmdk():
    full_disk('vmdk')


try:
    tap.run(a_full_host_pauses_qcow2, a_full_host_pauses_vmdk)
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
