/* Encoding and muxing by FFmpeg's libraries (libavcodec, libavformat, libswscale; 5.1 and later).
 *
 * H.264 and AAC, or a numbered sequence of PNG files. Matroska keeps each pixel's colour (4:4:4);
 * the others use 4:2:0, which every player takes. The picture's size is fixed in a video: when the
 * guest's changes, it is scaled into it, in its own shape.
 */
#include "ui/record_av.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "machine/core/log.h"
#include "ui/av_library.h"

LOG_TAG("record");

enum { TEXT_WIDTH = 720, TEXT_HEIGHT = 400, SOUND_BITS = 160000, KEY_FRAME_S = 4, MAX_THREADS = 4 };

typedef struct Track {
    AVCodecContext *codec;
    AVStream *stream;
    AVFrame *frame;
} Track;

struct RecordAv {
    AvLibrary av;
    AVFormatContext *format;
    AVPacket *packet;
    Track video, sound;
    struct SwsContext *scaler;
    unsigned aspect_width, aspect_height; /* of the whole video */
    bool sequence, header_written;
    int sound_fill; /* frames in sound.frame */
    int64_t sound_at;
    char file[RECORD_PATH + 32];
};

static bool fail(const RecordAv *v, Err *err, const char *what, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    v->av.av_strerror(code, text, sizeof(text));
    return err_set(err, "recording '%s': %s: %s", v->file, what, text);
}

static const char *extension(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && !strchr(dot, '/') ? dot + 1 : "";
}

/* "shot.png" becomes "shot-%05d.png". */
static void name_file(RecordAv *v, const char *path)
{
    v->sequence = strcasecmp(extension(path), "png") == 0;
    if (v->sequence && !strchr(path, '%')) {
        int stem = (int)(strlen(path) - strlen(".png"));
        snprintf(v->file, sizeof(v->file), "%.*s-%%05d%s", stem, path, path + stem);
    } else {
        snprintf(v->file, sizeof(v->file), "%s", path);
    }
}

static bool open_format(RecordAv *v, Err *err)
{
    static const struct {
        const char *extension, *muxer;
    } known[] = {
        {"mkv", "matroska"}, {"mp4", "mp4"}, {"mov", "mov"}, {"avi", "avi"}, {"png", "image2"}};
    char url[sizeof(v->file) + 8];
    const char *muxer = NULL;
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(extension(v->file), known[i].extension) == 0) {
            muxer = known[i].muxer;
        }
    }
    if (!muxer) {
        return err_set(err, "recording '%s': name it .mkv, .mp4, .mov, .avi or .png", v->file);
    }
    snprintf(url, sizeof(url), "file:%s", v->file); /* never another protocol */
    int code = v->av.avformat_alloc_output_context2(&v->format, NULL, muxer, url);
    v->packet = v->av.av_packet_alloc();
    if (code < 0 || !v->packet) {
        return fail(v, err, muxer, code);
    }
    if (!(v->format->oformat->flags & AVFMT_NOFILE)) {
        code = v->av.avio_open(&v->format->pb, url, AVIO_FLAG_WRITE);
        return code >= 0 || fail(v, err, "cannot be written", code);
    }
    return true;
}

static bool add_track(RecordAv *v, Track *t, const AVCodec *codec, Err *err)
{
    t->stream = v->av.avformat_new_stream(v->format, NULL);
    t->codec = v->av.avcodec_alloc_context3(codec);
    t->frame = v->av.av_frame_alloc();
    if (!t->stream || !t->codec || !t->frame) {
        return err_set(err, "out of memory");
    }
    if (v->format->oformat->flags & AVFMT_GLOBALHEADER) {
        t->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    }
    return true;
}

static bool start_track(RecordAv *v, Track *t, Err *err)
{
    int code = v->av.avcodec_open2(t->codec, NULL, NULL);
    if (code < 0) {
        return fail(v, err, t->codec->codec->name, code);
    }
    t->stream->time_base = t->codec->time_base;
    code = v->av.avcodec_parameters_from_context(t->stream->codecpar, t->codec);
    return code >= 0 || fail(v, err, "stream", code);
}

static const AVCodec *video_codec(const RecordAv *v)
{
    if (v->sequence) {
        return v->av.avcodec_find_encoder(AV_CODEC_ID_PNG);
    }
    const AVCodec *best = v->av.avcodec_find_encoder_by_name("libx264");
    return best ? best : v->av.avcodec_find_encoder(AV_CODEC_ID_MPEG4);
}

static bool open_video(RecordAv *v, const RecordConfig *c, const Picture *first, Err *err)
{
    const AVCodec *codec = video_codec(v);
    bool none = first->serial == 0;
    unsigned width = c->width ? c->width : none ? TEXT_WIDTH : first->width;
    unsigned height = c->height ? c->height : none ? TEXT_HEIGHT : first->height;
    int fps = (int)(c->fps ? c->fps : RECORD_FPS);
    if (!codec) {
        return err_set(err, "recording '%s': libavcodec here has no encoder for it", v->file);
    }
    if (!add_track(v, &v->video, codec, err)) {
        return false;
    }
    bool whole = v->format->oformat->video_codec == AV_CODEC_ID_H264 &&
                 strcmp(v->format->oformat->name, "matroska") == 0 && codec->id == AV_CODEC_ID_H264;
    AVCodecContext *x = v->video.codec;
    x->width = (int)((width + 1) & ~1u);
    x->height = (int)((height + 1) & ~1u);
    x->pix_fmt = v->sequence ? AV_PIX_FMT_RGB24 : whole ? AV_PIX_FMT_YUV444P : AV_PIX_FMT_YUV420P;
    x->time_base = (AVRational){1, fps};
    x->framerate = (AVRational){fps, 1};
    x->gop_size = fps * KEY_FRAME_S;
    v->aspect_width = c->width ? width : none ? 4 : first->aspect_width;
    v->aspect_height = c->height ? height : none ? 3 : first->aspect_height;
    v->av.av_reduce(&x->sample_aspect_ratio.num, &x->sample_aspect_ratio.den,
                    (int64_t)v->aspect_width * x->height, (int64_t)v->aspect_height * x->width,
                    10000);
    v->video.stream->sample_aspect_ratio = x->sample_aspect_ratio;
    v->video.stream->avg_frame_rate = x->framerate;
    if (!v->sequence) {
        x->color_range = AVCOL_RANGE_MPEG;
        x->colorspace = AVCOL_SPC_SMPTE170M;
        x->thread_count = MAX_THREADS;
    }
    if (codec->id == AV_CODEC_ID_H264) {
        v->av.av_opt_set(x->priv_data, "preset", "veryfast", 0);
        v->av.av_opt_set(x->priv_data, "crf", "16", 0);
    } else if (codec->id == AV_CODEC_ID_MPEG4) {
        x->flags |= AV_CODEC_FLAG_QSCALE;
        x->global_quality = 2 * FF_QP2LAMBDA;
    }
    if (!start_track(v, &v->video, err)) {
        return false;
    }
    AVFrame *f = v->video.frame;
    f->format = x->pix_fmt;
    f->width = x->width;
    f->height = x->height;
    int code = v->av.av_frame_get_buffer(f, 0);
    return code >= 0 || fail(v, err, "picture", code);
}

static bool open_sound(RecordAv *v, unsigned hz, Err *err)
{
    const AVCodec *codec = v->av.avcodec_find_encoder(AV_CODEC_ID_AAC);
    bool known = false;
    for (const int *rate = codec ? codec->supported_samplerates : NULL; rate && *rate; rate++) {
        known |= (unsigned)*rate == hz;
    }
    if (!known) {
        log_warn("'%s' has no sound: AAC does not take %u Hz", v->file, hz);
        return true;
    }
    if (!add_track(v, &v->sound, codec, err)) {
        return false;
    }
    AVCodecContext *x = v->sound.codec;
    x->sample_fmt = AV_SAMPLE_FMT_FLTP;
    x->sample_rate = (int)hz;
    x->bit_rate = SOUND_BITS;
    x->time_base = (AVRational){1, (int)hz};
    v->av.av_channel_layout_default(&x->ch_layout, 2);
    if (!start_track(v, &v->sound, err)) {
        return false;
    }
    AVFrame *f = v->sound.frame;
    f->format = x->sample_fmt;
    f->sample_rate = x->sample_rate;
    f->nb_samples = x->frame_size;
    v->av.av_channel_layout_copy(&f->ch_layout, &x->ch_layout);
    int code = v->av.av_frame_get_buffer(f, 0);
    return code >= 0 || fail(v, err, "sound", code);
}

static void release(RecordAv *v)
{
    Track *tracks[] = {&v->video, &v->sound};
    for (unsigned i = 0; i < 2; i++) {
        v->av.avcodec_free_context(&tracks[i]->codec);
        v->av.av_frame_free(&tracks[i]->frame);
    }
    if (v->format && v->format->pb && !(v->format->oformat->flags & AVFMT_NOFILE)) {
        v->av.avio_closep(&v->format->pb);
    }
    v->av.avformat_free_context(v->format);
    v->av.av_packet_free(&v->packet);
    v->av.sws_freeContext(v->scaler);
    free(v); /* the libraries stay: some of theirs do not bear to be unloaded */
}

RecordAv *record_av_open(const RecordConfig *c, const Picture *first, unsigned hz, Err *err)
{
    RecordAv *v = calloc(1, sizeof(*v));
    if (!v) {
        err_set(err, "out of memory");
        return NULL;
    }
    if (!av_library_open(&v->av, err)) {
        free(v);
        return NULL;
    }
    v->av.av_log_set_level(AV_LOG_ERROR);
    name_file(v, c->file);
    bool ok = open_format(v, err) && open_video(v, c, first, err) &&
              (hz == 0 || v->sequence || open_sound(v, hz, err));
    int code = ok ? v->av.avformat_write_header(v->format, NULL) : 0;
    if (ok && code < 0) {
        ok = fail(v, err, "cannot be written", code);
    }
    if (!ok) {
        release(v);
        return NULL;
    }
    v->header_written = true;
    return v;
}

bool record_av_needs_all(const RecordAv *v)
{
    return v->sequence;
}

bool record_av_has_sound(const RecordAv *v)
{
    return v->sound.codec != NULL;
}

/* frame NULL: the last packets. */
static bool encode(RecordAv *v, Track *t, const AVFrame *frame, Err *err)
{
    int code = v->av.avcodec_send_frame(t->codec, frame);
    while (code >= 0) {
        code = v->av.avcodec_receive_packet(t->codec, v->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) {
            return true;
        }
        if (code >= 0) {
            if (t == &v->video) {
                v->packet->duration = 1;
            }
            v->av.av_packet_rescale_ts(v->packet, t->codec->time_base, t->stream->time_base);
            v->packet->stream_index = t->stream->index;
            code = v->av.av_interleaved_write_frame(v->format, v->packet);
        }
    }
    return fail(v, err, "cannot be written", code);
}

static void make_black(AVFrame *f)
{
    for (int plane = 0; plane < 3 && f->data[plane]; plane++) {
        int value = f->format == AV_PIX_FMT_RGB24 ? 0 : plane ? 128 : 16;
        int shift = f->format == AV_PIX_FMT_YUV420P && plane ? 1 : 0;
        for (int y = 0; y < f->height >> shift; y++) {
            memset(f->data[plane] + (ptrdiff_t)y * f->linesize[plane], value,
                   (size_t)abs(f->linesize[plane]));
        }
    }
}

/* Where a picture stands in the video, in its own shape; even numbers. */
static void place(const RecordAv *v, const Picture *p, int *x, int *y, int *width, int *height)
{
    const AVFrame *f = v->video.frame;
    uint64_t across = (uint64_t)p->aspect_width * v->aspect_height;
    uint64_t down = (uint64_t)p->aspect_height * v->aspect_width;
    *width = f->width;
    *height = f->height;
    if (across > down) {
        *height = (int)((uint64_t)(unsigned)f->height * down / across) & ~1;
    } else if (across < down) {
        *width = (int)((uint64_t)(unsigned)f->width * across / down) & ~1;
    }
    *width = *width < 2 ? 2 : *width;
    *height = *height < 2 ? 2 : *height;
    *x = (f->width - *width) / 2 & ~1;
    *y = (f->height - *height) / 2 & ~1;
}

static bool draw(RecordAv *v, const Picture *p, Err *err)
{
    AVFrame *f = v->video.frame;
    int x, y, width, height;
    int code = v->av.av_frame_make_writable(f);
    if (code < 0) {
        return fail(v, err, "picture", code);
    }
    if (p->serial == 0 || p->width == 0 || p->height == 0) {
        make_black(f);
        return true;
    }
    place(v, p, &x, &y, &width, &height);
    bool same = p->width == (unsigned)width && p->height == (unsigned)height;
    v->scaler = v->av.sws_getCachedContext(
        v->scaler, (int)p->width, (int)p->height, AV_PIX_FMT_BGR0, width, height, f->format,
        (same ? SWS_POINT : SWS_BICUBIC) | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!v->scaler) {
        return err_set(err, "recording '%s': no scaler for this picture", v->file);
    }
    if (width != f->width || height != f->height) {
        make_black(f);
    }
    const uint8_t *from[4] = {(const uint8_t *)p->pixels};
    int stride[4] = {(int)(p->width * sizeof(p->pixels[0]))};
    uint8_t *to[4] = {0};
    for (int plane = 0; plane < 3 && f->data[plane]; plane++) {
        int shift = f->format == AV_PIX_FMT_YUV420P && plane ? 1 : 0;
        int bytes = f->format == AV_PIX_FMT_RGB24 ? 3 : 1;
        to[plane] =
            f->data[plane] + (ptrdiff_t)(y >> shift) * f->linesize[plane] + (x >> shift) * bytes;
    }
    v->av.sws_scale(v->scaler, from, stride, 0, (int)p->height, to, f->linesize);
    return true;
}

bool record_av_frame(RecordAv *v, const Picture *picture, bool changed, int64_t index, Err *err)
{
    if (changed && !draw(v, picture, err)) {
        return false;
    }
    v->video.frame->pts = index;
    return encode(v, &v->video, v->video.frame, err);
}

static bool send_sound(RecordAv *v, Err *err)
{
    AVFrame *f = v->sound.frame;
    f->nb_samples = v->sound_fill;
    f->pts = v->sound_at;
    v->sound_at += v->sound_fill;
    v->sound_fill = 0;
    return encode(v, &v->sound, f, err);
}

bool record_av_sound(RecordAv *v, const float *pairs, size_t frames, Err *err)
{
    AVFrame *f = v->sound.frame;
    for (size_t i = 0; v->sound.codec && i < frames; i++) {
        if (v->sound_fill == 0 && v->av.av_frame_make_writable(f) < 0) {
            return err_set(err, "out of memory");
        }
        for (int channel = 0; channel < 2; channel++) {
            float value = pairs[2 * i + (size_t)channel];
            ((float *)(void *)f->data[channel])[v->sound_fill] = value > 1    ? 1
                                                                 : value < -1 ? -1
                                                                              : value;
        }
        if (++v->sound_fill == v->sound.codec->frame_size && !send_sound(v, err)) {
            return false;
        }
    }
    return true;
}

bool record_av_close(RecordAv *v, Err *err)
{
    bool ok = encode(v, &v->video, NULL, err);
    if (v->sound.codec) {
        ok = (v->sound_fill == 0 || send_sound(v, err)) && encode(v, &v->sound, NULL, err) && ok;
    }
    int code = v->av.av_write_trailer(v->format);
    if (ok && code >= 0 && v->format->pb && !v->sequence) {
        v->av.avio_flush(v->format->pb);
        code = v->format->pb->error;
    }
    if (ok && code < 0) {
        ok = fail(v, err, "cannot be completed", code);
    }
    release(v);
    return ok;
}
