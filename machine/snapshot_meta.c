/* Snapshots: what one says of its machine, how it is named and found, and the list of them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/snapshot_internal.h"

#define SUFFIX ".vsnap"

enum { THUMB_WIDTH = 160, THUMB_HEIGHT = 120, MAX_THREADS = 8 };

unsigned snapshot_threads(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (unsigned)count;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool describe_disk(const SnapshotHost *host, SnapshotMeta *m, unsigned bay, Err *err)
{
    BlockInfo info;
    SnapshotDisk *d = &m->disk[bay];
    d->image = pc_medium(host->pc, bay, &info);
    snprintf(d->id, sizeof(d->id), "%s", info.id);
    if (!d->image) {
        return true;
    }
    snprintf(d->file, sizeof(d->file), "%.255s", base_name(info.file));
    d->size = info.size;
    d->kind = info.read_only ? DISK_FIXED : snapshot_image_is(d->image) ? DISK_IMAGE : DISK_PAGES;
    if (d->kind == DISK_IMAGE && m->home < 0) {
        m->home = (int)bay;
    }
    if (!m->stem[0]) {
        snprintf(m->stem, sizeof(m->stem), "%s", d->file);
        snprintf(m->folder, sizeof(m->folder), "%.*s", (int)(base_name(info.file) - info.file),
                 info.file);
    }
    if (d->kind == DISK_PAGES) {
        if (d->size > DISK_LIMIT) {
            return err_set(err,
                           "'%s' is too large to be copied into a snapshot; convert it: qemu-img "
                           "convert -O qcow2",
                           info.file);
        }
        d->first = m->pages;
        m->pages += (d->size + SNAPSHOT_PAGE - 1) / SNAPSHOT_PAGE;
    }
    return true;
}

bool snapshot_describe(const SnapshotHost *host, SnapshotMeta *m, Err *err)
{
    *m = (SnapshotMeta){.ram_mib = host->config->ram_mib, .home = -1};
    snprintf(m->cpu, sizeof(m->cpu), "%s", host->config->cpu);
    for (const RamBlock *b = host->board->ram.blocks; b; b = b->next) {
        if (m->blocks == MAX_BLOCKS) {
            return err_set(err, "this machine has too many ROMs for a snapshot");
        }
        snprintf(m->block[m->blocks].name, sizeof(m->block[0].name), "%s", b->name);
        m->block[m->blocks].size = b->size;
        m->block[m->blocks].at = b->at;
        m->block[m->blocks++].first = m->pages;
        m->pages += b->size / SNAPSHOT_PAGE;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (!describe_disk(host, m, i, err)) {
            return false;
        }
    }
    if (!m->stem[0]) {
        snprintf(m->stem, sizeof(m->stem), "vitrine");
    }
    return m->pages <= SNAPSHOT_MAX_PAGES ||
           err_set(err, "memory and disks together are too large for a snapshot");
}

typedef struct Ask {
    const SnapshotHost *host;
    SnapshotMeta *meta;
    Err *err;
    bool done;
} Ask;

static void do_ask(void *argument)
{
    Ask *ask = argument;
    ask->done = snapshot_describe(ask->host, ask->meta, ask->err);
}

bool snapshot_ask(const SnapshotHost *host, SnapshotMeta *meta, Err *err)
{
    Ask ask = {host, meta, err, false};
    host->call(host->self, do_ask, &ask);
    return ask.done;
}

static void text_state(StateIo *io, const char *field, char *text, size_t room)
{
    size_t size = strnlen(text, room - 1);
    state_blob(io, field, text, &size, room - 1);
    text[size < room ? size : room - 1] = '\0';
}

void snapshot_meta_state(SnapshotMeta *m, StateIo *io)
{
    if (!state_begin(io, "snapshot", 2)) {
        return;
    }
    text_state(io, "name", m->name, sizeof(m->name));
    text_state(io, "note", m->note, sizeof(m->note));
    text_state(io, "parent", m->parent, sizeof(m->parent));
    state_u64(io, "time", &m->time_s);
    state_u64(io, "guest_time", &m->guest_ns);
    state_u32(io, "ram_mib", &m->ram_mib);
    text_state(io, "cpu", m->cpu, sizeof(m->cpu));
    state_enum(io, "blocks", &m->blocks, MAX_BLOCKS + 1);
    for (unsigned i = 0; i < m->blocks && state_ok(io); i++) {
        text_state(io, "block", m->block[i].name, sizeof(m->block[i].name));
        state_u32(io, "block_size", &m->block[i].size);
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && state_ok(io); i++) {
        SnapshotDisk *d = &m->disk[i];
        state_enum(io, "disk", &d->kind, DISK_IMAGE + 1);
        text_state(io, "disk_id", d->id, sizeof(d->id));
        text_state(io, "disk_file", d->file, sizeof(d->file));
        state_u64(io, "disk_size", &d->size);
    }
    if (state_since(io, 2)) {
        state_bytes(io, "id", m->id, sizeof(m->id));
        text_state(io, "base", m->base, sizeof(m->base));
        state_bytes(io, "base_id", m->base_id, sizeof(m->base_id));
    }
    state_end(io);
}

bool snapshot_name_check(const char *name, bool *is_path, Err *err)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    *is_path =
        strchr(name, '/') || (length > suffix && strcmp(name + length - suffix, SUFFIX) == 0);
    if (*is_path) {
        return length < PATH_MAX - 32 || err_set(err, "the snapshot's path is too long");
    }
    bool good = length > 0 && length < sizeof(((SnapshotMeta *)0)->name) && name[0] != '.';
    for (size_t i = 0; i < length; i++) {
        good &= (uint8_t)name[i] >= ' ' && name[i] != 0x7f;
    }
    return good || err_set(err, "a snapshot's name has 1 to 63 bytes, does not begin with a dot, "
                                "and holds no control characters");
}

void snapshot_file_path(const SnapshotMeta *now, const char *name, char *path, size_t room)
{
    bool is_path;
    Err ignored = {""};
    if (snapshot_name_check(name, &is_path, &ignored) && is_path) {
        snprintf(path, room, "%s", name);
    } else {
        snprintf(path, room, "%s%s.%s%s", now->folder, now->stem, name, SUFFIX);
    }
}

static bool read_meta(SnapshotSource *s, const char *what, Err *err)
{
    size_t size;
    s->reader =
        snapshot_reader_open(snapshot_place_io(s->place), snapshot_place_size(s->place), what, err);
    uint8_t *bytes = s->reader
                         ? snapshot_reader_section(s->reader, SNAPSHOT_META, META_LIMIT, &size, err)
                         : NULL;
    StateIo *io = bytes ? state_loader_new(bytes, size, err) : NULL;
    bool ok = io != NULL;
    if (ok) {
        snapshot_meta_state(&s->meta, io);
        ok = state_ok(io) || err_set(err, "snapshot '%s': %s", what, state_error(io));
        state_free(io);
    }
    free(bytes);
    return ok;
}

bool snapshot_source_open(SnapshotSource *s, const SnapshotMeta *now, const char *name, Err *err)
{
    bool is_path;
    char path[PATH_MAX];
    *s = (SnapshotSource){0};
    if (!snapshot_name_check(name, &is_path, err)) {
        return false;
    }
    snapshot_file_path(now, name, path, sizeof(path));
    Block *home = now->home >= 0 ? now->disk[now->home].image : NULL;
    int index = home && !is_path ? snapshot_image_find(home, name) : -1;
    if (index >= 0) {
        s->place = snapshot_place_image_open(home, (unsigned)index, err);
        if (s->place && snapshot_place_size(s->place) == 0) {
            err_set(err,
                    "'%s': snapshot '%s' holds the disk alone, no machine; that disk comes back "
                    "with: vitrine image snapshot -a",
                    block_path(home), name);
            snapshot_source_close(s);
            return false;
        }
    } else if (!is_path && access(path, F_OK) < 0) {
        return err_set(err, "there is no snapshot '%s'%s, nor a file '%s'", name,
                       home ? " in the disk" : "", path);
    } else {
        return snapshot_source_open_file(s, path, name, err);
    }
    if (!s->place || !read_meta(s, name, err)) {
        snapshot_source_close(s);
        return false;
    }
    return true;
}

bool snapshot_source_open_file(SnapshotSource *s, const char *path, const char *what, Err *err)
{
    *s = (SnapshotSource){.path = strdup(path)};
    s->place = snapshot_place_open(path, err);
    if (!s->place || !s->path || !read_meta(s, what, err)) {
        snapshot_source_close(s);
        return false;
    }
    return true;
}

void snapshot_source_close(SnapshotSource *s)
{
    snapshot_reader_close(s->reader);
    snapshot_place_close(s->place);
    if (s->base) { /* a chain has an end: snapshot_source_bases */
        snapshot_source_close(s->base);
    }
    free(s->base);
    free(s->path);
    *s = (SnapshotSource){0};
}

bool snapshot_delete(const SnapshotHost *host, const char *name, Err *err)
{
    SnapshotMeta now;
    SnapshotSource source;
    bool is_path, deleted = false;
    if (!snapshot_name_check(name, &is_path, err) || !snapshot_ask(host, &now, err)) {
        return false;
    }
    block_queue_hold(pc_disks(host->pc));
    block_queue_wait_running(pc_disks(host->pc));
    int error = 0;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && !is_path; i++) {
        if (now.disk[i].kind == DISK_IMAGE && snapshot_image_find(now.disk[i].image, name) >= 0) {
            int failed = snapshot_image_delete(now.disk[i].image, name);
            error = error ? error : failed;
            deleted = true;
        }
    }
    block_queue_release(pc_disks(host->pc));
    if (error) {
        return err_set(err, "snapshot '%s' cannot be deleted: %s", name, strerror(error));
    }
    char path[PATH_MAX];
    snapshot_file_path(&now, name, path, sizeof(path));
    if (deleted && access(path, F_OK) < 0) {
        return true;
    }
    if (!snapshot_source_open(&source, &now, name, err)) {
        return false; /* what is not a snapshot is not ours to delete */
    }
    snapshot_source_close(&source);
    if (!snapshot_free_of(host, path, err)) {
        return false;
    }
    return unlink(path) == 0 || err_set(err, "'%s' cannot be deleted: %s", path, strerror(errno));
}

static void list_images(const SnapshotMeta *now, SnapshotInfo *list, unsigned room, unsigned *count)
{
    Block *home = now->home >= 0 ? now->disk[now->home].image : NULL;
    Qcow2Snapshot image;
    for (unsigned i = 0; home && snapshot_image_info(home, i, &image) && *count < room; i++) {
        SnapshotInfo *out = &list[(*count)++];
        *out = (SnapshotInfo){.time_s = image.date_s,
                              .guest_ns = (int64_t)image.vm_clock_ns,
                              .size = image.vm_state_size};
        snprintf(out->name, sizeof(out->name), "%.63s", image.name);
        snprintf(out->id, sizeof(out->id), "%s", image.id);
        snprintf(out->place, sizeof(out->place), "%s", block_path(home));
        SnapshotSource source;
        Err ignored = {""};
        if (image.vm_state_size && snapshot_source_open(&source, now, out->name, &ignored)) {
            snprintf(out->note, sizeof(out->note), "%s", source.meta.note);
            snprintf(out->parent, sizeof(out->parent), "%s", source.meta.parent);
            out->machine = true;
            snapshot_source_close(&source);
        }
    }
}

static void list_file(const SnapshotMeta *now, const char *path, SnapshotInfo *list, unsigned room,
                      unsigned *count)
{
    SnapshotSource source;
    Err ignored = {""};
    if (*count == room || !snapshot_source_open(&source, now, path, &ignored)) {
        return;
    }
    SnapshotInfo *out = &list[(*count)++];
    *out = (SnapshotInfo){.time_s = (int64_t)source.meta.time_s,
                          .guest_ns = (int64_t)source.meta.guest_ns,
                          .size = snapshot_place_size(source.place),
                          .machine = true};
    snprintf(out->name, sizeof(out->name), "%s", source.meta.name);
    snprintf(out->note, sizeof(out->note), "%s", source.meta.note);
    snprintf(out->parent, sizeof(out->parent), "%s", source.meta.parent);
    snprintf(out->place, sizeof(out->place), "%.1023s", path);
    snapshot_source_close(&source);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const SnapshotInfo *)a)->time_s, y = ((const SnapshotInfo *)b)->time_s;
    return x < y ? -1 : x > y;
}

unsigned snapshot_list(const SnapshotHost *host, SnapshotInfo *list, unsigned room)
{
    SnapshotMeta now;
    Err ignored = {""};
    unsigned count = 0;
    if (!snapshot_ask(host, &now, &ignored)) {
        return 0;
    }
    list_images(&now, list, room, &count);
    DIR *folder = opendir(now.folder[0] ? now.folder : ".");
    size_t stem = strlen(now.stem), suffix = strlen(SUFFIX);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > stem + 1 + suffix && strncmp(entry->d_name, now.stem, stem) == 0 &&
            entry->d_name[stem] == '.' && strcmp(entry->d_name + length - suffix, SUFFIX) == 0) {
            char path[PATH_MAX];
            snprintf(path, sizeof(path), "%s%s", now.folder[0] ? now.folder : "./", entry->d_name);
            list_file(&now, path, list, room, &count);
        }
    }
    if (folder) {
        closedir(folder);
    }
    qsort(list, count, sizeof(*list), by_time);
    return count;
}

uint8_t *snapshot_thumbnail(const SnapshotHost *host, const char *name, size_t *size, Err *err)
{
    SnapshotMeta now;
    SnapshotSource source;
    if (!snapshot_ask(host, &now, err) || !snapshot_source_open(&source, &now, name, err)) {
        return NULL;
    }
    uint8_t *png = snapshot_reader_section(source.reader, SNAPSHOT_THUMB, THUMB_LIMIT, size, err);
    snapshot_source_close(&source);
    return png;
}

/* The mean of the pixels that fall on each dot. */
static void shrink(const Picture *from, unsigned width, unsigned height, uint8_t *rgb)
{
    for (unsigned y = 0; y < height; y++) {
        unsigned y0 = y * from->height / height, y1 = (y + 1) * from->height / height;
        for (unsigned x = 0; x < width; x++) {
            unsigned x0 = x * from->width / width, x1 = (x + 1) * from->width / width;
            uint32_t sum[3] = {0}, count = (x1 - x0) * (y1 - y0);
            for (unsigned j = y0; j < y1; j++) {
                for (unsigned i = x0; i < x1; i++) {
                    uint32_t pixel = from->pixels[(size_t)j * from->width + i];
                    sum[0] += pixel >> 16 & 0xff;
                    sum[1] += pixel >> 8 & 0xff;
                    sum[2] += pixel & 0xff;
                }
            }
            for (unsigned c = 0; c < 3; c++) {
                rgb[(y * width + x) * 3 + c] = (uint8_t)(sum[c] / count);
            }
        }
    }
}

uint8_t *snapshot_picture(Screen *screen, size_t *size)
{
    Picture picture = {0};
    uint8_t *png = NULL;
    if (screen_read(screen, &picture) && picture.width && picture.height) {
        png_image image = {.version = PNG_IMAGE_VERSION,
                           .width = picture.width < THUMB_WIDTH ? picture.width : THUMB_WIDTH,
                           .height = picture.height < THUMB_HEIGHT ? picture.height : THUMB_HEIGHT,
                           .format = PNG_FORMAT_RGB};
        uint8_t rgb[THUMB_WIDTH * THUMB_HEIGHT * 3];
        png_alloc_size_t room = THUMB_LIMIT;
        shrink(&picture, image.width, image.height, rgb);
        png = malloc(room);
        if (png && !png_image_write_to_memory(&image, png, &room, 0, rgb, 0, NULL)) {
            free(png);
            png = NULL;
        }
        *size = room;
    }
    picture_free(&picture);
    return png;
}
