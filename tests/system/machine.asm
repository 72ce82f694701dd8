; What needs the machine around the processor, and the rest: debug registers and single step, code
; that changes itself, LOCK, shadows of STI and MOV SS, HLT, interrupted REP, FERR# and IRQ 13, A20,
; real mode and its limits, segments that keep large limits there.
%include "sys.inc"

%macro STEPS_FROM 0          ; counts single-step traps
    mov dword [steps], 0
    mov dword [hook], step_hook
    pushfd
    or byte [esp + 1], 1
    popfd
%endmacro
%macro STEPS_TO 2            ; name, wanted, of which three are the macro's own
    pushfd
    and byte [esp + 1], ~1 & 0xff
    popfd
    mov dword [hook], 0
    SAME %1, [steps], %2
%endmacro

tests:
    ; debug registers
    mov eax, .here
    mov dr0, eax
    mov eax, 0x403
    mov dr7, eax
    TRY
    nop
.here:
    nop
    CAUGHT
    EXPECT "an instruction breakpoint", 1, 0
    SAME "before the instruction", [fault_eip], .here
    mov eax, [fault_flags]
    and eax, 0x10000
    SAME "without RF in the frame", eax, 0
    mov eax, dr6
    and eax, 0xf
    SAME "DR6.B0", eax, 1
    xor eax, eax
    mov dr6, eax
    mov eax, DATA
    mov dr1, eax
    mov eax, 0xd0040c             ; DR1: write, 4 bytes
    mov dr7, eax
    TRY
    mov eax, [DATA]
    CAUGHT
    EXPECT "a write breakpoint passes reads", -1, 0
    TRY
    mov byte [DATA + 3], 1
.after_write:
    nop
    CAUGHT
    EXPECT "and catches a byte in its range", 1, 0
    SAME "after the instruction", [fault_eip], .after_write
    mov eax, 0x2400               ; GD
    mov dr7, eax
    TRY
    mov eax, dr3
    CAUGHT
    EXPECT "general detect", 1, 0
    mov eax, dr6
    and eax, 0x2000
    SAME "DR6.BD", eax, 0x2000
    mov eax, 0x400
    mov dr7, eax

    ; single step
    STEPS_FROM
    nop
    nop
    STEPS_TO "single step", 3 + 2
    mov eax, ss
    STEPS_FROM
    mov ss, ax
    nop
    STEPS_TO "MOV SS takes the next one along", 3 + 1
    mov ecx, 3
    mov esi, DATA
    STEPS_FROM
    rep lodsb
    STEPS_TO "every turn of a REP", 3 + 3
    STEPS_FROM
    call nothing
    STEPS_TO "a CALL and its RET", 3 + 2

    ; code that changes itself
    mov byte [.patched + 1], 5
.patched:
    mov al, 1
    movzx eax, al
    SAME "the very next instruction is changed", eax, 5
    mov edi, .target
    mov ecx, 4
    mov al, 0x40                  ; inc eax
    xor ebx, ebx
    rep stosb
    xor eax, eax
.target:
    times 4 nop
    movzx eax, al
    SAME "the next four", eax, 4

    ; LOCK
    TRY
    lock add [DATA], eax
    CAUGHT
    EXPECT "LOCK ADD", -1, 0
    TRY
    db 0xf0, 0x89, 0x05
    dd DATA
    CAUGHT
    EXPECT "LOCK MOV", 6, 0
    TRY
    db 0xf0, 0x01, 0xc0
    CAUGHT
    EXPECT "LOCK ADD of registers", 6, 0

    ; interrupts: the local APIC, if there is one, passes the 8259's on (LINT0 is ExtINT)
    mov eax, 1
    cpuid
    test edx, 0x200
    jz .no_apic
    mov dword [0xfee000f0], 0x1ff
    mov dword [0xfee00350], 0x700
.no_apic:
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, 0x20
    out 0x21, al
    mov al, 0x70
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    mov al, 0xfe
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    mov dword [hook], timer_hook

    call timer_pending
    sti
    nop
.after_sti:
    nop
    nop
    cli
    SAME "STI holds for one instruction", [hit_eip], .after_sti
    call timer_pending
    sti
    cli
    nop
    nop
    SAME "STI and CLI let none in", [hit_eip], 0
    push dword 0x202
    popfd
.after_popf:
    nop
    cli
    SAME "POPF takes it at once", [hit_eip], .after_popf
    mov dword [hit_eip], 0
    call timer_start
    sti
    hlt
.after_hlt:
    cli
    SAME "HLT is left behind", [hit_eip], .after_hlt
    mov dword [tries], 200        ; a busy host may bring the interrupt too late
.again:
    mov dword [hit_eip], 0
    call timer_soon               ; a fast host fills all that in half a millisecond
    mov edi, 0x100000
    mov ecx, 3000000
    sti
.rep:
    rep stosd
    cli
    cmp dword [hit_eip], .rep
    je .hit
    dec dword [tries]
    jnz .again
.hit:
    SAME "REP goes on after interrupts", ecx, 0
    SAME "to its end", edi, 0x100000 + 12000000
    SAME "and was interrupted at itself", [hit_eip], .rep

    ; FERR# and IRQ 13
    mov al, 0xfb
    out 0x21, al
    mov al, 0xdf
    out 0xa1, al
    mov dword [hook], ferr_hook
    mov dword [hits], 0
    call divide_by_zero
    sti
    fwait
    nop
    nop
    cli
    SAME "an x87 exception is IRQ 13", [hits], 1
    mov dword [hook], 0
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    mov eax, cr0
    or al, 0x20
    mov cr0, eax
    call divide_by_zero
    TRY
    fwait
    CAUGHT
    EXPECT "with CR0.NE it is #MF", 16, 0
    fnclex
    fninit
    mov eax, cr0
    or al, 4
    mov cr0, eax
    TRY
    fld1
    CAUGHT
    EXPECT "CR0.EM", 7, 0
    mov eax, cr0
    and al, ~4
    or al, 0xa
    mov cr0, eax
    TRY
    fwait
    CAUGHT
    EXPECT "CR0.TS and MP, FWAIT", 7, 0
    clts

    ; A20
    mov dword [DATA], 0
    in al, 0x92
    and al, ~2 & 0xfe
    out 0x92, al
    mov dword [0x100000 + DATA], 0x20202020
    mov ebx, [DATA]
    in al, 0x92
    or al, 2
    and al, 0xfe
    out 0x92, al
    SAME "A20 off: the second megabyte is the first", ebx, 0x20202020
    mov dword [0x100000 + DATA], 0x10101010
    SAME "and on it is not", [DATA], 0x20202020

    ; real mode
    cli
    mov [saved_esp], esp
    mov dword [DATA], 0x5a5a1234
    SETDESC FREE1, 0, 0xfffff, 0x8f92
    mov ax, FREE1
    mov fs, ax
    mov ax, K_DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    jmp K_CODE16:REAL(.leave)
bits 16
.leave:
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    jmp BASE >> 4:REAL(.real)
.real:
    xor ax, ax
    mov ss, ax
    mov sp, 0x7000
    mov es, ax
    mov word [es:13 * 4], REAL(real_fault)
    mov word [es:13 * 4 + 2], BASE >> 4
    mov word [es:6 * 4], REAL(real_fault)
    mov word [es:6 * 4 + 2], BASE >> 4
    mov ax, cs
    mov ds, ax
    o32 lidt [REAL(real_idt_pointer)]
    mov word [REAL(real_resume)], REAL(.r1)
    mov byte [REAL(real_hits)], 0
    mov ax, [0xffff]
.r1:
    mov al, [REAL(real_hits)]
    mov [REAL(results)], al
    mov word [REAL(real_resume)], REAL(.r2)
    mov byte [REAL(real_hits)], 0
    mov al, [0xffff]
.r2:
    mov al, [REAL(real_hits)]
    mov [REAL(results) + 1], al
    mov word [REAL(real_resume)], REAL(.r3)
    mov byte [REAL(real_hits)], 0
    mov ebx, 0x10000
    mov al, [ebx]
.r3:
    mov al, [REAL(real_hits)]
    mov [REAL(results) + 2], al
    mov word [REAL(real_resume)], REAL(.r4)
    mov byte [REAL(real_hits)], 0
    mov ebx, DATA
    mov eax, [fs:ebx]
    mov [REAL(results) + 8], eax
.r4:
    mov al, [REAL(real_hits)]
    mov [REAL(results) + 3], al
    mov word [REAL(real_resume)], REAL(.r5)
    mov byte [REAL(real_hits)], 0
    db 0x63, 0xc0                 ; ARPL
.r5:
    mov al, [REAL(real_hits)]
    mov [REAL(results) + 4], al
    mov word [REAL(real_resume)], REAL(.r6)
    mov byte [REAL(real_hits)], 0
    mov ax, 0xffff
    mov gs, ax
    mov eax, [gs:0x10 + 0x500]    ; FFFF:0510 is 100500h
    mov [REAL(results) + 12], eax
.r6:
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword K_CODE:.back
bits 32
.back:
    mov ax, K_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov esp, [saved_esp]
    lidt [idt_pointer]
    movzx eax, byte [results]
    SAME "real mode: a word at FFFFh is #GP", eax, 1
    movzx eax, byte [results + 1]
    SAME "a byte is not", eax, 0
    movzx eax, byte [results + 2]
    SAME "an offset of 64 KiB is", eax, 1
    movzx eax, byte [results + 3]
    SAME "but not in a segment with a large limit", eax, 0
    SAME "which reads beyond 64 KiB", [results + 8], 0x5a5a1234
    movzx eax, byte [results + 4]
    SAME "ARPL is undefined", eax, 1
    mov eax, [0x100500]
    SAME "FFFF:0510 is above the first megabyte", [results + 12], eax
    ret

bits 16
real_fault:                       ; a fault's frame: IP, CS, flags
    push bp
    mov bp, sp
    push ax
    mov ax, [cs:REAL(real_resume)]
    mov [bp + 2], ax
    pop ax
    pop bp
    inc byte [cs:REAL(real_hits)]
    iret
bits 32

nothing:
    ret

step_hook:
    inc dword [ss:steps]
    add esp, 8
    iretd

timer_hook:                       ; vector, error, EIP ...
    push eax
    mov eax, [esp + 12]
    mov [ss:hit_eip], eax
    inc dword [ss:hits]
    mov al, 0x20
    out 0x20, al
    pop eax
    add esp, 8
    iretd
ferr_hook:
    push eax
    inc dword [ss:hits]
    xor al, al
    out 0xf0, al
    fnclex
    mov al, 0x20
    out 0xa0, al
    out 0x20, al
    pop eax
    add esp, 8
    iretd

timer_start:                      ; channel 0, mode 0, about 400 us
    mov al, 0x30
    out 0x43, al
    mov al, 0xf0
    out 0x40, al
    mov al, 1
    out 0x40, al
    ret
timer_soon:                       ; the same after about 50 us
    mov al, 0x30
    out 0x43, al
    mov al, 0x40
    out 0x40, al
    mov al, 0
    out 0x40, al
    ret
timer_pending:                    ; waits until IRQ 0 is requested
    mov dword [hit_eip], 0
    call timer_start
.wait:
    mov al, 0x0a
    out 0x20, al
    in al, 0x20
    test al, 1
    jz .wait
    ret

divide_by_zero:
    fninit
    push dword 0x37b
    fldcw [esp]
    pop eax
    fld1
    fldz
    fdivp st1
    ret

align 4
steps:       dd 0
hits:        dd 0
tries:       dd 0
hit_eip:     dd 0
saved_esp:   dd 0
results:     times 16 db 0
real_resume: dw 0
real_hits:   db 0
ROM_END
