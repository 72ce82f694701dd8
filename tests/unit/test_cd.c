/* CUE sheets: layout of tracks on the disc, data and audio sectors, bad sheets; audio through the
 * ATAPI drive.
 */
#include "storage/cd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ide.h"
#include "tests/unit/disk_board.h"
#include "tests/unit/folder.h"

/* The samples of an audio sector of the test disc. */
static uint8_t sound(uint32_t frame, unsigned i)
{
    return (uint8_t)(frame * 5 + i);
}

/* 100 sectors of mode 1, whole; then 40 of audio, the first 10 of them pause before the track. */
static void make_mixed(void)
{
    uint8_t *bin = malloc(140 * CD_RAW_SECTOR);
    for (uint32_t i = 0; i < 140; i++) {
        uint8_t *raw = bin + i * CD_RAW_SECTOR;
        for (unsigned j = 0; j < CD_RAW_SECTOR; j++) {
            raw[j] = i < 100 ? memory_byte(i * 2048ull + j - 16) : sound(i, j);
        }
        if (i < 100) {
            cd_make_raw(raw, i);
        }
    }
    write_file("mixed.bin", bin, 140 * CD_RAW_SECTOR);
    free(bin);
    static const char sheet[] = "REM a comment\r\n"
                                "FILE \"mixed.bin\" BINARY\r\n"
                                "  TRACK 01 MODE1/2352\r\n"
                                "    INDEX 01 00:00:00\r\n"
                                "  TRACK 02 AUDIO\r\n"
                                "    TITLE \"FILE of sound\"\r\n"
                                "    FLAGS DCP PRE SCMS\r\n"
                                "    INDEX 00 00:01:25\r\n"
                                "    INDEX 01 00:01:35\r\n"
                                "FILE \"song.wav\" WAVE\r\n"
                                "  TRACK 03 AUDIO\r\n"
                                "    PREGAP 00:02:00\r\n"
                                "    INDEX 01 00:00:00\r\n";
    write_file("mixed.cue", sheet, sizeof(sheet) - 1);
    uint8_t wave[44 + 75 * CD_RAW_SECTOR] =
        "RIFF    WAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0"
        "\4\0\x10\0data";
    uint32_t size = 75 * CD_RAW_SECTOR;
    memcpy(wave + 40, &size, 4);
    for (unsigned i = 0; i < size; i++) {
        wave[44 + i] = (uint8_t)(i / 1000);
    }
    write_file("song.wav", wave, sizeof(wave));
}

static Block *open_disc(const char *name)
{
    Err err = {""};
    Block *b = block_open(path_of(name), &(BlockOptions){.read_only = true}, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    return b;
}

static void tracks_lie_where_the_sheet_says(void **state)
{
    (void)state;
    CdToc toc;
    uint8_t raw[2 * CD_RAW_SECTOR], data[CD_SECTOR];
    make_mixed();
    Block *b = open_disc("mixed.cue");
    assert_string_equal(block_format_name(b), "cue");
    cd_toc(b, &toc);
    assert_int_equal(toc.tracks, 3);
    assert_int_equal(toc.track[0].start, 0);
    assert_int_equal(toc.track[0].control, 4);
    assert_int_equal(toc.track[1].start, 110);
    assert_int_equal(toc.track[1].control, 3);
    assert_int_equal(toc.track[2].start, 140 + 150);
    assert_int_equal(toc.lead_out, 140 + 150 + 75);
    assert_int_equal(block_size(b), (140 + 150 + 75) * 2048);
    assert_int_equal(block_read(b, 99 * 2048, data, CD_SECTOR), 0);
    for (unsigned i = 0; i < CD_SECTOR; i++) {
        assert_int_equal(data[i], memory_byte(99 * 2048 + i));
    }
    assert_int_not_equal(block_read(b, 100 * 2048, data, CD_SECTOR),
                         0); /* audio has no such data */
    assert_int_equal(cd_read_raw(b, 110, raw, 2), 0);
    assert_int_equal(raw[0], sound(110, 0));
    assert_int_equal(raw[CD_RAW_SECTOR + 77], sound(111, 77));
    assert_int_equal(cd_read_raw(b, 200, raw, 1), 0); /* the gap that no file holds */
    assert_int_equal(raw[0] | raw[2351], 0);
    assert_int_equal(cd_read_raw(b, 290, raw, 1), 0);
    assert_int_equal(raw[2000], 2);
    assert_int_not_equal(cd_read_raw(b, 365, raw, 1), 0);
    block_close(b);
}

static void check_refused(const char *sheet, const char *part)
{
    Err err = {""};
    write_file("bad.cue", sheet, strlen(sheet));
    assert_null(block_open(path_of("bad.cue"), &(BlockOptions){.read_only = true}, &err));
    if (!strstr(err.text, part)) {
        fail_msg("'%s' does not speak of '%s'", err.text, part);
    }
}

static void bad_sheets_are_refused(void **state)
{
    (void)state;
    make_mixed();
    check_refused("FILE \"absent.bin\" BINARY\n TRACK 01 AUDIO\n INDEX 01 00:00:00\n",
                  "absent.bin");
    check_refused("FILE \"/etc/hostname\" BINARY\n TRACK 01 AUDIO\n INDEX 01 00:00:00\n",
                  "outside");
    check_refused("FILE mixed.bin BINARY\n", "names no track");
    check_refused("FILE mixed.bin MP3\n", "not supported");
    check_refused("FILE mixed.bin BINARY\nTRACK 02 AUDIO\n", "line 2");
    check_refused("FILE mixed.bin BINARY\nTRACK 01 AUDIO\n", "INDEX 01");
    check_refused("FILE mixed.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:99:00\n", "line 3");
    check_refused("FILE mixed.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\n"
                  "INDEX 01 09:00:00\n",
                  "cut off");
    check_refused("FILE mixed.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:01:00\nTRACK 02 AUDIO\n"
                  "INDEX 01 00:00:10\n",
                  "");
    check_refused("FILE mixed.bin WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", "WAVE");
}

/* A mixer that notes what it hears. */
typedef struct Mixer {
    unsigned pushes;
    int64_t first, last;
    int16_t sample, loudest;
    unsigned gaps; /* pushes that do not begin where the last ended */
} Mixer;

static void *mixer_open(void *mixer, const char *name)
{
    (void)name;
    return mixer;
}

static void mixer_close(void *mixer, void *voice)
{
    (void)mixer;
    (void)voice;
}

static void mixer_push(void *mixer, void *voice, int64_t start, uint32_t hz, const int16_t *pairs,
                       size_t frames)
{
    Mixer *m = mixer;
    (void)voice;
    assert_int_equal(hz, 44100);
    assert_int_equal(frames, 588);
    if (m->pushes++ == 0) {
        m->first = start;
        m->sample = pairs[0];
    }
    m->gaps += m->pushes > 1 && llabs(start - m->last - CLOCK_NS_PER_S / 75) > 1000;
    for (unsigned i = 0; i < frames * 2; i++) {
        int16_t v = (int16_t)abs(pairs[i]);
        m->loudest = v > m->loudest ? v : m->loudest;
    }
    m->last = start;
}

static const AudioOps mixer_ops = {mixer_open, mixer_close, mixer_push};

static void packet(Board *b, const uint8_t *bytes)
{
    chip_out(b, 0x1f1, 0);
    chip_out(b, 0x1f4, 0);
    chip_out(b, 0x1f5, 8);
    chip_out(b, 0x1f7, 0xa0);
    clock_step(&b->clock, 100000);
    for (unsigned i = 0; i < 12; i += 2) {
        bus_write(b->ports, 0x1f0, bytes[i] | (uint32_t)bytes[i + 1] << 8, 2);
    }
    clock_step(&b->clock, 300000);
}

#define PACKET(b, ...) packet(b, (const uint8_t[12]){__VA_ARGS__})

static void take(Board *b, uint8_t *data, unsigned size)
{
    for (unsigned i = 0; i < size; i += 2) {
        unsigned word = (unsigned)bus_read(b->ports, 0x1f0, 2);
        data[i] = (uint8_t)word;
        data[i + 1] = (uint8_t)(word >> 8);
    }
    clock_step(&b->clock, 300000);
}

static uint8_t audio_status(Board *b, uint32_t *lba)
{
    uint8_t reply[16];
    PACKET(b, 0x42, 0, 0x40, 1, 0, 0, 0, 0, 16);
    take(b, reply, 16);
    *lba = (uint32_t)reply[9] << 16 | (uint32_t)reply[10] << 8 | reply[11];
    return reply[1];
}

static void audio_plays_in_guest_time(void **state)
{
    (void)state;
    Mixer mixer = {0};
    BlockQueue *queue;
    uint8_t data[2352];
    uint32_t lba;
    make_mixed();
    Board *b = disk_board(&queue);
    IdeConfig config = {.queue = queue, .audio = {&mixer_ops, &mixer}};
    config.drive[0] = (IdeDriveConfig){.kind = IDE_CDROM, .medium = open_disc("mixed.cue")};
    ide_new(b, &config, "ide");
    board_reset(b, RESET_POWER);
    PACKET(b, 0x00);
    PACKET(b, 0x03, 0, 0, 0, 18);
    take(b, data, 18);
    PACKET(b, 0x47, 0, 0, 0, 3, 35, 0, 3, 65); /* LBA 110 to 140 */
    assert_int_equal(chip_in(b, 0x1f7), 0x40);
    int64_t start = clock_now(&b->clock);
    assert_int_equal(audio_status(b, &lba), 0x11);
    assert_in_range(lba, 110, 111);
    clock_step(&b->clock, CLOCK_NS_PER_S / 5);
    assert_int_equal(audio_status(b, &lba), 0x11);
    assert_in_range(lba, 124, 126);
    PACKET(b, 0x4b); /* pause */
    clock_step(&b->clock, CLOCK_NS_PER_S);
    assert_int_equal(audio_status(b, &lba), 0x12);
    assert_in_range(lba, 124, 126);
    PACKET(b, 0x4b, 0, 0, 0, 0, 0, 0, 0, 1);
    clock_step(&b->clock, CLOCK_NS_PER_S);
    assert_int_equal(audio_status(b, &lba), 0x13); /* over, told once */
    assert_int_equal(audio_status(b, &lba), 0x15);
    assert_in_range(mixer.pushes, 30, 32); /* at most two were on their way when it paused */
    assert_in_range(mixer.first, start - 1000000, start + 1000000);
    assert_int_equal(mixer.sample, (int16_t)(sound(110, 0) | sound(110, 1) << 8));
    /* READ CD of audio gives all of it; READ(10) is told off */
    PACKET(b, 0xbe, 4, 0, 0, 0, 110, 0, 0, 1, 0x10);
    take(b, data, 2048);
    take(b, data + 2048, 2352 - 2048);
    assert_int_equal(data[2351], sound(110, 2351));
    PACKET(b, 0x28, 0, 0, 0, 0, 110, 0, 0, 1);
    assert_int_equal(chip_in(b, 0x1f1), 0x54);
    board_free(b);
}

static Board *player(Mixer *mixer, Ide **ide)
{
    BlockQueue *queue;
    Board *b = disk_board(&queue);
    IdeConfig config = {.queue = queue, .audio = {&mixer_ops, mixer}};
    config.drive[0] = (IdeDriveConfig){.kind = IDE_CDROM, .medium = open_disc("mixed.cue")};
    *ide = ide_new(b, &config, "ide");
    board_reset(b, RESET_POWER);
    PACKET(b, 0x00);
    return b;
}

/* A drive that was saved in the middle of a track plays the rest, without a gap, at its time. */
static void a_track_goes_on_after_loading(void **state)
{
    (void)state;
    Mixer mixer = {0}, other_mixer = {0};
    Ide *ide, *other_ide;
    uint32_t lba;
    make_mixed();
    Board *b = player(&mixer, &ide), *other = player(&other_mixer, &other_ide);
    PACKET(b, 0x03, 0, 0, 0, 18);
    uint8_t sense[18];
    take(b, sense, 18);
    PACKET(b, 0x47, 0, 0, 0, 3, 35, 0, 3, 65); /* LBA 110 to 140 */
    clock_step(&b->clock, CLOCK_NS_PER_S / 5);
    unsigned before = mixer.pushes;
    assert_in_range(before, 15, 17);
    chip_state_round_trip(b, other);
    clock_step(&b->clock, CLOCK_NS_PER_S);
    for (unsigned i = 0; i < 75; i++) {
        clock_step(&other->clock, CLOCK_NS_PER_S / 75);
    }
    assert_int_equal(mixer.pushes, 30);
    assert_int_equal(mixer.gaps, 0);
    assert_in_range(other_mixer.pushes, 30 - before, 32 - before); /* the one under way once more */
    assert_int_equal(other_mixer.gaps, 0);
    assert_int_equal(other_mixer.last, mixer.last);
    assert_int_equal(audio_status(other, &lba), 0x13);
    board_free(other);
    board_free(b);
}

static void volume_is_the_drives_and_the_cards(void **state)
{
    (void)state;
    Mixer mixer = {0};
    Ide *ide;
    make_mixed();
    Board *b = player(&mixer, &ide);
    uint8_t sense[18];
    PACKET(b, 0x03, 0, 0, 0, 18);
    take(b, sense, 18);
    PACKET(b, 0x47, 0, 0, 0, 3, 35, 0, 3, 65);
    clock_step(&b->clock, CLOCK_NS_PER_S / 10);
    int16_t whole = mixer.loudest;
    assert_true(whole > 16000);
    ide_audio_volume(ide, 0x8000, 0x8000); /* acts at once, not on what is fetched next */
    clock_step(&b->clock, CLOCK_NS_PER_S / 40);
    mixer.loudest = 0;
    clock_step(&b->clock, CLOCK_NS_PER_S / 20);
    assert_in_range(mixer.loudest, whole * 45 / 100, whole * 51 / 100);
    ide_audio_volume(ide, 0, 0);
    clock_step(&b->clock, CLOCK_NS_PER_S / 40);
    mixer.loudest = 0;
    clock_step(&b->clock, CLOCK_NS_PER_S / 20);
    assert_int_equal(mixer.loudest, 0);
    board_free(b);
}

static void flags_are_in_the_toc_and_sub_channel(void **state)
{
    (void)state;
    Mixer mixer = {0};
    Ide *ide;
    uint8_t toc[36], raw[48];
    make_mixed();
    Board *b = player(&mixer, &ide);
    PACKET(b, 0x03, 0, 0, 0, 18);
    take(b, raw, 18);
    PACKET(b, 0x43, 0, 0, 0, 0, 0, 0, 0, 36);
    take(b, toc, 36);
    assert_int_equal(toc[5], 0x14);
    assert_int_equal(toc[13], 0x13); /* ADR 1; DCP and pre-emphasis */
    assert_int_equal(toc[21], 0x10);
    PACKET(b, 0x43, 0, 2, 0, 0, 0, 0, 0, 48); /* raw: A0h, A1h, A2h, track 1 */
    take(b, raw, 48);
    assert_int_equal(raw[4 + 3 * 11 + 1], 0x14);
    PACKET(b, 0x47, 0, 0, 0, 3, 35, 0, 3, 65);
    PACKET(b, 0x42, 0, 0x40, 1, 0, 0, 0, 0, 16);
    take(b, raw, 16);
    assert_int_equal(raw[1], 0x11); /* it plays: it is still sound */
    assert_int_equal(raw[5], 0x13);
    assert_int_equal(raw[6], 2);
    PACKET(b, 0x42, 0, 0x40, 3, 0, 0, 2, 0, 24); /* the code of track 2: it has none */
    take(b, raw, 24);
    assert_int_equal(raw[5], 0x13);
    assert_int_equal(raw[6], 2);
    assert_int_equal(raw[8], 0);
    PACKET(b, 0x42, 0, 0x40, 3, 0, 0, 4, 0, 24); /* there are three */
    assert_int_equal(bus_read(b->ports, 0x1f7, 1) & 1, 1);
    board_free(b);
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"mixed.bin", "mixed.cue", "song.wav", "bad.cue"};
    (void)state;
    return remove_folder_of(names, sizeof(names) / sizeof(names[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tracks_lie_where_the_sheet_says),
        cmocka_unit_test(bad_sheets_are_refused),
        cmocka_unit_test(audio_plays_in_guest_time),
        cmocka_unit_test(a_track_goes_on_after_loading),
        cmocka_unit_test(volume_is_the_drives_and_the_cards),
        cmocka_unit_test(flags_are_in_the_toc_and_sub_channel),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
