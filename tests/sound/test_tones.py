#!/usr/bin/env python3
"""A whole machine plays known tones by each path; the recorded wav is judged by pitch, length and continuity."""
import array
import math
import os
import subprocess
import sys
import tempfile
import wave

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("VITRINE_OUT", os.path.join(ROOT, "out", "release"))
HZ = 48000


def level(samples, tone, start, count):
    """Amplitude of a sine in the left channel of a stretch."""
    re = im = 0.0
    for i in range(count):
        angle = 2 * math.pi * tone * i / HZ
        value = samples[(start + i) * 2] * (1 - math.cos(2 * math.pi * i / count))
        re += value * math.cos(angle)
        im += value * math.sin(angle)
    return 2 * math.hypot(re, im) / count


def loud_stretches(samples):
    """(start, end) of what is louder than silence, in frames; gaps below 50 ms belong to it."""
    found = []
    for at in range(0, len(samples) // 2 - 48, 48):
        if max(abs(v) for v in samples[at * 2:at * 2 + 96]) > 250:
            if found and at - found[-1][1] < HZ // 20:
                found[-1][1] = at + 48
            else:
                found.append([at, at + 48])
    return found


def main():
    path = os.path.join(tempfile.mkdtemp(), "tones.wav")
    command = [OUT + "/vitrine", "run", "-m", "4", "-display", "none", "-fda",
               OUT + "/tests/sound/tones.bin",
               "-boot", "a", "-audiodev", "wav,path=" + path, "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
               "-no-reboot", "-accel", "interpreter", "-icount", "shift=5,sleep=off"]
    try:
        run = subprocess.run(command, timeout=100, stderr=subprocess.PIPE)
        told = run.stderr.decode()
    except subprocess.TimeoutExpired:
        told = "it did not end"
    checks = []
    samples = array.array("h")
    if os.path.exists(path) and os.path.getsize(path) > 44:
        with wave.open(path) as file:
            checks.append((file.getframerate() == HZ and file.getnchannels() == 2, "the wav file is whole"))
            samples.frombytes(file.readframes(file.getnframes()))
    # the firmware may beep first: the last four are ours
    found = [s for s in loud_stretches(samples) if s[1] - s[0] > HZ // 10][-4:]
    checks.append((len(found) == 4, "four tones are heard"))
    paths = [("speaker", 1000.15), ("FM synthesizer", 440.11), ("Sound Blaster", 500), ("MPU-401", 440)]
    for (name, tone), (start, end) in zip(paths, found):
        if name == "MPU-401" and not os.path.exists("/usr/share/sounds/sf2/TimGM6mb.sf2"):
            continue
        middle, count = start + (end - start) // 4, (end - start) // 2
        there, beside = level(samples, tone, middle, count), level(samples, tone * 1.19, middle, count)
        checks.append((there > 400 and there > 20 * beside, "%s: %.1f Hz (%.0f against %.0f)" % (name, tone, there, beside)))
        seconds = (end - start) / HZ
        checks.append((0.45 < seconds < 0.68, "%s: half a second (%.3f)" % (name, seconds)))
        quiet = longest = 0
        for at in range(start, end):
            quiet = quiet + 1 if abs(samples[at * 2]) < 40 else 0
            longest = max(longest, quiet)
        checks.append((longest < HZ // 1000, "%s: no gap over a millisecond (%d frames)" % (name, longest)))
    for number, (ok, text) in enumerate(checks, 1):
        print("%s %d - %s" % ("ok" if ok else "not ok", number, text))
    print("1..%d" % len(checks))
    if not all(ok for ok, _ in checks):
        print("# " + told)
        sys.exit(1)


main()
