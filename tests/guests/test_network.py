#!/usr/bin/env python3
"""Debian's kernel on each network card: an address by DHCP, and 200 MB each way over TCP with equal checksums (8 without --long); and the
same kernel booted over TFTP."""
import atexit
import hashlib
import os
import shutil
import socket
import tempfile
import threading

import debian
import guest
import linux

MEGABYTES = 200 if os.environ.get('VITRINE_LONG') else 8
NOISE = 4  # megabytes that are sent again and again, each time behind its number
LIMIT = 1200
DHCP_SCRIPT = b'''#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
ip route add default via $router dev $interface
echo "lease $ip router $router dns $dns"
'''
CARDS = {  # device, how its driver is loaded
    'ne': ('ne2k_isa', 'insmod /modules/ne.ko io=0x300 irq=10'),
    'ne2k-pci': ('ne2k_pci', 'insmod /modules/ne2k-pci.ko'),
    'pcnet32': ('pcnet', 'insmod /modules/pcnet32.ko'),
}
folder = tempfile.mkdtemp(prefix='vitrine-network-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
made = {}


def ramdisk():
    if 'initrd' not in made:
        made['initrd'] = debian.initrd(os.path.join(folder, 'initrd.gz'), modules=[], there=list(CARDS), files={'etc/dhcp': DHCP_SCRIPT})
    return made['initrd']


def boot(engine, driver, netdev='user,id=n0', *arguments, **settings):
    """A guest whose eth0 is up; also returns its shell."""
    card, load = CARDS[driver]
    vm = linux.direct(engine, ramdisk(), '-netdev', netdev, '-device', f'{card},netdev=n0', *arguments, **settings)
    try:
        shell = vm.shell()
        shell.run(f'{load} && ip link set lo up && ip link set eth0 up')
        return vm, shell
    except BaseException:
        vm.close()
        raise


class Server(threading.Thread):
    """Serves one connection on the loopback: talk(connection)."""

    def __init__(self, talk):
        super().__init__(daemon=True)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.listener.settimeout(LIMIT)
        self.port = self.listener.getsockname()[1]
        self.talk, self.error = talk, None
        self.start()

    def run(self):
        try:
            connection = self.listener.accept()[0]
            connection.settimeout(LIMIT)
            with connection, self.listener:
                self.talk(connection)
        except Exception as error:  # told by done()
            self.error = error

    def done(self):
        self.join(LIMIT)
        assert not self.is_alive() and not self.error, self.error


def stream():
    """What goes over the wire, piece by piece: no two pieces are alike, so that none can take another's place."""
    if 'noise' not in made:
        made['noise'] = os.urandom(NOISE << 20)
    for number in range(MEGABYTES // NOISE):
        yield b'%08d' % number + made['noise']


def digest_of(pieces):
    digest = hashlib.md5()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def to_the_guest(shell, address='10.0.2.2'):
    def talk(connection):
        for piece in stream():
            connection.sendall(piece)
    server = Server(talk)
    got = shell.run(f'nc {address} {server.port} </dev/null | md5sum', LIMIT).split()[-2]
    server.done()
    assert got == digest_of(stream()), 'the guest received other bytes than were sent'


def from_the_guest(shell, address='10.0.2.2'):
    """The guest sends a file of its own again and again, each time behind its number."""
    digest, count = hashlib.md5(), [0]

    def talk(connection):
        while True:
            data = connection.recv(1 << 20)
            if not data:
                return
            digest.update(data)
            count[0] += len(data)
    server = Server(talk)
    shell.run(f'head -c {NOISE << 20} /dev/urandom >/tmp/noise', LIMIT)
    send = f'i=0; while [ $i -lt {MEGABYTES // NOISE} ]; do printf %08d $i; cat /tmp/noise; i=$((i+1)); done'
    shell.run(f'({send}) | nc {address} {server.port}', LIMIT)
    server.done()
    assert count[0] == (MEGABYTES // NOISE) * ((NOISE << 20) + 8), f'{count[0]} bytes came'
    wanted = shell.run(f'({send}) | md5sum', LIMIT).split()[-2]
    assert digest.hexdigest() == wanted, 'the host received other bytes than were sent'


def no_complaints(shell):
    bad = shell.run("dmesg | grep -iE 'timed out|NETDEV WATCHDOG|bogus|mismatched|Bus master|nobody cared' || true").strip()
    assert not bad, bad


def network(engine, driver):
    vm, shell = boot(engine, driver)
    with vm:
        lease = shell.run('udhcpc -q -n -f -i eth0 -s /etc/dhcp 2>/dev/null', 60)
        assert 'lease 10.0.2.15 router 10.0.2.2 dns 10.0.2.3' in lease, lease
        shell.run('ping -c 3 -W 5 10.0.2.2 >/dev/null', 60)
        to_the_guest(shell)
        from_the_guest(shell)
        no_complaints(shell)


def ne2000_isa(engine):
    network(engine, 'ne')


def ne2000_pci(engine):
    network(engine, 'ne2k-pci')


def pcnet(engine):
    network(engine, 'pcnet32')


IPXE = '/usr/lib/ipxe/qemu/pxe-{}.rom'
BOOT = f'''#!ipxe
kernel linux {linux.APPEND} || shell
initrd initrd.gz || shell
boot
'''


def boots_from_the_network(engine, driver):
    """iPXE on the card's own ROM fetches kernel and initial RAM disk over TFTP; the kernel then finds the card as it was left."""
    card, load = CARDS[driver]
    if not os.path.exists(IPXE.format(card)):
        raise guest.tap.Skip('Debian package ipxe-qemu is not installed')
    with tempfile.TemporaryDirectory() as tftp:
        shutil.copyfile(debian.linux(), os.path.join(tftp, 'linux'))
        shutil.copyfile(ramdisk(), os.path.join(tftp, 'initrd.gz'))
        with open(os.path.join(tftp, 'boot.ipxe'), 'w') as script:
            script.write(BOOT)
        with linux.Linux(engine, '-boot', 'n', '-netdev', f'user,id=n0,tftp={tftp},bootfile=boot.ipxe', '-device', f'{card},netdev=n0') as vm:
            shell = vm.shell()
            shell.run(f'{load} && ip link set lo up && ip link set eth0 up')
            assert 'lease 10.0.2.15' in shell.run('udhcpc -q -n -f -i eth0 -s /etc/dhcp 2>/dev/null', 60)
            no_complaints(shell)


def network_boot_ne2000(engine):
    boots_from_the_network(engine, 'ne2k-pci')


def network_boot_pcnet(engine):
    boots_from_the_network(engine, 'pcnet32')


if __name__ == '__main__':
    guest.cases(ne2000_isa, ne2000_pci, pcnet, network_boot_ne2000, network_boot_pcnet)
