#!/usr/bin/env python3
"""Times 16-bit programs (dos.asm, a floppy that boots) in vitrine and in QEMU, turn about; prints medians and ratios.

usage: dos.py IMAGE [--vitrine PATH] [--engines translator,interpreter] [--rounds N] [--limit S]

IMAGE is out/release/tests/bench/dos.bin. Times are the host's, between marker lines on the serial port.
"""
import argparse
import math
import os
import shutil
import statistics

from run import take


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image')
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--engines', default='translator')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--limit', type=float, default=120)
    args = parser.parse_args()
    machine = ['-m', '16', '-display', 'none', '-drive', f'file={args.image},if=floppy,format=raw,snapshot=on', '-serial', 'stdio']
    found = {}
    if shutil.which('qemu-system-i386'):
        found['qemu'] = ['qemu-system-i386', '-accel', 'tcg', '-cpu', 'pentium3', *machine]
    for engine in args.engines.split(','):
        found[engine] = [os.path.abspath(args.vitrine), 'run', '-accel', engine, '-cpu', 'pentium3', *machine]
    taken = {name: [] for name in found}
    for _ in range(args.rounds):
        for name, command in found.items():
            taken[name].append(take(command, args.limit))
    rows = list(taken[args.engines.split(',')[0]][0])
    print('| seconds (median) | ' + ' | '.join(found) + ' |' + (' qemu / first |' if 'qemu' in found else ''))
    print('|---|' + '---:|' * (len(found) + ('qemu' in found)))
    logs = []
    for row in rows:
        median = {name: statistics.median([r[row] for r in runs if row in r] or [math.nan]) for name, runs in taken.items()}
        cells = [f'{median[name]:.3f}' for name in found]
        if 'qemu' in found:
            ratio = median['qemu'] / max(median[args.engines.split(',')[0]], 1e-6)
            logs += [math.log(ratio)] if ratio == ratio else []
            cells.append(f'{ratio:.1f}')
        print(f'| {row} | ' + ' | '.join(cells) + ' |')
    if logs:
        print(f'\ngeometric mean: {math.exp(sum(logs) / len(logs)):.1f} times as fast as QEMU over {len(logs)} programs')


if __name__ == '__main__':
    main()
