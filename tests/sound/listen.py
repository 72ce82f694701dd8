"""What tests of sound share: wav files, the level of a tone, stretches of sound and gaps in them, guests that play."""
import array
import math
import os
import subprocess
import sys
import tempfile
import wave

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
OUT = os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release'))


class Sound:
    """The left and right channel of a wav file, as arrays of 16-bit samples."""

    def __init__(self, path):
        with wave.open(path) as file:
            assert file.getnchannels() == 2 and file.getsampwidth() == 2, 'no 16-bit stereo'
            self.hz, self.frames = file.getframerate(), file.getnframes()
            both = array.array('h')
            both.frombytes(file.readframes(self.frames))
        assert len(both) == 2 * self.frames, 'the wav file is cut off'
        self.left, self.right = both[0::2], both[1::2]

    def level(self, tone, start, count, channel='left'):
        """The amplitude of a sine of `tone` Hz in a stretch of frames, through a Hann window."""
        samples, turn = getattr(self, channel), 2 * math.pi * tone / self.hz
        re = im = 0.0
        for i in range(count):
            value = samples[start + i] * (1 - math.cos(2 * math.pi * i / count))
            re += value * math.cos(turn * i)
            im += value * math.sin(turn * i)
        return 2 * math.hypot(re, im) / count

    def pitch(self, near, start, count):
        """The frequency of the strongest tone within 2 % of `near`, by its phase in two halves."""
        half = count // 2
        phases = []
        for at in (start, start + half):
            re = im = 0.0
            for i in range(half):
                value = self.left[at + i] * (1 - math.cos(2 * math.pi * i / half))
                angle = 2 * math.pi * near * (at + i) / self.hz
                re += value * math.cos(angle)
                im -= value * math.sin(angle)
            phases.append(math.atan2(im, re))
        turn = (phases[1] - phases[0] + math.pi) % (2 * math.pi) - math.pi
        return near + turn / (2 * math.pi) * self.hz / half

    def stretches(self, loud=250, join=0.05, least=0.1):
        """[start, end] in frames of what is louder than `loud`; gaps below `join` seconds belong to it."""
        found, step = [], self.hz // 1000
        for at in range(0, self.frames - step, step):
            if max(map(abs, self.left[at:at + step])) > loud:
                if found and at - found[-1][1] < join * self.hz:
                    found[-1][1] = at + step
                else:
                    found.append([at, at + step])
        return [s for s in found if s[1] - s[0] > least * self.hz]

    def longest_quiet(self, start, end, quiet=40):
        """The longest run of frames in which the left channel is silent, in seconds."""
        run = longest = 0
        for value in self.left[start:end]:
            run = run + 1 if -quiet < value < quiet else 0
            longest = max(longest, run)
        return longest / self.hz


def tone_is(sound, tone, stretch, least=400):
    """Asserts that the middle half of a stretch is this tone, and nothing a fifth of it above or below."""
    start, end = stretch
    middle, count = start + (end - start) // 4, (end - start) // 2
    there = sound.level(tone, middle, count)
    beside = max(sound.level(tone * ratio, middle, count) for ratio in (0.84, 1.19))
    assert there > least and there > 20 * beside, f'{tone} Hz: {there:.0f}, beside it {beside:.0f}'


def play(program, *arguments, timeout=100, hz=None):
    """Runs a boot diskette of this folder that ends through isa-debug-exit; returns what was heard."""
    folder = tempfile.mkdtemp(prefix='vitrine-sound-')
    path = os.path.join(folder, 'heard.wav')
    command = [OUT + '/vitrine', 'run', '-m', '4', '-display', 'none', '-fda', f'{OUT}/tests/sound/{program}.bin', '-boot', 'a',
               '-audiodev', 'wav,path=' + path + (f',out.frequency={hz}' if hz else ''),
               '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot', '-accel', 'interpreter',
               '-icount', 'shift=5,sleep=off', *arguments]
    done = subprocess.run(command, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert os.path.exists(path), done.stdout.decode()
        return Sound(path)
    finally:
        subprocess.run(['rm', '-rf', folder], check=False)
