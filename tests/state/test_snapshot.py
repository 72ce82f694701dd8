"""Snapshots of running guests: through the control socket, into a fresh process, from engine to engine, while the guest
writes memory and disk as fast as it can."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import QmpError, Vm, engines, program  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix='vitrine-snapshot-')


def dos(*arguments, name='dos.img', accel='translator', memory=64):
    """A copy of a FreeDOS floppy that stays for the test, booted or resumed."""
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        shutil.copyfile(os.path.join(tap.guests(), 'freedos722.img'), path)
    return Vm('-fda', path, '-boot', 'a', '-m', memory, '-accel', accel, *arguments)


def refused(vm, command, words, **arguments):
    try:
        vm.qmp(command, **arguments)
    except QmpError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f'{command} {arguments} was not refused')


def a_snapshot_brings_back_screen_memory_and_disk():
    with dos() as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo kept>a.txt\n')
        vm.type('cls\n')
        vm.type('type a.txt\n')
        vm.wait_text('kept', 20)
        vm.qmp('snapshot-save', tag='first', note='at the prompt')
        vm.type('cls\n')
        vm.type('echo lost>a.txt\n')
        vm.type('type a.txt\n')
        vm.wait_text('\nlost', 20)
        listed = vm.qmp('x-snapshot-query')
        assert [(s['name'], s['note'], s['loadable']) for s in listed] == [('first', 'at the prompt', True)], listed
        vm.qmp('snapshot-load', tag='first')
        assert 'lost' not in vm.screen()
        vm.type('cls\n')
        vm.type('type a.txt\n')
        vm.wait_text('kept', 20)
        refused(vm, 'snapshot-load', 'there is no snapshot', tag='nonesuch')
        assert 'first' in vm.hmp('info snapshots')
        assert vm.hmp('savevm second') == '' and vm.hmp('loadvm second') == ''
        parents = {s['name']: s['parent'] for s in vm.qmp('x-snapshot-query')}
        assert parents == {'first': '', 'second': 'first'}, parents
        assert vm.hmp('delvm second') == '' and 'no snapshot' in vm.hmp('delvm second')
        path = os.path.join(FOLDER, 'thumb.png')
        vm.qmp('x-snapshot-thumbnail', tag='first', filename=path)
        with open(path, 'rb') as file:
            assert file.read(8) == b'\x89PNG\r\n\x1a\n'
        vm.qmp('snapshot-delete', tag='first')
        assert vm.qmp('x-snapshot-query') == []
        assert vm.qmp('query-status')['running']


def another_process_and_every_engine_goes_on():
    names = engines()
    name = 'cross.img'
    with dos(name=name, accel=names[0]) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo from the first\n')
        vm.qmp('snapshot-save', tag='s')
    for number, engine in enumerate(names[1:] + names):
        with dos('-resume', 's', name=name, accel=engine) as vm:
            assert vm.qmp('x-query-accel')['name'] == engine
            vm.wait_text(f'from {number}' if number else 'from the first', 20)
            vm.type('cls\n')
            vm.type(f'echo from {number + 1}\n')
            vm.wait_text(f'\nfrom {number + 1}', 30)
            vm.qmp('snapshot-save', tag='s')


def a_paused_machine_resumes_paused_and_as_it_was():
    name = 'paused.img'
    with dos(name=name) as vm:
        vm.wait_text('A:\\>', 60)
        vm.qmp('stop')
        vm.qmp('snapshot-save', tag='s')
        assert not vm.qmp('query-status')['running']
        screen = vm.screen()
        registers = vm.hmp('info registers')
    with dos('-loadvm', 's', '-S', name=name, accel='interpreter') as vm:
        assert vm.screen() == screen
        assert vm.hmp('info registers') == registers
        vm.qmp('cont')
        vm.type('echo goes on\n')
        vm.wait_text('\ngoes on', 30)


def a_qcow2_disk_keeps_the_machine():
    disk = os.path.join(FOLDER, 'disk.qcow2')
    if not shutil.which('qemu-img'):
        raise tap.Skip('no qemu-img')
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '64M'], check=True)
    name = 'q.img'
    with dos('-hda', disk, name=name) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo within\n')
        vm.wait_text('\nwithin', 20)
        for _ in range(2):
            vm.qmp('snapshot-save', tag='q')
        assert vm.qmp('x-snapshot-query')[0]['file'] == disk
        vm.quit()
    assert not [f for f in os.listdir(FOLDER) if f.startswith(('q.img.', 'disk.qcow2.'))]
    listed = subprocess.run(['qemu-img', 'snapshot', '-l', disk], check=True, capture_output=True, text=True).stdout
    assert len([line for line in listed.splitlines() if ' q ' in line]) == 1, listed
    subprocess.run(['qemu-img', 'check', '-q', disk], check=True)
    with dos('-hda', disk, '-resume', 'q', name=name) as vm:
        assert 'within' in vm.screen()
        vm.qmp('snapshot-delete', tag='q')
        vm.quit()
    subprocess.run(['qemu-img', 'check', '-q', disk], check=True)


def a_snapshot_of_the_disk_alone_is_no_machine():
    disk = os.path.join(FOLDER, 'alone.qcow2')
    for words in (['create', '-q', '-f', 'qcow2', disk, '1M'], ['snapshot', '-c', 'alone', disk]):
        subprocess.run([program(), 'image', *words], check=True)
    done = subprocess.run([program(), 'run', '-display', 'none', '-hda', disk, '-loadvm', 'alone'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and 'no machine' in done.stderr and 'image snapshot -a' in done.stderr, done


def a_busy_guest_is_saved_while_it_runs():
    """DOS copies files round and round; each snapshot goes on with it without an error."""
    name = 'busy.img'
    with dos(name=name) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('copy con b.bat\n')
        vm.type(':x\ncopy command.com c.tmp >nul\ncopy c.tmp d.tmp >nul\ndel c.tmp\ndel d.tmp\necho round\ngoto x\n')
        vm.key('ctrl', 'z')
        vm.type('\n')
        vm.type('b\n')
        vm.wait_text('round', 60)
        for number in range(3):
            vm.qmp('snapshot-save', tag=f's{number}', timeout=60)
            time.sleep(0.7)
        for number in (1, 0, 2):
            vm.qmp('snapshot-load', tag=f's{number}', timeout=60)
            vm.type('')
            time.sleep(1)
            assert 'rror' not in vm.screen(), vm.screen()
        vm.key('ctrl', 'c')
        vm.wait_text('A:\\>', 30)


def a_wrong_file_is_refused_and_the_machine_goes_on():
    path = os.path.join(FOLDER, 'wrong.vsnap')
    with open(path, 'wb') as file:
        file.write(os.urandom(100000))
    with dos() as vm:
        vm.wait_text('A:\\>', 60)
        refused(vm, 'snapshot-load', 'no snapshot', tag=path)
        refused(vm, 'snapshot-delete', 'no snapshot', tag=path)
        assert os.path.exists(path)
        refused(vm, 'snapshot-save', "/no': there is no such folder", tag=os.path.join(FOLDER, 'no', 'folder.vsnap'))
        vm.type('echo fine\n')
        vm.wait_text('\nfine', 20)
        whole = os.path.join(FOLDER, 'whole.vsnap')
        vm.qmp('snapshot-save', tag=whole)
        with open(whole, 'rb') as file:
            data = file.read()
        for size in (0, 63, 64, 1000, len(data) // 2, len(data) - 1):
            with open(path, 'wb') as file:
                file.write(data[:size])
            refused(vm, 'snapshot-load', 'wrong.vsnap', tag=path)
        vm.type('echo still\n')
        vm.wait_text('\nstill', 20)


def jobs_go_on_beside_other_commands():
    name = 'jobs.img'

    def job(vm, number, command, tag):
        more = {} if command == 'snapshot-delete' else {'vmstate': 'disk'}
        vm.qmp(command, job_id=f'j{number}', tag=tag, devices=['disk'], **more)
        said = []
        while not said or said[-1] != 'concluded':
            data = vm.event('JOB_STATUS_CHANGE', 30)['data']
            assert data['id'] == f'j{number}', data
            said.append(data['status'])
        entry = vm.qmp('query-jobs')[0]
        assert entry['id'] == f'j{number}' and entry['type'] == command and entry['status'] == 'concluded', entry
        return said, entry.get('error')

    with dos(name=name) as vm:
        vm.wait_text('A:\\>', 60)
        vm.type('echo before\n')
        vm.wait_text('\nbefore', 20)
        done = ['created', 'running', 'waiting', 'pending', 'concluded']
        assert job(vm, 0, 'snapshot-save', 's') == (done, None)
        refused(vm, 'snapshot-save', 'already in use', job_id='j0', tag='t')
        vm.qmp('job-dismiss', id='j0')
        assert vm.event('JOB_STATUS_CHANGE')['data']['status'] == 'null' and vm.qmp('query-jobs') == []
        vm.type('cls\n')
        assert job(vm, 1, 'snapshot-load', 's') == (done, None)
        assert 'before' in vm.screen()
        said, error = job(vm, 2, 'snapshot-load', 'nonesuch')
        assert said == ['created', 'running', 'aborting', 'concluded'] and 'there is no snapshot' in error, (said, error)
        assert job(vm, 3, 'snapshot-delete', 's') == (done, None)
        assert vm.qmp('x-snapshot-query') == []
        refused(vm, 'job-dismiss', 'not found', id='nonesuch')
        vm.qmp('snapshot-save', job_id='last', tag='s')  # not waited for


try:
    tap.run(a_snapshot_brings_back_screen_memory_and_disk, another_process_and_every_engine_goes_on,
            a_paused_machine_resumes_paused_and_as_it_was, a_qcow2_disk_keeps_the_machine,
            a_snapshot_of_the_disk_alone_is_no_machine, a_busy_guest_is_saved_while_it_runs, a_wrong_file_is_refused_and_the_machine_goes_on,
            jobs_go_on_beside_other_commands)
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
