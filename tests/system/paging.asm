; Paging: accessed and dirty bits, rights, WP, large pages, PAE, INVLPG, global pages, and page faults
; in the middle of instructions.
%include "sys.inc"

%define PTE(linear) (TABLE + ((linear) >> 12) * 4)
HOLE equ DATA + 0x2000

%macro DROP 1                ; make a page not present
    mov dword [PTE(%1)], %1 | 6
    invlpg [%1]
%endmacro

; The hook of restarted instructions: counts, and makes HOLE present.
fill_hole:
    cmp dword [esp], 14
    jne .other
    add esp, 8
    mov dword [ss:PTE(HOLE)], HOLE | 7
    inc dword [ss:filled]
    iretd
.other:
    mov dword [ss:hook], 0
    jmp taken

%macro RESTARTS 2+           ; name, instruction: faults in HOLE once, then completes
    DROP HOLE
    mov dword [filled], 0
    mov dword [hook], fill_hole
    %2
    mov esp, [restart_esp]
    mov dword [hook], 0
    SAME %1, [filled], 1
%endmacro

tests:
    call make_pages
    call paging_on

    mov dword [PTE(DATA)], DATA | 7
    and dword [DIRECTORY], ~0x20
    mov eax, cr3
    mov cr3, eax
    mov eax, [DATA]
    mov eax, [PTE(DATA)]
    and eax, 0x60
    SAME "a read sets A alone", eax, 0x20
    mov eax, [DIRECTORY]
    and eax, 0x60
    SAME "and A of the directory", eax, 0x20
    mov [DATA], eax
    mov eax, [PTE(DATA)]
    and eax, 0x60
    SAME "a write sets D", eax, 0x60

    mov dword [PTE(DATA)], DATA | 5
    invlpg [DATA]
    TRY
    mov dword [DATA], 1
    CAUGHT
    EXPECT "level 0 writes read-only pages without WP", -1, 0
    mov eax, cr0
    or eax, 0x10000
    mov cr0, eax
    mov eax, [PTE(DATA)]
    and eax, ~0x40
    mov [PTE(DATA)], eax
    invlpg [DATA]
    TRY
    mov dword [DATA], 2
    CAUGHT
    EXPECT "and not with WP", 14, 3
    SAME "CR2", [r_cr2], DATA
    mov eax, [PTE(DATA)]
    and eax, 0x40
    SAME "a refused write leaves D", eax, 0
    TRY
    USER user_write
    CAUGHT
    EXPECT "user write to a read-only page", 14, 7
    mov dword [PTE(DATA)], DATA | 3
    invlpg [DATA]
    TRY
    USER user_read
    CAUGHT
    EXPECT "user read of a supervisor page", 14, 5
    DROP DATA
    TRY
    USER user_read
    CAUGHT
    EXPECT "user read of an absent page", 14, 4
    TRY
    mov eax, [DATA + 0x123]
    CAUGHT
    EXPECT "level 0 read of an absent page", 14, 0
    SAME "its CR2", [r_cr2], DATA + 0x123
    TRY
    mov [DATA + 0xffe], eax
    CAUGHT
    EXPECT "write across into the next page", 14, 2
    SAME "CR2 is in the first", [r_cr2], DATA + 0xffe
    mov dword [PTE(DATA)], DATA | 7
    invlpg [DATA]

    ; fetch
    mov word [HOLE - 1], 0x9090
    DROP HOLE
    TRY
    jmp HOLE - 1
    CAUGHT
    EXPECT "fetch of an absent page", 14, 0
    SAME "EIP there", [fault_eip], HOLE
    SAME "CR2 there", [r_cr2], HOLE
    mov dword [PTE(HOLE)], HOLE | 7
    invlpg [HOLE]
    mov byte [HOLE - 1], 0xb8
    DROP HOLE
    TRY
    jmp HOLE - 1
    CAUGHT
    EXPECT "an instruction across into it", 14, 0
    SAME "EIP before", [fault_eip], HOLE - 1
    SAME "CR2 behind", [r_cr2], HOLE

    ; new mapping after INVLPG
    mov dword [DATA], 0x11111111
    mov dword [DATA + 0x1000], 0x22222222
    mov eax, [DATA]
    mov dword [PTE(DATA)], (DATA + 0x1000) | 7
    invlpg [DATA]
    SAME "INVLPG brings the new page", [DATA], 0x22222222
    mov eax, cr4
    or al, 0x80
    mov cr4, eax
    mov dword [PTE(DATA)], DATA | 0x107
    invlpg [DATA]
    mov eax, [DATA]
    mov dword [PTE(DATA)], (DATA + 0x1000) | 0x107
    invlpg [DATA]
    SAME "of global pages too", [DATA], 0x22222222
    mov dword [PTE(DATA)], DATA | 0x107
    mov eax, cr4
    and al, 0x7f
    mov cr4, eax
    SAME "a change of CR4.PGE drops global pages", [DATA], 0x11111111
    mov dword [PTE(DATA)], DATA | 7
    invlpg [DATA]

    ; 4 MiB pages
    mov eax, cr4
    or al, 0x10
    mov cr4, eax
    mov dword [DIRECTORY + 4], 0x87
    mov eax, cr3
    mov cr3, eax
    SAME "a large page maps", [0x400000 + DATA], 0x11111111
    mov eax, [DIRECTORY + 4]
    and eax, 0x60
    SAME "a large page's A", eax, 0x20
    mov dword [0x400000 + DATA], 0x33333333
    mov eax, [DIRECTORY + 4]
    and eax, 0x60
    SAME "its D", eax, 0x60
    SAME "the same memory", [DATA], 0x33333333
    mov eax, cr4
    and al, ~0x10
    mov cr4, eax
    mov dword [DIRECTORY + 4], 0

    ; faults in the middle, and restarts
    mov [restart_esp], esp
    TRY
    DROP HOLE
    mov esi, DATA
    mov edi, HOLE - 8
    mov ecx, 5
    rep movsd
    CAUGHT
    EXPECT "REP MOVSD into an absent page", 14, 2
    SAME "ECX then", [r_ecx], 3
    SAME "ESI then", [r_esi], DATA + 8
    SAME "EDI then", [r_edi], HOLE
    TRY
    DROP HOLE
    mov ebp, esp
    mov esp, HOLE + 0x1000
    mov dword [PTE(HOLE)], HOLE | 7
    invlpg [HOLE]
    mov esp, ebp
    CAUGHT
    mov ebx, HOLE - 2
    mov edi, HOLE - 4
    mov ecx, 4
    RESTARTS "MOV to memory", mov [ebx], eax
    RESTARTS "ADD to memory", add [ebx], eax
    RESTARTS "XCHG", xchg [ebx], eax
    RESTARTS "BTS", bts [ebx], ecx
    RESTARTS "SHLD", shld [ebx], eax, 4
    RESTARTS "CMPXCHG", cmpxchg [ebx], ecx
    RESTARTS "CMPXCHG8B", cmpxchg8b [ebx]
    RESTARTS "REP STOSD", rep stosd
    mov ecx, 4
    mov edi, HOLE - 4
    mov eax, 0x5a5a1234
    RESTARTS "REPNE SCASD", repne scasd
    RESTARTS "FNSAVE", fnsave [ebx]
    mov esi, HOLE - 2
    RESTARTS "LODSD", lodsd
    mov edx, HOLE - 4
    mov word [HOLE], K_DATA
    RESTARTS "LES", {les eax, [edx]}
    mov ax, K_DATA
    mov es, ax

    ; PAE: four 2 MiB pages
    call paging_off
    mov edi, 0x6000
    mov ecx, 0x400
    xor eax, eax
    rep stosd
    mov dword [0x6000], 0x7001
    mov edi, 0x7000
    mov ecx, 0x400
    rep stosd
    mov dword [0x7000], 0x87
    mov dword [0x7008], 0x87
    mov eax, cr4
    or al, 0x20
    mov cr4, eax
    mov eax, 0x6000
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    SAME "PAE: a 2 MiB page", [0x200000 + DATA], 0x33333333
    mov eax, [0x7008]
    and eax, 0x60
    SAME "its accessed bit", eax, 0x20
    mov dword [0x7010], 0x87
    mov dword [0x7014], 0x100000     ; a reserved address bit
    TRY
    mov eax, [0x400000]
    CAUGHT
    EXPECT "a reserved bit", 14, 8 + 1
    mov dword [0x6008], 0x7001 | 0x20
    TRY
    mov eax, 0x6000
    mov cr3, eax
    CAUGHT
    EXPECT "a reserved bit in a directory pointer", 13, 0
    call paging_off
    mov eax, cr4
    and al, ~0x20
    mov cr4, eax
    ret

user_write:
    mov dword [DATA], 3
    int 0x30
user_read:
    mov eax, [DATA]
    int 0x30

align 4
filled:      dd 0
restart_esp: dd 0
ROM_END
