#!/usr/bin/env python3
"""One tone in the host's own time, 60 s of it with VITRINE_LONG, while others keep the host busy: nothing is missing."""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import listen
from tests.lib import tap
from tests.lib.vm import Vm

SECONDS = 60 if os.environ.get('VITRINE_LONG') else 15
TONE, TICK = 44100 / 64, 65536 / 1193182
folder = tempfile.mkdtemp(prefix='vitrine-minute-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)


def diskette(ticks, busy=False):
    path = os.path.join(folder, 'minute.img')
    with open(listen.OUT + '/tests/sound/minute.bin', 'rb') as file:
        data = bytearray(file.read())
    data[507] = busy
    data[508:510] = ticks.to_bytes(2, 'little')
    with open(path, 'wb') as file:
        file.write(data)
    return path


def machine(wav, ticks, accel, busy=False):
    return ['-m', '4', '-fda', diskette(ticks, busy), '-boot', 'a', '-audiodev', 'wav,path=' + wav, '-no-reboot', '-accel', accel,
            '-device', 'isa-debug-exit,iobase=0xf4,iosize=1']


def the_tone(wav, seconds):
    sound = listen.Sound(wav)
    start, end = max(sound.stretches(), key=lambda s: s[1] - s[0])
    # The guest counts its ticks; on a host that is too busy it may miss some, and plays longer.
    assert (end - start) / sound.hz > seconds - 0.06, ((end - start) / sound.hz, seconds)
    gap = sound.longest_quiet(start + 96, end - 96)
    assert gap < 0.001, f'a gap of {gap * 1000:.1f} ms'
    # A piece that is lost without a trace of silence shifts the phase of what follows.
    for at in range(start + 4800, end - 48000, 5 * sound.hz):
        pitch = sound.pitch(TONE, at, 24000)
        assert abs(pitch / TONE - 1) < 0.0001, f'{pitch:.3f} Hz at {at / sound.hz:.1f} s'
    return sound


def skip_when_overloaded(programs):
    """Where that many want to run for each processor, there is no time that a guest could make up for."""
    if os.getloadavg()[0] > programs * os.cpu_count():
        raise tap.Skip(f'the host is overloaded: {os.getloadavg()[0]} programs want to run')


def a_minute_on_a_busy_host():
    skip_when_overloaded(4)
    wav = os.path.join(folder, 'minute.wav')
    ticks = round(SECONDS / TICK)
    busy = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(2)]
    try:
        subprocess.run([listen.OUT + '/vitrine', 'run', '-display', 'none', *machine(wav, ticks, 'auto')], timeout=400, check=False)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    the_tone(wav, ticks * TICK)


def stands_still(busy):
    skip_when_overloaded(2 if busy else 4)
    wav = os.path.join(folder, 'still.wav')
    with Vm(*machine(wav, 182, 'translator', busy)) as vm:
        time.sleep(1)
        while vm.process.poll() is None:
            vm.process.send_signal(signal.SIGSTOP)
            time.sleep(0.25)
            vm.process.send_signal(signal.SIGCONT)
            time.sleep(1)
        vm.wait(60)
    the_tone(wav, 182 * TICK)


def a_host_that_stands_still_while_the_guest_halts():
    """No tick and no interrupt of the card is lost when the program gets no processor for longer than they are apart."""
    stands_still(False)


def a_host_that_stands_still_while_the_guest_works():
    stands_still(True)


def a_pause_leaves_no_trace():
    """The file is in the guest's time: a machine that stood still three times has played the same."""
    wav = os.path.join(folder, 'pause.wav')
    with Vm(*machine(wav, 91, 'auto')) as vm:
        for _ in range(3):
            time.sleep(1)
            vm.qmp('stop')
            time.sleep(1)
            vm.qmp('cont')
        vm.wait(60)
    the_tone(wav, 91 * TICK)


tap.run(a_minute_on_a_busy_host, a_host_that_stands_still_while_the_guest_halts, a_host_that_stands_still_while_the_guest_works,
        a_pause_leaves_no_trace)
