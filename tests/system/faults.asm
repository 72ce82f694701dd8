; Page faults in the middle of every kind of instruction, and the same instruction again when the page
; is there: operands that cross into an absent page, stacks of level 3, string instructions, system
; structures (GDT, LDT, IDT, TSS, I/O bitmap) that are absent or read-only, stacks of an inner level,
; task switches.
%include "sys.inc"
cpu katmai

%define PTE(linear) (TABLE + ((linear) >> 12) * 4)
HOLE     equ 0x32000
STACK_T  equ 0xf000
TABLE_B  equ 0x7000          ; a task's own, with DIRECTORY_B
DIRECTORY_B equ 0x6000
R1_CODE  equ FREE1 | 1
R1_DATA  equ FREE2 | 1

%macro DROP 0
    mov dword [PTE(HOLE)], HOLE | 6
    invlpg [HOLE]
%endmacro
%macro FILL 0
    mov dword [PTE(HOLE)], HOLE | 7
    invlpg [HOLE]
%endmacro
%macro HOOKED 0-1 6          ; from here on a fault in HOLE makes it present; rights of the page till then
    mov dword [PTE(HOLE)], HOLE | %1
    invlpg [HOLE]
    mov dword [filled], 0
    mov dword [fill_error], -1
    mov dword [hook], fill_hole
%endmacro

; The instruction faults in HOLE once, with that error code, then completes.
%macro RESTARTS 3+           ; name, error code, instruction
    HOOKED
    mov [restart_esp], esp
    %3
    mov esp, [cs:restart_esp]
    mov dword [hook], 0
    SAME %1, [filled], 1
    SAME {"its error code"}, [fill_error], %2
%endmacro
; At level 3, in code at a label that ends with INT 30h; ESP there is checked.
%macro USER_RESTARTS 4       ; name, error code, label, ESP at the end
    HOOKED
    TRY
    USER %3
    CAUGHT
    EXPECT %1, 0x30, 0
    SAME "one fault", [filled], 1
    SAME "its error code", [fill_error], %2
    SAME "ESP behind it", [fault_esp], %4
%endmacro

fill_hole:
    cmp dword [esp], 14
    jne .other
    push eax
    mov eax, [esp + 8]
    mov [ss:fill_error], eax
    pop eax
    add esp, 8
    mov dword [ss:PTE(HOLE)], HOLE | 7
    inc dword [ss:filled]
    iretd
.other:
    mov dword [ss:hook], 0
    jmp taken

tests:
    call make_pages
    call paging_on
    mov eax, cr4
    or ax, 0x600                  ; OSFXSR, OSXMMEXCPT
    mov cr4, eax
    fninit
    call operands
    call strings
    call stacks
    call tables
    call inner
    call switches
    call paging_off
    ret

; --- operands that lie half in the hole ---
operands:
    mov ebx, HOLE - 2
    mov ecx, 1
    RESTARTS "MOV from memory", 0, mov eax, [ebx]
    RESTARTS "MOV of an immediate", 2, mov dword [ebx], 0x12345678
    RESTARTS "MOVZX", 0, movzx eax, word [HOLE]
    RESTARTS "INC", 2, inc dword [ebx]
    RESTARTS "NEG of a byte", 2, neg byte [HOLE]
    RESTARTS "SHL", 2, shl dword [ebx], 3
    RESTARTS "SHRD", 2, shrd [ebx], eax, cl
    RESTARTS "XADD", 2, xadd [ebx], eax
    RESTARTS "LOCK XADD", 2, lock xadd [ebx], eax
    RESTARTS "SETZ", 2, setz [HOLE]
    RESTARTS "IMUL", 0, imul eax, [ebx], 3
    xor edx, edx
    mov dword [HOLE - 2], 3
    mov eax, 7
    RESTARTS "DIV", 0, div dword [ebx]
    mov eax, 32 * 8
    RESTARTS "BT with an offset into it", 0, bt [HOLE - 32], eax
    RESTARTS "BTC with an offset into it", 2, btc [HOLE - 32], eax
    mov ebx, HOLE
    xor eax, eax
    RESTARTS "XLAT", 0, xlatb
    mov dword [HOLE - 4], 0
    mov dword [HOLE], 100
    mov eax, 50
    RESTARTS "BOUND", 0, bound eax, [HOLE - 4]
    mov word [HOLE], K_DATA
    RESTARTS "LSS", 0, {lss edx, [HOLE - 4]}
    mov ax, K_DATA
    mov es, ax
    RESTARTS "FLD of 10 bytes", 0, fld tword [HOLE - 5]
    RESTARTS "FSTP of 10 bytes", 2, fstp tword [HOLE - 5]
    fldz
    RESTARTS "FBSTP", 2, fbstp [HOLE - 3]
    RESTARTS "FNSTENV", 2, fnstenv [HOLE - 8]
    RESTARTS "FLDENV", 0, fldenv [HOLE - 8]
    fninit
    RESTARTS "FXSAVE", 2, fxsave [HOLE - 256]
    RESTARTS "FXRSTOR", 0, fxrstor [HOLE - 256]
    RESTARTS "FRSTOR", 0, frstor [HOLE - 50]
    fninit
    RESTARTS "MOVUPS to memory", 2, movups [HOLE - 7], xmm0
    RESTARTS "MOVUPS from memory", 0, movups xmm0, [HOLE - 7]
    RESTARTS "MOVQ", 2, movq [HOLE - 7], mm0
    emms
    RESTARTS "SGDT", 2, sgdt [HOLE - 3]
    RESTARTS "LGDT", 0, lgdt [HOLE - 3]
    RESTARTS "SIDT", 2, sidt [HOLE - 3]
    RESTARTS "LIDT", 0, lidt [HOLE - 3]
    RESTARTS "SMSW", 2, smsw [HOLE - 1]
    RESTARTS "LMSW", 0, lmsw [HOLE - 1]
    RESTARTS "SLDT", 2, sldt [HOLE - 1]
    ret

; --- string instructions ---
strings:
    cld
    mov esi, HOLE - 1
    mov edi, DATA
    RESTARTS "MOVSW from it", 0, movsw
    mov esi, DATA
    mov edi, HOLE - 2
    RESTARTS "MOVSD to it", 2, movsd
    mov esi, HOLE - 6
    mov edi, DATA
    mov ecx, 4
    RESTARTS "REP MOVSD from it", 0, rep movsd
    SAME "and ends", ecx, 0
    SAME "ESI", esi, HOLE + 10
    mov edi, HOLE - 8
    mov ecx, 4
    mov eax, 0x55555555
    rep stosd
    mov edi, DATA
    mov ecx, 4
    rep stosd
    mov esi, HOLE - 8
    mov edi, DATA
    mov ecx, 16
    RESTARTS "REPE CMPSB", 0, repe cmpsb
    SAME "to its end", ecx, 0
    mov edi, HOLE + 0x1000 - 3
    mov ecx, 2
    HOOKED
    std
    rep stosw
    cld
    mov dword [hook], 0
    SAME "REP STOSW, downwards", [filled], 1
    mov esi, HOLE - 2
    mov ecx, 4
    mov dx, 0x80
    RESTARTS "REP OUTSB", 0, rep outsb
    SAME "with all bytes", ecx, 0
    mov edi, HOLE - 2
    mov ecx, 4
    mov dx, 0x61
    RESTARTS "REP INSB", 2, rep insb
    SAME "into all bytes", ecx, 0
    ; seen from the handler
    TRY
    DROP
    mov esi, HOLE - 6
    mov edi, DATA
    mov ecx, 5
    mov dx, 0x80
    rep outsw
    CAUGHT
    EXPECT "REP OUTSW into the hole", 14, 0
    SAME "words left", [r_ecx], 2
    SAME "at", [r_esi], HOLE
    FILL
    ret

; --- stacks, from level 3 ---
stacks:
    USER_RESTARTS "PUSH", 6, .push, HOLE - 2
    USER_RESTARTS "PUSHA", 6, .pusha, HOLE - 16
    USER_RESTARTS "PUSHF", 6, .pushf, HOLE - 2
    USER_RESTARTS "PUSH from memory in it", 4, .push_memory, STACK3 - 4
    USER_RESTARTS "CALL", 6, .call, HOLE - 2
    USER_RESTARTS "CALL far", 6, .call_far, HOLE - 4
    USER_RESTARTS "ENTER", 6, .enter, HOLE - 16
    USER_RESTARTS "POP", 4, .pop, HOLE + 2
    USER_RESTARTS "POP to memory in it", 6, .pop_memory, STACK3
    USER_RESTARTS "POPA", 4, .popa, HOLE + 16
    mov dword [HOLE - 2], 0x202
    USER_RESTARTS "POPF", 4, .popf, HOLE + 2
    mov dword [HOLE - 2], stacks.called
    USER_RESTARTS "RET", 4, .ret, HOLE + 2
    mov dword [HOLE - 4], stacks.called
    mov dword [HOLE], U_CODE
    USER_RESTARTS "RETF", 4, .retf, HOLE + 4
    mov dword [HOLE - 2], stacks.called
    USER_RESTARTS "RET n", 4, .ret_n, HOLE + 10
    mov dword [HOLE - 4], stacks.called
    mov dword [HOLE], U_CODE
    mov dword [HOLE + 4], 0x202
    USER_RESTARTS "IRET", 4, .iret, HOLE + 8
    USER_RESTARTS "LEAVE", 4, .leave, HOLE + 2
    ; a fault leaves ESP
    TRY
    DROP
    USER .push_twice
    CAUGHT
    EXPECT "PUSH into the hole", 14, 6
    SAME "ESP before it", [fault_esp], HOLE + 0x1000
    SAME "EIP at it", [fault_eip], .second
    FILL
    ret
.push:
    mov esp, HOLE + 2
    push eax
    int 0x30
.pusha:
    mov esp, HOLE + 16
    pushad
    int 0x30
.pushf:
    mov esp, HOLE + 2
    pushfd
    int 0x30
.push_memory:
    push dword [HOLE]
    int 0x30
.call:
    mov esp, HOLE + 2
    call .called
.called:
    int 0x30
.call_far:
    mov esp, HOLE + 4
    call U_CODE:.called
.enter:
    mov esp, HOLE + 4
    mov ebp, STACK3 - 32
    enter 8, 2
    add esp, 0
    int 0x30
.pop:
    mov esp, HOLE - 2
    pop eax
    int 0x30
.pop_memory:
    push eax
    pop dword [HOLE]
    int 0x30
.popa:
    mov esp, HOLE - 16
    popad
    int 0x30
.popf:
    mov esp, HOLE - 2
    popfd
    int 0x30
.ret:
    mov esp, HOLE - 2
    ret
.ret_n:
    mov esp, HOLE - 2
    ret 8
.retf:
    mov esp, HOLE - 4
    retf
.iret:
    mov esp, HOLE - 4
    iretd
.leave:
    mov ebp, HOLE - 2
    leave
    int 0x30
.push_twice:
    mov esp, HOLE + 0x1000
    nop
.second:
    push eax
    int 0x30

; --- descriptors, gates and the I/O bitmap in the hole ---
%macro HIGH_GDT 0            ; a copy of the GDT, from K_DATA16 on in the hole
    FILL
    mov esi, gdt
    mov edi, HOLE - 0x20
    mov ecx, GDT_END / 4
    rep movsd
    lgdt [high_gdt]
%endmacro
tables:
    SETDESC FREE1, 0, 0xfffff, 0xc09a
    SETDESC FREE2, 0, 0xfffff, 0xc092
    SETDESC FREE3, TSS_B, 0x67, 0x0089
    HIGH_GDT
    mov ax, FREE2
    RESTARTS "MOV FS", 0, mov fs, ax
    RESTARTS "LAR", 0, lar edx, ax
    RESTARTS "LSL", 0, lsl edx, ax
    RESTARTS "VERR", 0, verr ax
    RESTARTS "VERW", 0, verw ax
    RESTARTS "JMP far", 0, {jmp FREE1:$ + 7}
    RESTARTS "CALL far", 0, {call FREE1:$ + 7}
    push dword FREE1
    push dword .returned
    RESTARTS "RETF", 0, retf
.returned:
    mov dword [hook], 0
    SAME "RETF to a descriptor in it", [filled], 1
    jmp K_CODE:.flat
.flat:
    HIGH_GDT                      ; accessed bits are clear again
    mov eax, cr0
    or eax, 0x10000
    mov cr0, eax
    mov ax, FREE2
    HOOKED 5
    mov fs, ax
    mov dword [hook], 0
    SAME "the accessed bit of a read-only table", [fill_error], 3
    mov ax, FREE3
    HOOKED 5
    ltr ax
    mov dword [hook], 0
    SAME "the busy bit of one", [fill_error], 3
    lgdt [gdt_pointer]
    and byte [gdt + T_MAIN + 5], ~2
    mov ax, T_MAIN
    ltr ax
    mov eax, cr0
    and eax, ~0x10000
    mov cr0, eax

    ; an LDT in it, loaded from level 3: still an access of the system
    mov dword [HOLE], 0x0000ffff
    mov dword [HOLE + 4], 0x00cff200
    SETDESC FREE2, HOLE, 7, 0x0082
    mov ax, FREE2
    lldt ax
    USER_RESTARTS "MOV FS by the LDT", 0, user_ldt, STACK3
    mov dword [PTE(HOLE)], HOLE | 3
    invlpg [HOLE]
    TRY
    USER user_ldt
    CAUGHT
    EXPECT "by an LDT that level 3 may not read", 0x30, 0
    xor eax, eax
    lldt ax

    ; gates
    FILL
    mov esi, IDT
    mov edi, HOLE - 0x30 * 8
    mov ecx, 0x78 * 2
    rep movsd
    lidt [high_idt]
    HOOKED
    TRY
    int 0x31
    CAUGHT
    EXPECT "INT n by a gate in it", 0x31, 0
    SAME "one fault", [filled], 1
    SAME "its error code", [fill_error], 0
    mov dword [high_idt + 2], HOLE - 14 * 8
    mov esi, IDT
    mov edi, HOLE - 14 * 8
    mov ecx, 0x78 * 2
    rep movsd
    lidt [high_idt]
    TRY
    DROP
    mov eax, [HOLE]
    CAUGHT
    FILL
    lidt [idt_pointer]
    EXPECT "a page fault whose gate is in it", 8, 0

    ; the I/O bitmap
    FILL
    mov esi, TSS
    mov edi, HOLE - 0x68
    mov ecx, 0x68 / 4
    rep movsd
    xor eax, eax
    mov ecx, 8
    rep stosd
    mov byte [HOLE + 0x20], 0xff
    mov dword [HOLE - 4], 0x680000
    SETDESC FREE3, HOLE - 0x68, 0x88, 0x0089
    mov ax, FREE3
    ltr ax
    USER_RESTARTS "IN by a bitmap in it", 0, user_in, STACK3
    jmp main_task

; --- stacks of level 1 ---
inner:
    SETDESC FREE1, 0, 0xfffff, 0xc0ba
    SETDESC FREE2, 0, 0xfffff, 0xc0b2
    SETGATE gdt + FREE4, 0xec, R1_CODE, inner_return, 0
    SETGATE IDT + 0x33 * 8, 0xee, R1_CODE, inner_iret, 0
    mov dword [TSS + 12], HOLE + 8
    mov dword [TSS + 16], R1_DATA
    USER_RESTARTS "a call gate's stack", 2, user_gate, STACK3
    SAME "with its frame", [r_esi], HOLE - 8
    USER_RESTARTS "an interrupt gate's stack", 2, user_int, STACK3
    SAME "with its frame", [r_esi], HOLE - 12
    mov dword [HOLE - 8], user_end
    mov dword [HOLE - 4], U_CODE
    mov dword [HOLE], STACK3 - 8
    mov dword [HOLE + 4], U_DATA
    HOOKED
    TRY
    push dword R1_DATA
    push dword HOLE - 8
    push dword R1_CODE
    push dword inner_return
    retf
    CAUGHT
    EXPECT "RETF to level 3, its stack in it", 0x30, 0
    SAME "one fault", [filled], 1
    SAME "its error code", [fill_error], 0
    SAME "the stack of level 3", [fault_esp], STACK3 - 8
    mov dword [HOLE - 12], user_end
    mov dword [HOLE - 8], U_CODE
    mov dword [HOLE - 4], 0x202
    mov dword [HOLE], STACK3 - 16
    mov dword [HOLE + 4], U_DATA
    HOOKED
    TRY
    push dword R1_DATA
    push dword HOLE - 12
    push dword R1_CODE
    push dword inner_iret
    retf
    CAUGHT
    EXPECT "IRET to level 3, its stack in it", 0x30, 0
    SAME "one fault", [filled], 1
    SAME "the stack of level 3", [fault_esp], STACK3 - 16
    ret

; --- task switches ---
%macro PAGED_TASK 3          ; tss, eip, selector
    TASK %1, %2, STACK_T, %3
    mov dword [%1 + 0x1c], DIRECTORY
%endmacro
switches:
    mov dword [TSS + 0x1c], DIRECTORY
    FILL
    PAGED_TASK HOLE - 0x20, task_back, FREE5
    RESTARTS "JMP to a task in it", 0, jmp FREE5:0
    SAME "ran it", [seen], 1
    PAGED_TASK HOLE - 0x20, task_return, FREE5
    mov dword [seen], 0
    RESTARTS "CALL to a task in it", 0, call FREE5:0
    SAME "ran it", [seen], 2
    ; the old task's state goes into the hole
    PAGED_TASK HOLE - 0x20, 0, FREE6
    mov ax, FREE6
    ltr ax
    PAGED_TASK TSS_B, task_back6, FREE5
    mov dword [seen], 0
    RESTARTS "a task switch that saves in it", 2, jmp FREE5:0
    SAME "ran", [seen], 3
    call main_task
    ; tables of its own
    mov esi, DIRECTORY
    mov edi, DIRECTORY_B
    mov ecx, 0x800
    rep movsd
    mov dword [DIRECTORY_B], TABLE_B | 7
    mov dword [TABLE_B + (DATA >> 12) * 4], (DATA + 0x1000) | 7
    mov dword [TABLE_B + 0x20 * 4], 0
    mov dword [DATA], 0x11111111
    mov dword [DATA + 0x1000], 0x22222222
    PAGED_TASK TSS_B, task_reads, FREE5
    mov dword [TSS_B + 0x1c], DIRECTORY_B
    jmp FREE5:0
    SAME "a task has its own pages", [seen], 0x22222222
    SAME "and the other its own again", [DATA], 0x11111111
    PAGED_TASK TSS_B, 0x20000, FREE5
    mov dword [TSS_B + 0x1c], DIRECTORY_B
    TRY
    jmp FREE5:0
    CAUGHT
    mov eax, DIRECTORY
    mov cr3, eax
    EXPECT "a task whose code is absent", 14, 0
    SAME "faults within", [fault_eip], 0x20000
    str ax
    movzx eax, ax
    SAME "as the new task", eax, FREE5
main_task:
    and byte [gdt + T_MAIN + 5], ~2
    mov ax, T_MAIN
    ltr ax
    clts
    ret

task_back:
    mov dword [seen], 1
    jmp T_MAIN:0
task_return:
    mov dword [seen], 2
    iretd
task_back6:
    mov dword [seen], 3
    jmp FREE6:0
task_reads:
    mov eax, [DATA]
    mov [seen], eax
    jmp T_MAIN:0
user_ldt:
    mov ax, 7
    mov fs, ax
user_end:
    int 0x30
user_in:
    in al, 0x61
    int 0x30
user_gate:
    call FREE4:0
    int 0x30
user_int:
    int 0x33
    int 0x30
inner_return:
    mov esi, esp
    retf
inner_iret:
    mov esi, esp
    iretd

align 4
high_gdt:
    dw GDT_END - 1
    dd HOLE - 0x20
high_idt:
    dw 0x78 * 8 - 1
    dd HOLE - 0x30 * 8
seen:        dd 0
filled:      dd 0
fill_error:  dd 0
restart_esp: dd 0
ROM_END
