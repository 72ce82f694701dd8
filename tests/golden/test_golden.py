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
    """The program's picture comes to be this one; or each of a list, as with what blinks."""
    program = os.path.join(vm.program('tests/golden'), name + '.bin')
    with open(program, 'rb') as file, tempfile.NamedTemporaryFile(suffix='.img') as floppy:
        floppy.write(file.read().ljust(FLOPPY, b'\0'))
        floppy.flush()
        with vm.Vm('-m', 16, '-fda', floppy.name, '-snapshot', '-icount', 'shift=4', *arguments) as machine:
            for one in expected if isinstance(expected, list) else [expected]:
                wanted = lambda now: (now.width, now.height, now.rgb) == one
                try:
                    machine.wait_picture(wanted, 60)
                except AssertionError:
                    raise AssertionError(difference(machine.picture(), one)) from None


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


def vbe_palette_of_eight_bits():
    def pixel(x, y):
        i = (x + y) & 255 if y < 100 else 0
        return bytes((i, 255 - i, i ^ 0x55))
    check('vbepal', draw(640, 480, pixel))


def cirrus_palette_of_six_bits():
    def pixel(x, y):
        i = (x + y) & 255 if y < 100 else 0
        return bytes((six(i), six(255 - i), six(i ^ 0x55)))
    check('vbepal', draw(640, 480, pixel), '-vga', 'cirrus')


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


FONT = {0x41: bytes.fromhex('8142241818244281ff00aa550ff00180'), 0xc8: bytes.fromhex('0103070f1f3f7ffffefcf8f0e0c08000')}


def lit(character, line, dot):
    """Does the font of font.inc light this dot? The ninth repeats the eighth of characters C0h to DFh."""
    if dot == 8 and character & 0xe0 != 0xc0:
        return False
    return FONT[character][line] >> (7 - min(dot, 7)) & 1


def cursor_and_blinking():
    def phase(cursor, shown):
        def pixel(x, y):
            cell, line = y // 16 * 80 + x // 9, y % 16
            on = lit(0x41, line, x % 9) and (shown or cell % 3)
            if cell >= 255 * 3:
                return SIXTEEN[7 if cursor and cell == 820 and 3 <= line <= 9 else 0]
            return SIXTEEN[14 if on else 1]
        return pixel
    check('blink', [draw(720, 400, phase(cursor, shown)) for cursor in (1, 0) for shown in (1, 0)])


def text_of_eight_dots():
    def pixel(x, y):
        attribute = (y // 16 * 80 + x // 8) & 0xf7
        return SIXTEEN[attribute & 15 if lit(0xc8, y % 16, x % 8) else attribute >> 4]
    check('text8', draw(640, 400, pixel))


def text_scrolled_smoothly():
    def pixel(x, y):
        x, y = x + 3, y + 5
        attribute = (40 + y // 16 * 40 + x // 9) & 0xf7
        return SIXTEEN[attribute & 15 if lit(0x41, y % 16, x % 9) else attribute >> 4]
    check('text40', draw(360, 400, pixel))


def monochrome_text():
    def phase(shown):
        def pixel(x, y):
            attribute = (y // 16 * 80 + x // 9) & 0xf7
            on = lit(0x41, y % 16, x % 9) and (shown or not attribute & 0x80)
            on = on or (attribute & 7 == 1 and y % 16 == 13)
            return PALETTE[attribute & 15 if on else attribute >> 4 & 7]
        return pixel
    check('mono', [draw(720, 400, phase(1)), draw(720, 400, phase(0))])


def cga_in_four_colours():
    def pixel(x, y):
        value = (x // 4 + y // 2) & 255
        return PALETTE[5 + (value >> (6 - x % 4 * 2) & 3)]
    check('cga4', draw(320, 400, pixel))


def cga_in_two_colours():
    def pixel(x, y):
        value = (x // 8 + y // 2) & 255
        return PALETTE[5 + (value >> (7 - x % 8) & 1)]
    check('cga6', draw(640, 400, pixel))


def mode_x_by_latches():
    def pixel(x, y):
        return PALETTE[(3 * x + y + 1) & 255 if y < 239 else 0]
    check('modex240', draw(320, 480, lambda x, y: pixel(x, y // 2)))


def odd_and_even():
    def pixel(x, y):
        cell = (y // 16 % 24) * 80 + x // 9
        character = 0xc8 if cell % 2 else 0x41
        attribute = cell & 0xf7
        return SIXTEEN[attribute & 15 if lit(character, y % 16, x % 9) else attribute >> 4]
    check('oddeven', draw(720, 400, pixel))


def panning_in_each_line():
    def pixel(x, y):
        pan = min(y - 1, 199) % 4 if y else 199 % 4
        return PALETTE[byte_13(y // 2 * 320 + x + pan)]
    check('wave', draw(320, 400, pixel))


def sixteen_colours_in_200_lines():
    def pixel(x, y):
        value, colour = (x // 8 + y // 2) & 255, 0
        for plane in range(4):
            rotated = (value << plane | value >> (8 - plane)) & 255
            colour |= (rotated >> (7 - x % 8) & 1) << plane
        return PALETTE[colour if colour < 8 else colour + 8]
    check('mode0d', draw(320, 400, pixel))


def cirrus_pointer():
    black, white = (bytes((six(level), six(30), six(60))) for level in (0, 15))

    def pixel(x, y):
        under = PALETTE[(x + y) & 255 if y < 102 else 0]
        row, column = y - 20, x - 50
        if not (0 <= row < 64 and 0 <= column < 64):
            return under
        byte, bit = column // 8, 7 - column % 8
        first, second = (3 * row + byte) >> bit & 1, ((5 * row) ^ (7 * byte)) >> bit & 1
        if second:
            return white if first else black
        return bytes(255 - level for level in under) if first else under
    check('pointer', draw(640, 480, pixel), '-vga', 'cirrus')


# Blits on target and source bytes: black, and, nothing, source without target, not target, source, white, target without source,
# exclusive or, or, nor, equal, source or not target, not source, target or not source, nand.
ROPS = [lambda d, s: 0, lambda d, s: d & s, lambda d, s: d, lambda d, s: s & ~d, lambda d, s: ~d, lambda d, s: s, lambda d, s: 255,
        lambda d, s: d & ~s, lambda d, s: d ^ s, lambda d, s: d | s, lambda d, s: ~(d | s), lambda d, s: ~(d ^ s),
        lambda d, s: s | ~d, lambda d, s: ~s, lambda d, s: d | ~s, lambda d, s: ~(d & s)]


def cirrus_raster_operations_and_directions():
    memory = bytearray(640 * 480)
    source, target = [5 * i & 255 for i in range(64)], [(29 * i + 7) & 255 for i in range(64)]

    def put(x, y, values):
        for i, value in enumerate(values):
            if value is not None:
                memory[y * 640 + x + i] = value & 255

    def bit(byte, x):
        return source[byte] >> (7 - x % 8) & 1
    put(0, 100, source)
    for number, rop in enumerate(ROPS):
        put(0, 2 * number, [rop(d, s) for d, s in zip(target, source)])
    put(0, 40, [d if s == 25 else s for d, s in zip(target, source)])
    put(0, 50, [*range(8), *range(56)])
    put(0, 52, [*range(8, 64), *range(56, 64)])
    put(0, 60, [None if bit(x // 8, x) else 0x07 for x in range(24)])
    for row in range(10):
        pattern = [bit(row % 8, x) for x in range(20)]
        put(100, 60 + row, [0x30 if on else 0x07 for on in pattern])
        put(140, 60 + row, [0x30 if on else None for on in pattern])
        put(100, 80 + row, [0x21 ^ (0x7f if on else 0x01) for on in pattern])
    put(200, 60, [half for x in range(8) for half in ((0x12, 0x34) if bit(0, x) else (0x07, 0x56))])
    put(300, 60, bytes.fromhex('112233445566'))
    put(300, 61, bytes.fromhex('1a2a3a4a5a6a'))
    check('blits', (640, 480, b''.join(PALETTE[value] for value in memory)), '-vga', 'cirrus')


tap.run(mode_13h, unchained_with_a_start_address, split_screen_without_panning_below, copper_bars, text_with_two_fonts,
        write_modes_of_sixteen_colours, vbe_by_banks, vbe_linear_with_a_display_start, cirrus_banks,
        cirrus_linear_with_a_display_start, cirrus_blits,
        cursor_and_blinking, text_of_eight_dots, text_scrolled_smoothly, monochrome_text, cga_in_four_colours, cga_in_two_colours,
        mode_x_by_latches, odd_and_even, panning_in_each_line, sixteen_colours_in_200_lines, cirrus_pointer,
        cirrus_raster_operations_and_directions, vbe_palette_of_eight_bits, cirrus_palette_of_six_bits)
