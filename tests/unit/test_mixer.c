/* The mixer: rates, places in guest time, gaps, many voices, a file that is complete; and the flow
 * to a sound device with a fast, slow, drifting, paused and rewound guest. */
#include "machine/host/mixer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/midi_synth.h"
#include "machine/host/mixer_internal.h"
#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)

typedef struct Studio {
    Clock clock;
    Mixer *mixer;
    AudioPort port;
    char path[64];
    Ear ear;
} Studio;

static void studio(Studio *s)
{
    Err err = {""};
    MixerConfig c = {.output = MIXER_WAV};
    memset(s, 0, sizeof(*s));
    strcpy(s->path, "/tmp/vitrine-mixer-XXXXXX");
    close(mkstemp(s->path));
    strcpy(c.path, s->path);
    clock_init(&s->clock);
    s->mixer = mixer_new(&s->clock, &c, &err);
    assert_non_null(s->mixer);
    s->port = mixer_port(s->mixer);
}

static void finish(Studio *s)
{
    mixer_stop(s->mixer);
    assert_true(ear_read_wav(&s->ear, s->path));
    mixer_free(s->mixer);
    unlink(s->path);
}

/* Plays a sine from guest time `from_ns` on, pushed in pieces as the clock goes. */
static void play(Studio *s, void *voice, double tone, uint32_t hz, int64_t from_ns, size_t frames,
                 unsigned channel)
{
    int16_t pairs[100 * 2];
    for (size_t done = 0; done < frames;) {
        size_t piece = hz < 10000 ? hz / 100 : 100; /* at most 10 ms */
        size_t part = frames - done < piece ? frames - done : piece;
        memset(pairs, 0, sizeof(pairs));
        for (size_t i = 0; i < part; i++) {
            pairs[i * 2 + channel] =
                (int16_t)lrint(8000 * sin(2 * M_PI * tone * (double)(done + i) / hz));
        }
        int64_t start = from_ns + (int64_t)((double)done * 1e9 / hz);
        int64_t end = from_ns + (int64_t)((double)(done + part) * 1e9 / hz);
        if (end > clock_now(&s->clock)) {
            clock_step(&s->clock, end - clock_now(&s->clock));
        }
        s->port.ops->push(s->port.mixer, voice, start, hz, pairs, part);
        done += part;
    }
}

static void every_rate_keeps_pitch_level_and_length(void **state)
{
    (void)state;
    static const uint32_t rates[] = {4000, 8000, 11025, 22050, 44100, 48000, 49716, 96000};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        Studio s;
        studio(&s);
        void *voice = s.port.ops->open(s.port.mixer, "test");
        play(&s, voice, 1000, rates[i], 0, rates[i], 0);
        finish(&s);
        assert_int_equal(s.ear.hz, 48000);
        assert_in_range(s.ear.frames, 47990, 48010);
        double level = ear_tone(&s.ear, 0, 1000, 4800, 38400);
        assert_true(level > 7800 && level < 8200);
        assert_true(ear_tone(&s.ear, 1, 1000, 4800, 38400) < 1);
        double rest = ear_rms(&s.ear, 0, 4800, 38400);
        assert_true(fabs(rest - level / sqrt(2)) < 40); /* nothing but the tone */
        ear_free(&s.ear);
    }
}

static void a_gap_is_silence_of_its_length(void **state)
{
    (void)state;
    Studio s;
    studio(&s);
    void *voice = s.port.ops->open(s.port.mixer, "test");
    play(&s, voice, 2000, 22050, 100 * MS, 22050 / 5, 1); /* 100..300 ms */
    play(&s, voice, 2000, 22050, 700 * MS, 22050 / 5, 1); /* 700..900 ms */
    clock_step(&s.clock, 1100 * MS);
    finish(&s);
    assert_in_range(s.ear.frames, 95990, 96001);
    assert_true(ear_rms(&s.ear, 1, 0, 4700) < 1);
    assert_true(ear_tone(&s.ear, 1, 2000, 5000, 9000) > 7500);
    size_t quiet = ear_longest_quiet(&s.ear, 500, 5000, 38000);
    assert_in_range(quiet, 19200 - 100, 19200 + 100);
    assert_true(ear_tone(&s.ear, 1, 2000, 33800, 9000) > 7500);
    assert_true(ear_rms(&s.ear, 1, 43300, 52000) < 2);
    ear_free(&s.ear);
}

static void a_minute_has_no_hole(void **state)
{
    (void)state;
    Studio s;
    studio(&s);
    void *voice = s.port.ops->open(s.port.mixer, "test");
    play(&s, voice, 500, 49716, 0, 49716u * 60, 0);
    finish(&s);
    assert_in_range(s.ear.frames, 48000 * 60 - 2, 48000 * 60 + 2);
    /* a sine of 500 Hz stays below a tenth of its peak for 6 frames at most */
    assert_true(ear_longest_quiet(&s.ear, 800, 480, s.ear.frames - 1000) < 10);
    for (size_t at = 1000; at + 48000 < s.ear.frames; at += 48000 * 7) {
        double level = ear_tone(&s.ear, 0, 500, at, 48000);
        assert_true(level > 7900 && level < 8100);
    }
    ear_free(&s.ear);
}

typedef struct Player {
    Studio *s;
    void *voice;
    Timer timer;
    int64_t frames, every_ns;
} Player;

/* As chips do: a timer, and all frames up to now. */
static void player_fires(void *self, int64_t due)
{
    Player *p = self;
    int64_t to = (int64_t)clock_ticks(clock_now(&p->s->clock), 48000);
    while (p->frames < to) {
        int16_t pairs[480 * 2];
        int64_t part = to - p->frames < 480 ? to - p->frames : 480;
        for (int64_t i = 0; i < part; i++) {
            pairs[i * 2] = pairs[i * 2 + 1] =
                (int16_t)lrint(8000 * sin(2 * M_PI * 500 * (double)(p->frames + i) / 48000));
        }
        p->s->port.ops->push(p->s->port.mixer, p->voice,
                             clock_ticks_to_ns((uint64_t)p->frames, 48000), 48000, pairs,
                             (size_t)part);
        p->frames += part;
    }
    timer_arm(&p->timer, due + p->every_ns);
}

static void a_busy_host_makes_no_hole(void **state)
{
    (void)state;
    Studio s;
    Player players[2] = {{.every_ns = 1 * MS}, {.every_ns = 5 * MS}};
    studio(&s);
    for (unsigned i = 0; i < 2; i++) {
        players[i].s = &s;
        players[i].voice = s.port.ops->open(s.port.mixer, "test");
        timer_init(&players[i].timer, &s.clock, "player", player_fires, &players[i]);
        timer_arm(&players[i].timer, 0);
    }
    srand(5);
    for (unsigned i = 0; i < 300; i++) { /* the machine's thread is away for up to 100 ms */
        clock_skip_to(&s.clock, clock_now(&s.clock) + rand() % (100 * MS));
        clock_fire_due(&s.clock);
    }
    finish(&s);
    assert_true(s.ear.frames > 48000 * 10);
    assert_true(ear_longest_quiet(&s.ear, 1600, 480, s.ear.frames - 10000) < 10);
    assert_true(fabs(ear_tone(&s.ear, 0, 500, 4800, 480000) - 16000) < 100);
    ear_free(&s.ear);
}

static void voices_add_up_and_come_back(void **state)
{
    (void)state;
    Studio s;
    studio(&s);
    void *voice[17];
    for (unsigned i = 0; i < 16; i++) {
        voice[i] = s.port.ops->open(s.port.mixer, "test");
        assert_non_null(voice[i]);
    }
    assert_null(s.port.ops->open(s.port.mixer, "one too many"));
    s.port.ops->close(s.port.mixer, voice[3]);
    voice[16] = s.port.ops->open(s.port.mixer, "test");
    assert_ptr_equal(voice[16], voice[3]);
    int16_t a[960 * 2], b[960 * 2];
    for (unsigned i = 0; i < 960; i++) {
        a[i * 2] = a[i * 2 + 1] = 1000;
        b[i * 2] = 300;
        b[i * 2 + 1] = -300;
    }
    for (unsigned i = 0; i < 20; i++) {
        clock_step(&s.clock, 20 * MS);
        s.port.ops->push(s.port.mixer, voice[0], i * 20 * MS, 48000, a, 960);
        s.port.ops->push(s.port.mixer, voice[1], i * 20 * MS, 48000, b, 960);
    }
    s.port.ops->push(s.port.mixer, NULL, 0, 48000, a, 960); /* no voice: vanishes */
    s.port.ops->push(s.port.mixer, voice[0], 0, 0, a, 960); /* no rate */
    finish(&s);
    assert_in_range(s.ear.pairs[9600 * 2], 1297, 1303);
    assert_in_range(s.ear.pairs[9600 * 2 + 1], 697, 703);
    ear_free(&s.ear);
}

static void a_loaded_state_sets_time_back(void **state)
{
    (void)state;
    Studio s;
    studio(&s);
    void *voice = s.port.ops->open(s.port.mixer, "test");
    play(&s, voice, 1000, 48000, 0, 48000, 0);
    clock_set(&s.clock, 200 * MS);
    play(&s, voice, 1000, 48000, 200 * MS, 48000, 0);
    finish(&s);
    assert_in_range(s.ear.frames, 95000, 97000);
    assert_true(ear_tone(&s.ear, 0, 1000, 60000, 20000) > 7900);
    ear_free(&s.ear);
}

static void midi_sounds_when_it_was_sent(void **state)
{
    (void)state;
    Studio s;
    studio(&s);
    MixerSynth synth = midi_synth_new(NULL, mixer_hz(s.mixer));
    CharPort port = mixer_add_synth(s.mixer, &synth);
    assert_non_null(port.ops);
    clock_step(&s.clock, 500 * MS);
    /* ocarina, a' held by running status */
    static const uint8_t on[] = {0xc0, 79, 0x90, 69, 0, 0xf8, 69, 100};
    static const uint8_t off[] = {0x80, 69, 64};
    port.ops->write(port.backend, on, sizeof(on));
    clock_step(&s.clock, 1000 * MS);
    port.ops->write(port.backend, off, sizeof(off));
    clock_step(&s.clock, 1500 * MS);
    finish(&s);
    if (access("/usr/share/sounds/sf2/TimGM6mb.sf2", R_OK) != 0) {
        ear_free(&s.ear);
        skip();
    }
    assert_in_range(s.ear.frames, 48000 * 3 - 2, 48000 * 3 + 2);
    assert_true(ear_rms(&s.ear, 0, 0, 23900) < 1);
    double a = ear_tone(&s.ear, 0, 440, 36000, 24000);
    assert_true(a > 200);
    assert_true(a > 20 * ear_tone(&s.ear, 0, 466.16, 36000, 24000));
    assert_true(ear_rms(&s.ear, 0, 48000 * 3 - 9600, 9600) < ear_rms(&s.ear, 0, 36000, 9600) / 20);
    ear_free(&s.ear);
}

static void options_are_read(void **state)
{
    (void)state;
    MixerConfig c;
    Err err = {""};
    assert_true(mixer_parse(NULL, &c, &err));
    assert_int_equal(c.output, MIXER_NONE);
    assert_true(mixer_parse("none,id=a", &c, &err));
    assert_int_equal(c.output, MIXER_NONE);
    assert_true(mixer_parse("driver=wav,id=a,path=x,,y.wav,out.frequency=44100", &c, &err));
    assert_int_equal(c.output, MIXER_WAV);
    assert_string_equal(c.path, "x,y.wav");
    assert_int_equal(c.hz, 44100);
    assert_true(mixer_parse("sdl,out.buffer-length=80000", &c, &err));
    assert_int_equal(c.latency_ms, 80);
    assert_false(mixer_parse("oss", &c, &err));
    assert_non_null(strstr(err.text, "oss"));
    assert_false(mixer_parse("sdl,latency=5", &c, &(Err){""}));
    assert_false(mixer_parse("sdl,nonsense=1", &c, &(Err){""}));
    assert_false(mixer_parse("wav,path", &c, &(Err){""}));
}

/* Feeds `guest` frames of a tone for each 480 that the device pulls. */
typedef struct Pipe {
    MixerFlow *flow;
    double owed;
    uint64_t phase;
    Ear ear;
} Pipe;

static void run_pipe(Pipe *p, double speed, unsigned pulls)
{
    for (unsigned i = 0; i < pulls; i++) {
        float in[2000 * 2], out[480 * 2];
        int16_t heard[480 * 2];
        p->owed += 480 * speed;
        size_t frames = (size_t)p->owed;
        p->owed -= (double)frames;
        for (size_t n = 0; n < frames; n++, p->phase++) {
            in[n * 2] = in[n * 2 + 1] =
                0.5f * (float)sin(2 * M_PI * 1000 * (double)p->phase / 48000);
        }
        flow_feed(p->flow, in, frames);
        flow_pull(p->flow, out, 480);
        for (unsigned n = 0; n < 960; n++) {
            assert_true(out[n] > -1 && out[n] < 1);
            heard[n] = (int16_t)lrintf(out[n] * 32767);
        }
        if (p->ear.frames + 480 > p->ear.room) {
            p->ear.room = p->ear.room * 2 + 48000;
            p->ear.pairs = realloc(p->ear.pairs, p->ear.room * 4);
        }
        memcpy(p->ear.pairs + p->ear.frames * 2, heard, sizeof(heard));
        p->ear.frames += 480;
    }
}

static void the_device_hears_no_hole(void **state)
{
    (void)state;
    static const double speeds[] = {1, 1.0003, 0.9997, 0.8, 0.5, 0.3};
    for (unsigned i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
        Pipe p = {.flow = flow_new(48000, 50), .ear = {.hz = 48000}};
        run_pipe(&p, speeds[i], 3000); /* 30 s */
        /* the longest that a sine of the slowest pitch stays near its zero is 7 frames */
        assert_true(ear_longest_quiet(&p.ear, 1600, 48000, 48000 * 28) < 15);
        if (speeds[i] > 0.99) {
            assert_true(ear_tone(&p.ear, 0, 1000 * speeds[i], 48000 * 20, 4800) > 14000);
        }
        flow_free(p.flow);
        ear_free(&p.ear);
    }
}

static void a_paused_guest_is_silent_and_comes_back(void **state)
{
    (void)state;
    Pipe p = {.flow = flow_new(48000, 50), .ear = {.hz = 48000}};
    run_pipe(&p, 1, 100);
    run_pipe(&p, 0, 100);
    size_t paused = p.ear.frames;
    run_pipe(&p, 1, 200);
    assert_true(ear_rms(&p.ear, 0, paused - 24000, 24000) < 2);
    assert_true(ear_tone(&p.ear, 0, 1000, paused + 9600, 48000) > 14000);
    assert_true(ear_longest_quiet(&p.ear, 1600, paused + 9600, 80000) < 15);
    flow_free(p.flow);
    ear_free(&p.ear);
}

static void a_burst_does_not_add_delay_for_ever(void **state)
{
    (void)state;
    Pipe p = {.flow = flow_new(48000, 50), .ear = {.hz = 48000}};
    float silence[960] = {0};
    run_pipe(&p, 1, 100);
    for (unsigned i = 0; i < 200; i++) { /* two seconds at once */
        flow_feed(p.flow, silence, 480);
    }
    run_pipe(&p, 1, 1000);
    size_t end = p.ear.frames;
    run_pipe(&p, 0, 30);
    /* all that was under way has come within 300 ms: the rest is silent */
    assert_true(ear_rms(&p.ear, 0, end + 9600, 4800) < 200);
    flow_free(p.flow);
    ear_free(&p.ear);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rate_keeps_pitch_level_and_length),
        cmocka_unit_test(a_gap_is_silence_of_its_length),
        cmocka_unit_test(a_minute_has_no_hole),
        cmocka_unit_test(a_busy_host_makes_no_hole),
        cmocka_unit_test(voices_add_up_and_come_back),
        cmocka_unit_test(a_loaded_state_sets_time_back),
        cmocka_unit_test(midi_sounds_when_it_was_sent),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(the_device_hears_no_hole),
        cmocka_unit_test(a_paused_guest_is_silent_and_comes_back),
        cmocka_unit_test(a_burst_does_not_add_delay_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
