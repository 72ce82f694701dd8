; Option ROM that starts a Multiboot 1 kernel given by -kernel: loads it, adds the memory map, enters protected mode.
;
; Documentation: Multiboot Specification 0.6.96, sections 3.2 and 3.3. The board has laid out the kernel's segments and
; the information structure with everything in it except what only the BIOS knows: the memory map.
; fw_cfg items: kernel = the image from its lowest load address on; initrd = information structure, then module list,
; strings and modules, at INITRD_ADDR; kernel entry.
%define ROM_NAME 'Multiboot kernel'
%include "rom_header.inc"

MBI_FLAGS       equ 0
MBI_MEM_LOWER   equ 4
MBI_MEM_UPPER   equ 8
MBI_MMAP_LENGTH equ 44
MBI_MMAP_ADDR   equ 48
MBI_HAS_MEMORY  equ 1 << 0
MBI_HAS_MMAP    equ 1 << 6

MMAP_SEGMENT    equ 0x0900              ; 0x9000: room for the map, away from the BIOS's data and this stack
MMAP_MAX        equ 0x1000
SCRATCH         equ 0x7c00              ; above the stack: nothing else uses it by now

boot:
        cli
        cld
        xor ax, ax
        mov ss, ax
        mov ds, ax
        mov sp, SCRATCH
        mov ax, KEY_KERNEL_ADDR
        mov bx, KEY_KERNEL_SIZE
        mov cx, KEY_KERNEL_DATA
        call fwcfg_load
        mov ax, KEY_INITRD_ADDR
        mov bx, KEY_INITRD_SIZE
        mov cx, KEY_INITRD_DATA
        call fwcfg_load

        ; memory map: INT 15h, E820h, each entry preceded by its size
        mov ax, MMAP_SEGMENT
        mov es, ax
        xor ebx, ebx
        xor di, di
.entry:
        push di
        add di, 4
        mov eax, 0xe820
        mov edx, 0x534d4150             ; "SMAP"
        mov ecx, 20
        int 0x15
        pop di
        jc .mapped
        cmp eax, 0x534d4150
        jne .mapped
        mov dword [es:di], 20
        add di, 24
        cmp di, MMAP_MAX - 24
        ja .mapped
        test ebx, ebx
        jnz .entry
.mapped:
        cli
        movzx ebp, di
        mov [SCRATCH], ebp              ; the map's length

        ; lower and upper memory in KiB, from the map
        xor esi, esi                    ; upper
        xor di, di
.upper:
        cmp di, bp
        jae .upper_known
        cmp dword [es:di + 4], 0x100000 ; base: the piece that begins at 1 MiB
        jne .next
        cmp dword [es:di + 8], 0
        jne .next
        cmp dword [es:di + 20], 1       ; available
        jne .next
        mov esi, [es:di + 12]
        shr esi, 10
.next:
        add di, 24
        jmp .upper
.upper_known:
        int 0x12
        cli
        movzx edx, ax                   ; lower
        mov ax, KEY_INITRD_ADDR
        call fwcfg_u32
        mov ebx, eax
        mov ax, KEY_KERNEL_ENTRY
        call fwcfg_u32
        mov edi, eax

        ; into protected mode with flat segments
        xor eax, eax
        mov ax, cs
        shl eax, 4
        lea ecx, [eax + gdt]
        mov word [SCRATCH + 8], gdt_end - gdt - 1
        mov [SCRATCH + 10], ecx
        o32 lgdt [SCRATCH + 8]
        add eax, protected
        push dword 8
        push eax
        mov eax, cr0
        or al, 1
        mov cr0, eax
        o32 retf

        bits 32
protected:
        mov ax, 16
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov ss, ax
        or dword [ebx + MBI_FLAGS], MBI_HAS_MEMORY | MBI_HAS_MMAP
        mov [ebx + MBI_MEM_LOWER], edx
        mov [ebx + MBI_MEM_UPPER], esi
        mov eax, [SCRATCH]
        mov [ebx + MBI_MMAP_LENGTH], eax
        mov dword [ebx + MBI_MMAP_ADDR], MMAP_SEGMENT * 16
        mov eax, 0x2badb002
        jmp edi
        bits 16

        align 8
gdt:    dq 0
        dq 0x00cf9a000000ffff
        dq 0x00cf92000000ffff
gdt_end:

%include "fwcfg.inc"
        times -($ - $$) & 511 db 0
rom_end:
