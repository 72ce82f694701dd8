#!/usr/bin/env python3
"""The window under Xvfb, with a fake machine behind it: keys, mouse, sizes, full screen, menu, screenshots."""
import os
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import picture, tap  # noqa: E402
from tests.lib.desk import BLACK, BLUE, HOST_KEY, MENU_BODY, MENU_TITLE, RED, ROOM, Desk, Shown, keyboard_is_grabbed  # noqa: E402
from tests.lib.vm import program  # noqa: E402

def opens_with_the_picture_and_a_title():
    with Shown('-name', 'Otto') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        assert vm.title().startswith('Otto - Vitrine'), vm.title()
        assert 'Right Ctrl' in vm.title(), vm.title()
        x, y = vm.place()
        vm.until_pixels({(x + 5, y + 5): RED, (x + 634, y + 394): BLUE, (x + 319, y + 200): BLACK,
                         (x + 271, y + 200): BLACK, (x + 268, y + 200): RED, (x + 371, y + 200): BLUE})


def keys_reach_the_machine():
    with Shown() as vm:
        vm.x('key', 'a')
        vm.until_text('key 04 down\nkey 04 up')
        vm.x('keydown', 'Shift_L')
        vm.x('key', 'F5')
        vm.x('keyup', 'Shift_L')
        vm.until_text('key e1 down\nkey 3e down\nkey 3e up\nkey e1 up')
        vm.x('key', 'Pause')
        vm.until_text('key 48 down\nkey 48 up')
        x, y = vm.place()
        vm.until_pixels({(x + 319, y + 200): BLACK})  # four keys: the colours have come round


def held_keys_are_released_when_the_focus_goes():
    with Shown() as vm:
        vm.x('keydown', 'Alt_L')
        vm.until_text('key e2 down')
        subprocess.run(['xdotool', 'windowunmap', vm.window], env=dict(os.environ, DISPLAY=Desk.display), check=True)
        vm.until_text('key e2 up')
        vm.x('keyup', 'Alt_L')
        assert vm.screen().count('key e2 up') == 1


def mouse_is_grabbed_by_a_click_and_let_go_by_the_host_key():
    with Shown() as vm:
        x, y = vm.place()
        vm.x('mousemove', x + 100, y + 100)
        vm.x('click', 1)
        vm.until(lambda: 'release the mouse' in vm.title(), 'the grab')
        assert 'buttons' not in vm.screen()
        vm.x('mousemove_relative', '--', 7, -3)
        vm.until_text('move ')
        vm.x('click', 3)
        vm.until_text('buttons 2\nbuttons 0')
        vm.x('click', 4)
        vm.until_text('move 0 0 1')
        vm.x('key', HOST_KEY)
        vm.until(lambda: 'release the mouse' not in vm.title(), 'the release')
        count = vm.screen().count('buttons')
        vm.x('click', 3)
        vm.x('key', 'z')
        vm.until_text('key 1d up')
        assert vm.screen().count('buttons') == count
        assert 'key e4' not in vm.screen()


def without_a_host_key_the_desktop_keeps_its_keys():
    for key, grabbed, way in (('Right Ctrl', True, 'press Right Ctrl to release the mouse'), ('none', False, 'Alt+Tab')):
        with Shown('-host-key', key) as vm:
            vm.click(100, 100)
            vm.until(lambda: way in vm.title(), 'the way out')
            assert keyboard_is_grabbed(Desk.display) == grabbed, key
            vm.x('windowunmap', vm.window)
            vm.until(lambda: way not in vm.title(), 'the release')


def absolute_pointer_needs_no_grab():
    with Shown('-name', 'absolute') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        x, y = vm.place()
        vm.x('mousemove', x, y)
        vm.until_text('absolute 0 0')
        vm.x('mousemove', x + 639, y + 399)
        vm.until_text('absolute 65535 65535')
        vm.x('click', 1)
        vm.until_text('buttons 1\nbuttons 0')
        assert 'release the mouse' not in vm.title()


def resizing_scales_crisply_or_in_the_shape_of_the_tube():
    with Shown() as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        vm.x('windowmove', '--sync', vm.window, 0, 0)
        vm.x('windowsize', '--sync', vm.window, 1000, 700)
        # Crisp: once the size, in the middle, black around it.
        vm.until_pixels({(175, 350): BLACK, (185, 350): RED, (815, 350): BLUE, (825, 350): BLACK,
                         (200, 145): BLACK, (200, 155): RED, (200, 545): RED, (200, 555): BLACK})
        for _ in ('aspect', 'smooth'):
            vm.host('l')
            # The tube's shape: 4:3 of the whole height, 933 x 700.
            vm.until_pixels({(28, 350): BLACK, (40, 10): RED, (40, 690): RED, (960, 350): BLUE, (972, 350): BLACK})
        vm.host('l')
        vm.until_pixels({(175, 350): BLACK, (185, 350): RED})


def scan_lines_darken_every_other_line():
    with Shown('-display', 'sdl,scale=integer,scanlines=on') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        x, y = vm.place()
        dark = (255 * (255 - 110) // 255, 0, 0)

        def near(seen, wanted):
            return all(abs(a - b) < 4 for a, b in zip(seen, wanted))

        def lined():
            seen = vm.desk()
            return all(near(seen.pixel(x + 20, y + line), dark if line % 2 else RED) for line in range(20, 30))
        vm.until(lined, 'lines of the tube')
        vm.host('i')
        vm.until_pixels({(x + 20, y + line): RED for line in range(20, 30)})


def full_screen_fills_the_display():
    with Shown('-display', 'sdl,scaling=smooth') as vm:
        vm.host('Return')
        vm.until(lambda: vm.geometry() == ROOM, 'full screen')
        vm.until_pixels({(5, 5): RED, (1018, 762): BLUE, (512, 384): BLACK})
        vm.host('Return')
        vm.until(lambda: vm.geometry() != ROOM, 'the window again')


def twice(vm, key, done):
    """What loses something is done when its key comes again while the window asks for it; how long that takes here nobody knows."""
    vm.host(key)
    vm.until(lambda: f'Right Ctrl+{key.upper()} again' in vm.title(), 'the question')
    assert not done(), f'{key} was done at once'
    vm.until(lambda: vm.x('keydown', HOST_KEY, 'key', key, 'key', key, 'keyup', HOST_KEY, check=False) or done(), f'what {key} does')


def host_keys_command_the_machine():
    with Shown() as vm:
        vm.host('p')
        vm.event('STOP')
        vm.until(lambda: '[paused]' in vm.title(), 'the title of a paused machine')
        vm.host('p')
        vm.event('RESUME')
        twice(vm, 'b', lambda: vm.qmp('query-status') and 'RESET' in [event['event'] for event in vm.events])
        vm.host('h')
        vm.event('POWERDOWN')
        vm.host('Delete')
        vm.until_text('key e0 down\nkey e2 down\nkey 4c down\nkey 4c up\nkey e2 up\nkey e0 up')
        for key in ('key 13', 'key e4', 'key 05', 'key 0b'):
            assert key not in vm.screen(), 'the guest got keys that are commands'
        twice(vm, 'q', lambda: vm.process.poll() is not None)
        vm.ends_well()


def screenshot_has_the_guests_pixels():
    with Shown() as vm:
        vm.host('s')
        name = vm.until(lambda: [n for n in os.listdir(vm.here) if n.endswith('.png')], 'a screenshot')[0]
        vm.until(lambda: 'saved' in vm.title(), 'the notice')
        shot = picture.read(os.path.join(vm.here, name))
        assert (shot.width, shot.height) == (640, 400)
        assert (shot.pixel(0, 0), shot.pixel(639, 399), shot.pixel(320, 200)) == (RED, BLUE, BLACK)


def menu_opens_acts_and_closes():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        x, y = vm.place()
        vm.until_pixels({(x + 60, y + 60): RED})
        vm.open_menu()
        vm.click(38, 44)  # Pause
        vm.event('STOP')
        vm.x('key', 'b')
        vm.x('key', 'Escape')
        vm.until_pixels({(x + 60, y + 60): RED})
        vm.x('key', 'c')
        vm.until_text('key 06 up')
        assert 'key 05' not in vm.screen() and 'key 29' not in vm.screen(), 'keys went to the guest behind the menu'


def menu_puts_in_a_file_that_is_chosen():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, 'sub'))
        inner = os.path.join(folder, 'sub', 'b.img')
        for path in (os.path.join(folder, 'a.img'), inner):
            with open(path, 'wb') as floppy:
                floppy.truncate(1474560)
        with Shown('-fda', os.path.join(folder, 'a.img')) as vm:
            vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
            x, y = vm.place()

            def rows():
                """Which of the first four rows of the list have a name."""
                seen = vm.desk()
                return [any(max(seen.pixel(x + at, y + row)) > 200 for at in range(20, 60)) for row in (88, 101, 118, 135)]
            vm.open_menu()
            vm.click(395, 89)  # Choose
            vm.until(lambda: rows() == [True, True, True, False], 'the folder above, sub and a.img')
            vm.click(60, 101)
            vm.until(lambda: rows() == [True, True, False, False], 'the folder above and b.img')
            vm.click(60, 101)
            vm.until(lambda: vm.qmp('query-block')[0]['inserted']['file'] == os.path.realpath(inner), 'the other floppy')


def a_dropped_file_goes_into_the_drive_that_fits_it():
    with tempfile.TemporaryDirectory() as folder, Shown('-fda', '') as vm:
        floppy, disc, packed = (os.path.join(folder, name) for name in ('a floppy.img', 'b.iso', 'c.img.gz'))
        for path, at, bytes_ in ((floppy, 1474559, b'\0'), (disc, 0x8001, b'CD001'), (packed, 0, b'\x1f\x8b\x08 and so on')):
            with open(path, 'wb') as file:
                file.seek(at)
                file.write(bytes_)
        vm.drop(floppy)
        vm.until(lambda: vm.qmp('query-block')[0]['inserted']['file'] == floppy, 'the floppy')
        vm.until(lambda: 'a floppy.img is in floppy0' in vm.title(), 'the notice')
        vm.drop(disc)
        vm.until(lambda: "b.iso: there is no CD drive; start with -cdrom ''" in vm.title(), 'the remedy')
        vm.drop(packed)
        vm.until(lambda: 'unpack it first: gunzip' in vm.title(), 'the other remedy')
        assert vm.qmp('query-block')[0]['inserted']['file'] == floppy


def menu_goes_by_keys_too():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        vm.open_menu()
        vm.x('key', 'Right', 'key', 'Left', 'key', 'Return')  # the first shows where one is; on Pause
        vm.event('STOP')
        vm.x('key', 'Return')
        vm.event('RESUME')
        vm.x('key', 'Right', 'key', 'Return')  # on Reset, which asks
        vm.x('key', 'Return')
        vm.event('RESET')
        vm.host('Return')  # is a command, not for the menu
        vm.until(lambda: vm.geometry() == ROOM, 'full screen')
        assert vm.qmp('query-status')['running'] and 'RESET' not in [event['event'] for event in vm.events]


def menu_changes_the_engine():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        assert vm.qmp('x-query-accel')['name'] == 'interpreter'
        vm.open_menu()
        vm.click(192, 116)  # translator
        vm.until(lambda: vm.qmp('x-query-accel')['name'] == 'translator', 'the engine')
        vm.until(lambda: 'engine: translator' in vm.title(), 'the notice')
        vm.click(293, 116)  # kvm, which the fake has not
        vm.until(lambda: 'no such engine' in vm.title(), 'the reason')
        assert vm.qmp('x-query-accel')['name'] == 'translator'


def an_engine_that_fails_can_be_changed():
    with Shown('-fda', '', '-name', 'failing') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        vm.x('key', 'a')
        vm.until(lambda: '[paused: the engine failed]' in vm.title(), 'the state')
        vm.host('m')
        vm.until(lambda: 'choose another engine in the menu; interpreter: no such instruction' in vm.title(), 'the remedy')
        vm.until(vm.has_menu, 'the menu')
        vm.click(192, 116)  # translator
        vm.event('RESUME')
        vm.until(lambda: 'paused' not in vm.title(), 'a machine that runs')
        assert vm.qmp('x-query-accel')['name'] == 'translator'


def a_disk_that_fails_is_named():
    with Shown('-fda', 'a.img', '-name', 'full') as vm:
        vm.x('key', 'a')
        vm.until(lambda: '[paused: disk error]' in vm.title(), 'the state')
        vm.host('m')
        vm.until(lambda: "floppy0 ('a.img') cannot be read or written: make room" in vm.title(), 'the remedy')


def menu_changes_the_speed():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        x, y = vm.place()
        vm.open_menu()
        vm.click(440, 116)  # the list of speeds
        vm.until(lambda: vm.desk().pixel(x + 388, y + 265) not in (MENU_BODY, RED, BLUE), 'the list')
        vm.click(420, 165)  # the third
        vm.until(lambda: '[286-12]' in vm.title(), 'the speed')
        assert vm.qmp('x-query-speed')['speed'] == '286-12'


def menu_sets_the_volume():
    with tempfile.TemporaryDirectory() as folder:
        heard = os.path.join(folder, 'heard')
        with open(os.path.join(program('tests/ui'), 'beep.bin'), 'rb') as code, open(os.path.join(folder, 'a.img'), 'wb') as floppy:
            floppy.write(code.read().ljust(1474560, b'\0'))

        def loudest():
            """Of what was written last: samples of four bytes."""
            with open(heard, 'rb') as file:
                size = os.path.getsize(heard) // 4 * 4
                file.seek(max(0, size - 16000))
                data = file.read(size - file.tell())
            return max(map(abs, struct.unpack(f'{len(data) // 4}f', data[:len(data) // 4 * 4])), default=0)
        with Shown('-m', 16, '-fda', floppy.name, '-snapshot', binary=[program('vitrine'), 'run'],
                   env={'SDL_AUDIODRIVER': 'disk', 'SDL_DISKAUDIOFILE': heard}) as vm:
            vm.until(lambda: vm.geometry() == (720, 400), 'the size of the picture')
            vm.wait_picture(lambda now: now.pixel(300, 200) == (0, 0, 170))
            vm.type('x')
            vm.until(lambda: loudest() > 0.05, 'the tone')
            vm.open_menu()
            vm.click(367, 143)  # the left end of the slider
            vm.until(lambda: loudest() == 0, 'silence')
            vm.click(514, 143)  # the right end
            vm.until(lambda: loudest() > 0.05, 'the tone again')


def menu_is_twice_as_large_where_there_is_room():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        vm.x('windowmove', '--sync', vm.window, 0, 0)
        vm.x('windowsize', '--sync', vm.window, 1300, 820)  # wider than the display
        vm.host('m')
        vm.until_pixels({(650, 40): MENU_TITLE, (800, 88): MENU_BODY})
        vm.click(86, 88)  # Pause
        vm.event('STOP')


def notices_are_in_the_picture_where_there_is_no_title():
    with Shown('-display', 'sdl,scaling=smooth') as vm:
        vm.host('Return')
        vm.until(lambda: vm.geometry() == ROOM, 'full screen')

        def noticed():
            vm.host('s')  # again and again: it is to be seen for four seconds, and a look may take as long
            return vm.desk().pixel(520, 738) == (20, 20, 20)
        vm.until(noticed, 'what the screenshot is called')
        vm.until_pixels({(520, 738): BLUE})


def title_shows_the_speed():
    with Shown('-fda', '') as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        assert '486' not in vm.title()
        vm.qmp('x-set-speed', speed='486-66')
        vm.until(lambda: '[486-66]' in vm.title(), 'the speed')
        vm.qmp('x-set-speed', speed='max')
        vm.until(lambda: '486' not in vm.title(), 'no speed')


def closing_the_window_ends_the_program():
    with Shown() as vm:
        vm.ask_to_close()
        vm.ends_well()


def a_window_may_be_told_to_stay():
    with Shown('-display', 'sdl,window-close=off') as vm:
        vm.ask_to_close()
        vm.x('key', 'a')
        vm.until_text('key 04 down')  # it has come behind the request
        assert vm.process.poll() is None
        vm.qmp('quit')
        vm.ends_well()


def idle_window_costs_next_to_nothing():
    with Shown() as vm:
        vm.until(lambda: vm.geometry() == (640, 400), 'the size of the picture')
        time.sleep(1.5)

        def ticks():
            with open(f'/proc/{vm.process.pid}/stat') as stat:
                return sum(int(n) for n in stat.read().rsplit(')', 1)[1].split()[11:13])
        before = ticks()
        time.sleep(2)
        used = (ticks() - before) / os.sysconf('SC_CLK_TCK') / 2
        assert used < 0.10, f'{100 * used:.0f} % of a processor'


def no_display_is_said_in_one_line():
    binary = program('tests/ui/tool_fake')
    if not os.path.exists(binary):
        raise tap.Skip(f'{binary} is not built')
    env = {name: value for name, value in os.environ.items() if name not in ('DISPLAY', 'WAYLAND_DISPLAY', 'SDL_VIDEODRIVER')}
    done = subprocess.run([binary], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if line.startswith('vitrine:')]
    assert done.returncode == 1 and len(said) == 1 and '-display none' in said[0], (done.returncode, done.stderr)


try:
    tap.run(opens_with_the_picture_and_a_title, keys_reach_the_machine, held_keys_are_released_when_the_focus_goes,
            mouse_is_grabbed_by_a_click_and_let_go_by_the_host_key, without_a_host_key_the_desktop_keeps_its_keys, absolute_pointer_needs_no_grab,
            resizing_scales_crisply_or_in_the_shape_of_the_tube, scan_lines_darken_every_other_line, full_screen_fills_the_display,
            host_keys_command_the_machine, screenshot_has_the_guests_pixels, menu_opens_acts_and_closes,
            menu_goes_by_keys_too, menu_puts_in_a_file_that_is_chosen, a_dropped_file_goes_into_the_drive_that_fits_it, menu_changes_the_engine, an_engine_that_fails_can_be_changed, a_disk_that_fails_is_named,
            menu_changes_the_speed,
            menu_sets_the_volume, menu_is_twice_as_large_where_there_is_room, notices_are_in_the_picture_where_there_is_no_title, title_shows_the_speed,
            closing_the_window_ends_the_program, a_window_may_be_told_to_stay, idle_window_costs_next_to_nothing, no_display_is_said_in_one_line)
finally:
    Desk.close()
