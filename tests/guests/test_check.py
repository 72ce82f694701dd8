#!/usr/bin/env python3
"""Every guest from power-on under engine check: translator and interpreter agree for five minutes of guest time.

VITRINE_CHECK_SECONDS: guest seconds instead of 300. VITRINE_CHECK_SHIFT: an instruction takes 2^N ns instead of each
guest's own, which is chosen so that the guest comes up and the whole takes minutes.
"""
import os
import re
import time

import guest
from tests.lib import tap
from tests.lib.vm import Gone

SECONDS = float(os.environ.get('VITRINE_CHECK_SECONDS', 300))
AFTERWARDS = min(SECONDS, 60)  # guest seconds that follow what is typed, at least

# image, shift, what is typed at which second of guest time
GUESTS = (
    ('freedos722.img', 8, ((20, 'dir\n'), (60, 'ver\n'))),
    ('freedos13.img', 8, ((60, 'n'),)),
    ('freedos-360k.img', 8, ((20, 'dir\n'),)),
    ('freedos-odin.img', 8, ((60, 'mem\n'),)),
    ('dosapps.img', 8, ((60, 'mem\n'),)),
    ('kolibri.img', 5, ()),
    ('prettyos.img', 5, ((60, 'help\n'),)),
    ('snowdrop.img', 7, ((60, 'desktop\n'),)),
    ('michalos.img', 7, ((60, 'a'),)),
    ('pdos32.img', 7, ((60, 'dir\n'),)),
    ('memtest.img', 7, ()),
    ('elks.img', 7, ((60, 'ls /bin\n'),)),
    ('openbsd.img', 6, ()),
    ('oberon.img', 6, ((60, 'c\n'),)),
)


COUNTERS = ('ms of guest time', 'instructions run twice', 'of them agreed then')


def counters(vm):
    text = vm.qmp('human-monitor-command', **{'command-line': 'info engine'})
    return [int(re.search(r'(\d+) ' + what, text).group(1)) for what in COUNTERS]


def run(name, shift, typed):
    shift = os.environ.get('VITRINE_CHECK_SHIFT', shift)
    with guest.temporary() as folder:
        if name == 'dosapps.img':
            drive = ('-hda', guest.unpacked(name, folder))
        else:
            drive = ('-fda', guest.image(name))
        with guest.Guest('check', *drive, '-icount', f'shift={shift},sleep=off') as vm:
            rest, now, end, count, free = list(typed), 0, SECONDS, 0, 0
            began = time.monotonic()
            while now < end:
                time.sleep(0.2)
                try:
                    ms, count, free = counters(vm)
                except (Gone, OSError) as gone:
                    raise AssertionError(f'after {now:.0f} s of guest time: {gone}\n{vm.log()}') from None
                now = ms / 1000
                if rest and now >= rest[0][0]:
                    vm.type(rest.pop(0)[1], 2)  # the guest's time flies: keys are short
                    end = max(end, now + AFTERWARDS)
            assert 'differ' not in vm.log(), vm.log()
            print(f'# {name}: {now:.0f} s of guest time in {time.monotonic() - began:.0f} s, {count / 1e6:.0f} million '
                  f'instructions, {free} spans agreed in pieces only', flush=True)


def case(name, shift, typed):
    def one():
        run(name, shift, typed)
    one.__name__ = f'{name} under check'
    return one


tap.run(*[case(*row) for row in GUESTS if os.environ.get('VITRINE_ONLY', '') in row[0]])
