#!/usr/bin/env python3
"""A real machine in the window: keys that are down when the focus goes are let go in the guest, and none comes back by itself."""
import atexit
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import tap  # noqa: E402
from tests.lib.desk import Desk, Shown  # noqa: E402
from tests.lib.vm import program  # noqa: E402


def machine():
    sector = program('tests/ui/scancodes.bin')
    if not os.path.exists(sector):
        raise tap.Skip(f'{sector} is not built')
    vm = Shown('-hda', sector, '-snapshot', binary=[program(), 'run'])
    try:
        vm.wait_text('[', 60)
    except BaseException:
        vm.close()
        raise
    return vm


def codes(vm):
    return [int(code, 16) for code in re.findall(r'\b[0-9A-F]{2}\b', vm.screen().split('[', 1)[1])]


def held(vm):
    """The keys that the guest believes to be down, by their make codes of set 1."""
    down, extended = set(), 0
    for code in codes(vm):
        if code == 0xe0:
            extended = 0x100
            continue
        if extended and code & 0x7f in (0x2a, 0x36):
            extended = 0  # a shift that the keyboard fakes around an arrow
            continue
        (down.discard if code & 0x80 else down.add)(code & 0x7f | extended)
        extended = 0
    return down


def until_held(vm, wanted):
    vm.until(lambda: held(vm) == wanted, f'keys {sorted(wanted)}, not {sorted(held(vm))}')


def keys_are_let_go_when_another_window_gets_the_focus():
    with machine() as vm, Shown() as other:
        def another():
            return [window for window in vm.x('search', '--name', 'Vitrine', check=False).split() if window != vm.window]
        vm.until(another, 'a second window')
        vm.x('windowfocus', '--sync', vm.window)
        for name in ('Right', 'a', 'Control_L', 'Shift_L'):
            vm.x('keydown', name)
        until_held(vm, {0x1e, 0x2a, 0x1d, 0x14d})
        other.x('windowfocus', '--sync', another()[0])
        until_held(vm, set())
        for name in ('Right', 'a', 'Control_L', 'Shift_L'):
            other.x('keyup', name)
        vm.x('windowfocus', '--sync', vm.window)
        time.sleep(1)  # time for a key that would repeat
        before = len(codes(vm))
        assert held(vm) == set()
        vm.x('key', 'b')
        vm.until(lambda: codes(vm)[before:] == [0x30, 0xb0], 'b alone')


def keys_are_let_go_when_the_window_is_hidden_with_alt_tab_half_done():
    with machine() as vm:
        vm.x('windowfocus', '--sync', vm.window)
        vm.x('keydown', 'Alt_L')
        vm.x('keydown', 'Tab')
        until_held(vm, {0x38, 0x0f})
        vm.x('windowunmap', vm.window)
        until_held(vm, set())
        vm.x('keyup', 'Tab')
        vm.x('keyup', 'Alt_L')
        time.sleep(1)
        assert held(vm) == set()


atexit.register(Desk.close)
tap.run(keys_are_let_go_when_another_window_gets_the_focus, keys_are_let_go_when_the_window_is_hidden_with_alt_tab_half_done)
