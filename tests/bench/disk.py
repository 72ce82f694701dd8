#!/usr/bin/env python3
"""Times a Linux guest's disk in vitrine and in QEMU, turn about; prints medians (make bench BENCH_CASE=disk).

usage: disk.py [--vitrine PATH] [--accel translator] [--rounds N] [--formats raw,qcow2]

Both run the same kernel and program (disk_io.c: past the page cache, one request at a time) on an IDE disk of 256 MB with DMA,
translated. Sequential: 256 KiB a request; random: 4 KiB. The host's cache holds the image; what is written is synced at the
end. Figures are MB/s, or requests a second.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0:0] = [os.path.join(HERE, '..', 'guests'), os.path.join(HERE, '..', '..')]
import debian  # noqa: E402
from snapshot import Serial  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

APPEND = 'console=ttyS0,115200 panic=-1 quiet'
MIB = 256
CASES = {  # name: (mode, bytes, count)
    'sequential read, MB/s': ('r', 262144, 1024),
    'sequential write, MB/s': ('w', 262144, 512),
    'random 4 KiB reads/s': ('R', 4096, 4000),
    'random 4 KiB writes/s': ('W', 4096, 4000),
}


def start(args, name, form, folder, ramdisk):
    disk = os.path.join(folder, f'{name}.{form}')
    subprocess.run(['qemu-img', 'create', '-q', '-f', form, disk, f'{MIB}M'], check=True)
    serial = os.path.join(folder, f'serial-{name}-{form}')
    arguments = ['-m', '128', '-cpu', 'pentium3', '-kernel', debian.linux(), '-initrd', ramdisk, '-append', APPEND,
                 '-serial', f'unix:{serial},server,nowait', '-drive', f'file={disk},format={form}']
    if name == 'qemu':
        vm = Vm('-accel', 'tcg', '-display', 'none', '-nodefaults', *arguments, binary='qemu-system-i386')
    else:
        vm = Vm('-accel', args.accel, *arguments)
    vm.shell = Serial(serial)
    return vm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--accel', default='translator')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--formats', default='raw,qcow2')
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    os.environ.setdefault('VITRINE_OUT', os.path.dirname(os.path.realpath(args.vitrine)))
    folder = tempfile.mkdtemp(prefix='vitrine-bench-', dir='/var/tmp')
    figures = {}
    try:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'), files={
            'bin/disk_io': debian.bare_program(os.path.join(HERE, 'disk_io.c'), os.path.join(folder, 'disk_io'))})
        names = [name for name in ('qemu', 'vitrine') if args.only in name and (name != 'qemu' or shutil.which('qemu-system-i386'))]
        for form in args.formats.split(','):
            vms = {name: start(args, name, form, folder, ramdisk) for name in names}
            for vm in vms.values():
                vm.shell.wait(debian.SHELL_READY)
                vm.shell.run(f'disk_io w /dev/sda 1048576 {MIB} {MIB}')
                vm.qmp('stop')
            for number in range(args.rounds):
                for case, (mode, size, count) in CASES.items():
                    for name, vm in vms.items():
                        vm.qmp('cont')
                        time.sleep(0.1)
                        begun = time.monotonic()
                        vm.shell.run(f'disk_io {mode} /dev/sda {size} {count} {MIB}')
                        taken = time.monotonic() - begun
                        vm.qmp('stop')
                        rate = count / taken if size == 4096 else size * count / taken / 1e6
                        figures.setdefault((case, form), {}).setdefault(name, []).append(rate)
                        print(f'# round {number + 1} {form} {name} {case}: {rate:.0f}', file=sys.stderr)
            for vm in vms.values():
                vm.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print('| | ' + ' | '.join([*names, 'vitrine/qemu']) + ' |')
    print('|---|' + '---:|' * (len(names) + 1))
    for (case, form), row in figures.items():
        median = {name: statistics.median(row[name]) for name in names}
        ratio = f'{median["vitrine"] / median["qemu"]:.2f}' if len(median) == 2 else '-'
        print(f'| {form}, {case} | ' + ' | '.join(f'{median[name]:.0f}' for name in names) + f' | {ratio} |')


if __name__ == '__main__':
    main()
