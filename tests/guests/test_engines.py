#!/usr/bin/env python3
"""The choice of an engine on this host, guests that KVM drops, and states that pass between engines.

Which of it KVM takes part in depends on what `vitrine accel` finds on this host.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.guests import debian, guest  # noqa: E402
from tests.guests.linux import direct  # noqa: E402
from tests.lib import tap  # noqa: E402
from tests.lib.vm import QmpError, Vm, program  # noqa: E402


def table():
    """The lines of `vitrine accel`, and how long it took."""
    start = time.monotonic()
    done = subprocess.run([program(), 'accel'], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines(), time.monotonic() - start


def kvm_modes():
    """{mode: what the table says of it} where this host has KVM."""
    return {m[1]: m[2] for line in table()[0] if (m := re.match(r'\S+\s+kvm\s+(\S.*?)\s{2,}(.*)', line))}


def kvm_boots():
    """Can KVM run firmware and DOS here, however slowly?"""
    modes = kvm_modes()
    return all(modes.get(mode, '').startswith('right') for mode in ('real mode', 'protected mode'))


def enter(vm, command):
    """Types no faster than a slow KVM takes keys: a BIOS keeps 15, and drops what follows."""
    vm.type('cls\n')
    for end in range(4, len(command) + 4, 4):
        vm.type(command[end - 4:end])
        vm.wait_text('A:\\>' + command[:end].rstrip(), 60 * guest.PATIENCE)
    vm.type('\n')


def auto_says_what_and_why():
    lines, took = table()
    print(f'# vitrine accel took {took * 1000:.0f} ms')
    assert all(re.match(r'(ok|-)\s+(kvm|translator|interpreter)\b', line) for line in lines[:-2]), lines
    choice = re.match(r'-accel auto takes (\w+): (.+)', lines[-1])
    assert choice, lines
    good = [line.startswith('ok') for line in lines if re.match(r'\S+\s+kvm\s', line)]
    assert (choice[1] == 'kvm') == (bool(good) and all(good)), lines
    with Vm('-accel', 'auto', '-log', 'engine=info', '-S') as vm:
        assert vm.qmp('x-query-accel')['name'] == choice[1]
        reasons = [line for line in vm.log().splitlines() if f'{choice[1]}: ' in line]
        assert len(reasons) == 1 and re.search(r"(this host's KVM|no KVM)", reasons[0]), vm.log()
        print(f'# {reasons[0]}')


def kvm_that_fails_is_refused_with_advice():
    if kvm_boots():
        raise tap.Skip("this host's KVM runs firmware: -accel kvm is not refused")
    done = subprocess.run([program(), 'run', '-accel', 'kvm', '-display', 'none'], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode and 'kvm' in done.stdout and '-accel' in done.stdout, done.stdout


def freedos_under_kvm():
    if not kvm_boots():
        raise tap.Skip(f"this host's KVM cannot run firmware: {kvm_modes() or 'there is none'}")
    with Vm('-accel', 'kvm', '-m', '16', '-snapshot', '-fda', guest.image('freedos722.img')) as vm:
        vm.wait_text('A:\\>', 300 * guest.PATIENCE)
        vm.type('ver\n')
        vm.wait_text('FreeCom version', 100 * guest.PATIENCE)
        assert vm.qmp('x-query-accel')['name'] == 'kvm'


def kvm_is_whole():
    return all(text.startswith('right') for text in kvm_modes().values())


def carried_over(vm):
    """Was the guest moved from KVM to the translator, once, while it ran? Says why."""
    log = vm.log().splitlines()
    moves = [line for line in log if 'goes on under translator' in line]
    for line in moves:
        print(f'# {line}')
    assert any(line.endswith('engine: kvm') for line in log), vm.log()
    assert len(moves) == 1 and re.match(r'[\d.]+ engine: warn: kvm: ', moves[0]), vm.log()
    assert float(moves[0].split()[0]) > 0, 'not while it ran'
    assert not [line for line in log if 'changed from' in line], vm.log()
    assert not [event for event in vm.events if event['event'] == 'RESET']
    return vm.qmp('x-query-accel')['name'] == 'translator'


def need_failing_kvm():
    if not kvm_modes():
        raise tap.Skip('there is no KVM on this host')
    if kvm_is_whole():
        raise tap.Skip("this host's KVM runs everything")


def facts(console):
    """What the kernel found of its processor, and a sum."""
    flags = console.run('grep -E "^(flags|model name|cpu family|stepping)" /proc/cpuinfo')
    return flags, console.run('md5sum /bin/busybox')


def linux_is_carried_over_when_kvm_fails():
    """KVM as it is runs firmware and the kernel's first code; the translator the rest. The kernel sees the model's processor."""
    need_failing_kvm()
    found = {}
    with guest.temporary() as folder:
        ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'))
        for engine in ('translator', 'kvm-first'):
            with direct(engine, ramdisk, '-log', 'engine=info,kvm=info') as vm:
                found[engine] = facts(vm.shell())
                assert engine == 'translator' or carried_over(vm), vm.log()
                if engine == 'kvm-first':
                    # what this KVM does not honour is said before the guest starts
                    wrong = [mode for mode, text in kvm_modes().items() if not text.startswith('right')]
                    assert all(f"this host's KVM fails in {mode} " in vm.log() for mode in wrong), vm.log()
    assert found['kvm-first'] == found['translator'], found
    assert 'rdrand' not in found['kvm-first'][0], found


def paging_that_kvm_cannot_do_is_carried_over():
    """PrettyOS turns paging on where it was loaded: no step of its start may be lost."""
    need_failing_kvm()
    if kvm_modes().get('32-bit paging', '').startswith('right'):
        raise tap.Skip("this host's KVM can do paging")
    with Vm('-accel', 'kvm-first', '-m', '64', '-snapshot', '-log', 'engine=info', '-fda', guest.image('prettyos.img')) as vm:
        vm.wait_text('Paging:            [OK]', 200 * guest.PATIENCE)
        vm.wait_text('Keyboard:          [OK]', 60 * guest.PATIENCE)
        assert carried_over(vm), vm.log()


STEPS = (1, 1, 3, 17, 200)


def steps_are_the_same_under_every_engine():
    """From the reset vector, the same number of instructions leads to the same registers."""
    names = ['interpreter', 'translator'] + (['kvm'] if kvm_boots() else [])
    found = {}
    for name in names:
        with Vm('-accel', name, '-m', '16', '-S') as vm:
            found[name] = []
            for count in STEPS:
                assert vm.qmp('x-step', count=count)['executed'] == count, (name, count)
                found[name].append([line for line in vm.hmp('info registers').splitlines() if 'EDX' not in line])
            assert found[name][0] != found[name][-1]
            for bad in (0, 2000000):
                try:
                    vm.qmp('x-step', count=bad)
                    raise AssertionError('it took that count')
                except QmpError as error:
                    assert 'count' in str(error)
            vm.qmp('cont')
            try:
                vm.qmp('x-step')
                raise AssertionError('it stepped while it ran')
            except QmpError as error:
                assert 'paused' in str(error)
    for name in names[1:]:
        for count, one, other in zip(STEPS, found['interpreter'], found[name]):
            assert one == other, (name, count, one, other)


def states_pass_between_all_pairs():
    """Each engine saves; every engine loads that, computes on, and its sum is right."""
    names = ['translator', 'interpreter'] + (['kvm'] if kvm_boots() else [])
    if len(names) == 2:
        print(f"# without KVM: {kvm_modes() or 'there is none'}")
    with tempfile.TemporaryDirectory(prefix='vitrine-engines-') as folder:
        disk = os.path.join(folder, 'dos.img')
        shutil.copyfile(guest.image('freedos722.img'), disk)
        arguments = ('-fda', disk, '-boot', 'a', '-m', '16')
        with Vm(*arguments, '-accel', 'translator') as vm:
            vm.wait_text('A:\\>', 100 * guest.PATIENCE)
            vm.qmp('snapshot-save', tag='prompt')
        for saver in names:
            with Vm(*arguments, '-accel', saver, '-resume', 'prompt') as vm:
                enter(vm, f'echo saved by {saver}')
                vm.wait_text(f'\nsaved by {saver}', 60 * guest.PATIENCE)
                vm.qmp('snapshot-save', tag=saver)
            for loader in names:
                with Vm(*arguments, '-accel', loader, '-resume', saver) as vm:
                    assert vm.qmp('x-query-accel')['name'] == loader
                    vm.wait_text(f'\nsaved by {saver}', 20 * guest.PATIENCE)
                    enter(vm, f'echo loaded by {loader}')
                    vm.wait_text(f'\nloaded by {loader}', 60 * guest.PATIENCE)
                print(f'# {saver} to {loader}', flush=True)


tap.run(auto_says_what_and_why, kvm_that_fails_is_refused_with_advice, freedos_under_kvm, linux_is_carried_over_when_kvm_fails,
        paging_that_kvm_cannot_do_is_carried_over, steps_are_the_same_under_every_engine,
        states_pass_between_all_pairs)
