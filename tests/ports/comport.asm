; A boot sector through which COM1 reaches the registers of COM2: 'r' and a register's number bring two
; hexadecimal digits; 'w', a number and a value (both as they are) write and bring '.'; 'p' and a count
; read so many characters from COM2's receiver as they come, each as two digits. COM1 is at 115200
; with FIFOs, COM2 as a reset leaves it.
        bits 16
        org 0x7c00

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        mov dx, COM1
        call set_up
        mov al, '!'             ; here I am
        call say
next:   call hear
        cmp al, 'r'
        je read
        cmp al, 'p'
        je pull
        cmp al, 'w'
        jne next
        call hear
        mov bl, al
        call hear
        call port
        out dx, al
        mov al, '.'
        call say
        jmp next

read:   call hear
        mov bl, al
        call port
        in al, dx
        call digits
        jmp next

pull:   call hear
        mov cl, al
        xor ch, ch
.more:  mov dx, COM2 + 5
        in al, dx
        test al, 1
        jz .more
        mov dx, COM2
        in al, dx
        call digits
        loop .more
        jmp next

port:   mov dx, COM2            ; bl: register
        and bx, 7
        add dx, bx
        ret

hear:   mov dx, COM1 + 5
.wait:  in al, dx
        test al, 1
        jz .wait
        mov dx, COM1
        in al, dx
        ret

digits: mov ah, al
        shr al, 4
        call digit
        mov al, ah
        and al, 15
digit:  add al, '0'
        cmp al, '9'
        jbe say
        add al, 'a' - '9' - 1
say:    push dx
        push ax
        mov dx, COM1 + 5
.full:  in al, dx
        test al, 0x20
        jz .full
        pop ax
        mov dx, COM1
        out dx, al
        pop dx
        ret

        %include "uart.inc"

        times 510 - ($ - $$) db 0
        dw 0xaa55
        times 163840 - ($ - $$) db 0
