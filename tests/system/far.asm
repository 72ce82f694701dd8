; Far transfers of every kind, and task switches: nested, by gates, with an LDT, and with faults that
; come before the switch and after it.
%include "sys.inc"

TASK_A   equ 0xe000
TASK_B   equ 0xe100
LDT_A    equ 0xe200
STACK_A  equ 0xc000
STACK_B  equ 0xd000
LOW_CODE equ 0x3000          ; code with an offset of 16 bits
NESTED   equ 0x4000

tests:
    call jumps
    call returns
    call nested
    call gates
    call faults
    ret

%macro GOES 3                ; name, selector expected in BX, instruction that lands on landed
    TRY
    %3
    CAUGHT
    EXPECT %1, 0x31, 0
    SAME "its CS", [r_ebx], %2
%endmacro
landed:
    mov ebx, 0
    mov bx, cs
    int 0x31
landed_user:
    mov ebx, 0
    mov bx, cs
    int 0x30

jumps:
    SETDESC FREE1, 0, 0xfffff, 0xc09e      ; conforming
    GOES "JMP to conforming code", FREE1, {jmp FREE1:landed}
    TRY
    USER .user_conforming
    CAUGHT
    EXPECT "from level 3", 0x30, 0
    SAME "keeps CPL 3", [r_ebx], FREE1 | 3
    SETDESC FREE1, 0, 0xfffff, 0xc0fe      ; conforming, DPL 3
    TRY
    jmp FREE1:landed
    CAUGHT
    EXPECT "conforming code of a lower level", 13, FREE1
    SETGATE gdt + FREE2, 0x8c, K_CODE, landed, 3
    GOES "JMP by a call gate", K_CODE, {jmp FREE2:0}
    TRY
    mov ebp, esp
    call FREE2:0
    CAUGHT
    EXPECT "CALL by one to the same level", 0x31, 0
    mov eax, [r_ebp]
    sub eax, [fault_esp0]
    SAME "pushes no parameters", eax, 8
    SETGATE gdt + FREE2, 0xec, K_CODE, landed, 0
    TRY
    USER .user_jmp_gate
    CAUGHT
    EXPECT "JMP by one to an inner level", 13, K_CODE
    SETDESC FREE1, 0, 0xfffff, 0xc09e
    SETGATE gdt + FREE2, 0xec, FREE1, landed_user, 2
    TRY
    USER .user_call_gate
    CAUGHT
    EXPECT "CALL by one to conforming code", 0x30, 0
    SAME "keeps CPL 3", [r_ebx], FREE1 | 3
    SAME "and the stack", [fault_esp], STACK3 - 8
    SETGATE gdt + FREE2, 0xec, 0, landed, 0
    TRY
    call FREE2:0
    CAUGHT
    EXPECT "a call gate to null", 13, 0
    SETDESC FREE1, 0, 0xfff, 0x409a
    SETGATE gdt + FREE2, 0xec, FREE1, 0x1000, 0
    SETGATE gdt + FREE2, 0xec, U_CODE, landed, 0
    TRY
    call FREE2:0
    CAUGHT
    EXPECT "one to a lower level", 13, U_CODE & ~3
    SETGATE gdt + FREE2, 0x8c, K_CODE, landed, 0
    TRY
    call FREE2 | 3:0
    CAUGHT
    EXPECT "RPL above the gate's DPL", 13, FREE2
    ; 16-bit gate: words
    SETDESC FREE1, BASE, 0xffff, 0x009a
    SETGATE gdt + FREE2, 0xe4, FREE1, REAL(.landed16), 2
    TRY
    USER .user_call_gate16
    CAUGHT
    EXPECT "a 16-bit call gate", 0x30, 0
    SAME "its frame", [r_ebx], STACK_INT - 12
    SAME "its parameters", [r_ecx], 0x22221111
    ; indirect and 16-bit forms
    mov dword [DATA], landed
    mov dword [DATA + 4], K_CODE
    GOES "JMP far by memory", K_CODE, {jmp far dword [DATA]}
    GOES "CALL far by memory", K_CODE, {call far dword [DATA]}
    mov byte [LOW_CODE], 0xcd
    mov byte [LOW_CODE + 1], 0x31
    mov dword [DATA], LOW_CODE | K_CODE << 16
    TRY
    mov ebp, esp
    call far word [DATA]
    CAUGHT
    EXPECT "CALL far with 16-bit operands", 0x31, 0
    mov eax, [r_ebp]
    sub eax, [fault_esp0]
    SAME "pushes words", eax, 4
    ; what LAR and LSL say of gates and system segments
    SETGATE gdt + FREE2, 0x8c, K_CODE, landed, 0
    mov ecx, FREE2
    lar eax, ecx
    setz dl
    lsl eax, ecx
    setz dh
    movzx edx, dx
    SAME "LAR knows call gates, LSL does not", edx, 1
    mov ecx, T_MAIN
    lsl eax, ecx
    SAME "LSL of a TSS", eax, 0x67
    ret
.user_conforming:
    jmp FREE1:landed_user
.user_jmp_gate:
    jmp FREE2:0
.user_call_gate:
    call FREE2:0
.user_call_gate16:
    push dword 0x22221111
    call FREE2:0
bits 16
.landed16:
    mov ebx, 0
    mov bx, sp
    mov bp, sp
    mov ecx, [bp + 4]
    int 0x30
bits 32

%macro RETURN_OUTER 5        ; name, vector, error, cs, ss: by RETF
    TRY
    push dword %5
    push dword STACK3
    push dword %4
    push dword landed_user
    retf
    CAUGHT
    EXPECT %1, %2, %3
%endmacro
returns:
    RETURN_OUTER "RETF to level 3", 0x30, 0, U_CODE, U_DATA
    RETURN_OUTER "RETF to null", 13, 0, 0, U_DATA
    RETURN_OUTER "to data", 13, U_DATA & ~3, U_DATA, U_DATA
    RETURN_OUTER "to code whose DPL is not RPL", 13, K_CODE, K_CODE | 3, U_DATA
    RETURN_OUTER "with SS null", 13, 0, U_CODE, 0
    RETURN_OUTER "with SS of level 0", 13, K_DATA, U_CODE, K_DATA
    RETURN_OUTER "with SS not writable", 13, U_CODE & ~3, U_CODE, U_CODE
    SETDESC FREE1, 0, 0xfffff, 0xc072
    RETURN_OUTER "with SS absent", 12, FREE1, U_CODE, FREE1 | 3
    SETDESC FREE1, 0, 0xfffff, 0xc07a
    RETURN_OUTER "to absent code", 11, FREE1, FREE1 | 3, U_DATA
    SETDESC FREE1, 0, 0xfff, 0x40fa
    RETURN_OUTER "beyond its limit", 13, 0, FREE1 | 3, U_DATA
    TRY
    USER .user_inner
    CAUGHT
    EXPECT "RETF to an inner level", 13, K_CODE
    TRY
    USER .user_vm
    CAUGHT
    EXPECT "IRET at level 3", 0x30, 0
    mov eax, [fault_flags]
    and eax, 0x23200
    SAME "sets neither VM nor IOPL nor IF", eax, 0
    TRY
    USER .user_popf
    CAUGHT
    EXPECT "POPF at level 3", 0x30, 0
    mov eax, [fault_flags]
    and eax, 0x23200
    SAME "the same", eax, 0
    TRY
    push dword 0x2
    push dword 0
    push dword landed
    iretd
    CAUGHT
    EXPECT "IRET to null", 13, 0
    SAME "at the IRET", [fault_cs], K_CODE
    ret
.user_inner:
    push dword K_CODE
    push dword landed
    retf
.user_vm:
    push dword 0x23202
    push dword U_CODE
    push dword landed_user
    iretd
.user_popf:
    push dword 0x23202
    popfd
    int 0x30

; --- tasks ---
nested:
    TASK TASK_A, task_outer, STACK_A, FREE1
    TASK TASK_B, task_inner, STACK_B, FREE2
    call FREE1:0
    SAME "CALL within a called task", [seen], 2
    SAME "NT in the inner one", [seen + 4], NESTED
    SAME "its back link", [seen + 8], FREE1
    SAME "both busy then", [seen + 12], 0x8b8b
    SAME "NT in the outer one after it", [seen + 16], NESTED
    movzx eax, byte [gdt + FREE1 + 5]
    mov ah, [gdt + FREE2 + 5]
    SAME "and free in the end", eax, 0x8989
    pushfd
    pop eax
    and eax, NESTED
    SAME "NT is clear again", eax, 0
    clts
    ret

gates:
    TASK TASK_A, task_notes, STACK_A, FREE1
    SETGATE gdt + FREE3, 0xe5, FREE1, 0, 0
    mov dword [seen], 0
    call FREE3:0
    SAME "CALL by a task gate", [seen], 7
    TASK TASK_A, task_jumps, STACK_A, FREE1
    mov dword [seen], 0
    jmp FREE3:0
    SAME "JMP by one", [seen], 8
    TASK TASK_A, task_notes, STACK_A, FREE1
    SETGATE IDT + 0x33 * 8, 0xe5, FREE1, 0, 0
    mov dword [seen], 0
    TRY
    USER .user_int33
    CAUGHT
    EXPECT "INT n by one from level 3", 0x30, 0
    SAME "ran the task", [seen], 7
    clts
    SETGATE gdt + FREE3, 0x65, FREE1, 0, 0
    TRY
    call FREE3:0
    CAUGHT
    EXPECT "an absent task gate", 11, FREE3
    SETGATE gdt + FREE3, 0x85, FREE1, 0, 0
    TRY
    USER .user_gate
    CAUGHT
    EXPECT "one of DPL 0", 13, FREE3
    SETGATE gdt + FREE3, 0xe5, K_CODE, 0, 0
    TRY
    call FREE3:0
    CAUGHT
    EXPECT "one to code", 13, K_CODE
    TRY
    USER .user_tss
    CAUGHT
    EXPECT "a TSS of DPL 0 from level 3", 13, FREE1
    ; an LDT of its own
    mov dword [LDT_A], 0x0000ffff | (DATA << 16 & 0xffff0000)
    mov dword [LDT_A + 4], 0x00409200 | DATA >> 16
    SETDESC FREE4, LDT_A, 7, 0x0082
    TASK TASK_A, task_ldt, STACK_A, FREE1
    mov dword [TASK_A + 0x60], FREE4
    mov dword [TASK_A + 0x58], 4
    mov dword [DATA], 0x1d71d71d
    call FREE1:0
    SAME "a task with an LDT", [seen], 0x1d71d71d
    clts
    sldt ax
    movzx eax, ax
    SAME "LDTR is the caller's again", eax, 0
    ret
.user_int33:
    int 0x33
    int 0x30
.user_gate:
    call FREE3:0
.user_tss:
    call FREE1:0

; The fault comes in the new task, before it has a stack: a task gate takes it.
%macro BAD_TASK 5            ; name, offset in the TSS, value, vector, error
    TASK TASK_A, task_notes, STACK_A, FREE1
    TASK TASK_B, task_of_fault, STACK_B, FREE5
    mov dword [TASK_A + %2], %3
    push dword [IDT + %4 * 8]
    push dword [IDT + %4 * 8 + 4]
    SETGATE IDT + %4 * 8, 0x85, FREE5, 0, 0
    mov dword [seen], -1
    mov dword [seen + 4], -1
    jmp FREE1:0
    pop dword [IDT + %4 * 8 + 4]
    pop dword [IDT + %4 * 8]
    SAME %1, [seen], %5
    SAME "in the new task", [seen + 4], FREE1
%endmacro
faults:
    mov dword [TSS + 0x60], 0
    SETDESC FREE2, 0, 0xfffff, 0xc01a
    SETDESC FREE3, 0, 0xfffff, 0xc012
    BAD_TASK "an LDT that is none", 0x60, K_DATA, 10, K_DATA
    BAD_TASK "CS null", 0x4c, 0, 10, 0
    BAD_TASK "CS of data", 0x4c, K_DATA, 10, K_DATA
    BAD_TASK "CS absent", 0x4c, FREE2, 11, FREE2
    BAD_TASK "SS null", 0x50, 0, 10, 0
    BAD_TASK "SS not writable", 0x50, K_CODE, 10, K_CODE
    BAD_TASK "SS absent", 0x50, FREE3, 12, FREE3
    BAD_TASK "DS absent", 0x54, FREE3, 11, FREE3
    BAD_TASK "FS of a system segment", 0x58, T_MAIN, 10, T_MAIN
    clts
    SETDESC FREE2, 0, 0xfff, 0x409a
    TASK TASK_A, 0x1000, STACK_A, FREE1
    mov dword [TASK_A + 0x4c], FREE2
    TRY
    jmp FREE1:0
    CAUGHT
    EXPECT "EIP beyond the limit", 13, 0
    SAME "at it", [fault_eip], 0x1000
    call main_task
    TASK TASK_A, task_notes, STACK_A, FREE1
    mov word [TSS], FREE1
    TRY
    push dword NESTED | 2
    popfd
    iretd
    CAUGHT
    EXPECT "IRET to a task that is not busy", 10, FREE1
    push dword 2
    popfd
    ret
main_task:
    and byte [gdt + T_MAIN + 5], ~2
    mov ax, T_MAIN
    ltr ax
    xor eax, eax
    lldt ax
    push dword 2
    popfd
    clts
    ret

task_outer:
    mov dword [seen], 1
    call FREE2:0
    pushfd
    pop eax
    and eax, NESTED
    mov [seen + 16], eax
    iretd
task_inner:
    mov dword [seen], 2
    pushfd
    pop eax
    and eax, NESTED
    mov [seen + 4], eax
    movzx eax, word [TASK_B]
    mov [seen + 8], eax
    movzx eax, byte [gdt + FREE1 + 5]
    mov ah, [gdt + FREE2 + 5]
    mov [seen + 12], eax
    iretd
task_notes:
    mov dword [seen], 7
    iretd
task_jumps:
    mov dword [seen], 8
    jmp T_MAIN:0
task_of_fault:
    pop dword [seen]
    movzx eax, word [TASK_B]
    mov [seen + 4], eax
    jmp T_MAIN:0
task_ldt:
    mov eax, [fs:0]
    mov [seen], eax
    iretd

align 4
seen: times 5 dd 0
ROM_END
