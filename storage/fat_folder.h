/* A folder of the host as a disk with a FAT file system: "fat:PATH", "fat:floppy:PATH".
 */
#ifndef STORAGE_FAT_FOLDER_H
#define STORAGE_FAT_FOLDER_H

#include "storage/block_format.h"

/* Does this name mean a folder, not a file? */
bool fat_folder_named(const char *path);
/* Read only; block_open lays an overlay above it. NULL with err set. */
Block *fat_folder_open(const char *path, Err *err);

#endif
