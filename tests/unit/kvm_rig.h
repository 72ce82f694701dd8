/* A KVM engine on a fake kernel: what a test says comes back from KVM_RUN, and what the engine set.
 */
#ifndef TESTS_UNIT_KVM_RIG_H
#define TESTS_UNIT_KVM_RIG_H

#include "cpu-accel/kvm/kvm_internal.h"
#include "tests/unit/chip.h"

enum {
    SYSTEM_FD = 100,
    VM_FD,
    VCPU_FD,
    RAM_SIZE = 0x400000,
    PAGES = 3, /* of kvm_run: itself, data, the ring of collected writes */
    MOST_STEPS = 64,
    MOST_NOTES = 256,
};

typedef struct Fixture Fixture;

/* What the fake kernel answers to one KVM_RUN. */
typedef struct Step {
    int error;           /* 0, or an errno */
    struct kvm_run exit; /* exit_reason and its part of the union are copied */
    uint8_t data[64];    /* for ports: what stands at data_offset */
    void (*before)(Fixture *f);
} Step;

struct Fixture {
    Board *b;
    Cpu *cpu;
    Accel a;
    KvmSys sys;
    RamBlock *ram, *rom;
    IoRange *rom_range;
    bool attached;
    /* the fake kernel */
    uint8_t run[PAGES * 4096] __attribute__((aligned(4096)));
    int open_error, vm_error, api;
    bool old; /* offers nothing but the least */
    Step step[MOST_STEPS];
    unsigned steps, at, entered, finished;
    struct kvm_userspace_memory_region slot[KVM_SLOTS];
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_sregs2 sregs2;
    uint32_t xsave[1024]; /* struct kvm_xsave, which has no fixed end */
    struct kvm_fpu fpu;
    struct kvm_debugregs debug;
    struct kvm_vcpu_events events;
    uint64_t msr[0x400];
    uint64_t pvclock, clock;
    uint32_t debug_control;
    bool no_debug, debug_at_finish;
    uint32_t filtered; /* the MSR that comes to us */
    int tsc_khz;       /* 0: the kernel does not say */
    bool tsc_control;
    bool zone;
    unsigned nmis, interrupts, last_vector, cpuid_entries, logs_read;
    uint64_t dirty;
    /* the board */
    unsigned acknowledged;
    uint8_t vector;
    Probe shutdown;
    char note[MOST_NOTES][48];
    unsigned notes;
    uint8_t in_value;
    int64_t step_clock;
};

/* Writes down an access as "w2 4 2211": kind, bytes, where, value. */
void kvm_rig_note(Fixture *f, const char *what, uint64_t where, uint64_t value, unsigned bytes);
struct kvm_run *kvm_rig_run_of(Fixture *f);
/* A board whose engine is not opened yet; opens it; both at once. */
Fixture *kvm_rig_closed(void);
void kvm_rig_attach(Fixture *f);
Fixture *kvm_rig(void);
void kvm_rig_free(Fixture *f);
/* Runs until the steps are used up. */
RunExit kvm_rig_go(Fixture *f);
/* The next answer of KVM_RUN. */
Step *kvm_rig_add(Fixture *f, uint32_t reason);
Step *kvm_rig_add_io(Fixture *f, bool out, unsigned size, unsigned count);
Step *kvm_rig_add_mmio(Fixture *f, bool write, uint64_t addr, unsigned len);
Step *kvm_rig_add_error(Fixture *f, int error);

#endif
