#!/usr/bin/env python3
"""DOS programs from a hard disk: memory managers, V86 monitor, DPMI, VGA graphics, mouse, editor, debugger."""
import atexit
import os
import shutil
import subprocess
import tempfile

import guest

folder = tempfile.mkdtemp(prefix='vitrine-guests-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
unpacked = []


def disk(engine, item, *more):
    """A machine booted from the disk to C:\\> by an item of its menu."""
    if not unpacked:
        unpacked.append(guest.unpacked('dosapps.img', folder))
    vm = guest.Guest(engine, '-hda', unpacked[0], *more)
    try:
        vm.wait_text('Select from Menu')
        vm.type(item)
        vm.wait_text('READY')
        vm.wait_text('C:\\>')
    except BaseException:
        vm.close()
        raise
    return vm


def himem(engine):
    with disk(engine, '1') as vm:
        assert 'HIMEM64' in vm.screen()
        text = vm.command('mem', 'Largest executable')
        assert 'high memory area' in vm.wait_text('high memory area') and 'XMS' in text, text
        vm.command('dir', '4 file(s)')


def emm386_and_dpmi_under_it(engine):
    with disk(engine, '2') as vm:
        assert 'EMM386 2.06' in vm.screen()
        vm.command('mem', 'Total Expanded (EMS)')
        brandy(vm, 'brandy-v86')


def cd_driver(engine):
    """Item 4 loads an ATAPI driver; a disc made here is read through it."""
    if not shutil.which('xorriso'):
        raise guest.tap.Skip('xorriso is not installed')
    tree, disc = os.path.join(folder, 'tree'), os.path.join(folder, 'disc.iso')
    os.makedirs(tree, exist_ok=True)
    with open(os.path.join(tree, 'HELLO.TXT'), 'w') as file:
        file.write('Read from a compact disc.\r\n')
    subprocess.run(['xorriso', '-as', 'mkisofs', '-quiet', '-o', disc, '-V', 'VITRINE', tree], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with disk(engine, '4', '-cdrom', disc) as vm:
        vm.type('shsucdx /d:?fdcd0001,d\n' if 'SHSUCDX' not in vm.screen() else '\n')
        vm.command('type d:\\hello.txt', 'Read from a compact disc.')


def brandy(vm, name):
    vm.type('cls\n')
    vm.type('cd \\brandy\n')
    vm.command('brandy', 'bytes free')
    vm.command('PRINT PI, SQR(2), EXP(1)', '3.14159265')
    assert '1.41421356' in vm.screen() and '2.71828183' in vm.screen()
    vm.type('MODE 28:FOR I%=0 TO 200:GCOL 0,I%:CIRCLE 640,512,I%*2:NEXT\n')
    vm.wait_size(800, 600)
    vm.looks_like(name)


def brandy_basic(engine):
    """DJGPP with CWSDPMI: 32-bit protected mode with paging."""
    with disk(engine, '1') as vm:
        brandy(vm, 'brandy')


def animator(engine):
    with disk(engine, '1') as vm:
        vm.type('cd \\anim\n')
        vm.type('v\n')
        vm.wait_picture(lambda shot: shot.width == 320, 60 * guest.PATIENCE)
        vm.looks_like('animator')
        points = vm.changed_by(lambda: vm.mouse(40, 30), least=8)
        assert len(points) < 200, f'moving the mouse changed {len(points)} pixels'
        vm.mouse(button='left')
        vm.mouse(-20, 10)
        vm.mouse(button='left', down=False)


def dcmatrix(engine):
    """Rain of green digits in the rhythm of the vertical retrace; it runs until a key is pressed."""
    with disk(engine, '1') as vm:
        vm.type('dcmatrix\n')
        vm.wait_picture(lambda shot: mostly_green(shot), 60 * guest.PATIENCE, every=1)
        first = vm.screen()
        vm.wait_picture(lambda shot: vm.screen() != first, 30 * guest.PATIENCE)
        vm.key('esc')
        vm.wait_text('C:\\>')


def mostly_green(shot):
    red, green, blue = (sum(shot.rgb[channel::3]) for channel in range(3))
    return green > 4 * max(red, blue) and green > shot.width * shot.height * 5


def topbench(engine):
    with disk(engine, '1') as vm:
        vm.type('topbench\n')
        vm.wait_text('The Oldskool PC Benchmark', 120)
        vm.wait_text('Benchmarking')
        vm.key('esc')
        vm.wait_text('C:\\>')


def editor(engine):
    with disk(engine, '1') as vm:
        vm.type('edit new.txt\n')
        vm.wait_text('FreeDOS Edit')
        vm.wait_text('F1=Help')
        vm.type('Quick brown foxes')
        vm.wait_text('Quick brown foxes')
        vm.key('alt', 'f')
        vm.wait_text('Exit')


def debugger(engine):
    """Single steps through the trap flag."""
    with disk(engine, '1') as vm:
        vm.type('debug\n')
        vm.wait_text('\n-')
        for line in ('a', 'mov ax,1234', 'add al,f0', '', 't', 't'):
            vm.type(line + '\n')
        vm.wait_text('AX=1224')


guest.cases(himem, emm386_and_dpmi_under_it, cd_driver, brandy_basic, animator, dcmatrix, topbench, editor, debugger)
