/* VGA beam: where it is at a moment of guest time, frames, retrace, and what happens at each.
 *
 * IBM PS/2 Video Subsystem reference, "CRT Controller". The beam is not ticked: its place follows
 * from the pixel clock and the CRTC's totals. Lines are drawn when the beam has passed them and
 * something is about to change, and at the latest when the picture is complete, at the vertical
 * retrace; then the start address of the next picture is latched.
 */
#include "display/vga_internal.h"

/* Pictures are shown no more often than this. */
#define SHOW_MIN_NS INT64_C(12500000)
/* Faster than this no monitor would follow: there is no picture. */
#define MAX_FRAMES_HZ 1000u

enum { VBE_FRAMES_HZ = 60, BLINK_FRAMES = 8, STILL_FRAMES = 64 };

static void fallback_timing(Timing *t)
{
    *t = (Timing){.hz = 25175000,
                  .line_dots = 800,
                  .display_dots = 640,
                  .lines = 525,
                  .display_lines = 480,
                  .retrace_first = 490,
                  .retrace_end = 492,
                  .stopped = true};
}

/* The extension has no timing registers: 60 Hz with the blanking shares of a VESA mode. */
static void vbe_timing(const Vga *v, Timing *t)
{
    t->display_dots = v->g.vbe[VBE_XRES];
    t->line_dots = t->display_dots * 5 / 4;
    t->display_lines = v->g.vbe[VBE_YRES];
    t->lines = t->display_lines + t->display_lines / 20 + 4;
    t->hz = t->line_dots * t->lines * VBE_FRAMES_HZ;
    t->retrace_first = t->display_lines + 1;
    t->retrace_end = t->retrace_first + 2;
}

static void crtc_timing(Vga *v, Timing *t)
{
    const uint8_t *cr = v->g.cr;
    uint32_t dots = v->g.sr[SR_CLOCKING] & CLOCKING_8_DOTS ? 8 : 9;
    if (v->g.sr[SR_CLOCKING] & CLOCKING_HALF) {
        dots *= 2;
    }
    t->hz = (v->g.misc & MISC_CLOCK) == 0x04 ? 28322000 : 25175000;
    if (v->chip && v->chip->clock_hz) {
        t->hz = v->chip->clock_hz(v);
    }
    t->line_dots = (cr[CR_HORIZONTAL_TOTAL] + 5u) * dots;
    t->display_dots = (cr[CR_HORIZONTAL_DISPLAY_END] + 1u) * dots;
    unsigned overflow = cr[CR_OVERFLOW];
    unsigned halved = v->scan.halved;
    uint32_t total = cr[CR_VERTICAL_TOTAL] | (overflow & 0x01) << 8 | (overflow & 0x20) << 4;
    uint32_t display =
        cr[CR_VERTICAL_DISPLAY_END] | (overflow & 0x02) << 7 | (overflow & 0x40) << 3;
    uint32_t retrace = cr[CR_RETRACE_START] | (overflow & 0x04) << 6 | (overflow & 0x80) << 2;
    uint32_t end = (retrace & ~0xfu) | (cr[CR_RETRACE_END] & 0xf);
    t->lines = (total + 2) << halved;
    t->display_lines = (display + 1) << halved;
    t->retrace_first = retrace << halved;
    t->retrace_end = (end <= retrace ? end + 16 : end) << halved;
}

static void compute(Vga *v, Timing *t)
{
    *t = (Timing){0};
    if (vbe_shown(v)) {
        vbe_timing(v, t);
    } else {
        crtc_timing(v, t);
        if (v->chip && v->chip->timing) {
            v->chip->timing(v, t);
        }
        bool stopped = !(v->g.cr[CR_MODE_CONTROL] & 0x80);
        if (stopped || t->hz / ((uint64_t)t->line_dots * t->lines) > MAX_FRAMES_HZ || t->hz == 0) {
            fallback_timing(t);
        }
    }
    if (t->display_lines > t->lines) {
        t->display_lines = t->lines;
    }
    t->show_line = t->retrace_first < t->display_lines ? t->display_lines : t->retrace_first;
    if (t->show_line >= t->lines) {
        t->show_line = t->lines - 1;
    }
}

static uint64_t frame_dots(const Timing *t)
{
    return (uint64_t)t->line_dots * t->lines;
}

Beam vga_beam(const Vga *v)
{
    const Timing *t = &v->timing;
    int64_t gone = clock_now(&v->dev.board->clock) - v->g.epoch;
    uint64_t dots = clock_ticks(gone < 0 ? 0 : gone, t->hz);
    uint64_t in_frame = dots % frame_dots(t);
    return (Beam){.frame = dots / frame_dots(t),
                  .line = (uint32_t)(in_frame / t->line_dots),
                  .dot = (uint32_t)(in_frame % t->line_dots)};
}

bool vga_irq_level(const Vga *v)
{
    return v->g.irq_pending && !(v->g.cr[CR_RETRACE_END] & 0x20);
}

void vga_arm(Vga *v)
{
    const Timing *t = &v->timing;
    uint64_t dots = v->g.frame * frame_dots(t) + (uint64_t)t->show_line * t->line_dots;
    int64_t when = v->g.epoch + clock_ticks_to_ns(dots, t->hz);
    timer_arm(&v->timer, when < v->g.shown + SHOW_MIN_NS ? v->g.shown + SHOW_MIN_NS : when);
}

void vga_timing_restored(Vga *v)
{
    compute(v, &v->timing);
    uint64_t frame = vga_beam(v).frame;
    if (v->g.frame > frame + 1) { /* no state of ours says so */
        v->g.frame = frame + 1;
    }
}

/* A change of timing leaves the beam on its line, if the new picture has such a line. */
void vga_timing_changed(Vga *v)
{
    Timing next;
    compute(v, &next);
    const Timing *t = &v->timing;
    if (next.hz == t->hz && next.line_dots == t->line_dots && next.lines == t->lines &&
        next.display_dots == t->display_dots && next.display_lines == t->display_lines &&
        next.retrace_first == t->retrace_first && next.retrace_end == t->retrace_end &&
        next.stopped == t->stopped) {
        return;
    }
    Beam beam = {0};
    bool complete = false;
    if (t->hz) {
        beam = vga_beam(v);
        complete = v->g.frame > beam.frame;
    }
    if (beam.line >= next.lines) {
        beam.line = 0;
        complete = false;
    }
    if (!complete && v->g.next_line > beam.line + 1) {
        vga_frame_begin(v);
    }
    if (beam.dot >= next.line_dots) {
        beam.dot = 0;
    }
    v->timing = next;
    uint64_t dots = (uint64_t)beam.line * next.line_dots + beam.dot;
    v->g.epoch = clock_now(&v->dev.board->clock) - clock_ticks_to_ns(dots, next.hz);
    v->g.frame = complete;
    vga_arm(v);
}

/* Blanking starts after the line at which the vertical counter meets the register, so that drivers
 * may name the last line of the picture. It ends with the counter's step to the value of the other,
 * so that they may name line 0 (X servers do). It may begin in the picture, and reach over into the
 * next. */
bool vga_blanked_after(const Vga *v, uint32_t line, uint32_t next, bool blanked)
{
    const uint8_t *cr = v->g.cr;
    uint32_t start =
        cr[CR_BLANK_START] | (cr[CR_OVERFLOW] & 0x08u) << 5 | (cr[CR_MAX_SCAN_LINE] & 0x20u) << 4;
    if (line == start) {
        return true;
    }
    return blanked && ((next ^ cr[CR_BLANK_END]) & 0x7f) != 0;
}

/* Blanking as it stands at the top of the next picture. */
static bool blanked_at_top(const Vga *v)
{
    uint32_t lines = v->timing.lines >> v->scan.halved;
    bool blanked = v->g.blanked;
    for (uint32_t line = v->timing.display_lines >> v->scan.halved; line < lines; line++) {
        blanked = vga_blanked_after(v, line, line + 1 < lines ? line + 1 : 0, blanked);
    }
    return blanked;
}

void vga_frame_begin(Vga *v)
{
    v->g.next_line = 0;
    v->g.row = v->scan.start;
    v->g.row_index = 0;
    v->g.row_scan = v->scan.crtc ? v->g.cr[CR_PRESET_ROW_SCAN] & 0x1f : 0;
    v->g.second = v->g.split = false;
}

/* The retrace after frame g.frame; `show` is false when the next one's has come, too. */
static void finish_frame(Vga *v, bool show)
{
    int64_t now = clock_now(&v->dev.board->clock);
    vga_draw_lines(v, v->timing.display_lines);
    if (show && now - v->g.shown >= SHOW_MIN_NS) {
        if (!v->spoiled) {
            screen_publish(v->config.screen);
        }
        v->g.shown = now; /* spoiled or not: that is not in the state, but this is */
    }
    v->spoiled = false;
    v->g.blanked = v->scan.crtc && blanked_at_top(v);
    v->g.frame++;
    v->g.frames++;
    vga_frame_begin(v);
    if (v->g.cr[CR_RETRACE_END] & 0x10 && !v->g.irq_pending) {
        v->g.irq_pending = true;
        line_set(&v->config.irq, vga_irq_level(v));
    }
}

/* All that belongs to retraces gone by. True: the beam is in a picture not yet complete. */
static bool sync_frames(Vga *v, Beam beam)
{
    if (beam.frame < v->g.frame) {
        return false; /* between retrace and the top */
    }
    if (beam.frame > v->g.frame) {
        finish_frame(v, beam.line < v->timing.show_line);
        if (beam.frame >
            v->g.frame) { /* nobody looked for whole frames, in which nothing changed */
            v->g.frames += beam.frame - v->g.frame;
            v->g.frame = beam.frame;
        }
    }
    if (beam.line >= v->timing.show_line) {
        finish_frame(v, true);
        return false;
    }
    return true;
}

Beam vga_sync_frames(Vga *v)
{
    Beam beam = vga_beam(v);
    sync_frames(v, beam);
    return beam;
}

/* Also draws what the beam has passed. */
void vga_sync(Vga *v)
{
    const Timing *t = &v->timing;
    Beam beam = vga_beam(v);
    if (sync_frames(v, beam)) {
        uint32_t passed = beam.line + (beam.dot >= t->display_dots / 2);
        vga_draw_lines(v, passed < t->display_lines ? passed : t->display_lines);
    }
}

void vga_timer_fired(void *self, int64_t due)
{
    Vga *v = self;
    (void)due;
    vga_sync_frames(v);
    vga_arm(v);
}

/* A picture that stands still need not be looked at until something blinks, unless an interrupt
 * comes with the retrace. */
int64_t vga_timer_late(void *self)
{
    const Vga *v = self;
    const Timing *t = &v->timing;
    bool interrupts = (v->g.cr[CR_RETRACE_END] & 0x30) == 0x10 && v->config.irq.drive;
    if (interrupts || !vga_stands_still(v)) {
        return 0;
    }
    uint64_t frames = vga_blinks(v) ? BLINK_FRAMES - v->g.frames % BLINK_FRAMES : STILL_FRAMES;
    return clock_ticks_to_ns(frames * frame_dots(t), t->hz);
}
