#!/usr/bin/env python3
"""Two machines joined by a null modem: Linux's own tools move a file at 115200 with RTS/CTS, and the sums are equal; over telnet the carrier is the other's DTR."""
import os

import debian
import guest
import linux

SIZE = 150000
folder = guest.temporary()


def ramdisk():
    path = os.path.join(folder.name, 'null.gz')
    if not os.path.exists(path):
        debian.noise(os.path.join(folder.name, 'noise'), SIZE)
        with open(os.path.join(folder.name, 'noise'), 'rb') as file:
            debian.initrd(path, modules=[], files={'noise': file.read()})
    return path


def joined(engine, telnet=''):
    wire = os.path.join(folder.name, 'wire')
    return (linux.direct(engine, ramdisk(), '-serial', f'unix:{wire},server,nowait{telnet}', '-nodefaults'),
            linux.direct(engine, ramdisk(), '-serial', f'unix:{wire}{telnet}', '-nodefaults'))


def a_file_goes_both_ways(engine):
    one, two = joined(engine)
    with one, two:
        shells = one.shell(), two.shell()
        for shell in shells:
            shell.run('stty -F /dev/ttyS1 115200 raw -echo crtscts clocal')
        wanted = shells[0].run('md5sum </noise').split()[0]
        for source, sink in (shells, shells[::-1]):
            # the descriptor stays open meanwhile: the last close would set the line's modes back
            sink.begin(f'head -c {SIZE} </dev/ttyS1 >/tmp/got; md5sum </tmp/got')
            source.run('sleep 1; cat /noise >/dev/ttyS1', 120)
            assert wanted in sink.end(120), 'the file has changed on its way'
            errors = sink.run("grep -o 'oe:[0-9]*' /proc/tty/driver/serial || true")
            assert not errors.strip(), errors


def the_carrier_is_the_others_dtr(engine):
    one, two = joined(engine, ',telnet')
    with one, two:
        shells = one.shell(), two.shell()
        wanted = shells[0].run('head -c 40000 </noise | md5sum').split()[0]
        for shell in shells:
            shell.run('stty -F /dev/ttyS1 115200 raw -echo crtscts -clocal hupcl')
        for source, sink in (shells, shells[::-1]):
            # each open raises DTR and waits for the other's; the source closes when it is told that all is there
            sink.begin('(head -c 40000 <&3 | md5sum; echo k >&3; cat <&3; echo over) 3<>/dev/ttyS1')
            source.begin('(head -c 40000 /noise >&3; head -c 1 <&3) 3<>/dev/ttyS1')
            assert 'k' in source.end(120), 'no answer'
            said = sink.end(120)
            assert wanted in said and 'over' in said, said


try:
    guest.cases(a_file_goes_both_ways, the_carrier_is_the_others_dtr)
finally:
    folder.cleanup()
