/* Fuzzing of the state walk: streams of a whole PC with wrong values in their fields.
 *
 * fuzz_state [seconds [seed]]. Each input is a stream that a running machine has saved, in which
 * some fields hold edge values, others' values or noise; its checksum is right. The machine must
 * refuse it, or load it and run on: no crash, no hang (a minute), and the sanitizers silent. The
 * last input is kept in $FUZZ_LAST; `fuzz_state FILE...` loads such files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/fuzz/fuzz_loop.h"
#include "tests/state/pc_rig.h"

enum { STREAMS = 6, MAX_FIELDS = 16384, MAX_CHANGES = 6, HEADER = 8, HANG_S = 60 };

typedef struct Stream {
    uint8_t *bytes;
    size_t size;
    struct {
        uint32_t at, size;
    } field[MAX_FIELDS];
    unsigned fields;
} Stream;

static uint64_t next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static uint32_t le32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Finds the values: docs/STATE.md tells the format. */
static void find_fields(Stream *s)
{
    size_t at = HEADER, end = s->size - 4;
    while (at < end) {
        at += 1 + s->bytes[at] + 4; /* tag and version */
        size_t section_end = at + 4 + le32(s->bytes + at);
        at += 4;
        while (at < section_end) {
            at += 1 + s->bytes[at];
            uint32_t size = le32(s->bytes + at);
            at += 4;
            if (s->fields < MAX_FIELDS && size) {
                s->field[s->fields].at = (uint32_t)at;
                s->field[s->fields++].size = size;
            }
            at += size;
        }
    }
}

static void mend(uint8_t *bytes, size_t size)
{
    uint32_t crc = (uint32_t)crc32_z(0, bytes, size - 4);
    for (unsigned i = 0; i < 4; i++) {
        bytes[size - 4 + i] = (uint8_t)(crc >> (8 * i));
    }
}

static void change(const Stream *s, uint8_t *bytes, uint64_t *state)
{
    static const uint64_t edges[] = {
        0,       1,          0x7f,       0x80,       0xff,      0x7fff,    0x8000,     0xffff,
        0x10000, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, INT64_MIN, UINT64_MAX, 1000000000};
    unsigned changes = 1 + next(state) % MAX_CHANGES;
    for (unsigned i = 0; i < changes; i++) {
        unsigned f = next(state) % s->fields;
        uint32_t size = s->field[f].size, at = s->field[f].at, skip = 0;
        if (size > 8) {
            skip = next(state) % (size - 7);
            size = 1u << next(state) % 4;
        }
        uint64_t value = edges[next(state) % (sizeof(edges) / sizeof(edges[0]))];
        switch (next(state) % 4) {
        case 0:
            value = next(state);
            break;
        case 1: /* another field's */
            memcpy(&value, s->bytes + s->field[next(state) % (s->fields - 8)].at, 4);
            break;
        case 2: /* a little off */
            memcpy(&value, bytes + at + skip, size);
            value += next(state) % 5 - 2;
            break;
        default:
            break;
        }
        memcpy(bytes + at + skip, &value, size);
    }
}

/* Loads, and runs a little when it was taken. */
static bool try(PcRig *rig, const uint8_t *bytes, size_t size)
{
    Err err = {""};
    StateIo *io = state_loader_new(bytes, size, &err);
    if (!io) {
        return false;
    }
    board_state(rig->b, io);
    bool ok = state_ok(io) && !state_next_tag(io);
    state_free(io);
    if (ok) {
        board_restored(rig->b);
        rig->accel.ops->map_changed(&rig->accel);
        rig->accel.ops->push(&rig->accel);
        pc_rig_run(rig, 300000);
        size_t again;
        free(pc_rig_save(rig, &again));
    }
    return ok;
}

static void open_rig(PcRig *rig, MachineConfig *c, const char *disk)
{
    static const char *const cards[] = {"gus", "es1370", "ac97", "mpu401"};
    machine_config_init(c);
    c->ram_mib = 16;
    c->snapshot = true;
    free(c->rtc_base);
    c->rtc_base = strdup("1998-06-25T12:00:00");
    for (unsigned i = 0; i < 2; i++) {
        c->device[i] = strdup(cards[i]);
    }
    c->drive[0] = (DriveConfig){.present = true, .bus = DRIVE_FLOPPY};
    c->drive[1] = (DriveConfig){.present = true, .bus = DRIVE_IDE, .file = strdup(disk)};
    c->drive[2] =
        (DriveConfig){.present = true, .bus = DRIVE_IDE, .index = 2, .media = MEDIA_CDROM};
    pc_rig_open(rig, c, "interpreter");
}

static int run_files(PcRig *rig, int count, char **paths)
{
    static uint8_t bytes[8 << 20];
    for (int i = 0; i < count; i++) {
        size_t size;
        if (!fuzz_load(paths[i], bytes, sizeof(bytes), &size)) {
            return 1;
        }
        alarm(HANG_S);
        printf("%s: %s\n", paths[i], try(rig, bytes, size) ? "taken" : "refused");
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *end = NULL, disk[] = "/tmp/vitrine-fuzz-XXXXXX";
    long seconds = argc > 1 ? strtol(argv[1], &end, 10) : 60;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    static Stream streams[STREAMS];
    MachineConfig config;
    PcRig rig;
    int fd = mkstemp(disk);
    if (fd < 0 || ftruncate(fd, 8 << 20) < 0) {
        perror(disk);
        return 1;
    }
    open_rig(&rig, &config, disk);
    unlink(disk);
    if (end && *end) {
        return run_files(&rig, argc - 1, argv + 1);
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        pc_rig_run(&rig, 150000000);
        streams[i].bytes = pc_rig_save(&rig, &streams[i].size);
        find_fields(&streams[i]);
    }
    printf("seed 0x%llx, %u fields\n", (unsigned long long)seed, streams[0].fields);
    fflush(stdout);
    unsigned long count = 0, taken = 0;
    for (time_t stop = time(NULL) + seconds; time(NULL) < stop; count++) {
        const Stream *s = &streams[next(&state) % STREAMS];
        uint8_t *bytes = malloc(s->size);
        memcpy(bytes, s->bytes, s->size);
        change(s, bytes, &state);
        mend(bytes, s->size);
        fuzz_keep(bytes, s->size);
        alarm(HANG_S);
        taken += try(&rig, bytes, s->size);
        free(bytes);
        board_reset(rig.b, RESET_POWER); /* the next one begins from a machine that is sound */
    }
    printf("%lu inputs, %lu taken\n", count, taken);
    return 0;
}
