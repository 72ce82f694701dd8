#!/usr/bin/env python3
"""TCP throughput of each network card in vitrine and in QEMU, turn about, the same Debian guest; prints MB/s, medians and ratios.

usage: net.py [--vitrine PATH] [--engine translator] [--rounds N] [--megabytes N] [--cards ne,ne2k-pci,pcnet32] [--beside PATH]
    [--processor]

With --beside, another build of vitrine takes QEMU's place; with --processor, MB are counted for each second that the program's
threads ran, so that a busy host matters less. The far end is a server on the host's loopback, reached through the user network. The
time runs from the first byte to the last one; noise of the machine is in it: compare ratios of one run, not figures of different
runs. A transfer that is not done after --limit seconds counts with what has been moved by then, and is marked with a star.
"""
import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'guests'))
import debian  # noqa: E402
from linux import Console  # noqa: E402
from video import used  # noqa: E402

CARDS = {  # vitrine's and QEMU's device, how the guest loads its driver
    'ne': ('ne2k_isa', 'ne2k_isa,iobase=0x300,irq=10', 'insmod /modules/ne.ko io=0x300 irq=10'),
    'ne2k-pci': ('ne2k_pci', 'ne2k_pci', 'insmod /modules/ne2k-pci.ko'),
    'pcnet32': ('pcnet', 'pcnet', 'insmod /modules/pcnet32.ko'),
}
BOOT_LIMIT = 300
BLOCK = b'0123456789abcdef' * 65536


class Transfer(threading.Thread):
    """One connection on the loopback; `seconds` from its first byte to its last."""

    def __init__(self, total, to_guest):
        super().__init__(daemon=True)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port, self.total, self.to_guest = self.listener.getsockname()[1], total, to_guest
        self.begun, self.end, self.moved = None, None, 0
        self.start()

    def rate(self, limit):
        """(MB/s, whether all has been moved)"""
        self.join(limit)
        done = self.end is not None
        seconds = (self.end or time.monotonic()) - self.begun if self.begun else limit
        return self.moved / seconds / 1e6, done

    def run(self):
        connection = self.listener.accept()[0]
        self.listener.close()
        try:
            with connection:
                self.begun = time.monotonic()
                self.move(connection)
                if self.moved == self.total:
                    self.end = time.monotonic()
        except OSError:
            pass  # the guest has been ended

    def move(self, connection):
        if not self.to_guest:
            while self.moved < self.total:
                data = connection.recv(1 << 20)
                if not data:
                    return
                self.moved += len(data)
            return
        while self.moved < self.total:
            self.moved += connection.send(BLOCK[:min(self.total - self.moved, len(BLOCK))])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the guest closes when it has all


def measure(command, load, megabytes, folder, limit, processor):
    """{'to': (MB/s, done), 'from': ...} of one boot."""
    serial = os.path.join(folder, 'serial')
    process = subprocess.Popen([*command, '-serial', f'unix:{serial},server=on,wait=off'], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(200):
            if os.path.exists(serial):
                break
            time.sleep(0.05)
        shell = Console(serial)
        shell.wait(debian.SHELL_READY, BOOT_LIMIT)
        shell.run(f'{load}; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 -W 5 10.0.2.2 >/dev/null', BOOT_LIMIT)
        rates = {}
        for name, text in (('to', 'nc 10.0.2.2 {} </dev/null >/dev/null'), ('from', 'head -c {} /dev/zero | nc 10.0.2.2 {}')):
            transfer, begun = Transfer(megabytes << 20, name == 'to'), used(process.pid)
            shell.begin(text.format(*(() if name == 'to' else (megabytes << 20,)), transfer.port))
            rate, done = transfer.rate(limit)
            rates[name] = (transfer.moved / (used(process.pid) - begun) / 1e6 if processor else rate, done)
            if not rates[name][1]:
                break  # what hangs is not waited for; the other way is not measured
            shell.wait('@666@', 30)
            shell.wait('@', 30)
        return rates
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if os.path.exists(serial):
            os.unlink(serial)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--engine', default='translator')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--megabytes', type=int, default=64)
    parser.add_argument('--cards', default=','.join(CARDS))
    parser.add_argument('--limit', type=float, default=60)
    parser.add_argument('--beside', default='')
    parser.add_argument('--processor', action='store_true')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and the systems end with us
    with tempfile.TemporaryDirectory() as folder:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'), modules=[], there=list(CARDS))
        boot = ['-m', '128', '-display', 'none', '-no-reboot', '-netdev', 'user,id=n0', '-kernel', debian.linux(), '-initrd', ramdisk,
                '-append', 'console=ttyS0,115200 panic=-1 quiet']
        options = ['run', '-accel', args.engine, '-cpu', 'pentium3', *boot]
        systems = {'vitrine': [os.path.abspath(args.vitrine), *options]}
        if args.beside:
            systems['beside'] = [os.path.abspath(args.beside), *options]
        elif shutil.which('qemu-system-i386'):
            systems['qemu'] = ['qemu-system-i386', '-accel', 'tcg', '-cpu', 'pentium3', '-M', 'pc', '-nodefaults', *boot]
        print('| card, direction | ' + ' | '.join(f'{name} MB/s' for name in systems) + ' | ratio |')
        print('|---|' + '---:|' * (len(systems) + 1))
        for card in args.cards.split(','):
            ours, theirs, load = CARDS[card]
            taken = {name: [] for name in systems}
            for _ in range(args.rounds):
                for name, command in systems.items():
                    device = (theirs if name == 'qemu' else ours) + ',netdev=n0'
                    taken[name].append(measure([*command, '-device', device], load, args.megabytes, folder, args.limit, args.processor))
            for way in ('to', 'from'):
                found = {name: [rates[way] for rates in runs if way in rates] for name, runs in taken.items()}
                median = {name: statistics.median(rate for rate, _ in runs) for name, runs in found.items() if runs}
                star = {name: '' if all(done for _, done in runs) else '*' for name, runs in found.items()}
                ratio = f'{median["vitrine"] / max(median[list(systems)[1]], 0.01):.1f}' if len(median) == len(systems) == 2 else '-'
                cells = ' | '.join(f'{median[name]:.1f}{star[name]}' if name in median else '-' for name in systems)
                print(f'| {card}, {way} the guest | {cells} | {ratio} |', flush=True)


main()
