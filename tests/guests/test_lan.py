#!/usr/bin/env python3
"""Debian guests on a LAN of sockets: two machines, a machine and QEMU, and storms of frames that must not hurt a working guest."""
import hashlib
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import debian
import guest
import linux
from test_network import CARDS, LIMIT, boot, no_complaints, ramdisk

MAC = bytes.fromhex('525400123456')
STORM = 20 if os.environ.get('VITRINE_LONG') else 5  # seconds
MEGABYTES = 16 if os.environ.get('VITRINE_LONG') else 4


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


# ---- two machines ----

def give_address(shell, number):
    shell.run(f'ip addr add 192.168.7.{number}/24 dev eth0')


def send_file(sender, receiver, to):
    """A file of random bytes from one guest's nc to the other's."""
    receiver.begin('[ -p /tmp/q ] || mkfifo /tmp/q; nc -l -p 5000 <>/tmp/q | md5sum')
    sender.run(f'head -c {MEGABYTES << 20} /dev/urandom >/tmp/f; for i in 1 2 3 4 5 6 7 8 9; do '
               f'nc 192.168.7.{to} 5000 </tmp/f 2>/dev/null && break; sleep 1; done', LIMIT)
    wanted = sender.run('md5sum </tmp/f', LIMIT).split()[-2]
    assert receiver.end(LIMIT).split()[-2] == wanted, 'the file did not come as it was sent'


def talk(one, two):
    give_address(one, 1)
    give_address(two, 2)
    one.run('ping -c 3 -W 10 192.168.7.2 >/dev/null', 60)
    two.run('ping -c 3 -W 10 -s 1400 192.168.7.1 >/dev/null', 60)
    send_file(one, two, 2)
    send_file(two, one, 1)
    no_complaints(one)


def two_machines(engine):
    port = free_port()
    one, first = boot(engine, 'pcnet32', f'socket,id=n0,listen=127.0.0.1:{port}')
    with one:
        card, load = CARDS['ne2k-pci']
        with linux.direct(engine, ramdisk(), '-netdev', f'socket,id=n0,connect=127.0.0.1:{port}', '-device',
                          f'{card},netdev=n0,mac=52:54:00:12:34:57') as two:
            second = two.shell()
            second.run(f'{load} && ip link set lo up && ip link set eth0 up')
            talk(first, second)


class Qemu:
    """The same guest in QEMU."""

    def __init__(self, *arguments):
        debian.need('qemu-system-i386')
        self.folder = tempfile.mkdtemp(prefix='vitrine-qemu-')
        serial = os.path.join(self.folder, 'serial')
        self.process = subprocess.Popen(
            ['qemu-system-i386', '-accel', 'tcg', '-m', '128', '-display', 'none', '-no-reboot', '-nodefaults', '-kernel', debian.linux(),
             '-initrd', ramdisk(), '-append', linux.APPEND, '-serial', f'unix:{serial},server=on,wait=off', *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            if os.path.exists(serial):
                break
            time.sleep(0.05)
        self.console = linux.Console(serial)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def shell(self):
        self.console.wait(debian.SHELL_READY, 180)
        self.console.run('echo 1 > /proc/sys/kernel/printk')
        return self.console


def with_qemu(engine, ours, theirs):
    debian.need('qemu-system-i386')
    one, first = boot(engine, 'pcnet32', ours)
    with one, Qemu('-netdev', theirs, '-device', 'pcnet,netdev=n0,mac=52:54:00:12:34:57') as qemu:
        second = qemu.shell()
        second.run(f'{CARDS["pcnet32"][1]} && ip link set lo up && ip link set eth0 up')
        talk(first, second)


def qemu_on_a_stream(engine):
    port = free_port()
    with_qemu(engine, f'socket,id=n0,listen=127.0.0.1:{port}', f'socket,id=n0,connect=127.0.0.1:{port}')


def qemu_on_datagrams(engine):
    a, b = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    with_qemu(engine, f'socket,id=n0,udp=127.0.0.1:{a},localaddr=127.0.0.1:{b}', f'socket,id=n0,udp=127.0.0.1:{b},localaddr=127.0.0.1:{a}')


# ---- storms ----

class Storm(threading.Thread):
    """Floods a machine with frames of all kinds over its stream network, and answers nothing."""

    def __init__(self, port, seed=1):
        super().__init__(daemon=True)
        self.connection = socket.create_connection(('127.0.0.1', port))
        self.random, self.sent, self.on, self.answers = random.Random(seed), 0, True, b''
        self.start()
        threading.Thread(target=self.listen, daemon=True).start()

    def frame(self):
        """Of any length from a runt to what no Ethernet carries, to the guest, to all, to a group or to somebody else."""
        to = self.random.choice([MAC, MAC, b'\xff' * 6, bytes.fromhex('01005e000001'), bytes.fromhex('333300000001'), b'\x02\0\0\0\0\1'])
        size = self.random.choice([14, 20, 59, 60, 61, 64, 127, 128, 252, 256, 508, 512, 1000, 1513, 1514, 1515, 1518, 1519, 2000, 9000, 65536])
        kind = self.random.choice([b'\x88\xb5', b'\x08\x00', b'\x08\x06', b'\x00\x2e', b'\x86\xdd'])
        body = self.random.randbytes(max(0, min(size, 9000) - 14)).ljust(size - 14, b'\xa5')
        return to + b'\x02\0\0\0\0\2' + kind + body

    def run(self):
        # A store of frames is made once, so that the storm is fast.
        frames = [struct.pack('>I', len(frame)) + frame for frame in (self.frame() for _ in range(400))]
        small = [frame for frame in frames if len(frame) < 600]
        while self.on:
            burst = b''.join(self.random.choices(frames if self.random.random() < 0.3 else small, k=100))
            try:
                self.connection.sendall(burst)
            except OSError:
                return
            self.sent += 100

    def listen(self):
        while True:
            try:
                data = self.connection.recv(65536)
            except OSError:
                return
            if not data:
                return

    def end(self):
        self.on = False
        self.join(30)
        assert not self.is_alive(), 'the machine holds up its peers'


def counters(shell):
    names = ('rx_packets', 'rx_errors', 'rx_dropped', 'rx_missed_errors', 'rx_over_errors', 'rx_fifo_errors', 'rx_frame_errors', 'rx_crc_errors')
    values = shell.run('for i in ' + ' '.join(names) + '; do cat /sys/class/net/eth0/statistics/$i; done').split()
    return dict(zip(names, map(int, values[-len(names):])))


def probe(connection, shell):
    """Whether the card still receives, and interrupts: each of some frames is counted."""
    before = counters(shell)['rx_packets']
    for _ in range(10):
        frame = (MAC + b'\x02\0\0\0\0\2' + b'\x88\xb5').ljust(100, b'\0')
        connection.sendall(struct.pack('>I', len(frame)) + frame)
    end = time.monotonic() + 30 * guest.PATIENCE
    while counters(shell)['rx_packets'] < before + 10:
        assert time.monotonic() < end, f'frames do not arrive: {before} then {counters(shell)}'
        time.sleep(0.2)
    assert counters(shell)['rx_packets'] == before + 10


def storm(engine, driver):
    port = free_port()
    vm, shell = boot(engine, driver, f'socket,id=n0,listen=127.0.0.1:{port}')
    with vm:
        give_address(shell, 1)
        attack = Storm(port)
        end = time.monotonic() + STORM
        while time.monotonic() < end:  # the guest works on: its sums stay right
            done = shell.run('head -c 300000 /dev/zero | md5sum', LIMIT)
            assert hashlib.md5(bytes(300000)).hexdigest() in done, done
        attack.end()
        assert attack.sent > 1000
        time.sleep(1)
        told = counters(shell)
        assert told['rx_packets'] > 500, told
        assert told['rx_crc_errors'] == told['rx_frame_errors'] == 0, told
        time.sleep(1)
        probe(attack.connection, shell)
        # All is quiet again: no interrupt is stuck.
        lines = "grep -E 'eth0|NE[12]000' /proc/interrupts | awk '{print $2}'"
        shell.run('sleep 1')
        first = int(shell.run(lines).split()[-1])
        shell.run('sleep 2')
        assert int(shell.run(lines).split()[-1]) - first < 50, 'interrupts go on without frames'
        no_complaints(shell)
        attack.connection.close()


def storm_ne2000_isa(engine):
    storm(engine, 'ne')


def storm_ne2000_pci(engine):
    storm(engine, 'ne2k-pci')


def storm_pcnet(engine):
    storm(engine, 'pcnet32')


def paused_in_a_storm(engine):
    """A paused machine holds up nobody, and works when it goes on."""
    port = free_port()
    vm, shell = boot(engine, 'pcnet32', f'socket,id=n0,listen=127.0.0.1:{port}')
    with vm:
        attack = Storm(port, 2)
        time.sleep(1)
        vm.qmp('stop')
        time.sleep(2)
        before = attack.sent
        time.sleep(2)
        assert attack.sent > before + 100, 'a paused machine holds up the sender'
        vm.qmp('cont')
        time.sleep(1)
        attack.end()
        time.sleep(2)
        shell.run('echo alive')
        time.sleep(1)
        probe(attack.connection, shell)
        no_complaints(shell)


def resumed_in_a_storm(engine):
    """Saved in the middle of a burst and loaded into a fresh process: the card goes on there."""
    for driver in ('ne2k-pci', 'pcnet32'):
        with tempfile.TemporaryDirectory() as folder:
            disk, port = os.path.join(folder, 'disk.img'), free_port()
            with open(disk, 'wb') as file:
                file.truncate(1 << 20)
            netdev = f'socket,id=n0,listen=127.0.0.1:{port}'
            vm, shell = boot(engine, driver, netdev, '-hda', disk, snapshot=False)
            with vm:
                attack = Storm(port, 3)
                time.sleep(2)
                vm.qmp('snapshot-save', timeout=120, tag='burst')
                attack.end()
            port = free_port()
            with linux.direct(engine, ramdisk(), '-netdev', f'socket,id=n0,listen=127.0.0.1:{port}', '-device',
                              f'{CARDS[driver][0]},netdev=n0', '-hda', disk, '-resume', 'burst', snapshot=False) as vm:
                vm.console.run('echo alive')
                attack = Storm(port, 4)
                time.sleep(1)
                attack.end()
                time.sleep(2)
                probe(attack.connection, vm.console)
                no_complaints(vm.console)


if __name__ == '__main__':
    guest.cases(two_machines, qemu_on_a_stream, qemu_on_datagrams, storm_ne2000_isa, storm_ne2000_pci, storm_pcnet, paused_in_a_storm, resumed_in_a_storm)
