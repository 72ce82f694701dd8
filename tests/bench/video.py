#!/usr/bin/env python3
"""What the display costs in vitrine and in QEMU, turn about: processor time of the whole program while a guest (video.asm) shows
pictures, as a share of one core; medians.

usage: video.py [--vitrine PATH] [--rounds N] [--seconds S]

Each row is taken in a window under Xvfb and without a window. "own work" is a machine without a display card that writes as much
to plain memory, or nothing; "display" is what the window's row takes more than that. The dots which the guest prints show that
it kept 60 frames a second. QEMU's window is SDL's, as vitrine's; both draw with SDL's software renderer, as Xvfb has no
graphics processor. QEMU's modules may lie elsewhere: QEMU_MODULE_DIR.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

WORKS = ['linear', 'still', 'planar', 'text', 'memory']  # as in video.asm
# name in the table: work, and the work that is the guest's own part (None: the planes' own work is a card's)
ROWS = {'640x480x256, full motion at 60 Hz': ('linear', 'memory'), '640x480x256, standing still': ('still', 'text'),
        'text, standing still': ('text', 'text'), '640x480x16 planes, full motion': ('planar', None)}
IMAGE_SIZE = 1474560


def assembled(vitrine, name, size):
    """A program of this folder, as make has built it beside vitrine, on a disk of that size."""
    with open(os.path.join(os.path.dirname(os.path.realpath(vitrine)), 'tests', 'bench', name + '.bin'), 'rb') as file:
        return bytearray(file.read().ljust(size, b'\0'))


def floppy(vitrine, folder, work):
    image = assembled(vitrine, 'video', IMAGE_SIZE)
    image[3] = WORKS.index(work)
    path = os.path.join(folder, f'{work}.img')
    with open(path, 'wb') as file:
        file.write(image)
    return path


def used(pid):
    """Processor seconds of all threads, from the scheduler's own account."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{thread}/schedstat', encoding='ascii') as file:
                total += int(file.read().split()[0])
        except OSError:
            pass  # it has ended just now
    return total / 1e9


def dots(process, until):
    """Counts the guest's dots until that moment."""
    count = 0
    while time.monotonic() < until:
        data = process.stdout.read()
        count += (data or b'').count(b'.')
        if data == b'':
            raise SystemExit(f'{process.args[0]} has ended')
        time.sleep(0.05)
    return count


def share(command, environment, seconds):
    """The share of a core that the program takes while its guest works; and the frames a second that the guest made."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    os.set_blocking(process.stdout.fileno(), False)
    try:
        end = time.monotonic() + 60
        while dots(process, time.monotonic() + 0.2) == 0:
            if time.monotonic() > end:
                raise SystemExit(f'the guest does not draw: {" ".join(command)}')
        dots(process, time.monotonic() + 2)
        start, begin = used(process.pid), time.monotonic()
        count = dots(process, begin + seconds)
        now = time.monotonic()
        return (used(process.pid) - start) / (now - begin), 60 * count / (now - begin)
    finally:
        process.kill()
        process.wait()


def systems(args):
    found = {'vitrine': [os.path.abspath(args.vitrine), 'run', '-accel', 'translator']}
    shown = subprocess.run(['qemu-system-i386', '-display', 'help'], capture_output=True, text=True, check=False) if shutil.which('qemu-system-i386') else None
    if shown and '\nsdl' in shown.stdout:
        found['qemu'] = ['qemu-system-i386', '-accel', 'tcg', '-nodefaults']
    else:
        print("# no QEMU with an SDL window (Debian's qemu-system-gui): vitrine alone", file=sys.stderr)
    return found


def command(system, words, image, window, card=True):
    show = ['-display', 'sdl'] if window and system == 'qemu' else [] if window else ['-display', 'none']
    show += ['-audiodev', 'none,id=mute'] if system != 'qemu' else []
    return [*words, '-m', '16', *show, '-vga', 'std' if card else 'none', '-serial', 'stdio',
            '-drive', f'if=floppy,format=raw,file={image}', '-snapshot']


def measure(args, folder, environment):
    taken = {}
    for number in range(args.rounds):
        for system, words in systems(args).items():
            for row, (work, own) in ROWS.items():
                image = floppy(args.vitrine, folder, work)
                runs = {'window': command(system, words, image, True), 'none': command(system, words, image, False)}
                if own:
                    runs['own'] = command(system, words, floppy(args.vitrine, folder, own), False, card=False)
                for kind, line in runs.items():
                    cost, rate = share(line, environment, args.seconds)
                    taken.setdefault((row, system, kind), []).append(cost)
                    print(f'# round {number + 1} {system}, {row}, {kind}: {100 * cost:.2f} % at {rate:.0f} frames/s', file=sys.stderr)
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vitrine', default='./vitrine')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=10)
    args = parser.parse_args()
    read, write = os.pipe()
    xvfb = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'], pass_fds=(write,),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number, tempfile.TemporaryDirectory(prefix='vitrine-video-') as folder:
            environment = dict(os.environ, DISPLAY=':' + number.readline().strip(), SDL_RENDER_DRIVER='software',
                               SDL_FRAMEBUFFER_ACCELERATION='0', SDL_VIDEODRIVER='x11', SDL_AUDIODRIVER='dummy')
            taken = measure(args, folder, environment)
    finally:
        xvfb.terminate()
        xvfb.wait()
    median = {key: 100 * statistics.median(values) for key, values in taken.items()}
    print('| % of a core | ' + ' | '.join(f'{system}: window | no window | own work | **display**' for system in systems(args)) + ' |')
    print('|---|' + '---:|' * 4 * len(systems(args)))
    for row in ROWS:
        cells = []
        for system in systems(args):
            window, none, own = (median.get((row, system, kind)) for kind in ('window', 'none', 'own'))
            base = own if own is not None else none
            cells += [f'{window:.2f}', f'{none:.2f}', '-' if own is None else f'{own:.2f}', f'**{window - base:.2f}**']
        print(f'| {row} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()
