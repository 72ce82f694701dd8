/* A port that is a socket's client with reconnect=: it calls until somebody answers, and again when
 * he has gone; not sooner than that time after the last call.
 */
#include "machine/host/char_host_internal.h"
#include "machine/host/host_time.h"

static void put_off(CharBackend *b)
{
    int64_t wait = socket_call_has_more(&b->call) && b->read_fd < 0 ? 0 : b->socket.reconnect;
    b->call_at = host_time_ns() + wait * INT64_C(1000000000);
}

int64_t char_call_tend(CharBackend *b)
{
    bool idle = b->socket.reconnect && b->call.fd < 0 && b->read_fd < 0 &&
                !(b->telnet && b->telnet->closing);
    int64_t now = host_time_ns();
    if (idle && now >= b->call_at && !socket_call_begin(&b->call, &b->socket)) {
        put_off(b);
    }
    return idle && b->call.fd < 0 ? b->call_at : INT64_MAX;
}

int char_call_end(CharBackend *b)
{
    int fd = socket_call_end(&b->call);
    put_off(b);
    return fd;
}
