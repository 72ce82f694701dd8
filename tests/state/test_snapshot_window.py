"""Snapshots in the window's menu: saved by name, listed, loaded, deleted; a closed window suspends the machine."""
import ctypes
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.lib import tap  # noqa: E402
from tests.lib.desk import HOST_KEY, Desk, Shown  # noqa: E402
from tests.lib.vm import program  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix='vitrine-menu-')
FIELD, LOAD, DELETE = (258, 197), (108, 266), (190, 266)  # in the window of a 720 x 400 text screen


def dos(*arguments):
    path = os.path.join(FOLDER, 'dos.img')
    if not os.path.exists(path):
        shutil.copyfile(os.path.join(tap.guests(), 'freedos722.img'), path)
    return Shown('-fda', path, '-boot', 'a', '-m', 16, *arguments, binary=program('vitrine'))


def menu(vm):
    vm.x('keydown', HOST_KEY)
    vm.x('key', 'm')
    vm.x('keyup', HOST_KEY)
    time.sleep(1)


def click(vm, where):
    x, y = vm.place()
    vm.x('mousemove', x + where[0], y + where[1])
    time.sleep(0.3)
    vm.x('click', 1)
    time.sleep(0.5)


class ClientMessage(ctypes.Structure):
    _fields_ = [('type', ctypes.c_int), ('serial', ctypes.c_ulong), ('send_event', ctypes.c_int), ('display', ctypes.c_void_p),
                ('window', ctypes.c_ulong), ('message_type', ctypes.c_ulong), ('format', ctypes.c_int), ('data', ctypes.c_long * 5),
                ('rest', ctypes.c_long * 12)]


def close_politely(vm):
    """What a window manager sends for a click on its cross; there is none here."""
    x11 = ctypes.CDLL('libX11.so.6')
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = x11.XOpenDisplay(Desk.display.encode())
    message = ClientMessage(type=33, window=int(vm.window), format=32, message_type=x11.XInternAtom(display, b'WM_PROTOCOLS', 0))
    message.data[0] = x11.XInternAtom(display, b'WM_DELETE_WINDOW', 0)
    x11.XSendEvent(display, int(vm.window), 0, 0, ctypes.byref(message))
    x11.XCloseDisplay(display)


def names(vm):
    return [s['name'] for s in vm.qmp('x-snapshot-query')]


def the_menu_saves_loads_and_deletes():
    with dos() as vm:
        vm.wait_text('A:\\>', 60)
        vm.until(lambda: vm.geometry() == (720, 400), 'the size of the picture')
        vm.type('echo before\n')
        vm.wait_text('\nbefore', 20)
        menu(vm)
        click(vm, FIELD)
        vm.x('type', '--delay', 80, 'mine')
        vm.x('key', 'Return')
        vm.until(lambda: names(vm) == ['mine'], 'the snapshot')
        menu(vm)
        vm.type('cls\n')
        vm.until(lambda: 'before' not in vm.screen(), 'an empty screen')
        menu(vm)
        click(vm, LOAD)
        vm.until(lambda: 'before' in vm.screen(), 'the screen of the snapshot')
        vm.until(lambda: vm.qmp('query-status')['running'], 'a machine that runs')
        click(vm, DELETE)
        vm.until(lambda: names(vm) == [], 'no snapshot')


def a_closed_window_suspends_and_resumes():
    with dos('-display', 'sdl,window-close=suspend') as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo suspended\n')
        vm.wait_text('\nsuspended', 20)
        close_politely(vm)
        assert vm.wait(30) == 0
    with dos('-resume', 'suspended') as vm:
        vm.wait_text('\nsuspended', 20)
        vm.type('echo and on\n')
        vm.wait_text('\nand on', 20)


try:
    tap.run(the_menu_saves_loads_and_deletes, a_closed_window_suspends_and_resumes)
finally:
    Desk.close()
    shutil.rmtree(FOLDER, ignore_errors=True)
