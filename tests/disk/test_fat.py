#!/usr/bin/env python3
"""A folder as a FAT disk (fat:FOLDER): fsck.fat and mtools judge the disk, and the host's files stay as they are."""
import os
import random
import shutil
import subprocess

from images import get, image, in_folder, put, tap
from tests.lib.vm import Vm, program

PARTITION = 63 * 512
TOOLS = dict(os.environ, MTOOLS_SKIP_CHECK='1', MTOOLS_LOWER_CASE='0', LC_ALL='C.UTF-8', PATH=os.environ['PATH'] + ':/usr/sbin:/sbin')


def tool(*words):
    if not shutil.which(words[0], path=TOOLS['PATH']):
        raise tap.Skip(f'{words[0]} is not installed (Debian: dosfstools, mtools)')
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=TOOLS, timeout=60)
    assert done.returncode == 0, (words, done.stdout)
    return done.stdout.decode('utf-8', 'replace')


def checked(what, out, offset=PARTITION):
    """The disk as a file, with its file system judged sound; what mtools calls it."""
    image('convert', '--force', what, out)
    with open(out, 'rb') as file, open('volume', 'wb') as volume:
        file.seek(offset)
        shutil.copyfileobj(file, volume)
    told = tool('fsck.fat', '-n', '-v', 'volume')
    assert 'differ' not in told and 'Free cluster' not in told, told
    os.unlink('volume')
    return f'{out}@@{offset}'


def copied_out(disk, folder):
    """All files on the disk, by their long names."""
    os.makedirs(folder)
    tool('mcopy', '-s', '-n', '-Q', '-i', disk, '::', folder)
    found = {}
    for at, _, files in os.walk(folder):
        for name in files:
            found[os.path.relpath(os.path.join(at, name), folder)] = get(os.path.join(at, name))
    return found


@in_folder
def files_and_folders_come_out_as_they_are():
    dice, wanted = random.Random(1), {}
    for name in ('AUTOEXEC.BAT', 'readme.txt', 'A Long Name With Spaces.document', 'noext', 'many.dots.in.it.tar.gz', 'sub/deep/er/x.bin',
                 'sub/Mixed Case.TXT', 'empty', 'sub/empty too', 'ünïcödé ☃.txt', '+plus,comma;[brackets].x', '.hidden', 'trail.ing'):
        wanted[name] = dice.randbytes(dice.choice((0, 1, 511, 512, 513, 4096, 70000))) if 'empty' not in name else b''
        put('top/' + name, wanted[name])
    os.makedirs('top/an empty folder')
    disk = checked('fat:top', 'disk.raw')
    assert copied_out(disk, 'out') == wanted
    listing = tool('mdir', '-a', '-i', disk, '::')
    assert 'AUTOEXEC BAT' in listing and 'README   TXT' in listing and 'ALONGN~1 DOC' in listing, listing
    image('compare', 'fat:top', 'disk.raw')  # the same folder makes the same disk
    assert {os.path.relpath(os.path.join(a, f), 'top'): get(os.path.join(a, f)) for a, _, fs in os.walk('top') for f in fs} == wanted


@in_folder
def short_names_are_unique_and_clean():
    names = [f'the same beginning {i}.text' for i in range(300)] + ['con', 'NUL.txt', 'com1.log', 'x' * 200, '日本語' * 20, 'a' * 255]
    for name in names:
        put('top/' + name, name.encode())
    disk = checked('fat:top', 'disk.raw')
    assert sorted(copied_out(disk, 'out').values()) == sorted(n.encode() for n in names)
    with open('disk.raw', 'rb') as file:
        raw = file.read(1 << 20)
    entries = {raw[at:at + 8] for at in range(0, len(raw), 32)}
    assert b'_CON    ' in entries and not entries & {b'CON     ', b'NUL     ', b'COM1    '}


@in_folder
def hostile_names_and_links_do_no_harm():
    put('secret', b'not yours')
    put('top/good', b'good')
    for name in (b'\xff\xfe\x80', b'tab\there', b'new\nline', b'quote"s<>|?*:', b'back\\slash', b'dots...', b'   ', b'...', b'same', b'SAME',
                 b'\xf0\x9f\x98\x80 face', b'\xc0\x80 overlong', b'\xed\xa0\x80 half', b'e5\xe5', b'%s%n'):
        with open(b'top/' + name, 'wb') as file:
            file.write(b'<' + name + b'>')
    os.symlink('../secret', 'top/out')
    os.symlink(os.path.abspath('secret'), 'top/absolute')
    os.symlink('/etc', 'top/folder out')
    os.symlink('.', 'top/loop')
    os.symlink('nowhere', 'top/dangling')
    os.symlink('good', 'top/inside')
    os.mkfifo('top/pipe')
    disk = checked('fat:top', 'disk.raw')
    found = copied_out(disk, 'out')
    assert b'not yours' not in get('disk.raw')
    assert len(found) == 17 and found['inside'] == b'good', sorted(found)
    values = set(found.values())
    assert b'<same>' in values and b'<SAME>' in values and b'<\xff\xfe\x80>' in values
    told = image('info', 'fat:top')
    assert told.count('leads out of the folder') == 4 and 'link to a folder' in told and 'neither a file' in told, told


@in_folder
def every_kind_of_fat_is_sound():
    put('top/small', b'x' * 1000)
    said = subprocess.run([program(), 'run', '-display', 'none', '-fda', 'fat:top'], capture_output=True, text=True, timeout=60)
    assert said.returncode and 'fat:floppy:' in said.stderr, said
    for name, size, offset in (('fat:floppy:top', 1474560, 0), ('fat:rw:floppy:top', 1474560, 0), ('fat:12:floppy:top', 1474560, 0),
                               ('fat:16:top', None, PARTITION), ('fat:32:top', None, PARTITION), ('fat:rw:top', None, PARTITION)):
        disk = checked(name, 'disk.raw', offset)
        assert size is None or os.path.getsize('disk.raw') == size
        assert 'small' in tool('mdir', '-i', disk, '::')
        assert os.stat('disk.raw').st_blocks * 512 < 2 << 20  # what is empty stays a hole
    put('top/large', random.Random(2).randbytes(1500000))
    checked('fat:floppy:top', 'disk.raw', 0)
    assert os.path.getsize('disk.raw') == 2949120
    put('top/large', bytes(3000000))
    assert 'floppy: out' in image('info', 'fat:floppy:top', status=1)
    for size in (200 << 20, 1 << 30, (2 << 30) - 1):  # larger clusters
        with open('top/large', 'wb') as file:
            file.truncate(size)
            file.seek(size - 5)
            file.write(b'the e')
        disk = checked('fat:top', 'disk.raw')
        assert tool('mtype', '-i', disk, '::large')[-5:] == 'the e'
    with open('top/larger', 'wb') as file:
        file.truncate(1 << 30)
    assert '16:' in image('info', 'fat:16:top', status=1)
    checked('fat:top', 'disk.raw')
    with open('top/larger', 'wb') as file:
        file.truncate(5 << 30)
    assert 'larger than FAT allows' in image('info', 'fat:top')


@in_folder
def a_file_that_changes_is_still_safe_to_read():
    """The folder is read when the disk is opened; a machine is running meanwhile."""
    put('top/a', b'A' * 5000)
    put('top/b', b'B' * 5000)
    with Vm('-S', '-drive', 'file=fat:rw:top,format=raw', '-m', '2') as vm:
        told = vm.qmp('query-block')
        assert any(b.get('inserted', {}).get('file', '').startswith('fat:') for b in told), told
        os.truncate('top/a', 10)
        os.unlink('top/b')
        assert vm.quit() == 0
    assert sorted(os.listdir('top')) == ['a']


@in_folder
def wrong_words_are_one_line():
    os.mkdir('top')
    put('file', b'x')
    for words, part in (('fat:', 'folder'), ('fat:nowhere', 'nowhere'), ('fat:file', 'Not a directory'), ('fat:12:top', 'floppies'),
                        ('fat:floppy:32:top', 'floppies')):
        told = image('info', words, status=1)
        assert part in told and told.count('\n') == 1, told
    image('info', 'fat:top')
    assert image('compare', 'fat:top', 'fat:top') == 'Images are identical.\n'


tap.run(files_and_folders_come_out_as_they_are, short_names_are_unique_and_clean, hostile_names_and_links_do_no_harm,
        every_kind_of_fat_is_sound, a_file_that_changes_is_still_safe_to_read, wrong_words_are_one_line)
