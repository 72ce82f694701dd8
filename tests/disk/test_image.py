#!/usr/bin/env python3
"""`vitrine image`, with qemu-img as the judge of what it makes and says."""
import json
import os
import random
import shutil
import struct
import subprocess

from images import in_folder, run_image, tap
from tests.lib.vm import Vm, program

MIB = 1 << 20


def image(*words, status=0):
    done = run_image(*words, status=status)
    if done.stdout == '' and status:
        assert len(done.stderr.strip().split('\n')) == 1 and done.stderr.startswith('vitrine: '), done.stderr
    return done.stderr if status and not done.stdout else done.stdout


def judge(*words, status=0):
    if not shutil.which('qemu-img'):
        raise tap.Skip('qemu-img is not installed (Debian: qemu-utils)')
    done = subprocess.run(['qemu-img', *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == status, (words, done.returncode, done.stdout)
    return done.stdout


def scatter(name, size, seed, pieces=40):
    """A sparse raw file with pieces of data at odd places, the last sector among them."""
    dice = random.Random(seed)
    with open(name, 'r+b' if os.path.exists(name) else 'wb') as file:
        file.truncate(size)
        for _ in range(pieces):
            file.seek(dice.randrange(size // 512 - 64) * 512)
            file.write(dice.randbytes(512 * dice.randrange(1, 64)))
        file.seek(size - 512)
        file.write(dice.randbytes(512))


@in_folder
def create_makes_what_qemu_img_takes():
    for number, words in enumerate((['-f', 'raw'], ['-f', 'qcow2'], ['-f', 'qcow2', '-o', 'compat=0.10'],
                                    ['-f', 'qcow2', '-o', 'cluster_size=4k,refcount_bits=1'],
                                    ['-f', 'qcow2', '-o', 'compression_type=zstd,lazy_refcounts=on,cluster_size=2M'])):
        name = f'{number}.img'
        image('create', *words, name, '37M')
        told = json.loads(judge('info', '--output', 'json', '-f', words[1], name))
        assert told['virtual-size'] == 37 * MIB, told
        if words[1] == 'qcow2':
            judge('check', name)
            ours = json.loads(image('info', '--output', 'json', name))
            for key in ('format', 'virtual-size', 'actual-size', 'cluster-size', 'dirty-flag'):
                assert ours[key] == told[key], (key, ours, told)
            for key, value in ours['format-specific']['data'].items():
                assert told['format-specific']['data'].get(key, value) == value, (key, ours, told)
    assert os.listdir('.').count('.part') == 0


@in_folder
def nothing_is_overwritten_unless_told():
    with open('a.img', 'wb') as file:
        file.write(b'precious' * 64)
    scatter('b.img', MIB, 1)
    for words in (['create', 'a.img', '1M'], ['convert', '-O', 'qcow2', 'b.img', 'a.img']):
        assert '--force' in image(*words, status=1)
        with open('a.img', 'rb') as file:
            assert file.read() == b'precious' * 64
    image('convert', '--force', '-O', 'qcow2', 'b.img', 'a.img')
    judge('compare', '-f', 'raw', 'b.img', 'a.img')
    assert sorted(os.listdir('.')) == ['a.img', 'b.img']


@in_folder
def convert_loses_nothing_and_keeps_holes():
    scatter('a.raw', 64 * MIB, 2)
    image('convert', '-O', 'qcow2', '-o', 'cluster_size=64k', 'a.raw', 'a.qcow2')
    judge('check', 'a.qcow2')
    judge('compare', '-f', 'raw', '-F', 'qcow2', 'a.raw', 'a.qcow2')
    image('convert', 'a.qcow2', 'b.raw')
    with open('a.raw', 'rb') as one, open('b.raw', 'rb') as two:
        assert one.read() == two.read()
    assert os.stat('b.raw').st_blocks * 512 < 16 * MIB and os.stat('a.qcow2').st_size < 16 * MIB
    for kind in ('vmdk', 'vdi', 'vpc'):
        judge('convert', '-O', kind, *(['-o', 'force_size=on'] if kind == 'vpc' else []), 'a.qcow2', f'a.{kind}')
        image('convert', '-O', 'raw', f'a.{kind}', f'{kind}.raw')
        judge('compare', '-f', 'raw', '-F', 'raw', 'a.raw', f'{kind}.raw')


@in_folder
def compare_and_map_agree_with_the_bytes():
    scatter('a.raw', 8 * MIB, 3)
    image('convert', '-O', 'qcow2', 'a.raw', 'a.qcow2')
    image('compare', 'a.raw', 'a.qcow2')
    with open('a.raw', 'rb') as file:
        data = file.read()
    with open('a.raw', 'r+b') as file:
        file.seek(5 * MIB + 17)
        old = file.read(1)[0]
        file.seek(5 * MIB + 17)
        file.write(bytes([old ^ 1]))
    assert f'offset {5 * MIB + 17}!' in image('compare', 'a.raw', 'a.qcow2', status=1)
    judge('compare', '-f', 'raw', 'a.raw', 'a.qcow2', status=1)
    image('compare', 'a.raw', 'nowhere.raw', status=2)
    with open('long.raw', 'wb') as file:
        file.truncate(9 * MIB)
    with open('short.raw', 'wb') as file:
        file.truncate(8 * MIB)
    image('compare', 'long.raw', 'short.raw')
    image('compare', '-s', 'long.raw', 'short.raw', status=1)
    rows, at = json.loads(image('map', '--output', 'json', 'a.qcow2')), 0
    for row in rows:
        assert row['start'] == at
        at += row['length']
        assert row['data'] or not any(data[row['start']:at])
    assert at == 8 * MIB and any(not row['data'] for row in rows)


@in_folder
def map_tells_where_it_lies():
    scatter('a.raw', 3 * MIB, 5)
    image('convert', '-O', 'qcow2', 'a.raw', 'base.qcow2')
    image('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'child.qcow2', 4 * MIB)
    for name in ('vmdk', 'vdi', 'vhd'):
        image('convert', '-O', name, 'a.raw', 'a.' + name)
    image('convert', '-c', '-O', 'qcow2', 'a.raw', 'small.qcow2')
    judge('check', 'child.qcow2')
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 256k 128k', '-c', 'write -z 1M 64k', 'child.qcow2'],
                   stdout=subprocess.DEVNULL, check=True)
    with open('child.qcow2', 'rb') as file:
        child = file.read()
    for name, kind in (('a.raw', 'raw'), ('base.qcow2', 'qcow2'), ('child.qcow2', 'qcow2'), ('a.vmdk', 'vmdk'),
                       ('a.vdi', 'vdi'), ('a.vhd', 'vpc'), ('small.qcow2', 'qcow2')):
        rows = json.loads(image('map', '--output', 'json', name))
        for row in rows:
            if 'filename' in row:
                with open(row.pop('filename'), 'rb') as file:
                    file.seek(row['offset'])
                    assert not row['data'] or any(file.read(row['length'])), (name, row)
            assert row.pop('compressed') == (name == 'small.qcow2' and row['data']), (name, row)
        asked = subprocess.run(['qemu-img', 'map', '-f', kind, '--output', 'json', name], stdout=subprocess.PIPE,
                               check=True)
        told = [{key: row[key] for key in row if key != 'compressed'} for row in json.loads(asked.stdout)]
        assert rows == told or kind == 'vpc', (name, rows, told)  # which tells whole blocks only
    lines = [line.split() for line in image('map', 'child.qcow2').splitlines()[1:]]
    assert {line[3] for line in lines} == {'base.qcow2', 'child.qcow2'}
    start, _, place, _ = next(line for line in lines if line[3] == 'child.qcow2')
    assert int(start, 16) == 256 * 1024 and child[int(place, 16):][:128 * 1024] == bytes([7]) * 128 * 1024
    assert '(compressed)' in image('map', 'small.qcow2')


@in_folder
def check_finds_and_repair_mends():
    scatter('a.raw', 4 * MIB, 4)
    image('convert', '-O', 'qcow2', 'a.raw', 'a.qcow2')
    assert 'No errors' in image('check', 'a.qcow2')
    image('check', 'a.raw', status=63)
    with open('a.qcow2', 'r+b') as file:
        head = file.read(112)
        table = struct.unpack('>Q', head[48:56])[0]
        file.seek(table)
        block = struct.unpack('>Q', file.read(8))[0]
        file.seek(block)
        counts = bytearray(file.read(65536))
        used = [i for i in range(0, len(counts), 2) if counts[i + 1]]
        counts[used[-1] + 3] = 1
        file.seek(block)
        file.write(counts)
        file.truncate((used[-1] // 2 + 2) * 65536)
    image('check', 'a.qcow2', status=3)
    judge('check', 'a.qcow2', status=3)
    with open('a.qcow2', 'r+b') as file:
        counts[used[-1] + 1] = counts[used[-1] + 3] = 0
        file.seek(block)
        file.write(counts)
    image('check', 'a.qcow2', status=2)
    image('repair', 'a.qcow2')
    assert json.loads(image('check', '--output', 'json', 'a.qcow2'))['corruptions'] == 0
    judge('check', 'a.qcow2')
    judge('compare', '-f', 'raw', 'a.raw', 'a.qcow2')


@in_folder
def resize_keeps_the_front_and_asks_before_it_cuts():
    scatter('a.raw', 4 * MIB, 5)
    image('convert', '-O', 'qcow2', 'a.raw', 'a.qcow2')
    for name in ('a.raw', 'a.qcow2'):
        image('resize', name, '+4M')
        assert '--shrink' in image('resize', name, '-6M', status=1)
        image('resize', '--shrink', name, '-6M')
        image('resize', name, '4M')
        assert json.loads(judge('info', '--output', 'json', *(['-f', 'raw'] if name == 'a.raw' else []), name))['virtual-size'] == 4 * MIB
    judge('check', 'a.qcow2')
    judge('compare', '-f', 'raw', '-F', 'qcow2', 'a.raw', 'a.qcow2')


@in_folder
def snapshots_are_those_of_qemu_img():
    scatter('a.raw', 4 * MIB, 6)
    image('convert', '-O', 'qcow2', 'a.raw', 'a.qcow2')
    image('snapshot', '-c', 'one', 'a.qcow2')
    judge('snapshot', '-c', 'two', 'a.qcow2')
    assert 'already' in image('snapshot', '-c', 'one', 'a.qcow2', status=1)
    assert [s['name'] for s in json.loads(image('snapshot', '-l', '--output', 'json', 'a.qcow2'))] == ['one', 'two']
    told = judge('snapshot', '-l', 'a.qcow2')
    assert 'one' in told and 'two' in told
    image('snapshot', '-d', 'two', 'a.qcow2')
    image('snapshot', '-a', 'one', 'a.qcow2')
    image('snapshot', '-d', 'none', 'a.qcow2', status=1)
    judge('check', 'a.qcow2')
    judge('compare', '-f', 'raw', 'a.raw', 'a.qcow2')


@in_folder
def chains_are_made_committed_and_rebased():
    scatter('base.raw', 4 * MIB, 7)
    shutil.copy('base.raw', 'other.raw')
    scatter('other.raw', 4 * MIB, 8)
    shutil.copy('base.raw', 'wanted.raw')
    scatter('wanted.raw', 4 * MIB, 9, 10)
    image('convert', '-O', 'qcow2', '-b', 'base.raw', 'wanted.raw', 'top.qcow2')
    told = json.loads(judge('info', '--output', 'json', 'top.qcow2'))
    assert (told['backing-filename'], told['backing-filename-format']) == ('base.raw', 'raw')
    assert os.stat('top.qcow2').st_size < os.stat('wanted.raw').st_size

    def right():
        judge('check', 'top.qcow2')
        judge('compare', '-f', 'raw', '-F', 'qcow2', 'wanted.raw', 'top.qcow2')
    right()
    image('rebase', '-b', 'other.raw', 'top.qcow2')
    right()
    assert json.loads(judge('info', '--output', 'json', 'top.qcow2'))['backing-filename'] == 'other.raw'
    image('commit', 'top.qcow2')
    judge('compare', '-f', 'raw', '-F', 'raw', 'wanted.raw', 'other.raw')
    right()
    image('rebase', '-b', '', 'top.qcow2')
    os.remove('other.raw')
    right()
    image('commit', 'top.qcow2', status=1)
    image('create', '-f', 'qcow2', '-b', 'top.qcow2', 'upper.qcow2')
    assert json.loads(judge('info', '--output', 'json', 'upper.qcow2'))['virtual-size'] == 4 * MIB


@in_folder
def backing_files_elsewhere_need_a_word():
    os.mkdir('in')
    scatter('base.raw', MIB, 10)
    image('create', '-f', 'qcow2', '-b', '../base.raw', 'in/top.qcow2')
    assert 'backing=any' in image('compare', 'in/top.qcow2', 'base.raw', status=2)
    image('compare', '--backing', 'any', 'in/top.qcow2', 'base.raw')
    image('info', 'in/top.qcow2')
    refused = subprocess.run([program(), 'run', '-display', 'none', '-drive', 'file=in/top.qcow2'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert refused.returncode == 1 and 'backing=any' in refused.stderr, refused
    with Vm('-S', '-drive', 'file=in/top.qcow2,backing=any') as vm:
        assert vm.quit() == 0


# Format and options here, and the name of the format in qemu-img.
MADE = (('vdi', [], 'vdi'), ('vdi', ['-o', 'static=on'], 'vdi'), ('vhd', [], 'vpc'), ('vhd', ['-o', 'subformat=fixed'], 'vpc'),
        ('vpc', ['-o', 'force_size=off'], 'vpc'), ('vmdk', [], 'vmdk'), ('vmdk', ['-o', 'subformat=monolithicFlat'], 'vmdk'),
        ('vmdk', ['-o', 'subformat=twoGbMaxExtentSparse,adapter_type=lsilogic'], 'vmdk'),
        ('vmdk', ['-o', 'subformat=twoGbMaxExtentFlat', '-o', 'hwversion=7'], 'vmdk'),
        ('vmdk', ['-o', 'zeroed_grain=on,compat6=on'], 'vmdk'), ('vmdk', ['-o', 'subformat=streamOptimized'], 'vmdk'),
        ('qcow2', ['-c'], 'qcow2'), ('qcow2', ['-c', '-o', 'compression_type=zstd,cluster_size=4k'], 'qcow2'),
        ('qcow2', ['-c', '-o', 'compat=0.10,cluster_size=2M'], 'qcow2'), ('qcow2', ['-o', 'preallocation=metadata'], 'qcow2'),
        ('qcow2', ['-o', 'preallocation=falloc,cluster_size=512'], 'qcow2'), ('qcow2', ['-o', 'preallocation=full'], 'qcow2'),
        ('raw', ['-o', 'preallocation=falloc'], 'raw'), ('raw', ['-S', '0'], 'raw'))


@in_folder
def every_format_is_made_and_qemu_img_reads_it():
    scatter('a.raw', 5 * MIB + 512, 11)
    with open('a.raw', 'r+b') as file:  # something that packs
        file.seek(MIB)
        file.write(b'all work and no play ' * 30000)
    for number, (form, words, name) in enumerate(MADE):
        os.mkdir(str(number))
        made = f'{number}/disk.{form}'
        image('convert', '-O', form, *words, 'a.raw', made)
        judge('compare', '-f', 'raw', '-F', name, 'a.raw', made)
        if name not in ('raw', 'vpc'):
            judge('check', '-f', name, made)
        image('compare', 'a.raw', made)
        told = json.loads(judge('info', '--output', 'json', '-f', name, made))
        assert told['virtual-size'] == 5 * MIB + 512 or 'force_size=off' in words, (form, words, told)
        if form in ('vdi', 'vmdk', 'vhd', 'vpc') and not any('ixed' in w or 'Flat' in w for w in words):
            found = json.loads(image('check', '--output', 'json', made))
            assert found['corruptions'] == 0 and 0 < found['allocated-clusters'] <= found['total-clusters'], found
        ours = json.loads(image('info', '--output', 'json', made))
        kind = ours.get('format-specific', {}).get('data', {}).get('create-type', '')
        assert not any('subformat' in w for w in words) or kind and kind in words[1], (kind, words)
        assert ours['virtual-size'] == told['virtual-size'], (ours, told)
        assert not [f for f in os.listdir(str(number)) if 'part' in f]
    assert os.stat('10/disk.vmdk').st_size < os.stat('5/disk.vmdk').st_size and os.stat('11/disk.qcow2').st_size < 3 * MIB


@in_folder
def empty_images_of_every_format_are_written_by_qemu_img_and_by_us():
    for number, (form, words, name) in enumerate(MADE):
        if 'subformat=streamOptimized' in words or '-c' in words or '-S' in words:
            continue
        os.mkdir(str(number))
        made = f'{number}/disk.{form}'
        scatter('a.raw', 6 * MIB, 20 + number)
        image('create', '-f', form, *words, made, '6M')
        judge('convert', '-n', '-f', 'raw', '-O', name, 'a.raw', made)
        image('compare', 'a.raw', made)
        scatter('a.raw', 6 * MIB, 50 + number)
        image('convert', '-n', 'a.raw', made)
        judge('compare', '-f', 'raw', '-F', name, 'a.raw', made)
        if name not in ('raw', 'vpc'):
            judge('check', '-f', name, made)


@in_folder
def large_images_of_several_files_are_read():
    with open('a.raw', 'wb') as file:
        file.truncate(5 << 30)
        for at in (0, (2047 << 20) - 512, 2047 << 20, (4094 << 20) + 512, (5 << 30) - 512):
            file.seek(at)
            file.write(b'\x5a' * 512)
    for kind in ('twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'):
        image('convert', '-O', 'vmdk', '-o', f'subformat={kind}', 'a.raw', f'{kind}.vmdk')
        judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', f'{kind}.vmdk')
        assert len([f for f in os.listdir('.') if f.startswith(kind)]) == 4
    assert '--force' in image('create', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', 'a.raw', '1M', status=1)
    before = sorted(os.listdir('.'))
    os.rename('twoGbMaxExtentFlat.vmdk', 'kept')
    assert 'is there already' in image('create', '-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentFlat', 'twoGbMaxExtentFlat.vmdk', '5G', status=1)
    os.rename('kept', 'twoGbMaxExtentFlat.vmdk')
    assert sorted(os.listdir('.')) == before
    judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'twoGbMaxExtentFlat.vmdk')
    image('create', '--force', '-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentFlat', 'twoGbMaxExtentFlat.vmdk', '5G')
    image('compare', 'a.raw', 'twoGbMaxExtentFlat.vmdk', status=1)


@in_folder
def children_lie_above_parents_of_their_kind():
    for form, name in (('vmdk', 'vmdk'), ('vhd', 'vpc')):
        scatter('a.raw', 4 * MIB, 60)
        image('convert', '--force', '-O', form, 'a.raw', f'base.{form}')
        image('create', '-f', form, '-b', f'base.{form}', f'top.{form}')
        image('compare', 'a.raw', f'top.{form}')
        scatter('a.raw', 4 * MIB, 61)
        image('convert', '-n', 'a.raw', f'top.{form}')
        image('compare', 'a.raw', f'top.{form}')
        image('compare', 'a.raw', f'base.{form}', status=1)
        if form == 'vmdk':
            judge('compare', '-f', 'raw', '-F', name, 'a.raw', 'top.vmdk')
            judge('create', '-f', 'vmdk', '-b', 'base.vmdk', '-F', 'vmdk', 'other.vmdk')
            image('compare', 'base.vmdk', 'other.vmdk')
        assert json.loads(image('info', '--output', 'json', f'top.{form}'))['backing-filename'].endswith(f'base.{form}')
    assert 'take qcow2' in image('create', '-f', 'vmdk', '-b', 'base.vhd', 'no.vmdk', status=1)
    assert 'take qcow2' in image('create', '-f', 'vhd', '-b', 'base.vmdk', 'no.vhd', status=1)


@in_folder
def a_parent_that_was_written_to_is_noticed():
    """Its content ID changes with the first write, not before."""
    for seed, kind in enumerate(('monolithicSparse', 'monolithicFlat')):
        scatter('a.raw', 4 * MIB, 62 + seed)
        image('convert', '--force', '-O', 'vmdk', '-o', f'subformat={kind}', 'a.raw', 'base.vmdk')
        image('create', '--force', '-f', 'vmdk', '-b', 'base.vmdk', 'top.vmdk')
        image('compare', 'a.raw', 'top.vmdk')
        image('convert', '-n', 'a.raw', 'base.vmdk')  # nothing differs: nothing is written
        image('compare', 'a.raw', 'top.vmdk')
        judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'top.vmdk')
        scatter('a.raw', 4 * MIB, 64 + seed)
        image('convert', '-n', 'a.raw', 'base.vmdk')
        judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'base.vmdk')
        assert 'written to since' in image('compare', 'a.raw', 'top.vmdk', status=2)
        image('create', '--force', '-f', 'vmdk', '-b', 'base.vmdk', 'top.vmdk')
        image('compare', 'a.raw', 'top.vmdk')
        os.unlink('top.vmdk')
        for name in os.listdir('.'):
            if name.startswith('base'):
                os.unlink(name)


@in_folder
def content_ids_without_their_leading_zeros_are_renewed():
    """qemu-img writes one in sixteen with fewer than eight digits."""
    for digits in (b'abc1234', b'7'):
        scatter('a.raw', 4 * MIB, 66)
        image('convert', '--force', '-O', 'vmdk', 'a.raw', 'base.vmdk')
        with open('base.vmdk', 'r+b') as file:
            head = file.read(4096)
            at = head.index(b'\nCID=') + 5
            file.seek(at)
            file.write(digits + b'\n' * (8 - len(digits)))
        image('create', '--force', '-f', 'vmdk', '-b', 'base.vmdk', 'top.vmdk')
        image('compare', 'a.raw', 'top.vmdk')
        judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'top.vmdk')
        scatter('a.raw', 4 * MIB, 67)
        image('convert', '-n', 'a.raw', 'base.vmdk')
        assert 'written to since' in image('compare', 'a.raw', 'top.vmdk', status=2)
        judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'base.vmdk')


@in_folder
def measure_dd_join_and_chain_speak_as_qemu_img():
    scatter('a.raw', 40 * MIB, 90)
    for words in ([], ['-O', 'qcow2'], ['-O', 'qcow2', '-o', 'cluster_size=4k'], ['-O', 'qcow2', '-o', 'refcount_bits=64,cluster_size=512']):
        for what in (['a.raw'], ['--size', '10G'], ['--size', '1G']):
            ours, theirs = (json.loads(tool('measure', '--output', 'json', *words, *what)) for tool in (image, judge))
            assert ours['fully-allocated'] == theirs['fully-allocated'], (words, what, ours, theirs)
            assert ours['required'] == theirs['required'], (words, what, ours, theirs)
    assert image('measure', '--size', '1M') == judge('measure', '--size', '1M')
    assert 'not known' in image('measure', '-O', 'vdi', '--size', '1M', status=1)
    assert '--size' in image('measure', status=1)
    for words in (['bs=1M', 'skip=3', 'count=5'], ['bs=512', 'skip=81919'], ['bs=3k', 'count=7'], []):
        image('dd', '--force', '-O', 'qcow2', 'if=a.raw', 'of=part.qcow2', *words)
        subprocess.run(['dd', 'if=a.raw', 'of=part.raw', *words], check=True, stderr=subprocess.DEVNULL)
        judge('compare', '-f', 'raw', '-F', 'qcow2', 'part.raw', 'part.qcow2')
    assert '--force' in image('dd', 'if=a.raw', 'of=part.raw', status=1)
    assert 'nothing' in image('dd', '--force', 'if=a.raw', 'of=part.raw', 'bs=1M', 'skip=40', status=1)
    assert 'whole sectors' in image('dd', '--force', 'if=a.raw', 'of=part.raw', 'bs=100', status=1)
    scatter('b.raw', 3 * MIB + 512, 91)
    image('convert', '-O', 'qcow2', 'b.raw', 'b.qcow2')
    image('convert', '-O', 'qcow2', 'a.raw', 'b.qcow2', 'b.raw', 'joined.qcow2')
    judge('convert', '-O', 'raw', 'a.raw', 'b.qcow2', 'b.raw', 'joined.raw')
    judge('compare', 'joined.raw', 'joined.qcow2')
    assert 'plainly' in image('convert', '-c', '-O', 'qcow2', 'a.raw', 'b.raw', 'no.qcow2', status=1)
    image('create', '-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', 'c.qcow2')
    image('create', '-f', 'qcow2', '-b', 'c.qcow2', '-F', 'qcow2', 'd.qcow2')
    ours, theirs = (json.loads(tool('info', '--backing-chain', '--output', 'json', 'd.qcow2')) for tool in (image, judge))
    assert [one['filename'] for one in ours] == [one['filename'] for one in theirs] == ['d.qcow2', 'c.qcow2', 'b.qcow2']
    assert image('info', '--backing-chain', 'd.qcow2').count('virtual size') == 3


@in_folder
def check_finds_what_lies_in_one_place():
    scatter('a.raw', 4 * MIB, 80, 200)
    for form, table, value in (('vdi', 512, struct.pack('<I', 1)), ('vmdk', 26 * 512 + 512, None), ('vhd', 1536, None)):
        image('convert', '-O', form, '-S', '0', 'a.raw', f'a.{form}')
        image('check', f'a.{form}')
        with open(f'a.{form}', 'r+b') as file:
            file.seek(table + 4)
            second = file.read(4)
            file.seek(table)
            file.write(value or second)
        assert 'convert' in image('check', f'a.{form}', status=2)
        image('repair', f'a.{form}', status=2)
        image('convert', f'a.{form}', f'{form}.raw')


@in_folder
def a_snapshot_inside_is_converted():
    scatter('a.raw', 4 * MIB, 70)
    image('convert', '-O', 'qcow2', '-c', 'a.raw', 'a.qcow2')
    image('snapshot', '-c', 'one', 'a.qcow2')
    shutil.copy('a.raw', 'b.raw')
    scatter('b.raw', 4 * MIB, 71)
    image('convert', '-n', '-c', 'b.raw', 'a.qcow2')
    image('compare', 'b.raw', 'a.qcow2')
    judge('check', 'a.qcow2')
    for words in ('one', 'snapshot.name=one', 'snapshot.id=1'):
        image('convert', '--force', '-l', words, 'a.qcow2', 'c.raw')
        judge('compare', '-f', 'raw', '-F', 'raw', 'a.raw', 'c.raw')
    for words in (['-l', 'snapshot.name=one', 'a.qcow2'], ['a.qcow2']):
        assert judge('measure', '-O', 'qcow2', *words).startswith(image('measure', '-O', 'qcow2', *words)), words
    assert image('measure', '-O', 'qcow2', '-l', 'one', 'a.qcow2') != image('measure', '-O', 'qcow2', 'a.qcow2')
    assert 'snapshot -l' in image('measure', '-O', 'qcow2', '-l', 'two', 'a.qcow2', status=1)
    assert 'snapshot -l' in image('convert', '-l', 'two', 'a.qcow2', 'd.raw', status=1)
    image('snapshot', '-a', 'one', 'a.qcow2')
    image('compare', 'a.raw', 'a.qcow2')
    image('snapshot', '-d', 'one', 'a.qcow2')
    judge('check', 'a.qcow2')


def told(name):
    """What qemu-img says of an image; ours says the same."""
    theirs = json.loads(judge('info', '--output', 'json', name))
    ours = json.loads(image('info', '--output', 'json', name))
    assert ours['virtual-size'] == theirs['virtual-size'] and ours.get('backing-filename') == theirs.get('backing-filename'), (ours, theirs)
    for key, value in ours['format-specific']['data'].items():
        assert theirs['format-specific']['data'].get(key, value) == value, (key, ours, theirs)
    return theirs['format-specific']['data']


@in_folder
def amended_images_are_those_of_qemu_img():
    scatter('base.raw', 8 * MIB, 100)
    image('convert', '-O', 'qcow2', 'base.raw', 'base.qcow2')
    judge('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'a.qcow2')
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 3 1M 1M', '-c', 'write -z 2M 1M', '-c', 'write -z 128k 64k', 'a.qcow2'],
                   check=True, stdout=subprocess.DEVNULL)
    judge('snapshot', '-c', 'one', 'a.qcow2')
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -z 1M 512k', '-c', 'write -P 4 2M 64k', '-c', 'write -z 5M 1M', 'a.qcow2'],
                   check=True, stdout=subprocess.DEVNULL)
    judge('convert', '-O', 'raw', 'a.qcow2', 'now.raw')
    judge('convert', '-O', 'raw', '-l', 'one', 'a.qcow2', 'then.raw')
    for words, expected in (
            ('compat=0.10', {'compat': '0.10', 'refcount-bits': 16}), ('compat=0.10', {'compat': '0.10'}),
            ('compat=1.1', {'compat': '1.1', 'lazy-refcounts': False}), ('lazy_refcounts=on', {'lazy-refcounts': True}),
            ('refcount_bits=64', {'refcount-bits': 64, 'lazy-refcounts': True}), ('lazy_refcounts=off', {'lazy-refcounts': False}),
            ('refcount_bits=2', {'refcount-bits': 2}), ('compat=v2,refcount_bits=16', {'compat': '0.10', 'refcount-bits': 16}),
            ('compat=v3,lazy_refcounts=on,refcount_bits=8', {'compat': '1.1', 'lazy-refcounts': True, 'refcount-bits': 8})):
        assert image('amend', '-o', words, 'a.qcow2') == ''
        now = told('a.qcow2')
        assert expected.items() <= now.items(), (words, now)
        judge('check', 'a.qcow2')
        assert 'identical' in judge('compare', '-f', 'raw', '-F', 'qcow2', 'now.raw', 'a.qcow2')
        image('compare', 'now.raw', 'a.qcow2')
        judge('convert', '-O', 'raw', '-l', 'one', 'a.qcow2', 'then2.raw')
        judge('compare', '-f', 'raw', '-F', 'raw', 'then.raw', 'then2.raw')
    judge('amend', '-f', 'qcow2', '-o', 'compat=0.10,refcount_bits=16', 'a.qcow2')
    image('amend', '-f', 'qcow2', '-o', 'compat=1.1', '-o', 'lazy_refcounts=on', 'a.qcow2')
    judge('compare', '-f', 'raw', '-F', 'qcow2', 'now.raw', 'a.qcow2')
    name = 'b' * 200 + '.qcow2'  # its name is behind what one sector holds with the rest
    shutil.copy('base.qcow2', name)
    image('rebase', '-u', '-b', name, '-F', 'qcow2', 'a.qcow2')
    for place in ('./' * 150, './' * 400, ''):  # one that the new header covers, one that it does not
        image('rebase', '-u', '-b', place + name, '-F', 'qcow2', 'a.qcow2')
        for compat in ('0.10', '1.1'):
            image('amend', '-o', 'compat=' + compat, 'a.qcow2')
            assert told('a.qcow2')['compat'] == compat
            assert json.loads(judge('info', '--output', 'json', 'a.qcow2'))['backing-filename-format'] == 'qcow2'
            judge('check', 'a.qcow2')
            judge('compare', '-f', 'raw', '-F', 'qcow2', 'now.raw', 'a.qcow2')


@in_folder
def amended_vmdk_images_are_read_by_qemu_img():
    scatter('a.raw', 4 * MIB, 110)
    for kind in ('monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'):
        for make in (image, judge):
            for name in os.listdir('.'):
                if name.startswith('a') and name != 'a.raw':
                    os.unlink(name)
            make('convert', '-O', 'vmdk', '-o', f'subformat={kind}', 'a.raw', 'a.vmdk')
            for words, lines in (('adapter_type=lsilogic,hwversion=10', (b'adapterType = "lsilogic"', b'HWVersion = "10"', b'heads = "255"')),
                                 ('adapter_type=ide', (b'adapterType = "ide"', b'HWVersion = "10"', b'heads = "16"')),
                                 ('compat6=on', (b'HWVersion = "6"',)), ('compat6=off', (b'HWVersion = "4"',))):
                image('amend', '-o', words, 'a.vmdk')
                with open('a.vmdk', 'rb') as file:
                    text = file.read(8192)
                assert all(text.count(line) == 1 for line in lines), (words, text)
                assert text.count(b'adapterType') == text.count(b'virtualHWVersion') == text.count(b'geometry.heads') == 1, text
                judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'a.vmdk')
                image('compare', 'a.raw', 'a.vmdk')
            if 'Flat' in kind:
                assert 'flat' in image('amend', '-o', 'zeroed_grain=on', 'a.vmdk', status=1)
            else:
                image('amend', '-o', 'zeroed_grain=on', 'a.vmdk')
                judge('check', 'a.vmdk')
                judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'a.vmdk')
    os.mkdir('old')
    image('convert', '-O', 'vmdk', 'a.raw', 'base.vmdk')
    image('create', '-f', 'vmdk', '-b', 'base.vmdk', 'top.vmdk')
    os.rename('base.vmdk', 'old/parent.vmdk')
    image('compare', 'a.raw', 'top.vmdk', status=2)
    image('amend', '-o', 'backing_file=old/parent.vmdk', 'top.vmdk')
    image('compare', 'a.raw', 'top.vmdk')
    judge('compare', '-f', 'raw', '-F', 'vmdk', 'a.raw', 'top.vmdk')
    image('convert', '-O', 'vmdk', 'a.raw', 'other.vmdk')
    assert 'written to since' in image('amend', '-o', 'backing_file=other.vmdk', 'top.vmdk', status=1)
    assert 'no backing file' in image('amend', '-o', 'backing_file=base.vmdk', 'other.vmdk', status=1)
    image('compare', 'a.raw', 'top.vmdk')


@in_folder
def amend_refuses_by_the_options_name_and_the_remedy():
    for form in ('qcow2', 'vmdk', 'vdi', 'vhd', 'raw'):
        image('create', '-f', form, f'a.{form}', '4M')
    image('convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'a.raw', 'stream.vmdk')
    files = {name: open(name, 'rb').read() for name in os.listdir('.')}
    for form, words, parts in (
            ('qcow2', 'cluster_size=4k', ('cluster_size', 'convert')), ('qcow2', 'compression_type=zstd', ('compression_type', 'convert')),
            ('qcow2', 'backing_file=x', ('backing_file', 'rebase')), ('qcow2', 'backing_fmt=raw', ('backing_fmt', 'rebase -u')),
            ('qcow2', 'preallocation=full', ('preallocation', 'convert')), ('qcow2', 'size=8M', ('size', 'resize')),
            ('qcow2', 'compat=0.10,lazy_refcounts=on', ('lazy_refcounts', 'compat=1.1')), ('qcow2', 'compat=2', ('compat=2', '0.10')),
            ('qcow2', 'refcount_bits=3', ('refcount_bits=3', 'power of two')), ('qcow2', 'colour=red', ('colour', 'lazy_refcounts')),
            ('qcow2', 'compat=0.10,refcount_bits=8', ('refcount_bits=16',)), ('qcow2', 'lazy_refcounts=perhaps', ('lazy_refcounts',)),
            ('vmdk', 'subformat=monolithicFlat', ('subformat', 'convert')), ('vmdk', 'adapter_type=x', ('adapter_type', 'lsilogic')),
            ('vmdk', 'hwversion=0', ('hwversion', '99')), ('vdi', 'static=on', ('static', 'convert')),
            ('vdi', 'block_size=2M', ('block_size', 'convert')), ('vhd', 'subformat=fixed', ('subformat', 'convert')),
            ('vhd', 'force_size=off', ('force_size', 'convert')), ('vhd', 'backing_file=x', ('backing_file', 'convert')),
            ('raw', 'preallocation=full', ('preallocation', 'convert')), ('vdi', 'compat=1.1', ('vdi', 'convert'))):
        said = image('amend', '-f', form, '-o', words, f'a.{form}', status=1)
        assert all(part in said for part in parts), (words, said)
    assert 'convert' in image('amend', '-o', 'hwversion=6', 'stream.vmdk', status=1)
    assert '-o' in image('amend', 'a.qcow2', status=1)
    assert {name: open(name, 'rb').read() for name in os.listdir('.')} == files
    with Vm('-hda', 'a.qcow2', '-S'):
        assert 'in use' in image('amend', '-o', 'lazy_refcounts=on', 'a.qcow2', status=1)
    image('create', '-f', 'qcow2', 'b.qcow2', '4M')
    for mark, part in ((b'\1', 'not closed'), (b'\2', 'marked as damaged')):
        with open('b.qcow2', 'r+b') as file:
            file.seek(79)
            file.write(mark)
        said = image('amend', '-o', 'lazy_refcounts=on', 'b.qcow2', status=1)
        assert part in said and 'check -r all' in said, said
        image('check', '-r', 'all', 'b.qcow2')
        image('amend', '-o', 'lazy_refcounts=on', 'b.qcow2')
        judge('check', 'b.qcow2')


@in_folder
def a_name_that_says_another_format_is_noted():
    for words, note in ((('create', 'n.qcow2', '1M'), "'n.qcow2' is made raw; with -f qcow2"),
                        (('convert', 'n.qcow2', 'n.VMDK'), "'n.VMDK' is made raw; with -O vmdk"),
                        (('create', '-f', 'raw', 'm.vdi', '1M'), None), (('create', '-f', 'vhd', 'm.vpc', '1M'), None)):
        said = run_image(*words).stderr
        assert (note in said and said.startswith('vitrine: note: ')) if note else not said, (words, said)


@in_folder
def a_missing_folder_is_named():
    said = image('create', 'nowhere/a.img', '1M', status=1)
    assert said == "vitrine: 'nowhere': there is no such folder; make it, or name another\n", said


@in_folder
def wrong_words_are_one_line():
    for words in (['dance'], ['create'], ['create', 'a', '12x'], ['create', '-f', 'qed', 'a', '1M'], ['create', '-f', 'vdi', '-o', 'subformat=x', 'a', '1M'],
                  ['create', '-f', 'vmdk', '-o', 'adapter_type=x', 'a', '1M'], ['create', '-f', 'vhd', 'a', '3T'], ['create', '-z', 'a', '1M'],
                  ['create', '-f', 'qcow2', '-o', 'colour=red', 'a', '1M'], ['create', '-f', 'qcow2', '-o', 'cluster_size=3k', 'a', '1M'],
                  ['info', 'nowhere.img'], ['info', '-f', 'qed', __file__], ['info', '--output', 'xml', 'a'], ['resize', 'a'], ['snapshot', '-l', '-d', 'x', 'a'],
                  ['rebase', 'a'], ['create', '-b', 'x', 'a', '1M']):
        image(*words, status=1)
    assert os.listdir('.') == [], os.listdir('.')


tap.run(create_makes_what_qemu_img_takes, nothing_is_overwritten_unless_told, convert_loses_nothing_and_keeps_holes,
        compare_and_map_agree_with_the_bytes, map_tells_where_it_lies, check_finds_and_repair_mends, resize_keeps_the_front_and_asks_before_it_cuts,
        snapshots_are_those_of_qemu_img, chains_are_made_committed_and_rebased, backing_files_elsewhere_need_a_word,
        every_format_is_made_and_qemu_img_reads_it, empty_images_of_every_format_are_written_by_qemu_img_and_by_us,
        large_images_of_several_files_are_read, children_lie_above_parents_of_their_kind, a_parent_that_was_written_to_is_noticed,
        content_ids_without_their_leading_zeros_are_renewed,
        measure_dd_join_and_chain_speak_as_qemu_img,
        check_finds_what_lies_in_one_place, a_snapshot_inside_is_converted, amended_images_are_those_of_qemu_img, amended_vmdk_images_are_read_by_qemu_img,
        amend_refuses_by_the_options_name_and_the_remedy, a_name_that_says_another_format_is_noted, a_missing_folder_is_named, wrong_words_are_one_line)
