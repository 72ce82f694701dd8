#!/usr/bin/env python3
"""Memtest86+ of Debian runs whole passes without an error, started by its Linux boot protocol."""
import os

import debian
import guest


def a_pass_without_an_error(engine):
    program = os.path.join(debian.package('memtest86+'), 'boot', 'memtest86+ia32.bin')
    with guest.Guest(engine, '-kernel', program, memory=4) as vm:
        vm.wait_text('Memtest86+')
        text = vm.wait_text('PASS', 900)
        assert 'Errors: 0' in text, text


guest.cases(a_pass_without_an_error)
