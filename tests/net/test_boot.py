#!/usr/bin/env python3
"""Network boot: Debian's iPXE, from a card's option ROM, takes its file from libslirp's TFTP server."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

IPXE = '/usr/lib/ipxe/qemu/pxe-{}.rom'


def boots_over_tftp(card):
    if not os.path.exists(IPXE.format(card)):
        raise tap.Skip('Debian package ipxe-qemu is not installed')
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, 'boot.ipxe'), 'w') as script:
            script.write('#!ipxe\necho The file has come to ${net0/ip}\nshell\n')
        capture = os.path.join(folder, 'net.pcap')
        with Vm('-m', 32, '-boot', 'n', '-netdev', f'user,id=n0,tftp={folder},bootfile=boot.ipxe',
                '-device', f'{card},netdev=n0', '-object', f'filter-dump,id=f0,netdev=n0,file={capture}') as vm:
            vm.wait_text('The file has come to 10.0.2.15', 120)
            assert vm.quit() == 0
        with open(capture, 'rb') as file:
            data = file.read()
        assert data[:4] == b'\xd4\xc3\xb2\xa1' and data[20:24] == b'\x01\0\0\0'
        assert b'The file has come' in data


def rtl8029_boots_over_tftp():
    boots_over_tftp('ne2k_pci')


def pcnet_boots_over_tftp():
    boots_over_tftp('pcnet')


tap.run(rtl8029_boots_over_tftp, pcnet_boots_over_tftp)
