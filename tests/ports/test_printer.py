#!/usr/bin/env python3
"""A guest prints by LPT1 into a PDF: places and looks of text, box drawing and dots, judged by poppler's tools."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from tests.lib import picture, tap  # noqa: E402

OUT = os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release'))
DPI = 144
ESC = b'\x1b'
folder = tempfile.mkdtemp(prefix='vitrine-printer-')


def printed(data, options=''):
    """Prints data from a guest; returns the PDF's path."""
    image, pdf = os.path.join(folder, 'print.img'), os.path.join(folder, 'out.pdf')
    with open(OUT + '/tests/ports/print.bin', 'rb') as file:
        disk = bytearray(file.read())
    disk[504:508] = len(data).to_bytes(4, 'little')
    disk[512:512 + len(data)] = data
    with open(image, 'wb') as file:
        file.write(disk)
    command = [OUT + '/vitrine', 'run', '-m', '4', '-display', 'none', '-fda', image, '-boot', 'a', '-accel', 'interpreter',
               '-icount', 'shift=5,sleep=off', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot',
               '-parallel', f'pdf:{pdf}{options}']
    done = subprocess.run(command, timeout=200, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 1, (done.returncode, done.stdout.decode())
    return pdf


def need(tool):
    if not shutil.which(tool):
        raise tap.Skip(f'{tool} (poppler-utils) is not installed')


def words(pdf):
    """(text, left, top, right, bottom) of each word, in inches, and the pages' sizes."""
    need('pdftotext')
    done = subprocess.run(['pdftotext', '-bbox', pdf, '-'], check=True, stdout=subprocess.PIPE)
    text = done.stdout.decode()
    found = re.findall(r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>', text)
    pages = re.findall(r'<page width="([\d.]+)" height="([\d.]+)"', text)
    return ([(w, *(float(v) / 72 for v in place)) for *place, w in found], [tuple(float(v) / 72 for v in p) for p in pages])


def shots(pdf):
    """The pages' pictures at DPI."""
    need('pdftoppm')
    stem = os.path.join(folder, 'page')
    for name in os.listdir(folder):
        if name.startswith('page-'):
            os.unlink(os.path.join(folder, name))
    subprocess.run(['pdftoppm', '-r', str(DPI), '-aa', 'no', '-aaVector', 'no', pdf, stem], check=True)
    if os.environ.get('VITRINE_SHOTS'):
        shutil.copy(pdf, os.environ['VITRINE_SHOTS'])
    return [picture.read(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.startswith('page-')]


def black(shot, left, top, right, bottom):
    """Share of dark pixels in a field, given in inches."""
    x0, y0, x1, y1 = (round(v * DPI) for v in (left, top, right, bottom))
    dark = sum(1 for y in range(y0, y1) for x in range(x0, x1) if shot.rgb[3 * (y * shot.width + x)] < 128)
    return dark / ((x1 - x0) * (y1 - y0))


def near(value, wanted, tolerance=0.012):
    assert abs(value - wanted) < tolerance, f'{value:.3f}, not {wanted:.3f}'


def pitches_and_lines():
    data = (b'Plain\r\n' + ESC + b'MElite\r\n' + ESC + b'P\x0fCondensed\x12\r\n' + ESC + b'W1Wide' + ESC + b'W0\r\n'
            + ESC + b'A\x14' + b'far\r\n' + b'below\r\n' + ESC + b'2\tTab\tTwo\r\n' + ESC + b'$\x3c\x00Placed\r\n')
    found, pages = words(printed(data))
    place = {w: p for w, *p in found}
    near(pages[0][0], 8.5)
    near(pages[0][1], 11)
    for word, cpi in (('Plain', 10), ('Elite', 12), ('Condensed', 17.14), ('Wide', 5)):
        near(place[word][0], 0.25)
        near(place[word][2] - place[word][0], len(word) / cpi)
    lines = [place[w][1] for w in ('Plain', 'Elite', 'Condensed', 'Wide')]
    for upper, lower in zip(lines, lines[1:]):
        near(lower - upper, 1 / 6)
    near(place['below'][1] - place['far'][1], 1 / 3)  # 20/60
    near(place['Tab'][1] - place['below'][1], 1 / 3)
    near(place['Tab'][0], 0.25 + 0.8)
    near(place['Two'][0], 0.25 + 1.6)
    near(place['Placed'][0], 0.25 + 1)


def styles():
    data = b'same same\r\n\n\n' + ESC + b'Esame same' + ESC + b'F\r\n\n\n' + ESC + b'-1same same' + ESC + b'-0\r\n\n\n' \
        + ESC + b'4same same' + ESC + b'5\r\n'
    shot = shots(printed(data))[0]
    fields = [black(shot, 0.25, 0.5 * n, 1.15, 0.5 * n + 0.25) for n in range(4)]
    assert fields[1] > fields[0] * 1.2, fields
    rule = 10 / 72 - 0.02
    assert black(shot, 0.25, 1 + rule, 1.15, 1 + rule + 0.03) > 0.2 > 5 * black(shot, 0.25, rule, 1.15, rule + 0.03), 'underline'
    slanted = subprocess.run(['pdffonts', os.path.join(folder, 'out.pdf')], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert 'Courier-Oblique' in slanted and 'Courier-Bold' in slanted, slanted


def code_page_437():
    data = bytes([0x84, 0x94, 0x81, 0xe1, 0x82, 0xa4, 0x9c]) + b' ' + bytes([0xe3, 0xf2]) + b'\r\n\n' \
        + bytes([0xc9, 0xcd, 0xcd, 0xbb]) + b'\r\n' + bytes([0xba]) + b'  ' + bytes([0xba]) + b'\r\n' \
        + bytes([0xc8, 0xcd, 0xcd, 0xbc, 0xdb]) + b'\r\n'
    pdf = printed(data)
    found, _ = words(pdf)
    text = ' '.join(w for w, *_ in found)
    assert 'äöüßéñ£' in text and 'π' in text and '≥' in text, text
    shot = shots(pdf)[0]
    top, left = 2 / 6, 0.25
    assert black(shot, left + 0.1, top, left + 0.3, top + 1 / 6) > 0.05, 'the upper edge'
    assert black(shot, left + 0.12, top + 1 / 6 + 0.01, left + 0.28, top + 2 / 6 - 0.01) == 0, 'the inside is empty'
    assert black(shot, left, top + 1 / 6 + 0.01, left + 0.1, top + 2 / 6 - 0.01) > 0.08, 'the left edge'
    assert black(shot, left + 0.41, top + 2 / 6 + 0.01, left + 0.49, top + 3 / 6 - 0.01) > 0.95, 'a full block'


def graphics(pins):
    """A bar of 120 columns of the upper four dots, in each density; 24 pins: three bytes a column."""
    rows = 1 / 72 if pins == 9 else 1 / 60
    data, wanted, y = b'', [], 0.0
    for command, per_inch in ((b'K', 60), (b'L', 120), (b'Y', 120), (b'Z', 240)):
        data += ESC + command + b'\x78\x00' + b'\xf0' * 120 + b'\r\n\n'
        wanted.append((120 / per_inch, 4 * rows, y))
        y += 2 / 6
    if pins == 24:
        data += ESC + b'*\x27\xb4\x00' + b'\xff\xff\x00' * 180 + b'\r\n\n'
        wanted.append((1, 16 / 180, y))
    shot = shots(printed(data, f',pins={pins}'))[0]
    for width, height, top in wanted:
        left = 0.25
        assert black(shot, left + 0.02, top + 0.01, left + width - 0.02, top + height - 0.01) > 0.99, (width, height, top)
        assert black(shot, left + width + 0.02, top, left + width + 0.3, top + height) == 0, (width, height, top)
        assert black(shot, left, top + height + 0.02, left + width, top + height + 0.1) == 0, (width, height, top)


def graphics_of_9_pins():
    graphics(9)


def graphics_of_24_pins():
    graphics(24)


def commands_take_what_is_theirs():
    """Characters of the program's own and tab channels: none of their bytes is printed."""
    own = ESC + b'&\x00AC' + b''.join(b'\x01' + bytes([n]) + b'\x02' + b'QQQ' * n for n in (4, 0, 9))
    data = own + b'after\r\n' + ESC + b'S1' + ESC + b'&\x00AA\x00\x05\x00' + b'Q' * 10 + ESC + b'T' + b'script\r\n' \
        + ESC + b'b\x01\x05QRS\x00' + ESC + b'b\x00\x0a\x14\x00' + b'\x0bdeep\r\n'
    found, _ = words(printed(data))
    assert [w for w, *_ in found] == ['after', 'script', 'deep'], found
    near(found[2][2] - found[0][2], 10 / 6)  # the top edges
    own = ESC + b'&\x00AB' + (b'\x8b' + b'Q' * 11) * 2
    found, _ = words(printed(own + b'after\r\n', ',pins=9'))
    assert [w for w, *_ in found] == ['after'], found


def pages_end_at_form_feeds_and_their_length():
    data = b'one\f' + b'two\f' + b''.join(b'line %d\r\n' % n for n in range(100)) + b'\f' \
        + ESC + b'C\x00\x06' + b'six\fsix\f'
    found, pages = words(printed(data))
    assert len(pages) == 6, pages
    near(pages[0][1], 11)
    near(pages[5][1], 6)
    numbers = [w for w, *_ in found]
    assert numbers.count('line') == 100
    assert numbers[:2] == ['one', 'two'], numbers[:4]


def a4_paper():
    _, pages = words(printed(b'hello\f', ',paper=a4'))
    near(pages[0][0], 8.264)
    near(pages[0][1], 11.694)


def rubbish_is_survived():
    import random
    noise = bytearray(random.Random(7).randbytes(60000))
    for at in range(0, len(noise), 9):
        noise[at] = 0x1b
    noise = bytes(noise).replace(b'\x13', b'')
    pdf = printed(noise)
    words(pdf)


try:
    tap.run(pitches_and_lines, styles, code_page_437, graphics_of_9_pins, graphics_of_24_pins,
            commands_take_what_is_theirs, pages_end_at_form_feeds_and_their_length, a4_paper, rubbish_is_survived)
finally:
    shutil.rmtree(folder, ignore_errors=True)
