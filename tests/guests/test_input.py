#!/usr/bin/env python3
"""Linux's own input drivers: every key by its name, LEDs, repeat, PS/2 mice of four protocols, the absolute pointer, serial mice."""
import atexit
import base64
import os
import re
import shutil
import struct
import tempfile
import time

import debian
import guest
import linux

EV_KEY, EV_REL, EV_ABS = 1, 2, 3
REL = {'x': 0, 'y': 1, 'wheel': 8}
# The control socket's names and Linux's numbers (include/uapi/linux/input-event-codes.h) of keys on a PC keyboard.
KEYS = dict(zip('esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl a s d f g h j k l '
                'semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot slash shift_r kp_multiply alt spc caps_lock '
                'f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 '
                'kp_0 kp_decimal'.split(), range(1, 84)))
KEYS.update({'less': 86, 'f11': 87, 'f12': 88, 'ro': 89, 'henkan': 92, 'katakanahiragana': 93, 'muhenkan': 94, 'kp_enter': 96, 'ctrl_r': 97,
             'kp_divide': 98, 'print': 99, 'alt_r': 100, 'home': 102, 'up': 103, 'pgup': 104, 'left': 105, 'right': 106, 'end': 107,
             'down': 108, 'pgdn': 109, 'insert': 110, 'delete': 111, 'audiomute': 113, 'volumedown': 114, 'volumeup': 115, 'power': 116,
             'kp_equals': 117, 'pause': 119, 'kp_comma': 121, 'lang1': 122, 'lang2': 123, 'yen': 124, 'meta_l': 125, 'meta_r': 126,
             'menu': 127, 'calculator': 140, 'sleep': 142, 'wake': 143, 'mail': 155, 'ac_bookmarks': 156, 'computer': 157, 'ac_back': 158,
             'ac_forward': 159, 'audionext': 163, 'audioplay': 164, 'audioprev': 165, 'audiostop': 166, 'ac_home': 172, 'ac_refresh': 173,
             'f13': 183, 'f14': 184, 'f15': 185, 'f16': 186, 'f17': 187, 'f18': 188, 'f19': 189, 'f20': 190, 'f21': 191, 'f22': 192, 'f23': 193,
             'stop': 128, 'find': 217})
# What Linux' table for translated set 2 does not name.
UNNAMED = {'kp_equals', 'f13', 'f14', 'f15', 'f16', 'f17', 'f18', 'f19', 'f20', 'f21', 'f22', 'f23'}
folder = tempfile.mkdtemp(prefix='vitrine-input-')
atexit.register(shutil.rmtree, folder, ignore_errors=True)
made = {}


def ramdisk():
    if 'initrd' not in made:
        made['initrd'] = debian.initrd(os.path.join(folder, 'initrd.gz'), modules=['evdev'], there=['psmouse'])
    return made['initrd']


class Input:
    """The guest's input device of this name, with this line in its description."""

    def __init__(self, shell, name, having=''):
        self.shell = shell
        for block in shell.run('cat /proc/bus/input/devices').replace('\r', '').split('\n\n'):
            title, handlers = re.search(r'N: Name="(.*)"', block), re.search(r'H: Handlers=(.*)', block)
            if title and name in title.group(1) and handlers and having in block:
                self.title, self.node = title.group(1), '/dev/input/' + re.search(r'event\d+', handlers.group(1)).group()
                return
        raise AssertionError(f'no input device {name!r}:\n' + shell.run('cat /proc/bus/input/devices'))

    def listen(self):
        self.shell.run(f'rm -f /tmp/ev; cat {self.node} >/tmp/ev & echo $! >/tmp/pid; sleep 0.3')

    def events(self):
        """[(type, code, value)] since listen(), without the separators."""
        time.sleep(0.2)
        text = self.shell.run('sleep 0.3; kill $(cat /tmp/pid); wait 2>/dev/null; base64 /tmp/ev')
        data = base64.b64decode(''.join(re.findall(r'^[A-Za-z0-9+/=]+$', text.replace('\r', ''), re.M)))
        events = [struct.unpack_from('<8xHHi', data, at) for at in range(0, len(data) - 15, 16)]
        return [event for event in events if event[0] in (EV_KEY, EV_REL, EV_ABS)]


def boot(engine, *arguments):
    vm = linux.direct(engine, ramdisk(), *arguments)
    try:
        return vm, vm.shell()
    except BaseException:
        vm.close()
        raise


def button(vm, name, down):
    vm.qmp('input-send-event', events=[{'type': 'btn', 'data': {'button': name, 'down': down}}])


def click(vm, name):
    button(vm, name, True)
    time.sleep(0.05)
    button(vm, name, False)
    time.sleep(0.05)


def every_key(engine):
    """Each key makes its own event, down and up, and nothing hangs."""
    vm, shell = boot(engine)
    with vm:
        keyboard = Input(shell, 'AT Translated Set 2 keyboard')
        names = sorted(KEYS, key=KEYS.get)
        wrong = {}
        for start in range(0, len(names), 20):
            part = names[start:start + 20]
            keyboard.listen()
            for name in part:
                vm.key(name, hold=20)
            time.sleep(0.06 * len(part))
            pressed = [(code, value) for kind, code, value in keyboard.events() if kind == EV_KEY and value != 2]
            for name in part:
                if name in UNNAMED:
                    continue
                if pressed.count((KEYS[name], 1)) != 1 or pressed.count((KEYS[name], 0)) != 1:
                    wrong[name] = [event for event in pressed if event[0] == KEYS[name]]
        assert not wrong, f'{wrong}; last part: {pressed}'


def repeat_and_leds(engine):
    vm, shell = boot(engine)
    with vm:
        keyboard = Input(shell, 'AT Translated Set 2 keyboard')
        # softrepeat is off: the keyboard itself repeats, at the rate that the kernel has set.
        keyboard.listen()
        vm.key('a', hold=1500)
        time.sleep(2)
        values = [value for kind, code, value in keyboard.events() if kind == EV_KEY and code == KEYS['a']]
        assert values[0] == 1 and values[-1] == 0 and values.count(2) >= 3, values
        leds = shell.run('ls /sys/class/leds').split()
        caps = next(name for name in leds if name.endswith('::capslock'))
        for lit in (1, 0):
            shell.run(f'echo {lit} >/sys/class/leds/{caps}/brightness; sleep 0.3')
            assert vm.qmp('x-query-input')['leds']['caps'] == bool(lit)


def mouse(engine, protocol, title, wheel, side):
    vm, shell = boot(engine)
    with vm:
        shell.run(f'insmod /modules/psmouse.ko proto={protocol}; sleep 2')
        device = Input(shell, 'Mouse')
        assert title in device.title, device.title
        device.listen()
        for dx, dy in ((5, 0), (0, 7), (-9, -4), (100, 60)):
            vm.mouse(dx, dy)
            time.sleep(0.1)
        for name in ('left', 'right', 'middle', 'side', 'extra'):
            click(vm, name)
        for name in ('wheel-up', 'wheel-up', 'wheel-down'):
            click(vm, name)
        events = device.events()
        sums = {axis: sum(value for kind, code, value in events if kind == EV_REL and code == REL[axis]) for axis in REL}
        assert (sums['x'], sums['y']) == (96, 63), sums
        assert [value for kind, code, value in events if (kind, code) == (EV_REL, REL['wheel'])] == ([1, 1, -1] if wheel else []), events
        clicks = [(code, value) for kind, code, value in events if kind == EV_KEY]
        wanted = [0x110, 0x111, 0x112] + ([0x113, 0x114] if side else [])
        assert clicks == [(code, value) for code in wanted for value in (1, 0)], clicks


def plain_mouse(engine):
    mouse(engine, 'bare', 'Generic Mouse', False, False)


def wheel_mouse(engine):
    mouse(engine, 'imps', 'Generic Wheel Mouse', True, False)


def explorer_mouse(engine):
    mouse(engine, 'exps', 'Generic Explorer Mouse', True, True)


def point(vm, x, y):
    vm.qmp('input-send-event', events=[{'type': 'abs', 'data': {'axis': 'x', 'value': x}}, {'type': 'abs', 'data': {'axis': 'y', 'value': y}}])
    time.sleep(0.15)


def absolute_pointer(engine):
    """Linux's vmmouse driver, which wants to see VMware's name in the BIOS: where the host's pointer is, there is the guest's."""
    vm, shell = boot(engine, '-smbios', 'type=1,manufacturer=VMware,, Inc.,serial=VMware-56 4d')
    with vm:
        assert shell.run('cat /sys/class/dmi/id/sys_vendor').split('\n')[-2].strip() == 'VMware, Inc.'
        assert not vm.qmp('x-query-input')['absolute']
        shell.run('insmod /modules/psmouse.ko; sleep 2')
        assert vm.qmp('x-query-input')['absolute'], 'the driver did not ask for absolute positions'
        device = Input(shell, 'VMware VMMouse', 'B: ABS=')
        device.listen()
        for x, y in ((0, 0), (0x7fff, 0x7fff), (0x4000, 0x2000), (0x1234, 0x5678)):
            point(vm, x, y)
        for name in ('left', 'right', 'middle'):
            click(vm, name)
        events = device.events()
        for axis, values in ((0, (0x7fff, 0x4000, 0x1234)), (1, (0x7fff, 0x2000, 0x5678))):
            got = [value for kind, code, value in events if (kind, code) == (EV_ABS, axis)]
            wanted = [value * 65535 // 0x7fff for value in values]
            assert got[-3:] == wanted, (got, wanted)
        clicks = [(code, value) for kind, code, value in events if kind == EV_KEY]
        assert clicks == [(code, value) for code in (0x110, 0x111, 0x112) for value in (1, 0)], clicks
        other = Input(shell, 'VMware VMMouse', 'B: REL=')
        other.listen()
        for name in ('wheel-up', 'wheel-down', 'wheel-down'):
            click(vm, name)
        turns = [value for kind, code, value in other.events() if (kind, code) == (EV_REL, REL['wheel'])]
        assert turns == [1, -1, -1], turns


if __name__ == '__main__':
    guest.cases(every_key, repeat_and_leds, plain_mouse, wheel_mouse, explorer_mouse, absolute_pointer)
