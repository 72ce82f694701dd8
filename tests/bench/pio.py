#!/usr/bin/env python3
"""What a disk gives through its data port, word by word, in two builds of vitrine or beside QEMU, turn about; prints MB/s, medians.

usage: pio.py [--vitrine PATH] [--beside PATH] [--engines translator,interpreter] [--rounds N] [--seconds S]

The guest (pio.asm) is a boot sector that reads through the BIOS, as DOS does, which takes each sector with a REP INSW and looks at the
status in between; or by READ MULTIPLE with 16 sectors for each REP INSW. MB are counted in the time that the program's threads
ran, so that a busy host matters less. Without --beside, QEMU.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from video import assembled, used

WORKS = ['BIOS', 'READ MULTIPLE']  # as in pio.asm
PART = 500 * 112 * 512  # bytes for each E of the guest


def disk(vitrine, folder, work):
    image = assembled(vitrine, 'pio', 16 << 20)
    image[3] = WORKS.index(work)
    path = os.path.join(folder, work)
    with open(path, 'wb') as file:
        file.write(image)
    return path


def measure(command, seconds):
    """MB for each second of processor time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if b'B' not in process.stdout.read(1) or process.stdout.read(1) != b'E':
            raise SystemExit(f'the guest does not read: {" ".join(command)}')
        begun, end, parts = used(process.pid), time.monotonic() + seconds, 0
        while parts == 0 or time.monotonic() < end:
            if process.stdout.read(1) != b'E':
                raise SystemExit(f'the guest has failed: {" ".join(command)}')
            parts += 1
        return parts * PART / (used(process.pid) - begun) / 1e6
    finally:
        process.kill()
        process.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--beside', default='')
    parser.add_argument('--engines', default='translator,interpreter')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=4)
    args = parser.parse_args()
    other = 'beside' if args.beside else 'QEMU'
    print(f'| MB/s | vitrine | {other} | ratio |\n|---|---:|---:|---:|')
    with tempfile.TemporaryDirectory() as folder:
        for work in WORKS:
            options = ['-display', 'none', '-m', '16', '-serial', 'stdio', '-drive', f'file={disk(args.vitrine, folder, work)},format=raw']
            for engine in args.engines.split(','):
                systems = {'vitrine': [os.path.abspath(args.vitrine), 'run', '-accel', engine, *options]}
                if args.beside:
                    systems[other] = [os.path.abspath(args.beside), 'run', '-accel', engine, *options]
                elif shutil.which('qemu-system-i386'):
                    systems[other] = ['qemu-system-i386', '-accel', 'tcg', '-nodefaults', *options]
                taken = {name: [] for name in systems}
                for _ in range(args.rounds):
                    for name, command in systems.items():
                        taken[name].append(measure(command, args.seconds))
                median = {name: statistics.median(rates) for name, rates in taken.items()}
                ratio = f'{median["vitrine"] / median[other]:.2f}' if other in median else '-'
                print(f'| {work}, {engine} | {median["vitrine"]:.1f} | {median.get(other, 0):.1f} | {ratio} |', flush=True)


main()
