; Segments, rings and gates: limits, expand-down, null and absent segments, load checks, accessed
; bits, LAR LSL VERR VERW, far transfers, call gates with parameters, interrupt gates, returns to
; outer levels, 16-bit stacks, double faults.
%include "sys.inc"

%macro LOADS 4                ; name, selector, vector, error: MOV DS
    TRY
    mov ax, %2
    mov ds, ax
    CAUGHT
    mov ax, K_DATA
    mov ds, ax
    EXPECT %1, %3, %4
%endmacro

tests:
    ; limits
    SETDESC FREE1, DATA, 0xfff, 0x4092
    mov ax, FREE1
    mov fs, ax
    TRY
    mov al, [fs:0xfff]
    CAUGHT
    EXPECT "the last byte of a segment", -1, 0
    mov ax, FREE1
    mov fs, ax
    TRY
    mov eax, [fs:0xffd]
    CAUGHT
    EXPECT "a doubleword over the limit", 13, 0
    mov ax, FREE1
    mov fs, ax
    TRY
    mov eax, [fs:0xfffffffe]
    CAUGHT
    EXPECT "one that wraps", 13, 0
    TRY
    mov ax, FREE1
    mov ss, ax
    mov esp, 0xffe
    pop eax
    CAUGHT
    EXPECT "a pop over the limit of the stack", 12, 0
    SETDESC FREE1, DATA, 0x7ff, 0x4096
    mov ax, FREE1
    mov fs, ax
    TRY
    mov eax, [fs:0x800]
    CAUGHT
    EXPECT "expand-down, above", -1, 0
    mov ax, FREE1
    mov fs, ax
    TRY
    mov eax, [fs:0x7ff]
    CAUGHT
    EXPECT "expand-down, at its limit", 13, 0
    SETDESC FREE1, DATA, 0x7ff, 0x0096
    mov ax, FREE1
    mov fs, ax
    TRY
    mov al, [fs:0xffff]
    CAUGHT
    EXPECT "expand-down of 64 KiB, its top", -1, 0
    mov ax, FREE1
    mov fs, ax
    TRY
    mov al, [fs:0x10000]
    CAUGHT
    EXPECT "and above", 13, 0

    ; rights
    SETDESC FREE1, 0, 0xfffff, 0xc090
    mov eax, [gdt + FREE1 + 4]
    mov ax, FREE1
    mov fs, ax
    mov eax, [gdt + FREE1 + 4]
    and eax, 0x100
    SAME "a load sets the accessed bit", eax, 0x100
    TRY
    mov [fs:DATA], al
    CAUGHT
    EXPECT "writing a read-only segment", 13, 0
    TRY
    mov [cs:DATA], al
    CAUGHT
    EXPECT "writing by CS", 13, 0
    SETDESC FREE1, 0, 0xfffff, 0xc098
    LOADS "loading an execute-only segment", FREE1, 13, FREE1
    LOADS "a null selector loads", 3, -1, 0
    TRY
    mov ax, 0
    mov fs, ax
    mov al, [fs:0]
    CAUGHT
    EXPECT "and faults when used", 13, 0
    LOADS "beyond the table", GDT_END, 13, GDT_END
    LOADS "a system segment", T_MAIN, 13, T_MAIN
    SETDESC FREE1, 0, 0xfffff, 0xc012
    LOADS "an absent segment", FREE1, 11, FREE1
    LOADS "RPL above DPL", K_DATA | 3, 13, K_DATA
    SETDESC FREE1, 0, 0xfffff, 0xc09e
    LOADS "conforming code at any RPL", FREE1 | 3, -1, 0
    LOADS "no LDT", 4 | 8, 13, 12
    TRY
    xor eax, eax
    mov ss, ax
    CAUGHT
    EXPECT "SS null", 13, 0
    SETDESC FREE1, 0, 0xfffff, 0xc012
    TRY
    mov ax, FREE1
    mov ss, ax
    CAUGHT
    EXPECT "SS absent", 12, FREE1
    TRY
    mov ax, U_DATA
    mov ss, ax
    CAUGHT
    EXPECT "SS of another level", 13, U_DATA & ~3
    TRY
    mov ax, K_CODE
    mov ss, ax
    CAUGHT
    EXPECT "SS not writable", 13, K_CODE

    mov cx, K_CODE
    lar eax, ecx
    and eax, 0x00f0ff00
    SAME "LAR, of a segment once loaded", eax, 0x00c09b00
    mov cx, K_DATA
    lsl eax, ecx
    SAME "LSL", eax, 0xffffffff
    mov cx, GDT_END
    lar eax, ecx
    setz al
    movzx eax, al
    SAME "LAR beyond the table", eax, 0
    mov cx, K_CODE
    verw cx
    setz al
    movzx eax, al
    SAME "VERW of code", eax, 0
    verr cx
    setz al
    movzx eax, al
    SAME "VERR of code", eax, 1

    ; far transfers
    TRY
    jmp K_DATA:0
    CAUGHT
    EXPECT "JMP to data", 13, K_DATA
    TRY
    jmp 0:0
    CAUGHT
    EXPECT "JMP to null", 13, 0
    SETDESC FREE1, 0, 0xfffff, 0xc01a
    TRY
    jmp FREE1:0
    CAUGHT
    EXPECT "JMP to absent code", 11, FREE1
    TRY
    jmp U_CODE:0
    CAUGHT
    EXPECT "JMP to a lower level", 13, U_CODE & ~3
    SETDESC FREE1, 0, 0xfff, 0x409a
    TRY
    jmp FREE1:0x1000
    CAUGHT
    EXPECT "JMP beyond the limit", 13, 0
    TRY
    call K_CODE:far_back
    mov dword [vector], 77
    CAUGHT
    EXPECT "CALL and RETF", 77, 0
    TRY
    push dword U_DATA
    push dword STACK3
    push dword U_CODE
    push dword user_checks
    retf
    CAUGHT
    EXPECT "RETF to level 3", 0x30, 0
    SAME "nulls segments it may not keep", [r_ecx], 0
    SAME "and keeps others", [r_edx], U_DATA
    SAME "has CPL 3", [r_ebx], U_CODE
    SAME "and the stack given", [fault_esp], STACK3

    ; call gates from level 3
    SETGATE gdt + FREE2, 0xec, K_CODE, gate_target, 2
    TRY
    USER user_call_gate
    CAUGHT
    EXPECT "a call gate", 0x30, 0
    SAME "copies parameters", [r_ebx], 0x22221111
    SAME "goes to level 0", [r_ecx], K_CODE
    SAME "on its stack", [r_edx], STACK_INT - 24
    SAME "and RETF n releases both", [r_esi], STACK3
    SETGATE gdt + FREE2, 0x8c, K_CODE, gate_target, 0
    TRY
    USER user_call_gate
    CAUGHT
    EXPECT "a gate of DPL 0", 13, FREE2
    SETGATE gdt + FREE2, 0x6c, K_CODE, gate_target, 0
    TRY
    USER user_call_gate
    CAUGHT
    EXPECT "an absent gate", 11, FREE2
    SETGATE gdt + FREE2, 0xec, K_DATA, gate_target, 0
    TRY
    USER user_call_gate
    CAUGHT
    EXPECT "a gate to data", 13, K_DATA
    TRY
    USER user_privileged
    CAUGHT
    EXPECT "HLT at level 3", 13, 0
    TRY
    USER user_int
    CAUGHT
    EXPECT "INT n through a gate of DPL 0", 13, 0x31 * 8 + 2
    and byte [IDT + 0x31 * 8 + 5], 0x7f
    TRY
    int 0x31
    CAUGHT
    EXPECT "INT n through an absent gate", 11, 0x31 * 8 + 2
    or byte [IDT + 0x31 * 8 + 5], 0x80
    TRY
    int 0x78
    CAUGHT
    EXPECT "INT n beyond the IDT", 13, 0x78 * 8 + 2

    ; double fault: #GP with its gate absent
    and byte [IDT + 13 * 8 + 5], 0x7f
    TRY
    xor eax, eax
    mov ss, ax
    CAUGHT
    or byte [IDT + 13 * 8 + 5], 0x80
    EXPECT "#GP without a gate is a double fault", 8, 0

    ; 16-bit stack in 32-bit code
    mov ebx, esp
    mov ax, K_DATA16
    mov ss, ax
    mov esp, 0x12340004
    push eax
    push eax
    mov ecx, esp
    mov ax, K_DATA
    mov ss, ax
    mov esp, ebx
    SAME "a 16-bit stack wraps in SP alone", ecx, 0x1234fffc
    ret

far_back:
    retf

user_checks:
    xor ecx, ecx
    xor edx, edx
    mov cx, fs
    mov ax, U_DATA
    mov ds, ax
    mov dx, ds
    xor ebx, ebx
    mov bx, cs
    int 0x30
user_call_gate:
    mov dword [esp - 4], 0x11111111
    sub esp, 4
    push dword 0x22221111
    call FREE2:0
    mov esi, esp
    int 0x30
gate_target:                ; the stack: EIP, CS, two parameters, ESP, SS
    mov ebx, [esp + 8]
    xor ecx, ecx
    mov cx, cs
    mov edx, esp
    retf 8
user_privileged:
    hlt
user_int:
    int 0x31
ROM_END
