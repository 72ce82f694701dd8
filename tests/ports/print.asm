; A boot sector that sends what follows it on the diskette to LPT1 by the firmware's INT 17h: the double
; word at 504 is how many bytes. Then it leaves through isa-debug-exit; its status is 1 when the printer
; did not take a byte.
        bits 16
        org 0x7c00

BUFFER  equ 0x1000

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        xor dx, dx
        mov ah, 1
        int 0x17
        mov bp, 1               ; sector, counted from the boot sector
.sector:
        mov ax, bp              ; 18 sectors a track, two sides
        mov cl, 18
        div cl
        mov cl, ah
        inc cl
        xor ah, ah
        mov ch, al
        shr ch, 1
        mov dh, al
        and dh, 1
        mov dl, 0
        mov ax, BUFFER
        mov es, ax
        xor bx, bx
        mov ax, 0x0201
        int 0x13
        jc failed
        xor si, si
.byte:  cmp dword [bytes], 0
        je done
        dec dword [bytes]
        es lodsb
        xor dx, dx
        mov ah, 0
        int 0x17
        test ah, 1
        jnz failed
        cmp si, 512
        jb .byte
        inc bp
        jmp .sector
done:   mov al, 0
        jmp leave_it
failed: mov al, 1
leave_it:
        mov dx, 0xf4
        out dx, al
        hlt

        times 504 - ($ - $$) db 0
bytes:  dd 0
        times 510 - ($ - $$) db 0
        dw 0xaa55
        times 1474560 - ($ - $$) db 0
