; Debug registers and single step over everything: ranges and kinds of breakpoints, string
; instructions, I/O, RF, MOV SS, general detect, task switches, gates, DR4 and DR5, INT1.
%include "sys.inc"

TASK_A  equ 0xe000
STACK_A equ 0xc000

%macro BREAK 3               ; number, address, R/W and LEN bits
    mov eax, %2
    mov dr%1, eax
    mov eax, 2 << 2 * %1 | 0x400 | (%3) << (16 + 4 * %1)
    mov dr7, eax
    xor eax, eax
    mov dr6, eax
%endmacro
%macro NO_BREAK 0
    mov eax, 0x400
    mov dr7, eax
%endmacro
%macro TRAPS 3+              ; name, vector (-1 or 1), instruction
    TRY
    %3
    CAUGHT
    EXPECT %1, %2, 0
%endmacro
WRITE1 equ 1
WRITE2 equ 5
WRITE4 equ 13
ACCESS1 equ 3
ACCESS4 equ 15
IO1 equ 2

tests:
    ; ranges
    BREAK 0, DATA + 4, ACCESS4
    TRAPS "a read of the byte below", -1, mov al, [DATA + 3]
    TRAPS "of the first byte", 1, mov al, [DATA + 4]
    TRAPS "of the last", 1, mov al, [DATA + 7]
    TRAPS "of the byte above", -1, mov al, [DATA + 8]
    TRAPS "a doubleword that reaches in", 1, mov eax, [DATA + 1]
    TRAPS "a doubleword that does not", -1, mov eax, [DATA]
    TRAPS "10 bytes that reach in", 1, {fld tword [DATA - 4]}
    fninit
    TRAPS "a read and a write at once", 1, inc dword [DATA + 4]
    BREAK 1, DATA + 6, WRITE2
    TRAPS "a word", 1, mov byte [DATA + 7], 1
    TRAPS "beside the word", -1, mov byte [DATA + 5], 1
    TRAPS "reads pass", -1, mov ax, [DATA + 6]
    BREAK 3, DATA + 5, WRITE1
    TRAPS "a byte", 1, mov [DATA + 2], eax
    mov eax, dr6
    and eax, 15
    SAME "DR6 says which", eax, 8
    BREAK 0, STACK0 - 0x104, WRITE4
    mov ebp, esp
    TRY
    mov esp, STACK0 - 0x100
    push eax
    CAUGHT
    EXPECT "PUSH on it", 1, 0
    TRY
    mov esp, STACK0 - 0x100
    call .called
.called:
    CAUGHT
    EXPECT "CALL on it", 1, 0
    SAME "traps at the target", [fault_eip], .called
    BREAK 0, DATA, WRITE4
    TRAPS "a failed CMPXCHG writes too", 1, {cmpxchg [DATA], ecx}

    ; string instructions: after the turn that hit
    BREAK 0, DATA + 8, WRITE4
    TRY
    mov edi, DATA
    mov ecx, 5
.rep:
    rep stosd
    CAUGHT
    EXPECT "REP STOSD", 1, 0
    SAME "two turns are left", [r_ecx], 2
    SAME "EIP is at it", [fault_eip], .rep
    BREAK 1, DATA + 8, ACCESS4
    TRY
    mov esi, DATA
    mov ecx, 3
    rep lodsd
.behind_rep:
    CAUGHT
    EXPECT "in the last turn", 1, 0
    SAME "EIP is behind it", [fault_eip], .behind_rep

    ; MOV SS holds a data breakpoint back
    NO_BREAK
    mov dword [DATA], K_DATA
    BREAK 0, DATA, ACCESS4
    TRY
    mov ss, [DATA]
    nop
.behind_ss:
    nop
    CAUGHT
    EXPECT "MOV SS of watched memory", 1, 0
    SAME "traps behind the next", [fault_eip], .behind_ss

    ; instruction breakpoints and RF
    BREAK 2, .watched, 0
    mov dword [hook], resume_hook
    mov dword [hits], 0
    nop
.watched:
    inc dword [hits]
    mov dword [hook], 0
    SAME "IRET with RF goes on", [hits], 0x101
    TRY
    push dword 0x10002
    push dword K_CODE
    push dword .watched2
    BREAK 2, .watched2, 0
    iretd
.watched2:
    nop
    int 0x31
    CAUGHT
    EXPECT "and an IRET of ours with RF", 0x31, 0
    TRY
    jmp .watched2
    CAUGHT
    EXPECT "without it", 1, 0
    BREAK 2, .watched3 + 1, 0
    TRY
.watched3:
    mov al, 1
    int 0x31
    CAUGHT
    EXPECT "the second byte is no instruction", 0x31, 0
    NO_BREAK

    ; I/O
    mov eax, cr4
    or al, 8
    mov cr4, eax
    BREAK 0, 0x80, IO1
    TRAPS "OUT to the port", 1, out 0x80, al
    TRAPS "IN of a word over it", 1, in ax, 0x7f
    TRAPS "to another", -1, out 0x84, al
    TRY
    mov eax, dr4
    CAUGHT
    EXPECT "DR4 with CR4.DE", 6, 0
    mov eax, cr4
    and al, ~8
    mov cr4, eax
    NO_BREAK
    mov eax, 0xffff0ff4
    mov dr6, eax
    mov eax, dr4
    and eax, 15
    SAME "DR4 without is DR6", eax, 4
    xor eax, eax
    mov dr6, eax
    mov eax, dr6
    SAME "what of DR6 is fixed", eax, 0xffff0ff0
    mov dr7, eax
    mov eax, dr7
    and eax, 0xd400
    SAME "what of DR7 is", eax, 0x400

    ; general detect goes off for the handler
    mov eax, 0x2400
    mov dr7, eax
    TRY
    mov eax, dr0
    CAUGHT
    EXPECT "general detect", 1, 0
    mov eax, dr7
    and eax, 0x2000
    SAME "is off in the handler", eax, 0

    ; a task switch clears the local ones
    TASK TASK_A, task, STACK_A, FREE1
    mov eax, DATA + 0x800
    mov dr0, eax
    mov dr1, eax
    mov eax, 0x00000709                  ; L0, G1, LE, GE: instruction breakpoints nobody reaches
    mov dr7, eax
    call FREE1:0
    clts
    mov eax, dr7
    and eax, 0x3ff
    SAME "L bits go with a task switch", eax, 0x208
    NO_BREAK

    ; single step
    mov dword [hook], step_hook
    call .steps
    mov dword [hook], 0
    ; TF by POPF traps behind the next instruction
    TRY
    push dword 0x102
    popfd
    nop
.behind_nop:
    nop
    CAUGHT
    EXPECT "POPF of TF", 1, 0
    SAME "traps behind the next", [fault_eip], .behind_nop
    mov eax, dr6
    and eax, 0x4000
    SAME "DR6.BS", eax, 0x4000
    xor eax, eax
    mov dr6, eax
    TRY
    push dword 0x102
    popfd
    int 0x31
    CAUGHT
    EXPECT "TF ends at a gate", 0x31, 0
    TRY
    push dword 0x102
    push dword K_CODE
    push dword .by_iret
    iretd
.by_iret:
    nop
.behind_iret:
    nop
    CAUGHT
    EXPECT "IRET of TF", 1, 0
    SAME "traps behind the next", [fault_eip], .behind_iret
    TRY
    push dword 0x102
    popfd
    ud2
    CAUGHT
    EXPECT "a fault takes no trap along", 6, 0
    mov eax, [fault_flags]
    and eax, 0x100
    SAME "its frame has TF", eax, 0x100
    xor eax, eax
    mov dr6, eax
    TRY
    db 0xf1
.behind_int1:
    CAUGHT
    EXPECT "INT1", 1, 0
    SAME "is a trap", [fault_eip], .behind_int1
    mov eax, dr6
    and eax, 0x600f
    SAME "of which DR6 tells nothing", eax, 0
    ret
.steps:
%macro COUNT_STEPS 3+        ; name, traps, instruction
    mov dword [steps], 0
    pushfd
    or byte [esp + 1], 1
    popfd
    %3
    pushfd
    and byte [esp + 1], ~1 & 0xff
    popfd
    SAME %1, [steps], %2 + 3
%endmacro
    mov ecx, 0
    COUNT_STEPS "a REP of nothing", 1, rep movsb
    mov ecx, 4
    mov edi, DATA
    COUNT_STEPS "REP STOSB", 4, rep stosb
    mov ecx, 3
    COUNT_STEPS "LOOP", 3, loop $
    COUNT_STEPS "CPUID", 1, cpuid
    mov eax, cr0
    COUNT_STEPS "MOV to CR0", 1, mov cr0, eax
    ret

resume_hook:                 ; of the breakpoint: goes on with RF, which the frame has not
    add esp, 8
    or dword [esp + 8], 0x10000
    mov byte [hits + 1], 1
    iretd
step_hook:
    inc dword [ss:steps]
    add esp, 8
    iretd
task:
    iretd

align 4
hits:  dd 0
steps: dd 0
ROM_END
