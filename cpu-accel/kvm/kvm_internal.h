/* What the files of the KVM engine share.
 *
 * Source throughout: Documentation/virt/kvm/api.rst of the kernel ("KVM API").
 */
#ifndef CPU_ACCEL_KVM_KVM_INTERNAL_H
#define CPU_ACCEL_KVM_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "cpu-accel/accel.h"

/* The system calls the engine stands on; tests put a fake kernel here. Errors as libc's: negative,
 * with errno set. */
typedef struct KvmSys {
    int (*open)(void *self);
    void (*close)(void *self, int fd);
    int (*ioctl)(void *self, int fd, unsigned long request, void *argument);
    void *(*map)(void *self, int fd, size_t size); /* NULL: failed */
    void (*unmap)(void *self, void *at, size_t size);
    void *self;
} KvmSys;

extern const KvmSys kvm_sys_host;

/* ioctl with an integer for its argument. */
static inline int kvm_ioctl_value(const KvmSys *sys, int fd, unsigned long request, uintptr_t value)
{
    return sys->ioctl(sys->self, fd, request, (void *)value);
}

/* Makes KVM_RUN of the calling thread return after a time, by a signal that sets immediate_exit. */
typedef struct KvmAlarm {
    timer_t timer;
    bool made;
} KvmAlarm;
bool kvm_alarm_open(KvmAlarm *alarm, struct kvm_run *run, Err *err);
void kvm_alarm_set(KvmAlarm *alarm, int64_t ns); /* > 0 */
void kvm_alarm_stop(KvmAlarm *alarm);
void kvm_alarm_close(KvmAlarm *alarm);
/* Interrupts KVM_RUN of another thread. */
void kvm_alarm_kick(pthread_t thread);

/* One memory slot of the VM. */
typedef struct KvmSlot {
    uint64_t base, size; /* guest physical; size 0: free */
    uint32_t at;         /* offset in Ram */
    bool read_only;
    bool log;  /* dirty pages are logged, because somebody has set flags on some */
    bool keep; /* during an update: still wanted */
} KvmSlot;

enum { KVM_SLOTS = 512 };

/* CPUID leaf 1. */
typedef struct KvmFeatures {
    uint32_t ecx, edx;
} KvmFeatures;

enum { CPUID_ECX_RDRAND = 1 << 30 };

typedef struct Kvm {
    const KvmSys *sys;
    Accel *accel;
    int system, vm, vcpu; /* file descriptors, or -1 */
    struct kvm_run *run;
    size_t run_size;
    struct kvm_coalesced_mmio_ring *ring; /* NULL: not offered */
    KvmAlarm alarm;
    pthread_t thread;
    bool thread_known;
    bool sregs2, xsave, debugregs, user_msrs, read_only_slots, tsc_control;
    uint32_t tsc_hz; /* of the vCPU */
    int64_t lag;     /* host time minus guest time when its TSC was last set or read */

    bool cpu_current; /* the state is in Cpu, and must be pushed before the next KVM_RUN */
    bool unfinished;  /* the last exit's instruction needs another KVM_RUN to complete */
    bool halted;
    bool ready;         /* an interrupt can be injected now */
    bool interrupts_on; /* EFLAGS.IF */

    KvmSlot slot[KVM_SLOTS];
    bool stepping;     /* the kernel stops behind every instruction */
    uint64_t step_end; /* Cpu.executed at which run returns then */

    bool map_stale, flags_stale;
    bool a20;        /* as the slots have it */
    uint8_t *bitmap; /* of dirty pages; room for the largest slot */
    size_t bitmap_size;

    /* The interpreter, while it does what KVM cannot: system management mode, and instructions the
     * kernel fails to emulate. */
    Accel helper;
    bool helping;
    int64_t help_until;      /* CLOCK_NEVER: until RSM */
    bool help_for_interrupt; /* until INTR is acknowledged, too */
    int64_t waiting_since;   /* guest ns at which INTR rose without effect, or CLOCK_NEVER */
    CpuPins helper_pins;
    const CpuPins *own_pins;
    unsigned rescues; /* failed emulations in this window */
    bool trial;       /* it tries whether a shutdown comes again */
    uint64_t trial_start;
    char shut_down_at[160];
    KvmFeatures foreign; /* that the guest sees though its model has them not */

    int64_t window_start;            /* guest ns: exits are counted in windows */
    int64_t last_exit, shortest_gap; /* ns; between two exits */
    int64_t ferr_look;               /* guest ns: when x87's control word is looked at next */
    bool ferr_told;
    unsigned exits, busy_windows;
    unsigned collected, flushed; /* writes collected by the kernel: in this window, by this exit */
} Kvm;

/* kvm.c: opening on a given kernel, for tests; `probe` runs the probe first. */
bool kvm_open_on(Accel *a, const KvmSys *sys, bool probe, Err *err);

/* What the run loop does next. */
typedef enum KvmStep { KVM_GO_ON, KVM_STOP_DUE, KVM_STOP_HALTED, KVM_STOP_FAILED } KvmStep;
/* Makes Cpu hold the state. */
void kvm_take_state(Kvm *k);

/* kvm_help.c */
/* From now on the interpreter runs: until RSM (CLOCK_NEVER), or until that time. False:
 * accel->failure. */
bool kvm_help_begin(Kvm *k, int64_t until);
KvmStep kvm_help_run(Kvm *k, int64_t until);
void kvm_help_end(Kvm *k);
/* The kernel cannot emulate an instruction: the interpreter takes it, or another engine the whole
 * guest. */
KvmStep kvm_rescue(Kvm *k);
/* The kernel's processor shut down: so does ours, when it does at the same instruction; else
 * another engine must take the guest. */
KvmStep kvm_shut_down(Kvm *k);

/* kvm_exit.c */
/* What the last KVM_RUN returned for; fills accel->failure on failure. */
KvmStep kvm_handle_exit(Kvm *k);
/* Writes that the kernel has collected; before anything else is done after KVM_RUN. */
void kvm_flush_writes(Kvm *k);

/* kvm_state.c */
bool kvm_set_cpuid(Kvm *k, Err *err);
/* Has the guest unmasked x87 errors that must come by FERR#? */
bool kvm_wants_ferr(Kvm *k);
int64_t kvm_lag(const Kvm *k); /* host time minus guest time: grows while the machine is stopped */
void kvm_load_cpu(Kvm *k);     /* KVM to Cpu */
bool kvm_store_cpu(Kvm *k);    /* Cpu to KVM; false: accel->failure says why */

/* kvm_memory.c */
bool kvm_memory_update(Kvm *k); /* slots as the bus has them now; false: accel->failure */
void kvm_memory_sync(Kvm *k);   /* tells Ram which logged pages were written */

/* kvm_probe.c */
typedef enum KvmMode { KVM_REAL, KVM_PROTECTED, KVM_PAGED, KVM_V86, KVM_MODES } KvmMode;
typedef struct KvmModeResult {
    bool tried;
    bool right;        /* it came to the end with the right results */
    bool timed_out;    /* not right, because it was not done in time: slow, or a busy host */
    uint32_t kips;     /* thousand instructions a second */
    const char *wrong; /* what happened instead; NULL when right */
} KvmModeResult;
typedef struct KvmProbe {
    bool usable; /* /dev/kvm opens and a VM can be made */
    char reason[160];
    KvmModeResult mode[KVM_MODES];
} KvmProbe;
extern const char *const kvm_mode_names[KVM_MODES];
void kvm_probe(const KvmSys *sys, KvmProbe *out);
/* Stops behind the first mode that is wrong or slower than that; begins where hosts fail most. */
void kvm_probe_quickly(const KvmSys *sys, uint32_t least_kips, KvmProbe *out);
/* Features that CPUID shows a guest of this VM though the processor model has them not: some hosts
 * pass their own through. Before the VM has memory. */
KvmFeatures kvm_foreign_features(Kvm *k);

#endif
