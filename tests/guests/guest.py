"""What the tests of real guests share: images, engines, typing with patience, and pictures compared with tolerance.

GUESTS          folder of the guest images (tests/guests/README.md)
VITRINE_ENGINES engines to test, e.g. 'interpreter,translator'
VITRINE_ONLY    run only the cases whose name contains this
VITRINE_PATIENCE multiplies all time limits (they are generous: no test is decided by speed)
VITRINE_SHOTS   a folder: every picture that a test looks at is kept there as PNG
VITRINE_GOLDEN  =write: store the pictures as the new references in tests/golden, then look at them
"""
import hashlib
import lzma
import os
import shutil
import struct
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import picture, tap  # noqa: E402
from tests.lib.vm import ROOT, Vm  # noqa: E402

GOLDEN = os.path.join(ROOT, 'tests', 'golden')
THUMB_WIDTH, THUMB_HEIGHT = 64, 48
PATIENCE = float(os.environ.get('VITRINE_PATIENCE', 3))


def engines():
    return [name for name in os.environ.get('VITRINE_ENGINES', 'interpreter,translator').replace(',', ' ').split()]


def image(name):
    """A guest image's path, its sum checked; or Skip."""
    path = os.path.join(tap.guests(), name)
    if not os.path.exists(path):
        raise tap.Skip(f'{path} is not there')
    return path


def unpacked(name, folder):
    """An image that comes as NAME.xz, unpacked into the folder."""
    path = os.path.join(folder, name)
    with lzma.open(image(name + '.xz')) as packed, open(path, 'wb') as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    return path


def sha256(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for piece in iter(lambda: file.read(1 << 20), b''):
            digest.update(piece)
    return digest.hexdigest()


def thumbnail(shot):
    """The mean colours of THUMB_WIDTH x THUMB_HEIGHT fields: small, and blind to a clock or a blinking cursor."""
    sums = bytearray()
    for row in range(THUMB_HEIGHT):
        top, end = row * shot.height // THUMB_HEIGHT, max((row + 1) * shot.height // THUMB_HEIGHT, 1)
        lines = range(top, max(end, top + 1))
        for column in range(THUMB_WIDTH):
            left, right = column * shot.width // THUMB_WIDTH, (column + 1) * shot.width // THUMB_WIDTH
            right = max(right, left + 1)
            count = len(lines) * (right - left)
            for channel in range(3):
                total = 0
                for y in lines:
                    start = 3 * (y * shot.width + left) + channel
                    total += sum(shot.rgb[start:start + 3 * (right - left):3])
                sums.append((total + count // 2) // count)
    return picture.Picture(THUMB_WIDTH, THUMB_HEIGHT, bytes(sums))


def distance(a, b):
    """The mean difference of two thumbnails' channels, 0 to 255."""
    return sum(abs(x - y) for x, y in zip(a.rgb, b.rgb)) / len(a.rgb)


def write_png(path, shot):
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    stride = 3 * shot.width
    raw = b''.join(b'\0' + shot.rgb[y * stride:(y + 1) * stride] for y in range(shot.height))
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', shot.width, shot.height, 8, 2, 0, 0, 0))
                   + chunk(b'IDAT', zlib.compress(raw, 9)) + chunk(b'IEND', b''))


class Guest(Vm):
    """A machine as the guests want it: 64 MB, nothing written to the image."""

    def __init__(self, engine, *arguments, memory=64, snapshot=True):
        self.shots = 0
        self.engine = engine
        kept = ['-snapshot'] if snapshot else []
        super().__init__('-m', memory, '-accel', engine, *kept, '-log', 'error', *arguments)

    def wait_text(self, text, timeout=60):
        return super().wait_text(text, timeout * PATIENCE)

    def wait_any(self, texts, timeout=60):
        """Waits for one of several texts; returns the one that came."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            screen = self.screen()
            for text in texts:
                if text in screen:
                    return text
            if time.monotonic() > end:
                raise AssertionError(f'none of {texts} appeared in {timeout * PATIENCE} s; the screen shows:\n{screen}')
            time.sleep(0.3)

    def wait_size(self, width, height, timeout=60):
        """Waits for a picture of that size."""
        self.wait_picture(lambda shot: (shot.width, shot.height) == (width, height), timeout * PATIENCE)

    def command(self, line, answer, timeout=30):
        """Types a line, and waits for the answer."""
        self.type(line + '\n')
        return self.wait_text(answer, timeout)

    def dos(self, line, prompt='A:\\>', timeout=60):
        """Types a line at the prompt, and waits until it is there again: programs swallow what is typed meanwhile."""
        before = self.screen().rstrip()
        self.type(line + '\n')
        end = time.monotonic() + timeout * PATIENCE
        while True:
            text = self.screen().rstrip()
            if text != before and ('\n' + text).endswith('\n' + prompt):
                return text
            if time.monotonic() > end:
                raise AssertionError(f'{line!r} has not ended in {timeout * PATIENCE} s; the screen shows:\n{text}')
            time.sleep(0.2)

    def keep(self, name, shot):
        folder = os.environ.get('VITRINE_SHOTS')
        if folder:
            os.makedirs(folder, exist_ok=True)
            write_png(os.path.join(folder, f'{name}-{self.engine}.png'), shot)

    def looks_like(self, name, tolerance=6.0, timeout=60):
        """Waits until the screen resembles tests/golden/NAME.png."""
        path = os.path.join(GOLDEN, name + '.png')
        if os.environ.get('VITRINE_GOLDEN') == 'write':
            return self.write_golden(name, path)
        wanted = picture.read(path)
        end = time.monotonic() + timeout * PATIENCE
        while True:
            shot = self.picture()
            far = distance(thumbnail(shot), wanted)
            if far <= tolerance or time.monotonic() > end:
                break
            time.sleep(1)
        self.keep(name, shot)
        assert far <= tolerance, f'the screen is {far:.1f} away from {name}.png; {tolerance} are allowed'
        return shot

    def write_golden(self, name, path, settle=15):
        """Stores the picture once it has stood still for some time, or moves for ever."""
        last, since, end = None, time.monotonic(), time.monotonic() + 60
        while time.monotonic() - since < settle and time.monotonic() < end:
            small = thumbnail(self.picture())
            if last is None or distance(small, last) > 1:
                last, since = small, time.monotonic()
            time.sleep(1)
        shot = self.picture()
        write_png(path, thumbnail(shot))
        self.keep(name, shot)
        return shot

    def changed_by(self, action, timeout=30, least=20):
        """Does something, and waits until at least that many pixels have changed; returns the boxes around them."""
        before = self.picture()
        action()
        end = time.monotonic() + timeout * PATIENCE
        while True:
            after = self.picture()
            points = differing(before, after)
            if len(points) >= least:
                return points
            if time.monotonic() > end:
                raise AssertionError(f'only {len(points)} pixels changed')
            time.sleep(0.5)


def differing(a, b):
    """The points at which two pictures of one size differ."""
    if (a.width, a.height) != (b.width, b.height):
        raise AssertionError(f'the picture went from {a.width}x{a.height} to {b.width}x{b.height}')
    stride, points = 3 * a.width, []
    for y in range(a.height):
        one, two = a.rgb[y * stride:(y + 1) * stride], b.rgb[y * stride:(y + 1) * stride]
        if one != two:
            points += [(x, y) for x in range(a.width) if one[3 * x:3 * x + 3] != two[3 * x:3 * x + 3]]
    return points


def cases(*tests):
    """One TAP test for each test(engine) and engine. A test's attribute `engines` leaves some out: {name: reason}."""
    made = []
    for test in tests:
        for engine in engines():
            name = f'{test.__name__}, {engine}'
            if os.environ.get('VITRINE_ONLY', '') not in name:
                continue

            def one(test=test, engine=engine):
                start = time.monotonic()
                test(engine)
                print(f'# {test.__name__}, {engine}: {time.monotonic() - start:.1f} s', flush=True)
            one.__name__ = name
            made.append(one)
    tap.run(*made)


def temporary():
    return tempfile.TemporaryDirectory(prefix='vitrine-guests-')
