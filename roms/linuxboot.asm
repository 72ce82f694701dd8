; Option ROM that starts a Linux kernel given by -kernel: brings its parts to their places, jumps to its setup code.
;
; Documentation: Linux, Documentation/arch/x86/boot.rst, "Running the Kernel". The board has filled the setup header.
%define ROM_NAME 'Linux kernel'
%include "rom_header.inc"

boot:
        cli
        cld
        xor ax, ax
        mov ss, ax
        mov sp, 0x7c00
        mov ax, KEY_SETUP_ADDR
        mov bx, KEY_SETUP_SIZE
        mov cx, KEY_SETUP_DATA
        call fwcfg_load
        mov ax, KEY_CMDLINE_ADDR
        mov bx, KEY_CMDLINE_SIZE
        mov cx, KEY_CMDLINE_DATA
        call fwcfg_load
        mov ax, KEY_KERNEL_ADDR
        mov bx, KEY_KERNEL_SIZE
        mov cx, KEY_KERNEL_DATA
        call fwcfg_load
        mov ax, KEY_INITRD_ADDR
        mov bx, KEY_INITRD_SIZE
        mov cx, KEY_INITRD_DATA
        call fwcfg_load

        mov ax, KEY_CMDLINE_ADDR
        call fwcfg_u32
        mov ebp, eax
        mov ax, KEY_SETUP_ADDR
        call fwcfg_u32
        mov ebx, eax
        shr ebx, 4                      ; segment of the setup code
        sub ebp, eax                    ; the stack ends below the command line
        sub ebp, 16
        and ebp, 0xfff0
        mov ds, bx
        mov es, bx
        mov fs, bx
        mov gs, bx
        mov ss, bx
        mov sp, bp
        add bx, 0x20
        push bx
        push word 0
        xor eax, eax
        mov ebx, eax
        mov ecx, eax
        mov edx, eax
        mov esi, eax
        mov edi, eax
        mov ebp, eax
        retf

%include "fwcfg.inc"
        times -($ - $$) & 511 db 0
rom_end:
