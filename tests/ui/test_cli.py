#!/usr/bin/env python3
"""The program from outside: help, exit status, and one clear line for each thing that is wrong."""
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import ROOT, Vm, program  # noqa: E402


def run(*words, timeout=60, env=None):
    done = subprocess.run([program(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout, env=env)
    return done.returncode, done.stdout, done.stderr


def help_and_version():
    for words in (['--help'], ['run', '--help'], ['run', '-h'], ['--version'], ['-version'], ['run', '-version'], ['run', '-cpu', 'help'],
                  ['run', '-device', 'help'], ['run', '-vga', 'help'], ['run', '-log', 'help']):
        status, out, err = run(*words)
        assert status == 0 and out and not err, (words, status, err)
    cards, tags = (run('run', what, 'help')[1] for what in ('-device', '-log'))
    assert re.search(r'^ne2k_pci +netdev', cards, re.M), cards
    assert tags.splitlines() == sorted(set(tags.splitlines())) and 'ide\n' in tags, tags
    assert run()[0] == 1
    assert run('dance')[0] == 1


def help_names_every_option_of_the_manual_and_the_other_way_round():
    shown = set(re.findall(r'^  -([\w-]+)', run('run', '--help')[1], re.M))
    with open(os.path.join(ROOT, 'docs', 'vitrine.1')) as page:
        options = page.read().split('\n.SH OPTIONS')[1].split('\n.SH ')[0]
    written = {name.replace('\\-', '-') for name in re.findall(r'^\.BI? \\-(\w(?:\w|\\-)*)', options, re.M)}
    assert shown - written == set(), f'not in the manual: {shown - written}'
    assert written - shown == set(), f'not in --help: {written - shown}'


def bad_input_is_one_line_and_status_1():
    with tempfile.TemporaryDirectory() as folder:
        def made(name, data):
            path = os.path.join(folder, name)
            with open(path, 'wb') as file:
                file.write(data)
            return path
        empty, odd = made('empty.img', b''), made('odd.img', b'x' * 777)
        text = made('kernel.txt', b'this is no kernel\n' * 100)
        cases = [(['-m', '9999999'], '-m'), (['-frob'], '-frob'), ([empty], empty), ([odd], odd), (['/nonexistent.img'], '/nonexistent.img'),
                 ([folder], 'fat:' + folder), (['fat:/nonexistent'], '/nonexistent'),
                 ([made('a.gz', b'\x1f\x8b\x08' + b'x' * 3000)], 'gunzip'), ([made('a.img.xz', b'\xfd7zXZ\0' + b'x' * 3000)], 'unxz'), (['-fda', '/nonexistent.img'], '/nonexistent.img'), (['-hda', empty], empty),
                 (['-kernel', text], text), (['-kernel', '/nonexistent'], '/nonexistent'), (['-bios', '/nonexistent'], '/nonexistent'),
                 (['-bios', text], text), (['-serial', 'file:/nonexistent/x'], '/nonexistent/x'), (['-log', 'loud'], 'loud'),
                 (['-qmp', 'unix:/nonexistent/q,server,nowait'], '/nonexistent/q'), (['-drive', 'file=a,if=scsi'], 'if=scsi'),
                 (['-drive', 'file=a,werror=panic'], 'werror=panic: use stop, report, ignore or enospc'),
                 (['-drive', 'file=a,rerror=enospc'], 'rerror=enospc: use stop, report or ignore'),
                 (['-drive', 'if=none,id=a,media=cdrom', '-device', 'ide-cd,drive=a,rerror=x'], '-device: rerror=x: use stop'),
                 (['-device', 'flux-capacitor'], '-device flux-capacitor'), (['-device', 'isa-debug-exit,volume=11'], 'volume'),
                 (['-nic', 'pigeon'], '-nic pigeon'), (['-nic', 'user,model=flux'], 'use ne2k_pci, ne2k_isa or pcnet'),
                 (['-nic', 'user,model=sb16'], '-nic model=sb16: there is no such network card'), (['-nic', 'pigeon'], 'tap and none'),
                 (['-nic', 'user,flux=1'], "'flux'; use net, host, "), (['-netdev', 'user,id=n,flux=1'], "'flux'; use net, host, "),
                 (['-initrd', text], '-kernel'), (['-append', 'quiet'], '-kernel'), (['-option-rom', text], '-option-rom ' + text),
                 (['-screenshots', '/nonexistent'], '/nonexistent'), (['-resume', 'yesterday'], 'vitrine.yesterday.vsnap'),
                 (['-serial', 'tcp:localhost:1'], 'start what listens there first'), (['-netdev', 'pigeon,id=n'], '-netdev pigeon'),
                 (['-netdev', 'user'], 'id='), (['-netdev', 'user,id=n,hostfwd=x'], 'hostfwd=x'), (['-device', 'ne2k_pci,netdev=q'], "'q'"),
                 (['-netdev', 'user,id=n,tftp=/nonexistent'], '/nonexistent'), (['-device', 'ne2k_pci,mac=1:2'], 'mac=1:2'),
                 (['-object', 'rng-random,id=r'], '-object rng-random'), (['-netdev', 'socket,id=n'], 'listen='),
                 (['-smbios', 'serial=x'], 'needs a type='), (['-smbios', 'type=1,asset=x'], 'asset'),
                 (['-cpu', '386'], '-bios'), (['-cpu', 'z80'], 'z80')]
        for words, part in cases:
            status, out, err = run('run', '-display', 'none', *words)
            lines = err.strip().split('\n')
            assert status == 1, (words, status, err)
            assert not out and len(lines) == 1 and lines[0].startswith('vitrine: ') and part in lines[0], (words, out, err)


def monitor_views_are_those_it_names():
    with Vm('-m', 8, '-S') as vm:
        for what in vm.hmp('info').split('try ')[1].replace('\r\n', ' ').split(','):
            assert 'there is no' not in vm.hmp('info ' + what.strip()), what
        lines = vm.hmp('info pic').split('\r\n')
        assert re.match(r'pic0: irr=.. isr=.. imr=.. elcr=00 base=..$', lines[0]) and lines[1].startswith('pic1: '), lines


def quit_over_qmp_is_status_0():
    with Vm('-S') as vm:
        assert vm.qmp('query-status')['status'] == 'paused'
        assert vm.quit() == 0


def signals_end_it_in_good_order():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with Vm() as vm:
            vm.process.send_signal(number)
            vm.event('SHUTDOWN')
            assert vm.wait() == 0, number
            assert not os.path.exists(os.path.join(vm.folder, 'qmp'))


def pid_file_and_log_file():
    with tempfile.TemporaryDirectory() as folder:
        pid, log = os.path.join(folder, 'pid'), os.path.join(folder, 'log')
        with Vm('-pidfile', pid, '-D', log, '-log', 'info') as vm:
            with open(pid) as file:
                assert int(file.read()) == vm.process.pid
            assert vm.quit() == 0
        assert not os.path.exists(pid) and os.path.exists(log)


tap.run(help_and_version, help_names_every_option_of_the_manual_and_the_other_way_round, bad_input_is_one_line_and_status_1,
        monitor_views_are_those_it_names, quit_over_qmp_is_status_0, signals_end_it_in_good_order, pid_file_and_log_file)
