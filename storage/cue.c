/* CD images as CUE sheets with their BIN, raw or WAVE files: data tracks of all modes, audio, mixed
 * discs.
 *
 * The sheet (CDRWIN's, as documented in its user guide, appendix A) is a text of commands; those
 * that do not say where sectors lie (titles, catalogue numbers) are passed over. Addresses are
 * those of the disc: LBA 0 is INDEX 01 of a first track of data, INDEX 00 of one of audio (sound
 * hidden before the first song). Read only. Not modelled: discs whose first track is not 1, further
 * sessions.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "storage/block_format.h"
#include "storage/cd.h"
#include "storage/image_path.h"

enum {
    MAX_SHEET = 1 << 18, /* bytes */
    MAX_FILES = 99,
    MAX_STRETCHES = 4 * CD_MAX_TRACKS, /* gap, end of the file before, own file, gap */
    MAX_FRAMES = 100 * 60 * 75,        /* no disc is longer than 99:59:74 */
    NO_FILE = -1,
    UNSET = -1,
};

/* How a sector lies in its file. */
typedef struct SectorForm {
    const char *name;
    uint8_t control;     /* of the track: 0 audio, 4 data */
    uint8_t mode;        /* 0 audio, 1, 2 */
    uint16_t size, data; /* bytes in the file; where its 2048 bytes of data begin */
} SectorForm;

static const SectorForm forms[] = {
    {"AUDIO", 0, 0, 2352, 0},      {"MODE1/2048", 4, 1, 2048, 0}, {"MODE1/2352", 4, 1, 2352, 16},
    {"MODE2/2048", 4, 2, 2048, 0}, {"MODE2/2336", 4, 2, 2336, 8}, {"MODE2/2352", 4, 2, 2352, 24},
    {"CDI/2336", 4, 2, 2336, 8},   {"CDI/2352", 4, 2, 2352, 24},
};

/* Neighbouring sectors of one form in one file, or silence. */
typedef struct Stretch {
    uint32_t lba, count;
    int file; /* NO_FILE: not stored; zeros */
    uint64_t offset;
    const SectorForm *form;
} Stretch;

typedef struct CueFile {
    DiskFile file;
    uint64_t start, size; /* where sectors begin (behind a WAVE head), and how many bytes of them */
    bool big_endian;
} CueFile;

typedef struct Cue {
    CueFile file[MAX_FILES];
    unsigned files;
    Stretch stretch[MAX_STRETCHES];
    unsigned stretches;
    CdToc toc;
} Cue;

/* Where an INDEX points. */
typedef struct Place {
    int file;   /* NO_FILE: there is no such INDEX */
    long frame; /* from the beginning of the file */
} Place;

/* A track while the sheet is read. */
typedef struct CueTrack {
    const SectorForm *form;
    uint8_t control; /* of its FLAGS */
    Place index0, index1;
    uint32_t pregap, postgap; /* frames that are not stored */
} CueTrack;

typedef struct Sheet {
    CueTrack track[CD_MAX_TRACKS];
    unsigned tracks;
    unsigned line;
} Sheet;

static bool ends_in_cue(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".cue") == 0;
}

static int cue_probe(const BlockProbe *p)
{
    return p->size <= MAX_SHEET && ends_in_cue(p->path) ? 100 : 0;
}

static bool bad(const Block *b, const Sheet *s, Err *err, const char *what)
{
    return err_set(err, "'%s', line %u: %s", b->path, s->line, what);
}

/* The next word, or text in quotes, of a line; NULL at its end. Cuts the line. */
static char *word(char **line)
{
    char *p = *line + strspn(*line, " \t\r"), *start = p;
    if (*p == '\0') {
        return NULL;
    }
    if (*p == '"') {
        start = ++p;
        p += strcspn(p, "\"");
    } else {
        p += strcspn(p, " \t\r");
    }
    *line = *p ? p + 1 : p;
    *p = '\0';
    return start;
}

/* A number of a track or an index; UNSET when it is none. */
static long number_of(const char *text)
{
    size_t digits = text ? strspn(text, "0123456789") : 0;
    return digits && digits <= 3 && text[digits] == '\0' ? strtol(text, NULL, 10) : UNSET;
}

/* "mm:ss:ff" as frames; UNSET when it is none. */
static long frames_of(const char *text)
{
    unsigned m, s, f;
    char rest;
    if (!text || sscanf(text, "%3u:%2u:%2u%c", &m, &s, &f, &rest) != 3 || s > 59 || f > 74 ||
        m > 99) {
        return UNSET;
    }
    return (long)(m * 60 + s) * 75 + (long)f;
}

#define SAMPLES "-ar 44100 -ac 2 -sample_fmt s16 track.wav"

/* Finds the samples of a WAVE file: 16 bits, stereo, 44100 Hz. */
static bool find_samples(CueFile *f, const char *path, Err *err)
{
    uint8_t head[12], chunk[24];
    uint64_t at = 12;
    bool format = false;
    if (f->size < 12 || disk_file_read(&f->file, 0, head, 12) != 0 ||
        memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return err_set(err, "'%s' is no WAVE file; convert it: ffmpeg -i ... " SAMPLES, path);
    }
    for (unsigned i = 0; i < 64 && at + 8 <= f->size; i++) {
        if (disk_file_read(&f->file, at, chunk, 8) != 0) {
            break;
        }
        uint32_t size = bytes_le32(chunk + 4);
        if (memcmp(chunk, "fmt ", 4) == 0 && size >= 16 &&
            disk_file_read(&f->file, at + 8, chunk, 16) == 0) {
            format = bytes_le32(chunk) == (1 | 2 << 16) && /* PCM, two channels */
                     bytes_le32(chunk + 4) == 44100 && chunk[14] == 16 && chunk[15] == 0;
        } else if (memcmp(chunk, "data", 4) == 0) {
            uint64_t room = f->size - at - 8;
            f->start = at + 8;
            f->size = size < room ? size : room;
            return format || err_set(err,
                                     "'%s' is not 16-bit stereo at 44100 Hz; convert it: ffmpeg -i "
                                     "... " SAMPLES,
                                     path);
        }
        at += 8 + (uint64_t)size + (size & 1);
    }
    return err_set(err, "'%s' holds no samples", path);
}

/* The name of FILE, which may hold blanks without being quoted: all but the last word. Leaves the
 * rest in line. */
static char *file_name(char **line)
{
    char *name = *line + strspn(*line, " \t"), *end = name + strlen(name);
    if (*name == '"') {
        return word(line);
    }
    while (end > name && strchr(" \t\r", end[-1])) {
        *--end = '\0';
    }
    while (end > name && end[-1] != ' ' && end[-1] != '\t') {
        end--;
    }
    *line = end;
    while (end > name && strchr(" \t", end[-1])) {
        *--end = '\0';
    }
    return end > name ? name : NULL;
}

/* A file in the folder of the sheet whose name is the last part of `name`, in any case: sheets have
 * the paths and the letters of the machine that they were made on. */
static bool find_bare(const char *sheet, const char *name, char *found, size_t room)
{
    const char *slash = strrchr(sheet, '/');
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - sheet) + 1 : 1,
             slash ? sheet : ".");
    for (const char *p = name; *p; p++) {
        name = *p == '/' || *p == '\\' ? p + 1 : name;
    }
    DIR *dir = opendir(folder);
    bool any = false, exact = false;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e && !exact; e = readdir(dir)) {
        exact = strcmp(e->d_name, name) == 0;
        /* of several, the same one on every host */
        if (exact ||
            (strcasecmp(e->d_name, name) == 0 && (!any || strcmp(e->d_name, found + 2) < 0))) {
            snprintf(found, room, "./%s", e->d_name);
            any = true;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return any;
}

static bool find_file(const char *sheet, const char *name, bool anywhere, char *path, size_t room,
                      Err *err)
{
    char bare[NAME_MAX + 3];
    if (image_path_beside(sheet, name, anywhere, path, room, NULL) && access(path, F_OK) == 0) {
        return true;
    }
    if (find_bare(sheet, name, bare, sizeof(bare))) {
        name = bare;
    } else if (strpbrk(name, ":\\")) { /* no path of this host */
        return err_set(err, "'%s': the file that it names, '%s', is not in its folder", sheet,
                       name);
    }
    return image_path_beside(sheet, name, anywhere, path, room, err);
}

static bool open_file(Block *b, Sheet *s, char *rest, const BlockOptions *options, Err *err)
{
    Cue *c = b->data;
    char path[PATH_MAX];
    const char *name = file_name(&rest), *type = word(&rest);
    if (!name || !type) {
        return bad(b, s, err, "FILE needs a name and a type (BINARY, MOTOROLA or WAVE)");
    }
    if (c->files == MAX_FILES) {
        return bad(b, s, err, "a sheet has at most 99 FILEs");
    }
    bool wave = strcasecmp(type, "WAVE") == 0, motorola = strcasecmp(type, "MOTOROLA") == 0;
    if (!wave && !motorola && strcasecmp(type, "BINARY") != 0) {
        return bad(b, s, err,
                   "files of this type are not supported; convert them to WAVE: ffmpeg -i "
                   "... " SAMPLES);
    }
    if (!find_file(b->path, name, options->any_backing, path, sizeof(path), err)) {
        return false;
    }
    CueFile *f = &c->file[c->files];
    *f = (CueFile){.big_endian = motorola};
    if (!disk_file_open(&f->file, path,
                        &(DiskFileOptions){.lock = !options->no_lock, .faults = options->faults},
                        err)) {
        return false;
    }
    c->files++;
    int error = disk_file_size(&f->file, &f->size);
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", path, strerror(error));
    }
    return !wave || find_samples(f, path, err);
}

static bool add_track(Block *b, Sheet *s, char *rest, Err *err)
{
    const Cue *c = b->data;
    long number = number_of(word(&rest));
    const char *form = word(&rest);
    if (number == UNSET || !form || c->files == 0) {
        return bad(b, s, err, "TRACK needs a number and a mode, and a FILE before it");
    }
    if (number > (long)CD_MAX_TRACKS) {
        return bad(b, s, err, "a disc has at most 99 tracks");
    }
    if (number != s->tracks + 1l) {
        return bad(b, s, err, "a TRACK out of order; number them 01, 02 and so on");
    }
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcasecmp(forms[i].name, form) == 0) {
            s->track[s->tracks++] = (CueTrack){.form = &forms[i],
                                               .control = forms[i].control,
                                               .index0 = {NO_FILE, 0},
                                               .index1 = {NO_FILE, 0}};
            return true;
        }
    }
    return bad(b, s, err, "tracks of this mode are not supported");
}

/* Four channels and pre-emphasis are of sound alone; SCMS has no bit of its own. */
static void add_flags(CueTrack *t, char *rest)
{
    for (const char *flag = word(&rest); flag; flag = word(&rest)) {
        bool audio = t->form->mode == 0;
        t->control |= strcasecmp(flag, "DCP") == 0            ? 2
                      : audio && strcasecmp(flag, "PRE") == 0 ? 1
                      : audio && strcasecmp(flag, "4CH") == 0 ? 8
                                                              : 0;
    }
}

static bool add_index(Block *b, Sheet *s, long number, long frame, Err *err)
{
    const Cue *c = b->data;
    CueTrack *t = &s->track[s->tracks - 1];
    Place place = {(int)c->files - 1, frame}, *of_two = number == 0 ? &t->index0 : &t->index1;
    if (number <= 1) {
        bool again = of_two->file != NO_FILE;
        *of_two = place;
        return !again || bad(b, s, err, "an INDEX that the track has already");
    }
    return t->index1.file == place.file ||
           bad(b, s, err, "INDEX 02 and above belong behind INDEX 01, in its FILE");
}

static bool one_line(Block *b, Sheet *s, char *line, const BlockOptions *options, Err *err)
{
    const char *command = word(&line);
    CueTrack *t = s->tracks ? &s->track[s->tracks - 1] : NULL;
    if (!command) {
        return true;
    }
    if (strcasecmp(command, "FILE") == 0) {
        return open_file(b, s, line, options, err);
    }
    if (strcasecmp(command, "TRACK") == 0) {
        return add_track(b, s, line, err);
    }
    if (strcasecmp(command, "FLAGS") == 0 && t) {
        add_flags(t, line);
        return true;
    }
    bool index = strcasecmp(command, "INDEX") == 0, pregap = strcasecmp(command, "PREGAP") == 0;
    if (!index && !pregap && strcasecmp(command, "POSTGAP") != 0) {
        return true;
    }
    long number = index ? number_of(word(&line)) : 0, frames = frames_of(word(&line));
    if (!t || frames == UNSET || number == UNSET) {
        return bad(b, s, err, "a time (mm:ss:ff) is missing, or stands before its TRACK");
    }
    if (index) {
        return add_index(b, s, number, frames, err);
    }
    *(pregap ? &t->pregap : &t->postgap) = (uint32_t)frames;
    return true;
}

/* How far the disc is laid out, and the files behind it are used up. */
typedef struct Cursor {
    uint32_t lba;
    Place at;
    uint64_t offset; /* of `at`, bytes */
} Cursor;

static bool add_stretch(Cue *c, Cursor *cursor, uint32_t count, int file, uint64_t offset,
                        const SectorForm *form)
{
    if (count > MAX_FRAMES - cursor->lba || c->stretches == MAX_STRETCHES) {
        return false;
    }
    if (count) {
        c->stretch[c->stretches++] = (Stretch){cursor->lba, count, file, offset, form};
    }
    cursor->lba += count;
    return true;
}

/* Lays out what lies in a file from `from` up to the frame `to`, or to its end when that is UNSET.
 * NULL, or what is wrong. */
static const char *add_stored(Cue *c, Cursor *cursor, const SectorForm *form, Place from, long to)
{
    const CueFile *f = &c->file[from.file];
    if (cursor->at.file != from.file) {
        cursor->at = (Place){from.file, 0};
        cursor->offset = 0;
    }
    if (from.frame < cursor->at.frame) {
        return "begins before the end of the one before it";
    }
    if (to != UNSET && to < from.frame) {
        return "begins behind the next one";
    }
    uint64_t offset = cursor->offset + (uint64_t)(from.frame - cursor->at.frame) * form->size;
    uint64_t stored = offset < f->size ? (f->size - offset) / form->size : 0;
    uint64_t count = to == UNSET ? stored : (uint64_t)(to - from.frame);
    if (offset > f->size || count > stored) {
        return "goes past the end of its file; it is cut off";
    }
    if (count > MAX_FRAMES ||
        !add_stretch(c, cursor, (uint32_t)count, from.file, f->start + offset, form)) {
        return "makes the disc too long";
    }
    cursor->at.frame = from.frame + (long)count;
    cursor->offset = offset + count * form->size;
    return NULL;
}

static Place start_of(const CueTrack *t, bool first)
{
    bool gap = t->index0.file != NO_FILE && !(first && t->form->mode);
    return gap ? t->index0 : t->index1;
}

/* NULL, or what is wrong with the track. */
static const char *lay_out_track(Cue *c, const Sheet *s, unsigned i, Cursor *cursor)
{
    const CueTrack *t = &s->track[i], *next = i + 1 < s->tracks ? t + 1 : NULL;
    Place from = start_of(t, i == 0), end = next ? start_of(next, false) : (Place){NO_FILE, 0};
    const char *wrong = NULL;
    if (t->index1.file == NO_FILE || from.file > t->index1.file ||
        (from.file == t->index1.file && from.frame > t->index1.frame)) {
        return "has no INDEX 01, or one before INDEX 00";
    }
    if (i && !add_stretch(c, cursor, t->pregap, NO_FILE, 0, t->form)) {
        return "makes the disc too long"; /* the first one's gap lies before LBA 0 */
    }
    if (from.file != t->index1.file) { /* the gap ends the file before */
        wrong = add_stored(c, cursor, t->form, from, UNSET);
        from = (Place){t->index1.file, 0};
    }
    uint32_t start = cursor->lba + (uint32_t)(t->index1.frame - from.frame);
    if (!wrong) {
        wrong = add_stored(c, cursor, t->form, from, end.file == from.file ? end.frame : UNSET);
    }
    if (!wrong && start >= cursor->lba) {
        wrong = "is empty";
    }
    if (!wrong && !add_stretch(c, cursor, t->postgap, NO_FILE, 0, t->form)) {
        wrong = "makes the disc too long";
    }
    c->toc.track[i] = (CdTrack){.control = t->control, .mode = t->form->mode, .start = start};
    return wrong;
}

/* From times in files to addresses on the disc. */
static bool lay_out(Block *b, Sheet *s, Err *err)
{
    Cue *c = b->data;
    Cursor cursor = {.at = {NO_FILE, 0}};
    for (unsigned i = 0; i < s->tracks; i++) {
        const char *wrong = lay_out_track(c, s, i, &cursor);
        if (wrong) {
            return err_set(err, "'%s': track %u %s", b->path, i + 1, wrong);
        }
    }
    c->toc.tracks = s->tracks;
    c->toc.lead_out = cursor.lba;
    b->size = (uint64_t)cursor.lba * CD_SECTOR;
    return s->tracks > 0 || err_set(err, "'%s' names no track", b->path);
}

static void cue_close(Block *b)
{
    Cue *c = b->data;
    for (unsigned i = 0; c && i < c->files; i++) {
        disk_file_close(&c->file[i].file);
    }
    free(c);
    b->data = NULL;
}

static bool read_sheet(Block *b, const BlockOptions *options, Err *err)
{
    uint64_t size = 0;
    int error = disk_file_size(&b->file, &size);
    if (error || size > MAX_SHEET) {
        return err_set(err, "'%s' is no CUE sheet: %s", b->path,
                       error ? strerror(error) : "it is too long");
    }
    char *text = malloc((size_t)size + 1);
    Sheet *s = calloc(1, sizeof(*s));
    error = text && s ? disk_file_read(&b->file, 0, text, (size_t)size) : ENOMEM;
    bool good = !error || err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    if (good && memchr(text, 0, (size_t)size)) {
        good = err_set(err, "'%s' is no plain text; save it as UTF-8", b->path);
    }
    if (good) {
        text[size] = '\0';
        char *rest = text + (strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
        while (good && rest) {
            char *line = strsep(&rest, "\n");
            s->line++;
            good = one_line(b, s, line, options, err);
        }
        good = good && lay_out(b, s, err);
    }
    free(text);
    free(s);
    return good;
}

static bool cue_open(Block *b, const BlockOptions *options, Err *err)
{
    b->data = calloc(1, sizeof(Cue));
    if (!b->data) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    b->read_only = true;
    if (!read_sheet(b, options, err)) {
        cue_close(b);
        return false;
    }
    return true;
}

static const Stretch *find_stretch(const Cue *c, uint32_t lba)
{
    for (unsigned i = 0; i < c->stretches; i++) {
        if (lba - c->stretch[i].lba < c->stretch[i].count && lba >= c->stretch[i].lba) {
            return &c->stretch[i];
        }
    }
    return NULL;
}

/* The 2048 bytes of data of one sector. EINVAL: it has none, being audio. */
static int read_cooked(const Cue *c, uint32_t lba, uint8_t *data)
{
    const Stretch *s = find_stretch(c, lba);
    if (!s || s->form->mode == 0) {
        return EINVAL;
    }
    if (s->file == NO_FILE) {
        memset(data, 0, CD_SECTOR);
        return 0;
    }
    return disk_file_read(&c->file[s->file].file,
                          s->offset + (uint64_t)(lba - s->lba) * s->form->size + s->form->data,
                          data, CD_SECTOR);
}

static int cue_read(Block *b, uint64_t offset, void *data, size_t length)
{
    uint8_t sector[CD_SECTOR], *at = data;
    while (length) {
        size_t in = offset % CD_SECTOR, part = CD_SECTOR - in < length ? CD_SECTOR - in : length;
        int error = read_cooked(b->data, (uint32_t)(offset / CD_SECTOR), sector);
        if (error) {
            return error;
        }
        memcpy(at, sector + in, part);
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int read_whole(const Cue *c, uint32_t lba, uint8_t *raw)
{
    const Stretch *s = find_stretch(c, lba);
    if (!s) {
        return EINVAL;
    }
    const SectorForm *form = s->form;
    memset(raw, 0, CD_RAW_SECTOR);
    /* a sector that is stored whole, or the part of it from byte 16 on */
    uint8_t *to = form->size == CD_RAW_SECTOR ? raw
                  : form->mode == 1           ? raw + 16
                                              : raw + 24 - form->data;
    int error = 0;
    if (s->file != NO_FILE) {
        const CueFile *f = &c->file[s->file];
        error = disk_file_read(&f->file, s->offset + (uint64_t)(lba - s->lba) * form->size, to,
                               form->size);
        for (unsigned i = 0; i < CD_RAW_SECTOR && f->big_endian && form->mode == 0; i += 2) {
            uint8_t low = raw[i + 1];
            raw[i + 1] = raw[i];
            raw[i] = low;
        }
    }
    if (!error && form->mode && (form->size != CD_RAW_SECTOR || s->file == NO_FILE)) {
        if (form->mode == 1) {
            cd_make_raw(raw, lba);
        } else {
            cd_make_head(raw, lba, 2);
        }
    }
    return error;
}

static int cue_read_raw(Block *b, uint32_t lba, uint8_t *data, uint32_t count)
{
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        error = read_whole(b->data, lba + i, data + (size_t)i * CD_RAW_SECTOR);
    }
    return error;
}

static void cue_toc(const Block *b, CdToc *toc)
{
    const Cue *c = b->data;
    *toc = c->toc;
}

static int cue_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    (void)b;
    (void)offset;
    (void)data;
    (void)length;
    return EROFS;
}

static int cue_flush(Block *b)
{
    (void)b;
    return 0;
}

static int cue_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    extent->length = b->size - offset;
    extent->data = true;
    return 0;
}

const BlockFormat block_cue = {
    .name = "cue",
    .probe = cue_probe,
    .open = cue_open,
    .close = cue_close,
    .read = cue_read,
    .write = cue_write,
    .flush = cue_flush,
    .map = cue_map,
    .toc = cue_toc,
    .read_raw = cue_read_raw,
    .parallel = true,
};
