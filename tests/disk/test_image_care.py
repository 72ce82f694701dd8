#!/usr/bin/env python3
"""`vitrine image` touches nothing but what it is told to, and gets out of damaged images what there is; qemu-img judges."""
import json
import os
import resource
import shutil
import struct
import subprocess

from images import get, image, in_folder, program, put, run_image, tap

MIB = 1 << 20


def judge(*words, status=0):
    if not shutil.which('qemu-img'):
        raise tap.Skip('qemu-img is not installed (Debian: qemu-utils)')
    done = subprocess.run(['qemu-img', *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == status, (words, done.returncode, done.stdout)
    return done.stdout


def scribble(name, *commands, form='qcow2'):
    if not shutil.which('qemu-io'):
        raise tap.Skip('qemu-io is not installed (Debian: qemu-utils)')
    subprocess.run(['qemu-io', '-f', form, *(word for command in commands for word in ('-c', command)), name],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)


def same(raw, name):
    assert 'identical' in judge('compare', '-f', 'raw', '-F', 'qcow2', raw, name)


@in_folder
def what_lies_behind_a_smaller_disk_stays():
    judge('create', '-q', '-f', 'qcow2', 'base.qcow2', '6M')
    scribble('base.qcow2', 'write -P 7 0 6M')
    judge('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2', '3M')
    scribble('top.qcow2', 'write -P 9 1M 64k')
    want = bytearray(b'\7' * 6 * MIB)
    want[MIB:MIB + 65536] = b'\x09' * 65536
    image('convert', '-O', 'raw', 'top.qcow2', 'small.raw')
    image('commit', 'top.qcow2')
    put('want.raw', want)
    same('want.raw', 'base.qcow2')
    for packed in ([], ['-c']):  # 1,000 sectors end within a cluster
        judge('create', '-q', '-f', 'qcow2', 'large.qcow2', '6M')
        scribble('large.qcow2', 'write -P 7 0 6M')
        os.truncate('small.raw', 1000 * 512)
        image('convert', '-n', *packed, 'small.raw', 'large.qcow2')
        put('want.raw', get('small.raw') + b'\7' * (6 * MIB - 1000 * 512))
        same('want.raw', 'large.qcow2')
        judge('check', 'large.qcow2')
    put('large.raw', b'\5' * 6 * MIB)
    image('convert', '-n', '-S', '0', 'small.raw', 'large.raw')
    assert get('large.raw') == get('small.raw') + b'\5' * (6 * MIB - 1000 * 512)


@in_folder
def a_longer_disk_has_zeros_not_its_backing_file():
    judge('create', '-q', '-f', 'qcow2', 'base.qcow2', '6M')
    scribble('base.qcow2', 'write -P 7 0 6M')
    for compat in ('1.1', '0.10'):
        for before in (3 * MIB, 3 * MIB - 512, 3 * MIB + 65536):
            for after in (before + 512, 5 * MIB, 900 * MIB):
                judge('create', '-q', '-f', 'qcow2', '-o', f'compat={compat}', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2', before)
                scribble('top.qcow2', 'write -P 9 2M 512k')
                judge('convert', '-O', 'raw', 'top.qcow2', 'want.raw')
                for shorter in (before, MIB + 512):
                    os.truncate('want.raw', shorter)
                    os.truncate('want.raw', after)
                    if shorter < before:
                        image('resize', '--shrink', 'top.qcow2', shorter)
                    image('resize', 'top.qcow2', after)
                    same('want.raw', 'top.qcow2')
                    image('compare', 'want.raw', 'top.qcow2')
                    judge('check', 'top.qcow2')


@in_folder
def bitmaps_beside_the_data_are_counted():
    judge('create', '-q', '-f', 'qcow2', 'a.qcow2', '64M')
    for words in (['one'], ['-g', '512', 'two']):
        judge('bitmap', '--add', *words[:-1], 'a.qcow2', words[-1])
    scribble('a.qcow2', 'write -P 3 1M 3M')
    before = get('a.qcow2')
    assert 'No errors' in image('check', 'a.qcow2')
    image('check', '-r', 'all', 'a.qcow2')
    assert get('a.qcow2') == before
    at = before.index(struct.pack('>I', 0x23852875)) + 8
    directory = struct.unpack_from('>Q', before, at + 16)[0]
    for place, value in ((at + 16, 1 << 40), (at + 16, directory + 512), (at + 8, 1 << 50), (directory, 1 << 41), (directory + 16, (1 << 64) - 1)):
        bad = bytearray(before)
        struct.pack_into('>Q', bad, place, value)
        put('b.qcow2', bad)
        image('check', 'b.qcow2', status=2)
        image('check', '-r', 'all', 'b.qcow2')
        assert 'No errors' in judge('check', 'b.qcow2')
        scribble('b.qcow2', 'write -P 4 9M 1M')
    scribble('a.qcow2', 'write -P 5 9M 1M')  # they are still kept
    assert len(json.loads(judge('info', '--output', 'json', 'a.qcow2'))['format-specific']['data']['bitmaps']) == 2
    put('c.raw', b'\6' * MIB)
    image('convert', '-n', 'c.raw', 'a.qcow2')  # now they do not fit the data
    image('check', '-r', 'leaks', 'a.qcow2')
    assert 'bitmaps:' not in judge('info', 'a.qcow2')


def damaged(name, change):
    """A copy of b.qcow2 with other bytes: change gets them, and where L1, L2, refcount table and block are."""
    data = bytearray(get('b.qcow2'))
    l1, table = struct.unpack_from('>Q', data, 40)[0], struct.unpack_from('>Q', data, 48)[0]
    l2, block = struct.unpack_from('>Q', data, l1)[0] & (1 << 56) - 512, struct.unpack_from('>Q', data, table)[0]
    change(data, l1, l2, table, block)
    put(name, data)


@in_folder
def counts_that_are_astray_are_made_anew():
    judge('create', '-q', '-f', 'qcow2', 'b.qcow2', '8M')
    scribble('b.qcow2', 'write -P 3 0 1M')
    judge('convert', '-O', 'raw', 'b.qcow2', 'b.raw')
    word = lambda data, at, value: struct.pack_into('>Q', data, at, value)  # noqa: E731
    for change in (lambda d, l1, l2, table, block: word(d, table, 1 << 40), lambda d, l1, l2, table, block: word(d, table, block + 512),
                   lambda d, l1, l2, table, block: word(d, table + 8, block), lambda d, l1, l2, table, block: word(d, table, l2),
                   lambda d, l1, l2, table, block: word(d, table, table), lambda d, l1, l2, table, block: word(d, table, 0)):
        damaged('c.qcow2', change)
        before = get('c.qcow2')
        assert 'repair' in image('check', 'c.qcow2', status=2) and get('c.qcow2') == before
        image('check', '-r', 'all', 'c.qcow2')
        assert 'No errors' in judge('check', 'c.qcow2')
        same('b.raw', 'c.qcow2')
        scribble('c.qcow2', 'write -P 8 4M 1M')
        judge('check', 'c.qcow2')


@in_folder
def tables_in_one_place_are_left_alone():
    """To mend one would be to write over the other."""
    judge('create', '-q', '-f', 'qcow2', 'b.qcow2', '8M')
    scribble('b.qcow2', 'write -P 3 0 1M')
    word = lambda data, at, value: struct.pack_into('>Q', data, at, value)  # noqa: E731
    for change in (lambda d, l1, l2, table, block: word(d, l1, 1 << 63 | table), lambda d, l1, l2, table, block: word(d, l1, 1 << 63 | l1),
                   lambda d, l1, l2, table, block: word(d, 40, table), lambda d, l1, l2, table, block: word(d, 48, l1)):
        damaged('c.qcow2', change)
        before = get('c.qcow2')
        image('check', 'c.qcow2', status=2)
        assert '--salvage' in image('check', '-r', 'all', 'c.qcow2', status=2)
        assert get('c.qcow2') == before


@in_folder
def tables_named_without_end_are_given_up():
    """Four million entries name one table of 262,144: nobody is kept busy by that."""
    size, entries = 2 << 20, 4 << 20
    head = bytearray(104)
    struct.pack_into('>4sI12xIQIIQQI', head, 0, b'QFI\xfb', 3, 21, 1 << 40, 0, entries, 3 * size, size, 1)
    struct.pack_into('>II', head, 96, 4, 104)
    with open('a.qcow2', 'wb') as file:
        file.truncate(size * 21)
        file.write(head)
        for place, data in ((1, struct.pack('>Q', 2 * size)), (2, struct.pack('>H', 1) * 21), (3, struct.pack('>Q', 1 << 63 | 19 * size) * entries),
                            (19, struct.pack('>Q', 1 << 63 | 20 * size) * (size // 8))):
            file.seek(place * size)
            file.write(data)
    for words, status in ((['check'], 2), (['check', '-r', 'all'], 2), (['snapshot', '-c', 'x'], 1), (['amend', '-o', 'refcount_bits=64'], 1)):
        image(*words, 'a.qcow2', status=status)
    image('resize', '--shrink', 'a.qcow2', '1G', status=1)


@in_folder
def a_small_vmdk_that_claims_two_terabytes_takes_no_memory():
    """Each of four billion grains lies in its first sector."""
    tables = (1 << 32) // 4096
    head = bytearray(512)
    struct.pack_into('<4sIIQQQQ', head, 0, b'KDMV', 1, 1, 1 << 32, 1, 0, 0)
    struct.pack_into('<IQQQ', head, 44, 4096, 0, 1, 0)
    place = 1 + tables * 4 // 512
    put('a.vmdk', bytes(head) + struct.pack('<I', place) * tables + struct.pack('<I', 1) * 4096 + bytes(1024))

    def little():
        if not {'asan', 'tsan'} & set(program().split(os.sep)):  # they reserve terabytes
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    assert 'convert' in run_image('check', 'a.vmdk', status=2, preexec_fn=little).stdout
    assert 'damaged' in run_image('amend', '-o', 'hwversion=6', 'a.vmdk', status=1, preexec_fn=little).stderr
    with open(os.devnull, 'w') as nowhere:  # a row for each, had it no end
        said = subprocess.run([program(), 'image', 'map', '--output', 'json', 'a.vmdk'], stdout=nowhere, stderr=subprocess.PIPE, text=True,
                              timeout=120, preexec_fn=little)
    assert said.returncode == 1 and '--start-offset' in said.stderr, said
    rows = json.loads(run_image('map', '--output', 'json', '--max-length', '1M', 'a.vmdk', preexec_fn=little).stdout)
    assert len(rows) == 2048 and {row['offset'] for row in rows} == {512}


@in_folder
def what_can_be_read_of_damaged_images_is_copied():
    judge('create', '-q', '-f', 'qcow2', 'b.qcow2', '8M')
    scribble('b.qcow2', 'write -P 3 0 8M')
    word = lambda data, at, value: struct.pack_into('>Q', data, at, value)  # noqa: E731
    entry = lambda data, at: struct.unpack_from('>Q', data, at)[0]  # noqa: E731
    for lost, change in ((65536, lambda d, l1, l2, table, block: word(d, l2 + 24, entry(d, l2 + 24) + 512)),
                         (65536, lambda d, l1, l2, table, block: word(d, l2 + 24, 1 << 63 | 1 << 40)),
                         (8 * MIB, lambda d, l1, l2, table, block: word(d, l1, 1 << 63 | l2 + 512)),
                         (8 * MIB, lambda d, l1, l2, table, block: word(d, l1, 1 << 63 | 1 << 40))):
        damaged('c.qcow2', change)
        assert 'repair' in image('check', 'c.qcow2', status=2)
        assert '--salvage' in image('check', '-r', 'all', 'c.qcow2', status=2)
        assert '--salvage' in image('convert', '--force', '-O', 'raw', 'c.qcow2', 'c.raw', status=1)
        for words in (['-O', 'raw'], ['-c', '-O', 'qcow2']):
            assert f'{lost} bytes cannot be read' in image('convert', '--force', '--salvage', *words, 'c.qcow2', 'c.raw')
            want = b'\3' * 3 * 65536 + bytes(65536) + b'\3' * (8 * MIB - 4 * 65536) if lost == 65536 else bytes(8 * MIB)
            put('want.raw', want)
            image('compare', 'want.raw', 'c.raw')


@in_folder
def an_image_in_use_is_only_looked_at():
    judge('create', '-q', '-f', 'qcow2', 'a.qcow2', '4M')
    scribble('a.qcow2', 'write -P 3 0 1M')
    put('b.raw', b'\4' * MIB)
    before = get('a.qcow2')
    user = subprocess.Popen(['qemu-io', '-f', 'qcow2', 'a.qcow2'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        user.stdin.write('read 0 512\n')
        user.stdin.flush()
        user.stdout.readline()  # it has the image open
        for words in (['check', '-r', 'all', '-U', 'a.qcow2'], ['snapshot', '-U', '-c', 'x', 'a.qcow2'], ['convert', '-U', '-n', 'b.raw', 'a.qcow2']):
            assert '-U' in image(*words, status=1), words
        for words in (['create', '--force', 'a.qcow2', '1M'], ['convert', '--force', 'b.raw', 'a.qcow2'], ['dd', '--force', 'if=b.raw', 'of=a.qcow2'],
                      ['create', '--force', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', 'a.qcow2', '1M'], ['resize', 'a.qcow2', '8M']):
            assert 'in use' in image(*words, status=1), words
        for words in (['info'], ['check'], ['map'], ['snapshot', '-l']):
            image(*words, '-U', 'a.qcow2')
            assert 'in use' in image(*words, 'a.qcow2', status=1)
    finally:
        user.communicate('quit\n')
    assert get('a.qcow2') == before and sorted(os.listdir('.')) == ['a.qcow2', 'b.raw']
    os.mkfifo('pipe')
    for name in ('pipe', '.'):
        assert 'no ordinary file' in image('create', '--force', name, '1M', status=1)


@in_folder
def options_of_qemu_img_do_what_they_do_there():
    judge('create', '-q', '-f', 'qcow2', 'a.qcow2', '4M')
    scribble('a.qcow2', 'write -P 1 0 4M')
    for below, name, place in (('a', 'b', 1), ('b', 'c', 2)):
        judge('create', '-q', '-f', 'qcow2', '-b', f'{below}.qcow2', '-F', 'qcow2', f'{name}.qcow2')
        scribble(f'{name}.qcow2', f'write -P {place + 5} {place}M 512k')
    judge('convert', '-O', 'raw', 'c.qcow2', 'c.raw')
    assert '--backing-chain' in image('commit', '-b', 'c.raw', 'c.qcow2', status=1)
    assert '--backing-chain' in image('commit', '-b', 'nowhere', 'c.qcow2', status=1)
    image('commit', '-t', 'none', '-b', 'a.qcow2', 'c.qcow2')
    same('c.raw', 'a.qcow2')
    image('rebase', '-u', '-b', 'a.qcow2', 'c.qcow2')  # what is below is found out once
    assert json.loads(judge('info', '--output', 'json', 'c.qcow2'))['backing-filename-format'] == 'qcow2'
    assert '-F' in image('rebase', '-u', '-b', 'gone.qcow2', 'c.qcow2', status=1)
    image('rebase', '-u', '-b', 'gone.qcow2', '-F', 'qcow2', 'c.qcow2')
    image('snapshot', '-c', 'one', 'a.qcow2')
    judge('resize', '-q', 'a.qcow2', '6M')
    said = image('snapshot', '-a', 'one', 'a.qcow2', status=1)
    assert 'convert -l' in said and '4194304' in said, said
    rows = json.loads(image('map', '--output', 'json', '--start-offset', '1M', '--max-length', '4M', 'a.qcow2'))
    assert [(row['start'], row['length'], row['data']) for row in rows] == [(MIB, 3 * MIB, True), (4 * MIB, MIB, False)], rows
    assert json.loads(image('map', '--output', 'json', '--start-offset', '1G', 'a.qcow2')) == []
    assert 'whole sectors' in image('map', '--start-offset', '100', 'a.qcow2', status=1)
    judge('create', '-q', '-f', 'qcow2', 'd.qcow2', '1M')
    put('d.raw', bytes(MIB))
    image('compare', '-s', 'd.qcow2', 'd.qcow2')
    image('compare', 'd.raw', 'd.qcow2')
    assert 'block status' in image('compare', '-s', 'd.raw', 'd.qcow2', status=1)
    image('create', '-f', 'qcow2', 'huge.qcow2', '2P')
    assert json.loads(judge('info', '--output', 'json', 'huge.qcow2'))['virtual-size'] == 2 << 50
    said = image('create', '-f', 'vmdk', 'e.vmdk', '9T', status=1)
    assert "'e.vmdk'" in said and '.part' not in said, said


@in_folder
def leaks_are_mended_where_nothing_else_is_wrong():
    judge('create', '-q', '-f', 'qcow2', 'b.qcow2', '8M')
    scribble('b.qcow2', 'write -P 3 0 1M')
    count = lambda data, block, cluster, value: struct.pack_into('>H', data, block + 2 * cluster, value)  # noqa: E731
    damaged('c.qcow2', lambda d, l1, l2, table, block: count(d, block, 6, 2))
    image('check', 'c.qcow2', status=3)
    image('check', '-r', 'leaks', 'c.qcow2')
    judge('check', 'c.qcow2')

    def both(data, l1, l2, table, block):
        count(data, block, 6, 2)
        count(data, block, 7, 0)
    damaged('c.qcow2', both)
    before = get('c.qcow2')
    assert '-r all' in image('check', '-r', 'leaks', 'c.qcow2', status=2) and get('c.qcow2') == before
    image('check', '-r', 'all', 'c.qcow2')
    judge('check', 'c.qcow2')
    assert '-r leaks' in image('check', '-r', 'some', 'c.qcow2', status=1)


@in_folder
def formats_of_others_are_not_taken_for_raw():
    for form in ('qcow', 'parallels', 'qed', 'vhdx'):
        judge('create', '-q', '-f', form, f'a.{form}', '8M')
        os.truncate(f'a.{form}', -(-os.path.getsize(f'a.{form}') // 512) * 512)
        assert 'qemu-img convert' in image('info', f'a.{form}', status=1)
        image('info', '-f', 'raw', f'a.{form}')


tap.run(what_lies_behind_a_smaller_disk_stays, a_longer_disk_has_zeros_not_its_backing_file, bitmaps_beside_the_data_are_counted,
        counts_that_are_astray_are_made_anew, tables_in_one_place_are_left_alone, tables_named_without_end_are_given_up,
        a_small_vmdk_that_claims_two_terabytes_takes_no_memory, what_can_be_read_of_damaged_images_is_copied, an_image_in_use_is_only_looked_at,
        options_of_qemu_img_do_what_they_do_there, leaks_are_mended_where_nothing_else_is_wrong, formats_of_others_are_not_taken_for_raw)
