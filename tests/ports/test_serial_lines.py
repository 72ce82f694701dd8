#!/usr/bin/env python3
"""A serial port's modem lines over sockets: two machines as a null modem over telnet's com port option, servers and clients of RFC 2217, lost peers."""
import os
import shutil
import socket
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

OUT = os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release'))
PATIENCE = 60
folder = tempfile.mkdtemp(prefix='vitrine-lines-')
DATA, IER, IIR, LCR, MCR, LSR, MSR = range(7)
DTR, RTS, OUT2, BREAK = 1, 2, 8, 0x40
CTS, DSR, RI, DCD = 0x10, 0x20, 0x40, 0x80
D_CTS, D_DSR, D_RI, D_DCD = 1, 2, 4, 8
USUAL = CTS | DSR | DCD
SE, SB, WILL, WONT, DO, DONT, IAC = 240, 250, 251, 252, 253, 254, 255
BINARY, ECHO, SGA, COM = 0, 1, 3, 44


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def com(*values):
    """A sub-negotiation of the com port."""
    return bytes((IAC, SB, COM)) + bytes(values).replace(b'\xff', b'\xff\xff') + bytes((IAC, SE))


class Peer:
    """The other end of a telnet connection, which agrees to everything, or to nothing."""

    def __init__(self, connection, agrees=True):
        self.socket, self.agrees, self.data, self.plain, self.heard, self.verbs, self.said = connection, agrees, b'', b'', [], [], set()

    def send(self, data):
        self.socket.sendall(data)

    def _take(self):
        """One command or a run of data from the front of what has come; False: no whole one is there."""
        if not self.data:
            return False
        at = self.data.find(IAC)
        if at:
            at = len(self.data) if at < 0 else at
            self.plain, self.data = self.plain + self.data[:at], self.data[at:]
            return True
        if len(self.data) > 1 and self.data[1] == IAC:
            self.plain, self.data = self.plain + b'\xff', self.data[2:]
        elif len(self.data) > 1 and self.data[1] == SB:
            end = self.data.replace(b'\xff\xff', b'..').find(bytes((IAC, SE)))
            if end < 0:
                return False
            if self.data[2] == COM:
                self.heard.append(self.data[3:end].replace(b'\xff\xff', b'\xff'))
            self.data = self.data[end + 2:]
        elif len(self.data) > 2 and self.data[1] >= WILL:
            verb, option = self.data[1:3]
            self.data = self.data[3:]
            self.verbs.append((verb, option))
            answer = {WILL: DO, DO: WILL}.get(verb) if self.agrees else {WILL: DONT, DO: WONT}.get(verb)
            if answer and (answer, option) not in self.said:
                self.said.add((answer, option))
                self.send(bytes((IAC, answer, option)))
        elif len(self.data) > 1 and self.data[1] < SB:
            self.verbs.append((self.data[1],))
            self.data = self.data[2:]
        else:
            return False
        return True

    def wait(self, done):
        end = time.monotonic() + PATIENCE
        while True:
            while self._take():
                pass
            if done():
                return
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            piece = self.socket.recv(65536)
            assert piece, f'closed after {self.heard} {self.plain!r}'
            self.data += piece

    def hears(self, *commands):
        """Waits for each of the commands, in any order among others."""
        self.wait(lambda: all(bytes(c) in self.heard for c in commands))
        for c in commands:
            self.heard.remove(bytes(c))

    def reads(self, size):
        self.wait(lambda: len(self.plain) >= size)
        data, self.plain = self.plain[:size], self.plain[size:]
        return data


class Machine:
    """A machine whose COM2 is the port of the test, at 115200 8N1; its registers are reached through COM1."""

    def __init__(self, port, *more):
        own = tempfile.mkdtemp(dir=folder)
        path, disk = os.path.join(own, 'com1'), os.path.join(own, 'disk')
        shutil.copy(OUT + '/tests/ports/comport.bin', disk)
        self.vm = Vm('-m', '4', '-fda', disk, '-boot', 'a', '-accel', 'interpreter', '-no-reboot', '-S',
                     '-serial', f'unix:{path},server,nowait', '-serial', port, *more)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.vm.qmp('cont')
        while self.exactly(1) != b'!':
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.vm.close()

    def exactly(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, 'the machine has gone'
            data += piece
        return data

    def read(self, register):
        self.socket.sendall(bytes((ord('r'), register)))
        return int(self.exactly(2), 16)

    def write(self, register, value):
        self.socket.sendall(bytes((ord('w'), register, value)))
        assert self.exactly(1) == b'.'

    def frame(self, divisor, lcr):
        self.write(LCR, 0x80 | lcr)
        self.write(DATA, divisor & 255)
        self.write(IER, divisor >> 8)
        self.write(LCR, lcr)

    def receive(self, size):
        data = b''
        while len(data) < size:
            n = min(size - len(data), 100)
            self.socket.sendall(bytes((ord('p'), n)))
            data += bytes.fromhex(self.exactly(2 * n).decode())
        return data

    def send(self, data):
        for byte in data:
            while not self.read(LSR) & 0x20:
                pass
            self.write(DATA, byte)

    def until(self, register, mask, value, also=0):
        """Waits for bits of a register, and for others in passing; returns all that it showed meanwhile."""
        end, seen = time.monotonic() + PATIENCE, 0
        while True:
            now = self.read(register)
            seen |= now
            if now & mask == value and seen & also == also:
                return seen
            assert time.monotonic() < end, f'register {register} is {now:02x}, was {seen:02x}'


def null_modem(one, two):
    for a, b in ((one, two), (two, one)):
        a.write(MCR, OUT2)
        b.until(MSR, 0xf0, 0)
        for mcr, lines, deltas in ((DTR, DSR | DCD, D_DSR | D_DCD), (DTR | RTS, USUAL, D_CTS), (RTS, CTS, D_DSR | D_DCD),
                                   (0, 0, D_CTS), (DTR | RTS, USUAL, D_CTS | D_DSR | D_DCD)):
            a.write(MCR, OUT2 | mcr)
            assert b.until(MSR, 0xf0, lines, deltas) & 0x0f == deltas
            assert b.read(MSR) & 0x0f == 0
        a.write(MCR, OUT2)
        a.write(MCR, OUT2 | DTR | RTS)
    for a, b in ((one, two), (two, one)):
        a.until(MSR, 0xf0, USUAL, D_CTS | D_DSR | D_DCD)  # a pulse, however short
        a.write(LCR, 3 | BREAK)
        b.until(LSR, 0x10, 0x10)
        assert b.read(LSR) & 0x1f == 1 and b.read(DATA) == 0
        a.write(LCR, 3)
        a.send(b'\xff\r\0\n\xff\xf3')
        assert b.receive(6) == b'\xff\r\0\n\xff\xf3'


def two_machines_are_a_null_modem():
    port = free_port()
    with Machine(f'telnet:127.0.0.1:{port},server,nowait') as one:
        assert one.read(MSR) == 0
        one.frame(1, 3)
        for _ in range(2):  # the second comes after the first has gone
            with Machine('telnet:127.0.0.1:%d' % port) as two:
                two.frame(1, 3)
                null_modem(one, two)
            assert one.until(MSR, 0xf0, 0) & 0x0f == D_CTS | D_DSR | D_DCD


def a_chardev_is_a_null_modem_too():
    path = os.path.join(folder, 'null')
    with Machine('chardev:a', '-chardev', f'socket,id=a,path={path},server=on,wait=off,telnet=on') as one:
        with Machine('chardev:a', '-chardev', f'socket,id=a,path={path},telnet=on') as two:
            one.frame(1, 3)
            two.frame(1, 3)
            null_modem(one, two)
            one.vm.close()
            assert two.until(MSR, 0xf0, 0) & 0x0f == D_CTS | D_DSR | D_DCD


def a_guest_that_was_not_started_is_silent():
    """The lines of a machine whose guest did not raise them are low from the beginning: there is no pulse."""
    port = free_port()
    with Machine(f'telnet:127.0.0.1:{port},server,nowait') as one, Machine('telnet:127.0.0.1:%d' % port) as two:
        two.write(MCR, RTS)
        assert one.until(MSR, 0xf0, CTS) == CTS | D_CTS
        assert two.read(MSR) == 0


def without_telnet_lines_tell_of_the_peer_alone():
    path, port = os.path.join(folder, 'plain'), free_port()
    for server, client in ((f'unix:{path},server,nowait', f'unix:{path}'),
                           (f'tcp:127.0.0.1:{port},server,nowait', f'tcp:127.0.0.1:{port}')):
        with Machine(server) as one:
            assert one.read(MSR) == 0
            with Machine(client) as two:
                assert one.until(MSR, 0xf0, USUAL) == USUAL | D_CTS | D_DSR | D_DCD
                assert two.read(MSR) & 0xf0 == USUAL
                one.write(MCR, OUT2 | DTR | RTS)
                one.write(MCR, OUT2)
                one.frame(1, 3)
                two.frame(1, 3)
                one.send(b'x')
                assert two.receive(1) == b'x' and two.read(MSR) & 0xf0 == USUAL
                one.vm.close()
                assert two.until(MSR, 0xf0, 0) & 0x0f == D_CTS | D_DSR | D_DCD
    with Machine(f'unix:{path},server,nowait') as one, Machine(f'unix:{path}') as two:
        one.until(MSR, 0xf0, USUAL)
        two.vm.close()
        assert one.until(MSR, 0xf0, 0) & 0x0f == D_CTS | D_DSR | D_DCD


def a_client_has_the_port():
    port = free_port()
    with Machine(f'telnet:127.0.0.1:{port},server,nowait') as m:
        m.frame(1, 3)
        for _ in range(2):
            m.write(MCR, OUT2 | DTR)
            peer = Peer(socket.create_connection(('127.0.0.1', port)))
            peer.hears((107, DSR | DCD))
            assert (DO, COM) in peer.verbs
            peer.send(com(5, 8) + com(5, 12) + com(10, 16) + com(11, 255))
            peer.hears((105, 8), (105, 12), (110, 16), (111, 255))
            assert m.until(MSR, 0xf0, DSR | DCD) & 0x0f == D_DSR | D_DCD, 'CTS was up for a moment'
            peer.send(com(5, 11) + b'data')
            m.until(MSR, 0xf0, USUAL)
            assert m.receive(4) == b'data'
            m.write(MCR, OUT2 | RTS)
            peer.hears((107, CTS | D_CTS | D_DSR | D_DCD))
            peer.send(com(1, 0, 0, 0, 0) + com(2, 0) + com(1, 0, 0, 0x25, 0x80) + com(2, 7) + com(3, 3) + com(4, 2) + com(0))
            peer.hears((101, 0, 1, 0xc2, 0), (102, 8), (101, 0, 0, 0x25, 0x80), (102, 7), (103, 3), (104, 2), b'\x64Vitrine')
            m.write(LCR, 3 | BREAK)
            peer.hears((106, 16))
            m.write(LCR, 3)
            peer.send(com(5, 5) + com(5, 6))
            m.until(LSR, 0x10, 0x10)
            assert m.read(DATA) == 0
            peer.send(com(8))
            peer.send(com(0))
            peer.hears(b'\x64Vitrine')
            m.send(b'held')
            m.write(MCR, OUT2 | DTR)  # lines are not
            peer.wait(lambda: any(h[0] == 107 and h[1] & 0xf0 == DSR | DCD for h in peer.heard))
            assert peer.plain == b''
            peer.send(com(9))
            assert peer.reads(4) == b'held'
            peer.socket.close()
            m.until(MSR, 0xf0, 0)


def a_client_may_ask_for_hardware_flow_control():
    port = free_port()
    with Machine(f'telnet:127.0.0.1:{port},server,nowait') as m:
        m.frame(1, 3)
        m.write(MCR, OUT2)
        peer = Peer(socket.create_connection(('127.0.0.1', port)))
        peer.hears((107, 0))
        peer.send(com(5, 3))
        peer.hears((105, 3))
        peer.send(b'waits')
        for _ in range(200):
            assert m.read(LSR) & 1 == 0
        m.write(MCR, OUT2 | RTS)
        assert m.receive(5) == b'waits'


def a_device_server_has_the_line():
    server = socket.create_server(('127.0.0.1', 0))
    with Machine('telnet:127.0.0.1:%d' % server.getsockname()[1]) as m:
        connection, _ = server.accept()
        peer = Peer(connection)
        m.frame(12, 0x1a)  # 9600 7E1
        m.write(MCR, OUT2 | DTR)
        peer.hears((5, 8), (5, 12), (10, 16), (11, 255), (5, 1), (1, 0, 0, 0x25, 0x80), (2, 7), (3, 3))
        assert (WILL, COM) in peer.verbs
        peer.send(com(107, CTS | DSR))
        m.until(MSR, 0xf0, CTS | DSR)
        for state, lines, deltas in ((CTS | DSR | RI, CTS | DSR | RI, 0), (CTS | DSR | D_RI, CTS | DSR, D_RI),
                                     (CTS | DSR | D_RI, CTS | DSR, D_RI), (DSR | DCD | D_DCD | D_CTS, DSR | DCD, D_DCD | D_CTS),
                                     (DSR | DCD | D_DCD, DSR | DCD, D_DCD)):
            peer.send(com(107, state) + b'.')
            assert m.receive(1) == b'.'
            assert m.read(MSR) == lines | deltas, (state, lines, deltas)
        m.frame(1, 3)
        peer.hears((1, 0, 1, 0xc2, 0), (2, 8), (3, 1))
        m.write(MCR, OUT2 | RTS)
        peer.hears((5, 9), (5, 11))
        m.write(LCR, 3 | BREAK)
        peer.hears((5, 5))
        m.write(LCR, 3)
        peer.hears((5, 6))
        peer.send(com(106, 16))
        m.until(LSR, 0x10, 0x10)
        assert m.read(DATA) == 0
        peer.send(com(108) + com(100))
        peer.hears(b'\0Vitrine')
        m.send(b'later')
        peer.send(com(100))
        peer.hears(b'\0Vitrine')
        assert peer.plain == b''
        peer.send(com(109))
        assert peer.reads(5) == b'later'
        connection.close()
        m.until(MSR, 0xf0, 0)


def who_refuses_has_a_plain_line():
    port, server = free_port(), socket.create_server(('127.0.0.1', 0))
    with Machine(f'telnet:127.0.0.1:{port},server,nowait') as m:
        m.frame(1, 3)
        for agrees in (False, None):  # None: says nothing at all
            connection = socket.create_connection(('127.0.0.1', port))
            peer = Peer(connection, agrees)
            if agrees is None:
                connection.sendall(b'x')
                assert m.receive(1) == b'x'
            else:
                peer.wait(lambda: (DO, COM) in peer.verbs)
            m.until(MSR, 0xf0, USUAL)
            m.write(MCR, OUT2)
            m.write(MCR, OUT2 | DTR | RTS)
            m.send(b'y')
            assert peer.reads(1) == b'y' and not peer.heard
            connection.close()
            m.until(MSR, 0xf0, 0)
        connection = socket.create_connection(('127.0.0.1', port))
        m.until(MSR, 0xf0, USUAL)  # who is silent is there all the same, after a moment
    with Machine('telnet:127.0.0.1:%d' % server.getsockname()[1]) as m:
        connection, _ = server.accept()
        peer = Peer(connection, False)
        peer.wait(lambda: (WILL, COM) in peer.verbs)
        m.until(MSR, 0xf0, USUAL)
        m.write(LCR, 3 | BREAK)
        peer.wait(lambda: (243,) in peer.verbs)  # telnet's own break
        assert not peer.heard


def half_a_command_outlives_a_load():
    port, disk = free_port(), os.path.join(folder, 'snapshots.qcow2')
    assert os.system(f'{OUT}/vitrine image create -q -f qcow2 {disk} 4M') == 0
    with Machine(f'telnet:127.0.0.1:{port},server,nowait', '-hda', disk) as m:
        m.frame(1, 3)
        m.write(MCR, OUT2 | DTR | RTS)
        peer = Peer(socket.create_connection(('127.0.0.1', port)))
        peer.hears((107, USUAL))
        peer.send(com(5, 8) + com(5, 11))
        m.until(MSR, 0xf0, USUAL)
        peer.send(com(5, 12)[:4])
        m.vm.hmp('savevm one')
        peer.send(com(5, 12)[4:] + com(5, 9)[:5])
        m.until(MSR, 0xf0, DSR | DCD)
        m.write(MCR, OUT2)
        peer.hears((107, D_CTS | D_DSR | D_DCD))
        answer = m.vm.hmp('loadvm one')
        assert not answer.strip(), answer
        peer.hears((107, USUAL | D_CTS | D_DSR | D_DCD))  # the lines of the guest as they were
        assert m.read(MSR) & 0xf0 == DSR | DCD, 'the lines of the peer are those of now'
        peer.send(com(5, 9)[5:] + b'z')
        assert m.receive(1) == b'z' and m.read(MSR) & 0xf0 == 0


try:
    tap.run(two_machines_are_a_null_modem, a_chardev_is_a_null_modem_too, a_guest_that_was_not_started_is_silent,
            without_telnet_lines_tell_of_the_peer_alone, a_client_has_the_port, a_client_may_ask_for_hardware_flow_control,
            a_device_server_has_the_line, who_refuses_has_a_plain_line, half_a_command_outlives_a_load)
finally:
    shutil.rmtree(folder, ignore_errors=True)
