/* ATAPI CD-ROM: the PLAY AUDIO family and the sub-channel, by guest time.
 *
 * SFF-8020i and MMC-3. The drive knows where its head is from the time since play began; 75 sectors
 * pass in a second. The sound is fetched in short pieces ahead of its time and pushed a sector
 * before it is heard, so that a pause is one and a volume acts at once. Not modelled: SCAN's
 * chirping.
 */
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "storage/cd.h"
#include "storage/ide_internal.h"

enum {
    PIECE = 15,         /* sectors fetched at a time: a fifth of a second */
    RING = 225,         /* sectors kept: three seconds, for a host whose disk or threads are slow */
    SECTOR_PAIRS = 588, /* stereo samples in a sector */
    HZ = 44100,
    KEY_ILLEGAL = 5,
    AUDIO_PLAYING = 0x11,
    AUDIO_PAUSED = 0x12,
    AUDIO_DONE = 0x13,
    AUDIO_NONE = 0x15,
    FRAMES = 75,
};

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

#define SECTOR_NS (CLOCK_NS_PER_S / FRAMES)

/* Moves the head to where it is now. */
void atapi_audio_settle(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    if (cd->audio != AUDIO_PLAYING) {
        return;
    }
    int64_t passed = ide_now(u) - cd->audio_since;
    int64_t frames = passed > 0 ? passed / SECTOR_NS : 0;
    if (cd->audio_at > cd->audio_end || frames >= (int64_t)cd->audio_end - cd->audio_at) {
        cd->audio_at = cd->audio_end;
        cd->audio = AUDIO_DONE;
    } else {
        cd->audio_at += (uint32_t)frames;
        cd->audio_since += frames * SECTOR_NS;
    }
}

void atapi_audio_stop(IdeUnit *u)
{
    atapi_audio_settle(u);
    if (u->g.cd.audio == AUDIO_PLAYING || u->g.cd.audio == AUDIO_PAUSED) {
        u->g.cd.audio = AUDIO_NONE;
    }
    atapi_audio_sound(u);
}

/* Guest time at which a sector is heard. */
static int64_t time_of(const IdeUnit *u, uint32_t lba)
{
    return u->g.cd.audio_since + ((int64_t)lba - u->g.cd.audio_at) * SECTOR_NS;
}

static uint8_t *place_of(const IdeUnit *u, uint32_t lba)
{
    return u->audio_data + (size_t)(lba % RING) * CD_RAW_SECTOR;
}

static int16_t scaled(int sample, uint8_t drive, uint32_t mixer)
{
    int64_t v = (int64_t)sample * drive / 255 * mixer / AUDIO_UNITY;
    return (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}

static void push(IdeUnit *u)
{
    const Ide *ide = u->channel->ide;
    const AudioPort *port = &ide->config.audio;
    const uint8_t *raw = place_of(u, u->audio_next), *volume = u->g.cd.volume;
    int16_t pairs[2 * SECTOR_PAIRS];
    for (unsigned j = 0; j < 2 * SECTOR_PAIRS; j++) {
        int sample = (int16_t)(raw[2 * j] | raw[2 * j + 1] << 8);
        pairs[j] = scaled(sample, volume[j % 2], ide->audio_volume[j % 2]);
    }
    port->ops->push(port->mixer, u->voice, time_of(u, u->audio_next), HZ, pairs, SECTOR_PAIRS);
    u->audio_next++;
}

static void push_due(IdeUnit *u)
{
    while (u->audio_next < u->audio_fetched &&
           time_of(u, u->audio_next) <= ide_now(u) + SECTOR_NS) {
        push(u);
    }
}

static void audio_done(void *self, BlockJob *job)
{
    IdeUnit *u = self;
    uint32_t count = job->error ? 1 : (uint32_t)(job->length / CD_RAW_SECTOR);
    u->audio_job = NULL;
    if (u->g.cd.audio != AUDIO_PLAYING) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) { /* what cannot be read is silent */
        uint8_t *to = place_of(u, u->audio_fetched++);
        if (job->error == 0) {
            memcpy(to, job->data + (size_t)i * CD_RAW_SECTOR, CD_RAW_SECTOR);
        } else {
            memset(to, 0, CD_RAW_SECTOR);
        }
    }
    push_due(u);
}

static void fetch(IdeUnit *u)
{
    uint32_t left = u->g.cd.audio_end - u->audio_fetched, count = left < PIECE ? left : PIECE;
    if (u->audio_job || count == 0 || u->audio_fetched - u->audio_next > RING - PIECE) {
        return;
    }
    u->audio_job = block_job_new(u->channel->ide->config.queue, u->name, BLOCK_READ_RAW,
                                 (uint64_t)u->audio_fetched * CD_RAW_SECTOR,
                                 (uint64_t)count * CD_RAW_SECTOR, audio_done, u);
    block_job_submit(u->audio_job, u->medium, ide_now(u));
}

static void audio_fired(void *self, int64_t due)
{
    IdeUnit *u = self;
    (void)due;
    push_due(u);
    atapi_audio_settle(u);
    if (u->g.cd.audio != AUDIO_PLAYING || u->audio_next >= u->g.cd.audio_end) {
        return;
    }
    fetch(u);
    timer_arm(&u->audio_timer, ide_now(u) + SECTOR_NS);
}

void atapi_audio_sound(IdeUnit *u)
{
    timer_disarm(&u->audio_timer);
    block_job_cancel(u->audio_job);
    u->audio_job = NULL;
    if (u->voice && u->medium && u->g.cd.audio == AUDIO_PLAYING &&
        u->g.cd.audio_at < u->g.cd.audio_end) {
        u->audio_next = u->audio_fetched = u->g.cd.audio_at;
        timer_arm(&u->audio_timer, ide_now(u));
    }
}

void atapi_audio_init(IdeUnit *u)
{
    const AudioPort *port = &u->channel->ide->config.audio;
    static const char *const names[IDE_DRIVES] = {"cd.0", "cd.1", "cd.2", "cd.3"};
    timer_init(&u->audio_timer, &u->channel->ide->dev.board->clock, names[u->drive], audio_fired,
               u);
    u->audio_data = port->ops ? calloc(RING, CD_RAW_SECTOR) : NULL;
    u->voice = u->audio_data ? port->ops->open(port->mixer, u->name) : NULL;
}

void atapi_audio_fini(IdeUnit *u)
{
    const AudioPort *port = &u->channel->ide->config.audio;
    timer_disarm(&u->audio_timer);
    block_job_cancel(u->audio_job);
    if (u->voice) {
        port->ops->close(port->mixer, u->voice);
    }
    free(u->audio_data);
}

static void play(IdeUnit *u, uint32_t from, uint32_t to)
{
    CdToc toc;
    cd_toc(u->medium, &toc);
    if (from >= toc.lead_out || to > toc.lead_out || to < from) {
        atapi_check(u, KEY_ILLEGAL, 0x21, 0);
        return;
    }
    if (to > from && toc.track[cd_track_at(&toc, from) - 1].control & 4) {
        atapi_check(u, KEY_ILLEGAL, 0x64, 0); /* illegal mode for this track */
        return;
    }
    CdState *cd = &u->g.cd;
    if (to > from) { /* a length of 0 is no error and plays nothing */
        cd->audio = AUDIO_PLAYING;
        cd->audio_at = from;
        cd->audio_end = to;
        cd->audio_since = ide_now(u);
        atapi_audio_sound(u);
    }
    atapi_good(u);
}

static void play_msf(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    static const uint8_t here[3] = {0xff, 0xff, 0xff};
    atapi_audio_settle(u);
    uint32_t from = memcmp(p + 3, here, 3) == 0 ? u->g.cd.audio_at : cd_lba(p + 3);
    play(u, from, cd_lba(p + 6));
}

static void play_tracks(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    unsigned first = p[4], last = p[7];
    CdToc toc;
    cd_toc(u->medium, &toc);
    if (first < 1 || first > toc.tracks || last < first) {
        atapi_check(u, KEY_ILLEGAL, 0x24, 0);
        return;
    }
    play(u, toc.track[first - 1].start, last < toc.tracks ? toc.track[last].start : toc.lead_out);
}

static void play_length(IdeUnit *u, uint32_t from, uint32_t length)
{
    atapi_audio_settle(u);
    from = from == 0xffffffff ? u->g.cd.audio_at : from;
    if (length > 0xffffffff - from) {
        atapi_check(u, KEY_ILLEGAL, 0x21, 0);
        return;
    }
    play(u, from, from + length);
}

static void pause_resume(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    bool resume = cd->packet[8] & 1;
    atapi_audio_settle(u);
    if (cd->audio != AUDIO_PLAYING && cd->audio != AUDIO_PAUSED) {
        atapi_check(u, KEY_ILLEGAL, 0x2c, 0); /* command sequence error */
        return;
    }
    if (resume && cd->audio == AUDIO_PAUSED) {
        cd->audio_since = ide_now(u);
    }
    cd->audio = resume ? AUDIO_PLAYING : AUDIO_PAUSED;
    atapi_audio_sound(u);
    atapi_good(u);
}

static void put_position(const IdeUnit *u, const CdToc *toc, uint8_t *r, bool msf)
{
    uint32_t at = u->g.cd.audio_at;
    unsigned n = cd_track_at(toc, at);
    uint32_t start = toc->track[n - 1].start, relative = at > start ? at - start : 0;
    r[0] = 1;
    r[1] = 0x10 | toc->track[n - 1].control;
    r[2] = (uint8_t)n;
    r[3] = 1; /* index */
    if (msf) {
        uint8_t time[3];
        cd_msf(at, r + 5);
        r[4] = r[8] = 0;
        time[0] = (uint8_t)(relative / (60 * FRAMES));
        time[1] = (uint8_t)(relative / FRAMES % 60);
        time[2] = (uint8_t)(relative % FRAMES);
        memcpy(r + 9, time, 3);
    } else {
        bytes_put_be32(r + 4, at);
        bytes_put_be32(r + 8, relative);
    }
}

static void read_subchannel(IdeUnit *u)
{
    CdState *cd = &u->g.cd;
    const uint8_t *p = cd->packet;
    uint8_t *r = u->buffer;
    uint32_t size = 4;
    CdToc toc;
    cd_toc(u->medium, &toc);
    atapi_audio_settle(u);
    memset(r, 0, 24);
    r[1] = cd->audio;
    if (p[2] & 0x40) {
        switch (p[3]) {
        case 1:
            put_position(u, &toc, r + 4, p[1] & 2);
            size = 16;
            break;
        case 2: /* media catalogue number: the disc has none */
            r[4] = 2;
            size = 24;
            break;
        case 3: /* a track's code: it has none either */
            if (p[6] < 1 || p[6] > toc.tracks) {
                atapi_check(u, KEY_ILLEGAL, 0x24, 0);
                return;
            }
            r[4] = 3;
            r[5] = 0x10 | toc.track[p[6] - 1].control;
            r[6] = p[6];
            size = 24;
            break;
        default:
            atapi_check(u, KEY_ILLEGAL, 0x24, 0);
            return;
        }
    }
    r[3] = (uint8_t)(size - 4);
    if (cd->audio == AUDIO_DONE) {
        cd->audio = AUDIO_NONE; /* the end is reported once */
    }
    atapi_reply(u, size, be16(p + 7));
}

bool atapi_audio(IdeUnit *u)
{
    const uint8_t *p = u->g.cd.packet;
    switch (p[0]) {
    case 0x42:
        read_subchannel(u);
        return true;
    case 0x45:
        play_length(u, bytes_be32(p + 2), be16(p + 7));
        return true;
    case 0xa5:
        play_length(u, bytes_be32(p + 2), bytes_be32(p + 6));
        return true;
    case 0x47:
        play_msf(u);
        return true;
    case 0x48:
        play_tracks(u);
        return true;
    case 0x4b:
        pause_resume(u);
        return true;
    case 0x4e: /* STOP PLAY/SCAN */
        atapi_audio_stop(u);
        atapi_good(u);
        return true;
    case 0xba: /* SCAN: fast play that we do not sound; the head stays */
        atapi_good(u);
        return true;
    default:
        return false;
    }
}
