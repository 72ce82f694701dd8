/* CUE sheets as archives have them: gaps at the end of the file before, flags, names of other
 * machines, odd but right lines, and what is refused with its remedy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/cd.h"
#include "tests/unit/chip.h"
#include "tests/unit/folder.h"

/* Sectors of `size` bytes, each filled with its number after `first`, behind `head` bytes. */
static void write_sectors(const char *name, unsigned size, unsigned count, uint8_t first,
                          const void *head, size_t head_size)
{
    uint8_t *bytes = malloc(head_size + (size_t)count * size);
    assert_non_null(bytes);
    if (head_size) {
        memcpy(bytes, head, head_size);
    }
    for (unsigned i = 0; i < count; i++) {
        memset(bytes + head_size + (size_t)i * size, first + (int)i, size);
    }
    write_file(name, bytes, head_size + (size_t)count * size);
    free(bytes);
}

static void write_bin(const char *name, unsigned count, uint8_t first)
{
    write_sectors(name, CD_RAW_SECTOR, count, first, NULL, 0);
}

static void write_wave(const char *name, unsigned count, uint8_t first)
{
    uint8_t head[44] = "RIFF    WAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data";
    uint32_t size = count * CD_RAW_SECTOR;
    memcpy(head + 40, &size, 4);
    write_sectors(name, CD_RAW_SECTOR, count, first, head, sizeof(head));
}

static Block *try_sheet(const char *sheet, Err *err)
{
    write_file("disc.cue", sheet, strlen(sheet));
    return block_open(path_of("disc.cue"), &(BlockOptions){.read_only = true}, err);
}

static Block *open_sheet(const char *sheet, CdToc *toc)
{
    Err err = {""};
    Block *b = try_sheet(sheet, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(block_format_name(b), "cue");
    cd_toc(b, toc);
    return b;
}

static void check_opens(const char *sheet, uint32_t lead_out)
{
    CdToc toc;
    block_close(open_sheet(sheet, &toc));
    assert_int_equal(toc.lead_out, lead_out);
}

static void check_refused(const char *sheet, const char *part)
{
    Err err = {""};
    assert_null(try_sheet(sheet, &err));
    if (!strstr(err.text, part)) {
        fail_msg("'%s' does not speak of '%s'", err.text, part);
    }
}

static void check_sector(Block *b, uint32_t lba, uint8_t first, uint8_t last)
{
    uint8_t raw[CD_RAW_SECTOR];
    assert_int_equal(cd_read_raw(b, lba, raw, 1), 0);
    assert_int_equal(raw[0], first);
    assert_int_equal(raw[CD_RAW_SECTOR - 1], last);
}

static void a_gap_may_end_the_file_before(void **state)
{
    (void)state;
    CdToc toc;
    write_wave("1.wav", 30, 0);
    write_wave("2.wav", 20, 100);
    write_wave("3.wav", 10, 200);
    Block *b = open_sheet("FILE \"1.wav\" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n"
                          " TRACK 02 AUDIO\n  INDEX 00 00:00:25\n"
                          "FILE \"2.wav\" WAVE\n  INDEX 01 00:00:00\n  INDEX 02 00:00:04\n"
                          " TRACK 03 AUDIO\n  INDEX 00 00:00:20\n"
                          "FILE \"3.wav\" WAVE\n  INDEX 01 00:00:03\n",
                          &toc);
    assert_int_equal(toc.tracks, 3);
    assert_int_equal(toc.track[0].start, 0);
    assert_int_equal(toc.track[1].start, 30);
    assert_int_equal(toc.track[2].start, 53); /* its gap: none of 2.wav, 3 frames of its own */
    assert_int_equal(toc.lead_out, 60);
    check_sector(b, 24, 24, 24);
    check_sector(b, 25, 25, 25); /* the gap */
    check_sector(b, 29, 29, 29);
    check_sector(b, 30, 100, 100);
    check_sector(b, 49, 119, 119);
    check_sector(b, 50, 200, 200);
    check_sector(b, 59, 209, 209);
    block_close(b);
}

static void a_gap_may_end_a_data_file(void **state)
{
    (void)state;
    CdToc toc;
    uint8_t *bin = calloc(20, CD_RAW_SECTOR);
    for (unsigned i = 0; i < 20; i++) { /* 10 sectors of 2048 bytes, then sound */
        memset(bin + (i < 10 ? i * CD_SECTOR : 10 * CD_SECTOR + (i - 10) * CD_RAW_SECTOR), (int)i,
               i < 10 ? CD_SECTOR : CD_RAW_SECTOR);
    }
    write_file("1.bin", bin, 10 * CD_SECTOR + 10 * CD_RAW_SECTOR);
    free(bin);
    write_wave("2.wav", 5, 100);
    Block *b = open_sheet("FILE 1.bin BINARY\nTRACK 01 MODE1/2048\nINDEX 01 00:00:00\n"
                          "TRACK 02 AUDIO\nPREGAP 00:00:07\nINDEX 00 00:00:10\n"
                          "FILE 2.wav WAVE\nINDEX 01 00:00:00\nPOSTGAP 00:00:02\n",
                          &toc);
    assert_int_equal(toc.track[1].start, 10 + 7 + 10);
    assert_int_equal(toc.lead_out, 10 + 7 + 10 + 5 + 2);
    check_sector(b, 16, 0, 0);
    check_sector(b, 17, 10, 10);
    check_sector(b, 26, 19, 19);
    check_sector(b, 27, 100, 100);
    block_close(b);
}

static void a_gap_in_another_file_is_bounded(void **state)
{
    (void)state;
    write_wave("1.wav", 30, 0);
    write_wave("2.wav", 20, 100);
    static const char *const head = "FILE 1.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n";
    static const struct {
        const char *rest, *part;
    } cases[] = {
        {"TRACK 02 AUDIO\nINDEX 00 00:00:31\nFILE 2.wav WAVE\nINDEX 01 00:00:00\n", "past the end"},
        {"TRACK 02 AUDIO\nINDEX 00 99:59:74\nFILE 2.wav WAVE\nINDEX 01 00:00:00\n", "past the end"},
        {"TRACK 02 AUDIO\nINDEX 00 00:00:25\nFILE 2.wav WAVE\nINDEX 01 00:00:20\n", "empty"},
        {"TRACK 02 AUDIO\nINDEX 00 00:00:25\nFILE 2.wav WAVE\nINDEX 01 99:59:74\n", "empty"},
        {"TRACK 02 AUDIO\nINDEX 00 00:00:00\nFILE 2.wav WAVE\nINDEX 01 00:00:00\n", "empty"},
        {"TRACK 02 AUDIO\nINDEX 01 00:00:25\nFILE 2.wav WAVE\nINDEX 00 00:00:30\n", "INDEX 00"},
        {"TRACK 02 AUDIO\nINDEX 01 00:00:25\nFILE 2.wav WAVE\nINDEX 02 00:00:30\n", "INDEX 02"},
        {"FILE 2.wav WAVE\nTRACK 02 AUDIO\nINDEX 00 00:00:21\nFILE 1.wav WAVE\nINDEX 01 00:00:00\n",
         "past the end"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char sheet[512];
        snprintf(sheet, sizeof(sheet), "%s%s", head, cases[i].rest);
        check_refused(sheet, cases[i].part);
    }
}

/* A FILE between TRACK and its only INDEX is the track's. */
static void an_index_lies_in_the_last_file(void **state)
{
    (void)state;
    CdToc toc;
    write_bin("1.bin", 10, 0);
    write_bin("2.bin", 10, 100);
    Block *b = open_sheet("FILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\n"
                          "FILE 2.bin BINARY\nINDEX 01 00:00:00\n",
                          &toc);
    assert_int_equal(toc.track[1].start, 10);
    check_sector(b, 10, 100, 100);
    block_close(b);
}

static void sound_before_the_first_song_has_its_address(void **state)
{
    (void)state;
    CdToc toc;
    write_bin("1.bin", 60, 0);
    Block *b = open_sheet("FILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 00 00:00:00\n"
                          "INDEX 01 00:00:32\n",
                          &toc);
    assert_int_equal(toc.track[0].start, 32);
    assert_int_equal(toc.lead_out, 60);
    check_sector(b, 5, 5, 5);
    block_close(b);
    write_sectors("1.bin", CD_SECTOR, 60, 0, NULL, 0);
    b = open_sheet("FILE 1.bin BINARY\nTRACK 01 MODE1/2048\nINDEX 00 00:00:00\nINDEX 01 00:00:32\n",
                   &toc);
    assert_int_equal(toc.track[0].start, 0); /* a file system begins at LBA 0 */
    assert_int_equal(toc.lead_out, 28);
    block_close(b);
}

static void flags_are_in_the_control_field(void **state)
{
    (void)state;
    CdToc toc;
    write_bin("1.bin", 60, 0);
    block_close(open_sheet("FILE 1.bin BINARY\n"
                           "TRACK 01 MODE1/2352\nFLAGS DCP PRE 4CH\nINDEX 01 00:00:00\n"
                           "TRACK 02 AUDIO\nFLAGS DCP\nINDEX 01 00:00:10\n"
                           "TRACK 03 AUDIO\nFLAGS 4CH PRE\nINDEX 01 00:00:20\n"
                           "TRACK 04 AUDIO\nflags scms dcp pre 4ch\nINDEX 01 00:00:30\n"
                           "TRACK 05 AUDIO\nFLAGS\nINDEX 01 00:00:40\n",
                           &toc));
    static const uint8_t control[] = {6, 2, 9, 11, 0};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(toc.track[i].control, control[i]);
    }
    assert_int_equal(toc.track[0].mode, 1);
    assert_int_equal(toc.track[3].mode, 0);
}

static void names_of_other_machines_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {
        "\"Game: Disc 1.bin\"",                    /* as it lies there */
        "\"game: disc 1.BIN\"",                    /* another case */
        "\"C:\\My Games\\CD\\GAME: DISC 1.BIN\"",  /* a path of Windows */
        "\"/home/someone/rips/Game: Disc 1.bin\"", /* a path that is not here */
        "\"../rips/Game: Disc 1.bin\"",            /* nor this */
        "Game: Disc 1.bin",                        /* not quoted */
        "   Game: Disc 1.bin",
    };
    write_bin("Game: Disc 1.bin", 10, 0);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char sheet[256];
        snprintf(sheet, sizeof(sheet), "FILE %s BINARY \r\nTRACK 01 AUDIO\r\nINDEX 01 00:00:00\r\n",
                 names[i]);
        check_opens(sheet, 10);
    }
    /* its own case comes before others */
    write_bin("GAME: disc 1.BIN", 20, 0);
    check_opens("FILE \"D:\\game: DISC 1.bin\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", 20);
    check_opens("FILE \"D:\\Game: Disc 1.bin\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", 10);
    unlink(path_of("GAME: disc 1.BIN"));
}

static void names_never_lead_out_of_the_folder(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/passwd", path_of("out.bin")), 0);
    static const char *const names[] = {"OUT.BIN", "C:\\out.bin", "/etc/passwd", "..\\..\\passwd",
                                        "..",      ".",           "C:\\..",      "x/.."};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char sheet[128];
        snprintf(sheet, sizeof(sheet), "FILE \"%s\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n",
                 names[i]);
        Err err = {""};
        assert_null(try_sheet(sheet, &err));
        assert_true(err.text[0] != '\0');
    }
    check_refused("FILE \"OUT.BIN\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", "outside");
}

static void odd_lines_are_understood(void **state)
{
    (void)state;
    write_bin("1.bin", 30, 0);
    check_opens("\xef\xbb\xbf"
                "REM GENRE \"FILE x BINARY\"\r\nCATALOG 0000000000000\r\nCDTEXTFILE \"a b.cdt\"\r\n"
                "TITLE \"TRACK 02 AUDIO\"\r\nPERFORMER INDEX\r\n\r\n"
                "file 1.bin binary\r\n\ttrack 1 audio\r\n\t\tISRC ABCDE1234567\r\n"
                "\t\tSONGWRITER \"\"\r\n\t\tindex 1 00:00:00\r\n\t\tINDEX 02 00:00:05\r\n"
                "\t\tINDEX 99 00:00:06\r\n\x1a",
                30);
    /* much text in front of the first FILE */
    char *sheet = malloc(8192);
    memset(sheet, ' ', 6000);
    memcpy(sheet, "REM", 3);
    snprintf(sheet + 6000, 2192, "\nFILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n");
    check_opens(sheet, 30);
    free(sheet);
}

static void sectors_of_all_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned size, data;
        uint8_t mode;
    } forms[] = {{"MODE1/2048", 2048, 0, 1}, {"MODE1/2352", 2352, 16, 1},
                 {"MODE2/2336", 2336, 8, 2}, {"MODE2/2352", 2352, 24, 2},
                 {"MODE2/2048", 2048, 0, 2}, {"CDI/2336", 2336, 8, 2}};
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char sheet[128];
        CdToc toc;
        uint8_t data[CD_SECTOR], raw[CD_RAW_SECTOR];
        write_sectors("1.bin", forms[i].size, 10, 40, NULL, 0);
        snprintf(sheet, sizeof(sheet), "FILE 1.bin BINARY\nTRACK 01 %s\nINDEX 01 00:00:00\n",
                 forms[i].name);
        Block *b = open_sheet(sheet, &toc);
        assert_int_equal(toc.track[0].mode, forms[i].mode);
        assert_int_equal(toc.lead_out, 10);
        assert_int_equal(block_read(b, 9 * CD_SECTOR, data, CD_SECTOR), 0);
        assert_int_equal(data[0], 49);
        assert_int_equal(data[CD_SECTOR - 1], 49);
        assert_int_equal(cd_read_raw(b, 9, raw, 1), 0);
        assert_int_equal(raw[forms[i].mode == 1 ? 16 : 24], 49);
        if (forms[i].size != CD_RAW_SECTOR) {
            assert_int_equal(raw[1], 0xff);
            assert_int_equal(raw[15], forms[i].mode);
        }
        block_close(b);
    }
    CdToc toc;
    uint8_t raw[CD_RAW_SECTOR] = {1, 2};
    write_file("1.bin", raw, sizeof(raw));
    Block *b = open_sheet("FILE 1.bin MOTOROLA\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", &toc);
    check_sector(b, 0, 2, 0);
    block_close(b);
}

static void what_is_refused_names_its_remedy(void **state)
{
    (void)state;
    write_bin("1.bin", 30, 0);
    check_refused("FILE 1.bin MP3\n", "ffmpeg");
    check_refused("FILE 1.bin AIFF\n", "ffmpeg");
    check_refused("FILE 1.bin WAVE\n", "ffmpeg"); /* compressed, whatever the sheet says */
    check_refused("FILE 1.bin\n", "BINARY");
    check_refused("FILE C:\\none.bin BINARY\n", "not in its folder");
    check_refused("TITLE \"no file at all\"\n", "no track");
    check_refused("TRACK 01 AUDIO\n", "FILE");
    check_refused("FILE 1.bin BINARY\nTRACK 02 AUDIO\nINDEX 01 00:00:00\n", "number them 01");
    check_refused("FILE 1.bin BINARY\nTRACK 1x AUDIO\nINDEX 01 00:00:00\n", "line 2");
    check_refused("FILE 1.bin BINARY\nTRACK 100 AUDIO\n", "99 tracks");
    check_refused("FILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nINDEX xx 00:00:00\n",
                  "line 4");
    check_refused("FILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nFILE 1.bin BINARY\n"
                  "INDEX 01 00:00:01\n",
                  "already");
    check_refused("FILE 1.bin BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:09\nTRACK 02 AUDIO\n"
                  "INDEX 01 00:00:08\n",
                  "track 1 begins behind the next");
    static const char wide[] = "F\0I\0L\0E\0";
    Err err = {""};
    write_file("disc.cue", wide, sizeof(wide));
    assert_null(block_open(path_of("disc.cue"), &(BlockOptions){.read_only = true}, &err));
    assert_non_null(strstr(err.text, "UTF-8"));
    /* a WAVE whose samples are no PCM */
    uint8_t head[44] =
        "RIFF    WAVEfmt \x10\0\0\0\1\1\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data\x30\x09\0";
    write_sectors("1.wav", CD_RAW_SECTOR, 1, 0, head, sizeof(head));
    check_refused("FILE 1.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n", "16-bit stereo");
}

static void a_disc_has_99_tracks(void **state)
{
    (void)state;
    char sheet[8192] = "FILE 1.bin BINARY\n";
    CdToc toc;
    write_bin("1.bin", 100, 0);
    for (unsigned i = 1; i <= 100; i++) {
        size_t at = strlen(sheet);
        snprintf(sheet + at, sizeof(sheet) - at, "TRACK %02u AUDIO\nINDEX 01 00:%02u:%02u\n", i,
                 (i - 1) / 75, (i - 1) % 75);
        if (i == 99) {
            block_close(open_sheet(sheet, &toc));
            assert_int_equal(toc.tracks, 99);
            assert_int_equal(toc.track[98].start, 98);
        }
    }
    check_refused(sheet, "99 tracks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_may_end_the_file_before),
        cmocka_unit_test(a_gap_may_end_a_data_file),
        cmocka_unit_test(a_gap_in_another_file_is_bounded),
        cmocka_unit_test(an_index_lies_in_the_last_file),
        cmocka_unit_test(sound_before_the_first_song_has_its_address),
        cmocka_unit_test(flags_are_in_the_control_field),
        cmocka_unit_test(names_of_other_machines_are_found),
        cmocka_unit_test(names_never_lead_out_of_the_folder),
        cmocka_unit_test(odd_lines_are_understood),
        cmocka_unit_test(sectors_of_all_forms_are_read),
        cmocka_unit_test(what_is_refused_names_its_remedy),
        cmocka_unit_test(a_disc_has_99_tracks),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_full_folder);
}
