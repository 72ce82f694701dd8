#!/usr/bin/env python3
"""Linux's own drivers of the sound cards: aplay and speaker-test play tones; the wav is judged by pitch, length and gaps. And
of their MIDI ports: amidi sends to a socket of the host and hears what comes from there."""
import array
import functools
import io
import math
import os
import socket
import sys
import tempfile
import wave

import debian
import guest
import linux

sys.path.insert(0, os.path.join(guest.ROOT, 'tests', 'sound'))
import listen  # noqa: E402

folder = guest.temporary()
MODULES = ['snd-pcm', 'snd-seq', 'snd-seq-midi']
# With counted guest time what the guest plays does not depend on how busy the host is.
COUNTED = {'interpreter': ['-icount', 'shift=4,sleep=off']}
CARDS = ['snd-sb16', 'snd-sb8', 'snd-gusclassic', 'snd-ens1370', 'snd-intel8x0', 'snd-mpu401']


def tone(hz, pitch, seconds, channels=2, width=2):
    """A wav file of a sine."""
    out = io.BytesIO()
    samples = array.array('h' if width == 2 else 'B')
    for i in range(round(hz * seconds)):
        value = math.sin(2 * math.pi * pitch * i / hz)
        samples.extend([round(20000 * value) if width == 2 else round(128 + 80 * value)] * channels)
    with wave.open(out, 'wb') as file:
        file.setparams((channels, width, hz, 0, 'NONE', ''))
        file.writeframes(samples.tobytes())
    return out.getvalue()


@functools.lru_cache(None)
def ramdisk():
    files = {}
    for package, names in (('alsa-utils:i386', ['usr/bin/aplay', 'usr/bin/amixer', 'usr/bin/speaker-test', 'usr/bin/amidi']),
                           ('libasound2:i386', ['usr/lib/i386-linux-gnu/libasound.so.2']),
                           ('libasound2-data', ['usr/share/alsa']),
                           ('libc6:i386', ['lib/i386-linux-gnu/libc.so.6', 'lib/i386-linux-gnu/libm.so.6',
                                           'lib/i386-linux-gnu/ld-linux.so.2'])):
        files.update(debian.content(package, *names))
    files['lib/ld-linux.so.2'] = files.pop('lib/i386-linux-gnu/ld-linux.so.2')
    for name in ('aplay', 'amixer', 'speaker-test', 'amidi'):
        files['bin/' + name] = files.pop('usr/bin/' + name)
    files['wide.wav'] = tone(44100, 441, 4)
    files['narrow.wav'] = tone(22050, 1000, 2, channels=1, width=1)
    return debian.initrd(os.path.join(folder.name, 'sound.gz'), modules=MODULES, there=CARDS, files=files)


def controls(shell, *names):
    for name in names:
        shell.run(f'amixer -q -c0 sset {name} 100% unmute 2>/dev/null || amixer -q -c0 sset {name} 100%')


def judged(sound, stretch, pitch, seconds, least=1500, exact=True):
    start, end = stretch
    listen.tone_is(sound, pitch, (start, min(end, start + 48000)), least=least)
    found = sound.pitch(pitch, start + 4800, min(end - start - 9600, 24000))
    assert abs(found / pitch - 1) < 0.001, f'{found:.3f} Hz, not {pitch}'
    if not exact:  # in the host's time a busy host makes the guest late
        return
    length = (end - start) / sound.hz
    assert abs(length - seconds) < 0.06, f'{pitch} Hz lasts {length:.3f} s, not {seconds}'
    gap = sound.longest_quiet(start + 96, end - 96)
    assert gap < 0.001, f'{pitch} Hz is silent for {gap * 1000:.1f} ms'


def plays(engine, options, module, parameters='', mixer=(), device='hw:0,0', speed=(1, 1)):
    heard = os.path.join(tempfile.mkdtemp(dir=folder.name), 'heard.wav')
    with linux.direct(engine, ramdisk(), '-nodefaults', *options, '-audiodev', 'wav,path=' + heard, *COUNTED.get(engine, [])) as vm:
        shell = vm.shell()
        shell.run(f'insmod /modules/{module}.ko {parameters}')
        assert shell.run('cat /proc/asound/cards').strip().startswith('0 ['), 'no card'
        shell.run('ln -s /proc/asound /tmp/asound; [ -e /dev/snd/pcmC0D0p ]')
        controls(shell, *mixer)
        shell.run(f'aplay -q -D {device} /wide.wav', 200)
        shell.run('sleep 0.3; aplay -q -D plughw:0,0 /narrow.wav', 200)
        shell.run('sleep 0.3; speaker-test -D plughw:0,0 -c 2 -r 44100 -t sine -f 600 -l 1 >/dev/null; sleep 1', 200)
        complaints = shell.run("dmesg | grep -iE 'snd|alsa|irq.*nobody|sb16|timeout' | grep -iE 'fail|error|timeout|nobody|lost' || true")
        assert not complaints.strip(), complaints
        vm.quit()
    sound = listen.Sound(heard)
    stretches = sound.stretches()
    assert len(stretches) >= 2, stretches
    wide, narrow = speed
    judged(sound, stretches[0], 441 * wide, 4 / wide, exact=engine in COUNTED)
    judged(sound, stretches[1], 1000 * narrow, 2 / narrow, least=800, exact=engine in COUNTED)
    listen.tone_is(sound, 600 * wide, stretches[2], least=1000)  # the left side; then comes the right


def sb16(engine):
    plays(engine, ['-device', 'sb16'], 'snd-sb16', 'isapnp=0 port=0x220 irq=5 dma8=1 dma16=5', ['Master', 'PCM'])


def sound_blaster_pro(engine):
    plays(engine, ['-device', 'sb16,version=0x302'], 'snd-sb8', 'port=0x220 irq=5 dma8=1', ['Master', 'PCM'], device='plughw:0,0',
          speed=(1000000 / 23 / 44100, 1000000 / 45 / 22050))  # its clock divides a megahertz


def es1370(engine):
    plays(engine, ['-device', 'ES1370'], 'snd-ens1370', '', ['Master', 'PCM'])


def ac97(engine):
    plays(engine, ['-device', 'AC97'], 'snd-intel8x0', 'ac97_clock=48000', ['Master', 'PCM'])


def ultrasound(engine):
    plays(engine, ['-device', 'gus,iobase=0x240,irq=7,dma=3'], 'snd-gusclassic', 'port=0x240 irq=7 dma1=3 dma2=3', ['PCM'], device='plughw:0,0')


def midi(engine, card, module, parameters):
    """Notes both ways; what comes in is more than the interface holds at once."""
    path = os.path.join(tempfile.mkdtemp(dir=folder.name), 'midi')
    out = bytes.fromhex('c0 10 90 45 64 80 45 40')
    into = b''.join(bytes([0x90, key, 100, 0x80, key, 64]) for key in range(30, 70))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        options = ['-nodefaults', '-device', f'{card},midi=unix:{path}', '-audiodev', 'none,id=quiet']
        with linux.direct(engine, ramdisk(), *options, *COUNTED.get(engine, [])) as vm:
            client, _ = listener.accept()
            client.settimeout(30)
            shell = vm.shell()
            shell.run(f'insmod /modules/{module}.ko {parameters}')
            shell.run('ln -s /proc/asound /tmp/asound; [ -e /dev/snd/midiC0D0 ]')
            shell.run(f"amidi -p hw:0,0 -S '{out.hex(' ')}'")
            sent = b''
            while out not in sent:
                sent += client.recv(4096)
            shell.run('amidi -p hw:0,0 -d -t 3 >/tmp/in 2>&1 & sleep 1')
            client.sendall(into)
            heard = shell.run('wait; cat /tmp/in', 60)
            client.close()
            vm.quit()
    assert bytes.fromhex(heard.replace('\r', '')) == into, heard


def mpu401(engine):
    midi(engine, 'mpu401,irq=5', 'snd-mpu401', 'index=0 pnp=0 port=0x330 irq=5')


def sb_midi(engine):
    midi(engine, 'sb16,version=0x302', 'snd-sb8', 'port=0x220 irq=5 dma8=1')


try:
    guest.cases(sb16, sound_blaster_pro, es1370, ac97, ultrasound, mpu401, sb_midi)
finally:
    folder.cleanup()
