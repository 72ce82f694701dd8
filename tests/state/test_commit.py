#!/usr/bin/env python3
"""What a guest wrote over images that are thrown away is kept after all: the monitor's commit."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix='vitrine-commit-')
SYSTEM = 'freedos722.img'


def floppy(form):
    """An empty disk for drive B."""
    for tool in ('qemu-img', 'mformat', 'mtype'):
        if not shutil.which(tool):
            raise tap.Skip(f'no {tool}')
    path, raw = os.path.join(FOLDER, 'b.' + form), os.path.join(FOLDER, 'empty')
    subprocess.run(['mformat', '-C', '-f', '1440', '-i', raw], check=True)
    subprocess.run(['qemu-img', 'convert', '-O', form, raw, path], check=True)
    return path


def holds(path, form, name):
    """Is the file whole in the image, as qemu-img reads it?"""
    raw = path + '.copy'
    subprocess.run(['qemu-img', 'convert', '-f', form, '-O', 'raw', path, raw], check=True)
    done = subprocess.run(['mtype', '-i', raw, '::' + name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    system = os.path.join(tap.guests(), SYSTEM)
    return done.returncode == 0 and done.stdout == subprocess.run(['mtype', '-i', system, '::COMMAND.COM'], check=True, stdout=subprocess.PIPE).stdout


def copy(vm, name):
    vm.type('cls\n')
    vm.type(f'copy a:command.com {name}\n')
    vm.wait_text(f'=> {name}\n\nB:\\>', 60)


def kept(form):
    path = floppy(form)
    drives = ('-drive', f'file={os.path.join(tap.guests(), SYSTEM)},if=floppy,snapshot=on',
              '-drive', f'file={path},format={form},if=floppy,index=1,snapshot=on', '-boot', 'a', '-m', 16)
    with Vm(*drives) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('b:\n')
        copy(vm, 'one.com')
        assert not holds(path, form, 'ONE.COM')
        assert 'not found' in vm.hmp('commit floppy7') and 'name a device' in vm.hmp('commit')
        with open(path, 'rb') as file:
            before = file.read()
        with Vm('-drive', f'file={path},format={form},if=floppy,snapshot=on', '-S'):
            assert 'in use' in vm.hmp('commit floppy1')
        with open(path, 'rb') as file:
            assert file.read() == before
        assert vm.hmp('commit floppy1') == ''
        assert holds(path, form, 'ONE.COM')
        copy(vm, 'two.com')
        assert not holds(path, form, 'TWO.COM')
        assert vm.hmp('commit floppy1') == ''
        assert holds(path, form, 'ONE.COM') and holds(path, form, 'TWO.COM')
        copy(vm, 'three.com')
        assert vm.quit() == 0
    assert holds(path, form, 'TWO.COM') and not holds(path, form, 'THREE.COM')


def overlays_of_raw_images_are_kept():
    kept('raw')


def overlays_of_qcow2_images_are_kept():
    kept('qcow2')


def what_is_written_at_once_needs_no_commit():
    path = floppy('raw')
    with Vm('-drive', f'file={path},format=raw,if=floppy', '-S') as vm:
        assert 'no throw-away overlay' in vm.hmp('commit floppy0')
        assert vm.hmp('commit all') == ''


try:
    tap.run(overlays_of_raw_images_are_kept, overlays_of_qcow2_images_are_kept, what_is_written_at_once_needs_no_commit)
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
