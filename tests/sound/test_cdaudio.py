#!/usr/bin/env python3
"""A guest plays audio tracks of a CUE/BIN image by ATAPI commands; volumes; a track goes on after -resume."""
import array
import functools
import math
import os
import shutil
import subprocess
import tempfile
import time

import listen
from tests.lib import tap
from tests.lib.vm import Vm

SECTOR, DATA, FIRST, SECOND = 2352, 300, 188, 150
folder = tempfile.mkdtemp(prefix='vitrine-cd-')


def sine(tone, sectors):
    """Left: the tone; right: the octave above."""
    out = array.array('h')
    for i in range(sectors * SECTOR // 4):
        angle = 2 * math.pi * tone * i / 44100
        out.extend((round(20000 * math.sin(angle)), round(20000 * math.sin(2 * angle))))
    return out.tobytes()


@functools.lru_cache(None)
def disc():
    with open(os.path.join(folder, 'disc.bin'), 'wb') as file:
        file.write(bytes(DATA * SECTOR) + sine(441, FIRST) + sine(1000, SECOND))

    def msf(lba):
        return f'{lba // 4500:02}:{lba // 75 % 60:02}:{lba % 75:02}'
    path = os.path.join(folder, 'disc.cue')
    with open(path, 'w') as file:
        file.write('FILE "disc.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
                   f'  TRACK 02 AUDIO\n    INDEX 01 {msf(DATA)}\n  TRACK 03 AUDIO\n    INDEX 01 {msf(DATA + FIRST)}\n')
    return path


@functools.lru_cache(None)
def heard():
    sound = listen.play('cdaudio', '-cdrom', disc())
    found = sound.stretches()
    return sound, found[-2:]


def a_track_has_its_pitch_and_length():
    sound, (track, _) = heard()
    start, end = track
    seconds = (end - start) / sound.hz
    assert abs(seconds - FIRST / 75) < 0.004, seconds
    listen.tone_is(sound, 441, (start, start + sound.hz), least=3000)
    pitch = sound.pitch(441, start + 4800, sound.hz)
    assert abs(pitch / 441 - 1) < 0.0001, pitch
    right = sound.level(882, start + 4800, 24000, 'right')
    assert right > 3000 and sound.level(882, start + 4800, 24000) < right / 200, 'the sides are mixed up'


def without_a_gap():
    sound, (track, _) = heard()
    assert sound.longest_quiet(track[0] + 96, track[1] - 96) < 0.001


def volumes_act():
    """The drive's: a half and a quarter; the card's: mute after a second."""
    sound, (track, second) = heard()
    full = sound.level(441, track[0] + 4800, 24000)
    left, right = sound.level(1000, second[0] + 4800, 24000), sound.level(2000, second[0] + 4800, 24000, 'right')
    assert abs(left / full - 0.5) < 0.02 and abs(right / full - 0.25) < 0.02, (full, left, right)
    seconds = (second[1] - second[0]) / sound.hz
    assert 0.9 < seconds < 1.1, seconds


def plays(path):
    """Is the left channel as loud as the disc at the end of what is written so far, and has been for 0.2 s?"""
    size = 9600 * 4
    if os.path.getsize(path) < 44 + size:
        return False
    with open(path, 'rb') as file:
        file.seek(-size - os.path.getsize(path) % 4, os.SEEK_END)
        left = array.array('h', file.read(size))[0::2]
    return max(left[:480]) > 2000 and max(left[-480:]) > 2000


def a_saved_track_goes_on():
    """Saved in the middle of track 2: a fresh process plays the rest of it, to its end, at its pitch."""
    first, rest, state = (os.path.join(folder, name) for name in ('first.wav', 'rest.wav', 'middle.vsnap'))
    machine = ['-m', '4', '-fda', listen.OUT + '/tests/sound/cdaudio.bin', '-boot', 'a', '-cdrom', disc(), '-no-reboot',
               '-accel', 'interpreter', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1']
    with Vm(*machine, '-audiodev', 'wav,path=' + first) as vm:
        end = time.monotonic() + 60
        while time.monotonic() < end and not plays(first):
            time.sleep(0.05)
        vm.qmp('stop')
        vm.qmp('snapshot-save', timeout=100, tag=state)
        vm.qmp('quit')
        vm.wait()
    played = [s for s in listen.Sound(first).stretches() if listen.Sound(first).level(441, s[0], 9600) > 3000][-1]
    command = [listen.OUT + '/vitrine', 'run', '-display', 'none', *machine, '-audiodev', 'wav,path=' + rest, '-resume', state]
    done = subprocess.run(command, timeout=100, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert os.path.exists(rest), done.stdout
    sound = listen.Sound(rest)
    start, end = sound.stretches()[0]
    listen.tone_is(sound, 441, (start, end), least=3000)
    assert sound.longest_quiet(start + 96, end - 96) < 0.001
    seconds = (end - start) / sound.hz + (played[1] - played[0]) / 48000
    assert abs(seconds - FIRST / 75) < 0.05, seconds


try:
    tap.run(a_track_has_its_pitch_and_length, without_a_gap, volumes_act, a_saved_track_goes_on)
finally:
    shutil.rmtree(folder, ignore_errors=True)
