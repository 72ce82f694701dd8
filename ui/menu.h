/* The menu inside the window, drawn with Dear ImGui behind this C interface. */
#ifndef UI_MENU_H
#define UI_MENU_H

#include <SDL.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MENU_MAX_DRIVES = 8, MENU_MAX_FILES = 2000, MENU_MAX_SNAPSHOTS = 64, MENU_PATH = 1024 };

typedef enum MenuAction {
    MENU_NONE,
    MENU_PAUSE, /* or resume */
    MENU_RESET,
    MENU_POWER,
    MENU_CTRL_ALT_DEL,
    MENU_SCREENSHOT,
    MENU_RECORD, /* or stop */
    MENU_FULL_SCREEN,
    MENU_SCALING,
    MENU_SCANLINES,
    MENU_VOLUME, /* volume */
    MENU_COPY,
    MENU_PASTE,
    MENU_FIND,        /* opens the search field */
    MENU_FIND_EDITED, /* find */
    MENU_FIND_NEXT,
    MENU_ENGINE,          /* engine_chosen */
    MENU_SPEED,           /* speed_chosen */
    MENU_INSERT,          /* drive, path, read_only */
    MENU_EJECT,           /* drive */
    MENU_CHOOSE,          /* drive: begins to choose a file for it */
    MENU_CHOOSE_END,      /* without one */
    MENU_FILE_CHOSEN,     /* file_chosen: a file for the drive, or a folder to go to */
    MENU_SNAPSHOT_SAVE,   /* snapshot_name; empty: a new one */
    MENU_SNAPSHOT_CHOSEN, /* snapshot_chosen */
    MENU_SNAPSHOT_LOAD,
    MENU_SNAPSHOT_DELETE,
    MENU_CLOSE,
    MENU_QUIT
} MenuAction;

typedef struct MenuDrive {
    char id[32];
    char label[48];       /* for people */
    char file[MENU_PATH]; /* empty: no medium */
    char path[MENU_PATH]; /* what the user has typed */
    bool read_only;
} MenuDrive;

typedef struct MenuSnapshot {
    char name[64], when[32];
} MenuSnapshot;

/* What lies in a folder; the first is the folder above. */
typedef struct MenuFile {
    char *name;
    bool folder;
} MenuFile;

/* What the menu shows, and what the user has chosen. */
typedef struct MenuModel {
    const char *title, *host_key;
    bool paused, full_screen, scanlines, recording;
    unsigned scaling; /* ScalingMode */
    int volume;       /* percent; below 0: there is no sound */
    char engine[32];  /* that runs */
    const char *engine_chosen;
    char speed[24], speed_chosen[24];
    const char *speeds; /* to choose from: a line each; what has a blank in it is none */
    bool finding;       /* only the search field is to be seen */
    char find[128], found[64];
    bool find_low;    /* below the middle: the match is above */
    char notice[300]; /* the last outcome */
    MenuDrive drive[MENU_MAX_DRIVES];
    unsigned drives;
    MenuSnapshot snapshot[MENU_MAX_SNAPSHOTS]; /* the newest first */
    unsigned snapshots, snapshot_chosen;
    bool reset_asked, quit_asked, save_asked, load_asked,
        delete_asked;       /* the second time it is done */
    char snapshot_name[64]; /* what the user has typed */
    SDL_Texture *thumb;     /* of the one that is chosen; NULL: none */
    unsigned chosen;        /* the drive that something is done to */
    bool choosing;          /* a file for that drive: nothing else is to be seen */
    char folder[MENU_PATH]; /* whose files are shown */
    MenuFile *file;
    unsigned files, file_chosen;
} MenuModel;

typedef struct Menu Menu;

/* NULL: no memory, or the renderer cannot draw it. */
Menu *menu_new(SDL_Window *window, SDL_Renderer *renderer);
void menu_free(Menu *menu);
void menu_event(Menu *menu, const SDL_Event *event);
/* Draws one frame over what the renderer holds. opened: it was not to be seen before. */
MenuAction menu_draw(Menu *menu, MenuModel *model, bool opened);
/* Draws one frame with nothing but a line of text at the lower edge. */
void menu_toast(Menu *menu, const char *text);

#ifdef __cplusplus
}
#endif

#endif
