"""A virtual display for tests of the window: Xvfb, xdotool, and what is to be seen on it."""
import ctypes
import ctypes.util
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse

from . import picture, tap
from .vm import Vm, program

RED, BLUE, BLACK, GREEN, WHITE = (255, 0, 0), (0, 0, 255), (0, 0, 0), (0, 255, 0), (255, 255, 255)
ROOM = (1024, 768)
MENU_TITLE, MENU_BODY = (41, 74, 122), (15, 15, 15)  # colours of the menu
HOST_KEY = 105  # the key code of right Ctrl: by name, xdotool presses left Ctrl too


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, as long as any XEvent."""
    _fields_ = [('type', ctypes.c_int), ('serial', ctypes.c_ulong), ('send_event', ctypes.c_int), ('display', ctypes.c_void_p),
                ('window', ctypes.c_ulong), ('message_type', ctypes.c_ulong), ('format', ctypes.c_int), ('data', ctypes.c_long * 5),
                ('room', ctypes.c_long * 24)]


def ask_to_close(display, window):
    """Sends the window what a window manager sends when its cross is clicked; xdotool cannot."""
    name = ctypes.util.find_library('X11')
    if not name:
        raise tap.Skip('libX11 is not there')
    x11 = ctypes.CDLL(name)
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    server = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    assert server.value, f'{display} cannot be opened'
    protocols, delete = (x11.XInternAtom(server, word, 0) for word in (b'WM_PROTOCOLS', b'WM_DELETE_WINDOW'))
    message = ClientMessage(type=33, window=window, message_type=protocols, format=32)
    message.data[0] = delete
    x11.XSendEvent(server, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(server)  # sends it


def keyboard_is_grabbed(display):
    name = ctypes.util.find_library('X11')
    if not name:
        raise tap.Skip('libX11 is not there')
    x11 = ctypes.CDLL(name)
    for function in ('XOpenDisplay', 'XDefaultRootWindow'):
        getattr(x11, function).restype = ctypes.c_ulong
    server = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    root = ctypes.c_ulong(x11.XDefaultRootWindow(server))
    refused = x11.XGrabKeyboard(server, root, 0, 1, 1, ctypes.c_ulong(0))
    x11.XCloseDisplay(server)  # which ends our own
    return refused != 0


class SelectionRequest(ctypes.Structure):
    """XSelectionRequestEvent; the answer, XSelectionEvent, is the same without the owner."""
    _fields_ = [('type', ctypes.c_int), ('serial', ctypes.c_ulong), ('send_event', ctypes.c_int), ('display', ctypes.c_void_p),
                ('owner', ctypes.c_ulong), ('requestor', ctypes.c_ulong), ('selection', ctypes.c_ulong), ('target', ctypes.c_ulong),
                ('property', ctypes.c_ulong), ('time', ctypes.c_ulong)]


class Dragged:
    """A file that is dropped on a window, as file managers do it (Xdnd, version 5)."""

    def __init__(self, display, window, path):
        name = ctypes.util.find_library('X11')
        if not name:
            raise tap.Skip('libX11 is not there')
        self.x11 = ctypes.CDLL(name)
        for function in ('XOpenDisplay', 'XInternAtom', 'XDefaultRootWindow', 'XCreateSimpleWindow'):
            getattr(self.x11, function).restype = ctypes.c_ulong
        server = self.x11.XOpenDisplay(display.encode())
        assert server, f'{display} cannot be opened'
        self.server, self.window = ctypes.c_void_p(server), ctypes.c_ulong(window)
        self.text = f'file://{urllib.parse.quote(path)}\r\n'.encode()
        root = ctypes.c_ulong(self.x11.XDefaultRootWindow(self.server))
        self.own = self.x11.XCreateSimpleWindow(self.server, root, 0, 0, 1, 1, 0, ctypes.c_ulong(0), ctypes.c_ulong(0))

    def atom(self, name):
        return self.x11.XInternAtom(self.server, name.encode(), 0)

    def tell(self, what, *data):
        message = ClientMessage(type=33, window=self.window, message_type=self.atom(what), format=32)
        for i, value in enumerate((self.own, *data)):
            message.data[i] = value
        self.x11.XSendEvent(self.server, self.window, 0, ctypes.c_long(0), ctypes.byref(message))
        self.x11.XFlush(self.server)

    def hand_over(self, request):
        self.x11.XChangeProperty(self.server, ctypes.c_ulong(request.requestor), ctypes.c_ulong(request.property), ctypes.c_ulong(request.target),
                                 8, 0, self.text, len(self.text))
        answer = SelectionRequest(type=31, owner=request.requestor, requestor=request.selection, selection=request.target,
                                  target=request.property, property=request.time)
        room = ctypes.create_string_buffer(bytes(answer), 192)  # an XEvent
        self.x11.XSendEvent(self.server, ctypes.c_ulong(request.requestor), 0, ctypes.c_long(0), room)

    def hear(self, what):
        """Answers what is asked until the window says this."""
        event = ctypes.create_string_buffer(ctypes.sizeof(ClientMessage))  # more than an XEvent
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not self.x11.XPending(self.server):
                time.sleep(0.01)
                continue
            self.x11.XNextEvent(self.server, event)
            message = ClientMessage.from_buffer(event)
            if message.type == 30:
                self.hand_over(SelectionRequest.from_buffer_copy(event))
            elif message.type == 33 and message.message_type == self.atom(what):
                return
        raise AssertionError(f'the window never said {what}')

    def drop(self):
        copy = self.atom('XdndActionCopy')
        self.x11.XSetSelectionOwner(self.server, ctypes.c_ulong(self.atom('XdndSelection')), ctypes.c_ulong(self.own), ctypes.c_ulong(0))
        self.tell('XdndEnter', 5 << 24, self.atom('text/uri-list'))
        self.tell('XdndPosition', 0, 100 << 16 | 100, 0, copy)
        self.hear('XdndStatus')
        self.tell('XdndDrop')
        self.hear('XdndFinished')
        self.x11.XCloseDisplay(self.server)


class Desk:
    """A virtual display; one for all tests."""
    process = None
    display = None

    @classmethod
    def open(cls):
        for name in ('Xvfb', 'xdotool', 'import'):
            if not shutil.which(name):
                raise tap.Skip(f'{name} is not installed')
        if cls.display:
            return
        read, write = os.pipe()
        # -r: a loaded host leaves keys down for long, which must not repeat
        # -noreset: else it starts anew, and turns xdotool away, when a program that was asked to end has closed its window
        cls.process = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', '%dx%dx24' % ROOM, '-nolisten', 'tcp',
                                        '-noreset', '-r'],
                                       pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as numbers:
            cls.display = ':' + numbers.readline().strip()

    @classmethod
    def close(cls):
        if cls.process:
            cls.process.terminate()
            cls.process.wait()
            cls.process = cls.display = None


class Shown(Vm):
    """A machine in a window; the fake one, or another program with the same arguments."""

    def __init__(self, *arguments, binary=None, env=None):
        Desk.open()
        fake = program('tests/ui/tool_fake')
        binary = binary or [fake]
        if not os.path.exists(binary[0]):
            raise tap.Skip(f'{binary[0]} is not built')
        self.here = tempfile.mkdtemp(prefix='vitrine-window-')
        super().__init__('-screenshots', self.here, *arguments, binary=binary, display=Desk.display,
                         env={'SDL_RENDER_DRIVER': 'software', 'SDL_VIDEODRIVER': 'x11', 'SDL_AUDIODRIVER': 'dummy', **(env or {})})
        self.window = self.until(self.focused, 'a window')
        self.x('mousemove', 1020, 760)

    def close(self):
        super().close()
        shutil.rmtree(self.here, ignore_errors=True)

    def until(self, wanted, what):
        end = time.monotonic() + 90  # looking at the desk takes seconds on a loaded host
        while True:
            value = wanted()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f'{what} did not come; title {self.title()!r}, screen:\n{self.screen()}')
            time.sleep(0.05)

    def x(self, *words, check=True):
        done = subprocess.run(['xdotool', *map(str, words)], env=dict(os.environ, DISPLAY=Desk.display), check=check,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)
        return done.stdout.strip()

    def focused(self):
        """The window, once it can have the focus and has it; the one of a machine before may still be going."""
        for window in self.x('search', '--onlyvisible', '--name', 'Vitrine', check=False).split():
            focus = ['xdotool', 'windowfocus', '--sync', window]
            if subprocess.run(focus, env=dict(os.environ, DISPLAY=Desk.display), check=False, stderr=subprocess.DEVNULL,
                              timeout=30).returncode == 0:
                return window
        return None

    def ask_to_close(self):
        ask_to_close(Desk.display, int(self.window))

    def drop(self, path):
        Dragged(Desk.display, int(self.window), path).drop()

    def title(self):
        return self.x('getwindowname', self.window, check=False)

    def geometry(self):
        return tuple(int(n) for n in re.search(r'Geometry: (\d+)x(\d+)', self.x('getwindowgeometry', self.window)).groups())

    def host(self, key):
        self.x('keydown', HOST_KEY)
        self.x('key', key)
        self.x('keyup', HOST_KEY)

    def click(self, x, y, button=1):
        """At this place of the window."""
        self.x('mousemove', '--window', self.window, x, y)
        self.x('click', button)

    def open_menu(self):
        """Returns when it is to be seen; until then it takes no clicks."""
        self.host('m')
        self.until(self.has_menu, 'the menu')

    def close_menu(self):
        self.host('m')
        self.until(lambda: not self.has_menu(), 'a window without the menu')

    def has_menu(self):
        """In a window that is too small for a menu of twice the size."""
        x, y = self.place()
        return self.desk().pixel(x + self.geometry()[0] // 2, y + 18) == MENU_TITLE

    def desk(self):
        """What is to be seen on the whole display."""
        path = os.path.join(self.here, 'desk.ppm')
        subprocess.run(['import', '-window', 'root', '-depth', '8', path], env=dict(os.environ, DISPLAY=Desk.display), check=True, timeout=30)
        return picture.read(path)

    def until_pixels(self, wanted):
        """Waits until all these places of the display have these colours."""
        def right():
            seen = self.desk()
            self.seen = {at: seen.pixel(*at) for at in wanted}
            return self.seen == wanted
        try:
            self.until(right, 'the picture')
        except AssertionError as error:
            raise AssertionError(f'{error}\npixels are {self.seen}, not {wanted}') from None

    def place(self):
        """The window's upper left corner."""
        return tuple(int(n) for n in re.search(r'Position: (-?\d+),(-?\d+)', self.x('getwindowgeometry', self.window)).groups())

    def until_text(self, text):
        self.wait_text(text, 20)
