/* `vitrine image info, check, repair, compare, map`. JSON has qemu-img's names. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "machine/image_internal.h"
#include "storage/image_path.h"

enum { CHECK_FAILED = 1, CHECK_CORRUPT = 2, CHECK_LEAKS = 3, CHECK_NOT_POSSIBLE = 63 };
enum { COMPARE_DIFFERENT = 1, COMPARE_FAILED = 2 };
enum { MAX_CHAIN = 64 };

static void put_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(4));
    putchar('\n');
    json_decref(json);
}

/* A name of the host in JSON, which takes UTF-8 only. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    return json ? json : json_string("(no UTF-8)");
}

static void size_text(uint64_t bytes, char *text, size_t room)
{
    static const char units[] = " KMGTPE";
    unsigned unit = 0;
    double size = (double)bytes;
    for (; size >= 1024 && unit < sizeof(units) - 2; unit++) {
        size /= 1024;
    }
    if (unit) {
        snprintf(text, room, "%.3g %ciB", size, units[unit]);
    } else {
        snprintf(text, room, "%llu B", (unsigned long long)bytes);
    }
}

/* ---- info ---- */

static uint64_t room_taken(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_blocks * 512 : 0;
}

static json_t *snapshots_json(Block *b)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < qcow2_snapshot_count(b); i++) {
        Qcow2Snapshot s;
        qcow2_snapshot_info(b, i, &s);
        json_t *row = json_object();
        json_object_set_new(row, "id", text_json(s.id));
        json_object_set_new(row, "name", text_json(s.name));
        json_object_set_new(row, "vm-state-size", json_integer((json_int_t)s.vm_state_size));
        json_object_set_new(row, "date-sec", json_integer(s.date_s));
        json_object_set_new(row, "date-nsec", json_integer(s.date_ns));
        json_object_set_new(row, "vm-clock-sec",
                            json_integer((json_int_t)(s.vm_clock_ns / 1000000000)));
        json_object_set_new(row, "vm-clock-nsec",
                            json_integer((json_int_t)(s.vm_clock_ns % 1000000000)));
        json_array_append_new(list, row);
    }
    return list;
}

void image_list_snapshots(Block *b, bool json)
{
    if (json) {
        put_json(snapshots_json(b));
        return;
    }
    unsigned count = qcow2_snapshot_count(b);
    if (count) {
        printf("Snapshot list:\n%-6s %-24s %10s %19s %15s\n", "ID", "TAG", "VM SIZE", "DATE",
               "VM CLOCK");
    }
    for (unsigned i = 0; i < count; i++) {
        Qcow2Snapshot s;
        char size[32], date[32] = "";
        qcow2_snapshot_info(b, i, &s);
        size_text(s.vm_state_size, size, sizeof(size));
        time_t made = s.date_s;
        struct tm tm;
        if (localtime_r(&made, &tm)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        }
        uint64_t seconds = s.vm_clock_ns / 1000000000;
        printf("%-6s %-24s %10s %19s %6llu:%02u:%02u.%03u\n", s.id, s.name, size, date,
               (unsigned long long)(seconds / 3600), (unsigned)(seconds / 60 % 60),
               (unsigned)(seconds % 60), (unsigned)(s.vm_clock_ns / 1000000 % 1000));
    }
}

static json_t *qcow2_json(const Qcow2Info *q)
{
    json_t *data = json_object();
    json_object_set_new(data, "compat", json_string(q->options.version == 2 ? "0.10" : "1.1"));
    json_object_set_new(data, "compression-type", json_string(q->options.zstd ? "zstd" : "zlib"));
    json_object_set_new(data, "refcount-bits", json_integer(q->options.refcount_bits));
    if (q->options.version >= 3) {
        json_object_set_new(data, "lazy-refcounts", json_boolean(q->options.lazy_refcounts));
        json_object_set_new(data, "corrupt", json_boolean(q->corrupt));
    }
    return json_pack("{s:s, s:o}", "type", "qcow2", "data", data);
}

/* Formats other than qcow2. */
static void about_json(const Block *b, json_t *o)
{
    BlockAbout about;
    block_about(b, &about);
    if (about.cluster) {
        json_object_set_new(o, "cluster-size", json_integer(about.cluster));
    }
    if (about.backing) {
        json_object_set_new(o, "backing-filename", text_json(about.backing));
    }
    if (about.kind) {
        json_object_set_new(o, "format-specific",
                            json_pack("{s:s, s:{s:o}}", "type", block_format_name(b), "data",
                                      "create-type", text_json(about.kind)));
    }
}

static void about_text(const Block *b)
{
    BlockAbout about;
    block_about(b, &about);
    if (about.cluster) {
        printf("cluster_size: %u\n", about.cluster);
    }
    if (about.backing) {
        printf("backing file: %s\n", about.backing);
    }
    if (about.kind) {
        printf("Format specific information:\n    create type: %s\n", about.kind);
    }
}

static json_t *info_json(Block *b, const Qcow2Info *q)
{
    json_t *o = json_object();
    json_object_set_new(o, "filename", text_json(block_path(b)));
    json_object_set_new(o, "format", json_string(block_format_name(b)));
    json_object_set_new(o, "virtual-size", json_integer((json_int_t)block_size(b)));
    json_object_set_new(o, "actual-size", json_integer((json_int_t)room_taken(block_path(b))));
    json_object_set_new(o, "dirty-flag", json_boolean(q && q->dirty));
    if (q) {
        json_object_set_new(o, "cluster-size", json_integer(1 << q->options.cluster_bits));
        if (q->backing[0]) {
            json_object_set_new(o, "backing-filename", text_json(q->backing));
        }
        if (q->backing_format[0]) {
            json_object_set_new(o, "backing-filename-format", text_json(q->backing_format));
        }
        json_object_set_new(o, "format-specific", qcow2_json(q));
        if (qcow2_snapshot_count(b)) {
            json_object_set_new(o, "snapshots", snapshots_json(b));
        }
    } else {
        about_json(b, o);
    }
    return o;
}

static void info_text(Block *b, const Qcow2Info *q)
{
    char size[32], room[32];
    size_text(block_size(b), size, sizeof(size));
    size_text(room_taken(block_path(b)), room, sizeof(room));
    printf("image: %s\nfile format: %s\nvirtual size: %s (%llu bytes)\ndisk size: %s\n",
           block_path(b), block_format_name(b), size, (unsigned long long)block_size(b), room);
    if (!q) {
        about_text(b);
        return;
    }
    printf("cluster_size: %u\n", 1u << q->options.cluster_bits);
    if (q->backing[0]) {
        printf("backing file: %s\n", q->backing);
    }
    if (q->backing_format[0]) {
        printf("backing file format: %s\n", q->backing_format);
    }
    image_list_snapshots(b, false);
    printf("Format specific information:\n    compat: %s\n    compression type: %s\n"
           "    lazy refcounts: %s\n    refcount bits: %u\n    corrupt: %s\n    dirty: %s\n",
           q->options.version == 2 ? "0.10" : "1.1", q->options.zstd ? "zstd" : "zlib",
           q->options.lazy_refcounts ? "true" : "false", q->options.refcount_bits,
           q->corrupt ? "true" : "false", q->dirty ? "true" : "false");
}

/* One image; its description is added to the list, or printed. next: what it lies above, ""
 * nothing. */
static bool info_of(ImageArgs *a, const char *path, const char *format, json_t *list, char *next,
                    size_t room, char next_format[32])
{
    Qcow2Info q;
    BlockAbout about = {0};
    BlockOptions how = {
        .read_only = true, .no_backing = true, .for_repair = true, .format = format};
    Block *b = image_open(a, path, 'f', how);
    if (!b) {
        return false;
    }
    bool is_qcow2 = qcow2_is(b), good = true;
    int error = is_qcow2 ? qcow2_describe(b, &q) : 0;
    if (error) {
        good = err_set(&a->err, "'%s' cannot be read: %s", path, strerror(error));
    } else if (a->json) {
        json_array_append_new(list, info_json(b, is_qcow2 ? &q : NULL));
    } else {
        info_text(b, is_qcow2 ? &q : NULL);
    }
    block_about(b, &about);
    const char *backing = is_qcow2 ? q.backing : about.backing ? about.backing : "";
    next[0] = '\0';
    snprintf(next_format, 32, "%s", is_qcow2 ? q.backing_format : "");
    if (good && backing[0] && a->option[IMAGE_OPTION_CHAIN]) {
        good = image_path_beside(path, backing, a->option[IMAGE_OPTION_BACKING] != NULL, next, room,
                                 &a->err);
    }
    block_close(b);
    return good;
}

int image_info(ImageArgs *a)
{
    char path[PATH_MAX], next[PATH_MAX], format[32] = "";
    json_t *list = json_array();
    snprintf(path, sizeof(path), "%s", a->name[0]);
    bool good = true;
    for (unsigned depth = 0; good && path[0]; depth++) {
        if (depth == MAX_CHAIN) {
            good = err_set(&a->err, "'%s': more than %d images, or they go round in a circle",
                           a->name[0], MAX_CHAIN);
            break;
        }
        if (depth && !a->json) {
            putchar('\n');
        }
        char known[32];
        snprintf(known, sizeof(known), "%s", format);
        a->option['f'] = depth ? NULL : a->option['f'];
        good = info_of(a, path, known[0] ? known : NULL, list, next, sizeof(next), format);
        snprintf(path, sizeof(path), "%s", next);
    }
    if (good && a->json) {
        bool chain = a->option[IMAGE_OPTION_CHAIN] != NULL;
        put_json(json_incref(chain ? list : json_array_get(list, 0)));
    }
    json_decref(list);
    return good ? 0 : 1;
}

/* ---- check and repair ---- */

static void check_json(const ImageArgs *a, Block *b, const Qcow2Check *c, uint64_t fixed)
{
    uint64_t cluster = 0;
    Qcow2Info q;
    if (qcow2_describe(b, &q) == 0) {
        cluster = UINT64_C(1) << q.options.cluster_bits;
    }
    json_t *o = json_object();
    json_object_set_new(o, "filename", text_json(a->name[0]));
    json_object_set_new(o, "format", json_string("qcow2"));
    json_object_set_new(o, "check-errors", json_integer(0));
    json_object_set_new(o, "corruptions", json_integer((json_int_t)c->corruptions));
    json_object_set_new(o, "leaks", json_integer((json_int_t)c->leaks));
    json_object_set_new(o, "fixed", json_integer((json_int_t)fixed));
    json_object_set_new(o, "allocated-clusters", json_integer((json_int_t)c->allocated));
    if (cluster) {
        json_object_set_new(o, "total-clusters",
                            json_integer((json_int_t)((block_size(b) + cluster - 1) / cluster)));
    }
    put_json(o);
}

static void check_text(const Qcow2Check *c, uint64_t fixed, bool repaired)
{
    if (fixed) {
        printf("%llu errors were repaired.\n", (unsigned long long)fixed);
    }
    if (!c->corruptions && !c->leaks) {
        puts("No errors were found on the image.");
    }
    if (c->corruptions) {
        printf("%llu errors were found on the image. Data may be damaged; %s.\n",
               (unsigned long long)c->corruptions,
               repaired ? "copy what is left: 'vitrine image convert --salvage'"
                        : "'vitrine image repair' mends what can be mended");
    }
    if (c->leaks) {
        printf("%llu leaked clusters were found: room that is lost, without harm to data.\n",
               (unsigned long long)c->leaks);
    }
    printf("%llu clusters hold data.\n", (unsigned long long)c->allocated);
}

/* VDI, VHD, VMDK. */
static int check_tables(ImageArgs *a, Block *b, bool repair)
{
    BlockCheck found;
    int error = block_check(b, &found);
    if (error == ENOTSUP) {
        err_set(&a->err, "'%s' is a %s image, which has nothing that could be checked", a->name[0],
                block_format_name(b));
        return CHECK_NOT_POSSIBLE;
    }
    if (error) {
        err_set(&a->err, "'%s' cannot be checked: %s", a->name[0], strerror(error));
        return CHECK_FAILED;
    }
    if (a->json) {
        put_json(json_pack("{s:o, s:s, s:i, s:I, s:I, s:I}", "filename", text_json(a->name[0]),
                           "format", block_format_name(b), "check-errors", 0, "corruptions",
                           (json_int_t)found.corruptions, "allocated-clusters",
                           (json_int_t)found.allocated, "total-clusters", (json_int_t)found.total));
    } else if (!a->option['q']) {
        if (found.corruptions) {
            printf("%llu errors were found on the image; copy what is left: 'vitrine image "
                   "convert'.\n",
                   (unsigned long long)found.corruptions);
        } else {
            puts("No errors were found on the image.");
        }
        printf("%llu clusters of %llu hold data.\n", (unsigned long long)found.allocated,
               (unsigned long long)found.total);
    }
    if (found.corruptions && repair) {
        err_set(&a->err,
                "'%s': %s images cannot be repaired; copy what is left: vitrine image "
                "convert -O qcow2",
                a->name[0], block_format_name(b));
    }
    return found.corruptions ? CHECK_CORRUPT : 0;
}

typedef enum Repair { REPAIR_NOTHING, REPAIR_LEAKS, REPAIR_ALL } Repair;

/* Leaks alone are mended only where nothing else is wrong: room that seems lost may then hold what
 * a damaged table no longer shows. */
static int check_and_repair(ImageArgs *a, Block *b, Repair repair, Qcow2Check *result,
                            uint64_t *fixed)
{
    int error = qcow2_check(b, repair == REPAIR_ALL, result);
    if (!error && repair == REPAIR_LEAKS && result->corruptions) {
        err_set(&a->err, "'%s': -r leaks mends nothing where there are errors, too; use -r all",
                a->name[0]);
        return 0;
    }
    if (!error && repair == REPAIR_LEAKS) {
        error = qcow2_check(b, true, result);
    }
    if (!error && repair) { /* what is left of it */
        *fixed = result->fixed;
        error = qcow2_check(b, false, result);
    }
    return error;
}

static int check(ImageArgs *a, Repair repair)
{
    BlockOptions how = {.read_only = !repair, .no_backing = true, .for_repair = true};
    Block *b = image_open(a, a->name[0], 'f', how);
    if (!b) {
        return CHECK_FAILED;
    }
    if (!qcow2_is(b)) {
        int status = check_tables(a, b, repair != REPAIR_NOTHING);
        block_close(b);
        return status;
    }
    Qcow2Check result = {0};
    uint64_t fixed = 0;
    int error = check_and_repair(a, b, repair, &result, &fixed);
    if (error == EUCLEAN) {
        err_set(
            &a->err,
            "'%s' is damaged beyond repair: its tables lie over each other, or name one another "
            "without end; copy what is left: vitrine image convert --salvage",
            a->name[0]);
    } else if (error) {
        err_set(&a->err, "'%s' cannot be checked: %s", a->name[0], strerror(error));
    } else if (a->json) {
        check_json(a, b, &result, fixed);
    } else if (!a->option['q']) {
        check_text(&result, fixed, repair == REPAIR_ALL);
    }
    block_close(b);
    return error == EUCLEAN     ? CHECK_CORRUPT
           : error              ? CHECK_FAILED
           : result.corruptions ? CHECK_CORRUPT
           : result.leaks       ? CHECK_LEAKS
                                : 0;
}

int image_check(ImageArgs *a)
{
    const char *repair = a->option['r'];
    bool all = repair && strcmp(repair, "all") == 0;
    if (repair && !all && strcmp(repair, "leaks") != 0) {
        err_set(&a->err, "-r %s: use -r leaks, or -r all, which repairs errors, too", repair);
        return CHECK_FAILED;
    }
    return check(a, all ? REPAIR_ALL : repair ? REPAIR_LEAKS : REPAIR_NOTHING);
}

int image_repair(ImageArgs *a)
{
    return check(a, REPAIR_ALL);
}

/* ---- compare ---- */

static uint64_t first_difference(const ImageWalk *w)
{
    for (uint64_t i = 0; i < w->length; i++) {
        if (w->data[i] != w->other[i]) {
            return w->at + i;
        }
    }
    return UINT64_MAX;
}

static int compare(ImageArgs *a, Block *one, Block *two)
{
    uint64_t x = block_size(one), y = block_size(two);
    bool loud = !a->option['q'];
    if (x != y && a->option['s']) {
        if (loud) {
            puts("Strict mode: Image size mismatch!");
        }
        return COMPARE_DIFFERENT;
    }
    ImageWalk w;
    if (!image_walk_begin(&w, one, two, x > y ? x : y, &a->err)) {
        return COMPARE_FAILED;
    }
    int error = 0;
    uint64_t differs = UINT64_MAX, room = UINT64_MAX; /* where, of -s: one takes room and one not */
    while (differs == UINT64_MAX && room == UINT64_MAX && !(error = image_walk_next(&w)) &&
           w.length) {
        differs = w.same ? UINT64_MAX : first_difference(&w);
        room = a->option['s'] && w.a_data != w.b_data ? w.at : UINT64_MAX;
    }
    image_walk_end(&w);
    if (error) {
        err_set(&a->err, "'%s' and '%s' cannot be compared: %s at byte %llu", a->name[0],
                a->name[1], strerror(error), (unsigned long long)w.at);
        return COMPARE_FAILED;
    }
    if (loud && x != y) {
        puts("Warning: Image size mismatch!");
    }
    if (loud && differs == UINT64_MAX && room != UINT64_MAX) {
        printf("Strict mode: Offset %llu block status mismatch!\n", (unsigned long long)room);
    } else if (loud && differs != UINT64_MAX) {
        printf("Content mismatch at offset %llu!\n", (unsigned long long)differs);
    } else if (loud) {
        puts("Images are identical.");
    }
    return differs == UINT64_MAX && room == UINT64_MAX ? 0 : COMPARE_DIFFERENT;
}

int image_compare(ImageArgs *a)
{
    BlockOptions how = {.read_only = true};
    Block *one = image_open(a, a->name[0], 'f', how);
    Block *two = one ? image_open(a, a->name[1], 'F', how) : NULL;
    int status = two ? compare(a, one, two) : COMPARE_FAILED;
    block_close(one);
    block_close(two);
    return status;
}

/* ---- map ---- */

/* What a small, hostile image makes of itself has an end. */
#define MAP_MOST_ROWS (UINT64_C(1) << 22)

static void map_row(const ImageArgs *a, bool first, uint64_t start, const BlockExtent *e)
{
    if (a->json) { /* by the row: an image can have millions */
        json_t *row =
            json_pack("{s:I, s:I, s:i, s:b, s:b, s:b, s:b}", "start", (json_int_t)start, "length",
                      (json_int_t)e->length, "depth", (int)e->depth, "present", !e->absent, "zero",
                      !e->data, "data", e->data, "compressed", e->packed);
        if (e->file) {
            json_object_set_new(row, "offset", json_integer((json_int_t)e->place));
            json_object_set_new(row, "filename", text_json(e->file));
        }
        fputs(first ? "[" : ",\n", stdout);
        json_dumpf(row, stdout, 0);
        json_decref(row);
    } else if (e->data) {
        printf("%#-18llx %#-18llx ", (unsigned long long)start, (unsigned long long)e->length);
        if (e->file) {
            printf("%#-18llx %s\n", (unsigned long long)e->place, e->file);
        } else {
            puts(e->packed ? "(compressed)" : "-");
        }
    }
}

/* Does `b` go on where `a` ends? */
static bool map_goes_on(const BlockExtent *a, const BlockExtent *b)
{
    return a->data == b->data && a->absent == b->absent && a->packed == b->packed &&
           a->depth == b->depth && a->file == b->file &&
           (!a->file || a->place + a->length == b->place);
}

/* --start-offset and --max-length; what lies outside the disk is left out. */
static bool map_range(ImageArgs *a, uint64_t disk, uint64_t *start, uint64_t *end)
{
    const char *from = a->option[IMAGE_OPTION_START], *most = a->option[IMAGE_OPTION_LENGTH];
    uint64_t length = disk;
    *start = 0;
    if ((from && !value_parse_size(from, 1, start)) ||
        (most && !value_parse_size(most, 1, &length)) || *start % BLOCK_SECTOR ||
        length % BLOCK_SECTOR) {
        return err_set(&a->err, "--start-offset and --max-length are sizes of whole sectors");
    }
    *start = *start < disk ? *start : disk;
    *end = length < disk - *start ? *start + length : disk;
    return true;
}

int image_map(ImageArgs *a)
{
    uint64_t start = 0, size = 0;
    Block *b = image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true});
    if (!b || !map_range(a, block_size(b), &start, &size)) {
        block_close(b);
        return 1;
    }
    uint64_t at = start, rows = 0;
    BlockExtent row = {0};
    if (!a->json) {
        printf("%-18s %-18s %-18s %s\n", "Offset", "Length", "Mapped to", "File");
    }
    while (at < size) {
        BlockExtent extent = {0};
        if (rows == MAP_MOST_ROWS) {
            err_set(
                &a->err,
                "'%s' is in more pieces than are listed at once; go on with --start-offset %llu",
                a->name[0], (unsigned long long)start);
            break;
        }
        int error = block_map(b, at, &extent);
        if (error || extent.length == 0) {
            err_set(&a->err, "'%s' cannot be read at byte %llu: %s", a->name[0],
                    (unsigned long long)at, strerror(error ? error : EIO));
            break;
        }
        extent.length = extent.length < size - at ? extent.length : size - at;
        at += extent.length;
        if (row.length && map_goes_on(&row, &extent)) {
            row.length += extent.length;
            continue;
        }
        if (row.length) {
            map_row(a, rows++ == 0, start, &row);
            start += row.length;
        }
        row = extent;
    }
    if (row.length && rows < MAP_MOST_ROWS) {
        map_row(a, rows++ == 0, start, &row);
    }
    if (a->json) {
        puts(rows ? "]" : "[]");
    }
    block_close(b);
    return a->err.text[0] ? 1 : 0;
}
