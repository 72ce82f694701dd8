/* Shared by the files of a folder that is shown as a FAT disk.
 */
#ifndef STORAGE_FAT_INTERNAL_H
#define STORAGE_FAT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/core/err.h"

enum {
    FAT_MAX_NODES = 65536, /* files and folders together */
    FAT_MAX_DEPTH = 24,
    FAT_MAX_SLOTS = 65536, /* entries of a folder: what the file system allows */
    FAT_SLOT = 32,         /* bytes of an entry */
    FAT_LONG_UNITS = 255,  /* UTF-16 units of a long name */
    FAT_UNITS_A_SLOT = 13,
};

/* A file or folder as it was when the disk was made. Children of a folder are neighbours. */
typedef struct FatNode {
    char *name; /* the host's, one part of its path; of the root NULL */
    uint32_t parent;
    bool folder, warned;
    uint8_t depth;
    uint8_t alias[11];   /* the short name, as it stands in an entry */
    uint16_t *long_name; /* NULL: the alias says it all */
    uint16_t long_units;
    uint32_t slot;                   /* of its first entry in its folder */
    uint32_t child, children, slots; /* of a folder: nodes, entries in all */
    uint32_t size;                   /* of a file, bytes */
    uint32_t first, clusters;        /* its place; first 0: none */
    uint16_t date, time;             /* as FAT has them */
    int64_t modified;                /* ns */
} FatNode;

typedef struct FatTree {
    int root; /* the folder, open; -1: none */
    char *path;
    FatNode *node;
    uint32_t nodes, room;
    bool long_names; /* false: short names alone */
} FatTree;

/* Reads the folder with all that is in it. What cannot be shown is left out with a warning. */
bool fat_tree_read(FatTree *t, const char *path, Err *err);
void fat_tree_free(FatTree *t);
/* Opens a file of the tree for reading, whatever has become of it: an fd, or -1 with errno set.
 * Never outside the folder. */
int fat_tree_open(const FatTree *t, uint32_t node);

/* fat_names.c: short and long names for the children of a folder. False: no memory. */
bool fat_name_children(FatTree *t, uint32_t folder);

#endif
