#!/usr/bin/env python3
"""A running guest is moved between engines 200 times at random moments: results and screen stay right.

VITRINE_SEED fixes the moments. KVM takes part in what it can run here, however slowly (`vitrine accel`).
"""
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.guests import guest  # noqa: E402
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm, program  # noqa: E402

MOVES = 200
INSTALLER = '/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386'


def engines(*modes):
    """The engines that run guests which need these modes."""
    table = subprocess.run([program(), 'accel'], stdout=subprocess.PIPE, text=True, check=True).stdout
    right = [mode for mode in modes if re.search(rf'^\S+\s+kvm\s+{mode}\s+right', table, re.M)]
    names = ['translator', 'interpreter'] + (['kvm'] if len(right) == len(modes) else [])
    print(f'# between {", ".join(names)}', flush=True)
    return names


def move(vm, names, moves, longest, between=lambda n: None):
    seed = int(os.environ.get('VITRINE_SEED', time.time_ns() % 1000000))
    print(f'# VITRINE_SEED={seed}', flush=True)
    chance = random.Random(seed)
    for n in range(moves):
        name = names[n % len(names)]
        vm.qmp('x-set-accel', accel=name)
        assert vm.qmp('x-query-accel')['name'] == name
        between(n)
        time.sleep(chance.random() * longest)


def freedos_keeps_its_screen():
    with Vm('-m', '32', '-snapshot', '-fda', guest.image('freedos722.img'), '-accel', 'translator') as vm:
        vm.wait_text('A:\\>', 120)
        vm.type('cls\n')

        def type_something(n):
            if n % 20 == 10:
                line = f'echo move {n} is done'
                for end in range(4, len(line) + 4, 4):  # a BIOS keeps 15 keys, and a slow KVM takes its time
                    vm.type(line[end - 4:end])
                    vm.wait_text('A:\\>' + line[:end].rstrip(), 60)
                vm.type('\n')
        move(vm, engines('real mode', 'protected mode'), MOVES, 0.1, type_something)
        text = vm.wait_text('echo move 190 is done', 60)
        vm.wait_text('\nmove 190 is done', 60)
        for n in range(110, MOVES, 20):
            assert f'\nmove {n} is done' in vm.screen(), text
        assert not [e for e in vm.events if e['event'] == 'RESET']


def linux_computes_the_same_sums():
    kernel, initrd = os.path.join(INSTALLER, 'linux'), os.path.join(INSTALLER, 'initrd.gz')
    if not os.path.exists(kernel):
        raise tap.Skip('debian-installer-12-netboot-i386 is not installed')
    loop = ('for i in 1 2; do cat /bin/busybox /lib/libc.so.6; done >/x; '
            'i=0; while [ $i -lt 40 ]; do sort -r /x | md5sum; i=$((i+1)); done; echo THE-END')
    # The installer's own initrd; init is a shell that runs the loop, its output goes to the text screen and a file.
    with Vm('-m', '256', '-accel', 'translator', '-kernel', kernel, '-initrd', initrd, '-append',
            f'vga=normal nomodeset quiet rdinit=/bin/sh -- -c "{loop}; sleep 100000"') as vm:
        alone = vm.wait_text('  -', 400)  # the first sum, all of it under the translator
        move(vm, engines('real mode', 'protected mode', '32-bit paging'), MOVES, 0.2)
        assert 'THE-END' not in vm.screen(), 'the guest was done before the last move'
        text = vm.wait_text('THE-END', 900)
        sums = re.findall(r'^([0-9a-f]{32})  -', text, re.M)
        assert len(sums) >= 15 and len(set(sums)) == 1, text
        assert sums[0] in alone, 'all the same, and all wrong'


tap.run(freedos_keeps_its_screen, linux_computes_the_same_sums)
