#!/usr/bin/env python3
"""A Linux that boots and works is saved at random points, loaded into fresh machines, and goes on there as it does here.

STATE_POINTS: how many points (20)."""
import atexit
import os
import shutil
import subprocess
import tempfile

import debian
import guest

folder = tempfile.mkdtemp(prefix='vitrine-points-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
# It must not wait for anybody: what it does goes on without end.
INIT = b'''#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /mnt
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
while [ ! -e /dev/sda ]; do sleep 0.1; done
mke2fs /dev/sda >/dev/null; mount -t ext2 /dev/sda /mnt
while true; do cp /bin/busybox /mnt/a; sync; cat /mnt/a | md5sum; rm /mnt/a; done
'''


def linux_goes_on_from_any_point():
    ramdisk = debian.initrd(os.path.join(folder, 'initrd.gz'), files={'work': INIT})
    out = os.environ.get('VITRINE_OUT', os.path.join(guest.ROOT, 'out', 'release'))
    settings = dict(os.environ, STATE_KERNEL=debian.linux(), STATE_INITRD=ramdisk, STATE_ONLY='linux_goes_on*',
                    STATE_POINTS=os.environ.get('STATE_POINTS', '20'), CMOCKA_MESSAGE_OUTPUT='STDOUT')
    done = subprocess.run([os.path.join(out, 'tests', 'state', 'test_snapshot_machine')], env=settings, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and 'SKIPPED' not in done.stdout, done.stdout


guest.tap.run(linux_goes_on_from_any_point)
