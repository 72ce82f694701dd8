"""A machine under test: starts vitrine with a control socket, types, waits for text, looks at the screen.

    with Vm('-fda', 'dos.img', '-snapshot') as vm:
        vm.wait_text('A:\\\\>', 30)
        vm.type('dir\\n')
        print(vm.screen())
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from . import picture

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def program(name='vitrine'):
    """The built program, of the mode that is being tested."""
    return os.path.join(os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release')), name)


def engines():
    """Those that the program says are whole on this host."""
    table = subprocess.run([program(), 'accel'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120, text=True, check=True).stdout
    whole = {}
    for line in table.split('\n\n', maxsplit=1)[0].splitlines():
        mark, name = line.split()[:2]
        whole[name] = whole.get(name, True) and mark == 'ok'
    return [name for name, good in whole.items() if good]


class QmpError(Exception):
    def __init__(self, error):
        super().__init__(f'{error["class"]}: {error["desc"]}')
        self.kind = error['class']


class Gone(Exception):
    """The program has ended; the message holds its last words."""


class Vm:
    """arguments: those of `vitrine run`. binary: another program that takes them, or its first words; display: None for no window."""

    def __init__(self, *arguments, binary=None, display=None, env=None, start_timeout=20):
        self.folder = tempfile.mkdtemp(prefix='vitrine-vm-')
        self.events, self.socket, self.buffer, self.count = [], None, b'', 0
        self.log_path = os.path.join(self.folder, 'log')
        path = os.path.join(self.folder, 'qmp')
        command = [binary] if isinstance(binary, str) else list(binary or [program(), 'run'])
        command += [] if display else ['-display', 'none']
        command += ['-qmp', f'unix:{path},server,nowait', *map(str, arguments)]
        environment = dict(os.environ, **(env or {}))
        if display:
            environment['DISPLAY'] = display
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            self._connect(path, time.monotonic() + start_timeout)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _connect(self, path, end):
        while self.socket is None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
                self.socket = connection
            except OSError:
                connection.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Gone(f'no control socket: {self.log()}') from None
                time.sleep(0.02)
        self._receive(end)  # the greeting
        self.qmp('qmp_capabilities')

    def log(self):
        """What the program has printed."""
        with open(self.log_path, errors='replace') as log:
            return log.read().strip()

    def _receive(self, end):
        while b'\n' not in self.buffer:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise Gone(f'the machine has ended: {self.log()}')
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def qmp(self, command, timeout=30, **arguments):
        """Runs a command; underscores in the names of arguments become dashes. Returns what it returned."""
        return self._ask(command, {name.replace('_', '-'): value for name, value in arguments.items()}, timeout)

    def _ask(self, command, arguments, timeout):
        self.count += 1
        request = {'execute': command, 'id': self.count, 'arguments': arguments}
        self.socket.sendall(json.dumps(request).encode() + b'\n')
        end = time.monotonic() + timeout
        while True:
            message = self._receive(end)
            if 'event' in message:
                self.events.append(message)
            elif message.get('id') == self.count:
                if 'error' in message:
                    raise QmpError(message['error'])
                return message['return']

    def event(self, name, timeout=30):
        """The next event of this name, whether it has come already or is still to come."""
        end = time.monotonic() + timeout
        while True:
            for i, message in enumerate(self.events):
                if message['event'] == name:
                    return self.events.pop(i)
            message = self._receive(end)
            if 'event' in message:
                self.events.append(message)

    def screen(self):
        """The text screen as one string; '' while a graphics mode is on."""
        return '\n'.join(self.qmp('x-screen-text')['lines'])

    def is_graphics(self):
        return self.qmp('x-screen-text')['mode'] == 'graphics'

    def wait_text(self, text, timeout=30):
        """Waits until the text is on the screen. Raises AssertionError, with the screen, when it does not come."""
        result = self._ask('x-wait-text', {'text': text, 'timeout': timeout, 'optional': True}, timeout + 30)
        if not result['found']:
            raise AssertionError(f'{text!r} did not appear in {timeout} s; the screen shows:\n'
                                 + ('\n'.join(result['lines']) or '(graphics or nothing)'))
        return '\n'.join(result['lines'])

    def type(self, text, delay=None):
        """Types on a US keyboard and returns when all is typed. delay: ms between keys."""
        arguments = {'text': text}
        if delay:
            arguments['delay'] = delay
        self.qmp('x-type', timeout=30 + len(text) * (delay or 60) / 1000, **arguments)

    def key(self, *names, hold=None):
        """Presses keys together: key('ctrl', 'alt', 'delete')."""
        arguments = {'keys': [{'type': 'qcode', 'data': name} for name in names]}
        if hold:
            arguments['hold_time'] = hold
        self.qmp('send-key', **arguments)

    def mouse(self, dx=0, dy=0, button=None, down=True):
        events = [{'type': 'rel', 'data': {'axis': axis, 'value': value}}
                  for axis, value in (('x', dx), ('y', dy)) if value]
        if button:
            events.append({'type': 'btn', 'data': {'button': button, 'down': down}})
        self.qmp('input-send-event', events=events)

    def hmp(self, line):
        return self.qmp('human-monitor-command', command_line=line)

    def screendump(self, path):
        """PNG or PPM, by the name."""
        self.qmp('screendump', filename=os.path.abspath(path))

    def picture(self):
        path = os.path.join(self.folder, 'screen.ppm')
        self.screendump(path)
        return picture.read(path)

    def wait_picture(self, wanted, timeout=30, every=0.25):
        """Waits until wanted(picture) is true, and returns that picture."""
        end = time.monotonic() + timeout
        while True:
            try:
                now = self.picture()
                if wanted(now):
                    return now
            except QmpError:
                now = None  # nothing has been shown yet
            if time.monotonic() > end:
                raise AssertionError(f'the picture did not come in {timeout} s')
            time.sleep(every)

    def hash(self):
        return self.picture().hash()

    def wait(self, timeout=30):
        """Waits until the program has ended; returns its exit status."""
        return self.process.wait(timeout)

    def ends_well(self, timeout=30):
        """Waits until the program has ended, which must be with status 0."""
        status = self.wait(timeout)
        assert status == 0, f'the program ended with status {status}: {self.log()}'

    def quit(self, timeout=30):
        """Ends the machine in good order; returns the exit status."""
        self.qmp('quit')
        return self.wait(timeout)

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
