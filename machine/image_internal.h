/* Shared by the files of `vitrine image`.
 */
#ifndef MACHINE_IMAGE_INTERNAL_H
#define MACHINE_IMAGE_INTERNAL_H

#include <jansson.h>

#include "storage/block.h"
#include "storage/block_create.h"
#include "storage/qcow2.h"
#include "ui/value.h"

enum {
    IMAGE_OPTION_FORCE = 1,
    IMAGE_OPTION_OUTPUT,
    IMAGE_OPTION_BACKING,
    IMAGE_OPTION_SHRINK,
    IMAGE_OPTION_SIZE,
    IMAGE_OPTION_CHAIN,
    IMAGE_OPTION_SALVAGE,
    IMAGE_OPTION_START,
    IMAGE_OPTION_LENGTH,
};
enum { IMAGE_MAX_NAMES = 16 };

typedef struct ImageArgs {
    const char *verb;
    const char
        *option[128]; /* by letter or IMAGE_OPTION_; NULL: absent; "" where it has no value */
    const char *name[IMAGE_MAX_NAMES]; /* what is no option */
    unsigned names;
    bool json, progress;
    bool dense;       /* -S 0: zeros are written, too */
    uint64_t grain;   /* bytes found equal or not */
    uint64_t lost;    /* bytes that --salvage could not read */
    char words[2048]; /* of all -o */
    Err err;
} ImageArgs;

/* Each prints its result; a message in a->err and its own exit status when it fails. */
int image_create(ImageArgs *a);
int image_convert(ImageArgs *a);
int image_resize(ImageArgs *a);
int image_amend(ImageArgs *a);
int image_info(ImageArgs *a);
int image_check(ImageArgs *a);
int image_repair(ImageArgs *a);
int image_compare(ImageArgs *a);
int image_map(ImageArgs *a);
int image_snapshot(ImageArgs *a);
int image_commit(ImageArgs *a);
int image_rebase(ImageArgs *a);
int image_measure(ImageArgs *a);
int image_dd(ImageArgs *a);

/* image_look.c: a table, or JSON */
void image_list_snapshots(Block *b, bool json);

/* image_copy.c */

/* Opens with the format of letter (0: found out), and --backing; more: whatever else is wanted. */
Block *image_open(ImageArgs *a, const char *path, char letter, BlockOptions more);
/* -l NAME, or as QEMU writes it, snapshot.name=NAME or snapshot.id=ID: `from` reads as it was then
 * (image_make.c). True without -l. */
bool image_show_snapshot(ImageArgs *a, Block *from);

/* Two images side by side, a stretch at a time; the shorter reads as zeros behind its end. */
typedef struct ImageWalk {
    Block *a, *b; /* b may be NULL: zeros */
    uint64_t at, length, end;
    uint8_t *data, *other; /* of this stretch, unless `same` */
    bool same;             /* both read as zeros */
    bool a_data, b_data;   /* they take room there */
    bool all;              /* zeros are read, too */
} ImageWalk;
bool image_walk_begin(ImageWalk *w, Block *a, Block *b, uint64_t end, Err *err);
/* An errno value; the stretch is empty at the end. */
int image_walk_next(ImageWalk *w);
void image_walk_end(ImageWalk *w);

/* Writes to `to`, compressed, all units that `from` holds otherwise than `reference` (NULL: zeros).
 */
bool image_transfer_packed(ImageArgs *a, Block *from, Block *reference, Block *to);
/* Writes to `to` all that `from` holds otherwise than `reference` (NULL: zeros), with progress. */
bool image_transfer(ImageArgs *a, Block *from, Block *reference, Block *to);

/* A name beside `path` to write to until the image is whole. */
bool image_temporary_name(const char *path, char *name, size_t room, Err *err);
/* Gives the finished file its name: over an existing one only with --force. Removes it when that
 * fails. */
bool image_put_in_place(ImageArgs *a, const char *temporary, const char *path);
/* Messages about the file to be name the one that was asked for. */
void image_tell_name(ImageArgs *a, const char *temporary, const char *path);
/* False, with the remedy, when there is a file and no --force, or it is in use or no file. */
bool image_may_write(ImageArgs *a, const char *path);

/* image_new.c: what a new image is to be. */
typedef enum ImagePreallocation {
    IMAGE_PREALLOCATION_OFF,
    IMAGE_PREALLOCATION_METADATA,
    IMAGE_PREALLOCATION_FALLOC,
    IMAGE_PREALLOCATION_FULL,
} ImagePreallocation;

typedef struct NewImage {
    const char *format;
    Qcow2Options qcow2;
    VdiOptions vdi;
    VhdOptions vhd;
    VmdkOptions vmdk;
    const char *backing, *backing_format, *size;
    ImagePreallocation preallocation;
    char found_format[32];
    KeyValues words; /* of -o; the others point into it */
    bool has_words;
} NewImage;
bool image_new_take(ImageArgs *a, NewImage *n, const char *format);
void image_new_free(NewImage *n);
/* It is written compressed and in order. */
bool image_new_is_stream(const NewImage *n);
/* It consists of several files, which bear its name from the start. */
bool image_new_is_several(const NewImage *n);
/* name: what the file at `path` will be called in the end. */
bool image_new_make(const NewImage *n, const char *path, const char *name, uint64_t size, Err *err);
void image_new_remove(const NewImage *n, const char *path, uint64_t size);

/* image_make.c */
bool image_parse_size(ImageArgs *a, const char *text, uint64_t *size); /* whole sectors */
/* Where the new image is written: under a name of its own until it is whole, unless it is several
 * files, which know each other by name. */
bool image_new_begin(ImageArgs *a, const NewImage *n, const char *path, uint64_t size,
                     char *temporary, size_t room);
bool image_new_end(ImageArgs *a, const NewImage *n, const char *temporary, const char *path);

/* image_more.c */
/* To another place; what is zeros is left out: `to` is new. */
bool image_copy_part(ImageArgs *a, Block *from, uint64_t at, Block *to, uint64_t where,
                     uint64_t length);
/* convert: all names but the last, one behind the other. */
bool image_join(ImageArgs *a, const NewImage *n);

#endif
