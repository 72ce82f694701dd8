#!/usr/bin/env python3
"""Times snapshots of a 512 MB Linux guest in vitrine and in QEMU, turn about; prints medians (make bench BENCH_CASE=snapshot).

usage: snapshot.py [--vitrine PATH] [--accel translator] [--rounds N] [--memory MB] [--noise MB]

Three states: just booted; with memory full of random bytes; the same with a program that writes memory all the time. The snapshot
goes into a qcow2 disk (QEMU knows no other place) and, for vitrine, into a file beside a raw disk, too. `save`: the command's
time; `pause`: how long the guest stood still at most (QEMU: all of it); `frame`: load into a running process until the picture
shows; `load`: until the guest runs on. A fresh process: from its start to a guest that runs on.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0:0] = [os.path.join(HERE, '..', 'guests'), os.path.join(HERE, '..', '..')]
import debian  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

APPEND = 'console=ttyS0,115200 panic=-1 quiet'
FIGURES = re.compile(r'saved: (\d+) ms, (\d+) KiB; the guest stood still for (\d+) us')
LOADED = re.compile(r'picture after ([\d.]+) ms, the guest after ([\d.]+) ms')


class Serial:
    """The guest's shell."""

    def __init__(self, path):
        import socket
        self.socket, self.text = socket.socket(socket.AF_UNIX), ''
        self.socket.connect(path)

    def wait(self, wanted, timeout=600):
        self.socket.settimeout(timeout)
        while wanted not in self.text:
            data = self.socket.recv(65536).decode('utf-8', 'replace')
            assert data, 'the guest is gone'
            self.text += data
        before, self.text = self.text.split(wanted, 1)
        return before

    def run(self, command, timeout=600):
        self.socket.sendall((command + '\necho "@$((6*111))@$?@"\n').encode())
        self.wait('@666@', timeout)
        status = self.wait('@', timeout)
        assert status == '0', f'{command}: status {status}'


class System:
    def __init__(self, args, folder, name, disk):
        self.args, self.name, self.disk, self.folder = args, name, disk, folder
        self.qemu = name == 'qemu'

    def start(self, *more, console=True):
        serial = os.path.join(self.folder, f'serial-{self.name}')
        if os.path.exists(serial):
            os.unlink(serial)
        form = 'qcow2' if self.disk.endswith('qcow2') else 'raw'
        arguments = ['-m', str(self.args.memory), '-cpu', 'pentium3', '-kernel', debian.linux(), '-initrd', self.args.initrd,
                     '-append', APPEND, '-serial', f'unix:{serial},server,nowait', '-drive', f'file={self.disk},format={form}']
        if self.qemu:
            vm = Vm('-accel', 'tcg', '-display', 'none', '-nodefaults', '-vga', 'std', *arguments, *more, binary='qemu-system-i386')
        else:
            vm = Vm('-accel', self.args.accel, '--log', 'snapshot=info', *arguments, *more)
        if console:
            vm.shell = Serial(serial)
        return vm

    def save(self, vm):
        start = time.monotonic()
        said = vm.hmp('savevm s') if self.qemu else vm.qmp('human-monitor-command', timeout=300, command_line='savevm s')
        taken = (time.monotonic() - start) * 1000
        assert not said, said
        if self.qemu:
            return {'save': taken, 'pause': taken}
        ms, kib, pause = FIGURES.findall(vm.log())[-1]
        return {'save': taken, 'pause': int(pause) / 1000, 'MiB': int(kib) / 1024}

    def load(self, vm):
        start = time.monotonic()
        said = vm.qmp('human-monitor-command', timeout=300, command_line='loadvm s')
        taken = (time.monotonic() - start) * 1000
        assert not said, said
        frame = taken if self.qemu else float(LOADED.findall(vm.log())[-1][0])
        return {'load': taken, 'frame': frame}

    def fresh(self):
        start = time.monotonic()
        with self.start('-loadvm', 's', console=False) as vm:
            while not vm.qmp('query-status')['running']:
                pass
            taken = (time.monotonic() - start) * 1000
            return {'fresh': taken}


STATES = {
    'booted': 'true',
    'noise': 'mount -t tmpfs -o size=95% tmp /tmp; dd if=/dev/urandom of=/tmp/r bs=1M count={noise} 2>/dev/null',
    'noise, busy': 'cp /tmp/r /dev/null; (while true; do dd if=/dev/zero of=/tmp/z bs=1M count=24 conv=notrunc 2>/dev/null; done) &',
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--accel', default='translator')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--memory', type=int, default=512)
    parser.add_argument('--noise', type=int, default=400)
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    os.environ.setdefault('VITRINE_OUT', os.path.dirname(os.path.realpath(args.vitrine)))
    folder = tempfile.mkdtemp(prefix='vitrine-bench-', dir='/var/tmp')
    figures = {}
    try:
        args.initrd = debian.initrd(os.path.join(folder, 'initrd.gz'))
        found = []
        for name in ('qemu', 'vitrine-qcow2', 'vitrine-raw'):
            disk = os.path.join(folder, name + ('.img' if name.endswith('raw') else '.qcow2'))
            form = 'raw' if name.endswith('raw') else 'qcow2'
            if name == 'qemu' and not shutil.which('qemu-system-i386') or args.only not in name:
                continue
            subprocess.run(['qemu-img', 'create', '-q', '-f', form, disk, '64M'], check=True)
            found.append(System(args, folder, name, disk))
        vms = [system.start() for system in found]
        for vm in vms:
            vm.shell.wait(debian.SHELL_READY)
        for state, command in STATES.items():
            for vm in vms:
                vm.qmp('cont')
                vm.shell.run(command.format(noise=args.noise))
                vm.qmp('stop')
            for _ in range(args.rounds):
                for system, vm in zip(found, vms):
                    vm.qmp('cont')
                    time.sleep(0.3)
                    row = figures.setdefault((state, system.name), {})
                    for part in (system.save, system.load):
                        for key, value in part(vm).items():
                            row.setdefault(key, []).append(value)
                    vm.qmp('stop')
                    print(f'# {state} {system.name}:', {k: round(v[-1], 1) for k, v in row.items()}, file=sys.stderr)
        for vm in vms:
            vm.close()
        for _ in range(args.rounds):
            for system in found:
                for key, value in system.fresh().items():
                    figures[(list(STATES)[-1], system.name)].setdefault(key, []).append(value)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    keys = ['save', 'pause', 'frame', 'load', 'fresh', 'MiB']
    print('| ms (median) | | ' + ' | '.join(keys) + ' |')
    print('|---|---|' + '---:|' * len(keys))
    for (state, name), row in figures.items():
        print(f'| {state} | {name} | ' + ' | '.join(f'{statistics.median(row[k]):.1f}' if k in row else '-' for k in keys) + ' |')


if __name__ == '__main__':
    main()
