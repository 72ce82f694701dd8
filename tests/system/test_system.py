#!/usr/bin/env python3
"""Guest programs for what a processor's manual promises to systems, under every engine.

Each *.asm is a ROM (see sys.inc) that checks itself and prints TAP on the debug port. Run with the
name of a program and an engine to see its lines.
"""
import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, ROOT)
from tests.lib.vm import engines  # noqa: E402

OUT = os.path.abspath(os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release')))
LIMIT = 120  # seconds; a program takes less than one


def run(image, engine):
    """The program's lines, and what is wrong with them ('' when nothing)."""
    with tempfile.TemporaryDirectory() as folder:
        lines = os.path.join(folder, 'lines')
        # Time by instructions: on a busy host an NMI that is to end a HLT comes before it, and HLT never ends then. `machine`
        # wants the host's time, in which a repeated instruction takes some, `ticks` that it is slept through.
        counted = engine != 'kvm' and not image.endswith(('/machine.bin', '/ticks.bin'))
        time = ['-icount', 'shift=3'] if counted else []
        command = [os.path.join(OUT, 'vitrine'), 'run', '-bios', image, '-display', 'none', '-accel', engine,
                   '-debugcon', f'file:{lines}', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', *time]
        wrong = ''
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=LIMIT, check=False)
            if done.returncode != 1:
                wrong = f'ended with status {done.returncode}: {done.stdout.decode(errors="replace")[-300:]}'
        except subprocess.TimeoutExpired:
            wrong = 'did not end'
        try:
            with open(lines, encoding='latin-1') as file:
                text = file.read().splitlines()
        except OSError:
            return [], wrong or 'said nothing'
    plan = [line for line in text if line.startswith('1..')]
    passed = sum(line.startswith('ok ') for line in text)
    if not plan or plan[0] != f'1..{passed}':
        wrong = wrong or 'not all of its checks passed'
    return text, wrong


def main():
    images = sorted(glob.glob(os.path.join(OUT, 'tests', 'system', '*.bin')))
    if len(sys.argv) > 1:
        text, wrong = run(os.path.join(OUT, 'tests', 'system', sys.argv[1] + '.bin'), sys.argv[2])
        print('\n'.join(text), wrong, sep='\n')
        return
    failed, number = 0, 0
    if not images:
        print('not ok 1 - no programs were built')
        failed = 1
    names = engines()
    assert 'interpreter' in names, names
    for image in images:
        for engine in names:
            number += 1
            text, wrong = run(image, engine)
            name = f'{os.path.basename(image)[:-4]} under {engine}'
            if wrong:
                failed += 1
                for line in [wrong] + [line for line in text if not line.startswith('ok ')]:
                    print('#', line)
                print(f'not ok {number} - {name}')
            else:
                print(f'ok {number} - {name}: {sum(line.startswith("ok ") for line in text)} checks')
            sys.stdout.flush()
    print(f'1..{number}')
    sys.exit(1 if failed else 0)


main()
