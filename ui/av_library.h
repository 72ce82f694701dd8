/* FFmpeg's libraries, loaded when something is recorded.
 *
 * They bring a hundred others with them, which would take more than half of the time that the
 * program needs to start. The names of functions are theirs.
 */
#ifndef UI_AV_LIBRARY_H
#define UI_AV_LIBRARY_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "machine/core/err.h"

/* clang-format off */
/* F(library, function) */
#define AV_FUNCTIONS(F) \
    F(avcodec, av_packet_alloc) \
    F(avcodec, av_packet_free) \
    F(avcodec, av_packet_rescale_ts) \
    F(avcodec, avcodec_alloc_context3) \
    F(avcodec, avcodec_find_encoder) \
    F(avcodec, avcodec_find_encoder_by_name) \
    F(avcodec, avcodec_free_context) \
    F(avcodec, avcodec_open2) \
    F(avcodec, avcodec_parameters_from_context) \
    F(avcodec, avcodec_receive_packet) \
    F(avcodec, avcodec_send_frame) \
    F(avformat, av_interleaved_write_frame) \
    F(avformat, av_write_trailer) \
    F(avformat, avformat_alloc_output_context2) \
    F(avformat, avformat_free_context) \
    F(avformat, avformat_new_stream) \
    F(avformat, avformat_write_header) \
    F(avformat, avio_closep) \
    F(avformat, avio_flush) \
    F(avformat, avio_open) \
    F(avutil, av_channel_layout_copy) \
    F(avutil, av_channel_layout_default) \
    F(avutil, av_frame_alloc) \
    F(avutil, av_frame_free) \
    F(avutil, av_frame_get_buffer) \
    F(avutil, av_frame_make_writable) \
    F(avutil, av_log_set_level) \
    F(avutil, av_opt_set) \
    F(avutil, av_reduce) \
    F(avutil, av_strerror) \
    F(swscale, sws_freeContext) \
    F(swscale, sws_getCachedContext) \
    F(swscale, sws_scale)
/* clang-format on */

typedef struct AvLibrary {
#define AV_FUNCTION(library, function) __typeof__(function) *(function);
    AV_FUNCTIONS(AV_FUNCTION)
#undef AV_FUNCTION
} AvLibrary;

/* Loads them, in the versions that this program was made for. */
bool av_library_open(AvLibrary *av, Err *err);

#endif
