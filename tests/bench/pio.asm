; Reads a disk word by word: the boot sector of the disk of tests/bench/pio.py, which puts the work's number into byte 3.
; 'B' goes to the first serial port, then 'E' for each ROUND times SECTORS.
        bits 16
        cpu 386
        org 0x7c00

ROUND   equ 500
SECTORS equ 112
BLOCK   equ 16                          ; sectors, of READ MULTIPLE

        jmp near start
work:   db 0                            ; 0: through the BIOS, sector by sector; 1: READ MULTIPLE at the ports

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov ax, 0x1000                  ; data goes to 1000:0
        mov es, ax
        mov dx, 0x3fb                   ; eight bits
        mov al, 3
        out dx, al
        cmp byte [work], 0
        je begin
        mov dx, 0x3f6                   ; no interrupts
        mov al, 2
        out dx, al
        mov al, BLOCK                   ; SET MULTIPLE MODE
        mov ah, 0xc6
        call command
        call ready
begin:  mov al, 'B'
        call put
again:  mov bp, ROUND
next:   cmp byte [work], 0
        jne ports
        mov si, packet
        mov dl, 0x80
        mov ah, 0x42
        int 0x13
        jnc done
failed: mov al, 'F'
        call put
        hlt
        jmp failed

ports:  mov al, SECTORS
        mov ah, 0xc4
        call command
        xor di, di
        mov bx, SECTORS / BLOCK
.block: call ready
        test al, 8
        jz failed
        mov dx, 0x1f0
        mov cx, BLOCK * 256
        rep insw
        dec bx
        jnz .block
done:   dec bp
        jnz next
        mov al, 'E'
        call put
        jmp again

; Command AH for AL sectors from the second one on.
command:
        mov dx, 0x1f2
        out dx, al
        inc dx
        mov al, 1
        out dx, al
        inc dx
        xor al, al
        out dx, al
        inc dx
        out dx, al
        inc dx
        mov al, 0xe0
        out dx, al
        inc dx
        mov al, ah
        out dx, al
        ret

; The status, when the drive is not busy.
ready:  mov dx, 0x1f7
.wait:  in al, dx
        test al, 0x80
        jnz .wait
        ret

        %include "put.inc"

packet: db 16, 0
        dw SECTORS
        dw 0, 0x1000
        dq 1
        times 510-($-$$) db 0
        dw 0xaa55
