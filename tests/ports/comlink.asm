; A boot sector that joins COM1 and COM2, both at 115200 with FIFOs: what comes in at one goes out at
; the other. From COM1 three characters are for itself: 4 drops DTR of COM2 for a quarter of a second,
; 5 asks for the modem lines of COM2 (two hexadecimal digits come back), 6 ends through isa-debug-exit.
        bits 16
        org 0x7c00

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        mov dx, COM1
        call set_up
        mov dx, COM2
        call set_up
        mov dx, COM1
        mov al, '!'             ; here I am
        out dx, al
.loop:  mov dx, COM2 + 5        ; COM1 to COM2, when COM2 may send
        in al, dx
        test al, 0x20
        jz .back
        mov dx, COM2 + 6
        in al, dx
        test al, 0x10           ; CTS
        jz .back
        mov dx, COM1 + 5
        in al, dx
        test al, 1
        jz .back
        mov dx, COM1
        in al, dx
        cmp al, 4
        je drop
        cmp al, 5
        je lines
        cmp al, 6
        je leave_it
        mov dx, COM2
        out dx, al
.back:  mov dx, COM1 + 5
        in al, dx
        test al, 0x20
        jz .loop
        mov dx, COM2 + 5
        in al, dx
        test al, 1
        jz .loop
        mov dx, COM2
        in al, dx
        mov dx, COM1
        out dx, al
        jmp .loop

drop:   mov dx, COM2 + 4
        mov al, 0x0a
        out dx, al
        mov cx, 5
.tick:  mov ax, [0x46c]
.wait:  hlt
        cmp ax, [0x46c]
        je .wait
        loop .tick
        mov al, 0x0b
        mov dx, COM2 + 4
        out dx, al
        jmp start.loop

lines:  mov dx, COM2 + 6
        in al, dx
        mov bl, al
        shr al, 4
        call digit
        mov al, bl
        and al, 15
        call digit
        jmp start.loop

digit:  add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a' - '9' - 1
.put:   mov dx, COM1
        out dx, al
        ret

leave_it:
        mov al, 0
        mov dx, 0xf4
        out dx, al
        hlt

        %include "uart.inc"

        times 510 - ($ - $$) db 0
        dw 0xaa55
        times 163840 - ($ - $$) db 0
