; Real mode: limits of data, stack, code and strings, stack wraps, the interrupt table and its limit,
; what an exception pushes and where it returns, privileged and protected instructions, segments that
; keep large limits, 32-bit code; and limits in virtual-8086 mode.
;
; The cases run in real mode with vectors of their own and note in a table what came, which is
; reported from protected mode.
%include "sys.inc"
cpu katmai

TABLE_AT  equ 0x60000        ; entries: name, what came, what was wanted
ENTRY     equ 12
STACK_TOP equ 0x7000
SEG_DATA  equ DATA >> 4      ; 64 KiB of data, DS and ES
SEG_STACK equ 0x5000
SEG_CODE  equ 0x7000         ; code at the end of a segment
V86_CODE  equ 0x20000

; An instruction or more; what came of it: a vector, or NONE. Registers are as it left them.
NONE equ 0xff
%macro CASE 3-*              ; name, vector, instructions in braces
    mov word [cs:REAL(resume)], REAL(%%after)
    mov word [cs:REAL(back)], REAL(%%data)
    mov byte [cs:REAL(vector8)], NONE
    %rotate 2
    %rep %0 - 2
    %1
    %rotate 1
    %endrep
%%after:
    jmp near note
%%data:
    dw %2
    db %1, 0
%endmacro
; A register or variable after the case: `VALUE name, wanted, source` (any 16-bit operand).
%macro VALUE 3
    push word %3
    call note_value
    dw %2
    db %1, 0
%endmacro

tests:
    cli
    mov [saved_esp], esp
    mov dword [table_end], TABLE_AT
    mov edi, DATA
    xor eax, eax
    mov ecx, 0x4000
    cld
    rep stosd
    mov edi, SEG_CODE << 4
    mov ecx, 0x4000
    rep stosd
    mov eax, 0x22cd22cd           ; INT 22h: who runs beyond a segment's end comes back
    mov ecx, 8
    rep stosd
    mov edi, BASE + 0x10000
    mov ecx, 8
    rep stosd
    call to_real
    call report_table
    mov dword [table_end], TABLE_AT
    call to_large
    call report_table
    call v86
    ret

report_table:
    mov ebx, TABLE_AT
.entry:
    cmp ebx, [table_end]
    jae .done
    push dword [ebx]
    pushad
    mov eax, [ebx + 4]
    cmp eax, [ebx + 8]
    sete al
    call report
    mov eax, [ebx + 4]
    cmp eax, [ebx + 8]
    je .good
    mov esi, text_value
    call put_text
    mov eax, [ebx + 4]
    call put_hex
    mov esi, text_wanted
    call put_text
    mov eax, [ebx + 8]
    call put_hex
    mov al, 10
    call put_char
.good:
    popad
    add esp, 4
    add ebx, ENTRY
    jmp .entry
.done:
    ret

; --- there and back ---
to_real:
    mov word [after_real], REAL(limits)
    mov ax, K_DATA16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    jmp K_CODE16:REAL(leave_protected)
to_large:                    ; FS, GS and ES with limits of 4 GiB
    mov word [after_real], REAL(large)
    SETDESC FREE1, 0, 0xfffff, 0x8f92
    mov ax, K_DATA16
    mov ds, ax
    mov ss, ax
    mov ax, FREE1
    mov es, ax
    mov fs, ax
    mov gs, ax
    jmp K_CODE16:REAL(leave_protected)
bits 16
leave_protected:
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    jmp BASE >> 4:REAL(.real)
.real:
    xor ax, ax
    mov ss, ax
    mov sp, STACK_TOP
    mov ds, ax
    xor bx, bx
    mov ax, REAL(real_stubs)
.vector:
    mov [bx], ax
    mov word [bx + 2], BASE >> 4
    add ax, real_stub_1 - real_stubs
    add bx, 4
    cmp bx, 0x40 * 4
    jb .vector
    o32 lidt [cs:REAL(real_idt_pointer)]
    mov ax, SEG_DATA
    mov ds, ax
    jmp [cs:REAL(after_real)]
to_protected:
    o32 lgdt [cs:REAL(gdt_pointer)] ; who knows no limits has loaded another
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
    sub esp, 4               ; the return address of to_real or to_large
    ret
bits 16

; --- vectors: what came goes to variables, then to `resume` ---
align 16
real_stubs:
    mov byte [cs:REAL(vector8)], 0
    jmp near real_fault
    align 16
real_stub_1:
%assign n 1
%rep 0x3f
    align 16
    mov byte [cs:REAL(vector8)], n
    jmp near real_fault
%assign n n + 1
%endrep
real_fault:
    mov [cs:REAL(r_sp)], sp
    mov [cs:REAL(w_ax)], ax
    pop word [cs:REAL(r_ip)]
    pop word [cs:REAL(r_cs)]
    pop word [cs:REAL(r_flags)]
    pushf
    pop word [cs:REAL(r_inside)]
    jmp [cs:REAL(resume)]

note:                             ; a CASE is over
    mov [cs:REAL(w_ax)], ax
    mov [cs:REAL(w_bx)], bx
    mov [cs:REAL(w_cx)], cx
    mov [cs:REAL(w_dx)], dx
    mov [cs:REAL(w_si)], si
    mov [cs:REAL(w_di)], di
    mov [cs:REAL(w_bp)], bp
    mov [cs:REAL(w_sp)], sp
    mov [cs:REAL(d_ecx)], ecx
    mov [cs:REAL(d_edi)], edi
    xor ax, ax
    mov ss, ax
    mov sp, STACK_TOP
    cld
    mov si, [cs:REAL(back)]
    movzx edx, word [cs:si]
    movzx eax, byte [cs:REAL(vector8)]
    add si, 2
    call put_entry
    mov ax, SEG_DATA
    mov ds, ax
    jmp si
note_value:                       ; the value is on the stack, below the return address
    pop si
    pop ax
    push ebx
    push edx
    movzx eax, ax
    movzx edx, word [cs:si]
    add si, 2
    call put_entry
    pop edx
    pop ebx
    jmp si
put_entry:                        ; EAX came, EDX was wanted, CS:SI the name; SI behind it after
    push ds
    push ecx
    push eax
    mov ecx, [cs:REAL(table_end)]
    sub ecx, TABLE_AT
    mov ax, TABLE_AT >> 4
    mov ds, ax
    movzx eax, si
    add eax, BASE
    mov bx, cx
    mov [bx], eax
    pop eax
    mov [bx + 4], eax
    mov [bx + 8], edx
    add dword [cs:REAL(table_end)], ENTRY
.skip:
    inc si
    cmp byte [cs:si - 1], 0
    jne .skip
    pop ecx
    pop ds
    ret

%macro STACK_AT 1                 ; SS:SP, within a case
    mov ax, SEG_STACK
    mov ss, ax
    mov sp, %1
%endmacro

limits:
    mov ax, SEG_DATA
    mov es, ax
; --- data ---
    CASE "a byte at FFFFh", NONE, {mov al, [0xffff]}
    CASE "a word", 13, {mov ax, [0xffff]}
    CASE "a word at FFFEh", NONE, {mov ax, [0xfffe]}
    CASE "a doubleword at FFFCh", NONE, {mov eax, [0xfffc]}
    CASE "a doubleword at FFFDh", 13, {mov eax, [0xfffd]}
    CASE "a store at FFFFh", 13, {mov [0xffff], ax}
    CASE "a store of an immediate", 13, {mov dword [0xfffe], 0}
    CASE "reading and writing back", 13, {inc word [0xffff]}
    VALUE "has written nothing", 0, [ds:0xfffe]
    CASE "the stack segment at FFFFh is #SS", 12, {mov bp, 0xffff}, {mov ax, [bp]}
    CASE "also by a prefix", 12, {mov ax, [ss:0xffff]}
    CASE "and DS over BP is #GP", 13, {mov bp, 0xffff}, {mov ax, [ds:bp]}
    CASE "FS", 13, {mov ax, [fs:0xffff]}
    CASE "CS", 13, {mov ax, [cs:0xffff]}
    CASE "the sum of base and index wraps", NONE, {mov bx, 0xfff0}, {mov si, 0x12}, \
        {mov ax, [bx + si]}
    CASE "a 32-bit offset of FFFFh, byte", NONE, {mov ebx, 0xffff}, {mov al, [ebx]}
    CASE "of 10000h", 13, {mov ebx, 0x10000}, {mov al, [ebx]}
    CASE "of FFFFFFFFh", 13, {mov ebx, -1}, {mov al, [ebx]}
    CASE "a 32-bit sum beyond", 13, {mov ebx, 0xff00}, {mov al, [ebx + 0x100]}
    CASE "LDS at FFFDh", 13, {lds bx, [0xfffd]}
    CASE "BOUND", 13, {bound ax, [0xfffd]}
    CASE "FLD of 8 bytes", 13, {fld qword [0xfff9]}
    CASE "FLD of 10 bytes", 13, {fld tword [0xfff7]}
    CASE "FNSTENV", 13, {fnstenv [0xfff3]}
    CASE "FNSTENV that fits", NONE, {fnstenv [0xfff2]}
    CASE "MOVQ", 13, {movq mm0, [0xfff9]}
    CASE "LGDT", 13, {lgdt [0xfffb]}
    CASE "SIDT", 13, {sidt [0xfffb]}
    CASE "CMPXCHG8B", 13, {cmpxchg8b [0xfff9]}
    CASE "LEA has no limit", NONE, {mov ebx, 0x12345}, {a32 lea eax, [ebx + ebx]}
    CASE "PUSH of it", 13, {push word [0xffff]}
    VALUE "has pushed nothing", STACK_TOP, [cs:REAL(w_sp)]
    CASE "POP to it", 13, {pop word [0xffff]}
    VALUE "has popped nothing", STACK_TOP, [cs:REAL(w_sp)]
    CASE "XLAT wraps", NONE, {mov bx, 0xffff}, {mov al, 2}, {xlatb}

; --- the stack ---
    CASE "PUSH at 0 wraps", NONE, STACK_AT 0, {push ax}
    VALUE "to FFFEh", 0xfffe, [cs:REAL(w_sp)]
    CASE "PUSH of a doubleword at 0", NONE, STACK_AT 0, {push eax}
    VALUE "to FFFCh", 0xfffc, [cs:REAL(w_sp)]
    CASE "at 2 it would wrap within", 12, STACK_AT 2, {push eax}
    VALUE "with the frame below that", 0xfffc, [cs:REAL(r_sp)]
    CASE "POP at FFFFh", 12, STACK_AT 0xffff, {pop ax}
    CASE "POP at FFFEh wraps", NONE, STACK_AT 0xfffe, {pop ax}
    VALUE "to 0", 0, [cs:REAL(w_sp)]
    CASE "POP of a doubleword there", 12, STACK_AT 0xfffe, {pop eax}
    CASE "POPF there wraps", NONE, STACK_AT 0xfffe, {popf}
    CASE "PUSHA at 8 wraps", NONE, STACK_AT 8, {pusha}
    VALUE "to FFF8h", 0xfff8, [cs:REAL(w_sp)]
    CASE "PUSHA at 7 does not", 12, STACK_AT 7, {pusha}
    CASE "POPA at FFF8h wraps", NONE, STACK_AT 0xfff8, {popa}
    VALUE "to 8", 8, [cs:REAL(w_sp)]
    CASE "LEAVE at FFFFh", 12, STACK_AT 0x100, {mov bp, 0xffff}, {leave}
    CASE "ENTER wraps", NONE, STACK_AT 0, {enter 4, 0}
    VALUE "to FFFAh", 0xfffa, [cs:REAL(w_sp)]
    CASE "CALL at 0 wraps", NONE, STACK_AT 0, {call .called}, {.called:}
    CASE "the upper half of ESP is left alone", NONE, {mov esp, 0x12340000 | STACK_TOP}, {push ax}, \
        {mov ebx, esp}, {shr ebx, 16}
    VALUE "and does not count", 0x1234, [cs:REAL(w_bx)]
    mov esp, STACK_TOP

; --- strings ---
    CASE "REP MOVSB wraps", NONE, {mov si, 0xfff8}, {mov di, 0x100}, {mov cx, 16}, {rep movsb}
    VALUE "SI", 8, [cs:REAL(w_si)]
    CASE "REP STOSB wraps", NONE, {mov di, 0xfff8}, {mov cx, 16}, {rep stosb}
    VALUE "DI", 8, [cs:REAL(w_di)]
    CASE "REP STOSD that fits wraps too", NONE, {mov di, 0xfff8}, {mov cx, 4}, {rep stosd}
    VALUE "DI", 8, [cs:REAL(w_di)]
    CASE "REP MOVSW over the end", 13, {mov si, 0xfffb}, {mov di, 0x100}, {mov cx, 6}, {rep movsw}
    VALUE "SI at the word that does not fit", 0xffff, [cs:REAL(w_si)]
    VALUE "DI", 0x104, [cs:REAL(w_di)]
    VALUE "CX", 4, [cs:REAL(w_cx)]
    CASE "REP STOSW over it", 13, {mov di, 0xfffd}, {mov cx, 6}, {rep stosw}
    VALUE "DI", 0xffff, [cs:REAL(w_di)]
    VALUE "CX", 5, [cs:REAL(w_cx)]
    CASE "REP LODSD", 13, {mov si, 0xfffa}, {mov cx, 6}, {rep lodsd}
    VALUE "SI", 0xfffe, [cs:REAL(w_si)]
    CASE "REPE CMPSW", 13, {mov si, 0x200}, {mov di, 0xfffd}, {mov word [0x200], 0}, \
        {mov word [0xfffd], 0}, {mov cx, 6}, {repe cmpsw}
    VALUE "CX", 5, [cs:REAL(w_cx)]
    CASE "REPNE SCASD", 13, {mov di, 0xfffa}, {mov eax, 0x12344321}, {mov cx, 6}, {repne scasd}
    VALUE "DI", 0xfffe, [cs:REAL(w_di)]
    CASE "downwards MOVSW at 0", NONE, {std}, {xor si, si}, {mov di, 0x100}, {movsw}
    VALUE "wraps to FFFEh", 0xfffe, [cs:REAL(w_si)]
    CASE "REP STOSD downwards from 2", 13, {std}, {mov di, 2}, {mov cx, 3}, {rep stosd}
    VALUE "DI at the one that does not fit", 0xfffe, [cs:REAL(w_di)]
    CASE "REP OUTSW", 13, {mov si, 0xfffd}, {mov cx, 3}, {mov dx, 0x80}, {rep outsw}
    VALUE "CX", 2, [cs:REAL(w_cx)]
    CASE "REP INSW", 13, {mov di, 0xfffd}, {mov cx, 3}, {mov dx, 0x84}, {rep insw}
    VALUE "CX", 2, [cs:REAL(w_cx)]
    CASE "32-bit addresses do not wrap", 13, {mov edi, 0xfff0}, {mov ecx, 0x20}, {a32 rep stosb}
    VALUE "EDI", 0, [cs:REAL(d_edi)]
    VALUE "beyond", 1, [cs:REAL(d_edi) + 2]
    VALUE "ECX", 0x10, [cs:REAL(d_ecx)]
    CASE "CX alone counts", NONE, {mov ecx, 0x10004}, {mov di, 0x100}, {rep stosb}
    VALUE "and the rest of ECX stays", 1, [cs:REAL(d_ecx) + 2]

; --- code ---
    mov word [0xfffe], 0
    mov ax, SEG_CODE
    mov fs, ax
    mov dword [fs:0], 0x22cd22cd          ; for who goes on there
    mov dword [fs:0xfffc], 0x01b09090     ; NOP, NOP, MOV AL, 1
    CASE "running over the end", 13, {jmp SEG_CODE:0xfffc}
    VALUE "with IP at the start", 0, [cs:REAL(r_ip)]
    VALUE "in the same CS", SEG_CODE, [cs:REAL(r_cs)]
    mov dword [fs:0xfffc], 0xb8909090     ; NOP, NOP, NOP, MOV AX, ...
    CASE "an instruction across it", 13, {jmp SEG_CODE:0xfffc}
    VALUE "with IP at it", 0xffff, [cs:REAL(r_ip)]
    mov dword [fs:0], 0x9090fceb          ; JMP -4
    mov byte [fs:0xfffe], 0xcd
    mov byte [fs:0xffff], 0x21
    CASE "JMP backwards wraps", 0x21, {jmp SEG_CODE:0}
    VALUE "and INT n at the end pushes 0", 0, [cs:REAL(r_ip)]
    mov dword [fs:0x10], 0xfff0e966       ; JMP with a 32-bit operand, to 10006h
    mov dword [fs:0x14], 0x00000000
    CASE "a 32-bit JMP beyond", 13, {jmp SEG_CODE:0x10}
    VALUE "is refused at itself", 0x10, [cs:REAL(r_ip)]
    mov byte [fs:0x11], 0xe8
    CASE "a 32-bit CALL beyond", 13, {jmp SEG_CODE:0x10}
    VALUE "too", 0x10, [cs:REAL(r_ip)]
    VALUE "and pushes nothing", STACK_TOP - 6, [cs:REAL(r_sp)]
    CASE "a far JMP with a 32-bit offset beyond", 13, {jmp dword (BASE >> 4):0x10000}
    CASE "a 32-bit RET beyond", 13, {push dword 0x10000}, {o32 ret}
    VALUE "has popped nothing", STACK_TOP - 10, [cs:REAL(r_sp)]
    CASE "a 32-bit far RET", NONE, {push dword BASE >> 4}, {push dword REAL(.far_return)}, \
        {o32 retf}, {.far_return:}
    CASE "a far RET", 0x21, {mov dword [fs:0x20], 0x909021cd}, {mov bx, 0x20}, \
        {push word SEG_CODE}, {push bx}, {retf}
    mov ax, SEG_DATA
    mov fs, ax

; --- interrupts and exceptions ---
    CASE "INT n", 0x20, {int 0x20}
    VALUE "its frame is 6 bytes", STACK_TOP - 6, [cs:REAL(r_sp)]
    CASE "with the flags of before", 0x20, {push word 0x0ed7}, {popf}, {int 0x20}
    VALUE "as they were", 0x0ed7, [cs:REAL(r_flags)]
    mov ax, [cs:REAL(r_inside)]
    and ax, 0x300
    VALUE "IF and TF are clear within", 0, ax
    cli
    CASE "a fault", 0, {xor cx, cx}, {div cx}
    VALUE "pushes no error code", STACK_TOP - 6, [cs:REAL(r_sp)]
    CASE "#GP pushes none either", 13, {mov ax, [0xffff]}
    VALUE "at all", STACK_TOP - 6, [cs:REAL(r_sp)]
    CASE "INT3", 3, {int3}
    CASE "INTO", 4, {mov al, 0x7f}, {inc al}, {into}
    CASE "BOUND", 5, {mov dword [0x300], 0x00050001}, {mov ax, 6}, {bound ax, [0x300]}
    CASE "UD2", 6, {ud2}
    CASE "LOCK NOP", 6, {db 0xf0, 0x90}
    mov eax, cr0
    or al, 8
    mov cr0, eax
    CASE "the x87 unit with CR0.TS", 7, {fld1}
    clts
    CASE "single step", 1, {push word 0x102}, {popf}, {nop}
    mov eax, cr0
    or al, 0x20
    mov cr0, eax
    CASE "an x87 exception", 16, {fninit}, {mov word [0x300], 0x37b}, {fldcw [0x300]}, {fldz}, \
        {fld1}, {fdiv st1}, {fwait}
    fninit
    CASE "no alignment check", NONE, {mov eax, cr0}, {or eax, 0x40000}, {mov cr0, eax}, {pushfd}, \
        {or dword [ss:STACK_TOP - 4], 0x40000}, {popfd}, {mov ax, [0x301]}
    CASE "an instruction of 16 bytes", 13, {times 15 db 0x26}, {nop}
    ; the table elsewhere, and its limit
    xor ax, ax
    mov fs, ax
    mov si, 0
.copy:
    mov eax, [fs:si]
    mov [si + 0x400], eax
    add si, 4
    cmp si, 0x100
    jb .copy
    mov word [0x400 + 0x20 * 4], REAL(real_stubs) + 16 * 0x21
    mov word [0x300], 0x3ff
    mov dword [0x302], DATA + 0x400
    CASE "the table elsewhere", 0x21, {o32 lidt [0x300]}, {int 0x20}
    mov word [0x300], 0x20 * 4 + 2
    CASE "INT n beyond its limit", 13, {o32 lidt [0x300]}, {int 0x20}
    mov word [0x300], 0x20 * 4 + 3
    CASE "and at it", 0x21, {o32 lidt [0x300]}, {int 0x20}
    mov word [0x300], 8 * 4 + 3
    CASE "a fault beyond the limit is a double fault", 8, {o32 lidt [0x300]}, {mov ax, [0xffff]}
    CASE "so is INT n beyond, as #GP is", 8, {o32 lidt [0x300]}, {int 0x20}
    mov word [0x300], 0x3ff
    mov dword [0x302], 0xff000000 | (DATA + 0x400)
    CASE "LIDT with 16-bit operands loads 24 bits", 0x21, {lidt [0x300]}, {int 0x20}
    o32 lidt [cs:REAL(real_idt_pointer)]

; --- flags and what is privileged elsewhere ---
    CASE "POPF sets IOPL and NT", NONE, {push word 0x7002}, {popf}, {pushf}, {pop ax}
    VALUE "which PUSHF shows", 0x7002, [cs:REAL(w_ax)]
    CASE "POPFD does not set VM", NONE, {push dword 0x20002}, {popfd}, {pushfd}, {pop eax}, \
        {shr eax, 16}
    VALUE "so it is clear", 0, [cs:REAL(w_ax)]
    CASE "IRET goes on with 16 bits of flags", NONE, {pushf}, {push cs}, {push word REAL(.iret)}, \
        {iret}, {.iret:}
    CASE "IRET on a stack that wraps", NONE, STACK_AT 0xfffc, {mov word [ss:0xfffc], REAL(.iret2)}, \
        {mov word [ss:0xfffe], BASE >> 4}, {mov word [ss:0], 2}, {iret}, {.iret2:}
    VALUE "takes the flags from 0", 2, [cs:REAL(w_sp)]
    CASE "IRETD", NONE, {push dword 2}, {push dword BASE >> 4}, {push dword REAL(.iretd)}, {iretd}, \
        {.iretd:}
    CASE "CLI", NONE, {cli}
    CASE "IN", NONE, {in al, 0x61}
    CASE "MOV of CR0", NONE, {mov eax, cr0}
    CASE "SMSW", NONE, {smsw ax}
    CASE "LMSW", NONE, {smsw ax}, {lmsw ax}
    CASE "CLTS", NONE, {clts}
    CASE "SGDT", NONE, {sgdt [0x300]}
    CASE "RDMSR", NONE, {mov ecx, 0x1b}, {rdmsr}
    CASE "RDMSR of none", 13, {mov ecx, 0x12345678}, {rdmsr}
    CASE "SLDT", 6, {sldt ax}
    CASE "STR", 6, {str ax}
    CASE "LLDT", 6, {lldt ax}
    CASE "LTR", 6, {ltr ax}
    CASE "VERR", 6, {verr ax}
    CASE "VERW", 6, {verw ax}
    CASE "LAR", 6, {lar ax, bx}
    CASE "LSL", 6, {lsl ax, bx}
    CASE "ARPL", 6, {arpl ax, bx}
    CASE "SYSENTER", 13, {sysenter}
    CASE "SYSEXIT", 13, {sysexit}
    CASE "MOV to CS", 6, {db 0x8e, 0xc8}
    CASE "MOV to a sixth segment register", 6, {db 0x8e, 0xf0}
    CASE "any selector can be loaded", NONE, {mov ax, 0xffff}, {mov gs, ax}, {mov eax, [gs:0x20]}
    jmp to_protected

; --- segments with large limits ---
large:
    CASE "4 GiB in FS: beyond 64 KiB", NONE, {mov ebx, marker}, \
        {mov ax, [fs:ebx]}
    VALUE "is what lies there", 0x5aa5, [cs:REAL(w_ax)]
    CASE "beyond 1 MiB", NONE, {mov ebx, 0x180000}, {mov word [fs:ebx], 0x1881}, {mov ax, [gs:ebx]}
    VALUE "too", 0x1881, [cs:REAL(w_ax)]
    CASE "DS has 64 KiB", 13, {mov ebx, 0x180000}, {mov ax, [ds:ebx]}
    CASE "a load of FS keeps the limit", NONE, {mov ax, 0x1000}, {mov fs, ax}, {mov ebx, 0x170000}, \
        {mov ax, [fs:ebx]}
    VALUE "and moves the base", 0x1881, [cs:REAL(w_ax)]
    CASE "POP of FS too", NONE, {push word 0x2000}, {pop fs}, {mov ebx, 0x160000}, \
        {mov ax, [fs:ebx]}
    VALUE "moves it", 0x1881, [cs:REAL(w_ax)]
    CASE "a word across FFFFh", NONE, {mov ax, [gs:0xffff]}
    CASE "16-bit addresses still wrap", NONE, {mov bx, 0xffff}, {mov si, 2}, {mov ax, [gs:bx + si]}
    VALUE "to the start", ((real_stubs - start16) >> 8) | ((BASE >> 4) & 0xff) << 8, [cs:REAL(w_ax)]
    CASE "REP STOSB of ES with 32-bit addresses", NONE, {mov edi, 0x18fff0}, {mov ecx, 0x20}, \
        {mov al, 0x77}, {a32 rep stosb}
    VALUE "EDI", 0x10, [cs:REAL(d_edi)]
    VALUE "beyond 1 MiB", 0x19, [cs:REAL(d_edi) + 2]
    CASE "with 16-bit ones it wraps", NONE, {mov di, 0xfff0}, {mov cx, 0x20}, {mov ax, SEG_DATA}, \
        {mov es, ax}, {rep stosb}
    VALUE "DI", 0x10, [cs:REAL(w_di)]
    CASE "REP MOVSW from FS over FFFFh", NONE, {mov ax, SEG_DATA}, {mov gs, ax}, {mov es, ax}, \
        {mov si, 0xffff}, {mov di, 0x100}, {mov cx, 1}, {gs rep movsw}
    VALUE "SI", 1, [cs:REAL(w_si)]
    CASE "an interrupt changes no limit", 0x20, {int 0x20}
    CASE "of FS", NONE, {xor ax, ax}, {mov fs, ax}, {mov ebx, 0x180000}, {mov ax, [fs:ebx]}
    VALUE "which still reads", 0x1881, [cs:REAL(w_ax)]
    CASE "code stays within 64 KiB", 13, {jmp dword (BASE >> 4):0x10000}
    ; real mode with the code and stack segments of protected mode: 32-bit code
    cli
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword K_CODE:.flat
bits 32
.flat:
    mov ax, K_DATA
    mov ss, ax
    mov esp, 0x98000
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    mov eax, 0x12345678           ; 32 bits, as CS.D is still set
    push eax                      ; on a stack of 32 bits
    mov [ss:d_push], esp
    pop edx
    mov [ss:d_value], edx
    mov ebx, cr0
    and ebx, 1
    mov [ss:d_cr0], ebx
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp K_CODE16:REAL(.again)
bits 16
.again:
    mov ax, K_DATA16
    mov ss, ax
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    jmp BASE >> 4:REAL(.last)
.last:
    xor ax, ax
    mov ss, ax
    mov sp, STACK_TOP
    VALUE "32-bit code in real mode: its operands", 0x1234, [cs:REAL(d_value) + 2]
    VALUE "and its stack", 0x0009, [cs:REAL(d_push) + 2]
    VALUE "which is no protected mode", 0, [cs:REAL(d_cr0)]
    jmp to_protected
bits 32

; --- the same limits in virtual-8086 mode ---
%define V(label) ((label) - v86_start)
%macro V86_CASE 4            ; name, vector, label of the code, label of what faults
    TRY
    push dword SEG_DATA      ; GS FS DS ES
    push dword SEG_DATA
    push dword SEG_DATA
    push dword SEG_DATA
    push dword SEG_STACK
    push dword 0x100
    push dword 0x23002
    push dword V86_CODE >> 4
    push dword V(%3)
    iretd
    CAUGHT
    EXPECT %1, %2, 0
    SAME "at it", [fault_eip], V(%4)
%endmacro
v86:
    mov esi, v86_start
    mov edi, V86_CODE
    mov ecx, v86_end - v86_start
    cld
    rep movsb
    V86_CASE "V86: a byte at FFFFh", 13, v86_byte, v86_byte.hlt
    V86_CASE "V86: a word", 13, v86_word, v86_word.at
    V86_CASE "V86: the stack segment", 12, v86_stack, v86_stack.at
    V86_CASE "V86: a 32-bit offset", 13, v86_large, v86_large.at
    V86_CASE "V86: PUSH of a doubleword at 2", 12, v86_push, v86_push.at
    V86_CASE "V86: PUSH at 1", 12, v86_push1, v86_push1.at
    SAME "V86: it has pushed nothing", [fault_esp], 1
    V86_CASE "V86: POP at FFFFh", 12, v86_pop, v86_pop.at
    V86_CASE "V86: REP MOVSW over the end", 13, v86_movs, v86_movs.at
    SAME "V86: words left", [r_ecx], 4
    V86_CASE "V86: a 32-bit JMP beyond", 13, v86_jmp, v86_jmp
    V86_CASE "V86: PUSHA at 7", 12, v86_pusha, v86_pusha.at
    ret
bits 16
v86_start:
v86_byte:
    mov al, [0xffff]
.hlt:
    hlt
v86_word:
.at:
    mov ax, [0xffff]
v86_stack:
    mov bp, 0xffff
.at:
    mov ax, [bp]
v86_large:
    mov ebx, 0x10000
.at:
    mov al, [ebx]
v86_push:
    mov sp, 2
.at:
    push eax
v86_push1:
    mov sp, 1
.at:
    push ax
v86_pop:
    mov sp, 0xffff
.at:
    pop ax
v86_movs:
    mov si, 0xfffb
    mov di, 0x100
    mov ecx, 6
    cld
.at:
    rep movsw
v86_jmp:
    db 0x66, 0xe9, 0, 0, 1, 0
v86_pusha:
    mov sp, 7
.at:
    pusha
v86_end:
bits 32

align 4
saved_esp:  dd 0
table_end:  dd 0
d_ecx:      dd 0
d_edi:      dd 0
d_push:     dd 0
d_value:    dd 0
d_cr0:      dd 0
after_real: dw 0
resume:     dw 0
back:       dw 0
r_sp:       dw 0
r_ip:       dw 0
r_cs:       dw 0
r_flags:    dw 0
r_inside:   dw 0
w_ax:       dw 0
w_bx:       dw 0
w_cx:       dw 0
w_dx:       dw 0
w_si:       dw 0
w_di:       dw 0
w_bp:       dw 0
w_sp:       dw 0
marker:     dw 0x5aa5
vector8:    db 0
ROM_END
