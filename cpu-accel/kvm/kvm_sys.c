/* The KVM engine's system calls, and the alarm that ends KVM_RUN.
 *
 * The alarm is a POSIX timer whose signal goes to the machine's thread. Its handler sets
 * immediate_exit, so that an alarm which goes off just before KVM_RUN is not lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu-accel/kvm/kvm_internal.h"

#define ALARM_SIGNAL (SIGRTMIN + 3)

static int host_open(void *self)
{
    (void)self;
    return open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

static void host_close(void *self, int fd)
{
    (void)self;
    close(fd);
}

static int host_ioctl(void *self, int fd, unsigned long request, void *argument)
{
    (void)self;
    return ioctl(fd, request, argument);
}

static void *host_map(void *self, int fd, size_t size)
{
    (void)self;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void host_unmap(void *self, void *at, size_t size)
{
    (void)self;
    munmap(at, size);
}

const KvmSys kvm_sys_host = {host_open, host_close, host_ioctl, host_map, host_unmap, NULL};

static void on_alarm(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    struct kvm_run *run = info->si_value.sival_ptr;
    if (info->si_code == SI_TIMER && run) {
        run->immediate_exit = 1;
    }
}

bool kvm_alarm_open(KvmAlarm *alarm, struct kvm_run *run, Err *err)
{
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    struct sigevent event;
    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = ALARM_SIGNAL;
    event.sigev_value.sival_ptr = run;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (sigaction(ALARM_SIGNAL, &action, NULL) < 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &alarm->timer) < 0) {
        return err_set(err, "kvm: no timer: %s; use -accel translator", strerror(errno));
    }
    alarm->made = true;
    return true;
}

void kvm_alarm_set(KvmAlarm *alarm, int64_t ns)
{
    struct itimerspec when = {.it_value = {ns / CLOCK_NS_PER_S, ns % CLOCK_NS_PER_S}};
    timer_settime(alarm->timer, 0, &when, NULL);
}

void kvm_alarm_stop(KvmAlarm *alarm)
{
    struct itimerspec never = {.it_value = {0, 0}};
    timer_settime(alarm->timer, 0, &never, NULL);
}

void kvm_alarm_close(KvmAlarm *alarm)
{
    if (alarm->made) {
        timer_delete(alarm->timer);
        alarm->made = false;
    }
}

void kvm_alarm_kick(pthread_t thread)
{
    pthread_kill(thread, ALARM_SIGNAL);
}
