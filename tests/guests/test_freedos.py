#!/usr/bin/env python3
"""FreeDOS from floppies of three sizes: prompts, commands, memory managers."""
import guest


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


guest.cases(freedos_720k, freedos_13, freedos_360k, odin_himem_and_mouse, odin_286_xms)
