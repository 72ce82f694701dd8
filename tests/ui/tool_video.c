/* Decodes a video again and says what is in it, one line each: its length, frames, size, shape,
 * colours of frames at given places, and how loud the sound is.
 *
 * tool_video FILE [FRAME:X:Y]...
 */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Stream {
    int index; /* -1: none */
    AVCodecContext *codec;
} Stream;

typedef struct Video {
    AVFormatContext *format;
    Stream video, sound;
    int64_t frames, first_pts, last_pts, last_gap, uneven;
    int64_t samples;
    double loud, first_sound; /* of full scale; seconds */
    int probes;
    char **probe;
} Video;

static Stream open_stream(AVFormatContext *format, enum AVMediaType type)
{
    const AVCodec *decoder = NULL;
    Stream s = {av_find_best_stream(format, type, -1, -1, &decoder, 0), NULL};
    if (s.index >= 0 && decoder) {
        s.codec = avcodec_alloc_context3(decoder);
        avcodec_parameters_to_context(s.codec, format->streams[s.index]->codecpar);
        if (avcodec_open2(s.codec, decoder, NULL) < 0) {
            s.index = -1;
        }
    }
    return s;
}

static void probe(const Video *v, const AVFrame *frame)
{
    for (int i = 0; i < v->probes; i++) {
        int64_t number;
        int x, y;
        if (sscanf(v->probe[i], "%ld:%d:%d", &number, &x, &y) != 3 || number != v->frames) {
            continue;
        }
        uint8_t *rgb = calloc((size_t)frame->width, (size_t)frame->height * 3);
        uint8_t *to[4] = {rgb};
        int stride[4] = {frame->width * 3};
        struct SwsContext *scaler =
            sws_getContext(frame->width, frame->height, frame->format, frame->width, frame->height,
                           AV_PIX_FMT_RGB24, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT,
                           NULL, NULL, NULL);
        sws_scale(scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
                  to, stride);
        const uint8_t *p = rgb + ((size_t)y * (size_t)frame->width + (size_t)x) * 3;
        printf("pixel %s %d %d %d\n", v->probe[i], p[0], p[1], p[2]);
        sws_freeContext(scaler);
        free(rgb);
    }
}

static void take_picture(Video *v, const AVFrame *frame)
{
    int64_t gap = frame->pts - v->last_pts;
    if (v->frames == 0) {
        v->first_pts = frame->pts;
        printf("size %d %d\n", frame->width, frame->height);
    } else if (v->frames > 1 && llabs(gap - v->last_gap) > 1) { /* a time base may round */
        v->uneven++;
    }
    v->last_gap = gap;
    v->last_pts = frame->pts;
    probe(v, frame);
    v->frames++;
}

static void take_sound(Video *v, const AVFrame *frame)
{
    for (int i = 0; i < frame->nb_samples; i++, v->samples++) {
        double value = fabs((double)((const float *)(const void *)frame->data[0])[i]);
        if (v->first_sound < 0 && value > 0.02) {
            v->first_sound = (double)v->samples / frame->sample_rate;
        }
        v->loud = value > v->loud ? value : v->loud;
    }
}

static void decode(Video *v, Stream *s, const AVPacket *packet,
                   void (*take)(Video *, const AVFrame *))
{
    AVFrame *frame = av_frame_alloc();
    if (avcodec_send_packet(s->codec, packet) >= 0) {
        while (avcodec_receive_frame(s->codec, frame) >= 0) {
            take(v, frame);
        }
    }
    av_frame_free(&frame);
}

int main(int argc, char **argv)
{
    Video v = {.first_sound = -1, .probes = argc - 2, .probe = argv + 2};
    if (argc < 2 || avformat_open_input(&v.format, argv[1], NULL, NULL) < 0 ||
        avformat_find_stream_info(v.format, NULL) < 0) {
        fprintf(stderr, "tool_video: '%s' is no video\n", argc < 2 ? "" : argv[1]);
        return 1;
    }
    v.video = open_stream(v.format, AVMEDIA_TYPE_VIDEO);
    v.sound = open_stream(v.format, AVMEDIA_TYPE_AUDIO);
    AVPacket *packet = av_packet_alloc();
    while (av_read_frame(v.format, packet) >= 0) {
        if (packet->stream_index == v.video.index) {
            decode(&v, &v.video, packet, take_picture);
        } else if (packet->stream_index == v.sound.index) {
            decode(&v, &v.sound, packet, take_sound);
        }
        av_packet_unref(packet);
    }
    if (v.video.index >= 0) {
        decode(&v, &v.video, NULL, take_picture);
        const AVStream *s = v.format->streams[v.video.index];
        AVRational sar = s->codecpar->sample_aspect_ratio;
        printf("frames %ld\nrate %.3f\nuneven %ld\n", v.frames, av_q2d(s->avg_frame_rate),
               v.uneven);
        printf("shape %.4f\n", av_q2d(sar) * s->codecpar->width / s->codecpar->height);
    }
    if (v.sound.index >= 0) {
        decode(&v, &v.sound, NULL, take_sound);
        printf("sound %.3f\nloudest %.3f\nbegins %.3f\n",
               (double)v.samples / v.sound.codec->sample_rate, v.loud, v.first_sound);
        avcodec_free_context(&v.sound.codec);
    }
    printf("length %.3f\n", (double)v.format->duration / AV_TIME_BASE);
    avcodec_free_context(&v.video.codec);
    avformat_close_input(&v.format);
    av_packet_free(&packet);
    return 0;
}
