/* CD images as CUE sheets with their BIN, raw or WAVE files: data tracks of all modes, audio, mixed
 * discs.
 *
 * The sheet (CDRWIN's, as documented in its user guide, appendix A) is a text of commands; those
 * that do not say where sectors lie (titles, catalogue numbers) are passed over. Addresses are
 * those of the disc: the first track's INDEX 01 is LBA 0. Read only.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "storage/block_format.h"
#include "storage/cd.h"
#include "storage/image_path.h"

enum {
    MAX_SHEET = 1 << 18, /* bytes */
    MAX_FILES = 99,
    MAX_STRETCHES = 3 * CD_MAX_TRACKS,
    MAX_FRAMES = 100 * 60 * 75, /* no disc is longer than 99:59:74 */
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

/* A track while the sheet is read. */
typedef struct CueTrack {
    const SectorForm *form;
    int file;
    long index0, index1;      /* frames in the file; UNSET */
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
    if (p->size > MAX_SHEET || !ends_in_cue(p->path)) {
        return 0;
    }
    for (size_t i = 0; i + 5 < p->head_size; i++) {
        if (strncasecmp((const char *)p->head + i, "FILE ", 5) == 0) {
            return 100;
        }
    }
    return 0;
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

/* Finds the samples of a WAVE file: 16 bits, stereo, 44100 Hz. */
static bool find_samples(CueFile *f, const char *path, Err *err)
{
    uint8_t head[12], chunk[24];
    uint64_t at = 12;
    bool format = false;
    if (f->size < 12 || disk_file_read(&f->file, 0, head, 12) != 0 ||
        memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return err_set(err, "'%s' is no WAVE file", path);
    }
    for (unsigned i = 0; i < 64 && at + 8 <= f->size; i++) {
        if (disk_file_read(&f->file, at, chunk, 8) != 0) {
            break;
        }
        uint32_t size = bytes_le32(chunk + 4);
        if (memcmp(chunk, "fmt ", 4) == 0 && size >= 16 &&
            disk_file_read(&f->file, at + 8, chunk, 16) == 0) {
            format =
                chunk[0] == 1 && chunk[2] == 2 && bytes_le32(chunk + 4) == 44100 && chunk[14] == 16;
        } else if (memcmp(chunk, "data", 4) == 0) {
            uint64_t room = f->size - at - 8;
            f->start = at + 8;
            f->size = size < room ? size : room;
            return format || err_set(err,
                                     "'%s' is not 16-bit stereo at 44100 Hz; convert it: ffmpeg -i "
                                     "... -ar 44100 -ac 2 -sample_fmt s16",
                                     path);
        }
        at += 8 + (uint64_t)size + (size & 1);
    }
    return err_set(err, "'%s' holds no samples", path);
}

static bool open_file(Block *b, Sheet *s, char *rest, const BlockOptions *options, Err *err)
{
    Cue *c = b->data;
    char path[PATH_MAX];
    const char *name = word(&rest), *type = word(&rest);
    if (!name || !type || c->files == MAX_FILES) {
        return bad(b, s, err, "FILE needs a name and a type (BINARY, MOTOROLA or WAVE)");
    }
    bool wave = strcasecmp(type, "WAVE") == 0, motorola = strcasecmp(type, "MOTOROLA") == 0;
    if (!wave && !motorola && strcasecmp(type, "BINARY") != 0) {
        return bad(b, s, err, "files of this type are not supported; convert them to WAVE");
    }
    if (!image_path_beside(b->path, name, options->any_backing, path, sizeof(path), err)) {
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
    const char *number = word(&rest), *form = word(&rest);
    if (!number || !form || c->files == 0 || s->tracks == CD_MAX_TRACKS ||
        strtoul(number, NULL, 10) != s->tracks + 1u) {
        return bad(b, s, err, "a TRACK out of order, or before its FILE");
    }
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcasecmp(forms[i].name, form) == 0) {
            s->track[s->tracks++] = (CueTrack){
                .form = &forms[i], .file = (int)c->files - 1, .index0 = UNSET, .index1 = UNSET};
            return true;
        }
    }
    return bad(b, s, err, "tracks of this mode are not supported");
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
    bool index = strcasecmp(command, "INDEX") == 0, pregap = strcasecmp(command, "PREGAP") == 0;
    if (!index && !pregap && strcasecmp(command, "POSTGAP") != 0) {
        return true;
    }
    const char *number = index ? word(&line) : NULL;
    long frames = frames_of(word(&line));
    if (!t || frames == UNSET || (index && !number)) {
        return bad(b, s, err, "a time (mm:ss:ff) is missing, or stands before its TRACK");
    }
    if (index && strtoul(number, NULL, 10) <= 1) {
        *(strtoul(number, NULL, 10) == 0 ? &t->index0 : &t->index1) = frames;
    } else if (pregap) {
        t->pregap = (uint32_t)frames;
    } else if (!index) {
        t->postgap = (uint32_t)frames;
    }
    return true;
}

static bool add_stretch(Cue *c, uint32_t *lba, uint32_t count, int file, uint64_t offset,
                        const SectorForm *form)
{
    if (count > MAX_FRAMES - *lba || c->stretches == MAX_STRETCHES) {
        return false;
    }
    if (count) {
        c->stretch[c->stretches++] = (Stretch){*lba, count, file, offset, form};
    }
    *lba += count;
    return true;
}

/* From times in files to addresses on the disc. */
static bool lay_out(Block *b, Sheet *s, Err *err)
{
    Cue *c = b->data;
    uint32_t lba = 0;
    uint64_t offset = 0;
    long at = 0; /* frame of the present file at `offset` */
    for (unsigned i = 0; i < s->tracks; i++) {
        CueTrack *t = &s->track[i];
        const CueTrack *next = i + 1 < s->tracks ? &s->track[i + 1] : NULL;
        const CueFile *f = &c->file[t->file];
        if (t->index1 == UNSET || (t->index0 != UNSET && t->index0 > t->index1)) {
            return err_set(err, "'%s': track %u has no INDEX 01, or one before INDEX 00", b->path,
                           i + 1);
        }
        long first = i == 0 || t->index0 == UNSET ? t->index1 : t->index0;
        if (i == 0 || s->track[i - 1].file != t->file) {
            offset = 0;
            at = 0;
        }
        if (first < at) {
            return err_set(err, "'%s': track %u begins before the one before it", b->path, i + 1);
        }
        offset += (uint64_t)(first - at) * t->form->size;
        uint64_t stored = offset < f->size ? (f->size - offset) / t->form->size : 0;
        long next_first = next && next->file == t->file
                              ? (next->index0 != UNSET ? next->index0 : next->index1)
                              : -1;
        if (next_first >= 0 && (next_first < first || (uint64_t)(next_first - first) > stored)) {
            return err_set(err, "'%s': track %u goes past the end of its file; it is cut off",
                           b->path, i + 1);
        }
        uint64_t count = next_first >= 0 ? (uint64_t)(next_first - first) : stored;
        uint32_t gap = i ? t->pregap : 0; /* the first one's lies before LBA 0 */
        bool room = count <= MAX_FRAMES && add_stretch(c, &lba, gap, NO_FILE, 0, t->form);
        c->toc.track[i] = (CdTrack){.control = t->form->control,
                                    .mode = t->form->mode,
                                    .start = lba + (uint32_t)(t->index1 - first)};
        room = room && add_stretch(c, &lba, (uint32_t)count, t->file, f->start + offset, t->form) &&
               add_stretch(c, &lba, t->postgap, NO_FILE, 0, t->form);
        if (!room || count == 0 || c->toc.track[i].start >= lba) {
            return err_set(err, "'%s': track %u is empty, or the disc is too long", b->path, i + 1);
        }
        offset += count * t->form->size;
        at = first + (long)count;
    }
    c->toc.tracks = s->tracks;
    c->toc.lead_out = lba;
    b->size = (uint64_t)lba * CD_SECTOR;
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
    *extent = (BlockExtent){b->size - offset, true};
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
