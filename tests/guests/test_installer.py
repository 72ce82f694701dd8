#!/usr/bin/env python3
"""Debian's installer: its X server on a VBE linear frame buffer and on the kernel's own driver, and its text screens."""
import os

import guest

IMAGES = '/usr/lib/debian-installer/images/12/i386'


def start(engine, kind, append, memory):
    folder = os.path.join(IMAGES, kind, 'debian-installer', 'i386')
    if not os.path.exists(os.path.join(folder, 'linux')):
        raise guest.tap.Skip('debian-installer-12-netboot-i386 is not installed')
    return guest.Guest(engine, '-kernel', os.path.join(folder, 'linux'), '-initrd', os.path.join(folder, 'initrd.gz'),
                       '-append', append, memory=memory)


def shows_a_list(shot):
    """The list's background is the only white area."""
    return shot.rgb.count(b'\xff' * 300) > 200


def graphical(engine, append, width, height, name):
    """Until the list of languages stands there. With less memory the installer takes its text screens by itself."""
    with start(engine, 'gtk', append, 1024) as vm:
        vm.wait_picture(lambda shot: (shot.width, shot.height) == (width, height) and shows_a_list(shot),
                        400 * guest.PATIENCE, every=2)
        vm.looks_like(name, timeout=120)
        points = vm.changed_by(lambda: vm.mouse(-40, -60))
        assert len(points) < 3000, f'moving the mouse changed {len(points)} pixels'


def graphical_installer_on_a_vbe_frame_buffer(engine):
    graphical(engine, 'vga=788 nomodeset --- quiet', 800, 600, 'debian-gtk-vbe')


def graphical_installer_with_bochs_drm(engine):
    graphical(engine, 'vga=788 --- quiet', 1024, 768, 'debian-gtk')


def text_installer(engine):
    with start(engine, 'text', 'vga=normal nomodeset --- quiet', 512) as vm:
        vm.wait_text('Select a language', 400)
        vm.wait_text('English')


guest.cases(graphical_installer_on_a_vbe_frame_buffer, graphical_installer_with_bochs_drm, text_installer)
