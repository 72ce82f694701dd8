/* Between the files of the window. */
#ifndef UI_WINDOW_INTERNAL_H
#define UI_WINDOW_INTERNAL_H

#include <pthread.h>
#include <SDL.h>
#include <stdatomic.h>

#include "ui/audio_sdl.h"
#include "ui/clip.h"
#include "ui/menu.h"
#include "ui/pads.h"
#include "ui/typist.h"
#include "ui/window.h"

typedef enum WindowCommand {
    WINDOW_PAUSE,
    WINDOW_RESET,
    WINDOW_POWER,
    WINDOW_CTRL_ALT_DEL,
    WINDOW_SCREENSHOT,
    WINDOW_RECORD,
    WINDOW_FULL_SCREEN,
    WINDOW_SCALING,
    WINDOW_SCANLINES,
    WINDOW_COPY,
    WINDOW_PASTE,
    WINDOW_FIND,
    WINDOW_GRAB,
    WINDOW_MENU,
    WINDOW_QUIT
} WindowCommand;

/* Codes of the SDL user events that other threads push; each may stand for several that came close
 * together. */
enum {
    WINDOW_STATE_CHANGED,
    WINDOW_MACHINE_ENDED,
    WINDOW_IO_ERROR,
    WINDOW_SNAPSHOT_SAVED,
    WINDOW_PICTURE,
    WINDOW_ENGINE_FAILED,
    WINDOW_CODES
};

/* What other threads push, and the one thread that hands it to SDL: SDL wakes the window's thread
 * by way of the X server, and who finds the server gone is lost with it. */
typedef struct WindowPost {
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned codes; /* a bit for each; under lock, as over */
    bool over;
    pthread_t thread;
} WindowPost;

/* The selected text. */
typedef struct WindowClip {
    ClipScreen screen; /* as it was when the selection began */
    ClipScreen now;    /* scratch */
    ClipRange range;
    bool selecting, moved; /* the button is down; the pointer has left the first cell */
    bool selected;
    bool for_guest; /* were it a click, it would give the mouse to the guest */
    unsigned match; /* of the search */
} WindowClip;

struct Window {
    const Options *options;
    Machine *machine;
    SDL_Window *sdl;
    SDL_Renderer *renderer;
    SDL_Texture *texture;  /* the guest's picture */
    SDL_Texture *enlarged; /* smooth scaling: the picture in whole multiples */
    int enlarged_width, enlarged_height;
    Picture picture;
    unsigned shown_width, shown_height; /* of the picture in the texture; 0: none yet */
    SDL_Rect at;                        /* where the picture stands, in output pixels */
    ScalingMode scaling;
    bool scanlines;
    bool full_screen, redraw, ended, suspended;
    bool lost; /* the display is gone: nothing of SDL's video may be called any more */
    WindowPost post;
    bool settling;             /* drawn again and again, see SETTLE_MS */
    SDL_Rect before;           /* the window before full screen, where no window manager keeps it */
    int set_width, set_height; /* the size we gave the window; another one is the user's choice */
    Uint32 resized_at;         /* SDL ticks when the window last got a new size or came to light */
    Uint32 event_type;
    pthread_t waiter;         /* waits for the machine's end */
    pthread_t watcher;        /* waits for pictures */
    atomic_bool picture_told; /* WINDOW_PICTURE is on its way */
    atomic_bool watch_ended;

    /* input */
    SDL_Scancode host_key; /* SDL_SCANCODE_UNKNOWN: none */
    bool host_down, host_used;
    bool engine_failed; /* and the machine has not gone on since */
    char failure[200];  /* of the engine; under post.lock, as what follows */
    char broken[32];    /* the drive whose image failed */
    int asked;          /* the command that is done when it comes again, plus 1; 0: none */
    bool captured;
    bool held[256]; /* keys that the guest believes to be down */
    uint8_t buttons;
    Pads *pads; /* NULL: none to be had */

    WindowClip clip;
    Typist *typist;
    Recorder *recorder;        /* the session's */
    AudioSdl *audio;           /* the session's; NULL: none */
    bool recording;            /* as the title says */
    char speed[MACHINE_SPEED]; /* as the title shows it */
    const KeyLayout *layout;

    char notice[300];
    Uint32 notice_at; /* SDL ticks with bit 0 set, so it may lie 1 ms ahead; 0: none */

    Menu *menu;
    bool saving; /* a snapshot, on a thread of its own, which sets save_done and save_err */
    pthread_t saver;
    char save_name[64];
    bool save_done;
    Err save_err;
    bool menu_open, menu_opened; /* opened: not drawn yet */
    MenuModel model;
};

/* window_input.c */
bool window_input_init(Window *w, Err *err);
/* Takes keys and mouse; true if the event was one. */
bool window_input(Window *w, const SDL_Event *e);
/* Lets go of every key and button, and of the mouse. */
void window_release(Window *w);
void window_capture(Window *w, bool capture);
const char *window_host_key(const Window *w);
/* Window coordinates within the picture, 0..65535; false outside of it. */
bool window_in_picture(const Window *w, int x, int y, uint16_t *px, uint16_t *py);

/* window_clip.c */
bool window_clip_button(Window *w, const SDL_MouseButtonEvent *e); /* true: it was for us */
bool window_clip_motion(Window *w, const SDL_MouseMotionEvent *e);
void window_clip_clear(Window *w);
/* The picture has changed. */
void window_clip_picture(Window *w);
void window_clip_draw(Window *w);
void window_copy(Window *w);
void window_paste(Window *w);
/* Opens the search field, or goes to the next match. */
void window_find(Window *w);
void window_find_act(Window *w, MenuAction action);

/* window_files.c */
void window_files_act(Window *w, MenuAction action);
void window_files_free(Window *w);

/* window_snapshots.c */
/* Reads their list anew: when the menu opens, and after each change. */
void window_snapshots_refresh(Window *w);
void window_snapshots_act(Window *w, MenuAction action);
void window_snapshots_saved(Window *w); /* after WINDOW_SNAPSHOT_SAVED */
void window_snapshots_free(Window *w);
/* Says so if the machine was suspended and is not gone on with. */
void window_snapshots_hint(Window *w);

/* window.c */
/* From any thread: an event for the window's. */
void window_push(Window *w, int code);

/* window_command.c */
void window_command(Window *w, WindowCommand command);
void window_drop(Window *w, const char *path);
void window_insert(Window *w, const char *id, const char *path, bool read_only);
void window_notice(Window *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void window_title(Window *w);
void window_disk_notice(Window *w);   /* which drive's image has failed, and what to do */
void window_engine_notice(Window *w); /* why the engine has failed, and what to do */
/* finding: only the search field */
void window_menu_open(Window *w, bool finding);
bool window_menu_ready(Window *w); /* false: nothing of ImGui can be drawn here */
void window_menu_refresh(Window *w);
void window_menu_act(Window *w, MenuAction action);

/* window_draw.c */
bool window_picture_update(Window *w); /* true: there is something new */
/* The renderer has lost its textures, or the picture's size is another. */
void window_picture_renew(Window *w);
void window_draw(Window *w);
void window_draw_free(Window *w);
/* A size that shows the picture in whole multiples and fits the desktop. */
void window_fit(Window *w);

#endif
