/* Guests that wait without halting.
 *
 * INT 28h is DOS's own idle call, INT 2Fh AX=1680h and INT 2Ah AH=84h are said by programs that
 * have nothing to do (Ralf Brown's Interrupt List). Programs that only poll are told by their pace:
 * many polls in a row, in less time than any work between them would take. Naps grow while nothing
 * else happens, so that a game which polls once a frame, or draws between two polls, is never held
 * up; an interrupt ends each of them.
 */
#include "cpu-accel/x86/idle.h"

enum {
    BURST = 32,         /* polls in a row ... */
    BURST_NS = 1000000, /* ... in so much guest time */
    NAP_NS = 1000000,   /* first nap of a poller */
    MAX_DOUBLINGS = 3,
    IDLE_NAP_NS = 10000000, /* of one that says it is idle; twice as much if it says so again ... */
    SOON_NS = 300000,       /* ... so soon after */
};

static void ask(Cpu *cpu, int64_t ns)
{
    cpu->idle.nap_ns = ns;
    atomic_store(&cpu->attention, true);
}

/* To be asked by what the guest does alone: engine check's other processor, which takes no naps,
 * must ask as often. */
static int64_t time_of(const Cpu *cpu)
{
    return cpu->tap ? cpu->tap->now(cpu->tap->self) : clock_peek(&cpu->board->clock);
}

/* It says that it is idle. */
static void rest(Cpu *cpu)
{
    bool again = time_of(cpu) - cpu->idle.woken < SOON_NS;
    ask(cpu, (int64_t)IDLE_NAP_NS << (again ? cpu->idle.rests : 0));
    cpu->idle.rests = !again                            ? 1
                      : cpu->idle.rests < MAX_DOUBLINGS ? cpu->idle.rests + 1
                                                        : cpu->idle.rests;
}

static void polled(Cpu *cpu)
{
    int64_t now = time_of(cpu);
    if (cpu->idle.polls++ == 0) {
        cpu->idle.since = now;
    }
    if (cpu->idle.polls < BURST) {
        return;
    }
    if (now - cpu->idle.since < BURST_NS) {
        ask(cpu, (int64_t)NAP_NS << cpu->idle.streak);
        if (cpu->idle.streak < MAX_DOUBLINGS) {
            cpu->idle.streak++;
        }
    } else {
        cpu->idle.streak = 0;
    }
    cpu->idle.polls = 0;
}

static bool dos_polls(uint8_t ah, uint8_t dl)
{
    return ah == 0x0b || (ah == 0x06 && dl == 0xff) || ah == 0x2c;
}

void idle_software_int(Cpu *cpu, uint8_t vector)
{
    uint16_t ax = (uint16_t)cpu->reg[EAX];
    uint8_t ah = (uint8_t)(ax >> 8);
    switch (vector) {
    case 0x28:
        rest(cpu);
        return;
    case 0x2a:
        if (ah == 0x84) {
            rest(cpu);
        }
        return;
    case 0x2f:
        if (ax == 0x1680) {
            rest(cpu);
        }
        return;
    case 0x16:
        if (ah == 0x01 || ah == 0x11) {
            polled(cpu);
        } else if (ah == 0x00 || ah == 0x10) {
            idle_busy(cpu); /* took a key, or waits for one by halting */
        }
        return;
    case 0x1a:
        if (ah == 0x00) {
            polled(cpu);
        }
        return;
    case 0x21:
        if (dos_polls(ah, (uint8_t)cpu->reg[EDX])) {
            polled(cpu);
        } else {
            idle_busy(cpu);
        }
        return;
    case 0x1c: /* the timer interrupt's own, which goes on while a guest waits */
        return;
    default:
        idle_busy(cpu);
    }
}

int64_t idle_take(Cpu *cpu)
{
    int64_t ns = cpu->idle.nap_ns;
    cpu->idle.nap_ns = 0;
    return ns;
}

void idle_woke(Cpu *cpu)
{
    cpu->idle.woken = clock_peek(&cpu->board->clock);
}
