/* The far end of a network cable, for tests of network cards. */
#include "tests/unit/wire.h"

#include <string.h>

#include "tests/unit/chip.h"

static void wire_send(void *backend, const uint8_t *frame, size_t size)
{
    Wire *w = backend;
    assert_true(size >= 14 && size <= NET_MAX_FRAME);
    memcpy(w->sent, frame, size);
    w->size = size;
    w->frames++;
}

static void wire_attach(void *backend, const NetSink *sink)
{
    ((Wire *)backend)->sink = *sink;
}

static void wire_ready(void *backend)
{
    ((Wire *)backend)->readies++;
}

static const NetOps wire_ops = {wire_send, wire_attach, wire_ready};

NetPort wire_port(Wire *w)
{
    return (NetPort){&wire_ops, w};
}

bool wire_arrives(Wire *w, const uint8_t *to, size_t size, uint8_t fill)
{
    uint8_t frame[NET_MAX_FRAME + 1];
    memset(frame, fill, sizeof(frame));
    memcpy(frame, to, 6);
    return w->sink.receive(w->sink.self, frame, size);
}
