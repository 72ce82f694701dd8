; LOCK: with every instruction that may have it, in every form, in memory and (undefined) on a register;
; with instructions that may not; which fault comes first; that the locked instruction does its work.
%include "sys.inc"
cpu katmai

%macro LOCKED 3+             ; name, vector (-1: none), the instruction's bytes
    TRY
    mov ebx, DATA
    mov ecx, 1
    db 0xf0, %3
    CAUGHT
    EXPECT {%1}, %2, 0
%endmacro
; An instruction whose ModRM byte is the last one given, with the reg or digit in bits 3..5: undefined on
; a register, fine in memory: at [EBX], at [EBX + 4], with a SIB byte.
%macro BOTH_FORMS 3+         ; name, ModRM, bytes before it
    LOCKED {%1, " in memory"}, -1, %3, 0x03 | (%2)
    LOCKED "at a displacement", -1, %3, 0x43 | (%2), 4
    LOCKED "at a displacement of 32 bits", -1, %3, 0x83 | (%2), 8, 0, 0, 0
    LOCKED "with a SIB byte", -1, %3, 0x44 | (%2), 0x8b, 4
    LOCKED "on a register", 6, %3, 0xc3 | (%2)
%endmacro
%macro BOTH_IMMEDIATE 4+     ; name, ModRM, immediate's bytes in braces, bytes before
    LOCKED {%1, " in memory"}, -1, %4, 0x03 | (%2), %3
    LOCKED "at a displacement", -1, %4, 0x43 | (%2), 4, %3
    LOCKED "on a register", 6, %4, 0xc3 | (%2), %3
%endmacro

tests:
    mov eax, cr4
    or ax, 0x600
    mov cr4, eax
    fninit
    mov edi, DATA
    xor eax, eax
    mov ecx, 256
    cld
    rep stosd
    call arithmetic
    call others
    call never
    call faults
    call results
    ret

; ADD OR ADC SBB AND SUB XOR; CMP may not
%macro ALU 2                 ; name, number
    BOTH_FORMS {%1, " byte, register"}, 1 << 3, %2 << 3
    BOTH_FORMS {%1, " register"}, 1 << 3, %2 << 3 | 1
    LOCKED {%1, " to a register from memory, byte"}, 6, %2 << 3 | 2, 0x0b
    LOCKED {%1, " to a register from memory"}, 6, %2 << 3 | 3, 0x0b
    LOCKED {%1, " AL"}, 6, %2 << 3 | 4, 1
    LOCKED {%1, " EAX"}, 6, %2 << 3 | 5, 1, 0, 0, 0
    BOTH_IMMEDIATE {%1, " byte, immediate"}, %2 << 3, 1, 0x80
    BOTH_IMMEDIATE {%1, " immediate"}, %2 << 3, {1, 0, 0, 0}, 0x81
    BOTH_IMMEDIATE {%1, " signed byte"}, %2 << 3, 1, 0x83
    LOCKED {%1, " word"}, -1, 0x66, %2 << 3 | 1, 0x0b
%endmacro
arithmetic:
    ALU "ADD", 0
    ALU "OR", 1
    ALU "ADC", 2
    ALU "SBB", 3
    ALU "AND", 4
    ALU "SUB", 5
    ALU "XOR", 6
    LOCKED "CMP byte, register", 6, 0x38, 0x0b
    LOCKED "CMP register", 6, 0x39, 0x0b
    LOCKED "CMP with memory", 6, 0x3b, 0x0b
    LOCKED "CMP EAX", 6, 0x3d, 1, 0, 0, 0
    LOCKED "CMP byte, immediate", 6, 0x80, 0x3b, 1
    LOCKED "CMP immediate", 6, 0x81, 0x3b, 1, 0, 0, 0
    LOCKED "CMP signed byte", 6, 0x83, 0x3b, 1
    ret

others:
    BOTH_FORMS "NOT byte", 2 << 3, 0xf6
    BOTH_FORMS "NOT", 2 << 3, 0xf7
    BOTH_FORMS "NEG byte", 3 << 3, 0xf6
    BOTH_FORMS "NEG", 3 << 3, 0xf7
    BOTH_FORMS "INC byte", 0, 0xfe
    BOTH_FORMS "INC", 0, 0xff
    BOTH_FORMS "DEC byte", 1 << 3, 0xfe
    BOTH_FORMS "DEC", 1 << 3, 0xff
    BOTH_FORMS "BTS", 1 << 3, 0x0f, 0xab
    BOTH_FORMS "BTR", 1 << 3, 0x0f, 0xb3
    BOTH_FORMS "BTC", 1 << 3, 0x0f, 0xbb
    BOTH_IMMEDIATE "BTS by a number", 5 << 3, 3, 0x0f, 0xba
    BOTH_IMMEDIATE "BTR by a number", 6 << 3, 3, 0x0f, 0xba
    BOTH_IMMEDIATE "BTC by a number", 7 << 3, 3, 0x0f, 0xba
    LOCKED "BT", 6, 0x0f, 0xa3, 0x0b
    LOCKED "BT by a number", 6, 0x0f, 0xba, 0x23, 3
    LOCKED "BT group, undefined", 6, 0x0f, 0xba, 0x0b, 3
    BOTH_FORMS "XCHG byte", 1 << 3, 0x86
    BOTH_FORMS "XCHG", 1 << 3, 0x87
    LOCKED "XCHG EAX, ECX", 6, 0x91
    BOTH_FORMS "XADD byte", 1 << 3, 0x0f, 0xc0
    BOTH_FORMS "XADD", 1 << 3, 0x0f, 0xc1
    BOTH_FORMS "CMPXCHG byte", 1 << 3, 0x0f, 0xb0
    BOTH_FORMS "CMPXCHG", 1 << 3, 0x0f, 0xb1
    BOTH_FORMS "CMPXCHG8B", 1 << 3, 0x0f, 0xc7
    LOCKED "two LOCKs", -1, 0xf0, 0x01, 0x0b
    LOCKED "LOCK before a segment prefix", -1, 0x3e, 0x01, 0x0b
    LOCKED "LOCK before an operand size", -1, 0x66, 0xff, 0x03
    LOCKED "LOCK before an address size", -1, 0x67, 0x01, 0x0e, 0, 0x40
    TRY
    mov ebx, DATA
    db 0x66, 0xf0, 0xff, 0x03
    CAUGHT
    EXPECT "LOCK behind it", -1, 0
    LOCKED "LOCK and REP", -1, 0xf3, 0x01, 0x0b
    ret

never:
    LOCKED "TEST", 6, 0x85, 0x0b
    LOCKED "TEST immediate", 6, 0xf6, 0x03, 1
    LOCKED "MUL", 6, 0xf7, 0x23
    LOCKED "IMUL", 6, 0x0f, 0xaf, 0x0b
    LOCKED "DIV", 6, 0xf7, 0x33
    LOCKED "MOV to memory", 6, 0x89, 0x0b
    LOCKED "MOV from memory", 6, 0x8b, 0x0b
    LOCKED "MOV immediate", 6, 0xc7, 0x03, 1, 0, 0, 0
    LOCKED "MOV byte, immediate", 6, 0xc6, 0x03, 1
    LOCKED "MOV of a segment register", 6, 0x8c, 0x1b
    LOCKED "MOV to an absolute address", 6, 0xa3, 0, 0, 3, 0
    LOCKED "MOV to a register", 6, 0xb8, 1, 0, 0, 0
    LOCKED "MOV of CR0", 6, 0x0f, 0x20, 0xc0
    LOCKED "MOV to CR0", 6, 0x0f, 0x22, 0xc0
    LOCKED "MOV of DR7", 6, 0x0f, 0x21, 0xf8
    LOCKED "INC of a register", 6, 0x40
    LOCKED "DEC of a register", 6, 0x48
    LOCKED "PUSH", 6, 0x50
    LOCKED "PUSH of memory", 6, 0xff, 0x33
    LOCKED "POP of memory", 6, 0x8f, 0x03
    LOCKED "PUSHF", 6, 0x9c
    LOCKED "PUSHA", 6, 0x60
    LOCKED "ENTER", 6, 0xc8, 4, 0, 0
    LOCKED "LEAVE", 6, 0xc9
    LOCKED "LEA", 6, 0x8d, 0x0b
    LOCKED "LES", 6, 0xc4, 0x0b
    LOCKED "LSS", 6, 0x0f, 0xb2, 0x0b
    LOCKED "BOUND", 6, 0x62, 0x0b
    LOCKED "ARPL", 6, 0x63, 0x0b
    LOCKED "MOVZX", 6, 0x0f, 0xb6, 0x0b
    LOCKED "SETZ", 6, 0x0f, 0x94, 0x03
    LOCKED "CMOVZ", 6, 0x0f, 0x44, 0x0b
    LOCKED "SHL by one", 6, 0xd1, 0x23
    LOCKED "ROL by CL", 6, 0xd3, 0x03
    LOCKED "SHR by a number", 6, 0xc1, 0x2b, 3
    LOCKED "SHLD", 6, 0x0f, 0xa4, 0x0b, 3
    LOCKED "BSWAP", 6, 0x0f, 0xc9
    LOCKED "BSF", 6, 0x0f, 0xbc, 0x0b
    LOCKED "XLAT", 6, 0xd7
    LOCKED "MOVSB", 6, 0xa4
    LOCKED "STOSD", 6, 0xab
    LOCKED "REP STOSD", 6, 0xf3, 0xab
    LOCKED "CMPSB", 6, 0xa6
    LOCKED "OUTSB", 6, 0x6e
    LOCKED "IN", 6, 0xe4, 0x61
    LOCKED "OUT", 6, 0xe6, 0x80
    LOCKED "JMP", 6, 0xeb, 0
    LOCKED "JMP by memory", 6, 0xff, 0x23
    LOCKED "CALL", 6, 0xe8, 0, 0, 0, 0
    LOCKED "CALL far by memory", 6, 0xff, 0x1b
    LOCKED "RET", 6, 0xc3
    LOCKED "IRET", 6, 0xcf
    LOCKED "JZ", 6, 0x74, 0
    LOCKED "LOOP", 6, 0xe2, 0
    LOCKED "INT n", 6, 0xcd, 0x31
    LOCKED "INT3", 6, 0xcc
    LOCKED "NOP", 6, 0x90
    LOCKED "HLT", 6, 0xf4
    LOCKED "CLI", 6, 0xfa
    LOCKED "STI", 6, 0xfb
    LOCKED "CLD", 6, 0xfc
    LOCKED "FWAIT", 6, 0x9b
    LOCKED "FADD", 6, 0xd8, 0x03
    LOCKED "FST", 6, 0xdd, 0x13
    LOCKED "FNSTSW AX", 6, 0xdf, 0xe0
    LOCKED "PADDB", 6, 0x0f, 0xfc, 0x03
    LOCKED "MOVQ to memory", 6, 0x0f, 0x7f, 0x03
    LOCKED "MOVUPS to memory", 6, 0x0f, 0x11, 0x03
    LOCKED "FXSAVE", 6, 0x0f, 0xae, 0x03
    LOCKED "LGDT", 6, 0x0f, 0x01, 0x13
    LOCKED "SMSW", 6, 0x0f, 0x01, 0x23
    LOCKED "INVLPG", 6, 0x0f, 0x01, 0x3b
    LOCKED "SLDT", 6, 0x0f, 0x00, 0x03
    LOCKED "VERR", 6, 0x0f, 0x00, 0x23
    LOCKED "CLTS", 6, 0x0f, 0x06
    LOCKED "WBINVD", 6, 0x0f, 0x09
    LOCKED "CPUID", 6, 0x0f, 0xa2
    LOCKED "RDTSC", 6, 0x0f, 0x31
    LOCKED "RDMSR", 6, 0x0f, 0x32
    LOCKED "PUSH of FS", 6, 0x0f, 0xa0
    LOCKED "DAA", 6, 0x27
    LOCKED "CWD", 6, 0x99
    ret

; --- which fault comes first ---
faults:
    call make_pages
    mov dword [TABLE + (0x32000 >> 12) * 4], 0x32000 | 6
    mov dword [TABLE + (0x33000 >> 12) * 4], 0x33000 | 5
    mov eax, cr0
    or eax, 0x10000
    mov cr0, eax
    call paging_on
    TRY
    lock inc dword [0x32000]
    CAUGHT
    EXPECT "LOCK INC of an absent page", 14, 2
    TRY
    lock inc dword [0x33000]
    CAUGHT
    EXPECT "LOCK INC of a read-only page", 14, 3
    TRY
    lock cmpxchg [0x33000], ecx       ; writes always, even when it compares unequal
    CAUGHT
    EXPECT "LOCK CMPXCHG of one", 14, 3
    TRY
    lock cmpxchg8b [0x33000]
    CAUGHT
    EXPECT "LOCK CMPXCHG8B of one", 14, 3
    TRY
    lock bts dword [0x33000], 0
    CAUGHT
    EXPECT "LOCK BTS of one", 14, 3
    TRY
    db 0xf0, 0x89, 0x05               ; LOCK MOV [32000h], EAX
    dd 0x32000
    CAUGHT
    EXPECT "LOCK MOV to an absent page is undefined", 6, 0
    TRY
    db 0xf0, 0x39, 0x05               ; LOCK CMP [32000h], EAX
    dd 0x32000
    CAUGHT
    EXPECT "so is LOCK CMP", 6, 0
    TRY
    lock inc dword [0x31ffe]
    CAUGHT
    EXPECT "LOCK INC across into it", 14, 2
    SAME "its address", [r_cr2], 0x32000
    call paging_off
    SETDESC FREE1, DATA, 0xff, 0x4090 ; read-only data
    mov ax, FREE1
    mov fs, ax
    TRY
    lock inc dword [fs:0]
    CAUGHT
    EXPECT "LOCK INC in a read-only segment", 13, 0
    TRY
    db 0x64, 0xf0, 0x89, 0x05         ; LOCK MOV [FS:0], EAX
    dd 0
    CAUGHT
    EXPECT "LOCK MOV there is undefined", 6, 0
    xor eax, eax
    mov fs, ax
    TRY
    USER .user_hlt
    CAUGHT
    EXPECT "LOCK HLT at level 3 is undefined, not refused", 6, 0
    ret
.user_hlt:
    db 0xf0
    hlt

; --- what they do ---
results:
    mov dword [DATA], 0x7fffffff
    lock inc dword [DATA]
    seto al
    movzx eax, al
    SAME "LOCK INC overflows", eax, 1
    SAME "and stores", [DATA], 0x80000000
    mov eax, 5
    lock xadd [DATA], eax
    SAME "LOCK XADD adds", [DATA], 0x80000005
    SAME "and gives what was there", eax, 0x80000000
    mov eax, 1
    mov ecx, 2
    lock cmpxchg [DATA], ecx
    SAME "LOCK CMPXCHG that differs loads EAX", eax, 0x80000005
    lock cmpxchg [DATA], ecx
    SAME "and one that does not stores", [DATA], 2
    mov dword [DATA + 4], 3
    mov eax, 2
    mov edx, 3
    mov ebx, 0x11111111
    mov ecx, 0x22222222
    lock cmpxchg8b [DATA]
    SAME "LOCK CMPXCHG8B stores the low half", [DATA], 0x11111111
    SAME "and the high one", [DATA + 4], 0x22222222
    mov eax, 64 + 3
    lock btc [DATA - 8], eax
    SAME "LOCK BTC reaches beyond its operand", [DATA], 0x11111119
    mov dword [DATA + 3], 0x01020304
    lock add dword [DATA + 3], 0x10101010
    SAME "LOCK ADD of a misaligned doubleword", [DATA + 3], 0x11121314
    lock neg byte [DATA + 3]
    movzx eax, byte [DATA + 3]
    SAME "LOCK NEG of a byte", eax, 0xec
    mov eax, 0x12345678
    lock xchg [DATA], eax
    SAME "LOCK XCHG", [DATA], 0x12345678
    ret
ROM_END
