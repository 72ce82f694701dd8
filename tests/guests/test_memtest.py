#!/usr/bin/env python3
"""Memtest86+ of Debian runs a pass without an error, started by the Linux boot protocol; some minutes."""
import os

import debian
import guest


def a_pass_without_an_error(engine):
    program = os.path.join(debian.package('memtest86+'), 'boot', 'memtest86+ia32.bin')
    with guest.Guest(engine, '-kernel', program, memory=8) as vm:
        vm.wait_text('Memtest86+')
        if vm.wait_any(['Status: Pass', 'Status: Failed'], 900) != 'Status: Pass':
            raise AssertionError(vm.screen())
        text = vm.screen()
        assert 'Errors: 0' in text, text


guest.cases(a_pass_without_an_error)
