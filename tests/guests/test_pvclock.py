#!/usr/bin/env python3
"""-cpu MODEL,+kvmclock: Linux takes kvm-clock under every engine, and keeps it across changes of the engine and a stop."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.guests import debian, guest  # noqa: E402
from tests.guests.linux import direct  # noqa: E402

CLOCK = '/sys/devices/system/clocksource/clocksource0/current_clocksource'
STOP = 5


def uptime(console):
    return float(console.run('cat /proc/uptime').split()[0])


def linux_takes_it(engine):
    with guest.temporary() as folder:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'))
        with direct(engine, ramdisk, '-cpu', 'pentium3,+kvmclock', '-rtc', 'base=1999-12-31T22:00:00') as vm:
            console = vm.shell()
            assert console.run(f'cat {CLOCK}').strip() == 'kvm-clock'
            assert 'Dec 31 22:' in console.run('date'), "the time of day is not the RTC's"
            begun, last = time.monotonic(), uptime(console)
            first = last
            for move in range(20):
                vm.qmp('x-set-accel', accel=('interpreter', 'translator')[move % 2])
                now = uptime(console)
                assert now >= last, f'time ran back from {last} to {now}'
                last = now
            console.run('sleep 3')
            vm.qmp('stop')
            time.sleep(STOP)
            vm.qmp('cont')
            passed = uptime(console) - first
            outside = time.monotonic() - begun
            print(f'# {passed:.1f} s for the guest, {outside:.1f} s with the stop')
            assert 3 <= passed <= outside - STOP + 0.1  # two decimals
            log = console.run('dmesg')
            assert not re.search('unstable|soft lockup|stall', log), log


def machine_without_it_shows_none(engine):
    with guest.temporary() as folder:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'))
        with direct(engine, ramdisk) as vm:
            console = vm.shell()
            assert console.run(f'cat {CLOCK}').strip() != 'kvm-clock'
            assert 'hypervisor' not in console.run('grep flags /proc/cpuinfo').split()


guest.cases(linux_takes_it, machine_without_it_shows_none)
