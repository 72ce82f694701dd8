#!/usr/bin/env python3
"""MIDI leaves the machine by a port of the host: a FIFO, a file and a socket get the bytes that the guest sent."""
import os
import shutil
import socket
import subprocess
import tempfile

import listen
from tests.lib import tap

SENT = bytes([0xc0, 16, 0x90, 69, 100])  # of tones.asm
SB16 = ('-device', 'sb16')  # for the other tones of the program
folder = tempfile.mkdtemp(prefix='vitrine-midi-')


def run(card, port, *more):
    command = [listen.OUT + '/vitrine', 'run', '-m', '4', '-display', 'none', '-fda', listen.OUT + '/tests/sound/tones.bin',
               '-boot', 'a', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot', '-accel', 'interpreter',
               '-icount', 'shift=5,sleep=off', '-device', f'{card},midi={port}', *more]
    done = subprocess.run(command, timeout=100, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode()


def a_fifo():
    path = os.path.join(folder, 'fifo')
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    told = run('mpu401', path, *SB16)
    data = os.read(reader, 4096)
    os.close(reader)
    assert data.endswith(SENT), (data, told)


def a_file_from_the_sound_blasters_port():
    path = os.path.join(folder, 'file')
    told = run('sb16', 'file:' + path)
    with open(path, 'rb') as file:
        assert file.read().endswith(SENT), told


def a_socket():
    path = os.path.join(folder, 'socket')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    told = run('mpu401', 'unix:' + path, *SB16)
    client, _ = listener.accept()
    client.settimeout(10)
    assert client.recv(4096).endswith(SENT), told


def a_port_that_is_not_there_is_named():
    told = run('mpu401', '/dev/snd/midiC9D9')
    assert 'midiC9D9' in told and 'midi' in told, told


try:
    tap.run(a_fifo, a_file_from_the_sound_blasters_port, a_socket, a_port_that_is_not_there_is_named)
finally:
    shutil.rmtree(folder, ignore_errors=True)
