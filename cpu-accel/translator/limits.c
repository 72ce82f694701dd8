/* Limits of segments, checked by loads that fault.
 *
 * A stretch of host address space can be read (it shows the host's one page of zeros), and what
 * lies around it cannot. For each segment there is an address to which the offset of an access is
 * added: for the last byte of the access the sum lies in that stretch exactly when the byte is
 * within the limit. Such a check is one load that nothing waits for, and touches no flags. Segments
 * of 64 KiB have a stretch of that size below each window, so that they need no such address.
 *
 *   claim        4 GiB   nothing: below the lower limit of an expand-down segment
 *   claim + 4G   4 GiB   readable
 *   claim + 8G  32 GiB   nothing: above a limit, and above all of a segment that gives no access
 */
#include <string.h>
#include <sys/mman.h>

#include "cpu-accel/translator/translator.h"

#define GIB (UINT64_C(1) << 30)

enum { CLAIM_GIB = 40, READABLE_GIB = 4, TRIES = 64 };

bool limits_open(Limits *l, Err *err)
{
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t place = UINT64_C(0x300000000000) + i * CLAIM_GIB * GIB;
        uint8_t *want = (uint8_t *)(uintptr_t)place; // NOLINT: an address is chosen
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        uint8_t *claim = mmap(want, CLAIM_GIB * GIB, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (claim == want &&
            mprotect(claim + READABLE_GIB * GIB, READABLE_GIB * GIB, PROT_READ) == 0) {
            l->claim = claim;
            memset(l->of, 0xff, sizeof(l->of)); /* no segment is like that */
            return true;
        }
        if (claim != MAP_FAILED) {
            munmap(claim, CLAIM_GIB * GIB);
        }
    }
    return err_set(err, "translator: no address space for checks; use -accel interpreter");
}

void limits_close(Limits *l)
{
    if (l->claim) {
        munmap(l->claim, CLAIM_GIB * GIB);
        l->claim = NULL;
    }
}

void limits_set(Limits *l, Cpu *cpu, int mode)
{
    const uintptr_t first = (uintptr_t)l->claim + READABLE_GIB * GIB,
                    end = first + READABLE_GIB * GIB;
    for (unsigned i = ES; i < SEG_COUNT; i++) {
        const SegReg *s = &cpu->seg[i];
        if (l->of[i].limit == s->limit && l->of[i].access == s->access) {
            continue;
        }
        l->of[i].limit = s->limit;
        l->of[i].access = s->access;
        bool code = s->access & SEG_CODE, usable = !(s->access & SEG_UNUSABLE);
        bool read = usable && (!code || s->access & SEG_WRITABLE);
        bool write = usable && !code && s->access & SEG_WRITABLE;
        uint64_t room = (uint64_t)s->limit + 1, below = 0;
        if (!code && s->access & SEG_EXPAND_DOWN) {
            below = room;
            room = s->access & SEG_BIG ? UINT64_C(1) << 32 : 0x10000;
        }
        cpu->scratch[SCRATCH_READ + i] = read ? end - room : end;
        cpu->scratch[SCRATCH_WRITE + i] = write ? end - room : end;
        cpu->scratch[SCRATCH_LOW + i] = first - below;
    }
    if (mode & MODE_CS_BASED) {
        cpu->scratch[SCRATCH_CODE] = end - ((uint64_t)cpu->seg[CS].limit + 1);
    }
}
