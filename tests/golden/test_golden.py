#!/usr/bin/env python3
"""Programs that drive the display by its registers; their pictures, pixel by pixel, against what each should draw.

A program is a floppy's first track. Guest time comes from executed instructions, so that programs which follow the
beam do so on any host, however busy; they draw for ever and the test waits until a picture is right.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib import tap, vm  # noqa: E402

FLOPPY = 1474560
ATTRIBUTES = [0, 1, 2, 3, 4, 5, 0x14, 7, *range(0x38, 0x40)]


def six(level):
    level &= 63
    return level << 2 | level >> 4


PALETTE = [bytes((six(i), six(2 * i), six(3 * i))) for i in range(256)]
SIXTEEN = [PALETTE[i] for i in ATTRIBUTES]


def draw(width, height, pixel):
    """A picture's bytes, from what pixel(x, y) gives."""
    return width, height, b''.join(pixel(x, y) for y in range(height) for x in range(width))


def check(name, expected, *arguments):
    program = os.path.join(vm.program('tests/golden'), name + '.bin')
    with open(program, 'rb') as file, tempfile.NamedTemporaryFile(suffix='.img') as floppy:
        floppy.write(file.read().ljust(FLOPPY, b'\0'))
        floppy.flush()
        with vm.Vm('-m', 16, '-fda', floppy.name, '-snapshot', '-icount', 'shift=4', *arguments) as machine:
            wanted = lambda now: (now.width, now.height, now.rgb) == expected
            try:
                machine.wait_picture(wanted, 60)
            except AssertionError:
                now = machine.picture()
                raise AssertionError(difference(now, expected)) from None


def difference(now, expected):
    width, height, rgb = expected
    if (now.width, now.height) != (width, height):
        return f'the picture is {now.width} x {now.height}, not {width} x {height}'
    wrong = [i for i in range(width * height) if now.rgb[3 * i:3 * i + 3] != rgb[3 * i:3 * i + 3]]
    x, y = wrong[0] % width, wrong[0] // width
    return (f'{len(wrong)} pixels differ, the first at ({x}, {y}): {now.pixel(x, y)}, '
            f'not {tuple(rgb[3 * wrong[0]:3 * wrong[0] + 3])}')


def byte_13(n):
    """Memory of draw_13."""
    return (n % 320 + n // 320) & 255


def mode_13h():
    check('mode13', draw(320, 400, lambda x, y: PALETTE[(x + y // 2) & 255]))


def unchained_with_a_start_address():
    def pixel(x, y):
        i = 0x150 + y // 2 * 80 + x // 4
        return PALETTE[(4 * i + x % 4 + i // 80) & 255]
    check('modex', draw(320, 400, pixel))


def split_screen_without_panning_below():
    def pixel(x, y):
        n = (y // 2 + 3) * 320 + x + 2 if y < 200 else (y - 200) // 2 * 320 + x
        return PALETTE[byte_13(n)]
    check('split', draw(320, 400, pixel))


def copper_bars():
    def pixel(_, y):
        line = min(max(y - 1, 0), 199) if y else 199
        return bytes((six(line), 0, six(line // 4)))
    check('copper', draw(320, 400, pixel))


def text_with_two_fonts():
    first = bytes.fromhex('8142241818244281ff00aa550ff00180')
    second = bytes.fromhex('0103070f1f3f7ffffefcf8f0e0c08000')

    def pixel(x, y):
        cell = y // 16 * 80 + x // 9
        attribute = cell & 255
        line = (second if attribute & 8 else first)[y % 16]
        dot = x % 9
        lit = line >> (7 - min(dot, 7)) & 1 if dot < 8 or cell % 2 == 0 else 0
        return SIXTEEN[attribute & 15 if lit else attribute >> 4]
    check('text', draw(720, 400, pixel))


def write_modes_of_sixteen_colours():
    def upper(x):
        column, bit = x // 8, 0x80 >> x % 8
        if 10 <= column < 20:
            return 6 if bit & 0x3c else 5
        if 20 <= column < 30:
            return 9 if bit & 0x55 else 5
        if 30 <= column < 40:
            return 14 if bit & 0x0c else 5
        return 5

    def pixel(x, y):
        if y < 200:
            return SIXTEEN[upper(x)]
        return SIXTEEN[15 if y == 300 and upper(x) == 5 else 0]
    check('mode12', draw(640, 480, pixel))


def banked(x, y):
    return PALETTE[(3 * x + y) & 255]


def linear(x, y):
    value = (64 * x + y + 64) & 0xffff
    red, green, blue = value >> 11, value >> 5 & 63, value & 31
    return bytes((red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2))


def vbe_by_banks():
    check('vbe8', draw(640, 480, banked))


def vbe_linear_with_a_display_start():
    check('vbe16', draw(640, 480, linear))


def cirrus_banks():
    check('vbe8', draw(640, 480, banked), '-vga', 'cirrus')


def cirrus_linear_with_a_display_start():
    check('vbe16', draw(640, 480, linear), '-vga', 'cirrus')


def cirrus_blits():
    memory = bytearray(640 * 480)

    def put(x, y, width, height, value):
        for row in range(height):
            for column in range(width):
                colour = value(column, row)
                if colour is not None:
                    memory[(y + row) * 640 + x + column] = colour

    def bits(data, stride):
        return lambda x, y: data[y * stride + x // 8] >> (7 - x % 8) & 1
    put(10, 10, 100, 50, lambda x, y: 0x21)
    put(0, 100, 64, 1, lambda x, y: x)
    put(200, 10, 30, 20, lambda x, y: y % 8 * 8 + x % 8)
    put(300, 10, 50, 20, lambda x, y: 0x21)
    put(300, 60, 50, 20, lambda x, y: 0x21)
    source = bits(range(0x20, 0x2c), 3)
    put(400, 10, 24, 4, lambda x, y: 0x30 if source(x, y) else 0x07)
    mask = bits(bytes.fromhex('aa55f00ffff0c080'), 4)
    put(20, 15, 32, 2, lambda x, y: 0x30 if mask(x, y) else None)
    check('cirrus', (640, 480, b''.join(PALETTE[value] for value in memory)), '-vga', 'cirrus')


tap.run(mode_13h, unchained_with_a_start_address, split_screen_without_panning_below, copper_bars, text_with_two_fonts,
        write_modes_of_sixteen_colours, vbe_by_banks, vbe_linear_with_a_display_start, cirrus_banks,
        cirrus_linear_with_a_display_start, cirrus_blits)
