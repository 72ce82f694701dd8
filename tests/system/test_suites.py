#!/usr/bin/env python3
"""suites.sh on small programs made like the suites it is for: a ROM that reports on POST port 190h, and ELF kernels for Multiboot
that report on the serial port and end by isa-debug-exit. Some pass, some fail."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))
from tests.lib import tap  # noqa: E402
from tests.lib.vm import ROOT  # noqa: E402

ROM = '''
cpu 386
bits 16
org 0
start:
    cli
    mov dx, 0x190
    mov al, 1
    out dx, al
    smsw ax                 ; to protected mode and back, as a test would
    or al, 1
    lmsw ax
    jmp $ + 2
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    mov dx, 0x190
    mov al, %s
    out dx, al
    hlt
    jmp $ - 1
    times 0xfff0 - ($ - $$) db 0
    jmp 0xf000:start
    times 0x10000 - ($ - $$) db 0
'''

# An ELF file of one segment, with the Multiboot header in it; flags: memory information.
KERNEL = '''
cpu 686
bits 32
org 0x100000
    db 0x7f, 'ELF', 1, 1, 1
    times 9 db 0
    dw 2, 3
    dd 1, start, 52, 0, 0
    dw 52, 32, 1, 0, 0, 0
    dd 1, 0, 0x100000, 0x100000, end - $$, end - $$ + 0x1000, 7, 0x1000
align 4
    dd 0x1badb002, 2, -(0x1badb002 + 2)
start:
    mov esp, end + 0x1000
    mov ebp, ebx
    mov bl, 0
    cmp eax, 0x2badb002     ; what Multiboot promises
    jne .bad
    test byte [ebp], 1      ; with memory, as the header asks
    jz .bad
    cmp dword [ebp + 8], 1024
    jb .bad
    mov dx, 0x510           ; what the suite asks fw_cfg: the number of processors, and the memory
    mov ax, 5
    out dx, ax
    inc dx
    in al, dx
    cmp al, 1
    jne .bad
    mov dx, 0x510
    mov ax, 3
    out dx, ax
    inc dx
    in al, dx
    in al, dx
    in al, dx
    test al, al             ; some 64 KiB of it
    jnz .says
    in al, dx
    test al, al
    jnz .says
.bad:
    mov bl, 1
.says:
    mov dx, 0x3fb           ; 8 data bits
    mov al, 3
    out dx, al
    mov esi, text
.next:
    mov dx, 0x3fd           ; until all is sent
.busy:
    in al, dx
    test al, 0x40
    jz .busy
    mov dx, 0x3f8
    lodsb
    test al, al
    jz .end
    out dx, al
    jmp .next
.end:
    movzx eax, bl
    or eax, %s
    out 0xf4, eax
    hlt
text: db '%s: stand-in', 13, 10, 0
end:
'''


def assemble(folder, name, source):
    path = os.path.join(folder, name)
    with open(path + '.asm', 'w', encoding='ascii') as file:
        file.write(source)
    subprocess.run(['nasm', '-f', 'bin', '-o', path, path + '.asm'], check=True)
    return path


def suites(engine, **settings):
    out = os.environ.get('VITRINE_OUT', os.path.join(ROOT, 'out', 'release'))
    env = dict(os.environ, VITRINE_OUT=out, ENGINE=engine, **settings)
    done = subprocess.run(['sh', os.path.join(HERE, 'suites.sh')], env=env, stdout=subprocess.PIPE, text=True, timeout=400,
                          check=False)
    return done.returncode, done.stdout


def check(engine):
    with tempfile.TemporaryDirectory(prefix='vitrine-suites-') as folder:
        x86 = os.path.join(folder, 'x86')
        os.mkdir(x86)
        good = assemble(folder, 'good.bin', ROM % '0xff')
        assemble(x86, 'good.flat', KERNEL % (0, 'PASS'))
        status, text = suites(engine, TEST386=good, KVM_UNIT_TESTS=folder)
        assert status == 0 and text.count('\nok ') + text.startswith('ok ') == 2 and 'SKIP' not in text, text
        bad = assemble(folder, 'bad.bin', ROM % '0x23')
        assemble(x86, 'bad.flat', KERNEL % (1, 'FAIL'))
        status, text = suites(engine, TEST386=bad, KVM_UNIT_TESTS=folder, SUITE_SECONDS='10')
        assert status == 1 and 'not ok 1 - test386' in text and '0x23' in text, text
        assert 'not ok 2 - kvm-unit-tests bad' in text and '# FAIL: stand-in' in text, text
        assert 'ok 3 - kvm-unit-tests good' in text, text


def under_the_interpreter():
    check('interpreter')


def under_the_translator():
    check('translator')


def nothing_given_is_skipped():
    status, text = suites('interpreter', TEST386='', KVM_UNIT_TESTS='')
    assert status == 0 and text.count('# SKIP') == 2, text


tap.run(under_the_interpreter, under_the_translator, nothing_given_is_skipped)
