; Instructions that the native judge cannot judge, as the host's system or a virtual host's monitor stands
; in the way (judge_exempt in tests/cpu/judge_case.c): SGDT, SIDT, SMSW, SLDT, STR, CPUID, RDTSC, RDPMC,
; SYSENTER with SYSEXIT, MOV of test registers. INT1 is in debug.asm, RSM in smm.asm.
%include "sys.inc"

MSR_CS   equ 0x174
MSR_ESP  equ 0x175
MSR_EIP  equ 0x176
STACK_S  equ 0xc000

%macro SET_MSR 2
    mov ecx, %1
    mov eax, %2
    xor edx, edx
    wrmsr
%endmacro

tests:
    SETDESC FREE1, DATA + 0x800, 7, 0x0082
    mov ax, FREE1
    lldt ax
    call stores
    TRY
    USER user_stores
    CAUGHT
    EXPECT "all of them at level 3", 0x30, 0
    call checks
    xor eax, eax
    lldt ax
    call identity
    call counters
    call fast_calls
    TRY
    db 0x0f, 0x24, 0xf0           ; MOV EAX, TR6
    CAUGHT
    EXPECT "MOV of a test register", 6, 0
    TRY
    db 0x0f, 0x26, 0xf0
    CAUGHT
    EXPECT "MOV to one", 6, 0
    ret

; --- SLDT, STR, SMSW, SGDT, SIDT ---
user_stores:
    call run_stores
    int 0x30
stores:
    call run_stores
checks:
    SAME "SLDT of a doubleword register clears its upper half", [out], FREE1
    SAME "SLDT of a word register leaves it", [out + 4], 0xeeee0000 | FREE1
    SAME "SLDT of memory stores a word", [out + 8], 0xeeee0000 | FREE1
    SAME "whatever the operand size", [out + 12], 0xeeee0000 | FREE1
    SAME "STR of a doubleword register", [out + 16], T_MAIN
    SAME "of a word register", [out + 20], 0xeeee0000 | T_MAIN
    SAME "of memory", [out + 24], 0xeeee0000 | T_MAIN
    SAME "whatever the size", [out + 28], 0xeeee0000 | T_MAIN
    mov eax, cr0
    SAME "SMSW of a doubleword register is CR0", [out + 32], eax
    and eax, 0xffff
    or eax, 0xeeee0000
    SAME "of a word register half of it", [out + 36], eax
    SAME "of memory too", [out + 40], eax
    SAME "whatever the size is", [out + 44], eax
    SAME "SGDT: the limit", [out + 48], 0xeeee | (GDT_END - 1) << 16
    SAME "the base", [out + 52], gdt
    SAME "and no more", [out + 56], 0xeeeeeeee
    SAME "SIDT: the limit", [out + 60], 0xeeee | (0x78 * 8 - 1) << 16
    SAME "the base", [out + 64], IDT
    SAME "and no more", [out + 68], 0xeeeeeeee
    ret
run_stores:
    mov edi, out
    mov ecx, 20
    mov eax, 0xeeeeeeee
    cld
    rep stosd
    mov eax, 0xeeeeeeee
    sldt eax
    mov [out], eax
    mov eax, 0xeeeeeeee
    sldt ax
    mov [out + 4], eax
    db 0x0f, 0x00, 0x05           ; SLDT [out + 8], with 32-bit operands
    dd out + 8
    sldt [out + 12]
    mov eax, 0xeeeeeeee
    str eax
    mov [out + 16], eax
    mov eax, 0xeeeeeeee
    str ax
    mov [out + 20], eax
    db 0x0f, 0x00, 0x0d
    dd out + 24
    db 0x66, 0x0f, 0x00, 0x0d
    dd out + 28
    mov eax, 0xeeeeeeee
    smsw eax
    mov [out + 32], eax
    mov eax, 0xeeeeeeee
    smsw ax
    mov [out + 36], eax
    db 0x0f, 0x01, 0x25
    dd out + 40
    db 0x66, 0x0f, 0x01, 0x25
    dd out + 44
    sgdt [out + 50]
    sidt [out + 62]
    ret

; --- CPUID ---
identity:
    TRY
    USER .user
    CAUGHT
    EXPECT "CPUID at level 3", 0x30, 0
    cmp dword [r_eax], 1
    setae al
    movzx eax, al
    SAME "its highest leaf", eax, 1
    mov eax, 1
    xor ecx, ecx
    cpuid
    mov esi, eax
    mov edi, edx
    mov eax, 1
    mov ecx, 0x12345678
    cpuid
    SAME "leaf 1 says the same twice", eax, esi
    SAME "and does not look at ECX", edx, edi
    and eax, 0xf00
    SAME "a processor of family 6", eax, 0x600
    mov eax, 1
    stc
    cpuid
    setc al
    movzx eax, al
    SAME "the flags stay", eax, 1
    ret
.user:
    xor eax, eax
    cpuid
    int 0x30

; --- RDTSC and RDPMC ---
counters:
    rdtsc
    mov esi, eax
    mov edi, edx
    mov ecx, 1000
    loop $
    rdtsc
    sub eax, esi
    sbb edx, edi
    or eax, edx
    setnz al
    movzx eax, al
    SAME "time passes", eax, 1
    SAME "and never back", edx, 0
    TRY
    USER .user
    CAUGHT
    EXPECT "RDTSC at level 3", 0x30, 0
    mov eax, cr4
    or al, 4
    mov cr4, eax
    TRY
    USER .user
    CAUGHT
    EXPECT "with CR4.TSD", 13, 0
    TRY
    rdtsc
    CAUGHT
    EXPECT "at level 0", -1, 0
    mov eax, cr4
    and al, ~4
    mov cr4, eax
    TRY
    xor ecx, ecx
    rdpmc
    CAUGHT
    EXPECT "RDPMC", -1, 0
    TRY
    mov ecx, 0x12345
    rdpmc
    CAUGHT
    EXPECT "of a counter that does not exist", 13, 0
    TRY
    USER .user_counter
    CAUGHT
    EXPECT "at level 3", 13, 0
    mov eax, cr4
    or ax, 0x100
    mov cr4, eax
    TRY
    USER .user_counter
    CAUGHT
    EXPECT "with CR4.PCE", 0x30, 0
    mov eax, cr4
    and ax, ~0x100
    mov cr4, eax
    ret
.user:
    rdtsc
    int 0x30
.user_counter:
    xor ecx, ecx
    rdpmc
    int 0x30

; --- SYSENTER and SYSEXIT ---
fast_calls:
    SET_MSR MSR_CS, 0
    TRY
    sysenter
    CAUGHT
    EXPECT "SYSENTER without a segment", 13, 0
    TRY
    sysexit
    CAUGHT
    EXPECT "SYSEXIT without one", 13, 0
    SET_MSR MSR_CS, K_CODE
    SET_MSR MSR_ESP, STACK_S
    SET_MSR MSR_EIP, entered
    TRY
    USER user_sysexit
    CAUGHT
    EXPECT "SYSEXIT at level 3", 13, 0
    TRY
    USER user_sysenter
    CAUGHT
    EXPECT "there and back", 0x30, 0
    SAME "inside: CS", [seen], K_CODE
    SAME "SS", [seen + 4], K_DATA
    SAME "ESP", [seen + 8], STACK_S
    SAME "IF is clear, the other flags stay", [seen + 12], 0x8d7
    SAME "EAX is as it was", [seen + 16], 0xabcd
    SAME "back: CS", [fault_cs], K_CODE + 16 | 3
    SAME "SS", [fault_ss], K_CODE + 24 | 3
    SAME "ESP", [fault_esp], STACK3 - 0x20
    mov eax, [fault_flags]
    and eax, 0xed5
    SAME "the flags are those of inside", eax, 0x8d5
    SAME "DS was left alone", [r_ebx], U_DATA
    ret
user_sysexit:
    sysexit
user_sysenter:
    push dword 0x8d7              ; OF SF ZF AF PF CF
    popfd
    mov eax, 0xabcd
    mov edx, .back
    mov ecx, STACK3 - 0x20
    sysenter
.back:
    mov ebx, 0
    mov bx, ds
    int 0x30
entered:
    mov [ss:seen + 16], eax
    mov [ss:seen + 8], esp
    pushfd
    pop dword [ss:seen + 12]
    mov eax, 0
    mov ax, cs
    mov [ss:seen], eax
    mov ax, ss
    mov [ss:seen + 4], eax
    sysexit

align 4
out:            times 20 dd 0
seen:           times 5 dd 0
ROM_END
