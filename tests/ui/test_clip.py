#!/usr/bin/env python3
"""Text of the screen in the window under Xvfb: select, copy, paste, search; and x-paste."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import tap  # noqa: E402
from tests.lib.desk import RED, Desk, Shown  # noqa: E402
from tests.lib.vm import QmpError, Vm, program  # noqa: E402

CELL = (8, 16)  # the fake shows 640x400 pixels as 80x25 characters


def clipboard(what):
    done = subprocess.run([program('tests/ui/tool_clipboard'), what], env=dict(os.environ, DISPLAY=Desk.display, SDL_VIDEODRIVER='x11'),
                          stdout=subprocess.PIPE, timeout=30, check=True)
    return done.stdout.decode()


class Owner:
    """Another program that has put text on the clipboard."""

    def __init__(self, text):
        self.process = subprocess.Popen([program('tests/ui/tool_clipboard'), 'set', text], stdout=subprocess.PIPE,
                                        env=dict(os.environ, DISPLAY=Desk.display, SDL_VIDEODRIVER='x11'))
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def ready(vm):
    vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
    return vm.place()


def some_text(vm):
    """Three lines on the screen: key 04 down, key 04 up, key 05 down ..."""
    vm.x('key', 'a')
    vm.x('key', 'b')
    vm.until_text('key 04 down\nkey 04 up\nkey 05 down\nkey 05 up')


def drag(vm, first, last, *modifiers):
    x, y = vm.place()

    def at(cell):
        return x + cell[0] * CELL[0] + 4, y + cell[1] * CELL[1] + 8
    for key in modifiers:
        vm.x('keydown', key)
    vm.x('mousemove', *at(first))
    vm.x('mousedown', 1)
    vm.x('mousemove', *at(((first[0] + last[0]) // 2, last[1])))
    vm.x('mousemove', *at(last))
    vm.x('mouseup', 1)
    for key in modifiers:
        vm.x('keyup', key)


def drag_selects_and_the_host_key_copies():
    with Shown() as vm:
        x, y = ready(vm)
        some_text(vm)
        before = vm.desk().pixel(x + 2, y + 20)
        assert before == RED, before
        drag(vm, (4, 0), (5, 1))
        vm.until(lambda: vm.desk().pixel(x + 2, y + 20) != RED, 'a visible selection')
        assert vm.desk().pixel(x + 2, y + 4) == RED, 'cells before the first are not selected'
        vm.until(lambda: clipboard('primary') == '04 down\nkey 04', 'the primary selection')
        vm.host('c')
        vm.until(lambda: clipboard('get') == '04 down\nkey 04', 'the clipboard')
        assert 'release the mouse' not in vm.title(), 'the drag gave the mouse to the guest'
        assert 'buttons' not in vm.screen()
        vm.x('key', 'F1')
        vm.until(lambda: vm.desk().pixel(x + 2, y + 20) == RED, 'the end of the selection')


def ctrl_selects_a_rectangle():
    with Shown() as vm:
        ready(vm)
        some_text(vm)
        drag(vm, (4, 3), (5, 1), 'Control_L')
        vm.until(lambda: clipboard('primary') == '04\n05\n05', 'the rectangle')


def changed_text_is_selected_no_more():
    with Shown() as vm:
        x, y = ready(vm)
        some_text(vm)
        drag(vm, (0, 0), (20, 1))
        vm.until(lambda: vm.desk().pixel(x + 2, y + 4) != RED, 'a visible selection')
        vm.type('x' * 24)
        vm.until(lambda: vm.desk().pixel(x + 2, y + 4) == RED, 'the end of the selection')


def copy_without_a_selection_takes_the_screen():
    with Shown() as vm:
        ready(vm)
        some_text(vm)
        vm.host('c')
        vm.until(lambda: clipboard('get').rstrip('\n') == 'key 04 down\nkey 04 up\nkey 05 down\nkey 05 up', 'the whole screen')


def guests_with_their_own_pointer_need_shift():
    with Shown('-name', 'absolute') as vm:
        ready(vm)
        some_text(vm)
        drag(vm, (0, 1), (2, 1))
        vm.until_text('buttons 1')
        assert 'absolute' in vm.screen()
        count = vm.screen().count('buttons')
        first = vm.qmp('x-screen-text')['lines'][0]
        drag(vm, (0, 0), (79, 0), 'Shift_L')
        vm.until(lambda: clipboard('primary').strip(), 'the selection')
        assert vm.screen().count('buttons') == count, (first, vm.screen())


def paste_types_what_others_have_copied():
    with Shown() as vm:
        ready(vm)
        with Owner('aB\r\n\u00e4'):
            vm.host('v')
            # a; Shift+b; Enter; the umlaut as Alt and 132 on the keypad
            vm.until_text('key 04 down\nkey 04 up\nkey e1 down\nkey 05 down\nkey 05 up\nkey e1 up\nkey 28 down\nkey 28 up\n'
                          'key e2 down\nkey 59 down\nkey 59 up\nkey 5b down\nkey 5b up\nkey 5a down\nkey 5a up\nkey e2 up')


def paste_knows_the_guests_layout():
    with Shown('-k', 'de') as vm:
        ready(vm)
        with Owner('z\u00e4@^'):
            vm.host('v')
            vm.until_text('key 1c down\nkey 1c up\nkey 34 down\nkey 34 up\nkey e6 down\nkey 14 down\nkey 14 up\nkey e6 up\n'
                          'key 35 down\nkey 35 up\nkey 2c down\nkey 2c up')


def paste_ends_when_the_user_types():
    with Shown() as vm:
        ready(vm)
        with Owner('a' * 2000):
            vm.host('v')
            vm.until_text('key 04 down')
            vm.x('key', 'Escape')
            vm.until_text('key 29 down')
            vm.x('key', 'F2')
            vm.until_text('key 3b up')
            assert vm.screen().rstrip().endswith('key 3b up'), vm.screen()


def search_shows_and_steps_through_what_it_finds():
    with Shown() as vm:
        x, y = ready(vm)
        some_text(vm)
        tinted = lambda row: vm.desk().pixel(x + 4 * CELL[0] + 2, y + row * CELL[1] + 4) != RED  # noqa: E731
        vm.host('f')
        vm.x('type', '05 d')
        vm.until(lambda: tinted(2) and not tinted(3), 'the only match, on line 3')
        vm.x('key', 'BackSpace', 'BackSpace')
        vm.x('key', 'Return')
        vm.until(lambda: tinted(3) and not tinted(2), 'the second match')
        vm.x('key', 'Return')
        vm.until(lambda: tinted(2) and not tinted(3), 'the first match again')
        vm.host('c')
        vm.until(lambda: clipboard('get') == '05', 'the copied match')
        vm.x('key', 'Escape')
        vm.x('key', 'F1')
        vm.until_text('key 3a up')
        assert 'key 27' not in vm.screen(), 'the guest got keys of the search field'


def x_paste_types_and_answers_when_done():
    with Shown() as vm:
        assert vm.qmp('x-paste', text='A\u2192\u4e2d', delay=5) == {'lost': 1}
        vm.until_text('key e1 down\nkey 04 down\nkey 04 up\nkey e1 up\nkey e2 down\nkey 5a down\nkey 5a up\nkey 5e down\nkey 5e up\nkey e2 up')
        assert vm.qmp('x-paste', text='y', layout='de', delay=2) == {'lost': 0}
        vm.until_text('key 1d up')
        for wrong in ({'text': 'a', 'layout': 'xx'}, {'text': 'a', 'delay': 0}, {}):
            try:
                vm.qmp('x-paste', **wrong)
            except QmpError:
                continue
            raise AssertionError(f'{wrong} was taken')


def dos_gets_what_is_pasted():
    floppy = os.path.join(tap.guests(), 'freedos722.img')
    if not os.path.exists(floppy):
        raise tap.Skip(f'{floppy} is not there')
    with Vm('-fda', floppy, '-snapshot') as vm:
        vm.wait_text('A:\\>', 60)
        text = 'rem "Pasted" {[(~!@#$%^&*)]} _-+=;:,./?\\ 0123456789\n'
        assert vm.qmp('x-paste', text='echo off\r\n' + text * 3 + 'echo That is all\r\n') == {'lost': 0}
        vm.wait_text('That is all\n', 20)
        vm.qmp('x-paste', text='echo on\n' + text)
        vm.wait_text(text.strip(), 20)


try:
    tap.run(drag_selects_and_the_host_key_copies, ctrl_selects_a_rectangle, changed_text_is_selected_no_more,
            copy_without_a_selection_takes_the_screen, guests_with_their_own_pointer_need_shift,
            paste_types_what_others_have_copied, paste_knows_the_guests_layout, paste_ends_when_the_user_types,
            search_shows_and_steps_through_what_it_finds, x_paste_types_and_answers_when_done, dos_gets_what_is_pasted)
finally:
    Desk.close()
