/* Fuzzing of telnet and its com port option: bytes of input are what a peer sends, in pieces, and
 * what the guest does meanwhile.
 *
 * With clang's -fsanitize=fuzzer it is a libFuzzer target, which begins with the inputs that
 * FUZZ_SEEDS=FOLDER makes it write; with -DFUZZ_STANDALONE it makes its inputs itself: fuzz_telnet
 * [seconds [seed]], or runs the files named. FUZZ_LAST=FILE keeps the input that runs. Two of us
 * get the same bytes, one in pieces and one byte by byte, and must come to the same; what is said
 * is heard by a third, of the other side, to whom the guest's data come through whatever the peer
 * did, and the guest's lines as they are. The answers are bounded by what came, and between two of
 * us the talk ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/char_port.h"
#include "machine/host/telnet.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_loop.h"

enum {
    INPUT_MAX = 8192,
    PIECE = 256,
    ANSWER_MOST = 16, /* bytes said for one that came: a signature for 6 is 15 */
    OPENING = 25000,  /* and besides: what can be had by "are you there" and by options */
    ROUNDS = 40,
};

typedef struct End {
    Telnet t;
    ComPort com;
} End;

typedef struct Rig {
    End whole, single, other;
    bool com, tight, masked;
    uint8_t sent[INPUT_MAX * 2], got[INPUT_MAX * 2]; /* data of the guest, here and there */
    size_t sent_size, got_size;
    size_t heard, said;
} Rig;

static void require(bool true_, const char *what)
{
    if (!true_) {
        fprintf(stderr, "telnet: %s\n", what);
        abort();
    }
}

static void start(End *e, const Rig *r, TelnetMode mode, TelnetRole role)
{
    e->t.com = r->com ? &e->com : NULL;
    com_port_frame(&e->com, 9600, 8, 'N', 1);
    com_port_lines(&e->com, COM_DTR | COM_RTS, 0);
    telnet_start(&e->t, mode, role);
}

static void check(const End *e)
{
    const ComPort *c = &e->com;
    require(e->t.count <= TELNET_WIRE && e->t.at < TELNET_WIRE, "the wire is too full");
    require(e->t.sub_size <= sizeof(e->t.sub), "a command is too long");
    require(c->inputs <= 15 && c->lines <= 7 && c->remote <= 7 && c->told <= 7, "no such line");
    require(!c->port.data_bits || (c->port.data_bits >= 5 && c->port.data_bits <= 8), "data bits");
    require(c->port.parity <= 5 && c->port.stop_bits <= 3 && c->purge <= 3, "settings");
}

/* All that waits for the socket, to `to`, which says what it likes to nobody. */
static size_t take_wire(End *e, uint8_t *out)
{
    size_t all = 0, size;
    telnet_tell(&e->t);
    for (const uint8_t *from; (from = telnet_waiting(&e->t, &size)) != NULL; all += size) {
        memcpy(out + all, from, size);
        telnet_sent(&e->t, size);
    }
    return all;
}

static bool guests_byte(uint8_t byte)
{
    return byte == 0xff || (byte >= 'A' && byte <= 'X');
}

static void drain(Rig *r)
{
    uint8_t wire[TELNET_WIRE * 2], again[TELNET_WIRE * 2], data[TELNET_WIRE * 2 + TELNET_HELD];
    bool same = r->whole.t.count == r->single.t.count;
    r->tight |= r->whole.t.count > TELNET_WIRE - 500;
    size_t size = take_wire(&r->whole, wire), n = take_wire(&r->single, again);
    require(same && n == size && memcmp(wire, again, n) == 0,
            "pieces make a difference to answers");
    r->said += size;
    n = telnet_decode(&r->other.t, wire, size, data);
    for (size_t i = 0; i < n && r->got_size < sizeof(r->got); i++) {
        if (guests_byte(data[i])) { /* the rest is "Yes" */
            r->got[r->got_size++] = data[i];
        }
    }
    take_wire(&r->other, again);
    if (r->com && !r->tight && !r->masked && r->whole.com.on && r->other.com.on &&
        r->other.com.heard) {
        uint8_t lines = r->whole.com.lines;
        require(r->other.com.inputs == ((lines & COM_RTS ? CHAR_CTS : 0) |
                                        (lines & COM_DTR ? CHAR_DSR | CHAR_DCD : 0)),
                "the other side has other lines");
    }
}

static void hear(Rig *r, const uint8_t *in, size_t size)
{
    uint8_t out[PIECE + TELNET_HELD], again[PIECE + TELNET_HELD * 2];
    size_t n = telnet_decode(&r->whole.t, in, size, out), m = 0;
    require(n <= size + TELNET_HELD, "more data than came");
    r->heard += size;
    for (size_t i = 0; i < size; i++) {
        m += telnet_decode(&r->single.t, in + i, 1, again + m);
        r->masked |= r->com && r->single.com.modem != 0xff;
        require(m <= i + 1 + TELNET_HELD, "more data than came, byte by byte");
    }
    require(n == m && memcmp(out, again, n) == 0, "pieces make a difference to data");
    require(r->whole.com.inputs == r->single.com.inputs &&
                r->whole.com.flickered == r->single.com.flickered &&
                r->whole.com.suspended == r->single.com.suspended &&
                r->whole.com.broke == r->single.com.broke && r->whole.t.state == r->single.t.state,
            "pieces make a difference to lines");
    check(&r->whole);
    check(&r->single);
}

static void send_data(Rig *r, Input *in)
{
    uint8_t data[64];
    size_t size = take(in) % sizeof(data), room = telnet_room(&r->whole.t);
    require(room == telnet_room(&r->single.t), "pieces make a difference to room");
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = take(in);
        data[i] = byte & 1 ? 0xff : (uint8_t)('A' + byte % 24);
    }
    size = size < room ? size : room;
    size = size < sizeof(r->sent) - r->sent_size ? size : sizeof(r->sent) - r->sent_size;
    telnet_encode(&r->whole.t, data, size);
    telnet_encode(&r->single.t, data, size);
    memcpy(r->sent + r->sent_size, data, size);
    r->sent_size += size;
}

static void guest_acts(Rig *r, Input *in)
{
    uint8_t what = take(in), lines = take(in);
    End *const ends[2] = {&r->whole, &r->single};
    for (unsigned i = 0; i < 2; i++) {
        if (what & 1) {
            com_port_lines(&ends[i]->com, lines & 7, lines >> 4 & 7);
        }
        if (what & 2) {
            com_port_frame(&ends[i]->com, lines * 300u, lines % 12, "NOEMSX"[lines % 6], lines % 4);
        }
        if (what & 4) {
            telnet_break(&ends[i]->t);
        }
        com_port_pause(&ends[i]->com, what & 16);
        if (what & 8) { /* what who decodes clears */
            ends[i]->com.purge = ends[i]->com.flickered = 0;
            ends[i]->com.broke = ends[i]->t.broke = false;
        }
    }
}

static void settle(Rig *r)
{
    uint8_t wire[TELNET_WIRE * 2], data[TELNET_WIRE * 2 + TELNET_HELD];
    unsigned quiet = 0, rounds = 0;
    for (; quiet < 2 && rounds < ROUNDS; rounds++) {
        End *from = rounds & 1 ? &r->other : &r->whole, *to = rounds & 1 ? &r->whole : &r->other;
        size_t size = take_wire(from, wire);
        telnet_decode(&to->t, wire, size, data);
        quiet = size ? 0 : quiet + 1;
    }
    require(rounds < ROUNDS, "the talk has no end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Rig *r;
    Input in = {data, data + size};
    if (size < 3 || size > INPUT_MAX || (!r && !(r = calloc(1, sizeof(*r))))) {
        return 0;
    }
    fuzz_silence();
    memset(r, 0, sizeof(*r));
    uint8_t style = take(&in);
    TelnetRole role = style & 1 ? TELNET_CALLED : TELNET_CALLER;
    TelnetMode mode = style & 2 ? TELNET_AUTO : TELNET_ON;
    r->com = mode == TELNET_ON && !(style & 4);
    start(&r->whole, r, mode, role);
    start(&r->single, r, mode, role);
    start(&r->other, r, TELNET_ON, role == TELNET_CALLED ? TELNET_CALLER : TELNET_CALLED);
    while (in.at < in.end) {
        uint8_t what = take(&in);
        size_t n = what % 128 + 1u, left = (size_t)(in.end - in.at);
        if (what < 0xc0) {
            n = n < left ? n : left;
            hear(r, in.at, n);
            in.at += n;
        } else if (what < 0xd0) {
            if (r->whole.t.mode == TELNET_ON) { /* who is undecided would send it plain */
                send_data(r, &in);
            }
        } else if (what < 0xf0) {
            guest_acts(r, &in);
        } else {
            drain(r);
        }
    }
    uint8_t held[TELNET_HELD];
    drain(r);
    require(r->sent_size == r->got_size && memcmp(r->sent, r->got, r->got_size) == 0,
            "the guest's data did not come through");
    require(r->said <= r->heard * ANSWER_MOST + size * 40 + OPENING, "too much is said");
    if (r->whole.t.mode == TELNET_ON && r->whole.t.state == 0) {
        settle(r);
    }
    require(telnet_finish(&r->whole.t, held) <= TELNET_HELD, "too much was held back");
    return 0;
}

static bool write_seed(const char *folder, unsigned number, const void *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/telnet-%u", folder, number);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(bytes, 1, size, file) == size;
    return file && fclose(file) == 0 && good;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    /* a server and its client's words; a client and its server's; a caller by AUTO */
    static const char server[] =
        "\1\4\377\373,\377\360\377\5\377\372,\5\11\377\360\17\377\372,\1\0\0\45\200\377\360"
        "\377\372,\13\377\377\377\360\377\320\1\23\305\5abcdef\12\377\372,\14\2\377\360\377\372,\0"
        "\377\360\377\320\11\0\377\4\377\374,\377\366";
    static const char client[] =
        "\0\4\377\375,\377\360\377\7\377\372,k\260\377\360\320\3\21\377\6\377\372,l\377\360"
        "\320\1\46\6\377\372,m\377\360\10\377\372,j\20\377\360z\305\4wxyz\377\4\377\373\1\377\361";
    static const char caller[] = "\2\3abc\2\377\373\1\4\377\372\30\1\377\5\360\r\0x\r\304\3abc\377";
    const char *seeds = getenv("FUZZ_SEEDS");
    (void)argc, (void)argv;
    if (seeds) {
        exit(write_seed(seeds, 0, server, sizeof(server)) &&
                     write_seed(seeds, 1, client, sizeof(client)) &&
                     write_seed(seeds, 2, caller, sizeof(caller))
                 ? 0
                 : 1);
    }
    return 0;
}

#ifdef FUZZ_STANDALONE
/* Commands, whole and broken, between noise and the guest's doings. */
static size_t make(uint64_t *random, uint8_t *data, size_t room)
{
    static const char *const words[] = {"\377\373,", "\377\374,", "\377\375,", "\377\376,",
                                        "\377\372,", "\377\360",  "\377\377",  "\377\366",
                                        "\377\363",  "\r",        "x"};
    size_t size = 1, most = 20 + fuzz_random(random) % (room - 20);
    data[0] = (uint8_t)fuzz_random(random);
    while (size + 24 < most) {
        uint64_t dice = fuzz_random(random);
        if (dice % 3 == 0) {
            data[size++] = (uint8_t)(0xc0 | dice >> 8);
            continue;
        }
        size_t at = size++;
        for (unsigned i = 0; i < 1 + (dice >> 16 & 3); i++) {
            uint64_t more = fuzz_random(random);
            const char *word = words[more % (sizeof(words) / sizeof(words[0]))];
            memcpy(data + size, word, strlen(word));
            size += strlen(word);
            data[size] = (uint8_t)((more >> 8 & 1 ? more >> 16 : more >> 16 & 15) +
                                   (more >> 9 & 1 ? 100 : 0));
            size++;
        }
        data[at] = (uint8_t)(size - at - 2);
    }
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t data[INPUT_MAX];
    LLVMFuzzerInitialize(&argc, &argv);
    return fuzz_loop(argc, argv, data, sizeof(data), make, LLVMFuzzerTestOneInput, 1000);
}
#endif
