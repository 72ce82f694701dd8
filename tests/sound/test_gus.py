#!/usr/bin/env python3
"""A guest plays through the UltraSound: poked and transferred waves, its interrupts; with and without a Sound Blaster."""
import functools
import subprocess

import listen
from tests.lib import tap

TONES = (689.06, 1033.59, 602.93)


@functools.lru_cache(None)
def heard():
    sound = listen.play('gus', '-nodefaults', '-device', 'gus,iobase=0x240,irq=7,dma=3')
    return sound, sound.stretches()


def three_tones_of_half_a_second():
    sound, stretches = heard()
    assert len(stretches) == 3, stretches
    for start, end in stretches:
        assert 0.45 < (end - start) / sound.hz < 0.68, stretches


def each_has_its_pitch():
    sound, stretches = heard()
    for tone, stretch in zip(TONES, stretches):
        listen.tone_is(sound, tone, stretch, least=9000)
        start, end = stretch
        pitch = sound.pitch(tone, start + 4800, (end - start) // 2)
        assert abs(pitch / tone - 1) < 0.0002, (tone, pitch)


def without_a_gap():
    sound, stretches = heard()
    for start, end in stretches:
        assert sound.longest_quiet(start + 48, end - 48) < 0.001


def the_timer_says_how_long_the_third_is():
    sound, stretches = heard()
    start, end = stretches[2]
    assert abs((end - start) / sound.hz - 12 * 0.04) < 0.006, stretches[2]


def two_cards_at_one_place_are_refused():
    for cards in (['sb16', 'gus,iobase=0x220'], ['gus', 'sb16,iobase=0x240'], ['sb16', 'gus,iobase=0x230']):
        options = [word for card in cards for word in ('-device', card)]
        done = subprocess.run([listen.OUT + '/vitrine', 'run', '-display', 'none', *options], timeout=60, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode != 0 and b'gus,iobase' in done.stdout, done.stdout


def beside_a_sound_blaster_too():
    sound = listen.play('gus', '-device', 'sb16', '-device', 'gus')
    stretches = sound.stretches()[-3:]
    for tone, stretch in zip(TONES, stretches):
        listen.tone_is(sound, tone, stretch, least=9000)


tap.run(three_tones_of_half_a_second, each_has_its_pitch, without_a_gap, the_timer_says_how_long_the_third_is,
        two_cards_at_one_place_are_refused, beside_a_sound_blaster_too)
