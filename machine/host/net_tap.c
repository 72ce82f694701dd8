/* A tap interface: the machine's frames as those of one of the host's own network interfaces. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/net_host_internal.h"

LOG_TAG("net");

enum { FRAMES_A_ROUND = 64 };

typedef struct TapNet {
    int fd, index;
} TapNet;

static NetSent tap_send(NetBackend *b, const uint8_t *frame, size_t size, bool may_wait)
{
    TapNet *t = b->state;
    ssize_t n = write(t->fd, frame, size); /* what does not go now is lost, as on a wire */
    (void)n;
    (void)may_wait;
    return NET_SENT;
}

static void tap_fill(NetBackend *b, uint32_t *timeout_ms)
{
    TapNet *t = b->state;
    (void)timeout_ms;
    t->index = net_in_room(b) ? net_poll_add(b, t->fd, POLLIN) : -1;
}

static void tap_polled(NetBackend *b)
{
    TapNet *t = b->state;
    uint8_t frame[NET_MAX_FRAME + 1];
    if (!net_poll_result(b, t->index)) {
        return;
    }
    for (unsigned i = 0; i < FRAMES_A_ROUND; i++) {
        ssize_t n = read(t->fd, frame, sizeof(frame));
        if (n <= 0) {
            return;
        }
        net_in(b, frame, (size_t)n);
    }
}

static void tap_close(NetBackend *b)
{
    TapNet *t = b->state;
    close(t->fd);
    free(t);
}

static const NetKind tap_kind = {tap_send, tap_fill, tap_polled, tap_close};

static int open_tap(const char *option, const NetTapSpec *spec, Err *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    if (spec->fd >= 0) {
        fcntl(spec->fd, F_SETFL, O_NONBLOCK);
        return spec->fd;
    }
    if (spec->ifname) {
        if (strlen(spec->ifname) >= IFNAMSIZ) {
            err_set(err, "%s: '%s' is too long for an interface's name", option, spec->ifname);
            return -1;
        }
        strcpy(request.ifr_name, spec->ifname);
    }
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        err_set(err,
                "%s: the tap interface cannot be opened (%s); make one for this user: ip tuntap "
                "add tap0 mode tap user $USER",
                option, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    log_info("tap interface %s", request.ifr_name);
    return fd;
}

bool net_host_tap(NetHost *host, const char *id, const char *option, const NetTapSpec *spec,
                  Err *err)
{
    TapNet *t = calloc(1, sizeof(*t));
    if (!t) {
        return err_set(err, "%s: out of memory", option);
    }
    t->fd = open_tap(option, spec, err);
    if (t->fd < 0 || !net_backend_new(host, id, option, &tap_kind, t, err)) {
        if (t->fd >= 0) {
            close(t->fd);
        }
        free(t);
        return false;
    }
    return true;
}
