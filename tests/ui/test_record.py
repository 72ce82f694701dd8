#!/usr/bin/env python3
"""Recordings are decoded again: length in guest time, even frames, right colours, sound in its place."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import picture, tap  # noqa: E402
from tests.lib.desk import BLUE, RED, Desk, Shown  # noqa: E402
from tests.lib.vm import QmpError, Vm, program  # noqa: E402

FPS = 30


def looked_at(path, *probes):
    """What tool_video says of a file: name to value or values."""
    tool = program('tests/ui/tool_video')
    done = subprocess.run([tool, path, *probes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = {}
    for line in done.stdout.splitlines():
        name, *values = line.split()
        if name == 'pixel':
            said[values[0]] = tuple(int(v) for v in values[1:])
        else:
            numbers = [float(v) for v in values]
            said[name] = numbers[0] if len(numbers) == 1 else tuple(numbers)
    return said


def near(colour, wanted, by=6):
    return all(abs(a - b) <= by for a, b in zip(colour, wanted))


def recorded(vm, seconds):
    """Waits until the recording is that long."""
    end = time.monotonic() + seconds + 60
    while True:
        status = vm.qmp('x-query-record')
        assert status['running'] or not status['filename'], vm.log()
        if status['seconds'] >= seconds:
            return status['seconds']
        assert time.monotonic() < end, status
        time.sleep(0.05)


def settled(vm):
    """What is on its way to the file may take a busy host a while; then the length stays."""
    end = time.monotonic() + 60
    before = None
    while True:
        seconds = vm.qmp('x-query-record')['seconds']
        if seconds == before:
            return seconds
        assert time.monotonic() < end, 'the recording of a paused machine grows'
        before = seconds
        time.sleep(0.3)


def refused(vm, **arguments):
    try:
        vm.qmp('x-record-start', **arguments)
    except QmpError as error:
        return str(error)
    raise AssertionError(f'{arguments} was taken')


def fake(*arguments):
    return Vm(*arguments, binary=program('tests/ui/tool_fake'))


def ten_seconds_have_the_right_length_picture_and_sound():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(program('tests/ui'), 'beep.bin'), 'rb') as code, open(os.path.join(folder, 'a.img'), 'wb') as floppy:
            floppy.write(code.read().ljust(1474560, b'\0'))
        path = os.path.join(folder, 'ten.mkv')
        with Vm('-m', 16, '-fda', floppy.name, '-snapshot', '-audiodev', f'wav,path={folder}/a.wav') as vm:
            vm.wait_picture(lambda now: now.pixel(300, 200) == (0, 0, 170))
            vm.qmp('x-record-start', filename=path)
            before = recorded(vm, 3)
            vm.type('x')
            vm.wait_picture(lambda now: now.pixel(300, 200) == (170, 0, 0))
            after = recorded(vm, 0)
            recorded(vm, 6)
            vm.qmp('stop')
            vm.event('STOP')
            still = settled(vm)
            time.sleep(1.5)  # what would be recorded
            assert vm.qmp('x-query-record')['seconds'] == still, 'a pause was recorded'
            vm.qmp('cont')
            recorded(vm, 10)
            done = vm.qmp('x-record-stop')
            assert not done['running']
        frames = done['frames']
        seen = looked_at(path, '10:300:200', f'{frames - 1}:300:200', f'{frames - 1}:2:2')
    assert seen['frames'] == frames and seen['rate'] == FPS, seen
    # a loaded host may leave frames out; then there is a gap, and the length is right all the same
    assert seen['uneven'] <= 5 and (seen['uneven'] or abs(seen['length'] - frames / FPS) < 0.15), (seen, frames)
    assert 10 <= seen['length'] < 14, seen
    assert seen['size'] == (720, 400) and abs(seen['shape'] - 4 / 3) < 0.01, seen
    assert near(seen['10:300:200'], (0, 0, 170)) and near(seen[f'{frames - 1}:300:200'], (170, 0, 0)), seen
    assert near(seen[f'{frames - 1}:2:2'], (170, 0, 0)), seen
    assert abs(seen['sound'] - seen['length']) < 0.15 and seen['loudest'] > 0.05, seen
    assert before - 0.1 <= seen['begins'] <= after + 0.2, (before, seen['begins'], after)


def pictures_in_a_sequence_are_exact():
    with tempfile.TemporaryDirectory() as folder, fake() as vm:
        vm.qmp('x-record-start', filename=f'{folder}/a.png', fps=10)
        recorded(vm, 0.5)
        done = vm.qmp('x-record-stop')
        names = sorted(os.listdir(folder))
        assert names == [f'a-{n:05}.png' for n in range(1, done['frames'] + 1)], names
        first, shot = picture.read(os.path.join(folder, names[0])), vm.picture()
        assert (first.width, first.height, first.rgb) == (shot.width, shot.height, shot.rgb)


def size_and_rate_can_be_chosen():
    with tempfile.TemporaryDirectory() as folder, fake('-record', f'{folder}/a.mp4,fps=50,size=320x320') as vm:
        recorded(vm, 1)
        assert vm.quit() == 0
        seen = looked_at(f'{folder}/a.mp4', '5:40:160', '5:280:160', '5:40:10', '5:40:310')
        assert seen['size'] == (320, 320) and seen['rate'] == 50 and seen['uneven'] == 0, seen
        assert abs(seen['length'] - seen['frames'] / 50) < 0.1 and 1 <= seen['length'], seen
        # 4:3 within a square: black above and below.
        assert near(seen['5:40:160'], RED) and near(seen['5:280:160'], BLUE), seen
        assert near(seen['5:40:10'], (0, 0, 0)) and near(seen['5:40:310'], (0, 0, 0)), seen


def wrong_wishes_are_refused_in_words():
    with tempfile.TemporaryDirectory() as folder, fake() as vm:
        good = f'{folder}/a.mkv'
        assert '.mkv' in refused(vm, filename=f'{folder}/a.txt')
        assert '/nonexistent/a.mkv' in refused(vm, filename='/nonexistent/a.mkv')
        assert 'fps' in refused(vm, filename=good, fps=0)
        assert 'width' in refused(vm, filename=good, width=9, height=90)
        assert 'height' in refused(vm, filename=good, width=90)
        assert 'too long' in refused(vm, filename='a' * 5000 + '.mkv')
        try:
            vm.qmp('x-record-stop')
            raise AssertionError('stopped what did not run')
        except QmpError as error:
            assert 'no recording' in str(error)
        vm.qmp('x-record-start', filename=good)
        assert 'already' in refused(vm, filename=f'{folder}/b.mkv')
        vm.qmp('x-record-stop')
        assert looked_at(good)['frames'] >= 1
        assert sorted(os.listdir(folder)) == ['a.mkv'], os.listdir(folder)
    for words, part in ((['/nonexistent/x.mkv'], '/nonexistent'), (['a.mkv,fps=999'], 'fps'), (['a.mkv,size=1x1'], 'size'), (['a.gif'], 'a.gif')):
        done = subprocess.run([program('tests/ui/tool_fake'), '-display', 'none', '-record', *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 1 and part in done.stderr and done.stderr.count('\n') == 1, (words, done)


def host_key_begins_and_ends_one():
    with Shown() as vm:
        vm.host('r')
        vm.until(lambda: '[recording]' in vm.title(), 'the title')
        recorded(vm, 1)
        vm.host('r')
        vm.until(lambda: '[recording]' not in vm.title() and 'saved' in vm.title(), 'the notice')
        names = [n for n in os.listdir(vm.here) if n.endswith('.mkv')]
        seen = looked_at(os.path.join(vm.here, names[0]), '3:10:10', '3:630:390')
        assert seen['frames'] >= 2 and near(seen['3:10:10'], RED) and near(seen['3:630:390'], BLUE), seen
        assert 'key 15' not in vm.screen()
        vm.qmp('x-record-start', filename=os.path.join(vm.here, 'b.mkv'))
        vm.until(lambda: '[recording]' in vm.title(), 'the title of a recording that others began')


try:
    tap.run(ten_seconds_have_the_right_length_picture_and_sound, pictures_in_a_sequence_are_exact, size_and_rate_can_be_chosen,
            wrong_wishes_are_refused_in_words, host_key_begins_and_ends_one)
finally:
    Desk.close()
