/* Disk image files of the host: whole reads and writes at an offset, holes, locks, temporary files.
 *
 * Locks are open-file-description locks on the bytes that QEMU uses (its
 * docs/system/qemu-block-drivers, "Disk image file locking"): byte 100 + n is held shared by
 * whoever uses permission n, byte 200 + n by whoever will not share it, so that each program sees
 * the other.
 */
#include "machine/host/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/log.h"

LOG_TAG("block");

enum {
    LOCK_USED_BASE = 100,
    LOCK_UNSHARED_BASE = 200,
    PERM_READ = 0, /* permissions: consistent read, write, resize */
    PERM_WRITE = 1,
    PERM_RESIZE = 3,
};

static int fault(const DiskFile *f, const char *call)
{
    return f->faults && f->faults->check ? f->faults->check(f->faults->self, call) : 0;
}

static bool lock_byte(int fd, int byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Does another open file hold this byte? */
static bool byte_taken(int fd, int byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool take_locks(const DiskFile *f, const char *path, Err *err)
{
    static const int unshared[] = {PERM_WRITE, PERM_RESIZE};
    static const int used[] = {PERM_READ, PERM_WRITE, PERM_RESIZE};
    unsigned used_count = f->writable ? 3 : 1;
    for (unsigned i = 0; i < used_count; i++) {
        if (!lock_byte(f->fd, LOCK_USED_BASE + used[i])) {
            log_warn("'%s' cannot be locked (%s); take care that nothing else writes it", path,
                     strerror(errno));
            return true;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!lock_byte(f->fd, LOCK_UNSHARED_BASE + unshared[i])) {
            log_warn("'%s' cannot be locked (%s); take care that nothing else writes it", path,
                     strerror(errno));
            return true;
        }
    }
    bool taken = false;
    for (unsigned i = 0; i < used_count; i++) {
        taken |= byte_taken(f->fd, LOCK_UNSHARED_BASE + used[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        taken |= byte_taken(f->fd, LOCK_USED_BASE + unshared[i]);
    }
    return !taken || err_set(err,
                             "'%s' is in use by another program; close that first, or open the "
                             "image with snapshot=on from a copy",
                             path);
}

/* A new file's folder is missing. */
static bool no_folder(const char *path, Err *err)
{
    const char *slash = strrchr(path, '/');
    return err_set(err, "'%.*s': there is no such folder; make it, or name another",
                   slash && slash > path ? (int)(slash - path) : 1, slash ? path : ".");
}

static bool open_failed(const char *path, bool write, int error, Err *err)
{
    switch (error) {
    case ENOENT:
        return err_set(err, "'%s': no such file; check the name", path);
    case EACCES:
    case EPERM:
        return err_set(err,
                       write ? "'%s' cannot be written (%s); give it write permission, or use "
                               "readonly=on or snapshot=on"
                             : "'%s' cannot be read (%s); give it read permission",
                       path, strerror(error));
    case EEXIST:
        return err_set(err, "'%s' is there already; take another name, or remove it", path);
    case EROFS:
        return err_set(err, "'%s' is on a read-only file system; use readonly=on or snapshot=on",
                       path);
    case EISDIR:
        return err_set(err, "'%s' is a folder; name an image file", path);
    default:
        return err_set(err, "'%s' cannot be opened: %s", path, strerror(error));
    }
}

static bool check_kind(DiskFile *f, const char *path, Err *err)
{
    struct stat st;
    int error = fault(f, "stat");
    if (error || fstat(f->fd, &st) != 0) {
        return err_set(err, "'%s' cannot be examined: %s", path, strerror(error ? error : errno));
    }
    if (S_ISDIR(st.st_mode)) {
        return open_failed(path, false, EISDIR, err);
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return err_set(err, "'%s' is neither a file nor a disk; name an image file", path);
    }
    f->device = S_ISBLK(st.st_mode);
    return true;
}

static bool open_path(DiskFile *f, const char *path, const DiskFileOptions *options, int flags,
                      Err *err)
{
    *f = (DiskFile){.fd = -1, .writable = options->write, .faults = options->faults};
    /* O_NONBLOCK: a pipe without a writer must not hold us up before its kind is known. */
    flags |= O_CLOEXEC | O_NONBLOCK;
    int error = fault(f, "open");
    if (!error) {
        f->fd = open(path, flags | (f->writable ? O_RDWR : O_RDONLY), 0666);
        error = f->fd < 0 ? errno : 0;
    }
    if (error && options->write && options->or_read_only && !(flags & O_CREAT) &&
        (error == EACCES || error == EPERM || error == EROFS)) {
        log_info("'%s' is write-protected: %s", path, strerror(error));
        f->writable = false;
        f->fd = open(path, flags | O_RDONLY);
        error = f->fd < 0 ? errno : 0;
    }
    if (error) {
        return error == ENOENT && (flags & O_CREAT) ? no_folder(path, err)
                                                    : open_failed(path, f->writable, error, err);
    }
    if (!check_kind(f, path, err) || (options->lock && !take_locks(f, path, err))) {
        disk_file_close(f);
        return false;
    }
    return true;
}

bool disk_file_open(DiskFile *f, const char *path, const DiskFileOptions *options, Err *err)
{
    return open_path(f, path, options, 0, err);
}

bool disk_file_create(DiskFile *f, const char *path, const DiskFileOptions *options, Err *err)
{
    return open_path(f, path, options, O_CREAT | O_EXCL, err);
}

bool disk_file_open_temporary(DiskFile *f, const DiskFaults *faults, Err *err)
{
    const char *folder = getenv("TMPDIR");
    folder = folder && folder[0] ? folder : "/var/tmp";
    *f = (DiskFile){.fd = -1, .writable = true, .faults = faults};
    int error = fault(f, "open");
    if (!error) {
        f->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        error = f->fd < 0 ? errno : 0;
    }
    if (error == EOPNOTSUPP || error == EISDIR) { /* a file system without nameless files */
        char name[PATH_MAX];
        snprintf(name, sizeof(name), "%s/vitrine-XXXXXX", folder);
        f->fd = mkostemp(name, O_CLOEXEC);
        error = f->fd < 0 ? errno : 0;
        if (!error) {
            unlink(name);
        }
    }
    return !error || err_set(err,
                             "no temporary file can be made in '%s': %s; set TMPDIR to a folder "
                             "with room",
                             folder, strerror(error));
}

void disk_file_close(DiskFile *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
    }
}

int disk_file_size(const DiskFile *f, uint64_t *size)
{
    int error = fault(f, "size");
    if (error) {
        return error;
    }
    if (f->device) {
        return ioctl(f->fd, BLKGETSIZE64, size) == 0 ? 0 : errno;
    }
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return errno;
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

int disk_file_read(const DiskFile *f, uint64_t offset, void *data, size_t length)
{
    uint8_t *at = data;
    int error = fault(f, "read");
    if (error) {
        return error;
    }
    if (offset > INT64_MAX - length) {
        return EINVAL;
    }
    while (length) {
        ssize_t got = pread(f->fd, at, length, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : EIO;
        }
        at += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int disk_file_write(const DiskFile *f, uint64_t offset, const void *data, size_t length)
{
    const uint8_t *at = data;
    int error = fault(f, "write");
    if (error) {
        return error;
    }
    if (offset > INT64_MAX - length) {
        return EFBIG;
    }
    while (length) {
        ssize_t put = pwrite(f->fd, at, length, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put < 0 ? errno : EIO;
        }
        at += put;
        offset += (uint64_t)put;
        length -= (size_t)put;
    }
    return 0;
}

void disk_file_send(const DiskFile *f)
{
    (void)sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int disk_file_sync(const DiskFile *f)
{
    int error = fault(f, "sync");
    return error ? error : fdatasync(f->fd) == 0 ? 0 : errno;
}

int disk_file_resize(const DiskFile *f, uint64_t size)
{
    int error = fault(f, "resize");
    if (error) {
        return error;
    }
    return size > INT64_MAX ? EFBIG : ftruncate(f->fd, (off_t)size) == 0 ? 0 : errno;
}

int disk_file_punch(const DiskFile *f, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[65536];
    int error = fault(f, "punch");
    if (error) {
        return error;
    }
    if (offset > INT64_MAX - length) {
        return EINVAL;
    }
    static const int ways[] = {FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
    for (unsigned i = 0; i < 2; i++) {
        if (fallocate(f->fd, ways[i] | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0) {
            return 0;
        }
    }
    while (length && !error) {
        size_t part = length < sizeof(zeros) ? (size_t)length : sizeof(zeros);
        error = disk_file_write(f, offset, zeros, part);
        offset += part;
        length -= part;
    }
    return error;
}

static int allocate(const DiskFile *f, int mode, uint64_t offset, uint64_t length)
{
    int error = fault(f, "punch");
    if (error || f->device || offset > INT64_MAX - length) {
        return error ? error : f->device ? ENOTSUP : EINVAL;
    }
    do {
        error = fallocate(f->fd, mode, (off_t)offset, (off_t)length) == 0 ? 0 : errno;
    } while (error == EINTR);
    return error == EOPNOTSUPP ? ENOTSUP : error;
}

int disk_file_give_back(const DiskFile *f, uint64_t offset, uint64_t length)
{
    return allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int disk_file_reserve(const DiskFile *f, uint64_t offset, uint64_t length)
{
    return allocate(f, 0, offset, length);
}

int disk_file_extent(const DiskFile *f, uint64_t offset, bool *data, uint64_t *length)
{
    uint64_t size = 0;
    int error = fault(f, "extent");
    error = error ? error : disk_file_size(f, &size);
    if (error) {
        return error;
    }
    *data = true;
    *length = size > offset ? size - offset : 0;
    off_t next = lseek(f->fd, (off_t)offset, SEEK_DATA);
    if (next < 0) {
        if (errno == ENXIO) { /* nothing but a hole up to the end */
            *data = false;
        }
    } else if ((uint64_t)next > offset) {
        *data = false;
        *length = (uint64_t)next - offset;
    } else {
        off_t hole = lseek(f->fd, (off_t)offset, SEEK_HOLE);
        if (hole > next) {
            *length = (uint64_t)hole - offset;
        }
    }
    return 0;
}
