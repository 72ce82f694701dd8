"""Pictures for tests: reads PPM and PNG without other packages."""
import hashlib
import struct
import zlib


class Picture:
    def __init__(self, width, height, rgb):
        self.width, self.height, self.rgb = width, height, rgb

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return tuple(self.rgb[at:at + 3])

    def hash(self):
        return hashlib.sha256(b'%d %d ' % (self.width, self.height) + self.rgb).hexdigest()

    def differing(self, other):
        """The share of pixels that differ, 0.0 to 1.0; 1.0 when the sizes do."""
        if (self.width, self.height) != (other.width, other.height):
            return 1.0
        if self.rgb == other.rgb:
            return 0.0
        pairs = zip(*[iter(self.rgb)] * 3), zip(*[iter(other.rgb)] * 3)
        return sum(a != b for a, b in zip(*pairs)) / (self.width * self.height)

    def colours(self):
        """How many different colours there are."""
        return len(set(zip(*[iter(self.rgb)] * 3)))


def read_ppm(data):
    fields, at = [], 0
    while len(fields) < 4:
        while data[at:at + 1].isspace():
            at += 1
        if data[at:at + 1] == b'#':
            at = data.index(b'\n', at)
            continue
        end = at
        while not data[end:end + 1].isspace():
            end += 1
        fields.append(data[at:end])
        at = end
    if fields[0] != b'P6' or fields[3] != b'255':
        raise ValueError('not a P6 picture with 8 bits')
    width, height = int(fields[1]), int(fields[2])
    return Picture(width, height, data[at + 1:at + 1 + 3 * width * height])


def _unfilter(kind, line, above, step):
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - step] if i >= step else 0
        up = above[i]
        corner = above[i - step] if i >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            p = left + up - corner
            guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
        out[i] = (out[i] + guess) & 255
    return bytes(out)


def read_png(data):
    """8 bits a channel, RGB or RGBA, not interlaced: what screenshots and `import` write."""
    if data[:8] != b'\x89PNG\r\n\x1a\n':
        raise ValueError('not a PNG')
    at, packed, palette = 8, b'', b''
    while at < len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if struct.unpack('>I', data[at + 8 + size:at + 12 + size])[0] != zlib.crc32(kind + body):
            raise ValueError('bad checksum')
        if kind == b'IHDR':
            width, height, depth, colour, _, _, interlace = struct.unpack('>IIBBBBB', body)
        elif kind == b'PLTE':
            palette = body
        elif kind == b'IDAT':
            packed += body
        at += 12 + size
    channels = {0: 1, 2: 3, 3: 1, 6: 4}.get(colour)
    if depth != 8 or not channels or interlace:
        raise ValueError(f'PNG of depth {depth}, colour type {colour}')
    raw, stride = zlib.decompress(packed), width * channels
    above, lines = bytes(stride), []
    for y in range(height):
        start = y * (stride + 1)
        line = raw[start + 1:start + 1 + stride]
        if raw[start]:
            line = _unfilter(raw[start], line, above, channels)
        above = line
        lines.append(line)
    pixels = b''.join(lines)
    if channels == 4:
        pixels = b''.join(pixels[i:i + 3] for i in range(0, len(pixels), 4))
    elif colour == 0:
        pixels = b''.join(pixels[i:i + 1] * 3 for i in range(len(pixels)))
    elif colour == 3:
        pixels = b''.join(palette[3 * p:3 * p + 3] for p in pixels)
    return Picture(width, height, pixels)


def read(path):
    with open(path, 'rb') as file:
        data = file.read()
    return read_png(data) if data[:4] == b'\x89PNG' else read_ppm(data)
