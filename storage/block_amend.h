/* Other options for images of the format VMDK that are there (qcow2.h has its own).
 */
#ifndef STORAGE_BLOCK_AMEND_H
#define STORAGE_BLOCK_AMEND_H

#include "storage/block.h"

typedef struct VmdkAmendment {
    const char *adapter;  /* "ide", "buslogic", "lsilogic", "legacyESX"; NULL: as it is */
    unsigned hardware;    /* virtual hardware version; 0: as it is */
    const char *backing;  /* another name of the same parent; NULL: as it is */
    bool any_backing;     /* which may lie outside the image's folder */
    bool set_zero_grains; /* whether grains can be known to be zeros: */
    bool zero_grains;
} VmdkAmendment;
/* Changes them in the image, opened no_backing, and closed then; what the guest sees stays. False
 * with the reason, and before anything is written, when the image is damaged or has not what is to
 * be changed. Cut off at any point it leaves each option as it was or as it is to be. */
bool vmdk_amend(Block *b, const VmdkAmendment *what, Err *err);

#endif
