#!/usr/bin/env python3
"""Measures what idle guests cost: percent of one core that the whole program uses (make bench BENCH_CASE=idle GUESTS=folder).

usage: idle.py [--vitrine PATH] [--accel translator] [--seconds N] [--rounds N]

A FreeDOS prompt, an idle Debian kernel with a shell, and KolibriOS's desktop, each beside QEMU with the same guest, without a
window. The figures are the operating system's own count of the process's time: user and system, all threads.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0:0] = [os.path.join(HERE, '..', 'guests'), os.path.join(HERE, '..', '..')]
import debian  # noqa: E402
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

TICKS = os.sysconf('SC_CLK_TCK')


def used(pid):
    """Seconds of processor time, all threads."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def percent(pid, seconds):
    before, start = used(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (used(pid) - before) / (time.monotonic() - start)


def machines(folder):
    """Name, arguments and how long the guest needs until it idles, in seconds."""
    initrd = debian.initrd(os.path.join(folder, 'initrd.gz'))
    floppy = ['-boot', 'a', '-drive']
    yield 'FreeDOS prompt', [*floppy, f'file={tap.guests()}/freedos722.img,if=floppy,format=raw,snapshot=on'], 20
    yield 'Debian, shell', ['-kernel', debian.linux(), '-initrd', initrd, '-append', 'quiet'], 45
    yield 'KolibriOS', [*floppy, f'file={tap.guests()}/kolibri.img,if=floppy,format=raw,snapshot=on'], 45


def start(name, args, arguments):
    common = ['-m', '128', '-cpu', 'pentium3', *arguments]
    if name == 'qemu':
        return Vm('-accel', 'tcg', '-display', 'none', '-vga', 'std', *common, binary='qemu-system-i386')
    return Vm('-accel', args.accel, *common)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--accel', default='translator')
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    os.environ.setdefault('VITRINE_OUT', os.path.dirname(os.path.realpath(args.vitrine)))
    folder = tempfile.mkdtemp(prefix='vitrine-bench-')
    systems = ['vitrine'] + (['qemu'] if shutil.which('qemu-system-i386') else [])
    print('| percent of a core (median) | ' + ' | '.join(systems) + ' |')
    print('|---|' + '---:|' * len(systems))
    try:
        for guest, arguments, settle in machines(folder):
            row = []
            for name in systems:
                with start(name, args, arguments) as vm:
                    time.sleep(settle)
                    row.append(statistics.median(percent(vm.process.pid, args.seconds) for _ in range(args.rounds)))
            print(f'| {guest} | ' + ' | '.join(f'{figure:.2f}' for figure in row) + ' |', flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
