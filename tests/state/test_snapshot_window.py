"""Snapshots in the window's menu: saved by name, listed, loaded, deleted; a closed window suspends the machine."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.lib import tap  # noqa: E402
from tests.lib.desk import Desk, Shown  # noqa: E402
from tests.lib.vm import program  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix='vitrine-menu-')
FIELD, SAVE, LOAD, DELETE = (258, 197), (108, 213), (108, 266), (190, 266)  # in the window of a 720 x 400 text screen


def dos(*arguments):
    path = os.path.join(FOLDER, 'dos.img')
    if not os.path.exists(path):
        shutil.copyfile(os.path.join(tap.guests(), 'freedos722.img'), path)
    return Shown('-fda', path, '-boot', 'a', '-m', 16, *arguments, binary=[program('vitrine'), 'run'])


RED_BUTTON = (166, 26, 26), (204, 26, 26)  # the second is what it is like under the pointer


def asked_twice(vm, where):
    """A click on a button that asks again, and one on what it asks."""
    vm.click(*where)
    x, y = vm.place()
    vm.until(lambda: vm.desk().pixel(x + where[0], y + where[1] - 8) in RED_BUTTON, 'the question')
    vm.click(*where)


def names(vm):
    return [s['name'] for s in vm.qmp('x-snapshot-query')]


def the_menu_saves_loads_and_deletes():
    with dos() as vm:
        vm.wait_text('A:\\>', 60)
        vm.until(lambda: vm.geometry() == (720, 400), 'the size of the picture')
        vm.type('echo before\n')
        vm.wait_text('\nbefore', 20)
        vm.open_menu()
        vm.click(*FIELD)
        vm.x('type', '--delay', 80, 'mine')
        vm.x('key', 'Return')
        vm.until(lambda: names(vm) == ['mine'], 'the snapshot')
        vm.until(lambda: "saved 'mine'" in vm.title(), 'the notice')
        first = vm.qmp('x-snapshot-query')[0]['vm-clock-nsec']
        vm.click(*FIELD)
        vm.x('type', '--delay', 80, 'mine')
        vm.x('key', 'Return')
        x, y = vm.place()
        vm.until(lambda: vm.desk().pixel(x + SAVE[0], y + SAVE[1]) in RED_BUTTON, 'the question')
        assert vm.qmp('x-snapshot-query')[0]['vm-clock-nsec'] == first, 'it was replaced without a question'
        vm.click(*SAVE)
        vm.until(lambda: vm.qmp('x-snapshot-query')[0]['vm-clock-nsec'] != first, 'the one that replaces it')
        vm.close_menu()
        vm.type('cls\n')
        vm.until(lambda: 'before' not in vm.screen(), 'an empty screen')
        vm.open_menu()
        asked_twice(vm, LOAD)
        vm.until(lambda: 'before' in vm.screen(), 'the screen of the snapshot')
        vm.until(lambda: vm.qmp('query-status')['running'], 'a machine that runs')
        asked_twice(vm, DELETE)
        vm.until(lambda: names(vm) == [], 'no snapshot')


def a_closed_window_suspends_and_resumes():
    with dos('-display', 'sdl,window-close=suspend') as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo suspended\n')
        vm.wait_text('\nsuspended', 20)
        vm.ask_to_close()
        vm.ends_well()
        assert 'vitrine: suspended; -resume suspended goes on from here' in vm.log(), vm.log()
    with dos('-name', 'new') as vm:
        vm.until(lambda: 'started anew; -resume suspended' in vm.log(), 'the hint')  # in the title for a moment, too
        vm.qmp('quit')
    with dos('-resume', 'suspended') as vm:
        vm.wait_text('\nsuspended', 20)
        vm.type('echo and on\n')
        vm.wait_text('\nand on', 20)


def a_machine_is_saved_when_the_display_goes():
    with dos('-name', 'left') as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo left alone\n')
        vm.wait_text('\nleft alone', 20)
        Desk.close()
        assert vm.process.wait(60) == 1, vm.process.returncode
        assert 'the display is gone; the machine is saved, and -resume suspended goes on from here' in vm.log(), vm.log()
    with dos('-resume', 'suspended') as vm:
        vm.wait_text('\nleft alone', 20)
        vm.type('echo and on\n')
        vm.wait_text('\nand on', 20)


try:
    tap.run(the_menu_saves_loads_and_deletes, a_closed_window_suspends_and_resumes, a_machine_is_saved_when_the_display_goes)
finally:
    Desk.close()
    shutil.rmtree(FOLDER, ignore_errors=True)
