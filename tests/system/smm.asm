; System management mode: what SMI saves and RSM loads, from protected mode, paging and virtual-8086
; mode; what a handler finds; HLT and I/O instructions and their restart; SMI and NMI while the handler
; runs; SMBASE moved.
;
; SMI comes from the local APIC; where there is none, nothing is checked.
%include "sys.inc"

APIC     equ 0xfee00000
SMBASE   equ 0x30000         ; after reset
SMBASE2  equ 0x50000
SAVE     equ 0xfe00          ; the save area is SMBASE + FE00h to FFFFh
V86_CODE equ 0x20000
RESULTS  equ 0x60000         ; what handlers leave, by absolute address
ORDERS   equ 0x60100         ; and what they are told to do

; Offsets from SMBASE.
S_CR0      equ 0xfffc
S_CR3      equ 0xfff8
S_EFLAGS   equ 0xfff4
S_EIP      equ 0xfff0
S_EDI      equ 0xffec
S_ECX      equ 0xffd4
S_EBX      equ 0xffdc
S_DR7      equ 0xffc8
S_TR       equ 0xffc4
S_CS       equ 0xffac
S_DS       equ 0xffb4
S_HALT     equ 0xff02
S_IO       equ 0xff00
S_REVISION equ 0xfefc
S_SMBASE   equ 0xfef8

; Bits of [ORDERS].
DO_EBX     equ 1             ; change EBX in the save area
DO_MOVE    equ 2             ; SMBASE becomes SMBASE2
DO_NO_HALT equ 4             ; RSM does not go back into HLT
DO_SMI     equ 8             ; another SMI from within, once
DO_NMI     equ 16            ; an NMI from within, once
DO_STEP    equ 32            ; RSM loads TF
DO_IO      equ 64            ; restart the I/O instruction, in the run of number [ORDERS + 4]

tests:
    mov eax, 1
    cpuid
    test dh, 2
    jz .none
    mov dword [APIC + 0xf0], 0x1ff
    TRY
    rsm
    CAUGHT
    EXPECT "RSM outside is undefined", 6, 0
    mov esi, handler
    mov edi, SMBASE + 0x8000
    mov ecx, handler_end - handler
    rep movsb
    call protected_mode
    call again
    call modes
    call halt
    call io
    call moved
.none:
    ret

send_smi:
    pushfd
    push eax
    mov eax, [APIC + 0x20]
    and eax, 0xff000000
    mov [APIC + 0x310], eax
    mov dword [APIC + 0x300], 0x4200
    pop eax
settle:
    push ecx
    mov ecx, 200
    loop $
    pop ecx
    popfd
    ret
.end:

settle_here:
    pushfd
    jmp settle

%macro SMI 1                 ; orders
    mov dword [RESULTS], 0
    mov dword [RESULTS + 32], 0
    mov dword [RESULTS + 48], 0
    mov dword [ORDERS], %1
    call send_smi
%endmacro

protected_mode:
    mov eax, 0x12345678
    mov dr0, eax
    mov dword [hook], 0
    mov ebx, 0xb0b0b0b0
    mov edi, 0xd1d1d1d1
    stc
    pushfd
    SMI 0
    pushfd
    pop eax
    pop edx
    xor eax, edx
    and eax, 0xcd5
    SAME "flags are back", eax, 0
    SAME "the handler ran", [RESULTS], 1
    SAME "EBX was saved", [SMBASE + S_EBX], 0xb0b0b0b0
    SAME "EDI was saved", [SMBASE + S_EDI], 0xd1d1d1d1
    SAME "and is back", edi, 0xd1d1d1d1
    mov eax, [SMBASE + S_EIP]
    sub eax, send_smi
    cmp eax, settle.end - send_smi + 1
    setb al
    movzx eax, al
    SAME "EIP was saved", eax, 1
    mov eax, [SMBASE + S_CR0]
    mov edx, cr0
    SAME "CR0 was saved", eax, edx
    movzx eax, word [SMBASE + S_CS]
    SAME "CS was saved", eax, K_CODE
    movzx eax, word [SMBASE + S_DS]
    SAME "DS was saved", eax, K_DATA
    movzx eax, word [SMBASE + S_TR]
    SAME "TR was saved", eax, T_MAIN
    SAME "SMBASE was saved", [SMBASE + S_SMBASE], SMBASE
    mov eax, [SMBASE + S_DR7]
    SAME "DR7 was saved", eax, 0x400
    mov eax, [SMBASE + S_REVISION]
    and eax, 0x20000
    SAME "the revision offers SMBASE", eax, 0x20000
    ; what the handler found
    SAME "CR0 there: no protection, no paging", [RESULTS + 4], 0
    SAME "CS there", [RESULTS + 8], SMBASE >> 4
    SAME "EFLAGS there", [RESULTS + 12], 2
    SAME "EIP there", [RESULTS + 16], 0x8000
    SAME "DR7 there", [RESULTS + 20], 0x400
    SAME "segments of 4 GiB", [RESULTS + 24], 0x5a5a5a5a
    SAME "DS there", [RESULTS + 28], 0
    mov ebx, 0x11111111
    SMI DO_EBX
    SAME "RSM loads what the handler put there", ebx, 0xeaeaeaea
    ret

again:
    SMI DO_SMI
    SAME "an SMI within waits for RSM", [RESULTS], 2
    SAME "does not nest", [RESULTS + 32], 1
    mov dword [hook], nmi_hook
    mov dword [nmis], 0
    SMI DO_NMI
    mov dword [hook], 0
    SAME "an NMI within waits too", [RESULTS + 36], 0
    SAME "and comes after RSM", [nmis], 1
    mov dword [hook], step_hook
    mov dword [steps], 0
    SMI DO_STEP
    mov dword [hook], 0
    pushfd
    and byte [esp + 1], ~1 & 0xff
    popfd
    cmp dword [steps], 1
    setae al
    movzx eax, al
    SAME "TF that RSM loads traps", eax, 1
    ret
nmi_hook:
    inc dword [ss:nmis]
    add esp, 8
    iretd
step_hook:
    inc dword [ss:steps]
    add esp, 8
    and dword [esp + 8], ~0x100
    iretd

modes:
    call make_pages
    mov dword [DIRECTORY + (0xfee00000 >> 22) * 4], 0xfec00083
    mov eax, cr4
    or al, 0x10
    mov cr4, eax
    mov dword [TABLE + (DATA >> 12) * 4], (DATA + 0x1000) | 7
    mov dword [DATA], 0x11111111
    mov dword [DATA + 0x1000], 0x22222222
    call paging_on
    SMI 0
    SAME "from paging", [RESULTS], 1
    SAME "CR3 was saved", [SMBASE + S_CR3], DIRECTORY
    SAME "the handler sees physical memory", [RESULTS + 40], 0x11111111
    SAME "and pages are back after it", [DATA], 0x22222222
    call paging_off
    mov eax, cr4
    and al, ~0x10
    mov cr4, eax
    ; virtual-8086 mode: it waits until the handler has run
    call has_ioapic
    jz .none
    mov esi, v86_code
    mov edi, V86_CODE
    mov ecx, v86_code_end - v86_code
    rep movsb
    mov dword [RESULTS], 0
    mov dword [ORDERS], 0
    call smi_soon
    TRY
    push dword 0
    push dword 0
    push dword RESULTS >> 4
    push dword 0
    push dword 0
    push dword 0x7000
    push dword 0x23002
    push dword V86_CODE >> 4
    push dword 0
    iretd
    CAUGHT
    call no_smi
    EXPECT "virtual-8086 mode goes on", 13, 0
    SAME "in its segment", [fault_cs], V86_CODE >> 4
    SAME "at its HLT", [fault_eip], v86_code_halt - v86_code
    mov eax, [RESULTS + 52]
    and eax, 0x23000
    SAME "which was saved with its flags", eax, 0x23000
.none:
    ret

halt:
    call has_ioapic
    jz .none
    mov dword [RESULTS], 0
    mov dword [RESULTS + 44], 0
    mov dword [ORDERS], DO_NO_HALT
    call smi_soon
    cli
    hlt
    call no_smi
    cmp dword [RESULTS], 2
    setae al
    movzx eax, al
    SAME "RSM goes back into HLT, unless told not to", eax, 1
    mov eax, [RESULTS + 44]
    and eax, 1
    SAME "of which the save area tells", eax, 1
.none:
    ret

IOAPIC equ 0xfec00000
has_ioapic:
    mov dword [IOAPIC], 1
    cmp dword [IOAPIC + 0x10], -1
    ret
%macro PIN 2                 ; number, low half of its entry
    mov dword [IOAPIC], 0x11 + 2 * %1
    mov eax, [APIC + 0x20]
    and eax, 0xff000000
    mov [IOAPIC + 0x10], eax
    mov dword [IOAPIC], 0x10 + 2 * %1
    mov dword [IOAPIC + 0x10], %2
%endmacro
smi_soon:                    ; the timer's edges, each half a millisecond, become SMIs
    PIN 2, 0x200
    mov al, 0x34
    out 0x43, al
    mov al, 0x50
    out 0x40, al
    mov al, 2
    out 0x40, al
    ret
no_smi:
    PIN 2, 0x10200
    ret

; --- I/O instructions: a write to port B2h of the PIIX4 is an SMI, where there is one ---
SMI_PORT equ 0xb2
%macro CONFIG_READ 1         ; register, of the function in EBX
    lea eax, [ebx + %1]
    mov dx, 0xcf8
    out dx, eax
    mov dx, 0xcfc
    in eax, dx
%endmacro
%macro CONFIG_WRITE 2        ; register, value
    lea eax, [ebx + %1]
    mov dx, 0xcf8
    out dx, eax
    mov dx, 0xcfc
    mov eax, %2
    out dx, eax
%endmacro
%macro ORDER_IO 1            ; the run that asks for a restart
    mov dword [RESULTS], 0
    mov dword [RESULTS + 32], 0
    mov dword [RESULTS + 48], 0
    mov dword [ORDERS], DO_IO
    mov dword [ORDERS + 4], %1
%endmacro
io:
    mov ebx, 0x80000000
.find:
    CONFIG_READ 0
    cmp eax, 0x71138086
    je .found
    add ebx, 0x100
    cmp ebx, 0x80010000
    jb .find
    ret
.found:
    CONFIG_WRITE 0x40, 0xb001
    CONFIG_READ 0x80
    or al, 1
    out dx, eax
    CONFIG_WRITE 0x58, 0x02000000
    mov dx, 0xb028
    mov eax, 1
    out dx, eax
    ORDER_IO 0
    mov dx, SMI_PORT
    mov al, 0x55
    out dx, al
.behind:
    call settle_here
    cmp word [SMBASE + S_REVISION], 0
    jne .none                 ; a processor with another save area
    cmp dword [RESULTS], 0
    je .none                  ; no SMI comes of it
    SAME "an I/O instruction's SMI", [RESULTS], 1
    SAME "comes behind it", [RESULTS + 60], .behind
    SAME "nothing is restarted unless it is asked for", [RESULTS + 56], 0
    mov eax, [SMBASE + S_REVISION]
    and eax, 0x10000
    SAME "the revision offers it", eax, 0x10000
    ORDER_IO 1
    mov dx, SMI_PORT
    mov al, 0x55
    out dx, al
.behind2:
    call settle_here
    SAME "RSM goes back to the OUT when asked", [RESULTS], 2
    SAME "which is followed by what follows", [RESULTS + 60], .behind2
    ORDER_IO 2
    cld
    mov esi, DATA
    mov ecx, 3
.rep:
    rep outsb
    call settle_here
    SAME "each turn of a REP OUTS, one of them twice", [RESULTS], 4
    SAME "between its turns EIP is at it", [RESULTS + 64], .rep
    SAME "with the count that is left", [RESULTS + 68], 2
    SAME "all are written", ecx, 0
    SAME "and no more", esi, DATA + 3
    ORDER_IO 1
    mov word [ORDERS], 0
    call send_smi
    mov dword [ORDERS], DO_IO
    call send_smi
    SAME "a restart where there was no I/O does nothing", [RESULTS], 2
.none:
    ret

bits 16
v86_code:
    cmp byte [0], 0
    je v86_code
v86_code_halt:
    hlt
v86_code_end:

; What runs in system management mode, at SMBASE + 8000h.
handler:
    pushfd
    pop dword [dword RESULTS + 12]
    inc dword [dword RESULTS]
    mov eax, cr0
    and eax, 0x80000001
    mov [dword RESULTS + 4], eax
    xor eax, eax
    mov ax, ds
    mov [dword RESULTS + 28], eax
    mov ax, cs
    mov [dword RESULTS + 8], eax
    shl eax, 4
    mov ebx, eax
    call .here
.here:
    pop ax
    movzx eax, ax
    sub eax, .here - handler
    mov [dword RESULTS + 16], eax
    mov eax, dr7
    mov [dword RESULTS + 20], eax
    mov dword [dword 0x180000], 0x5a5a5a5a
    mov eax, [dword 0x180000]
    mov [dword RESULTS + 24], eax
    mov eax, [dword DATA]
    mov [dword RESULTS + 40], eax
    movzx eax, word [ebx + S_HALT]
    or [dword RESULTS + 44], eax
    cmp dword [dword RESULTS], 1
    jne .not_first
    mov eax, [ebx + S_EFLAGS]
    mov [dword RESULTS + 52], eax
.not_first:
    inc dword [dword RESULTS + 48]
    mov eax, [dword RESULTS + 48]
    cmp eax, [dword RESULTS + 32]
    jb .less
    mov [dword RESULTS + 32], eax
.less:
    mov edx, [dword ORDERS]
    test edx, DO_EBX
    jz .no_eax
    mov dword [ebx + S_EBX], 0xeaeaeaea
.no_eax:
    test edx, DO_MOVE
    jz .no_move
    mov dword [ebx + S_SMBASE], SMBASE2
.no_move:
    test edx, DO_NO_HALT
    jz .no_halt
    cmp dword [dword RESULTS], 2
    jb .no_halt
    and word [ebx + S_HALT], ~1
.no_halt:
    test edx, DO_STEP
    jz .no_step
    or dword [ebx + S_EFLAGS], 0x100
.no_step:
    movzx eax, word [ebx + S_IO]
    mov [dword RESULTS + 56], eax
    mov eax, [ebx + S_EIP]
    mov [dword RESULTS + 60], eax
    cmp dword [dword RESULTS], 1
    jne .no_first
    mov [dword RESULTS + 64], eax
    mov eax, [ebx + S_ECX]
    mov [dword RESULTS + 68], eax
.no_first:
    test edx, DO_IO
    jz .no_io
    mov eax, [dword ORDERS + 4]
    cmp eax, [dword RESULTS]
    jne .no_io
    mov word [ebx + S_IO], 0xff
.no_io:
    test edx, DO_SMI | DO_NMI
    jz .done
    mov dword [dword ORDERS], 0
    mov eax, [dword APIC + 0x20]
    and eax, 0xff000000
    mov [dword APIC + 0x310], eax
    mov eax, 0x4200
    test edx, DO_SMI
    jnz .send
    mov eax, 0x4400
.send:
    mov [dword APIC + 0x300], eax
    mov cx, 200
    loop $
    mov eax, [dword nmis]
    mov [dword RESULTS + 36], eax
.done:
    dec dword [dword RESULTS + 48]
    rsm
handler_end:
bits 32

align 4
nmis:  dd 0
steps: dd 0

moved:
    mov esi, handler
    mov edi, SMBASE2 + 0x8000
    mov ecx, handler_end - handler
    rep movsb
    SMI DO_MOVE
    SAME "SMBASE is told to move", [RESULTS], 1
    mov dword [SMBASE + S_EBX], 0
    mov ebx, 0xabababab
    SMI 0
    SAME "the handler runs there", [RESULTS + 8], SMBASE2 >> 4
    SAME "and state is saved there", [SMBASE2 + S_EBX], 0xabababab
    SAME "not where it was", [SMBASE + S_EBX], 0
    SAME "its SMBASE", [SMBASE2 + S_SMBASE], SMBASE2
    ret
ROM_END
