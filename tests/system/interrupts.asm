; NMI and its blocking until IRET, HLT ended by NMI, gates of all kinds, and interrupts from virtual-8086 mode: frames,
; VIF and VIP, with VME and with protected-mode virtual interrupts.
%include "sys.inc"

APIC     equ 0xfee00000
NMI_TASK equ 0xe000
STACK_N  equ 0xf000
STACK_INNER equ 0xd000
V86_CODE equ 0x20000

%macro NMI 0                 ; one to ourselves; some processors take it a little later
    call send_nmi
%endmacro

%macro USER_IF 1              ; as USER, with IF set: all of the 8259's inputs are masked
    mov ax, U_DATA
    mov ds, ax
    mov es, ax
    push dword U_DATA
    push dword STACK3
    push dword 0x202
    push dword U_CODE
    push dword %1
    iretd
%endmacro

tests:
    call nmis
    call gates
    call v86
    call vme
    call pvi
    ; the last, as QEMU does not come back from there
    SETDESC FREE2, 0, 0xfff, 0x409a
    SETGATE IDT + 0x31 * 8, 0xee, FREE2, 0x1000, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a gate beyond the limit", 13, 0
    ret

; --- NMI ---
nmis:
    mov eax, 1
    cpuid
    test dh, 2
    jz .no_apic
    mov dword [APIC + 0xf0], 0x1ff
    cli
    TRY
    NMI
    CAUGHT
    EXPECT "an NMI comes with IF clear", 2, 0
    mov dword [hook], .unblock    ; the handler above ended without IRET: NMI is still blocked
    int 0x31
    mov dword [hook], nmi_again
    mov dword [hits], 0
    mov dword [depth], 0
    mov dword [most], 0
    NMI
    SAME "a second in the handler comes too", [hits], 2
    SAME "but not before its IRET", [most], 1
    mov dword [hook], nmi_inner_iret
    mov dword [hits], 0
    mov dword [depth], 0
    mov dword [most], 0
    NMI
    SAME "any IRET lets the next in", [hits], 2
    SAME "while the handler runs", [most], 2
    mov dword [hook], nmi_far_return
    mov dword [hits], 0
    NMI
    mov dword [hook], nmi_counts
    NMI
    SAME "a return by RETF leaves it blocked", [hits], 1
    int 0x31
    call settle
    SAME "till the next IRET", [hits], 2
    mov dword [hook], 0

    ; by a task gate: blocked until that task's IRET
    TASK NMI_TASK, nmi_task, STACK_N, FREE1
    push dword [IDT + 2 * 8]
    push dword [IDT + 2 * 8 + 4]
    SETGATE IDT + 2 * 8, 0x85, FREE1, 0, 0
    mov dword [hits], 0
    mov dword [most], 0
    NMI
    clts
    SAME "NMI by a task gate", [hits], 2
    SAME "one after the other", [most], 0
    pop dword [IDT + 2 * 8 + 4]
    pop dword [IDT + 2 * 8]
    call halted
.no_apic:
    ret
.unblock:
    add esp, 8
    iretd

; HLT: the edge of counter 0 of the 8254 is an NMI, the local APIC's timer an interrupt later on.
halted:
    mov dword [IOAPIC], 1
    cmp dword [IOAPIC + 0x10], -1
    je .none
    mov dword [IOAPIC], 0x15      ; pin 2
    mov eax, [APIC + 0x20]
    and eax, 0xff000000
    mov [IOAPIC + 0x10], eax
    mov dword [IOAPIC], 0x14
    mov dword [IOAPIC + 0x10], 0x400
    mov dword [hook], nmi_notes_eip
    mov dword [hits], 0
    call edge_soon
    cli
    hlt
.behind:
    SAME "HLT with IF clear is ended by NMI", [hits], 1
    SAME "which returns behind it", [seen_eip], .behind
    mov dword [hook], nmi_sleeps
    mov dword [hits], 0
    mov dword [most], -1
    call edge_soon
    cli
    hlt
.behind2:
    SAME "HLT within its handler sleeps through the next", [most], 1
    SAME "till an interrupt, whose IRET lets it in", [hits], 2
    SAME "and which returns behind that HLT", [seen_eip], nmi_sleeps.behind
    mov dword [IOAPIC], 0x14
    mov dword [IOAPIC + 0x10], 0x10400
    mov dword [hook], 0
.none:
    ret
IOAPIC equ 0xfec00000
edge_soon:                        ; channel 0, mode 0, about half a millisecond
    mov al, 0x30
    out 0x43, al
    mov al, 0x50
    out 0x40, al
    mov al, 2
    out 0x40, al
    ret
nmi_notes_eip:
    cmp dword [esp], 2
    jne other_vector
    push eax
    mov eax, [esp + 12]
    mov [ss:seen_eip], eax
    inc dword [ss:hits]
    pop eax
    add esp, 8
    iretd
nmi_sleeps:
    cmp dword [esp], 0x33
    je .interrupt
    cmp dword [esp], 2
    jne other_vector
    inc dword [ss:hits]
    cmp dword [ss:hits], 1
    jne .second
    push eax
    call edge_soon
    mov dword [APIC + 0x3e0], 0x0b
    mov dword [APIC + 0x320], 0x33
    mov dword [APIC + 0x380], 4000000
    sti
    hlt
.behind:
    cli
    pop eax
.second:
    add esp, 8
    iretd
.interrupt:
    push eax
    mov eax, [ss:hits]
    mov [ss:most], eax            ; how many had come till now
    mov eax, [esp + 12]
    mov [ss:seen_eip], eax
    mov dword [APIC + 0x320], 0x10000
    mov dword [APIC + 0xb0], 0
    pop eax
    add esp, 8
    iretd

send_nmi:
    push eax
    mov eax, [APIC + 0x20]
    and eax, 0xff000000
    mov [APIC + 0x310], eax
    mov dword [APIC + 0x300], 0x4400
    pop eax
settle:
    push ecx
    mov ecx, 200
    loop $
    pop ecx
    ret

; A hook for the vector on the stack; counts NMIs and how deep they nest.
%macro NMI_BEGIN 0
    cmp dword [esp], 2
    jne other_vector
    push eax
    inc dword [ss:hits]
    inc dword [ss:depth]
    mov eax, [ss:depth]
    cmp eax, [ss:most]
    jb %%less
    mov [ss:most], eax
%%less:
%endmacro
%macro NMI_END 0
    dec dword [ss:depth]
    pop eax
    add esp, 8
%endmacro
other_vector:
    add esp, 8
    iretd
nmi_again:
    NMI_BEGIN
    cmp dword [ss:hits], 1
    jne .done
    NMI
.done:
    NMI_END
    iretd
nmi_inner_iret:
    NMI_BEGIN
    cmp dword [ss:hits], 1
    jne .done
    NMI
    int 0x31
    call settle
.done:
    NMI_END
    iretd
nmi_counts:
    NMI_BEGIN
    NMI_END
    iretd
nmi_far_return:
    NMI_BEGIN
    NMI_END
    retf 4                        ; takes EIP and CS, and leaves the flags

; Nested: the first run sends another NMI to itself.
nmi_task:
    inc dword [hits]
    cmp dword [hits], 1
    jne .done
    NMI
    cmp dword [hits], 1
    je .done
    inc dword [most]
.done:
    iretd
    jmp nmi_task

; --- gates ---
gates:
    SETGATE IDT + 0x31 * 8, 0xef, K_CODE, trap_target, 0
    TRY
    USER_IF user_int31
    CAUGHT
    EXPECT "a trap gate", 0x30, 0
    SAME "leaves IF", [r_ebx], 0x200
    SETGATE IDT + 0x31 * 8, 0xee, K_CODE, trap_target, 0
    TRY
    USER_IF user_int31
    CAUGHT
    EXPECT "an interrupt gate", 0x30, 0
    SAME "clears it", [r_ebx], 0
    SAME "the frame holds it", [r_ecx], 0x200
    SAME "TF and NT are clear", [r_edx], 0
    SETDESC FREE1, BASE, 0xffff, 0x009a
    SETGATE IDT + 0x31 * 8, 0xe6, FREE1, REAL(gate16_target), 0
    TRY
    USER user_int31
    CAUGHT
    EXPECT "a 16-bit gate", 0x30, 0
    SAME "pushes words", [r_ebx], STACK_INT - 10
    SETDESC FREE2, 0, 0xfffff, 0xc09e
    SETGATE IDT + 0x31 * 8, 0xee, FREE2, conforming_target, 0
    TRY
    USER user_int31
    CAUGHT
    EXPECT "a gate to conforming code", 0x30, 0
    SAME "stays at level 3", [r_ebx], FREE2 | 3
    SAME "on its stack", [r_edx], STACK3 - 12
    SETGATE IDT + 0x31 * 8, 0xee, U_CODE & ~3, trap_target, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a gate to a lower level", 13, U_CODE & ~3
    SETGATE IDT + 0x31 * 8, 0xee, K_DATA, trap_target, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a gate to data", 13, K_DATA
    SETGATE IDT + 0x31 * 8, 0xee, 0, trap_target, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a gate to null", 13, 0
    SETDESC FREE2, 0, 0xfffff, 0xc01a
    SETGATE IDT + 0x31 * 8, 0xee, FREE2, trap_target, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a gate to an absent segment", 11, FREE2
    SETGATE IDT + 0x31 * 8, 0xec, K_CODE, trap_target, 0
    TRY
    int 0x31
    CAUGHT
    EXPECT "a call gate in the IDT", 13, 0x31 * 8 + 2
    SETGATE IDT + 0x31 * 8, 0xee, K_CODE, trap_target, 0
    ; the stack of level 1
    SETDESC FREE1, 0, 0xfffff, 0xc0ba
    SETGATE IDT + 0x31 * 8, 0xee, FREE1 | 1, trap_target, 0
    mov dword [TSS + 12], STACK_INNER
    mov dword [TSS + 16], K_DATA
    TRY
    USER user_int31
    CAUGHT
    EXPECT "SS1 of another level", 10, K_DATA
    mov dword [TSS + 16], 0
    TRY
    USER user_int31
    CAUGHT
    EXPECT "SS1 null", 10, 0
    SETDESC FREE2, 0, 0xfffff, 0xc032
    mov dword [TSS + 16], FREE2 | 1
    TRY
    USER user_int31
    CAUGHT
    EXPECT "SS1 absent", 12, FREE2
    SETDESC FREE2, 0, 0xfffff, 0xc0b2
    TRY
    USER user_int31
    CAUGHT
    EXPECT "a gate to level 1", 0x30, 0
    SAME "its frame", [r_esi], STACK_INNER - 20
    mov dword [TSS + 12], 8
    SETDESC FREE2, DATA, 0xff, 0x40b2
    TRY
    USER user_int31
    CAUGHT
    EXPECT "no room on it", 12, FREE2
    SETGATE IDT + 0x31 * 8, 0xee, K_CODE, trap_target, 0
    ; software and hardware exceptions
    TRY
    int3
.behind:
    CAUGHT
    EXPECT "INT3", 3, 0
    SAME "is a trap", [fault_eip], .behind
    TRY
    mov al, 0x7f
    add al, 1
    into
.behind_into:
    CAUGHT
    EXPECT "INTO", 4, 0
    SAME "is one too", [fault_eip], .behind_into
    mov dword [DATA], 1
    mov dword [DATA + 4], 5
    TRY
    mov eax, 6
.bound:
    bound eax, [DATA]
    CAUGHT
    EXPECT "BOUND", 5, 0
    SAME "is a fault", [fault_eip], .bound
    TRY
    xor ecx, ecx
.divide:
    div ecx
    CAUGHT
    EXPECT "DIV", 0, 0
    SAME "is one", [fault_eip], .divide
    TRY
    int 13
.behind_13:
    CAUGHT
    SAME "INT 13 pushes no error code", [error], .behind_13
    ret

user_int31:
    int 0x31
    int 0x30
trap_target:
    pushfd
    pop ebx
    mov edx, ebx
    and ebx, 0x200
    and edx, 0x4100
    mov ecx, [esp + 8]
    and ecx, 0x200
    mov esi, esp
    iretd
conforming_target:
    xor ebx, ebx
    mov bx, cs
    mov edx, esp
    iretd
bits 16
gate16_target:
    mov ebx, 0
    mov bx, sp
    int 0x30                      ; the frame has half of EIP: there is no way back
bits 32

; --- virtual-8086 mode ---
%define V(label) ((label) - v86_start)
%macro ENTER_V86 2           ; EFLAGS besides VM, entry
    push dword 0x3333        ; GS FS DS ES
    push dword 0x2222
    push dword 0x1111
    push dword 0x4444
    push dword 0             ; SS:SP
    push dword 0x7000
    push dword 0x20002 | %1
    push dword V86_CODE >> 4
    push dword V(%2)
    iretd
%endmacro
v86:
    mov esi, v86_start
    mov edi, V86_CODE
    mov ecx, v86_end - v86_start
    rep movsb
    mov dword [hook], v86_frame
    or byte [IDT + 0x32 * 8 + 5], 0x60
    TRY
    ENTER_V86 0x3000, v86_int
    CAUGHT
    EXPECT "back in virtual-8086 mode", 13, 0
    SAME "at the HLT", [fault_eip], V(v86_hlt)
    SAME "its ES in the frame", [frame + 20], 0x4444
    SAME "its DS", [frame + 24], 0x1111
    SAME "its FS", [frame + 28], 0x2222
    SAME "its GS", [frame + 32], 0x3333
    SAME "its SP", [frame + 12], 0x7000
    SAME "null selectors in the handler", [selectors], 0
    SAME "restored by IRET", [r_eax], 0x1111
    SETGATE IDT + 0x31 * 8, 0xee, FREE1 | 1, trap_target, 0
    TRY
    ENTER_V86 0x3000, v86_int31
    CAUGHT
    EXPECT "a gate to level 1", 13, FREE1
    SETGATE IDT + 0x31 * 8, 0xee, K_CODE, trap_target, 0
    TRY
    ENTER_V86 0x3000, v86_popf
    CAUGHT
    EXPECT "POPF and PUSHF with IOPL 3", 13, 0
    SAME "IF goes through, IOPL stays", [r_eax], 0x3202
    TRY
    ENTER_V86 0x3000, v86_iret
    CAUGHT
    EXPECT "IRET within", 13, 0
    SAME "to where it says", [fault_eip], V(v86_hlt)
    TRY
    ENTER_V86 0, v86_in_any
    CAUGHT
    EXPECT "IN asks the bitmap, not IOPL", 13, 0
    TRY
    ENTER_V86 0, v86_lock
    CAUGHT
    EXPECT "LOCK CLI is undefined", 6, 0
    TRY
    ENTER_V86 0, v86_mov_cr
    CAUGHT
    EXPECT "MOV to CR0 is refused", 13, 0
    TRY
    ENTER_V86 0, v86_fault
    CAUGHT
    EXPECT "a divide error", 0, 0
    mov eax, [fault_flags]
    and eax, 0x20000
    SAME "has VM in its frame", eax, 0x20000
    ret
; A hook for INT 32h: keeps frame and selectors, returns. All else as ever.
v86_frame:
    cmp dword [esp], 0x32
    jne .other
    add esp, 8
    push eax
    xor eax, eax
    mov ax, ds
    mov [ss:selectors], eax
    mov ax, gs
    or [ss:selectors], eax
%assign i 0
%rep 9
    mov eax, [esp + 4 + i]
    mov [ss:frame + i], eax
%assign i i + 4
%endrep
    pop eax
    iretd
.other:
    mov dword [ss:hook], 0
    jmp taken

; --- VME: CLI and STI of a task with IOPL 0 change VIF ---
vme:
    mov eax, 1
    cpuid
    test dl, 2
    jz .none
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
    mov word [0x31 * 4], V(v86_handler)
    mov word [0x31 * 4 + 2], V86_CODE >> 4
    TRY
    ENTER_V86 0x80000, v86_pushf
    CAUGHT
    SAME "VME: PUSHF shows VIF as IF, and IOPL 3", [r_eax], 0x3202
    TRY
    ENTER_V86 0, v86_pushf
    CAUGHT
    SAME "and VIF clear", [r_eax], 0x3002
    TRY
    ENTER_V86 0x80000, v86_cli
    CAUGHT
    mov eax, [fault_flags]
    and eax, 0x80000
    SAME "CLI clears VIF", eax, 0
    TRY
    ENTER_V86 0, v86_popf
    CAUGHT
    mov eax, [fault_flags]
    and eax, 0x83200
    SAME "POPF sets VIF", eax, 0x80000
    TRY
    ENTER_V86 0x100000, v86_sti
    CAUGHT
    EXPECT "STI with VIP", 13, 0
    SAME "at the STI", [fault_eip], V(v86_sti)
    TRY
    ENTER_V86 0x100000, v86_popf
    CAUGHT
    EXPECT "POPF of IF with VIP", 13, 0
    SAME "at the POPF", [fault_eip], V(v86_popf_at)
    TRY
    ENTER_V86 0, v86_popf_tf
    CAUGHT
    EXPECT "POPF of TF", 13, 0
    SAME "at the POPF", [fault_eip], V(v86_popf_tf_at)
    TRY
    ENTER_V86 0, v86_pushfd
    CAUGHT
    EXPECT "PUSHFD", 13, 0
    SAME "at itself", [fault_eip], V(v86_pushfd)
    TRY
    ENTER_V86 0x80000, v86_int31
    CAUGHT
    SAME "INT n by its own table pushes IF for VIF", [r_ebx], 0x3202
    SAME "and clears VIF", [r_ecx], 0x3002
    mov eax, [fault_flags]
    and eax, 0x80000
    SAME "IRET sets it again", eax, 0x80000
    TRY
    ENTER_V86 0x3200, v86_int31
    CAUGHT
    SAME "with IOPL 3 it is IF", [r_ecx], 0x3002
    mov eax, cr4
    and al, ~1
    mov cr4, eax
.none:
    ret

; --- CR4.PVI: the same at level 3 of protected mode ---
pvi:
    mov eax, 1
    cpuid
    test dl, 2
    jz .none
    TRY
    USER user_sti
    CAUGHT
    EXPECT "STI at level 3", 13, 0
    mov eax, cr4
    or al, 2
    mov cr4, eax
    TRY
    USER user_sti
    CAUGHT
    EXPECT "PVI: STI at level 3", 0x30, 0
    mov eax, [fault_flags]
    and eax, 0x80200
    SAME "sets VIF", eax, 0x80000
    SAME "which PUSHF does not show as IF", [r_ebx], 0x80002
    TRY
    USER user_sti_cli
    CAUGHT
    mov eax, [fault_flags]
    and eax, 0x80200
    SAME "CLI clears it", eax, 0
    TRY
    mov ax, U_DATA
    mov ds, ax
    push dword U_DATA
    push dword STACK3
    push dword 0x100002           ; VIP
    push dword U_CODE
    push dword user_sti
    iretd
    CAUGHT
    EXPECT "STI with VIP", 13, 0
    mov eax, cr4
    and al, ~2
    mov cr4, eax
.none:
    ret
user_sti:
    sti
    pushfd
    pop ebx
    int 0x30
user_sti_cli:
    sti
    cli
    int 0x30

bits 16
v86_start:
v86_int:
    int 0x32
    mov ax, ds
v86_hlt:
    hlt
v86_int31:
    int 0x31
    hlt
v86_popf:
    push word 0x0202
v86_popf_at:
    popf
v86_pushf:
    mov eax, 0
    pushf
    pop ax
    hlt
v86_popf_tf:
    push word 0x0102
v86_popf_tf_at:
    popf
    hlt
v86_iret:
    push word 0x0002
    push word V86_CODE >> 4
    push word V(v86_hlt)
    iret
v86_in_any:
    in al, 0x61
    hlt
v86_lock:
    db 0xf0
    cli
v86_mov_cr:
    mov cr0, eax
v86_fault:
    xor cx, cx
    div cx
v86_sti:
    sti
    hlt
v86_cli:
    cli
    hlt
v86_pushfd:
    pushfd
    hlt
v86_handler:
    push bp
    mov bp, sp
    mov ebx, 0
    mov bx, [bp + 6]
    mov ecx, 0
    pushf
    pop cx
    pop bp
    iret
v86_end:
bits 32

align 4
hits:      dd 0
depth:     dd 0
most:      dd 0
selectors: dd 0
seen_eip:  dd 0
frame:     times 9 dd 0
ROM_END
