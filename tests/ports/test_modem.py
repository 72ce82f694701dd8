#!/usr/bin/env python3
"""Modems over TCP: a guest dials a server, answers a caller, two machines call each other and move a file; boards and ports that speak telnet."""
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from tests.lib import tap  # noqa: E402
from tests.lib.vm import Vm  # noqa: E402

OUT = os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release'))
PATIENCE = 60
folder = tempfile.mkdtemp(prefix='vitrine-modem-')
DROP_DTR, LINES, END = b'\x04', b'\x05', b'\x06'
CTS, DSR, RI, DCD = 1, 2, 4, 8
SB, SE, WILL, WONT, DO, DONT, IAC = 250, 240, 251, 252, 253, 254, 255
BINARY, ECHO, SGA, TTYPE, NAWS = 0, 1, 3, 24, 31
CALLED = bytes((IAC, WILL, ECHO, IAC, WILL, SGA, IAC, WILL, BINARY, IAC, DO, BINARY))
CALLER = bytes((IAC, DO, SGA, IAC, WILL, BINARY, IAC, DO, BINARY))
EVERY = bytes(range(256)) + bytes(reversed(range(256)))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def escaped(data):
    return data.replace(b'\xff', b'\xff\xff')


def exactly(peer, size):
    """So many bytes from a socket."""
    peer.settimeout(PATIENCE)
    data = b''
    while len(data) < size:
        piece = peer.recv(size - len(data))
        assert piece, f'closed after {data!r}'
        data += piece
    return data


class Terminal:
    """A machine whose COM1 leads here and whose COM2 is a modem."""

    def __init__(self, modem):
        own = tempfile.mkdtemp(dir=folder)
        path, disk = os.path.join(own, 'com1'), os.path.join(own, 'disk')
        shutil.copy(OUT + '/tests/ports/comlink.bin', disk)
        self.vm = Vm('-m', '4', '-fda', disk, '-boot', 'a', '-accel', 'interpreter', '-no-reboot', '-S',
                     '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-serial', f'unix:{path},server,nowait', '-serial', modem)
        self.socket, self.data = socket.socket(socket.AF_UNIX), b''
        self.socket.connect(path)
        self.vm.qmp('cont')  # a '!' said to nobody would be lost
        self.wait(b'!')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.vm.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size, timeout=PATIENCE):
        """So many bytes, however long it takes while some come."""
        self.socket.settimeout(timeout)
        while len(self.data) < size:
            piece = self.socket.recv(65536)
            assert piece, 'the machine has gone'
            self.data += piece
        data, self.data = self.data[:size], self.data[size:]
        return data

    def wait(self, text, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while text not in self.data:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = self.socket.recv(65536)
            except socket.timeout:
                raise AssertionError(f'{text!r} did not come, but {self.data!r}') from None
            assert piece, 'the machine has gone'
            self.data += piece
        at = self.data.index(text) + len(text)
        before, self.data = self.data[:at], self.data[at:]
        return before

    def command(self, text, answer=b'\r\nOK\r\n'):
        self.send(text + b'\r')
        return self.wait(answer)

    def lines(self):
        self.send(LINES)
        return int(self.read(2), 16) >> 4


def dials_a_server():
    server = socket.create_server(('127.0.0.1', 0))
    with Terminal('modem') as t:
        t.command(b'ATE0')
        assert t.lines() == CTS | DSR, t.lines()
        t.send(b'ATDT127.0.0.1:%d\r' % server.getsockname()[1])
        client, _ = server.accept()
        t.wait(b'\r\nCONNECT 115200\r\n')
        assert t.lines() == CTS | DSR | DCD
        t.send(b'hello server')
        client.settimeout(PATIENCE)
        got = b''
        while len(got) < 12:
            got += client.recv(100)
        assert got == b'hello server', got
        client.sendall(b'hello guest')
        t.wait(b'hello guest')
        t.send(DROP_DTR)
        t.wait(b'\r\nNO CARRIER\r\n')
        assert client.recv(100) == b'', 'the line is still open'
        assert t.lines() == CTS | DSR


def escape_and_hang_up():
    server = socket.create_server(('127.0.0.1', 0))
    with Terminal('modem') as t:
        t.command(b'ATE0S12=25')
        t.send(b'ATDT127.0.0.1:%d\r' % server.getsockname()[1])
        client, _ = server.accept()
        t.wait(b'CONNECT')
        time.sleep(1)
        t.send(b'+++')
        t.wait(b'\r\nOK\r\n')
        t.command(b'ATH')
        client.settimeout(PATIENCE)
        data = b''
        while True:
            piece = client.recv(100)
            if not piece:
                break
            data += piece
        assert data == b'+++', data


def nobody_there():
    with Terminal('modem') as t:
        t.command(b'ATE0')
        t.command(b'ATDT127.0.0.1:%d' % free_port(), b'\r\nBUSY\r\n')


def a_phone_book():
    server = socket.create_server(('127.0.0.1', 0))
    book = os.path.join(folder, 'book')
    with open(book, 'w') as file:
        file.write(f'# friends\n555-1234 127.0.0.1:{server.getsockname()[1]}\n')
    with Terminal('modem:book=' + book) as t:
        t.send(b'ATDT 555-1234\r')
        client, _ = server.accept()
        t.wait(b'CONNECT')
        client.close()
        t.wait(b'\r\nNO CARRIER\r\n')


def answers_a_caller():
    port = free_port()
    with Terminal(f'modem:listen=127.0.0.1:{port}') as t:
        t.command(b'ATE0')
        client = socket.create_connection(('127.0.0.1', port))
        t.wait(b'\r\nRING\r\n')
        assert t.lines() & RI
        t.send(b'ATA\r')
        t.wait(b'CONNECT')
        client.sendall(b'x' * 5000)
        t.wait(b'\r\n')
        assert t.read(5000) == b'x' * 5000
        second = socket.create_connection(('127.0.0.1', port))
        second.settimeout(PATIENCE)
        assert second.recv(10) == b'', 'engaged'
        client.close()
        t.wait(b'\r\nNO CARRIER\r\n')


def two_machines_move_a_file():
    port, data = free_port(), random.Random(5).randbytes(40000)
    data = bytes(b for b in data if b > 6)
    with Terminal(f'modem:listen=127.0.0.1:{port}') as a, Terminal('modem') as b:
        a.command(b'ATE0S0=1')
        b.command(b'ATE0')
        b.send(b'ATDT127.0.0.1:%d\r' % port)
        b.wait(b'CONNECT 115200\r\n')
        a.wait(b'CONNECT 115200\r\n')
        for source, sink in ((a, b), (b, a)):
            thread = threading.Thread(target=source.send, args=(data,))
            thread.start()
            assert sink.read(len(data), 2 * PATIENCE) == data, 'the file has changed'
            thread.join()


def a_board_speaks_telnet():
    server = socket.create_server(('127.0.0.1', 0))
    with Terminal('modem') as t:
        t.command(b'ATE0')
        t.send(b'ATDT127.0.0.1:%d\r' % server.getsockname()[1])
        board, _ = server.accept()
        t.wait(b'CONNECT 115200\r\n')
        board.sendall(b'Welcome\r\n' + bytes((IAC, WILL, ECHO, IAC, DO, TTYPE, IAC, DO, NAWS, IAC, DO, BINARY)))
        answers = CALLER + bytes((IAC, DO, ECHO, IAC, WONT, TTYPE, IAC, WONT, NAWS))
        got = exactly(board, len(answers))
        assert got == answers, got
        board.sendall(bytes((IAC, WILL, BINARY, IAC, WILL, SGA, IAC, SB, TTYPE, 1, IAC, SE)) + escaped(EVERY))
        got = t.read(9 + len(EVERY))
        assert got == b'Welcome\r\n' + EVERY, got
        data = bytes(b for b in EVERY if not 4 <= b <= 6)  # the guest keeps those
        t.send(data)
        got = exactly(board, len(escaped(data)))
        assert got == escaped(data), got


def a_plain_board_stays_plain():
    server = socket.create_server(('127.0.0.1', 0))
    with Terminal('modem') as t:
        t.command(b'ATE0')
        t.send(b'ATDT127.0.0.1:%d\r' % server.getsockname()[1])
        board, _ = server.accept()
        t.wait(b'CONNECT 115200\r\n')
        data = EVERY + CALLED
        board.sendall(data)
        got = t.read(len(data))
        assert got == data, got
        t.send(b'\r\xff\xfb\x01\r')
        got = exactly(board, 5)
        assert got == b'\r\xff\xfb\x01\r', got


def the_book_and_the_option_say_telnet():
    server = socket.create_server(('127.0.0.1', 0))
    book = os.path.join(folder, 'telnet-book')
    place = f'127.0.0.1:{server.getsockname()[1]}'
    with open(book, 'w') as file:
        file.write(f'1 {place} telnet=off\n2 {place} telnet=on\n3 {place} # as for all\n')
    for mode, speaks in (('on', (False, True, True)), ('off', (False, True, False))):
        with Terminal(f'modem:book={book},telnet={mode}') as t:
            t.command(b'ATE0')
            for number, telnet in zip((b'1', b'2', b'3'), speaks):
                t.send(b'ATDT' + number + b'\r')
                board, _ = server.accept()
                t.wait(b'CONNECT 115200\r\n')
                if telnet:
                    assert exactly(board, len(CALLER)) == CALLER
                board.sendall(CALLED + b'.')
                got = t.wait(b'.')
                assert got == (b'.' if telnet else CALLED + b'.'), got
                board.close()
                t.wait(b'\r\nNO CARRIER\r\n')


def a_caller_is_offered_telnet():
    port = free_port()
    with Terminal(f'modem:listen=127.0.0.1:{port},telnet=on') as t:
        t.command(b'ATE0')
        client = socket.create_connection(('127.0.0.1', port))
        t.wait(b'\r\nRING\r\n')
        t.send(b'ATA\r')
        assert exactly(client, len(CALLED)) == CALLED
        client.sendall(b'enter\r\0')
        t.wait(b'CONNECT 115200\r\n')
        assert t.read(6) == b'enter\r'


def a_port_is_a_telnet_server():
    port = free_port()
    with Terminal(f'telnet:127.0.0.1:{port},server,nowait') as t:
        for agrees in (True, False):  # the second client after the first has gone
            client = socket.create_connection(('127.0.0.1', port))
            assert exactly(client, len(CALLED) + 3) == CALLED + bytes((IAC, DO, 44))  # a com port is offered too
            if agrees:
                client.sendall(bytes((IAC, DO, ECHO, IAC, DO, SGA, IAC, DO, BINARY, IAC, WILL, BINARY)) + escaped(EVERY))
                got = t.read(len(EVERY))
                assert got == EVERY, got
            else:
                client.sendall(bytes((IAC, DONT, BINARY, IAC, WONT, BINARY, IAC, WILL, NAWS)) + b'root\r\0x')
                assert exactly(client, 3) == bytes((IAC, DONT, NAWS))
                got = t.read(6)
                assert got == b'root\rx', got
            t.send(b'a\xffb\rc\r\n')
            answer = b'a\xff\xffb\rc\r\n' if agrees else b'a\xff\xffb\r\0c\r\n'
            got = exactly(client, len(answer))
            assert got == answer, got
            client.close()


try:
    tap.run(dials_a_server, escape_and_hang_up, nobody_there, a_phone_book, answers_a_caller, two_machines_move_a_file,
            a_board_speaks_telnet, a_plain_board_stays_plain, the_book_and_the_option_say_telnet, a_caller_is_offered_telnet,
            a_port_is_a_telnet_server)
finally:
    shutil.rmtree(folder, ignore_errors=True)
