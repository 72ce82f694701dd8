/* The table of engines, and the choice among them.
 *
 * KVM is taken when it computes rightly in every mode and is nowhere slower than a translator would
 * be; else the translator; else the interpreter.
 */
#include "cpu-accel/accel_probe.h"

#include <stdio.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"

/* A translator reaches this nearly everywhere. */
#define LEAST_KIPS 200000u

static const char fails[] = "fails: ";

static AccelRow *add_row(AccelTable *t, const char *engine, const char *what, bool good)
{
    AccelRow *row = &t->row[t->rows++];
    *row = (AccelRow){.engine = engine, .what = what, .good = good};
    return row;
}

static void add_mode(AccelTable *t, KvmMode mode, const KvmModeResult *r)
{
    bool fast = r->kips >= LEAST_KIPS;
    AccelRow *row = add_row(t, "kvm", kvm_mode_names[mode], r->right && fast);
    if (!r->right) {
        snprintf(row->text, sizeof(row->text), "%s%s", fails, r->wrong);
    } else {
        snprintf(row->text, sizeof(row->text), "right, %u.%u million instructions a second%s",
                 r->kips / 1000, r->kips / 100 % 10, fast ? "" : ": slow");
    }
}

/* What speaks against KVM: a wrong mode before a slow one. True: nothing does. */
static bool judge(AccelTable *t)
{
    const AccelRow *worst = NULL;
    for (unsigned i = t->rows; i-- > 0;) {
        const AccelRow *row = &t->row[i];
        bool wrong_before = worst && strncmp(worst->text, fails, strlen(fails)) == 0;
        if (strncmp(row->text, fails, strlen(fails)) == 0 || (!row->good && !wrong_before)) {
            worst = row;
        }
    }
    if (worst) {
        snprintf(t->why, sizeof(t->why), "this host's KVM in %s: %.120s", worst->what, worst->text);
    }
    return !worst;
}

static void choose(const KvmProbe *kvm, bool translator, AccelTable *out)
{
    memset(out, 0, sizeof(*out));
    bool good = kvm->usable;
    if (!kvm->usable) {
        AccelRow *row = add_row(out, "kvm", "", false);
        snprintf(row->text, sizeof(row->text), "%.150s", kvm->reason);
        snprintf(out->why, sizeof(out->why), "no KVM: %.150s", kvm->reason);
    }
    for (KvmMode mode = KVM_REAL; kvm->usable && mode < KVM_MODES; mode++) {
        if (kvm->mode[mode].tried) {
            add_mode(out, mode, &kvm->mode[mode]);
        }
    }
    good = good && judge(out);
    AccelRow *row = add_row(out, "translator", "", translator);
    snprintf(row->text, sizeof(row->text), "%s",
             translator ? "for x86-64 hosts: runs everywhere here" : "not in this program");
    row = add_row(out, "interpreter", "", true);
    snprintf(row->text, sizeof(row->text), "runs everywhere");
    if (good) {
        out->choice = "kvm";
        snprintf(out->why, sizeof(out->why), "this host's KVM is right and fast in every mode");
    } else {
        out->choice = translator ? "translator" : "interpreter";
    }
}

void accel_probe(bool translator, AccelTable *out)
{
    KvmProbe kvm;
    kvm_probe(&kvm_sys_host, &kvm);
    choose(&kvm, translator, out);
}

void accel_choose(bool translator, AccelTable *out)
{
    KvmProbe kvm;
    kvm_probe_quickly(&kvm_sys_host, LEAST_KIPS, &kvm);
    choose(&kvm, translator, out);
}
