#!/usr/bin/env python3
"""Times real i386 programs in vitrine, in QEMU and natively, turn about; prints medians and ratios (make bench). Before them, in the
row `floppy`, the time from the program's start to the first instructions of a floppy's boot sector.

usage: run.py [--vitrine PATH] [--engines translator,interpreter] [--rounds N] [--folder DIR] [--limit S] [--start]

The guest is built from Debian's packages at the first run (guest.py). QEMU and the native run take part where they can: Debian's
qemu-system-x86, and root on a host that runs i386 programs. Times are the host's, between marker lines; noise of the
machine is in them: compare ratios of one run, not times of different runs.
"""
import argparse
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import guest


def take(command, limit):
    """Runs a system to its @DONE line; {name: seconds}, `boot` from its start to its init."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    os.set_blocking(process.stdout.fileno(), False)
    begun, taken, text, done = {'boot': start, 'floppy': start}, {}, b'', False
    while not done and time.monotonic() - start < limit:
        data = process.stdout.read()
        now = time.monotonic()
        if data is None:
            time.sleep(0.0005)
            continue
        if not data:
            break
        text += data
        *lines, text = text.split(b'\n')
        for line in lines:
            mark = re.match(rb'.*@(B|E|DONE) ?(\w*) ?(\d*)', line)
            if mark and mark[1] == b'B':
                begun[mark[2].decode()] = now
            elif mark and mark[1] == b'E' and mark[3] == b'0' and mark[2].decode() in begun:
                taken[mark[2].decode()] = now - begun[mark[2].decode()]
            done = done or bool(mark and mark[1] == b'DONE')
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
    return taken


def floppy(folder):
    """A floppy whose boot sector says on the first serial port that it runs."""
    code = bytes.fromhex('fa31c08ed8fc'              # cli; xor ax, ax; mov ds, ax; cld
                         'bafb03b083ee'              # line control: the divisor's latch
                         'baf803b80100ee42b000ee'    # 115200 bit/s
                         'bafb03b003ee'              # 8 bits
                         'be367c'                    # mov si, text
                         'bafd03eca82074fb'          # l: wait for the transmitter
                         'ac84c07406baf803eeebed'    # lodsb; test al, al; jz d; out; jmp l
                         'f4ebfd')                   # d: hlt; jmp d
    assert len(code) == 0x36
    sector = (code + b'\n@E floppy 0\r\n@DONE\r\n\0').ljust(510, b'\0') + b'\x55\xaa'
    path = os.path.join(folder, 'floppy.img')
    with open(path, 'wb') as image:
        image.write(sector.ljust(1474560, b'\0'))
    return path


def systems(args):
    boot = ['-m', '512', '-display', 'none', '-kernel', f'{args.folder}/vmlinuz', '-initrd', f'{args.folder}/initrd.gz',
            '-append', 'console=ttyS0 panic=-1 quiet', '-serial', 'stdio']
    sector = ['-m', '64', '-display', 'none', '-serial', 'stdio', '-drive', f'if=floppy,format=raw,file={floppy(args.folder)}']
    found = {}
    root = os.path.join(args.folder, 'root')
    names = list(guest.WORKLOADS)
    native = ['chroot', root, '/bin/busybox', 'sh', '/bench.sh', *names]
    if os.geteuid() == 0 and subprocess.run(['chroot', root, '/bin/busybox', 'true'], stderr=subprocess.DEVNULL).returncode == 0:
        if not os.path.exists(f'{root}/dev/zero'):
            subprocess.run(['mknod', '-m', '666', f'{root}/dev/zero', 'c', '1', '5'], check=True)
            subprocess.run(['mknod', '-m', '666', f'{root}/dev/null', 'c', '1', '3'], check=True)
        found['native'] = [native]
    if shutil.which('qemu-system-i386'):
        found['qemu'] = [['qemu-system-i386', '-accel', 'tcg', '-cpu', 'pentium3', '-no-reboot', *rest] for rest in (sector, boot)]
    for engine in args.engines.split(','):
        found[engine] = [[os.path.abspath(args.vitrine), 'run', '-accel', engine, '-cpu', 'pentium3', '-no-reboot', *rest] for rest in (sector, boot)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--engines', default='translator')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--folder', default=os.path.join('out', 'bench'))
    parser.add_argument('--limit', type=float, default=600)
    parser.add_argument('--start', action='store_true', help='only the row `floppy`')
    args = parser.parse_args()
    args.folder = os.path.abspath(args.folder)
    os.makedirs(args.folder, exist_ok=True)
    if not args.start:
        guest.build(args.folder)

    found = systems(args)
    if args.start:
        found = {name: commands[:1] for name, commands in found.items() if name != 'native'}
    taken = {name: [] for name in found}
    for number in range(args.rounds):
        for name, commands in found.items():
            taken[name].append({})
            for command in commands:
                taken[name][-1].update(take(command, args.limit))
            print(f'# round {number + 1} {name}: {len(taken[name][-1])} figures', file=sys.stderr)
    rows = ['floppy', 'boot', *guest.WORKLOADS]
    median = {name: {row: statistics.median([r[row] for r in runs if row in r]) for row in rows if any(row in r for r in runs)}
              for name, runs in taken.items()}
    pairs = [(a, b) for a in found if a not in ('native', 'qemu') for b in ('native', 'qemu') if b in found]
    print('| seconds (median) | ' + ' | '.join([*found, *(f'{a}/{b}' for a, b in pairs)]) + ' |')
    print('|---|' + '---:|' * (len(found) + len(pairs)))
    ratios = {pair: [] for pair in pairs}
    for row in (row for row in rows if any(row in median[name] for name in found)):
        cells = [f'{median[name][row]:.3f}' if row in median[name] else '-' for name in found]
        for a, b in pairs:
            known = row in median[a] and row in median[b]
            cells.append(f'{median[a][row] / median[b][row]:.2f}' if known else '-')
            if known and row in guest.WORKLOADS:
                ratios[a, b].append(math.log(median[a][row] / median[b][row]))
        print(f'| {row} | ' + ' | '.join(cells) + ' |')
    for (a, b), logs in ratios.items():
        if logs:
            print(f'\ngeometric mean {a}/{b}: {math.exp(sum(logs) / len(logs)):.2f} over {len(logs)} programs')


if __name__ == "__main__":
    main()
