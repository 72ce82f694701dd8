#!/usr/bin/env python3
"""FreeDOS from floppies of three sizes: prompts, commands, memory managers."""
import os
import subprocess
import tempfile

import guest
from tests.lib.vm import program


def freedos_720k(engine):
    with guest.Guest(engine, '-fda', guest.image('freedos722.img')) as vm:
        vm.wait_text('Welcome to FreeDOS')
        vm.wait_text('A:\\>')
        vm.command('ver', 'FreeCom version')
        vm.command('dir', 'bytes free')


def freedos_13(engine):
    with guest.Guest(engine, '-fda', guest.image('freedos13.img')) as vm:
        vm.wait_text('English')
        vm.key('ret')
        vm.wait_text('Do you want to proceed')
        vm.type('n\n')
        vm.wait_text('A:\\>')
        vm.command('ver', 'FreeCom version')


def freedos_360k(engine):
    with guest.Guest(engine, '-fda', guest.image('freedos-360k.img')) as vm:
        vm.wait_text('A:\\>')
        vm.command('dir', 'bytes free')


def odin_himem_and_mouse(engine):
    with guest.Guest(engine, '-fda', guest.image('freedos-odin.img')) as vm:
        vm.wait_text('3')
        vm.type('3\n')
        vm.wait_text('CuteMouse')
        vm.wait_text('A:\\>')
        vm.command('mem', 'Extended')


def odin_286_xms(engine):
    with guest.Guest(engine, '-fda', guest.image('freedos-odin.img')) as vm:
        vm.wait_text('2')
        vm.type('2\n')
        vm.wait_text('A:\\>')
        vm.command('mem', 'Extended')


def a_folder_of_the_host_is_drive_c(engine):
    """Its files are read, also one with a long name; what is written is seen by the guest alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, 'sub folder'))
        for name, text in (('HELLO.TXT', 'greetings from outside'), ('sub folder/a long name.text', 'further down')):
            with open(os.path.join(folder, name), 'w') as file:
                file.write(text + '\r\n')
        with guest.Guest(engine, '-fda', guest.image('freedos722.img'), '-hda', f'fat:{folder}') as vm:
            vm.wait_text('A:\\>')
            vm.command('type c:\\hello.txt', 'greetings from outside')
            vm.command('type c:\\subfol~1\\alongn~1.tex', 'further down')
            vm.command('echo written inside >c:\\new.txt', 'A:\\>')
            vm.command('type c:\\new.txt', 'written inside')
            vm.command('dir c:', 'NEW')
        assert sorted(os.listdir(folder)) == ['HELLO.TXT', 'sub folder']


def freedos_from_an_imd_image(engine):
    with tempfile.TemporaryDirectory() as folder:
        disk = os.path.join(folder, 'boot.imd')
        subprocess.run([program(), 'image', 'convert', '-q', '-O', 'imd', guest.image('freedos722.img'), disk], check=True, timeout=60)
        with guest.Guest(engine, '-fda', disk) as vm:
            vm.wait_text('A:\\>')
            vm.command('dir', 'bytes free')


guest.cases(a_folder_of_the_host_is_drive_c, freedos_from_an_imd_image, freedos_720k, freedos_13, freedos_360k, odin_himem_and_mouse, odin_286_xms)
