#!/usr/bin/env python3
"""Small systems on a floppy that are no DOS: paging, drops to real mode, graphics, mice, Unix on the 8086."""
import guest


def floppy(engine, name, *more, **settings):
    return guest.Guest(engine, '-fda', guest.image(name), *more, **settings)


def kolibrios(engine):
    with floppy(engine, 'kolibri.img') as vm:
        vm.wait_size(1024, 768)
        vm.looks_like('kolibri', timeout=90)
        points = vm.changed_by(lambda: vm.mouse(-100, -150))
        assert len(points) < 4000, f'moving the mouse changed {len(points)} pixels'


def prettyos(engine):
    with floppy(engine, 'prettyos.img') as vm:
        text = vm.wait_text('$>')
        for part in ('Paging:', 'FPU:', 'Local APIC:', 'FPU test: [PASSED]', 'Floppy Disk (1.44 MB)'):
            assert part in text, f'{part} is missing in:\n{text}'
        assert text.count('[OK]') >= 14, text
        vm.command('help', 'Displays this help text')


def snowdrop(engine):
    with floppy(engine, 'snowdrop.img') as vm:
        vm.wait_text('Welcome to Snowdrop OS version 31')
        vm.wait_text('[Snowdrop OS snowshell]:')
        vm.type('desktop\n')
        vm.wait_size(640, 480)
        vm.looks_like('snowdrop')
        vm.changed_by(lambda: vm.mouse(60, 40))


def michalos(engine):
    with floppy(engine, 'michalos.img') as vm:
        vm.wait_text('Thank you for trying out MichalOS')
        vm.looks_like('michalos')
        vm.type('a')
        vm.wait_text('Standard Adlib card')
        vm.key('ret')
        vm.wait_text('Please enter your name')
        vm.type('vitrine')
        vm.wait_text('vitrine')


def pdos_32(engine):
    with floppy(engine, 'pdos32.img') as vm:
        vm.wait_text('A:\\]')
        vm.command('dir', 'COMMAND.COM')


def elks(engine):
    with floppy(engine, 'elks.img') as vm:
        vm.wait_text('\n#')
        vm.command('ls /bin', 'mount')
        vm.command('cat /proc/cpuinfo; echo 6x7=`expr 6 \\* 7`', '6x7=42')


def openbsd(engine):
    with floppy(engine, 'openbsd.img') as vm:
        text = vm.wait_text('(I)nstall, (U)pgrade or (S)hell?', 180)
        assert 'fd0 at fdc0 drive 0: 1.44MB' in text, text
        assert 'npx0 at isa0' in text and 'using exception 16' in text, text
        vm.type('s\n')
        vm.wait_text('\n#')
        vm.command('ls /', 'install.md')
        vm.command('echo $((6*7))x', '42x')


def oberon(engine):
    with floppy(engine, 'oberon.img') as vm:
        vm.wait_text('OBL>')
        vm.type('c\n')
        vm.wait_size(640, 480)
        vm.looks_like('oberon', timeout=90)
        points = vm.changed_by(lambda: vm.mouse(60, 40))
        assert len(points) < 1500, f'moving the mouse changed {len(points)} pixels'


def memtest86_floppy(engine):
    """Half a pass of the small tests and no error; test_memtest.py runs whole ones."""
    with floppy(engine, 'memtest.img', memory=16) as vm:
        vm.wait_text('Memtest86+ v7')
        vm.wait_text('Test #3', 180)
        text = vm.wait_text('Errors: 0')
        assert 'Status: Testing' in text, text


guest.cases(kolibrios, prettyos, snowdrop, michalos, pdos_32, elks, openbsd, oberon, memtest86_floppy)
