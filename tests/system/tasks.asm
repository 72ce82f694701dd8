; Task switches of all kinds with faults in them, virtual-8086 mode with IOPL, the I/O bitmap and
; VME.
%include "sys.inc"

TASK_A   equ 0x2400          ; 32-bit TSS
TASK_B   equ 0x2500
TASK_16  equ 0x2600
STACK_A  equ 0xc000
STACK_B  equ 0xd000
V86_CODE equ 0x20000

tests:
    ; CALL to a task, and IRET back
    TASK TASK_A, task_called, STACK_A, FREE1
    clts
    mov dword [seen], 0
    mov ebx, 0x1234
    call FREE1:0
    SAME "CALL runs the other task", [seen], 0x4000
    SAME "with its back link", [seen + 4], T_MAIN
    SAME "registers are kept", ebx, 0x1234
    mov eax, cr0
    and eax, 8
    SAME "and TS is set", eax, 8
    clts
    movzx eax, byte [gdt + T_MAIN + 5]
    SAME "the caller's task stays busy", eax, 0x8b
    movzx eax, byte [gdt + FREE1 + 5]
    SAME "the called one is free again", eax, 0x89
    SAME "its EIP is behind its IRET", [TASK_A + 0x20], task_called.again

    ; JMP there and back
    TASK TASK_A, task_jumped, STACK_A, FREE1
    jmp FREE1:0
    SAME "JMP runs the other task", [seen], 0
    movzx eax, byte [gdt + FREE1 + 5]
    SAME "which is free after it jumps back", eax, 0x89

    ; a task gate in the IDT, for #GP with its error code
    TASK TASK_A, task_fault, STACK_A, FREE1
    SETGATE IDT + 13 * 8, 0x85, FREE1, 0, 0
    mov eax, GDT_END
    mov fs, ax
gate_resume:
    SAME "a task gate takes an exception", [seen], GDT_END
    SAME "whose EIP is in the old TSS", [seen + 4], gate_resume - 2
    mov eax, stubs + 13 * 16
    and eax, 0xffff
    or eax, K_CODE << 16
    mov [IDT + 13 * 8], eax
    mov dword [IDT + 13 * 8 + 4], (BASE & 0xffff0000) | 0x8e00
    mov eax, stubs + 13 * 16
    mov [IDT + 13 * 8 + 6], word BASE >> 16

    ; 16-bit TSS
    mov edi, TASK_16
    mov ecx, 0x0b
    xor eax, eax
    rep stosd
    mov word [TASK_16 + 0x0e], REAL(task16)
    mov word [TASK_16 + 0x10], 2
    mov word [TASK_16 + 0x1a], 0xc000
    mov word [TASK_16 + 0x22], K_DATA
    mov word [TASK_16 + 0x24], K_CODE16
    mov word [TASK_16 + 0x26], K_DATA
    mov word [TASK_16 + 0x28], K_DATA
    SETDESC FREE2, TASK_16, 0x2b, 0x0081
    mov dword [seen], 0
    call FREE2:0
    SAME "a 16-bit task", [seen], 0x1616
    clts

    ; faults
    TASK TASK_A, task_called, STACK_A, FREE1
    and byte [gdt + FREE1 + 5], 0x7f
    TRY
    call FREE1:0
    CAUGHT
    EXPECT "an absent TSS", 11, FREE1
    or byte [gdt + FREE1 + 5], 0x82
    TRY
    call FREE1:0
    CAUGHT
    EXPECT "a busy TSS", 13, FREE1
    SETDESC FREE1, TASK_A, 0x66, 0x0089
    TRY
    call FREE1:0
    CAUGHT
    EXPECT "a TSS too small", 10, FREE1
    TRY
    call T_MAIN:0
    CAUGHT
    EXPECT "the current task is busy", 13, T_MAIN
    TASK TASK_A, task_called, STACK_A, FREE1
    mov dword [TASK_A + 0x54], GDT_END
    TRY
    call FREE1:0
    CAUGHT
    EXPECT "a bad DS in it is #TS", 10, GDT_END
    SAME "in the new task", [fault_eip], task_called
    call back_to_main
    TASK TASK_A, task_called, STACK_A, FREE1
    mov dword [TASK_A + 0x64], 0x680001
    TRY
    call FREE1:0
    CAUGHT
    EXPECT "the T bit traps", 1, 0
    mov eax, dr6
    and eax, 0x8000
    SAME "with BT", eax, 0x8000
    call back_to_main
    TRY
    pushfd
    pop eax
    or ah, 0x40
    push eax
    popfd
    mov word [TSS], GDT_END
    iretd
    CAUGHT
    EXPECT "IRET to a bad back link", 10, GDT_END
    push 2
    popfd

    ; virtual-8086 mode
    mov esi, v86_start
    mov edi, V86_CODE
    mov ecx, v86_end - v86_start
    rep movsb
    TRY
    mov eax, v86_cli - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "CLI in V86 with IOPL 0", 13, 0
    SAME "CS is a segment", [fault_cs], V86_CODE >> 4
    mov eax, [fault_flags]
    and eax, 0x20000
    SAME "VM in the frame", eax, 0x20000
    TRY
    mov eax, v86_int - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "INT n with IOPL 0", 13, 0
    TRY
    mov eax, v86_pushf - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "PUSHF with IOPL 0", 13, 0
    TRY
    mov eax, v86_int - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "INT n with IOPL 3 goes through the IDT", 0x30, 0
    TRY
    mov eax, v86_hlt - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "HLT is refused", 13, 0
    TRY
    mov eax, v86_lldt - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "LLDT is undefined", 6, 0
    TRY
    mov eax, v86_far - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "a word at FFFFh", 13, 0

    ; I/O bitmap: a TSS with one byte of bitmap for ports 0..7, then all ones
    mov dword [TSS + 0x64], 0x680000
    mov dword [TSS + 0x68], 0xffffff7f
    SETDESC T_MAIN, TSS, 0x6a, 0x89
    mov ax, T_MAIN
    ltr ax
    TRY
    mov eax, v86_in7 - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "a port that the bitmap permits", 0x30, 0
    TRY
    mov eax, v86_in6 - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "one that it does not", 13, 0
    TRY
    mov eax, v86_in7w - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "a word, half of it permitted", 13, 0
    TRY
    mov eax, v86_in100 - v86_start
    call enter_v86_iopl3
    CAUGHT
    EXPECT "a port beyond the TSS limit", 13, 0
    TRY
    USER user_in6
    CAUGHT
    EXPECT "level 3 the same", 13, 0
    TRY
    USER user_in7
    CAUGHT
    EXPECT "and permitted", 0x30, 0

    ; VME: the redirection bitmap lies in the 32 bytes below the I/O bitmap
    mov eax, 1
    cpuid
    test dl, 2
    jz .no_vme
    mov eax, cr4
    or al, 1
    mov cr4, eax
    mov dword [TSS + 0x64], 0x880000
    mov dword [TSS + 0x88], -1
    mov edi, TSS + 0x68
    mov ecx, 8
    xor eax, eax
    rep stosd
    SETDESC T_MAIN, TSS, 0x8b, 0x89
    mov ax, T_MAIN
    ltr ax
    mov word [0x31 * 4], v86_handler - v86_start
    mov word [0x31 * 4 + 2], V86_CODE >> 4
    mov word [0x400], 0
    TRY
    mov eax, v86_redirected - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "VME: INT n by the V86 task's own table", 13, 0
    SAME "its handler ran", [0x400], 0x3131
    SAME "and came back", [fault_eip], v86_after - v86_start
    or byte [TSS + 0x68 + 0x31 / 8], 1 << (0x31 % 8)
    TRY
    mov eax, v86_redirected - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "a set bit sends it to the monitor", 13, 0
    SAME "at the INT", [fault_eip], v86_redirected - v86_start
    TRY
    mov eax, v86_vif - v86_start
    call enter_v86_iopl0
    CAUGHT
    EXPECT "STI sets VIF", 13, 0
    mov eax, [fault_flags]
    and eax, 0x80200
    SAME "and leaves IF", eax, 0x80000
    mov eax, cr4
    and al, ~1
    mov cr4, eax
.no_vme:
    ret

enter_v86_iopl3:
    mov ebx, 0x23002
    jmp enter_v86
enter_v86_iopl0:
    mov ebx, 0x20002
enter_v86:                   ; IP in eax
    push dword 0             ; GS FS DS ES
    push dword 0
    push dword 0
    push dword 0
    push dword 0             ; SS:SP
    push dword 0x7000
    push ebx
    push dword V86_CODE >> 4
    push eax
    iretd

; TR still names the other task after a fault in it.
back_to_main:
    and byte [gdt + T_MAIN + 5], ~2
    mov ax, T_MAIN
    ltr ax
    push dword 2
    popfd
    clts
    ret

task_called:
    pushfd
    pop eax
    and eax, 0x4000
    mov [seen], eax
    movzx eax, word [TASK_A]
    mov [seen + 4], eax
    iretd
.again:
    jmp task_called
task_jumped:
    pushfd
    pop eax
    and eax, 0x4000
    mov [seen], eax
    jmp T_MAIN:0
task_fault:
    pop dword [seen]
    mov eax, [TSS + 0x20]
    mov [seen + 4], eax
    add dword [TSS + 0x20], 2
    clts
    iretd
user_in6:
    in al, 6
    int 0x30
user_in7:
    in al, 7
    int 0x30
bits 16
task16:
    mov word [dword seen], 0x1616
    iret

v86_start:
v86_cli:
    cli
v86_int:
    int 0x30
v86_pushf:
    pushf
v86_hlt:
    hlt
v86_lldt:
    lldt ax
v86_far:
    mov ax, [0xffff]
v86_in7:
    in al, 7
    int 0x30
v86_in6:
    in al, 6
    int 0x30
v86_in7w:
    in ax, 7
    int 0x30
v86_in100:
    mov dx, 0x100
    in al, dx
    int 0x30
v86_redirected:
    int 0x31
v86_after:
    hlt
v86_vif:
    sti
    hlt
v86_handler:
    mov word [0x400], 0x3131
    iret
v86_end:
align 4
seen:   dd 0, 0
ROM_END
