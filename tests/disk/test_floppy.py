#!/usr/bin/env python3
"""IMD and TD0 floppy images, made here byte by byte and by dsktrans (libdsk-utils), read by `vitrine image`."""
import os
import random
import shutil
import struct
import subprocess

from images import get, image, in_folder, put, tap

KIB = 1024


def dsktrans(*words):
    if not shutil.which('dsktrans'):
        raise tap.Skip('dsktrans is not installed (Debian: libdsk-utils)')
    done = subprocess.run(['dsktrans', *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, (words, done.stdout)


def content(size, seed=1):
    """Text, noise and empty sectors."""
    dice, out = random.Random(seed), b''
    while len(out) < size:
        kind = dice.randrange(4)
        out += (b'FORMAT COM ' * 200 if kind == 0 else dice.randbytes(1024) if kind == 1 else
                bytes([dice.randrange(256)]) * 1536 if kind == 2 else bytes(dice.randrange(2048)))
    return out[:size]


# ---- IMD ----

def imd(tracks):
    """tracks: (mode, cylinder, head byte, [(r, n, kind, data)], maps behind the numbers)"""
    out = b'IMD 1.18: 01/02/1988 03:04:05\r\na comment\x1a'
    for mode, cylinder, head, sectors, maps, code in tracks:
        out += bytes([mode, cylinder, head, len(sectors), code]) + bytes(s[0] for s in sectors) + maps
        for _, kind, data in sectors:
            out += bytes([kind]) + data
    return out


@in_folder
def imd_is_read_in_order_of_numbers():
    disk = content(720 * KIB)
    tracks = []
    for c in range(80):
        for h in range(2):
            at, order = (c * 2 + h) * 9 * 512, [1, 6, 2, 7, 3, 8, 4, 9, 5]
            sectors = []
            for r in order:
                data = disk[at + (r - 1) * 512:at + r * 512]
                alike = len(set(data)) == 1
                sectors.append((r, 2 if alike else 1, data[:1] if alike else data))
            tracks.append((5, c, h, sectors, b'', 2))
    put('a.imd', imd(tracks))
    put('a.raw', disk)
    assert 'imd' in image('info', 'a.imd')
    image('compare', 'a.imd', 'a.raw')
    image('convert', 'a.imd', 'b.raw')
    assert get('b.raw') == disk


@in_folder
def imd_of_every_size_is_made_and_read_back():
    for number, size in enumerate((160, 180, 320, 360, 720, 1200, 1440, 2880)):
        put('a.raw', content(size * KIB, number))
        image('convert', '--force', '-O', 'imd', 'a.raw', 'a.imd')
        image('compare', '-F', 'raw', 'a.imd', 'a.raw')
        image('convert', '--force', '-O', 'imd', 'a.imd', 'b.imd')  # from an image that knows its sectors
        assert get('a.imd').split(b'\x1a', 1)[1] == get('b.imd').split(b'\x1a', 1)[1]
    put('a.raw', content(777 * KIB))
    assert 'no floppy' in image('convert', '--force', '-O', 'imd', 'a.raw', 'c.imd', status=1)
    assert 'layout' in image('create', '-f', 'imd', 'd.imd', '1440K', status=1)
    assert sorted(os.listdir('.')) == ['a.imd', 'a.raw', 'b.imd']


@in_folder
def imd_of_odd_layouts_keeps_all():
    one = random.Random(5).randbytes(20000)
    tracks = [(3, 0, 0, [(1, 1, one[:128]), (2, 3, one[128:256]), (3, 5, one[256:384])], b'', 0),
              (4, 1, 0x80, [(7, 1, one[:256])], b'\x09', 1), (5, 2, 0x41, [(9, 1, one[:1024]), (8, 0, b'')], b'\x00\x01', 3),
              (0, 3, 0, [(1, 7, one[:512]), (2, 2, b'\x33')], struct.pack('<HH', 512, 8192), 0xff)]
    put('a.imd', imd(tracks))
    image('convert', 'a.imd', 'a.raw')
    raw = get('a.raw')
    assert len(raw) % 512 == 0 and raw[:384] == one[:384]
    for piece in (one[:256], one[:1024], b'\x33' * 8192):
        assert piece in raw
    image('convert', '-O', 'imd', 'a.imd', 'b.imd')
    image('compare', 'a.imd', 'b.imd')
    assert get('b.imd').split(b'\x1a', 1)[1] == get('a.imd').split(b'\x1a', 1)[1]


@in_folder
def imd_and_td0_of_libdsk_are_read():
    for size, form in ((360, 'ibm360'), (720, 'ibm720'), (1200, 'ibm1200'), (1440, 'ibm1440')):
        put('a.raw', content(size * KIB, size))
        for kind in ('imd', 'tele'):
            name = f'{form}.{kind}'
            dsktrans('-itype', 'raw', '-otype', kind, '-format', form, 'a.raw', name)
            image('compare', '-F', 'raw', name, 'a.raw')
        image('convert', '--force', '-O', 'imd', 'a.raw', 'ours.imd')
        dsktrans('-itype', 'imd', '-otype', 'raw', '-format', form, 'ours.imd', 'back.raw')
        assert get('back.raw') == get('a.raw')


# ---- TD0 ----

def crc(data):
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0xa097 if value & 0x8000 else 0)) & 0xffff
    return value


def pack(data):
    """One sector: pairs when it is one pair throughout, else runs or plain bytes."""
    if data == data[:2] * (len(data) // 2):
        body = b'\x01' + struct.pack('<H', len(data) // 2) + data[:2]
    elif data[:256] == data[:4] * 64:
        body = b'\x02' + bytes([2, 64]) + data[:4] + b''.join(b'\0\x80' + data[i:i + 128] for i in range(256, len(data), 128))
    else:
        body = b'\x00' + data
    return struct.pack('<H', len(body)) + body


def td0(disk, cylinders, heads, sectors, comment=b'', flags={}, rate=0):
    """flags: by number of the sector on the disk"""
    body = b''
    if comment:
        body += struct.pack('<HH', 0, len(comment)) + bytes([88, 1, 2, 3, 4, 5]) + comment
    for c in range(cylinders):
        for h in range(heads):
            head = bytes([sectors, c, h])
            body += head + bytes([crc(head) & 0xff])
            for r in range(sectors):
                number = (c * heads + h) * sectors + r
                data, flag = disk[number * 512:number * 512 + 512], flags.get(number, 0)
                body += bytes([c, h, r + 1, 2, flag, crc(data) & 0xff]) + (b'' if flag & 0x30 else pack(data))
    return bytes([0, 0, 21, rate, 4, 0x80 if comment else 0, 0, heads]), body + b'\xff\0\0\0'


def td0_file(head, body, packed=False):
    head = (b'td' if packed else b'TD') + head
    return head + struct.pack('<H', crc(head)) + body


class Huffman:
    """The writing side of LZHUF, straight from its description: a sibling list that is searched."""
    SYMBOLS = 314

    def __init__(self):
        n = self.SYMBOLS
        self.freq, self.son, self.parent = [1] * n, [n * 2 - 1 + i for i in range(n)], {n * 2 - 1 + i: i for i in range(n)}
        i = 0
        while len(self.freq) < 2 * n - 1:
            self.freq.append(self.freq[i] + self.freq[i + 1])
            self.son.append(i)
            self.parent[i] = self.parent[i + 1] = len(self.freq) - 1
            i += 2
        self.root, self.bits = 2 * n - 2, []

    def rebuild(self):
        leaves = [((f + 1) // 2, s) for f, s in zip(self.freq, self.son) if s >= 2 * self.SYMBOLS - 1]
        nodes, i = leaves, 0
        while len(nodes) < 2 * self.SYMBOLS - 1:
            total, place = nodes[i][0] + nodes[i + 1][0], len(nodes)
            while nodes[place - 1][0] > total:
                place -= 1
            nodes.insert(place, (total, i))
            i += 2
        self.freq, self.son = [f for f, _ in nodes], [s for _, s in nodes]
        for at, s in enumerate(self.son):
            self.parent[s] = at
            if s < 2 * self.SYMBOLS - 1:
                self.parent[s + 1] = at

    def swap(self, a, b):
        self.son[a], self.son[b] = self.son[b], self.son[a]
        for at in (a, b):
            self.parent[self.son[at]] = at
            if self.son[at] < 2 * self.SYMBOLS - 1:
                self.parent[self.son[at] + 1] = at

    def put(self, symbol):
        path, at = [], self.parent[2 * self.SYMBOLS - 1 + symbol]
        node, child = at, 2 * self.SYMBOLS - 1 + symbol
        node = self.parent[child]
        while node != self.root:
            path.append(node - self.son[self.parent[node]])
            node = self.parent[node]
        self.bits += reversed(path)
        if self.freq[self.root] == 0x8000:
            self.rebuild()
        node = self.parent[child]
        while True:
            self.freq[node] += 1
            if node < self.root and self.freq[node] > self.freq[node + 1]:
                other = node + 1
                while other < self.root and self.freq[node] > self.freq[other + 1]:
                    other += 1
                self.freq[node], self.freq[other] = self.freq[other], self.freq[node]
                self.swap(node, other)
                node = other
            if node == self.root:
                return
            node = self.parent[node]

    def distance(self, value):
        code, upper = 0, value >> 6
        for length, count in ((3, 1), (4, 3), (5, 8), (6, 12), (7, 24), (8, 16)):
            code <<= 1 if length > 3 else 0
            if upper < count:
                code += upper
                break
            upper -= count
            code += count
        self.bits += [code >> i & 1 for i in reversed(range(length))] + [value >> i & 1 for i in reversed(range(6))]


def squeeze(data):
    out, at, seen = Huffman(), 0, {}
    text = b' ' * 4096 + data
    for i in range(4036, 4096):
        seen[text[i:i + 3]] = i
    while at < len(data):
        here = at + 4096
        start, length = seen.get(text[here:here + 3]), 0
        if start is not None and here - start <= 4036:
            while length < 60 and here + length < len(text) and text[start + length] == text[here + length]:
                length += 1
        if length >= 3:
            out.put(256 - 3 + length)
            out.distance(here - start - 1)
        else:
            length = 1
            out.put(data[at])
        for i in range(here, here + length):
            seen[text[i:i + 3]] = i
        at += length
    bits = out.bits + [0] * (-len(out.bits) % 8)
    return bytes(sum(bit << (7 - i) for i, bit in enumerate(bits[at:at + 8])) for at in range(0, len(bits), 8))


def patterned(size, seed):
    return b''.join([content(size // 2, seed), b'\xe5\xf6' * (size // 8), (b'abcd' * 64 + bytes(range(256))) * (size // 2048)])[:size]


@in_folder
def td0_is_read():
    disk = patterned(360 * KIB, 3)
    disk += bytes(360 * KIB - len(disk))
    for words in ({}, {'comment': b'from a box in the attic\0second line\0'}):
        put('a.td0', td0_file(*td0(disk, 40, 2, 9, **words)))
        put('a.raw', disk)
        image('compare', '-F', 'raw', 'a.td0', 'a.raw')
    head, body = td0(disk, 40, 2, 9, flags={3: 0x20, 5: 0x10, 7: 0x02})
    put('a.td0', td0_file(head, body))
    holes = bytearray(disk)
    for number in (3, 5):
        holes[number * 512:number * 512 + 512] = bytes(512)
    put('a.raw', holes)
    image('compare', '-F', 'raw', 'a.td0', 'a.raw')


@in_folder
def packed_td0_is_read():
    disk = patterned(360 * KIB, 4)
    disk += bytes(360 * KIB - len(disk))
    put('a.raw', disk)
    head, body = td0(disk, 40, 2, 9, comment=b'packed')
    squeezed = squeeze(body)
    assert len(squeezed) < len(body)
    put('a.td0', td0_file(head, squeezed, packed=True))
    image('compare', '-F', 'raw', 'a.td0', 'a.raw')
    dsktrans('-itype', 'tele', '-otype', 'raw', '-format', 'ibm360', 'a.td0', 'b.raw')  # does it agree with our writing side?
    assert get('b.raw') == disk


@in_folder
def a_long_run_of_symbols_halves_the_tree():
    """More than 8000h symbols, so that the counts are halved several times."""
    disk = random.Random(5).randbytes(360 * KIB)
    head, body = td0(disk, 40, 2, 9)
    put('a.td0', td0_file(head, squeeze(body), packed=True))
    put('a.raw', disk)
    image('compare', '-F', 'raw', 'a.td0', 'a.raw')


@in_folder
def bad_files_are_refused_in_words():
    disk = content(360 * KIB)
    head, body = td0(disk, 40, 2, 9)
    whole = td0_file(head, body)
    good_imd = imd([(5, 0, 0, [(1, 1, bytes(512))], b'', 2)])
    cases = [(whole[:-4000], 'cut off'), (whole[:30], 'cut off'),
             (whole[:5] + b'\x07' + whole[6:], 'checksum'), (td0_file(head[:2] + b'\x0f' + head[3:], body, packed=True), 'not supported'),
             (td0_file(head, body[:2] + b'\x01' + body[3:]), 'checksum'), (td0_file(head, body[:-4] + body), 'twice'),
             (td0_file(head, b'\xff\0\0\0'), 'no sectors'), (td0_file(head, b'', packed=True), 'cut off'),
             (td0_file(head, b'\xff' * 1000, packed=True), 'damaged'),
             (good_imd[:-1], 'cut off'), (b'IMD 1.18 without an end', 'no head'), (good_imd + good_imd[-517:], ''),
             (imd([(9, 0, 0, [], b'', 2)]), 'out of range'), (imd([(5, 99, 0, [(1, 1, bytes(512))], b'', 2)]), 'more tracks'),
             (imd([(5, 0, 0, [(1, 9, bytes(512))], b'', 2)]), 'cut off'), (imd([(5, 0, 0, [(1, 1, bytes(512))], b'', 9)]), 'out of range'),
             (imd([(5, 0, 0, [(1, 1, b'x' * 100)], b'\x64\x00', 0xff)]), 'out of range'), (imd([]), 'no sectors')]
    # 86 cylinders of 255 sectors of 16 KiB from a few bytes: a bomb
    cases.append((imd([(5, c, h, [(1, 2, b'x')] * 255, b'', 7) for c in range(86) for h in range(2)]), 'too many'))
    for number, (data, part) in enumerate(cases):
        put('bad.img', data)
        told = image('info', 'bad.img', status=1)
        assert 'bad.img' in told and part in told, (number, told)
        assert get('bad.img') == data


tap.run(imd_is_read_in_order_of_numbers, imd_of_every_size_is_made_and_read_back, imd_of_odd_layouts_keeps_all,
        imd_and_td0_of_libdsk_are_read, td0_is_read, packed_td0_is_read, a_long_run_of_symbols_halves_the_tree,
        bad_files_are_refused_in_words)
